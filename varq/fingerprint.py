"""What a plain Python function is, as data: where it stands, its source, and every value it reads."""

from __future__ import annotations
import __future__

import ast
import dataclasses
import dis
import hashlib
import inspect
import os
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from varq import names

__all__ = ["installed", "is_library", "of_function", "restore"]

Encode = Callable[..., Any]

PARTS = ("source", "defaults", "keyword_defaults", "closure", "globals", "attributes")

_GLOBAL = frozenset(["LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"])
_CELL = frozenset(["LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"])
_ATTRIBUTE = frozenset(["LOAD_ATTR", "LOAD_METHOD"])

_STANDARD = Path(os.__file__).parent


def of_function(function: types.FunctionType, encode: Encode) -> dict[str, Any] | None:
    """The fingerprint of `function`, or None if it cannot be known by its source and the values it reads.

    Two functions have one fingerprint only if module, qualified name, source, attributes, defaults, closure cells and
    the globals they read are all the same.  What the standard library and installed packages define counts by name; a
    user's own helper function counts by its own fingerprint, and a user's own module by those of its attributes that
    the function reads.
    """
    try:
        return _Walk(encode).function(function)
    except (_UnwritableError, AttributeError, ValueError, TypeError, RecursionError):
        return None


class _UnwritableError(Exception):
    """A value that a function reads is neither data nor known by name."""


class _Walk:
    """One walk over a function and all it reads; a function met again is named by its place in the walk."""

    def __init__(self, encode: Encode) -> None:
        self.encode = encode
        self.met: dict[types.FunctionType, int] = {}

    def function(self, function: types.FunctionType) -> dict[str, Any]:
        if function in self.met:
            return {"$": "again", "name": function.__qualname__, "place": self.met[function]}
        self.met[function] = len(self.met)
        source = _source(function)
        if source is None:
            raise _UnwritableError
        code = function.__code__
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        reads = {
            "defaults": [self.value(v) for v in function.__defaults__ or ()],
            "keyword_defaults": {k: self.value(v) for k, v in (function.__kwdefaults__ or {}).items()},
            "closure": self.space({name: cell.cell_contents for name, cell in cells}, _reads(code, _CELL)),
            "globals": self.space(function.__globals__, _reads(code, _GLOBAL)),
            "attributes": {k: self.value(v) for k, v in sorted(vars(function).items()) if k != "__wrapped__"},
        }
        return {
            "$": "function",
            "module": function.__module__,
            "name": function.__qualname__,
            "source": hashlib.sha256(source.encode()).hexdigest(),
            **{k: v for k, v in reads.items() if v},
        }

    def space(self, values: Mapping[str, Any], paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
        """What code reads among named values: attributes one by one where the value is a user's own module."""
        out = {}
        for path in sorted(set(paths)):
            if path[0] in values:
                depth, value = 1, values[path[0]]
                while isinstance(value, types.ModuleType) and not _in_library(value) and depth < len(path):
                    value = getattr(value, path[depth])
                    depth += 1
                out[".".join(path[:depth])] = self.value(value)
        return out

    def value(self, value: Any) -> Any:
        if isinstance(value, types.ModuleType) and _in_library(value):
            return {"$": "module", "name": value.__name__}
        if installed(value):
            return {"$": "installed", "module": value.__module__, "name": value.__qualname__}
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if type(value) in (list, tuple):
            return [self.value(entry) for entry in value]
        if type(value) is dict and all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: self.value(entry) for key, entry in value.items()}
        # An instance of a user's own class may have methods, which its data do not tell; a spec has its version.
        if not (is_library(type(value).__module__) or dataclasses.is_dataclass(value)):
            raise _UnwritableError
        data = self.encode(value)
        if _has_opaque(data):
            raise _UnwritableError
        return data


def _has_opaque(data: Any) -> bool:
    if isinstance(data, dict):
        return data.get("$") == "opaque" or any(_has_opaque(v) for v in data.values())
    return isinstance(data, list) and any(_has_opaque(v) for v in data)


def installed(value: Any) -> bool:
    """Whether `value` is a class or function that an installed package (or Python itself) defines at its own name."""
    module = getattr(value, "__module__", None)
    qualified = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualified, str) or names.loaded(module, qualified) is not value:
        return False
    return is_library(module)


