"""A conserving circuit as steps over tables: pairs of basis states that turn together, and phases.

Swaps and signs cost nothing: what they have done so far is a signed permutation, the frame, and every later part is
written in the frame that stands before them; the frame itself acts once, at the end.  A turn moves disjoint pairs, so
one with many pairs is cut into several of the same angle, and all steps have one width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import mask, parity
from varq.simulator.sector.basis import Basis, spread
from varq.simulator.sector.parts import Part

__all__ = ["PHASE", "TURN", "Program", "build", "expected_bytes", "rotated"]

Ints = NDArray[np.int32]
TURN = 0
PHASE = 1

_TOGETHER = 16  # neighboring diagonal parts that become one step
_STEP = 400.0  # nanoseconds of a step, and of a pair in it: they choose the width only
_PAIR = 4.0
_NARROW = 32  # wider steps do more work outside of one loop


class Program(NamedTuple):
    """Steps, in order, and what they need; a pytree of NumPy arrays.

    Args:
        kinds: TURN or PHASE for each step, shape (steps,).
        rows: which row of the turns or phases below, shape (steps,).
        chunk, imaginary: of each turn: which pairs; whether it multiplies by i, shape (turns,).  `chunk` is None
            where each turn has its own pairs, in order; `imaginary` is None where no turn multiplies by i.
        turn_angle, turn_scale, turn_offset: t = scale * angle + offset, shape (turns,); angle -1 where there is none.
        pairs: shape (chunks, 2, width), first and second halves; padded by slots of their own behind the amplitudes.
        vectors: which vectors each phase adds up, shape (phases, together).
        phase_angle, phase_scale, phase_offset: shape (phases, together).
        diagonals: shape (vectors, slots), int8.
        frame: None, or (source, sign): the permutation at the end.
    """

    kinds: Ints
    rows: Ints
    chunk: Ints | None
    imaginary: NDArray[np.bool_] | None
    turn_angle: Ints
    turn_scale: NDArray[np.float64]
    turn_offset: NDArray[np.float64]
    pairs: Ints
    vectors: Ints
    phase_angle: Ints
    phase_scale: NDArray[np.float64]
    phase_offset: NDArray[np.float64]
    diagonals: NDArray[np.int8]
    frame: tuple[Ints, NDArray[np.int8]] | None


def rotated(program: Program, size: int) -> int:
    """How many pairs of basis states all turns rotate together.

    Args:
        program: any.
        size: basis states; what lies behind them in the tables is padding.
    """
    real = np.count_nonzero(program.pairs[:, 0] < size, axis=1)
    return int(np.sum(real if program.chunk is None else real[program.chunk]))


class _Frame:
    """The signed permutation so far: (F v)[k] = sign[k] v[source[k]]."""

    def __init__(self, size: int) -> None:
        self.source: Ints = np.arange(size, dtype=np.int32)
        self.sign = np.ones(size, np.int8)
        self._start = self.source
        self._seen: dict[bytes, int] = {}
        self._steps: dict[Any, Any] = {}
        self.trivial = True
        self.number = self._name()

    def _name(self) -> int:
        return self._seen.setdefault(self.source.tobytes() + self.sign.tobytes(), len(self._seen))

    def then(self, part: Part, basis: Basis) -> None:
        """Add a fixed part."""
        key = (part.wires, part.moves)
        if key not in self._steps:
            source: Ints = self._start.copy()
            sign: NDArray[np.int8] = np.ones(len(basis), np.int8)
            for pattern, flip, value in part.moves:
                here = np.nonzero(_matches(part, pattern, basis))[0]
                there = basis.find(basis.states[here] ^ spread(flip, part.wires, basis.wires))
                source[here], sign[here] = there, value
            self._steps[key] = source, sign
        source, sign = self._steps[key]
        self.source, self.sign = self.source[source], sign * self.sign[source]
        self.number = self._name()
        self.trivial = self.number == 0


def _matches(part: Part, pattern: int, basis: Basis) -> NDArray[np.bool_]:
    return (basis.states & mask(part.wires, basis.wires)) == spread(pattern, part.wires, basis.wires)  # type: ignore[no-any-return]


def _pairs(part: Part, basis: Basis, frame: _Frame) -> list[tuple[float, Ints]]:
    """(sign of t, rows of first and second halves) of a turn."""
    ((pattern, flip, _),) = part.moves
    here = np.nonzero(_matches(part, pattern, basis))[0]
    states = basis.states[here]
    there = basis.find(states ^ spread(flip, part.wires, basis.wires))
    sign = parity(states, mask(part.string, basis.wires)) * frame.sign[here] * frame.sign[there]
    first, second = frame.source[here], frame.source[there]
    if part.kind == "real":  # exchanging the halves turns the sign of t
        up = sign > 0
        ordered = np.stack([np.where(up, first, second), np.where(up, second, first)])
        return [(1.0, ordered.astype(np.int32))]
    both = np.stack([first, second]).astype(np.int32)
    return [(s, both[:, sign == s]) for s in (1.0, -1.0) if np.any(sign == s)]


def _diagonal(part: Part, basis: Basis, frame: _Frame) -> NDArray[np.int8]:
    values = np.zeros(len(basis), np.int8)
    for pattern, _, value in part.moves:
        values[_matches(part, pattern, basis)] = value
    values *= parity(basis.states, mask(part.string, basis.wires))
    out = np.empty_like(values)
    out[frame.source] = values
    return out


class _Collector:
    def __init__(self, basis: Basis) -> None:
        self.basis, self.frame = basis, _Frame(len(basis))
        self.sets: list[Ints] = []
        self.diagonals: list[NDArray[np.int8]] = []
        self.memo: dict[Any, Any] = {}
        self.steps: list[tuple[int, Any]] = []  # (TURN, (set, part, sign)) or (PHASE, [(vector, part), ...])

    def add(self, part: Part) -> None:
        if part.kind == "fixed":
            self.frame.then(part, self.basis)
            return
        key = (part.kind == "real", part.wires, part.moves, part.string, self.frame.number)
        if part.kind == "diagonal":
            if key not in self.memo:
                self.memo[key] = len(self.diagonals)
                self.diagonals.append(_diagonal(part, self.basis, self.frame))
            self._phase(self.memo[key], part)
            return
        if key not in self.memo:
            found = _pairs(part, self.basis, self.frame)
            self.memo[key] = [(len(self.sets) + k, sign) for k, (sign, _) in enumerate(found)]
            self.sets += [rows for _, rows in found]
        self.steps += [(TURN, (number, part, sign)) for number, sign in self.memo[key] if self.sets[number].size]

    def _phase(self, vector: int, part: Part) -> None:
        if self.steps and self.steps[-1][0] == PHASE and len(self.steps[-1][1]) < _TOGETHER:
            self.steps[-1][1].append((vector, part))
        else:
            self.steps.append((PHASE, [(vector, part)]))


def _width(sizes: Sequence[int]) -> int:
    """The width of a step for which all steps together cost least."""
    if not sizes:
        return 1
    counts = np.array(sizes)
    tried = np.unique(np.concatenate([[_NARROW], *(-(-counts // k) for k in range(1, 17))]))
    costs = [np.sum(-(-counts // w)) * (_STEP * (1 if w <= _NARROW else 2) + _PAIR * w) for w in tried]
    return int(tried[int(np.argmin(costs))])


def _cut(sets: Sequence[Ints], width: int, size: int) -> tuple[Ints, list[range]]:
    """Pair sets cut to one width, and which chunks each has become."""
    spare = size + np.arange(2 * width, dtype=np.int32).reshape(2, width)
    chunks: list[Ints] = []
    where = []
    for rows in sets:
        begin = len(chunks)
        for k in range(0, rows.shape[1], width):
            chunk = spare.copy()
            part = rows[:, k : k + width]
            chunk[:, : part.shape[1]] = part
            chunks.append(chunk)
        where.append(range(begin, len(chunks)))
    return np.array(chunks, np.int32).reshape(-1, 2, width), where


def _angle(part: Part) -> int:
    return -1 if part.angle is None else part.angle


def expected_bytes(parts: Sequence[Part], basis: Basis) -> int:
    """Roughly how many bytes the tables of a circuit take, where no swaps make tables differ."""
    distinct = {(p.kind == "diagonal", p.wires, p.moves, p.string) for p in parts if p.kind not in ("fixed", "phase")}
    # A pattern over k wires is met by about one basis state in 2**k, by more where k is small.
    shares = [1.0 if diagonal else 8 * 2.0 ** (1 - len(wires)) for diagonal, wires, *_ in distinct]
    return int(len(basis) * sum(shares))


def build(parts: Sequence[Part], basis: Basis) -> Program:
    """The steps of a circuit in a basis that is closed under its parts.

    Args:
        parts: what the gates do, in order, global phases left out.
        basis: all basis states that they reach from the initial one.
    """
    collect = _Collector(basis)
    for part in parts:
        collect.add(part)
    turns = [item for kind, item in collect.steps if kind == TURN]
    width = _width([collect.sets[number].shape[1] for number, _, _ in turns])
    pairs, where = _cut(collect.sets, width, len(basis))
    kinds: list[int] = []
    flat: list[tuple[int, Part, float]] = []
    phases: list[list[tuple[int, Part]]] = []
    rows: list[int] = []
    for kind, item in collect.steps:
        if kind == TURN:
            number, part, sign = item
            rows += range(len(flat), len(flat) + len(where[number]))
            flat += [(chunk, part, sign) for chunk in where[number]]
            kinds += [TURN] * len(where[number])
        else:
            rows.append(len(phases))
            phases.append(item)
            kinds.append(PHASE)
    chunk = np.array([number for number, _, _ in flat], np.int32)
    imaginary = np.array([part.kind == "imaginary" for _, part, _ in flat], bool)
    frame = None if collect.frame.trivial else (collect.frame.source, collect.frame.sign)
    vectors, phase_angle, phase_scale, phase_offset = _phase_tables(phases)
    return Program(
        kinds=np.array(kinds, np.int32),
        rows=np.array(rows, np.int32),
        chunk=None if np.array_equal(chunk, np.arange(len(pairs))) else chunk,
        imaginary=imaginary if imaginary.any() else None,
        turn_angle=np.array([_angle(part) for _, part, _ in flat], np.int32),
        turn_scale=np.array([part.scale * sign for _, part, sign in flat], np.float64),
        turn_offset=np.array([part.offset * sign for _, part, sign in flat], np.float64),
        pairs=pairs,
        vectors=vectors,
        phase_angle=phase_angle,
        phase_scale=phase_scale,
        phase_offset=phase_offset,
        diagonals=np.pad(np.array(collect.diagonals, np.int8).reshape(-1, len(basis)), ((0, 0), (0, 2 * width))),
        frame=frame,
    )


def _phase_tables(phases: Sequence[list[tuple[int, Part]]]) -> tuple[Any, ...]:
    """Vectors, angles, scales and offsets, padded by vector 0 turned by nothing."""
    together = max((len(p) for p in phases), default=1)
    vectors, angle = np.zeros((2, len(phases), together), np.int32)
    angle -= 1
    scale, offset = np.zeros((2, len(phases), together))
    for row, phase in enumerate(phases):
        for k, (vector, part) in enumerate(phase):
            vectors[row, k], angle[row, k] = vector, _angle(part)
            scale[row, k], offset[row, k] = part.scale, part.offset
    return vectors, angle, scale, offset
