"""Studies in TOML files: a spec as `varq run` takes it, and a table `sweep` that says what is swept over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varq import checks
from varq.cli import specfile
from varq.cli.mistakes import InputError, asked
from varq.session.budget import Budget

__all__ = ["Swept", "read"]

_KEYS = ("name", "over", "warm_start", "batch", "needs", "priority")


@dataclass(frozen=True)
class Swept:
    """What a file describes.

    Args:
        task: the spec.
        over: what it is swept over, as `varq.sweep` takes it.
        options: further arguments of `varq.sweep`.
        store: folder of the store; None for the default.
        budget: of the whole study; None for none.
        prices: of devices; None for those that varq knows.
    """

    task: Any
    over: Mapping[Any, Any]
    options: Mapping[str, Any]
    store: Path | None
    budget: Budget | None = None
    prices: Mapping[str, Any] | None = None


def read(path: Path) -> Swept:
    """The study in a TOML file.

    Raises:
        InputError: for whatever is wrong with the file; names it, the table and the key.
    """
    data = specfile.parsed(path)
    table = data.pop("sweep", None)
    where = f"{path}, [sweep]"
    if not isinstance(table, dict):
        raise InputError(
            f"{path}: a study needs a table [sweep], with [sweep.over] in it. `varq run` takes it without."
        )
    for key in table:
        if key not in _KEYS:
            near = checks.close_names(key, _KEYS)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"{where}: there is no key {key!r} here.{meant} Keys: {', '.join(_KEYS)}.")
    found = specfile.described(path, data, swept=True)
    task = found.task
    with asked(where):
        over = _axes(checks.instance("over", table.get("over", {}), dict), "")
        named = {"device": found.device, "shots": found.shots}
        chosen = {key: value for key, value in named.items() if value is not None}
        task = dataclasses.replace(task, **chosen) if chosen else task
    options = {key: table[key] for key in _KEYS if key != "over" and key in table}
    return Swept(task, over, options, found.store, found.options.get("budget"), found.options.get("prices"))


def _axes(table: Mapping[str, Any], path: str) -> dict[Any, Any]:
    """Lists of values by names of fields, however the tables are nested; names with commas change together."""
    out: dict[Any, Any] = {}
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict) and set(value) == {"range"}:
            out[name] = range(*value["range"]) if isinstance(value["range"], list) else range(value["range"])
        elif isinstance(value, dict):
            out.update(_axes(value, name))
        elif "," in name:
            rows = checks.instance(f"over[{name!r}]", value, list)
            out[tuple(part.strip() for part in name.split(","))] = [_frozen(row) for row in rows]
        else:
            out[name] = _frozen(value) if isinstance(value, list) else value
    return out


def _frozen(value: Any) -> Any:
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value
