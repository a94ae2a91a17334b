"""What happens to a tape before it is lowered: PennyLane's own transforms, told what this device takes."""

from __future__ import annotations

from functools import lru_cache
from math import pi
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import device_resolve_dynamic_wires
from pennylane.exceptions import DeviceError
from pennylane.math import Interface
from pennylane.measurements import (
    ClassicalShadowMP,
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    SampleMeasurement,
    ShadowExpvalMP,
    StateMeasurement,
)
from pennylane.operation import Operator, StatePrepBase
from pennylane.ops import Adjoint, CompositeOp, Conditional, Controlled, MeasurementValue, MidMeasure, SymbolicOp
from pennylane.tape import QuantumScript
from pennylane.transforms import broadcast_expand, defer_measurements
from pennylane.transforms.core import CompilePipeline, transform
from pennylane.wires import Wires

from varq.simulator import lowering, powers, refusals
from varq.simulator.measurements import NO_TRACED_COUNTS
from varq.simulator.naming import name_of
from varq.simulator.observables import WordSum

__all__ = ["NATIVE", "has_outcomes", "is_measured", "pipeline"]

NATIVE = ("device", "one-shot", "tree-traversal")
"""Ways to run mid-circuit measurements that this device runs in its own way: they share one law of outcomes."""

_MARKS = ("Allocate", "Deallocate", "Snapshot", "Barrier", "WireCut")


def is_measured(tape: QuantumScript) -> bool:
    """Whether anything in a tape depends on an outcome within it."""
    return any(isinstance(op, (MidMeasure, Conditional)) for op in tape.operations) or has_outcomes(tape)


def has_outcomes(tape: QuantumScript | None) -> bool:
    """Whether a tape has angles computed from outcomes."""
    return tape is not None and any(isinstance(p, MeasurementValue) for op in tape.operations for p in op.data)


def _stops(op: Operator) -> bool:
    """Whether an operation is taken as it is."""
    if isinstance(op, (MidMeasure, Conditional)) or name_of(op) in _MARKS:
        return True
    if any(isinstance(p, MeasurementValue) for p in op.data):
        # PennyLane's decompositions compute with angles, which an outcome's arithmetic need not know.
        return bool(op.has_matrix) or not op.has_decomposition
    if isinstance(op, StatePrepBase):
        return False
    return lowering.supported(op) or (not op.has_decomposition and bool(op.has_matrix))


def _diagonalizable(observable: Operator, whole: bool) -> bool:
    """Whether an observable can be measured; `whole` says that its matrix alone is enough, as for expectations."""
    if isinstance(observable, CompositeOp):
        return all(_diagonalizable(o, whole) for o in observable.operands)
    if isinstance(observable, SymbolicOp):
        return _diagonalizable(observable.base, whole)
    if whole and isinstance(observable, (qml.SparseHamiltonian, qml.Hermitian, WordSum)):
        return True
    return bool(observable.has_diagonalizing_gates)


def _takes_exactly(measurement: MeasurementProcess) -> bool:
    if not isinstance(measurement, StateMeasurement):
        return False
    return measurement.obs is None or _diagonalizable(measurement.obs, isinstance(measurement, ExpectationMP))


def _takes_samples(measurement: MeasurementProcess) -> bool:
    if not isinstance(measurement, (SampleMeasurement, ClassicalShadowMP, ShadowExpvalMP)):
        return False
    return measurement.obs is None or _diagonalizable(measurement.obs, False)


def _only(results: Any) -> Any:
    return results[0]


@transform  # type: ignore[untyped-decorator]
def _expand_batches(tape: QuantumScript) -> Any:
    """One tape for each element of a batch where shadows are taken, or anything is measured before the end."""
    shadows = any(isinstance(m, (ShadowExpvalMP, ClassicalShadowMP)) for m in tape.measurements)
    if tape.batch_size is not None and (shadows or is_measured(tape)):
        return broadcast_expand(tape)
    return (tape,), _only


@transform  # type: ignore[untyped-decorator]
def _written_out_powers(tape: QuantumScript) -> Any:
    """Powers that need a matrix which JAX cannot trace, as operations that do not."""
    found = [powers.written_out(op) for op in tape.operations]
    if all(new is old for new, old in zip(found, tape.operations, strict=True)):
        return (tape,), _only
    return (tape.copy(operations=found),), _only


