"""Snapshots of IBM's machines: their noise, one job for a batch, seeds, limits, and what is refused."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
from qiskit_samples import SIGMAS, circuit

from varq.devices import qiskit_noise
from varq.devices.faults import GoneError, PermanentError
from varq.devices.ibm import open_ibm, twirled_shots
from varq.devices.service import JobStatus, Limits, Mode

pytestmark = [pytest.mark.ibm, pytest.mark.flagless]

WRONG = 0.3  # a bit of these circuits is wrong less often, on the worst qubits that Qiskit picks; 0.5 would be a coin
LONG = [qml.X(0), qml.RY(0.7, 1), *[qml.CNOT([0, 1]), qml.CNOT([1, 2])] * 6]


def ladder(a, b, shots=1000, seed=0):
    """Bits that say which circuit they are of: wire 0 and 1 by a, wire 2 by b."""
    return circuit([qml.RY(a, 0), qml.CNOT([0, 1]), qml.RX(b, 2)], 3, shots, seed)


def run(service, circuits, tag="a"):
    return service.result(service.submit(circuits, tag))


def test_the_noise_is_that_of_the_machine():
    """Z on each wire beside Aer's own simulator of the whole machine, on the same compiled circuit."""
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit_aer import AerSimulator
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    from varq.devices.qiskit_circuits import translated

    shots, sent = 40000, circuit(LONG, 3, 40000)
    (bits,) = run(open_ibm("ibm.fake_manila", layout=[2, 3, 4], optimization_level=0), [sent]).bits
    backend = FakeManilaV2()
    manager = generate_preset_pass_manager(0, target=backend.target, initial_layout=[2, 3, 4], seed_transpiler=0)
    made = manager.run(translated(sent.tape, 3).assign_parameters(sent.values))
    seen = AerSimulator.from_backend(backend).run(made, shots=shots, seed_simulator=5).result().get_counts()
    want = np.array([sum(n for key, n in seen.items() if key[::-1][w] == "1") for w in range(3)]) / shots
    error = np.sqrt(2 * want * (1 - want) / shots)
    assert np.all(abs(bits.mean(0) - want) < SIGMAS * error)
    ideal = np.asarray(
        qml.execute(
            [qml.tape.QuantumScript(LONG, [qml.expval(qml.Z(w)) for w in range(3)])],
            qml.device("default.qubit", wires=3),
        )[0]
    )
    assert np.max(abs(want - (1 - ideal) / 2) / error) > 10, "the noise must be seen for this to say anything"


def test_the_noise_of_each_instruction_is_in_aers_model_of_the_whole_machine():
    from qiskit_aer.noise import NoiseModel
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    backend = FakeManilaV2()
    whole = NoiseModel.from_backend(backend)
    noise = qiskit_noise.Noise(backend)
    places = [
        ("sx", (1,)),
        ("x", (2,)),
        ("cx", (1, 2)),
        ("cx", (2, 1)),
        ("rz", (0,)),
        ("measure", (3,)),
        ("measure", (1,)),
    ]
    few = noise.model(places[:3])
    some = noise.model([*places, ("barrier", (0, 1)), ("delay", (0,))])
    assert few.noise_instructions == ["cx", "sx", "x"]
    for name, qubits in places:
        if name == "measure":
            assert some._local_readout_errors[qubits] == whole._local_readout_errors[qubits]
        elif name != "rz":
            assert some._local_quantum_errors[name][qubits] == whole._local_quantum_errors[name][qubits]
    assert "rz" not in some._local_quantum_errors  # a change of frame costs nothing, in the whole model as well
    assert {q for _, q in places if _ == "measure"} == set(some._local_readout_errors)


