"""What must hold before jobs are written, and before they go from one state to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from varq.store.circuit_records import CircuitRow, Returned
from varq.store.job_records import NEXT, JobRecord, JobState, known
from varq.store.job_tables import StoredJob
from varq.store.job_union import contradiction

__all__ = ["ENDS", "matched", "moved", "planned"]

ENDS = tuple(state for state, after in NEXT.items() if not after)
"""The states after which nothing comes."""


def planned(jobs: Sequence[JobRecord], circuits: Iterable[CircuitRow]) -> list[CircuitRow]:
    """The circuits, if they are exactly those of the jobs.

    Raises:
        ValueError: if the jobs are not of one session, in order and unsent, or their circuits not complete.
    """
    rows = list(circuits)
    of: dict[str, list[CircuitRow]] = {job.id: [] for job in jobs}
    for row in rows:
        if row.job not in of:
            raise ValueError(f"circuits must be of the jobs written with them. Got one of job {row.job}.")
        of[row.job].append(row)
    last = -1
    for job in jobs:
        if job.session != jobs[0].session:
            raise ValueError(f"jobs must be of one session. Got {jobs[0].session} and {job.session}.")
        if job.number <= last:
            raise ValueError(f"jobs must be in the order of their numbers. Got {job.number} after {last}.")
        last = job.number
        if job.state is not JobState.WRITTEN or job.provider_id is not None:
            raise ValueError(
                f"A job is written before it is sent, in the state 'written' and without a provider's id. "
                f"Got {job.id} as {job.state.value!r}."
            )
        _complete(job, of[job.id])
    return rows


def _complete(job: JobRecord, rows: Sequence[CircuitRow]) -> None:
    places = sorted(row.position for row in rows)
    if places != list(range(job.circuits)):
        raise ValueError(
            f"circuits of job {job.id} must have the positions 0 to {job.circuits - 1}. Got {places[:20]}."
        )
    shots = sum(row.shots for row in rows)
    if shots != job.shots:
        raise ValueError(f"shots of job {job.id} must be those of its circuits together, {shots}. Got {job.shots}.")
    if any(row.bits is not None for row in rows):
        raise ValueError(f"circuits of job {job.id} must have no result before it is sent.")


def matched(rows: Sequence[CircuitRow], returned: Returned, digests: Sequence[str]) -> list[CircuitRow]:
    """The circuits of a job with what came back of them.

    Args:
        rows: the circuits, in order.
        returned: what came back.
        digests: of the arrays of bits, as they are kept.

    Raises:
        ValueError: if it is not what the circuits ask for.
        ConflictError: if another result is known.
    """
    if len(returned.bits) != len(rows):
        raise ValueError(
            f"bits of job {returned.job} must be one array for each of its {len(rows)} circuits. "
            f"Got {len(returned.bits)}. Nothing was written."
        )
    out = []
    for row, bits, sha in zip(rows, returned.bits, digests, strict=True):
        shots, wires = bits.shape
        what = f"Circuit {row.position} of job {row.job}"
        if shots != row.shots:
            raise ValueError(f"{what} must have {row.shots} shots. Got {shots}. Nothing was written.")
        if row.bits is not None and (row.bits, row.wires) != (sha, wires):
            raise contradiction(what, "result", row.bits[:12], sha[:12])
        out.append(known(CircuitRow, {**vars(row), "wires": wires, "bits": sha}))
    return out


def moved(stored: StoredJob, state: JobState, fields: Mapping[str, Any]) -> tuple[int, JobRecord]:
    """The key of a job, and the job in its next state.

    Raises:
        ValueError: if that state may not follow; names both.
    """
    job = stored.record
    if state is not job.state and state not in NEXT[job.state]:
        after = sorted(follower.value for follower in NEXT[job.state])
        may = f"may become {' or '.join(map(repr, after))}" if after else "stays so"
        raise ValueError(
            f"A job that is {job.state.value!r} {may}. Job {job.id} was to become {state.value!r}. Nothing was written."
        )
    return stored.key, known(JobRecord, {**vars(job), "state": state, **fields})
