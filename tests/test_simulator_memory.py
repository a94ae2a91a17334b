"""What the gradient of an expectation value holds at once, by XLA's account, as circuits get deeper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from varq.simulator.execution import expectations
from varq.simulator.lowering import lower
from varq.simulator.observables import pauli_sum
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

SHALLOW, DEEP = 8, 40
PART = 1 / 4  # of a state: what grows by less for each layer keeps no states
MATRIX = 2 * 16 * 16 * 8  # bytes of a gate's matrix, filled up to four wires
MATRICES = 8  # of each gate, as docs/simulator.md says: it, its products with its neighbors, and their slopes


def hardware(x: Any, wires: int) -> list[Any]:
    turns = [qml.RY(x[w], w) for w in range(wires)] + [qml.RZ(x[wires + w], w) for w in range(wires)]
    return [*turns, *(qml.CNOT([w, (w + 1) % wires]) for w in range(wires))]


def alternating(x: Any, wires: int) -> list[Any]:
    gamma, beta = x[:2]
    cost = [qml.IsingZZ(gamma, wires=[w, (w + 1) % wires]) for w in range(wires)]
    return [*cost, *(qml.RX(beta, w) for w in range(wires))]


def conserving(x: Any, wires: int) -> list[Any]:
    return [qml.SingleExcitation(x[w], wires=[w, w + 1]) for w in range(wires - 1)]


def temporary(layer: Callable[[Any, int], list[Any]], wires: int, depth: int, path: str) -> tuple[int, Any]:
    """Bytes that a gradient takes besides its inputs and results, and the engine's facts."""
    options = Options(path=path, stored_bytes=0)
    sums, coefficients = pauli_sum(qml.Z(0) @ qml.Z(1), range(wires))
    start = qml.BasisState([1, 0] * (wires // 2), wires=range(wires))
    rows = jnp.full((depth, 2 * wires), 0.1)
    found: dict[str, Any] = {}

    def cost(x: Any) -> Any:
        with qml.QueuingManager.stop_recording():
            gates = [gate for row in x for gate in layer(row, wires)]
            circuit, numbers = lower(QuantumScript([start, *gates]), range(wires))
        found.update(engine(circuit, options).facts, path=engine(circuit, options).path)
        return expectations(circuit, numbers, (sums,), (coefficients,), options)[0]

    made = jax.jit(jax.grad(cost)).lower(rows).compile()
    return made.memory_analysis().temp_size_in_bytes, found


@pytest.mark.parametrize(
    ("layer", "wires", "path"),
    [
        pytest.param(hardware, 14, "layers", marks=pytest.mark.full),
        (alternating, 14, "layers"),
        (conserving, 14, "sector"),
    ],
)
def test_layers_add_no_states(layer: Callable[[Any, int], list[Any]], wires: int, path: str) -> None:
    with double():
        (less, facts), (more, deep) = (temporary(layer, wires, depth, path) for depth in (SHALLOW, DEEP))
    assert deep["path"] == ("alternating" if layer is alternating else path)
    assert less > facts["state_bytes"]
    assert more - less < (DEEP - SHALLOW) * PART * facts["state_bytes"]


@pytest.mark.full
def test_blocks_of_the_general_path_add_their_matrices() -> None:
    with double():
        (less, facts), (more, deep) = (temporary(hardware, 14, depth, "general") for depth in (SHALLOW, DEEP))
    grown = (more - less) / (deep["gates"] - facts["gates"])
    assert MATRIX < grown < MATRICES * MATRIX < PART * facts["state_bytes"]
