"""Many shots of a measured circuit, drawn at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.measured import amplitudes
from varq.simulator.measured.inputs import Layout, assemble
from varq.simulator.measured.machine import Columns, gate_kinds, place, run, stacked_matrices, unrolled
from varq.simulator.measured.program import Apply, Measure, Numbers, Program, Step
from varq.simulator.measured.rounds import Loop, parts

__all__ = ["Drawn", "draw", "held_amplitudes"]

_FEWEST_SHOTS = 64  # of a chunk: their axis is the contiguous one

_ATTEMPTS = 1000
"""How often shots that postselection rejects are drawn again before they are given up as invalid."""


def held_amplitudes(platform: str) -> int:
    """How many amplitudes to hold at once: on a CPU what stays in its cache (measured), elsewhere what fills it."""
    return 2**14 if platform == "cpu" else 2**26


class Drawn(NamedTuple):
    """What was seen in every shot.

    Args:
        bits: recorded outcomes, int8, shape (slots, shots).
        valid: whether postselection accepts the shot, shape (shots,).
        samples: for each basis of the final state, the basis state found, as its index, shape (shots,).
    """

    bits: Any
    valid: Any
    samples: tuple[Any, ...]


class _Luck(NamedTuple):
    """What a run carries along: randomness, acceptance, and the probability of the outcomes that were forced."""

    key: Any
    valid: Any
    forced: Any


@partial(jax.jit, static_argnames=("program", "layout", "shots", "fill", "dtype", "held"))
def draw(
    program: Program,
    layout: Layout,
    known: Numbers,
    traced: Any,
    key: Any,
    *,
    shots: int,
    fill: bool,
    dtype: str,
    held: int,
) -> Drawn:
    """Shots of a program.

    Args:
        program: with the bases in which the final state is sampled.
        layout: of its numbers.
        known: the numbers that are known.
        traced: the vector of those that are not.
        key: a JAX random key.
        shots: how many.
        fill: whether shots that fail postselection are drawn again, instead of being marked invalid.
        dtype: "float32" or "float64", of the amplitudes.
        held: how many amplitudes are held at once: shots come in chunks of so many.
    """
    numbers = assemble(layout, known, traced, dtype)
    flips = None if program.flips is None else numbers.arrays[program.flips]
    size = min(shots, max(_FEWEST_SHOTS, held >> program.wires))
    chunks = -(-shots // size)
    one = partial(_accepted if fill and _chained(program) else _chunk, program, numbers, flips, size, fill, dtype)
    if chunks == 1:
        return one(key)
    drawn = jax.lax.map(one, jax.random.split(key, chunks))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)[..., :shots], drawn)


def _chained(program: Program) -> bool:
    """Whether a forced outcome follows a drawn one: then forcing alone would not give the conditional law."""
    free = [m.postselect is None for m in program.measurements()]
    return any(free) and not all(free[k] for k in range(free.index(True), len(free)))


def _accepted(program: Program, numbers: Numbers, flips: Any, size: int, fill: bool, dtype: str, key: Any) -> Drawn:
    """A chunk in which every shot was accepted with the probability of its forced outcomes: the conditional law."""

    def attempt(key: Any) -> tuple[Drawn, Any]:
        run_key, accept_key = jax.random.split(key)
        drawn, forced = _whole(program, numbers, flips, size, fill, dtype, run_key)
        return drawn, _uniform(accept_key, (size,), forced.dtype) < forced

    def again(carry: Any) -> Any:
        drawn, count, key = carry
        key, now = jax.random.split(key)
        new, good = attempt(now)
        good = good & ~drawn.valid
        merged = jax.tree.map(lambda a, b: jnp.where(good, b, a), drawn, new)
        return merged._replace(valid=drawn.valid | good), count + 1, key

    key, now = jax.random.split(key)
    drawn, good = attempt(now)
    carry = (drawn._replace(valid=good), 1, key)
    return jax.lax.while_loop(lambda c: ~jnp.all(c[0].valid) & (c[1] < _ATTEMPTS), again, carry)[0]


def _chunk(program: Program, numbers: Numbers, flips: Any, size: int, fill: bool, dtype: str, key: Any) -> Drawn:
    return _whole(program, numbers, flips, size, fill, dtype, key)[0]


def _whole(
    program: Program, numbers: Numbers, flips: Any, size: int, fill: bool, dtype: str, key: Any
) -> tuple[Drawn, Any]:
    """One chunk of shots, and for each the probability of its forced outcomes."""
    key, final_key = jax.random.split(key)
    luck = _Luck(key, jnp.ones(size, bool), jnp.ones(size, dtype))
    columns = Columns(
        state=amplitudes.start(
            program.wires, None if program.initial is None else numbers.arrays[program.initial], dtype
        ),
        bits=jnp.zeros((program.slots, size), np.int8),
        registers=tuple(jnp.zeros((*shape, size), kind) for shape, kind in program.registers),
        extra=luck,
    )
    measure = partial(_measure, flips, fill, size)
    for part in parts(program.steps):
        if isinstance(part, Loop):
            columns = _loop(part, numbers, _spread(columns, size), measure)
        else:
            columns = unrolled(part, numbers, columns, measure)
    keys = jax.random.split(final_key, max(1, len(program.bases)))
    samples = tuple(_sample(basis, numbers, columns, size, k) for basis, k in zip(program.bases, keys, strict=False))
    return Drawn(columns.bits, columns.extra.valid, samples), columns.extra.forced


def _spread(columns: Columns, size: int) -> Columns:
    """With a column of the state for each shot."""
    shape = (*columns.state.shape[:-1], size)
    return replace(columns, state=jnp.broadcast_to(columns.state, shape))


def _loop(loop: Loop, numbers: Numbers, columns: Columns, measure: Any) -> Columns:
    """All rounds by one body, which takes the places of each round's numbers as data."""
    places, ready = [], []
    for k, form in enumerate(loop.forms):
        refs = [r[k].refs for r in loop.rounds]
        widths = [max(len(getattr(r[j], "slots", ())) for r in refs) for j in range(len(refs[0]))]
        rows = [[place(ref, numbers, width) for ref, width in zip(row, widths, strict=True)] for row in refs]
        places.append(jax.tree.map(_stack, *rows))
        same = isinstance(form, Apply) and gate_kinds(form) is not None
        ready.append(stacked_matrices(form, rows, numbers, columns.state.dtype) if same else None)

    def body(carry: Columns, at: Any) -> tuple[Columns, None]:
        return run(loop.forms, *at, numbers, carry, measure), None

    return jax.lax.scan(body, columns, (places, ready))[0]