def test_a_batch_is_one_job_of_one_pub_for_each_structure():
    service = open_ibm("ibm.fake_manila", 4)
    sent = [ladder(0, np.pi), ladder(np.pi, 0), ladder(np.pi, np.pi, shots=500), circuit([qml.X(2)], 3, 700)]
    sent.append(circuit([qml.DoubleExcitation(np.pi, [0, 1, 2, 3])], 4, 300))
    service.compile(sent)
    assert service.open() is None
    job = service.submit(sent, "tag")
    pubs = service._site.job(job).inputs["pubs"]
    assert [(pub.parameter_values.shape, pub.shots) for pub in pubs] == [
        ((2,), 1000),
        ((1,), 500),
        ((1,), 700),
        ((1,), 300),
    ]
    found = service.result(job)
    assert service.status(job) is JobStatus.DONE
    want = [[0, 0, 1], [1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0, 0]]
    for bits, c, ones in zip(found.bits, sent, want, strict=True):
        assert bits.shape == (c.shots, c.wires)
        assert bits.dtype == np.uint8
        np.testing.assert_array_equal(np.round(bits.mean(0)), ones)
        assert np.max(abs(bits.mean(0) - ones)) < WRONG
    assert found.seconds is not None
    assert found.seconds > 0
    assert service.find("tag") == job
    assert service.find("other") is None
    assert service.submit(sent, "tag") == job, "the same tag is run once"
    assert service.cancel(job) is False
    service.close()


def test_equal_jobs_have_equal_results_and_others_do_not():
    one, two = open_ibm("ibm.fake_manila"), open_ibm("ibm.fake_manila")
    sent = [ladder(0.4, 0.8, seed=3), ladder(0.5, 0.9, seed=4)]
    first, again, other = run(one, sent, "a"), run(two, sent, "b"), run(two, [ladder(0.4, 0.8, seed=5), sent[1]], "c")
    for a, b in zip(first.bits, again.bits, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.bits[0], other.bits[0])


def test_circuits_with_other_shots_in_one_job_are_independent():
    """IBM's local mode runs each number of shots with the same seed, which would show the same noise twice."""
    shots = 4000
    sent = [circuit([qml.Hadamard(0)], 1, shots, seed=1), circuit([qml.Hadamard(0)], 1, shots + 1, seed=2)]
    first, second = (bits[:shots, 0].astype(float) for bits in run(open_ibm("ibm.fake_manila"), sent).bits)
    assert abs(np.corrcoef(first, second)[0, 1]) < SIGMAS / np.sqrt(shots)


def test_a_machine_of_133_qubits():
    service = open_ibm("ibm.fake_torino", 3)
    assert service.limits.wires == 133
    (bits,) = run(service, [ladder(np.pi, 0)]).bits
    assert np.max(abs(bits.mean(0) - [1, 1, 0])) < WRONG


@pytest.mark.parametrize("level", [0, 3])
def test_layout_and_level_reach_the_compiler(level):
    service = open_ibm("ibm.fake_manila", 3, layout=[4, 3, 2], optimization_level=level)
    made = service._translator.find(ladder(0.3, 0.4))[0].circuit
    measured = [made.find_bit(item.qubits[0]).index for item in made.data if item.operation.name == "measure"]
    assert sorted(measured) == [2, 3, 4]
    (bits,) = run(service, [ladder(np.pi, 0)]).bits
    assert np.max(abs(bits.mean(0) - [1, 1, 0])) < WRONG


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_snapshot_says_that_it_has_no_sessions(mode):
    service = open_ibm("ibm.fake_manila", mode=mode, options={"dynamical_decoupling": {"enable": True}})
    assert service.mode is Mode(mode)
    said = service.open()
    assert f"where a {mode} is a row of jobs" in said
    assert "ignores dynamical_decoupling" in said
    assert service.mode is Mode.JOB
    assert service.open() is not None
    assert len(run(service, [ladder(0, 0)]).bits) == 1


def test_jobs_live_in_their_process():
    service = open_ibm("ibm.fake_manila")
    for ask in (service.status, service.result, service.cancel):
        with pytest.raises(GoneError, match="live in the process that sent them"):
            ask("another")


def test_old_results_make_room():
    service = open_ibm("ibm.fake_manila")
    first = service.submit([circuit([qml.X(0)], 1, 1)], "first")
    waiting = service.submit([circuit([qml.X(0)], 1, 1)], "waiting")
    service.result(first)
    for i in range(64):
        service._site.fetched(f"job{i}")
    with pytest.raises(GoneError, match="live in the process"):
        service.result(first)
    assert service.find("first") is None
    assert service.result(waiting).bits[0].shape == (1, 1)


