"""Clifford circuits that turn commuting Pauli words into words of Z, so that one circuit measures them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gate", "conjugated", "diagonalized"]

Gate: TypeAlias = tuple[str, tuple[int, ...]]
"""A gate as data: its name ("H", "S", "Sdg", "CNOT", "CZ" or "SWAP") and its wires, a control before its target."""

Mask: TypeAlias = NDArray[np.uint64]

MASK_BITS = 64
EXHAUSTIVE = 10  # generators up to which all their products are searched for the shortest: a thousand words


def conjugated(gates: Sequence[Gate], x: Mask, z: Mask) -> tuple[Mask, Mask, NDArray[np.int8]]:
    """Pauli words U P U^dagger for a circuit U: their masks and signs.

    The update of each gate is that of a stabilizer tableau (Aaronson and Gottesman, Phys. Rev. A 70, 052328 (2004)).

    Args:
        gates: of U, the first one acting first.
        x: masks of the wires with X or Y, shape (words,); bit k is wire k.
        z: masks of the wires with Z or Y, shape (words,).

    Returns:
        The masks of the new words, and their signs (+1 or -1).

    Raises:
        ValueError: for a gate of another name.

    Example:
        >>> one = np.array([1], np.uint64)
        >>> x, z, signs = conjugated([("S", (0,)), ("H", (0,))], one, one)
        >>> x.tolist(), z.tolist(), signs.tolist()
        ([0], [1], [-1])
    """
    table = _Table.of(x, z)
    table.apply(gates)
    new_x, new_z = table.masks()
    return new_x, new_z, table.signs()


@dataclass
class _Table:
    """Pauli words by wire: bit i of `x[k]` says whether word i has X or Y on wire k.

    An update by a gate is then a few operations on Python integers, however many words there are.

    Args:
        count: of the words.
        x: for each wire the words with X or Y there.
        z: for each wire the words with Z or Y there.
        odd: the words whose sign is -1.
    """

    count: int
    x: list[int]
    z: list[int]
    odd: int = 0

    @classmethod
    def of(cls, x: Mask, z: Mask, wires: int = MASK_BITS) -> _Table:
        return cls(len(x), _transposed(x, wires), _transposed(z, wires))

    def masks(self) -> tuple[Mask, Mask]:
        return _rows(self.x, self.count), _rows(self.z, self.count)

    def signs(self) -> NDArray[np.int8]:
        return np.asarray(1 - 2 * _unpacked([self.odd], self.count)[0].astype(np.int8))

    def apply(self, gates: Sequence[Gate]) -> None:
        for name, wires in gates:
            if name not in _UPDATES:
                raise ValueError(f"gates must be named {', '.join(_UPDATES)}. Got {name!r}.")
            _UPDATES[name](self, *wires)

    def letters(self, wire: int) -> tuple[bool, bool, bool]:
        """Whether X, Y and Z occur on a wire."""
        x, z = self.x[wire], self.z[wire]
        return bool(x & ~z), bool(x & z), bool(z & ~x)


def _transposed(masks: Mask, wires: int) -> list[int]:
    bits = (masks >> np.arange(wires, dtype=np.uint64)[:, None]) & np.uint64(1)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits.astype(np.uint8), 1, "little")]


def _unpacked(columns: Sequence[int], count: int) -> NDArray[np.uint8]:
    """The bits of integers, shape (columns, count)."""
    size = (count + 7) // 8
    held = np.frombuffer(b"".join(column.to_bytes(size, "little") for column in columns), np.uint8)
    return np.unpackbits(held.reshape(len(columns), size), axis=1, count=count, bitorder="little")


def _rows(columns: Sequence[int], count: int) -> Mask:
    """The masks of words, from the words of each wire."""
    bits = _unpacked(columns, count).astype(np.uint64) << np.arange(len(columns), dtype=np.uint64)[:, None]
    return np.asarray(np.bitwise_or.reduce(bits, axis=0, initial=0))


def _hadamard(t: _Table, a: int) -> None:
    t.odd ^= t.x[a] & t.z[a]
    t.x[a], t.z[a] = t.z[a], t.x[a]


def _phase(t: _Table, a: int) -> None:
    t.odd ^= t.x[a] & t.z[a]
    t.z[a] ^= t.x[a]


def _phase_back(t: _Table, a: int) -> None:
    t.odd ^= t.x[a] & ~t.z[a]
    t.z[a] ^= t.x[a]


def _controlled_not(t: _Table, a: int, b: int) -> None:
    t.odd ^= t.x[a] & t.z[b] & ~(t.x[b] ^ t.z[a])
    t.x[b] ^= t.x[a]
    t.z[a] ^= t.z[b]


def _controlled_z(t: _Table, a: int, b: int) -> None:
    t.odd ^= t.x[a] & t.x[b] & (t.z[a] ^ t.z[b])
    t.z[a] ^= t.x[b]
    t.z[b] ^= t.x[a]


def _swap(t: _Table, a: int, b: int) -> None:
    for columns in (t.x, t.z):
        columns[a], columns[b] = columns[b], columns[a]


_UPDATES: dict[str, Callable[..., None]] = {
    "H": _hadamard,
    "S": _phase,
    "Sdg": _phase_back,
    "CNOT": _controlled_not,
    "CZ": _controlled_z,
    "SWAP": _swap,
}


def diagonalized(x: Mask, z: Mask) -> tuple[tuple[Gate, ...], Mask, NDArray[np.int8]]:
    """A circuit U of H, S and CNOT with U P U^dagger = sign * (Z on the wires of a mask) for each of commuting words P.

    Symplectic elimination on generators of the words, one wire at a time. A wire on which only one letter occurs needs
    at most two gates of its own and takes no further part, so words that agree wire by wire cost no two-qubit gate at
    all. Otherwise the product of generators on the fewest wires is rotated to Z on each of them and CNOTs gather it on
    one wire, where every other word must then have I or Z, because it commutes. That takes one CNOT less than the
    product has wires, at most n (n - 1) / 2 altogether; of the orders to gather in, the one that shortens the other
    generators most is taken.

    Args:
        x: masks of the wires with X or Y, shape (words,); bit k is wire k.
        z: masks of the wires with Z or Y, shape (words,).

    Returns:
        The circuit; the masks of the words of Z; their signs.

    Raises:
        ValueError: if two words do not commute.

    References:
        S. Aaronson and D. Gottesman, Phys. Rev. A 70, 052328 (2004); P. Gokhale et al., arXiv:1907.13623.

    Example:
        >>> xx_and_zz = np.array([3, 0], np.uint64), np.array([0, 3], np.uint64)
        >>> gates, masks, signs = diagonalized(*xx_and_zz)
        >>> sum(name == "CNOT" for name, _ in gates), sorted(masks.tolist()), signs.tolist()
        (1, [1, 2], [1, 1])
    """
    wires = int(np.bitwise_or.reduce(x | z, initial=0)).bit_length()
    gates: list[Gate] = []
    x_left, z_left = _generators(x, z)
    _check_commuting(x_left, z_left)
    while True:
        left = _Table.of(x_left, z_left, wires)
        turns, several = _settle(left)
        gates += turns
        if not several:
            break
        mask = np.uint64(several)
        step = _gather(left, *_shortest(*_generators(x_left & mask, z_left & mask)))
        gates += step
        left.apply(step)
        x_left, z_left = (m & mask for m in left.masks())
    words = _Table.of(x, z, wires)
    words.apply(gates)
    return tuple(gates), words.masks()[1], words.signs()


def _check_commuting(x: Mask, z: Mask) -> None:
    odd = np.bitwise_count(x[:, None] & z) + np.bitwise_count(z[:, None] & x)
    if (odd & 1).any():
        raise ValueError("Words measured together must commute. Two of these do not. Use measurement_groups.")


def _generators(x: Mask, z: Mask) -> tuple[Mask, Mask]:
    """Independent words of which all given ones are products (up to signs)."""
    leading: dict[int, int] = {}
    for first, second in zip(x.tolist(), z.tolist(), strict=True):
        word = first << 64 | second
        while word and (top := word.bit_length()) in leading:
            word ^= leading[top]
        if word:
            leading[word.bit_length()] = word
    words = list(leading.values())
    return np.array([w >> 64 for w in words], np.uint64), np.array([w & (1 << 64) - 1 for w in words], np.uint64)


def _settle(left: _Table) -> tuple[list[Gate], int]:
    """The rotations of wires that have one letter only, and the mask of the wires that have several."""
    several = 0
    gates: list[Gate] = []
    for wire in range(len(left.x)):
        has_x, has_y, has_z = left.letters(wire)
        if has_x + has_y + has_z > 1:
            several |= 1 << wire
        elif not has_z:
            gates += _turn(wire, has_x, has_y)
    return gates, several


def _turn(wire: int, is_x: bool, is_y: bool) -> list[Gate]:
    """The gates that turn a letter into Z."""
    return [("S", (wire,)), ("H", (wire,))] if is_y else [("H", (wire,))] if is_x else []


def _gather(left: _Table, word_x: int, word_z: int) -> list[Gate]:
    """The gates that turn a product of the generators into Z on one wire."""
    wires = [w for w in range(len(left.x)) if (word_x | word_z) >> w & 1]
    turns = [_turn(w, *(bool(m >> w & 1) for m in (word_x & ~word_z, word_x & word_z))) for w in wires]
    gates = [gate for turn in turns for gate in turn]
    turned = _Table(left.count, list(left.x), list(left.z))
    turned.apply(gates)
    # There are no more generators than wires, so a wire's column fits into a mask.
    x, z = (np.array([columns[w] for w in wires], np.uint64) for columns in (turned.x, turned.z))
    open_wires = np.ones(len(wires), np.bool_)
    for _ in range(len(wires) - 1):
        a, b = _best_pair(x, z, open_wires)
        gates.append(("CNOT", (wires[a], wires[b])))
        x[b] ^= x[a]
        z[a] ^= z[b]
        open_wires[a] = False
    return gates


def _best_pair(x: Mask, z: Mask, allowed: NDArray[np.bool_]) -> tuple[int, int]:
    """Control and target of the CNOT that leaves the generators the fewest letters, among allowed wires."""
    count = np.bitwise_count
    longer = count(x[:, None] | (z[:, None] ^ z)).astype(np.int64) + count((x[:, None] ^ x) | z)
    own = count(x | z).astype(np.int64)
    longer -= own[:, None] + own
    longer[~allowed | ~allowed[:, None]] = longer.max() + 1
    np.fill_diagonal(longer, longer.max() + 1)
    a, b = np.unravel_index(int(np.argmin(longer)), longer.shape)
    return int(a), int(b)


def _shortest(x: Mask, z: Mask) -> tuple[int, int]:
    """The product of generators on the fewest wires: of all products, or of up to two factors where they are many."""
    if len(x) <= EXHAUSTIVE:
        xs, zs = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
        for row_x, row_z in zip(x, z, strict=True):
            xs, zs = np.concatenate([xs, xs ^ row_x]), np.concatenate([zs, zs ^ row_z])
        xs, zs = xs[1:], zs[1:]
    else:
        first, second = np.triu_indices(len(x), 1)
        xs, zs = np.concatenate([x, x[first] ^ x[second]]), np.concatenate([z, z[first] ^ z[second]])
    at = int(np.argmin(np.bitwise_count(xs | zs)))
    return int(xs[at]), int(zs[at])
