"""Gates of other people's classes: some are not unitary, and some have the name of a gate that they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane import numpy as pnp
from pennylane.exceptions import DeviceError
from pennylane.operation import Operation

from varq.ansatze.excitations import FermionicDouble, FermionicSingle
from varq.precision import double

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64


class Damped(Operation):
    """diag(1, exp(-angle)): no unitary matrix."""

    num_params = 1
    num_wires = 1
    ndim_params = (0,)

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        entries = [1.0 + 0 * angle, 0 * angle, 0 * angle, qml.math.exp(-angle)]
        return qml.math.cast(qml.math.reshape(qml.math.stack(entries), (2, 2)), complex)


def namesake(name: str, matrix: Callable[..., Any], parameters: int = 0) -> Any:
    """A class of that name with another matrix."""
    own = {"num_params": parameters, "ndim_params": (0,) * parameters, "compute_matrix": staticmethod(matrix)}
    return type(name, (Operation,), {"__module__": __name__, **own})


def turned(angle: Any) -> Any:
    """The matrix of RX for twice the angle."""
    return qml.RX.compute_matrix(2 * angle)


SX = namesake("SX", lambda: qml.RY.compute_matrix(0.4))
S = namesake("S", lambda: qml.RY.compute_matrix(0.4))
Identity = namesake("Identity", lambda: np.array([[0, 1], [1, 0]]))
Barrier = namesake("Barrier", lambda: np.array([[0, 1], [1, 0]]))
RZ = namesake("RZ", turned, 1)
U1 = namesake("U1", turned, 1)
MultiRZ = namesake("MultiRZ", turned, 1)
Single = namesake("FermionicSingle", qml.IsingXX.compute_matrix, 1)
Pair = type(
    "IsingZZ", (qml.IsingZZ,), {"__module__": __name__, "compute_matrix": staticmethod(qml.IsingXX.compute_matrix)}
)


def damping(x: Any) -> Any:
    """What `Damped` does."""
    return qml.math.diag([1.0, qml.math.exp(-x)])


Gate = Callable[[Any], Any]
GATES: dict[str, tuple[Gate, Gate]] = {
    "SX": (lambda x: SX(0), lambda x: qml.RY(0.4, 0)),
    "adjoint of S": (lambda x: qml.adjoint(S(0)), lambda x: qml.RY(-0.4, 0)),
    "controlled S": (lambda x: qml.ctrl(S(0), 1), lambda x: qml.CRY(0.4, [1, 0])),
    "Identity": (lambda x: Identity(0), lambda x: qml.X(0)),
    "Barrier": (lambda x: Barrier(0), lambda x: qml.X(0)),
    "RZ": (lambda x: RZ(x, 0), lambda x: qml.RX(2 * x, 0)),
    "U1": (lambda x: U1(x, 0), lambda x: qml.RX(2 * x, 0)),
    "MultiRZ": (lambda x: MultiRZ(x, 0), lambda x: qml.RX(2 * x, 0)),
    "FermionicSingle": (lambda x: Single(x, [0, 1]), lambda x: qml.IsingXX(x, [0, 1])),
    "subclass of IsingZZ": (lambda x: Pair(x, [0, 1]), lambda x: qml.IsingXX(x, [0, 1])),
    "damped": (lambda x: Damped(0.3, 0), lambda x: qml.QubitUnitary(damping(0.3), 0, unitary_check=False)),
    "damped by the parameter": (
        lambda x: Damped(x, 0),
        lambda x: qml.QubitUnitary(damping(x), 0, unitary_check=False),
    ),
    "controlled damped": (
        lambda x: qml.ctrl(Damped(0.3, 0), 1),
        lambda x: qml.QubitUnitary(np.diag([1, 1, 1, np.exp(-0.3)]), [1, 0], unitary_check=False),
    ),
    "adjoint of damped": (
        lambda x: qml.adjoint(Damped(0.3, 0)),
        lambda x: qml.QubitUnitary(damping(0.3), 0, unitary_check=False),
    ),
    "product with damped": (
        lambda x: qml.prod(Damped(0.3, 0), qml.RX(x, 1)),
        lambda x: [qml.QubitUnitary(damping(0.3), 0, unitary_check=False), qml.RX(x, 1)],
    ),
}
"""Other people's gates, and what they do in gates of PennyLane."""


