"""Every method of `scipy.optimize.minimize`, asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy import optimize

from varq import checks
from varq.content import ByContent
from varq.keys import Key
from varq.optimizers.catalog import METHODS
from varq.optimizers.vectors import gradient_norm, vector
from varq.optimizers.worker import Conversation, Question
from varq.protocol import Array, Finished, Many, Reason, Reply, Request, Stop, Value, ValueAndGrad

try:
    from scipy.optimize import _cobyqa_py
except ImportError:  # it is private: a SciPy that has moved it must not take every other method with it
    _cobyqa_py = None

__all__ = ["Scipy"]

# Central differences lose as much by rounding as by truncation near the cube root of the machine epsilon.
DIFFERENCE = float(np.cbrt(np.finfo(np.float64).eps))
SCIPY_STEP = float(np.sqrt(np.finfo(np.float64).eps))  # SciPy's own, of forward differences

# SciPy lets one COBYQA run at a time, by a lock held throughout; a second run would wait for the first one for ever.
# Its code is plain Python with no state outside the call, so runs that take turns at evaluations do not disturb it.
# A SciPy without this lock is taken for one that needs none; the test of runs that take turns tells if that is wrong.
_LOCKS = {"COBYQA": getattr(_cobyqa_py, "COBYQA_LOCK", None)}

_WHOLE = frozenset(
    ["maxiter", "maxfev", "maxfun", "maxcor", "maxls", "maxCGit", "minfev", "iprint", "mesg_num", "verbose"]
)

Pair = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Scipy(ByContent):
    """A method of `scipy.optimize.minimize`.

    SciPy runs in a thread of its own that waits wherever it wants the cost, so any of its methods can be stopped,
    recorded and carried on.  Methods that use gradients ask for value and gradient together, one point a step.
    `dogleg` and `trust-exact` need the Hessian, `trust-ncg` and `trust-krylov` its products with vectors: these are
    central differences of gradients (2n, or 2, evaluations that travel together), good for exact simulation and not
    for shots.

    Args:
        name: of the method, as SciPy's documentation has it, in any capitalization.
        options: SciPy's options for that method, such as `{"maxiter": 100}`.
        bounds: one `(low, high)` pair for all parameters, or a pair for each in flattened order; None is unbounded.
        tol: SciPy's one tolerance for all of the method's convergence tests.
        gradient: False makes a method that could use gradients do with values alone, differenced by SciPy; None uses
            gradients wherever the method can.

    Raises:
        ValueError: for an unknown method or option, or one that this method cannot use; names the close ones.
        TypeError: for a value of a wrong type.

    Example:
        >>> Scipy("l-bfgs-b", {"maxiter": 50}).name
        'L-BFGS-B'
    """

    name: str = "L-BFGS-B"
    options: Mapping[str, Any] = field(default_factory=dict)
    bounds: tuple[Pair, ...] | None = None
    tol: float | None = None
    gradient: bool | None = None
    kind: ClassVar[str] = "optimizer:scipy"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        by_fold = {known.casefold(): known for known in METHODS}
        given = by_fold.get(self.name.casefold(), self.name) if isinstance(self.name, str) else self.name
        name = checks.choice("name", given, METHODS, "These are the methods of scipy.optimize.minimize.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", _options(name, self.options))
        if self.bounds is not None:
            object.__setattr__(self, "bounds", _bounds(name, self.bounds))
        if self.tol is not None:
            object.__setattr__(self, "tol", checks.real("tol", self.tol, minimum=0))
        if self.gradient is not None:
            object.__setattr__(self, "gradient", _gradient(name, self.gradient))

    @property
    def stop(self) -> Stop:
        """SciPy's own convergence tests, and nothing else."""
        return Stop()

    @property
    def uses_gradient(self) -> bool:
        """Whether the method asks for gradients."""
        return METHODS[self.name].gradient != "none" and self.gradient is not False

    @property
    def differences(self) -> float | None:
        """The step over which values or slopes are differenced, in radians; None if none are."""
        if METHODS[self.name].curvature:
            return DIFFERENCE
        if self.name == "Newton-CG" or (self.gradient is False and METHODS[self.name].gradient == "optional"):
            option = "finite_diff_rel_step" if self.name == "trust-constr" else "eps"
            return float(np.min(self.options.get(option, SCIPY_STEP)))
        return None

    def method(self) -> ScipyMethod:
        """The method, ready to be asked."""
        return ScipyMethod(self)


