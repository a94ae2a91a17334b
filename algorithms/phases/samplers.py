"""Where the outcomes of a study come from: their law, or circuits on the compiled simulator."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.algorithms.phases.belief import Law

__all__ = ["Likelihood", "OnSimulator", "Sampler"]


class Sampler(Hashable, Protocol):
    """Where outcomes come from, in a form that JAX can trace."""

    def init(self, phase: Any, luck: Any) -> Any:
        """What one run's system is at its start, if its phase is `phase`, from a number that is even in [0, 1)."""

    def draw(self, system: Any, power: Any, angle: Any, luck: Any) -> tuple[Any, Any]:
        """An outcome, from two numbers that are even in [0, 1), and the system after it."""


@dataclass(frozen=True)
class Likelihood:
    """Outcomes drawn from their law: no circuit is run.

    Args:
        law: of one hypothesis, the true one.
        away: the state's phases minus the one that is sought, radians.
        weights: of these phases, of sum 1.
        anew: whether each experiment prepares the state anew.  Else a run has one of its phases, by their weights:
            experiments that go on with the state that is left have the law of a state that collapsed beforehand.
    """

    law: Law
    away: tuple[float, ...] = (0.0,)
    weights: tuple[float, ...] = (1.0,)
    anew: bool = False

    def init(self, phase: Any, luck: Any) -> Any:
        """The phases of all experiments and their weights."""
        away, weights = jnp.asarray(self.away), jnp.asarray(self.weights)
        if self.anew:
            return phase + away, weights
        drawn = jnp.sum(luck >= jnp.cumsum(weights)[:-1])
        return phase + away, jnp.where(jnp.arange(len(self.away)) == drawn, 1.0, 0.0)

    def draw(self, system: Any, power: Any, angle: Any, luck: Any) -> tuple[Any, Any]:
        """1 if the chance of 0 is exceeded."""
        phases, weights = system
        seen = self.law.visibility(jnp, power)[0] * jnp.sum(weights * jnp.cos(power * phases - angle))
        return luck[0] >= (1 + seen) / 2, system


@dataclass(frozen=True, eq=False)
class OnSimulator:
    """Outcomes of experiments that run on `varq.qubit`, one after the other on the state that the last one left.

    Args:
        segment: runs one experiment: see `varq.node.adaptive.segment`.
        state: of the system at first, shape (2^n,).
        phase: of the unitary for this state, radians; a run with another phase turns every application by the rest.
        law: whose visibility v flips outcomes with probability (1 - v) / 2.
    """

    segment: Callable[[Any, Any, Any, Any], Any]
    state: NDArray[np.complex128]
    phase: float
    law: Law

    def init(self, phase: Any, luck: Any) -> Any:
        """The state, which its experiments collapse, and the phase by which each application is turned on."""
        return jnp.asarray(self.state), phase - self.phase

    def draw(self, system: Any, power: Any, angle: Any, luck: Any) -> tuple[Any, Any]:
        """Measure the control, collapse the system, and misread with the probability of the noise."""
        state, turn = system
        amplitudes = self.segment(state, power, turn, angle)
        chances = jnp.sum(jnp.abs(amplitudes) ** 2, axis=1)
        bit = luck[0] * (chances[0] + chances[1]) >= chances[0]
        left = jnp.where(bit, amplitudes[1], amplitudes[0])
        left = left / jnp.sqrt(jnp.where(bit, chances[1], chances[0]))
        misread = luck[1] < (1 - self.law.visibility(jnp, power)[0]) / 2
        return bit ^ misread, (jnp.where(power > 0, left, state), turn)
