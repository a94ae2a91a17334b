"""Circuits of repeated layers, and other ways to write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from simulator_circuits import again, random_gates

Layers = list[list[Any]]


def hardware(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    ring = [qml.CNOT([w, (w + 1) % wires]) for w in range(wires)]
    turns = [kind(0.0, w) for kind in (qml.RX, qml.RZ) for w in range(wires)]
    return [[*again(turns, rng), *ring] for _ in range(repeats)]


def qaoa(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    pairs = [(a, b) for a in range(wires) for b in range(a) if b == 0 or rng.random() < 0.6]
    return [
        [*(qml.IsingZZ(gamma, pair) for pair in pairs), *(qml.RX(beta, w) for w in range(wires))]
        for gamma, beta in rng.normal(size=(repeats, 2))
    ]


def ladders(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    out = []
    for gamma, beta in rng.normal(size=(repeats, 2)):
        pairs = [[a, a + 1] for a in range(wires - 1)]
        cost = [op for pair in pairs for op in (qml.CNOT(pair), qml.RZ(gamma, pair[1]), qml.CNOT(pair))]
        out.append([*cost, *(qml.RX(beta, w) for w in range(wires))])
    return out


def anything(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    layer = random_gates(wires, 5, rng)
    return [again(layer, rng) for _ in range(repeats)]


def as_written(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    return [gate for layer in layers for gate in layer]


def permuted(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    order = dict(enumerate(int(w) for w in rng.permutation(wires)))
    return [gate.map_wires(order) for gate in as_written(layers, rng, wires)]


def exchanged(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    """Neighbors that commute exchanged at random, for they share no wire or are diagonal: the same circuit."""
    ops = as_written(layers, rng, wires)
    for k in rng.integers(0, len(ops) - 1, 400):
        diagonal = {ops[k].name, ops[k + 1].name} <= {"RZ", "IsingZZ"}
        if diagonal or not set(ops[k].wires) & set(ops[k + 1].wires):
            ops[k], ops[k + 1] = ops[k + 1], ops[k]
    return ops


def one_odd_layer(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    middle = len(layers) // 2
    return as_written([*layers[:middle], random_gates(wires, 4, rng), *layers[middle:]], rng, wires)


def broken_at_the_end(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    return [*as_written(layers, rng, wires)[:-1], qml.CRot(*rng.normal(size=3), wires=[0, wires - 1])]
