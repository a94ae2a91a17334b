"""States of many shots or branches at once: gates and measurements on arrays whose last axis counts them.

A state has shape (2, 2, ..., 2, columns): real and imaginary part, one axis a wire, one column a shot or branch.  Gates
that are the same for all columns are real matrix products, which also keep XLA from fusing long chains of gates into
one kernel that computes every amplitude anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "apply_diagonal",
    "apply_each",
    "apply_matrix",
    "apply_phases",
    "flat",
    "identity",
    "product_of",
    "project",
    "start",
    "weights",
    "whole",
]

_EXACT = jax.lax.Precision.HIGHEST  # accelerators multiply with fewer digits by default


def start(wires: int, vector: Any, dtype: Any) -> Any:
    """The initial state in one column: `vector` of shape (2**wires,), or all zeros for None."""
    if vector is None:
        state = np.zeros((2, 2**wires), dtype)
        state[0, 0] = 1
        return jnp.asarray(state).reshape((2,) * (wires + 1) + (1,))
    parts = jnp.stack([jnp.real(vector), jnp.imag(vector)]).astype(dtype)
    return parts.reshape((2,) * (wires + 1) + (1,))


def flat(state: Any) -> Any:
    """The state with shape (2, 2**wires, columns)."""
    return state.reshape(2, -1, state.shape[-1])


def whole(matrix: Any, dtype: Any) -> Any:
    """Complex matrices of shape (..., d, d) as real ones on (real part, imaginary part), shape (..., 2, d, 2, d)."""
    real, imag = matrix.real.astype(dtype), matrix.imag.astype(dtype)
    stack = np.stack if isinstance(matrix, np.ndarray) else jnp.stack
    return stack([stack([real, -imag], -2), stack([imag, real], -2)], -4)


def apply_matrix(state: Any, matrix: Any, wires: Sequence[int]) -> Any:
    """One matrix, in the form that `whole` gives it, on k positions of all columns."""
    k, rank = len(wires), state.ndim
    axes = [0, *(w + 1 for w in wires)]
    if axes == list(range(rank - 1)):
        size = 2 ** (k + 1)
        product = jnp.matmul(matrix.reshape(size, size), state.reshape(size, -1), precision=_EXACT)
        return product.reshape(state.shape)
    tensor = matrix.reshape((2,) * (2 * k + 2))
    product = jnp.tensordot(tensor, state, axes=(list(range(k + 1, 2 * k + 2)), axes), precision=_EXACT)
    return jnp.moveaxis(product, range(k + 1), axes)


def identity(wires: int, dtype: Any) -> Any:
    """Every basis state in a column of its own: applied to it, gates give their product."""
    columns = np.zeros((2, 2**wires, 2**wires), dtype)
    columns[0] = np.eye(2**wires)
    return jnp.asarray(columns).reshape((2,) * (wires + 1) + (-1,))


def product_of(columns: Any) -> Any:
    """What has become of `identity`, in the form of `whole`."""
    parts = flat(columns)
    return jnp.stack([jnp.stack([parts[0], -parts[1]], 1), jnp.stack([parts[1], parts[0]], 1)])


def apply_each(state: Any, matrix: Any, wires: Sequence[int]) -> Any:
    """A matrix for each column on k positions: complex, shape (2**k, 2**k, columns)."""
    re, im, back = _fronted(state, wires)
    real, imag = jnp.real(matrix).astype(state.dtype), jnp.imag(matrix).astype(state.dtype)
    return back(_rows(real, re) - _rows(imag, im), _rows(imag, re) + _rows(real, im))


def apply_diagonal(state: Any, diagonal: Any, wires: Sequence[int]) -> Any:
    """A diagonal matrix on k positions of all columns, from its complex diagonal of shape (2**k,)."""
    re, im, back = _fronted(state, wires)
    c, s = (part(diagonal).astype(state.dtype)[:, None, None] for part in (jnp.real, jnp.imag))
    return back(c * re - s * im, s * re + c * im)


def apply_phases(state: Any, factors: Sequence[float], angles: Any, wires: Sequence[int]) -> Any:
    """A diagonal gate with an angle for each column: basis state j of its wires gets the phase factors[j] * angle."""
    re, im, back = _fronted(state, wires)
    turns = {f: (jnp.cos(f * angles), jnp.sin(f * angles)) for f in set(factors) if f}
    one = jnp.ones_like(angles), jnp.zeros_like(angles)
    c, s = (jnp.stack([turns.get(f, one)[k] for f in factors])[:, None].astype(state.dtype) for k in (0, 1))
    return back(c * re - s * im, s * re + c * im)


def _fronted(state: Any, wires: Sequence[int]) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Real and imaginary part with shape (2**wires, rest, columns), and the way back."""
    k = len(wires)
    axes = [w + 1 for w in wires]
    front = jnp.moveaxis(state, axes, range(1, k + 1))
    parts = front.reshape(2, 2**k, -1, state.shape[-1])

    def back(re: Any, im: Any) -> Any:
        new = jnp.stack([re, im])
        return jnp.moveaxis(new.reshape(*front.shape[:-1], new.shape[-1]), range(1, k + 1), axes)

    return parts[0], parts[1], back


def _rows(matrix: Any, part: Any) -> Any:
    size = matrix.shape[0]
    return jnp.stack([sum(matrix[i, j] * part[j] for j in range(size)) for i in range(size)])


def weights(state: Any) -> Any:
    """The squared norm of each column."""
    return jnp.sum(flat(state) ** 2, axis=(0, 1))


def project(state: Any, wire: int) -> tuple[Any, Any]:
    """The parts of a state where a wire is 0 and where it is 1, without that wire's axis."""
    return tuple(jax.lax.index_in_dim(state, bit, wire + 1, keepdims=False) for bit in (0, 1))  # type: ignore[return-value]
