"""Phase estimation: posteriors against Bayes' rule by hand, policies against closed forms and published constants."""

from __future__ import annotations

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from scipy import stats

import varq
from varq import spec
from varq.algorithms import VQE, PhaseEstimation, phase_estimation, phase_runs, phase_study
from varq.algorithms.phases import Greedy, Higgins, LookAhead, RandomWalk, Robust, Semiclassical, Spectrum, belief
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Setting
from varq.algorithms.phases.posterior import TWO_PI, Posterior
from varq.algorithms.phases.study import Study
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.precision import double
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.problems.eigenphase import circular_difference
from varq.protocol import Experiment, Value
from varq.testing.executions import counted

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SIGMAS = 4  # one false alarm in sixteen thousand for a normal variable
FAR = 6  # standard errors of one estimate at a fixed seed: densities have further peaks, a few in a thousand are beyond
GOALS = {"greedy": 21.5, "look-ahead": 20.0}  # V N^2 without noise, those of benchmarks/phases.py
QUIET: dict[str, Any] = {"store": None, "progress": False}
TURN = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
TWO = EigenPhase.from_phases([1.0, 1.3], [0.8, 0.2])
MIXED = EigenPhase.from_phases([1.0, 1.3], [0.7, 0.3])
NOISY = Law((0.9, 0.7), (0.01, 0.1), (0.25, 0.75))
MILD = Law((0.98, 0.9), (0.0, 0.02), (0.5, 0.5))


def estimation(policy: Any, applications: int, **options: Any) -> PhaseEstimation:
    return PhaseEstimation(problem=TURN, policy=policy, applications=applications, **options)


def experiments(count: int, longest: int) -> list[tuple[int, float, int]]:
    rng = np.random.default_rng(5)
    return [(int(rng.integers(1, longest + 1)), rng.uniform(0, TWO_PI), int(rng.integers(2))) for _ in range(count)]


# -- the posterior -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Law(), NOISY], ids=["noiseless", "two hypotheses"])
def test_moments_follow_bayes_rule(law: Law) -> None:
    """Products of likelihoods on a fine grid have the moments that are carried on."""
    done = experiments(6, 5)
    grid = np.arange(256) * (TWO_PI / 256)
    joint = np.array(law.prior)[:, None] * np.ones_like(grid)
    moments = belief.flat(np, law, 40)
    for power, angle, bit in done:
        moments = belief.updated(np, moments, law, power, angle, bit, 5)
        seen = np.array(law.contrast) * np.exp(-np.array(law.rate) * power)
        joint = joint * (1 + (1 - 2 * bit) * seen[:, None] * np.cos(power * grid - angle))
    joint /= joint.sum()
    want = joint @ np.exp(1j * np.outer(grid, np.arange(41)))
    np.testing.assert_allclose(moments, want, atol=1e-8)  # a visibility of 1 is taken for a little less
    posterior = Posterior.from_moments(moments)
    every = len(posterior.grid) // 256
    np.testing.assert_allclose(posterior.weights[::every] * every, joint.sum(axis=0), atol=1e-7)
    low, high = posterior.interval(0.5)
    inside = (posterior.grid - low) % TWO_PI <= (high - low) % TWO_PI
    assert posterior.weights[inside].sum() == pytest.approx(0.5, abs=0.02)


def test_numpy_and_jax_compute_the_same() -> None:
    with double():
        for law in (Law(), NOISY):
            plain, traced = belief.flat(np, law, 20), belief.flat(jnp, law, 20)
            for power, angle, bit in experiments(8, 6):
                plain = belief.updated(np, plain, law, power, angle, bit, 6)
                traced = belief.updated(jnp, traced, law, jnp.asarray(power), angle, bit, 6)
            np.testing.assert_allclose(traced, plain, atol=EXACT)
            arc = [belief.below(xp, m, 1.0, 2.0) for xp, m in ((np, plain), (jnp, traced))]
            assert arc[0] == pytest.approx(float(arc[1]), abs=EXACT)


