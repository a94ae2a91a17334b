"""Where a job went, as the store tells it."""

from __future__ import annotations

from typing import Any

from varq import spec
from varq.store.job_records import JobRecord
from varq.store.store import Store

__all__ = ["sent_to"]


def sent_to(store: Store, job: JobRecord) -> tuple[Any, str] | None:
    """The device of a run that a job served, and its precision; None where no spec of such a run can be read here.

    A batch has the device of its session, and so has a run whose device is an object of another process.
    """
    owners = dict.fromkeys(use.owner for row in store.jobs.circuits(job.id) for use in row.uses)
    for owner in owners:
        run = store.get(owner)
        if run is None:
            continue
        try:
            resolved = spec.loads(run.spec, store.array)
        except LookupError:
            continue
        return spec.unwrap(resolved.device), resolved.precision
    return None
