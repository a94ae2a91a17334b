"""From a PennyLane tape with measurements to a `Program` and its `Numbers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.exceptions import DeviceError
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator, StatePrepBase
from pennylane.ops import Conditional, MeasurementValue
from pennylane.ops.mid_measure import MidMeasure
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from varq.simulator.circuit import IGNORED
from varq.simulator.foreign import check_listed
from varq.simulator.gates import NAMES
from varq.simulator.lowering import check_real
from varq.simulator.measured.inputs import Inputs
from varq.simulator.measured.program import (
    NO_STRUCTURE,
    SPARSE,
    Apply,
    Array,
    Final,
    Initial,
    Kind,
    Measure,
    Program,
    Ref,
    Register,
    Scalar,
    Static,
    Step,
)
from varq.simulator.measured.values import Values
from varq.simulator.naming import name_of
from varq.simulator.outcomes import outcome

__all__ = ["MOST_WIRES", "read"]

MOST_WIRES = 5
"""A gate on at most this many wires is applied as a matrix if it has one; a wider one is decomposed if it can be."""

_DIAGONAL = "DiagonalQubitUnitary"  # on any number of wires: phases of the amplitudes

_PLAIN = {
    "RX", "RY", "RZ", "PhaseShift", "Rot", "U1", "U2", "U3", "CRX", "CRY", "CRZ", "CRot",
    "ControlledPhaseShift", "IsingXX", "IsingYY", "IsingZZ", "IsingXY", "PSWAP", "Hadamard", "PauliX",
    "PauliY", "PauliZ", "S", "T", "SX", "CNOT", "CZ", "CY", "CH", "SWAP", "ISWAP", "SISWAP", "ECR",
    "Toffoli", "CSWAP", "CCZ", "SingleExcitation", "SingleExcitationPlus", "SingleExcitationMinus",
    "DoubleExcitation", "FermionicSWAP", "OrbitalRotation",
}  # fmt: skip
"""Gates that their class, scalars and wires determine: all of one class have one structure, whatever their wires."""


def read(
    script: QuantumScript, wires: Sequence[Any], bases: Sequence[Sequence[Operator]], exact: bool, flips: Any = None
) -> tuple[Program, Inputs]:
    """The static program of a measured circuit, and its numbers.

    Args:
        script: its parameters may be numbers, arrays, traced JAX values, and measured values.
        wires: labels of the register, most significant first.
        bases: for each sampling of the final state, the gates before it.
        exact: whether the terminal measurements are to be evaluated exactly.
        flips: None, or the probabilities that 0 is recorded as 1 and 1 as 0, shape (wires, 2).

    Raises:
        DeviceError: for an operation that has neither matrix nor decomposition, for one batched by broadcasting, and
            for a gate with a complex angle.
    """
    with QueuingManager.stop_recording():
        reader = _Reader(wires)
        operations = list(script.operations)
        prepared = operations.pop(0) if operations and isinstance(operations[0], StatePrepBase) else None
        initial = None if prepared is None else reader.initial(prepared)
        steps = [step for op in operations for step in reader.steps(op)]
        rotations = tuple(tuple(step for op in gates for step in reader.steps(op)) for gates in bases)
        finals = []
        for measurement in script.measurements if exact else ():
            found, final = reader.final(measurement)
            steps += found
            finals.append(final)
    steps, finals, registers = reader.values.allocate(steps, finals)
    program = Program(
        wires=len(wires),
        steps=tuple(steps),
        slots=len(reader.values.slots),
        initial=initial,
        flips=None if flips is None else reader.inputs.array(flips).index,
        bases=rotations,
        finals=tuple(finals),
        registers=registers,
    )
    return program, reader.inputs


class _Reader:
    """Collects the numbers while it turns operations into steps."""

    def __init__(self, wires: Sequence[Any]) -> None:
        self.labels = list(wires)
        self.place = {label: position for position, label in enumerate(wires)}
        self.inputs = Inputs()
        self.values = Values(self.inputs)

    def initial(self, op: Operator) -> Initial:
        if op.batch_size is not None:
            raise DeviceError(_batched(op))
        leaves, structure = jax.tree_util.tree_flatten(op)
        refs = tuple(self.number(x) for x in leaves)
        return Initial(structure, refs, tuple(self.kind(r) for r in refs), tuple(self.labels))

    def steps(self, op: Operator, condition: MeasurementValue | None = None) -> Iterator[Step]:
        """The steps of one operation, with a condition on it or without."""
        if isinstance(op, Conditional):
            both = op.meas_val if condition is None else outcome(_both, condition, op.meas_val)
            yield from self.steps(op.base, both)
        elif isinstance(op, MidMeasure):
            yield self.measure(op, condition)
        elif name_of(op) in IGNORED:
            return
        elif name_of(op) == "GlobalPhase" and not op.wires:
            yield from self.steps(qml.GlobalPhase(op.data[0], wires=self.labels[:1]), condition)
        elif _direct(op):
            yield from self.gate(op, condition)
        else:
            for part in _parts(op):
                yield from self.steps(part, condition)

    def measure(self, op: Operator, condition: MeasurementValue | None) -> Step:
        if condition is not None:
            raise DeviceError(
                "A mid-circuit measurement under a condition is not supported. Got qml.measure inside qml.cond. "
                "Measure always, and let the condition choose what is done with the outcome."
            )
        slot = self.values.new_slot(op.meas_uid)
        return Step(Measure(self.place[op.wires[0]], bool(op.reset), op.postselect), (slot,))

    def gate(self, op: Operator, condition: MeasurementValue | None) -> Iterator[Step]:
        check_listed([op])
        leaves, structure = _opened(op)
        if any(np.ndim(x) for x in leaves if not isinstance(x, MeasurementValue)) and op.batch_size is not None:
            raise DeviceError(_batched(op))
        if name_of(op) in NAMES:
            check_real([value for value in op.data if not isinstance(value, MeasurementValue)], op)
        refs = []
        for value in [*leaves, *([] if condition is None else [condition])]:
            if isinstance(value, MeasurementValue):
                computed, ref = self.values.ref(value)
                yield from computed
                refs.append(ref)
            else:
                refs.append(self.number(value))
        positions = tuple(self.place[w] for w in op.wires)
        kinds = tuple(self.kind(r) for r in refs)
        diagonal = name_of(op) == _DIAGONAL and len(positions) > MOST_WIRES
        yield Step(Apply(structure, positions, kinds, condition is not None, diagonal), tuple(refs))

    def number(self, value: Any) -> Ref:
        if np.ndim(value) == 0 and not np.issubdtype(qml.math.get_dtype_name(value), np.complexfloating):
            return Scalar(self.inputs.scalar(value))
        if not isinstance(value, jax.Array):
            plain = np.asarray(qml.math.unwrap(value))
            if plain.dtype.kind in "iub":
                return Static(plain.tobytes(), plain.shape, str(plain.dtype))
        return self.inputs.array(value)

    def kind(self, ref: Ref) -> Kind:
        """What tells references apart whose steps cannot be one body of a loop."""
        if isinstance(ref, Array):
            array = self.inputs.arrays[ref.index]
            return ("Array", array.shape, str(array.dtype))
        if isinstance(ref, Register):
            return ("Register", ref.index)
        if isinstance(ref, Static):
            return ("Static", ref)
        return (type(ref).__name__,)

    def final(self, measurement: MeasurementProcess) -> tuple[list[Step], Final]:
        kind = type(measurement).__name__
        if measurement.mv is not None and kind == "ProbabilityMP":
            values = measurement.mv if isinstance(measurement.mv, list) else [measurement.mv]
            return [], Final(NO_STRUCTURE, tuple(self.values.slots[v.measurements[0].meas_uid] for v in values), kind)
        if measurement.mv is not None:
            steps, ref = self.values.ref(measurement.mv)
            return steps, Final(NO_STRUCTURE, (ref,), kind)
        leaves, structure = jax.tree_util.tree_flatten(measurement)
        if any(hasattr(x, "tocoo") for x in leaves):
            return [], self.sparse(measurement, leaves)
        return [], Final(structure, tuple(self.number(x) for x in leaves), kind)

    def sparse(self, measurement: MeasurementProcess, leaves: Sequence[Any]) -> Final:
        """The expectation value of an observable by its nonzero elements."""
        if any(isinstance(x, jax.core.Tracer) for x in leaves):
            raise DeviceError(
                "An observable of a measured circuit that holds a sparse matrix cannot hold numbers that JAX follows. "
                f"Got {type(measurement.obs).__name__}. Take the expectation value of the sparse matrix alone, and "
                "multiply its result."
            )
        entries = measurement.obs.sparse_matrix(wire_order=self.labels).tocoo()
        rows, columns = (self.number(np.asarray(x, np.int32)) for x in (entries.row, entries.col))
        return Final(NO_STRUCTURE, (rows, columns, self.inputs.array(entries.data)), SPARSE)


def _opened(op: Operator) -> tuple[list[Any], Any]:
    """The leaves of an operator, and its structure."""
    if name_of(op) in _PLAIN and all(np.ndim(x) == 0 for x in op.data):
        kind: Any = type(op)
        return list(op.data), _plain_structure(kind, len(op.data), len(op.wires))
    leaves, structure = jax.tree_util.tree_flatten(op)
    return leaves, structure


@lru_cache(maxsize=256)
def _plain_structure(kind: Any, parameters: int, wires: int) -> Any:
    with QueuingManager.stop_recording():
        return jax.tree_util.tree_structure(kind(*(0.0,) * parameters, wires=range(wires)))


def _both(a: Any, b: Any) -> Any:
    return jnp.logical_and(a != 0, b != 0)


def _batched(op: Operator) -> str:
    return (
        f"A measured circuit takes no parameters broadcast over a batch. Got {op.name} with batch size "
        f"{op.batch_size}. Expand the batch by qml.transforms.broadcast_expand, or use jax.vmap."
    )


def _direct(op: Operator) -> bool:
    if isinstance(op, StatePrepBase):
        return False
    narrow = len(op.wires) <= MOST_WIRES or name_of(op) == _DIAGONAL
    return bool(op.has_matrix) and (narrow or not op.has_decomposition)


def _parts(op: Operator) -> Sequence[Operator]:
    if isinstance(op, MeasurementProcess) or not op.has_decomposition:
        raise DeviceError(
            f"The operation {op.name} has neither a matrix nor a decomposition, so a measured circuit cannot hold it. "
            "Write it as gates, qml.measure and qml.cond."
        )
    parts: Sequence[Operator] = op.decomposition()
    return parts
