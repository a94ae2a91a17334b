"""Algorithms: specs that assemble problems, ansatze, optimizers and devices."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.algorithms.amplitude import AmplitudeEstimation
    from varq.algorithms.approximate import QAOA
    from varq.algorithms.batch_phase import QPE
    from varq.algorithms.correction.memory import Memory
    from varq.algorithms.correction.teleportation import LogicalTeleportation
    from varq.algorithms.factoring import Shor
    from varq.algorithms.minimization import Minimize
    from varq.algorithms.phase import PhaseEstimation
    from varq.algorithms.phase_runs import phase_study
    from varq.algorithms.short import (
        amplitude_estimation,
        logical_teleportation,
        memory,
        minimize,
        phase_estimation,
        qaoa,
        qpe,
        shor,
        vqe,
    )
    from varq.algorithms.variational import VQE

_HOME = {
    "AmplitudeEstimation": "varq.algorithms.amplitude",
    "LogicalTeleportation": "varq.algorithms.correction.teleportation",
    "Memory": "varq.algorithms.correction.memory",
    "Minimize": "varq.algorithms.minimization",
    "PhaseEstimation": "varq.algorithms.phase",
    "QAOA": "varq.algorithms.approximate",
    "QPE": "varq.algorithms.batch_phase",
    "Shor": "varq.algorithms.factoring",
    "VQE": "varq.algorithms.variational",
    "amplitude_estimation": "varq.algorithms.short",
    "logical_teleportation": "varq.algorithms.short",
    "memory": "varq.algorithms.short",
    "minimize": "varq.algorithms.short",
    "phase_estimation": "varq.algorithms.short",
    "phase_study": "varq.algorithms.phase_runs",
    "qaoa": "varq.algorithms.short",
    "qpe": "varq.algorithms.short",
    "shor": "varq.algorithms.short",
    "vqe": "varq.algorithms.short",
}

__all__ = [
    "AmplitudeEstimation",
    "LogicalTeleportation",
    "Memory",
    "Minimize",
    "PhaseEstimation",
    "QAOA",
    "QPE",
    "Shor",
    "VQE",
    "amplitude_estimation",
    "logical_teleportation",
    "memory",
    "minimize",
    "phase_estimation",
    "phase_study",
    "qaoa",
    "qpe",
    "shor",
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
