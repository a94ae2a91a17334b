"""Exact diagonalization over determinants: the reference of small molecules, independent of any qubit map.

The Hamiltonian acts as sum k_pq E_pq + 1/2 sum (pq|rs) E_pq E_rs, with E_pq the spin-summed a_p^ a_q and
k_pq = h_pq - 1/2 sum_r (pr|rq), on an array of amplitudes, one axis for the
determinants of each spin: rows for up, columns for down.

Source: P. J. Knowles, N. C. Handy, Chem. Phys. Lett. 111, 315 (1984).
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import scipy.sparse as sps
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from varq import checks
from varq.keys import Key
from varq.problems.integrals import Integrals

__all__ = ["MOST_DETERMINANTS", "dimension", "lowest"]

MOST_DETERMINANTS = 50_000  # half a minute on one core
DENSE = 400  # determinants up to which a full diagonalization is faster
RESIDUAL = 1e-8  # hartree; largest |H v - E v| that counts as an eigenvector: its energy is then off by 1e-16 / gap
PURE = 1e-6  # largest S^2 that counts as a singlet
SPIN_LIFTS = (1.0, 10.0, 100.0)  # hartree for each unit of S^2, tried until the lowest state is a singlet

Array = NDArray[np.float64]


def dimension(integrals: Integrals) -> int:
    """The number of determinants with the given electrons of either spin.

    Example:
        >>> dimension(Integrals(np.eye(4), np.zeros((4, 4, 4, 4)), 0.0, (2, 1)))
        24
    """
    return comb(integrals.orbitals, integrals.electrons[0]) * comb(integrals.orbitals, integrals.electrons[1])


def lowest(integrals: Integrals, singlet: bool = False) -> float | None:
    """The lowest energy in hartree with the given electrons of either spin, or None where it is out of reach.

    Args:
        integrals: the molecule.
        singlet: only states of total spin 0; without it, any spin that the electrons allow counts: of two electrons,
            one up and one down, the lowest state may be a triplet.

    Raises:
        ValueError: for a singlet with unequal numbers of electrons up and down.

    Example:
        >>> round(lowest(Integrals(np.diag([-1.0, 0.5]), np.zeros((2, 2, 2, 2)), 0.25, (1, 1))), 12)
        -1.75
    """
    checks.instance("integrals", integrals, Integrals)
    up, down = integrals.electrons
    if singlet and up != down:
        raise ValueError(f"A singlet needs as many electrons up as down. Got {up} up and {down} down.")
    if dimension(integrals) > MOST_DETERMINANTS:
        return None
    space = _Space(integrals)
    if not singlet:
        return _energy(space, 0.0)[0]
    for lift in SPIN_LIFTS:
        energy, spin = _energy(space, lift)
        if energy is None or abs(spin) < PURE:
            return energy
    return None


def _energy(space: _Space, lift: float) -> tuple[float | None, float]:
    """The lowest eigenvalue of H + lift S^2, and S^2 in its state."""
    size = int(np.prod(space.shape))

    def act(vector: Array) -> Array:
        amplitudes = vector.reshape(space.shape)
        out = space.hamiltonian(amplitudes)
        if lift:
            out = out + lift * space.spin_squared(amplitudes)
        return out.ravel()

    if size <= DENSE:
        values, vectors = np.linalg.eigh(np.stack([act(unit) for unit in np.eye(size)]))
        value, vector = values[0], vectors[:, 0]
    else:
        # Random entries, always the same: a symmetric start could be orthogonal to the lowest state.
        start = Key.from_seed(0).fold("determinants").generator().standard_normal(size)
        operator = LinearOperator((size, size), matvec=act, dtype=np.float64)
        try:
            found, states = eigsh(operator, k=1, which="SA", v0=start, tol=0, ncv=min(size, 40), maxiter=500)
        except ArpackNoConvergence:
            return None, np.nan
        value, vector = found[0], states[:, 0]
        if np.linalg.norm(act(vector) - value * vector) > RESIDUAL * max(1.0, abs(value)):
            return None, np.nan
    amplitudes = vector.reshape(space.shape)
    return float(value) + space.constant, float(np.vdot(amplitudes, space.spin_squared(amplitudes)))


class _Space:
    """The determinants of a molecule, and how its Hamiltonian and S^2 act on their amplitudes."""

    def __init__(self, integrals: Integrals) -> None:
        n, (up, down) = integrals.orbitals, integrals.electrons
        self.orbitals, self.up, self.down, self.constant = n, up, down, integrals.constant
        self.shape = (comb(n, up), comb(n, down))
        self.hop_up, self.hop_down = _hops(n, up), _hops(n, down)
        # Real orbitals: E_pq comes only with E_qp, so half of the pairs carry the Hamiltonian.
        p, q = np.tril_indices(n)
        both = sps.csr_array(
            (np.ones(2 * len(p)), (np.tile(np.arange(len(p)), 2), np.concatenate([p * n + q, q * n + p])))
        )
        both.data[:] = 1.0  # E_pp once
        self.pair_up, self.pair_down = (
            sps.csr_array(sps.kron(both, sps.eye_array(size)) @ hop)
            for size, hop in zip(self.shape, (self.hop_up, self.hop_down), strict=True)
        )
        single = integrals.h1 - np.einsum("prrq->pq", integrals.h2) / 2
        self.single = single[p, q]
        self.double = np.ascontiguousarray(integrals.h2[p, q][:, p, q]) / 2

    def hamiltonian(self, amplitudes: Array) -> Array:
        """The Hamiltonian without its constant."""
        (rows, columns), pairs = self.shape, len(self.single)
        hopped = (self.pair_up @ amplitudes).reshape(pairs, rows, columns)
        hopped += (self.pair_down @ amplitudes.T).reshape(pairs, columns, rows).transpose(0, 2, 1)
        shifted = (self.double @ hopped.reshape(pairs, -1)).reshape(pairs, rows, columns)
        shifted += self.single[:, None, None] * amplitudes
        left = self.pair_up.T @ shifted.reshape(-1, columns)
        right = self.pair_down.T @ shifted.transpose(0, 2, 1).reshape(-1, rows)
        return np.asarray(left + right.T)

    def spin_squared(self, amplitudes: Array) -> Array:
        """S_z (S_z + 1) + N_down - sum over p, q of E_qp of spin up times E_pq of spin down."""
        n, (rows, columns) = self.orbitals, self.shape
        down = (self.hop_down @ amplitudes.T).reshape(-1, columns, rows).transpose(0, 2, 1)
        exchanged = self.hop_up.T @ down.reshape(n * n * rows, columns)
        sz = (self.up - self.down) / 2
        return np.asarray((sz * (sz + 1) + self.down) * amplitudes - exchanged)


def _hops(orbitals: int, electrons: int) -> Any:
    """a_p^ a_q on the determinants of one spin, all p, q stacked: CSR of shape (orbitals^2 strings, strings)."""
    strings = np.array([sum(1 << k for k in c) for c in combinations(range(orbitals), electrons)], dtype=np.int64)
    place = np.argsort(strings)
    ordered = strings[place]
    p, q = (index.ravel()[:, None] for index in np.indices((orbitals, orbitals)))
    emptied = strings ^ (1 << q)
    allowed = ((strings >> q) & 1 == 1) & ((emptied >> p) & 1 == 0)
    targets = emptied | (1 << p)
    below = np.bitwise_count(strings & ((1 << q) - 1)) + np.bitwise_count(emptied & ((1 << p) - 1))
    pair, column = np.nonzero(allowed)
    rows = place[np.searchsorted(ordered, targets[pair, column])]
    signs = 1.0 - 2.0 * (below[pair, column] & 1)
    size = len(strings)
    return sps.csr_array((signs, (pair * size + rows, column)), shape=(orbitals**2 * size, size))
