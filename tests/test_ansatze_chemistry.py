"""Chemical ansatze: counts, products of exponentials, conserved numbers, exact energies of two electrons."""

from __future__ import annotations

from functools import reduce
from types import SimpleNamespace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from ansatze_truth import (
    ROUNDING,
    basis_state,
    expectation,
    molecule,
    number,
    rotation,
    state,
    total_spin,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane import numpy as pnp
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from varq.ansatze.conserving import GivensLayers
from varq.ansatze.coupled_cluster import UCCSD, KUpCCGSD, hartree_fock

OPTIMIZED = 1e-8  # hartree; L-BFGS-B with a gradient tolerance of 1e-7 and curvatures of order 1

# Hydrogen at 1.4 bohr in STO-3G: Szabo and Ostlund, Modern Quantum Chemistry (1989), section 4.1 and exercise 3.
H2_CORE = np.diag([-1.2528, -0.4756])
H2_REPULSION = 1 / 1.4


def hydrogen() -> np.ndarray:
    eri = np.zeros((2, 2, 2, 2))
    eri[0, 0, 0, 0], eri[1, 1, 1, 1] = 0.6746, 0.6975
    eri[0, 0, 1, 1] = eri[1, 1, 0, 0] = 0.6636
    for index in ((0, 1, 0, 1), (0, 1, 1, 0), (1, 0, 0, 1), (1, 0, 1, 0)):
        eri[index] = 0.1813
    return molecule(H2_CORE, eri, H2_REPULSION)


def random_molecule(orbitals: int, seed: int) -> np.ndarray:
    """Weakly correlated: orbital energies well apart, small real integrals of full symmetry."""
    rng = np.random.default_rng(seed)
    h = 0.05 * rng.standard_normal((orbitals, orbitals))
    factors = 0.25 * rng.standard_normal((3, orbitals, orbitals))
    factors = factors + factors.transpose(0, 2, 1)
    return molecule(h + h.T + np.diag(np.arange(orbitals) * 0.8), np.einsum("kpq,krs->pqrs", factors, factors), 0.0)


def lowest(matrix: np.ndarray, electrons: tuple[int, int], wires: int) -> float:
    up, down = np.diag(number(wires, 0)), np.diag(number(wires, 1))
    keep = (np.round(up) == electrons[0]) & (np.round(down) == electrons[1])
    return float(np.linalg.eigvalsh(matrix[np.ix_(keep, keep)])[0])


def minimum(ansatz: Any, matrix: np.ndarray, seed: int = 0) -> float:
    @qml.qnode(qml.device("lightning.qubit", wires=ansatz.wires), diff_method="adjoint")
    def node(params: Any) -> Any:
        ansatz(params)
        return qml.expval(qml.SparseHamiltonian(sparse, wires=range(ansatz.wires)))

    sparse = csr_matrix(matrix)

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = qml.grad(node)
        slopes = gradient(pnp.array(flat.reshape(ansatz.shape), requires_grad=True))
        return float(gradient.forward), np.ravel(slopes)

    found = minimize(
        value_and_gradient,
        ansatz.init(seed).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-7, "ftol": 1e-15},
    )
    return float(found.fun)


@pytest.mark.parametrize(
    ("electrons", "orbitals", "count"),
    [((1, 1), 2, 3), ((2, 2), 4, 26), ((2, 2), 6, 92), ((3, 3), 6, 117), ((3, 3), 7, 204), ((5, 5), 7, 140)],
    ids=["H2", "H4", "LiH", "H6", "BeH2", "H2O"],
)
def test_uccsd_has_the_known_number_of_parameters(electrons: tuple[int, int], orbitals: int, count: int) -> None:
    assert UCCSD(electrons, orbitals).shape == (count,)


