"""PennyLane tapes as Qiskit circuits: one parametrized circuit for all circuits of a structure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pennylane.devices.preprocess import decompose
from pennylane.measurements import SampleMP
from pennylane.operation import Operator
from pennylane.ops import Conditional, MidMeasure
from pennylane.tape import QuantumScript

from varq.devices import qiskit_packages
from varq.devices.faults import PermanentError
from varq.devices.service import Bits, Circuit

__all__ = [
    "GATES",
    "NOTHING",
    "REGISTER",
    "Block",
    "Translation",
    "Translator",
    "blocks",
    "decomposed",
    "in_order",
    "refuse_middle",
    "signature",
    "taken",
    "translated",
]

REGISTER = "bits"  # of the classical bits: bit i is the wire that is measured as number i

GATES = MappingProxyType(
    {
        "Hadamard": "h",
        "PauliX": "x",
        "PauliY": "y",
        "PauliZ": "z",
        "S": "s",
        "Adjoint(S)": "sdg",
        "T": "t",
        "Adjoint(T)": "tdg",
        "SX": "sx",
        "Adjoint(SX)": "sxdg",
        "RX": "rx",
        "RY": "ry",
        "RZ": "rz",
        "PhaseShift": "p",
        "U3": "u",
        "CNOT": "cx",
        "CY": "cy",
        "CZ": "cz",
        "SWAP": "swap",
        "CRX": "crx",
        "CRY": "cry",
        "CRZ": "crz",
        "ControlledPhaseShift": "cp",
        "IsingXX": "rxx",
        "IsingYY": "ryy",
        "IsingZZ": "rzz",
        "Toffoli": "ccx",
        "CSWAP": "cswap",
    }
)
"""PennyLane's gates that Qiskit has too, with the same parameters in the same order, and their methods there."""

NOTHING = ("Identity", "GlobalPhase", "Barrier")
"""Operations that no measured bit shows."""

MIDDLE = (MidMeasure, Conditional)


def refuse_middle(tape: QuantumScript) -> None:
    """PermanentError if anything is measured before the end of a circuit."""
    if any(isinstance(op, MIDDLE) for op in tape.operations):
        raise PermanentError(
            "Circuits for Qiskit devices are measured at their end only. Got a measurement within the circuit. "
            "Run it on varq.qubit, or defer it with qml.defer_measurements."
        )


def taken(op: Operator) -> bool:
    """Whether an operation needs no decomposition."""
    return op.name in GATES or op.name in NOTHING


def decomposed(tape: QuantumScript) -> QuantumScript:
    """`tape` in gates of `GATES`, by PennyLane's own decompositions; `tape` itself if it has no others.

    Raises:
        PermanentError: for a measurement within the circuit, or a gate without a decomposition.
    """
    refuse_middle(tape)
    if tape.batch_size is not None:
        raise PermanentError(
            f"A circuit has one set of numbers. Got a batch of {tape.batch_size}; send each on its own."
        )
    if all(taken(op) for op in tape.operations):
        return tape
    (out,), _ = decompose(
        tape, stopping_condition=taken, skip_initial_state_prep=False, name="a Qiskit device", error=PermanentError
    )
    found: QuantumScript = out
    return found


