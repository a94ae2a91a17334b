"""The least bytes and operations of a gradient, counted by hand."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from varq.simulator.circuit import Circuit
from varq.simulator.execution import facts
from varq.simulator.least import HELD, PAIR, PHASE, SLOPE, circuit_work, observable_work
from varq.simulator.lowering import lower
from varq.simulator.observables import PauliSum, pauli_sum
from varq.simulator.paths import PATHS, Options

pytestmark = pytest.mark.flagless  # nothing is computed

ROTATION = 3 * PAIR + SLOPE  # forwards, back twice, and the slope by its angle
TURN = 3 * PHASE + SLOPE


def circuit(gates: list[qml.operation.Operator], wires: int) -> Circuit:
    return lower(QuantumScript(gates), range(wires))[0]


def test_a_layer_by_hand() -> None:
    angle = np.float64(0.3)
    layer = [*(qml.IsingZZ(angle, wires=[w, w + 1]) for w in range(5)), *(qml.RX(angle, w) for w in range(6))]
    one, two = (circuit([*map(qml.Hadamard, range(6)), *times * layer], 6) for times in (1, 2))
    # Six wires fit into a cache: the state is written (1), and two states are read (2).
    assert circuit_work(one).passes == circuit_work(two).passes == 3
    assert circuit_work(one).operations == 6 * 3 * PAIR + TURN + 6 * ROTATION
    assert circuit_work(two).operations == 6 * 3 * PAIR + 2 * (TURN + 6 * ROTATION)


def test_how_gates_are_made_of_others_adds_nothing() -> None:
    """Neither signs nor exchanges are arithmetic, and a word of any length rotates pairs."""
    free = [qml.CNOT([0, 1]), qml.CZ([0, 1]), qml.S(2), qml.Z(0), qml.SWAP([1, 2]), qml.Toffoli([0, 1, 2])]
    assert circuit_work(circuit(free, 3)).operations == 0
    assert circuit_work(circuit([qml.T(0), qml.T(1)], 3)).operations == 3 * PHASE
    assert circuit_work(circuit([qml.PauliRot(0.3, "XYZ", wires=[0, 1, 2])], 3)).operations == ROTATION
    assert circuit_work(circuit([qml.DoubleExcitation(0.3, wires=range(4))], 4)).operations == ROTATION / 8


def test_phases_that_commute_with_what_stands_between_are_one() -> None:
    both = [qml.RZ(0.1, 0), qml.RY(0.2, 1), qml.RZ(0.3, 2)]
    assert circuit_work(circuit(both, 3)).operations == TURN + ROTATION
    apart = [qml.RZ(0.1, 0), qml.RY(0.2, 0), qml.RZ(0.3, 0)]
    assert circuit_work(circuit(apart, 3)).operations == 2 * TURN + ROTATION


def test_sweeps_of_a_wide_register() -> None:
    def passes(wires: int) -> float:
        return circuit_work(circuit([qml.RY(0.1, w) for w in range(wires)], wires)).passes

    def run(wires: int) -> float:
        return circuit_work(circuit([qml.RY(0.1, w) for w in range(wires)], wires), gradient=False).passes

    assert (run(HELD), run(HELD + 1)) == (2, 4)  # forwards 1 and 3, and read once by what is measured
    assert passes(HELD) == 3
    assert passes(HELD + 1) == 2 * 6 - 3  # forwards 1 and 2, back 4 and 2


def test_words_that_flip_the_same_bits_are_one_product() -> None:
    diagonal = PauliSum(2, ((0, 1), (0, 2), (0, 3)))
    assert observable_work(diagonal) == (2, 2 + SLOPE)
    assert observable_work(PauliSum(2, ((0, 1), (3, 0), (3, 3)))) == (2, 2 + 4 + 2 + SLOPE)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_workload_whatever_path_runs_it(dtype: str) -> None:
    gates = [qml.RY(0.1, w) for w in range(5)] + [qml.CNOT([0, 1]), qml.RY(0.2, 0)]
    sums, _ = pauli_sum(qml.Z(0) @ qml.Z(1) + qml.X(2), range(5))
    width = np.dtype(dtype).itemsize
    for path in set(PATHS) - {"sector"}:
        found = facts(circuit(gates, 5), (sums,), Options(path=path, dtype=dtype))
        assert found["bytes_per_gradient"] == (3 + 2) * 2 * width * 2**5
        assert found["operations_per_gradient"] == (6 * ROTATION + 2 + 4 + 2 + SLOPE) * 2**5
        assert found["bytes_per_run"] == 2 * 2 * width * 2**5
        assert found["operations_per_run"] == 6 * PAIR * 2**5


def test_a_sector() -> None:
    """|10> and |01>: one pair, rotated once; an observable with two elements on the diagonal and two beside it."""
    gates = [qml.BasisState([1, 0], wires=range(2)), qml.SingleExcitation(0.3, wires=[0, 1])]
    sums, _ = pauli_sum(qml.Z(0) + qml.X(0) @ qml.X(1), range(2))
    found = facts(circuit(gates, 2), (sums,), Options(path="sector"))
    assert found["arithmetic"] == "real"
    assert found["bytes_per_gradient"] == 3 * 2 * 8 * 2 + 2 * 8 * 2
    assert found["bytes_per_run"] == 2 * 8 * 2 + 8 * 2
    assert found["operations_per_run"] == PAIR
    assert found["operations_per_gradient"] == 3 * PAIR + SLOPE + 2 * 4 + 2 * SLOPE / 2
