"""Policies that go down the powers of two, from the longest experiments to the shortest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.algorithms.phases import belief
from varq.algorithms.phases.method import PolicyMethod
from varq.algorithms.phases.policy import Believing, Setting, State

__all__ = ["Higgins", "LadderPolicy", "Semiclassical"]

ANGLES = 24  # reference angles tried, over half a turn
EQUAL = 1e-12  # of sharpnesses, by rounding; larger ones tell angles apart that guard against rare large errors


@dataclass(frozen=True)
class Semiclassical:
    """Textbook phase estimation with one control qubit: the inverse Fourier transform bit by bit, last bit first.

    Its outcomes have the law of the quantum Fourier transform on t qubits (Griffiths and Niu, Phys. Rev. Lett. 76, 3228
    (1996)), for N = 2^t - 1 applications: V = (1 + 1/N)^2 - 1, which does not reach the Heisenberg scaling.  Under
    noise it has a floor of error that no number of applications lowers: use `Greedy` there.

    Example:
        >>> Semiclassical().kind
        'policy:semiclassical'
    """

    kind: ClassVar[str] = "policy:semiclassical"
    version: ClassVar[int] = 1
    fresh: ClassVar[bool] = False

    @property
    def together(self) -> int:
        """Each angle is computed from the bits before."""
        return 1

    def policy(self, setting: Setting) -> LadderPolicy:
        """The policy for a budget and a noise."""
        return LadderPolicy(setting, lambda level: 1, adaptive=False)

    def method(self, setting: Setting, together: int | None) -> PolicyMethod:
        """The method that a session drives, with so many experiments in a request."""
        return PolicyMethod(self.policy(setting), self.together if together is None else together)


@dataclass(frozen=True)
class Higgins:
    """Repeat each power of two and feed the answer forward to the next lower one: Heisenberg scaling.

    The adaptive form repeats each power 6 times and chooses each angle anew (Higgins et al., Nature 450, 393 (2007):
    V N^2 near 23); the non-adaptive one repeats the power 2^k of K + 1 powers 2 + 3 (K - k) times at fixed angles
    (Higgins et al., New J. Phys. 11, 073023 (2009): V N^2 near 40).

    Args:
        adaptive: which of the two.
        repeats: of the highest power; None for 6 and 2.
        extra: further repeats for each level below; None for 0 and 3.

    Raises:
        ValueError: for repeats below 1, or a negative extra.

    Example:
        >>> Higgins(adaptive=False).schedule(2)
        (2, 5, 8)
    """

    adaptive: bool = True
    repeats: int | None = None
    extra: int | None = None
    kind: ClassVar[str] = "policy:higgins"
    version: ClassVar[int] = 2
    fresh: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checks.instance("adaptive", self.adaptive, bool)
        if self.repeats is not None:
            object.__setattr__(self, "repeats", checks.integer("repeats", self.repeats, 1))
        if self.extra is not None:
            object.__setattr__(self, "extra", checks.integer("extra", self.extra, 0))

    def _repeats(self, below: int) -> int:
        first = (6 if self.adaptive else 2) if self.repeats is None else self.repeats
        each = (0 if self.adaptive else 3) if self.extra is None else self.extra
        return first + each * below

    def schedule(self, highest: int) -> tuple[int, ...]:
        """How often the powers 2^highest, ..., 2, 1 are repeated."""
        return tuple(self._repeats(below) for below in range(highest + 1))

    @property
    def together(self) -> int | None:
        """One experiment where each angle is chosen anew, else all of one power."""
        return 1 if self.adaptive else None

    def policy(self, setting: Setting) -> LadderPolicy:
        """The policy for a budget and a noise."""
        return LadderPolicy(setting, self._repeats, self.adaptive)

    def method(self, setting: Setting, together: int | None) -> PolicyMethod:
        """The method that a session drives, with so many experiments in a request."""
        return PolicyMethod(self.policy(setting), self.together if together is None else together)


class LadderPolicy(Believing):
    """Powers 2^K, ..., 2, 1, each repeated, with angles that take off what the higher powers told.

    Args:
        setting: what there is to work with; K is the largest for which the applications suffice.
        repeats: of a power, by how many levels it is below the highest.
        adaptive: whether every angle is chosen for the largest expected sharpness, or they are spread over half a turn.
    """

    def __init__(self, setting: Setting, repeats: Any, adaptive: bool) -> None:
        self.setting = setting
        self._adaptive = adaptive
        highest, cost = 0, repeats(0)
        if cost > setting.applications:
            raise ValueError(
                f"applications must be at least {cost} for this policy. Got {setting.applications}. Give more, or use "
                "the policy 'greedy'."
            )
        while (more := sum(repeats(highest + 1 - k) << k for k in range(highest + 2))) <= setting.applications:
            highest, cost = highest + 1, more
        counts = [repeats(below) for below in range(highest + 1)]
        powers = [1 << (highest - below) for below in range(highest + 1)]
        self.powers = np.repeat(np.array(powers, dtype=np.int64), counts)
        self._turns = np.concatenate([np.arange(m) / m for m in counts]) * np.pi
        self._first = np.concatenate([np.arange(m) == 0 for m in counts])
        self.rounds = self._count = len(self.powers)
        self.longest = 1 << highest
        self._angles = np.arange(ANGLES) * np.pi / ANGLES

    def init(self, xp: Any) -> State:
        """A flat density, and no angle to take off."""
        return self._start(xp, own=xp.asarray(0.0), least=2 * self.longest)

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """The power of this step, at the angle that what is known of twice the phase times this power asks for."""
        at = xp.minimum(state.done, self._count - 1)
        power, first = xp.asarray(self.powers)[at], xp.asarray(self._first)[at]
        base = xp.where(first, belief.direction(xp, belief.moment(xp, state.moments, 2 * power)) / 2, state.own)
        angle = base + xp.asarray(self._turns)[at]
        if self._adaptive:
            angle = xp.where(first, angle, self._sharpest(xp, state, power))
        over = self._over(xp, state) | (state.done >= self._count)
        return xp.where(over, 0, power), angle

    def _sharpest(self, xp: Any, state: State, power: Any) -> Any:
        """The angle with the largest expected |<exp(i power phase)>| after its outcome."""
        seen = self.setting.law.visibility(xp, power)[:, None] * state.moments / 2
        turn = np.exp(-1j * self._angles)
        shift = turn * belief.moment(xp, seen, 2 * power) + np.conj(turn) * belief.moment(xp, seen, 0)
        now = belief.moment(xp, state.moments, power)
        best = belief.first_best(xp, xp.abs(now + shift) + xp.abs(now - shift), tie=EQUAL)
        return xp.asarray(self._angles)[best]

    def update(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        """Bayes' rule; remembers the angle at which this power began."""
        at = xp.minimum(state.done, self._count - 1)
        begins = xp.asarray(self._first)[at] & (power > 0)
        after = self._learned(xp, state, power, angle, bit)
        return after._replace(own=xp.where(begins, angle, state.own))

    def ahead(self, state: State, most: int) -> tuple[list[int], list[float]]:
        """The rest of this power's experiments, or as many as are wanted."""
        power, angle = self.choose(np, state)
        if not power:
            return [], []
        at = int(state.done)
        count = min(most, int(np.sum(self.powers[at:] == self.powers[at])))
        limit = self.setting.experiments
        count = count if limit is None else min(count, limit - at)
        turns = self._turns[at : at + count] - self._turns[at]
        return [int(power)] * count, [float(angle) + float(t) for t in turns]
