"""Where the time of a session went: one row a run, a color for each phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from varq import checks
from varq.plots.canvas import COLORS, SMALL, TEXT, is_own, notice, panels, plain, title

__all__ = ["timeline"]

PHASES = ("prepare", "queue", "qpu", "read", "decode", "classical")  # as varq.session.ledger.PHASES
LABELS = ("prepare", "queue", "QPU", "read", "decode", "classical")
_COLOR = dict(zip(PHASES, (COLORS[5], "#D9D9D9", COLORS[0], COLORS[2], COLORS[4], COLORS[1]), strict=True))
_THIN = 0.6  # of a row's height: a phase of waiting, which lies behind what was done meanwhile
_HEIGHT, _ROW, _MOST = 1.3, 0.3, 8.0  # inches: of everything around the rows, of a row, of a sheet
_LETTERS = 26  # of a title beside its row
_BINS = 1200  # columns into which spans are drawn: finer than the dots of a printed column
_SEVERAL = 2  # spans per bin from which on their shares are drawn in place of themselves


def timeline(ledger: Any, *, ax: Any = None) -> Axes:
    """The time line of a session: one row for each run, from left to right what it did and how long it waited.

    Where more happened than a figure can show, a row shows what most of the time went to at each place.

    Args:
        ledger: of a session: `session.ledger()`, `varq.attach(id).ledger()`.
        ax: an Axes to draw on; None makes a new figure.

    Returns:
        The Axes; `varq.plots.save(axes, path)` writes the figure.

    Raises:
        TypeError: if `ledger` is none, or `ax` no Axes.

    Example:
        >>> from types import SimpleNamespace
        >>> spans = (("prepare", 0.0, 0.1), ("qpu", 0.1, 0.7), ("classical", 0.8, 0.1))
        >>> run = SimpleNamespace(id="1f2e", title="H2, UCCSD", spans=spans)
        >>> axes = timeline(SimpleNamespace(session="session-1f", runs=(run,)))
        >>> axes.get_xlabel(), [label.get_text() for label in axes.get_yticklabels()]
        ('Time (s)', ['H2, UCCSD'])
    """
    runs = _runs_of(ledger)
    height = min(_MOST, _HEIGHT + _ROW * max(1, len(runs)))
    (axes,) = panels(ax, [1], height)
    spans = [[(p, b, s) for p, b, s in run.spans if s > 0] for run in runs]
    began = min((b for some in spans for _, b, _ in some), default=0.0)
    ended = max((b + s for some in spans for _, b, s in some), default=1.0)
    factor, unit = _unit(ended - began)
    for row, some in enumerate(spans):
        _row(axes, row, [(p, (b - began) * factor, s * factor) for p, b, s in some], (ended - began) * factor)
    axes.set_ylim(len(runs) - 0.4, -0.6)
    axes.set_xlim(0, max((ended - began) * factor, 1e-9))
    _names(axes, runs)
    axes.set_xlabel(f"Time ({unit})", fontsize=TEXT)
    axes.grid(False, axis="y")
    title(axes, f"{ledger.session}: {checks.counted(sum(len(some) > 0 for some in spans), 'run')}")
    if not any(spans):
        notice(axes, "nothing measured yet")
    _legend(axes, spans)
    return axes


def _runs_of(ledger: Any) -> Sequence[Any]:
    """The runs of a ledger."""
    runs = getattr(ledger, "runs", None)
    if runs is None or not hasattr(ledger, "session"):
        raise TypeError(
            f"ledger must be a session's. Got {ledger!r}. Use session.ledger() or varq.attach(id).ledger()."
        )
    return list(checks.instance("ledger.runs", runs, (list, tuple)))


def _unit(seconds: float) -> tuple[float, str]:
    """In what a length of time is shown."""
    if seconds >= 3 * 3600:
        return 1 / 3600, "h"
    if seconds >= 300:
        return 1 / 60, "min"
    return (1.0, "s") if seconds >= 0.5 else (1e3, "ms")


def _row(ax: Axes, row: int, spans: Sequence[tuple[str, float, float]], length: float) -> None:
    """One run: waiting behind, what was done before it."""
    if len(spans) > _SEVERAL * _BINS:
        spans = _shares(spans, length)
    for phase in ("queue", *(p for p in PHASES if p != "queue")):
        bars = [(b, s) for p, b, s in spans if p == phase]
        high = _THIN if phase == "queue" else 0.8
        ax.broken_barh(bars, (row - high / 2, high), facecolors=_COLOR[phase], linewidth=0, snap=False)


def _shares(spans: Sequence[tuple[str, float, float]], length: float) -> list[tuple[str, float, float]]:
    """The same in bins of time: in each the phases one after another, as long as their shares."""
    width = length / _BINS
    sums = np.zeros((len(PHASES), _BINS))
    for phase, began, seconds in spans:
        first, last = int(began / width), min(_BINS - 1, int((began + seconds) / width))
        for k in range(min(first, _BINS - 1), last + 1):
            sums[PHASES.index(phase), k] += max(0.0, min(began + seconds, (k + 1) * width) - max(began, k * width))
    total = sums.sum(axis=0)
    sums *= np.divide(width, total, out=np.ones(_BINS), where=total > width)  # jobs that overlap share their time
    out = []
    for k in range(_BINS):
        at = k * width
        for phase, part in zip(PHASES, sums[:, k], strict=True):
            if part > 0:
                out.append((phase, at, float(part)))
                at += float(part)
    return out


def _names(ax: Axes, runs: Sequence[Any]) -> None:
    """The titles beside the rows; of many every few."""
    stride = max(1, math.ceil(len(runs) * 0.16 / max(_MOST - _HEIGHT, 0.1)))
    titles = [str(run.title) for run in runs]
    shown = [t if titles.count(t) == 1 else f"{run.id[:6]} {t}" for t, run in zip(titles, runs, strict=True)]
    cut = [_cut(t, _LETTERS - 1) for t in shown]
    if len(set(cut)) < len(set(shown)):  # what tells runs apart may stand at the end
        cut = [_cut(t, _LETTERS // 2) for t in shown]
    ax.set_yticks(range(0, len(runs), stride), [plain(t) for t in cut[::stride]], fontsize=SMALL)
    ax.tick_params(axis="y", length=0)


def _cut(text: str, first: int) -> str:
    """A text that is short enough: its first letters, and as many of its last as there is room for."""
    last = _LETTERS - 1 - first
    return text if len(text) <= _LETTERS else f"{text[:first].rstrip(' ,')}…{text[len(text) - last :].lstrip(' ,')}"


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The time that (beginning, seconds) cover together: a job of several runs keeps a device busy once."""
    total, until = 0.0, -math.inf
    for began, seconds in sorted(spans):
        total += max(0.0, began + seconds - max(began, until))
        until = max(until, began + seconds)
    return total


def _legend(ax: Axes, spans: Sequence[Sequence[tuple[str, float, float]]]) -> None:
    """The phases with the time that each took, below the rows."""
    handles = []
    for phase, label in zip(PHASES, LABELS, strict=True):
        found = _covered([(b, s) for some in spans for p, b, s in some if p == phase])
        if found:
            factor, unit = _unit(found)
            handles.append(Patch(color=_COLOR[phase], label=f"{label} {found * factor:.3g} {unit}"))
    if not handles:
        return
    look: dict[str, Any] = {"handles": handles, "ncols": 3, "fontsize": SMALL, "frameon": False}
    figure = ax.get_figure(root=True)
    if is_own(ax) and figure is not None:
        figure.legend(loc="outside lower center", **look)
    else:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), **look)