def test_a_job_that_fails_says_why(monkeypatch):
    service = open_ibm("ibm.fake_manila")

    def broken(self, places):
        raise RuntimeError("no memory")

    monkeypatch.setattr(qiskit_noise.Noise, "model", broken)
    job = service.submit([ladder(0, 0)], "a")
    with pytest.raises(PermanentError, match="no memory"):
        service.result(job)
    assert service.status(job) is JobStatus.FAILED


@pytest.mark.parametrize(
    ("sent", "match"),
    [
        (circuit([qml.X(0)], 6), r"has 5 qubits\. Got a circuit of 6 wires"),
        (circuit([qml.X(0)], 1, 100001), r"takes 100000 shots of a circuit\. Got 100001"),
        (circuit([qml.ops.MidMeasure(0)], 1), "measured at their end only"),
    ],
    ids=["wires", "shots", "middle"],
)
def test_circuits_beyond_the_limits_are_refused(sent, match):
    service = open_ibm("ibm.fake_manila")
    assert service.limits == Limits(shots=100000, wires=5, job_shots=10_000_000)
    for ask in (service.compile, lambda c: service.submit(c, "a")):
        with pytest.raises(PermanentError, match=match):
            ask([sent])


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"name": ""}, ValueError, "device must not be an empty string"),
        ({"name": "ibm.fake_torrino"}, ValueError, "Did you mean 'fake_torino'"),
        ({"wires": 6}, ValueError, "fake_manila has 5 qubits"),
        ({"wires": 0}, ValueError, "wires must be at least 1"),
        ({"mode": "jobs"}, ValueError, "mode must be one of 'batch', 'job', 'session'"),
        ({"layout": [0, 0]}, ValueError, "none of them twice"),
        ({"layout": [0, 1], "wires": 3}, ValueError, "one qubit of ibm.fake_manila for each wire"),
        ({"layout": [5]}, ValueError, "layout must be at most 4"),
        ({"optimization_level": 4}, ValueError, "optimization_level must be at most 3"),
        ({"seed_transpiler": -1}, ValueError, "seed_transpiler must be at least 0"),
        ({"token": "abc"}, ValueError, r"takes no account\. Got \['token'\]"),
        ({"options": {"twirl": {}}}, ValueError, "options must be those of IBM's SamplerV2"),
        ({"options": {"default_shots": 3}}, ValueError, r"Got \['default_shots'\]"),
        ({"options": {"environment": {"job_tags": ["a"]}}}, ValueError, "environment.job_tags"),
        ({"options": {"execution": {"meas_type": "kerneled"}}}, ValueError, "execution.meas_type"),
    ],
)
def test_wrong_arguments_are_named(given, error, match):
    with pytest.raises(error, match=match):
        open_ibm(**{"name": "ibm.fake_manila", **given})


@pytest.mark.parametrize(
    ("shots", "twirling", "run_for"),
    [
        (1000, {}, 1000),
        (1000, {"enable_gates": False}, 1000),
        (1000, {"enable_gates": True}, 1024),  # 64 for each of 16
        (4096, {"enable_measure": True}, 4096),  # 128 for each of 32
        (1000, {"enable_gates": True, "num_randomizations": 3}, 1002),
        (1000, {"enable_gates": True, "shots_per_randomization": 100}, 1000),
        (1000, {"enable_gates": True, "shots_per_randomization": 50, "num_randomizations": 20}, 1000),
    ],
)
def test_shots_under_twirling_follow_ibms_rule(shots, twirling, run_for):
    assert twirled_shots(shots, twirling) == run_for


def test_names_of_snapshots():
    assert {"fake_manila", "fake_torino", "fake_sherbrooke"} <= set(qiskit_noise.fake_names())
    assert repr(open_ibm("fake_manila")) == "IBMService('ibm.fake_manila', mode='job')"