@transform  # type: ignore[untyped-decorator]
def _written_out_polynomials(tape: QuantumScript) -> Any:
    """qml.IQP as its gates: it keeps its weights where PennyLane's own tree functions lose them."""
    found = [_polynomial(op) for op in tape.operations]
    if not any(found):
        return (tape,), _only
    operations = [part for parts, op in zip(found, tape.operations, strict=True) for part in parts or [op]]
    return (tape.copy(operations=operations),), _only


def _polynomial(op: Operator) -> list[Operator]:
    """The gates of an instantaneous polynomial circuit, or of one's adjoint or controlled form; none of others.

    Source: PennyLane's own rule for `IQP`, which only its decompositions by graph know.
    """
    with qml.QueuingManager.stop_recording():
        if isinstance(op, Adjoint):
            return [qml.adjoint(part) for part in reversed(_polynomial(op.base))]
        if isinstance(op, Controlled):
            how = {"control": op.control_wires, "control_values": op.control_values, "work_wires": op.work_wires}
            return [qml.ctrl(part, **how) for part in _polynomial(op.base)]
        if isinstance(op, Conditional):
            return [Conditional(op.meas_val, part) for part in _polynomial(op.base)]
        if name_of(op) != "IQP":
            return []
        said, wires = op.hyperparameters, op.wires
        front = [qml.PauliRot(pi / 2, "Y" + "X" * (len(wires) - 1), wires=wires)] if said["spin_sym"] else []
        frame = [qml.Hadamard(w) for w in wires]
        each = zip(said["weights"], said["pattern"], strict=True)
        return [*front, *frame, *(qml.MultiRZ(2 * x, wires=at) for x, words in each for at in words), *frame]


@transform  # type: ignore[untyped-decorator]
def _no_traced_counts(tape: QuantumScript) -> Any:
    """Counts of what occurs have keys that only results at hand can give."""
    if any(isinstance(m, CountsMP) and not m.all_outcomes for m in tape.measurements):
        raise DeviceError(NO_TRACED_COUNTS)
    return (tape,), _only


@transform  # type: ignore[untyped-decorator]
def _no_nested_conditions(tape: QuantumScript) -> Any:
    """PennyLane's deferred measurements take one condition an operation and lose the outer or inner one of two."""
    if any(isinstance(op, Conditional) and isinstance(op.base, Conditional) for op in tape.operations):
        raise DeviceError(
            "mcm_method='deferred' takes no qml.cond within a qml.cond. Leave mcm_method out: this device runs measured"
            " circuits itself. Or join the conditions: qml.cond(m0 & m1, ...)."
        )
    return (tape,), _only


def pipeline(config: ExecutionConfig, wires: Wires | None, name: str) -> CompilePipeline:
    """The transforms for a resolved configuration, kept: they are the same for every call."""
    return _pipeline(
        config.interface == Interface.JAX_JIT,
        config.mcm_config.mcm_method == "deferred",
        config.gradient_method in ("backprop", "adjoint") or None,
        wires,
        name,
    )


@lru_cache(maxsize=64)
def _pipeline(traced: bool, deferred: bool, exact: bool, wires: Wires | None, name: str) -> CompilePipeline:
    stages = CompilePipeline()
    if traced:
        stages.add_transform(_no_traced_counts)
    if deferred:
        stages.add_transform(_no_nested_conditions)
        stages.add_transform(defer_measurements, allow_postselect=True)
    stages.add_transform(_written_out_powers)
    stages.add_transform(_written_out_polynomials)
    stages.add_transform(refusals.decomposed, stops=_stops, wires=wires, name=name)
    stages.add_transform(device_resolve_dynamic_wires, wires=wires, allow_resets=not deferred)
    stages.add_transform(refusals.on_wires, wires, name=name)
    stages.add_transform(refusals.measurable, exactly=_takes_exactly, by_samples=_takes_samples, name=name)
    stages.add_transform(_expand_batches)
    if exact:
        stages.add_transform(refusals.without_shots, name=name)
    return stages
