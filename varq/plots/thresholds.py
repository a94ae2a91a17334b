"""Logical over physical errors, one curve for each distance, and where they cross."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from varq import checks
from varq.plots.canvas import COLORS, MARKERS, TEXT, Look, ink, key, panels, title

__all__ = ["threshold"]

_CLOSEST = 0.11  # of the axis: labels nearer to one another than this would touch


def threshold(study: Any, *, crossing: Any = None, ax: Any = None) -> Axes:
    """The rate of logical errors per shot over the noise strength, one curve for each distance, on logarithmic axes.

    Points without any logical error are drawn as upper limits, at their standard error.

    Args:
        study: a `ThresholdStudy`.
        crossing: its `threshold()`, drawn as a line with a band of one standard error; None draws none.
        ax: an Axes; None makes a new figure.

    Returns:
        The Axes.

    Raises:
        TypeError: if `study` is no study, or `ax` no Axes.
        ValueError: if it has no points.
    """
    if not hasattr(study, "distances") or not hasattr(study, "curve"):
        raise TypeError(f"study must be a ThresholdStudy. Got {study!r}. Use threshold_study(codes, ps).")
    if not study.distances:
        raise ValueError("study must hold at least one memory. Got none. Run some first.")
    (drawn, *_) = panels(ax, (1,), 3.2)
    drawn.set_xscale("log")
    drawn.set_yscale("log")
    for k, distance in enumerate(sorted(set(study.distances))):
        p, rate, error = study.curve(distance)
        seen = rate > 0
        look: Look = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
        # A bar as long as its point is high would reach down to zero, which no logarithmic axis shows.
        low = np.minimum(error[seen], 0.9 * rate[seen])
        bars = np.array([low, error[seen]])
        drawn.errorbar(p[seen], rate[seen], bars, **look, linewidth=1.1, capsize=2, label=f"distance {distance}")
        if not seen.all():
            drawn.plot(p[~seen], error[~seen], linestyle="none", marker="v", color=look["color"], markersize=5)
    if crossing is not None:
        where, spread = checks.real("crossing.p", crossing.p, above=0), checks.real("crossing.stderr", crossing.stderr)
        drawn.axvline(where, color=ink(), linestyle=(0, (5, 2)), linewidth=1.1, zorder=1, label="threshold")
        drawn.axvspan(max(where - spread, where / 2), where + spread, color=ink(), alpha=0.12, linewidth=0, zorder=0)
    _strengths(drawn, sorted({p for p in study.ps if p > 0}) or [1.0])
    drawn.set_xlabel("Physical error p (%)", fontsize=TEXT)
    drawn.set_ylabel("Logical errors per shot", fontsize=TEXT)
    title(drawn, study.title)
    key(drawn)
    return drawn


def _strengths(drawn: Axes, ps: list[float]) -> None:
    """Label the noise strengths that were run, in per cent, as many as have room."""
    least = _CLOSEST * np.log(ps[-1] / ps[0])
    shown = [ps[0]]
    for p in ps[1:]:
        if np.log(p / shown[-1]) > least:
            shown.append(p)
    drawn.xaxis.set_major_locator(FixedLocator(shown))
    drawn.xaxis.set_major_formatter(FuncFormatter(lambda p, _: f"{100 * p:.3g}"))
    drawn.xaxis.set_minor_locator(NullLocator())
