"""Sessions and jobs of several hosts read as one and made one; what cannot both be true is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import OWNER, SHOTS, bits, job, job_id, returned, rows, session, session_id

from varq.store.faults import ConflictError
from varq.store.job_records import JobRecord, JobState, SessionState, Spent
from varq.store.job_union import further
from varq.store.jobs import Jobs
from varq.store.store import Store, open_store

RUNS = {
    "written": lambda jobs: None,
    "sent": lambda jobs: jobs.sent({job_id(0): "p0"}),
    "uncertain": lambda jobs: jobs.mark(job_id(0), "uncertain"),
    "unsent": lambda jobs: jobs.mark(job_id(0), "unsent"),
    "failed": lambda jobs: (jobs.sent({job_id(0): "p0"}), jobs.mark(job_id(0), "failed")),
    "done": lambda jobs: (jobs.sent({job_id(0): "p0"}), jobs.finish([returned(job(0), cost=2.0)])),
}
# From the words of the states: what cannot both have happened to one job.
CONTRADICT = {
    frozenset(pair)
    for pair in (
        *(("sent", "unsent"), ("unsent", "failed"), ("unsent", "done")),
        ("failed", "done"),
    )
}
ORDER = ("written", "uncertain", "sent", "unsent", "failed", "done")


def filled(path: Path, host: str, state: str = "written") -> Path:
    with open_store(path, host=host) as store:
        store.jobs.open(session())
        store.jobs.write([job(0)], rows(job(0)))
        RUNS[state](store.jobs)
    return path


def check(store: Store, state: str) -> None:
    (found,) = store.jobs.jobs(session_id())
    (result,) = store.jobs.results(OWNER, 0, "step").values()
    assert found.state == state
    if state == "done":
        np.testing.assert_array_equal(result, bits(job(0)))
        np.testing.assert_array_equal(store.jobs.bits(job_id(0), 0), bits(job(0)))
    else:
        assert result == state
    counted = state != "unsent"
    cost = (2.0 if state == "done" else 0.25) if counted else 0.0
    assert store.jobs.spent(session_id()) == Spent(counted, counted, counted * SHOTS, 0.5 * counted, cost)
    assert [line.owners for line in store.jobs.ledger()] == [(OWNER,)]
    assert store.verify() == []


@pytest.mark.parametrize("here", ORDER)
@pytest.mark.parametrize("there", ORDER)
def test_of_two_states_the_further_counts(tmp_path: Path, here: str, there: str) -> None:
    filled(tmp_path / "one", "ada", here)
    filled(tmp_path / "two", "bob", there)
    shutil.copytree(tmp_path / "one", tmp_path / "both")
    shutil.copy(tmp_path / "two" / "bob.sqlite", tmp_path / "both")
    with open_store(tmp_path / "one", host="ada") as merged, open_store(tmp_path / "both", read_only=True) as read:
        if frozenset((here, there)) in CONTRADICT:
            with pytest.raises(ConflictError, match=rf"Job {job_id(0)} has the state .* Nothing was merged"):
                merged.merge([tmp_path / "two"])
            check(merged, here)
            with pytest.raises(ConflictError, match=rf"Job {job_id(0)} has the state"):
                read.jobs.jobs(session_id())
            (finding,) = read.verify()
            assert finding.where == f"job {job_id(0)}"
        else:
            want = max(here, there, key=ORDER.index)
            assert merged.merge([tmp_path / "two"]).jobs == (want != here)
            check(merged, want)
            check(read, want)
            assert merged.merge([tmp_path / "two"]).jobs == 0


def test_two_results_of_one_job(tmp_path: Path) -> None:
    filled(tmp_path, "ada", "done")
    filled(tmp_path / "two", "bob", "sent")
    with open_store(tmp_path / "two", host="bob") as store:
        store.jobs.finish([returned(job(0), bits=(1 - bits(job(0)),), cost=2.0)])
    with open_store(tmp_path, host="ada") as store:
        with pytest.raises(
            ConflictError, match=r"Circuit 0 of job .* has the bits .* in one place.* Nothing was merged"
        ):
            store.merge([tmp_path / "two"])
        np.testing.assert_array_equal(store.jobs.bits(job_id(0), 0), bits(job(0)))
        shutil.copy(tmp_path / "two" / "bob.sqlite", tmp_path)
        assert [(finding.where, finding.what) for finding in store.verify()] == [
            (f"circuit 0 of job {job_id(0)}", "another host's file has another result")
        ]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda jobs: jobs.sent({job_id(0): "another"}), r"has the provider id p0 in one place and another in another"),
        (lambda jobs: jobs.mark(job_id(0), "written", attempts=3), None),
    ],
)
def test_records_that_differ(tmp_path: Path, change: Callable[[Jobs], None], match: str | None) -> None:
    filled(tmp_path / "one", "ada", "sent")
    filled(tmp_path / "two", "bob")
    with open_store(tmp_path / "two", host="bob") as store:
        change(store.jobs)
    with open_store(tmp_path / "one", host="ada") as store:
        if match is None:
            store.merge([tmp_path / "two"])
        else:
            with pytest.raises(ConflictError, match=match):
                store.merge([tmp_path / "two"])
        assert store.jobs.job(job_id(0)).provider_id == "p0"


def test_sessions_that_differ(tmp_path: Path) -> None:
    filled(tmp_path / "one", "ada")
    with open_store(tmp_path / "two", host="bob") as store:
        store.jobs.open(session(device="another"))
        store.jobs.open(session(1))
    with open_store(tmp_path / "one", host="ada") as store:
        with pytest.raises(ConflictError, match=r"Session session-00000000 has the device varq.qubit in one place and"):
            store.merge([tmp_path / "two"])
        assert len(store.jobs.sessions()) == 1


def test_merging_takes_everything_of_a_session(tmp_path: Path) -> None:
    with open_store(tmp_path / "two", host="bob") as store:
        store.jobs.open(session())
        made = [job(number, circuits=2) for number in range(5)]
        store.jobs.write(made, [row for one in made for row in rows(one)])
        store.jobs.sent({one.id: "p" for one in made})
        store.jobs.finish([returned(one) for one in made])
        notes = store.jobs.note_all(session_id(), [("a", 1), ("b", 2)])
        store.jobs.post(session_id(), "stop")
        store.jobs.take(session_id())
        store.jobs.post(session_id(), "pause")
        commands = [(one.id, one.taken) for one in store.jobs.commands(session_id())]
        store.jobs.set_state(session_id(), "closed")
        ledger = store.jobs.ledger()
    with open_store(None) as store:
        report = store.merge([tmp_path / "two"])
        assert (report.jobs, report.arrays) == (5, 10)
        assert store.jobs.session(session_id()).state is SessionState.CLOSED
        assert store.jobs.ledger() == ledger
        assert store.jobs.notes(session_id()) == notes
        assert [(one.id, one.taken) for one in store.jobs.commands(session_id())] == commands
        for one in made:
            for position in range(2):
                np.testing.assert_array_equal(store.jobs.bits(one.id, position), bits(one, position))
        assert store.verify() == []
        assert store.merge([tmp_path / "two"]).jobs == 0
        assert store.jobs.notes(session_id()) == notes


@given(st.lists(st.sampled_from(["written", "uncertain", "sent", "done"]), min_size=2, max_size=3))
def test_merging_in_any_order(tmp_path_factory: pytest.TempPathFactory, states: list[str]) -> None:
    base = tmp_path_factory.mktemp("order")
    places = [filled(base / str(n), f"host{n}", state) for n, state in enumerate(states)]
    found = []
    for order in (places, places[::-1]):
        with open_store(None) as store:
            for place in order:
                store.merge([place])
            check(store, max(states, key=ORDER.index))
            found.append(replace(store.jobs.job(job_id(0)), sent=None, finished=None))
    assert found[0] == found[1]
    shutil.rmtree(base)


@given(
    st.sampled_from([JobState.WRITTEN, JobState.SENT, JobState.DONE]),
    st.tuples(st.integers(0, 3), st.none() | st.floats(0, 9), st.none() | st.floats(0, 9)),
    st.tuples(st.integers(0, 3), st.none() | st.floats(0, 9), st.none() | st.floats(0, 9)),
)
def test_which_of_two_records_counts_does_not_depend_on_their_order(
    state: JobState, one: tuple[int, float | None, float | None], two: tuple[int, float | None, float | None]
) -> None:
    a, b = (replace(job(0), state=state, attempts=tries, cost=cost, finished=end) for tries, cost, end in (one, two))
    assert further(a, b) == further(b, a)
    assert further(a, b) in (a, b)
    assert further(a, b).attempts == max(a.attempts, b.attempts)


# -- several hosts at work


def test_a_session_goes_on_on_another_host(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as ada:
        ada.jobs.open(session())
        made = [job(number) for number in range(4)]
        ada.jobs.write(made, [row for one in made for row in rows(one)])
        ada.jobs.sent({one.id: "p" for one in made[:3]})
        ada.jobs.finish([returned(made[0])])
        ada.jobs.note(session_id(), "from", "ada")
    before = (tmp_path / "ada.sqlite").read_bytes()
    with open_store(tmp_path, host="bob") as bob:
        assert bob.jobs.last(session_id()) == 3
        bob.jobs.finish([returned(made[1])])  # the first change brings the session along
        bob.jobs.sent({made[3].id: "p3"})
        bob.jobs.write([job(4)], rows(job(4)))
        bob.jobs.note(session_id(), "from", "bob")
        bob.jobs.set_state(session_id(), "broken")
        states = ["done", "done", "sent", "sent", "written"]
        assert [one.state for one in bob.jobs.jobs(session_id())] == states
        assert [one.number for one in bob.jobs.jobs(session_id(), ["sent"])] == [2, 3]
        assert bob.jobs.spent(session_id()).jobs == 5
        assert bob.verify() == []
    assert (tmp_path / "ada.sqlite").read_bytes() == before
    with open_store(tmp_path, host="ada") as ada:
        assert [one.state for one in ada.jobs.jobs(session_id())] == states
        assert [(note.number, note.host, note.body) for note in ada.jobs.notes(session_id())] == [
            (0, "ada", "ada"),
            (1, "bob", "bob"),
        ]
        assert ada.jobs.session(session_id()).state is SessionState.BROKEN
        np.testing.assert_array_equal(ada.jobs.bits(made[1].id, 0), bits(made[1]))
        ada.jobs.set_state(session_id(), "open")
        assert ada.jobs.session(session_id()).state is SessionState.OPEN
    (tmp_path / "ada.sqlite").unlink()
    with open_store(tmp_path, host="bob") as bob:  # bob's file stands alone, results included
        for one in made[:2]:
            np.testing.assert_array_equal(bob.jobs.bits(one.id, 0), bits(one))
        assert bob.verify() == []


def test_two_hosts_that_take_turns(tmp_path: Path) -> None:
    """Who takes a session back knows what the other did meanwhile, even in a store that was open all the time."""
    with open_store(tmp_path, host="ada") as ada, open_store(tmp_path, host="bob") as bob:
        ada.jobs.open(session())
        for turn in range(6):
            store, other = (ada, bob) if turn % 2 == 0 else (bob, ada)
            with store.lease(session_id()):
                record = job(2 * turn)
                assert store.jobs.last(session_id()) == 2 * turn - 1
                if turn:
                    before = job(2 * turn - 1)
                    store.jobs.finish([returned(before)])
                    with pytest.raises(ValueError, match="'done' stays so"):
                        store.jobs.mark(before.id, "failed")
                    with pytest.raises(ValueError, match="number must go on from"):
                        store.jobs.write([job(2 * turn - 1, id=job_id(99))], rows(job(2 * turn - 1, id=job_id(99))))
                store.jobs.write([record, job(2 * turn + 1)], [*rows(record), *rows(job(2 * turn + 1))])
                store.jobs.sent({record.id: "p", job_id(2 * turn + 1): "q"})
                store.jobs.finish([returned(record)])
            assert [one.state for one in other.jobs.jobs(session_id())] == ["done"] * (2 * turn + 1) + ["sent"]
            assert other.jobs.spent(session_id()).jobs == 2 * turn + 2
        assert ada.verify() == bob.verify() == []


def test_commands_from_another_host(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as ada, open_store(tmp_path, host="bob") as bob:
        ada.jobs.open(session())
        bob.jobs.post(session_id(), "from bob")
        ada.jobs.post(session_id(), "from ada")
        assert [command.body for command in ada.jobs.take(session_id())] == ["from bob", "from ada"]
        assert ada.jobs.take(session_id()) == []
        for store in (ada, bob):
            assert [(one.body, one.taken) for one in store.jobs.commands(session_id())] == [
                ("from bob", True),
                ("from ada", True),
            ]
        assert ada.gc().arrays == 0
        assert ada.jobs.take(session_id()) == []
        assert bob.verify() == []


# -- freeing


def test_gc_keeps_what_jobs_name(tmp_path: Path) -> None:
    with open_store(tmp_path, host="ada") as ada, open_store(tmp_path, host="bob") as bob:
        ada.jobs.open(session())
        made: list[JobRecord] = [job(number) for number in range(3)]
        ada.jobs.write(made, [row for one in made for row in rows(one)])
        ada.jobs.sent({one.id: "p" for one in made})
        ada.jobs.finish([returned(made[0])])
        bob.jobs.finish([returned(made[1])])
        with ada._folder.writer().write() as db:
            db.execute("INSERT INTO arrays VALUES ('x', '|u1', '[1]', x'00')")
        assert ada.gc().arrays == 1
        assert bob.gc().arrays == 0
        for one in made[:2]:
            np.testing.assert_array_equal(ada.jobs.bits(one.id, 0), bits(one))
        assert ada.verify() == []
