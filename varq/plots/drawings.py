"""What a problem looks like: graphs and lattices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from varq import checks
from varq.keys import Key
from varq.plots.canvas import COLORS, SMALL, Look, ink, key, panels, plain, title

__all__ = ["layout", "problem"]

Floats: TypeAlias = NDArray[np.float64]

TRIES = 6  # random starts: the best places of a graph without symmetry are not near a circle
CLOSE = 0.3  # of an edge's length: vertices nearer than this hide one another


def problem(problem: Any, *, ax: Any = None, cut: Any = None) -> Axes:
    """The graph or lattice of a problem, with a cut of it if one is given.

    Args:
        problem: anything with `edges`, pairs of vertices; its `weights` label the edges, and its `positions`, shape
            (vertices, 2), place the vertices, where it has them.
        ax: an Axes; None makes a new figure.
        cut: the side of each vertex: a string such as "0110", or zeros and ones, shape (vertices,).

    Returns:
        The Axes.

    Raises:
        TypeError: if the problem has no edges; says which problems have.
        ValueError: if `cut` does not fit the graph.

    Example:
        >>> from types import SimpleNamespace
        >>> square = SimpleNamespace(edges=((0, 1), (1, 2), (2, 3), (3, 0)), title="a square")
        >>> axes = problem(square, cut="0101")
        >>> axes.get_title(loc="left")
        'a square: cut 4 of 4'
    """
    edges = getattr(problem, "edges", None)
    if callable(edges) or edges is None:
        raise TypeError(
            f"problem must have edges to be drawn: MaxCut, TransverseFieldIsing, Heisenberg, Hubbard. "
            f"Got {type(problem).__name__}."
        )
    pairs = np.asarray([tuple(edge)[:2] for edge in edges], dtype=np.int64).reshape(-1, 2)
    size = _size(problem, pairs)
    given = getattr(problem, "weights", None)
    weights = np.ones(len(pairs)) if given is None else np.asarray(given, dtype=np.float64)
    sides = None if cut is None else _sides(cut, size)
    axes = panels(ax, (1,), 3.6)[0]
    points = _positions(problem, pairs, size)
    crossing = np.ones(len(pairs), bool) if sides is None else sides[pairs[:, 0]] != sides[pairs[:, 1]]
    _edges(axes, points, pairs, weights, crossing, sides is not None)
    _vertices(axes, points, sides, getattr(problem, "labels", None) or range(size))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.margins(0.12)
    said = "" if sides is None else f": cut {weights[crossing].sum():g} of {weights.sum():g}"
    title(axes, f"{getattr(problem, 'title', type(problem).__name__)}{said}")
    if sides is not None:
        key(axes, markers=0.6)
    return axes


def _size(problem: Any, pairs: NDArray[np.int64]) -> int:
    """How many vertices; a lattice of fermions has two wires a site, so `sites` counts first."""
    for name in ("nodes", "vertices", "sites", "wires"):
        value = getattr(problem, name, None)
        if isinstance(value, (int, np.integer)):
            return int(value)
    return int(pairs.max(initial=-1)) + 1


def _sides(cut: Any, size: int) -> NDArray[np.int64]:
    hint = f"Use one 0 or 1 for each of the {size} vertices, such as {'01' * (size // 2) + '0' * (size % 2)!r}."
    given = [int(c) if c in ("0", "1") else -1 for c in cut] if isinstance(cut, str) else cut
    sides = checks.array("cut", given, dtype=np.int64, hint=hint)
    checks.shape("cut", sides, (size,), hint)
    if not np.isin(sides, (0, 1)).all():
        raise ValueError(f"cut must hold zeros and ones only. Got {cut!r}. {hint}")
    return sides


def _positions(problem: Any, pairs: NDArray[np.int64], size: int) -> Floats:
    given = getattr(problem, "positions", None)
    if given is None or callable(given):
        return layout(pairs, size)
    if isinstance(given, Mapping):
        given = [given[k] for k in range(size)]
    points = np.asarray(given, dtype=np.float64)
    if points.ndim == 2 and points.shape[1] == 1:
        points = np.column_stack([points, np.zeros(len(points))])
    checks.shape("positions", points, (size, 2))
    return points


def _edges(ax: Axes, points: Floats, pairs: NDArray[np.int64], weights: Floats, crossing: Any, cut: bool) -> None:
    styles: list[tuple[Any, Look, str]] = [
        (crossing, {"linewidth": 1.8 if cut else 1.2, "linestyle": "-"}, "cut edge"),
        (~crossing, {"linewidth": 0.9, "linestyle": (0, (2, 2))}, "edge left"),
    ]
    for chosen, look, name in styles:
        if chosen.any():
            label = name if cut else None
            ax.add_collection(LineCollection(list(points[pairs[chosen]]), color=ink(), zorder=1, label=label, **look))
    if len(weights) and not np.allclose(weights, weights[0]):
        box: Look = {"facecolor": ax.get_figure(root=True).get_facecolor(), "edgecolor": "none", "pad": 0.8}  # type: ignore[union-attr]
        for (a, b), weight in zip(pairs, weights, strict=True):
            # Off the middle: the two diagonals of a square share theirs.
            x, y = points[a] + 0.42 * (points[b] - points[a])
            ax.text(x, y, f"{weight:.3g}", fontsize=SMALL - 1, ha="center", va="center", bbox=box, zorder=2)


def _vertices(ax: Axes, points: Floats, sides: NDArray[np.int64] | None, names: Sequence[Any]) -> None:
    """Vertices with their names; the sides differ in color, in lightness and in shape."""
    groups: list[tuple[Any, str, str, str | None]] = [(np.ones(len(points), bool), COLORS[5], "o", None)]
    if sides is not None:
        groups = [(sides == 0, COLORS[5], "o", "side 0"), (sides == 1, COLORS[1], "s", "side 1")]
    small = len(points) > 30
    for chosen, color, marker, label in groups:
        look: Look = {"color": color, "edgecolors": ink(), "linewidths": 0.8, "zorder": 3}
        ax.scatter(points[chosen, 0], points[chosen, 1], s=60 if small else 190, marker=marker, label=label, **look)
    if not small:
        for index, (x, y) in enumerate(points):
            name = plain(str(names[index]))
            ax.text(x, y, name, fontsize=SMALL, ha="center", va="center", color="black", zorder=4)


# -- where to put the vertices ---------------------------------------------------------------------------------------


def layout(pairs: Any, size: int) -> Floats:
    """Places for the vertices of a graph: distances in the plane near those along edges.

    Least squares of 1/d^2 weights by majorization (Gansner, Koren and North, Graph Drawing 2004), from classical
    scaling of the distances along edges, from a circle and from a few random places (the same each time); the best in
    which no vertices lie on top of one another, or else the circle.

    Args:
        pairs: edges, shape (edges, 2).
        size: how many vertices.

    Returns:
        Places, shape (size, 2).

    Example:
        >>> places = layout([(0, 1), (1, 2), (2, 3), (3, 0)], 4)
        >>> sides = np.linalg.norm(places - np.roll(places, -1, axis=0), axis=1)
        >>> bool(np.allclose(sides, sides[0]))
        True
    """
    turn = np.arange(size) * 2 * math.pi / max(size, 1) + math.pi / 2
    circle = np.column_stack([np.cos(turn), np.sin(turn)]) * max(1.0, size / 6)
    if size < 3:
        return np.asarray(circle)
    far = _distances(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), size)
    draw = Key.from_seed(0).fold("layout").generator()
    mixed = [size**0.5 * draw.standard_normal((size, 2)) for _ in range(TRIES if size <= 50 else 0)]
    starts = [circle] if size > 200 else [circle, _scaled(far), *mixed]
    ends = [_majorized(start, far) for start in starts]
    fit = [end for end in ends if _nearest(end) > CLOSE] or [circle]
    return _lying(min(fit, key=lambda places: _stress(places, far)))


def _lying(places: Floats) -> Floats:
    """Places turned so that a figure wider than high suits them, where they are clearly longer one way."""
    values, axes = np.linalg.eigh(np.cov(places.T))
    if values[1] < 1.2 * values[0]:
        return places
    signs = np.where(axes[np.argmax(np.abs(axes), axis=0), [0, 1]] < 0, -1, 1)
    return np.asarray(places @ (axes * signs)[:, ::-1])


def _distances(pairs: NDArray[np.int64], size: int) -> Floats:
    """Steps along edges between all vertices; parts that are not joined stand a little more than the longest apart."""
    near = np.zeros((size, size), bool)
    near[pairs[:, 0], pairs[:, 1]] = near[pairs[:, 1], pairs[:, 0]] = True
    far = np.where(np.eye(size, dtype=bool), 0.0, np.inf)
    reached = np.eye(size, dtype=bool)
    for step in range(1, size):
        grown = reached | (reached.astype(np.float64) @ near > 0)
        if (grown == reached).all():
            break
        far[grown & ~reached] = step
        reached = grown
    longest = float(far[np.isfinite(far)].max())
    return np.where(np.isfinite(far), far, longest + 1)


def _scaled(far: Floats) -> Floats:
    center = np.eye(len(far)) - 1 / len(far)
    values, vectors = np.linalg.eigh(-center @ far**2 @ center / 2)
    # The sign of an eigenvector is the library's choice; this one is the graph's.
    signs = np.where(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(far))] < 0, -1, 1)
    return np.asarray((vectors * signs)[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-3)))


def _gaps(places: Floats) -> Floats:
    squares = (places**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * places @ places.T, 0.0)))


def _nearest(places: Floats) -> float:
    return float((_gaps(places) + np.diag(np.full(len(places), np.inf))).min())


def _stress(places: Floats, far: Floats) -> float:
    weights = 1 / (far + np.eye(len(far))) ** 2
    return float((weights * (_gaps(places) - far) ** 2).sum())


def _majorized(places: Floats, far: Floats, rounds: int = 60) -> Floats:
    size = len(places)
    weights = (1 - np.eye(size)) / (far + np.eye(size)) ** 2
    inverse = np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights)
    for _ in range(rounds):
        ratio = weights * far / np.maximum(_gaps(places), 1e-9)
        places = inverse @ ((np.diag(ratio.sum(axis=1)) - ratio) @ places)
    return places
