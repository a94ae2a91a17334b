"""The memory experiment: how often a code loses the logical state that it keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import betaincinv

from varq import checks
from varq.algorithms.correction.belief import BPOSD
from varq.algorithms.correction.decoders import Matching, as_decoder, error_model
from varq.algorithms.correction.fewest import FewestFaults
from varq.algorithms.correction.lookup import Lookup, fault_law, read_model
from varq.algorithms.correction.memory_circuits import check_basis, memory_circuit, usual_rounds
from varq.algorithms.correction.noise import as_noise
from varq.algorithms.task import Task, put, settled
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Finished, Outcome, Plan, Progress, Reason, Reply, Request, Stop, Value

__all__ = ["SHOTS", "Memory", "jeffreys", "per_round", "per_round_with_error"]

SHOTS = 100_000
BATCH = 10_000
_TABLE = 16  # most detectors whose sets can all be decoded, which gives the exact rate


def per_round(rate: float, rounds: int) -> float:
    """The rate of logical errors of one round, of which an odd number in `rounds` rounds shows as `rate`.

    Args:
        rate: of logical errors in all rounds.
        rounds: how many.

    Returns:
        (1 - (1 - 2 rate)^(1 / rounds)) / 2; at most 1/2.

    Example:
        >>> round(per_round(0.095, 10), 6)
        0.010426
    """
    checks.integer("rounds", rounds, minimum=1)
    kept = max(1 - 2 * checks.real("rate", rate, minimum=0, maximum=1), 0.0)
    return (1.0 - float(kept ** (1 / rounds))) / 2


def per_round_with_error(rate: float, stderr: float, rounds: int) -> tuple[float, float]:
    """`per_round` and its standard error, which is infinite where half of the shots or more are in error.

    Args:
        rate: of logical errors in all rounds.
        stderr: its standard error.
        rounds: how many.

    Example:
        >>> per_round_with_error(0.25, 0.01, 1), per_round_with_error(0.5, 0.01, 3)
        ((0.25, 0.01), (0.5, inf))
    """
    slope = (1 - 2 * rate) ** (1 / rounds - 1) / rounds if rate < 0.5 else math.inf
    return per_round(rate, rounds), slope * stderr


def jeffreys(failures: int, shots: int) -> tuple[float, float]:
    """A rate, and the standard deviation of its posterior distribution under Jeffreys' prior.

    Example:
        >>> rate, stderr = jeffreys(0, 100)
        >>> rate, round(stderr, 4)
        (0.0, 0.0069)
    """
    a, b = failures + 0.5, shots - failures + 0.5
    return failures / shots, math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


@dataclass(frozen=True, eq=False)
class Memory(Task):
    """Keep a logical state for some rounds of noisy syndrome measurements, decode, and count logical errors.

    Circuits are simulated by Stim, in batches of shots, each a step of the run: it is journalled, can be stopped, goes
    on where it stopped, and has the same results as if it had not.  `value` is the rate of logical errors per shot,
    that is in all rounds together; `stderr` its standard deviation under Jeffreys' prior, which is not zero where no
    error was seen.  `reference` is the exact rate where all sets of detectors can be decoded (at most 16 detectors).
    `details` has `failures`, `shots`, `rounds`, `per_round` and `per_round_stderr`, the 95 % `interval` of the rate,
    `detectors`, `distance`, and `decode_us`, microseconds that the decoder took for a shot.

    Args:
        code: such as `RotatedSurface(3)`.
        p: probability that the noise takes multiples of, in [0, 1].
        noise: "code-capacity", "phenomenological", "uniform" or "si1000", or a `Noise` of one's own.
        rounds: of syndrome measurements, at least 1; None for the code's distance, or 1 where they are never wrong.
        basis: "Z" keeps an eigenstate of logical Z, "X" one of logical X.
        decoder: "matching", "lookup", "fewest-faults", "bposd", or a decoder such as `Matching(correlated=False)` or
            `Window("matching", width=10, commit=5)`; None for matching (with correlations from distance 5 on) where it
            fits, else for an exact table where it is small enough, else for the fewest faults, else for BP+OSD.
        failures: logical errors after which the run ends; None for no such rule.
        batch: shots of a step.
        shots: in all, at most; None for 100,000.

    Raises:
        ModuleNotFoundError: when it is run without Stim or the decoder's package.
        TypeError: if `code` is no code or `decoder` no decoder.
        ValueError: for a p, rounds, shots or names out of range, a decoder that does not fit the code, or a device.

    Example:
        >>> import varq
        >>> from varq.algorithms.correction import Repetition
        >>> task = Memory(Repetition(3), p=0.01, rounds=2, shots=20_000)
        >>> result = varq.run(task, store=None, progress=False)  # doctest: +SKIP
        >>> abs(result.deviation) < 5 * result.stderr  # doctest: +SKIP
        True
    """

    code: Any
    p: float
    noise: Any = "uniform"
    rounds: int | None = None
    basis: str = "Z"
    decoder: Any = None
    failures: int | None = None
    batch: int = BATCH

    kind: ClassVar[str] = "algorithm:memory"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device is not None or self.precision != "double":
            raise ValueError(
                "A memory experiment is simulated by Stim: device and precision have no meaning for it. "
                f"Got {self.device!r}, {self.precision!r}. Leave them out."
            )
        check_basis(self.code, self.basis)
        put(
            self,
            noise=as_noise(self.noise),
            p=checks.real("p", self.p, minimum=0, maximum=1, hint="It is a probability."),
            batch=checks.integer("batch", self.batch, minimum=1),
        )
        self.noise.rates(self.p)
        if self.rounds is not None:
            put(self, rounds=checks.integer("rounds", self.rounds, minimum=1))
        if self.failures is not None:
            put(self, failures=checks.integer("failures", self.failures, minimum=1))
        if self.decoder is not None:
            put(self, decoder=as_decoder(self.decoder))

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        rounds = "" if self.rounds is None else f", {checks.counted(self.rounds, 'round')}"
        return f"memory {self.basis} of the {self.code.title}, {self.noise.name} noise, p = {self.p:g}{rounds}"

    def resolve(self, device: Any, shots: int | None) -> Memory:
        """This spec with every choice made; a session's device has no part in it."""
        resolved: Memory = settled(
            self,
            None,
            SHOTS if shots is None else shots,
            rounds=usual_rounds(self.code, self.noise) if self.rounds is None else self.rounds,
        )
        decoder = resolved._usual() if self.decoder is None else self.decoder
        if getattr(decoder, "graphlike", False) and not self.code.matchable:
            raise ValueError(
                f"{decoder!r} does not fit the {self.code.title}: it pairs flipped stabilizers up, and an error of one "
                "qubit flips more than two of them. Use Lookup(), FewestFaults(), BPOSD(), or a Window around one."
            )
        put(resolved, decoder=decoder.settled(self.code.distance) if hasattr(decoder, "settled") else decoder)
        return resolved

    def circuit(self) -> Any:
        """The circuit that is run, a `stim.Circuit`."""
        return memory_circuit(self.code, self.p, self.noise, self.rounds, self.basis)

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable."""
        assert self.shots is not None
        shots = self.shots
        sampler = _Sampler(self.circuit(), self.decoder)
        return Plan(
            method=_Counting(self.shots, self.batch, self.failures),
            start=np.zeros(0),
            evaluate=sampler.evaluate,
            conclude=lambda progress: self._concluded(progress, sampler),
            final=lambda progress: None,
            reference=sampler.exact,
            stop=Stop(),
            title=self.title,
            requests=lambda: -(-shots // self.batch),
        )

    def _usual(self) -> Any:
        """The decoder where nobody chose one."""
        if self.code.matchable:
            return Matching()
        circuit = self.circuit()
        if circuit.num_detectors + circuit.num_observables <= Lookup().most:
            return Lookup()
        return FewestFaults() if FewestFaults.fits(circuit.num_detectors, circuit.num_observables) else BPOSD()

    def _concluded(self, progress: Progress, sampler: _Sampler) -> Outcome:
        seen: _Seen | None = progress.state
        if seen is None or not seen.shots:
            return Outcome()
        assert self.rounds is not None
        each, error = per_round_with_error(seen.rate, seen.stderr, self.rounds)
        details = {
            "failures": seen.failures,
            "shots": seen.shots,
            "rounds": self.rounds,
            "per_round": each,
            "per_round_stderr": error,
            "interval": seen.interval,
            "detectors": sampler.detectors,
            "distance": self.code.distance,
            "decode_us": 1e6 * seen.seconds / seen.shots,
        }
        return Outcome(seen.rate, seen.stderr, None, details)


@dataclass(frozen=True)
class _Seen:
    """What was counted so far."""

    shots: int = 0
    failures: int = 0
    seconds: float = 0.0  # of decoding
    steps: int = 0

    @property
    def rate(self) -> float:
        return jeffreys(self.failures, self.shots)[0]

    @property
    def stderr(self) -> float:
        return jeffreys(self.failures, self.shots)[1]

    @property
    def interval(self) -> tuple[float, float]:
        """Jeffreys' interval of 95 %."""
        a, b = self.failures + 0.5, self.shots - self.failures + 0.5
        low = 0.0 if not self.failures else float(betaincinv(a, b, 0.025))
        high = 1.0 if self.failures == self.shots else float(betaincinv(a, b, 0.975))
        return low, high


