"""Care of store files: removing runs, freeing what nothing needs, merging, and looking for damage."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from varq import checks
from varq.store import job_care, tables
from varq.store.database import Database
from varq.store.faults import ConflictError, StoreCorrupt, StoreError, StoreUnwritable
from varq.store.job_records import ENLISTED
from varq.store.records import Finding, GcReport, MergeReport, Row, seal

__all__ = ["gc", "merge", "references", "remove", "sources", "verify"]

_DAY = 86_400.0  # seconds; a run without a row may be one that is just being started
_WEEK = 7 * _DAY  # an order of a study may take days, in which its client has nothing to do
_SHOWN = 3  # conflicts shown in full
_REFERENCE = re.compile(r'"sha256":"([0-9a-f]{64})"')  # as varq.spec writes a large array into canonical JSON
_TEXTS = (
    "SELECT id, 'spec', spec FROM runs",
    "SELECT id, 'result', result FROM results JOIN runs ON run = number WHERE result IS NOT NULL",
    "SELECT id, 'step ' || step, request || ' ' || reply FROM steps JOIN runs ON run = number",
)


def references(text: str) -> list[str]:
    """The SHA-256 of every large array that a canonical JSON text names."""
    return _REFERENCE.findall(text)


# -- removing


def remove(own: Database, others: Sequence[Database], ids: Sequence[str]) -> None:
    """Deletes runs from this host's file; refuses those that another host's file has too."""
    for file in others:
        for run_id in ids:
            if file.read("SELECT 1 FROM runs WHERE id = ?", (run_id,)):
                raise StoreUnwritable(
                    f"A host removes runs from its own file only. Run {run_id[:12]} is also in {file.name}. Remove it "
                    "on that host; or, if that host is gone, merge its file into this one and delete it first. "
                    "Nothing was removed."
                )
    with own.write() as db:
        for run_id in ids:
            _delete(db, run_id)


def _delete(db: sqlite3.Connection, run_id: str) -> None:
    number = "(SELECT number FROM runs WHERE id = ?)"
    db.execute(f"DELETE FROM steps WHERE run = {number}", (run_id,))
    db.execute(f"DELETE FROM results WHERE run = {number}", (run_id,))
    db.execute("DELETE FROM leases WHERE run = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


# -- freeing


def gc(own: Database, others: Sequence[Database], owner: Callable[[str], Any]) -> GcReport:
    """Frees what nothing needs in this host's file, then packs it."""
    before = _size(own)
    empty = [run for run in _empty(own, others) if owner(run) is None]
    with own.write() as db:
        for run_id in empty:
            _delete(db, run_id)
        needed = {
            sha for file in (own, *others) for sql in _TEXTS for *_, text in file.each(sql) for sha in references(text)
        }
        needed |= job_care.named_arrays((own, *others))
        stored = {row[0] for row in db.execute("SELECT sha256 FROM arrays")}
        db.executemany("DELETE FROM arrays WHERE sha256 = ?", [(sha,) for sha in stored - needed])
        # A lease given back still overrules an older one in another host's file, so it goes only where there is none.
        gone = 0 if others else db.execute("DELETE FROM leases WHERE released = 1").rowcount
    files = _drafts(own)
    own.vacuum()
    return GcReport(len(stored - needed), len(empty), gone, files, max(0, before - _size(own)))


def _empty(own: Database, others: Sequence[Database]) -> list[str]:
    """Unfinished runs, a day old, of which no file has a row or a job, and that no session is to go on with."""
    sql = (
        "SELECT id FROM runs JOIN results ON run = number WHERE reason IS NULL AND created < ? "
        "AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.run = number)"
    )
    known = "SELECT 1 FROM steps JOIN runs ON run = number WHERE id = ? LIMIT 1"
    served = "SELECT 1 FROM uses WHERE owner = ? LIMIT 1"
    found = {row[0] for row in own.read(sql, (time.time() - _DAY,))} - _enlisted([own, *others])
    with_jobs = job_care.having([own, *others])
    return [
        run
        for run in sorted(found)
        if not any(file.read(known, (run,)) for file in others)
        and not any(file.read(served, (run,)) for file in with_jobs)
    ]


def _enlisted(files: Sequence[Database]) -> set[str]:
    """The runs that were noted in sessions which are not closed: whoever opens one again goes on with them."""
    sql = "SELECT body FROM notes JOIN sessions ON key = session WHERE kind = ? AND state <> 'closed'"
    return {json.loads(body)["run"] for file in job_care.having(files) for (body,) in file.read(sql, (ENLISTED,))}


def _drafts(own: Database) -> int:
    """Deletes what is left of store files whose making was cut off, and permits of studies whose client is gone."""
    if own.path is None:
        return 0
    count = 0
    folder = own.path.parent
    # A study's client touches the file that tells its workers to go on; one that was killed leaves it behind.
    for pattern, age in ((f".{own.path.name}.*.tmp*", _DAY), (".study-*.running", _WEEK)):
        for left in folder.glob(pattern):
            with suppress(OSError):
                if left.stat().st_mtime < time.time() - age:
                    left.unlink()
                    count += 1
    return count


