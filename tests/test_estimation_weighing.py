"""Estimates of several devices together: unbiased, with the least variance, and error bars that say so."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from varq.estimation.groups import Group, measurement_groups
from varq.estimation.intervals import sample_mean
from varq.estimation.weighing import LEAST_PART, weighed
from varq.problems.pauli import PauliSum

pytestmark = pytest.mark.flagless

SEEDS = 2000
SIGMAS = 5.0  # standard errors of a mean over seeds
SPREAD = SIGMAS * np.sqrt(2 / SEEDS)  # of a variance over seeds, relative, for a bell-shaped estimate
SMALL = 0.15  # of the variance: what noise in the weights may add, and what error bars may be off, near 100 shots
EXACT = 1e-12


def group_of(words: dict[str, float]) -> Group:
    _, (group,) = measurement_groups(PauliSum.from_words(words))
    return group


BOTH = group_of({"ZI": 1.0, "IZ": 1.0})


def drawn(rng: np.random.Generator, chance: float, shots: int, tied: bool) -> NDArray[np.uint8]:
    """Bits of two wires that are each 1 with one chance: on their own, or both together. One mean, two variances."""
    if tied:
        return np.repeat(rng.random((shots, 1)) < chance, 2, axis=1).astype(np.uint8)
    return (rng.random((shots, 2)) < chance).astype(np.uint8)


def law(chance: float, tied: bool) -> tuple[float, float]:
    """The exact mean and variance of one shot of Z0 + Z1."""
    return 2 * (1 - 2 * chance), (16 if tied else 8) * chance * (1 - chance)


@pytest.mark.parametrize(
    ("chance", "first", "second"),
    [(0.3, 100, 100), (0.3, 400, 100), (0.02, 100, 100), (0.02, 128, 400)],
)
def test_the_mean_is_exact_and_the_variance_the_least(chance: float, first: int, second: int) -> None:
    rng = np.random.default_rng(7)
    pairs = [(drawn(rng, chance, first, False), drawn(rng, chance, second, True)) for _ in range(SEEDS)]
    found = np.array([weighed(BOTH, [{0: a, 1: b}])[0] for a, b in pairs])
    mean, loose = law(chance, False)
    _, tied = law(chance, True)
    least = 1 / (first / loose + second / tied)
    pooled = (first * loose + second * tied) / (first + second) ** 2
    assert abs(found[:, 0].mean() - mean) < SIGMAS * np.sqrt(least / SEEDS) * (1 + SMALL)
    spread = found[:, 0].var()
    rare = chance < 0.1
    # Where outcomes are rare the variances cannot be told apart, and it is as good as the mean of all shots.
    assert spread < (pooled if rare else least) * (1 + SMALL + SPREAD)
    assert found[:, 1].mean() == pytest.approx(spread, rel=SMALL + SPREAD)


def test_weights_from_the_same_shots_would_have_a_bias() -> None:
    """What the halves are for: the textbook's weights are off by many standard errors where energies are skewed."""
    rng = np.random.default_rng(3)
    chance, shots, naive, halved = 0.02, 100, [], []
    for _ in range(SEEDS):
        parts = {0: drawn(rng, chance, shots, False), 1: drawn(rng, chance, shots, False)}
        (m0, v0), (m1, v1) = (BOTH.estimate(bits) for bits in parts.values())
        naive.append((m0 / v0 + m1 / v1) / (1 / v0 + 1 / v1))
        halved.append(weighed(BOTH, [parts])[0][0])
    exact, _ = law(chance, False)
    off = [abs(np.mean(some) - exact) / (np.std(some) / np.sqrt(SEEDS)) for some in (naive, halved)]
    assert off[0] > 2 * SIGMAS
    assert off[1] < SIGMAS


def test_many_shots_have_the_weights_of_their_inverse_variances() -> None:
    rng = np.random.default_rng(1)
    shots = 200_000
    mean, variance = weighed(BOTH, [{0: drawn(rng, 0.3, shots, False), 1: drawn(rng, 0.3, shots, True)}])[0]
    exact, loose = law(0.3, False)
    _, tied = law(0.3, True)
    least = 1 / (shots / loose + shots / tied)
    assert variance == pytest.approx(least, rel=0.02)  # weights and spreads are known to half a percent
    assert abs(mean - exact) < SIGMAS * np.sqrt(least)


def test_one_device_gives_what_it_gives_alone() -> None:
    bits = drawn(np.random.default_rng(5), 0.3, 40, False)
    assert weighed(BOTH, [{3: bits}]) == [BOTH.estimate(bits)]


def test_few_shots_are_put_together() -> None:
    rng = np.random.default_rng(5)
    few, many = drawn(rng, 0.3, LEAST_PART - 1, False), drawn(rng, 0.3, 500, True)
    assert weighed(BOTH, [{1: many, 0: few}]) == [BOTH.estimate(np.concatenate([few, many]))]


def test_circuits_of_a_kind_have_the_same_weights() -> None:
    """So that energies which are equal on each machine have no difference, however the machines differ."""

    def machine(*rows: tuple[int, int]) -> NDArray[np.uint8]:
        """These outcomes in turn, each twice: both halves are the same."""
        return np.repeat(np.tile(np.array(rows, dtype=np.uint8), (128, 1)), 2, axis=0)

    half = machine((0, 0), (0, 1))  # the second machine says 1 of both circuits
    calm = {0: machine((0, 1), (0, 1)), 1: half}  # the first says 0 of both: always
    wild = {0: machine((0, 0), (1, 1)), 1: half}  # or on average
    one, other = (mean for mean, _ in weighed(BOTH, [calm, wild]))
    assert one == pytest.approx(other, abs=EXACT)
    assert one == pytest.approx(2 / 3, abs=0.01)  # the variances of a shot are 2, on average, and 1
    assert weighed(BOTH, [calm])[0][0] < 0.1
    assert weighed(BOTH, [wild])[0][0] > 0.75


def test_equal_spreads_count_shots() -> None:
    """Where the spreads do not differ beyond chance, the estimate is the mean of all shots."""
    bits = np.tile(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.uint8), (64, 1))
    for first, second in ((bits, bits), (bits, np.concatenate([bits, bits]))):
        mean, variance = weighed(BOTH, [{0: first, 1: second}])[0]
        whole, spread = BOTH.estimate(np.concatenate([first, second]))
        assert mean == pytest.approx(whole, abs=EXACT)
        assert variance == pytest.approx(spread, rel=0.02)


def test_a_group_without_coefficients_has_no_energy() -> None:
    empty = Group("ZZ", np.zeros(0, np.uint64), np.zeros(0))
    bits = np.zeros((100, 2), np.uint8)
    assert weighed(empty, [{0: bits, 1: bits}]) == [(0.0, 0.0)]


def test_bits_are_checked() -> None:
    with pytest.raises(ValueError, match="bits must be 0 or 1"):
        weighed(BOTH, [{0: np.full((100, 2), 2)}])
    assert sample_mean([1.0], 1.0) == (1.0, 1.0)
