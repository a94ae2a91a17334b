"""Phase estimation, adaptive or not."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from varq import checks, spec
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.choose import as_policy
from varq.algorithms.phases.noise import believed, single
from varq.algorithms.phases.policy import Concluding, Setting
from varq.algorithms.task import Task, put, settled
from varq.devices.catalog import abilities, called
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Experiment, Finished, Outcome, Plan, Reply, Request, Stop

__all__ = ["EIGENSTATE", "LIKELIHOOD", "PhaseEstimation", "with_energy"]

LIKELIHOOD = "likelihood"  # the device that draws outcomes from their law
MOST_APPLICATIONS = 1024
MOST_WITH_SHOTS = 16384
MOST_EVER = 1 << 22
MOST_REHEARSED = 16384  # applications of which a forecast plays all experiments through, in a second or so
_MEMORY = "The posterior density is kept with one complex number for each."
EIGENSTATE = 1e-6  # largest weight on other eigenstates with which a state still counts as an eigenstate
DOMINANT = 0.8  # least weight of the phase that is sought at which 95 % intervals hold it in 93 % of runs or more
NOISE = ("known", "estimated")


@dataclass(frozen=True, eq=False)
class PhaseEstimation(Task):
    """Estimate an eigenphase by experiments that a policy chooses, by default each from what the earlier ones told.

    An experiment applies the controlled unitary `power` times and measures the control qubit at a reference `angle`:
    P(0) = (1 + v cos(power * phase - angle)) / 2 with the visibility v = contrast * exp(-power / coherence).  `value`
    is the posterior's mean direction in [0, 2 pi), but for "robust", "random-walk" and "spectrum", which have a value
    of their own; `stderr` is the square root of the posterior's Holevo variance about the value (of "spectrum", the
    least-squares fit's).  `details` holds the posterior density on a `grid` of at most 4,096 points (denser where it is
    larger, if there are more applications), its 95 % credible interval and the applications used.

    Without a device, outcomes are drawn from this law, for one preparation of the state, which the experiments
    collapse: a state of several eigenphases gives one of them, by its weight.  On a device each experiment is a circuit
    with a state of its own, and the power is applied by the problem's gates where it has any (on `varq.qubit` as one
    matrix where they are many: the law is the same to rounding).

    On a device the signal of a state of several eigenphases is their weighted mean.  The one of largest weight w is
    sought: its visibility is w v, and what the others add, at most 1 - w, is taken for chance, as if their phases were
    even around the circle.  (One other phase at a random place, the default policy, 4,000 runs of 256 applications:
    95 % intervals cover 95 % at w = 0.95 and 0.9, and 94 % at 0.8, where one run in 400 is off by more than 0.3; V N^2
    is about 35, 60 and 200, and no larger at 1,024.)  Weights below 0.8, of which intervals cover less, are refused:
    "spectrum" models all phases.

    Args:
        problem: an `EigenPhase`.
        policy: which experiments: "greedy" (the default), "look-ahead", "semiclassical" (textbook), "higgins",
            "robust", "random-walk", "spectrum" (several eigenphases), or one of `Greedy(...)`, `LookAhead(...)`,
            `Semiclassical()`, `Higgins(...)`, `Robust(...)`, `RandomWalk(...)`, `Spectrum(...)`.
        device: None or "likelihood" for outcomes drawn from their law; else where circuits run.
        shots: most experiments, one measured bit each; None for no limit but `applications`.
        applications: most applications of the controlled unitary, over all experiments; None for 1024, or for 16384
            where `shots` is given; at most 4,194,304.
        coherence: applications after which the visibility has fallen to 1/e; infinite without decoherence.  A
            depolarizing probability q per application is a coherence of -1 / ln(1 - q).
        contrast: visibility of readout and preparation, in (0, 1]; a bit flipped with probability f gives 1 - 2 f.
        noise: whether `coherence` and `contrast` are "known", or "estimated" together with the phase, among hypotheses
            around them (or over the whole range, where they are left out).  None for "estimated" on a device that has
            noise, where neither number is given, else "known".
        together: most experiments in one job; None for the policy's own number (1 for those that adapt).

    Raises:
        TypeError: if `problem` is no `EigenPhase`, or `policy` no policy.
        ValueError: if a number is out of range, the applications do not suffice for the policy, a device would
            measure a state whose largest weight is below 0.8 for a policy that models one phase, or "spectrum" is to
            run on a device that has noise and is told nothing of it.

    Example:
        >>> import numpy as np
        >>> from varq.problems import EigenPhase
        >>> task = PhaseEstimation(problem=EigenPhase(np.diag([1, np.exp(2.0j)]), state=1), applications=256)
        >>> task.policy
        Greedy(reserve=None)
    """

    problem: Any
    policy: Any = "greedy"
    applications: int | None = None
    coherence: float = math.inf
    contrast: float = 1.0
    noise: str | None = None
    together: int | None = None

    kind: ClassVar[str] = "algorithm:phase-estimation"
    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.problem, "phases") or not hasattr(self.problem, "weights"):
            raise TypeError(f"problem must be an EigenPhase. Got {self.problem!r}. Use EigenPhase(unitary, state).")
        if self.precision != "double":
            raise ValueError(f"Phase estimation computes in double precision. Got {self.precision!r}. Leave it out.")
        if self.applications is not None:
            put(self, applications=checks.integer("applications", self.applications, 1, MOST_EVER, _MEMORY))
        if self.together is not None:
            put(self, together=checks.integer("together", self.together, 1))
        put(
            self,
            policy=as_policy(self.policy),
            coherence=checks.real("coherence", self.coherence, above=0, infinite=True),
            contrast=checks.real("contrast", self.contrast, above=0, maximum=1),
            noise=None if self.noise is None else checks.choice("noise", self.noise, NOISE),
        )
        self._check_state()
        if self.applications is not None:
            self._method(self.applications)

    def _check_state(self) -> None:
        """One phase is sought: a state prepared anew for each experiment must hold little else."""
        if self._weight >= DOMINANT - EIGENSTATE:
            return
        weights = np.round(np.sort(np.asarray(self.problem.weights))[::-1][:4], 4).tolist()
        raise ValueError(
            f"problem must hold one phase with a weight of at least {DOMINANT} where each experiment prepares its "
            f"state anew: this policy models one phase. Got weights {weights}. Use the policy 'spectrum', a state that "
            "is nearer to an eigenstate, or leave the device out."
        )

    @property
    def _weight(self) -> float:
        """Of the phase that is sought, in the signal of experiments that prepare the state anew; 1 in others."""
        if self.policy.fresh or self.device in (None, LIKELIHOOD):
            return 1.0
        largest = float(np.max(self.problem.weights))
        return 1.0 if largest >= 1 - EIGENSTATE else largest

    def law(self, applications: int) -> Law:
        """What it believes of its outcomes, for so many applications."""
        return believed(self.contrast, self.coherence, applications, self.noise == "estimated", self._weight)

    def _method(self, applications: int) -> Concluding:
        setting = Setting(applications, self.law(applications), True, self.shots)
        method: Concluding = self.policy.method(setting, self.together)
        return method

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        most = "" if self.applications is None else f", {self.applications} applications"
        return f"phase of {self.problem.title}{most}"

    @property
    def phase(self) -> float:
        """The exact phase of largest weight, radians in [0, 2 pi): the problem's reference."""
        return float(self.problem.reference())

    def resolve(self, device: Any, shots: int | None) -> PhaseEstimation:
        """This spec with every choice made; where nobody chose a device, outcomes are drawn from their law."""
        usual = MOST_APPLICATIONS if shots is None else MOST_WITH_SHOTS
        chosen = LIKELIHOOD if device is None else device
        fields = {"applications": self.applications or usual, "noise": self.noise or self._usual_noise(chosen)}
        resolved: PhaseEstimation = settled(self, chosen, shots, **fields)
        return resolved

    def _usual_noise(self, device: Any) -> str:
        """Noise of which nothing is said must be found out: an outcome that is held impossible misleads for good."""
        given = self.contrast < 1 or math.isfinite(self.coherence)
        if given or device == LIKELIHOOD or not abilities(spec.unwrap(device)).noise:
            return "known"
        if self.policy.fresh:
            raise ValueError(
                f"contrast or coherence must be given for {self.policy!r} on a device that has noise. Got neither for "
                f"{called(spec.unwrap(device))}. Give them, or noise='known' to take it for noiseless."
            )
        return "estimated"

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable."""
        assert self.applications is not None
        method = self._method(self.applications)
        drawn = self.device == LIKELIHOOD
        circuits = None if drawn else nodes.experiments(self.problem)
        return Plan(
            method=method,
            start=np.zeros(0),
            evaluate=self._drawn if circuits is None else circuits.evaluate,
            prepare=None if circuits is None else circuits.prepare,
            conclude=lambda progress: self._concluded(method, progress.state),
            final=lambda progress: None,
            reference=lambda: self.phase,
            stop=Stop(),
            title=self.title,
            unit="rad",
            requests=lambda: self._rehearsed(method),
        )

    def _rehearsed(self, method: Concluding) -> int | None:
        """Requests until the end, with outcomes drawn from their law; None where that takes long."""
        assert self.applications is not None
        if self.applications > MOST_REHEARSED:
            return None
        key = Key.from_seed(self.seed)
        state = method.init(np.zeros(0), key)
        for number in range(self.applications + 1):
            request = method.ask(state)
            if isinstance(request, Finished):
                return number
            state, _ = method.tell(state, self._drawn(request, key.fold("rehearsal", number)))
        return None

    def _concluded(self, method: Concluding, state: Any) -> Outcome:
        """The policy's answer."""
        return Outcome() if state is None else with_energy(self.problem, method.conclude(state))

    def _drawn(self, request: Request, key: Key) -> Reply:
        """Outcomes from their law: of one preparation for all experiments, or of one for each."""
        if not isinstance(request, Experiment):
            raise TypeError(f"Phase estimation answers experiments. Got {type(request).__name__}.")
        weights, held = np.asarray(self.problem.weights), np.asarray(self.problem.phases)
        rng = key.generator()
        if self.policy.fresh:
            phases = held[rng.choice(len(held), size=len(request.powers), p=weights)]
        else:
            phases = held[
                Key.from_seed(self.seed).fold("eigenphase", self.repeat).generator().choice(len(held), p=weights)
            ]
        seen = single(self.contrast, self.coherence).visibility(np, request.powers)[0]
        zero = (1 + seen * np.cos(request.powers * phases - request.angles)) / 2
        bits = (rng.random(len(zero)) >= zero).astype(np.uint8)
        return Reply(outcomes=bits, executions=len(bits))


def with_energy(problem: Any, found: Outcome) -> Outcome:
    """A phase with the energy that it stands for and its standard error, where the unitary is an evolution."""
    time = getattr(problem, "time", None)
    if time is None or found.value is None or found.stderr is None:
        return found
    energies = {"energy": problem.energy(found.value), "energy_stderr": found.stderr / abs(time)}
    return dataclasses.replace(found, details={**energies, **found.details})
