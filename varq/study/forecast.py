"""What is left of a study: cells, seconds, memory, jobs and money, before anything of it is run."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from varq import checks
from varq.devices.catalog import DEFAULT
from varq.display.words import duration
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.node.together import Together
from varq.protocol import Finished, Plan
from varq.session.forecast import Forecast as OfRun
from varq.session.session import Session
from varq.store.records import RunRecord
from varq.store.store import Store
from varq.study.cells import Batch, Layout, alike, resolved
from varq.study.record import state_of
from varq.study.work import State

__all__ = ["ASSUMED", "Forecast", "forecast"]

log = logging.getLogger("varq")

ASSUMED = 100  # steps of a cell where neither a rule nor a cell that ended tells
_BYTES = 16  # of an amplitude
_STATES = 4  # of them that a gradient holds at the least: forwards, backwards, and each with the Hamiltonian
_TRIED = 8  # shapes that are timed, those of most cells: each is compiled for that


@dataclass(frozen=True)
class Forecast:
    """What a study is expected to take in one process.

    Args:
        cells: that are left.
        batches: in which they are run.
        seconds: of computing, or that devices are busy; None where it is not known of all.
        bytes: that the states of one batch hold at the least; 0 where no cell tells its qubits.
        why: from what the seconds follow.
        jobs: that are sent; None where it is not known of all.
        shots: of all circuits; None where it is not known of all.
        cost: in `currency`; None where it is not known of all, or devices charge in several.
        currency: of the cost.
    """

    cells: int
    batches: int
    seconds: float | None
    bytes: int
    why: str
    jobs: int | None = 0
    shots: int | None = 0
    cost: float | None = 0.0
    currency: str = ""

    def __str__(self) -> str:
        took = "unknown" if self.seconds is None else f"about {duration(self.seconds)}"
        said = [
            f"{checks.counted(self.cells, 'cell')} in {self.batches:,} {'batch' if self.batches == 1 else 'batches'}",
            f"{took} in one process ({self.why})",
        ]
        if self.jobs is None or self.shots is None:
            said.append("jobs and shots not known of all")
        elif self.jobs:
            said.append(f"{self.shots:,} shots in {checks.counted(self.jobs, 'job')}")
        if self.jobs != 0 and self.cost != 0:
            said.append("cost not known" if self.cost is None else f"cost {self.cost:,.10g} {self.currency}")
        if self.bytes:
            said.append(f"states of at least {_size(self.bytes)} at a time")
        return ", ".join(said)


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


@dataclass
class _Shape:
    """Batches of which one takes what the others take.

    Args:
        batch: the first of them.
        task: the spec of its first cell, every choice made.
        batches: how many.
        cells: of them that are left.
        ended: seconds of cells of the kind that are done.
    """

    batch: Batch
    task: Any
    batches: int = 0
    cells: int = 0
    ended: list[float] = field(default_factory=list)

    @property
    def sampled(self) -> bool:
        """Whether its circuits are sent as jobs, or run on a device that is not tried out here."""
        return getattr(self.task, "device", None) not in (None, DEFAULT) or self.task.shots is not None

    @property
    def held(self) -> int:
        """Bytes of the states of a batch."""
        owners = (getattr(self.task, "problem", None), getattr(self.task, "ansatz", None), self.task)
        wires = next((n for n in (getattr(owner, "wires", None) for owner in owners) if isinstance(n, int)), 0)
        return self.batch.seats * _STATES * _BYTES * (1 << wires) if wires else 0


def forecast(
    layout: Layout, left: Sequence[int], known: Sequence[RunRecord], store: Store, prices: Any = None
) -> Forecast:
    """What the cells that are left are expected to take.

    Args:
        layout: of the study.
        left: the numbers of these cells.
        known: runs of the study that have ended.
        store: of the study.
        prices: of devices, those of one's own, as a session takes them; None for none.
    """
    shapes = _shapes(layout, set(left), known)
    if not shapes:
        return Forecast(0, 0, 0.0, 0, "nothing is left")
    told = {k: _told(shape, store, prices) for k, shape in enumerate(shapes) if shape.sampled}
    seconds, why = _seconds(shapes, told)
    currencies = {run.currency for run in told.values() if run is not None} - {""}
    cost = _sum(
        [
            None if run is None else 0.0 if not run.jobs else None if run.cost is None else run.cost * shapes[k].cells
            for k, run in told.items()
        ]
    )
    jobs = _sum([None if run is None else run.jobs * shapes[k].cells for k, run in told.items()])
    shots = _sum([None if run is None else run.shots * shapes[k].cells for k, run in told.items()])
    return Forecast(
        sum(shape.cells for shape in shapes),
        sum(shape.batches for shape in shapes),
        seconds,
        max(shape.held for shape in shapes),
        why,
        None if jobs is None else int(jobs),
        None if shots is None else int(shots),
        None if len(currencies) > 1 else cost,
        "".join(currencies) if len(currencies) == 1 else "",
    )


def _sum(numbers: Sequence[float | None]) -> float | None:
    """Of all; None where one is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _shapes(layout: Layout, wanted: set[int], known: Sequence[RunRecord]) -> list[_Shape]:
    """What is left, by kinds of cells and seats; those of most cells first."""
    found: dict[tuple[str, int], _Shape] = {}
    for batch in layout.batches:
        cells = len(wanted & set(batch.cells))
        if not cells:
            continue
        task = resolved(layout.grid.spec(batch.cells[0]))  # without the run that it starts from, which may be missing
        shape = found.setdefault((alike(task), batch.seats), _Shape(batch, task))
        shape.batches += 1
        shape.cells += cells
    cell_of = {run: index for index, run in reversed(list(enumerate(layout.ids)))}
    by_kind: dict[str, list[float]] = {}
    for record in known:
        if record.seconds > 0 and state_of(record) is State.DONE:
            by_kind.setdefault(alike(resolved(layout.grid.spec(cell_of[record.id]))), []).append(record.seconds)
    for (kind, _), shape in found.items():
        shape.ended = by_kind.get(kind, [])
    return sorted(found.values(), key=lambda shape: -shape.cells)


