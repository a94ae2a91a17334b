"""How little is sent first to a device of which nobody knows how long its jobs take, where that is limited."""

from __future__ import annotations

from varq.devices.prices import Price
from varq.session.budget import Account, Budget, Use
from varq.session.pace import Pace
from varq.store.job_records import JobState
from varq.store.jobs import Jobs

__all__ = ["Trial", "needed"]

_OUT = (JobState.WRITTEN, JobState.SENT, JobState.UNCERTAIN)


class Trial:
    """The first jobs on a device whose pace is not known, where seconds, or money for seconds, are limited.

    One circuit goes alone, and nothing else before it is back; by what it took is reckoned what the others will take.
    A first job may be slow to start, as a simulator is that has to compile.  So where not everything would fit, one
    more job may correct that, which by the first one's pace takes half of what is left at most.

    Args:
        pace: of the device, which learns from its jobs.
        account: of the session.
        price: of the device; None where it is not known.
        log: the store's journal of jobs.
        session: the session's id.
        device: its name.
    """

    def __init__(self, pace: Pace, account: Account, price: Price | None, log: Jobs, session: str, device: str) -> None:
        self._pace = pace
        self._account = account
        self._log = log
        self._session = session
        self._device = device
        self.on = needed(account.budget, price)

    def stuck(self) -> str | None:
        """Why not even a first job may be sent, as the journal has it; None where one may.

        Jobs that the session ran on the device in earlier processes say what its pace is.
        """
        if self._pace.known:
            return None
        jobs = [job for job in self._log.jobs(self._session) if job.device == self._device]
        told = [(job.shots, job.seconds) for job in jobs if job.state is JobState.DONE and job.seconds is not None]
        for shots, seconds in told:
            self._pace.learn(shots, seconds)
        out = next((job for job in jobs if job.state in _OUT), None)
        if told or not any(job is out or job.state is JobState.DONE for job in jobs):
            return None
        if out is not None:
            return (
                f"nobody knows yet how long {self._device} takes for a job, and job {out.id} that would tell is not "
                "back. Resume the run, or settle that job"
            )
        return (
            f"{self._device} does not tell how long its jobs take, so that a limit on its seconds cannot be kept. "
            "Limit shots or circuits in their place"
        )

    def circuits(self, waiting: Use) -> int | None:
        """How many circuits go next, alone; None where the trial is over.

        Args:
            waiting: what all that waits will use up, by what is known of the pace.
        """
        if not self._pace.known:
            return 1
        fitting = waiting.circuits * self._account.part(waiting)
        if self._pace.sure or not 1 <= fitting < waiting.circuits:
            self.on = False
            return None
        return max(1, int(fitting / 2))


def needed(budget: Budget, price: Price | None) -> bool:
    """Whether a limit hangs on how long a device is busy, and the price table says nothing of that."""
    charged = price is not None and price.per_second > 0
    return (budget.seconds is not None or (budget.cost is not None and charged)) and not Pace(price).known
