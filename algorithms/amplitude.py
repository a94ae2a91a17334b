"""Iterative amplitude estimation: how probable is a good outcome, by Grover iterations and no phase estimation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from pennylane.devices.preprocess import decompose
from pennylane.devices.qubit import apply_operation, create_initial_state
from pennylane.tape import QuantumScript
from scipy.special import betaincinv, ndtri

from varq import checks, spec
from varq.algorithms.task import Task, put, settled, usual_device
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Finished, Outcome, Plan, Progress, Reason, Reply, Sample, Stop

__all__ = ["AmplitudeEstimation", "IterativePolicy", "SHOTS"]

SHOTS = 100  # of a look at a circuit
_REFERENCE = 16  # most wires for which the exact amplitude is simulated
_GROWTH = 2.0  # by which the number of applications must grow, or more shots of the same circuit are taken
_PATTERN = "Give one letter a wire: '1' or '0' where the good outcomes have it, '-' where both are good."


@dataclass(frozen=True, eq=False)
class AmplitudeEstimation(Task):
    """Estimate the probability a of good outcomes of a circuit to an accuracy with a guaranteed confidence.

    With Q = A S_0 A^dagger S_good, the circuit Q^k A gives a good outcome with the probability sin^2((2k + 1) t),
    a = sin^2 t.  The power k grows as the interval for t shrinks, as in iterative amplitude estimation (Grinko, Gacon,
    Zoufal and Woerner, npj Quantum Inf. 7, 52 (2021)): about 1/error applications in place of the 1/error^2 of plain
    sampling.  `value` is the middle of the confidence interval, which `details` holds as `interval`, with
    `applications` of A and its adjoint, `oracle_calls` of Q, and the `powers` used; `stderr` is half of the interval's
    width over the normal quantile of its confidence, larger than one standard error would be.

    The m-th look at the i-th circuit has a Clopper-Pearson interval of error (1 - confidence) / (i (i + 1) m (m + 1)).
    Given what came before a circuit, its looks fail with at most (1 - confidence) / (i (i + 1)), and all circuits with
    at most 1 - confidence: the interval at the end covers a with at least that confidence, whatever the shots decided.

    All this holds for a device without noise.  One that errs moves the interval by as much; where two powers contradict
    each other by more than their errors, the run is STALLED, with the interval that it had before.

    Args:
        prepare: queues A, PennyLane operations on wires 0 .. n-1, and takes no argument.
        good: which outcomes are good, one letter a wire: "1", "0", or "-" for either.
        accuracy: half of the width of the interval to reach, above 0 and at most 0.5.
        confidence: with which it must cover, in (0, 1).
        shots: of each look; None for 100.

    Raises:
        TypeError: if `prepare` cannot be called, or `good` is no text.
        ValueError: for other letters, no letter that decides, or numbers out of range; when it is run, for a `prepare`
            that queues on other wires.

    Example:
        >>> import varq
        >>> def tilted():
        ...     qml.RY(0.6, 0)
        >>> result = varq.run(AmplitudeEstimation(tilted, "1", accuracy=0.02), store=None, progress=False)
        >>> low, high = result.details["interval"]
        >>> bool(low < np.sin(0.3) ** 2 < high and high - low <= 0.04)
        True
    """

    prepare: Any
    good: str
    accuracy: float = 0.01
    confidence: float = 0.95

    kind: ClassVar[str] = "algorithm:amplitude-estimation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(spec.unwrap(self.prepare)):
            raise TypeError(
                f"prepare must be a function that queues the circuit. Got {spec.unwrap(self.prepare)!r}. "
                "Pass the function itself, without calling it."
            )
        checks.text("good", self.good, _PATTERN)
        if set(self.good) - set("01-") or not set(self.good) & set("01"):
            raise ValueError(f"good must be a pattern of '0', '1' and '-' that decides. Got {self.good!r}. {_PATTERN}")
        put(
            self,
            accuracy=checks.real("accuracy", self.accuracy, above=0, maximum=0.5),
            confidence=checks.real("confidence", self.confidence, above=0, maximum=1 - 1e-12),
        )

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        name = getattr(spec.unwrap(self.prepare), "__name__", type(spec.unwrap(self.prepare)).__name__)
        return f"amplitude of {self.good} after {name}"

    def resolve(self, device: Any, shots: int | None) -> AmplitudeEstimation:
        """This spec with every choice made."""
        device = usual_device(device)
        resolved: AmplitudeEstimation = settled(self, device, SHOTS if shots is None else shots)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable on a device."""
        assert self.shots is not None
        self._check_wires()
        marked = tuple(w for w, letter in enumerate(self.good) if letter != "-")
        sampler = nodes.bits(self._circuit, len(self.good), marked)
        return Plan(
            method=IterativePolicy(
                accuracy=self.accuracy,
                error=1 - self.confidence,
                shots=self.shots,
                good=[int(self.good[w]) for w in marked],
            ),
            start=np.zeros(1),
            evaluate=sampler.evaluate,
            conclude=self._conclude,
            final=lambda progress: None,
            reference=self._reference,
            stop=Stop(),
            title=self.title,
            prepare=sampler.prepare,
        )

    def _circuit(self, x: Any) -> None:
        """Q^k A, k the one parameter."""
        prepare = spec.unwrap(self.prepare)
        wires = list(range(len(self.good)))
        prepare()
        for _ in range(int(x[0])):
            _reflect(wires, self.good)
            qml.adjoint(prepare)()
            _reflect(wires, "0" * len(wires))
            prepare()

    @cached_property
    def _prepared(self) -> QuantumScript:
        """A alone."""
        with qml.queuing.AnnotatedQueue() as queue:
            self._circuit(np.zeros(1))
        return QuantumScript.from_queue(queue)

    def _check_wires(self) -> None:
        wires = self._prepared.wires.tolist()
        if set(wires) - set(range(len(self.good))):
            raise ValueError(
                f"prepare must queue on the wires 0 .. {len(self.good) - 1} alone, one for each letter of good. "
                f"Got wires {wires} for {self.good!r}. Give a letter for each wire."
            )

    def _reference(self) -> float | None:
        return self._exact

    @cached_property
    def _exact(self) -> float | None:
        """The exact probability, by matrices: whoever looks at a run asks for it, and runs nothing on a device."""
        if len(self.good) > _REFERENCE:
            return None
        name = "the exact amplitude"
        (script,), _ = decompose(self._prepared, lambda operation: operation.has_matrix, name=name)
        first, *others = script.operations or [None]
        begins = isinstance(first, qml.operation.StatePrepBase)
        state = create_initial_state(range(len(self.good)), first if begins else None)
        for operation in others if begins or first is None else [first, *others]:
            state = apply_operation(operation, state)
        place = tuple(slice(None) if letter == "-" else int(letter) for letter in self.good)
        return float(np.sum(np.abs(state[place]) ** 2))

    def _conclude(self, progress: Progress) -> Outcome:
        found: Knowledge | None = progress.state
        if found is None:
            return Outcome()
        low, high = found.interval
        half = (high - low) / 2
        details = {
            "interval": (low, high),
            "confidence": self.confidence,
            "applications": found.applications,
            "oracle_calls": found.calls,
            "powers": np.array(found.powers, dtype=np.int64),
        }
        return Outcome(low + half, half / float(ndtri((1 + self.confidence) / 2)), None, details)


