"""Sessions in a process of their own: detached, paused, killed, carried on, and what cannot be handed over."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest
from harness import PATIENCE, until
from session_samples import DEVICE, SHOTS, end_workers, steps_of, task

import varq
from varq.algorithms import VQE, Minimize
from varq.problems import TransverseFieldIsing
from varq.protocol import Event, Reason
from varq.session import handing
from varq.session import session as session_module
from varq.session.attached import attach
from varq.session.budget import Budget
from varq.session.orders import order
from varq.session.session import Session
from varq.session.terms import read_terms, written_terms
from varq.session.worker import enlisted, reopen
from varq.spec import canonical
from varq.store.job_records import SessionRecord
from varq.store.store import open_store

pytestmark = pytest.mark.flagless  # workers are processes of their own


@pytest.fixture(autouse=True)
def no_worker_left(tmp_path: Path) -> Iterator[None]:
    yield
    end_workers(tmp_path)


def undisturbed(folder: Path, *tasks: Any) -> tuple[list[Any], list[Event]]:
    """Results and events of the same specs in this process."""
    events: list[Event] = []
    with Session(DEVICE, shots=SHOTS, store=folder, progress=False, observers=[events.append]) as session:
        for one in tasks:
            session.start(one)
        return session.drain(), events


def told(events: list[Event]) -> list[tuple[Any, ...]]:
    """What must be the same of events, wherever they are seen."""
    found = [e for e in events if e.run_id and e.kind in ("start", "step", "end")]
    return [(e.run_id, e.kind, e.step, e.value, e.stderr, e.info.get("title"), e.reason) for e in found]


def by_run(rows: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    return {run: [row for row in rows if row[0] == run] for run in sorted({row[0] for row in rows})}


def test_a_detached_session_does_what_one_here_does(tmp_path: Path) -> None:
    tasks = [task(seed=1), task(steps=3, seed=2)]
    results, events = undisturbed(tmp_path / "here", *tasks)
    store = tmp_path / "there"
    session = Session(DEVICE, shots=SHOTS, store=store, progress=False, budget=Budget(shots=100_000, reserve=0.0))
    with session:
        session.start(tasks[0], priority=3)
        name = session.detach([tasks[1]])
        assert name == session.id
        with pytest.raises(RuntimeError, match="goes on in a process of its own"):
            session.start(task(seed=3))
    with attach(name, store=store) as attached:
        assert attached.state in ("starting", "running")
        assert attached.wait(PATIENCE) == "ended", handing.log_path(store, name).read_text()
        assert list(attached.runs) == [r.run_id for r in results]
        assert [attached.result(r.run_id).value for r in results] == [r.value for r in results]  # type: ignore[union-attr]
        seen = list(attached.events())
        assert by_run(told(seen)) == by_run(told(events))
        used = attached.standing()["used"]["shots"]
        assert used == [sum(line.shots for line in attached.ledger()), 100_000]
    log = handing.log_path(store, name)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "has ended" in log.read_text()


def test_a_budget_of_circuits_without_jobs_holds_when_another_process_goes_on(tmp_path: Path) -> None:
    """What exact runs used is in their journals alone, where what they did before they came to the session is, too."""
    exact = VQE(problem=TransverseFieldIsing(2), optimizer="adam", stop=varq.Stop(steps=30))
    before, first, limit = 2, 3, 7
    with Session(DEVICE, store=tmp_path, progress=False) as session:
        session.start(exact).step(before)
    with open_store(tmp_path) as store:
        opened = Session(DEVICE, store=store, progress=False, budget=Budget(circuits=limit, reserve=0.0))
        run = opened.start(exact)
        opened.desk.known = True
        opened.desk.begin([opened.adopt(run)])
        run.step(first + before)  # those of before are replayed
        opened.desk.leave()
        again = reopen(opened.id, store, progress=False)
        assert again.desk.account.spent.circuits == first
        (result,) = again.drain()
        assert again.desk.account.spent.circuits == limit
        again.close()
    assert (result.reason, result.steps) == (Reason.BUDGET, before + limit)


def test_a_run_handed_over_goes_by_its_last_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = VQE(problem=TransverseFieldIsing(2), optimizer="adam")
    monkeypatch.setattr(session_module, "hand_over", lambda desk, specs: None)
    with Session(DEVICE, store=tmp_path, progress=False) as session:
        name = session.start(exact, stop=varq.Stop(steps=2)).id
        session.start(exact)
        session.detach()
        assert session.store.find(name).rule == "null"


def went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand sessions over to nobody."""
    monkeypatch.setattr(handing, "launch", lambda store, folder, session: 0)


