"""One observable measured on several devices: estimates weighed by their variances, without a bias of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.estimation.groups import Group
from varq.estimation.intervals import PRIOR_SHOTS, sample_mean

__all__ = ["LEAST_PART", "weighed"]

LEAST_PART = 64
"""Shots of a circuit on each device, below which its estimates are not weighed: the spread of the 32 in each half is
known to 25 % where energies are bell-shaped, and worse where they are not."""

DOUBT = 2.0
"""Times the difference between spreads that chance makes, which counts as chance.  Simulated for two devices of 64 to
2000 shots: with 1 a rare outcome that one of them happened to show makes error bars up to 6 % too small, and with 3
differences of twice the variance go unseen more often."""


@dataclass(frozen=True)
class _Half:
    """One circuit on one device, every other shot: how many, their mean, sums of squares and fourth powers about it."""

    shots: int
    mean: float
    squares: float
    fourths: float

    @classmethod
    def of(cls, energies: NDArray[np.float64]) -> _Half:
        mean = float(energies.mean())
        squares = (energies - mean) ** 2
        return cls(len(energies), mean, float(squares.sum()), float((squares**2).sum()))


@dataclass(frozen=True)
class _Part:
    """One circuit on one device: its halves, which take turns so that a drift is in both; and the spread of a shot."""

    halves: tuple[_Half, _Half]
    spread: float

    @classmethod
    def of(cls, energies: NDArray[np.float64], deviation: float) -> _Part:
        spread = sample_mean(energies, deviation)[1] * len(energies)
        return cls((_Half.of(energies[0::2]), _Half.of(energies[1::2])), spread)


def weighed(group: Group, measured: Sequence[Mapping[int, Any]]) -> list[tuple[float, float]]:
    r"""The group's energy in each of several circuits, and the variance of that estimate, from one or more devices.

    With means m_d of n_d shots on device d, whose single shots have the variance s_d^2, a linear combination
    sum(w_d m_d) with sum(w_d) = 1 has the variance sum(w_d^2 s_d^2 / n_d).  By Lagrange's multiplier that is least for
    w_d proportional to n_d / s_d^2, the inverse variances, and then is 1 / sum(n_d / s_d^2).  Where the s_d are equal
    the w_d are the parts of the shots, and the estimate is the mean of all shots.

    **Without a bias.**  The s_d are not known.  Weights from the variances of the same shots have a bias: mean and
    variance of a sample have the covariance k3 / n, with k3 the third central moment of a shot, so that for D devices
    with equal s the expectation is off by -(D - 1) k3 / (s^2 N) for N shots in all.  Energies near an eigenstate are
    skewed: with a chance of 1 % of the rarer outcome and N = 200 that is 0.7 standard errors.  So the shots of each
    device are taken in two halves, and each half is weighed by the spreads of the other:

        estimate = sum over halves h of (N_h / N) sum_d w_d(other half) m_d,h.

    Means and weights are then independent, and the weights add up to 1: where every device has the same expectation,
    that of the estimate is exact, whatever the number of shots or their law.

    **Spreads with doubt.**  A rare outcome that one device happened to show is no reason to trust the other more.
    Under one law for all devices, n_d shots give s_d^2 with the variance v / n_d, v = m4 - s^4 with m4 the fourth
    central moment, and X = sum_d n_d (s_d^2 - s^2)^2 / v is D - 1 on average.  So each s_d^2 is drawn towards the
    common s^2 by the positive part of James and Stein's factor, 1 - 2 (D - 1) / X: where the spreads do not differ
    beyond chance, shots count alike.

    **Its variance** is sum_h (N_h / N)^2 sum_d w_d,h^2 s_d^2 / n_d,h up to terms of order 1 / N^2 (the two halves
    correlate by the product of two biases as above), and is estimated with the s_d of all shots as
    `varq.estimation.intervals.sample_mean` gives them.

    **Differences stay differences.**  The circuits given together differ in their numbers alone, and are what is
    subtracted from one another (the shifts of a gradient, the two sides of SPSA).  Their spreads are averaged over
    all of them, so that their weights are the same but for the rounding of shots: machines differ in their noise, and
    with weights of its own each circuit would be another mixture of machines, and their differences look like slopes.

    Where devices have different noise the expectation is the weighted mean of their expectations, each with its own
    error; a variance says nothing of which is nearer to the truth, and a machine that always gives the same wrong bits
    has the least of all.

    Args:
        group: of words that are measured together.
        measured: for each circuit its bits by device: 0 and 1, shape (shots, wires), wire 0 first.

    Returns:
        The energy and its variance, for each circuit.  A circuit on one device, or with fewer than `LEAST_PART` shots
        on one of several, gives the mean of all its shots.

    Raises:
        ValueError: for bits that the group cannot read.

    References:
        F. A. Graybill and R. B. Deal, Biometrics 15, 543 (1959): weights from the same samples, which for normal ones
        have no bias.  V. Chernozhukov et al., Econometrics Journal 21, C1 (2018): halves that serve each other.
        B. Efron and C. Morris, J. Am. Stat. Assoc. 70, 311 (1975): shrinking by the positive part.

    Example:
        >>> from varq.estimation.groups import measurement_groups
        >>> from varq.problems.pauli import PauliSum
        >>> _, (group,) = measurement_groups(PauliSum.from_words({"Z": 1.0}))
        >>> weighed(group, [{0: [[0]] * 100}, {0: [[0]] * 100, 1: [[0]] * 300}])[1][0]
        1.0
    """
    energies = [{device: group.energies(bits) for device, bits in some.items()} for some in measured]
    several = [len(some) > 1 and min(map(len, some.values())) >= LEAST_PART for some in energies]
    parts = [
        {device: _Part.of(found, group.deviation) for device, found in some.items()} if weigh else {}
        for some, weigh in zip(energies, several, strict=True)
    ]
    spreads = [_spreads(parts, half, group.deviation) for half in (0, 1)]
    return [
        _combined(mine, spreads) if weigh else sample_mean(np.concatenate(_in_order(some)), group.deviation)
        for some, mine, weigh in zip(energies, parts, several, strict=True)
    ]


def _in_order(parts: Mapping[int, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    return [parts[device] for device in sorted(parts)]


def _spreads(parts: Sequence[Mapping[int, _Part]], half: int, deviation: float) -> dict[int, float]:
    """The variance of one shot on each device over all circuits, as one half of the shots shows it beyond chance."""
    devices = sorted({device for some in parts for device in some})
    if not devices:
        return {}
    halves = {d: [some[d].halves[half] for some in parts if d in some] for d in devices}
    prior = PRIOR_SHOTS * deviation**2
    shots = np.array([sum(one.shots for one in halves[d]) for d in devices], dtype=np.float64)
    means = np.array([len(halves[d]) for d in devices])  # one is taken off in each circuit
    squares = np.array([sum(one.squares for one in halves[d]) for d in devices])
    fourths = sum(one.fourths for d in devices for one in halves[d]) + len(devices) * prior * deviation**2
    own = (squares + prior) / (shots - means + PRIOR_SHOTS)
    common = float(shots @ own / shots.sum())
    chance = DOUBT * (len(devices) - 1) * max(0.0, fourths / float(shots.sum()) - common**2)
    seen = float(shots @ (own - common) ** 2)
    factor = 1.0 - chance / seen if seen > chance else 0.0
    return dict(zip(devices, (common + factor * (own - common)).tolist(), strict=True))


def _combined(parts: Mapping[int, _Part], spreads: Sequence[Mapping[int, float]]) -> tuple[float, float]:
    """The estimate of one circuit and its variance."""
    devices = sorted(parts)
    spread = np.array([parts[d].spread for d in devices])
    total = sum(half.shots for part in parts.values() for half in part.halves)
    mean = variance = 0.0
    for here in (0, 1):
        halves = [parts[d].halves[here] for d in devices]
        shots = np.array([half.shots for half in halves], dtype=np.float64)
        others = np.array([spreads[1 - here][d] for d in devices])
        weights = shots / (others if others.all() else 1.0)  # without any coefficient nothing spreads
        weights *= shots.sum() / total / weights.sum()
        mean += float(weights @ np.array([half.mean for half in halves]))
        variance += float(weights**2 @ (spread / shots))
    return mean, variance
