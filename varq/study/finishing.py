"""Having the batches of a study run: which is next, what came back, and what is asked again after a worker was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from varq import checks, spec
from varq.devices.prices import Price
from varq.session.interrupt import REQUEUE, Interrupts
from varq.session.terms import refuse_objects
from varq.store.faults import OwnedError, StoreError
from varq.store.store import Store
from varq.study.cells import Batch, Layout
from varq.study.executors import Executor, Here
from varq.study.lost import ClusterLost, WorkerLost
from varq.study.needs import Labels, slots
from varq.study.permits import touched
from varq.study.placement import Placements
from varq.study.purse import Purse
from varq.study.waiting import Waiting
from varq.study.watching import Watching
from varq.study.work import Cause, Cell, Done, End, Order, Party, State, failed, work, work_in

__all__ = ["Finishing"]

log = logging.getLogger("varq")

_LOSSES = 5  # workers that may be lost with one batch before something is taken to be wrong with it
_AHEAD = 2  # orders for each worker that are under way at a time: none waits, and few are held in memory
_BUNDLE = 16  # most cells that are run by themselves in one order
_OUT = "run it where it is made: finish() in this process, or finish(shard=(1, 4)) in the script of each of 4 jobs"
_BUSY = 1.0  # seconds until cells that another process owned are asked again


class Finishing:
    """One call of `Study.finish`.

    Args:
        layout: the cells and batches.
        store: where results go.
        executor: where batches run.
        left: the cells that are to be run, by number.
        among: the batches that are looked at, by number.
        watching: is told of each order that begins or ended, and of the steps of runs in this process.
        placements: is told where they ran.
        purse: what they may use up; None for no limit.
        permit: the file that workers see while the work is wanted; None for none.
        prices: of devices, those of one's own; None for none.
    """

    def __init__(
        self,
        layout: Layout,
        store: Store,
        executor: Executor,
        left: Iterable[int],
        among: Iterable[int],
        watching: Watching,
        placements: Placements,
        purse: Purse | None = None,
        permit: Path | None = None,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._layout, self._store, self._executor = layout, store, executor
        self._watching, self._placements, self._purse, self._permit = watching, placements, purse, permit
        self._prices = prices
        wanted = set(left)
        missing = {number: self._missing(layout.batches[number], wanted) for number in among}
        self._left = {number: cells for number, cells in missing.items() if cells}
        self._waiting = Waiting(layout.batches, self._left)
        self._losses: Counter[int] = Counter()
        self._reached: Counter[int] = Counter()  # steps of batches that were recorded when they lost a worker
        self._solo: set[int] = set()  # batches that are asked for by themselves, to see which of several loses workers
        self._under_way: dict[Future[Any], Order] = {}
        self._flying: Counter[Labels] = Counter()
        self._errors: list[BaseException] = []
        self._interrupts = Interrupts()
        self._here = isinstance(executor, Here)
        self._run: Callable[[Order], Done] = (
            partial(work_in, store=store, observers=(watching.observe,), ended=self._pressed) if self._here else work
        )
        self._later: list[int] = []
        self._owned: set[int] = set()  # batches of which it was said that another process has some cells
        self._said = ""
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it while something was left of what it was to do."""
        return self._stopped and any(self._left.values())

    def _pressed(self) -> bool:
        return self._interrupts.count > 0

    @staticmethod
    def _missing(batch: Batch, wanted: set[int]) -> list[int]:
        return [cell for cell in batch.cells if cell in wanted]

    def run(self) -> None:
        """Go on until nothing is left that can be run.

        Raises:
            StoreError: if the store cannot do its part; what is recorded stays.
            RuntimeError: if a batch lost its worker again and again, or the executor is gone.
            SystemExit: after SIGTERM, with the status on which a batch script requeues.
        """
        try:
            with self._interrupts.watched():  # while runs are driven in this process, what drives them counts
                self._go()
        except KeyboardInterrupt:
            for future in self._under_way:  # what has not begun; the executor is perhaps of use to somebody else
                future.cancel()
            raise
        if self._interrupts.terminated:
            raise SystemExit(REQUEUE)
        if self._errors:
            raise self._errors[0]

    def _go(self) -> None:
        told = False
        while True:
            self._stopped = self._stopped or self._pressed()
            stop = self._stopped or bool(self._errors)
            if not stop:
                try:
                    self._hand_out()
                except ClusterLost as error:
                    self._errors.append(error)
            if not self._under_way:
                if stop or self._errors or not self._later:
                    break
                time.sleep(_BUSY)
                self._ask_later()
                continue
            if stop and not told:
                told = True
                self._stop()
            touched(self._permit)
            done, _ = wait(self._under_way, timeout=_BUSY, return_when=FIRST_COMPLETED)
            if not done:
                self._idle(stop)
            for future in done:
                order = self._under_way.pop(future)
                self._flying[self._labels(order)] -= 1
                self._take(order, future)
        self._stopped = self._stopped or self._pressed()

    def _stop(self) -> None:
        """Have workers stop after the evaluation in flight."""
        if self._permit is not None:  # whoever they are; and a signal does not reach a worker that is about to begin
            self._permit.unlink(missing_ok=True)
        if hasattr(self._executor, "interrupt"):
            self._executor.interrupt()

    def _idle(self, stop: bool) -> None:
        """Nothing came back for a while."""
        if stop:  # what was at work when all others were called back may have lost its worker since
            if hasattr(self._executor, "call_back"):
                self._executor.call_back()
            return
        try:
            said = self._executor.standing() if hasattr(self._executor, "standing") else ""
        except ClusterLost as error:
            self._errors.append(error)
            return
        if said and said != self._said:
            log.warning(said)
        self._said = said
        self._watching.look()
        self._ask_later()

    def _ask_later(self) -> None:
        for number in self._later:
            self._waiting.put(number)
        self._later.clear()

    # -- orders go out

    def _labels(self, order: Order) -> Labels:
        return self._layout.batches[order.parties[0].batch].labels

    def _hand_out(self) -> None:
        """Give orders while there is room for them."""
        while not self._errors and (numbers := self._next()):
            order = self._order(numbers)
            if order is None:
                if self._purse is not None and self._purse.over(numbers[0]):
                    continue  # those of other kinds are not kept waiting by it
                return  # what others do not use up comes back
            batch = self._layout.batches[numbers[0]]
            self._watching.tell(order.cells, None)
            self._placements.given(order, batch)
            try:
                place = getattr(self._executor, "place", None)
                if place is None:
                    future = self._executor.submit(self._run, order)
                else:
                    future = place(batch.labels, batch.priority, self._run, order)
            except (BrokenExecutor, OSError) as error:
                self._errors.append(_broken(error))
                return
            self._under_way[future] = order
            self._flying[batch.labels] += 1

    def _next(self) -> list[int]:
        """The batches of the next order: one, or several of a cell each."""
        workers = getattr(self._executor, "workers", None) or getattr(self._executor, "_max_workers", None) or 1
        for labels, length in self._waiting.lanes():
            places = min(workers, max(1, slots(labels, self._offers()))) if labels and not self._here else workers
            if self._flying[labels] >= (1 if self._here else _AHEAD * places) or (self._here and self._under_way):
                continue
            most = 1 if self._purse is not None else max(1, min(_BUNDLE, length // (4 * places)))
            found = self._waiting.take(labels, most)
            alone = [number for number in found if number in self._solo]
            if alone and len(found) > 1:
                for number in found:
                    if number != alone[0]:
                        self._waiting.put(number)
                return alone[:1]
            return found
        return []

    def _offers(self) -> Any:
        offers = self._executor.offers() if hasattr(self._executor, "offers") else {}
        return {} if offers is None else offers

    def _order(self, numbers: Sequence[int]) -> Order | None:
        """What a worker is asked to do; None if the budget has no place for it just now."""
        parts = {}
        for number in numbers:
            if self._purse is not None:
                part = self._purse.lease(number, self._left[number], alone=not self._under_way)
                if part is None:
                    if not self._purse.over(number):
                        self._waiting.put(number)
                    return None
                parts[number] = part
        arrays: dict[str, Any] = {}
        parties = []
        for number in numbers:
            batch = self._layout.batches[number]
            left = self._left[number]
            apart = [index for index in batch.cells if batch.seats > 1 and index not in left]
            cells, others = ([self._cell(index, batch, arrays) for index in some] for some in (left, apart))
            parties.append(Party(number, batch.seats, tuple(cells), parts.get(number), tuple(others)))
        return Order(self._store.path, tuple(parties), arrays, self._permit, self._prices)

    def _cell(self, index: int, batch: Batch, arrays: dict[str, Any]) -> Cell:
        task = self._layout.task(index)
        if not self._here:
            text = spec.dumps(task, arrays)
            refuse_objects({}, {task.title: text}, _OUT)
            task = text
        return Cell(index, batch.cells.index(index), task, self._layout.ids[index])

    # -- and come back

    def _take(self, order: Order, future: Future[Any]) -> None:
        """Note what came back of an order."""
        numbers = [party.batch for party in order.parties]
        error = CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            back = isinstance(error, CancelledError)
            ended = isinstance(error, SystemExit) and error.code == REQUEUE
            why = "called back" if back else "told to end" if ended else f"{type(error).__name__}: {error}"
            self._placements.lost(order, why)
            self._watching.tell(order.cells, ())
            if back:
                self._again(numbers)
            else:
                self._lost(numbers, error)
            return
        done: Done = future.result()
        self._placements.came(order, done, getattr(future, "worker", ""))
        self._watching.tell(order.cells, done.ends, "" if self._here else _place(done, future))
        ends = {end.index: end for end in done.ends}
        for party in order.parties:
            found = {cell.index: ends.get(cell.index) for cell in party.cells}
            self._settle(party.batch, found)

    def _settle(self, number: int, found: dict[int, End | None]) -> None:
        """Note what became of the cells of a batch."""
        left = {index: end for index, end in found.items() if end is None or end.state is State.UNFINISHED}
        self._left[number] = list(left)
        causes = {Cause.NONE if end is None else end.cause for end in left.values()}
        self._say_owned(number, [end.message for end in left.values() if end is not None and end.cause is Cause.OWNED])
        short = Cause.BUDGET in causes
        paid = self._purse is None or self._purse.returned(number, list(found), short, owned=Cause.OWNED in causes)
        if not left:
            self._waiting.finished(number)
        elif causes & {Cause.STOPPED, Cause.NONE} and Cause.OWNED not in causes:
            self._stopped = True
        elif Cause.OWNED in causes:
            self._later.append(number)
        elif paid:
            self._waiting.put(number)

    def _say_owned(self, number: int, owners: Sequence[str]) -> None:
        """Say once who is waited for, and since when."""
        if not owners:
            self._owned.discard(number)
        elif number not in self._owned and owners[0]:
            self._owned.add(number)
            cells = checks.counted(len(owners), "cell")
            log.warning("The study waits for %s of another process. %s", cells, owners[0])

    def _again(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._waiting.put(number)

    def _lost(self, numbers: Sequence[int], error: BaseException) -> None:
        if isinstance(error, SystemExit):
            if error.code == REQUEUE:  # no fault of its cells, however often it happens
                log.warning("A worker was told to end. Its cells are asked again; what it had recorded is kept.")
                self._again(numbers)
                return
            error = WorkerLost(f"A worker ended itself with status {error.code}.")
        if isinstance(error, KeyboardInterrupt):
            self._stopped = True
        elif not isinstance(error, (BrokenExecutor, StoreError, OSError)):
            self._errors.append(error)
        elif self._here:
            self._errors.append(error if isinstance(error, (StoreError, OSError)) else _broken(error))
        elif self._worth_asking(numbers, error):
            log.warning("A worker was lost: %s Its cells are asked again; what it had recorded is kept.", error)
            self._again(numbers)

    def _worth_asking(self, numbers: Sequence[int], error: BaseException) -> bool:
        """Whether what lost its worker is to be asked again: several batches one by one, one of them not for ever."""
        if len(numbers) > 1:
            self._solo.update(numbers)
            return True
        (number,) = numbers
        if self._got_further(number):  # machines that are taken away, say, and no fault of what they did
            del self._losses[number]
            return True
        self._losses[number] += getattr(error, "times", 1)
        if self._losses[number] < _LOSSES:
            return True
        if not isinstance(error, BrokenExecutor):
            self._errors.append(error)
        elif (begun := self._given_up(number, error)) is None:
            self._later.append(number)
        elif not begun:
            self._errors.append(_broken(error))
        return False

    def _got_further(self, number: int) -> bool:
        """Whether more steps of a batch are recorded than when its worker was lost before."""
        records = self._store.several([self._layout.ids[index] for index in self._left[number]])
        before, self._reached[number] = self._reached[number], sum(record.steps for record in records)
        return self._reached[number] > before

    def _given_up(self, number: int, error: BaseException) -> bool | None:
        """Keep as the end of cells that had begun that they end whatever runs them; whether there were such cells.

        None if another process has one of them.
        """
        message = (
            f"{type(error).__name__}: {checks.counted(self._losses[number], 'worker')} ended while doing it, the last: "
            f"{error} Perhaps it needs more memory than a worker has."
        )
        ends: dict[int, End] = {}
        try:
            for index in self._left[number]:
                run = self._layout.ids[index]
                with self._store.lease(run, self._store.jobs.late(run)):
                    if failed(self._store, run, message):
                        ends[index] = End(index, State.FAILED, message)
        except OwnedError:
            return None
        if not ends:
            return False
        log.error("%s failed: %s", checks.counted(len(ends), "cell"), message)
        self._watching.tell(list(ends), list(ends.values()))
        # A cell of the batch that had not begun is asked for again, without the others.
        waiting = {index: End(index, State.UNFINISHED, cause=Cause.OWNED) for index in self._left[number]}
        self._settle(number, {**waiting, **ends})
        return True


def _place(done: Done, future: Future[Any]) -> str:
    """Where an order was done, in few letters."""
    return str(getattr(future, "worker", "") or f"{done.host}, pid {done.pid}")


def _broken(error: BaseException) -> RuntimeError:
    said = f"The workers of a study were lost {checks.counted(_LOSSES, 'time')}, or take nothing more: {error}"
    return RuntimeError(f"{said} What was recorded is kept: finish the study again, with another executor perhaps.")
