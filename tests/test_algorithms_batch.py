"""QPE, Shor and amplitude estimation: laws in closed form, factors, intervals that cover, bad input named."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from simulator_branches import fits

import varq
from varq import spec
from varq.algorithms import QPE, AmplitudeEstimation, Shor, amplitude_estimation, qpe, shor
from varq.algorithms.amplitude import IterativePolicy, next_power
from varq.algorithms.fourier_law import estimate, holevo_variance, outcome_law
from varq.circuits.frames import sine_state
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.problems import EigenPhase, Molecule
from varq.protocol import Finished, Reason, Reply, Stop
from varq.testing.executions import counted

pytestmark = pytest.mark.flagless  # varq computes in float64 blocks of its own

CELL = 1e-3  # of the grid on which a phase is looked for
EXACT = 1e-10  # linear algebra in float64
QUIET: dict[str, Any] = {"store": None, "progress": False}
TURN = 2 * math.pi
EIGEN = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
MIXED = EigenPhase.from_phases([0.7, 3.9], [0.8, 0.2])
SEED = 20260802


def law_by_definition(phases: Any, weights: Any, bits: int, state: str) -> Any:
    """Sums over the control's amplitudes, one by one."""
    size = 1 << bits
    amplitudes = np.full(size, size**-0.5) if state == "uniform" else sine_state(bits)
    x = np.arange(size)
    rows = [amplitudes * np.exp(1j * x * phase) for phase in phases]
    return sum(w * np.abs(np.fft.fft(row)) ** 2 / size for w, row in zip(weights, rows, strict=True))


def dense(details: Any) -> Any:
    """The histogram with its empty places."""
    found = np.zeros(1 << details["bits"])
    found[details["outcomes"]] = details["frequencies"]
    return found


# -- the law -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["uniform", "sine"])
def test_the_closed_form_is_the_sum_over_amplitudes(state: str) -> None:
    phases, weights = [0.0, TURN / 8, 2.3, TURN - 1e-9], [0.1, 0.2, 0.3, 0.4]
    for bits in (1, 3, 8):
        found = outcome_law(phases, weights, bits, state)
        np.testing.assert_allclose(found, law_by_definition(phases, weights, bits, state), atol=EXACT)
        assert abs(found.sum() - 1) < EXACT


def test_holevo_variances_are_those_of_the_textbook_and_of_the_heisenberg_limit() -> None:
    for bits in range(3, 11):
        most = (1 << bits) - 1  # applications
        assert abs(holevo_variance(bits) - ((1 + 1 / most) ** 2 - 1)) < EXACT
        assert 1 - 1e-7 < holevo_variance(bits, "sine") / math.tan(math.pi / (most + 2)) ** 2 < 1.01


def test_one_outcome_has_the_posterior_of_its_law() -> None:
    for bits, state in ((3, "uniform"), (6, "uniform"), (6, "sine")):
        found = estimate(np.eye(1 << bits)[5], state)
        assert found.deviation**2 == pytest.approx(holevo_variance(bits, state), rel=1e-9)
        assert found.phase == pytest.approx(TURN * 5 / (1 << bits))


def test_posteriors_are_those_of_bayes_rule_phase_by_phase() -> None:
    counts = np.zeros(8)
    counts[[1, 2, 5]] = 6, 9, 1
    grid = (np.arange(4096) + 0.5) * TURN / 4096
    likelihood = np.ones(4096)
    for k in (1, 2, 5):
        likelihood *= np.array([law_by_definition([g], [1.0], 3, "uniform")[k] for g in grid]) ** counts[k]
    mean = np.sum(likelihood * np.exp(1j * grid)) / likelihood.sum()
    found = estimate(counts)
    assert found.phase == pytest.approx(np.angle(mean), abs=1e-6)
    assert found.deviation == pytest.approx(math.sqrt(abs(mean) ** -2 - 1), rel=1e-5)


