"""Error bars: how often intervals cover the truth, with many shots and with few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimation_truth import all_bits, ground_state, probabilities
from scipy import stats

from varq.estimation import Group, combined, interval, measurement_groups, shared
from varq.estimation.groups import GROUPINGS
from varq.estimation.intervals import sample_mean
from varq.keys import Key

pytestmark = pytest.mark.flagless

EXACT = 1e-12
SEEDS = 400
COVERAGE = (0.93, 0.97)  # of 95 % intervals in 400 experiments: 1.8 binomial standard errors either way
FEW = (0.92, 0.98)  # of 95 % intervals from a few shots, which have a few possible outcomes

groupings = pytest.mark.parametrize("grouping", GROUPINGS)


def sampled_energies(grouping: str, shots: tuple[int, ...] | int, name: str = "H2") -> tuple[float, Any, Any, Any]:
    """The exact energy; and for each seed an estimate of it, its standard error, and the textbook's."""
    pauli, lowest, state = ground_state(name)
    constant, groups = measurement_groups(pauli, grouping)
    counts = (shots,) * len(groups) if isinstance(shots, int) and shots < 100 else shared(int(shots), groups)  # type: ignore[arg-type]
    chances = [probabilities(group, state, pauli.wires) for group in groups]
    bits = all_bits(pauli.wires)
    rows = []
    for seed in range(SEEDS):
        parts = []
        for g, group in enumerate(groups):
            generator = Key.from_seed(seed).fold(g).generator()
            drawn = bits[generator.choice(len(bits), counts[g], p=chances[g] / chances[g].sum())]
            plain = float(group.energies(drawn).var(ddof=1)) / counts[g]
            parts.append((*group.estimate(drawn), plain))
        means, variances, plains = np.array(parts).T
        value, stderr = combined(np.ones(len(groups)), means, variances)
        rows.append((constant + float(value), float(stderr), float(np.sqrt(plains.sum()))))
    return lowest, *np.array(rows).T


@groupings
def test_intervals_of_the_energy_cover_as_often_as_they_say(grouping: str) -> None:
    truth, values, stderrs, _ = sampled_energies(grouping, 4096)
    low, high = interval(values, stderrs)
    covered = np.mean((low <= truth) & (truth <= high))
    assert COVERAGE[0] <= covered <= COVERAGE[1]
    # The estimates have no bias, and spread as their error bars say, within five standard errors of either.
    assert abs(values.mean() - truth) <= 5 * values.std(ddof=1) / np.sqrt(SEEDS)
    assert values.std(ddof=1) == pytest.approx(stderrs.mean(), rel=5 / np.sqrt(2 * SEEDS))


@groupings
def test_two_shots_have_error_bars_that_are_no_luck(grouping: str) -> None:
    truth, values, stderrs, plain = sampled_energies(grouping, 2)
    assert np.all(stderrs > 0)
    nominal = 0.95 - 5 * np.sqrt(0.95 * 0.05 / SEEDS)
    assert np.mean(np.abs(values - truth) <= 1.96 * stderrs) >= nominal
    assert np.mean(np.abs(values - truth) <= 1.96 * plain) < nominal


@pytest.mark.parametrize("shots", [2, 5, 10, 30, 100])
def test_one_word_is_covered_on_average_over_states(shots: int) -> None:
    """Exact binomial sums: the chance that the interval covers, averaged over the chance of -1."""
    chances = (np.arange(200) + 0.5) / 200
    covered = np.zeros((2, len(chances)))
    for ones in range(shots + 1):
        energies = np.repeat([-1.0, 1.0], [ones, shots - ones])
        weight = stats.binom.pmf(ones, shots, chances)
        for row, variance in enumerate((sample_mean(energies, 1.0)[1], energies.var(ddof=1) / shots)):
            low, high = interval(energies.mean(), np.sqrt(variance))
            covered[row] += weight * ((low <= 1 - 2 * chances) & (1 - 2 * chances <= high))
    ours, textbook = covered.mean(axis=1)
    assert FEW[0] <= ours <= FEW[1]
    assert abs(ours - 0.95) < abs(textbook - 0.95)


