"""Tapes in the language of Braket: gates by name, a program for each structure, and jobs of as few tasks as may be."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pennylane as qml
from pennylane.operation import Operator

from varq.devices.faults import PermanentError
from varq.devices.service import Bits, Circuit, Limits

__all__ = [
    "GATES",
    "NATIVE",
    "Gate",
    "Program",
    "Programs",
    "Task",
    "bits_from_counts",
    "bits_in_wire_order",
    "free_names",
    "gates_of",
    "job_tasks",
    "numbered",
    "ranges",
    "task_count",
]

DEEPEST = 50  # decompositions of decompositions; a longer chain is a circle

GATES = {
    "Identity": "i",
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "Hadamard": "h",
    "S": "s",
    "T": "t",
    "SX": "v",
    "Adjoint(S)": "si",
    "Adjoint(T)": "ti",
    "Adjoint(SX)": "vi",
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "PhaseShift": "phaseshift",
    "CNOT": "cnot",
    "CY": "cy",
    "CZ": "cz",
    "SWAP": "swap",
    "ISWAP": "iswap",
    "ControlledPhaseShift": "cphaseshift",
    "IsingXX": "xx",
    "IsingXY": "xy",
    "IsingYY": "yy",
    "IsingZZ": "zz",
    "Toffoli": "ccnot",
    "CSWAP": "cswap",
}
"""PennyLane's operations that Braket has too, with the same parameters in the same order, by their Braket names."""

SMALL = frozenset(GATES.values()) - {"ccnot", "cswap"}
"""Gates of one and two qubits: those that a noise model knows."""

_Rule: TypeAlias = Callable[[Operator], list[Operator]]

NATIVE: Mapping[str, _Rule] = {
    "Identity": lambda op: [qml.RZ(0.0, op.wires)],
    "PauliX": lambda op: [qml.RX(np.pi, op.wires)],
    "PauliY": lambda op: [qml.RY(np.pi, op.wires)],
    "PauliZ": lambda op: [qml.RZ(np.pi, op.wires)],
    "S": lambda op: [qml.RZ(np.pi / 2, op.wires)],
    "T": lambda op: [qml.RZ(np.pi / 4, op.wires)],
    "SX": lambda op: [qml.RX(np.pi / 2, op.wires)],
    "Adjoint(S)": lambda op: [qml.RZ(-np.pi / 2, op.wires)],
    "Adjoint(T)": lambda op: [qml.RZ(-np.pi / 4, op.wires)],
    "Adjoint(SX)": lambda op: [qml.RX(-np.pi / 2, op.wires)],
    "PhaseShift": lambda op: [qml.RZ(op.parameters[0], op.wires)],
    "Hadamard": lambda op: [qml.RZ(np.pi, op.wires), qml.RY(np.pi / 2, op.wires)],
    "RY": lambda op: [qml.RZ(-np.pi / 2, op.wires), qml.RX(op.parameters[0], op.wires), qml.RZ(np.pi / 2, op.wires)],
    "CNOT": lambda op: [qml.RY(-np.pi / 2, op.wires[1]), qml.CZ(op.wires), qml.RY(np.pi / 2, op.wires[1])],
}
"""How a machine that has only rx, rz and cz does a gate, up to a global phase, which no measurement sees."""


@dataclass(frozen=True)
class Gate:
    """One gate: its Braket name, its wires, its numbers, and whether they change between circuits of a structure."""

    name: str
    wires: tuple[int, ...]
    numbers: tuple[float, ...]
    free: bool

    @property
    def shape(self) -> tuple[Any, ...]:
        """What stays the same in circuits that share a program."""
        return (self.name, self.wires, len(self.numbers) if self.free else self.numbers)


def gates_of(circuit: Circuit, allowed: frozenset[str]) -> tuple[Gate, ...]:
    """The gates of a circuit, in order; every wire has one, so that wires and qubits are numbered alike.

    Args:
        circuit: whose tape holds numbers.
        allowed: Braket names of the gates that the device has.

    Raises:
        PermanentError: for an operation that has no decomposition into them.
    """
    tape = circuit.tape
    free = {tape.par_info[index]["op_idx"] for index in tape.trainable_params}
    found: list[Gate] = []
    with qml.QueuingManager.stop_recording():
        for index, operation in enumerate(tape.operations):
            found.extend(_lowered(operation, allowed, index in free, 0))
        idle = set(range(circuit.wires)) - {wire for gate in found for wire in gate.wires}
        for wire in sorted(idle):
            found.extend(_lowered(qml.RZ(0.0, wire) if "i" not in allowed else qml.Identity(wire), allowed, False, 0))
    strange = {wire for gate in found for wire in gate.wires} - set(range(circuit.wires))
    if strange:
        raise PermanentError(f"A circuit's wires must be 0 to {circuit.wires - 1}. Got a gate on {sorted(strange)}.")
    return tuple(found)