@pytest.mark.parametrize("state", ["uniform", "sine"])
def test_credible_intervals_cover_and_errors_are_as_said(state: str) -> None:
    rng, bits, shots, runs = np.random.default_rng(SEED), 5, 40, 400
    covered, pulls = 0, []
    for _ in range(runs):
        phase = rng.uniform(0, TURN)
        found = estimate(rng.multinomial(shots, outcome_law([phase], [1.0], bits, state)), state)
        low, high = found.interval
        covered += (phase - low) % TURN <= (high - low) % TURN
        pulls.append(math.remainder(found.phase - phase, TURN) / found.deviation)
    assert 361 <= covered <= 396  # 95 % of 400, within 4.4 standard deviations: false alarm below 1e-4
    assert 0.8 < np.std(pulls) < 1.25  # one; of 400 runs, with tails, within several standard errors of 0.04


def test_the_phase_seen_most_is_told_beside_others() -> None:
    rng = np.random.default_rng(SEED)
    counts = rng.multinomial(2000, outcome_law(MIXED.phases, MIXED.weights, 7))
    found = estimate(counts, background=True)
    assert abs(found.phase - 0.7) < 5 * max(found.deviation, 1e-3)
    assert found.deviation < 0.01


# -- QPE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "control"), [("uniform", "qft"), ("sine", "qft"), ("uniform", "semiclassical")], ids=str
)
@pytest.mark.parametrize("problem", [EIGEN, MIXED], ids=["eigenstate", "two phases"])
def test_circuits_have_the_law(problem: Any, state: str, control: str) -> None:
    result = qpe(problem, bits=4, state=state, control=control, **QUIET)
    np.testing.assert_allclose(dense(result.details), result.details["law"], atol=EXACT)
    assert abs(result.deviation) < (CELL if problem is EIGEN else 0.1)
    assert result.details["qubits"] == problem.wires + (4 if control == "qft" else 1)
    assert result.reason is Reason.CONVERGED


@pytest.mark.parametrize(
    ("state", "control", "device"),
    [("sine", "qft", "default.qubit"), ("uniform", "qft", "varq.qubit"), ("uniform", "semiclassical", None)],
)
def test_shots_follow_the_law(state: str, control: str, device: Any) -> None:
    task = QPE(problem=EIGEN, bits=4, state=state, control=control, device=device, shots=4000)
    result = varq.run(task, **QUIET)
    assert fits(np.round(4000 * dense(result.details)), result.details["law"])
    assert abs(result.deviation) < 5 * result.stderr
    assert result.details["applications"] == 15 * 4000
    assert result.executions == 1


def test_a_basis_in_which_the_unitary_is_not_diagonal() -> None:
    problem = EigenPhase.from_hamiltonian(Molecule.load("H2"), time=0.9)
    result = qpe(problem, bits=5, **QUIET)
    np.testing.assert_allclose(dense(result.details), result.details["law"], atol=EXACT)
    assert abs(result.deviation) < 1e-4
    ground = np.linalg.eigvalsh(qml.matrix(Molecule.load("H2").hamiltonian, wire_order=range(4)))[0]
    assert abs(result.details["energy"] - ground) < 1e-4 / 0.9
    assert result.details["energy_stderr"] == pytest.approx(result.stderr / 0.9)
    assert "energy" not in qpe(EIGEN, bits=3, **QUIET).details


def test_runs_travel_as_jobs_and_come_back_from_the_store(tmp_path: Path) -> None:
    task = QPE(problem=EIGEN, bits=3, seed=4)
    with varq.Session("default.qubit", shots=50, store=tmp_path, progress=False) as session:
        forecast = session.forecast(task)
        result = session.run(task)
        ledger = session.ledger()
        assert (forecast.circuits, forecast.shots, forecast.jobs) == (1, 50, 1)
        assert [(line.circuits, line.shots) for line in ledger] == [(1, 50)]
    again = varq.resume(result.run_id, store=tmp_path, progress=False)
    np.testing.assert_array_equal(again.details["outcomes"], result.details["outcomes"])
    assert (again.value, again.stderr, again.details["interval"]) == (
        result.value,
        result.stderr,
        result.details["interval"],
    )
    assert "<table" in again._repr_html_()


