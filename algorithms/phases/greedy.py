"""The default policy: each experiment is the one that promises most for what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.algorithms.phases import belief
from varq.algorithms.phases.method import PolicyMethod
from varq.algorithms.phases.policy import Believing, Setting, State, one_ahead

__all__ = ["Greedy", "GreedyPolicy", "usual_reserve"]

ANGLES = 16  # reference angles tried, over half a turn
TINY = 1e-15  # rounding of 1 - |a_1|^2
RESERVE = 6  # found best of 1, 3, 6 and 10 at N = 1024 and kept since


@dataclass(frozen=True)
class Greedy:
    """Choose the experiment of power p that has the largest log[(1 - S^2) / (1 - (E S')^2)] / p.

    S is the sharpness |<exp(i phase)>| of the density, and E S' the one that is expected after the experiment.  For
    narrow densities 1 - S^2 is the Holevo variance S^-2 - 1, whose logarithm is then made to fall fastest.

    Derived from the adaptive scheme of Higgins et al., Nature 450, 393 (2007), and Berry et al., Phys. Rev. A 80,
    052114 (2009), with the cost of an experiment in the gain and its noise in the likelihood.

    Args:
        reserve: times its own power that must be left for an experiment longer than one application; None for 1
            without noise, and 6 with noise, so that the last experiments are not long ones with an ambiguous answer.

    Raises:
        ValueError: for a reserve below 1.

    Example:
        >>> Greedy().reserve is None
        True
    """

    reserve: float | None = None
    kind: ClassVar[str] = "policy:greedy"
    version: ClassVar[int] = 2
    fresh: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.reserve is not None:
            object.__setattr__(self, "reserve", checks.real("reserve", self.reserve, minimum=1))

    @property
    def together(self) -> int:
        """Each experiment is chosen from what the one before told."""
        return 1

    def policy(self, setting: Setting) -> GreedyPolicy:
        """The policy for a budget and a noise."""
        return GreedyPolicy(setting, usual_reserve(setting, self.reserve))

    def method(self, setting: Setting, together: int | None) -> PolicyMethod:
        """The method that a session drives, with so many experiments in a request."""
        return PolicyMethod(self.policy(setting), self.together if together is None else together)


def usual_reserve(setting: Setting, given: float | None) -> float:
    """The reserve that was given, or else the usual one, which is larger under noise."""
    usual = RESERVE if setting.noisy else 1
    return float(usual if given is None else given)


class GreedyPolicy(Believing):
    """`Greedy` at work.

    With the moments a_j, the expected sharpness after an experiment of power p at angle t is |a_1 + d|/2 + |a_1 - d|/2
    with d = v/2 (exp(-i t) a_(1+p) + exp(i t) a_(1-p)).
    """

    def __init__(self, setting: Setting, reserve: float) -> None:
        self.setting = setting
        budget, coherence = setting.applications, setting.law.narrowest
        longest = max(1, min(budget // 4, int(min(2 * coherence, budget)), belief.enough(budget, setting.law, True)))
        steps = np.arange(0, 2 * math.log2(longest) + 1) / 2
        powers = np.unique(np.round(2**steps).astype(np.int64))
        self.powers = powers[powers <= longest]
        self.longest = int(self.powers[-1])
        self._need = np.where(self.powers > 1, reserve * self.powers, 1)
        self._angles = np.arange(ANGLES) * np.pi / ANGLES

    def init(self, xp: Any) -> State:
        """A flat density."""
        return self._start(xp)

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """The power and angle of the largest gain among powers of the square root of 2 and sixteen angles."""
        gain = self._gain(xp, state, self._sharpness(xp, state), self.powers[:, None])
        gain = xp.where((self._need > state.left)[:, None], -xp.inf, gain)
        best = belief.first_best(xp, gain)
        power = xp.where(self._over(xp, state), 0, xp.asarray(self.powers)[best // ANGLES])
        return power, xp.asarray(self._angles)[best % ANGLES]

    def _gain(self, xp: Any, state: State, sharp: Any, cost: Any) -> Any:
        """log[(1 - S^2) / (1 - (E S')^2)] for what it costs, with `sharp` for E S'."""
        now = xp.maximum(1 - xp.abs(xp.sum(state.moments[:, 1])) ** 2, TINY)
        return xp.log(now / xp.maximum(1 - sharp**2, TINY)) / cost

    def _sharpness(self, xp: Any, state: State) -> Any:
        """What is expected after an experiment of each power and angle, shape (powers, angles)."""
        powers, size = self.powers, state.moments.shape[1]
        v = self.setting.law.visibility(xp, powers) / 2
        up = xp.sum(v * state.moments[:, np.minimum(powers + 1, size - 1)], axis=0)
        down = xp.sum(v * xp.conj(state.moments[:, powers - 1]), axis=0)
        first = xp.sum(state.moments[:, 1])
        turn = np.exp(-1j * self._angles)
        shift = turn * up[:, None] + np.conj(turn) * down[:, None]
        return (xp.abs(first + shift) + xp.abs(first - shift)) / 2

    def update(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        """Bayes' rule."""
        return self._learned(xp, state, power, angle, bit)

    def ahead(self, state: State, most: int) -> tuple[list[int], list[float]]:
        """The next experiment, at several angles if several are wanted."""
        return one_ahead(self, state, most)
