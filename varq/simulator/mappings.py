"""The memory mappings of a process: compiled programs take several each, and a process that runs out of them dies.

Linux allows 65,530 of them (`vm.max_map_count`).  XLA maps each compiled function by itself, about a hundred times for
a circuit with its gradient: a few hundred circuits of different structure fill the table, and the next compilation ends
in a segmentation fault.
"""

from __future__ import annotations

import gc
from itertools import count
from pathlib import Path

import jax

__all__ = ["make_room"]

EVERY = 16  # calls between two looks: a look reads a line for each mapping, milliseconds where there are many
SHARE = 0.4  # of the mappings that the system allows, beyond which JAX's caches are emptied

_calls = count()


def _used() -> int:
    """Mappings of this process; 0 where the system does not tell."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0


def _allowed() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 65530


def make_room() -> None:
    """Empty JAX's caches of compiled functions if the process is running out of memory mappings.

    To be called where something may be compiled anew.  What is wanted again is compiled again, or read from the
    compile cache on disk; nothing else changes.
    """
    if next(_calls) % EVERY or _used() < SHARE * _allowed():
        return
    jax.clear_caches()  # type: ignore[no-untyped-call]
    gc.collect()  # programs are part of reference cycles
