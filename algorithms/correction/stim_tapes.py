"""PennyLane's tapes as Stim's circuits, with detectors and observables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.measurements import CountsMP, ProbabilityMP, SampleMP
from pennylane.ops import Conditional, MeasurementValue, MidMeasure

from varq import checks
from varq.algorithms.correction.packages import stim

__all__ = ["Translated", "from_stim", "to_stim"]

GATES = MappingProxyType(
    {
        "Identity": "I",
        "PauliX": "X",
        "PauliY": "Y",
        "PauliZ": "Z",
        "Hadamard": "H",
        "S": "S",
        "Adjoint(S)": "S_DAG",
        "SX": "SQRT_X",
        "Adjoint(SX)": "SQRT_X_DAG",
        "CNOT": "CX",
        "CY": "CY",
        "CZ": "CZ",
        "SWAP": "SWAP",
        "ISWAP": "ISWAP",
        "Adjoint(ISWAP)": "ISWAP_DAG",
    }
)
"""Stim's names of PennyLane's gates."""

CHANNELS = MappingProxyType({"BitFlip": "X_ERROR", "PhaseFlip": "Z_ERROR", "DepolarizingChannel": "DEPOLARIZE1"})
SILENT = ("Barrier", "WireCut", "Snapshot")
_CONTROLLED = MappingProxyType({"PauliX": "CX", "PauliY": "CY", "PauliZ": "CZ"})
_PAULIS: tuple[Any, ...] = (qml.Identity, qml.X, qml.Y, qml.Z)
_MAKERS: Mapping[str, Any] = MappingProxyType(
    {
        "I": qml.Identity,
        "X": qml.X,
        "Y": qml.Y,
        "Z": qml.Z,
        "H": qml.Hadamard,
        "S": qml.S,
        "S_DAG": lambda wires: qml.adjoint(qml.S(wires)),
        "SQRT_X": qml.SX,
        "SQRT_X_DAG": lambda wires: qml.adjoint(qml.SX(wires)),
        "CX": qml.CNOT,
        "CY": qml.CY,
        "CZ": qml.CZ,
        "SWAP": qml.SWAP,
        "ISWAP": qml.ISWAP,
        "ISWAP_DAG": lambda wires: qml.adjoint(qml.ISWAP(wires)),
    }
)
_EQUAL = 1e-12  # probabilities and entries closer than this are one
_NOTES = ("DETECTOR", "OBSERVABLE_INCLUDE", "QUBIT_COORDS", "SHIFT_COORDS", "TICK")
_BASES = MappingProxyType({"X": "H", "Y": "H_YZ", "Z": ""})


def to_stim(tape: Any, detectors: Any = (), observables: Iterable[Any] = ()) -> Any:
    """The `stim.Circuit` of a PennyLane tape.

    Clifford gates, `qml.measure` with and without reset, Pauli gates under `qml.cond` of outcomes and of their
    parities, and the noise channels `BitFlip`, `PhaseFlip`, `DepolarizingChannel`, `PauliError`, and `QubitChannel` of
    one or two wires whose Kraus matrices are multiples of Pauli strings have an equal in Stim.
    A `sample`, `counts` or `probs` of wires at the end measures these; of mid-circuit outcomes it adds nothing.  Wires
    become qubits 0, 1, ... in the tape's order.

    Args:
        tape: a `qml.tape.QuantumScript`; of a QNode, `qml.workflow.construct_tape(qnode)(...)`.
        detectors: of each detector, the outcomes whose parity it is: mid-circuit outcomes (or parities of them), or
            numbers of measurements in their order, where -1 is the last.  A mapping gives each detector coordinates.
        observables: the same of each logical observable.

    Raises:
        ModuleNotFoundError: without Stim.
        TypeError: if `tape` is no tape.
        ValueError: for an operation, condition or measurement that Stim does not have, or an unknown outcome.

    Example:
        >>> with qml.queuing.AnnotatedQueue() as queue:
        ...     gate = qml.X(0)
        ...     bit = qml.measure(0)
        >>> print(to_stim(qml.tape.QuantumScript.from_queue(queue), detectors=[[bit]]))  # doctest: +SKIP
        X 0
        M 0
        DETECTOR rec[-1]
    """
    checks.instance("tape", tape, qml.tape.QuantumScript, hint="Use qml.workflow.construct_tape(qnode)(...).")
    return _Sender(tape).sent(detectors, observables)


class _Sender:
    """Writes one tape as a circuit."""

    def __init__(self, tape: Any) -> None:
        self.tape = tape
        self.qubit = {wire: k for k, wire in enumerate(tape.wires)}
        self.circuit = stim().Circuit()
        self.record: dict[str, int] = {}  # of each mid-circuit measurement
        self.count = 0

    def sent(self, detectors: Any, observables: Iterable[Any]) -> Any:
        for op in self.tape.operations:
            self._operation(op)
        for measured in self.tape.measurements:
            self._final(measured)
        coordinates = list(detectors) if isinstance(detectors, Mapping) else [()] * len(detectors)
        for where, values in zip(coordinates, _values(detectors), strict=True):
            self.circuit.append("DETECTOR", self._targets(values), where)
        for k, values in enumerate(observables):
            self.circuit.append("OBSERVABLE_INCLUDE", self._targets(values), k)
        return self.circuit

    def _operation(self, op: Any) -> None:
        targets = [self.qubit[wire] for wire in op.wires]
        if isinstance(op, MidMeasure):
            if op.postselect is not None:
                raise ValueError(f"Stim keeps every outcome. Got {op!r} with postselect. Select shots afterwards.")
            self.circuit.append("MR" if op.reset else "M", targets)
            self.record[op.meas_uid] = self.count
            self.count += 1
        elif isinstance(op, Conditional):
            self._conditional(op, targets)
        elif op.name in GATES:
            self.circuit.append(GATES[op.name], targets)
        elif op.name in CHANNELS:
            self.circuit.append(CHANNELS[op.name], targets, float(op.parameters[0]))
        elif op.name == "PauliError":
            letters = zip(targets, op.hyperparameters["operators"], strict=True)
            factors = [stim().target_pauli(q, letter) for q, letter in letters if letter != "I"]
            self.circuit.append("E", factors, float(op.parameters[0]))
        elif op.name == "QubitChannel" and (chances := _pauli_chances(op)) is not None:
            kind = len(targets)
            if np.ptp(chances) < _EQUAL:
                self.circuit.append(f"DEPOLARIZE{kind}", targets, float(np.sum(chances)))
            else:
                self.circuit.append(f"PAULI_CHANNEL_{kind}", targets, chances.tolist())
        elif op.name not in SILENT:
            raise ValueError(
                f"Stim simulates Clifford gates, measurements and Pauli noise. Got {op}. "
                f"Write it with {', '.join(sorted(GATES))}, or run the tape on varq.qubit."
            )

    def _conditional(self, op: Any, targets: list[int]) -> None:
        gate = _CONTROLLED.get(op.base.name)
        if gate is None:
            raise ValueError(f"Stim has X, Y and Z under a condition. Got {op.base} under one. Run it on varq.qubit.")
        inverted, records = self._parity(op.meas_val)
        if inverted:
            self.circuit.append(GATES[op.base.name], targets)
        for record in records:
            self.circuit.append(gate, [stim().target_rec(record - self.count), *targets])

    def _parity(self, value: Any) -> tuple[bool, list[int]]:
        """Whether it is inverted, and of which measurements a value is the parity."""
        told = value.branches
        size = len(value.measurements)
        if not set(map(int, told.values())) <= {0, 1}:
            raise ValueError(f"A condition must be 0 or 1. Got {value!r} with values {sorted(set(told.values()))}.")
        first = bool(told[(0,) * size])
        counted = [bool(told[tuple(int(j == k) for j in range(size))]) != first for k in range(size)]
        for bits in product((0, 1), repeat=size):
            parity = sum(b for b, c in zip(bits, counted, strict=True) if c) % 2
            if bool(told[bits]) != (first ^ bool(parity)):
                raise ValueError(
                    f"Stim has conditions on parities of outcomes alone. Got {value!r}, which is none. "
                    "Run the tape on varq.qubit."
                )
        chosen = [m for m, c in zip(value.measurements, counted, strict=True) if c]
        return first, [self._known(m) for m in chosen]

    def _known(self, measured: Any) -> int:
        if measured.meas_uid not in self.record:
            raise ValueError(
                f"An outcome must come from the tape. Got one of {measured}. Use the values queued with it."
            )
        return self.record[measured.meas_uid]

    def _final(self, measured: Any) -> None:
        if isinstance(measured, (SampleMP, CountsMP, ProbabilityMP)) and measured.obs is None:
            if measured.mv is None:
                wires = [self.qubit[wire] for wire in measured.wires or self.tape.wires]
                self.circuit.append("M", wires)
                self.count += len(wires)
            return
        raise ValueError(
            f"Stim measures qubits. Got {measured} at the end of the tape. Use qml.sample(wires=...), or nothing."
        )

    def _targets(self, values: Any) -> list[Any]:
        found: list[int] = []
        for value in [values] if isinstance(values, (MeasurementValue, int)) else values:
            if isinstance(value, MeasurementValue):
                found += self._parity(value)[1]
                continue
            hint = f"The tape has {checks.counted(self.count, 'measurement')}, -1 is the last."
            number = checks.integer("outcome", value, minimum=-self.count, maximum=self.count - 1, hint=hint)
            found.append(number % self.count)
        return [stim().target_rec(record - self.count) for record in sorted(found) if found.count(record) % 2]


def _pauli_chances(channel: Any) -> NDArray[np.float64] | None:
    """The probability of each Pauli string but the identity in Stim's order; None for noise that is none of Paulis."""
    if len(channel.wires) > 2:
        return None
    strings = _strings(len(channel.wires))
    chances = np.zeros(len(strings))
    for kraus in channel.kraus_matrices():
        found = np.array([np.trace(s.conj().T @ kraus) / len(s) for s in strings])
        if np.count_nonzero(np.abs(found) > _EQUAL) > 1:
            return None
        chances += np.abs(found) ** 2
    return chances[1:]


