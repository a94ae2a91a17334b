"""Looking at a store file's bytes before SQLite touches it: what is not varq's, or is damaged, is never opened.

Layouts: https://www.sqlite.org/fileformat2.html (database header, section 1.3; write-ahead log, section 4).
"""

from __future__ import annotations

import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from varq.store.faults import StoreCorrupt, StoreForeign, StoreNewer, StoreUnwritable
from varq.store.schema import APPLICATION, SCHEMA

__all__ = ["inspect", "newer", "uri"]

_MAGIC = b"SQLite format 3\0"
_WAL_MAGIC = {0x377F0682: "<u4", 0x377F0683: ">u4"}  # by the byte order of its checksums
_WAL_HEADER, _FRAME_HEADER = 32, 24
_MOST_WAL = 1 << 28  # a longer log is read by SQLite only
_LEAVE = "varq leaves it as it is. "


def uri(path: Path, query: str) -> str:
    """The SQLite address of a file."""
    return f"{path.absolute().as_uri()}?{query}"


def inspect(path: Path) -> None:
    """Raises unless `path` is a store file that this varq can use; reads only.

    Raises:
        StoreForeign: if it is not an SQLite file, or another program's.
        StoreNewer: if a newer varq laid it out.
        StoreCorrupt: if it is cut short, or its write-ahead log is damaged.
        StoreUnwritable: if it cannot be read.
    """
    try:
        _header(path)
        _length(path)
        _log(path)
    except OSError as error:
        raise StoreUnwritable(f"The store file {path} cannot be read: {error}. Check its permissions.") from error


def _read(path: Path, count: int = -1) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _header(path: Path) -> None:
    head = _read(path, 100)
    if not head:
        raise StoreCorrupt(f"The store file {path} is empty: it was cut short. {_LEAVE}Restore it, or move it away.")
    if head[:16] != _MAGIC or len(head) < 100:
        raise StoreForeign(
            f"A store holds SQLite files only. {path} is none, or its first page is damaged. {_LEAVE}"
            "Move it out of the folder, or restore it from a backup."
        )
    version, application = int.from_bytes(head[60:64], "big"), int.from_bytes(head[68:72], "big")
    if application != APPLICATION:
        raise StoreForeign(
            f"A store holds varq's files only. {path} belongs to another program (application id {application:#x}). "
            f"{_LEAVE}Name another folder as the store, or move the file out of it."
        )
    if version > SCHEMA:
        with closing(sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True)) as db:
            raise newer(path, version, db)
    if version < 1:
        raise StoreCorrupt(
            f"The store file {path} has no layout number: its first page is damaged. {_LEAVE}Restore it."
        )


def newer(path: Path, version: int, db: sqlite3.Connection) -> StoreNewer:
    """The refusal of a file whose layout this varq does not know; `db` is open on it."""
    try:
        needed = f"varq {db.execute('SELECT value FROM meta WHERE key = ?', ('needs',)).fetchone()[0]} or newer"
    except (sqlite3.Error, TypeError):
        needed = "a newer varq"
    return StoreNewer(
        f"The store file {path} has layout {version}; this varq reads layouts up to {SCHEMA}. {_LEAVE}"
        f"Update to {needed}."
    )


def _beside(path: Path, ending: str) -> int:
    other = path.with_name(path.name + ending)
    try:
        return other.stat().st_size
    except FileNotFoundError:
        return 0


def _length(path: Path) -> None:
    for _ in range(2):  # a checkpoint by another process may end between two of these looks, but not between four
        if _beside(path, "-wal") or _beside(path, "-journal"):
            return  # the log may hold the missing pages
        head, size = _read(path, 100), path.stat().st_size
        page = int.from_bytes(head[16:18], "big")
        page = 65536 if page == 1 else page
        want = int.from_bytes(head[28:32], "big") * page
        if size >= want or head[24:28] != head[92:96]:
            return
    raise StoreCorrupt(
        f"The store file {path} is cut short: {size} of {want} bytes are there. {_LEAVE}"
        "Restore it from a backup, or recover what is readable with `sqlite3 FILE .recover | sqlite3 NEW.sqlite`."
    )


