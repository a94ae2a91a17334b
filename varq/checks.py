"""One helper for each kind of bad input: each names the argument, says the rule, what came, and what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNIT_TOLERANCE",
    "array",
    "boolean",
    "choice",
    "close_names",
    "counted",
    "finite",
    "hermitian",
    "instance",
    "integer",
    "keywords",
    "missing_extra",
    "normalized",
    "real",
    "shape",
    "text",
    "unitary",
]

UNIT_TOLERANCE = 1e-8  # largest departure from a unit norm, unitarity or hermiticity that counts as rounding


def _said(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 80 else words[:77] + "..."


def _join(message: str, hint: str) -> str:
    return f"{message} {hint}" if hint else message


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 step", "2 steps", "1,000 steps"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def close_names(value: str, options: Iterable[str], most: int = 3) -> list[str]:
    """The options that look like `value`, best first, however they are capitalized."""
    by_fold = {o.casefold(): o for o in options}
    return [by_fold[m] for m in difflib.get_close_matches(str(value).casefold(), by_fold, n=most, cutoff=0.5)]


def choice(name: str, value: Any, options: Iterable[str], hint: str = "") -> str:
    """`value` if it is one of `options`; otherwise ValueError with the close ones first."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    near = close_names(value, known) if isinstance(value, str) else []
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = ", ".join(map(repr, sorted(known)))
    raise ValueError(_join(f"{name} must be one of {listed}. Got {_said(value)}.{meant}", hint))


