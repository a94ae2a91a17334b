"""The boundary between the caller's arrays and JAX: NumPy and autograd outside, float64; JAX arrays as they come.

Autograd sees one primitive, a compiled JAX function of several arrays, whose derivative is the same primitive with
another function; so it differentiates to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from autograd.extend import defvjp_argnums, primitive

from varq.simulator.derivatives import pull
from varq.simulator.precision import double

__all__ = ["Differentiable", "call", "differentiated", "is_jax", "is_traced", "outside", "to_numpy"]


def is_jax(values: Sequence[Any]) -> bool:
    """Whether any of the values is a JAX array, traced or not."""
    return any(isinstance(v, jax.Array) for v in values)


def to_numpy(tree: Any) -> Any:
    """Arrays of JAX as those of NumPy, and scalars as NumPy's scalars; copies, since JAX's own cannot be written to."""
    return jax.tree.map(lambda leaf: np.array(leaf)[()], tree)


def outside(function: Callable[..., Any], *arguments: Any) -> Any:
    """A compiled function of NumPy arrays, in float64, with its results as NumPy's; right within a JAX trace too."""
    with double():
        if not is_traced():
            return to_numpy(function(*arguments))
        with jax.ensure_compile_time_eval():  # else it would be left out: this folds constants one by one, slowly
            return to_numpy(function(*arguments))


def is_traced() -> bool:
    """Whether JAX traces the caller, so that even constants become part of a program."""
    return isinstance(jnp.zeros(()), jax.core.Tracer)


class Differentiable:
    """A function of one list of arrays to a tuple of arrays, and its pullbacks, each made and compiled once."""

    def __init__(self, function: Callable[[list[Any]], tuple[Any, ...]], compiled: bool = True) -> None:
        self.compiled = compiled
        self.function = jax.jit(function) if compiled else function
        self.pullbacks: dict[Any, Differentiable] = {}

    def pullback(self, argnums: tuple[int, ...], inputs: int) -> Differentiable:
        """The function (inputs, then cotangents) -> derivatives by the inputs `argnums`."""
        if argnums not in self.pullbacks:

            def back(values: list[Any]) -> tuple[Any, ...]:
                return tuple(pull(self.function, argnums, values[:inputs], tuple(values[inputs:])))

            self.pullbacks[argnums] = Differentiable(back, self.compiled)
        return self.pullbacks[argnums]


@primitive  # type: ignore[untyped-decorator]
def _call(function: Differentiable, *arrays: Any) -> Any:
    # Plain arrays, not PennyLane's subclass of them, which JAX does not know.
    return tuple(np.asarray(x) for x in outside(function.function, [np.asarray(a) for a in arrays]))


def _derivative(argnums: Sequence[int], answer: Any, arrays: Any, named: Any) -> Any:
    function, *rest = arrays
    chosen = tuple(k - 1 for k in argnums)
    pull = function.pullback(chosen, len(rest))
    return lambda cotangents: _call(pull, *rest, *(cotangents[k] for k in range(len(answer))))


defvjp_argnums(_call, _derivative)


def call(function: Differentiable, numbers: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a function for numbers that autograd follows."""
    found = _call(function, *numbers)
    return tuple(found[k] for k in range(len(found)))


def differentiated(program: Any, numbers: Sequence[Any]) -> tuple[Any, ...]:
    """The exact results of a program for numbers that autograd follows."""
    if program.differentiable is None:
        program.differentiable = Differentiable(lambda values: tuple(program.exact(list(values))))
    return call(program.differentiable, numbers)