def _values(detectors: Any) -> list[Any]:
    return list(detectors.values()) if isinstance(detectors, Mapping) else list(detectors)


@dataclass(frozen=True, eq=False)
class Translated:
    """A Stim circuit as a tape.

    Args:
        tape: a `qml.tape.QuantumScript` that samples all outcomes.
        measured: the outcomes, in the order of Stim's records.
        detectors: of each detector, the numbers of the outcomes whose parity it is.
        observables: of each observable, the same.
        coordinates: of each detector, as far as the circuit gives any.
    """

    tape: Any
    measured: tuple[Any, ...]
    detectors: tuple[tuple[int, ...], ...]
    observables: tuple[tuple[int, ...], ...]
    coordinates: tuple[tuple[float, ...], ...] = ()

    def circuit(self) -> Any:
        """Back to Stim: the same law of outcomes, detectors and observables, in the tape's own gates.

        Resets are measurements there whose outcomes nothing uses, so that records have other numbers.
        """
        rows = [[[self.measured[k] for k in row] for row in some] for some in (self.detectors, self.observables)]
        where = dict(zip(self.coordinates, rows[0], strict=False))
        named = len(where) == len(rows[0])  # a circuit may give several detectors one place, or none
        return to_stim(self.tape, where if named else rows[0], rows[1])

    def parities(self, outcomes: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Detectors and observables of samples.

        Args:
            outcomes: bits, shape (shots, outcomes).

        Returns:
            Booleans, shapes (shots, detectors) and (shots, observables).
        """
        bits = np.asarray(outcomes)
        checks.shape("outcomes", bits, (None, len(self.measured)))
        found = []
        for rows in (self.detectors, self.observables):
            columns = [bits[:, list(row)].sum(axis=1) % 2 == 1 for row in rows]
            found.append(np.stack(columns, axis=1) if columns else np.zeros((len(bits), 0), dtype=np.bool_))
        return found[0], found[1]


def from_stim(circuit: Any, noise: bool = True, shots: int | None = None) -> Translated:
    """The tape of a `stim.Circuit`, to run it on any simulator.

    Qubits become wires of the same numbers.  A reset of a qubit that nothing has touched is left out.  A product of
    Paulis is measured by one more wire, after the others.

    Args:
        circuit: of Clifford gates, measurements and resets in X, Y or Z, measured products of Paulis, Pauli noise,
            Paulis controlled by outcomes.
        noise: whether noise becomes PennyLane's channels; without, it is left out, and the tape runs on `varq.qubit`.
        shots: of the tape.

    Raises:
        ModuleNotFoundError: without Stim.
        TypeError: if `circuit` is no circuit.
        ValueError: for an instruction without an equal in PennyLane, or a measurement with noise of its own.

    Example:
        >>> import stim  # doctest: +SKIP
        >>> len(from_stim(stim.Circuit("H 0 1; CX 0 1; M 1")).tape.operations)  # doctest: +SKIP
        4
    """
    if not isinstance(circuit, stim().Circuit):
        raise TypeError(f"circuit must be a stim.Circuit. Got {type(circuit).__name__}. Use stim.Circuit(text).")
    return _Receiver(noise).received(circuit, shots)


class _Receiver:
    """Writes one circuit as a tape."""

    def __init__(self, noise: bool) -> None:
        self.noise = noise
        self.measured: list[Any] = []
        self.detectors: list[tuple[int, ...]] = []
        self.observables: dict[int, list[int]] = {}
        self.coordinates: list[tuple[float, ...]] = []
        self.touched: set[int] = set()
        self.ancilla = 0

    def received(self, circuit: Any, shots: int | None) -> Translated:
        self.ancilla = circuit.num_qubits
        with qml.queuing.AnnotatedQueue() as queue:
            for line in circuit.flattened():
                self._line(line)
        operations = qml.tape.QuantumScript.from_queue(queue).operations
        last = [qml.sample(op=self.measured)] if self.measured else []
        many = 1 + max(self.observables, default=-1)
        observables = tuple(tuple(self.observables.get(k, ())) for k in range(many))
        tape = qml.tape.QuantumScript(operations, last, shots=shots)
        return Translated(tape, tuple(self.measured), tuple(self.detectors), observables, tuple(self.coordinates))

    def _line(self, line: Any) -> None:
        name, args = line.name, line.gate_args_copy()
        if name in _NOTES:
            self._note(name, line, args)
            return
        if name[0] in "MR" and name.lstrip("MR") in ("", "X", "Y", "Z"):
            self._measurement(name, line, args)
            return
        if name == "MPP":
            self._product(line, args)
            return
        kind = stim().gate_data(name)
        if kind.produces_measurements:
            raise ValueError(f"from_stim knows measurements of one qubit, and MPP. Got {name}. Write it with MPP.")
        if kind.is_noisy_gate:
            if self.noise:
                self._noise(name, line, args)
            return
        for group in line.target_groups():
            self._gate(name, group)

    def _note(self, name: str, line: Any, args: Sequence[float]) -> None:
        records = [len(self.measured) + t.value for t in line.targets_copy() if t.is_measurement_record_target]
        if name == "DETECTOR":
            self.detectors.append(tuple(records))
            self.coordinates.append(tuple(args))
        elif name == "OBSERVABLE_INCLUDE":
            self.observables.setdefault(int(args[0]), []).extend(records)

    @staticmethod
    def _plain(line: Any, args: Sequence[float]) -> None:
        """ValueError for a measurement with noise of its own, or an outcome that is told inverted."""
        if args:
            raise ValueError(
                f"from_stim knows measurements without noise of their own. Got {line}. Write X_ERROR before."
            )
        if any(target.is_inverted_result_target for target in line.targets_copy()):
            raise ValueError(f"from_stim knows outcomes that are not inverted. Got {line}. Leave the ! out.")

    def _measurement(self, name: str, line: Any, args: Sequence[float]) -> None:
        self._plain(line, args)
        turn = _BASES[name[-1] if name[-1] in "XY" else "Z"]
        for target in line.targets_copy():
            self._measured(name, target.value, turn)

    def _product(self, line: Any, args: Sequence[float]) -> None:
        """A wire that is turned by each of the Paulis tells their product."""
        self._plain(line, args)
        for group in line.target_groups():
            qml.Hadamard(self.ancilla)
            for target in group:
                _MAKERS[f"C{target.pauli_type}"](wires=[self.ancilla, target.value])
                self.touched.add(target.value)
            qml.Hadamard(self.ancilla)
            self.measured.append(qml.measure(self.ancilla, reset=True))

    def _measured(self, name: str, wire: int, turn: str) -> None:
        records, reset = name[0] == "M", "R" in name
        if turn and (records or wire in self.touched):
            self._turn(turn, wire)
        if records or wire in self.touched:
            bit = qml.measure(wire, reset=reset)
            if records:
                self.measured.append(bit)
        if turn:
            self._turn(turn, wire)
        if records or turn:
            self.touched.add(wire)

    @staticmethod
    def _turn(turn: str, wire: int) -> None:
        """H, or the gate (Y + Z) / sqrt(2), which exchanges Y and Z as H does X and Z."""
        if turn == "H":
            qml.Hadamard(wire)
        else:
            qml.Z(wire)
            qml.adjoint(qml.SX(wire))

    def _gate(self, name: str, group: Sequence[Any]) -> None:
        if name in _CONTROLLED.values() and group[0].is_measurement_record_target:
            paulis = {"CX": qml.X, "CY": qml.Y, "CZ": qml.Z}
            qml.cond(self.measured[group[0].value], paulis[name])(group[1].value)
            self.touched.add(group[1].value)
            return
        wires = [t.value for t in group]
        if name == "H_YZ":
            self._turn(name, wires[0])
        elif name in _MAKERS:
            _MAKERS[name](wires=wires)
        else:
            raise ValueError(f"from_stim knows {', '.join(sorted(_MAKERS))}. Got {name}. Decompose it first.")
        self.touched.update(wires)

    def _noise(self, name: str, line: Any, args: Sequence[float]) -> None:
        channels = {"X_ERROR": qml.BitFlip, "Z_ERROR": qml.PhaseFlip, "DEPOLARIZE1": qml.DepolarizingChannel}
        if name == "E":
            targets = line.targets_copy()
            wires = [t.value for t in targets]
            qml.PauliError("".join(t.pauli_type for t in targets), args[0], wires=wires)
            self.touched.update(wires)
            return
        for group in line.target_groups():
            wires = [t.value for t in group]
            if name in channels:
                channels[name](args[0], wires=wires)
            elif name == "Y_ERROR":
                qml.PauliError("Y", args[0], wires=wires)
            elif name == "DEPOLARIZE2":
                qml.QubitChannel(_kraus([args[0] / 15] * 15, 2), wires=wires)
            elif name.startswith("PAULI_CHANNEL_"):
                qml.QubitChannel(_kraus(args, len(wires)), wires=wires)
            else:
                raise ValueError(f"from_stim knows Pauli noise. Got {name}. Leave it out with noise=False.")
            self.touched.update(wires)


def _kraus(chances: Sequence[float], wires: int) -> list[NDArray[np.complex128]]:
    """The Kraus matrices of noise that is each Pauli string but the identity with a chance, in Stim's order."""
    weights = [1 - sum(chances), *chances]
    return [np.sqrt(w) * string for w, string in zip(weights, _strings(wires), strict=True)]


def _strings(wires: int) -> list[NDArray[np.complex128]]:
    """The matrices of all Pauli strings, II, IX, IY, IZ, XI, ..., as Stim orders them."""
    single = [qml.matrix(gate(0)) for gate in _PAULIS]
    if wires == 1:
        return single
    return [np.kron(first, rest) for first, rest in product(single, _strings(wires - 1))]
