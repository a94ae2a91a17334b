"""Ctrl-C and SIGTERM: the first one finishes the evaluation in flight and stops; the second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["REQUEUE", "Interrupts", "names_interrupt", "requeued", "wraps_interrupt"]

REQUEUE = 75  # exit status after SIGTERM: EX_TEMPFAIL of sysexits.h, "try again later", for batch scripts that requeue


class Interrupts:
    """Which signals came while the loop was running."""

    def __init__(self) -> None:
        self.count = 0
        self.terminated = False

    @contextmanager
    def watched(self) -> Iterator[Interrupts]:
        """Count SIGINT and SIGTERM inside the block instead of raising; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: Any) -> None:
            self.count += 1
            self.terminated = self.terminated or number == signal.SIGTERM
            if self.count > 1:
                raise KeyboardInterrupt

        for number in before:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


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


def wraps_interrupt(error: BaseException) -> bool:
    """Whether an error is, or was raised from, a KeyboardInterrupt."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def names_interrupt(error: BaseException) -> bool:
    """Whether an error's text speaks of a KeyboardInterrupt: under a JAX callback it surfaces as JaxRuntimeError."""
    return "KeyboardInterrupt" in str(error)