@given(up=st.integers(0, 5), down=st.integers(0, 5), orbitals=st.integers(1, 5))
def test_uccsd_counts_by_a_formula_for_any_shell(up: int, down: int, orbitals: int) -> None:
    up, down = min(up, orbitals), min(down, orbitals)
    u, d = up * (orbitals - up), down * (orbitals - down)
    equal = sum(n * (n - 1) * v * (v - 1) // 4 for n, v in ((up, orbitals - up), (down, orbitals - down)))
    assert UCCSD((up, down), orbitals).size == u + d + u * d + equal


def test_uccsd_starts_from_hartree_fock() -> None:
    ansatz = UCCSD((2, 1), 3)
    assert np.array_equal(hartree_fock((2, 1), 3), [1, 1, 1, 0, 0, 0])
    assert not ansatz.init(4).any()
    assert np.array_equal(state(ansatz, ansatz.init(4), 6), basis_state([1, 1, 1, 0, 0, 0]))


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize(("electrons", "orbitals"), [((1, 1), 3), ((2, 1), 3), ((2, 2), 3)])
def test_uccsd_is_the_product_of_its_exponentials(electrons: tuple[int, int], orbitals: int, device: str) -> None:
    ansatz = UCCSD(electrons, orbitals)
    angles = np.random.default_rng(2).uniform(-2, 2, ansatz.shape)
    want = basis_state(hartree_fock(electrons, orbitals))
    for angle, excitation in zip(angles, ansatz.excitations, strict=True):
        want = rotation(angle, excitation, ansatz.wires) @ want
    assert np.abs(state(ansatz, angles, ansatz.wires, device) - want).max() < ROUNDING


def test_kupccgsd_is_the_product_of_its_exponentials() -> None:
    ansatz = KUpCCGSD((2, 1), 3, k=2)
    assert ansatz.shape == (2, 9)
    angles = np.random.default_rng(3).uniform(-2, 2, ansatz.shape)
    want = basis_state(hartree_fock((2, 1), 3))
    for layer in angles:
        for angle, excitation in zip(layer, ansatz.excitations, strict=True):
            want = rotation(angle, excitation, 6) @ want
    assert np.abs(state(ansatz, angles, 6) - want).max() < ROUNDING


def test_givens_layers_are_the_product_of_their_exponentials() -> None:
    ansatz = GivensLayers((2, 1), 3, depth=2)
    angles = np.random.default_rng(4).uniform(-2, 2, ansatz.shape)
    want = basis_state(hartree_fock((2, 1), 3))
    for layer in angles:
        for (first, pair, last), p in zip(layer, (0, 1), strict=True):
            up, down = ((2 * p,), (2 * p + 2,)), ((2 * p + 1,), (2 * p + 3,))
            both = ((2 * p, 2 * p + 1), (2 * p + 2, 2 * p + 3))
            steps = [(first, up), (first, down), (pair, both), (last, up), (last, down)]
            want = reduce(lambda vector, step: rotation(*step, 6) @ vector, steps, want)
    assert np.abs(state(ansatz, angles, 6) - want).max() < ROUNDING


@st.composite
def shells(draw: st.DrawFn) -> tuple[tuple[int, int], int]:
    orbitals = draw(st.integers(2, 4))
    return (draw(st.integers(0, orbitals)), draw(st.integers(0, orbitals))), orbitals


@settings(max_examples=8)
@given(shell=shells(), make=st.sampled_from((UCCSD, KUpCCGSD, GivensLayers)), seed=st.integers(0, 99))
def test_electrons_of_each_spin_are_conserved(shell: Any, make: Any, seed: int) -> None:
    (up, down), orbitals = shell
    ansatz = make((up, down), orbitals)
    angles = np.random.default_rng(seed).uniform(-3, 3, ansatz.shape)
    vector = state(ansatz, angles, ansatz.wires)
    for spin, count in enumerate((up, down)):
        assert np.linalg.norm(number(ansatz.wires, spin) @ vector - count * vector) < ROUNDING


@pytest.mark.parametrize(("electrons", "spin"), [((2, 2), 0.0), ((2, 1), 0.5), ((3, 1), 1.0)])
def test_givens_layers_conserve_the_total_spin(electrons: tuple[int, int], spin: float) -> None:
    ansatz = GivensLayers(electrons, 4, depth=2)
    angles = np.random.default_rng(6).uniform(-3, 3, ansatz.shape)
    vector = state(ansatz, angles, 8)
    assert np.linalg.norm(total_spin(8) @ vector - spin * (spin + 1) * vector) < ROUNDING


def test_uccsd_is_exact_for_hydrogen() -> None:
    matrix = hydrogen()
    exact = lowest(matrix, (1, 1), 4)
    assert exact < expectation(UCCSD((1, 1), 2), np.zeros(3), 4, matrix) - 0.02
    assert abs(minimum(UCCSD((1, 1), 2), matrix) - exact) < OPTIMIZED


@pytest.mark.parametrize(
    "ansatz",
    [
        UCCSD((1, 1), 3),
        UCCSD((2, 1), 3),
        UCCSD((1, 0), 3),
        KUpCCGSD((1, 1), 3, k=2),
        GivensLayers((1, 1), 3, depth=3),
    ],
    ids=lambda a: a.title,
)
def test_few_electrons_are_solved_exactly(ansatz: Any) -> None:
    matrix = random_molecule(3, seed=1)
    exact = lowest(matrix, ansatz.electrons, 6)
    assert abs(minimum(ansatz, matrix, seed=1) - exact) < 100 * OPTIMIZED


MOLECULE = SimpleNamespace(wires=8, electrons=(2, 1), orbitals=4, mapping="jordan-wigner")


@pytest.mark.parametrize(("make", "options"), [(UCCSD, {}), (KUpCCGSD, {"k": 3}), (GivensLayers, {"depth": 5})])
def test_it_is_made_for_a_problem(make: Any, options: dict[str, int]) -> None:
    assert make.for_problem(MOLECULE, **options) == make((2, 1), 4, **options)
    graph = SimpleNamespace(wires=8)
    with pytest.raises(ValueError, match=f"{make.__name__} needs a problem of electrons in orbitals"):
        make.for_problem(graph)
    parity = SimpleNamespace(wires=8, electrons=(2, 1), orbitals=4, mapping="parity")
    with pytest.raises(ValueError, match=r"mapping='parity'\. Build the problem with mapping='jordan-wigner'"):
        make.for_problem(parity)


@pytest.mark.parametrize("make", [UCCSD, KUpCCGSD, GivensLayers])
def test_electrons_must_fit(make: Any) -> None:
    with pytest.raises(ValueError, match=r"electrons must be at most 3\. Got 4"):
        make((4, 1), 3)
    with pytest.raises(ValueError, match=r"electrons must be at least 0\. Got -1"):
        make((-1, 1), 3)
    with pytest.raises(ValueError, match="electrons must have two entries"):
        make((1, 1, 1), 3)
    with pytest.raises(TypeError, match="electrons must be of type"):
        make(4, 3)
    with pytest.raises(TypeError, match="electrons must be an integer"):
        make((1.5, 1), 3)
    with pytest.raises(ValueError, match="orbitals must be at least"):
        make((0, 0), 0)


def test_layers_must_be_counted() -> None:
    with pytest.raises(ValueError, match=r"k must be at least 1\. Got 0"):
        KUpCCGSD((1, 1), 2, k=0)
    with pytest.raises(TypeError, match="depth must be an integer"):
        GivensLayers((1, 1), 2, depth=1.5)


def test_lists_and_tuples_are_the_same_spec() -> None:
    assert UCCSD([1, 1], np.int64(2)) == UCCSD((1, 1), 2)
