"""SIGTERM outside of what a run is doing: the same status as inside, so that batch scripts requeue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from varq.session.interrupt import REQUEUE

__all__ = ["requeued"]


@contextmanager
def requeued() -> Iterator[None]:
    """SIGTERM inside the block ends it by SystemExit with the status on which a batch script requeues.

    What drives runs counts signals by itself meanwhile, and lets the evaluation in flight end.  Only the main thread
    hears signals: elsewhere the block is as without this.

    Example:
        >>> import os, signal
        >>> with requeued():
        ...     os.kill(os.getpid(), signal.SIGTERM)
        Traceback (most recent call last):
            ...
        SystemExit: 75
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _ended(number: int, frame: Any) -> None:
    raise SystemExit(REQUEUE)
