"""Trigonometric polynomials of one angle: from a few values to the exact global minimum."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm

import numpy as np

from varq.optimizers.vectors import vector
from varq.protocol import Array

__all__ = ["Grid", "base_frequency", "grid", "minimum"]

LARGEST = 64  # highest multiple of the base frequency; the degree of the polynomial whose roots are found is twice that
DENOMINATOR = 1000  # frequencies are taken for fractions with at most this denominator
SAME = 1e-12  # two minima closer than this, relative to the amplitude, count as equally deep


def base_frequency(frequencies: tuple[float, ...]) -> tuple[float, tuple[int, ...]]:
    """The largest frequency of which all given ones are whole multiples, and those multiples, ascending.

    Raises:
        ValueError: if there is none, or a multiple exceeds 64.

    Example:
        >>> base_frequency((0.5, 1.0))
        (0.5, (1, 2))
    """
    ratios = [Fraction(f).limit_denominator(DENOMINATOR) for f in frequencies]
    exact = all(abs(float(r) - f) <= 1e-9 * f for r, f in zip(ratios, frequencies, strict=True))
    scale = lcm(*(r.denominator for r in ratios))
    whole = [int(r * scale) for r in ratios]
    common = gcd(*whole)
    multiples = tuple(sorted({n // common for n in whole})) if exact and common else ()
    if not multiples or multiples[-1] > LARGEST:
        raise ValueError(
            f"frequencies must be whole multiples, up to {LARGEST}, of a common one. Got {frequencies}. "
            "A gate exp(-i t G) has the differences of the eigenvalues of G as frequencies, such as (0.5, 1.0)."
        )
    return float(Fraction(common, scale)), multiples


@dataclass(frozen=True, eq=False)
class Grid:
    """Where to evaluate a polynomial with given frequencies, and how to get its coefficients from the values.

    Args:
        base: the base frequency.
        multiples: the frequencies over the base, ascending.
        shifts: the angles, shape (2 R + 1,), of which the first is 0.
        inverse: from the values at `shifts` to the coefficients (1, cos, sin, cos, sin, ...), shape (2 R + 1, 2 R + 1).
    """

    base: float
    multiples: tuple[int, ...]
    shifts: Array
    inverse: Array

    def row(self, angle: float) -> Array:
        """The basis functions at `angle`."""
        return vector(_basis(np.array([self.base * angle]), self.multiples)[0])


def _basis(phases: Array, multiples: tuple[int, ...]) -> Array:
    columns = [np.ones_like(phases)]
    for m in multiples:
        columns += [np.cos(m * phases), np.sin(m * phases)]
    return vector(np.stack(columns, axis=1))


@lru_cache(maxsize=128)
def grid(frequencies: tuple[float, ...]) -> Grid:
    """The best-conditioned equally spaced grid for these frequencies.

    For multiples 1, ..., R it is the discrete Fourier transform's, whose coefficients have the least variance; with
    gaps among the multiples that one may be singular, and the spacing is searched for.
    """
    base, multiples = base_frequency(frequencies)
    count = 2 * len(multiples) + 1
    spacings = [2 * np.pi / count]
    if multiples[-1] != len(multiples):
        spacings += list(2 * np.pi * np.arange(1, 721) / 1441)
    phases = [vector(spacing * np.arange(count)) for spacing in spacings]
    conditions = [np.linalg.cond(_basis(p, multiples)) for p in phases]
    best = phases[int(np.argmin(conditions))]
    inverse = vector(np.linalg.inv(_basis(best, multiples)))
    return Grid(base, multiples, vector(best / base), inverse)


def minimum(coefficients: Array, of: Grid) -> tuple[float, float]:
    """The angle of the global minimum, within half a period of zero, and the polynomial's value there.

    Stationary points are the roots on the unit circle of the derivative as a polynomial in exp(i phase), found as
    eigenvalues of its companion matrix.  Every root's angle is tried, so one that rounding pushed off the circle (as
    double roots are) is not lost, and a coarse scan stands in where leading coefficients vanish.  Among equally deep
    minima the nearest is taken; a constant stays at zero.

    Args:
        coefficients: of 1, cos, sin, cos, sin, ..., shape (2 R + 1,).
        of: the grid that they came from.
    """
    cosines, sines = coefficients[1::2], coefficients[2::2]
    orders = np.array(of.multiples, dtype=np.float64)
    amplitude = float(np.sum(np.hypot(cosines, sines)))
    if amplitude <= 4 * np.finfo(np.float64).eps * abs(float(coefficients[0])) or amplitude == 0.0:
        return 0.0, float(coefficients[0])
    phases = _candidates(cosines / amplitude, sines / amplitude, of.multiples)
    phases = _polish(phases, cosines / amplitude, sines / amplitude, orders)
    values = _basis(phases, of.multiples) @ coefficients
    deepest = values <= values.min() + SAME * amplitude
    nearest = int(np.argmin(np.where(deepest, np.abs(phases), np.inf)))
    # Equal to SAME in value is equal to its square root in angle only: the rest is polished away.
    found = _polish(phases[[nearest]], cosines / amplitude, sines / amplitude, orders)
    return float(found[0] / of.base), float((_basis(found, of.multiples) @ coefficients)[0])


def _candidates(cosines: Array, sines: Array, multiples: tuple[int, ...]) -> Array:
    top = multiples[-1]
    polynomial = np.zeros(2 * top + 1, dtype=np.complex128)  # highest power first
    for m, a, b in zip(multiples, cosines, sines, strict=True):
        # a cos + b sin = Re[(a - ib) e^{im phase}]; the derivative brings down im.
        polynomial[top - m] += 0.5j * m * (a - 1j * b)
        polynomial[top + m] += -0.5j * m * (a + 1j * b)
    polynomial[np.abs(polynomial) < np.finfo(np.float64).eps] = 0.0
    scan = np.linspace(-np.pi, np.pi, 8 * top, endpoint=False)
    return np.concatenate([np.angle(np.roots(polynomial)), scan])


def _polish(phases: Array, cosines: Array, sines: Array, orders: Array) -> Array:
    for _ in range(4):
        c, s = np.cos(np.outer(phases, orders)), np.sin(np.outer(phases, orders))
        first = (orders * (sines * c - cosines * s)).sum(axis=1)
        second = -(orders**2 * (cosines * c + sines * s)).sum(axis=1)
        # Newton's step towards a minimum; elsewhere the candidate stays, it is one of many.
        convex = second > 1e-8
        step = np.divide(-first, second, out=np.zeros_like(first), where=convex)
        phases = phases + np.clip(step, -0.5, 0.5)
    return (phases + np.pi) % (2 * np.pi) - np.pi
