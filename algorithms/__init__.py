"""Algorithms: specs that assemble problems, ansatze, optimizers and devices."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.algorithms.approximate import QAOA
    from varq.algorithms.minimization import Minimize
    from varq.algorithms.phase import PhaseEstimation
    from varq.algorithms.short import minimize, phase_estimation, qaoa, vqe
    from varq.algorithms.variational import VQE

_HOME = {
    "Minimize": "varq.algorithms.minimization",
    "PhaseEstimation": "varq.algorithms.phase",
    "QAOA": "varq.algorithms.approximate",
    "VQE": "varq.algorithms.variational",
    "minimize": "varq.algorithms.short",
    "phase_estimation": "varq.algorithms.short",
    "qaoa": "varq.algorithms.short",
    "vqe": "varq.algorithms.short",
}

__all__ = [
    "Minimize",
    "PhaseEstimation",
    "QAOA",
    "VQE",
    "minimize",
    "phase_estimation",
    "qaoa",
    "vqe",
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
