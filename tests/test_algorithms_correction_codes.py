"""Codes: their algebra against enumeration, their schedules against what two measurements owe each other."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from varq import spec
from varq.algorithms.correction.codes import (
    Code,
    FiveQubit,
    Repetition,
    RotatedSurface,
    StabilizerCode,
    Steane,
    anticommute,
)

PAULI = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}
OWN = StabilizerCode(stabilizers=("ZZI", "IZZ"), logical_x="X" * 3, logical_z="ZII", distance=3)
CODES = [Repetition(3), Repetition(5), RotatedSurface(3), RotatedSurface(5), Steane(), FiveQubit(), OWN]
codes = pytest.mark.parametrize("code", CODES, ids=lambda code: code.title)


def matrix(string: str) -> np.ndarray:
    out = np.eye(1)
    for letter in string:
        out = np.kron(out, PAULI[letter])
    return out


@codes
def test_stabilizers_and_logical_operators_commute_as_they_must(code: Code) -> None:
    assert len(code.stabilizers) == code.wires - 1
    for first, second in combinations(code.stabilizers, 2):
        assert not anticommute(first, second)
    for string in (code.logical_x, code.logical_z):
        assert not code.syndrome(string).any()
    assert anticommute(code.logical_x, code.logical_z)
    assert code.logical("X") == code.logical_x
    assert code.logical("Z") == code.logical_z


@pytest.mark.parametrize("code", [Repetition(3), Repetition(5), FiveQubit(), Steane()], ids=lambda code: code.title)
def test_the_stabilized_space_holds_one_qubit(code: Code) -> None:
    """The projector on the common eigenspace has rank 2, and matrices agree with strings on what anticommutes."""
    projector = np.eye(2**code.wires)
    for string in code.stabilizers:
        projector = projector @ (np.eye(2**code.wires) + matrix(string)) / 2
    assert np.trace(projector).real == pytest.approx(2, abs=1e-9)
    x, z = matrix(code.logical_x), matrix(code.logical_z)
    np.testing.assert_allclose(x @ z, -z @ x, atol=1e-12)
    np.testing.assert_allclose(projector @ x, x @ projector, atol=1e-12)


def errors(wires: int, weight: int, letters: str) -> list[str]:
    found = []
    for places in combinations(range(wires), weight):
        for chosen in product(letters, repeat=weight):
            string = ["I"] * wires
            for place, letter in zip(places, chosen, strict=True):
                string[place] = letter
            found.append("".join(string))
    return found


@pytest.mark.parametrize(
    "code", [Repetition(3), Repetition(5), RotatedSurface(3), Steane(), FiveQubit()], ids=lambda code: code.title
)
def test_the_distance_is_the_weight_of_the_lightest_hidden_error(code: Code) -> None:
    letters = "X" if isinstance(code, Repetition) else "XYZ"

    def hidden(weight: int) -> bool:
        return any(
            not code.syndrome(error).any() and code.logical_flips(error).any()
            for error in errors(code.wires, weight, letters)
        )

    assert not any(hidden(weight) for weight in range(1, code.distance))
    assert hidden(code.distance)


@codes
def test_schedules_touch_what_stabilizers_act_on_and_no_qubit_twice(code: Code) -> None:
    assert len(code.schedule) == len(code.stabilizers)
    for string, row in zip(code.stabilizers, code.schedule, strict=True):
        touched = [q for q in row if q is not None]
        assert sorted(touched) == [q for q, letter in enumerate(string) if letter != "I"]
    for layer in range(code.layers):
        touched = [row[layer] for row in code.schedule if row[layer] is not None]
        assert len(touched) == len(set(touched))


@codes
def test_measurements_of_two_stabilizers_leave_each_other_alone(code: Code) -> None:
    """Where two stabilizers differ, each ancilla is turned by the other; twice is never."""
    for one, two in combinations(range(len(code.stabilizers)), 2):
        first, second = code.schedule[one], code.schedule[two]
        crossed = [
            first.index(q) < second.index(q)
            for q in range(code.wires)
            if q in first and q in second and code.stabilizers[one][q] != code.stabilizers[two][q]
        ]
        assert sum(crossed) % 2 == 0


@codes
def test_codes_are_specs(code: Code) -> None:
    again = spec.loads(spec.dumps(code))
    assert again == code
    assert again.schedule == code.schedule
    assert hash(again) == hash(code)


def test_the_surface_code_has_the_layout_that_its_docstring_says() -> None:
    code = RotatedSurface(5)
    assert [s.count("I") for s in code.stabilizers].count(25 - 2) == 2 * (5 - 1)  # two-letter ones, along four edges
    assert all(set(s) <= {"I", "X"} for s in code.stabilizers[:12])
    assert all(set(s) <= {"I", "Z"} for s in code.stabilizers[12:])
    for string, row in zip(code.stabilizers, code.schedule, strict=True):
        if string.count("I") == 21:  # ends along a row for X, along a column for Z: across its logical operator
            last = [q for q in row[2:] if q is not None]
            assert len({q // 5 if "X" in string else q % 5 for q in last}) == 1


def test_which_codes_matching_can_decode() -> None:
    assert [code.matchable for code in (Repetition(3), RotatedSurface(5), OWN)] == [True, True, True]
    assert [code.matchable for code in (Steane(), FiveQubit())] == [False, False]


@pytest.mark.parametrize("kind", [Repetition, RotatedSurface])
def test_distances_are_odd_and_positive(kind: type) -> None:
    with pytest.raises(ValueError, match=r"distance must be odd. Got 4. Take 3, 5, 7"):
        kind(4)
    with pytest.raises(ValueError, match=r"distance must be at least 3. Got -3. Take 3, 5, 7"):
        kind(-3)
    with pytest.raises(TypeError, match=r"distance must be an integer"):
        kind(3.0)


@pytest.mark.parametrize(
    ("code", "claimed", "least"),
    [
        (OWN, 4, 3),
        (Steane(), 4, 3),
        (FiveQubit(), 5, 3),
        (RotatedSurface(3), 9, 3),
        (StabilizerCode(stabilizers=("XXI", "IXX"), logical_x="XII", logical_z="ZZZ", distance=3), 5, 3),
        (StabilizerCode(stabilizers=("XXXX", "ZZII", "IIZZ"), logical_x="XXII", logical_z="ZIZI", distance=2), 3, 2),
    ],
    ids=lambda value: getattr(value, "title", str(value)),
)
def test_a_distance_that_an_error_disproves_is_refused(code: Code, claimed: int, least: int) -> None:
    """Steane's, Shor's and Laflamme's codes have the distance 3; flips of one kind are all that one letter sees."""
    strings = {"stabilizers": code.stabilizers, "logical_x": code.logical_x, "logical_z": code.logical_z}
    assert StabilizerCode(**strings, distance=least).distance == least
    with pytest.raises(
        ValueError, match=rf"least weight of an error.*Got {claimed}, but.*Give distance={least}"
    ) as told:
        StabilizerCode(**strings, distance=claimed)
    error = str(told.value).split("'")[1]
    assert sum(letter != "I" for letter in error) == least
    assert not code.syndrome(error).any()
    assert code.logical_flips(error).any()


