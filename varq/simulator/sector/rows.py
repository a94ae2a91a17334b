"""A Pauli sum on any set of basis states: its matrix elements, row by row, as look-ups.

All words with one x mask connect the same pairs of basis states, and on those pairs most agree up to a sign.  Where
the elements of a mask take few different values, each value is a sum of some coefficients, computed once; where they
take many (a diagonal), every word is looked up by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import parity
from varq.simulator.sector.basis import Basis

__all__ = ["Rows", "apply", "elements", "expected", "rows", "work"]

Word = tuple[int, int, int, int]
_ELEMENT = 2.5  # nanoseconds of an element


class Rows(NamedTuple):
    """out[r] = sum_k value[entry[k, r]] * state[source[k, r]]; a pytree.

    Args:
        source: shape (most elements in a row, basis states).
        entry: which value, same shape; the values are (v, -v, 0).
        terms: the coefficients that a value adds up, shape (values, most).
        signs: their signs, 0 where padded, same shape.
    """

    source: NDArray[np.int32]
    entry: NDArray[np.int32]
    terms: NDArray[np.int32]
    signs: NDArray[np.int8]


class _Elements:
    """Collects matrix elements."""

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self.values: list[dict[int, int]] = []  # index of a word -> sign
        self.count = 0
        self.found: list[tuple[Any, Any, Any]] = []  # rows, sources, +-(1 + value)

    def add(self, x: int, group: Sequence[Word]) -> None:
        """The words of one mask."""
        source = self.basis.find(self.basis.states ^ x)
        here = np.nonzero(source >= 0)[0]
        if not len(here):
            return
        source = source[here]
        states = self.basis.states[source]
        signs = np.stack([sign * parity(states, z) for _, _, z, sign in group])
        base = signs[0]
        bits = np.packbits(signs != base, axis=0)  # rows with equal signs, up to one for all, have equal values
        kinds = np.ascontiguousarray(bits.T).view(np.dtype((np.void, bits.shape[0]))).ravel()
        _, first, which = np.unique(kinds, return_index=True, return_inverse=True)
        if len(first) < len(group):
            self._keep(here, source, (1 + len(self.values) + which.ravel()) * base)
            for k in first:
                self.values.append({w[0]: int(s * base[k]) for w, s in zip(group, signs[:, k], strict=True)})
            return
        for word, sign in zip(group, signs, strict=True):
            self._keep(here, source, (1 + len(self.values)) * sign.astype(np.int64))
            self.values.append({word[0]: 1})

    def _keep(self, here: Any, source: Any, value: Any) -> None:
        self.found.append((here, source, value))
        self.count += len(here)


def rows(basis: Basis, words: Sequence[Word], most: int) -> Rows | None:
    """The tables for some words, or None if there are more than `most` elements.

    Args:
        basis: of the sector.
        words: (index, x mask, z mask, sign).
        most: elements.
    """
    groups: dict[int, list[Word]] = defaultdict(list)
    for word in words:
        groups[word[1]].append(word)
    elements = _Elements(basis)
    for x, group in groups.items():
        elements.add(x, group)
        if elements.count > most:
            return None
    if not elements.found:
        elements.values.append({0: 0})
        elements.found.append((np.zeros(0, np.int64),) * 3)
    return _table(elements, len(basis))


def _table(elements: _Elements, size: int) -> Rows:
    here, source, value = (np.concatenate([f[k] for f in elements.found]) for k in range(3))
    order = np.argsort(here, kind="stable")
    here, source, value = here[order], source[order], value[order]
    column = np.arange(len(here)) - np.searchsorted(here, here)
    count = len(elements.values)
    sources = np.zeros((int(column.max(initial=0)) + 1, size), np.int32)
    entry = np.full(sources.shape, 2 * count, np.int32)
    sources[column, here] = source
    entry[column, here] = np.where(value > 0, value - 1, count - value - 1)
    most = max(map(len, elements.values))
    terms = np.zeros((count, most), np.int32)
    signs = np.zeros((count, most), np.int8)
    for k, one in enumerate(elements.values):
        terms[k, : len(one)], signs[k, : len(one)] = list(one), list(one.values())
    return Rows(sources, entry, terms, signs)


def expected(basis: Basis, words: Sequence[Word]) -> float:
    """A lower bound on `work`, without tables: from a sample of basis states, one value for each mask."""
    sample = basis.states[:: 1 + len(basis) // 64]
    inside = sum(int(np.count_nonzero(basis.find(sample ^ x) >= 0)) for x in {x for _, x, _, _ in words})
    return _ELEMENT * len(basis) * inside / len(sample)


def work(tables: Rows) -> float:
    """Roughly how many nanoseconds `apply` takes."""
    return _ELEMENT * tables.source.size


def elements(tables: Rows) -> float:
    """How many matrix elements there are, whatever number of words adds up to each."""
    size = tables.source.shape[1]
    real = tables.entry < 2 * len(tables.terms)  # the entry after all values fills rows up
    places = np.arange(size) * size + tables.source.astype(np.int64)
    return float(len(np.unique(places[real])))


def apply(tables: Rows, coefficients: Any, state: Any) -> Any:
    """The words of these tables times a real state of shape (basis states,)."""
    value = jnp.sum(jnp.asarray(tables.signs, coefficients.dtype) * coefficients[tables.terms], -1)
    value = jnp.concatenate([value, -value, jnp.zeros(1, value.dtype)])

    # One element of every row at a time: a sum that is fused into look-ups is slow on CPU.
    def add(total: Any, x: Any) -> tuple[Any, None]:
        source, entry = x
        found = state.at[source].get(mode="promise_in_bounds")
        return total + value.at[entry].get(mode="promise_in_bounds") * found, None

    return jax.lax.scan(add, jnp.zeros_like(state), (tables.source, tables.entry))[0]
