"""Basis states as bits; position 0 of a register is the most significant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["mask", "parity"]


def mask(positions: Iterable[int], wires: int) -> int:
    """The bits of some positions of a register."""
    return sum(1 << (wires - 1 - p) for p in positions)


def parity(states: Any, bits: Any) -> Any:
    """+1 where an even number of the bits is set, -1 elsewhere, as int8; of NumPy's arrays or of JAX's."""
    both = states & bits
    if isinstance(both, jax.Array):
        return 1 - 2 * (jax.lax.population_count(both) & 1).astype(jnp.int8)
    return 1 - 2 * (np.bitwise_count(both) & 1).astype(np.int8)
