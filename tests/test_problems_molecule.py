"""Molecules against energies computed elsewhere, against PySCF, and against exact diagonalization on qubits."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq import spec
from varq.problems import chemistry, fci, fcidump, fermion, shipped
from varq.problems.integrals import Integrals
from varq.problems.molecule import Molecule

LINALG = 1e-9  # hartree; diagonalization of the same integrals, norm up to 100
ORBITALS = 1e-8  # hartree; the same energy from integrals made by another program, geometry kept to 8 digits
ACTIVE = 5e-8  # hartree; an active space also depends, to first order, on orbitals converged to 1e-7
CLUSTERS = 1e-7  # hartree; where coupled cluster's iteration stops
CHEMICAL = 1.6e-3  # hartree; 1 kcal/mol

ROWS = {
    row["id"]: row
    for row in json.loads((Path(__file__).parent / "data" / "molecules.json").read_text(encoding="utf-8"))["rows"]
}
NAMES = {"H2": "H2/sto-3g/R={}", "LiH": "LiH/sto-3g/R={}", "H3+": "H3+/sto-3g/R={}", "H4": "H4-chain/sto-3g/R={}"}
NAMES |= {"H6": "H6-chain/sto-3g/R={}", "BeH2": "BeH2/sto-3g/R={}", "N2": "N2/cc-pvdz/R={}/cas(6,6)"}
POINTS = [(name, point) for name, points in Molecule.available().items() for point in points]
LOWER_FOUND = {"H2O/6-31g/stretch=2.5/cas(4,4)"}  # rows whose Hartree-Fock solution is not the lowest; ours is below
NEAR = {"H2": 0.735, "LiH": 1.595, "H3+": 0.9, "H4": 1.0, "H6": 1.5, "BeH2": 1.33, "H2O": 104.5, "N2": 3.0}
maps = pytest.mark.parametrize("mapping", fermion.MAPS)


def row_of(name: str, point: float) -> dict[str, Any] | None:
    """The independent record of a shipped point."""
    if name == "H2O":
        return ROWS.get(f"H2O/sto-3g/angle={point:g}")
    return ROWS.get(NAMES[name].format(point))


def load(name: str, point: float, mapping: str = "jordan-wigner") -> Molecule:
    where = {"angle" if name == "H2O" else "bond": point}
    return Molecule.load(name, mapping=mapping, **where)


def lowest_on_qubits(molecule: Molecule, electrons: tuple[int, int]) -> float:
    """The lowest eigenvalue of the qubit Hamiltonian among the basis states with these electrons, by LAPACK."""
    states = fermion.sector(electrons, molecule.orbitals, molecule.mapping)
    assert len(states) == comb(molecule.orbitals, electrons[0]) * comb(molecule.orbitals, electrons[1])
    columns = molecule.pauli.sparse()[:, states]
    inside = columns[states].toarray()
    outside = columns[np.setdiff1d(np.arange(columns.shape[0]), states)]
    assert abs(outside).max() < LINALG, "the Hamiltonian leads out of the sector"
    return float(np.linalg.eigvalsh(inside)[0])


def check_on_qubits(molecule: Molecule) -> None:
    """The lowest eigenvalue of the qubit Hamiltonian among states with the right electrons is the reference."""
    reference = molecule.reference()
    assert reference is not None
    assert abs(lowest_on_qubits(molecule, molecule.electrons) - reference) < LINALG


# -- what ships ----------------------------------------------------------------------------------------------------


def test_what_ships() -> None:
    points = Molecule.available()
    assert set(points) == {"H2", "LiH", "H3+", "H4", "H6", "BeH2", "H2O", "N2"}
    assert len(points["H2"]) == len(points["LiH"]) == 24
    assert {0.735, 0.7414} <= set(points["H2"])
    assert {1.595, 1.6, 1.8} <= set(points["LiH"])
    assert all(tuple(sorted(p)) == p for p in points.values())
    compared = [p for p in POINTS if row_of(*p)]
    assert len(compared) >= 60


@pytest.mark.parametrize(("name", "point"), POINTS, ids=[f"{n}-{p:g}" for n, p in POINTS])
def test_energies_are_those_computed_elsewhere(name: str, point: float) -> None:
    molecule = load(name, point)
    known = molecule.energies
    assert abs(known["hf"] - molecule.hf_energy) < LINALG
    assert known["exact"] <= known["exact_singlet"] + LINALG
    assert known["exact"] < known["hf"]
    row = row_of(name, point)
    if row is None:
        return
    assert molecule.wires == row["n_qubits"]
    rule = ACTIVE if row["active_space"] else ORBITALS
    for key, want in row["energies"].items():
        if key in known:
            assert abs(known[key] - want) < (CLUSTERS if key == "ccsd" else rule), key


@pytest.mark.parametrize(("name", "point"), list(NEAR.items()))
def test_the_table_agrees_with_own_diagonalization(name: str, point: float) -> None:
    check_determinants(load(name, point))


@pytest.mark.full
@pytest.mark.parametrize(("name", "point"), POINTS, ids=[f"{n}-{p:g}" for n, p in POINTS])
def test_all_of_the_table_agrees_with_own_diagonalization(name: str, point: float) -> None:
    check_determinants(load(name, point))


def check_determinants(molecule: Molecule) -> None:
    exact = fci.lowest(molecule.data)
    singlet = fci.lowest(molecule.data, singlet=True)
    assert exact is not None
    assert singlet is not None
    assert abs(exact - molecule.energies["exact"]) < LINALG
    assert abs(singlet - molecule.energies["exact_singlet"]) < LINALG


@maps
@pytest.mark.parametrize(("name", "point"), list(NEAR.items()))
def test_the_lowest_eigenvalue_on_qubits_is_the_reference(name: str, point: float, mapping: str) -> None:
    check_on_qubits(load(name, point, mapping))


@pytest.mark.full
@maps
@pytest.mark.parametrize(("name", "point"), POINTS, ids=[f"{n}-{p:g}" for n, p in POINTS])
def test_every_lowest_eigenvalue_on_qubits_is_the_reference(name: str, point: float, mapping: str) -> None:
    check_on_qubits(load(name, point, mapping))


def test_curves_are_smooth() -> None:
    """A point on another Hartree-Fock solution, or integrals of a wrong point, would stand out of a curve."""
    for name in ("H2", "LiH", "H4", "H6", "BeH2"):
        points = np.array(Molecule.available()[name])
        for key in ("hf", "exact"):
            energies = np.array([load(name, p).energies[key] for p in points])
            slopes = np.diff(energies) / np.diff(points)
            assert (np.diff(np.sign(slopes)) != 0).sum() == 1, f"{name}: {key} must have one minimum"


def test_the_lowest_state_may_be_a_triplet() -> None:
    nitrogen = Molecule.load("N2", bond=3.0)
    triplet, singlet = nitrogen.reference(), nitrogen.reference(singlet=True)
    assert triplet is not None
    assert singlet is not None
    assert singlet - triplet > 5e-4
    assert abs(lowest_on_qubits(nitrogen, (4, 2)) - triplet) < LINALG  # the same level with two spins up


# -- what a molecule is --------------------------------------------------------------------------------------------


def test_a_point_is_known_by_its_coordinates() -> None:
    lih = Molecule.load("LiH", bond=1.6)
    assert lih == Molecule("LiH", 1.6) == Molecule.load("LiH", 1.6 + 1e-10)
    assert hash(lih) == hash(Molecule("LiH", 1.6))
    assert Molecule.load("LiH") == Molecule.load("LiH", bond=1.595)
    assert Molecule.load("H2", 1) == Molecule.load("H2", 1.0)
    longer = dataclasses.replace(lih, bond=1.8)
    assert longer.reference() == Molecule.load("LiH", 1.8).reference() != lih.reference()
    assert dataclasses.replace(lih, mapping="parity") != lih
    water = Molecule.load("H2O")
    assert (water.bond, water.angle) == (0.9584, 104.5)
    assert dataclasses.replace(water, angle=90).energies["exact"] != water.energies["exact"]


def test_what_it_says() -> None:
    assert repr(Molecule.load("H3+")) == "Molecule(H3+, bond 0.9 Å, 1 up and 1 down in 3 orbitals, 6 wires)"
    assert repr(Molecule.load("H2", mapping="parity")).endswith("4 wires, parity)")
    assert Molecule.load("LiH", 1.6).title == "LiH, 1.6 Å"
    assert Molecule.load("H2O").title == "H2O, 104.5°"
    assert Molecule.load("H2").unit == "Ha"
    atom = Molecule.from_integrals([[-0.5]], [[[[0.7]]]], 0.0, (1, 0), name="H")
    assert (atom.title, atom.atoms) == ("H", None)
    assert repr(atom) == "Molecule(H, 1 up and 0 down in 1 orbitals, 2 wires)"


@pytest.mark.parametrize(("name", "point"), list(NEAR.items()))
def test_atoms_stand_where_the_record_says(name: str, point: float) -> None:
    row = row_of(name, point)
    atoms = load(name, point).atoms
    assert row is not None
    assert atoms is not None
    ours, theirs = (np.array([place for _, place in rows]) for rows in (atoms, row["geometry"]))
    distances = [np.sort(np.linalg.norm(p[:, None] - p[None], axis=-1), axis=None) for p in (ours, theirs)]
    assert np.max(np.abs(distances[0] - distances[1])) < 1e-7


def test_specs_come_back() -> None:
    arrays: dict[str, Any] = {}
    water = Molecule.load("H2O")
    given = Molecule("water", integrals=water.data, mapping="bravyi-kitaev")
    for molecule in (water, Molecule.load("N2", mapping="parity"), given):
        text = spec.dumps(molecule, arrays)
        back = spec.loads(text, arrays.__getitem__)
        assert back == molecule
        assert spec.identity(back) == spec.identity(molecule)
        assert repr(back) == repr(molecule)
    assert "h2" not in spec.dumps(water), "a shipped point is known by its name"
    assert spec.identity(water)[0] != spec.identity(given)[0]


def test_given_integrals_have_one_geometry() -> None:
    given = Molecule("water", integrals=Molecule.load("H2O").data)
    with pytest.raises(ValueError, match="bond must be None for a molecule of given integrals"):
        dataclasses.replace(given, bond=1.0)
    assert given.reference() == pytest.approx(Molecule.load("H2O").reference(), abs=LINALG)
    assert given.energies == {"hf": given.hf_energy}


@maps
def test_the_hartree_fock_state_has_its_energy(mapping: str) -> None:
    for name in ("H4", "LiH", "N2"):
        molecule = Molecule.load(name, mapping=mapping)
        index = int("".join(map(str, molecule.hf_state)), 2)
        state = np.zeros(2**molecule.wires)
        state[index] = 1.0
        assert abs(state @ molecule.pauli.matvec(state) - molecule.hf_energy) < LINALG


@maps
def test_the_hartree_fock_state_is_a_closed_shell(mapping: str) -> None:
    molecule = Molecule.load("H4", mapping=mapping)

    @qml.qnode(qml.device("default.qubit", wires=8))
    def measured() -> Any:
        qml.BasisState(molecule.hf_state, wires=range(8))
        return [qml.expval(a) for a in (molecule.hamiltonian, molecule.number, molecule.spin_z, molecule.spin_squared)]

    found = np.array(measured(), dtype=np.float64)
    assert np.allclose(found, [molecule.hf_energy, 4, 0, 0], atol=1e-6)  # 1e-6: single precision without JAX's x64


def test_open_shells_have_doublets() -> None:
    rng = np.random.default_rng(5)
    h1 = rng.normal(size=(3, 3))
    h2 = rng.normal(size=(3,) * 4) / 4
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        h2 = h2 + h2.transpose(order)
    radical = Molecule.from_integrals(h1 + h1.T, h2, 0.5, (2, 1))
    check_on_qubits(radical)
    with pytest.raises(ValueError, match=r"A singlet needs as many electrons up as down. Got 2 up and 1 down"):
        radical.reference(singlet=True)


def test_no_reference_is_better_than_a_guess() -> None:
    large = Molecule.from_integrals(np.diag(np.arange(12.0)), np.zeros((12,) * 4), 0.0, 12)
    assert fci.dimension(large.data) > fci.MOST_DETERMINANTS
    assert large.reference() is None
    assert large.reference(singlet=True) is None
    assert large.hf_energy == 30.0


def test_electrons_that_do_not_interact() -> None:
    """The sum of the lowest levels, in a space too large for a dense matrix."""
    levels = np.array([-3.0, -1.5, -1.0, 0.25, 0.5, 2.0, 3.0, 4.5])
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    given = Integrals(turn @ np.diag(levels) @ turn.T, np.zeros((8,) * 4), 1.0, (4, 3))
    assert fci.lowest(given) == pytest.approx(levels[:4].sum() + levels[:3].sum() + 1.0, abs=LINALG)


# -- files and arrays ----------------------------------------------------------------------------------------------


def test_a_file_gives_the_same_molecule(tmp_path: Path) -> None:
    water = Molecule.load("H2O")
    path = fcidump.write(tmp_path / "water.fcidump.gz", water.data)
    read = Molecule.from_fcidump(path, mapping="parity")
    assert (read.name, read.mapping) == ("water", "parity")
    assert read.data == water.data
    assert Molecule.from_fcidump(path, name="ice").name == "ice"


BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("unknown", lambda: Molecule.load("Lih2"), ValueError, "name must be one of .* Did you mean 'LiH'"),
    ("no name", lambda: Molecule(""), ValueError, "name must not be an empty string"),
    ("map", lambda: Molecule.load("H2", mapping="bk"), ValueError, "mapping must be one of 'bravyi-kitaev'"),
    ("bond", lambda: Molecule.load("H2", bond="long"), TypeError, "bond must be a real number"),  # type: ignore[arg-type]
    ("nan", lambda: Molecule.load("H2", bond=float("nan")), ValueError, "bond must be finite"),
    ("negative", lambda: Molecule.load("H2", bond=-1), ValueError, "bond must be greater than 0"),
    ("angle", lambda: Molecule.load("H2", angle=90), ValueError, "angle must be None: H2 has none"),
    ("water's bond", lambda: Molecule.load("H2O", bond=1.0), ValueError, "bond must be 0.9584 angstrom for the H2O"),
    ("singlet", lambda: Molecule.load("H2").reference(singlet=1), TypeError, "singlet must be True or False"),  # type: ignore[arg-type]
    (
        "nearly",
        lambda: Molecule.load("LiH", bond=np.float32(1.6)),  # type: ignore[arg-type]
        ValueError,
        "does not ship at bond=1.600000024 angstrom. The nearest points are 1.6 and 1.65",
    ),
    ("no path", lambda: Molecule.from_fcidump(3), TypeError, "path must be of type str or PathLike"),  # type: ignore[arg-type]
    ("empty path", lambda: Molecule.from_fcidump(""), ValueError, "path must not be an empty string"),
    ("integrals", lambda: Molecule("x", integrals={"h1": 1}), TypeError, "integrals must be of type Integrals"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "match"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_points(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("name", "where", "near", "line"),
    [
        ("LiH", {"bond": 1.62}, "1.6 and 1.65", "Molecule.from_geometry('Li 0 0 0; H 0 0 1.62', basis='sto-3g')"),
        ("H2", {"bond": 9.0}, "4", "Molecule.from_geometry('H 0 0 0; H 0 0 9', basis='sto-3g')"),
        ("H3+", {"bond": 0.65}, "0.7", "basis='sto-3g', charge=1)"),
        ("N2", {"bond": 1.3}, "1.25 and 1.5", "basis='cc-pvdz', active_space=(6, 6))"),
        ("H2O", {"angle": 105}, "104.5 and 110", "basis='sto-3g')"),
    ],
)
def test_a_point_that_does_not_ship_is_told_how_to_make(name: str, where: Any, near: str, line: str) -> None:
    with pytest.raises(ValueError, match=rf"The nearest points are {near}\..*varq\[chem\].*{re.escape(line)}"):
        Molecule.load(name, **where)


H1, H2 = np.diag([-1.0, 0.5]), np.zeros((2,) * 4)
LOPSIDED = np.zeros((2,) * 4)
LOPSIDED[0, 0, 1, 1] = 0.5
PHYSICIST = np.zeros((2,) * 4)
PHYSICIST[0, 1, 0, 1] = PHYSICIST[1, 0, 1, 0] = 0.5
WRONG: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("flat", ([1.0], H2, 0.0, 2), ValueError, r"h1 must have shape \(any, any\)"),
    ("oblong", (np.ones((2, 3)), H2, 0.0, 2), ValueError, "h1 must be square"),
    ("none", (np.ones((0, 0)), H2, 0.0, 2), ValueError, "h1 must be square with at least one orbital"),
    ("skew", ([[0.0, 1.0], [0.0, 0.0]], H2, 0.0, 2), ValueError, r"h1 must be symmetric.*off by 1 at index \(0, 1\)"),
    ("complex", ([[0.0, 1j], [-1j, 0.0]], H2, 0.0, 2), ValueError, "h1 must be real. Got complex entries"),
    ("h2 shape", (H1, np.zeros((2, 2)), 0.0, 2), ValueError, r"h2 must have shape \(2, 2, 2, 2\)"),
    ("h2 skew", (H1, LOPSIDED, 0.0, 2), ValueError, r"h2 must be symmetric: \(pq\|rs\) = \(rs\|pq\)"),
    ("h2 order", (H1, PHYSICIST, 0.0, 2), ValueError, r"h2 must be symmetric.*chemist's order"),
    ("nan", (H1 * np.nan, H2, 0.0, 2), ValueError, "h1 must be finite"),
    ("words", ("h", H2, 0.0, 2), TypeError, "h1 must be an array of float64"),
    ("text", ([["1", "0"], ["0", "1"]], H2, 0.0, 2), TypeError, "h1 must be an array of float64.*it holds text"),
    ("ragged", ([[1.0, 2.0], [3.0]], H2, 0.0, 2), TypeError, "h1 must be an array of float64"),
    ("zero-dimensional", (H1, H2, 0.0, np.array(2)), TypeError, "electrons must be two integers"),
    ("constant", (H1, H2, np.inf, 2), ValueError, "constant must be finite"),
    ("odd", (H1, H2, 0.0, 3), ValueError, r"electrons given as one number must be even.*electrons=\(2, 1\)"),
    ("too many", (H1, H2, 0.0, (3, 0)), ValueError, r"electrons\[0\] must be at most 2. Got 3. There are 2 spatial"),
    ("negative", (H1, H2, 0.0, (1, -1)), ValueError, r"electrons\[1\] must be at least 0"),
    ("no electrons", (H1, H2, 0.0, (0, 0)), ValueError, "electrons must be at least one"),
    ("float", (H1, H2, 0.0, 2.0), TypeError, "electrons must be two integers"),
    ("three", (H1, H2, 0.0, (1, 1, 1)), TypeError, "electrons must be two integers"),
]


@pytest.mark.parametrize(("given", "error", "match"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_bad_integrals(given: tuple[Any, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Molecule.from_integrals(*given)


# -- with PySCF ----------------------------------------------------------------------------------------------------

GEOMETRY: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("element", {"atoms": "Lj 0 0 0"}, ValueError, r"atoms\[0\] must be one of 'Ac', .* Got 'Lj'. Did you mean"),
    ("coordinates", {"atoms": "H 0 0"}, ValueError, r"atoms\[0\] must be a symbol and three|must have shape \(3,\)"),
    ("words", {"atoms": "H 0 0 far"}, ValueError, r"atoms\[0\] must be a symbol and three coordinates"),
    ("none", {"atoms": ""}, ValueError, "atoms must hold at least one atom"),
    ("number", {"atoms": 5}, TypeError, "atoms must be text or a sequence of atoms. Got int"),
    ("one place", {"atoms": "H 0 0 0; H 0 0 0"}, ValueError, "atoms must be in different places. Atoms 0 and 1"),
    (
        "spin",
        {"atoms": "H 0 0 0; H 0 0 1", "spin": 1},
        ValueError,
        "spin .* must fit 2 electrons: one of 0, 2, .* Got 1",
    ),
    ("high spin", {"atoms": "H 0 0 0", "spin": 3}, ValueError, "spin .* must fit 1 electrons: one of 1, "),
    ("charge and spin", {"atoms": "Li 0 0 0; H 0 0 1.6", "charge": 1}, ValueError, "must fit 3 electrons: one of 1, 3"),
    ("bare", {"atoms": "H 0 0 0", "charge": 1}, ValueError, "charge must leave at least one electron. Got 1"),
    ("minus", {"atoms": "H 0 0 0; H 0 0 1", "spin": -2}, ValueError, "spin must be at least 0"),
    ("space", {"atoms": "Li 0 0 0; H 0 0 1.6", "active_space": (3, 4)}, ValueError, r"must leave whole pairs"),
    ("room", {"atoms": "Li 0 0 0; H 0 0 1.6", "active_space": (4, 1)}, ValueError, "must have room for 2 electrons"),
    ("space type", {"atoms": "H 0 0 0; H 0 0 1", "active_space": 2}, TypeError, "active_space must be two integers"),
    (
        "space size",
        {"atoms": "H 0 0 0; H 0 0 1", "active_space": (4, 4)},
        ValueError,
        r"active_space\[0\] must be at most 2",
    ),
    ("basis", {"atoms": "H 0 0 0; H 0 0 1", "basis": ""}, ValueError, "basis must not be an empty string"),
]


@pytest.mark.parametrize(("given", "error", "match"), [row[1:] for row in GEOMETRY], ids=[row[0] for row in GEOMETRY])
def test_bad_geometries_are_refused_before_chemistry_starts(
    given: dict[str, Any], error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)  # importing it would raise another error
    with pytest.raises(error, match=match):
        Molecule.from_geometry(**given)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(ModuleNotFoundError, match=r"from_geometry needs the package pyscf.*pip install 'varq\[chem\]'"):
        Molecule.from_geometry("H 0 0 0; H 0 0 1")
    with pytest.raises(ModuleNotFoundError, match=r"from_pyscf needs the package pyscf.*pip install 'varq\[chem\]'"):
        Molecule.from_pyscf(object())


def test_loading_needs_no_chemistry() -> None:
    code = (
        "import sys; sys.modules['pyscf'] = None\n"
        "from varq.problems.molecule import Molecule\n"
        "assert abs(Molecule.load('H2').reference() + 1.13727) < 1e-5"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def from_row(row: dict[str, Any], mapping: str = "jordan-wigner") -> Molecule:
    return Molecule.from_geometry(
        [(symbol, tuple(place)) for symbol, place in row["geometry"]],
        row["basis"],
        row["charge"],
        row["spin"],
        row["active_space"],
        mapping=mapping,
    )


def check_row(row: dict[str, Any], molecule: Molecule) -> None:
    want, rule = row["energies"], ACTIVE if row["active_space"] else ORBITALS
    assert molecule.wires == row["n_qubits"]
    assert abs(molecule.hf_energy - want["hf"]) < rule
    found = molecule.reference()
    assert found is not None
    assert abs(found - want["exact"]) < rule
    if "exact_singlet" in want:
        singlet = molecule.reference(singlet=True)
        assert singlet is not None
        assert abs(singlet - want["exact_singlet"]) < rule


@pytest.mark.chem
@pytest.mark.parametrize(
    "key",
    [
        "LiH/sto-3g/R=1.595",
        "LiH/sto-3g/R=1.595/fc",
        "H3+/sto-3g/R=0.9",
        "H2O/sto-3g/angle=104.5",
        "H+H2/sto-3g/full/ts",
    ],
)
def test_geometries_give_the_energies_computed_elsewhere(key: str) -> None:
    molecule = from_row(ROWS[key])
    check_row(ROWS[key], molecule)
    check_on_qubits(molecule)


@pytest.mark.chem
@pytest.mark.full
@pytest.mark.parametrize("key", sorted(set(ROWS) - LOWER_FOUND))
@pytest.mark.filterwarnings("ignore:active_space cuts through a degenerate shell")
def test_every_geometry_gives_the_energies_computed_elsewhere(key: str) -> None:
    molecule = from_row(ROWS[key])
    check_row(ROWS[key], molecule)
    for mapping in fermion.MAPS:
        check_on_qubits(dataclasses.replace(molecule, mapping=mapping))


@pytest.mark.chem
@pytest.mark.parametrize("key", sorted(LOWER_FOUND))
def test_lower_solutions_are_found(key: str) -> None:
    assert from_row(ROWS[key]).energies["hf"] < ROWS[key]["energies"]["hf"] - 1e-4


@pytest.mark.chem
def test_a_shipped_point_is_what_its_geometry_gives() -> None:
    """Bit for bit up to rounding: orbitals have symmetry and sign fixed, degenerate pairs included."""
    for name in ("LiH", "BeH2"):
        molecule = Molecule.load(name)
        again = Molecule.from_geometry(molecule.atoms)
        assert np.max(np.abs(again.h1 - molecule.h1)) < 1e-6  # orbitals are converged to 1e-7
        assert np.max(np.abs(again.h2 - molecule.h2)) < 1e-6


@pytest.mark.chem
def test_open_shells_from_a_geometry() -> None:
    """Lithium: S^2 = 3/4 in the ROHF determinant; oxygen's ground state is a triplet."""
    lithium = Molecule.from_geometry("Li 0 0 0", spin=1)
    assert lithium.electrons == (2, 1)
    assert lithium.name == "Li"
    check_on_qubits(lithium)
    oxygen = Molecule.from_geometry("O 0 0 0", spin=2)
    assert oxygen.electrons == (5, 3)
    check_on_qubits(oxygen)


