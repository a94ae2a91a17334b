"""Circuits for devices, what they come to by another simulator, and how far samples may be from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from scipy import stats

from varq.devices.qiskit_circuits import GATES, signature
from varq.devices.service import Bits, Circuit

CHANCE = 1e-5  # smallest probability of a chi-square that is still chance, at a fixed seed
SIGMAS = 5.0  # standard errors that a mean may be off


def circuit(ops: Sequence[Any], wires: int, shots: int = 1024, seed: int = 0, trainable: Any = None) -> Circuit:
    """A circuit as a session hands it over."""
    tape = qml.tape.QuantumScript(list(ops), [qml.sample(wires=range(wires))])
    if trainable is not None:
        tape.trainable_params = trainable
    values = np.array([float(x) for x in tape.get_parameters()])
    marks = [(op.name, op.wires.tolist(), str(op.hyperparameters)) for op in ops]
    literal = [
        float(x) for i, x in enumerate(tape.get_parameters(trainable_only=False)) if i not in tape.trainable_params
    ]
    try:
        structure = signature(tape)
    except (TypeError, ValueError):
        structure = repr((marks, wires, literal))
    return Circuit(tape, wires, shots, seed, structure, values)


def gate(name: str, wires: Sequence[int], rng: np.random.Generator) -> Any:
    """A gate of `GATES` with random numbers on the first of these wires."""
    kind = getattr(qml, name.removeprefix("Adjoint(").removesuffix(")"))
    op = kind(*rng.normal(scale=1.5, size=kind.num_params), wires=list(wires[: kind.num_wires]))
    return qml.adjoint(op) if name.startswith("Adjoint") else op


def random_ops(wires: int, count: int, rng: np.random.Generator) -> list[Any]:
    """Rotations that spread the state, then gates of all kinds that Qiskit has."""
    ops = [qml.RY(rng.normal(), wires=w) for w in range(wires)]
    return ops + [gate(str(n), [int(w) for w in rng.permutation(wires)], rng) for n in rng.choice(list(GATES), count)]


def exact(ops: Sequence[Any], wires: int) -> NDArray[np.float64]:
    """Probabilities by default.qubit, wire 0 first."""
    tape = qml.tape.QuantumScript(list(ops), [qml.probs(wires=range(wires))])
    return np.asarray(qml.execute([tape], qml.device("default.qubit", wires=wires))[0], dtype=np.float64)


def counts(bits: Bits) -> NDArray[np.int64]:
    """How often each outcome came, wire 0 first."""
    wires = bits.shape[1]
    numbers = bits.astype(np.int64) @ (2 ** np.arange(wires - 1, -1, -1))
    return np.bincount(numbers, minlength=2**wires)


def chance(bits: Bits, probabilities: NDArray[np.float64]) -> float:
    """Probability of samples as far off as these by chance: a chi-square over outcomes that are expected five times."""
    seen, wanted = counts(bits), probabilities * len(bits)
    assert seen[wanted < 1e-9].sum() == 0, "an outcome that cannot be"
    often = wanted >= 5
    seen = np.append(seen[often], seen[~often].sum())
    wanted = np.append(wanted[often], wanted[~often].sum())
    if wanted[-1] < 1e-9:
        seen, wanted = seen[:-1], wanted[:-1]
    if len(seen) < 2:
        return 1.0
    return float(stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue)
