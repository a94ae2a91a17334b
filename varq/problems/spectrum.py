"""Matrices and lowest eigenvalues of Pauli sums, on all basis states or on a sector of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy.sparse as sps
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from varq import checks
from varq.keys import Key

__all__ = [
    "DENSE",
    "MOST_ENTRIES",
    "MOST_STATES",
    "Terms",
    "apply",
    "decompose",
    "lowest",
    "lowest_of_matrix",
    "matrix",
]

DENSE = 256  # basis states up to which LAPACK is faster than Lanczos
MOST_STATES = 1 << 20  # a vector of 8 MB; Lanczos holds some twenty
MOST_ENTRIES = 1 << 27  # matrix entries or stored diagonal entries: one gigabyte of float64
MOST_SIGNS = 1 << 32  # (basis state, term) pairs looked at to build a sector's matrix: below a minute
STORED = (
    1 << 25
)  # matrix entries up to which Lanczos uses a sparse matrix, 400 MB; above, words are applied by reversing axes
PRECISION = 1e-10  # relative residual at which Lanczos stops: the error of an eigenvalue goes with its square
RESIDUAL = 1e-9  # largest |H v - E v| relative to the sum of |coefficients| that counts as an eigenvector
LEAK = 1e-10  # largest element leading out of a sector, relative to the sum of |coefficients|, that counts as rounding

Vector = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Terms:
    """The words of a Pauli sum with masks over basis-state indices: bit `wires-1-k` belongs to wire k.

    A word takes |b> to factor (-1)^|z&b| |b^x>. Words are sorted by `x`: those of one `x` share one permutation, and
    `starts` holds the first of each group.
    """

    wires: int
    x: NDArray[np.int64]
    z: NDArray[np.int64]
    factors: Vector
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, wires: int, x: NDArray[np.uint64], z: NDArray[np.uint64], coefficients: Vector) -> Terms:
        """The terms of masks in which bit k belongs to wire k."""
        turns = np.bitwise_count(x & z) & 3
        factors = coefficients * np.array([1, 1j, -1, -1j])[turns]
        if not factors.imag.any():
            factors = factors.real
        ix, iz = _reversed(x, wires), _reversed(z, wires)
        order = np.argsort(ix, kind="stable")
        ix, iz, factors = ix[order], iz[order], factors[order]
        starts = np.flatnonzero(np.concatenate([[True], ix[1:] != ix[:-1]])) if len(ix) else np.zeros(0, np.int64)
        return cls(wires, ix, iz, factors, starts)

    @property
    def states(self) -> int:
        """Number of basis states."""
        return 1 << self.wires

    @property
    def scale(self) -> float:
        """Sum of the magnitudes: an upper bound of the norm."""
        return float(np.abs(self.factors).sum())

    @property
    def groups(self) -> list[slice]:
        """The slices of words that share their X mask."""
        ends = np.append(self.starts[1:], len(self.x))
        return [slice(int(a), int(b)) for a, b in zip(self.starts, ends[: len(self.starts)], strict=True)]

    def diagonal(self, group: slice, states: NDArray[np.int64]) -> Vector:
        """The element <b^x| group |b> for each b in `states`."""
        out = np.zeros(len(states), dtype=self.factors.dtype)
        for z, factor in zip(self.z[group], self.factors[group], strict=True):
            out += factor * (1 - 2 * (np.bitwise_count(states & z) & 1).astype(np.int8))
        return out

    def full_diagonal(self, group: slice) -> Vector:
        """`diagonal` on all basis states, by a Walsh-Hadamard transform where that is less work."""
        if group.stop - group.start <= 2 * self.wires:
            return self.diagonal(group, np.arange(self.states))
        out = np.zeros(self.states, dtype=self.factors.dtype)
        np.add.at(out, self.z[group], self.factors[group])
        for bit in range(self.wires):
            pairs = out.reshape(-1, 2, 1 << bit)
            out = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        return out

    @cached_property
    def diagonals(self) -> list[tuple[int, Vector]]:
        """(X mask, diagonal) of each group, on all basis states."""
        return [(int(self.x[g.start]), self.full_diagonal(g)) for g in self.groups]


def _reversed(mask: NDArray[np.uint64], wires: int) -> NDArray[np.int64]:
    out = np.zeros(len(mask), dtype=np.int64)
    for k in range(wires):
        out |= ((mask >> np.uint64(k)) & np.uint64(1)).astype(np.int64) << (wires - 1 - k)
    return out


def _flip(values: Vector, mask: int, wires: int) -> Vector:
    """`values` permuted by b -> b ^ mask, as a copy-free view: runs of set bits become reversed axes."""
    shape: list[int] = []
    steps: list[slice] = []
    bits = [(mask >> (wires - 1 - k)) & 1 for k in range(wires)]
    for k, bit in enumerate(bits):
        # Reversing an axis of length 2^m flips m neighbouring bits at once.
        if k and bits[k - 1] == bit:
            shape[-1] *= 2
        else:
            shape.append(2)
            steps.append(slice(None, None, -1) if bit else slice(None))
    return values.reshape(shape)[tuple(steps)]


def _fits(terms: Terms) -> bool:
    return terms.states <= MOST_STATES and len(terms.starts) * terms.states <= MOST_ENTRIES


def apply(terms: Terms, state: Vector) -> Vector:
    """The sum applied to a vector over all basis states.

    Raises:
        ValueError: if the groups' diagonals would not fit into memory.
    """
    if not _fits(terms):
        raise ValueError(f"A Pauli sum with {len(terms.starts)} X masks on {terms.wires} wires is too large to apply.")
    out = np.zeros(terms.states, dtype=np.result_type(state, terms.factors))
    for mask, diagonal in terms.diagonals:
        product = diagonal * state
        out += product if not mask else _flip(product, mask, terms.wires).reshape(-1)
    return out


def matrix(terms: Terms) -> Any:
    """The matrix on all basis states as CSR, explicit zeros left out."""
    if not _fits(terms):
        raise ValueError(
            f"The matrix of a Pauli sum with {len(terms.starts)} X masks on {terms.wires} wires is too large."
        )
    states = np.arange(terms.states)
    groups = len(terms.starts)
    columns = np.empty((terms.states, groups), dtype=np.int32)
    data = np.empty((terms.states, groups), dtype=terms.factors.dtype)
    for k, group in enumerate(terms.groups):
        columns[:, k] = states ^ terms.x[group.start]
        data[:, k] = terms.full_diagonal(group)[columns[:, k]]
    pointers = np.arange(terms.states + 1) * groups
    out = sps.csr_array((data.ravel(), columns.ravel(), pointers), shape=(terms.states, terms.states))
    out.eliminate_zeros()
    return out


def _sector(sector: Any, states: int) -> NDArray[np.int64]:
    out = checks.array("sector", sector, (None,), np.int64)
    if not len(out) or len(np.unique(out)) != len(out) or out.min() < 0 or out.max() >= states:
        raise ValueError(f"sector must hold different basis-state indices from 0 to {states - 1}, at least one.")
    return np.sort(out)


def _sector_matrix(terms: Terms, sector: NDArray[np.int64]) -> Any | None:
    """The matrix on `sector` as CSR, or None if it is too large."""
    if len(sector) > MOST_STATES or len(sector) * len(terms.x) > MOST_SIGNS:
        return None
    rows, columns, data, entries = [], [], [], 0
    for group in terms.groups:
        values = terms.diagonal(group, sector)
        kept = np.flatnonzero(values)
        targets = sector[kept] ^ terms.x[group.start]
        found = np.minimum(np.searchsorted(sector, targets), len(sector) - 1)
        inside = sector[found] == targets
        if (np.abs(values[kept[~inside]]) > LEAK * terms.scale).any():
            raise ValueError("sector must be closed: the Pauli sum leads from its basis states to others.")
        kept, found = kept[inside], found[inside]
        entries += len(kept)
        if entries > MOST_ENTRIES // 2:
            return None
        rows.append(found)
        columns.append(kept)
        data.append(values[kept])
    if not entries:
        return sps.csr_array((len(sector), len(sector)))
    parts = (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns)))
    return sps.csr_array(parts, shape=(len(sector), len(sector)))


def lowest(terms: Terms, count: int, sector: Any = None) -> NDArray[np.float64] | None:
    """The `count` lowest eigenvalues on all basis states or on `sector`; None where out of reach."""
    chosen = None if sector is None else _sector(sector, terms.states)
    size = terms.states if chosen is None else len(chosen)
    checks.integer("count", count, 1, size, "There are no more eigenvalues than basis states.")
    if chosen is not None:
        held = _sector_matrix(terms, chosen)
    elif not terms.x.any() and terms.states <= 16 * MOST_STATES:
        diagonal = terms.full_diagonal(slice(0, len(terms.x))).real
        return np.sort(np.partition(diagonal, count - 1)[:count])
    elif not _fits(terms):
        held = None
    else:
        held = matrix(terms) if terms.states * len(terms.starts) <= STORED else _linear(terms)
    if held is None:
        return None
    if size <= DENSE:
        return cast(NDArray[np.float64], np.linalg.eigvalsh(held.toarray())[:count])
    return _lanczos(held, size, count, terms.scale)


def lowest_of_matrix(held: Any, count: int) -> NDArray[np.float64] | None:
    """The `count` lowest eigenvalues of a sparse Hermitian matrix; None where out of reach."""
    size = held.shape[0]
    if size <= DENSE:
        return cast(NDArray[np.float64], np.linalg.eigvalsh(held.toarray())[:count])
    # The largest row sum of magnitudes bounds the norm.
    return _lanczos(held, size, count, float(abs(held).sum(axis=1).max())) if size <= MOST_STATES else None


def decompose(dense: NDArray[np.complex128]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], Vector]:
    """All 4^n Pauli words of a matrix, as masks in which bit k belongs to wire k, and their coefficients.

    One Walsh-Hadamard transform for each X mask: n 4^n operations.
    """
    size = len(dense)
    wires = size.bit_length() - 1
    index = np.arange(size, dtype=np.int64)
    values = dense[index ^ index[:, None], index]
    for bit in range(wires):
        pairs = values.reshape(size, -1, 2, 1 << bit)
        values = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
    masks = _reversed(index.astype(np.uint64), wires).astype(np.uint64)
    x, z = np.repeat(masks, size), np.tile(masks, size)
    back = np.array([1, -1j, -1, 1j])[np.bitwise_count(x & z) & 3]
    return x, z, values.ravel() * back / size


def _linear(terms: Terms) -> Any:
    size = terms.states
    return LinearOperator((size, size), matvec=lambda v: apply(terms, v.reshape(-1)), dtype=terms.factors.dtype)


def _lanczos(held: Any, size: int, count: int, scale: float) -> NDArray[np.float64] | None:
    """Eigenvalues one by one, those found lifted above the spectrum, so that no copy of a degenerate one is missed."""
    found: list[Vector] = []
    values: list[float] = []
    for number in range(count):
        # Random entries, always the same: a symmetric start vector could be orthogonal to the lowest state, and one
        # vector for all would miss the further states of a degenerate level.
        start = Key.from_seed(0).fold("lanczos", number).generator().standard_normal(size)
        lifted = LinearOperator((size, size), matvec=_lift(held, found, 2 * scale), dtype=held.dtype)
        try:
            value, vector = eigsh(lifted, k=1, which="SA", v0=start, maxiter=6000, tol=PRECISION)
        except ArpackNoConvergence:
            return None
        state = vector[:, 0]
        if np.linalg.norm(held @ state - value[0] * state) > RESIDUAL * max(scale, 1e-300):
            return None
        found.append(state)
        values.append(float(value[0]))
    return np.sort(np.array(values))


def _lift(held: Any, found: list[Vector], by: float) -> Callable[[Vector], Vector]:
    def matvec(v: Vector) -> Vector:
        v = v.reshape(-1)
        out = held @ v
        for state in found:
            out = out + by * np.vdot(state, v) * state
        return cast(Vector, out)

    return matvec
