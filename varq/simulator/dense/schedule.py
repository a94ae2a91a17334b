"""Primitives put together: turns merged, moves composed, blocks fused.

Each primitive is carried as far to the front as it commutes, and joined to what it meets there:

* a turn meets other turns (they commute), passes blocks on other wires, and passes CNOT and X by changing its wires:
  Z on a target becomes Z on target and control, and X turns its sign;
* a move joins moves and passes blocks on other wires;
* a block joins blocks whose wires, with its own, are at most `WIDTH`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from varq.simulator.gates import Block, Move, Primitive, Turn, is_real

__all__ = ["WIDTH", "Blocks", "Group", "Moves", "Planned", "Turns", "schedule"]

WIDTH = 4
"""Wires in one fused block: 16 x 16 matrices keep a CPU's vector units busy and still read the state only once."""

Wires = frozenset[int]

_ROUNDING = 1e-14  # of sums of a few multiples of pi


@dataclass
class Turns:
    """Merged turns: for each set of wires its terms (row, angle, scale) and its constant; see `Turn`.

    `row` is 0 for the numbers of the same repeat and 1 for those of the next one.
    """

    terms: dict[Wires, list[tuple[int, int, float]]] = field(default_factory=dict)
    offsets: dict[Wires, float] = field(default_factory=dict)

    def add(self, wires: Wires, turn: Turn, sign: float, row: int) -> None:
        """Join a turn, pulled back to `wires` with `sign`."""
        self.offsets[wires] = self.offsets.get(wires, 0.0) + sign * turn.offset
        entry = self.terms.setdefault(wires, [])
        if turn.angle is not None:
            entry.append((row, turn.angle, sign * turn.scale))

    def single(self) -> list[Turn]:
        """The same turns one by one."""
        out = [Turn(tuple(w), None, 0.0, o) for w, o in self.offsets.items() if o]
        return out + [Turn(tuple(w), angle, scale) for w, terms in self.terms.items() for _, angle, scale in terms]

    def drop_idle(self) -> None:
        """Leave out what has cancelled."""
        self.terms = {w: t for w, t in self.terms.items() if w and (t or abs(self.offsets[w]) > _ROUNDING)}


@dataclass
class Moves:
    """Composed permutations, in order."""

    moves: list[Move] = field(default_factory=list)

    @property
    def wires(self) -> set[int]:
        """All wires they touch."""
        return {w for m in self.moves for w in m.wires}


@dataclass
class Group:
    """Blocks fused on one set of wires, in order."""

    wires: tuple[int, ...]
    blocks: list[Block]

    @property
    def real(self) -> bool:
        """Whether the fused matrix is real."""
        return all(is_real(b.name) for b in self.blocks)


@dataclass
class Blocks:
    """Groups on disjoint wires, acting together."""

    groups: list[Group] = field(default_factory=list)

    def touching(self, wires: Iterable[int]) -> list[Group]:
        """The groups that share a wire with `wires`."""
        wanted = set(wires)
        return [g for g in self.groups if wanted & set(g.wires)]


Planned = Turns | Moves | Blocks


def _place_turn(steps: list[Planned], turn: Turn, row: int) -> None:
    wires, sign, at = frozenset(turn.wires), 1.0, len(steps)
    joined: tuple[Turns, Wires, float] | None = None
    while at > 0:
        before = steps[at - 1]
        if isinstance(before, Turns):
            joined = before, wires, sign
        elif isinstance(before, Blocks):
            if before.touching(wires):
                break
        else:
            if any(len(m.controls) > 1 for m in before.moves):
                break
            for move in reversed(before.moves):
                wires, sign = _pulled(wires, sign, move)
        at -= 1
    if joined is None:
        joined = Turns(), wires, sign
        steps.insert(at, joined[0])
    joined[0].add(joined[1], turn, joined[2], row)


