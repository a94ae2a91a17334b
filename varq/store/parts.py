"""Files for processes of one host that write at the same time: each claims a part, so that no two write one file."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from varq.store import maintenance
from varq.store.database import Database
from varq.store.folder import Folder, file_name
from varq.store.records import GcReport

__all__ = ["CompactReport", "claimed", "parts", "sole", "take_in"]

_PART = re.compile(r"(.+)\.(part-\d+)\.sqlite")
_QUIET = 600.0  # seconds: sixty heartbeats, and some for clocks that differ


@contextmanager
def claimed(folder: Path, host: str) -> Iterator[str]:
    """The name of a part that this process alone writes inside the block, such as "part-0".

    The claim is a lock that the system drops when the process ends, however it ends; the next one takes the part over.

    Args:
        folder: of the store.
        host: this machine's name.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in count():
        name = f"part-{number}"
        with sole(folder, host, name) as mine:
            if mine:
                yield name
                return


@contextmanager
def sole(folder: Path, host: str, name: str) -> Iterator[bool]:
    """Whether this process has a part for itself inside the block."""
    lock = folder / f".{file_name(f'{host}.{name}')}.lock"
    held = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(held)


def parts(folder: Path) -> dict[Path, tuple[str, str]]:
    """The files of parts in a folder, with the names of their hosts, as files spell them, and of the parts."""
    found = {}
    with suppress(OSError):
        for path in sorted(folder.glob("*.sqlite")):
            if named := _PART.fullmatch(path.name):
                found[path] = (named[1], named[2])
    return found


@dataclass(frozen=True)
class CompactReport:
    """What `Store.compact` did: how many files it took in and had to leave, and what was freed."""

    files: int
    freed: GcReport
    left: int = 0


def take_in(folder: Folder, host: str, timeout: float) -> tuple[int, int]:
    """Merges the parts that nobody writes into this host's file and deletes them; returns how many, and of how many it
    is not sure.

    Locks of another host may not be seen from here.  But a worker at work shows signs of life in its file every few
    seconds, so that one is left alone which changed in the last minutes.

    Raises:
        ConflictError: if two contradict each other; nothing is merged then.
    """
    own = folder.writer()
    if folder.path is None or own.path is None:
        return 0, 0
    with ExitStack() as held:
        known = {path: place for path, place in parts(folder.path).items() if path != own.path}
        free = {path: _looks(path) for path, place in known.items() if _is_free(held, folder.path, host, path, *place)}
        if not free:
            return 0, len(known)
        others = [file for file in folder.elsewhere() if file.path not in free]
        files = [held.enter_context(_open(path, timeout)) for path in free]
        maintenance.merge(own, others, files)
        for file in files:
            file.close()
        taken = [path for path, looks in free.items() if _looks(path) == looks]  # none began with it meanwhile
        for path in taken:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
    folder.elsewhere()
    return len(taken), len(known) - len(taken)


def _is_free(held: ExitStack, folder: Path, host: str, path: Path, writer: str, name: str) -> bool:
    """Whether nobody writes a part, which is then held."""
    if writer == file_name(host).removesuffix(".sqlite"):
        return held.enter_context(sole(folder, host, name))
    try:
        return time.time() - _looks(path)[0] > _QUIET and held.enter_context(sole(folder, writer, name))
    except OSError:  # it is gone, or its lock is somebody else's
        return False


def _looks(path: Path) -> tuple[float, int]:
    """When a part or its log was last written, in seconds since 1970, and how much there is in both.

    Raises:
        FileNotFoundError: if there is none.
    """
    log = path.with_name(f"{path.name}-wal")
    both = [path.stat(), *([log.stat()] if log.exists() and log.stat().st_size else [])]
    return max(stat.st_mtime for stat in both), sum(stat.st_size for stat in both)


@contextmanager
def _open(path: Path, timeout: float) -> Iterator[Database]:
    file = Database(path, False, timeout)
    try:
        yield file
    finally:
        file.close()