def _stack(*leaves: Any) -> Any:
    return (jnp if any(isinstance(x, jax.Array) for x in leaves) else np).stack(leaves)


def _measure(flips: Any, fill: bool, size: int, columns: Columns, form: Measure, slot: Any) -> Columns:
    """Draws the outcome of every shot, collapses the state and records what is read."""
    columns = _spread(columns, size)
    key, one_key, read_key = jax.random.split(columns.extra.key, 3)
    zero, one = amplitudes.project(columns.state, form.wire)
    p0, p1 = amplitudes.weights(zero), amplitudes.weights(one)
    total = p0 + p1
    valid, forced = columns.extra.valid, columns.extra.forced
    if fill and form.postselect is not None:
        q0, q1 = (1.0, 1.0) if flips is None else _read_as(flips, form)
        if flips is None:
            found = jnp.full(size, bool(form.postselect))
            forced = forced * (p1 if form.postselect else p0) / total
        else:
            found = _uniform(one_key, (size,), p0.dtype) * (p0 * q0 + p1 * q1) < p1 * q1
            forced = forced * (p0 * q0 + p1 * q1) / total
        read = jnp.full(size, form.postselect, np.int8)
        valid = valid & (forced > 0)
    else:
        found = _uniform(one_key, (size,), p0.dtype) * total < p1
        read = found if flips is None else found ^ _flipped(flips, form, found, read_key)
        if form.postselect is not None:
            valid = valid & (read == bool(form.postselect))
    scale = jax.lax.rsqrt(jnp.where(found, p1, p0))
    kept = jnp.where(found, one, zero) * scale
    blank = jnp.zeros_like(kept)
    pair = (kept, blank) if form.reset else (jnp.where(found, blank, kept), jnp.where(found, kept, blank))
    bits = jax.lax.dynamic_update_index_in_dim(columns.bits, read.astype(np.int8), slot, 0)
    state = jnp.stack(pair, axis=form.wire + 1)
    return replace(columns, state=state, bits=bits, extra=_Luck(key, valid, forced))


def _read_as(flips: Any, form: Measure) -> tuple[Any, Any]:
    """The probabilities that 0 and that 1 are read as the outcome that is selected."""
    up, down = flips[form.wire, 0], flips[form.wire, 1]
    return (up, 1 - down) if form.postselect else (1 - up, down)


def _flipped(flips: Any, form: Measure, found: Any, key: Any) -> Any:
    chance = jnp.where(found, flips[form.wire, 1], flips[form.wire, 0])
    return _uniform(key, found.shape, chance.dtype) < chance


def _uniform(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Uniform numbers strictly between 0 and 1, in steps of 2**-32.

    Made from 32-bit integers: what JAX makes 64-bit ones from is lowered again outside this package, where the x64
    flag of a caller that jits may be off.
    """
    return (jax.random.bits(key, shape, np.uint32).astype(dtype) + 0.5) * 2.0**-32


def _sample(basis: tuple[Step, ...], numbers: Numbers, columns: Columns, size: int, key: Any) -> Any:
    """A basis state for each shot, from its final state."""
    state = amplitudes.flat(unrolled(basis, numbers, columns, _no_measurement).state)
    chances = jnp.broadcast_to(state[0] ** 2 + state[1] ** 2, (state.shape[1], size))
    found = jnp.zeros(size, np.int32)
    for luck in _uniform(key, (len(chances).bit_length() - 1, size), chances.dtype):
        halves = chances.reshape(2, -1, size)
        zero, one = halves.sum(axis=1)
        bit = luck * (zero + one) >= zero
        chances = jnp.where(bit, halves[1], halves[0])
        found = 2 * found + bit
    return found


def _no_measurement(columns: Columns, form: Measure, slot: Any) -> Columns:
    raise AssertionError(f"The gates before a sampling of the final state cannot measure. Got {form}, {slot}.")
