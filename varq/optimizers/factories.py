"""Optax's public factories by name: what exists, what it accepts, and how a nested value becomes an optax object."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Union, get_args, get_origin

import numpy as np
import optax
import optax.contrib

from varq import checks, spec

__all__ = ["EVALUATING", "arguments_of", "build", "factory", "is_transformation", "methods", "names"]

EVALUATING: Mapping[str, str] = {
    "lbfgs": "L-BFGS-B",
    "scale_by_zoom_linesearch": "BFGS",
    "scale_by_backtracking_linesearch": "CG",
    "contrib.sophia": "Newton-CG",
    "contrib.hutchinson_estimator_diag_hessian": "trust-ncg",
}
"""Factories whose update evaluates the cost by itself, and the SciPy method that does the like by asking."""

# Public factories that optax leaves without a return annotation.
_UNANNOTATED = frozenset(["scale_by_factored_rms", "contrib.dog", "contrib.dowg"])

# Whole optimizers that find their learning rate themselves.
_RATELESS = frozenset(["polyak_sgd", "contrib.cocob", "contrib.dog", "contrib.dowg"])


def is_transformation(value: Any) -> bool:
    """Whether `value` is an optax transformation: it can `init` and `update`."""
    return isinstance(value, optax.GradientTransformation) or (
        isinstance(value, optax.MultiSteps)
        or (isinstance(value, tuple) and hasattr(value, "init") and hasattr(value, "update"))
    )


def _role(name: str, value: Any) -> str | None:
    """What a public name of optax makes: "optimizer", "schedule", or None for anything else."""
    if not (inspect.isroutine(value) or isinstance(value, partial)):
        return None
    if name in _UNANNOTATED:
        return "optimizer"
    annotation = inspect.signature(value).return_annotation
    if annotation == optax.Schedule or str(annotation).endswith("Schedule"):
        return "schedule"
    made = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return "optimizer" if made.split(".")[-1].startswith("GradientTransformation") else None


@cache
def _known() -> Mapping[str, tuple[str, Callable[..., Any]]]:
    found = {}
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for plain in dir(module):
            role = None if plain.startswith("_") else _role(prefix + plain, getattr(module, plain))
            if role is not None:
                found[prefix + plain] = (role, getattr(module, plain))
    return found


def names(role: str) -> list[str]:
    """The names of the factories of "optimizer" (any gradient transformation) or of "schedule", sorted."""
    return sorted(name for name, (made, _) in _known().items() if made == role and name not in EVALUATING)


def methods() -> list[str]:
    """The names of the factories that make a whole optimizer from no more than a learning rate, sorted."""
    return sorted(name for name, (role, made) in _known().items() if role == "optimizer" and _is_whole(name, made))


def _is_whole(name: str, made: Callable[..., Any]) -> bool:
    parameters = inspect.signature(made).parameters.values()
    required = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL}
    rated = name in _RATELESS or "learning_rate" in (p.name for p in parameters)
    part = name in EVALUATING or name.split(".")[-1].startswith("scale_by")
    return rated and not part and required <= {"learning_rate"}


def factory(name: Any, role: str | None = None) -> Callable[..., Any]:
    """The factory called `name`; with `role`, only if it makes that.

    Raises:
        ValueError: for an unknown name (lists the close ones) or one that evaluates the cost by itself.
    """
    if name in EVALUATING:
        raise ValueError(
            f"optax.{name} evaluates the cost inside its update, so its evaluations cannot be recorded or carried on. "
            f"Use varq.Scipy({EVALUATING[name]!r}) instead."
        )
    known = _known()
    if isinstance(name, str) and name in known and role in (None, known[name][0]):
        return known[name][1]
    options = names(role) if role else [*names("optimizer"), *names("schedule")]
    near = checks.close_names(name, options) if isinstance(name, str) else []
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    what = f"a factory of optax that makes a {role}" if role == "schedule" else "a public factory of optax"
    raise ValueError(
        f"name must be {what}, such as {'adam' if role != 'schedule' else 'linear_schedule'!r}. Got {name!r}.{meant}"
    )


def arguments_of(name: str, positional: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a factory by name, as data; variadic ones are a tuple under their own name.

    Raises:
        TypeError: if they do not fit its signature; names the accepted ones.
        ValueError: if a number is not finite, or a chain has no parts.
    """
    signature = inspect.signature(factory(name))
    several = _variadic(signature)
    given = dict(keywords)
    if several is not None and not positional and not given.get(several):
        raise ValueError(f"optax.{name} must have at least one part; with none it would climb the gradient as it is.")
    if several is not None and several in given:
        positional = (*positional, *given.pop(several))
    try:
        bound = signature.bind(*positional, **given)
    except TypeError as error:
        accepted = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in signature.parameters.values())
        near = [
            close
            for key in given
            if key not in signature.parameters
            for close in checks.close_names(key, signature.parameters)
        ]
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise TypeError(f"optax.{name}: {error}. It accepts: {accepted}.{meant}") from None
    return {key: _data(f"{key} of optax.{name}", v, signature.parameters[key]) for key, v in bound.arguments.items()}


