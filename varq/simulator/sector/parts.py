"""What gates that conserve a number of particles are made of: turns between pairs of basis states, phases and swaps.

A gate is a product of parts.  With t = scale * angle + offset, and with G connecting basis states by `moves`,

* "real": exp(t G), G antisymmetric: where a move takes pattern p to q = p ^ flip, G|q> = +|p>, G|p> = -|q>;
* "imaginary": exp(i t G), G symmetric: G|q> = |p>, G|p> = |q>;
* "diagonal": exp(i t G), G|p> = value |p>;
* "phase": exp(i t) for every basis state;
* "fixed": the signed permutation that takes p ^ flip to value |p>, and leaves patterns without a move alone.

A string of wires multiplies G by their parity, as the Jordan-Wigner map wants it.  The identities are the defining
equations of PennyLane's gates (https://docs.pennylane.ai/en/stable/code/qml.html).
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple

from varq.simulator.circuit import DIAGONAL, MATRIX, Gate

__all__ = ["CLASSICAL", "CONSERVING", "Part", "parts"]

Moves = tuple[tuple[int, int, int], ...]


class Part(NamedTuple):
    """One factor of a gate.

    Args:
        kind: "real", "imaginary", "diagonal", "phase" or "fixed".
        wires: positions that the patterns of `moves` speak of, most significant first.
        moves: (pattern, flip, value).
        angle: which angle, or None where t is `offset` alone.
        scale: of the angle.
        offset: what is added.
        string: positions whose parity multiplies the generator.
    """

    kind: str
    wires: tuple[int, ...]
    moves: Moves
    angle: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    string: tuple[int, ...] = ()


_SINGLE: Moves = ((0b10, 0b11, 1),)
_DOUBLE: Moves = ((0b1100, 0b1111, 1),)
_SWAP: Moves = ((0b01, 0b11, 1), (0b10, 0b11, 1))
_CSWAP: Moves = ((0b101, 0b011, 1), (0b110, 0b011, 1))
_ODD: Moves = ((0b01, 0, 1), (0b10, 0, 1))
_ENDS: Moves = ((0b0011, 0, 1), (0b1100, 0, 1))


def _phases(*values: int) -> Moves:
    return tuple((pattern, 0, value) for pattern, value in enumerate(values) if value)


_SIGNS = {"PauliZ": _phases(0, -1), "CZ": _phases(0, 0, 0, -1), "CCZ": _phases(0, 0, 0, 0, 0, 0, 0, -1)}
_FIXED_PHASES = {"S": pi / 2, "T": pi / 4}
_SWAPS = {"SWAP": _SWAP, "CSWAP": _CSWAP}
_FIXED_TURNS = {"ISWAP": pi / 2, "SISWAP": pi / 4}
_DIAGONAL = {
    "RZ": (_phases(-1, 1), 0.5),
    "PhaseShift": (_phases(0, 1), 1.0),
    "CRZ": (_phases(0, 0, -1, 1), 0.5),
    "ControlledPhaseShift": (_phases(0, 0, 0, 1), 1.0),
}
_PLUS_MINUS = {"Plus": -0.5, "Minus": 0.5}  # e^{+-i angle/2} everywhere, undone where the excitation turns
_STRINGED = {"FermionicSingle", "FermionicDouble", "OrbitalRotation"}
_ONE_ANGLE = {
    "SingleExcitation",
    "DoubleExcitation",
    "IsingXY",
    "IsingZZ",
    "MultiRZ",
    "PSWAP",
    "FermionicSWAP",
    "GlobalPhase",
}
CLASSICAL = frozenset({"PauliX", "CNOT", "Toffoli", "MultiControlledX", "SWAP", "CSWAP"})
"""Gates that take a basis state to a basis state: in front of all others, they only prepare."""

CONSERVING = frozenset(
    {*_SIGNS, *_FIXED_PHASES, *_SWAPS, *_FIXED_TURNS, *_DIAGONAL, *_STRINGED, *_ONE_ANGLE, "PauliRot"}
    | {f"{kind}Excitation{sign}" for kind in ("Single", "Double") for sign in _PLUS_MINUS}
)
"""Names of gates that conserve the number of particles."""


def parts(gate: Gate) -> tuple[Part, ...] | None:
    """The parts of a gate in the order in which they act, or None if it is not known to conserve a number."""
    name, w, a = gate.name, gate.wires, gate.angles
    if name in _SIGNS:
        return (Part("fixed", w, _SIGNS[name]),)
    if name in _SWAPS:
        return (Part("fixed", w, _SWAPS[name]),)
    if name in _FIXED_PHASES:
        return (Part("diagonal", w, _phases(0, 1), offset=_FIXED_PHASES[name]),)
    if name in _FIXED_TURNS:
        return (Part("imaginary", w, _SINGLE, offset=_FIXED_TURNS[name]),)
    if name in _DIAGONAL:
        moves, scale = _DIAGONAL[name]
        return (Part("diagonal", w, moves, a[0], scale),)
    if name == MATRIX and gate.static == DIAGONAL:
        return tuple(Part("diagonal", w, ((pattern, 0, 1),), angle) for pattern, angle in enumerate(a))
    if name in _STRINGED:
        return _stringed(gate)
    return _one_angle(gate)


def _one_angle(gate: Gate) -> tuple[Part, ...] | None:
    name, w, a = gate.name, gate.wires, gate.angles
    match name:
        case "GlobalPhase":
            return (_phase(a[0], -1.0),)
        case "IsingZZ" | "MultiRZ":
            return (_parity(w, a[0]),)
        case "PauliRot":
            word = str(gate.static)
            kept = tuple(wire for letter, wire in zip(word, w, strict=True) if letter != "I")
            return (_parity(kept, a[0]),) if set(word) <= {"I", "Z"} else None
        case "IsingXY":
            return (Part("imaginary", w, _SINGLE, a[0], 0.5),)
        case "PSWAP":
            return Part("fixed", w, _SWAP), Part("diagonal", w, _ODD, a[0])
        case "FermionicSWAP":
            ends = Part("diagonal", w, _phases(-1, 0, 0, 1), a[0], 0.5)
            return Part("imaginary", w, _SINGLE, a[0], -0.5), ends, _phase(a[0], 0.5)
    for kind, moves, support in (("SingleExcitation", _SINGLE, _ODD), ("DoubleExcitation", _DOUBLE, _ENDS)):
        if name == kind:
            return (Part("real", w, moves, a[0], 0.5),)
        sign = _PLUS_MINUS.get(name.removeprefix(kind))
        if name.startswith(kind) and sign is not None:
            return Part("real", w, moves, a[0], 0.5), Part("diagonal", w, support, a[0], sign), _phase(a[0], -sign)
    return None


def _phase(angle: int, scale: float) -> Part:
    return Part("phase", (), (), angle, scale)


def _parity(wires: tuple[int, ...], angle: int) -> Part:
    """exp(-i angle/2 Z..Z)."""
    if not wires:
        return _phase(angle, -0.5)
    return Part("diagonal", (), ((0, 0, -1),), angle, 0.5, string=wires)


def _stringed(gate: Gate) -> tuple[Part, ...] | None:
    """Excitations of fermions: an excitation of qubits times the parity of the wires between."""
    name, w, a = gate.name, gate.wires, gate.angles
    match name:
        case "FermionicSingle":  # wires: loses, gains, string
            return (Part("real", (w[1], w[0]), _SINGLE, a[0], 0.5, string=w[2:]),)
        case "FermionicDouble":
            return (Part("real", (*w[2:4], *w[:2]), _DOUBLE, a[0], 0.5, string=w[4:]),)
        case "OrbitalRotation":  # the same rotation for spin up (0, 2) and spin down (1, 3)
            return (
                Part("real", (w[0], w[2]), _SINGLE, a[0], 0.5, string=(w[1],)),
                Part("real", (w[1], w[3]), _SINGLE, a[0], 0.5, string=(w[2],)),
            )
    return None
