"""The probability of outcomes that were recorded, with derivatives of every order in every mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from varq.simulator.measured import amplitudes
from varq.simulator.measured.derivatives import Exact
from varq.simulator.measured.inputs import Layout, assemble
from varq.simulator.measured.machine import Columns, initial_vector
from varq.simulator.measured.program import Measure, Numbers
from varq.simulator.measured.sequence import perform
from varq.simulator.scans import Room

__all__ = ["Recorded"]


@dataclass(frozen=True)
class Recorded(Exact):
    """The logarithm of the probability of each record.

    Args:
        record: which array of the program's numbers holds the outcomes, shape (slots, records).
    """

    record: int = 0

    def results(self, layout: Layout, known: Numbers, traced: Any) -> list[Any]:
        """One array, shape (records,)."""
        numbers = assemble(layout, known, traced, self.dtype)
        bits = jnp.asarray(numbers.arrays[self.record])
        size = bits.shape[1]
        columns = Columns(
            state=amplitudes.start(self.program.wires, initial_vector(self.program, numbers), self.dtype),
            bits=bits,
            registers=tuple(jnp.zeros((*shape, size), kind) for shape, kind in self.program.registers),
            extra=jnp.zeros(size, self.dtype),
        )
        tight = len(self.program.steps) * columns.state.nbytes * size > self.stored
        columns = perform(
            self.program.steps, numbers, columns, _project, steady=True, room=Room(self.stored), tight=tight
        )
        return [columns.extra + jnp.log(jnp.broadcast_to(amplitudes.weights(columns.state), (size,)))]


def _project(columns: Columns, form: Measure, slot: Any) -> Columns:
    """Keeps of every column what its record says.

    The state is divided by a number that derivatives take for constant, so that long records neither vanish nor change
    the derivative: a constant factor adds a constant to the logarithm.
    """
    size = columns.bits.shape[1]
    state = jnp.broadcast_to(columns.state, (*columns.state.shape[:-1], size))
    found = columns.bits[slot] != 0
    zero, one = amplitudes.project(state, form.wire)
    kept = jnp.where(found, one, zero)
    chance = jax.lax.stop_gradient(amplitudes.weights(kept))
    scale = jnp.where(chance > 0, chance, 1)  # what cannot happen stays zero
    kept = kept * jax.lax.rsqrt(scale)
    blank = jnp.zeros_like(kept)
    pair: Any = (kept, blank) if form.reset else (jnp.where(found, blank, kept), jnp.where(found, kept, blank))
    return replace(columns, state=jnp.stack(pair, axis=form.wire + 1), extra=columns.extra + jnp.log(scale))
