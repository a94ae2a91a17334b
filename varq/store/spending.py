"""What runs have used up, by whatever session and process: their jobs, and what was evaluated without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from varq.store import job_tables
from varq.store.database import Database
from varq.store.job_care import having
from varq.store.job_records import JobRecord, Spent
from varq.store.job_union import further

__all__ = ["Expenses", "expenses"]

_AT_ONCE = 500  # runs read together
_STEPS = (
    "SELECT id, step, role, executions, steps.seconds FROM steps JOIN runs ON run = number WHERE id IN ({}) "
    "ORDER BY id, step, role DESC"
)


@dataclass(frozen=True)
class Expenses:
    """What runs have used up.

    Args:
        jobs: of each job that served one of them, and that was or may have been sent, by its id.
        evaluated: circuits and seconds of each run that no job served, by its id.
    """

    jobs: dict[str, Spent]
    evaluated: dict[str, tuple[int, float]]


def expenses(files: Sequence[Database], runs: Sequence[str]) -> Expenses:
    """What runs have used up, by what the files of a store say.

    Raises:
        ConflictError: if two files contradict each other.
        StoreCorrupt: if a job is not what was written.
    """
    jobs: dict[str, Spent] = {}
    evaluated: dict[str, tuple[int, float]] = {}
    for start in range(0, len(runs), _AT_ONCE):
        some = tuple(runs[start : start + _AT_ONCE])
        served, found = _jobs(having(files), some)
        jobs.update(found)
        evaluated.update(_evaluated(files, [run for run in some if run not in served]))
    return Expenses(jobs, evaluated)


def _jobs(files: Sequence[Database], runs: tuple[str, ...]) -> tuple[set[str], dict[str, Spent]]:
    """The runs that jobs served, and what these used up."""
    marks = ", ".join("?" * len(runs))
    sql = f"SELECT DISTINCT jobs.id, owner FROM uses JOIN jobs ON jobs.key = uses.job WHERE owner IN ({marks})"
    pairs = [row for file in files for row in file.read(sql, runs)]
    names = list(dict.fromkeys(job for job, _ in pairs))
    known: dict[str, JobRecord] = {}
    for file in files:
        for name, stored in job_tables.jobs_by_id(file, names).items():
            known[name] = further(known[name], stored.record) if name in known else stored.record
    sent = {name: _spent(job) for name, job in known.items() if job.counts}
    return {run for _, run in pairs}, sent


def _spent(job: JobRecord) -> Spent:
    seconds = job.estimate_seconds if job.seconds is None else job.seconds
    cost = job.estimate_cost if job.cost is None else job.cost
    return Spent(1, job.circuits, job.shots, seconds, cost)


def _evaluated(files: Sequence[Database], runs: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Circuits and seconds by the journals of runs; a step that several files have counts once."""
    if not runs:
        return {}
    steps: dict[str, dict[tuple[int, str], tuple[int, float]]] = {}
    sql = _STEPS.format(", ".join("?" * len(runs)))
    for file in files:
        for run, step, role, executions, seconds in file.read(sql, tuple(runs)):
            steps.setdefault(run, {})[step, role] = (executions, seconds)
    return {
        run: (sum(count for count, _ in rows.values()), max(seconds for _, seconds in rows.values()))
        for run, rows in steps.items()
    }
