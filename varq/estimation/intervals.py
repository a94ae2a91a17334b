"""Error bars: of the mean of a sample, of what is computed from several, and the intervals that they stand for."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks

__all__ = ["combined", "interval", "sample_mean"]

PRIOR_SHOTS = 2.0  # weight of what is known before measuring; 2 is Jeffreys' prior where a single word is measured


def sample_mean(energies: Any, deviation: float) -> tuple[float, float]:
    r"""The mean of independent shots and the variance of that mean.

    The textbook estimate, S / (n (n - 1)) with S the sum of squared deviations from the mean, is 0 whenever all shots
    agree, and two shots of a fair coin agree half of the time: an error bar of 0 that is wrong by everything. So two
    shots' worth of prior knowledge are added, the `deviation` D that the group has in the maximally mixed state:

        variance = (S + 2 D^2) / (n (n + 1)).

    For one word it is, to leading order, the variance of Jeffreys' posterior (a Beta(1/2, 1/2) prior on the chance
    of -1, Brown, Cai and DasGupta, Stat. Sci. 16, 101 (2001)); in the maximally mixed state its mean is the exact
    D^2 / n; a single shot has the error bar D. The prior's part of the error bar falls as 1/n, so it drowns in shot
    noise as n grows, and where all of many shots agree (the state may be an eigenstate) it says how far that was seen.

    Args:
        energies: of each shot, shape (shots,), at least one.
        deviation: the standard deviation of one shot that one expects before measuring; 0 gives S / (n (n + 1)).

    Raises:
        ValueError: without shots, or for numbers that are not finite.

    Example:
        >>> sample_mean([1.0, 1.0], deviation=1.0)
        (1.0, 0.3333333333333333)
    """
    values = checks.array("energies", energies, (None,))
    known = checks.real("deviation", deviation, minimum=0.0)
    shots = len(values)
    if not shots:
        raise ValueError("energies must hold at least one shot. Got none.")
    mean = float(values.mean())
    squares = float(np.sum((values - mean) ** 2))
    return mean, (squares + PRIOR_SHOTS * known**2) / (shots * (shots + 1))


def combined(weights: Any, means: Any, variances: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear combinations of independent estimates, and one standard error of each.

    An energy is the sum over its groups; a parameter-shift slope weighs the energies of shifted circuits; a gradient
    weighs slopes by the Jacobian of the gates' angles.  An estimate that takes part in several terms of one
    combination (a circuit that two shifts share, say) is one column, with its weights added up: errors of one sample
    do not add in quadrature.

    Args:
        weights: shape (..., estimates).
        means: of the estimates, shape (estimates,).
        variances: of the estimates, shape (estimates,), not negative.

    Returns:
        The combinations and their standard errors, shape (...).

    Raises:
        ValueError: for shapes that do not match, or a negative variance.

    Example:
        >>> value, stderr = combined([1.0, 1.0], [-0.5, -0.25], [0.0009, 0.0016])
        >>> float(value), round(float(stderr), 6)
        (-0.75, 0.05)
    """
    factors = checks.array("weights", weights)
    if not factors.ndim:
        raise ValueError("weights must have at least one axis, that of the estimates. Got a single number.")
    middle = checks.array("means", means, (factors.shape[-1],))
    spread = checks.array("variances", variances, middle.shape)
    if (spread < 0).any():
        raise ValueError(f"variances must not be negative. Got {float(spread.min()):.3g}.")
    return np.asarray(factors @ middle), np.asarray(np.sqrt(factors**2 @ spread))


def interval(value: Any, stderr: Any, level: float = 0.95) -> tuple[Any, Any]:
    """The interval of estimates with normal errors that covers the truth with probability `level`.

    Args:
        value: an estimate, or an array of them.
        stderr: one standard error of each, not negative.
        level: strictly between 0 and 1.

    Returns:
        Lower and upper ends, of the shape of `value`.

    Raises:
        ValueError: for another level, or a negative standard error.

    Example:
        >>> low, high = interval(-1.0, 0.1)
        >>> round(low, 3), round(high, 3)
        (-1.196, -0.804)
    """
    share = checks.real("level", level, above=0.0)
    if share >= 1:
        raise ValueError(f"level must be less than 1. Got {share}. Use 0.95 for 95 %.")
    if np.any(np.asarray(stderr) < 0):
        raise ValueError(f"stderr must not be negative. Got {float(np.min(stderr)):.3g}.")
    reach = NormalDist().inv_cdf((1 + share) / 2) * stderr
    return value - reach, value + reach
