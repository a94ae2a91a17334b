"""Natural gradient: steepest descent in the geometry of the quantum states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.keys import Key
from varq.optimizers.vectors import gradient_norm, vector
from varq.protocol import Array, Finished, Many, Metric, Reply, Request, Stop, ValueAndGrad

__all__ = ["NaturalGradient"]

SIGMAS = 2.0  # a rise within this many standard errors is taken for noise
RAISE, LOWER = 4.0, 2.0  # factors of the adaptive regularization: cautious at once after a failure, bold slowly


@dataclass(frozen=True)
class NaturalGradient:
    """Quantum natural gradient: x <- x - learning_rate * d, where (g + regularization * I) d = gradient.

    g is the Fubini-Study metric of the circuit's states, so a step is measured by how far the state moves, not the
    parameters.  A metric that is not positive (by rounding or shots) has its negative eigenvalues set to zero.

    Args:
        learning_rate: the factor of the step, in parameter squared per unit of the cost.
        regularization: lambda, added to the metric's eigenvalues; large values turn the method into plain descent.
        metric_every: steps between two evaluations of the metric, which costs far more than a gradient.
        adaptive: go back where a step raised the cost (by more than two standard errors) and try again with four times
            the regularization; halve it, down to `regularization`, after each success.

    Raises:
        ValueError: if the rate is not positive, the regularization negative, or `metric_every` less than 1.

    References:
        J. Stokes, J. Izaac, N. Killoran, G. Carleo, Quantum 4, 269 (2020).

    Example:
        >>> from varq.protocol import Reply
        >>> method = NaturalGradient(learning_rate=0.5, regularization=0.0).method()
        >>> state = method.init(np.array([1.0, 2.0]), Key.from_seed(0))
        >>> slope, metric = Reply(value=1.0, grad=np.array([1.0, 1.0])), Reply(metric=np.diag([1.0, 0.25]))
        >>> state, info = method.tell(state, Reply(parts=(slope, metric)))
        >>> method.ask(state).parts[0].x
        array([0.5, 0. ])
    """

    learning_rate: float = 0.1
    regularization: float = 1e-3
    metric_every: int = 1
    adaptive: bool = False
    kind: ClassVar[str] = "optimizer:natural-gradient"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", checks.real("learning_rate", self.learning_rate, above=0.0))
        object.__setattr__(self, "regularization", checks.real("regularization", self.regularization, minimum=0.0))
        object.__setattr__(self, "metric_every", checks.integer("metric_every", self.metric_every, minimum=1))
        object.__setattr__(self, "adaptive", checks.boolean("adaptive", self.adaptive))

    @property
    def stop(self) -> Stop:
        """At most 300 steps; no more once 10 in a row improved the best value by less than 1e-7."""
        return Stop(steps=300, tolerance=1e-7, patience=10)

    def method(self) -> NaturalGradientMethod:
        """The method, ready to be asked."""
        return NaturalGradientMethod(self)


@dataclass(frozen=True)
class _Point:
    """A point that a step may go back to: where, the value and its standard error, and the gradient."""

    x: Array
    value: float
    stderr: float
    grad: Array


@dataclass(frozen=True)
class _State:
    """The next point, the last metric (its eigenvalues and eigenvectors), and what adaptive steps need."""

    x: Array
    damping: float
    count: int = 0
    metric: tuple[Array, Array] | None = None
    last: _Point | None = None


@dataclass(frozen=True)
class NaturalGradientMethod:
    """A `NaturalGradient` spec at work."""

    spec: NaturalGradient

    def init(self, start: Array, key: Key) -> _State:
        """The first state, at `start`; nothing is drawn from `key`."""
        return _State(vector(start), self.spec.regularization)

    def ask(self, state: _State) -> Request | Finished:
        """Value, gradient and, when it is due, metric at the current point."""
        slope = ValueAndGrad(vector(state.x))
        due = state.metric is None or state.count % self.spec.metric_every == 0
        return Many((slope, Metric(vector(state.x)))) if due else slope

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """One step, or with `adaptive` one step back."""
        slope = reply.parts[0] if reply.parts else reply
        here = _Point(state.x, float(slope.value), float(slope.stderr or 0.0), vector(slope.grad))  # type: ignore[arg-type]
        metric = _eigen(reply.parts[1].metric, state.x.size) if len(reply.parts) > 1 else state.metric
        info = {"value": here.value, "grad_norm": gradient_norm(here.grad), "learning_rate": self.spec.learning_rate}
        if slope.stderr is not None:
            info["stderr"] = here.stderr
        last, damping = state.last, state.damping
        if self.spec.adaptive and last is not None:
            if here.value > last.value + SIGMAS * float(np.hypot(here.stderr, last.stderr)):
                return self._back(state, last, info)
            damping = max(damping / LOWER, self.spec.regularization)
        step = self._step(metric, here.grad, damping)
        told = replace(state, x=here.x + step, damping=damping, metric=metric, last=here, count=state.count + 1)
        return told, {**info, "step_norm": gradient_norm(step), "regularization": damping}

    def _back(self, state: _State, last: _Point, info: dict[str, Any]) -> tuple[_State, dict[str, Any]]:
        # The metric of `last` is the one kept: a rejected point's own is dropped.
        damping = RAISE * max(state.damping, np.finfo(np.float64).eps)
        step = self._step(state.metric, last.grad, damping)
        told = replace(state, x=last.x + step, damping=damping, count=state.count + 1)
        return told, {**info, "step_norm": gradient_norm(step), "regularization": damping, "x": vector(last.x)}

    def _step(self, metric: Any, grad: Array, damping: float) -> Array:
        values, vectors = metric
        inverse = np.zeros_like(values)
        regular = values + damping
        # Directions along which the state does not move have no metric; without regularization they are left alone.
        np.divide(
            1.0,
            regular,
            out=inverse,
            where=regular > np.finfo(np.float64).eps * max(1.0, float(np.max(values, initial=0.0))),
        )
        direction = vectors @ (inverse * (vectors.T @ grad.ravel()))
        return -self.spec.learning_rate * direction.reshape(grad.shape)  # type: ignore[no-any-return]


def _eigen(metric: Any, size: int) -> tuple[Array, Array]:
    g = vector(metric).reshape(size, size)
    values, vectors = np.linalg.eigh((g + g.T) / 2)
    return np.maximum(values, 0.0), vectors
