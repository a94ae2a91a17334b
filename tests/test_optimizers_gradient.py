"""Optax's methods as values against optax itself, and the natural gradient against steps worked out by hand."""

from __future__ import annotations

import inspect
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from optimizer_costs import CENTER, KEY, SHAPE, Cost, Trace, drive, excitation, product, quadratic

from varq import spec
from varq.optimizers.gradient import Optax
from varq.optimizers.natural import NaturalGradient
from varq.precision import double
from varq.protocol import Many, Metric, Reply, ValueAndGrad

COMPILED = 1e-12  # a compiled update rounds in another order than one done operation by operation
BY_HAND = 1e-14  # a few roundings of numbers of order one

DECAY = Optax.schedule("cosine_decay_schedule", init_value=0.2, decay_steps=30)
RAW_DECAY = optax.cosine_decay_schedule(init_value=0.2, decay_steps=30)


def _directly(transformation: Any, cost: Cost, steps: int) -> Any:
    points = []
    with double():
        transformation = optax.with_extra_args_support(transformation)
        x = jnp.asarray(cost.start)
        state = transformation.init(x)
        for _ in range(steps):
            flat = np.asarray(x).ravel()
            points.append(flat)
            value, grad = cost.value(flat), jnp.asarray(cost.grad(flat).reshape(SHAPE))
            updates, state = transformation.update(grad, state, x, value=jnp.asarray(value))
            x = optax.apply_updates(x, updates)
    return np.array(points)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Optax("adam", learning_rate=0.1), lambda: optax.adam(0.1)),
        (Optax("adam", 0.1, b1=0.5), lambda: optax.adam(0.1, b1=0.5)),
        (Optax("adam", learning_rate=DECAY), lambda: optax.adam(RAW_DECAY)),
        (Optax("lion", learning_rate=0.01), lambda: optax.lion(0.01)),
        (
            Optax.chain(Optax("clip_by_global_norm", max_norm=0.5), Optax("sgd", 0.1, momentum=0.9)),
            lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
        ),
        (Optax("polyak_sgd", f_min=-1.0), lambda: optax.polyak_sgd(f_min=-1.0)),
        (Optax("apply_if_finite", Optax("sgd", 0.1), 3), lambda: optax.apply_if_finite(optax.sgd(0.1), 3)),
        (
            Optax("sgd", Optax.schedule("piecewise_constant_schedule", 0.1, {5: 0.5, 9: 0.1})),
            lambda: optax.sgd(optax.piecewise_constant_schedule(0.1, {5: 0.5, 9: 0.1})),
        ),
        (
            Optax("sgd", Optax.schedule("join_schedules", (DECAY, Optax.schedule("constant_schedule", 0.01)), (4,))),
            lambda: optax.sgd(optax.join_schedules([RAW_DECAY, optax.constant_schedule(0.01)], [4])),
        ),
        (Optax("contrib.prodigy"), lambda: optax.contrib.prodigy()),
    ],
    ids=lambda v: "directly" if callable(v) else repr(v)[:50],
)
def test_optax_by_name_is_optax(ours: Optax, theirs: Any) -> None:
    points = drive(ours, product, 20).points()
    np.testing.assert_allclose(points, _directly(theirs(), product, 20), rtol=0, atol=COMPILED)


def test_what_a_person_sees_of_a_step() -> None:
    infos = drive(Optax("adam", learning_rate=DECAY), quadratic, 12).infos
    assert [i["learning_rate"] for i in infos] == pytest.approx([float(RAW_DECAY(k)) for k in range(12)])
    assert infos[0]["value"] == quadratic.value(quadratic.start.ravel())
    assert infos[0]["grad_norm"] == pytest.approx(np.linalg.norm(quadratic.grad(quadratic.start.ravel())))
    chain = Optax.chain(Optax("clip", 1.0), Optax("sgd", 0.25))
    assert drive(chain, quadratic, 1).infos[0]["learning_rate"] == 0.25
    assert "x" not in infos[0]


def test_learning_rates_and_only_they_make_specs_differ() -> None:
    assert Optax("adam", learning_rate=0.01) != Optax("adam", learning_rate=0.1)
    assert Optax("adam", learning_rate=1) == Optax("adam", 1.0) == Optax("adam", arguments={"learning_rate": 1.0})
    assert Optax("adam", learning_rate=DECAY) != Optax("adam", learning_rate=0.2)
    ids = {spec.identity(Optax("adam", learning_rate=rate))[0] for rate in (0.1, 0.01, np.float64(0.1), DECAY)}
    assert len(ids) == 3


