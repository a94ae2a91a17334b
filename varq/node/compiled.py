"""A cost on a device that JAX traces: value and gradient compiled as one function of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from varq.devices.catalog import OpenDevice
from varq.node.traced import checked, traceable, unwrapped
from varq.precision import double
from varq.protocol import Array

__all__ = ["CompiledCost"]


class CompiledCost:
    """Expectation values without shot noise on a device whose results JAX differentiates.

    The arguments are those of `ExactCost`.
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
        self._circuit = circuit
        self._shape = shape
        self._device = opened.device
        self._names = tuple(tracked)
        self._double = partial(double, precision == "double")
        cost = partial(self._measured, qml.expval(observable))
        self._value = jax.jit(cost)
        self._both = jax.jit(jax.value_and_grad(cost))
        self._further = jax.jit(lambda x: [self._measured(qml.expval(o), x) for o in tracked.values()])
        self._metric = jax.jit(self._fubini_study)
        self._probabilities = jax.jit(partial(self._measured, qml.probs(wires=range(wires))))
        self._state = jax.jit(partial(self._measured, qml.state()))
        with traceable(), self._double():
            jax.eval_shape(self._value, np.zeros(shape))

    def _measured(self, measurement: Any, x: Any) -> Any:
        """One measurement's result, by the device's own stages."""
        script = checked(qml.tape.make_qscript(self._circuit)(x), self._device.wires)
        full = QuantumScript(script.operations, [measurement])
        full.trainable_params = []  # JAX differentiates through all of it
        wanted = ExecutionConfig(gradient_method="best", interface="jax-jit")
        config = self._device.setup_execution_config(wanted, full)
        tapes, join = self._device.preprocess_transforms(config)([full])
        return unwrapped(join(self._device.execute(tuple(tapes), config)))

    def _fubini_study(self, x: Any) -> Any:
        """Re(<d psi|d psi> - <d psi|psi><psi|d psi>), https://arxiv.org/abs/1909.02108, equation 3."""

        def state(flat: Any) -> Any:
            return self._measured(qml.state(), flat.reshape(self._shape))

        flat = jnp.ravel(x)
        psi, moved = state(flat), jax.jacfwd(state)(flat)
        along = psi.conj() @ moved
        return jnp.real(moved.conj().T @ moved - jnp.outer(along.conj(), along))

    def value(self, x: Array) -> tuple[float, int]:
        """The cost, and how many circuits ran."""
        with self._double():
            return float(self._value(x)), 1

    def value_and_grad(self, x: Array) -> tuple[float, Array, int]:
        """The cost, its gradient (the shape of x), and how many circuits ran."""
        with self._double():
            value, grad = self._both(x)
            return float(value), np.asarray(grad, dtype=np.float64), 1

    def tracked(self, x: Array) -> tuple[dict[str, float], int]:
        """The further expectation values by name, and how many circuits ran."""
        if not self._names:
            return {}, 0
        with self._double():
            values = [float(v) for v in self._further(x)]
        return dict(zip(self._names, values, strict=True)), len(values)

    def metric(self, x: Array) -> NDArray[np.float64]:
        """The Fubini-Study metric with respect to the parameters, shape (n, n)."""
        with self._double():
            return np.asarray(self._metric(x), dtype=np.float64)

    def state(self, x: Array) -> NDArray[np.complex128]:
        """The state vector, shape (2**wires,), wire 0 first."""
        with self._double():
            return np.asarray(self._state(x), dtype=np.complex128).ravel()

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The probability of each basis state, shape (2**wires,), wire 0 first."""
        with self._double():
            return np.asarray(self._probabilities(x), dtype=np.float64).ravel()
