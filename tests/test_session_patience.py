"""A device that does not answer: how long it is waited for; and what other threads do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from harness import until
from session_service import AT_ONCE, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import OfflineError, TransientError
from varq.devices.service import JobResult, Limits
from varq.devices.several import Spread
from varq.protocol import Event, Stop
from varq.session import sending
from varq.session.dispatch import Dispatcher, Ticket
from varq.session.reporting import PULSE
from varq.session.retry import Retry
from varq.session.session import Session
from varq.testing.storms import Chain

pytestmark = pytest.mark.flagless

HOURS = Retry(attempts=3, first=1.0, longest=60.0, patience=7200.0)
SOON = 30.0  # seconds within which a thread on a busy machine has done what waits for nothing


class Waits:
    """A sleep that only notes how long it was to be."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.all.append(seconds)


def failing(call: str, error: Exception, tries: int) -> Scripted:
    return Scripted(script={(call, k): error for k in range(tries)})


def sent(sender: Dispatcher, *angles: float, owner: str = "a", **options: Any) -> Ticket:
    ticket = sender.add((owner, 0, "step"), [circuit(angle) for angle in angles], **options)
    assert isinstance(ticket, Ticket)
    return ticket


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("status", TransientError("no network")),
        ("result", TransientError("no network")),
        ("submit", OfflineError("under maintenance")),
        ("open", OfflineError("under maintenance")),
    ],
)
def test_an_hour_without_an_answer_loses_nothing(call: str, error: Exception) -> None:
    """Two minutes between tries at the most, so that more than thirty of them fail."""
    store, service, waits, said = store_of(), failing(call, error, 120), Waits(), list[str]()
    sender = dispatcher(service, store, retry=HOURS, sleep=waits, say=said.append)
    ticket = sent(sender, 0.1)
    assert sender.turn()
    np.testing.assert_array_equal(ticket.outcome()[0], bits_of(circuit(0.1)))
    assert (states(store), len(service.jobs)) == (["done"], 1)
    assert 3600 / 2 < sum(waits.all) < 7200, "waits of half a minute in the mean, with full jitter"
    assert max(waits.all) <= 60
    tries = [f"{error} Try 2 of 3 follows.", f"{error} Try 3 of 3 follows."]
    assert said == [*tries, f"{error} It is tried again for up to 2 hours, until it works."], "and then no more of it"


@pytest.mark.parametrize(("call", "left"), [("status", "sent"), ("submit", "unsent")])
def test_patience_has_an_end(call: str, left: str) -> None:
    store, service, waits = store_of(), failing(call, OfflineError("under maintenance"), 10_000), Waits()
    sender = dispatcher(service, store, retry=HOURS, sleep=waits)
    ticket = sent(sender, 0.1)
    assert sender.turn()
    with pytest.raises(OfflineError, match="under maintenance"):
        ticket.outcome()
    assert 7200 <= sum(waits.all) <= 7260
    assert states(store) == [left]


def test_what_was_not_sent_is_not_waited_for_without_a_reason() -> None:
    store, service, waits = store_of(), failing("submit", TransientError("no network"), 10_000), Waits()
    sender = dispatcher(service, store, retry=HOURS, sleep=waits)
    ticket = sent(sender, 0.1)
    assert sender.turn()
    assert isinstance(ticket.error, TransientError)
    assert service.calls.count("submit") == HOURS.attempts
    # Tries without waits between them are no hot loop.
    at_once = Retry(attempts=2, first=0.0, longest=0.0, patience=50.0)
    sender = dispatcher(failing("status", TransientError("no network"), 10_000), store_of(), retry=at_once, sleep=waits)
    waits.all.clear()
    sent(sender, 0.1)
    assert sender.turn()
    assert waits.all == [0.0, *[1.0] * 50]


def test_nobody_waits_for_a_device_that_is_offline_on_behalf_of_what_is_over() -> None:
    now = [0.0]
    for call, left in (("status", "sent"), ("submit", "unsent")):
        now[0] = 0.0
        store, service = store_of(), failing(call, OfflineError("under maintenance"), 10_000)
        clock: dict[str, Any] = {"clock": lambda: now[0], "sleep": lambda s: now.__setitem__(0, now[0] + s)}
        sender = dispatcher(service, store, retry=HOURS, **clock)
        sent(sender, 0.1, deadline=600.0)
        assert sender.turn()
        assert 600 < now[0] < 700
        assert states(store) == [left]


def test_a_spread_gives_what_is_offline_to_the_others() -> None:
    one, two = failing("submit", OfflineError("under maintenance"), 10_000), Scripted()
    one.name, two.name = "one", "two"
    retry = Retry(attempts=2, first=0.0, longest=0.0)
    with Session(Spread((one, two)), shots=20, store=None, progress=False, retry=retry) as session:
        tapes = [qml.tape.make_qscript(lambda a: (qml.RY(a, 0), qml.expval(qml.Z(0))))(0.1 * k) for k in range(4)]
        assert len(session.submit(tapes).result()) == 4
    assert (one.calls.count("submit"), len(two.circuits)) == (2, 4)


