"""Observables that are no sums of Pauli words, several in one circuit, their coefficients at run time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError
from pennylane.ops import CompositeOp

from varq.precision import double
from varq.simulator.eigenbases import found_anew

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SHOTS = 200000
SIGMAS = 5  # of sampled numbers, with a fixed seed
ONE = np.array([[0.3, 0.2 - 0.5j], [0.2 + 0.5j, -0.7]])


def mixed(a: Any, b: Any) -> Any:
    return qml.sum(qml.s_prod(a, qml.Hermitian(ONE, 0)), qml.s_prod(b, qml.X(0)))


def product(a: Any, b: Any) -> Any:
    return qml.prod(qml.Hermitian(ONE, 1), mixed(a, b))


def rotations() -> None:
    qml.RX(0.3, 0)
    qml.RY(1.1, 1)
    qml.CNOT([0, 1])


STATE = np.asarray(qml.matrix(rotations, wire_order=[0, 1])()[:, 0])


def moments(observable: Any) -> tuple[float, float]:
    """Mean and variance by the matrix."""
    turned = qml.matrix(observable, wire_order=[0, 1]) @ STATE
    mean = np.vdot(STATE, turned).real
    return mean, np.vdot(turned, turned).real - mean**2


def distribution(observable: Any) -> Any:
    """The chances of the eigenvectors of an observable of wire 0, in the order of their eigenvalues."""
    _, vectors = np.linalg.eigh(qml.matrix(observable))
    return np.sum(np.abs(vectors.conj().T @ STATE.reshape(2, 2)) ** 2, axis=1)


def twice(kind: Callable[..., Any], measured: bool = False) -> Callable[..., Any]:
    """Mean, variance (and chances) of two observables that differ in their coefficients alone."""

    def circuit(a: Any, b: Any) -> Any:
        rotations()
        if measured:
            qml.measure(2)
        both = kind(a, b), kind(b, a)
        found = [*(qml.expval(o) for o in both), *(qml.var(o) for o in both)]
        return [*found, *(qml.probs(op=o) for o in both)] if kind is mixed else found

    return circuit


def truth(kind: Callable[..., Any], a: float, b: float) -> list[Any]:
    both = kind(a, b), kind(b, a)
    chances = [distribution(o) for o in both] if kind is mixed else []
    means, variances = zip(*(moments(o) for o in both), strict=True)
    return [*means, *variances, *chances]


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_each_observable_has_its_own_eigenvectors(measured: bool, compiled: bool) -> None:
    node = qml.QNode(twice(mixed, measured), qml.device("varq.qubit", wires=3))
    with double():
        for a, b in ((0.3, 0.9), (-0.5, 0.2)):  # the second time with what the first has left behind
            found = jax.jit(node)(jnp.asarray(a), jnp.asarray(b)) if compiled else node(a, b)
            for ours, theirs in zip(found, truth(mixed, a, b), strict=True):
                np.testing.assert_allclose(ours, theirs, atol=EXACT)


def test_traces_leave_nothing_to_each_other() -> None:
    kept = CompositeOp._eigs
    for wires in (2, 3):  # two programs
        node = qml.QNode(twice(product), qml.device("varq.qubit", wires=wires))
        for ours, theirs in zip(node(0.3, 0.9), truth(product, 0.3, 0.9), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=EXACT)
    assert CompositeOp._eigs is kept


def test_traces_of_several_threads_leave_nothing_to_each_other() -> None:
    """Blocks that overlap: each finds its own until it ends, and PennyLane's store is the same before and after."""
    kept = CompositeOp._eigs
    first, second = Event(), Event()

    def other() -> bool:
        with found_anew():
            first.set()
            assert second.wait(60)
            CompositeOp._eigs["a name that is shared"] = "of another thread"
            return "a name that is shared" not in CompositeOp._eigs

    with ThreadPoolExecutor(1) as pool:
        with found_anew():
            found = pool.submit(other)
            assert first.wait(60)
            CompositeOp._eigs["a name that is shared"] = "ours"
            assert CompositeOp._eigs["a name that is shared"] == "ours"
        assert CompositeOp._eigs.store is kept  # the other block is open still
        assert "a name that is shared" not in CompositeOp._eigs
        second.set()
        assert found.result()
    assert CompositeOp._eigs is kept
    assert "a name that is shared" not in kept