@pytest.mark.parametrize("policy", [Greedy(), LookAhead(), Higgins(), Robust(), RandomWalk()], ids=str)
@pytest.mark.parametrize("law", [Law(), MILD], ids=["noiseless", "two hypotheses"])
def test_a_policy_chooses_the_same_wherever_it_runs(policy: Any, law: Law) -> None:
    """Plain, traced and compiled, also where symmetry makes candidates equal: else outcomes would be misunderstood."""
    made = policy.policy(Setting(40, law))
    with double():
        choose, several = jax.jit(partial(made.choose, jnp)), jax.jit(jax.vmap(partial(made.choose, jnp)))
        for seed in range(3):
            state = made.init(np)
            for bit in np.random.default_rng(seed).integers(0, 2, 12):
                power, angle = made.choose(np, state)
                pair = jax.tree.map(lambda x: np.stack([x, x]), state)
                for found in (choose(state), [x[1] for x in several(pair)]):
                    assert [float(x) for x in found] == [power, pytest.approx(angle, abs=1e-9)]
                if not power:
                    break
                state = made.update(np, state, power, angle, bit)


def test_the_moments_that_are_left_out_change_nothing() -> None:
    studies = [phase_study(estimation("greedy", 48), 40, seed=2, whole=whole) for whole in (True, False)]
    assert np.max(np.abs(circular_difference(studies[0].estimates, studies[1].estimates))) < 1e-9


def test_the_probability_of_an_arc() -> None:
    density = (1 + np.cos(np.linspace(0, TWO_PI, 2001))) / TWO_PI
    moments = np.array([[1.0, 0.5]], dtype=complex)
    want = np.trapezoid(density[:501], dx=TWO_PI / 2000)
    assert belief.below(np, moments, 0.0, math.pi / 2) == pytest.approx(want, abs=1e-6)
    flat = Posterior.from_moments(np.array([[1.0, 0.0]], dtype=complex))
    assert flat.deviation == math.inf


def test_a_narrow_density_is_drawn_by_few_points() -> None:
    """Two narrow peaks, one of them small, and nothing between: both are there, whole."""
    cells = np.arange(1 << 20)
    peaks = [w * stats.norm.pdf(cells, at, 20.0) for w, at in ((0.9, 300_001), (0.1, 900_007))]
    posterior = Posterior(sum(peaks) / np.sum(peaks))
    grid, density = posterior.grid[posterior.drawn], posterior.density[posterior.drawn]
    assert len(grid) <= 4096
    assert np.all(np.diff(grid) > 0)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    for share, at in ((0.9, 300_001), (0.1, 900_007)):
        near = np.abs(grid - posterior.grid[at]) < 100 * TWO_PI / len(cells)
        assert np.trapezoid(density[near], grid[near]) == pytest.approx(share, abs=1e-3)
    result = phase_estimation(TURN, applications=1 << 14, **QUIET)
    found = result.details
    assert len(found["grid"]) <= 4096
    assert np.trapezoid(found["density"], found["grid"]) == pytest.approx(1, abs=1e-3)
    low, high = found["interval"]
    inside = found["grid"][(found["grid"] > low) & (found["grid"] < high)]
    arc = np.concatenate([[low], inside, [high]])
    assert np.trapezoid(np.interp(arc, found["grid"], found["density"]), arc) == pytest.approx(0.95, abs=0.01)


# -- the policies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", some(range(3, 11), 3, 6))
def test_the_textbook_variance(bits: int) -> None:
    """Every outcome leaves the same density, moved: the Fejer kernel, of sharpness N / (N + 1)."""
    applications = 2**bits - 1
    study = phase_study(estimation(Semiclassical(), applications), 20, seed=bits)
    assert set(study.applications) == {applications}
    assert study.averaged[0] == pytest.approx((1 + 1 / applications) ** 2 - 1, abs=EXACT)


def test_the_textbook_outcomes_have_the_law_of_the_fourier_transform() -> None:
    size, phase, runs = 16, 2.0, 4000
    study = phase_study(estimation("semiclassical", size - 1), runs, phases=np.full(runs, phase))
    found = np.round(study.estimates * size / TWO_PI).astype(int) % size
    assert study.estimates * size / TWO_PI == pytest.approx(np.round(study.estimates * size / TWO_PI), abs=1e-6)
    waves = np.exp(1j * np.outer(np.arange(size), phase - TWO_PI * np.arange(size) / size))
    law = np.abs(waves.sum(axis=0)) ** 2 / size**2
    assert stats.chisquare(np.bincount(found, minlength=size), runs * law).pvalue > 1e-4


