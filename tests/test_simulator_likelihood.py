"""The likelihood of recorded outcomes: beside a NumPy sum over branches, and as a way to gradients from shots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from simulator_branches import law, record

from varq.simulator import log_likelihood, outcome

EXACT = 1e-10  # linear algebra in float64
CALLER = 1e-5  # rounding of results that leave in JAX's own precision, which may be float32
STEP, SLOPE = 1e-5, 1e-7  # central differences: step, and what they leave
SIGMAS = 4  # a false alarm in one of 16,000, for each number; the seed is fixed

ALL = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])


def decided(x: Any, y: Any) -> list[Any]:
    qml.RY(x, 0)
    qml.CNOT([0, 1])
    first = qml.measure(0, reset=True)
    qml.cond(first, qml.RX)(y, 1)
    qml.RX(0.6, 1)
    qml.Hadamard(0)
    second = qml.measure(1)
    qml.CRY(outcome(lambda a, b: x * (1 + a) - 0.3 * b, first, second), wires=[0, 1])
    return [first, second, qml.measure(1)]


def sampled(x: Any, y: Any) -> Any:
    return qml.sample(decided(x, y))


def node(circuit: Callable[..., Any] = sampled, wires: int = 2) -> Any:
    return qml.QNode(circuit, qml.device("varq.qubit", wires=wires, seed=2))


def test_every_record_has_the_probability_of_its_branch() -> None:
    tape = record(lambda: [qml.probs(op=decided(0.9, 0.7))])
    truth = law(tape, 2, tape.measurements[0].mv)
    found = log_likelihood(node())(ALL, 0.9, 0.7)
    assert found.shape == (8,)
    np.testing.assert_allclose(np.exp(found), truth, atol=EXACT)


def test_derivatives_in_every_mode() -> None:
    def value(p: Any) -> Any:
        return log_likelihood(node())(ALL, p[0], p[1])

    point = jnp.array([0.9, 0.7])

    def chances(p: Any) -> np.ndarray:
        tape = record(lambda: [qml.probs(op=decided(*map(float, p)))])
        return law(tape, 2, tape.measurements[0].mv)

    shift = STEP * np.eye(2)
    at = np.asarray(point, float)
    slope = np.stack([(np.log(chances(at + s)) - np.log(chances(at - s))) / (2 * STEP) for s in shift], -1)
    for mode in (jax.jacrev, jax.jacfwd):
        np.testing.assert_allclose(jax.jit(mode(value))(point), slope, atol=CALLER)


def test_scores_estimate_the_gradient_of_a_mean() -> None:
    """From shots, beside the exact sum over branches; with and without a constant taken off."""
    mean = node(lambda x, y: qml.expval(outcome(lambda a, b, c: a + 2.0 * b * c, *decided(x, y))))
    truth = jax.grad(mean, argnums=(0, 1))(0.9, 0.7)
    drawn = qml.set_shots(node(), 4000)(0.9, 0.7)
    reward = drawn[:, 0] + 2.0 * drawn[:, 1] * drawn[:, 2]
    scores = jax.jacobian(lambda x, y: log_likelihood(node())(drawn, x, y), argnums=(0, 1))(0.9, 0.7)
    for constant in (0.0, reward.mean()):
        for score, slope in zip(scores, truth, strict=True):
            each = (reward - constant) * np.asarray(score)
            assert abs(each.mean() - slope) < SIGMAS * each.std() / np.sqrt(len(each))


def test_long_and_impossible_records() -> None:
    """The probability of 200 unlikely outcomes is below what a float64 can hold."""
    rounds, angle = 200, 0.1

    def circuit(x: Any) -> Any:
        found = []
        for _ in range(rounds):
            qml.RY(x, 0)
            found.append(qml.measure(0, reset=True))
        return qml.sample(found)

    ones = np.ones((1, rounds), int)
    rare = np.log(np.sin(angle / 2) ** 2)
    np.testing.assert_allclose(log_likelihood(node(circuit, 1))(ones, angle), rounds * rare, rtol=EXACT)
    impossible = log_likelihood(node(lambda: qml.sample(qml.measure(0)), 1))(np.array([[0], [1]]))
    np.testing.assert_array_equal(impossible, [0, -np.inf])


def postselected() -> Any:
    qml.Hadamard(0)
    return qml.sample(qml.measure(0, postselect=1))


@pytest.mark.parametrize(
    ("qnode", "outcomes", "message"),
    [
        (lambda: node(postselected), np.zeros((3, 1)), "takes circuits that keep all outcomes"),
        (lambda: node(lambda: sampled(0.3, 0.4)), np.zeros((3, 2)), r"must have shape \(records, 3\).*Got \(3, 2\)"),
        (lambda: node(lambda: sampled(0.3, 0.4)), np.zeros(3), r"must have shape \(records, 3\)"),
        (lambda: node(lambda: sampled(0.3, 0.4)), np.full((1, 3), 2), "must be 0 or 1. Got "),
        (
            lambda: qml.transforms.split_non_commuting(node(lambda: [qml.expval(qml.X(0)), qml.expval(qml.Z(0))])),
            np.zeros((1, 0)),
            "whose transforms make 2",
        ),
    ],
)
def test_mistakes_are_named(qnode: Callable[[], Any], outcomes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_likelihood(qnode())(outcomes)
