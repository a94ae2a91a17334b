"""Care of sessions and jobs: taking over what other files hold of them, and looking for damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from varq import checks
from varq.store import job_tables, message_tables
from varq.store.database import Database
from varq.store.faults import ConflictError
from varq.store.job_records import JobRecord
from varq.store.job_tables import StoredJob, StoredSession
from varq.store.job_union import further, later, same_circuit
from varq.store.records import Finding
from varq.store.schema import JOBS_SINCE
from varq.store.tables import read_array

__all__ = ["Taken", "copy_bits", "having", "named_arrays", "take", "verify", "verify_together"]


def having(files: Iterable[Database]) -> list[Database]:
    """Those of the files whose layout has sessions and jobs."""
    return [file for file in files if file.layout >= JOBS_SINCE]


def named_arrays(files: Iterable[Database]) -> set[str]:
    """The SHA-256 of every result that a circuit names."""
    sql = "SELECT bits FROM circuits WHERE bits IS NOT NULL"
    return {row[0] for file in having(files) for row in file.each(sql)}


# -- taking over


@dataclass
class Taken:
    """How many sessions and jobs were new or have come further, and what contradicts what is known."""

    sessions: int = 0
    jobs: int = 0
    conflicts: list[str] = field(default_factory=list)


def take(db: sqlite3.Connection, own: Database, file: Database, only: str | None = None) -> Taken:
    """Adds the sessions of another file to this host's, inside a transaction of that; their arrays stay where they are.

    Args:
        db: the transaction.
        own: this host's file.
        file: the other.
        only: the id of one session; None for all.
    """
    taken = Taken()
    values = () if only is None else (only,)
    for session in job_tables.read_sessions(file, "WHERE id = ?" if values else "", values):
        try:
            key = _take_session(db, own, session, taken)
        except ConflictError as error:
            taken.conflicts.append(str(error))
            continue
        _take_jobs(db, own, file, (key, session.key), taken)
        notes = message_tables.read_notes(file, "WHERE session = ?", (session.key,))
        message_tables.add_notes(db, key, notes, known=True)
    for command in message_tables.read_commands(file, "WHERE session = ?" if values else "", values):
        if message_tables.add_command(db, command) is None and command.taken:
            message_tables.take_command(db, command)
    return taken


def _take_session(db: sqlite3.Connection, own: Database, session: StoredSession, taken: Taken) -> int:
    """The key of the session in this host's file."""
    sql = "WHERE id = ?"
    known = job_tables.read_sessions(own, sql, (session.record.id,))
    if not known:
        job_tables.add_session(db, session.record, session.revision)
        taken.sessions += 1
        known = job_tables.read_sessions(own, sql, (session.record.id,))
    elif later(known[0], session) is session:
        job_tables.update_session(db, session.record, session.revision)
    return known[0].key


def _take_jobs(db: sqlite3.Connection, own: Database, file: Database, keys: tuple[int, int], taken: Taken) -> None:
    here, there = keys
    theirs = job_tables.read_jobs(file, "WHERE jobs.session = ? ORDER BY jobs.number", (there,))
    ours = job_tables.jobs_by_id(own, [job.record.id for job in theirs])
    new = [job for job in theirs if job.record.id not in ours]
    circuits = [row for job in new for row in job_tables.read_circuits(file, job.key)]
    job_tables.add_jobs(db, here, [job.record for job in new], circuits)
    taken.jobs += len(new)
    for job in theirs:
        known = ours.get(job.record.id)
        if known is not None:
            try:
                taken.jobs += _take_job(db, own, file, known, job)
            except ConflictError as error:
                taken.conflicts.append(str(error))


def _take_job(db: sqlite3.Connection, own: Database, file: Database, here: StoredJob, there: StoredJob) -> bool:
    record = further(here.record, there.record)
    known = {row.position: row for row in job_tables.read_circuits(own, here.key)}
    rows = [same_circuit(known[row.position], row) for row in job_tables.read_circuits(file, there.key)]
    if record == here.record:
        return False
    job_tables.update_jobs(db, [(here.key, record)])
    job_tables.set_bits(db, [(here.key, row) for row in rows])
    return True


def copy_bits(db: sqlite3.Connection, files: Sequence[Database], session: str) -> None:
    """Copies the results of a session that this host's file names into it."""
    sql = (
        "SELECT DISTINCT bits FROM circuits JOIN jobs ON jobs.key = circuits.job "
        "JOIN sessions ON sessions.key = jobs.session WHERE sessions.id = ? AND bits IS NOT NULL "
        "AND bits NOT IN (SELECT sha256 FROM arrays)"
    )
    for (sha,) in db.execute(sql, (session,)).fetchall():
        found = (read_array(file, sha) for file in files)
        data = next((array for array in found if array is not None), None)
        if data is not None:
            job_tables.add_bits(db, [(sha, data)])


