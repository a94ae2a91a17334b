"""The steps of a layer made runnable: forwards, backwards, and with respect to their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from varq.simulator.circuit import MATRIX
from varq.simulator.dense import layout
from varq.simulator.dense.schedule import Blocks, Group, Moves, Planned, Turns
from varq.simulator.gates import matrices

__all__ = ["BlockStep", "Local", "MoveStep", "Step", "TurnStep", "runnable"]


class Local:
    """The numbers of a segment: those of its repeats, and of the repeat that follows each (zero for the last).

    Args:
        angles: shape (repeats, angles).
        arrays: for each array of a repeat, shape (repeats, 2, d, d).
    """

    def __init__(self, angles: Any, arrays: Sequence[Any]) -> None:
        self.angles = angles
        self.arrays = arrays
        self.repeats = angles.shape[0]

    def rows(self) -> Any:
        """This repeat's angles and the next one's, shape (repeats, 2 * angles)."""
        following = jnp.concatenate([self.angles[1:], jnp.zeros_like(self.angles[:1])])
        return jnp.concatenate([self.angles, following], axis=1)


class Step(Protocol):
    """One pass over the state.  Inputs have been cut to one repeat."""

    cheap: bool
    """Whether undoing it costs about as much as reading the state once."""

    tables: Any

    def inputs(self, local: Local) -> Any:
        """What the step needs at each repeat, leading axis repeats."""

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """The step."""

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """Its inverse."""

    def work(self, stored: bool) -> tuple[float, float]:
        """(state reads and writes, operations per amplitude) of a value and gradient; `stored` saves undoing kets."""

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """2 Re <bra| d(step) |ket before> / d inputs, with bra and ket as they are after the step."""


class TurnStep:
    """Merged turns: one phase for each basis state.

    The phase is a sum of angles with signs, and the signs factor into the two halves of the index: the phases of all
    basis states are one matrix product.  Where every turn lies in one half, so do the phases, and cosine and sine of
    sums are products again.
    """

    cheap = True

    def __init__(self, turns: Turns, wires: int, angles: int) -> None:
        self.wires = wires
        self.sets = sorted(turns.terms, key=sorted)
        masks = [layout.mask(tuple(s), wires) for s in self.sets]
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

    def work(self, stored: bool) -> tuple[float, float]:
        """See `Step`."""
        # Forwards, both backwards with cosine and sine read each time, and once more for the slopes.
        phases = 0 if self.separate else 2 * len(self.sets) + 60
        return 3 + 5 + 2, 4 * 6 + 2 * phases + 2 * len(self.sets)

    def both_undone(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> tuple[Any, Any]:
        """`undo` of two states, whose phases are computed once."""
        cosine, sine = self._factors(tables, inputs)
        return layout.turned(bra, cosine, -sine), layout.turned(ket, cosine, -sine)

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        high, low = (t.astype(inputs.dtype) for t in tables)
        weight = (bra[0] * ket[1] - bra[1] * ket[0]).reshape(high.shape[1], low.shape[1])
        return jnp.einsum("ml,ml->m", high @ weight, low)


class MoveStep:
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
        return state[:, tables[0]]

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return state[:, tables[1]]

    def work(self, stored: bool) -> tuple[float, float]:
        """See `Step`."""
        return 3 * 2 + 1, 0

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        return ()


class BlockStep:
    """Fused matrices on disjoint groups of wires."""

    cheap = False
    tables = ()

    def __init__(self, blocks: Blocks, wires: int) -> None:
        self.wires = wires
        self.groups = blocks.groups

    def inputs(self, local: Local) -> Any:
        """See `Step`."""
        made = _Matrices(self.groups, local)
        return tuple(made.fused(g) for g in self.groups)

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        for group, matrix in zip(self.groups, inputs, strict=True):
            state = layout.apply_matrix(matrix, state, group.wires, self.wires)
        return state

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        for group, matrix in zip(self.groups, inputs, strict=True):
            state = layout.apply_matrix(_dagger(matrix), state, group.wires, self.wires)
        return state

    def work(self, stored: bool) -> tuple[float, float]:
        """See `Step`."""
        # Forwards, bra back, the overlap (which reads both), and the ket back unless it was stored.
        runs = 3 if stored else 4
        operations = sum(4 * 2 ** len(g.wires) * (1 if g.real else 2) for g in self.groups)
        return 2 * runs * len(self.groups), runs * operations

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`."""
        # <bra|dM|before> with |before> = M^dagger |after>, and the other groups act on bra and ket alike.
        out = []
        for group, matrix in zip(self.groups, inputs, strict=True):
            found = layout.overlap(bra, ket, group.wires, self.wires, group.real)
            out.append(2 * _times(found, matrix))
        return tuple(out)


def _dagger(matrix: Any) -> Any:
    if matrix.ndim == 2:
        return matrix.T
    return jnp.stack([matrix[0].T, -matrix[1].T])


