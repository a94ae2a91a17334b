"""Lattice models against a table of energies made elsewhere, dense matrices and closed forms."""

from __future__ import annotations

import json
import math
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq import spec
from varq.problems import closed_forms
from varq.problems.lattice import Heisenberg, Hubbard, TransverseFieldIsing
from varq.problems.pauli import PauliSum

EXACT = 1e-10  # energies of order ten from LAPACK
TABLE = 1e-8  # energies of the table, from Krylov spaces there and here
LIMIT = 1e-11  # integrals over infinite chains, from adaptive quadrature in the table
FAST_WIRES = 14  # larger rows of the table are for the long suite
LAW = settings(deadline=None, max_examples=30, derandomize=True)

ROWS = json.loads((Path(__file__).parent / "data" / "lattices.json").read_text())["rows"]
STRENGTHS = st.sampled_from([-1.5, -1.0, -0.3, 0.4, 1.0, 2.0])


def problem_of(row: dict[str, Any]) -> Any:
    parameter, name = row["parameter"], row["id"].split("/")[0]
    if row["family"] == "TFIM":
        return TransverseFieldIsing(parameter["n"], field=parameter["g"], periodic=parameter["pbc"])
    if name == "Heisenberg":
        return Heisenberg(parameter["n"], periodic=parameter["pbc"])
    if name == "Majumdar-Ghosh":
        return Heisenberg(parameter["n"], periodic=True, second_coupling=0.5)
    if name.endswith("-open"):
        rows, columns = name.split("-")[1].split("x")
        return Hubbard(shape=(int(rows), int(columns)), interaction=parameter["U"])
    electrons = (parameter["nup"], parameter["ndn"])
    return Hubbard(
        parameter["L"], periodic=name == "Hubbard-ring", interaction=parameter["U"], electrons=electrons
    )  # fmt: skip


def finite_rows() -> list[Any]:
    rows = [row for row in ROWS if not row["per_site"]]
    slow = pytest.mark.full
    return [pytest.param(r, id=r["id"], marks=[slow] if r["wires"] > FAST_WIRES else []) for r in rows]


@pytest.mark.parametrize("row", finite_rows())
def test_references_are_those_of_the_table(row: dict[str, Any]) -> None:
    problem = problem_of(row)
    assert problem.wires == row["wires"]
    assert abs(problem.reference() - row["energy"]) < TABLE


@pytest.mark.parametrize("row", [r for r in ROWS if r["family"] == "TFIM" and not r["per_site"] and r["wires"] <= 12])
def test_free_fermions_agree_with_diagonalization(row: dict[str, Any]) -> None:
    assert abs(problem_of(row).pauli.lowest()[0] - row["energy"]) < TABLE


@pytest.mark.parametrize("row", [pytest.param(r, id=r["id"]) for r in ROWS if r["per_site"]])
def test_infinite_chains(row: dict[str, Any]) -> None:
    parameter = row["parameter"]
    if row["family"] == "TFIM":
        energy = closed_forms.ising_per_site(1.0, parameter["g"])
    elif row["family"] == "Heisenberg":
        energy = closed_forms.heisenberg_per_site()
    else:
        energy = closed_forms.lieb_wu(parameter["U"])
    assert abs(energy - row["energy"]) < LIMIT


@LAW
@given(st.integers(1, 7), STRENGTHS, STRENGTHS, st.booleans())
def test_ising_closed_form_for_all_signs(sites: int, coupling: float, field: float, periodic: bool) -> None:
    problem = TransverseFieldIsing(sites, coupling=coupling, field=field, periodic=periodic)
    assert abs(problem.reference() - np.linalg.eigvalsh(problem.pauli.sparse().toarray())[0]) < EXACT


def test_long_chains_approach_the_infinite_one() -> None:
    sites = 2000
    ring = TransverseFieldIsing(sites, field=0.8, periodic=True)
    assert abs(ring.reference() / sites - closed_forms.ising_per_site(1.0, 0.8)) < EXACT
    chain = TransverseFieldIsing(sites, field=0.8)
    assert abs(chain.reference() / sites - closed_forms.ising_per_site(1.0, 0.8)) < 1 / sites


def test_weak_interaction_joins_the_integral() -> None:
    below, above = closed_forms.lieb_wu(0.999e-3), closed_forms.lieb_wu(1.001e-3)
    assert abs((above - below) - 0.002e-3 / 4) < 1e-10  # U/4 is the mean-field slope
    assert abs(closed_forms.lieb_wu(0.0) + 4 / math.pi) < EXACT
    assert abs(closed_forms.lieb_wu(8.0, 2.0) - 2 * closed_forms.lieb_wu(4.0)) < EXACT


def annihilators(modes: int) -> list[Any]:
    """Jordan-Wigner annihilation operators as dense matrices, mode 0 leftmost."""
    lower, sign, one = np.array([[0, 1], [0, 0]]), np.diag([1, -1]), np.eye(2)
    return [reduce(np.kron, [sign] * k + [lower] + [one] * (modes - k - 1)) for k in range(modes)]


def matrix(operator: Any, wires: int) -> Any:
    return qml.matrix(operator, wire_order=range(wires)).real


