"""Having the batches of a study run: which is next, what came back, and what is asked again after a worker was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import partial
from typing import Any

from varq import checks, spec
from varq.protocol import Observer
from varq.session.interrupt import REQUEUE, Interrupts
from varq.session.terms import refuse_objects
from varq.store.faults import StoreError
from varq.store.store import Store
from varq.study.cells import Batch, Layout
from varq.study.executors import Executor, Here
from varq.study.work import Cell, End, Order, Party, State, work, work_in

__all__ = ["Finishing"]

log = logging.getLogger("varq")

_LOSSES = 5  # times that a batch may lose its worker before something is taken to be wrong with it
_AHEAD = 2  # orders for each worker that are under way at a time: none waits, and few are held in memory
_BUNDLE = 16  # most cells that are run by themselves in one order
_BUSY = 1.0  # seconds until cells that another process owned are asked again


class Finishing:
    """One call of `Study.finish`.

    Args:
        layout: the cells and batches.
        store: where results go.
        executor: where batches run.
        left: the cells that are to be run, by number.
        among: the batches that are looked at, by number.
        tell: is told of each order that begins or ended: the cells, and what became of them.
        observers: of the runs, where they run in this process.
    """

    def __init__(
        self,
        layout: Layout,
        store: Store,
        executor: Executor,
        left: Iterable[int],
        among: Iterable[int],
        tell: Callable[[Sequence[int], Sequence[End] | None], None],
        observers: Sequence[Observer] = (),
    ) -> None:
        self._layout, self._store, self._executor = layout, store, executor
        self._tell = tell
        wanted = set(left)
        self._left = {number: self._missing(layout.batches[number], wanted) for number in among}
        self._waiting = deque(sorted(number for number, cells in self._left.items() if cells))
        self._unfinished = {number for number, cells in self._left.items() if cells}
        self._losses: Counter[int] = Counter()
        self._under_way: dict[Future[Any], Order] = {}
        self._errors: list[BaseException] = []
        self._run: Callable[[Order], Sequence[End]] = (
            partial(work_in, store=store, observers=tuple(observers)) if isinstance(executor, Here) else work
        )
        self._later: list[int] = []
        self.stopped = False

    @staticmethod
    def _missing(batch: Batch, wanted: set[int]) -> list[int]:
        return [cell for cell in batch.cells if cell in wanted]

    def run(self) -> None:
        """Go on until nothing is left that can be run.

        Raises:
            StoreError: if the store cannot do its part; what is recorded stays.
            RuntimeError: if a batch lost its worker again and again.
            SystemExit: after SIGTERM, with the status on which a batch script requeues.
        """
        interrupts = Interrupts()
        here = isinstance(self._executor, Here)
        try:
            if here:  # the loop of the runs counts the signals
                self._go(interrupts)
            else:
                with interrupts.watched():
                    self._go(interrupts)
        except KeyboardInterrupt:
            self.stopped = True
            self._executor.shutdown(wait=False, cancel_futures=True)
            raise
        if interrupts.terminated:
            raise SystemExit(REQUEUE)
        if self._errors:
            raise self._errors[0]

    def _go(self, interrupts: Interrupts) -> None:
        told = False
        while True:
            stop = self.stopped or interrupts.count > 0 or bool(self._errors)
            if not stop:
                self._hand_out()
            if not self._under_way:
                if stop or not self._later:
                    break
                time.sleep(_BUSY)
                self._waiting.extend(self._later)
                self._later.clear()
                continue
            if stop and not told and hasattr(self._executor, "interrupt"):
                told = True
                self._executor.interrupt()
            done, _ = wait(self._under_way, timeout=_BUSY, return_when=FIRST_COMPLETED)
            for future in done:
                self._take(self._under_way.pop(future), future)
        self.stopped = self.stopped or interrupts.count > 0

    def _hand_out(self) -> None:
        """Give orders while there is room for them."""
        workers = getattr(self._executor, "workers", None) or getattr(self._executor, "_max_workers", None) or 1
        most = 1 if isinstance(self._executor, Here) else _AHEAD * workers
        while len(self._under_way) < most and (numbers := self._next(workers)):
            order = self._order(numbers)
            cells = [cell.index for party in order.parties for cell in party.cells]
            self._tell(cells, None)
            try:
                self._under_way[self._executor.submit(self._run, order)] = order
            except BrokenExecutor as error:
                self._errors.append(_broken(error))
                return

    def _next(self, workers: int) -> list[int]:
        """The batches of the next order: one, or several of a cell each."""
        found: list[int] = []
        held: list[int] = []
        most = max(1, min(_BUNDLE, len(self._waiting) // (4 * workers)))
        while self._waiting and len(found) < most:
            number = self._waiting.popleft()
            batch = self._layout.batches[number]
            if any(needed in self._unfinished for needed in batch.needs):
                held.append(number)
            elif batch.seats > 1 and found:
                held.append(number)
                break
            else:
                found.append(number)
                if batch.seats > 1:
                    break
        self._waiting.extendleft(reversed(held))
        return found

    def _order(self, numbers: Sequence[int]) -> Order:
        arrays: dict[str, Any] = {}
        parties = []
        for number in numbers:
            batch = self._layout.batches[number]
            cells = tuple(self._cell(index, batch, arrays) for index in self._left[number])
            parties.append(Party(number, batch.seats, cells))
        return Order(self._store.path, tuple(parties), arrays)

    def _cell(self, index: int, batch: Batch, arrays: dict[str, Any]) -> Cell:
        task = self._layout.task(index)
        if not isinstance(self._executor, Here):
            text = spec.dumps(task, arrays)
            refuse_objects({}, {task.title: text})
            task = text
        return Cell(index, batch.cells.index(index), task)

    def _take(self, order: Order, future: Future[Any]) -> None:
        """Note what came back of an order."""
        numbers = [party.batch for party in order.parties]
        error = None if future.cancelled() else future.exception()
        if future.cancelled():
            self._waiting.extendleft(reversed(numbers))
            return
        if error is not None:
            self._lost(numbers, error)
            return
        ends: dict[int, End] = {end.index: end for end in future.result()}
        self._tell([cell.index for party in order.parties for cell in party.cells], list(ends.values()))
        for party in order.parties:
            found = [ends.get(cell.index) for cell in party.cells]
            left = [
                c.index for c, e in zip(party.cells, found, strict=True) if e is None or e.state is State.UNFINISHED
            ]
            self._left[party.batch] = left
            if not left:
                self._unfinished.discard(party.batch)
            elif all(end is not None and end.message for end in found if end is None or end.index in left):
                self._later.append(party.batch)  # another process owns them just now
            else:
                self.stopped = True

    def _lost(self, numbers: Sequence[int], error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.stopped = True
            return
        if not isinstance(error, (BrokenExecutor, StoreError, OSError)):
            self._errors.append(error)
            return
        self._losses.update(numbers)
        if max(self._losses[number] for number in numbers) < _LOSSES and not isinstance(self._executor, Here):
            log.warning("A worker was lost: %s Its cells are asked again; what it had recorded is kept.", error)
            self._waiting.extendleft(reversed(numbers))
            return
        self._errors.append(error if isinstance(error, (StoreError, OSError)) else _broken(error))


def _broken(error: BaseException) -> RuntimeError:
    said = f"The workers of a study were lost {checks.counted(_LOSSES, 'time')}, or take nothing more: {error}"
    return RuntimeError(f"{said} What was recorded is kept: finish the study again, with another executor perhaps.")
