"""Operations as people write them, on the device: what is not unitary, wide, batched or complex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane.exceptions import DeviceError

from varq.precision import double
from varq.simulator import explain
from varq.simulator.limits import check_size

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SINGLE = 2e-6  # what float32 outputs show of derivatives of size one
RNG = np.random.default_rng(5)
SQUARE = RNG.normal(size=(4, 4)) / 2
WIDE = np.linalg.qr(RNG.normal(size=(32, 32)))[0]
THREE = np.array([0.1, 0.2, 0.3])
TURNS = np.stack([np.linalg.qr(RNG.normal(size=(2, 2)))[0] for _ in THREE])

ODD: dict[str, Callable[[Any], Any]] = {
    "matrix": lambda x: qml.QubitUnitary(SQUARE, [0, 1]),
    "exponential": lambda x: qml.exp(qml.Z(0) @ qml.X(1), 0.3),
    "multiple": lambda x: qml.s_prod(0.5, qml.X(0)),
    "traced multiple": lambda x: qml.s_prod(x, qml.X(0)),
    "multiple in a product": lambda x: qml.prod(qml.s_prod(0.5, qml.X(0)), qml.RX(x, 1)),
    "controlled multiple": lambda x: qml.ctrl(qml.s_prod(0.5, qml.X(0)), 1),
    "projector in a product": lambda x: qml.prod(qml.Projector([1], 0), qml.RX(x, 1)),
    "evolution that is none": lambda x: qml.evolve(1j * qml.X(0) @ qml.Z(1) + 0.5 * qml.Z(0), 0.5),
    "complex phases": lambda x: qml.PCPhase(0.3 + 0.2j, 1, [0]),
    "complex generator": lambda x: qml.evolve(qml.s_prod(1 + 0.3j, qml.X(0)), 0.5),
}
PLAIN: dict[str, Callable[[Any], Any]] = {
    "block encoding": lambda x: qml.BlockEncode(np.full((16, 16), 0.05), wires=range(5)),
    "wide matrices": lambda x: [qml.QubitUnitary(WIDE, wires=[4, 2, 0, 1, 3]), qml.QubitUnitary(WIDE, wires=range(5))],
    "power": lambda x: qml.pow(qml.RX(x, 0), 0.5),
    "controlled power": lambda x: qml.ctrl(qml.pow(qml.RX(0.7, 0), 0.5), 1),
    "power that is no integer": lambda x: qml.pow(qml.Rot(0.1, 0.2, 0.3, 0), -0.3),
    "adjoint of such a power": lambda x: qml.adjoint(qml.ctrl(qml.pow(qml.Rot(0.1, 0.2, 0.3, 0), 0.5), 1)),
    "integer as a float": lambda x: qml.pow(qml.U3(0.1, 0.2, 0.3, 0), -2.0),
    "product with a power": lambda x: qml.prod(qml.pow(qml.Rot(0.1, 0.2, 0.3, 0), 0.5), qml.RX(x, 1)),
    "evolution": lambda x: qml.evolve(qml.X(0) @ qml.Z(1) + 0.5 * qml.Y(0) @ qml.Z(1), x),
    "real in a complex type": lambda x: qml.RX(0.3 + 0j, 0),
}
BATCHES: dict[str, Callable[[], Any]] = {
    "matrices": lambda: qml.QubitUnitary(TURNS, 0),
    "diagonals": lambda: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(6).reshape(3, 2)), 0),
    "integers": lambda: qml.RX(np.array([0, 1, 2]), 0),
    "states of integers": lambda: qml.StatePrep(np.eye(4, dtype=int)[:3], wires=[0, 1]),
    "evolutions": lambda: qml.evolve(qml.X(0) @ qml.Z(1), THREE),
    "evolutions of sums": lambda: qml.evolve(qml.dot([0.3, 0.4], [qml.X(0) @ qml.X(1), qml.Z(0) @ qml.Z(1)]), THREE),
    "exponentials": lambda: qml.exp(qml.X(0), 1j * THREE),
    "products": lambda: qml.prod(qml.RX(THREE, 0), qml.RY(0.2, 1)),
    "time steps": lambda: qml.ApproxTimeEvolution(qml.Hamiltonian([1.0, 0.5], [qml.X(0), qml.Z(1)]), THREE, 1),
    "powers": lambda: qml.pow(qml.RX(THREE, 0), 0.5),
    "controlled": lambda: qml.ctrl(qml.RX(THREE, 0), 1),
}


def around(operation: Callable[[Any], Any], device: str) -> Any:
    """A QNode with an operation among gates of the same parameter."""

    @qml.qnode(qml.device(device, wires=5), interface="jax")
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(0.3, 1)
        qml.RX(0.2, 4)
        operation(x)
        qml.RX(2 * x, 0)
        qml.CNOT([0, 3])
        return qml.expval(qml.Z(0) @ qml.Z(1) + 0.2 * qml.X(0) + 0.1 * qml.Z(4))

    return circuit


@pytest.mark.parametrize("name", [*ODD, *PLAIN])
def test_values_and_slopes(name: str) -> None:
    operation = {**ODD, **PLAIN}[name]
    with double():
        x = jnp.asarray(0.4)
        found, truth = (jax.value_and_grad(around(operation, d))(x) for d in ("varq.qubit", "default.qubit"))
    np.testing.assert_allclose(found, truth, atol=EXACT)


@pytest.mark.parametrize("name", some(["matrix", "traced multiple"], "matrix"))
def test_what_is_not_unitary_has_every_derivative(name: str) -> None:
    with double():
        x = jnp.asarray(0.4)
        truth = jax.hessian(around(ODD[name], "default.qubit"))(x), jax.grad(around(ODD[name], "default.qubit"))(x)
        ours = around(ODD[name], "varq.qubit")
        np.testing.assert_allclose(jax.hessian(ours)(x), truth[0], atol=EXACT)
        np.testing.assert_allclose(jax.jacfwd(ours)(x), truth[1], atol=EXACT)
    single = around(ODD[name], "varq.qubit")
    np.testing.assert_allclose(jax.jit(jax.grad(single))(jnp.float32(0.4)), truth[1], atol=SINGLE)


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name: str) -> None:
    def circuit() -> Any:
        BATCHES[name]()
        qml.RY(0.4, 1)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1) @ qml.Z(0)), qml.probs(wires=[0, 1])

    found, truth = (qml.QNode(circuit, qml.device(d, wires=2))() for d in ("varq.qubit", "default.qubit"))
    for ours, theirs in zip(found, truth, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=EXACT)


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("RX", lambda x: qml.RX(0.3 + 0.2j, 0)),
        ("RX", lambda x: qml.RX(1j * x, 0)),
        ("U1", lambda x: qml.U1(0.3 + 0.2j, 0)),
        ("CPhaseShift01", lambda x: qml.CPhaseShift01(1j * x, [0, 1])),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_complex_angles_are_refused(name: str, gate: Callable[[Any], Any], compiled: bool) -> None:
    circuit = around(gate, "varq.qubit")
    with pytest.raises(DeviceError, match=rf"parameters of {name} must be real\. Got a complex number"):
        (jax.jit(circuit) if compiled else circuit)(0.4)


@pytest.mark.parametrize("shots", [None, 10])
def test_complex_angles_are_refused_beside_measurements_too(shots: int | None) -> None:
    @qml.set_shots(shots)
    @qml.qnode(qml.device("varq.qubit", wires=1))
    def node(x: Any) -> Any:
        qml.RX(x, 0)
        qml.measure(0)
        return qml.expval(qml.Z(0))

    with pytest.raises(DeviceError, match=r"parameters of RX must be real\. Got a complex number"):
        node(0.3 + 0.2j)


def test_half_precision_is_that_of_its_own_numbers() -> None:
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(0.123456, 0)
        return qml.expval(qml.X(0))

    found = qml.QNode(circuit, qml.device("varq.qubit", wires=1))(jnp.float16(1.0))
    np.testing.assert_allclose(found, np.sin(0.123456) * np.cos(1.0), atol=SINGLE)


def test_a_phase_of_no_wires() -> None:
    def circuit() -> Any:
        qml.GlobalPhase(0.4)
        return qml.state()

    found = qml.QNode(circuit, qml.device("varq.qubit"))()
    np.testing.assert_allclose(found, [np.exp(-0.4j)], atol=EXACT)


def test_powers_of_what_is_traced_name_the_way_out() -> None:
    circuit = around(lambda x: qml.pow(qml.Rot(x, 0.2, 0.3, 0), 0.5), "varq.qubit")
    assert np.isfinite(circuit(0.4))
    with pytest.raises(DeviceError, match=r"The power 0\.5 of Rot is known by its matrix alone.*Give it as gates"):
        jax.grad(circuit)(0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_branches": -5}, "max_branches must be an integer of at least 1. Got -5"),
        ({"stored_bytes": "x"}, "stored_bytes must be an integer of at least 0. Got 'x'"),
        ({"readout_error": 3}, "readout_error must be a probability between 0 and 1"),
        ({"readout_error": {"b": 0.1}}, r"readout_error must name wires of its device\. Got \['b'\]"),
        ({"precision": "half"}, "precision must be one of"),
    ],
)
def test_options_of_a_run_are_checked(options: dict[str, Any], message: str) -> None:
    device = qml.device("varq.qubit", wires=1)
    config = qml.devices.ExecutionConfig(device_options=options)
    with pytest.raises(ValueError, match=message):
        device.setup_execution_config(config)


def templates(x: Any, graph: Any) -> None:
    cost, mixer = qml.qaoa.maxcut(graph)
    for k in range(4):
        qml.qaoa.cost_layer(x[0, k], cost)
        qml.qaoa.mixer_layer(x[1, k], mixer)


def evolutions(x: Any, graph: Any) -> None:
    cost, mixer = qml.qaoa.maxcut(graph)
    for k in range(4):
        qml.evolve(cost, x[0, k])
        qml.ApproxTimeEvolution(mixer, x[1, k], 1)


@pytest.mark.parametrize("written", some([templates, evolutions], evolutions))
def test_alternating_layers_by_their_names(written: Callable[[Any, Any], None]) -> None:
    graph = nx.cycle_graph(6)

    def circuit(x: Any) -> Any:
        for w in range(6):
            qml.Hadamard(w)
        written(x, graph)
        return qml.expval(qml.qaoa.maxcut(graph)[0])

    with double():
        x = jnp.asarray(np.random.default_rng(0).random((2, 4)))
        ours = qml.QNode(circuit, qml.device("varq.qubit", wires=6))
        truth = qml.QNode(circuit, qml.device("default.qubit", wires=6))
        np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(truth)(x), atol=EXACT)
        assert explain(ours)(x).parts[0].path == "alternating"


HIGHER = {
    "batched": lambda f: jax.vmap(jax.hessian(f)),
    "batched and compiled": lambda f: jax.jit(jax.vmap(jax.hessian(f))),
    "batched after compiling": lambda f: jax.vmap(jax.jit(jax.hessian(f))),
    "third order": lambda f: lambda x: jax.jacfwd(jax.hessian(f))(x[0]),
    "third order backwards": lambda f: lambda x: jax.grad(lambda y: jnp.sum(jax.hessian(f)(y)))(x[0]),
}


@pytest.mark.parametrize("name", some(HIGHER, "batched and compiled", "batched after compiling"))
@pytest.mark.parametrize("middle", [False, True])
def test_higher_derivatives_in_the_callers_precision(name: str, middle: bool) -> None:
    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        if middle:
            qml.cond(qml.measure(0, reset=True), qml.RX)(x[0] * x[1], 1)
        qml.CNOT([0, 1])
        qml.RX(x[0] * x[1], 1)
        return qml.expval(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0))

    x = np.random.default_rng(1).random((3, 2))
    with double():
        truth = HIGHER[name](qml.QNode(circuit, qml.device("default.qubit", wires=3)))(jnp.asarray(x))
    found = HIGHER[name](qml.QNode(circuit, qml.device("varq.qubit", wires=2)))(jnp.asarray(x, "float32"))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, truth, atol=SINGLE)


DIAGONAL: dict[str, Callable[[Any], Any]] = {
    "diagonal": lambda x: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(8) ** 2), [0, 1, 3]),
    "controlled RZ": lambda x: qml.ctrl(qml.RZ(x, 3), [0, 1]),
    "on a zero": lambda x: qml.ctrl(qml.RZ(x, 3), 1, control_values=[0]),
    "controlled phase": lambda x: qml.ctrl(qml.PhaseShift(x, 0), [3, 1, 2], control_values=[1, 0, 1]),
    "controlled pair": lambda x: qml.ctrl(qml.IsingZZ(x, [0, 2]), [3, 1]),
    "controlled Z": lambda x: qml.ctrl(qml.Z(2), [0, 3], control_values=[0, 1]),
    "controlled T": lambda x: qml.ctrl(qml.T(2), [0, 3]),
}


def hopping(gate: Callable[[Any], Any], device: str) -> Any:
    """A QNode with a gate among others that conserve the number of particles."""

    @qml.qnode(qml.device(device, wires=5), interface="jax")
    def circuit(x: Any) -> Any:
        qml.BasisState([1, 0, 1, 0], range(4))
        for k in range(3):
            qml.SingleExcitation(0.7 + k + x, [k, k + 1])
        gate(x)
        for k in range(3):
            qml.SingleExcitation(0.4 - k, [k, k + 1])
        return qml.expval(qml.Z(0) @ qml.Z(2) + 0.3 * (qml.X(0) @ qml.X(1) + qml.Y(0) @ qml.Y(1)))

    return circuit


@pytest.mark.parametrize("name", some(DIAGONAL, "diagonal", "controlled Z"))
def test_diagonal_matrices_conserve_the_number_of_particles(name: str) -> None:
    ours, truth = (hopping(DIAGONAL[name], d) for d in ("varq.qubit", "default.qubit"))
    with double():
        x = jnp.asarray(0.6)
        found, expected = (jax.value_and_grad(f)(x) for f in (ours, truth))
        np.testing.assert_allclose(found, expected, atol=EXACT)
        np.testing.assert_allclose(jax.hessian(ours)(x), jax.hessian(truth)(x), atol=EXACT)
        assert explain(ours)(x).parts[0].path == "sector"


def test_a_diagonal_that_is_differentiated_keeps_its_length() -> None:
    """By phases alone the slope along a diagonal's absolute values would be lost."""

    def gate(x: Any) -> Any:
        return qml.DiagonalQubitUnitary(jnp.exp((1j + (x - 0.6)) * jnp.arange(4)), [0, 1])

    ours, truth = (jax.grad(hopping(gate, d)) for d in ("varq.qubit", "default.qubit"))
    with double():
        np.testing.assert_allclose(ours(jnp.asarray(0.6)), truth(jnp.asarray(0.6)), atol=EXACT)


