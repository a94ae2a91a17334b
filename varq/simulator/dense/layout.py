"""How a state of the whole space lies in memory, and the elementary passes over it.

A state is an array of shape (2, 2**wires): real parts, imaginary parts.  Real matrix products over both at once are
what CPUs and GPUs do best; XLA's complex products are slower (measured, 2 to 3 times on a CPU).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import parity

__all__ = ["apply_matrix", "half", "overlap", "signs", "trigonometry", "turned"]


def half(wires: int) -> tuple[int, int]:
    """Sizes of the two factors of the space: the first half of the wires, and the rest."""
    return 2 ** (wires // 2), 2 ** (wires - wires // 2)


def signs(masks: Sequence[int], wires: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """(-1)**parity(index & mask) as a product of two tables, shapes (masks, first half) and (masks, rest)."""
    first, rest = half(wires)
    found = np.array(masks, dtype=np.int64).reshape(-1, 1)
    return parity(np.arange(first), found // rest), parity(np.arange(rest), found)


def _split(wires: Sequence[int]) -> tuple[int, int, int] | None:
    """(before, here, after) sizes if the wires are neighbors in order; None else."""
    first, count = wires[0], len(wires)
    if tuple(wires) != tuple(range(first, first + count)):
        return None
    return 2**first, 2**count, -1


def _brought(state: Any, wires: Sequence[int], total: int) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """The state with `wires` in front of all others as (parts, 1, here, rest), and the axes to bring it back."""
    columns = state.shape[1] >> total
    others = [w for w in range(total + (columns > 1)) if w not in wires]
    axes = (0, *(1 + w for w in (*wires, *others)))
    cube = state.reshape(2, *(2,) * total, *((columns,) if columns > 1 else ())).transpose(axes)
    return cube.reshape(2, 1, 2 ** len(wires), -1), cube.shape, tuple(int(i) for i in np.argsort(axes))


def _product(matrix: Any, cube: Any) -> Any:
    """matrix on the third axis of (parts, before, here, after)."""
    return jnp.einsum("jk,pakr->pajr", matrix, cube)


def apply_matrix(matrix: Any, state: Any, wires: Sequence[int], total: int) -> Any:
    """A matrix on some wires.

    Args:
        matrix: shape (d, d) if real, else (2, d, d); d = 2**len(wires), the first wire most significant.
        state: shape (2, 2**total), or (2, 2**total * columns) for many states of which each entry has one beside it.
        wires: positions.
        total: wires of the register.
    """
    sizes = _split(wires)
    back: tuple[int, ...] | None = None
    if sizes is not None:
        cube = state.reshape(2, *sizes)
    else:
        cube, shape, back = _brought(state, wires, total)
    if matrix.ndim == 2:
        out = _product(matrix, cube)
    else:
        real, imaginary = jnp.einsum("cjk,pakr->cpajr", matrix, cube)
        out = jnp.stack([real[0] - imaginary[1], real[1] + imaginary[0]])
    if back is None:
        return out.reshape(2, -1)
    return out.reshape(shape).transpose(back).reshape(2, -1)


def overlap(bra: Any, ket: Any, wires: Sequence[int], total: int, real: bool) -> Any:
    """sum over all other wires of bra_j conj(ket_k): shape (d, d) of its real part, or (2, d, d) with the imaginary.

    A batched product summed afterwards: XLA contracts over two axes at once eight times slower on a CPU (measured).
    """
    sizes = _split(wires)
    if sizes is not None:
        b, k = bra.reshape(2, *sizes), ket.reshape(2, *sizes)
    else:
        b, k = _brought(bra, wires, total)[0], _brought(ket, wires, total)[0]

    def summed(x: Any, y: Any) -> Any:
        return jnp.einsum("ajr,akr->ajk", x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:])).sum(0)

    same = summed(b, k)
    if real:
        return same
    crossed = summed(b[1], k[0]) - summed(b[0], k[1])
    return jnp.stack([same, crossed])


_SINE = (6, 20, 42, 72, 110, 156, 210, 272, 342, 420)
_COSINE = (2, 12, 30, 56, 90, 132, 182, 240, 306, 380)


def trigonometry(angle: Any) -> tuple[Any, Any]:
    """Cosine and sine, each to rounding, without the calls that keep XLA from vectorizing on a CPU.

    Taylor series of the half angle after reduction to [-pi, pi]: 20 terms leave less than 1e-16.
    """
    turns = jnp.round(angle / (2 * np.pi))
    h = (angle - 2 * np.pi * turns) * 0.5
    square = h * h
    sine, cosine = jnp.ones_like(h), jnp.ones_like(h)
    for s, c in zip(reversed(_SINE), reversed(_COSINE), strict=True):
        sine, cosine = 1 - square / s * sine, 1 - square / c * cosine
    sine = h * sine
    return 1 - 2 * sine * sine, 2 * sine * cosine


def turned(state: Any, cosine: Any, sine: Any) -> Any:
    """exp(-i angle) on each amplitude, from the cosine and sine of its angle."""
    return jnp.stack([cosine * state[0] + sine * state[1], cosine * state[1] - sine * state[0]])
