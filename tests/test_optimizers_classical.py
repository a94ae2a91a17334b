"""SciPy asked point by point against SciPy called directly; its threads, warnings and errors."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from optimizer_costs import KEY, SHAPE, Cost, drive, excitation, product, quadratic, rosenbrock
from scipy import optimize

from varq.optimizers.catalog import METHODS
from varq.optimizers.classical import Scipy
from varq.optimizers.worker import Conversation
from varq.protocol import Finished, Many, Reason, Reply, Value, ValueAndGrad

DIFFERENCED = 1e-5  # how far points move when exact curvature is replaced by differences of gradients
PATIENCE = 5.0  # seconds an abandoned thread may take to end on a busy machine

CURVED = [name for name, ability in METHODS.items() if ability.curvature]
FLAT = [name for name, ability in METHODS.items() if not ability.curvature]


class _Recorder:
    """A cost as SciPy calls it, which notes each new point."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self.points: list[Any] = []

    def _see(self, x: Any) -> None:
        if not self.points or not np.array_equal(self.points[-1], x):
            self.points.append(np.array(x))

    def value(self, x: Any) -> float:
        self._see(x)
        return float(self.cost.value(x))

    def grad(self, x: Any) -> Any:
        self._see(x)
        return self.cost.grad(x)


WITHOUT_THE_LOCK = """
import sys
import numpy as np
from scipy import optimize

del optimize._cobyqa_py
sys.modules["scipy.optimize._cobyqa_py"] = None  # importing it is an ImportError, as where SciPy has moved it
from varq.optimizers.classical import Scipy
from varq.keys import Key
from varq.protocol import Finished, Reply

for name in ("COBYQA", "L-BFGS-B"):
    method = Scipy(name).method()
    state = method.init(np.array([0.5, 0.2]), Key.from_seed(0))
    while not isinstance(asked := method.ask(state), Finished):
        method.tell(state, Reply(value=float(asked.x @ asked.x), grad=2 * asked.x))
    print(name, asked.reason.value, state.value < 1e-8)
"""


def test_a_private_name_of_scipy_may_go() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_LOCK], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["COBYQA converged True", "L-BFGS-B converged True"], done.stderr


@pytest.mark.parametrize("gradient", [None, False])
@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("cost", [quadratic, excitation], ids=lambda c: c.name)
def test_asked_it_is_scipy_called(name: str, cost: Cost, gradient: bool | None) -> None:
    if gradient is False and METHODS[name].gradient == "required":
        return
    seen = _Recorder(cost)
    options = {"maxfun" if name == "TNC" else "maxiter": 30}
    spec = Scipy(name, options, gradient=gradient)
    jac = seen.grad if spec.uses_gradient else None
    result = optimize.minimize(seen.value, cost.start.ravel(), method=name, jac=jac, options=options)
    trace = drive(spec, cost, 5000)
    assert [type(r) for r in trace.requests] == [ValueAndGrad if spec.uses_gradient else Value] * len(seen.points)
    np.testing.assert_array_equal(trace.points(), seen.points)
    assert max(result.nfev, result.get("njev", 0)) >= len(seen.points)
    assert trace.finished == Finished(Reason.CONVERGED if result.success else Reason.STALLED, str(result.message))


@pytest.mark.parametrize("name", CURVED)
def test_differenced_curvature_leads_the_same_way(name: str) -> None:
    seen = _Recorder(rosenbrock)
    kind = (
        {"hess": optimize.rosen_hess} if METHODS[name].curvature == "hessian" else {"hessp": optimize.rosen_hess_prod}
    )
    start = rosenbrock.start.ravel()
    result = optimize.minimize(seen.value, start, method=name, jac=seen.grad, **kind)
    trace = drive(Scipy(name), rosenbrock, 5000)
    np.testing.assert_allclose(trace.points()[-1], result.x, atol=DIFFERENCED)
    np.testing.assert_allclose(trace.points()[:5], seen.points[:5], atol=DIFFERENCED)
    sizes = {len(r.parts) for r in trace.requests if isinstance(r, Many)}
    assert sizes == ({8} if METHODS[name].curvature == "hessian" else {2})


