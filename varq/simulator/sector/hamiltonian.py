"""A Pauli sum on the basis states of a sector.

All words with one x mask connect the same pairs of basis states.  On those pairs most words agree up to a sign: X X and
Y Y on two wires of which one is occupied, for instance.  A mask whose matrix elements take few different values is
"light": each value is a sum of a few coefficients, and each element is looked up.  The others, those of single
excitations and of the diagonal, are "heavy": the basis states are written as (left, right) for two sets of wires, so
that the signs of a word are a product, and the elements of a mask are L C R with C the coefficients.
Words that leave the sector drop out, and in a real circuit words with an odd number of Y, whose expectation values in
real states are zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.observables import PauliSum
from varq.simulator.sector.basis import Basis, parity

__all__ = ["SectorObservable", "observable"]

_FEW = 8
"""So many values a light mask may have; each costs a look-up per basis state, not arithmetic."""

Group = list[tuple[int, int, int]]  # (index of the term, z mask, sign)


class Light(NamedTuple):
    """Elements by look-up: out[r] = sum_k value[entry[k, r]] * state[source[k, r]].

    Args:
        source: shape (basis states, most per row).
        entry: which value, same shape; the values are (v, -v, 0).
        terms: the coefficients that a value adds up, shape (values, most).
        signs: their signs, 0 where padded, same shape.
    """

    source: NDArray[np.int32]
    entry: NDArray[np.int32]
    terms: NDArray[np.int32]
    signs: NDArray[np.int8]


class Heavy(NamedTuple):
    """Elements by two tables of signs: masks with the same number of words on either side, padded.

    Args:
        source: which basis state each row takes, shape (masks, basis states).
        sign: 0 where the mask leaves the sector, same shape.
        left, right: signs, shape (masks, left or right strings, words).
        place: left string * right strings + right string of each basis state, or None if the two run in order.
        cell: where each coefficient goes in C, flat, shape (terms,).
        terms, signs: which coefficient, and its sign.
    """

    source: NDArray[np.int32]
    sign: NDArray[np.int8]
    left: NDArray[np.int8]
    right: NDArray[np.int8]
    place: NDArray[np.int32]
    cell: NDArray[np.int32]
    terms: NDArray[np.int32]
    signs: NDArray[np.int8]


class Half(NamedTuple):
    """The real, or the imaginary, matrix elements."""

    light: Light | None
    heavy: tuple[Heavy, ...]


def _groups(structure: PauliSum, odd: bool) -> dict[int, Group]:
    """Words with an even or odd number of Y by x mask; the sign is that of (-i)^odd i^(number of Y)."""
    found: dict[int, Group] = defaultdict(list)
    for k, (x, z) in enumerate(structure.terms):
        ys = (x & z).bit_count()
        if ys % 2 == odd:
            found[x].append((k, z, 1 - 2 * (ys // 2 % 2)))
    return found


class _Masks:
    """Sorts the masks of one half into light and heavy ones."""

    def __init__(self, groups: dict[int, Group], basis: Basis) -> None:
        self.basis = basis
        self.values: list[dict[int, int]] = []  # term -> sign
        self.entries: list[tuple[Any, Any, Any]] = []  # rows, sources, signed values
        self.heavy: list[tuple[Any, Any, int, Group]] = []
        for x, group in groups.items():
            source = basis.find(basis.states ^ x)
            rows = np.nonzero(source >= 0)[0]
            if len(rows):
                self._sort(x, group, rows, source[rows])

    def _sort(self, x: int, group: Group, rows: Any, source: Any) -> None:
        states = self.basis.states[source]
        if x == 0 and len(group) > _FEW:
            self.heavy.append((rows, source, x, group))
            return
        # A word on a set of wires and one on all others but them differ by a sign here: keep one word of each kind.
        signs = np.stack([sign * parity(states, z) for _, z, sign in group])
        flip = signs[:, 0].copy()
        base = signs[0].copy()
        kinds, which = np.unique((signs * base).T, axis=0, return_inverse=True)
        if len(kinds) > _FEW:
            self.heavy.append((rows, source, x, _merged(group, signs, flip)))
            return
        first = len(self.values)
        self.values += [{k: int(s) for (k, _, _), s in zip(group, kind, strict=True)} for kind in kinds]
        self.entries.append((rows, source, (1 + first + which.ravel()) * base))


def _merged(group: Group, signs: Any, flip: Any) -> Group:
    """Words that agree on all rows up to a sign, written with the z mask of the first of them."""
    first: dict[bytes, int] = {}
    out = []
    for (k, _, _), row, begin in zip(group, signs, flip, strict=True):
        head = first.setdefault((row * begin).tobytes(), len(out))
        _, z, sign = group[head]
        out.append((k, z, int(begin * flip[head] * sign)))
    return out


def _light(masks: _Masks, size: int) -> Light | None:
    if not masks.entries:
        return None
    rows = np.concatenate([r for r, _, _ in masks.entries])
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    source = np.concatenate([s for _, s, _ in masks.entries])[order]
    value = np.concatenate([v for _, _, v in masks.entries])[order]
    column = np.arange(len(rows)) - np.searchsorted(rows, rows)
    most, count = int(column.max()) + 1, len(masks.values)
    sources = np.zeros((size, most), np.int32)
    entry = np.full((size, most), 2 * count, np.int32)
    sources[rows, column] = source
    entry[rows, column] = np.where(value > 0, value - 1, count - value - 1)
    return Light(sources, entry, *_padded(masks.values))


def _padded(values: Sequence[dict[int, int]]) -> tuple[Any, Any]:
    most = max(map(len, values))
    terms = np.zeros((len(values), most), np.int32)
    signs = np.zeros((len(values), most), np.int8)
    for k, value in enumerate(values):
        terms[k, : len(value)], signs[k, : len(value)] = list(value), list(value.values())
    return terms, signs


def _sides(basis: Basis) -> tuple[int, Any, Any, Any]:
    """Two sets of wires for which the basis comes closest to all pairs of left and right strings."""
    wires, best = basis.wires, None
    up = sum(1 << k for k in range(wires - 1, -1, -2))
    low = (1 << wires // 2) - 1
    for left in (up, ((1 << wires) - 1) ^ low):
        strings, place = np.unique(basis.states & left, return_inverse=True)
        others, other = np.unique(basis.states & ~left, return_inverse=True)
        if best is None or len(strings) * len(others) < len(best[1]) * len(best[2]):
            best = (left, strings, others, place.ravel() * len(others) + other.ravel())
    assert best is not None
    return best


def _heavy(masks: Sequence[tuple[Any, Any, int, Group]], basis: Basis, sides: Any) -> Heavy:
    left, strings, others, place = sides
    size, count = len(basis), len(masks)
    words = [(sorted({z & left for _, z, _ in g}), sorted({z & ~left for _, z, _ in g})) for *_, g in masks]
    a, b = (max(len(w[k]) for w in words) for k in (0, 1))
    source, sign = np.zeros((count, size), np.int32), np.zeros((count, size), np.int8)
    lefts, rights = np.zeros((count, len(strings), a), np.int8), np.zeros((count, len(others), b), np.int8)
    cell, terms, signs = [], [], []
    for m, ((rows, there, x, group), (ls, rs)) in enumerate(zip(masks, words, strict=True)):
        source[m, rows], sign[m, rows] = there, 1
        for k, z in enumerate(ls):
            lefts[m, :, k] = parity(strings ^ (x & left), z)
        for k, z in enumerate(rs):
            rights[m, :, k] = parity(others ^ (x & ~left), z)
        for k, z, s in group:
            cell.append((m * a + ls.index(z & left)) * b + rs.index(z & ~left))
            terms.append(k)
            signs.append(s)
    return Heavy(
        source, sign, lefts, rights, place.astype(np.int32), np.array(cell, np.int32),
        np.array(terms, np.int32), np.array(signs, np.int8),
    )  # fmt: skip


def _half(structure: PauliSum, basis: Basis, odd: bool) -> Half | None:
    groups = _groups(structure, odd)
    if not groups:
        return None
    masks = _Masks(groups, basis)
    sides = _sides(basis) if masks.heavy else None
    diagonal = [m for m in masks.heavy if m[2] == 0]
    others = [m for m in masks.heavy if m[2] != 0]
    heavy = tuple(_heavy(some, basis, sides) for some in (diagonal, others) if some)
    return Half(_light(masks, len(basis)), heavy)


def _applied(half: Half, coefficients: Any, state: Any) -> Any:
    """The elements of a half times a state of shape (basis states, parts)."""
    out = jnp.zeros_like(state)
    if half.light is not None:
        out = out + _apply_light(half.light, coefficients, state)
    for heavy in half.heavy:
        out = out + _apply_heavy(heavy, coefficients, state)
    return out


def _apply_light(light: Light, coefficients: Any, state: Any) -> Any:
    signs = jnp.asarray(light.signs, coefficients.dtype)
    value = jnp.sum(signs * coefficients[light.terms], -1)
    value = jnp.concatenate([value, -value, jnp.zeros(1, value.dtype)])
    return jnp.sum(value.at[light.entry].get(mode="promise_in_bounds")[..., None] * _rows(state, light.source), 1)


def _rows(state: Any, source: Any) -> Any:
    return state.at[source].get(mode="promise_in_bounds")


def _apply_heavy(heavy: Heavy, coefficients: Any, state: Any) -> Any:
    dtype = coefficients.dtype
    masks, _, a = heavy.left.shape
    b = heavy.right.shape[2]
    cells = jnp.zeros(masks * a * b, dtype).at[heavy.cell].add(coefficients[heavy.terms] * heavy.signs)
    left, right = jnp.asarray(heavy.left, dtype), jnp.asarray(heavy.right, dtype)
    values = (left @ cells.reshape(masks, a, b)) @ jnp.swapaxes(right, 1, 2)
    values = values.reshape(masks, -1)[:, heavy.place] * heavy.sign
    return jnp.sum(values[..., None] * _rows(state, heavy.source), 0)


class SectorObservable:
    """H |state> for a Pauli sum in one sector; tables are (real elements, imaginary elements), None where none are."""

    def __init__(self, tables: tuple[Half | None, Half | None]) -> None:
        self.tables = tables

    def apply(self, tables: Any, coefficients: Any, state: Any) -> Any:
        """H |state>, projected on the sector, and in a real circuit on its real part.

        Args:
            tables: this observable's tables.
            coefficients: of the words, shape (terms,).
            state: shape (basis states,), or (basis states, 2) for real and imaginary part.
        """
        real, imaginary = tables
        coefficients = jnp.asarray(coefficients)
        rows = state.reshape(state.shape[0], -1)
        out = jnp.zeros_like(rows)
        if real is not None:
            out = out + _applied(real, coefficients, rows)
        if imaginary is not None:
            turned = _applied(imaginary, coefficients, rows)
            out = out + jnp.stack([-turned[:, 1], turned[:, 0]], -1)
        return out.reshape(state.shape)


def observable(structure: PauliSum, basis: Basis, is_complex: bool) -> SectorObservable:
    """A Pauli sum on the states of a basis."""
    imaginary = _half(structure, basis, True) if is_complex else None
    return SectorObservable((_half(structure, basis, False), imaginary))
