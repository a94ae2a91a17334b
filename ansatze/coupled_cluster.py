"""Unitary coupled cluster: the ansatze of quantum chemistry, as products of fermionic excitations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.ansatze.base import Template
from varq.ansatze.excitations import Excitation, electron_pair, excite, generalized_pairs
from varq.ansatze.requirements import fermions
from varq.keys import Key

__all__ = ["UCCSD", "KUpCCGSD", "hartree_fock"]


def hartree_fock(electrons: tuple[int, int], orbitals: int) -> NDArray[np.int64]:
    """The occupation of each wire in the determinant that fills the lowest orbitals, shape (2 orbitals,).

    Example:
        >>> hartree_fock((2, 1), 3)
        array([1, 1, 1, 0, 0, 0])
    """
    bits = np.zeros((orbitals, 2), dtype=np.int64)
    bits[: electrons[0], 0] = 1
    bits[: electrons[1], 1] = 1
    return bits.ravel()


@dataclass(frozen=True)
class UCCSD(Template):
    r"""Unitary coupled cluster with spin-conserving singles and doubles, as a first-order product from Hartree-Fock.

    The circuit is :math:`\prod_k \exp(\frac{\theta_k}{2}(T_k - T_k^\dagger))` on the Hartree-Fock determinant: first
    the doubles of opposite spins, then those of equal spins, then the singles.  (Doubles first is the better order for
    LiH, BeH2 and H2O near equilibrium; the order among the doubles changes their energies by less than 0.1
    microhartree.)  Closed and open shells; wires as in `varq.ansatze.excitations`.

    Args:
        electrons: (spin up, spin down).
        orbitals: spatial orbitals; there are twice as many wires.

    Raises:
        ValueError: if there are more electrons of a spin than orbitals.

    Parameters: angles in radians, shape (number of excitations,): twice the cluster amplitudes.  `init` gives zeros,
    the Hartree-Fock state, where the doubles have a gradient.

    References:
        Peruzzo et al., Nat. Commun. 5, 4213 (2014); Romero et al., Quantum Sci. Technol. 4, 014008 (2018).

    Example:
        >>> UCCSD(electrons=(2, 2), orbitals=6).size
        92
    """

    electrons: tuple[int, int]
    orbitals: int
    kind: ClassVar[str] = "ansatz:uccsd"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "orbitals", checks.integer("orbitals", self.orbitals, minimum=1))
        object.__setattr__(self, "electrons", electron_pair(self.electrons, self.orbitals))

    @classmethod
    def for_problem(cls, problem: Any) -> UCCSD:
        """The ansatz for a problem with `electrons`, `orbitals` and Jordan-Wigner wires.

        Raises:
            ValueError: if the problem has no electrons, or another map.
        """
        return cls(*fermions("UCCSD", problem))

    @property
    def wires(self) -> int:
        """Two for each orbital."""
        return 2 * self.orbitals

    @cached_property
    def excitations(self) -> tuple[Excitation, ...]:
        """The excitations in the order of their parameters, as (from, to) spin orbitals."""
        occupied = [[2 * p + s for p in range(n)] for s, n in enumerate(self.electrons)]
        empty = [[2 * p + s for p in range(n, self.orbitals)] for s, n in enumerate(self.electrons)]
        opposite = [(tuple(sorted((i, j))), tuple(sorted((a, b)))) for i, j, a, b in product(*occupied, *empty)]
        equal = [
            (ij, ab)
            for o, v in zip(occupied, empty, strict=True)
            for ij in combinations(o, 2)
            for ab in combinations(v, 2)
        ]
        singles = [((i,), (a,)) for o, v in zip(occupied, empty, strict=True) for i in o for a in v]
        return (*opposite, *equal, *singles)

    @property
    def shape(self) -> tuple[int]:
        """(number of excitations,)."""
        return (len(self.excitations),)

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of an expectation value in any one angle: an excitation's generator has eigenvalues 0 and +-1/2."""
        return (0.5, 1.0)

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"UCCSD ({self.size} angles)"

    def _start(self, key: Key) -> NDArray[np.float64]:
        return np.zeros(self.shape)

    def _apply(self, params: Any) -> None:
        qml.BasisState(hartree_fock(self.electrons, self.orbitals), wires=range(self.wires))
        for k, excitation in enumerate(self.excitations):
            excite(params[k], excitation)


@dataclass(frozen=True)
class KUpCCGSD(Template):
    """k layers of generalized paired doubles and generalized singles, from Hartree-Fock.

    Each layer moves electron pairs between every two orbitals, then single electrons of each spin between every two.
    Its depth grows linearly with the orbitals; k of 2 or 3 reaches chemical accuracy also for stretched bonds, among
    many local minima: try several seeds.

    Args:
        electrons: (spin up, spin down).
        orbitals: spatial orbitals, at least 2; there are twice as many wires.
        k: layers.

    Raises:
        ValueError: if there are more electrons of a spin than orbitals, or k < 1.

    Parameters: angles in radians, shape (k, 3 orbitals (orbitals - 1) / 2); each layer's pairs, singles up, singles
    down.  `init` draws them from a normal distribution of width 0.1.

    References:
        Lee, Huggins, Head-Gordon and Whaley, J. Chem. Theory Comput. 15, 311 (2019).

    Example:
        >>> KUpCCGSD(electrons=(1, 1), orbitals=2, k=2).shape
        (2, 3)
    """

    electrons: tuple[int, int]
    orbitals: int
    k: int = 2
    kind: ClassVar[str] = "ansatz:kupccgsd"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "orbitals", checks.integer("orbitals", self.orbitals, minimum=2))
        object.__setattr__(self, "electrons", electron_pair(self.electrons, self.orbitals))
        object.__setattr__(self, "k", checks.integer("k", self.k, minimum=1, hint="It counts layers."))

    @classmethod
    def for_problem(cls, problem: Any, k: int = 2) -> KUpCCGSD:
        """The ansatz of k layers for a problem with `electrons`, `orbitals` and Jordan-Wigner wires.

        Raises:
            ValueError: if the problem has no electrons, or another map.
        """
        return cls(*fermions("KUpCCGSD", problem), k=k)

    @property
    def wires(self) -> int:
        """Two for each orbital."""
        return 2 * self.orbitals

    @cached_property
    def excitations(self) -> tuple[Excitation, ...]:
        """The excitations of one layer in the order of their parameters, as (from, to) spin orbitals."""
        pairs = generalized_pairs(self.orbitals, min(self.electrons))
        doubles = [((2 * p, 2 * p + 1), (2 * q, 2 * q + 1)) for p, q in pairs]
        singles = [
            ((2 * p + s,), (2 * q + s,))
            for s, n in enumerate(self.electrons)
            for p, q in generalized_pairs(self.orbitals, n)
        ]
        return (*doubles, *singles)

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, excitations of one layer)."""
        return (self.k, len(self.excitations))

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of an expectation value in any one angle: an excitation's generator has eigenvalues 0 and +-1/2."""
        return (0.5, 1.0)

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"{self.k}-UpCCGSD ({self.size} angles)"

    def _apply(self, params: Any) -> None:
        qml.BasisState(hartree_fock(self.electrons, self.orbitals), wires=range(self.wires))
        for layer in range(self.k):
            for index, excitation in enumerate(self.excitations):
                excite(params[layer, index], excitation)
