"""Clifford circuits: what each gate does to each word, and that commuting words become words of Z."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from estimation_truth import GATES, circuit_matrix, letters, word_matrix
from hypothesis import given
from hypothesis import strategies as st

from varq.estimation.cliffords import EXHAUSTIVE, conjugated, diagonalized
from varq.keys import Key

pytestmark = pytest.mark.flagless

EXACT = 1e-12
PENNYLANE = {"H": qml.H, "S": qml.S, "Sdg": qml.adjoint(qml.S), "CNOT": qml.CNOT, "CZ": qml.CZ, "SWAP": qml.SWAP}


def masks(words: list[str]) -> tuple[Any, Any]:
    return tuple(
        np.array([sum(1 << k for k, c in enumerate(w) if c in those) for w in words], np.uint64)
        for those in ("XY", "ZY")
    )


def commuting(wires: int, most: int, seed: int) -> list[str]:
    """Random words of which each commutes with all before it: an even number of wires differ."""
    generator, found = Key.from_seed(seed).generator(), ["I" * wires]
    for _ in range(200):
        word = "".join(generator.choice(list("IXYZ"), wires))
        if all(sum("I" != a != b != "I" for a, b in zip(word, w, strict=True)) % 2 == 0 for w in found):
            found.append(word)
    return found[1 : most + 1] or ["Z" * wires]


@pytest.mark.parametrize("name", sorted(GATES))
def test_each_gate_turns_each_word_as_its_matrix_does(name: str) -> None:
    words = ["".join(w) for w in product("IXYZ", repeat=2)]
    for where in [(0,), (1,)] if len(GATES[name]) == 2 else [(0, 1), (1, 0)]:
        gate = PENNYLANE[name](wires=where)
        matrix = qml.matrix(gate, wire_order=[0, 1])
        np.testing.assert_allclose(circuit_matrix([(name, where)], 2), matrix, atol=EXACT)
        x, z, signs = conjugated([(name, where)], *masks(words))
        for k, word in enumerate(words):
            after = signs[k] * word_matrix(letters(int(x[k]), int(z[k]), 2))
            np.testing.assert_allclose(matrix @ word_matrix(word) @ matrix.conj().T, after, atol=EXACT)


@given(wires=st.integers(1, 6), most=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_commuting_words_become_signed_words_of_z(wires: int, most: int, seed: int) -> None:
    words = commuting(wires, most, seed)
    gates, found, signs = diagonalized(*masks(words))
    circuit = circuit_matrix(gates, wires)
    for k, word in enumerate(words):
        z = "".join("IZ"[int(found[k]) >> w & 1] for w in range(wires))
        expected = int(signs[k]) * word_matrix(z)
        np.testing.assert_allclose(circuit @ word_matrix(word) @ circuit.conj().T, expected, atol=EXACT)
    assert {name for name, _ in gates} <= {"H", "S", "CNOT"}
    assert sum(len(where) == 2 for _, where in gates) <= wires * (wires - 1) // 2


@pytest.mark.parametrize("wires", [EXHAUSTIVE + 2, 63])
def test_many_wires_too(wires: int) -> None:
    # Z words through a random Clifford circuit commute, and have more generators than are searched exhaustively.
    generator = Key.from_seed(wires).generator()
    spread = []
    for _ in range(20 * wires):
        a, b = (int(w) for w in generator.permutation(wires)[:2])
        spread += [("H", (a,)), ("S", (b,)), ("CNOT", (a, b))]
    z = np.array([1 << k for k in range(wires)], np.uint64)
    x, z, _ = conjugated(spread, np.zeros_like(z), z)
    gates, found, signs = diagonalized(x, z)
    after_x, after_z, after_signs = conjugated(gates, x, z)
    assert not after_x.any()
    np.testing.assert_array_equal(after_z, found)
    np.testing.assert_array_equal(after_signs, signs)
    assert len(set(found.tolist())) == wires
    assert sum(len(where) == 2 for _, where in gates) <= wires * (wires - 1) // 2


def test_words_that_agree_wire_by_wire_cost_no_two_qubit_gate() -> None:
    gates, found, signs = diagonalized(*masks(["XIZY", "XYII", "IYZI", "IIIY"]))
    assert all(len(where) == 1 for _, where in gates)
    assert [int(m) for m in found] == [0b1101, 0b0011, 0b0110, 0b1000]
    assert set(signs.tolist()) <= {1, -1}


def test_signs_flip_where_they_must() -> None:
    # XX ZZ = -YY: of the three words of a Bell measurement, one has the opposite sign.
    _, found, signs = diagonalized(*masks(["XX", "YY", "ZZ"]))
    assert np.bitwise_xor.reduce(found) == 0
    assert np.prod(signs) == -1


def test_nothing_needs_no_gate() -> None:
    for words in ([], ["II"], ["II", "II"]):
        gates, found, signs = diagonalized(*(m.reshape(-1) for m in masks(words)))
        assert gates == ()
        assert found.tolist() == [0] * len(words)
        assert signs.tolist() == [1] * len(words)


def test_wrong_words_and_gates_are_refused() -> None:
    with pytest.raises(ValueError, match="must commute"):
        diagonalized(*masks(["XI", "ZZ"]))
    with pytest.raises(ValueError, match=r"gates must be named H, S, .* Got 'T'"):
        conjugated([("T", (0,))], *masks(["X"]))
