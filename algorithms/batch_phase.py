"""Batch phase estimation: all shots of one circuit, and what they tell together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks, spec
from varq.algorithms.fourier_law import STATES, estimate, outcome_law
from varq.algorithms.phase import EIGENSTATE, with_energy
from varq.algorithms.phases.posterior import TWO_PI
from varq.algorithms.task import Task, put, settled, usual_device
from varq.circuits.frames import Apply, controlled_by_many, controlled_by_one, prepared, sine_state
from varq.circuits.powers import Blocks, apply_power, by_gates, power_block, prepare_by_gates
from varq.devices.catalog import DEFAULT, abilities, called
from varq.keys import Key
from varq.node.bits import Bitwise, Size, check_middle
from varq.node.nodes import Nodes
from varq.protocol import Array, Finished, Law, Outcome, Plan, Progress, Reason, Reply, Request, Sample, Stop

__all__ = ["CONTROLS", "MOST_BITS", "QPE"]

CONTROLS = ("qft", "semiclassical")
MOST_BITS = 16
_SUMMED = 10  # bits of which the device sums all branches of outcomes without shots
_MANY = 4096.0  # shots that an exact law counts for when its phase is read off


@dataclass(frozen=True, eq=False)
class QPE(Task):
    """Estimate an eigenphase by phase estimation as in textbooks: one circuit, all of its shots in one batch.

    With t bits a shot applies the controlled unitary 2^t - 1 times and gives an integer k, which stands for the phase
    2 pi k / 2^t (Cleve et al., Proc. R. Soc. A 454, 339 (1998)).  `value` is the phase that all shots tell by Bayes'
    rule, in [0, 2 pi), `stderr` the square root of its Holevo variance.  With shots=None the law of the outcomes is
    computed; `stderr` is then that of a single shot.  `details` has the histogram (`outcomes`, `frequencies`), the
    exact `law` in closed form, the 95 % credible `interval`, `applications`, `qubits`, `gates`, `depth`, and where the
    unitary is an evolution the `energy` with its `energy_stderr`.

    Controlled powers are applied by the problem's gates where it has any, and `gates` and `depth` count these.  Of a
    power of more than a few gates, `varq.qubit` is given the matrix in their place: the law is the same to rounding.

    A state of several eigenphases gives a mixture of their laws; the estimate is of the phase that is seen most, the
    others count as a background of unknown share.

    Args:
        problem: an `EigenPhase`, or what has its `phases`, `weights`, `state`, `wires`, `power(exponent)`, `title` and
            `reference()`, and may have its `gates`, `steps` and `preparation`.
        bits: t, at most 16.
        state: of the control register: "uniform", of textbooks, whose Holevo variance falls as 2/N with N applications;
            or "sine", the best one, whose variance is tan(pi / (N + 2))^2.
        control: "qft", t control wires and a Fourier transform, on any device; or "semiclassical", one control wire,
            measured and reset, each turned by what was measured before (Griffiths and Niu, Phys. Rev. Lett. 76, 3228
            (1996)), on varq.qubit.

    Raises:
        TypeError: if `problem` is no `EigenPhase`.
        ValueError: for bits out of range, an unknown state or control, or "sine" with "semiclassical": the sine state
            entangles the control wires.

    Example:
        >>> from varq.problems import EigenPhase
        >>> import varq
        >>> task = QPE(problem=EigenPhase(qml.T(0), state=1), bits=4, shots=100)
        >>> result = varq.run(task, store=None, progress=False)
        >>> abs(result.deviation) < 1e-6, result.details["applications"]
        (True, 1500)
    """

    problem: Any
    bits: int = 6
    state: str = "uniform"
    control: str = "qft"

    kind: ClassVar[str] = "algorithm:qpe"

    def __post_init__(self) -> None:
        super().__post_init__()
        needs = ("phases", "weights", "state", "wires", "power", "reference")
        if not all(hasattr(self.problem, name) for name in needs):
            raise TypeError(f"problem must be an EigenPhase. Got {self.problem!r}. Use EigenPhase(unitary, state).")
        put(self, bits=checks.integer("bits", self.bits, 1, MOST_BITS))
        checks.choice("state", self.state, STATES)
        checks.choice("control", self.control, CONTROLS)
        if self.state == "sine" and self.control == "semiclassical":
            raise ValueError(
                "state='sine' needs a register of control wires, which it entangles. Got control='semiclassical'. "
                "Use control='qft', or state='uniform'."
            )

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        return f"QPE of {self.problem.title}, {checks.counted(self.bits, 'bit')}"

    def resolve(self, device: Any, shots: int | None) -> QPE:
        """This spec with every choice made."""
        device = usual_device(device)
        if self.control == "semiclassical":
            check_middle("control='semiclassical'", spec.unwrap(device))
            if shots is None:
                hint = "Give shots, or use control='qft': without shots, all 2^bits branches of outcomes are summed."
                checks.integer("bits", self.bits, maximum=_SUMMED, hint=hint)
        resolved: QPE = settled(self, device, shots)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable on a device."""
        sampler = self._sampler(nodes)

        def conclude(progress: Progress) -> Outcome:
            counts = None if progress.state is None else progress.state.counts
            return Outcome() if counts is None else self._concluded(counts)

        return Plan(
            method=_Batch(self.bits, self.shots, lambda counts: estimate(counts, self.state, self._mixed)),
            start=_NOTHING,
            evaluate=sampler.evaluate,
            conclude=conclude,
            final=lambda progress: None,
            reference=self.problem.reference,
            stop=Stop(),
            title=self.title,
            unit="rad",
            prepare=None if self.shots is None else sampler.prepare,
        )

    @property
    def _mixed(self) -> bool:
        """Whether outcomes may follow from more than one phase."""
        pure = np.max(self.problem.weights) >= 1 - EIGENSTATE
        return not pure or abilities(spec.unwrap(self.device)).noise

    def _sampler(self, nodes: Nodes) -> Bitwise:
        return nodes.bits(self._circuit(self._apply), len(self._controls) + self.problem.wires, self._controls)

    @property
    def _controls(self) -> tuple[int, ...]:
        return tuple(range(self.bits if self.control == "qft" else 1))

    @property
    def _target(self) -> list[int]:
        return list(range(len(self._controls), len(self._controls) + self.problem.wires))

    def _apply(self, wire: int, j: int) -> None:
        """The controlled power 2^j: by gates, or as one gate."""
        if by_gates(self.problem, 1 << j, called(spec.unwrap(self.device)) == DEFAULT):
            apply_power(self.problem, 1 << j, wire, self._target)
        else:
            qml.ControlledQubitUnitary(self.problem.power(1 << j), wires=[wire, *self._target])

    def _stand_in(self, wire: int, j: int) -> None:
        """What counts as much as the power's gates, also where the simulator takes one matrix for all of them."""
        if by_gates(self.problem, 1 << j, simulated=False):
            Blocks(power_block(self.problem, 1 << j), [wire, *self._target])
        else:
            self._apply(wire, j)

    def _circuit(self, apply: Apply) -> Callable[[Any], list[Any] | None]:
        problem, controls = self.problem, self._controls
        amplitudes = sine_state(self.bits) if self.state == "sine" else None

        def circuit(x: Any) -> list[Any] | None:
            if getattr(problem, "preparation", None) is not None:
                prepare_by_gates(problem.preparation, self._target)
            else:
                prepared(problem.state, self._target)
            if self.control == "semiclassical":
                return controlled_by_one(apply, controls[0], self.bits)
            controlled_by_many(apply, controls, amplitudes)
            return None

        return circuit

    def _concluded(self, counts: Array) -> Outcome:
        size = Size.recorded(self._circuit(self._stand_in), _NOTHING, len(self._controls) + self.problem.wires)
        told = estimate(counts if self.shots else _MANY * counts, self.state, self._mixed)
        # Outcomes of a computed law that cannot occur have a probability of rounding.
        seen = np.flatnonzero(counts > 1e-12)
        details: dict[str, Any] = {
            "bits": self.bits,
            "outcomes": seen,
            "frequencies": counts[seen] / counts.sum(),
            "law": outcome_law(self.problem.phases, self.problem.weights, self.bits, self.state),
            "applications": ((1 << self.bits) - 1) * (self.shots or 1),
            "qubits": size.qubits,
            "gates": size.gates,
            "depth": size.depth,
        }
        if self.shots is None:
            found = Outcome(told.phase, _one_shot(counts), None, details)
        else:
            found = Outcome(told.phase, told.deviation, None, {**details, "interval": told.interval})
        return with_energy(self.problem, found)