def _lowered(op: Operator, allowed: frozenset[str], free: bool, depth: int) -> Iterable[Gate]:
    if op.name in ("GlobalPhase", "Barrier", "Snapshot", "WireCut"):
        return  # no measurement sees it; a controlled phase is another operation
    name = GATES.get(op.name)
    if name in allowed:
        yield Gate(str(name), tuple(int(wire) for wire in op.wires), _numbers(op), free and bool(op.parameters))
        return
    for part in _parts(op, depth):
        yield from _lowered(part, allowed, free, depth + 1)


def _numbers(op: Operator) -> tuple[float, ...]:
    values = [np.asarray(qml.math.toarray(value), dtype=np.float64) for value in op.parameters]
    if any(value.ndim for value in values):
        raise PermanentError(f"A circuit sent to Braket must not be broadcast. Got {op.name} with an array of angles.")
    return tuple(float(value) for value in values)


def _parts(op: Operator, depth: int) -> list[Operator]:
    if depth < DEEPEST and op.has_decomposition:
        return list(op.decomposition())
    if depth < DEEPEST and op.name in NATIVE:
        return NATIVE[op.name](op)
    raise PermanentError(
        f"The operation {op.name} cannot be run on this Braket device: it is not among its gates and has no "
        "decomposition into them. Write it with gates that the device has, or choose another device."
    )


@dataclass(frozen=True, eq=False)
class Program:
    """A translated circuit with named inputs in the place of its free numbers.

    Args:
        wires: how many, all of them measured.
        gates: the first circuit's own; free numbers stand for themselves.
        circuit: as a Braket circuit with free parameters, measured at its end.
        source: the same as OpenQASM 3.
    """

    wires: int
    gates: tuple[Gate, ...]
    circuit: Any
    source: str

    def columns(self, inputs: Sequence[tuple[float, ...]]) -> dict[str, list[float]] | None:
        """The inputs of several circuits by name; None if the program has none."""
        names = free_names(self.gates)
        return {name: [row[index] for row in inputs] for index, name in enumerate(names)} or None


def free_names(gates: Iterable[Gate]) -> list[str]:
    """Names of the free numbers, in their order in the circuit."""
    return [f"p{index}" for index in range(sum(len(gate.numbers) for gate in gates if gate.free))]


class Programs:
    """Programs kept by structure, the latest `most` of them.

    Args:
        sdk: the SDK's names (`varq.devices.braket_sdk.Sdk`).
        allowed: Braket names of the device's gates.
        finish: what the device does to a Braket circuit before it is written down, such as adding noise.
        verbatim: whether the gates go into a verbatim box, which a compiler leaves alone.
        most: how many to keep.
    """

    def __init__(
        self,
        sdk: Any,
        allowed: frozenset[str],
        finish: Callable[[Any], Any] | None = None,
        verbatim: bool = False,
        most: int = 256,
    ) -> None:
        self._sdk = sdk
        self._allowed = allowed
        self._finish = finish
        self._verbatim = verbatim
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], Program] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def translated(self, circuit: Circuit) -> tuple[Program, tuple[float, ...]]:
        """The program of a circuit, and its inputs."""
        gates = gates_of(circuit, self._allowed)
        key = (circuit.wires, tuple(gate.shape for gate in gates))
        program = self._kept.get(key)
        if program is None:
            program = self._kept[key] = self._made(circuit.wires, gates)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return program, tuple(number for gate in gates if gate.free for number in gate.numbers)

    def _made(self, wires: int, gates: tuple[Gate, ...]) -> Program:
        circuit = self._sdk.Circuit()
        names = iter(free_names(gates))
        for gate in gates:
            numbers = [self._sdk.FreeParameter(next(names)) if gate.free else number for number in gate.numbers]
            getattr(circuit, gate.name)(*gate.wires, *numbers)
        if self._verbatim:
            circuit = self._sdk.Circuit().add_verbatim_box(circuit)
        circuit.measure(range(wires))
        if self._finish is not None:
            circuit = self._finish(circuit)
        return Program(wires, gates, circuit, _steady(circuit.to_ir("OPENQASM").source))


def _steady(source: str) -> str:
    """The source with its inputs sorted: the SDK writes them in the order of a set, which differs between processes.

    A request repeated under the same client token must be the same to the letter.
    """
    lines = source.split("\n")
    places = [index for index, line in enumerate(lines) if line.startswith("input float ")]
    for index, line in zip(places, sorted(lines[i] for i in places), strict=True):
        lines[index] = line
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Task:
    """What travels as one quantum task: programs with their inputs, all with the same number of shots.

    Args:
        shots: of each circuit.
        wires: how many each circuit measures.
        programs: each with the inputs of its circuits.
        order: which circuits of the job these are, in the order in which they run.
    """

    shots: int
    wires: int
    programs: tuple[tuple[Program, tuple[tuple[float, ...], ...]], ...]
    order: tuple[int, ...]