def hubbard_matrix(problem: Hubbard) -> Any:
    a = annihilators(problem.wires)
    number = [m.T @ m for m in a]
    hop = sum(a[2 * i + s].T @ a[2 * j + s] + a[2 * j + s].T @ a[2 * i + s] for i, j in problem.edges for s in (0, 1))
    pairs = sum(number[2 * i] @ number[2 * i + 1] for i in range(problem.orbitals))
    return -problem.hopping * hop + problem.interaction * pairs - problem.chemical_potential * sum(number)


@pytest.mark.parametrize(
    "problem",
    [
        Hubbard(1, interaction=3.0),
        Hubbard(3, periodic=True, interaction=3.0, chemical_potential=0.7),
        Hubbard(4, periodic=True, hopping=0.6, interaction=-2.0, electrons=(1, 2)),
        Hubbard(shape=(2, 2), interaction=5.0, chemical_potential=-0.2),
    ],
    ids=repr,
)
def test_hubbard_is_its_definition(problem: Hubbard) -> None:
    truth = hubbard_matrix(problem)
    assert np.abs(problem.pauli.sparse().toarray() - truth).max() < EXACT
    a = annihilators(problem.wires)
    up, down = (sum(a[k].T @ a[k] for k in range(s, problem.wires, 2)).diagonal().round() for s in (0, 1))
    block = np.flatnonzero((up == problem.electrons[0]) & (down == problem.electrons[1]))
    assert np.array_equal(np.sort(problem.sector()), block)
    assert abs(problem.reference() - np.linalg.eigvalsh(truth[np.ix_(block, block)])[0]) < EXACT
    raising = sum(a[2 * i].T @ a[2 * i + 1] for i in range(problem.orbitals))
    sz = np.diag((up - down) / 2)
    squared = raising.T @ raising + sz @ sz + sz
    assert np.abs(matrix(problem.spin_squared, problem.wires) - squared).max() < EXACT
    assert np.abs(matrix(problem.number, problem.wires).diagonal() - up - down).max() < EXACT
    assert np.abs(matrix(problem.spin_z, problem.wires).diagonal() - (up - down) / 2).max() < EXACT


def test_free_electrons_fill_the_lowest_orbitals() -> None:
    for periodic in (False, True):
        free = Hubbard(5, interaction=0.0, chemical_potential=0.3, electrons=(3, 1), periodic=periodic)
        lowest = free.pauli.lowest(sector=free.sector())
        assert lowest is not None
        assert abs(free.reference() - lowest[0]) < EXACT
    assert abs(Hubbard(30, interaction=0.0).reference() - 2 * sum(
        -2 * math.cos(math.pi * k / 31) for k in range(1, 16)
    )) < EXACT  # fmt: skip


def test_lowest_state_and_lowest_singlet_are_told_apart() -> None:
    # On the bare three-site ring with two electrons and t < 0 the triplet wins (Nagaoka-like), so the two differ.
    ring = Hubbard(3, hopping=-1.0, interaction=20.0, electrons=(1, 1), periodic=True)
    block = np.ix_(ring.sector(), ring.sector())
    levels, vectors = np.linalg.eigh(hubbard_matrix(ring)[block])
    spins = np.diag(vectors.T @ matrix(ring.spin_squared, ring.wires)[block] @ vectors)
    assert abs(ring.reference() - levels[0]) < EXACT
    singlets = [e for e, s in zip(levels, spins, strict=True) if abs(s) < 1e-6]
    assert abs(ring.reference(singlet=True) - singlets[0]) < TABLE
    assert ring.reference(singlet=True) > ring.reference() + 0.01
    free = Hubbard(3, interaction=0.0, electrons=(1, 1))
    assert free.reference(singlet=True) == free.reference()


def test_heisenberg_singlets() -> None:
    antiferromagnet = Heisenberg(6, periodic=True)
    assert abs(antiferromagnet.reference(singlet=True) - antiferromagnet.reference()) < TABLE
    ferromagnet = Heisenberg(4, coupling=-1.0)
    assert abs(ferromagnet.reference() + 0.75) < EXACT  # all parallel: 3 bonds of 1/4
    assert abs(ferromagnet.reference(singlet=True) - min(_levels_of_spin(ferromagnet, 0))) < TABLE


def _levels_of_spin(problem: Heisenberg, spin: float) -> list[float]:
    squared = matrix(problem.spin_squared, problem.wires)
    levels, vectors = np.linalg.eigh(problem.pauli.sparse().toarray() + 1e-3 * squared)
    squares = np.diag(vectors.conj().T @ squared @ vectors).real
    shift = spin * (spin + 1)
    return [e - 1e-3 * shift for e, s in zip(levels, squares, strict=True) if abs(s - shift) < 1e-6]


LATTICES = [
    TransverseFieldIsing(1),
    TransverseFieldIsing(5, periodic=True),
    TransverseFieldIsing(shape=(3, 3), periodic=(True, False)),
    TransverseFieldIsing(shape=(1, 4)),
    Heisenberg(7, periodic=True),
    Heisenberg(6, periodic=True, second_coupling=0.5),
    Heisenberg(shape=(2, 3), second_coupling=0.3),
    Heisenberg(shape=(3, 4), periodic=True),
    Hubbard(5, periodic=True, chemical_potential=0.1),
    Hubbard(shape=(2, 3), periodic=True),
]


