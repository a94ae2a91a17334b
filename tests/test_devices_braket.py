"""Braket on this machine: circuits in its language, its simulators with seeds, noise, the emulator."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from scipy import stats

import varq
from varq.algorithms import QPE, VQE
from varq.devices import braket_sdk
from varq.devices.braket import aws_arn, open_braket
from varq.devices.braket_circuits import (
    GATES,
    SMALL,
    Programs,
    bits_from_counts,
    bits_in_wire_order,
    job_tasks,
    numbered,
    ranges,
)
from varq.devices.faults import GoneError, PermanentError
from varq.devices.service import Circuit, JobStatus, Limits, Mode
from varq.optimizers import SPSA
from varq.problems import EigenPhase, Molecule
from varq.session.session import Session

pytestmark = pytest.mark.flagless
needs_braket = pytest.mark.braket

EXACT = 1e-9  # products of a few dozen matrices
SIGMAS = 5.0  # of a frequency at a fixed seed
CHANCE = 2 * stats.norm.sf(SIGMAS)  # the p-value that five standard errors leave
NATIVE = frozenset({"rx", "rz", "cz"})


def circuit(
    operations: list[Any], wires: int, shots: int = 100, seed: int = 0, structure: str = "s", free: Any = None
) -> Circuit:
    tape = qml.tape.QuantumScript(operations, [qml.sample(wires=range(wires))], shots=shots)
    tape.trainable_params = list(range(len(tape.get_parameters(trainable_only=False)))) if free is None else free
    flat = [np.ravel(np.asarray(value, dtype=float)) for value in tape.get_parameters()] or [np.zeros(0)]
    return Circuit(tape, wires, shots, seed, structure, np.concatenate(flat))


def layers(angles: Any) -> list[Any]:
    """Four wires, gates that Braket has and gates that it has not."""
    a, b, c, d = angles
    return [
        qml.RY(a, 0),
        qml.Hadamard(1),
        qml.CRX(b, wires=[0, 1]),
        qml.SingleExcitation(c, wires=[1, 2]),
        qml.PauliX(3),
        qml.PauliRot(d, "XYZ", wires=[3, 2, 0]),
        qml.CNOT([3, 1]),
    ]


def unitary(program: Any, inputs: tuple[float, ...]) -> Any:
    """The matrix of a program's Braket circuit, as Braket computes it."""
    sdk = braket_sdk.load()
    gates = sdk.Circuit([one for one in program.circuit.instructions if hasattr(one.operator, "to_matrix")])
    columns = program.columns([inputs]) or {}
    return gates.make_bound_circuit({name: column[0] for name, column in columns.items()}).to_unitary()


def same_up_to_phase(got: Any, want: Any) -> bool:
    overlap = np.vdot(want, got) / len(want)
    return bool(abs(abs(overlap) - 1) < EXACT and np.abs(got - overlap * want).max() < 1e-7)


def agrees(bits: Any, probabilities: Any) -> bool:
    """Whether samples may come from these probabilities: a chi-square test over the outcomes that are expected."""
    wires = bits.shape[1]
    seen = np.bincount(bits @ (1 << np.arange(wires)[::-1]), minlength=1 << wires)
    expected = np.asarray(probabilities) * len(bits)
    if seen[expected < 1e-6].any():
        return False
    common = expected > 5
    rare = ~common & (expected >= 1e-6)
    if rare.any() and expected[rare].sum() > 5:
        seen, expected = np.append(seen[common], seen[rare].sum()), np.append(expected[common], expected[rare].sum())
    else:
        seen, expected = seen[common], expected[common]
    statistic = ((seen - expected) ** 2 / expected).sum()
    return bool(stats.chi2.sf(statistic, max(1, len(seen) - 1)) > CHANCE)


def truth(operations: list[Any], wires: int) -> Any:
    return qml.execute(
        [qml.tape.QuantumScript(operations, [qml.probs(wires=range(wires))])], qml.device("default.qubit")
    )[0]


