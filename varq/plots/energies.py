"""How values approach the exact answer: along a run, and along a curve of several runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from varq import checks
from varq.plots.canvas import (
    BAND,
    COLORS,
    LINES,
    MARKERS,
    SMALL,
    TEXT,
    Look,
    ink,
    key,
    labels_of,
    notice,
    panels,
    plain,
    records_of,
    stamp,
    title,
)
from varq.plots.units import difference, quantity, scale
from varq.protocol import Reason, Record

__all__ = ["convergence", "curve"]

Floats: TypeAlias = NDArray[np.float64]

FLOOR = 1e-10  # of a logarithmic axis of deviations, in the value's own unit: below it lies rounding
FEW = 50  # steps up to which each is marked


def convergence(record: Any, *, ax: Any = None, deviation: bool = True) -> Axes:
    """The value at each step of a run with the exact answer, and below it the deviation on a logarithmic axis.

    Energies in hartree get a band of chemical accuracy (1.594 mHa, 1 kcal/mol).  Sampled values carry one standard
    error.  A value that goes up and down gets a second line, the best so far.

    Args:
        record: a `Record`, a `Run`, or several of one unit, which are drawn over one another.
        ax: an Axes for the upper panel alone, or two for both; None makes a new figure.
        deviation: whether to draw the lower panel where the exact answer is known.

    Returns:
        The Axes of the upper panel; `varq.plots.save(axes, path)` writes the figure.

    Raises:
        TypeError: if `record` is no record, or `ax` no Axes.
        ValueError: if the records have different units.

    Example:
        >>> import numpy as np
        >>> from varq.protocol import Record
        >>> rows = [(1, -1.10, -1.10, np.nan, 0.1, 1), (2, -1.13, -1.13, np.nan, 0.2, 2)]
        >>> columns = ["step", "value", "best", "stderr", "seconds", "executions"]
        >>> history = np.array(rows, dtype=[(name, float) for name in columns])
        >>> run = Record("1f2e", "H2, UCCSD", "algorithm:vqe", "Ha", -1.1373, history, np.zeros((2, 1)))
        >>> axes = convergence(run)
        >>> axes.get_ylabel(), len(axes.figure.axes)
        ('Energy (Ha)', 2)
    """
    records = records_of(record)
    checks.boolean("deviation", deviation)
    below = deviation and any(r.reference is not None for r in records)
    drawn = panels(ax, (1.4, 1) if below else (1,), 4.2 if below else 3.0)
    upper, unit = drawn[0], records[0].unit
    for index, (each, label) in enumerate(zip(records, labels_of(records), strict=True)):
        _trace(upper, each, index, label if len(records) > 1 else "value")
    _references(upper, records)
    seen = np.concatenate([_values(r) for r in records])
    if not np.isfinite(seen).any():
        notice(upper, "no value yet")
    turned = unit == "rad" and bool(((seen < 0) | (seen >= 2 * math.pi)).any())
    upper.set_ylabel("Phase modulo 2π (rad)" if turned else quantity(unit), fontsize=TEXT)
    upper.ticklabel_format(axis="y", style="plain", useOffset=False)
    upper.yaxis.set_major_locator(MaxNLocator(5))
    if len(drawn) > 1:
        _deviations(drawn[1], records)
    _steps(drawn[-1])
    title(upper, _common([r.title for r in records]) or f"{len(records)} runs")
    key(upper)
    return stamp(upper, records)


def _steps(ax: Axes) -> None:
    ax.set_xlabel("Step", fontsize=TEXT)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def _style(index: int) -> dict[str, Any]:
    """Color, and beyond the palette also the dashes, by which a line is told apart in print without color."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": LINES[(index // len(COLORS) + index) % len(LINES)]}


def _values(record: Record) -> Floats:
    """The value at each step; phases on the branch nearest to the exact or last one."""
    values = np.asarray(record.history["value"], dtype=np.float64)
    finite = values[np.isfinite(values)]
    if record.unit != "rad" or not len(finite):
        return values
    middle = float(finite[-1]) if record.reference is None else record.reference
    return np.array([middle + difference(v, middle, "rad") for v in values])


def _trace(ax: Axes, record: Record, index: int, label: str) -> None:
    values, steps = _values(record), np.asarray(record.history["step"], dtype=np.float64)
    known = np.isfinite(values)
    look = _style(index)
    few = int(known.sum()) <= FEW
    line: Look = {"linewidth": 1.3, "zorder": 3, "label": label, **look}
    ax.plot(steps[known], values[known], marker=MARKERS[index % len(MARKERS)] if few else None, markersize=3, **line)
    _errors(ax, steps, values, np.asarray(record.history["stderr"], dtype=np.float64), record.unit, look["color"], few)
    best = np.asarray(record.history["best"], dtype=np.float64)
    if label == "value" and record.unit != "rad" and (values[known] > best[known]).any():
        ax.plot(steps, best, drawstyle="steps-post", color=COLORS[1], linewidth=1.8, zorder=4, label="best so far")
    if record.result is not None and record.result.reason is Reason.NONFINITE and len(steps):
        mark: Look = {"color": COLORS[1], "marker": "X", "linestyle": "none", "clip_on": False, "label": "not finite"}
        ax.plot(steps[-1:], [0.0], transform=ax.get_xaxis_transform(), **mark)


def _errors(ax: Axes, x: Floats, y: Floats, error: Floats, unit: str, color: str, few: bool) -> None:
    """One standard error: bars on few points, a band on many; a phase that is not known at all fills the circle."""
    shown = np.isfinite(y) & (error > 0)
    reach = np.minimum(error, math.pi) if unit == "rad" else np.where(np.isfinite(error), error, np.nan)
    shown &= np.isfinite(reach)
    if not shown.any():
        return
    if few:
        bars: Look = {"fmt": "none", "ecolor": color, "elinewidth": 0.8, "capsize": 1.5, "alpha": 0.7}
        ax.errorbar(x[shown], y[shown], yerr=reach[shown], label="one standard error", **bars)
    else:
        low, high = y[shown] - reach[shown], y[shown] + reach[shown]
        ax.fill_between(x[shown], low, high, color=color, alpha=0.25, linewidth=0, label="one standard error")


def _references(ax: Axes, records: Sequence[Record]) -> None:
    """The exact answers; chemical accuracy around them where there is but one."""
    known = [r.reference for r in records]
    if len(set(known)) > 1:
        for index, reference in enumerate(known):
            if reference is not None:
                ax.axhline(reference, color=_style(index)["color"], linestyle=":", linewidth=1, zorder=2)
        ax.plot([], [], color=ink(), linestyle=":", linewidth=1, label="exact")
        return
    if known[0] is None:
        return
    ax.axhline(known[0], color=ink(), linestyle=(0, (5, 2)), linewidth=1.1, zorder=2, label="exact")
    accuracy = scale(records[0].unit).accuracy
    if accuracy is not None:
        _band(ax, known[0] - accuracy, known[0] + accuracy)


def _band(ax: Axes, low: float, high: float) -> None:
    """Chemical accuracy; its edge keeps it in sight where it is thinner than a line."""
    look: Look = {"facecolor": BAND, "alpha": 0.22, "edgecolor": BAND, "linewidth": 0.8, "zorder": 1}
    ax.axhspan(low, high, label="chemical accuracy (1.594 mHa)", **look)


def _deviations(ax: Axes, records: Sequence[Record]) -> None:
    unit = records[0].unit
    for index, record in enumerate(records):
        if record.reference is None:
            continue
        steps = np.asarray(record.history["step"], dtype=np.float64)
        _deviation_line(ax, steps, _differences(_values(record), record.reference, unit), unit, index)
    _deviation_axis(ax, unit)


def _differences(values: Floats, references: Any, unit: str) -> Floats:
    pairs = zip(values, np.broadcast_to(np.asarray(references, dtype=np.float64), values.shape), strict=True)
    return np.array([difference(float(v), float(r), unit) for v, r in pairs], dtype=np.float64)


def _deviation_line(ax: Axes, x: Floats, gap: Floats, unit: str, index: int, **look: Any) -> None:
    """The size of deviations; what is smaller than rounding stands at the floor as a triangle that points down."""
    shown = np.isfinite(gap)
    x, size = x[shown], np.abs(gap[shown])
    factor = scale(unit).factor
    few = len(x) <= FEW
    marker = MARKERS[index % len(MARKERS)] if few else None
    base: Look = {**_style(index), "marker": marker, "markersize": 3, "linewidth": 1.3, "zorder": 3}
    style = {**base, **look}
    ax.plot(x, np.maximum(size, FLOOR) * factor, **style)
    tiny = size < FLOOR
    if tiny.any():
        mark: Look = {"marker": 7, "linestyle": "none", "markersize": 6, "color": style["color"], "zorder": 4}
        ax.plot(x[tiny], np.full(int(tiny.sum()), FLOOR * factor), **mark)


def _deviation_axis(ax: Axes, unit: str) -> None:
    shown = scale(unit)
    ax.set_yscale("log")
    if shown.accuracy is not None:
        limit = shown.accuracy * shown.factor
        low, high = ax.get_ylim()
        low, high = min(low, limit / 10), max(high, limit * 3)
        _band(ax, low / 1e3, limit)
        ax.set_ylim(low, high)
    low, high = ax.get_ylim()
    if low > 1e-4 and high < 1e4 and high / low < 1e4:  # few enough decades to write numbers out
        shown_between = (2, 5) if high / low < 30 else ()
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if int(f"{v:e}"[0]) in shown_between else ""))
        ax.tick_params(axis="y", which="minor", labelsize=SMALL - 1)
    ax.set_ylabel(f"|Deviation| ({shown.unit})" if shown.unit else "|Deviation|", fontsize=TEXT)


