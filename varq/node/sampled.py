"""A cost estimated from shots: the circuits of a request, and what their measured bits say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.devices.catalog import OpenDevice
from varq.devices.service import Bits, Circuit
from varq.estimation.groups import Group, measurement_groups
from varq.estimation.shots import LEAST_SHOTS, shared
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

_Read = Callable[[Iterator[Bits]], Any]


@dataclass(frozen=True, eq=False)
class _Observed:
    """A Pauli sum, its measurement groups, and the circuits that measure them."""

    constant: float
    groups: list[Group]
    traced: Traced
    rule: str

    def shots(self, each: float) -> tuple[int, ...]:
        """Of each group, when they have so many on average."""
        count = len(self.groups)
        return shared(max(LEAST_SHOTS * count, round(each * count)), self.groups, self.rule)


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

        def traced(groups: list[Group]) -> Traced:
            circuits = [(_turned(g), [qml.sample(wires=range(observable.wires))]) for g in groups]
            return Traced(circuit, shape, circuits, opened, shots=shots, precision=precision)

        def observed(entry: PauliSum) -> _Observed:
            constant, groups = measurement_groups(entry, grouping)
            return _Observed(constant, groups, traced(groups), allocation)

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
        circuits: list[Circuit] = []
        read = self._read(request, key, precision, circuits)
        return Prepared(tuple(circuits), lambda bits: read(iter(bits)))

    # Each method below adds its circuits to a list, and returns what reads their bits, in the same order.

    def _read(self, request: Request, key: Key, precision: float, circuits: list[Circuit]) -> _Read:
        before = len(circuits)
        if isinstance(request, Many):
            parts = [self._read(part, key.fold(k), precision, circuits) for k, part in enumerate(request.parts)]

            def all_parts(bits: Iterator[Bits]) -> Reply:
                replies = tuple(read(bits) for read in parts)
                return Reply(parts=replies, executions=sum(r.executions for r in replies))

            return all_parts
        if not isinstance(request, (Value, ValueAndGrad, Sample)):
            raise _unanswered(request)
        x = checks.array("parameters", request.x, self._shape)
        if isinstance(request, Sample):
            count = max(1, round(request.shots * precision))  # a budget with nothing left refuses that
            circuits.append(self._circuit(self._bits, 0, self._bits.gates(x)[0], count, key))
            return lambda bits: Reply(outcomes=next(bits), executions=1)
        shots = self._shots * precision
        gates = self._cost.traced.gates(x)
        slope: _Read | None = None
        if isinstance(request, Value):
            value = self._read_value(self._cost, gates, shots, key, circuits)
        else:
            value = self._read_value(self._cost, gates, shots, key.fold("value"), circuits)
            slope = self._read_gradient(x, gates, shots, key, circuits)
        further = self._read_tracked(x, shots, key.fold("tracked"), circuits)
        count = len(circuits) - before

        def point(bits: Iterator[Bits]) -> Reply:
            mean, variance = value(bits)
            grad, spread = (None, None) if slope is None else slope(bits)
            return Reply(
                value=mean,
                stderr=float(np.sqrt(variance)),
                grad=grad,
                grad_stderr=spread,
                tracked={name: read(bits)[0] for name, read in further.items()},
                executions=count,
            )

        return point

    def _read_value(
        self, observed: _Observed, gates: Any, shots: float, key: Key, circuits: list[Circuit]
    ) -> Callable[[Iterator[Bits]], tuple[float, float]]:
        for g, share in enumerate(observed.shots(shots)):
            circuits.append(self._circuit(observed.traced, g, gates[g], share, key.fold(g)))

        def read(bits: Iterator[Bits]) -> tuple[float, float]:
            parts = [group.estimate(next(bits)) for group in observed.groups]
            return observed.constant + sum(m for m, _ in parts), sum(v for _, v in parts)

        return read

    def _read_tracked(self, x: Array, shots: float, key: Key, circuits: list[Circuit]) -> dict[str, _Read]:
        return {
            name: self._read_value(entry, entry.traced.gates(x), shots, key.fold(name), circuits)
            for name, entry in self._tracked.items()
        }

    def _read_gradient(self, x: Array, gates: Any, shots: float, key: Key, circuits: list[Circuit]) -> _Read:
        """By shift rules: each gate's slope is a sum of values of its own circuits."""
        traced, places = self._cost.traced, []
        for g, share in enumerate(self._cost.shots(shots)):
            for k, rule in enumerate(shift_rules(traced.bind(g, 0, gates[g][0]))):
                for s, (factor, shift) in enumerate(rule):
                    moved = gates[g][0].copy()
                    moved[k] += shift
                    circuits.append(self._circuit(traced, g, [moved], share, key.fold("shift", g, k, s)))
                    places.append((g, k, factor))

        def read(bits: Iterator[Bits]) -> tuple[Array, Array]:
            slopes, variances = traced.zeros(), traced.zeros()
            for g, k, factor in places:
                mean, variance = self._cost.groups[g].estimate(next(bits))
                slopes[g][0][k] += factor * mean
                variances[g][0][k] += factor**2 * variance
            return traced.pull_back(x, slopes), self._spread(x, variances)

        return read

    def _spread(self, x: Array, variances: list[list[NDArray[np.float64]]]) -> Array:
        """Standard errors of the gradient: independent errors of the gates' slopes add in quadrature."""
        by_gate = np.sum([circuit[0] for circuit in variances], axis=0)
        jacobian = self._cost.traced.jacobian(x)  # of the ansatz' gates, which all circuits share
        return np.asarray(np.sqrt(by_gate @ jacobian**2).reshape(x.shape))

    def _circuit(self, traced: Traced, circuit: int, values: Sequence[Any], shots: int, key: Key) -> Circuit:
        return traced.circuit(circuit, values, self._wires, shots, key.seed())


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
