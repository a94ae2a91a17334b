"""What a circuit is, whatever numbers it holds: one digest for all circuits that are translated alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops import MeasurementValue, MidMeasure
from pennylane.tape import QuantumScript

from varq.devices.contents import Contents, number

__all__ = ["content_digest", "structure_digest"]


def structure_digest(tape: QuantumScript) -> str:
    """SHA-256 of gates, wires, fixed numbers and measurements; the trainable parameters' values are left out.

    The same in every process: Python's own hashes of text are not, and neither are the names that PennyLane gives to
    measurements in the middle, which count by their order.  Functions of outcomes count by their code and by what
    they hold, objects that are no data by their class: see `varq.devices.contents.Contents`.

    Example:
        >>> import pennylane as qml
        >>> from pennylane.tape import QuantumScript
        >>> def tape(angle, wire):
        ...     return QuantumScript([qml.RX(angle, wire)], [qml.sample(wires=[0])], trainable_params=[0])
        >>> structure_digest(tape(0.1, 0)) == structure_digest(tape(0.2, 0))
        True
        >>> structure_digest(tape(0.1, 0)) == structure_digest(tape(0.1, 1))
        False
    """
    words = _Words(tape)
    seen = hashlib.sha256()
    for operation in tape.operations:
        seen.update("|".join(words.of(operation)).encode())
        seen.update(b";")
    for measurement in tape.measurements:
        asked = "" if measurement.mv is None else words.described(measurement.mv)
        seen.update(f"{type(measurement).__name__}{list(measurement.wires)}{measurement.obs!r}{asked};".encode())
    return seen.hexdigest()


def content_digest(*values: Any) -> str:
    """SHA-256 of functions and of what they hold, as `structure_digest` counts them.

    Example:
        >>> def turn(angle):
        ...     return lambda bit: angle * bit
        >>> content_digest(turn(0.1)) == content_digest(turn(0.1))
        True
        >>> content_digest(turn(0.1)) == content_digest(turn(0.2))
        False
    """
    return hashlib.sha256(_Words(QuantumScript()).described(values).encode()).hexdigest()


class _Words:
    """Says what the operators of a tape are; their parameters take the tape's places one after the other."""

    def __init__(self, tape: QuantumScript) -> None:
        self._free = set(tape.trainable_params)
        self._places = iter(range(len(tape.get_parameters(trainable_only=False))))
        self._contents = Contents((op for op in tape.operations if isinstance(op, MidMeasure)), self._inside)

    def of(self, operation: Any) -> Iterable[str]:
        """One operator of the tape."""
        yield f"{type(operation).__name__} {operation.name} {list(operation.wires)}"
        for value in operation.data:
            place = next(self._places)
            yield "free" + str(np.shape(value)) if place in self._free else self.described(value)
        yield from self._hyperparameters(operation)

    def described(self, value: Any) -> str:
        """A hyperparameter: an operator by what it is without its numbers, which its owner lists among its own."""
        if isinstance(value, MeasurementValue):
            return self._contents.said(value)
        if isinstance(value, qml.operation.Operator):
            return self._inside(value)
        if isinstance(value, Mapping):
            return str({str(k): self.described(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))})
        if isinstance(value, (list, tuple)):
            return str([self.described(v) for v in value])
        if (digits := number(value)) is not None:
            return digits
        return repr(value) if isinstance(value, _KNOWN) else self._contents.said(value)

    def _inside(self, value: Any) -> str:
        return f"{type(value).__name__} {value.name} {list(value.wires)} {'|'.join(self._hyperparameters(value))}"

    def _hyperparameters(self, operation: Any) -> Iterator[str]:
        for name, value in sorted(operation.hyperparameters.items()):
            if name != "meas_uid":  # random; its place among the measurements is known
                yield f"{name}={self.described(value)}"


# What says of itself what it is, in the same words everywhere.
_KNOWN = (str, bytes, type(None), qml.wires.Wires, qml.pauli.PauliWord, qml.pauli.PauliSentence)
