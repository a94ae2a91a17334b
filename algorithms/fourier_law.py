"""The law of batch phase estimation in closed form, and the phase that its outcomes tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.algorithms.phases.posterior import TWO_PI, Posterior
from varq.protocol import Array

__all__ = ["STATES", "Estimate", "estimate", "holevo_variance", "outcome_law"]

STATES = ("uniform", "sine")
_GRID = 22  # the posterior has at most 2**22 points
_SHARES = 24  # of the outcomes that follow the law of one phase, where the others may be anywhere
_NEVER = -690.0  # log of a probability of zero: below every double, and finite
_PROBABILITY = 0.95  # inside the credible interval


def outcome_law(phases: Any, weights: Any, bits: int, state: str = "uniform") -> Array:
    """The probability of each outcome k, which stands for the phase 2 pi k / T, T = 2**bits; shape (T,).

    For one phase and the amplitudes a_x of the control's input it is |sum_x a_x exp(i x (phase - 2 pi k / T))|^2 / T.
    With D(d) = sum_x exp(i x d) = exp(i (T - 1) d / 2) sin(T d / 2) / sin(d / 2), "uniform" gives |D(d)|^2 / T^2 (Cleve
    et al., Proc. R. Soc. A 454, 339 (1998)) and "sine" |exp(i s) D(d + s) - exp(-i s) D(d - s)|^2 / (2 T (T + 1)) with
    s = pi / (T + 1).  A state of several eigenphases gives the mixture.

    Args:
        phases: radians, shape (v,).
        weights: of the phases, shape (v,), of sum 1.
        bits: t.
        state: of the controls, "uniform" or "sine".

    Raises:
        ValueError: for an unknown state, or lengths that differ.

    Example:
        >>> outcome_law([np.pi / 2], [1.0], bits=2).round(12).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """
    checks.choice("state", state, STATES)
    size = 1 << checks.integer("bits", bits, minimum=1)
    angles = checks.array("phases", phases, (None,))
    shares = checks.array("weights", weights, (len(angles),))
    away = angles[:, None] - TWO_PI * np.arange(size)[None, :] / size
    found: Array = shares @ _chance(away, size, state)
    return found


def _chance(away: Array, size: int, state: str) -> Array:
    """The probability of an outcome whose phase differs by `away` from the true one."""
    if state == "uniform":
        return np.asarray(np.abs(_dirichlet(away, size)) ** 2 / size**2, dtype=np.float64)
    shift = math.pi / (size + 1)
    turned = np.exp(1j * shift) * _dirichlet(away + shift, size) - np.exp(-1j * shift) * _dirichlet(away - shift, size)
    return np.asarray(np.abs(turned) ** 2 / (2 * size * (size + 1)), dtype=np.float64)


def _dirichlet(angle: Array, size: int) -> NDArray[np.complex128]:
    """The sum of exp(i x angle) over x = 0 .. size-1."""
    # In (-pi, pi], where sin(angle / 2) is 0 at 0 alone: the remainder is exact, and so is the ratio near 0.
    near = np.remainder(angle + np.pi, TWO_PI) - np.pi
    small = np.abs(near) < 1e-12
    ratio = np.sin(size * near / 2) / np.sin(np.where(small, 1.0, near / 2))
    return np.asarray(np.where(small, size, ratio) * np.exp(0.5j * (size - 1) * near), dtype=np.complex128)


def holevo_variance(bits: int, state: str = "uniform") -> float:
    """The Holevo variance of one shot, averaged over all phases, from the law of its outcomes.

    With N = 2**bits - 1 applications it is (1 + 1/N)^2 - 1 for "uniform" and tan(pi / (N + 2))^2 for "sine".  The mean
    over the phases is a sum over an even grid, exact for a trigonometric polynomial.

    Raises:
        ValueError: for an unknown state.

    Example:
        >>> abs(holevo_variance(3) - ((8 / 7) ** 2 - 1)) < 1e-12
        True
    """
    checks.choice("state", state, STATES)
    size = 1 << checks.integer("bits", bits, minimum=1)
    away = TWO_PI * np.arange(4 * size) / (4 * size)
    sharpness = float(_chance(away, size, state) @ np.cos(away)) / 4
    return sharpness**-2 - 1


@dataclass(frozen=True)
class Estimate:
    """What outcomes tell of a phase.

    Args:
        phase: the posterior's mean direction, radians in [0, 2 pi).
        deviation: the square root of the posterior's Holevo variance, radians.
        interval: a 95 % credible interval, low to high, counter-clockwise.
    """

    phase: float
    deviation: float
    interval: tuple[float, float]


def estimate(counts: Any, state: str = "uniform", background: bool = False) -> Estimate:
    """The phase that outcomes tell, by Bayes' rule from a flat prior.

    On the grid of phases 2 pi (g + r/R) / T the likelihood is for each r a circular convolution of the counts with the
    logarithm of the law: one fast Fourier transform each.  The grid is finer the more shots there are.

    Args:
        counts: of each outcome, shape (T,), T a power of two.
        state: of the controls.
        background: whether some of the outcomes, of unknown share, may be anywhere: the other phases of a state that is
            no eigenstate, and noise.  The estimate is then of the phase that is seen most.

    Raises:
        ValueError: for counts that are negative or all zero, or an unknown state.

    Example:
        >>> found = estimate([0, 3, 0, 0])
        >>> round(found.phase, 9) == round(np.pi / 2, 9)
        True
    """
    checks.choice("state", state, STATES)
    seen = checks.array("counts", counts, (None,))
    size = len(seen)
    if size < 2 or size & (size - 1) or seen.min() < 0 or not seen.sum():
        raise ValueError(
            f"counts must hold how often each of 2^t outcomes was seen, and some shots. Got {size} entries of sum "
            f"{seen.sum():g}. Give np.bincount(outcomes, minlength=2**bits)."
        )
    finer = max(16, 1 << math.ceil(math.log2(8 * math.sqrt(max(1.0, float(seen.sum()))))))
    finer = max(2, min(finer, (1 << _GRID) // size))
    away = TWO_PI * (np.arange(size)[None, :] + np.arange(finer)[:, None] / finer) / size
    chance = _chance(away, size, state)
    transformed = np.fft.rfft(seen)

    def weighed(law: Array) -> Array:
        logs = np.maximum(np.log(np.maximum(law, np.finfo(float).tiny)), _NEVER)
        return np.asarray(np.fft.irfft(np.fft.rfft(logs, axis=1) * transformed, size, axis=1))

    if background:
        shares = (np.arange(_SHARES) + 0.5) / _SHARES
        found = np.logaddexp.reduce([weighed(s * chance + (1 - s) / size) for s in shares], axis=0)
    else:
        found = weighed(chance)
    weights = np.exp(found - found.max()).T.ravel()
    posterior = Posterior(weights / weights.sum())
    # Where even the finest grid is too coarse, the phase is known no better than to one of its cells.
    cell = TWO_PI / len(weights)
    return Estimate(posterior.mean, max(posterior.deviation, cell / math.sqrt(12)), posterior.interval(_PROBABILITY))
