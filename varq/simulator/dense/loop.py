"""Steps that are repeated, as one scan forwards and one backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from varq.simulator.dense.diagonal import DiagonalStep
from varq.simulator.dense.segments import Local
from varq.simulator.dense.step import Step
from varq.simulator.dense.steps import TurnStep
from varq.simulator.scans import carried

__all__ = ["Loop"]


class Loop:
    """Steps that are repeated.

    Args:
        steps: of one repeat.
        repeats: how often.
    """

    def __init__(self, steps: Sequence[Step], repeats: int) -> None:
        self.steps = steps
        self.repeats = repeats
        self.tables = tuple(s.tables for s in steps)
        heavy = [k for k, s in enumerate(steps) if not s.cheap]
        self.last = heavy[-1] if heavy else -1
        # A stored state saves undoing the blocks before it: with one step of blocks all, with more a part.
        self.storing = len(heavy) in (1, 2) and repeats > 1

    def inputs(self, tables: Any, local: Local) -> Any:
        """What each step needs at each repeat, leading axis repeats; and what it needs in all of them alike."""
        return tuple(s.inputs(local) for s in self.steps), tuple(s.shared(local) for s in self.steps)

    def _ready(self, tables: Any, shared: Any) -> tuple[Any, ...]:
        """The steps prepared for all repeats."""
        return tuple(s.prepare(t, given) for s, t, given in zip(self.steps, tables, shared, strict=True))

    def _run(self, tables: Any, inputs: Any, state: Any, steps: slice = slice(None)) -> list[Any]:
        """The states after each of some steps."""
        out = []
        for step, table, given in zip(self.steps[steps], tables[steps], inputs[steps], strict=True):
            state = step.apply(table, given, state)
            out.append(state)
        return out

    def forward(self, tables: Any, inputs: Any, state: Any, keep: bool, room: int) -> tuple[Any, Any]:
        """The state after all repeats; the state before each of them if they are to be kept; what was prepared.

        Where they are not, `room` is how many of them JAX may keep if it differentiates this by itself.
        """

        inputs, shared = inputs
        tables = self._ready(tables, shared)

        def once(state: Any, given: Any) -> Any:
            return self._run(tables, given, state)[-1]

        if keep:
            state, kept = lax.scan(lambda state, at: (once(state, at), state), state, inputs, length=self.repeats)
            return state, (kept, tables)
        return carried(once, state, inputs, self.repeats, room), (None, tables)

    def backward(self, tables: Any, inputs: Any, bra: Any, ket: Any, kept: Any) -> tuple[Any, Any, Any]:
        """Slopes with respect to `inputs`, and bra and ket as they are before the first repeat."""

        inputs, _ = inputs
        states, tables = kept

        def once(carry: Any, at: Any) -> tuple[Any, Any]:
            bra, ket, sums = carry
            given, before = at
            bra, ket, slopes, more = self._back(tables, given, bra, ket, before)
            return (bra, ket, jax.tree.map(jnp.add, sums, more)), slopes

        first = jax.tree.map(lambda x: x[0], inputs)
        none = tuple(s.gathered(t, given, bra, ket) for s, t, given in zip(self.steps, tables, first, strict=True))
        none = jax.tree.map(jnp.zeros_like, none)
        (bra, ket, sums), slopes = lax.scan(once, (bra, ket, none), (inputs, states), length=self.repeats, reverse=True)
        found = tuple(s.collected(t, total) for s, t, total in zip(self.steps, tables, sums, strict=True))
        return (slopes, found), bra, ket

    def _back(self, tables: Any, inputs: Any, bra: Any, ket: Any, before: Any) -> tuple[Any, Any, Any, Any]:
        """One repeat backwards; `before` is the stored state at its start, or None."""
        slopes: list[Any] = [None] * len(self.steps)
        more: list[Any] = [None] * len(self.steps)
        known = [] if before is None else [before, *self._run(tables, inputs, before, slice(0, self.last))]
        for k in reversed(range(len(self.steps))):
            step, table, given = self.steps[k], tables[k], inputs[k]
            slopes[k] = step.slopes(table, given, bra, ket)
            more[k] = step.gathered(table, given, bra, ket)
            if k < len(known):
                ket = known[k]
                bra = step.undo(table, given, bra)
            elif isinstance(step, (TurnStep, DiagonalStep)):
                bra, ket = step.both_undone(table, given, bra, ket)
            else:
                bra, ket = step.undo(table, given, bra), step.undo(table, given, ket)
        return bra, ket, tuple(slopes), tuple(more)
