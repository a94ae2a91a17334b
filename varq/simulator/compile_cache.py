"""JAX's compilation cache on disk, so that a second process does not compile what the first one did.

Programs with finite shots are kept only if their seed is a JAX key; `varq.simulator.seeds` says why.

This is the one place that updates settings of JAX, once in a process, and only if the user has chosen no cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

__all__ = ["MOST_BYTES", "directory", "enable"]

MOST_BYTES = 2**30
"""How large the cache may be when a process starts to use it; the entries unused for longest go first."""

_JAX_SECONDS = 1.0  # JAX's default for the shortest compilation that is worth a file
_lock = Lock()


def enable() -> Path | None:
    """Use the cache from now on, unless the user has set one already or there is no private place for it.

    Returns:
        The folder in use by varq, or None.
    """
    with _lock:
        return _enable()


@lru_cache(maxsize=1)
def _enable() -> Path | None:
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    try:
        folder = directory()
    except RuntimeError:  # no home is known of this user, as in containers that run under any number
        return None
    if not _private(folder):
        return None
    _shrink(folder, MOST_BYTES)
    config.update("jax_compilation_cache_dir", str(folder))
    if config.jax_persistent_cache_min_compile_time_secs == _JAX_SECONDS:
        # The programs of small circuits compile in tenths of a second, and there are many.
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()  # JAX decides at its first compilation, which may be over
    return folder


def directory() -> Path:
    """The folder for this jaxlib and this kind of processor: programs compiled for another one may not run.

    Raises:
        RuntimeError: if it is to lie in the user's home, and none is known.
    """
    return _user_cache() / "varq" / "-".join((version("jaxlib"), _processor()))


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Local"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """A hash of what the processor can do."""
    known = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def _private(folder: Path) -> bool:
    """Make the folder for this user alone; False if that cannot be had.  What lies in it will be run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            found = folder.stat()
            if found.st_uid != os.getuid():
                return False
            if stat.S_IMODE(found.st_mode) != 0o700:
                folder.chmod(0o700)
    except (OSError, RuntimeError):
        return False
    return os.access(folder, os.W_OK)


def _shrink(folder: Path, most: int) -> None:
    """Delete the files used longest ago until the rest is no more than `most` bytes."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):  # another process may be deleting as well
                facts = path.stat()
                found.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        with suppress(OSError):
            path.unlink()
            total -= size
