"""A study's table as files for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from varq import checks
from varq.study.record import StudyRecord
from varq.study.table import FIXED, Table

__all__ = ["dataset", "export"]

_SUFFIXES = (".csv", ".parquet", ".nc")


def export(table: Table, study: StudyRecord, path: Path) -> Path:
    """Write a table to a file; its suffix names the format.

    Raises:
        ValueError: for a suffix of no known format.
        ModuleNotFoundError: if the format needs the extra `export`.
    """
    kind = checks.choice("the suffix of path", path.suffix.lower(), _SUFFIXES, "Use .csv, .parquet or .nc.")
    if kind == ".csv":
        path.write_text(table.csv(), encoding="utf-8")
    elif kind == ".parquet":
        _parquet(table, path)
    else:
        dataset(table, study).to_netcdf(path, engine="scipy")
    return path


def _parquet(table: Table, path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise checks.missing_extra("pyarrow", "export", "A Parquet file") from error
    columns = {name: _uniform([row[name] for row in table.rows]) for name in table}
    facts = {"unit": table.unit, "study": table.title}
    made = pyarrow.table(columns).replace_schema_metadata(facts)
    pyarrow.parquet.write_table(made, path)


def _uniform(column: list[Any]) -> list[Any]:
    """A column of one kind: as text where it holds several."""
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        return column
    return [None if value is None else str(value) for value in column]


def dataset(table: Table, study: StudyRecord) -> Any:
    """A table as an xarray Dataset: over the axes of the study where its cells fill a grid, else over the cells.

    Raises:
        ModuleNotFoundError: without xarray.
    """
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise checks.missing_extra("xarray", "export", "A Dataset") from error
    places = _grid(table, study)
    coordinates: Mapping[str, Any]
    if places is None:
        dims: tuple[str, ...] = ("cell",)
        coordinates = {name: (dims, _flat(table, name)) for name in study.names}
        shape: tuple[int, ...] = (table.height,)
    else:
        dims, shape = tuple(places), tuple(len(values) for values in places.values())
        coordinates = {name: np.asarray(values) for name, values in places.items()}
    data = {name: (dims, _flat(table, name).reshape(shape)) for name in FIXED if name in table}
    return xarray.Dataset(data, coordinates, {"unit": table.unit, "study": table.title})


def _flat(table: Table, name: str) -> Any:
    column = table[name]
    return column if isinstance(column, np.ndarray) else np.array(["" if v is None else str(v) for v in column])


def _grid(table: Table, study: StudyRecord) -> dict[str, list[Any]] | None:
    """The values along each axis, if the cells are all their combinations in order; None otherwise."""
    axes = {name: list(dict.fromkeys(row[k] for row in study.rows)) for k, name in enumerate(study.names)}
    if not axes or int(np.prod([len(values) for values in axes.values()])) != table.height:
        return None
    index = np.indices([len(values) for values in axes.values()]).reshape(len(axes), -1)
    columns = list(zip(*study.rows, strict=True))
    told = [[values[k] for k in places] for values, places in zip(axes.values(), index, strict=True)]
    return axes if all(list(c) == t for c, t in zip(columns, told, strict=True)) else None