def _reflect(wires: Sequence[int], pattern: str) -> None:
    """Queue the change of sign of all basis states that fit a pattern."""
    marked = [w for w, letter in zip(wires, pattern, strict=True) if letter != "-"]
    flipped = [w for w, letter in zip(wires, pattern, strict=True) if letter == "0"]
    for wire in flipped:
        qml.X(wires=wire)
    if len(marked) == 1:
        qml.Z(wires=marked[0])
    else:
        qml.ctrl(qml.Z(wires=marked[-1]), control=marked[:-1])
    for wire in flipped:
        qml.X(wires=wire)


@dataclass(frozen=True)
class Knowledge:
    """What is known of the angle t, a = sin^2 t.

    Args:
        low: t at least, in turns, from 0 to 1/4.
        high: t at most.
        power: k, of the circuit that is looked at.
        round: number of different circuits looked at, the present one included.
        looks: at the present circuit.
        hits: good outcomes of it.
        powers: k of each look so far.
        contradicted: whether the last look leaves no angle of those that the looks before it left.
        shots: of a look.
    """

    shots: int
    low: float = 0.0
    high: float = 0.25
    power: int = 0
    round: int = 1
    looks: int = 0
    hits: int = 0
    powers: tuple[int, ...] = ()
    contradicted: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """For a, from low to high."""
        return math.sin(2 * math.pi * self.low) ** 2, math.sin(2 * math.pi * self.high) ** 2

    @property
    def calls(self) -> int:
        """Applications of Q in all."""
        return self.shots * sum(self.powers)

    @property
    def applications(self) -> int:
        """Of A and its adjoint in all."""
        return self.shots * sum(2 * k + 1 for k in self.powers)


