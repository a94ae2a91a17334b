"""Simultaneous perturbation stochastic approximation: two values a step, however many parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.estimation.steps import difference_step
from varq.keys import Key
from varq.optimizers.vectors import gradient_norm, vector
from varq.protocol import Array, Finished, Many, Reply, Request, Stop, Value

__all__ = ["SPSA"]

PERTURBATION = 0.1  # of exact values: the bias of its slopes is below a percent for rotations
SIGMAS = 2.0  # a candidate worse than this many standard errors is blocked (Spall 1998, section III.B)


@dataclass(frozen=True)
class SPSA:
    """Simultaneous perturbation stochastic approximation, for costs measured with noise.

    Step k moves by a / (A + k + 1)^alpha along a gradient estimated from two values at x +- c / (k + 1)^gamma * Delta,
    Delta a vector of random signs.  Without a `learning_rate`, the gain a is calibrated by a few such pairs at the
    start, such that the first steps change each parameter by `first_step`.  One request holds all values of a step,
    which are independent and travel together.

    Slopes over +-c carry the error bars of two values divided by 2 c, so a c that suits exact values drowns them in
    shot noise, and calibration, which sees slopes and noise together, then makes steps of full length in random
    directions. Hence calibration also widens c, from the error bars and the slopes that remain once their noise is
    taken off.

    Args:
        learning_rate: the gain a, in parameter squared per unit of the cost; None calibrates it.
        perturbation: c, how far from x the first values are taken, in the parameters' unit (radians).  None: 0.1, and
            where values have error bars and the gain is calibrated, as much more as balances bias and noise
            (`varq.estimation.difference_step`, at most pi/2).  Under shots with a `learning_rate`, give it.
        first_step: the change of each parameter in the first steps that calibration aims at.
        largest_step: a step that would change any parameter by more is shortened to it; None for no limit.
        stability: A, about a tenth of the steps that one expects to make.
        alpha: how the gain decays; 0.602 is the slowest that theory allows, 1 the fastest asymptotically.
        gamma: how the perturbation decays; 0.101 goes with `alpha` 0.602.
        calibration: pairs of values that calibrate a.
        resamplings: gradient estimates that are averaged in each step.
        blocking: also evaluate where the step leads, and go there only if that is not worse than now by more than
            two standard errors.

    Raises:
        ValueError: for a gain, perturbation or count that is not positive.

    References:
        J. C. Spall, IEEE Trans. Autom. Control 37, 332 (1992); gains, calibration and blocking: J. C. Spall, IEEE
        Trans. Aerosp. Electron. Syst. 34, 817 (1998).

    Example:
        >>> from varq.keys import Key
        >>> method = SPSA(learning_rate=0.1).method()
        >>> len(method.ask(method.init(np.zeros(3), Key.from_seed(1))).parts)
        2
    """

    learning_rate: float | None = None
    perturbation: float | None = None
    first_step: float = 0.1
    largest_step: float | None = 0.5
    stability: float = 20.0
    alpha: float = 0.602
    gamma: float = 0.101
    calibration: int = 10
    resamplings: int = 1
    blocking: bool = False
    kind: ClassVar[str] = "optimizer:spsa"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("learning_rate", "perturbation", "first_step", "largest_step"):
            value = getattr(self, name)
            if value is not None or name == "first_step":
                object.__setattr__(self, name, checks.real(name, value, above=0.0))
        for name in ("stability", "alpha", "gamma"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))
        for name in ("calibration", "resamplings"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), minimum=1))
        object.__setattr__(self, "blocking", checks.boolean("blocking", self.blocking))

    @property
    def stop(self) -> Stop:
        """500 steps: noisy values give no sound sign of convergence, and the gains decay over such a number."""
        return Stop(steps=500)

    def method(self) -> SPSAMethod:
        """The method, ready to be asked."""
        return SPSAMethod(self)


@dataclass(frozen=True)
class _State:
    """Where the run is.

    Args:
        x: the current point.
        key: of the run.
        gain: a; None until calibrated.
        width: c.
        k: steps made, from which gains and perturbations follow.
        value: the cost at `x` and its standard error, where blocking has evaluated it.
        candidate: where the step leads, while blocking waits for its value.
    """

    x: Array
    key: Key
    gain: float | None
    width: float
    k: int = 0
    value: tuple[float, float] | None = None
    candidate: Array | None = None


@dataclass(frozen=True)
class SPSAMethod:
    """An `SPSA` spec at work."""

    spec: SPSA

    def init(self, start: Array, key: Key) -> _State:
        """The first state, at `start`."""
        return _State(vector(start), key, self.spec.learning_rate, self.spec.perturbation or PERTURBATION)

    def ask(self, state: _State) -> Request | Finished:
        """The perturbed values of a step (of calibration first), or with blocking the value of where it leads."""
        if state.candidate is not None:
            return Value(vector(state.candidate))
        width = self._width(state)
        points = [state.x + sign * width * d for d in self._directions(state) for sign in (1.0, -1.0)]
        if self.spec.blocking and state.value is None:
            points.append(state.x)
        return Many(tuple(Value(vector(p)) for p in points))

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """Calibrate, move, or accept or block a move."""
        if state.candidate is not None:
            return self._judge(state, reply)
        directions, width = self._directions(state), self._width(state)
        values = np.array([part.value for part in reply.parts[: 2 * len(directions)]], dtype=np.float64).reshape(-1, 2)
        slopes = (values[:, 0] - values[:, 1]) / (2 * width)
        if len(reply.parts) > 2 * len(directions):
            state = replace(state, value=_measured(reply.parts[-1]))
        info: dict[str, Any] = {
            "value": float(values.mean()),
            "perturbation": width,
            **_spread(reply.parts[: values.size]),
        }
        if state.gain is None:
            gain, wider = self._calibrated(slopes, _noise(reply.parts[: values.size]), state)
            found = {"learning_rate": gain, "perturbation": wider}
            return replace(state, gain=gain, width=wider), {**info, **found, "x": vector(state.x)}
        return self._move(state, directions, slopes, info)

    def _move(
        self, state: _State, directions: Array, slopes: Array, info: dict[str, Any]
    ) -> tuple[_State, dict[str, Any]]:
        # The entries of Delta are +-1, so dividing by them is multiplying.
        grad = np.mean(slopes.reshape(-1, *(1,) * state.x.ndim) * directions, axis=0)
        rate = float(state.gain or 0.0) / (self.spec.stability + state.k + 1) ** self.spec.alpha
        step = -rate * grad
        longest = float(np.max(np.abs(step), initial=0.0))
        if self.spec.largest_step is not None and longest > self.spec.largest_step:
            step *= self.spec.largest_step / longest
        info |= {"grad_norm": gradient_norm(grad), "learning_rate": rate, "step_norm": gradient_norm(step)}
        if self.spec.blocking:
            return replace(state, candidate=state.x + step), {**info, "x": vector(state.x)}
        moved = replace(state, x=state.x + step, k=state.k + 1)
        return moved, {**info, "x": vector(moved.x)}

    def _judge(self, state: _State, reply: Reply) -> tuple[_State, dict[str, Any]]:
        now, new = state.value, _measured(reply)
        accepted = now is None or new[0] <= now[0] + SIGMAS * float(np.hypot(now[1], new[1]))
        if accepted and state.candidate is not None:
            state = replace(state, x=state.candidate, value=new)
        info = {"value": new[0], "accepted": accepted, "x": vector(state.x)}
        return replace(state, candidate=None, k=state.k + 1), info

    def _calibrated(self, slopes: Array, noise: float, state: _State) -> tuple[float, float]:
        """The gain a and the perturbation c, from slopes at the start and the standard error of values there."""
        size = float(np.mean(np.abs(slopes)))
        width = state.width
        if self.spec.perturbation is None and noise > 0:
            drowned = (noise / width) ** 2 / 2
            # A mean of squares of noise alone strays by this share: less than that is no slope that was seen.
            unseen = drowned * np.sqrt(2 / len(slopes))
            signal = max(float(np.mean(slopes**2)) - drowned, unseen)
            width = max(width, difference_step(noise, float(np.sqrt(signal / state.x.size)), state.x.size))
            # Slopes over the wider perturbation have less noise, and steps shall keep their length.
            size *= float(np.sqrt((signal + (noise / width) ** 2 / 2) / (signal + drowned)))
        aimed = self.spec.first_step * (self.spec.stability + 1) ** self.spec.alpha
        # On a flat start there is no slope to calibrate by; `largest_step` bounds what a small one does.
        return float(aimed / size if size > np.finfo(np.float64).eps else aimed), width

    def _width(self, state: _State) -> float:
        return float(state.width / (state.k + 1) ** self.spec.gamma)

    def _directions(self, state: _State) -> Array:
        calibrating = state.gain is None
        count = self.spec.calibration if calibrating else self.spec.resamplings
        generator = state.key.fold("calibration" if calibrating else "perturbation", state.k).generator()
        return vector(2 * generator.integers(0, 2, size=(count, *state.x.shape)) - 1)


def _spread(replies: tuple[Reply, ...]) -> dict[str, float]:
    """The standard error of the mean of values, where they have one."""
    errors = [reply.stderr for reply in replies if reply.stderr is not None]
    return {"stderr": float(np.linalg.norm(errors)) / len(replies)} if errors else {}


def _noise(replies: tuple[Reply, ...]) -> float:
    """The root mean square of the standard errors of values; 0 where they have none."""
    errors = [reply.stderr or 0.0 for reply in replies]
    return float(np.sqrt(np.mean(np.square(errors))))


def _measured(reply: Reply) -> tuple[float, float]:
    return float(reply.value), float(reply.stderr or 0.0)  # type: ignore[arg-type]
