"""The program that a tape becomes: gates as data, their numbers apart.

A `Circuit` is static and hashable: two tapes of one structure give equal circuits, so that what is compiled for one
serves the other.  The numbers travel beside it as `Numbers`, in the order in which the gates name them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["DIAGONAL", "IGNORED", "MATRIX", "Circuit", "Constants", "Gate", "Initial", "Numbers"]

MATRIX = "Matrix"
"""The name of a gate that is given by its matrix alone, of shape (2, 2**k, 2**k): real part, imaginary part."""

DIAGONAL = "diagonal"
"""What is `static` of a `MATRIX` known to be diagonal and unitary; its angles are the phases of its basis states."""

IGNORED = frozenset({"Barrier", "Identity", "WireCut", "Snapshot"})
"""Names of operations that do nothing to a state."""


class Numbers(NamedTuple):
    """The run-time inputs of a circuit.

    Args:
        angles: every scalar parameter in radians, each object once, shape (circuit.inputs,); while a circuit runs, with
            its products after them, shape (circuit.angles,).
        arrays: an initial state of shape (2, 2**wires), real part and imaginary part, and for each size of matrices the
            stack of all of that size, shape (matrices, 2, d, d); none of them has a unit.
    """

    angles: Any
    arrays: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Gate:
    """One gate.

    Args:
        name: PennyLane's name of it, or `MATRIX`.
        wires: positions in the register; position 0 is the most significant bit of a basis state's index.
        angles: which entries of `Numbers.angles` are its parameters, in PennyLane's order.
        array: which matrix of the stack for its number of wires is its own, for `MATRIX`.
        static: what else distinguishes it, hashable (control values, a Pauli word).
    """

    name: str
    wires: tuple[int, ...]
    angles: tuple[int, ...] = ()
    array: int | None = None
    static: Hashable = None


@dataclass(frozen=True)
class Initial:
    """Where a circuit starts: a basis state, or the state that is the entry `array` of `Numbers.arrays`.

    Args:
        bits: of the basis state, one for each position.
        array: None, or an index; the array has shape (2, 2**wires).
    """

    bits: tuple[int, ...]
    array: int | None = None


@dataclass(frozen=True)
class Constants:
    """Weights of words by which nobody wants derivatives, as they were plain numbers in the tape: slopes by them are 0.

    Args:
        weights: which angles they are.
        levels: a bound on the sum of their sizes in units of the least of them that is not zero, if all are multiples
            of that in every call of the circuit; else 0.
    """

    weights: tuple[int, ...]
    levels: int


@dataclass(frozen=True)
class Circuit:
    """Gates on a register of `wires` positions.

    Args:
        wires: how many positions.
        gates: in the order in which they act.
        initial: the state before the first gate.
        angles: how many angles gates may name: scalar parameters, then products.
        arrays: the shapes of the arrays.
        unitary: whether every matrix among the arrays is known to be unitary.  Where one is not, the circuit cannot
            be run backwards.
        products: angles that are products of two others, (one, the other, factor): of a word's weight and a time.
        constants: weights that are known to be constant.
    """

    wires: int
    gates: tuple[Gate, ...]
    initial: Initial
    angles: int
    arrays: tuple[tuple[int, ...], ...] = ()
    unitary: bool = True
    products: tuple[tuple[int, int, float], ...] = ()
    constants: tuple[Constants, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        # Hashing thousands of gates costs a millisecond, and every call looks its program up.
        known = (self.products, self.constants)
        whole = (self.wires, self.gates, self.initial, self.angles, self.arrays, self.unitary, known)
        object.__setattr__(self, "_hash", hash(whole))

    def __hash__(self) -> int:
        return self._hash

    @property
    def inputs(self) -> int:
        """How many scalar parameters there are."""
        return self.angles - len(self.products)

    def completed(self, numbers: Numbers) -> Numbers:
        """The numbers with the products of angles after the angles, as JAX arrays."""
        if not self.products:
            return numbers
        one, other, factor = (np.array(column) for column in zip(*self.products, strict=True))
        angles = jnp.asarray(numbers.angles)
        if self.constants:
            fixed = np.zeros(self.inputs, bool)
            fixed[[w for some in self.constants for w in some.weights]] = True
            angles = jnp.where(fixed, lax.stop_gradient(angles), angles)
        made = angles[one] * angles[other] * jnp.asarray(factor, angles.dtype)
        return Numbers(jnp.concatenate([angles, made]), numbers.arrays)
