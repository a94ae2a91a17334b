"""Measured circuits against PennyLane's deferred measurements, a NumPy sum over branches, and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane.exceptions import DeviceError
from pennylane.ops import Conditional, MeasurementValue
from pennylane.ops.mid_measure import MidMeasure
from simulator_branches import Script, at, branches, fits, indices, law, mixture, record, within

from varq.simulator.measured.execution import execute_measured
from varq.simulator.measured.statistics import INVALID
from varq.simulator.outcomes import outcome
from varq.simulator.precision import double
from varq.simulator.preprocessing import is_measured

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SINGLE = 1e-5  # the same in float32
STEP, SLOPE = 1e-5, 1e-7  # central differences: step, and what they leave


def run(circuit: Callable[..., Any], *args: Any, wires: int = 2, **options: Any) -> Any:
    return execute_measured(record(circuit, *args), range(wires), **options)


def deferred(circuit: Callable[..., Any], *args: Any, wires: int = 2) -> Any:
    node = qml.QNode(circuit, qml.device("default.qubit", wires=2 * wires + 6), mcm_method="deferred")
    return node(*args)


# ---- exact sums over branches


def plain(x: Any, y: Any) -> list[Any]:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    m0 = qml.measure(0)
    qml.cond(m0, qml.RY, qml.RZ)(y, 1)
    qml.RY(0.4, 0)
    m1 = qml.measure(1, reset=True)
    qml.cond((m0 + m1) == 1, qml.Hadamard)(0)
    qml.cond(m0 & ~m1, qml.CRX)(x * y, wires=[1, 0])
    qml.RX(0.3, 1)
    return [
        qml.expval(qml.Z(0)),
        qml.expval(qml.X(0) @ qml.Y(1) + 0.3 * qml.Z(1) + 0.1 * qml.Y(0)),
        qml.var(qml.Y(1)),
        qml.var(qml.X(0) + 0.5 * qml.Z(1)),
        qml.probs(wires=[1, 0]),
        qml.probs(op=qml.Hadamard(0)),
        qml.expval(qml.Hermitian(np.array([[1, 2j], [-2j, 0.5]]), 1)),
        qml.var(qml.Projector([1, 0], wires=[1, 0])),
        qml.expval(m0),
        qml.var(2 * m0 - 3 * m1),
        qml.probs(op=[m1, m0]),
        qml.probs(op=m1),
        qml.density_matrix([1]),
        qml.purity([0]),
        qml.vn_entropy([1]),
        qml.mutual_info([0], [1]),
    ]


def test_branch_sums_equal_deferred_measurements() -> None:
    ours = run(plain, 0.7, 1.9)
    for mine, theirs in zip(ours, deferred(plain, 0.7, 1.9), strict=True):
        assert mine.dtype in (np.float64, np.complex128)
        assert np.shape(mine) == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, atol=EXACT)


def test_single_precision_is_kept_on_request() -> None:
    ours = run(plain, 0.7, 1.9, dtype="float32")
    for mine, theirs in zip(ours[:6], deferred(plain, 0.7, 1.9), strict=False):
        np.testing.assert_allclose(mine, theirs, atol=SINGLE)


@st.composite
def circuits(draw: Any) -> Callable[[], Any]:
    """Three wires, up to four measurements, conditions and angles from earlier outcomes."""
    letters = st.sampled_from(["gate", "pair", "measure", "cond", "angle"])
    choices = [
        (draw(letters), draw(st.integers(0, 2)), draw(st.floats(-3, 3)), draw(st.booleans()))
        for _ in range(draw(st.integers(3, 14)))
    ]

    def circuit() -> Any:
        seen: list[Any] = []
        for k, (what, wire, x, flag) in enumerate(choices):
            if what == "gate":
                (qml.RX if flag else qml.Rot)(*([x] if flag else [x, 0.3, -x]), wires=wire)
            elif what == "pair":
                (qml.CNOT if flag else qml.IsingXX)(*([] if flag else [x]), wires=[wire, (wire + 1) % 3])
            elif what == "measure" and len(seen) < 4:
                qml.Hadamard(wire)
                seen.append(qml.measure(wire, reset=flag))
            elif seen and what == "cond":
                qml.cond(seen[k % len(seen)] if flag else sum(seen) != 1, qml.RY)(x, wires=wire)
            elif seen:
                angle = sum(m * x for m in seen) if flag else outcome(lambda *b, x=x: jnp.sin(x + sum(b)), *seen)
                gate = (qml.RX, qml.PhaseShift, qml.CRZ, qml.ControlledPhaseShift)[k % 4]
                gate(angle, wires=[wire, (wire + 1) % 3][: 1 + (k % 4 > 1)])
        return [qml.density_matrix([0, 1, 2]), *([qml.probs(op=seen)] if seen else [])]

    return circuit


@given(circuits())
@settings(max_examples=8)
def test_random_circuits_equal_a_numpy_sum_over_branches(circuit: Callable[[], Any]) -> None:
    tape = record(circuit)
    found = execute_measured(tape, range(3))
    found = found if isinstance(found, tuple) else (found,)
    with double():  # the truth calls the functions of outcomes too
        np.testing.assert_allclose(found[0], mixture(tape, 3), atol=EXACT)
        for measurement, mine in zip(tape.measurements[1:], found[1:], strict=True):
            np.testing.assert_allclose(mine, law(tape, 3, measurement.mv), atol=EXACT)


def feedback(x: Any, y: Any) -> Any:
    qml.RX(x, 0)
    m = qml.measure(0, reset=True)
    qml.RY(outcome(lambda b: jnp.cos(y * (b + 1)), m) - m * x**2 / 2, 0)
    return qml.expval(qml.Z(0) + 0.3 * qml.X(0)), qml.expval(2 * m)


def test_derivatives_in_every_mode_equal_finite_differences() -> None:
    def total(p: Any) -> Any:
        first, second = run(feedback, p[0], p[1], wires=1)
        return first + second**2

    with double():
        point = jnp.array([0.7, -0.4])
        shift = STEP * jnp.eye(2)
        slope = np.array([(total(point + s) - total(point - s)) / (2 * STEP) for s in shift])
        for mode in (jax.grad, jax.jacfwd, jax.jacrev):
            np.testing.assert_allclose(mode(total)(point), slope, atol=SLOPE)
        np.testing.assert_allclose(jax.jit(jax.grad(total))(point), slope, atol=SLOPE)
        curve = np.array([(jax.grad(total)(point + s) - jax.grad(total)(point - s)) / (2 * STEP) for s in shift])
        np.testing.assert_allclose(jax.hessian(total)(point), curve, atol=SLOPE)
        _, tangent = jax.jvp(total, (point,), (jnp.array([1.0, 2.0]),))
        np.testing.assert_allclose(tangent, slope @ [1, 2], atol=SLOPE)
        batch = jax.vmap(total)(jnp.stack([point, 2 * point]))
        np.testing.assert_allclose(batch, [total(point), total(2 * point)], atol=EXACT)


def test_derivatives_exist_where_a_branch_has_probability_zero() -> None:
    with double():
        found = jax.grad(lambda x: run(feedback, x, 0.3, wires=1)[0])(0.0)
    assert np.isfinite(found)


def test_derivatives_by_everything_that_may_be_traced() -> None:
    """In the caller's precision, whatever that is: a state, a matrix, coefficients, a readout error, a closure."""

    def total(p: Any) -> Any:
        def circuit() -> Any:
            qml.StatePrep(jnp.stack([jnp.cos(p[0]), 1j * jnp.sin(p[0])]), wires=0)
            c, s = jnp.cos(p[1]), jnp.sin(p[1])
            qml.QubitUnitary(jnp.array([[c, 1j * s], [1j * s, c]]), wires=1)
            qml.CNOT([1, 0])
            m = qml.measure(0)
            qml.RY(outcome(lambda b: jnp.where(b == 1, p[2], p[2] ** 2), m), 1)
            return qml.expval(p[3] * qml.Z(1) + qml.X(1)), qml.density_matrix([1])

        mean, density = run(circuit, readout_error=p[4])
        return mean.astype(p.dtype) + jnp.real(density[0, 1]).astype(p.dtype)

    point = jnp.array([0.3, 0.5, 0.7, -0.4, 0.1])
    fine = point.dtype == np.float64
    step = 1e-5 if fine else 1e-2
    slope = [(total(point + d) - total(point - d)) / (2 * step) for d in step * jnp.eye(5)]
    for found in (jax.grad(total)(point), jax.jit(jax.grad(total))(point), jax.jacfwd(total)(point)):
        assert found.dtype == point.dtype
        np.testing.assert_allclose(found, slope, atol=1e-8 if fine else 1e-3)


