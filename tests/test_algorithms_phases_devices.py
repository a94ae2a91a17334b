"""Phase estimation on devices: states that each experiment prepares anew, and noise that nobody tells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from scipy import stats
from scipy.linalg import expm

import varq
from varq.algorithms import VQE, PhaseEstimation, phase_estimation, phase_study, vqe
from varq.algorithms.phases import Greedy
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Setting
from varq.algorithms.phases.study import Study
from varq.keys import Key
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.protocol import Experiment, Reply

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SIGMAS = 4  # one false alarm in sixteen thousand for a normal variable
LEAST = 0.92  # of intervals that are to cover 0.95, beside a phase of which they know the weight alone
QUIET: dict[str, Any] = {"store": None, "progress": False}


def beside(weight: float, away: float) -> EigenPhase:
    """A phase of this weight, and another one so far from it."""
    return EigenPhase.from_phases([1.0, 1.0 + away], [weight, 1 - weight])


def on_device(problem: EigenPhase, applications: int, device: Any = "default.qubit", **options: Any) -> PhaseEstimation:
    return PhaseEstimation(problem=problem, applications=applications, device=device, **options)


def same_errors(one: Study, other: Study) -> None:
    """Both parts of the mean wave of their errors, within what so many runs allow."""
    for wave in (np.cos, np.sin):
        waves = [wave(s.errors) for s in (one, other)]
        gap = waves[0].mean() - waves[1].mean()
        assert abs(gap) < SIGMAS * math.sqrt(sum(w.var() / len(w) for w in waves))


@pytest.mark.parametrize(("weight", "away"), [(0.9, 1.9), (0.8, 0.4)])
def test_a_phase_is_found_beside_others(weight: float, away: float) -> None:
    """Intervals hold it, and more applications narrow them: no floor of the error is left."""
    studies = [phase_study(on_device(beside(weight, away), n), 600, whole=True, seed=n) for n in (64, 256)]
    share, spread = studies[1].coverage(0.95)
    assert share > LEAST - SIGMAS * spread
    medians = [np.median(np.abs(study.errors)) for study in studies]
    assert medians[0] / medians[1] > 3  # four times the applications


def test_so_the_device_has_it() -> None:
    """Circuits of a state that is no eigenstate, against the law that the study draws from."""
    task, runs = on_device(beside(0.85, 1.3), 12), 100
    phases = np.resize(np.random.default_rng(7).uniform(0, 2 * math.pi, 4), 10 * runs)
    drawn = phase_study(task, 10 * runs, phases=phases, seed=7)
    same_errors(drawn, phase_study(task, runs, through="device", phases=phases[:runs], seed=8))


def test_the_state_of_a_variational_run_is_taken_as_it_is() -> None:
    h2 = Molecule.load("H2")
    rough = vqe(h2, optimizer=varq.Optax("sgd", learning_rate=0.1), stop=varq.Stop(steps=1), progress=False, store=None)
    problem = EigenPhase.from_hamiltonian(h2, state=VQE(problem=h2).circuit(rough.parameters))
    assert 0.9 < problem.weights.max() < 0.999
    result = phase_estimation(problem, applications=128, device="default.qubit", seed=2, **QUIET)
    assert abs(result.deviation) < SIGMAS * result.stderr
    assert result.stderr < 0.1


def test_a_product_formula_starts_from_a_state_of_its_own() -> None:
    """The eigenvector of the formula that is closest to the ground state of the Hamiltonian."""
    chain = TransverseFieldIsing(3)
    ground = np.linalg.eigh(chain.pauli.sparse().toarray())[1][:, 0]
    problem = EigenPhase.from_hamiltonian(chain, 0.3, trotter=2)
    assert np.linalg.norm(problem.unitary @ problem.state - np.exp(1j * problem.reference()) * problem.state) < EXACT
    overlaps = np.abs(np.linalg.eig(problem.unitary)[1].conj().T @ ground)
    assert abs(np.vdot(problem.state, ground)) == pytest.approx(overlaps.max(), abs=EXACT)
    result = phase_estimation(problem, applications=24, device="default.qubit", seed=3, **QUIET)
    assert abs(result.deviation) < SIGMAS * result.stderr
    # Where all phases are alike, nothing has to be left out of the ground state.
    same = EigenPhase.from_hamiltonian(np.zeros((4, 4)), 0.1, trotter=3)
    np.testing.assert_allclose(np.abs(same.state), [1, 0, 0, 0], atol=EXACT)


def test_a_state_of_many_phases_is_refused() -> None:
    task = PhaseEstimation(problem=beside(0.79, 1.0))
    with pytest.raises(ValueError, match=r"with a weight of at least 0.8 .*Got weights \[0.79, 0.21\]. Use the policy"):
        task.resolve("default.qubit", None)
    assert task.resolve(None, None).device == "likelihood"


# -- noise ---------------------------------------------------------------------------------------------------------

GATE = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
MISREAD = varq.device("default.mixed", readout_prob=0.1)


def test_a_noisy_device_leaves_intervals_right() -> None:
    """Bits that are misread, of which nothing is said: a visibility of 1 in mind leads one run in ten far astray."""
    study = phase_study(on_device(GATE, 48, MISREAD), 120, through="device", whole=True, seed=3)
    share, spread = study.coverage(0.95)
    assert share > 0.95 - SIGMAS * spread
    astray = np.abs(study.errors) > 3 * np.sqrt(study.sharpness**-2 - 1)
    assert astray.sum() <= 1  # 12 with noise="known"


@pytest.mark.parametrize(
    ("options", "device", "noise"),
    [
        ({}, MISREAD, "estimated"),
        ({}, qml.device("default.mixed", wires=2), "estimated"),
        ({}, "ibm.fake_torino", "estimated"),
        ({}, "default.qubit", "known"),
        ({}, None, "known"),
        ({"contrast": 0.9}, MISREAD, "known"),
        ({"coherence": 50.0}, MISREAD, "known"),
        ({"noise": "known"}, MISREAD, "known"),
        ({"policy": "spectrum", "contrast": 0.9, "applications": 10_000}, MISREAD, "known"),
    ],
)
def test_what_is_believed_of_the_noise_follows_from_the_device(options: Any, device: Any, noise: str) -> None:
    assert PhaseEstimation(problem=GATE, **options).resolve(device, None).noise == noise


def test_several_phases_need_a_noise_that_is_told() -> None:
    task = PhaseEstimation(problem=GATE, policy="spectrum", applications=10_000)
    with pytest.raises(ValueError, match=r"contrast or coherence must be given .*Got neither for default.mixed\. Give"):
        task.resolve("default.mixed", None)


# -- budgets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [None, "default.qubit"], ids=["drawn", "device"])
@pytest.mark.parametrize("most", [0, 7])
def test_a_budget_of_circuits_ends_a_run(device: Any, most: int) -> None:
    with varq.Session(device, store=None, progress=False, budget=varq.Budget(circuits=most, reserve=0)) as session:
        run = session.start(PhaseEstimation(problem=GATE, applications=128))
        session.drain()
    assert run.result is not None
    assert (run.result.reason, run.result.executions) == (varq.Reason.BUDGET, most)
    assert run.result.details["experiments"] == most


@pytest.mark.parametrize("most", [0, 7])
def test_a_budget_of_shots_ends_a_run_on_a_device(most: int) -> None:
    """One shot each; outcomes that are drawn from their law are no shots."""
    for device, spent in (("default.qubit", most), (None, None)):
        with varq.Session(device, store=None, progress=False, budget=varq.Budget(shots=most, reserve=0)) as session:
            run = session.start(PhaseEstimation(problem=GATE, applications=64))
            session.drain()
        assert run.result is not None
        assert (run.result.reason is varq.Reason.BUDGET) == (spent is not None)
        assert spent is None or run.result.details["experiments"] == spent


# -- studies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["loop", "circuit"])
def test_a_state_of_several_wires_and_phases_collapses(way: str) -> None:
    """The law of the Fourier transform, a mixture of that of each phase, for wires that are not alike."""
    words = qml.Z(0) + 0.4 * qml.X(0) @ qml.Y(1) + 0.7 * qml.X(1) + 0.2 * qml.Z(1)
    problem = EigenPhase.from_hamiltonian(words, 0.8, state=[0.6, 0.0, 0.8j, 0.0])
    assert len(problem.phases) == 4
    task, runs, size = PhaseEstimation(problem=problem, policy="semiclassical", applications=7), 800, 8
    moved = 0.3  # of all phases, by the study
    study = phase_study(task, runs, through=way, phases=np.full(runs, problem.reference() + moved), seed=4)
    found = np.round(study.estimates * size / (2 * math.pi)).astype(int) % size
    matrix = expm(-0.8j * qml.matrix(words, wire_order=[0, 1])) * np.exp(1j * moved)
    powers = [np.linalg.matrix_power(matrix, k) @ problem.state for k in range(size)]
    law = np.linalg.norm(np.fft.fft(powers, axis=0) / size, axis=1) ** 2
    assert stats.chisquare(np.bincount(found, minlength=size), runs * law).pvalue > 1e-4


def test_experiments_that_travel_together_have_the_law() -> None:
    """Four of a run in one batch, against a loop that draws each bit by itself."""
    runs, applications = 100, 16
    phases = np.resize([0.3, 2.0, 4.4, 5.9], runs)
    study = phase_study(on_device(GATE, applications, together=4), runs, through="device", phases=phases, seed=2)
    rng, waves = np.random.default_rng(3), []
    for phase in np.resize(phases, 10 * runs):
        method = Greedy().method(Setting(applications, Law()), 4)
        state = method.init(np.zeros(0), Key.from_seed(0))
        while isinstance(asked := method.ask(state), Experiment):
            zero = (1 + np.cos(asked.powers * phase - asked.angles)) / 2
            state, told = method.tell(state, Reply(outcomes=(rng.random(len(zero)) > zero).astype(np.uint8)))
        waves.append(np.exp(1j * (told["value"] - phase)))
    found = np.exp(1j * study.errors)
    for part in (np.real, np.imag):
        spread = math.hypot(part(waves).std() / math.sqrt(len(waves)), part(found).std() / math.sqrt(runs))
        assert abs(part(waves).mean() - part(found).mean()) < SIGMAS * spread
    assert study.experiments.mean() > 6


def test_a_study_of_a_device_knows_no_law() -> None:
    study = phase_study(on_device(GATE, 3, policy="semiclassical"), 4, through="device", phases=np.ones(4))
    with pytest.raises(ValueError, match=r"needs the coherence .*Got outcomes of a device. Make the study with"):
        study.ramsey  # noqa: B018
    assert study.heisenberg == math.tan(math.pi / 5) ** 2


@pytest.mark.parametrize("device", ["ibm.torino", varq.spread("default.qubit", "ibm.torino")], ids=["one", "spread"])
def test_a_study_costs_nothing(device: Any) -> None:
    with pytest.raises(ValueError, match=r"device must be one that costs nothing.*Got .*ibm.torino.*Run the"):
        phase_study(on_device(GATE, 16, device), 5, through="device")
