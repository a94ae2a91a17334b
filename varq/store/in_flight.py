"""Jobs under way that this process wrote: as long as their seals are the same in the file, they need not be read."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from varq.store.circuit_records import CircuitRow
from varq.store.job_checks import ENDS
from varq.store.job_tables import StoredJob

__all__ = ["InFlight"]

_MOST = 20_000  # circuits remembered, some 20 MB; more are read again


class InFlight:
    """What is known of jobs that have not ended, and their circuits."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[StoredJob, tuple[CircuitRow, ...]]] = {}
        self._circuits = 0
        self._lock = threading.Lock()

    def add(self, jobs: Iterable[StoredJob], circuits: Iterable[CircuitRow]) -> None:
        """Remembers jobs that were written just now."""
        rows: dict[str, list[CircuitRow]] = {}
        for row in circuits:
            rows.setdefault(row.job, []).append(row)
        with self._lock:
            for job in jobs:
                of = tuple(sorted(rows[job.record.id], key=lambda row: row.position))
                if self._circuits + len(of) <= _MOST:
                    self._jobs[job.record.id] = (job, of)
                    self._circuits += len(of)

    def get(self, job: str) -> StoredJob | None:
        """A job as it was when this process last wrote it."""
        found = self._jobs.get(job)
        return found[0] if found else None

    def circuits(self, job: StoredJob) -> Sequence[CircuitRow] | None:
        """The circuits of a job that `get` gave; None for any other."""
        found = self._jobs.get(job.record.id)
        return found[1] if found and found[0] is job else None

    def update(self, jobs: Iterable[StoredJob]) -> None:
        """Remembers how jobs stand now, and forgets those that have ended."""
        with self._lock:
            for job in jobs:
                name = job.record.id
                if name not in self._jobs:
                    continue
                rows = self._jobs[name][1]
                if job.record.state in ENDS:
                    self._circuits -= len(rows)
                    del self._jobs[name]
                else:
                    self._jobs[name] = (job, rows)
