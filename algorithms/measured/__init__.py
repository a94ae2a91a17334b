"""Circuits that measure and decide while they run: small functions that queue PennyLane operations.

Each is called within a QNode on `varq.qubit`, which runs it with shots or sums exactly over all branches of outcomes.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.algorithms.measured.discrimination import (
        adaptive_discrimination,
        helstrom_bound,
        locally_optimal_angles,
    )
    from varq.algorithms.measured.entangling import fused_ghz, teleport
    from varq.algorithms.measured.pooling import PoolingNetwork, cluster_ising_state
    from varq.algorithms.measured.repetition import repeated_v_gate

_HOME = {
    "PoolingNetwork": "varq.algorithms.measured.pooling",
    "adaptive_discrimination": "varq.algorithms.measured.discrimination",
    "cluster_ising_state": "varq.algorithms.measured.pooling",
    "fused_ghz": "varq.algorithms.measured.entangling",
    "helstrom_bound": "varq.algorithms.measured.discrimination",
    "locally_optimal_angles": "varq.algorithms.measured.discrimination",
    "repeated_v_gate": "varq.algorithms.measured.repetition",
    "teleport": "varq.algorithms.measured.entangling",
}

__all__ = [
    "PoolingNetwork",
    "adaptive_discrimination",
    "cluster_ising_state",
    "fused_ghz",
    "helstrom_bound",
    "locally_optimal_angles",
    "repeated_v_gate",
    "teleport",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
