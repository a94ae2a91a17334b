"""Steps forwards and backwards, as one scan each.

A state is an array whose first axis runs over basis states and the spare slots behind them; a complex one has a last
axis of two, real and imaginary part.  Backwards, state and bra lie side by side along the last axis, so that every
index is read once for both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.scans import carried
from varq.simulator.sector.program import TURN, Program

__all__ = ["backward", "forward"]

_SIGNS = np.array([1, -1], np.int8)
_SUMMED = 32  # XLA's CPU code sums up to so many terms in one loop; longer sums inside a step cost more than the step


def _arguments(program: Program, angles: Any) -> tuple[Any, Any]:
    """The arguments t of turns and of phases."""
    padded = jnp.append(angles, jnp.zeros(1, angles.dtype))  # index -1 reads the zero

    def of(index: Any, scale: Any, offset: Any) -> Any:
        return jnp.asarray(scale, angles.dtype) * padded[index] + jnp.asarray(offset, angles.dtype)

    turns = of(program.turn_angle, program.turn_scale, program.turn_offset)
    return turns, of(program.phase_angle, program.phase_scale, program.phase_offset)


def _times_i(x: Any) -> Any:
    """i times pairs of real and imaginary parts along the last axis."""
    parts = x.reshape(*x.shape[:-1], -1, 2)
    return jnp.stack([-parts[..., 1], parts[..., 0]], -1).reshape(x.shape)


def _turned(halves: Any, cos: Any, sin: Any, imaginary: Any) -> Any:
    """Pairs, shape (2, width, ...), after a turn; `imaginary` is None where no turn multiplies by i."""
    first, second = halves[0], halves[1]
    if imaginary is None:
        return jnp.concatenate([cos * first + sin * second, cos * second - sin * first]).reshape(halves.shape)
    signs = _SIGNS.reshape(2, *(1,) * (halves.ndim - 1)).astype(halves.dtype)
    other = halves[::-1]
    real, twisted = jnp.where(imaginary, 0, sin), jnp.where(imaginary, sin, 0)
    return cos * halves + real * signs * other + twisted * _times_i(other)


def _take(rows: Any, index: Any) -> Any:
    return rows.at[index].get(mode="promise_in_bounds", unique_indices=True)


def _put(rows: Any, index: Any, values: Any) -> Any:
    return rows.at[index].set(values, mode="promise_in_bounds", unique_indices=True)


def _phase(program: Program, t: Any, row: Any) -> Any:
    """The phase of every basis state."""
    return t[row] @ jnp.asarray(program.diagonals)[program.vectors[row]].astype(t.dtype)


def _rotated(rows: Any, phase: Any) -> Any:
    return jnp.cos(phase)[:, None] * rows + jnp.sin(phase)[:, None] * _times_i(rows)


def _steps(program: Program, turn: Any, phase: Any, turns: Any) -> tuple[Any, Any]:
    """One step as a function of what it changes and its numbers, and these of all; an absent kind costs nothing.

    Args:
        program: on the device.
        turn, phase: one step of either kind: (carry, turn) or (carry, row of the phases) to what a step gives.
        turns: all turns, stacked.
    """
    if not len(program.phase_angle):
        return turn, turns
    if not len(program.turn_angle):
        return phase, program.rows

    def step(rows: Any, x: Any) -> Any:
        kind, row = x
        one = lambda carry: turn(carry, jax.tree.map(lambda t: t[row], turns))  # noqa: E731
        return jax.lax.cond(kind == TURN, one, lambda carry: phase(carry, row), rows)

    return step, (program.kinds, program.rows)


class _Turn(NamedTuple):
    """One turn, or all of them stacked: cos t, sin t, whether it multiplies by i, and its pairs or their number."""

    cos: Any
    sin: Any
    imaginary: Any
    pairs: Any

    def of(self, program: Program) -> Any:
        """The pairs, shape (2, width)."""
        return self.pairs if program.chunk is None else program.pairs[self.pairs]


def _turns(program: Program, t: Any) -> _Turn:
    return _Turn(jnp.cos(t), jnp.sin(t), program.imaginary, program.pairs if program.chunk is None else program.chunk)


def _on_device(program: Program) -> Program:
    return jax.tree.map(jnp.asarray, program)  # type: ignore[no-any-return]


def forward(program: Program, angles: Any, state: Any, room: int) -> Any:
    """The state after all steps.  `state` has its spare slots; they are zero and stay zero.

    `room` is how many states JAX may keep if it differentiates this by itself.
    """
    if not len(program.kinds):
        return state
    program = _on_device(program)
    turns, phases = _arguments(program, angles)

    def turn(rows: Any, x: _Turn) -> Any:
        index = x.of(program).reshape(-1)
        halves = _take(rows, index).reshape(2, -1, *rows.shape[1:])
        return _put(rows, index, _turned(halves, x.cos, x.sin, x.imaginary).reshape(-1, *rows.shape[1:]))

    def phase(rows: Any, k: Any) -> Any:
        return _rotated(rows, _phase(program, phases, k))

    step, steps = _steps(program, turn, phase, _turns(program, turns))
    return carried(step, state, steps, len(program.kinds), room)


def backward(program: Program, angles: Any, state: Any, bra: Any, stored: int) -> Any:
    """2 Re <bra| d state / d angles>, from the state after all steps.

    A slope is a sum over pairs of basis states.  The products of all pairs in all steps are kept and added up together
    where they take no more than `stored` bytes, and those of each step at once otherwise.
    """
    if not len(program.kinds):
        return jnp.zeros_like(angles)
    program = _on_device(program)
    turns, phases = _arguments(program, angles)
    width = program.phase_angle.shape[1] if len(program.phase_angle) else 1
    alone = not len(program.phase_angle)
    late = alone and program.pairs.shape[2] > _SUMMED and _products(program) * angles.dtype.itemsize <= stored

    def turn(rows: Any, x: _Turn) -> tuple[Any, Any]:
        index = x.of(program).reshape(-1)
        halves = _take(rows, index).reshape(2, -1, *rows.shape[1:])
        moved = _put(rows, index, _turned(halves, x.cos, x.sin, x.imaginary).reshape(-1, *rows.shape[1:]))
        products = _overlaps(halves, x.imaginary)
        return moved, products if late else jnp.pad(jnp.sum(products)[None], (0, width - 1))

    def phase(rows: Any, k: Any) -> tuple[Any, Any]:
        ket, bra = jnp.split(rows, 2, axis=-1)
        twist = jnp.sum(bra * _times_i(ket), -1)
        chosen = program.diagonals[program.vectors[k]].astype(rows.dtype)
        return _rotated(rows, -_phase(program, phases, k)), chosen @ twist

    sides = jnp.concatenate([x.reshape(x.shape[0], -1) for x in (state, bra)], -1)
    step, steps = _steps(program, turn, phase, _turns(program, -turns))
    slopes = jax.lax.scan(step, sides, steps, reverse=True)[1]
    if late:
        slopes = (slopes @ jnp.ones(slopes.shape[1], slopes.dtype))[:, None]
    return _collected(program, angles, 2 * slopes)


def _products(program: Program) -> int:
    """How many products of pairs all steps together have."""
    return int(len(program.kinds) * program.pairs.shape[2])


def _overlaps(halves: Any, imaginary: Any) -> Any:
    """What each pair adds to Re <bra| G |ket> for the generator G of a turn."""
    ket, bra = jnp.split(halves, 2, axis=-1)
    real = jnp.sum(bra[0] * ket[1] - bra[1] * ket[0], -1)
    if imaginary is None:
        return real
    turned = _times_i(ket)
    return jnp.where(imaginary, jnp.sum(bra[0] * turned[1] + bra[1] * turned[0], -1), real)


def _collected(program: Program, angles: Any, slopes: Any) -> Any:
    """Slopes by steps, added up by angles; those of constant turns go to a spare entry."""
    out = jnp.zeros(angles.shape[0] + 1, angles.dtype)
    for kind, angle, scale in (
        (TURN, program.turn_angle[:, None], program.turn_scale[:, None]),
        (1 - TURN, program.phase_angle, program.phase_scale),
    ):
        if angle.shape[0]:
            where = jnp.nonzero(program.kinds == kind, size=angle.shape[0])[0]
            mine = slopes[where, : angle.shape[1]] * scale.astype(angles.dtype)
            out = out.at[angle].add(mine)  # index -1 is the spare entry
    return out[:-1]
