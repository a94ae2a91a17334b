"""Costs estimated from shots: how many each group gets, and how errors combine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.estimation.shots import LEAST_SHOTS
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Value

pytestmark = pytest.mark.flagless

KEY = Key.from_seed(3)
HAMILTONIAN = qml.dot([0.5, 0.25], [qml.Z(0), qml.X(0)])  # two groups


def cost(shots: int) -> Any:
    return Nodes("default.qubit", shots).cost(lambda x: qml.RY(x[0], 0), HAMILTONIAN, 1, (1,))


@pytest.mark.parametrize(("shots", "precision", "total"), [(1, 1.0, 2), (1, 3.0, 6), (2, 1.0, 4), (100, 1e-3, 4)])
def test_shots_are_those_that_are_asked_for(shots: int, precision: float, total: int) -> None:
    """One shot is one; more are never lowered below what shows a spread."""
    given = [circuit.shots for circuit in cost(shots).prepare(Value(np.zeros(1)), KEY, precision).circuits]
    assert sum(given) == total
    assert min(given) >= min(shots, LEAST_SHOTS)


def test_one_shot_has_the_error_bar_of_what_is_known_before() -> None:
    """Of each group the standard deviation in the maximally mixed state, which is the size of its coefficient."""
    reply = cost(1).evaluate(Value(np.zeros(1)), KEY)
    assert reply.stderr == pytest.approx(np.hypot(0.5, 0.25))
