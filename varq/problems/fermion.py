r"""Fermion-to-qubit maps on arrays: Jordan-Wigner, parity and Bravyi-Kitaev.

All three store the occupations f of the modes in qubits q = A f (mod 2), with A a matrix of bits: the identity, the
running sums, or the partial sums of a binary tree.  Three bit masks for each mode j say the rest:

* U_j, column j of A: the qubits that change when mode j does;
* P_j, rows 0 .. j-1 of A^-1 added up: the qubits whose parity is that of the modes before j;
* F_j, row j of A^-1: the qubits whose parity is the occupation of j.

Then a_j + a_j^dagger = X^U Z^P and a_j^dagger - a_j = X^U Z^(P+F), and the product of two such words adds their masks
and takes a sign.

Modes are spin orbitals, interleaved: 2p is spatial orbital p with spin up, 2p+1 with spin down.  Mode j of the
Jordan-Wigner map is wire j.

Source: J. T. Seeley, M. J. Richard, P. J. Love, J. Chem. Phys. 137, 224109 (2012), arXiv:1208.5986.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.problems.integrals import check_symmetries, electron_pair
from varq.problems.pauli import MOST_WIRES, PauliSum

__all__ = [
    "MAPS",
    "bravyi_kitaev",
    "decode",
    "encode",
    "encoding",
    "jordan_wigner",
    "ladder_sum",
    "number",
    "parity",
    "qubits",
    "sector",
    "spin_squared",
    "spin_z",
]

CUTOFF = 1e-12  # hartree; Pauli words below this are the rounding of terms that cancel

Bits = NDArray[np.uint8]
Words = tuple[NDArray[np.uint64], NDArray[np.uint64]]


# -- the three matrices --------------------------------------------------------------------------------------------


def _identity(modes: int) -> Bits:
    return np.eye(modes, dtype=np.uint8)


def _running(modes: int) -> Bits:
    return np.tri(modes, dtype=np.uint8)


def _tree(modes: int) -> Bits:
    """Each qubit holds the sum of its subtree: two copies side by side, the last qubit joining both; cut to size."""
    out = np.ones((1, 1), dtype=np.uint8)
    while len(out) < modes:
        out = np.kron(np.eye(2, dtype=np.uint8), out)
        out[-1] = 1
    return np.ascontiguousarray(out[:modes, :modes])


MAPS = MappingProxyType({"jordan-wigner": _identity, "parity": _running, "bravyi-kitaev": _tree})
"""The matrix A of each map by name, as a function of the number of modes."""


def _inverse(matrix: Bits) -> Bits:
    """The inverse over the field of two elements, for a lower triangle with a diagonal of ones."""
    rows = np.hstack([matrix, np.eye(len(matrix), dtype=np.uint8)])
    for pivot in range(len(matrix)):
        below = rows[pivot + 1 :, pivot].astype(bool)
        rows[pivot + 1 :][below] ^= rows[pivot]
    return rows[:, len(matrix) :]


def _mask(bits: Bits) -> NDArray[np.uint64]:
    """Rows of bits as masks: column k is bit k."""
    return bits.astype(np.uint64) @ (np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64))


@dataclass(frozen=True, eq=False)
class _Code:
    """The masks of one map on so many modes; arrays of shape (modes,)."""

    update: NDArray[np.uint64]
    before: NDArray[np.uint64]
    own: NDArray[np.uint64]
    matrix: Bits
    inverse: Bits

    @property
    def plus(self) -> Words:
        """a^dagger + a of every mode."""
        return self.update, self.before

    @property
    def minus(self) -> Words:
        """a^dagger - a of every mode."""
        return self.update, self.before ^ self.own


@lru_cache(maxsize=32)
def _code(mapping: str, modes: int) -> _Code:
    checks.choice("mapping", mapping, MAPS)
    checks.integer("modes", modes, 1, MOST_WIRES)
    matrix = MAPS[mapping](modes)
    inverse = _inverse(matrix)
    earlier = ((np.tri(modes, k=-1, dtype=np.uint8) @ inverse) & 1).astype(np.uint8)
    return _Code(_mask(matrix.T), _mask(earlier), _mask(inverse), matrix, inverse)


def encoding(mapping: str, modes: int) -> Bits:
    """The matrix A of a map: qubits = A occupations (mod 2), shape (modes, modes).

    Args:
        mapping: "jordan-wigner", "parity" or "bravyi-kitaev".
        modes: number of spin orbitals, 1 to 63.

    Raises:
        ValueError: for an unknown map or too many modes.

    Example:
        >>> encoding("bravyi-kitaev", 4).tolist()
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]]
    """
    return _code(mapping, modes).matrix.copy()


def encode(occupations: Any, mapping: str = "jordan-wigner") -> Bits:
    """The qubits that stand for `occupations`, both of shape (..., modes), entries 0 or 1.

    Raises:
        ValueError: if an entry is neither 0 nor 1, or for an unknown map.

    Example:
        >>> encode([1, 1, 0, 0], "parity").tolist()
        [1, 0, 0, 0]
    """
    return _linear("occupations", occupations, mapping, inverse=False)


def decode(bits: Any, mapping: str = "jordan-wigner") -> Bits:
    """The occupations that the qubits `bits` stand for: the inverse of `encode`.

    Raises:
        ValueError: if an entry is neither 0 nor 1, or for an unknown map.

    Example:
        >>> decode([1, 0, 0, 0], "parity").tolist()
        [1, 1, 0, 0]
    """
    return _linear("bits", bits, mapping, inverse=True)


def _linear(name: str, value: Any, mapping: str, inverse: bool) -> Bits:
    bits = checks.array(name, value, dtype=np.int64)
    if bits.ndim < 1 or not np.isin(bits, (0, 1)).all():
        raise ValueError(f"{name} must hold zeros and ones, shape (..., modes). Got {value!r}.")
    code = _code(mapping, bits.shape[-1])
    matrix = code.inverse if inverse else code.matrix
    return ((bits.astype(np.uint8) @ matrix.T) & 1).astype(np.uint8)


def sector(electrons: Any, orbitals: int, mapping: str = "jordan-wigner") -> NDArray[np.int64]:
    """The basis states with so many electrons of either spin, in rising order: for `PauliSum.lowest(sector=...)`.

    Args:
        electrons: (spin up, spin down), or one even number for a closed shell.
        orbitals: spatial orbitals.
        mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

    Returns:
        Indices in PennyLane's order: wire 0 is the most significant bit.

    Raises:
        ValueError: if the electrons do not fit, or for an unknown map.

    Example:
        >>> [f"{state:04b}" for state in sector((1, 1), 2)]
        ['0011', '0110', '1001', '1100']
    """
    count = checks.integer("orbitals", orbitals, 1, MOST_WIRES // 2)
    up, down = (
        np.array([[int(p in chosen) for p in range(count)] for chosen in combinations(range(count), n)], dtype=np.int64)
        for n in electron_pair(electrons, count)
    )
    both = np.stack(np.broadcast_arrays(up[:, None], down[None]), axis=-1).reshape(-1, 2 * count)
    places = np.int64(1) << np.arange(2 * count, dtype=np.int64)[::-1]
    return np.sort(encode(both, mapping).astype(np.int64) @ places)


# -- Hamiltonians --------------------------------------------------------------------------------------------------


def qubits(mapping: str, h1: Any, h2: Any = None, constant: float = 0.0) -> PauliSum:
    r"""The electronic Hamiltonian on qubits, by the map of that name.

    .. math:: H = c + \sum_{pq\sigma} h_{pq} a^\dagger_{p\sigma} a_{q\sigma}
        + \frac12 \sum_{pqrs\sigma\tau} (pq|rs) a^\dagger_{p\sigma} a^\dagger_{r\tau} a_{s\tau} a_{q\sigma}

    Args:
        mapping: "jordan-wigner", "parity" or "bravyi-kitaev".
        h1: real and symmetric, shape (orbitals, orbitals), at most 31 orbitals.
        h2: (pq|rs) in chemist's order with its eight symmetries, shape (orbitals,) * 4; None for none.
        constant: added to the identity.

    Returns:
        The sum of Pauli words on 2 orbitals wires, with real coefficients.

    Raises:
        ValueError: for an unknown map, wrong shapes, missing symmetries (integrals in physicist's order lack them), or
            too many orbitals.
    """
    one = checks.array("h1", h1, (None, None))
    n = len(one)
    checks.shape("h1", one, (n, n))
    two = np.zeros((n,) * 4) if h2 is None else checks.array("h2", h2, (n,) * 4)
    check_symmetries(one, two)
    constant = checks.real("constant", constant)
    code = _code(mapping, 2 * n)
    modes = np.arange(2 * n).reshape(n, 2)
    # With K_pq = sum over spins of (a_p^ - a_p)(a_q^ + a_q), symmetric integrals see sums of a_p^ a_q over both spins
    # only as K_pq / 2 + delta_pq: each hop is one word, not four.
    hop_x, hop_z, hop_sign = _times(_at(code.minus, modes[:, None]), _at(code.plus, modes[None]))
    half = one - np.einsum("prrq->pq", two) / 2
    single = half / 2 + np.einsum("pprs->rs", two) / 2
    scalar = constant + np.trace(half) + np.einsum("pprr->", two) / 2
    p, q, r, s = np.nonzero(two)
    left, right = (hop_x[p, q, :, None], hop_z[p, q, :, None]), (hop_x[r, s, None, :], hop_z[r, s, None, :])
    x, z, sign = _times(left, right)
    double = two[p, q, r, s][:, None, None] / 8 * sign * hop_sign[p, q, :, None] * hop_sign[r, s, None, :]
    return _real_sum(
        2 * n,
        np.concatenate([np.zeros(1, np.uint64), hop_x.ravel(), x.ravel()]),
        np.concatenate([np.zeros(1, np.uint64), hop_z.ravel(), z.ravel()]),
        np.concatenate([[scalar], (single[:, :, None] * hop_sign).ravel(), double.ravel()]),
    )


def jordan_wigner(h1: Any, h2: Any = None, constant: float = 0.0) -> PauliSum:
    """The electronic Hamiltonian by the map in which wire j holds the occupation of mode j; see `qubits`.

    Example:
        >>> jordan_wigner([[0.0, -1.0], [-1.0, 0.0]]).words()
        [(-0.5, 'XZXI'), (-0.5, 'YZYI'), (-0.5, 'IXZX'), (-0.5, 'IYZY')]
    """
    return qubits("jordan-wigner", h1, h2, constant)


def parity(h1: Any, h2: Any = None, constant: float = 0.0) -> PauliSum:
    """The electronic Hamiltonian by the map in which wire j holds the parity of modes 0 .. j; see `qubits`.

    Example:
        >>> parity([[2.0]]).words()
        [(2.0, 'II'), (-1.0, 'ZI'), (-1.0, 'ZZ')]
    """
    return qubits("parity", h1, h2, constant)


def bravyi_kitaev(h1: Any, h2: Any = None, constant: float = 0.0) -> PauliSum:
    """The electronic Hamiltonian by the map in which wires hold partial sums of a binary tree; see `qubits`.

    Words act on O(log modes) wires for each ladder operator, against O(modes) in the other two maps.

    Example:
        >>> bravyi_kitaev([[2.0]]).words()
        [(2.0, 'II'), (-1.0, 'ZI'), (-1.0, 'ZZ')]
    """
    return qubits("bravyi-kitaev", h1, h2, constant)


def _at(words: Words, index: Any) -> Words:
    return words[0][index], words[1][index]


def _times(left: Words, right: Words) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.float64]]:
    """Products of words in the form X^x Z^z: x, z, and the sign from moving Z past X."""
    sign = 1.0 - 2.0 * (np.bitwise_count(left[1] & right[0]) & 1)
    return left[0] ^ right[0], left[1] ^ right[1], sign


def _real_sum(wires: int, x: NDArray[np.uint64], z: NDArray[np.uint64], values: NDArray[np.float64]) -> PauliSum:
    """The sum of real multiples of X^x Z^z, known to be symmetric: words with an odd number of Y cancel in it."""
    ys = np.bitwise_count(x & z)
    even = (ys & 1) == 0
    signs = 1.0 - (ys[even] & 2)
    return PauliSum(wires, x[even], z[even], values[even] * signs).simplify(CUTOFF)


# -- any product of ladder operators, and the conserved quantities ---------------------------------------------------


def ladder_sum(coefficients: Any, modes: Any, creates: Any, wires: int, mapping: str = "jordan-wigner") -> PauliSum:
    """A sum of products of ladder operators on qubits.

    Args:
        coefficients: shape (terms,), real or complex.
        modes: the modes acted on, from left to right, integers of shape (terms, factors).
        creates: whether each factor creates (or annihilates), shape (terms, factors) or (factors,).
        wires: number of modes, 1 to 63.
        mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

    Raises:
        ValueError: if shapes differ, a mode is out of range, or the map is unknown.

    Example:
        >>> ladder_sum([1.0, 1.0], [[0, 1], [1, 0]], [True, False], wires=2)
        PauliSum(2 wires, 2 terms: 0.5 XX + 0.5 YY)
    """
    code = _code(mapping, checks.integer("wires", wires, 1, MOST_WIRES))
    where = checks.array("modes", modes, (None, None), np.int64)
    up = np.broadcast_to(checks.array("creates", creates, dtype=np.bool_), where.shape)
    values = checks.array("coefficients", coefficients, (len(where),), np.complex128)
    if where.size and (where.min() < 0 or where.max() >= wires):
        raise ValueError(f"modes must be from 0 to {wires - 1}. Got {where.min()} to {where.max()}.")
    words: Words = (np.zeros((len(where), 1), np.uint64), np.zeros((len(where), 1), np.uint64))
    out = values[:, None]
    for mode, created in zip(where.T, up.T, strict=True):
        pair = [np.stack(parts, axis=1) for parts in zip(_at(code.plus, mode), _at(code.minus, mode), strict=True)]
        halves = np.stack([np.full(len(mode), 0.5), np.where(created, 0.5, -0.5)], axis=1)
        x, z, sign = _times((words[0][:, :, None], words[1][:, :, None]), (pair[0][:, None], pair[1][:, None]))
        out = (out[:, :, None] * sign * halves[:, None]).reshape(len(where), -1)
        words = x.reshape(len(where), -1), z.reshape(len(where), -1)
    ys = np.bitwise_count(words[0] & words[1]) & 3
    turned = out * np.array([1, -1j, -1, 1j])[ys]
    return PauliSum(wires, words[0].ravel(), words[1].ravel(), turned.ravel()).simplify(CUTOFF)


def _occupations(weights: NDArray[np.float64], mapping: str) -> PauliSum:
    """The sum over modes of weight times occupation: (1 - Z^F) / 2 each."""
    own = _code(mapping, len(weights)).own
    z = np.concatenate([np.zeros(1, np.uint64), own])
    return PauliSum(len(weights), np.zeros_like(z), z, np.concatenate([[weights.sum()], -weights]) / 2).simplify(CUTOFF)


def number(orbitals: int, mapping: str = "jordan-wigner") -> PauliSum:
    """The number of electrons in `orbitals` spatial orbitals.

    Example:
        >>> number(1).words()
        [(1.0, 'II'), (-0.5, 'ZI'), (-0.5, 'IZ')]
    """
    return _occupations(np.ones(2 * checks.integer("orbitals", orbitals, 1, MOST_WIRES // 2)), mapping)


def spin_z(orbitals: int, mapping: str = "jordan-wigner") -> PauliSum:
    """The spin along z: half of electrons up minus electrons down.

    Example:
        >>> spin_z(1).words()
        [(-0.25, 'ZI'), (0.25, 'IZ')]
    """
    count = checks.integer("orbitals", orbitals, 1, MOST_WIRES // 2)
    return _occupations(np.tile([0.5, -0.5], count), mapping)


def spin_squared(orbitals: int, mapping: str = "jordan-wigner") -> PauliSum:
    """The total spin S^2, with eigenvalues s (s + 1): 0 for singlets, 2 for triplets.

    It is S_z (S_z + 1) + S_- S_+ with S_- S_+ = N_down - sum over p, q of a_qu^ a_pu a_pd^ a_qd.

    Example:
        >>> spin_squared(1).words()
        [(0.375, 'II'), (-0.375, 'ZZ')]
    """
    count = checks.integer("orbitals", orbitals, 1, MOST_WIRES // 2)
    p, q = (2 * index.ravel() for index in np.indices((count, count)))
    modes = np.stack([q, p, p + 1, q + 1], axis=1)
    exchange = ladder_sum(-np.ones(len(p)), modes, [True, False, True, False], 2 * count, mapping)
    sz = spin_z(count, mapping)
    return (sz @ sz + sz + _occupations(np.tile([0.0, 1.0], count), mapping) + exchange).simplify(CUTOFF)
