"""Keys: every random number is a function of the seed and of where it is used."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq.keys import Key, as_key
from varq.problems import MaxCut

PROPERTY = settings(deadline=None, max_examples=50, derandomize=True)
paths = st.lists(st.integers(0, 2**40) | st.text(max_size=5), min_size=1, max_size=4)


@PROPERTY
@given(st.integers(-(2**80), 2**80), paths)
def test_folding_is_a_path(seed: int, path: list[int | str]) -> None:
    root = Key.from_seed(seed)
    one_by_one = root
    for part in path:
        one_by_one = one_by_one.fold(part)
    assert root.fold(*path) == one_by_one


@PROPERTY
@given(st.integers(0, 2**30), paths, paths)
def test_other_places_have_other_keys(seed: int, a: list[int | str], b: list[int | str]) -> None:
    root = Key.from_seed(seed)
    assert (root.fold(*a) == root.fold(*b)) == (a == b)


def test_streams_look_independent() -> None:
    draws = np.array([Key.from_seed(0).fold(k).generator().standard_normal(100) for k in range(200)])
    correlations = np.corrcoef(draws)[np.triu_indices(200, 1)]
    # 19,900 correlations of 100 draws: each has a standard deviation of 0.1, and 6 of them are never reached.
    assert np.abs(correlations).max() < 0.6
    assert abs(draws.mean()) < 5 / np.sqrt(draws.size)


def test_a_number_and_a_word_are_different_places() -> None:
    assert Key.from_seed(0).fold(1) != Key.from_seed(0).fold("1")


def test_an_integer_of_numpy_is_that_integer() -> None:
    assert Key.from_seed(0).fold(np.int64(3), np.str_("x")) == Key.from_seed(0).fold(3, "x")
    assert MaxCut.random_regular(np.int64(3), np.int32(8), seed=1) == MaxCut.random_regular(3, 8, seed=1)


def test_the_seed_for_libraries_is_a_plain_int() -> None:
    assert 0 <= Key.from_seed(3).seed() < 2**31
    assert len(Key.from_seed(3).hex) == 32


@pytest.mark.parametrize("bad", [1.5, "seven", None, True])
def test_only_integers_are_seeds(bad: object) -> None:
    with pytest.raises(TypeError, match="must be a varq Key or an integer seed"):
        as_key(bad)  # type: ignore[arg-type]


def test_keys_pass_through() -> None:
    key = Key.from_seed(1)
    assert as_key(key) is key
    assert as_key(1) == as_key(np.int64(1)) == key
