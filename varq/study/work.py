"""What a worker does: it gets specs, builds circuits where it is, and writes to a file of the store of its own."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from varq import names, spec
from varq.devices.credentials import clean_text
from varq.devices.prices import Price
from varq.node.together import Together
from varq.protocol import Event, Observer, Reason, Result
from varq.session.budget import Budget
from varq.session.gang import drive_together
from varq.session.planning import planned
from varq.session.run import Run
from varq.session.session import Session
from varq.store.faults import OwnedError, StoreError
from varq.store.parts import claimed
from varq.store.store import Store, open_store
from varq.study.permits import order_lease
from varq.study.suited import unseen

__all__ = [
    "Cause",
    "Cell",
    "Done",
    "End",
    "Order",
    "Party",
    "State",
    "apart",
    "failed",
    "work",
    "work_in",
]

log = logging.getLogger("varq")

_LOOK = 0.5  # seconds between looks whether the work is still wanted


class State(StrEnum):
    """How a cell stands."""

    MISSING = "missing"  # nothing of it is recorded
    UNFINISHED = "unfinished"  # some of it is
    DONE = "done"
    FAILED = "failed"  # it ended by an error, or at a value that is not finite


class Cause(StrEnum):
    """Why a cell that was asked for has not ended."""

    NONE = ""
    OWNED = "owned"  # another process has it
    BUDGET = "budget"  # what it was given is used up
    STOPPED = "stopped"  # a person stopped it


@dataclass(frozen=True)
class Cell:
    """A cell that is to be run.

    Args:
        index: its number in the study.
        seat: its place among those that are evaluated together.
        task: its spec; for other processes its canonical JSON.
        run: the id of its run.
    """

    index: int
    seat: int
    task: Any
    run: str


@dataclass(frozen=True)
class Party:
    """Cells that are evaluated together.

    Args:
        batch: its number in the study.
        seats: of all its cells, those that are done among them.
        cells: that are to be run.
        budget: what they may use up together; None for no limit.
        others: cells of the batch that are not; what is compiled is that of all, whatever is done already.
    """

    batch: int
    seats: int
    cells: tuple[Cell, ...]
    budget: Budget | None = None
    others: tuple[Cell, ...] = ()


@dataclass(frozen=True, eq=False)
class Order:
    """What a worker is asked to do.

    Args:
        store: folder of the store.
        parties: one after the other.
        arrays: the large arrays that the specs name, by SHA-256.
        permit: a file in that folder without which nothing more of it is done; None for none.
        prices: of devices, those of one's own; None for none.
    """

    store: Path | None
    parties: tuple[Party, ...]
    arrays: Mapping[str, NDArray[Any]]
    permit: Path | None = None
    prices: Mapping[str, Price] | None = None

    @property
    def cells(self) -> list[int]:
        """The numbers of all its cells."""
        return [cell.index for party in self.parties for cell in party.cells]

    def task(self, cell: Cell) -> Any:
        """A cell's spec."""
        return spec.loads(cell.task, self.arrays.__getitem__) if isinstance(cell.task, str) else cell.task


@dataclass(frozen=True)
class End:
    """What became of a cell.

    Args:
        index: its number in the study.
        state: how it stands.
        message: what went wrong, or who owns it.
        cause: why it has not ended.
        began: in seconds since 1970.
        ended: the same.
        steps: done so far.
        value: that its run found; None where there is none.
    """

    index: int
    state: State
    message: str = ""
    cause: Cause = Cause.NONE
    began: float = 0.0
    ended: float = 0.0
    steps: int = 0
    value: float | None = None


@dataclass(frozen=True)
class Done:
    """What became of an order, and where.

    Args:
        ends: of its cells, as far as it came.
        host: the machine.
        pid: of the process.
        versions: of the packages there.
    """

    ends: tuple[End, ...]
    host: str
    pid: int
    versions: Mapping[str, str]


class _Halting:
    """Stops runs after the evaluation in flight once nobody wants them any more.

    Args:
        permit: the file without which they are not wanted; None for none.
        ended: whether somebody in this process ended it.
    """

    def __init__(self, permit: Path | None, ended: Callable[[], bool]) -> None:
        self._permit = permit
        self._ended = ended
        self._runs: list[Run] = []
        self._looked = -math.inf
        self._gone = False

    def over(self) -> bool:
        """Whether nobody wants them; looks for the file now and then."""
        now = time.monotonic()
        if self._permit is not None and now - self._looked >= _LOOK:
            self._looked = now
            self._gone = not self._permit.exists()
        return self._gone or self._ended()

    def begin(self, run: Run) -> None:
        """Watch a run, too."""
        self._runs = [known for known in self._runs if not known.done] + [run]

    def __call__(self, event: Event) -> None:
        """Something happened in a run."""
        if self.over():
            for run in self._runs:
                run.stop()


def work(order: Order) -> Done:
    """Do what an order asks, in any process that sees the store's folder.

    Raises:
        ValueError: if the store is in memory, or is not to be seen from here.
        StoreError: if the store cannot do its part; what is recorded stays.
    """
    if order.store is None:
        raise ValueError("Workers need a store on disk. This one is in memory. Give sweep(..., store='folder').")
    host = socket.gethostname()
    if order.permit is not None and not order.permit.exists():
        return _done(_refused(order, order.store, host), host)
    with apart(order.store, host) as store:
        return work_in(order, store)


@contextmanager
def apart(folder: Path, host: str) -> Iterator[Store]:
    """A store with a file that this process alone writes inside the block, beside those of others.

    Args:
        folder: of the store.
        host: this machine's name.
    """
    with claimed(folder, host) as part, open_store(folder, host=host, part=part) as store:
        yield store


