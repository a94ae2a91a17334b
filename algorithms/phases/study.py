"""Many runs of one policy at once: what it reaches, with error bars, beside the limits of physics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.algorithms.phases import belief
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Policy, Sequential, Setting, State
from varq.algorithms.phases.samplers import Sampler
from varq.precision import in_double
from varq.protocol import Array

__all__ = ["Study", "simulate", "summarized", "told"]

CHUNK_BYTES = 1 << 21  # of moments that are worked on together: a core's share of cache
BEFORE = (1 << 32) - 1  # stands for what is drawn before the first experiment: no run has so many
TURN = 2 * math.pi


@dataclass(frozen=True, eq=False)
class Study:
    """What many runs came to.

    Args:
        phases: the true phase of each run, radians, shape (runs,).
        estimates: of each run, radians, shape (runs,).
        sharpness: <cos(phase - estimate)> under each run's posterior density, shape (runs,): |<exp(i phase)>| where
            the estimate is its mean direction.
        applications: of each run, shape (runs,).
        experiments: of each run, shape (runs,).
        ranks: posterior probability between the point opposite the mean direction and the true phase, in [0, 1],
            shape (runs,): even over [0, 1] if densities are right; None if only the moments that matter were kept.
        law: by which outcomes were drawn; None where they are those of a device.
        unfinished: runs that had not come to their end.
    """

    phases: Array
    estimates: Array
    sharpness: Array
    applications: NDArray[np.int64]
    experiments: NDArray[np.int64]
    ranks: Array | None
    law: Law | None
    unfinished: int = 0

    @property
    def errors(self) -> Array:
        """Estimates minus true phases, the shorter way around, radians, shape (runs,)."""
        return np.asarray(np.mod(self.estimates - self.phases + math.pi, TURN) - math.pi)

    @property
    def sampled(self) -> tuple[float, float]:
        """The Holevo variance of the errors, |<exp(i error)>|^-2 - 1, and its standard error."""
        waves = np.exp(1j * self.errors)
        mean = complex(waves.mean())
        along = (waves * np.conj(mean) / abs(mean)).real
        return _holevo(along)

    @property
    def averaged(self) -> tuple[float, float]:
        """The Holevo variance that the posterior densities themselves tell, and its standard error.

        It is the mean of the sampled one over outcomes (Rao and Blackwell), without the luck of rare large errors, for
        laws that are the true ones and phases that are all around the circle.
        """
        return _holevo(self.sharpness)

    @property
    def heisenberg(self) -> float:
        """The smallest Holevo variance for so many applications, tan^2(pi / (N + 2)).

        Berry and Wiseman, Phys. Rev. Lett. 85, 5098 (2000).
        """
        return math.tan(math.pi / (float(self.applications.mean()) + 2)) ** 2

    @property
    def ramsey(self) -> float:
        """The asymptotic bound with decoherence, 2 e / (N T c^2): all experiments at a power of T / 2.

        An experiment of power p at its steepest slope has the Fisher information (c p exp(-p/T))^2; per application it
        is largest at p = T / 2.  Infinite coherence gives 0.

        Raises:
            ValueError: if outcomes are those of a device, whose coherence nobody knows.
        """
        if self.law is None:
            raise ValueError(
                "The Ramsey bound needs the coherence by which outcomes were drawn. Got outcomes of a device. Make the "
                "study with through='likelihood' and a coherence, or compare with `heisenberg`."
            )
        rate, contrast = self.law.rate[0], self.law.contrast[0]
        return 2 * math.e * rate / (float(self.applications.mean()) * contrast**2)

    def coverage(self, probability: float = 0.95) -> tuple[float, float]:
        """How many of the runs' credible intervals hold the true phase, and the standard error of that share.

        Raises:
            ValueError: if the study was made without the whole densities.
        """
        if self.ranks is None:
            raise ValueError("Coverage needs the whole densities. Make the study with whole=True.")
        tail = (1 - probability) / 2
        share = float(np.mean((self.ranks >= tail) & (self.ranks <= 1 - tail)))
        return share, math.sqrt(max(share * (1 - share), 1 / len(self.ranks)) / len(self.ranks))

    def __repr__(self) -> str:
        most = int(self.applications.max())
        # What these runs came to, whatever their densities hold for true.
        value, spread = self.sampled
        return (
            f"<{len(self.phases)} runs of {most} applications: V N^2 = {value * most**2:.3g} +- {spread * most**2:.1g}>"
        )


def _holevo(sharp: Array) -> tuple[float, float]:
    mean = float(np.mean(sharp))
    if mean <= 0:
        return math.inf, math.inf
    spread = float(np.std(sharp, ddof=1)) / math.sqrt(len(sharp)) if len(sharp) > 1 else math.inf
    return mean**-2 - 1, 2 * mean**-3 * spread


class _Run(NamedTuple):
    state: Any
    system: Any
    going: Any


def _loop(policy: Policy, sampler: Sampler, phases: Any, key: Any) -> Any:
    """All runs of a chunk, experiment by experiment, until the last has ended."""

    def one(run: _Run, luck: Any) -> _Run:
        power, angle = policy.choose(jnp, run.state)
        bit, system = sampler.draw(run.system, power, angle, luck)
        return _Run(policy.update(jnp, run.state, power, angle, bit), system, power > 0)

    def step(carry: tuple[Any, _Run]) -> tuple[Any, _Run]:
        count, runs = carry
        luck = jax.random.uniform(jax.random.fold_in(key, count), (*phases.shape, 2), dtype=jnp.float64)
        return count + 1, jax.vmap(one)(runs, luck)

    def start(phase: Any, luck: Any) -> _Run:
        return _Run(policy.init(jnp), sampler.init(phase, luck), jnp.asarray(True))

    first = jax.vmap(start)(phases, jax.random.uniform(jax.random.fold_in(key, BEFORE), phases.shape, jnp.float64))
    _, ended = jax.lax.while_loop(lambda c: jnp.any(c[1].going), step, (0, first))
    return jax.vmap(lambda state, phase: _summary(policy, state, phase))(ended.state, phases)


def _summary(policy: Policy, state: Any, phase: Any) -> Any:
    first = belief.moment(jnp, state.moments, 1)
    opposite = belief.direction(jnp, first) - jnp.pi
    rank = belief.below(jnp, state.moments, opposite, jnp.mod(phase - opposite, TURN))
    spent = policy.setting.applications - state.left
    estimate = policy.estimate(jnp, state)
    return estimate, belief.sharpness(jnp, state.moments, estimate), spent, state.done, rank


@lru_cache(maxsize=64)
def _compiled(spec: Sequential, setting: Setting, sampler: Sampler) -> Callable[..., Any]:
    policy = spec.policy(setting)
    return jax.jit(lambda phases, key: _loop(policy, sampler, phases, key))


@in_double
def simulate(spec: Sequential, setting: Setting, sampler: Sampler, law: Law, phases: Array, seed: int) -> Study:
    """Run a policy once for each phase.

    Args:
        spec: the policy.
        setting: its budget and what it believes of the noise.
        sampler: where outcomes come from.
        law: by which the sampler draws, for the bounds.
        phases: the true phase of each run, radians, shape (runs,).
        seed: of the outcomes.
    """
    run = _compiled(spec, setting, sampler)
    together = max(16, min(len(phases), CHUNK_BYTES // (16 * len(setting.law.prior) * (setting.moments() + 1))))
    chunks = math.ceil(len(phases) / together)
    padded = np.resize(phases, chunks * together)
    keys = jax.random.split(jax.random.key(seed), chunks)
    parts = [run(padded[k * together : (k + 1) * together], keys[k]) for k in range(chunks)]
    found = [np.concatenate([np.asarray(p[k]) for p in parts])[: len(phases)] for k in range(5)]
    return _study(found, setting, phases, law)


def _study(found: Sequence[Any], setting: Setting, phases: Array, law: Law | None) -> Study:
    estimates, sharpness, spent, done, ranks = (np.asarray(x) for x in found)
    return Study(phases, estimates, sharpness, spent, done, ranks if setting.whole else None, law)


@in_double
def summarized(spec: Sequential, setting: Setting, law: Law, phases: Array, bits: NDArray[np.uint8]) -> Study:
    """What a policy makes of outcomes that it chose the experiments for.

    Args:
        spec: the policy.
        setting: its budget and what it believes of the noise.
        law: by which outcomes were drawn, for the bounds.
        phases: the true phase of each run, radians, shape (runs,).
        bits: shape (runs, rounds).
    """
    policy = spec.policy(setting)

    def one(row: Any, phase: Any) -> Any:
        def step(state: Any, bit: Any) -> Any:
            power, angle = policy.choose(jnp, state)
            return policy.update(jnp, state, power, angle, bit), None

        state, _ = jax.lax.scan(step, policy.init(jnp), row)
        return _summary(policy, state, phase), policy.choose(jnp, state)[0] > 0

    found, going = jax.jit(jax.vmap(one))(bits, phases)
    return dataclasses.replace(_study(found, setting, phases, law), unfinished=int(np.sum(going)))


@in_double
def told(policy: Policy, phases: Array, states: Sequence[State]) -> Study:
    """What runs on a device came to that ended in these states.

    Args:
        policy: the policy.
        phases: the true phase of each run, radians, shape (runs,).
        states: the last one of each run.
    """
    joined = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    found = jax.vmap(lambda state, phase: _summary(policy, state, phase))(joined, phases)
    return _study(found, policy.setting, phases, None)