def keywords(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """TypeError for the first of the `given` keywords that is none of `known`, with the close ones first."""
    options = list(known)
    for keyword in given:
        if keyword not in options:
            near = close_names(keyword, options)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise TypeError(f"{function} takes {', '.join(options)}. Got {keyword!r}.{meant}")


def instance(name: str, value: Any, kinds: type | tuple[type, ...], hint: str = "") -> Any:
    """`value` if it is an instance of `kinds`; otherwise TypeError."""
    if isinstance(value, kinds):
        return value
    wanted = " or ".join(k.__name__ for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
    raise TypeError(_join(f"{name} must be of type {wanted}. Got {_said(value)} ({type(value).__name__}).", hint))


def text(name: str, value: Any, hint: str = "") -> str:
    """`value` if it is a string that is not empty."""
    instance(name, value, str, hint)
    if not value:
        raise ValueError(_join(f"{name} must not be an empty string.", hint))
    return str(value)


def boolean(name: str, value: Any, hint: str = "") -> bool:
    """`value` if it is True or False (NumPy's too)."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(_join(f"{name} must be True or False. Got {_said(value)}.", hint))


def integer(name: str, value: Any, minimum: int | None = None, maximum: int | None = None, hint: str = "") -> int:
    """`value` as an int within [minimum, maximum]; floats and booleans are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(_join(f"{name} must be an integer. Got {_said(value)} ({type(value).__name__}).", hint))
    number = int(value)
    if minimum is not None and number < minimum:
        raise ValueError(_join(f"{name} must be at least {minimum}. Got {number}.", hint))
    if maximum is not None and number > maximum:
        raise ValueError(_join(f"{name} must be at most {maximum}. Got {number}.", hint))
    return number


def real(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    infinite: bool = False,
    hint: str = "",
) -> float:
    """`value` as a float within [minimum, maximum] and above `above`; NaN is refused, infinity unless allowed."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(_join(f"{name} must be a real number. Got {_said(value)} ({type(value).__name__}).", hint))
    number = float(value)
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise ValueError(_join(f"{name} must be finite. Got {number}.", hint))
    if minimum is not None and number < minimum:
        raise ValueError(_join(f"{name} must be at least {minimum}. Got {number}.", hint))
    if maximum is not None and number > maximum:
        raise ValueError(_join(f"{name} must be at most {maximum}. Got {number}.", hint))
    if above is not None and number <= above:
        raise ValueError(_join(f"{name} must be greater than {above}. Got {number}.", hint))
    return number


def array(
    name: str,
    value: Any,
    shape: Sequence[int | None] | None = None,
    dtype: Any = np.float64,
    hint: str = "",
) -> NDArray[Any]:
    """`value` as a finite, read-only array of `dtype` and of `shape` (None in it stands for any length)."""
    try:
        given = np.asarray(value)
        if np.dtype(dtype).kind != "c" and np.iscomplexobj(given):
            raise TypeError("it is complex")
        if given.dtype.kind in "SUMm":
            raise TypeError("it holds text or dates")
        out = np.array(given, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = np.dtype(dtype).name
        raise TypeError(_join(f"{name} must be an array of {wanted}. Got {_said(value)}: {error}.", hint)) from error
    if shape is not None:
        _shape(name, out, tuple(shape), hint)
    finite(name, out, hint)
    out.flags.writeable = False
    return out


def _shape(name: str, value: NDArray[Any], want: tuple[int | None, ...], hint: str) -> None:
    shape = value.shape
    if len(shape) != len(want) or any(w not in (None, got) for w, got in zip(want, shape, strict=True)):
        wanted = "(" + ", ".join("any" if w is None else str(w) for w in want) + ("," if len(want) == 1 else "") + ")"
        raise ValueError(_join(f"{name} must have shape {wanted}. Got shape {value.shape}.", hint))


def shape(name: str, value: Any, want: Sequence[int | None], hint: str = "") -> None:
    """ValueError unless `value` has the shape `want` (None in it stands for any length)."""
    _shape(name, value if hasattr(value, "shape") else np.asarray(value), tuple(want), hint)


def finite(name: str, value: Any, hint: str = "") -> None:
    """ValueError if an array holds NaN or infinity; says where the first one is."""
    values = np.asarray(value)
    if values.dtype.kind not in "fc":
        return
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(_join(f"{name} must be finite. Got {values[where]}{place}.", hint))


def hermitian(name: str, matrix: Any, hint: str = "") -> NDArray[np.complex128]:
    """`matrix` as a square complex array equal to its conjugate transpose within `UNIT_TOLERANCE`."""
    out = array(name, matrix, (None, None), np.complex128, hint)
    if out.shape[0] != out.shape[1]:
        raise ValueError(_join(f"{name} must be square. Got shape {out.shape}.", hint))
    gap = float(np.max(np.abs(out - out.conj().T), initial=0.0))
    if gap > UNIT_TOLERANCE * max(1.0, float(np.max(np.abs(out), initial=0.0))):
        raise ValueError(_join(f"{name} must be Hermitian. It differs from its adjoint by {gap:.3g}.", hint))
    return out


def unitary(name: str, matrix: Any, hint: str = "") -> NDArray[np.complex128]:
    """`matrix` as a square complex array with U^dagger U = 1 within `UNIT_TOLERANCE`."""
    out = array(name, matrix, (None, None), np.complex128, hint)
    if out.shape[0] != out.shape[1]:
        raise ValueError(_join(f"{name} must be square. Got shape {out.shape}.", hint))
    gap = float(np.max(np.abs(out.conj().T @ out - np.eye(len(out))), initial=0.0))
    if gap > UNIT_TOLERANCE:
        raise ValueError(_join(f"{name} must be unitary. Its product with its adjoint is off by {gap:.3g}.", hint))
    return out


def normalized(name: str, state: Any, hint: str = "") -> NDArray[np.complex128]:
    """`state` as a complex vector of norm 1 within `UNIT_TOLERANCE`."""
    out = array(name, state, (None,), np.complex128, hint)
    norm = float(np.linalg.norm(out))
    if abs(norm - 1) > UNIT_TOLERANCE:
        raise ValueError(_join(f"{name} must have norm 1. Got norm {norm:.12g}.", hint or f"Divide it by {norm:.6g}."))
    return out


def missing_extra(package: str, extra: str, purpose: str) -> ModuleNotFoundError:
    """The error to raise where an optional package is needed and absent."""
    return ModuleNotFoundError(f"{purpose} needs the package {package}. Install it with: pip install 'varq[{extra}]'")