def test_postselection_normalizes() -> None:
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        m = qml.measure(0, postselect=1)
        qml.RY(0.3, 1)
        return qml.expval(qml.Z(1)), qml.expval(m), qml.state()

    *numbers, state = run(circuit, 0.4)
    np.testing.assert_allclose(numbers, [-np.cos(0.3), 1], atol=EXACT)
    assert abs(np.linalg.norm(state) - 1) < EXACT


def test_state_preparations_and_templates_are_taken() -> None:
    def circuit() -> Any:
        qml.StatePrep(np.array([0.6, 0.8j]), wires=1)
        qml.GlobalPhase(0.3)
        m = qml.measure(1)
        qml.cond(m, qml.QFT)(wires=[0, 1])
        qml.cond(m, qml.adjoint(qml.S))(0)
        qml.ctrl(qml.RX, 0)(m * 0.7, wires=1)
        qml.BasisEmbedding([1], wires=[0])
        qml.Barrier()
        return qml.density_matrix([0, 1])

    tape = record(circuit)
    found = execute_measured(tape, range(2))
    branch = []
    for bit, amplitude in ((0, 0.6), (1, 0.8j)):
        ops = [op.base if isinstance(op, Conditional) else op for op in tape.operations[3 : 5 if bit else 3]]
        control = qml.ctrl(qml.RX(0.7 * bit, 1), 0)
        state = amplitude * np.eye(4)[bit]
        for op in [*ops, control, qml.X(0)]:
            state = op.matrix(wire_order=[0, 1]) @ state
        branch.append(np.outer(state, state.conj()))
    np.testing.assert_allclose(found, sum(branch), atol=EXACT)


