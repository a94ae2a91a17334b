"""Integrals computed with PySCF; the one module that imports it, and only when it is used."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.problems.integrals import Integrals

__all__ = ["ELEMENTS", "Atom", "active", "formula", "from_geometry", "from_pyscf", "mean_field", "parse_atoms"]

Atom = tuple[str, tuple[float, float, float]]

_PERIODS = (
    "H He",
    "Li Be B C N O F Ne",
    "Na Mg Al Si P S Cl Ar",
    "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr",
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe",
    "Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn",
    "Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og",
)

ELEMENTS = tuple(symbol for period in _PERIODS for symbol in period.split())
"""The symbols of the elements; the nuclear charge is the place in this list, counted from 1."""

GUESSES = ("minao", "atom", "huckel", "1e")
"""Where self-consistent fields start from: stretched bonds have several solutions, and each guess may find another."""

SAME_ENERGY = 1e-8  # hartree; solutions closer than this are one
STEPS_DOWN = 8  # times an unstable solution is followed to a lower one
DEGENERATE = 1e-6  # hartree; orbitals closer than this belong to one shell
ZERO = 1e-12  # hartree; integrals below this are rounding: symmetry or distance makes them vanish

_ANGSTROM = "Positions are in angstrom, such as 'H 0 0 0; H 0 0 0.74' or [('H', (0, 0, 0)), ('H', (0, 0, 0.74))]."


def parse_atoms(atoms: Any) -> tuple[Atom, ...]:
    """Atoms as pairs of symbol and position in angstrom, from such pairs or from text.

    Args:
        atoms: pairs, or text with one atom a line (or between semicolons): symbol, x, y, z.

    Raises:
        TypeError: if it is neither.
        ValueError: for an unknown element, a position that is not three finite numbers, or two atoms in one place.

    Example:
        >>> parse_atoms("Li 0 0 0; H 0 0 1.6")
        (('Li', (0.0, 0.0, 0.0)), ('H', (0.0, 0.0, 1.6)))
    """
    if isinstance(atoms, str):
        rows = [row.replace(",", " ").split() for row in re.split(r"[;\n]", atoms) if row.strip()]
        pairs: list[Any] = [(row[0], row[1:]) for row in rows]
    elif isinstance(atoms, Sequence):
        pairs = list(atoms)
    else:
        raise TypeError(f"atoms must be text or a sequence of atoms. Got {type(atoms).__name__}. {_ANGSTROM}")
    if not pairs:
        raise ValueError(f"atoms must hold at least one atom. Got none. {_ANGSTROM}")
    out = tuple(_atom(i, pair) for i, pair in enumerate(pairs))
    places = np.array([position for _, position in out])
    for i, j in zip(*np.triu_indices(len(out), 1), strict=True):
        if np.linalg.norm(places[i] - places[j]) < 1e-3:
            raise ValueError(f"atoms must be in different places. Atoms {i} and {j} are at {out[i][1]}. {_ANGSTROM}")
    return out


def _atom(index: int, pair: Any) -> Atom:
    try:
        symbol, *position = pair
        place = [float(x) for x in (position[0] if len(position) == 1 else position)]
    except (TypeError, ValueError):
        raise ValueError(f"atoms[{index}] must be a symbol and three coordinates. Got {pair!r}. {_ANGSTROM}") from None
    known = checks.choice(f"atoms[{index}]", symbol.capitalize() if isinstance(symbol, str) else symbol, ELEMENTS)
    x, y, z = checks.array(f"the position of atoms[{index}]", place, (3,), hint=_ANGSTROM).tolist()
    return known, (x, y, z)


def formula(atoms: Sequence[Atom], charge: int = 0) -> str:
    """The sum formula, elements in order of first appearance.

    Example:
        >>> formula(parse_atoms("O 0 0 0; H 0 0 1; H 0 1 0; H 1 0 0"), charge=1)
        'OH3+'
    """
    counts = Counter(symbol for symbol, _ in atoms)
    sign = ("+" if charge > 0 else "-") * min(abs(charge), 1)
    many = str(abs(charge)) if abs(charge) > 1 else ""
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in counts.items()) + many + sign


def _count(atoms: Sequence[Atom], charge: int, spin: int) -> tuple[int, int]:
    total = sum(ELEMENTS.index(symbol) + 1 for symbol, _ in atoms) - charge
    if total < 1:
        raise ValueError(f"charge must leave at least one electron. Got {charge}, which leaves {total}.")
    if spin > total or (total - spin) % 2:
        fitting = ", ".join(str(s) for s in range(total % 2, min(total, 6) + 1, 2))
        raise ValueError(
            f"spin (electrons up minus electrons down) must fit {total} electrons: one of {fitting}, ... Got {spin}. "
            "Change spin, or charge."
        )
    return (total + spin) // 2, (total - spin) // 2


def _active(active_space: Any, electrons: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """The number of active orbitals and the active electrons of either spin."""
    hint = "It is (electrons, orbitals), such as (6, 6)."
    if not isinstance(active_space, (Sequence, np.ndarray)) or len(active_space) != 2:
        raise TypeError(f"active_space must be two integers. Got {active_space!r}. {hint}")
    count = checks.integer("active_space[0]", active_space[0], minimum=1, maximum=sum(electrons), hint=hint)
    orbitals = checks.integer("active_space[1]", active_space[1], minimum=1, hint=hint)
    spin = electrons[0] - electrons[1]
    up, down = (count + spin) // 2, (count - spin) // 2
    if (count - spin) % 2 or down < 0:
        raise ValueError(
            f"active_space[0] must leave whole pairs of the {sum(electrons)} electrons (spin {spin}) outside. "
            f"Got {count}. {hint}"
        )
    if up > orbitals:
        raise ValueError(f"active_space[1] must have room for {up} electrons of spin up. Got {orbitals}. {hint}")
    return orbitals, (up, down)


def from_geometry(
    atoms: Any, basis: str = "sto-3g", charge: int = 0, spin: int = 0, active_space: tuple[int, int] | None = None
) -> Integrals:
    """Integrals over the lowest restricted Hartree-Fock orbitals of a molecule; see `Molecule.from_geometry`."""
    placed = parse_atoms(atoms)
    checks.text("basis", basis)
    charge = checks.integer("charge", charge)
    spin = checks.integer("spin", spin, minimum=0, hint="It counts electrons up minus electrons down.")
    electrons = _count(placed, charge, spin)
    if active_space is not None:
        _active(active_space, electrons)
    field = mean_field(placed, basis, charge, spin)
    return from_pyscf(field) if active_space is None else active(field, active_space)


def active(field: Any, active_space: Any) -> Integrals:
    """Integrals of the complete active space around the Fermi level of a mean field from `mean_field`.

    Args:
        field: the mean field, its orbitals in the order of their energies.
        active_space: (electrons, orbitals).

    Raises:
        TypeError: if `active_space` is not two integers.
        ValueError: if it does not fit the molecule.
    """
    from pyscf import mcscf

    filled = (int(np.sum(field.mo_occ > 0)), int(np.sum(field.mo_occ == 2)))
    orbitals, electrons = _active(active_space, filled)

    total = field.mo_coeff.shape[1]
    core = filled[1] - electrons[1]
    if core + orbitals > total:
        raise ValueError(f"active_space[1] must be at most {total - core}, the orbitals there are. Got {orbitals}.")
    levels, filling = field.mo_energy, field.mo_occ
    for edge in (core, core + orbitals):
        inside = 0 < edge < total and filling[edge - 1] == filling[edge]
        if inside and levels[edge] - levels[edge - 1] < DEGENERATE:
            warnings.warn(
                f"active_space cuts through a degenerate shell: orbitals {edge - 1} and {edge} are both at "
                f"{levels[edge]:.6f} Ha, and which of them is taken is arbitrary. Take one orbital more or less.",
                stacklevel=3,
            )
    return from_pyscf(mcscf.CASCI(field, orbitals, electrons))


def from_pyscf(computed: Any) -> Integrals:
    """Integrals over the orbitals of a PySCF mean field or active space; see `Molecule.from_pyscf`."""
    try:
        from pyscf import mcscf, scf
    except ModuleNotFoundError as error:
        raise checks.missing_extra("pyscf", "chem", "Molecule.from_pyscf") from error
    if isinstance(computed, mcscf.casci.CASBase):
        if getattr(computed.mo_coeff, "ndim", 0) != 2:
            raise ValueError("An active space must have one set of orbitals for both spins. Run it on RHF or ROHF.")
        h1, constant = computed.get_h1eff()
        h2 = _full(computed.get_h2eff(), computed.ncas)
        up, down = computed.nelecas
        return _integrals(h1, h2, float(constant), (int(up), int(down)))
    if not isinstance(computed, scf.hf.RHF) or getattr(computed, "mo_coeff", None) is None:
        state = "has not run: call its kernel()" if isinstance(computed, scf.hf.RHF) else "is of another kind"
        raise ValueError(
            "from_pyscf needs a finished RHF, ROHF, RKS or ROKS calculation of a molecule, or an active space on one. "
            f"This {type(computed).__name__} {state}."
        )
    if not computed.converged:
        raise ValueError("from_pyscf needs a converged calculation. This one is not: try computed.newton().kernel().")
    return _of_mean_field(computed)


def _of_mean_field(field: Any) -> Integrals:
    from pyscf import ao2mo

    if not np.isin(np.asarray(field.mo_occ), (0, 1, 2)).all():
        raise ValueError("from_pyscf needs whole occupations. Got fractional ones: turn smearing off.")
    order = np.argsort(-np.asarray(field.mo_occ), kind="stable")
    orbitals = np.asarray(field.mo_coeff)[:, order]
    source = field.mol if getattr(field, "_eri", None) is None else field._eri
    h1 = orbitals.T @ field.get_hcore() @ orbitals
    h2 = _full(ao2mo.kernel(source, orbitals), orbitals.shape[1])
    electrons = (int(np.sum(field.mo_occ > 0)), int(np.sum(field.mo_occ == 2)))
    return _integrals(h1, h2, float(field.energy_nuc()), electrons)


def _full(packed: Any, orbitals: int) -> NDArray[np.float64]:
    from pyscf import ao2mo

    return np.asarray(ao2mo.restore(1, np.asarray(packed), orbitals), dtype=np.float64)


def _integrals(h1: Any, h2: NDArray[np.float64], constant: float, electrons: tuple[int, int]) -> Integrals:
    one = np.asarray(h1, dtype=np.float64)
    return Integrals(np.where(abs(one) < ZERO, 0.0, one), np.where(abs(h2) < ZERO, 0.0, h2), constant, electrons)


def mean_field(atoms: Sequence[Atom], basis: str, charge: int = 0, spin: int = 0) -> Any:
    """The lowest restricted Hartree-Fock solution found, as a PySCF object.

    Several guesses are tried and each solution is followed down while it is unstable within RHF (ROHF).  Orbitals
    belong to irreducible representations of the point group wherever the lowest solution has its symmetry, and their
    signs are fixed, so that degenerate shells come out the same everywhere.

    Raises:
        ModuleNotFoundError: without PySCF.
        ValueError: if PySCF knows no such basis, or nothing converges.
    """
    try:
        from pyscf import gto
    except ModuleNotFoundError as error:
        raise checks.missing_extra("pyscf", "chem", "Molecule.from_geometry") from error
    solutions = []
    # PySCF's own guesses call what it has deprecated, and it advertises another package for an unknown basis.
    with warnings.catch_warnings(action="ignore"):
        for symmetry in (True, False):
            try:
                molecule = gto.M(
                    atom=list(atoms),
                    basis=basis,
                    charge=charge,
                    spin=spin,
                    symmetry=symmetry,
                    unit="Angstrom",
                    verbose=0,
                )
            except (KeyError, RuntimeError) as error:
                raise ValueError(
                    f"basis must be one that PySCF has for these atoms. Got {basis!r}: {error}."
                ) from error
            solutions.append(_lowest(molecule))
    symmetric, free = solutions
    if symmetric is None and free is None:
        what = f"{formula(atoms, charge)} in {basis}"
        raise ValueError(f"No self-consistent field converged for {what}. Check atoms (in angstrom), charge and spin.")
    if symmetric is None or (free is not None and free.e_tot < symmetric.e_tot - SAME_ENERGY):
        return free
    return symmetric


def _lowest(molecule: Any) -> Any:
    best = None
    for guess in GUESSES:
        found = _solve(molecule, guess)
        if found is not None and (best is None or found.e_tot < best.e_tot - SAME_ENERGY):
            best = found
    if best is not None:
        _fix_gauge(best)
    return best


def _solve(molecule: Any, guess: str) -> Any:
    """A solution that is stable within restricted orbitals, or None."""
    from pyscf import lib

    field = _field(molecule)
    field.init_guess = guess
    field.kernel()
    for _ in range(STEPS_DOWN):
        try:
            orbitals, _, stable, _ = field.stability(return_status=True)
        except lib.exceptions.LinearDependencyError:  # where symmetry leaves no rotation to be unstable against
            stable = True
        if stable and field.converged:
            return field
        field = _descend(field, field.mo_coeff if stable else orbitals)
    return None


def _field(molecule: Any) -> Any:
    from pyscf import scf

    field = scf.RHF(molecule) if molecule.spin == 0 else scf.ROHF(molecule)
    field.conv_tol, field.conv_tol_grad, field.max_cycle = 1e-12, 1e-7, 100
    return field


def _descend(field: Any, orbitals: NDArray[np.float64]) -> Any:
    """The solution below `orbitals`: second-order steps to get there, then DIIS to its last digits."""
    rough = _field(field.mol).newton()
    rough.conv_tol, rough.conv_tol_grad, rough.max_cycle = 1e-9, 1e-4, 50
    rough.kernel(orbitals, field.mo_occ)
    fine = _field(field.mol)
    fine.kernel(rough.make_rdm1())
    return fine if fine.converged or fine.e_tot < rough.e_tot + SAME_ENERGY else rough


def _fix_gauge(field: Any) -> None:
    """Canonical orbitals, filled ones first, each with its largest coefficient positive."""
    energies, orbitals = field.canonicalize(field.mo_coeff, field.mo_occ)
    labels = getattr(orbitals, "orbsym", np.zeros(len(energies)))  # orders the members of a degenerate shell
    order = np.lexsort((labels, np.asarray(energies).round(6), -np.asarray(field.mo_occ)))
    rows = np.argmax(np.abs(orbitals).round(6), axis=0)
    signed = orbitals * np.sign(orbitals[rows, np.arange(orbitals.shape[1])])
    field.mo_coeff = np.asarray(signed)[:, order]
    field.mo_energy = np.asarray(energies)[order]
    field.mo_occ = np.asarray(field.mo_occ)[order]