def signature(tape: QuantumScript) -> str:
    """Digest of the gates of a decomposed tape and what it measures, without the numbers of trainable parameters."""
    parts: list[str] = []
    trainable = set(tape.trainable_params)
    index = 0
    for op in tape.operations:
        numbers = []
        for value in op.data:
            numbers.append("?" if index in trainable else float(value).hex())
            index += 1
        parts.append(f"{op.name}{op.wires.tolist()}{numbers}")
    parts.append(f"->{_measured(tape)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _measured(tape: QuantumScript) -> list[int]:
    """The wires whose bits a tape asks for, in order."""
    if len(tape.measurements) != 1 or not isinstance(tape.measurements[0], SampleMP):
        raise PermanentError(f"A circuit ends in one qml.sample(wires=...). Got {tape.measurements}.")
    wires: list[int] = tape.measurements[0].wires.tolist()
    if tape.measurements[0].obs is not None or not wires:
        raise PermanentError(f"A circuit ends in one qml.sample(wires=...). Got {tape.measurements[0]}.")
    return wires


def translated(tape: QuantumScript, wires: int) -> Any:
    """A Qiskit circuit of a decomposed tape; its parameters are the elements of one vector, in order.

    Args:
        tape: gates of `GATES` on integer wires, and one `qml.sample(wires=...)`.
        wires: the least number of qubits.
    """
    qiskit = qiskit_packages.qiskit()
    measured = _measured(tape)
    size = max([wires - 1, *measured, *(w for op in tape.operations for w in op.wires)]) + 1
    circuit = qiskit.QuantumCircuit(
        qiskit.QuantumRegister(size, "q"), qiskit.ClassicalRegister(len(measured), REGISTER)
    )
    vector = qiskit.circuit.ParameterVector("x", len(tape.trainable_params))
    places = {place: element for element, place in zip(vector, tape.trainable_params, strict=True)}
    index = 0
    for op in tape.operations:
        numbers = [places.get(index + k, value) for k, value in enumerate(op.data)]
        index += len(op.data)
        if op.name in NOTHING:
            continue
        numbers = [x if isinstance(x, qiskit.circuit.ParameterExpression) else float(x) for x in numbers]
        getattr(circuit, GATES[op.name])(*numbers, *op.wires.tolist())
    circuit.measure(measured, list(range(len(measured))))
    return circuit


@dataclass(frozen=True, eq=False)
class Translation:
    """The circuits of one structure, as a machine takes them.

    Args:
        circuit: a Qiskit circuit in the machine's own gates.
        columns: which numbers its parameters are, in the order in which Qiskit sorts them: a compiler may drop some.
    """

    circuit: Any
    columns: tuple[int, ...]

    def values(self, numbers: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """What to bind for each set of numbers, shape (sets, parameters)."""
        table = np.stack([np.asarray(x, dtype=np.float64).reshape(-1) for x in numbers])
        return np.ascontiguousarray(table[:, list(self.columns)])


class Translator:
    """Translates circuits, each structure once.

    Args:
        to_machine: from a Qiskit circuit to one in the machine's own gates.
        kept: most translations that are kept; the oldest goes first.
    """

    def __init__(self, to_machine: Callable[[Any], Any], kept: int = 4096) -> None:
        self._to_machine = to_machine
        self._kept = kept
        self._known: dict[str, Translation] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, circuit: Circuit) -> tuple[Translation, NDArray[np.float64]]:
        """The translation for a circuit, and the numbers to bind, all of them.

        A gate that Qiskit lacks is decomposed with its numbers in it; all numbers of the outcome are then parameters.
        """
        tape = decomposed(circuit.tape)
        if tape is circuit.tape:
            key, numbers = circuit.structure, np.asarray(circuit.values, dtype=np.float64).reshape(-1)
            if len(numbers) != len(tape.trainable_params):
                raise PermanentError(
                    f"A circuit has one value for each trainable parameter. Got {len(numbers)} values "
                    f"for {len(tape.trainable_params)} parameters."
                )
        else:
            tape = tape.copy()
            tape.trainable_params = list(range(len(tape.get_parameters(trainable_only=False, operations_only=True))))
            numbers = np.array([float(x) for op in tape.operations for x in op.data])
            key = signature(tape)
        return self._translation(key, tape, circuit.wires), numbers

    def _translation(self, key: str, tape: QuantumScript, wires: int) -> Translation:
        found = self._known.get(key)
        if found is None:
            machine = self._to_machine(translated(tape, wires))
            found = Translation(machine, tuple(p.index for p in machine.parameters))
            while len(self._known) >= self._kept:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return found


@dataclass(frozen=True, eq=False)
class Block:
    """Circuits of a job that share translation and shots, one after the other in it.

    Args:
        translation: theirs.
        shots: of each.
        places: their places among the circuits of the job.
        values: what to bind, shape (circuits, parameters).
    """

    translation: Translation
    shots: int
    places: tuple[int, ...]
    values: NDArray[np.float64]


def blocks(circuits: Sequence[Circuit], translator: Translator) -> list[Block]:
    """The circuits grouped by translation and shots, in the order in which each is first met."""
    groups: dict[tuple[int, int], list[int]] = {}
    found = [translator.find(circuit) for circuit in circuits]
    for place, (translation, _) in enumerate(found):
        groups.setdefault((id(translation), circuits[place].shots), []).append(place)
    return [
        Block(found[places[0]][0], shots, tuple(places), found[places[0]][0].values([found[p][1] for p in places]))
        for (_, shots), places in groups.items()
    ]


def in_order(parts: Mapping[tuple[int, ...], Any], shots: Mapping[int, int]) -> tuple[Bits, ...]:
    """Bits of each circuit in the order they were sent, from Qiskit's BitArray of each block.

    Args:
        parts: by the places of a block's circuits, their `BitArray` of shape (circuits,).
        shots: what was asked for, by place.

    Raises:
        PermanentError: if anything is missing, or a circuit came back with other shots.
    """
    count = sum(len(places) for places in parts)
    out: list[Bits | None] = [None] * count
    for places, array in parts.items():
        table = np.asarray(array.to_bool_array(order="little"), dtype=np.uint8)
        table = table.reshape(len(places), -1, array.num_bits)
        for row, place in enumerate(places):
            if place >= count or out[place] is not None:
                raise PermanentError(f"A job's result is complete. Got circuit {place} twice or out of range.")
            if len(table[row]) != shots[place]:
                raise PermanentError(f"Circuit {place} was sent with {shots[place]} shots. Got {len(table[row])} back.")
            out[place] = table[row]
    return tuple(bits for bits in out if bits is not None)
