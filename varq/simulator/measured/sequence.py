"""Steps that do not repeat, as one loop: what there is to compile grows with their kinds, not with their number.

Gates that are the same in all columns become fused blocks on a few sets of wires; every other step stays what it is.
The loop has a branch for each set of wires, and for each form of the other steps.  Few steps are written out instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from varq.simulator.circuit import MATRIX
from varq.simulator.dense import layout
from varq.simulator.dense.fused import MOST, SIZE, WIDTH, Fused, Products, cut, fuse
from varq.simulator.gates import Block
from varq.simulator.measured.machine import (
    Columns,
    Measuring,
    alike,
    gate_kinds,
    place,
    prepared,
    run,
    stacked_matrices,
    stacked_places,
    value,
    written_out,
)
from varq.simulator.measured.program import Apply, Form, Kind, Measure, Numbers, Ref, Step
from varq.simulator.scans import STORED, Room, carried

__all__ = ["perform"]

_FEW = 64  # steps: so many are compiled in about the same time one by one, and run faster
_ALIKE = 2  # steps for each branch: with fewer a loop is no shorter than its steps
_MOST = 4  # gates fused into one block, where columns are few: two levels of products take little to compile
_SMALL = 6  # wires: a state of so many is sooner multiplied by each gate than gates by each other


def perform(
    steps: Sequence[Step],
    numbers: Numbers,
    columns: Columns,
    measure: Measuring,
    steady: bool = False,
    room: Room | None = None,
    tight: bool = False,
) -> Columns:
    """The columns after steps that stand for themselves.

    Args:
        steps: in order.
        numbers: of the program.
        columns: before.
        measure: what a measurement does.
        steady: whether measurements, from the second on, leave as many columns as there were.
        room: for the states that a derivative keeps; without it, for `STORED` bytes of them.
        tight: whether a derivative may lack the room for all states, so that every stretch of gates is to be a loop:
            where steps are written out, what computes them anew is not kept from doing so early.
    """
    parts, products = _cut(tuple(steps), columns.state.ndim - 2, steady, tight)
    room = room or Room(STORED)
    with jax.default_matmul_precision("highest"):  # accelerators multiply with fewer digits by default
        matrices = _matrices(steps, products, numbers, columns.state.dtype)
        for part in parts:
            if isinstance(part, _Plan):
                columns = _looped(part, matrices, numbers, columns, measure, room, tight)
            else:
                columns = written_out(part, numbers, columns, measure)
    return columns


class _Kind(NamedTuple):
    """What the instructions of one branch have in common.

    Args:
        wires: of a fused block; None for another step.
        condition: of a block, the kind of its condition, or None.
        form: of another step.
    """

    wires: tuple[int, ...] | None = None
    condition: Kind | None = None
    form: Form | None = None


class _Row(NamedTuple):
    """One instruction: which block or step it is, and the condition of a block."""

    which: int
    condition: Ref | None = None


class _Plan:
    """Neighboring steps as instructions.

    Args:
        steps: of the sequence.
        some: which of them.
        wires: of the register.
        made: the blocks of the sequence that there are already.
        most: gates in one block.
    """

    def __init__(self, steps: Sequence[Step], some: range, wires: int, made: int, most: int) -> None:
        self.steps, self.wires, self._made, self._most = steps, wires, made, most
        self.blocks: list[Fused] = []
        self.kinds: dict[_Kind, list[_Row]] = {}
        self._rows: list[tuple[int, int, int]] = []
        for together, group in groupby(some, key=lambda k: _together(k, steps[k])):
            if isinstance(together, int):
                self._add(_Kind(form=steps[together].form), _Row(together))
            else:
                self._fuse(list(group))
        self.branch, self.row, self.block = np.array(self._rows, np.int32).T

    def _add(self, kind: _Kind, row: _Row) -> None:
        rows = self.kinds.setdefault(kind, [])
        self._rows.append((list(self.kinds).index(kind), len(rows), 0 if kind.wires is None else row.which))
        rows.append(row)

    def _fuse(self, members: Sequence[int]) -> None:
        """Gates under one condition, or under none, as blocks."""
        first = self.steps[members[0]]
        form = cast(Apply, first.form)
        kind, ref = (form.kinds[-1], first.refs[-1]) if form.condition else (None, None)
        gates = [Block(MATRIX, cast(Apply, self.steps[k].form).wires, (), k) for k in members]
        for block in cast(list[Fused], fuse(gates, self.wires, self._most)):
            self._add(_Kind(wires=block.wires, condition=kind), _Row(self._made + len(self.blocks), ref))
            self.blocks.append(block)


def _together(index: int, step: Step) -> Any:
    """What is equal for neighboring gates that may be fused; for other steps their index."""
    form = step.form
    if not isinstance(form, Apply) or gate_kinds(form) is None or len(form.wires) > WIDTH:
        return index
    return (step.refs[-1],) if form.condition else ()


@lru_cache(maxsize=64)
def _cut(
    steps: tuple[Step, ...], wires: int, steady: bool, tight: bool
) -> tuple[list[_Plan | tuple[Step, ...]], Products]:
    """The steps in parts, those that are worth a loop and those to be written out; and the matrices of all loops."""
    parts: list[_Plan | tuple[Step, ...]] = []
    blocks: list[Fused] = []
    for some in _pieces(steps, steady):
        before = sum(isinstance(steps[k].form, Measure) for k in range(some.start))
        most = MOST if steady and before else _MOST if wires + before > _SMALL else 1
        plan = _Plan(steps, some, wires, len(blocks), most) if len(some) > (1 if tight else _FEW) else None
        if plan is not None and (tight or len(some) >= _ALIKE * len(plan.kinds)):
            parts.append(plan)
            blocks += plan.blocks
            continue
        plain = tuple(steps[k] for k in some)
        last = parts.pop() if parts and isinstance(parts[-1], tuple) else ()
        parts.append((*cast(tuple[Step, ...], last), *plain))
    return parts, Products(blocks)


def _pieces(steps: Sequence[Step], steady: bool) -> list[range]:
    """The steps cut before and after each measurement that changes how many columns there are."""
    measured = [k for k, s in enumerate(steps) if isinstance(s.form, Measure)]
    ends = sorted({0, len(steps), *(e for k in measured[: 1 if steady else None] for e in (k, k + 1))})
    return [range(a, b) for a, b in pairwise(ends)]


def _looped(
    plan: _Plan, matrices: Any, numbers: Numbers, columns: Columns, measure: Measuring, room: Room, tight: bool
) -> Columns:
    """The columns after the steps of a plan, from the matrices of all blocks."""
    measures = any(isinstance(kind.form, Measure) for kind in plan.kinds)
    branches = _branches(plan, numbers, columns.state.dtype, measure)
    if tight:  # else a derivative would keep what any branch needs, for each of them
        branches = [jax.checkpoint(branch, prevent_cse=False) for branch in branches]
    # Matrices come with their instructions: a derivative by one array of all would be added up whole in each step.
    program = (plan.branch, plan.row, matrices[plan.block])

    def step(carry: Columns, at: Any) -> Columns:
        # Outcomes that no step changes stay what they are: known numbers, where branches are summed.
        before = carry if measures else replace(carry, bits=columns.bits, extra=columns.extra)
        after: Columns = lax.switch(at[0], branches, before, *at[1:])
        return after if measures else replace(after, bits=None, extra=None)

    start = columns if measures else replace(columns, bits=None, extra=None)
    allowed = room.take_for(len(plan.branch), columns.state.nbytes)
    found: Columns = carried(step, start, program, len(plan.branch), allowed)
    return found if measures else replace(found, bits=columns.bits, extra=columns.extra)


def _branches(plan: _Plan, numbers: Numbers, dtype: Any, measure: Measuring) -> list[Callable[[Columns, Any], Columns]]:
    """What each kind of instruction does to the columns, the rows of its kind being numbered."""
    out: list[Any] = []
    for kind, rows in plan.kinds.items():
        if kind.wires is None:
            out.append(_step(kind, [plan.steps[row.which] for row in rows], numbers, dtype, measure))
        else:
            out.append(_block(kind, rows, numbers))
    return out


def _matrices(steps: Sequence[Step], products: Products, numbers: Numbers, dtype: Any) -> Any:
    """The matrices of all blocks, shape (blocks, 2, 16, 16); one of zeros where there is none."""
    if not products.rows:
        return jnp.zeros((1, 2, SIZE, SIZE), dtype)
    found = []
    for rows in products.rows.values():
        members = [p.array for p in rows]
        together = alike([steps[k] for k in members])
        made = []
        for form, some in together.items():
            places = [[place(r, numbers) for r in steps[members[k]].refs] for k in some]
            made.append(stacked_matrices(form, places, numbers, dtype)[:, :, :, 0])
        order = np.argsort([k for some in together.values() for k in some])
        found.append(jnp.concatenate(made)[order])
    return products(products.tables, found)


def _block(kind: _Kind, rows: Sequence[_Row], numbers: Numbers) -> Any:
    """Applies a fused block."""
    wires = cast(tuple[int, ...], kind.wires)
    conditions = None if kind.condition is None else stacked_places([[cast(Ref, r.condition)] for r in rows], numbers)

    def apply(columns: Columns, row: Any, matrix: Any) -> Columns:
        before = columns.state
        state = layout.State(*before.reshape(2, -1))
        parts = layout.apply_matrix(cut(matrix, wires), state, wires, before.ndim - 2)
        after = jnp.stack(parts).reshape(before.shape)
        if kind.condition is not None:
            chosen = value(kind.condition, _at(conditions, row)[0], numbers, columns)
            after = jnp.where(chosen != 0, after, before)
        return replace(columns, state=after)

    return apply


def _step(kind: _Kind, steps: Sequence[Step], numbers: Numbers, dtype: Any, measure: Measuring) -> Any:
    """Does steps of one form, which are fused with none."""
    form = cast(Form, kind.form)
    places, ready = prepared(form, [s.refs for s in steps], numbers, dtype)

    def do(columns: Columns, row: Any, matrix: Any) -> Columns:
        return run([form], [_at(places, row)], [_at(ready, row)], numbers, columns, measure)

    return do


def _at(stacked: Any, row: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x)[row], stacked)