def test_wide_diagonal_gates_of_measured_circuits_are_no_matrices() -> None:
    """The matrices would take more than a thousand times as much as a state."""
    wires = 8
    phases = np.random.default_rng(3).normal(size=2**wires)

    @qml.qnode(qml.device("varq.qubit", wires=wires))
    def circuit(angle: Any) -> Any:
        for w in range(wires):
            qml.Hadamard(w)
        found = qml.measure(0)
        qml.cond(found, qml.DiagonalQubitUnitary)(np.exp(1j * phases), wires=range(wires))
        qml.cond(found, qml.MultiRZ)(angle, wires=range(wires))
        return qml.expval(qml.X(3) @ qml.X(7))

    signs = np.array([1 - 2 * (k.bit_count() % 2) for k in range(2**wires)])
    state = np.exp(1j * (phases - 0.35 * signs))
    state[: 2 ** (wires - 1)] = 0  # the branch in which wire 0 is 1
    flipped = state[np.arange(2**wires) ^ (1 << (wires - 4) | 1 << (wires - 8))]
    kept = np.vdot(state, flipped).real / np.vdot(state, state).real
    np.testing.assert_allclose(circuit(0.7), (1 + kept) / 2, atol=EXACT)  # where it is 0, all wires stay along X
    taken = jax.jit(circuit).lower(0.7).compile().memory_analysis().temp_size_in_bytes
    assert taken < 8 * 4**wires


