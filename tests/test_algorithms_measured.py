"""Circuits that measure and decide: what they promise, exactly and in every branch; and what training adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.ops import Conditional
from simulator_branches import branches, mixture, record

from varq.algorithms import minimize
from varq.algorithms.measured import (
    PoolingNetwork,
    adaptive_discrimination,
    cluster_ising_state,
    fused_ghz,
    helstrom_bound,
    locally_optimal_angles,
    repeated_v_gate,
    teleport,
)
from varq.optimizers import Optax
from varq.protocol import Stop
from varq.simulator import log_likelihood, reuse_qubits

EXACT = 1e-10  # linear algebra in float64
TRAINED = 2e-3  # what a short training leaves
SIGMAS = 4  # a false alarm in one of 16,000, for each number; the seed is fixed
QUIET: dict[str, Any] = {"store": None, "progress": False}


def projector(state: Any) -> np.ndarray:
    return np.outer(state, np.conj(state))


def test_teleportation_moves_any_state_and_its_entanglement() -> None:
    """Half of an entangled pair is sent: the whole map is the identity, in the mean and in every branch."""

    def circuit() -> Any:
        qml.RY(0.8, 3)
        qml.CNOT([3, 0])
        qml.RX(0.3, 0)
        teleport(0, 1, 2)
        return qml.density_matrix([3, 2])

    sent = np.kron(np.eye(2), qml.RX(0.3, 0).matrix()) @ np.array([np.cos(0.4), 0, 0, np.sin(0.4)])
    found = qml.QNode(circuit, qml.device("varq.qubit", wires=4))()
    np.testing.assert_allclose(found, projector(sent), atol=EXACT)
    for _, state in branches(record(lambda: [circuit()]), 4):
        assert abs(np.vdot(state, state) - 0.25) < EXACT
        ideal = np.zeros((2, 2, 2, 2), complex)
        ideal[0, 0] = sent.reshape(2, 2).T  # sender's wires in |0>
        assert abs(abs(np.vdot(ideal.ravel(), state)) - 0.5) < EXACT


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_repetition_applies_v_or_nothing(attempts: int) -> None:
    """On half of a Bell pair: the state of both wires says the whole map."""

    def circuit() -> Any:
        qml.Hadamard(3)
        qml.CNOT([3, 0])
        failed = repeated_v_gate(0, [1, 2], attempts)
        return qml.density_matrix([3, 0]), qml.expval(failed), qml.probs(wires=[1, 2])

    density, chance, ancillas = qml.QNode(circuit, qml.device("varq.qubit", wires=4))()
    failure = (3 / 8) ** attempts
    pair = np.array([1, 0, 0, 1]) / np.sqrt(2)
    gate = (np.eye(2) + 2j * np.diag([1, -1])) / np.sqrt(5)
    after = np.kron(np.eye(2), gate) @ pair
    np.testing.assert_allclose(chance, failure, atol=EXACT)
    np.testing.assert_allclose(density, (1 - failure) * projector(after) + failure * projector(pair), atol=EXACT)
    np.testing.assert_allclose(ancillas, [1, 0, 0, 0], atol=EXACT)


def depth(operations: Any) -> int:
    """Layers, where operations on different wires act at once, and conditions wait for what they depend on."""
    level: dict[Any, int] = {}
    for op in operations:
        waits = [*op.wires, *(op.meas_val.wires if isinstance(op, Conditional) else ())]
        level |= dict.fromkeys(op.wires, 1 + max(level.get(w, 0) for w in waits))
    return max(level.values())


@pytest.mark.parametrize("wires", [2, 3, 5])
def test_fused_ghz_is_exact_in_every_branch(wires: int) -> None:
    total = 2 * wires - 1
    tape = record(lambda: [qml.probs(op=fused_ghz(range(wires), range(wires, total)))])
    found = list(branches(tape, total))
    assert len(found) == 2 ** (wires - 1)
    ideal = np.zeros((2**wires, 2 ** (wires - 1)))
    ideal[[0, -1], 0] = np.sqrt(0.5)
    for _, state in found:
        assert abs(abs(np.vdot(ideal.ravel(), state)) ** 2 * len(found) - 1) < EXACT
    assert depth(tape.operations) == 5


def test_fused_ghz_on_the_device_and_with_reused_ancillas() -> None:
    def circuit() -> Any:
        fused_ghz(range(4), range(4, 7))
        return qml.probs(wires=range(4))

    plain = qml.QNode(circuit, qml.device("varq.qubit", wires=7))
    narrow = reuse_qubits(plain)
    assert qml.specs(narrow)()["resources"].num_allocs == 2
    for node in (plain, narrow):
        np.testing.assert_allclose(node(), [0.5, *[0] * 14, 0.5], atol=EXACT)


def test_the_network_equals_a_sum_over_branches() -> None:
    network = PoolingNetwork(4)
    params = network.init(3)

    def circuit() -> Any:
        for w in range(4):
            qml.RY(0.3 + w, w)
        return qml.expval(qml.Z(network(params)))

    found = qml.QNode(circuit, qml.device("varq.qubit", wires=4))()
    z = qml.matrix(qml.Z(3), wire_order=range(4))
    np.testing.assert_allclose(found, np.trace(z @ mixture(record(circuit), 4)).real, atol=EXACT)


def phases(wires: int, fields: Any) -> tuple[Any, Any]:
    states = np.stack([cluster_ising_state(wires, h) for h in fields])
    return jnp.asarray(states), np.where(np.asarray(fields) < 1, 1.0, -1.0)


@pytest.mark.full
def test_the_network_learns_a_phase_transition() -> None:
    """Ground states on both sides of it; fields that were not trained on are told apart."""
    network = PoolingNetwork(4)

    @qml.qnode(qml.device("varq.qubit", wires=4), interface="jax")
    def circuit(params: Any, state: Any) -> Any:
        qml.StatePrep(state, wires=range(4))
        return qml.expval(qml.Z(network(params)))

    answers = jax.jit(jax.vmap(circuit, in_axes=(None, 0)))
    states, labels = phases(4, [0.1, 0.5, 0.8, 1.3, 1.7, 2.4])
    unseen, truth = phases(4, np.linspace(0.05, 2.5, 16))
    start = network.init(1)
    result = minimize(
        lambda p: jnp.mean((answers(p, states) - labels) ** 2), start, stop=Stop(steps=25), name="phases", **QUIET
    )

    def right(params: Any) -> float:
        return float(np.mean(np.sign(answers(jnp.asarray(params), unseen)) == truth))

    assert right(start) < 0.7
    assert right(result.parameters) > 0.9


def success(overlap: float, prior: float = 0.5) -> Any:
    @qml.qnode(qml.device("varq.qubit", wires=2), interface="jax")
    def circuit(angles: Any) -> Any:
        hidden, *_, answer = adaptive_discrimination(angles, overlap, prior)
        return qml.expval(hidden == answer)

    return circuit


@pytest.mark.parametrize(("copies", "overlap", "prior"), [(1, 0.6, 0.5), (2, 0.8, 0.3), (4, 0.9, 0.5)])
def test_the_locally_optimal_policy_reaches_the_bound_of_all_measurements(
    copies: int, overlap: float, prior: float
) -> None:
    found = success(overlap, prior)(locally_optimal_angles(copies, overlap, prior))
    np.testing.assert_allclose(found, helstrom_bound(copies, overlap, prior), atol=EXACT)


def test_orthogonal_states_need_no_luck() -> None:
    angles = locally_optimal_angles(3, overlap=0.0)
    assert np.isfinite(angles).all()
    np.testing.assert_allclose(success(0.0)(angles), 1, atol=EXACT)


OVERLAP = 0.85


def untrained(copies: int) -> np.ndarray:
    """One angle for every copy, whatever was seen."""
    return np.full(2**copies - 1, 0.6)


def recorded() -> Any:
    @qml.qnode(qml.device("varq.qubit", wires=2, seed=11), interface="jax")
    def circuit(angles: Any) -> Any:
        return qml.sample(adaptive_discrimination(angles, OVERLAP))

    return circuit


@pytest.mark.parametrize("copies", [2, pytest.param(3, marks=pytest.mark.full)])
def test_the_policy_is_trained_by_exact_gradients(copies: int) -> None:
    exact = success(OVERLAP)
    result = minimize(lambda angles: 1 - exact(angles), untrained(copies), name="policy", **QUIET)
    bound = helstrom_bound(copies, OVERLAP)
    assert float(exact(jnp.asarray(untrained(copies)))) < bound - 0.05
    assert bound - TRAINED < 1 - result.value <= bound + 1e-6


def scores(drawn: Any, angles: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whether each record answers rightly, and the derivative of the logarithm of its probability."""
    right = (drawn[:, 0] == drawn[:, -1]).astype(float)
    return right, np.asarray(jax.jacobian(lambda a: log_likelihood(recorded())(drawn, a))(angles))


