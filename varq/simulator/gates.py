"""What each gate is made of: turns about Z products, moves of basis states, and small dense blocks.

A `Turn` is exp(-i a/2 Z..Z) with a = scale * angle + offset; a `Move` permutes basis states; a `Block` is a matrix on
a few wires.  `expand` writes a gate as these.  Two ways of writing serve two ends: "frame" keeps blocks real where
diagonal gates can take the imaginary part (RX is RY between two turns), for layers, where turns merge and cost little;
"whole" keeps a gate in one block where it fits, for circuits without structure.

The identities are the defining equations of PennyLane's gates (https://docs.pennylane.ai/en/stable/code/qml.html);
the tests compare every entry with PennyLane's matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from math import pi
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.simulator.circuit import DIAGONAL, MATRIX, Gate

__all__ = ["NAMES", "Block", "Move", "Primitive", "Turn", "expand", "is_diagonal", "is_real", "matrices"]


class Turn(NamedTuple):
    """exp(-i (scale * angle + offset) / 2 * Z on every wire), in radians; a global phase if there are no wires."""

    wires: tuple[int, ...]
    angle: int | None
    scale: float = 1.0
    offset: float = 0.0


class Move(NamedTuple):
    """X on `target` where the controls have their values; with no control, X itself."""

    target: int
    controls: tuple[int, ...] = ()
    values: tuple[int, ...] = ()

    @property
    def wires(self) -> tuple[int, ...]:
        """All wires, target last."""
        return (*self.controls, self.target)


class Block(NamedTuple):
    """The matrix of a named gate on `wires`; `MATRIX` takes it from the arrays."""

    name: str
    wires: tuple[int, ...]
    angles: tuple[int, ...] = ()
    array: int | None = None


Primitive = Turn | Move | Block

_REAL = {"RY": 1, "Hadamard": 0, "CRY": 1, "SingleExcitation": 1, "DoubleExcitation": 1, "OrbitalRotation": 1}
_COMPLEX = {
    **dict.fromkeys(("PauliX", "PauliY", "PauliZ", "S", "T", "SX"), 0),
    **dict.fromkeys(("RX", "RZ", "PhaseShift"), 1),
    **{"U2": 2, "U3": 3, "Rot": 3, "CRot": 3},
    **dict.fromkeys(("CNOT", "CY", "CZ", "CH", "SWAP", "ISWAP", "SISWAP", "ECR", "CSWAP", "Toffoli", "CCZ"), 0),
    **dict.fromkeys(("CRX", "CRZ", "ControlledPhaseShift", "IsingXX", "IsingYY", "IsingZZ", "IsingXY", "PSWAP"), 1),
    **dict.fromkeys(("SingleExcitationPlus", "SingleExcitationMinus", "FermionicSWAP"), 1),
    **dict.fromkeys(("DoubleExcitationPlus", "DoubleExcitationMinus"), 1),
}
_NUMBER = {**_REAL, **_COMPLEX}
_ALWAYS = {"GlobalPhase", "MultiRZ", "PauliRot", "FermionicSingle", "FermionicDouble", "MultiControlledX"}

NAMES = frozenset(_NUMBER) | _ALWAYS
"""The gates that need no decomposition.  `PauliRot` has its word as `static`, `MultiControlledX` its control values."""


def _phase(wires: tuple[int, ...], angle: int | None, scale: float = 1.0, offset: float = 0.0) -> list[Primitive]:
    """exp(i a) where all wires are 1: (1 - Z)/2 on each wire multiplied out (Walsh expansion)."""
    out: list[Primitive] = []
    for subset in range(2 ** len(wires)):
        chosen = tuple(w for k, w in enumerate(wires) if subset >> k & 1)
        factor = -2.0 * (-1.0) ** len(chosen) / 2 ** len(wires)
        out.append(Turn(chosen, angle, factor * scale, factor * offset))
    return out


def _single(name: str, w: tuple[int, ...], a: tuple[int, ...]) -> list[Primitive] | None:
    """One-wire gates in the real frame."""
    match name:
        case "RZ":
            return [Turn(w, a[0])]
        case "PhaseShift":
            return _phase(w, a[0])
        case "PauliZ" | "S" | "T":
            return _phase(w, None, offset={"PauliZ": pi, "S": pi / 2, "T": pi / 4}[name])
        case "PauliX":
            return [Move(w[0])]
        case "PauliY":
            return [Turn(w, None, offset=-pi), Move(w[0])]
        case "RX":
            return [Turn(w, None, offset=pi / 2), Block("RY", w, a), Turn(w, None, offset=-pi / 2)]
        case "Rot":
            return [Turn(w, a[0]), Block("RY", w, a[1:2]), Turn(w, a[2])]
        case "U3":  # the phase shifts by phi and delta around RY(theta)
            return [*_phase(w, a[2]), Block("RY", w, a[:1]), *_phase(w, a[1])]
    return None


def _double(name: str, w: tuple[int, ...], a: tuple[int, ...]) -> list[Primitive] | None:
    """Gates on two and three wires in the real frame."""
    c, t = w[0], w[-1]
    match name:
        case "CNOT":
            return [Move(t, (c,), (1,))]
        case "Toffoli":
            return [Move(t, w[:2], (1, 1))]
        case "SWAP":
            return [Move(t, (c,), (1,)), Move(c, (t,), (1,)), Move(t, (c,), (1,))]
        case "CSWAP":
            x, y = w[1], w[2]
            return [Move(x, (y,), (1,)), Move(y, (c, x), (1, 1)), Move(x, (y,), (1,))]
        case "CZ" | "CCZ":
            return _phase(w, None, offset=pi)
        case "CY":
            return [Turn((t,), None, offset=-pi / 2), Move(t, (c,), (1,)), Turn((t,), None, offset=pi / 2)]
        case "ISWAP":
            swap = _double("SWAP", w, ())
            assert swap is not None
            return [*swap, Turn(w, None, offset=pi / 2), Turn((), None, offset=-pi / 2)]
        case "ControlledPhaseShift":
            return _phase(w, a[0])
        case "CRZ":
            return [Turn((t,), a[0], 0.5), Turn(w, a[0], -0.5)]
        case "CRX":
            return [Turn((t,), None, offset=pi / 2), Block("CRY", w, a), Turn((t,), None, offset=-pi / 2)]
        case "IsingZZ":
            return [Turn(w, a[0])]
    return None


def _word(word: str, wires: tuple[int, ...], angle: int) -> list[Primitive]:
    """exp(-i angle/2 P) for a Pauli word: its X and Y turned into Z and back."""
    into: list[Primitive] = []
    back: list[Primitive] = []
    for letter, wire in zip(word, wires, strict=True):
        if letter == "Y":
            into.append(Turn((wire,), None, offset=-pi / 2))
            back.insert(0, Turn((wire,), None, offset=pi / 2))
        if letter in "XY":
            into.append(Block("Hadamard", (wire,)))
            back.insert(0, Block("Hadamard", (wire,)))
    kept = tuple(w for letter, w in zip(word, wires, strict=True) if letter != "I")
    return [*into, Turn(kept, angle), *back]


def _wide(gate: Gate) -> list[Primitive] | None:
    """Gates that are never one block: any number of wires."""
    w = gate.wires
    match gate.name:
        case "GlobalPhase":
            return [Turn((), gate.angles[0], 2.0)]
        case "MultiRZ":
            return [Turn(w, gate.angles[0])]
        case "PauliRot":
            return _word(str(gate.static), w, gate.angles[0])
        case "IsingXX" | "IsingYY":
            return _word(gate.name[-2:], w, gate.angles[0])
        case "MultiControlledX":
            return [Move(w[-1], w[:-1], gate.static)]  # type: ignore[arg-type]
        case "FermionicSingle" | "FermionicDouble":
            return _fermionic(gate)
    return None


def _fermionic(gate: Gate) -> list[Primitive]:
    """The qubit excitation between CZ from its first wire to every wire of the parity string."""
    half = 1 if gate.name == "FermionicSingle" else 2
    changing, string = gate.wires[: 2 * half], gate.wires[2 * half :]
    signs = [turn for s in string for turn in _phase((changing[0], s), None, offset=pi)]
    name = "SingleExcitation" if half == 1 else "DoubleExcitation"
    return [*signs, Block(name, (*changing[half:], *changing[:half]), gate.angles), *signs]


def expand(gate: Gate, style: str) -> list[Primitive]:
    """The primitives of a gate, in the order in which they act.

    Args:
        gate: of a name in `NAMES`, or `MATRIX`.
        style: "frame" or "whole", as explained above.
    """
    if gate.name == MATRIX:
        return [Block(MATRIX, gate.wires, (), gate.array)]
    if gate.name in _ALWAYS or (style == "frame" and gate.name in ("IsingXX", "IsingYY")):
        found = _wide(gate)
        assert found is not None
        return found
    whole = style == "whole" and len(gate.wires) <= 2
    if not whole and gate.name not in _REAL:
        rewrite = _single if len(gate.wires) == 1 else _double
        found = rewrite(gate.name, gate.wires, gate.angles)
        if found is not None:
            return found
    return [Block(gate.name, gate.wires, gate.angles)]


def is_diagonal(gate: Gate) -> bool:
    """Whether a gate is diagonal: made of turns alone, or a matrix that is known to be so."""
    if gate.name == MATRIX:
        return gate.static == DIAGONAL
    return _of_turns(gate.name, len(gate.wires), len(gate.angles), gate.static)


@lru_cache(maxsize=1024)  # circuits have thousands of gates of few kinds
def _of_turns(name: str, wires: int, angles: int, static: Hashable) -> bool:
    made = expand(Gate(name, tuple(range(wires)), tuple(range(angles)), None, static), "frame")
    return all(isinstance(primitive, Turn) for primitive in made)


def is_real(name: str) -> bool:
    """Whether every matrix of this block is real."""
    return name in _REAL


def matrices(name: str, angles: Any) -> Any:
    """The matrices of many gates of one name, stacked.

    Args:
        name: a gate that can be a block.
        angles: its parameters, shape (gates, parameters), float32 or float64.

    Returns:
        Shape (gates, d, d) for a name with real matrices; else (gates, 2, d, d), real and imaginary part.
    """
    count, number = angles.shape
    kind: Callable[..., Any] = getattr(qml, name).compute_matrix
    if number == 0:
        fixed: NDArray[Any] = np.asarray(kind())
        return jnp.broadcast_to(jnp.asarray(_stacked(fixed, name), angles.dtype), (count, *_shape(fixed, name)))
    if name == "RY":  # the most frequent one, without a detour through complex numbers
        c, s = jnp.cos(angles[:, 0] / 2), jnp.sin(angles[:, 0] / 2)
        return jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2)
    matrix = jnp.asarray(kind(*(angles[:, k] for k in range(number))))
    if is_real(name):
        return jnp.real(matrix).astype(angles.dtype)
    return jnp.stack([jnp.real(matrix), jnp.imag(matrix)], 1).astype(angles.dtype)


def _stacked(matrix: NDArray[Any], name: str) -> NDArray[Any]:
    return np.real(matrix) if is_real(name) else np.stack([np.real(matrix), np.imag(matrix)])


def _shape(matrix: NDArray[Any], name: str) -> tuple[int, ...]:
    return matrix.shape if is_real(name) else (2, *matrix.shape)
