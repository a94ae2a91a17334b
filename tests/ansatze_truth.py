"""Dense matrices that know nothing of the package: ladder operators, excitations, states; wire 0 is the leading bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from scipy.linalg import expm

ROUNDING = 1e-10  # a few hundred gates on float64 state vectors

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}
LOWER = np.array([[0, 1], [0, 0]])

Matrix = NDArray[Any]


def word(letters: str) -> Matrix:
    """The matrix of a Pauli word such as "XIZ"."""
    return reduce(np.kron, [PAULI[c] for c in letters])


def one(letter: str, wire: int, wires: int) -> Matrix:
    """The matrix of one Pauli operator on one wire."""
    return word("".join(letter if k == wire else "I" for k in range(wires)))


def lower(p: int, wires: int) -> Matrix:
    """The Jordan-Wigner annihilator of spin orbital p."""
    return reduce(np.kron, [PAULI["Z"]] * p + [LOWER] + [PAULI["I"]] * (wires - p - 1))


def raising(excitation: tuple[tuple[int, ...], tuple[int, ...]], wires: int) -> Matrix:
    """a_a+ a_b+ a_j a_i for ((i, j), (a, b)), or a_a+ a_i for ((i,), (a,))."""
    lose, gain = excitation
    create = [lower(a, wires).T for a in gain]
    destroy = [lower(i, wires) for i in reversed(lose)]
    return reduce(np.matmul, create + destroy)


def rotation(angle: float, excitation: tuple[tuple[int, ...], tuple[int, ...]], wires: int) -> Matrix:
    """exp(angle/2 (T - T+))."""
    t = raising(excitation, wires)
    return np.asarray(expm(angle / 2 * (t - t.T)))


def number(wires: int, spin: int) -> Matrix:
    """How many electrons of a spin there are, on interleaved wires."""
    return sum(lower(p, wires).T @ lower(p, wires) for p in range(spin, wires, 2))


def total_spin(wires: int) -> Matrix:
    """S^2 on interleaved wires."""
    up = sum(lower(p, wires).T @ lower(p + 1, wires) for p in range(0, wires, 2))
    z = (number(wires, 0) - number(wires, 1)) / 2
    return up @ up.T + z @ z - z


def molecule(h1: Matrix, eri: Matrix, constant: float) -> Matrix:
    """The Hamiltonian of real integrals in chemists' order."""
    n = len(h1)
    a = [lower(p, 2 * n) for p in range(2 * n)]
    out = constant * np.eye(4**n)
    for p, q in product(range(n), repeat=2):
        for s in (0, 1):
            out += h1[p, q] * a[2 * p + s].T @ a[2 * q + s]
    for p, q, r, t in product(range(n), repeat=4):
        if eri[p, q, r, t]:
            for s, u in product((0, 1), repeat=2):
                left = a[2 * p + s].T @ a[2 * r + u].T
                out += 0.5 * eri[p, q, r, t] * left @ a[2 * t + u] @ a[2 * q + s]
    return out


def basis_state(bits: Any) -> Matrix:
    """The vector of a computational basis state."""
    out = np.zeros(2 ** len(bits))
    out[int("".join(str(int(b)) for b in bits), 2)] = 1
    return out


def state(circuit: Callable[[Any], None], params: Any, wires: int, device: str = "default.qubit") -> Matrix:
    """The state vector that a circuit prepares."""
    node = qml.QNode(lambda p: (circuit(p), qml.state())[1], qml.device(device, wires=wires), interface=None)
    return np.asarray(node(params))


def expectation(circuit: Callable[[Any], None], params: Any, wires: int, matrix: Matrix) -> float:
    """The expectation value of a matrix in the state that a circuit prepares."""
    vector = state(circuit, params, wires)
    return float(np.real(vector.conj() @ matrix @ vector))


def same_ray(one_state: Matrix, other: Matrix) -> float:
    """How far two normalized vectors are from being equal up to a phase."""
    return float(1 - abs(np.vdot(one_state, other)))
