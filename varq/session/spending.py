"""What a session used up in earlier processes: in jobs, and in evaluations that needed none."""

from __future__ import annotations

from varq.session.budget import Use
from varq.session.reporting import RUN
from varq.store.store import Store

__all__ = ["evaluated", "spent_before"]


def evaluated(store: Store, run: str) -> Use:
    """Circuits and seconds of all recorded evaluations of a run."""
    rows = store.rows(run)
    return Use(circuits=sum(row.executions for row in rows), seconds=max((row.seconds for row in rows), default=0.0))


def spent_before(store: Store, session: str) -> Use:
    """What a session has used, as its store tells it.

    A run that jobs served is accounted for by its jobs; of any other, what was recorded since it came to the session.
    """
    spent = store.jobs.spent(session)
    total = Use(spent.circuits, spent.shots, spent.seconds, spent.cost)
    served = {owner for line in store.jobs.ledger(session) for owner in line.owners}
    came = {note.body["run"]: note.body for note in reversed(store.jobs.notes(session)) if note.kind == RUN}
    for run, body in came.items():
        if run not in served:
            before = Use(circuits=body.get("circuits", 0), seconds=body.get("seconds", 0.0))
            total = total + (evaluated(store, run) - before)
    return total
