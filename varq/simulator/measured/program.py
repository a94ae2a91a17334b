"""The static program that a measured circuit becomes, and the numbers that travel beside it.

A step is its form (what it does: equal for equal rounds) and its references (where its numbers are).  Programs are
hashable, so that JAX compiles each structure once.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

__all__ = [
    "NO_STRUCTURE",
    "SPARSE",
    "Affine",
    "Apply",
    "Array",
    "Compute",
    "Final",
    "Form",
    "Initial",
    "Kind",
    "Measure",
    "Numbers",
    "Program",
    "Ref",
    "Register",
    "Scalar",
    "Slot",
    "Static",
    "Step",
    "Table",
    "Traced",
]


NO_STRUCTURE = jax.tree_util.tree_structure(None)
"""Stands for no structure: JAX looks compiled programs up by comparing them, and its structures raise beside None."""

SPARSE = "sparse"
"""The kind of a `Final` that is the expectation value of a sparse matrix."""


class Numbers(NamedTuple):
    """The run-time inputs.

    Args:
        scalars: scalar parameters, shape (count,).
        tables: values of functions of outcomes, end to end, shape (count,); entry 0 is 0.
        arrays: everything else.
    """

    scalars: Any
    tables: Any
    arrays: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Scalar:
    """Entry `index` of the scalars."""

    index: int


@dataclass(frozen=True)
class Array:
    """Entry `index` of the arrays."""

    index: int


@dataclass(frozen=True)
class Static:
    """An array of integers (such as a basis state), part of the program.

    Args:
        data: its bytes.
        shape: of the array.
        dtype: by name.
    """

    data: bytes
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Table:
    """A function of outcomes by its values: tables[start + outcomes read as a binary number]."""

    slots: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Affine:
    """tables[start] + sum over k of tables[start + 1 + k] * outcome k."""

    slots: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Register:
    """A computed value, kept for every shot."""

    index: int


@dataclass(frozen=True)
class Slot:
    """The outcome of measurement number `index`."""

    index: int


Ref = Scalar | Array | Static | Table | Affine | Register | Slot
Kind = tuple[Hashable, ...]


@dataclass(frozen=True)
class Traced:
    """A function of outcomes as a jaxpr, equal to another by its text; its constants come in beside it."""

    text: str
    jaxpr: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traced) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True)
class Apply:
    """Form of a gate: the operator that `structure` and its leaves make, on `wires`.

    Args:
        structure: JAX's tree structure of the PennyLane operator.
        wires: positions.
        kinds: of each leaf's reference, and then of the condition's, if any.
        condition: whether the last reference says in which shots it acts.
        diagonal: whether its one leaf is the diagonal of a matrix too large to be written down.
    """

    structure: Any
    wires: tuple[int, ...]
    kinds: tuple[Kind, ...] = ()
    condition: bool = False
    diagonal: bool = False


@dataclass(frozen=True)
class Measure:
    """Form of a measurement of one wire; its one reference is the slot."""

    wire: int
    reset: bool
    postselect: int | None


@dataclass(frozen=True)
class Compute:
    """Form of a classical step: registers `outputs` become `function` of the references; constants come last."""

    function: Traced
    kinds: tuple[Kind, ...]
    inputs: int
    outputs: tuple[int, ...]


Form = Apply | Measure | Compute


@dataclass(frozen=True)
class Step:
    """One step of a program."""

    form: Form
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True)
class Initial:
    """The state preparation in front.

    Args:
        structure: JAX's tree structure of the PennyLane operator.
        refs: its leaves.
        kinds: of the references.
        labels: of the wires.
    """

    structure: Any
    refs: tuple[Ref, ...]
    kinds: tuple[Kind, ...]
    labels: tuple[Any, ...]


@dataclass(frozen=True)
class Final:
    """A terminal measurement for exact evaluation.

    Args:
        structure: JAX's tree structure of the measurement; `NO_STRUCTURE` for statistics of measured values and for
            sparse matrices.
        refs: its leaves; or the measured value; or, for probabilities, the slots of the measured values; or rows,
            columns and values of the nonzero elements.
        kind: the name of PennyLane's class, or `SPARSE`.
    """

    structure: Any
    refs: tuple[Ref, ...]
    kind: str


@dataclass(frozen=True)
class Program:
    """A measured circuit.

    Args:
        wires: how many positions.
        steps: in order.
        slots: how many measurements.
        initial: the state preparation in front; None for all zeros.
        flips: the array of probabilities that 0 is recorded as 1 and 1 as 0, shape (wires, 2); None for no errors.
        bases: for shots, the gates before each sampling of the final state.
        finals: for exact evaluation.
        registers: shape and type of each computed value that is kept for every shot.
    """

    wires: int
    steps: tuple[Step, ...]
    slots: int
    initial: Initial | None = None
    flips: int | None = None
    bases: tuple[tuple[Step, ...], ...] = ()
    finals: tuple[Final, ...] = ()
    registers: tuple[tuple[tuple[int, ...], str], ...] = ()

    def measurements(self) -> list[Measure]:
        """The forms of all measurements, in order."""
        return [s.form for s in self.steps if isinstance(s.form, Measure)]
