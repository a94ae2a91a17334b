"""The numbers of a measured circuit: what is known, and what JAX is tracing.

Traced numbers are gathered in the caller's precision as one real vector, from which the program makes everything else
inside its own precision.  So nothing that JAX transposes later, in the caller's precision, is left outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml

from varq.simulator.measured.functions import evaluate
from varq.simulator.measured.program import Array, Numbers, Traced

__all__ = ["Inputs", "Layout", "Piece", "TableSource", "assemble"]


@dataclass(frozen=True)
class Piece:
    """A number of the program that is part of the traced vector.

    Args:
        index: of the scalar or array.
        start: where in the vector; a complex one has its real parts first, then its imaginary parts.
        shape: of the number.
        dtype: by name.
    """

    index: int
    start: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class TableSource:
    """A table that is computed at run time, because its function uses traced numbers.

    Args:
        function: without inputs.
        consts: what it closes over.
        start: of the table.
        size: of the table.
    """

    function: Traced
    consts: tuple[Array, ...]
    start: int
    size: int


@dataclass(frozen=True)
class Layout:
    """How the traced vector fills the numbers of a program.

    Args:
        scalars: the traced ones.
        arrays: the traced ones.
        tables: the computed ones.
    """

    scalars: tuple[Piece, ...] = ()
    arrays: tuple[Piece, ...] = ()
    tables: tuple[TableSource, ...] = ()


class Inputs:
    """Collects the numbers of a program while it is read."""

    def __init__(self) -> None:
        self.scalars: list[Any] = []
        self.arrays: list[Any] = []
        self._tables: list[Any] = [np.zeros(1)]
        self._sources: list[TableSource] = []
        self._size = 1

    def scalar(self, value: Any) -> int:
        """The index of a real number."""
        self.scalars.append(value)
        return len(self.scalars) - 1

    def array(self, value: Any) -> Array:
        """The reference to an array."""
        self.arrays.append(value if isinstance(value, jax.core.Tracer) else np.asarray(qml.math.unwrap(value)))
        return Array(len(self.arrays) - 1)

    def table(self, values: Any) -> int:
        """Where a table of known values starts."""
        self._tables.append(np.asarray(values, np.float64))
        self._size += len(values)
        return self._size - len(values)

    def computed_table(self, function: Traced, consts: Sequence[Any], size: int) -> int:
        """Where a table starts that `function` makes of `consts`."""
        start = self.table(np.zeros(size))
        self._sources.append(TableSource(function, tuple(self.array(c) for c in consts), start, size))
        return start

    def pack(self) -> tuple[Layout, Numbers, Any]:
        """The layout, the known numbers with gaps, and the traced vector; None if nothing is traced."""
        traced: list[Any] = []
        scalars, known_scalars = _split(self.scalars, traced)
        arrays, known_arrays = _split(self.arrays, traced)
        known = Numbers(
            np.array([float(qml.math.unwrap(v)) for v in known_scalars], np.float64),
            np.concatenate(self._tables),
            tuple(known_arrays),
        )
        return Layout(scalars, arrays, tuple(self._sources)), known, _joined(traced) if traced else None


def _split(values: Sequence[Any], traced: list[Any]) -> tuple[tuple[Piece, ...], list[Any]]:
    """The traced ones as pieces of a vector, which are put to `traced`, and all values with 0 in their stead."""
    pieces, known = [], list(values)
    start = sum(map(_length, traced))
    for k, value in enumerate(values):
        if not isinstance(value, jax.core.Tracer):
            continue
        shape = jnp.shape(value)
        pieces.append(Piece(k, start, shape, str(jnp.result_type(value))))
        known[k] = np.zeros(0) if shape else np.float64(0)
        start += _length(value)
        traced.append(value)
    return tuple(pieces), known


def _length(value: Any) -> int:
    return int(value.size) * (2 if jnp.iscomplexobj(value) else 1)


@jax.jit  # one step for JAX to differentiate, where a call that is not compiled would have some for each number
def _joined(values: Sequence[Any]) -> Any:
    """Numbers as one real vector."""
    parts: list[Any] = []
    for value in values:
        flat = jnp.ravel(value)
        if jnp.iscomplexobj(value):
            parts += [jnp.real(flat), jnp.imag(flat)]
        else:
            parts.append(flat if jnp.issubdtype(flat.dtype, jnp.floating) else flat.astype(float))
    return jnp.concatenate(parts)


def assemble(layout: Layout, known: Numbers, traced: Any, dtype: str) -> Numbers:
    """All numbers of a program, to be called inside its precision."""
    scalars, tables = jnp.asarray(known.scalars, dtype), jnp.asarray(known.tables, dtype)
    if layout.scalars:
        index = np.array([p.index for p in layout.scalars])
        scalars = scalars.at[index].set(traced[np.array([p.start for p in layout.scalars])].astype(dtype))
    arrays = list(known.arrays)
    for piece in layout.arrays:
        arrays[piece.index] = _restored(piece, traced)
    for source in layout.tables:
        consts = [arrays[c.index] for c in source.consts]
        values = evaluate(source.function, consts)[0]
        tables = tables.at[source.start : source.start + source.size].set(values.astype(dtype))
    return Numbers(scalars, tables, tuple(arrays))


def _restored(piece: Piece, traced: Any) -> Any:
    size = int(np.prod(piece.shape))
    flat = traced[piece.start : piece.start + size]
    kind = jnp.dtype(piece.dtype)
    if jnp.issubdtype(kind, jnp.complexfloating):
        flat = jax.lax.complex(flat, traced[piece.start + size : piece.start + 2 * size])
    return flat.astype(kind).reshape(piece.shape)
