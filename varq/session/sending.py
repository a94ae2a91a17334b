"""Jobs on their way: written down before they are sent, known by their vendor's id at once, never sent twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TypeVar

from varq.devices.credentials import clean_text
from varq.devices.faults import (
    DeviceError,
    OfflineError,
    PartialError,
    PermanentError,
    TransientError,
    UncertainError,
)
from varq.devices.service import Circuit, JobResult, JobStatus, Service
from varq.session.job import Job, check_payer, kept
from varq.session.meter import Meter
from varq.session.retry import Retry, persistently
from varq.store.circuit_records import Returned
from varq.store.job_records import JobRecord, JobState, Mark, new_job_id
from varq.store.jobs import Jobs

__all__ = ["DroppedError", "RecalledError", "Sender"]

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.2, 15.0  # seconds between two looks at a job
_UNNOTED = 1.0  # seconds after which the id of a job that was sent is in the store, once the next one is sent


class RecalledError(PermanentError):
    """A job was cancelled at its vendor, or not sent at all, since nobody waited for it any more."""


class DroppedError(PermanentError):
    """A job was dropped by its vendor before it ran, since the vendor's session had ended: it is sent anew."""


class Sender:
    """Sends the jobs of one session to one device.

    At most four commits are made for each submission, however many jobs it has: what is to be sent, under which ids it
    was received, what came back, and what failed.  Only where sending takes long are ids written down in between.

    Args:
        service: the device.
        log: the store's journal of jobs.
        meter: what jobs are charged with.
        retry: how often calls are tried again.
        say: is told what a person should know.
        sleep: waits so many seconds.
        patient: whether a device that does not answer is waited for, as `Retry.patience` says.

    `once` is whether calls are tried a single time, for a device of which little is hoped.
    """

    def __init__(
        self,
        service: Service,
        log: Jobs,
        meter: Meter,
        retry: Retry,
        say: Callable[[str], None],
        sleep: Callable[[float], None],
        patient: bool = True,
    ) -> None:
        self.service = service
        self._log = log
        self._meter = meter
        self._retry = retry
        self._say = say
        self._sleep = sleep
        self._patient = patient
        self._compiling = Lock()
        self._opened = False
        self.once = False

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Have circuits translated, before the vendor's session is opened: vendors meter the time in which it waits.

        Raises:
            DeviceError: if they cannot be.
        """
        with self._compiling:  # another thread may wait for a job meanwhile
            self._persist(lambda: self.service.compile(circuits), reopen=False)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs, whose circuits are compiled: each has its vendor's id or an error afterwards.

        What nobody waits for any more when its turn comes is not sent.

        Raises:
            DeviceError: if the vendor's session cannot be opened; nothing was sent.
            StoreError: if the journal cannot be written; what was sent by then is found again by its tag.
        """
        if not self._opened:
            self._open(lambda: any(job.wanted() for job in jobs))
        self._log.write([job.record for job in jobs], [row for job in jobs for row in job.rows])
        unnoted: list[Job] = []
        noted = time.monotonic()
        try:
            for job in jobs:
                unnoted.append(job)
                self._send(job)
                if time.monotonic() - noted >= _UNNOTED:
                    self._note(unnoted)
                    unnoted, noted = [], time.monotonic()
        finally:
            self._note(unnoted)

    def collect(self, jobs: Sequence[Job]) -> None:
        """Wait for jobs that were submitted: each has a result or an error afterwards.

        Raises:
            StoreError: if the journal cannot be written.
        """
        self._gather(jobs)
        for _ in range(self._retry.attempts):
            dropped = [job for job in jobs if isinstance(job.error, DroppedError)]
            if not dropped or not self._renew(dropped):
                return
            self._gather(dropped)

    def _gather(self, jobs: Sequence[Job]) -> None:
        sent = [job for job in jobs if job.provider is not None]
        for k, job in enumerate(sent):
            self._fetch(job, sent[k:])
        self._record(jobs)

    def _renew(self, jobs: Sequence[Job]) -> bool:
        """Send jobs that were dropped unrun once more, as other jobs, in a session opened for them; or their error."""
        self._say(f"{jobs[0].error} {len(jobs)} of its jobs are sent anew.")
        self.close()
        number = 1 + self._log.last(jobs[0].record.session)
        for k, job in enumerate(jobs):
            fresh = new_job_id()
            job.record = replace(job.record, id=fresh, number=number + k, created=time.time())
            job.rows = [replace(row, job=fresh) for row in job.rows]
            job.provider = job.error = None
            job.attempts, job.unused = 0, False
        try:
            self.submit(jobs)
        except DeviceError as error:
            for job in jobs:
                job.error = error
            return False
        return True

    def idle(self) -> float:
        """Seconds of the vendor's session that no job counts yet; 0 where they are not told."""
        if not self._opened:
            return 0.0
        try:
            return self._persist(self._meter.idle, reopen=False)
        except DeviceError:  # the seconds of the jobs themselves are left
            return 0.0

    def seconds(self, provider: str) -> float | None:
        """Seconds that the device was busy with a job, where its vendor tells them late; None until it does."""
        try:
            return self.service.seconds(provider)
        except DeviceError:  # it is asked again
            return None

    def recover(self, job: JobRecord, wanted: Callable[[], bool] = lambda: True) -> JobState:
        """Find out what became of a job that an earlier process wrote down, and fetch it if it was sent.

        Args:
            job: as it stands in the journal.
            wanted: whether anybody waits for it; else it is called back, if that is still possible.

        Returns:
            Its state now: "done" with its bits in the journal, or why there are none.

        Raises:
            UncertainError: if the vendor cannot tell whether it received the job, or another account sent it.
            DeviceError: if the vendor cannot be asked, or has the job and no result of it: a person is to know
                before its circuits are paid for once more.
        """
        if job.state in (JobState.WRITTEN, JobState.UNCERTAIN):
            try:
                check_payer(job, self.service)
                found = self._look(job.id, wanted)
            except UncertainError as error:
                self._log.mark(job.id, JobState.UNCERTAIN, error=str(error))
                raise
            if found is None:
                self._log.mark(job.id, JobState.UNSENT)
                return JobState.UNSENT
            self._log.sent({job.id: found})
        elif job.state is JobState.SENT:
            check_payer(job, self.service)
        else:
            return job.state
        again = Job(self._log.job(job.id), (), self._log.circuits(job.id), wanted)
        again.provider = again.record.provider_id
        self._fetch(again, [again])
        self._record([again])
        if isinstance(again.error, DroppedError):  # nothing was paid for, and its circuits are asked for anew
            return JobState.CANCELLED
        if again.error is not None:
            raise again.error
        return JobState.DONE

    def look_after(self, job: JobRecord) -> None:
        """Call back a job that nobody waits for any more, or keep its result if it has one; what runs is left.

        Raises:
            DeviceError: if the vendor cannot be asked, or another account sent the job.
        """
        check_payer(job, self.service)
        left = Job(job, (), self._log.circuits(job.id), lambda: False)
        left.provider = job.provider_id
        if not self._status(left).final:
            self._call_back([left])
            if not (left.unused or self._status(left).final):
                return
        self._fetch(left, [left])
        self._record([left])

    def adopt(self, job: JobRecord, provider: str) -> None:
        """Take the vendor's job of this id for one that may have been sent, and its result if it has one.

        Raises:
            DeviceError: if the vendor cannot be asked, or it is another job; nothing is written then.
        """
        self._check_own(job, provider)
        found = Job(job, (), self._log.circuits(job.id))
        found.provider = provider
        status = self._persist(lambda: self.service.status(provider))
        if status is JobStatus.DONE:
            self._fetch(found, [found])
            if found.error is not None:
                raise found.error
        self._log.sent({job.id: provider})
        if found.result is not None:
            self._record([found])
        elif status.final:
            self._log.mark(job.id, JobState.FAILED, error=f"Job {provider} ended as {status.value}.")

    def close(self) -> None:
        """Close the vendor's session, if it was opened."""
        if self._opened:
            self._opened = False
            try:
                self.service.close()
            except DeviceError as error:
                self._say(f"{error} The session of {self.service.name} ends by itself; jobs that were sent stay.")

    # -- inside --

    def _open(self, wanted: Callable[[], bool] = lambda: True) -> None:
        said = self._persist(self.service.open, reopen=False, parked=wanted)
        self._opened = True
        self._meter.opened()
        if said:
            self._say(said)

    def _persist(
        self,
        call: Callable[[], T],
        reopen: bool = True,
        awaited: Callable[[], bool] = lambda: False,
        parked: Callable[[], bool] = lambda: False,
    ) -> T:
        """What a call of the device gives.

        Args:
            call: of the device.
            reopen: whether its session is opened again where that has ended.
            awaited: whether to be patient about any error that may pass.
            parked: whether to be patient about a machine that is offline.
        """
        retry = replace(self._retry, attempts=1) if self.once else self._retry

        def patient(error: BaseException) -> bool:
            return self._patient and not self.once and (awaited() or (isinstance(error, OfflineError) and parked()))

        return persistently(call, retry, self._open if reopen else lambda: None, self._say, self._sleep, patient)

    def _check_own(self, job: JobRecord, provider: str) -> None:
        """Refuse the id of another job: all steps of a run look alike, and its bits would answer another question."""
        for other in self._log.received_as(provider, self.service.name):
            if other.id != job.id:
                raise PermanentError(
                    f"The id must be that of this job on {self.service.name}. Job {provider} is that of {other.id}, "
                    f"which is {other.state.value}. Give that of {job.id}: the vendor's pages show when each was sent."
                )
        if self._persist(lambda: self.service.tagged(provider, job.id)) is False:
            raise PermanentError(
                f"The id must be that of this job. Job {provider} on {self.service.name} was not sent under the tag "
                f"{job.id}. Look for that tag on the vendor's pages."
            )

    def _send(self, job: Job) -> None:
        """Until the vendor has it, surely has it not, or nobody can tell."""
        tag = job.record.id
        partial: list[PartialError] = []

        def once() -> str:
            if not partial and not job.wanted():  # of what was received in part, nobody could fetch the rest
                raise RecalledError(
                    f"Nobody waited any more for job {tag}, and it was not sent to {self.service.name}. Its circuits "
                    "are sent when what they are for goes on."
                )
            job.attempts += 1
            try:
                return received()
            except PartialError as error:
                partial.append(error)
                raise TransientError(str(error)) from None

        def received() -> str:
            unforeseen: Exception | None = None
            try:
                return self.service.submit(job.circuits, tag)
            except PartialError:
                raise
            except UncertainError as error:
                self._say(f"{error} The job is looked for by its tag {tag}.")
            except DeviceError:
                raise
            except Exception as error:
                if not self.service.paid:
                    raise
                unforeseen = error
            found = self._look(tag, job.wanted)
            if found is not None:
                return found
            if unforeseen is not None:
                raise PermanentError(
                    f"{self.service.name} must take a job or say why not. Got {_said(unforeseen)} for job {tag}, "
                    "which was not received. Resume the run to send it again."
                ) from unforeseen
            raise TransientError(f"{self.service.name} did not receive job {tag}. It is sent again.")

        try:
            job.provider = self._persist(once, parked=job.wanted)
        except Exception as error:
            job.error = partial[-1] if partial else error

    def _note(self, jobs: Sequence[Job]) -> None:
        """Write down under which ids jobs were received."""
        ids = {job.record.id: job.provider for job in jobs if job.provider is not None}
        if ids and self.service.paid:
            self._log.sent(ids, attempts={job.record.id: job.attempts for job in jobs if job.record.id in ids})

    def _look(self, tag: str, wanted: Callable[[], bool]) -> str | None:
        """The vendor's id of a job; None if it surely has none.

        Raises:
            UncertainError: if that cannot be found out, for whatever reason.
        """
        try:
            return self._persist(lambda: self.service.find(tag), awaited=wanted)
        except UncertainError:
            raise
        except Exception as error:
            raise UncertainError(
                f"Whether {self.service.name} received job {tag} could not be asked: {_said(error)} "
                "Try again later, or settle it by hand: session.settle(job, provider_id=...) or lost=True."
            ) from error

    def _fetch(self, job: Job, out: Sequence[Job]) -> None:
        """Wait for a job, and take its result; of all that are out, call back what nobody wants any more."""
        provider = job.provider
        assert provider is not None
        wait = _SHORTEST
        try:
            while not (status := self._status(job)).final:
                self._call_back(out)
                self._sleep(wait)
                wait = min(_LONGEST, wait * 1.5)
            if status is JobStatus.CANCELLED and job.recalled:
                raise RecalledError(
                    f"Nobody waited any more for job {provider} on {self.service.name}, and it was called back. Its "
                    "circuits are sent again when what they are for goes on."
                )
            if status is not JobStatus.DONE and self._dropped(job):
                raise DroppedError(
                    f"Job {provider} had not run when its session on {self.service.name} ended, and was dropped."
                )
            if status is not JobStatus.DONE:
                raise PermanentError(
                    f"A job must end as done. Job {provider} on {self.service.name} ended as {status.value}. "
                    "See the vendor's page for why; resume the run to send its circuits again."
                )
            began = time.perf_counter()
            result = self._persist(lambda: self.service.result(provider), awaited=job.wanted)
            job.result = _checked(job, result, self.service.name)
            job.read = time.perf_counter() - began
            job.unused = False
        except Exception as error:
            job.error = error
            job.unused = isinstance(error, DroppedError) or (job.unused and isinstance(error, RecalledError))

    def _dropped(self, job: Job) -> bool:
        """Whether a job ended unrun and unasked, with the vendor's session."""
        provider = job.provider
        assert provider is not None
        if job.recalled or not self.service.paid:
            return False
        return self._persist(lambda: self.service.dropped(provider), awaited=job.wanted)

    def _status(self, job: Job) -> JobStatus:
        provider = job.provider
        assert provider is not None
        return self._persist(lambda: self.service.status(provider), awaited=job.wanted)

    def _call_back(self, jobs: Sequence[Job]) -> None:
        """Ask the vendor to cancel those that nobody waits for any more: once for each, which it may refuse."""
        for job in jobs:
            if job.recalled or job.wanted():
                continue
            job.recalled, provider = True, job.provider
            assert provider is not None
            try:
                waits = self._status(job) in (JobStatus.CREATED, JobStatus.QUEUED)
                possible = self._persist(partial(self.service.cancel, provider))
            except DeviceError as error:
                self._say(f"Job {provider}, for which nobody waits any more, could not be called back: {error}")
                continue
            job.unused = possible and waits
            if possible:
                self._say(f"Nobody waits any more for job {provider} on {self.service.name}: it is called back.")

    def _record(self, jobs: Sequence[Job]) -> None:
        """What came back, and what did not; a job that only could not be asked for stays as it is."""
        done = [job for job in jobs if job.result is not None]
        if done:
            self._meter.complete(done, self.idle())
            (self._log.finish if self.service.paid else self._log.ran)([_returned(job) for job in done])
        marks = []
        for job in jobs:
            if job.error is not None:
                attempts = max(job.attempts, job.record.attempts)
                unused = {"seconds": 0.0, "cost": 0.0} if job.unused and self.service.paid else {}
                marks.append(Mark(job.record.id, self._state(job), _said(job.error), attempts, **unused))
        if marks:
            self._log.mark_all(marks)

    def _state(self, job: Job) -> JobState:
        """How an error leaves a job."""
        if job.provider is None:
            return JobState.UNCERTAIN if isinstance(job.error, UncertainError) else JobState.UNSENT
        if isinstance(job.error, (RecalledError, DroppedError)) and self.service.paid:
            return JobState.CANCELLED
        ended = isinstance(job.error, PermanentError) or not self.service.paid
        return JobState.FAILED if ended else JobState.SENT


def _checked(job: Job, result: JobResult, device: str) -> JobResult:
    """A result, if it is one of what was sent."""
    wanted = [row.shots for row in job.rows]
    got = [bits.shape for bits in result.bits]
    wires = [c.width for c in job.circuits] or [shape[-1] for shape in got]
    if got != list(zip(wanted, wires, strict=False)) or len(got) != len(wanted):
        raise PermanentError(
            f"A result must have (shots, wires) of each of its circuits, {list(zip(wanted, wires, strict=False))[:4]} "
            f"and so on for {len(wanted)}. Job {job.provider} on {device} gave {got[:4]} and so on for {len(got)}. "
            "None of it is used; see the vendor's page, and resume the run to send its circuits again."
        )
    return result


def _said(error: Exception) -> str:
    """An error in words that may be shown and kept."""
    said = clean_text(str(error))
    return said if isinstance(error, DeviceError) else f"{type(error).__name__}: {said}"


def _returned(job: Job) -> Returned:
    result = job.result
    assert result is not None
    details = {**kept(job.record), **result.details, "read": job.read, "busy": job.busy}
    return Returned(job.record.id, result.bits, result.queued, result.seconds, result.cost, details)
