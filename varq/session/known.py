"""Runs that the store knows: whether their results stand, and what a person should know of them."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from varq import checks, names, spec
from varq.devices.catalog import called
from varq.protocol import Reason, Result, Stop
from varq.session.journal import FINAL
from varq.store.records import Row, RunRecord
from varq.store.store import Store

__all__ = [
    "carried",
    "create",
    "finished",
    "last_rule",
    "next_repeat",
    "onward",
    "state",
    "warn_untracked",
    "warn_versions",
]


def next_repeat(resolved: Any, store: Store) -> tuple[Any, str, bool]:
    """A spec as the next repeat of it that the store does not have; its identity, and whether that is found again."""
    while True:
        resolved = dataclasses.replace(resolved, repeat=resolved.repeat + 1)
        identity, findable = spec.identity(resolved)
        if not findable or store.get(identity[:16]) is None:
            return resolved, identity, findable


def create(store: Store, resolved: Any, identity: str, findable: bool, rule: Stop | None) -> RunRecord:
    """Put a run into the store.

    Args:
        store: where to.
        resolved: its resolved spec.
        identity: of the spec.
        findable: whether an equal spec has the same identity.
        rule: the stop rule that it goes by; None for the method's own.
    """
    arrays: dict[str, Any] = {}
    record = RunRecord(
        id=identity[:16],
        identity=identity,
        findable=findable,
        spec=spec.dumps(resolved, arrays),
        algorithm=resolved.kind,
        title=resolved.title,
        device=called(spec.unwrap(resolved.device)),
        created=time.time(),
        host=platform.node(),
        versions=names.versions(),
        rule=spec.dumps(rule),
    )
    store.create(record, arrays)
    return record


def last_rule(record: RunRecord, resolved: Any) -> Stop | None:
    """The stop rule that a run went by last, which may be another one than its spec's; None for the method's own."""
    if record.rule is None:  # recorded before rules were
        found: Stop | None = resolved.stop
        return found
    return spec.loads(record.rule)  # type: ignore[no-any-return]


def carried(rows: Sequence[Row], kept: int, then: dict[str, str], now: dict[str, str]) -> list[Row]:
    """The first steps of a run as those of another one, which was created with other versions perhaps.

    Args:
        rows: its journal.
        kept: how many steps.
        then: versions when it was created.
        now: those when the other one was.
    """
    versions = None if now == then else spec.canonical(then)
    kept_rows = [row for row in rows if row.role != FINAL and row.step < kept]
    return [dataclasses.replace(row, versions=row.versions or versions) for row in kept_rows]


def finished(result: Result, rule: Callable[[], Stop]) -> bool:
    """Whether a recorded result stands under this stop rule, or the rule lets the run go on."""
    ended = result.rule
    if ended is None or not result.reason.final:
        return result.reason.final
    asked = rule()
    if asked.steps is not None and result.steps >= asked.steps:
        return True
    if asked.seconds is not None and result.seconds >= asked.seconds:
        return True
    if result.reason in (Reason.STEPS, Reason.SECONDS):
        return False
    return (asked.tolerance, asked.patience) == (ended.tolerance, ended.patience)


def warn_untracked(record: RunRecord, resolved: Any) -> None:
    """Say that what is tracked now was not recorded before."""
    recorded = json.loads(record.spec)
    missing = sorted(set(getattr(resolved, "track", {})) - set(recorded.get("track", {})))
    if missing and record.steps and recorded["$"] == "spec":
        warnings.warn(
            f"Run {record.id} is recorded without {', '.join(missing)}: what was done before is not tracked. "
            "Use existing='repeat' to follow it from the start.",
            stacklevel=4,
        )


def state(record: RunRecord) -> str:
    """How a run stands, in a few words."""
    value = "" if record.value is None else f", value {record.value:.10g}"
    return f"{record.reason or 'unfinished'} after {checks.counted(record.steps, 'step')}{value}"


def onward(record: RunRecord, folder: Path | None) -> str:
    """How to go on with an unfinished run, for a person.

    Args:
        record: of the run.
        folder: of its store; None for memory.
    """
    if folder is None:
        return "It is in memory only; go on in this process: run.finish()"
    objects = list(_opaque(json.loads(record.spec)))
    given = f'"{record.id}"'
    if objects and None not in objects:
        given += f", objects={{{', '.join(f'{name!r}: ...' for name in objects)}}}"
    where = " in the process that started it" if None in objects else ""
    return f"Carry on{where} with: varq.resume({given}, store={str(folder)!r})"


def _opaque(data: Any) -> Iterator[str | None]:
    """The names of the objects in a spec's JSON data that could not be written down; None for one without a name."""
    if isinstance(data, dict) and data.get("$") == "opaque":
        yield data["name"]
    elif isinstance(data, (dict, list)):
        for entry in data.values() if isinstance(data, dict) else data:
            yield from _opaque(entry)


def warn_versions(record: RunRecord) -> None:
    """Say that a result was computed by other minor versions."""
    now = names.versions()
    changed = [
        f"{package} {record.versions[package]} (now {now.get(package, 'absent')})"
        for package in ("varq", "pennylane", "jax")
        if package in record.versions and _minor(record.versions[package]) != _minor(now.get(package, ""))
    ]
    if changed:
        warnings.warn(
            f"Run {record.id} was computed with {', '.join(changed)}. Use existing='repeat' to compute it anew.",
            stacklevel=4,
        )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
