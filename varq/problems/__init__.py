"""What is to be solved: molecules, lattices, graphs, any observable, and the phase of a unitary."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.problems.eigenphase import EigenPhase
    from varq.problems.graph import MaxCut
    from varq.problems.lattice import Heisenberg, Hubbard, TransverseFieldIsing
    from varq.problems.molecule import Molecule
    from varq.problems.operator import Operator

_HOME = {
    "EigenPhase": "varq.problems.eigenphase",
    "Heisenberg": "varq.problems.lattice",
    "Hubbard": "varq.problems.lattice",
    "MaxCut": "varq.problems.graph",
    "Molecule": "varq.problems.molecule",
    "Operator": "varq.problems.operator",
    "TransverseFieldIsing": "varq.problems.lattice",
}

__all__ = [
    "EigenPhase",
    "Heisenberg",
    "Hubbard",
    "MaxCut",
    "Molecule",
    "Operator",
    "TransverseFieldIsing",
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
