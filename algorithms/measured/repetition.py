"""A gate that no circuit of Clifford and T gates makes exactly, made exactly by repeating until it succeeded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pennylane as qml
from pennylane.ops import MeasurementValue

from varq.simulator.outcomes import outcome

__all__ = ["repeated_v_gate"]


def repeated_v_gate(wire: Hashable, ancillas: Sequence[Hashable], attempts: int = 1) -> MeasurementValue:
    """Apply V = (I + 2i Z) / sqrt(5) by Clifford and T gates, up to a phase, or leave the wire as it is.

    An attempt has two measurements.  The first (of the first ancilla, right with probability 3/4) makes a resource
    state; the second (of the resource, right with 5/6) says whether V was applied.  In every other case the wire is as
    it was, so that the next attempt can begin; after a success the gates of all later attempts are left out.  So k
    attempts fail with probability (3/8)^k, whatever the state of the wire.

    With the resource in |0> + |1>/sqrt(2) and a CNOT gate from the wire onto it, a T gate and a projection on |+> leave
    (3 + i)/4 at |0> and (2 + i)/(2 sqrt(2)) at |1>: both have the square 5/8, and with the T and Z gates on the wire
    their ratio is (-3 - 4i)/5, which is that of V.

    Args:
        wire: to act on.
        ancillas: two wires, in |0> before and after.
        attempts: how many, at least 1.

    Returns:
        1 if all attempts failed, 0 if V was applied.

    Raises:
        ValueError: if the ancillas are not two other wires, or attempts are fewer than 1.

    References:
        Paetznick and Svore, Quantum Inf. Comput. 14, 1277 (2014), Fig. 1(c).

    Example:
        >>> @qml.qnode(qml.device("varq.qubit", wires=3))
        ... def circuit():
        ...     qml.Hadamard(0)
        ...     failed = repeated_v_gate(0, [1, 2], attempts=3)
        ...     return qml.expval(failed)
        >>> print(round(float(circuit()), 6), (3 / 8) ** 3)
        0.052734 0.052734375
    """
    if len({wire, *ancillas}) != 3 or len(ancillas) != 2:
        raise ValueError(f"ancillas must be two wires other than {wire!r}. Got {list(ancillas)}.")
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1. Got {attempts}.")
    failed = _attempt(wire, ancillas, None)
    for _ in range(attempts - 1):
        failed = _attempt(wire, ancillas, failed)
    qml.cond(failed == 0, qml.Z)(wire)
    return failed


def _attempt(wire: Hashable, ancillas: Sequence[Hashable], before: MeasurementValue | None) -> MeasurementValue:
    """One attempt, made where all before failed; elsewhere the ancillas stay in |0>, and 0 is measured again."""
    first, resource = ancillas

    def prepare() -> None:
        qml.Hadamard(first)
        qml.Hadamard(resource)
        qml.adjoint(qml.T)(first)
        qml.CNOT([resource, first])
        qml.T(first)
        qml.Hadamard(first)

    def kick() -> None:
        qml.CNOT([wire, resource])
        qml.T(resource)
        qml.T(wire)
        qml.Hadamard(resource)

    if before is None:
        prepare()
    else:
        qml.cond(before, prepare)()
    spoiled = qml.measure(first, reset=True)  # the resource is then in |1>, so that 1 is measured below
    ready = spoiled == 0 if before is None else outcome(lambda b, s: (b != 0) & (s == 0), before, spoiled)
    qml.cond(ready, kick)()
    return qml.measure(resource, reset=True)
