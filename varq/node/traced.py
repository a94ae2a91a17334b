"""A circuit function traced once: its gates as data, its gate parameters as one compiled function of the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from varq.devices.catalog import OpenDevice
from varq.devices.digests import structure_digest
from varq.devices.service import Circuit
from varq.precision import double
from varq.protocol import Array
from varq.simulator.binding import bound

__all__ = ["Traced", "checked", "traceable", "unwrapped"]


@dataclass
class _Template:
    """A preprocessed tape with placeholder parameters, and which of its parameters depend on the user's."""

    tape: QuantumScript
    dependent: list[int]
    shapes: list[tuple[int, ...]]

    @cached_property
    def structure(self) -> str:
        """Digest of all but the numbers that depend on the user's."""
        free = self.tape.copy()
        free.trainable_params = self.dependent
        return structure_digest(free)

    @property
    def size(self) -> int:
        """How many numbers the dependent parameters hold."""
        return sum(math.prod(shape) for shape in self.shapes)

    def values(self, flat: Any) -> list[Any]:
        """The dependent parameters, cut from one vector (of NumPy or autograd)."""
        out, at = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            out.append(flat[at : at + size].reshape(shape) if shape else flat[at])
            at += size
        return out


def unwrapped(result: Any) -> Any:
    """The one measurement result in PennyLane's nested tuples."""
    while isinstance(result, (tuple, list)):
        (result,) = result
    return result


@contextmanager
def traceable() -> Iterator[None]:
    """A block that traces a circuit function; JAX's errors become one that says how to write such a function."""
    try:
        yield
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise TypeError(
            "A circuit is traced once for all parameters: it cannot branch on them, make Python numbers of them or "
            "hand them to plain NumPy. Use jax.numpy on them, and jnp.where or qml.cond to choose."
        ) from error


def checked(script: QuantumScript, known: Any) -> QuantumScript:
    """The script itself, if a cost can hold it.

    Args:
        script: what the circuit function queued.
        known: the device's wires, or None for any.

    Raises:
        ValueError: for unknown wires, arrays in place of numbers, or measurements in the middle.
    """
    if known is not None and (unknown := [w for w in script.wires if w not in known]):
        raise ValueError(f"A circuit's wires must be among {list(known)}. Got {unknown}. Number them from 0.")
    if script.batch_size is not None:
        raise ValueError(
            f"Each gate takes single numbers. Got an array of {script.batch_size}. Index the parameters: x[0]."
        )
    if any(isinstance(operation, qml.ops.MidMeasure) for operation in script.operations):
        raise ValueError("A cost's circuit cannot measure in its middle. Leave qml.measure out, or use a QNode.")
    return script


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
        self._pulled = jax.jit(self._vjp)
        self._sloped = jax.jit(jax.jacrev(lambda x: self._trace(x)[0][0]))
        with traceable():
            self.gates(np.zeros(shape))

    def _trace(self, x: Any) -> list[list[Any]]:
        """For every circuit and tape, one vector of the parameters that depend on x; notes the tapes on its way."""
        script = qml.tape.make_qscript(self._circuit)(x)
        checked(script, self.opened.device.wires)
        templates: list[list[_Template]] = []
        joins: list[Callable[[Any], Any]] = []
        out: list[list[Any]] = []
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

    def _vjp(self, x: Any, slopes: list[list[Any]]) -> Any:
        values, pull = jax.vjp(self._trace, x)
        return pull(jax.tree.map(lambda slope, value: slope.astype(value.dtype), slopes, values))[0]

    @staticmethod
    def _split(tape: QuantumScript) -> tuple[_Template, Any]:
        parameters = tape.get_parameters(trainable_only=False)
        dependent = [k for k, p in enumerate(parameters) if isinstance(p, jax.core.Tracer)]
        values = [jnp.asarray(parameters[k]) for k in dependent]
        blank = bound(tape, [np.zeros(v.shape) if v.shape else 0.0 for v in values], dependent)
        flat = jnp.concatenate([jnp.ravel(v) for v in values]) if values else jnp.zeros(0)
        return _Template(blank, dependent, [v.shape for v in values]), flat

    def gates(self, x: Array) -> list[list[NDArray[Any]]]:
        """For each circuit, for each of its tapes, the numbers in gates that depend on x, as one vector."""
        with self._double():
            values = self._compiled(np.asarray(x))
            return [[np.asarray(tape) for tape in circuit] for circuit in values]

    def pull_back(self, x: Array, slopes: list[list[NDArray[Any]]]) -> Array:
        """The gradient with respect to x, from those with respect to what `gates` gives."""
        with self._double():
            return np.asarray(self._pulled(np.asarray(x), slopes), dtype=np.float64)

    def jacobian(self, x: Array) -> NDArray[np.float64]:
        """d(gates)/dx of the first tape of the first circuit, shape (gate parameters, parameters)."""
        with self._double():
            rows = self._sloped(np.asarray(x))
            return np.asarray(rows, dtype=np.float64).reshape(self._templates[0][0].size, -1)

    def zeros(self) -> list[list[NDArray[np.float64]]]:
        """Slopes of the shape of `gates`, all zero."""
        return [[np.zeros(t.size) for t in circuit] for circuit in self._templates]

    def bind(self, circuit: int, tape: int, flat: Any) -> QuantumScript:
        """A tape with numbers in it; its trainable parameters are those that depend on x."""
        template = self._templates[circuit][tape]
        filled = bound(template.tape, template.values(flat), template.dependent)
        filled.trainable_params = template.dependent
        return filled

    def circuit(self, circuit: int, values: Sequence[Any], wires: int, shots: int, seed: int) -> Circuit:
        """A circuit of one tape that samples wires 0 .. wires-1, with numbers in it, ready for a job."""
        if len(self._templates[circuit]) != 1:
            raise ValueError(
                f"A sampled circuit must be one circuit for the device. {self.opened.name} makes "
                f"{len(self._templates[circuit])} of it. Use another device, or a simpler circuit."
            )
        tape = self.bind(circuit, 0, values[0])
        tape = QuantumScript(tape.operations, tape.measurements, shots, tape.trainable_params)
        structure = self._templates[circuit][0].structure
        numbers = np.ascontiguousarray(values[0])  # complex where the entries of a matrix depend on the parameters
        return Circuit(tape, wires, shots, seed, structure, numbers.astype(np.result_type(numbers, float)).view(float))

    def tapes(self, circuit: int) -> int:
        """How many tapes the device makes of a circuit."""
        return len(self._templates[circuit])

    def join(self, circuit: int, results: Sequence[Any]) -> Any:
        """The circuit's one measurement result from those of its tapes, out of PennyLane's nested tuples."""
        return unwrapped(self._joins[circuit](tuple(results)))

    def run(self, tapes: Sequence[QuantumScript]) -> tuple[Any, ...]:
        """Run bound tapes on the device, in one batch."""
        return tuple(self.opened.device.execute(tuple(tapes), self.config))
