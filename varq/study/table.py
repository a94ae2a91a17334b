"""A study as columns."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks

__all__ = ["FIXED", "Table"]

FIXED = ("value", "stderr", "reference", "deviation", "state", "steps", "seconds", "run", "note")
"""The columns that every table has, after those of the cells' own values."""

_NUMBERS = ("value", "stderr", "reference", "deviation", "seconds")
_SHOWN = 20  # rows of a table that is too long to be shown whole


class Table(Mapping[str, Any]):
    """The cells of a study, one row each, as columns by name.

    A column of numbers is a NumPy array, float64, NaN where there is none; any other is a list.  Energies are in the
    unit of the runs (`unit`), times in seconds.

    Args:
        columns: by name, equally long.
        unit: of the values.
        title: the study's name.

    Example:
        >>> table = Table({"seed": [0, 1], "value": [-1.1, None]}, "Ha", "demo")
        >>> table["value"]
        array([-1.1,  nan])
        >>> print(table)
        seed  value
        0     -1.1
        1
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], unit: str = "", title: str = "") -> None:
        self._columns = {name: list(column) for name, column in columns.items()}
        self.unit = unit
        self.title = title

    def __getitem__(self, name: str) -> list[Any] | NDArray[Any]:
        if name not in self._columns:
            near = checks.close_names(name, self._columns)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise KeyError(f"The table has no column {name!r}.{meant} Columns: {', '.join(self._columns)}.")
        column = self._columns[name]
        numbers = all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in column)
        if name in _NUMBERS or (numbers and any(isinstance(v, float) for v in column)):
            return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        if numbers and column and all(value is not None for value in column):
            return np.array(column, dtype=np.int64)
        return list(column)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """How many columns; `rows` has the rows."""
        return len(self._columns)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, as they are: None where there is nothing."""
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*self._columns.values(), strict=True)]

    @property
    def height(self) -> int:
        """How many rows."""
        return len(next(iter(self._columns.values()), []))

    def csv(self) -> str:
        """The table as text for other programs: numbers with all digits, nothing where there is none."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self._columns)
        for row in zip(*self._columns.values(), strict=True):
            writer.writerow(
                ["" if value is None else repr(value) if isinstance(value, float) else value for value in row]
            )
        return out.getvalue()

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        names = [n for n in self._columns if n not in FIXED or any(v not in (None, "") for v in self._columns[n])]
        rows = [[_text(name, self._columns[name][k]) for name in names] for k in range(min(self.height, _SHOWN))]
        return names, rows

    def __repr__(self) -> str:
        names, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (names, *rows)]
        left = self.height - len(rows)
        return "\n".join([*lines, f"and {checks.counted(left, 'row')} more"] if left else lines)

    def _repr_html_(self) -> str:
        names, rows = self._cells()

        def line(tag: str, texts: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in texts)}</tr>"

        left = self.height - len(rows)
        more = f"<caption style='caption-side:bottom'>and {checks.counted(left, 'row')} more</caption>" if left else ""
        body = "".join(line("td", row) for row in rows)
        return f"<table>{more}<thead>{line('th', names)}</thead><tbody>{body}</tbody></table>"


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "run":
        return str(value)[:8]
    if isinstance(value, float):
        return f"{value:.10g}" if name in ("value", "reference") else f"{value:.4g}"
    return str(value)
