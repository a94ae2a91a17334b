"""What a circuit is, whatever numbers it holds: one digest for all circuits that are translated alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

__all__ = ["structure_digest"]


def structure_digest(tape: QuantumScript) -> str:
    """SHA-256 of gates, wires, fixed numbers and measurements; the trainable parameters' values are left out.

    The same in every process: Python's own hashes of text are not.

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
    free = set(tape.trainable_params)
    numbers = iter(range(len(tape.get_parameters(trainable_only=False))))
    seen = hashlib.sha256()
    for operation in tape.operations:
        seen.update("|".join(_operator(operation, numbers, free)).encode())
        seen.update(b";")
    for measurement in tape.measurements:
        seen.update(f"{type(measurement).__name__}{list(measurement.wires)}{measurement.obs!r};".encode())
    return seen.hexdigest()


def _operator(operation: Any, numbers: Iterator[int], free: set[int]) -> Iterable[str]:
    """One operator of a tape, whose parameters take the next of the tape's places."""
    yield f"{type(operation).__name__} {operation.name} {list(operation.wires)}"
    for value in operation.data:
        place = next(numbers)
        yield "free" + str(np.shape(value)) if place in free else _said(value)
    yield from _hyperparameters(operation)


def _hyperparameters(operation: Any) -> Iterable[str]:
    for name, value in sorted(operation.hyperparameters.items()):
        yield f"{name}={_described(value)}"


def _described(value: Any) -> str:
    """A hyperparameter: an operator by what it is without its numbers, which its owner lists among its own."""
    if isinstance(value, qml.operation.Operator):
        inside = "|".join(_hyperparameters(value))
        return f"{type(value).__name__} {value.name} {list(value.wires)} {inside}"
    if isinstance(value, Mapping):
        return str({str(k): _described(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))})
    if isinstance(value, (list, tuple)):
        return str([_described(v) for v in value])
    return _said(value)


def _said(value: Any) -> str:
    array = np.asarray(value)
    if array.dtype.kind in "biufc":
        return f"{array.dtype.str}{array.shape}{hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
    return repr(value)
