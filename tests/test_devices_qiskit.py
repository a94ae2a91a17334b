"""PennyLane tapes as Qiskit circuits: every gate, wire order, parameters in order, structures translated once."""

from __future__ import annotations

import sys

import numpy as np
import pennylane as qml
import pytest
from qiskit_samples import circuit, gate

from varq.devices import qiskit_circuits, qiskit_packages
from varq.devices.faults import PermanentError
from varq.devices.qiskit_circuits import GATES, Translator, blocks, decomposed, in_order, signature, translated

EXACT = 1e-10  # products of small matrices
pytestmark = pytest.mark.flagless


def unitary_of(made):
    from qiskit.quantum_info import Operator

    return Operator(made.remove_final_measurements(inplace=False).reverse_bits()).data


@pytest.mark.ibm
@pytest.mark.parametrize("name", GATES)
def test_each_gate_is_the_same_matrix(name):
    op = gate(name, [2, 0, 1], np.random.default_rng(3))
    tape = qml.tape.QuantumScript([op], [qml.sample(wires=range(3))])
    made = translated(tape, 3).assign_parameters([float(x) for x in op.data])
    assert op.name == name
    np.testing.assert_allclose(unitary_of(made), qml.matrix(op, wire_order=range(3)), atol=EXACT)


@pytest.mark.ibm
@pytest.mark.parametrize("trainable", [[0, 1, 2, 3], [1, 3], [], [2]])
def test_trainable_numbers_are_parameters_in_their_order(trainable):
    ops = [qml.RX(0.1, 0), qml.U3(0.2, 0.3, 0.4, 1), qml.CNOT([1, 0])]
    made = translated(circuit(ops, 2, trainable=trainable).tape, 2)
    assert [p.index for p in made.parameters] == list(range(len(trainable)))
    numbers = [(0.1, 0.2, 0.3, 0.4)[i] for i in trainable]
    want = qml.matrix(qml.tape.QuantumScript(ops), wire_order=range(2))
    np.testing.assert_allclose(unitary_of(made.assign_parameters(numbers)), want, atol=EXACT)


@pytest.mark.ibm
def test_more_than_ten_parameters_keep_their_order():
    ops = [qml.RY(0.1 * (k + 1), 0) if k % 2 else qml.RX(0.1 * (k + 1), 0) for k in range(23)]
    translation, numbers = Translator(lambda made: made).find(circuit(ops, 1))
    made = translation.circuit.assign_parameters(translation.values([numbers])[0])
    np.testing.assert_allclose(unitary_of(made), qml.matrix(qml.tape.QuantumScript(ops)), atol=EXACT)


@pytest.mark.ibm
def test_what_a_compiler_drops_or_turns_round_is_bound_rightly():
    from qiskit.transpiler import generate_preset_pass_manager

    manager = generate_preset_pass_manager(3, basis_gates=["rz", "sx", "cx"], seed_transpiler=1)
    ops = [qml.RZ(0.9, 0), qml.RX(0.5, 0), qml.RZ(0.3, 1), qml.RX(0.7, 1), qml.CNOT([0, 1]), qml.RZ(0.2, 1)]
    translation, numbers = Translator(manager.run).find(circuit(ops, 2))
    assert 0 < len(translation.columns) < len(numbers)
    from qiskit.primitives import StatevectorSampler

    sampler = StatevectorSampler(seed=1)
    (part,) = sampler.run([(translation.circuit, translation.values([numbers]), 20000)]).result()
    (bits,) = in_order({(0,): part.data.bits}, {0: 20000})
    device = qml.device("default.qubit")
    tape = qml.tape.QuantumScript(ops, [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))])
    want = np.array(device.execute(tape), dtype=float)
    error = np.sqrt((1 - want**2) / 20000)
    assert np.all(abs(1 - 2 * bits.mean(0) - want) < 5 * error)


@pytest.mark.ibm
def test_wires_are_measured_in_the_order_that_is_asked():
    tape = qml.tape.QuantumScript([qml.X(0), qml.X(3)], [qml.sample(wires=[3, 1, 0])])
    from qiskit.primitives import StatevectorSampler

    (part,) = StatevectorSampler(seed=1).run([(translated(tape, 4), [], 7)]).result()
    (bits,) = in_order({(0,): part.data.bits}, {0: 7})
    assert bits.dtype == np.uint8
    np.testing.assert_array_equal(bits, np.tile([1, 0, 1], (7, 1)))


@pytest.mark.ibm
@pytest.mark.parametrize(
    "op",
    [
        qml.SingleExcitation(0.4, [0, 1]),
        qml.DoubleExcitation(0.3, [0, 1, 2, 3]),
        qml.Rot(0.1, 0.2, 0.3, wires=2),
        qml.PauliRot(0.7, "XYZ", wires=[2, 0, 3]),
        qml.MultiControlledX(wires=[0, 1, 2, 3], control_values=[1, 0, 1]),
        qml.adjoint(qml.RX(0.3, 1)),
        qml.ISWAP([1, 3]),
        qml.QubitUnitary(np.array([[1, 1j], [1j, 1]]) / np.sqrt(2), wires=0),
        qml.GlobalPhase(0.3),
        qml.Identity(0),
    ],
    ids=lambda op: op.name,
)
def test_other_gates_are_decomposed_by_pennylane(op):
    ops = [qml.Hadamard(0), qml.RY(0.4, 1), qml.X(2), op, qml.CNOT([0, 3])]
    tape = decomposed(qml.tape.QuantumScript(ops, [qml.sample(wires=range(4))]))
    assert {o.name for o in tape.operations} <= {*GATES, *qiskit_circuits.NOTHING}
    made = translated(tape.copy(trainable_params=[]), 4)
    product = unitary_of(made) @ np.linalg.inv(qml.matrix(qml.tape.QuantumScript(ops), wire_order=range(4)))
    np.testing.assert_allclose(product / product[0, 0], np.eye(16), atol=1e-7)  # decompositions of matrices round
    assert abs(abs(product[0, 0]) - 1) < 1e-7


