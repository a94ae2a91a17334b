"""Whatever ends a process, what it was told is recorded of its jobs is there; damage is found; two write at once."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from job_samples import OWNER, bits, job, job_id, returned, rows, session, session_id
from store_samples import finish, line, start

from varq.store.faults import StoreCorrupt, StoreFull
from varq.store.job_records import JobState
from varq.store.store import open_store

FILE = "ada.sqlite"
HEAD = "from job_samples import *"
STATES = ("written", "sent", "done")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound store with a session of two finished jobs and one that was sent."""
    with open_store(tmp_path / "runs", host="ada") as store:
        store.jobs.open(session())
        made = [job(number, circuits=2) for number in range(3)]
        store.jobs.write(made, [row for one in made for row in rows(one)])
        store.jobs.sent({one.id: f"p{one.number}" for one in made})
        store.jobs.finish([returned(one) for one in made[:2]])
        store.jobs.note(session_id(), "state", {"jobs": 3})
        store.jobs.post(session_id(), "stop")
    return tmp_path / "runs"


# -- sudden ends

STREAM = f"""
    {HEAD}
    with open_store(sys.argv[1], host="ada") as store:
        jobs = store.jobs
        jobs.open(session())
        with store.lease(session_id()):
            for number in range(jobs.last(session_id()) + 1, 10**9):
                record = job(number, circuits=1 + number % 3, paid=number % 5 == 0)
                jobs.write([record], rows(record))
                print(number, "written")
                jobs.sent({{record.id: f"p{{number}}"}})
                print(number, "sent")
                jobs.finish([returned(record, cost=1.0)])
                print(number, "done")
"""


def _killed(folder: Path, after: float) -> tuple[int, str]:
    """The last that a process had been told is recorded, when it was killed after so many seconds."""
    process = start(STREAM, folder)
    line(process)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    whole = out[: out.rfind("\n") + 1].split()
    return (int(whole[-2]), whole[-1]) if whole else (-1, "written")


def _survives(folder: Path, pauses: list[float]) -> None:
    first = 0
    for pause in pauses:
        number, state = _killed(folder, pause)
        with open_store(folder, host="ada") as store:
            assert store.verify() == []
            found = store.jobs.jobs(session_id())
            assert [one.number for one in found] == list(range(len(found)))
            of_this_life = found[first:]
            assert all(one.state is JobState.DONE for one in of_this_life[:-1])
            # What was acknowledged is there; the call in flight may be there too, but no other.
            last = found[-1]
            told = 3 * number + STATES.index(state)
            assert told <= 3 * last.number + STATES.index(last.state.value) <= told + 1 or number == -1
            for one in of_this_life:
                for position, result in store.jobs.results(OWNER, one.number, "step").items():
                    if one.state is JobState.DONE:
                        np.testing.assert_array_equal(result, bits(one, position))
                    else:
                        assert result == one.state.value
            assert store.jobs.spent(session_id()).jobs == len(found)
        first = len(found)


def test_jobs_survive_a_kill(tmp_path: Path) -> None:
    _survives(tmp_path / "runs", [0.0, 0.03, 0.2])


@pytest.mark.full
def test_jobs_survive_many_kills(tmp_path: Path) -> None:
    _survives(tmp_path / "runs", [0.003 * number for number in range(50)])


