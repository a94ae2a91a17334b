"""How jobs stand that were sent and are not back yet: as their vendor said when it was last asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from varq.devices.service import Circuit, JobStatus, Service

__all__ = ["UnderWay"]


class UnderWay:
    """The jobs of a session's devices that are under way; several threads may look."""

    def __init__(self) -> None:
        self._stands: dict[tuple[int, str], JobStatus] = {}
        self.changed: Callable[[], None] = lambda: None

    def noting(self, service: Service) -> Service:
        """A device of which is noted what it says of its jobs."""
        return cast(Service, _Noted(service, self))

    def note(self, place: tuple[int, str], status: JobStatus) -> None:
        """How a job stands now; one that has ended is forgotten."""
        if self._stands.get(place) is status or (status.final and place not in self._stands):
            return
        if status.final:
            self._stands.pop(place, None)
        else:
            self._stands[place] = status
        self.changed()

    def count(self) -> dict[str, int]:
        """How many jobs there are, by how they stand; none of those that have ended."""
        return dict(sorted(Counter(status.value for status in list(self._stands.values())).items()))


class _Noted:
    """Has whatever the device has."""

    def __init__(self, service: Service, under_way: UnderWay) -> None:
        self._service = service
        self._under_way = under_way

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Send a job: it is created then."""
        job = self._service.submit(circuits, tag)
        self._under_way.note((id(self), job), JobStatus.CREATED)
        return job

    def status(self, job: str) -> JobStatus:
        """Where the job stands."""
        try:
            found = self._service.status(job)
        except Exception:  # nobody asks for it again, or it is noted when somebody does
            self._under_way.note((id(self), job), JobStatus.FAILED)
            raise
        self._under_way.note((id(self), job), found)
        return found
