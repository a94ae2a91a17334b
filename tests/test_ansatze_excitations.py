"""Fermionic excitations against matrix exponentials of Jordan-Wigner matrices."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from ansatze_truth import ROUNDING, rotation, state
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane import numpy as pnp

from varq.ansatze.excitations import (
    FermionicDouble,
    FermionicSingle,
    excite,
    expand_excitations,
    parity_wires,
)
from varq.precision import double

WIRES = 7
ANGLES = st.floats(-7, 7)
DERIVATIVE = 1e-8  # central differences with steps of 1e-4 on a function of size 1


@st.composite
def excitations(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    electrons = draw(st.sampled_from((1, 2)))
    chosen = draw(st.permutations(range(WIRES)))[: 2 * electrons]
    return tuple(sorted(chosen[:electrons])), tuple(sorted(chosen[electrons:]))


def matrix_of(operations: list[Any]) -> Any:
    return qml.matrix(qml.tape.QuantumScript(operations), wire_order=range(WIRES))


@given(excitation=excitations(), angle=ANGLES)
def test_an_excitation_is_the_exponential_of_its_fermionic_generator(excitation: Any, angle: float) -> None:
    gate = excite(angle, excitation)
    assert np.abs(matrix_of(gate.decomposition()) - rotation(angle, excitation, WIRES)).max() < ROUNDING


@given(excitation=excitations(), angle=ANGLES)
def test_the_adjoint_turns_back_and_powers_turn_further(excitation: Any, angle: float) -> None:
    gate = excite(angle, excitation)
    there_and_back = matrix_of([*gate.decomposition(), *qml.adjoint(gate).decomposition()])
    assert np.abs(there_and_back - np.eye(2**WIRES)).max() < ROUNDING
    (twice,) = gate.pow(2)
    assert np.abs(matrix_of(twice.decomposition()) - rotation(2 * angle, excitation, WIRES)).max() < ROUNDING


@settings(max_examples=10)
@given(chain=st.lists(st.tuples(excitations(), ANGLES), min_size=1, max_size=6), between=st.integers(0, 5))
def test_expanding_keeps_the_circuit_and_never_adds_gates(chain: Any, between: int) -> None:
    operations = [excite(angle, e) for e, angle in chain]
    operations.insert(min(between, len(operations)), qml.RX(0.3, 2))
    (tape,), _ = expand_excitations(qml.tape.QuantumScript(operations))
    plain = [part for op in operations for part in (op.decomposition() if op.name.startswith("Fermi") else [op])]
    assert np.abs(matrix_of(tape.operations) - matrix_of(plain)).max() < ROUNDING
    assert len(tape.operations) <= len(plain)


def circuit(params: Any) -> None:
    qml.BasisState([1, 1, 1, 0, 0, 0], wires=range(6))
    for k, excitation in enumerate([((0,), (4,)), ((1, 2), (3, 5)), ((0, 1), (4, 5)), ((2,), (4,))]):
        excite(params[k], excitation)


def cost(device: str, method: str, transform: bool = False, interface: str = "autograd") -> Any:
    @qml.qnode(qml.device(device, wires=6), diff_method=method, interface=interface)
    def node(params: Any) -> Any:
        circuit(params)
        return qml.expval(qml.Z(0) @ qml.Z(3) + 0.7 * qml.X(1) @ qml.Z(2) @ qml.X(3) + 0.2 * qml.Z(4))

    return expand_excitations(node) if transform else node


POINT = np.array([0.4, -0.9, 1.3, 0.2])


def differences() -> np.ndarray:
    node, step = cost("default.qubit", "backprop"), 1e-4
    out = [(node(POINT + step * e) - node(POINT - step * e)) / (2 * step) for e in np.eye(4)]
    return np.array(out)


@pytest.mark.parametrize("transform", [False, True])
@pytest.mark.parametrize(
    ("device", "method"),
    [
        ("default.qubit", "backprop"),
        ("default.qubit", "adjoint"),
        ("default.qubit", "parameter-shift"),
        ("lightning.qubit", "adjoint"),
        ("lightning.qubit", "parameter-shift"),
    ],
)
def test_gradients_are_those_of_finite_differences(device: str, method: str, transform: bool) -> None:
    gradient = qml.grad(cost(device, method, transform))(pnp.array(POINT, requires_grad=True))
    assert np.abs(gradient - differences()).max() < DERIVATIVE


def test_jax_compiles_and_differentiates_it() -> None:
    with double():
        gradient = jax.jit(jax.grad(cost("default.qubit", "backprop", interface="jax")))(jax.numpy.asarray(POINT))
        assert np.abs(np.asarray(gradient) - differences()).max() < DERIVATIVE


def test_lightning_prepares_the_state_of_default_qubit() -> None:
    gap = state(circuit, POINT, 6, "lightning.qubit") - state(circuit, POINT, 6)
    assert np.abs(gap).max() < ROUNDING


@pytest.mark.filterwarnings("error")
def test_the_graph_based_decomposition_knows_the_rules() -> None:
    before = state(circuit, POINT, 6)
    qml.decomposition.enable_graph()
    try:
        after = state(circuit, POINT, 6)
    finally:
        qml.decomposition.disable_graph()
    assert np.abs(after - before).max() < ROUNDING


@given(ends=st.lists(st.integers(0, 30), min_size=4, max_size=4, unique=True))
def test_the_parity_string_holds_what_lies_above_an_odd_number_of_ends(ends: list[int]) -> None:
    odd = {k for k in range(31) if k not in ends and sum(e < k for e in ends) % 2}
    assert set(parity_wires(*ends)) == odd


@pytest.mark.parametrize(
    "excitation", [((0,), (0,)), ((1, 0), (2, 3)), ((0, 1), (3, 2)), ((0, 1), (1, 2)), ((0,), (1, 2)), ((), ())]
)
def test_malformed_excitations_are_refused(excitation: Any) -> None:
    with pytest.raises(ValueError, match="must be two ascending tuples of one or two spin orbitals"):
        excite(0.1, excitation)


def test_too_few_wires_are_refused() -> None:
    with pytest.raises(ValueError, match=r"FermionicSingle needs at least 2 wires\. Got 1"):
        FermionicSingle(0.1, wires=[0])
    with pytest.raises(ValueError, match=r"FermionicDouble needs at least 4 wires\. Got 3"):
        FermionicDouble(0.1, wires=[0, 1, 2])


def test_drawings_name_the_gates() -> None:
    assert "F2(1.30)" in qml.draw(circuit)(POINT)
    assert "F1(0.40)" in qml.draw(circuit)(POINT)
