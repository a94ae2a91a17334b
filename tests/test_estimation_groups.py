"""Measurement groups: every word once with its sign, large words first, and estimates without bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimation_truth import all_bits, circuit_matrix, ground_state, letters, moments, word_matrix
from hypothesis import given
from hypothesis import strategies as st

from varq.estimation import Group, measurement_groups
from varq.estimation.groups import CHUNK, GROUPINGS
from varq.keys import Key
from varq.problems import Molecule
from varq.problems.pauli import PauliSum

pytestmark = pytest.mark.flagless

EXACT = 1e-12
ENERGY = 1e-10  # sums of some hundred words
groupings = pytest.mark.parametrize("grouping", GROUPINGS)

words = st.dictionaries(st.text("IXYZ", min_size=3, max_size=3), st.floats(-2, 2).filter(bool), min_size=1, max_size=20)


def dense(terms: dict[str, float]) -> Any:
    return sum(c * word_matrix(word) for word, c in terms.items())


@groupings
@given(terms=words)
def test_groups_add_up_to_the_observable(grouping: str, terms: dict[str, float]) -> None:
    constant, groups = measurement_groups(PauliSum.from_words(terms), grouping)
    total = constant * np.eye(8, dtype=complex)
    for group in groups:
        circuit = circuit_matrix(group.gates, 3)
        total += circuit.conj().T @ np.diag(group.energies(all_bits(3))) @ circuit
    np.testing.assert_allclose(total, dense(terms), atol=EXACT)
    assert sum(len(g.coefficients) for g in groups) == len(terms.keys() - {"III"})


@groupings
@given(terms=words)
def test_a_group_has_large_coefficients_first(grouping: str, terms: dict[str, float]) -> None:
    _, groups = measurement_groups(PauliSum.from_words(terms), grouping)
    for group in groups:
        sizes = np.abs(group.coefficients)
        assert np.all(sizes[:-1] >= sizes[1:])


def inserted(terms: dict[str, float], grouping: str) -> list[set[float]]:
    """Sorted insertion by its definition, with commutators of matrices letter by letter or of whole words."""
    groups: list[list[str]] = []
    for word in sorted(terms.keys() - {"III"}, key=lambda w: -abs(terms[w])):
        for group in groups:
            pairs = [(word, other) for other in group]
            if grouping == "qubit-wise":
                pairs = [(a, b) for pair in pairs for a, b in zip(*pair, strict=True)]
            if all(np.allclose(word_matrix(a) @ word_matrix(b), word_matrix(b) @ word_matrix(a)) for a, b in pairs):
                group.append(word)
                break
        else:
            groups.append([word])
    return [{terms[w] for w in group} for group in groups]


@groupings
@pytest.mark.parametrize("seed", range(5))
def test_words_are_inserted_where_they_first_fit(grouping: str, seed: int) -> None:
    generator = Key.from_seed(seed).generator()
    terms = {letters(int(m & 7), int(m >> 3), 3): float(generator.normal()) for m in generator.permutation(64)[:25]}
    _, groups = measurement_groups(PauliSum.from_words(terms), grouping)
    assert [set(g.coefficients.tolist()) for g in groups] == inserted(terms, grouping)


def test_diagonal_words_share_one_circuit() -> None:
    _, groups = measurement_groups(PauliSum.from_words([(1.0, "ZZI"), (0.5, "IZZ"), (0.2, "ZIZ"), (3.0, "III")]))
    assert [g.basis for g in groups] == ["ZZZ"]


@groupings
def test_equal_words_are_added_up_and_vanishing_ones_left_out(grouping: str) -> None:
    pauli = PauliSum.from_words([(1.0, "XX"), (0.5, "XX"), (1.0, "ZI"), (-1.0, "ZI"), (2.0, "II"), (1.0, "II")])
    constant, (group,) = measurement_groups(pauli, grouping)
    assert constant == 3.0
    assert group.coefficients.tolist() == [1.5]


@groupings
@pytest.mark.parametrize("pauli", [PauliSum.zero(2), PauliSum.identity(3, -0.5)], ids=["empty", "constant"])
def test_a_constant_needs_no_circuit(grouping: str, pauli: PauliSum) -> None:
    assert measurement_groups(pauli, grouping) == (float(np.real(pauli.constant)), [])


@groupings
@pytest.mark.parametrize("name", ["H2", "H3+"])
def test_molecules_keep_their_energy(grouping: str, name: str) -> None:
    pauli, lowest, state = ground_state(name)
    constant, groups = measurement_groups(pauli, grouping)
    found = constant + sum(moments(group, state, pauli.wires)[0] for group in groups)
    assert found == pytest.approx(lowest, abs=ENERGY)


def test_commuting_groups_of_molecules_are_fewer_and_need_few_gates() -> None:
    for name in ("H2", "LiH", "BeH2"):
        pauli = Molecule.load(name).pauli
        apart, together = (measurement_groups(pauli, grouping)[1] for grouping in GROUPINGS)
        assert 2 * len(together) <= len(apart)
        for group in together:
            pairs = [where for _, where in group.gates if len(where) == 2]
            # The bound of an elimination that never looks for short products is n (n - 1) / 2.
            assert len(pairs) <= pauli.wires


def test_rotations_are_hashable() -> None:
    pauli = Molecule.load("H2").pauli
    for grouping in GROUPINGS:
        groups = measurement_groups(pauli, grouping)[1]
        assert len({group.rotations for group in groups}) == len(groups)
        assert [g.rotations for g in measurement_groups(pauli, grouping)[1]] == [g.rotations for g in groups]


def test_energies_do_not_depend_on_chunks() -> None:
    generator = Key.from_seed(3).generator()
    masks = generator.integers(1, 1 << 12, size=CHUNK >> 10).astype(np.uint64)
    group = Group("Z" * 12, masks, generator.normal(size=len(masks)))
    bits = all_bits(12)
    some = np.array([0, 1023, 1024, 1025, 4095])
    np.testing.assert_allclose(group.energies(bits)[some], group.energies(bits[some]), atol=ENERGY)
    assert len(bits) * len(masks) > 2 * CHUNK


def test_the_estimate_is_the_mean_with_covariances() -> None:
    shots = 4000
    _, (group,) = measurement_groups(PauliSum.from_words([(1.0, "ZZ"), (0.5, "ZI")]))
    generator = Key.from_seed(0).generator()
    first = generator.integers(0, 2, size=shots)
    bits = np.stack([first, first ^ (generator.random(shots) < 0.1)], axis=1)
    mean, variance = group.estimate(bits)
    energies = (1 - 2.0 * (bits[:, 0] ^ bits[:, 1])) + 0.5 * (1 - 2.0 * bits[:, 0])
    assert mean == pytest.approx(energies.mean(), abs=EXACT)
    # Two shots of prior knowledge among four thousand.
    assert variance == pytest.approx(energies.var(ddof=1) / shots, rel=10 / shots)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_bits_may_be_of_any_integer_type(kind: type) -> None:
    group = Group("ZZ", np.array([3], np.uint64), np.array([2.0]), np.array([-1], np.int8))
    assert group.energies(np.array([[0, 0], [0, 1]], dtype=kind)).tolist() == [-2.0, 2.0]


def test_the_deviation_is_that_of_the_maximally_mixed_state() -> None:
    for grouping in GROUPINGS:
        for group in measurement_groups(Molecule.load("H2").pauli, grouping)[1]:
            energies = group.energies(all_bits(4))
            assert group.deviation == pytest.approx(energies.std(), abs=EXACT)
            assert energies.mean() == pytest.approx(0, abs=EXACT)


PAIR = Group("ZZ", np.array([3], np.uint64), np.array([1.0]))


@pytest.mark.parametrize(
    ("bits", "match"),
    [
        ([0, 1], "bits must have shape"),
        ([[0], [1]], "a column for each of 2 wires. Got 1"),
        ([[1, -1]], "bits must be 0 or 1"),
        ([[0, 2]], "bits must be 0 or 1"),
        ([[0.0, 1.0]], "bits must be 0 or 1"),
    ],
)
def test_other_bits_are_refused(bits: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        PAIR.energies(bits)


def test_no_shots_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one shot"):
        PAIR.estimate(np.zeros((0, 2), np.uint8))


def test_other_observables_are_refused() -> None:
    with pytest.raises(TypeError, match=r"observable must be of type PauliSum.*from_operator"):
        measurement_groups({"X": 1.0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be Hermitian\. Got an imaginary coefficient of size 0\.5"):
        measurement_groups(PauliSum.from_words({"X": 1 + 0.5j}))
    with pytest.raises(ValueError, match=r"grouping must be one of .* Did you mean 'commuting'"):
        measurement_groups(PauliSum.from_words({"X": 1.0}), "comuting")


def test_inconsistent_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equally long. Got lengths \[1, 2\]"):
        Group("Z", np.array([1], np.uint64), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"letters X, Y or Z, or gates. Got the letters \['I'\]"):
        Group("ZI", np.array([1], np.uint64), np.array([1.0]))
    with pytest.raises(ValueError, match="has no basis letters"):
        _ = Group((("H", (0,)),), np.array([1], np.uint64), np.array([1.0])).basis
