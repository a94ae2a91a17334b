"""Random circuits, and what they come to by plain matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

ONE = ("RX", "RY", "RZ", "Hadamard", "S", "T", "SX", "PhaseShift", "Rot", "U2", "U3", "PauliX", "PauliY", "PauliZ")
TWO = (
    "CNOT", "CZ", "CY", "CH", "SWAP", "ISWAP", "SISWAP", "ECR", "CRX", "CRY", "CRZ", "CRot", "IsingXX", "IsingYY",
    "IsingZZ", "IsingXY", "PSWAP", "ControlledPhaseShift", "SingleExcitation", "SingleExcitationPlus",
    "SingleExcitationMinus", "FermionicSWAP",
)  # fmt: skip
MANY = {
    "Toffoli": 3,
    "CSWAP": 3,
    "CCZ": 3,
    "DoubleExcitation": 4,
    "DoubleExcitationPlus": 4,
    "DoubleExcitationMinus": 4,
    "OrbitalRotation": 4,
}
FREE = ("MultiRZ", "PauliRot", "MultiControlledX", "GlobalPhase", "QubitUnitary")


def width(name: str, wires: int, rng: np.random.Generator) -> int:
    """How many wires a gate of that name gets."""
    if name in ONE:
        return 1
    if name in TWO:
        return 2
    if name == "QubitUnitary":
        return int(rng.integers(1, min(wires, 3) + 1))
    return MANY.get(name) or (0 if name == "GlobalPhase" else int(rng.integers(2, wires + 1)))


def unitary(size: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """A random unitary matrix."""
    q, _ = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    return np.asarray(q)


def make(name: str, wires: Sequence[int], rng: np.random.Generator) -> Any:
    """A gate of that name with random parameters."""
    if name == "PauliRot":
        return qml.PauliRot(rng.normal(), "".join(rng.choice(list("IXYZ"), len(wires) - 1)) + "Y", wires=wires)
    if name == "MultiControlledX":
        return qml.MultiControlledX(wires=wires, control_values=[int(v) for v in rng.integers(0, 2, len(wires) - 1)])
    if name == "GlobalPhase":
        return qml.GlobalPhase(rng.normal())
    if name == "QubitUnitary":
        return qml.QubitUnitary(unitary(2 ** len(wires), rng), wires=wires)
    kind = getattr(qml, name)
    return kind(*rng.normal(size=kind.num_params), wires=wires)


def names(wires: int) -> list[str]:
    """The gates that fit on so many wires."""
    out = [*ONE, *(TWO if wires > 1 else ()), "GlobalPhase", "QubitUnitary"]
    out += [name for name, count in MANY.items() if count <= wires]
    return out + (["MultiRZ", "PauliRot", "MultiControlledX"] if wires > 1 else [])


def random_gates(wires: int, count: int, rng: np.random.Generator) -> list[Any]:
    """Gates of all kinds on random wires."""
    out = []
    for name in rng.choice(names(wires), count):
        chosen = rng.permutation(wires)[: width(str(name), wires, rng)]
        out.append(make(str(name), [int(w) for w in chosen], rng))
    return out


def again(gates: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """The same gates with other parameters."""
    out = []
    for gate in gates:
        if gate.name == "QubitUnitary":
            out.append(qml.QubitUnitary(unitary(2 ** len(gate.wires), rng), wires=gate.wires))
        elif gate.num_params:
            values = [float(v) for v in rng.normal(size=gate.num_params)]
            out.append(qml.ops.functions.bind_new_parameters(gate, values))
        else:
            out.append(gate)
    return out


def state_of(gates: Sequence[Any], wires: int, start: NDArray[Any] | None = None) -> NDArray[np.complex128]:
    """The state after the gates, by one small matrix after the other."""
    state = np.zeros(2**wires, dtype=complex)
    state[0] = 1
    cube = (state if start is None else np.asarray(start, dtype=complex)).reshape((2,) * wires)
    for gate in gates:
        if gate.name == "GlobalPhase":
            cube = cube * np.exp(-1j * gate.data[0])
            continue
        k = len(gate.wires)
        matrix = np.asarray(qml.matrix(gate, wire_order=gate.wires)).reshape((2,) * (2 * k))
        cube = np.tensordot(matrix, cube, axes=(range(k, 2 * k), list(gate.wires)))
        cube = np.moveaxis(cube, range(k), list(gate.wires))
    return cube.reshape(-1)


def words(wires: int, count: int, rng: np.random.Generator) -> tuple[list[str], NDArray[np.float64]]:
    """Random Pauli words, some local and some diagonal, and coefficients."""
    out = ["".join(rng.choice(list("IXYZ"), wires)) for _ in range(count)]
    out += ["Z" + "I" * (wires - 1), "I" * (wires - 1) + "X", "Z" * wires, "I" * wires]
    distinct = sorted(set(out))
    return distinct, rng.normal(size=len(distinct))


def matrix_of(found: Sequence[str], coefficients: Any) -> NDArray[np.complex128]:
    """The matrix of a sum of Pauli words."""
    one = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}
    total: Any = 0
    for word, c in zip(found, coefficients, strict=True):
        matrix = np.eye(1)
        for letter in word:
            matrix = np.kron(matrix, one[letter])
        total = total + c * matrix
    return np.asarray(total)


def masks(found: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(x mask, z mask) of each word."""
    out = []
    for word in found:
        x = int("".join("1" if letter in "XY" else "0" for letter in word), 2)
        z = int("".join("1" if letter in "YZ" else "0" for letter in word), 2)
        out.append((x, z))
    return tuple(out)
