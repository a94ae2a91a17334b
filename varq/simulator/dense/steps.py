"""The steps of a layer made runnable: forwards, backwards, and with respect to their numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from varq.simulator.bits import mask
from varq.simulator.circuit import Circuit
from varq.simulator.dense import layout
from varq.simulator.dense.diagonal import DiagonalStep, diagonals
from varq.simulator.dense.matrices import Fusion, dagger, times
from varq.simulator.dense.schedule import Blocks, Moves, Planned, Turns
from varq.simulator.dense.segments import Local, Segment
from varq.simulator.dense.step import Step

__all__ = ["BlockStep", "MoveStep", "TurnStep", "runnable"]


class TurnStep(Step):
    """Merged turns: one phase for each basis state.

    The phase is a sum of angles with signs, and the signs factor into the two halves of the index: the phases of all
    basis states are one matrix product.  Where every turn lies in one half, so do the phases, and cosine and sine of
    sums are products again.
    """

    cheap = True

    def __init__(self, turns: Turns, wires: int, angles: int) -> None:
        self.wires = wires
        self.sets = sorted(turns.terms, key=sorted)
        masks = [mask(tuple(s), wires) for s in self.sets]
        _, rest = layout.half(wires)
        self.tables = layout.signs(masks, wires)
        self.separate = all(m < rest or m % rest == 0 for m in masks)
        self.weights = np.zeros((2 * angles, len(masks)))
        self.offsets = np.array([turns.offsets[s] for s in self.sets])
        for column, wanted in enumerate(self.sets):
            for row, angle, scale in turns.terms[wanted]:
                self.weights[row * angles + angle, column] += scale
        self._upper = np.array([m % rest == 0 for m in masks])

    def inputs(self, local: Local) -> Any:
        """See `Step`."""
        dtype = local.angles.dtype
        return local.rows() @ jnp.asarray(self.weights, dtype) + jnp.asarray(self.offsets, dtype)

    def _factors(self, tables: Any, angles: Any) -> tuple[Any, Any]:
        """Cosine and sine of every basis state's phase, shape (2**wires,)."""
        high, low = (t.astype(angles.dtype) for t in tables)
        if not self.separate:
            phase = (high * (angles / 2)[:, None]).T @ low
            cosine, sine = layout.trigonometry(phase)
            return cosine.reshape(-1), sine.reshape(-1)
        upper = jnp.asarray(self._upper, angles.dtype)
        a = (angles * upper / 2) @ high
        b = (angles * (1 - upper) / 2) @ low
        ca, sa, cb, sb = jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b)
        # Outer products as matrix products: as plain products XLA would take the cosines anew for every element.
        right = jnp.stack([cb, sb])
        cosine = jnp.stack([ca, -sa], 1) @ right
        sine = jnp.stack([sa, ca], 1) @ right
        return cosine.reshape(-1), sine.reshape(-1)

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return layout.turned(state, *self._factors(tables, inputs))

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        cosine, sine = self._factors(tables, inputs)
        return layout.turned(state, cosine, -sine)

    def both_undone(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> tuple[Any, Any]:
        """`undo` of two states, whose phases are computed once."""
        cosine, sine = self._factors(tables, inputs)
        return layout.turned(bra, cosine, -sine), layout.turned(ket, cosine, -sine)

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        high, low = (t.astype(inputs.dtype) for t in tables)
        weight = layout.crossed(bra, ket).reshape(high.shape[1], low.shape[1])
        return jnp.einsum("ml,ml->m", high @ weight, low)


class MoveStep(Step):
    """A composed permutation of basis states: new[i] = old[source[i]]."""

    cheap = True

    def __init__(self, moves: Moves, wires: int) -> None:
        index = np.arange(2**wires, dtype=np.int64)
        for move in moves.moves:
            bit = 1 << (wires - 1 - move.target)
            on = np.ones(len(index), dtype=bool)
            for control, value in zip(move.controls, move.values, strict=True):
                on &= (index >> (wires - 1 - control) & 1) == value
            index = np.where(on, index ^ bit, index)
        target = index.astype(np.int32)
        source = np.empty_like(target)
        source[target] = np.arange(len(target), dtype=np.int32)
        self.tables = (source, target)

    def inputs(self, local: Local) -> Any:
        """See `Step`."""
        return ()

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return layout.moved(state, tables[0])

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return layout.moved(state, tables[1])

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        return ()


class BlockStep(Step):
    """Fused matrices on disjoint groups of wires."""

    cheap = False
    tables = ()

    def __init__(self, blocks: Blocks, wires: int) -> None:
        self.wires = wires
        self.groups = blocks.groups
        self.fusion = Fusion(self.groups)
        self.tiled = layout.tiles([g.wires for g in self.groups], wires)

    def inputs(self, local: Local) -> Any:
        """See `Step`."""
        return self.fusion(local)

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return self._applied(inputs, state)

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return self._applied([dagger(m, g.real) for g, m in zip(self.groups, inputs, strict=True)], state)

    def _applied(self, matrices: Any, state: Any) -> Any:
        if self.tiled:
            return layout.apply_tiling(matrices, state)
        for group, matrix in zip(self.groups, matrices, strict=True):
            state = layout.apply_matrix(matrix, state, group.wires, self.wires)
        return state

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        # <bra|dM|before> with |before> = M^dagger |after>, and the other groups act on bra and ket alike.
        out = []
        for group, matrix in zip(self.groups, inputs, strict=True):
            found = layout.overlap(bra, ket, group.wires, self.wires, group.real)
            out.append(2 * times(found, matrix, group.real))
        return tuple(out)


def runnable(planned: Planned, segment: Segment, circuit: Circuit) -> Step:
    """The step that does what was planned for each repeat of a segment."""
    if isinstance(planned, Moves):
        return MoveStep(planned, circuit.wires)
    if isinstance(planned, Blocks):
        return BlockStep(planned, circuit.wires)
    every = diagonals(planned, segment, circuit, circuit.wires)
    if DiagonalStep.pays(every, circuit):
        return DiagonalStep(every, circuit)
    return TurnStep(planned, circuit.wires, segment.angles.shape[1])
