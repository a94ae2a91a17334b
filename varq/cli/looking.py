"""`varq list` and `varq show`: what the store holds, read without loading what ran it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from varq import checks, names, spec
from varq.cli.console import lines, note, print_json, result_block, say, table, when
from varq.cli.mistakes import asked
from varq.cli.stores import DEFAULT_FOLDER, line, reading
from varq.plots.units import difference
from varq.protocol import Reason, Result
from varq.session.known import onward
from varq.session.limits import last_limited, limits_of, settings_of
from varq.store.records import RunRecord

__all__ = ["described", "facts", "list_runs", "result_data", "show", "worded"]

_CODE, _OBJECT = '"$":"function"', '"$":"opaque"'  # as varq.spec writes what the command line cannot make again
_LONG = 60  # letters of a list or array that are printed


def list_runs(store: Path | None, algorithm: str | None, limit: int | None, as_json: bool) -> None:
    """Print the runs, newest first."""
    wanted = None
    if algorithm is not None:
        known = names.names("algorithm")
        with asked():
            if algorithm not in known:
                names.find("algorithm", algorithm)
        wanted = f"algorithm:{algorithm}"
    records = []
    if store is not None or DEFAULT_FOLDER.exists():
        with reading(store) as opened:
            records = opened.list(wanted, limit)
    if as_json:
        print_json([facts(record) for record in records])
    elif records:
        table(["ID", "started", "what", "state", "steps", "value"], [_row(r) for r in records], right=(4, 5), wide=(2,))
    else:
        note("No runs yet: `varq demo` makes the first." if wanted is None else f"No runs of {algorithm}.")


def _row(record: RunRecord) -> list[str]:
    value = "" if record.value is None else f"{record.value:.8g}"
    return [
        record.id[:8],
        when(record.created)[:16],
        record.title,
        record.reason or "unfinished",
        str(record.steps),
        value,
    ]


def facts(record: RunRecord) -> dict[str, Any]:
    """What a program may want to know of a run, spec and result left out."""
    out = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name not in ("spec", "result")}
    unit = "" if record.result is None else json.loads(record.result)["unit"]
    known = record.value is not None and record.reference is not None
    out["deviation"] = difference(record.value, record.reference, unit) if known else None  # type: ignore[arg-type]
    return out


def show(run_id: str, store: Path | None, as_json: bool) -> None:
    """Print one run.

    Raises:
        InputError: if there is no such run.
    """
    with reading(store) as opened:
        with asked():
            record = opened.find(run_id)
        result = None if record.result is None else spec.loads(record.result, opened.array)
        limited = last_limited(opened, record.id) if record.reason == "budget" else None
        limits = {} if limited is None else limits_of(settings_of(opened.jobs, limited))
        if as_json:
            print_json({**facts(record), "spec": json.loads(record.spec), "result": result_data(result)})
            return
        _print(record, result, store, limits)


def result_data(result: Result | None) -> dict[str, Any] | None:
    """A result as data."""
    return None if result is None else {**spec.fields(result), "deviation": result.deviation}


def _print(record: RunRecord, result: Result | None, store: Path | None, limits: dict[str, float]) -> None:
    if result is None:
        say(record.title, "bold")
        so_far = f"unfinished after {checks.counted(record.steps, 'step')}, {record.seconds:.3g} s on {record.device}"
        lines([("state", so_far), ("run", record.id)])
    else:
        result_block(result)
    lines([("started", f"{when(record.created)} on {record.host}")])
    lines([("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()))])
    say("Spec", "bold")
    for depth, text in described(json.loads(record.spec), record.algorithm.split(":")[-1]):
        say("  " * (depth + 1) + text)
    say(_next(record, store, limits), "dim")


def _next(record: RunRecord, store: Path | None, limits: dict[str, float]) -> str:
    """The line that resumes, or why there is nothing to resume.

    Args:
        record: of the run.
        store: folder of the store.
        limits: of the budget that ended it, by name.
    """
    command = line("resume", record.id, store)
    if _OBJECT in record.spec:
        return onward(record, store or DEFAULT_FOLDER)
    if _CODE in record.spec:
        return f"Carry on where its function is at hand, in Python: varq.resume({record.id[:8]!r})"
    if limits:
        more = " ".join(f"--budget-{name} {max(2 * most, 1):.15g}" for name, most in limits.items())
        return f"Go further with a larger budget: {command} {more}"
    if record.reason is None or not Reason(record.reason).final:
        return f"Carry on with: {command}"
    if record.reason in ("steps", "seconds"):
        return f"Go further with: {command} --stop-steps {max(2 * record.steps, 1)}"
    return f"It is complete; {line('plot', record.id, store)} draws it."


def described(data: Any, name: str, depth: int = 0) -> Iterator[tuple[int, str]]:
    """The lines of a spec with their depth: kinds and plain values, long arrays by their shape."""
    if isinstance(data, dict) and data.get("$") == "spec":
        yield depth, f"{name}: {data['kind'].split(':')[-1]}" if depth else data["kind"].replace(":", ": ")
        inner = {k: v for k, v in data.items() if k not in ("$", "kind", "version")}
    elif isinstance(data, dict) and "$" not in data:
        if not data:
            return
        yield depth, f"{name}:"
        inner = data
    else:
        yield depth, f"{name} = {worded(data)}"
        return
    for key, value in inner.items():
        yield from described(value, key, depth + 1)


def worded(data: Any) -> str:
    """A value in words that fit on a line."""
    if isinstance(data, dict):
        kind = data["$"]
        if kind == "array":
            shape = "×".join(map(str, data["shape"])) or "scalar"
            few = json.dumps(data.get("data"))
            return few if "data" in data and len(few) <= _LONG else f"array of {shape} ({data['dtype'].lstrip('<|')})"
        if kind == "complex":
            return str(complex(data["re"], data["im"]))
        return str(data.get("value") or data.get("name") or data.get("type") or kind)
    if isinstance(data, list):
        inner = f"[{', '.join(map(worded, data))}]"
        return inner if len(inner) <= _LONG else f"{inner[: _LONG - 4]} ...  ({len(data)} entries)"
    return json.dumps(data, ensure_ascii=False)