@pytest.mark.parametrize(
    ("policy", "applications", "high"),
    [
        (Higgins(), 378, (1.56 * math.pi) ** 2),  # the overhead of Higgins et al., Nature 450, 393 (2007), figure 3
        (Higgins(adaptive=False), 330, (2.03 * math.pi) ** 2),  # that of New J. Phys. 11, 073023 (2009)
        (Greedy(), 256, GOALS["greedy"]),
        (RandomWalk(), 256, 256),  # its source gives none: the limit V N = 1 of powers of 1
    ],
    ids=lambda p: type(p).__name__ if spec.is_spec(p) else str(p),
)
def test_variances_at_the_heisenberg_scaling(policy: Any, applications: int, high: float) -> None:
    study = phase_study(estimation(policy, applications), 1000, seed=1)
    value, stderr = study.averaged
    assert (value - SIGMAS * stderr) * study.applications.mean() ** 2 < high
    assert value + SIGMAS * stderr > study.heisenberg
    assert np.median(np.abs(study.errors)) < median_bound(value + SIGMAS * stderr, 1000)


def median_bound(variance: float, runs: int) -> float:
    """What the median of so many errors stays below, by Markov: of 1 - cos(error), whose mean is 1 - sharpness."""
    share = 0.5 - SIGMAS * 0.5 / math.sqrt(runs)  # a larger share of all errors would have to be beyond it
    return math.acos(max(-1.0, 1 - (1 - (1 + variance) ** -0.5) / share))


def best_first(policy: Any, state: Any, reserve: float) -> int:
    """The power with which the best pair begins, from densities on a grid: every pair and outcome, one by one."""
    law, grid = policy.setting.law, np.arange(256) * (TWO_PI / 256)
    densities = np.array([belief.density(m[None, :], 256) for m in state.moments]) * (TWO_PI / 256)
    powers, angles, left = policy.powers.tolist(), np.arange(16) * np.pi / 16, int(state.left)

    def outcomes(joint: Any, power: int, angle: float) -> list[Any]:
        seen = np.array(law.contrast) * np.exp(-np.array(law.rate) * power)
        wave = seen[:, None] * np.cos(power * grid - angle)
        return [joint * (1 + sign * wave) / 2 for sign in (1, -1)]

    def sharpness(joints: list[Any]) -> float:
        return float(sum(abs(np.sum(joint @ np.exp(1j * grid))) for joint in joints))

    now = 1 - sharpness([densities]) ** 2
    found = {}
    for p, q in itertools.product(powers, powers):
        need = max(reserve * p if p > 1 else 1, p + (reserve * q if q > 1 else 1))
        if q <= p and need <= left:
            angle = max(angles, key=lambda a: sharpness(outcomes(densities, p, a)))
            first = outcomes(densities, p, angle)
            after = sum(max(sharpness(outcomes(one, q, s)) for s in angles) for one in first)
            found[p, q] = math.log(now / (1 - after**2)) / (p + q)
    return max(found, key=found.__getitem__)[0]


@pytest.mark.parametrize("law", [Law(), MILD], ids=["noiseless", "two hypotheses"])
def test_the_pair_that_is_looked_for_is_the_best_one(law: Law) -> None:
    policy = LookAhead(reserve=2).policy(Setting(48, law))
    state = policy.init(np)
    seen = []
    for luck in np.random.default_rng(1).random(9):
        power, angle = policy.choose(np, state)
        bit = int(luck > (1 + math.cos(power * 1.0 - angle)) / 2)  # of a phase of 1
        assert power == best_first(policy, state, 2)
        seen.append(int(power))
        state = policy.update(np, state, power, angle, bit)
    assert len(set(seen)) > 1


@pytest.mark.full
def test_looking_ahead_lowers_the_variance() -> None:
    """The goal is below what the default policy reaches, and what peers do, 22 and more."""
    study = phase_study(estimation("look-ahead", 128), 2000, seed=1)
    for value, spread in (study.averaged, study.sampled):
        assert (value - SIGMAS * spread) * 128**2 < GOALS["look-ahead"]
        assert value + SIGMAS * spread > study.heisenberg


