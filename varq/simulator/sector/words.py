"""A Pauli sum without tables of elements: word by word, every element worked out where it is used.

For sectors and sums so large that their elements would not fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import parity
from varq.simulator.sector.basis import Basis

__all__ = ["Words", "apply", "words"]


class Words(NamedTuple):
    """Tables; a pytree.

    Args:
        states: the basis states, shape (basis states,).
        place: where each basis state of the whole register stands, -1 outside of the sector, shape (2**wires,).
        x, z, sign: of each word, shape (words,).
        term: which coefficient it has.
    """

    states: NDArray[np.int32]
    place: NDArray[np.int32]
    x: NDArray[np.int32]
    z: NDArray[np.int32]
    sign: NDArray[np.int8]
    term: NDArray[np.int32]


def words(basis: Basis, some: Sequence[tuple[int, int, int, int]]) -> Words | None:
    """The tables for words (index, x mask, z mask, sign), or None for registers too wide for a table of positions."""
    if basis.table is None:
        return None
    term, x, z, sign = np.array(some, np.int64).T
    return Words(
        basis.states.astype(np.int32),
        basis.table,
        x.astype(np.int32),
        z.astype(np.int32),
        sign.astype(np.int8),
        term.astype(np.int32),
    )


def apply(tables: Words, coefficients: Any, state: Any) -> Any:
    """The words of these tables times a real state of shape (basis states,)."""
    weights = coefficients[tables.term] * jnp.asarray(tables.sign, coefficients.dtype)
    states, place = jnp.asarray(tables.states), jnp.asarray(tables.place)

    def add(total: Any, word: Any) -> tuple[Any, None]:
        x, z, weight = word
        others = states ^ x
        source = place[others]
        factor = jnp.where(source < 0, 0, parity(others, z).astype(weight.dtype) * weight)
        return total + factor * state[jnp.maximum(source, 0)], None

    return jax.lax.scan(add, jnp.zeros_like(state), (tables.x, tables.z, weights))[0]
