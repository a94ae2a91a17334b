"""Several experiments in one request: what a policy makes of them beside what it makes of one at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from varq.algorithms.phases import Greedy, Higgins, LookAhead, RandomWalk, Robust, Semiclassical, belief
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Setting

pytestmark = pytest.mark.flagless  # NumPy alone

EXACT = 1e-9  # rounding of angles up to a few turns
TURN = 2 * math.pi
APPLICATIONS = 24
RUNS = 100
LIKELY = 1e-4  # of a right law: one false alarm in ten thousand

# Their rule is for the angles that `choose` names; the others weigh whatever angle there was by Bayes' rule.
OWN = [RandomWalk(), RandomWalk(tests=3), Robust(), Semiclassical(), Higgins(adaptive=False)]
BAYES = [Greedy(), LookAhead(), Higgins()]


def walked(policy: Any, most: int, seed: int) -> tuple[float, Any, list[tuple[int, float]], int]:
    """A phase, the last state of a run that asks for up to `most` experiments at once, these, and how many requests."""
    rng = np.random.default_rng(seed)
    made: list[tuple[int, float]] = []
    phase, state, requests = rng.uniform(0, TURN), policy.init(np), 0
    while (asked := policy.ahead(state, most))[0]:
        # Outcomes are drawn before any of them is told, as those of one job are.
        zero = [(1 + math.cos(power * phase - angle)) / 2 for power, angle in zip(*asked, strict=True)]
        requests += 1
        bits = [int(luck >= chance) for luck, chance in zip(rng.random(len(zero)), zero, strict=True)]
        for power, angle, bit in zip(*asked, bits, strict=True):
            made.append((power, angle % TURN))
            state = policy.update(np, state, power, angle, bit)
    return phase, state, made, requests


@pytest.mark.parametrize("spec", OWN, ids=str)
def test_a_rule_for_one_angle_is_told_of_no_other(spec: Any) -> None:
    """The same luck gives the same run, experiment by experiment, however many are wanted at once."""
    policy = spec.policy(Setting(APPLICATIONS, Law()))
    for seed in range(20):
        alone, four = walked(policy, 1, seed), walked(policy, 4, seed)
        np.testing.assert_allclose(four[2], alone[2], atol=EXACT)
        assert policy.estimate(np, four[1]) == pytest.approx(policy.estimate(np, alone[1]))


@pytest.mark.parametrize("spec", BAYES, ids=str)
def test_experiments_made_at_once_leave_a_right_density(spec: Any) -> None:
    """True phases are even among the ranks of the density: with other choices than one at a time, but the same law."""
    policy = spec.policy(Setting(APPLICATIONS, Law()))
    ranks = []
    for seed in range(RUNS):
        phase, state, made, requests = walked(policy, 4, seed)
        assert requests < len(made)
        opposite = belief.direction(np, belief.moment(np, state.moments, 1)) - math.pi
        ranks.append(belief.below(np, state.moments, opposite, (phase - opposite) % TURN))
        assert sum(power for power, _ in made) <= APPLICATIONS
    assert stats.kstest(ranks, "uniform").pvalue > LIKELY
