"""Phase estimation with an adaptive Bayesian policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.algorithms.posterior import TWO_PI, Posterior
from varq.algorithms.task import Task, put, settled
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Experiment, Finished, Outcome, Plan, Progress, Reason, Reply, Request, Stop

__all__ = ["EIGENSTATE", "GreedyPolicy", "PhaseEstimation"]

LIKELIHOOD = "likelihood"  # stands where other algorithms have their device
MOST_APPLICATIONS = 1024
MOST_WITH_SHOTS = 16384
MOST_EVER = 1 << 22
_MEMORY = "The posterior is kept on about four points for each."
EIGENSTATE = 1e-6  # largest weight on other eigenstates with which a state still counts as an eigenstate


@dataclass(frozen=True, eq=False)
class PhaseEstimation(Task):
    """Estimate an eigenphase by experiments that are each chosen from what the earlier ones told.

    An experiment applies the controlled unitary `power` times and measures the control qubit at a reference `angle`:
    P(0) = (1 + v cos(power * phase - angle)) / 2 with the visibility v = contrast * exp(-power / coherence).  Outcomes
    are drawn from this law.  `value` is the posterior's mean direction in [0, 2 pi), `stderr` the square root of its
    Holevo variance; `details` holds the posterior, a 95 % credible interval and the applications used.

    Args:
        problem: an `EigenPhase` whose state is an eigenstate.
        shots: most experiments, one measured bit each; None for no limit but `applications`.
        applications: most applications of the controlled unitary, over all experiments; None for 1024, or for 16384
            where `shots` is given; at most 4,194,304.
        coherence: applications after which the visibility has fallen to 1/e; infinite without decoherence.
        contrast: visibility of readout and preparation, in (0, 1]; a bit flipped with probability f gives 1 - 2 f.

    Raises:
        TypeError: if `problem` is no `EigenPhase`.
        ValueError: if its state is no eigenstate, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> from varq.problems import EigenPhase
        >>> task = PhaseEstimation(problem=EigenPhase(np.diag([1, np.exp(2.0j)]), state=1), applications=256)
        >>> task.applications
        256
    """

    problem: Any
    applications: int | None = None
    coherence: float = math.inf
    contrast: float = 1.0

    kind: ClassVar[str] = "algorithm:phase-estimation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.problem, "phases") or not hasattr(self.problem, "weights"):
            raise TypeError(f"problem must be an EigenPhase. Got {self.problem!r}. Use EigenPhase(unitary, state).")
        weights = np.asarray(self.problem.weights)
        if weights.max() < 1 - EIGENSTATE:
            raise ValueError(
                "problem must hold an eigenstate: this policy models one phase. "
                f"Got weights {np.round(np.sort(weights)[::-1][:4], 4).tolist()}. Prepare the state of one eigenphase."
            )
        if self.device not in (None, LIKELIHOOD) or self.precision != "double":
            raise ValueError(
                "Phase estimation draws its outcomes from their law: device and precision have no meaning here. "
                f"Got device={self.device!r}, precision={self.precision!r}. Leave them out."
            )
        if self.applications is not None:
            put(self, applications=checks.integer("applications", self.applications, 1, MOST_EVER, _MEMORY))
        put(
            self,
            coherence=checks.real("coherence", self.coherence, above=0, infinite=True),
            contrast=checks.real("contrast", self.contrast, above=0, maximum=1),
        )

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        most = "" if self.applications is None else f", {self.applications} applications"
        return f"phase of {self.problem.title}{most}"

    @property
    def phase(self) -> float:
        """The exact phase, radians in [0, 2 pi)."""
        return float(np.asarray(self.problem.phases)[int(np.argmax(self.problem.weights))])

    def resolve(self, device: Any, shots: int | None) -> PhaseEstimation:
        """This spec with every choice made; the law of the outcomes is simulated, so there is no device."""
        usual = MOST_APPLICATIONS if shots is None else MOST_WITH_SHOTS
        resolved: PhaseEstimation = settled(self, LIKELIHOOD, shots, applications=self.applications or usual)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable."""
        assert self.applications is not None
        policy = GreedyPolicy(self.applications, self.shots, self.coherence, self.contrast)
        return Plan(
            method=policy,
            start=np.zeros(0),
            evaluate=self._experiment,
            conclude=self._conclude,
            final=lambda progress: None,
            reference=lambda: self.phase,
            stop=Stop(),
            title=self.title,
            unit="rad",
        )

    def _experiment(self, request: Request, key: Key) -> Reply:
        if not isinstance(request, Experiment):
            raise TypeError(f"Phase estimation answers experiments. Got {type(request).__name__}.")
        visibility = self.contrast * np.exp(-request.powers / self.coherence)
        zero = (1 + visibility * np.cos(request.powers * self.phase - request.angles)) / 2
        bits = (key.generator().random(len(zero)) >= zero).astype(np.uint8)
        return Reply(outcomes=bits, executions=len(bits))

    def _conclude(self, progress: Progress) -> Outcome:
        if progress.state is None:
            return Outcome()
        return conclude(progress.state)


