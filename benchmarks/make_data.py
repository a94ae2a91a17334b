"""Compute the molecules that ship with the package: `python benchmarks/make_data.py [NAME ...]`.

Needs the `chem` extra and about ten minutes on one core (set OMP_NUM_THREADS=1: the problems are small).  Writes one
gzip FCIDUMP a point and the table `energies.json` to varq/data.  For every point: the lowest restricted Hartree-Fock
solution of several guesses, followed down while it is unstable, with symmetry-adapted orbitals of fixed sign where it
has the symmetry of the nuclei (`varq.problems.chemistry.mean_field`); then, from the very integrals that are written
and by PySCF, the energies: Hartree-Fock, exact (lowest state with as many spins up as down), lowest singlet, and CCSD
where its iteration converges.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyscf
from pyscf import ao2mo, cc, fci, gto, scf

from varq.data import FOLDER
from varq.problems import chemistry, fcidump
from varq.problems.integrals import Integrals
from varq.problems.shipped import WATER, atoms

CONVERGED = 1e-9  # hartree
SPIN_LIFT = 20.0  # hartree for each unit of S^2: above any singlet of interest


@dataclass(frozen=True)
class Family:
    """One molecule along one coordinate."""

    name: str
    note: str
    points: tuple[float, ...]
    default: float
    coordinate: str = "bond"
    basis: str = "sto-3g"
    charge: int = 0
    active_space: tuple[int, int] | None = None


H2 = (0.5, 0.6, 0.65, 0.7, 0.735, 0.7414, 0.75, 0.8, 0.85, 0.9, 1.0, 1.1)
H2 += (1.25, 1.4, 1.5, 1.6, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
LIH = (0.8, 0.9, 1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.45, 1.5, 1.547, 1.595)
LIH += (1.6, 1.65, 1.7, 1.75, 1.8, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
CHAIN = (0.6, 0.75, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)

TRIANGLE = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
BEH2 = (1.0, 1.2, 1.316, 1.33, 1.5, 1.75, 2.0, 2.5, 3.0)
ANGLES = (90.0, 100.0, 104.5, 110.0, 120.0, 135.0, 150.0, 180.0)
N2 = (1.0, 1.0977, 1.15, 1.2, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
N2_NOTE = "nitrogen, 6 electrons in 6 orbitals; beyond 1.4 angstrom the lowest Hartree-Fock solution breaks symmetry"

FAMILIES = (
    Family("H2", "hydrogen", H2, 0.7414),
    Family("LiH", "lithium hydride", LIH, 1.595),
    Family("H3+", "equilateral trihydrogen cation; bond is the side", TRIANGLE, 0.9, charge=1),
    Family("H4", "chain of four hydrogen atoms, equally spaced", CHAIN, 1.0),
    Family("H6", "chain of six hydrogen atoms, equally spaced", CHAIN, 1.0),
    Family("BeH2", "beryllium hydride, linear and symmetric", BEH2, 1.33),
    Family("H2O", f"water, both bonds {WATER} angstrom", ANGLES, 104.5, coordinate="angle"),
    Family("N2", N2_NOTE, N2, 1.0977, basis="cc-pvdz", active_space=(6, 6)),
)


def roots(data: Integrals) -> dict[str, float]:
    """The lowest state and the lowest singlet, by dense diagonalization of PySCF's matrices."""
    n, electrons = data.orbitals, data.electrons
    shape = tuple(fci.cistring.num_strings(n, k) for k in electrons)
    size = shape[0] * shape[1]
    order, matrix = fci.direct_spin1.pspace(data.h1, data.h2, n, electrons, np=size)
    spin = np.empty((size, size))
    for column, unit in enumerate(np.eye(size)):
        spin[:, column] = fci.spin_op.contract_ss(unit.reshape(shape), n, electrons).ravel()
    spin = spin[np.ix_(order, order)]
    singlet = np.linalg.eigvalsh(matrix + SPIN_LIFT * spin)[0]
    exact = min(singlet, np.linalg.eigvalsh(matrix)[0])
    return {"exact": float(exact) + data.constant, "exact_singlet": float(singlet) + data.constant}


def coupled_cluster(data: Integrals) -> float | None:
    """The CCSD energy in the space of the integrals, or None where it does not converge."""
    n, filled = data.orbitals, data.electrons[0]
    molecule = gto.M(verbose=0)
    molecule.nelectron, molecule.incore_anyway = sum(data.electrons), True
    field = scf.RHF(molecule)
    field.get_hcore = lambda *_: data.h1
    field.get_ovlp = lambda *_: np.eye(n)
    field.energy_nuc = lambda *_: data.constant
    field._eri = ao2mo.restore(8, data.h2, n)
    field.mo_coeff, field.mo_occ = np.eye(n), np.where(np.arange(n) < filled, 2.0, 0.0)
    fock = data.h1 + np.einsum("pqkk->pq", 2 * data.h2[..., :filled, :filled])
    fock -= np.einsum("pkkq->pq", data.h2[:, :filled, :filled])
    field.mo_energy, field.e_tot, field.converged = np.diag(fock), data.determinant_energy, True
    solver = cc.CCSD(field)
    solver.conv_tol, solver.conv_tol_normt, solver.max_cycle, solver.verbose = 1e-11, 1e-7, 500, 0
    solver.kernel()
    return float(solver.e_tot) if solver.converged else None


def point(family: Family, value: float) -> dict[str, Any]:
    """Compute and write one point; its row of the table."""
    field = chemistry.mean_field(atoms(family.name, value), family.basis, family.charge)
    if family.active_space is None:
        data = chemistry.from_pyscf(field)
        assert abs(data.determinant_energy - field.e_tot) < CONVERGED
    else:
        data = chemistry.active(field, family.active_space)
    file = f"{family.name}-{value:g}.fcidump.gz"
    fcidump.write(FOLDER / file, data)
    energies = {"hf": data.determinant_energy, **roots(data)}
    if (clustered := coupled_cluster(data)) is not None:
        energies["ccsd"] = clustered
    print(family.name, value, field.mol.groupname, energies, flush=True)
    return {family.coordinate: value, "file": file, "point_group": field.mol.groupname, "energies": energies}


def main() -> None:
    """Compute the families named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(f.name for f in FAMILIES)}")
    chosen = set(parser.parse_args().names) or {f.name for f in FAMILIES}
    target = FOLDER / "energies.json"
    table = json.loads(target.read_text(encoding="utf-8"))["molecules"] if target.exists() else {}
    for family in FAMILIES:
        if family.name in chosen:
            fixed = {"bond": WATER} if family.coordinate == "angle" else {}
            table[family.name] = {
                "note": family.note,
                "coordinate": family.coordinate,
                "default": family.default,
                "basis": family.basis,
                "charge": family.charge,
                "active_space": family.active_space,
                **fixed,
                "points": [point(family, value) for value in family.points],
            }
    units = "bond in angstrom, angle in degrees, energies in hartree"
    about = {"made_with": f"PySCF {pyscf.__version__}", "units": units}
    data = {**about, "molecules": {f.name: table[f.name] for f in FAMILIES if f.name in table}}
    target.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