SINGLES = [
    qml.Identity(1),
    qml.PauliX(1),
    qml.PauliY(1),
    qml.PauliZ(1),
    qml.Hadamard(1),
    qml.S(1),
    qml.T(1),
    qml.SX(1),
    qml.adjoint(qml.S(1)),
    qml.adjoint(qml.T(1)),
    qml.adjoint(qml.SX(1)),
    qml.RX(0.3, 1),
    qml.RY(-0.4, 1),
    qml.RZ(0.5, 1),
    qml.PhaseShift(0.6, 1),
    qml.CNOT([2, 0]),
    qml.CY([2, 0]),
    qml.CZ([2, 0]),
    qml.SWAP([2, 0]),
    qml.ISWAP([2, 0]),
    qml.ControlledPhaseShift(0.7, wires=[2, 0]),
    qml.IsingXX(0.8, wires=[2, 0]),
    qml.IsingXY(0.9, wires=[2, 0]),
    qml.IsingYY(1.1, wires=[2, 0]),
    qml.IsingZZ(1.2, wires=[2, 0]),
    qml.Toffoli([2, 0, 1]),
    qml.CSWAP([2, 0, 1]),
    qml.Rot(0.1, 0.2, 0.3, wires=1),
    qml.CRot(0.1, 0.2, 0.3, wires=[2, 1]),
    qml.DoubleExcitation(0.4, wires=[3, 1, 0, 2]),
    qml.MultiRZ(0.3, wires=[0, 2, 1]),
    qml.PauliRot(0.3, "YXZ", wires=[0, 2, 1]),
    qml.ctrl(qml.GlobalPhase(0.4), control=1),
    qml.ctrl(qml.RX(0.4, wires=0), control=[1, 2], control_values=[0, 1]),
    qml.QubitUnitary(qml.matrix(qml.Rot(0.3, 0.4, 0.5, wires=0)), wires=2),
    qml.QFT([0, 1, 2]),
]


@needs_braket
@pytest.mark.parametrize("allowed", [frozenset(GATES.values()), SMALL, NATIVE], ids=["all", "small", "native"])
@pytest.mark.parametrize("operation", SINGLES, ids=lambda op: op.name)
def test_each_gate_is_the_same_matrix(operation: Any, allowed: frozenset[str]) -> None:
    programs = Programs(braket_sdk.load(), allowed)
    got = unitary(*programs.translated(circuit([operation], 4, free=[])))
    assert same_up_to_phase(got, qml.matrix(operation, wire_order=range(4)))


@needs_braket
def test_every_name_of_the_table_is_tested() -> None:
    assert set(GATES) <= {operation.name for operation in SINGLES}


@needs_braket
@pytest.mark.parametrize("allowed", [frozenset(GATES.values()), NATIVE], ids=["all", "native"])
@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_are_the_same_matrix(seed: int, allowed: frozenset[str]) -> None:
    rng = np.random.default_rng(seed)
    operations = [SINGLES[index] for index in rng.integers(len(SINGLES), size=12)]
    program, inputs = Programs(braket_sdk.load(), allowed).translated(circuit(operations, 4, free=[]))
    assert inputs == ()
    want = qml.matrix(qml.tape.QuantumScript(operations), wire_order=range(4))
    assert same_up_to_phase(unitary(program, inputs), want)


@needs_braket
def test_circuits_of_one_structure_share_a_program() -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()))
    angles = np.random.default_rng(1).normal(size=(5, 4))
    first, _ = programs.translated(circuit(layers(angles[0]), 4))
    for row in angles:
        program, inputs = programs.translated(circuit(layers(row), 4))
        assert program is first
        want = qml.matrix(qml.tape.QuantumScript(layers(row)), wire_order=range(4))
        assert same_up_to_phase(unitary(program, inputs), want)
    assert len(programs) == 1


@needs_braket
def test_numbers_that_stay_are_written_into_the_program() -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()))
    program, inputs = programs.translated(circuit([qml.RX(0.25, 0), qml.RY(0.5, 0)], 1, free=[1]))
    assert inputs == (0.5,)
    assert "rx(0.25) q[0];" in program.source
    assert "ry(p0) q[0];" in program.source
    other, _ = programs.translated(circuit([qml.RX(0.75, 0), qml.RY(0.5, 0)], 1, free=[1]))
    assert "rx(0.75) q[0];" in other.source


@needs_braket
def test_the_inputs_are_declared_in_a_steady_order() -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()))
    program, _ = programs.translated(circuit([qml.RX(0.1 * i, 0) for i in range(20)], 1))
    declared = [line for line in program.source.split("\n") if line.startswith("input float")]
    assert declared == sorted(declared)
    assert len(declared) == 20


@needs_braket
def test_programs_are_kept_within_bounds() -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()), most=3)
    for length in range(1, 8):
        programs.translated(circuit([qml.RX(0.1, 0)] * length, 1))
    assert len(programs) == 3


