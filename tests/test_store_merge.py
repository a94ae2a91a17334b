"""Several files read as one, stores made one, and what is not needed any more."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import BIG, BIG_SHA, contents, record, row, run_id

from varq.session.reporting import RUN as RUN_NOTE
from varq.spec import array_digest
from varq.store.circuit_records import CircuitRow
from varq.store.faults import ConflictError, OwnedError, StoreCorrupt, StoreError, StoreForeign, StoreUnwritable
from varq.store.job_records import JobRecord, SessionRecord
from varq.store.records import GcReport, MergeReport
from varq.store.store import Store, open_store

RUN = run_id(0)
NAMES = f'{{"$":"array","sha256":"{BIG_SHA}"}}'


def filled(path: Path, host: str, steps: int, number: int = 0) -> Path:
    with open_store(path, host=host) as store:
        store.create(record(number, spec=NAMES), {BIG_SHA: BIG})
        for step in range(steps):
            store.append(run_id(number), row(step))
    return path


# -- files of several hosts


def test_a_run_goes_on_on_another_host(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 3)
    before = contents(tmp_path)
    with open_store(tmp_path, host="bob") as bob:
        assert bob.get(RUN) == record(spec=NAMES, steps=3, seconds=0.5)
        with bob.lease(RUN):
            assert bob.rows(RUN) == [row(step) for step in range(3)]
            bob.append(RUN, row(2))  # replayed: it is there already
            with pytest.raises(ConflictError, match=r"step 1 \(step\)"):
                bob.append(RUN, row(1, value=3.0))
            bob.append(RUN, row(3))
        assert bob.rows(RUN, 2) == [row(2), row(3)]
        bob.conclude(RUN, "steps", "{}", {}, 4, -1.0)
        assert bob.verify() == []
    assert contents(tmp_path)["ada.sqlite"] == before["ada.sqlite"]
    with open_store(tmp_path, host="ada") as ada:
        (run,) = ada.list()
        assert (run.reason, run.steps, run.host) == ("steps", 4, "ada")
        ada.reopen(RUN)
        ada.append(RUN, row(4))
        again = ada.get(RUN)
        assert again is not None
        assert (again.reason, again.steps) == (None, 5)
        ada.conclude(RUN, "converged", "{}", {}, 5, -2.0)
    (tmp_path / "ada.sqlite").rename(tmp_path / "elsewhere")
    with open_store(tmp_path, host="bob") as bob:  # bob's file stands alone, with the arrays of the spec
        assert bob.get(RUN) is not None
        np.testing.assert_array_equal(bob.array(BIG_SHA), BIG)


def test_files_that_come_and_go(tmp_path: Path) -> None:
    filled(tmp_path / "far", "bob", 2, number=1)
    with open_store(tmp_path / "near", host="ada") as store:
        assert store.list() == []
        shutil.copy(tmp_path / "far" / "bob.sqlite", tmp_path / "near")
        assert [r.title for r in store.list()] == ["VQE 1"]
        filled(tmp_path / "far", "bob", 3, number=2)
        shutil.copy(tmp_path / "far" / "bob.sqlite", tmp_path / "near" / "new")
        os.replace(tmp_path / "near" / "new", tmp_path / "near" / "bob.sqlite")
        assert [r.title for r in store.list()] == ["VQE 2", "VQE 1"]
        (tmp_path / "near" / "bob.sqlite").unlink()
        assert store.list() == []


def test_hosts_that_contradict_each_other(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 2)
    filled(tmp_path / "far", "bob", 1)
    with open_store(tmp_path / "far", host="bob") as store:
        store.append(RUN, row(1, value=9.0))
    shutil.copy(tmp_path / "far" / "bob.sqlite", tmp_path)
    with open_store(tmp_path, host="ada") as store:
        with pytest.raises(ConflictError, match=r"(?s)step 1.*reply here:.*reply there:"):
            store.rows(RUN)
        (finding,) = store.verify()
        assert (finding.where, finding.what) == ("step 1 (step)", "another host's file has another content")


def test_a_file_in_the_folder_that_is_not_varqs(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 1)
    (tmp_path / "notes.sqlite").write_text("notes")
    with pytest.raises(StoreForeign, match=r"notes\.sqlite is none"):
        open_store(tmp_path, host="ada")
    (tmp_path / "notes.sqlite").rename(tmp_path / "notes.txt")
    with open_store(tmp_path, host="ada") as store:
        (tmp_path / "notes.txt").rename(tmp_path / "notes.sqlite")
        assert any("notes.sqlite" in finding.what for finding in store.verify())


# -- merging


def test_merging_two_stores(tmp_path: Path) -> None:
    filled(tmp_path / "one", "ada", 3)
    filled(tmp_path / "two", "bob", 5)
    filled(tmp_path / "two", "eve", 2, number=1)
    with open_store(tmp_path / "two", host="bob") as store:
        store.conclude(RUN, "steps", "{}", {}, 5, -1.0)
    before = contents(tmp_path / "two")
    with open_store(tmp_path / "one", host="ada") as store:
        assert store.merge([tmp_path / "two"]) == MergeReport(files=2, runs=1, rows=4, arrays=0, equal=3, results=1)
        assert store.rows(RUN) == [row(step) for step in range(5)]
        assert [(r.title, r.steps, r.reason) for r in store.list()] == [("VQE 1", 2, None), ("VQE 0", 5, "steps")]
        assert store.verify() == []
        assert store.merge([tmp_path / "two"]) == MergeReport(files=2, runs=0, rows=0, arrays=0, equal=7, results=0)
    assert contents(tmp_path / "two") == before


def test_merging_takes_arrays_and_single_files(tmp_path: Path) -> None:
    filled(tmp_path / "two", "bob", 1)
    with open_store(None) as store:
        assert store.merge([str(tmp_path / "two" / "bob.sqlite")]).arrays == 1
        np.testing.assert_array_equal(store.array(BIG_SHA), BIG)
        assert store.verify() == []


def test_merging_the_other_hosts_of_its_own_folder(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 1)
    filled(tmp_path, "bob", 3)
    with open_store(tmp_path, host="ada") as store:
        report = store.merge([tmp_path])
        assert (report.files, report.rows) == (1, 2)
    (tmp_path / "bob.sqlite").unlink()
    with open_store(tmp_path, host="ada") as store:
        assert len(store.rows(RUN)) == 3


def test_merging_what_differs_merges_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "one", "ada", 3)
    filled(tmp_path / "two", "bob", 3, number=1)
    filled(tmp_path / "three", "eve", 1)
    with open_store(tmp_path / "three", host="eve") as store:
        for step in range(1, 8):
            store.append(RUN, row(step, value=float(step)))
    with open_store(tmp_path / "one", host="ada") as store:
        with pytest.raises(ConflictError, match=r"(?s)2 differ.*Nothing was merged.*step 1 .*here:.*there:.*step 2 "):
            store.merge([tmp_path / "two", tmp_path / "three"])
        assert store.get(run_id(1)) is None
        assert store.rows(RUN) == [row(step) for step in range(3)]
        with open_store(tmp_path / "four") as other:
            other.create(record(identity="f" * 64), {})
        with pytest.raises(ConflictError, match="one identity"):
            store.merge([tmp_path / "four"])


def test_of_two_results_the_one_with_more_steps_stays(tmp_path: Path) -> None:
    for host, steps in (("ada", 4), ("bob", 6), ("eve", 5)):
        with open_store(tmp_path / host, host=host) as store:
            store.create(record(created=float(steps)), {})
            store.conclude(RUN, "steps", "{}", {}, steps, float(steps))
    with open_store(tmp_path / "ada", host="ada") as store:
        store.merge([tmp_path / "bob", tmp_path / "eve"])
        (run,) = store.list()
        assert (run.steps, run.value, run.created) == (6, 6.0, 4.0)
        assert store.verify() == []


def test_an_earlier_beginning_replaces_a_later_one(tmp_path: Path) -> None:
    for host, created in (("ada", 20.0), ("bob", 10.0)):
        with open_store(tmp_path / host, host=host) as store:
            store.create(record(created=created, host=host), {})
    with open_store(tmp_path / "ada", host="ada") as store:
        store.merge([tmp_path / "bob"])
        assert (store.list()[0].created, store.list()[0].host) == (10.0, "bob")
        assert store.verify() == []


def test_merging_bad_sources(tmp_path: Path) -> None:
    filled(tmp_path / "two", "bob", 2)
    with open_store(tmp_path / "one") as store:
        with pytest.raises(StoreError, match=r"There is no store at .*nowhere"):
            store.merge([tmp_path / "nowhere"])
        with pytest.raises(TypeError, match="others must be a list of stores"):
            store.merge(str(tmp_path / "two"))
        with closing(sqlite3.connect(tmp_path / "two" / "bob.sqlite")) as db:
            db.execute("UPDATE steps SET reply = 'forged' WHERE step = 1")
            db.commit()
        with pytest.raises(StoreCorrupt, match="Step 1 of run"):
            store.merge([tmp_path / "two"])
        assert store.list() == []
        store.create(record(5), {})  # the damage is not this file's


@given(
    ours=st.sets(st.integers(0, 12)),
    theirs=st.sets(st.integers(0, 12)),
    third=st.sets(st.integers(0, 12)),
)
def test_merging_is_a_union_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, ours: set[int], theirs: set[int], third: set[int]
) -> None:
    base = tmp_path_factory.mktemp("union")
    for host, steps in (("ada", ours), ("bob", theirs), ("eve", third)):
        with open_store(base / host, host=host) as store:
            store.create(record(), {})
            for step in steps:
                store.append(RUN, row(step))
    found = []
    for order in (["ada", "bob", "eve"], ["eve", "ada", "bob"]):
        with open_store(None) as store:
            for host in order:
                store.merge([base / host])
            found.append(store.rows(RUN))
    assert found[0] == found[1] == [row(step) for step in sorted(ours | theirs | third)]
    shutil.rmtree(base)


# -- removing and freeing


def _sizes(store: Store) -> dict[str, int]:
    own = store._folder.writer()
    return {t: own.read(f"SELECT count(*) FROM {t}")[0][0] for t in ("runs", "steps", "results", "arrays", "leases")}


def test_removing_runs(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 3)
    filled(tmp_path, "ada", 2, number=1)
    with open_store(tmp_path, host="ada") as store:
        with pytest.raises(LookupError, match="There is no run"):
            store.remove([RUN[:8], "ffffffff"])
        with pytest.raises(TypeError, match="run_ids must be of type list"):
            store.remove(RUN)
        with store.lease(RUN), pytest.raises(OwnedError, match=r"in this process.*Nothing was removed"):
            store.remove([run_id(1), RUN])
        assert len(store.list()) == 2
        assert store.remove([RUN[:8]]) == [RUN]
        assert [r.title for r in store.list()] == ["VQE 1"]
        assert store.remove([run_id(1)]) == [run_id(1)]
        assert store.gc().arrays == 1
        assert set(_sizes(store).values()) == {0}
        store.create(record(), {})
        store.append(RUN, row(0, value=4.0))  # nothing of the old one is in the way


def test_removing_a_run_of_another_host(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 1)
    refusal = r"is also in .*ada\.sqlite.*Nothing was removed"
    with open_store(tmp_path, host="bob") as store, pytest.raises(StoreUnwritable, match=refusal):
        store.remove([RUN])


def test_gc_frees_only_what_nothing_needs(tmp_path: Path) -> None:
    needed = [np.full(2000, float(n)) for n in range(4)]
    names = [f'{{"sha256":"{array_digest(a)}"}}' for a in needed]
    arrays = {array_digest(a): a for a in needed}
    filled(tmp_path, "ada", 40, number=1)
    with open_store(tmp_path, host="ada") as store:
        store.create(record(spec=names[0]), arrays)
        store.append(RUN, row(0, request=names[1], reply=names[2]), {BIG_SHA: BIG})
        store.conclude(RUN, "steps", names[3], {}, 1)
        store.create(record(2, created=time.time() - 90_000), {})  # old, and nothing came of it
        store.create(record(3, created=time.time() - 80_000), {})
        store.create(record(4, created=time.time() - 90_000), {})
        store.create(record(5, created=time.time() - 90_000, reason="failed", result="{}"), {})
        store.remove([run_id(1)])
        with store.lease(run_id(4)):
            report = store.gc()
        assert (report.arrays, report.runs) == (1, 1)
        assert report.bytes > 40 * 2000
        assert {r.id for r in store.list()} == {RUN, run_id(3), run_id(4), run_id(5)}
        for sha, array in arrays.items():
            np.testing.assert_array_equal(store.array(sha), array)
        assert store.verify() == []
        assert store.gc() == GcReport(arrays=0, runs=1, leases=0, files=0, bytes=0)


def test_gc_heeds_the_files_of_other_hosts(tmp_path: Path) -> None:
    with ExitStack() as stack:
        ada = stack.enter_context(open_store(tmp_path, host="ada"))
        bob = stack.enter_context(open_store(tmp_path, host="bob"))
        ada.create(record(created=1.0), {BIG_SHA: BIG})
        bob.append(RUN, row(0, reply=NAMES))
        report = ada.gc()
        assert (report.arrays, report.runs) == (0, 0)
        np.testing.assert_array_equal(bob.array(BIG_SHA), BIG)


@pytest.mark.parametrize("where", ["ada", "bob"])
def test_gc_leaves_runs_that_wait_for_a_job_or_for_their_session(tmp_path: Path, where: str) -> None:
    """What a run paid for may come back after a day, and a session that was left goes on with all that it had."""
    with open_store(tmp_path, host="ada") as ada, open_store(tmp_path, host=where) as store:
        for number in range(4):
            ada.create(record(number, created=1.0), {})
        for name, state in (("session-0a", "open"), ("session-0b", "closed")):
            store.jobs.open(SessionRecord(name, 1.0, where, "varq.qubit"))
            store.jobs.set_state(name, state)
        one = JobRecord("varq-0001", "session-0b", 0, "varq.qubit", circuits=1, shots=2, created=1.0, paid=True)
        store.jobs.write([one], [CircuitRow(one.id, 0, "0" * 64, 2, 7, ((run_id(0), 0, "step", 0),))])
        store.jobs.note("session-0a", RUN_NOTE, {"run": run_id(1)})
        store.jobs.note("session-0b", RUN_NOTE, {"run": run_id(2)})
        assert ada.gc().runs == 2
        assert {one.id for one in ada.list()} == {run_id(0), run_id(1)}


def test_gc_deletes_old_drafts_of_files(tmp_path: Path) -> None:
    filled(tmp_path, "ada", 1)
    old, new = tmp_path / ".ada.sqlite.00ff.tmp", tmp_path / ".ada.sqlite.11ff.tmp"
    for draft in (old, new):
        draft.write_bytes(b"")
    os.utime(old, (1.0, 1.0))
    with open_store(tmp_path, host="ada") as store:
        assert store.gc().files == 1
    assert not old.exists()
    assert new.exists()
