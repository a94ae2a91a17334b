"""The eigenphases of a unitary, as seen by a state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
import scipy.linalg
from numpy.typing import NDArray

from varq import checks
from varq.problems.evolution import (
    MOST_WIRES,
    Evolution,
    as_data,
    fitting_time,
    hamiltonian_matrix,
    suzuki_order,
)
from varq.problems.gates import (
    applied,
    as_gates,
    gates_of_circuit,
    gates_of_operator,
    matrix_of,
    product_formula,
)
from varq.problems.pauli import PauliSum

__all__ = ["EigenPhase", "circular_difference", "energy_from_phase"]

MERGED = 1e-9  # eigenphases closer than this are one, radians
GATES = 1e-7  # distance at which gates give another vector; a unitary itself is checked to 1e-8
EMPTY = 1e-12  # a weight below this is rounding
SEAM = 1e-12  # radians below 2 pi that count as 0
TURN = 2 * math.pi


@dataclass(frozen=True, eq=False, repr=False)
class EigenPhase:
    """A unitary and a state: which phases phi, with U |v> = exp(i phi) |v>, does the state hold?

    A device applies the unitary by `gates` where they are known: those of a PennyLane operator, of a circuit
    (`from_circuit`), or of a product formula (`from_hamiltonian(..., trotter=n)`).  A matrix and an exact evolution are
    one unitary gate, which no machine has.

    Args:
        unitary: a matrix, shape (2^n, 2^n) with n up to 10, wire 0 the most significant bit; or a PennyLane operator,
            whose matrix and gates are kept.
        state: a vector, shape (2^n,), of norm 1; or the index of a basis state; None for basis state 0, the state that
            devices start in; or a function without arguments that queues the operations which prepare it, such as
            `VQE(...).circuit(parameters)`: devices then run these.
        time: of the evolution exp(-i H time) that the unitary is, in inverse units of the energy; None if it is none.
        near: with `time`, the middle of the levels: an energy is the one of its phase that is closest to it.
        gates: that apply the unitary, in order, as (name, wires, numbers) or (name, wires, numbers, more); a record
            holds them so.
        steps: how often `gates` are applied for one unitary; None for once.
        preparation: the gates that prepare `state` from |0...0>, up to a global phase.
        origin: what `from_hamiltonian` made it of, which then is its identity: the last bits of the unitary are
            another machine's others. None for an identity by the gates where these are known, else by the unitary, and
            by the state.

    Raises:
        TypeError: if the unitary is neither.
        ValueError: if the matrix is not unitary or not 2^n wide, the state is not normalized, of another length, or
            out of range, gates give another unitary or another state, or the origin gives another evolution.

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
    gates: Any = None
    steps: int | None = None
    preparation: Any = None
    origin: Evolution | None = None

    kind: ClassVar[str] = "problem:eigenphase"
    version: ClassVar[int] = 2
    unit: ClassVar[str] = "rad"

    def __post_init__(self) -> None:
        matrix, gates = _matrix(self.unitary), self.gates
        if gates is None and isinstance(self.unitary, qml.operation.Operator):
            gates = gates_of_operator(self.unitary)
        object.__setattr__(self, "unitary", matrix)
        self._keep_gates(gates)
        self._keep_state()
        if self.time is not None:
            object.__setattr__(self, "time", checks.real("time", self.time))
            if self.time == 0:
                raise ValueError("time must not be 0: the phase would say nothing of the energy.")
        object.__setattr__(self, "near", checks.real("near", self.near))
        if self.origin is not None:
            hint = "EigenPhase.from_hamiltonian makes it; leave it out elsewhere."
            checks.instance("origin", self.origin, Evolution, hint).check(self)

    def _keep_gates(self, given: Any) -> None:
        if given is None:
            if self.steps is not None:
                raise ValueError(f"steps must come with gates that they repeat. Got steps={self.steps}, gates=None.")
            return
        gates = as_gates("gates", given, self.wires)
        steps = 1 if self.steps is None else checks.integer("steps", self.steps, 1)
        size = len(self.unitary)
        probe = np.exp(1j * np.arange(size) ** 2)[:, None] / math.sqrt(size)
        # A probe takes each step by itself; of many steps the matrix is multiplied with itself.
        found = applied(gates, probe, steps) if steps <= size else matrix_of(gates, self.wires, steps) @ probe
        gap = float(np.linalg.norm(found - self.unitary @ probe))
        if gap > GATES:
            raise ValueError(
                f"gates must give the unitary, its phase included. They are off by {gap:.3g}. "
                "Use EigenPhase.from_circuit(oracle, wires), which computes the matrix."
            )
        object.__setattr__(self, "gates", gates)
        object.__setattr__(self, "steps", steps if steps > 1 else None)

    def _keep_state(self) -> None:
        state, preparation, size = self.state, self.preparation, len(self.unitary)
        if callable(state):
            preparation = gates_of_circuit("state", state, self.wires, prepares=True)
        if preparation is None:
            object.__setattr__(self, "state", _vector(state, size))
            return
        gates = as_gates("preparation", preparation, self.wires)
        found = applied(gates, np.eye(size, 1, dtype=np.complex128))[:, 0]
        vector = _vector(found if callable(state) else state, size)
        if abs(abs(complex(np.vdot(found, vector))) - 1) > GATES:
            raise ValueError(
                f"preparation must give the state. Their overlap is {abs(complex(np.vdot(found, vector))):.6g}. "
                "Give the function that prepares it as the state."
            )
        object.__setattr__(self, "state", vector)
        object.__setattr__(self, "preparation", gates)

    @classmethod
    def from_circuit(cls, oracle: Callable[[], Any], wires: int, state: Any = None) -> EigenPhase:
        """The unitary of a circuit, a phase oracle for instance, which devices apply gate by gate.

        Args:
            oracle: takes nothing and queues PennyLane operations on wires 0 .. wires-1.  It is called once; gates that
                PennyLane can only decompose are kept as what they decompose into.
            wires: how many, up to 10.
            state: as for `EigenPhase`.

        Raises:
            TypeError: if `oracle` is no function.
            ValueError: if it queues nothing, measures, acts on other wires, prepares a state, or is not unitary.

        Example:
            >>> def marked():
            ...     qml.CZ([0, 1])
            ...     qml.PhaseShift(0.5, 0)
            >>> round(EigenPhase.from_circuit(marked, wires=2, state=3).reference(), 6)
            3.641593
        """
        count = checks.integer("wires", wires, 1, MOST_WIRES)
        gates = gates_of_circuit("oracle", oracle, count)
        return cls(matrix_of(gates, count), state, gates=gates)

    @classmethod
    def from_hamiltonian(
        cls,
        problem: Any,
        time: float | None = None,
        state: Any = None,
        *,
        trotter: int | None = None,
        order: int = 2,
        near: float | None = None,
    ) -> EigenPhase:
        """The evolution exp(-i H time), exact or by a product formula: a level E has the phase -E time, modulo 2 pi.

        `energy` turns a phase back into the level.

        Args:
            problem: a problem with a Hamiltonian on up to 10 wires, a PennyLane observable, a `PauliSum` or a Hermitian
                matrix.
            time: in inverse units of the energy; not 0.  None for one with which all levels fit into one turn.
            state: as for `EigenPhase`; None for the ground state, or for the product formula's own eigenstate that is
                closest to it: the ground state itself is one only up to the formula's error.
            trotter: number of steps of the product formula, whose eigenphases are then sought, and by whose rotations
                devices apply it; None for the exact evolution, which is one unitary gate.
            order: of the product formula (Suzuki's): 1, 2, 4, 6 ...
            near: a guess of the energy that is sought, right within pi / |time|; None for the mean of all levels.

        Raises:
            ValueError: if `problem` is too large or not Hermitian, `time` is 0 or not finite, or levels are further
                than pi / |time| from their mean and `near` is not given.

        Example:
            >>> clock = EigenPhase.from_hamiltonian(qml.Z(0), time=0.5)
            >>> round(clock.reference(), 9), round(clock.energy(clock.reference()), 9)
            (0.5, -1.0)
        """
        problem = as_data(problem)
        origin = Evolution(problem, time, near, trotter, order, ground=state is None)
        matrix = hamiltonian_matrix(problem)
        middle = float(np.trace(matrix).real) / len(matrix)
        levels, vectors = np.linalg.eigh(matrix)
        widest = float(np.max(np.abs(levels - middle)))
        if time is None:
            time = fitting_time(widest)
        span = checks.real("time", time)
        if span == 0:
            raise ValueError("time must not be 0: every phase would be 0. Leave it out for one that fits.")
        middle = _middle(middle, widest, span, near)
        start = vectors[:, 0] if state is None else state
        order = suzuki_order(order)
        if trotter is None:
            unitary, gates, steps = (vectors * np.exp(-1j * span * levels)) @ vectors.conj().T, None, None
        else:
            steps, words = checks.integer("trotter", trotter, 1), PauliSum.from_matrix(matrix)
            gates = product_formula(words, span / steps, order)
            unitary = matrix_of(gates, words.wires, steps)
            start = _closest(unitary, start) if state is None else start
        told = origin if origin.settles(span, start, levels, vectors[:, 0]) else None
        return cls(unitary, start, span, middle, gates, steps, origin=told)

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
    def hashed_as(self) -> Any:
        """What stands for it in the identity of a run: what it was made of, where that is known."""
        if self.origin is not None:
            told: dict[str, Any] = {"origin": self.origin}
        elif self.gates is not None:  # the matrix is computed from these
            told = {"gates": self.gates, "steps": self.steps, "time": self.time, "near": self.near}
        elif self.preparation is not None:
            told = {"unitary": self.unitary, "time": self.time, "near": self.near}
        else:
            return self
        if self.origin is None or not self.origin.ground:
            # So is the vector, from the gates that prepare it.
            told |= {"state": None if self.preparation is not None else self.state, "preparation": self.preparation}
        return {"kind": self.kind, "version": self.version, **told}

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
        return _eigensystem(self.unitary)

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


