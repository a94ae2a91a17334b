"""A user's own function as a cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml

from varq.keys import Key
from varq.precision import double
from varq.protocol import Array, Many, Reply, Request, Value, ValueAndGrad
from varq.simulator.slopes import check_method

__all__ = ["FINITE_STEP", "FunctionCost"]

FINITE_STEP = 6e-6  # cube root of the double-precision rounding error: the best step of a central difference


class FunctionCost:
    """Answers values and gradients of a function of an array; computes in double precision.

    Args:
        function: takes an array of `shape`, returns a number.
        shape: of the array.
        gradient: "jax", "finite-diff", or a function that returns the gradient.
    """

    def __init__(self, function: Callable[[Any], Any], shape: tuple[int, ...], gradient: Any = "jax") -> None:
        self._function = function
        self._shape = shape
        self._gradient = gradient

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a request.

        Raises:
            TypeError: for a request that a plain function cannot answer, or a function that returns no number.
            ValueError: for slopes of a QNode that differences samples over a step that drowns in their noise.
        """
        if isinstance(request, Many):
            parts = tuple(self.evaluate(part, key.fold(k)) for k, part in enumerate(request.parts))
            return Reply(parts=parts, executions=sum(p.executions for p in parts))
        if isinstance(request, Value):
            return Reply(value=self._value(request.x), executions=1)
        if isinstance(request, ValueAndGrad):
            return self._value_and_grad(request.x)
        raise TypeError(
            f"A function gives values and gradients only. Asked for {type(request).__name__}. "
            "Use an optimizer that needs no more, or VQE with a Circuit ansatz."
        )

    def _value(self, x: Array) -> float:
        with double():
            value = np.asarray(self._function(jnp.asarray(x) if self._gradient == "jax" else np.array(x)))
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise TypeError(
                f"cost must return one real number. Got an array of shape {value.shape} and type {value.dtype}."
            )
        return float(value.reshape(()))

    def _value_and_grad(self, x: Array) -> Reply:
        if self._gradient == "jax":
            if isinstance(self._function, qml.QNode) and self._function.shots:
                shots = int(self._function.shots.total_shots)
                check_method(self._function.diff_method, self._function.gradient_kwargs, shots)
            try:
                with double():
                    value, slope = jax.value_and_grad(self._function)(jnp.asarray(x))
            except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
                raise TypeError(
                    "cost uses plain NumPy or Python numbers, which JAX cannot differentiate. Write it with jax.numpy, "
                    "or use gradient='finite-diff' or a gradient function of your own."
                ) from error
            except TypeError as error:
                if "Gradient only defined for" not in str(error) and "grad requires real" not in str(error):
                    raise
                raise TypeError(f"cost must return one real number. JAX says: {error}") from error
            return Reply(value=float(value), grad=np.asarray(slope, dtype=np.float64), executions=1)
        if callable(self._gradient):
            with double():
                slope = np.asarray(self._gradient(np.array(x)))
            if slope.shape != self._shape or slope.dtype.kind not in "fiu":
                raise TypeError(
                    f"gradient must return real numbers of shape {self._shape}, that of x0. "
                    f"Got shape {slope.shape} and type {slope.dtype}."
                )
            return Reply(value=self._value(x), grad=slope.astype(np.float64), executions=2)
        flat = np.ravel(x)
        slopes = np.zeros(flat.size)
        for k in range(flat.size):
            step = FINITE_STEP * max(1.0, abs(flat[k]))
            ends = [np.array(flat) for _ in range(2)]
            ends[0][k] += step
            ends[1][k] -= step
            values = [self._value(end.reshape(self._shape)) for end in ends]
            slopes[k] = (values[0] - values[1]) / (ends[0][k] - ends[1][k])
        return Reply(value=self._value(x), grad=slopes.reshape(self._shape), executions=1 + 2 * flat.size)