_NOTHING = np.zeros(0)


def _one_shot(law: Array) -> float:
    """The square root of the Holevo variance of the phase that one outcome stands for."""
    sharpness = abs(complex(law @ np.exp(1j * TWO_PI * np.arange(len(law)) / len(law))))
    return math.inf if sharpness < 1e-12 else math.sqrt(max(sharpness**-2 - 1, 0.0))


@dataclass(frozen=True, eq=False)
class _State:
    """How often each integer came, or how probable it is; None before that is known."""

    counts: NDArray[np.float64] | None = None


class _Batch:
    """Ask for everything at once."""

    def __init__(self, bits: int, shots: int | None, told: Any) -> None:
        self._bits, self._shots, self._told = bits, shots, told

    def init(self, start: Any, key: Key) -> _State:
        """Nothing is known."""
        return _State()

    def ask(self, state: _State) -> Request | Finished:
        """All shots, or the law of their outcomes."""
        if state.counts is not None:
            return Finished(Reason.CONVERGED, "its law is known" if self._shots is None else "all shots are done")
        return Law(_NOTHING) if self._shots is None else Sample(_NOTHING, self._shots)

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """Count the outcomes."""
        if reply.law is not None:
            return _State(reply.law), {"value": self._told(_MANY * reply.law).phase}
        assert reply.outcomes is not None
        places = 1 << np.arange(self._bits - 1, -1, -1)
        counts = np.bincount(reply.outcomes @ places, minlength=1 << self._bits).astype(np.float64)
        told = self._told(counts)
        return _State(counts), {"value": told.phase, "stderr": told.deviation}