def test_options_bounds_and_tolerance_reach_scipy() -> None:
    bounds = [(-0.5, 0.25), (None, 0), (0.0, 2.0), (0.1, None)]
    seen = _Recorder(quadratic)
    options = {"maxcor": 3, "ftol": 1e-4}
    start = quadratic.start.ravel()
    optimize.minimize(seen.value, start, method="L-BFGS-B", jac=seen.grad, bounds=bounds, tol=1e-3, options=options)
    trace = drive(Scipy("L-BFGS-B", options, bounds=bounds, tol=1e-3), quadratic, 99)
    np.testing.assert_array_equal(trace.points(), seen.points)
    inside = drive(Scipy("COBYQA", bounds=(0, 0.2)), quadratic, 500).points()
    assert inside.min() >= 0
    assert inside.max() <= 0.2
    simplex = np.vstack([start, start + 0.1 * np.eye(4)])
    np.testing.assert_array_equal(
        drive(Scipy("Nelder-Mead", {"initial_simplex": simplex}), quadratic, 5).points(), simplex
    )


def test_the_ways_to_write_bounds_are_one_value() -> None:
    assert Scipy(bounds=(-1, 1)) == Scipy(bounds=[[-1.0, 1.0]]) == Scipy(bounds=optimize.Bounds(-1, 1))
    assert Scipy(bounds=(0, np.inf)) == Scipy(bounds=(0.0, None))
    assert Scipy(bounds=[(0, 1), (None, 2)]) == Scipy(bounds=optimize.Bounds([0, -np.inf], [1, 2]))
    assert Scipy(bounds=(0, 1)) != Scipy(bounds=(0, 2))


def test_equal_meaning_is_one_value() -> None:
    assert Scipy("bfgs", {"gtol": 1}) == Scipy("BFGS", {"gtol": 1.0})
    assert Scipy("BFGS", {"gtol": 1e-5}) != Scipy("BFGS", {"gtol": 1e-6})
    assert Scipy("BFGS", {"maxiter": 5}).options["maxiter"] == 5
    assert Scipy("BFGS", {"maxiter": 5.0}) == Scipy("BFGS", {"maxiter": 5})
    assert Scipy("BFGS", tol=1).tol == 1.0


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_option_is_scipys(name: str) -> None:
    text = optimize.show_options("minimize", name, disp=False)
    common = optimize.show_options("minimize", "trust-ncg", disp=False) if METHODS[name].curvature else ""
    general = ["disp", "maxiter", "maxfev", "verbose", "finite_diff_rel_step", "mesg_num", "iprint"]
    missing = [o for o in METHODS[name].options if o not in text + common and o not in general]
    assert not missing


@pytest.mark.parametrize("name", METHODS)
def test_scipy_knows_every_listed_option(name: str) -> None:
    # SciPy warns of an option that it does not know, and the suite makes warnings errors.
    gradient, curvature = METHODS[name].gradient != "none", METHODS[name].curvature
    numbers = {"maxfun": 40, "maxiter": 40, "maxfev": 40, "maxcor": 5, "maxls": 20}
    given = {option: numbers[option] for option in METHODS[name].options if option in numbers}
    given |= {option: 1e-3 for option in METHODS[name].options if option in ("gtol", "xtol", "ftol", "fatol", "xatol")}
    result = optimize.minimize(
        quadratic.value,
        np.zeros(4),
        method=name,
        jac=quadratic.grad if gradient else None,
        hess=(lambda x: np.diag([1.0, 2.0, 5.0, 0.5])) if curvature else None,
        options=given,
    )
    assert result.fun < quadratic.value(np.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"name": "L-BFGS"}, ValueError, "name must be one of.*Got 'L-BFGS'.*Did you mean 'L-BFGS-B'"),
        ({"name": 3}, ValueError, "name must be one of.*Got 3"),
        ({"options": {"maxitr": 3}}, ValueError, "An option of L-BFGS-B must be one of.*Did you mean 'maxiter'"),
        ({"options": {"maxiter": "3"}}, TypeError, r"options\['maxiter'\] must be an integer. Got '3'"),
        ({"options": {"maxiter": float("nan")}}, TypeError, r"options\['maxiter'\] must be an integer. Got nan"),
        ({"options": {"ftol": float("nan")}}, ValueError, r"options\['ftol'\] must be finite"),
        ({"options": 3}, TypeError, "options must be of type Mapping"),
        (
            {"name": "BFGS", "bounds": (0, 1)},
            ValueError,
            "bounds must be None for BFGS, which cannot keep them.*COBYLA",
        ),
        ({"bounds": 3}, TypeError, r"bounds must be of type tuple.*Give one \(low, high\) pair"),
        ({"bounds": [(0, 1), 3]}, ValueError, r"bounds\[1\] must be a \(low, high\) pair\. Got 3"),
        ({"bounds": (1, 0)}, ValueError, r"bounds\[0\] must have low <= high"),
        ({"bounds": (float("nan"), 0)}, ValueError, r"bounds\[0\]\[0\] must be finite"),
        ({"tol": -1}, ValueError, "tol must be at least 0"),
        ({"gradient": 1}, TypeError, "gradient must be True or False"),
        ({"name": "COBYLA", "gradient": True}, ValueError, "gradient must not be True for COBYLA"),
        ({"name": "dogleg", "gradient": False}, ValueError, "gradient must not be False for dogleg"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Scipy(**arguments)


def test_bounds_must_fit_the_parameters() -> None:
    with pytest.raises(ValueError, match=r"bounds must hold 1 pair or 4, one a parameter\. Got 2"):
        Scipy(bounds=[(0, 1), (0, 1)]).method().init(np.zeros(4), KEY)


# -- threads -------------------------------------------------------------------------------------------------------


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("varq-")]