@pytest.mark.parametrize("begin", ["drain", "submit", "verify", "step"])
def test_no_run_is_lost_of_a_session_that_had_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    went_on(monkeypatch)
    with Session(DEVICE, shots=SHOTS, store=tmp_path, progress=False) as session:
        first = session.start(task(seed=1, steps=2), verify=begin == "verify")
        if begin == "drain":
            session.drain()
        elif begin == "step":
            first.step()
        elif begin == "submit":
            session.submit([qml.tape.make_qscript(lambda: qml.expval(qml.Z(0)))()]).result()
        session.detach([task(seed=2, steps=2)])
        second = task(seed=2, steps=2).resolve(DEVICE, SHOTS)
    with open_store(tmp_path) as store:
        again = reopen(session.id, store, progress=False)
        left = {lane.run.spec for lane in again.lanes}
        assert second in left
        assert len(left) == (1 if begin == "drain" else 2)
        again.desk.leave()


@pytest.mark.parametrize("written", [False, True])
def test_what_was_asked_here_binds_the_process_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    went_on(monkeypatch)
    with Session(DEVICE, shots=SHOTS, store=tmp_path, progress=False) as session:
        first, second, third, fourth = (session.start(task(seed=seed, steps=2)) for seed in range(4))
        if written:
            session.start(task(seed=9, steps=1))
            session.desk.known = True
            session.desk.begin(session.lanes)
        session.cancel(first)
        session.pause(second)
        session.pause(third)
        session.pause(third, paused=False)
        session.cancel(fourth)
        assert fourth.finish().reason is Reason.STOPPED
        fourth.step()  # somebody wants it after all
        session.detach()
    with open_store(tmp_path) as store:
        again = reopen(session.id, store, progress=False)
        left = {lane.run.id: lane.paused for lane in again.lanes}
        again.desk.leave()
    assert first.id not in left
    assert {name: left[name] for name in (second.id, third.id, fourth.id)} == {
        second.id: True,
        third.id: False,
        fourth.id: False,
    }


def test_a_button_that_holds_all_runs_back_is_noted(tmp_path: Path) -> None:
    with Session(DEVICE, shots=SHOTS, store=tmp_path, progress=False) as session:
        session.start(task(steps=2))
        session.desk.known = True
        session.desk.begin(session.lanes)
        session.desk.asked("pause")
        assert [body["paused"] for body in enlisted(session.store, session.id)] == [True]
        session.desk.asked("resume")
        assert [body["paused"] for body in enlisted(session.store, session.id)] == [False]


def test_a_session_goes_on_without_the_runs_that_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    went_on(monkeypatch)
    with Session(DEVICE, shots=SHOTS, store=tmp_path, progress=False) as session:
        gone, kept = (session.start(task(seed=seed, steps=2)).id for seed in (1, 2))
        session.detach()
    with open_store(tmp_path) as store:
        store.remove([gone])
        again = reopen(session.id, store, progress=False)
        assert [lane.run.id for lane in again.lanes] == [kept]
        assert f"run {gone} was removed from the store" in caplog.text
        again.desk.leave()


def test_a_worker_is_held_back_killed_and_carried_on(tmp_path: Path) -> None:
    results, events = undisturbed(tmp_path / "here", task(seed=4))
    store = tmp_path / "there"
    with Session(DEVICE, shots=SHOTS, store=store, progress=False) as session:
        name = session.detach([task(seed=4)])
    with attach(name[8:], store=store) as attached:
        attached.pause()  # before it has begun: nothing is lost that was asked
        until(lambda: attached.state == "running")
        attached.step(results[0].run_id[:6])
        until(lambda: list(steps_of(attached).values()) == [1])
        with open_store(store, read_only=True) as opened:
            holder = opened.jobs.owner(name)
        assert holder is not None
        os.kill(holder.pid, signal.SIGKILL)
        until(lambda: attached.state == "left")
        assert f"varq worker {name} --store {store} --detach" in attached.said()
        with pytest.raises(RuntimeError, match=r"Commands are for a session that somebody owns.*go on with: varq"):
            attached.resume()
        attached.restart()
        with pytest.raises(RuntimeError, match="one owner at a time"):
            attached.restart()
        until(lambda: attached.state == "running")
        assert list(steps_of(attached).values()) == [1], "it was held back, and still is"
        attached.resume()
        assert attached.wait(PATIENCE) == "ended"
        assert attached.result(results[0].run_id).value == results[0].value  # type: ignore[union-attr]
        assert told(list(attached.events())) == told(events)