@pytest.mark.parametrize("measures", [False, True])
def test_registers_that_no_memory_holds_are_refused(measures: bool) -> None:
    @qml.qnode(qml.device("varq.qubit", wires=40))
    def circuit(x: Any) -> Any:
        for w in range(40):
            qml.RX(x, w)
        if measures:
            qml.measure(0)
        return qml.expval(qml.Z(0))

    with pytest.raises(DeviceError, match=r"Got 40 wires, 17,592,186,044,416 bytes for each state.*Use fewer wires"):
        circuit(0.3)


def test_states_that_fit_only_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.simulator.limits.memory_bytes", lambda: 2 * 16 * 2**10)
    check_size(10, "float64")
    check_size(11, "float32")
    with pytest.raises(DeviceError, match="Got 11 wires, 32,768 bytes for each state, and 32,768 bytes of memory"):
        check_size(11, "float64")
    monkeypatch.setattr("varq.simulator.limits.memory_bytes", lambda: None)
    check_size(30, "float64")
    with pytest.raises(DeviceError, match=r"Got 31 wires.*an unknown amount of memory"):
        check_size(31, "float32")


@pytest.mark.parametrize(
    ("interface", "method", "exact"), [("torch", None, False), ("torch", "deferred", True), ("jax", None, True)]
)
def test_derivatives_of_measured_circuits_are_promised_where_they_are_given(
    interface: str, method: str | None, exact: bool
) -> None:
    with qml.tape.QuantumTape() as tape:
        qml.RX(0.3, 0)
        qml.measure(0)
        qml.expval(qml.Z(0))
    config = qml.devices.ExecutionConfig(
        gradient_method="best", interface=interface, mcm_config=qml.devices.MCMConfig(mcm_method=method)
    )
    device = qml.device("varq.qubit", wires=1)
    for promise in (device.supports_derivatives, device.supports_vjp, device.supports_jvp):
        assert promise(config, tape) == exact
        assert promise(config, qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))]))
