"""What an evolution was made of, which is its identity: the bits of its matrix are each machine's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.problems.gates import Gate, product_formula
from varq.problems.operator import Operator
from varq.problems.pauli import PauliSum

__all__ = ["MOST_WIRES", "Evolution", "as_data", "fitting_time", "hamiltonian_matrix", "suzuki_order"]

MOST_WIRES = 10  # a dense unitary of 16 MB, diagonalized in seconds
MARGIN = 0.95  # of half a turn between the middle of the levels and the outermost
EMPTY = 1e-12  # levels that spread less than this are one; of a level, what is rounding
SAME = 1e-7  # distance at which two evolutions differ; a unitary itself is checked to 1e-8
TINY = 1e-9  # rotations below this, radians, may be of words that rounding alone has made
LONGEST = 1e6  # radians that a level may turn before the rounding of levels comes near to SAME
APART = 1e-6  # of the levels' spread: a ground level closer to the next leaves to rounding which state is the ground's
DOMINANT = 1e-6  # by how much more than half of a state has to lie in one eigenphase, for none to compete with it

_HINT = "Make it by EigenPhase.from_hamiltonian, or leave origin out (origin=None)."


@dataclass(frozen=True, eq=False)
class Evolution:
    """What `EigenPhase.from_hamiltonian` was given, as data.

    Args:
        problem: a problem with a Hamiltonian.
        time: in inverse units of the energy; None for one with which all levels fit into one turn.
        near: the guess of the energy; None for the mean of all levels.
        trotter: number of steps of the product formula; None for the exact evolution.
        order: of the product formula; None without one.
        ground: whether the state is that of the lowest level, and not one that was given.

    Raises:
        ValueError: if a number is not finite or out of range.

    Example:
        >>> from varq.problems.lattice import TransverseFieldIsing
        >>> Evolution(TransverseFieldIsing(3), time=1).time
        1.0
    """

    problem: Any
    time: float | None = None
    near: float | None = None
    trotter: int | None = None
    order: int | None = None
    ground: bool = True

    kind: ClassVar[str] = "data:evolution"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("time", "near"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.real(name, getattr(self, name)))
        if self.trotter is not None:
            object.__setattr__(self, "trotter", checks.integer("trotter", self.trotter, 1))
        order = None if self.trotter is None else suzuki_order(2 if self.order is None else self.order)
        object.__setattr__(self, "order", order)
        checks.boolean("ground", self.ground)

    def settles(self, time: float, state: Any, levels: NDArray[Any], ground: NDArray[Any]) -> bool:
        """Whether it says all of an evolution but rounding, so that it may stand for it.

        Args:
            time: of the evolution.
            state: that it starts from; looked at only if `ground`, then shape (2^n,).
            levels: of the Hamiltonian, rising, shape (2^n,).
            ground: a state of the lowest, shape (2^n,).
        """
        if abs(time) * float(np.max(np.abs(levels))) > LONGEST:
            return False
        if self.trotter is None or not self.ground:
            return True
        apart = float(levels[1] - levels[0]) > APART * float(levels[-1] - levels[0])
        return apart and _share(state, ground) > 0.5 + DOMINANT

    def check(self, made: Any) -> None:
        """Refuse an evolution that is another one than this.

        Args:
            made: the unitary, as an `EigenPhase`.

        Raises:
            ValueError: says in what they differ.
        """
        matrix = hamiltonian_matrix(self.problem)
        if matrix.shape != made.unitary.shape:
            raise _lie("wires", made.wires, len(matrix).bit_length() - 1)
        if made.time is None:
            raise _lie("time", None, "a time" if self.time is None else self.time)
        levels, vectors = np.linalg.eigh(matrix)
        self._check_numbers(made, levels)
        if self.trotter is None:
            if made.gates is not None:
                raise _lie("gates", "some", "none: the evolution is exact")
            probe = np.exp(1j * np.arange(len(levels)) ** 2) / math.sqrt(len(levels))
            found = vectors @ (np.exp(-1j * made.time * levels) * (vectors.conj().T @ probe))
            gap = float(np.linalg.norm(found - made.unitary @ probe))
            if gap > SAME:
                raise _lie("unitary", f"one that is off by {gap:.3g}", "exp(-i H time)")
        else:
            self._check_gates(made, matrix)
        if self.ground:
            self._check_ground(made, matrix, levels, vectors)

    def _check_numbers(self, made: Any, levels: NDArray[Any]) -> None:
        middle = float(np.mean(levels))
        widest = float(np.max(np.abs(levels - middle)))
        # What was given is kept to the bit; what was computed differs by rounding.
        time = fitting_time(widest) if self.time is None else self.time
        if abs(made.time - time) > (SAME * abs(time) if self.time is None else 0):
            raise _lie("time", made.time, time)
        near = middle if self.near is None else self.near
        if abs(made.near - near) > (SAME * max(abs(near), widest, 1.0) if self.near is None else 0):
            raise _lie("near", made.near, near)

    def _check_gates(self, made: Any, matrix: NDArray[Any]) -> None:
        assert self.trotter is not None
        assert self.order is not None
        if (made.steps or 1) != self.trotter:
            raise _lie("steps", made.steps or 1, self.trotter)
        formula = product_formula(PauliSum.from_matrix(matrix), made.time / self.trotter, self.order)
        # That the gates give the unitary is for the unitary to check.
        if made.gates is None or not _alike(made.gates, formula):
            raise _lie("gates", "others", f"those of the product formula of order {self.order}")

    def _check_ground(self, made: Any, matrix: NDArray[Any], levels: NDArray[Any], vectors: NDArray[Any]) -> None:
        state = made.state
        if made.preparation is not None:
            raise _lie("preparation", "gates", "none: the state is the ground state")
        if self.trotter is None:
            gap = float(np.linalg.norm(matrix @ state - levels[0] * state))
            if gap > SAME * float(levels[-1] - levels[0]) + EMPTY * float(np.max(np.abs(levels))):
                raise _lie("state", f"one that is off by {gap:.3g}", "the ground state")
            return
        turned = made.unitary @ state
        gap = float(np.linalg.norm(turned - np.vdot(state, turned) * state))
        if gap > SAME or _share(state, vectors[:, 0]) <= 0.5:
            raise _lie("state", "another", "the eigenstate that is closest to the ground state")


def as_data(problem: Any) -> Any:
    """A problem that a record can hold: itself, or the words or the matrix of what it is.

    Raises:
        TypeError: if it has no Hamiltonian.
        ValueError: if that is not Hermitian.

    Example:
        >>> as_data(PauliSum.from_words({"ZZ": 0.5}))
        Operator(2 wires, 1 word: 0.5 ZZ)
    """
    if spec.is_spec(problem) and spec.identity(problem)[1]:
        return problem
    found = getattr(problem, "pauli", None)
    return Operator(found if isinstance(found, PauliSum) else getattr(problem, "hamiltonian", problem))


def hamiltonian_matrix(problem: Any) -> NDArray[np.complex128]:
    """The dense matrix of a problem's Hamiltonian, shape (2^n, 2^n).

    Raises:
        ValueError: for more than 10 wires, or if it is not Hermitian.

    Example:
        >>> hamiltonian_matrix(Operator({"Z": 0.5})).real.tolist()
        [[0.5, 0.0], [0.0, -0.5]]
    """
    found = getattr(problem, "pauli", None)
    if not isinstance(found, PauliSum):
        operator = problem if isinstance(problem, Operator) else Operator(getattr(problem, "hamiltonian", problem))
        checks.integer("problem's wires", operator.wires, 1, MOST_WIRES, "The evolution is kept as a dense matrix.")
        return checks.hermitian("problem", operator.matrix.toarray())
    checks.integer("problem's wires", found.wires, 1, MOST_WIRES, "The evolution is kept as a dense matrix.")
    return checks.hermitian("problem", found.sparse().toarray())


def fitting_time(widest: float) -> float:
    """The time in which the outermost level turns by a little less than half a turn against the middle.

    Args:
        widest: the largest distance of a level from the middle, in units of the energy.

    Example:
        >>> round(fitting_time(2.0), 6)
        1.492257
    """
    return MARGIN * math.pi / widest if widest > EMPTY else 1.0


def suzuki_order(order: int) -> int:
    """The order of a product formula, checked.

    Raises:
        TypeError: if it is no integer.
        ValueError: unless it is 1 or even.

    Example:
        >>> suzuki_order(4)
        4
    """
    number = checks.integer("order", order, 1)
    if number != 1 and number % 2:
        raise ValueError(f"order must be 1 or even, as Suzuki's formulas are. Got {number}. Use order=2.")
    return number


def _lie(name: str, came: Any, want: Any) -> ValueError:
    return ValueError(f"origin must be what the unitary was made of. Got {name}={came}, where it says {want}. {_HINT}")


def _share(state: NDArray[Any], other: NDArray[Any]) -> float:
    return float(abs(np.vdot(other, state)) ** 2)


def _alike(gates: Sequence[Gate], formula: Sequence[Gate]) -> bool:
    """Whether two lists of rotations are one, but for rotations that rounding could have left out."""
    one, other = _turns(gates), _turns(formula)
    if [axis for axis, _ in one] != [axis for axis, _ in other]:
        return False
    return all(abs(a - b) <= SAME for (_, a), (_, b) in zip(one, other, strict=True))


def _turns(gates: Sequence[Gate]) -> list[tuple[Any, float]]:
    out: list[tuple[Any, float]] = []
    for gate in gates:
        axis = (gate.name, gate.wires, gate.more)
        if gate.name not in ("PauliRot", "GlobalPhase"):
            out.append((axis, math.nan))
        elif abs(gate.numbers[0]) > TINY:
            if out and out[-1][0] == axis:
                out[-1] = (axis, out[-1][1] + gate.numbers[0])
            else:
                out.append((axis, gate.numbers[0]))
    return out