@pytest.mark.parametrize(
    "task",
    [
        QPE(problem=MIXED, bits=5, state="sine", shots=10),
        QPE(problem=EIGEN, control="semiclassical"),
        Shor(15, base=7, seed=2),
        Shor(21, backend="gates", control="qft", prechecks=False),
    ],
    ids=lambda t: t.title,
)
def test_specs_come_back_from_their_text(task: Any) -> None:
    resolved = task.resolve("varq.qubit", task.shots)
    arrays: dict[str, Any] = {}
    back = spec.loads(spec.dumps(resolved, arrays), arrays.__getitem__)
    assert back == resolved
    assert spec.identity(back) == spec.identity(resolved)


# -- Shor ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["semiclassical", "qft"])
@pytest.mark.parametrize("number", [15, 21, 35, pytest.param(143, marks=pytest.mark.full)])
def test_numbers_are_factored(number: int, control: str) -> None:
    result = shor(number, control=control, seed=1, **QUIET)
    details = result.details
    p, q = details["factors"]
    assert p * q == number
    assert 1 < p <= q
    assert (details["method"], result.value, result.reason) == ("quantum", p, Reason.CONVERGED)
    assert pow(details["base"], details["order"], number) == 1
    assert all(pow(details["base"], r, number) != 1 for r in range(1, details["order"]))
    size = number.bit_length()
    assert details["qubits"] == (size + 1 if control == "semiclassical" else 3 * size)
    assert details["bits"] == 2 * size
    assert len(details["attempts"]) == result.steps
    assert sum(details["attempts"][-1]["counts"]) == 16


@pytest.mark.full
@pytest.mark.parametrize("number", [33, 899, 64507])
def test_larger_numbers_are_factored(number: int) -> None:
    p, q = shor(number, **QUIET).details["factors"]
    assert p * q == number


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("control", ["semiclassical", "qft"])
def test_gates_factor_fifteen(control: str) -> None:
    details = shor(15, base=7, backend="gates", control=control, shots=200, **QUIET).details
    assert (details["factors"], details["order"]) == ((3, 5), 4)
    assert details["qubits"] == (11 if control == "semiclassical" else 18)
    # 8 modular additions of 89 gates, 4 transforms of 15 and 4 swaps for each of 8 multiplications.
    assert details["gates"] > 8 * (8 * 89 + 4 * 15 + 4)
    assert fits(np.round(200 * dense(details)), details["law"])


@pytest.mark.parametrize(
    ("number", "options", "method", "factors"),
    [
        (4, {}, "even", (2, 2)),
        (22, {}, "even", (2, 11)),
        (27, {}, "power", (3, 9)),
        (225, {}, "power", (15, 15)),
        (15, {"base": 6}, "gcd", (3, 5)),
    ],
)
def test_what_needs_no_order_is_answered_classically_and_said(
    number: int, options: Any, method: str, factors: tuple[int, int]
) -> None:
    result = shor(number, **options, **QUIET)
    assert (result.details["method"], result.details["factors"]) == (method, factors)
    assert (result.details["order"], result.executions, result.details["attempts"]) == (None, 0, ())
    assert "no order was needed" in result.message


