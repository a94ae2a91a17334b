"""In which order wires are finished, so that few of them are in use at once.

A wire is finished when all that its reading depends on is done.  Up to the end of wire w, the wires in the causal cones
of all wires finished so far have begun, and the finished ones are free again: after a set S of wires, finishing w takes
|union of the cones of S and w| - |S| wires.  An order's width is the largest of these numbers, whatever the gates are
(DeCross et al., Phys. Rev. X 13, 041057 (2023); Hua et al., "CaQR", ASPLOS 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["finishing_order", "width"]

PATIENCE = 20_000  # sets of finished wires that a search for a better order may look at
_STARTS = 64  # wires up to which a greedy order is tried from each of them


def width(cones: Sequence[int], order: Sequence[int]) -> int:
    """The most wires in use at once.

    Args:
        cones: for each wire the wires that its end depends on and itself, as bits of an integer.
        order: in which wires are finished.
    """
    begun = most = 0
    for done, wire in enumerate(order):
        begun |= cones[wire]
        most = max(most, begun.bit_count() - done)
    return most


def finishing_order(cones: Sequence[int], patience: int = PATIENCE) -> list[int]:
    """An order of small width: the best greedy one, improved by a search through sets of finished wires.

    The search is complete for small and for regular circuits, so that no order of less width exists.

    Args:
        cones: for each wire the wires that its end depends on and itself, as bits of an integer.
        patience: how many sets of finished wires the search may look at for each width; 0 for none.

    Example:
        >>> ladder = [0b0001, 0b0011, 0b0111, 0b1111]  # each wire depends on all before it
        >>> order = finishing_order(ladder)
        >>> order, width(ladder, order)
        ([0, 1, 2, 3], 1)
    """
    count = len(cones)
    if not count:
        return []
    starts = range(count) if count <= _STARTS else [min(range(count), key=lambda w: cones[w].bit_count())]
    best = min((_greedy(cones, start) for start in starts), key=lambda order: width(cones, order))
    while width(cones, best) > min(c.bit_count() for c in cones):
        better = _search(cones, width(cones, best) - 1, patience)
        if better is None:
            break
        best = better
    return best


def _greedy(cones: Sequence[int], start: int) -> list[int]:
    """From a first wire on, always the wire that needs the fewest new ones."""
    order, begun = [start], cones[start]
    left = set(range(len(cones))) - {start}
    while left:
        wire = min(left, key=lambda w: ((cones[w] & ~begun).bit_count(), cones[w].bit_count(), w))
        left.remove(wire)
        order.append(wire)
        begun |= cones[wire]
    return order


def _search(cones: Sequence[int], most: int, patience: int) -> list[int] | None:
    """An order of at most this width; None if there is none, or none was found in time."""
    seen: set[int] = set()
    trails = [_with_free(cones, most, (), 0, 0)]
    while trails and len(seen) < patience:
        order, done, begun = trails.pop()
        if len(order) == len(cones):
            return list(order)
        if done in seen:
            continue
        seen.add(done)
        for wire in range(len(cones)):
            if done >> wire & 1 or (begun | cones[wire]).bit_count() - len(order) > most:
                continue
            trails.append(_with_free(cones, most, (*order, wire), done | 1 << wire, begun | cones[wire]))
    return None


def _with_free(
    cones: Sequence[int], most: int, order: tuple[int, ...], done: int, begun: int
) -> tuple[tuple[int, ...], int, int]:
    """After every wire that needs at most one new one: what is put in front of any order so leaves its width as it is.

    For a wire w with at most one new wire and a later wire x after the set P: with w in front, finishing x takes
    |cones of P, w, x| - |P| - 1 wires, which is at most |cones of P, x| - |P|.
    """
    moved = True
    while moved:
        moved = False
        for wire in range(len(cones)):
            new = (cones[wire] & ~begun).bit_count()
            if not done >> wire & 1 and new <= 1 and (begun | cones[wire]).bit_count() - len(order) <= most:
                order, done, begun = (*order, wire), done | 1 << wire, begun | cones[wire]
                moved = True
    return order, done, begun
