"""What all figures share: sheets that show themselves, colors, legends that hide nothing, and files."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.legend import Legend

from varq import checks
from varq.protocol import Record

__all__ = [
    "COLORS",
    "LINES",
    "Look",
    "MARKERS",
    "WIDTH",
    "Panel",
    "Sheet",
    "dress",
    "ink",
    "key",
    "labels_of",
    "notice",
    "panels",
    "plain",
    "png",
    "records_of",
    "save",
    "stamp",
    "title",
]

# Okabe and Ito, "Color universal design" (2008): told apart with every common form of color blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
BAND = "#009E73"
LINES = ("-", "--", "-.", (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 4.4  # inches; printed in a column of 3.4 inches, the smallest text is 6 points high
TEXT, SMALL = 9.0, 8.0  # points
DPI = 200
Look: TypeAlias = dict[str, Any]  # keyword arguments that say how something is drawn
_RUN = "varq-run:"
_LETTER, _HANDLE, _ROW = 0.062, 0.5, 0.17  # inches in a legend: a letter, a line with its gaps, a row


class Sheet(Figure):
    """A figure that shows itself in a notebook and that pyplot knows nothing of: it goes when its last name goes."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = self.get_size_inches()
        return png(self), {"width": round(width * 100), "height": round(height * 100)}


