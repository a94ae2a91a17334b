"""Studies as a store has them, found by their names: to be looked at, without the specs that made them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from varq import checks, names
from varq.session.opening import DEFAULT_STORE, UNSET, Unset
from varq.store.store import Store, open_store
from varq.study.export import export
from varq.study.placement import ledger
from varq.study.record import StudyRecord, studies
from varq.study.status import Status
from varq.study.study import table_of
from varq.study.table import Table

__all__ = ["StoredStudy", "load"]


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

    def __enter__(self) -> StoredStudy:
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

    def table(self) -> Table:
        """As `Study.table`."""
        return table_of(self._store, self.record)

    def ledger(self) -> Table:
        """As `Study.ledger`."""
        return ledger(self._store, self.record)

    def plot(self, x: str, y: str = "value", **options: Any) -> Any:
        """As `Study.plot`.

        Raises:
            ValueError: for an unknown column.
        """
        return names.find("plot", "study")(self.table(), x, y, fields=self.record.names, **options)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """As `Study.export`.

        Raises:
            ValueError: for a suffix of no known format.
            ModuleNotFoundError: if the format needs the extra `export`.
        """
        return export(self.table(), self.record, Path(path))


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