@pytest.mark.parametrize("prechecks", [True, False])
def test_classical_checks_are_told(prechecks: bool) -> None:
    """Bases that share a factor with N split it on paper: they are passed over, and told."""
    found = [shor(15, seed=seed, prechecks=prechecks, **QUIET).details["prechecks"] for seed in range(6)]
    assert all((one["even"], one["power"]) == (False, None) for one in found)
    shared = [pair for one in found for pair in one["shared"]]
    assert shared, "no seed drew one, though 6 of the 12 bases from 2 to 13 do"
    assert all(math.gcd(base, 15) == factor > 1 for base, factor in shared)
    assert all(len(set(one["shared"])) == len(one["shared"]) for one in found)
    if prechecks:
        assert shor(81, **QUIET).details["prechecks"]["power"] == (3, 4)
        assert shor(22, **QUIET).details["prechecks"]["even"]


def test_a_base_that_cannot_help_is_said() -> None:
    result = shor(15, base=14, **QUIET)
    assert (result.value, result.details["factors"], result.reason) == (None, None, Reason.STALLED)
    assert "the order 2 of base 14 gives no factor" in result.message
    assert result.details["attempts"][0]["order"] == 2


def test_a_composite_power_has_an_order_to_find() -> None:
    assert shor(225, prechecks=False, **QUIET).details["method"] == "quantum"


def test_attempts_go_on_with_other_bases_and_replay(tmp_path: Path) -> None:
    """One shot often tells nothing: the bases differ, and a run that was stopped goes on as if it had not been."""
    task = Shor(91, shots=1, seed=5)
    whole = varq.run(task, **QUIET)
    part = varq.run(task, stop=Stop(steps=1), store=tmp_path, progress=False)
    assert part.steps == 1
    rest = varq.resume(part.run_id, stop=Stop(), store=tmp_path, progress=False)
    bases = [a["base"] for a in rest.details["attempts"]]
    assert len(set(bases)) == len(bases)
    assert bases == [a["base"] for a in whole.details["attempts"]]
    assert rest.details["factors"] == whole.details["factors"]


# -- amplitude estimation ------------------------------------------------------------------------------------------


def entangled() -> None:
    qml.RY(0.8, 0)
    qml.CRX(1.9, wires=[0, 1])
    qml.RZ(0.3, 1)
    qml.CNOT([1, 2])


@pytest.mark.parametrize("good", ["1--", "-10", "011"])
def test_powers_of_the_iterate_turn_by_the_angle(good: str) -> None:
    task = AmplitudeEstimation(entangled, good)
    exact = task._reference()
    assert exact is not None
    state = qml.matrix(entangled, wire_order=range(3))()[:, 0].reshape(2, 2, 2)
    place = tuple(slice(None) if letter == "-" else int(letter) for letter in good)
    assert exact == pytest.approx(float(np.sum(np.abs(state[place]) ** 2)), abs=EXACT)
    angle = math.asin(math.sqrt(exact))
    for power in (1, 3):
        after = qml.matrix(task._circuit, wire_order=range(3))(np.array([float(power)]))[:, 0].reshape(2, 2, 2)
        chance = float(np.sum(np.abs(after[place]) ** 2))
        assert chance == pytest.approx(math.sin((2 * power + 1) * angle) ** 2, abs=EXACT)


def test_the_exact_amplitude_takes_no_device() -> None:
    """Whoever looks at a run asks for its reference."""

    def prepare() -> None:
        qml.StatePrep(np.array([0.6, 0.8j]), wires=[1])
        qml.QFT(wires=range(3))
        qml.Barrier()
        qml.ctrl(qml.RY(0.3, 2), control=[0, 1])

    runs: list[str] = []
    with counted(lambda: runs.append("ran")):
        found = AmplitudeEstimation(prepare, "1-0").resolve(None, None).plan(Nodes()).reference()
    state = qml.matrix(prepare, wire_order=range(3))()[:, 0].reshape(2, 2, 2)
    assert found == pytest.approx(float(np.sum(np.abs(state[1, :, 0]) ** 2)), abs=EXACT)
    assert runs == []


