"""What an earlier process sent, and what a person knows of it: fetched by its id or found by its tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from varq.devices.faults import DeviceError
from varq.session.budget import NOTHING, Account, Use
from varq.session.sending import Sender
from varq.session.tickets import Place, Ticket, precisions
from varq.store.circuit_records import Served
from varq.store.job_records import JobRecord, JobState
from varq.store.jobs import Jobs

__all__ = ["Recovery"]

_OPEN = (JobState.WRITTEN, JobState.SENT, JobState.UNCERTAIN)
_UNSURE = (JobState.WRITTEN, JobState.UNCERTAIN)  # looked for by their tags
_LOST = (JobState.FAILED, JobState.CANCELLED, JobState.UNSENT)


class Recovery:
    """Jobs of earlier processes, of this session or others.

    Args:
        sender: asks the device.
        log: the store's journal of jobs.
        session: the id of this session, whose account follows what is found out.
        account: of this session.
    """

    def __init__(self, sender: Sender, log: Jobs, session: str, account: Account) -> None:
        self._sender = sender
        self._log = log
        self._session = session
        self._account = account
        self._expected: set[str] = set()  # tags that the service was told of

    def served(self, ticket: Ticket) -> Sequence[Served]:
        """What the journal has for a ticket."""
        owner, step, _ = ticket.place
        return self._log.served(owner, step, ticket.role)

    def open(self, served: Sequence[Served]) -> bool:
        """Whether more may come of it."""
        return any(one.state in _OPEN for one in served)

    def take(self, ticket: Ticket, wanted: Callable[[], bool]) -> None:
        """Give a ticket the bits that were asked for already, waiting for those that are still to come.

        Args:
            ticket: of the request.
            wanted: whether it is still waited for; jobs that serve nobody else are called back if it is not.

        Raises:
            UncertainError: if it is not known whether a job was received.
            DeviceError: if the device cannot be asked, or a result that was paid for is gone; the ticket has the bits
                that are in the journal.
        """
        served = self.served(ticket)
        waiting = dict.fromkeys(one.job for one in served if one.state in _OPEN)
        self._expect(ticket.place[0], served)
        failed: DeviceError | None = None
        try:
            for job in waiting:
                others = any(use.owner != ticket.place[0] for row in self._log.circuits(job) for use in row.uses)
                self._find_out(job, (lambda: True) if others else wanted)
        except DeviceError as error:
            failed = error
        if waiting:
            served = self.served(ticket)
        self.fill(ticket, served)
        if failed is not None:
            raise failed

    def fill(self, ticket: Ticket, served: Sequence[Served]) -> None:
        """Give a ticket the bits of jobs that are done."""
        owner, step, _ = ticket.place
        done = [one for one in served if one.state is JobState.DONE]
        digests = {job: [row.digest for row in self._log.circuits(job)] for job in dict.fromkeys(s.job for s in done)}
        # Another version or setting may have asked for other circuits: their bits would answer another question.
        fitting = [s for s in done if _digest(ticket, s.use.item) == digests[s.job][s.position]]
        if len(fitting) == len(done):
            for item, found in self._log.results(owner, step, ticket.role).items():
                if not isinstance(found, str) and item < len(ticket.bits):
                    ticket.bits[item] = found
        else:
            for one in reversed(fitting):
                ticket.bits[one.use.item] = self._log.bits(one.job, one.position)

    def precision(self, place: Place) -> float | None:
        """The precision with which a request was sent already; None if nothing of it was."""
        owner, step, role = place
        served = [one.use.role for one in self._log.served(owner, step) if one.state not in _LOST]
        return next(iter(reversed(precisions(role, served))), None)

    def settle(self, job: str, provider_id: str | None, lost: bool) -> JobState:
        """What a person knows of a job that may have been sent; see `Dispatcher.settle`."""
        if (provider_id is None) is not lost:
            raise ValueError(
                "An uncertain job is settled by its vendor's id, or as lost. Got "
                f"provider_id={provider_id!r} and lost={lost!r}. Give one of the two."
            )
        record = self._log.job(job)
        if record.state not in (JobState.WRITTEN, JobState.UNCERTAIN):
            raise ValueError(
                f"Only a job that may have been sent can be settled. Job {record.id} is {record.state.value!r}. "
                "`varq ledger` shows how each stands."
            )
        asked = self._sender.service.name
        if provider_id is not None and record.device != asked:
            raise ValueError(
                f"A job is settled by the device that it was sent to. Job {record.id} went to {record.device}; here is "
                f"{asked}. Open varq.Session({record.device!r}) on the same store, and settle it there."
            )
        if provider_id is None:
            self._log.mark(record.id, JobState.UNSENT, error="It was never received, a person says.")
        else:
            self._sender.adopt(record, provider_id)
        return self._rebook(record).state

    def tidy(self) -> None:
        """See to jobs of this session that were sent and could not be asked for: others have measured in their place.

        What still waits is called back, what is done is kept, and what runs is left as it is.
        """
        for job in self._log.jobs(self._session, [JobState.SENT]):
            if job.device != self._sender.service.name:
                continue
            try:
                self._sender.look_after(job)
            except DeviceError:  # it stays as it stands in the journal
                continue
            self._rebook(job)

    def _expect(self, owner: str, served: Sequence[Served]) -> None:
        """Have the vendor's time until it lists what it received begin at once, for all that is looked for next."""
        if _unsure(served) <= self._expected:
            return
        own = {job.id for job in self._log.jobs(self._session, _UNSURE)}
        self._expected |= own | _unsure(self._log.served(owner))
        self._sender.service.expect(self._expected)

    def _find_out(self, job: str, wanted: Callable[[], bool]) -> None:
        before = self._log.job(job)
        try:
            self._sender.recover(before, wanted)
        finally:
            self._rebook(before)

    def _rebook(self, before: JobRecord) -> JobRecord:
        """A job as it stands now, which the account follows."""
        after = self._log.job(before.id)
        if before.session == self._session:
            self._account.spend(_used(after) - _used(before))
        return after


def _unsure(served: Sequence[Served]) -> set[str]:
    return {one.job for one in served if one.state in _UNSURE}


def _digest(ticket: Ticket, item: int) -> str | None:
    return ticket.parts[item].digest if item < len(ticket.parts) else None


def _used(job: JobRecord) -> Use:
    """What a job counts for, as `Jobs.spent` has it."""
    if not job.counts:
        return NOTHING
    seconds = job.estimate_seconds if job.seconds is None else job.seconds
    return Use(job.circuits, job.shots, seconds, job.estimate_cost if job.cost is None else job.cost)
