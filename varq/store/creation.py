"""Making store files: where they may lie, and how one appears whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from varq.store.faults import StoreFull, StoreUnwritable
from varq.store.schema import APPLICATION, LAYOUTS, NEEDS, SCHEMA, statements

__all__ = ["lay_out", "layout", "make", "network", "network_filesystem", "upgrade"]

# Shared memory, which WAL needs, does not reach other machines: https://www.sqlite.org/wal.html
_NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|davfs|fuse(\..*)?|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs\d?|ocfs2|orangefs|panfs|pvfs2"
    r"|smb3|smbfs|vboxsf|virtiofs|wekafs"
)
_ELSEWHERE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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


def network(path: Path) -> str | None:
    """The type of the network file system that `path` is on here; None for a local one."""
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
            lay_out(db)
            # Set before anybody can open the file: the change of mode does not wait for locks.
            db.execute(f"PRAGMA journal_mode = {journal}")
        _publish(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def lay_out(db: sqlite3.Connection) -> None:
    """Makes the tables in an empty file."""
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    _grow(db)


def upgrade(db: sqlite3.Connection) -> None:
    """Brings a file of an older layout to this one, in one transaction; what it holds stays as it is."""
    if layout(db) >= SCHEMA:
        return
    _grow(db)
    with suppress(sqlite3.Error):
        # An older varq looks for the layout's number in the file itself, not in its log.
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def layout(db: sqlite3.Connection) -> int:
    """The number of a file's layout, 0 for an empty file."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _grow(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(layout(db) + 1, SCHEMA + 1):  # read again: another process may have been first
            for statement in statements(LAYOUTS[number]):
                db.execute(statement)
        if layout(db) < SCHEMA:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('needs', ?)", (NEEDS,))
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")


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


def make(path: Path, journal: str) -> None:
    """Makes the file and its folder where they are missing, and makes sure that they can be written.

    Raises:
        StoreUnwritable: if they cannot.
        StoreFull: if there is no room.
    """
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
