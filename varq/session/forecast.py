"""What a run will use up, told before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from varq import checks
from varq.devices.prices import Price
from varq.devices.service import Circuit
from varq.devices.usual import Usual
from varq.keys import Key
from varq.protocol import (
    Array,
    Finished,
    Many,
    Metric,
    Plan,
    Progress,
    Reply,
    Request,
    Sample,
    Value,
    ValueAndGrad,
)
from varq.session.budget import NOTHING, Use
from varq.session.pace import Pace
from varq.session.queue import packed
from varq.session.tickets import distinct

__all__ = ["Forecast", "forecast", "unreached"]

_LOOKED_AT = 3  # requests: a method's first may calibrate it, and those after it are alike
_UNLIMITED = 100  # steps that are reckoned with where no rule limits them


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to use, should it do all its steps; many end sooner.

    Args:
        title: what is run.
        device: where.
        steps: reckoned with.
        limited: whether a rule limits the steps; if not, `steps` is only an example.
        circuits: sent to the device, the last estimate included, which takes what a budget keeps for it.
        jobs: they travel in, when the run has the device for itself.
        shots: of all circuits.
        seconds: that the device is busy; None where nothing is known of its pace.
        cost: in `currency`; None where the price is not known, or is one for seconds of which nothing is known.
        currency: of the cost.
    """

    title: str
    device: str
    steps: int
    limited: bool
    circuits: int
    jobs: int
    shots: int
    seconds: float | None
    cost: float | None
    currency: str = ""

    def __str__(self) -> str:
        steps = checks.counted(self.steps, "step") + ("" if self.limited else " (an example: no rule limits them)")
        seconds = "not known before the first job" if self.seconds is None else f"{self.seconds:.3g} s"
        unknown = "not known before the first job" if self.currency else "no price known"
        cost = unknown if self.cost is None else f"{self.cost:.2f} {self.currency}".rstrip()
        rows = [
            ("run", f"{self.title} on {self.device}, {steps}"),
            ("circuits", f"{self.circuits:,} in {checks.counted(self.jobs, 'job')}"),
            ("shots", f"{self.shots:,}"),
            ("device time", seconds),
            ("cost", cost),
        ]
        if not self.jobs:
            rows[1:] = [("circuits", "none is sent: it is computed in this process")]
        return "\n".join(f"{name:<12}{text}" for name, text in rows)


def forecast(
    plan: Plan,
    device: str,
    key: Key,
    steps: int | None,
    use_of: Callable[[Sequence[Circuit]], Use],
    jobs_of: Callable[[Sequence[Circuit]], int],
    price: Price | None = None,
    precision_of: Callable[[Use], float] = lambda use: 1.0,
    alone: bool = False,
) -> Forecast:
    """What a plan will use up.

    Its method is asked for its first requests, with made-up answers; those that follow are taken to be like the last.

    Args:
        plan: made runnable on the device.
        device: its name.
        key: of the run.
        steps: that a rule allows; None where none does.
        use_of: what circuits use up in jobs of their own.
        jobs_of: how many jobs circuits need.
        price: of the device; None where it is not known.
        precision_of: by how much a budget's reserve multiplies the shots of a last estimate that would use so much.
        alone: whether the first circuit is a job of its own, to find out how long the device takes.
    """
    wanted = _UNLIMITED if steps is None else steps
    first = _requests(plan, key, min(wanted, _LOOKED_AT))
    used = [(use_of(circuits), jobs_of(circuits)) for circuits in first]
    total, jobs = NOTHING, 0
    for step in range(min(wanted, len(first)) if len(first) < _LOOKED_AT else wanted):
        use, count = used[min(step, len(first) - 1)]
        total, jobs = total + use, jobs + count
    if alone and first and first[0]:
        jobs += 1 + jobs_of(first[0][1:]) - used[0][1]
    final = plan.final(Progress(best_x=plan.start, best_value=0.0))
    if plan.prepare is not None and final is not None:
        last = plan.prepare(final, key.fold("forecast"), 1.0).circuits
        precision = precision_of(use_of(last))
        if precision != 1.0:
            last = plan.prepare(final, key.fold("forecast"), precision).circuits
        total, jobs = total + use_of(last), jobs + jobs_of(last)
    return Forecast(
        title=plan.title,
        device=device,
        steps=wanted,
        limited=steps is not None,
        circuits=int(total.circuits),
        jobs=jobs,
        shots=int(total.shots),
        seconds=total.seconds or None,
        cost=None if price is None or (price.per_second and not total.seconds) else total.cost,
        currency="" if price is None else price.currency,
    )


def unreached(
    price: Price | None, known: Usual, own: Mapping[str, int]
) -> tuple[Callable[[Sequence[Circuit]], Use], Callable[[Sequence[Circuit]], int]]:
    """What circuits use up, and how many jobs they need, on a device that is not open: as its vendor's documents say.

    Args:
        price: of the device; None where it is not known.
        known: of its jobs.
        own: limits of a job that are to be lower.
    """
    limits, pace = known.limits.within(own), Pace(price)

    def jobs_of(circuits: Sequence[Circuit]) -> list[list[Circuit]]:
        sent = distinct(circuits, limits)
        return packed(sent, [circuit.shots for circuit in sent], limits)

    def use_of(circuits: Sequence[Circuit]) -> Use:
        jobs = jobs_of(circuits)
        sent = [circuit for job in jobs for circuit in job]
        shots = sum(circuit.shots for circuit in sent)
        if price is None:
            return Use(len(sent), shots, 0.0, 0.0)
        seconds = pace.seconds(len(jobs), shots)
        tasks = sum(known.tasks([(circuit.shots, circuit.wires) for circuit in job]) for job in jobs)
        return Use(len(sent), shots, seconds, price.cost(tasks, len(sent), shots, seconds))

    return use_of, lambda circuits: len(jobs_of(circuits))


def _requests(plan: Plan, key: Key, most: int) -> list[tuple[Circuit, ...]]:
    """The circuits of the first requests."""
    rng = key.fold("forecast").generator()
    state = plan.method.init(plan.start, key.fold("method"))
    found: list[tuple[Circuit, ...]] = []
    try:
        while len(found) < most:
            request = plan.method.ask(state)
            if isinstance(request, Finished):
                break
            prepared = None if plan.prepare is None else plan.prepare(request, key, 1.0)
            found.append(() if prepared is None else prepared.circuits)
            if prepared is not None and isinstance(request, Sample):
                reply = prepared.decode([np.zeros((c.shots, c.wires), np.uint8) for c in prepared.circuits])
            else:
                reply = _made_up(request, rng)
            state, _ = plan.method.tell(state, reply)
    finally:
        if hasattr(plan.method, "close"):
            plan.method.close(state)
    return found


def _made_up(request: Request, rng: np.random.Generator) -> Reply:
    """An answer of the right shape."""
    if isinstance(request, Many):
        return Reply(parts=tuple(_made_up(part, rng) for part in request.parts))
    if isinstance(request, Metric):
        return Reply(metric=np.eye(request.x.size))
    if isinstance(request, Sample):
        return Reply(outcomes=np.zeros((request.shots, 1), np.uint8))
    if isinstance(request, (Value, ValueAndGrad)):
        reply = Reply(value=float(rng.normal()), stderr=0.1)
        grad: Array = rng.normal(size=np.shape(request.x))
        return replace(reply, grad=grad, grad_stderr=np.full_like(grad, 0.1)) if _sloped(request) else reply
    return Reply(outcomes=np.zeros(len(request.powers), np.uint8))


def _sloped(request: Request) -> bool:
    return isinstance(request, ValueAndGrad)
