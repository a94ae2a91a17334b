"""Telling two nonorthogonal states apart copy by copy: a policy that chooses each measurement from earlier outcomes."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.ops import MeasurementValue

from varq import checks
from varq.protocol import Array
from varq.simulator.outcomes import outcome

__all__ = ["adaptive_discrimination", "helstrom_bound", "locally_optimal_angles"]

_MOST = 12  # copies: the policy is a table of 2^copies - 1 angles


def adaptive_discrimination(angles: Any, overlap: float, prior: float = 0.5) -> tuple[MeasurementValue, ...]:
    """Queue the task: a hidden bit chooses one of two states, whose copies are measured one after the other.

    The state is cos(a) |0> + sin(a) |1> for 0 and cos(a) |0> - sin(a) |1> for 1, with cos(2 a) = overlap.  Copy k is
    measured in a basis turned by an angle that all earlier outcomes choose; the last outcome is the answer.  All copies
    live on wire 1, one after the other; wire 0 holds the hidden bit.

    Args:
        angles: the policy: radians, shape (2**copies - 1,): entry 2**k - 1 + j is for copy k after the outcomes whose
            bits, the first the most significant, are the number j.
        overlap: of the two states, between 0 and 1.
        prior: probability of the bit 0.

    Returns:
        The hidden bit, and the outcome of each copy.

    Raises:
        ValueError: for angles of another shape, or an overlap or prior that is not between 0 and 1.

    References:
        Acín, Bagan, Baig, Masanes and Muñoz-Tapia, Phys. Rev. A 71, 032338 (2005).

    Example:
        >>> @qml.qnode(qml.device("varq.qubit", wires=2), interface="jax")
        ... def success(angles):
        ...     hidden, *_, answer = adaptive_discrimination(angles, overlap=0.8)
        ...     return qml.expval(hidden == answer)
        >>> best = success(locally_optimal_angles(copies=3, overlap=0.8))
        >>> print(round(float(best), 4), round(helstrom_bound(3, overlap=0.8), 4))
        0.9295 0.9295
    """
    turn = _half_turn(overlap)
    copies = _copies(angles)
    one = 1 - checks.real("prior", prior, minimum=0, maximum=1)
    qml.RY(2 * math.asin(math.sqrt(one)), wires=0)
    hidden = qml.measure(0)
    seen: list[MeasurementValue] = []
    for copy in range(copies):
        qml.RY(outcome(lambda bit: (1 - 2 * bit) * turn, hidden), wires=1)
        if copy:
            qml.RY(outcome(_choice(angles, copy), *seen), wires=1)
        else:
            qml.RY(-angles[0], wires=1)
        seen.append(qml.measure(1, reset=True))
    return hidden, *seen


def _choice(angles: Any, copy: int) -> Any:
    """The turn that a history decides on."""
    table = jnp.reshape(jnp.asarray(angles)[2**copy - 1 : 2 ** (copy + 1) - 1], (2,) * copy)

    def turn(*bits: Any) -> Any:
        left = table
        for bit in bits:
            left = jnp.where(bit != 0, left[1], left[0])
        return -left

    return turn


def _half_turn(overlap: float) -> float:
    """The Bloch vectors of the two states stand at plus and minus this angle."""
    return math.acos(checks.real("overlap", overlap, minimum=0, maximum=1))


def _copies(angles: Any) -> int:
    size = int(np.size(angles))
    copies = (size + 1).bit_length() - 1
    if np.ndim(angles) != 1 or not 1 <= copies <= _MOST or size != 2**copies - 1:
        raise ValueError(
            f"angles must have shape (2**copies - 1,), with 1 to {_MOST} copies. Got shape {np.shape(angles)}."
        )
    return copies


def helstrom_bound(copies: int, overlap: float, prior: float = 0.5) -> float:
    """The largest probability of telling two pure states apart by any measurement of all copies together.

    Args:
        copies: at least 1.
        overlap: of the two states, between 0 and 1.
        prior: probability of the first state.

    Raises:
        ValueError: for numbers out of range.

    References:
        Helstrom, "Quantum Detection and Estimation Theory" (1976), chapter IV.

    Example:
        >>> round(helstrom_bound(1, overlap=0.6), 9)
        0.9
    """
    count = checks.integer("copies", copies, minimum=1)
    _half_turn(overlap)
    weight = checks.real("prior", prior, minimum=0, maximum=1)
    return (1 + math.sqrt(1 - 4 * weight * (1 - weight) * overlap ** (2 * count))) / 2


def locally_optimal_angles(copies: int, overlap: float, prior: float = 0.5) -> NDArray[np.float64]:
    """The policy that measures each copy as if it were the last, with what is known by then; it reaches the bound.

    Args:
        copies: from 1 to 12.
        overlap: of the two states, between 0 and 1.
        prior: probability of the bit 0.

    Returns:
        Angles as `adaptive_discrimination` takes them, radians, shape (2**copies - 1,).

    Raises:
        ValueError: for numbers out of range.

    References:
        Acín, Bagan, Baig, Masanes and Muñoz-Tapia, Phys. Rev. A 71, 032338 (2005).

    Example:
        >>> bool(abs(locally_optimal_angles(1, overlap=0.5)[0] - np.pi / 2) < 1e-12)
        True
    """
    count = checks.integer("copies", copies, 1, _MOST, "The policy is a table of 2^copies - 1 angles.")
    turn = _half_turn(overlap)
    weights = np.array([checks.real("prior", prior, minimum=0, maximum=1)])  # of the bit 0, for each history
    found: list[Array] = []
    for _ in range(count):
        angles = np.arctan2(math.sin(turn), (2 * weights - 1) * math.cos(turn))
        found.append(angles)
        zero = np.stack([np.cos((turn - angles) / 2), np.sin((turn - angles) / 2)], -1) ** 2 * weights[:, None]
        one = np.stack([np.cos((turn + angles) / 2), np.sin((turn + angles) / 2)], -1) ** 2 * (1 - weights)[:, None]
        total = zero + one
        weights = np.divide(zero, total, out=np.full_like(zero, 0.5), where=total > 0).ravel()  # histories that occur
    return np.concatenate(found)
