"""Other numbers for a tape, which keeps all else.

PennyLane 0.45 forgets a `ControlledQubitUnitary`'s control values when it binds new parameters: a gate that is to act
where a control is 0 then acts where it is 1, in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pennylane as qml
from pennylane.operation import Operator
from pennylane.ops import Conditional
from pennylane.tape import QuantumScript

__all__ = ["bound"]


def bound(tape: QuantumScript, values: Sequence[Any], indices: Sequence[int]) -> QuantumScript:
    """A tape with new values for some of its parameters, by their indices among all of them.

    Example:
        >>> import numpy as np
        >>> gate = qml.ControlledQubitUnitary(np.eye(2), wires=[0, 1], control_values=[0])
        >>> tape = QuantumScript([gate], [qml.state()])
        >>> bound(tape, [np.diag([1, -1])], [0]).operations[0].control_values
        [False]
    """
    new = tape.bind_new_parameters(values, indices)
    if not any(map(_forgets, tape.operations)):
        return new
    operations = [
        _kept(old, op) if _forgets(old) else op for old, op in zip(tape.operations, new.operations, strict=True)
    ]
    return new.copy(operations=operations)


def _inner(op: Operator) -> Sequence[Operator]:
    """What an operation is made of."""
    base = getattr(op, "base", None)
    return getattr(op, "operands", ()) if base is None else (base,)


def _forgets(op: Operator) -> bool:
    return isinstance(op, qml.ControlledQubitUnitary) or any(map(_forgets, _inner(op)))


def _kept(old: Operator, new: Operator) -> Operator:
    """The old operation with the new one's parameters."""
    with qml.QueuingManager.stop_recording():
        if isinstance(old, Conditional):
            return Conditional(old.meas_val, _kept(old.base, new.base))
        if isinstance(old, qml.ControlledQubitUnitary):
            return type(old)(
                *new.data,
                wires=old.wires,
                control_values=old.control_values,
                work_wires=old.work_wires,
                work_wire_type=old.work_wire_type,
            )
        parts = [_kept(a, b) if _forgets(a) else b for a, b in zip(_inner(old), _inner(new), strict=True)]
        return _assembled(old, new, parts)


def _assembled(old: Operator, new: Operator, parts: Sequence[Operator]) -> Operator:
    """An operation made of others, of these."""
    data, metadata = new._flatten()
    inner = [id(part) for part in _inner(new)]
    fresh = tuple(parts[inner.index(id(x))] if id(x) in inner else x for x in data)
    return type(new)._unflatten(fresh, metadata)