class _Counting:
    """Asks for batches of shots until there are enough of them, or of failures."""

    def __init__(self, shots: int, batch: int, failures: int | None) -> None:
        self._shots, self._batch, self._failures = shots, batch, failures

    def init(self, start: Any, key: Key) -> _Seen:
        """Nothing is counted."""
        return _Seen()

    def ask(self, state: _Seen) -> Request | Finished:
        """The next batch: its number and how many shots it has."""
        if state.shots >= self._shots:
            return Finished(Reason.CONVERGED, "all shots are done")
        if self._failures is not None and state.failures >= self._failures:
            return Finished(Reason.CONVERGED, f"{checks.counted(state.failures, 'logical error')} seen")
        return Value(np.array([state.steps, min(self._batch, self._shots - state.shots)], dtype=np.float64))

    def tell(self, state: _Seen, reply: Reply) -> tuple[_Seen, Mapping[str, Any]]:
        """Count the failures."""
        told = {**reply.tracked, **(reply.timings or {})}
        now = _Seen(
            state.shots + int(told["batch_shots"]),
            state.failures + int(told["batch_failures"]),
            state.seconds + told["decode_seconds"],
            state.steps + 1,
        )
        return now, {"value": now.rate, "stderr": now.stderr, "shots": now.shots, "failures": now.failures}