# -- curves --------------------------------------------------------------------------------------------------------

_KNOWN = {
    "exact": ("exact", {"linestyle": "-", "marker": None, "zorder": 2}),
    "fci": ("exact", {"linestyle": "-", "marker": None, "zorder": 2}),
    "hf": ("HF", {"color": "#7F7F7F", "linestyle": "--", "marker": None, "zorder": 2}),
    "ccsd": ("CCSD", {"color": COLORS[4], "linestyle": "-.", "marker": None, "zorder": 2}),
}
_AXES = {"bond": "Bond length (Å)", "x": "x"}


def curve(
    data: Any,
    x: str = "bond",
    *,
    unit: str = "Ha",
    ax: Any = None,
    label: str | None = None,
    heading: str | None = None,
) -> Axes:
    """Values along a parameter of the problem, such as the bond length, with their deviations from the exact ones.

    Args:
        data: finished records (or runs) whose problems differ in the field `x`; or a mapping of names to lists of
            them; or a table: a mapping of names to equally long columns of numbers, one of them called `x` (or
            "x").  The columns "HF", "CCSD" and "exact" are drawn as lines, every other one as points.  With records
            these three come from their problems' `energies`.
        x: the field or column on the horizontal axis.
        unit: of a table's values.
        ax: an Axes for the upper panel alone, or two for both; None makes a new figure.
        label: of the horizontal axis; None for one that fits `x`.
        heading: of the figure; None for what the titles of the records have in common.

    Returns:
        The Axes of the upper panel.

    Raises:
        TypeError: if `data` holds neither records nor numbers.
        ValueError: if a record has no result, a problem no such field, or columns differ in length.

    Example:
        >>> table = {"bond": [0.7, 1.4], "HF": [-1.117, -0.94], "VQE": [-1.136, -1.015], "exact": [-1.136, -1.0155]}
        >>> axes = curve(table)
        >>> axes.figure.axes[1].get_xlabel()
        'Bond length (Å)'
    """
    records: list[Record] = []
    if isinstance(data, Mapping) and not _holds_records(data):
        table = _table(data, x)
    else:
        groups = data if isinstance(data, Mapping) else {"": data}
        found = {name: records_of(list(group)) for name, group in groups.items()}
        records = records_of([r for group in found.values() for r in group])
        unit, table = records[0].unit, _tabulated(found, x)
    at = next(iter(table))
    series = {k: v for k, v in table.items() if k != at}
    exact = series.get("exact")
    drawn = panels(ax, (1.5, 1) if exact is not None else (1,), 4.4 if exact is not None else 3.2)
    for index, (name, (where, values)) in enumerate(series.items()):
        drawn[0].plot(where, values, label=plain(name), **_look(name, index))
    drawn[0].set_ylabel(quantity(unit), fontsize=TEXT)
    drawn[0].ticklabel_format(axis="y", style="plain", useOffset=False)
    if exact is not None and len(drawn) > 1:
        for index, (name, (where, values)) in enumerate(series.items()):
            if name != "exact":
                truth = np.array([_at(exact, place) for place in where])
                _deviation_line(drawn[1], where, _differences(values, truth, unit), unit, index, **_look(name, index))
        _deviation_axis(drawn[1], unit)
    drawn[-1].set_xlabel(label if label is not None else _AXES.get(x, plain(x)), fontsize=TEXT)
    title(drawn[0], _common([r.title for r in records]) if heading is None else heading)
    key(drawn[0], *drawn[1:2])
    return stamp(drawn[0], records)


