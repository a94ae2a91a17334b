"""Jobs of several files read as one: of two records of a job the one that has come further counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from varq.store import job_tables
from varq.store.circuit_records import CircuitRow, Use
from varq.store.database import Database
from varq.store.job_records import JobRecord, JobState, LedgerRow, Spent, identifier
from varq.store.job_union import further

__all__ = ["best", "home", "jobs_of", "jobs_since", "ledger_of", "requests_of", "serving", "spent_by"]

Places: TypeAlias = Sequence[tuple[Database, int]]
"""The files that hold a session, with its key in each."""
Serving: TypeAlias = tuple[Use, JobRecord, CircuitRow]

# Of several jobs that serve one request, the one that counts: a result; then whatever may still become one.
_FIRST = (
    *(JobState.DONE, JobState.SENT, JobState.UNCERTAIN, JobState.WRITTEN),
    *(JobState.FAILED, JobState.CANCELLED, JobState.UNSENT),
)
_SPENT = """
    SELECT count(*), coalesce(sum(circuits), 0), coalesce(sum(shots), 0),
           coalesce(sum(coalesce(seconds, estimate_seconds)), 0.0), coalesce(sum(coalesce(cost, estimate_cost)), 0.0)
    FROM jobs WHERE session = ? AND state <> 'unsent' AND NOT (state = 'cancelled' AND coalesce(seconds, 1) = 0)
"""
_OWNERS = (
    "SELECT DISTINCT jobs.id, owner FROM jobs JOIN uses ON uses.job = jobs.key WHERE jobs.session = ? ORDER BY owner"
)

_REQUESTS = (
    "SELECT DISTINCT jobs.id, owner, step, role FROM jobs JOIN uses ON uses.job = jobs.key WHERE jobs.session = ? "
    "ORDER BY owner, step, role"
)


def home(files: Sequence[Database], job: str) -> tuple[Database, int, JobRecord]:
    """The file in which a job has come furthest, its key there, and the job.

    Raises:
        LookupError: if no file has it.
        ConflictError: if two files contradict each other.
    """
    identifier("job", job)
    found: tuple[Database, int, JobRecord] | None = None
    for file in files:
        for key, record, _ in job_tables.read_jobs(file, "WHERE jobs.id = ?", (job,)):
            if found is None or further(found[2], record) is record:
                found = (file, key, record)
    if found is None:
        raise LookupError(f"There is no job {job!r} in the store. `varq ledger` shows what there is.")
    return found


def jobs_of(places: Places, states: Sequence[str]) -> list[JobRecord]:
    """The jobs of a session that are in one of the states, in order.

    Raises:
        ConflictError: if two files contradict each other.
    """
    # A job that another file has in a later state must be seen in all of them.
    where = f"WHERE jobs.session = ? AND jobs.state IN ({', '.join('?' * len(states))})"
    alone = len(places) == 1
    found: dict[str, JobRecord] = {}
    for file, key in places:
        question = (where, (key, *states)) if alone else ("WHERE jobs.session = ?", (key,))
        for _, job, _ in job_tables.read_jobs(file, *question):
            found[job.id] = further(found[job.id], job) if job.id in found else job
    listed = [job for job in found.values() if job.state.value in states]
    return sorted(listed, key=lambda job: (job.number, job.created, job.id))


def jobs_since(places: Places, number: int) -> list[JobRecord]:
    """The jobs of a session from a number on, in order.

    Raises:
        ConflictError: if two files contradict each other.
    """
    found: dict[str, JobRecord] = {}
    for file, key in places:
        for _, job, _ in job_tables.read_jobs(file, "WHERE jobs.session = ? AND number >= ?", (key, number)):
            found[job.id] = further(found[job.id], job) if job.id in found else job
    return sorted(found.values(), key=lambda job: (job.number, job.created, job.id))


def requests_of(places: Places) -> dict[str, tuple[tuple[str, int, str], ...]]:
    """For each job of a session the requests that it served: owner, step and role."""
    found: dict[str, dict[tuple[str, int, str], None]] = {}
    for file, key in places:
        for job, *place in file.read(_REQUESTS, (key,)):
            found.setdefault(job, {})[place[0], place[1], place[2]] = None
    return {job: tuple(places) for job, places in found.items()}


def serving(files: Sequence[Database], owner: str, step: int | None, role: str | None) -> Iterator[Serving]:
    """The circuits that serve a run or batch, with their jobs; None for all steps or roles."""
    sql, values = "SELECT DISTINCT jobs.id FROM uses JOIN jobs ON jobs.key = uses.job WHERE owner = ?", [owner]
    limits: list[tuple[str, Any]] = [("step", step), ("role", role)]
    for name, value in limits:
        if value is not None:
            sql, values = f"{sql} AND {name} = ?", [*values, value]
    for name in dict.fromkeys(row[0] for file in files for row in file.read(sql, tuple(values))):
        file, key, job = home(files, name)
        for row in job_tables.read_circuits(file, key):
            for use in row.uses:
                if use.owner == owner and step in (None, use.step) and role in (None, use.role):
                    yield use, job, row


def best(found: Iterator[Serving]) -> dict[int, tuple[JobState, CircuitRow]]:
    """For each circuit of a request the one that counts, and how its job stands."""
    chosen: dict[int, tuple[tuple[int, int], JobState, CircuitRow]] = {}
    for use, job, row in found:
        place = (_FIRST.index(job.state), job.number)
        if use.item not in chosen or place < chosen[use.item][0]:
            chosen[use.item] = (place, job.state, row)
    return {item: chosen[item][1:] for item in sorted(chosen)}


def spent_by(places: Places) -> Spent:
    """What a session has used up."""
    if len(places) == 1:
        file, key = places[0]
        return Spent(*file.read(_SPENT, (key,))[0])
    jobs = [job for job in jobs_of(places, [state.value for state in JobState]) if job.counts]
    return Spent(
        len(jobs),
        sum(job.circuits for job in jobs),
        sum(job.shots for job in jobs),
        sum((job.estimate_seconds if job.seconds is None else job.seconds for job in jobs), 0.0),
        sum((job.estimate_cost if job.cost is None else job.cost for job in jobs), 0.0),
    )


def ledger_of(places: Places) -> list[LedgerRow]:
    """The lines of a session's ledger, in order."""
    owners: dict[str, dict[str, None]] = {}
    for file, key in places:
        for job, owner in file.read(_OWNERS, (key,)):
            owners.setdefault(job, {})[owner] = None
    out = []
    for job in jobs_of(places, [state.value for state in JobState]):
        counts = (job.circuits, job.shots, job.seconds, job.cost, job.attempts, job.provider_id)
        served = tuple(owners.get(job.id, ()))
        out.append(LedgerRow(job.id, job.session, job.device, job.state, job.created, *counts, served))
    return out
