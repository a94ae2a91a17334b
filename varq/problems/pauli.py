"""Sums of Pauli words as arrays of bit masks: the form in which every Hamiltonian of this package is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.pauli import PauliSentence, PauliWord

from varq import checks
from varq.problems import spectrum

__all__ = ["MOST_WIRES", "PauliSum"]

MOST_WIRES = 63  # masks are 64-bit words; the last bit stays free so that they are also valid signed integers
MATRIX_WIRES = 10  # a dense matrix of 16 MB, a million words
ROUNDING = 1e-15  # words of a matrix below this, relative to the largest, are rounding
PRODUCT_CHUNK = 1 << 22  # pairs of words multiplied at once: bounds the memory of a product to some 200 MB

Mask = NDArray[np.uint64]
_LETTERS = np.frombuffer(b"IXZY", dtype="S1")  # at position x + 2 z
_UNITS = np.array([1, 1j, -1, -1j])


@dataclass(frozen=True, eq=False, repr=False)
class PauliSum:
    """A sum of Pauli words on wires 0 .. wires-1, one array entry a word.

    Bit k of a mask belongs to wire k. A word has X or Y on the wires of its `x` mask and Z or Y on those of its `z`
    mask: Y is both. With that, word = i^|x&z| X^x Z^z, and a product of words costs a few integer operations.

    Args:
        wires: number of wires, 0 to 63.
        x: bit masks, shape (terms,).
        z: bit masks, shape (terms,).
        coefficients: shape (terms,); kept as float64 if all imaginary parts are 0, else as complex128.

    Raises:
        ValueError: if the lengths differ, a mask reaches beyond the wires, or a coefficient is not finite.

    Example:
        >>> h = PauliSum.from_words({"ZZ": -1.0, "XI": -0.5, "IX": -0.5})
        >>> h
        PauliSum(2 wires, 3 terms: -1 ZZ - 0.5 XI - 0.5 IX)
        >>> round(float(h.lowest()[0]), 6)
        -1.414214
    """

    wires: int
    x: Mask
    z: Mask
    coefficients: NDArray[Any]

    def __post_init__(self) -> None:
        wires = checks.integer("wires", self.wires, 0, MOST_WIRES)
        x, z = (_mask(name, value, wires) for name, value in (("x", self.x), ("z", self.z)))
        values = checks.array("coefficients", self.coefficients, (None,), np.complex128)
        if not len(x) == len(z) == len(values):
            raise ValueError(f"x, z and coefficients must be equally long. Got {len(x)}, {len(z)} and {len(values)}.")
        if not values.imag.any():
            values = checks.array("coefficients", values.real, (None,))
        for name, value in (("wires", wires), ("x", x), ("z", z), ("coefficients", values)):
            object.__setattr__(self, name, value)

    @classmethod
    def zero(cls, wires: int) -> PauliSum:
        """The empty sum."""
        return cls(wires, np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0))

    @classmethod
    def identity(cls, wires: int, coefficient: complex = 1.0) -> PauliSum:
        """`coefficient` times the identity."""
        return cls(wires, np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.array([coefficient]))

    @classmethod
    def from_words(
        cls, words: Mapping[str, complex] | Iterable[tuple[complex, str]], wires: int | None = None
    ) -> PauliSum:
        """The sum of words written as letters, the first letter on wire 0.

        Args:
            words: `{"XIZY": 0.5}` or `[(0.5, "XIZY")]`; all words equally long.
            wires: number of wires, needed where `words` is empty.

        Raises:
            ValueError: for letters other than I, X, Y, Z, or words of different lengths.

        Example:
            >>> PauliSum.from_words([(0.5, "XY"), (1, "ZI")]).words()
            [(0.5, 'XY'), (1.0, 'ZI')]
        """
        pairs = [(c, w) for w, c in words.items()] if isinstance(words, Mapping) else [(c, w) for c, w in words]
        for _, word in pairs:
            checks.instance("words", word, str, "Write words such as 'XIZY'.")
        count = checks.integer("wires", wires, 0, MOST_WIRES) if wires is not None else len(pairs[0][1]) if pairs else 0
        for _, word in pairs:
            if len(word) != count or set(word) - set("IXYZ"):
                raise ValueError(f"words must consist of {count} letters I, X, Y or Z each. Got {word!r}.")
        masks = [(_bits(w, "XY"), _bits(w, "ZY")) for _, w in pairs]
        x, z = np.array(masks, dtype=np.uint64).reshape(-1, 2).T
        return cls(count, x, z, checks.array("coefficients", [c for c, _ in pairs], dtype=np.complex128))

    @classmethod
    def from_operator(cls, operator: Any, wires: int | Sequence[Any] | None = None) -> PauliSum:
        """The Pauli form of a PennyLane operator.

        Args:
            operator: a PennyLane operator that has a Pauli representation.
            wires: number of wires, for an operator whose labels are integers from 0 on; or the order of its labels.
                None: as many as the largest integer label needs, or the operator's own order if its labels are
                anything else.

        Raises:
            TypeError: if `operator` is no PennyLane operator.
            ValueError: if it has no Pauli representation, or acts on a wire that `wires` lacks.
        """
        checks.instance("operator", operator, qml.operation.Operator, "Build one with PennyLane, e.g. qml.Z(0).")
        sentence = operator.pauli_rep
        if sentence is None:
            hint = "Use varq.problems.Operator for matrices, projectors and sparse Hamiltonians."
            raise ValueError(f"operator must be a sum of Pauli words. Got {operator.name}, which has none. {hint}")
        place = {label: k for k, label in enumerate(_order(operator, wires))}
        if missing := [w for w in operator.wires if w not in place]:
            raise ValueError(f"wires must hold every wire of the operator. It lacks {missing}.")
        x, z = (
            np.array([sum(1 << place[w] for w, a in word.items() if a in letters) for word in sentence], np.uint64)
            for letters in ("XY", "ZY")
        )
        values = np.array([complex(qml.math.toarray(c)) for c in sentence.values()], dtype=np.complex128)
        return cls(len(place), x, z, values)

    @classmethod
    def from_matrix(cls, matrix: Any) -> PauliSum:
        """The Pauli form of a matrix, shape (2^n, 2^n) with n up to 10; words at rounding level left out.

        Raises:
            ValueError: for another shape.

        Example:
            >>> PauliSum.from_matrix([[0, 1], [1, 0]]).words()
            [(1.0, 'X')]
        """
        dense = checks.array("matrix", matrix, (None, None), np.complex128)
        wires = max(len(dense).bit_length() - 1, 0)
        if dense.shape != (1 << wires, 1 << wires) or wires > MATRIX_WIRES:
            raise ValueError(f"matrix must have 2^n rows and columns, n up to {MATRIX_WIRES}. Got shape {dense.shape}.")
        x, z, values = spectrum.decompose(dense)
        keep = np.abs(values) > ROUNDING * float(np.max(np.abs(values), initial=0.0))
        values = np.where(np.abs(values.imag) <= ROUNDING * np.abs(values).max(), values.real, values)
        return cls(wires, x[keep], z[keep], values[keep]).simplify()

    def __len__(self) -> int:
        return len(self.coefficients)

    def __repr__(self) -> str:
        shown = " + ".join(f"{c:.6g} {w}" for c, w in self[:4].words()).replace("+ -", "- ")
        more = " + ..." if len(self) > 4 else ""
        size = f"{checks.counted(self.wires, 'wire')}, {checks.counted(len(self), 'term')}"
        return f"PauliSum({size}{': ' if len(self) else ''}{shown}{more})"

    def __getitem__(self, index: Any) -> PauliSum:
        """The sum of the terms at `index`: a slice, a mask or an array of positions."""
        return PauliSum(self.wires, self.x[index], self.z[index], self.coefficients[index])

    def __add__(self, other: PauliSum) -> PauliSum:
        if not isinstance(other, PauliSum):
            return NotImplemented
        self._same(other)
        x, z, c = (
            np.concatenate([a, b])
            for a, b in ((self.x, other.x), (self.z, other.z), (self.coefficients, other.coefficients))
        )
        return PauliSum(self.wires, x, z, c).simplify()

    def __sub__(self, other: PauliSum) -> PauliSum:
        return self + (-other) if isinstance(other, PauliSum) else NotImplemented

    def __neg__(self) -> PauliSum:
        return -1.0 * self

    def __mul__(self, scalar: complex) -> PauliSum:
        if not isinstance(scalar, (int, float, complex, np.number)):
            return NotImplemented
        return PauliSum(self.wires, self.x, self.z, self.coefficients * scalar)

    __rmul__ = __mul__

    def __matmul__(self, other: PauliSum) -> PauliSum:
        """The operator product, simplified."""
        if not isinstance(other, PauliSum):
            return NotImplemented
        self._same(other)
        rows = max(1, PRODUCT_CHUNK // max(1, len(other)))
        out = PauliSum.zero(self.wires)
        for start in range(0, len(self), rows):
            out = out + self[start : start + rows]._times(other)
        return out

    def _times(self, other: PauliSum) -> PauliSum:
        ax, az, bx, bz = self.x[:, None], self.z[:, None], other.x, other.z
        x, z = ax ^ bx, az ^ bz
        count = np.bitwise_count
        # Moving Z^az past X^bx gives the sign; powers of i make up for the Ys of both and of their product.
        turns = count(ax & az).astype(np.int64) + count(bx & bz) + 2 * count(az & bx).astype(np.int64) - count(x & z)
        values = self.coefficients[:, None] * other.coefficients * _UNITS[turns & 3]
        return PauliSum(self.wires, x.ravel(), z.ravel(), values.ravel()).simplify()

    def _same(self, other: PauliSum) -> None:
        if self.wires != other.wires:
            raise ValueError(f"Both Pauli sums must act on equally many wires. Got {self.wires} and {other.wires}.")

    def simplify(self, tolerance: float = 0.0) -> PauliSum:
        """Equal words added up and sorted; words whose coefficient is at most `tolerance` in magnitude left out."""
        if not len(self):
            return self
        order = np.lexsort((self.z, self.x))
        x, z, c = self.x[order], self.z[order], self.coefficients[order]
        first = np.concatenate([[True], (x[1:] != x[:-1]) | (z[1:] != z[:-1])])
        sums = np.add.reduceat(c, np.flatnonzero(first))
        keep = np.abs(sums) > tolerance
        return PauliSum(self.wires, x[first][keep], z[first][keep], sums[keep])

    def adjoint(self) -> PauliSum:
        """The Hermitian conjugate: Pauli words are Hermitian, so only coefficients are conjugated."""
        return PauliSum(self.wires, self.x, self.z, self.coefficients.conj())

    def is_hermitian(self, tolerance: float = 1e-10) -> bool:
        """Whether no word has an imaginary part above `tolerance` after adding up equal words."""
        return float(np.max(np.abs(self.simplify().coefficients.imag), initial=0.0)) <= tolerance

    def is_commuting(self) -> bool:
        """Whether all words commute with one another."""
        count = np.bitwise_count
        odd = count(self.x[:, None] & self.z) + count(self.z[:, None] & self.x)
        return not (odd & 1).any()

    @property
    def is_diagonal(self) -> bool:
        """Whether only I and Z occur."""
        return not self.x.any()

    @cached_property
    def constant(self) -> complex | float:
        """The coefficient of the identity: the trace divided by 2^wires."""
        found: complex = self.coefficients[(self.x | self.z) == 0].sum().item()
        return found

    def words(self) -> list[tuple[complex, str]]:
        """The terms as (coefficient, letters), the first letter on wire 0."""
        bits = np.arange(self.wires, dtype=np.uint64)
        codes = ((self.x[:, None] >> bits) & np.uint64(1)) + (
            ((self.z[:, None] >> bits) & np.uint64(1)) << np.uint64(1)
        )
        rows = ["".join(row) for row in _LETTERS[codes].astype("U1").tolist()]
        return list(zip(self.coefficients.tolist(), rows, strict=True))

    def sentence(self, labels: Sequence[Any] | None = None) -> PauliSentence:
        """The terms as a PennyLane `PauliSentence` on `labels` (wires 0 .. wires-1 unless given)."""
        names = list(range(self.wires)) if labels is None else list(labels)
        checks.shape("labels", np.empty(len(names)), (self.wires,))
        merged = self.simplify()
        return PauliSentence(
            {
                PauliWord({names[k]: letter for k, letter in enumerate(word) if letter != "I"}): value
                for value, word in merged.words()
            }
        )

    def operator(self, labels: Sequence[Any] | None = None) -> Any:
        """The sum as a PennyLane `LinearCombination` on `labels` (wires 0 .. wires-1 unless given).

        Building it inside a quantum function records nothing there.

        Example:
            >>> PauliSum.from_words({"XZ": 0.5, "II": 2.0}).operator()
            2.0 * I(0) + 0.5 * (X(0) @ Z(1))
        """
        sentence = self.sentence(labels)
        wires = [0] if labels is None else list(labels)[:1]
        with qml.QueuingManager.stop_recording():
            if not sentence:
                return qml.ops.LinearCombination([0.0], [qml.Identity(wires)])
            terms = [word.operation(wire_order=wires) for word in sentence]
            return qml.ops.LinearCombination(list(sentence.values()), terms, _pauli_rep=sentence)

    def sparse(self) -> Any:
        """The matrix as SciPy CSR, shape (2^wires, 2^wires); wire 0 is the most significant bit, as in PennyLane.

        Raises:
            ValueError: if it would have more than `spectrum.MOST_ENTRIES` entries.
        """
        return spectrum.matrix(self._terms)

    def matvec(self, state: NDArray[Any]) -> NDArray[Any]:
        """The sum applied to `state`, shape (2^wires,), without a matrix.

        Raises:
            ValueError: if `state` has another shape.
        """
        checks.shape("state", state, (1 << self.wires,))
        return spectrum.apply(self._terms, np.asarray(state))

    @cached_property
    def _terms(self) -> spectrum.Terms:
        return spectrum.Terms.of(self.wires, self.x, self.z, self.coefficients)

    def lowest(self, count: int = 1, sector: NDArray[Any] | None = None) -> NDArray[np.float64] | None:
        """The `count` lowest eigenvalues in rising order, exact to rounding, or None where that is out of reach.

        Dense up to 256 basis states, Lanczos above (same start vector each time; degenerate levels are found one
        by one by deflation). None for more than 2^20 basis states or more matrix entries than fit: never a guess.

        Args:
            count: how many, with multiplicity; at most the number of basis states.
            sector: the basis states allowed, as indices in PennyLane's order (wire 0 the most significant bit). The
                sum must not lead out of them.

        Raises:
            ValueError: if the sum is not Hermitian, leads out of `sector`, or `count` or `sector` is out of range.
        """
        if not self.is_hermitian():
            raise ValueError("Eigenvalues need a Hermitian sum. This one has imaginary coefficients.")
        return spectrum.lowest(self._terms, checks.integer("count", count, 1), sector)


def _mask(name: str, value: Any, wires: int) -> Mask:
    out = checks.array(name, value, (None,), np.uint64)
    if out.size and int(out.max()) >> wires:
        raise ValueError(f"{name} must have bits on {wires} wires only. Got {int(out.max()):#b}.")
    return out


def _bits(word: str, letters: str) -> int:
    return sum(1 << k for k, letter in enumerate(word) if letter in letters)


def _order(operator: Any, wires: int | Sequence[Any] | None) -> list[Any]:
    labels = operator.wires.tolist()
    if wires is None:
        counted = all(isinstance(w, (int, np.integer)) and w >= 0 for w in labels)
        return list(range(max(labels, default=-1) + 1)) if counted else labels
    if isinstance(wires, (int, np.integer)):
        return list(range(checks.integer("wires", wires, 0, MOST_WIRES)))
    return list(wires)
