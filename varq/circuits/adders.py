"""Beauregard's arithmetic: additions as phases in Fourier space, modulo N, and the controlled multiplication of them.

S. Beauregard, "Circuit for Shor's algorithm using 2n+3 qubits", Quantum Inf. Comput. 3, 175 (2003), with the Fourier
space adder of T. G. Draper, quant-ph/0008033.  Registers are lists of wires, most significant first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pennylane as qml

from varq.circuits.frames import fourier

__all__ = ["Registers", "add", "add_modular", "multiply", "multiply_add"]


@dataclass(frozen=True)
class Registers:
    """The wires of a controlled modular multiplication of n-bit numbers.

    Args:
        x: n wires, which are multiplied.
        sums: n + 1 wires, all zero before and after.
        ancilla: one wire, zero before and after.

    Example:
        >>> Registers.after(1, 4)
        Registers(x=(1, 2, 3, 4), sums=(5, 6, 7, 8, 9), ancilla=10)
    """

    x: tuple[int, ...]
    sums: tuple[int, ...]
    ancilla: int

    @classmethod
    def after(cls, first: int, size: int) -> Registers:
        """Registers for numbers of `size` bits on the wires from `first` on: 2 size + 2 of them."""
        middle = first + size
        last = middle + size + 1
        return cls(tuple(range(first, middle)), tuple(range(middle, last)), last)


def add(number: int, wires: Sequence[Any], controls: Sequence[Any] = ()) -> None:
    """Queue the addition of a number, modulo 2**m, to a register of m wires in Fourier space.

    Args:
        number: any integer; a negative one is subtracted.
        wires: of the register.
        controls: up to two wires that must be 1.
    """
    for j, wire in enumerate(wires):
        period = 1 << (len(wires) - j)
        angle = 2 * math.pi * (number % period) / period
        if not controls:
            qml.PhaseShift(angle, wires=wire)
        elif len(controls) == 1:
            qml.ControlledPhaseShift(angle, wires=[controls[0], wire])
        else:
            qml.ctrl(qml.PhaseShift(angle, wires=wire), control=list(controls))


def add_modular(number: int, modulus: int, registers: Registers, controls: Sequence[Any]) -> None:
    """Queue (sums + number) mod `modulus` in Fourier space, where both controls are 1; figure 5 of the paper.

    Args:
        number: from 0 to modulus - 1.
        modulus: N; the register holds less than N, so that its first wire is free for the sign.
        registers: whose sums are added to, and whose ancilla notes, and forgets, whether N was taken off.
        controls: two wires.
    """
    sums, ancilla = registers.sums, registers.ancilla
    add(number, sums, controls)
    add(-modulus, sums)
    fourier(sums, inverse=True)
    qml.CNOT(wires=[sums[0], ancilla])
    fourier(sums)
    add(modulus, sums, [ancilla])
    # The sum is below the number just if N was taken off: that sets the ancilla back.
    add(-number, sums, controls)
    fourier(sums, inverse=True)
    qml.X(wires=sums[0])
    qml.CNOT(wires=[sums[0], ancilla])
    qml.X(wires=sums[0])
    fourier(sums)
    add(number, sums, controls)


def multiply_add(factor: int, modulus: int, control: Any, registers: Registers) -> None:
    """Queue (sums + factor x) mod `modulus` where the control is 1; figure 6 of the paper."""
    fourier(registers.sums)
    for j, wire in enumerate(reversed(registers.x)):
        add_modular((factor << j) % modulus, modulus, registers, [control, wire])
    fourier(registers.sums, inverse=True)


def multiply(factor: int, modulus: int, control: Any, registers: Registers) -> None:
    """Queue x -> factor x mod `modulus` where the control is 1, for x below the modulus; figure 7 of the paper.

    Args:
        factor: without a common factor with the modulus.
        modulus: N, at most 2**n.
        control: a wire.
        registers: of n-bit numbers; sums and ancilla are zero before and after.

    Raises:
        ValueError: if the factor has no inverse.
    """
    inverse = pow(factor, -1, modulus)
    multiply_add(factor, modulus, control, registers)
    for x, total in zip(registers.x, registers.sums[1:], strict=True):
        qml.CSWAP(wires=[control, x, total])
    # To take x / factor off is to add its negative.
    multiply_add(modulus - inverse, modulus, control, registers)
