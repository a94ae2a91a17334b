"""Under which name an operation is known: by its class, never by the name alone, which anyone may give to a class."""

from __future__ import annotations

from pennylane.operation import Operator

__all__ = ["is_native", "name_of"]


def is_native(op: Operator) -> bool:
    """Whether an operation is of a class that PennyLane itself defines, so that it is what its name says.

    Example:
        >>> import pennylane as qml
        >>> is_native(qml.SX(0)), is_native(type("SX", (qml.SX,), {"__module__": "mine"})(0))
        (True, False)
    """
    return type(op).__module__.partition(".")[0] == "pennylane"


def name_of(op: Operator) -> str:
    """The name of an operation that the simulator may know; empty for those of other people's classes.

    A class may say which gate of the simulator it is, by an attribute `simulated_as` of its own (a subclass says it
    anew): its instances then have that gate's one parameter and its wires, and are never asked for a matrix.

    Example:
        >>> import pennylane as qml
        >>> name_of(qml.SX(0)), name_of(type("SX", (qml.SX,), {"__module__": "mine"})(0))
        ('SX', '')
    """
    said = vars(type(op)).get("simulated_as")
    if said is not None:
        return str(said)
    return str(op.name) if is_native(op) else ""
