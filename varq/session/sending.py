"""Jobs on their way: written down before they are sent, known by their vendor's id at once, never sent twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from varq.devices.faults import DeviceError, PermanentError, TransientError, UncertainError
from varq.devices.service import Circuit, JobResult, JobStatus, Service
from varq.session.retry import Retry, persistently
from varq.store.circuit_records import CircuitRow, Returned
from varq.store.job_records import JobRecord, JobState
from varq.store.jobs import Jobs

__all__ = ["Job", "Sender"]

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.2, 15.0  # seconds between two looks at a job


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
    error: DeviceError | None = field(default=None, init=False)
    read: float = field(default=0.0, init=False)
    attempts: int = field(default=0, init=False)

    @property
    def received(self) -> bool:
        """Whether the vendor has it, or may have it: it then counts."""
        return self.error is None or self.provider is not None or isinstance(self.error, UncertainError)


class Sender:
    """Sends the jobs of one session to one device.

    At most four commits are made for each submission, however many jobs it has: what is to be sent, under which ids it
    was received, what came back, and what failed.

    Args:
        service: the device.
        log: the store's journal of jobs.
        retry: how often calls are tried again.
        say: is told what a person should know.
        sleep: waits so many seconds.
    """

    def __init__(
        self, service: Service, log: Jobs, retry: Retry, say: Callable[[str], None], sleep: Callable[[float], None]
    ) -> None:
        self.service = service
        self._log = log
        self._retry = retry
        self._say = say
        self._sleep = sleep
        self._opened = False

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs and wait for them: each has a result or an error afterwards.

        Raises:
            DeviceError: if the circuits cannot be translated or the vendor's session not be opened; nothing was sent.
            StoreError: if the journal cannot be written; what was sent by then is found again by its tag.
        """
        self._ready([c for job in jobs for c in job.circuits])
        self._log.write([job.record for job in jobs], [row for job in jobs for row in job.rows])
        for job in jobs:
            self._send(job)
        if self.service.paid:
            received = {job.record.id: job.provider for job in jobs if job.provider is not None}
            if received:
                self._log.sent(received)
        for job in jobs:
            if job.provider is not None:
                self._fetch(job)
        self._record(jobs)

    def recover(self, job: JobRecord) -> JobState:
        """Find out what became of a job that an earlier process wrote down, and fetch it if it was sent.

        Returns:
            Its state now: "done" with its bits in the journal, or why there are none.

        Raises:
            UncertainError: if the vendor cannot tell whether it received the job.
            DeviceError: if the vendor cannot be asked.
        """
        if job.state in (JobState.WRITTEN, JobState.UNCERTAIN):
            found = self._look(job.id)
            if found is None:
                self._log.mark(job.id, JobState.UNSENT)
                return JobState.UNSENT
            self._log.sent({job.id: found})
        elif job.state is not JobState.SENT:
            return job.state
        again = Job(job, (), ())
        again.provider = self._log.job(job.id).provider_id
        self._fetch(again)
        self._record([again])
        if isinstance(again.error, TransientError):
            raise again.error
        return self._log.job(job.id).state

    def close(self) -> None:
        """Close the vendor's session, if it was opened."""
        if self._opened:
            self._opened = False
            self.service.close()

    # -- inside --

    def _ready(self, circuits: Sequence[Circuit]) -> None:
        """Translate first, then open: vendors meter the time in which their session waits."""
        self._persist(lambda: self.service.compile(circuits))
        if not self._opened:
            self._open()

    def _open(self) -> None:
        said = self._persist(self.service.open, reopen=False)
        self._opened = True
        if said:
            self._say(said)

    def _persist(self, call: Callable[[], T], reopen: bool = True) -> T:
        return persistently(call, self._retry, self._open if reopen else lambda: None, self._say, self._sleep)

    def _send(self, job: Job) -> None:
        """Until the vendor has it, surely has it not, or nobody can tell."""

        def once() -> str:
            job.attempts += 1
            try:
                return self.service.submit(job.circuits, job.record.id)
            except UncertainError as error:
                self._say(f"{error} The job is looked for by its tag {job.record.id}.")
            found = self._look(job.record.id)
            if found is None:
                raise TransientError(f"{self.service.name} did not receive job {job.record.id}. It is sent again.")
            return found

        try:
            job.provider = self._persist(once)
        except DeviceError as error:
            job.error = error

    def _look(self, tag: str) -> str | None:
        """The vendor's id of a job; None if it surely has none."""
        try:
            return self._persist(lambda: self.service.find(tag))
        except TransientError as error:
            raise UncertainError(
                f"Whether {self.service.name} received job {tag} could not be asked: {error} "
                "Try again later, or settle it by hand: session.settle(job, provider_id=...) or lost=True."
            ) from error

    def _fetch(self, job: Job) -> None:
        """Wait for a job, and take its result."""
        provider = job.provider
        assert provider is not None
        wait = _SHORTEST
        try:
            while not (status := self._persist(lambda: self.service.status(provider))).final:
                self._sleep(wait)
                wait = min(_LONGEST, wait * 1.5)
            if status is not JobStatus.DONE:
                raise PermanentError(
                    f"A job must end as done. Job {provider} on {self.service.name} ended as {status.value}. "
                    "See the vendor's page for why; resume the run to send its circuits again."
                )
            began = time.perf_counter()
            job.result = self._persist(lambda: self.service.result(provider))
            job.read = time.perf_counter() - began
        except DeviceError as error:
            job.error = error

    def _record(self, jobs: Sequence[Job]) -> None:
        """What came back, and what did not; a job that only could not be asked for stays as it is."""
        done = [job for job in jobs if job.result is not None]
        if done:
            (self._log.finish if self.service.paid else self._log.ran)([_returned(job) for job in done])
        for state in (JobState.UNSENT, JobState.FAILED, JobState.UNCERTAIN, JobState.CANCELLED):
            these = [job for job in jobs if job.error is not None and _state(job) is state]
            if these:
                self._log.mark([job.record.id for job in these], state, error=str(these[0].error))


def _state(job: Job) -> JobState | None:
    """What an error makes of a job; None if it changes nothing."""
    if isinstance(job.error, UncertainError):
        return JobState.UNCERTAIN
    if job.provider is None:
        return JobState.UNSENT
    return None if isinstance(job.error, TransientError) else JobState.FAILED


def _returned(job: Job) -> Returned:
    result = job.result
    assert result is not None
    return Returned(
        job.record.id, result.bits, result.queued, result.seconds, result.cost, {**result.details, "read": job.read}
    )
