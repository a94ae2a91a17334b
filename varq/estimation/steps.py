"""Step sizes of finite differences whose values carry shot noise."""

from __future__ import annotations

import math

from varq import checks

__all__ = ["difference_step", "sound_step"]

LARGEST_STEP = math.pi / 2  # where a gate of frequency 1 shows its largest difference; farther out it only falls


def difference_step(stderr: float, scale: float, dimension: int = 1) -> float:
    r"""The step h of a central difference that balances its bias and its noise.

    (f(x + h) - f(x - h)) / 2h differs from the slope by at most h^2 M / 6, M the size of the third derivative, and has
    the variance s^2 / (2 h^2) where each value has the standard error s. The sum of squared bias and variance is least
    at h = (3 s / M)^(1/3). An expectation value of Pauli rotations has derivatives of the size of the cost's own
    variation, so M is about `scale`: the norm sqrt(sum of c^2) of the coefficients c is typical, and sum |c| a bound.
    With n shots for a circuit and s = scale / sqrt(n), h = (9 / n)^(1/6): 0.46 for a thousand shots, in radians.

    Simultaneous perturbation (SPSA) moves all of d parameters by +-h at once. The third derivative along such a
    direction is a sum of d^3 terms of random signs, of size M d^(3/2); hence h falls as 1 / sqrt(d) and the length of
    the whole displacement stays the same.

    Args:
        stderr: one standard error of each value, in the cost's unit.
        scale: of the cost's variation, in the same unit.
        dimension: how many parameters move together.

    Returns:
        The step of each parameter in radians, at most pi / 2; 0 for values without noise.

    Raises:
        ValueError: for a negative standard error, a scale that is not positive, or a dimension below 1.

    References:
        J. C. Spall, IEEE Trans. Autom. Control 37, 332 (1992), for bias of order h^2 and variance of order 1 / h^2;
        IEEE Trans. Aerosp. Electron. Syst. 34, 817 (1998), for perturbations that grow with the noise.

    Example:
        >>> round(difference_step(stderr=1 / 1000**0.5, scale=1.0), 3)
        0.456
    """
    noise = checks.real("stderr", stderr, minimum=0.0)
    size = checks.real("scale", scale, above=0.0)
    count = checks.integer("dimension", dimension, 1)
    return min(math.cbrt(3 * noise / size) / math.sqrt(count), LARGEST_STEP)


def sound_step(step: float, stderr: float, scale: float, dimension: int = 1) -> float:
    """`step` itself, if the slope it measures can be seen through the noise.

    The slope of a central difference has the standard error s / (sqrt(2) h); no slope of Pauli rotations of
    frequency 1 is larger than about `scale`. A step whose noise is larger than that measures nothing but noise.

    Args:
        step: h, in radians.
        stderr: s, one standard error of each value, in the cost's unit.
        scale: of the cost's variation, in the same unit, as for `difference_step`.
        dimension: how many parameters move together.

    Raises:
        ValueError: if the step is too small for the noise, with the step to use; or if no step is large enough.

    Example:
        >>> sound_step(0.3, stderr=0.03, scale=1.0)
        0.3
    """
    h = checks.real("step", step, above=0.0)
    best = difference_step(stderr, scale, dimension)
    # All of d parameters together have slopes up to sqrt(d) times as large, for random signs.
    signal = scale * math.sqrt(dimension)
    noise = stderr / (math.sqrt(2) * h)
    if noise <= signal:
        return h
    said = f"a finite difference over {h:.3g} has an error of {noise:.3g}, more than any slope (about {signal:.3g})"
    if stderr / (math.sqrt(2) * best) > signal:
        raise ValueError(f"shots are too few for finite differences: {said}. Use more shots, or parameter shifts.")
    raise ValueError(f"step must be large enough to be seen through shot noise: {said}. Use a step of {best:.2g}.")
