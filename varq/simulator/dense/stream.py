"""Circuits without structure: one loop over fused blocks, whatever their wires.

The loop needs one branch for each set of wires that blocks live on, however many gates there are, and the time to
compile does not grow with their number.  Turns and controlled flips on more wires are branches of their own, with their
wires as run-time masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from varq.simulator.bits import mask, parity
from varq.simulator.circuit import MATRIX
from varq.simulator.dense import layout
from varq.simulator.dense.fused import SIZE, Fused, Products, cut, fuse
from varq.simulator.dense.matrices import dagger, times, with_imaginary
from varq.simulator.dense.segments import Local
from varq.simulator.gates import Block, Move, Primitive, Turn, is_real, matrices
from varq.simulator.scans import carried

__all__ = ["Stream"]


def _fixed(move: Move) -> NDArray[np.float64]:
    """The matrix of a controlled flip on its wires, target last."""
    size = 2 ** len(move.wires)
    matrix = np.eye(size)
    controls = sum(v << (len(move.controls) - k) for k, v in enumerate(move.values))
    matrix[[controls, controls + 1]] = matrix[[controls + 1, controls]]
    return matrix


class Stream:
    """A run of gates without repeats, as a loop over instructions.

    Args:
        primitives: in the style "whole", with angles and arrays numbered within the run.
        wires: of the register.
    """

    def __init__(self, primitives: Sequence[Primitive], wires: int) -> None:
        self.wires = wires
        instructions = fuse(primitives, wires)
        self.blocks = [b for b in instructions if isinstance(b, Fused)]
        self.sets = sorted({b.wires for b in self.blocks})
        self.turns = [t for t in instructions if isinstance(t, Turn)]
        self.count = len(instructions)
        self.products = Products(self.blocks)
        self.tables = {"program": self._program(instructions), **self.products.tables}

    # -- the static program

    def _program(self, instructions: Sequence[Fused | Turn | Move]) -> dict[str, NDArray[Any]]:
        branch, slot, masks = [], [], []
        blocks = turns = 0
        kinds = len(self.sets)
        for one in instructions:
            if isinstance(one, Fused):
                branch.append(self.sets.index(one.wires))
                slot.append(blocks)
                masks.append((0, 0, 0))
                blocks += 1
            elif isinstance(one, Turn):
                branch.append(kinds)
                slot.append(turns)
                masks.append((mask(one.wires, self.wires), 0, 0))
                turns += 1
            else:
                on = [c for c, v in zip(one.controls, one.values, strict=True) if v]
                branch.append(kinds + 1)
                slot.append(0)
                bit = mask((one.target,), self.wires)
                masks.append((bit, mask(one.controls, self.wires), mask(on, self.wires)))
        # Only branches that occur are compiled.
        self.present = sorted(set(branch))
        where = {b: k for k, b in enumerate(self.present)}
        return {
            "branch": np.array([where[b] for b in branch], dtype=np.int32),
            "slot": np.array(slot, dtype=np.int32),
            "masks": np.array(masks, dtype=np.uint32).reshape(-1, 3),
        }

    # -- numbers

    def inputs(self, tables: Any, local: Local) -> tuple[Any, Any]:
        """Matrices of all blocks, shape (blocks, 2, 16, 16), and angles of all wide turns, shape (turns,)."""
        angles = local.angles[0]
        wide = _angles(self.turns, angles)
        if not self.blocks:
            return jnp.zeros((0, 2, SIZE, SIZE), angles.dtype), wide
        found = [_matrices(name, rows, angles, local) for name, rows in self.products.rows.items()]
        return self.products(tables, found), wide

    # -- runs

    def _branches(self, block: Any, turn: Any, flip: Any) -> list[Any]:
        every = [*(partial(block, w) for w in self.sets), turn, flip]
        return [every[k] for k in self.present] or every[-1:]  # a loop of no steps wants a branch too

    def forward(self, tables: Any, inputs: Any, state: Any, keep: bool, room: int) -> tuple[Any, Any]:
        """The state after all instructions, and the state before each of them if they are to be kept.

        Where they are not, `room` is how many of them JAX may keep if it differentiates this by itself.
        """
        products, wide = inputs
        index = self._index()

        def block(wires: tuple[int, ...], state: Any, at: Any) -> Any:
            return layout.apply_matrix(cut(at["matrix"], wires), state, wires, self.wires)

        def turn(state: Any, at: Any) -> Any:
            return layout.turned(state, *_phase(wide[at["slot"]], index, at["masks"]))

        def flip(state: Any, at: Any) -> Any:
            return layout.moved(state, _flipped(index, at["masks"]))

        branches = self._branches(block, turn, flip)
        program = dict(tables["program"])
        if self.blocks:
            # With each instruction its own: JAX's derivative by one array of all would be added up whole in each step.
            program["matrix"] = products[np.where(self._is_block(), self.tables["program"]["slot"], 0)]

        def step(state: Any, at: Any) -> Any:
            return lax.switch(at["branch"], branches, state, at)

        if keep:
            return lax.scan(lambda state, at: (step(state, at), state), state, program)
        return carried(step, state, program, self.count, room), None

    def backward(self, tables: Any, inputs: Any, bra: Any, ket: Any, kept: Any) -> tuple[Any, Any, Any]:
        """Slopes with respect to `inputs`, and bra and ket as they are before the first instruction."""
        products, wide = inputs
        index = self._index()
        dtype = ket.real.dtype
        none = jnp.zeros((2, SIZE, SIZE), dtype), jnp.zeros((), dtype)

        def block(wires: tuple[int, ...], bra: Any, ket: Any, slot: Any, masks: Any, before: Any) -> Any:
            m = cut(products[slot], wires)
            found = layout.overlap(bra, ket, wires, self.wires, real=False)
            room = SIZE - 2 ** len(wires)
            slope = jnp.pad(found, ((0, 0), (0, room), (0, room)))
            back = dagger(m, real=False)
            bra = layout.apply_matrix(back, bra, wires, self.wires)
            ket = layout.apply_matrix(back, ket, wires, self.wires) if before is None else before
            return bra, ket, (slope, none[1])

        def turn(bra: Any, ket: Any, slot: Any, masks: Any, before: Any) -> Any:
            cosine, sine = _phase(wide[slot], index, masks)
            sign = parity(index, masks[0]).astype(dtype)
            slope = jnp.sum(sign * layout.crossed(bra, ket))
            return layout.turned(bra, cosine, -sine), layout.turned(ket, cosine, -sine), (none[0], slope)

        def flip(bra: Any, ket: Any, slot: Any, masks: Any, before: Any) -> Any:
            source = _flipped(index, masks)
            return layout.moved(bra, source), layout.moved(ket, source), none

        branches = self._branches(block, turn, flip)

        def step(carry: Any, at: Any) -> tuple[Any, Any]:
            where, before = at
            bra, ket, slopes = lax.switch(where["branch"], branches, *carry, where["slot"], where["masks"], before)
            return (bra, ket), slopes

        (bra, ket), (overlaps, turns) = lax.scan(step, (bra, ket), (tables["program"], kept), reverse=True)
        is_turn = np.array([self.present[b] == len(self.sets) for b in self.tables["program"]["branch"]], dtype=bool)
        slopes = 2 * times(overlaps[np.flatnonzero(self._is_block())], products, real=False)
        return (slopes, turns[np.flatnonzero(is_turn)]), bra, ket

    def _is_block(self) -> Any:
        """Which instructions are blocks."""
        return self.tables["program"]["branch"] < sum(b < len(self.sets) for b in self.present)

    def _index(self) -> Any:
        return lax.iota(jnp.uint32, 2**self.wires)


def _angles(turns: Sequence[Turn], angles: Any) -> Any:
    """The angle of each turn, shape (turns,)."""
    index = np.array([0 if t.angle is None else t.angle for t in turns], dtype=np.int32)
    scale = np.array([0.0 if t.angle is None else t.scale for t in turns])
    offset = jnp.asarray(np.array([t.offset for t in turns]), angles.dtype)
    if not any(t.angle is not None for t in turns):
        return offset
    return angles[index] * jnp.asarray(scale, angles.dtype) + offset


def _matrices(name: str, rows: Sequence[Any], angles: Any, local: Local) -> Any:
    """The matrices of all gates of a name, shape (gates, 2, d, d)."""
    first = rows[0]
    if isinstance(first, Block) and first.name == MATRIX:
        found = local.matrices(rows)[0]
    elif isinstance(first, Block):
        index = np.array([p.angles for p in rows], dtype=np.int32).reshape(len(rows), -1)
        found = matrices(first.name, angles[index])
        if is_real(first.name):
            found = with_imaginary(found)
    elif isinstance(first, Turn):
        k = len(first.wires)
        sign = np.array([1 - 2 * (i.bit_count() & 1) for i in range(2**k)]) / 2
        phase = _angles(rows, angles)[:, None] * jnp.asarray(sign, angles.dtype)
        eye = jnp.eye(2**k, dtype=angles.dtype)
        found = jnp.stack([jnp.cos(phase)[:, None, :] * eye, -jnp.sin(phase)[:, None, :] * eye], 1)
    else:
        stacked = with_imaginary(jnp.asarray(_fixed(first), angles.dtype))
        found = jnp.broadcast_to(stacked, (len(rows), *stacked.shape))
    return found


def _phase(angle: Any, index: Any, masks: Any) -> tuple[Any, Any]:
    sign = parity(index, masks[0]).astype(angle.dtype)
    return jnp.full_like(sign, jnp.cos(angle / 2)), jnp.sin(angle / 2) * sign


def _flipped(index: Any, masks: Any) -> Any:
    return jnp.where(index & masks[1] == masks[2], index ^ masks[0], index)
