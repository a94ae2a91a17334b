"""How long functions take to trace, to compile and to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import jax

__all__ = ["timed"]

_HIT = "/jax/compilation_cache/cache_hits"

_open: list[list[str]] = []
"""Of each block that counts, what it has found so far."""


def _listen(event: str, **_: Any) -> None:
    if event == _HIT:
        for found in _open:
            found.append(event)


@lru_cache(maxsize=1)
def _register() -> None:
    """Once in a process: before jax 0.8 no listener can be taken back."""
    jax.monitoring.register_event_listener(_listen)


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The names of cache hits inside the block."""
    _register()
    found: list[str] = []
    _open.append(found)
    try:
        yield found
    finally:
        _open[:] = [other for other in _open if other is not found]  # equal lists may be open beside it


def timed(functions: Mapping[str, Callable[..., Any]], *arguments: Any) -> tuple[dict[str, float], int]:
    """Seconds to trace and to compile all functions, and of one later run of each; and hits of the cache on disk.

    Args:
        functions: by name; "trace" and "compile" are taken.
        arguments: of each of them.

    Returns:
        The seconds by name, and how many programs came from the compile cache.

    Example:
        >>> seconds, hits = timed({"run": lambda x: x + 1}, 1.0)
        >>> sorted(seconds)
        ['compile', 'run', 'trace']
    """
    trace = compiling = 0.0
    runs = {}
    with _counted() as hits:
        for name, function in functions.items():
            began = time.perf_counter()
            lowered = jax.jit(function).lower(*arguments)
            traced = time.perf_counter()
            compiled = lowered.compile()
            done = time.perf_counter()
            trace, compiling = trace + traced - began, compiling + done - traced
            jax.block_until_ready(compiled(*arguments))  # type: ignore[no-untyped-call]
            began = time.perf_counter()
            jax.block_until_ready(compiled(*arguments))  # type: ignore[no-untyped-call]
            runs[name] = time.perf_counter() - began
    return {"trace": trace, "compile": compiling, **runs}, len(hits)
