"""SPSA: its estimates and gains by hand, and what it reaches under noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from optimizer_costs import COSTS, KEY, Cost, drive, excitation, parts, product, quadratic

from varq.keys import Key
from varq.optimizers.stochastic import SPSA
from varq.protocol import Many, Reply, Value

EXACT = 1e-12
NOISE = 0.02  # one standard error of a value: a few thousand shots on a cost of order one
SEEDS = range(5)


def test_points_are_mirrored_and_gains_are_spalls() -> None:
    optimizer = SPSA(learning_rate=0.3, perturbation=0.2, stability=5.0, largest_step=None)
    trace = drive(optimizer, quadratic, 6)
    x = quadratic.start.copy()
    for k, request in enumerate(trace.requests):
        plus, minus = (part.x for part in parts(request))
        width = 0.2 / (k + 1) ** 0.101
        np.testing.assert_allclose((plus + minus) / 2, x, atol=EXACT)
        delta = (plus - minus) / (2 * width)
        np.testing.assert_allclose(np.abs(delta), 1.0, atol=EXACT)
        slope = (quadratic.value(plus.ravel()) - quadratic.value(minus.ravel())) / (2 * width)
        x = x - 0.3 / (5.0 + k + 1) ** 0.602 * slope / delta
        np.testing.assert_allclose(trace.infos[k]["x"], x, atol=EXACT)
        assert trace.values[k] == pytest.approx((quadratic.value(plus.ravel()) + quadratic.value(minus.ravel())) / 2)


def test_calibration_aims_at_the_first_step() -> None:
    trace = drive(SPSA(first_step=0.05, calibration=200, resamplings=200, perturbation=1e-3), product, 2)
    assert [len(parts(r)) for r in trace.requests] == [400, 400]
    slopes = [
        (product.value(plus.x.ravel()) - product.value(minus.x.ravel())) / 2e-3
        for plus, minus in zip(parts(trace.requests[0])[::2], parts(trace.requests[0])[1::2], strict=True)
    ]
    gain = trace.infos[0]["learning_rate"]
    assert gain / 21**0.602 * np.mean(np.abs(slopes)) == pytest.approx(0.05)
    np.testing.assert_array_equal(trace.infos[0]["x"], product.start)


def test_exact_values_keep_the_narrow_perturbation() -> None:
    trace = drive(SPSA(), product, 2)
    plus, minus = (part.x for part in parts(trace.requests[1]))
    np.testing.assert_allclose(np.abs(plus - minus), 2 * 0.1, atol=EXACT)


def test_noise_widens_the_perturbation_and_steps_keep_their_length() -> None:
    widths = []
    for noise in (0.0001, 0.01, 0.1, 1.0):
        lengths = []
        for seed in range(40):
            trace = drive(SPSA(calibration=50), replace(product, noise=noise), 2, key=Key.from_seed(seed))
            plus, minus = (part.x for part in parts(trace.requests[1]))
            assert trace.infos[0]["perturbation"] == pytest.approx(float(np.abs(plus - minus).max() / 2))
            lengths.append(np.abs(trace.infos[1]["x"] - product.start).max())
        widths.append(trace.infos[0]["perturbation"])
        # Of one step by a slope that is signal and noise: its mean size is what was aimed at.
        assert np.mean(lengths) == pytest.approx(0.1, rel=5 * 0.8 / np.sqrt(len(lengths)))
    assert widths == sorted(widths)
    assert widths[0] == 0.1
    assert 0.2 < widths[2] < widths[3] <= np.pi / 2


def test_a_perturbation_that_is_given_stays() -> None:
    for given in ({"perturbation": 0.03}, {"learning_rate": 0.1}):
        trace = drive(SPSA(**given), replace(product, noise=0.3), 3)
        last = parts(trace.requests[0])
        width = np.abs(last[0].x - last[1].x).max() / 2
        assert width == pytest.approx(given.get("perturbation", 0.1))


@pytest.mark.flagless
@pytest.mark.parametrize("cost", [product, excitation], ids=lambda c: c.name)
def test_under_noise_the_wider_perturbation_ends_lower(cost: Cost) -> None:
    noisy = replace(cost, noise=0.1)  # a hundred shots on a cost of order one
    ends = {}
    for perturbation in (None, 0.1):
        optimizer = SPSA(perturbation=perturbation)
        found = [drive(optimizer, noisy, 200, key=Key.from_seed(seed)).x.ravel() for seed in range(20)]
        ends[perturbation] = np.mean([cost.value(x) for x in found]) - cost.lowest
    assert ends[None] < ends[0.1] / 2


def test_averaged_estimates_approach_the_gradient() -> None:
    trace = drive(SPSA(learning_rate=1e-9, resamplings=4000, perturbation=1e-3), product, 1)
    step = trace.infos[0]["x"] - product.start
    gradient = product.grad(product.start.ravel())
    estimate = -step.ravel() / trace.infos[0]["learning_rate"]
    # Each entry's error comes from the other entries of the gradient, with random signs.
    sigma = np.linalg.norm(gradient) / np.sqrt(4000)
    np.testing.assert_allclose(estimate, gradient, atol=5 * sigma)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cost", [quadratic, product, excitation], ids=lambda c: c.name)
@pytest.mark.parametrize("blocking", [False, True])
def test_it_finds_minima_under_noise(cost: Cost, seed: int, blocking: bool) -> None:
    noisy = replace(cost, noise=NOISE)
    trace = drive(SPSA(perturbation=0.2, blocking=blocking), noisy, 500, key=Key.from_seed(seed))
    # Five standard errors of one value: the noise that the last small steps cannot see through.
    assert cost.value(trace.x.ravel()) == pytest.approx(cost.lowest, abs=5 * NOISE)


def test_no_step_is_longer_than_the_limit() -> None:
    for cost in COSTS:
        trace = drive(SPSA(learning_rate=100.0, largest_step=0.25), cost, 10)
        points = [cost.start, *(info["x"] for info in trace.infos)]
        steps = [np.abs(b - a).max() for a, b in pairwise(points)]
        assert max(steps) <= 0.25 * (1 + EXACT)


def test_a_flat_start_does_not_throw_it_away() -> None:
    flat = Cost("flat", lambda x: 1.0, lambda x: 0 * x, np.zeros((2, 2)), 1.0)
    assert np.all(drive(SPSA(), flat, 5).x == 0)


def test_blocking_refuses_what_is_worse_by_two_standard_errors() -> None:
    method = SPSA(learning_rate=0.1, blocking=True).method()

    def judged(value: float, stderr: float | None) -> bool:
        state = method.init(np.zeros(2), KEY)
        request = method.ask(state)
        assert isinstance(request, Many)
        assert len(request.parts) == 3
        np.testing.assert_array_equal(request.parts[2].x, np.zeros(2))  # type: ignore[union-attr]
        told = Reply(parts=(Reply(value=1.2), Reply(value=0.8), Reply(value=1.0, stderr=stderr)))
        state, info = method.tell(state, told)
        candidate = method.ask(state)
        assert isinstance(candidate, Value)
        assert np.any(candidate.x != 0)
        state, info = method.tell(state, Reply(value=value, stderr=stderr))
        np.testing.assert_array_equal(info["x"], candidate.x if info["accepted"] else np.zeros(2))
        following = method.ask(state)
        assert isinstance(following, Many)
        center = (following.parts[0].x + following.parts[1].x) / 2  # type: ignore[union-attr]
        np.testing.assert_allclose(center, candidate.x if info["accepted"] else np.zeros(2), atol=EXACT)
        return bool(info["accepted"])

    assert judged(0.9, None)
    assert not judged(1.0 + 1e-9, None)
    assert judged(1.0 + 1.9 * 0.1 * np.sqrt(2), 0.1)
    assert not judged(1.0 + 2.1 * 0.1 * np.sqrt(2), 0.1)


def test_a_step_has_the_error_bar_of_its_mean() -> None:
    trace = drive(SPSA(learning_rate=0.1, resamplings=3), replace(quadratic, noise=0.3), 1)
    assert trace.infos[0]["stderr"] == pytest.approx(0.3 / np.sqrt(6))
    assert "stderr" not in drive(SPSA(), quadratic, 2).infos[1]


def test_signs_belong_to_the_key_and_the_step() -> None:
    one, other = drive(SPSA(), quadratic, 5), drive(SPSA(), quadratic, 5, key=Key.from_seed(99))
    assert one.flat() != other.flat()
    assert one.flat() == drive(SPSA(), quadratic, 5).flat()
    # Another history gives other points and the same signs.
    signs = [
        [
            np.sign(parts(r)[0].x - parts(r)[1].x).tolist()
            for r in drive(SPSA(learning_rate=rate), quadratic, 5).requests
        ]
        for rate in (0.1, 0.2)
    ]
    assert signs[0] == signs[1]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be greater than 0"),
        ({"perturbation": "wide"}, TypeError, "perturbation must be a real number"),
        ({"first_step": None}, TypeError, "first_step must be a real number"),
        ({"perturbation": -0.1}, ValueError, "perturbation must be greater than 0"),
        ({"first_step": 0}, ValueError, "first_step must be greater than 0"),
        ({"largest_step": 0}, ValueError, "largest_step must be greater than 0"),
        ({"stability": -1}, ValueError, "stability must be at least 0"),
        ({"alpha": float("nan")}, ValueError, "alpha must be finite"),
        ({"gamma": "slow"}, TypeError, "gamma must be a real number"),
        ({"calibration": 0}, ValueError, "calibration must be at least 1"),
        ({"resamplings": 1.5}, TypeError, "resamplings must be an integer"),
        ({"blocking": "yes"}, TypeError, "blocking must be True or False"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        SPSA(**arguments)


def test_whole_numbers_are_numbers() -> None:
    assert SPSA(stability=20, alpha=1) == SPSA(stability=20.0, alpha=1.0)
