"""Two records of one session, job or circuit in two files: which of them counts, or that they contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from varq.store.circuit_records import CircuitRow
from varq.store.faults import ConflictError
from varq.store.job_records import NEXT, JobRecord, JobState, SessionState
from varq.store.job_tables import StoredSession

__all__ = ["further", "later", "same_circuit"]

_SESSION = ("created", "host", "device", "shots", "settings")
_JOB = ("session", "number", "device", "circuits", "shots", "created", "paid", "estimate_seconds", "estimate_cost")
_CIRCUIT = ("digest", "shots", "seed", "uses")
_ENDING = (SessionState.OPEN, SessionState.BROKEN, SessionState.CLOSED)


def _reached(state: JobState) -> set[JobState]:
    """All states that can come after one."""
    found: set[JobState] = set()
    new = set(NEXT[state])
    while new:
        found |= new
        new = {after for before in new for after in NEXT[before]} - found
    return found


def _agree(what: str, here: Any, there: Any, names: Sequence[str]) -> None:
    for name in names:
        one, two = getattr(here, name), getattr(there, name)
        if one != two:
            raise contradiction(what, name, one, two)


def contradiction(what: str, name: str, here: Any, there: Any) -> ConflictError:
    """The error for two records of one thing that cannot both be true."""
    return ConflictError(
        f"What was recorded of a job never changes. {what} has the {name.replace('_', ' ')} {_said(here)} in one place "
        f"and {_said(there)} in another. Nothing was written. Ask the vendor which is true, and move the file that is "
        "wrong out of the store."
    )


def _said(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def later(here: StoredSession, there: StoredSession) -> StoredSession:
    """Of two records of a session, the one that counts.

    Raises:
        ConflictError: if they are of two sessions.
    """
    _agree(f"Session {here.record.id}", here.record, there.record, _SESSION)

    def age(stored: StoredSession) -> tuple[int, int]:
        return stored.revision, _ENDING.index(stored.record.state)

    return there if age(there) > age(here) else here


def further(here: JobRecord, there: JobRecord) -> JobRecord:
    """Of two records of a job, the one that has come further; of two in one state, the one that tells more.

    Raises:
        ConflictError: if they are of two jobs, or one cannot have become the other.

    Example:
        >>> from dataclasses import replace
        >>> job = JobRecord("varq-0001", "session-1f", 0, "varq.qubit", circuits=2, shots=200, created=1.75e9)
        >>> further(job, replace(job, state="sent", provider_id="j1")).state
        <JobState.SENT: 'sent'>
    """
    what = f"Job {here.id}"
    _agree(what, here, there, _JOB)
    if None not in (here.provider_id, there.provider_id):
        _agree(what, here, there, ("provider_id",))
    if here.state is there.state:
        return max(here, there, key=_telling)
    if there.state in _reached(here.state):
        return there
    if here.state in _reached(there.state):
        return here
    raise contradiction(what, "state", here.state, there.state)


def _telling(job: JobRecord) -> tuple[Any, ...]:
    told = (job.cost, job.seconds, job.queued, job.error)
    return (job.attempts, *(value is not None for value in told), -(job.finished or job.sent or 0.0), repr(job))


def same_circuit(here: CircuitRow, there: CircuitRow) -> CircuitRow:
    """Of two records of a circuit, the one with its result.

    Raises:
        ConflictError: if they are of two circuits, or their results differ.
    """
    what = f"Circuit {here.position} of job {here.job}"
    _agree(what, here, there, _CIRCUIT)
    if here.bits is None or there.bits is None:
        return here if there.bits is None else there
    _agree(what, here, there, ("bits", "wires"))
    return here
