"""Measured circuits summed over branches: PennyLane's deferred measurements, a NumPy sum, and closed forms."""

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
from pennylane.ops import Conditional
from scipy.sparse import csr_matrix
from simulator_branches import Script, at, law, mixture, record, run

from varq.simulator.measured.execution import execute_measured
from varq.simulator.measured.reading import read
from varq.simulator.outcomes import outcome
from varq.simulator.precision import double
from varq.simulator.preprocessing import is_measured

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SINGLE = 1e-5  # the same in float32
STEP, SLOPE = 1e-5, 1e-7  # central differences: step, and what they leave


def deferred(circuit: Callable[..., Any], *args: Any, wires: int = 2) -> Any:
    node = qml.QNode(circuit, qml.device("default.qubit", wires=2 * wires + 6), mcm_method="deferred")
    return node(*args)


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


@pytest.mark.parametrize("jitted", [False, True])
def test_lists_of_outcomes_keep_each_one_s_arithmetic(jitted: bool) -> None:
    def circuit() -> Any:
        qml.X(0)
        first, second = qml.measure(0), qml.measure(1)
        return qml.sample([first, ~first, second, ~second, 2 * first])

    node = qml.set_shots(qml.QNode(circuit, qml.device("varq.qubit"), mcm_method="one-shot"), 3)
    found = np.asarray((jax.jit(node) if jitted else node)())
    np.testing.assert_array_equal(found, [[1, 0, 0, 1, 2]] * 3)
    peer = qml.set_shots(qml.QNode(circuit, qml.device("default.qubit"), mcm_method="one-shot"), 3)
    np.testing.assert_array_equal(found, np.asarray(peer()))


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


def by_outcome(angle: Any) -> Any:
    qml.RX(0.3, 0)
    qml.RX(angle(qml.measure(0)), 1)
    return qml.expval(qml.Z(1))


ANGLES = {"outcome": lambda m: outcome(lambda bit: 0.4 * bit, m), "PennyLane's": lambda m: 0.4 * m}


@pytest.mark.parametrize("name", ANGLES)
def test_deferred_measurements_name_the_way_out(name: str) -> None:
    """Nothing is left of the measurement that could be read."""
    node = qml.QNode(by_outcome, qml.device("varq.qubit", wires=3), mcm_method="deferred")
    with pytest.raises(ValueError, match=r"mcm_method='deferred'\), leave that out"):
        node(ANGLES[name])
    late = qml.defer_measurements(qml.QNode(by_outcome, qml.device("varq.qubit", wires=3)))
    with pytest.raises(ValueError, match=r"qml\.defer_measurements, .* leave that out"):
        late(ANGLES[name])


def test_a_condition_within_a_condition() -> None:
    """Both must hold.  PennyLane's deferred measurements keep one of the two, so they are refused."""

    def circuit() -> Any:
        qml.RX(0.7, 0)
        qml.RX(0.9, 1)
        outer, inner = qml.measure(0), qml.measure(1)
        qml.cond(outer, lambda: qml.cond(inner, qml.RX)(0.3, wires=2))()
        return qml.expval(qml.Z(2))

    both = np.sin(0.35) ** 2 * np.sin(0.45) ** 2
    value = qml.QNode(circuit, qml.device("varq.qubit", wires=3))()
    np.testing.assert_allclose(value, 1 - both * (1 - np.cos(0.3)), atol=EXACT)
    with pytest.raises(DeviceError, match=r"takes no qml\.cond within a qml\.cond\. Leave mcm_method out"):
        qml.QNode(circuit, qml.device("varq.qubit", wires=3), mcm_method="deferred")()


def test_elsewhere_pennylanes_own_arithmetic_is_an_error_of_pennylane() -> None:
    """As `outcome` says: no number comes out, but only its own values can name the way out.  Drawings go as it says."""
    plain = ANGLES["PennyLane's"]
    for name, shots in (("default.qubit", None), ("default.qubit", 10), ("lightning.qubit", None)):
        elsewhere = qml.set_shots(qml.QNode(by_outcome, qml.device(name, wires=3)), shots)
        kind = AttributeError if shots or name == "lightning.qubit" else TypeError
        said = "loop of ufunc.*MeasurementValue" if kind is TypeError else "'MeasurementValue' object has no attribute"
        with pytest.raises(kind, match=said):
            elsewhere(plain)
    node = qml.QNode(by_outcome, qml.device("varq.qubit", wires=3))
    with pytest.raises(AttributeError, match="'MeasurementValue' object has no attribute"):
        qml.draw(node)(plain)
    assert "RX" in qml.draw(node, decimals=None)(plain)
    np.testing.assert_allclose(node(plain), np.cos(0.15) ** 2 + np.sin(0.15) ** 2 * np.cos(0.4), atol=EXACT)
    with pytest.raises(ValueError, match=r"If a transform removed the measurement \(qml\.defer_measurements"):
        qml.defer_measurements(node)(plain)


def test_elsewhere_a_condition_is_what_an_outcomes_multiple_is() -> None:
    def circuit() -> Any:
        qml.RX(0.3, 0)
        qml.cond(qml.measure(0), qml.RX)(0.4, wires=1)
        return qml.expval(qml.Z(1))

    for name in ("default.qubit", "lightning.qubit"):
        found = qml.QNode(circuit, qml.device(name, wires=3))()
        np.testing.assert_allclose(found, np.cos(0.15) ** 2 + np.sin(0.15) ** 2 * np.cos(0.4), atol=EXACT)


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
        (lambda: run(feedback, 0.1, 0.2, wires=1, shots=10), "needs `key`"),
        (lambda: run(plain, 0.1, 0.2, postselect_mode="drop"), "`postselect_mode` must be one of"),
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


FINALS: dict[str, Callable[[Any], Any]] = {
    "measured value": lambda m: qml.expval(m),
    "observable": lambda m: qml.expval(qml.Z(0)),
    "other observable": lambda m: qml.expval(qml.Z(1)),
    "sum": lambda m: qml.expval(qml.Z(0) + qml.X(1)),
    "sparse matrix": lambda m: qml.expval(qml.SparseHamiltonian(csr_matrix(np.diag([1.0, -1.0])), [0])),
    "variance of a measured value": lambda m: qml.var(m),
    "variance": lambda m: qml.var(qml.Z(0)),
    "chances of a measured value": lambda m: qml.probs(op=m),
    "chances": lambda m: qml.probs(wires=[0]),
    "state": lambda m: qml.density_matrix([0]),
}


def test_every_two_programs_can_be_compared() -> None:
    """JAX looks for what it has compiled by comparing programs, now and then quite different ones."""

    def circuit(name: str) -> Any:
        qml.RY(0.3, 0)
        m = qml.measure(0)
        qml.cond(m, qml.RX)(0.2, 1)
        return FINALS[name](m)

    first, second = ([read(record(circuit, name), (0, 1), (), exact=True)[0] for name in FINALS] for _ in range(2))
    for j, one in enumerate(first):
        assert [one == other for other in second] == [j == k for k in range(len(FINALS))]