def test_ready_made_objects_come_back_under_their_name() -> None:
    raw = optax.adam(0.1)
    named = Optax.of(raw, name="mine")
    back = spec.loads(spec.dumps(named), objects={"mine": optax.adam(0.1)})
    assert drive(back, product, 10).flat() == drive(named, product, 10).flat()
    assert drive(Optax.of(optax.MultiSteps(raw, 2)), product, 4).points().shape == (4, 4)
    with pytest.raises(LookupError, match="Hand it in again"):
        spec.loads(spec.dumps(named))
    with pytest.raises(LookupError, match=r"was given no name: .* name it, optimizer=varq\.Optax\.of\(obj, name="):
        spec.loads(spec.dumps(Optax.of(raw)))
    nested = Optax.chain(optax.clip(1.0), Optax("sgd", 0.1))
    assert spec.identity(nested)[1] is False
    assert len(drive(nested, product, 3).values) == 3


def test_a_function_can_be_a_schedule() -> None:
    def slower(count: Any) -> Any:
        return 0.1 / (1 + count)

    trace = drive(Optax("sgd", learning_rate=slower), quadratic, 3)
    assert [i["learning_rate"] for i in trace.infos] == pytest.approx([0.1, 0.05, 0.1 / 3])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Optax("adm"), ValueError, r"public factory of optax.*Got 'adm'\. Did you mean 'adam'"),
        (lambda: Optax("l2_loss"), ValueError, r"public factory of optax.*Got 'l2_loss'"),
        (lambda: Optax(3), ValueError, "public factory of optax.*Got 3"),
        (
            lambda: Optax("adam"),
            TypeError,
            r"missing a required argument: 'learning_rate'\. It accepts: learning_rate, b1",
        ),
        (
            lambda: Optax("adam", 0.1, b3=2),
            TypeError,
            "unexpected keyword argument 'b3'.*It accepts: learning_rate, b1",
        ),
        (lambda: Optax("adam", learning_rat=1), TypeError, "Did you mean 'learning_rate'"),
        (lambda: Optax("adam", arguments=[1]), TypeError, "arguments must be of type Mapping"),
        (lambda: Optax("lbfgs"), ValueError, r"evaluates the cost inside its update.*Use varq\.Scipy\('L-BFGS-B'\)"),
        (lambda: Optax.chain(Optax("scale_by_zoom_linesearch", 5)), ValueError, r"Use varq\.Scipy\('BFGS'\)"),
        (lambda: Optax.schedule("adam", 0.1), ValueError, "makes a schedule.*Got 'adam'"),
        (lambda: Optax.schedule("cosine_decay"), ValueError, "Did you mean 'cosine_decay_schedule'"),
        (
            lambda: Optax("adam", learning_rate="x"),
            TypeError,
            r"learning_rate of optax\.adam must be a real number\. Got 'x'.*A schedule will do too: Optax\.schedule",
        ),
        (lambda: Optax("adam", Optax("sgd", 0.1)), TypeError, "learning_rate of .* must be a real number"),
        (lambda: Optax("adam", optax.sgd(0.1)), TypeError, "learning_rate of .* must be a real number"),
        (lambda: Optax("adam", float("nan")), ValueError, r"learning_rate of optax\.adam must be finite\. Got nan"),
        (lambda: Optax("adam", float("inf")), ValueError, r"learning_rate of optax\.adam must be finite\. Got inf"),
        (lambda: Optax("adam", np.array(np.nan)), ValueError, "learning_rate of .* must be finite"),
        (lambda: Optax("adam", 0.1, b1="0.9"), TypeError, r"b1 of optax\.adam must be a real number\. Got '0\.9'"),
        (lambda: Optax("adam", 0.1, b1=None), TypeError, "b1 of .* must be a real number"),
        (lambda: Optax("adam", 0.1, nesterov=1), TypeError, r"nesterov of optax\.adam must be True or False"),
        (lambda: Optax.schedule("cosine_decay_schedule", 0.1, "9"), TypeError, "decay_steps of .* must be an integer"),
        (lambda: Optax.chain(), ValueError, r"optax\.chain must have at least one part"),
        (lambda: Optax("chain", arguments={"args": ()}), ValueError, "at least one part"),
        (
            lambda: Optax.chain("adam"),
            TypeError,
            r"number 1 must be a transformation\. Got 'adam' .*Give an Optax",
        ),
        (lambda: Optax.chain(Optax("clip", 1.0), None), TypeError, "number 2 must be a transformation. Got None"),
        (lambda: Optax.chain(DECAY), TypeError, "must be a transformation. Got Optax\\('cosine_decay"),
        (lambda: Optax.chain([Optax("sgd", 0.1)]), TypeError, "must be a transformation"),
        (lambda: Optax("flatten", "sgd"), TypeError, r"inner of optax\.flatten must be a transformation"),
        (lambda: Optax.of(3), TypeError, r"must be an optax GradientTransformation\. Got 3"),
        (lambda: DECAY.method(), TypeError, "is no optimizer but a part of one"),
        (lambda: drive(Optax.of(optax.lbfgs()), product, 1), ValueError, r"'value_fn'.*varq\.Scipy\('L-BFGS-B'\)"),
        (lambda: NaturalGradient(learning_rate=0), ValueError, "learning_rate must be greater than 0"),
        (lambda: NaturalGradient(regularization=-1), ValueError, "regularization must be at least 0"),
        (lambda: NaturalGradient(metric_every=0), ValueError, "metric_every must be at least 1"),
        (lambda: NaturalGradient(adaptive=1), TypeError, "adaptive must be True or False"),
    ],
)
def test_wrong_arguments_are_named(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    "rate", [1, 0.1, np.float32(0.1), jnp.asarray(0.1), np.array(0.1), DECAY, optax.constant_schedule(1)]
)
def test_rates_of_every_kind_are_taken(rate: Any) -> None:
    assert len(drive(Optax("sgd", learning_rate=rate), product, 2).values) == 2


