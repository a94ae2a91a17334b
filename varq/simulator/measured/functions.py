"""Functions of measured outcomes as data: tables, affine forms, or jaxprs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from pennylane.ops import MeasurementValue

from varq.simulator.measured.program import Traced
from varq.simulator.outcomes import Outcome

__all__ = [
    "FEW",
    "LONGEST_TABLE",
    "abstract",
    "affine_values",
    "evaluate",
    "is_affine",
    "tabulate",
    "trace",
    "unstaged",
]

LONGEST_TABLE = 12
"""A function of at most this many outcomes becomes a table of its values."""

FEW = 2
"""A function of so few outcomes is quicker called for each combination than mapped over all by JAX."""

_LINEAR = {
    "neg", "convert_element_type", "reshape", "squeeze", "broadcast_in_dim", "reduce_sum", "transpose", "slice",
    "concatenate", "expand_dims", "copy", "add", "sub", "stack", "add_any",
}  # fmt: skip
_BILINEAR = {"mul", "dot_general"}
_CALLS = {"pjit", "jit", "closed_call", "custom_jvp_call", "custom_vjp_call"}


def bit_columns(count: int) -> Any:
    """All combinations of `count` outcomes, shape (count, 2**count); the first is the most significant."""
    return (np.arange(2**count)[None, :] >> np.arange(count - 1, -1, -1)[:, None]) & 1


def abstract(shape: tuple[int, ...], dtype: Any) -> Any:
    """What JAX traces with in the place of an array."""
    make: Any = jax.ShapeDtypeStruct  # untyped in JAX
    return make(shape, dtype)


def evaluate(traced: Traced, consts: Sequence[Any], *inputs: Any) -> list[Any]:
    """What a traced function gives, with the constants of another of its text in the place of its own."""
    run: Any = jax.core.eval_jaxpr  # untyped in JAX
    if jax.__version_info__ < (0, 8):  # which take no double for what was traced as a single number of a caller
        consts = [
            jnp.asarray(c, v.aval.dtype) if jnp.issubdtype(v.aval.dtype, jnp.inexact) else c
            for c, v in zip(consts, traced.jaxpr.constvars, strict=True)
        ]
    found: list[Any] = run(traced.jaxpr, consts, *inputs)
    return found


def _is_number(variable: Any) -> bool:
    """Whether a variable is a literal that may differ between functions of one structure."""
    return isinstance(variable, Literal) and (_inexact(variable) or bool(np.shape(variable.val)))


def unstaged() -> bool:
    """Whether what is computed now is computed at once, and not staged for jax.jit."""
    return not isinstance(jax.lax.add(1, 1), jax.core.Tracer)


def tabulate(value: MeasurementValue) -> Any:
    """The values for every combination of its outcomes, shape (2**outcomes,).

    Raises:
        ValueError: if a value is not a scalar, or not real.
    """
    columns = bit_columns(len(value.measurements))
    found, whole = None, False
    if not (isinstance(value, Outcome) and len(columns) <= FEW and unstaged()):
        try:
            found = value.processing_fn(*columns)
            whole = np.shape(found) in ((), columns.shape[1:])
        except Exception:  # any function at all may stand here; where it fails on arrays, it is asked value by value
            whole = False
    if not whole:
        found = _one_by_one(value, columns)
    if jnp.iscomplexobj(found):
        raise ValueError("A gate angle computed from outcomes must be real. Got complex values. Take jnp.real.")
    if isinstance(found, jax.Array):
        return jnp.broadcast_to(found, columns.shape[1:]).astype(float)
    return np.broadcast_to(np.asarray(found, np.float64), columns.shape[1:])


def _one_by_one(value: MeasurementValue, columns: Any) -> Any:
    rows = [value.processing_fn(*(int(b) for b in column)) for column in columns.T]
    shapes = {np.shape(r) for r in rows}
    if shapes != {()}:
        raise ValueError(
            f"A gate angle, condition or statistic of measured outcomes must be a scalar. Got shape {max(shapes)}. "
            "Take one entry or a sum inside the function."
        )
    return jnp.stack([jnp.asarray(r) for r in rows]) if any(isinstance(r, jax.Array) for r in rows) else rows


def trace(function: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Traced, list[Any], list[Any]]:
    """A function as a jaxpr.

    Args:
        function: returns one array or a pytree of arrays.
        inputs: shapes and types of its arguments.

    Returns:
        The function, its constants (what it closes over, and the real numbers in it), and shapes and types of what it
        gives, as a flat list.
    """
    # Called by a new name: JAX remembers traces by function, and one that closes over tracers must be traced afresh.
    closed = jax.make_jaxpr(lambda *args: function(*args))(*inputs)
    numbers = [np.asarray(v.val, v.aval.dtype) for e in closed.jaxpr.eqns for v in e.invars if _is_number(v)]
    outputs = [abstract(a.shape, a.dtype) for a in closed.out_avals]
    return Traced(_text(closed.jaxpr), _lifted(closed.jaxpr, numbers)), [*closed.consts, *numbers], outputs


def _lifted(jaxpr: Any, numbers: Sequence[Any]) -> Any:
    """The jaxpr with its numbers as further constants."""
    fresh = jax.make_jaxpr(lambda *args: args)(*numbers).jaxpr.invars
    left = iter(fresh)
    equations = [e.replace(invars=[next(left) if _is_number(v) else v for v in e.invars]) for e in jaxpr.eqns]
    return jaxpr.replace(constvars=[*jaxpr.constvars, *fresh], eqns=equations)


def _text(jaxpr: Any) -> str:
    """What a jaxpr does, apart from its numbers; functions of one text can serve each other."""
    names: dict[Any, int] = {}

    def name(variable: Any) -> str:
        if isinstance(variable, Literal):
            return f"#{variable.aval}" if _is_number(variable) else f"{variable.val!r}:{variable.aval}"
        return f"{names.setdefault(variable, len(names))}:{variable.aval}"

    lines = [" ".join(map(name, (*jaxpr.constvars, *jaxpr.invars)))]
    for e in jaxpr.eqns:
        took, gave = " ".join(map(name, e.invars)), " ".join(map(name, e.outvars))
        lines.append(f"{gave} = {e.primitive.name}[{sorted(e.params.items(), key=lambda item: item[0])}] {took}")
        lines += _within(e.params)
    return "\n".join([*lines, " ".join(f"{name(v)}={v}" if isinstance(v, Literal) else name(v) for v in jaxpr.outvars)])


def _within(params: Mapping[str, Any]) -> Iterator[str]:
    """The numbers in functions that an equation calls, such as those of jax.jit: their text leaves them out."""
    for value in params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield from map(_exactly, part.consts)
            jaxpr = getattr(part, "jaxpr", part)
            for e in jaxpr.eqns if isinstance(jaxpr, Jaxpr) else ():
                yield from (_exactly(v.val) for v in e.invars if isinstance(v, Literal))
                yield from _within(e.params)


def _exactly(value: Any) -> str:
    """A number or array by all of its digits; what has none by what it is, as its function keeps it."""
    try:
        plain = np.asarray(value)
    except (TypeError, jax.errors.TracerArrayConversionError):
        return f"{id(value)}"
    return f"{plain.dtype}{plain.shape} {hashlib.sha256(plain.tobytes()).hexdigest()}"


def is_affine(jaxpr: Any, known: Sequence[bool] | None = None) -> bool:
    """Whether every output is provably a constant plus a linear form of the inputs.

    Args:
        jaxpr: of the function.
        known: for each input, whether it is a constant; none is, by default.
    """
    varies = {v for k, v in enumerate(jaxpr.invars) if known is None or not known[k]}
    for equation in jaxpr.eqns:
        moving = [v for v in equation.invars if not isinstance(v, Literal) and v in varies]
        if not moving:
            continue
        if not _affine_step(equation, moving, varies):
            return False
        varies.update(equation.outvars)
    return True


def _affine_step(equation: Any, moving: list[Any], varies: set[Any]) -> bool:
    name = equation.primitive.name
    if name == "convert_element_type":
        return bool(jnp.issubdtype(equation.params["new_dtype"], jnp.number)) and not (
            jnp.issubdtype(moving[0].aval.dtype, jnp.inexact)
            and jnp.issubdtype(equation.params["new_dtype"], jnp.integer)
        )
    if name in _LINEAR:
        return True
    if name in _BILINEAR:
        return len(moving) == 1
    if name == "div":
        return len(moving) == 1 and equation.invars[0] is moving[0] and _inexact(moving[0])
    if name in _CALLS:
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        constant = [isinstance(v, Literal) or v not in varies for v in equation.invars]
        return inner is not None and is_affine(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner, constant)
    return False


def _inexact(variable: Any) -> bool:
    return bool(jnp.issubdtype(variable.aval.dtype, jnp.inexact))


def affine_values(traced: Traced, consts: Sequence[Any], count: int) -> Any:
    """The constant and the `count` coefficients of an affine function of outcomes, shape (count + 1,)."""
    points = np.concatenate([np.zeros((1, count), int), np.eye(count, dtype=int)])

    def function(row: Any) -> Any:
        return evaluate(traced, consts, *row)[0]

    values = jax.vmap(function)(jnp.asarray(points)).astype(float)
    return jnp.concatenate([values[:1], values[1:] - values[0]])
