"""Unitaries by their gates: against PennyLane's matrices and product formulas, as data and back, bad input named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq import spec
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.problems.gates import KNOWN, Gate, as_gates, gates_of_operator, matrix_of, operation, raised
from varq.problems.pauli import PauliSum

EXACT = 1e-10  # products of a few hundred small matrices in float64
WIRES = {"MultiRZ": 3, "GlobalPhase": 0, "PauliRot": 3, "MultiControlledX": 3, "QubitUnitary": 2}
HADAMARD_LIKE = np.array([[0.6, 0.8], [0.8, -0.6]])


def one_of(name: str) -> Gate:
    """A gate of each name, with angles of its own."""
    wires = tuple(range(WIRES.get(name, getattr(qml, name).num_wires or 2)))[::-1]
    numbers: Any = tuple(0.3 + 0.4 * k for k in range(getattr(qml, name).num_params or 0))
    if name == "QubitUnitary":
        numbers = np.kron(HADAMARD_LIKE, np.diag([1, 1j]))
    if name == "DiagonalQubitUnitary":
        numbers = np.exp(1j * np.arange(4))
    return Gate(name, wires, numbers, {"PauliRot": "XYZ", "MultiControlledX": (True, False)}.get(name))


def oracle() -> None:
    """Gates that are kept, and such as PennyLane decomposes, one with a global phase, or has a matrix of alone."""
    qml.Hadamard(0)
    qml.ctrl(qml.S(1), 0)
    qml.MultiControlledX([0, 1, 2], control_values=[0, 1])
    qml.QFT([2, 0])
    qml.adjoint(qml.SX(2))
    qml.U2(0.1, 0.2, 1)
    qml.exp(qml.X(0) @ qml.Y(2), 0.3j)
    qml.FermionicSWAP(0.2, [0, 2])
    qml.Barrier([0, 1])
    qml.DiagonalQubitUnitary(np.exp(1j * np.arange(4)), [2, 1])
    qml.s_prod(1j, qml.prod(qml.X(0), qml.T(1)))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_gate_is_pennylane_s_and_so_are_its_powers(name: str) -> None:
    (checked,) = as_gates("gates", [one_of(name)], 4)
    op = operation(checked, range(4))
    matrix = qml.matrix(op, wire_order=range(4))
    assert np.abs(matrix_of([checked], 4) - matrix).max() < EXACT
    assert op.name == name
    for count in (0, 1, 2, 5):
        found, repeats = raised([checked], count)
        power = np.eye(16)
        for part in found * repeats:
            power = qml.matrix(part, wire_order=range(4)) @ power
        assert np.abs(power - np.linalg.matrix_power(matrix, count)).max() < EXACT
    again = spec.loads(spec.dumps([checked]))
    assert spec.digest(as_gates("gates", again, 4)) == spec.digest([checked])


def test_gates_repeat_unless_they_commute() -> None:
    apart = [Gate("CNOT", (0, 1)), Gate("RX", (2,), (0.2,))]
    phases = [Gate("CZ", (0, 1)), Gate("T", (1,)), Gate("PauliRot", (0, 2), (0.3,), "ZZ")]
    for gates, alone in ((apart, True), (phases, True), ([*phases, Gate("PauliX", (1,))], False)):
        found, repeats = raised(gates, 7)
        assert repeats == (1 if alone else 7)
        power = qml.matrix(qml.tape.QuantumScript(found * repeats), wire_order=range(3))
        assert np.abs(power - np.linalg.matrix_power(matrix_of(gates, 3), 7)).max() < EXACT


def test_an_oracle_is_what_it_queues() -> None:
    problem = EigenPhase.from_circuit(oracle, wires=3)
    assert np.abs(problem.unitary - qml.matrix(oracle, wire_order=range(3))()).max() < EXACT
    assert {gate.name for gate in problem.gates} <= KNOWN
    assert max(len(gate.wires) for gate in problem.gates) == 3  # one gate of three wires was queued, no matrix of all


@pytest.mark.parametrize(
    "operator",
    [
        qml.T(0),
        qml.CNOT([1, 0]),
        qml.PauliRot(0.7, "XYIZ", ["d", "b", "a", "c"]),
        qml.prod(qml.S("x"), qml.RX(0.2, "y"), qml.CZ(["y", "x"])),
        qml.adjoint(qml.QFT([0, 1, 2])),
        qml.ctrl(qml.SX(1), [0, 2], control_values=[1, 0]),
        qml.pow(qml.ISWAP([0, 1]), 3),
        qml.evolve(qml.X(0) @ qml.Z(1), 0.4),
        qml.Identity([0, 1]),
    ],
    ids=lambda op: str(op.name),
)
def test_an_operator_keeps_its_gates(operator: Any) -> None:
    problem = EigenPhase(operator)
    assert np.abs(matrix_of(problem.gates, problem.wires) - qml.matrix(operator)).max() < EXACT
    # PennyLane writes some controlled gates by matrices of one wire.
    assert all(len(gate.wires) == 1 for gate in problem.gates if gate.name == "QubitUnitary")


def test_what_is_a_matrix_alone_has_no_gates() -> None:
    assert EigenPhase(qml.QubitUnitary(np.eye(4)[::-1], [0, 1])).gates is None
    assert EigenPhase(np.eye(2)).gates is None
    assert EigenPhase.from_hamiltonian(TransverseFieldIsing(2)).gates is None


class Approximate(qml.operation.Operation):  # type: ignore[misc]
    """An operation that decomposes into another one, but for its angle 0 where that is off by a phase alone."""

    num_wires = 2

    @staticmethod
    def compute_matrix(angle: float) -> Any:
        """RXX by an angle, and a phase."""
        return np.exp(0.7j) * qml.IsingXX.compute_matrix(0.3 + angle)

    @staticmethod
    def compute_decomposition(angle: float, wires: Any) -> list[Any]:
        """RXX by another angle."""
        return [qml.IsingXX(0.3, wires=wires)]


def test_a_decomposition_counts_by_its_matrix() -> None:
    (turn, phase) = gates_of_operator(Approximate(0.0, [0, 1]))  # type: ignore[misc]
    assert turn == Gate("IsingXX", (0, 1), (0.3,))
    assert phase.numbers == pytest.approx((-0.7,))
    assert gates_of_operator(Approximate(0.1, [0, 1])) is None


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("problem", [TransverseFieldIsing(3), Molecule.load("H2")], ids=["TFIM", "H2"])
def test_product_formulas_are_pennylane_s(problem: Any, order: int) -> None:
    words = PauliSum.from_matrix(problem.pauli.sparse().toarray())
    terms = qml.sum(*[words[k : k + 1].operator() for k in range(len(words))])
    # PennyLane's formula approximates exp(+i H t).
    truth = qml.matrix(qml.TrotterProduct(terms, -0.6, n=2, order=order), wire_order=range(words.wires))
    found = EigenPhase.from_hamiltonian(problem, 0.6, trotter=2, order=order)
    assert np.abs(found.unitary - truth).max() < EXACT
    assert np.abs(matrix_of(found.gates, found.wires, 2) - truth).max() < EXACT
    assert found.steps == 2


def test_rotations_that_meet_are_one() -> None:
    words = PauliSum.from_words({"ZZ": 1.0, "XI": 0.5, "IX": 0.25, "II": 2.0})
    found = EigenPhase.from_hamiltonian(words, 0.1, trotter=1)
    turns = [(gate.more, gate.wires) for gate in found.gates[:-1]]
    assert turns == [("ZZ", (0, 1)), ("X", (0,)), ("X", (1,)), ("X", (0,)), ("ZZ", (0, 1))]
    assert found.gates[-1] == Gate("GlobalPhase", (), (0.2,))
    assert sum(gate.numbers[0] for gate in found.gates[:-1]) == pytest.approx(2 * 0.1 * 1.75)
    assert EigenPhase.from_hamiltonian(np.zeros((2, 2)), 0.1, trotter=3).gates == ()


def test_a_state_is_prepared_by_a_circuit() -> None:
    def prepare() -> None:
        qml.BasisState([1, 0], wires=[0, 1])
        qml.RY(0.4, 1)
        qml.CNOT([1, 0])

    problem = EigenPhase(np.diag(np.exp(1j * np.arange(4))), prepare)
    truth = qml.QNode(lambda: (prepare(), qml.state())[1], qml.device("default.qubit", wires=2))()
    assert np.abs(problem.state - truth).max() < EXACT
    assert [gate.name for gate in problem.preparation] == ["PauliX", "RY", "CNOT"]


def test_gates_survive_the_spec() -> None:
    problems = (
        EigenPhase.from_circuit(oracle, 3, state=oracle),
        EigenPhase.from_hamiltonian(TransverseFieldIsing(3), 0.3, trotter=4),
        EigenPhase(qml.Identity(0)),
    )
    for problem in problems:
        arrays: dict[str, Any] = {}
        again = spec.loads(spec.dumps(problem, arrays), arrays.__getitem__)
        assert spec.identity(again) == spec.identity(problem)
        assert again.steps == problem.steps
        assert spec.digest(again.gates) == spec.digest(problem.gates)
    assert spec.identity(EigenPhase(qml.S(0), 1)) == spec.identity(EigenPhase(qml.S("a"), 1))
    # Other gates are other circuits for a machine.
    assert spec.identity(EigenPhase(qml.S(0), 1)) != spec.identity(EigenPhase(qml.matrix(qml.S(0)), 1))


def test_a_unitary_without_gates_is_written_as_it_always_was() -> None:
    text = spec.dumps(EigenPhase(np.diag([1, 1j]), 1))
    assert not {"gates", "steps", "preparation"} & set(spec.json.loads(text))
    assert spec.loads(text).gates is None


def measuring() -> Any:
    qml.Hadamard(0)
    return qml.expval(qml.Z(0))


def in_the_middle() -> None:
    qml.Hadamard(0)
    qml.measure(0)


BAD: list[tuple[Any, str]] = [
    (
        lambda: EigenPhase(np.eye(4), gates=[("MultiControlledX", (0, 1), (), 1)], steps=1),
        "control values of MultiControlledX must be of type",
    ),
    (lambda: EigenPhase(np.eye(4), gates=[("PauliRot", (0, 1), (0.1,), None)], steps=1), "word of PauliRot must be"),
    (lambda: EigenPhase.from_hamiltonian(qml.Z(0), order=3), "order must be 1 or even"),
    (lambda: EigenPhase.from_circuit(lambda: None, 2), "oracle must queue at least one operation. Got none"),
    (lambda: EigenPhase.from_circuit(qml.X(0), 2), "oracle must be a function without arguments. Got X"),
    (
        lambda: EigenPhase.from_circuit(lambda x: qml.RX(x, 0), 2),
        "oracle must be a function without arg.*Got <function",
    ),
    (lambda: EigenPhase.from_circuit(measuring, 2), "oracle must not measure. Got expval"),
    (lambda: EigenPhase.from_circuit(in_the_middle, 2), "oracle must not measure. Got"),
    (lambda: EigenPhase.from_circuit(lambda: qml.CZ([1, 2]), 2), r"wires 0 to 1. Got \[2\] of CZ. Number them from 0"),
    (lambda: EigenPhase.from_circuit(lambda: qml.X("a"), 1), r"wires 0 to 0. Got \['a'\]"),
    (lambda: EigenPhase.from_circuit(lambda: qml.X(0), 11), "wires must be at most 10"),
    (lambda: EigenPhase.from_circuit(lambda: qml.BasisState([1], [0]), 1), "act on any state. Got BasisState"),
    (lambda: EigenPhase.from_circuit(lambda: qml.QubitUnitary(np.ones((2, 2)), 0), 1), "must be unitary.*off by"),
    (lambda: EigenPhase.from_circuit(lambda: qml.s_prod(2, qml.X(0)), 1), "unitary must be unitary.*off by 3"),
    (lambda: EigenPhase.from_circuit(lambda: qml.BitFlip(0.1, 0), 1), "Got BitFlip, which has neither gates nor"),
    (lambda: EigenPhase.from_circuit(lambda: qml.RX([0.1, 0.2], 0), 1), "a number of RX must be a real number"),
    (lambda: EigenPhase(np.eye(2), measuring), "state must not measure"),
    (lambda: EigenPhase(np.eye(2), in_the_middle), "state must not measure"),
    (lambda: EigenPhase(np.eye(2), 1, preparation=[("Hadamard", (0,))]), "preparation must give the state.*0.707107"),
    (lambda: EigenPhase(np.eye(2), steps=2), "steps must come with gates"),
    (lambda: EigenPhase(np.eye(2), gates=[("T", (0,))]), "gates must give the unitary.*off by"),
    (lambda: EigenPhase(np.eye(2), gates=[("RZ", (0,), (4 * math.pi / 2,))]), "its phase included"),
    (lambda: EigenPhase(np.eye(2), gates=[("T", (0,))], steps=0), "steps must be at least 1"),
    (lambda: EigenPhase(np.eye(2), gates="T"), "gates must be of type tuple or list"),
    (lambda: EigenPhase(np.eye(2), gates=["T"]), "gates must be of type tuple or list. Got 'T'"),
    (lambda: EigenPhase(np.eye(2), gates=[("T",)]), "a name, wires and numbers for each gate"),
    (lambda: EigenPhase(np.eye(2), gates=[("TT", (0,))]), "a gate of gates must be one of.* Did you mean"),
    (lambda: EigenPhase(np.eye(2), gates=[("T", 0)]), "the wires of T must be of type tuple"),
    (lambda: EigenPhase(np.eye(2), gates=[("T", (1,))]), "a wire of T must be at most 0. Got 1"),
    (lambda: EigenPhase(np.eye(2), gates=[("RX", (0,), 0.1)]), "the numbers of RX must be of type tuple"),
    (lambda: EigenPhase(np.eye(2), gates=[("RX", (0,), ("a",))]), "a number of RX must be a real number"),
    (lambda: EigenPhase(np.eye(2), gates=[("RX", (0,))]), "gates must hold gates as PennyLane has them"),
    (lambda: EigenPhase(np.eye(4), gates=[("CNOT", (0, 0))]), "gates must hold gates as PennyLane has them"),
    (lambda: EigenPhase(np.eye(2), gates=[("PauliRot", (0,), (0.1,), "XX")]), "gates must hold gates as PennyLane"),
    (
        lambda: EigenPhase(np.eye(2), gates=[("QubitUnitary", (0,), np.eye(4))]),
        "numbers of QubitUnitary must have shape",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
