"""Tiled rotations of neighboring orbitals: circuits that keep the number of electrons of each spin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pennylane as qml

from varq import checks
from varq.ansatze.base import Template
from varq.ansatze.coupled_cluster import hartree_fock
from varq.ansatze.excitations import electron_pair, excite
from varq.ansatze.requirements import fermions

__all__ = ["GivensLayers"]


@dataclass(frozen=True)
class GivensLayers(Template):
    r"""A brick wall of blocks on neighboring orbitals, each a rotation, a pair exchange and another rotation.

    A block on orbitals p and p + 1 is :math:`R(\theta_2) D(\theta_1) R(\theta_0)` with R the Givens rotation of both
    orbitals, equal for the two spins, and D the exchange of an electron pair.  All of it keeps the electrons of each
    spin and the total spin, and every gate acts on four neighboring wires.  Enough layers reach every real state of
    the same numbers and spin.  It starts from the determinant that fills the lowest orbitals.

    Args:
        electrons: (spin up, spin down).
        orbitals: spatial orbitals, at least 2; there are twice as many wires.
        depth: layers; each holds a block on every pair of neighbors, those that begin at even orbitals first.

    Raises:
        ValueError: if there are more electrons of a spin than orbitals, or no layer.

    Parameters: angles in radians, shape (depth, orbitals - 1, 3): layer, block in the order it is applied, (rotation,
    exchange, rotation).  `init` draws them from a normal distribution of width 0.1.

    References:
        Anselmetti, Wierichs, Gogolin and Parrish, New J. Phys. 23, 113010 (2021); Burton, arXiv:2312.09761.

    Example:
        >>> GivensLayers(electrons=(2, 2), orbitals=4, depth=5).blocks
        (0, 2, 1)
    """

    electrons: tuple[int, int]
    orbitals: int
    depth: int = 3
    kind: ClassVar[str] = "ansatz:givens-layers"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "orbitals", checks.integer("orbitals", self.orbitals, minimum=2))
        object.__setattr__(self, "electrons", electron_pair(self.electrons, self.orbitals))
        object.__setattr__(self, "depth", checks.integer("depth", self.depth, minimum=1, hint="It counts layers."))

    @classmethod
    def for_problem(cls, problem: Any, depth: int = 3) -> GivensLayers:
        """The ansatz for a problem with `electrons`, `orbitals` and Jordan-Wigner wires.

        Raises:
            ValueError: if the problem has no electrons, or another map.
        """
        return cls(*fermions("GivensLayers", problem), depth=depth)

    @property
    def wires(self) -> int:
        """Two for each orbital."""
        return 2 * self.orbitals

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The first orbital of each block of a layer, in the order they are applied."""
        return (*range(0, self.orbitals - 1, 2), *range(1, self.orbitals - 1, 2))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, blocks of a layer, 3)."""
        return (self.depth, self.orbitals - 1, 3)

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Of an expectation value in any one angle: a rotation turns both spins, up to twice +-1/2."""
        return (0.5, 1.0, 1.5, 2.0)

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return f"Givens layers, depth {self.depth}"

    def _apply(self, params: Any) -> None:
        qml.BasisState(hartree_fock(self.electrons, self.orbitals), wires=range(self.wires))
        for layer in range(self.depth):
            for index, p in enumerate(self.blocks):
                rotate_orbitals(params[layer, index, 0], p)
                excite(params[layer, index, 1], ((2 * p, 2 * p + 1), (2 * p + 2, 2 * p + 3)))
                rotate_orbitals(params[layer, index, 2], p)


def rotate_orbitals(angle: Any, p: int) -> None:
    """Queue the rotation of orbital p towards p + 1 by angle/2, for both spins."""
    for spin in (0, 1):
        excite(angle, ((2 * p + spin,), (2 * p + 2 + spin,)))
