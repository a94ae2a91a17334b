"""Measurement groups: every word once, wire by wire compatible, and estimates without bias."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varq.estimation import measurement_groups
from varq.keys import Key
from varq.problems.pauli import PauliSum

EXACT = 1e-12

words = st.dictionaries(st.text("IXYZ", min_size=3, max_size=3), st.floats(-2, 2).filter(bool), min_size=1, max_size=20)


@given(words)
def test_groups_hold_each_word_once(terms: dict[str, float]) -> None:
    constant, groups = measurement_groups(PauliSum.from_words([(c, w) for w, c in terms.items()]))
    found: dict[str, float] = {}
    for group in groups:
        for mask, coefficient in zip(group.masks, group.coefficients, strict=True):
            word = "".join(group.basis[k] if int(mask) >> k & 1 else "I" for k in range(3))
            assert word not in found
            found[word] = coefficient
    if constant:
        found["III"] = constant
    assert found == pytest.approx(terms, abs=EXACT)


@given(words)
def test_a_group_has_large_coefficients_first(terms: dict[str, float]) -> None:
    _, groups = measurement_groups(PauliSum.from_words([(c, w) for w, c in terms.items()]))
    for group in groups:
        sizes = np.abs(group.coefficients)
        assert np.all(sizes[:-1] >= sizes[1:])


def test_diagonal_words_share_one_circuit() -> None:
    _, groups = measurement_groups(PauliSum.from_words([(1.0, "ZZI"), (0.5, "IZZ"), (0.2, "ZIZ"), (3.0, "III")]))
    assert [g.basis for g in groups] == ["ZZZ"]


def test_the_estimate_is_the_mean_and_its_variance() -> None:
    _, (group,) = measurement_groups(PauliSum.from_words([(1.0, "ZZ"), (0.5, "ZI")]))
    bits = Key.from_seed(0).generator().integers(0, 2, size=(400, 2))
    energies = (1 - 2.0 * (bits[:, 0] ^ bits[:, 1])) + 0.5 * (1 - 2.0 * bits[:, 0])
    mean, variance = group.estimate(bits)
    assert mean == pytest.approx(energies.mean(), abs=EXACT)
    assert variance == pytest.approx(energies.var(ddof=1) / 400, abs=EXACT)


def test_one_shot_has_no_error_bar() -> None:
    _, (group,) = measurement_groups(PauliSum.from_words([(1.0, "Z")]))
    mean, variance = group.estimate(np.array([[1]]))
    assert mean == -1
    assert np.isnan(variance)
