"""Robust phase estimation: cosines and sines of growing multiples of the phase, unwrapped one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from varq import checks
from varq.algorithms.phases import belief
from varq.algorithms.phases.method import PolicyMethod
from varq.algorithms.phases.policy import Believing, Setting, State

__all__ = ["Robust", "RobustPolicy"]


@dataclass(frozen=True)
class Robust:
    """Measure the cosine and the sine at powers 1, 2, 4, ..., 2^K; each level picks the nearest branch of the next.

    Kimmel, Low and Yoder, Phys. Rev. A 92, 062315 (2015).  Nothing is adapted and no model of noise is needed: it
    stays right while errors of the probabilities are below about 0.35.  V N^2 is 190 to 260.  The value is that of the
    branches.  The posterior density is kept beside it: `stderr` is its spread about the value, infinite where it points
    elsewhere, and the interval is its own.

    Args:
        slope: each of the two settings is repeated ceil(slope (K - k) + offset) times at the power 2^k.
        offset: of the same rule.

    Raises:
        ValueError: for a slope that is negative, or an offset that is not positive.

    Example:
        >>> Robust().schedule(3)
        (8, 6, 3, 1)
    """

    slope: float = 2.5
    offset: float = 0.5
    kind: ClassVar[str] = "policy:robust"
    version: ClassVar[int] = 1
    fresh: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", checks.real("slope", self.slope, minimum=0))
        object.__setattr__(self, "offset", checks.real("offset", self.offset, above=0))

    def schedule(self, highest: int) -> tuple[int, ...]:
        """How often each setting is repeated at the powers 1, 2, ..., 2^highest."""
        return tuple(math.ceil(self.slope * (highest - k) + self.offset) for k in range(highest + 1))

    @property
    def together(self) -> None:
        """Everything can be measured at once."""
        return None

    def policy(self, setting: Setting) -> RobustPolicy:
        """The policy for a budget and a noise."""
        return RobustPolicy(setting, self.schedule)

    def method(self, setting: Setting, together: int | None) -> PolicyMethod:
        """The method that a session drives, with so many experiments in a request."""
        return PolicyMethod(self.policy(setting), self.together if together is None else together)


class _Own(NamedTuple):
    """What is counted at this level, and the estimate of the levels before."""

    phase: Any
    cosine: Any
    sine: Any


class RobustPolicy(Believing):
    """`Robust` at work; the posterior density is kept beside its own estimate."""

    def __init__(self, setting: Setting, schedule: Any) -> None:
        self.setting = setting

        def cost(highest: int) -> int:
            return sum(2 * m << k for k, m in enumerate(schedule(highest)))

        if cost(0) > setting.applications:
            raise ValueError(
                f"applications must be at least {cost(0)} for this policy. Got {setting.applications}. Give more, or "
                "use the policy 'greedy'."
            )
        highest = 0
        while cost(highest + 1) <= setting.applications:
            highest += 1
        counts = schedule(highest)
        self.powers = np.repeat([1 << k for k in range(highest + 1)], [2 * m for m in counts])
        self._sines = np.concatenate([np.arange(2 * m) >= m for m in counts])
        self._last = np.concatenate([np.arange(2 * m) == 2 * m - 1 for m in counts])
        self.rounds = self._count = len(self.powers)
        self.longest = 1 << highest

    def init(self, xp: Any) -> State:
        """Nothing counted."""
        return self._start(xp, _Own(xp.asarray(0.0), xp.asarray(0.0), xp.asarray(0.0)))

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """Cosines, then sines, of each power."""
        at = xp.minimum(state.done, self._count - 1)
        over = self._over(xp, state) | (state.done >= self._count)
        power = xp.where(over, 0, xp.asarray(self.powers)[at])
        return power, xp.where(xp.asarray(self._sines)[at], math.pi / 2, 0.0)

    def update(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        """Count; at the end of a level, move to the branch that is nearest to the estimate so far."""
        at = xp.minimum(state.done, self._count - 1)
        vote = xp.where(power > 0, 1.0 - 2.0 * bit, 0.0)
        sines = xp.asarray(self._sines)[at]
        cosine, sine = state.own.cosine + xp.where(sines, 0.0, vote), state.own.sine + xp.where(sines, vote, 0.0)
        ends = xp.asarray(self._last)[at] & (power > 0)
        by = xp.maximum(power, 1)
        # As many zeros as ones in both settings point nowhere: the branch is then kept as it is.
        known = (cosine != 0) | (sine != 0)
        away = xp.where(known, belief.direction(xp, cosine + 1j * sine) - by * state.own.phase, 0.0)
        moved = state.own.phase + (xp.mod(away + math.pi, 2 * math.pi) - math.pi) / by
        own = _Own(xp.where(ends, moved, state.own.phase), xp.where(ends, 0.0, cosine), xp.where(ends, 0.0, sine))
        return self._learned(xp, state, power, angle, bit)._replace(own=own)

    def estimate(self, xp: Any, state: State) -> Any:
        """The unwrapped phase, radians in [0, 2 pi)."""
        return xp.mod(state.own.phase, 2 * math.pi)

    def ahead(self, state: State, most: int) -> tuple[list[int], list[float]]:
        """The rest of the schedule, or as much of it as is wanted."""
        limit = self.setting.experiments
        until = self._count if limit is None else min(self._count, limit)
        at = slice(int(state.done), min(until, int(state.done) + most))
        angles = np.where(self._sines[at], math.pi / 2, 0.0)
        return [int(p) for p in self.powers[at]], [float(a) for a in angles]