def run_policy(amplitude: float, accuracy: float, rng: Any, shots: int = 100, contrast: float = 1.0) -> Any:
    """The policy alone, answered by draws from the law of the iterate, each right with (1 + contrast) / 2.

    Returns:
        Its last state, and why it ended.
    """
    policy = IterativePolicy(accuracy, 0.05, shots, [1])
    state = policy.init(None, Key.from_seed(0))
    angle = math.asin(math.sqrt(amplitude))
    while not isinstance(request := policy.ask(state), Finished):
        chance = 0.5 + contrast * (math.sin((2 * int(request.x[0]) + 1) * angle) ** 2 - 0.5)
        state, _ = policy.tell(state, Reply(outcomes=(rng.random((shots, 1)) < chance).astype(np.uint8)))
    return state, request


def test_confidence_intervals_cover() -> None:
    rng = np.random.default_rng(SEED)
    missed = 0
    for amplitude in (0.0, 0.02, 0.3, 0.5, 0.97, 1.0):
        for _ in range(40):
            low, high = run_policy(amplitude, 0.01, rng)[0].interval
            missed += not low - EXACT <= amplitude <= high + EXACT
            assert high - low <= 0.02 + EXACT
    # At most 5 % may: of 240 runs, 12; more than 27 by chance with a probability below 1e-4.
    assert missed <= 27


def test_powers_that_contradict_each_other_end_a_run() -> None:
    """Readout that errs in one of ten shots: no interval shrinks to a point, which would pass for certainty."""
    rng = np.random.default_rng(SEED)
    runs = [run_policy(0.02, 1e-3, rng, contrast=0.8) for _ in range(20)]
    for state, end in runs:
        low, high = state.interval
        assert high > low
        assert state.contradicted == (end.reason is Reason.STALLED)
    stalled = [(state, end) for state, end in runs if state.contradicted]
    assert len(stalled) > 10, "the least probability of its readout is five times what it looks for"
    for state, end in stalled:
        assert np.diff(state.interval) > 2e-3, "the interval before, which asked for more"
        assert "is the device noisy?" in end.message


def test_calls_grow_as_the_inverse_of_the_accuracy() -> None:
    rng = np.random.default_rng(SEED)
    calls = [np.mean([run_policy(0.3, a, rng)[0].applications for _ in range(20)]) for a in (1e-2, 1e-3, 1e-4)]
    assert all(later / earlier < 25 for earlier, later in pairwise(calls))  # by plain shots: 100


@pytest.mark.parametrize("power", [0, 1, 7])
def test_next_powers_stay_in_one_half_of_the_circle(power: int) -> None:
    rng = np.random.default_rng(SEED)
    for _ in range(200):
        low = rng.uniform(0, 0.2)
        high = low + rng.exponential(0.01)
        found = next_power(power, low, high)
        factor = 4 * found + 2
        assert found == power or (factor >= 2 * (4 * power + 2))
        assert found == power or math.ceil(2 * factor * high) - math.floor(2 * factor * low) <= 1


