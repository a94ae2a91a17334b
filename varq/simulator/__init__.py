"""`varq.qubit`: a PennyLane device that compiles circuits through JAX by their structure.

>>> import pennylane as qml
>>> device = qml.device("varq.qubit", wires=2)
>>> device.name
'varq.qubit'
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.simulator.device import VarqQubit
    from varq.simulator.explaining import explain
    from varq.simulator.likelihood import log_likelihood
    from varq.simulator.outcomes import from_host, outcome
    from varq.simulator.reuse.transform import reuse_qubits

_HOME = {
    "VarqQubit": "varq.simulator.device",
    "explain": "varq.simulator.explaining",
    "log_likelihood": "varq.simulator.likelihood",
    "from_host": "varq.simulator.outcomes",
    "outcome": "varq.simulator.outcomes",
    "reuse_qubits": "varq.simulator.reuse.transform",
}

__all__ = ["VarqQubit", "explain", "from_host", "log_likelihood", "outcome", "reuse_qubits"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