def _pulled(wires: Wires, sign: float, move: Move) -> tuple[Wires, float]:
    """Z on `wires` after a move, as Z on other wires before it."""
    if move.target not in wires:
        return wires, sign
    if not move.controls:
        return wires, -sign
    # X on the target where the control has its value: Z_t becomes Z_t Z_c for value 1 and -Z_t Z_c for 0.
    return wires ^ {move.controls[0]}, sign if move.values[0] else -sign


def _place_move(steps: list[Planned], move: Move) -> None:
    for step in reversed(steps):
        if isinstance(step, Moves):
            if step.moves and step.moves[-1] == move:
                step.moves.pop()
            else:
                step.moves.append(move)
            return
        if isinstance(step, Turns) or step.touching(move.wires):
            break
    steps.append(Moves([move]))


def _place_block(steps: list[Planned], block: Block) -> None:
    found: Blocks | None = None
    for step in reversed(steps):
        if isinstance(step, Blocks):
            touched = step.touching(block.wires)
            if touched:
                union = {w for g in touched for w in g.wires} | set(block.wires)
                if len(union) <= max(WIDTH, len(block.wires)):
                    _fuse(step, touched, block, union)
                    return
                break
            found = step
        elif isinstance(step, Turns):
            if any(wires & set(block.wires) for wires in step.terms):
                break
        elif step.wires & set(block.wires):
            break
    if found is None:
        found = Blocks()
        steps.append(found)
    found.groups.append(Group(tuple(sorted(block.wires)), [block]))


def _fuse(step: Blocks, touched: list[Group], block: Block, union: set[int]) -> None:
    merged = Group(tuple(sorted(union)), [b for g in touched for b in g.blocks] + [block])
    step.groups = [g for g in step.groups if g not in touched] + [merged]


def _pack(step: Blocks) -> None:
    """Put small neighboring groups together, real ones with real ones."""
    out: list[Group] = []
    for group in sorted(step.groups, key=lambda g: g.wires):
        last = out[-1] if out else None
        if last and last.real == group.real and len(last.wires) + len(group.wires) <= WIDTH:
            out[-1] = Group(tuple(sorted((*last.wires, *group.wires))), [*last.blocks, *group.blocks])
        else:
            out.append(group)
    step.groups = out


def _place(steps: list[Planned], primitive: Primitive, row: int = 0) -> None:
    if isinstance(primitive, Turn):
        _place_turn(steps, primitive, row)
    elif isinstance(primitive, Move):
        _place_move(steps, primitive)
        steps[:] = [s for s in steps if not (isinstance(s, Moves) and not s.moves)]
    else:
        _place_block(steps, primitive)


def schedule(primitives: Sequence[Primitive], repeats: int) -> tuple[list[Turn], list[Planned], list[Turn]]:
    """The steps of one repeat, and the turns to do once before the first and once after the last.

    In a repeated layer that begins with turns, those of the next repeat are carried back into this one, where they
    may merge with its last turns; the first repeat's turns then stand before the loop.  The last repeat finds angles
    of zero there, and what is constant in those turns is taken back after the loop.
    """
    plain = _scheduled(primitives)
    if repeats > 1 and len(plain) > 1 and isinstance(plain[0], Turns):
        lead = plain[0].single()
        steps = deepcopy(plain[1:])
        for turn in lead:
            _place(steps, turn, row=1)
        if len(steps) < len(plain):
            return lead, _packed(steps), [Turn(t.wires, None, 0.0, -t.offset) for t in lead if t.offset]
    return [], _packed(plain), []


def _scheduled(primitives: Sequence[Primitive]) -> list[Planned]:
    steps: list[Planned] = []
    for p in primitives:
        _place(steps, p)
    return steps


def _packed(steps: list[Planned]) -> list[Planned]:
    for step in steps:
        if isinstance(step, Blocks):
            _pack(step)
        elif isinstance(step, Turns):
            step.drop_idle()
    return [s for s in steps if not isinstance(s, Turns) or s.terms]
