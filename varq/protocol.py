"""What rooms say to each other: requests, replies, events, stop rules, reasons and results.  Data only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.content import Unchanging, unchanging
from varq.keys import Key
from varq.shown import Shown
from varq.spec import UNHASHED

__all__ = [
    "Array",
    "Evaluating",
    "Event",
    "Experiment",
    "Finished",
    "Law",
    "Many",
    "Method",
    "Metric",
    "Observer",
    "Optimizer",
    "Outcome",
    "Plan",
    "Prepared",
    "Progress",
    "Reason",
    "Record",
    "Reply",
    "Request",
    "Result",
    "Sample",
    "Stop",
    "Value",
    "ValueAndGrad",
]

Array: TypeAlias = NDArray[np.float64]


class Reason(StrEnum):
    """Why a run ended."""

    CONVERGED = "converged"  # the method, or the stop rule's tolerance, is satisfied
    STALLED = "stalled"  # the method cannot make progress, or patience ran out away from the best value
    STEPS = "steps"  # the stop rule's number of steps is reached
    SECONDS = "seconds"  # the stop rule's time is used up
    BUDGET = "budget"  # the session's budget is used up
    STOPPED = "stopped"  # a person stopped it
    NONFINITE = "nonfinite"  # a value was NaN or infinite
    FAILED = "failed"  # an error ended it

    @property
    def final(self) -> bool:
        """Whether the same call again returns the result (True) or goes on with the run (False)."""
        return self not in (Reason.STOPPED, Reason.FAILED, Reason.BUDGET)


# -- requests: what a method asks for ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """The cost at `x`."""

    x: Array
    kind: ClassVar[str] = "request:value"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class ValueAndGrad:
    """The cost and its gradient at `x`."""

    x: Array
    kind: ClassVar[str] = "request:value-and-grad"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Metric:
    """The Fubini-Study metric at `x`, shape (n, n)."""

    x: Array
    kind: ClassVar[str] = "request:metric"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Sample:
    """`shots` computational-basis outcomes of the circuit at `x`."""

    x: Array
    shots: int
    kind: ClassVar[str] = "request:sample"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Law:
    """The exact probability of each outcome of the circuit at `x`."""

    x: Array
    kind: ClassVar[str] = "request:law"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Experiment:
    """Experiments of phase estimation: `powers` of the unitary and reference `angles` (radians), both shape (n,)."""

    powers: NDArray[np.int64]
    angles: Array
    kind: ClassVar[str] = "request:experiment"
    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Many:
    """Independent requests that may be answered in any order, together; the reply holds their replies in order."""

    parts: tuple[Value | ValueAndGrad | Metric | Sample | Law | Experiment, ...]
    kind: ClassVar[str] = "request:many"
    version: ClassVar[int] = 1


Request: TypeAlias = Value | ValueAndGrad | Metric | Sample | Law | Experiment | Many


@dataclass(frozen=True)
class Finished:
    """A method's own end: nothing more to ask."""

    reason: Reason
    message: str = ""


@dataclass(frozen=True)
class Reply:
    """The answer to a request; fields that the request did not ask for are None.

    Args:
        value: the cost.
        stderr: one standard error of `value`; None when it is exact.
        grad: the gradient, the shape of `x`.
        grad_stderr: one standard error of each entry of `grad`; None when it is exact.
        metric: the metric tensor, shape (n, n).
        outcomes: measured bits, uint8, shape (shots, wires) for `Sample`, (n,) for `Experiment`.
        law: the probability of each outcome, the first bit the most significant, shape (2**bits,).
        parts: the replies to the parts of a `Many`.
        tracked: further quantities at the same point, by name.
        executions: how many circuits the device ran for it.
        timings: what clocks said of it, by name: no part of the answer, so that two recordings of one step may differ.
    """

    value: float | None = None
    stderr: float | None = None
    grad: Array | None = None
    grad_stderr: Array | None = None
    metric: Array | None = None
    outcomes: NDArray[np.uint8] | None = None
    law: Array | None = None
    parts: tuple[Reply, ...] = ()
    tracked: Mapping[str, float] = field(default_factory=dict)
    executions: int = 0
    timings: Mapping[str, float] | None = None
    kind: ClassVar[str] = "request:reply"
    version: ClassVar[int] = 1


# -- the contracts -------------------------------------------------------------------------------------------------


class Method(Protocol):
    """Deterministic code that asks for something to be evaluated and is told the answer.

    A state is used once, forwards; nothing a method remembers lives outside it.
    """

    def init(self, start: Array, key: Key) -> Any:
        """The first state, from the starting parameters (or prior) and the run's key."""

    def ask(self, state: Any) -> Request | Finished:
        """What to evaluate next, or that the method is done."""

    def tell(self, state: Any, reply: Reply) -> tuple[Any, Mapping[str, Any]]:
        """The next state, and what a person may want to see of this step."""


