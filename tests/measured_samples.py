"""What the tests of measured jobs share: circuits that measure in their middle, by the same names in every process."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pennylane as qml

from varq.algorithms import QPE, Shor
from varq.algorithms.correction import LogicalTeleportation
from varq.circuits.frames import controlled_by_one, one_round, turn_after
from varq.devices.digests import structure_digest
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.problems import EigenPhase
from varq.protocol import Plan, Sample
from varq.simulator import from_host, outcome

PHASE, BITS, SHOTS = 2.0, 5, 50  # five bits fill no byte: what is packed must come back as it was
EIGEN = EigenPhase(np.diag([1, np.exp(1j * PHASE)]), state=1)
NONE = np.zeros(0)


def phases(seed: int = 0, **changes: Any) -> QPE:
    return QPE(problem=EIGEN, bits=BITS, control="semiclassical", seed=seed, **changes)


def planned(task: Any, shots: int = SHOTS) -> Plan:
    resolved = task.resolve(None, shots)
    plan: Plan = resolved.plan(Nodes("varq.qubit", shots))
    return plan


def apply(wire: int, j: int) -> None:
    qml.ControlledPhaseShift(PHASE * 2**j, wires=[wire, 1])


def measured(x: Any) -> list[Any]:
    qml.X(1)
    return controlled_by_one(apply, 0, BITS)


def each(x: Any, number: int, bits: tuple[int, ...]) -> None:
    one_round(apply, 0, BITS - 1 - number, float(turn_after(*bits)))


def flip(x: Any) -> None:
    qml.X(1)


TASKS = {
    "QPE": phases(seed=4),
    "Shor": Shor(15, base=7, seed=4),
    "Shor with a transform": Shor(15, base=7, control="qft", seed=4),
    "teleportation": LogicalTeleportation(p=0.05, rounds=1, noise="phenomenological", seed=4),
}


class Adviser:
    """Stands for a decoder: an object that is no data."""

    def __init__(self, kind: str) -> None:
        self.hashed_as = kind

    def __call__(self, bits: Any) -> Any:
        return bits[:, :1]


def turned(angle: float) -> Any:
    return lambda bit: angle * bit


def held(value: Any) -> Any:
    return lambda bit: bit if value else 0 * bit


class Side(Enum):
    LEFT, RIGHT = object(), object()


def structure(act: Any) -> str:
    """Of what a function queues between two measurements."""
    with qml.queuing.AnnotatedQueue() as queue:
        qml.Hadamard(0)
        first = qml.measure(0, reset=True)
        act(first)
        asked = [first, qml.measure(0)]
    tape = qml.tape.QuantumScript.from_queue(queue)
    return structure_digest(qml.tape.QuantumScript(tape.operations, [qml.sample(asked)], trainable_params=[]))


CIRCUITS = {
    "no function": lambda m: qml.RX(0.1, 0),
    "another number": lambda m: qml.RX(0.2, 0),
    "another wire": lambda m: qml.RX(0.1, 1),
    "a condition": lambda m: qml.cond(m, qml.RX)(0.1, 0),
    "its opposite": lambda m: qml.cond(~m, qml.RX)(0.1, 0),
    "a condition of a number": lambda m: qml.cond(m == 1, qml.RX)(0.1, 0),
    "arithmetic": lambda m: qml.RX(0.1 * m, 0),
    "other arithmetic": lambda m: qml.RX(0.2 * m, 0),
    "a sum": lambda m: qml.RX(0.1 + outcome(turned(0.3), m), 0),
    "a constant": lambda m: qml.RX(outcome(lambda bit: 0.1 * bit, m), 0),
    "another constant": lambda m: qml.RX(outcome(lambda bit: 0.2 * bit, m), 0),
    "a closure": lambda m: qml.RX(outcome(turned(0.1), m), 0),
    "another closure": lambda m: qml.RX(outcome(turned(0.2), m), 0),
    "an array": lambda m: qml.RX(outcome(lambda bit, table: table[0] * bit, m, np.array([0.1, 0.3])), 0),
    "another array": lambda m: qml.RX(outcome(lambda bit, table: table[0] * bit, m, np.array([0.1, 0.4])), 0),
    "a set": lambda m: qml.RX(outcome(held({("a", 1), ("b", 2), ("c", 3)}), m), 0),
    "another set": lambda m: qml.RX(outcome(held({("a", 1), ("b", 2), ("c", 4)}), m), 0),
    "a member": lambda m: qml.RX(outcome(held(Side.LEFT), m), 0),
    "another member": lambda m: qml.RX(outcome(held(Side.RIGHT), m), 0),
    "an object": lambda m: qml.cond(from_host(Adviser("one"), m)[0], qml.X)(0),
    "another object": lambda m: qml.cond(from_host(Adviser("other"), m)[0], qml.X)(0),
}


def told() -> dict[str, str]:
    """Digests of jobs, for another process to compare."""
    rounds = Nodes("default.qubit").rounds(flip, each, BITS, wires=2).prepare(Sample(NONE, 5), Key.from_seed(0))
    circuits = {name: planned(task).prepare for name, task in TASKS.items()}
    found = {
        n: p(Sample(np.array([7.0]), 5), Key.from_seed(0), 1.0).circuits[0].digest for n, p in circuits.items() if p
    }
    return {**found, "rounds": rounds.circuits[0].digest, **{name: structure(act) for name, act in CIRCUITS.items()}}
