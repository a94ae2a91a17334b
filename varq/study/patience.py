"""Which workers can do something, and how long a cluster may have had none for it.  Loads nothing of a study."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from varq.study.lost import ClusterLost

__all__ = ["Patience", "able"]

_Labels = tuple[tuple[str, float], ...]


def able(workers: Mapping[str, Any], labels: Iterable[tuple[str, float]]) -> list[str]:
    """The workers of which one alone has all labels.

    Args:
        workers: what a scheduler knows of each, by address.
        labels: with how many of each are taken.

    Example:
        >>> known = {"tcp://ada:1": {"resources": {"gpu": 1}}, "tcp://ada:2": {"resources": {"gpu": 2}}}
        >>> able(known, [("gpu", 2)])
        ['tcp://ada:2']
    """
    wanted = list(labels)
    return [
        worker
        for worker, facts in workers.items()
        if all(facts.get("resources", {}).get(name, 0) >= count for name, count in wanted)
    ]


class Patience:
    """Says what a cluster has no worker for, and gives it up after a time.

    Args:
        name: of the cluster, for people.
        seconds: without a worker after which it is given up; None for never.
    """

    def __init__(self, name: str, seconds: float | None) -> None:
        self._name = name
        self._seconds = seconds
        self._since: dict[_Labels, float] = {}
        self._said = ""

    def standing(self, workers: Mapping[str, Any], wanted: Collection[_Labels]) -> str:
        """What people should know; "" for nothing.

        Args:
            workers: what the scheduler knows of each, by address.
            wanted: the labels of what is under way.

        Raises:
            ClusterLost: if there was nobody for something for longer than the patience.
        """
        now = time.monotonic()
        lacking = sorted(labels for labels in {(), *wanted} if not able(workers, labels))
        self._since = {labels: self._since.get(labels, now) for labels in lacking}
        if not lacking:
            return ""
        for labels in lacking:
            if self._seconds is not None and now - self._since[labels] > self._seconds:
                raise ClusterLost(self._given_up(labels))
        if not lacking[0]:
            return f"{self._name} has no workers now; waiting for some."
        return f"{self._name} has no worker with {' and '.join(map(_told, lacking))} now; waiting for one."

    def _given_up(self, labels: _Labels) -> str:
        had = f"none with {_told(labels)}" if labels else "none"
        start = "one (dask worker --resources)" if labels else "some (dask worker, cluster.scale)"
        return (
            f"A cluster needs workers. {self._name} had {had} for {self._seconds:g} s. What was recorded is kept. "
            f"Start {start}, and finish the study again."
        )


def _told(labels: _Labels) -> str:
    return ", ".join(f"{name} ({count:g})" for name, count in labels)
