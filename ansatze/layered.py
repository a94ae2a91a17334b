"""Layered ansatze: hardware-efficient rotations and entanglers, and the parts of a Hamiltonian in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.ansatze.base import Template
from varq.ansatze.excitations import electron_pair
from varq.ansatze.fermi_sea import prepare_fermi_sea
from varq.ansatze.requirements import fermions, qubits
from varq.ansatze.words import Part, Word, checked_parts, evolve, words_of
from varq.keys import Key

__all__ = ["HamiltonianVariational", "HardwareEfficient"]

ROTATIONS = {"RX": qml.RX, "RY": qml.RY, "RZ": qml.RZ}
ENTANGLERS = {"CNOT": qml.CNOT, "CZ": qml.CZ}
PATTERNS = ("all", "chain", "ring")
STARTS = ("fermi-sea", "plus", "singlets", "zeros")
USUAL_START = {
    "problem:transverse-field-ising": "plus",
    "problem:heisenberg": "singlets",
    "problem:hubbard": "fermi-sea",
}
LARGEST_START = 0.4  # radians; angles of zero are a stationary point for a real Hamiltonian and start


@dataclass(frozen=True)
class HardwareEfficient(Template):
    """Rotations of every wire between layers of a fixed two-qubit gate, from |0...0>.

    Args:
        wires: how many wires.
        depth: entangling layers; there is one more layer of rotations.
        rotations: gates on each wire in each layer, in order: "RX", "RY", "RZ".
        entangler: "CNOT" or "CZ".
        pattern: "ring" (each wire with the next, the last with the first), "chain" (no last with first), or "all"
            (every pair).

    Raises:
        ValueError: for an unknown gate or pattern.

    Parameters: angles in radians, shape (depth + 1, wires, number of rotations).  `init` draws them from a normal
    distribution of variance 1 / (8 (depth + 2)), for which gradients of two-body terms do not vanish with size.

    References:
        Kandala et al., Nature 549, 242 (2017); Zhang et al., NeurIPS 35 (2022), arXiv:2203.09376.

    Example:
        >>> HardwareEfficient(wires=4, depth=2).shape
        (3, 4, 2)
    """

    wires: int
    depth: int = 3
    rotations: tuple[str, ...] = ("RY", "RZ")
    entangler: str = "CNOT"
    pattern: str = "ring"
    kind: ClassVar[str] = "ansatz:hardware-efficient"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "wires", checks.integer("wires", self.wires, minimum=1))
        object.__setattr__(self, "depth", checks.integer("depth", self.depth, minimum=0, hint="It counts layers."))
        checks.instance("rotations", self.rotations, (tuple, list), hint="Use a tuple such as ('RY', 'RZ').")
        names = tuple(checks.choice("rotations", name, ROTATIONS) for name in self.rotations)
        if not names:
            raise ValueError("rotations must name at least one gate. Got none. Use a tuple such as ('RY',).")
        object.__setattr__(self, "rotations", names)
        checks.choice("entangler", self.entangler, ENTANGLERS)
        checks.choice("pattern", self.pattern, PATTERNS)

    @classmethod
    def for_problem(cls, problem: Any, **options: Any) -> HardwareEfficient:
        """The ansatz on the problem's wires; `options` are its other fields.

        Raises:
            ValueError: if the problem states no wires.
        """
        return cls(qubits("HardwareEfficient", problem), **options)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(depth + 1, wires, number of rotations)."""
        return (self.depth + 1, self.wires, len(self.rotations))

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of an expectation value in any one angle: each turns one Pauli operator."""
        return (1.0,)

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"Hardware-efficient, depth {self.depth}"

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The wires that each entangling layer joins, in order."""
        if self.pattern == "all":
            return tuple(combinations(range(self.wires), 2))
        chain = tuple((i, i + 1) for i in range(self.wires - 1))
        closed = self.pattern == "ring" and self.wires > 2
        return (*chain, (self.wires - 1, 0)) if closed else chain

    def _start(self, key: Key) -> NDArray[np.float64]:
        width = 1 / np.sqrt(8 * (self.depth + 2))
        return np.asarray(width * key.generator().standard_normal(self.shape))

    def _apply(self, params: Any) -> None:
        for layer in range(self.depth + 1):
            if layer > 0:
                for pair in self.pairs:
                    ENTANGLERS[self.entangler](pair)
            for wire in range(self.wires):
                for index, name in enumerate(self.rotations):
                    ROTATIONS[name](params[layer, wire, index], wire)


