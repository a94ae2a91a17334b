"""A job on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from varq.devices.faults import UncertainError
from varq.devices.service import Circuit, JobResult
from varq.store.circuit_records import CircuitRow
from varq.store.job_records import JobRecord

__all__ = ["Job"]


@dataclass(eq=False)
class Job:
    """One job: what is sent, and what became of it.

    Args:
        record: as it is written down.
        circuits: what is sent, in order.
        rows: the same for the journal, with whom each serves.
    """

    record: JobRecord
    circuits: Sequence[Circuit]
    rows: Sequence[CircuitRow]
    provider: str | None = field(default=None, init=False)
    result: JobResult | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    read: float = field(default=0.0, init=False)
    busy: float | None = field(default=None, init=False)
    attempts: int = field(default=0, init=False)

    @property
    def received(self) -> bool:
        """Whether the vendor has it, or may have it: it then counts."""
        return self.error is None or self.provider is not None or isinstance(self.error, UncertainError)
