"""What varq.qubit refuses before it makes it: more states at once than memory can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError
from pennylane.ops.mid_measure import MidMeasure
from pennylane.tape import QuantumScript

from varq.simulator import log_likelihood
from varq.simulator.measured.sizes import sizes

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

WIRES = 6
STATE = 2 * 8 * 2**WIRES  # bytes: real and imaginary part in float64
HELD = 3  # states that the memory of these tests holds, before and after a step


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.simulator.limits.memory_bytes", lambda: 2 * HELD * STATE)


def measured(count: int, shots: int | None = None) -> Any:
    @qml.set_shots(shots)
    @qml.qnode(qml.device("varq.qubit", wires=WIRES, seed=1))
    def circuit() -> Any:
        for w in range(WIRES):
            qml.X(w)
        for w in range(count):
            qml.measure(w)
        return qml.expval(qml.Z(WIRES - 1))

    return circuit


def test_branches_that_memory_cannot_hold_together_are_refused() -> None:
    assert measured(1)() == pytest.approx(-1)  # two branches
    with pytest.raises(
        DeviceError, match=rf"each branch.*Got 4 of 6 wires, {4 * STATE:,} bytes.*qml\.set_shots.*fewer branches"
    ):
        measured(2)()


def test_records_that_memory_cannot_hold_together_are_refused() -> None:
    ones = np.ones((HELD, 2), int)
    np.testing.assert_allclose(log_likelihood(measured(2))(ones), 0, atol=1e-12)  # each is sure
    with pytest.raises(DeviceError, match=r"each record.*Got 4 of 6 wires.*Use fewer records at once"):
        log_likelihood(measured(2))(np.ones((HELD + 1, 2), int))


def test_shots_come_in_chunks_that_memory_holds() -> None:
    """A chunk has 64 shots at least, but where so many states do not fit."""
    tape = QuantumScript([MidMeasure(0)], [qml.expval(qml.Z(0))], shots=100)
    assert sizes(tape, range(WIRES)).facts["columns"] == HELD
    assert measured(2, 10)() == pytest.approx(-1)
