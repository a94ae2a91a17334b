"""Batches that wait for their turn: by what they take where they run, and how urgent they are."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

from varq.study.cells import Batch
from varq.study.needs import Labels

__all__ = ["Waiting"]


class Waiting:
    """The batches of a study that are to be run.

    Args:
        batches: all of the study.
        left: the numbers of those that are to be run; the others count as done.

    Example:
        >>> waiting = Waiting([Batch((0,)), Batch((1,), priority=1), Batch((2,), needs=(0,))], [0, 1, 2])
        >>> waiting.take((), 1), waiting.take((), 2)
        ([1], [0])
        >>> waiting.finished(0)
        >>> waiting.take((), 1)
        [2]
    """

    def __init__(self, batches: Sequence[Batch], left: Collection[int]) -> None:
        self._batches = batches
        unfinished = set(left)
        self._missing = {n: sum(needed in unfinished for needed in batches[n].needs) for n in left}
        self._after: dict[int, list[int]] = {}
        self._lanes: dict[Labels, list[tuple[int, int]]] = {}
        for number in left:
            for needed in batches[number].needs:
                if needed in unfinished:
                    self._after.setdefault(needed, []).append(number)
            if not self._missing[number]:
                self.put(number)

    def put(self, number: int) -> None:
        """A batch may be run now: for the first time, or again."""
        batch = self._batches[number]
        heapq.heappush(self._lanes.setdefault(batch.labels, []), (-batch.priority, number))

    def finished(self, number: int) -> None:
        """Nothing of a batch is left: those that need it may be run."""
        for after in self._after.pop(number, ()):
            self._missing[after] -= 1
            if not self._missing[after]:
                self.put(after)

    def lanes(self) -> list[tuple[Labels, int]]:
        """What batches that may be run now take, and how many take it; the most urgent first."""
        found = sorted((lane[0], labels) for labels, lane in self._lanes.items() if lane)
        return [(labels, len(self._lanes[labels])) for _, labels in found]

    def take(self, labels: Labels, most: int) -> list[int]:
        """The next batch of a lane, or up to `most` that have a cell each."""
        lane, found = self._lanes[labels], list[int]()
        while lane and len(found) < most:
            if self._batches[lane[0][1]].seats > 1 and found:
                break
            found.append(heapq.heappop(lane)[1])
            if self._batches[found[-1]].seats > 1:
                break
        return found
