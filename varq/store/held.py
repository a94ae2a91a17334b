"""Which store files this process has open.

POSIX locks belong to a process: closing any descriptor of a file drops all that the process holds on it, SQLite's
included, and another process may then remove the write-ahead log that is still in use here
(https://www.sqlite.org/howtocorrupt.html, 2.2).  So a file is read past SQLite only while nobody here has it open.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

__all__ = ["Node", "hold", "node", "release"]

Node = tuple[int, int]
"""Device and inode of a file."""


class _Files:
    """How often each file is open."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.guard = threading.RLock()  # a finalizer may run inside `hold`, in the same thread
        self.count: Counter[Node] = Counter()


_FILES = _Files()  # of the process, as the locks are
os.register_at_fork(after_in_child=_FILES.begin)  # a child inherits neither locks nor the thread that holds the guard


def node(path: Path) -> Node | None:
    """Which file stands at `path`; None if there is none."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def hold(path: Path, inspect: Callable[[Path], None]) -> Node | None:
    """Note that a file is about to be opened; `release` undoes it.

    Args:
        path: the file.
        inspect: reads the file past SQLite, and raises if it must not be opened.  It is called only if nobody here
            has the file open.
    """
    with _FILES.guard:
        found = node(path)
        if found is None or not _FILES.count[found]:
            inspect(path)
        if found is not None:
            _FILES.count[found] += 1
        return found


def release(held: Node | None) -> None:
    """Note that a file was closed."""
    with _FILES.guard:
        if held is not None and held in _FILES.count:
            _FILES.count[held] -= 1
            if not _FILES.count[held]:
                del _FILES.count[held]
