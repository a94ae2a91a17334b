"""Repeated layers, found in the list of gates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.circuit import Gate, Numbers
from varq.simulator.gates import Block, is_diagonal

__all__ = ["Local", "Segment", "ordered", "renumbered", "segments", "whole"]

_LONGEST = 4096  # gates in one layer; a longer period would gain little and cost a quadratic search
_FEWEST = 3  # repeats worth a loop of their own
_STACK = 4  # axes of a stack of matrices
_LEAST = 6  # gates that a loop must save; and a tenth of the circuit, so that loops stay few and compile fast


@dataclass(frozen=True)
class Segment:
    """`repeats` times the same gates up to their numbers.

    Args:
        gates: of the first repeat.
        repeats: how often.
        angles: for each repeat, which of the circuit's angles its gates take in turn, shape (repeats, angles).
        arrays: the same for the matrices, each in the stack of its size, shape (repeats, arrays).
        every: the gates of all repeats, with the circuit's own numbering.
    """

    gates: tuple[Gate, ...]
    repeats: int
    angles: NDArray[np.int32]
    arrays: NDArray[np.int32]
    every: tuple[Gate, ...]


class Local:
    """The numbers of a segment: those of its repeats, and of the repeat that follows each (zero for the last).

    Args:
        segment: which numbers are its own.
        numbers: of the circuit, products of angles among them.
    """

    def __init__(self, segment: Segment, numbers: Numbers) -> None:
        self.angles = numbers.angles[segment.angles]
        """Shape (repeats, angles)."""
        self.every = numbers.angles
        self.repeats = segment.repeats
        self._rows = segment.arrays
        self._stacks = {stack.shape[-1]: stack for stack in numbers.arrays if stack.ndim == _STACK}

    def matrices(self, blocks: Sequence[Block]) -> Any:
        """The matrices of blocks that are given by them, all of one size, shape (repeats, blocks, 2, d, d)."""
        columns = [b.array for b in blocks if b.array is not None]
        return self._stacks[2 ** len(blocks[0].wires)][self._rows[:, columns]]

    def rows(self) -> Any:
        """This repeat's angles and the next one's, shape (repeats, 2 * angles)."""
        following = jnp.concatenate([self.angles[1:], jnp.zeros_like(self.angles[:1])])
        return jnp.concatenate([self.angles, following], axis=1)


def _kind(gate: Gate) -> Hashable:
    return (gate.name, gate.wires, len(gate.angles), gate.array is None, gate.static)


def _levels(gates: Sequence[Gate]) -> list[tuple[int, tuple[int, ...], int]]:
    """For each gate the earliest layer in which its wires are free, as a key to sort by."""
    free: dict[int, int] = {}
    keys = []
    for k, gate in enumerate(gates):
        level = max((free.get(w, 0) for w in gate.wires), default=0)
        for w in gate.wires:
            free[w] = level + 1
        keys.append((level, gate.wires, k))
    return keys


def ordered(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The same circuit with gates on disjoint wires in one fixed order, whichever order they were written in."""
    return tuple(gates[k] for _, _, k in sorted(_levels(gates)))


