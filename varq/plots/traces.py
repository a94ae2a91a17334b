"""The parameters of a circuit along a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from varq.plots.canvas import COLORS, LINES, SMALL, TEXT, Look, key, notice, panels, records_of, stamp, title

__all__ = ["parameters"]

MOST_LINES = 12  # more than this many traces are drawn as a heat map
COLUMNS = 600  # of a heat map: more steps than a figure has dots across are thinned out


def parameters(record: Any, *, ax: Any = None) -> Axes:
    """Every parameter at every step: lines, or a heat map when there are more than 12.

    Args:
        record: a `Record` or a `Run`.
        ax: an Axes; None makes a new figure.

    Returns:
        The Axes.

    Raises:
        TypeError: if `record` is no record, or `ax` no Axes.
        ValueError: for several records.

    Example:
        >>> import numpy as np
        >>> from varq.protocol import Record
        >>> history = np.array([(1,), (2,)], dtype=[("step", int)])
        >>> run = Record("1f2e", "H2, UCCSD", "algorithm:vqe", "Ha", None, history, np.array([[0.0, 0.1], [0.2, 0.1]]))
        >>> parameters(run).get_ylabel()
        'Parameter (rad)'
    """
    records = records_of(record)
    if len(records) > 1:
        raise ValueError(f"parameters draws one record. Got {len(records)}. Draw each on an Axes of its own: ax=...")
    run = records[0]
    points = np.asarray(run.points, dtype=np.float64)
    known = np.asarray(np.isfinite(points).any(axis=1) if points.size else np.zeros(0, dtype=bool))
    count = points.shape[1] if points.ndim == 2 else 0
    many = count > MOST_LINES
    axes = panels(ax, (1,), 3.4 if many else 3.2)[0]
    # A user's own cost function may take anything; the circuits of this package take angles.
    angle = "Parameter" if run.algorithm == "algorithm:minimize" else "Parameter (rad)"
    steps = np.asarray(run.history["step"], dtype=np.float64)[: len(known)][known]
    if not len(steps):
        notice(axes, "no parameters yet")
        axes.set_ylabel(angle, fontsize=TEXT)
    elif many:
        _heat(axes, steps, points[known], angle)
    else:
        _lines(axes, steps, points[known], angle)
    axes.set_xlabel("Step", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    title(axes, run.title)
    if not many:
        key(axes)
    return stamp(axes, records)


def _lines(ax: Axes, steps: Any, points: Any, angle: str) -> None:
    for index in range(points.shape[1]):
        line = LINES[(index // len(COLORS) + index) % len(LINES)]
        look: Look = {"color": COLORS[index % len(COLORS)], "linestyle": line, "linewidth": 1.3}
        marker = "o" if len(steps) <= 50 else None
        ax.plot(steps, points[:, index], marker=marker, markersize=2.5, label=rf"$\theta_{{{index}}}$", **look)
    ax.set_ylabel(angle, fontsize=TEXT)


def _heat(ax: Axes, steps: Any, points: Any, angle: str) -> None:
    """Rows are parameters, columns steps; the map grows evenly lighter, in gray too."""
    stride = -(-len(steps) // COLUMNS)
    steps, points = steps[::stride], points[::stride]
    edges = np.concatenate([[steps[0] - 0.5], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 0.5]])
    rows = np.arange(points.shape[1] + 1) - 0.5
    mesh = ax.pcolormesh(edges, rows, np.ma.masked_invalid(points.T), cmap="cividis", rasterized=True)
    ax.grid(False)
    ax.invert_yaxis()
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_ylabel("Index of the parameter", fontsize=TEXT)
    bar = ax.get_figure(root=False).colorbar(mesh, ax=ax, pad=0.02)  # type: ignore[union-attr]
    bar.set_label(angle, fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
