"""How fast this machine can be: what a time is measured against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from varq.simulator.precision import double

__all__ = ["Rates", "measured"]

_LEAST, _MOST = 1 << 18, 1 << 25  # bytes of an array that is copied: within a core's cache, and past all of them
_MOVED = 1 << 28  # bytes that one timing moves
_WIDTH = 256  # rows of the matrices that are multiplied, 64 at once
_REPEATS = 7


@dataclass(frozen=True)
class Rates:
    """What the machine does at best.

    Args:
        bandwidth: bytes read plus bytes written a second, copying an array.
        operations: floating-point operations a second, multiplying matrices.
    """

    bandwidth: float
    operations: float

    def seconds(self, moved: float, operations: float) -> float:
        """The longer of the two times that some work takes at least."""
        return max(moved / self.bandwidth, operations / self.operations)


def _median(function: Callable[..., Any], *arguments: Any) -> float:
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))  # type: ignore[no-untyped-call]
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measured(size: int = _MOST, dtype: str = "float64") -> Rates:
    """The rates of JAX's default device, measured once; takes a fraction of a second.

    Args:
        size: of the arrays that are copied, in bytes.
        dtype: "float64" or "float32", of the numbers that are multiplied.

    Example:
        >>> rates = measured()
        >>> rates.seconds(rates.bandwidth, 0.0)
        1.0
    """
    return Rates(_bandwidth(min(max(_LEAST, 1 << (size - 1).bit_length()), _MOST)), _operations(dtype))


@lru_cache(maxsize=16)
def _bandwidth(size: int) -> float:
    passes = _MOVED // (2 * size)
    with double():
        line = jnp.arange(size // 8, dtype=jnp.float64)
        seconds = _median(lambda x: lax.fori_loop(0, passes, lambda _, y: y + 1.0, x), line)
    return 2 * size * passes / seconds


@lru_cache(maxsize=2)
def _operations(dtype: str) -> float:
    with double():
        seconds = _median(lambda a: a @ a, jnp.ones((64, _WIDTH, _WIDTH), dtype))
    return 2 * 64 * _WIDTH**3 / seconds
