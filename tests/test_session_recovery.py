"""What an earlier process sent: found by the account that sent it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from session_service import SESSION, Crash, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import UncertainError
from varq.session.budget import Budget
from varq.session.tickets import Ticket

pytestmark = pytest.mark.flagless

PLACE = ("run", 0, "step")


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
