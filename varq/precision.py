"""Float64 whatever JAX's flag says, however each JAX release spells it.

The one place for all rooms but `varq.simulator`, which stands without them and has its own in `simulator/precision.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import jax

__all__ = ["double", "in_double"]

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def double(enabled: bool = True) -> Iterator[None]:
    """Compute in float64 (float32 with `enabled=False`) inside the block, in this thread; the flag stays as it was.

    The setting is local to the thread that enters it: a new thread must enter it itself.
    """
    # jax.enable_x64 is a context manager from jax 0.8 on; before, only jax.experimental has one.
    if hasattr(jax, "enable_x64"):
        context = jax.enable_x64(enabled)
    else:
        from jax.experimental import enable_x64  # type: ignore[attr-defined]

        context = enable_x64(enabled)
    with context:
        yield


def in_double(function: F) -> F:
    """`function`, computed inside `double()` by whichever thread calls it."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with double():
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]