def _size(own: Database) -> int:
    pages, free = (int(own.read(f"PRAGMA {what}")[0][0]) for what in ("page_count", "page_size"))
    return pages * free


# -- merging


def sources(paths: Iterable[str | os.PathLike[str]], own: Path | None, timeout: float) -> list[Database]:
    """The files behind the paths of stores, open for reading; this host's own file is left out.

    Raises:
        StoreError: if a path holds no store file.
    """
    if isinstance(paths, (str, os.PathLike)):
        raise TypeError(f"others must be a list of stores. Got {paths!r}. Put it in brackets: [{str(paths)!r}].")
    files: list[Database] = []
    try:
        for path in map(Path, paths):
            found = sorted(p for p in path.glob("*.sqlite") if not p.name.startswith(".")) if path.is_dir() else [path]
            if not found or not found[0].exists():
                raise StoreError(
                    f"There is no store at {path}. Name a folder that holds one, or one of its .sqlite files."
                )
            files += [Database(p, False, timeout) for p in found if own is None or p.resolve() != own.resolve()]
    except BaseException:
        for file in files:
            file.close()
        raise
    return files


@dataclass
class _Tally:
    runs: int = 0
    rows: int = 0
    arrays: int = 0
    equal: int = 0
    results: int = 0
    jobs: int = 0
    conflicts: int = 0
    shown: list[str] = field(default_factory=list)


def merge(own: Database, others: Sequence[Database], files: Sequence[Database]) -> MergeReport:
    """Adds what `files` hold to this host's file, in one transaction.

    Raises:
        ConflictError: if anything differs; shows the first conflicts, and nothing is merged.
        StoreCorrupt: if a row of a source is not what was written; nothing is merged.
    """
    tally = _Tally()
    with own.write() as db:
        for file in files:
            for (sha,) in file.each("SELECT sha256 FROM arrays"):
                if not db.execute("SELECT 1 FROM arrays WHERE sha256 = ?", (sha,)).fetchone():
                    array = tables.read_array(file, sha)
                    tally.arrays += tables.put_arrays(db, {} if array is None else {sha: array})
            for run in tables.read_runs(file):
                _merge_run(db, others, file, run, tally)
        if tally.conflicts:
            more = f"\n... and {tally.conflicts - len(tally.shown)} more" if tally.conflicts > len(tally.shown) else ""
            raise ConflictError(
                f"A recorded step never changes, but {tally.conflicts} differ between the stores. Nothing was merged. "
                f"Remove the run that is wrong from its store, then merge again.\n" + "\n".join(tally.shown) + more
            )
        for file in job_care.having(files):
            taken = job_care.take(db, own, file)
            if taken.conflicts:
                more = f"\n... and {len(taken.conflicts) - 1} more." if len(taken.conflicts) > 1 else ""
                raise ConflictError(f"{taken.conflicts[0]}{more} Nothing was merged.")
            tally.jobs += taken.jobs
    return MergeReport(len(files), tally.runs, tally.rows, tally.arrays, tally.equal, tally.results, tally.jobs)


def _merge_run(
    db: sqlite3.Connection, others: Sequence[Database], file: Database, run: tables.Stored, tally: _Tally
) -> None:
    run_id = run.definition[0]
    new = tables.add_run(db, run.definition, run.outcome)
    tally.runs += new
    if new:
        tally.results += run.outcome.reason is not None
    else:
        _merge_definition(db, run)
        tally.results += _merge_result(db, run_id, run.outcome)
    elsewhere = {
        (row.step, row.role): row
        for other in others
        if _place(other) != _place(file)
        for row in tables.read_rows(other, run_id)
    }
    for row in tables.read_rows(file, run_id):
        known = elsewhere.get((row.step, row.role))
        if known is None and tables.add_row(db, run_id, row):
            tally.rows += 1
            continue
        known = known or _row(db, run_id, row)
        if known.same_as(row):
            tally.equal += 1
            continue
        tally.conflicts += 1
        if len(tally.shown) < _SHOWN:
            tally.shown.append(tables.differing(run_id, known, row))


def _place(file: Database) -> Path | None:
    return None if file.path is None else file.path.resolve()


def _merge_definition(db: sqlite3.Connection, run: tables.Stored) -> None:
    """Of two records of one run's beginning the earlier one stays."""
    values = run.definition
    sql = f"UPDATE runs SET ({tables.RUN}, seal) = ({', '.join('?' * 11)}) WHERE id = ? AND created > ?"
    db.execute(sql, (*values, seal("runs", *values), values[0], values[7]))


def _merge_result(db: sqlite3.Connection, run_id: str, there: tables.Outcome) -> bool:
    here = db.execute(
        "SELECT steps, revision FROM results JOIN runs ON run = number WHERE id = ?", (run_id,)
    ).fetchone()
    if here is not None and tuple(here) >= there[:2]:
        return False
    tables.add_result(db, run_id, there)
    return True