def _options(method: str, options: Any) -> dict[str, Any]:
    checks.instance("options", options, Mapping, "Give a mapping such as {'maxiter': 100}.")
    known = METHODS[method].options
    out = {}
    for name, value in options.items():
        checks.choice(f"An option of {method}", name, known, "Bounds and tol are arguments of Scipy itself.")
        plain = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
        out[name] = float(value) if plain and name not in _WHOLE else _frozen(name, value)
    return out


def _frozen(name: str, value: Any) -> Any:
    said = f"options[{name!r}]"
    if name in _WHOLE and value is not None:
        return checks.integer(said, int(value) if isinstance(value, float) and value.is_integer() else value)
    if isinstance(value, (list, np.ndarray)):
        return checks.array(said, value)
    return checks.real(said, value, infinite=True) if isinstance(value, (float, np.floating)) else value


def _bounds(method: str, bounds: Any) -> tuple[Pair, ...]:
    if not METHODS[method].bounds:
        able = ", ".join(name for name, ability in METHODS.items() if ability.bounds)
        raise ValueError(f"bounds must be None for {method}, which cannot keep them. Methods that can: {able}.")
    if isinstance(bounds, optimize.Bounds):
        low, high = np.broadcast_arrays(np.atleast_1d(bounds.lb), np.atleast_1d(bounds.ub))
        pairs: Any = list(zip(low.tolist(), high.tolist(), strict=True))
    else:
        pairs = _pairs(bounds)
    return tuple(_pair(i, pair) for i, pair in enumerate(pairs))


def _pairs(bounds: Any) -> list[Any]:
    hint = "Give one (low, high) pair, or a list with a pair for each parameter."
    rows = list(checks.instance("bounds", bounds, (tuple, list, np.ndarray), hint))
    single = len(rows) == 2 and all(row is None or np.ndim(row) == 0 for row in rows)
    return [rows] if single else rows


def _pair(i: int, pair: Any) -> Pair:
    hint = "Give one (low, high) pair, or a list with a pair for each parameter."
    if np.ndim(pair) == 0 or len(pair) != 2:
        raise ValueError(f"bounds[{i}] must be a (low, high) pair. Got {pair!r}. {hint}")
    low, high = (_end(f"bounds[{i}][{j}]", end) for j, end in enumerate(pair))
    if low is not None and high is not None and low > high:
        raise ValueError(f"bounds[{i}] must have low <= high. Got ({low}, {high}).")
    return low, high


def _end(name: str, value: Any) -> float | None:
    if value is None:
        return None
    number = checks.real(name, value, infinite=True)
    return None if np.isinf(number) else number


def _gradient(method: str, gradient: Any) -> bool:
    wanted = checks.boolean("gradient", gradient)
    ability = METHODS[method].gradient
    if wanted and ability == "none":
        able = ", ".join(name for name, a in METHODS.items() if a.gradient != "none")
        raise ValueError(f"gradient must not be True for {method}, which uses values alone. Methods that can: {able}.")
    if not wanted and ability == "required":
        raise ValueError(f"gradient must not be False for {method}, which cannot do without. Use 'COBYLA' or 'SPSA'.")
    return wanted


@dataclass
class _State:
    """The running SciPy call, and the last value it was told."""

    talk: Conversation
    value: float = float("nan")


