"""What a run came to, as text and HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np

from varq import checks, names
from varq.display.words import deviation, duration
from varq.plots.units import difference, scale, value_text
from varq.protocol import Record, Result

__all__ = ["deviation_text", "result_html", "result_text", "run_html", "table_html"]


def deviation_text(result: Result) -> str:
    """The deviation of a result from the exact answer, with what it means for an energy; "" where it is not known.

    Example:
        >>> from varq.protocol import Reason
        >>> done = Result("1f2e", "H2", -1.1370, None, -1.1373, Reason.STEPS, None, 9, 9, 0.1, "Ha", "default.qubit")
        >>> deviation_text(done)
        '+0.300 mHa, within chemical accuracy'
    """
    text = deviation(result.value, result.reference, result.unit)
    accuracy = scale(result.unit).accuracy
    if not text or accuracy is None or result.value is None or result.reference is None:
        return text
    within = abs(difference(result.value, result.reference, result.unit)) <= accuracy
    return f"{text}, {'within' if within else 'not within'} chemical accuracy"


def _rows(result: Result) -> list[tuple[str, str]]:
    ended = result.reason.value + (f": {result.message}" if result.message else "")
    replay = {"exact": "exact", "approximate": f"approximate, off by {result.replay_difference:.1e}"}
    rows = [
        ("value", value_text(result.value, result.stderr, result.unit)),
        ("exact", value_text(result.reference, None, result.unit) if result.reference is not None else ""),
        ("deviation", deviation_text(result)),
        ("ended", ended),
        ("steps", f"{result.steps:,}"),
        ("circuits", f"{result.executions:,}"),
        ("time", duration(result.seconds)),
        ("device", result.device),
        ("replay", replay.get(result.replay or "", "")),
        ("run", result.run_id),
    ]
    return [(name, text) for name, text in rows if text]


def result_text(result: Result) -> str:
    """A result as lines of text.

    Raises:
        TypeError: if `result` is none.

    Example:
        >>> from varq.protocol import Reason
        >>> done = Result("1f2e", "H2", -1.1372, 0.0012, None, Reason.STEPS, None, 9, 90, 0.1, "Ha", "default.qubit")
        >>> print(result_text(done))
        H2
          value     -1.1372(12) Ha
          ended     steps
          steps     9
          circuits  90
          time      0.1 s
          device    default.qubit
          run       1f2e
    """
    checks.instance("result", result, Result)
    return "\n".join([result.title, *(f"  {name:<9} {text}" for name, text in _rows(result))])


def result_html(result: Result) -> str:
    """A result as a small table of HTML.

    Raises:
        TypeError: if `result` is none.
    """
    checks.instance("result", result, Result)
    return table_html(result.title, _rows(result))


def table_html(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Named lines under a title."""
    left = "text-align:left;font-weight:normal;opacity:0.7;padding:1px 1em 1px 0"
    right = "text-align:left;padding:1px 0;font-variant-numeric:tabular-nums"
    body = "".join(
        f'<tr><th scope="row" style="{left}">{html.escape(name)}</th><td style="{right}">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    caption = f'<caption style="text-align:left;font-weight:bold;caption-side:top">{html.escape(title)}</caption>'
    return f"<table>{caption}<tbody>{body}</tbody></table>"


def run_html(record: Record) -> str:
    """A run as HTML: the table of its result, or of how far it is, and the figure that fits it.

    Raises:
        TypeError: if `record` is no record.
    """
    checks.instance("record", record, Record, "Use run.record().")
    if record.result is not None:
        table = result_html(record.result)
    else:
        values = record.history["value"]
        known = values[np.isfinite(values)]
        value = float(known[-1]) if len(known) else None
        rows = [
            ("value", value_text(value, None, record.unit)),
            ("exact", value_text(record.reference, None, record.unit) if record.reference is not None else ""),
            ("deviation", deviation(value, record.reference, record.unit)),
            ("steps", f"{len(values):,}, and going on"),
            ("run", record.id),
        ]
        table = table_html(record.title, [row for row in rows if row[1]])
    details = {} if record.result is None else record.result.details
    kind = "posterior" if "density" in details else "histogram" if "frequencies" in details else "convergence"
    axes = names.find("plot", kind)(record)
    picture = io.BytesIO()
    axes.figure.savefig(picture, format="png", dpi=200)
    width = round(100 * axes.figure.get_figwidth())
    data = base64.b64encode(picture.getvalue()).decode()
    alternative = html.escape(f"{axes.get_ylabel()} of {record.title}", quote=True)
    return f'<div>{table}<img width="{width}" alt="{alternative}" src="data:image/png;base64,{data}"></div>'
