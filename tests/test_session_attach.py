"""Sessions seen from outside: every event, by several viewers, that change nothing and may be killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import PATIENCE, until
from session_samples import DEVICE, SHOTS, Metered, task

from varq.protocol import Event
from varq.session import handing
from varq.session import ledger as ledgers
from varq.session.attached import Attached, attach
from varq.session.ledger import PHASES, Ledger, Times
from varq.session.reporting import event_of
from varq.session.session import Session
from varq.session.worker import reopen
from varq.store.circuit_records import CircuitRow
from varq.store.job_records import JobRecord, SessionState
from varq.store.store import open_store

pytestmark = pytest.mark.flagless  # nothing here depends on JAX's flag

VIEWER = """
import sys
from varq.session.attached import attach
for event in attach(sys.argv[1], store=sys.argv[2]).events():
    print(event.kind, flush=True)
"""


def opened(folder: Path | None, events: list[Event] | None = None, **options: Any) -> Session:
    observers = [] if events is None else [events.append]
    given = {"shots": SHOTS, "store": folder, "progress": False, "observers": observers, **options}
    return Session(given.pop("device", DEVICE), **given)


def shown(events: list[Event]) -> list[tuple[Any, ...]]:
    """Everything of events but arrays, which no note holds."""
    plain = (bool, int, float, str, type(None))
    return [
        (
            *(e.run_id, e.kind, e.step, e.value, e.stderr, e.seconds, e.replayed, e.reason, dict(e.tracked)),
            sorted((k, v) for k, v in e.info.items() if isinstance(v, plain)),
        )
        for e in events
        if e.kind != "job"
    ]


def test_viewers_see_every_event_of_a_session_that_goes_on(tmp_path: Path) -> None:
    events: list[Event] = []
    seen: list[list[Event]] = [[], []]
    with opened(tmp_path, events) as session:
        session.start(task(seed=1))
        session.start(task(seed=2, steps=3))
        session.desk.known = True
        session.desk.write()
        viewers = [
            threading.Thread(target=lambda out=out: out.extend(attach(session.id, store=tmp_path).events()))
            for out in seen
        ]
        for viewer in viewers:
            viewer.start()
        session.drain()
        session.run(task(seed=3, steps=2))
    for viewer in viewers:
        viewer.join(PATIENCE)
    for found in seen:
        assert shown(found) == shown(events)
        jobs = [e.info for e in found if e.kind == "job"]
        assert {e["job"] for e in jobs if e["state"] == "done"} == {line.job for line in session.ledger()}


def test_a_viewer_that_is_killed_harms_nothing(tmp_path: Path) -> None:
    with opened(None) as session:
        expected = session.run(task(seed=4))
    with opened(tmp_path) as session:
        run = session.start(task(seed=4))
        session.desk.known = True
        session.desk.begin([session.adopt(run)])
        run.step()
        words = [sys.executable, "-c", VIEWER, session.id, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as viewer:
            assert viewer.stdout is not None
            assert viewer.stdout.readline() == "start\n"
            run.step()
            os.kill(viewer.pid, signal.SIGKILL)
        (result,) = session.drain()
    assert result.value == expected.value
    with open_store(tmp_path, read_only=True) as store:
        assert store.verify() == []


def dump(folder: Path) -> list[str]:
    (file,) = folder.glob("*.sqlite")
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return list(db.iterdump())


def test_looking_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        (result,) = [session.run(task(seed=5))]
    before = dump(tmp_path)
    with attach(session.id, store=tmp_path) as attached:
        assert list(attached.events())
        assert attached.runs == {result.run_id: result.title}
        assert attached.standing()["used"]["shots"][0] == sum(line.shots for line in attached.ledger())
        assert attached.wait() == attached.state == "ended"
        assert attached.result(result.run_id[:5]).value == result.value  # type: ignore[union-attr]
        assert "ended" in repr(attached)
    assert dump(tmp_path) == before


def test_steps_that_were_not_noted_are_told_from_the_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        run = session.start(task(seed=6))
        session.desk.begin([session.adopt(run)])
        run.step()
        session.desk.reporter.flush()
        session.desk.reporter.on = False  # as if the process were killed before it could note the next
        run.step(2)
        session.desk.leave()
        rows = session.store.rows(run.id)
        with attach(session.id, store=tmp_path) as attached:
            assert attached.state == "left"
            steps = [e for e in attached.events() if e.kind == "step"]
    assert [(e.step, e.value) for e in steps[1:]] == [(row.step + 1, row.value) for row in rows[1:3]]
    assert [e.step for e in steps] == [1, 2, 3]


def test_commands_reach_a_session_in_another_process_s_hands(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        first, second = session.start(task(seed=7, steps=500)), session.start(task(seed=8, steps=3))
        session.desk.known = True
        session.desk.begin([session.adopt(run) for run in (first, second)])
        with attach(session.id, store=tmp_path) as attached:
            attached.pause(first.id)
            session.drain()
            assert (first.done, first.steps, second.done) == (False, 0, True)
            assert [lane.paused for lane in session.lanes] == [True]
            attached.step(first.id)
            until(lambda: not session.desk.wait(0.3) and bool(session.drain() or True) and first.steps == 1)
            assert [lane.paused for lane in session.lanes] == [True]
            attached.cancel(first.id)
            session.desk.wait(0.3)
            (result,) = session.drain()
    assert result.reason.value == "stopped"
    assert first.steps == 1


def test_who_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.run(task(seed=9))
    with attach(session.id[:12], store=tmp_path) as attached:
        with pytest.raises(LookupError, match="A run is named by its id, or a beginning that fits one"):
            attached.cancel("ffff")
        with pytest.raises(RuntimeError, match="is ended"):
            attached.stop()
        with pytest.raises(TypeError, match="block must be True or False"):
            attached.show(block="no")  # type: ignore[arg-type]
    with pytest.raises(LookupError, match="There is no session 'none-such'"):
        attach("none-such", store=tmp_path)
    with open_store(None) as store, pytest.raises(ValueError, match="Got a store in memory"):
        attach("session-1f", store=store)
    with pytest.raises(TypeError, match="store must be of type"):
        attach("session-1f", store=3)  # type: ignore[arg-type]


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.desk.write()
        with attach(session.id, store=tmp_path) as attached:
            assert attached.state == "running"
            with pytest.raises(TimeoutError, match=r"was to end within 0.1 s. It is running"):
                attached.wait(0.1)
            session.store.jobs.set_state(session.id, SessionState.BROKEN)
            assert attached.show() == "broken"


def silent(folder: Path, host: str | None, seconds: float) -> str:
    """A session whose owner lived before a reboot of this host, or on another one, and was last heard of then."""
    with opened(folder) as session:
        session.start(task(seed=8))
        session.desk.write()
        session.desk.begin(session.lanes)
        session.desk.leave()
        name, here = session.id, session.store.host
    with closing(sqlite3.connect(folder / f"{here}.sqlite")) as db:
        mark = "released = 0, process = 'boot-before/1/77', token = 'gone', host = ?, heartbeat = heartbeat - ?"
        db.execute(f"UPDATE leases SET {mark} WHERE run = ?", (host or here, seconds, name))
        db.commit()
    return name


def test_an_owner_that_lived_before_a_reboot_is_gone(tmp_path: Path) -> None:
    name = silent(tmp_path, None, 61)
    with open_store(tmp_path) as store:
        job = JobRecord("varq-00001111", name, 0, DEVICE, circuits=1, shots=SHOTS, created=1.75e9, paid=True)
        store.jobs.write([job], [CircuitRow(job.id, 0, "0" * 64, SHOTS, 7, (("a run", 0, "step", 0),))])
        store.jobs.mark(job.id, "uncertain")
    with attach(name, store=tmp_path) as attached:
        assert f"varq settle {job.id} --id ID (as its vendor shows it) or --lost" in attached.said()
        assert attached.wait(PATIENCE) == attached.show() == "left"
        assert f"varq worker {name} --store {tmp_path} --detach" in attached.said()
    with open_store(tmp_path) as store:
        reopen(name, store, progress=False).close()


def test_an_owner_on_another_host_that_is_silent_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attach(silent(tmp_path / "fresh", "elsewhere", 50), store=tmp_path / "fresh") as attached:
        assert attached.state == "running"
    name = silent(tmp_path / "late", "elsewhere", 61)
    launched: list[bool] = []
    monkeypatch.setattr(handing, "launch", lambda *args, take_over: launched.append(take_over))
    with attach(name, store=tmp_path / "late") as attached:
        assert attached.wait(PATIENCE) == "no sign of life"
        assert list(attached.events()) == []
        silence = "pid .* on host elsewhere, has shown no sign of life for 6. s.* --take-over --detach"
        with pytest.raises(RuntimeError, match=f"Commands are for a session that somebody owns.*{silence}"):
            attached.stop()
        attached.restart()
        assert launched == [True]
        with open_store(tmp_path / "late") as store:
            again = reopen(name, store, take_over=True, progress=False)
            assert attached.state == "running"
            assert [lane.run.done for lane in again.lanes] == [False]
            again.close()
        assert attached.state == "ended"


def test_an_event_comes_back_as_it_was() -> None:
    entry = {"run": "1f", "kind": "step", "step": 3, "value": "nan", "info": {"rate": "inf", "word": "so"}, "at": 1.0}
    event = event_of(entry, {"title": "H2", "unit": "Ha", "reference": -1.0})
    assert event.value != event.value
    assert dict(event.info) == {"title": "H2", "unit": "Ha", "rate": float("inf"), "word": "so"}


# -- the ledger ------------------------------------------------------------------------------------------------------

BUSY, FETCHING = 0.05, 0.03  # seconds


def test_the_ledger_says_where_time_went(tmp_path: Path) -> None:
    with opened(tmp_path, device=Metered(BUSY, FETCHING)) as session:
        for seed in (1, 2):
            session.start(task(seed=seed, steps=2))
        session.drain()
        live = session.ledger()
    ledger = session.ledger()
    assert ledger == live
    assert [line.number for line in ledger] == list(range(len(ledger)))
    for line in ledger:
        assert line.times.qpu == BUSY
        assert line.times.read is not None
        assert line.times.read >= FETCHING
        assert line.times.queue is not None
        assert all(getattr(line.times, phase) > 0 for phase in ("prepare", "decode", "classical"))
        assert len(line.owners) == 2, "the two runs travelled together"
    assert [run.steps for run in ledger.runs] == [2, 2]
    for run in ledger.runs:
        ends = [span.began + span.seconds for span in run.spans]
        wall = max(ends) - min(span.began for span in run.spans)
        assert run.jobs == len(ledger)
        # Phases of one run follow one another; clocks of wall time and of durations differ by less than this.
        assert run.times.total <= wall * 1.001 + 0.005
        assert run.times.total >= len(ledger) * (BUSY + FETCHING)
    assert ledger.total.qpu == pytest.approx(BUSY * len(ledger))
    for run in ledger.runs:
        # Two steps and the last estimate, each a job that took the device as long as it says.
        assert [(one.step, one.role) for one in run.by_step] == [(0, "step"), (1, "step"), (2, "final")]
        for one in run.by_step:
            assert one.times.qpu == pytest.approx(BUSY)
            assert all(getattr(one.times, phase) > 0 for phase in ("prepare", "queue", "read", "decode", "classical"))
        for phase in PHASES:
            assert getattr(run.times, phase) == pytest.approx(sum(getattr(o.times, phase) for o in run.by_step)), phase


def test_runs_without_jobs_have_times_too(tmp_path: Path) -> None:
    with opened(tmp_path, shots=None) as session:
        session.run(task(seed=3, steps=2))
        ledger = session.ledger()
    assert len(ledger) == 0
    (run,) = ledger.runs
    assert run.times.qpu is not None
    assert run.times.qpu > 0
    assert run.times.queue is None
    assert ledger.total.qpu == run.times.qpu


def test_a_ledger_outlives_its_session_in_memory_and_as_another_object() -> None:
    with opened(None) as session:
        session.run(task(seed=4, steps=1))
    ledger = session.ledger()
    assert len(ledger) > 0
    assert isinstance(ledger, Ledger)
    assert ledger[0].circuits == ledger[:1][0].circuits
    assert hash(ledger) == hash(session.ledger())
    assert ledger != 3
    assert repr(ledger).endswith("jobs of 1 run>")
    assert tuple(Times.__dataclass_fields__) == ledgers.PHASES


def test_a_session_that_did_nothing_is_not_in_the_store(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        assert session.forecast(task()).circuits > 0
        assert session.ledger() == []
    with open_store(tmp_path, read_only=True) as store:
        assert store.jobs.sessions() == []


def test_attached_is_a_public_name() -> None:
    import varq

    assert varq.attach is attach
    assert Attached.__doc__ is not None