def _log(path: Path) -> None:
    if _read(path, 19)[18] != 2 or _beside(path, "-wal") < _WAL_HEADER:
        return
    log = path.with_name(path.name + "-wal")
    for attempt in range(3):  # another process may be writing it just now
        what = _log_damage(log)
        if what is None:
            return
        if attempt < 2:
            time.sleep(0.02)
        else:
            raise StoreCorrupt(
                f"The write-ahead log {log} is damaged: {what}. SQLite would drop what follows. {_LEAVE}"
                f'Copy the folder, then keep what precedes the damage with: python -c "import sqlite3; '
                f"sqlite3.connect('{path}').execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\""
            )


def _log_damage(log: Path) -> str | None:
    """What is wrong with a write-ahead log, if whole transactions in it cannot be reached any more."""
    try:
        data = _read(log) if log.stat().st_size <= _MOST_WAL else _read(log, _WAL_HEADER)
    except FileNotFoundError:
        return None
    head = data[:_WAL_HEADER]
    if len(head) < _WAL_HEADER or not any(head):
        return None  # reset, or cut off by a power failure before anything was in it
    magic, _, page, _, _, _, first, second = struct.unpack(">8I", head)
    if magic not in _WAL_MAGIC:
        return "its first bytes are not those of a log"
    order = _WAL_MAGIC[magic]
    if page < 512 or not np.array_equal(_sums(_words(head[:24], order)[None])[0], [first, second]):
        return "the checksum of its header is wrong"
    return _lost(data, page, order)


def _words(data: bytes, order: str) -> NDArray[np.uint32]:
    return np.frombuffer(data, dtype=order).astype(np.uint32)


def _powers(pairs: int) -> NDArray[np.uint32]:
    """M^0 ... M^pairs of the checksum's recurrence s0 += x0 + s1; s1 += x1 + s0 (all modulo 2^32)."""
    out = np.empty((pairs + 1, 2, 2), dtype=np.uint32)
    out[0] = np.eye(2)
    step = np.array([[1, 1], [1, 2]], dtype=np.uint32)
    for i in range(pairs):
        out[i + 1] = step @ out[i]
    return out


def _sums(words: NDArray[np.uint32], start: NDArray[np.uint32] | None = None) -> NDArray[np.uint32]:
    """The checksums of many records at once: `words` of shape (records, 2 * pairs), `start` of shape (records, 2)."""
    pairs = words.shape[1] // 2
    powers = _powers(pairs)
    enter = np.array([[1, 0], [1, 1]], dtype=np.uint32)
    weights = (powers[:pairs][::-1] @ enter).transpose(0, 2, 1).reshape(2 * pairs, 2)
    out = words @ np.ascontiguousarray(weights)
    return out if start is None else out + start @ powers[pairs].T


def _lost(data: bytes, page: int, order: str) -> str | None:
    """Whether a whole committed frame of the log's present life stands behind a broken one, where SQLite stops."""
    size = _FRAME_HEADER + page
    count = (len(data) - _WAL_HEADER) // size
    if count < 2:
        return None
    body = np.frombuffer(data, np.uint8, count * size, _WAL_HEADER).reshape(count, size)
    head = np.ascontiguousarray(body[:, :_FRAME_HEADER]).view(">u4").astype(np.uint32)
    salts = struct.unpack(">2I", data[16:24])
    current = (head[:, 2] == salts[0]) & (head[:, 3] == salts[1])
    before = np.vstack([np.array(struct.unpack(">2I", data[24:32]), dtype=np.uint32), head[:-1, 4:6]])
    covered = np.concatenate([body[:, :8], body[:, _FRAME_HEADER:]], axis=1)
    words = np.ascontiguousarray(covered).view(order).astype(np.uint32)
    good = current & (_sums(words, before) == head[:, 4:6]).all(axis=1)
    if good.all():
        return None
    broken = int(np.argmin(good))
    # What was rolled back or killed half-way leaves frames behind too, but never a whole one that commits.
    behind = good[broken + 1 :] & (head[broken + 1 :, 1] != 0)
    return (
        f"frame {broken + 1} of {count} is broken, {int(behind.sum())} commits stand behind it"
        if behind.any()
        else None
    )
