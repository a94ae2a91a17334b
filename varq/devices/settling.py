"""Vendors list what they have received a little later: how long a job is looked for before it surely is not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from varq import checks

__all__ = ["Settling"]

T = TypeVar("T")


class Settling:
    """Jobs that may have been received, by their tags.

    A job is surely listed so many seconds after the last attempt to send it has ended: an attempt takes long just when
    its answer is lost.  Nobody here knows when another process sent what it wrote down: before it was first expected or
    looked for.

    Args:
        seconds: after which what was received is surely listed.
        step: most seconds between two looks.
        clock: seconds that only grow.
        sleep: waits so many seconds.

    Raises:
        ValueError: for a negative number of seconds.

    Example:
        >>> settling = Settling(0.02, step=0.01)
        >>> with settling.attempt("tag"):
        ...     pass
        >>> listed = iter([[], ["job 1"]])
        >>> settling.look("tag", lambda: next(listed))
        ['job 1']
    """

    def __init__(
        self,
        seconds: float,
        step: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = checks.real("settled", seconds, minimum=0.0)
        self._step = step
        self._clock, self._sleep = clock, sleep
        self._since: dict[str, float] = {}

    @contextmanager
    def attempt(self, tag: str) -> Iterator[None]:
        """A block that tries to send the job of a tag, however it ends."""
        try:
            yield
        finally:
            self._since[tag] = self._clock()

    def expect(self, tags: Iterable[str]) -> None:
        """Have one time serve for all jobs that other processes sent and that are looked for one after the other."""
        now = self._clock()
        for tag in tags:
            self._since.setdefault(tag, now)

    def look(self, tag: str, ask: Callable[[], T], enough: Callable[[T], object] = bool) -> T:
        """What the vendor lists of a tag, asked again until it is enough, or surely all there is.

        Args:
            tag: of the job.
            ask: what is listed now.
            enough: whether nothing more is to come.
        """
        until = self._since.setdefault(tag, self._clock()) + self._seconds
        while True:
            left = until - self._clock()
            found = ask()
            if enough(found) or left <= 0:  # not by the time at which the answer came: it may be from before
                return found
            self._sleep(min(self._step, left))