def test_the_score_function_gradient_is_unbiased() -> None:
    angles = jnp.asarray(untrained(2) + 0.2 * np.arange(3))
    drawn = np.asarray(qml.set_shots(recorded(), 4000)(angles))
    right, score = scores(drawn, angles)
    each = (right - right.mean())[:, None] * score
    truth = jax.grad(success(OVERLAP))(angles)
    assert np.all(np.abs(each.mean(axis=0) - truth) < SIGMAS * each.std(axis=0) / np.sqrt(len(each)))


@pytest.mark.full
def test_the_policy_is_trained_from_shots() -> None:
    copies = 3
    exact = success(OVERLAP)
    draw = qml.set_shots(recorded(), 400)

    def slope(angles: Any) -> np.ndarray:
        right, score = scores(np.asarray(draw(jnp.asarray(angles))), jnp.asarray(angles))
        return -np.mean((right - right.mean())[:, None] * score, axis=0)

    result = minimize(
        lambda angles: 1 - exact(jnp.asarray(angles)),
        untrained(copies),
        optimizer=Optax("adam", learning_rate=0.15),
        gradient=slope,
        stop=Stop(steps=30),
        name="policy from shots",
        **QUIET,
    )
    before, after = float(exact(jnp.asarray(untrained(copies)))), float(exact(jnp.asarray(result.parameters)))
    assert after > before + 0.05
    assert after > helstrom_bound(copies, OVERLAP) - 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: teleport(0, 1, 1), "must be three wires"),
        (lambda: fused_ghz([0], [1]), "wires must be at least two"),
        (lambda: fused_ghz([0, 1, 2], [3]), "ancillas must be at least 2 wires"),
        (lambda: fused_ghz([0, 1], [1]), "not among"),
        (lambda: repeated_v_gate(0, [1]), "ancillas must be two wires"),
        (lambda: repeated_v_gate(0, [1, 2], attempts=0), "attempts must be at least 1"),
        (lambda: PoolingNetwork(6), "must be a power of two"),
        (lambda: PoolingNetwork(4)(np.zeros(5)), "params must have shape"),
        (lambda: cluster_ising_state(2, 0.1), "wires must be"),
        (lambda: cluster_ising_state(4, np.inf), "field must be"),
        (lambda: adaptive_discrimination(np.zeros(4), 0.3), r"must have shape \(2\*\*copies - 1,\)"),
        (lambda: adaptive_discrimination(np.zeros(3), 1.3), "overlap must be"),
        (lambda: helstrom_bound(0, 0.3), "copies must be"),
        (lambda: locally_optimal_angles(2, 0.3, prior=2), "prior must be"),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with qml.queuing.AnnotatedQueue(), pytest.raises(ValueError, match=message):
        call()