@dataclass(frozen=True, eq=False)
class _State:
    posterior: Posterior
    applications: int = 0
    experiments: int = 0
    asked: tuple[int, float] = (0, 0.0)


class GreedyPolicy:
    """Choose the experiment with the largest expected gain in log Holevo variance per application.

    With the circular moments a_j = <exp(i j phase)> of the posterior, the expected sharpness after an experiment of
    power p at angle t is |a_1 + d|/2 + |a_1 - d|/2, d = v/2 (exp(-i t) a_(1+p) + exp(i t) a_(1-p)): all candidates
    follow from one Fourier transform.  Powers are sqrt(2)^k; under noise a reserve is kept so that the last experiments
    are not long ones with an ambiguous answer.  Derived from the adaptive scheme of Higgins et al., Nature 450, 393
    (2007), and Berry et al., Phys. Rev. A 80, 052114 (2009), with the cost of an experiment in the gain.

    Args:
        applications: most applications in all.
        experiments: most experiments; None for no limit.
        coherence: of the visibility, in applications.
        contrast: of the visibility.
    """

    ANGLES = 16  # reference angles tried, over half a turn
    RESERVE = 6  # times its own power that must be left for an experiment under noise

    def __init__(self, applications: int, experiments: int | None, coherence: float, contrast: float) -> None:
        self._applications = applications
        self._experiments = experiments
        noisy = math.isfinite(coherence) or contrast < 1
        self._reserve = self.RESERVE if noisy else 1
        reach = 4 / applications
        if coherence < applications:
            reach = max(reach, math.sqrt(2 * math.e / (applications * coherence)))
        self._grid = 1 << max(6, math.ceil(math.log2(2.5 * TWO_PI / reach)))
        longest = max(1, min(applications // 4, self._grid // 4, int(min(2 * coherence, applications))))
        steps = np.arange(0, 2 * math.log2(longest) + 1) / 2
        powers = np.unique(np.round(2**steps).astype(np.int64))
        self._powers = powers[powers <= longest]
        self._visibility = contrast * np.exp(-self._powers / coherence)
        self._angles = np.arange(self.ANGLES) * np.pi / self.ANGLES
        self._contrast, self._coherence = contrast, coherence

    def init(self, start: Any, key: Key) -> _State:
        """A flat posterior."""
        return _State(Posterior.flat(self._grid))

    def ask(self, state: _State) -> Experiment | Finished:
        """The next experiment, or the end when the applications or experiments are used up."""
        left = self._applications - state.applications
        if left < 1:
            return Finished(Reason.CONVERGED, f"all {self._applications} applications are used")
        if self._experiments is not None and state.experiments >= self._experiments:
            return Finished(Reason.CONVERGED, f"all {self._experiments} experiments are done")
        power, angle = self._best(state, left)
        return Experiment(np.array([power], dtype=np.int64), np.array([angle]))

    def _best(self, state: _State, left: int) -> tuple[int, float]:
        moments = state.posterior.moments
        first, up = moments[1], moments[1 + self._powers]
        down = np.conj(moments[np.abs(self._powers - 1)])
        turn = self._visibility[:, None] / 2 * np.exp(-1j * self._angles)[None, :]
        shift = turn * up[:, None] + np.conj(turn) * down[:, None]
        sharp = (np.abs(first + shift) + np.abs(first - shift)) / 2
        tiny = 1e-15
        gain = np.log(max(1 - abs(first) ** 2, tiny) / np.maximum(1 - sharp**2, tiny)) / self._powers[:, None]
        need = np.where(self._powers > 1, self._reserve * self._powers, 1)
        gain[need > left] = -np.inf
        p, t = np.unravel_index(int(np.argmax(gain)), gain.shape)
        return int(self._powers[p]), float(self._angles[t])

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """The posterior after the outcomes of the experiment that `ask` named."""
        request = self.ask(state)
        assert isinstance(request, Experiment)
        assert reply.outcomes is not None
        power, angle = int(request.powers[0]), float(request.angles[0])
        visibility = self._contrast * math.exp(-power / self._coherence)
        posterior = state.posterior.updated(power, angle, visibility, int(reply.outcomes[0]))
        after = _State(posterior, state.applications + power, state.experiments + 1, (power, angle))
        info = {
            "value": posterior.mean,
            "stderr": posterior.deviation,
            "power": power,
            "angle": angle,
            "applications": after.applications,
        }
        return after, info


def conclude(state: _State) -> Outcome:
    """The answer of a posterior."""
    posterior = state.posterior
    used = state.applications
    deviation = posterior.deviation
    details = {
        "grid": posterior.grid,
        "density": posterior.density,
        "interval": posterior.interval(0.95),
        "applications": used,
        "experiments": state.experiments,
        "overhead": deviation / math.tan(math.pi / (used + 2)) if used else math.inf,
    }
    return Outcome(posterior.mean, deviation, None, details)
