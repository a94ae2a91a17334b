"""Spin and electron models on chains, rings and rectangles."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.problems import closed_forms, fermion, grid, spectrum
from varq.problems.pauli import MOST_WIRES, PauliSum

__all__ = ["Heisenberg", "Hubbard", "TransverseFieldIsing"]

Parts = tuple[tuple[str, PauliSum], ...]


@dataclass(frozen=True)
class _Lattice(ABC):
    """What the models share: sites, bonds and a Hamiltonian that is the sum of parts of commuting words."""

    sites: int | None = None
    shape: tuple[int, ...] | None = None

    unit: ClassVar[str] = ""
    periodic: Any = False

    def __post_init__(self) -> None:
        shape = grid.site_shape(self.sites, self.shape)
        self._set(shape=shape, sites=math.prod(shape), periodic=grid.axes_periodic(self.periodic, shape))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def _axes(self) -> tuple[int, ...]:
        return self.shape or ()

    @property
    def _count(self) -> int:
        return int(self.sites or 0)

    @property
    def _where(self) -> str:
        return grid.words(self._axes, self.periodic)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The bonds between neighboring sites, each once, the lower site first."""
        return tuple(bond for axis in grid.bonds(self._axes, self.periodic) for bond in axis)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where to draw the sites, shape (sites, 2)."""
        return grid.positions(self._axes, self.periodic)

    @property
    def wires(self) -> int:
        """Number of wires, 0 .. wires-1."""
        return self._count

    def _fits(self) -> None:
        """Raises before billions of bonds are listed."""
        hint = "Larger lattices have no Hamiltonian here."
        checks.integer("wires", self.wires, maximum=MOST_WIRES, hint=hint)

    @property
    @abstractmethod
    def parts(self) -> Parts:
        """The Hamiltonian as (name, sum of commuting words)."""

    @cached_property
    def pauli(self) -> PauliSum:
        """The Hamiltonian as a `PauliSum`."""
        return sum((part for _, part in self.parts), PauliSum.zero(self.wires))

    @cached_property
    def hamiltonian(self) -> Any:
        """The Hamiltonian as a PennyLane operator."""
        return self.pauli.operator()


@dataclass(frozen=True)
class TransverseFieldIsing(_Lattice):
    """The Ising model in a transverse field, H = -J sum Z_i Z_j - g sum X_i over neighboring i, j.

    Args:
        sites: length of a chain or ring; or leave it out and give `shape`.
        shape: (length,) or (rows, columns).
        coupling: J; positive is ferromagnetic.
        field: g.
        periodic: whether ends are joined; for a rectangle also one boolean for each axis. An axis of 2 sites has one
            bond either way.

    Raises:
        TypeError, ValueError: for lengths below 1, numbers that are not finite, or axes that do not match.

    Example:
        >>> ring = TransverseFieldIsing(8, field=0.5, periodic=True)
        >>> ring
        TransverseFieldIsing(ring of 8, J=1, g=0.5)
        >>> round(ring.reference(), 6)
        -8.509082
    """

    coupling: float = 1.0
    field: float = 1.0
    kind: ClassVar[str] = "problem:transverse-field-ising"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(coupling=checks.real("coupling", self.coupling), field=checks.real("field", self.field))

    def __repr__(self) -> str:
        return f"TransverseFieldIsing({self._where}, J={self.coupling:g}, g={self.field:g})"

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"Ising {self._where}, g = {self.field:g}"

    @cached_property
    def parts(self) -> Parts:
        """("bonds", -J sum ZZ) and ("field", -g sum X)."""
        self._fits()
        bonds = [_word(self.wires, {a: "Z", b: "Z"}, -self.coupling) for a, b in self.edges]
        field = [_word(self.wires, {k: "X"}, -self.field) for k in range(self.wires)]
        return ("bonds", _sum(self.wires, bonds)), ("field", _sum(self.wires, field))

    def reference(self) -> float | None:
        """The exact ground energy: chains and rings of any length by free fermions, rectangles up to 20 sites."""
        if min(self._axes) == 1 or len(self._axes) == 1:
            energy = closed_forms.ising_ring if any(self.periodic) else closed_forms.ising_chain
            return energy(self._count, self.coupling, self.field)
        return _first(self.pauli.lowest()) if self.wires <= 20 else None


@dataclass(frozen=True)
class Heisenberg(_Lattice):
    """Spins one half with H = J1 sum S_i.S_j over neighbors + J2 sum S_i.S_j over next neighbors, S = sigma / 2.

    Args:
        sites: length of a chain or ring; or leave it out and give `shape`.
        shape: (length,) or (rows, columns).
        coupling: J1; positive is antiferromagnetic.
        second_coupling: J2, between sites two apart on a chain, or across the plaquettes of a rectangle.
        periodic: whether ends are joined; for a rectangle also one boolean for each axis. An axis of 2 sites has one
            bond either way.

    Raises:
        TypeError, ValueError: for lengths below 1, numbers that are not finite, or axes that do not match.

    Example:
        >>> round(Heisenberg(4, periodic=True).reference(), 9)
        -2.0
    """

    coupling: float = 1.0
    second_coupling: float = 0.0
    kind: ClassVar[str] = "problem:heisenberg"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            coupling=checks.real("coupling", self.coupling),
            second_coupling=checks.real("second_coupling", self.second_coupling),
        )

    def __repr__(self) -> str:
        second = f", J2={self.second_coupling:g}" if self.second_coupling else ""
        return f"Heisenberg({self._where}, J={self.coupling:g}{second})"

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"Heisenberg {self._where}" + (f", J2 = {self.second_coupling:g}" if self.second_coupling else "")

    @cached_property
    def parts(self) -> Parts:
        """S.S on bonds that do not touch, a part for each such set: on a chain the even bonds, then the odd ones."""
        self._fits()
        near = grid.bonds(self._axes, self.periodic)
        far = grid.diagonals(self._axes, self.periodic) if self.second_coupling else []
        return tuple(
            (f"{name} {k}", _exchange(self.wires, group, strength))
            for name, axes, strength in (("bonds", near, self.coupling), ("next bonds", far, self.second_coupling))
            for k, group in enumerate(group for axis in axes for group in grid.sublayers(axis))
        )

    @cached_property
    def spin_squared(self) -> Any:
        """The total spin S^2 as a PennyLane operator, an observable to follow: 0 for singlets, 2 for triplets."""
        return self._spin_squared.operator()

    @property
    def _spin_squared(self) -> PauliSum:
        pairs = list(itertools.combinations(range(self.wires), 2))
        return PauliSum.identity(self.wires, 0.75 * self.wires) + _exchange(self.wires, pairs, 2.0)

    def _sector(self) -> NDArray[np.int64] | None:
        """The states of total Sz 0 or 1/2, in which every multiplet has a member; None where they are too many."""
        if math.comb(self.wires, self.wires // 2) > spectrum.MOST_STATES or self.wires > 24:
            return None
        states = np.arange(1 << self.wires, dtype=np.int64)
        chosen: NDArray[np.int64] = states[np.bitwise_count(states) == self.wires // 2]
        return chosen

    def reference(self, singlet: bool = False) -> float | None:
        """The exact ground energy for up to 22 sites, else None.

        Args:
            singlet: the lowest state of total spin 0; ferromagnets and frustrated rings have others below it.

        Raises:
            ValueError: for a singlet of an odd number of sites.
        """
        if checks.boolean("singlet", singlet) and self.wires % 2:
            raise ValueError(f"A singlet needs an even number of spins. Got {self.wires} sites.")
        return _lowest(self.pauli, self._sector(), self._spin_squared if singlet else None)


@dataclass(frozen=True)
class Hubbard(_Lattice):
    """Electrons that hop between neighboring sites, H = -t sum (c'_i c_j + c'_j c_i) + U sum n_up n_down - mu sum n.

    Jordan-Wigner on interleaved wires: 2i is spin up on site i, 2i + 1 spin down; |1> is occupied.

    Args:
        sites: length of a chain or ring; or leave it out and give `shape`.
        shape: (length,) or (rows, columns).
        hopping: t.
        interaction: U.
        chemical_potential: mu.
        electrons: (spin up, spin down); None for half filling, the odd one up.
        periodic: whether ends are joined; for a rectangle also one boolean for each axis. An axis of 2 sites has one
            bond either way.

    Raises:
        TypeError, ValueError: for lengths below 1, numbers that are not finite, electrons that do not fit the sites, or
            axes that do not match.

    Example:
        >>> dimer = Hubbard(2, interaction=4.0)
        >>> dimer
        Hubbard(chain of 2, t=1, U=4, 1 up, 1 down)
        >>> round(dimer.reference(), 6)
        -0.828427
    """

    hopping: float = 1.0
    interaction: float = 4.0
    chemical_potential: float = 0.0
    electrons: tuple[int, int] | None = None
    kind: ClassVar[str] = "problem:hubbard"
    version: ClassVar[int] = 1
    mapping: ClassVar[str] = "jordan-wigner"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hopping", "interaction", "chemical_potential"):
            self._set(**{name: checks.real(name, getattr(self, name))})
        given = ((self._count + 1) // 2, self._count // 2) if self.electrons is None else self.electrons
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ValueError(f"electrons must be two numbers, (spin up, spin down). Got {given!r}.")
        hint = f"There are {self._count} sites for each spin."
        self._set(electrons=tuple(checks.integer("electrons", n, 0, self._count, hint) for n in given))

    def __repr__(self) -> str:
        up, down = self._filling
        mu = f", mu={self.chemical_potential:g}" if self.chemical_potential else ""
        return f"Hubbard({self._where}, t={self.hopping:g}, U={self.interaction:g}{mu}, {up} up, {down} down)"

    @property
    def title(self) -> str:
        """The problem in a few words."""
        return f"Hubbard {self._where}, U = {self.interaction:g}"

    @property
    def _filling(self) -> tuple[int, int]:
        assert self.electrons is not None  # set by __post_init__
        return self.electrons

    @property
    def orbitals(self) -> int:
        """Number of sites: each is an orbital for both spins."""
        return self._count

    @property
    def wires(self) -> int:
        """Two for each site."""
        return 2 * self._count

    @cached_property
    def parts(self) -> Parts:
        """("interaction", U and mu), then the hopping on bonds that do not touch, a part for each such set."""
        self._fits()
        groups = [g for axis in grid.bonds(self._axes, self.periodic) for g in grid.sublayers(axis)]
        hops = [(f"hopping {k}", self._hops(group)) for k, group in enumerate(groups)]
        return ("interaction", self._interaction()), *hops

    def _interaction(self) -> PauliSum:
        """U/4 (1 - Z)(1 - Z) - mu/2 (2 - Z - Z) on the two wires of each site."""
        n, quarter, half = self.wires, self.interaction / 4, self.chemical_potential / 2
        words = [_word(n, {}, self._count * (quarter - 2 * half))]
        words += [_word(n, {k: "Z"}, half - quarter) for k in range(n)]
        words += [_word(n, {2 * i: "Z", 2 * i + 1: "Z"}, quarter) for i in range(self._count)]
        return _sum(n, words)

    def _hops(self, group: list[tuple[int, int]]) -> PauliSum:
        """-t/2 (X Z..Z X + Y Z..Z Y) for each bond and spin."""
        words = []
        for (i, j), spin, end in itertools.product(group, (0, 1), "XY"):
            a, b = 2 * i + spin, 2 * j + spin
            letters = dict.fromkeys(range(a + 1, b), "Z") | {a: end, b: end}
            words.append(_word(self.wires, letters, -self.hopping / 2))
        return _sum(self.wires, words)

    @cached_property
    def number(self) -> Any:
        """The number of electrons as a PennyLane operator, an observable to follow."""
        return fermion.number(self._count).operator()

    @cached_property
    def spin_z(self) -> Any:
        """Half of electrons up minus electrons down, as a PennyLane operator."""
        return fermion.spin_z(self._count).operator()

    @cached_property
    def spin_squared(self) -> Any:
        """The total spin S^2 as a PennyLane operator: 0 for singlets, 3/4 for doublets, 2 for triplets."""
        return fermion.spin_squared(self._count).operator()

    def sector(self) -> NDArray[np.int64] | None:
        """The basis states with these electrons, as indices in PennyLane's order; None where they are too many."""
        up, down = self._filling
        ways = math.comb(self._count, up) * math.comb(self._count, down)
        if ways > spectrum.MOST_STATES or self.wires > MOST_WIRES:
            return None
        return fermion.sector(self._filling, self._count)

    def reference(self, singlet: bool = False) -> float | None:
        """The exact lowest energy with these electrons: closed form for U = 0, else up to 2^20 states, else None.

        Mind the spin: with as many electrons up as down the lowest state may be a triplet.

        Args:
            singlet: the lowest state of total spin 0.

        Raises:
            ValueError: for a singlet with unequal numbers of electrons up and down.
        """
        up, down = self._filling
        if checks.boolean("singlet", singlet) and up != down:
            raise ValueError(f"A singlet needs as many electrons up as down. Got {up} up and {down} down.")
        if self.interaction == 0:  # doubly filled orbitals are a singlet
            free = closed_forms.free_electrons(self._matrix(), self._filling)
            return free - self.chemical_potential * (up + down)
        sector = self.sector()
        if sector is None:
            return None
        return _lowest(self.pauli, sector, fermion.spin_squared(self._count) if singlet else None)

    def _matrix(self) -> NDArray[np.float64]:
        out = np.zeros((self._count, self._count))
        for i, j in self.edges:
            out[i, j] = out[j, i] = -self.hopping
        return out


def _word(wires: int, letters: dict[int, str], coefficient: complex) -> tuple[complex, str]:
    return coefficient, "".join(letters.get(k, "I") for k in range(wires))


def _sum(wires: int, words: list[tuple[complex, str]]) -> PauliSum:
    return PauliSum.from_words(words, wires).simplify()


def _exchange(wires: int, bonds: list[tuple[int, int]], strength: float) -> PauliSum:
    words = [_word(wires, {a: letter, b: letter}, strength / 4) for a, b in bonds for letter in "XYZ"]
    return _sum(wires, words)


def _first(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values[0])


def _lowest(pauli: PauliSum, sector: NDArray[np.int64] | None, spin_squared: PauliSum | None) -> float | None:
    """The lowest level of a sector; with S^2, that of spin 0, all others lifted beyond the width of the spectrum."""
    if sector is None:
        return None
    if spin_squared is not None:
        # Twice the sum of magnitudes bounds the width; S^2 is at least 2 where the spin is a whole number above 0.
        pauli = pauli + spin_squared * float(np.abs(pauli.coefficients).sum())
    return _first(pauli.lowest(sector=sector))
