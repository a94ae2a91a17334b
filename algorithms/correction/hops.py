"""A logical state that moves between two patches: the circuit, what is asked of decoders in it, and its exact law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops import MeasurementValue

from varq.algorithms.correction.codes import Code, StabilizerCode
from varq.algorithms.correction.faults import ErrorModel
from varq.algorithms.correction.logical import Parity, Patch, Script
from varq.algorithms.correction.lookup import fault_law
from varq.algorithms.correction.memory_circuits import pure

__all__ = ["BARE", "Course", "Question"]

BARE = StabilizerCode(stabilizers=(), logical_x="X", logical_z="Z", distance=1, flagged=False, title="one bare qubit")
"""One qubit that nothing protects."""

Decide = Callable[[int, list[MeasurementValue], Parity], MeasurementValue]


@dataclass(frozen=True)
class Question:
    """What a decoder is asked at one point of the circuit.

    Args:
        detectors: measured by then, each the numbers of the measurements whose parity it is.
        rounds: how many of them came with each round.
        raw: the measurements whose parity is the logical bit before correction.
        flips: the faults that make this bit wrong.
    """

    detectors: tuple[Parity, ...]
    rounds: tuple[int, ...]
    raw: Parity
    flips: int


class Course:
    """One-bit teleportation of a logical state, again and again, between two patches of a code.

    A state of logical Z moves so (Zhou, Leung and Chuang, Phys. Rev. A 62, 052316 (2000)): the other patch is made
    |+>, a CNOT gate goes from it to the patch of the state, whose data are then measured in Z; where the logical bit is
    1, logical X brings the state back.  For a state of logical X it is the same with X and Z, control and target
    exchanged.  Both patches have rounds of syndrome measurements before each move, and the last one after it.

    Args:
        code: of both patches; each stabilizer is of X alone or of Z alone.
        rates: the probability of each fault.
        state: "0", "1", "+" or "-".
        hops: how often it moves.
        rounds: of syndrome measurements before each move, and before the end.
    """

    def __init__(self, code: Code, rates: dict[str, float], state: str, hops: int, rounds: int) -> None:
        self.code, self.rates, self.state, self.hops, self.rounds = code, rates, state, hops, rounds
        self.basis = "Z" if state in "01" else "X"
        self.wires = 2 * code.wires + 2
        self.questions: list[Question] = []
        with qml.queuing.AnnotatedQueue():
            self.script = self._run(lambda k, bits, raw: bits[0], self.questions)[0]

    @property
    def expected(self) -> int:
        """The bit at the end, if nothing fails."""
        return int(self.state in "1-")

    def queue(self, decide: Decide) -> list[MeasurementValue]:
        """Queue the circuit.

        Args:
            decide: gives the logical bit at question k from what was measured so far; the last one is the answer.

        Returns:
            What was decided at each question, measured anew.
        """
        return self._run(decide, [])[1]

    def model(self, number: int) -> ErrorModel:
        """What a decoder needs to know for a question."""
        asked = self.questions[number]
        masks = [self.script.mask(parity) for parity in asked.detectors]
        return ErrorModel.from_masks(self.script.tracker.probabilities, masks, [asked.flips], asked.rounds)

    def failure(self, corrected: Sequence[bool]) -> float:
        """The exact probability of a wrong bit at the end, with the likeliest answer to each question.

        Every set of faults is summed over.  A decoder knows at each question what was measured by then.

        Args:
            corrected: for each question whether the decoder is listened to.
        """
        last = self.questions[-1]
        masks = [self.script.mask(parity) for parity in last.detectors]
        flips = [q.flips for q in self.questions]
        law = fault_law(ErrorModel.from_masks(self.script.tracker.probabilities, masks, flips, last.rounds))
        count = len(flips)
        wrong = np.zeros(law.shape, dtype=np.int64)
        for place, (asked, listened) in enumerate(zip(self.questions, corrected, strict=True)):
            bit = np.arange(1 << count) >> place & 1
            wrong ^= bit
            if listened:
                known = law.reshape(-1, 1 << len(asked.detectors), 1 << count).sum(axis=0)
                answers = known[:, bit == 1].sum(axis=1) > known[:, bit == 0].sum(axis=1)
                wrong ^= np.tile(answers, len(law) >> len(asked.detectors))[:, None]
        return float(law[wrong == 1].sum())

    def _run(self, decide: Decide, questions: list[Question]) -> tuple[Script, list[MeasurementValue]]:
        size, basis = self.code.wires, self.basis
        other = "X" if basis == "Z" else "Z"
        unseen = basis == "Z" and all(pure(s, "Z") for s in self.code.stabilizers)  # Z errors never meet an H gate
        script = Script(self.rates, ancilla=2 * size, coin=2 * size + 1, letters="X" if unseen else "XZ")
        here, there = (Patch(self.code, tuple(range(k * size, (k + 1) * size)), kept=basis) for k in range(2))
        record = _Record(script, decide, questions)
        script.begin(here, basis)
        if self.expected:
            _apply(lambda gate, wire: script.gate(gate(wire)), self.code.logical(other), here.wires)
        for _ in range(self.hops):
            script.begin(there, other)
            for _ in range(self.rounds):
                record.push(script.round(here) + script.round(there))
            script.cnot(*((there, here) if basis == "Z" else (here, there)))
            found, raw = script.read(here, basis)
            record.push(found)
            decision = record.ask(raw)
            _apply(partial(_conditional, decision), self.code.logical(other), there.wires)
            here, there = there, here
        for _ in range(self.rounds):
            record.push(script.round(here))
        found, raw = script.read(here, basis)
        record.push(found)
        record.ask(raw)
        return script, record.answers


class _Record:
    """Detectors as they come, and the questions asked of them."""

    def __init__(self, script: Script, decide: Decide, questions: list[Question]) -> None:
        self.script, self.decide, self.questions = script, decide, questions
        self.detectors: list[Parity] = []
        self.rounds: list[int] = []
        self.answers: list[MeasurementValue] = []

    def push(self, found: Sequence[Parity]) -> None:
        self.detectors += found
        self.rounds.append(len(found))

    def ask(self, raw: Parity) -> MeasurementValue:
        flips = self.script.mask(raw)
        self.questions.append(Question(tuple(self.detectors), tuple(self.rounds), raw, flips))
        decision = self.decide(len(self.answers), list(self.script.bits), raw)
        qml.cond(decision, qml.X)(self.script.coin)  # which, unlike the ancilla, no fault can have flipped
        self.answers.append(qml.measure(self.script.coin, reset=True))
        return self.answers[-1]


def _conditional(decision: MeasurementValue, gate: Any, wire: Any) -> None:
    qml.cond(decision, gate)(wire)


def _apply(do: Callable[[Any, Any], None], string: str, wires: Sequence[Any]) -> None:
    """A logical operator, qubit by qubit."""
    for letter, wire in zip(string, wires, strict=True):
        if letter != "I":
            do({"X": qml.X, "Y": qml.Y, "Z": qml.Z}[letter], wire)
