"""A cost on a device that gives exact expectation values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import autograd
import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane import numpy as pnp

from varq.devices.catalog import OpenDevice
from varq.node.metric import gate_metric
from varq.node.shift import shift_rules
from varq.node.traced import Traced
from varq.protocol import Array

__all__ = ["ExactCost"]


class ExactCost:
    """Expectation values of a circuit without shot noise.

    Args:
        circuit: queues the circuit for parameters of `shape`.
        observable: the PennyLane operator whose expectation value is the cost.
        wires: how many wires the circuit has.
        shape: of the parameters.
        opened: the device.
        tracked: further observables by name.
        precision: "double" or "single".
    """

    def __init__(
        self,
        circuit: Callable[[Any], Any],
        observable: Any,
        wires: int,
        shape: tuple[int, ...],
        opened: OpenDevice,
        tracked: Mapping[str, Any],
        precision: str = "double",
    ) -> None:
        self._wires = wires
        self._names = tuple(tracked)
        self._method = opened.abilities.gradient
        own = None if self._method == "parameter-shift" else self._method

        def traced(measured: list[Any], method: str | None = None) -> Traced:
            return Traced(circuit, shape, [((), measured)], opened, method, precision=precision)

        self._cost = traced([qml.expval(observable)], own)
        if own is not None and self._cost.tapes(0) != 1:  # the device splits the observable: only values remain
            self._method, self._cost = "parameter-shift", traced([qml.expval(observable)])
        self._tracked = [traced([qml.expval(o)]) for o in tracked.values()]
        self._probabilities: Callable[[], Traced] = lambda: traced([qml.probs(wires=range(wires))])

    def value(self, x: Array) -> tuple[float, int]:
        """The cost, and how many circuits ran."""
        return self._expectation(self._cost, x), 1

    def value_and_grad(self, x: Array) -> tuple[float, Array, int]:
        """The cost, its gradient (the shape of x), and how many circuits ran."""
        if self._method == "adjoint":
            return self._adjoint(x)
        if self._method == "backprop":
            return self._backprop(x)
        return self._shifted(x)

    def tracked(self, x: Array) -> tuple[dict[str, float], int]:
        """The further expectation values by name, and how many circuits ran."""
        values = {name: self._expectation(t, x) for name, t in zip(self._names, self._tracked, strict=True)}
        return values, len(values)

    def metric(self, x: Array) -> NDArray[np.float64]:
        """The Fubini-Study metric with respect to the parameters, shape (n, n)."""
        gates = self._cost.gates(x)[0][0]
        jacobian = self._cost.jacobian(x)
        return np.asarray(jacobian.T @ gate_metric(self._cost.bind(0, 0, gates), self._wires) @ jacobian)

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The probability of each basis state, shape (2**wires,), wire 0 first."""
        traced = self._probabilities()
        result = traced.join(0, traced.run([traced.bind(0, t, v) for t, v in enumerate(traced.gates(x)[0])]))
        return np.asarray(result, dtype=np.float64).ravel()

    @staticmethod
    def _expectation(traced: Traced, x: Array) -> float:
        tapes = [traced.bind(0, t, values) for t, values in enumerate(traced.gates(x)[0])]
        return float(np.real(traced.join(0, traced.run(tapes))))

    def _adjoint(self, x: Array) -> tuple[float, Array, int]:
        values = self._cost.gates(x)[0][0]
        tape = self._cost.bind(0, 0, values)
        device = self._cost.opened.device
        if not values.size:
            return self._expectation(self._cost, x), np.zeros(self._cost.shape), 1
        results, jacobians = device.execute_and_compute_derivatives((tape,), self._cost.config)
        cost = float(np.real(self._cost.join(0, results)))
        slopes = np.real(np.ravel(np.asarray(jacobians[0])))
        return cost, self._cost.pull_back(x, [[slopes]]), 1

    def _backprop(self, x: Array) -> tuple[float, Array, int]:
        values = self._cost.gates(x)[0][0]
        if not values.size:
            return self._expectation(self._cost, x), np.zeros(self._cost.shape), 1

        def run(flat: Any) -> Any:
            result = self._cost.run([self._cost.bind(0, 0, flat)])
            return qml.math.real(self._cost.join(0, result))

        with warnings.catch_warnings():
            # Real observables of complex states: autograd's backward pass casts, and says so each time.
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            cost, slopes = autograd.value_and_grad(run)(pnp.array(values, requires_grad=True))
        return float(cost), self._cost.pull_back(x, [[np.asarray(slopes)]]), 1

    def _shifted(self, x: Array) -> tuple[float, Array, int]:
        gates = self._cost.gates(x)[0]
        slopes = self._cost.zeros()
        circuits = 1
        for t, values in enumerate(gates):
            for k, rule in enumerate(shift_rules(self._cost.bind(0, t, values))):
                for factor, shift in rule:
                    moved = [v.copy() for v in gates]
                    moved[t][k] += shift
                    tapes = [self._cost.bind(0, s, v) for s, v in enumerate(moved)]
                    slopes[0][t][k] += factor * float(np.real(self._cost.join(0, self._cost.run(tapes))))
                    circuits += 1
        return self._expectation(self._cost, x), self._cost.pull_back(x, slopes), circuits
