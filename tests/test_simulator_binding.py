"""Other numbers in a tape leave all else as it was: every operation bound to its own numbers is itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from simulator_tapes import CHANGES, EVERY, MARKS, build

from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Value
from varq.simulator.binding import bound

pytestmark = pytest.mark.flagless  # matrices are compared in NumPy

EXACT = 1e-9
FLIP = np.array([[0.0, 1.0], [1.0, 0.0]])


# PennyLane itself refuses to bind an evolution's listed numbers, by an IndexError.
BINDABLE = [name for name in EVERY if name not in MARKS and not name.startswith("evolution")]


@pytest.mark.parametrize("name", BINDABLE)
def test_every_operation_is_itself(name: str) -> None:
    for change in CHANGES:
        for seed in range(3):
            op = build(name, change, 5, seed)
            if not op.has_matrix:
                continue
            (again,) = bound(QuantumScript([op]), op.data, range(len(op.data))).operations
            wires = list(op.wires)
            np.testing.assert_allclose(qml.matrix(again, wires), qml.matrix(op, wires), atol=EXACT)


def gate(matrix: Any) -> Any:
    return qml.ControlledQubitUnitary(matrix, wires=[0, 1], control_values=[0])


NESTED: list[Any] = [
    gate,
    lambda u: qml.adjoint(gate(u)),
    lambda u: qml.adjoint(qml.adjoint(gate(u), lazy=True), lazy=True),
    lambda u: qml.prod(gate(u), qml.X(0)),
    lambda u: qml.ctrl(qml.prod(gate(u), qml.Z(1)), 2, control_values=[0]),
    lambda u: qml.pow(gate(u), 2, lazy=True),
    lambda u: qml.s_prod(1j, gate(u)),
]


@pytest.mark.parametrize("made", NESTED, ids=range(len(NESTED)))
def test_control_values_stay_within_other_operations(made: Any) -> None:
    op = made(FLIP)
    places = [k for k, value in enumerate(op.data) if np.shape(value) == (2, 2)]
    turned = qml.matrix(qml.RX(0.4, 0))
    (again,) = bound(QuantumScript([op]), [turned] * len(places), places).operations
    np.testing.assert_allclose(qml.matrix(again, [0, 1, 2]), qml.matrix(made(turned), [0, 1, 2]), atol=EXACT)


@pytest.mark.parametrize("shots", [None, 20])
@pytest.mark.parametrize("conditional", [False, True])
def test_measured_circuits_keep_control_values(conditional: bool, shots: int | None) -> None:
    """The control is 0 and the condition holds, so the flip acts."""

    @qml.set_shots(shots)
    @qml.qnode(qml.device("varq.qubit", wires=3, seed=1))
    def circuit() -> Any:
        qml.X(2)
        outcome = qml.measure(2)
        if conditional:
            qml.cond(outcome, qml.ControlledQubitUnitary)(FLIP, wires=[0, 1], control_values=[0])
        else:
            gate(FLIP)
        return qml.expval(qml.Z(1))

    assert circuit() == pytest.approx(-1)


def test_costs_keep_control_values() -> None:
    def circuit(x: Any) -> None:
        qml.ControlledQubitUnitary(qml.RX.compute_matrix(x[0]), wires=[0, 1], control_values=[0])

    for device in ("varq.qubit", "default.qubit"):
        for shots in (None, 50):
            cost = Nodes(device, shots=shots).cost(circuit, qml.Z(1), wires=2, shape=(1,))
            assert cost.evaluate(Value(np.array([np.pi])), Key.from_seed(0)).value == pytest.approx(-1)
