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
from varq.simulator.measured.machine import Columns, initial_vector, prepared, run
from varq.simulator.measured.program import Measure, Numbers, Program, Step
from varq.simulator.measured.rounds import Loop, parts
from varq.simulator.measured.sequence import perform

__all__ = ["ATTEMPTS", "Drawn", "columns_at_once", "draw", "draws_again", "held_amplitudes", "random_numbers"]

_FEWEST_SHOTS = 64  # of a chunk: their axis is the contiguous one

_RANDOM = 2**24  # random numbers that are held at once

ATTEMPTS = 1000
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


class _Fate(NamedTuple):
    """What a run carries along: acceptance, and the probability of the outcomes that were forced."""

    valid: Any
    forced: Any


class _Task(NamedTuple):
    """One chunk: the program, its numbers, how many shots, whether to force what is postselected."""

    program: Program
    numbers: Numbers
    flips: Any
    size: int
    fill: bool
    dtype: str


@partial(jax.jit, static_argnames=("program", "layout", "shots", "fill", "dtype", "size"))
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
    size: int,
) -> Drawn:
    """Shots of a program.

    Args:
        program: with the bases in which the final state is sampled.
        layout: of its numbers.
        known: the numbers that are known.
        traced: the vector of those that are not.
        key: a JAX random key.
        shots: how many.
        fill: whether shots that fail postselection are drawn again, up to `ATTEMPTS` times in all, instead of being
            marked invalid.
        dtype: "float32" or "float64", of the amplitudes.
        size: how many shots make a chunk.
    """
    numbers = assemble(layout, known, traced, dtype)
    flips = None if program.flips is None else numbers.arrays[program.flips]
    task = _Task(program, numbers, flips, size, fill, dtype)
    one = partial(_accepted if fill and draws_again(program) else _chunk, task)
    chunks = -(-shots // size)
    if chunks == 1:
        return one(key)
    drawn: Drawn = jax.lax.map(one, jax.random.split(key, chunks))
    joined: Drawn = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)[..., :shots], drawn)
    return joined


