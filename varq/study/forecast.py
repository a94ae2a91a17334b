"""What is left of a study: cells, seconds and memory, before anything of it is run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from varq import checks
from varq.devices.catalog import DEFAULT
from varq.display.words import duration
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.node.together import Together
from varq.protocol import Finished, Plan
from varq.store.records import RunRecord
from varq.study.cells import Batch, Layout, resolved

__all__ = ["ASSUMED", "Forecast", "forecast"]

ASSUMED = 100  # steps of a cell where neither a rule nor a cell that ended tells
_BYTES = 16  # of an amplitude
_STATES = 4  # of them that a gradient holds at the least: forwards, backwards, and each with the Hamiltonian


@dataclass(frozen=True)
class Forecast:
    """What a study is expected to take in one process.

    Args:
        cells: that are left.
        batches: in which they are run.
        seconds: of computing; None where it cannot be timed here.
        bytes: that the states of one batch hold at the least.
        why: from what the seconds follow.
    """

    cells: int
    batches: int
    seconds: float | None
    bytes: int
    why: str

    def __str__(self) -> str:
        took = "unknown" if self.seconds is None else f"about {duration(self.seconds)}"
        return (
            f"{checks.counted(self.cells, 'cell')} in {self.batches:,} {'batch' if self.batches == 1 else 'batches'}, "
            f"{took} in one process ({self.why}), states of at least {_size(self.bytes)} at a time"
        )


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def forecast(layout: Layout, left: Sequence[int], known: Sequence[RunRecord]) -> Forecast:
    """What the cells that are left are expected to take.

    Args:
        layout: of the study.
        left: the numbers of these cells.
        known: runs of the study that have ended.
    """
    wanted = set(left)
    batches = [batch for batch in layout.batches if wanted & set(batch.cells)]
    if not batches:
        return Forecast(0, 0, 0.0, 0, "nothing is left")
    held = max(_held(layout, batch) for batch in (batches[0], batches[-1]))
    ended = [record for record in known if record.seconds > 0]
    if ended:
        mean = statistics.fmean(record.seconds for record in ended)
        why = f"as the {checks.counted(len(ended), 'cell')} that ended"
        return Forecast(len(left), len(batches), mean * len(left), held, why)
    seconds, why = _timed(layout, batches[0])
    total = None if seconds is None else seconds * len(batches)
    return Forecast(len(left), len(batches), total, held, why)


def _held(layout: Layout, batch: Batch) -> int:
    wires = getattr(getattr(layout.task(batch.cells[0]), "problem", None), "wires", 0)
    return batch.seats * _STATES * _BYTES * (1 << wires) if wires else 0


def _timed(layout: Layout, batch: Batch) -> tuple[float | None, str]:
    """Seconds of one batch: one evaluation, timed once it is compiled, times the steps that are allowed."""
    whole = resolved(layout.task(batch.cells[0]))
    device = getattr(whole, "device", None)
    if device not in (None, DEFAULT) or whole.shots is not None:
        return None, f"{device} is not tried out; `Session.forecast` counts its circuits and jobs"
    together = Together(batch.seats, whole.precision) if batch.seats > 1 else None
    nodes = Nodes(device, whole.shots, whole.precision) if together is None else together.seat(0)
    plan: Plan = whole.plan(nodes)
    request = plan.method.ask(plan.method.init(plan.start, Key.from_seed(whole.seed).fold("method")))
    if isinstance(request, Finished):
        return 0.0, "nothing is to be evaluated"
    key = Key.from_seed(whole.seed).fold("device")
    plan.evaluate(request, key)  # compiles
    began = time.perf_counter()
    plan.evaluate(request, key)
    one = time.perf_counter() - began
    known = [number for number in ((whole.stop or plan.stop).steps, plan.requests()) if number is not None]
    steps = min(known, default=ASSUMED)
    why = f"{1000 * one:.3g} ms an evaluation, {steps} steps {'at most' if known else 'assumed'}"
    return one * steps, f"{why}, without compiling"
