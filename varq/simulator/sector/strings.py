"""A Pauli sum on left and right strings: H = A x 1 + 1 x B + sum_mn G_mn L_m x R_n.

The wires are split in two (spin up and down, or the two halves of the register), so that a basis state is a pair of
strings.  A word is a product of an operator on left strings and one on right strings, each a signed permutation of
some of them.  Words whose operators agree on the strings of the sector up to signs add up to one coefficient: X X and
Y Y on two wires of which one is occupied, for instance.  What acts on one side alone becomes a small matrix, A or B.
For the others, all R_n |state> are gathered, multiplied by the matrix G, and gathered by all L_m; G falls into blocks
that do not couple (symmetries of a molecule), found from the structure.
Spin up and down may be interleaved in the register, and Jordan-Wigner strings then run over both.  Reordering the
orbitals, up before down, multiplies basis states by signs ("twist") with which fermionic operators are products again.
This is how configuration interaction is done directly (Knowles and Handy, Chem. Phys. Lett. 111, 315, 1984), with
operators that come from the words instead of from orbitals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from varq.simulator.bits import parity
from varq.simulator.observables import PauliSum
from varq.simulator.sector.basis import Basis

__all__ = ["Strings", "apply", "elements", "strings", "work"]

_BLOCKS = 4  # more blocks of G than this are joined, since each must be compiled
_CALL = 2e4  # nanoseconds of the calls for a block
_PRODUCT = 0.1  # nanoseconds of a multiplication and addition in a matrix product
_GATHER = 1.2  # nanoseconds of an element that is gathered
_WASTE = 4  # pairs of strings for each basis state beyond which another scheme is better


class Side(NamedTuple):
    """What acts on the strings of one side alone: the elements of a matrix.

    Args:
        cell: where they go, flat.
        term: of which effective coefficient.
        factor: with which sign.
    """

    cell: NDArray[np.int32]
    term: NDArray[np.int32]
    factor: NDArray[np.int8]


class Block(NamedTuple):
    """Operators on both sides that couple, each as the string that each string takes and a sign, 0 where none.

    Args:
        left, left_sign: shape (left operators, left strings).
        right, right_sign: shape (right operators, right strings).
    """

    left: NDArray[np.int32]
    left_sign: NDArray[np.int8]
    right: NDArray[np.int32]
    right_sign: NDArray[np.int8]

    @property
    def shape(self) -> tuple[int, int]:
        """Of its part of G."""
        return self.left.shape[0], self.right.shape[0]


class Strings(NamedTuple):
    """Tables of one half of an observable; a pytree.

    Args:
        left, right: what acts on one side alone.
        blocks: what acts on both.
        place: where each basis state stands among all pairs, or None if it has them all in order.
        twist: the sign of each basis state, or None.
        effective: which effective coefficient each word adds to, shape (words,): the blocks of G, flat, then those of
            A and B, then one for the words that drop out.
        factor: with which sign.
        spare: zeros; their shape says how many strings there are on each side, and how many effective coefficients
            there are after G, to functions that see shapes only.
    """

    left: Side
    right: Side
    blocks: tuple[Block, ...]
    place: NDArray[np.int32] | None
    twist: NDArray[np.int8] | None
    effective: NDArray[np.int32]
    factor: NDArray[np.int8]
    spare: tuple[NDArray[np.int8], NDArray[np.int8]]


class _Operators:
    """Operators on one side, told apart by what they do to its strings."""

    def __init__(self, strings: Any, bits: int) -> None:
        self.strings, self.bits = strings, bits
        self.rows: list[tuple[Any, Any]] = []  # source, sign
        self._number: dict[tuple[int, bytes], int] = {}
        self._memo: dict[tuple[int, int], tuple[int, int] | None] = {}
        self._sources: dict[int, Any] = {}
        self.one = self.find(0, 0)

    def find(self, x: int, z: int) -> tuple[int, int] | None:
        """(number, sign) of the operator of a word on this side; None if it leads every string outside."""
        x, z = x & self.bits, z & self.bits
        if (x, z) not in self._memo:
            self._memo[x, z] = self._new(x, z)
        return self._memo[x, z]

    def _new(self, x: int, z: int) -> tuple[int, int] | None:
        if x not in self._sources:
            there = self.strings ^ x
            place = np.minimum(np.searchsorted(self.strings, there), len(self.strings) - 1)
            self._sources[x] = place, self.strings[place] == there
        source, inside = self._sources[x]
        if not inside.any():
            return None
        sign = np.where(inside, parity(self.strings ^ x, z), 0).astype(np.int8)
        first = int(sign[np.argmax(inside)])
        number = self._number.setdefault((x, (sign * first).tobytes()), len(self.rows))
        if number == len(self.rows):
            self.rows.append((np.where(inside, source, 0), sign * first))
        return number, first


class _Split(NamedTuple):
    """A register in two sides: the bits of the left one, both sides' strings, and each basis state's pair of them."""

    bits: int
    lefts: Any
    rights: Any
    place: Any

    @property
    def pairs(self) -> int:
        """How many pairs of strings there are."""
        return len(self.lefts) * len(self.rights)


def _splits(basis: Basis) -> list[_Split]:
    """Even and odd positions; first and second half."""
    wires = basis.wires
    even = sum(1 << k for k in range(wires - 1, -1, -2))
    out = []
    for bits in (even, ((1 << wires) - 1) ^ ((1 << wires // 2) - 1)):
        lefts, first = np.unique(basis.states & bits, return_inverse=True)
        rights, second = np.unique(basis.states & ~bits, return_inverse=True)
        out.append(_Split(bits, lefts, rights, first.ravel() * len(rights) + second.ravel()))
    return out


def _crossings(bits: int, wires: int) -> list[tuple[int, int]]:
    """For each left bit, the right bits of higher positions' value that it passes when all left ones move in front."""
    return [(1 << k, ~bits & ((1 << wires) - (1 << k))) for k in range(wires) if bits >> k & 1]


