"""Thousands of runs of one phase estimation: what it reaches, with error bars, before anything is paid for."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from varq import checks, spec
from varq.algorithms.phase import LIKELIHOOD, PhaseEstimation
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.noise import single
from varq.algorithms.phases.policy import Sequential, Setting
from varq.algorithms.phases.samplers import Likelihood, OnSimulator
from varq.algorithms.phases.study import Study, simulate, summarized, told
from varq.devices.catalog import DEFAULT, abilities, called
from varq.keys import Key
from varq.node.adaptive import feed_forward, segment
from varq.node.nodes import Nodes
from varq.precision import in_double
from varq.protocol import Array, Experiment

__all__ = ["phase_study"]

THROUGH = (LIKELIHOOD, "loop", "circuit", "device")
CIRCUITS = 8  # different phases in a study of circuits, each of which is compiled or run for each of them
PILOT = 256  # runs from the likelihood that tell how many rounds a measured circuit needs
SPARE = 1.3  # rounds of a measured circuit, over the most that those took
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
        through: where outcomes come from: drawn from their law ("likelihood": of one eigenphase in each run, by its
            weight; if the task names a device, of a state which each experiment prepares anew); from experiments on
            `varq.qubit`, each on the state that the one before left, in one compiled loop ("loop"); from one measured
            circuit with reset and feed-forward on `varq.qubit` ("circuit"); or from the task's device, `varq.qubit` if
            it names none, by a loop on the host, one experiment of every run in a batch, or as many as the task's
            `together` says ("device").  That loop is no session's: it has no journal and no budget, what is interrupted
            is lost, and it is refused on devices that cost money.
        phases: the true phase of each run, that of largest weight, radians, shape (runs,); None for random ones, of
            which "circuit" and "device" have eight, each for a part of the runs: standard errors then leave out what
            other phases would have given.  The unitary is turned by a global phase to have them.  A run that finds
            another phase of its state is off by the difference.
        contrast: the true one; None for what the task is given.
        coherence: the true one; None for what the task is given.
        whole: whether to keep whole posterior densities, which `Study.coverage` needs: twice the work.
        seed: of phases and outcomes.

    Returns:
        The study: `averaged` and `sampled` Holevo variances with standard errors, `coverage`, `heisenberg`, `ramsey`.

    Raises:
        TypeError: if `task` is no `PhaseEstimation`.
        ValueError: for a policy that does not learn from one experiment after the other, an unknown way, a true noise
            other than the device's own with "device", a device that costs money, or numbers out of range.
        RuntimeError: if runs need more rounds than their measured circuit has.

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
    resolved = _resolved(task, through)
    assert resolved.applications is not None
    setting = Setting(resolved.applications, resolved.law(resolved.applications), whole, task.shots)
    truth = single(
        task.contrast if contrast is None else checks.real("contrast", contrast, above=0, maximum=1),
        task.coherence if coherence is None else checks.real("coherence", coherence, above=0, infinite=True),
    )
    key = Key.from_seed(checks.integer("seed", seed))
    draws = key.fold("outcomes").seed()
    if through in ("circuit", "device"):
        few = _phases(phases, count, key, CIRCUITS)
        if through == "circuit":
            return _by_circuits(task, policy, setting, truth, few, draws)
        _check_device(spec.unwrap(resolved.device), contrast, coherence)
        return _by_jobs(resolved, policy, setting, few, key.fold("jobs"))
    held = _phases(phases, count, key, count)
    if through == LIKELIHOOD:
        return simulate(policy, setting, _drawn(task, truth, resolved.device != LIKELIHOOD), truth, held, draws)
    problem = task.problem
    sampler = OnSimulator(segment(problem.eigensystem), problem.state, task.phase, truth)
    return simulate(policy, setting, sampler, truth, held, draws)


def _resolved(task: PhaseEstimation, through: str) -> PhaseEstimation:
    """The task on its device; "loop" and "circuit" prepare the state once, as a task without a device does."""
    named = None if task.device == LIKELIHOOD or through in ("loop", "circuit") else task.device
    if through == "device" and named is None:
        named = DEFAULT
    return task.resolve(named, task.shots)


def _check_device(device: Any, contrast: float | None, coherence: float | None) -> None:
    if contrast is not None or coherence is not None:
        raise ValueError(
            "contrast and coherence must be left out with through='device', whose noise is its own. Got "
            f"contrast={contrast}, coherence={coherence}. Use through='loop' or 'circuit'."
        )
    if abilities(device).paid or getattr(device, "paid", False):
        raise ValueError(
            "device must be one that costs nothing: a study keeps no journal and no budget. Got "
            f"{called(device)}. Run the task itself for several seeds, in a session with a budget."
        )


def _drawn(task: PhaseEstimation, truth: Law, anew: bool) -> Likelihood:
    """Outcomes of one phase in each run; of all that the state holds in each, where experiments prepare it anew."""
    phases, weights = np.asarray(task.problem.phases), np.asarray(task.problem.weights)
    away = (phases - task.phase).tolist()
    return Likelihood(truth, tuple(away), tuple(weights.tolist()), anew)


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
    made = policy.policy(setting)
    rounds = made.rounds
    if rounds is None:
        sampler = _drawn(task, truth, anew=False)
        pilot = simulate(policy, setting, sampler, truth, np.resize(phases, max(len(phases), PILOT)), seed)
        rounds = math.ceil(SPARE * int(pilot.experiments.max()))
    misread = None if truth == single(1.0, math.inf) else (lambda power: (1 - truth.visibility(jnp, power)[0]) / 2)
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
            misread,
        )
        bits.append(found)
    study = summarized(policy, setting, truth, np.sort(phases), np.concatenate(bits))
    if study.unfinished:
        raise RuntimeError(
            f"{checks.counted(study.unfinished, 'run')} of {len(phases)} had not ended after the {rounds} rounds of "
            "their circuits. Use another seed, or through='loop', which has no end of its own."
        )
    return study


def _by_jobs(task: PhaseEstimation, policy: Sequential, setting: Setting, phases: Array, key: Key) -> Study:
    """Every run by a loop on the host, all of them in step: one request holds the next experiments of each."""
    circuits = Nodes(spec.unwrap(task.device), shots=1).experiments(task.problem)
    made, most = policy.policy(setting), task.together or 1
    states = [made.init(np) for _ in phases]
    for count in itertools.count():
        asked = [
            (k, power, angle) for k, s in enumerate(states) for power, angle in zip(*made.ahead(s, most), strict=True)
        ]
        if not asked:
            break
        runs, powers, angles = (np.array(column) for column in zip(*asked, strict=True))
        # A reference angle turned on is a phase turned back: one unitary stands for all phases.
        request = Experiment(powers, angles - powers * (phases[runs] - task.phase))
        reply = circuits.evaluate(request, key.fold(count))
        assert reply.outcomes is not None
        for (k, power, angle), bit in zip(asked, reply.outcomes, strict=True):
            states[k] = made.update(np, states[k], power, angle, int(bit))
    return told(made, phases, states)
