"""Controlled powers of a unitary that is known by its gates, and how large they are."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.problems.gates import Gate, operation, raised

__all__ = ["MOST_SIMULATED", "Block", "Blocks", "apply_power", "by_gates", "power_block", "prepare_by_gates"]

MOST_SIMULATED = 16  # gates of a power on varq.qubit; its matrix has the same law, and one program serves all powers


@dataclass(frozen=True, eq=False)
class Block:
    """How large a part of a circuit is.

    Args:
        gates: how many.
        delays: shape (wires, wires): in how many layers after wire k was free wire j is free again, at [j, k]; minus
            infinity where j does not wait for k.
    """

    gates: int
    delays: NDArray[np.float64]

    @classmethod
    def of(cls, operations: Iterable[Any], wires: Sequence[Any]) -> Block:
        """The size of operations on these wires.

        Example:
            >>> Block.of([qml.CNOT([0, 1]), qml.X(1)], [0, 1]).delays
            array([[1., 1.],
                   [2., 2.]])
        """
        place = {wire: k for k, wire in enumerate(wires)}
        delays = np.where(np.eye(len(place)) > 0, 0.0, -math.inf)
        count = 0
        for op in operations:
            rows = [place[w] for w in op.wires]
            delays[rows] = 1 + delays[rows].max(axis=0)
            count += 1
        return cls(count, delays)

    def after(self, layers: NDArray[np.float64]) -> NDArray[np.float64]:
        """In which layer each wire is free after this part, if it was free in `layers` before, shape (wires,)."""
        return np.asarray(np.max(self.delays + layers, axis=1))

    def then(self, other: Block) -> Block:
        """This part and another one after it."""
        return Block(self.gates + other.gates, np.max(other.delays[:, :, None] + self.delays[None], axis=1))

    def repeated(self, count: int) -> Block:
        """This part `count` times over."""
        out, double = Block.of([], range(len(self.delays))), self
        while count:
            out, double, count = (out.then(double) if count & 1 else out), double.then(double), count >> 1
        return out


class Blocks(qml.operation.Operation):  # type: ignore[misc]
    """Stands for a part of a circuit where its size alone is asked for.

    Args:
        block: the part's size.
        wires: the part's.
    """

    def __init__(self, block: Block, wires: Any) -> None:
        super().__init__(wires=wires)
        self.block = block


def by_gates(problem: Any, exponent: int, simulated: bool) -> bool:
    """Whether a power of a problem's unitary is queued gate by gate.

    Args:
        problem: an `EigenPhase`, or what has no `gates`.
        exponent: the power.
        simulated: whether the device is `varq.qubit`, which simulates gates and matrices alike exactly.
    """
    gates = getattr(problem, "gates", None)
    if gates is None or exponent < 0:
        return False
    powers, repeats = raised(gates, exponent * (getattr(problem, "steps", None) or 1))
    return not simulated or repeats * len(powers) <= MOST_SIMULATED


def apply_power(problem: Any, exponent: int, control: Any, target: Sequence[Any]) -> None:
    """Queue U^exponent, gate by gate, controlled by a wire.

    Of a rotation about a Pauli word the turn of one qubit alone is controlled: what leads there and back needs no
    control, since without the turn it does nothing.  A global phase becomes one of the control.
    """
    once, repeats, phase = _controlled(problem, exponent, control, target)
    for _ in range(repeats):
        for op in once:
            qml.QueuingManager.append(copy.copy(op))  # twenty times as fast as to make it anew
    if phase:
        qml.PhaseShift(phase, control)


def power_block(problem: Any, exponent: int) -> Block:
    """The size of what `apply_power` queues, on the control and the target's wires, without queueing it."""
    wires = range(problem.wires + 1)
    once, repeats, phase = _controlled(problem, exponent, 0, wires[1:])
    with qml.QueuingManager.stop_recording():
        last = [qml.PhaseShift(phase, 0)] if phase else []
    return Block.of(once, wires).repeated(repeats).then(Block.of(last, wires))


def prepare_by_gates(gates: Sequence[Gate], wires: Sequence[Any]) -> None:
    """Queue gates that prepare a state, whose global phase nobody sees."""
    for gate in gates:
        if gate.name != "GlobalPhase":
            operation(gate, wires)


def _controlled(problem: Any, exponent: int, control: Any, target: Sequence[Any]) -> tuple[list[Any], int, float]:
    """Operations, how often they are repeated, and the control's phase after them."""
    powers, repeats = raised(problem.gates, exponent * (getattr(problem, "steps", None) or 1))
    phase = -repeats * sum(float(op.data[0]) for op in powers if op.name == "GlobalPhase")
    with qml.QueuingManager.stop_recording(), qml.queuing.AnnotatedQueue() as queue:
        for op in powers:
            if op.name != "GlobalPhase":
                _control(op, control, target)
    return list(queue.queue), repeats, math.remainder(phase, 2 * math.pi)


_WORDS = {"IsingXX": "XX", "IsingYY": "YY", "IsingZZ": "ZZ"}


def _control(op: Any, control: Any, target: Sequence[Any]) -> None:
    wires = [target[w] for w in op.wires]
    if op.name == "PauliRot":
        word = op.hyperparameters["pauli_word"]
    else:
        word = "Z" * len(wires) if op.name == "MultiRZ" else _WORDS.get(op.name)
    if word is None:
        qml.ctrl(op.map_wires(dict(zip(op.wires, wires, strict=True))), control)
        return
    turned = [(wire, letter) for wire, letter in zip(wires, word, strict=True) if letter != "I"]
    if not turned:
        qml.PhaseShift(-op.data[0] / 2, control)
        return
    _turn(turned, 1)
    held = [wire for wire, _ in turned]
    for pair in pairwise(held):
        qml.CNOT(pair)
    qml.CRZ(op.data[0], [control, held[-1]])
    for pair in reversed(list(pairwise(held))):
        qml.CNOT(pair)
    _turn(turned, -1)


def _turn(letters: Sequence[tuple[Any, str]], sign: int) -> None:
    """From the eigenstates of each letter to those of Z, or back."""
    for wire, letter in letters:
        if letter == "X":
            qml.Hadamard(wire)
        elif letter == "Y":
            qml.RX(sign * math.pi / 2, wire)
