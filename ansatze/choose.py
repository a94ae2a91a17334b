"""From what a person writes for an ansatz to the ansatz itself."""

from __future__ import annotations

from typing import Any

from varq import checks, names
from varq.ansatze.base import Ansatz
from varq.ansatze.custom import Circuit
from varq.ansatze.requirements import fermions, qubits

__all__ = ["as_ansatz"]


def as_ansatz(value: Any, problem: Any) -> Any:
    """The ansatz that `value` stands for on `problem`.

    Args:
        value: an ansatz, or the name of one, such as "uccsd"; capitals, hyphens and underscores do not matter.
        problem: what is to be solved; it states `wires`.

    Raises:
        TypeError: if `value` is neither.
        ValueError: for an unknown name (the close ones are listed), for an ansatz that the problem does not allow (such
            as one of electrons for a problem with other electrons, orbitals or another fermion-to-qubit map), for one
            on another number of wires, and for a `Circuit` whose function reads beyond its shape.

    Example:
        >>> from types import SimpleNamespace
        >>> as_ansatz("UCCSD", SimpleNamespace(wires=4, electrons=(1, 1), orbitals=2))
        UCCSD(electrons=(1, 1), orbitals=2)
    """
    if isinstance(value, str):
        return names.find("ansatz", _known(value)).for_problem(problem)
    if isinstance(value, type) or not isinstance(value, Ansatz):
        raise TypeError(
            f"ansatz must be an ansatz or the name of one. Got {value!r}. "
            f"Names: {', '.join(names.names('ansatz'))}; your own circuit: Circuit(function, shape=...)."
        )
    _check_fermions(value, problem)
    wires = qubits("ansatz", problem)
    if isinstance(value, Circuit):
        value = value.on(wires)
    if value.wires != wires:
        raise ValueError(
            f"ansatz must act on the problem's {wires} wires. Got {getattr(value, 'title', type(value).__name__)} on "
            f"{value.wires}. Make it with {type(value).__name__}.for_problem(problem), or give its name."
        )
    if isinstance(value, Circuit):
        value.check()
    return value


def _check_fermions(value: Any, problem: Any) -> None:
    """A circuit of electrons in orbitals starts from a determinant, which another problem's wires would read anew."""
    here, there = _fermionic(value), _fermionic(problem)
    if here is None or there is None:
        return
    name = type(value).__name__
    fermions(name, problem)
    if here != there:
        raise ValueError(
            f"ansatz must have the problem's electrons={there[0]} and orbitals={there[1]}. Got {name} with "
            f"electrons={here[0]} and orbitals={here[1]}. Make it with {name}.for_problem(problem), or build the "
            "problem with these electrons and orbitals."
        )


def _fermionic(value: Any) -> tuple[tuple[int, ...], int] | None:
    electrons, orbitals = getattr(value, "electrons", None), getattr(value, "orbitals", None)
    return None if electrons is None or orbitals is None else (tuple(electrons), int(orbitals))


def _known(name: str) -> str:
    """The name in the table that is `name` but for capitals, hyphens, underscores and spaces."""
    known = names.names("ansatz")
    return next((k for k in known if _bare(k) == _bare(name)), None) or checks.choice("ansatz", name, known)


def _bare(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "-_ ")
