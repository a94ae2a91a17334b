"""What a policy of phase estimation is: it chooses experiments, and says what their outcomes came to."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from varq.algorithms.phases import belief
from varq.algorithms.phases.belief import Law
from varq.protocol import Method, Outcome

__all__ = ["Believing", "Concluding", "Policy", "PolicySpec", "Sequential", "Setting", "State", "one_ahead"]


@dataclass(frozen=True)
class Setting:
    """What a policy has to work with.

    Args:
        applications: of the controlled unitary, at most, over all experiments.
        law: of the outcomes, as the policy believes it to be.
        whole: whether the whole density is kept, or the moments that decisions and the answer need.
        experiments: at most; None for no limit.
    """

    applications: int
    law: Law
    whole: bool = True
    experiments: int | None = None

    @property
    def noisy(self) -> bool:
        """Whether any hypothesis has outcomes that the phase alone does not explain."""
        return bool(np.max(self.law.rate) > 0 or self.law.weight * np.min(self.law.contrast) < 1)

    def moments(self, least: int = 1) -> int:
        """How many moments to keep, at least `least`."""
        return max(belief.enough(self.applications, self.law, self.whole), least)

    def flat(self, xp: Any, least: int = 1) -> Any:
        """No knowledge of the phase."""
        return belief.flat(xp, self.law, self.moments(least))


class State(NamedTuple):
    """What a policy knows: arrays of fixed shapes, which JAX can carry.

    Args:
        moments: of the posterior density under each hypothesis of the noise, shape (h, J + 1).
        left: applications that may still be spent.
        done: experiments so far.
        own: what the policy itself remembers.
    """

    moments: Any
    left: Any
    done: Any
    own: Any = ()


class Policy(Protocol):
    """Deterministic code that chooses experiments, for NumPy and for JAX alike (`xp` is one of the two)."""

    setting: Setting
    longest: int
    """Largest power of any experiment."""

    rounds: int | None
    """How many experiments there are, where that is known beforehand."""

    def init(self, xp: Any) -> State:
        """Before the first experiment."""

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """The next experiment: its power (0: there is none) and its angle in radians."""

    def update(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        """After its outcome; the same state if the power is 0."""

    def estimate(self, xp: Any, state: State) -> Any:
        """The phase, radians."""

    def ahead(self, state: State, most: int) -> tuple[list[int], list[float]]:
        """Up to `most` experiments that may be made at once, powers and angles; none at the end.  NumPy alone."""


class Concluding(Method, Protocol):
    """A method whose state holds the answer."""

    def conclude(self, told: Any) -> Outcome:
        """The answer of a run, from its last state."""


class PolicySpec(Protocol):
    """A policy as a value that a run can be told by."""

    kind: str
    version: int
    fresh: bool
    """Whether it needs a state that is prepared anew for each experiment, rather than one that experiments collapse."""

    def method(self, setting: Setting, together: int | None) -> Concluding:
        """What a session drives, with at most so many experiments in a request; None for the policy's own number."""


class Sequential(PolicySpec, Hashable, Protocol):
    """A policy that learns from one experiment after the other, about one phase: studies can run it."""

    @property
    def together(self) -> int | None:
        """How many experiments a request holds if nobody says otherwise; None for all that can be made at once."""

    def policy(self, setting: Setting) -> Policy:
        """The policy for a budget and a noise."""


class Believing:
    """What policies have in common that answer with the mean of the posterior density."""

    setting: Setting
    longest: int
    rounds: int | None = None

    def _start(self, xp: Any, own: Any = (), least: int = 1) -> State:
        left = xp.asarray(self.setting.applications)
        return State(self.setting.flat(xp, max(least, self.longest + 1)), left, xp.asarray(0), own)

    def _learned(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        moments = belief.updated(xp, state.moments, self.setting.law, power, angle, bit, self.longest)
        return State(moments, state.left - power, state.done + (power > 0), state.own)

    def _over(self, xp: Any, state: State) -> Any:
        most = self.setting.experiments
        spent = state.left < 1
        return spent if most is None else spent | (state.done >= most)

    def estimate(self, xp: Any, state: State) -> Any:
        """The mean direction of the posterior density, radians in [0, 2 pi)."""
        return xp.mod(belief.direction(xp, belief.moment(xp, state.moments, 1)), 2 * math.pi)


def one_ahead(policy: Policy, state: State, most: int) -> tuple[list[int], list[float]]:
    """The next experiment `most` times, its angle turned on by pi / most each time: all at once, nothing is adapted."""
    power, angle = policy.choose(np, state)
    if not power:
        return [], []
    limit = policy.setting.experiments
    room = int(state.left) // int(power)
    count = min(most, room if limit is None else min(room, limit - int(state.done)))
    return [int(power)] * count, [float(angle) + math.pi * m / count for m in range(count)]