def _gone(before: int) -> bool:
    end = time.monotonic() + PATIENCE
    while len(_threads()) > before and time.monotonic() < end:
        time.sleep(0.01)
    return len(_threads()) <= before


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize("name", METHODS)
def test_a_dropped_state_ends_its_thread(name: str, steps: int) -> None:
    gc.collect()
    before = len(_threads())
    method = Scipy(name).method()
    state = method.init(excitation.start, KEY)
    for _ in range(steps):
        request = method.ask(state)
        if not isinstance(request, Finished):
            state, _ = method.tell(state, excitation.reply(request, KEY))
    ended = isinstance(method.ask(state), Finished)
    assert ended or len(_threads()) == before + 1
    del state
    assert _gone(before)


def test_a_finished_run_leaves_no_thread() -> None:
    before = len(_threads())
    trace = drive(Scipy(), excitation, 999)
    assert trace.finished is not None
    assert _gone(before)
    with pytest.raises(RuntimeError, match="this conversation has ended"):
        Scipy().method().tell(trace.state, Reply(value=1.0))


def test_closing_ends_the_thread_at_once() -> None:
    before = len(_threads())
    method = Scipy("Powell").method()
    state = method.init(excitation.start, KEY)
    method.ask(state)
    assert len(_threads()) == before + 1
    method.close(state)
    method.close(state)
    assert _gone(before)
    assert method.ask(state) == Finished(Reason.STOPPED, "closed")


def test_a_state_in_a_cycle_is_collected() -> None:
    before = len(_threads())
    state = Scipy("BFGS").method().init(excitation.start, KEY)
    state.talk.__dict__["cycle"] = state.talk
    gone = weakref.ref(state.talk)
    del state
    gc.collect()
    assert gone() is None
    assert _gone(before)


@pytest.mark.parametrize("name", METHODS)
def test_runs_that_take_turns_do_not_disturb_each_other(name: str) -> None:
    method = Scipy(name).method()
    costs = (quadratic, product)
    alone = [drive(Scipy(name), cost, 15) for cost in costs]
    states = [method.init(cost.start, KEY) for cost in costs]
    for step in range(15):
        for i, cost in enumerate(costs):
            request = method.ask(states[i])
            if isinstance(request, Finished):
                assert request == alone[i].finished
                continue
            expected = alone[i].requests[step]
            assert [p.x.tolist() for p in getattr(request, "parts", (request,))] == [
                p.x.tolist() for p in getattr(expected, "parts", (expected,))
            ]
            states[i], _ = method.tell(states[i], cost.reply(request, KEY))


