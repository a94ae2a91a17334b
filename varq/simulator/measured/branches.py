"""Exact evaluation: every branch of a measured circuit, weighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from varq.simulator.measured import amplitudes
from varq.simulator.measured.exact import Ensemble, evaluate
from varq.simulator.measured.machine import Columns, initial_vector
from varq.simulator.measured.program import Measure, Numbers, Program
from varq.simulator.measured.sequence import perform
from varq.simulator.scans import Room

__all__ = ["branch_sum", "count_branches"]


def count_branches(program: Program) -> int:
    """How many branches a program has: two for each free measurement, and as many again for what may be read."""
    count, noisy = 1, program.flips is not None
    for measurement in program.measurements():
        count *= (1 if measurement.postselect is not None else 2) * (2 if noisy else 1)
    return count


def branch_sum(program: Program, numbers: Numbers, labels: Sequence[Any], dtype: str, stored: int) -> list[Any]:
    """The exact values of a program's terminal measurements; plain JAX, differentiable in any mode.

    Args:
        program: with `finals`.
        numbers: of the program.
        labels: of the wires.
        dtype: "float32" or "float64", of the amplitudes.
        stored: bytes of states that a derivative may keep.
    """
    flips = None if program.flips is None else numbers.arrays[program.flips]
    columns = Columns(
        state=amplitudes.start(program.wires, initial_vector(program, numbers), dtype),
        bits=np.zeros((program.slots, 1), np.int8),
        registers=tuple(jnp.zeros((*shape, 1), kind) for shape, kind in program.registers),
        extra=jnp.ones(1, dtype),
    )
    widest = columns.state.nbytes * count_branches(program)
    tight = len(program.steps) * widest > stored
    columns = perform(program.steps, numbers, columns, partial(_split, flips), room=Room(stored), tight=tight)
    ensemble = Ensemble(columns, numbers, labels)
    return [evaluate(final, ensemble) for final in program.finals]


def _split(flips: Any, columns: Columns, form: Measure, slot: Any) -> Columns:
    """Every branch becomes one for each outcome, and each of these one for each possible record of it.

    States are not normalized: a branch's squared norm times its `extra` is its probability, so that nothing is divided
    and derivatives exist for branches of probability zero too.
    """
    made = []
    for outcome, part in enumerate(amplitudes.project(columns.state, form.wire)):
        blank = jnp.zeros_like(part)
        pair = (blank, part) if outcome and not form.reset else (part, blank)
        state = jnp.stack(pair, axis=form.wire + 1)
        for read in (0, 1):
            if form.postselect not in (None, read) or (flips is None and read != outcome):
                continue
            bits = np.array(columns.bits)
            bits[slot] = read
            factor = 1.0
            if flips is not None:
                wrong = flips[form.wire, outcome]
                factor = wrong if read != outcome else 1 - wrong
            made.append(replace(columns, state=state, bits=bits, extra=columns.extra * factor))
    return Columns(
        state=jnp.concatenate([m.state for m in made], axis=-1),
        bits=np.concatenate([m.bits for m in made], axis=-1),
        registers=tuple(jnp.concatenate(rs, axis=-1) for rs in zip(*(m.registers for m in made), strict=True)),
        extra=jnp.concatenate([m.extra for m in made], axis=-1),
    )
