"""What every algorithm's spec has in common, and how a minimization becomes a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from varq import checks, spec
from varq.devices.catalog import DEFAULT
from varq.devices.choice import Device
from varq.devices.several import Spread
from varq.keys import Key
from varq.protocol import (
    Array,
    Evaluating,
    FromRun,
    Law,
    Many,
    Method,
    Outcome,
    Plan,
    Prepared,
    Progress,
    Reply,
    Request,
    Sample,
    Stop,
    Value,
)

__all__ = ["Task", "minimization"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """The fields of every algorithm.

    Args:
        device: a name that `varq devices` lists or PennyLane knows, a `varq.device(...)` or `varq.spread(...)`, or a
            PennyLane device object; None for the session's.
        shots: of each circuit, on average over measurement groups; None for exact values (or the session's shots).
        precision: "double" or "single".
        seed: of all random numbers of the run.
        repeat: tells runs of one and the same spec apart: they ask the same questions and draw their samples anew.
        stop: when to stop; None for the method's own rule.  It is no part of the run's identity.

    Raises:
        ValueError: for shots below 1, or an unknown precision.
    """

    device: Any = None
    shots: int | None = None
    precision: str = "double"
    seed: int = 0
    repeat: int = 0
    stop: Stop | None = field(default=None, metadata=spec.UNHASHED)

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.shots is not None:
            put(self, shots=checks.integer("shots", self.shots, minimum=1, hint="Use shots=None for exact values."))
        if self.device is not None and not isinstance(self.device, (str, Device, Spread, spec.Opaque)):
            put(self, device=spec.Opaque(self.device))
        checks.choice("precision", self.precision, ("double", "single"))
        put(self, seed=checks.integer("seed", self.seed), repeat=checks.integer("repeat", self.repeat, minimum=0))
        if self.stop is not None:
            checks.instance("stop", self.stop, Stop, hint="Give varq.Stop(steps=...).")

    @property
    def cost_circuit(self) -> Any:
        """The circuit of the one cost that is all a run asks values and gradients of; None for other runs.

        Cells of a study whose costs have one circuit are evaluated together.
        """
        return None

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and spec.identity(self) == spec.identity(other))

    def __hash__(self) -> int:
        identity, findable = spec.identity(self)
        return hash(identity) if findable else id(self)  # what cannot be written down equals nothing but itself


def put(task: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(task, name, value)


def usual_device(device: Any) -> Any:
    """The device of an algorithm that runs circuits; varq's default where nobody chose one."""
    return DEFAULT if device is None else device


def settled(task: Any, device: Any, shots: int | None, **values: Any) -> Any:
    """`task` with the session's device and shots, and with other fields resolved."""
    return dataclasses.replace(task, device=device, shots=shots, **values)


def as_initial(initial: Any, shape: tuple[int, ...] | None = None) -> Any:
    """What a person gives for starting parameters: an array, or the id of a run whose parameters are taken."""
    if isinstance(initial, (str, FromRun)):
        return initial if isinstance(initial, FromRun) else FromRun(initial)
    return checks.array("initial", initial, shape)


def starting_point(initial: Any, shape: tuple[int, ...], draw: Callable[[Key], Array], seed: int) -> Any:
    """The parameters to start from: those given, those of another run, or drawn from the run's seed."""
    if isinstance(initial, FromRun):
        return initial
    if initial is None:
        initial = draw(Key.from_seed(seed).fold("initial"))
    return checks.array("initial", initial, shape)


def _estimate(fresh: Sequence[Reply]) -> Reply:
    """The value at the chosen point, and its error bar: the device's own, or that of repeated estimates."""
    if len(fresh) == 1:
        return fresh[0]
    values = np.array([part.value for part in fresh], dtype=np.float64)
    return Reply(value=float(values.mean()), stderr=float(values.std(ddof=1) / np.sqrt(len(values))))


def minimization(
    *,
    method: Method,
    start: Array,
    evaluate: Callable[[Request, Key], Reply],
    prepare: Callable[[Request, Key, float], Prepared] | None = None,
    verify: Callable[[Evaluating, Key], Any] | None = None,
    sampled: bool,
    reference: Callable[[], float | None],
    stop: Stop,
    title: str,
    unit: str,
    details: Callable[[Reply | None], Mapping[str, Any]] = lambda further: {},
    more: Callable[[Array], Sample | Law] | None = None,
    repeats: int = 1,
) -> Plan:
    """The plan of a run that minimizes a cost.

    The answer belongs to the point with the lowest recorded value, or to the method's own iterate where that is not
    among the points evaluated.  A sampled cost is estimated once more at that point, so that the value reported is not
    the luckiest of many.

    Args:
        method: asks and is told.
        start: the starting parameters.
        evaluate: answers requests.
        prepare: makes circuits of requests; None where no circuits are run.
        verify: checks the cost at a random point.
        sampled: whether values carry shot noise.
        reference: the exact answer, or None.
        stop: the stop rule of a run that names none.
        title: what is run.
        unit: of the cost.
        details: further results at the chosen point, given the reply to `more`; None where that was not asked.
        more: a further request at the chosen point, evaluated once the last step is done.
        repeats: how often a sampled cost that tells no error bar is estimated at the chosen point.
    """

    def chosen(progress: Progress) -> Array | None:
        iterate = progress.info.get("x")
        return progress.best_x if iterate is None else np.asarray(iterate)

    def final(progress: Progress) -> Request | None:
        x = chosen(progress)
        if x is None:
            return None
        fresh = sampled or progress.info.get("x") is not None
        parts: list[Value | Sample | Law] = [Value(x) for _ in range(repeats)] if fresh else []
        if more is not None:
            parts.append(more(x))
            if fresh and not sampled and progress.best_x is not None:
                parts.append(more(progress.best_x))  # which of the two is the answer hangs on the fresh value
        if len(parts) > 1:
            return Many(tuple(parts))
        return parts[0] if parts else None

    def conclude(progress: Progress) -> Outcome:
        last, x = progress.final, chosen(progress)
        replies = () if last is None else last.parts or (last,)
        fresh = [reply for reply in replies if reply.value is not None]
        further: list[Reply | None] = [reply for reply in replies if reply.value is None] or [None]
        if fresh:
            first = _estimate(fresh)
            best, now = progress.best_value, first.value
            better = best is not None and now is not None and not best >= now  # a NaN is not the answer
            if sampled or not better:
                assert x is not None
                return Outcome(first.value, first.stderr, x, details(further[0]))
        if progress.best_x is None:
            return Outcome()
        return Outcome(progress.best_value, progress.best_stderr, progress.best_x, details(further[-1]))

    return Plan(method, start, evaluate, conclude, final, reference, stop, title, unit, prepare, verify)
