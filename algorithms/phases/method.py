"""A policy as a method that a session drives: it asks for experiments and is told their outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from varq.algorithms.phases import belief
from varq.algorithms.phases.policy import Policy, State
from varq.algorithms.phases.posterior import Posterior
from varq.keys import Key
from varq.protocol import Array, Experiment, Finished, Outcome, Reason, Reply

__all__ = ["PolicyMethod"]

EVERY = 1 << 20  # experiments in one request where all of them can be made at once


@dataclass(frozen=True, eq=False)
class Told:
    """What a run of a policy knows.

    Args:
        policy: the policy.
        state: what it knows.
        applications: used so far.
    """

    policy: Policy
    state: State

    @property
    def applications(self) -> int:
        """Applications of the controlled unitary so far."""
        return self.policy.setting.applications - int(self.state.left)

    @property
    def experiments(self) -> int:
        """Experiments so far."""
        return int(self.state.done)


class PolicyMethod:
    """Ask for what a policy chooses, tell it what came.

    Args:
        policy: the policy.
        together: most experiments in one request; None for all that can be made at once.
    """

    def __init__(self, policy: Policy, together: int | None) -> None:
        self._policy = policy
        self._together = EVERY if together is None else together

    def init(self, start: Array, key: Key) -> Told:
        """A flat density."""
        return Told(self._policy, self._policy.init(np))

    def ask(self, told: Told) -> Experiment | Finished:
        """The next experiments, or the end when the applications or experiments are used up."""
        powers, angles = self._policy.ahead(told.state, self._together)
        if not powers:
            used = f"{told.applications} applications in {told.experiments} experiments"
            return Finished(Reason.CONVERGED, f"the policy's budget is used: {used}")
        return Experiment(np.array(powers, dtype=np.int64), np.array(angles))

    def tell(self, told: Told, reply: Reply) -> tuple[Told, Mapping[str, Any]]:
        """The posterior after the outcomes of the experiments that `ask` named."""
        request = self.ask(told)
        assert isinstance(request, Experiment)
        assert reply.outcomes is not None
        state = told.state
        for power, angle, bit in zip(request.powers, request.angles, reply.outcomes, strict=True):
            state = self._policy.update(np, state, int(power), float(angle), int(bit))
        after = Told(self._policy, state)
        info = {
            "value": (value := float(self._policy.estimate(np, state))),
            "stderr": _spread(state, value),
            "power": int(request.powers[-1]),
            "angle": float(request.angles[-1]),
            "applications": after.applications,
        }
        return after, info

    def conclude(self, told: Told) -> Outcome:
        """The answer of a run."""
        posterior = Posterior.from_moments(told.state.moments)
        value, used = float(told.policy.estimate(np, told.state)), told.applications
        deviation = _spread(told.state, value)
        believed = told.state.moments[:, 0].real
        law = told.policy.setting.law
        details = {
            "grid": posterior.grid[posterior.drawn],
            "density": posterior.density[posterior.drawn],
            "interval": posterior.interval(0.95),
            "applications": used,
            "experiments": told.experiments,
            "overhead": deviation / math.tan(math.pi / (used + 2)) if used else math.inf,
        }
        if len(believed) > 1:
            details["contrast"] = float(believed @ np.array(law.contrast))
            details["decay"] = float(believed @ np.array(law.rate))
        return Outcome(value, deviation, None, details)


def _spread(state: State, value: float) -> float:
    """The square root of the posterior's Holevo variance about `value`, radians; infinite where it points elsewhere."""
    sharpness = float(belief.sharpness(np, state.moments, value))
    # Below this the mean direction is rounding noise.
    return math.inf if sharpness < 1e-12 else math.sqrt(max(sharpness**-2 - 1, 0.0))
