"""How a state of the whole space lies in memory, and the elementary passes over it.

A state is two real arrays, not one of complex numbers: real matrix products are what CPUs and GPUs do best, and XLA's
complex ones are slower (measured, 2 to 3 times on a CPU).  They stand apart, for stacking two results is a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from varq.simulator.bits import parity

__all__ = [
    "State",
    "apply_matrix",
    "apply_tiling",
    "crossed",
    "half",
    "moved",
    "overlap",
    "signs",
    "tiles",
    "trigonometry",
    "turned",
]


class State(NamedTuple):
    """Real and imaginary parts of the amplitudes, each of shape (2**wires,)."""

    real: Any
    imaginary: Any


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


def _fronted(part: Any, wires: Sequence[int], total: int) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """One part with `wires` in front of all others as (1, here, rest), and the shape and axes to bring it back."""
    columns = part.size >> total
    axes = (*wires, *(w for w in range(total + (columns > 1)) if w not in wires))
    cube = part.reshape((*(2,) * total, *((columns,) if columns > 1 else ()))).transpose(axes)
    return cube.reshape(1, 2 ** len(wires), -1), cube.shape, tuple(int(i) for i in np.argsort(axes))


def _product(matrix: Any, cube: Any) -> Any:
    """matrix on the second axis of (before, here, after)."""
    return jnp.einsum("jk,akr->ajr", matrix, cube)


def _on_parts(matrix: Any, state: State, product: Callable[[Any, Any], Any]) -> State:
    """A matrix, real of shape (d, d) or complex of shape (2, d, d), by a product of real matrices with real parts."""
    if matrix.ndim == 2:
        return State(product(matrix, state.real), product(matrix, state.imaginary))
    real, imaginary = matrix
    return State(
        product(real, state.real) - product(imaginary, state.imaginary),
        product(real, state.imaginary) + product(imaginary, state.real),
    )


def apply_matrix(matrix: Any, state: State, wires: Sequence[int], total: int) -> State:
    """A matrix on some wires.

    Args:
        matrix: shape (d, d) if real, else (2, d, d); d = 2**len(wires), the first wire most significant.
        state: of the register; or of many, whose amplitudes of each basis state stand side by side.
        wires: positions.
        total: wires of the register.
    """
    sizes = _split(wires)
    if sizes is not None:
        return _on_parts(matrix, state, lambda m, part: _product(m, part.reshape(sizes)).reshape(-1))

    def moved(m: Any, part: Any) -> Any:
        cube, shape, back = _fronted(part, wires, total)
        return _product(m, cube).reshape(shape).transpose(back).reshape(-1)

    return _on_parts(matrix, state, moved)


def tiles(groups: Sequence[Sequence[int]], total: int) -> bool:
    """Whether groups of wires, one after the other, are all wires of the register in order."""
    return [w for group in groups for w in group] == list(range(total))


def apply_tiling(matrices: Sequence[Any], state: State) -> State:
    """Matrices on groups of wires that tile the register in order, one for each group.

    The last group first: each product leaves its wires in front of the others, so that the next group comes last, and
    after all of them every wire is back in place.  Every pass then is one plain matrix product.
    """

    def last_to_front(matrix: Any, part: Any) -> Any:
        columns = part.reshape(-1, matrix.shape[-1])
        return lax.dot_general(matrix, columns, (((1,), (1,)), ((), ()))).reshape(-1)

    for matrix in reversed(matrices):
        state = _on_parts(matrix, state, last_to_front)
    return state


def overlap(bra: State, ket: State, wires: Sequence[int], total: int, real: bool) -> Any:
    """sum over all other wires of bra_j conj(ket_k): shape (d, d) of its real part, or (2, d, d) with the imaginary.

    A batched product summed afterwards: XLA contracts over two axes at once eight times slower on a CPU (measured).
    """
    sizes = _split(wires)

    def cube(part: Any) -> Any:
        return part.reshape(sizes) if sizes is not None else _fronted(part, wires, total)[0]

    def summed(x: Any, y: Any) -> Any:
        return jnp.einsum("ajr,akr->ajk", x, y).sum(0)

    br, bi, kr, ki = (cube(part) for part in (*bra, *ket))
    same = summed(br, kr) + summed(bi, ki)
    if real:
        return same
    return jnp.stack([same, summed(bi, kr) - summed(br, ki)])


_TERMS = 11  # of the series of sine and cosine at no more than half pi: less than 1e-16 is left out


def trigonometry(angle: Any) -> tuple[Any, Any]:
    """Cosine and sine, each to rounding, without the calls that keep XLA from vectorizing on a CPU.

    Taylor series of the half angle after reduction to [-pi, pi].
    """
    turns = jnp.round(angle * (0.5 / np.pi))
    h = (angle - 2 * np.pi * turns) * 0.5
    square = h * h
    sine = cosine = jnp.zeros_like(h)
    for k in reversed(range(_TERMS)):
        sine = sine * square + (-1) ** k / factorial(2 * k + 1)
        cosine = cosine * square + (-1) ** k / factorial(2 * k)
    sine = h * sine
    return 1 - 2 * sine * sine, 2 * sine * cosine


def turned(state: State, cosine: Any, sine: Any) -> State:
    """exp(-i angle) on each amplitude, from the cosine and sine of its angle."""
    return State(cosine * state.real + sine * state.imaginary, cosine * state.imaginary - sine * state.real)


def crossed(bra: State, ket: State) -> Any:
    """The imaginary part of conj(bra) * ket for each amplitude, with its sign as a turn's slope has it."""
    return bra.real * ket.imaginary - bra.imaginary * ket.real


def moved(state: State, source: Any) -> State:
    """The amplitudes from `source`, in the order of the basis states that they come to."""
    return State(state.real[source], state.imaginary[source])
