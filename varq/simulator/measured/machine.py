"""Runs the steps of a program on many columns at once; what a measurement does is left to its caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.queuing import QueuingManager

from varq.simulator.measured import amplitudes
from varq.simulator.measured.functions import evaluate
from varq.simulator.measured.program import (
    Apply,
    Array,
    Compute,
    Form,
    Kind,
    Measure,
    Numbers,
    Program,
    Ref,
    Register,
    Scalar,
    Slot,
    Static,
    Step,
    Table,
)
from varq.simulator.naming import name_of

__all__ = [
    "Columns",
    "Measuring",
    "alike",
    "gate_kinds",
    "initial_vector",
    "place",
    "prepared",
    "run",
    "stacked_matrices",
    "stacked_places",
    "value",
    "written_out",
]

_BLOCK = 3  # wires: neighbouring gates are multiplied into one matrix on at most this many
_PHASES = {
    "RZ": (-0.5, 0.5),
    "PhaseShift": (0.0, 1.0),
    "U1": (0.0, 1.0),
    "ControlledPhaseShift": (0.0, 0.0, 0.0, 1.0),
    "CRZ": (0.0, 0.0, -0.5, 0.5),
    "IsingZZ": (-0.5, 0.5, 0.5, -0.5),
}
"""Diagonal gates: what multiplies the angle in the phase of each basis state."""

_UNROLLED = 16  # outcomes: so many are added up one by one, more by a matrix product


@dataclass(frozen=True)
class Columns:
    """What is known of every column while the program runs.

    Args:
        state: shape (2, 2, ..., 2, columns); one column only, as long as all are equal.
        bits: outcomes, shape (slots, columns).
        registers: computed values, their last axis counts columns.
        extra: whatever the caller's measurement carries along.
    """

    state: Any
    bits: Any
    registers: tuple[Any, ...] = ()
    extra: Any = None


Measuring = Callable[[Columns, Measure, Any], Columns]
"""Columns before, what is measured, the slot -> columns after."""

jax.tree_util.register_dataclass(Columns, ["state", "bits", "registers", "extra"], [])


def place(ref: Ref, numbers: Numbers, width: int = 0) -> Any:
    """Where a reference points, as plain numbers, so that a loop can take those of all its rounds as one array.

    Args:
        ref: the reference.
        numbers: whose arrays are taken from.
        width: tables and affine forms of fewer outcomes are filled up to so many.
    """
    if isinstance(ref, Array):
        return numbers.arrays[ref.index]
    if isinstance(ref, Register | Static):
        return ()
    if isinstance(ref, Scalar | Slot):
        return np.int32(ref.index)
    count, fill = len(ref.slots), max(0, width - len(ref.slots))
    slots = np.array([*ref.slots, *(fill * [0])], np.int32)
    if isinstance(ref, Table):
        strides = np.array([*(2**k for k in range(count - 1, -1, -1)), *(fill * [0])], np.int32)
        return slots, strides, np.int32(ref.start)
    factors = np.array([*range(ref.start + 1, ref.start + 1 + count), *(fill * [0])], np.int32)  # tables[0] is 0
    return slots, factors, np.int32(ref.start)


def _looked_up(at: Any, tables: Any, bits: Any) -> Any:
    """The values of a tabulated function in every column."""
    slots, strides, index = at
    for k in range(len(slots)):
        index = index + strides[k] * bits[slots[k]].astype(np.int32)
    return tables[index]


def _affine(at: Any, tables: Any, bits: Any) -> Any:
    slots, factors, start = at
    coefficients = tables[factors]
    if len(slots) <= _UNROLLED:
        return tables[start] + sum(coefficients[k] * bits[slots[k]] for k in range(len(slots)))
    row = jnp.zeros(len(bits), coefficients.dtype).at[slots].add(coefficients)
    return tables[start] + row @ jnp.asarray(bits, coefficients.dtype)


def value(kind: Kind, at: Any, numbers: Numbers, columns: Any) -> Any:
    """A number for all columns, or (for what outcomes decide) one for each, shape (columns,)."""
    match kind[0]:
        case "Scalar":
            return numbers.scalars[at]
        case "Array":
            return at
        case "Table":
            return _looked_up(at, numbers.tables, columns.bits)
        case "Affine":
            return _affine(at, numbers.tables, columns.bits)
        case "Slot":
            return columns.bits[at]
        case "Static":
            static = cast(Static, kind[1])
            return np.frombuffer(static.data, static.dtype).reshape(static.shape)
    return columns.registers[cast(int, kind[1])]


def _each(kind: Kind) -> bool:
    """Whether a reference of this kind has a value of its own in each column."""
    return kind[0] not in ("Scalar", "Array", "Static")


def _operator(form: Apply, leaves: Sequence[Any]) -> Any:
    with QueuingManager.stop_recording():
        return jax.tree_util.tree_unflatten(form.structure, list(leaves))


def initial_vector(program: Program, numbers: Numbers) -> Any:
    """The state that a program starts from, shape (2**wires,); None for all zeros."""
    start = program.initial
    if start is None:
        return None
    leaves = [value(k, place(r, numbers), numbers, None) for k, r in zip(start.kinds, start.refs, strict=True)]
    with QueuingManager.stop_recording():
        op = jax.tree_util.tree_unflatten(start.structure, leaves)
        return jnp.reshape(op.state_vector(wire_order=list(start.labels)), -1)


def _matrix(form: Apply, leaves: Sequence[Any]) -> Any:
    found = _operator(form, leaves).matrix()
    return jnp.asarray(found, complex) if isinstance(found, jax.Array) else np.asarray(found, complex)


def gate_kinds(form: Form) -> tuple[Kind, ...] | None:
    """The kinds of a gate's leaves if it is a matrix that is the same in all columns; else None."""
    if not isinstance(form, Apply) or form.diagonal:
        return None
    kinds = form.kinds[:-1] if form.condition else form.kinds
    return None if any(_each(k) for k in kinds) else kinds