@pytest.mark.chem
def test_a_cut_through_a_shell_is_told() -> None:
    with pytest.warns(UserWarning, match="active_space cuts through a degenerate shell: orbitals 3 and 4"):
        Molecule.from_geometry("Li 0 0 0; H 0 0 1.6", active_space=(2, 3))


@pytest.mark.chem
def test_pyscf_objects() -> None:
    from pyscf import fci as theirs
    from pyscf import gto, mcscf, scf

    molecule = gto.M(atom="Li 0 0 0; H 0 0 2.0", basis="sto-3g", verbose=0)
    field = scf.RHF(molecule).run(conv_tol=1e-11)
    full = Molecule.from_pyscf(field, name="LiH")
    assert abs(full.hf_energy - field.e_tot) < LINALG
    assert full.reference() == pytest.approx(theirs.FCI(field).kernel()[0], abs=ORBITALS)
    casscf = mcscf.CASSCF(field, 4, 2).run(conv_tol=1e-10)
    assert Molecule.from_pyscf(casscf).reference() == pytest.approx(casscf.e_tot, abs=ORBITALS)
    radical = gto.M(atom="Be 0 0 0; H 0 0 1.34", basis="sto-3g", spin=1, verbose=0)
    open_shell = scf.ROHF(radical).run(conv_tol=1e-11)
    cation = Molecule.from_pyscf(open_shell)
    assert cation.electrons == (3, 2)
    assert abs(cation.hf_energy - open_shell.e_tot) < LINALG
    assert cation.reference() == pytest.approx(theirs.FCI(open_shell).kernel()[0], abs=ORBITALS)


