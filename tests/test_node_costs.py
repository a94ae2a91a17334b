"""Costs on devices: values, gradients, metrics and samples against matrices and closed forms."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from scipy.linalg import expm

from varq import names
from varq.ansatze import HardwareEfficient
from varq.devices.local import LocalService
from varq.keys import Key
from varq.node.nodes import Cost, Nodes
from varq.problems.pauli import PauliSum
from varq.protocol import Experiment, Many, Metric, Sample, Value, ValueAndGrad

EXACT = 1e-10  # linear algebra on a few wires
SINGLE = 1e-5  # float32
FINITE = 1e-7  # central differences with a step of 1e-5
SIGMAS = 5  # a sampled value with a fixed seed lies within so many standard errors

KEY = Key.from_seed(11)
X0 = np.array([0.3, -0.7, 1.1])
HAMILTONIAN = qml.Hamiltonian(
    [0.5, -1.2, 0.3, 0.7, 0.2],
    [qml.Z(0) @ qml.Z(1), qml.X(0), qml.Y(0) @ qml.X(1), qml.Identity(0), qml.Y(1)],
)


def circuit(x: Any) -> None:
    """Shared, scaled and transformed parameters, and a gate with two frequencies."""
    qml.RY(x[0], 0)
    qml.CNOT([0, 1])
    qml.RX(2 * x[1], 1)
    qml.SingleExcitation(x[2] * x[0], wires=[0, 1])
    qml.RZ(jnp.sin(x[2]), 0)


def state(x: np.ndarray) -> np.ndarray:
    """The same by matrices."""
    y, z, p = np.array([[0, -1j], [1j, 0]]), np.diag([1, -1]), np.array([[0, 1], [1, 0]])
    eye, cnot = np.eye(2), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    hop = np.zeros((4, 4))
    hop[1, 2], hop[2, 1] = -1, 1
    psi = np.kron(expm(-0.5j * x[0] * y), eye)[:, 0]
    psi = np.kron(eye, expm(-1j * x[1] * p)) @ cnot @ psi
    psi = expm(0.5 * x[2] * x[0] * hop) @ psi
    return np.kron(expm(-0.5j * np.sin(x[2]) * z), eye) @ psi


def energy(x: np.ndarray) -> float:
    psi = state(x)
    return float(np.real(psi.conj() @ qml.matrix(HAMILTONIAN, wire_order=[0, 1]) @ psi))


def slopes(function: Any, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    return np.array([(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(len(x))])


def cost(device: Any, **options: Any) -> Cost:
    shots, precision = options.pop("shots", None), options.pop("precision", "double")
    return Nodes(device, shots, precision).cost(circuit, HAMILTONIAN, 2, (3,), **options)


EXACT_DEVICES = ["varq.qubit", "lightning.qubit", "default.qubit", "default.mixed", "reference.qubit"]


@pytest.mark.parametrize("device", EXACT_DEVICES)
def test_value_and_gradient(device: str) -> None:
    reply = cost(device).evaluate(ValueAndGrad(X0), KEY)
    assert reply.value == pytest.approx(energy(X0), abs=EXACT)
    assert reply.grad == pytest.approx(slopes(energy, X0), abs=FINITE)
    assert reply.grad.dtype == np.float64
    assert reply.stderr is None
    assert cost(device).evaluate(Value(X0), KEY).value == pytest.approx(reply.value, abs=EXACT)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_metric_is_the_overlap_of_derivatives(device: str) -> None:
    found = cost(device).evaluate(Metric(X0), KEY).metric
    tangents, psi = slopes(state, X0), state(X0)
    want = np.real(tangents.conj() @ tangents.T - np.outer(tangents.conj() @ psi, psi.conj() @ tangents.T))
    assert found == pytest.approx(want, abs=FINITE)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_many_answers_each_part(device: str) -> None:
    parts = cost(device).evaluate(Many((Value(X0), ValueAndGrad(-X0))), KEY).parts
    assert [p.value for p in parts] == pytest.approx([energy(X0), energy(-X0)], abs=EXACT)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_tracked_quantities_come_along(device: str) -> None:
    reply = cost(device, tracked={"z": qml.Z(0)}).evaluate(Value(X0), KEY)
    psi = state(X0)
    assert reply.tracked["z"] == pytest.approx(np.sum(np.abs(psi) ** 2 * [1, 1, -1, -1]), abs=EXACT)
    assert reply.executions == 2


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_probabilities(device: str) -> None:
    assert cost(device).probabilities(X0) == pytest.approx(np.abs(state(X0)) ** 2, abs=EXACT)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_a_pauli_sum_is_an_observable(device: str) -> None:
    pauli = PauliSum.from_operator(HAMILTONIAN, 2)
    reply = Nodes(device).cost(circuit, pauli, 2, (3,)).evaluate(Value(X0), KEY)
    assert reply.value == pytest.approx(energy(X0), abs=EXACT)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit"])
def test_single_precision(device: str) -> None:
    reply = cost(device, precision="single").evaluate(ValueAndGrad(X0), KEY)
    assert reply.value == pytest.approx(energy(X0), abs=SINGLE)
    assert reply.value != energy(X0)
    assert reply.grad == pytest.approx(slopes(energy, X0), abs=SINGLE)


def test_a_circuit_without_parameters() -> None:
    reply = Nodes().cost(lambda x: qml.Hadamard(0), qml.X(0), 1, (0,)).evaluate(ValueAndGrad(np.zeros(0)), KEY)
    assert reply.value == pytest.approx(1, abs=EXACT)
    assert reply.grad.shape == (0,)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit", "default.qubit"])
def test_a_parameter_that_is_not_used_has_no_slope(device: str) -> None:
    reply = Nodes(device).cost(lambda x: qml.RY(x[0], 0), qml.Z(0), 1, (2,)).evaluate(ValueAndGrad(np.ones(2)), KEY)
    assert reply.grad == pytest.approx([-np.sin(1), 0], abs=EXACT)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit", "default.qubit"])
def test_sampled_values_have_honest_error_bars(device: str) -> None:
    sampled = cost(device, shots=4000, tracked={"z": qml.Z(0)})
    reply = sampled.evaluate(ValueAndGrad(X0), KEY)
    assert abs(reply.value - energy(X0)) < SIGMAS * reply.stderr
    assert 0 < reply.stderr < 0.1
    assert np.all(np.abs(reply.grad - slopes(energy, X0)) < SIGMAS * reply.grad_stderr)
    draws = [sampled.evaluate(Value(X0), KEY.fold(k)) for k in range(40)]
    scatter = np.std([d.value for d in draws], ddof=1)
    # 40 draws fix a standard deviation to 11 %; four of these is chance beyond doubt.
    assert scatter == pytest.approx(np.mean([d.stderr for d in draws]), rel=0.45)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit", "default.qubit"])
def test_company_and_order_change_nothing(device: str) -> None:
    sampled = cost(device, shots=50)
    first = sampled.evaluate(ValueAndGrad(X0), KEY)
    sampled.evaluate(Sample(X0, 50), KEY.fold("other"))
    again = sampled.evaluate(ValueAndGrad(X0), KEY)
    assert (first.value, first.stderr) == (again.value, again.stderr)
    assert np.array_equal(first.grad, again.grad)
    fresh = cost(device, shots=50).evaluate(ValueAndGrad(X0), KEY)
    assert fresh.value == first.value
    assert sampled.evaluate(Value(X0), KEY.fold("other")).value != first.value


def test_samples_follow_the_law() -> None:
    bits = cost("lightning.qubit", shots=4000).evaluate(Sample(X0, 4000), KEY).outcomes
    assert bits.shape == (4000, 2)
    weights = np.abs(state(X0)) ** 2
    counts = np.bincount(2 * bits[:, 0].astype(int) + bits[:, 1], minlength=4)
    chi2 = np.sum((counts - 4000 * weights) ** 2 / (4000 * weights))
    assert chi2 < 21  # exceeded with probability 1e-4 for 3 degrees of freedom


def test_a_device_object_works() -> None:
    device = qml.device("default.qubit", wires=2)
    assert cost(device).evaluate(Value(X0), KEY).value == pytest.approx(energy(X0), abs=EXACT)


def open_other(name: str, **options: Any) -> LocalService:
    return LocalService(name, lambda wires: qml.device("default.qubit", wires=wires, seed=5), None)


def test_another_package_adds_a_device_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "TABLE", {**names.TABLE, "device:other": f"{__name__}:open_other"})
    with pytest.warns(UserWarning, match="cannot set the random seed of other"):
        reply = cost("other", shots=20000).evaluate(ValueAndGrad(X0), KEY)
    assert abs(reply.value - energy(X0)) < SIGMAS * reply.stderr
    assert np.all(np.abs(reply.grad - slopes(energy, X0)) < SIGMAS * reply.grad_stderr)


def test_samples_that_cannot_be_drawn_again_are_announced() -> None:
    unseeded = LocalService("other", lambda wires: qml.device("default.mixed", wires=wires), None)
    with pytest.warns(UserWarning, match="cannot set the random seed of other"):
        reply = cost(unseeded, shots=2000).evaluate(Value(X0), KEY)
    assert abs(reply.value - energy(X0)) < 8 * reply.stderr  # unseeded: beyond any luck


@pytest.mark.parametrize("name", ["default.mixed", "default.qubit", "lightning.qubit", "varq.qubit"])
def test_samples_of_seeded_devices_are_drawn_again(name: str) -> None:
    first, again = (cost(name, shots=200).evaluate(Sample(X0, 200), KEY).outcomes for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: cost("lightning.qbit"), r"device must be one of .*'lightning.qubit'.*varq doctor"),
        (lambda: cost(qml.device("default.qubit", wires=1)), "device must have the wires 0 to 1"),
        (lambda: cost(3), "device must be of type Device"),
        (lambda: cost("default.qubit", precision="single"), "precision='single' is not offered by default.qubit"),
        (lambda: Nodes(shots=0), "shots must be at least 1"),
        (lambda: Nodes(precision="half"), "precision must be one of"),
    ],
)
def test_devices_are_checked(build: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        build()


@pytest.mark.parametrize(
    ("circuit", "error", "match"),
    [
        (lambda x: qml.RY(x[0], 5), ValueError, r"wires must be among \[0, 1\]. Got \[5\]"),
        (lambda x: qml.RY(x, 0), ValueError, "Each gate takes single numbers"),
        (lambda x: qml.RY(float(x[0]), 0), TypeError, "A circuit is traced once"),
        (lambda x: qml.RY(np.sin(x[0]), 0), TypeError, "A circuit is traced once"),
        (lambda x: qml.RY(x[0], 0) if x[0] > 0 else None, TypeError, "A circuit is traced once"),
        (lambda x: qml.measure(0), ValueError, "cannot measure in its middle"),
    ],
)
def test_circuits_are_checked(circuit: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Nodes().cost(circuit, HAMILTONIAN, 2, (3,))


@pytest.mark.parametrize(
    ("request_", "shots", "match"),
    [
        (Value(np.ones(2)), None, r"parameters must have shape \(3,\)"),
        (Value(np.array([0, np.nan, 0])), None, "parameters must be finite"),
        (Metric(X0), 10, "metric tensor .* needs shots=None"),
        (Sample(X0, 10), None, "Samples need a number of shots"),
        (Experiment(np.array([1]), np.array([0.0])), None, "A variational cost answers values"),
    ],
)
def test_requests_are_checked(request_: Any, shots: int | None, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        cost("lightning.qubit", shots=shots).evaluate(request_, KEY)


def test_exact_probabilities_need_no_shots() -> None:
    with pytest.raises(ValueError, match="need shots=None"):
        cost("lightning.qubit", shots=10).probabilities(X0)


def test_one_circuit_is_traced_once_for_all_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[Any] = []
    apply = HardwareEfficient._apply
    monkeypatch.setattr(HardwareEfficient, "_apply", lambda self, x: (traced.append(x), apply(self, x))[1])
    x, words = HardwareEfficient(wires=3, depth=2).init(5), {"XZI": 0.3, "IYY": 1.0, "ZZZ": -0.7}
    requests = (Value(x), ValueAndGrad(x))
    sums = [PauliSum.from_words({word: scale * c for word, c in words.items()}) for scale in (1.0, -2.5)]
    replies, counts, costs = [], [], []
    for observable in sums:
        ansatz = HardwareEfficient(wires=3, depth=2)
        costs.append(Nodes("varq.qubit").cost(ansatz, observable, 3, ansatz.shape))
        replies.append([costs[-1].evaluate(request, KEY) for request in requests])
        counts.append(len(traced))
    assert counts[0] == counts[1] > 0
    assert costs[0].evaluate(requests[0], KEY).value == replies[0][0].value, "it keeps its own coefficients"
    for observable, found in zip(sums, replies, strict=True):
        other = Nodes("default.qubit").cost(ansatz, observable, 3, ansatz.shape)
        for request, reply in zip(requests, found, strict=True):
            want = other.evaluate(request, KEY)
            assert reply.value == pytest.approx(want.value, abs=1e-10)
        np.testing.assert_allclose(reply.grad, want.grad, atol=1e-10)


def test_circuits_of_other_text_share_nothing() -> None:
    def made(angle: float) -> Any:
        return lambda x: (qml.RX(angle, 0), qml.RY(x[0], 0))

    x = np.array([0.4])
    for angle in (0.3, 1.1):
        cost = Nodes("varq.qubit").cost(made(angle), qml.Z(0), wires=1, shape=(1,))
        assert cost.evaluate(Value(x), KEY).value == pytest.approx(np.cos(angle) * np.cos(0.4), abs=1e-12)
