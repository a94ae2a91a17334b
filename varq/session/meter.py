"""What jobs are charged with: as their vendor tells it, the time included in which its session waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from varq.devices.prices import Price
from varq.devices.service import JobResult, Service
from varq.session.job import Job

__all__ = ["Meter"]


class Meter:
    """Seconds and money of the jobs on one device.

    A vendor may meter its session from the first job to the last, the time between jobs included (IBM does, by its
    guide "Workload usage"; a batch and single jobs count by the time they run).  A job then counts with the time that
    the session waited before it.

    Args:
        service: the device.
        price: of it; None where it is not known.
    """

    def __init__(self, service: Service, price: Price | None) -> None:
        self._service = service
        self._price = price
        self._counted = 0.0  # of the vendor's session that is open

    def opened(self) -> None:
        """A session of the vendor begins."""
        self._counted = 0.0

    def idle(self) -> float:
        """Seconds of the vendor's session that no job counts yet.

        Raises:
            DeviceError: if the vendor cannot be asked.
        """
        metered = self._service.metered()
        return 0.0 if metered is None else max(0.0, metered - self._counted)

    def complete(self, jobs: Sequence[Job], idle: float) -> None:
        """Give the results of one submission all the seconds that are charged, and their cost.

        Args:
            jobs: those of it that have a result.
            idle: seconds of the vendor's session that no earlier job counts, these jobs included.
        """
        back = [(job, job.result) for job in jobs if job.result is not None]
        waited = max(0.0, idle - sum(result.seconds or 0.0 for _, result in back))
        for job, result in back:
            job.busy = result.seconds
            seconds = waited + (result.seconds or 0.0) if waited else result.seconds
            cost = self.cost(job, result, seconds) if result.cost is None else result.cost
            job.result = replace(result, seconds=seconds, cost=cost)
            self._counted += seconds or 0.0
            waited = 0.0

    def cost(self, job: Job, result: JobResult, seconds: float | None) -> float | None:
        """What a job of this result costs that was charged with so many seconds; None where that is not known."""
        if self._price is None or (seconds is None and self._price.per_second):
            return None
        tasks = self._service.tasks([(len(bits), bits.shape[1]) for bits in result.bits])
        return self._price.cost(tasks, job.record.circuits, job.record.shots, seconds or 0.0)
