"""Several runs of one session as one live table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from varq import names
from varq.session.desk import Desk
from varq.session.drive import Lane

__all__ = ["together"]


@contextmanager
def together(progress: Any, desk: Desk, lanes: Sequence[Lane]) -> Iterator[None]:
    """Inside, several runs are shown in one table, where there is a display; one keeps its line.

    Args:
        progress: the session's display; None for none.
        desk: says what waits and what was used.
        lanes: the runs.
    """
    if progress is None or sum(not lane.run.settled for lane in lanes) < 2:
        yield
        return
    with names.find("display", "session")(desk.id, desk.standing, ask=desk.asked) as board, progress.through(board):
        yield
