"""Postselection and readout errors of measured circuits, summed over branches and sampled."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError
from pennylane.ops import MeasurementValue
from pennylane.ops.mid_measure import MidMeasure
from simulator_branches import fits, law, record, run

from varq.simulator.measured.statistics import INVALID
from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64


def selected(x: float) -> Any:
    m0 = prepared(x)
    return qml.sample([m0]), qml.expval(qml.Z(1)), qml.probs(op=m0)


def alone(x: float) -> Any:
    return qml.probs(op=prepared(x))


def prepared(x: float) -> Any:
    qml.RX(x, 0)
    qml.RY(0.8, 1)
    m0 = qml.measure(0)
    qml.cond(m0, qml.RY)(1.1, 1)
    qml.measure(1, postselect=1)
    qml.RX(0.3, 1)
    return m0


@pytest.mark.parametrize("mode", [None, "hw-like", "fill-shots"])
def test_postselected_shots_have_the_conditional_law(mode: str | None) -> None:
    samples, mean, chances = run(selected, 1.2, shots=30000, key=6, postselect_mode=mode)
    tape = record(selected, 1.2)
    want = law(tape, 2, [MeasurementValue([next(op for op in tape.operations if isinstance(op, MidMeasure))])])
    np.testing.assert_allclose(run(alone, 1.2), want, atol=EXACT)
    assert (len(samples) == 30000) == (mode == "fill-shots")
    assert fits(np.bincount(np.asarray(samples)[:, 0], minlength=2), want)
    np.testing.assert_allclose(mean, -np.cos(0.3), atol=5 / np.sqrt(len(samples)))
    np.testing.assert_allclose(chances, np.bincount(np.asarray(samples)[:, 0]) / len(samples), atol=EXACT)


def test_traced_calls_mark_rejected_shots() -> None:
    samples, mean, _ = jax.jit(lambda key: run(selected, 1.2, shots=1000, key=key))(jax.random.key(6))
    plain_samples, plain_mean, _ = run(selected, 1.2, shots=1000, key=6)
    kept = np.asarray(samples)[np.asarray(samples)[:, 0] != INVALID]
    np.testing.assert_array_equal(kept, plain_samples)
    np.testing.assert_allclose(mean, plain_mean, atol=EXACT)
    padded = run(selected, 1.2, shots=1000, key=6, postselect_mode="pad-invalid-samples")[0]
    np.testing.assert_array_equal(padded, samples)


def test_impossible_postselection_is_no_number() -> None:
    def circuit() -> Any:
        m = qml.measure(0, postselect=1)
        return qml.expval(m), qml.probs(wires=[0]), qml.sample(wires=[0])

    mean, chances, samples = run(circuit, shots=10, key=0, postselect_mode="hw-like")
    assert np.isnan(mean)
    assert np.isnan(chances).all()
    assert samples.shape == (0, 1)


@pytest.mark.parametrize("first", [False, True])
def test_shots_that_cannot_be_filled_are_an_error(first: bool) -> None:
    """Where the first outcome is forced, and where shots are drawn again."""

    def circuit() -> Any:
        if not first:
            qml.Hadamard(1)
            qml.measure(1)
        m = qml.measure(0, postselect=1)
        return qml.expval(m)

    with pytest.raises(DeviceError, match=r"up to 1000 times until postselection accepts it\. Got 0 of 10 shots"):
        run(circuit, shots=10, key=0, postselect_mode="fill-shots")
    traced = jax.jit(lambda key: run(circuit, shots=10, key=key, postselect_mode="fill-shots"))
    assert np.isnan(traced(jax.random.key(0)))


@pytest.mark.parametrize("readout", [0.1, {0: (0.1, 0.2)}, {0: [[0.9, 0.2], [0.1, 0.8]]}])
def test_readout_errors_are_recorded_and_fed_forward(readout: Any) -> None:
    up, down = (0.1, 0.1) if readout == 0.1 else (0.1, 0.2)

    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        m = qml.measure(0)
        qml.cond(m, qml.X)(1)
        return qml.expval(m), qml.expval(qml.Z(1)), qml.expval(qml.Z(0)), qml.expval(qml.Z(0) @ qml.Z(1))

    one = np.sin(0.45) ** 2
    read = one * (1 - down) + (1 - one) * up
    right = one * (1 - down) + (1 - one) * (1 - up)
    want = [read, 1 - 2 * read, 1 - 2 * one, 2 * right - 1]
    np.testing.assert_allclose(run(circuit, 0.9, readout_error=readout), want, atol=EXACT)
    shots = 40000
    np.testing.assert_allclose(
        run(circuit, 0.9, readout_error=readout, shots=shots, key=1), want, atol=5 / np.sqrt(shots)
    )
    with double():
        slope = jax.grad(lambda x: run(circuit, x, readout_error=readout)[0])(0.9)
    assert abs(float(slope) - np.sin(0.9) / 2 * (1 - up - down)) < EXACT


@pytest.mark.parametrize("labels", [["a", "b"], None])
@pytest.mark.parametrize("idle", [{}, {"b": (0.3, 0.4)}])
def test_readout_errors_of_idle_wires_change_nothing(idle: dict[str, Any], labels: Any) -> None:
    """A device has one for each of its wires, and a circuit may use fewer of them."""

    @qml.qnode(qml.device("varq.qubit", wires=labels, readout_error={"a": (0.1, 0.2), **idle}))
    def circuit(x: Any) -> Any:
        qml.RX(x, "a")
        return qml.expval(qml.measure("a"))

    one = np.sin(0.45) ** 2
    assert abs(circuit(0.9) - (one * (1 - 0.2) + (1 - one) * 0.1)) < EXACT


@pytest.mark.parametrize("mode", ["hw-like", "fill-shots"])
def test_postselection_is_on_what_is_recorded(mode: str) -> None:
    def circuit() -> Any:
        qml.RX(0.9, 0)
        qml.measure(0, postselect=1)
        return qml.expval(qml.Z(0))

    one = np.sin(0.45) ** 2
    want = 1 - 2 * one * 0.8 / (one * 0.8 + (1 - one) * 0.2)
    assert abs(float(run(circuit, readout_error=0.2)) - want) < EXACT
    shots = 40000
    found = run(circuit, readout_error=0.2, shots=shots, key=1, postselect_mode=mode)
    assert abs(float(found) - want) < 8 / np.sqrt(shots)  # about a third of them are kept
