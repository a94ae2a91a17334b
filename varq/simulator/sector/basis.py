"""The basis states that a circuit reaches: a sorted array of bit patterns, and the way back to positions in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import mask
from varq.simulator.circuit import Circuit, Gate
from varq.simulator.sector.parts import CLASSICAL, Part

__all__ = ["Basis", "conserved", "prepare", "reach", "spread"]

Ints = NDArray[np.int64]

_TABLE_WIRES = 24  # up to here positions are looked up in a table over all basis states, beyond by bisection
_CHUNK = 1 << 21  # basis states times moves that are looked at together


def spread(pattern: int, positions: Sequence[int], wires: int) -> int:
    """A pattern over some positions (first one most significant) as bits of the register."""
    last = len(positions) - 1
    return sum(1 << (wires - 1 - p) for k, p in enumerate(positions) if pattern >> (last - k) & 1)


class Basis:
    """Basis states, sorted by their even positions (spin up), then by their odd ones.

    Attributes:
        table: where each basis state of the register stands, -1 outside; None for a wide register.
    """

    def __init__(self, states: Ints, wires: int) -> None:
        even = sum(1 << k for k in range(wires - 1, -1, -2))
        self.states = states = states[np.lexsort((states & ~even, states & even))]
        self.wires = wires
        self.table: NDArray[np.int32] | None = None
        if wires <= _TABLE_WIRES:
            self.table = np.full(1 << wires, -1, np.int32)
            self.table[states] = np.arange(len(states), dtype=np.int32)
        else:
            self._order = np.argsort(states)
            self._sorted = states[self._order]

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Whatever it holds: a table over the register may weigh more than all that is made with it."""
        return (self.states, *((self._order, self._sorted) if self.table is None else (self.table,)))

    def __len__(self) -> int:
        return len(self.states)

    def find(self, states: Ints) -> NDArray[np.int32]:
        """Where these basis states stand, -1 for those that are not in the basis."""
        if self.table is not None:
            return self.table[states]
        place = np.minimum(np.searchsorted(self._sorted, states), len(self.states) - 1)
        return np.where(self._sorted[place] == states, self._order[place], -1).astype(np.int32)


def prepare(circuit: Circuit) -> tuple[int, list[Gate]]:
    """The basis state after the gates that only prepare it, and the gates that remain.

    A classical gate prepares as long as no other gate has acted on its wires before.
    """
    bits = list(circuit.initial.bits)
    touched: set[int] = set()
    rest: list[Gate] = []
    for gate in circuit.gates:
        if gate.name in CLASSICAL and touched.isdisjoint(gate.wires):
            _flip(gate, bits)
        else:
            touched.update(gate.wires)
            rest.append(gate)
    return spread((1 << len(bits)) - 1, [k for k, bit in enumerate(bits) if bit], circuit.wires), rest


def _flip(gate: Gate, bits: list[int]) -> None:
    w = gate.wires
    if gate.name in ("SWAP", "CSWAP"):
        if gate.name == "SWAP" or bits[w[0]]:
            bits[w[-1]], bits[w[-2]] = bits[w[-2]], bits[w[-1]]
        return
    values: Any = gate.static if gate.name == "MultiControlledX" else (1,) * (len(w) - 1)
    if all(bits[c] == int(v) for c, v in zip(w[:-1], values, strict=True)):
        bits[w[-1]] ^= 1


def _transitions(parts: Iterable[Part], wires: int) -> NDArray[np.int64]:
    """Rows (mask, pattern, flip): which basis states lead to which others."""
    rows = set()
    for part in parts:
        for pattern, flip, _ in part.moves:
            if flip:
                bits = mask(part.wires, wires)
                for one in (pattern, pattern ^ flip):
                    rows.add((bits, spread(one, part.wires, wires), spread(flip, part.wires, wires)))
    return np.array(sorted(rows), np.int64).reshape(-1, 3)


def reach(start: int, parts: Iterable[Part], wires: int, most: int) -> Ints | None:
    """All basis states that the parts connect with `start`, ascending, shape (states,); None for more than `most`.

    Args:
        start: a basis state; position 0 is the most significant of `wires` bits.
        parts: what the gates do; angles are taken as different from zero.
        wires: bits of a basis state.
        most: basis states that may be found.
    """
    rows = _transitions(parts, wires)
    known = front = np.array([start], np.int64)
    while len(front) and len(rows):
        found = [front[:0]]
        step = max(1, _CHUNK // len(front))
        for k in range(0, len(rows), step):
            bits, pattern, flip = rows[k : k + step].T[:, :, None]
            hit, source = np.nonzero((front[None] & bits) == pattern)
            found.append(np.unique(front[source] ^ flip[hit, 0]))
            if len(found[-1]) > most:
                return None
        front = np.setdiff1d(np.unique(np.concatenate(found)), known, assume_unique=True)
        known = np.union1d(known, front)
        if len(known) > most:
            return None
    return known


def conserved(start: int, parts: Sequence[Part], wires: int) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Sets of positions within which every part conserves the number of ones, and that number.

    Positions that are exchanged belong together; a set falls into its even and odd positions (spin up and down) where
    each of them conserves its own number.  Positions that no part changes are left out.

    Args:
        start: the basis state whose ones are counted.
        parts: what the gates do.
        wires: bits of a basis state.
    """
    changes = set()
    for part in parts:
        last = len(part.wires) - 1
        for pattern, flip, _ in part.moves:
            sites = [
                (w, 1 - 2 * (pattern >> (last - k) & 1)) for k, w in enumerate(part.wires) if flip >> (last - k) & 1
            ]
            if sites:
                changes.add(tuple(sites))
    blocks: list[set[int]] = []
    for change in changes:
        joined = {w for w, _ in change}
        apart = [b for b in blocks if b.isdisjoint(joined)]
        blocks = [*apart, joined.union(*(b for b in blocks if not b.isdisjoint(joined)))]
    out = []
    for block in sorted(blocks, key=min):
        spins = [{w for w in block if w % 2 == k} for k in (0, 1)]
        split = all(sum(d for w, d in change if w in spins[0]) == 0 for change in changes)
        for some in spins if split else [block]:
            if some:
                out.append((tuple(sorted(some)), sum(start >> (wires - 1 - w) & 1 for w in some)))
    return tuple(out)
