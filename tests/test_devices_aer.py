"""Aer as a device of sessions: right probabilities, seeds, noise, and what it refuses."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
from qiskit_samples import CHANCE, SIGMAS, chance, circuit, exact, random_ops

from varq.devices.aer import AerService, open_aer
from varq.devices.faults import GoneError, PermanentError
from varq.devices.service import JobStatus, Mode

pytestmark = [pytest.mark.ibm, pytest.mark.flagless]


@pytest.mark.parametrize("seed", range(8))
def test_random_circuits_of_all_gates_give_the_exact_distribution(seed):
    ops = random_ops(4, 24, np.random.default_rng(seed))
    service = open_aer()
    (bits,) = service.result(service.submit([circuit(ops, 4, 20000, seed=seed)], "a")).bits
    assert bits.shape == (20000, 4)
    assert chance(bits, exact(ops, 4)) > CHANCE


def test_many_circuits_of_a_structure_are_each_their_own():
    rng = np.random.default_rng(5)
    angles = rng.normal(scale=1.5, size=(12, 5))
    all_ops = [
        [qml.RX(a[0], 0), qml.RY(a[1], 1), qml.CRZ(a[2], [0, 1]), qml.IsingXX(a[3], [1, 2]), qml.PhaseShift(a[4], 0)]
        for a in angles
    ]
    all_ops = [[*ops, qml.Hadamard(0), qml.CNOT([0, 2])] for ops in all_ops]
    service = open_aer()
    sent = [circuit(ops, 3, 4000 + i, seed=i) for i, ops in enumerate(all_ops)]
    service.compile(sent)
    found = service.result(service.submit(sent, "a"))
    assert [len(b) for b in found.bits] == [c.shots for c in sent]
    assert min(chance(b, exact(o, 3)) for b, o in zip(found.bits, all_ops, strict=True)) > CHANCE / 12
    assert found.seconds is not None
    assert found.seconds > 0


@pytest.mark.parametrize("noise", [None, "fake_manila"])
def test_company_and_order_change_nothing(noise):
    sent = [circuit([qml.RY(0.3 * i, 0), qml.CNOT([0, 1])], 2, 300, seed=10 + i) for i in range(4)]
    service = open_aer(noise=noise)
    alone = [service.result(service.submit([c], f"alone{i}")).bits[0] for i, c in enumerate(sent)]
    other = open_aer(noise=noise)
    together = other.result(other.submit(sent[::-1], "a")).bits[::-1]
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, two)
    (again,) = other.result(other.submit([circuit([qml.RY(0.9, 0), qml.CNOT([0, 1])], 2, 300, seed=99)], "b")).bits
    assert not np.array_equal(again, alone[3])


def test_the_noise_of_a_machine_is_aers_own():
    """Beside Aer's own simulator of the whole machine, with the same compiled circuit."""
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_aer import AerSimulator
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    from varq.devices.qiskit_circuits import translated

    ops = [qml.X(0), qml.RY(0.7, 1), *[qml.CNOT([0, 1]), qml.CNOT([1, 2])] * 6]
    shots, sent = (
        40000,
        circuit([qml.X(0), qml.RY(0.7, 1), *[qml.CNOT([0, 1]), qml.CNOT([1, 2])] * 6], 3, 40000, seed=4),
    )
    service = open_aer(noise="fake_manila", layout=[0, 1, 2], optimization_level=0)
    (bits,) = service.result(service.submit([sent], "a")).bits
    backend = FakeManilaV2()
    manager = generate_preset_pass_manager(0, target=backend.target, initial_layout=[0, 1, 2], seed_transpiler=0)
    made = manager.run(translated(sent.tape, 3).assign_parameters(sent.values))
    seen = AerSimulator.from_backend(backend).run(made, shots=shots, seed_simulator=9).result().get_counts()
    want = np.array([sum(n for key, n in seen.items() if key[::-1][w] == "1") for w in range(3)]) / shots
    error = np.sqrt(2 * want * (1 - want) / shots)
    assert np.all(abs(bits.mean(0) - want) < SIGMAS * error)
    clean = exact(ops, 3).reshape(2, 2, 2)
    ideal = np.array([clean[1].sum(), clean[:, 1].sum(), clean[:, :, 1].sum()])
    assert np.max(abs(want - ideal) / error) > 10, "the noise must be seen for this to say anything"


