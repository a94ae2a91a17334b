"""Histograms of batch phase estimation: how often each phase was measured, beside the law it should follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from varq.plots.canvas import COLORS, SMALL, TEXT, Look, ink, key, panels, stamp, title
from varq.plots.probabilities import details_of
from varq.protocol import Record

__all__ = ["histogram"]

_DRAWN = 2048  # points of a law that a figure can show; of more, those that were measured


def histogram(record: Any, *, ax: Any = None) -> Axes:
    """The share of shots that gave each phase, the exact law of the outcomes, and the exact phase where it is known.

    Args:
        record: the `Record` (or `Run`) of a finished QPE, or of a Shor that measured something.
        ax: an Axes; None makes a new figure.

    Returns:
        The Axes.

    Raises:
        TypeError: if `record` is no record, or `ax` no Axes.
        ValueError: if the record has no result, or not one of measured phases.
    """
    run, details = details_of(record, "histogram", ("outcomes", "frequencies", "bits"), "QPE or Shor")
    size = 1 << int(details["bits"])
    seen = np.asarray(details["outcomes"], dtype=np.int64)
    shares = np.asarray(details["frequencies"], dtype=np.float64)
    (drawn, *_) = panels(ax, (1,), 3.0)
    thick: Look = {"linewidth": max(1.0, min(6.0, 200 / size)), "label": "measured"}
    drawn.vlines(2 * np.pi * seen / size, 0, shares, color=COLORS[0], **thick)
    top = float(np.max(shares, initial=0.0))
    if details.get("law") is not None:
        law = np.asarray(details["law"], dtype=np.float64)
        at = np.arange(size) if size <= _DRAWN else seen
        dots: Look = {"linestyle": "none", "marker": "_", "markersize": 7, "color": COLORS[1], "label": "exact law"}
        drawn.plot(2 * np.pi * at / size, law[at], **dots)
        top = max(top, float(law.max()))
    _marks(drawn, run)
    drawn.set_ylim(0, 1.08 * top if top else 1.0)
    drawn.set_xlim(-0.08, 2 * math.pi + 0.08)
    drawn.set_xticks(np.arange(5) * math.pi / 2, ["0", "π/2", "π", "3π/2", "2π"], fontsize=SMALL)
    drawn.set_xlabel("Measured phase (rad)", fontsize=TEXT)
    drawn.set_ylabel("Share of shots", fontsize=TEXT)
    title(drawn, run.title)
    key(drawn)
    return stamp(drawn, [run])


def _marks(ax: Axes, run: Record) -> None:
    """The exact phase; no other reference is one."""
    if run.reference is not None and run.unit == "rad":
        ax.axvline(run.reference, color=ink(), linestyle=(0, (5, 2)), linewidth=1.1, zorder=1, label="exact phase")
