"""The random walk: a mean and a width that every outcome moves by a fixed rule, with tests that step back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from varq import checks
from varq.algorithms.phases.method import PolicyMethod
from varq.algorithms.phases.policy import Believing, Setting, State, one_ahead

__all__ = ["RandomWalk", "RandomWalkPolicy"]

START = math.pi / math.sqrt(3)  # standard deviation of a flat density on the circle


@dataclass(frozen=True)
class RandomWalk:
    """Keep a Gaussian alone: measure where its slope is steepest, with about one application for each radian of width.

    Each outcome moves the mean by its width over sqrt(e), and narrows the width by sqrt(1 - 1/e): a walk that needs no
    posterior density (Granade and Wiebe, arXiv:2208.04526; the same design without tests of consistency is Wiebe and
    Granade, Phys. Rev. Lett. 117, 010503 (2016), and fails in 20 to 30 % of runs).  After each stride of steps an
    experiment whose outcome is nearly certain if the mean is right tests it; a failed test widens the Gaussian again,
    back to before the stride and further, which restarts the walk from there.  A job holds one experiment, whatever
    `together` says: at another angle an outcome would move the mean by a rule that is not its own.  The value is that
    mean.  The posterior density is kept beside it: `stderr` is its spread about the value, infinite where it points
    elsewhere, and the interval is its own.

    Args:
        stride: steps between tests.
        tests: experiments in each test, of which one must fail.
        back: strides by which a failed test steps back.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> RandomWalk(stride=3).kind
        'policy:random-walk'
    """

    stride: int = 2
    tests: int = 1
    back: int = 2
    kind: ClassVar[str] = "policy:random-walk"
    version: ClassVar[int] = 1
    fresh: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("stride", "tests", "back"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), 1))

    @property
    def together(self) -> int:
        """Each angle is computed from the outcome before."""
        return 1

    def policy(self, setting: Setting) -> RandomWalkPolicy:
        """The policy for a budget and a noise."""
        return RandomWalkPolicy(setting, self)

    def method(self, setting: Setting, together: int | None) -> PolicyMethod:
        """The method that a session drives, with so many experiments in a request."""
        return PolicyMethod(self.policy(setting), self.together if together is None else together)


class _Own(NamedTuple):
    """The Gaussian, and where in a stride the walk is."""

    mean: Any
    variance: Any
    step: Any
    failed: Any


class RandomWalkPolicy(Believing):
    """`RandomWalk` at work; the posterior density is kept beside its own Gaussian, which knows no angle but its own."""

    TESTED = 0.5  # width times power of a test: 6 % of tests fail by chance, half of them on a wrong branch

    def __init__(self, setting: Setting, spec: RandomWalk) -> None:
        self.setting = setting
        self._spec = spec
        coherence = setting.law.narrowest
        # Beyond half the coherence time an application takes away more than it tells.
        self.longest = max(1, int(min(setting.applications, coherence / 2)))

    def init(self, xp: Any) -> State:
        """The Gaussian of a flat density's width."""
        own = _Own(xp.asarray(math.pi), xp.asarray(START**2), xp.asarray(0), xp.asarray(False))
        return self._start(xp, own)

    def choose(self, xp: Any, state: State) -> tuple[Any, Any]:
        """A step at the steepest slope, or a test at the mean."""
        mean, variance, step, _ = state.own
        testing = step >= self._spec.stride
        power = xp.where(testing, xp.floor(self.TESTED / xp.sqrt(variance)), xp.round(1 / xp.sqrt(variance)))
        power = xp.minimum(xp.clip(power, 1, self.longest).astype(int), state.left)
        angle = xp.mod(power * mean + xp.where(testing, 0.0, math.pi / 2), 2 * math.pi)
        return xp.where(self._over(xp, state), 0, power), angle

    def update(self, xp: Any, state: State, power: Any, angle: Any, bit: Any) -> State:
        """Move the mean and narrow the width, or step back after a failed test."""
        mean, variance, step, failed = state.own
        spec, law = self._spec, self.setting.law
        on, testing = power > 0, step >= spec.stride
        seen = xp.sum(law.visibility(xp, power) * xp.asarray(law.prior))
        move = variance * power * (1.0 - 2.0 * bit) * seen * xp.exp(-(power**2) * variance / 2)
        move = xp.where(on & ~testing, move, 0.0)
        failed = failed | (on & testing & (bit > 0))
        step = step + on
        ends = step >= spec.stride + spec.tests
        wider = (1 - 1 / math.e) ** (-spec.stride * spec.back)
        narrowed = variance - move**2
        own = _Own(
            mean + move,
            xp.where(ends & failed, xp.minimum(narrowed * wider, START**2), narrowed),
            xp.where(ends, 0, step),
            failed & ~ends,
        )
        return self._learned(xp, state, power, angle, bit)._replace(own=own)

    def estimate(self, xp: Any, state: State) -> Any:
        """The mean of the Gaussian, radians in [0, 2 pi)."""
        return xp.mod(state.own.mean, 2 * math.pi)

    def ahead(self, state: State, most: int) -> tuple[list[int], list[float]]:
        """The next experiment alone, however many are wanted: the Gaussian's rule holds at the angle of `choose`."""
        return one_ahead(self, state, 1)
