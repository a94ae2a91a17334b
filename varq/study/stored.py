"""Studies as a store has them, found by their names: to be looked at, without the specs that made them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, Self

from varq import checks, names
from varq.session.opening import DEFAULT_STORE, UNSET, Unset
from varq.store.records import STARTED_FROM
from varq.store.store import Store, open_store
from varq.study.export import export
from varq.study.placement import ledger
from varq.study.record import StudyRecord, state_of, studies
from varq.study.status import Status
from varq.study.table import Table
from varq.study.work import State

__all__ = ["StoredStudy", "load", "table_of"]


class StoredStudy:
    """A study to be looked at; made by `varq.study.load`.  `varq.sweep` with the same cells and name carries it on.

    Args:
        store: where it is.
        record: what that has of it.
        owns: whether to close the store with it.
    """

    def __init__(self, store: Store, record: StudyRecord, owns: bool) -> None:
        self._store, self._owns = store, owns
        self.record = record
        self.name = record.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store, if it was opened for this."""
        if self._owns:
            self._store.close()

    def __len__(self) -> int:
        return len(self.record.runs)

    def __repr__(self) -> str:
        return f"<varq study {self.status()}>"

    @property
    def store(self) -> Store:
        """Where its runs are."""
        return self._store

    def status(self) -> Status:
        """How many cells are missing, unfinished, done and failed, by what is recorded."""
        return Status(self.name, Counter(self.table()["state"]))

    def ledger(self) -> Table:
        """Where each cell ran, by what executor and which worker, when, with which versions, made from the store alone.

        One row for each time that a cell was given to a worker.
        """
        return ledger(self._store, self.record)

    def table(self) -> Table:
        """All cells, one row each, made from the store alone: their values, results and what went wrong."""
        return table_of(self._store, self.record)

    def plot(self, x: str, y: str = "value", **options: Any) -> Any:
        """A curve of a column over a swept field, one line for each value of the others; or a heat map over two fields.

        Args:
            x: a field that is swept over.
            y: a column of the table for a curve; another swept field for a heat map.
            options: of `varq.plots.study`: `color`, the column that a heat map shows; `ax`.

        Returns:
            The matplotlib Axes.

        Raises:
            ValueError: for an unknown column.
        """
        return names.find("plot", "study")(self.table(), x, y, fields=self.record.names, **options)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the table to a file: .csv; with the extra `export` also .parquet, and .nc (xarray, over the axes).

        Raises:
            ValueError: for another suffix.
            ModuleNotFoundError: if the extra is not installed; says how to install it.
        """
        return export(self.table(), self.record, Path(path))


def table_of(store: Store, study: StudyRecord) -> Table:
    """The table of a study, from what a store has of it."""
    found: dict[str, dict[str, Any]] = {}
    unit = ""
    for record in store.several(list(dict.fromkeys(study.runs))):
        data = {} if record.result is None else json.loads(record.result)
        unit = data.get("unit") or unit
        state = state_of(record)
        started = data.get("details", {}).get(STARTED_FROM)
        note = data.get("message", "") if state is State.FAILED else ""
        away = None if None in (record.value, record.reference) else record.value - record.reference  # type: ignore[operator]
        found[record.id] = {
            "value": record.value,
            "stderr": record.stderr,
            "reference": record.reference,
            "deviation": away,
            "state": state.value,
            "steps": record.steps,
            "seconds": record.seconds,
            "note": note or (f"started from {started}" if started and started.startswith("its default") else ""),
        }
    empty = {"state": State.MISSING.value, "steps": 0, "seconds": 0.0, "note": ""}
    columns: dict[str, list[Any]] = {name: [row[k] for row in study.rows] for k, name in enumerate(study.names)}
    for name in ("value", "stderr", "reference", "deviation", "state", "steps", "seconds"):
        columns[name] = [found.get(run, empty).get(name) for run in study.runs]
    columns["run"] = list(study.runs)
    columns["note"] = [found.get(run, empty)["note"] for run in study.runs]
    return Table(columns, unit, study.name)


def load(name: str, *, store: str | os.PathLike[str] | Store | Unset = UNSET) -> StoredStudy:
    """A study by its name, read from a store alone: its table, figure, ledger and export.

    Args:
        name: of the study.
        store: folder of the store, which is only read, or an open one; by default "varq-runs" here.

    Raises:
        LookupError: if the store has none of that name; lists close ones.
        StoreError: if there is no store.

    Example:
        >>> from varq.problems import Molecule
        >>> from varq.algorithms import VQE
        >>> from varq.study import sweep
        >>> with open_store(None) as kept:
        ...     task = VQE(problem=Molecule.load("H2"), optimizer="L-BFGS-B")
        ...     status = sweep(task, {"seed": [1]}, name="one", store=kept, progress=False).finish()
        ...     print(load("one", store=kept).status())
        one: 1 of 1 cell done
    """
    checks.text("name", name)
    owns = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else open_store(_folder(store), read_only=True)
    try:
        known = {record.name: record for record in studies(opened)}
        if name not in known:
            near = checks.close_names(name, known)
            meant = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(known) or 'none'}."
            raise LookupError(f"There is no study {name!r} in the store. {meant} varq.sweep(..., name=...) makes one.")
    except BaseException:
        if owns:
            opened.close()
        raise
    return StoredStudy(opened, known[name], owns)


def _folder(store: Any) -> Any:
    return DEFAULT_STORE if isinstance(store, Unset) else store