def test_derivatives_where_eigenvalues_meet() -> None:
    @qml.qnode(qml.device("varq.qubit", wires=2), interface="jax")
    def circuit(a: Any) -> Any:
        rotations()
        return qml.var(qml.sum(qml.s_prod(a, qml.Hermitian(np.eye(2), 0)), qml.s_prod(a, qml.X(0))))

    with double():
        found = jax.grad(circuit)(jnp.asarray(0.5))
    np.testing.assert_allclose(found, 2 * 0.5 * moments(qml.X(0))[1], atol=EXACT)


@pytest.mark.parametrize("measured", [False, True])
def test_samples_of_sums_of_matrices(measured: bool) -> None:
    node = qml.QNode(twice(mixed, measured), qml.device("varq.qubit", wires=3, seed=3))
    found = qml.set_shots(node, SHOTS)(0.3, 0.9)
    wanted = truth(mixed, 0.3, 0.9)
    for ours, theirs in zip(found[:4], wanted[:4], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=SIGMAS * 1.5 / np.sqrt(SHOTS))  # eigenvalues are below 1.5
    for ours, theirs in zip(found[4:], wanted[4:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=SIGMAS * 0.5 / np.sqrt(SHOTS))


def test_samples_of_a_variance_of_a_sum_of_words() -> None:
    def circuit(a: Any) -> Any:
        rotations()
        return qml.var(qml.dot([a, 0.9], [qml.X(0), qml.Z(0)]))

    found = qml.set_shots(qml.QNode(circuit, qml.device("varq.qubit", wires=2, seed=4)), SHOTS)(0.3)
    wanted = moments(qml.dot([0.3, 0.9], [qml.X(0), qml.Z(0)]))[1]
    np.testing.assert_allclose(found, wanted, atol=SIGMAS * 1.5 / np.sqrt(SHOTS))


IMAGINARY = {
    "multiple": (lambda: 1j * qml.Z(0), r"Got 1j in 1j \* Z\(0\)"),
    "one of a sum": (lambda: qml.dot([1, 0.5j], [qml.Z(0), qml.X(0)]), r"Got 0\.5j in .*X\(0\)"),
    "product on one wire": (lambda: qml.X(0) @ qml.Y(0), r"Got 1j in X\(0\) @ Y\(0\)"),
    "multiple of a matrix": (lambda: qml.dot([1, 2j], [qml.X(0), qml.Hermitian(ONE, 1)]), r"Got 2j in"),
}


@pytest.mark.parametrize("shots", [None, 10])
@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", IMAGINARY)
def test_imaginary_coefficients_are_refused(name: str, measured: bool, shots: int | None) -> None:
    observable, said = IMAGINARY[name]

    @qml.set_shots(shots)
    @qml.qnode(qml.device("varq.qubit", wires=2))
    def circuit() -> Any:
        rotations()
        if measured:
            qml.measure(1)
        return qml.expval(observable())

    with pytest.raises(DeviceError, match=rf"must have real coefficients\. {said}.*imaginary part apart"):
        circuit()


def test_hermitian_products_with_an_imaginary_factor_are_taken() -> None:
    observable = qml.prod(qml.X(0), qml.Y(0)) * 1j + (0.5 + 1e-9j) * qml.X(1)  # -Z and, up to rounding, X/2

    @qml.qnode(qml.device("varq.qubit", wires=2))
    def circuit() -> Any:
        rotations()
        return qml.expval(observable)

    np.testing.assert_allclose(circuit(), moments(-qml.Z(0) + 0.5 * qml.X(1))[0], atol=EXACT)
