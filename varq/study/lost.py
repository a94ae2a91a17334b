"""What befalls workers and clusters, as errors."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

__all__ = ["ClusterLost", "Unsuited", "WorkerLost"]


class WorkerLost(BrokenExecutor):
    """Workers ended without an answer; the executor has others for what comes next.

    Args:
        message: what is known of it.
        times: how many of them, one after the other, with the same work.
    """

    def __init__(self, message: str, times: int = 1) -> None:
        super().__init__(message)
        self.times = times


class ClusterLost(RuntimeError):  # noqa: N818 - the name says what is the matter; that it is an error, its base says
    """The scheduler of a cluster is gone, or gave the work up; what was recorded is kept."""


class Unsuited(ValueError):  # noqa: N818 - the same
    """A worker cannot do a study's work as it was started; the message says what to change."""
