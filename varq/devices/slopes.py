"""A guard of devices that circuits leave JAX for: derivatives that would be silently zero are refused."""

from __future__ import annotations

from typing import Any

from jax.core import Tracer
from pennylane.exceptions import DeviceError
from pennylane.tape import QuantumScript
from pennylane.transforms.core import transform

__all__ = ["followed"]


@transform  # type: ignore[untyped-decorator]
def followed(tape: QuantumScript) -> Any:
    """Refuse numbers that JAX still follows where circuits leave it: what it asks for would come out as zeros."""
    if any(isinstance(number, Tracer) for number in tape.get_parameters(trainable_only=False)):
        raise DeviceError(
            "Samples of a device have first derivatives, of one set of parameters at a time. Asked for a further "
            "derivative, which would be zeros, or for jax.vmap. Use jax.jit and qml.QNode(..., max_diff=2, "
            "cache=False) for second derivatives, and arrays of parameters in place of jax.vmap."
        )
    return (tape,), lambda results: results[0]