def job_tasks(circuits: Sequence[Circuit], programs: Programs, limits: Limits) -> tuple[Task, ...]:
    """A job as few tasks as the limits allow; circuits of one structure share a program.

    Args:
        circuits: of the job.
        programs: that translate them.
        limits: of a task; `circuits=1` where the device has no program sets.
    """
    chunks: list[Task] = []
    translated = [programs.translated(circuit) for circuit in circuits]
    kinds = sorted({(circuit.shots, circuit.wires) for circuit in circuits})
    for shots, wires in kinds:
        members = [i for i, circuit in enumerate(circuits) if (circuit.shots, circuit.wires) == (shots, wires)]
        first = {id(program): index for index, (program, _) in reversed(list(enumerate(translated)))}
        members.sort(key=lambda i: (first[id(translated[i][0])], i))
        most = _most(limits, shots, len(members))
        for start in range(0, len(members), most):
            order = tuple(members[start : start + most])
            chunks.append(Task(shots, wires, _joined([translated[i] for i in order]), order))
    return tuple(chunks)


def task_count(shapes: Sequence[tuple[int, int]], limits: Limits) -> int:
    """How many tasks `job_tasks` makes of a job.

    Args:
        shapes: shots and wires of each circuit of the job.
        limits: of a task.

    Example:
        >>> task_count([(100, 4), (100, 4), (300, 4)], Limits(circuits=100))
        2
    """
    kinds = Counter(shapes).items()
    return sum(-(-count // _most(limits, shots, count)) for (shots, _), count in kinds)


def _most(limits: Limits, shots: int, count: int) -> int:
    """How many of `count` circuits, of so many shots each, one task holds."""
    most = limits.circuits or count
    return most if limits.job_shots is None else min(most, max(1, limits.job_shots // shots))


def _joined(
    run: Iterable[tuple[Program, tuple[float, ...]]],
) -> tuple[tuple[Program, tuple[tuple[float, ...], ...]], ...]:
    """Neighbors of one program put together; a program without inputs stands once for each circuit."""
    joined: list[tuple[Program, list[tuple[float, ...]]]] = []
    for program, numbers in run:
        if joined and joined[-1][0] is program and numbers:
            joined[-1][1].append(numbers)
        else:
            joined.append((program, [numbers]))
    return tuple((program, tuple(inputs)) for program, inputs in joined)


def ranges(order: Sequence[int]) -> str:
    """Numbers as text, runs of neighbors shortened.

    Example:
        >>> ranges([0, 1, 2, 7, 5, 6])
        '0-2 7 5-6'
    """
    runs: list[list[int]] = []
    for number in order:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def numbered(text: str) -> list[int]:
    """The numbers of `ranges`.

    Example:
        >>> numbered("0-2 7 5-6")
        [0, 1, 2, 7, 5, 6]
    """
    ends = [[int(end) for end in run.split("-")] for run in text.split()]
    return [number for run in ends for number in range(run[0], run[-1] + 1)]


def bits_in_wire_order(measurements: Any, measured: Sequence[int] | None, wires: int, shots: int) -> Bits:
    """Measured bits with wire 0 first, shape (shots, wires).

    Args:
        measurements: a row of bits for each shot, its columns in the order of `measured`.
        measured: the qubit of each column.
        wires: how many are wanted.
        shots: how many rows there must be.

    Raises:
        PermanentError: if bits of a wire, or rows, are missing.
    """
    bits = np.asarray(measurements)
    columns = list(range(wires)) if measured is None else [int(qubit) for qubit in measured]
    if bits.shape != (shots, len(columns)) or not set(range(wires)) <= set(columns) or not np.isin(bits, (0, 1)).all():
        raise PermanentError(
            f"Braket must return {shots} rows of bits of the wires 0 to {wires - 1}. Got an array of shape "
            f"{bits.shape} for the qubits {columns}. Look at the result on AWS, or run the circuit again."
        )
    return np.ascontiguousarray(bits[:, [columns.index(wire) for wire in range(wires)]], dtype=np.uint8)


def bits_from_counts(probabilities: Mapping[str, float], shots: int) -> Bits:
    """Rows of bits, sorted, from the relative frequency of each string of bits.

    Raises:
        PermanentError: if they are not multiples of 1/shots, as after a vendor's error mitigation.
    """
    counts = {key: round(value * shots) for key, value in sorted(probabilities.items())}
    close = all(abs(probabilities[key] * shots - count) < 1e-3 * max(1, shots**0.5) for key, count in counts.items())
    if not close or sum(counts.values()) != shots:
        raise PermanentError(
            f"Braket must return counts of {shots} shots. Got probabilities that no {shots} shots have, as after error "
            "mitigation. Switch the vendor's error mitigation off."
        )
    rows = [[int(bit) for bit in key] for key, count in counts.items() for _ in range(count)]
    return np.asarray(rows, dtype=np.uint8)