POINTS = f"""
    {HEAD}
    import sqlite3
    class Dying(sqlite3.Connection):
        def execute(self, sql, *more):
            if sql == "COMMIT" and armed:
                if armed[0] == "after":
                    super().execute(sql, *more)
                os.kill(os.getpid(), 9)
            return super().execute(sql, *more)
    real, armed = sqlite3.connect, []
    sqlite3.connect = lambda *a, **k: real(*a, factory=Dying, **k)
    jobs = open_store(sys.argv[1], host="ada").jobs
    record = job(2, circuits=2)
    armed.append(sys.argv[3])
    if sys.argv[2] == "written":
        jobs.write([job(3)], rows(job(3)))
    elif sys.argv[2] == "done":
        jobs.finish([returned(record)])
    else:
        jobs.mark(record.id, sys.argv[2])
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["written", "done", "failed"])
def test_a_kill_around_a_commit(folder: Path, call: str, when: str) -> None:
    process = start(POINTS, folder, call, when)
    _, error = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, error
    with open_store(folder, host="ada") as store:
        states = [one.state.value for one in store.jobs.jobs(session_id())]
        then = {"written": ["sent", "written"], "done": ["done"], "failed": ["failed"]}[call]
        assert states == ["done", "done", *(then if when == "after" else ["sent"])]
        assert store.verify() == []
        if call == "done":  # the same answer again, whether or not it was recorded
            store.jobs.finish([returned(job(2, circuits=2))])
            np.testing.assert_array_equal(store.jobs.bits(job_id(2), 1), bits(job(2), 1))


def test_a_full_disk(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        own = store._folder.writer()
        pages = own.read("PRAGMA page_count")[0][0]
        own.read(f"PRAGMA max_page_count = {pages + 4}")
        done = 2
        with pytest.raises(StoreFull, match=r"disk is full. What was written before is kept"):  # noqa: PT012
            for done in range(3, 2000):
                store.jobs.write([job(done)], rows(job(done)))
        assert [one.number for one in store.jobs.jobs(session_id())] == list(range(done))
        own.read("PRAGMA max_page_count = 1000000")
        store.jobs.write([job(done)], rows(job(done)))
        store.jobs.sent({job_id(done): "p"})
        store.jobs.finish([returned(job(done))])
        assert store.verify() == []


# -- several processes

POSTS = f"""
    {HEAD}
    with open_store(sys.argv[1], host="ada") as store:
        for number in range(int(sys.argv[3])):
            store.jobs.post(session_id(), [sys.argv[2], number])
"""
WATCHES = f"""
    {HEAD}
    after, seen = -1, []
    with open_store(sys.argv[1], read_only=True, host="ada") as store:
        print("watching")
        while "end" not in seen:
            for note in store.jobs.notes(session_id(), after):
                after = note.number
                seen.append(note.body)
            time.sleep(0.001)
    print(seen)
"""


def test_commands_and_notes_while_the_owner_writes(tmp_path: Path) -> None:
    """Each of two others' commands is taken once and in its order; a viewer sees every note; no job is lost."""
    posts = 150
    with open_store(tmp_path / "runs", host="ada") as store:
        jobs = store.jobs
        jobs.open(session())
        viewer = start(WATCHES, tmp_path / "runs")
        line(viewer)
        others = [start(POSTS, tmp_path / "runs", name, posts) for name in ("one", "two")]
        taken: list[list[object]] = []
        number = 0
        with store.lease(session_id()):
            while len(taken) < 2 * posts:
                record = job(number)
                jobs.write([record], rows(record))
                taken += [command.body for command in jobs.take(session_id())]
                jobs.sent({record.id: "p"})
                jobs.finish([returned(record)])
                jobs.note(session_id(), "job", number)
                number += 1
        jobs.note(session_id(), "end", "end")
        for other in others:
            finish(other)
        assert finish(viewer).strip() == str([*range(number), "end"])
        for name in ("one", "two"):
            assert [body[1] for body in taken if body[0] == name] == list(range(posts))
        assert jobs.take(session_id()) == []
        assert [one.state for one in jobs.jobs(session_id())] == ["done"] * number
        assert store.verify() == []


TAKES = f"""
    {HEAD}
    with open_store(sys.argv[1], host="ada") as store:
        print("ready")
        sys.stdin.readline()
        found = []
        for _ in range(40):
            found += [command.body for command in store.jobs.take(session_id())]
        print(found)
"""


def test_two_that_take_at_once_share_the_commands(tmp_path: Path) -> None:
    with open_store(tmp_path / "runs", host="ada") as store:
        store.jobs.open(session())
        takers = [start(TAKES, tmp_path / "runs", stdin=-1) for _ in range(2)]
        for taker in takers:
            line(taker)
            assert taker.stdin is not None
            taker.stdin.write("go\n")
            taker.stdin.flush()
        for number in range(40):
            store.jobs.post(session_id(), number)
        found = [int(word) for taker in takers for word in finish(taker).strip("[]\n").split(",") if word.strip()]
        left = [command.body for command in store.jobs.take(session_id())]
        assert sorted(found + left) == list(range(40))


# -- damage