def test_teleportation() -> None:
    def circuit(a: Any, b: Any) -> Any:
        qml.RY(a, 0)
        qml.RZ(b, 0)
        qml.Hadamard(1)
        qml.CNOT([1, 2])
        qml.CNOT([0, 1])
        qml.Hadamard(0)
        m0, m1 = qml.measure(0), qml.measure(1)
        qml.cond(m1, qml.X)(2)
        qml.cond(m0, qml.Z)(2)
        return qml.expval(qml.X(2)), qml.expval(qml.Y(2)), qml.expval(qml.Z(2))

    bloch = [np.sin(0.9) * np.cos(0.5), np.sin(0.9) * np.sin(0.5), np.cos(0.9)]
    np.testing.assert_allclose(run(circuit, 0.9, 0.5, wires=3), bloch, atol=EXACT)


def ghz_by_measurement(wires: int) -> list[Any]:
    """GHZ on the even wires in constant depth: parities measured on the odd ones, and corrected."""
    for w in range(0, wires, 2):
        qml.Hadamard(w)
    for w in range(1, wires, 2):
        qml.CNOT([w - 1, w])
        qml.CNOT([w + 1, w])
    parities = [qml.measure(w) for w in range(1, wires, 2)]
    for k in range(len(parities)):
        qml.cond(outcome(lambda *b: sum(b) % 2, *parities[: k + 1]), qml.X)(2 * k + 2)
    return list(range(0, wires, 2))


