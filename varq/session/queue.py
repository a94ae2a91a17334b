"""Who goes next: priorities, deadlines, and a fair share between equals."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from varq import checks
from varq.devices.service import Limits

__all__ = ["Queue", "Slot", "Work", "packed"]

T = TypeVar("T")


@dataclass(eq=False)
class Work(Generic[T]):
    """Items of one owner that wait for a job; they may be spread over several.

    Args:
        owner: whose they are; equals of one priority get equal shares.
        items: what is to be sent, in order.
        shots: of each item, which is what a share is counted in.
        priority: higher goes first.
        deadline: seconds since 1970 after which nothing of it is sent any more; earlier ones go first among equals.
        alone: whether it is a job of its own.
    """

    owner: str
    items: Sequence[T]
    shots: Sequence[int]
    priority: int = 0
    deadline: float | None = None
    alone: bool = False
    arrival: int = field(default=-1, init=False)
    taken: int = field(default=0, init=False)
    gone: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        checks.integer("priority", self.priority)
        if self.deadline is not None:
            checks.real("deadline", self.deadline)

    @property
    def rank(self) -> tuple[int, float, int]:
        """Where it stands among the works of its owner; lower goes first."""
        return (-self.priority, math.inf if self.deadline is None else self.deadline, self.arrival)

    @property
    def left(self) -> int:
        """How many items still wait."""
        return 0 if self.gone else len(self.items) - self.taken


@dataclass(frozen=True, eq=False)
class Slot(Generic[T]):
    """One item in a job."""

    work: Work[T]
    index: int

    @property
    def item(self) -> T:
        """What is sent."""
        return self.work.items[self.index]

    @property
    def shots(self) -> int:
        """Of the item."""
        return self.work.shots[self.index]


@dataclass(eq=False)
class _Line(Generic[T]):
    """The works of one owner."""

    owner: str
    heap: list[tuple[tuple[int, float, int], Work[T]]] = field(default_factory=list)
    version: int = 0
    paused: bool = False


class Queue(Generic[T]):
    """Works in the order in which they go: the same arrivals and calls give the same order.

    The highest priority goes first; within it the earliest deadline, then the owner who was served the fewest shots,
    then the earliest arrival.

    Example:
        >>> queue = Queue()
        >>> for owner, priority in (("a", 0), ("b", 5), ("c", 0)):
        ...     queue.add(Work(owner, [owner + "1", owner + "2"], [100, 100], priority))
        >>> [[slot.item for slot in job] for job in queue.jobs(Limits(circuits=3))]
        [['b1', 'b2', 'a1']]
        >>> [[slot.item for slot in job] for job in queue.jobs(Limits())]
        [['c1', 'a2', 'c2']]
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line[T]] = {}
        self._heads: list[tuple[tuple[int, float, int, int], str, int]] = []
        self._deadlines: list[tuple[float, int, Work[T]]] = []
        self._served: Counter[str] = Counter()
        self._arrivals = 0
        self._size = 0

    def __len__(self) -> int:
        """How many items wait, those of paused owners included."""
        return self._size

    def add(self, work: Work[T]) -> None:
        """Put a work in its place."""
        work.arrival = self._arrivals
        self._arrivals += 1
        if not work.items:
            return
        line = self._lines.setdefault(work.owner, _Line(work.owner))
        if not line.heap:
            self._come(work.owner)
        heapq.heappush(line.heap, (work.rank, work))
        if work.deadline is not None:
            heapq.heappush(self._deadlines, (work.deadline, work.arrival, work))
        self._size += len(work.items)
        self._announce(line)

    def _come(self, owner: str) -> None:
        """Who was away, or held back, has no claim on what the others were served meanwhile."""
        active = [self._served[o] for o, line in self._lines.items() if o != owner and line.heap and not line.paused]
        self._served[owner] = max(self._served[owner], min(active, default=0))

    def cancel(self, owner: str) -> list[Work[T]]:
        """Take everything of an owner out that is not in a job yet; the works it was part of.

        An owner who is held back stays so.
        """
        line = self._lines.get(owner)
        if line is None:
            return []
        works = [work for _, work in sorted(line.heap, key=lambda entry: entry[0])]
        line.heap = []
        self._leave(works)
        if line.paused:
            self._announce(line)
        else:
            del self._lines[owner]
        return works

    def remove(self, work: Work[T]) -> bool:
        """Take one work out, as far as it is not in a job yet; whether anything of it waited."""
        line = self._lines.get(work.owner)
        if line is None or not work.left:
            return False
        line.heap = [entry for entry in line.heap if entry[1] is not work]
        heapq.heapify(line.heap)
        self._leave([work])
        self._announce(line)
        return True

    def _leave(self, works: Sequence[Work[T]]) -> None:
        for work in works:
            self._size -= work.left
            work.gone = True

    def pause(self, owner: str, paused: bool = True) -> None:
        """Hold back what an owner has in the queue and adds to it, or let it go on."""
        line = self._lines.setdefault(owner, _Line(owner))
        if line.paused and not paused:
            self._come(owner)
        line.paused = paused
        if not paused:
            self._announce(line)

    def prioritize(self, owner: str, priority: int) -> None:
        """Give everything of an owner another priority."""
        checks.integer("priority", priority)
        line = self._lines.get(owner)
        if line is not None:
            for _, work in line.heap:
                work.priority = priority
            line.heap = [(work.rank, work) for _, work in line.heap]
            heapq.heapify(line.heap)
            self._announce(line)

    def expired(self, now: float) -> list[Work[T]]:
        """Take out the works whose deadline has passed."""
        late = []
        while self._deadlines and self._deadlines[0][0] < now:
            work = heapq.heappop(self._deadlines)[2]
            if self.remove(work):
                late.append(work)
        return sorted(late, key=lambda w: w.arrival)

    def waiting(self) -> list[Work[T]]:
        """What is not in a job yet, by priority, deadline and arrival; that of paused owners included."""
        works = [work for line in self._lines.values() for _, work in line.heap]
        return sorted(works, key=lambda work: work.rank)

    def jobs(
        self, limits: Limits, same: Callable[[T], Hashable] | None = None, most: int | None = None
    ) -> list[list[Slot[T]]]:
        """The next submission: as few jobs as carry all that waits with the highest priority.

        What room is left in the last of them is given to the next in line; nothing of the highest priority waits for
        that.

        Args:
            limits: of a job.
            same: those items of which it says the same go into one job, and take the room of one; None: no two.
            most: how many jobs at most; None for no limit.
        """
        out: list[list[Slot[T]]] = []
        places: dict[Hashable, int] = {}
        highest: int | None = None
        circuits = shots = 0
        while (line := self._next()) is not None:
            work = line.heap[0][1]
            highest = work.priority if highest is None else highest
            slot = Slot(work, work.taken)
            name = None if same is None or work.alone else same(slot.item)
            place = None if name is None else places.get(name)
            if place is None:
                apart = bool(out) and (work.alone or out[-1][0].work.alone)
                if not out or apart or not _room(limits, circuits, shots, slot.shots):
                    if out and (apart or work.priority < highest or len(out) == most):
                        break
                    out.append([])
                    circuits = shots = 0
                place = len(out) - 1
                circuits += 1
                shots += slot.shots
                if name is not None:
                    places[name] = place
            out[place].append(slot)
            self._take(line)
        return out

    def _next(self) -> _Line[T] | None:
        """The line whose head goes next; it stays in its place."""
        while self._heads:
            _, owner, version = self._heads[0]
            line = self._lines.get(owner)
            if line is not None and line.version == version and line.heap and not line.paused:
                return line
            heapq.heappop(self._heads)
        return None

    def _take(self, line: _Line[T]) -> None:
        work = line.heap[0][1]
        self._served[line.owner] += work.shots[work.taken]
        work.taken += 1
        self._size -= 1
        if work.taken == len(work.items):
            heapq.heappop(line.heap)
        self._announce(line)

    def _announce(self, line: _Line[T]) -> None:
        """Say anew where a line stands; what was said before of it no longer counts."""
        line.version += 1
        if line.heap and not line.paused:
            priority, deadline, arrival = line.heap[0][0]
            key = (priority, deadline, self._served[line.owner], arrival)
            heapq.heappush(self._heads, (key, line.owner, line.version))


def packed(items: Sequence[T], shots: Sequence[int], limits: Limits) -> list[list[T]]:
    """Items of one owner in the jobs that they need alone.

    Args:
        items: in order.
        shots: of each.
        limits: of a job.
    """
    alone: Queue[T] = Queue()
    alone.add(Work("", items, shots))
    return [[slot.item for slot in slots] for slots in alone.jobs(limits)]


def _room(limits: Limits, circuits: int, shots: int, more: int) -> bool:
    """Whether a job of so many circuits and shots takes one more circuit of `more` shots."""
    if limits.circuits is not None and circuits >= limits.circuits:
        return False
    return limits.job_shots is None or shots + more <= limits.job_shots