# -- looking for damage

_CHANGED = "is not what was written: its seal does not fit"
_KINDS: tuple[tuple[str, Callable[..., Iterable[Any]]], ...] = (
    ("session", job_tables.session_rows),
    ("job", job_tables.job_rows),
    ("circuit", job_tables.circuit_rows),
    ("note", message_tables.note_rows),
    ("command", message_tables.command_rows),
)
_ORPHANS = (
    ("jobs", "session NOT IN (SELECT key FROM sessions)", "session"),
    ("circuits", "job NOT IN (SELECT key FROM jobs)", "job"),
    ("uses", "NOT EXISTS (SELECT 1 FROM circuits c WHERE (c.job, c.position) = (uses.job, uses.position))", "circuit"),
    ("notes", "session NOT IN (SELECT key FROM sessions)", "session"),
)
_PARTS = """
    SELECT jobs.id, jobs.circuits, jobs.shots, state = 'done', paid, count(position), coalesce(max(position), -1) + 1,
           coalesce(sum(c.shots), 0), count(bits)
    FROM jobs LEFT JOIN circuits c ON c.job = jobs.key GROUP BY jobs.key
"""
_RESULTS = "SELECT jobs.id, position, bits FROM circuits JOIN jobs ON jobs.key = job WHERE bits IS NOT NULL"


def verify(file: Database) -> list[Finding]:
    """What is wrong with the sessions and jobs of one file."""
    if not having([file]):
        return []
    findings = [
        Finding(file.name, None, f"{what} {row}", f"it {_CHANGED}")
        for what, rows in _KINDS
        for row in rows(file, read=Database.each)
        if isinstance(row, str)
    ]
    for table, condition, what in _ORPHANS:
        count = file.read(f"SELECT count(*) FROM {table} WHERE {condition}")[0][0]
        if count:
            findings.append(Finding(file.name, None, table, f"{checks.counted(count, 'row')} with no {what}"))
    return findings + _incomplete(file)


def _incomplete(file: Database) -> list[Finding]:
    findings = []
    for job, circuits, shots, done, paid, count, places, sum_of_shots, results in file.each(_PARTS):
        said = None
        if not circuits == count == places:
            said = f"{count} of {circuits} circuits are there"
        elif shots != sum_of_shots:
            said = f"its circuits have {sum_of_shots} shots, not {shots}"
        elif results != (count if done else 0) and not (done and not paid and results == 0):
            # The bits of simulated jobs may never have left the process that asked for them.
            said = f"{results} of {count} circuits have a result, and it is {'done' if done else 'not done'}"
        if said is not None:
            findings.append(Finding(file.name, None, f"job {job}", said))
    return findings


def verify_together(files: Sequence[Database]) -> list[Finding]:
    """What is wrong with the sessions and jobs of several files together, each of them sound."""
    known = {row[0] for file in files for row in file.each("SELECT sha256 FROM arrays")}
    findings = [
        Finding(file.name, None, f"circuit {place} of job {job}", f"the array {sha[:12]} it names is missing")
        for file in having(files)
        for job, place, sha in file.each(_RESULTS)
        if sha not in known
    ]
    return findings + (_contradictions(having(files)) if len(files) > 1 else [])


def _contradictions(files: Sequence[Database]) -> list[Finding]:
    sessions: dict[str, StoredSession] = {}
    jobs: dict[str, JobRecord] = {}
    results: dict[tuple[str, int], str] = {}
    findings = []
    for file in files:
        found = []
        for session in job_tables.session_rows(file, read=Database.each):
            if not isinstance(session, str):
                name = session.record.id
                found.append((f"session {name}", _said(later, sessions.setdefault(name, session), session)))
        for job in job_tables.job_rows(file, read=Database.each):
            if not isinstance(job, str):
                name = job.record.id
                found.append((f"job {name}", _said(further, jobs.setdefault(name, job.record), job.record)))
        for name, place, sha in file.each(_RESULTS):
            if results.setdefault((name, place), sha) != sha:
                found.append((f"circuit {place} of job {name}", "another host's file has another result"))
        findings += [Finding(file.name, None, where, said) for where, said in found if said is not None]
    return findings


def _said(rule: Callable[[Any, Any], Any], here: Any, there: Any) -> str | None:
    """How two records contradict each other; None if they do not."""
    try:
        rule(here, there)
    except ConflictError as error:
        return str(error)
    return None
