"""Optax's gradient methods as values: a factory's name and its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from varq import checks
from varq.content import ByContent
from varq.keys import Key
from varq.optimizers import factories
from varq.optimizers.vectors import gradient_norm, vector
from varq.precision import double
from varq.protocol import Array, Finished, Reply, Request, Stop, ValueAndGrad
from varq.spec import Opaque

__all__ = ["Optax"]

READY_MADE = "ready-made"  # the name of an Optax that holds an optax object instead of a factory's name

DEFAULT_RATE = 0.05  # angles of order one and costs of order one: neither crawls nor overshoots
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"learning_rate": 0.1},
    "noisy_sgd": {"learning_rate": 0.1, "key": 0},
    "optimistic_gradient_descent": {"learning_rate": 0.1},
    # These move every parameter by the whole rate at each step, so it is also how near they come.
    "lion": {"learning_rate": 0.01},
    "sign_sgd": {"learning_rate": 0.01},
    "signum": {"learning_rate": 0.01},
}


@dataclass(frozen=True, init=False, eq=False)
class Optax(ByContent):
    """A gradient method of optax, or a schedule or transformation that is part of one.

    It holds names and numbers only, so two learning rates are two values, and one method written twice is one.  Names
    are those of optax's public factories; those of `optax.contrib` start with "contrib.".  Arguments are the
    factory's own; where it takes another factory's product, give an `Optax`.

    Args:
        name: of the factory.
        positional: its arguments, in order.
        arguments: its arguments by name, as one mapping.
        keywords: its arguments by name.

    Raises:
        ValueError: for an unknown name (lists the close ones), or a method that evaluates the cost by itself, such as
            "lbfgs" (names SciPy's equivalent), or a number that is not finite.
        TypeError: for arguments that the factory does not accept (names those that it does), or of a wrong type.

    Example:
        >>> Optax("adam", learning_rate=0.05) == Optax("adam", learning_rate=0.01)
        False
        >>> Optax.chain(Optax("clip_by_global_norm", max_norm=1.0), Optax("sgd", learning_rate=0.1)).name
        'chain'
        >>> decay = Optax.schedule("cosine_decay_schedule", init_value=0.1, decay_steps=100)
        >>> Optax("adam", learning_rate=decay).arguments["learning_rate"].name
        'cosine_decay_schedule'
    """

    name: str
    arguments: Mapping[str, Any]
    kind: ClassVar[str] = "optimizer:optax"
    version: ClassVar[int] = 1

    def __init__(
        self, name: str, *positional: Any, arguments: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        given = {**checks.instance("arguments", arguments or {}, Mapping), **keywords}
        if name == READY_MADE:
            held = {"transformation": _opaque(given.get("transformation"))}
        else:
            held = factories.arguments_of(name, positional, given)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", held)

    def __repr__(self) -> str:
        if self.name == READY_MADE:
            held = self.arguments["transformation"]
            named = "" if held.name is None else f", name={held.name!r}"
            return f"Optax.of(<optax {type(held.value).__name__}>{named})"
        return f"Optax({', '.join([repr(self.name), *(f'{key}={value!r}' for key, value in self.arguments.items())])})"

    @classmethod
    def chain(cls, *parts: Any) -> Optax:
        """Transformations one after the other, as `optax.chain`.

        Raises:
            ValueError: for none.
            TypeError: for what is no transformation.
        """
        return cls("chain", *parts)

    @classmethod
    def schedule(cls, name: str, *positional: Any, **keywords: Any) -> Optax:
        """A schedule, to stand where a learning rate does.

        Raises:
            ValueError: if optax has no schedule of that name; lists the close ones.
        """
        factories.factory(name, role="schedule")
        return cls(name, *positional, **keywords)

    @classmethod
    def of(cls, transformation: Any, name: str | None = None) -> Optax:
        """A ready-made optax object.

        It cannot be written down: its run resumes in this process, or, given a `name`, wherever the object is handed
        in again under it.

        Raises:
            TypeError: if it is no optax transformation.
        """
        return cls(READY_MADE, arguments={"transformation": Opaque(transformation, name)})

    @classmethod
    def names(cls) -> list[str]:
        """The names of the optimizers of optax that need no more than a learning rate, sorted."""
        return factories.methods()

    @classmethod
    def refused(cls) -> list[str]:
        """The names in optax of what evaluates the cost by itself, and so cannot be recorded."""
        return sorted(factories.EVALUATING)

    @classmethod
    def default(cls, name: str) -> Optax:
        """The optimizer of that name, with a learning rate of 0.05 (another for a few) where it requires one.

        Raises:
            ValueError: for an unknown name, or a method that evaluates the cost by itself.
            TypeError: if it requires further arguments; names them.
        """
        rate = inspect.signature(factories.factory(name)).parameters.get("learning_rate")
        required = {"learning_rate": DEFAULT_RATE} if rate is not None and rate.default is rate.empty else {}
        return cls(name, arguments=DEFAULTS.get(name, required))

    @property
    def stop(self) -> Stop:
        """At most 500 steps; no more once 20 in a row improved the best value by less than 1e-7."""
        return Stop(steps=500, tolerance=1e-7, patience=20)

    @cached_property
    def built(self) -> Any:
        """What optax makes of it: a transformation or a schedule."""
        if self.name == READY_MADE:
            return self.arguments["transformation"].value
        with double():
            return factories.build(self.name, self.arguments)

    def method(self) -> OptaxMethod:
        """The method, ready to be asked.

        Raises:
            TypeError: if this is a schedule or another part of a method.
        """
        if not factories.is_transformation(self.built):
            raise TypeError(
                f"{self!r} is no optimizer but a part of one. Give it to one: Optax('adam', learning_rate=...)."
            )
        return OptaxMethod(self)

    @cached_property
    def _step(self) -> Callable[..., Any]:
        made = self.built
        made = made.gradient_transformation() if isinstance(made, optax.MultiSteps) else made
        transformation, rate = optax.with_extra_args_support(made), _rate(self)

        def step(x: Any, inner: Any, count: Any, value: Any, grad: Any) -> Any:
            updates, inner = transformation.update(grad, inner, x, value=value, grad=grad)
            return optax.apply_updates(x, updates), inner, count + 1, rate(count) if callable(rate) else None

        return jax.jit(step)


def _why(error: TypeError) -> str:
    """Why a transformation cannot take a step."""
    if re.search("missing .* required .*argument", str(error)):
        return (
            f"needs more than value and gradient in its update ({error}): its evaluations cannot be recorded or "
            "carried on. Use a method that asks, such as varq.Scipy('L-BFGS-B')."
        )
    return f"cannot take a step: {error}. Check its arguments."


def _opaque(value: Any) -> Opaque:
    held = value if isinstance(value, Opaque) else Opaque(value)
    if not factories.is_transformation(held.value):
        raise TypeError(
            f"transformation must be an optax GradientTransformation. Got {held.value!r} "
            f"({type(held.value).__name__}). Make one with optax, or give a name: Optax('adam', learning_rate=0.05)."
        )
    return held


def _rate(value: Any) -> float | Callable[[Any], Any] | None:
    """The learning rate, or what gives it at each step, by the first argument of that name; of parts, the last's."""
    if not isinstance(value, Optax):
        parts = value if isinstance(value, tuple) else ()
        return next((rate for part in reversed(parts) if (rate := _rate(part)) is not None), None)
    found = value.arguments.get("learning_rate")
    if isinstance(found, Optax):
        return found.built  # type: ignore[no-any-return]
    if isinstance(found, float) or callable(found):
        return found
    return _rate(tuple(value.arguments.values()))


@dataclass(frozen=True)
class _State:
    """What optax remembers, as float64 JAX arrays on the host (their transfer costs more than an update)."""

    x: Any
    inner: Any
    count: Any


@dataclass(frozen=True)
class OptaxMethod:
    """An `Optax` spec at work."""

    spec: Optax

    def init(self, start: Array, key: Key) -> _State:
        """Optax's first state; `key` is not used: random transformations have a seed of their own.

        Raises:
            ValueError: if the transformation evaluates the cost by itself (names SciPy's equivalent), or if optax
                refuses to take a step with its arguments.
        """
        step = self.spec._step
        with double():
            x = jnp.array(vector(start))
            state = _State(x, self.spec.built.init(x), jnp.int32(0))
            try:
                step.eval_shape(state.x, state.inner, state.count, 0.0, vector(start))  # type: ignore[attr-defined]
            except TypeError as error:
                raise ValueError(f"{self.spec!r} {_why(error)}") from error
        return state

    def ask(self, state: _State) -> Request | Finished:
        """Value and gradient at the current point."""
        return ValueAndGrad(vector(state.x))

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """One update."""
        if reply.value is None or reply.grad is None:
            raise ValueError("A gradient method must be told a value and a gradient. Answer its ValueAndGrad request.")
        grad, value = vector(reply.grad), float(reply.value)
        with double():
            x, inner, count, rate = self.spec._step(state.x, state.inner, state.count, value, grad)
        info = {"value": value, "grad_norm": gradient_norm(grad)}
        if isinstance(constant := _rate(self.spec), float):
            info["learning_rate"] = constant
        elif rate is not None:
            info["learning_rate"] = float(rate)
        return _State(x, inner, count), info