def test_a_noise_model_of_ones_own():
    from qiskit_aer.noise import NoiseModel, ReadoutError

    model = NoiseModel(basis_gates=["rz", "sx", "x", "cx"])
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.25, 0.75]]))
    service = open_aer(noise=model)
    (bits,) = service.result(service.submit([circuit([qml.X(1)], 2, 20000, seed=1)], "a")).bits
    want = np.array([0.1, 0.75])
    assert np.all(abs(bits.mean(0) - want) < SIGMAS * np.sqrt(want * (1 - want) / 20000))


def test_a_job_is_known_by_its_tag_and_id():
    service = open_aer()
    assert service.open() is None
    assert (service.name, service.paid, service.mode) == ("qiskit-aer", False, Mode.JOB)
    job = service.submit([circuit([qml.X(0)], 1, 3)], "tag")
    assert service.submit([circuit([qml.X(0)], 1, 3)], "tag") == job
    assert service.find("tag") == job
    assert service.find("other") is None
    assert service.status(job) is JobStatus.DONE
    assert service.cancel(job) is False
    service.close()
    np.testing.assert_array_equal(service.result(job).bits[0], [[1]] * 3)
    with pytest.raises(GoneError, match="Got the id 'nobody'"):
        service.result("nobody")


def test_old_results_make_room():
    service = open_aer()
    first = service.submit([circuit([qml.X(0)], 1, 1)], "tag")
    for i in range(64):
        service.submit([circuit([qml.X(0)], 1, 1)], f"tag{i}")
    with pytest.raises(GoneError, match="last 64 jobs"):
        service.result(first)
    assert service.find("tag") is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(PermanentError, match=r"opened with 2 wires\. Got 3"):
        open_aer(wires=2).compile([circuit([qml.X(0)], 3)])
    with pytest.raises(PermanentError, match=r"opened with 5 wires\. Got 6"):
        open_aer(wires=9, noise="fake_manila").compile([circuit([qml.X(0)], 6)])
    with pytest.raises(PermanentError, match="measured at their end only"):
        open_aer().compile([circuit([qml.ops.MidMeasure(0)], 1)])


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"name": "aer"}, ValueError, "device must be one of 'qiskit-aer'"),
        ({"wires": 0}, ValueError, "wires must be at least 1"),
        ({"noise": "fake_manilla"}, ValueError, "Did you mean 'fake_manila'"),
        ({"noise": 0.1}, TypeError, "noise must be of type NoiseModel"),
        ({"layout": [0]}, ValueError, "layout is for the qubits of a machine"),
        ({"method": "stat"}, ValueError, "method must be one of"),
        ({"optimization_level": 4}, ValueError, "optimization_level must be at most 3"),
        ({"options": {"sed": 1}}, ValueError, "options must be those of AerSimulator"),
        ({"options": {"seed_simulator": 1}}, ValueError, r"Got \['seed_simulator'\]"),
    ],
)
def test_wrong_arguments_are_named(given, error, match):
    with pytest.raises(error, match=match):
        open_aer(**given)


def test_it_is_a_service():
    service = open_aer(method="statevector", options={"max_parallel_threads": 1})
    assert isinstance(service, AerService)
    assert service.limits.circuits is None


def test_a_service_says_whether_it_is_noisy():
    from varq.devices.catalog import abilities

    assert [abilities(open_aer(noise=noise)).noise for noise in (None, "fake_manila")] == [False, True]
