"""What `explain` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.simulator import explain
from varq.simulator.roofline import Rates

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

DEVICE = qml.device("varq.qubit", wires=6)


def conserving(x: Any) -> Any:
    qml.BasisState([1, 1, 0, 0, 0, 0], wires=range(6))
    qml.DoubleExcitation(x[0], wires=[0, 1, 2, 3])
    qml.SingleExcitation(x[1], wires=[0, 4])
    return qml.expval(qml.Z(0) @ qml.Z(3))


def repeated(x: Any) -> Any:
    for _ in range(4):
        for w in range(6):
            qml.RY(x[0], w)
        for w in range(6):
            qml.CNOT([w, (w + 1) % 6])
    return qml.expval(qml.Z(0))


def alternating(x: Any) -> Any:
    for w in range(6):
        qml.Hadamard(w)
    for _ in range(4):
        for w in range(6):
            qml.IsingZZ(x[0], wires=[w, (w + 2) % 6])
        for w in range(6):
            qml.RX(x[1], w)
    return qml.expval(qml.Z(0) @ qml.Z(1))


def plain(x: Any) -> Any:
    qml.RX(x[0], 0)
    qml.CNOT([0, 4])
    qml.Rot(x[0], x[1], 0.3, wires=4)
    return qml.probs(wires=[0])


def measured(x: Any) -> Any:
    qml.RX(x[0], 0)
    outcome = qml.measure(0, reset=True)
    qml.cond(outcome, qml.RY)(x[1], 1)
    return qml.expval(qml.Z(1))


@pytest.mark.parametrize(
    ("circuit", "path", "said"),
    [
        (conserving, "sector", "amplitudes"),
        (repeated, "layers", "4 repeats of 12 gates cover 48 of 48 gates"),
        (alternating, "alternating", "a diagonal cost and a product mixer"),
        (plain, "general", "other measurements go by the whole state"),
        (measured, "measured", "every branch of outcomes is summed"),
    ],
)
def test_each_path_is_named(
    circuit: Callable[[Any], Any], path: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explain(qml.QNode(circuit, DEVICE))(np.array([0.3, 0.4]))
    printed = capsys.readouterr().out
    assert printed == f"{found}\n"
    assert said in printed
    (part,) = found.parts
    assert part.path == path
    assert repr(found) == f"<Explanation: {path}>"
    if path != "measured":
        assert part.facts["amplitudes"] <= 64
        assert {"trace", "compile", "run"} <= set(part.seconds)
        assert all(value >= 0 for value in part.seconds.values())
        assert part.expected is not None
        assert part.expected > 0


def test_the_sector_is_as_small_as_what_can_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain(qml.QNode(conserving, DEVICE))(np.array([0.3, 0.4]))
    assert found.parts[0].facts["amplitudes"] == 3  # 110000, and what two excitations make of it: 001100, 010010
    assert "sector" in capsys.readouterr().out


def test_another_device_is_refused() -> None:
    qnode = qml.QNode(plain, qml.device("default.qubit", wires=6))
    with pytest.raises(ValueError, match=r"explain takes a QNode on varq\.qubit\. Got default\.qubit"):
        explain(qnode)
    with pytest.raises(ValueError, match="Make the QNode with"):
        explain(plain)


def test_the_longer_bound_counts() -> None:
    rates = Rates(bandwidth=10.0, operations=100.0)
    assert rates.seconds(20.0, 100.0) == 2.0
    assert rates.seconds(20.0, 500.0) == 5.0


@pytest.mark.parametrize(("precision", "width"), [("double", 8), ("single", 4)])
def test_bytes_are_those_of_the_precision_that_is_asked_for(precision: str, width: int) -> None:
    device = qml.device("varq.qubit", wires=6, precision=precision)
    whole = explain(qml.QNode(repeated, device))(np.array([0.3])).parts[0].facts
    assert whole["state_bytes"] == 2 * width * 2**6
    assert whole["stored_bytes"] % whole["state_bytes"] == 0
    assert whole["stored_bytes"] > 0
    assert whole["bytes_per_gradient"] % (2 * width * 2**6) == 0
    sector = explain(qml.QNode(conserving, device))(np.array([0.3, 0.4])).parts[0].facts
    assert sector["arithmetic"] == "real"
    assert sector["state_bytes"] == width * 3


def test_bytes_halve_with_the_precision() -> None:
    moved = []
    for precision in ("double", "single"):
        device = qml.device("varq.qubit", wires=6, precision=precision)
        moved.append(explain(qml.QNode(repeated, device))(np.array([0.3])).parts[0].facts)
    for name in ("state_bytes", "stored_bytes", "bytes_per_gradient"):
        assert moved[0][name] == 2 * moved[1][name]
