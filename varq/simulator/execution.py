"""Expectation values and states of circuits, compiled and differentiable in every mode.

Expectation values have a rule of their own (`jax.custom_jvp`): it runs the circuit forwards, applies the observable,
and runs backwards once, which gives the whole gradient (adjoint differentiation: T. Jones and J. Gacon,
https://arxiv.org/abs/2009.02823); the tangent is its product with the tangents of the numbers.
JAX transposes that product by itself, so reverse mode costs one value and gradient, forward mode is right, and what
is differentiated twice is plain JAX code.  A rule for reverse mode alone (`jax.custom_vjp`) would refuse forward mode.
A circuit with a matrix that is not known to be unitary cannot run backwards: JAX differentiates it by itself.
The product stands in the caller's precision: what JAX transposes later is outside the block that allows float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.engine import Engine
from varq.simulator.kept import kept, table_bytes
from varq.simulator.observables import PauliSum
from varq.simulator.paths import Options, engine
from varq.simulator.precision import is_double, within

__all__ = ["chosen", "expectations", "facts", "held_bytes", "state"]


def _exact_tables(program: _Program, tables: Any) -> Any:
    """The tables in their own precision: as arguments outside the block JAX would narrow them."""
    return tables if is_double() or program.options.dtype == "float32" else program.exact


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def _precisely(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose matrix products keep all digits: GPUs would take float32 with ten bits of them."""

    @wraps(function)
    def traced(*given: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*given)

    return traced


class _Program:
    """One circuit and its observables on one engine, as compiled functions of the numbers."""

    def __init__(self, circuit: Circuit, sums: tuple[PauliSum, ...], options: Options) -> None:
        self.options, self.circuit = options, circuit
        self.engine, self.observables = chosen(circuit, sums, options)
        self.tables = (self.engine.tables, tuple(o.tables for o in self.observables))
        self.exact = jax.tree.map(_packed, self.tables)
        basis = getattr(self.engine, "basis", None)  # of a sector; it stays as long as the engine does
        self.held = (self.tables, () if basis is None else basis.arrays)
        self.values = jax.jit(self._values)
        self.values_and_slopes = jax.jit(self._values_and_slopes)
        self.state = jax.jit(self._state)

    def _bras(self, tables: Any, coefficients: Any, ket: Any) -> tuple[list[Any], Any]:
        bras = [o.apply(t, c, ket) for o, t, c in zip(self.observables, tables[1], coefficients, strict=True)]
        return bras, jnp.stack([_inner(ket, bra) for bra in bras])

    @_precisely
    def _values(self, tables: Any, numbers: Numbers, coefficients: Any) -> Any:
        tables = _unpacked(tables)
        numbers, coefficients = _unfolded((numbers, coefficients))
        ket, _ = self.engine.forward(tables[0], self.circuit.completed(numbers))
        return self._bras(tables, coefficients, ket)[1]

    @_precisely
    def _state(self, tables: Any, numbers: Numbers) -> Any:
        return self.engine.state(_unpacked(tables)[0], self.circuit.completed(numbers))

    @_precisely
    def _values_and_slopes(self, tables: Any, numbers: Numbers, coefficients: Any) -> tuple[Any, Any, Any]:
        """Values of shape (observables,), their slopes by the numbers (leading axis observables), and the state."""
        tables = _unpacked(tables)
        numbers, coefficients = _unfolded((numbers, coefficients))
        whole, pull = jax.vjp(self.circuit.completed, numbers)
        ket, kept = self.engine.forward(tables[0], whole, keep=True)
        bras, values = self._bras(tables, coefficients, ket)

        def back(bra: Any) -> Numbers:
            slopes: Numbers = pull(self.engine.backward(tables[0], whole, ket, kept, bra))[0]
            return slopes

        if len(bras) == 1:
            slopes = jax.tree.map(lambda s: s[None], back(bras[0]))
        else:
            slopes = jax.vmap(back)(jax.tree.map(lambda *b: jnp.stack(b), *bras))
        return values, slopes, ket

    @_precisely
    def linear(self, tables: Any, coefficients: Any, ket: Any) -> Any:
        """The expectation values again, as a linear function of the coefficients."""
        return self._bras(_unpacked(tables), coefficients, ket)[1]


def chosen(circuit: Circuit, sums: tuple[PauliSum, ...], options: Options) -> tuple[Engine, tuple[Any, ...]]:
    """The engine, and the observables in its layout; the whole space where a smaller one has no room for them."""
    found = engine(circuit, options)
    observables = tuple(found.observable(s) for s in sums)
    if None in observables:
        found = engine(circuit, replace(options, path="layers"))
        observables = tuple(found.observable(s) for s in sums)
    return found, observables


