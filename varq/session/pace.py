"""How long jobs keep a device busy: as the price table expects, corrected by what the last job took."""

from __future__ import annotations

from varq.devices.prices import Price

__all__ = ["Pace"]


class Pace:
    """Expected seconds of jobs.

    Args:
        price: of the device, with what it expects; None where nothing is known before the first job.

    Example:
        >>> pace = Pace(Price(job_seconds=2.0, shot_seconds=0.001, dated="2026", source="an example"))
        >>> pace.seconds(1, 1000)
        3.0
        >>> pace.learn(1000, 6.0)
        >>> pace.seconds(2, 1000)
        10.0
        >>> Pace(None).known
        False
    """

    def __init__(self, price: Price | None) -> None:
        self._price = price
        self._scale = 1.0  # of what the price table expects
        self._shot = 0.0  # seconds of a shot, where it expects nothing
        self._expects = self._expected(1, 1) > 0
        self.learned = 0  # jobs

    @property
    def known(self) -> bool:
        """Whether anything is: by the price table, or from a job."""
        return self._expects or self.learned > 0

    @property
    def sure(self) -> bool:
        """Whether it is more than what a first job took, which may have been slow to start."""
        return self._expects or self.learned > 1

    def seconds(self, jobs: int, shots: int) -> float:
        """How long so many jobs with so many shots in all will keep the device busy, as far as it is known."""
        expected = self._expected(jobs, shots)
        return self._scale * expected if expected else self._shot * shots

    def learn(self, shots: int, seconds: float) -> None:
        """Take it from now on that a job with so many shots keeps the device busy for so long."""
        self.learned += 1
        expected = self._expected(1, shots)
        if expected:
            self._scale = seconds / expected
        else:
            self._shot = seconds / max(1, shots)

    def _expected(self, jobs: int, shots: int) -> float:
        return 0.0 if self._price is None else self._price.seconds(jobs, shots)
