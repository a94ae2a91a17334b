"""A cost estimated from shots: the circuits of a request, and what their measured bits say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml

from varq import checks
from varq.devices.catalog import OpenDevice
from varq.devices.service import Bits, Circuit
from varq.estimation.groups import Group, measurement_groups
from varq.estimation.intervals import combined
from varq.estimation.shots import LEAST_SHOTS, shared
from varq.estimation.weighing import weighed
from varq.keys import Key
from varq.node.shift import shift_rules
from varq.node.traced import Traced
from varq.problems.pauli import PauliSum
from varq.protocol import Array, Many, Prepared, Reply, Request, Sample, Value, ValueAndGrad

__all__ = ["SampledCost"]

_GATES = {
    "H": qml.Hadamard,
    "S": qml.S,
    "Sdg": lambda wires: qml.adjoint(qml.S(wires)),
    "CNOT": qml.CNOT,
    "CZ": qml.CZ,
    "SWAP": qml.SWAP,
}

_Read = Callable[[Iterator[Any]], Any]
"""Makes something of what comes of circuits in turn: an energy and its variance each, or bits."""


class _Asked(NamedTuple):
    """A circuit, and the group whose energy its bits tell; None where the bits themselves are asked for."""

    circuit: Circuit
    group: Group | None = None


@dataclass(frozen=True, eq=False)
class _Observed:
    """A Pauli sum, its measurement groups, and the circuits that measure them."""

    constant: float
    groups: list[Group]
    traced: Traced
    rule: str
    least: int

    def shots(self, each: float) -> tuple[int, ...]:
        """Of each group, when they have so many on average."""
        count = len(self.groups)
        return shared(max(self.least * count, round(each * count)), self.groups, self.rule, self.least)


class SampledCost:
    """Expectation values of a circuit estimated from measured bits.

    Each measurement group is a circuit of its own, with its share of the shots; each circuit draws from a generator
    that is seeded from the request's key and the circuit's place in the request: its company changes nothing.

    Args:
        circuit: queues the circuit for parameters of `shape`.
        observable: the cost's Pauli sum.
        shape: of the parameters.
        opened: the device.
        shots: of each circuit on average, over the measurement groups of an observable.
        tracked: further Pauli sums by name.
        precision: "double" or "single".
        grouping: which words are measured together: "qubit-wise" or "commuting".
        allocation: how shots are shared out over groups: "equal", or by "variance" (that of the maximally mixed
            state).

    Raises:
        ValueError: for an unknown grouping or allocation.
    """

    def __init__(
        self,
        circuit: Callable[[Any], Any],
        observable: PauliSum,
        shape: tuple[int, ...],
        opened: OpenDevice,
        shots: int,
        tracked: Mapping[str, PauliSum],
        precision: str = "double",
        grouping: str = "qubit-wise",
        allocation: str = "variance",
    ) -> None:
        self._wires = observable.wires
        self._shape = shape
        self._shots = shots
        least = min(shots, LEAST_SHOTS)  # whoever asks for one shot gets one, whose error bar is what is known before

        def traced(groups: list[Group]) -> Traced:
            circuits = [(_turned(g), [qml.sample(wires=range(observable.wires))]) for g in groups]
            return Traced(circuit, shape, circuits, opened, shots=shots, precision=precision)

        def observed(entry: PauliSum) -> _Observed:
            constant, groups = measurement_groups(entry, grouping)
            return _Observed(constant, groups, traced(groups), allocation, least)

        self._cost = observed(observable)
        self._tracked = {name: observed(entry) for name, entry in tracked.items()}
        self._bits = traced([Group("Z" * self._wires, np.zeros(0, np.uint64), np.zeros(0))])

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The circuits of a request, and how their bits become its reply.

        Args:
            request: values, gradients and samples, or several of them.
            key: the request's device key; each part of a `Many` uses a child of it.
            precision: by how much the shots of each circuit are multiplied.

        Raises:
            ValueError: if the parameters have another shape or are not finite, or for a metric.
            TypeError: for a request that a cost cannot answer.
        """
        asked: list[_Asked] = []
        read = self._read(request, key, precision, asked)

        def weigh(measured: Sequence[Mapping[int, Bits]]) -> Reply:
            reply: Reply = read(_found(asked, measured))
            return reply

        return Prepared(tuple(one.circuit for one in asked), lambda bits: weigh([{0: b} for b in bits]), weigh)

    # Each method below adds its circuits to a list, and returns what reads what they tell, in the same order.

    def _read(self, request: Request, key: Key, precision: float, asked: list[_Asked]) -> _Read:
        before = len(asked)
        if isinstance(request, Many):
            parts = [self._read(part, key.fold(k), precision, asked) for k, part in enumerate(request.parts)]

            def all_parts(found: Iterator[Any]) -> Reply:
                replies = tuple(read(found) for read in parts)
                return Reply(parts=replies, executions=sum(r.executions for r in replies))

            return all_parts
        if not isinstance(request, (Value, ValueAndGrad, Sample)):
            raise _unanswered(request)
        x = checks.array("parameters", request.x, self._shape)
        if isinstance(request, Sample):
            count = max(1, round(request.shots * precision))  # a budget with nothing left refuses that
            asked.append(_Asked(self._circuit(self._bits, 0, self._bits.gates(x)[0], count, key)))
            return lambda found: Reply(outcomes=next(found), executions=1)
        shots = self._shots * precision
        gates = self._cost.traced.gates(x)
        slope: _Read | None = None
        if isinstance(request, Value):
            value = self._read_value(self._cost, gates, shots, key, asked)
        else:
            value = self._read_value(self._cost, gates, shots, key.fold("value"), asked)
            slope = self._read_gradient(x, gates, shots, key, asked)
        further = self._read_tracked(x, shots, key.fold("tracked"), asked)
        count = len(asked) - before

        def point(found: Iterator[Any]) -> Reply:
            mean, stderr = value(found)
            grad, spread = (None, None) if slope is None else slope(found)
            return Reply(
                value=mean,
                stderr=stderr,
                grad=grad,
                grad_stderr=spread,
                tracked={name: read(found)[0] for name, read in further.items()},
                executions=count,
            )

        return point

    def _read_value(
        self, observed: _Observed, gates: Any, shots: float, key: Key, asked: list[_Asked]
    ) -> Callable[[Iterator[Any]], tuple[float, float]]:
        for g, share in enumerate(observed.shots(shots)):
            circuit = self._circuit(observed.traced, g, gates[g], share, key.fold(g))
            asked.append(_Asked(circuit, observed.groups[g]))

        def read(found: Iterator[Any]) -> tuple[float, float]:
            parts = np.reshape([next(found) for _ in observed.groups], (-1, 2))
            mean, stderr = combined(np.ones(len(parts)), *parts.T)
            return observed.constant + float(mean), float(stderr)

        return read

    def _read_tracked(self, x: Array, shots: float, key: Key, asked: list[_Asked]) -> dict[str, _Read]:
        return {
            name: self._read_value(entry, entry.traced.gates(x), shots, key.fold(name), asked)
            for name, entry in self._tracked.items()
        }

    def _read_gradient(self, x: Array, gates: Any, shots: float, key: Key, asked: list[_Asked]) -> _Read:
        """By shift rules: each gate's slope is a sum of values of its own circuits, none of which has two places."""
        traced, places = self._cost.traced, []
        for g, share in enumerate(self._cost.shots(shots)):
            for k, rule in enumerate(shift_rules(traced.bind(g, 0, gates[g][0]))):
                for s, (factor, shift) in enumerate(rule):
                    moved = gates[g][0].copy()
                    moved[k] += shift
                    circuit = self._circuit(traced, g, [moved], share, key.fold("shift", g, k, s))
                    asked.append(_Asked(circuit, self._cost.groups[g]))
                    places.append((k, factor))

        def read(found: Iterator[Any]) -> tuple[Array, Array]:
            jacobian = traced.jacobian(x)  # of the ansatz' gates, which all circuits share
            means, variances = np.zeros((2, len(jacobian)))
            for k, factor in places:
                mean, variance = next(found)
                means[k] += factor * mean
                variances[k] += factor**2 * variance
            slopes, errors = combined(jacobian.T, means, variances)
            return slopes.reshape(x.shape), errors.reshape(x.shape)

        return read

    def _circuit(self, traced: Traced, circuit: int, values: Sequence[Any], shots: int, key: Key) -> Circuit:
        return traced.circuit(circuit, values, self._wires, shots, key.seed())