@pytest.mark.parametrize(
    ("given", "match"), [(-1, "patience must be at least 0"), (float("nan"), "patience must be finite")]
)
def test_patience_is_checked(given: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Retry(patience=given)


def test_ids_are_written_down_while_many_jobs_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(sending.time, "monotonic", lambda: now[0])
    store, seen = store_of(), list[list[str]]()

    def look(call: str, what: str) -> None:
        if call == "submit":
            now[0] += 0.4
            seen.append(states(store))

    sender = dispatcher(Scripted(Limits(circuits=1), look=look), store)
    ticket = sent(sender, *(0.1 * k for k in range(8)))
    assert sender.turn()
    assert [stands.count("sent") for stands in seen] == [0, 0, 0, 3, 3, 3, 6, 6], "each third is later than a second"
    assert ticket.finished
    assert states(store) == ["done"] * 8


# -- other threads


class Held(Scripted):
    """Gives no result before somebody lets it."""

    def __init__(self) -> None:
        super().__init__(Limits(circuits=2))
        self.asked, self.free = threading.Event(), threading.Event()

    def result(self, job: str) -> JobResult:
        self.asked.set()
        assert self.free.wait(SOON)
        return super().result(job)


def test_what_needs_no_answer_does_not_wait_for_one() -> None:
    service = Held()
    sender = dispatcher(service, store_of())
    first, dropped = sent(sender, 0.1, 0.2), sent(sender, 0.3, owner="b", priority=-1)
    acts: list[Callable[[], Any]] = [
        lambda: sender.estimate([circuit(0.4)]),
        lambda: sender.hold("b", True),
        lambda: sender.prioritize("b", 3),
        lambda: sender.drop("b"),
        lambda: sender.hold("c", True),
        lambda: sender.call_off("d"),
    ]
    with ThreadPoolExecutor(2) as pool:
        turn = pool.submit(sender.turn)
        try:
            assert service.asked.wait(SOON)
            for act in acts:
                pool.submit(act).result(SOON)
            later = pool.submit(sent, sender, 0.5, owner="e").result(SOON)
            assert not turn.done()
        finally:
            service.free.set()
        assert turn.result(SOON)
        assert sender.turn()
    assert first.outcome()
    assert later.outcome()
    assert not dropped.finished


def test_a_session_is_asked_from_another_thread_while_it_waits() -> None:
    service = Held()
    tape = qml.tape.make_qscript(lambda: (qml.RY(0.3, 0), qml.expval(qml.Z(0))))()
    with (
        Session(service, shots=20, store=None, progress=False, retry=AT_ONCE) as session,
        ThreadPoolExecutor(2) as pool,
    ):
        run = session.start(Chain(seed=1, stop=Stop(steps=3)))
        drain = pool.submit(session.drain)
        try:
            assert service.asked.wait(SOON)
            batch = pool.submit(session.submit, [tape]).result(SOON)
            pool.submit(session.pause, run).result(SOON)
            pool.submit(session.pause, run, False).result(SOON)
            assert pool.submit(session.forecast, Chain(seed=2, stop=Stop(steps=3))).result(SOON).circuits > 0
            pool.submit(session.cancel, run).result(SOON)
            assert not drain.done()
        finally:
            service.free.set()
        (result,) = drain.result(SOON)
        assert result.reason.value == "stopped"
        assert batch.done, "a session is drained with its batches"


def test_two_threads_that_wait_for_one_batch_both_have_it() -> None:
    service = Held()
    tape = qml.tape.make_qscript(lambda: (qml.RY(0.3, 0), qml.expval(qml.Z(0))))()
    with (
        Session(service, shots=20, store=None, progress=False, retry=AT_ONCE) as session,
        ThreadPoolExecutor(2) as pool,
    ):
        batch = session.submit([tape])
        both = [pool.submit(batch.result) for _ in range(2)]
        try:
            assert service.asked.wait(SOON)
        finally:
            service.free.set()
        first, second = (one.result(SOON) for one in both)
    assert first == second
    assert len(service.jobs) == 1


def test_a_button_holds_runs_back_and_lets_them_go_on() -> None:
    """Pause while jobs are out, one step, and on: the call that drains the session goes on through all of it."""
    steps: list[int] = []
    held = threading.Event()
    with (
        Session(Scripted(), shots=20, store=None, progress=False, retry=AT_ONCE) as session,
        ThreadPoolExecutor(1) as pool,
    ):

        def seen(event: Event) -> None:
            if event.kind == "step" and not event.replayed:
                steps.append(event.step)
            if event.kind == "step" and event.step == 2 and not held.is_set():
                session.desk.asked("pause")
                held.set()

        runs = [session.start(Chain(seed=seed, stop=Stop(steps=6))) for seed in (1, 2)]
        for run in runs:
            run.observe(seen)
        drain = pool.submit(session.drain)
        try:
            assert held.wait(SOON)
            until(lambda: all(lane.paused for lane in session.lanes) and not any(run._busy for run in runs))
            before = [run.steps for run in runs]
            time.sleep(2 * PULSE)
            assert (drain.done(), [run.steps for run in runs]) == (False, before)
            session.desk.asked("step")
            until(lambda: [run.steps for run in runs] == [k + 1 for k in before])
            time.sleep(2 * PULSE)
            assert (drain.done(), [run.steps for run in runs]) == (False, [k + 1 for k in before])
        finally:
            session.desk.asked("resume")
        assert [result.steps for result in drain.result(SOON)] == [6, 6]
        assert sorted(steps) == sorted([*range(1, 7), *range(1, 7)]), "no step is done twice"