def facts(circuit: Circuit, sums: tuple[PauliSum, ...], options: Options) -> dict[str, Any]:
    """The facts of a circuit's engine, with what a gradient of the sum of its expectation values takes at least."""
    found, observables = chosen(circuit, sums, options)
    out = dict(found.facts)
    for one in observables:
        out = one.work.onto(out)
    return out


_WIDE = 8  # bytes of numbers that JAX narrows where its flag is off


@partial(jax.tree_util.register_dataclass, data_fields=("words",), meta_fields=("kind",))
@dataclass(frozen=True)
class _Wide:
    """A table of 64-bit numbers as pairs of 32-bit words, which JAX leaves alone whatever its flag says."""

    words: Any
    kind: str


def _packed(table: Any) -> Any:
    plain = np.ascontiguousarray(table)
    if plain.dtype.itemsize != _WIDE:
        return plain
    return _Wide(plain.view(np.uint32).reshape(*plain.shape, 2), plain.dtype.name)


def _unpacked(tables: Any) -> Any:
    """The tables in their own types."""

    def one(table: Any) -> Any:
        return jax.lax.bitcast_convert_type(table.words, table.kind) if isinstance(table, _Wide) else table

    return jax.tree.map(one, tables, is_leaf=lambda t: isinstance(t, _Wide))


def _unfolded(numbers: Any) -> Any:
    """Numbers that XLA takes as unknown: constants of a caller's program it would carry through at compile time."""
    return jax.lax.optimization_barrier(numbers)  # type: ignore[no-untyped-call]


def _inner(ket: Any, bra: Any) -> Any:
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(ket), jax.tree.leaves(bra), strict=True))


def _weight(program: _Program) -> int:
    return table_bytes(program.held)


@kept(_weight)
def _program(circuit: Circuit, sums: tuple[PauliSum, ...], options: Options) -> _Program:
    return _Program(circuit, sums, options)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _expectations(program: _Program, tables: Any, numbers: Numbers, coefficients: Any) -> Any:
    outer = _widest(numbers, coefficients)
    dtype = program.options.dtype
    tables = _exact_tables(program, tables)

    def run(numbers: Numbers, coefficients: Any) -> Any:
        return program.values(tables, _cast(numbers, dtype), _cast(coefficients, dtype)).astype(outer)

    return within(program.options.dtype, run, numbers, coefficients)


def _widest(*numbers: Any) -> Any:
    return jnp.result_type(*jax.tree.leaves(numbers))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


@partial(_expectations.defjvp, symbolic_zeros=True)
def _rule(program: _Program, primals: Any, tangents: Any) -> Any:
    tables, numbers, coefficients = primals
    _, moved, weighed = tangents
    outer = _widest(numbers, coefficients)
    if all(_is_zero(t) for t in jax.tree.leaves((moved, weighed), is_leaf=_is_zero)):
        values = _expectations(program, tables, numbers, coefficients)
        return values, jnp.zeros_like(values)
    with_terms = not all(_is_zero(t) for t in weighed)
    values, slopes, singles = _slopes_of(program, with_terms, tables, numbers, coefficients)
    out = jnp.zeros_like(values)
    for slope, tangent in zip(jax.tree.leaves(slopes), jax.tree.leaves(moved, is_leaf=_is_zero), strict=True):
        if not _is_zero(tangent):
            out = out + jnp.tensordot(slope, tangent.astype(outer), tangent.ndim)
    if with_terms:
        parts = [
            jnp.zeros((), outer) if _is_zero(t) else jnp.dot(s, t.astype(outer))
            for s, t in zip(singles, weighed, strict=True)
        ]
        out = out + jnp.stack(parts)
    return values, out


def _slopes_of(program: _Program, with_terms: bool, tables: Any, numbers: Numbers, coefficients: Any) -> Any:
    """Values, slopes by the numbers, and (if wanted) by the coefficients, in the widest dtype of the inputs."""
    tables = _exact_tables(program, tables)
    leaves, structure = jax.tree.flatten((numbers, coefficients))

    def function(*given: Any) -> Any:
        inner = jax.tree.unflatten(structure, given)
        values, slopes, ket = program.values_and_slopes(tables, *inner)
        return values, slopes, _single_terms(program, tables, inner[1], ket) if with_terms else ()

    dtype = program.options.dtype
    if _widest(leaves) == dtype:
        return within(dtype, function, *_cast(leaves, dtype))
    return _narrowed(dtype, function, leaves)


