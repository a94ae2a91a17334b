"""Further quantities that are followed while a cost is minimized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from varq import checks
from varq.problems.operator import Operator
from varq.session.trace import COLUMNS

__all__ = ["tracked_problems"]


def tracked_problems(track: Mapping[str, Any], wires: int) -> dict[str, Any]:
    """Observables to follow, as problems that a spec can keep."""
    checks.instance("track", track, Mapping, hint="Give a mapping of names to observables.")
    found = {name: entry if hasattr(entry, "hamiltonian") else Operator(entry) for name, entry in track.items()}
    for name, entry in found.items():
        if checks.text("track name", name) in COLUMNS:
            raise ValueError(f"track must not use the names of a history's own columns, {COLUMNS}. Got {name!r}.")
        acting = entry.wires
        if acting is None or acting > wires:
            raise ValueError(f"track[{name!r}] must act on the problem's {wires} wires. Got one on {acting}.")
    return found
