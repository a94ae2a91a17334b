"""What depends on what in a circuit: gates that commute by their form do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pennylane.operation import Operator
from pennylane.ops import Adjoint, Conditional, Controlled, MeasurementValue, MidMeasure, Pow

from varq.simulator.naming import name_of

__all__ = ["Causality", "bits_of", "letter_of", "measured_in"]

_LETTERS = {
    **dict.fromkeys(("PauliZ", "S", "T", "RZ", "PhaseShift", "U1", "IsingZZ", "MultiRZ", "DiagonalQubitUnitary"), "Z"),
    **dict.fromkeys(("PauliX", "SX", "RX", "IsingXX"), "X"),
    **dict.fromkeys(("PauliY", "RY", "IsingYY"), "Y"),
}
"""Gates that are functions of one Pauli matrix on each of their wires; so are controls, of Z."""


def letter_of(op: Operator, wire: Any) -> str | None:
    """X, Y or Z if an operation is a function of that Pauli matrix on a wire, so that it commutes with others; or None.

    Example:
        >>> import pennylane as qml
        >>> letter_of(qml.CNOT([0, 1]), 0), letter_of(qml.CNOT([0, 1]), 1), letter_of(qml.Hadamard(0), 0)
        ('Z', 'X', None)
    """
    if isinstance(op, MidMeasure):
        return None if op.reset else "Z"
    if isinstance(op, Controlled):
        return "Z" if wire in op.control_wires else letter_of(op.base, wire)
    if isinstance(op, Conditional | Adjoint | Pow):
        return letter_of(op.base, wire)
    if name_of(op) == "PauliRot":
        letter = str(op.hyperparameters["pauli_word"])[op.wires.index(wire)]
        return None if letter == "I" else letter
    return _LETTERS.get(name_of(op))


def measured_in(op: Operator) -> list[Any]:
    """The ids of the outcomes that an operation depends on."""
    values = [p for p in op.data if isinstance(p, MeasurementValue)]
    inner = op
    while isinstance(inner, Conditional):
        values.append(inner.meas_val)
        inner = inner.base
        values += [p for p in inner.data if isinstance(p, MeasurementValue)]
    return [m.meas_uid for value in values for m in value.measurements]


def bits_of(mask: int) -> Iterable[int]:
    """The places of the ones of an integer, rising."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass
class _Line:
    """One wire: what it does now (operations that commute on it), and what came just before."""

    letter: str | None = None
    members: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)

    def add(self, index: int, letter: str | None) -> list[int]:
        """What an operation waits for on this wire."""
        if letter is None or letter != self.letter:
            self.before, self.members, self.letter = self.members, [], letter
        self.members.append(index)
        return self.before


class Causality:
    """What each operation and each reading depends on.

    `readings` holds for each wire that is read the operations before that, as bits of an integer; `phases` those that
    its reading does not wait for, because they are the last on the wire and commute with it.

    Args:
        operations: in order.
        read: wires that are read at the end, in the basis of Z.

    Raises:
        ValueError: for the outcome of a measurement that the operations do not hold.
    """

    def __init__(self, operations: Sequence[Operator], read: Sequence[Any]) -> None:
        self.operations = list(operations)
        self._ancestors: list[int] = []
        self._lines: dict[Any, _Line] = {}
        measures: dict[Any, int] = {}
        for index, op in enumerate(self.operations):
            parents = [p for w in op.wires for p in self._line(w).add(index, letter_of(op, w))]
            for uid in measured_in(op):
                if uid not in measures:
                    raise ValueError(
                        f"{op.name} on wires {list(op.wires)} depends on the outcome of a measurement that does not "
                        "come before it in this circuit. Call qml.measure first, in the same circuit."
                    )
                parents.append(measures[uid])
            if isinstance(op, MidMeasure):
                measures[op.meas_uid] = index
            self._ancestors.append(self._with(parents) | 1 << index)
        self.measures = measures
        self.readings: dict[Any, int] = {}
        self.phases: dict[Any, list[int]] = {}
        for wire in read:
            line = self._line(wire)
            self.phases[wire] = list(line.members) if line.letter == "Z" else []
            self.readings[wire] = self._with(line.add(len(self.operations), "Z"))

    def _line(self, wire: Any) -> _Line:
        return self._lines.setdefault(wire, _Line())

    def _with(self, parents: Iterable[int]) -> int:
        found = 0
        for parent in parents:
            found |= self._ancestors[parent]
        return found

    def needed(self, uids: Iterable[Any]) -> int:
        """The operations that readings, postselections, or outcomes of these ids depend on, as bits of an integer."""
        found = 0
        for mask in self.readings.values():
            found |= mask
        for uid in uids:
            found |= self._ancestors[self.measures[uid]]
        for index, op in enumerate(self.operations):
            if isinstance(op, MidMeasure) and op.postselect is not None:
                found |= self._ancestors[index]
        return found

    def ends(self, wires: Sequence[Any], needed: int, classical: Mapping[int, Sequence[Any]]) -> dict[Any, int]:
        """For each wire the operations to be done before it is free again: its own and their ancestors.

        Args:
            wires: of the circuit.
            needed: operations, as bits of an integer.
            classical: for operations the wires on which they act by what was read there.
        """
        found = {w: self.readings.get(w, 0) for w in wires}
        for index in bits_of(needed):
            for wire in self.operations[index].wires:
                if wire not in classical.get(index, ()):
                    found[wire] |= self._ancestors[index]
        return {w: mask & needed for w, mask in found.items()}
