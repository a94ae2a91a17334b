"""Studies as figures: a column over a swept field as a curve, or over two as a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from varq import checks
from varq.plots.canvas import COLORS, LINES, MARKERS, SMALL, Look, dress, is_own, key, panels, plain, title
from varq.plots.units import quantity, scale

__all__ = ["study"]

_MOST_LINES = 7  # beyond it the cells are drawn as points, with a line through the lowest
_IN_UNIT = ("value", "stderr", "reference", "deviation")


def study(
    table: Mapping[str, Any],
    x: str,
    y: str = "value",
    *,
    fields: Sequence[str] = (),
    color: str = "value",
    ax: Any = None,
) -> Axes:
    """A column of a study's table over a swept field; or over two fields, as a heat map.

    Cells without a number are left out.  Where the other fields have more than seven combinations, all cells are
    points and the line goes through the lowest at each place.

    Args:
        table: the study's table, or any columns by name.
        x: the column of the horizontal axis.
        y: the column of the vertical axis; one of `fields` for a heat map.
        fields: the columns that are swept over.
        color: the column that a heat map shows.
        ax: an Axes; None makes a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: for an unknown column, or one that holds no numbers.

    Example:
        >>> axes = study({"bond": [1.0, 1.5, 1.0, 1.5], "seed": [0, 0, 1, 1], "value": [-1.0, -1.1, -0.9, -1.2]},
        ...              "bond", fields=("bond", "seed"))
        >>> len(axes.lines)
        2
    """
    for name in (x, y):
        checks.choice("the column of an axis", name, table)
    axes: Axes = panels(ax, [1.0], 3.2)[0]
    unit = str(getattr(table, "unit", ""))
    if y in fields:
        _map(axes, table, x, y, checks.choice("color", color, table), unit)
    else:
        _curves(axes, table, x, y, [name for name in fields if name not in (x, y)], unit)
    axes.set_xlabel(plain(x))
    if getattr(table, "title", "") and is_own(axes):
        title(axes, str(table.title))  # type: ignore[attr-defined]
    return axes


def _numbers(table: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v is None else v for v in table[name]], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"An axis needs a column of numbers. {name!r} has others. Choose another column.") from error


def _label(name: str, unit: str) -> str:
    if name not in _IN_UNIT:
        return plain(name)
    shown = scale(unit) if name in ("deviation", "stderr") else None
    said = quantity(unit) if name == "value" else name
    of = unit if shown is None else shown.unit
    return f"{said} ({of})" if of and of not in said else said


def _scaled(values: NDArray[np.float64], name: str, unit: str) -> NDArray[np.float64]:
    return values * scale(unit).factor if name in ("deviation", "stderr") else values


def _curves(ax: Axes, table: Mapping[str, Any], x: str, y: str, others: Sequence[str], unit: str) -> None:
    places, heights = _numbers(table, x), _scaled(_numbers(table, y), y, unit)
    keys = [tuple(str(v) for v in row) for row in zip(*(table[name] for name in others), strict=True)] or [()] * len(
        places
    )
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(keys):
        groups.setdefault(row, []).append(number)
    fit = np.isfinite(places) & np.isfinite(heights)
    if len(groups) > _MOST_LINES:
        ax.plot(places[fit], heights[fit], ".", color=COLORS[-1], markersize=3, label="cells")
        groups = {(f"lowest of {len(groups)}",): _lowest(places, heights, fit)}
    for index, (row, members) in enumerate(groups.items()):
        chosen = [k for k in sorted(members, key=lambda k: places[k]) if fit[k]]
        label = ", ".join(row) if len(row) != len(others) else ", ".join(map("=".join, zip(others, row, strict=True)))
        look: Look = {"color": COLORS[index % len(COLORS)], "linestyle": LINES[index % len(LINES)]}
        ax.plot(
            places[chosen], heights[chosen], marker=MARKERS[index % len(MARKERS)], markersize=4,
            label=plain(label or y), **look,
        )  # fmt: skip
    ax.set_ylabel(_label(y, unit))
    if len(groups) > 1 or others:
        key(ax)


def _lowest(places: NDArray[np.float64], heights: NDArray[np.float64], fit: NDArray[np.bool_]) -> list[int]:
    found: dict[float, int] = {}
    for k in np.flatnonzero(fit):
        best = found.setdefault(float(places[k]), int(k))
        if heights[k] < heights[best]:
            found[float(places[k])] = int(k)
    return list(found.values())


def _map(ax: Axes, table: Mapping[str, Any], x: str, y: str, color: str, unit: str) -> None:
    across, along = (list(dict.fromkeys(table[name])) for name in (x, y))
    across, along = (
        sorted(v) if all(isinstance(e, (int, float, np.number)) for e in v) else v for v in (across, along)
    )
    values = _scaled(_numbers(table, color), color, unit)
    sheet = np.full((len(along), len(across)), np.nan)
    for a, b, value in zip(table[x], table[y], values, strict=True):
        row, column = along.index(b), across.index(a)
        if np.isfinite(value) and not sheet[row, column] <= value:
            sheet[row, column] = value  # the lowest of cells that differ in other fields
    ax.grid(False)
    image = ax.imshow(sheet, origin="lower", aspect="auto", cmap="viridis")
    for axis, found in ((ax.xaxis, across), (ax.yaxis, along)):
        step = max(1, -(-len(found) // 8))
        axis.set_ticks(range(0, len(found), step))
        axis.set_ticklabels([f"{v:g}" if isinstance(v, (float, np.floating)) else plain(str(v)) for v in found[::step]])
    ax.set_ylabel(plain(y))
    figure = ax.get_figure(root=False)
    assert figure is not None
    bar = figure.colorbar(image, ax=ax)
    bar.set_label(_label(color, unit), fontsize=SMALL)
    if is_own(ax):
        dress(ax).grid(False)