def columns_at_once(program: Program, shots: int, held: int, most: int | None = None) -> int:
    """How many shots make a chunk.

    Args:
        program: what is drawn.
        shots: how many in all.
        held: how many amplitudes are held at once.
        most: how many states memory can hold, if that is known.
    """
    fast = max(_FEWEST_SHOTS, min(held >> program.wires, _RANDOM // random_numbers(program)))
    return min(shots, fast if most is None else max(1, min(fast, most)))


def random_numbers(program: Program) -> int:
    """How many random numbers a shot takes: for what is found, what is read, the final samples, and acceptance."""
    return 2 * program.slots + program.wires * len(program.bases) + 1


def draws_again(program: Program) -> bool:
    """Whether filled shots may be rejected: a forced outcome follows a drawn one, so that forcing is not enough."""
    free = [m.postselect is None for m in program.measurements()]
    return any(free) and not all(free[k] for k in range(free.index(True), len(free)))


def _accepted(task: _Task, key: Any) -> Drawn:
    """A chunk in which every shot was accepted with the probability of its forced outcomes: the conditional law."""

    def again(carry: Any) -> Any:
        drawn, count, key = carry
        key, now = jax.random.split(key)
        new, accepted = _whole(task, now)
        good = new.valid & accepted & ~drawn.valid
        merged = jax.tree.map(lambda a, b: jnp.where(good, b, a), drawn, new)
        return merged._replace(valid=drawn.valid | good), count + 1, key

    shapes = jax.eval_shape(partial(_whole, task), key)[0]
    none = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    drawn: Drawn = jax.lax.while_loop(lambda c: ~jnp.all(c[0].valid) & (c[1] < ATTEMPTS), again, (none, 0, key))[0]
    return drawn


def _chunk(task: _Task, key: Any) -> Drawn:
    return _whole(task, key)[0]


def _whole(task: _Task, key: Any) -> tuple[Drawn, Any]:
    """One chunk of shots, and whether each is accepted with the probability of its forced outcomes."""
    program, numbers, size = task.program, task.numbers, task.size
    # All at once: what makes random numbers is long to compile, and each place that calls it compiles it again.
    luck = jax.random.bits(key, (random_numbers(program), size), np.uint32)
    columns = Columns(
        state=amplitudes.start(program.wires, initial_vector(program, numbers), task.dtype),
        bits=jnp.zeros((program.slots, size), np.int8),
        registers=tuple(jnp.zeros((*shape, size), kind) for shape, kind in program.registers),
        extra=_Fate(jnp.ones(size, bool), jnp.ones(size, task.dtype)),
    )
    measure = partial(_measure, task, luck)
    for part in parts(program.steps):
        if isinstance(part, Loop):
            columns = _loop(part, numbers, _spread(columns, size), measure)
        else:
            columns = perform(part, numbers, columns, measure, steady=True)
    accepted = _uniform(luck[-1], task.dtype) < columns.extra.forced
    samples = []
    for k, basis in enumerate(program.bases):
        first = 2 * program.slots + k * program.wires
        samples.append(_sample(basis, numbers, columns, size, luck[first : first + program.wires]))
    return Drawn(columns.bits, columns.extra.valid, tuple(samples)), accepted


def _spread(columns: Columns, size: int) -> Columns:
    """With a column of the state for each shot."""
    shape = (*columns.state.shape[:-1], size)
    return replace(columns, state=jnp.broadcast_to(columns.state, shape))


def _loop(loop: Loop, numbers: Numbers, columns: Columns, measure: Any) -> Columns:
    """All rounds by one body, which takes the places of each round's numbers as data."""
    made = [
        prepared(form, [r[k].refs for r in loop.rounds], numbers, columns.state.dtype)
        for k, form in enumerate(loop.forms)
    ]
    places, ready = [p for p, _ in made], [r for _, r in made]

    def body(carry: Columns, at: Any) -> tuple[Columns, None]:
        return run(loop.forms, at[0], at[1], numbers, carry, measure), None

    return jax.lax.scan(body, columns, (places, ready))[0]


def _measure(task: _Task, luck: Any, columns: Columns, form: Measure, slot: Any) -> Columns:
    """Draws the outcome of every shot, collapses the state and records what is read."""
    columns = _spread(columns, task.size)
    zero, one = amplitudes.project(columns.state, form.wire)
    chances = amplitudes.weights(zero), amplitudes.weights(one)
    if task.fill and form.postselect is not None:
        found, read, fate = _forced(task, luck[slot], chances, form, columns.extra)
    else:
        found = _uniform(luck[slot], task.dtype) * (chances[0] + chances[1]) < chances[1]
        read, fate = found, columns.extra
        if task.flips is not None:
            chance = jnp.where(found, task.flips[form.wire, 1], task.flips[form.wire, 0])
            read = found ^ (_uniform(luck[task.program.slots + slot], task.dtype) < chance)
        if form.postselect is not None:
            fate = fate._replace(valid=fate.valid & (read == bool(form.postselect)))
    kept = jnp.where(found, one, zero) * jax.lax.rsqrt(jnp.where(found, chances[1], chances[0]))
    blank = jnp.zeros_like(kept)
    pair = (kept, blank) if form.reset else (jnp.where(found, blank, kept), jnp.where(found, kept, blank))
    bits = jax.lax.dynamic_update_index_in_dim(columns.bits, read.astype(np.int8), slot, 0)
    return replace(columns, state=jnp.stack(pair, axis=form.wire + 1), bits=bits, extra=fate)


def _forced(task: _Task, luck: Any, chances: Any, form: Measure, fate: _Fate) -> tuple[Any, Any, _Fate]:
    """What is found and read where a record is forced, with the probability of that record."""
    p0, p1 = chances
    selected = bool(form.postselect)
    if task.flips is None:
        found, chance = jnp.full(task.size, selected), p1 if selected else p0
    else:
        q0, q1 = _read_as(task.flips, form)
        chance = p0 * q0 + p1 * q1
        found = _uniform(luck, task.dtype) * chance < p1 * q1
    forced = fate.forced * chance / (p0 + p1)
    return found, jnp.full(task.size, selected), _Fate(fate.valid & (forced > 0), forced)


def _read_as(flips: Any, form: Measure) -> tuple[Any, Any]:
    """The probabilities that 0 and that 1 are read as the outcome that is selected."""
    up, down = flips[form.wire, 0], flips[form.wire, 1]
    return (up, 1 - down) if form.postselect else (1 - up, down)


def _uniform(words: Any, dtype: Any) -> Any:
    """Numbers strictly between 0 and 1 from 32-bit words, equally spaced: 2**32 in float64, 2**23 in float32.

    JAX's own are made from 64-bit words in float64; these would be lowered again outside this package, where the x64
    flag of a caller that jits may be off.
    """
    if dtype == "float32":
        return ((words >> 9).astype(dtype) + 0.5) * 2.0**-23
    return (words.astype(dtype) + 0.5) * 2.0**-32


def _sample(basis: tuple[Step, ...], numbers: Numbers, columns: Columns, size: int, luck: Any) -> Any:
    """A basis state for each shot, from its final state."""
    state = amplitudes.flat(perform(basis, numbers, columns, _no_measurement).state)
    chances = jnp.broadcast_to(state[0] ** 2 + state[1] ** 2, (state.shape[1], size))
    found = jnp.zeros(size, np.int32)
    for level in _uniform(luck, str(chances.dtype)):
        halves = chances.reshape(2, -1, size)
        zero, one = halves.sum(axis=1)
        bit = level * (zero + one) >= zero
        chances = jnp.where(bit, halves[1], halves[0])
        found = 2 * found + bit
    return found


def _no_measurement(columns: Columns, form: Measure, slot: Any) -> Columns:
    raise AssertionError(f"The gates before a sampling of the final state cannot measure. Got {form}, {slot}.")
