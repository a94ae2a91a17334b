"""A session's events as its store tells them: what its owner noted, steps that it had no time to note, jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from varq.protocol import Event
from varq.session.reporting import EVENTS, RUN, event_of
from varq.store.job_records import NEXT, JobRecord
from varq.store.store import Store

__all__ = ["Follower"]


class Follower:
    """Reads on where it left off.

    Args:
        store: where the session is; it is only read.
        session: its id.
    """

    def __init__(self, store: Store, session: str) -> None:
        self.titles: dict[str, str] = {}
        self.standing: Mapping[str, Any] = {}
        self._store = store
        self._session = session
        self._last = -1
        self._told: dict[str, dict[str, Any]] = {}  # what the first event of each run told
        self._steps: dict[str, int] = {}
        self._first_open = 0  # number of the first job that can still change
        self._states: dict[str, tuple[Any, ...]] = {}

    def look(self) -> list[Event]:
        """What has happened since the last look, in order; a step that was replayed is told once."""
        out = []
        for note in self._store.jobs.notes(self._session, self._last):
            self._last = note.number
            if note.kind == RUN:
                self.titles.setdefault(note.body["run"], note.body["title"])
            elif note.kind == EVENTS:
                self.standing = note.body["standing"]
                out += [event for entry in note.body["events"] if (event := self._event(entry)) is not None]
        return [*out, *self._jobs()]

    def _event(self, entry: Mapping[str, Any]) -> Event | None:
        name = entry.get("run", "")
        told = self._told.setdefault(name, {})
        event = event_of(entry, told)
        if event.kind == "start":
            if told:
                return None  # by a process that goes on with it
            told.update(event.info)
            self.titles.setdefault(name, str(event.info.get("title", name)))
        if event.kind == "step":
            if event.step <= self._steps.get(name, 0):
                return None
            self._steps[name] = event.step
        return event

    def _jobs(self) -> Iterator[Event]:
        found = self._store.jobs.since(self._session, self._first_open)
        for job in found:
            mark = (job.state, job.provider_id)
            if self._states.get(job.id) != mark:
                self._states[job.id] = mark
                yield _job_event(job)
        still = [job.number for job in found if NEXT[job.state]]
        self._first_open = min(still, default=1 + max((job.number for job in found), default=self._first_open - 1))
        for job in found:
            if job.number < self._first_open:
                self._states.pop(job.id, None)

    def rest(self) -> list[Event]:
        """The steps that are recorded and were not noted: their process was killed in between."""
        out = []
        for name in self.titles:
            told = self._told.get(name, {})
            for row in self._store.rows(name, self._steps.get(name, 0)):
                if row.role != "step":
                    continue
                self._steps[name] = row.step + 1
                info: dict[str, Any] = {key: told[key] for key in ("title", "unit") if key in told}
                out.append(Event(name, "step", row.step + 1, row.value, row.stderr, info, seconds=row.seconds))
        return out


def _job_event(job: JobRecord) -> Event:
    shown = ("device", "circuits", "shots", "created", "finished", "queued", "seconds", "cost", "attempts")
    told = {name: getattr(job, name) for name in (*shown, "provider_id", "error")}
    info = {"job": job.id, "state": job.state.value, **{k: v for k, v in told.items() if v is not None}}
    return Event("", "job", job.number, info=info)