def _row(db: sqlite3.Connection, run_id: str, row: Row) -> Row:
    found = db.execute(f"{tables.ROWS} AND step = ? AND role = ?", (run_id, row.step, row.role)).fetchone()
    return tables.row_of(None, run_id, found)


# -- looking for damage


def verify(files: Sequence[Database]) -> list[Finding]:
    """What is wrong with the files, alone and together."""
    findings: list[Finding] = []
    sound: list[Database] = []
    for file in files:
        try:
            before = len(findings)
            findings += _structure(file)
            if len(findings) == before:
                findings += [*_definitions(file), *_rows(file), *_results(file), *_arrays(file), *_orphans(file)]
                findings += job_care.verify(file)
                sound.append(file)
        except StoreError as error:
            findings.append(Finding(file.name, None, "file", str(error)))
    return findings + _missing(sound) + _gaps(sound) + _contradictions(sound) + job_care.verify_together(sound)


def _structure(file: Database) -> list[Finding]:
    said = [row[0] for row in file.read("PRAGMA integrity_check")]
    return [] if said == ["ok"] else [Finding(file.name, None, "file", line) for line in said]


_CHANGED = "is not what was written: its seal does not fit"


def _definitions(file: Database) -> list[Finding]:
    rows = file.each(f"SELECT {tables.RUN}, seal FROM runs")
    return [
        Finding(file.name, row[0], "spec", f"the record {_CHANGED}")
        for row in rows
        if seal("runs", *row[:-1]) != row[-1]
    ]


def _rows(file: Database) -> list[Finding]:
    sql = f"SELECT id, {tables.STEPS} FROM steps JOIN runs ON run = number"
    return [
        Finding(file.name, run, f"step {row[0]} ({row[1]})", f"the row {_CHANGED}")
        for run, *row in file.each(sql)
        if seal("steps", run, *row[:-1]) != row[-1]
    ]


def _results(file: Database) -> list[Finding]:
    sql = f"SELECT id, {tables.result_columns(file)}, results.seal FROM results JOIN runs ON run = number"
    return [
        Finding(file.name, run, "result", f"the result {_CHANGED}")
        for run, *row in file.each(sql)
        if tables.result_seal(run, *row[:-1]) != row[-1]
    ]


def _arrays(file: Database) -> list[Finding]:
    findings = []
    for (sha,) in file.each("SELECT sha256 FROM arrays"):
        try:
            tables.read_array(file, sha)
        except StoreCorrupt:
            findings.append(Finding(file.name, None, f"array {sha[:12]}", "its bytes have changed"))
    return findings


def _orphans(file: Database) -> list[Finding]:
    findings = []
    for table in ("steps", "results"):
        count = file.read(f"SELECT count(*) FROM {table} WHERE run NOT IN (SELECT number FROM runs)")[0][0]
        if count:
            findings.append(Finding(file.name, None, table, f"{checks.counted(count, 'row')} with no run"))
    for (run,) in file.read("SELECT id FROM runs WHERE number NOT IN (SELECT run FROM results)"):
        findings.append(Finding(file.name, run, "result", "its row is missing"))
    return findings


def _missing(files: Sequence[Database]) -> list[Finding]:
    known = {row[0] for file in files for row in file.each("SELECT sha256 FROM arrays")}
    return [
        Finding(file.name, run, where, f"the array {sha[:12]} it names is missing")
        for file in files
        for sql in _TEXTS
        for run, where, text in file.each(sql)
        for sha in references(text)
        if sha not in known
    ]


def _gaps(files: Sequence[Database]) -> list[Finding]:
    """Steps that must have been there: journals are written in order, without leaving one out."""
    steps: dict[str, set[int]] = {}
    for file in files:
        for run, step in file.each("SELECT id, step FROM steps JOIN runs ON run = number WHERE role = 'step'"):
            steps.setdefault(run, set()).add(step)
    findings = []
    for run, have in steps.items():
        absent = sorted(set(range(min(1, min(have)), max(have))) - have)
        if absent:
            listed = ", ".join(map(str, absent[:5])) + (", ..." if len(absent) > 5 else "")
            said = f"{checks.counted(len(absent), 'step')} missing: {listed}"
            findings.append(Finding(None, run, f"step {absent[0]}", said))
    return findings


def _contradictions(files: Sequence[Database]) -> list[Finding]:
    if len(files) < 2:
        return []
    seen: dict[tuple[str, int, str], str] = {}
    findings = []
    for file in files:
        sql = "SELECT id, step, role, request, digest, reply, key, executions FROM steps JOIN runs ON run = number"
        for run, step, role, *content in file.each(sql):
            print_ = seal("content", json.dumps(content))
            if seen.setdefault((run, step, role), print_) != print_:
                findings.append(
                    Finding(file.name, run, f"step {step} ({role})", "another host's file has another content")
                )
    return findings
