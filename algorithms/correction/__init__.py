"""Error correction: codes, noise, decoders, memory experiments, and decoding while a circuit runs."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.algorithms.correction.belief import BPOSD
    from varq.algorithms.correction.codes import Code, FiveQubit, Repetition, RotatedSurface, StabilizerCode, Steane
    from varq.algorithms.correction.decoders import Matching
    from varq.algorithms.correction.faults import ErrorModel, FaultTracker
    from varq.algorithms.correction.feedback import Asked, Stopwatch, decoded
    from varq.algorithms.correction.fewest import FewestFaults
    from varq.algorithms.correction.logical import Patch, Script
    from varq.algorithms.correction.lookup import Lookup, code_model
    from varq.algorithms.correction.memory import Memory, per_round
    from varq.algorithms.correction.memory_circuits import memory_circuit
    from varq.algorithms.correction.noise import Noise
    from varq.algorithms.correction.stim_tapes import from_stim, to_stim
    from varq.algorithms.correction.teleportation import LogicalTeleportation
    from varq.algorithms.correction.threshold import ThresholdStudy, threshold_study
    from varq.algorithms.correction.window import Window

_HOME = {
    "Asked": "varq.algorithms.correction.feedback",
    "BPOSD": "varq.algorithms.correction.belief",
    "Code": "varq.algorithms.correction.codes",
    "ErrorModel": "varq.algorithms.correction.faults",
    "FaultTracker": "varq.algorithms.correction.faults",
    "FewestFaults": "varq.algorithms.correction.fewest",
    "FiveQubit": "varq.algorithms.correction.codes",
    "LogicalTeleportation": "varq.algorithms.correction.teleportation",
    "Lookup": "varq.algorithms.correction.lookup",
    "Matching": "varq.algorithms.correction.decoders",
    "Memory": "varq.algorithms.correction.memory",
    "Noise": "varq.algorithms.correction.noise",
    "Patch": "varq.algorithms.correction.logical",
    "Repetition": "varq.algorithms.correction.codes",
    "RotatedSurface": "varq.algorithms.correction.codes",
    "Script": "varq.algorithms.correction.logical",
    "StabilizerCode": "varq.algorithms.correction.codes",
    "Steane": "varq.algorithms.correction.codes",
    "Stopwatch": "varq.algorithms.correction.feedback",
    "ThresholdStudy": "varq.algorithms.correction.threshold",
    "Window": "varq.algorithms.correction.window",
    "code_model": "varq.algorithms.correction.lookup",
    "decoded": "varq.algorithms.correction.feedback",
    "from_stim": "varq.algorithms.correction.stim_tapes",
    "memory_circuit": "varq.algorithms.correction.memory_circuits",
    "per_round": "varq.algorithms.correction.memory",
    "threshold_study": "varq.algorithms.correction.threshold",
    "to_stim": "varq.algorithms.correction.stim_tapes",
}

__all__ = [
    "Asked",
    "BPOSD",
    "Code",
    "ErrorModel",
    "FaultTracker",
    "FewestFaults",
    "FiveQubit",
    "LogicalTeleportation",
    "Lookup",
    "Matching",
    "Memory",
    "Noise",
    "Patch",
    "Repetition",
    "RotatedSurface",
    "Script",
    "StabilizerCode",
    "Steane",
    "Stopwatch",
    "ThresholdStudy",
    "Window",
    "code_model",
    "decoded",
    "from_stim",
    "memory_circuit",
    "per_round",
    "threshold_study",
    "to_stim",
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