def _narrowed(dtype: str, function: Callable[..., Any], given: Sequence[Any]) -> Any:
    """A function computed in its own precision, with results and derivatives of every order in that of `given`.

    What is differentiated again must not be transposed outside the block that allows float64: the rule multiplies
    tangents with the Jacobian, which is such a function in turn.
    """
    outer = _widest(given)

    @jax.custom_jvp
    def call(*given: Any) -> Any:
        run = lambda *given: _cast(function(*_cast(given, dtype)), outer)  # noqa: E731
        return within(dtype, run, *given)

    @call.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        found = call(*primals)
        jacobian = jax.jacfwd(function, tuple(range(len(primals))))
        leaves, structure = jax.tree.flatten(found)
        rows: Any = structure.flatten_up_to(_narrowed(dtype, jacobian, primals))  # type: ignore[attr-defined]
        moved = [_moved(leaf, row, tangents) for leaf, row in zip(leaves, rows, strict=True)]
        return found, jax.tree.unflatten(structure, moved)

    return call(*given)


def _moved(value: Any, row: Any, tangents: Any) -> Any:
    """The tangent of a value from its Jacobian."""
    parts = (jnp.tensordot(r, t.astype(value.dtype), t.ndim) for r, t in zip(row, tangents, strict=True))
    return sum(parts, jnp.zeros_like(value))


def _single_terms(program: _Program, tables: Any, coefficients: Any, ket: Any) -> Any:
    """The expectation value of every word of every sum: what the coefficients multiply."""
    out = []
    for k, c in enumerate(coefficients):
        value = lambda c, k=k: program.linear(tables, (*coefficients[:k], c, *coefficients[k + 1 :]), ket)[k]  # noqa: E731
        out.append(jax.grad(value)(c))
    return tuple(out)


def expectations(
    circuit: Circuit,
    numbers: Numbers,
    sums: tuple[PauliSum, ...],
    coefficients: tuple[Any, ...],
    options: Options,
) -> Any:
    """<H> for each Pauli sum, shape (sums,), in the widest dtype of the inputs.

    Args:
        circuit: static.
        numbers: its run-time numbers; angles in radians.
        sums: static structures.
        coefficients: of each sum, shape (terms,), in the unit of the result.
        options: how to run.

    Raises:
        ValueError: if `options` ask for a path that this circuit cannot take.
    """
    program = _program(circuit, sums, options)
    given = _real(numbers), _real(coefficients)
    if not circuit.unitary:
        return _plain(program, "values", program.tables, given)
    return _expectations(program, program.tables, *given)


def _real(tree: Any) -> Any:
    """Leaves as floating arrays, in their own dtype where they have one."""

    def one(x: Any) -> Any:
        return x if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating) else jnp.asarray(x, float)

    return jax.tree.map(one, tree)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _plain(program: _Program, name: str, tables: Any, given: tuple[Any, ...]) -> Any:
    """A function of a program that JAX differentiates by itself: the state, and values where nothing can be undone."""
    outer = _widest(*given)
    tables = _exact_tables(program, tables)

    def run(*given: Any) -> Any:
        found = getattr(program, name)(tables, *_cast(given, program.options.dtype))
        return found.astype(jnp.result_type(outer, jnp.complex64) if jnp.iscomplexobj(found) else outer)

    return within(program.options.dtype, run, *given)


@_plain.defjvp
def _plain_rule(program: _Program, name: str, primals: Any, tangents: Any) -> Any:
    # Outside the block: what JAX transposes later must be in the precision that it allows there.  A product with the
    # Jacobian, as `_narrowed` takes it, would be in double, but hold a state for each number.
    tables, given = primals
    found = _plain(program, name, tables, given)
    dtype = jax.dtypes.canonicalize_dtype(program.options.dtype)
    run = lambda *given: getattr(program, name)(tables, *_cast(given, dtype))  # noqa: E731
    _, moved = jax.jvp(run, given, tangents[1])
    return found, moved.astype(found.dtype)


def state(circuit: Circuit, numbers: Numbers, options: Options) -> Any:
    """The final state as a complex vector of 2**wires amplitudes; position 0 is the most significant bit.

    Args:
        circuit: static.
        numbers: its run-time numbers; angles in radians.
        options: how to run.

    Raises:
        ValueError: if `options` ask for a path that this circuit cannot take, or the vector of a sector's register
            would not fit into memory.
    """
    program = _program(circuit, (), options)
    return _plain(program, "state", program.tables, (_real(numbers),))


def held_bytes(circuit: Circuit, sums: tuple[PauliSum, ...], options: Options) -> int:
    """The bytes that compiled programs of a circuit hold in tables: of its sums, and of its state."""
    found = [_program.kept.peek((circuit, wanted, options)) for wanted in {sums, ()}]
    return table_bytes(*(program.held for program in found if program is not None))
