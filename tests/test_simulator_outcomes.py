"""Measured circuits: numbers that only functions of outcomes hold, and observables given by sparse matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
import scipy.sparse
from pennylane.exceptions import DeviceError

from varq.simulator import outcome

START, X = 0.4, 0.3
CHANCE = np.sin(START / 2) ** 2  # of reading 1
EXACT = 1e-12  # rounding of a few dozen float64 operations
CALLER = 2e-6  # rounding of results that leave in JAX's own precision, which may be float32


def by_pennylane(x: Any) -> Any:
    qml.RX(START, 0)
    qml.RX(qml.measure(0) * x, 1)
    return qml.expval(qml.Z(1))


def by_function(x: Any) -> Any:
    qml.RX(START, 0)
    qml.RX(outcome(lambda bit: bit * x, qml.measure(0)), 1)
    return qml.expval(qml.Z(1))


def by_statistics(x: Any) -> Any:
    qml.RX(START, 0)
    return qml.expval(qml.measure(0) * jnp.cos(x))


ANGLES = [by_pennylane, by_function]


@pytest.fixture
def node() -> Callable[..., Any]:
    return partial(qml.QNode, device=qml.device("varq.qubit", wires=2, seed=5))


@pytest.mark.parametrize("circuit", ANGLES)
@pytest.mark.parametrize("compiled", [False, True])
def test_numbers_that_pennylane_cannot_see_are_followed(
    circuit: Callable[[Any], Any], compiled: bool, node: Callable[..., Any]
) -> None:
    """No parameter of the tape is JAX's: only what a function of outcomes closes over."""
    wrap = jax.jit if compiled else lambda function: function
    function = node(circuit)
    x = jnp.asarray(X)
    np.testing.assert_allclose(wrap(function)(x), 1 - CHANCE + CHANCE * np.cos(X), atol=CALLER)
    np.testing.assert_allclose(wrap(jax.grad(function))(x), -CHANCE * np.sin(X), atol=CALLER)
    np.testing.assert_allclose(wrap(jax.hessian(function))(x), -CHANCE * np.cos(X), atol=CALLER)
    batch = jnp.asarray([X, 2 * X])
    np.testing.assert_allclose(wrap(jax.vmap(function))(batch), 1 - CHANCE + CHANCE * np.cos(batch), atol=CALLER)


def test_statistics_of_outcomes_are_followed(node: Callable[..., Any]) -> None:
    function = node(by_statistics)
    np.testing.assert_allclose(jax.jit(function)(X), CHANCE * np.cos(X), atol=CALLER)
    np.testing.assert_allclose(jax.grad(function)(X), -CHANCE * np.sin(X), atol=CALLER)


@pytest.mark.parametrize("circuit", ANGLES)
def test_shots_of_such_circuits(circuit: Callable[[Any], Any], node: Callable[..., Any]) -> None:
    """The angle is pi, so that wire 1 is flipped just where 1 was read."""
    shots = 4000
    function = jax.jit(qml.set_shots(node(circuit, interface="jax"), shots))
    found = float(function(jnp.asarray(np.pi)))
    spread = 2 * np.sqrt(CHANCE * (1 - CHANCE) / shots)
    assert abs(found - (1 - 2 * CHANCE)) < 5 * spread
    assert found < 1


def test_autograd_between_them_is_an_error(node: Callable[..., Any]) -> None:
    function = qml.set_shots(node(by_pennylane), 10)
    with pytest.raises(DeviceError, match="interface='jax'"):
        jax.jit(function)(jnp.asarray(X))


@pytest.mark.parametrize("interface", ["auto", "jax"])
def test_constant_circuits_within_a_jit(interface: str, node: Callable[..., Any]) -> None:
    function = node(by_pennylane, interface=interface)
    found = jax.jit(lambda y: y * function(X))(1.0)
    np.testing.assert_allclose(found, 1 - CHANCE + CHANCE * np.cos(X), atol=CALLER)