@pytest.mark.parametrize(
    ("sql", "where", "what"),
    [
        ("UPDATE sessions SET settings = '{}'", f"session {session_id()}", "seal"),
        ("UPDATE jobs SET cost = 0.0 WHERE number = 1", f"job {job_id(1)}", "seal"),
        ("UPDATE jobs SET state = 'unsent' WHERE number = 2", f"job {job_id(2)}", "seal"),
        ("UPDATE jobs SET provider_id = 'x' WHERE number = 2", f"job {job_id(2)}", "seal"),
        ("UPDATE jobs SET session = 9 WHERE number = 2", "jobs", "1 row with no session"),
        ("UPDATE circuits SET shots = 7 WHERE position = 1", f"circuit 1 of job {job_id(0)}", "seal"),
        ("UPDATE circuits SET bits = NULL WHERE position = 1", f"circuit 1 of job {job_id(0)}", "seal"),
        ("DELETE FROM circuits WHERE position = 1", f"job {job_id(0)}", "1 of 2 circuits are there"),
        ("DELETE FROM circuits WHERE position = 1", "uses", "3 rows with no circuit"),
        ("DELETE FROM jobs WHERE number = 1", "circuits", "2 rows with no job"),
        ("UPDATE uses SET item = 5 WHERE position = 1", f"circuit 1 of job {job_id(0)}", "seal"),
        ("DELETE FROM uses WHERE position = 1", f"circuit 1 of job {job_id(0)}", "seal"),
        ("UPDATE notes SET body = '1'", f"note 0 of session {session_id()}", "seal"),
        ("DELETE FROM sessions", "notes", "1 row with no session"),
        ("UPDATE commands SET body = '1'", "command ", "seal"),
        ("DELETE FROM arrays", f"circuit 1 of job {job_id(1)}", "it names is missing"),
    ],
)
def test_changes_by_hand_are_found(folder: Path, sql: str, where: str, what: str) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(sql)
        db.commit()
    with open_store(folder, host="ada") as store:
        found = [(finding.where, finding.what) for finding in store.verify()]
    assert any(place.startswith(where) and what in said for place, said in found), found


def test_what_was_changed_is_not_used(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE jobs SET state = 'unsent' WHERE number = 2")
        db.execute("UPDATE circuits SET seed = 7 WHERE job = 1 AND position = 1")
        db.execute("UPDATE sessions SET device = 'x'")
        db.execute("UPDATE notes SET kind = 'x'")
        db.execute("UPDATE commands SET body = '2'")
        db.commit()
    with open_store(folder, host="ada") as store:
        for match, call in {
            rf"Job {job_id(2)} of .* is not what was written": lambda: store.jobs.jobs(session_id()),
            rf"Job {job_id(2)} .* its seal does not fit": lambda: store.jobs.mark(job_id(2), "failed"),
            rf"Circuit 1 of job {job_id(0)} .* its seal": lambda: store.jobs.results(OWNER, 0, "step"),
            r"The session session-00000000 .* its seal": lambda: store.jobs.session(session_id()),
            r"Note 0 of session session-00000000 .* its seal": lambda: store.jobs.notes(session_id()),
            r"Command .* its seal": lambda: store.jobs.take(session_id()),
        }.items():
            with pytest.raises(StoreCorrupt, match=match):
                call()  # type: ignore[no-untyped-call]


def test_one_changed_bit_of_a_result(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        (sha,) = db.execute("SELECT bits FROM circuits WHERE job = 1 AND position = 0").fetchone()
        (data,) = db.execute("SELECT data FROM arrays WHERE sha256 = ?", (sha,)).fetchone()
        db.execute("UPDATE arrays SET data = ? WHERE sha256 = ?", (bytes([data[0] ^ 1]) + data[1:], sha))
        db.commit()
    with open_store(folder, host="ada") as store:
        with pytest.raises(StoreCorrupt, match="its bytes have changed"):
            store.jobs.bits(job_id(0), 0)
        assert [finding.where for finding in store.verify()] == [f"array {sha[:12]}"]


def test_a_result_that_is_gone(folder: Path) -> None:
    copy = shutil.copytree(folder, folder.parent / "copy")
    with closing(sqlite3.connect(copy / FILE)) as db:
        db.execute("DELETE FROM arrays")
        db.commit()
    with open_store(copy, host="ada") as store:
        with pytest.raises(LookupError, match=r"The store has not the result of circuit 1 of job"):
            store.jobs.bits(job_id(0), 1)
        store.merge([folder])
        np.testing.assert_array_equal(store.jobs.bits(job_id(0), 1), bits(job(0), 1))
        assert store.verify() == []
