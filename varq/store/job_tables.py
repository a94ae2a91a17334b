"""How sessions, jobs and circuits become rows of a store file, and rows values again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from varq.spec import array_digest
from varq.store.circuit_records import CircuitRow, Use
from varq.store.database import Database
from varq.store.faults import StoreCorrupt
from varq.store.job_records import JobRecord, JobState, SessionRecord, SessionState, json_text, known
from varq.store.records import brief_seal as seal
from varq.store.tables import read_array

__all__ = [
    "Read",
    "StoredJob",
    "StoredSession",
    "add_bits",
    "add_jobs",
    "add_session",
    "circuit_rows",
    "job_rows",
    "read_bits",
    "read_circuits",
    "read_jobs",
    "read_sessions",
    "session_rows",
    "set_bits",
    "update_jobs",
    "update_session",
]

SESSION = "id, created, host, device, shots, settings, state, revision"
JOB = (
    "id, number, device, circuits, shots, created, paid, estimate_seconds, estimate_cost, "
    "state, attempts, provider_id, sent, finished, queued, seconds, cost, error, details"
)
Read: TypeAlias = Callable[[Database, str, tuple[Any, ...]], Iterable[tuple[Any, ...]]]
"""`Database.read`, which sees the file at one moment; or `Database.each`, which needs little memory."""

_JOB = JOB.split(", ")
_MOVING = _JOB[9:]  # what changes in the life of a job
_CIRCUIT = ("position", "digest", "shots", "seed", "wires", "bits")
_ASKED = 500  # values in one question; SQLite takes 999 at least

SESSIONS = f"SELECT key, {SESSION}, seal FROM sessions"
JOBS = (
    f"SELECT jobs.key, sessions.id, {', '.join('jobs.' + name for name in _JOB)}, jobs.seal "
    "FROM jobs JOIN sessions ON sessions.key = jobs.session"
)
CIRCUITS = (
    "SELECT circuits.job, jobs.id, circuits.position, digest, circuits.shots, seed, wires, bits, circuits.seal, "
    "owner, step, role, item FROM circuits JOIN jobs ON jobs.key = circuits.job "
    "LEFT JOIN uses ON uses.job = circuits.job AND uses.position = circuits.position"
)
_IN_PLACE = "ORDER BY circuits.job, circuits.position, owner, step, role, item"

_ADD_SESSION = f"INSERT INTO sessions ({SESSION}, seal) VALUES ({', '.join('?' * 9)})"
_ADD_JOB = f"INSERT INTO jobs (key, session, {JOB}, seal) VALUES ({', '.join('?' * 22)})"
_ADD_CIRCUIT = "INSERT INTO circuits VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_USE = "INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE_JOB = f"UPDATE jobs SET ({', '.join(_MOVING)}, seal) = ({', '.join('?' * 11)}) WHERE key = ?"


class StoredSession(NamedTuple):
    """A session as one file has it; of two, the one whose state was set more often counts."""

    key: int
    record: SessionRecord
    revision: int


class StoredJob(NamedTuple):
    """A job as one file has it; the seal tells whether it is still so."""

    key: int
    record: JobRecord
    seal: str


def changed(file: str | None, what: str) -> StoreCorrupt:
    """The error for a row whose seal does not fit."""
    where = f" of {file}" if file else ""
    return StoreCorrupt(
        f"{what}{where} is not what was written: its seal does not fit. `varq verify` lists every such row. "
        "Restore the file from a backup; varq leaves it as it is."
    )


# -- sessions


def _session_values(record: SessionRecord, revision: int) -> tuple[Any, ...]:
    return (
        *(record.id, record.created, record.host, record.device, record.shots, record.settings),
        *(record.state.value, revision),
    )


def add_session(db: sqlite3.Connection, record: SessionRecord, revision: int) -> None:
    """Writes a session that is not there."""
    values = _session_values(record, revision)
    db.execute(_ADD_SESSION, (*values, seal("sessions", *values)))


def update_session(db: sqlite3.Connection, record: SessionRecord, revision: int) -> None:
    """Writes the state of a session that is there."""
    values = _session_values(record, revision)
    sql = "UPDATE sessions SET (state, revision, seal) = (?, ?, ?) WHERE id = ?"
    db.execute(sql, (record.state.value, revision, seal("sessions", *values), record.id))


def session_rows(
    file: Database, condition: str = "", parameters: Sequence[Any] = (), read: Read = Database.read
) -> Iterator[StoredSession | str]:
    """The sessions of one file that meet a condition; the id of one whose seal does not fit."""
    for key, *values, sealed in read(file, f"{SESSIONS} {condition}", tuple(parameters)):
        if seal("sessions", *values) != sealed:
            yield str(values[0])
            continue
        name, created, host, device, shots, settings, state, revision = values
        record = SessionRecord(name, created, host, device, shots, settings, SessionState(state))
        yield StoredSession(key, record, revision)


def read_sessions(file: Database, condition: str = "", parameters: Sequence[Any] = ()) -> list[StoredSession]:
    """The sessions of one file that meet a condition.

    Raises:
        StoreCorrupt: if one was changed after it was written.
    """
    return list(_sound(file, "The session", session_rows(file, condition, parameters)))


def _sound(file: Database, what: str, rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        if isinstance(row, str):
            raise changed(file.name, f"{what} {row}")
        yield row


# -- jobs


def _job_values(job: JobRecord) -> tuple[Any, ...]:
    return (
        *(job.id, job.number, job.device, job.circuits, job.shots, job.created, int(job.paid)),
        *(job.estimate_seconds, job.estimate_cost, job.state.value, job.attempts, job.provider_id),
        *(job.sent, job.finished, job.queued, job.seconds, job.cost, job.error),
        "{}" if not job.details else json_text("details", job.details),
    )


def add_jobs(
    db: sqlite3.Connection, session: int, jobs: Sequence[JobRecord], circuits: Iterable[CircuitRow]
) -> list[StoredJob]:
    """Writes jobs of one session, and their circuits, that are not there."""
    first = 1 + (db.execute("SELECT max(key) FROM jobs").fetchone()[0] or 0)
    written, rows = [], []
    for key, job in enumerate(jobs, first):
        values = _job_values(job)
        sealed = seal("jobs", job.session, *values)
        rows.append((key, session, *values, sealed))
        written.append(StoredJob(key, job, sealed))
    db.executemany(_ADD_JOB, rows)
    keys = {job.record.id: job.key for job in written}
    marks, uses = [], []
    for row in circuits:
        key = keys[row.job]
        marks.append((key, *_circuit_values(row), _circuit_seal(row)))
        uses += [(key, row.position, *use) for use in row.uses]
    db.executemany(_ADD_CIRCUIT, marks)
    db.executemany(_ADD_USE, uses)
    return written


def update_jobs(db: sqlite3.Connection, jobs: Iterable[tuple[int, JobRecord]]) -> list[StoredJob]:
    """Writes what has changed in jobs that are there, each with its key."""
    written, rows = [], []
    for key, job in jobs:
        values = _job_values(job)
        sealed = seal("jobs", job.session, *values)
        rows.append((*values[9:], sealed, key))
        written.append(StoredJob(key, job, sealed))
    db.executemany(_UPDATE_JOB, rows)
    return written


def job_rows(
    file: Database, condition: str = "", parameters: Sequence[Any] = (), read: Read = Database.read
) -> Iterator[StoredJob | str]:
    """The jobs of one file that meet a condition; the id of one whose seal does not fit."""
    for key, session, *values, sealed in read(file, f"{JOBS} {condition}", tuple(parameters)):
        if seal("jobs", session, *values) != sealed:
            yield str(values[0])
            continue
        fields = dict(zip(_JOB, values, strict=True))
        details = fields["details"]
        fields |= {"session": session, "paid": bool(fields["paid"]), "state": JobState(fields["state"])}
        fields["details"] = {} if details == "{}" else json.loads(details)
        yield StoredJob(key, known(JobRecord, fields), sealed)


def read_jobs(file: Database, condition: str = "", parameters: Sequence[Any] = ()) -> list[StoredJob]:
    """The jobs of one file that meet a condition.

    Raises:
        StoreCorrupt: if one was changed after it was written.
    """
    return list(_sound(file, "Job", job_rows(file, condition, parameters)))


def jobs_by_id(file: Database, ids: Sequence[str]) -> dict[str, StoredJob]:
    """Those of the jobs that one file has, by id."""
    found = {}
    for start in range(0, len(ids), _ASKED):
        some = ids[start : start + _ASKED]
        for stored in read_jobs(file, f"WHERE jobs.id IN ({', '.join('?' * len(some))})", some):
            found[stored.record.id] = stored
    return found


# -- circuits


def _circuit_values(row: CircuitRow) -> tuple[Any, ...]:
    return (row.position, row.digest, row.shots, row.seed, row.wires, row.bits)


def _circuit_seal(row: CircuitRow) -> str:
    return seal("circuits", row.job, *_circuit_values(row), *(part for use in row.uses for part in use))


def circuit_rows(
    file: Database, condition: str = "", parameters: Sequence[Any] = (), read: Read = Database.read
) -> Iterator[CircuitRow | str]:
    """The circuits of one file that meet a condition, in order; where one stands whose seal does not fit."""
    found = read(file, f"{CIRCUITS} {condition} {_IN_PLACE}", tuple(parameters))
    for (_, job, *values, sealed), group in groupby(found, key=lambda row: row[:9]):
        parts = [part for row in group for part in row[9:]]
        if parts[0] is None or seal("circuits", job, *values, *parts) != sealed:
            yield f"{values[0]} of job {job}"
            continue
        uses = tuple(Use(*parts[i : i + 4]) for i in range(0, len(parts), 4))
        yield known(CircuitRow, {"job": job, "uses": uses, **dict(zip(_CIRCUIT, values, strict=True))})


def read_circuits(file: Database, key: int) -> list[CircuitRow]:
    """The circuits of a job of one file, in order.

    Raises:
        StoreCorrupt: if one was changed after it was written.
    """
    return list(_sound(file, "Circuit", circuit_rows(file, "WHERE circuits.job = ?", (key,))))


def circuits_by_job(file: Database, keys: Sequence[int]) -> dict[int, list[CircuitRow]]:
    """`read_circuits` of several jobs, by their keys."""
    if len(keys) == 1:
        return {keys[0]: read_circuits(file, keys[0])}
    found: dict[int, list[CircuitRow]] = {}
    names: dict[str, int] = {}
    for start in range(0, len(keys), _ASKED):
        some = keys[start : start + _ASKED]
        marks = ", ".join("?" * len(some))
        names.update(file.read(f"SELECT id, key FROM jobs WHERE key IN ({marks})", tuple(some)))
        for row in _sound(file, "Circuit", circuit_rows(file, f"WHERE circuits.job IN ({marks})", some)):
            found.setdefault(names[row.job], []).append(row)
    return found


def set_bits(db: sqlite3.Connection, rows: Iterable[tuple[int, CircuitRow]]) -> None:
    """Writes under which digests the results of circuits are kept, each with the key of its job."""
    sql = "UPDATE circuits SET (wires, bits, seal) = (?, ?, ?) WHERE job = ? AND position = ?"
    db.executemany(sql, [(row.wires, row.bits, _circuit_seal(row), key, row.position) for key, row in rows])


def packed(bits: NDArray[np.uint8]) -> tuple[str, NDArray[np.uint8]]:
    """Zeros and ones, eight to a byte, and the digest of that."""
    data = np.packbits(bits.reshape(-1))
    return array_digest(data), data


def add_bits(db: sqlite3.Connection, arrays: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Writes packed results under their digests, once."""
    rows = [(sha, data.dtype.str, f"[{data.size}]", data.tobytes()) for sha, data in arrays]
    db.executemany("INSERT INTO arrays VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)


def read_bits(files: Iterable[Database], row: CircuitRow) -> NDArray[np.uint8]:
    """The result of a circuit, shape (shots, wires), read-only.

    Raises:
        LookupError: if no file has it, or it is not there yet.
        StoreCorrupt: if its bytes have changed.
    """
    if row.bits is None or row.wires is None:
        raise LookupError(f"Circuit {row.position} of job {row.job} has no result yet.")
    for file in files:
        data = read_array(file, row.bits)
        if data is not None:
            bits = np.unpackbits(data, count=row.shots * row.wires).reshape(row.shots, row.wires)
            bits.flags.writeable = False
            return bits
    raise LookupError(
        f"The store has not the result of circuit {row.position} of job {row.job} (array {row.bits[:12]}). "
        "If the job is another machine's, merge its store."
    )
