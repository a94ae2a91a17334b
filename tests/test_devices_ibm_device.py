"""The PennyLane device for IBM's machines: measurements, gradients, one job for whatever comes at once."""

from __future__ import annotations

import gc
from functools import partial

import jax
import numpy as np
import pennylane as qml
import pytest
from qiskit_samples import SIGMAS

pytestmark = pytest.mark.ibm

SHOTS = 8192
NOISE = 0.35  # largest change of an expectation by the noise of a snapshot on a circuit this short; 1 is all of it


def device(wires=4, **options):
    return qml.device("varq.ibm", wires=wires, backend="fake_manila", **{"seed": 1, **options})


def ising(wires=4):
    pairs = [qml.Z(w) @ qml.Z(w + 1) for w in range(wires - 1)]
    return qml.Hamiltonian([-1.0] * (wires - 1) + [-0.7] * wires, [*pairs, *(qml.X(w) for w in range(wires))])


def layers(params, wires=4):
    for w in range(wires):
        qml.RY(params[w], wires=w)
    for w in range(wires - 1):
        qml.CNOT(wires=[w, w + 1])
    for w in range(wires):
        qml.RY(params[wires + w], wires=w)


@pytest.mark.parametrize("jitted", [False, True])
def test_a_value_and_its_gradient_are_one_job(jitted):
    opened = device()

    def energy(params):
        layers(params)
        return qml.expval(ising())

    node = qml.set_shots(qml.QNode(energy, opened, diff_method="parameter-shift"), SHOTS)
    exact = qml.QNode(energy, qml.device("default.qubit", wires=4), diff_method="parameter-shift")
    call = jax.value_and_grad(node)
    params = np.linspace(0.1, 0.8, 8).astype(jax.numpy.asarray(0.0).dtype)
    with qml.Tracker(opened) as tracker:
        value, grad = (jax.jit(call) if jitted else call)(jax.numpy.asarray(params))
    assert len(opened.jobs) == 1
    assert tracker.totals["batches"] == 1
    assert tracker.totals["executions"] == 34, "17 sets of parameters, 2 groups that commute"
    want = float(exact(params))
    assert abs(float(value) - want) < NOISE * abs(want)
    true = np.asarray(qml.grad(exact)(qml.numpy.array(params.astype(float), requires_grad=True)))
    assert np.dot(grad, true) / np.linalg.norm(grad) / np.linalg.norm(true) > 0.8


def test_every_measurement_of_finite_shots():
    @partial(qml.set_shots, shots=SHOTS)
    @qml.qnode(device(3))
    def circuit(angle):
        qml.RX(angle, 0)
        qml.X(1)
        return (
            qml.expval(qml.Z(1)),
            qml.var(qml.X(2)),
            qml.probs(wires=[1, 0]),
            qml.counts(wires=[1]),
            qml.sample(wires=[1, 2]),
            qml.expval(qml.Y(0) @ qml.Z(1)),
        )

    found = circuit(0.6)
    assert found[0] == pytest.approx(-1, abs=NOISE)
    assert found[1] == pytest.approx(1, abs=SIGMAS / np.sqrt(SHOTS) + 0.05)  # the noise moves a mean of 0 a little
    want = np.array([0, 0, np.cos(0.3) ** 2, np.sin(0.3) ** 2])
    np.testing.assert_allclose(found[2], want, atol=NOISE / 2)
    assert sum(found[3].values()) == SHOTS
    assert found[3]["1"] > SHOTS * (1 - NOISE / 2)
    assert found[4].shape == (SHOTS, 2)
    assert found[4][:, 0].mean() > 1 - NOISE / 2
    assert found[5] == pytest.approx(np.sin(0.6), abs=NOISE)


def test_shot_vectors_and_batches_of_parameters():
    opened = device(1)

    @partial(qml.set_shots, shots=(100, 40, 40))
    @qml.qnode(opened)
    def circuit(angle):
        qml.RX(angle, 0)
        return qml.sample(wires=0)

    found = circuit(np.array([0.0, np.pi]))
    assert [np.shape(part)[:2] for part in found] == [(2, 100), (2, 40), (2, 40)]
    means = [np.mean(part, axis=1).reshape(2) for part in found]
    np.testing.assert_allclose(means, [[0, 1]] * 3, atol=NOISE)
    assert len(opened.jobs) == 1


