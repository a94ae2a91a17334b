"""What the commands print: tables and named lines, colored and fitted on a terminal, plain and whole in a pipe."""

from __future__ import annotations

import codecs
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from varq import spec
from varq.display.results import result_text
from varq.protocol import Result

__all__ = ["lines", "note", "print_json", "result_block", "say", "table", "when"]

LABEL = 9  # width of the names of named lines, as in the text of a result
_GAP, _NARROWEST = "  ", 12  # between columns of a table; of the column that gives way
_STYLES = ("green", "red", "yellow", "dim")


def _console(err: bool = False) -> Console:
    """Words are kept whole on a terminal; in a pipe a line is a line, however long."""
    console = Console(stderr=err, highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


def say(message: str = "", style: str = "") -> None:
    """A line on standard output."""
    _console().print(Text(message, style=style))


def note(message: str) -> None:
    """A line for the person, on standard error: never part of the output that another program reads."""
    _console(err=True).print(Text(message))


def lines(named: Iterable[tuple[str, str]], width: int = LABEL) -> None:
    """Lines with a name in front; a style may stand before the text as "green|text"."""
    console = _console()
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=width, no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in named:
        style, bar, rest = text.partition("|")
        styled = Text(rest, style=style) if bar and style in _STYLES else Text(text)
        grid.add_row(Text(name), styled)
        if not console.is_terminal:
            print(f"  {name:<{width}} {styled.plain}".rstrip())
    if console.is_terminal:
        console.print(Padding(grid, (0, 0, 0, 2)))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), wide: Sequence[int] = ()
) -> None:
    """An aligned table: on a terminal the columns `wide` are cut to what fits, in a pipe everything is whole.

    Args:
        headers: of the columns.
        rows: their cells.
        right: columns that are aligned to the right.
        wide: columns that give way on a narrow terminal, the widest first.
    """
    console = _console()
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - console.width
    while wide and console.is_terminal and excess > 0:
        widest = max(wide, key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest], excess = widths[widest] - 1, excess - 1
    for number, row in enumerate([headers, *rows]):
        cells = [_fitted(cell, width, i in right) for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        console.print(Text(_GAP.join(cells).rstrip(), style="" if number else "bold"))


def _fitted(cell: str, width: int, right: bool) -> str:
    shown = cell if len(cell) <= width else cell[: width - 1] + "…"
    return shown.rjust(width) if right else shown.ljust(width)


def print_json(data: Any, file: TextIO | None = None) -> None:
    """JSON on standard output or in a file; numbers that JSON lacks become null."""
    out = sys.stdout if file is None else file
    plain = codecs.lookup(getattr(out, "encoding", None) or "utf-8").name != "utf-8"
    out.write(json.dumps(_jsonable(data), indent=2, ensure_ascii=plain, allow_nan=False) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, complex):
        return [_jsonable(value.real), _jsonable(value.imag)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return spec.encode(value) if spec.is_spec(value) else str(value)


def when(seconds: float) -> str:
    """A moment in local time."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def result_block(result: Result) -> None:
    """A result in named lines, with those of its details that fit on one."""
    title, *rows = result_text(result).splitlines()
    say(title, "bold")
    for row in rows:
        say(row)
    lines([(name, _short(value)) for name, value in result.details.items() if _short(value)])


def _short(value: Any) -> str:
    """A detail that fits on a line; "" for what does not."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    if isinstance(value, (bool, int, str)):
        return str(value)
    if isinstance(value, (list, tuple, np.ndarray)) and 0 < np.size(value) <= 4:
        return ", ".join(_short(v) for v in np.ravel(np.asarray(value, dtype=object)))
    return ""
