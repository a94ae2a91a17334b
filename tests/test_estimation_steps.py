"""Steps of finite differences under shot noise: near the best there is, and refused where they measure noise alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from varq.estimation import difference_step, sound_step
from varq.keys import Key

pytestmark = pytest.mark.flagless

SAME_SIZE = 2  # the scale of third derivatives is an estimate
NEAR = 1.25  # the formula bounds the bias by its leading term at the worst point; errors are compared on average


def mean_square(step: float, noise: float, frequency: float = 1.0) -> float:
    """Of the slope of cos(frequency x), averaged over x, from a central difference: in closed form."""
    bias = frequency * (1 - np.sin(frequency * step) / (frequency * step))
    return float(bias**2 / 2 + noise**2 / (2 * step**2))


@pytest.mark.parametrize("shots", [30, 100, 1000, 10**4, 10**6])
def test_no_other_step_is_much_better(shots: int) -> None:
    noise = 1 / np.sqrt(shots)
    grid = np.geomspace(1e-3, np.pi / 2, 2000)
    least = min(mean_square(h, noise) for h in grid)
    assert mean_square(difference_step(noise, 1.0), noise) <= NEAR * least


@pytest.mark.parametrize("dimension", [2, 8, 30])
def test_no_other_simultaneous_step_is_much_better(dimension: int) -> None:
    """Along random signs, for a sum of waves, with each frequency that one rotation gives: -1, 0 or 1."""
    generator = Key.from_seed(dimension).generator()
    waves = generator.integers(-1, 2, size=(200, dimension))
    phases = generator.uniform(0, 2 * np.pi, size=200)
    weights = np.full(200, 1 / np.sqrt(200 / 2))  # values of unit variance over x
    signs = generator.choice([-1.0, 1.0], size=(100, dimension))
    noise = 0.01
    along = waves @ signs.T

    def error(step: float) -> float:
        slope = -weights * np.sin(phases) @ along
        measured = -weights * np.sin(phases) @ np.sin(along * step) / step
        return float(np.mean((measured - slope) ** 2) + noise**2 / (2 * step**2))

    least = min(error(h) for h in np.geomspace(1e-3, 1.0, 400))
    assert error(difference_step(noise, 1.0, dimension)) <= SAME_SIZE * least


def test_steps_grow_with_noise_and_shrink_with_dimension() -> None:
    assert difference_step(0.0, 1.0) == 0.0
    assert difference_step(8e-3, 1.0) == pytest.approx(2 * difference_step(1e-3, 1.0))
    assert difference_step(1e-3, 1.0, 4) == pytest.approx(difference_step(1e-3, 1.0) / 2)
    assert difference_step(5e-3, 5.0) == pytest.approx(difference_step(1e-3, 1.0))
    assert difference_step(1e6, 1.0) == np.pi / 2


def test_a_tiny_step_is_refused_with_the_one_to_use() -> None:
    noise = 1 / np.sqrt(1000)
    with pytest.raises(ValueError, match=r"over 1e-05 has an error of 2.24e\+03.* Use a step of 0\.46"):
        sound_step(1e-5, noise, 1.0)
    assert sound_step(0.46, noise, 1.0) == 0.46
    assert sound_step(1e-5, 0.0, 1.0) == 1e-5


@pytest.mark.parametrize("noise", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("dimension", [1, 10])
def test_the_step_that_is_named_is_accepted(noise: float, dimension: int) -> None:
    best = difference_step(noise, 1.0, dimension)
    assert sound_step(best, noise, 1.0, dimension) == best


def test_too_few_shots_are_said_to_be_that() -> None:
    with pytest.raises(ValueError, match=r"shots are too few .* Use more shots"):
        sound_step(0.5, 10.0, 1.0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: difference_step(-1.0, 1.0), "stderr must be at least 0"),
        (lambda: difference_step(float("nan"), 1.0), "stderr must be finite"),
        (lambda: difference_step(0.1, 0.0), "scale must be greater than 0"),
        (lambda: difference_step(0.1, 1.0, 0), "dimension must be at least 1"),
        (lambda: sound_step(0.0, 0.1, 1.0), "step must be greater than 0"),
    ],
)
def test_wrong_arguments_are_named(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