@dataclass(frozen=True)
class ScipyMethod:
    """A `Scipy` spec at work."""

    spec: Scipy

    def init(self, start: Array, key: Key) -> _State:
        """Start SciPy's thread, which stops at its first question; `key` is not used, SciPy's methods draw nothing."""
        x0 = vector(start)
        bounds = self._bounds(x0.size)

        def solve(question: Question) -> optimize.OptimizeResult:
            return _solve(self.spec, _Cost(question, x0.shape, self.spec.uses_gradient), x0.ravel(), bounds)

        lock = _LOCKS.get(self.spec.name) if x0.size else None
        return _State(Conversation(solve, f"varq-{self.spec.name}", lock))

    def ask(self, state: _State) -> Request | Finished:
        """The point SciPy waits for, or its own end."""
        kind, content = self._pending(state)
        if kind == "question":
            return content  # type: ignore[no-any-return]
        if content is None:
            return Finished(Reason.STOPPED, "closed")
        return Finished(Reason.CONVERGED if content.success else Reason.STALLED, str(content.message))

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """Hand SciPy the answer and wait until it asks again or ends."""
        info: dict[str, Any] = {}
        if reply.value is not None:
            state.value = float(reply.value)
        info["value"] = state.value
        if reply.grad is not None:
            info["grad_norm"] = gradient_norm(reply.grad)
        state.talk.answer(reply)
        self._pending(state)
        return state, info

    def close(self, state: _State) -> None:
        """End SciPy's thread now; it also ends when the state is dropped."""
        state.talk.close()

    def _pending(self, state: _State) -> tuple[str, Any]:
        try:
            return state.talk.pending
        except Exception as error:
            note = (
                f"while scipy.optimize.minimize ran with method={self.spec.name!r}, options={dict(self.spec.options)!r}"
            )
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    def _bounds(self, size: int) -> list[Pair] | None:
        bounds = self.spec.bounds
        if bounds is None:
            return None
        if len(bounds) not in (1, size):
            raise ValueError(f"bounds must hold 1 pair or {size}, one a parameter. Got {len(bounds)}.")
        return list(bounds * size if len(bounds) == 1 else bounds)


class _Cost:
    """The cost as SciPy wants to call it: each new point is one question, and the last point is remembered."""

    def __init__(self, question: Question, shape: tuple[int, ...], gradient: bool) -> None:
        self._question = question
        self._shape = shape
        self._kind = ValueAndGrad if gradient else Value
        self._x: Array | None = None
        self._reply = Reply()

    def _at(self, x: Array) -> Reply:
        if self._x is None or not np.array_equal(x, self._x):
            point = vector(x)
            self._reply = self._question(self._kind(point.reshape(self._shape)))
            self._x = point.copy()
        return self._reply

    def value(self, x: Array) -> float:
        return float(self._at(x).value)  # type: ignore[arg-type]

    def gradient(self, x: Array) -> Array:
        return vector(self._at(x).grad).reshape(x.shape)

    def _differences(self, x: Array, directions: Array, step: float) -> Array:
        points = [x + sign * step * d for d in directions for sign in (1.0, -1.0)]
        reply = self._question(Many(tuple(ValueAndGrad(vector(p).reshape(self._shape)) for p in points)))
        grads = np.array([vector(part.grad).ravel() for part in reply.parts]).reshape(len(directions), 2, x.size)
        return (grads[:, 0] - grads[:, 1]) / (2 * step)  # type: ignore[no-any-return]

    def hessian(self, x: Array) -> Array:
        rows = self._differences(vector(x), np.eye(x.size), DIFFERENCE)
        return (rows + rows.T) / 2

    def product(self, x: Array, p: Array) -> Array:
        norm = float(np.linalg.norm(p))
        if norm == 0:
            return np.zeros_like(x)
        return self._differences(vector(x), vector(p / norm)[None, :], DIFFERENCE)[0] * norm  # type: ignore[no-any-return]


def _solve(spec: Scipy, cost: _Cost, x0: Array, bounds: list[Pair] | None) -> optimize.OptimizeResult:
    if x0.size == 0:
        return optimize.OptimizeResult(x=x0, fun=cost.value(x0), success=True, message="There are no parameters.")
    curvature = METHODS[spec.name].curvature
    return optimize.minimize(
        cost.value,
        x0,
        method=spec.name,
        jac=cost.gradient if spec.uses_gradient else None,
        hess=cost.hessian if curvature == "hessian" else None,
        hessp=cost.product if curvature == "product" else None,
        bounds=bounds,
        tol=spec.tol,
        options={name: np.array(v) if isinstance(v, np.ndarray) else v for name, v in spec.options.items()},
    )