def _refused(order: Order, folder: Path, host: str) -> list[End]:
    """Without its permit an order is not wanted any more, or the folder is not the one that the client has."""
    if not folder.is_dir() or not any(folder.glob("*.sqlite")):
        raise unseen(folder, [host])
    return _unwanted(order)


def _unwanted(order: Order) -> list[End]:
    return [End(index, State.UNFINISHED, cause=Cause.STOPPED) for index in order.cells]


def _done(ends: Sequence[End], host: str) -> Done:
    return Done(tuple(ends), host, os.getpid(), names.versions())


def work_in(
    order: Order, store: Store, observers: Sequence[Observer] = (), ended: Callable[[], bool] = lambda: False
) -> Done:
    """`work`, with a store that is open; stops after a party that was interrupted, or once it is said to be ended."""
    ends: list[End] = []
    halting = _Halting(order.permit, ended)
    watching: list[Observer] = [*observers, halting]
    # While any lease is held the store's heartbeat goes on: it need not be started anew for each cell.
    with store.lease(order_lease(order.permit)):
        # Looked at once more: who takes the permit away and then sees no such lease may be sure that nothing goes on.
        wanted = order.permit is None or order.permit.exists()
        for party in order.parties if wanted else ():
            if halting.over():
                break
            session = Session(store=store, budget=party.budget, prices=order.prices, progress=False, observers=watching)
            began = time.time()
            try:
                working = _Working(session, order, halting)
                found = working.together(party) if party.seats > 1 else working.alone(party)
            finally:
                session.close()
            now = time.time()
            ends += [dataclasses.replace(end, began=began, ended=now) for end in found]
            if any(end.cause is Cause.STOPPED for end in found):
                break
    return _done(ends if wanted else _unwanted(order), socket.gethostname())


@dataclass(frozen=True, eq=False)
class _Working:
    """The cells of one party, in a session of theirs."""

    session: Session
    order: Order
    halting: _Halting

    def alone(self, party: Party) -> list[End]:
        """One cell after the other."""
        ends = []
        for cell in party.cells:
            if self.halting.over():
                break
            try:
                run = self._started(cell)
                result = run.result or run.finish()
            except Exception as error:
                ends.append(self._ended(cell, error))
            else:
                ends.append(_end(cell, result))
        return ends

    def together(self, party: Party) -> list[End]:
        """All cells by one compiled function."""
        ends: dict[int, End] = {}
        runs: dict[int, Run] = {}
        costs: Together | None = None
        for cell in party.cells:
            try:
                run = self._started(cell)
                if not run.done:
                    costs = costs or Together(party.seats, run.spec.precision)
                    run.loop.take(planned(run.spec, self.session.store, run.id, costs.seat(cell.seat)))
                    runs[cell.seat] = run
                elif run.result is not None:
                    ends[cell.index] = _end(cell, run.result)
            except Exception as error:
                ends[cell.index] = self._ended(cell, error)
        if costs is not None:
            for cell in (*party.others, *(cell for cell in party.cells if cell.seat not in runs)):
                self._seated(cell, costs)
        errors = {} if costs is None else drive_together(runs, costs.evaluate, self.session.desk.account)
        for cell in party.cells:
            if cell.seat in errors:
                ends[cell.index] = self._ended(cell, errors[cell.seat])
            elif cell.seat in runs:
                ends[cell.index] = _end(cell, runs[cell.seat].result)
        return [ends[cell.index] for cell in party.cells]

    def _started(self, cell: Cell) -> Run:
        late = self.session.store.jobs.late(cell.run)
        run = self.session.start(self.order.task(cell), take_over=late)
        run.spoken_for = True
        self.halting.begin(run)
        return run

    def _seated(self, cell: Cell, costs: Together) -> None:
        """Put the cost of a cell that is not run on its seat, as it was or will be when it is run."""
        with suppress(Exception):  # told where it is run, and without a seat there
            task = dataclasses.replace(self.order.task(cell), initial=None)
            task.resolve(task.device, task.shots).plan(costs.seat(cell.seat))

    def _ended(self, cell: Cell, error: BaseException) -> End:
        """Keep an error as the end of a cell's run, unless the store is at fault."""
        if isinstance(error, OwnedError):
            return End(cell.index, State.UNFINISHED, str(error), Cause.OWNED)
        if isinstance(error, StoreError) or not isinstance(error, Exception):
            raise error
        message = clean_text(f"{type(error).__name__}: {error}")
        log.error("cell %d failed: %s", cell.index, message)
        failed(self.session.store, cell.run, message)
        return End(cell.index, State.FAILED, message)


def _end(cell: Cell, result: Result | None) -> End:
    steps, value = (0, None) if result is None else (result.steps, result.value)
    if result is None or result.reason in (Reason.STOPPED, Reason.BUDGET):
        cause = Cause.BUDGET if result is not None and result.reason is Reason.BUDGET else Cause.STOPPED
        return End(cell.index, State.UNFINISHED, cause=cause, steps=steps, value=value)
    bad = result.reason in (Reason.FAILED, Reason.NONFINITE)
    state = State.FAILED if bad else State.DONE
    return End(cell.index, state, result.message if bad else "", steps=steps, value=value)


def failed(store: Store, run: str, message: str) -> bool:
    """Note an error as the end of a run that has begun and has none; whether there was such a run."""
    record = store.get(run)
    if record is None:
        return False
    if record.reason is None:
        result = Result(
            run_id=record.id,
            title=record.title,
            value=None,
            stderr=None,
            reference=None,
            reason=Reason.FAILED,
            parameters=None,
            steps=record.steps,
            executions=0,
            seconds=record.seconds,
            device=record.device,
            message=message,
        )
        store.conclude(
            record.id, reason=result.reason.value, result=spec.dumps(result), steps=result.steps, seconds=result.seconds
        )
    return True
