"""Specs: frozen dataclasses that go to canonical JSON and back, and whose content is their identity."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import secrets
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import fingerprint, names

__all__ = [
    "INLINE",
    "READABLE",
    "UNHASHED",
    "Opaque",
    "array_digest",
    "canonical",
    "decode",
    "digest",
    "dumps",
    "encode",
    "fields",
    "identity",
    "is_spec",
    "loads",
    "unwrap",
]

READABLE = (
    8  # arrays of at most this many entries stand in the JSON as numbers, longer ones as base64: ten times faster
)
INLINE = 1024  # arrays of at most this many entries stand in the JSON; larger ones are kept once, by their SHA-256

UNHASHED = MappingProxyType({"hashed": False})  # metadata of a field that is kept with a spec but is not its identity

Json = Any
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Opaque:
    """An object that cannot be written down: it works, but its run resumes only where the object is at hand.

    Args:
        value: the object.
        name: under which it is handed in again: `varq.resume(id, objects={name: obj})`; None ties the run to this
            process.

    Example:
        >>> Opaque(abs, name="cost").name
        'cost'
    """

    value: Any = dataclasses.field(compare=False)
    name: str | None = None


def unwrap(value: Any) -> Any:
    """The object inside an `Opaque`, or `value` itself."""
    return value.value if isinstance(value, Opaque) else value


def is_spec(value: Any) -> bool:
    """Whether `value` is an instance of a frozen dataclass with a `kind` such as "problem:molecule"."""
    return (
        dataclasses.is_dataclass(value)
        and not isinstance(value, type)
        and isinstance(getattr(value, "kind", None), str)
    )


def fields(value: Any, hashed_only: bool = False) -> dict[str, Any]:
    """The init fields of a spec by name; with `hashed_only`, those that make its identity."""
    return {name: getattr(value, name) for name in _names(value.__class__, hashed_only)}


@cache
def _names(kind: type, hashed_only: bool) -> tuple[str, ...]:
    return tuple(
        f.name for f in dataclasses.fields(kind) if f.init and (not hashed_only or f.metadata.get("hashed", True))
    )


@cache
def _filled(kind: type) -> frozenset[str]:
    """The fields that, left out, are not None: there None is a choice like any other."""
    absent = (None, dataclasses.MISSING)
    return frozenset(
        f.name for f in dataclasses.fields(kind) if f.default not in absent or f.default_factory not in absent
    )


@cache
def _registered(cls: type[Any]) -> bool:
    """Whether a record of this kind of spec is read as this class, and not as one that it was derived from."""
    kind, _, name = str(getattr(cls, "kind", "")).partition(":")
    try:
        return names.find(kind, name) is cls
    except ValueError:
        return False


def array_digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and little-endian bytes."""
    data = _portable(array)
    head = f"{data.dtype.str}{data.shape}".encode()
    return hashlib.sha256(head + data.tobytes()).hexdigest()


def _portable(array: NDArray[Any]) -> NDArray[Any]:
    data = np.asarray(array)
    if data.dtype.kind not in "biufc":
        raise TypeError(f"An array in a spec must hold numbers or booleans. Got dtype {data.dtype}.")
    if data.dtype.isnative and sys.byteorder == "little" and data.flags.c_contiguous:
        return data
    return np.asarray(data, dtype=data.dtype.newbyteorder("<"), order="C")


def _is_jax(value: Any) -> bool:
    return type(value).__module__.split(".")[0] in ("jax", "jaxlib")


