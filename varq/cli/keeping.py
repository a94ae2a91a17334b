"""`varq rm | gc | compact | merge | verify`: the care of a store."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from varq.checks import counted
from varq.cli.console import note, print_json, say, table
from varq.cli.mistakes import InputError, asked
from varq.cli.stores import DEFAULT_FOLDER, reading, writing
from varq.store import maintenance
from varq.store.folder import store_folder
from varq.store.records import GcReport, RunRecord
from varq.store.store import open_store

__all__ = ["compact", "gc", "merge", "remove", "verify"]

_SOUND, _DAMAGED = 0, 1
_LOCKED = 30.0  # seconds that a source may be locked, as in `open_store`


def remove(runs: Sequence[str], store: Path | None, yes: bool) -> None:
    """Delete runs, once the person agrees.

    Raises:
        InputError: if one is unknown, or nobody can be asked.
    """
    with writing(store) as opened, asked():
        found = {record.id: record for record in map(opened.find, runs)}
        if not yes:
            _agree([f"{r.id[:8]}  {r.title}, {_stood(r)}" for r in found.values()])
        removed = opened.remove(list(found))
    say(f"Removed {counted(len(removed), 'run')}. `varq gc` gives the space back.")


def _stood(record: RunRecord) -> str:
    return f"{record.reason or 'unfinished'} after {counted(record.steps, 'step')}"


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
    say(_freed(report))


def compact(store: Path | None) -> None:
    """Take the files that worker processes left, on any host, into this host's one, and free what no run needs.

    Raises:
        InputError: if there is no store.
    """
    with writing(store) as opened:
        report = opened.compact()
    left = "" if not report.left else f" Left {report.left:,} that may be in use: those of other hosts for ten minutes."
    say(f"Took in {counted(report.files, 'file')} of workers.{left} {_freed(report.freed)}")


def _freed(report: GcReport) -> str:
    freed = [
        counted(report.arrays, "array"),
        counted(report.runs, "run") + " without a step",
        counted(report.leases, "old lease"),
        counted(report.files, "unfinished file"),
    ]
    return f"Freed {', '.join(freed)}: {_size(report.bytes)}."


def merge(sources: Sequence[Path], store: Path | None) -> None:
    """Add other stores' runs; the store that takes them is made where it is missing, once the others are found.

    Raises:
        InputError: if one of the others is missing, or is this one.
    """
    with asked():
        folder = store_folder(store or DEFAULT_FOLDER)
        new = not folder.exists()
        if new:  # a name typed wrong must leave nothing behind
            _found(sources)
    with open_store(folder) as opened, asked():
        report = opened.merge(sources)
    if not report.files:
        raise InputError("there is nothing to merge: what was named is this store's own file. Name another store.")
    said = [
        counted(report.files, "file") + ": " + counted(report.runs, "new run"),
        counted(report.rows, "new row"),
        counted(report.arrays, "new array"),
        counted(report.results, "result"),
        counted(report.jobs, "new or further job"),
    ]
    where = f" into a new store, {store or DEFAULT_FOLDER}" if new else ""
    say(f"Merged {', '.join(said)}{where}; {counted(report.equal, 'row')} known already.")


def _found(sources: Sequence[Path]) -> None:
    for file in maintenance.sources(sources, None, _LOCKED):
        file.close()


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
        note(f"{counted(len(findings), 'finding')}. varq changes nothing here: restore the file from a copy, or remove")
        note("the run (`varq rm ID`) and compute it again.")
    else:
        say(f"Sound: {counted(runs, 'run')}, every row and array as it was written.")
    return _DAMAGED if findings else _SOUND


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
