"""Shots for groups: the total exact, a minimum for each, more for what spreads more, and less variance for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from estimation_truth import drawn, ground_state, moments
from hypothesis import given
from hypothesis import strategies as st

from varq.estimation import Group, measurement_groups, shared
from varq.estimation.shots import LEAST_SHOTS
from varq.keys import Key

pytestmark = pytest.mark.flagless

EXACT = 1e-12
ROUNDING = 1.01  # whole numbers in place of shares, of some twenty shots and more on average

spreads = st.lists(st.floats(0, 1e3), min_size=1, max_size=30)


def with_deviations(values: Any) -> list[Group]:
    return [Group("Z", np.array([1], np.uint64), np.array([float(v)])) for v in values]


@given(spreads, st.integers(0, 10**7), st.integers(1, 50))
def test_the_total_is_exact_and_none_gets_too_few(values: list[float], more: int, least: int) -> None:
    total = least * len(values) + more
    for rule in ("variance", "equal"):
        shots = shared(total, with_deviations(values), rule, least=least)
        assert sum(shots) == total
        assert min(shots) >= least
        assert all(type(n) is int for n in shots)


@given(spreads, st.integers(0, 10**7))
def test_larger_deviations_get_no_fewer(values: list[float], more: int) -> None:
    shots = shared(LEAST_SHOTS * len(values) + more, with_deviations(values))
    order = np.argsort(values, kind="stable")
    assert all(shots[a] <= shots[b] for a, b in pairwise(order) if values[a] < values[b])


@given(spreads, st.integers(0, 10**5))
def test_equal_shares_differ_by_one_at_most(values: list[float], more: int) -> None:
    shots = shared(LEAST_SHOTS * len(values) + more, with_deviations(values), "equal")
    assert max(shots) - min(shots) <= 1
    assert sorted(shots, reverse=True) == list(shots)


def test_shares_are_in_proportion_and_fractions_go_to_the_largest_remainder() -> None:
    assert shared(1000, with_deviations([3, 1])) == (750, 250)
    assert shared(10, with_deviations([5, 3, 1]), least=1) == (6, 3, 1)  # 5.56, 3.33, 1.11
    assert shared(100, with_deviations([98, 1, 1, 0])) == (94, 2, 2, 2)
    assert shared(9, with_deviations([0, 0])) == (5, 4)
    assert shared(9, with_deviations([1, 2]), deviations=[2, 1]) == (6, 3)
    assert shared(5, []) == ()


@pytest.mark.parametrize("seed", range(5))
def test_no_other_allocation_has_less_variance(seed: int) -> None:
    generator = Key.from_seed(seed).generator()
    spread = generator.uniform(0.1, 1.0, size=6)
    total = 10_000

    def variance(shots: Any) -> float:
        return float((spread**2 / np.asarray(shots)).sum())

    best = variance(shared(total, with_deviations(spread)))
    assert best == pytest.approx(spread.sum() ** 2 / total, rel=1e-6)  # second order in the rounding
    for _ in range(200):
        assert variance(total * generator.dirichlet(np.full(6, 50.0))) >= best * (1 - 1e-6)


def exact_variances(name: str, grouping: str) -> tuple[list[Group], Any]:
    pauli, _, state = ground_state(name)
    groups = measurement_groups(pauli, grouping)[1]
    return groups, np.maximum([moments(group, state, pauli.wires)[1] for group in groups], 0)


@pytest.mark.parametrize(
    ("name", "grouping", "total"),
    [
        ("H2", "qubit-wise", 1000),
        ("H3+", "qubit-wise", 2000),
        pytest.param("LiH", "qubit-wise", 4096, marks=pytest.mark.full),
        pytest.param("LiH", "commuting", 4096, marks=pytest.mark.full),
    ],
)
def test_sharing_by_variance_lowers_that_of_ground_state_energies(name: str, grouping: str, total: int) -> None:
    groups, variances = exact_variances(name, grouping)
    by_rule = {rule: float((variances / shared(total, groups, rule)).sum()) for rule in ("variance", "equal")}
    assert by_rule["variance"] < by_rule["equal"]


@pytest.mark.parametrize("grouping", ["qubit-wise", "commuting"])
@pytest.mark.parametrize("name", ["H2", "H3+"])
def test_known_deviations_are_best(name: str, grouping: str) -> None:
    groups, variances = exact_variances(name, grouping)
    total = 50 * len(groups) ** 2
    known = shared(total, groups, deviations=np.sqrt(variances))
    lowest = float((variances / known).sum())
    assert lowest <= ROUNDING * np.sqrt(variances).sum() ** 2 / total
    for rule in ("variance", "equal"):
        assert lowest <= ROUNDING * float((variances / shared(total, groups, rule)).sum())


def test_deviations_measured_before_mend_what_the_mixed_state_gets_wrong() -> None:
    """Near a basis state the large group of Z words hardly spreads; one evaluation with equal shots shows that."""
    groups, variances = exact_variances("H3+", "commuting")
    _, _, state = ground_state("H3+")
    total, pilot = 2000, 100
    parts = [g.estimate(drawn(g, state, 6, pilot, Key.from_seed(0).fold(k))) for k, g in enumerate(groups)]
    measured = np.sqrt([variance * pilot for _, variance in parts])
    blind, seen = shared(total, groups), shared(total, groups, deviations=measured)
    equal = shared(total, groups, "equal")
    by_rule = [float((variances / shots).sum()) for shots in (seen, equal, blind)]
    assert by_rule == sorted(by_rule)


GROUPS = with_deviations([1, 2])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"total": 3}, "total must be at least 4. Got 3. 2 groups need 2 shots each"),
        ({"total": 100, "rule": "variances"}, r"rule must be one of .* Did you mean 'variance'"),
        ({"total": 100, "deviations": [1.0]}, r"deviations must have shape \(2,\)"),
        ({"total": 100, "deviations": [1.0, -1.0]}, "deviations must not be negative. Got -1"),
        ({"total": 100, "deviations": [1.0, float("nan")]}, "deviations must be finite"),
        ({"total": 100, "deviations": [1.0, 1.0], "rule": "equal"}, "deviations have no use with rule='equal'"),
        ({"total": 100, "least": 0}, "least must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        shared(groups=GROUPS, **arguments)


def test_shots_are_whole_numbers() -> None:
    with pytest.raises(TypeError, match="total must be an integer"):
        shared(1e3, GROUPS)  # type: ignore[arg-type]
