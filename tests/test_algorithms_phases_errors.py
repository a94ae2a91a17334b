"""Error bars of phases: about the value that is given, whatever the policy answers with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gate_cases import some
from scipy import stats

from varq.algorithms import PhaseEstimation, phase_estimation, phase_study
from varq.algorithms.phases import Spectrum
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Setting
from varq.algorithms.phases.study import Study
from varq.keys import Key
from varq.problems import EigenPhase
from varq.protocol import Experiment, Reply

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-9  # linear algebra in float64
LIKELY = 1e-4  # of a right law: one false alarm in ten thousand
SIGMAS = 4  # one false alarm in sixteen thousand for a normal variable
TURN = 2 * math.pi
GATE = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)


@pytest.mark.parametrize("policy", ["greedy", "random-walk", "robust"])
def test_the_error_bar_is_about_the_value(policy: str) -> None:
    """The Holevo variance about the value, from the density as it is drawn."""
    off = []
    for seed in range(6):
        result = phase_estimation(GATE, policy=policy, applications=40, seed=seed, store=None, progress=False)
        grid, density = result.details["grid"], result.details["density"]
        wave = np.mean(density * np.exp(1j * grid)) * TURN
        sharp = (wave * np.exp(-1j * result.value)).real
        want = math.sqrt(sharp**-2 - 1) if sharp > 0 else math.inf
        assert result.stderr == pytest.approx(want, rel=EXACT)
        overhead = want / math.tan(math.pi / (result.details["applications"] + 2))
        assert result.details["overhead"] == pytest.approx(overhead, rel=EXACT)
        off.append(abs(wave) - sharp)
    assert (max(off) < EXACT) == (policy == "greedy")


@pytest.mark.parametrize("policy", some(("random-walk", "robust"), "robust"))
def test_what_densities_tell_is_what_values_reach(policy: str) -> None:
    study = phase_study(PhaseEstimation(problem=GATE, policy=policy, applications=64), 1000, seed=1)
    (told, spread), (reached, width) = study.averaged, study.sampled
    assert abs(told - reached) < SIGMAS * math.hypot(spread, width)


def study_of(errors: Any, sharpness: float) -> Study:
    count = len(errors)
    ones = np.ones(count, dtype=np.int64)
    return Study(np.zeros(count), np.asarray(errors), np.full(count, sharpness), 8 * ones, ones, None, None)


def test_a_study_shows_what_its_runs_came_to() -> None:
    """Half the runs off by 0.1 to either side: V is tan(0.1)^2, whatever the densities hold for true."""
    study = study_of([0.1, -0.1] * 50, sharpness=0.5)
    assert study.sampled[0] == pytest.approx(math.tan(0.1) ** 2, rel=EXACT)
    assert study.averaged[0] == pytest.approx(3, rel=EXACT)
    assert repr(study).startswith(f"<100 runs of 8 applications: V N^2 = {math.tan(0.1) ** 2 * 64:.3g} +- ")


def test_densities_that_point_away_from_their_values_tell_no_finite_variance() -> None:
    assert study_of([0.1, -0.1], sharpness=-0.2).averaged == (math.inf, math.inf)


@pytest.mark.parametrize("way", some(("likelihood", "loop"), "likelihood"))
def test_each_run_finds_one_phase_of_its_state_by_its_weight(way: str) -> None:
    """Also where outcomes are drawn from their law: a state that is nearly an eigenstate is sometimes another one."""
    phases, weights, runs = np.array([1.0, 3.0, 5.0]), [0.6, 0.3, 0.1], 400
    task = PhaseEstimation(problem=EigenPhase.from_phases(phases.tolist(), weights), applications=24)
    study = phase_study(task, runs, through=way, phases=np.full(runs, 1.0), seed=2)
    nearest = np.argmin(np.abs(np.exp(1j * study.estimates[:, None]) - np.exp(1j * phases)), axis=1)
    assert stats.chisquare(np.bincount(nearest, minlength=3), runs * np.array(weights)).pvalue > LIKELY


def taken_apart(problem: EigenPhase, count: int, seed: int) -> Any:
    """What is told of outcomes that are drawn from the law of a state prepared anew for each."""
    method = Spectrum(count).method(Setting(5_000, Law()), None)
    told = method.init(np.zeros(0), Key.from_seed(seed))
    request = method.ask(told)
    assert isinstance(request, Experiment)
    zero = (1 + np.cos(np.outer(request.powers, problem.phases) - request.angles[:, None]) @ problem.weights) / 2
    bits = np.random.default_rng(seed).random(len(zero)) >= zero
    return method.conclude(method.tell(told, Reply(outcomes=bits.astype(np.uint8)))[0]).details


def test_weights_of_more_phases_than_there_are_are_not_negative() -> None:
    problem = EigenPhase.from_phases([1.0, 1.3], [0.6, 0.4])
    for seed in range(20):
        found = taken_apart(problem, 3, seed)
        assert found["weights"].min() >= 0
        assert found["weights"].sum() == pytest.approx(1, abs=EXACT)
        assert np.all(np.isinf(found["phases_stderr"]) == (found["weights"] < 1e-6))
        assert np.mean(found["density"]) * TURN == pytest.approx(1)


def test_weights_and_phases_are_as_near_as_their_errors_say() -> None:
    """Three phases, far apart, in 20 fits; errors are for outcomes of largest variance, and so no smaller."""
    truth = {"phases": np.array([1.0, 3.0, 5.0]), "weights": np.array([0.5, 0.3, 0.2])}
    problem = EigenPhase.from_phases(truth["phases"].tolist(), truth["weights"].tolist())
    runs = [taken_apart(problem, 3, seed) for seed in range(20)]
    for name, right in truth.items():
        for k in range(3):
            at = [int(np.argsort(run["phases"])[k]) for run in runs]
            pulls = [(run[name][i] - right[k]) / run[f"{name}_stderr"][i] for run, i in zip(runs, at, strict=True)]
            assert stats.chi2.sf(float(np.sum(np.square(pulls))), len(runs)) > LIKELY


def test_one_weight_is_certain() -> None:
    found = taken_apart(GATE, 1, seed=0)
    assert found["weights"].tolist() == [1.0]
    assert found["weights_stderr"][0] == pytest.approx(0, abs=EXACT)
    assert abs(found["phases"][0] - 2) < 5 * found["phases_stderr"][0]


@pytest.mark.parametrize("seed", range(3))
def test_the_phase_that_is_sought_is_the_reference(seed: int) -> None:
    """The smallest of those that weigh the same, whatever rounding makes of their weights."""
    turn = stats.unitary_group(4, seed=seed).rvs()
    problem = EigenPhase((turn * np.exp(1j * np.arange(1, 5))) @ turn.conj().T, turn.sum(axis=1) / 2)
    assert PhaseEstimation(problem=problem).phase == problem.reference() == pytest.approx(1)
