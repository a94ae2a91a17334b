"""How many wires a state of the whole space may have, before anything of its size is made."""

from __future__ import annotations

import os

import jax
import numpy as np
from pennylane.exceptions import DeviceError

__all__ = ["MOST_WIRES", "check_columns", "check_size", "memory_bytes", "states_held"]

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


def _bytes(wires: int, dtype: str) -> int:
    """Of a state."""
    return 2 * np.dtype(dtype).itemsize << wires


def states_held(wires: int, dtype: str) -> int | None:
    """How many states memory can hold before and after a step; None if nobody says how large it is.

    Args:
        wires: of the register.
        dtype: "float64" or "float32", of the amplitudes.
    """
    memory = memory_bytes()
    return None if memory is None else memory // (_STATES * _bytes(wires, dtype))


def check_columns(wires: int, dtype: str, columns: int, each: str, way: str) -> None:
    """Raise for states of one register that cannot be held together.

    Args:
        wires: of the register.
        dtype: "float64" or "float32", of the amplitudes.
        columns: how many states.
        each: what each of them is for, such as "record".
        way: what to do, as a sentence.

    Raises:
        DeviceError: if that many states do not fit into memory twice.
    """
    most = states_held(wires, dtype)
    if most is not None and columns > most:
        raise DeviceError(
            f"There is a state for each {each}, and all must fit into memory twice. Got {columns:,} of {wires} wires, "
            f"{columns * _bytes(wires, dtype):,} bytes, and {memory_bytes():,} bytes of memory. {way}"
        )


def check_size(wires: int, dtype: str) -> None:
    """Raise for a register whose states cannot be held.

    Args:
        wires: of the register.
        dtype: "float64" or "float32", of the amplitudes.

    Raises:
        DeviceError: if its basis states cannot be counted, or two of its states do not fit into memory.
    """
    each = _bytes(wires, dtype)
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