def circuit(gate: Gate, device: str, interface: str = "jax") -> Any:
    @qml.qnode(qml.device(device, wires=3), interface=interface)
    def value(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(0.9, 1)
        qml.CNOT([0, 2])
        gate(x)
        qml.RX(2 * x, 0)
        return qml.expval(qml.Z(0) @ qml.Z(1) + 0.4 * qml.X(0) @ qml.Z(2))

    return value


@pytest.mark.parametrize("name", some(GATES, "Identity", "RZ", "damped", "controlled S"))
def test_values_and_derivatives(name: str) -> None:
    with double():
        x = jnp.asarray(0.4)
        ours, truth = (circuit(g, d) for g, d in zip(GATES[name], ("varq.qubit", "default.qubit"), strict=True))
        expected = jax.value_and_grad(truth)(x)
        np.testing.assert_allclose(jax.value_and_grad(ours)(x), expected, atol=EXACT)
        np.testing.assert_allclose(jax.jit(jax.value_and_grad(ours))(x), expected, atol=EXACT)
        np.testing.assert_allclose(jax.hessian(ours)(x), jax.hessian(truth)(x), atol=EXACT)
    slope = qml.grad(circuit(GATES[name][0], "varq.qubit", "autograd"))(pnp.array(0.4, requires_grad=True))
    np.testing.assert_allclose(slope, expected[1], atol=EXACT)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_matrix_that_is_unitary_in_one_place_has_second_derivatives(compiled: bool) -> None:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    there = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))[0]

    def gate(x: Any) -> Any:
        return qml.QubitUnitary(there + x * direction, wires=[0, 1], unitary_check=False)

    with double():
        ours, truth = (jax.hessian(circuit(gate, d)) for d in ("varq.qubit", "default.qubit"))
        np.testing.assert_allclose((jax.jit(ours) if compiled else ours)(jnp.asarray(0.0)), truth(0.0), atol=EXACT)


class Kept(Operation):
    """A gate with an attribute that nothing lists."""

    num_params = 0
    num_wires = 1

    def __init__(self, wires: Any, flips: bool = False) -> None:
        self.flips = flips
        self.asked = 0
        super().__init__(wires=wires)

    @property
    def has_matrix(self) -> bool:
        return True

    def matrix(self, wire_order: Any = None) -> Any:
        """X or the identity."""
        self.asked += 1  # which makes no other operation of it
        return qml.math.expand_matrix(qml.X.compute_matrix() if self.flips else np.eye(2), self.wires, wire_order)


class Asking(Kept):
    """The same, which cannot be made without it."""

    def __init__(self, flips: bool, wires: Any) -> None:
        super().__init__(wires, flips)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda: Kept(0, True), r"Kept is rebuilt from its data.*Got the attributes \['flips'"),
        (lambda: qml.ctrl(Kept(0, True), 1), r"Kept is rebuilt from its data.*Got the attributes \['flips'"),
        (lambda: Asking(False, 0), r"Asking is rebuilt from its data.*Got arguments of its constructor.*_flatten"),
    ],
)
def test_gates_that_are_more_than_they_list_are_refused(operation: Any, message: str, measured: bool) -> None:
    @qml.qnode(qml.device("varq.qubit", wires=3))
    def value() -> Any:
        if measured:
            qml.measure(2)
        operation()
        return qml.expval(qml.Z(0))

    with pytest.raises(DeviceError, match=message):
        value()


def test_what_a_gate_remembers_makes_no_other_of_it() -> None:
    @qml.qnode(qml.device("varq.qubit", wires=1))
    def value() -> Any:
        Kept(0).matrix()
        return qml.expval(qml.Z(0))

    np.testing.assert_allclose(value(), 1, atol=EXACT)


@pytest.mark.parametrize("kind", [RZ, U1])
def test_namesakes_with_angles_from_outcomes(kind: Any) -> None:
    @qml.qnode(qml.device("varq.qubit", wires=2))
    def value() -> Any:
        qml.Hadamard(0)
        found = qml.measure(0)
        kind(0.7 * found, 1)
        return qml.expval(qml.Z(1))

    np.testing.assert_allclose(value(), (1 + np.cos(1.4)) / 2, atol=EXACT)  # RX(1.4) in one branch of two


def test_namesakes_among_measurements() -> None:
    @qml.qnode(qml.device("varq.qubit", wires=2))
    def value() -> Any:
        Identity(0)
        found = qml.measure(0)
        qml.cond(found, Barrier)(1)
        return qml.expval(qml.Z(0)), qml.expval(qml.Z(1))

    np.testing.assert_allclose(value(), [-1, -1], atol=EXACT)  # both flip


@pytest.mark.parametrize("kind", [FermionicSingle, FermionicDouble])
def test_the_packages_own_gates_are_known(kind: Any) -> None:
    wires = range(2 * kind.electrons + 1)

    @qml.qnode(qml.device("varq.qubit", wires=wires))
    def state() -> Any:
        qml.BasisState([1] * kind.electrons + [0] * (kind.electrons + 1), wires=wires)
        kind(0.6, wires=wires)
        return qml.state()

    with qml.tape.QuantumTape() as tape:
        kind(0.6, wires=wires)
    device = qml.device("varq.qubit", wires=wires)
    stages = device.preprocess_transforms(device.setup_execution_config())
    assert stages((tape,))[0][0].operations == tape.operations
    there = int("1" * kind.electrons + "0" * (kind.electrons + 1), 2)
    gone = int("0" * kind.electrons + "1" * kind.electrons + "0", 2)
    np.testing.assert_allclose(np.abs(state()[[there, gone]]), [np.cos(0.3), np.sin(0.3)], atol=EXACT)
