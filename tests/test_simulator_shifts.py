"""Derivatives of samples: right within their noise against exact ones, or refused; never zeros in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane import numpy as pnp
from pennylane.exceptions import DeviceError
from pennylane.operation import Operation

from varq.simulator import outcome

pytestmark = pytest.mark.flagless  # laws of samples, which leave in the caller's precision

SHOTS = 20000
NOISE = 5 / np.sqrt(SHOTS)  # five standard errors of a mean of +-1; shifts of a gate add up to no more than one of it
BENT = 2 * NOISE  # a second derivative adds four such means, each with a quarter, or two with a half: at most twice it
AT = jnp.asarray([0.6, 0.4])
SEEDS: dict[str, Any] = {"integer": 7, "key": jax.random.key(3)}
ZEROS = "which would be zeros"


def node(body: Callable[[Any], Any], shots: Any = SHOTS, seed: Any = 7, wires: int = 3, **options: Any) -> Any:
    return qml.set_shots(qml.QNode(body, qml.device("varq.qubit", wires=wires, seed=seed), **options), shots)


def plain(x: Any) -> Any:
    qml.RX(x[0], 0)
    qml.RY(x[1], 0)
    return qml.expval(qml.Z(0))


def measured(x: Any) -> Any:
    """cos(x0) cos(x1) too, by way of an outcome that decides on a gate."""
    qml.RX(x[0], 0)
    qml.RY(x[1], 0)
    qml.cond(qml.measure(0), qml.X)(1)
    return qml.expval(qml.Z(1))


def exact(x: Any) -> Any:
    return jnp.cos(x[0]) * jnp.cos(x[1])


FULL = pytest.mark.full
CASES = [
    (plain, "key"),
    pytest.param(plain, "integer", marks=FULL),
    pytest.param(measured, "integer", marks=FULL),
    pytest.param(measured, "key", marks=FULL),
]


@pytest.mark.parametrize("circuit", [plain, measured])
@pytest.mark.parametrize("method", some(["best", "parameter-shift"], "best"))
def test_second_derivatives_are_refused_rather_than_zero(circuit: Any, method: str) -> None:
    cost = node(circuit, seed=SEEDS["key" if circuit is plain else "integer"], diff_method=method)
    both = jnp.stack([AT, AT])
    asked: list[Callable[[], Any]] = [
        lambda: jax.hessian(cost)(AT),
        lambda: jax.jit(jax.hessian(cost))(AT),
        lambda: jax.hessian(jax.jit(cost))(AT),
        lambda: jax.jacrev(jax.jacrev(cost))(AT),
        lambda: jax.grad(lambda x: jnp.sum(jax.grad(cost)(x)))(AT),
        lambda: jax.jvp(jax.grad(cost), (AT,), (jnp.ones(2),)),
        lambda: jax.vmap(jax.hessian(cost))(both),
        lambda: jax.grad(lambda x: jnp.sum(jax.vmap(jax.grad(cost))(x)))(both),
    ]
    for ask in asked:
        with pytest.raises(DeviceError, match=rf"{ZEROS}.*max_diff=2, cache=False"):
            ask()


@pytest.mark.parametrize(("circuit", "seed"), CASES)
def test_first_derivatives_are_right(circuit: Any, seed: str) -> None:
    cost, want = node(circuit, seed=SEEDS[seed]), jax.grad(exact)(AT)
    both = jnp.stack([AT, AT])
    for found in (
        jax.grad(cost)(AT),
        jax.jit(jax.grad(cost))(AT),
        jax.grad(jax.jit(cost))(AT),
        jax.jacfwd(cost)(AT),
        jax.vmap(jax.grad(cost))(both)[1],
        jax.grad(lambda x: jnp.sum(jax.vmap(cost)(x)))(both)[1],
    ):
        np.testing.assert_allclose(found, want, atol=NOISE)


@pytest.mark.parametrize(("circuit", "seed"), CASES)
def test_second_derivatives_by_the_way_out_are_right(circuit: Any, seed: str) -> None:
    cost = node(circuit, seed=SEEDS[seed], max_diff=2, cache=False)
    for found in (jax.hessian(cost)(AT), jax.jit(jax.hessian(cost))(AT)):
        np.testing.assert_allclose(found, jax.hessian(exact)(AT), atol=BENT)
    with pytest.raises(DeviceError, match=ZEROS):
        jax.jacfwd(jax.hessian(cost))(AT)


def test_second_derivatives_of_autograd() -> None:
    at = pnp.array(AT, requires_grad=True)
    with pytest.raises(DeviceError, match=ZEROS):
        qml.jacobian(qml.grad(node(plain)))(at)
    np.testing.assert_allclose(qml.grad(node(plain))(at), jax.grad(exact)(AT), atol=NOISE)
    found = qml.jacobian(qml.grad(node(plain, max_diff=2, cache=False)))(at)
    np.testing.assert_allclose(found, jax.hessian(exact)(AT), atol=BENT)


def test_what_is_not_differentiated_may_be_sampled() -> None:
    """A reward of drawn bits beside a number that is differentiated."""
    cost = node(plain)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(x**2) + cost(jax.lax.stop_gradient(x))))(AT)
    np.testing.assert_allclose(slope, 2 * AT, rtol=1e-6)  # float32


def prepared(x: Any) -> None:
    qml.RX(x, 0)
    qml.RY(0.3, 1)
    qml.CRY(0.9, [0, 1])


def conditional(x: Any) -> Any:
    prepared(x)
    qml.cond(qml.measure(1), qml.CRX, qml.CRY)(x, [0, 2])
    return qml.expval(qml.Z(2))


def nested(x: Any) -> Any:
    prepared(x)
    first, second = qml.measure(1), qml.measure(0)
    with_both = qml.cond(first, lambda: qml.cond(second, qml.RX)(x, 2))
    with_both()
    return qml.expval(qml.Z(2))


def turned_by_an_outcome(x: Any) -> Any:
    """All that depends on the angle lies behind the angle that an outcome gives, on another wire."""
    prepared(x)
    qml.RX(outcome(lambda bit: 0.9 * bit, qml.measure(1)), 2)
    return qml.probs(wires=2)


def beside_an_outcome(x: Any) -> Any:
    prepared(x)
    bit = qml.measure(1)
    qml.Rot(x, outcome(lambda b: 0.9 * b, bit), x, wires=2)
    return qml.expval(qml.X(2)), qml.expval(bit)


OUTCOMES = [conditional, nested, turned_by_an_outcome, beside_an_outcome]


@pytest.mark.parametrize("circuit", some(OUTCOMES, conditional, turned_by_an_outcome))
@pytest.mark.parametrize("shots", some([SHOTS, None], SHOTS))
def test_shifts_follow_outcomes(circuit: Any, shots: int | None) -> None:
    """PennyLane differences gates under a condition over 1e-7, and takes angles from outcomes for independent."""
    want = jax.tree.leaves(jax.jacfwd(node(circuit, shots=None))(0.7))
    found = jax.tree.leaves(jax.jacfwd(node(circuit, shots=shots, diff_method="parameter-shift"))(0.7))
    uses = 3  # of the angle in a circuit, each with its own shifts
    near = uses * NOISE if shots else 1e-5  # float32
    for mine, theirs in zip(found, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=near)


class Quick(Operation):  # type: ignore[misc]
    """RX of twice its angle, of which PennyLane knows no more than the matrix."""

    num_params = 1
    num_wires = 1

    @staticmethod
    def compute_matrix(t: Any) -> Any:
        c, s = qml.math.cos(t) + 0j, -1j * qml.math.sin(t)
        return qml.math.stack([qml.math.stack([c, s]), qml.math.stack([s, c])])


def test_what_has_no_shift_rule_is_differenced_over_a_wide_step() -> None:
    """cos(2t), whose differences over h err by h**2 8 / 6."""

    def circuit(t: Any) -> Any:
        Quick(t, 0)
        return qml.expval(qml.Z(0))

    step = (9 / (2 * SHOTS)) ** (1 / 6)
    found = float(jax.grad(node(circuit, wires=1))(0.3))
    assert abs(found + 2 * np.sin(0.6)) < step**2 * 8 / 6 + NOISE / (np.sqrt(2) * step)


def of_a_sum(x: Any) -> Any:
    prepared(x)
    return qml.var(qml.Z(0) + 0.5 * qml.Z(1))


def of_an_outcome(x: Any) -> Any:
    prepared(x)
    return qml.var(qml.measure(0))


@pytest.mark.parametrize("circuit", [of_a_sum, of_an_outcome])
def test_variances_without_a_rule_are_refused(circuit: Any) -> None:
    with pytest.raises(DeviceError, match=r"for one Pauli word, matrix or projector. Got var.*and of its square"):
        jax.grad(node(circuit))(0.7)


OBSERVABLES = [qml.Z(0), qml.Z(0) @ qml.Z(1), qml.Hermitian(np.diag([1.0, 0.2]), 0)]


@FULL
@pytest.mark.parametrize("observable", OBSERVABLES)
def test_variances_with_a_rule_are_right(observable: Any) -> None:
    def circuit(x: Any) -> Any:
        prepared(x)
        return qml.var(observable)

    want = jax.grad(node(circuit, shots=None))(0.7)
    # d<A**2> - 2 <A> d<A>, at most three times the noise of a mean
    np.testing.assert_allclose(jax.grad(node(circuit))(0.7), want, atol=3 * NOISE)


@pytest.mark.parametrize("shots", [SHOTS, None])
def test_shifts_of_postselected_results_are_refused(shots: int | None) -> None:
    def circuit(x: Any) -> Any:
        prepared(x)
        qml.measure(1, postselect=1)
        return qml.expval(qml.Z(0))

    with pytest.raises(DeviceError, match=r"after postselection are ratios.*and divide"):
        jax.grad(node(circuit, shots=shots, diff_method="parameter-shift"))(0.7)


def held(x: Any) -> Any:
    qml.RX(outcome(lambda bit: bit * x, qml.measure(0)), 1)
    return qml.expval(qml.Z(1))


def held_by_pennylane(x: Any) -> Any:
    qml.RX(qml.measure(0) * x, 1)
    return qml.expval(qml.Z(1))


def held_beside_an_angle(x: Any) -> Any:
    qml.RX(x, 0)
    qml.RX(outcome(lambda bit: bit * x, qml.measure(0)), 1)
    return qml.expval(qml.Z(1))


def held_by_a_statistic(x: Any) -> Any:
    return qml.expval(qml.measure(0) * jnp.cos(x))


HOLDING = [held, held_by_pennylane, held_by_a_statistic]


@pytest.mark.parametrize(
    ("circuit", "compiled"), [(held_beside_an_angle, False), *((c, k) for c in HOLDING for k in (False, True))]
)
def test_numbers_that_pennylane_does_not_see_are_refused(circuit: Any, compiled: bool) -> None:
    slope = jax.grad(node(circuit))
    with pytest.raises(DeviceError, match="such as those that functions of outcomes hold"):
        (jax.jit(slope) if compiled else slope)(jnp.asarray(0.7))


def test_where_angles_stand_beside_them_a_compiled_one_is_jaxs_error() -> None:
    """It leaves PennyLane's own boundary, which only JAX sees, at the end of the trace."""
    with pytest.raises(jax.errors.UnexpectedTracerError, match="unexpected tracer"):
        jax.jit(jax.grad(node(held_beside_an_angle)))(jnp.asarray(0.7))
