"""Every interface and every way to differentiate, against closed forms and default.qubit."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from varq.simulator.precision import double

DOUBLE = 1e-10  # linear algebra in float64
SINGLE = 2e-6  # what float32 outputs can show
METHODS = ("best", "device", "backprop", "adjoint", "parameter-shift")


def tolerance() -> float:
    return DOUBLE if jax.config.jax_enable_x64 else SINGLE


def circuit(x: Any) -> Any:
    qml.RX(x[0], 0)
    qml.RY(x[1], 1)
    qml.CNOT([0, 1])
    qml.RZ(0.3, 1)
    return qml.expval(qml.Z(1) + 0.5 * qml.X(0))


def truth(x: Any) -> Any:
    """<Z1> is cos x0 cos x1, and X0 becomes X0 X1, whose mean is zero for a first qubit turned about X."""
    return jnp.cos(x[0]) * jnp.cos(x[1])


def node(function: Callable[..., Any] = circuit, wires: Any = 2, **options: Any) -> Any:
    return qml.QNode(function, qml.device("varq.qubit", wires=wires), **options)


X = np.array([0.4, 1.1])
SLOPE = np.array([-np.sin(0.4) * np.cos(1.1), -np.cos(0.4) * np.sin(1.1)])
CURVE = np.array(
    [[-np.cos(0.4) * np.cos(1.1), np.sin(0.4) * np.sin(1.1)], [np.sin(0.4) * np.sin(1.1), -np.cos(0.4) * np.cos(1.1)]]
)


def test_numpy_is_double_whatever_the_flag() -> None:
    found = node()(X)
    assert isinstance(found, np.floating)
    assert float(found) == pytest.approx(np.cos(0.4) * np.cos(1.1), abs=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_autograd(method: str) -> None:
    x = pnp.array(X, requires_grad=True)
    np.testing.assert_allclose(qml.grad(node(diff_method=method))(x), SLOPE, atol=DOUBLE)


@pytest.mark.parametrize("method", METHODS)
def test_jax(method: str) -> None:
    q = node(diff_method=method)
    x = jnp.asarray(X)
    for gradient in (jax.grad(q), jax.jit(jax.grad(q)), jax.jacrev(q)):
        found = gradient(x)
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found, SLOPE, atol=tolerance())
    assert q(x).dtype == jax.jit(q)(x).dtype == x.dtype


@pytest.mark.parametrize("method", ["finite-diff", "spsa"])
def test_approximate_methods(method: str) -> None:
    x = pnp.array(X, requires_grad=True)
    options = {"num_directions": 200, "sampler_rng": np.random.default_rng(1)} if method == "spsa" else {}
    np.testing.assert_allclose(
        qml.grad(node(diff_method=method, gradient_kwargs=options))(x), SLOPE, atol=0.1 if options else 1e-5
    )


def test_hadamard() -> None:
    x = pnp.array(X, requires_grad=True)
    q = node(wires=3, diff_method="hadamard", gradient_kwargs={"aux_wire": 2})
    np.testing.assert_allclose(qml.grad(q)(x), SLOPE, atol=DOUBLE)


def test_no_method() -> None:
    assert float(node(diff_method=None)(X)) == pytest.approx(float(truth(X)), abs=1e-6)


def test_every_mode_of_jax() -> None:
    q = node()
    x = jnp.asarray(X)
    t = jnp.asarray([0.3, -0.7])
    near = {"atol": tolerance()}
    np.testing.assert_allclose(jax.jacfwd(q)(x), SLOPE, **near)
    value, moved = jax.jvp(q, (x,), (t,))
    np.testing.assert_allclose(value, truth(X), **near)
    np.testing.assert_allclose(moved, SLOPE @ t, **near)
    np.testing.assert_allclose(jax.linearize(q, x)[1](t), SLOPE @ t, **near)
    for curve in (
        jax.hessian(q),
        jax.jit(jax.hessian(q)),
        jax.jacrev(jax.grad(q)),
        jax.jacfwd(jax.jacfwd(q)),
    ):
        np.testing.assert_allclose(curve(x), CURVE, **near)


def test_vmap_in_every_order() -> None:
    q = node()
    batch = jnp.asarray(np.stack([X, 2 * X, -X]))
    wanted = jax.vmap(truth)(batch)
    near = {"atol": tolerance()}
    for mapped in (jax.vmap(q), jax.jit(jax.vmap(q)), jax.vmap(jax.jit(q))):
        np.testing.assert_allclose(mapped(batch), wanted, **near)
    slopes = jax.vmap(jax.grad(truth))(batch)
    for mapped in (jax.vmap(jax.grad(q)), jax.jit(jax.vmap(jax.grad(q))), jax.vmap(jax.jit(jax.grad(q)))):
        np.testing.assert_allclose(mapped(batch), slopes, **near)
    np.testing.assert_allclose(jax.vmap(jax.vmap(q))(batch[None]), wanted[None], **near)


def test_observables_are_run_time_inputs() -> None:
    def energy(x: Any, coefficients: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.dot(coefficients, [qml.Z(0), qml.Y(0)]))

    q = node(energy, 1)
    x, c = jnp.asarray(0.4), jnp.asarray([0.5, 2.0])
    slopes = jax.jit(jax.grad(q, argnums=(0, 1)))(x, c)
    np.testing.assert_allclose(slopes[0], -0.5 * np.sin(0.4) - 2 * np.cos(0.4), atol=tolerance())
    np.testing.assert_allclose(slopes[1], [np.cos(0.4), -np.sin(0.4)], atol=tolerance())
    found = qml.grad(q)(pnp.array(0.4, requires_grad=True), pnp.array([0.5, 2.0], requires_grad=True))
    np.testing.assert_allclose(found[1], [np.cos(0.4), -np.sin(0.4)], atol=DOUBLE)


def test_hidden_coefficients_are_differentiated() -> None:
    def evolve(x: Any) -> Any:
        qml.RX(0.3, 0)
        qml.TrotterProduct(qml.dot([0.25 * x, 0.75], [qml.X(0), qml.Z(0)]), time=2.4, order=2)
        return qml.expval(qml.Z(0))

    q = node(evolve, 1)
    step = 1e-5
    wanted = (float(q(0.3 + step)) - float(q(0.3 - step))) / (2 * step)
    assert float(qml.grad(q)(pnp.array(0.3, requires_grad=True))) == pytest.approx(wanted, abs=1e-8)
    assert float(jax.grad(q)(jnp.asarray(0.3))) == pytest.approx(wanted, abs=1e-5)


def test_autograd_to_second_order() -> None:
    x = pnp.array(X, requires_grad=True)
    np.testing.assert_allclose(qml.jacobian(qml.grad(node()))(x), CURVE, atol=DOUBLE)


def several(x: Any) -> Any:
    qml.RX(x[0], 0)
    qml.RY(x[1], 1)
    qml.CNOT([0, 1])
    return qml.probs(wires=[0, 1]), qml.expval(qml.Z(0)), qml.purity([0])


def test_several_results() -> None:
    x = pnp.array(X, requires_grad=True)
    wanted = [
        qml.jacobian(lambda x, k=k: qml.QNode(several, qml.device("default.qubit", wires=2))(x)[k])(x) for k in range(3)
    ]
    q = node(several)
    for k in range(3):
        np.testing.assert_allclose(qml.jacobian(lambda x, k=k: q(x)[k])(x), wanted[k], atol=DOUBLE)
    for mode in (jax.jacfwd, jax.jacrev):
        for a, b in zip(mode(q)(jnp.asarray(X)), wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance())


def test_state_to_autograd() -> None:
    def overlap(x: Any, device: str) -> Any:
        @qml.qnode(qml.device(device, wires=2))
        def prepared(x: Any) -> Any:
            qml.RX(x[0], 0)
            qml.RY(x[1], 1)
            qml.CNOT([0, 1])
            return qml.state()

        return qml.math.real(qml.math.sum(prepared(x) * np.array([0.3, 1j, 0.2, 0.1 - 2j])))

    x = pnp.array(X, requires_grad=True)
    slopes = [qml.grad(lambda x, d=d: overlap(x, d))(x) for d in ("varq.qubit", "default.qubit")]
    np.testing.assert_allclose(*slopes, atol=DOUBLE)


def config(**options: Any) -> Any:
    return qml.devices.ExecutionConfig(**options)


def test_products_with_the_jacobian() -> None:
    """The device's own derivatives, which PennyLane asks for where a framework is not differentiated through."""
    device = qml.device("varq.qubit", wires=2)
    tape = qml.tape.QuantumScript(
        [qml.RX(0.4, 0), qml.RY(1.1, 1), qml.CNOT([0, 1])], [qml.expval(qml.Z(1)), qml.probs(wires=0)]
    )
    tape.trainable_params = [0, 1]
    asked = device.setup_execution_config(config(gradient_method="best", interface="torch"))
    assert (asked.gradient_method, asked.use_device_jacobian_product) == ("adjoint", True)
    (results,), (jacobian,) = device.execute_and_compute_derivatives((tape,), asked)
    np.testing.assert_allclose(results[0], np.cos(0.4) * np.cos(1.1), atol=DOUBLE)
    np.testing.assert_allclose(jacobian[0], SLOPE, atol=DOUBLE)
    half = np.sin(0.4) / 2
    np.testing.assert_allclose(jacobian[1][0], [-half, half], atol=DOUBLE)
    (pulled,) = device.compute_vjp((tape,), ((2.0, np.array([1.0, 0.0])),), asked)
    np.testing.assert_allclose(pulled, 2 * SLOPE + [-half, 0], atol=DOUBLE)
    (pushed,) = device.compute_jvp((tape,), ((1.0, 0.0),), asked)
    np.testing.assert_allclose(pushed[0], SLOPE[0], atol=DOUBLE)


