"""The ground state of free fermions as a circuit: Givens rotations of neighboring orbitals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.ansatze.coupled_cluster import hartree_fock
from varq.ansatze.excitations import excite

__all__ = ["givens_angles", "hopping_matrix", "lowest_orbitals", "prepare_fermi_sea"]

# Degenerate orbitals are told apart, so that every machine picks the same ones, by making the first bonds stronger.  Of
# a half-filled ring of four this picks the determinant from which layers of bonds can reach the ground state; a site
# field alone would not.  The field separates what bonds cannot.
BOND_TILT = 1e-4
SITE_TILT = 1e-7
SMALLEST_ANGLE = 1e-12  # rotations below this are rounding

Matrix = NDArray[np.float64]


def hopping_matrix(words: Iterable[tuple[float, str]], spin: int) -> Matrix:
    """The one-electron Hamiltonian in a sum of Pauli words on interleaved Jordan-Wigner wires.

    Args:
        words: (coefficient, word), such as (-0.5, "XZXI").
        spin: 0 for up, 1 for down.

    Returns:
        Hopping and site energies, shape (orbitals, orbitals), up to a constant; interactions are left out.

    Example:
        >>> hopping_matrix([(-0.5, "XZXI"), (-0.5, "YZYI")], spin=0)
        array([[ 0., -1.],
               [-1.,  0.]])
    """
    listed = list(words)
    orbitals = len(listed[0][1]) // 2
    out = np.zeros((orbitals, orbitals))
    for weight, word in listed:
        flips = [k for k, letter in enumerate(word) if letter in "XY"]
        letters = {word[k] for k in flips}
        signs = [k for k, letter in enumerate(word) if letter == "Z"]
        if len(flips) == 2 and len(letters) == 1 and all(k % 2 == spin for k in flips):
            p, q = (k // 2 for k in flips)
            out[p, q] += weight
            out[q, p] += weight
        elif not flips and len(signs) == 1 and signs[0] % 2 == spin:
            out[signs[0] // 2, signs[0] // 2] -= 2 * weight
    return out


def lowest_orbitals(hopping: Matrix, count: int) -> Matrix:
    """The `count` lowest orbitals of a one-electron Hamiltonian as rows, shape (count, orbitals).

    Degenerate orbitals are told apart by a field of `SITE_TILT`.
    """
    field = SITE_TILT * np.sqrt(2 + np.arange(len(hopping)))
    _, columns = np.linalg.eigh(hopping + np.diag(field))
    return np.ascontiguousarray(columns[:, :count].T)


def givens_angles(orbitals: Matrix) -> list[tuple[float, int]]:
    """Rotations that turn the first N orbitals into the span of the N given rows, in the order they are applied.

    Args:
        orbitals: orthonormal rows, shape (N, M).

    Returns:
        (angle, p): the rotation of orbital p towards p + 1 by angle/2 radians.  N (M - N) at most.

    References:
        Wecker et al., Phys. Rev. A 92, 062318 (2015); Kivlichan et al., Phys. Rev. Lett. 120, 110501 (2018).
    """
    count, size = orbitals.shape
    rows = _trapezoid(orbitals)
    found: list[tuple[float, int]] = []
    for r in range(count):
        for column in range(size - count + r, r, -1):
            p = column - 1
            half = float(np.arctan2(rows[r, column], rows[r, p]))
            if abs(half) > SMALLEST_ANGLE:
                found.append((2 * half, p))
                turn = np.array([[np.cos(half), -np.sin(half)], [np.sin(half), np.cos(half)]])
                rows[:, [p, column]] = rows[:, [p, column]] @ turn
    return found[::-1]


def _trapezoid(orbitals: Matrix) -> Matrix:
    """Rows of the same span whose row r is zero beyond column M - N + r: mixing filled orbitals is only a phase."""
    count, size = orbitals.shape
    q, _ = np.linalg.qr(orbitals[:, size - count :][:, ::-1])
    return np.asarray((q.T @ orbitals)[::-1])


def prepare_fermi_sea(words: Iterable[tuple[float, str]], electrons: tuple[int, int]) -> None:
    """Queue the ground state of the one-electron part of `words` with `electrons` (up, down), from |0...0>.

    Args:
        words: as for `hopping_matrix`; earlier ones win where orbitals are degenerate.
        electrons: (spin up, spin down).
    """
    given = list(words)
    tilted = [(weight * _tilt(word, 1 - k / len(given)), word) for k, (weight, word) in enumerate(given)]
    wires = len(tilted[0][1])
    qml.BasisState(hartree_fock(electrons, wires // 2), wires=range(wires))
    for spin, count in enumerate(electrons):
        _fill(lowest_orbitals(hopping_matrix(tilted, spin), count), spin)


def _tilt(word: str, rank: float) -> float:
    return 1.0 if set(word) <= {"I", "Z"} else 1 + BOND_TILT * rank


def _fill(orbitals: Any, spin: int) -> None:
    for angle, p in givens_angles(orbitals):
        excite(angle, ((2 * p + spin,), (2 * p + 2 + spin,)))