def test_ghz_in_constant_depth() -> None:
    def circuit() -> Any:
        return qml.density_matrix(ghz_by_measurement(7))

    want = np.zeros((16, 16))
    want[np.ix_([0, 15], [0, 15])] = 0.5
    np.testing.assert_allclose(run(circuit, wires=7), want, atol=EXACT)


# ---- shots


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


# ---- postselection and readout


def selected(x: float) -> Any:
    m0 = prepared(x)
    return qml.sample([m0]), qml.expval(qml.Z(1)), qml.probs(op=m0)


def alone(x: float) -> Any:
    return qml.probs(op=prepared(x))


def prepared(x: float) -> Any:
    qml.RX(x, 0)
    qml.RY(0.8, 1)
    m0 = qml.measure(0)
    qml.cond(m0, qml.RY)(1.1, 1)
    qml.measure(1, postselect=1)
    qml.RX(0.3, 1)
    return m0


@pytest.mark.parametrize("mode", [None, "hw-like", "fill-shots"])
def test_postselected_shots_have_the_conditional_law(mode: str | None) -> None:
    samples, mean, chances = run(selected, 1.2, shots=30000, key=6, postselect_mode=mode)
    tape = record(selected, 1.2)
    want = law(tape, 2, [MeasurementValue([next(op for op in tape.operations if isinstance(op, MidMeasure))])])
    np.testing.assert_allclose(run(alone, 1.2), want, atol=EXACT)
    assert (len(samples) == 30000) == (mode == "fill-shots")
    assert fits(np.bincount(np.asarray(samples)[:, 0], minlength=2), want)
    np.testing.assert_allclose(mean, -np.cos(0.3), atol=5 / np.sqrt(len(samples)))
    np.testing.assert_allclose(chances, np.bincount(np.asarray(samples)[:, 0]) / len(samples), atol=EXACT)


def test_traced_calls_mark_rejected_shots() -> None:
    samples, mean, _ = jax.jit(lambda key: run(selected, 1.2, shots=1000, key=key))(jax.random.key(6))
    plain_samples, plain_mean, _ = run(selected, 1.2, shots=1000, key=6)
    kept = np.asarray(samples)[np.asarray(samples)[:, 0] != INVALID]
    np.testing.assert_array_equal(kept, plain_samples)
    np.testing.assert_allclose(mean, plain_mean, atol=EXACT)
    padded = run(selected, 1.2, shots=1000, key=6, postselect_mode="pad-invalid-samples")[0]
    np.testing.assert_array_equal(padded, samples)


def test_impossible_postselection_is_no_number() -> None:
    def circuit() -> Any:
        m = qml.measure(0, postselect=1)
        return qml.expval(m), qml.probs(wires=[0]), qml.sample(wires=[0])

    mean, chances, samples = run(circuit, shots=10, key=0, postselect_mode="hw-like")
    assert np.isnan(mean)
    assert np.isnan(chances).all()
    assert samples.shape == (0, 1)


@pytest.mark.parametrize("first", [False, True])
def test_shots_that_cannot_be_filled_are_an_error(first: bool) -> None:
    """Where the first outcome is forced, and where shots are drawn again."""

    def circuit() -> Any:
        if not first:
            qml.Hadamard(1)
            qml.measure(1)
        m = qml.measure(0, postselect=1)
        return qml.expval(m)

    with pytest.raises(DeviceError, match=r"up to 1000 times until postselection accepts it\. Got 0 of 10 shots"):
        run(circuit, shots=10, key=0, postselect_mode="fill-shots")
    traced = jax.jit(lambda key: run(circuit, shots=10, key=key, postselect_mode="fill-shots"))
    assert np.isnan(traced(jax.random.key(0)))


