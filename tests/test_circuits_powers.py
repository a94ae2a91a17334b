"""Controlled powers gate by gate: against powers of dense matrices, and how many gates and layers they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from test_problems_gates import oracle

import varq
from varq.algorithms import QPE, VQE, PhaseEstimation, qpe
from varq.circuits.powers import MOST_SIMULATED, Block, apply_power, by_gates, power_block
from varq.devices.qiskit_circuits import decomposed
from varq.keys import Key
from varq.node.bits import Size
from varq.node.nodes import Nodes
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.protocol import Experiment

pytestmark = pytest.mark.flagless  # varq computes in float64 blocks of its own

EXACT = 1e-10  # products of a few thousand small matrices in float64
QUIET: dict[str, Any] = {"store": None, "progress": False}
ISING = TransverseFieldIsing(3)
GROUND = np.linalg.eigh(ISING.pauli.sparse().toarray())[1][:, 0]  # of which a product formula has several phases
CHAIN = EigenPhase.from_hamiltonian(ISING, 0.3, state=GROUND, trotter=2)
PROBLEMS = {
    "TFIM": CHAIN,
    "TFIM, fourth order": EigenPhase.from_hamiltonian(TransverseFieldIsing(3), 0.3, trotter=1, order=4),
    "H2": EigenPhase.from_hamiltonian(Molecule.load("H2"), 0.5, trotter=2, order=1),
    "T": EigenPhase(qml.T(0), [0.6, 0.8]),
    "PauliRot": EigenPhase(qml.PauliRot(0.7, "XYIZ", [3, 1, 0, 2])),
    "Ising gates": EigenPhase(qml.prod(qml.IsingYY(0.3, [0, 1]), qml.MultiRZ(0.4, [2, 0, 1]))),
    "identity word": EigenPhase(qml.PauliRot(0.7, "II", [0, 1])),
    "tensor product": EigenPhase(qml.prod(qml.S(0), qml.RX(0.2, 1), qml.SX(2))),
    "oracle": EigenPhase.from_circuit(oracle, 3),
}


def eigenstate(problem: EigenPhase) -> Any:
    """The eigenvector of a unitary that is nearest to a problem's state."""
    vectors = problem.eigensystem[1]
    return vectors[:, np.argmax(np.abs(vectors.conj().T @ problem.state))]


def queued(problem: EigenPhase, power: int) -> list[Any]:
    wires = range(1, problem.wires + 1)
    return list(qml.tape.make_qscript(apply_power)(problem, power, 0, wires).operations)


def controlled_matrix(problem: EigenPhase, power: int) -> Any:
    size = len(problem.unitary)
    out = np.eye(2 * size, dtype=complex)
    out[size:, size:] = np.linalg.matrix_power(problem.unitary, power)
    return out


@pytest.mark.parametrize("name", PROBLEMS)
def test_gates_give_the_controlled_power(name: str) -> None:
    problem = PROBLEMS[name]
    for power in (0, 1, 2, 5):
        found = np.eye(2 * len(problem.unitary))
        for op in queued(problem, power):
            found = qml.matrix(op, wire_order=range(problem.wires + 1)) @ found
        assert np.abs(found - controlled_matrix(problem, power)).max() < EXACT


@pytest.mark.parametrize("name", PROBLEMS)
def test_machines_have_gates_for_it(name: str) -> None:
    """What is sent to IBM: the same power, without a matrix in it."""
    problem = PROBLEMS[name]
    wires = range(problem.wires + 1)
    tape = decomposed(qml.tape.QuantumScript(queued(problem, 2), [qml.sample(wires=wires)]))
    assert not [op.name for op in tape.operations if "Unitary" in op.name or len(op.wires) > 3]
    found = qml.matrix(qml.tape.QuantumScript(tape.operations), wire_order=wires)
    assert np.abs(found - controlled_matrix(problem, 2)).max() < EXACT


@pytest.mark.parametrize("name", PROBLEMS)
def test_blocks_count_what_is_queued(name: str) -> None:
    problem = PROBLEMS[name]
    for power in (0, 1, 2, 7):
        operations = queued(problem, power)
        block = power_block(problem, power)
        size = Size.recorded(
            lambda x, operations=operations: [qml.apply(op) for op in operations], None, problem.wires + 1
        )
        assert block.gates == size.gates == len(operations)
        assert block.after(np.zeros(problem.wires + 1)).max() == size.depth
        np.testing.assert_array_equal(block.delays, Block.of(operations, range(problem.wires + 1)).delays)


@pytest.mark.parametrize("name", ["TFIM", "H2"])
def test_gates_grow_in_proportion_to_the_power(name: str) -> None:
    problem = PROBLEMS[name]
    one, two, many = (power_block(problem, power) for power in (1, 2, 1 << 20))
    each = two.gates - one.gates
    assert many.gates == one.gates + ((1 << 20) - 1) * each
    # Of each rotation one gate is controlled, the others are what it takes without a control.
    plain = 0
    for gate in problem.gates:
        if gate.name == "PauliRot":
            plain += 1 + 2 * (len(gate.wires) - 1) + 2 * sum(letter in "XY" for letter in gate.more)
    assert each == 2 * plain
    controlled = [op for op in queued(problem, 1) if op.name not in ("Hadamard", "RX", "CNOT")]
    assert {op.name for op in controlled} <= {"CRZ", "PhaseShift"}


