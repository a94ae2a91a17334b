"""What the commands print: tables and named lines, colored and fitted on a terminal, plain and whole in a pipe."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from varq import spec
from varq.display import result_text
from varq.protocol import Result

__all__ = ["lines", "note", "print_json", "result_block", "say", "table", "when"]

LABEL = 9  # width of the names of named lines, as in the text of a result
_STYLES = ("green", "red", "yellow", "dim")


def _console(err: bool = False) -> Console:
    return Console(stderr=err, highlight=False, soft_wrap=True)


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
        console.print(Padding(grid, (0, 0, 0, 2)), soft_wrap=False)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), wide: int = -1) -> None:
    """A table: fitted to a terminal, by cutting column `wide`; in a pipe aligned, whole, without lines or colors."""
    console = _console()
    if not console.is_terminal:
        _plain([headers, *rows], right)
        return
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for i, header in enumerate(headers):
        if i == wide:
            grid.add_column(header, no_wrap=True, overflow="ellipsis", ratio=1)
        else:
            grid.add_column(header, justify="right" if i in right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console.print(grid, soft_wrap=False)


def _plain(rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def print_json(data: Any, file: TextIO | None = None) -> None:
    """JSON on standard output or in a file; numbers that JSON lacks become null."""
    out = sys.stdout if file is None else file
    out.write(json.dumps(_jsonable(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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
