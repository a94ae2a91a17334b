"""What every ansatz owes: a round trip through its spec, a start, a shape, a drawing, and true frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from ansatze_truth import state
from pennylane import numpy as pnp

from varq import names, spec
from varq.ansatze.alternating import Alternating
from varq.ansatze.base import Ansatz
from varq.ansatze.conserving import GivensLayers
from varq.ansatze.coupled_cluster import UCCSD, KUpCCGSD
from varq.ansatze.custom import Circuit
from varq.ansatze.layered import HamiltonianVariational, HardwareEfficient
from varq.keys import Key

FIT = 1e-9  # least squares on a trigonometric polynomial with a dozen points
DERIVATIVE = 1e-7  # central differences with steps of 1e-4; third derivatives of these costs are of order 1


def own(params: Any) -> None:
    qml.RY(params[0, 0], 0)
    qml.RX(params[1, 0], 1)
    qml.CNOT([0, 1])


ISING = (("bonds", ((-1.0, "ZZI"), (-1.0, "IZZ"))), ("field", ((-0.5, "XII"), (-0.5, "IXI"), (-0.5, "IIX"))))
HOPPING = (
    ("hop", ((-0.5, "XZXI"), (-0.5, "YZYI"), (-0.5, "IXZX"), (-0.5, "IYZY"))),
    ("repel", ((1.0, "ZZII"), (1.0, "IIZZ"))),
)

ANSATZE = [
    UCCSD((1, 1), 2),
    UCCSD((2, 1), 3),
    KUpCCGSD((1, 1), 2, k=2),
    GivensLayers((1, 1), 3, depth=1),
    HardwareEfficient(3, depth=1),
    HardwareEfficient(2, depth=2, rotations=("RX",), entangler="CZ", pattern="all"),
    HamiltonianVariational(ISING, depth=2, start="plus"),
    HamiltonianVariational(HOPPING, depth=1, start="fermi-sea", electrons=(1, 1)),
    Alternating(((0.5, (0, 1)), (-1.0, (2,)), (0.25, (0, 1, 2))), wires=3, depth=2),
    Circuit(own, shape=(2, 1), wires=2),
    Circuit(own, shape=(2, 1), wires=2, start=[[0.1], [0.2]]),
]
every = pytest.mark.parametrize("ansatz", ANSATZE, ids=lambda a: f"{type(a).__name__}{a.shape}")


@every
def test_the_spec_survives_a_round_trip(ansatz: Any) -> None:
    again = spec.loads(spec.dumps(ansatz), objects={"own": own})
    assert again == ansatz
    assert hash(again) == hash(ansatz)
    assert spec.identity(again) == spec.identity(ansatz)
    assert spec.identity(ansatz)[1]
    assert np.array_equal(state(again, again.init(3), again.wires), state(ansatz, ansatz.init(3), ansatz.wires))


@every
def test_the_name_of_its_kind_leads_to_its_class(ansatz: Any) -> None:
    kind, name = ansatz.kind.split(":")
    assert names.find(kind, name) is type(ansatz)
    assert isinstance(ansatz, Ansatz)


@every
def test_the_start_is_a_function_of_the_key(ansatz: Any) -> None:
    start = ansatz.init(5)
    assert start.dtype == np.float64
    assert type(start) is np.ndarray
    assert start.shape == ansatz.shape
    assert start.size == ansatz.size
    assert np.array_equal(start, ansatz.init(Key.from_seed(5)))
    start[...] = 7
    assert not np.array_equal(start, ansatz.init(5))
    with pytest.raises(TypeError, match="key must be a varq Key or an integer seed"):
        ansatz.init("five")


@every
def test_other_shapes_are_refused(ansatz: Any) -> None:
    for wrong in (np.zeros(ansatz.size + 1), np.zeros((*ansatz.shape, 1)), 0.5):
        with pytest.raises(ValueError, match="must have shape"):
            ansatz(wrong)


@every
def test_it_cannot_be_changed_and_says_what_it_is(ansatz: Any) -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field"):
        ansatz.wires = 3
    assert ansatz.title
    assert "\n" not in ansatz.title


@every
def test_it_draws_all_its_wires(ansatz: Any) -> None:
    lines = ansatz.draw().splitlines()
    assert [int(line.split(":")[0]) for line in lines[: ansatz.wires]] == list(range(ansatz.wires))
    assert ansatz.draw(ansatz.init(0)) == ansatz.draw()


def observable(wires: int) -> Any:
    terms = [
        qml.X(k) @ qml.X(k + 1) @ qml.Z((k + 2) % wires) if wires > 2 else qml.X(k) @ qml.X(k + 1)
        for k in range(wires - 1)
    ]
    terms += [qml.Z(k) for k in range(wires)] + [qml.Y(0) @ qml.Y(1)]
    return qml.Hamiltonian(np.cos(1.0 + np.arange(len(terms))), terms)


def cost(ansatz: Any, device: str = "default.qubit", method: str = "backprop", interface: str = "autograd") -> Any:
    @qml.qnode(qml.device(device, wires=ansatz.wires), diff_method=method, interface=interface)
    def node(params: Any) -> Any:
        ansatz(params)
        return qml.expval(observable(ansatz.wires))

    return node


def somewhere(ansatz: Any) -> np.ndarray:
    return np.asarray(ansatz.init(1) + 0.7 * np.sin(1.0 + np.arange(ansatz.size)).reshape(ansatz.shape))


def directions(ansatz: Any) -> Iterator[np.ndarray]:
    for k in range(ansatz.size):
        yield np.eye(ansatz.size)[k].reshape(ansatz.shape)


@every
def test_the_cost_in_each_parameter_has_the_stated_frequencies(ansatz: Any) -> None:
    if ansatz.frequencies is None:
        assert isinstance(ansatz, (Alternating, Circuit, HamiltonianVariational))
        return
    node, point = cost(ansatz), somewhere(ansatz)
    points = np.linspace(0, 4 * np.pi, 2 * len(ansatz.frequencies) + 4, endpoint=False)
    waves = [np.ones_like(points)] + [f(w * points) for w in ansatz.frequencies for f in (np.cos, np.sin)]
    basis = np.stack(waves, axis=1)
    for along in list(directions(ansatz))[:6]:
        values = np.array([node(point + t * along) for t in points])
        fitted = basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
        assert np.abs(fitted - values).max() < FIT


@every
def test_adjoint_gradients_are_those_of_finite_differences(ansatz: Any) -> None:
    point, step, node = somewhere(ansatz), 1e-4, cost(ansatz)
    gradient = qml.grad(cost(ansatz, "lightning.qubit", "adjoint"))(pnp.array(point, requires_grad=True))
    for along in directions(ansatz):
        slope = (node(point + step * along) - node(point - step * along)) / (2 * step)
        assert abs(np.sum(gradient * along) - slope) < DERIVATIVE
