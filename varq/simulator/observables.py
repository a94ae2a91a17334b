"""Pauli sums: structure apart from coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from varq.simulator.lowering import gather

__all__ = ["PauliSum", "pauli_sum"]


@dataclass(frozen=True)
class PauliSum:
    """The words of a sum of Pauli words, without their coefficients.

    Args:
        wires: positions of the register; position p is the bit 1 << (wires - 1 - p) of a mask.
        terms: (x mask, z mask) of each word; both bits set is Y.
    """

    wires: int
    terms: tuple[tuple[int, int], ...]
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.wires, self.terms)))

    def __hash__(self) -> int:
        return self._hash


def pauli_sum(sentence: Mapping[Any, Any], wires: Sequence[Any]) -> tuple[PauliSum, Any]:
    """The structure and the coefficients of a PennyLane `PauliSentence`.

    Args:
        sentence: words to real coefficients (numbers or JAX values).
        wires: the register's labels.

    Returns:
        The structure, and the coefficients of shape (terms,).
    """
    bit = {label: 1 << (len(wires) - 1 - k) for k, label in enumerate(wires)}
    terms = []
    for word in sentence:
        x = sum(bit[w] for w, letter in word.items() if letter in "XY")
        z = sum(bit[w] for w, letter in word.items() if letter in "YZ")
        terms.append((x, z))
    return PauliSum(len(wires), tuple(terms)), gather(list(sentence.values()))
