"""Pauli sums against dense matrices, PennyLane and SciPy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq.problems import spectrum
from varq.problems.pauli import MOST_WIRES, PauliSum

EXACT = 1e-12  # sums of at most some dozen numbers of order one
LANCZOS = 1e-9  # eigenvalues from Krylov spaces against LAPACK
LAW = settings(deadline=None, max_examples=25, derandomize=True)

ONE = {"I": np.eye(2), "X": qml.matrix(qml.X(0)), "Y": qml.matrix(qml.Y(0)), "Z": qml.matrix(qml.Z(0))}


def dense(total: PauliSum) -> Any:
    """The matrix by Kronecker products, wire 0 leftmost."""
    out = np.zeros((2**total.wires,) * 2, dtype=complex)
    for coefficient, word in total.words():
        factor = np.eye(1)
        for letter in word:
            factor = np.kron(factor, ONE[letter])
        out += coefficient * factor
    return out


def sums(wires: int, real: bool = False) -> st.SearchStrategy[PauliSum]:
    number = st.floats(-2, 2).map(lambda c: round(c, 3))
    value = number if real else st.builds(complex, number, number)
    word = st.text("IXYZ", min_size=wires, max_size=wires)
    return st.lists(st.tuples(value, word), max_size=8).map(lambda pairs: PauliSum.from_words(pairs, wires))


def random_sum(wires: int, terms: int, seed: int = 0) -> PauliSum:
    draw = np.random.default_rng(seed)
    return PauliSum.from_words([(draw.normal(), "".join(draw.choice(list("IXYZ"), wires))) for _ in range(terms)])


@LAW
@given(sums(3), sums(3))
def test_products_and_sums_are_those_of_matrices(a: PauliSum, b: PauliSum) -> None:
    assert np.abs(dense(a @ b) - dense(a) @ dense(b)).max() < EXACT * 100
    assert np.abs(dense(a + b) - dense(a) - dense(b)).max() < EXACT
    assert np.abs(dense(a - b) - dense(a) + dense(b)).max() < EXACT
    assert np.abs(dense(2j * a) - 2j * dense(a)).max() < EXACT


@LAW
@given(sums(3))
def test_simplified_sums_mean_the_same(a: PauliSum) -> None:
    simple = a.simplify()
    words = [word for _, word in simple.words()]
    assert len(words) == len(set(words))
    assert np.abs(dense(simple) - dense(a)).max() < EXACT
    assert np.abs(dense(a.adjoint()) - dense(a).conj().T).max() < EXACT
    assert simple.is_hermitian() == bool(np.abs(dense(a) - dense(a).conj().T).max() < EXACT)
    assert abs(simple.constant - np.trace(dense(a)) / 8) < EXACT


@LAW
@given(sums(3))
def test_every_form_has_the_same_matrix(a: PauliSum) -> None:
    truth = dense(a)
    state = np.arange(8) - 2.5 + 1j * np.arange(8)[::-1]
    assert np.abs(a.sparse().toarray() - truth).max() < EXACT
    assert np.abs(a.matvec(state) - truth @ state).max() < EXACT * 100
    assert np.abs(qml.matrix(a.operator(), wire_order=range(3)) - truth).max() < EXACT
    assert np.abs(dense(PauliSum.from_operator(a.operator(), 3)) - truth).max() < EXACT
    assert np.abs(dense(PauliSum.from_matrix(truth)) - truth).max() < EXACT


@LAW
@given(sums(4, real=True), st.integers(1, 5))
def test_lowest_levels_are_those_of_lapack(a: PauliSum, count: int) -> None:
    levels = a.lowest(count)
    assert levels is not None
    assert np.abs(levels - np.linalg.eigvalsh(dense(a))[:count]).max() < EXACT * 100


def test_signs_of_products_of_single_letters() -> None:
    for a, b in product("IXYZ", repeat=2):
        one = PauliSum.from_words({a: 1}) @ PauliSum.from_words({b: 1})
        assert np.array_equal(dense(one), ONE[a] @ ONE[b])


def test_lanczos_finds_every_copy_of_a_level() -> None:
    # Three spins that take no part make each level eightfold.
    small = random_sum(6, 30)
    wide = PauliSum(9, small.x, small.z, small.coefficients)
    assert 1 << wide.wires > spectrum.DENSE
    levels = wide.lowest(10)
    assert levels is not None
    expected = np.repeat(np.linalg.eigvalsh(small.sparse().toarray())[:2], 8)[:10]
    assert np.abs(levels - expected).max() < LANCZOS


def test_matrix_free_levels_are_those_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    total = random_sum(9, 40)
    expected = np.linalg.eigvalsh(total.sparse().toarray())[:2]
    monkeypatch.setattr(spectrum, "STORED", 0)
    levels = total.lowest(2)
    assert levels is not None
    assert np.abs(levels - expected).max() < LANCZOS


def test_many_words_of_one_mask_use_the_fast_transform() -> None:
    full = PauliSum.from_words({"".join(w): 0.1 * k for k, w in enumerate(product("IZ", repeat=5))})
    assert len(full) > 2 * full.wires
    assert np.abs(full.sparse().toarray() - dense(full)).max() < EXACT
    levels = full.lowest(3)
    assert levels is not None
    assert np.abs(levels - np.sort(np.diag(dense(full)).real)[:3]).max() < EXACT


def test_a_sector_is_the_block_of_its_states() -> None:
    hop = PauliSum.from_words({"XXI": 0.5, "YYI": 0.5, "IXX": 0.3, "IYY": 0.3, "ZII": 0.2})
    states = np.array([0b100, 0b010, 0b001])
    levels = hop.lowest(3, sector=states)
    assert levels is not None
    assert np.abs(levels - np.linalg.eigvalsh(dense(hop)[np.ix_(states, states)])).max() < EXACT


def test_levels_out_of_reach_are_none() -> None:
    assert random_sum(30, 5).lowest() is None
    assert random_sum(MOST_WIRES, 5).lowest() is None


def test_a_large_sum_becomes_an_operator_and_back() -> None:
    total = random_sum(20, 500).simplify()
    again = PauliSum.from_operator(total.operator(), 20).simplify()
    assert np.array_equal(again.x, total.x)
    assert np.array_equal(again.z, total.z)
    assert np.array_equal(again.coefficients, total.coefficients)


def test_real_sums_are_kept_in_float64_and_read_only() -> None:
    total = PauliSum.from_words({"XY": 1 + 0j})
    assert total.coefficients.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        total.x[0] = 3


def test_building_an_operator_records_nothing() -> None:
    with qml.queuing.AnnotatedQueue() as queue:
        PauliSum.from_words({"XY": 0.5, "II": 1}).operator()
    assert not queue.queue


def test_labels_name_the_wires() -> None:
    operator = PauliSum.from_words({"XZ": 0.5}).operator(["a", "b"])
    assert operator.wires.tolist() == ["a", "b"]
    assert PauliSum.from_operator(operator).words() == [(0.5, "XZ")]
    assert PauliSum.from_operator(operator, ["b", "a"]).words() == [(0.5, "ZX")]
    for label in (2, np.int64(2)):
        assert PauliSum.from_operator(qml.Z(label)).words() == [(1.0, "IIZ")]


def test_commuting_sums() -> None:
    assert PauliSum.from_words({"XX": 1, "YY": 1, "ZZ": 1}).is_commuting()
    assert not PauliSum.from_words({"XX": 1, "ZI": 1}).is_commuting()
    assert PauliSum.from_words({"ZZ": 1, "IZ": 2}).is_diagonal


def test_the_empty_sum() -> None:
    zero = PauliSum.zero(2)
    assert len(zero) == 0
    assert repr(zero) == "PauliSum(2 wires, 0 terms)"
    assert np.array_equal(qml.matrix(zero.operator(), wire_order=[0, 1]), np.zeros((4, 4)))
    levels = zero.lowest(4)
    assert levels is not None
    assert not levels.any()
    assert len(zero @ PauliSum.identity(2)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PauliSum.from_words({"XA": 1}), "2 letters I, X, Y or Z.*'XA'"),
        (lambda: PauliSum.from_words({"X": 1, "XX": 1}), "1 letters"),
        (lambda: PauliSum.from_words({"X": np.nan}), "coefficients must be finite"),
        (lambda: PauliSum(2, [4], [0], [1.0]), "x must have bits on 2 wires only"),
        (lambda: PauliSum(2, [1, 2], [0], [1.0]), "equally long. Got 2, 1 and 1"),
        (lambda: PauliSum(64, [0], [0], [1.0]), "wires must be at most 63"),
        (lambda: PauliSum.from_operator(qml.Projector([0], 0)), "Projector, which has none"),
        (lambda: PauliSum.from_operator(qml.Z(3), 2), r"lacks \[3\]"),
        (lambda: PauliSum.zero(2) + PauliSum.zero(3), "equally many wires. Got 2 and 3"),
        (lambda: PauliSum.from_words({"X": 1j}).lowest(), "Hermitian"),
        (lambda: PauliSum.from_words({"X": 1}).lowest(3), "count must be at most 2"),
        (lambda: PauliSum.from_words({"X": 1}).lowest(sector=np.array([0])), "sector must be closed"),
        (lambda: PauliSum.from_words({"Z": 1}).lowest(sector=np.array([0, 2])), "indices from 0 to 1"),
        (lambda: PauliSum.from_words({"X": 1}).matvec(np.ones(3)), r"state must have shape \(2,\)"),
        (lambda: random_sum(30, 3).matvec(np.ones(3)), "state must have shape"),
        (lambda: random_sum(30, 3).sparse(), "too large"),
        (lambda: PauliSum.from_matrix(np.eye(3)), r"2\^n rows"),
        (lambda: PauliSum.from_words({"XX": 1}).operator(["a"]), "labels must have shape"),
    ],
)
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PauliSum.from_operator("XX"), "operator must be of type Operator"),
        (lambda: PauliSum.from_words([(1, 3)]), "words must be of type str"),
        (lambda: PauliSum.zero(1) * "a", "unsupported operand|can't multiply"),
    ],
)
def test_bad_types_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()