@pytest.mark.chem
def test_pyscf_objects_that_cannot_be_used() -> None:
    from pyscf import gto, mcscf, scf

    molecule = gto.M(atom="H 0 0 0; H 0 0 0.8; H 0 0 1.6", spin=1, verbose=0)
    with pytest.raises(ValueError, match="This UHF is of another kind"):
        Molecule.from_pyscf(scf.UHF(molecule).run())
    with pytest.raises(ValueError, match="This ROHF has not run: call its kernel"):
        Molecule.from_pyscf(scf.ROHF(molecule))
    with pytest.raises(ValueError, match="needs a converged calculation"):
        Molecule.from_pyscf(scf.ROHF(molecule).run(max_cycle=1))
    with pytest.raises(ValueError, match="one set of orbitals for both spins"):
        Molecule.from_pyscf(mcscf.UCASCI(scf.UHF(molecule).run(), 2, (1, 0)))
    with pytest.raises(ValueError, match="This int is of another kind"):
        Molecule.from_pyscf(3)
    with pytest.raises(ValueError, match=r"basis must be one that PySCF has.*'no-such-basis'"):
        Molecule.from_geometry("H 0 0 0; H 0 0 1", basis="no-such-basis")


def test_formulas() -> None:
    atoms = chemistry.parse_atoms([("O", (0, 0, 0)), ("H", 0, 0, 1), ["h", [0, 1, 0]]])
    assert [symbol for symbol, _ in atoms] == ["O", "H", "H"]
    assert chemistry.formula(atoms) == "OH2"
    assert chemistry.formula(atoms, -2) == "OH22-"
    assert chemistry.ELEMENTS.index("U") + 1 == 92
    assert set(shipped.GEOMETRIES) == set(Molecule.available())


def test_the_lowest_of_a_sector_is_exact_to_rounding() -> None:
    # Elements far below the largest ones add up: none may be dropped.
    for name, bond in (("BeH2", 3.0), ("N2", 1.75)):
        molecule = Molecule.load(name, bond=bond)
        inside = fermion.sector(molecule.electrons, molecule.orbitals)
        lowest = molecule.pauli.lowest(sector=inside)[0]
        assert lowest == pytest.approx(fci.lowest(molecule.data), abs=1e-10)