_Series: TypeAlias = tuple[Floats, Floats]


def _look(name: str, index: int) -> dict[str, Any]:
    if name == "exact":
        return {"color": ink(), "linewidth": 1.2, **_KNOWN["exact"][1]}
    if name in ("HF", "CCSD"):
        return {"linewidth": 1.2, **_KNOWN[name.lower()][1]}
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    return {"color": color, "marker": marker, "markersize": 4.5, "linestyle": "none", "zorder": 4}


def _holds_records(data: Mapping[str, Any]) -> bool:
    firsts = [next(iter(v), None) for v in data.values() if isinstance(v, (list, tuple))]
    return any(isinstance(f, Record) or callable(getattr(f, "record", None)) for f in firsts)


def _table(data: Mapping[str, Any], x: str) -> dict[str, Any]:
    """A table's columns by name, sorted along x; the first entry is x itself."""
    at = x if x in data else "x"
    checks.choice("the column of the horizontal axis", at, data, f"Add a column called {x!r} or 'x'.")
    where = checks.array(f"column {at!r}", data[at], (None,))
    order = np.argsort(where, kind="stable")
    out: dict[str, Any] = {at: where[order]}
    for name, column in data.items():
        if name == at:
            continue
        values = np.array(column, dtype=np.float64)
        checks.shape(f"column {name!r}", values, where.shape, "Every column must be as long as that of x.")
        out[_KNOWN.get(name.casefold(), (name,))[0]] = (where[order], values[order])
    return out


