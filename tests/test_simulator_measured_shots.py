"""Shots of measured circuits: laws by chi-squared, keys, and numbers carried from round to round."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.ops.mid_measure import MidMeasure
from simulator_branches import branches, fits, indices, record, run, within

from varq.simulator.outcomes import outcome

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SINGLE = 1e-5  # the same in float32


def test_shots_follow_the_exact_law() -> None:
    def circuit() -> Any:
        qml.RX(0.9, 0)
        qml.CRY(1.3, [0, 1])
        m0 = qml.measure(0, reset=True)
        qml.RX(outcome(lambda b: 0.5 + b, m0), 0)
        m1 = qml.measure(1)
        qml.cond(m1, qml.RY)(0.8, 1)
        return qml.sample([m0, m1]), qml.sample(wires=[0, 1])

    shots = 40000
    mid, end = run(circuit, shots=shots, key=3)
    assert mid.shape == end.shape == (shots, 2)
    tape = record(circuit)
    chances = np.zeros(16)
    for bits, state in branches(tape, 2):
        first = indices([[bits[m.meas_uid] for m in tape.operations if isinstance(m, MidMeasure)]])[0]
        chances[4 * first : 4 * first + 4] += np.abs(state) ** 2
    assert fits(np.bincount(indices(np.hstack([mid, end])), minlength=16), chances)


def test_shots_are_those_of_their_key() -> None:
    def circuit() -> Any:
        qml.Hadamard(0)
        return qml.sample(qml.measure(0))

    first = run(circuit, shots=100, key=7)
    np.testing.assert_array_equal(first, run(circuit, shots=100, key=jax.random.key(7)))
    assert (np.asarray(first) != run(circuit, shots=100, key=8)).any()
    jitted = jax.jit(lambda key: run(circuit, shots=100, key=key))
    np.testing.assert_array_equal(first, jitted(jax.random.key(7)))


def phase_estimation(phase: Any, rounds: int) -> list[Any]:
    """Semiclassical: the control is one wire, reset after each round; the least significant digit comes first."""
    qml.X(1)
    seen: list[Any] = []
    for k in range(rounds):
        qml.Hadamard(0)
        qml.ControlledPhaseShift(2 * np.pi * phase * 2 ** (rounds - 1 - k), wires=[0, 1])
        if seen:
            qml.PhaseShift(outcome(lambda *b: -sum(jnp.pi * x / 2 ** (len(b) - i) for i, x in enumerate(b)), *seen), 0)
        qml.Hadamard(0)
        seen.append(qml.measure(0, reset=True))
    return seen


def fejer(phase: float, rounds: int) -> np.ndarray:
    """The law of textbook phase estimation over the numbers that the digits make."""
    size = 2**rounds
    away = np.pi * (phase - np.arange(size) / size)
    law: np.ndarray = (np.sin(size * away) / (size * np.sin(away))) ** 2
    return law


@pytest.mark.parametrize("rounds", [5, 14])  # more than 12 outcomes: no table, but an affine form
def test_semiclassical_phase_estimation_has_the_textbook_law(rounds: int) -> None:
    phase = 0.3012
    samples = run(lambda: qml.sample(phase_estimation(phase, rounds)), shots=20000, key=1)
    counts = np.bincount(indices(samples[:, ::-1]), minlength=2**rounds)
    assert fits(counts, fejer(phase, rounds))


def test_phase_estimation_exactly() -> None:
    found = run(lambda: qml.probs(op=phase_estimation(0.3012, 5)[::-1]))
    np.testing.assert_allclose(found, fejer(0.3012, 5), atol=EXACT)


def test_reuse_of_a_wire_has_the_law_of_many_wires() -> None:
    def reused() -> Any:
        seen = []
        for _ in range(5):
            qml.RY(1.1, 0)
            qml.CRX(0.9, [0, 1])
            seen.append(qml.measure(0, reset=True))
        return qml.probs(op=seen)

    def wide() -> Any:
        for w in range(5):
            qml.RY(1.1, w)
            qml.CRX(0.9, [w, 5])
        return qml.probs(wires=range(5))

    want = qml.QNode(wide, qml.device("default.qubit", wires=6))()
    np.testing.assert_allclose(run(reused), want, atol=EXACT)


def test_repeat_until_success() -> None:
    """At most 40 attempts, each made only if none before succeeded; the number of attempts is geometric."""

    def circuit() -> Any:
        done: Any = None
        attempts: Any = 0
        for _ in range(40):
            qml.RX(1.0, 0)
            hit = qml.measure(0, reset=True)
            attempts = (
                outcome(lambda n, d: n + 1 - d, attempts, done) if done is not None else outcome(lambda h: 1, hit)
            )
            done = outcome(jnp.maximum, done, hit) if done is not None else outcome(lambda h: h, hit)
        qml.RY(outcome(lambda n: n * 0.1, attempts), 1)
        qml.cond(done, qml.X)(0)
        return qml.sample(wires=[0]), qml.expval(qml.X(1))

    chance = np.sin(0.5) ** 2
    flag, tilt = run(circuit, shots=20000, key=2)
    assert abs(np.mean(np.asarray(flag)) - (1 - (1 - chance) ** 40)) < 5 * np.sqrt((1 - chance) ** 40 / 20000) + 1e-4
    weights = chance * (1 - chance) ** np.arange(40)
    weights[-1] = 1 - weights[:-1].sum()
    want = np.sum(weights * np.sin(0.1 * np.arange(1, 41)))
    assert abs(tilt - want) < 5 / np.sqrt(20000)


def posterior_means(phase: float, rounds: int, grid: np.ndarray, runs: int) -> np.ndarray:
    """The mean phases that the adaptive scheme ends with, by drawing its outcomes with NumPy."""
    rng = np.random.default_rng(3)
    posterior = np.full((runs, len(grid)), 1 / len(grid))
    angle = np.full(runs, 0.5)
    for _ in range(rounds):
        bit = rng.random(runs) < (1 - np.cos(phase - angle)) / 2
        posterior *= 1 + np.where(bit, -1, 1)[:, None] * np.cos(grid - angle[:, None])
        posterior /= posterior.sum(1, keepdims=True)
        angle = np.angle(posterior @ np.exp(1j * grid)) + np.pi / 2
    return np.asarray(angle - np.pi / 2)


def test_an_array_is_carried_from_round_to_round() -> None:
    """A posterior over a grid of 32 phases, updated in the circuit and used for the next angle."""
    grid = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    rounds, phase, shots = 30, 2.0, 20000

    def update(posterior: Any, angle: Any, bit: Any) -> Any:
        new = posterior * (1 + (1 - 2 * bit) * jnp.cos(grid - angle)) / 2
        return new / jnp.sum(new)

    def circuit(x: Any) -> Any:
        posterior: Any = np.full(32, 1 / 32)
        angle: Any = 0.5
        for _ in range(rounds):
            qml.Hadamard(0)
            qml.PhaseShift(x, 0)
            qml.PhaseShift(-angle if isinstance(angle, float) else outcome(lambda a: -a, angle), 0)
            qml.Hadamard(0)
            bit = qml.measure(0, reset=True)
            posterior = outcome(update, posterior, angle, bit)
            angle = outcome(lambda p: jnp.angle(jnp.sum(p * np.exp(1j * grid))) + np.pi / 2, posterior)
        qml.RY(outcome(lambda p: jnp.angle(jnp.sum(p * np.exp(1j * grid))), posterior), 1)
        return qml.expval(qml.Z(1))

    found = run(circuit, phase, shots=shots, key=5)
    drawn = posterior_means(phase, rounds, grid, runs := 20000)
    assert abs(found - np.mean(np.cos(drawn))) < within(shots) + within(runs)
    jitted = jax.jit(lambda x: run(circuit, x, shots=shots, key=5))
    np.testing.assert_allclose(jitted(phase), found, atol=SINGLE)


def test_all_statistics_of_shots_agree_with_exact_values() -> None:
    def circuit() -> Any:
        qml.RX(0.9, 0)
        qml.CRY(1.3, [0, 1])
        m0 = qml.measure(0)
        qml.RX(0.5 + m0, 1)
        m1 = qml.measure(0, reset=True)
        qml.RY(0.7, 0)
        return [
            qml.expval(qml.X(0)),
            qml.expval(qml.Z(1) + 0.5 * qml.X(0) @ qml.Y(1) + 0.2 * qml.I(0)),
            qml.var(qml.Y(1)),
            qml.var(qml.X(0) + 0.5 * qml.Z(1)),
            qml.probs(wires=[1, 0]),
            qml.probs(op=qml.Hadamard(1)),
            qml.expval(qml.Hermitian(np.array([[1, 2j], [-2j, 0.5]]), 1)),
            qml.expval(qml.Projector([1], wires=[0])),
            qml.expval(2 * m0 - m1),
            qml.var(m0),
            qml.probs(op=[m1, m0]),
        ]

    shots = 40000
    for mine, exact in zip(run(circuit, shots=shots, key=4), run(circuit), strict=True):
        assert np.shape(mine) == np.shape(exact)
        np.testing.assert_allclose(mine, exact, atol=6 * 2.5 / np.sqrt(shots))  # 2.5 bounds every spread here
    traced = jax.jit(lambda key: run(circuit, shots=100, key=key))(jax.random.key(1))
    for mine, concrete in zip(traced, run(circuit, shots=100, key=1), strict=True):
        np.testing.assert_allclose(mine, concrete, atol=EXACT)


def test_a_sum_of_words_that_do_not_commute_is_measured_as_a_whole() -> None:
    """(X + Z) / sqrt 2 squares to one and has mean zero here: the variance of shots is one less their mean squared."""

    def circuit() -> Any:
        qml.Hadamard(0)
        qml.measure(0)
        return qml.var((qml.X(0) + qml.Z(0)) / np.sqrt(2))

    assert abs(float(run(circuit)) - 1) < EXACT
    shots = 2000
    assert 1 - within(shots) ** 2 <= float(run(circuit, shots=shots, key=2)) <= 1 + EXACT


def test_a_sum_of_words_that_commute_is_read_from_one_sampling() -> None:
    """Bits of a Bell pair are equal in every shot, whatever is measured along another axis beside them."""

    def circuit() -> Any:
        qml.Hadamard(0)
        qml.CNOT([0, 1])
        qml.measure(2)
        total = qml.Z(0) + qml.Z(1)
        return qml.expval(qml.X(0)), qml.var(total), qml.sample(total), qml.counts(total)

    _, variance, samples, counts = run(circuit, wires=3, shots=400, key=2)
    assert set(np.asarray(samples).tolist()) == set(counts) == {-2.0, 2.0}
    assert float(variance) == pytest.approx(np.var(samples), abs=EXACT)


def test_counts_samples_and_shot_vectors() -> None:
    def circuit() -> Any:
        qml.Hadamard(0)
        m0 = qml.measure(0)
        m1 = qml.measure(1)
        return (
            qml.counts(m0),
            qml.counts([m0, m1]),
            qml.counts(wires=[0, 1], all_outcomes=True),
            qml.counts(qml.Z(0)),
            qml.counts(m0 + m1, all_outcomes=True),
            qml.sample(qml.Z(0)),
            qml.sample(m0),
        )

    first, second = run(circuit, shots=[100, (50, 1)], key=4)
    one, two, three, four, five, signs, bits = first
    ones = int(np.sum(np.asarray(bits)))
    assert one == {0.0: 100 - ones, 1.0: ones}
    assert two == {"00": 100 - ones, "10": ones}
    assert three == {"00": 100 - ones, "01": 0, "10": ones, "11": 0}
    assert four == {-1.0: ones, 1.0: 100 - ones}
    assert five == {0.0: 100 - ones, 1.0: ones, 2.0: 0}
    np.testing.assert_array_equal(signs, 1 - 2 * np.asarray(bits))
    assert second[5].shape == (50,)

    def total() -> Any:
        qml.Hadamard(0)
        qml.measure(0)
        return qml.counts(wires=[0, 1], all_outcomes=True)

    traced = jax.jit(lambda key: run(total, shots=100, key=key))(jax.random.key(4))
    assert sum(int(n) for n in traced.values()) == 100