def _variadic(signature: inspect.Signature) -> str | None:
    return next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)


def _data(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        for number, entry in enumerate(value, start=1):
            _check(f"{name}, number {number}", entry, parameter.annotation)
        return _plain(value)
    _check(name, value, parameter.annotation)
    # An integer where a number is meant is that number, so that learning_rate=1 and 1.0 are one spec.
    required = parameter.default is parameter.empty
    number = isinstance(parameter.default, float) or (required and "float" in str(parameter.annotation))
    if number and isinstance(value, (int, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    return _plain(value)


_NUMBERS = frozenset(["Array", "ndarray", "bool", "number", "int", "float", "complex", "NoneType", "Callable"])


def _check(name: str, value: Any, annotation: Any) -> None:
    """TypeError or ValueError for a value that is plainly none of what optax annotates; unclear annotations pass."""
    value = spec.unwrap(value)
    union = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    kinds = {getattr(kind, "__name__", "").split(".")[-1] for kind in union}
    if isinstance(value, (int, float, np.generic)) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "fc" and not np.all(np.isfinite(array)):
            raise ValueError(f"{name} must be finite. Got {value!r}.")
    if value is None and "NoneType" in kinds:
        return
    if any(kind.startswith("GradientTransformation") for kind in kinds) and not _is_part(value):
        raise TypeError(
            f"{name} must be a transformation. Got {value!r} ({type(value).__name__}). "
            "Give an Optax, such as Optax('adam', learning_rate=0.05), or an optax object."
        )
    if kinds == {"bool"}:
        checks.boolean(name, value)
    elif kinds <= {"int", "NoneType"}:
        checks.integer(name, value)
    elif "float" in kinds and kinds <= _NUMBERS:
        _check_number(name, value, schedules="Callable" in kinds)


def _is_part(value: Any) -> bool:
    """Whether `value` is an optax transformation, or an `Optax` that makes one."""
    if is_transformation(value):
        return True
    return hasattr(value, "built") and _known().get(value.name, ("optimizer", None))[0] == "optimizer"


def _check_number(name: str, value: Any, schedules: bool) -> None:
    if hasattr(value, "__array__") and np.asarray(value).dtype.kind in "iuf":
        return
    role = _known().get(getattr(value, "name", ""), ("", None))[0] if hasattr(value, "built") else ""
    if schedules and (role == "schedule" or (callable(value) and not isinstance(value, type))):
        return
    more = " A schedule will do too: Optax.schedule('cosine_decay_schedule', ...)." if schedules else ""
    checks.real(name, value, hint=f"Give a number such as 0.05.{more}")


def _plain(value: Any) -> Any:
    if is_transformation(value):
        return spec.Opaque(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_plain(entry) for entry in value)
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        out = np.array(value)
        out.flags.writeable = False
        return out
    return value


def build(name: str, arguments: Mapping[str, Any]) -> Any:
    """What the factory makes of its arguments, nested specs made first."""
    made = factory(name)
    given = {key: _built(value) for key, value in arguments.items()}
    several = _variadic(inspect.signature(made))
    positional = given.pop(several, ()) if several is not None else ()
    return made(*positional, **given)


def _built(value: Any) -> Any:
    if hasattr(value, "built"):
        return value.built
    if isinstance(value, spec.Opaque):
        return value.value
    if isinstance(value, Mapping):
        # JSON has string keys only; optax's step -> factor tables have integer ones.
        return {int(key) if key.isdecimal() else key: _built(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_built(entry) for entry in value)
    return value
