"""What a plain Python function is, as data: where it stands, its source, and every value it reads."""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from varq import names

__all__ = ["of_function", "restore"]

Encode = Callable[..., Any]


def of_function(
    function: types.FunctionType, encode: Encode, _seen: tuple[types.FunctionType, ...] = ()
) -> dict[str, Any] | None:
    """The fingerprint of `function`, or None if it cannot be known by its source and the values it reads.

    Two functions have one fingerprint only if module, qualified name, source, defaults, closure cells and the globals
    they read are all the same.  Modules and what installed packages define count by name; a user's own helper function
    counts by its own fingerprint.
    """
    source = _source(function)
    if source is None:
        return None
    try:
        reads = {
            "defaults": [_value(v, encode, _seen) for v in function.__defaults__ or ()],
            "keyword_defaults": {k: _value(v, encode, _seen) for k, v in (function.__kwdefaults__ or {}).items()},
            "closure": {
                name: _value(cell.cell_contents, encode, _seen)
                for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            },
            "globals": {
                name: _value(function.__globals__[name], encode, (*_seen, function))
                for name in sorted(set(_globals_read(function.__code__)))
                if name in function.__globals__
            },
        }
    except (_UnwritableError, ValueError, TypeError):
        return None
    return {
        "$": "function",
        "module": function.__module__,
        "name": function.__qualname__,
        "source": hashlib.sha256(source.encode()).hexdigest(),
        **{k: v for k, v in reads.items() if v},
    }


class _UnwritableError(Exception):
    """A value that a function reads is neither data nor known by name."""


def _value(value: Any, encode: Encode, seen: tuple[types.FunctionType, ...]) -> Any:
    if isinstance(value, types.ModuleType):
        return {"$": "module", "name": value.__name__}
    if isinstance(value, types.FunctionType) and value in seen:
        return {"$": "recursion", "name": value.__qualname__}
    if _installed(value):
        return {"$": "installed", "module": value.__module__, "name": value.__qualname__}
    if isinstance(value, types.FunctionType):
        found = of_function(value, encode, (*seen, value))
        if found is None:
            raise _UnwritableError
        return found
    data = encode(value)
    if _has_opaque(data):
        raise _UnwritableError
    return data


def _has_opaque(data: Any) -> bool:
    if isinstance(data, dict):
        return data.get("$") == "opaque" or any(_has_opaque(v) for v in data.values())
    return isinstance(data, list) and any(_has_opaque(v) for v in data)


def _installed(value: Any) -> bool:
    """Whether `value` is a class or function that an installed package (or Python itself) defines at its own name."""
    module = getattr(value, "__module__", None)
    qualified = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualified, str) or names.loaded(module, qualified) is not value:
        return False
    top = module.split(".")[0]
    if top == "varq" or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules[module], "__file__", None) or ""
    return file.startswith((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))


def _globals_read(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_read(constant)


def _source(function: types.FunctionType) -> str | None:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None
    if function.__name__ != "<lambda>":
        return text
    # Source lines cannot tell two lambdas on one line apart: such a lambda counts as unknown.
    try:
        lambdas = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda)]
    except SyntaxError:
        return None
    if len(lambdas) != 1:
        return None
    return ast.unparse(lambdas[0])


def restore(data: Mapping[str, Any], objects: Mapping[str, Any], encode: Encode) -> Any:
    """The function behind a fingerprint: one handed in, or one already defined here, whose fingerprint is the same.

    Raises:
        LookupError: if there is none, or if it has changed; says which and what to do.
    """
    name = data["name"]
    found = objects.get(name, names.loaded(data["module"], name))
    how = (
        f"define it (in module {data['module']}) before resuming, or hand it in: "
        f"varq.resume(id, objects={{{name!r}: ...}})"
    )
    if not isinstance(found, types.FunctionType):
        raise LookupError(f"This run was made with the function {name}, which is not at hand: {how}.")
    now = of_function(found, encode)
    parts = ("source", "defaults", "keyword_defaults", "closure", "globals")
    changed = [part for part in parts if (now or {}).get(part) != data.get(part)]
    if changed:
        raise LookupError(
            f"The function {name} differs from the one this run was made with (in its {', '.join(changed)}): {how}; "
            "to use the new one, start a new run."
        )
    return found