def test_looking_ahead_goes_on_at_many_applications() -> None:
    """Where all sharpnesses are near 1: candidates must still be told apart."""
    scaled = []
    for seed in range(4):
        policy = LookAhead().policy(Setting(65536, Law(), whole=False))
        state, rng = policy.init(np), np.random.default_rng(seed)
        phase = rng.uniform(0, TWO_PI)
        while (found := policy.choose(np, state))[0]:
            power, angle = found
            bit = int(rng.random() > (1 + math.cos(power * phase - angle)) / 2)
            state = policy.update(np, state, power, angle, bit)
        scaled.append((abs(state.moments[0, 1]) ** -2 - 1) * 65536**2)
    assert np.median(scaled) < GOALS["look-ahead"], "rare large errors, which raise the mean, are left out"


def test_robust_estimation_survives_what_it_does_not_know() -> None:
    """A contrast of 0.8 that no policy is told of: additive errors of 0.1, below the bound of Kimmel et al."""
    lost = [
        np.mean(np.abs(phase_study(estimation(policy, 500), 500, contrast=0.8).errors) > 0.2)
        for policy in ("robust", "semiclassical")
    ]
    assert 3 * lost[0] < lost[1]


@pytest.mark.full
def test_the_walk_needs_its_tests() -> None:
    failing = [np.mean(np.abs(phase_study(estimation(RandomWalk(stride=s), 1024), 500).errors) > 0.1) for s in (2, 500)]
    assert failing[0] < 0.01 < failing[1]


@pytest.mark.parametrize(("coherence", "contrast"), [(math.inf, 1.0), (64.0, 0.9)])
def test_credible_intervals_cover(coherence: float, contrast: float) -> None:
    study = phase_study(estimation("greedy", 256, coherence=coherence, contrast=contrast), 1000, whole=True)
    share, stderr = study.coverage(0.95)
    assert share == pytest.approx(0.95, abs=SIGMAS * stderr)
    assert study.ranks is not None
    assert stats.kstest(study.ranks, "uniform").pvalue > 1e-4


def test_coverage_needs_whole_densities() -> None:
    with pytest.raises(ValueError, match="Make the study with whole=True"):
        phase_study(estimation("greedy", 16), 10).coverage()


def test_decoherence_bounds_the_variance() -> None:
    """Long runs come near 2 e / (N T).  The median is free of the rare runs that end between two fringes."""
    study = phase_study(estimation("greedy", 1024, coherence=32.0), 200)
    assert 0.9 < np.median(study.sharpness**-2 - 1) / study.ramsey < 1.5
    assert study.averaged[0] > study.ramsey


def test_noise_is_found_out() -> None:
    result = phase_estimation(TURN, contrast=0.9, noise="estimated", applications=2048, seed=3, **QUIET)
    assert result.details["contrast"] == pytest.approx(0.9, abs=0.06)
    assert result.details["decay"] < 0.01
    assert abs(result.deviation) < FAR * result.stderr


@pytest.mark.full
def test_noise_between_the_hypotheses_is_found_out_well_enough() -> None:
    """Of a coherence and a readout error that are none of those it decides between: V is near that of known ones."""
    true = {"coherence": 40 * 1.2, "contrast": 1 - 2 * 0.035}
    known = phase_study(estimation("greedy", 200, **true), 1000, seed=5).sampled
    guess = estimation("greedy", 200, noise="estimated", coherence=40.0, contrast=0.9)
    found = phase_study(guess, 1000, seed=6, whole=True, **true)
    assert found.sampled[0] < 1.3 * known[0] + SIGMAS * math.hypot(known[1], found.sampled[1])
    share, spread = found.coverage(0.95)
    assert abs(share - 0.95) < 0.03 + SIGMAS * spread


def test_a_budget_of_one_and_limits_on_experiments() -> None:
    result = phase_estimation(TURN, applications=1, **QUIET)
    assert (result.details["applications"], result.details["experiments"]) == (1, 1)
    limited = phase_study(estimation("greedy", 64, shots=5), 50)
    assert set(limited.experiments) == {5}


# -- several eigenphases -------------------------------------------------------------------------------------------


