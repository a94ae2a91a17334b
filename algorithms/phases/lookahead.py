"""A policy that looks two experiments ahead: it chooses the first of the pair that promises most for what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq.algorithms.phases import belief
from varq.algorithms.phases.greedy import Greedy, GreedyPolicy, usual_reserve
from varq.algorithms.phases.policy import Setting, State

__all__ = ["LookAhead", "LookAheadPolicy"]

SIGNS = np.array([1.0, -1.0])[:, None, None]  # of an outcome, before two axes of powers


@dataclass(frozen=True)
class LookAhead(Greedy):
    """Make the first of the pair of experiments that promises the largest gain, as `Greedy` counts it, per application.

    It is log[(1 - S^2) / (1 - (E S'')^2)] / (p + q), E S'' being the sharpness that is expected after experiments of
    powers p and q.
    The second of a pair is no longer than the first, and is chosen anew once that has told its outcome.  An experiment
    that is ambiguous by itself is found good if a shorter one can settle which branch is meant, and bad if none can:
    rare large errors, of which much of the variance of `Greedy` is made, are left out.  V N^2 falls from about 20 to
    about 17; a choice takes some twenty times as long.  Not from the literature: derived from `Greedy`, and measured by
    `benchmarks/phases.py`.  (A second experiment that may be longer than the first is always put off, and hundreds of
    short ones are made.)

    Args:
        reserve: as for `Greedy`.

    Raises:
        ValueError: for a reserve below 1.

    Example:
        >>> import numpy as np
        >>> from varq.algorithms import PhaseEstimation, phase_study
        >>> from varq.problems import EigenPhase
        >>> gate = EigenPhase(np.diag([1, 1j]), state=1)
        >>> study = phase_study(PhaseEstimation(problem=gate, policy=LookAhead(), applications=24), 200)
        >>> study.averaged[0] * 24**2 < 18
        True
    """

    kind: ClassVar[str] = "policy:look-ahead"
    version: ClassVar[int] = 1

    def policy(self, setting: Setting) -> LookAheadPolicy:
        """The policy for a budget and a noise."""
        return LookAheadPolicy(setting, usual_reserve(setting, self.reserve))


class LookAheadPolicy(GreedyPolicy):
    """`LookAhead` at work.

    After an experiment of power p at angle t with the outcome u, a moment is, but for a factor, b_j = a_j + (-1)^u v/2
    (exp(-i t) a_(j+p) + exp(i t) a_(j-p)); a second one of power q and angle s has the expected sharpness
    |b_1 + e|/2 + |b_1 - e|/2 with e = w/2 (exp(-i s) b_(1+q) + exp(i s) b_(1-q)), to be averaged over u.  The angle t
    is the one that is best for the first experiment alone: to try others too changed nothing that could be measured.
    """

    def __init__(self, setting: Setting, reserve: float) -> None:
        super().__init__(setting, reserve)
        first = self.powers[:, None]
        self._cost = first + self.powers
        needs = np.maximum(self._need[:, None], first + self._need)
        self._needs = np.where(self.powers <= first, needs, np.inf)

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """The power and angle with which the best pair begins; of the best single experiment where no pair is left."""
        sharp = self._sharpness(xp, state)
        likely = belief.first_best(xp, self._gain(xp, state, sharp, 1), axis=1)
        angles = xp.asarray(self._angles)[likely]
        pairs = self._gain(xp, state, self._after_two(xp, state, xp.exp(-1j * angles)), self._cost)
        pairs = xp.max(xp.where(self._needs > state.left, -xp.inf, pairs), axis=1)
        alone = self._gain(xp, state, xp.max(sharp, axis=1), self.powers)
        alone = xp.where(self._need > state.left, -xp.inf, alone)
        best = belief.first_best(xp, xp.where(xp.max(pairs) > -xp.inf, pairs, alone))
        return xp.where(self._over(xp, state), 0, xp.asarray(self.powers)[best]), angles[best]

    def _after_two(self, xp: Any, state: State, turn: Any) -> Any:
        """The expected sharpness after a first experiment of each power, and the best second one of each power.

        Args:
            xp: numpy or jax.numpy.
            state: what is known.
            turn: exp(-i angle) of the first experiments, shape (powers,).

        Returns:
            Shape (powers, powers).
        """
        p = self.powers
        v = self.setting.law.visibility(xp, p)
        turn = turn[:, None]

        def told(order: NDArray[np.int64], weight: Any) -> Any:
            """sum_h weight_h b_order for both outcomes, shape (2, powers, orders)."""
            still = xp.sum(weight * _taken(xp, state.moments, order), axis=0)
            joint = v[:, :, None] * weight[:, None, :] / 2
            up, down = (xp.sum(joint * _taken(xp, state.moments, order + s * p[:, None]), axis=0) for s in (1, -1))
            return still + SIGNS * (turn * up + xp.conj(turn) * down)

        first = told(np.array([1]), xp.ones((len(v), 1)))
        up, down = told(1 + p, v / 2), told(1 - p, v / 2)
        second = np.exp(-1j * self._angles)
        shift = up[..., None] * second + down[..., None] * np.conj(second)
        each = xp.abs(first[..., None] + shift) + xp.abs(first[..., None] - shift)
        return xp.sum(xp.max(each, axis=-1), axis=0) / 4


def _taken(xp: Any, moments: Any, orders: NDArray[np.int64]) -> Any:
    """The moments of these orders under each hypothesis, shape (h, ...): conjugates of negative ones, 0 beyond."""
    size = moments.shape[1]
    found = moments[:, np.minimum(np.abs(orders), size - 1)]
    found = xp.where(orders < 0, xp.conj(found), found)
    return xp.where(np.abs(orders) < size, found, 0.0)
