"""Circuits with measurements before their end, between the device's interfaces and `measured`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from autograd.tracer import isbox
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import DeviceError
from pennylane.math import Interface
from pennylane.ops import MeasurementValue
from pennylane.tape import QuantumScript

from varq.simulator import interfaces, preprocessing
from varq.simulator.binding import bound
from varq.simulator.measured.execution import execute_measured
from varq.simulator.measurements import alone
from varq.simulator.programs import make_keys
from varq.simulator.shifts import BEYOND, only_followed_outside

__all__ = ["run_measured", "without_idle"]


def run_measured(
    circuit: QuantumScript, config: ExecutionConfig, words: tuple[Any, int], dtype: str, **options: Any
) -> Any:
    """The results of one circuit, in the caller's kind of arrays.

    Args:
        circuit: preprocessed, without a batch.
        config: resolved.
        words: the words of a key, and which circuit of a batch this is.
        dtype: "float64" or "float32".
        options: of `execute_measured`.

    Raises:
        DeviceError: where autograd stands between the caller and numbers in functions of outcomes, and for derivatives
            of samples that nothing gives.
    """
    parameters = circuit.get_parameters(trainable_only=False)
    given = [k for k, p in enumerate(parameters) if not isinstance(p, MeasurementValue) and _is_number(p)]
    numbers = [parameters[k] for k in given]
    if config.gradient_method != "backprop":
        numbers = [n._value if isbox(n) else n for n in numbers]  # PennyLane's own boundary follows them
    options |= {"dtype": dtype, "readout_error": without_idle(options.get("readout_error"), circuit)}
    if circuit.shots:
        numbers = only_followed_outside(numbers)
        options |= {"shots": circuit.shots, "key": make_keys(*words, None)}

    def run(values: Sequence[Any]) -> Any:
        with qml.QueuingManager.stop_recording():
            tape = bound(circuit, list(values), given)
        try:
            return execute_measured(tape, list(tape.wires), **options)
        except jax.errors.UnexpectedTracerError as error:  # followed, but not through the circuit's own parameters
            raise DeviceError(BEYOND) from error

    if config.interface not in (Interface.JAX, Interface.JAX_JIT) and not interfaces.is_jax(numbers):
        if any(isbox(n) for n in numbers):
            if preprocessing.has_outcomes(circuit):
                raise DeviceError(
                    "Autograd cannot follow numbers into angles that are computed from outcomes. Use JAX: pass "
                    "jax.numpy arrays, differentiate by jax.grad."
                )
            return alone(interfaces.call(interfaces.Differentiable(lambda v: _flat(run(v)), False), numbers))
        found = run(numbers)
        # PennyLane cannot see numbers that functions of outcomes close over; JAX may be following them nevertheless.
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(found)):
            return interfaces.to_numpy(found)
        if config.interface == Interface.AUTOGRAD and config.gradient_method != "backprop":
            raise DeviceError(
                "PennyLane took this circuit for one of autograd, since it cannot see the JAX numbers that functions "
                "of outcomes hold. Say so: qml.QNode(..., interface='jax')."
            )
        return jax.tree.map(_cast, found)
    return jax.tree.map(_cast, run(numbers))


def without_idle(readout: Any, circuit: QuantumScript) -> Any:
    """A readout error without what it says of wires that a circuit leaves idle; None if nothing is left."""
    if not isinstance(readout, Mapping):
        return readout
    return {wire: error for wire, error in readout.items() if wire in circuit.wires} or None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex)) or getattr(getattr(value, "dtype", None), "kind", "O") in "fc"


def _flat(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, tuple) else (results,)


def _cast(value: Any) -> Any:
    """As JAX's array in the dtype that its flag allows; strings and counts stay as they are."""
    if not isinstance(value, (jax.Array, np.ndarray, np.number)):
        return value
    return jnp.asarray(value, jax.dtypes.canonicalize_dtype(value.dtype))
