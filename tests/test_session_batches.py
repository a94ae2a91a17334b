"""Batches: what was submitted and paid for is found again, and what waits is never lost without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from session_service import AT_ONCE, Crash, Scripted

from varq.devices.service import Limits
from varq.protocol import Stop
from varq.session.session import Session
from varq.store.faults import OwnedError
from varq.store.store import Store, open_store
from varq.testing.storms import Chain

pytestmark = [pytest.mark.flagless, pytest.mark.filterwarnings("ignore:varq cannot set the random seed")]

SHOTS = 20


def turns(*angles: float) -> list[Any]:
    return [qml.tape.make_qscript(lambda a: (qml.RY(a, 0), qml.expval(qml.Z(0))))(angle) for angle in angles]


def session_on(service: Any, store: Store | None = None, **options: Any) -> Session:
    return Session(service, shots=SHOTS, store=store, progress=False, retry=AT_ONCE, **options)


def said(caplog: pytest.LogCaptureFixture) -> str:
    text = " ".join(record.getMessage() for record in caplog.records)
    caplog.clear()
    return text


@pytest.mark.parametrize(("call", "sent"), [("submit", 1), ("status", 2), ("result", 2)])
def test_a_batch_that_was_paid_for_outlives_its_process(
    tmp_path: Path, call: str, sent: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Two jobs; the process dies after the first was sent, or while the second runs."""
    clean = Scripted(Limits(circuits=2))
    with session_on(clean) as session:
        wanted = session.submit(turns(0.1, 0.2, 0.3)).result()
    service = Scripted(Limits(circuits=2))
    service.script = {("submit", 0, "after") if call == "submit" else (call, 0): Crash()}
    with open_store(tmp_path / "store") as store:
        first = session_on(service, store)
        batch = first.submit(turns(0.1, 0.2, 0.3))
        with pytest.raises(Crash, match="the process dies here"):
            batch.result()
        first.desk.leave()
    assert len(service.jobs) == sent
    service.script = {}
    with open_store(tmp_path / "store") as store, session_on(service, store) as second:
        again = second.submit(turns(0.1, 0.2, 0.3))
        assert again.id == batch.id
        assert f"{batch.id} was submitted before" in said(caplog)
        np.testing.assert_array_equal(again.result(), wanted)
        assert len(service.jobs) == 2, "each job is sent once, whoever asks for it"
        np.testing.assert_array_equal(second.submit(turns(0.1, 0.2, 0.3)).result(), wanted)
        assert "nothing is to be sent" in said(caplog)
    assert set(service.sent.values()) == {1}


def test_the_same_submission_is_the_same_batch_and_a_name_or_seed_makes_another() -> None:
    service = Scripted()
    with session_on(service) as session:
        batch = session.submit(turns(0.1))
        assert session.submit(turns(0.1)) is batch
        others = [
            session.submit(turns(0.2)),
            session.submit(turns(0.1), seed=1),
            session.submit(turns(0.1), name="b"),
            session.submit([qml.tape.QuantumScript(t.operations, t.measurements, 21) for t in turns(0.1)]),
        ]
        assert len({batch.id, *(other.id for other in others)}) == 5
        session.drain()
    assert len(service.circuits) == len(service.sent) == 5
    with session_on(Scripted()) as session, session_on("default.qubit") as elsewhere:
        assert session.submit(turns(0.1)).id == batch.id, "whatever session asks"
        assert elsewhere.submit(turns(0.1)).id != batch.id, "what one device measured is no answer of another"
        session.drain()
        elsewhere.drain()


def test_two_sessions_do_not_look_for_the_same_jobs_at_once(tmp_path: Path) -> None:
    service = Scripted()
    with open_store(tmp_path / "store") as store, session_on(service, store) as first:
        batch = first.submit(turns(0.1))
        with session_on(service, store) as second:
            with pytest.raises(OwnedError, match=f"A batch has one owner at a time. Batch {batch.id} is owned"):
                second.submit(turns(0.1))
            found = batch.result()
            assert second.submit(turns(0.1)).result() == found
    assert len(service.jobs) == 1


def test_a_session_is_drained_with_its_batches() -> None:
    service = Scripted(Limits(circuits=1))
    with session_on(service) as session:
        batches = [session.submit(turns(0.1 * k), priority=-1) for k in range(3)]
        run = session.start(Chain(seed=1, stop=Stop(steps=1)))
        session.drain()
        assert run.done
        assert all(batch.done for batch in batches)
        calls = len(service.calls)
        for batch in batches:
            batch.result()
        assert len(service.calls) == calls
        assert session.drain() == []


def test_a_batch_that_cannot_go_on_holds_nothing_up() -> None:
    service = Scripted(script={("status", 0): Crash()})
    with session_on(service) as session:
        held, sent = session.submit(turns(0.1)), session.submit(turns(0.2))
        session.desk.dispatcher(service).queue.pause(held.id)
        with pytest.raises(Crash, match="the process dies here"):
            session.drain()
        session.drain()
        assert (held.done, sent.done) == (False, True), "what was interrupted is fetched, what is paused stays"
        assert held.cancel()


def test_what_waits_when_a_session_ends_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(tmp_path / "store") as store:
        with session_on("default.qubit", store) as session:
            batch = session.submit(turns(0.1))
            with pytest.raises(RuntimeError, match=f"has no batches that wait: {batch.id} would be lost"):
                session.detach()
            cancelled = session.submit(turns(0.2))
            assert cancelled.cancel()
            assert not cancelled.cancel()
        assert f"The session ends before {batch.id}, and what waits of it is not sent" in said(caplog)
        with session_on("default.qubit", store) as session:
            session.submit(turns(0.1)).result()
        assert "ends before" not in said(caplog)
