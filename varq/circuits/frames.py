"""The two frames of batch phase estimation: many control wires and a Fourier transform, or one wire used again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.simulator.outcomes import outcome

__all__ = [
    "Apply",
    "controlled_by_many",
    "controlled_by_one",
    "fourier",
    "one_round",
    "prepared",
    "sine_state",
    "turn_after",
]

Apply = Callable[[Any, int], None]
"""Queues the unitary to the power 2**j, controlled by a wire: `apply(wire, j)`."""


def sine_state(bits: int) -> NDArray[np.float64]:
    """The input state of least Holevo variance, shape (T,), T = 2**bits: a_x is sin(pi (x + 1) / (T + 1)), normalized.

    It reaches tan(pi / (T + 1))**2, the least for T - 1 applications: Luis and Perina, Phys. Rev. A 54, 4564 (1996);
    Berry et al., Phys. Rev. A 80, 052114 (2009).

    Example:
        >>> float(np.round(sine_state(4) @ sine_state(4), 12))
        1.0
    """
    size = 1 << bits
    places: NDArray[np.float64] = np.arange(1, size + 1, dtype=np.float64)
    return math.sqrt(2 / (size + 1)) * np.sin(np.pi * places / (size + 1))


def prepared(state: NDArray[np.complex128], wires: Sequence[int]) -> None:
    """Queue the preparation of a state: as the flips of a basis state where it is one."""
    place = int(np.argmax(np.abs(state)))
    if abs(state[place]) < 1 - 1e-12:
        qml.StatePrep(state, wires=wires)
        return
    for k, wire in enumerate(wires):
        if place >> (len(wires) - 1 - k) & 1:
            qml.X(wire)


def fourier(wires: Sequence[Any], inverse: bool = False) -> None:
    """Queue the Fourier transform without its swaps: wire j of m then holds the phase 2 pi b / 2**(m - j).

    Args:
        wires: of the register.
        inverse: whether to undo it.
    """
    gates = []
    for j, wire in enumerate(wires):
        gates.append((wire, wire, 0.0))
        gates += [(other, wire, math.pi / 2 ** (k + 1)) for k, other in enumerate(wires[j + 1 :])]
    for control, target, angle in reversed(gates) if inverse else gates:
        if control == target:
            qml.Hadamard(target)
        else:
            qml.ControlledPhaseShift(-angle if inverse else angle, wires=[control, target])


def controlled_by_many(apply: Apply, controls: Sequence[int], amplitudes: NDArray[np.float64] | None = None) -> None:
    """Queue phase estimation with a control wire for each bit; their outcomes are the bits, most significant first.

    The outcome k stands for the phase 2 pi k / 2**t.

    Args:
        apply: queues the controlled powers.
        controls: t wires.
        amplitudes: of their input state, shape (2**t,); None for the uniform one.
    """
    if amplitudes is None:
        for wire in controls:
            qml.Hadamard(wire)
    else:
        qml.StatePrep(amplitudes, wires=controls[::-1])
    for j, wire in enumerate(controls):
        apply(wire, j)
    fourier(controls, inverse=True)


def controlled_by_one(apply: Apply, control: int, bits: int) -> list[Any]:
    """Queue the same law with one control wire, measured, reset and turned by what was measured before.

    Griffiths and Niu, Phys. Rev. Lett. 76, 3228 (1996): the least significant bit is measured first.

    Args:
        apply: queues the controlled powers.
        control: the wire.
        bits: t.

    Returns:
        The measured values, most significant bit first.
    """
    seen: list[Any] = []
    for k in range(bits):
        one_round(apply, control, bits - 1 - k, outcome(turn_after, *seen) if seen else None)
        seen.append(qml.measure(control, reset=True))
    return seen[::-1]


def one_round(apply: Apply, control: int, j: int, turn: Any) -> None:
    """Queue a round: the power 2**j, controlled, and the control turned by an angle in radians (None: not turned)."""
    qml.Hadamard(control)
    apply(control, j)
    if turn is not None:
        qml.PhaseShift(turn, control)
    qml.Hadamard(control)


def turn_after(*bits: Any) -> Any:
    """Minus the phase that the bits measured so far, the least significant first, leave on the control, radians.

    Example:
        >>> turn_after(1, 0) == -np.pi / 4
        True
    """
    return -sum(math.pi * bit / 2 ** (len(bits) - k) for k, bit in enumerate(bits))