def test_an_amplitude_is_estimated_on_a_device_and_resumes(tmp_path: Path) -> None:
    task = AmplitudeEstimation(entangled, "-10", accuracy=0.02, device="default.qubit", seed=3)
    part = varq.run(task, stop=Stop(steps=2), store=tmp_path, progress=False)
    result = varq.resume(part.run_id, stop=Stop(), store=tmp_path, progress=False)
    low, high = result.details["interval"]
    assert low <= result.reference <= high
    assert high - low <= 0.04
    assert result.details["oracle_calls"] == 100 * int(result.details["powers"].sum())
    assert result.value == varq.run(task, **QUIET).value


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: QPE(problem=entangled), "problem must be an EigenPhase"),
        (lambda: QPE(problem=EIGEN, bits=0), "bits must be at least 1"),
        (lambda: QPE(problem=EIGEN, bits=17), "bits must be at most 16"),
        (lambda: QPE(problem=EIGEN, state="sin"), "state must be one of .* Did you mean 'sine'"),
        (lambda: QPE(problem=EIGEN, control="QFT"), "control must be one of .* Did you mean 'qft'"),
        (lambda: QPE(problem=EIGEN, state="sine", control="semiclassical"), "Use control='qft', or state='uniform'"),
        (lambda: qpe(EIGEN, bits=11, control="semiclassical", **QUIET), "bits must be at most 10. Got 11. Give shots"),
        (
            lambda: qpe(EIGEN, control="semiclassical", device="default.qubit", **QUIET),
            "varq.qubit alone takes. Got device='default.qubit'",
        ),
        (lambda: qpe(EIGEN, bit=3), r"qpe\(\) takes .*Did you mean bits"),
        (lambda: outcome_law([0.1], [1.0], 3, "cosine"), "state must be one of"),
        (lambda: outcome_law([0.1], [0.5, 0.5], 3), r"weights must have shape \(1,\)"),
        (lambda: holevo_variance(3, "flat"), "state must be one of"),
        (lambda: estimate(np.zeros(8)), "some shots. Got 8 entries of sum 0"),
        (lambda: estimate(np.ones(6)), "each of 2.t outcomes .* Got 6 entries"),
        (lambda: Shor(3), "N must be at least 4. Got 3. The smallest composite"),
        (lambda: Shor(15.0), "N must be an integer"),
        (lambda: Shor(13), "N must be composite: .* Got the prime 13. Give another N"),
        (lambda: Shor(13, prechecks=False), "Got the prime 13"),
        (lambda: Shor(22, prechecks=False), "N must be odd .* Got 22, which is even. Use prechecks=True"),
        (lambda: Shor(27, prechecks=False), r"no power of a prime .* Got 27, 3\^3. Use prechecks=True"),
        (lambda: Shor(15, base=1), "base must be at least 2. Got 1. Leave it out"),
        (lambda: Shor(15, base=15), "base must be at most 14"),
        (lambda: Shor(15, base=6, prechecks=False), "base must share no factor with N=15.* Got 6, which shares 3"),
        (lambda: Shor(15, backend="gate"), "backend must be one of .* Did you mean 'gates'"),
        (lambda: Shor(15, control="one"), "control must be one of"),
        (lambda: Shor(15, prechecks=1), "prechecks must be True or False"),
        (lambda: Shor(15, attempts=0), "attempts must be at least 1"),
        (lambda: Shor(15, shots=0), "shots must be at least 1"),
        (lambda: Shor(15, device="varq.qubit"), "device has no meaning here. Got device='varq.qubit'"),
        (lambda: Shor(143, backend="gates", control="qft"), r"N must be below 2\^6 with backend='gates'.*Got 143. Use"),
        (lambda: Shor(10**9 + 1), "N must be below .* No back end here"),
        (lambda: shor(15, bases=2), r"shor\(\) takes .*Did you mean base"),
        (
            lambda: shor(15, backend="gates", device="default.mixed", **QUIET),
            "need a simulator of pure states. Got default.mixed",
        ),
        (lambda: AmplitudeEstimation("x", "1"), "prepare must be a function"),
        (lambda: AmplitudeEstimation(entangled, 1), "good must be of type str"),
        (lambda: AmplitudeEstimation(entangled, "1x"), "a pattern of '0', '1' and '-' that decides. Got '1x'"),
        (
            lambda: varq.run(AmplitudeEstimation(entangled, "1-"), **QUIET),
            r"wires 0 .. 1 alone.* Got wires \[0, 1, 2\] for '1-'",
        ),
        (lambda: AmplitudeEstimation(entangled, "--"), "that decides. Got '--'"),
        (lambda: AmplitudeEstimation(entangled, "1", accuracy=0), "accuracy must be greater than 0"),
        (lambda: AmplitudeEstimation(entangled, "1", confidence=1), "confidence must be at most"),
        (lambda: amplitude_estimation(entangled, "1", acuracy=0.1), "Did you mean accuracy"),
    ],
)
def test_bad_input_is_named(build: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        build()