class IterativePolicy:
    """Look at the largest power of Q whose outcome still tells on which side of the circle its angle is.

    Args:
        accuracy: half of the width of the interval for a that ends it.
        error: probability with which the interval may fail to cover.
        shots: of a look.
        good: the bits of a good outcome.
    """

    def __init__(self, accuracy: float, error: float, shots: int, good: Sequence[int]) -> None:
        self._accuracy, self._error, self._shots = accuracy, error, shots
        self._good = np.array(good, dtype=np.uint8)

    def init(self, start: Any, key: Key) -> Knowledge:
        """Any angle."""
        return Knowledge(self._shots)

    def ask(self, state: Knowledge) -> Sample | Finished:
        """Shots of the circuit of the present power, or the end: the interval is narrow enough, or nothing fits."""
        if state.contradicted:
            why = f"power {state.power} contradicts smaller ones by more than their errors: is the device noisy?"
            return Finished(Reason.STALLED, f"{why} The interval is the one before. Ask for less accuracy")
        low, high = state.interval
        if high - low <= 2 * self._accuracy:
            return Finished(Reason.CONVERGED, f"the interval is within {self._accuracy:g} of its middle")
        return Sample(np.array([float(state.power)]), self._shots)

    def tell(self, state: Knowledge, reply: Reply) -> tuple[Knowledge, Mapping[str, Any]]:
        """A narrower interval, and the power to look at next."""
        assert reply.outcomes is not None
        hits = state.hits + int(np.all(reply.outcomes == self._good, axis=1).sum())
        looks = state.looks + 1
        error = self._error / (state.round * (state.round + 1) * looks * (looks + 1))
        low, high = _angles(_clopper_pearson(hits, looks * self._shots, error), state)
        after = replace(state, looks=looks, hits=hits, powers=(*state.powers, state.power), contradicted=low > high)
        if not after.contradicted:
            after = replace(after, low=low, high=high)
        power = next_power(after.power, after.low, after.high)
        if power != after.power and not after.contradicted:
            after = replace(after, power=power, round=after.round + 1, looks=0, hits=0)
        ends = after.interval
        middle = (ends[0] + ends[1]) / 2
        info = {
            "value": middle,
            "stderr": (ends[1] - ends[0]) / 2 / float(ndtri(1 - self._error / 2)),
            "power": state.power,
            "oracle_calls": after.calls,
        }
        return after, info


def next_power(power: int, low: float, high: float) -> int:
    """The largest k at least twice as far as `power` for which (4k + 2) t stays in one half of the circle; or `power`.

    Args:
        power: at which the last look was.
        low: t at least, turns.
        high: t at most.

    Example:
        >>> next_power(0, 0.04, 0.06), next_power(0, 0.0, 0.25)
        (3, 0)
    """
    present = 4 * power + 2
    largest = int(0.5 / (high - low)) if high > low else present
    factor = largest - (largest - 2) % 4
    while factor >= _GROWTH * present:
        first, last = math.floor(2 * factor * low), math.ceil(2 * factor * high)
        if last - first <= 1:
            return (factor - 2) // 4
        factor -= 4
    return power


def _angles(chances: tuple[float, float], state: Knowledge) -> tuple[float, float]:
    """The interval for t that agrees with the one before and with the probability of a good outcome.

    If there is none, the lower end comes out above the upper one.
    """
    factor = 4 * state.power + 2
    half = math.floor(factor * (state.low + state.high))  # in which half turn factor t is: its middle cannot be wrong
    ends = [math.acos(1 - 2 * chance) / (2 * math.pi) for chance in chances]
    places = ends if half % 2 == 0 else [1 - ends[1], 1 - ends[0]]
    turns = half // 2
    low, high = ((turns + place) / factor for place in places)
    return max(state.low, low), min(state.high, high)


def _clopper_pearson(hits: int, shots: int, error: float) -> tuple[float, float]:
    """An interval for a probability that fails to cover it with at most the probability `error`."""
    low = 0.0 if hits == 0 else float(betaincinv(hits, shots - hits + 1, error / 2))
    high = 1.0 if hits == shots else float(betaincinv(hits + 1, shots - hits, 1 - error / 2))
    return low, high
