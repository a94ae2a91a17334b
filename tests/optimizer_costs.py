"""Costs with known minima, and a plain driver that asks an optimizer and tells it: for their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import optimize

from varq.keys import Key
from varq.protocol import Array, Finished, Many, Metric, Optimizer, Reply, Request, Value, ValueAndGrad

KEY = Key.from_seed(11)
SHAPE = (2, 2)  # of every start: optimizers must keep an ansatz' own shape


@dataclass(frozen=True)
class Cost:
    """A cost of parameters of any shape, with all that an optimizer may ask of it, and its minimum."""

    name: str
    value: Callable[[Array], float]
    grad: Callable[[Array], Array]
    start: Array
    lowest: float
    metric: Callable[[Array], Array] | None = None
    noise: float = 0.0

    def reply(self, request: Request, key: Key) -> Reply:
        """The answer to one request; noise is drawn from `key`, so it belongs to the step and not to the history."""
        if isinstance(request, Many):
            return Reply(parts=tuple(self.reply(part, key.fold(i)) for i, part in enumerate(request.parts)))
        assert isinstance(request, (Value, ValueAndGrad, Metric))
        assert isinstance(request.x, np.ndarray)
        assert request.x.dtype == np.float64
        assert request.x.shape == self.start.shape
        x = request.x.ravel()
        if isinstance(request, Metric):
            assert self.metric is not None
            return Reply(metric=self.metric(x))
        value = float(self.value(x)) + (self.noise * float(key.generator().normal()) if self.noise else 0.0)
        grad = self.grad(x).reshape(self.start.shape) if isinstance(request, ValueAndGrad) else None
        return Reply(value=value, stderr=self.noise or None, grad=grad, executions=1)


@dataclass
class Trace:
    """What happened in a run."""

    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    finished: Finished | None = None
    state: Any = None

    @property
    def values(self) -> list[float]:
        """The value each step stands for."""
        return [float(info["value"]) for info in self.infos]

    @property
    def x(self) -> Array:
        """The last iterate a method names."""
        return np.asarray(self.infos[-1]["x"])

    def flat(self) -> list[tuple[Any, ...]]:
        """Every request as comparable data."""
        return [tuple((type(p).__name__, p.x.tobytes(), p.x.shape) for p in parts(r)) for r in self.requests]

    def points(self) -> Array:
        """The points of all requests for a single point, one a row."""
        return np.array([r.x.ravel() for r in self.requests if not isinstance(r, Many)])


def parts(request: Request) -> Sequence[Any]:
    """The parts of a request, or itself alone."""
    return request.parts if isinstance(request, Many) else (request,)


def drive(spec: Optimizer, cost: Cost, steps: int, recorded: Sequence[Reply] = (), key: Key = KEY) -> Trace:
    """Run `spec` on `cost` for at most `steps` steps; the first ones are told what is recorded."""
    method, trace = spec.method(), Trace()
    trace.state = method.init(cost.start, key)
    for step in range(steps):
        request = method.ask(trace.state)
        if isinstance(request, Finished):
            trace.finished = request
            break
        reply = recorded[step] if step < len(recorded) else cost.reply(request, key.fold("device", step))
        trace.state, info = method.tell(trace.state, reply)
        trace.requests.append(request)
        trace.replies.append(reply)
        trace.infos.append(dict(info))
    return trace


# -- costs ---------------------------------------------------------------------------------------------------------

_SCALES = np.array([1.0, 2.0, 5.0, 0.5])
CENTER = np.array([0.3, -0.7, 1.1, 0.2])

quadratic = Cost(
    "quadratic",
    lambda x: 0.5 * float(_SCALES @ (x - CENTER) ** 2) - 1.0,
    lambda x: _SCALES * (x - CENTER),
    np.zeros(SHAPE),
    -1.0,
    metric=lambda x: np.diag(_SCALES),
)

rosenbrock = Cost(
    "rosenbrock",
    lambda x: float(optimize.rosen(x)),
    lambda x: np.asarray(optimize.rosen_der(x)),
    np.array([[0.8, 1.2], [0.7, 0.9]]),
    0.0,
)


def _cosines(x: Array) -> Array:
    return np.cos(x - CENTER)


# Minus a product of cosines: the energy of independent spins, lowest where every angle meets its center.
product = Cost(
    "product",
    lambda x: -float(np.prod(_cosines(x))),
    lambda x: np.array([np.prod(np.delete(_cosines(x), i)) * np.sin(x[i] - CENTER[i]) for i in range(4)]),
    np.zeros(SHAPE),
    -1.0,
    metric=lambda x: np.eye(4) / 4,
)


def _givens(theta: float, k: int) -> Array:
    """exp(-i theta G / 2) for G = i (|0><k| - |k><0|), which obeys G^3 = G: a turn by half the angle."""
    u = np.eye(5)
    u[0, 0] = u[k, k] = np.cos(theta / 2)
    u[k, 0], u[0, k] = np.sin(theta / 2), -np.sin(theta / 2)
    return u


def _slope(theta: float, k: int) -> Array:
    u = np.zeros((5, 5))
    u[0, 0] = u[k, k] = -np.sin(theta / 2) / 2
    u[k, 0], u[0, k] = np.cos(theta / 2) / 2, -np.cos(theta / 2) / 2
    return u


_MATRIX = np.random.default_rng(5).normal(size=(5, 5)) / 3 + np.diag([-1.0, 0.0, 0.5, 1.0, 1.5])
_MATRIX = (_MATRIX + _MATRIX.T) / 2


def _chain(x: Array, derive: int | None = None) -> Array:
    state = np.eye(5)[0]
    for i, theta in enumerate(x):
        state = (_slope if i == derive else _givens)(float(theta), i + 1) @ state
    return state


def _jacobian(x: Array) -> Array:
    return np.stack([_chain(x, i) for i in range(4)], axis=1)


# Four excitations out of a reference reach every real state of five levels, so the minimum is the lowest eigenvalue.
excitation = Cost(
    "excitation",
    lambda x: float(_chain(x) @ _MATRIX @ _chain(x)),
    lambda x: 2 * _jacobian(x).T @ _MATRIX @ _chain(x),
    np.zeros(SHAPE),
    float(np.linalg.eigvalsh(_MATRIX)[0]),
    metric=lambda x: _jacobian(x).T @ _jacobian(x),
)

COSTS = (quadratic, rosenbrock, product, excitation)


def finite_differences(cost: Cost, x: Array, step: float = 1e-6) -> Iterator[float]:
    """The gradient of `cost` by central differences, entry by entry."""
    for i in range(x.size):
        shift = step * np.eye(x.size)[i]
        yield (cost.value(x + shift) - cost.value(x - shift)) / (2 * step)
