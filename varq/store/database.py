"""One store file: made whole or not at all, opened only if it is sound, written in short transactions."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from varq.store.faults import StoreCorrupt, StoreError, StoreFull, StoreUnwritable, guarded
from varq.store.inspection import inspect, uri
from varq.store.schema import APPLICATION, NEEDS, SCHEMA, SQL

__all__ = ["Database", "network_filesystem"]

# Shared memory, which WAL needs, does not reach other machines: https://www.sqlite.org/wal.html
_NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|davfs|fuse(\..*)?|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs\d?|ocfs2|orangefs|panfs|pvfs2"
    r"|smb3|smbfs|vboxsf|virtiofs|wekafs"
)
_ELSEWHERE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STATEMENTS = 256  # prepared statements kept by a connection
_FETCHED = 64  # rows read at a time where there may be many


def network_filesystem(path: Path, mounts: str) -> str | None:
    """The type of the network file system that `path` is on, None for a local one.

    Args:
        path: an absolute path.
        mounts: the text of /proc/mounts.

    Example:
        >>> network_filesystem(Path("/home/ada/runs"), "/dev/sda / ext4 rw 0 0\\nsrv:/home /home nfs4 rw 0 0\\n")
        'nfs4'
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), parts[1]))
        # A later mount on the same point hides the earlier one.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), parts[2]
    return kind if _NETWORK.fullmatch(kind) else None


def _network(path: Path) -> str | None:
    try:
        mounts = Path("/proc/mounts").read_text(errors="replace")
    except OSError:
        return None  # not Linux
    return network_filesystem(path.resolve(), mounts)


