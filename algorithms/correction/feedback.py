"""Decoding while a circuit runs: a decoder is asked between two gates, and its answer decides on the second."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pennylane.ops import MeasurementValue

from varq.simulator.outcomes import from_host, outcome

__all__ = ["Asked", "Latency", "Stopwatch", "decoded"]

Parity = frozenset[int]


@dataclass(frozen=True)
class Latency:
    """How long a decoder took, seconds.

    Args:
        rounds: pushes that were timed.
        mean: of a push.
        p99: ninety-nine of a hundred pushes took no longer.
        worst: the longest.
        answer: mean of the time from the last push to the correction, which the gate has to wait for.
        total: of all pushes and answers together.
    """

    rounds: int
    mean: float
    p99: float
    worst: float
    answer: float
    total: float


class Stopwatch:
    """Collects how long decoders take; several may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pushes: list[NDArray[np.float64]] = []
        self._answers: list[NDArray[np.float64]] = []

    def note(self, pushes: NDArray[np.float64], answers: NDArray[np.float64]) -> None:
        """Seconds of pushes, of any shape, and of answers."""
        with self._lock:
            self._pushes.append(pushes.ravel())
            self._answers.append(answers.ravel())

    def take(self) -> Latency | None:
        """What was collected since the last time; None if nothing was."""
        with self._lock:
            pushes, answers = self._pushes, self._answers
            self._pushes, self._answers = [], []
        if not pushes:
            return None
        each, last = np.concatenate(pushes), np.concatenate(answers)
        return Latency(
            rounds=len(each),
            mean=float(each.mean()),
            p99=float(np.quantile(each, 0.99)),
            worst=float(each.max()),
            answer=float(last.mean()),
            total=float(each.sum() + last.sum()),
        )


class Asked:
    """Asks a streaming decoder about shots, one by one and round by round, as a machine would.

    Args:
        decoder: has `reset()`, `push(round)` and `corrections()`.
        detectors: for each detector the measurements whose parity it is, numbers of bits in the order in which they
            come; in the order of the decoder's.
        rounds: how many detectors come with each push.
        observables: for each logical bit the measurements whose parity it is before correction.
        watch: notes how long the decoder takes; None for nobody.

    Raises:
        TypeError: if the decoder cannot stream.
        ValueError: if the rounds are not those of the detectors.
    """

    def __init__(
        self,
        decoder: Any,
        detectors: Sequence[Parity],
        rounds: Sequence[int],
        observables: Sequence[Parity],
        watch: Stopwatch | None = None,
    ) -> None:
        if not all(callable(getattr(decoder, name, None)) for name in ("reset", "push", "corrections")):
            raise TypeError(
                f"decoder must have reset(), push(round) and corrections(). Got {type(decoder).__name__}. "
                "Use Lookup().from_dem(model), or what another decoder's from_dem gives."
            )
        if sum(rounds) != len(detectors):
            raise ValueError(f"rounds must add up to the {len(detectors)} detectors. Got {list(rounds)}.")
        self._decoder, self._watch = decoder, watch
        self._ends = np.cumsum(rounds).tolist()
        self._detectors, self._observables = list(detectors), list(observables)
        self._lock = threading.Lock()
        self._asked = self._changed = 0

    def changed(self) -> float:
        """The share of answers, since the last time, that were not the bits as they were measured."""
        share = self._changed / max(self._asked, 1)
        self._asked = self._changed = 0
        return share

    def __call__(self, bits: NDArray[np.int8]) -> NDArray[np.int32]:
        """Corrected logical bits, shape (shots, observables), from measured ones, shape (shots, measurements)."""
        seen = _parities(bits, self._detectors).astype(np.bool_)
        raw = _parities(bits, self._observables)
        with self._lock:  # a decoder follows one shot at a time
            return raw ^ self._flips(seen, raw.shape[1])

    def _flips(self, seen: NDArray[np.bool_], observables: int) -> NDArray[np.int32]:
        flips = np.zeros((len(seen), observables), dtype=np.int32)
        pushes, answers = np.zeros((len(seen), len(self._ends))), np.zeros(len(seen))
        clock, decoder = time.perf_counter, self._decoder
        starts = [0, *self._ends[:-1]]
        for shot, row in enumerate(seen):
            decoder.reset()
            for k, (start, end) in enumerate(zip(starts, self._ends, strict=True)):
                began = clock()
                decoder.push(row[start:end])
                pushes[shot, k] = clock() - began
            began = clock()
            found = np.asarray(decoder.corrections(), dtype=np.int32).ravel()
            answers[shot] = clock() - began
            if len(found) != observables:
                raise ValueError(
                    f"The decoder must answer for {observables} logical bits. Got {len(found)} from "
                    f"{type(decoder).__name__}. Make it from the error model of this circuit."
                )
            flips[shot] = found
        self._asked += len(flips)
        self._changed += int(flips.any(axis=1).sum())
        if self._watch is not None:
            self._watch.note(pushes, answers)
        return flips


def decoded(asked: Asked | None, bits: Sequence[MeasurementValue], raw: Parity) -> MeasurementValue:
    """The logical bit that a decoder makes of what was measured, for gates that depend on it.

    Args:
        asked: the decoder, of one logical bit; None takes the bit as it was measured.
        bits: all that was measured so far, in order.
        raw: the measurements whose parity is the bit before correction.

    Returns:
        A value for `qml.cond`, angles and statistics.

    Raises:
        ValueError: where nothing was measured.

    Example:
        >>> import pennylane as qml
        >>> from varq.algorithms.correction.codes import Repetition
        >>> from varq.algorithms.correction.lookup import Lookup, code_model
        >>> decoder = Lookup().from_dem(code_model(Repetition(3), basis="Z"))
        >>> asked = Asked(decoder, [frozenset({0, 1}), frozenset({1, 2})], [2], [frozenset({0})])
        >>> @qml.qnode(qml.device("varq.qubit", wires=4))
        ... def circuit(flipped):
        ...     qml.X(flipped)
        ...     bits = [qml.measure(w) for w in range(3)]
        ...     qml.cond(decoded(asked, bits, frozenset({0})), qml.X)(3)
        ...     return qml.expval(qml.Z(3))
        >>> [float(circuit(k)) for k in range(3)]  # whichever qubit is flipped, the gate is not applied
        [1.0, 1.0, 1.0]
    """
    if not bits:
        raise ValueError("decoded needs at least one measured value. Got none. Measure the syndrome first.")
    if asked is None:
        return outcome(lambda *found: sum(found) % 2, *(bits[k] for k in sorted(raw)))
    return from_host(asked, *bits)[0]


def _parities(bits: NDArray[np.int8], sets: Sequence[Parity]) -> NDArray[np.int32]:
    """The parity of each set of columns, shape (shots, sets)."""
    matrix = np.zeros((bits.shape[1], len(sets)), dtype=np.int32)
    for column, numbers in enumerate(sets):
        matrix[list(numbers), column] = 1
    return np.asarray(bits.astype(np.int32) @ matrix & 1, dtype=np.int32)
