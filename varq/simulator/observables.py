"""Pauli sums: structure apart from coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pennylane.operation import Operator
from pennylane.pauli import PauliSentence, PauliWord
from pennylane.wires import Wires

from varq.simulator.evolutions import gather

__all__ = ["PauliSum", "WordSum", "pauli_sum", "word_sum"]


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


class WordSum(Operator):  # type: ignore[misc]
    """A sum of Pauli words whose coefficients are one vector: what a compiled program takes in place of an observable.

    Args:
        coefficients: shape (words,).
        words: hashable.
        wires: of the observable, idle ones among them.
    """

    def __init__(self, coefficients: Any, words: tuple[PauliWord, ...], wires: Any) -> None:
        super().__init__(coefficients, wires=wires)
        self._hyperparameters = {"words": words}

    @property
    def words(self) -> tuple[PauliWord, ...]:
        """The words, without their coefficients."""
        found: tuple[PauliWord, ...] = self.hyperparameters["words"]
        return found

    @property
    def pauli_rep(self) -> PauliSentence:
        """The sum with the coefficients one by one."""
        return PauliSentence({word: self.data[0][k] for k, word in enumerate(self.words)})

    def map_wires(self, wire_map: Mapping[Any, Any]) -> WordSum:
        """The same sum on other wires."""
        wires = Wires([wire_map.get(w, w) for w in self.wires])
        return WordSum(self.data[0], tuple(word.map_wires(wire_map) for word in self.words), wires)

    def _flatten(self) -> tuple[Any, Any]:
        return self.data, (self.words, self.wires)

    @classmethod
    def _unflatten(cls, data: Any, metadata: Any) -> WordSum:
        return cls(*data, *metadata)


def word_sum(observable: Operator) -> WordSum | None:
    """An observable as a `WordSum`, or None if it is no sum of Pauli words with plain real coefficients."""
    if isinstance(observable, WordSum):
        return observable
    sentence = observable.pauli_rep
    if not sentence or not all(_plain(c) for c in sentence.values()):
        return None
    return WordSum(gather(list(sentence.values())), tuple(sentence), observable.wires)


def _plain(value: Any) -> bool:
    if isinstance(value, complex):
        return value.imag == 0
    return isinstance(value, (int, float))


def pauli_sum(observable: Operator, wires: Sequence[Any]) -> tuple[PauliSum, Any]:
    """The structure and the coefficients of a sum of Pauli words.

    Args:
        observable: with a `pauli_rep` of real coefficients (numbers or JAX values).
        wires: the register's labels.

    Returns:
        The structure, and the coefficients of shape (terms,).
    """
    bit = {label: 1 << (len(wires) - 1 - k) for k, label in enumerate(wires)}
    if isinstance(observable, WordSum):
        words, coefficients = observable.words, observable.data[0]
    else:
        sentence = observable.pauli_rep
        words, coefficients = tuple(sentence), gather(list(sentence.values()))
    terms = []
    for word in words:
        x = sum(bit[w] for w, letter in word.items() if letter in "XY")
        z = sum(bit[w] for w, letter in word.items() if letter in "YZ")
        terms.append((x, z))
    return PauliSum(len(wires), tuple(terms)), coefficients
