"""What is known of a phase: its circular moments, which Bayes' rule moves about and nothing else.

An experiment tells P(u | phase) = (1 + (-1)^u v cos(p phase - angle)) / 2.  Multiplied onto a density with the moments
a_j = <exp(i j phase)> it gives, up to a factor, a_j + (-1)^u v / 2 (exp(-i angle) a_(j+p) + exp(i angle) a_(j-p)): from
a flat density, experiments of N applications in all fill the moments to a_N and no further, so N of them are the exact
density.  Only those up to 1 + (applications left) can still reach a_1, the mean direction and its spread: half of N are
enough for every decision and for the answer.

Everything here is written for NumPy and for JAX alike: `xp` is one of the two modules.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Law",
    "below",
    "density",
    "direction",
    "enough",
    "first_best",
    "flat",
    "moment",
    "sharpness",
    "updated",
    "window",
]

MOST_VISIBLE = 1 - 1e-12  # an outcome that the model calls impossible must not divide by zero
TIE = 1e-9  # relative difference below which gains of narrow densities differ by rounding alone
NEGLIGIBLE = 7.85  # a Gaussian's moments beyond this over its width are below 1e-13


class Law(NamedTuple):
    """The visibility of experiments under each of several hypotheses: weight times contrast times exp(-rate power).

    Args:
        contrast: of preparation and readout, shape (h,).
        rate: at which it decays with each application, shape (h,).
        prior: probability of each hypothesis before the first experiment, shape (h,), of sum 1.
        weight: of the phase that is sought in the state; what other phases add to outcomes is taken for chance.
    """

    contrast: tuple[float, ...] = (1.0,)
    rate: tuple[float, ...] = (0.0,)
    prior: tuple[float, ...] = (1.0,)
    weight: float = 1.0

    def visibility(self, xp: Any, power: Any) -> Any:
        """Under each hypothesis, of shape (h,) and then that of `power`."""
        power = xp.asarray(power)
        over = (slice(None), *(None for _ in range(power.ndim)))
        v = self.weight * xp.asarray(self.contrast)[over] * xp.exp(-xp.asarray(self.rate)[over] * power)
        return xp.minimum(v, MOST_VISIBLE)

    @property
    def narrowest(self) -> float:
        """The longest coherence among the hypotheses, in applications; infinite without decay."""
        slowest = float(np.min(self.rate))
        return math.inf if slowest <= 0 else 1 / slowest


def enough(applications: int, law: Law, whole: bool) -> int:
    """How many moments to keep, a_0 not counted: for the density (`whole`) or for decisions and the answer.

    Decoherence keeps densities from growing narrow, and then their high moments vanish: the variance is at least
    2 e / (N T c^2) for N applications and a coherence of T of them (`Study.ramsey`).
    """
    exact = applications + 1 if whole else (applications + 1) // 2 + 1
    coherence = law.narrowest
    if math.isinf(coherence):
        return exact
    width = math.sqrt(2 * math.e / (applications * coherence))
    return min(exact, max(64, math.ceil(NEGLIGIBLE / width)))


def flat(xp: Any, law: Law, count: int) -> Any:
    """The moments of a flat density under each hypothesis, shape (h, count + 1), weighted by its probability."""
    first = xp.arange(count + 1) == 0
    return xp.where(first[None, :], xp.asarray(law.prior)[:, None], 0.0) + 0j


def window(values: Any, start: Any, size: int) -> Any:
    """`size` columns of `values` from `start` on, which JAX may know only when it runs."""
    if isinstance(values, np.ndarray):
        return values[:, int(start) : int(start) + size]
    return jax.lax.dynamic_slice_in_dim(values, start, size, axis=1)


def updated(xp: Any, moments: Any, law: Law, power: Any, angle: Any, bit: Any, longest: int) -> Any:
    """The moments after an experiment; unchanged for power 0.

    Args:
        xp: numpy or jax.numpy.
        moments: a_0 .. a_J under each hypothesis, shape (h, J + 1), with J >= longest.
        law: of the outcomes.
        power: of the experiment, at most `longest`; 0 for none.
        angle: of the experiment, radians.
        bit: what was measured.
        longest: largest power that ever comes.
    """
    size = moments.shape[1]
    reach = min(longest, size - 1)
    edge = xp.zeros((len(moments), reach), dtype=moments.dtype)
    padded = xp.concatenate([xp.conj(moments[:, reach:0:-1]), moments, edge], axis=1)
    sign = xp.where(power > 0, 1.0 - 2.0 * bit, 0.0)
    half = (law.visibility(xp, power) * (sign / 2))[:, None]
    turn = xp.exp(-1j * angle)
    shifted = turn * window(padded, reach + power, size) + xp.conj(turn) * window(padded, reach - power, size)
    new = moments + half * shifted
    return new / xp.sum(new[:, 0].real)


def moment(xp: Any, moments: Any, order: Any) -> Any:
    """a_j of all hypotheses together, for orders of either sign that are known or traced; 0 beyond those kept."""
    order = xp.asarray(order)
    inside = xp.abs(order) < moments.shape[1]
    found = xp.sum(moments, axis=0)[xp.where(inside, xp.abs(order), 0)]
    return xp.where(inside, xp.where(order < 0, xp.conj(found), found), 0.0)


def sharpness(xp: Any, moments: Any, value: Any) -> Any:
    """<cos(phase - value)>, of which the Holevo variance about `value` is made: |a_1| about the mean direction."""
    return (xp.sum(moments[:, 1]) * xp.exp(-1j * value)).real


def direction(xp: Any, value: Any) -> Any:
    """The angle of a complex number, radians; 0 for 0, of which XLA may make NaN where it knows it beforehand."""
    somewhere = (value.real != 0) | (value.imag != 0)
    return xp.arctan2(value.imag, xp.where(somewhere, value.real, 1.0))


def first_best(xp: Any, values: Any, axis: int | None = None, tie: float = TIE) -> Any:
    """The place of the first of the largest values, with those that rounding alone tells apart taken for equal.

    A flat density makes all angles alike: which one rounding prefers depends on how the code was compiled, and a policy
    must choose the same experiment wherever it runs.
    """
    top = xp.max(values, axis=axis, keepdims=axis is not None)
    return xp.argmax(values >= top - tie * xp.abs(top), axis=axis)


def density(moments: NDArray[np.complex128], points: int) -> NDArray[np.float64]:
    """Probability per radian at 2 pi k / points, k = 0 .. points - 1, of all hypotheses together.

    Args:
        moments: shape (h, J + 1).
        points: at least 2 J + 2, so that none is folded onto another.
    """
    joint = np.zeros(points // 2 + 1, dtype=np.complex128)
    kept = moments.sum(axis=0)
    joint[: len(kept)] = np.conj(kept)
    return np.asarray(np.fft.irfft(joint, points) * (points / (2 * np.pi)))


def below(xp: Any, moments: Any, center: Any, width: Any) -> Any:
    """The probability of the arc from `center` to `center + width`, radians, exact for the moments kept."""
    joint = xp.sum(moments, axis=0)[1:]
    j = xp.arange(1, moments.shape[1])
    waves = joint * xp.exp(-1j * j * center) * (1 - xp.exp(-1j * j * width)) / (1j * j)
    return (width + 2 * xp.sum(waves.real)) / (2 * np.pi)