def test_the_variance_is_jeffreys_to_leading_order() -> None:
    for shots in (100, 10_000):
        for ones in (0, 1, shots // 4, shots // 2, shots):
            energies = np.repeat([-1.0, 1.0], [ones, shots - ones])
            posterior = 4 * stats.beta(ones + 0.5, shots - ones + 0.5).var()
            assert sample_mean(energies, 1.0)[1] == pytest.approx(posterior, rel=5 / shots)


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_the_variance_is_exact_on_average_in_the_maximally_mixed_state(shots: int) -> None:
    group = Group("ZZ", np.array([1, 2, 3], np.uint64), np.array([1.0, -0.5, 0.25]))
    every = np.array(np.meshgrid(*[np.arange(4)] * shots)).reshape(shots, -1).T
    outcomes = [group.estimate(all_bits(2)[row]) for row in every]
    means, variances = np.array(outcomes).T
    assert means.mean() == pytest.approx(0, abs=EXACT)
    assert variances.mean() == pytest.approx(means.var(), abs=EXACT)
    assert variances.mean() == pytest.approx(group.deviation**2 / shots, abs=EXACT)


def test_combinations_agree_with_repeated_experiments() -> None:
    generator = Key.from_seed(0).generator()
    weights = generator.normal(size=(3, 4))
    variances = np.array([0.1, 0.0, 2.0, 0.5])
    means = np.array([1.0, -2.0, 0.5, 3.0])
    values, stderrs = combined(weights, means, variances)
    drawn = (means + np.sqrt(variances) * generator.normal(size=(20_000, 4))) @ weights.T
    np.testing.assert_allclose(values, weights @ means, atol=EXACT)
    np.testing.assert_allclose(stderrs, drawn.std(axis=0), rtol=5 / np.sqrt(2 * 20_000))


def test_an_estimate_used_twice_is_one_column() -> None:
    # f - f is exactly 0, which errors of two samples would not be.
    value, stderr = combined([1.0 - 1.0], [3.0], [0.25])
    assert (value, stderr) == (0.0, 0.0)
    assert combined([1.0, -1.0], [3.0, 3.0], [0.25, 0.25])[1] == pytest.approx(np.sqrt(0.5))


def test_intervals_are_normal_quantiles() -> None:
    for level in (0.5, 0.9, 0.95, 0.999):
        low, high = interval(2.0, 0.3, level)
        assert stats.norm(2.0, 0.3).cdf(high) - stats.norm(2.0, 0.3).cdf(low) == pytest.approx(level, abs=EXACT)
    low, high = interval(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    assert low[0] == high[0] == 1.0
    assert low[1] < 2.0 < high[1]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sample_mean([], 1.0), "at least one shot"),
        (lambda: sample_mean([1.0, float("nan")], 1.0), "energies must be finite"),
        (lambda: sample_mean([1.0], -1.0), "deviation must be at least 0"),
        (lambda: combined([1.0, 1.0], [1.0], [1.0]), r"means must have shape \(2,\)"),
        (lambda: combined(1.0, [1.0], [1.0]), r"weights must have at least one axis"),
        (lambda: combined([1.0], [1.0], [1.0, 2.0]), r"variances must have shape \(1,\)"),
        (lambda: combined([1.0], [1.0], [-0.5]), "variances must not be negative. Got -0.5"),
        (lambda: interval(1.0, 0.1, 1.0), "level must be less than 1. Got 1.0. Use 0.95"),
        (lambda: interval(1.0, 0.1, 0.0), "level must be greater than 0"),
        (lambda: interval(1.0, -0.1), "stderr must not be negative. Got -0.1"),
    ],
)
def test_wrong_arguments_are_named(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