@dataclass(frozen=True)
class HamiltonianVariational(Template):
    r"""The parts of a Hamiltonian in turn: :math:`\prod_l \prod_k e^{-i \theta_{lk} H_k}` on a simple state.

    The words of each part commute, so every factor is exact.  It keeps the symmetries that the parts and the start
    share.

    Args:
        parts: ((name, ((coefficient, word), ...)), ...): in the order they are applied; a word such as "XZXI" has one
            letter for each wire; constants are left out.
        depth: layers.
        start: "zeros"; "plus", every wire in |+>; "singlets", a singlet on each bond of the first part, whose bonds
            must not touch; "fermi-sea", the ground state of the one-electron part of the sum of all parts, on
            interleaved Jordan-Wigner wires.
        electrons: (spin up, spin down) for "fermi-sea", None otherwise.

    Raises:
        ValueError: for words of different length or other letters than I, X, Y, Z, for a part whose words do not
            commute, for an unknown start, or a start that does not fit the parts.

    Parameters: radians (inverse energies of the coefficients' unit), shape (depth, parts).  `init` draws them evenly
    between 0 and 0.4.

    References:
        Wecker, Hastings and Troyer, Phys. Rev. A 92, 042303 (2015); Wiersema et al., PRX Quantum 1, 020319 (2020).

    Example:
        >>> bonds, fields = [(-1, "ZZI"), (-1, "IZZ")], [(-1, "XII"), (-1, "IXI"), (-1, "IIX")]
        >>> HamiltonianVariational(parts=[("bonds", bonds), ("field", fields)], depth=2, start="plus").shape
        (2, 2)
    """

    parts: tuple[Part, ...]
    depth: int = 1
    start: str = "zeros"
    electrons: tuple[int, int] | None = None
    kind: ClassVar[str] = "ansatz:hamiltonian-variational"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", checks.integer("depth", self.depth, minimum=1, hint="It counts layers."))
        object.__setattr__(self, "parts", checked_parts(self.parts))
        checks.choice("start", self.start, STARTS)
        if self.start == "singlets":
            self._bonds()
        self._check_electrons()

    def _check_electrons(self) -> None:
        if (self.start == "fermi-sea") != (self.electrons is not None):
            raise ValueError(
                f"electrons must be given for start='fermi-sea' and for no other. Got start={self.start!r} with "
                f"electrons={self.electrons!r}. Use electrons=(n_up, n_down) or None."
            )
        if self.electrons is not None:
            if self.wires % 2:
                raise ValueError(
                    f"start='fermi-sea' needs two wires for each orbital. Got words of {self.wires} letters. "
                    "Interleave the spins, up first."
                )
            object.__setattr__(self, "electrons", electron_pair(self.electrons, self.wires // 2))

    @classmethod
    def for_problem(cls, problem: Any, depth: int | None = None, start: str | None = None) -> HamiltonianVariational:
        """The ansatz from a problem's `parts`.

        Args:
            problem: has `parts`, pairs of a name and a sum of commuting Pauli words.
            depth: layers; None for half as many as wires.
            start: None for the usual one: "plus" for Ising, "singlets" for Heisenberg, "fermi-sea" for Hubbard models.

        Raises:
            ValueError: if the problem has no parts, or no electrons where the start needs them.
        """
        wires = qubits("HamiltonianVariational", problem)
        parts = getattr(problem, "parts", None)
        if parts is None:
            raise ValueError(
                f"HamiltonianVariational needs a problem that states the commuting parts of its Hamiltonian. "
                f"Got {type(problem).__name__}, which does not. Use 'hardware-efficient', or state `parts` yourself."
            )
        begin = start or USUAL_START.get(getattr(problem, "kind", ""), "zeros")
        electrons = fermions("start='fermi-sea'", problem)[0] if begin == "fermi-sea" else None
        named = tuple((name, words_of(part, wires)) for name, part in parts)
        layers = max(1, wires // 2) if depth is None else depth
        return cls(tuple(p for p in named if p[1]), layers, begin, electrons)

    @property
    def wires(self) -> int:
        """As many as a word has letters."""
        return len(self.parts[0][1][0][1])

    @property
    def shape(self) -> tuple[int, int]:
        """(depth, parts)."""
        return (self.depth, len(self.parts))

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"Hamiltonian variational, depth {self.depth}"

    def _bonds(self) -> list[tuple[int, int]]:
        name, words = self.parts[0]
        bonds = sorted({tuple(k for k, letter in enumerate(word) if letter != "I") for _, word in words})
        ends = [k for bond in bonds for k in bond]
        if any(len(bond) != 2 for bond in bonds) or len(set(ends)) < len(ends):
            raise ValueError(
                f"start='singlets' needs a first part of two-wire words on bonds that do not touch. Got part {name!r} "
                f"on {bonds}. Reorder the parts, or use start='plus'."
            )
        return [(a, b) for a, b in bonds]

    def _all_words(self) -> Iterator[Word]:
        for _, words in self.parts:
            yield from words

    def _start(self, key: Key) -> NDArray[np.float64]:
        return LARGEST_START * key.generator().random(self.shape)

    def _prepare(self) -> None:
        if self.start == "plus":
            for wire in range(self.wires):
                qml.Hadamard(wire)
        elif self.start == "singlets":
            for a, b in self._bonds():
                _singlet(a, b)
        elif self.electrons is not None:
            prepare_fermi_sea(self._all_words(), self.electrons)

    def _apply(self, params: Any) -> None:
        self._prepare()
        for layer in range(self.depth):
            for index, (_, words) in enumerate(self.parts):
                for weight, word in words:
                    evolve(2 * weight * params[layer, index], word)


def _singlet(a: int, b: int) -> None:
    """(|01> - |10>) / sqrt(2) from |00>."""
    qml.X(a)
    qml.X(b)
    qml.Hadamard(a)
    qml.CNOT([a, b])