def _found(asked: Sequence[_Asked], measured: Sequence[Mapping[int, Bits]]) -> Iterator[Any]:
    """What each circuit tells, from its bits by device; the circuits of a group are weighed together."""
    out: list[Any] = [None] * len(asked)
    places: dict[int, list[int]] = {}
    for k, (one, bits) in enumerate(zip(asked, measured, strict=True)):
        if one.group is None:
            out[k] = next(iter(bits.values())) if len(bits) == 1 else np.concatenate([bits[d] for d in sorted(bits)])
        else:
            places.setdefault(id(one.group), []).append(k)
    for mine in places.values():
        group = asked[mine[0]].group
        assert group is not None
        for k, estimate in zip(mine, weighed(group, [measured[k] for k in mine]), strict=True):
            out[k] = estimate
    return iter(out)


def _unanswered(request: Any) -> Exception:
    if type(request).__name__ == "Metric":
        return ValueError(
            "The metric tensor is computed from the state, so it needs shots=None. "
            "Use shots=None, or an optimizer without a metric such as 'spsa' or 'adam'."
        )
    return TypeError(f"A variational cost answers values, gradients, metrics and samples. Got {request!r}.")


def _turned(group: Group) -> list[Any]:
    """The rotations before the measurement."""
    return [_GATES[name](wires=list(wires)) for name, wires in group.gates]
