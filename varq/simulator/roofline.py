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

from varq.simulator.precision import double

__all__ = ["Rates", "measured"]

_COPIED = 1 << 22  # numbers in the array that is copied: 32 MiB, past the caches of a core
_WIDTH = 256  # rows of the matrices that are multiplied, 64 at once
_REPEATS = 7


@dataclass(frozen=True)
class Rates:
    """What the machine does at best, in float64.

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
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@lru_cache(maxsize=1)
def measured() -> Rates:
    """The rates of JAX's default device, measured once in a process; takes a fraction of a second.

    Example:
        >>> rates = measured()
        >>> rates.seconds(rates.bandwidth, 0.0)
        1.0
    """
    with double():
        line = jnp.arange(_COPIED, dtype=jnp.float64)
        copy = _median(lambda x: x + 1.0, line)
        cube = jnp.ones((64, _WIDTH, _WIDTH))
        product = _median(lambda a: a @ a, cube)
    return Rates(2 * 8 * _COPIED / copy, 2 * 64 * _WIDTH**3 / product)
