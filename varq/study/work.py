"""What a worker does: it gets specs, builds circuits where it is, and writes to a file of the store of its own."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from varq import spec
from varq.node.together import Together
from varq.protocol import Observer, Reason, Result
from varq.session.gang import drive_together
from varq.session.planning import planned
from varq.session.run import Run
from varq.session.session import Session
from varq.store.faults import OwnedError, StoreError
from varq.store.parts import claimed
from varq.store.store import Store, open_store

__all__ = ["Cell", "End", "Order", "Party", "State", "work", "work_in"]

log = logging.getLogger("varq")


class State(StrEnum):
    """How a cell stands."""

    MISSING = "missing"  # nothing of it is recorded
    UNFINISHED = "unfinished"  # some of it is
    DONE = "done"
    FAILED = "failed"  # it ended by an error, or at a value that is not finite


@dataclass(frozen=True)
class Cell:
    """A cell that is to be run.

    Args:
        index: its number in the study.
        seat: its place among those that are evaluated together.
        task: its spec; for other processes its canonical JSON.
    """

    index: int
    seat: int
    task: Any


@dataclass(frozen=True)
class Party:
    """Cells that are evaluated together.

    Args:
        batch: its number in the study.
        seats: of all its cells, those that are done among them.
        cells: that are to be run.
    """

    batch: int
    seats: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class Order:
    """What a worker is asked to do.

    Args:
        store: folder of the store.
        parties: one after the other.
        arrays: the large arrays that the specs name, by SHA-256.
    """

    store: Path | None
    parties: tuple[Party, ...]
    arrays: dict[str, NDArray[Any]]

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
    """

    index: int
    state: State
    message: str = ""


def work(order: Order) -> tuple[End, ...]:
    """Do what an order asks, in any process that sees the store's folder.

    Raises:
        ValueError: if the store is in memory.
        StoreError: if the store cannot do its part; what is recorded stays.
    """
    if order.store is None:
        raise ValueError("Workers need a store on disk. This one is in memory. Give sweep(..., store='folder').")
    host = socket.gethostname()
    with claimed(order.store, host) as part, open_store(order.store, part=part) as store:
        return work_in(order, store)


def work_in(order: Order, store: Store, observers: Sequence[Observer] = ()) -> tuple[End, ...]:
    """`work`, with a store that is open; stops after a party that was interrupted."""
    ends: list[End] = []
    # While any lease is held the store's heartbeat goes on: it need not be started anew for each cell.
    with store.lease(f"order-{os.urandom(8).hex()}"):
        for party in order.parties:
            session = Session(store=store, progress=False, observers=observers)
            try:
                found = _together(session, party, order) if party.seats > 1 else _alone(session, party, order)
            finally:
                session.close()
            ends += found
            if any(end.state is State.UNFINISHED and not end.message for end in found):
                break  # a person stopped it
    return tuple(ends)


def _alone(session: Session, party: Party, order: Order) -> list[End]:
    ends = []
    for cell in party.cells:
        try:
            run = _started(session, cell, order)
            result = run.result or run.finish()
        except Exception as error:
            ends.append(_ended(session, cell, order, error))
        else:
            ends.append(_end(cell, result))
    return ends


def _together(session: Session, party: Party, order: Order) -> list[End]:
    ends: dict[int, End] = {}
    runs: dict[int, Run] = {}
    costs: Together | None = None
    for cell in party.cells:
        try:
            run = _started(session, cell, order)
            if not run.done:
                costs = costs or Together(party.seats, run.spec.precision)
                run.loop.take(planned(run.spec, session.store, costs.seat(cell.seat)))
                runs[cell.seat] = run
            elif run.result is not None:
                ends[cell.index] = _end(cell, run.result)
        except Exception as error:
            ends[cell.index] = _ended(session, cell, order, error)
    errors = {} if costs is None else drive_together(runs, costs.evaluate)
    for cell in party.cells:
        if cell.seat in errors:
            ends[cell.index] = _ended(session, cell, order, errors[cell.seat])
        elif cell.seat in runs:
            result = runs[cell.seat].result
            ends[cell.index] = _end(cell, result)
    return [ends[cell.index] for cell in party.cells]


def _started(session: Session, cell: Cell, order: Order) -> Run:
    run = session.start(order.task(cell))
    run.spoken_for = True
    return run


def _end(cell: Cell, result: Result | None) -> End:
    if result is None or result.reason in (Reason.STOPPED, Reason.BUDGET):
        return End(cell.index, State.UNFINISHED)
    failed = result.reason in (Reason.FAILED, Reason.NONFINITE)
    return End(cell.index, State.FAILED if failed else State.DONE, result.message if failed else "")


def _ended(session: Session, cell: Cell, order: Order, error: Exception | BaseException) -> End:
    """Keep an error as the end of a cell's run, unless the store is at fault."""
    if isinstance(error, OwnedError):
        return End(cell.index, State.UNFINISHED, str(error))
    if isinstance(error, StoreError) or not isinstance(error, Exception):
        raise error
    message = f"{type(error).__name__}: {error}"
    log.error("cell %d failed: %s", cell.index, message)
    task = order.task(cell)
    record = session.store.get(spec.identity(task.resolve(task.device, task.shots))[0][:16])
    if record is not None and record.reason is None:
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
        session.store.conclude(
            record.id, reason=result.reason.value, result=spec.dumps(result), steps=result.steps, seconds=result.seconds
        )
    return End(cell.index, State.FAILED, message)
