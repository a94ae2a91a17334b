"""Measured circuits branch by branch in plain NumPy, and the test of a law: the truth that others are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops import Conditional, MeasurementValue
from pennylane.ops.mid_measure import MidMeasure
from scipy import stats

from varq.simulator.measured.execution import execute_measured

CHANCE = 1e-4  # a law is rejected below this p-value; seeds are fixed, so that a test's answer does not change

Script = qml.tape.QuantumScript


def record(circuit: Callable[..., Any], *args: Any, shots: Any = None) -> Script:
    """The tape of a quantum function that returns its measurements."""
    return qml.tape.make_qscript(circuit, shots=shots)(*args)


def run(circuit: Callable[..., Any], *args: Any, wires: int = 2, **options: Any) -> Any:
    """What the engine of measured circuits gives, without a device around it."""
    return execute_measured(record(circuit, *args), range(wires), **options)


def branches(tape: Script, wires: int) -> Iterator[tuple[dict[Any, int], np.ndarray]]:
    """Outcomes by measurement id and unnormalized final states, by plain NumPy."""
    todo: list[tuple[int, dict[Any, int], np.ndarray]] = [(0, {}, np.eye(2**wires)[0].astype(complex))]
    while todo:
        k, bits, state = todo.pop()
        if k == len(tape.operations):
            yield bits, state
            continue
        op = tape.operations[k]
        if isinstance(op, MidMeasure):
            for bit in (0, 1):
                if op.postselect in (None, bit):
                    raised = np.zeros((2, 2))
                    raised[0 if op.reset else bit, bit] = 1
                    after = (
                        qml.QubitUnitary(raised, op.wires, unitary_check=False).matrix(wire_order=range(wires)) @ state
                    )
                    todo.append((k + 1, {**bits, op.meas_uid: bit}, after))
            continue
        if isinstance(op, Conditional):
            if not at(op.meas_val, bits):
                todo.append((k + 1, bits, state))
                continue
            op = op.base
        if any(isinstance(x, MeasurementValue) for x in op.data):
            data = [float(at(x, bits)) if isinstance(x, MeasurementValue) else x for x in op.data]
            op = type(op)(*data, wires=op.wires)
        todo.append((k + 1, bits, op.matrix(wire_order=range(wires)) @ state))


def at(value: MeasurementValue, bits: dict[Any, int]) -> Any:
    return value.processing_fn(*(bits[m.meas_uid] for m in value.measurements))


def law(tape: Script, wires: int, values: list[MeasurementValue]) -> np.ndarray:
    """The probability of each combination of outcomes, first value most significant."""
    found = np.zeros(2 ** len(values))
    for bits, state in branches(tape, wires):
        index = sum(int(at(v, bits)) << (len(values) - 1 - k) for k, v in enumerate(values))
        found[index] += np.vdot(state, state).real
    return found / found.sum()


def mixture(tape: Script, wires: int) -> np.ndarray:
    total = sum(np.outer(state, state.conj()) for _, state in branches(tape, wires))
    return total / np.trace(total)


def fits(counts: Any, chances: Any, least: float = CHANCE) -> bool:
    """Chi-squared test of a law, by its p-value; outcomes expected less than 5 times are taken together."""
    counts = np.asarray(counts)
    expected = np.asarray(chances) * counts.sum()
    rare = expected < 5
    assert counts[expected < 1e-9].sum() == 0
    seen, wanted = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    return len(seen) < 2 or stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue > least


def within(shots: int) -> float:
    """How far the mean of so many numbers between -1 and 1 strays with probability `CHANCE` at most (Hoeffding)."""
    return float(np.sqrt(2 * np.log(2 / CHANCE) / shots))


def indices(samples: Any) -> np.ndarray:
    rows = np.asarray(samples)
    return rows @ (1 << np.arange(rows.shape[1])[::-1])