@pytest.mark.parametrize("readout", [0.1, {0: (0.1, 0.2)}, {0: [[0.9, 0.2], [0.1, 0.8]]}])
def test_readout_errors_are_recorded_and_fed_forward(readout: Any) -> None:
    up, down = (0.1, 0.1) if readout == 0.1 else (0.1, 0.2)

    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        m = qml.measure(0)
        qml.cond(m, qml.X)(1)
        return qml.expval(m), qml.expval(qml.Z(1)), qml.expval(qml.Z(0)), qml.expval(qml.Z(0) @ qml.Z(1))

    one = np.sin(0.45) ** 2
    read = one * (1 - down) + (1 - one) * up
    right = one * (1 - down) + (1 - one) * (1 - up)
    want = [read, 1 - 2 * read, 1 - 2 * one, 2 * right - 1]
    np.testing.assert_allclose(run(circuit, 0.9, readout_error=readout), want, atol=EXACT)
    shots = 40000
    np.testing.assert_allclose(
        run(circuit, 0.9, readout_error=readout, shots=shots, key=1), want, atol=5 / np.sqrt(shots)
    )
    with double():
        slope = jax.grad(lambda x: run(circuit, x, readout_error=readout)[0])(0.9)
    assert abs(float(slope) - np.sin(0.9) / 2 * (1 - up - down)) < EXACT


@pytest.mark.parametrize("mode", ["hw-like", "fill-shots"])
def test_postselection_is_on_what_is_recorded(mode: str) -> None:
    def circuit() -> Any:
        qml.RX(0.9, 0)
        qml.measure(0, postselect=1)
        return qml.expval(qml.Z(0))

    one = np.sin(0.45) ** 2
    want = 1 - 2 * one * 0.8 / (one * 0.8 + (1 - one) * 0.2)
    assert abs(float(run(circuit, readout_error=0.2)) - want) < EXACT
    shots = 40000
    found = run(circuit, readout_error=0.2, shots=shots, key=1, postselect_mode=mode)
    assert abs(float(found) - want) < 8 / np.sqrt(shots)  # about a third of them are kept


# ---- use


def test_measured_values_with_arithmetic() -> None:
    with qml.tape.QuantumTape():
        m0, m1 = qml.measure(0), qml.measure(1)
        square = outcome(lambda a, b: a + 2 * b, m0, m1)
        forms = {
            "left": (m0 + square, lambda a, b: 2 * a + 2 * b),
            "minus": (1 - square, lambda a, b: 1 - a - 2 * b),
            "mixed": (m1 - square, lambda a, b: -a - b),
            "times": (3 * square * m0, lambda a, b: 3 * (a + 2 * b) * a),
            "over": (square / 2, lambda a, b: (a + 2 * b) / 2),
            "under": (1 / (1 + square), lambda a, b: 1 / (1 + a + 2 * b)),
            "power": (-(square**2), lambda a, b: -((a + 2 * b) ** 2)),
            "size": (abs(-square), lambda a, b: a + 2 * b),
            "ufunc": (
                np.cos(square) + np.float64(2) * square,
                lambda a, b: pytest.approx(np.cos(a + 2 * b) + 2 * a + 4 * b),
            ),
            "equal": (square == 2, lambda a, b: a + 2 * b == 2),
        }
    for name, (value, want) in forms.items():
        for a in (0, 1):
            for b in (0, 1):
                assert at(value, {m0.measurements[0].meas_uid: a, m1.measurements[0].meas_uid: b}) == want(a, b), name


def test_outcome_keeps_its_function_on_other_wires() -> None:
    with qml.tape.QuantumTape():
        m0 = qml.measure("a")
        value = outcome(lambda b: 2 * b, outcome(lambda b: b + 1, m0)).map_wires({"a": 3})
    assert value.wires == qml.wires.Wires([3])
    assert value.processing_fn(1) == 4


