"""One owner a run: across objects, threads, processes and hosts, and how a run passes on when its owner is gone."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from store_samples import finish, line, record, row, run_id, start

from varq.store import lease as leases
from varq.store.faults import OwnedError
from varq.store.lease import Holder, Process, process_alive
from varq.store.store import Store, open_store

RUN = run_id(0)

OWNER = """
    store = open_store(sys.argv[1], host=sys.argv[2], heartbeat=float(sys.argv[3]))
    store.create(record(), {})
    with store.lease(run_id(0)):
        store.append(run_id(0), row(0))
        print(os.getpid())
        time.sleep(float(sys.argv[4]))
        store.append(run_id(0), row(1))
    store.close()
"""


def soon(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def age(folder: Path, host: str, seconds: float) -> None:
    """Makes the heartbeats in a host's file older."""
    with closing(sqlite3.connect(folder / f"{host}.sqlite")) as db:
        db.execute("UPDATE leases SET heartbeat = heartbeat - ?", (seconds,))
        db.commit()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


# -- within a process


def test_a_lease_is_given_back(folder: Path) -> None:
    with open_store(folder) as store:
        for _ in range(3):
            with store.lease(RUN) as lease:
                assert not lease.lost


@pytest.mark.parametrize("place", ["same store", "another store", "memory"])
def test_one_run_object_at_a_time(folder: Path, place: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(open_store(None if place == "memory" else folder))
        second = stack.enter_context(open_store(folder)) if place == "another store" else first
        with first.lease(RUN):
            with pytest.raises(OwnedError, match=r"by another run object in this process.*Use that object, end it"):
                second.lease(RUN).__enter__()
            with second.lease(run_id(1)):
                pass
        with second.lease(RUN):
            pass


def test_taking_a_run_from_another_object(folder: Path) -> None:
    with open_store(folder) as store:
        store.create(record(), {})
        with store.lease(RUN) as old:
            store.append(RUN, row(0))
            with open_store(folder) as other, other.lease(RUN, take_over=True):
                with pytest.raises(OwnedError, match="was taken over by somebody else"):
                    store.append(RUN, row(1))
                with pytest.raises(OwnedError, match="was taken over"):
                    store.conclude(RUN, "steps", "{}")
                assert old.lost
                other.append(RUN, row(1))
        assert len(store.rows(RUN)) == 2
        with store.lease(RUN):
            store.append(RUN, row(2))


def test_a_dropped_lease_is_given_back(folder: Path) -> None:
    with open_store(folder) as store:
        lease = store.lease(RUN)
        lease.__enter__()
        del lease
        gc.collect()
        with store.lease(RUN) as again:
            assert not again.lost


def test_closing_a_store_gives_its_runs_back(folder: Path) -> None:
    store = open_store(folder)
    lease = store.lease(RUN)
    lease.__enter__()
    store.close()
    with open_store(folder) as other, other.lease(RUN) as again:
        assert not again.lost


def test_bad_arguments(folder: Path) -> None:
    with open_store(folder) as store:
        with pytest.raises(TypeError, match="run_id must be of type str"):
            store.lease(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="take_over must be True or False"):
            store.lease(RUN, take_over="yes")  # type: ignore[arg-type]


# -- between processes


def test_another_process_owns_it(folder: Path) -> None:
    owner = start(OWNER, folder, "ada", 0.1, 2)
    pid = line(owner)
    with open_store(folder, host="ada") as store:
        for take_over, way in ((False, "pass take_over=True once"), (True, "can be taken over once its heartbeat is")):
            with pytest.raises(
                OwnedError,
                match=rf"owned by pid {pid} on host ada since \d{{4}}-\d\d-\d\d \S+ UTC; heartbeat \d+ s ago.*{way}",
            ):
                store.lease(RUN, take_over).__enter__()
        with pytest.raises(OwnedError, match=rf"removed only when nobody owns it.*pid {pid}.*Nothing was removed"):
            store.remove([RUN])
        finish(owner)
        with store.lease(RUN):
            assert len(store.rows(RUN)) == 2


def test_a_killed_owner_is_replaced_at_once(folder: Path) -> None:
    owner = start(OWNER, folder, "ada", 10, 60)
    line(owner)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    with open_store(folder, host="ada") as store, store.lease(RUN):
        store.append(RUN, row(1))
        assert store.rows(RUN) == [row(0), row(1)]


def test_a_killed_owner_that_nobody_has_waited_for_is_replaced_too(folder: Path) -> None:
    owner = start(OWNER, folder, "ada", 10, 60)
    line(owner)
    os.kill(owner.pid, signal.SIGKILL)
    with open_store(folder, host="ada") as store:
        me = Process.this("ada")
        assert soon(lambda: not all(process_alive(h, me) for h in leases.holders([store._folder.writer()], RUN)))
        with store.lease(RUN):
            pass
    owner.communicate()


def test_a_number_that_another_process_has_now_is_no_owner(folder: Path) -> None:
    owner = start(OWNER, folder, "ada", 10, 60)
    line(owner)
    owner.kill()
    owner.communicate()
    with closing(sqlite3.connect(folder / "ada.sqlite")) as db:
        db.execute("UPDATE leases SET pid = ?", (os.getpid(),))  # alive, but started at another time
        db.commit()
    with open_store(folder, host="ada") as store, store.lease(RUN) as lease:
        assert not lease.lost


def test_processes_that_started_in_one_tick_of_the_clock_are_two(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick is 10 ms on Linux and a second on macOS: workers of one pool often share it."""
    monkeypatch.setattr(leases, "_start", lambda pid: "7")
    owner = start(OWNER, folder, "ada", 60, 60)
    pid = int(line(owner))
    with closing(sqlite3.connect(folder / "ada.sqlite")) as db:
        db.execute("UPDATE leases SET process = ?", (Process.this("ada").mark,))
        db.commit()
    try:
        with open_store(folder, host="ada", stale=30) as store:
            with pytest.raises(OwnedError, match=f"owned by pid {pid} on host ada"):
                store.lease(RUN, take_over=True).__enter__()
            assert not store.jobs.late(RUN)
            assert [holder.pid for holder in store.jobs.at_work()] == [pid]
            age(folder, "ada", 60)
            assert store.jobs.late(RUN)
            with store.lease(RUN, take_over=True) as lease:
                assert not lease.lost
    finally:
        owner.kill()
        owner.communicate()


def test_a_stopped_owner_is_replaced_when_asked_to_and_stale(folder: Path) -> None:
    owner = start(OWNER, folder, "ada", 0.05, 2)
    line(owner)
    owner.send_signal(signal.SIGSTOP)
    try:
        with open_store(folder, host="ada", stale=0.5) as store:
            time.sleep(0.6)
            assert not store.jobs.abandoned(RUN)  # it is seen to live
            assert store.jobs.late(RUN)
            with pytest.raises(OwnedError, match="owned by pid"):
                store.lease(RUN).__enter__()
            with store.lease(RUN, take_over=True):
                store.append(RUN, row(1, value=5.0))
                owner.send_signal(signal.SIGCONT)
                _, error = owner.communicate(timeout=60)
                assert "OwnedError" in error
                assert "was taken over by somebody else" in error
            assert store.rows(RUN) == [row(0), row(1, value=5.0)]
    finally:
        owner.kill()


def test_the_heart_beats_while_a_run_is_held(folder: Path) -> None:
    with open_store(folder, host="ada", heartbeat=0.02) as store:

        def heartbeat() -> float:
            return float(store._folder.writer().read("SELECT heartbeat FROM leases")[0][0])

        with store.lease(RUN):
            first = heartbeat()
            assert soon(lambda: heartbeat() > first)
            assert [t.daemon for t in threading.enumerate() if t.name == "varq-heartbeat"] == [True]
        assert soon(lambda: not any(t.name == "varq-heartbeat" for t in threading.enumerate()))


def test_the_heart_does_not_disturb_who_appends(folder: Path) -> None:
    with open_store(folder, heartbeat=0.001) as store:
        store.create(record(), {})
        with store.lease(RUN):
            for step in range(300):
                store.append(RUN, row(step))
        assert store.rows(RUN) == [row(step) for step in range(300)]


def test_a_heart_that_cannot_write_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(folder, heartbeat=0.02, timeout=0.01) as store:
        store.create(record(), {})
        with store.lease(RUN):
            with closing(sqlite3.connect(store._folder.writer().path or "", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                assert soon(lambda: "A heartbeat could not be written" in caplog.text)
                other.execute("ROLLBACK")
            store.append(RUN, row(0))


# -- between hosts


def two(folder: Path, stack: ExitStack, **options: float) -> tuple[Store, Store]:
    return (
        stack.enter_context(open_store(folder, host="ada", **options)),
        stack.enter_context(open_store(folder, host="bob", **options)),
    )


def test_another_host_owns_it(folder: Path) -> None:
    with ExitStack() as stack:
        ada, bob = two(folder, stack)
        with ada.lease(RUN):
            with pytest.raises(OwnedError, match=rf"owned by pid {os.getpid()} on host ada since"):
                bob.lease(RUN).__enter__()
            with pytest.raises(OwnedError, match="once its heartbeat is older than 60 s"):
                bob.lease(RUN, take_over=True).__enter__()
        with bob.lease(RUN), pytest.raises(OwnedError, match="on host bob"):
            ada.lease(RUN).__enter__()


def test_a_silent_host_is_replaced_when_asked_to(folder: Path) -> None:
    with ExitStack() as stack:
        ada, bob = two(folder, stack)
        ada.create(record(), {})
        with ada.lease(RUN) as lost:
            ada.append(RUN, row(0))
            assert not bob.jobs.abandoned(RUN)
            assert not bob.jobs.late(RUN)
            age(folder, "ada", 61)
            assert bob.jobs.abandoned(RUN)
            assert bob.jobs.late(RUN)
            assert not ada.jobs.late(RUN), "it is its own"
            with pytest.raises(OwnedError, match="heartbeat 61 s ago"):
                bob.lease(RUN).__enter__()
            with bob.lease(RUN, take_over=True):
                bob.append(RUN, row(1))
                ada._keeper.beat()  # type: ignore[union-attr]
                assert lost.lost
                with pytest.raises(OwnedError, match="was taken over"):
                    ada.append(RUN, row(1))
            # What bob gave back stays his: ada's older row does not come to life again.
            assert not bob.jobs.abandoned(RUN)
            assert bob._keeper.owner(RUN) is None  # type: ignore[union-attr]
        with ada.lease(RUN):
            assert ada.rows(RUN) == [row(0), row(1)]


def test_the_same_host_after_a_reboot(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        with store.lease(RUN), closing(sqlite3.connect(folder / "ada.sqlite")) as db:
            db.execute("UPDATE leases SET process = 'boot-before/1/77', token = 'gone'")
            db.commit()
        with pytest.raises(OwnedError, match="on host ada"):
            store.lease(RUN).__enter__()
        age(folder, "ada", 61)
        with store.lease(RUN):
            pass


def test_two_hosts_that_ask_at_once_are_never_both_owners(folder: Path) -> None:
    with ExitStack() as stack:
        stores = two(folder, stack)
        for turn in range(25):
            name = run_id(turn)
            gate = threading.Barrier(2)
            inside: list[str] = []
            both: list[bool] = []

            def ask(
                store: Store,
                name: str = name,
                gate: threading.Barrier = gate,
                inside: list[str] = inside,
                both: list[bool] = both,
            ) -> None:
                gate.wait()
                try:
                    with store.lease(name):
                        inside.append(store.host)
                        time.sleep(0.005)
                        both.append(len(inside) > 1)
                        inside.remove(store.host)
                except OwnedError:
                    pass

            threads = [threading.Thread(target=ask, args=(store,)) for store in stores]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not any(both)


# -- who is alive


def test_what_can_be_seen_of_a_process() -> None:
    me = Process.this("ada")
    mine = Holder("r", 1, "t", "ada", me.pid, me.mark, 0.0, 0.0, 0)
    boot, namespace, begun = me.mark.split("/")
    assert process_alive(mine, me) is True
    assert process_alive(Holder("r", 1, "t", "bob", me.pid, me.mark, 0.0, 0.0, 0), me) is None
    assert process_alive(Holder("r", 1, "t", "ada", me.pid, f"{boot}/{namespace}/{begun}0", 0.0, 0.0, 0), me) is False
    assert process_alive(Holder("r", 1, "t", "ada", me.pid, f"{boot}/other/{begun}", 0.0, 0.0, 0), me) is None
    assert process_alive(Holder("r", 1, "t", "ada", 2**22 + 1, me.mark, 0.0, 0.0, 0), me) is False
    assert process_alive(Holder("r", 1, "t", "ada", me.pid, f"{boot}/{namespace}/", 0.0, 0.0, 0), me) is True


def test_without_a_proc_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases.Path, "exists", lambda self: False)
    begun = leases._start(os.getpid())
    assert begun is not None
    assert begun == leases._start(os.getpid())
    assert leases._start(2**22 + 1) is None
    if os.path.exists("/bin/ps") or os.path.exists("/usr/bin/ps"):
        assert str(time.localtime().tm_year) in begun
