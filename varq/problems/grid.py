"""Chains, rings and rectangles of sites: bonds, sets of bonds that do not touch, and where the sites are drawn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks

__all__ = ["Bond", "Shape", "axes_periodic", "bonds", "diagonals", "positions", "site_shape", "sublayers", "words"]

Shape = tuple[int, ...]
Bond = tuple[int, int]


def site_shape(sites: Any, shape: Any) -> Shape:
    """The lengths of the axes from `sites`, a chain's length, or `shape`, one or two lengths.

    Raises:
        ValueError: if neither is given, they disagree, or there are fewer than 1 or more than 2 axes.
    """
    if shape is None:
        hint = "Use sites=8 for a chain or a ring, shape=(2, 3) for a rectangle."
        if sites is None:
            raise ValueError(f"sites or shape must be given. {hint}")
        return (checks.integer("sites", sites, 1, hint=hint),)
    if not isinstance(shape, (tuple, list)) or not 1 <= len(shape) <= 2:
        raise ValueError(f"shape must hold one or two lengths, such as (2, 3). Got {shape!r}.")
    out = tuple(checks.integer("shape", length, 1) for length in shape)
    if sites is not None and checks.integer("sites", sites, 1) != math.prod(out):
        raise ValueError(f"sites must be the product of shape {out}, {math.prod(out)}. Got {sites}. Leave it out.")
    return out


def axes_periodic(periodic: Any, shape: Shape) -> tuple[bool, ...]:
    """For each axis whether its ends are joined; False for axes of up to 2 sites, whose only bond is there already.

    Raises:
        TypeError: if it is neither a boolean nor one boolean for each axis.
        ValueError: if their number differs from that of the axes.
    """
    several = isinstance(periodic, (tuple, list))
    given = tuple(checks.boolean("periodic", p) for p in (periodic if several else (periodic,) * len(shape)))
    if len(given) != len(shape):
        raise ValueError(f"periodic must hold one boolean for each of the {len(shape)} axes. Got {periodic!r}.")
    return tuple(p and length > 2 for p, length in zip(given, shape, strict=True))


def _steps(shape: Shape, periodic: tuple[bool, ...], step: Shape) -> list[Bond]:
    """Pairs of sites apart by `step`, each pair once, the lower site first."""
    found: dict[Bond, None] = {}
    for start in itertools.product(*map(range, shape)):
        end = [a + s for a, s in zip(start, step, strict=True)]
        if all(0 <= e < n or p for e, n, p in zip(end, shape, periodic, strict=True)):
            a, b = (int(np.ravel_multi_index(site, shape, mode="wrap")) for site in (start, tuple(end)))
            if a != b:
                found[min(a, b), max(a, b)] = None
    return list(found)


def bonds(shape: Shape, periodic: tuple[bool, ...]) -> list[list[Bond]]:
    """The nearest-neighbor bonds along each axis; sites are numbered row by row."""
    units = [tuple(int(i == axis) for i in range(len(shape))) for axis in range(len(shape))]
    return [_steps(shape, periodic, unit) for unit in units]


def diagonals(shape: Shape, periodic: tuple[bool, ...]) -> list[list[Bond]]:
    """The next-nearest bonds: two sites along a chain, across the plaquettes of a rectangle."""
    near = {bond for axis in bonds(shape, periodic) for bond in axis}
    steps = [(2,)] if len(shape) == 1 else [(1, 1), (1, -1)]
    out: list[list[Bond]] = []
    for step in steps:
        seen = near.union(*out)
        out.append([bond for bond in _steps(shape, periodic, step) if bond not in seen])
    return out


def sublayers(axis: list[Bond]) -> list[list[Bond]]:
    """The bonds of one direction in groups whose bonds do not touch: even, odd, and a last one for odd rings."""
    groups: list[list[Bond]] = []
    for bond in axis:
        free = (g for g in groups if not any(set(bond) & set(other) for other in g))
        group = next(free, None)
        if group is None:
            groups.append([bond])
        else:
            group.append(bond)
    return groups


def positions(shape: Shape, periodic: tuple[bool, ...]) -> NDArray[np.float64]:
    """Where to draw the sites, shape (sites, 2): a line, a circle for a ring, or a grid, neighbors one unit apart."""
    if len(shape) == 2:
        rows, columns = np.divmod(np.arange(math.prod(shape)), shape[1])
        return np.stack([columns, -rows], axis=1).astype(np.float64)
    count = shape[0]
    if not periodic[0]:
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float64)
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    radius = 0.5 / float(np.sin(np.pi / count))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def words(shape: Shape, periodic: tuple[bool, ...]) -> str:
    """The lattice in a few words: "ring of 8", "2 x 3 rectangle"."""
    if len(shape) == 1:
        return f"{'ring' if periodic[0] else 'chain'} of {shape[0]}"
    wrapped = [name for name, p in zip(("rows", "columns"), periodic[::-1], strict=True) if p]
    return f"{shape[0]} x {shape[1]} rectangle" + (f", periodic {' and '.join(wrapped)}" if wrapped else "")
