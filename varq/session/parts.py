"""Circuits of more shots than a device takes at once, or that several devices share, as several of fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pennylane.tape import QuantumScript

from varq.devices.service import Bits, Circuit, Limits
from varq.keys import Key

__all__ = ["joined", "part", "parted"]


def parted(circuit: Circuit, limits: Limits) -> list[Circuit]:
    """A circuit as few circuits as carry its shots, each within the limits; itself if it is.

    The parts share its shots as evenly as can be, and each draws from a seed of its own.
    """
    limited = [most for most in (limits.shots, limits.job_shots) if most is not None]
    count = -(-circuit.shots // min(limited)) if limited else 1
    if count <= 1:
        return [circuit]
    least, more = divmod(circuit.shots, count)
    return [part(circuit, least + (k < more), "part", k) for k in range(count)]


def part(circuit: Circuit, shots: int, *path: int | str) -> Circuit:
    """A circuit with fewer shots, which draw from the seed that `path` leads to from its own."""
    tape = circuit.tape
    fewer = QuantumScript(tape.operations, tape.measurements, shots, tape.trainable_params)
    seed = Key.from_seed(circuit.seed).fold(*path).seed()
    return replace(circuit, tape=fewer, shots=shots, seed=seed)


def joined(parts: Sequence[Bits], counts: Sequence[int]) -> list[Bits]:
    """The bits of each circuit, from those of its parts.

    Args:
        parts: the bits of all parts, in order.
        counts: how many parts each circuit has.
    """
    out, at = [], 0
    for count in counts:
        out.append(parts[at] if count == 1 else np.concatenate(parts[at : at + count]))
        at += count
    return out