def test_two_eigenphases_are_told_apart() -> None:
    for seed in range(5):
        result = phase_estimation(TWO, policy="spectrum", applications=60_000, seed=seed, **QUIET)
        found = result.details
        assert np.max(np.abs(found["phases"] - [1.0, 1.3])) < 4 / found["longest"]
        assert np.all(np.abs(found["phases"] - [1.0, 1.3]) < 5 * found["phases_stderr"])
        assert found["weights"] == pytest.approx([0.8, 0.2], abs=5 * float(found["weights_stderr"][0]))
        assert result.value == found["phases"][0]
        varq_plot(result)


def test_several_phases_can_be_watched(tmp_path: Path) -> None:
    """By what all finished powers tell; where there are too few, by a flat density."""
    task = PhaseEstimation(problem=TWO, policy="spectrum", applications=20_000, together=250, seed=1)
    run = varq.start(task, **QUIET)
    seen = []
    while run.step() is not None and (so_far := run.record().outcome) is not None:
        seen.append(so_far)
        assert np.mean(so_far.details["density"]) * TWO_PI == pytest.approx(1)
    assert seen[0].value is None
    assert run.finish().details["longest"] == 24
    late = seen[-3].details
    assert 12 < late["longest"] < 24
    assert np.all(np.abs(late["phases"] - [1.0, 1.3]) < 5 * late["phases_stderr"])
    varq.start(task, **QUIET).watch("posterior", path=tmp_path / "seen.png", seconds=0).finish()
    assert (tmp_path / "seen.png").exists()


def test_a_limit_of_shots_shortens_the_signal_of_several_phases() -> None:
    result = phase_estimation(TWO, policy="spectrum", shots=1_000, seed=3, **QUIET)
    found = result.details
    assert found["longest"] == 1_000 // 64, "two settings of 32 repeats each at every power"
    assert found["experiments"] == 64 * found["longest"]
    assert np.all(np.abs(found["phases"] - [1.0, 1.3]) < 5 * found["phases_stderr"])


def varq_plot(result: Any) -> None:
    low, high = result.details["interval"]
    assert low < result.value < high
    assert np.mean(result.details["density"]) * TWO_PI == pytest.approx(1)


def test_experiments_collapse_a_state_onto_one_eigenphase() -> None:
    """By its weight; each experiment anew would give something between."""
    values = [phase_estimation(TWO, applications=256, seed=seed, **QUIET).value for seed in range(40)]
    near = np.array([np.abs(circular_difference(v, [1.0, 1.3])) for v in values])
    assert np.mean(near.min(axis=1) < 0.1) > 0.9
    assert stats.binomtest(int(np.sum(near[:, 1] < near[:, 0])), 40, 0.2).pvalue > 1e-4


# -- circuits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["varq.qubit", "default.qubit"])
def test_circuits_have_the_law(device: str) -> None:
    """Two eigenphases of a unitary that is not diagonal, at several powers and angles."""
    rotation = EigenPhase(qml.RX(0.7, 0), state=[0.6, 0.8j])
    asked = [(1, 0.3), (3, 1.1), (4, -0.4)]
    shots = 2000
    request = Experiment(np.repeat([p for p, _ in asked], shots), np.repeat([a for _, a in asked], shots))
    circuits = Nodes(device, shots=1).experiments(rotation)
    reply = circuits.evaluate(request, Key.from_seed(1))
    assert reply.outcomes is not None
    assert reply.executions == len(asked)
    for (power, angle), bits in zip(asked, reply.outcomes.reshape(3, shots), strict=True):
        zero = (1 + rotation.weights @ np.cos(power * rotation.phases - angle)) / 2
        assert np.mean(bits == 0) == pytest.approx(zero, abs=SIGMAS * math.sqrt(zero * (1 - zero) / shots))


def test_circuits_answer_experiments_alone() -> None:
    circuits = Nodes("varq.qubit", shots=1).experiments(TURN)
    with pytest.raises(TypeError, match=r"answers experiments\. Got Value"):
        circuits.prepare(Value(np.zeros(1)), Key.from_seed(0))


@pytest.mark.parametrize("policy", ["greedy", "robust", Higgins(adaptive=False)])
def test_a_run_on_a_device(policy: Any) -> None:
    result = phase_estimation(TURN, policy=policy, applications=40, device="default.qubit", **QUIET)
    assert abs(result.deviation) < FAR * result.stderr < math.pi
    assert result.device == "default.qubit"
    assert result.details["applications"] <= 40