class _Sampler:
    """Answers requests: samples a circuit, decodes, compares."""

    def __init__(self, circuit: Any, decoder: Any) -> None:
        self._circuit = circuit
        self._model = error_model(circuit, decoder)
        self._decoding = decoder.from_dem(self._model)
        self.detectors = int(circuit.num_detectors)

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The share of a batch's shots that end in a logical error."""
        if not isinstance(request, Value):
            raise TypeError(f"A memory experiment answers values. Got {type(request).__name__}.")
        shots = int(request.x[1])
        sampler = self._circuit.compile_detector_sampler(seed=key.seed())
        detectors, observables = sampler.sample(shots, separate_observables=True)
        began = time.perf_counter()
        found = self._decoding.decode_batch(detectors)
        spent = time.perf_counter() - began
        failed = int((found != observables).any(axis=1).sum())
        rate = failed / shots
        return Reply(
            value=rate,
            stderr=math.sqrt(rate * (1 - rate) / shots),
            tracked={"batch_failures": float(failed), "batch_shots": float(shots)},
            executions=1,
            timings={"decode_seconds": spent},
        )

    def exact(self) -> float | None:
        """The exact rate, from the law of all sets of detectors, where these are few."""
        if self.detectors > _TABLE or self._circuit.num_observables != 1:
            return None
        law = fault_law(read_model(self._model))
        # Sets that no faults give need no answer: a graph without boundary has none for an odd number.
        sets = np.flatnonzero(law.sum(axis=1) > 0)
        fired = (sets[:, None] >> np.arange(self.detectors) & 1).astype(np.bool_)
        found = self._decoding.decode_batch(fired)[:, 0].astype(np.int64)
        return float(law[sets, 1 - found].sum())
