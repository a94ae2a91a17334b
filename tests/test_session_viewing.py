"""What a person sees of a session: the table with its budget and its jobs, for one run as for several."""

from __future__ import annotations

from typing import Any

import pytest
from session_samples import task
from session_service import AT_ONCE, Scripted

import varq
from varq import Session, names
from varq.devices.faults import TransientError
from varq.devices.service import JobStatus, Limits
from varq.session.under_way import UnderWay

pytestmark = pytest.mark.flagless


class Screen:
    """Stands for the line of one run, which hands on what happens, and for the table: keeps what that could show."""

    def __init__(self) -> None:
        self.opened: list[bool] = []
        self.jobs: list[dict[str, int]] = []
        self.busy = False

    def table(self, session: str, standing: Any, ask: Any = None) -> Screen:
        self.opened.append(ask is not None)
        self.standing = standing
        return self

    def look(self) -> None:
        self.jobs.append(self.standing()["jobs"])

    def through(self, other: Screen) -> Screen:
        return other

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self.standing = dict

    def __call__(self, event: Any) -> None:
        """Nothing is painted."""

    def close(self) -> None:
        """Nothing is left."""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    found, find = Screen(), names.find
    made = {"session": found.table, "progress": lambda: found}
    monkeypatch.setattr(names, "find", lambda kind, name: made[name] if kind == "display" else find(kind, name))
    return found


class Waiting(Scripted):
    """A device whose jobs wait before they run."""

    name = "default.qubit"  # whose samples follow a seed

    def status(self, job: str) -> JobStatus:
        super().status(job)
        stands = (JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.RUNNING)
        return stands[self.calls.count("status") - 1] if self.calls.count("status") <= 3 else JobStatus.DONE


def test_jobs_are_seen_to_wait_and_to_run(screen: Screen) -> None:
    with Session(Waiting(), shots=5, store=None, retry=AT_ONCE) as session:
        session.run(task(steps=1))
        assert session.desk.standing()["jobs"] == {}
    assert screen.jobs[:4] == [{"created": 1}, {"queued": 1}, {"running": 1}, {}]


@pytest.mark.parametrize(
    ("shots", "budget", "shown"),
    [(None, None, False), (5, None, True), (None, varq.Budget(circuits=1000), True)],
    ids=["neither", "jobs", "budget"],
)
def test_one_run_with_jobs_or_a_budget_has_the_table(
    screen: Screen, shots: int | None, budget: varq.Budget | None, shown: bool
) -> None:
    """Buttons are only where runs wait for them: where they are drained."""
    with Session("default.qubit", shots=shots, budget=budget, store=None) as session:
        session.run(task(steps=1))
        assert screen.opened == [False] * shown
        session.start(task(steps=1, seed=1))
        session.drain()
        assert screen.opened == [False, True] * shown
        session.run(task(steps=1))  # which is done already
        screen.busy = True  # a run that is stepped by hand has its line, and keeps it
        session.run(task(steps=1, seed=2))
    assert screen.opened == [False, True] * shown


def test_a_job_that_cannot_be_asked_for_is_not_under_way() -> None:
    under_way, stands = UnderWay(), []
    under_way.changed = lambda: stands.append(under_way.count())
    device = under_way.noting(Scripted(Limits(circuits=3), script={("status", 0): TransientError("503")}))
    assert (device.name, device.limits.circuits, device.find("tag")) == ("scripted", 3, None)
    job = device.submit([], "tag")
    with pytest.raises(TransientError, match="503"):
        device.status(job)
    assert device.status(job) is JobStatus.DONE
    assert stands == [{"created": 1}, {}]
