"""The identity of an evolution is what it was made of, whatever the last bits of its matrix are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq import spec
from varq.algorithms import PhaseEstimation
from varq.problems import EigenPhase, Molecule, Operator, TransverseFieldIsing
from varq.problems.evolution import Evolution, fitting_time
from varq.problems.pauli import PauliSum

ROUNDING = 1e-15  # what one machine's LAPACK differs from another's by
CHAIN = TransverseFieldIsing(3, field=0.7)
TWO_GROUNDS = PauliSum.from_words({"ZZ": -1.0, "IZ": 0.0})


def evolution(**options: Any) -> EigenPhase:
    return EigenPhase.from_hamiltonian(CHAIN, **options)


def made_elsewhere(problem: EigenPhase) -> EigenPhase:
    """The same as a machine that rounds otherwise makes it."""
    rng = np.random.default_rng(7)
    noise = [rng.normal(scale=ROUNDING, size=(2, *np.shape(x))) for x in (problem.unitary, problem.state)]
    unitary, state = (x + n[0] + 1j * n[1] for x, n in zip((problem.unitary, problem.state), noise, strict=True))
    origin = problem.origin
    if origin is None:
        return dataclasses.replace(problem, unitary=unitary, state=state if problem.preparation else problem.state)
    return dataclasses.replace(
        problem,
        unitary=unitary,
        # One that was given is the same everywhere.
        state=state if origin.ground else problem.state,
        time=problem.time * (1 + ROUNDING) if origin.time is None else problem.time,
        near=problem.near + ROUNDING if origin.near is None else problem.near,
    )


def oracle() -> None:
    qml.QFT([0, 1, 2])
    qml.PhaseShift(0.4, 2)


def other_oracle() -> None:
    qml.QFT([0, 1, 2])
    qml.PhaseShift(0.4 + 1e-15, 2)


@pytest.mark.parametrize(
    "problem",
    [
        evolution(),
        evolution(time=0.3, near=-1.0),
        evolution(time=0.3, state=2),
        evolution(time=0.3, state=lambda: qml.Hadamard(0)),
        evolution(trotter=2),
        evolution(time=0.3, trotter=3, order=4, state=2),
        EigenPhase.from_hamiltonian(Molecule.load("H2")),
        EigenPhase.from_hamiltonian(Molecule.load("H2"), trotter=1),
        EigenPhase.from_circuit(oracle, 3),
        EigenPhase.from_circuit(oracle, 3, state=oracle),
        EigenPhase(qml.QFT([0, 1, 2]), state=5),
    ],
    ids=[
        *("fitting", "timed", "from a state", "from a circuit", "steps", "steps from a state", "H2", "H2 in a step"),
        *("an oracle", "an oracle and its state", "an operator"),
    ],
)
def test_how_a_machine_rounds_is_no_part_of_the_identity(problem: EigenPhase) -> None:
    other = made_elsewhere(problem)
    assert not np.array_equal(other.unitary, problem.unitary)
    assert spec.identity(other) == spec.identity(problem)
    assert spec.identity(problem)[1]
    tasks = [PhaseEstimation(problem=p, applications=16) for p in (problem, other)]
    assert spec.identity(tasks[0]) == spec.identity(tasks[1])


def test_what_it_was_made_of_is_the_identity() -> None:
    """Nothing that changes the question may be lost with the bits of the matrix."""
    different = [
        evolution(),
        evolution(time=0.3),
        evolution(time=0.30000000000000004),
        evolution(time=-0.3),
        evolution(time=0.3, near=-1.0),
        evolution(time=0.3, state=0),
        evolution(time=0.3, state=1),
        evolution(time=0.3, state=lambda: qml.Hadamard(0)),
        evolution(time=0.3, state=lambda: qml.RX(0.1, 0)),
        evolution(time=0.3, trotter=1),
        evolution(time=0.3, trotter=2),
        evolution(time=0.3, trotter=2, order=4),
        evolution(time=0.3, trotter=2, state=0),
        EigenPhase.from_hamiltonian(TransverseFieldIsing(3, field=0.7 + 1e-9), time=0.3),
        *(EigenPhase.from_hamiltonian(Molecule.load("H2", bond)) for bond in (0.7, 0.8)),
        EigenPhase.from_circuit(oracle, 3),
        EigenPhase.from_circuit(other_oracle, 3),
        EigenPhase.from_circuit(oracle, 3, state=1),
        EigenPhase.from_circuit(oracle, 3, state=oracle),
        EigenPhase.from_circuit(oracle, 3, state=other_oracle),
        EigenPhase(qml.matrix(oracle, wire_order=[0, 1, 2])()),
        EigenPhase(qml.matrix(oracle, wire_order=[0, 1, 2])(), state=oracle),
    ]
    assert len({spec.identity(problem) for problem in different}) == len(different)


def test_words_stand_for_what_is_no_spec() -> None:
    forms: list[Any] = [CHAIN.pauli, CHAIN.hamiltonian, CHAIN.pauli.sparse().toarray(), Operator(CHAIN.pauli)]
    made = [EigenPhase.from_hamiltonian(form, 0.3) for form in forms]
    assert len({spec.identity(problem) for problem in made}) == 1
    assert all(problem.origin is not None and isinstance(problem.origin.problem, Operator) for problem in made)


@pytest.mark.parametrize("options", [{}, {"trotter": 2}, {"time": 0.3, "state": lambda: qml.Hadamard(0)}])
def test_a_record_keeps_every_bit(options: dict[str, Any]) -> None:
    problem = made_elsewhere(evolution(**options))
    again = spec.loads(spec.dumps(problem))
    assert spec.identity(again) == spec.identity(problem)
    for name in ("unitary", "state", "time", "near"):
        assert np.array_equal(getattr(again, name), getattr(problem, name))
    assert spec.dumps(again) == spec.dumps(problem)


@pytest.mark.parametrize("options", [{}, {"time": 0.3, "state": 1}])
def test_older_records_keep_their_identity(options: dict[str, Any]) -> None:
    """Before there was an origin, every field was hashed as it stands in the record."""
    record = spec.encode(evolution(**options))
    assert record.pop("origin")["kind"] == "data:evolution"
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    older = spec.loads(text)
    assert older.origin is None
    assert spec.identity(older) == (hashlib.sha256(text.encode()).hexdigest(), True)
    assert spec.identity(older) != spec.identity(evolution(**options))


def test_where_rounding_decides_the_bits_are_the_identity() -> None:
    """Which of two ground states starts a product formula is each machine's choice, and may be another question."""
    assert EigenPhase.from_hamiltonian(TWO_GROUNDS, trotter=1).origin is None
    assert evolution(time=1e7, near=0.0).origin is None
    exact = EigenPhase.from_hamiltonian(TWO_GROUNDS)
    other = dataclasses.replace(exact, state=[0.6, 0, 0, 0.8j])
    assert spec.identity(other) == spec.identity(exact)
    assert other.phases == pytest.approx(exact.phases)