def _tabulated(groups: Mapping[str, Sequence[Record]], x: str) -> dict[str, Any]:
    everything = [r for group in groups.values() for r in group]
    names = sorted({str(getattr(r.problem, "name", "")) for r in everything})
    if len(names) > 1:
        raise ValueError(f"A curve shows one kind of problem. Got {', '.join(names)}. Draw one curve for each.")
    truths: dict[float, Mapping[str, float]] = {_place(r, x): _energies(r) for r in everything}
    places = np.array(sorted(truths))
    out: dict[str, Any] = {x: places}
    for name in ("exact", "hf", "ccsd"):
        column = np.array([truths[p].get(name, np.nan) for p in places], dtype=np.float64)
        if np.isfinite(column).any():
            out[_KNOWN[name][0]] = (places, column)
    for group, members in groups.items():
        by_name: dict[str, list[tuple[float, float]]] = {}
        for r in members:
            name = group or r.algorithm.split(":")[-1].replace("-", " ").upper()
            by_name.setdefault(name, []).append((_place(r, x), _outcome(r)))
        out.update({name: tuple(np.array(sorted(points)).T) for name, points in by_name.items()})
    return out


def _energies(record: Record) -> Mapping[str, float]:
    """The energies that the problem knows; its exact one is the run's reference where the problem has none."""
    known = {str(k).casefold(): float(v) for k, v in (getattr(record.problem, "energies", None) or {}).items()}
    if record.reference is not None:
        known["exact"] = record.reference
    return known


def _place(record: Record, x: str) -> float:
    value = getattr(record.problem, x, None)
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return float(value)
    fields = {k for k, v in vars(record.problem).items() if isinstance(v, (int, float))} if record.problem else set()
    known = ", ".join(map(repr, sorted(fields))) or "none"
    raise ValueError(
        f"x must name a number that the problem of every record has. Got {x!r}; {record.title} has {known}."
    )


def _outcome(record: Record) -> float:
    if record.result is None or record.result.value is None:
        raise ValueError(f"A curve needs runs with a result. Got {record.title} ({record.id}). Finish it first.")
    return record.result.value


def _at(series: _Series, place: float) -> float:
    """A column's number at a place, NaN where it has none."""
    hits = np.flatnonzero(np.isclose(series[0], place, rtol=0, atol=1e-9))
    return float(series[1][hits[0]]) if len(hits) else math.nan


def _common(titles: Sequence[str]) -> str:
    """What all titles, read as lists of parts, have in common."""
    if not titles:
        return ""
    parts = [t.split(", ") for t in titles]
    return ", ".join(p for p in parts[0] if all(p in other for other in parts))