@needs_braket
@pytest.mark.parametrize(
    ("operations", "match"),
    [
        ([qml.RX(np.array([0.1, 0.2]), 0)], "must not be broadcast"),
        ([qml.RX(0.1, 5)], r"wires must be 0 to 1. Got a gate on \[5\]"),
        ([qml.measurements.MidMeasureMP(qml.wires.Wires(0))], "cannot be run on this Braket device"),
        ([qml.QubitChannel([np.eye(2)], wires=0)], "QubitChannel cannot be run"),
    ],
)
def test_what_cannot_be_translated_is_refused(operations: list[Any], match: str) -> None:
    service = open_braket("braket.local", 2)
    with pytest.raises(PermanentError, match=match):
        service.compile([circuit(operations, 2, free=[])])


@needs_braket
def test_a_job_is_one_task_with_a_program_for_each_structure() -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()))
    some = [circuit([qml.RX(0.1 * i, 0)] + [qml.CNOT([0, 1])] * (i % 2), 2) for i in range(6)]
    (task,) = job_tasks(some, programs, Limits())
    assert task.order == (0, 2, 4, 1, 3, 5)
    assert [len(inputs) for _, inputs in task.programs] == [3, 3]


@needs_braket
@pytest.mark.parametrize(
    ("limits", "sizes"),
    [(Limits(circuits=4), [4, 3]), (Limits(job_shots=350), [3, 3, 1]), (Limits(circuits=1), [1] * 7)],
)
def test_jobs_are_split_at_the_limits(limits: Limits, sizes: list[int]) -> None:
    programs = Programs(braket_sdk.load(), frozenset(GATES.values()))
    tasks = job_tasks([circuit([qml.RX(0.1 * i, 0)], 1) for i in range(7)], programs, limits)
    assert [len(task.order) for task in tasks] == sizes
    assert sorted(i for task in tasks for i in task.order) == list(range(7))


@pytest.mark.parametrize("order", [[], [3], [0, 1, 2], [5, 4, 3], [0, 2, 3, 4, 1]])
def test_orders_survive_as_text(order: list[int]) -> None:
    assert numbered(ranges(order)) == order


def test_bits_are_put_in_the_order_of_the_wires() -> None:
    rows = [[1, 0, 0], [1, 1, 0]]
    assert bits_in_wire_order(rows, [2, 0, 1], 3, 2).tolist() == [[0, 0, 1], [1, 0, 1]]
    assert bits_in_wire_order(rows, None, 3, 2).dtype == np.uint8


@pytest.mark.parametrize(
    ("rows", "measured"), [([[0, 1]], [0, 1]), ([[0, 1]] * 2, [0, 2]), ([[0, 2]] * 2, [0, 1]), ([[0]] * 2, [0, 1])]
)
def test_missing_bits_are_refused(rows: Any, measured: Any) -> None:
    with pytest.raises(PermanentError, match="must return 2 rows of bits of the wires 0 to 1"):
        bits_in_wire_order(rows, measured, 2, 2)


def test_frequencies_become_rows() -> None:
    assert bits_from_counts({"10": 0.75, "01": 0.25}, 4).tolist() == [[0, 1], [1, 0], [1, 0], [1, 0]]
    for mitigated in ({"1": 0.9, "0": 0.1}, {"1": 0.5}):
        with pytest.raises(PermanentError, match=r"must return counts of 4 shots.*error mitigation"):
            bits_from_counts(mitigated, 4)


@needs_braket
@pytest.mark.parametrize("seed", range(4))
def test_samples_follow_the_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    service = open_braket("braket.local", 4)
    some = [circuit(layers(rng.normal(size=4)), 4, shots=3000, seed=seed + 10 * i) for i in range(3)]
    bits = service.result(service.submit(some, f"tag {seed}")).bits
    for one, got in zip(some, bits, strict=True):
        assert got.shape == (3000, 4)
        assert agrees(got, truth(one.tape.operations, 4))
        assert not agrees(got[:, ::-1], truth(one.tape.operations, 4))


@needs_braket
@pytest.mark.parametrize("name", ["braket.local", "braket.local_dm", "braket.emulator"])
@pytest.mark.parametrize("wire", range(3))
def test_wire_0_comes_first(name: str, wire: int) -> None:
    options: dict[str, Any] = {
        "braket.local_dm": {"noise": {"one_qubit": 1e-9}},
        "braket.emulator": {"fidelities": {"one_qubit": 1.0, "two_qubit": 1.0, "readout": 1.0}},
    }
    service = open_braket(name, 3, **options.get(name, {}))
    (bits,) = service.result(service.submit([circuit([qml.PauliX(wire)], 3, shots=5)], "t")).bits
    assert bits.tolist() == [[int(w == wire) for w in range(3)]] * 5
    assert bits.dtype == np.uint8