def _build(path: Path, journal: str) -> None:
    """Lays out a new file under a temporary name and gives it `path` in one move: nobody sees half a file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = MEMORY")
            _lay_out(db)
            # Set before anybody can open the file: the change of mode does not wait for locks.
            db.execute(f"PRAGMA journal_mode = {journal}")
        _publish(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _lay_out(db: sqlite3.Connection) -> None:
    db.executescript(
        f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; BEGIN; {SQL}"
        f"INSERT INTO meta VALUES ('needs', '{NEEDS}'); COMMIT;"
    )


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first
    except OSError as error:
        if error.errno in _ELSEWHERE or path.exists():
            raise
        draft.rename(path)  # a file system without hard links
    with suppress(OSError):  # a file system that cannot sync folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _close(db: sqlite3.Connection, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's connection alone
        db.close()


class Database:
    """One SQLite file (or memory), usable from several threads: one connection, one lock.

    Args:
        path: the file; None for memory.
        writable: whether to write; a file that is missing is made.
        timeout: seconds to wait for another process's lock.

    Raises:
        StoreError: of the kind that fits, if the file cannot be used.
    """

    def __init__(self, path: Path | None, writable: bool, timeout: float) -> None:
        self.path = path
        self.writable = writable
        self.timeout = timeout
        self.lock = threading.RLock()
        self._damaged = False
        self._node: tuple[int, int] | None = None
        self._owner = os.getpid()
        with guarded(path, timeout):
            self._db = self._open()
        self._closer = weakref.finalize(self, _close, self._db, self._owner)

    @property
    def name(self) -> str | None:
        """The file's path as text."""
        return None if self.path is None else str(self.path)

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            db = self._connect(":memory:", False)
            _lay_out(db)
            return db
        if self.writable:
            self._make(self.path, "delete" if _network(self.path) else "wal")
        inspect(self.path)
        if not self.writable:
            return self._for_reading(self.path)
        stat = os.stat(self.path)
        self._node = (stat.st_dev, stat.st_ino)
        db = self._connect(uri(self.path, "mode=rw"), True)
        try:
            self._journal(db, self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self, address: str, is_uri: bool) -> sqlite3.Connection:
        return sqlite3.connect(
            address,
            uri=is_uri,
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )

    @staticmethod
    def _make(path: Path, journal: str) -> None:
        try:
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                path.parent.mkdir(mode=0o700)
            if not path.exists():
                _build(path, journal)
            if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
                raise PermissionError(errno.EACCES, "not writable by this user, or on a read-only file system")
        except OSError as error:
            if error.errno in _ELSEWHERE:
                raise StoreFull(
                    f"The store file {path} cannot be made: {error}. Make room, or name another folder."
                ) from error
            raise StoreUnwritable(
                f"A store needs a folder that can be written. {path.parent} is not: {error}. "
                "Name another folder as the store, or None to keep the run in memory."
            ) from error

    def _for_reading(self, path: Path) -> sqlite3.Connection:
        db = self._connect(uri(path, "mode=ro"), True)
        try:
            db.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            db.close()
            log = path.with_name(path.name + "-wal")
            refused = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not refused or (log.exists() and log.stat().st_size):
                raise
            # A folder that nobody can write: without its shared memory a WAL file is readable only as unchanging.
            return self._connect(uri(path, "mode=ro&immutable=1"), True)
        return db

    def _journal(self, db: sqlite3.Connection, path: Path) -> None:
        kind = _network(path)
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

    def _connection(self) -> sqlite3.Connection:
        if self._owner != os.getpid() and self.path is not None:
            # SQLite connections must not cross a fork: https://www.sqlite.org/howtocorrupt.html (2.6)
            self._closer.detach()
            self.lock, self._owner, self._parents = threading.RLock(), os.getpid(), self._db
            self._db = self._open()
            self._closer = weakref.finalize(self, _close, self._db, self._owner)
        if not self._closer.alive:
            raise StoreError("This store is closed. Open it again with open_store(path).")
        return self._db

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with guarded(self.path, self.timeout):
            try:
                yield
            except sqlite3.DatabaseError as error:
                self._damaged |= error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
                raise

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._guarded():
            db = self._connection()
            with self.lock:
                return db.execute(sql, parameters).fetchall()

    def each(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, a few at a time; the file may be written in between."""
        with self._guarded():
            with self.lock:
                cursor = self._connection().execute(sql, parameters)
            while True:
                with self.lock:
                    rows = cursor.fetchmany(_FETCHED)
                if not rows:
                    return
                yield from rows

    @contextmanager
    def write(self, paid: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is written, or nothing.

        Args:
            paid: whether what is written cost money: then it is on the disk, not only with the operating system,
                before this returns.

        Raises:
            StoreError: of the kind that fits; nothing was written then.
        """
        if not self.writable:
            raise StoreUnwritable(f"The store {self.path} was opened for reading. Open it without read_only=True.")
        if self._damaged:
            # Whatever page is written next might be lost with the damaged ones.
            raise StoreCorrupt(
                f"A damaged store file is not written to. {self.path} was found damaged before, in this process. "
                "Copy it away, and see with `varq verify` what is wrong."
            )
        with self._guarded():
            db = self._connection()
            self._still_there()
            with self.lock, self._transaction(db, paid):
                yield db

    def _still_there(self) -> None:
        """What is written to a file that was deleted is lost without a word; this says it."""
        if self.path is None:
            return
        try:
            stat = os.stat(self.path)
            node = (stat.st_dev, stat.st_ino)
        except OSError:
            node = None
        if node != self._node:
            raise StoreError(
                f"A store file stays in its place while it is open. {self.path} was removed or replaced, so nothing "
                "can be recorded in it. Put it back or open the store again, then resume the run."
            )

    @contextmanager
    def _transaction(self, db: sqlite3.Connection, paid: bool) -> Iterator[None]:
        if paid:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")  # macOS: past the drive's own cache; no effect elsewhere
        try:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            raise
        finally:
            if paid:
                with suppress(sqlite3.Error):
                    db.execute("PRAGMA fullfsync = OFF")
                    db.execute("PRAGMA synchronous = NORMAL")

    def vacuum(self) -> None:
        """Gives freed space back to the disk."""
        with self._guarded(), self.lock:
            self._connection().execute("VACUUM")

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self.lock:
            self._closer()