def _eigensystem(unitary: NDArray[np.complex128]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    # A Schur form of a unitary is diagonal, and its vectors are orthogonal even where phases coincide.
    triangle, vectors = scipy.linalg.schur(unitary, output="complex")
    return _wrapped(np.angle(triangle.diagonal())), vectors


def _closest(unitary: NDArray[np.complex128], state: NDArray[Any]) -> NDArray[np.complex128]:
    """The part of a state that has the eigenphase of largest weight, of norm 1."""
    angles, vectors = _eigensystem(unitary)
    shares = vectors.conj().T @ state
    alike = np.abs(circular_difference(angles, angles[np.argmax(np.abs(shares))])) <= MERGED
    part = vectors[:, alike] @ shares[alike]
    return np.asarray(part / np.linalg.norm(part), dtype=np.complex128)


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


def _middle(mean: float, widest: float, time: float, near: float | None) -> float:
    """Around what energies are told from phases."""
    if near is not None:
        return checks.real("near", near)
    if widest * abs(time) >= math.pi:
        raise ValueError(
            "time must not turn any level by half a turn or more against their mean: one phase would stand for several "
            f"energies. Got time={time:g}, where at most {math.pi / widest:.4g} does not. Leave time out, or give "
            f"near=..., a guess of the energy that is right within {math.pi / abs(time):.4g}."
        )
    return mean