@pytest.mark.ibm
@pytest.mark.parametrize(
    "prepare", [qml.BasisState([1, 0, 1], wires=range(3)), qml.StatePrep(np.eye(8)[5], wires=range(3))]
)
def test_a_prepared_state_is_gates(prepare):
    tape = decomposed(qml.tape.QuantumScript([prepare, qml.CNOT([0, 1])], [qml.sample(wires=range(3))]))
    made = translated(tape.copy(trainable_params=[]), 3)
    assert abs(unitary_of(made)[0b111, 0]) == pytest.approx(1, abs=1e-7)


@pytest.mark.ibm
def test_one_translation_for_a_structure_and_one_block_for_its_shots():
    made = []
    translator = Translator(lambda found: made.append(found) or found)
    first = [circuit([qml.RX(a, 0), qml.CNOT([0, 1])], 2, shots) for a, shots in [(0.1, 10), (0.2, 20), (0.3, 10)]]
    other = circuit([qml.RY(0.1, 0), qml.CNOT([0, 1])], 2, 10)
    split = [circuit([qml.SingleExcitation(a, [0, 1])], 2, 10) for a in (0.1, 0.2)]
    found = blocks([first[0], other, first[1], split[0], first[2], split[1]], translator)
    assert [(block.places, block.shots) for block in found] == [((0, 4), 10), ((1,), 10), ((2,), 20), ((3, 5), 10)]
    np.testing.assert_array_equal(found[0].values, [[0.1], [0.3]])
    assert len(made) == len(translator) == 3
    blocks(first, translator)
    assert len(made) == 3


@pytest.mark.ibm
def test_translations_are_kept_in_a_bounded_number():
    translator = Translator(lambda found: found, kept=2)
    for wire in range(4):
        translator.find(circuit([qml.X(wire)], 4))
    assert len(translator) == 2


def test_literal_numbers_are_part_of_a_signature_and_trainable_ones_are_not():
    tapes = {
        (x, kept): circuit([qml.RX(x, 0)], 1, trainable=[] if kept else [0]).tape for x in (1.0, 2.0) for kept in (0, 1)
    }
    assert signature(tapes[1.0, 0]) == signature(tapes[2.0, 0])
    assert len({signature(t) for t in tapes.values()}) == 3
    swapped = qml.tape.QuantumScript([qml.CNOT([0, 1])], [qml.sample(wires=[1, 0])])
    assert signature(swapped) != signature(swapped.copy(measurements=[qml.sample(wires=[0, 1])]))


@pytest.mark.parametrize(
    ("ops", "measured", "match"),
    [
        ([qml.ops.MidMeasure(0)], [qml.sample(wires=[0])], "measured at their end only"),
        ([qml.RX([0.1, 0.2], 0)], [qml.sample(wires=[0])], "Got a batch of 2"),
    ],
)
def test_what_cannot_be_translated_is_refused(ops, measured, match):
    with pytest.raises(PermanentError, match=match):
        decomposed(qml.tape.QuantumScript(ops, measured))


@pytest.mark.parametrize("measured", [[], [qml.expval(qml.Z(0))], [qml.sample(qml.Z(0))], [qml.sample()]])
def test_a_circuit_ends_in_one_sample_of_its_wires(measured):
    with pytest.raises(PermanentError, match=r"ends in one qml\.sample"):
        signature(qml.tape.QuantumScript([qml.X(0)], measured))


def test_values_that_do_not_fit_are_refused():
    good = circuit([qml.RX(0.1, 0)], 1)
    bad = type(good)(good.tape, 1, 10, 0, good.structure, np.array([0.1, 0.2]))
    with pytest.raises(PermanentError, match="Got 2 values for 1 parameters"):
        Translator(lambda found: found).find(bad)


class Few:
    """Three shots of one circuit with two bits."""

    num_bits = 2

    def to_bool_array(self, order):
        assert order == "little"
        return np.array([[[True, False]] * 3])


def test_results_that_do_not_fit_are_refused():
    np.testing.assert_array_equal(in_order({(0,): Few()}, {0: 3})[0], [[1, 0]] * 3)
    with pytest.raises(PermanentError, match=r"sent with 4 shots\. Got 3 back"):
        in_order({(0,): Few()}, {0: 4})
    with pytest.raises(PermanentError, match="twice or out of range"):
        in_order({(1,): Few()}, {1: 3})


@pytest.mark.parametrize(
    ("module", "load", "extra"),
    [
        ("qiskit", qiskit_packages.qiskit, "aer"),
        ("qiskit_aer", qiskit_packages.aer, "aer"),
        ("qiskit_ibm_runtime", qiskit_packages.client, "ibm"),
    ],
)
def test_a_missing_package_says_which_extra(module, load, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'varq\[{extra}\]'"):
        load()
