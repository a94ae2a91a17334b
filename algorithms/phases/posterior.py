"""Probability densities of a phase, on the circle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from varq.algorithms.phases import belief
from varq.protocol import Array

__all__ = ["TWO_PI", "Posterior"]

TWO_PI = 2 * math.pi
MOST_DRAWN = 4096  # points of a density that is kept with a result


@dataclass(frozen=True, eq=False)
class Posterior:
    """A density on an even grid over [0, 2 pi).

    Args:
        weights: probability of each grid cell, shape (n,), sum 1.

    Example:
        >>> flat = Posterior.flat(64)
        >>> bool(abs(flat.moments[1]) < 1e-12)
        True
    """

    weights: Array

    @classmethod
    def flat(cls, size: int) -> Posterior:
        """No knowledge: every phase alike."""
        return cls(np.full(size, 1 / size))

    @classmethod
    def from_moments(cls, moments: NDArray[np.complex128]) -> Posterior:
        """The density with the moments <exp(i j phase)>, j = 0 .. J, on at least four points for each.

        Args:
            moments: under each hypothesis of the noise, weighted by its probability, shape (h, J + 1).
        """
        points = 1 << max(6, math.ceil(math.log2(4 * moments.shape[1])))
        weights = np.maximum(belief.density(moments, points), 0.0)
        return cls(weights / weights.sum())

    @cached_property
    def moments(self) -> NDArray[np.complex128]:
        """<exp(i j phase)> for j = 0 .. n/2."""
        return np.asarray(np.conj(np.fft.rfft(self.weights)))

    @property
    def grid(self) -> Array:
        """The phases of the cells, radians, shape (n,)."""
        return np.arange(len(self.weights), dtype=np.float64) * (TWO_PI / len(self.weights))

    @property
    def density(self) -> Array:
        """Probability per radian at each grid point, shape (n,)."""
        return self.weights * (len(self.weights) / TWO_PI)

    @property
    def mean(self) -> float:
        """The mean direction, in [0, 2 pi)."""
        return float(np.angle(self.moments[1])) % TWO_PI

    @property
    def deviation(self) -> float:
        """The square root of the Holevo variance |<exp(i phase)>|^-2 - 1; infinite for a flat density."""
        sharpness = abs(complex(self.moments[1]))
        # Below this the mean direction is rounding noise of the transform.
        if sharpness < 1e-12:
            return math.inf
        return math.sqrt(max(sharpness**-2 - 1, 0.0))

    @cached_property
    def drawn(self) -> NDArray[np.int64]:
        """The cells by which it is drawn, rising, shape (k,), k up to 4,096.

        All, or where there are more, even ones around the circle and as many again, densest where it is largest.
        """
        size, half = len(self.weights), MOST_DRAWN // 2
        if size <= MOST_DRAWN:
            return np.arange(size)
        # Of the root, so that tails have their points too.
        risen = np.cumsum(np.sqrt(self.weights))
        peaks = np.searchsorted(risen, np.linspace(0, 1, half) * risen[-1])
        return np.union1d(np.arange(half) * size // half, np.minimum(peaks, size - 1))

    def interval(self, probability: float) -> tuple[float, float]:
        """The arc from low to high, counter-clockwise, that leaves equal tails around the mean direction.

        Args:
            probability: inside the arc.

        Returns:
            (low, high) in [0, 2 pi); low > high when the arc holds the phase 0.
        """
        size = len(self.weights)
        middle = round(self.mean / TWO_PI * size)
        centered = np.roll(self.weights, size // 2 - middle)
        steps = np.concatenate([[0.0], np.cumsum(centered)])
        edges = (np.arange(size + 1) - size // 2 - 0.5 + middle) * (TWO_PI / size)
        tail = (1 - probability) / 2
        low, high = np.interp([tail, 1 - tail], steps / steps[-1], edges)
        return float(low % TWO_PI), float(high % TWO_PI)