def stacked_matrices(form: Apply, places: Sequence[Sequence[Any]], numbers: Numbers, dtype: Any) -> Any:
    """The matrices of gates of one form, in the form of `amplitudes.whole`, one beside the other.

    Args:
        form: which has the same matrix in all columns.
        places: of the leaves of each gate.
        numbers: of the program.
        dtype: of the amplitudes.
    """
    kinds = gate_kinds(form) or ()
    if all(k[0] == "Static" for k in kinds):
        leaves = [value(k, (), numbers, None) for k in kinds]
        only = amplitudes.whole(_matrix(form, leaves), dtype)
        return (np if isinstance(only, np.ndarray) else jnp).broadcast_to(only, (len(places), *only.shape))
    rows = [
        jnp.stack([jnp.asarray(p[j]) for p in places]) if kind[0] == "Array" else np.array([p[j] for p in places])
        for j, kind in enumerate(kinds)
    ]
    moving = [j for j, kind in enumerate(kinds) if kind[0] != "Static"]

    def one(*mine: Any) -> Any:
        at = dict(zip(moving, mine, strict=True))
        return _matrix(form, [value(k, at.get(j, ()), numbers, None) for j, k in enumerate(kinds)])

    return amplitudes.whole(jax.vmap(one)(*(rows[j] for j in moving)), dtype)


def _matrices(form: Apply, kinds: Sequence[Kind], leaves: Sequence[Any]) -> Any:
    """The matrix in every column, which are the last axis."""
    own = [_each(k) for k in kinds]

    def one(*mine: Any) -> Any:
        it = iter(mine)
        op = _operator(form, [next(it) if o else x for o, x in zip(own, leaves, strict=True)])
        return jnp.asarray(op.matrix(), complex)

    return jax.vmap(one, out_axes=-1)(*(x for o, x in zip(own, leaves, strict=True) if o))