def test_other_devices_name_the_way_out() -> None:
    @qml.qnode(qml.device("default.qubit", wires=3))
    def circuit() -> Any:
        qml.RX(outcome(jnp.sin, qml.measure(0)), 1)
        return qml.expval(qml.Z(1))

    with pytest.raises(TypeError, match=r"on the device 'varq\.qubit'"):
        circuit()
    with pytest.raises(TypeError, match="decimals=None"):
        qml.draw(circuit)()
    assert "RX" in qml.draw(circuit, decimals=None)()


def test_other_devices_take_outcomes_as_conditions() -> None:
    def circuit() -> Any:
        qml.Hadamard(0)
        qml.Hadamard(1)
        m0, m1 = qml.measure(0), qml.measure(1)
        qml.cond(outcome(lambda a, b: (a + b) % 2, m0, m1), qml.X)(2)
        return qml.probs(wires=[0, 1, 2])

    np.testing.assert_allclose(run(circuit, wires=3), deferred(circuit, wires=3), atol=SINGLE)


def test_labels_of_wires_are_free() -> None:
    def circuit() -> Any:
        qml.X("q")
        m = qml.measure("q", reset=True)
        qml.RX(m * np.pi, "p")
        return qml.expval(qml.Z("p")), qml.probs(wires=["p", "q"])

    found = execute_measured(record(circuit), ["p", "q"])
    np.testing.assert_allclose(found[0], -1, atol=EXACT)
    np.testing.assert_allclose(found[1], [0, 0, 1, 0], atol=EXACT)


def test_is_measured() -> None:
    assert is_measured(record(plain, 0.1, 0.2))
    assert not is_measured(Script([qml.X(0)], [qml.probs(wires=0)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: outcome(3, None), "must be a function"),
        (lambda: outcome(jnp.sin, 0.3), "at least one measured value"),
        (lambda: run(selected, 0.1, shots=10), "needs `key`"),
        (lambda: run(selected, 0.1, postselect_mode="drop"), "`postselect_mode` must be one of"),
        (lambda: run(plain, 0.1, 0.2, max_branches=3), "max_branches=3. Set shots"),
        (lambda: run(plain, 0.1, 0.2, readout_error=1.5), "between 0 and 1"),
        (lambda: run(plain, 0.1, 0.2, readout_error={7: 0.1}), "names wires"),
        (lambda: run(plain, 0.1, 0.2, readout_error={0: [[1, 0], [1, 1]]}), "must add up to 1"),
        (lambda: run(plain, 0.1, 0.2, readout_error={0: [1, 2, 3]}), "a number, a pair or a 2x2 matrix"),
        (lambda: run(plain, np.array([0.1, 0.2]), 0.2), "broadcast over a batch"),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, DeviceError), match=message):
        call()


def test_what_cannot_be_measured_is_named() -> None:
    def circuit(final: Callable[[], Any]) -> Any:
        qml.Hadamard(0)
        m = qml.measure(0)
        qml.RX(outcome(lambda b: b * jnp.ones(3), m), 0) if final is None else qml.cond(m, qml.X)(1)
        return (final or (lambda: qml.expval(qml.Z(0))))()

    for final, shots, message in [
        (qml.state, None, "mixture of 2 states"),
        (lambda: qml.sample(wires=[0]), None, "Set shots"),
        (lambda: qml.classical_shadow([0]), 10, "cannot be taken from the shots"),
        (None, None, "must be a scalar"),
    ]:
        with pytest.raises((DeviceError, ValueError), match=message):
            run(circuit, final, shots=shots, key=0)


def test_counts_under_jit_need_all_outcomes() -> None:
    def circuit() -> Any:
        return qml.counts(qml.measure(0))

    with pytest.raises(DeviceError, match="all_outcomes=True"):
        jax.jit(lambda key: run(circuit, shots=5, key=key))(jax.random.key(0))


def test_values_from_another_circuit_are_refused() -> None:
    with qml.tape.QuantumTape():
        stranger = qml.measure(0)
    with pytest.raises(ValueError, match="this circuit has not made it"):
        execute_measured(Script([qml.RX(stranger * 0.3, 0), qml.X(0)], [qml.probs(wires=0)]), [0])
