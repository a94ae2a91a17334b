"""Molecules: the electronic structure problem, from shipped integrals, files, arrays or a geometry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.problems import chemistry, fci, fcidump, fermion, shipped
from varq.problems.chemistry import Atom
from varq.problems.integrals import Integrals
from varq.problems.pauli import PauliSum

__all__ = ["Molecule"]

JORDAN_WIGNER = "jordan-wigner"


@dataclass(frozen=True, eq=False, repr=False)
class Molecule:
    """The electrons of a molecule in a set of orbitals; the lowest energy is sought, in hartree.

    Either a point that ships, held as its name and coordinates: `dataclasses.replace(molecule, bond=1.8)` is another
    point of the same curve, and integrals are read when first used.  Or given integrals, with a name of your own.
    Make one with `load`, `from_fcidump`, `from_integrals`, `from_geometry` or `from_pyscf`.

    Wires are spin orbitals, interleaved: wire 2p is spatial orbital p with spin up, 2p+1 with spin down (in the
    Jordan-Wigner map; the others hold sums of such occupations).

    Args:
        name: of a molecule that ships, or with `integrals`, any.
        bond: in angstrom, of a molecule that ships; None for its default.
        angle: in degrees, of a molecule that ships; None for its default.
        integrals: over spatial orbitals; None for a molecule that ships.
        mapping: fermion-to-qubit map: "jordan-wigner", "parity" or "bravyi-kitaev".

    Raises:
        TypeError, ValueError: for an unknown name or map (the close ones are listed), or a point that does not ship
            (its neighbors are named, and the line that computes it).

    Example:
        >>> lih = Molecule.load("LiH", bond=1.6)
        >>> lih
        Molecule(LiH, bond 1.6 Å, 2 up and 2 down in 6 orbitals, 12 wires)
        >>> round(lih.reference(), 6)
        -7.882324
    """

    name: str
    bond: float | None = None
    angle: float | None = None
    integrals: Integrals | None = None
    mapping: str = JORDAN_WIGNER

    kind: ClassVar[str] = "problem:molecule"
    version: ClassVar[int] = 1  # to be raised also when a shipped file changes: a shipped point is known by its name
    unit: ClassVar[str] = "Ha"

    def __post_init__(self) -> None:
        checks.text("name", self.name)
        checks.choice("mapping", self.mapping, fermion.MAPS)
        bond = None if self.bond is None else checks.real("bond", self.bond)
        angle = None if self.angle is None else checks.real("angle", self.angle)
        if self.integrals is None:
            _, bond, angle = shipped.find(self.name, bond, angle)
        else:
            checks.instance("integrals", self.integrals, Integrals)
            for coordinate, value in (("bond", bond), ("angle", angle)):
                if value is not None:
                    raise ValueError(
                        f"{coordinate} must be None for a molecule of given integrals: they belong to one geometry. "
                        f"Got {value}. Make another one for another geometry."
                    )
        object.__setattr__(self, "bond", bond)
        object.__setattr__(self, "angle", angle)

    # -- where molecules come from ---------------------------------------------------------------------------------

    @classmethod
    def load(
        cls, name: str, bond: float | None = None, angle: float | None = None, mapping: str = JORDAN_WIGNER
    ) -> Molecule:
        """A molecule that ships with the package; no chemistry package is needed.

        STO-3G with all electrons in all orbitals, but N2: cc-pVDZ with 6 electrons in 6 orbitals.  Orbitals are those
        of the lowest restricted Hartree-Fock solution.

        Args:
            name: "H2", "LiH", "H3+" (equilateral), "H4", "H6" (equally spaced chains), "BeH2" (linear), "H2O" or "N2".
            bond: in angstrom; None for the default, near equilibrium (for the chains, 1).
            angle: in degrees, for H2O; None for 104.5.
            mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

        Raises:
            ValueError: for an unknown name, or a point that does not ship; names the neighbors.

        Example:
            >>> Molecule.load("H2O", angle=90)
            Molecule(H2O, bond 0.9584 Å, angle 90°, 5 up and 5 down in 7 orbitals, 14 wires)
        """
        return cls(name=name, bond=bond, angle=angle, mapping=mapping)

    @staticmethod
    def available() -> dict[str, tuple[float, ...]]:
        """The points that ship, by name: bond lengths in angstrom, for H2O angles in degrees.

        Example:
            >>> Molecule.available()["H2O"]
            (90.0, 100.0, 104.5, 110.0, 120.0, 135.0, 150.0, 180.0)
        """
        return shipped.available()

    @classmethod
    def from_fcidump(
        cls, path: str | os.PathLike[str], name: str | None = None, mapping: str = JORDAN_WIGNER
    ) -> Molecule:
        """A molecule from an FCIDUMP file, plain or gzip.

        Args:
            path: of the file.
            name: None for the file's.
            mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is truncated or malformed; names the file, the line, what was expected and what came.
        """
        given = fcidump.read(path)
        title = Path(path).name.split(".")[0] or "molecule" if name is None else name
        return cls(name=title, integrals=given, mapping=mapping)

    @classmethod
    def from_integrals(
        cls,
        h1: Any,
        h2: Any,
        constant: float,
        electrons: int | tuple[int, int],
        name: str = "molecule",
        mapping: str = JORDAN_WIGNER,
    ) -> Molecule:
        """A molecule from integrals over real, orthonormal spatial orbitals.

        Args:
            h1: one-electron integrals in hartree, shape (orbitals, orbitals), symmetric.
            h2: two-electron integrals (pq|rs) in hartree, chemist's order, shape (orbitals,) * 4.
            constant: nuclear repulsion and energy of frozen electrons, in hartree.
            electrons: (spin up, spin down), or one even number for a closed shell.
            name: what to call it.
            mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

        Raises:
            TypeError: if something is no number.
            ValueError: for wrong shapes, missing symmetry, values that are not finite, or electrons that do not fit.

        Example:
            >>> hydrogen_atom = Molecule.from_integrals([[-0.5]], [[[[0.7]]]], 0.0, electrons=(1, 0), name="H")
            >>> hydrogen_atom.reference()
            -0.5
        """
        return cls(name=name, integrals=Integrals(h1, h2, constant, electrons), mapping=mapping)  # type: ignore[arg-type]

    @classmethod
    def from_geometry(
        cls,
        atoms: Any,
        basis: str = "sto-3g",
        charge: int = 0,
        spin: int = 0,
        active_space: tuple[int, int] | None = None,
        name: str | None = None,
        mapping: str = JORDAN_WIGNER,
    ) -> Molecule:
        """A molecule from where its atoms are, by PySCF (the extra `chem`).

        Orbitals are those of the lowest restricted Hartree-Fock solution found (ROHF for open shells), from several
        guesses and followed down while unstable; their signs are fixed and they have the symmetry of the nuclei where
        the solution has it.

        Args:
            atoms: text such as "Li 0 0 0; H 0 0 1.6", or pairs of symbol and position, in angstrom.
            basis: any that PySCF knows.
            charge: of the molecule.
            spin: electrons up minus electrons down.
            active_space: (electrons, orbitals) around the Fermi level, the electrons below frozen; None for all.
            name: None for the sum formula.
            mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

        Raises:
            ModuleNotFoundError: without PySCF; says how to install it.
            ValueError: for an unknown element or basis, atoms in one place, a spin or an active space that does not fit
                the electrons, or a field that does not converge.
        """
        given = chemistry.from_geometry(atoms, basis, charge, spin, active_space)
        title = chemistry.formula(chemistry.parse_atoms(atoms), charge) if name is None else name
        return cls(name=title, integrals=given, mapping=mapping)

    @classmethod
    def from_pyscf(cls, computed: Any, name: str = "molecule", mapping: str = JORDAN_WIGNER) -> Molecule:
        """A molecule from a PySCF calculation (the extra `chem`), in its orbitals.

        Args:
            computed: a converged RHF, ROHF, RKS or ROKS object; or CASCI or CASSCF, whose active space is taken.
            name: what to call it.
            mapping: "jordan-wigner", "parity" or "bravyi-kitaev".

        Raises:
            ModuleNotFoundError: without PySCF; says how to install it.
            ValueError: if it has not run or not converged, or has different orbitals for the two spins.
        """
        return cls(name=name, integrals=chemistry.from_pyscf(computed), mapping=mapping)

    # -- what it is ------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Molecule) and spec.digest(self) == spec.digest(other)

    def __hash__(self) -> int:
        return hash((self.name, self.bond, self.angle, self.integrals, self.mapping))

    def __repr__(self) -> str:
        (up, down), mapped = self.electrons, "" if self.mapping == JORDAN_WIGNER else f", {self.mapping}"
        filling = f"{up} up and {down} down in {self.orbitals} orbitals"
        return f"Molecule({', '.join([self.name, *self._where])}, {filling}, {self.wires} wires{mapped})"

    @property
    def _where(self) -> list[str]:
        bond = [] if self.bond is None else [f"bond {self.bond:g} Å"]
        return bond if self.angle is None else [*bond, f"angle {self.angle:g}°"]

    @property
    def title(self) -> str:
        """The problem in a few words."""
        last = self._where[-1:]
        return ", ".join([self.name, *last]).replace("bond ", "").replace("angle ", "")

    @cached_property
    def data(self) -> Integrals:
        """The integrals, given or read from the file that ships."""
        if self.integrals is not None:
            return self.integrals
        return shipped.integrals(shipped.find(self.name, self.bond, self.angle)[0]["file"])

    @property
    def h1(self) -> NDArray[np.float64]:
        """One-electron integrals in hartree, shape (orbitals, orbitals)."""
        return self.data.h1

    @property
    def h2(self) -> NDArray[np.float64]:
        """Two-electron integrals (pq|rs) in hartree, shape (orbitals,) * 4."""
        return self.data.h2

    @property
    def constant(self) -> float:
        """Nuclear repulsion and energy of frozen electrons, in hartree."""
        return self.data.constant

    @property
    def electrons(self) -> tuple[int, int]:
        """(spin up, spin down)."""
        return self.data.electrons

    @property
    def orbitals(self) -> int:
        """Spatial orbitals."""
        return self.data.orbitals

    @property
    def wires(self) -> int:
        """Two for each orbital."""
        return 2 * self.orbitals

    @cached_property
    def atoms(self) -> tuple[Atom, ...] | None:
        """Symbols and positions in angstrom of a molecule that ships; None where they are not known."""
        if self.integrals is not None:
            return None
        value = self.bond if self.angle is None else self.angle
        return None if value is None else shipped.atoms(self.name, value)

    # -- on qubits -------------------------------------------------------------------------------------------------

    @cached_property
    def pauli(self) -> PauliSum:
        """The Hamiltonian as a sum of Pauli words."""
        return fermion.qubits(self.mapping, self.h1, self.h2, self.constant)

    @cached_property
    def hamiltonian(self) -> Any:
        """The Hamiltonian as a PennyLane operator, in hartree."""
        return self.pauli.operator()

    @cached_property
    def number(self) -> Any:
        """The number of electrons as a PennyLane operator."""
        return fermion.number(self.orbitals, self.mapping).operator()

    @cached_property
    def spin_z(self) -> Any:
        """Half of electrons up minus electrons down, as a PennyLane operator."""
        return fermion.spin_z(self.orbitals, self.mapping).operator()

    @cached_property
    def spin_squared(self) -> Any:
        """The total spin S^2 as a PennyLane operator: 0 for singlets, 3/4 for doublets, 2 for triplets."""
        return fermion.spin_squared(self.orbitals, self.mapping).operator()

    @property
    def hf_state(self) -> NDArray[np.uint8]:
        """The qubits of the determinant that fills the first orbitals of each spin, shape (wires,)."""
        filled = [[int(p < n) for n in self.electrons] for p in range(self.orbitals)]
        return fermion.encode(np.ravel(filled), self.mapping)

    # -- energies --------------------------------------------------------------------------------------------------

    @cached_property
    def energies(self) -> Mapping[str, float]:
        """What is known without computing, in hartree.

        "hf"; and for a molecule that ships also "exact" (lowest state of the given electrons of either spin),
        "exact_singlet", and "ccsd" where that converges.  CCSD is not variational: it may lie below "exact".
        """
        if self.integrals is not None:
            return MappingProxyType({"hf": self.hf_energy})
        return MappingProxyType(dict(shipped.find(self.name, self.bond, self.angle)[0]["energies"]))

    @cached_property
    def hf_energy(self) -> float:
        """The energy of `hf_state` in hartree: Hartree-Fock, where the orbitals are."""
        return self.data.determinant_energy

    def reference(self, singlet: bool = False) -> float | None:
        """The exact lowest energy in hartree for the given electrons of either spin; None where it is out of reach.

        From the table for a molecule that ships; else by diagonalization over determinants, up to 50,000 of them.
        Never a guess.  Mind the spin: with as many electrons up as down the lowest state may be a triplet (stretched
        N2), which a circuit that conserves spin cannot reach from a closed shell.

        Args:
            singlet: the lowest state of total spin 0.

        Raises:
            ValueError: for a singlet with unequal numbers of electrons up and down.

        Example:
            >>> stretched = Molecule.load("N2", bond=3.0)
            >>> f"{1000 * (stretched.reference(singlet=True) - stretched.reference()):.3f} mHa"
            '0.567 mHa'
        """
        if self.integrals is None:
            return self.energies["exact_singlet" if checks.boolean("singlet", singlet) else "exact"]
        return self._exact_singlet if checks.boolean("singlet", singlet) else self._exact

    @cached_property
    def _exact(self) -> float | None:
        return fci.lowest(self.data)

    @cached_property
    def _exact_singlet(self) -> float | None:
        return fci.lowest(self.data, singlet=True)
