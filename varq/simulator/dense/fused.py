"""Blocks of fused gates whose wires differ, and the matrices of all of them at once.

Wires are taken in neighboring pairs, and a block lives on at most two pairs: so there are few sets of wires, however
many gates there are.  The matrices of all gates are spread into 16 x 16 together, and those of each block multiplied,
all blocks at once: a few batches of products, whether there are many gates or few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from varq.simulator.circuit import MATRIX
from varq.simulator.dense.matrices import with_imaginary
from varq.simulator.gates import Block, Move, Primitive, Turn

__all__ = ["MOST", "SIZE", "WIDTH", "Fused", "Products", "cut", "fuse"]

WIDTH = 4
"""Wires of a block."""

SIZE = 2**WIDTH
"""Rows of the matrices of all blocks; those on fewer wires are filled up."""

MOST = 32
"""Gates fused into one block, unless told otherwise: their product takes as many products of small matrices."""

_SHORT = 4  # gates of a block: as many are multiplied in pairs, more in a loop, which is sooner compiled
_NARROW = 4  # rows of the matrices of most gates


@dataclass
class Fused:
    """A block being filled: its wires, and its primitives in order."""

    wires: tuple[int, ...]
    parts: list[Primitive] = field(default_factory=list)


def _pairs(wires: Sequence[int]) -> frozenset[int]:
    return frozenset(w // 2 for w in wires)


def _wires_of(pairs: frozenset[int], total: int) -> tuple[int, ...]:
    return tuple(w for p in sorted(pairs) for w in (2 * p, 2 * p + 1) if w < total)


def fuse(primitives: Sequence[Primitive], total: int, most: int = MOST) -> list[Fused | Turn | Move]:
    """Instructions in order: fused blocks of at most `most` gates, and turns and moves that fit into none."""
    out: list[Fused | Turn | Move] = []
    last: dict[int, int] = {}  # for each pair of wires, the instruction that touched it last
    for p in primitives:
        pairs = _pairs(p.wires)
        if len(pairs) > 2 and not isinstance(p, Block):
            out.append(p)
        else:
            at = max((last.get(q, -1) for q in pairs), default=-1)
            found = out[at] if at >= 0 else None
            if isinstance(found, Fused) and len(found.parts) < most:
                union = _pairs(found.wires) | pairs
                if len(union) <= 2 and all(last.get(q, -1) <= at for q in union):
                    found.wires = _wires_of(union, total)
                    found.parts.append(p)
                    last.update(dict.fromkeys(union, at))
                    continue
            wires = _wires_of(pairs, total) if len(pairs) <= 2 else tuple(sorted(p.wires))
            out.append(Fused(wires, [p]))
        last.update(dict.fromkeys(pairs, len(out) - 1))
    _widen(out, total)
    return out


def _widen(out: list[Fused | Turn | Move], total: int) -> None:
    """Put blocks on one pair onto two pairs that are in use anyway."""
    used = sorted({_pairs(b.wires) for b in out if isinstance(b, Fused) and len(_pairs(b.wires)) == 2}, key=sorted)
    for block in out:
        if isinstance(block, Fused) and len(_pairs(block.wires)) == 1 and total > 2:
            (pair,) = _pairs(block.wires)
            wider = next((u for u in used if pair in u), None)
            if wider is None:
                wider = frozenset({pair, pair - 1 if 2 * (pair + 1) >= total else pair + 1})
                used.append(wider)
            block.wires = _wires_of(wider, total)


def _selection(local: Sequence[int], total: int, size: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """How matrices on wires `local` of `total` become matrices on all of them.

    Args:
        local: places of the wires.
        total: wires of the block.
        size: of the matrices, filled up with zeros.

    Returns:
        Which of a matrix's rows stands in each row of the block's, shape (16, size); and where the other wires agree in
        row and column, shape (16, 16), so that an entry may stand there.
    """
    k, d = len(local), 2**total
    index = np.arange(d)
    inner = sum((index >> (total - 1 - w) & 1) << (k - 1 - j) for j, w in enumerate(local)) + 0 * index
    outer = index & ~sum(1 << (total - 1 - w) for w in local)
    chosen, allowed = np.zeros((SIZE, size), np.int8), np.zeros((SIZE, SIZE), np.int8)
    chosen[index, inner] = 1
    allowed[:d, :d] = outer[:, None] == outer[None, :]
    return chosen, allowed


def _filled(matrices: Any, size: int) -> Any:
    room = (0, size - matrices.shape[-1])
    return jnp.pad(matrices, ((0, 0), (0, 0), room, room))


class Products:
    """The matrices of blocks, from those of their gates.

    Args:
        blocks: in order.
    """

    def __init__(self, blocks: Sequence[Fused]) -> None:
        self.rows: dict[str, list[Any]] = {}
        """The gates by name, in the order in which their matrices are wanted."""
        placed = []
        for block in blocks:
            for p in block.parts:
                rows = self.rows.setdefault(_name(p), [])
                place = (tuple(block.wires.index(w) for w in p.wires), len(block.wires))
                placed.append((_name(p), len(rows), place))
                rows.append(p)
        # Narrow gates and wide ones apart: the work goes with the size that they are filled up to.
        self._sizes = {
            name: _NARROW if 2 ** len(rows[0].wires) <= _NARROW else SIZE for name, rows in self.rows.items()
        }
        names = sorted(self.rows, key=lambda name: self._sizes[name])
        starts = dict(zip(names, np.cumsum([0, *(len(self.rows[name]) for name in names)]), strict=False))
        at = [int(starts[name]) + k for name, k, _ in placed]
        lengths = [len(b.parts) for b in blocks]
        levels, final = _levels(at, lengths) if max(lengths, default=0) <= _SHORT else ([], _rows(at, lengths))
        of_gate = dict(zip(at, (place for _, _, place in placed), strict=True))
        selections = []
        for size in sorted(set(self._sizes.values())):
            inside = [
                k
                for name in names
                if self._sizes[name] == size
                for k in range(starts[name], starts[name] + len(self.rows[name]))
            ]
            places = list(dict.fromkeys(of_gate[k] for k in inside))
            chosen, allowed = zip(*(_selection(*place, size) for place in places), strict=True)
            kinds = np.array([places.index(of_gate[k]) for k in inside], np.int32)
            selections.append((np.array(chosen), np.array(allowed), kinds))
        self.tables: dict[str, Any] = {"selections": selections, "levels": levels, "final": final}

    def __call__(self, tables: Any, found: Sequence[Any]) -> Any:
        """The matrix of each block, shape (blocks, 2, 16, 16).

        Args:
            tables: of this object.
            found: for each name in `rows` the matrices of its gates, shape (gates, 2, d, d).
        """
        spread = []
        for size, (chosen, allowed, kinds) in zip(sorted(set(self._sizes.values())), tables["selections"], strict=True):
            some = [_filled(m, size) for m, s in zip(found, self._sizes.values(), strict=True) if s == size]
            every = jnp.concatenate(some)
            rows = chosen[kinds].astype(every.dtype)
            # Products and no gather: on CPUs the derivative of a gather takes a step for each entry.
            whole = jnp.einsum("gia,gcab,gjb->gcij", rows, every, rows)
            spread.append(whole * allowed[kinds].astype(every.dtype)[:, None])
        full = jnp.concatenate(spread)
        for later, earlier, left in tables["levels"]:
            full = jnp.concatenate([_product(full[later], full[earlier]), full[left]])
        if tables["final"].ndim == 1:
            return full[tables["final"]]
        full = jnp.concatenate([full, with_imaginary(jnp.eye(SIZE, dtype=full.dtype))[None]])

        def multiply(done: Any, column: Any) -> tuple[Any, None]:
            return _product(full[column], done), None

        columns = tables["final"].T
        return lax.scan(multiply, full[columns[0]], columns[1:])[0]


def _product(a: Any, b: Any) -> Any:
    """a @ b as one product of real matrices, which is soon compiled."""
    both = jnp.stack([jnp.stack([a[:, 0], -a[:, 1]], 2), jnp.stack([a[:, 1], a[:, 0]], 2)], 1)  # (n, 2, 16, 2, 16)
    return (both.reshape(-1, 2 * SIZE, 2 * SIZE) @ b.reshape(-1, 2 * SIZE, SIZE)).reshape(b.shape)


def _rows(places: Sequence[int], lengths: Sequence[int]) -> NDArray[np.int32]:
    """The places of each row's matrices, filled up with the place after the last matrix."""
    rows = np.full((len(lengths), max(lengths)), len(places), dtype=np.int32)
    for row, (a, b) in zip(rows, pairwise(np.cumsum([0, *lengths])), strict=True):
        row[: b - a] = places[a:b]
    return rows


