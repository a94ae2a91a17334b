"""Exact moments of measurement groups from state vectors, sharing no code with the package: for its tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.estimation import Group
from varq.problems import Molecule
from varq.problems.pauli import PauliSum

GATES = {
    "H": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
    "S": np.diag([1, 1j]),
    "Sdg": np.diag([1, -1j]),
    "CNOT": np.eye(4)[[0, 1, 3, 2]],
    "CZ": np.diag([1, 1, 1, -1]),
    "SWAP": np.eye(4)[[0, 2, 1, 3]],
}
LETTERS = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}


def turned(gates: Any, state: NDArray[Any], wires: int) -> NDArray[Any]:
    """Gates applied to a state vector (or to the columns of a matrix); wire 0 is the most significant bit."""
    out = np.asarray(state, complex).reshape(*(2,) * wires, -1)
    for name, where in gates:
        matrix = GATES[name].reshape((2,) * (2 * len(where)))
        out = np.tensordot(matrix, out, axes=(range(len(where), 2 * len(where)), where))
        out = np.moveaxis(out, range(len(where)), where)
    return out.reshape(np.shape(state))


def circuit_matrix(gates: Any, wires: int) -> NDArray[Any]:
    return turned(gates, np.eye(1 << wires), wires)


def word_matrix(word: str) -> NDArray[Any]:
    out = np.eye(1)
    for letter in word:
        out = np.kron(out, LETTERS[letter])
    return out


def letters(x: int, z: int, wires: int) -> str:
    return "".join("IXZY"[(x >> w & 1) + 2 * (z >> w & 1)] for w in range(wires))


def all_bits(wires: int) -> NDArray[Any]:
    """Every outcome as bits, shape (2^wires, wires), in the order of state vectors."""
    return (np.arange(1 << wires)[:, None] >> np.arange(wires - 1, -1, -1)) & 1


def probabilities(group: Group, state: NDArray[Any], wires: int) -> NDArray[np.float64]:
    return np.abs(turned(group.gates, state, wires)) ** 2


def moments(group: Group, state: NDArray[Any], wires: int) -> tuple[float, float]:
    """The exact mean and variance of one shot."""
    chances, energies = probabilities(group, state, wires), group.energies(all_bits(wires))
    mean = float(chances @ energies)
    return mean, float(chances @ (energies - mean) ** 2)


@cache
def ground_state(name: str) -> tuple[PauliSum, float, NDArray[Any]]:
    """A shipped molecule's Hamiltonian, its lowest energy and the state that has it."""
    pauli = Molecule.load(name).pauli
    matrix = pauli.sparse().toarray()
    energies, states = np.linalg.eigh(matrix.real)
    assert not np.any(matrix.imag)
    return pauli, float(energies[0]), states[:, 0]
