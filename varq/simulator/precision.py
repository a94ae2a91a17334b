"""Float64 inside a block, whatever JAX's flag says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.export

__all__ = ["DTYPES", "double", "inside", "is_double", "within"]

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


def within(dtype: str, function: Callable[..., Any], *given: Any) -> Any:
    """A function evaluated in the block that allows its precision, "float64" or "float32".

    What goes in and comes out is in the caller's precision.  Where that is another one, JAX must also batch the
    function inside the block: a program compiled by the caller may be batched long after the block is left.  So the
    function must hold no traced value of the caller's.
    """
    if is_double() or dtype == "float32":
        return function(*given)
    return _batching(function)(*given)


_NARROWED = jax.__version_info__ < (0, 7, 2)
"""Whether JAX narrows the numbers within a program to what its flag says where the whole is compiled."""


def inside(function: Callable[..., Any], *given: Any) -> Any:
    """A function evaluated in the block that allows float64, with its results as they are there.

    Where `given` is traced and JAX would narrow the program later, it is written out at once; JAX cannot batch it then.
    """
    with double():
        if not _NARROWED or not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(given)):
            return function(*given)
        shapes = jax.tree.map(jax.typeof, given)
        return jax.export.export(jax.jit(function))(*shapes).call(*given)  # type: ignore[no-untyped-call]


def _batching(function: Callable[..., Any]) -> Any:
    @jax.custom_batching.custom_vmap
    def call(*given: Any) -> Any:
        return inside(function, *given)

    @call.def_vmap
    def rule(size: int, batched: Any, *given: Any) -> Any:
        axes = jax.tree.map(lambda b: 0 if b else None, batched)
        found = _batching(jax.vmap(function, in_axes=tuple(axes), axis_size=size))(*given)
        return found, jax.tree.map(lambda _: True, found)

    return call
