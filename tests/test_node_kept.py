"""Compiled costs that are kept weigh what they hold of the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.ansatze import GivensLayers
from varq.node import compiled, together
from varq.node.nodes import Nodes
from varq.node.together import Together
from varq.protocol import Value
from varq.simulator.sector.basis import Basis

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

WIRES = 4
REGISTER = 4 * 2**WIRES  # bytes of the table over the register: 32-bit places of all basis states


def test_a_basis_weighs_all_that_it_holds() -> None:
    states = np.array([1, 2, 4])
    assert sum(array.nbytes for array in Basis(states, WIRES).arrays) == 3 * 8 + REGISTER
    wide = Basis(states, 40)
    assert wide.table is None
    assert sum(array.nbytes for array in wide.arrays) == 3 * (8 + 8 + 8)  # as they come, sorted, and their order


@pytest.mark.parametrize("seated", [False, True])
def test_costs_weigh_the_tables_that_their_functions_hold(seated: bool) -> None:
    store: Any = together._programs if seated else compiled._functions
    store.clear()
    ansatz = GivensLayers(electrons=(1, 1), orbitals=2, depth=1)
    costs = Together(1)
    nodes = costs.seat(0) if seated else Nodes("varq.qubit")
    nodes.cost(ansatz, qml.Z(0) @ qml.Z(1), WIRES, ansatz.shape)
    if seated:
        costs.evaluate({0: Value(np.zeros(ansatz.shape))})
    assert len(store) == 1
    assert store.held_bytes() > REGISTER
