"""Parametrized circuits: frozen dataclasses that are called inside a QNode."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.ansatze.alternating import Alternating
    from varq.ansatze.choose import as_ansatz
    from varq.ansatze.conserving import GivensLayers
    from varq.ansatze.coupled_cluster import UCCSD, KUpCCGSD
    from varq.ansatze.custom import Circuit
    from varq.ansatze.layered import HamiltonianVariational, HardwareEfficient

_HOME = {
    "Alternating": "varq.ansatze.alternating",
    "Circuit": "varq.ansatze.custom",
    "GivensLayers": "varq.ansatze.conserving",
    "HamiltonianVariational": "varq.ansatze.layered",
    "HardwareEfficient": "varq.ansatze.layered",
    "KUpCCGSD": "varq.ansatze.coupled_cluster",
    "UCCSD": "varq.ansatze.coupled_cluster",
    "as_ansatz": "varq.ansatze.choose",
}

__all__ = [
    "Alternating",
    "Circuit",
    "GivensLayers",
    "HamiltonianVariational",
    "HardwareEfficient",
    "KUpCCGSD",
    "UCCSD",
    "as_ansatz",
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
