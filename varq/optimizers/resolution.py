"""What a user may write for an optimizer, made a spec."""

from __future__ import annotations

import inspect
from typing import Any

from varq import checks, names
from varq.optimizers.catalog import METHODS
from varq.protocol import Optimizer

__all__ = ["as_optimizer"]

_ARGUMENTS_NEEDED = ("optax", "scipy")  # kinds that mean nothing without a method's name


def as_optimizer(value: Any) -> Optimizer:
    """The optimizer behind a name, a spec, or a raw optax object.

    Names are those of `scipy.optimize.minimize` ("L-BFGS-B", "cobyla": any capitalization), of optax's optimizers
    ("adam": with a learning rate of 0.05 where one is required), and varq's own: "spsa", "rotosolve",
    "excitation-solve", "natural-gradient", and what other packages add.

    Args:
        value: a name, an optimizer spec (returned as it is), or an optax transformation (kept as an object that cannot
            be written down; see `Optax.of`).

    Raises:
        ValueError: for an unknown name; lists the close ones.
        TypeError: for anything that is no optimizer.

    Example:
        >>> as_optimizer("l-bfgs-b").name
        'L-BFGS-B'
        >>> as_optimizer("adam")
        Optax('adam', learning_rate=0.05)
    """
    if isinstance(value, str):
        return _named(value)
    if inspect.isclass(value):
        raise TypeError(f"optimizer must be a value, not the class {value.__name__}. Call it: {value.__name__}(...).")
    if all(hasattr(value, name) for name in ("method", "stop", "kind")):
        return value  # type: ignore[no-any-return]
    if hasattr(value, "init") and hasattr(value, "update"):
        return names.find("optimizer", "optax").of(value)  # type: ignore[no-any-return]
    raise TypeError(
        f"optimizer must be a name, an optimizer of varq or an optax transformation. Got {value!r} "
        f"({type(value).__name__}). Use a name such as 'L-BFGS-B' or 'adam'."
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "-_ ")


def _named(name: str) -> Optimizer:
    own = [known for known in names.names("optimizer") if known not in _ARGUMENTS_NEEDED]
    for known in own:
        if _plain(known) == _plain(name):
            return names.find("optimizer", known)()  # type: ignore[no-any-return]
    for known in METHODS:
        if _plain(known) == _plain(name):
            return names.find("optimizer", "scipy")(known)  # type: ignore[no-any-return]
    return _optax(name, [*own, *METHODS])


def _optax(name: str, others: list[str]) -> Optimizer:
    optax = names.find("optimizer", "optax")
    methods = optax.names()
    for known in [*methods, *optax.refused()]:
        if _plain(known) == _plain(name):
            return optax.default(known)  # type: ignore[no-any-return]
    near = checks.close_names(name, [*others, *methods])
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    own = ", ".join(repr(other) for other in sorted(others) if other not in METHODS)
    raise ValueError(
        f"optimizer must be the name of a method of SciPy ('L-BFGS-B', ...), of optax ('adam', ...), or one of {own}. "
        f"Got {name!r}.{meant}"
    )
