"""Shots for groups: the total exact, a minimum for each, more for what spreads more, and less variance for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from estimation_truth import ground_state, moments
from hypothesis import given
from hypothesis import strategies as st

from varq.algorithms import VQE
from varq.estimation import Group, measurement_groups, shared
from varq.estimation.shots import LEAST_SHOTS
from varq.keys import Key
from varq.problems import Molecule

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


TOTALS = {"H2": 1000, "H3+": 2000, "LiH": 40_000}  # some hundreds for each group
HEAVY = pytest.param("LiH", marks=pytest.mark.full)


def ratio(name: str, grouping: str) -> float:
    """The exact variance of a ground state's energy with the rule "variance", by that with "equal"."""
    groups, variances = exact_variances(name, grouping)
    by_rule = [float((variances / shared(TOTALS[name], groups, rule)).sum()) for rule in ("variance", "equal")]
    assert min(by_rule) >= np.sqrt(variances).sum() ** 2 / TOTALS[name] / ROUNDING, "no allocation is below Neyman's"
    return by_rule[0] / by_rule[1]


@pytest.mark.parametrize("name", ["H2", "H3+", HEAVY])
def test_sharing_by_variance_lowers_that_of_qubit_wise_groups(name: str) -> None:
    assert ratio(name, "qubit-wise") < 1


@pytest.mark.parametrize(
    ("name", "loses"), [("H2", True), ("H3+", True), pytest.param("LiH", False, marks=HEAVY.marks)]
)
def test_commuting_groups_of_small_molecules_lose_by_it_so_that_equal_is_the_default(name: str, loses: bool) -> None:
    assert (ratio(name, "commuting") > 1) is loses
    assert VQE(problem=Molecule.load("H2"), grouping="commuting").resolve(None, 100).allocation == "equal"
    assert VQE(problem=Molecule.load("H2")).resolve(None, 100).allocation == "variance"


@pytest.mark.parametrize(
    ("name", "grouping", "told"),
    [
        ("H2", "qubit-wise", 0.86),
        ("H3+", "qubit-wise", 0.61),
        ("H2", "commuting", 2.05),
        ("H3+", "commuting", 1.21),
        pytest.param("LiH", "qubit-wise", 0.42, marks=HEAVY.marks),
        pytest.param("LiH", "commuting", 0.88, marks=HEAVY.marks),
    ],
)
def test_the_figures_of_the_docstring_are_right(name: str, grouping: str, told: float) -> None:
    assert f"{told:.2f}" in (shared.__doc__ or "")
    assert ratio(name, grouping) == pytest.approx(told, abs=0.02)


GROUPS = with_deviations([1, 2])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"total": 3}, "total must be at least 4. Got 3. 2 groups need 2 shots each"),
        ({"total": 100, "rule": "variances"}, r"rule must be one of .* Did you mean 'variance'"),
        ({"total": 100, "least": 0}, "least must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        shared(groups=GROUPS, **arguments)


def test_shots_are_whole_numbers() -> None:
    with pytest.raises(TypeError, match="total must be an integer"):
        shared(1e3, GROUPS)  # type: ignore[arg-type]
