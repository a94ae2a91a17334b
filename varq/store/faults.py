"""What can go wrong with a store: one error for each kind of fault, and how SQLite's errors become them."""

# ruff: noqa: N818 - each name says what is the matter with the store; that it is an error, their base says

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = [
    "ConflictError",
    "OwnedError",
    "StoreCorrupt",
    "StoreError",
    "StoreForeign",
    "StoreFull",
    "StoreLocked",
    "StoreMissing",
    "StoreNewer",
    "StoreUnwritable",
    "explained",
]


class StoreError(RuntimeError):
    """A store cannot do what was asked; the message says the rule, what came, and what to do."""


class StoreUnwritable(StoreError):
    """The folder or a file of the store cannot be created or written."""


class StoreFull(StoreError):
    """The disk is full, or a quota or size limit is reached.  What was written before is kept."""


class StoreLocked(StoreError):
    """Another process held the file's write lock for longer than the timeout."""


class StoreCorrupt(StoreError):
    """A file of the store is damaged.  varq leaves it as it is."""


class StoreForeign(StoreError):
    """A file in the store's folder was not written by varq.  varq leaves it as it is."""


class StoreNewer(StoreError):
    """A file of the store was written by a newer varq, in a layout this one does not know."""


class StoreMissing(StoreError, LookupError):
    """A run or an array that is asked of a store, or written about, is not there."""


class ConflictError(StoreError):
    """Two records of one thing differ; the message shows both.  Nothing was written."""


class OwnedError(StoreError):
    """A run is owned by somebody else."""


_RULES: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreLocked,
        "was locked by another process for longer than {timeout:g} s. Nothing was written. "
        "Try again when that process has finished, or open the store with a longer timeout=.",
    ),
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "could not grow: the disk is full. What was written before is kept. Make room, then resume the run.",
    ),
    sqlite3.SQLITE_TOOBIG: (
        StoreError,
        "cannot hold a text or array of more than 10^9 bytes. Nothing was written. Keep such data outside the spec.",
    ),
}
_RULES[sqlite3.SQLITE_LOCKED] = _RULES[sqlite3.SQLITE_BUSY]
for _code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
    _RULES[_code] = (
        StoreUnwritable,
        "cannot be opened or written here. Nothing was changed. "
        "Check the permissions of the file and its folder, or name another folder as the store.",
    )
for _code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
    _RULES[_code] = (
        StoreCorrupt,
        "is damaged; varq leaves it as it is. Copy it away, restore it from a backup, or recover what is readable "
        "with `sqlite3 FILE .recover | sqlite3 NEW.sqlite`, and merge that.",
    )

_WRITING = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE}
_PRIMARY = 0xFF  # the low byte of an extended result code, https://www.sqlite.org/rescode.html


def explained(error: sqlite3.Error, path: Path | None, timeout: float) -> StoreError:
    """The error to raise for SQLite's `error` on the file `path`, opened with a `timeout` in seconds."""
    where = f"The store file {path}" if path is not None else "The store in memory"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    said = f" (SQLite: {error})"
    if code in _WRITING:
        rule = "could not be written: the disk is full, over a quota or size limit, or failing. Make room, then resume."
        return StoreFull(f"{where} {rule}{said}")
    if code & _PRIMARY == sqlite3.SQLITE_ERROR and str(error).startswith("no such table"):
        code = sqlite3.SQLITE_CORRUPT
    kind, rule = _RULES.get(code & _PRIMARY, (StoreError, "failed. Run `varq verify` to see whether it is sound."))
    return kind(f"{where} {rule.format(timeout=timeout)}{said}")
