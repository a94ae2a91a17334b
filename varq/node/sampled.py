"""A cost estimated from shots, with its error bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.devices.catalog import OpenDevice
from varq.estimation import Group, measurement_groups
from varq.keys import Key
from varq.node.shift import shift_rules
from varq.node.traced import Traced
from varq.problems.pauli import PauliSum
from varq.protocol import Array

__all__ = ["SampledCost"]

_TURNS = {"X": (qml.Hadamard,), "Y": (lambda wires: qml.adjoint(qml.S(wires)), qml.Hadamard), "Z": ()}


class SampledCost:
    """Expectation values of a circuit estimated from measured bits.

    Each measurement group is a circuit of its own, run with `shots` shots; each circuit draws from a generator that is
    seeded from the request's key and the circuit's place in the request, so the company it travels in changes nothing.

    Args:
        circuit: queues the circuit for parameters of `shape`.
        observable: the cost's Pauli sum.
        shape: of the parameters.
        opened: the device.
        shots: of each circuit.
        tracked: further Pauli sums by name.
        precision: "double" or "single".
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
    ) -> None:
        self._wires = observable.wires

        def traced(groups: list[Group]) -> Traced:
            circuits = [(_turns(g.basis), [qml.sample(wires=range(observable.wires))]) for g in groups]
            return Traced(circuit, shape, circuits, opened, shots=shots, precision=precision)

        self._constant, self._groups = measurement_groups(observable)
        self._cost = traced(self._groups)
        self._further = []
        for name, entry in tracked.items():
            constant, groups = measurement_groups(entry)
            self._further.append((name, constant, groups, traced(groups)))
        self._bits = traced([Group("Z" * self._wires, np.zeros(0, np.uint64), np.zeros(0))])

    def value(self, x: Array, key: Key) -> tuple[float, float, int]:
        """The cost, its standard error, and how many circuits ran."""
        mean, variance = self._estimate(self._cost, self._groups, self._cost.gates(x), key)
        return self._constant + mean, float(np.sqrt(variance)), len(self._groups)

    def value_and_grad(self, x: Array, key: Key) -> tuple[float, float, Array, Array, int]:
        """The cost, its standard error, the gradient, its standard error, and how many circuits ran."""
        gates = self._cost.gates(x)
        value, stderr, circuits = self.value(x, key.fold("value"))
        slopes, variances = self._cost.zeros(), self._cost.zeros()
        for g, group in enumerate(self._groups):
            rules = shift_rules(self._cost.bind(g, 0, gates[g][0]))
            for k, rule in enumerate(rules):
                for s, (factor, shift) in enumerate(rule):
                    moved = gates[g][0].copy()
                    moved[k] += shift
                    mean, variance = self._one(self._cost, g, group, [moved], key.fold("shift", g, k, s))
                    slopes[g][0][k] += factor * mean
                    variances[g][0][k] += factor**2 * variance
                    circuits += 1
        grad = self._cost.pull_back(x, slopes)
        return value, stderr, grad, self._spread(x, variances), circuits

    def _spread(self, x: Array, variances: list[list[NDArray[np.float64]]]) -> Array:
        """Standard errors of the gradient: independent errors of the gates' slopes add in quadrature."""
        total = np.zeros(x.size)
        for g in range(len(variances)):
            for k in range(len(variances[g][0])):
                if variances[g][0][k] > 0:
                    unit = self._cost.zeros()
                    unit[g][0][k] = 1.0
                    total += self._cost.pull_back(x, unit).ravel() ** 2 * variances[g][0][k]
        return np.asarray(np.sqrt(total).reshape(x.shape))

    def tracked(self, x: Array, key: Key) -> tuple[dict[str, float], int]:
        """The further expectation values by name, and how many circuits ran."""
        out = {}
        circuits = 0
        for name, constant, groups, traced in self._further:
            mean, _ = self._estimate(traced, groups, traced.gates(x), key.fold(name))
            out[name] = constant + mean
            circuits += len(groups)
        return out, circuits

    def sample(self, x: Array, key: Key) -> NDArray[np.uint8]:
        """Measured bits, shape (shots, wires)."""
        return self._measure(self._bits, 0, self._bits.gates(x)[0], key)

    def _estimate(self, traced: Traced, groups: list[Group], gates: Any, key: Key) -> tuple[float, float]:
        parts = [self._one(traced, g, group, gates[g], key.fold(g)) for g, group in enumerate(groups)]
        return float(sum(m for m, _ in parts)), float(sum(v for _, v in parts))

    def _one(self, traced: Traced, g: int, group: Group, values: list[NDArray[Any]], key: Key) -> tuple[float, float]:
        return group.estimate(self._measure(traced, g, values, key))

    def _measure(self, traced: Traced, circuit: int, values: list[NDArray[Any]], key: Key) -> NDArray[np.uint8]:
        traced.opened.reseed(key.seed())
        results = traced.run([traced.bind(circuit, t, v) for t, v in enumerate(values)])
        joined = traced.join(circuit, results)
        return np.asarray(joined, dtype=np.uint8).reshape(-1, self._wires)


def _turns(basis: str) -> list[Any]:
    return [gate(wire) for wire, letter in enumerate(basis) for gate in _TURNS[letter]]
