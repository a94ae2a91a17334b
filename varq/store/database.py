"""One store file: made whole or not at all, opened only if it is sound, written in short transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from varq.store.creation import lay_out, layout, make, network, upgrade
from varq.store.faults import StoreCorrupt, StoreError, StoreUnwritable, explained
from varq.store.held import Node, hold, node, release
from varq.store.inspection import inspect, newer, uri
from varq.store.schema import SCHEMA

__all__ = ["Database"]

_STATEMENTS = 256  # prepared statements kept by a connection
_FETCHED = 64  # rows read at a time where there may be many
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REFUSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def _looks(path: Path) -> tuple[int, int]:
    """What changes when a file is written."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _close(db: sqlite3.Connection, owner: int, held: Node | None) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's connection alone
        db.close()
        release(held)


class Database:
    """One SQLite file (or memory), usable from several threads: one connection, one lock.

    Args:
        path: the file; None for memory.
        writable: whether to write; a file that is missing is made.
        timeout: seconds to wait for another process's lock.
        opened: is told each time that the file was opened: at first, and after `rest`.

    Raises:
        StoreError: of the kind that fits, if the file cannot be used.
    """

    def __init__(
        self, path: Path | None, writable: bool, timeout: float, opened: Callable[[Database], None] | None = None
    ) -> None:
        self.path = path
        self.writable = writable
        self.timeout = timeout
        self.lock = threading.RLock()
        self._damaged = False
        self._layout = 0
        self._node: Node | None = None
        self._unchanging: tuple[int, int] | None = None
        self._owner = os.getpid()
        self._opened = opened
        self._readers = 0  # queries of which rows are still to come
        self._resting = False
        self._begin()

    @property
    def name(self) -> str | None:
        """The file's path as text."""
        return None if self.path is None else str(self.path)

    def _begin(self) -> None:
        self._db = self._open()
        self._closer = weakref.finalize(self, _close, self._db, self._owner, self._node)
        self._resting = False
        if self._opened is not None:
            self._opened(self)

    def rest(self) -> bool:
        """Close a file that is only read until somebody reads it again; whether that could be done just now."""
        if self.writable or self.path is None or not self.lock.acquire(blocking=False):
            return False
        try:
            if self._readers or not self._closer.alive:
                return False
            self._closer()
            self._resting = True
            return True
        finally:
            self.lock.release()

    def _open(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = None
        try:
            if self.path is None:
                db = self._connect(":memory:", False)
                lay_out(db)
            elif self.writable:
                make(self.path, "delete" if network(self.path) else "wal")
                self._node = hold(self.path, inspect)
                db = self._connect(uri(self.path, "mode=rw"), True)
                self._refuse_newer(db, self.path)
                self._journal(db, self.path)
                upgrade(db)
            else:
                self._node = hold(self.path, inspect)
                db = self._for_reading(self.path)
                self._refuse_newer(db, self.path)
        except BaseException as error:
            if db is not None:
                db.close()
            release(self._node)
            if isinstance(error, sqlite3.Error):
                raise self._fault(error) from error
            raise
        return db

    def _refuse_newer(self, db: sqlite3.Connection, path: Path) -> None:
        """A file's first page says its layout only once the log that may hold another was copied into it."""
        version = layout(db)
        if version > SCHEMA:
            raise newer(path, version, db)

    @property
    def layout(self) -> int:
        """The number of the file's layout: an older one lacks the tables that came later.

        It is read each time until it is this varq's, since the host that writes the file may bring it up to date.
        """
        if self._layout < SCHEMA:
            self._layout = int(self.read("PRAGMA user_version")[0][0])
        return self._layout

    def _connect(self, address: str, is_uri: bool) -> sqlite3.Connection:
        return sqlite3.connect(
            address,
            uri=is_uri,
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )

    def _for_reading(self, path: Path) -> sqlite3.Connection:
        db = self._connect(uri(path, "mode=ro"), True)
        try:
            db.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            db.close()
            log = path.with_name(path.name + "-wal")
            if error.sqlite_errorcode & 0xFF not in _REFUSED or (log.exists() and log.stat().st_size):
                raise
            if os.access(path.parent, os.W_OK):
                raise
            # A folder that is not ours: without its shared memory a WAL file is readable only as unchanging.
            self._unchanging = _looks(path)
            return self._connect(uri(path, "mode=ro&immutable=1"), True)
        return db

    def _journal(self, db: sqlite3.Connection, path: Path) -> None:
        kind = network(path)
        want = "wal" if kind is None else "delete"
        got = db.execute(f"PRAGMA journal_mode = {want}").fetchone()[0]
        if kind is not None or got != want:
            why = f"is on a network file system ({kind})" if kind else "is where SQLite has no shared memory"
            warnings.warn(
                f"The store {path.parent} {why}: each step takes several milliseconds to record. "
                "A store on a local disk is faster; `varq merge` joins stores later.",
                stacklevel=2,
            )
        db.execute("PRAGMA synchronous = NORMAL")

    def _after_fork(self) -> None:
        """To be called before the lock is taken: after a fork there is another one."""
        if self._owner != os.getpid() and self.path is not None:
            # SQLite connections must not cross a fork: https://www.sqlite.org/howtocorrupt.html (2.6)
            self._closer.detach()
            self.lock, self._owner, self._parents = threading.RLock(), os.getpid(), self._db
            self._begin()

    def _connection(self) -> sqlite3.Connection:
        self._after_fork()
        if self._resting:
            self._begin()
        if not self._closer.alive:
            raise StoreError("This store is closed. Open it again with open_store(path).")
        if self._unchanging is not None and self.path is not None and _looks(self.path) != self._unchanging:
            self._closer()
            self._unchanging = None
            self._begin()
        return self._db

    def _fault(self, error: sqlite3.Error) -> StoreError:
        """What to raise for SQLite's error."""
        self._damaged |= getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE
        return explained(error, self.path, self.timeout)

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        self._after_fork()
        try:
            with self.lock:
                return self._connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def each(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, a few at a time; the file may be written in between."""
        self._after_fork()
        with self.lock:
            db = self._connection()
            self._readers += 1
        try:
            with self.lock:
                cursor = db.execute(sql, parameters)
            while True:
                with self.lock:
                    rows = cursor.fetchmany(_FETCHED)
                if not rows:
                    return
                yield from rows
        except sqlite3.Error as error:
            raise self._fault(error) from error
        finally:
            with self.lock:
                self._readers -= 1

    @contextmanager
    def write(self, paid: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is written, or nothing.

        Args:
            paid: whether what is written cost money: then it is on the disk, not only with the operating system,
                before this returns.

        Raises:
            StoreError: of the kind that fits; nothing was written then.
        """
        db = self._connection()
        self._check_writable()
        with self.lock:
            try:
                if paid:
                    db.execute("PRAGMA synchronous = FULL")
                    db.execute("PRAGMA fullfsync = ON")  # macOS: past the drive's own cache; no effect elsewhere
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._fault(error) from error
            finally:
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                if paid:
                    with suppress(sqlite3.Error):
                        db.execute("PRAGMA fullfsync = OFF")
                        db.execute("PRAGMA synchronous = NORMAL")

    def _check_writable(self) -> None:
        if not self.writable:
            raise StoreUnwritable(f"The store {self.path} was opened for reading. Open it without read_only=True.")
        if self._damaged:
            # Whatever page is written next might be lost with the damaged ones.
            raise StoreCorrupt(
                f"A damaged store file is not written to. {self.path} was found damaged before, in this process. "
                "Copy it away, and see with `varq verify` what is wrong."
            )
        if self.path is not None and node(self.path) != self._node:
            # What is written to a file that was deleted is lost without a word.
            raise StoreError(
                f"A store file stays in its place while it is open. {self.path} was removed or replaced, so nothing "
                "can be recorded in it. Put it back or open the store again, then resume the run."
            )

    def vacuum(self) -> None:
        """Gives freed space back to the disk."""
        db = self._connection()
        try:
            with self.lock:
                db.execute("VACUUM")
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self.lock:
            self._resting = False
            self._closer()
