"""Jobs that nobody waits for any more are called back at their vendor; what others wait for stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from session_service import AT_ONCE, SESSION, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import PartialError, PermanentError, TransientError
from varq.devices.service import JobStatus, Limits
from varq.devices.several import Spread
from varq.protocol import Event, Reason, Stop
from varq.session.budget import Budget
from varq.session.desk import Desk
from varq.session.dispatch import Dispatcher, Ticket
from varq.session.sending import RecalledError
from varq.session.session import Session
from varq.store.faults import StoreError
from varq.store.job_records import SessionState
from varq.store.store import Store, open_store
from varq.testing.storms import Chain

pytestmark = [pytest.mark.flagless, pytest.mark.filterwarnings("ignore:varq cannot set the random seed")]


class Slow(Scripted):
    """Has each job wait, or run, until somebody cancels it or it was asked for so often."""

    def __init__(self, stands: JobStatus = JobStatus.QUEUED, looks: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.cancels = True
        self.stands = stands
        self.looks = looks

    def status(self, job: str) -> JobStatus:
        found = super().status(job)
        return self.stands if found is JobStatus.DONE and self.calls.count("status") <= self.looks else found


def asked(sender: Dispatcher, owner: str, *angles: float, **options: Any) -> Ticket:
    ticket = sender.add((owner, 0, "step"), [circuit(angle) for angle in angles], **options)
    assert isinstance(ticket, Ticket)
    return ticket


def waiting(service: Slow, act: Callable[[Dispatcher], Any], store: Store, **options: Any) -> Dispatcher:
    """A dispatcher that does something while it waits for a job."""
    sender = dispatcher(service, store, sleep=lambda seconds: act(sender), **options)
    return sender


@pytest.mark.parametrize(("stands", "shots"), [(JobStatus.QUEUED, 0), (JobStatus.RUNNING, 10)])
def test_a_job_that_nobody_waits_for_is_called_back(stands: JobStatus, shots: int) -> None:
    store, service = store_of(), Slow(stands)
    sender = waiting(service, lambda s: s.call_off("a"), store, budget=Budget(shots=20, reserve=0))
    ticket = asked(sender, "a", 0.1)
    assert sender.turn()
    with pytest.raises(
        RecalledError, match=r"Nobody waited any more for job job 0 on scripted, and it was called back"
    ):
        ticket.outcome()
    assert (states(store), service.calls.count("cancel")) == (["cancelled"], 1)
    assert store.jobs.spent(SESSION).shots == sender._account.spent.shots == shots, "what had begun may be charged"
    service.looks = 0
    again = asked(sender, "a", 0.1)
    assert sender.turn()
    np.testing.assert_array_equal(again.outcome()[0], bits_of(circuit(0.1)))
    assert states(store) == ["cancelled", "done"]
    assert store.jobs.spent(SESSION).shots == sender._account.spent.shots == shots + 10


def test_a_job_that_another_run_waits_for_stays_until_that_ends_too() -> None:
    store, service = store_of(), Slow()
    sender = waiting(service, lambda s: s.call_off("a"), store)
    lone, other = asked(sender, "a", 0.1), asked(sender, "b", 0.1)
    assert sender.turn()
    assert "cancel" not in service.calls
    np.testing.assert_array_equal(other.outcome(), lone.outcome())
    sender = waiting(Slow(), lambda s: [s.call_off(owner) for owner in "ab"], store_of())
    tickets = asked(sender, "a", 0.1), asked(sender, "b", 0.1)
    assert sender.turn()
    assert [type(ticket.error) for ticket in tickets] == [RecalledError, RecalledError]


def test_of_several_jobs_those_that_nobody_waits_for_are_called_back_at_once() -> None:
    store, service = store_of(), Slow(limits=Limits(circuits=1), looks=4)
    sender = waiting(service, lambda s: s.call_off("b"), store)
    first, other = asked(sender, "a", 0.1), asked(sender, "b", 0.2)
    assert sender.turn()
    assert first.outcome()
    assert isinstance(other.error, RecalledError)
    assert states(store) == ["done", "cancelled"]
    assert service.calls.index("cancel") < service.calls.index("result"), "while the first still waits"


@pytest.mark.parametrize("refusal", [None, PermanentError("no"), TransientError("503")])
def test_a_job_that_cannot_be_called_back_is_waited_for_and_kept(refusal: Exception | None) -> None:
    store, service = store_of(), Slow()
    service.cancels = False
    service.script = {} if refusal is None else {("cancel", k): refusal for k in range(9)}
    said: list[str] = []
    sender = waiting(service, lambda s: s.call_off("a"), store, say=said.append)
    ticket = asked(sender, "a", 0.1)
    assert sender.turn()
    assert (states(store), store.jobs.spent(SESSION).shots) == (["done"], 10)
    assert ticket.outcome(), "it is paid for, and nobody has to pay for it again"
    assert service.calls.count("cancel") == (AT_ONCE.attempts if isinstance(refusal, TransientError) else 1)
    assert any("could not be called back" in text for text in said) is (refusal is not None)


def test_a_job_is_called_back_when_its_deadline_has_passed() -> None:
    now = [100.0]
    service, store = Slow(), store_of()
    options: dict[str, Any] = {"clock": lambda: now[0], "sleep": lambda seconds: now.__setitem__(0, now[0] + 1)}
    sender = dispatcher(service, store, **options)
    ticket = asked(sender, "a", 0.1, deadline=101.5)
    assert sender.turn()
    assert isinstance(ticket.error, RecalledError)
    # What an earlier process sent is called back as well, but not where it serves somebody else too.
    service.looks = 99
    for owner, other in (("b", "b"), ("c", "d")):
        crashed = dispatcher(service, store)
        for one in dict.fromkeys((owner, other)):
            asked(crashed, one, 0.2)
        crashed.launch()
    sender = dispatcher(service, store, **options)
    with pytest.raises(RecalledError, match="it was called back"):
        asked(sender, "b", 0.2, deadline=now[0] + 1.5)
    service.looks = service.calls.count("status") + 5
    assert asked(sender, "c", 0.2, deadline=now[0] + 1.5).outcome()
    assert states(store) == ["cancelled", "cancelled", "done"]


def test_what_is_called_off_before_its_turn_is_not_sent() -> None:
    store, service = store_of(), Scripted(limits=Limits(circuits=1))
    sender = dispatcher(service, store, budget=Budget(shots=30, reserve=0))
    first, other = asked(sender, "a", 0.1), asked(sender, "b", 0.2, 0.3)
    service.look = lambda call, what: sender.call_off("b") if call == "submit" else None
    assert sender.turn()
    assert first.outcome()
    with pytest.raises(RecalledError, match=r"for job varq-\w+, and it was not sent to scripted"):
        other.outcome()
    assert (states(store), len(service.jobs)) == (["done", "unsent", "unsent"], 1)
    assert store.jobs.spent(SESSION).shots == sender._account.spent.shots == 10


@pytest.mark.parametrize("options", [{}, {"deadline": 100.5}], ids=["called off", "late"])
def test_what_is_over_is_not_tried_again(options: dict[str, Any]) -> None:
    now, store = [100.0], store_of()
    service = Scripted(script={("submit", 0): TransientError("503")})

    def sleep(seconds: float) -> None:
        now[0] += 1.0
        if not options:
            sender.call_off("a")

    sender = dispatcher(service, store, clock=lambda: now[0], sleep=sleep)
    ticket = asked(sender, "a", 0.1, **options)
    assert sender.turn()
    assert isinstance(ticket.error, RecalledError)
    assert (states(store), service.jobs, service.calls.count("submit")) == (["unsent"], {}, 1)


def test_what_was_received_in_part_is_completed_though_nobody_waits_any_more() -> None:
    service, store = Scripted(script={("submit", 0): PartialError("1 of 2 tasks")}), store_of()
    sender = dispatcher(service, store)
    asked(sender, "a", 0.1)
    service.look = lambda call, what: sender.call_off("a") if call == "submit" else None
    assert sender.turn()
    assert (states(store), len(service.jobs)) == (["done"], 1)


def test_a_cancelled_run_ends_and_is_not_paid_for() -> None:
    service = Slow(looks=10_000)
    with Session(service, shots=20, store=None, progress=False, retry=AT_ONCE) as session:
        run = session.start(Chain(seed=1, stop=Stop(steps=3)))
        service.look = lambda call, what: session.cancel(run) if call == "status" else None
        (result,) = session.drain()
        assert (result.reason, result.steps) == (Reason.STOPPED, 0)
        assert [line.state.value for line in session.ledger()] == ["cancelled"]
        assert session.desk.account.spent.shots == 0
        sums = {column.header: str(column.footer) for column in session.ledger().table().columns}
        assert (sums["circuits"], sums["shots"]) == ("0", "0"), "they are those that the budget counts"
        service.look, service.looks = lambda call, what: None, 0
        assert session.resume(run.id).reason is Reason.STEPS
    assert service.calls.count("cancel") == 1


def test_a_run_whose_deadline_passes_while_a_job_waits_ends_as_stopped() -> None:
    service = Slow(looks=10_000)
    with Session(service, shots=20, store=None, progress=False, retry=AT_ONCE) as session:
        session.start(Chain(seed=1, stop=Stop(steps=3)), deadline=0.3)
        (result,) = session.drain()
    assert result.reason is Reason.STOPPED
    assert "deadline" in result.message
    assert service.calls.count("cancel") == 1


def test_a_batch_on_two_devices_is_called_back_on_both() -> None:
    one, two = Slow(looks=10_000), Slow(looks=10_000)
    one.name, two.name = "one", "two"
    tapes = [qml.tape.make_qscript(lambda a: (qml.RY(a, 0), qml.expval(qml.Z(0))))(0.1 * k) for k in range(2)]
    spread = Spread((one, two), by="circuits")
    with Session(spread, shots=20, store=None, progress=False, retry=AT_ONCE) as session:
        batch = session.submit(tapes)
        one.look = two.look = lambda call, what: batch.cancel() and None if call == "status" else None
        with pytest.raises(RuntimeError, match=r"was cancelled\. Submit it again"):
            batch.result()
        assert [line.state.value for line in session.ledger()] == ["cancelled", "cancelled"]
    assert (one.calls.count("cancel"), two.calls.count("cancel")) == (1, 1)


def test_a_vendors_session_is_closed_whatever_else_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs as long as it is open, and what ended the block is what a person is to see."""
    service = Scripted()

    def full(desk: Desk) -> Any:
        raise StoreError("The disk is full.")

    def angry(event: Event) -> None:
        if event.kind == "note":
            raise RuntimeError("I do not listen.")

    monkeypatch.setattr(Desk, "ledger", full)
    options: dict[str, Any] = {"shots": 10, "progress": False, "retry": AT_ONCE, "observers": [angry]}
    session = Session(service, store=tmp_path, **options)

    def block() -> None:
        with session:
            session.submit([circuit(0.1).tape]).result()
            session.submit([circuit(0.2).tape])  # its loss is told
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        block()
    assert service.calls[-1] == "close"
    assert "The ledger of" in caplog.text
    assert "could not be closed: I do not listen." in caplog.text
    with open_store(tmp_path, read_only=True) as store:
        assert store.jobs.owner(session.id) is None
        assert store.jobs.session(session.id).state is SessionState.CLOSED
    with pytest.raises(RuntimeError, match="I do not listen"), Session(Scripted(), store=None, **options) as session:
        session.submit([circuit(0.3).tape])