def _crossed(x: int, crossings: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What the twist does to a word that flips x: Z on these bits, and a sign."""
    z, odd = 0, 0
    for left, passed in crossings:
        crossing = (x & passed).bit_count() & 1
        if x & left:
            z ^= passed
            odd ^= crossing
        if crossing:
            z ^= left
    return z, 1 - 2 * odd


def _twist(states: Any, crossings: Sequence[tuple[int, int]]) -> NDArray[np.int8]:
    """The sign of each basis state."""
    odd = np.zeros(len(states), np.int64)
    for left, passed in crossings:
        odd ^= np.where(states & left, np.bitwise_count(states & passed) & 1, 0)
    return (1 - 2 * odd).astype(np.int8)


def _blocks(couplings: Sequence[tuple[int, int]], pairs: int) -> list[tuple[list[int], list[int]]]:
    """Left and right operators that couple, block by block; small blocks are joined where calls cost more."""
    blocks: list[tuple[set[int], set[int]]] = []
    for m, n in couplings:
        mine = [b for b in blocks if m in b[0] or n in b[1]]
        joined = {m}.union(*(b[0] for b in mine)), {n}.union(*(b[1] for b in mine))
        blocks = [b for b in blocks if b not in mine] + [joined]
    blocks.sort(key=lambda b: -len(b[0]) * len(b[1]))
    while len(blocks) > 1:
        (a, b), (c, d) = blocks[-2:]
        grown = len(a | c) * len(b | d) - len(a) * len(b) - len(c) * len(d)
        if _PRODUCT * pairs * grown > _CALL and len(blocks) <= _BLOCKS:
            break
        blocks[-2:] = [(a | c, b | d)]
    return [(sorted(a), sorted(b)) for a, b in blocks]


def _side(operators: _Operators, alone: dict[int, int], offset: int) -> Side:
    """The tables of a side; `alone` says which effective coefficient the operators that act alone have."""
    size = len(operators.strings)
    cell, term, factor = ([np.zeros(0, np.int32)] for _ in range(3))
    for m, k in alone.items():
        there, signs = operators.rows[m]
        rows = np.nonzero(signs)[0]
        cell.append(rows * size + there[rows])
        term.append(np.full(len(rows), offset + k))
        factor.append(signs[rows])
    flat = [np.concatenate(x) for x in (cell, term, factor)]
    return Side(flat[0].astype(np.int32), flat[1].astype(np.int32), flat[2].astype(np.int8))


def _block(left: _Operators, right: _Operators, ms: Sequence[int], ns: Sequence[int]) -> Block:
    sides = [[np.array([o.rows[k][c] for k in some]) for c in (0, 1)] for o, some in ((left, ms), (right, ns))]
    (source, sign), (other, other_sign) = sides
    return Block(source.astype(np.int32), sign.astype(np.int8), other.astype(np.int32), other_sign.astype(np.int8))


def strings(structure: PauliSum, basis: Basis, words: Sequence[tuple[int, int, int, int]]) -> Strings | None:
    """The cheapest tables for some words, or None where pairs of strings would be much more than basis states.

    Args:
        structure: the whole sum; coefficients are indexed by it.
        basis: of the sector.
        words: (index, x mask, z mask, sign).
    """
    found = []
    for split in _splits(basis):
        if split.pairs <= _WASTE * len(basis):
            for crossings in ([], _crossings(split.bits, basis.wires)):
                found.append(_one(structure, basis, words, split, crossings))
    return min(found, key=work, default=None)


def _one(structure: PauliSum, basis: Basis, words: Any, split: _Split, crossings: Any) -> Strings:
    """The tables for one way of splitting the register."""
    left, right = _Operators(split.lefts, split.bits), _Operators(split.rights, ~split.bits)
    turned = {x: _crossed(x, crossings) for x in {x for _, x, _, _ in words}}
    products = []
    for k, x, z, sign in words:
        extra, flip = turned[x]
        m, n = left.find(x, z ^ extra), right.find(x, z ^ extra)
        if m is not None and n is not None:
            products.append((k, m[0], n[0], sign * flip * m[1] * n[1]))
    place = None if _ordered(split) else split.place
    twist = _twist(basis.states, crossings) if crossings else None
    return _tables(structure, left, right, products)._replace(place=place, twist=twist)


def _ordered(split: _Split) -> bool:
    return len(split.place) == split.pairs and bool(np.all(np.diff(split.place) == 1))


def _tables(structure: PauliSum, left: _Operators, right: _Operators, products: Any) -> Strings:
    one_left, one_right = left.one[0], right.one[0]  # type: ignore[index]  # the identity never leads outside
    both = sorted({(m, n) for _, m, n, _ in products if m != one_left and n != one_right})
    blocks = _blocks(both, len(left.strings) * len(right.strings))
    where: dict[tuple[int, int], int] = {}
    for ms, ns in blocks:
        where.update({(m, n): k for k, (m, n) in enumerate(((m, n) for m in ms for n in ns), len(where))})
    coupled = len(where)
    for m, n in sorted({(m, n) for _, m, n, _ in products} - where.keys(), key=lambda mn: mn[1] != one_right):
        where[m, n] = len(where)
    alone_left = {m: k for (m, n), k in where.items() if k >= coupled and n == one_right}
    alone_right = {n: k for (m, n), k in where.items() if k >= coupled and n != one_right}
    effective = np.full(len(structure.terms), len(where), np.int32)
    factor = np.zeros(len(structure.terms), np.int8)
    for k, m, n, sign in products:
        effective[k], factor[k] = where[m, n], sign
    return Strings(
        _side(left, alone_left, 0),
        _side(right, alone_right, 0),
        tuple(_block(left, right, ms, ns) for ms, ns in blocks),
        None,
        None,
        effective,
        factor,
        (np.zeros((len(left.strings), len(right.strings)), np.int8), np.zeros(len(where) - coupled + 1, np.int8)),
    )


def work(tables: Strings) -> float:
    """Roughly how many nanoseconds `apply` takes."""
    left, right = (int(n) for n in tables.spare[0].shape)
    each = _PRODUCT * (left + right)
    for block in tables.blocks:
        m, n = block.shape
        each += _GATHER * (m + n) + _PRODUCT * m * n
    return float(left * right * each) + 4.0 * float(tables.left.cell.size + tables.right.cell.size)


def elements(tables: Strings, states: int) -> float:
    """How many matrix elements the products stand for, where all of `states` basis states among the pairs have them."""
    left, right = tables.spare[0].shape
    alone = len(np.unique(tables.left.cell)) * right + len(np.unique(tables.right.cell)) * left
    both = sum(np.count_nonzero(b.left_sign) * np.count_nonzero(b.right_sign) for b in tables.blocks)
    return float((alone + both) * states / (left * right))


def _matrix(side: Side, effective: Any, size: int) -> Any:
    values = effective[side.term] * jnp.asarray(side.factor, effective.dtype)
    return jnp.zeros(size * size, effective.dtype).at[side.cell].add(values).reshape(size, size)


def apply(tables: Strings, coefficients: Any, state: Any) -> Any:
    """The words of these tables times a real state of shape (basis states,)."""
    dtype = coefficients.dtype
    shape = tables.spare[0].shape
    count = sum(b.shape[0] * b.shape[1] for b in tables.blocks) + tables.spare[1].size
    signed = coefficients * jnp.asarray(tables.factor, dtype)
    effective = jnp.zeros(count, dtype).at[tables.effective].add(signed)
    pairs = state if tables.twist is None else state * jnp.asarray(tables.twist, state.dtype)
    if tables.place is not None:
        pairs = jnp.zeros(shape[0] * shape[1], state.dtype).at[tables.place].set(pairs, unique_indices=True)
    pairs = pairs.reshape(shape)
    out = _matrix(tables.left, effective, shape[0]) @ pairs + pairs @ _matrix(tables.right, effective, shape[1]).T
    if tables.blocks:
        out = out + _coupled(tables.blocks, effective, pairs.T).T
    out = out.reshape(-1)
    out = out if tables.place is None else out[jnp.asarray(tables.place)]
    return out if tables.twist is None else out * jnp.asarray(tables.twist, out.dtype)


def _coupled(blocks: Sequence[Block], effective: Any, flipped: Any) -> Any:
    """sum_mn G_mn R_n flipped L_m^T, shape (right strings, left strings)."""
    total, begin = jnp.zeros_like(flipped), 0
    for block in blocks:
        m, n = block.shape
        matrix = effective[begin : begin + m * n].reshape(m, n)
        begin += m * n
        total = _added(block, matrix, flipped, total)
    return total


def _added(block: Block, matrix: Any, flipped: Any, total: Any) -> Any:
    """One operator after the other, so that each stays in the cache."""
    n = block.shape[1]

    def turn(_: None, x: Any) -> tuple[None, Any]:
        source, sign = x
        return None, flipped.at[source].get(mode="promise_in_bounds") * sign[:, None]

    def add(total: Any, x: Any) -> tuple[Any, None]:
        rows, source, sign = x
        return total + rows.at[:, source].get(mode="promise_in_bounds") * sign, None

    signs = [jnp.asarray(s, flipped.dtype) for s in (block.left_sign, block.right_sign)]
    turned = jax.lax.scan(turn, None, (block.right, signs[1]))[1]
    mixed = (matrix @ turned.reshape(n, -1)).reshape(-1, *flipped.shape)
    return jax.lax.scan(add, total, (mixed, block.left, signs[0]))[0]
