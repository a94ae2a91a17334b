"""Jobs on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from varq.devices.credentials import clean_text
from varq.devices.faults import UncertainError
from varq.devices.service import Circuit, JobResult, Service
from varq.session import budget
from varq.session.tickets import Item, Ticket
from varq.store.circuit_records import CircuitRow, Use
from varq.store.job_records import JobRecord, JobState, new_job_id

__all__ = ["Filled", "Flight", "Job", "check_payer", "kept", "tickets_of", "uses_of", "written"]

_PAYER = "payer"  # in the details of a job: who sent it


@dataclass(eq=False)
class Job:
    """One job: what is sent, and what became of it.

    Args:
        record: as it is written down.
        circuits: what is sent, in order.
        rows: the same for the journal, with whom each serves.
        wanted: whether anybody waits for it.
    """

    record: JobRecord
    circuits: Sequence[Circuit]
    rows: Sequence[CircuitRow]
    wanted: Callable[[], bool] = lambda: True
    provider: str | None = field(default=None, init=False)
    result: JobResult | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    read: float = field(default=0.0, init=False)
    busy: float | None = field(default=None, init=False)
    attempts: int = field(default=0, init=False)
    recalled: bool = field(default=False, init=False)  # whether its vendor was asked to cancel it
    unused: bool = field(default=False, init=False)  # whether it was called back before it ran

    @property
    def received(self) -> bool:
        """Whether the vendor has it, or may have it: it then counts, unless it was called back before it ran."""
        if self.unused:
            return False
        return self.error is None or self.provider is not None or isinstance(self.error, UncertainError)


Filled: TypeAlias = tuple[Job, list[list[Item]]]
"""A job, and for each of its circuits whom it serves."""


@dataclass(frozen=True, eq=False)
class Flight:
    """A submission on its way.

    Args:
        filled: its jobs.
        sent: whether they are in the journal, and on their way.
        busy: whether there was anything to do.
    """

    filled: Sequence[Filled]
    sent: bool
    busy: bool

    @property
    def jobs(self) -> list[Job]:
        """Without whom they serve."""
        return [job for job, _ in self.filled]


def tickets_of(filled: Sequence[Filled]) -> list[Ticket]:
    """The tickets that jobs serve."""
    return list({id(item.ticket): item.ticket for _, items in filled for same in items for item in same}.values())


def uses_of(items: Sequence[Item]) -> tuple[Use, ...]:
    """Whom a circuit serves."""
    return tuple(
        Use(owner, step, item.ticket.role, place)
        for item in items
        for owner, step in [item.ticket.place[:2]]
        for place in item.places
    )


def written(
    service: Service, session: str, number: int, when: float, use: budget.Use, items: Sequence[Sequence[Item]]
) -> tuple[JobRecord, list[CircuitRow]]:
    """A job as it is written down before it is sent, and its circuits.

    Args:
        service: that it goes to.
        session: the session's id.
        number: its order in the session.
        when: seconds since 1970.
        use: what it will use up, as far as that is known.
        items: whom each of its circuits serves.
    """
    record = JobRecord(
        id=new_job_id(),
        session=session,
        number=number,
        device=service.name,
        created=when,
        circuits=len(items),
        shots=int(use.shots),
        paid=service.paid,
        estimate_seconds=use.seconds,
        estimate_cost=use.cost,
        details={} if (payer := _payer(service)) is None else {_PAYER: payer},
    )
    circuits = [same[0].circuit for same in items]
    rows = [
        CircuitRow(record.id, k, circuit.digest, circuit.shots, circuit.seed, uses_of(same))
        for k, (circuit, same) in enumerate(zip(circuits, items, strict=True))
    ]
    return record, rows


def check_payer(job: JobRecord, service: Service) -> None:
    """UncertainError if a job was sent by another account than the one of a service, which cannot see it.

    Args:
        job: of an earlier process; one that does not say who sent it passes.
        service: which is to be asked for it.
    """
    sent, here = job.details.get(_PAYER), _payer(service)
    if sent is None or here is None or sent == here:
        return
    hand = (
        ""
        if job.state is JobState.SENT
        else " Or settle it by hand: session.settle(job, provider_id=...) or lost=True."
    )
    raise UncertainError(
        f"A job is looked for by the account that sent it. Job {job.id} on {service.name} was sent by {sent}; this is "
        f"{here}. Open the device with {sent}, and resume the run.{hand}"
    )


def kept(job: JobRecord) -> dict[str, object]:
    """What a job's details say from before it was sent."""
    return {name: value for name, value in job.details.items() if name == _PAYER}


def _payer(service: Service) -> str | None:
    said = service.payer() if service.paid else None
    return None if said is None else clean_text(said)
