"""What jobs of one device used, in place of what was expected of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from varq.session.budget import NOTHING, Account, Use
from varq.session.job import Job
from varq.session.meter import Meter
from varq.session.pace import Pace
from varq.store.job_records import JobState
from varq.store.jobs import Jobs

__all__ = ["Books", "expected"]

_ASKED = 16  # jobs whose seconds are asked for again; of earlier ones the estimate stands


class Books:
    """Books the jobs of one device.

    Args:
        account: of the session.
        pace: of the device, which learns from its jobs.
        meter: what jobs are charged with.
        log: the store's journal of jobs.
    """

    def __init__(self, account: Account, pace: Pace, meter: Meter, log: Jobs) -> None:
        self._account = account
        self._pace = pace
        self._meter = meter
        self._log = log
        self._last: tuple[Job, Use] | None = None
        self._untold: deque[tuple[Job, Use]] = deque(maxlen=_ASKED)

    def book(self, job: Job) -> None:
        """What a job used in place of what was expected."""
        before = expected(job)
        if not job.received:
            self._account.spend(NOTHING - before)
        elif job.result is not None:
            seconds = before.seconds if job.result.seconds is None else job.result.seconds
            cost = before.cost if job.result.cost is None else job.result.cost
            self._account.spend(Use(0, 0, seconds - before.seconds, cost - before.cost))
            if job.busy is not None:
                self._pace.learn(job.record.shots, job.busy)
            self._last = job, Use(0, 0, seconds, cost)
            if job.result.pending:
                self._untold.append(self._last)

    def ask(self, told: Callable[[str], float | None]) -> None:
        """Book the seconds that the vendor had not told with the results.

        A vendor may work out what it charges after a job is done (IBM does).

        Args:
            told: the seconds of the job with this id at the vendor; None until it tells them.
        """
        for job, booked in list(self._untold):
            assert job.provider is not None
            assert job.result is not None
            busy = told(job.provider)
            if busy is None:
                continue
            if job.result.seconds is None:  # else the vendor's session is charged, with the job in it
                cost = self._meter.cost(job, job.result, busy)
                now = Use(0, 0, busy, booked.cost if cost is None else cost)
                self._log.mark(job.record.id, JobState.DONE, seconds=busy, cost=cost)
                self._account.spend(now - booked)
            self._untold.remove((job, booked))
            self._pace.learn(job.record.shots, busy)

    def waited(self, seconds: float) -> None:
        """The seconds that the vendor's session waited since its last job are charged: that one counts them."""
        if not seconds or self._last is None:
            return
        job, booked = self._last
        assert job.result is not None
        cost = self._meter.cost(job, job.result, booked.seconds + seconds)
        now = Use(0, 0, booked.seconds + seconds, booked.cost if cost is None else cost)
        self._log.mark(job.record.id, JobState.DONE, seconds=now.seconds, cost=cost)
        self._account.spend(now - booked)


def expected(job: Job) -> Use:
    """What a job was expected to use."""
    record = job.record
    return Use(record.circuits, record.shots, record.estimate_seconds, record.estimate_cost)