class _Encoder:
    """One walk over a value: what is large goes to `arrays`, what cannot be written is noted in `opaque`."""

    def __init__(self, arrays: Arrays | None, hashed_only: bool) -> None:
        self.arrays = arrays
        self.hashed_only = hashed_only
        self.opaque: list[str] = []

    def encode(self, value: Any, path: str = "spec") -> Json:
        if value is None or isinstance(value, (bool, str)):
            return value
        if type(value) is np.ndarray:
            return self._array(value)
        if type(value) is float and math.isfinite(value):
            return value
        if isinstance(value, (int, np.integer)):
            return int(value)
        if isinstance(value, (float, np.floating)):
            number = float(value)
            return number if math.isfinite(number) else {"$": "float", "value": repr(number)}
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, (complex, np.complexfloating)):
            return {"$": "complex", "re": self.encode(value.real), "im": self.encode(value.imag)}
        if isinstance(value, (tuple, list)):
            return [self.encode(v, f"{path}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, Opaque):
            return self._opaque(value.value, value.name, path)
        if is_spec(value):
            return self._spec(value, path)
        if isinstance(value, np.ndarray) or (_is_jax(value) and hasattr(value, "dtype") and hasattr(value, "shape")):
            return self._array(np.asarray(value))
        if isinstance(value, types.FunctionType):
            print_ = fingerprint.of_function(value, self.encode)
            if print_ is not None:
                return print_
        return self._opaque(value, None, path)

    def _mapping(self, value: Mapping[Any, Any], path: str) -> Json:
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"Keys of a mapping in a spec must be strings without a leading '$'. Got {key!r}.")
        return {k: self.encode(v, f"{path}[{k!r}]") for k, v in value.items()}

    def _spec(self, value: Any, path: str) -> Json:
        cls = value.__class__
        if not _registered(cls):
            return {**self._opaque(value, None, path), "kind": value.kind}
        if self.hashed_only and (shorter := getattr(value, "hashed_as", value)) is not value:
            return self.encode(shorter, path)
        out: dict[str, Json] = {"$": "spec", "kind": value.kind, "version": value.version}
        for name in _names(cls, self.hashed_only):
            entry = getattr(value, name)
            # None is the absence of a choice: leaving it out keeps ids when a later version adds an optional field.
            if entry is not None or name in _filled(cls):
                out[name] = self.encode(entry, f"{path}.{name}")
        return out

    def _array(self, value: NDArray[Any]) -> Json:
        data = _portable(value)
        out: dict[str, Json] = {"$": "array", "dtype": data.dtype.str, "shape": list(data.shape)}
        if data.size <= INLINE:
            plain = data.dtype.kind in "biu" or (data.dtype == np.float64 and bool(np.isfinite(data).all()))
            if plain and data.size <= READABLE:
                out["data"] = data.ravel().tolist()
            else:
                out["base64"] = base64.b64encode(data.tobytes()).decode()
        else:
            out["sha256"] = array_digest(data)
            if self.arrays is not None:
                self.arrays[out["sha256"]] = data
        return out

    def _opaque(self, value: Any, name: str | None, path: str) -> Json:
        self.opaque.append(path)
        kind = type(value)
        return {"$": "opaque", "name": name, "type": f"{kind.__module__}.{kind.__qualname__}", "path": path}


def encode(value: Any, arrays: Arrays | None = None) -> Json:
    """`value` as JSON data; arrays above `INLINE` entries go to `arrays` by digest.

    Raises:
        TypeError: for a mapping with keys that are no strings, or an array of objects.
    """
    return _Encoder(arrays, hashed_only=False).encode(value)


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical(data: Json) -> str:
    """JSON with sorted keys and no spaces: equal data gives equal text."""
    return _JSON.encode(data)


def dumps(value: Any, arrays: Arrays | None = None) -> str:
    """The canonical JSON text of a spec."""
    return canonical(encode(value, arrays))


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of any encodable value, all fields included."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def identity(value: Any) -> tuple[str, bool]:
    """The identity of a resolved spec: SHA-256 of its hashed fields, and whether that can be found again.

    A spec that holds an opaque object gets 64 random digits and False: no two such runs are taken for one another.

    Example:
        >>> from varq.protocol import Stop
        >>> identity(Stop(steps=3)) == identity(Stop(steps=3))
        True
    """
    encoder = _Encoder(None, hashed_only=True)
    text = canonical(encoder.encode(value))
    if encoder.opaque:
        return secrets.token_hex(32), False
    return hashlib.sha256(text.encode()).hexdigest(), True


class _Decoder:
    def __init__(self, arrays: Callable[[str], NDArray[Any]], objects: Mapping[str, Any]) -> None:
        self.arrays = arrays
        self.objects = objects

    def decode(self, data: Json) -> Any:
        if isinstance(data, list):
            return tuple(self.decode(v) for v in data)
        if not isinstance(data, dict):
            return data
        tag = data.get("$")
        if tag is None:
            return {k: self.decode(v) for k, v in data.items()}
        if tag == "float":
            return float(data["value"])
        if tag == "complex":
            return complex(self.decode(data["re"]), self.decode(data["im"]))
        if tag == "array":
            return self._array(data)
        if tag == "spec":
            return self._spec(data)
        if tag == "function":
            return fingerprint.restore(data, self.objects, self._encode)
        if tag == "opaque":
            return self._opaque(data)
        raise ValueError(
            f"This record holds a value tagged {tag!r}, which this version of varq does not know. Update varq."
        )

    @staticmethod
    def _encode(value: Any, path: str = "") -> Json:
        return _Encoder(None, hashed_only=False).encode(value, path)

    def _array(self, data: Json) -> NDArray[Any]:
        dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
        if "data" in data:
            out = np.array(data["data"], dtype=dtype).reshape(shape)
        elif "base64" in data:
            out = np.frombuffer(base64.b64decode(data["base64"]), dtype=dtype).reshape(shape).copy()
        else:
            out = np.array(self.arrays(data["sha256"]), dtype=dtype).reshape(shape)
        out.flags.writeable = False
        return out

    def _spec(self, data: Json) -> Any:
        kind, name = data["kind"].split(":", 1)
        cls = names.find(kind, name)
        if data["version"] > cls.version:
            raise ValueError(
                f"This record holds {data['kind']} version {data['version']}; this varq knows versions up to "
                f"{cls.version}. Update varq to read it."
            )
        given = {k: self.decode(v) for k, v in data.items() if k not in ("$", "kind", "version")}
        known = {f.name for f in dataclasses.fields(cls) if f.init}
        if extra := set(given) - known:
            raise ValueError(f"A record of {data['kind']} has unknown fields {sorted(extra)}. Known: {sorted(known)}.")
        # Fields that were None were left out; those that have no default are given back as None.
        bare = (dataclasses.MISSING, dataclasses.MISSING)
        absent = [f.name for f in dataclasses.fields(cls) if f.init and (f.default, f.default_factory) == bare]
        return cls(**{**dict.fromkeys(absent), **given})

    def _opaque(self, data: Json) -> Opaque:
        name = data["name"]
        if name is None:
            raise LookupError(
                f"{data['path']} is an object of type {data['type']} that cannot be written down "
                "and was given no name: its run can be carried on only in the process that started it. "
                f"Next time {_how(data)}."
            )
        if name not in self.objects:
            raise LookupError(
                f"{data['path']} is an object of type {data['type']} kept under the name {name!r}. "
                f"Hand it in again: varq.resume(id, objects={{{name!r}: ...}})."
            )
        return Opaque(self.objects[name], name)


def _how(data: Mapping[str, Any]) -> str:
    if "kind" in data:
        return (
            f"give its class a kind of its own in place of {data['kind']!r} and register it in a package under the "
            f"entry-point group varq.{data['kind'].partition(':')[0]}"
        )
    if data["type"].startswith("optax."):
        return "name it, optimizer=varq.Optax.of(obj, name='mine'), or let varq.Optax make it from a factory's name"
    return "give such an object a name="


def _no_arrays(sha256: str) -> NDArray[Any]:
    raise LookupError(f"The array {sha256[:12]} is not in this text; it is kept in the store beside it.")


def decode(
    data: Json,
    arrays: Callable[[str], NDArray[Any]] | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Any:
    """The value behind JSON data; names are resolved by `varq.names` only, and nothing stored is executed.

    Args:
        data: what `encode` returned.
        arrays: finds a large array by its SHA-256.
        objects: the objects behind opaque entries, and functions by their qualified name.

    Raises:
        LookupError: if an array or object is not at hand; says how to hand it in.
        ValueError: if a spec is newer than this varq, or of an unknown kind.
    """
    return _Decoder(arrays or _no_arrays, objects or {}).decode(data)


def loads(
    text: str,
    arrays: Callable[[str], NDArray[Any]] | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Any:
    """`decode` of a JSON text.

    Raises:
        ValueError: if the text is not JSON.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"A spec must be JSON text. Got {text[:60]!r}...: {error}.") from error
    return decode(data, arrays, objects)