class Optimizer(Protocol):
    """A spec of a method that minimizes a cost."""

    kind: ClassVar[str]
    version: ClassVar[int]

    @property
    def stop(self) -> Stop:
        """The stop rule of a run that names none."""

    def method(self) -> Method:
        """The method this spec describes."""


@dataclass(frozen=True)
class Progress:
    """What the loop knows of a run when it ends.

    Args:
        best_x: the evaluated parameters with the lowest recorded value; None before the first.
        best_value: that value.
        best_stderr: its standard error.
        info: what the method said last; `info["x"]` is its current iterate where that is not the last point asked for.
        state: the method's state.
        final: the reply to the request that `Plan.final` asked for; None if it asked for none.
        final_x: the parameters of that request.
        steps: steps done.
    """

    best_x: Array | None = None
    best_value: float | None = None
    best_stderr: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None
    final: Reply | None = None
    final_x: Array | None = None
    steps: int = 0


@dataclass(frozen=True)
class Outcome:
    """An algorithm's answer: the fields of `Result` that only it can know."""

    value: float | None = None
    stderr: float | None = None
    parameters: Array | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request as circuits that can travel in a job, in any company.

    Args:
        circuits: of `varq.devices.service.Circuit`.
        decode: the reply, from the measured bits of each circuit in order, uint8, shape (shots, wires).
        weigh: the same from the bits of each circuit by device, where several measured it and their estimates are to
            be weighed; None where all shots count alike, whichever device they come from.
    """

    circuits: tuple[Any, ...]
    decode: Callable[[Sequence[NDArray[np.uint8]]], Reply]
    weigh: Callable[[Sequence[Mapping[int, NDArray[np.uint8]]]], Reply] | None = None


class Evaluating(Protocol):
    """What answers requests."""

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a request, with its device key."""


@dataclass(frozen=True)
class Plan:
    """A spec made runnable on an open device: what the session's loop drives.

    Args:
        method: asks and is told.
        start: resolved starting parameters (or prior).
        evaluate: answers a request, with the device key of the request, by itself.
        conclude: the answer, from what the loop knows at the end.
        final: one more request before concluding (a fresh estimate of the chosen point), or None.
        reference: the independent exact answer, computed when first called.
        stop: the stop rule where the spec names none.
        title: what is run, in a few words.
        unit: of the value.
        prepare: the circuits of a request, where circuits answer it: given the request, its device key, and by how much
            its shots are multiplied.  None where `evaluate` does not run circuits that a job could carry.
        verify: checks the cost at a random point, given what answers requests and a key, or raises; None for no checks.
        requests: how many its method makes until it ends by itself, about, where that can be told; None elsewhere.
        started_from: in words, where `start` is from, if another run decides it.
    """

    method: Method
    start: Array
    evaluate: Callable[[Request, Key], Reply]
    conclude: Callable[[Progress], Outcome]
    final: Callable[[Progress], Request | None]
    reference: Callable[[], float | None]
    stop: Stop
    title: str
    unit: str = ""
    prepare: Callable[[Request, Key, float], Prepared] | None = None
    verify: Callable[[Evaluating, Key], Any] | None = None
    requests: Callable[[], int | None] = lambda: None
    started_from: str = ""


@dataclass(frozen=True)
class Stop:
    """When a run ends by rule; whichever comes first.  All are totals over the run's whole life, resumed or not.

    Args:
        steps: most steps (one step is one request answered); None for no limit.
        seconds: most seconds spent evaluating, as recorded; None for no limit.
        tolerance: improvement of the best value, in the cost's unit, that counts as progress; None counts any.
        patience: steps in a row without progress after which the run ends: CONVERGED if all of their values lie
            within `tolerance` of the best one, else STALLED.  None never ends a run this way, unless `tolerance` is
            given: then it is 10.

    Raises:
        ValueError: for a negative number.
    """

    steps: int | None = None
    seconds: float | None = None
    tolerance: float | None = None
    patience: int | None = None
    kind: ClassVar[str] = "request:stop"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        hint = "Use None for no limit."
        for name, least in (("steps", 0), ("patience", 1)):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, checks.integer(name, given, minimum=least, hint=hint))
        for name in ("seconds", "tolerance"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, checks.real(name, given, minimum=0, hint=hint))
        if self.patience is None and self.tolerance is not None:
            object.__setattr__(self, "patience", 10)