def test_a_known_power_takes_no_repeats() -> None:
    assert [op.name for op in queued(PROBLEMS["T"], 5)] == ["ControlledPhaseShift"]
    assert power_block(PROBLEMS["tensor product"], 1001).gates <= 3
    assert power_block(PROBLEMS["identity word"], 3).gates == 1


def test_varq_qubit_takes_the_matrix_of_long_powers() -> None:
    assert by_gates(CHAIN, 1, simulated=False)
    assert not by_gates(CHAIN, MOST_SIMULATED, simulated=True)
    assert by_gates(PROBLEMS["T"], 1 << 20, simulated=True)
    assert not by_gates(EigenPhase(np.eye(2)), 1, simulated=False)
    assert not by_gates(CHAIN, -1, simulated=False)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "varq.qubit"])
@pytest.mark.parametrize("name", ["TFIM", "H2", "T", "PauliRot", "oracle"])
def test_experiments_have_the_law(name: str, device: str) -> None:
    """Exact probabilities of the circuit that is sent, whatever the device."""
    problem = PROBLEMS[name]
    circuits = Nodes(device, shots=1).experiments(problem)
    powers, angles = np.array([1, 3]), np.array([0.4, -1.1])
    sent = circuits.prepare(Experiment(powers, angles), Key.from_seed(0)).circuits
    for circuit, power, angle in zip(sent, powers, angles, strict=True):
        tape = qml.tape.QuantumScript(circuit.tape.operations, [qml.probs(wires=0)])
        found = qml.execute([tape], qml.device("default.qubit"))[0]
        zero = (1 + problem.weights @ np.cos(power * problem.phases - angle)) / 2
        assert abs(found[0] - zero) < EXACT
        dense = [op for op in circuit.tape.operations if len(op.wires) == problem.wires + 1 and "Unitary" in op.name]
        assert not dense or device == "varq.qubit"


@pytest.mark.parametrize(
    ("problem", "device"),
    [
        (EigenPhase.from_hamiltonian(ISING, 0.3, trotter=2), "default.qubit"),
        (EigenPhase.from_hamiltonian(ISING, 0.3, trotter=2), "lightning.qubit"),
        (EigenPhase.from_circuit(oracle, 3, state=eigenstate(PROBLEMS["oracle"])), "lightning.qubit"),
        (EigenPhase(qml.T(0), 1), "lightning.qubit"),
    ],
    ids=["TFIM", "TFIM, lightning", "oracle, lightning", "T, lightning"],
)
def test_phases_are_found_by_gates(problem: EigenPhase, device: str) -> None:
    task = PhaseEstimation(problem=problem, applications=24, device=device, seed=3)
    result = varq.run(task, **QUIET)
    assert abs(result.deviation) < 4 * result.stderr  # far beyond a normal variable's, at a fixed seed
    assert result.stderr < 0.4


@pytest.mark.parametrize(("device", "control"), [("default.qubit", "qft"), (None, "qft"), (None, "semiclassical")])
def test_qpe_of_a_product_formula(device: Any, control: str) -> None:
    """The law in closed form; as many gates and layers as the circuit of gates has, also where matrices stand in."""
    result = qpe(CHAIN, bits=3, control=control, device=device, **QUIET)
    found = np.zeros(8)
    found[result.details["outcomes"]] = result.details["frequencies"]
    np.testing.assert_allclose(found, result.details["law"], atol=EXACT)
    task = QPE(problem=CHAIN, bits=3, control=control)

    def gate_by_gate(wire: int, j: int) -> None:
        apply_power(CHAIN, 1 << j, wire, task._target)

    size = Size.recorded(task._circuit(gate_by_gate), np.zeros(0), result.details["qubits"])
    assert (result.details["gates"], result.details["depth"]) == (size.gates, size.depth)


def test_a_variational_state_is_prepared_by_its_ansatz() -> None:
    h2 = Molecule.load("H2")
    task = VQE(problem=h2)
    parameters = np.array([-0.22, 0.0, 0.0])  # near the ground state
    problem = EigenPhase.from_hamiltonian(h2, 0.5, state=task.circuit(parameters), trotter=1)
    assert abs(abs(np.vdot(problem.state, task.state(parameters))) - 1) < EXACT
    (sent,) = (
        Nodes("default.qubit", shots=1)
        .experiments(problem)
        .prepare(Experiment(np.array([1]), np.array([0.2])), Key.from_seed(0))
        .circuits
    )
    assert not {"StatePrep", "QubitUnitary"} & {op.name for op in sent.tape.operations}
    result = qpe(problem, bits=3, device="default.qubit", **QUIET)
    found = np.zeros(8)
    found[result.details["outcomes"]] = result.details["frequencies"]
    np.testing.assert_allclose(found, result.details["law"], atol=EXACT)


def test_a_stored_run_is_found_again(tmp_path: Any) -> None:
    task = QPE(problem=EigenPhase.from_circuit(oracle, 3, state=oracle), bits=2, shots=20, device="default.qubit")
    first = varq.run(task, store=tmp_path, progress=False)
    again = varq.run(task, store=tmp_path, progress=False)
    assert (again.run_id, again.value) == (first.run_id, first.value)
    resumed = varq.resume(first.run_id, store=tmp_path, progress=False)
    np.testing.assert_array_equal(resumed.details["frequencies"], first.details["frequencies"])
    assert resumed.details["gates"] == first.details["gates"]
