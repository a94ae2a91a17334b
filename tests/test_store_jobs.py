"""Sessions and jobs come back as they were recorded, and a job goes from state to state as it may."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import OWNER, SHOTS, WIRES, bits, job, job_id, returned, rows, session, session_id

from varq.store import in_flight
from varq.store.circuit_records import Served, Use
from varq.store.faults import ConflictError, OwnedError
from varq.store.in_flight import InFlight
from varq.store.job_records import JobState, SessionState, Spent, new_job_id, new_session_id
from varq.store.jobs import Jobs
from varq.store.store import open_store

SAME = 1e-12  # a sum of few floats


@pytest.fixture(params=["disk", "memory"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
    with open_store(tmp_path / "runs" if request.param == "disk" else None, host="ada") as store:
        store.jobs.open(session())
        yield store.jobs
        assert store.verify() == []


def forgetful(jobs: Jobs) -> None:
    """What another process of the same host would know: nothing but the file."""
    jobs._flying = InFlight()


# -- sessions


def test_a_session_comes_back_as_it_was(jobs: Jobs) -> None:
    newer = session(1, shots=None, settings='{"mode": "batch", "a": [1, 2.5, null]}')
    jobs.open(newer)
    assert jobs.session(session_id()) == session()
    assert jobs.sessions() == [newer, session()]
    assert newer.settings == '{"a":[1,2.5,null],"mode":"batch"}'


def test_opening_a_session_again_leaves_it(jobs: Jobs) -> None:
    jobs.set_state(session_id(), "broken")
    jobs.open(session())
    assert jobs.session(session_id()).state is SessionState.BROKEN
    with pytest.raises(ConflictError, match=r"Session session-00000000 has the device varq\.qubit in one place and x"):
        jobs.open(session(device="x"))


def test_sessions_are_found_by_prefix(jobs: Jobs) -> None:
    jobs.open(session(0xAB12CD34))
    assert jobs.session("ab12").id == "session-ab12cd34"
    assert jobs.session("session-ab").id == "session-ab12cd34"
    with pytest.raises(
        LookupError, match=r"2 sessions have ids that start with 'session-'; give more of it: session-0"
    ):
        jobs.session("session-")
    with pytest.raises(LookupError, match=r"There is no session 'ffff' in the store"):
        jobs.session("ffff")
    with pytest.raises(ValueError, match=r"at least 4 characters of its id. Got 'ab'"):
        jobs.session("ab")


def test_states_of_a_session(jobs: Jobs) -> None:
    for state in (*SessionState, SessionState.OPEN):
        jobs.set_state(session_id(), state)
        assert jobs.session(session_id()).state is state
    with pytest.raises(ValueError, match=r"state must be one of .*'closed'.* Got 'close'. Did you mean 'closed'"):
        jobs.set_state(session_id(), "close")
    with pytest.raises(LookupError, match="There is no session 'session-00000007'"):
        jobs.set_state(session_id(7), "open")


def test_fresh_ids_differ() -> None:
    assert len({new_job_id() for _ in range(100)} | {new_session_id() for _ in range(100)}) == 200


def test_the_owner_of_a_session(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store:
        store.jobs.open(session())
        assert store.jobs.owner(session_id()) is None
        with store.lease(session_id()), open_store(tmp_path, read_only=True, host="ada") as viewer:
            for one in (store, viewer):
                holder = one.jobs.owner(session_id())
                assert holder is not None
                assert holder.pid == os.getpid()
            with pytest.raises(
                OwnedError, match=r"A session has one owner at a time. Session session-00000000 is owned"
            ):
                store.lease(session_id()).__enter__()
        assert store.jobs.owner(session_id()) is None


def test_who_lost_a_session_records_nothing_more_in_it(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store, open_store(tmp_path, host="ada") as other:
        store.jobs.open(session())
        store.jobs.write([job(0), job(1)], [*rows(job(0)), *rows(job(1))])
        store.jobs.sent({job_id(0): "p0"})
        with store.lease(session_id()), other.lease(session_id(), take_over=True):
            for call in (
                lambda: store.jobs.write([job(2)], rows(job(2))),
                lambda: store.jobs.sent({job_id(1): "p1"}),
                lambda: store.jobs.finish([returned(job(0))]),
                lambda: store.jobs.mark(job_id(1), "unsent"),
                lambda: store.jobs.note(session_id(), "state"),
                lambda: store.jobs.set_state(session_id(), "closed"),
            ):
                with pytest.raises(OwnedError, match="Session session-00000000 was taken over by somebody else"):
                    call()
            other.jobs.sent({job_id(1): "p1"})
        assert [one.state for one in other.jobs.jobs(session_id())] == ["sent", "sent"]


# -- jobs


def test_a_job_from_beginning_to_end(jobs: Jobs) -> None:
    record = job(3, circuits=2, paid=True)
    jobs.write([record], reversed(rows(record)))
    assert jobs.jobs(session_id()) == [record]
    assert jobs.circuits(record.id) == rows(record)
    assert jobs.results(OWNER, 3, "step") == {0: "written", 1: "written"}
    with pytest.raises(LookupError, match=r"Circuit 0 of job .* has no result yet"):
        jobs.bits(record.id, 0)
    jobs.sent({record.id: "the vendor's"}, when=5.0)
    sent = replace(record, state=JobState.SENT, provider_id="the vendor's", sent=5.0, attempts=1)
    assert jobs.job(record.id) == sent
    jobs.finish([returned(record, queued=1.0, seconds=2.0, cost=3.0, details={"spans": [1, 2]})], when=7.0)
    done = replace(
        sent, state=JobState.DONE, finished=7.0, queued=1.0, seconds=2.0, cost=3.0, details={"spans": [1, 2]}
    )
    forgetful(jobs)
    assert jobs.job(record.id) == done
    found = jobs.results(OWNER, 3, "step")
    for position in range(2):
        np.testing.assert_array_equal(jobs.bits(record.id, position), bits(record, position))
        np.testing.assert_array_equal(found[position], bits(record, position))
    assert [row.wires for row in jobs.circuits(record.id)] == [WIRES, WIRES]
    with pytest.raises(LookupError, match=r"has 2 circuits. There is none at position 2"):
        jobs.bits(record.id, 2)


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(0, 19)), seed=st.integers(0, 2**32 - 1), order=st.sampled_from("CF")
)
def test_bits_come_back_exactly(shape: tuple[int, int], seed: int, order: Any) -> None:
    drawn = np.asarray(np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8), order=order)
    with open_store(None) as store:
        store.jobs.open(session())
        record = job(0, shots=shape[0])
        store.jobs.write([record], [replace(rows(record)[0], shots=shape[0])])
        store.jobs.sent({record.id: "p"})
        store.jobs.finish([returned(record, bits=(drawn,))])
        back = store.jobs.bits(record.id, 0)
        assert (back.dtype, back.shape) == (np.uint8, shape)
        np.testing.assert_array_equal(back, drawn)
        assert not back.flags.writeable
        assert store.verify() == []


def test_many_jobs_in_one_transaction(jobs: Jobs) -> None:
    made = [job(number, circuits=1 + number % 3) for number in range(700)]  # more than one question can name
    jobs.write(made, [row for one in made for row in rows(one)])
    for fresh in (False, True):
        if fresh:
            forgetful(jobs)
        half = made[350:] if fresh else made[:350]
        jobs.sent({one.id: f"p{one.number}" for one in half})
        jobs.finish([returned(one) for one in half])
    assert [one.number for one in jobs.jobs(session_id(), ["done"])] == list(range(700))
    for number in (0, 349, 350, 699):
        np.testing.assert_array_equal(jobs.bits(job_id(number), 0), bits(made[number], 0))


def test_a_circuit_that_serves_several(jobs: Jobs) -> None:
    uses = (Use("b" * 64, 0, "step", 4), Use(OWNER, 0, "final", 1), Use(OWNER, 0, "step", 2))
    record = job(0)
    jobs.write([record], [replace(rows(record)[0], uses=uses)])
    assert jobs.circuits(record.id)[0].uses == tuple(sorted(uses))
    assert jobs.results(OWNER, 0, "step") == {2: "written"}
    assert jobs.results("b" * 64, 0, "step") == {4: "written"}
    assert jobs.results(OWNER, 1, "step") == {}
    assert jobs.served(OWNER) == [Served(use, record.id, 0, JobState.WRITTEN) for use in sorted(uses[1:])]
    assert jobs.served(OWNER, step=0, role="final") == [Served(uses[1], record.id, 0, JobState.WRITTEN)]
    assert jobs.ledger()[0].owners == (OWNER, "b" * 64)


@pytest.mark.parametrize(
    ("ends", "counts"),
    [
        (["unsent", "failed", "written"], "written"),
        (["failed", "sent", "uncertain"], "sent"),
        (["cancelled", "uncertain", "written"], "uncertain"),
        (["unsent", "cancelled"], "cancelled"),
        (["done", "sent"], "done"),
        (["failed", "done", "done"], "done"),
    ],
)
def test_of_several_jobs_for_one_request_the_best_counts(jobs: Jobs, ends: list[str], counts: str) -> None:
    for number, end in enumerate(ends):
        record = job(number)
        jobs.write([record], [replace(rows(record)[0], uses=(Use(OWNER, 0, "step", 0),))])
        bring(jobs, number, end)
    (found,) = jobs.results(OWNER, 0, "step").values()
    if counts == "done":
        np.testing.assert_array_equal(found, bits(job(ends.index("done"))))
    else:
        assert found == counts


# -- states

WAYS: dict[str, tuple[str, ...]] = {
    "written": (),
    "sent": ("sent",),
    "uncertain": ("uncertain",),
    "done": ("sent", "done"),
    "failed": ("sent", "failed"),
    "cancelled": ("sent", "cancelled"),
    "unsent": ("unsent",),
}
LEGAL = {
    ("written", "sent"): "the vendor answered",
    ("written", "uncertain"): "the answer was lost",
    ("written", "unsent"): "it was refused at the door",
    ("written", "failed"): "it was taken, and came to nothing",
    ("uncertain", "sent"): "it was found",
    ("uncertain", "unsent"): "it was looked for, and is surely not there",
    ("uncertain", "failed"): "a person says so",
    ("uncertain", "cancelled"): "a person says so",
    ("sent", "done"): "its result came",
    ("sent", "failed"): "the vendor says so",
    ("sent", "cancelled"): "the vendor says so",
}
STATES = tuple(WAYS)


def step(jobs: Jobs, number: int, state: str) -> None:
    if state == "sent":
        jobs.sent({job_id(number): f"p{number}"})
    elif state == "done":
        jobs.finish([returned(job(number))])
    else:
        jobs.mark(job_id(number), state)


def bring(jobs: Jobs, number: int, state: str) -> None:
    for one in WAYS[state]:
        step(jobs, number, one)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_every_pair_of_states(before: str, after: str, fresh: bool) -> None:
    with open_store(None) as store:
        store.jobs.open(session())
        store.jobs.write([job(0)], rows(job(0)))
        bring(store.jobs, 0, before)
        if fresh:
            forgetful(store.jobs)
        if before == after or (before, after) in LEGAL:
            step(store.jobs, 0, after)
            assert store.jobs.job(job_id(0)).state == after
        else:
            with pytest.raises(ValueError, match=f"(?s)'{before}'.*'{after}'|'{after}'.*'{before}'"):
                step(store.jobs, 0, after)
            assert store.jobs.job(job_id(0)).state == before
        assert store.verify() == []


def test_a_result_that_tells_no_cost_leaves_the_one_that_is_known() -> None:
    with open_store(None) as store:
        store.jobs.open(session())
        store.jobs.write([job(0)], rows(job(0)))
        store.jobs.mark(job_id(0), "written", seconds=0.5, cost=0.0)
        store.jobs.sent({job_id(0): "p"})
        store.jobs.finish([returned(job(0), cost=None)])
        assert store.jobs.job(job_id(0)).cost == 0.0
        assert store.jobs.spent(session_id()).cost == 0.0


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(STATES), st.none() | st.floats(0, 9), st.booleans()), max_size=12
    )
)
def test_any_sequence_of_states(moves: list[tuple[int, str, float | None, bool]]) -> None:
    """The states, results and sums of three jobs are those of a table that is kept beside."""
    with open_store(None) as store:
        jobs = store.jobs
        jobs.open(session())
        jobs.write(
            [job(n, circuits=n + 1) for n in range(3)], [r for n in range(3) for r in rows(job(n, circuits=n + 1))]
        )
        state, cost = dict.fromkeys(range(3), "written"), dict.fromkeys(range(3), 0.25)
        for number, after, price, fresh in moves:
            if fresh:
                forgetful(jobs)
            record = job(number, circuits=number + 1)
            legal = state[number] == after or (state[number], after) in LEGAL
            try:
                if after == "done":
                    jobs.finish([returned(record, cost=price)])
                elif after == "sent":
                    jobs.sent({record.id: "p"})
                else:
                    jobs.mark(record.id, after, cost=price)
                done = True
            except ValueError:
                done = False
            assert done == legal
            if legal and price is not None and after != "sent" and (after != "done" or state[number] != "done"):
                cost[number] = price
            state[number] = after if legal else state[number]
        counted = [n for n in range(3) if state[n] != "unsent"]
        spent = jobs.spent(session_id())
        assert [one.state for one in jobs.jobs(session_id())] == list(state.values())
        assert (spent.jobs, spent.circuits) == (len(counted), sum(n + 1 for n in counted))
        assert spent.shots == SHOTS * spent.circuits
        assert math.isclose(spent.cost, sum(cost[n] for n in counted), abs_tol=SAME)
        assert math.isclose(spent.seconds, 0.5 * len(counted), abs_tol=SAME)
        for n in range(3):
            found = jobs.results(OWNER, n, "step")
            assert [isinstance(one, str) for one in found.values()] == [state[n] != "done"] * (n + 1)
        assert store.verify() == []


def test_the_same_again_is_no_error(jobs: Jobs) -> None:
    jobs.write([job(0)], rows(job(0)))
    jobs.sent({job_id(0): "p"}, when=1.0)
    jobs.sent({job_id(0): "p"}, when=2.0)
    assert jobs.job(job_id(0)).sent == 1.0
    with pytest.raises(ConflictError, match=r"has the provider id p in one place and q in another"):
        jobs.sent({job_id(0): "q"})
    jobs.finish([returned(job(0), cost=1.0)], when=3.0)
    jobs.finish([returned(job(0), cost=9.0)], when=4.0)  # an answer that came twice
    assert (jobs.job(job_id(0)).finished, jobs.job(job_id(0)).cost) == (3.0, 1.0)
    with pytest.raises(ConflictError, match=r"Circuit 0 of job .* has the result .* in one place and"):
        jobs.finish([returned(job(0), bits=(1 - bits(job(0)),))])
    np.testing.assert_array_equal(jobs.bits(job_id(0), 0), bits(job(0)))


def test_what_mark_adds(jobs: Jobs) -> None:
    jobs.write([job(0), job(1)], [*rows(job(0)), *rows(job(1))])
    jobs.mark([job_id(0), job_id(1)], "written", error="503", attempts=2)
    jobs.mark(job_id(0), "written", attempts=3)
    first, second = jobs.jobs(session_id())
    assert (first.error, first.attempts, first.finished) == ("503", 3, None)
    assert (second.error, second.attempts) == ("503", 2)
    jobs.sent({job_id(0): "p"})
    assert (jobs.job(job_id(0)).attempts, jobs.job(job_id(0)).error) == (3, None)
    jobs.mark(job_id(0), "failed", error="calibration", seconds=0.0, cost=0.0, when=9.0)
    failed = jobs.job(job_id(0))
    assert (failed.error, failed.seconds, failed.cost, failed.finished) == ("calibration", 0.0, 0.0, 9.0)
    assert jobs.spent(session_id()) == Spent(2, 2, 2 * SHOTS, 0.5, 0.25)


def test_a_change_of_several_jobs_is_whole(jobs: Jobs) -> None:
    jobs.write([job(0), job(1)], [*rows(job(0)), *rows(job(1))])
    jobs.mark(job_id(1), "unsent")
    with pytest.raises(ValueError, match="'unsent' stays so"):
        jobs.sent({job_id(0): "p0", job_id(1): "p1"})
    with pytest.raises(LookupError, match="There is no job"):
        jobs.sent({job_id(0): "p0", job_id(9): "p9"})
    assert jobs.job(job_id(0)).state is JobState.WRITTEN
    jobs.sent({job_id(0): "p0"})  # what was remembered is still true


def test_another_process_settles_a_job(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store, open_store(tmp_path, host="ada") as other:
        store.jobs.open(session())
        store.jobs.write([job(0), job(1)], [*rows(job(0)), *rows(job(1))])
        store.jobs.mark(job_id(0), "uncertain")
        other.jobs.mark(job_id(0), "unsent", error="looked for at the vendor's site")
        with pytest.raises(ValueError, match="'unsent' stays so"):
            store.jobs.sent({job_id(0): "p"})
        other.jobs.sent({job_id(1): "p"})
        store.jobs.finish([returned(job(1))])
        assert [one.state for one in other.jobs.jobs(session_id())] == ["unsent", "done"]
        assert store.verify() == []


# -- accounts


def test_the_sums_of_a_session(jobs: Jobs) -> None:
    assert jobs.spent(session_id()) == Spent(0, 0, 0, 0.0, 0.0)
    for number, end in enumerate(STATES):
        record = job(number, circuits=2)
        jobs.write([record], rows(record))
        bring(jobs, number, end) if end != "done" else jobs.sent({record.id: "p"})
        if end == "done":
            jobs.finish([returned(record, seconds=8.0, cost=16.0)])
    # All but the one that was surely never received; told numbers for the one that is done.
    assert jobs.spent(session_id()) == Spent(6, 12, 12 * SHOTS, 5 * 0.5 + 8.0, 5 * 0.25 + 16.0)
    assert jobs.last(session_id()) == 6
    jobs.open(session(1))
    assert (jobs.spent(session_id(1)).jobs, jobs.last(session_id(1))) == (0, -1)
    with pytest.raises(LookupError, match="There is no session"):
        jobs.spent(session_id(2))


def test_the_ledger(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store:
        for of in (1, 0):
            store.jobs.open(session(of))
        for number, of in ((0, 1), (1, 0), (2, 1)):
            store.jobs.write([job(number, of=of, created=86400.0)], rows(job(number)))
        store.jobs.sent({job_id(0): "p0"})
        store.jobs.finish([returned(job(0), seconds=0.125, cost=1.5)])
        lines = store.jobs.ledger()
        assert [(line.session, line.state) for line in lines] == [
            (session_id(0), "written"),
            (session_id(1), "done"),
            (session_id(1), "written"),
        ]
        assert store.jobs.ledger(session_id(0)) == lines[:1]
        assert (lines[1].seconds, lines[1].cost, lines[1].provider_id, lines[1].owners) == (0.125, 1.5, "p0", (OWNER,))
    with closing(sqlite3.connect(tmp_path / "ada.sqlite")) as db:
        cursor = db.execute("SELECT * FROM ledger")
        names = [column[0] for column in cursor.description]
        assert names == [
            *("job", "session", "device", "state", "created", "circuits"),
            *("shots", "seconds", "cost", "attempts", "provider_id"),
        ]
        day = "1970-01-02T00:00:00Z"
        assert cursor.fetchall() == [
            (job_id(1), session_id(0), "varq.qubit", "written", day, 1, SHOTS, None, None, 0, None),
            (job_id(0), session_id(1), "varq.qubit", "done", day, 1, SHOTS, 0.125, 1.5, 1, "p0"),
            (job_id(2), session_id(1), "varq.qubit", "written", day, 1, SHOTS, None, None, 0, None),
        ]


# -- notes and commands


def test_notes_come_in_order(jobs: Jobs) -> None:
    assert jobs.notes(session_id()) == []
    first = jobs.note(session_id(), "state", {"run": "a", "steps": (1, 2)})
    more = jobs.note_all(session_id(), [("warning", "slow"), ("queue", None)])
    assert [(note.number, note.kind, note.body) for note in (first, *more)] == [
        (0, "state", {"run": "a", "steps": [1, 2]}),
        (1, "warning", "slow"),
        (2, "queue", None),
    ]
    assert jobs.notes(session_id()) == [first, *more]
    assert jobs.notes(session_id(), after=0) == more
    assert jobs.note_all(session_id(), []) == []
    with pytest.raises(TypeError, match=r"body must be JSON data: None, booleans"):
        jobs.note(session_id(), "state", {"x": object()})
    with pytest.raises(TypeError, match=r"body must be JSON data"):
        jobs.note(session_id(), "state", math.nan)
    with pytest.raises(ValueError, match=r"kind must not be an empty string"):
        jobs.note(session_id(), "")
    with pytest.raises(ValueError, match=r"after must be at least -1"):
        jobs.notes(session_id(), after=-2)


def test_commands_are_taken_once(jobs: Jobs) -> None:
    jobs.open(session(1))
    posted = [jobs.post(session_id(), {"cancel": n}) for n in range(3)]
    jobs.post(session_id(1), "stop")
    assert [command.taken for command in jobs.commands(session_id())] == [False] * 3
    taken = jobs.take(session_id())
    assert taken == [replace(command, taken=True) for command in posted]
    assert jobs.take(session_id()) == []
    assert jobs.commands(session_id()) == taken
    assert [command.body for command in jobs.take(session_id(1))] == ["stop"]
    with pytest.raises(LookupError, match="There is no session"):
        jobs.post(session_id(7), "stop")


# -- what is written when


def test_one_transaction_a_call_and_full_for_what_is_paid(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as store:
        jobs = store.jobs
        jobs.open(session())
        own = store._folder.writer()
        heard: list[str] = []
        own._connection().set_trace_callback(heard.append)

        def commits(call: Callable[[], object]) -> tuple[int, bool]:
            """How many transactions a call commits, and whether with synchronous=FULL."""
            heard.clear()
            call()
            begun = next((i for i, sql in enumerate(heard) if sql.startswith("BEGIN")), 0)
            return heard.count("COMMIT"), any("synchronous = FULL" in sql for sql in heard[:begun])

        for paid, first in ((False, 0), (True, 100)):
            made = [job(first + n, paid=paid) for n in range(20)]
            assert commits(lambda m=made: jobs.write(m, [r for one in m for r in rows(one)])) == (1, paid)
            assert commits(lambda m=made: jobs.sent({one.id: "p" for one in m})) == (1, paid)
            forgetful(jobs)
            assert commits(lambda m=made: jobs.finish([returned(one) for one in m[1:]])) == (1, paid)
            assert commits(lambda m=made: jobs.mark(m[0].id, "failed")) == (1, paid)
        assert commits(lambda: jobs.note_all(session_id(), [("a", 1), ("b", 2)])) == (1, False)
        assert commits(lambda: jobs.post(session_id(), "stop")) == (1, False)
        assert commits(lambda: jobs.take(session_id())) == (1, False)
        assert commits(lambda: jobs.take(session_id())) == (0, False)
        assert commits(lambda: jobs.set_state(session_id(), "closed")) == (1, False)
        assert commits(lambda: jobs.set_state(session_id(), "closed")) == (0, False)
        assert commits(lambda: jobs.finish([])) == (0, False)
        (plan,) = own.read(
            "EXPLAIN QUERY PLAN SELECT count(*), sum(shots) FROM jobs WHERE session = 1 AND state <> 'unsent'"
        )
        assert "USING INDEX jobs_order" in plan[-1]
        own._connection().set_trace_callback(None)


def test_times_are_taken_from_the_clock(jobs: Jobs) -> None:
    before = time.time()
    jobs.write([job(0)], rows(job(0)))
    jobs.sent({job_id(0): "p"})
    jobs.finish([returned(job(0))])
    done = jobs.job(job_id(0))
    assert done.sent is not None
    assert done.finished is not None
    assert before <= done.sent <= done.finished <= time.time()


def test_many_threads_share_one_session(tmp_path: Path) -> None:
    """Each thread's own jobs go their way while others write, refuse and read; nobody sees half a change."""
    failed: list[BaseException] = []
    with open_store(tmp_path, host="ada") as store:
        jobs = store.jobs
        for of in range(4):
            jobs.open(session(of))

        def work(of: int) -> None:
            try:
                for number in range(40):
                    record = job(number, circuits=2, of=of, id=f"varq-{of:04d}-{number:04d}")
                    jobs.write([record], rows(record, owner=f"run {of}"))
                    jobs.sent({record.id: "p"})
                    with pytest.raises(ValueError, match="'sent' may become"):
                        jobs.mark(record.id, "unsent")
                    jobs.finish([returned(record)])
                    jobs.note(record.session, "done", number)
                    for one in jobs.jobs(session_id(of ^ 1)) if of ^ 1 < of else ():
                        found = jobs.results(f"run {of ^ 1}", one.number, "step")
                        assert len({isinstance(result, str) for result in found.values()}) == 1
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(of,)) for of in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        for of in range(4):
            assert [one.state for one in jobs.jobs(session_id(of))] == ["done"] * 40
            assert [note.body for note in jobs.notes(session_id(of))] == list(range(40))
        assert store.verify() == []


def test_what_is_remembered_of_jobs_in_flight_is_bounded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_MOST", 4)
    made = [job(number, circuits=2) for number in range(5)]
    jobs.write(made, [row for one in made for row in rows(one)])
    assert [jobs._flying.get(one.id) is not None for one in made] == [True, True, False, False, False]
    jobs.sent({one.id: "p" for one in made})
    jobs.finish([returned(one) for one in made])
    assert jobs._flying._circuits == 0
    assert [one.state for one in jobs.jobs(session_id())] == ["done"] * 5