@pytest.mark.parametrize("problem", LATTICES, ids=repr)
def test_parts_commute_within_and_add_up(problem: Any) -> None:
    total = sum((part for _, part in problem.parts), PauliSum.zero(problem.wires)) - problem.pauli
    assert np.abs(total.coefficients).sum() < EXACT
    assert all(part.is_commuting() for _, part in problem.parts)
    names = [name for name, _ in problem.parts]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("problem", LATTICES, ids=repr)
def test_lattices_survive_the_spec(problem: Any) -> None:
    again = spec.loads(spec.dumps(problem))
    assert again == problem
    assert spec.identity(again) == spec.identity(problem)
    assert problem.unit == ""
    assert problem.title
    assert problem.positions.shape == (problem.sites, 2)


@pytest.mark.parametrize("problem", LATTICES[:5], ids=repr)
def test_the_operator_is_the_pauli_sum(problem: Any) -> None:
    whole = matrix(problem.hamiltonian, problem.wires)
    assert np.abs(whole - problem.pauli.sparse().toarray()).max() < EXACT


def test_equal_meaning_is_equal_identity() -> None:
    assert spec.identity(Hubbard(4, interaction=4)) == spec.identity(Hubbard(shape=(4,), electrons=[2, 2]))
    assert spec.identity(Heisenberg(2, periodic=True)) == spec.identity(Heisenberg(2))
    assert spec.identity(Heisenberg(3, periodic=True)) != spec.identity(Heisenberg(3))


@pytest.mark.parametrize(
    ("shape", "periodic", "bonds"),
    [
        ((4,), False, 3),
        ((4,), True, 4),
        ((2,), True, 1),
        ((2, 3), False, 7),
        ((2, 3), True, 9),
        ((3, 3), True, 18),
        ((1, 1), True, 0),
    ],
)
def test_numbers_of_bonds(shape: tuple[int, ...], periodic: bool, bonds: int) -> None:
    edges = TransverseFieldIsing(shape=shape, periodic=periodic).edges
    assert len(edges) == len(set(edges)) == bonds
    assert all(i < j for i, j in edges)


def test_neighbors_are_drawn_one_unit_apart() -> None:
    for problem in (Heisenberg(5), Heisenberg(6, periodic=True), Heisenberg(shape=(2, 3))):
        where = problem.positions
        gaps = [np.linalg.norm(where[i] - where[j]) for i, j in problem.edges]
        assert np.allclose(gaps, 1)


def test_references_out_of_reach_are_none() -> None:
    assert TransverseFieldIsing(shape=(5, 5)).reference() is None
    assert Heisenberg(30).reference() is None
    assert Heisenberg(30).reference(singlet=True) is None
    assert Hubbard(14).reference() is None
    assert Hubbard(40).reference() is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TransverseFieldIsing(), ValueError, "sites or shape must be given"),
        (lambda: TransverseFieldIsing(0), ValueError, "sites must be at least 1"),
        (lambda: TransverseFieldIsing(2.5), TypeError, "sites must be an integer"),
        (lambda: TransverseFieldIsing(shape=(2, 2, 2)), ValueError, "one or two lengths"),
        (lambda: TransverseFieldIsing(5, shape=(2, 3)), ValueError, "product of shape.*Got 5"),
        (lambda: TransverseFieldIsing(4, periodic=1), TypeError, "periodic must be True or False"),
        (lambda: TransverseFieldIsing(4, periodic=(True, True)), ValueError, "each of the 1 axes"),
        (lambda: TransverseFieldIsing(4, field=float("nan")), ValueError, "field must be finite"),
        (lambda: TransverseFieldIsing(4, coupling="1"), TypeError, "coupling must be a real number"),
        (lambda: Heisenberg(4, second_coupling=1j), TypeError, "second_coupling must be a real number"),
        (lambda: Hubbard(4, electrons=(5, 0)), ValueError, "at most 4. Got 5. There are 4 sites"),
        (lambda: Hubbard(4, electrons=4), ValueError, r"electrons must be two numbers"),
        (lambda: Hubbard(4, interaction=math.inf), ValueError, "interaction must be finite"),
        (lambda: Heisenberg(5).reference(singlet=True), ValueError, "even number of spins. Got 5"),
        (lambda: Hubbard(3).reference(singlet=True), ValueError, "as many electrons up as down. Got 2 up and 1 down"),
        (lambda: Hubbard(3).reference(singlet="yes"), TypeError, "singlet must be True or False"),
        (lambda: Hubbard(40).pauli, ValueError, "wires must be at most 63"),
        (lambda: closed_forms.lieb_wu(-1.0), ValueError, "interaction must be at least 0"),
        (lambda: closed_forms.lieb_wu(1.0, 0.0), ValueError, "hopping must be greater than 0"),
    ],
)
def test_bad_input_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
