"""Small matrices, many at a time: products, tensor products, and the fused matrix of a group of blocks.

A matrix has shape (..., d, d) where it is real, and (..., 2, d, d) with real and imaginary part where it is not; which
of the two is said beside it.  Groups that are made alike are computed together: what is to be compiled then grows with
the kinds of groups, not with their number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from varq.simulator.circuit import MATRIX
from varq.simulator.dense.schedule import Group
from varq.simulator.dense.segments import Local
from varq.simulator.gates import Block, is_real, matrices

__all__ = ["Fusion", "dagger", "times", "with_imaginary"]


def times(a: Any, b: Any, real: bool) -> Any:
    """a @ b."""
    if real:
        return a @ b
    ar, ai, br, bi = a[..., 0, :, :], a[..., 1, :, :], b[..., 0, :, :], b[..., 1, :, :]
    return jnp.stack([ar @ br - ai @ bi, ar @ bi + ai @ br], -3)


def dagger(a: Any, real: bool) -> Any:
    """The adjoint."""
    turned = a.swapaxes(-1, -2)
    return turned if real else turned * jnp.asarray([1, -1], a.dtype)[:, None, None]


def with_imaginary(a: Any) -> Any:
    """A real matrix with an imaginary part of zero."""
    return jnp.stack([a, jnp.zeros_like(a)], -3)


def _kron(a: Any, b: Any, real: bool) -> Any:
    if real:
        size = a.shape[-1] * b.shape[-1]
        return jnp.einsum("nij,nkm->nikjm", a, b).reshape(-1, size, size)
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


Recipe = tuple[tuple[str, tuple[int, ...]], ...]
"""The blocks of a group: their names and the places of their wires among the group's."""


def _recipe(group: Group) -> Recipe:
    return tuple((b.name, tuple(group.wires.index(w) for w in b.wires)) for b in group.blocks)


class Fusion:
    """The fused matrices of groups: one evaluation for each name of gate, then products for each kind of group."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for k, group in enumerate(groups):
            alike[len(group.wires), _recipe(group)].append(k)
        self.alike = list(alike.values())
        self.rows: dict[str, list[Block]] = defaultdict(list)
        self._rank: dict[int, int] = {}
        for group in groups:
            for block in group.blocks:
                if block.name != MATRIX:
                    self._rank[id(block)] = len(self.rows[block.name])
                    self.rows[block.name].append(block)

    def __call__(self, local: Local) -> tuple[Any, ...]:
        """For each group its matrix at each repeat, leading axis repeats; real where the group is."""
        found = {name: self._evaluated(name, rows, local) for name, rows in self.rows.items()}
        out: list[Any] = [None] * len(self.groups)
        for members in self.alike:
            fused = self._fused([self.groups[k] for k in members], found, local)
            fused = fused.reshape(local.repeats, len(members), *fused.shape[1:])
            for place, k in enumerate(members):
                out[k] = fused[:, place]
        return tuple(out)

    def _evaluated(self, name: str, rows: Sequence[Block], local: Local) -> Any:
        index = np.array([b.angles for b in rows], dtype=np.int32).reshape(len(rows), -1)
        angles = local.angles[:, index].reshape(local.repeats * len(rows), index.shape[1])
        flat = matrices(name, angles)
        return flat.reshape(local.repeats, len(rows), *flat.shape[1:])

    def _slot(self, groups: Sequence[Group], slot: int, found: Any, local: Local) -> Any:
        """The same block of every group, repeats and groups as one axis."""
        blocks = [g.blocks[slot] for g in groups]
        real = groups[0].real
        if blocks[0].name == MATRIX:
            matrix = local.matrices(blocks)
            return matrix.reshape(-1, *matrix.shape[2:])
        every = found[blocks[0].name]
        ranks = [self._rank[id(b)] for b in blocks]
        matrix = every if ranks == list(range(every.shape[1])) else every[:, np.array(ranks)]
        plain = is_real(blocks[0].name)
        matrix = matrix.reshape(-1, *matrix.shape[2:])
        return with_imaginary(matrix) if plain and not real else matrix

    def _fused(self, groups: Sequence[Group], found: Any, local: Local) -> Any:
        """The products of the blocks of groups that are alike."""
        real, width = groups[0].real, len(groups[0].wires)
        done: Any = None
        pending: dict[tuple[int, ...], Any] = {}
        for slot, (_, places) in enumerate(_recipe(groups[0])):
            matrix = self._slot(groups, slot, found, local)
            same = pending.get(places)
            if same is not None:
                pending[places] = times(matrix, same, real)
            elif any(set(places) & set(p) for p in pending):
                whole = _tensor(pending, width, real)
                done = whole if done is None else times(whole, done, real)
                pending = {places: matrix}
            else:
                pending[places] = matrix
        whole = _tensor(pending, width, real)
        return whole if done is None else times(whole, done, real)


def _tensor(parts: dict[tuple[int, ...], Any], width: int, real: bool) -> Any:
    """The tensor product of matrices on disjoint places, with identities elsewhere, in the order of the places."""
    order: list[int] = []
    out: Any = None
    for places, matrix in parts.items():
        order += places
        out = matrix if out is None else _kron(out, matrix, real)
    idle = [p for p in range(width) if p not in order]
    if idle:
        size = 2 ** len(idle)
        eye = jnp.broadcast_to(jnp.eye(size, dtype=out.dtype), (out.shape[0], size, size))
        out = _kron(out, eye if real else with_imaginary(eye), real)
        order += idle
    axes = [order.index(p) for p in range(width)]
    return out if axes == list(range(width)) else _reordered(out, axes)
