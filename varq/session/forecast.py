"""What a run will use up, told before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from varq import checks
from varq.devices.prices import Price
from varq.devices.service import Circuit
from varq.devices.usual import Usual
from varq.keys import Key
from varq.protocol import (
    Array,
    Finished,
    Law,
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
from varq.session.costs import Costs
from varq.session.pace import Pace
from varq.session.tickets import distinct

__all__ = ["Forecast", "Part", "Reckoner", "forecast", "unreached"]

_LOOKED_AT = 3  # requests: a method's first may calibrate it, and those after it are alike
_UNKNOWN = "not known before the first job"
_UNLIMITED = 100  # steps that are reckoned with where no rule limits them


@dataclass(frozen=True)
class Part:
    """What one of several devices is expected to use; the fields are those of `Forecast`."""

    device: str
    circuits: int
    jobs: int
    shots: int
    seconds: float | None
    cost: float | None
    currency: str = ""

    def __str__(self) -> str:
        counts = (
            f"{checks.counted(self.circuits, 'circuit')} in {checks.counted(self.jobs, 'job')}, {self.shots:,} shots"
        )
        return f"{self.device}: {counts}, cost {_money(self.cost, self.currency)}"


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to use, should it do all its steps; many end sooner.

    varq applies no error mitigation of its own, and there is no factor of it here.  Options of a device that would run
    more shots than were asked for are refused by the device, as IBM's twirling is where it rounds them up.

    Args:
        title: what is run.
        device: where.
        steps: reckoned with.
        limited: whether a rule limits the steps, or the method ends by itself; if not, `steps` is only an example.
        circuits: sent to the device, the last estimate included, which takes what a budget keeps for it.
        jobs: they travel in, when the run has the device for itself.
        shots: of all circuits.
        seconds: that the device is busy; None where nothing is known of its pace.
        cost: in `currency`; None where the price is not known, or is one for seconds of which nothing is known, or
            where devices charge in several currencies.
        currency: of the cost.
        parts: the same of each device, where there are several.
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
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        steps = checks.counted(self.steps, "step") + ("" if self.limited else " (an example: no rule limits them)")
        seconds = _UNKNOWN if self.seconds is None else f"{self.seconds:.3g} s"
        cost = _money(self.cost, self.currency)
        rows = [
            ("run", f"{self.title} on {self.device}, {steps}"),
            ("circuits", f"{self.circuits:,} in {checks.counted(self.jobs, 'job')}"),
            ("shots", f"{self.shots:,}"),
            ("device time", seconds),
            ("cost", cost),
        ]
        rows += [("of it", str(part)) for part in self.parts]
        if not self.jobs:
            rows[1:] = [("circuits", "none is sent: it is computed in this process")]
        return "\n".join(f"{name:<12}{text}" for name, text in rows)


@dataclass
class Reckoner:
    """What tells what circuits use up on one device, and what all of them did.

    Args:
        device: its name.
        price: of it; None where it is not known.
        use_of: what circuits use up in jobs of their own.
        jobs_of: how many jobs circuits need.
        alone: whether the first circuit is a job of its own, to find out how long the device takes.
    """

    device: str
    price: Price | None
    use_of: Callable[[Sequence[Circuit]], Use]
    jobs_of: Callable[[Sequence[Circuit]], int]
    alone: bool = False
    use: Use = NOTHING
    jobs: int = 0

    def add(self, circuits: Sequence[Circuit], times: int = 1) -> None:
        """Reckon with circuits more, so many times."""
        if not circuits:
            return
        jobs = self.jobs_of(circuits)
        if self.alone and not self.jobs:
            self.jobs += 1 + self.jobs_of(circuits[1:]) - jobs
        self.use = self.use + Use(*(times * part for part in astuple(self.use_of(circuits))))
        self.jobs += times * jobs

    @property
    def part(self) -> Part:
        """All that it reckoned with."""
        use, price = self.use, self.price
        unpriced = price is None or (price.per_second and not use.seconds and self.jobs)
        return Part(
            device=self.device,
            circuits=int(use.circuits),
            jobs=self.jobs,
            shots=int(use.shots),
            seconds=use.seconds or None,
            cost=None if unpriced else use.cost,
            currency="" if price is None else price.currency,
        )


def forecast(
    plan: Plan,
    device: str,
    key: Key,
    steps: int | None,
    reckoners: Sequence[Reckoner],
    shares_of: Callable[[Sequence[Circuit]], Sequence[Sequence[Circuit]]] = lambda circuits: [circuits],
    precision_of: Callable[[Use], float] = lambda use: 1.0,
) -> Forecast:
    """What a plan will use up.

    Its method is asked for its first requests, with made-up answers; those that follow are taken to be like the last,
    until a rule ends the run, or the method by itself where that can be told.

    Args:
        plan: made runnable on the device.
        device: its name.
        key: of the run.
        steps: that a rule allows; None where none does.
        reckoners: one for each device.
        shares_of: what each device runs of a request.
        precision_of: by how much a budget's reserve multiplies the shots of a last estimate that would use so much.
    """
    known = [number for number in (steps, plan.requests()) if number is not None]
    wanted = min(known, default=_UNLIMITED)
    first = _requests(plan, key, min(wanted, _LOOKED_AT))
    if len(first) < min(wanted, _LOOKED_AT):  # the method ended
        known, wanted = [len(first)], len(first)

    def reckon(circuits: Sequence[Circuit], times: int = 1) -> None:
        for reckoner, mine in zip(reckoners, shares_of(circuits), strict=True):
            reckoner.add(mine, times)

    for step, circuits in enumerate(first):
        reckon(circuits, wanted - step if step == _LOOKED_AT - 1 else 1)
    final = plan.final(Progress(best_x=plan.start, best_value=0.0))
    if plan.prepare is not None and final is not None:
        last = plan.prepare(final, key.fold("forecast"), 1.0).circuits
        use = NOTHING
        for reckoner, mine in zip(reckoners, shares_of(last), strict=True):
            use = use + (reckoner.use_of(mine) if mine else NOTHING)
        precision = precision_of(use)
        if precision != 1.0:
            last = plan.prepare(final, key.fold("forecast"), precision).circuits
        reckon(last)
    parts = tuple(reckoner.part for reckoner in reckoners)
    seconds = [part.seconds for part in parts if part.seconds is not None]
    costs = [part.cost for part in parts if part.cost is not None]
    # What is free is so in every currency.
    currencies = {part.currency for part in parts if part.cost != 0} or {parts[0].currency}
    return Forecast(
        title=plan.title,
        device=device,
        steps=wanted,
        limited=bool(known),
        circuits=sum(part.circuits for part in parts),
        jobs=sum(part.jobs for part in parts),
        shots=sum(part.shots for part in parts),
        seconds=sum(seconds) if seconds else None,
        cost=sum(costs) if len(costs) == len(parts) and len(currencies) == 1 else None,
        currency=next(iter(currencies)) if len(currencies) == 1 else "",
        parts=parts if len(parts) > 1 else (),
    )


def unreached(device: str, price: Price | None, known: Usual, own: Mapping[str, int], alone: bool = False) -> Reckoner:
    """What reckons for a device that is not open: as its vendor's documents say.

    Args:
        device: its name.
        price: of the device; None where it is not known.
        known: of its jobs.
        own: limits of a job that are to be lower.
        alone: whether the first circuit is a job of its own.
    """
    limits = known.limits.within(own)
    costs = Costs(price, Pace(price), limits, known.tasks)
    return Reckoner(
        device,
        price,
        lambda circuits: costs.use(distinct(circuits, limits)),
        lambda circuits: len(costs.jobs_of(distinct(circuits, limits))),
        alone,
    )


def _money(cost: float | None, currency: str) -> str:
    if cost is None:
        return _UNKNOWN if currency else "no price known"
    return f"{cost:.2f} {currency}".rstrip()


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
                reply = prepared.decode([np.zeros((c.shots, c.width), np.uint8) for c in prepared.circuits])
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
    if isinstance(request, Law):
        return Reply(law=np.ones(2))
    if isinstance(request, (Value, ValueAndGrad)):
        reply = Reply(value=float(rng.normal()), stderr=0.1)
        grad: Array = rng.normal(size=np.shape(request.x))
        return replace(reply, grad=grad, grad_stderr=np.full_like(grad, 0.1)) if _sloped(request) else reply
    return Reply(outcomes=np.zeros(len(request.powers), np.uint8))


def _sloped(request: Request) -> bool:
    return isinstance(request, ValueAndGrad)
