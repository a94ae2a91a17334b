"""What the values in a circuit are, in words that are the same in every process: numbers, functions, outcomes."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops import MeasurementValue, MidMeasure

from varq.fingerprint import installed, is_library
from varq.simulator.outcomes import Outcome, nodes

__all__ = ["Contents", "number"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), np.generic)


def number(value: Any) -> str | None:
    """A number or an array of numbers by all of its digits; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a list of lists of several lengths, what refuses to be an array
        return None
    if array.dtype.kind not in "biufc":
        return None
    return f"{array.dtype.str}{array.shape}{hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


class Contents:
    """Says what values are: each call knows what the ones before it were about, so that one serves a whole circuit.

    A function counts by module, name, byte code, constants, defaults and what it closes over; one that no installed
    package defines also by the globals that it reads.  An object that is no data counts by its class, and by what its
    `hashed_as` says where it has one: two such objects may be said alike, and none by where it lies in memory.

    Args:
        measured: the measurements of the circuit, which count by their order and not by their random names.
        rest: says what an operator is.
    """

    def __init__(self, measured: Iterable[MidMeasure], rest: Callable[[Any], str]) -> None:
        self._measured = {m.meas_uid: k for k, m in enumerate(measured)}
        self._operator = rest
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no other object gets the address of one that was met

    def said(self, value: Any) -> str:
        """A value in words."""
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, MidMeasure):
            return f"measured {self._measured.get(value.meas_uid)} {list(value.wires)}"
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, type) or installed(value):
            return f"{value.__module__}.{value.__qualname__}"
        if (digits := number(value)) is not None and not isinstance(value, (list, tuple)):
            return digits
        if id(value) in self._met:
            return f"again {self._met[id(value)]}"
        self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return self._new(value)

    def _new(self, value: Any) -> str:
        """Something that was not met before."""
        if isinstance(value, MeasurementValue):
            return self._outcome(value)
        if isinstance(value, qml.operation.Operator):
            return f"{self._operator(value)} {self._all(value.data)}"
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.CellType):
            return self._cell(value)
        if isinstance(value, functools.partial):
            return f"partial {self._all((value.func, *value.args))} {self._named(value.keywords)}"
        if isinstance(value, types.MethodType):
            return f"method {self._all((value.__func__, value.__self__))}"
        if isinstance(value, Mapping):
            return f"mapping {self._named({str(k): v for k, v in value.items()})}"
        if isinstance(value, (set, frozenset)):
            return f"set {self._all(self._ordered(value))}"
        if isinstance(value, enum.Enum):
            return f"{type(value).__module__}.{type(value).__qualname__}.{value.name}"
        if isinstance(value, (list, tuple)):
            return f"{type(value).__name__} {self._all(value)}"
        return self._object(value)

    def _object(self, value: Any) -> str:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if (short := getattr(value, "hashed_as", None)) is not None and short is not value:
            return f"{kind} {self.said(short)}"
        if dataclasses.is_dataclass(value):
            return f"{kind} {self._named({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})}"
        inside = getattr(value, "__wrapped__", None)
        return kind if inside is None else f"{kind} {self.said(inside)}"

    def _outcome(self, value: MeasurementValue) -> str:
        if not isinstance(value, Outcome):
            return f"value of {self._all(value.measurements)} by {self.said(value.processing_fn)}"
        told = []
        for node in nodes(value):  # one by one: a chain of them may be longer than Python's stack
            if node is value or id(node) not in self._met:
                self._met.setdefault(id(node), len(self._met))
                self._kept.append(node)
                told.append(f"{self._met[id(node)]} is {self.said(node.fn)} of {self._all(node.args)}")
        return f"outcome {told}"

    def _function(self, function: types.FunctionType) -> str:
        code = function.__code__
        parts = [f"function {function.__module__}.{function.__qualname__}", self._code(code)]
        parts.append(self._all(function.__defaults__ or ()) + self._named(function.__kwdefaults__ or {}))
        parts.append(self._all(function.__closure__ or ()))
        if not is_library(function.__module__ or ""):
            space = function.__globals__
            parts.append(self._named({name: space[name] for name in sorted(set(_names(code))) if name in space}))
        return " ".join(parts)

    def _code(self, code: types.CodeType) -> str:
        text = hashlib.sha256(code.co_code).hexdigest()
        return f"{code.co_qualname} {text} {code.co_names} {code.co_varnames} {self._all(code.co_consts)}"

    def _cell(self, cell: types.CellType) -> str:
        try:
            return self.said(cell.cell_contents)
        except ValueError:  # not filled yet
            return "empty"

    def _all(self, values: Iterable[Any]) -> str:
        return f"[{', '.join(map(self.said, values))}]"

    def _ordered(self, values: Iterable[Any]) -> list[Any]:
        """The elements of a set in an order that does not hang on their hashes, which differ between processes."""

        def alone(value: Any) -> str:
            met, self._met = self._met, {}
            try:
                return self.said(value)
            finally:
                self._met = met

        return sorted(values, key=alone)

    def _named(self, values: Mapping[str, Any]) -> str:
        return f"{{{', '.join(f'{name}: {self.said(value)}' for name, value in sorted(values.items()))}}}"


def _names(code: types.CodeType) -> Iterator[str]:
    """What code may read of its globals."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
