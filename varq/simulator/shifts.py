"""Derivatives from samples: PennyLane's shift rule where it holds, and an error in place of zeros where it ends."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NoReturn

import jax
import pennylane as qml
from autograd.tracer import isbox
from pennylane.exceptions import DeviceError
from pennylane.measurements import VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Conditional, MeasurementValue
from pennylane.ops.mid_measure import MidMeasure
from pennylane.tape import QuantumScript
from pennylane.transforms.core import transform

from varq.simulator.outcomes import outcome
from varq.simulator.slopes import fewest_shots

__all__ = ["BEYOND", "only_followed_outside", "shift_rule"]

BEYOND = (
    "Derivatives of samples come from shifted angles of gates, and of as many orders as the QNode's max_diff says. "
    "Asked for one beyond them, which would be zeros: of a further order, or by a number that PennyLane does not see, "
    "such as those that functions of outcomes hold. Use qml.QNode(..., max_diff=2, cache=False) for second "
    "derivatives, no shots for exact ones of any order, and jax.lax.stop_gradient where none is wanted."
)
"""What is said of a derivative that would come out as zeros."""


@jax.custom_jvp
def _held(value: Any) -> Any:
    return value


@_held.defjvp
def _refuse(primals: Any, tangents: Any) -> NoReturn:
    raise DeviceError(BEYOND)


def only_followed_outside(numbers: Any) -> Any:
    """A tree of the numbers that samples are drawn with, which JAX may trace and batch but not differentiate.

    The derivative of what is drawn would be zeros.  PennyLane differentiates outside, by circuits of other numbers.

    Raises:
        DeviceError: where a derivative goes through them, when JAX takes it.
    """
    return jax.tree.map(lambda x: _held(x) if isinstance(x, jax.core.Tracer) else x, numbers)


@lru_cache(maxsize=8)
def shift_rule(order: int) -> Any:
    """PennyLane's parameter shift, as a transform, for what it is silently wrong about.

    Gates under a condition get the rule that they have without one, where PennyLane takes differences over 1e-7.
    Angles computed from outcomes tell PennyLane that they depend on them.  With shots, what has no rule is differenced
    over a step that is seen through their noise.

    Args:
        order: so many derivatives may be taken; more would be zeros with autograd.

    Raises:
        DeviceError: from the transform, for postselection and for variances of sums and of outcomes.

    Example:
        >>> tape = QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))], trainable_params=[0])
        >>> [round(float(shifted.data[0]), 4) for shifted in shift_rule(1)(tape)[0]]
        [1.8708, -1.2708]
    """
    given = qml.gradients.param_shift
    how = {"classical_cotransform": given.classical_cotransform, "final_transform": True}

    @partial(transform, expand_transform=given.expand_transform, **how)
    def param_shift(tape: QuantumScript, **options: Any) -> Any:
        _check(tape, order)
        if tape.shots and "fallback_fn" not in options:
            options["fallback_fn"] = _differenced
        return given.tape_transform(_shiftable_tape(tape), **options)

    return param_shift


def _differenced(tape: QuantumScript, **options: Any) -> Any:
    """Differences over a step h that is seen through noise: their bias, h**2 / 6 of a third derivative, is as large."""
    step = (9 / (2 * fewest_shots(tape.shots))) ** (1 / 6)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Finite differences with float32", UserWarning)  # of tiny steps
        return qml.gradients.finite_diff(tape, h=step, approx_order=2, strategy="center", **options)


def _check(tape: QuantumScript, order: int) -> None:
    if len(set(_levels(tape))) > order:
        raise DeviceError(BEYOND)
    if any(isinstance(op, MidMeasure) and op.postselect is not None for op in tape.operations):
        raise DeviceError(
            "Results after postselection are ratios, whose derivatives no shift of an angle gives. Leave out shots and "
            "diff_method, for exact ones; or differentiate the results without postselection, and divide."
        )
    for measurement in tape.measurements:
        if isinstance(measurement, VarianceMP) and not _has_rule(measurement):
            raise DeviceError(
                "PennyLane's shift rule of a variance holds for one Pauli word, matrix or projector. Got "
                f"{measurement}. Take expectation values of the observable and of its square, or leave out shots and "
                "diff_method for exact derivatives."
            )


def _levels(tape: QuantumScript) -> Iterator[int]:
    """Of autograd: one for each derivative that is being taken."""
    for value in tape.get_parameters(trainable_only=False):
        while isbox(value):
            yield value._trace
            value = value._value


def _has_rule(measurement: VarianceMP) -> bool:
    if measurement.mv is not None:
        return False
    obs = measurement.obs
    if obs is None or obs.pauli_rep is None:
        return not isinstance(obs, (qml.ops.Sum, qml.ops.SProd))
    return len(obs.pauli_rep) == 1


class _Shiftable(Conditional):  # type: ignore[misc]
    """A condition whose operation tells of the shifts of its angles: a result is a sum over what conditions let pass.

    PennyLane itself gives a `Conditional` no rule.
    """

    def __init__(self, expr: Any, then_op: Operator) -> None:
        super().__init__(expr, then_op)
        self.grad_recipe: Any = getattr(then_op, "grad_recipe", None) or [None] * self.num_params

    @property
    def grad_method(self) -> Any:
        """That of the operation."""
        return getattr(self.base, "grad_method", "F")

    @property
    def parameter_frequencies(self) -> Any:
        """Those of the operation."""
        return self.base.parameter_frequencies


def _always(*_: Any) -> int:
    return 1


def _shiftable(op: Operator) -> Operator:
    if isinstance(op, Conditional):
        return _Shiftable(op.meas_val, _shiftable(op.base))
    found = [x for x in op.data if isinstance(x, MeasurementValue)]
    # PennyLane's graph of a circuit, which says what depends on an angle, looks for outcomes in conditions alone.
    return _Shiftable(outcome(_always, *found), op) if found else op


def _shiftable_tape(tape: QuantumScript) -> QuantumScript:
    with qml.QueuingManager.stop_recording():
        operations = [_shiftable(op) for op in tape.operations]
    if all(new is old for new, old in zip(operations, tape.operations, strict=True)):
        return tape
    return QuantumScript(operations, tape.measurements, shots=tape.shots, trainable_params=tape.trainable_params)
