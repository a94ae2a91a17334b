"""Error bars of phases: about the value that is given, whatever the policy answers with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gate_cases import some
from scipy import stats

from varq.algorithms import PhaseEstimation, phase_estimation, phase_study
from varq.algorithms.phases.study import Study
from varq.problems import EigenPhase

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
    task = PhaseEstimation(problem=EigenPhase.from_phases(phases, weights), applications=24)
    study = phase_study(task, runs, through=way, phases=np.full(runs, 1.0), seed=2)
    nearest = np.argmin(np.abs(np.exp(1j * study.estimates[:, None]) - np.exp(1j * phases)), axis=1)
    assert stats.chisquare(np.bincount(nearest, minlength=3), runs * np.array(weights)).pvalue > LIKELY
