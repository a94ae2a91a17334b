"""Derivatives of a function of a list of numbers by some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["DERIVATIVES", "jacobian", "pull", "push"]


def _split(function: Callable[..., Any], argnums: tuple[int, ...], numbers: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The function of the chosen numbers alone, and these."""

    def of_chosen(*chosen: Any) -> Any:
        whole = list(numbers)
        for place, value in zip(argnums, chosen, strict=True):
            whole[place] = value
        return function(whole)

    return of_chosen, [jnp.asarray(numbers[k]) for k in argnums]


def _like(given: Any, value: Any) -> Any:
    """A cotangent or tangent in the type of what it belongs to."""
    if jnp.iscomplexobj(given) and not jnp.iscomplexobj(value):
        given = jnp.real(given)
    return jnp.broadcast_to(jnp.asarray(given, value.dtype), value.shape)


def pull(function: Any, argnums: tuple[int, ...], numbers: Any, cotangents: Any) -> Any:
    """For each chosen number the product of cotangents with the Jacobian."""
    of_chosen, chosen = _split(function, argnums, numbers)
    values, back = jax.vjp(of_chosen, *chosen)
    return back(jax.tree.map(_like, cotangents, values))


def push(function: Any, argnums: tuple[int, ...], numbers: Any, tangents: Any) -> Any:
    """The values, and the product of the Jacobian with tangents of the chosen numbers."""
    of_chosen, chosen = _split(function, argnums, numbers)
    return jax.jvp(of_chosen, tuple(chosen), tuple(_like(t, c) for t, c in zip(tangents, chosen, strict=True)))


def jacobian(function: Any, argnums: tuple[int, ...], numbers: Any) -> Any:
    """The values, and the Jacobian."""
    of_chosen, chosen = _split(function, argnums, numbers)
    return of_chosen(*chosen), jax.jacfwd(of_chosen, tuple(range(len(chosen))))(*chosen)


DERIVATIVES: dict[str, Callable[..., Any]] = {"pull": pull, "push": push, "jacobian": jacobian}
