"""Exact one-dimensional minima: the polynomial's global minimum by brute force, whole sweeps against eigenvalues."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_costs import CENTER, KEY, Cost, drive, excitation, product, rosenbrock

from varq.optimizers.coordinate import ExcitationSolve, Rotosolve
from varq.optimizers.trigonometry import base_frequency, grid, minimum
from varq.protocol import Many, Reason

EXACT = 1e-12  # linear algebra on numbers of order one
SCANNED = 1e-7  # a scan of 4001 angles misses a minimum by at most (pi / 4000)^2 / 2 times the curvature
CONVERGED = 1e-7  # sweeps that end when they improve by less than 1e-8

few = settings(deadline=None, max_examples=40, derandomize=True)
sets = st.sampled_from([(1.0,), (0.5, 1.0), (1.0, 2.0, 3.0), (1.0, 3.0), (1.0, 4.0), (2.0, 5.0), (1 / 3, 1.0)])


def _values(coefficients: Any, frequencies: tuple[float, ...], angles: Any) -> Any:
    waves = zip(frequencies, coefficients[1::2], coefficients[2::2], strict=True)
    return coefficients[0] + sum(a * np.cos(f * angles) + b * np.sin(f * angles) for f, a, b in waves)


@few
@given(sets, st.integers(0, 10_000), st.floats(-8, 0))
def test_the_minimum_is_the_global_one(frequencies: tuple[float, ...], seed: int, small: float) -> None:
    random = np.random.default_rng(seed)
    # The last frequency may all but vanish: then the derivative has nearly a lower degree.
    coefficients = random.normal(size=2 * len(frequencies) + 1)
    coefficients[-2:] *= 10.0**small
    along = grid(frequencies)
    fitted = along.inverse @ _values(coefficients, frequencies, along.shifts)
    np.testing.assert_allclose(fitted, coefficients, atol=EXACT)
    angle, value = minimum(coefficients, along)
    assert value == pytest.approx(_values(coefficients, frequencies, angle), abs=EXACT)
    period = 2 * np.pi / along.base
    assert abs(angle) <= period / 2 * (1 + EXACT)
    scanned = _values(coefficients, frequencies, np.linspace(-period / 2, period / 2, 4001)).min()
    assert value <= scanned + EXACT
    assert value >= scanned - 100 * SCANNED * np.abs(coefficients).sum() * (frequencies[-1] / along.base) ** 2


@pytest.mark.parametrize("coefficients", [[2.0, 0, 0, 0, 0], [0.0] * 5, [1e6, 1e-11, 0, 0, 1e-11]])
def test_a_constant_stays_where_it_is(coefficients: list[float]) -> None:
    assert minimum(np.array(coefficients), grid((0.5, 1.0))) == (0.0, coefficients[0])


def test_a_flat_minimum_is_found() -> None:
    # (1 - cos)^2 = 3/2 - 2 cos + cos(2 .) / 2 has a fourfold root of its value at zero.
    angle, value = minimum(np.array([1.5, -2.0, 0.0, 0.5, 0.0]), grid((1.0, 2.0)))
    assert abs(angle) < 1e-3
    assert value == pytest.approx(0.0, abs=EXACT)


def test_of_equal_minima_the_nearest_is_taken() -> None:
    # cos(2 (t - 0.3)) has minima at 0.3 +- pi / 2.
    phase = 0.6
    angle, _ = minimum(np.array([0.0, 0.0, 0.0, np.cos(phase), np.sin(phase)]), grid((1.0, 2.0)))
    assert angle == pytest.approx(0.3 - np.pi / 2, abs=1e-9)


@pytest.mark.parametrize("order", ["forward", "backward", "random"])
@pytest.mark.parametrize(
    ("optimizer", "cost"), [(Rotosolve, product), (ExcitationSolve, excitation)], ids=lambda v: getattr(v, "name", "")
)
def test_sweeps_reach_the_lowest_eigenvalue(optimizer: Any, cost: Cost, order: str) -> None:
    trace = drive(optimizer(order=order), cost, 400)
    assert trace.finished is not None
    assert trace.finished.reason is Reason.CONVERGED
    assert "improved the cost by" in trace.finished.message
    assert cost.value(trace.x.ravel()) == pytest.approx(cost.lowest, abs=CONVERGED)
    assert trace.values[-1] == pytest.approx(cost.value(trace.x.ravel()), abs=EXACT)
    assert all(later <= earlier + EXACT for earlier, later in pairwise(trace.values))


def test_one_sweep_of_a_product_is_enough() -> None:
    trace = drive(Rotosolve(sweeps=1), product, 99)
    assert trace.finished is not None
    assert trace.finished.reason is Reason.STEPS
    assert "sweep 1, the last one allowed, still improved the cost by" in trace.finished.message
    np.testing.assert_allclose(trace.x.ravel() - CENTER, 0, atol=1e-9)


def test_coupled_parameters_do_not_sweep_for_ever() -> None:
    # Sweeps creep along the valley of 1 - cos(x - y) + (1 - cos x) / 1000, each for a thousandth of the way.
    def value(x: Any) -> float:
        return float(1 - np.cos(x[0] - x[1]) + 1e-3 * (1 - np.cos(x[0])))

    cost = Cost("valley", value, lambda x: np.zeros(2), np.array([1.0, 1.0]), 0.0)
    trace = drive(Rotosolve(), cost, 1000)
    assert trace.finished is not None
    assert trace.finished.reason is Reason.STEPS
    assert len(trace.values) == 2 * Rotosolve().sweeps
    assert "Allow more sweeps" in trace.finished.message


@pytest.mark.parametrize(
    ("optimizer", "sizes"),
    [
        (Rotosolve(sweeps=2), [3, 2, 2, 2, 3, 2, 2, 2]),
        (ExcitationSolve(sweeps=2), [5, 4, 4, 4, 5, 4, 4, 4]),
        (ExcitationSolve(sweeps=2, refresh=1), [5] * 8),
        (ExcitationSolve(sweeps=2, refresh=3), [5, 4, 4, 5, 4, 4, 5, 4]),
    ],
    ids=repr,
)
def test_evaluations_of_a_step(optimizer: Rotosolve, sizes: list[int]) -> None:
    cost = excitation if isinstance(optimizer, ExcitationSolve) else product
    trace = drive(replace(optimizer, tolerance=0.0), cost, 8)
    assert [len(r.parts) for r in trace.requests if isinstance(r, Many)] == sizes[: len(trace.requests)]


def test_each_parameter_can_have_its_own_frequencies() -> None:
    def value(x: Any) -> float:
        return float(np.cos(x[0] - 0.2) + np.cos(2 * x[1]) + 0.7 * np.sin(x[1]) + np.cos(x[2] / 2) + np.sin(1.5 * x[2]))

    cost = Cost("separable", value, lambda x: np.zeros(3), np.zeros(3), 0.0)
    trace = drive(Rotosolve(frequencies=((1.0,), (1.0, 2.0), (0.5, 1.5))), cost, 50)
    angles = np.linspace(0, 4 * np.pi, 200_001)
    lowest = -1 + (np.cos(2 * angles) + 0.7 * np.sin(angles)).min() + (np.cos(angles / 2) + np.sin(1.5 * angles)).min()
    assert value(trace.x) == pytest.approx(lowest, abs=SCANNED)
    assert [len(r.parts) for r in trace.requests if isinstance(r, Many)][:3] == [3, 4, 4]


def test_random_order_visits_all_and_changes() -> None:
    trace = drive(ExcitationSolve(order="random", tolerance=0.0), excitation, 40)
    sweeps = [tuple(i["parameter"] for i in trace.infos[k : k + 4]) for k in range(0, len(trace.infos) - 3, 4)]
    assert all(sorted(sweep) == [0, 1, 2, 3] for sweep in sweeps)
    assert len(set(sweeps)) > 1


def test_wrong_frequencies_are_noticed() -> None:
    trace = drive(Rotosolve(), excitation, 99)
    assert trace.finished is not None
    assert trace.finished.reason is Reason.STALLED
    assert "frequencies (1.0,) are not those of this circuit" in trace.finished.message
    assert drive(ExcitationSolve(), rosenbrock, 99).finished.reason is Reason.STALLED  # type: ignore[union-attr]


def test_shots_give_error_bars_and_an_end() -> None:
    noisy = replace(excitation, noise=0.01)
    trace = drive(ExcitationSolve(refresh=1), noisy, 400)
    assert trace.finished is not None
    assert trace.finished.reason is Reason.CONVERGED
    assert all(0 < info["stderr"] < 2 * noisy.noise for info in trace.infos)
    # A few standard errors of one value: what is left of the noise after the minimum over the last sweeps.
    assert excitation.value(trace.x.ravel()) == pytest.approx(excitation.lowest, abs=10 * noisy.noise)


def test_base_frequencies() -> None:
    assert base_frequency((1.0, 1.5)) == (0.5, (2, 3))
    assert base_frequency((2.0,)) == (2.0, (1,))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"frequencies": ()}, ValueError, "frequencies must not be empty"),
        ({"frequencies": ((1.0,), ())}, ValueError, r"frequencies\[1\] must not be empty"),
        ({"frequencies": 1.0}, TypeError, r"frequencies must be of type tuple.*such as \(0\.5, 1\.0\)"),
        ({"frequencies": (0.0,)}, ValueError, r"frequencies\[0\] must be greater than 0"),
        ({"frequencies": (1.0, 2**0.5)}, ValueError, "whole multiples, up to 64, of a common one"),
        ({"frequencies": (1.0, 99.0)}, ValueError, "whole multiples, up to 64, of a common one"),
        ({"sweeps": 0}, ValueError, "sweeps must be at least 1"),
        ({"sweeps": None}, TypeError, "sweeps must be an integer"),
        ({"refresh": 0}, ValueError, "refresh must be at least 1"),
        ({"tolerance": -1}, ValueError, "tolerance must be at least 0"),
        ({"order": "frward"}, ValueError, "order must be one of.*Did you mean 'forward'"),
    ],
)
@pytest.mark.parametrize("kind", [Rotosolve, ExcitationSolve])
def test_wrong_arguments_are_named(kind: Any, arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        kind(**arguments)


def test_frequencies_must_fit_the_parameters() -> None:
    method = Rotosolve(frequencies=((1.0,), (1.0,))).method()
    with pytest.raises(ValueError, match=r"one tuple for each of the 4 parameters\. Got 2"):
        method.init(np.zeros((2, 2)), KEY)
