"""A circuit function traced once: its gates as data, its gate parameters as one compiled function of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from varq.precision import double
from varq.protocol import Array

__all__ = ["Traced"]


@dataclass
class _Template:
    """A preprocessed tape with placeholder parameters, and which of its parameters depend on the user's."""

    tape: QuantumScript
    dependent: list[int]


class Traced:
    """Circuits that share one circuit function and differ in what they measure.

    PennyLane's queue, the circuit function and the device's own transforms run once, while JAX traces them; after that
    a call costs one compiled evaluation of the gate parameters and one binding of numbers into the prepared tapes.

    Args:
        circuit: queues PennyLane operations for parameters of `shape`; may use `jax.numpy` on them.
        shape: of the parameters.
        measurements: for each circuit its final rotations (operations) and its PennyLane measurements.
        opened: the device that runs them.
        method: how the device will differentiate ("adjoint", "backprop"), or None for values only.
        shots: of each circuit; None for exact values.
        precision: "double" or "single".

    Raises:
        ValueError: if the circuit refuses its parameters or uses wires the device lacks.
    """

    def __init__(
        self,
        circuit: Callable[[Any], Any],
        shape: tuple[int, ...],
        measurements: Sequence[tuple[Sequence[Any], Sequence[Any]]],
        opened: OpenDevice,
        method: str | None = None,
        shots: int | None = None,
        precision: str = "double",
    ) -> None:
        self.opened = opened
        self.shape = shape
        self.shots = shots
        self._circuit = circuit
        self._measurements = measurements
        self._double = partial(double, precision == "double")
        wanted = ExecutionConfig(gradient_method=method, use_device_gradient=None if method is None else True)
        self._wanted = wanted
        self.config = wanted
        self._templates: list[list[_Template]] = []
        self._joins: list[Callable[[Any], Any]] = []
        self._compiled = jax.jit(self._trace)
        self._pulled = jax.jit(lambda x, cotangents: jax.vjp(self._trace, x)[1](cotangents)[0])
        self.gates(np.zeros(shape))

    def _trace(self, x: Any) -> list[list[list[Any]]]:
        """The parameters of every circuit's every tape that depend on x; notes the tapes on its way."""
        script = qml.tape.make_qscript(self._circuit)(x)
        templates: list[list[_Template]] = []
        joins: list[Callable[[Any], Any]] = []
        out: list[list[list[Any]]] = []
        for rotations, measured in self._measurements:
            full = QuantumScript([*script.operations, *rotations], measured, shots=self.shots)
            self.config = self.opened.device.setup_execution_config(self._wanted, full)
            tapes, join = self.opened.device.preprocess_transforms(self.config)([full])
            split = [self._split(tape) for tape in tapes]
            templates.append([template for template, _ in split])
            out.append([values for _, values in split])
            joins.append(join)
        self._templates, self._joins = templates, joins
        return out

    @staticmethod
    def _split(tape: QuantumScript) -> tuple[_Template, list[Any]]:
        parameters = tape.get_parameters(trainable_only=False)
        dependent = [k for k, p in enumerate(parameters) if isinstance(p, jax.core.Tracer)]
        values = [jnp.asarray(parameters[k]) for k in dependent]
        blank = tape.bind_new_parameters([np.zeros(v.shape) if v.shape else 0.0 for v in values], dependent)
        return _Template(blank, dependent), values

    def gates(self, x: Array) -> list[list[list[NDArray[Any]]]]:
        """For each circuit, for each of its tapes, the values of the parameters that depend on x."""
        with self._double():
            values = self._compiled(jnp.asarray(x))
            return [[[np.asarray(v) for v in tape] for tape in circuit] for circuit in values]

    def pull_back(self, x: Array, cotangents: list[list[list[Any]]]) -> Array:
        """The gradient with respect to x, from those with respect to the values that `gates` gives."""
        with self._double():
            typed = jax.tree.map(lambda c: jnp.asarray(c, jnp.result_type(float)), cotangents)
            return np.asarray(self._pulled(jnp.asarray(x), typed), dtype=np.float64)

    def jacobian(self, x: Array) -> NDArray[np.float64]:
        """d(gate parameters)/dx of the first tape of the first circuit, shape (gate parameters, parameters)."""
        with self._double():
            rows = jax.jit(jax.jacrev(lambda v: jnp.stack(self._trace(v)[0][0])))(jnp.asarray(x))
            return np.asarray(rows, dtype=np.float64).reshape(len(self._templates[0][0].dependent), -1)

    def zeros(self) -> list[list[list[float]]]:
        """Cotangents of the shape of `gates`, all zero; for circuits whose dependent gate parameters are numbers."""
        return [[[0.0] * len(t.dependent) for t in circuit] for circuit in self._templates]

    def bind(self, circuit: int, tape: int, values: Sequence[Any]) -> QuantumScript:
        """A tape with numbers in it; its trainable parameters are those that depend on x."""
        template = self._templates[circuit][tape]
        bound = template.tape.bind_new_parameters(list(values), template.dependent)
        bound.trainable_params = template.dependent
        return bound

    def tapes(self, circuit: int) -> int:
        """How many tapes the device makes of a circuit."""
        return len(self._templates[circuit])

    def join(self, circuit: int, results: Sequence[Any]) -> Any:
        """The circuit's result from those of its tapes."""
        return self._joins[circuit](tuple(results))

    def run(self, tapes: Sequence[QuantumScript]) -> tuple[Any, ...]:
        """Run bound tapes on the device, in one batch."""
        return tuple(self.opened.device.execute(tuple(tapes), self.config))
