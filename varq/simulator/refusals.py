"""PennyLane's own stages that see what a device takes, with the way out in what they raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pennylane as qml
from pennylane.devices import preprocess
from pennylane.exceptions import DeviceError, WireError
from pennylane.measurements import MeasurementProcess, SampleMeasurement, ShadowExpvalMP, StateMeasurement
from pennylane.operation import Channel, Operator
from pennylane.ops import SProd, Sum
from pennylane.tape import QuantumScript
from pennylane.transforms.core import transform
from pennylane.wires import Wires

from varq.simulator.evolutions import is_followed

__all__ = ["decomposed", "measurable", "on_wires", "without_shots"]

Takes = Callable[[MeasurementProcess], bool]

_ROUNDING = 1e-6
"""An imaginary part below this share of the largest coefficient is one that sums of float32 leave."""

_LONGEST = 120  # characters of an observable in a message


@transform  # type: ignore[untyped-decorator]
def decomposed(tape: QuantumScript, stops: Callable[[Operator], bool], wires: Wires | None, name: str) -> Any:
    """PennyLane's `decompose`.

    Raises:
        DeviceError: for an operation that is neither taken nor made of others.
    """
    try:
        return preprocess.decompose(tape, stopping_condition=stops, device_wires=wires, name=name)
    except DeviceError as error:
        if any(isinstance(op, Channel) for op in tape.operations):
            way = f"{name} holds pure states, without noise: use qml.device('default.mixed') for noise channels."
        else:
            way = "Write it with other gates, give it a decomposition, or give its matrix with qml.QubitUnitary."
        raise DeviceError(f"{error} {way}") from error


@transform  # type: ignore[untyped-decorator]
def on_wires(tape: QuantumScript, wires: Wires | None, name: str) -> Any:
    """PennyLane's `validate_device_wires`.

    Raises:
        WireError: for wires that the device does not have.
    """
    try:
        return preprocess.validate_device_wires(tape, wires, name=name)
    except WireError as error:
        if any(qml.math.is_abstract(w) for w in (*tape.wires, *(wires or ()))):
            raise
        every = {*tape.wires, *(wires or ())}
        counted = all(isinstance(w, int) and w >= 0 for w in every)
        way = f"wires={max(every) + 1}" if counted else f"wires={sorted(every, key=str)}"
        raise WireError(f"{error}. Make it with qml.device('{name}', {way}), or without wires, to take any.") from error


@transform  # type: ignore[untyped-decorator]
def measurable(tape: QuantumScript, exactly: Takes, by_samples: Takes, name: str) -> Any:
    """PennyLane's `validate_measurements`.

    Raises:
        DeviceError: for a measurement that is not taken, with shots or without, and for an observable with a
            coefficient that is known to be imaginary.
    """
    for observable in _observables(tape):
        _check_real(observable, name)
    try:
        return preprocess.validate_measurements(
            tape, analytic_measurements=exactly, sample_measurements=by_samples, name=name
        )
    except DeviceError as error:
        takes = by_samples if tape.shots else exactly
        refused = next((m for m in tape.measurements if not takes(m)), None)
        said = str(error).rstrip(".")
        raise DeviceError(f"{said}. {_way(refused, bool(tape.shots))}") from error


def _observables(tape: QuantumScript) -> Iterator[Operator]:
    for measurement in tape.measurements:
        if measurement.obs is not None:
            yield measurement.obs
        elif isinstance(measurement, ShadowExpvalMP):
            yield from measurement.H if isinstance(measurement.H, Sequence) else (measurement.H,)


def _check_real(observable: Operator, name: str) -> None:
    """Raise for what has no real expectation values: their imaginary parts would be dropped in silence."""
    imaginary = _imaginary(observable)
    if imaginary is not None:
        said = " ".join(str(observable).split())  # matrices are printed on several lines
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
        raise DeviceError(
            f"Observables on {name} must have real coefficients. Got {imaginary} in {said}. Measure its real and its "
            "imaginary part apart, each as a sum with real coefficients, and put them together afterwards."
        )


def _imaginary(op: Operator) -> Any:
    """A coefficient that is known not to be real; None if there is none."""
    sentence = op.pauli_rep
    if sentence is not None:  # Hermitian products, such as 1j times X times Y, have real ones there
        found = [c for c in sentence.values() if _is_complex(c)]
        if not found:
            return None
        largest = max(np.max(np.abs(c)) for c in sentence.values() if _is_known(c))
        return next((c for c in found if np.any(np.abs(c.imag) > _ROUNDING * largest)), None)
    if isinstance(op, Sum):
        return next((c for c in map(_imaginary, op.operands) if c is not None), None)
    if isinstance(op, SProd) and _is_complex(op.scalar) and op.base.is_verified_hermitian:
        return op.scalar if np.any(np.abs(op.scalar.imag) > _ROUNDING * np.abs(op.scalar)) else None
    return None


def _is_known(value: Any) -> bool:
    return isinstance(value, (int, float, complex, np.number, np.ndarray, jax.Array)) and not is_followed(value)


def _is_complex(value: Any) -> bool:
    """Whether a number is known and has a complex type."""
    if isinstance(value, (int, float)):  # first, as there may be many of them
        return False
    return _is_known(value) and bool(np.iscomplexobj(value))


def _way(refused: MeasurementProcess | None, shots: bool) -> str:
    """What to do about a measurement; None for one in a snapshot."""
    if refused is None:
        return "Give the snapshot shots=None, or shots, as what it measures needs."
    if not shots and not isinstance(refused, StateMeasurement):
        return "Set shots with qml.set_shots(qnode, 1000), or measure qml.probs or qml.expval."
    if shots and isinstance(refused, StateMeasurement) and not isinstance(refused, SampleMeasurement):
        return "Take the shots away with qml.set_shots(qnode, None), or measure samples, counts or expectation values."
    return "Write its observable as a sum of Pauli words (qml.pauli_decompose), or take its expectation value exactly."


@transform  # type: ignore[untyped-decorator]
def without_shots(tape: QuantumScript, name: str) -> Any:
    """PennyLane's `no_sampling`, where an exact gradient is asked for.

    Raises:
        DeviceError: for finite shots.
    """
    try:
        return preprocess.no_sampling(tape, name=f"an exact gradient on {name}")
    except DeviceError as error:
        raise DeviceError(
            f"{error}. Take the shots away with qml.set_shots(qnode, None), or leave diff_method out, which then "
            "estimates it from shifted angles."
        ) from error