def test_strings_that_are_no_code_are_refused() -> None:
    def made(stabilizers: tuple[str, ...], x: str = "X" * 3, z: str = "ZII") -> StabilizerCode:
        return StabilizerCode(stabilizers=stabilizers, logical_x=x, logical_z=z, distance=3)

    with pytest.raises(ValueError, match=r"stabilizers must be 3 letters of I, X, Y, Z. Got 'ZZ'"):
        made(("ZZ", "IZZ"))
    with pytest.raises(ValueError, match=r"logical_z must be 3 letters of I, X, Y, Z. Got 'zii'"):
        made(("ZZI", "IZZ"), z="zii")
    with pytest.raises(ValueError, match=r"stabilizers commute. Got 'ZZI' and 'IXX'"):
        made(("ZZI", "IXX"))
    with pytest.raises(ValueError, match=r"logical operators commute with 'ZII'"):
        made(("ZII", "IZZ"))
    with pytest.raises(ValueError, match=r"logical_x and logical_z anticommute"):
        made(("ZZI", "IZZ"), z="ZZI")
    with pytest.raises(ValueError, match=r"2 independent stabilizers for 3 data qubits. Got 1, of which 1"):
        made(("ZZI",))
    with pytest.raises(ValueError, match=r"error must be 3 letters of I, X, Y, Z. Got 'XX'. Give data qubit 0 first"):
        Repetition(3).syndrome("XX")
    with pytest.raises(ValueError, match=r"basis must be one of 'X', 'Z'. Got 'Y'"):
        Repetition(3).logical("Y")