def test_jobs_hold_as_many_experiments_as_one_likes(tmp_path: Path) -> None:
    with varq.Session("varq.qubit", store=tmp_path, progress=False) as session:
        run = session.start(estimation("greedy", 32, together=4))
        session.drain()
        assert run.result is not None
        assert run.result.steps < run.result.details["experiments"] <= 4 * run.result.steps
        assert abs(run.result.deviation) < FAR * run.result.stderr < math.pi


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    task = estimation("greedy", 128, seed=4)
    whole = varq.run(task, store=None, progress=False)
    part = varq.run(task, stop=varq.Stop(steps=5), store=tmp_path, progress=False)
    assert part.steps == 5
    found = varq.resume(part.run_id, stop=varq.Stop(), store=tmp_path, progress=False)
    assert (found.value, found.stderr, found.steps) == (whole.value, whole.stderr, whole.steps)


def test_four_ways_have_one_law() -> None:
    """Drawn; run one after the other on the state that is left; one measured circuit; and a loop on the host."""
    runs = 600
    phases = np.full(runs, 0.8)
    studies = [
        phase_study(estimation("semiclassical", 7), runs, through=way, phases=phases, seed=k)
        for k, way in enumerate(("likelihood", "loop", "circuit", "device"))
    ]
    grid = [np.round(s.estimates * 8 / TWO_PI).astype(int) % 8 for s in studies]
    for other in grid[1:]:
        table = np.array([np.bincount(g, minlength=8) for g in (grid[0], other)])
        assert stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > 1e-4


def same_errors(one: Study, other: Study) -> None:
    """Both parts of the mean wave of their errors, within what so many runs allow."""
    for wave in (np.cos, np.sin):
        waves = [wave(s.errors) for s in (one, other)]
        gap = waves[0].mean() - waves[1].mean()
        assert abs(gap) < SIGMAS * math.sqrt(sum(w.var() / len(w) for w in waves))


POLICIES = ("greedy", "look-ahead", "higgins", "random-walk", "robust", Higgins(adaptive=False))


@pytest.mark.parametrize("policy", some(POLICIES, "higgins", "robust"), ids=str)
def test_a_loop_on_the_host_has_the_law(policy: Any) -> None:
    """For the same phases: of few phases the mean error is not that of all."""
    runs = 200
    phases = np.resize(np.random.default_rng(7).uniform(0, TWO_PI, 4), runs)
    task = estimation(policy, 24)
    drawn = phase_study(task, 10 * runs, phases=np.resize(phases, 10 * runs), seed=7)
    found = phase_study(task, runs, through="device", phases=phases, seed=8)
    assert found.applications.max() <= 24
    same_errors(drawn, found)


@pytest.mark.parametrize("device", ["default.qubit", qml.device("default.qubit", wires=2)], ids=["name", "object"])
def test_a_study_runs_on_the_device_of_its_task(device: Any) -> None:
    with counted(lambda: seen.append(1)):
        seen: list[int] = []
        phase_study(estimation("semiclassical", 3, device=device), 4, through="device", phases=np.ones(4))
    assert len(seen) >= 2


NOISE = {"contrast": 0.8, "coherence": 20.0}


@pytest.mark.full
@pytest.mark.parametrize(
    ("policy", "noise"), [*((p, {}) for p in POLICIES), ("higgins", NOISE)], ids=[*map(str, POLICIES), "higgins, noise"]
)
@pytest.mark.parametrize("way", ["loop", "circuit"])
def test_every_policy_runs_on_the_simulator(policy: Any, noise: dict[str, float], way: str) -> None:
    runs, applications = 2000, 24 if way == "loop" else 12  # a circuit has all branches of all rounds, and is compiled
    phases = np.resize(np.random.default_rng(7).uniform(0, TWO_PI, 8), runs)
    task = estimation(policy, applications, **noise)
    same_errors(*(phase_study(task, runs, through=t, phases=phases, seed=7) for t in ("likelihood", way)))


@pytest.mark.parametrize("way", ["loop", "circuit"])
def test_a_bit_is_misread_as_often_as_the_visibility_says(way: str) -> None:
    """One experiment of power 1 at the angle of the phase: 0 with the probability (1 + v) / 2."""
    runs, noise = 4000, {"contrast": 0.8, "coherence": 2.0}
    task = estimation(Semiclassical(), 1, **noise)
    study = phase_study(task, runs, through=way, phases=np.zeros(runs), seed=3)
    zero = (1 + 0.8 * math.exp(-1 / 2)) / 2
    seen = np.mean(np.abs(study.errors) < math.pi / 2)
    assert seen == pytest.approx(zero, abs=SIGMAS * math.sqrt(zero * (1 - zero) / runs))