def _diagonals_together(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The same circuit with diagonal gates, which commute, in one fixed order between what does not commute with them.

    A cost whose terms come in another order in each layer, as from a set, is then the same in each.
    """
    changed: dict[int, int] = {}  # for each wire the level of the last gate on it that is not diagonal
    turned: dict[int, int] = {}  # and that of the diagonal ones after it
    keys: list[tuple[int, tuple[int, ...], str, str, int]] = []
    for k, gate in enumerate(gates):
        phases = is_diagonal(gate)
        before = [changed, *([] if phases else [turned])]
        level = 1 + max((levels.get(w, 0) for levels in before for w in gate.wires), default=0)
        for w in gate.wires:
            if phases:
                turned[w] = max(turned.get(w, 0), level)
            else:
                changed[w] = level
        keys.append((level, gate.wires, gate.name, str(gate.static), k))
    return tuple(gates[key[-1]] for key in sorted(keys))


def _from_the_end(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The same circuit in another fixed order: of all gates that may be next, the one on the highest wires.

    Chains of gates along the wires then end before the next layer begins.
    """
    after: list[list[int]] = [[] for _ in gates]
    waiting = [0] * len(gates)
    last: dict[int, int] = {}
    for k, gate in enumerate(gates):
        for before in {last[w] for w in gate.wires if w in last}:
            after[before].append(k)
            waiting[k] += 1
        last.update(dict.fromkeys(gate.wires, k))
    ready = [(tuple(-w for w in gate.wires), k) for k, gate in enumerate(gates) if not waiting[k]]
    heapify(ready)
    out = []
    while ready:
        _, k = heappop(ready)
        out.append(gates[k])
        for following in after[k]:
            waiting[following] -= 1
            if not waiting[following]:
                heappush(ready, (tuple(-w for w in gates[following].wires), following))
    return tuple(out)


def _best_run(kinds: NDArray[np.int64], least: int) -> tuple[int, int, int]:
    """(start, period, repeats) of the run that saves most gates; repeats = 1 if there is none."""
    best, saved = (0, len(kinds), 1), least - 1
    for period in range(1, min(len(kinds) // 2, _LONGEST) + 1):
        if len(kinds) - period <= saved:
            break
        same = np.concatenate([[False], kinds[:-period] == kinds[period:], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        starts, ends = edges[::2], edges[1::2]
        if not len(starts):
            continue
        repeats = (ends - starts) // period + 1
        gain = (repeats - 1) * period
        k = int(np.argmax(gain))
        if gain[k] > saved and repeats[k] >= _FEWEST:
            best, saved = (int(starts[k]), period, int(repeats[k])), int(gain[k])
    return best


def _numbered(gates: Sequence[Gate]) -> NDArray[np.int64]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(_kind(g), len(known)) for g in gates], dtype=np.int64)


def _segment(gates: Sequence[Gate], repeats: int) -> Segment:
    period = len(gates) // repeats
    angles = [[a for g in gates[r * period : (r + 1) * period] for a in g.angles] for r in range(repeats)]
    arrays = [[g.array for g in gates[r * period : (r + 1) * period] if g.array is not None] for r in range(repeats)]
    return Segment(
        tuple(gates[:period]),
        repeats,
        np.array(angles, dtype=np.int32).reshape(repeats, -1),
        np.array(arrays, dtype=np.int32).reshape(repeats, -1),
        tuple(gates),
    )


def whole(gates: Sequence[Gate]) -> Segment:
    """All gates as one segment."""
    return _segment(gates, 1)


def renumbered(segment: Segment) -> list[Gate]:
    """The gates of the first repeat, with angles and arrays numbered within it."""
    out: list[Gate] = []
    angles = arrays = 0
    for gate in segment.gates:
        own = tuple(range(angles, angles + len(gate.angles)))
        out.append(replace(gate, angles=own, array=None if gate.array is None else arrays))
        angles += len(gate.angles)
        arrays += gate.array is not None
    return out


def _split(gates: Sequence[Gate], kinds: NDArray[np.int64], least: int) -> list[Segment]:
    if not len(gates):
        return []
    start, period, repeats = _best_run(kinds, least)
    if repeats == 1:
        return [_segment(gates, 1)]
    end = start + period * repeats
    middle = [_segment(gates[start:end], repeats)]
    return [*_split(gates[:start], kinds[:start], least), *middle, *_split(gates[end:], kinds[end:], least)]


def _once(found: Sequence[Segment]) -> int:
    return sum(len(s.gates) for s in found)


def segments(gates: Sequence[Gate]) -> list[Segment]:
    """The gates as runs of repeated layers and what lies between; the order as written is tried first.

    A circuit whose gates commute past one another may hide its layers: if as written few repeats are found, the
    gates are put into fixed orders, which leave the circuit the same, and looked at once more.
    """
    least = max(_LEAST, len(gates) // 10)
    found = _split(gates, _numbered(gates), least)
    if 2 * _once(found) > len(gates):
        for other in (_from_the_end(gates), ordered(gates), _diagonals_together(gates)):
            found = min(found, _split(other, _numbered(other), least), key=_once)
    return found
