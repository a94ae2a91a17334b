"""What an earlier process sent: found by the account that sent it, and all of it in the time of one job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session_service import SESSION, Crash, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import UncertainError
from varq.devices.service import Circuit, Limits
from varq.devices.settling import Settling
from varq.session.budget import Account, Budget
from varq.session.dispatch import Dispatcher
from varq.session.tickets import Ticket
from varq.store.job_records import SessionRecord

pytestmark = pytest.mark.flagless

PLACE = ("run", 0, "step")
SETTLED, STEP = 60.0, 5.0  # seconds


@pytest.mark.parametrize(("call", "state"), [("submit", "written"), ("status", "sent")])
def test_a_job_of_another_account_is_not_sent_anew(tmp_path: Path, call: str, state: str) -> None:
    """Nobody but the sender sees a job: what another account does not find may have been received all the same."""
    store, service = store_of(tmp_path / "store"), Scripted(script={(call, 0, "after"): Crash()})
    service.account = "instance A"
    first = dispatcher(service, store, Budget(shots=10, reserve=0))
    first.add(PLACE, [circuit()])
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    assert states(store) == [state]
    service.account = "instance B"
    second = dispatcher(service, store, Budget(shots=10, reserve=0))
    for _ in range(2):  # what it was the first time changes nothing
        with pytest.raises(UncertainError, match=r"sent by instance A; this is instance B\. Open the device with ins"):
            second.add(PLACE, [circuit()])
    second.tidy()
    assert states(store) == ["sent" if state == "sent" else "uncertain"]
    assert store.jobs.spent(SESSION).shots == 10
    assert service.calls.count("find") == 0
    service.account = "instance A"
    ticket = dispatcher(service, store).add(PLACE, [circuit()])
    assert isinstance(ticket, Ticket)
    assert np.array_equal(ticket.outcome()[0], bits_of(circuit()))
    assert states(store) == ["done"]
    assert len(service.jobs) == 1
    assert store.jobs.jobs(SESSION)[0].details["payer"] == "instance A", "it stays with what the vendor says"


@pytest.mark.parametrize(("before", "after"), [(None, "instance B"), ("instance A", None)])
def test_a_job_that_does_not_say_who_sent_it_is_looked_for_by_its_tag(before: str | None, after: str | None) -> None:
    store, service = store_of(), Scripted(script={("submit", 0, "after"): Crash()})
    service.account = before
    first = dispatcher(service, store)
    first.add(PLACE, [circuit()])
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    assert ("payer" in store.jobs.jobs(SESSION)[0].details) is (before is not None)
    service.account, service.senders["job 0"] = after, after
    ticket = dispatcher(service, store).add(PLACE, [circuit()])
    assert isinstance(ticket, Ticket)
    assert ticket.finished
    assert len(service.jobs) == 1


def test_a_job_of_an_account_that_is_gone_is_settled_by_hand() -> None:
    store, service = store_of(), Scripted(script={("submit", 0): Crash()})
    service.account = "instance A"
    first = dispatcher(service, store)
    first.add(PLACE, [circuit()])
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    service.account = "instance B"
    second = dispatcher(service, store)
    with pytest.raises(
        UncertainError, match=r"Or settle it by hand: session\.settle\(job, provider_id=\.\.\.\) or lost"
    ):
        second.add(PLACE, [circuit()])
    assert second.settle(store.jobs.jobs(SESSION)[0].id, lost=True) == "unsent"
    second.add(PLACE, [circuit()])
    second.turn()
    assert states(store) == ["unsent", "done"]


def test_who_pays_is_written_without_what_gives_access() -> None:
    store, service = store_of(), Scripted()
    service.account = "account lab, token=abc123"
    sender = dispatcher(service, store)
    sender.add(PLACE, [circuit()])
    sender.turn()
    assert store.jobs.jobs(SESSION)[0].details["payer"] == "account lab, token=(not kept)"


class Late(Scripted):
    """A device that lists what it has received by its clock, which moves while it is waited for."""

    def __init__(self, clock: list[float], **options: Any) -> None:
        super().__init__(**options)
        self.settling = Settling(
            SETTLED, STEP, lambda: clock[0], lambda seconds: clock.__setitem__(0, clock[0] + seconds)
        )

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        with self.settling.attempt(tag):
            return super().submit(circuits, tag)

    def expect(self, tags: Collection[str]) -> None:
        self.settling.expect(tags)

    def find(self, tag: str) -> str | None:
        return self.settling.look(tag, lambda: Scripted.find(self, tag))


@pytest.mark.parametrize("session", [SESSION, "session-01"], ids=["the same session", "another session"])
def test_all_jobs_of_an_earlier_process_are_looked_for_in_the_time_of_one(session: str) -> None:
    """Ten steps of one run in another session, or one step each of ten runs in the session that is taken up."""
    store, clock = store_of(), [1000.0]
    places = [("run", k, "step") if session != SESSION else (f"run {k}", 0, "step") for k in range(10)]
    limits = Limits(circuits=1)
    first = dispatcher(Late(clock, limits=limits, script={("submit", 0): Crash()}), store)
    for k, place in enumerate(places):
        first.add(place, [circuit(k)])
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    assert states(store) == ["written"] * 10
    if session != SESSION:
        store.jobs.open(SessionRecord(session, 1.75e9, "ada", "scripted"))
    service = Late(clock, limits=limits)
    second = Dispatcher(service, store.jobs, session, Account(Budget()), sleep=lambda seconds: None)
    for k, place in enumerate(places):
        second.add(place, [circuit(k)])
        assert clock == [1000.0 + SETTLED]
    assert service.calls.count("find") == SETTLED / STEP + len(places), "each is asked for when it must be listed"
    assert states(store) == ["unsent"] * 10


def test_what_is_sent_here_has_its_own_time() -> None:
    """Whoever was told of a tag before this process sent it looks for it from the end of the sending on."""
    clock = [1000.0]
    service = Late(clock)
    service.expect(["tag-of-one"])
    clock[0] += SETTLED - STEP
    service.submit([circuit()], "tag-of-one")
    service.jobs.clear()
    service.expect(["tag-of-one"])
    assert service.find("tag-of-one") is None
    assert clock == [1000.0 + 2 * SETTLED - STEP]