def test_runs_are_cancelled_and_workers_ended(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Session(DEVICE, shots=SHOTS, store=store, progress=False) as session:
        ids = [session.start(task(seed=seed)).id for seed in (5, 6)]
        name = session.detach()
    with attach(name, store=store) as attached:
        attached.pause()
        attached.prioritize(ids[1], 7)
        attached.cancel(ids[0])
        until(lambda: attached.result(ids[0]) is not None)
        with open_store(store, read_only=True) as opened:
            (left,) = enlisted(opened, name)
            holder = opened.jobs.owner(name)
        assert (left["run"], left["priority"], left["paused"]) == (ids[1], 7, True)
        assert holder is not None
        os.kill(holder.pid, signal.SIGTERM)
        assert attached.wait(PATIENCE) == "left"
        (note,) = [e for e in attached.events() if e.kind == "note"]
        assert "go on with: varq worker" in note.info["message"]
        attached.restart()
        attached.stop()
        assert attached.wait(PATIENCE) == "ended"
        assert {attached.result(run).reason for run in ids} == {varq.Reason.STOPPED}  # type: ignore[union-attr]


def test_an_error_ends_the_session_and_is_told(tmp_path: Path) -> None:
    store = tmp_path / "store"
    budget = Budget(cost=1.0)  # of a device whose price nobody knows
    with Session("reference.qubit", shots=SHOTS, budget=budget, store=store, progress=False) as session:
        name = session.detach([task(seed=7)])
    with attach(name, store=store) as attached:
        assert attached.wait(PATIENCE) == "broken"
        assert "was ended by an error" in attached.said()
        notes = [e.info["message"] for e in attached.events() if e.kind == "note"]
    assert any("needs the device's price" in text for text in notes)
    assert "needs the device's price" in handing.log_path(store, name).read_text()


# -- what cannot be handed over ---------------------------------------------------------------------------------------


def square(x: Any) -> Any:
    return (x**2).sum()


def test_what_no_other_process_can_make_is_refused(tmp_path: Path) -> None:
    with Session(store=tmp_path, progress=False) as session:
        with pytest.raises(ValueError, match=r"must be data.*holds a function.*session\.drain\(\)"):
            session.detach([Minimize(square, [1.0])])
        assert not session.desk.left, "it can go on here"
        assert session.drain()[0].value == pytest.approx(0, abs=1e-6)
    with Session(store=None, progress=False) as session, pytest.raises(ValueError, match="needs a store on disk"):
        session.detach([task()])
    device = qml.device("default.qubit", wires=2)
    refused = pytest.raises(ValueError, match=r"needs a device by name.*varq\.device")
    with Session(device, shots=9, store=tmp_path, progress=False) as session, refused:
        session.detach()


def test_terms_come_back_as_they_were() -> None:
    budget, retry = Budget(shots=9, cost=1.5, reserve=0.2), varq.Retry(attempts=2)
    device = varq.device("ibm.fake_torino", layout=(3, 4), mode="batch")
    prices = {"own.machine": {"per_shot": 0.5, "dated": "2026", "source": "us"}}
    with Session(device, budget=budget, retry=retry, on_error="continue", prices=prices, store=None) as session:
        found = read_terms(json.loads(canonical(session.desk.terms)))
    assert (found["device"], found["budget"], found["retry"]) == (device, budget, retry)
    assert found["on_error"] == "continue"
    assert found["prices"]["own.machine"]["per_shot"] == 0.5
    with pytest.raises(ValueError, match=r"Got an object of type builtins\.object"):
        read_terms(json.loads(canonical(written_terms(object(), budget))))


def test_a_launch_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "_BACKGROUND", "echo no room >&2; exit 3")
    with open_store(tmp_path) as store:
        store.jobs.open(SessionRecord("session-1f", 1.75e9, "ada", "varq.qubit"))
        with pytest.raises(OSError, match="could not be started: no room"):
            handing.launch(store, tmp_path, "session-1f")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("explode",), "do must be one of"),
        (("pause", ""), "run must"),
        (("pause", "1f2e", 3), "A priority goes with the order 'priority'"),
        (("priority", "1f2e"), "A priority goes with the order 'priority'"),
    ],
)
def test_orders_are_checked(words: tuple[Any, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        order(*words)
