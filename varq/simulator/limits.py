"""How many wires a state of the whole space may have, before anything of its size is made."""

from __future__ import annotations

import os

import jax
import numpy as np
from pennylane.exceptions import DeviceError

__all__ = ["MOST_WIRES", "check_size", "memory_bytes"]

MOST_WIRES = 30
"""Basis states are counted by 32-bit integers, with one bit to spare."""

_STATES = 2  # that any step needs at once: before and after


def memory_bytes() -> int | None:
    """The memory of JAX's first device, or of this machine where that is its processor; None if nobody says."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX system
        return None


def check_size(wires: int, dtype: str) -> None:
    """Raise for a register whose states cannot be held.

    Args:
        wires: of the register.
        dtype: "float64" or "float32", of the amplitudes.

    Raises:
        DeviceError: if its basis states cannot be counted, or two of its states do not fit into memory.
    """
    each = 2 * np.dtype(dtype).itemsize << wires
    memory = memory_bytes()
    if wires <= MOST_WIRES and (memory is None or _STATES * each <= memory):
        return
    have = "an unknown amount" if memory is None else f"{memory:,} bytes"
    raise DeviceError(
        f"A state of the whole space must have at most {MOST_WIRES} wires and fit into memory twice. Got {wires} "
        f"wires, {each:,} bytes for each state, and {have} of memory. Use fewer wires or precision='single', or start "
        "from a basis state with gates that conserve the number of particles and ask for expectation values: then "
        "only reachable basis states are held."
    )
