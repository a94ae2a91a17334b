"""Pauli words as plain data: sums of commuting words, and the gates that evolve under them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pennylane as qml

from varq import checks

__all__ = ["Part", "Word", "checked_parts", "evolve", "words_of"]

Word = tuple[float, str]
"""(coefficient, word) with one of the letters I, X, Y, Z for each wire."""

Part = tuple[str, tuple[Word, ...]]
"""(name, words that commute)."""


def evolve(angle: Any, word: str) -> None:
    """Queue exp(-i angle/2 word), as the gate that devices know best.

    Args:
        angle: radians, a number of any interface.
        word: one of I, X, Y, Z for each wire; not all I.
    """
    where = [k for k, letter in enumerate(word) if letter != "I"]
    letters = "".join(word[k] for k in where)
    if len(letters) == 1:
        {"X": qml.RX, "Y": qml.RY, "Z": qml.RZ}[letters](angle, where[0])
    elif letters in ("XX", "YY", "ZZ"):
        {"X": qml.IsingXX, "Y": qml.IsingYY, "Z": qml.IsingZZ}[letters[0]](angle, where)
    elif set(letters) == {"Z"}:
        qml.MultiRZ(angle, where)
    else:
        qml.PauliRot(angle, letters, wires=where)


def words_of(part: Any, wires: int) -> tuple[Word, ...]:
    """The words of a Pauli sum, or of a PennyLane operator, without the constant.

    Args:
        part: has `operator()` or is a PennyLane operator with a Pauli representation on wires 0 to wires - 1.
        wires: how many letters a word has.

    Example:
        >>> words_of(0.5 * qml.Z(0) @ qml.Z(2), wires=3)
        ((0.5, 'ZIZ'),)
    """
    operator = part.operator() if hasattr(part, "operator") else part
    out = []
    for word, weight in operator.pauli_rep.items():
        letters = "".join(word.get(k, "I") for k in range(wires))
        if word:
            out.append((float(np.real(weight)), letters))
    return tuple(out)


def checked_parts(parts: Any) -> tuple[Part, ...]:
    """`parts` as nested tuples, if each is a name and words of one length that commute.

    Raises:
        TypeError: if they are no pairs of a name and words.
        ValueError: for no part or word, other letters, several lengths, or words of a part that do not commute.
    """
    hint = "A part is (name, ((coefficient, word), ...)), such as ('field', ((-1.0, 'XI'), (-1.0, 'IX')))."
    try:
        plain = [(name, [(weight, word) for weight, word in words]) for name, words in parts]
    except (TypeError, ValueError) as error:
        raise TypeError(f"parts must hold pairs of a name and words. Got {parts!r}. {hint}") from error
    if not plain or not all(words for _, words in plain):
        raise ValueError(f"parts must hold at least one part, and each at least one word. Got {parts!r}. {hint}")
    out = tuple(
        (checks.text("parts", name, hint=hint), tuple(_checked_word(weight, word, hint) for weight, word in words))
        for name, words in plain
    )
    lengths = sorted({len(word) for _, words in out for _, word in words})
    if len(lengths) > 1:
        raise ValueError(
            f"parts must hold words of one length, one letter for each wire. Got lengths {lengths}. {hint}"
        )
    for name, words in out:
        _check_commuting(name, [word for _, word in words])
    return out


def _checked_word(weight: Any, word: Any, hint: str) -> Word:
    checks.text("parts", word, hint=hint)
    if set(word) - set("IXYZ") or not set(word) - {"I"}:
        raise ValueError(f"parts must hold words of I, X, Y and Z that are not all I. Got {word!r}. {hint}")
    return checks.real("parts", weight, hint=hint), word


def _check_commuting(name: str, words: list[str]) -> None:
    for one, two in combinations(words, 2):
        if sum(a != b and "I" not in (a, b) for a, b in zip(one, two, strict=True)) % 2:
            raise ValueError(
                f"The words of a part must commute. In part {name!r}, {one} and {two} do not. Put them into two parts."
            )
