"""Exact results of measured circuits, with derivatives of every order in every mode.

A rule of its own (`jax.custom_jvp`) makes the tangent a product of the Jacobian, which is computed inside the
program's precision, with tangents in the caller's.  What JAX transposes later, outside of the block that allows
float64, is that product alone.  The Jacobian is such a function again, so that it can be differentiated in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.measured.branches import branch_sum
from varq.simulator.measured.functions import abstract
from varq.simulator.measured.inputs import Inputs, Layout, assemble
from varq.simulator.measured.program import Numbers, Program
from varq.simulator.precision import double, within
from varq.simulator.scans import STORED

__all__ = ["Exact", "evaluate_exactly"]


@dataclass(frozen=True)
class Exact:
    """What is evaluated exactly.

    Args:
        program: with its finals.
        labels: of the wires.
        dtype: "float64" or "float32", of the amplitudes.
        stored: bytes of states that a derivative may keep.
    """

    program: Program
    labels: tuple[Any, ...]
    dtype: str
    stored: int = STORED

    def results(self, layout: Layout, known: Numbers, traced: Any) -> list[Any]:
        """One array for each terminal measurement."""
        numbers = assemble(layout, known, traced, self.dtype)
        return branch_sum(self.program, numbers, self.labels, self.dtype, self.stored)


def evaluate_exactly(exact: Exact, inputs: Inputs) -> list[Any]:
    """The results, in the caller's precision if any number is traced, else in the program's own, as NumPy arrays."""
    layout, known, traced = inputs.pack()
    if traced is None:
        with double(), jax.ensure_compile_time_eval():  # within a caller's trace too
            flat = np.asarray(_values(exact, layout, known, None, 0))
    else:
        flat = _value_of(exact, layout, known, 0)(traced)
    with double():
        shapes = _shapes(exact, layout, len(known.scalars), _kinds(known), 0 if traced is None else len(traced))
    return _cut(flat, shapes) if isinstance(flat, np.ndarray) else _cut_by_jax(flat, shapes)


def _kinds(known: Numbers) -> tuple[Any, ...]:
    return tuple((a.shape, str(a.dtype)) for a in (known.tables, *known.arrays))


@lru_cache(maxsize=256)
def _shapes(exact: Exact, layout: Layout, scalars: int, kinds: tuple[Any, ...], traced: int) -> tuple[Any, ...]:
    """Shape of each result, and whether it is complex."""
    tables, *arrays = (abstract(*k) for k in kinds)
    known = Numbers(abstract((scalars,), exact.dtype), tables, tuple(arrays))
    found = jax.eval_shape(partial(exact.results, layout), known, abstract((traced,), exact.dtype))
    return tuple((f.shape, bool(jnp.issubdtype(f.dtype, jnp.complexfloating))) for f in found)


def _cut(flat: Any, shapes: tuple[Any, ...]) -> list[Any]:
    results, start = [], 0
    for shape, is_complex in shapes:
        size = int(np.prod(shape))
        part = flat[start : start + size].reshape(shape)
        start += size
        if is_complex:
            imaginary = flat[start : start + size].reshape(shape)
            part = part + 1j * imaginary if isinstance(flat, np.ndarray) else jax.lax.complex(part, imaginary)
            start += size
        results.append(part)
    return results


_cut_by_jax = jax.jit(_cut, static_argnames=("shapes",))


@jax.jit
def _moved(slopes: Any, tangent: Any) -> Any:
    return jnp.tensordot(slopes, tangent, 1)


@partial(jax.jit, static_argnames=("exact", "layout", "order"))
def _values(exact: Exact, layout: Layout, known: Numbers, traced: Any, order: int) -> Any:
    """All results as one real vector; its Jacobian for order 1, and so on; new axes come last."""
    return _derivative(exact, layout, known, order)(traced)


@partial(jax.jit, static_argnames=("exact", "layout", "order"))
def _values_and_slopes(exact: Exact, layout: Layout, known: Numbers, traced: Any, order: int) -> Any:
    """The same, and its Jacobian."""
    return _with_jacobian(_derivative(exact, layout, known, order), traced)


def _derivative(exact: Exact, layout: Layout, known: Numbers, order: int) -> Any:
    if order == 0:
        return _flat(exact, layout, known)
    lower = _derivative(exact, layout, known, order - 1)
    return lambda traced: _with_jacobian(lower, traced)[1]


def _flat(exact: Exact, layout: Layout, known: Numbers) -> Any:
    def function(traced: Any) -> Any:
        parts = []
        for result in exact.results(layout, known, traced):
            flat = jnp.ravel(result)
            parts += [jnp.real(flat), jnp.imag(flat)] if jnp.iscomplexobj(flat) else [flat]
        return jnp.concatenate([p.astype(exact.dtype) for p in parts])

    return function


def _with_jacobian(function: Any, x: Any) -> tuple[Any, Any]:
    """Value and Jacobian, in the mode that needs fewer passes."""
    shape = jax.eval_shape(function, x)
    if shape.size < len(x):
        value, back = jax.vjp(function, x)
        if shape.size == 1:
            return value, back(jnp.ones(shape.shape, shape.dtype))[0].reshape(*shape.shape, len(x))
        basis = jnp.eye(shape.size, dtype=shape.dtype).reshape(shape.size, *shape.shape)
        return value, jax.vmap(back)(basis)[0].reshape(*shape.shape, len(x))

    def push(direction: Any) -> tuple[Any, Any]:
        return jax.jvp(function, (x,), (direction,))

    values, slopes = jax.vmap(push, out_axes=(None, -1))(jnp.eye(len(x), dtype=x.dtype))
    return values, slopes


def _value_of(exact: Exact, layout: Layout, known: Numbers, order: int) -> Any:
    """The derivative of an order as a function of the traced vector in the caller's precision."""

    @jax.custom_jvp
    def function(x: Any) -> Any:
        outer = x.dtype
        run = lambda x: _values(exact, layout, known, x.astype(exact.dtype), order).astype(outer)  # noqa: E731
        return within("float64", run, x)

    @function.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        value, slopes = _pair_of(exact, layout, known, order)(primals[0])
        return value, _moved(slopes, tangents[0])

    return function


def _pair_of(exact: Exact, layout: Layout, known: Numbers, order: int) -> Any:
    """The derivatives of an order and of the next, made in one pass."""

    @jax.custom_jvp
    def function(x: Any) -> tuple[Any, Any]:
        outer = x.dtype

        def run(x: Any) -> tuple[Any, Any]:
            value, slopes = _values_and_slopes(exact, layout, known, x.astype(exact.dtype), order)
            return value.astype(outer), slopes.astype(outer)

        return within("float64", run, x)  # type: ignore[no-any-return]

    @function.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        value = _value_of(exact, layout, known, order)(primals[0])
        slopes, curves = _pair_of(exact, layout, known, order + 1)(primals[0])
        return (value, slopes), (_moved(slopes, tangents[0]), _moved(curves, tangents[0]))

    return function
