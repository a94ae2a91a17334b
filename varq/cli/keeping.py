"""`varq rm | gc | merge | verify`: the care of a store."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from varq.cli.console import note, print_json, say, table
from varq.cli.mistakes import InputError, asked
from varq.cli.stores import reading, writing

__all__ = ["gc", "merge", "remove", "verify"]

_SOUND, _DAMAGED = 0, 1


def remove(runs: Sequence[str], store: Path | None, yes: bool) -> None:
    """Delete runs, once the person agrees.

    Raises:
        InputError: if one is unknown, or nobody can be asked.
    """
    with writing(store) as opened, asked():
        found = {record.id: record for record in map(opened.find, runs)}
        if not yes:
            _agree([f"{r.id[:8]}  {r.title}, {r.reason or 'unfinished'} after {r.steps} steps" for r in found.values()])
        removed = opened.remove(list(found))
    say(f"Removed {_count(len(removed), 'run')}. `varq gc` gives the space back.")


def _agree(shown: Sequence[str]) -> None:
    if not _person_there():
        raise InputError("nobody is there to be asked whether to delete. Add --yes to delete without asking.")
    for text in shown:
        note(text)
    if not typer.confirm(f"Delete {'this run' if len(shown) == 1 else f'these {len(shown)} runs'} for good?", err=True):
        raise typer.Exit(1)


def _person_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # None where a service closed it


def gc(store: Path | None) -> None:
    """Free what no run needs."""
    with writing(store) as opened:
        report = opened.gc()
    freed = [
        _count(report.arrays, "array"),
        _count(report.runs, "run") + " without a step",
        _count(report.leases, "old lease"),
        _count(report.files, "unfinished file"),
    ]
    say(f"Freed {', '.join(freed)}: {_size(report.bytes)}.")


def merge(sources: Sequence[Path], store: Path | None) -> None:
    """Add other stores' runs.

    Raises:
        InputError: if a store is missing, or is this one.
    """
    with writing(store) as opened, asked():
        report = opened.merge(sources)
    if not report.files:
        raise InputError("there is nothing to merge: what was named is this store's own file. Name another store.")
    say(
        f"Merged {_count(report.files, 'file')}: {_count(report.runs, 'new run')}, {_count(report.rows, 'new row')}, "
        f"{_count(report.arrays, 'new array')}, {_count(report.results, 'result')}, "
        f"{_count(report.jobs, 'new or further job')}; {_count(report.equal, 'row')} known already."
    )


def verify(store: Path | None, as_json: bool) -> int:
    """Print what is wrong with a store; 1 if anything is."""
    with reading(store) as opened:
        findings = opened.verify()
        runs = 0 if findings else len(opened.list())
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    elif findings:
        rows = [[f.file or "", (f.run or "")[:8], f.where, f.what] for f in findings]
        table(["file", "run", "where", "what"], rows, wide=(0, 3))
        note(f"{_count(len(findings), 'finding')}. varq changes nothing here: restore the file from a copy, or remove")
        note("the run (`varq rm ID`) and compute it again.")
    else:
        say(f"Sound: {_count(runs, 'run')}, every row and array as it was written.")
    return _DAMAGED if findings else _SOUND


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
