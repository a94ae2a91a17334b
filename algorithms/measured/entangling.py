"""Entanglement made and moved by measurements: teleportation, and GHZ states in constant depth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pennylane as qml
from pennylane.ops import MeasurementValue

from varq.simulator.outcomes import outcome

__all__ = ["fused_ghz", "teleport"]


def teleport(source: Hashable, here: Hashable, there: Hashable) -> tuple[MeasurementValue, MeasurementValue]:
    """Move the state of a wire to another one by two bits and a shared Bell pair.

    Args:
        source: the wire whose state moves; it is left in |0>.
        here: the sender's half of the pair, in |0> before and after.
        there: the receiver's half, in |0> before.

    Returns:
        The two bits that are sent: whether Z, and whether X had to be applied.

    Raises:
        ValueError: if the wires are not three.

    References:
        Bennett et al., Phys. Rev. Lett. 70, 1895 (1993).

    Example:
        >>> @qml.qnode(qml.device("varq.qubit", wires=3))
        ... def circuit(angle):
        ...     qml.RY(angle, 0)
        ...     teleport(0, 1, 2)
        ...     return qml.expval(qml.X(2))
        >>> print(round(float(circuit(0.5)), 4))  # sin(0.5)
        0.4794
    """
    if len({source, here, there}) < 3:
        raise ValueError(f"source, here and there must be three wires. Got {source!r}, {here!r}, {there!r}.")
    qml.Hadamard(here)
    qml.CNOT([here, there])
    qml.CNOT([source, here])
    qml.Hadamard(source)
    phase, flip = qml.measure(source, reset=True), qml.measure(here, reset=True)
    qml.cond(flip, qml.X)(there)
    qml.cond(phase, qml.Z)(there)
    return phase, flip


def fused_ghz(wires: Sequence[Hashable], ancillas: Sequence[Hashable]) -> list[MeasurementValue]:
    """Prepare (|0...0> + |1...1>) / sqrt(2) in a depth that does not grow with the number of wires.

    Every wire starts in |+>.  An ancilla between each two neighbors takes up their parity and is measured, which leaves
    the wires in |x> + |not x> for a random x whose parities between neighbors are known.  A wire is flipped if the
    parities up to it add up to an odd number: all flips are made at once, so that the depth is that of one Hadamard
    gate, two CNOT gates, a measurement and a flip.  A circuit of gates between neighbors alone needs a depth that grows
    with the number of wires.

    Args:
        wires: of the state, in |0> before.
        ancillas: at least one for each two neighbors, in |0> before and after.

    Returns:
        The parities of neighbors that were measured.

    Raises:
        ValueError: for fewer than two wires, too few ancillas, or one that is among the wires.

    References:
        Bäumer et al., PRX Quantum 5, 030339 (2024); Briegel and Raussendorf, Phys. Rev. Lett. 86, 910 (2001).

    Example:
        >>> @qml.qnode(qml.device("varq.qubit", wires=5))
        ... def circuit():
        ...     fused_ghz([0, 1, 2], [3, 4])
        ...     return qml.probs(wires=[0, 1, 2])
        >>> print(circuit().round(3))
        [0.5 0.  0.  0.  0.  0.  0.  0.5]
    """
    if len(wires) < 2:
        raise ValueError(f"wires must be at least two. Got {list(wires)}.")
    needed = len(wires) - 1
    if len(ancillas) < needed or set(ancillas) & set(wires):
        raise ValueError(
            f"ancillas must be at least {needed} wires that are not among {list(wires)}. Got {list(ancillas)}."
        )
    between = list(ancillas)[:needed]
    for wire in wires:
        qml.Hadamard(wire)
    for wire, ancilla in zip(wires, between, strict=False):
        qml.CNOT([wire, ancilla])
    for wire, ancilla in zip(wires[1:], between, strict=True):
        qml.CNOT([wire, ancilla])
    parities = [qml.measure(ancilla, reset=True) for ancilla in between]
    odd = parities[0]
    for k, wire in enumerate(wires[1:]):
        odd = outcome(lambda a, b: a ^ b, odd, parities[k]) if k else parities[0]
        qml.cond(odd, qml.X)(wire)
    return parities