def test_through_the_boundary_of_other_frameworks() -> None:
    """What torch uses, driven by autograd: PennyLane's boundary around the device's products with the Jacobian."""
    from pennylane.workflow.interfaces.autograd import autograd_execute
    from pennylane.workflow.jacobian_products import DeviceJacobianProducts

    device = qml.device("varq.qubit", wires=2)
    asked = device.setup_execution_config(config(gradient_method="best", interface="torch"))
    products = DeviceJacobianProducts(device, asked)

    def value(x: Any) -> Any:
        tape = qml.tape.QuantumScript([qml.RX(x[0], 0), qml.RY(x[1], 1), qml.CNOT([0, 1])], [qml.expval(qml.Z(1))])
        execute = lambda tapes: device.execute(qml.transforms.convert_to_numpy_parameters(tapes)[0], asked)  # noqa: E731
        return autograd_execute((tape,), execute, products)[0]

    np.testing.assert_allclose(qml.grad(value)(pnp.array(X, requires_grad=True)), SLOPE, atol=DOUBLE)


def test_results_can_be_written_to() -> None:
    """As those of every other device: torch warns of arrays that cannot."""

    def law(x: Any) -> Any:
        qml.RX(x[0], 0)
        return qml.probs(wires=[0, 1])

    found = node(law)(X)
    found /= 2
    assert float(found.sum()) == pytest.approx(0.5, abs=DOUBLE)