def test_every_optimizer_takes_its_own_defaults() -> None:
    for name in Optax.names():
        signature = inspect.signature(getattr(optax.contrib if "contrib." in name else optax, name.split(".")[-1]))
        given = {p.name: p.default for p in signature.parameters.values() if p.default is not p.empty}
        plain = {k: v for k, v in given.items() if v is None or isinstance(v, (bool, int, float, str))}
        rate = {} if "learning_rate" in given or "learning_rate" not in signature.parameters else {"learning_rate": 0.1}
        made = Optax(name, arguments={**plain, **rate})
        assert plain.items() <= made.arguments.items()


def test_what_an_object_lacks_is_said_without_its_insides() -> None:
    with pytest.raises(
        ValueError, match=r"^Optax\.of\(<optax GradientTransformationExtraArgs>, name='mine'\) needs more"
    ):
        drive(Optax.of(optax.lbfgs(), name="mine"), product, 1)
    broken = Optax("adam", 0.1)
    broken.arguments["learning_rate"] = "x"  # type: ignore[index] # as optax may refuse what its annotations allow
    with pytest.raises(ValueError, match=r"^Optax\(.*learning_rate='x'.*\) cannot take a step") as caught:
        drive(broken, product, 1)
    assert "L-BFGS-B" not in str(caught.value)


def test_an_update_needs_a_gradient() -> None:
    method = Optax("sgd", 0.1).method()
    with pytest.raises(ValueError, match="must be told a value and a gradient"):
        method.tell(method.init(np.zeros(2), KEY), Reply(value=1.0))


# -- the natural gradient ------------------------------------------------------------------------------------------


def test_the_step_solves_the_regularized_metric() -> None:
    metric, grad = np.array([[0.5, 0.2], [0.2, 0.3]]), np.array([[1.0, -2.0]])
    method = NaturalGradient(learning_rate=0.4, regularization=0.05).method()
    state = method.init(np.array([[0.1, 0.2]]), KEY)
    assert [type(part) for part in method.ask(state).parts] == [ValueAndGrad, Metric]  # type: ignore[union-attr]
    state, info = method.tell(state, Reply(parts=(Reply(value=3.0, grad=grad), Reply(metric=metric))))
    by_hand = np.array([[0.1, 0.2]]) - 0.4 * np.linalg.solve(metric + 0.05 * np.eye(2), grad.ravel())
    np.testing.assert_allclose(method.ask(state).parts[0].x, by_hand, atol=BY_HAND)  # type: ignore[union-attr]
    assert info["value"] == 3.0
    assert info["grad_norm"] == pytest.approx(np.sqrt(5))


@pytest.mark.parametrize("negative", [0.0, -0.3])
def test_directions_without_metric_are_left_alone(negative: float) -> None:
    method = NaturalGradient(learning_rate=1.0, regularization=0.0).method()
    told = Reply(parts=(Reply(value=0.0, grad=np.array([1.0, 1.0])), Reply(metric=np.diag([0.5, negative]))))
    state, _ = method.tell(method.init(np.zeros(2), KEY), told)
    np.testing.assert_allclose(method.ask(state).parts[0].x, [-2.0, 0.0], atol=BY_HAND)  # type: ignore[union-attr]


def test_the_metric_is_asked_for_when_it_is_due() -> None:
    trace = drive(NaturalGradient(metric_every=3), excitation, 7)
    assert [isinstance(r, Many) for r in trace.requests] == [True, False, False, True, False, False, True]


def test_where_the_metric_is_the_curvature_every_error_shrinks_alike() -> None:
    points = drive(NaturalGradient(learning_rate=0.3, regularization=0.0), quadratic, 12)
    errors = np.array([r.parts[0].x.ravel() for r in points.requests]) - CENTER  # type: ignore[union-attr]
    np.testing.assert_allclose(errors, np.outer(0.7 ** np.arange(12), errors[0]), atol=BY_HAND)


def test_an_adaptive_step_that_fails_is_taken_back() -> None:
    trace: Trace = drive(NaturalGradient(learning_rate=2.5, regularization=0.0, adaptive=True), excitation, 80)
    back = [k for k, info in enumerate(trace.infos) if "x" in info]
    assert back
    for k in back:
        assert trace.values[k] > min(trace.values[:k])
        assert trace.infos[k]["regularization"] > trace.infos[k - 1]["regularization"]
    assert min(trace.values) < trace.values[0]