SPARSE = scipy.sparse.csr_matrix(
    np.array([[1.0, 0, 2j, 0], [0, -3.0, 0, 0.5 - 1j], [-2j, 0, 0.25, 0], [0, 0.5 + 1j, 0, 2.0]])
)


def with_sparse(x: Any, observable: Any) -> Any:
    qml.RY(x, 0)
    qml.RX(0.7, 1)
    qml.CNOT([0, 1])
    bit = qml.measure(0)
    qml.cond(bit, qml.RX)(2 * x, 2)
    qml.CRY(x, wires=[2, 0])
    qml.CRX(0.3, wires=[1, 2])
    return qml.expval(observable)


OBSERVABLES = {
    "first wires": lambda: (qml.SparseHamiltonian(SPARSE, wires=[0, 1]), qml.Hermitian(SPARSE.toarray(), [0, 1])),
    "other order": lambda: (qml.SparseHamiltonian(SPARSE, wires=[2, 0]), qml.Hermitian(SPARSE.toarray(), [2, 0])),
    "scaled": lambda: (
        qml.s_prod(1.5, qml.SparseHamiltonian(SPARSE, wires=[0, 2])),
        qml.Hermitian(1.5 * SPARSE.toarray(), [0, 2]),
    ),
}


@pytest.mark.parametrize("name", OBSERVABLES)
def test_sparse_matrices_are_observables(name: str) -> None:
    sparse, dense = OBSERVABLES[name]()
    ours = qml.QNode(with_sparse, qml.device("varq.qubit", wires=3))
    truth = qml.QNode(with_sparse, qml.device("default.qubit"))
    np.testing.assert_allclose(ours(X, sparse), truth(X, dense), atol=EXACT)
    step = 1e-5
    slope = (truth(X + step, dense) - truth(X - step, dense)) / (2 * step)
    np.testing.assert_allclose(
        jax.jit(jax.grad(lambda x: ours(x, sparse)))(X), slope, atol=1e-5
    )  # float32, central differences


def test_a_followed_number_beside_a_sparse_matrix_is_an_error() -> None:
    ours = qml.QNode(
        lambda x: with_sparse(0.3, qml.s_prod(x, qml.SparseHamiltonian(SPARSE, wires=[0, 1]))),
        qml.device("varq.qubit", wires=3),
    )
    with pytest.raises(DeviceError, match="multiply its result"):
        jax.jit(ours)(0.5)


def compiled_table(values: Any) -> Callable[[Any], Any]:
    return jax.jit(lambda bit: jnp.asarray(values)[bit])


def compiled_twice(values: Any) -> Callable[[Any], Any]:
    inner = compiled_table(values)
    return jax.jit(lambda bit: inner(bit) + 0.0)


@pytest.mark.parametrize("function", [compiled_table, compiled_twice])
@pytest.mark.parametrize("chained", [False, True])
def test_what_compiled_functions_hold_is_their_own(function: Callable[[Any], Any], chained: bool) -> None:
    """Functions that differ in nothing but an array that they close over, within a call that JAX compiles."""
    device = qml.device("varq.qubit", wires=2)

    def node(fn: Callable[[Any], Any]) -> Any:
        @qml.qnode(device, interface="jax")
        def circuit() -> Any:
            value = outcome(fn, qml.measure(0))
            for _ in range(6 * chained):
                qml.X(0)
                value = outcome(lambda v, bit: v / 2 + fn(bit), value, qml.measure(0))
            qml.RX(value, 1)
            return qml.expval(qml.Z(1))

        return circuit()

    for table in (np.array([0.3, 1.2]), np.array([0.7, -0.4]), np.array([0.3, 1.25])):
        angle = table[0]
        for k in range(6 * chained):
            angle = angle / 2 + table[(k + 1) % 2]
        np.testing.assert_allclose(node(function(table)), np.cos(angle), atol=CALLER)