@pytest.mark.peer("torch")
def test_torch() -> None:
    torch = importlib.import_module("torch")
    x = torch.tensor(X, requires_grad=True)
    q = node(interface="torch")
    value = q(x)
    value.backward()
    np.testing.assert_allclose(value.detach(), truth(X), atol=DOUBLE)
    np.testing.assert_allclose(x.grad, SLOPE, atol=DOUBLE)
    shots = 20_000
    noise = 5 / np.sqrt(shots)
    y = torch.tensor(X, requires_grad=True)
    sampled = qml.set_shots(q, shots)(y)
    sampled.backward()
    np.testing.assert_allclose(sampled.detach(), truth(X), atol=noise)
    np.testing.assert_allclose(y.grad, SLOPE, atol=noise)


@pytest.mark.peer("torch")
def test_torch_and_measured_circuits() -> None:
    torch = importlib.import_module("torch")

    def steered(x: Any) -> Any:
        qml.RY(x, 0)
        qml.cond(qml.measure(0, reset=True), qml.RX)(2 * x, 1)
        return qml.expval(qml.Z(1)), qml.probs(wires=1)

    x = torch.tensor(0.7, requires_grad=True, dtype=torch.float64)
    value, law = node(steered, interface="torch")(x)
    value.backward()
    heads = np.sin(0.35) ** 2
    wanted = 1 - heads + heads * np.cos(1.4)
    np.testing.assert_allclose(value.detach(), wanted, atol=DOUBLE)
    np.testing.assert_allclose(law.detach(), [(1 + wanted) / 2, (1 - wanted) / 2], atol=DOUBLE)
    slope = np.sin(0.7) / 2 * (np.cos(1.4) - 1) - 2 * heads * np.sin(1.4)
    np.testing.assert_allclose(x.grad, slope, atol=DOUBLE)


def test_constants_within_a_jit() -> None:
    @jax.jit
    def run(y: Any) -> Any:
        return y * node()(X)

    assert float(run(1.0)) == pytest.approx(float(truth(X)), abs=1e-6)