class _Block:
    """Gates that are the same in all columns, multiplied together while they stay on few wires."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.gates: list[tuple[Any, tuple[int, ...]]] = []
        self.wires: set[int] = set()

    def add(self, state: Any, matrix: Any, wires: tuple[int, ...]) -> Any:
        """The state, after what no longer fits has been applied."""
        if state.shape[-1] <= 2**_BLOCK:  # a product costs no less than what it is to be applied to
            return amplitudes.apply_matrix(state, matrix, wires)
        if self.gates and len(self.wires | set(wires)) > max(_BLOCK, len(wires)):
            state = self.flush(state)
        self.gates.append((matrix, wires))
        self.wires |= set(wires)
        return state

    def flush(self, state: Any) -> Any:
        if not self.gates:
            return state
        wires = tuple(range(self.total)) if self.total <= _BLOCK else tuple(sorted(self.wires))
        matrix, where = self.gates[0]
        if len(self.gates) > 1 or where != wires:
            columns = amplitudes.identity(len(wires), state.dtype)
            for matrix, where in self.gates:
                columns = amplitudes.apply_matrix(columns, matrix, [wires.index(w) for w in where])
            matrix = amplitudes.product_of(columns)
        self.gates, self.wires = [], set()
        return amplitudes.apply_matrix(state, matrix, wires)


def run(
    forms: Sequence[Form],
    places: Sequence[Sequence[Any]],
    ready: Sequence[Any],
    numbers: Numbers,
    columns: Columns,
    measure: Measuring,
) -> Columns:
    """The columns after the given steps.

    Args:
        forms: of the steps.
        places: of each step's references, as `place` gives them.
        ready: the matrix of each gate that is the same in all columns; None for other steps.
        numbers: of the program.
        columns: before.
        measure: what a measurement does.
    """
    block = _Block(columns.state.ndim - 2)
    for form, at, matrix in zip(forms, places, ready, strict=True):
        if isinstance(form, Apply):
            columns = _apply(form, at, matrix, numbers, columns, block)
        elif isinstance(form, Compute):
            columns = _compute(form, at, numbers, columns)
        else:
            columns = measure(replace(columns, state=block.flush(columns.state)), form, at[0])
    return replace(columns, state=block.flush(columns.state))


def _apply(form: Apply, at: Sequence[Any], matrix: Any, numbers: Numbers, columns: Columns, block: _Block) -> Columns:
    if matrix is not None and not form.condition:
        return replace(columns, state=block.add(columns.state, matrix, form.wires))
    state = block.flush(columns.state)
    if matrix is not None:
        after = amplitudes.apply_matrix(state, matrix, form.wires)
    else:
        kinds = form.kinds[:-1] if form.condition else form.kinds
        leaves = [value(k, x, numbers, columns) for k, x in zip(kinds, at, strict=False)]
        after = _each_applied(form, kinds, leaves, state)
    if form.condition:
        after = jnp.where(value(form.kinds[-1], at[-1], numbers, columns) != 0, after, state)
    return replace(columns, state=after)


def _each_applied(form: Apply, kinds: Sequence[Kind], leaves: Sequence[Any], state: Any) -> Any:
    """The state after a gate whose parameters differ between columns, or that is known by its diagonal."""
    if form.diagonal:
        return amplitudes.apply_diagonal(state, leaves[0], form.wires)
    with QueuingManager.stop_recording():
        name = name_of(jax.tree_util.tree_unflatten(form.structure, [0.0])) if len(leaves) == 1 else ""
    if name in _PHASES:
        return amplitudes.apply_phases(state, _PHASES[name], leaves[0], form.wires)
    return amplitudes.apply_each(state, _matrices(form, kinds, leaves), form.wires)


def _compute(form: Compute, at: Sequence[Any], numbers: Numbers, columns: Columns) -> Columns:
    values = [value(k, x, numbers, columns) for k, x in zip(form.kinds, at, strict=True)]
    inputs, consts = values[: form.inputs], values[form.inputs :]
    inputs = [jnp.asarray(x).astype(v.aval.dtype) for x, v in zip(inputs, form.function.jaxpr.invars, strict=True)]

    def function(*mine: Any) -> list[Any]:
        return evaluate(form.function, consts, *mine)

    found = jax.vmap(function, in_axes=-1, out_axes=-1)(*inputs)
    registers = list(columns.registers)
    for index, result in zip(form.outputs, found, strict=True):
        registers[index] = result
    return replace(columns, registers=tuple(registers))


def written_out(steps: Sequence[Step], numbers: Numbers, columns: Columns, measure: Measuring) -> Columns:
    """The columns after steps that stand for themselves; the matrices of equal forms are made together."""
    places = [[place(r, numbers) for r in s.refs] for s in steps]
    ready: list[Any] = [None] * len(steps)
    for form, members in alike(steps).items():
        matrices = stacked_matrices(form, [places[k] for k in members], numbers, columns.state.dtype)
        for row, k in enumerate(members):
            ready[k] = matrices[row]
    return run([s.form for s in steps], places, ready, numbers, columns, measure)


def alike(steps: Sequence[Step]) -> dict[Apply, list[int]]:
    """Gates that are the same in all columns: for each form, whatever wires and condition, which steps have it."""
    found: dict[Apply, list[int]] = {}
    for k, step in enumerate(steps):
        if gate_kinds(step.form) is not None:
            found.setdefault(_anywhere(step.form), []).append(k)
    return found


def stacked_places(rows: Sequence[Sequence[Ref]], numbers: Numbers) -> list[Any]:
    """The places of the references of steps of one form, those of all steps as one array."""
    widths = [max(len(getattr(refs[j], "slots", ())) for refs in rows) for j in range(len(rows[0]))]
    places = [[place(ref, numbers, width) for ref, width in zip(refs, widths, strict=True)] for refs in rows]
    found: list[Any] = jax.tree.map(_stack, *places)
    return found


def prepared(form: Form, rows: Sequence[Sequence[Ref]], numbers: Numbers, dtype: Any) -> tuple[list[Any], Any]:
    """What a loop over steps of one form needs of each: the places of its references, and its matrix if it has one.

    Args:
        form: of all steps.
        rows: the references of each.
        numbers: of the program.
        dtype: of the amplitudes.
    """
    places = stacked_places(rows, numbers)
    if not isinstance(form, Apply) or gate_kinds(form) is None:
        return places, None
    return places, stacked_matrices(form, [[place(r, numbers) for r in refs] for refs in rows], numbers, dtype)


def _stack(*leaves: Any) -> Any:
    return (jnp if any(isinstance(x, jax.Array) for x in leaves) else np).stack(leaves)


def _anywhere(form: Form) -> Apply:
    """The form of a gate, whatever wires and condition it has."""
    gate = cast(Apply, form)
    return replace(gate, wires=(), kinds=gate.kinds[:-1] if gate.condition else gate.kinds, condition=False)
