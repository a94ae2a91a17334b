"""Specs in TOML files: a table for each part, names for kinds, numbers and lists for the rest."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from varq import checks, names
from varq.cli.mistakes import InputError, asked
from varq.devices.catalog import device, spread
from varq.devices.choice import Device
from varq.devices.prices import load_prices
from varq.devices.several import Spread
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.session.retry import Retry

__all__ = ["Described", "described", "parsed", "read"]

_PARTS = MappingProxyType(
    {
        "problem": "problem",
        "ansatz": "ansatz",
        "optimizer": "optimizer",
        "track": "problem",
        "code": "code",
        "decoder": "decoder",
    }
)
"""Fields of algorithms whose tables are specs, and of which kind; `track` is a table of such tables."""

_WAYS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "problem:molecule": (
            ("name", "load"),
            ("path", "from_fcidump"),
            ("atoms", "from_geometry"),
            ("h1", "from_integrals"),
        ),
        "problem:maxcut": (("edges", ""), ("degree", "random_regular")),
    }
)
"""Kinds that are made in several ways: the key that chooses one, and its class method ("" for the class itself)."""

_FIELDS = MappingProxyType({"problem:maxcut": {"edges": "graph"}})
"""Keys that say better what a file can hold than the field they stand for."""

_CODE = MappingProxyType(
    {
        "algorithm:amplitude-estimation": "its circuit is a Python function: AmplitudeEstimation(prepare, good)",
        "algorithm:minimize": "its cost is a Python function: varq.run(Minimize(cost, x0))",
        "ansatz:circuit": "it is a Python function: VQE(problem=..., ansatz=Circuit(function, shape=...))",
    }
)
"""What only Python can say."""

_OF_STUDIES = ("store", "device", "shots", "budget", "prices")
_SESSION = (*_OF_STUDIES, "retry", "on_error", "priority", "deadline")
_TABLES: Mapping[str, Callable[..., Any]] = MappingProxyType({"budget": Budget, "retry": Retry})


@dataclass(frozen=True)
class Described:
    """What a file describes: a spec, and the session to run it in.

    Args:
        task: the spec.
        store: folder of the store; None for the default.
        device: the session's device.
        shots: the session's shots.
        options: what else `Session` is opened with: its budget, retry, prices and on_error, as far as they are said.
        start: how its `start` is called: with a priority and a deadline in seconds, as far as they are said.
    """

    task: Any
    store: Path | None = None
    device: str | Device | Spread | None = None
    shots: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> Described:
    """The spec in a TOML file.

    Raises:
        InputError: for whatever is wrong with the file; names it, the table and the key, and lists the close names.
    """
    return described(path, parsed(path))


def parsed(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        InputError: if it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark in front
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this is not TOML: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: it cannot be read: {error.strerror}.") from error


def described(path: Path, data: dict[str, Any], swept: bool = False) -> Described:
    """The spec that the tables of a file describe.

    Args:
        path: of the file.
        data: what it holds.
        swept: whether it is one of many, whose sessions the study opens: what one of them is like is not said then.

    Raises:
        InputError: as `read`.
    """
    return _Reader(path, _OF_STUDIES if swept else _SESSION).described(data)


@dataclass(frozen=True)
class _Reader:
    path: Path
    session: tuple[str, ...] = _SESSION

    def described(self, data: dict[str, Any]) -> Described:
        session = self._table(data.pop("session", {}), "session")
        self._known(session, self.session, "session")
        name = self._kind("algorithm", data.pop("algorithm", None), "")
        known = _keys(found := names.find("algorithm", name))
        self._known(data, [*known, "session", "algorithm"], "", shown=[*known, "session"])
        fields: dict[str, Any] = {}
        # The problem comes first: an ansatz is made to fit it.
        for key in sorted(data, key=lambda k: k != "problem"):
            fields[key] = self._field(key, data[key], fields.get("problem"))
        task = self._call(found, fields, "", f"algorithm = {name!r}")
        return self._in_session(task, session)

    def _in_session(self, task: Any, session: Mapping[str, Any]) -> Described:
        options: dict[str, Any] = {
            key: self._call(make, self._table(session[key], f"session.{key}"), f"session.{key}", f"a {key}")
            for key, make in _TABLES.items()
            if key in session
        }
        start: dict[str, Any] = {}
        with asked(self._where("session")):
            store = None if "store" not in session else checks.text("store", session["store"])
            shots = None if "shots" not in session else checks.integer("shots", session["shots"], minimum=1)
            if "on_error" in session:
                options["on_error"] = checks.choice("on_error", session["on_error"], ("abort", "continue"))
            if "priority" in session:
                start["priority"] = checks.integer("priority", session["priority"])
            if "deadline" in session:
                start["deadline"] = checks.real("deadline", session["deadline"], minimum=0)
        if "prices" in session:
            options["prices"] = self._prices(session["prices"])
        where = None if "device" not in session else self._device(session["device"], "session.device")
        return Described(task, None if store is None else Path(store), where, shots, options, start)

    def _device(self, value: Any, table: str) -> str | Device | Spread:
        """A device by its name, by a table of its name and options, or several by a list of those."""
        if isinstance(value, list):
            parts = [self._device(one, table) for one in value]
            with asked(self._where(table)):
                return spread(*parts)
        if isinstance(value, dict):
            found: Device = self._call(device, _plain(value), table, "a device")
            return found
        with asked(self._where("session")):
            return checks.text("device", value)

    def _prices(self, value: Any) -> Mapping[str, Any]:
        """Prices of one's own, in tables here or in a file beside this one."""
        with asked(self._where("session.prices")):
            return load_prices(self.path.parent / value if isinstance(value, str) else value)

    def _field(self, key: str, value: Any, problem: Any) -> Any:
        if key == "stop":
            return self._call(Stop, self._table(value, key), key, "a stop rule")
        if key == "track":
            entries = self._table(value, key).items()
            return {name: self._part("problem", entry, f"{key}.{name}", None) for name, entry in entries}
        if key in _PARTS and not (isinstance(value, str) and key != "problem"):
            return self._part(_PARTS[key], value, key, problem)
        return _plain(value)

    def _part(self, category: str, value: Any, table: str, problem: Any) -> Any:
        """A table that describes a problem, an ansatz or an optimizer."""
        fields = dict(self._table(value, table))
        kind = self._kind(category, fields.pop("kind", None), table)
        found = names.find(category, kind)
        said = f"kind = {kind!r}"
        if category == "problem":
            return self._problem(found, f"{category}:{kind}", fields, table)
        nested = {key: self._nested(category, entry, f"{table}.{key}") for key, entry in fields.items()}
        if category == "ansatz" and problem is not None and hasattr(found, "for_problem"):
            self._known(nested, _keys(found), table)
            if not _required(found) <= set(nested):
                with asked(self._where(table)):
                    return found.for_problem(problem, **nested)
        return self._call(found, nested, table, said)

    def _problem(self, found: Any, kind: str, fields: dict[str, Any], table: str) -> Any:
        ways = [(key, getattr(found, method) if method else found) for key, method in _WAYS.get(kind, ())]
        make = next((method for key, method in ways if key in fields), None if ways else found)
        renamed = _FIELDS.get(kind, {})
        shown = {field: key for key, field in renamed.items()}
        if make is None:
            keys = " or ".join(key for key, _ in ways)
            self._known(fields, [shown.get(known, known) for _, way in ways for known in _keys(way)], table)
            raise InputError(f"{self._where(table)}: one of the keys {keys} must say what it is made from.")
        self._known(fields, [shown.get(known, known) for known in _keys(make)], table)
        if "path" in fields and isinstance(fields["path"], str):
            fields["path"] = str(self.path.parent / fields["path"])
        plain = {renamed.get(key, key): _numbers(_plain(value)) for key, value in fields.items()}
        return self._call(make, plain, table, f"kind = {kind.split(':')[1]!r}")

    def _nested(self, category: str, value: Any, table: str) -> Any:
        """A value inside a part: tables with a `kind` are parts themselves, such as a schedule of a learning rate."""
        if isinstance(value, dict) and "kind" in value:
            return self._part(category, value, table, None)
        if isinstance(value, dict):
            return {key: self._nested(category, entry, f"{table}.{key}") for key, entry in value.items()}
        if isinstance(value, list):
            return tuple(self._nested(category, entry, f"{table}[{i}]") for i, entry in enumerate(value))
        return value

    # -- what is checked before anything is made --

    def _where(self, table: str) -> str:
        return f"{self.path}, [{table}]" if table else str(self.path)

    def _table(self, value: Any, table: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise InputError(f"{self._where('')}: {table} must be a table, [{table}]. Got {value!r}.")
        return value

    def _kind(self, category: str, kind: Any, table: str) -> str:
        key = "kind" if table else category
        known = [name for name in names.names(category) if f"{category}:{name}" not in _CODE]
        if kind is None:
            raise InputError(f"{self._where(table)}: {key} is missing; it is one of {', '.join(known)}.")
        reason = _CODE.get(f"{category}:{kind}")
        if reason is not None:
            raise InputError(f"{self._where(table)}: {key} = {kind!r} cannot stand in a file: {reason}.")
        hint = "Methods of optax and SciPy: kind = 'optax' or 'scipy', with their name as name." * (
            category == "optimizer"
        )
        with asked(self._where(table)):
            return checks.choice(key, kind, known, hint=hint)

    def _known(self, given: Iterable[str], known: Iterable[str], table: str, shown: Iterable[str] = ()) -> None:
        known = list(dict.fromkeys(known))  # ways to make one thing share keys
        for key in given:
            if key not in known:
                near = checks.close_names(key, known)
                meant = f" Did you mean {' or '.join(near)}?" if near else ""
                listed = ", ".join(shown or known)
                raise InputError(f"{self._where(table)}: there is no key {key!r} here.{meant} Keys: {listed}.")

    def _call(self, make: Callable[..., Any], given: Mapping[str, Any], table: str, said: str) -> Any:
        if not _open_ended(make):
            self._known(given, _keys(make), table)
        missing = sorted(_required(make) - set(given))
        if missing:
            raise InputError(f"{self._where(table)}: {said} needs {' and '.join(missing)}.")
        with asked(self._where(table)):
            return make(**given)


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in inspect.signature(make).parameters.values() if p.kind not in positional]


def _open_ended(make: Callable[..., Any]) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(make).parameters.values())


def _keys(make: Callable[..., Any]) -> list[str]:
    return [p.name for p in _parameters(make)]


def _required(make: Callable[..., Any]) -> set[str]:
    return {p.name for p in _parameters(make) if p.default is inspect.Parameter.empty}


def _plain(value: Any) -> Any:
    """TOML's lists as tuples: specs hold nothing that can change."""
    if isinstance(value, list):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def _numbers(value: Any) -> Any:
    """Texts such as "0.5-0.5j" inside nested lists as the complex numbers that TOML lacks."""
    if isinstance(value, tuple) and any(isinstance(entry, tuple) for entry in value):
        return tuple(_numbers(entry) for entry in value)
    if isinstance(value, tuple) and any(isinstance(entry, str) for entry in value):
        return tuple(_complex(entry) for entry in value)
    return value


def _complex(value: Any) -> Any:
    if not isinstance(value, str) or not value.endswith("j") or value == "j":
        return value
    try:
        return complex(value.replace(" ", ""))
    except ValueError:
        return value
