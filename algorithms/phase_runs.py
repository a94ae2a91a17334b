"""Thousands of runs of one phase estimation: what it reaches, with error bars, before anything is paid for."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from varq import checks
from varq.algorithms.phase import LIKELIHOOD, PhaseEstimation
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.noise import believed, single
from varq.algorithms.phases.policy import Sequential, Setting
from varq.algorithms.phases.samplers import Likelihood, OnSimulator
from varq.algorithms.phases.study import Study, simulate, summarized
from varq.keys import Key
from varq.node.adaptive import feed_forward, segment
from varq.precision import in_double
from varq.protocol import Array

__all__ = ["phase_study"]

THROUGH = (LIKELIHOOD, "loop", "circuit")
CIRCUITS = 8  # with different phases, in a study of measured circuits
SPARE = 1.3  # rounds of a measured circuit, over the most that as many runs from the likelihood took
TURN = 2 * math.pi


def phase_study(
    task: PhaseEstimation,
    runs: int = 1000,
    *,
    through: str = LIKELIHOOD,
    phases: Any = None,
    contrast: float | None = None,
    coherence: float | None = None,
    whole: bool = False,
    seed: int = 0,
) -> Study:
    """Run a phase estimation many times, for phases all around the circle.

    Args:
        task: the estimation: its problem, policy, applications and what it believes of the noise.
        runs: how many.
        through: where outcomes come from: drawn from their law ("likelihood"); from experiments on `varq.qubit`, each
            on the state that the one before left, in one compiled loop ("loop"); or from one measured circuit with
            reset and feed-forward on `varq.qubit` ("circuit").
        phases: the true phase of each run, radians, shape (runs,); None for random ones.  The unitary is turned by a
            global phase to have them.
        contrast: the true one; None for what the task believes.
        coherence: the true one; None for what the task believes.
        whole: whether to keep whole posterior densities, which `Study.coverage` needs: twice the work.
        seed: of phases and outcomes.

    Returns:
        The study: `averaged` and `sampled` Holevo variances with standard errors, `coverage`, `heisenberg`, `ramsey`.

    Raises:
        TypeError: if `task` is no `PhaseEstimation`.
        ValueError: for a policy that does not learn from one experiment after the other, an unknown way, noise in a
            measured circuit, or numbers out of range.

    Example:
        >>> import numpy as np
        >>> from varq.problems import EigenPhase
        >>> gate = EigenPhase(np.diag([1, 1j]), state=1)
        >>> task = PhaseEstimation(problem=gate, policy="semiclassical", applications=7)
        >>> round(phase_study(task, 100).averaged[0], 9) == round((1 + 1 / 7) ** 2 - 1, 9)
        True
    """
    checks.instance("task", task, PhaseEstimation, hint="Give PhaseEstimation(problem=..., policy=...).")
    checks.choice("through", through, THROUGH)
    count = checks.integer("runs", runs, 1)
    policy = _sequential(task.policy)
    resolved = task.resolve(None, task.shots)
    assert resolved.applications is not None
    law = believed(task.contrast, task.coherence, resolved.applications, task.noise == "estimated")
    setting = Setting(resolved.applications, law, whole, task.shots)
    truth = single(
        task.contrast if contrast is None else checks.real("contrast", contrast, above=0, maximum=1),
        task.coherence if coherence is None else checks.real("coherence", coherence, above=0, infinite=True),
    )
    key = Key.from_seed(checks.integer("seed", seed))
    draws = key.fold("outcomes").seed()
    if through == "circuit":
        return _by_circuits(task, policy, setting, truth, _phases(phases, count, key, CIRCUITS), draws)
    held = _phases(phases, count, key, count)
    if through == LIKELIHOOD:
        return simulate(policy, setting, Likelihood(truth), truth, held, draws)
    problem = task.problem
    sampler = OnSimulator(segment(problem.eigensystem), problem.state, task.phase, truth)
    return simulate(policy, setting, sampler, truth, held, draws)


def _sequential(policy: Any) -> Sequential:
    if policy.fresh:
        raise ValueError(
            f"A study runs policies that learn from one experiment after the other. Got {policy!r}. Run it itself, "
            "with varq.run(task), for several seeds."
        )
    chosen: Sequential = policy
    return chosen


def _phases(given: Any, runs: int, key: Key, distinct: int) -> Array:
    if given is not None:
        return np.asarray(np.mod(checks.array("phases", given, (runs,)), TURN))
    drawn = key.fold("phases").generator().uniform(0, TURN, min(distinct, runs))
    return np.asarray(np.sort(np.resize(drawn, runs)))


@in_double
def _by_circuits(
    task: PhaseEstimation, policy: Sequential, setting: Setting, truth: Law, phases: Array, seed: int
) -> Study:
    """One measured circuit for each phase that differs, with as many shots as there are runs of it."""
    if truth != single(1.0, math.inf):
        raise ValueError(
            "A measured circuit on varq.qubit is free of noise. Got a contrast or coherence. Use through='loop'."
        )
    made = policy.policy(setting)
    rounds = made.rounds
    if rounds is None:
        pilot = simulate(policy, setting, Likelihood(truth), truth, np.resize(phases, max(len(phases), 256)), seed)
        rounds = math.ceil(SPARE * int(pilot.experiments.max()))
    problem, own = task.problem, task.phase
    bits = []
    for k, (phase, count) in enumerate(zip(*np.unique(phases, return_counts=True), strict=True)):
        powers = [1 << place for place in range(made.longest.bit_length())]
        matrices = [problem.power(p) * np.exp(1j * p * (phase - own)) for p in powers]
        found = feed_forward(
            made.init(jnp),
            partial(made.choose, jnp),
            partial(made.update, jnp),
            matrices,
            problem.state,
            rounds,
            int(count),
            (seed + k) % 2**31,
        )
        bits.append(found)
    return summarized(policy, setting, truth, np.sort(phases), np.concatenate(bits))
