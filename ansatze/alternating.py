"""The alternating operator ansatz of QAOA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.ansatze.base import Template
from varq.ansatze.requirements import qubits
from varq.keys import Key

__all__ = ["Alternating"]

RAMP = 0.6  # largest angle of the linear ramp, in units of 1 / (largest cost coefficient) for the cost

TERM = "A term is (coefficient, (wires of the Z,)), such as (0.5, (0, 1))."

Term = tuple[float, tuple[int, ...]]


@dataclass(frozen=True)
class Alternating(Template):
    r"""QAOA: alternately a phase by a diagonal cost and a rotation of every wire, from the uniform superposition.

    With the cost :math:`C = \sum_k c_k \prod_{i \in S_k} Z_i`, to be minimized, and :math:`B = \sum_i X_i`, the
    circuit is :math:`\prod_l e^{-i \beta_l B} e^{-i \gamma_l C} |{+}\cdots{+}\rangle`, layer 0 first: gates
    RZ, IsingZZ or MultiRZ by :math:`2 \gamma_l c_k`, then RX by :math:`2 \beta_l`.  The uniform superposition is the
    ground state of -B, so a slow passage to the ground state of C has :math:`\gamma > 0` and :math:`\beta < 0`;
    both signs reversed give the same value, as the cost is real.  (Papers that maximize a cut C' = -C use
    :math:`\gamma' = -\gamma`.)

    Args:
        terms: ((coefficient, (wires of the Z,)), ...); a constant is of no effect and left out.
        wires: how many wires.
        depth: layers.

    Raises:
        ValueError: for a wire that does not exist or stands twice in one term, or no layer.

    Parameters: radians, shape (2, depth): row 0 the gammas, row 1 the betas.  `init` gives a linear ramp whatever the
    key: gammas grow to 0.6 / max |c|, betas go from -0.6 to 0.

    References:
        Farhi, Goldstone and Gutmann, arXiv:1411.4028; ramp: Montanez-Barrera and Michielsen, arXiv:2405.09169.

    Example:
        >>> Alternating(terms=[(0.5, (0, 1))], wires=2, depth=1).init(0)
        array([[ 0.6],
               [-0.3]])
    """

    terms: tuple[Term, ...]
    wires: int
    depth: int = 1
    kind: ClassVar[str] = "ansatz:alternating"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "wires", checks.integer("wires", self.wires, minimum=1))
        object.__setattr__(self, "depth", checks.integer("depth", self.depth, minimum=1, hint="It counts layers."))
        checks.instance("terms", self.terms, (tuple, list), hint=TERM)
        object.__setattr__(self, "terms", tuple(self._term(t) for t in self.terms))

    def _term(self, term: Any) -> Term:
        try:
            weight, where = term
            where = tuple(where)
        except (TypeError, ValueError) as error:
            raise TypeError(f"terms must hold pairs of a number and a tuple of wires. Got {term!r}. {TERM}") from error
        places = tuple(checks.integer("terms", w, minimum=0, maximum=self.wires - 1, hint=TERM) for w in where)
        if not places or len(set(places)) < len(places):
            raise ValueError(f"terms must each name different wires, at least one. Got {term!r}. {TERM}")
        return checks.real("terms", weight, hint=TERM), places

    @classmethod
    def for_problem(cls, problem: Any, depth: int = 1) -> Alternating:
        """The ansatz of `depth` layers whose cost is the problem's Hamiltonian.

        Raises:
            ValueError: if the Hamiltonian is absent or not diagonal.
        """
        wires = qubits("Alternating", problem)
        hamiltonian = getattr(problem, "hamiltonian", None)
        if hamiltonian is None:
            raise ValueError(
                f"Alternating needs a problem with a hamiltonian. Got {type(problem).__name__}. State `terms` instead."
            )
        return cls(_diagonal(hamiltonian.pauli_rep, type(problem).__name__), wires, depth)

    @property
    def shape(self) -> tuple[int, int]:
        """(2, depth)."""
        return (2, self.depth)

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"QAOA, depth {self.depth}"

    def _start(self, key: Key) -> NDArray[np.float64]:
        done = (np.arange(self.depth) + 0.5) / self.depth
        largest = max((abs(c) for c, _ in self.terms), default=0.0)
        return RAMP * np.stack([done / (largest or 1.0), done - 1])

    def _apply(self, params: Any) -> None:
        for wire in range(self.wires):
            qml.Hadamard(wire)
        for layer in range(self.depth):
            # One object for all terms of a weight: varq.qubit then sees that they go by one number.
            angles = {weight: 2 * weight * params[0, layer] for weight, _ in self.terms}
            for weight, where in self.terms:
                _phase(angles[weight], where)
            turned = 2 * params[1, layer]
            for wire in range(self.wires):
                qml.RX(turned, wire)


def _phase(angle: Any, where: tuple[int, ...]) -> None:
    """exp(-i angle/2 Z...Z)."""
    if len(where) == 1:
        qml.RZ(angle, where[0])
    elif len(where) == 2:
        qml.IsingZZ(angle, where)
    else:
        qml.MultiRZ(angle, where)


def _diagonal(words: Any, problem: str) -> tuple[Term, ...]:
    """The terms of a PennyLane Pauli sentence of Z alone, without the constant."""
    terms = []
    for word, weight in words.items():
        if any(letter != "Z" for letter in word.values()):
            raise ValueError(
                f"Alternating needs a diagonal cost (products of Z). The Hamiltonian of this {problem} holds {word}. "
                "Use 'hamiltonian-variational' instead."
            )
        if len(word):
            terms.append((float(np.real(weight)), tuple(sorted(word))))
    return tuple(terms)