class Panel(Axes):
    """Axes on a sheet: in a notebook they show the whole sheet."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        sheet = self.get_figure(root=True)
        return sheet._repr_png_() if isinstance(sheet, Sheet) else None


def panels(ax: Any, heights: Sequence[float], height: float, *, joined: bool = True) -> list[Axes]:
    """The axes to draw on, from top to bottom: new ones on a sheet of their own, or those given.

    Args:
        ax: None for a new sheet; an Axes, which gets the uppermost panel alone; or a sequence of Axes, one a panel.
        heights: relative heights of the panels.
        height: of a new sheet, inches.
        joined: whether the panels share the horizontal axis.

    Raises:
        TypeError: if `ax` is something else.
    """
    if ax is None:
        sheet = Sheet(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(sheet)
        made = sheet.subplots(
            len(heights),
            1,
            sharex=joined,
            squeeze=False,
            gridspec_kw={"height_ratios": list(heights)},
            subplot_kw={"axes_class": Panel},
        )
        if joined:
            sheet.align_ylabels()
        return [dress(a) for a in made[:, 0]]
    given = list(np.ravel(ax)) if isinstance(ax, (Sequence, np.ndarray)) else [ax]
    for each in given:
        checks.instance("ax", each, Axes, "Use None for a new figure, or an Axes such as plt.subplots()[1].")
    if not 1 <= len(given) <= len(heights):
        raise ValueError(f"ax must be one Axes, or one for each of the {len(heights)} panels. Got {len(given)}.")
    return given


def is_own(ax: Axes) -> bool:
    """Whether the axes stand on a sheet made here."""
    return isinstance(ax, Panel)


def dress(ax: Axes) -> Axes:
    """Frame, ticks and grid of new axes; what a user's own axes look like is left to the user."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    ax.xaxis.label.set_fontsize(TEXT)
    ax.yaxis.label.set_fontsize(TEXT)
    ax.grid(True, color=ink(), alpha=0.12, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def ink() -> str:
    """The color of text under the current style: black on paper, white on a dark sheet."""
    return str(matplotlib.colors.to_hex(matplotlib.rcParams["text.color"]))


def plain(text: str) -> str:
    """`text` so that matplotlib shows it as it is: no formulas, no control characters, not hidden from legends."""
    shown = re.sub(r"[\x00-\x1f\x7f]+", " ", str(text)).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def title(ax: Axes, text: str) -> None:
    """A title at the left, broken into at most three lines."""
    width = ax.get_figure(root=True).get_size_inches()[0] if is_own(ax) else WIDTH  # type: ignore[union-attr]
    lines = textwrap.wrap(plain(text), int(width / 0.072), max_lines=3, placeholder=" ...")
    ax.set_title("\n".join(lines), loc="left", fontsize=TEXT)


def notice(ax: Axes, text: str) -> None:
    """A remark in the middle of axes that have nothing to show yet."""
    ax.text(0.5, 0.75, text, transform=ax.transAxes, ha="center", va="center", fontsize=TEXT, color=ink())


def key(ax: Axes, *others: Axes, markers: float = 1.0) -> Legend | None:
    """A legend that hides nothing: below the panels of a sheet, or inside a user's axes with the limits raised."""
    found: dict[str, Artist] = {}
    for each in (ax, *others):
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return None
    labels, handles = list(found), list(found.values())
    figure = ax.get_figure(root=False)
    if is_own(ax) and isinstance(figure, FigureBase):
        columns = _columns(labels)
        if isinstance(figure, Sheet):
            figure.set_figheight(figure.get_figheight() + _ROW * (-(-len(labels) // columns) - 1))
        look: Look = {
            "ncols": columns,
            "fontsize": SMALL,
            "frameon": False,
            "columnspacing": 1.2,
            "markerscale": markers,
        }
        return figure.legend(handles, labels, loc="outside lower center", **look)
    legend = ax.legend(handles, labels, loc="upper right", fontsize="small")
    _make_room(ax, legend)
    return legend


def _columns(labels: Sequence[str]) -> int:
    """How many columns of labels fit the width of a sheet, the columns as even as can be."""
    letters = [len(re.sub(r"\$.*\$", "xxx", label)) for label in labels]
    for most in range(min(len(labels), 6), 1, -1):
        rows = -(-len(labels) // most)
        widths = [max(letters[i : i + rows]) for i in range(0, len(labels), rows)]
        if sum(w * _LETTER + _HANDLE for w in widths) <= WIDTH:
            return len(widths)
    return 1


def _make_room(ax: Axes, legend: Legend) -> None:
    """Raise the upper limit of the vertical axis until all that is drawn lies below the legend."""
    free = ax.transAxes.inverted().transform(legend.get_window_extent())[0, 1]
    if not 0.2 < free < 1:
        return
    law = ax.yaxis.get_transform()
    low, high = law.transform(np.array(ax.get_ylim()))
    limits = law.inverted().transform(np.array([low, low + (high - low) / (free - 0.02)]))
    if np.isfinite(limits).all():
        ax.set_ylim(*limits)


def records_of(value: Any) -> list[Record]:
    """One record or several, live runs included, as a list.

    Raises:
        TypeError: if something is neither a record nor a run.
        ValueError: if there is none, or if their units differ.
    """
    hint = "Use run.record(), or load a stored run first."
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    found = [_record(each) for each in several]
    for each in found:
        checks.instance("record", each, Record, hint)
    if not found:
        raise ValueError(f"record must hold at least one record. Got none. {hint}")
    units = sorted({each.unit for each in found})
    if len(units) > 1:
        raise ValueError(f"records drawn together must have one unit. Got {', '.join(map(repr, units))}.")
    return found


def _record(value: Any) -> Any:
    make = getattr(value, "record", None)
    return make() if callable(make) else value


def labels_of(records: Sequence[Record]) -> list[str]:
    """A name for each record: its title, with the start of its id where titles repeat."""
    titles = [record.title for record in records]
    return [plain(r.title if titles.count(r.title) == 1 else f"{r.title} ({r.id[:8]})") for r in records]


def stamp(ax: Axes, records: Sequence[Record]) -> Axes:
    """Note on the axes which runs they show; `save` writes it into the file."""
    ax.set_gid(_RUN + " ".join(record.id for record in records))
    return ax


def _runs(figure: Figure) -> str:
    gids = [str(ax.get_gid() or "") for ax in figure.axes]
    return " ".join(dict.fromkeys(" ".join(g.removeprefix(_RUN) for g in gids if g.startswith(_RUN)).split()))


def _metadata(figure: Figure, kind: str) -> dict[str, str]:
    """Which program made the file and which runs it shows, in the words that the format knows."""
    program, runs = f"varq {version('varq')}", _runs(figure)
    known = {
        "png": {"Software": program, "Source": runs},
        "pdf": {"Creator": program, "Subject": runs},
        "svg": {"Creator": program, "Source": runs},
        "ps": {"Creator": program},
        "eps": {"Creator": program},
    }
    return {k: v for k, v in known.get(kind, {}).items() if v}


def png(figure: Figure, dpi: float = DPI) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata=_metadata(figure, "png"))
    return buffer.getvalue()


def save(ax: Any, path: str | os.PathLike[str], *, dpi: float = DPI) -> Path:
    """Write the whole figure that `ax` is part of; PNG, PDF and SVG files say which runs they show.

    Args:
        ax: what a function of this package returned, or a matplotlib Figure.
        path: where to; its suffix names the format (.png, .pdf, .svg, ...).
        dpi: dots per inch of formats made of dots.

    Returns:
        The path.

    Raises:
        ValueError: for a suffix that names no known format.
        FileNotFoundError: if the folder does not exist.

    Example:
        >>> import tempfile
        >>> from varq.plots import curve
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     axes = curve({"x": [1.0, 2.0], "VQE": [-1.1, -1.0], "exact": [-1.11, -1.02]})
        ...     save(axes, folder + "/curve.png").name
        'curve.png'
    """
    figure = ax if isinstance(ax, Figure) else checks.instance("ax", ax, Axes).get_figure(root=True)
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    checks.choice("the suffix of path", kind, figure.canvas.get_supported_filetypes(), "Use .png, .pdf or .svg.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists. Got {str(target)!r}. Make the folder first.")
    metadata = _metadata(figure, kind)
    options: Look = {"metadata": metadata} if metadata else {}
    figure.savefig(target, dpi=checks.real("dpi", dpi, above=0), **options)
    return target
