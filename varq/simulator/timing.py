"""How long functions take to trace, to compile and to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

__all__ = ["timed"]

_HIT = "/jax/compilation_cache/cache_hits"


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The names of cache hits inside the block."""
    found: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == _HIT:
            found.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield found
    finally:
        # Before jax 0.8 no listener can be taken back; this one then goes on adding to a list that nobody reads.
        if hasattr(jax.monitoring, "unregister_event_listener"):
            jax.monitoring.unregister_event_listener(listen)


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
