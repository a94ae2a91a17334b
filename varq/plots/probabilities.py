"""Distributions: bit strings that a circuit gives, and what experiments tell about a phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from varq import checks
from varq.plots.canvas import BAND, COLORS, SMALL, TEXT, Look, ink, key, notice, panels, records_of, stamp, title
from varq.plots.units import difference, small, uncertain
from varq.protocol import Record

__all__ = ["details_of", "distribution", "posterior"]

Floats: TypeAlias = NDArray[np.float64]

TWO_PI = 2 * math.pi
EXHAUSTIVE = 18  # most vertices of a graph whose cuts are all counted for the comparison with guessing


def details_of(record: Any, what: str, needs: tuple[str, ...], made_by: str) -> tuple[Record, Mapping[str, Any]]:
    """The record, and the details of its result, or of its answer so far; an error where the figure needs others."""
    records = records_of(record)
    if len(records) > 1:
        raise ValueError(f"{what} draws one record. Got {len(records)}. Draw each on an Axes of its own: ax=...")
    run = records[0]
    answer = run.result if run.result is not None else run.outcome
    absent = list(needs) if answer is None else [name for name in needs if name not in answer.details]
    if answer is None or (absent and run.result is None):
        raise ValueError(
            f"{what} needs a run with a result. Got {run.title} ({run.id}), which goes on. Finish it first."
        )
    if absent:
        raise ValueError(
            f"{what} needs the result's details {', '.join(map(repr, needs))}, as {made_by} gives them. "
            f"Got {run.title} ({run.algorithm}) without {', '.join(map(repr, absent))}."
        )
    return run, answer.details


# -- bit strings ---------------------------------------------------------------------------------------------------


def distribution(record: Any, *, ax: Any = None, most: int = 12) -> Axes:
    """The most probable bit strings, colored by their cut, and how often each cut comes up against random guessing.

    The best cuts are marked with a star.  The second panel is drawn where the result holds the distribution over cuts.

    Args:
        record: the `Record` (or `Run`) of a finished QAOA.
        ax: an Axes for the bit strings alone, or two for both panels; None makes a new figure.
        most: how many bit strings to show.

    Returns:
        The Axes of the bit strings.

    Raises:
        TypeError: if `record` is no record, or `ax` no Axes.
        ValueError: if the record has no result, or not one of bit strings.
    """
    run, details = details_of(record, "distribution", ("bitstrings", "probabilities", "values"), "QAOA")
    most = checks.integer("most", most, minimum=1)
    strings = list(details["bitstrings"])[:most]
    weights = np.asarray(details["probabilities"], dtype=np.float64)[:most]
    values = np.asarray(details["values"], dtype=np.float64)[:most]
    levels = "cut_levels" in details and "cut_probabilities" in details
    rows = len(strings) + 1
    bars, spread = max(1.4, 0.19 * rows), 1.5
    drawn = panels(ax, (bars, spread) if levels else (bars,), bars + (spread if levels else 0) + 1.2, joined=False)
    _bars(drawn[0], strings, weights, values, run)
    if levels and len(drawn) > 1:
        _cuts(drawn[1], run, details)
        key(drawn[1])
    title(drawn[0], run.title)
    return stamp(drawn[0], [run])


def _bars(ax: Axes, strings: list[str], weights: Floats, values: Floats, run: Record) -> None:
    """One bar a bit string and one, hollow, for all others together."""
    places = np.arange(len(strings))
    best = -run.reference if run.reference is not None else float(np.max(values, initial=-math.inf))
    top = best if math.isfinite(best) else 1.0
    law = Normalize(min(float(np.min(values, initial=top)), top - 1), top)
    paint = ScalarMappable(law, "cividis")
    ax.barh(places, weights, color=paint.to_rgba(values), edgecolor=ink(), linewidth=0.4, zorder=2)
    rest = max(0.0, 1.0 - float(weights.sum()))
    names = list(strings)
    if rest > 1e-9:
        ax.barh([len(strings)], [rest], facecolor="none", edgecolor=ink(), linewidth=0.8, hatch="///", zorder=2)
        names.append("all others")
    widest = float(max(np.max(weights, initial=0.0), rest))
    for place in places[np.isclose(values, best, rtol=0, atol=1e-9)]:
        ax.text(weights[place] + 0.012 * widest, place, "★", va="center", fontsize=TEXT, color=COLORS[1])
    ax.set_xlim(0, 1.08 * widest if widest else 1)
    ax.set_yticks(np.arange(len(names)), names, fontsize=SMALL, family="monospace")
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("Probability (★: a best cut)", fontsize=TEXT)
    bar = ax.get_figure(root=False).colorbar(paint, ax=ax, pad=0.02, aspect=25)  # type: ignore[union-attr]
    bar.set_label("Cut", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=_whole_numbers(values)))
    bar.outline.set_visible(False)


def _cuts(ax: Axes, run: Record, details: Mapping[str, Any]) -> None:
    """The probability of a cut at least as large as c, for the circuit and for a fair coin a vertex."""
    levels = np.asarray(details["cut_levels"], dtype=np.float64)
    weights = np.asarray(details["cut_probabilities"], dtype=np.float64)
    look: Look = {"drawstyle": "steps-pre", "linewidth": 1.4}
    guessed = _guessing(run.problem)
    if guessed is not None:
        at, chance = guessed
        ax.plot(at, _at_least(chance), color="#7F7F7F", linestyle="--", label="random guessing", **look)
    ax.plot(levels, _at_least(weights), color=COLORS[0], label="circuit", **look)
    if run.reference is not None:
        ax.axvline(-run.reference, color=ink(), linestyle=(0, (5, 2)), linewidth=1.1, label="best cut")
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("Cut c", fontsize=TEXT)
    ax.set_ylabel("P(cut ≥ c)", fontsize=TEXT)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=_whole_numbers(levels)))


def _whole_numbers(values: Floats) -> bool:
    return bool(np.allclose(values, np.round(values)))


def _at_least(weights: Floats) -> Floats:
    return np.asarray(np.cumsum(weights[::-1])[::-1])


def _guessing(problem: Any) -> tuple[Floats, Floats] | None:
    """The cuts of all bit strings and how often each occurs; None where there are too many, or no graph."""
    edges, worth = getattr(problem, "edges", None), getattr(problem, "weights", None)
    if edges is None or worth is None or not len(edges):
        return None
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    size = int(pairs.max()) + 1
    if size > EXHAUSTIVE:
        return None
    index = np.arange(1 << size, dtype=np.int64)
    cuts = np.zeros(len(index))
    for (a, b), weight in zip(pairs, np.asarray(worth, dtype=np.float64), strict=True):
        cuts += weight * ((index >> a ^ index >> b) & 1)
    levels, counts = np.unique(np.round(cuts, 9), return_counts=True)
    return levels, counts / len(index)


# -- phases --------------------------------------------------------------------------------------------------------

_SMALLER = (("rad", 1.0), ("mrad", 1e3), ("µrad", 1e6), ("nrad", 1e9))
WIDE = 0.6  # radians: a posterior of more than this half-width is drawn on the whole circle alone


def posterior(record: Any, *, ax: Any = None) -> Axes:
    """What is known of the phase: the probability density around the estimate, and where that is on the circle.

    The main panel is centered on the estimate, so that a density on both sides of 0 stays in one piece, and shows
    the credible interval and the exact phase.  The strip above it shows the whole circle.

    Args:
        record: the `Record` (or `Run`) of a phase estimation, which may go on.
        ax: an Axes for the main panel alone, or two (main panel, strip); None makes a new figure.

    Returns:
        The Axes of the main panel.

    Raises:
        TypeError: if `record` is no record, or `ax` no Axes.
        ValueError: if the record is of no step yet, or not of phase estimation.
    """
    run, details = details_of(record, "posterior", ("grid", "density", "interval"), "PhaseEstimation")
    grid = checks.array("grid", details["grid"], (None,))
    density = checks.array("density", details["density"], grid.shape)
    answer = run.result if run.result is not None else run.outcome
    assert answer is not None
    value, stderr = answer.value, answer.stderr
    middle = float(grid[int(np.argmax(density))]) if value is None else value
    low, high = (middle + difference(float(end), middle, "rad") for end in details["interval"])
    half = 2.2 * max(middle - low, high - middle, 1e-12)
    narrow = half < WIDE
    drawn = panels(ax, (0.3, 1) if narrow else (1,), 3.9 if narrow else 3.0, joined=False)
    if ax is None:
        drawn = drawn[::-1]
    main = drawn[0]
    if narrow:
        _zoom(main, run, grid, density, middle, (low, high), half)
        if len(drawn) > 1:
            _circle(drawn[1], grid, density, middle, run.reference)
    else:
        _whole(main, run, grid, density, middle, (low, high))
    shown = "none" if value is None else uncertain(value, stderr if stderr is not None and stderr < math.pi else None)
    title(drawn[-1] if ax is None else main, f"{run.title}: {shown}\u00a0rad")
    key(main, *drawn[1:])
    return stamp(main, [run])


def _zoom(
    ax: Axes,
    run: Record,
    grid: Floats,
    density: Floats,
    middle: float,
    interval: tuple[float, float],
    half: float,
) -> None:
    """The density near the estimate, as an offset from it, in a unit in which the offset is a number of few digits."""
    name, factor = next((u for u in _SMALLER if half * u[1] >= 1), _SMALLER[-1])
    away = np.array([difference(float(g), middle, "rad") for g in grid])
    order = np.argsort(away)
    x, y = away[order] * factor, density[order] / factor
    low, high = ((end - middle) * factor for end in interval)
    inside = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    near = np.abs(x) <= half * factor
    few = int(near.sum()) <= 60
    ax.plot(x, y, color=COLORS[0], linewidth=1.4, marker="o" if few else None, markersize=2.5, label="posterior")
    under: Look = {"color": BAND, "alpha": 0.3, "linewidth": 0, "label": "95 % credible interval"}
    ax.fill_between(inside, np.interp(inside, x, y), **under)
    ax.axvline(0, color=COLORS[1], linewidth=1.2, linestyle="-.", label="estimate")
    if run.reference is not None:
        place = difference(run.reference, middle, "rad") * factor
        half = max(half, 1.15 * abs(place) / factor if abs(place) < 12 * half * factor else half)
        _exact(ax, place, half * factor, f"{small(place / factor)} rad")
    ax.set_xlim(-half * factor, half * factor)
    ax.set_ylim(0, 1.08 * float(np.max(y)))
    ax.set_xlabel(f"Phase − {middle:.9g} rad ({name})", fontsize=TEXT)
    ax.set_ylabel(f"Density (1/{name})", fontsize=TEXT)


def _exact(ax: Axes, place: float, half: float, away: str) -> None:
    """The exact phase; an arrow at the side where it is far outside."""
    if abs(place) <= half:
        ax.axvline(place, color=ink(), linestyle=(0, (5, 2)), linewidth=1.2, label="exact")
        return
    side = math.copysign(1.0, place)
    tip, tail = 0.5 + 0.49 * side, 0.5 + 0.38 * side
    arrow: Look = {"arrowstyle": "->", "color": ink()}
    ax.annotate("", (tip, 0.5), (tail, 0.5), xycoords="axes fraction", arrowprops=arrow)
    where: Look = {"transform": ax.transAxes, "fontsize": SMALL, "ha": "right" if side > 0 else "left"}
    ax.text(tip, 0.55, f"exact: {away} away", **where)


def _turns(ax: Axes) -> None:
    ax.set_xlim(0, TWO_PI)
    ax.set_xticks(np.arange(5) * math.pi / 2, ["0", "π/2", "π", "3π/2", "2π"])


def _circle(ax: Axes, grid: Floats, density: Floats, middle: float, reference: float | None) -> None:
    """The whole circle, unrolled: a mark that can be seen however narrow the density is."""
    ax.fill_between(grid, density / float(np.max(density)), color=COLORS[0], linewidth=0.8, edgecolor=COLORS[0])
    ax.plot([middle % TWO_PI], [1.15], marker="v", color=COLORS[1], markersize=6, linestyle="none", clip_on=False)
    if reference is not None:
        ax.axvline(reference % TWO_PI, color=ink(), linestyle=(0, (5, 2)), linewidth=1, zorder=1, label="exact")
    _turns(ax)
    ax.set_ylim(0, 1.3)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("Phase (rad), whole circle", fontsize=TEXT)


def _whole(ax: Axes, run: Record, grid: Floats, density: Floats, middle: float, interval: tuple[float, float]) -> None:
    """A wide density on the whole circle; an interval across 0 in two pieces."""
    closed, wrapped = np.append(grid, grid[0] + TWO_PI), np.append(density, density[0])
    low, high = (end % TWO_PI for end in interval)
    pieces = [(low, high)] if low <= high else [(low, TWO_PI), (0.0, high)]
    for index, piece in enumerate(pieces):
        label = "95 % credible interval" if index == 0 else None
        ax.axvspan(*piece, facecolor=BAND, alpha=0.2, linewidth=0, label=label, zorder=1)
    ax.plot(closed, wrapped, color=COLORS[0], linewidth=1.4, label="posterior")
    ax.axvline(middle % TWO_PI, color=COLORS[1], linewidth=1.2, linestyle="-.", label="estimate")
    if run.reference is not None:
        ax.axvline(run.reference % TWO_PI, color=ink(), linestyle=(0, (5, 2)), linewidth=1.2, label="exact")
    _turns(ax)
    ax.set_ylim(0, 1.08 * float(np.max(density)))
    ax.set_xlabel("Phase (rad)", fontsize=TEXT)
    ax.set_ylabel("Density (1/rad)", fontsize=TEXT)
    if not np.isfinite(density).any():
        notice(ax, "no density")