def test_labels_of_wires_and_the_order_of_bits():
    @partial(qml.set_shots, shots=200)
    @qml.qnode(device(["a", "b", "c"]))
    def circuit():
        qml.X("c")
        return qml.sample(wires=["c", "a"]), qml.sample(wires=["b"])

    pair, one = circuit()
    np.testing.assert_array_equal(np.round(pair.mean(axis=0)), [1, 0])
    assert one.mean() < NOISE / 2


def test_a_seed_gives_the_same_samples_again():
    @partial(qml.set_shots, shots=300)
    @qml.qnode(device(2, seed=5))
    def circuit():
        qml.Hadamard(0)
        return qml.sample(wires=[0, 1])

    first, second = circuit(), circuit()
    assert not np.array_equal(first, second)
    circuit.device.reseed(5)
    np.testing.assert_array_equal(circuit(), first)


def test_gates_that_qiskit_lacks_and_state_preparation():
    @partial(qml.set_shots, shots=500)
    @qml.qnode(device(4))
    def circuit():
        qml.BasisState([1, 1, 0, 0], wires=range(4))
        qml.DoubleExcitation(np.pi, wires=range(4))
        return qml.probs(wires=range(4))

    assert np.argmax(circuit()) == 0b0011


def test_a_session_that_expires_is_opened_again():
    from ibm_stub import Server, StubService

    server = Server()
    opened = qml.device("varq.ibm", wires=1, backend="stub", client=StubService(server), mode="session")

    @partial(qml.set_shots, shots=20)
    @qml.qnode(opened)
    def circuit():
        qml.X(0)
        return qml.expval(qml.Z(0))

    assert circuit() == -1
    server.sessions["session0"]["open"] = False
    assert circuit() == -1
    assert [job["session"] for job in server.jobs.values()] == ["session0", "session1"]


def test_a_session_is_closed_by_whoever_leaves_the_device_or_forgets_it():
    from ibm_stub import MACHINE, Server, StubService

    server = Server()

    def is_open():
        return [session["open"] for session in server.sessions.values()]

    def flip(device):
        tape = qml.tape.QuantumScript([qml.X(0)], [qml.sample(wires=[0])], shots=20)
        assert device.execute([tape])[0].all()

    with qml.device("varq.ibm", wires=1, backend=MACHINE, client=StubService(server), mode="session") as opened:
        assert is_open() == [], "the first job opens it"
        flip(opened)
        flip(opened)
        assert is_open() == [True]
    assert is_open() == [False]
    flip(opened)
    assert is_open() == [False, True], "a later circuit opens another"
    opened.close()
    opened.close()
    assert is_open() == [False, False]
    flip(opened)
    del opened
    gc.collect()
    assert is_open() == [False, False, False]


def test_a_mode_that_is_not_there_is_a_warning():
    @partial(qml.set_shots, shots=20)
    @qml.qnode(device(1, mode="session"))
    def circuit():
        return qml.expval(qml.Z(0))

    with pytest.warns(UserWarning, match="a session is a row of jobs"):
        assert circuit() > 0


def within():
    qml.measure(0)
    return qml.expval(qml.Z(0))


@pytest.mark.parametrize(
    ("function", "shots", "match"),
    [
        (lambda: qml.expval(qml.Z(0)), None, "give shots with qml.set_shots"),
        (lambda: qml.state(), 10, "not accepted with finite shots"),
        (within, 10, "measured at their end only"),
    ],
    ids=["shots", "state", "middle"],
)
def test_what_hardware_cannot_do_is_refused(function, shots, match):
    node = qml.set_shots(qml.QNode(function, device(1)), shots)
    with pytest.raises(Exception, match=match):
        node()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"wires": None}, "wires must be a number of wires"),
        ({"wires": 6}, "fake_manila has 5 qubits"),
        ({"backend": ""}, "backend must not be an empty string"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"mode": "fast"}, "mode must be one of"),
    ],
)
def test_wrong_arguments_are_named(given, match):
    with pytest.raises(ValueError, match=match):
        qml.device("varq.ibm", **{"wires": 1, "backend": "fake_manila", **given})