@pytest.mark.parametrize("constant", [0.0, 1e5])
def test_a_constant_hides_no_lie(constant: float) -> None:
    """Its rounding is no lie either, where the levels are one."""
    assert EigenPhase.from_hamiltonian(Operator({"II": constant})).origin is not None
    problem = EigenPhase.from_hamiltonian(Operator({"II": constant, "ZI": 1.0, "IX": 0.5}))
    assert problem.origin is not None
    with pytest.raises(ValueError, match="Got state=one that is off"):
        dataclasses.replace(problem, state=0)


def lie(made: EigenPhase, /, **changes: Any) -> EigenPhase:
    return dataclasses.replace(made, origin=dataclasses.replace(made.origin, **changes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lie(evolution(), time=0.3), r"Got time=1\.\d+, where it says 0\.3\. Make it by EigenPhase"),
        (lambda: lie(evolution(time=0.3), time=None), r"Got time=0\.3, where it says 1\.\d+"),
        (lambda: lie(evolution(time=0.3), near=1.0), r"Got near=.*, where it says 1\.0"),
        (lambda: lie(evolution(time=0.3, near=1.0), near=None), r"Got near=1\.0, where it says"),
        (lambda: lie(evolution(time=0.3), problem=TransverseFieldIsing(3, field=0.70001)), "unitary=one that is off"),
        (lambda: lie(evolution(), problem=TransverseFieldIsing(4)), "Got wires=3, where it says 4"),
        (lambda: lie(evolution(), trotter=2), "Got steps=1, where it says 2"),
        (lambda: lie(evolution(), trotter=1), "Got gates=others, where it says those of .* order 2"),
        (lambda: lie(evolution(trotter=2), trotter=None), "Got gates=some, where it says none"),
        (lambda: lie(evolution(trotter=2), trotter=3), "Got steps=2, where it says 3"),
        (lambda: lie(evolution(trotter=2), order=4), "Got gates=others, where it says those of .* order 4"),
        (lambda: lie(evolution(state=1), ground=True), "Got state=one that is off by .* says the ground state"),
        (lambda: lie(evolution(trotter=2, state=1), ground=True), "Got state=another.* says the eigenstate"),
        (
            lambda: lie(evolution(state=lambda: qml.Hadamard(0)), ground=True),
            "Got preparation=gates, where it says none",
        ),
        (lambda: dataclasses.replace(evolution(), time=None), "Got time=None, where it says a time"),
        (lambda: dataclasses.replace(evolution(time=0.3), unitary=np.eye(8)), "unitary=one that is off"),
    ],
)
def test_an_origin_that_gives_another_evolution_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"origin must be what the unitary was made of. .*{message}"):
        make()


def test_a_lie_in_a_record_is_refused() -> None:
    record = spec.encode(evolution(time=0.3))
    record["origin"]["problem"]["field"] = 0.8
    with pytest.raises(ValueError, match="origin must be what the unitary was made of"):
        spec.decode(record)
    with pytest.raises(TypeError, match="origin must be"):
        dataclasses.replace(evolution(), origin="H")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": np.inf}, "time must be finite"),
        ({"near": np.nan}, "near must be finite"),
        ({"trotter": 0}, "trotter must be at least 1"),
        ({"trotter": 1, "order": 3}, "order must be 1 or even"),
    ],
)
def test_an_origin_is_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Evolution(CHAIN, **options)


def test_equal_origins_are_written_alike() -> None:
    assert spec.identity(Evolution(CHAIN, time=1, order=4)) == spec.identity(Evolution(CHAIN, time=1.0))
    assert spec.identity(Evolution(CHAIN, trotter=1, order=2)) == spec.identity(Evolution(CHAIN, trotter=1))
    assert fitting_time(0.0) == 1.0
