"""Operations before they are put into another order: wide gates decomposed, exchanges of wires taken as new names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pennylane.exceptions import DeviceError
from pennylane.operation import Operator, StatePrepBase
from pennylane.ops import Adjoint, Conditional, MidMeasure
from pennylane.queuing import QueuingManager

from varq.simulator.naming import name_of
from varq.simulator.reuse.causality import letter_of

__all__ = ["narrow", "placed", "without_swaps"]

WIDEST = 3
"""Gates on more wires are decomposed if they can be: as wholes they would make each wire depend on all others."""

_WHOLE = ("Snapshot", "Allocate", "Deallocate", "WireCut")


def narrow(operations: Sequence[Operator]) -> Iterator[Operator]:
    """The operations, with wide gates decomposed, and with inverses as the gates that they are.

    Raises:
        DeviceError: for operations that concern wires which they do not name.
    """
    for op in operations:
        if op.name in _WHOLE or (op.name == "Barrier" and not op.wires):
            raise DeviceError(
                f"{op.name} concerns wires that it does not name, so that nothing can be moved past it. "
                "Remove it before qubits are reused."
            )
        if isinstance(op, Adjoint) and op.base.has_adjoint:
            with QueuingManager.stop_recording():
                op = op.base.adjoint()
        kept = isinstance(op, MidMeasure | Conditional | StatePrepBase) or op.name == "Barrier"
        if kept or len(op.wires) <= WIDEST or not op.has_decomposition or letter_of(op, op.wires[0]) is not None:
            yield op
        else:
            with QueuingManager.stop_recording():
                parts = op.decomposition()
            yield from narrow(parts)


def without_swaps(operations: Sequence[Operator]) -> tuple[list[Operator], dict[Any, Any]]:
    """The operations without exchanges of wires, and the wire that in the end stands for each that was exchanged.

    Example:
        >>> import pennylane as qml
        >>> without_swaps([qml.SWAP([0, 1]), qml.X(0)])
        ([X(1)], {0: 1, 1: 0})
    """
    now: dict[Any, Any] = {}
    found = []
    for op in operations:
        if name_of(op) == "SWAP":
            first, second = op.wires
            now[first], now[second] = now.get(second, second), now.get(first, first)
        else:
            found.append(placed(op, now) if now else op)
    return found, now


def placed(op: Operator, places: dict[Any, Any]) -> Operator:
    """An operation on other wires; conditions stay the objects that they are, so that each is computed once."""
    if isinstance(op, Conditional):
        return Conditional(op.meas_val, placed(op.base, places))
    return op.map_wires(places)
