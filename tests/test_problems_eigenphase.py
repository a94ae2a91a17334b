"""Eigenphases against LAPACK, matrix powers and exponentials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import unitary_group

from varq import spec
from varq.problems.eigenphase import EigenPhase, circular_difference, energy_from_phase
from varq.problems.lattice import TransverseFieldIsing
from varq.problems.molecule import Molecule
from varq.problems.pauli import PauliSum

EXACT = 1e-11  # linear algebra of unitaries of a few dozen rows
TURN = 2 * math.pi
LAW = settings(deadline=None, max_examples=30, derandomize=True)
ANGLES = st.floats(-50, 50)


def random_unitary(size: int, seed: int = 0) -> Any:
    return unitary_group(size, seed=seed).rvs()


@pytest.mark.parametrize("size", [2, 4, 16])
def test_phases_and_weights_are_those_of_the_eigenvectors(size: int) -> None:
    matrix = random_unitary(size)
    state = random_unitary(size, 1)[:, 0]
    problem = EigenPhase(matrix, state)
    values, vectors = np.linalg.eig(matrix)
    order = np.argsort(np.angle(values) % TURN)
    assert np.abs(problem.phases - (np.angle(values) % TURN)[order]).max() < EXACT
    assert np.abs(problem.weights - (np.abs(vectors.conj().T @ state) ** 2)[order]).max() < EXACT
    assert problem.reference() == problem.phases[np.argmax(problem.weights)]


@LAW
@given(st.lists(st.floats(0, 6.28), min_size=1, max_size=6))
def test_phases_come_back(phases: list[float]) -> None:
    problem = EigenPhase.from_phases(phases)
    turn = np.exp(1j * np.array(phases))
    # Every moment of the law is that of the phases asked for, however they were merged.
    for k in range(1, 5):
        moment = problem.weights @ np.exp(1j * k * problem.phases)
        assert abs(moment - np.mean(turn**k)) < 1e-8
    assert abs(problem.weights.sum() - 1) < EXACT
    assert (np.diff(problem.phases) > 0).all()
    assert ((problem.phases >= 0) & (problem.phases < TURN)).all()


def test_degenerate_phases_are_one() -> None:
    turn = random_unitary(8)
    matrix = (turn * np.exp(1j * np.repeat([0.5, 2.0], 4))) @ turn.conj().T
    problem = EigenPhase(matrix, 3)
    assert np.abs(problem.phases - [0.5, 2.0]).max() < EXACT
    share = float(np.sum(np.abs(turn[3, :4]) ** 2))
    assert np.abs(problem.weights - [share, 1 - share]).max() < EXACT


def test_the_seam_of_the_circle() -> None:
    problem = EigenPhase.from_phases([1e-10, -1e-10, 3.0], [0.3, 0.3, 0.4])
    assert len(problem.phases) == 2
    assert abs(circular_difference(problem.reference(), 0.0)) < 1e-9
    assert EigenPhase(np.diag([1, np.exp(-1e-15j)]), 1).reference() == 0.0
    assert EigenPhase(np.eye(4)).reference() == 0.0
    near = EigenPhase.from_phases([-0.01])
    assert abs(near.reference() - (TURN - 0.01)) < EXACT


@LAW
@given(ANGLES, ANGLES)
def test_circular_differences(a: float, b: float) -> None:
    gap = circular_difference(a, b)
    assert -math.pi < gap <= math.pi
    assert abs(np.exp(1j * gap) - np.exp(1j * (a - b))) < EXACT
    turned = abs(circular_difference(a + TURN, b) - gap)
    assert min(turned, TURN - turned) < EXACT


def test_circular_differences_of_arrays() -> None:
    gaps = circular_difference(np.array([0.1, math.pi]), np.array([[TURN - 0.1], [0.0]]))
    assert gaps.shape == (2, 2)
    assert abs(gaps[0, 0] - 0.2) < EXACT
    assert gaps[1, 1] == math.pi


@pytest.mark.parametrize("exponent", [0, 1, 7, -3])
def test_powers(exponent: int) -> None:
    matrix = random_unitary(8)
    truth = np.linalg.matrix_power(matrix, exponent)
    assert np.abs(EigenPhase(matrix).power(exponent) - truth).max() < EXACT


def test_large_powers_keep_the_phase() -> None:
    problem = EigenPhase.from_phases([0.3])
    assert abs(problem.power(1 << 20)[0, 0] - np.exp(0.3j * (1 << 20))) < 1e-9


@pytest.mark.parametrize("time", [0.3, -1.1])
def test_evolution(time: float) -> None:
    chain = TransverseFieldIsing(3, field=0.7)
    matrix = chain.pauli.sparse().toarray()
    forms: list[Any] = [chain, chain.hamiltonian, chain.pauli, matrix]
    for form in forms:
        problem = EigenPhase.from_hamiltonian(form, time, near=-4.0)
        assert np.abs(problem.unitary - expm(-1j * time * matrix)).max() < EXACT
        ground = chain.reference()
        assert abs(circular_difference(problem.reference(), -ground * time)) < EXACT
        assert problem.spread == 0
        assert abs(problem.energy(problem.reference()) - ground) < EXACT
        assert abs(energy_from_phase(problem.reference(), time, near=ground + 0.4) - ground) < EXACT
    assert len(EigenPhase.from_hamiltonian(chain, time, state=0, near=0).phases) > 1


def test_a_time_that_wraps_the_levels_needs_a_guess() -> None:
    """Phases of a long evolution stand for many energies; the one near the guess is meant."""
    h2 = Molecule.load("H2")
    levels = np.linalg.eigvalsh(h2.pauli.sparse().toarray())
    for level in (levels[0], levels[-1]):
        problem = EigenPhase.from_hamiltonian(h2, time=20, near=level + 0.1)
        assert abs(problem.energy((-level * 20) % TURN) - level) < EXACT
    with pytest.raises(ValueError, match=r"half a turn or more .*Got time=20, .* within 0.1571\."):
        EigenPhase.from_hamiltonian(h2, time=20)
    longest = math.pi / np.abs(levels - levels.mean()).max()
    for time in (0.999 * longest, -0.999 * longest, None):
        problem = EigenPhase.from_hamiltonian(h2, time)
        found = [problem.energy((-level * problem.time) % TURN) for level in levels]
        np.testing.assert_allclose(found, levels, atol=EXACT)
    with pytest.raises(ValueError, match="Leave time out, or give near="):
        EigenPhase.from_hamiltonian(h2, 1.001 * longest, trotter=1)


@LAW
@given(st.floats(-20, 20), st.sampled_from([0.1, 1.0, -2.5]), st.floats(-1, 1))
def test_the_energy_near_a_guess(energy: float, time: float, off: float) -> None:
    near = energy + 0.99 * off * math.pi / abs(time)
    assert abs(energy_from_phase((-energy * time) % TURN, time, near) - energy) < 1e-10


def test_spread() -> None:
    assert EigenPhase(qml.T(0), 1).spread == 0
    assert EigenPhase.from_phases([0, math.pi]).spread == math.inf
    narrow = EigenPhase.from_phases([1.0 - 1e-3, 1.0 + 1e-3])
    assert abs(narrow.spread - math.tan(1e-3)) < EXACT


def test_gates_and_states() -> None:
    assert abs(EigenPhase(qml.T(0), 1).reference() - math.pi / 4) < EXACT
    assert EigenPhase(qml.T(0)).reference() == 0
    assert abs(EigenPhase(qml.PhaseShift(1.0, "a"), [0, 1]).reference() - 1) < EXACT
    assert EigenPhase(qml.CNOT([1, 0])).wires == 2
    assert repr(EigenPhase(qml.X(0))) == "EigenPhase(1 wire, 2 phases)"


def test_it_survives_the_spec() -> None:
    for problem in (EigenPhase(random_unitary(4), 2), EigenPhase(qml.QubitUnitary(np.diag([1, 1j]), 0), [0, 1])):
        again = spec.loads(spec.dumps(problem))
        assert spec.identity(again) == spec.identity(problem)
        assert np.array_equal(again.unitary, problem.unitary)
    known = EigenPhase(qml.QubitUnitary(np.diag([1, 1j]), 0), 1)
    assert spec.identity(known) == spec.identity(EigenPhase(np.diag([1, 1j]), [0, 1]))
    assert spec.identity(EigenPhase(qml.T(0), 1)) != spec.identity(EigenPhase(qml.T(0), 0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EigenPhase(np.diag([1, 2])), ValueError, "unitary must be unitary.*off by 3"),
        (lambda: EigenPhase(np.ones((2, 3))), ValueError, r"must be square. Got shape \(2, 3\)"),
        (lambda: EigenPhase(np.eye(3)), ValueError, r"2\^n rows"),
        (lambda: EigenPhase(np.full((2, 2), np.nan)), ValueError, "unitary must be finite"),
        (lambda: EigenPhase("T"), TypeError, "matrix or a PennyLane operator. Got str"),
        (lambda: EigenPhase(qml.Identity(range(11))), ValueError, "wires must be at most 10"),
        (lambda: EigenPhase(np.eye(2), [1, 1]), ValueError, "state must have norm 1"),
        (lambda: EigenPhase(np.eye(2), [1, 0, 0]), ValueError, r"state must have shape \(2,\).*"),
        (lambda: EigenPhase(np.eye(2), 2), ValueError, "state must be at most 1. Got 2"),
        (lambda: EigenPhase(np.eye(2), True), TypeError, "state must be an integer"),
        (lambda: EigenPhase.from_phases([]), ValueError, "at least one phase"),
        (lambda: EigenPhase.from_phases([1, 2], [0.5, 0.6]), ValueError, "add up to 1"),
        (lambda: EigenPhase.from_phases([1, 2], [1.5, -0.5]), ValueError, "must not be negative"),
        (lambda: EigenPhase.from_phases([1, 2], [1.0]), ValueError, r"weights must have shape \(2,\)"),
        (lambda: EigenPhase.from_hamiltonian(qml.Z(0), 0), ValueError, "time must not be 0"),
        (lambda: EigenPhase.from_hamiltonian(qml.S(0), 1), ValueError, "must be Hermitian"),
        (lambda: EigenPhase.from_hamiltonian(PauliSum.from_words({"Z": 1j}), 1), ValueError, "Hermitian"),
        (lambda: EigenPhase.from_hamiltonian(TransverseFieldIsing(11), 1), ValueError, "wires must be at most 10"),
        (lambda: EigenPhase(np.eye(2)).power(0.5), TypeError, "exponent must be an integer"),
        (lambda: energy_from_phase(1.0, 0.0), ValueError, "time must not be 0"),
        (lambda: energy_from_phase(math.nan, 1.0), ValueError, "phase must be finite"),
    ],
)
def test_bad_input_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
