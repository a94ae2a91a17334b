"""Checks: each names the argument, what came, and what to do."""

from typing import Any

import numpy as np
import pytest

from varq import checks


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: checks.choice("ansatz", "ucsd", ["uccsd", "givens"]),
            ValueError,
            r"ansatz must be one of .*'uccsd'\?",
        ),
        (lambda: checks.choice("ansatz", 3, ["uccsd"]), ValueError, "Got 3"),
        (
            lambda: checks.instance("stop", 3, str, "Give words."),
            TypeError,
            r"stop must be of type str.*Got 3.*words",
        ),
        (lambda: checks.text("name", ""), ValueError, "name must not be an empty string"),
        (lambda: checks.text("name", 1), TypeError, "name must be of type str"),
        (lambda: checks.boolean("flag", 1), TypeError, "flag must be True or False"),
        (lambda: checks.integer("shots", 1.0), TypeError, "shots must be an integer"),
        (lambda: checks.integer("shots", True), TypeError, "shots must be an integer"),
        (
            lambda: checks.integer("shots", 0, minimum=1, hint="None is exact."),
            ValueError,
            "at least 1. Got 0. None",
        ),
        (lambda: checks.integer("depth", 9, maximum=8), ValueError, "depth must be at most 8. Got 9"),
        (lambda: checks.real("rate", "fast"), TypeError, "rate must be a real number"),
        (lambda: checks.real("rate", np.nan), ValueError, "rate must be finite. Got nan"),
        (lambda: checks.real("rate", np.inf), ValueError, "rate must be finite. Got inf"),
        (lambda: checks.real("rate", -1, minimum=0), ValueError, "rate must be at least 0"),
        (lambda: checks.real("rate", 2, maximum=1), ValueError, "rate must be at most 1"),
        (lambda: checks.real("rate", 0, above=0), ValueError, "rate must be greater than 0"),
        (lambda: checks.array("x", ["a"]), TypeError, "x must be an array of float64"),
        (lambda: checks.array("x", ["1.0"]), TypeError, "x must be an array of float64.*it holds text"),
        (
            lambda: checks.keywords("solve()", ["seed", "optimiser"], ["optimizer", "seed"]),
            TypeError,
            r"solve\(\) takes optimizer, seed. Got 'optimiser'. Did you mean optimizer\?",
        ),
        (lambda: checks.array("x", [1j]), TypeError, "x must be an array of float64.*it is complex"),
        (lambda: checks.array("x", [10**400]), TypeError, "x must be an array of float64"),
        (lambda: checks.array("x", [[1.0], [2.0, 3.0]]), TypeError, "x must be an array of float64"),
        (lambda: checks.array("x", [1.0, 2.0], (3,)), ValueError, r"x must have shape \(3,\). Got shape \(2,\)"),
        (lambda: checks.array("x", 1.0, (None, 2)), ValueError, r"x must have shape \(any, 2\)"),
        (lambda: checks.array("x", [0.0, np.nan]), ValueError, "x must be finite. Got nan at index 1"),
        (lambda: checks.shape("x", np.ones(2), (3,)), ValueError, r"Got shape \(2,\)"),
        (lambda: checks.hermitian("h", [[0, 1], [2, 0]]), ValueError, "h must be Hermitian. It differs .* by 1"),
        (lambda: checks.hermitian("h", np.ones((2, 3))), ValueError, "h must be square"),
        (lambda: checks.unitary("u", [[1, 1], [0, 1]]), ValueError, "u must be unitary"),
        (lambda: checks.unitary("u", np.ones((2, 3))), ValueError, "u must be square"),
        (lambda: checks.normalized("state", [1, 1]), ValueError, r"norm 1. Got norm 1.414.* Divide it by 1.41421"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_good_input_passes() -> None:
    assert checks.choice("a", "x", ["x"]) == "x"
    assert checks.integer("n", np.int64(3), minimum=3, maximum=3) == 3
    assert checks.real("r", np.float32(0.5)) == 0.5
    assert checks.real("r", float("inf"), infinite=True) == float("inf")
    assert checks.boolean("b", np.bool_(True)) is True
    assert not checks.array("x", [1, 2], (None,)).flags.writeable
    assert checks.unitary("u", [[0, 1j], [1j, 0]]).dtype == complex
    assert np.allclose(checks.hermitian("h", [[1, 1j], [-1j, 0]]), [[1, 1j], [-1j, 0]])
    assert checks.normalized("s", [0.6, 0.8j]).shape == (2,)
    checks.finite("words", np.array(["a"]))


def test_a_missing_extra_says_what_to_install() -> None:
    error = checks.missing_extra("pyscf", "chem", "Computing integrals")
    assert str(error) == "Computing integrals needs the package pyscf. Install it with: pip install 'varq[chem]'"


def test_long_values_are_cut() -> None:
    with pytest.raises(TypeError, match=r"\.\.\.") as caught:
        checks.instance("x", "y" * 500, int)
    assert len(str(caught.value)) < 200
