"""The eigenphases of a unitary, as seen by a state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
import scipy.linalg
from numpy.typing import NDArray

from varq import checks
from varq.problems.operator import Operator
from varq.problems.pauli import PauliSum

__all__ = ["EigenPhase", "circular_difference", "energy_from_phase"]

MOST_WIRES = 10  # a dense unitary of 16 MB, diagonalized in seconds
MERGED = 1e-9  # eigenphases closer than this are one, radians
EMPTY = 1e-12  # a weight below this is rounding

MARGIN = 0.95  # of half a turn between the middle of the levels and the outermost
SEAM = 1e-12  # radians below 2 pi that count as 0
TURN = 2 * math.pi


@dataclass(frozen=True, eq=False, repr=False)
class EigenPhase:
    """A unitary and a state: which phases phi, with U |v> = exp(i phi) |v>, does the state hold?

    Args:
        unitary: a matrix, shape (2^n, 2^n) with n up to 10, wire 0 the most significant bit; or a PennyLane operator,
            whose matrix is kept.
        state: a vector, shape (2^n,), of norm 1; or the index of a basis state; None for basis state 0, the state that
            devices start in.
        time: of the evolution exp(-i H time) that the unitary is, in inverse units of the energy; None if it is none.
        near: with `time`, the middle of the levels: an energy is the one of its phase that is closest to it.

    Raises:
        TypeError: if the unitary is neither.
        ValueError: if the matrix is not unitary or not 2^n wide, or the state is not normalized, of another length, or
            out of range.

    Example:
        >>> gate = EigenPhase(qml.T(0), state=1)
        >>> gate
        EigenPhase(1 wire, phase 0.785398)
        >>> EigenPhase(qml.X(0)).weights
        array([0.5, 0.5])
    """

    unitary: Any
    state: Any = None
    time: float | None = None
    near: float = 0.0

    kind: ClassVar[str] = "problem:eigenphase"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "rad"

    def __post_init__(self) -> None:
        matrix = _matrix(self.unitary)
        object.__setattr__(self, "unitary", matrix)
        object.__setattr__(self, "state", _vector(self.state, len(matrix)))
        if self.time is not None:
            object.__setattr__(self, "time", checks.real("time", self.time))
            if self.time == 0:
                raise ValueError("time must not be 0: the phase would say nothing of the energy.")
        object.__setattr__(self, "near", checks.real("near", self.near))

    @classmethod
    def from_hamiltonian(
        cls, problem: Any, time: float | None = None, state: Any = None, *, trotter: int | None = None, order: int = 2
    ) -> EigenPhase:
        """The evolution exp(-i H time), exact or by a product formula: a level E has the phase -E time, modulo 2 pi.

        `energy` turns a phase back into the level.

        Args:
            problem: a problem with a Hamiltonian on up to 10 wires, a PennyLane observable, a `PauliSum` or a Hermitian
                matrix.
            time: in inverse units of the energy; not 0.  None for one with which all levels fit into one turn.
            state: as for `EigenPhase`; None for the ground state.
            trotter: number of steps of the product formula, whose eigenphases are then sought; None for the exact
                evolution.
            order: of the product formula (Suzuki's): 1, 2, 4, 6 ...

        Raises:
            ValueError: if `problem` is too large or not Hermitian, or `time` is 0 or not finite.

        Example:
            >>> clock = EigenPhase.from_hamiltonian(qml.Z(0), time=0.5)
            >>> round(clock.reference(), 9), round(clock.energy(clock.reference()), 9)
            (0.5, -1.0)
        """
        matrix = _hamiltonian_matrix(problem)
        middle = float(np.trace(matrix).real) / len(matrix)
        levels, vectors = np.linalg.eigh(matrix)
        if time is None:
            widest = float(np.max(np.abs(levels - middle)))
            time = MARGIN * math.pi / widest if widest > EMPTY else 1.0
        span = checks.real("time", time)
        if span == 0:
            raise ValueError("time must not be 0: every phase would be 0. Leave it out for one that fits.")
        if trotter is None:
            evolution = (vectors * np.exp(-1j * span * levels)) @ vectors.conj().T
        else:
            evolution = _product_formula(matrix, span, checks.integer("trotter", trotter, 1), _order(order))
        return cls(evolution, vectors[:, 0] if state is None else state, span, middle)

    @classmethod
    def from_phases(cls, phases: Sequence[float], weights: Sequence[float] | None = None) -> EigenPhase:
        """A diagonal unitary with these phases (radians, any branch) and a state of these weights.

        Args:
            phases: shape (k,).
            weights: shape (k,), not negative, of sum 1; None for equal ones.

        Raises:
            ValueError: for lengths that differ, or weights that are negative or do not add up to 1.

        Example:
            >>> EigenPhase.from_phases([0.3, 2.0], [0.75, 0.25]).reference()
            0.3
        """
        angles = checks.array("phases", phases, (None,))
        if not len(angles):
            raise ValueError("phases must hold at least one phase.")
        given = np.full(len(angles), 1 / len(angles)) if weights is None else weights
        shares = checks.array("weights", given, (len(angles),))
        if shares.min() < 0 or abs(float(shares.sum()) - 1) > checks.UNIT_TOLERANCE:
            raise ValueError(f"weights must not be negative and must add up to 1. Got {shares.tolist()}.")
        size = 1 << max(1, (len(angles) - 1).bit_length())
        rest = size - len(angles)
        state = np.sqrt(np.pad(shares / shares.sum(), (0, rest)))
        return cls(np.diag(np.exp(1j * np.pad(angles, (0, rest)))), state)

    def __repr__(self) -> str:
        held = f"phase {self.phases[0]:.6g}" if len(self.phases) == 1 else f"{len(self.phases)} phases"
        return f"EigenPhase({checks.counted(self.wires, 'wire')}, {held})"

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"unitary on {checks.counted(self.wires, 'wire')}"

    @property
    def wires(self) -> int:
        """Number of wires the unitary acts on."""
        return len(self.unitary).bit_length() - 1

    @cached_property
    def eigensystem(self) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Eigenphases in [0, 2 pi) and orthonormal eigenvectors as columns."""
        # A Schur form of a unitary is diagonal, and its vectors are orthogonal even where phases coincide.
        triangle, vectors = scipy.linalg.schur(self.unitary, output="complex")
        return _wrapped(np.angle(triangle.diagonal())), vectors

    @cached_property
    def _held(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        angles, vectors = self.eigensystem
        shares = np.abs(vectors.conj().T @ self.state) ** 2
        phases, weights = _merged(angles, shares)
        kept = weights > EMPTY
        phases, weights = phases[kept], weights[kept] / weights[kept].sum()
        phases.flags.writeable = weights.flags.writeable = False
        return phases, weights

    @property
    def phases(self) -> NDArray[np.float64]:
        """The different eigenphases that the state holds, radians in [0, 2 pi), rising, shape (k,)."""
        return self._held[0]

    @property
    def weights(self) -> NDArray[np.float64]:
        """The probability of each of `phases` in the state, shape (k,), of sum 1."""
        return self._held[1]

    def reference(self) -> float:
        """The phase of largest weight, radians in [0, 2 pi); the smallest of them if several weigh the same."""
        return float(self.phases[np.argmax(self.weights > self.weights.max() - MERGED)])

    @property
    def spread(self) -> float:
        """The square root of the Holevo variance of the state's phases, radians: 0 for an eigenstate."""
        sharpness = abs(complex(self.weights @ np.exp(1j * self.phases)))
        return math.inf if sharpness < EMPTY else math.sqrt(max(sharpness**-2 - 1, 0.0)) * (len(self.phases) > 1)

    def energy(self, phase: float) -> float:
        """The energy of a phase, closest to the middle of the levels.

        Raises:
            ValueError: if the unitary was not made from a Hamiltonian.
        """
        if self.time is None:
            raise ValueError("Only an evolution has energies. Use EigenPhase.from_hamiltonian(problem).")
        return energy_from_phase(phase, self.time, self.near)

    def power(self, exponent: int) -> NDArray[np.complex128]:
        """U^exponent, for any integer, at the cost of one matrix product.

        Raises:
            TypeError: if `exponent` is no integer.
        """
        angles, vectors = self.eigensystem
        factors = np.exp(1j * checks.integer("exponent", exponent) * angles)
        return np.asarray((vectors * factors) @ vectors.conj().T, dtype=np.complex128)


def circular_difference(a: Any, b: Any) -> Any:
    """a - b for angles: the shortest way round, in (-pi, pi], of the arguments' broadcast shape.

    Example:
        >>> round(circular_difference(0.1, 2 * np.pi - 0.1), 9)
        0.2
    """
    gap = np.pi - np.mod(np.pi - (np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)), TURN)
    return float(gap) if gap.ndim == 0 else gap


def energy_from_phase(phase: float, time: float, near: float = 0.0) -> float:
    """The energy with exp(-i E time) = exp(i phase) that is closest to `near`.

    Raises:
        ValueError: if a number is not finite, or `time` is 0.

    Example:
        >>> round(energy_from_phase(0.2, time=1.0, near=6.0), 6)
        6.083185
    """
    span = checks.real("time", time)
    if span == 0:
        raise ValueError("time must not be 0: the phase would say nothing of the energy.")
    guess = checks.real("near", near)
    return guess - float(circular_difference(checks.real("phase", phase), -guess * span)) / span


def _wrapped(angles: Any) -> NDArray[np.float64]:
    """Angles in [0, 2 pi): a phase of 0 that rounding has put just below 2 pi is 0."""
    out = np.mod(angles, TURN)
    return np.where(out >= TURN - SEAM, 0.0, out)


def _merged(
    angles: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases closer than `MERGED` joined, the weighted mean of each, around the circle; rising."""
    order = np.argsort(angles)
    angles, shares = angles[order], shares[order]
    group = np.concatenate([[0], np.cumsum(np.diff(angles) > MERGED)])
    if group[-1] and angles[0] + TURN - angles[-1] <= MERGED:
        group[group == group[-1]] = 0
    weights = np.bincount(group, shares).astype(np.float64)
    first = angles[np.unique(group, return_index=True)[1]]
    # Means of differences to the first member: the circle has no seam there.
    shift = np.bincount(group, (shares + EMPTY) * circular_difference(angles, first[group]))
    phases = _wrapped(first + shift / np.bincount(group, shares + EMPTY))
    again = np.argsort(phases)
    return phases[again], weights[again]


def _matrix(unitary: Any) -> NDArray[np.complex128]:
    hint = "Give a matrix or a PennyLane operator, or use EigenPhase.from_hamiltonian(problem, time)."
    if isinstance(unitary, qml.operation.Operator):
        if not unitary.has_matrix:
            raise TypeError(f"unitary must have a matrix. Got {unitary.name}. {hint}")
        checks.integer("unitary's wires", len(unitary.wires), 1, MOST_WIRES)
        unitary = qml.matrix(unitary)
    elif not isinstance(unitary, (np.ndarray, list, tuple)):
        raise TypeError(f"unitary must be a matrix or a PennyLane operator. Got {type(unitary).__name__}. {hint}")
    matrix = checks.unitary("unitary", unitary, hint)
    size = len(matrix)
    if size < 2 or size & (size - 1) or size > 1 << MOST_WIRES:
        raise ValueError(f"unitary must have 2^n rows, n from 1 to {MOST_WIRES}. Got shape {matrix.shape}.")
    return matrix


def _vector(state: Any, size: int) -> NDArray[np.complex128]:
    if state is None or isinstance(state, (int, np.integer)):
        index = checks.integer("state", 0 if state is None else state, 0, size - 1, "It is the index of a basis state.")
        return checks.array("state", np.eye(1, size, index)[0], (size,), np.complex128)
    checks.array("state", state, (size,), np.complex128, f"The unitary acts on vectors of {size} entries.")
    return checks.normalized("state", state)


def _order(order: int) -> int:
    number = checks.integer("order", order, 1)
    if number != 1 and number % 2:
        raise ValueError(f"order must be 1 or even, as Suzuki's formulas are. Got {number}. Use order=2.")
    return number


def _product_formula(matrix: NDArray[np.complex128], time: float, steps: int, order: int) -> NDArray[np.complex128]:
    """exp(-i H time) by Suzuki's formula over the Pauli words of H, in the order in which they are listed."""
    words = PauliSum.from_matrix(matrix)
    # PennyLane's formula approximates exp(+i H t); a word that stands alone needs a second one to be a sum.
    terms = [words[k : k + 1].operator() for k in range(len(words))]
    if len(terms) < 2:
        return np.asarray(scipy.linalg.expm(-1j * time * matrix), dtype=np.complex128)
    formula = qml.TrotterProduct(qml.sum(*terms), -time, n=steps, order=order)
    return np.asarray(qml.matrix(formula, wire_order=range(words.wires)), dtype=np.complex128)


def _hamiltonian_matrix(problem: Any) -> NDArray[np.complex128]:
    found = getattr(problem, "pauli", None)
    if not isinstance(found, PauliSum):
        operator = problem if isinstance(problem, Operator) else Operator(getattr(problem, "hamiltonian", problem))
        checks.integer("problem's wires", operator.wires, 1, MOST_WIRES, "The evolution is kept as a dense matrix.")
        return checks.hermitian("problem", operator.matrix.toarray())
    checks.integer("problem's wires", found.wires, 1, MOST_WIRES, "The evolution is kept as a dense matrix.")
    return checks.hermitian("problem", found.sparse().toarray())
