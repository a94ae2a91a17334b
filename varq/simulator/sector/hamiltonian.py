"""A Pauli sum in a sector.

Words that leave the sector drop out, and in a real circuit words with an odd number of Y, whose matrix elements are
imaginary and whose expectation values in real states are zero.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.least import SLOPE, Work
from varq.simulator.observables import PauliSum
from varq.simulator.sector import rows, strings, words
from varq.simulator.sector.basis import Basis

__all__ = ["MOST_ELEMENTS", "SectorObservable", "observable"]

MOST_ELEMENTS = 1 << 27
"""Matrix elements that are tabulated, at eight bytes each."""

Half = rows.Rows | strings.Strings | words.Words


def _half(structure: PauliSum, basis: Basis, odd: bool) -> tuple[Half | None, bool]:
    """The tables for words with an even or odd number of Y (None if there are none), and whether they could be made."""
    some = []
    for k, (x, z) in enumerate(structure.terms):
        ys = (x & z).bit_count()
        if ys % 2 == odd:
            some.append((k, x, z, 1 - 2 * (ys // 2 % 2)))  # (-i)^odd i^ys
    if not some:
        return None, True
    by_strings = strings.strings(structure, basis, some)
    if by_strings is not None and strings.work(by_strings) < rows.expected(basis, some):
        return by_strings, True
    by_rows = rows.rows(basis, some, MOST_ELEMENTS)
    if by_strings is None and by_rows is None:
        one_by_one = words.words(basis, some)
        return one_by_one, one_by_one is not None
    if by_strings is None or (by_rows is not None and rows.work(by_rows) < strings.work(by_strings)):
        return by_rows, True
    return by_strings, True


def _one(half: Half, coefficients: Any, state: Any) -> Any:
    if isinstance(half, strings.Strings):
        return strings.apply(half, coefficients, state)
    if isinstance(half, words.Words):
        return words.apply(half, coefficients, state)
    return rows.apply(half, coefficients, state)


def _elements(half: Half, states: int) -> float:
    """How many elements of the matrix the tables stand for."""
    if isinstance(half, rows.Rows):
        return rows.elements(half)
    if isinstance(half, words.Words):
        return float(len(np.unique(half.x)) * states)
    return strings.elements(half, states)


def _applied(half: Half, coefficients: Any, state: Any) -> Any:
    if state.ndim == 1:
        return _one(half, coefficients, state)
    return jax.vmap(_one, in_axes=(None, None, 1), out_axes=1)(half, coefficients, state)


class SectorObservable:
    """H |state> for a Pauli sum in one sector; `tables` are those of its real and of its imaginary elements."""

    def __init__(self, tables: tuple[Half | None, Half | None], states: int, is_complex: bool) -> None:
        self.tables = tables
        elements = sum(_elements(half, states) for half in tables if half is not None)
        parts = 2 if is_complex else 1
        # A product and an addition for each matrix element, and the product with the state.
        self.work = Work(2, parts * 2 * elements / states + parts * SLOPE / 2)

    def apply(self, tables: Any, coefficients: Any, state: Any) -> Any:
        """H |state>, projected on the sector, and in a real circuit on its real part.

        Args:
            tables: this observable's tables.
            coefficients: of the words, shape (terms,).
            state: shape (basis states,), or (basis states, 2) for real and imaginary part.
        """
        real, imaginary = tables
        coefficients = jnp.asarray(coefficients)
        out = jnp.zeros_like(state) if real is None else _applied(real, coefficients, state)
        if imaginary is not None:
            turned = _applied(imaginary, coefficients, state)
            out = out + jnp.stack([-turned[:, 1], turned[:, 0]], -1)
        return out


def observable(structure: PauliSum, basis: Basis, is_complex: bool) -> SectorObservable | None:
    """A Pauli sum on the states of a basis, or None if its tables would be too large
    and the register is too wide to do without."""
    real, possible = _half(structure, basis, False)
    imaginary, also = _half(structure, basis, True) if is_complex else (None, True)
    if not possible or not also:
        return None
    return SectorObservable((real, imaginary), len(basis), is_complex)