def test_a_circuit_of_too_few_rounds_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_runs, "SPARE", 0.3)
    with pytest.raises(RuntimeError, match=r"runs? of 8 had not ended after the \d+ rounds .* through='loop'"):
        phase_study(estimation("greedy", 12), 8, through="circuit", phases=np.ones(8))


def test_the_loop_collapses_the_system() -> None:
    """From a superposition each run ends at one of the two phases, by their weights."""
    task = PhaseEstimation(problem=TWO, policy="greedy", applications=128)
    study = phase_study(task, 400, through="loop", phases=np.full(400, 1.0))
    second = np.abs(circular_difference(study.estimates, 1.3)) < np.abs(circular_difference(study.estimates, 1.0))
    assert stats.binomtest(int(second.sum()), 400, 0.2).pvalue > 1e-4


# -- problems ------------------------------------------------------------------------------------------------------


def test_energies_come_back_from_phases() -> None:
    for problem in (Molecule.load("H2"), TransverseFieldIsing(3)):
        evolution = EigenPhase.from_hamiltonian(problem)
        assert evolution.energy(evolution.reference()) == pytest.approx(problem.reference(), abs=1e-9)
        levels = np.linalg.eigvalsh(problem.pauli.sparse().toarray())
        every = [
            EigenPhase.from_hamiltonian(problem, state=v) for v in np.linalg.eigh(problem.pauli.sparse().toarray())[1].T
        ]
        assert [e.energy(e.reference()) for e in every] == pytest.approx(list(levels), abs=1e-9)


def test_product_formulas_converge_at_their_order() -> None:
    problem = TransverseFieldIsing(3)
    exact = EigenPhase.from_hamiltonian(problem, 0.3).unitary
    for order in (1, 2, 4):
        errors = [
            np.linalg.norm(EigenPhase.from_hamiltonian(problem, 0.3, trotter=r, order=order).unitary - exact, 2)
            for r in (2, 4)
        ]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)
    alone = EigenPhase.from_hamiltonian(qml.Z(0), 0.3, trotter=1)
    np.testing.assert_allclose(np.diagonal(alone.unitary), np.exp([-0.3j, 0.3j]), atol=EXACT)


def test_a_state_from_a_variational_run() -> None:
    h2 = Molecule.load("H2")
    task = VQE(problem=h2)
    found = varq.run(task, **QUIET)
    state = task.state(found.parameters)
    assert (state.conj() @ (h2.pauli.sparse() @ state)).real == pytest.approx(found.value, abs=1e-9)
    evolution = EigenPhase.from_hamiltonian(h2, state=state)
    result = phase_estimation(evolution, applications=2048, **QUIET)
    assert abs(result.details["energy"] - h2.reference()) < FAR * result.details["energy_stderr"]


# -- words ---------------------------------------------------------------------------------------------------------


def test_names_and_policies_are_one() -> None:
    named = {"greedy": Greedy(), "semiclassical": Semiclassical(), "higgins": Higgins(), "robust": Robust()}
    named |= {"random-walk": RandomWalk(), "spectrum": Spectrum(), "random_walk": RandomWalk(), "Greedy": Greedy()}
    for name, policy in named.items():
        tasks = [PhaseEstimation(problem=TURN, policy=p, applications=10_000) for p in (name, policy)]
        assert spec.identity(tasks[0]) == spec.identity(tasks[1])
        assert spec.loads(spec.dumps(tasks[1])) == tasks[1]


