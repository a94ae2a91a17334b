"""Basis states as bits; position 0 of a register is the most significant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mask", "parity"]


def mask(positions: Iterable[int], wires: int) -> int:
    """The bits of some positions of a register."""
    return sum(1 << (wires - 1 - p) for p in positions)


def parity(states: Any, bits: Any) -> NDArray[np.int8]:
    """+1 where an even number of the bits is set, -1 elsewhere."""
    odd: NDArray[np.uint8] = np.bitwise_count(states & bits) & 1
    return 1 - 2 * odd.astype(np.int8)
