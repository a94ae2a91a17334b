"""Finite shots of varq.qubit: laws by chi-squared, seeds and keys, jitted and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.exceptions import DeviceError
from simulator_branches import fits

MANY = 20000
SIGMAS = 5


def node(measure: Callable[[], Any], shots: Any, seed: Any = 7, **options: Any) -> Any:
    @qml.set_shots(shots)
    @qml.qnode(qml.device("varq.qubit", wires=3, seed=seed), **options)
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        qml.CNOT([0, 1])
        qml.RY(2 * angle, 2)
        return measure()

    return circuit


def law(angle: float) -> Any:
    one, two = np.sin(angle / 2) ** 2, np.sin(angle) ** 2
    return np.array([(1 - one) * (1 - two), (1 - one) * two, one * (1 - two), one * two])  # of wires 0 and 2


def test_samples_follow_their_law() -> None:
    samples = node(lambda: qml.sample(wires=[0, 2]), MANY)(0.8)
    assert samples.shape == (MANY, 2)
    assert fits(np.bincount(samples @ [2, 1], minlength=4), law(0.8))
    repeated = node(lambda: qml.sample(wires=[0, 1]), MANY)(0.8)
    assert np.array_equal(repeated[:, 0], repeated[:, 1])


def test_counts_and_probabilities() -> None:
    counts, probabilities = node(lambda: (qml.counts(wires=[0, 2]), qml.probs(wires=[0, 2])), MANY)(0.8)
    assert fits([counts[k] for k in ("00", "01", "10", "11")], law(0.8))
    assert fits(probabilities * MANY, law(0.8))
    all_outcomes = node(lambda: qml.counts(wires=[0, 1], all_outcomes=True), 50)(0.0)
    assert all_outcomes == {"00": 50, "01": 0, "10": 0, "11": 0}
    assert node(lambda: qml.counts(qml.Z(0)), 50)(0.0) == {1.0: 50}


def test_observables() -> None:
    matrix = np.array([[1, 0.2j], [-0.2j, 0]])

    def measure() -> Any:
        return (
            qml.expval(qml.Z(0)),
            qml.var(qml.Z(2)),
            qml.expval(qml.X(2)),
            qml.expval(qml.Hamiltonian([0.5, 0.2], [qml.Z(0), qml.X(1) @ qml.Z(2)])),
            qml.expval(qml.Hermitian(matrix, 2)),
        )

    found = node(measure, MANY)(0.8)
    exact = (
        np.cos(0.8),
        np.sin(1.6) ** 2,
        np.sin(1.6),
        0.5 * np.cos(0.8),
        np.cos(0.8) ** 2,
    )
    np.testing.assert_allclose(found, exact, atol=SIGMAS / np.sqrt(MANY))
    samples = node(lambda: qml.sample(qml.X(2)), MANY)(0.8)
    assert set(samples) == {-1.0, 1.0}
    assert np.mean(samples) == pytest.approx(np.sin(1.6), abs=SIGMAS / np.sqrt(MANY))


def test_shot_vectors() -> None:
    found = node(lambda: (qml.probs(wires=0), qml.var(qml.Z(2))), [10, (20, 2)])(0.8)
    assert len(found) == 3
    assert found[0][0].shape == (2,)
    counts = node(lambda: qml.counts(wires=0), [10, (20, 2)])(0.8)
    assert [sum(c.values()) for c in counts] == [10, 20, 20]


def test_broadcast_samples_are_independent() -> None:
    samples = node(lambda: qml.sample(wires=[0]), 200)(np.full(3, np.pi / 2))
    assert samples.shape == (3, 200, 1)
    assert not np.array_equal(samples[0], samples[1])
    counts = node(lambda: qml.counts(wires=[0]), 200)(np.array([0.0, np.pi]))
    assert counts == [{"0": 200}, {"1": 200}]


def test_shadows() -> None:
    bits, recipes = node(lambda: qml.classical_shadow(wires=[0, 2], seed=3), 3000)(0.8)
    assert bits.shape == recipes.shape == (3000, 2)
    along_z = bits[recipes[:, 0] == 2, 0]
    assert np.mean(along_z) == pytest.approx(np.sin(0.4) ** 2, abs=SIGMAS * 0.5 / np.sqrt(along_z.size))
    along_y = bits[recipes[:, 0] == 1, 0]  # wire 0 is entangled with wire 1: no direction across Z is preferred
    assert np.mean(along_y) == pytest.approx(0.5, abs=SIGMAS * 0.5 / np.sqrt(along_y.size))
    along_x = bits[recipes[:, 1] == 0, 1]
    assert np.mean(along_x) == pytest.approx((1 - np.sin(1.6)) / 2, abs=SIGMAS * 0.5 / np.sqrt(along_x.size))


def test_shadow_of_y() -> None:
    @qml.set_shots(3000)
    @qml.qnode(qml.device("varq.qubit", wires=1, seed=3))
    def circuit() -> Any:
        qml.RX(-0.8, 0)
        return qml.classical_shadow(wires=[0], seed=5)

    bits, recipes = circuit()
    along = bits[recipes[:, 0] == 1, 0]
    assert 1 - 2 * np.mean(along) == pytest.approx(np.sin(0.8), abs=SIGMAS / np.sqrt(along.size))


def test_shadow_estimates() -> None:
    observables = [qml.Z(0) @ qml.Z(1) + qml.Z(2), qml.X(2)]
    found = node(lambda: qml.shadow_expval(observables, seed=3), MANY)(0.8)
    np.testing.assert_allclose(found, [1 + np.cos(1.6), np.sin(1.6)], atol=SIGMAS * 4 / np.sqrt(MANY))
    median = node(lambda: qml.shadow_expval(qml.Z(0), k=5, seed=3), MANY)(0.8)
    assert float(median) == pytest.approx(np.cos(0.8), abs=SIGMAS * 4 / np.sqrt(MANY))
    assert np.shape(jax.jit(node(lambda: qml.shadow_expval(qml.Z(0), seed=3), 100))(0.8)) == ()


@pytest.mark.parametrize("compiled", [False, True])
def test_shadows_are_a_function_of_the_key(compiled: bool) -> None:
    def shadow(key: Any) -> Any:
        return node(lambda: qml.classical_shadow(wires=[0, 2]), 3000, seed=key)(0.8)

    run = jax.jit(shadow) if compiled else shadow
    first, again, other = (np.asarray(run(jax.random.key(k))) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    for bits, recipes in (first, other):
        assert fits(np.bincount(3 * recipes[:, 0] + recipes[:, 1], minlength=9), np.full(9, 1 / 9))
        along_x = bits[recipes[:, 1] == 0, 1]
        assert np.mean(along_x) == pytest.approx((1 - np.sin(1.6)) / 2, abs=SIGMAS * 0.5 / np.sqrt(along_x.size))
    chance = np.sqrt(2 / 9 / first[1].size)  # the bases of two keys agree by chance alone, in one of three
    assert np.mean(first[1] == other[1]) == pytest.approx(1 / 3, abs=SIGMAS * chance)


def test_compiled_shadows_draw_their_bases_anew_in_every_call() -> None:
    run = jax.jit(node(lambda: qml.classical_shadow(wires=[0, 2]), 3000))
    bases = [np.asarray(run(0.8))[1] for _ in range(2)]
    assert np.mean(bases[0] == bases[1]) == pytest.approx(1 / 3, abs=SIGMAS * np.sqrt(2 / 9 / bases[0].size))


def test_integer_seeds_move_on_and_repeat() -> None:
    def series() -> list[float]:
        circuit = node(lambda: qml.expval(qml.Z(0)), 50, seed=5)
        return [float(circuit(0.8)) for _ in range(4)]

    assert series() == series()
    assert len(set(series())) > 1


def test_integer_seeds_move_on_under_jit() -> None:
    def series() -> list[float]:
        circuit = jax.jit(node(lambda: qml.expval(qml.Z(0)), 50, seed=5))
        return [float(circuit(0.8)) for _ in range(4)]

    assert series() == series()
    assert len(set(series())) > 1


@pytest.mark.parametrize("make", [jax.random.PRNGKey, jax.random.key])
def test_keys_are_pure_and_may_be_traced(make: Any) -> None:
    @jax.jit
    def run(key: Any, angle: Any) -> Any:
        return node(lambda: qml.expval(qml.Z(0)), 50, seed=key)(angle)

    first, other, again = (float(run(make(k), 0.8)) for k in (1, 2, 1))
    assert first == again
    assert first != other
    eager = node(lambda: qml.expval(qml.Z(0)), 50, seed=make(1))
    assert float(eager(jnp.asarray(0.8))) == pytest.approx(first, abs=1e-6)
    assert "callback" not in str(jax.make_jaxpr(run)(make(1), 0.8))


def test_seeds_from_elsewhere() -> None:
    for seed in ("global", np.random.default_rng(3), np.random.Philox(3)):
        np.random.seed(3)  # noqa: NPY002  (what "global" reads)
        samples = node(lambda: qml.sample(wires=[0, 2]), MANY, seed=seed)(0.8)
        assert fits(np.bincount(samples @ [2, 1], minlength=4), law(0.8)), seed
    entropy = [node(lambda: qml.sample(wires=[2]), 200, seed=None)(np.pi / 4) for _ in range(2)]
    assert not np.array_equal(*entropy)  # of the system: alike once in 2**200 times
    np.random.seed(3)  # noqa: NPY002
    first = float(node(lambda: qml.expval(qml.Z(0)), 1000, seed="global")(0.8))
    np.random.seed(3)  # noqa: NPY002
    assert first == float(node(lambda: qml.expval(qml.Z(0)), 1000, seed="global")(0.8))


def test_vmap_draws_anew_for_each_element() -> None:
    circuit = node(lambda: qml.expval(qml.Z(0)), 50)
    for mapped in (jax.vmap(circuit), jax.jit(jax.vmap(circuit))):
        assert len(set(np.asarray(mapped(jnp.full(6, 0.8))).tolist())) > 1


@pytest.mark.parametrize("axes", [(None, 0), (0, None)])
def test_vmap_draws_anew_whichever_argument_is_mapped(axes: tuple[Any, Any]) -> None:
    """The other one is shared, and traced as well inside jax.jit; of six means of 50 shots, no two need be alike."""

    @qml.set_shots(50)
    @qml.qnode(qml.device("varq.qubit", wires=1, seed=7))
    def circuit(first: Any, second: Any) -> Any:
        qml.RX(first, 0)
        qml.RY(second, 0)
        return qml.expval(qml.Z(0))

    given = [jnp.full(6, 0.8) if axis == 0 else jnp.asarray(0.8) for axis in axes]
    for function in (circuit, jax.grad(circuit)):
        found = np.asarray(jax.jit(jax.vmap(function, in_axes=axes))(*given))
        assert len(set(found.tolist())) > 1


def test_gradients_by_parameter_shift() -> None:
    tolerance = SIGMAS / np.sqrt(MANY)
    circuit = node(lambda: qml.expval(qml.Z(0)), MANY)
    assert float(jax.grad(circuit)(jnp.asarray(0.8))) == pytest.approx(-np.sin(0.8), abs=tolerance)
    jitted = jax.jit(jax.grad(circuit))
    drawn = [float(jitted(0.8)) for _ in range(2)]
    np.testing.assert_allclose(drawn, -np.sin(0.8), atol=tolerance)
    assert drawn[0] != drawn[1]
    assert float(qml.grad(circuit)(pnp.array(0.8, requires_grad=True))) == pytest.approx(-np.sin(0.8), abs=tolerance)
    by_key = jax.jit(jax.grad(lambda x, key: node(lambda: qml.expval(qml.Z(0)), MANY, seed=key)(x)))
    assert float(by_key(0.8, jax.random.PRNGKey(1))) == pytest.approx(-np.sin(0.8), abs=tolerance)


def test_exact_gradients_of_shots_are_refused() -> None:
    with pytest.raises(qml.exceptions.QuantumFunctionError, match="does not support backprop"):
        node(lambda: qml.expval(qml.Z(0)), 10, diff_method="backprop")(0.8)


def test_counts_of_what_occurs_are_refused_under_jit() -> None:
    asked = node(qml.counts, 10, seed=jax.random.key(1))
    for traced in (jax.jit(asked), jax.vmap(asked)):
        with pytest.raises(DeviceError, match=r"which outcomes will occur.*all_outcomes=True.*qml\.sample"):
            traced(jnp.full(2, 0.8))


def all_counts() -> Any:
    given = {"all_outcomes": True}
    return qml.counts(wires=[2, 0], **given), qml.counts(qml.Z(0) @ qml.X(2), **given), qml.counts(qml.Z(1), **given)


@pytest.mark.parametrize("shots", [MANY, [50, (100, 2)]])
def test_counts_of_all_outcomes_under_jit_are_those_without(shots: Any) -> None:
    """Of one key, for every way to name an outcome; with a measurement in the middle they have the same form."""
    plain = node(all_counts, shots, seed=jax.random.key(2))
    measured = node(lambda: (qml.measure(1), all_counts())[1], shots, seed=jax.random.key(2))
    want, found, form = (run(jnp.asarray(0.8)) for run in (plain, jax.jit(plain), jax.jit(measured)))
    assert jax.tree.structure(found) == jax.tree.structure(form)
    assert jax.tree.map(int, found) == jax.tree.map(int, want)
    if shots == MANY:
        for counts in (found[0], form[0]):
            assert fits([int(counts[k]) for k in ("00", "10", "01", "11")], law(0.8))


def test_counts_of_all_outcomes_of_a_batch_under_jit() -> None:
    counts = jax.jit(node(lambda: qml.counts(wires=[0], all_outcomes=True), 50))(jnp.array([0.0, np.pi]))
    assert jax.tree.map(int, list(counts)) == [{"0": 50, "1": 0}, {"0": 0, "1": 50}]


def test_measured_shots() -> None:
    @qml.set_shots(MANY)
    @qml.qnode(qml.device("varq.qubit", seed=4))
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        outcome = qml.measure(0, reset=True)
        qml.cond(outcome, qml.X)(1)
        return qml.probs(wires=[1]), qml.expval(outcome)

    chance = np.sin(0.4) ** 2
    probabilities, mean = circuit(0.8)
    assert fits(probabilities * MANY, [1 - chance, chance])
    assert float(mean) == pytest.approx(probabilities[1])


def test_deferred_postselection_needs_filled_shots() -> None:
    def make(mode: str) -> Any:
        @qml.set_shots(MANY)
        @qml.qnode(qml.device("varq.qubit", seed=4), mcm_method="deferred", postselect_mode=mode)
        def circuit() -> Any:
            qml.RX(0.8, 0)
            outcome = qml.measure(0, postselect=1)
            qml.cond(outcome, qml.RY)(0.7, 1)
            return qml.probs(wires=[1])

        return circuit

    assert fits(make("fill-shots")() * MANY, [np.cos(0.35) ** 2, np.sin(0.35) ** 2])
    with pytest.raises(qml.exceptions.DeviceError, match="Deferred postselection"):
        make("hw-like")()