def _times(a: Any, b: Any) -> Any:
    """The product of two matrices, each real (..., d, d) or stacked (..., 2, d, d) by its rank; both of one kind."""
    if a.ndim == 2:
        return a @ b
    return jnp.stack([a[0] @ b[0] - a[1] @ b[1], a[0] @ b[1] + a[1] @ b[0]])


class _Matrices:
    """All matrices of a step: one batched evaluation for each name of gate, then products."""

    def __init__(self, groups: Sequence[Group], local: Local) -> None:
        self.local = local
        self.found: dict[str, Any] = {}
        self.rank: dict[int, int] = {}
        by_name: dict[str, list[tuple[int, ...]]] = {}
        for group in groups:
            for block in group.blocks:
                if block.name != MATRIX:
                    rows = by_name.setdefault(block.name, [])
                    self.rank[id(block)] = len(rows)
                    rows.append(block.angles)
        for name, rows in by_name.items():
            index = np.array(rows, dtype=np.int32).reshape(len(rows), -1)
            angles = local.angles[:, index]  # (repeats, blocks, parameters)
            flat = matrices(name, angles.reshape(local.repeats * len(rows), index.shape[1]))
            self.found[name] = flat.reshape(local.repeats, len(rows), *flat.shape[1:])

    def one(self, block: Any, real: bool) -> Any:
        """(repeats, d, d) or (repeats, 2, d, d)."""
        if block.name == MATRIX:
            return self.local.arrays[block.array]
        matrix = self.found[block.name][:, self.rank[id(block)]]
        if real or matrix.ndim == 4:
            return matrix
        return jnp.stack([matrix, jnp.zeros_like(matrix)], 1)

    def fused(self, group: Group) -> Any:
        """The product of a group's blocks on its wires."""
        real = group.real
        done: Any = None
        pending: dict[tuple[int, ...], Any] = {}
        for block in group.blocks:
            matrix = self.one(block, real)
            same = pending.get(block.wires)
            if same is not None:
                pending[block.wires] = _batched(matrix, same, real)
            elif any(set(block.wires) & set(w) for w in pending):
                done = self._flushed(pending, done, group, real)
                pending = {block.wires: matrix}
            else:
                pending[block.wires] = matrix
        return self._flushed(pending, done, group, real)

    def _flushed(self, pending: Mapping[tuple[int, ...], Any], done: Any, group: Group, real: bool) -> Any:
        whole = _tensor(pending, group.wires, real, self.local)
        return whole if done is None else _batched(whole, done, real)


def _batched(a: Any, b: Any, real: bool) -> Any:
    if real:
        return a @ b
    ar, ai, br, bi = a[:, 0], a[:, 1], b[:, 0], b[:, 1]
    return jnp.stack([ar @ br - ai @ bi, ar @ bi + ai @ br], 1)


def _tensor(parts: Mapping[tuple[int, ...], Any], wires: tuple[int, ...], real: bool, local: Local) -> Any:
    """The tensor product of matrices on disjoint wires, with identities elsewhere, in the order of `wires`."""
    order: list[int] = []
    out: Any = None
    for at, matrix in parts.items():
        order += at
        out = matrix if out is None else _kron(out, matrix, real)
    idle = [w for w in wires if w not in order]
    if idle:
        eye = jnp.broadcast_to(
            jnp.eye(2 ** len(idle), dtype=local.angles.dtype), (local.repeats,) + (2 ** len(idle),) * 2
        )
        eye = eye if real else jnp.stack([eye, jnp.zeros_like(eye)], 1)
        out = _kron(out, eye, real)
        order += idle
    axes = [order.index(w) for w in wires]
    if axes == list(range(len(wires))):
        return out
    return _reordered(out, axes)


def _kron(a: Any, b: Any, real: bool) -> Any:
    if real:
        size = a.shape[-1] * b.shape[-1]
        return jnp.einsum("lij,lkm->likjm", a, b).reshape(-1, size, size)
    ar, ai, br, bi = a[:, 0], a[:, 1], b[:, 0], b[:, 1]
    re = _kron(ar, br, True) - _kron(ai, bi, True)
    im = _kron(ar, bi, True) + _kron(ai, br, True)
    return jnp.stack([re, im], 1)


def _reordered(matrix: Any, axes: Sequence[int]) -> Any:
    """Rows and columns with the wires in another order."""
    head, k = matrix.shape[:-2], len(axes)
    cube = matrix.reshape(*head, *(2,) * (2 * k))
    n = len(head)
    order = (*range(n), *(n + a for a in axes), *(n + k + a for a in axes))
    return cube.transpose(order).reshape(matrix.shape)


def runnable(planned: Planned, wires: int, angles: int) -> Step:
    """The step that does what was planned."""
    if isinstance(planned, Turns):
        return TurnStep(planned, wires, angles)
    if isinstance(planned, Moves):
        return MoveStep(planned, wires)
    return BlockStep(planned, wires)
