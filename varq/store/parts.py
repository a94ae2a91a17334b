"""Files of one host for processes that write at the same time: each claims a part, so that no two write one file."""

from __future__ import annotations

import fcntl
import os
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


def parts(folder: Path, host: str) -> dict[str, Path]:
    """The files of a host's parts, by the names of the parts."""
    start, end = file_name(f"{host}.part-0").split("0.sqlite")[0], ".sqlite"
    found = {}
    with suppress(OSError):
        for path in sorted(folder.glob(f"*{end}")):
            number = path.name.removeprefix(start).removesuffix(end)
            if path.name.startswith(start) and number.isdigit():
                found[f"part-{number}"] = path
    return found


@dataclass(frozen=True)
class CompactReport:
    """What `Store.compact` did: how many files it took in, and what was freed."""

    files: int
    freed: GcReport


def take_in(folder: Folder, host: str, timeout: float) -> int:
    """Merges the parts that nobody writes into this host's file and deletes them; returns how many.

    Raises:
        ConflictError: if two contradict each other; nothing is merged then.
    """
    own = folder.writer()
    if folder.path is None or own.path is None:
        return 0
    with ExitStack() as held:
        free = [
            path
            for name, path in parts(folder.path, host).items()
            if path != own.path and held.enter_context(sole(folder.path, host, name))
        ]
        if not free:
            return 0
        others = [file for file in folder.elsewhere() if file.path not in free]
        files = [held.enter_context(_open(path, timeout)) for path in free]
        maintenance.merge(own, others, files)
        for file in files:
            file.close()
        for path in free:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
    folder.elsewhere()
    return len(free)


@contextmanager
def _open(path: Path, timeout: float) -> Iterator[Database]:
    file = Database(path, False, timeout)
    try:
        yield file
    finally:
        file.close()