def test_asking_for_jax_gives_jax() -> None:
    assert isinstance(node(interface="jax")(X), jax.Array)


def test_measured_circuits_are_differentiated() -> None:
    def measured(x: Any) -> Any:
        qml.RX(x, 0)
        outcome = qml.measure(0, reset=True)
        qml.cond(outcome, qml.RY)(2 * x, 1)
        return qml.expval(qml.Z(1))

    q = node(measured)
    step = 1e-5
    wanted = (float(q(0.7 + step)) - float(q(0.7 - step))) / (2 * step)
    assert float(jax.grad(q)(jnp.asarray(0.7))) == pytest.approx(wanted, abs=1e-5)
    assert float(jax.jit(jax.grad(q))(jnp.asarray(0.7))) == pytest.approx(wanted, abs=1e-5)
    assert float(qml.grad(q)(pnp.array(0.7, requires_grad=True))) == pytest.approx(wanted, abs=1e-8)


@contextmanager
def compilations() -> Iterator[list[str]]:
    """What is compiled within the block."""
    found: list[str] = []

    def listen(event: str, seconds: float, **more: Any) -> None:
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        if hasattr(jax.monitoring, "unregister_event_duration_listener"):  # jax 0.8
            jax.monitoring.unregister_event_duration_listener(listen)


def conserving(x: Any) -> None:
    qml.BasisState([1, 1, 0, 0], range(4))
    qml.DoubleExcitation(x[0], range(4))
    qml.SingleExcitation(x[1], [1, 3])


def entangling(x: Any) -> None:
    for layer in range(3):
        for wire in range(4):
            qml.RY(x[layer % 2] + wire, wire)
        for wire in range(3):
            qml.CNOT([wire, wire + 1])


WORDS = [qml.Z(0) @ qml.Z(1), qml.X(0) @ qml.X(1) @ qml.Y(2) @ qml.Y(3), qml.Z(3), qml.X(2), qml.Identity(0)]
GEOMETRIES = np.random.default_rng(7).normal(size=(2, len(WORDS)))


@pytest.mark.parametrize("prepare", [conserving, entangling])
@pytest.mark.parametrize("jitted", [False, True])
def test_another_geometry_compiles_nothing(prepare: Callable[[Any], None], jitted: bool) -> None:
    """Coefficients are run-time inputs: a Hamiltonian of the same words in a new QNode is the same program."""
    wrap = jax.jit if jitted else lambda function: function

    def energy(x: Any, coefficients: Any, device: str) -> Any:
        def prepared(x: Any) -> Any:
            prepare(x)
            return qml.expval(qml.dot(coefficients, WORDS))

        return qml.QNode(prepared, qml.device(device, wires=4), interface="jax")(x)

    both = wrap(jax.value_and_grad(lambda x, c: energy(x, c, "varq.qubit")))
    x, found, counts = jnp.asarray(X), [], []
    for coefficients in GEOMETRIES:
        c = jnp.asarray(coefficients) if jitted else coefficients
        with compilations() as compiled:
            found.append(both(x, c))
        counts.append(len(compiled))
    assert counts[0] > 0
    assert counts[1] == 0
    near = tolerance()
    with double():
        exact = jax.value_and_grad(lambda x, c: energy(x, c, "default.qubit"))
        for mine, coefficients in zip(found, GEOMETRIES, strict=True):
            value, slope = exact(jnp.asarray(X), coefficients)
            np.testing.assert_allclose(mine[0], value, atol=near)
            np.testing.assert_allclose(mine[1], slope, atol=near)


def small(x: Any) -> Any:
    for wire in range(4):
        qml.RX(x[wire], wire)
    for wire in range(3):
        qml.CNOT([wire, wire + 1])
    for wire in range(4):
        qml.RY(x[4 + wire], wire)
    return qml.expval(qml.Z(0) @ qml.X(1) + 0.3 * qml.Y(2))


@pytest.mark.parametrize("kind", ["autograd", "jax"])
def test_a_small_circuit_is_compiled_once(kind: str) -> None:
    q = node(small, 4)
    wrap = partial(pnp.array, requires_grad=True) if kind == "autograd" else jnp.asarray
    gradient = qml.grad(q) if kind == "autograd" else jax.grad(q)
    with compilations() as compiled:
        for function in (q, gradient):
            function(wrap(np.linspace(0, 1, 8)))
            first = len(compiled)
            assert first > 0
            function(wrap(np.linspace(1, 2, 8)))
            assert len(compiled) == first