def test_an_abandoned_run_lets_the_interpreter_end_in_silence() -> None:
    program = """
import numpy as np
from varq.keys import Key
from varq.optimizers.catalog import METHODS
from varq.optimizers.classical import Scipy
from varq.protocol import Reply
kept = []
for name in METHODS:
    method = Scipy(name).method()
    state = method.init(np.ones(3), Key.from_seed(0))
    method.tell(state, Reply(value=1.0, grad=np.ones(3)))
    kept.append(state)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_errors_of_scipy_surface_where_it_is_driven() -> None:
    method = Scipy("Nelder-Mead", {"initial_simplex": np.zeros((2, 2))}).method()
    state = method.init(np.zeros(SHAPE), KEY)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"initial_simplex") as caught:
            method.ask(state)
        assert caught.value.__notes__ == [n for n in caught.value.__notes__ if "method='Nelder-Mead'" in n]
        assert len(caught.value.__notes__) == 1


def test_a_reply_that_scipy_cannot_use_is_an_error_of_tell() -> None:
    method = Scipy("BFGS").method()
    state = method.init(np.zeros(SHAPE), KEY)
    method.ask(state)
    with pytest.raises(ValueError, match="cannot reshape array of size 1"):
        method.tell(state, Reply(value=1.0, grad=np.zeros(1)))


def test_warnings_of_scipy_stay_inside_and_filters_as_they_were() -> None:
    linear = Cost("linear", lambda x: float(x.sum()), lambda x: np.ones(4), np.zeros(SHAPE), -np.inf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        method = Scipy("trust-constr", {"maxiter": 20}).method()  # warns that the cost looks linear
        state = method.init(linear.start, KEY)
        while not isinstance(request := method.ask(state), Finished):
            assert warnings.filters == before
            warnings.warn("of the evaluation", stacklevel=1)
            state, _ = method.tell(state, linear.reply(request, KEY))
        assert warnings.filters == before
    assert {str(w.message) for w in caught} == {"of the evaluation"}


def test_filters_survive_a_run_dropped_in_the_middle() -> None:
    before = list(warnings.filters)
    for name in METHODS:
        drive(Scipy(name), rosenbrock, 12)
        gc.collect()
        assert warnings.filters == before


def test_floating_point_errors_of_the_caller_are_unchanged() -> None:
    with np.errstate(all="raise"):
        drive(Scipy("TNC"), excitation, 30)
        assert np.geterr()["over"] == "raise"


def test_a_conversation_passes_errors_and_ends() -> None:
    def fails(question: Any) -> None:
        question("first")
        raise KeyError("inside")

    talk = Conversation(fails)
    assert talk.pending == ("question", "first")
    talk.answer(1)
    for _ in range(2):
        with pytest.raises(KeyError, match="inside"):
            _ = talk.pending


class _SlowLock:
    """A lock that whoever is answered holds for a while before it goes on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held = threading.Event()

    def acquire(self) -> None:
        self.lock.acquire()
        self.held.set()
        time.sleep(0.2)

    def release(self) -> None:
        self.lock.release()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def test_one_conversation_can_begin_while_another_goes_on() -> None:
    """As with SciPy's COBYQA, both hold a lock while they think; both hold back warnings, which takes another."""
    lock = _SlowLock()

    def solve(question: Any) -> Any:
        with lock:
            return question("where")

    first = Conversation(solve, lock=lock)  # type: ignore[arg-type]
    assert first.pending == ("question", "where")
    found: list[Any] = []

    def begin() -> None:
        lock.held.wait(PATIENCE)
        found.append(Conversation(solve, lock=lock).pending)  # type: ignore[arg-type]

    workers = [threading.Thread(target=first.answer, args=("here",), daemon=True)]
    workers.append(threading.Thread(target=begin, daemon=True))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(2 * PATIENCE)
    assert not any(worker.is_alive() for worker in workers)
    assert first.pending == ("result", "here")
    assert found == [("question", "where")]


def test_threads_that_drive_at_once_agree_with_one_alone() -> None:
    alone = drive(Scipy("CG"), excitation, 30).flat()
    found: list[Any] = []
    workers = [
        threading.Thread(target=lambda: found.append(drive(Scipy("CG"), excitation, 30).flat())) for _ in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert found == [alone] * 6
