"""The circuit of an ansatz as a figure."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pennylane as qml
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pennylane.drawer import tape_mpl

from varq import checks
from varq.plots.canvas import Sheet, plain

__all__ = ["circuit"]

MOST_LAYERS = 60  # gates side by side that can still be told apart on one sheet
HEAD = 0.5  # inches above the drawing for the title
FONT = 12  # points, in PennyLane's own scale of one inch a gate


def circuit(ansatz: Any, params: Any = None, *, decimals: int | None = None, most: int = MOST_LAYERS) -> Axes:
    """The circuit of an ansatz, as PennyLane draws it.

    Args:
        ansatz: anything with `wires`, `shape` and `init`, called with parameters.
        params: the parameters, of the ansatz's `shape`; None for its starting ones of seed 0.
        decimals: of the parameters in the gates' labels; None leaves the parameters out.
        most: gates side by side to draw; a longer circuit is cut there, and the title says so.

    Returns:
        The Axes, on a figure of their own: the drawing sets its size.

    Raises:
        TypeError: if `ansatz` is none.
        ValueError: if `params` has another shape.

    Example:
        >>> from varq.ansatze import HardwareEfficient
        >>> axes = circuit(HardwareEfficient(2, depth=1))
        >>> bool(axes.figure.get_size_inches()[0] > 2)
        True
    """
    if not callable(ansatz) or not hasattr(ansatz, "wires") or not hasattr(ansatz, "shape"):
        raise TypeError(
            f"ansatz must have wires and shape and be callable, such as UCCSD. Got {type(ansatz).__name__}."
        )
    most = checks.integer("most", most, minimum=1)
    values = ansatz.init(0) if params is None else checks.array("params", params, tuple(ansatz.shape))
    script = qml.tape.make_qscript(ansatz)(np.asarray(values))
    shown = script.operations[: _cut(script.operations, most)]
    sheet = Sheet(figsize=(4, 3))
    FigureCanvasAgg(sheet)
    wires = list(range(int(ansatz.wires)))
    tape_mpl(
        qml.tape.QuantumScript(shown),
        wire_order=wires,
        show_all_wires=True,
        decimals=decimals,
        style="black_white",
        fig=sheet,
        fontsize=FONT,
    )
    axes = sheet.axes[0]
    # The drawing fills the whole sheet: room for the title is added above it.
    width, height = sheet.get_size_inches()
    sheet.set_figheight(height + HEAD)
    axes.set_position((0, 0, 1, height / (height + HEAD)))
    left = len(script.operations) - len(shown)
    said = f" (the first {len(shown)} of {len(script.operations)} gates)" if left else ""
    axes.set_title(
        _fitted(plain(f"{getattr(ansatz, 'title', type(ansatz).__name__)}{said}"), width),
        loc="left",
        x=0.02,
        fontsize=FONT,
    )
    return axes


def _fitted(text: str, width: float) -> str:
    """A title cut to what stands on one line of `width` inches."""
    return textwrap.shorten(text, max(16, int(width / 0.1)), placeholder=" ...")


def _cut(operations: Any, most: int) -> int:
    """How many operations fit into `most` layers, each drawn across all wires between its own."""
    depth: dict[int, int] = {}
    for count, operation in enumerate(operations):
        wires = [int(w) for w in operation.wires] or [0]
        span = range(min(wires), max(wires) + 1)
        layer = 1 + max(depth.get(w, 0) for w in span)
        if layer > most:
            return count
        depth.update(dict.fromkeys(span, layer))
    return len(operations)