def _levels(
    places: Sequence[int], lengths: Sequence[int]
) -> tuple[list[tuple[NDArray[np.int32], ...]], NDArray[np.int32]]:
    """Products of neighbors, level by level, until one matrix is left of each row.

    Args:
        places: of the matrices, those of the first row first.
        lengths: of the rows.

    Returns:
        For each level the second factor, the first factor, and the matrices that have no neighbor, by their places in
        what the level before made; and where each row's product is in the end.
    """
    ends = np.cumsum([0, *lengths])
    rows = [list(places[a:b]) for a, b in pairwise(ends)]
    levels = []
    while any(len(row) > 1 for row in rows):
        later = [k for row in rows for k in row[1::2]]
        earlier = [k for row in rows for k in row[: len(row) - 1 : 2]]
        left = [row[-1] for row in rows if len(row) % 2]
        levels.append(tuple(np.array(some, dtype=np.int32) for some in (later, earlier, left)))
        made, single = iter(range(len(later))), iter(range(len(later), len(later) + len(left)))
        rows = [[*islice(made, len(row) // 2), *islice(single, len(row) % 2)] for row in rows]
    return levels, np.array([row[0] for row in rows], dtype=np.int32)


def _name(p: Primitive) -> str:
    if isinstance(p, Block):
        return p.name if p.name != MATRIX else f"{MATRIX}{len(p.wires)}"
    return f"Turn{len(p.wires)}" if isinstance(p, Turn) else f"Move{p.values}"


def cut(matrix: Any, wires: Sequence[int]) -> Any:
    """What of a block's matrix acts on its wires."""
    size = 2 ** len(wires)
    return matrix[:, :size, :size]
