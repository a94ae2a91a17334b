"""Float64 inside a block, whatever JAX's flag says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax

__all__ = ["DTYPES", "double", "is_double"]

DTYPES = {"double": "float64", "single": "float32"}


def double() -> AbstractContextManager[Any]:
    """A context in which JAX makes float64 arrays, in this thread; the flag itself stays as it was."""
    # jax.enable_x64 is a context manager from jax 0.8 on; before, only jax.experimental has one.
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)  # type: ignore[no-any-return]
    from jax.experimental import enable_x64  # type: ignore[attr-defined]

    return enable_x64()  # type: ignore[no-any-return]


def is_double() -> bool:
    """Whether JAX makes float64 arrays here, by its flag or within `double`."""
    return bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
