"""Logical teleportation with the decoder in the loop: its answer decides which gate runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from varq import checks, spec
from varq.algorithms.correction.codes import Code, Repetition
from varq.algorithms.correction.decoders import as_decoder
from varq.algorithms.correction.faults import stim_model
from varq.algorithms.correction.feedback import Asked, Latency, Stopwatch, decoded
from varq.algorithms.correction.fewest import FewestFaults
from varq.algorithms.correction.hops import BARE, Course
from varq.algorithms.correction.logical import check_noise
from varq.algorithms.correction.lookup import MOST_BITS, Lookup
from varq.algorithms.correction.memory_circuits import check_basis, pure
from varq.algorithms.correction.noise import Noise, as_noise
from varq.algorithms.task import Task, put, settled, usual_device
from varq.devices.catalog import DEFAULT, abilities, called
from varq.devices.service import Bits, run_now
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Finished, Outcome, Plan, Prepared, Progress, Reason, Reply, Request, Sample, Stop

__all__ = ["LogicalTeleportation"]

STATES = ("+", "-", "0", "1")
SHOTS = 2000


@dataclass(frozen=True, eq=False)
class LogicalTeleportation(Task):
    """Move a logical state between two patches of a code, with a gate on the way that waits for the decoder.

    The other patch is made, syndromes are measured, a transversal CNOT gate entangles the patches, and the data of the
    first are measured.  From these bits and all syndromes before, the decoder says which logical bit they mean, and a
    logical operator is applied to the second patch if it is 1; so on for each hop.  All is one measured circuit on
    `varq.qubit`: the decoder is a Python object that is asked between two gates, shot by shot and round by round, and
    is timed.

    `value` is the probability of a wrong bit at the end, `reference` its exact value, summed over all sets of faults,
    where the decoder is a table and the circuit small.  `details` has `errors` of `shots`, `bare`, the exact error of
    a qubit without a code in the same circuit and noise, `changed`, in what share of the shots the decoder changed
    which gate ran, and its `latency` in seconds (`mean`, `p99` and `worst` of a round, and `answer`, which the gate
    waits for) beside `round_time`; `keeps_up` tells whether a round is decoded before the next one comes.  What was
    seen of the decoder is None where the bits of every batch were found in the store, and no circuit ran.

    The state is made and read in one basis, which the code has to keep; of a repetition code this is Z, so that it
    beats a bare qubit where flips alone matter.  Syndromes are measured one after the other by one ancilla.

    Args:
        code: such as `Repetition(3)`: each stabilizer of X alone or of Z alone.
        state: "0", "1", "+" or "-".
        hops: how often the state moves, at least 1.
        rounds: of syndrome measurements of both patches before each move, and of the last one at the end.
        p: the probability that the noise takes multiples of.
        noise: "uniform" (every operation fails), "phenomenological", "code-capacity", or a `Noise` without idling.
        decoder: a decoder or its name; None for "lookup", which needs no extra, where its table is small enough, else
            for the fewest faults (the extra `qec`).
        listened: whether gates follow the decoder.  If not, they follow the bits as they were measured; the decoder
            corrects the readout at the end all the same.
        batch: shots in a request.
        round_time: seconds that a round takes on the machine that is thought of; 1 microsecond of superconducting
            qubits (Google Quantum AI, Nature 638, 920 (2025): 1.1).

    Raises:
        TypeError: if `code` is no code or `decoder` no decoder.
        ValueError: for an unknown state, noise or decoder, a state that the code does not keep, a code with stabilizers
            of several letters, numbers out of range, or noise that these circuits do not have.

    Example:
        >>> import varq
        >>> task = LogicalTeleportation(p=0.02, shots=1000)
        >>> result = varq.run(task, store=None, progress=False)
        >>> bool(abs(result.deviation) < 4 * result.stderr), result.value < result.details["bare"]
        (True, True)
    """

    code: Any = field(default_factory=Repetition)
    state: str = "1"
    hops: int = 1
    rounds: int = 2
    p: float = 0.005
    noise: Any = "uniform"
    decoder: Any = None
    listened: bool = True
    batch: int = 1000
    round_time: float = 1e-6

    kind: ClassVar[str] = "algorithm:logical-teleportation"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("state", self.state, STATES)
        checks.instance("code", self.code, Code, hint="Give Repetition(3) or Steane().")
        check_basis(self.code, self._basis)
        for string in self.code.stabilizers:
            if not (pure(string, "X") or pure(string, "Z")):
                raise ValueError(
                    "code must have stabilizers of X alone and of Z alone, so that CNOT gates act qubit by qubit. Got "
                    f"the {self.code.title} with {string!r}. Use Repetition(3) or Steane()."
                )
        noise = as_noise(self.noise)
        check_noise(noise, self.code)
        put(
            self,
            hops=checks.integer("hops", self.hops, minimum=1),
            rounds=checks.integer("rounds", self.rounds, minimum=1),
            p=checks.real("p", self.p, minimum=0, maximum=1, hint="It is a probability."),
            noise=noise,
            decoder=None if self.decoder is None else as_decoder(self.decoder),
            listened=checks.boolean("listened", self.listened),
            batch=checks.integer("batch", self.batch, minimum=1),
            round_time=checks.real("round_time", self.round_time, above=0, hint="In seconds."),
        )
        noise.rates(self.p)

    @property
    def _basis(self) -> str:
        return "Z" if self.state in "01" else "X"

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        return f"teleportation of |{self.state}> in the {self.code.title}, p = {self.p:g}"

    def resolve(self, device: Any, shots: int | None) -> LogicalTeleportation:
        """This spec with every choice made.

        Raises:
            ValueError: for another device than varq.qubit.
        """
        device = usual_device(device)
        if not abilities(spec.unwrap(device)).middle:
            raise ValueError(
                f"A decoder in the loop needs a device that asks it while the circuit runs: {DEFAULT}. "
                f"Got device={called(spec.unwrap(device))!r}. Leave the device out."
            )
        shots = SHOTS if shots is None else shots
        resolved: LogicalTeleportation = settled(self, device, shots, decoder=self._decoder)
        return resolved

    @property
    def _decoder(self) -> Any:
        """The one that was chosen, or the usual one."""
        return self.decoder or (Lookup() if self._tabled else FewestFaults())

    @property
    def _tabled(self) -> bool:
        """Whether a table can hold what the last decision hangs on."""
        return len(self.course.questions[-1].detectors) + 1 <= MOST_BITS

    @cached_property
    def course(self) -> Course:
        """The circuit, and what is asked of the decoder in it."""
        noise: Noise = self.noise
        return Course(self.code, noise.rates(self.p), self.state, self.hops, self.rounds)

    def bare(self) -> float:
        """The exact probability of a wrong bit where a bare qubit moves through the same circuit and noise."""
        noise: Noise = self.noise
        alone = Course(BARE, noise.rates(self.p), self.state, self.hops, self.rounds)
        return alone.failure([False] * len(alone.questions))

    def reference(self) -> float | None:
        """The exact probability of a wrong bit; None where it is not known."""
        last = self.course.questions[-1]
        if not isinstance(self._decoder, Lookup) or len(last.detectors) + len(self.course.questions) > MOST_BITS:
            return None
        return self.course.failure([self.listened] * self.hops + [True])

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable on a device."""
        assert self.shots is not None
        shots = self.shots
        course, watch = self.course, Stopwatch()
        asked = [self._asked(k, watch) for k in range(self.hops + 1)]

        def circuit(x: Any) -> list[Any]:
            def decide(number: int, bits: Any, raw: Any) -> Any:
                return decoded(asked[number] if self.listened or number == self.hops else None, bits, raw)

            return course.queue(decide)

        sampler = nodes.bits(circuit, course.wires, ())

        def prepare(request: Request, key: Key, precision: float = 1.0) -> Prepared:
            prepared = sampler.prepare(request, key, precision)
            spent: list[float] = []

            def decode(bits: Sequence[Bits]) -> Reply:
                reply, latency = prepared.decode(bits), watch.take()
                if latency is None:  # no circuit ran, as in a forecast: the readout is always decoded
                    return reply
                changed = sum(one.changed() for one in asked[:-1]) / self.hops
                return replace(reply, tracked={"changed": changed}, timings=self._timed(latency, sum(spent), reply))

            return Prepared(tuple(replace(one, told=spent.append) for one in prepared.circuits), decode)

        def evaluate(request: Request, key: Key) -> Reply:
            prepared = prepare(request, key)
            return prepared.decode(run_now(sampler.reach(), prepared.circuits))

        return Plan(
            method=_Counting(self.shots, self.batch, course.expected),
            start=_NOTHING,
            evaluate=evaluate,
            conclude=self._concluded,
            final=lambda progress: None,
            reference=self.reference,
            stop=Stop(),
            title=self.title,
            prepare=prepare,
            requests=lambda: -(-shots // self.batch),
        )

    def _timed(self, latency: Latency, spent: float, reply: Reply) -> dict[str, float]:
        """How long the decoder took, and the simulator for a round of one shot, seconds."""
        assert reply.outcomes is not None
        rounds = len(reply.outcomes) * self.rounds * (self.hops + 1)
        return {
            "latency_mean": latency.mean,
            "latency_p99": latency.p99,
            "latency_worst": latency.worst,
            "latency_answer": latency.answer,
            "simulated_round": max(spent - latency.total, 0.0) / rounds,
        }

    def _concluded(self, progress: Progress) -> Outcome:
        seen: _Seen | None = progress.state
        if seen is None or not seen.shots:
            return Outcome()
        told = seen.told
        latency = {name: told.get(f"latency_{name}") for name in ("mean", "p99", "worst", "answer")}
        mean = latency["mean"]
        details = {
            "errors": seen.errors,
            "shots": seen.shots,
            "bare": self.bare(),
            "changed": told.get("changed"),
            "latency": latency,
            "round_time": self.round_time,
            "simulated_round": told.get("simulated_round"),
            "keeps_up": None if mean is None else mean <= self.round_time,
            "detectors": len(self.course.questions[-1].detectors),
            "qubits": self.course.wires,
        }
        return Outcome(seen.rate, seen.stderr, None, details)

    def _asked(self, number: int, watch: Stopwatch) -> Asked:
        question, model = self.course.questions[number], self.course.model(number)
        fits = isinstance(self._decoder, Lookup)
        decoding = self._decoder.from_dem(model if fits else stim_model(model))
        return Asked(decoding, question.detectors, question.rounds, [question.raw], watch)


_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class _Seen:
    """What was counted so far, and what batches told on average (of the longest times, the longest)."""

    shots: int = 0
    errors: int = 0
    told: Mapping[str, float] = field(default_factory=dict)
    watched: int = 0  # shots of the batches that told something

    @property
    def rate(self) -> float:
        return self.errors / self.shots

    @property
    def stderr(self) -> float:
        """Of the posterior distribution of the rate, Jeffreys' prior."""
        a, b = self.errors + 0.5, self.shots - self.errors + 0.5
        return math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


class _Counting:
    """Asks for batches of shots until all are done, and counts wrong bits at the end."""

    def __init__(self, shots: int, batch: int, expected: int) -> None:
        self._shots, self._batch, self._expected = shots, batch, expected

    def init(self, start: Any, key: Key) -> _Seen:
        """Nothing is counted."""
        return _Seen()

    def ask(self, state: _Seen) -> Request | Finished:
        """The next batch."""
        if state.shots >= self._shots:
            return Finished(Reason.CONVERGED, "all shots are done")
        return Sample(_NOTHING, min(self._batch, self._shots - state.shots))

    def tell(self, state: _Seen, reply: Reply) -> tuple[_Seen, Mapping[str, Any]]:
        """Count the errors."""
        assert reply.outcomes is not None
        shots = len(reply.outcomes)
        errors = int((reply.outcomes[:, -1] != self._expected).sum())
        told = {**reply.tracked, **(reply.timings or {})}
        watched = state.watched + (shots if told else 0)
        now = _Seen(state.shots + shots, state.errors + errors, _joined(state, told, shots), watched)
        return now, {"value": now.rate, "stderr": now.stderr, "shots": now.shots, "errors": now.errors}


def _joined(state: _Seen, told: Mapping[str, float], shots: int) -> dict[str, float]:
    found = dict(state.told)
    for name, value in told.items():
        before = found.get(name, value)
        longest = name in ("latency_p99", "latency_worst")
        mean = (before * state.watched + value * shots) / (state.watched + shots)
        found[name] = float(max(before, value) if longest else mean)
    return found