def _in_library(module: types.ModuleType) -> bool:
    return sys.modules.get(module.__name__) is module and is_library(module.__name__)


def is_library(module: str) -> bool:
    """Whether a module belongs to this package, an installed one, or Python: its name then tells what it holds."""
    top = module.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return True
    # Where the module itself was loaded from counts, where it says so: another package may hold its top-level name.
    file = getattr(sys.modules.get(module), "__file__", None)
    place = None if top == "__main__" else file or names.place(top)
    if place is None:
        return False
    if top in sys.stdlib_module_names and (not os.path.isabs(place) or _STANDARD in Path(place).parents):
        return True
    return bool({"site-packages", "dist-packages"} & set(Path(place).parts))


@lru_cache(maxsize=256)
def _reads(code: types.CodeType, operations: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(_read(code, operations))


def _read(code: types.CodeType, operations: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """The names that `code` reads by these operations, each with the attributes that it takes of the value at once.

    Raises:
        _UnwritableError: if it imports what is not installed.
    """
    instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
    for place, instruction in enumerate(instructions):
        if instruction.opname in operations:
            taken = takewhile(lambda i: i.opname in _ATTRIBUTE, instructions[place + 1 :])
            yield (str(instruction.argval), *(str(i.argval) for i in taken))
        elif instruction.opname == "IMPORT_NAME":
            level = instructions[place - 2].argval
            if level != 0 or not is_library(instruction.argval):
                raise _UnwritableError
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _read(constant, operations)


# Sources of functions that were looked at, each with the code that it is of and how its file looked: to find one takes
# milliseconds, and a sweep asks for the same one for each of its cells.
_KNOWN: WeakKeyDictionary[types.FunctionType, tuple[types.CodeType, Any, str | None]] = WeakKeyDictionary()


def _source(function: types.FunctionType) -> str | None:
    code, known = function.__code__, _KNOWN.get(function)
    looks = _looks(code.co_filename)
    if known is None or known[0] is not code or known[1] != looks:
        known = _KNOWN[function] = (code, looks, _found_source(code))
    return known[2]


def _looks(path: str) -> tuple[int, int] | None:
    """What changes when a file is edited; None for what is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _found_source(code: types.CodeType) -> str | None:
    try:
        # Of its own code: of a function, inspect would give the source of what it wraps.
        text = textwrap.dedent(inspect.getsource(code))
        if not _is_source_of(code):
            return None
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if code.co_name != "<lambda>":
        return text
    # Source lines cannot tell two lambdas on one line apart: such a lambda counts as unknown.
    try:
        lambdas = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda)]
    except SyntaxError:
        return None
    if len(lambdas) != 1:
        return None
    return ast.unparse(lambdas[0])


_FUTURE = __future__.annotations.compiler_flag


def _is_source_of(code: types.CodeType) -> bool:
    """Whether the file still holds what runs: one edited after its import shows source that was never executed."""
    tree = ast.parse("".join(inspect.findsource(code)[0]))
    # IPython compiles a cell statement by statement, which gives other instructions for calls of imported names.
    alone = [ast.Module([node], []) for node in tree.body if (node.end_lineno or 0) >= code.co_firstlineno]
    for unit in (tree, *alone[:1]):
        compiled = compile(unit, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
        if any(_same_code(code, found) for found in _codes(compiled) if found.co_qualname == code.co_qualname):
            return True
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _same_code(a: Any, b: Any) -> bool:
    """Equality of code or of its constants, wherever in the file they stand."""
    if isinstance(a, types.CodeType) and isinstance(b, types.CodeType):
        names_of = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags")
        return all(getattr(a, name) == getattr(b, name) for name in names_of) and (
            len(a.co_consts) == len(b.co_consts) and all(map(_same_code, a.co_consts, b.co_consts))
        )
    return type(a) is type(b) and repr(a) == repr(b)


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
    changed = [part for part in PARTS if (now or {}).get(part) != data.get(part)]
    if changed:
        raise LookupError(
            f"The function {name} differs from the one this run was made with (in its {', '.join(changed)}): {how}; "
            "to use the new one, start a new run."
        )
    return found