BAD: list[tuple[Any, str]] = [
    (lambda: estimation("gredy", 16), "policy must be one of .* Did you mean 'greedy'"),
    (lambda: estimation(7, 16), "policy must be a policy of phase estimation or its name. Got 7"),
    (lambda: estimation(Higgins(), 5), "applications must be at least 6 for this policy"),
    (lambda: estimation("robust", 1), "applications must be at least 2 for this policy"),
    (lambda: estimation("spectrum", 100), "applications must be at least 640 to tell 2 phases apart"),
    (lambda: estimation("spectrum", 10**4, shots=200), "shots must be at least 256 to tell 2 phases apart"),
    (lambda: estimation("spectrum", 10**4, noise="estimated"), "needs a noise that is known"),
    (lambda: estimation("greedy", 16, noise="guessed"), "noise must be one of 'estimated', 'known'"),
    (lambda: estimation("greedy", 16, together=0), "together must be at least 1"),
    (lambda: estimation("greedy", 16, precision="single"), "computes in double precision"),
    (lambda: Greedy(reserve=0.5), "reserve must be at least 1"),
    (lambda: LookAhead(reserve=0), "reserve must be at least 1"),
    (lambda: Higgins(repeats=0), "repeats must be at least 1"),
    (lambda: Higgins(extra=-1), "extra must be at least 0"),
    (lambda: Higgins(adaptive=1), "adaptive must be of type bool"),  # type: ignore[arg-type]
    (lambda: Robust(slope=-1), "slope must be at least 0"),
    (lambda: Robust(offset=0), "offset must be greater than 0"),
    (lambda: RandomWalk(stride=0), "stride must be at least 1"),
    (lambda: Spectrum(0), "count must be at least 1"),
    (
        lambda: PhaseEstimation(problem=MIXED, device="varq.qubit"),
        "weight of at least 0.8 .* Use the policy",
    ),
    (lambda: phase_study(TWO), "task must be of type PhaseEstimation"),  # type: ignore[arg-type]
    (lambda: phase_study(estimation("greedy", 16), 0), "runs must be at least 1"),
    (lambda: phase_study(estimation("greedy", 16), 5, through="guess"), "through must be one of"),
    (lambda: phase_study(estimation("greedy", 16), 5, phases=[1.0]), r"phases must have shape \(5,\)"),
    (lambda: phase_study(estimation("greedy", 16), 5, contrast=2), "contrast must be at most 1"),
    (lambda: phase_study(estimation("greedy", 16), 5, coherence=0), "coherence must be greater than 0"),
    (lambda: phase_study(estimation("spectrum", 10**4)), "policies that learn from one experiment after the other"),
    (
        lambda: phase_study(estimation("greedy", 16), 5, through="device", contrast=0.9),
        "must be left out with through='device'.*Got contrast=0.9, coherence=None. Use through='loop'",
    ),
    (
        lambda: phase_study(estimation("greedy", 4, device="nosuch"), 2, through="device"),
        "nosuch",
    ),
    (
        lambda: phase_study(PhaseEstimation(problem=MIXED), 5, through="device"),
        "must hold one phase with a weight of at least 0.8 where each experiment prepares its state anew",
    ),
    (lambda: EigenPhase(np.eye(2), time=0.0), "time must not be 0"),
    (lambda: EigenPhase(np.eye(2)).energy(1.0), "Only an evolution has energies"),
    (lambda: EigenPhase.from_hamiltonian(qml.Z(0), 1.0, trotter=0), "trotter must be at least 1"),
    (lambda: EigenPhase.from_hamiltonian(qml.Z(0), 1.0, trotter=1, order=3), "order must be 1 or even"),
    (lambda: VQE(problem=Molecule.load("H2")).state([0.0]), r"parameters must have shape \(3,\)"),
    (
        lambda: Nodes("default.qubit").cost(lambda x: qml.RX(x[0], 0), qml.Z(0), 1, (1,)).state(np.zeros(1)),
        "A state vector needs shots=None and the device varq.qubit",
    ),
]


@pytest.mark.parametrize(("build", "match"), BAD, ids=[match[:40] for _, match in BAD])
def test_bad_input_is_named(build: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        build()


def test_policies_stay_within_their_budget() -> None:
    """Whatever the outcomes: all of the short sequences of a small budget."""
    for spent in (Greedy(), LookAhead(), RandomWalk(), Higgins(repeats=1), Robust(slope=0.5)):
        for bits in itertools.product((0, 1), repeat=4):
            policy = spent.policy(Setting(6, Law()))
            state = policy.init(np)
            for bit in bits:
                powers, angles = policy.ahead(state, 1)
                if not powers:
                    break
                state = policy.update(np, state, powers[0], angles[0], bit)
            assert 0 <= int(state.left) <= 6
