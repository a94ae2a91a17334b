"""The files of a store: this host's, which is written, and those of other hosts, which are read."""

from __future__ import annotations

import os
import re
import resource
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

from varq import checks
from varq.store.database import Database
from varq.store.faults import StoreError, StoreUnwritable

__all__ = ["Folder", "file_name", "store_folder"]

_DESCRIPTORS = 3  # of an open file: itself, its log, and what readers share
_KEPT_FREE = 256  # descriptors for everything else
_LEAST, _MOST = 16, 4096  # files of others that are open at a time

_Node = tuple[int, int]  # device and inode: a file that was replaced is another file


def file_name(host: str) -> str:
    """The name of the file that a host writes."""
    return (re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".") or "host") + ".sqlite"


def store_folder(path: Any) -> Path:
    """The absolute folder of a store, `~` read as a person's home: a later change of the working directory does not
    move an open store.

    Raises:
        StoreUnwritable: if the working directory is gone, or no home is known.
        TypeError: if it is no path.
        ValueError: if it is empty.
    """
    named = os.fspath(checks.instance("path", path, (str, os.PathLike)))
    checks.text("path", named, hint="Name a folder, or None for a store in memory.")
    try:
        return Path(named).expanduser().absolute()
    except (OSError, RuntimeError) as error:  # the working directory was deleted; nobody's home is known
        raise StoreUnwritable(
            f"A store needs a folder that can be found. {named!r} cannot: {error}. "
            "Name one by its whole path, or None to keep the run in memory."
        ) from error


def _most_open() -> int:
    """How many files of others may be open at a time."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, max(_LEAST, (allowed - _KEPT_FREE) // _DESCRIPTORS))


def _opened(folder: weakref.ref[Folder], file: Database) -> None:
    here = folder()
    if here is not None:
        here._opened(file)


class Folder:
    """The files in a store's folder, or one in memory.

    Args:
        path: the folder; None for memory.
        host: this machine's name.
        read_only: whether to leave this host's file to others.
        timeout: seconds to wait for another process's lock.

    Raises:
        StoreError: of the kind that fits, if a file cannot be used.
    """

    def __init__(self, path: Path | None, host: str, read_only: bool, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._others: dict[str, tuple[_Node, Database]] = {}
        self._awake: dict[int, Database] = {}  # those of other hosts that are open, the longest first
        self._counting = threading.Lock()  # of these; nobody waits for anything while having it
        self._most = _most_open()
        self._tell = partial(_opened, weakref.ref(self))  # files do not keep their folder
        self._own_name = file_name(host)
        self.own = self._open(read_only)
        try:
            self.elsewhere()
        except BaseException:
            self.close()
            raise

    def _open(self, read_only: bool) -> Database | None:
        if self.path is None:
            return Database(None, True, self._timeout)
        if self.path.exists() and not self.path.is_dir():
            raise StoreUnwritable(f"A store is a folder. {self.path} is a file. Name another folder as the store.")
        if not read_only:
            return Database(self.path / self._own_name, True, self._timeout)
        if not self.path.is_dir():
            raise StoreError(f"There is no store at {self.path}. Name the folder that holds one.")
        return None

    def elsewhere(self) -> list[Database]:
        """The files of other hosts, as they are in the folder now."""
        if self.path is None:
            return []
        with self._lock:
            found = self._nodes(self.path)
            for name in [n for n, (node, _) in self._others.items() if found.get(n) != node]:
                self._forget(self._others.pop(name)[1])
            for name, node in found.items():
                if name not in self._others:
                    self._others[name] = (node, Database(self.path / name, False, self._timeout, self._tell))
            return [self._others[name][1] for name in sorted(self._others)]

    def _opened(self, file: Database) -> None:
        """Close others that are not being read, so that a folder of any number of files can be read."""
        with self._counting:
            self._awake.pop(id(file), None)
            for known, other in list(self._awake.items()):
                if len(self._awake) < self._most:
                    break
                if other.rest():
                    del self._awake[known]
            self._awake[id(file)] = file

    def _nodes(self, folder: Path) -> dict[str, _Node]:
        own = self._own_name if self.own is not None else None
        found: dict[str, _Node] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".sqlite") and not entry.name.startswith(".") and entry.name != own:
                        stat = entry.stat()
                        found[entry.name] = (stat.st_dev, stat.st_ino)
        except OSError as error:
            raise StoreError(
                f"The store {folder} cannot be listed: {error}. Was it moved, or its disk taken away?"
            ) from error
        return found

    def _forget(self, file: Database) -> None:
        file.close()
        with self._counting:
            self._awake.pop(id(file), None)

    def files(self) -> list[Database]:
        """All files, this host's first."""
        return [*([] if self.own is None else [self.own]), *self.elsewhere()]

    def writer(self) -> Database:
        """This host's file; StoreUnwritable if the store was opened for reading."""
        if self.own is None:
            raise StoreUnwritable(f"The store {self.path} was opened for reading. Open it without read_only=True.")
        return self.own

    def close(self) -> None:
        """Closes every file; a second call does nothing."""
        with self._lock:
            for _, file in self._others.values():
                self._forget(file)
            self._others.clear()
        if self.own is not None:
            self.own.close()