def _told(shape: _Shape, store: Store, prices: Any) -> OfRun | None:
    """What one cell of a shape sends; None where that is not known."""
    try:
        with Session(store=store, prices=prices, progress=False) as session:
            return session.forecast(shape.task)
    except Exception as error:  # what is wrong with a cell is told where it runs
        log.info("what a cell will use up is not known: %s", error)
        return None


def _seconds(shapes: Sequence[_Shape], told: dict[int, OfRun | None]) -> tuple[float | None, str]:
    """Of all shapes, and from what that follows."""
    total, each, whys = 0.0, list[float](), list[str]()
    unknown, rest = "", list[_Shape]()
    for k, shape in enumerate(shapes):
        if shape.ended:
            total += statistics.fmean(shape.ended) * shape.cells
            whys.append(f"as the {checks.counted(len(shape.ended), 'cell')} that ended")
        elif shape.sampled:
            run = told[k]
            if run is None or run.seconds is None or not run.jobs:
                unknown = f"{shape.task.device} is not tried out"
            else:
                total += run.seconds * shape.cells
                whys.append(f"as {shape.task.device} is reckoned to be busy")
        elif len(each) == _TRIED:
            rest.append(shape)
        else:
            one, why = _timed(shape.task, shape.batch.seats)
            each.append(one)
            total += one * shape.batches
            whys.append(why)
    if unknown:
        return None, unknown
    if rest:
        total += statistics.fmean(each) * sum(shape.batches for shape in rest)
    said = list(dict.fromkeys(whys))
    if len(said) == 1 and not rest:
        return total, said[0]
    not_timed = f", {len(rest)} more taken to be as these" if rest else ""
    return total, f"{len(shapes) - len(rest)} kinds of cells, each told by itself{not_timed}, without compiling"


def _timed(task: Any, seats: int) -> tuple[float, str]:
    """Seconds of one batch: one evaluation, timed once it is compiled, times the steps that are allowed."""
    together = Together(seats, task.precision) if seats > 1 else None
    nodes = Nodes(task.device, task.shots, task.precision) if together is None else together.seat(0)
    plan: Plan = task.plan(nodes)
    request = plan.method.ask(plan.method.init(plan.start, Key.from_seed(task.seed).fold("method")))
    if isinstance(request, Finished):
        return 0.0, "nothing is to be evaluated"
    key = Key.from_seed(task.seed).fold("device")
    plan.evaluate(request, key)  # compiles
    began = time.perf_counter()
    plan.evaluate(request, key)
    one = time.perf_counter() - began
    known = [number for number in ((task.stop or plan.stop).steps, plan.requests()) if number is not None]
    steps = min(known, default=ASSUMED)
    why = f"{1000 * one:.3g} ms an evaluation, {steps} steps {'at most' if known else 'assumed'}"
    return one * steps, f"{why}, without compiling"
