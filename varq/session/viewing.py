"""The runs of one session as one live table, with its budget and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from varq import names
from varq.session.desk import Desk
from varq.session.run import Run

__all__ = ["together"]


@contextmanager
def together(
    progress: Any, desk: Desk, runs: Sequence[Run], ask: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Inside, runs are shown in one table, where there is a display; one without budget and jobs keeps its line.

    Args:
        progress: the session's display; None for none.
        desk: says what waits, how its jobs stand and what was used.
        runs: those that go on.
        ask: is given what a button says; None for no buttons.
    """
    left = [run for run in runs if not run.settled]
    sent = desk.budget.limited or any(getattr(run.spec, "shots", None) is not None for run in left)
    if progress is None or progress.busy or not left or (len(left) < 2 and not sent):
        yield
        return
    with names.find("display", "session")(desk.id, desk.standing, ask=ask) as board, progress.through(board):
        desk.under_way.changed = board.look
        try:
            yield
        finally:
            desk.under_way.changed = lambda: None
