"""Every optimizer on every cost it can solve; replay, identity and what leaves a method, for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optax
import pytest
from optimizer_costs import COSTS, KEY, Cost, drive, excitation, finite_differences, parts, product, quadratic

from varq import spec
from varq.optimizers.catalog import METHODS
from varq.optimizers.classical import Scipy
from varq.optimizers.coordinate import ExcitationSolve, Rotosolve
from varq.optimizers.gradient import Optax
from varq.optimizers.natural import NaturalGradient
from varq.optimizers.resolution import as_optimizer
from varq.optimizers.stochastic import SPSA
from varq.protocol import Finished, Optimizer, Reason, Stop

DIFFERENCED = 1e-8  # central differences with step 1e-6: rounding 1e-16 / 1e-6 and a little more
STOPPED = 1e-4  # where methods with their own, or no, stop rule stand after the steps given here
SLOW = 2e-2  # first-order and random methods on a narrow valley

DEPRECATED = ("optimistic_adam",)  # of optax, which says so in a warning

DECAY = Optax.schedule("cosine_decay_schedule", init_value=0.2, decay_steps=400)
GRADIENT = [
    Optax("adam", learning_rate=0.05),
    Optax("adam", learning_rate=DECAY),
    Optax.chain(Optax("clip_by_global_norm", max_norm=1.0), Optax("sgd", learning_rate=0.1)),
    Optax("polyak_sgd", f_min=-5.0, max_learning_rate=0.1),
]
OWN = [
    SPSA(),
    SPSA(learning_rate=0.5, blocking=True, resamplings=2),
    Rotosolve(),
    Rotosolve(order="random", refresh=2),
    ExcitationSolve(),
    ExcitationSolve(order="backward", sweeps=3),
    NaturalGradient(),
    NaturalGradient(learning_rate=0.5, metric_every=3, adaptive=True),
]
DESCENT = [SPSA(), SPSA(blocking=True), NaturalGradient(), NaturalGradient(adaptive=True, metric_every=2)]
CLASSICAL = [Scipy(name) for name in METHODS] + [Scipy("BFGS", gradient=False), Scipy("L-BFGS-B", bounds=(-2, 2))]
EVERY = [*GRADIENT, *OWN, *CLASSICAL]

every = pytest.mark.parametrize("optimizer", EVERY, ids=lambda o: repr(o)[:60])


@pytest.mark.parametrize("cost", COSTS, ids=lambda c: c.name)
def test_the_costs_have_the_gradients_they_claim(cost: Cost) -> None:
    x = cost.start.ravel() + np.array([0.1, -0.2, 0.3, 0.05])
    np.testing.assert_allclose(
        cost.grad(x), list(finite_differences(cost, x)), atol=DIFFERENCED * 100, rtol=DIFFERENCED
    )


@pytest.mark.parametrize("cost", COSTS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", METHODS)
def test_every_scipy_method_finds_the_minimum(name: str, cost: Cost) -> None:
    crawls = (name, cost.name) == ("COBYLA", "rosenbrock")  # linear models see little of a curved valley
    trace = drive(Scipy(name, {"maxiter": 200} if crawls else {}), cost, 6000)
    assert trace.finished is not None
    if name == "dogleg" and "linalg" in trace.finished.message:
        # It is for convex regions alone, and says so where it leaves one.
        assert trace.finished.reason is Reason.STALLED
        assert cost is not quadratic
    elif crawls:
        assert trace.finished.reason is Reason.STALLED
        assert "MAXFUN" in trace.finished.message
    else:
        assert trace.finished.reason is Reason.CONVERGED, trace.finished
        assert min(trace.values) == pytest.approx(cost.lowest, abs=STOPPED)


@pytest.mark.parametrize("cost", [quadratic, product, excitation], ids=lambda c: c.name)
@pytest.mark.parametrize("optimizer", [*GRADIENT[:3], *DESCENT], ids=lambda o: repr(o)[:60])
def test_every_descent_finds_the_minimum(optimizer: Optimizer, cost: Cost) -> None:
    trace = drive(optimizer, cost, 600)
    reached = trace.infos[-1].get("x", parts(trace.requests[-1])[0].x)
    tolerance = SLOW if isinstance(optimizer, SPSA) else STOPPED
    assert cost.value(np.asarray(reached).ravel()) == pytest.approx(cost.lowest, abs=tolerance)


@every
def test_replay_goes_on_bit_for_bit(optimizer: Optimizer) -> None:
    undisturbed = drive(optimizer, excitation, 40)
    steps = len(undisturbed.requests)
    for cut in {1, steps // 3, steps - 1, steps}:
        resumed = drive(optimizer, excitation, 40, recorded=undisturbed.replies[:cut])
        assert resumed.flat() == undisturbed.flat()
        assert [_bits(info) for info in resumed.infos] == [_bits(info) for info in undisturbed.infos]
        assert resumed.finished == undisturbed.finished


def _bits(info: dict[str, Any]) -> dict[str, Any]:
    return {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in info.items()}


@every
def test_only_plain_numbers_leave_a_method(optimizer: Optimizer) -> None:
    for info in drive(optimizer, excitation, 25).infos:
        assert isinstance(info["value"], float)
        for value in info.values():
            assert type(value) in (float, int, bool, np.ndarray)
        if "x" in info:
            assert info["x"].shape == excitation.start.shape


@every
def test_requests_do_not_share_memory_with_the_state(optimizer: Optimizer) -> None:
    method = optimizer.method()
    state = method.init(excitation.start, KEY)
    request = method.ask(state)
    assert not isinstance(request, Finished)
    seen = [part.x.copy() for part in parts(request)]
    reply = excitation.reply(request, KEY)
    for part in parts(request):
        part.x[...] = 1e6
    again = method.ask(method.init(excitation.start, KEY))
    assert not isinstance(again, Finished)
    assert all(np.array_equal(a.x, b) for a, b in zip(parts(again), seen, strict=True))
    state, _ = method.tell(state, reply)
    following = method.ask(state)
    assert isinstance(following, Finished) or all(abs(part.x).max() < 1e3 for part in parts(following))


@every
def test_specs_are_values(optimizer: Optimizer) -> None:
    text = spec.dumps(optimizer)
    back = spec.loads(text)
    assert back == optimizer
    assert hash(back) == hash(optimizer)
    assert spec.dumps(back) == text
    assert spec.identity(back) == spec.identity(optimizer)
    assert spec.identity(optimizer)[1]
    assert isinstance(optimizer.stop, Stop)


def test_all_these_specs_differ() -> None:
    assert len({spec.identity(o)[0] for o in EVERY}) == len(EVERY)
    assert len(set(EVERY)) == len(EVERY)


@pytest.mark.parametrize("optimizer", [Scipy(), SPSA(), Rotosolve(), ExcitationSolve()], ids=lambda o: o.kind)
def test_no_parameters_end_at_once(optimizer: Optimizer) -> None:
    constant = Cost("constant", lambda x: 2.5, lambda x: np.zeros(0), np.zeros((0,)), 2.5)
    trace = drive(optimizer, constant, 3)
    assert trace.values[0] == 2.5


def test_names_stand_for_defaults() -> None:
    assert as_optimizer("adam") == Optax("adam", learning_rate=0.05)
    assert as_optimizer("polyak_sgd") == Optax("polyak_sgd")
    assert as_optimizer("spsa") == SPSA()
    assert as_optimizer("ROTOSOLVE") == Rotosolve()
    assert as_optimizer("excitation-solve") == as_optimizer("ExcitationSolve") == ExcitationSolve()
    assert as_optimizer("natural-gradient") == NaturalGradient()
    for name in METHODS:
        assert as_optimizer(name.lower()) == as_optimizer(name.upper()) == Scipy(name)
    for value in EVERY:
        assert as_optimizer(value) is value


@pytest.mark.parametrize("name", [n for n in Optax.names() if n not in DEPRECATED])
def test_every_optimizer_of_optax_runs_by_name(name: str) -> None:
    trace = drive(as_optimizer(name), replace(quadratic, start=np.full((2, 2), 0.5)), 3)
    assert len(trace.values) == 3
    assert np.isfinite(trace.values).all()


def test_raw_optax_objects_are_wrapped() -> None:
    wrapped = as_optimizer(optax.adam(0.05))
    assert isinstance(wrapped, Optax)
    assert spec.identity(wrapped)[1] is False
    assert wrapped != as_optimizer(optax.adam(0.05))
    assert drive(wrapped, product, 30).flat() == drive(as_optimizer("adam"), product, 30).flat()


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Got 'adm'\. Did you mean 'adam'"):
        as_optimizer("adm")
    with pytest.raises(ValueError, match="Did you mean 'COBYLA'"):
        as_optimizer("cobila")
    with pytest.raises(ValueError, match=r"optax\.lbfgs evaluates the cost inside its update.*Scipy\('L-BFGS-B'\)"):
        as_optimizer("lbfgs")
    with pytest.raises(TypeError, match=r"not the class SPSA\. Call it: SPSA"):
        as_optimizer(SPSA)
    with pytest.raises(TypeError, match=r"must be a name, an optimizer of varq or an optax transformation\. Got 3"):
        as_optimizer(3)