@dataclass(frozen=True)
class FromRun:
    """Where a run starts: at the parameters that another run found.

    Args:
        run: that run's id, 16 hexadecimal digits.

    Raises:
        ValueError: for anything else.

    Example:
        >>> FromRun("00ff00ff00ff00ff").run
        '00ff00ff00ff00ff'
    """

    run: str
    kind: ClassVar[str] = "data:from-run"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.run, str) or not re.fullmatch("[0-9a-f]{16}", self.run):
            raise ValueError(
                f"A run to start from is named by its whole id, 16 hexadecimal digits. Got {self.run!r}. "
                "`varq list` shows the ids."
            )


@dataclass(frozen=True)
class Event:
    """One thing that happened in a run, as sent to observers.

    Args:
        run_id: whose event it is.
        kind: "start", "step", "end"; "pause" when the loop is left before the end; "note" with a line for the person
            in `info["message"]`.
        step: steps done so far.
        value: the cost at this step (the best so far for "end"); None where there is none.
        stderr: one standard error of `value`.
        info: what the method wants seen (gradient norm, learning rate, posterior width, ...).
        tracked: the further quantities asked for, by name.
        seconds: time spent evaluating so far.
        replayed: whether the step came from the journal.
        reason: why the run ended, for "end".

    The first event of a run says in its `info` the run's "title", the "unit" of values and the "reference".
    """

    run_id: str
    kind: str
    step: int
    value: float | None = None
    stderr: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    tracked: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    replayed: bool = False
    reason: Reason | None = None


Observer: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, eq=False)
class Result(Shown, Unchanging):
    """What a run came to.  Immutable; the same whether computed now, replayed or read from the store, but for time.

    Args:
        run_id: the run's id.
        title: what was run, in a few words.
        value: the answer (energy in hartree, cut size, phase in radians: see `unit`).
        stderr: one standard error of `value`; None when it is exact.
        reference: the independent exact answer; None when it is not known.
        reason: why the run ended.
        parameters: the parameters `value` belongs to.
        steps: steps done.
        executions: circuits the device ran.
        seconds: time spent evaluating.
        unit: of `value`, `stderr`, `reference`.
        device: the device it ran on.
        replay: None if nothing was replayed, else "exact" or "approximate".
        replay_difference: the largest relative difference of a replayed request from its record.
        message: what the method said at its end.
        rule: the stop rule that ended the run; None if the method itself, a person or an error did.
        details: further named results of the algorithm.
    """

    run_id: str
    title: str
    value: float | None
    stderr: float | None
    reference: float | None
    reason: Reason
    parameters: Array | None
    steps: int
    executions: int
    seconds: float = field(metadata=UNHASHED)
    unit: str = ""
    device: str = ""
    replay: str | None = field(default=None, metadata=UNHASHED)
    replay_difference: float = field(default=0.0, metadata=UNHASHED)
    message: str = ""
    rule: Stop | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "request:result"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name, made in (("reason", Reason), ("parameters", unchanging), ("details", unchanging)):
            object.__setattr__(self, name, made(getattr(self, name)))

    @property
    def deviation(self) -> float | None:
        """`value - reference`, or None when either is missing; for phases the shorter way around the circle."""
        if self.value is None or self.reference is None:
            return None
        away = self.value - self.reference
        return math.remainder(away, 2 * math.pi) if self.unit == "rad" and math.isfinite(away) else away

    def __repr__(self) -> str:
        value = "no value" if self.value is None else f"{self.value:.10g} {self.unit}".rstrip()
        after = checks.counted(self.steps, "step")
        return f"<varq result {self.run_id[:12]}: {self.title}, {value}, {self.reason.value} after {after}>"


@dataclass(frozen=True, eq=False)
class Record:
    """Everything a figure or a table needs of one run, live or read from the store.

    Args:
        id: the run's id.
        title: what was run, in a few words.
        algorithm: its kind, such as "algorithm:vqe".
        unit: of the values ("Ha" for hartree, "rad" for radians, "" for a plain number).
        reference: the independent exact answer; None when it is not known.
        history: structured array, one row a step: `step` (int), `value`, `best`, `stderr`, `seconds` (cumulative),
            `executions` (cumulative, int), then one float field for each number that the method showed (such as
            `grad_norm`) and one for each tracked quantity (by its name); NaN where there is none.
        points: the parameters of each step, flattened, shape (steps, parameters); NaN where a step had none.
        result: the result; None while the run goes on.
        problem: what is being solved; None if it cannot be rebuilt here.
        outcome: what the algorithm would answer now, while the run goes on; None once there is a result.
    """

    id: str
    title: str
    algorithm: str
    unit: str
    reference: float | None
    history: NDArray[Any]
    points: Array
    result: Result | None = None
    problem: Any = None
    outcome: Outcome | None = None
