"""What an ansatz may ask of a problem, and the errors when the problem has none of it."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Fermions", "Qubits", "fermions", "qubits"]

JORDAN_WIGNER = "jordan-wigner"


class Qubits(Protocol):
    """A problem that lives on wires."""

    @property
    def wires(self) -> int:
        """How many."""


class Fermions(Qubits, Protocol):
    """A problem of electrons in orbitals, on interleaved Jordan-Wigner wires."""

    @property
    def electrons(self) -> tuple[int, int]:
        """(spin up, spin down)."""

    @property
    def orbitals(self) -> int:
        """Spatial orbitals."""


def qubits(ansatz: str, problem: Any) -> int:
    """The number of wires of a problem.

    Raises:
        ValueError: if it states none.
    """
    wires = getattr(problem, "wires", None)
    if isinstance(wires, bool) or not isinstance(wires, int):
        raise ValueError(
            f"{ansatz}.for_problem needs a problem that states its number of wires. "
            f"Got {type(problem).__name__}. State the ansatz's own fields instead."
        )
    return wires


def fermions(ansatz: str, problem: Any) -> tuple[tuple[int, int], int]:
    """(electrons, orbitals) of a problem whose wires are Jordan-Wigner spin orbitals.

    Raises:
        ValueError: if the problem has no electrons, or another fermion-to-qubit map; says what to do.
    """
    electrons, orbitals = getattr(problem, "electrons", None), getattr(problem, "orbitals", None)
    if electrons is None or orbitals is None:
        raise ValueError(
            f"{ansatz} needs a problem of electrons in orbitals. Got {type(problem).__name__}, which has none. "
            "Use 'hardware-efficient', 'hamiltonian-variational' or 'alternating' instead."
        )
    mapping = getattr(problem, "mapping", JORDAN_WIGNER)
    if mapping != JORDAN_WIGNER:
        raise ValueError(
            f"{ansatz} is a circuit for the Jordan-Wigner map. Got a problem with mapping={mapping!r}. "
            f"Build the problem with mapping={JORDAN_WIGNER!r}, or use 'hardware-efficient'."
        )
    return tuple(electrons), int(orbitals)