@needs_braket
def test_company_and_order_change_nothing() -> None:
    angles = np.random.default_rng(3).normal(size=(6, 4))
    some = [circuit(layers(row), 4, shots=50 + i % 2, seed=i) for i, row in enumerate(angles)]
    some.append(circuit([qml.Hadamard(0)], 4, shots=50, seed=77))
    together = open_braket("braket.local", 4)
    bits = together.result(together.submit(some, "all")).bits
    for order in ([6], [3, 0], [5, 6, 1, 0]):
        again = open_braket("braket.local", 4)
        got = again.result(again.submit([some[i] for i in order], "part")).bits
        for index, rows in zip(order, got, strict=True):
            assert np.array_equal(rows, bits[index])
    assert not np.array_equal(bits[6][:, 0], open_other(78))


def open_other(seed: int) -> Any:
    service = open_braket("braket.local", 4)
    return service.result(service.submit([circuit([qml.Hadamard(0)], 4, shots=50, seed=seed)], "t")).bits[0][:, 0]


@needs_braket
def test_numpy_s_own_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  # the global generator is what is looked at
    open_other(5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@needs_braket
def test_a_local_job_is_done_when_it_is_sent() -> None:
    service = open_braket("braket.local", 2)
    job = service.submit([circuit([qml.Hadamard(0)], 2)], "tag")
    assert service.open() is None
    assert service.status(job) is JobStatus.DONE
    assert service.find("tag") == job
    assert service.submit([circuit([qml.Hadamard(0)], 2)], "tag") == job
    with pytest.raises(PermanentError, match=r"the tag 'tag' has run other circuits"):
        service.submit([circuit([qml.Hadamard(0)], 2, seed=9)], "tag")
    assert service.find("another") is None
    assert service.cancel(job) is False
    service.close()
    result = service.result(job)
    assert result.cost == 0.0
    assert result.seconds is not None
    assert result.seconds > 0
    assert (service.paid, service.seeded, service.grouped, service.mode) == (False, True, True, Mode.JOB)
    with pytest.raises(GoneError, match=r"braket\.local: the job nowhere ran in another process"):
        service.status("nowhere")


def frequency(bits: Any, outcome: list[int]) -> float:
    return float((bits == outcome).all(axis=1).mean())


def within(got: float, want: float, shots: int) -> bool:
    return abs(got - want) < SIGMAS * (want * (1 - want) / shots) ** 0.5


@needs_braket
def test_the_noise_of_gates_of_one_wire_and_of_reading() -> None:
    """A depolarizing error of probability p flips a bit with 2p/3; reading flips it with e."""
    shots, p, e = 20_000, 0.3, 0.1
    service = open_braket("braket.local_dm", 1, noise={"one_qubit": p, "readout": e})
    (bits,) = service.result(service.submit([circuit([qml.PauliX(0)], 1, shots=shots, seed=4)], "t")).bits
    assert within(frequency(bits, [1]), (1 - 2 * p / 3) * (1 - e) + 2 * p / 3 * e, shots)


@needs_braket
def test_the_noise_of_gates_of_two_wires() -> None:
    """Of the 15 errors of probability p/15 each, 12 change a basis state."""
    shots, p = 20_000, 0.4
    service = open_braket("braket.local_dm", 2, noise={"two_qubit": p})
    operations = [qml.PauliX(0), qml.CNOT([0, 1])]
    (bits,) = service.result(service.submit([circuit(operations, 2, shots=shots, seed=4)], "t")).bits
    assert within(frequency(bits, [1, 1]), 1 - 12 * p / 15, shots)


@needs_braket
def test_gates_of_three_wires_are_taken_apart_where_there_is_noise() -> None:
    service = open_braket("braket.local_dm", 3, noise={"two_qubit": 0.5})
    (bits,) = service.result(service.submit([circuit([qml.Toffoli([0, 1, 2])], 3, shots=500, seed=1)], "t")).bits
    assert frequency(bits, [0, 0, 0]) < 0.9


@needs_braket
def test_a_noise_model_of_braket_is_taken_as_it_is() -> None:
    from braket.circuits import noises
    from braket.circuits.noise_model import MeasureCriteria, NoiseModel

    model = NoiseModel().add_noise(noises.BitFlip(0.25), MeasureCriteria())
    service = open_braket("braket.local_dm", 1, noise=model)
    (bits,) = service.result(service.submit([circuit([qml.PauliX(0)], 1, shots=20_000, seed=4)], "t")).bits
    assert within(frequency(bits, [1]), 0.75, 20_000)


@needs_braket
def test_the_emulator_has_the_fidelities_that_it_is_given() -> None:
    """Depolarizing of average fidelity F leaves a basis state as it is with probability F, whatever the wires."""
    shots = 20_000
    some = [
        circuit([qml.RX(np.pi, 0)], 2, shots=shots, seed=4),
        circuit([qml.RX(np.pi, 0), qml.RX(np.pi, 1), qml.CZ([0, 1])], 2, shots=shots, seed=5),
    ]
    perfect = {"one_qubit": 1.0, "two_qubit": 1.0, "readout": 1.0}
    for changed, index, outcome, want in [
        ({"readout": 0.9}, 0, [1], 0.9),
        ({"one_qubit": 0.8}, 0, [1], 0.8),
        ({"two_qubit": 0.7}, 1, [1, 1], 0.7),
    ]:
        service = open_braket("braket.emulator", 2, fidelities=perfect | changed)
        (bits,) = service.result(service.submit([some[index]], "t")).bits
        assert within(frequency(bits[:, : len(outcome)], outcome), want, shots)


@needs_braket
def test_the_emulator_runs_any_circuit_in_its_native_gates() -> None:
    service = open_braket("braket.emulator", 4, fidelities={"one_qubit": 1.0, "two_qubit": 1.0, "readout": 1.0})
    angles = np.random.default_rng(8).normal(size=(2, 4))
    some = [circuit(layers(row), 4, shots=2000, seed=i) for i, row in enumerate(angles)]
    bits = service.result(service.submit(some, "t")).bits
    for one, got in zip(some, bits, strict=True):
        assert agrees(got, truth(one.tape.operations, 4))


@needs_braket
def test_the_emulator_takes_a_machine_of_one_s_own() -> None:
    from braket.emulation.device_emulator_properties import DeviceEmulatorProperties

    made = braket_sdk._ions(3, braket_sdk.FIDELITIES)
    chain = DeviceEmulatorProperties(
        qubitCount=3,
        nativeGateSet=["rx", "rz", "cz"],
        connectivityGraph={"0": ["1"], "1": ["0", "2"], "2": ["1"]},
        oneQubitProperties=made.one_qubit_properties,
        twoQubitProperties={edge: made.two_qubit_properties[edge] for edge in ("0-1", "1-2")},
        supportedResultTypes=made.supported_result_types,
    )
    service = open_braket("braket.emulator", 3, properties=chain)
    (bits,) = service.result(service.submit([circuit([qml.PauliX(1), qml.CNOT([1, 2])], 3, shots=400)], "t")).bits
    assert frequency(bits, [0, 1, 1]) > 0.9
    with pytest.raises(PermanentError, match=r"braket\.emulator: ValueError.*not connected"):
        service.compile([circuit([qml.CNOT([0, 2])], 3)])
    with pytest.raises(ValueError, match="fidelities must not be given with properties"):
        open_braket("braket.emulator", 3, properties=chain, fidelities={"readout": 0.9})
    odd = DeviceEmulatorProperties(
        3, ["h", "cz"], {}, made.one_qubit_properties, made.two_qubit_properties, made.supported_result_types
    )
    with pytest.raises(ValueError, match="must have the native gates rx, rz and cz"):
        open_braket("braket.emulator", 3, properties=odd)


@needs_braket
@pytest.mark.parametrize(
    ("name", "wires", "options", "error", "match"),
    [
        ("braket.local", 0, {}, ValueError, "wires must be at least 1"),
        ("braket.local", 27, {}, ValueError, "wires must be at most 26 on braket.local"),
        ("braket.emulator", 14, {}, ValueError, "wires must be at most 13 on braket.emulator"),
        ("braket.local", 2, {"noise": {}}, TypeError, "has no option 'noise'. Its options are: none"),
        ("braket.emulator", 2, {"noise": {}}, TypeError, "Its options are: properties, fidelities"),
        ("braket.local_dm", 2, {}, ValueError, "needs noise.*Use 'braket.local' without noise"),
        ("braket.local_dm", 2, {"noise": {}}, ValueError, "noise must hold a probability above 0"),
        ("braket.local_dm", 2, {"noise": 0.1}, TypeError, "noise must be of type Mapping"),
        ("braket.local_dm", 2, {"noise": {"gate": 0.1}}, ValueError, "a key of noise must be one of"),
        ("braket.local_dm", 2, {"noise": {"readout": 1.5}}, ValueError, r"noise\['readout'\] must be at most 1"),
        ("braket.emulator", 2, {"fidelities": {"readout": -1}}, ValueError, "must be at least 0"),
        ("braket.nowhere", 2, {}, ValueError, "device must be 'braket.local'.*Got 'braket.nowhere'"),
        ("ibm.torino", 2, {}, ValueError, "device must be one of.*Got 'ibm.torino'"),
        ("braket.us-east-1/sv1", 2, {"s3": "bucket"}, ValueError, "s3 must be the bucket and the prefix"),
        ("braket.us-east-1/sv1", 2, {"profile": "p", "aws_session": 1}, ValueError, "profile must not be given with"),
    ],
)
def test_bad_names_and_options_are_refused(
    name: str, wires: int, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        open_braket(name, wires, **options)


@needs_braket
def test_bad_jobs_are_refused() -> None:
    service = open_braket("braket.local", 2)
    with pytest.raises(PermanentError, match="at least one circuit"):
        service.submit([], "t")
    with pytest.raises(PermanentError, match=r"at least 1 shot\. Got 0"):
        service.submit([replace(circuit([qml.Hadamard(0)], 1), shots=0)], "t")
    with pytest.raises(PermanentError, match=r"at most 26 wires\. Got 30"):
        service.compile([circuit([qml.Hadamard(0)], 30)])
    with pytest.raises(ValueError, match="tag must not be an empty string"):
        service.submit([circuit([qml.Hadamard(0)], 1)], "")


def test_a_missing_sdk_says_which_extra_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    braket_sdk.load.cache_clear()
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ModuleNotFoundError, match=r"amazon-braket-sdk.*pip install 'varq\[braket\]'"):
        open_braket("braket.local", 2)
    assert importlib.util.find_spec("varq.devices.braket") is not None


ARNS = ["arn:aws:braket:::device/quantum-simulator/amazon/sv1", "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"]


@pytest.mark.parametrize(
    ("name", "arn", "region"),
    [
        (f"braket.{ARNS[1]}", ARNS[1], "eu-north-1"),
        (f"braket.{ARNS[0]}", ARNS[0], None),
        ("braket.us-east-1/sv1", ARNS[0], "us-east-1"),
        ("braket.eu-north-1/Garnet", ARNS[1], "eu-north-1"),
        ("braket.eu-north-1/garnet", ARNS[1], "eu-north-1"),
        ("braket.eu-north-1/iqm/Opal-2", "arn:aws:braket:eu-north-1::device/qpu/iqm/Opal-2", "eu-north-1"),
    ],
)
def test_names_of_devices_on_aws(name: str, arn: str, region: str | None) -> None:
    assert aws_arn(name, ARNS) == (arn, region)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("braket.arn:aws:s3:::bucket", "must be the ARN of a Braket device"),
        ("braket.garnet", "device must be 'braket.local'"),
        ("braket.eu-north-1/", "device must be 'braket.local'"),
        ("braket.us-east-1/garnet", "in the region eu-north-1. Got 'us-east-1'"),
        ("braket.eu-north-1/garnett", "Did you mean 'garnet'.*give its ARN"),
    ],
)
def test_bad_names_of_devices_on_aws(name: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        aws_arn(name, ARNS)


@needs_braket
def test_the_sdk_s_own_list_of_devices_is_known() -> None:
    assert set(ARNS) <= set(braket_sdk.known_arns())


@needs_braket
def test_a_noisy_simulator_is_known_as_one() -> None:
    """Its noise moves electrons in and out: that is its error, and none of the circuit."""
    noisy = varq.device("braket.local_dm", noise={"two_qubit": 0.05, "readout": 0.05})
    with Session(noisy, shots=100, store=None, progress=False) as session:
        task = VQE(problem=Molecule.load("H2"), optimizer=SPSA(), stop=varq.Stop(steps=1))
        assert session.start(task, verify=True).steps == 0
    phase = EigenPhase(qml.T(0), state=1)
    assert [QPE(problem=phase, device=one)._mixed for one in (noisy, "braket.local")] == [True, False]
