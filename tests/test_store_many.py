"""Folders with more files than a process may have open: all are read, a few are open at a time."""

from __future__ import annotations

import os
import resource
import shutil
import threading
from pathlib import Path

import pytest
from store_samples import record, row, run_id

from varq.store import folder
from varq.store.faults import StoreError
from varq.store.store import Store, open_store

FILES, OPEN = 30, 4


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one run in each of many workers' files."""
    where = tmp_path / "runs"
    for number in range(FILES):
        with open_store(where, host="ada", part=f"part-{number}") as store:
            store.create(record(number), {})
            store.append(run_id(number), row(1))
    monkeypatch.setattr(folder, "_most_open", lambda: OPEN)
    return where


def opened(where: Path) -> set[str]:
    """The files of a folder that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = Path(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
        if target.parent == where and target.suffix == ".sqlite":
            found.add(target.name)
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what is open is read from /proc")


def read_all(store: Store) -> list[str]:
    return sorted(found.id for found in store.list() if store.rows(found.id))


@needs_proc
def test_a_few_files_are_open_at_a_time_and_all_are_read(crowd: Path) -> None:
    with open_store(crowd, host="bob") as store:
        assert len(opened(crowd)) <= OPEN + 1
        assert read_all(store) == sorted(run_id(number) for number in range(FILES))
        assert len(opened(crowd)) <= OPEN + 1
        assert store.verify() == []
        with store.lease(run_id(3)):
            store.append(run_id(3), row(2))
        assert [found.step for found in store.rows(run_id(3))] == [1, 2]
    assert opened(crowd) == set()


@needs_proc
def test_a_file_that_is_being_read_stays_open(crowd: Path) -> None:
    with open_store(crowd, read_only=True) as store:
        first = store._folder.files()[0]
        rows = first.each("SELECT id FROM runs UNION ALL SELECT id FROM runs")
        assert next(rows)[0] == run_id(0)
        assert len(read_all(store)) == FILES
        assert str(first.name) in {str(crowd / name) for name in opened(crowd)}
        assert next(rows)[0] == run_id(0)
        rows.close()
        assert len(read_all(store)) == FILES
        assert len(opened(crowd)) <= OPEN


def test_threads_that_read_at_once_close_nothing_under_each_other(crowd: Path) -> None:
    wrong: list[object] = []

    def read(store: Store) -> None:
        try:
            for _ in range(5):
                if len(read_all(store)) != FILES:
                    wrong.append("a run is missing")
        except StoreError as error:
            wrong.append(error)

    with open_store(crowd, read_only=True) as store:
        threads = [threading.Thread(target=read, args=(store,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_store_that_is_closed_stays_so_and_a_file_that_went_is_not_read(crowd: Path) -> None:
    with open_store(crowd, read_only=True) as store:
        for name in ("ada.part-0.sqlite", "ada.part-0.sqlite-wal", "ada.part-0.sqlite-shm"):
            (crowd / name).unlink(missing_ok=True)
        assert len(read_all(store)) == FILES - 1
        file = store._folder.files()[0]
    with pytest.raises(StoreError, match=r"This store is closed. Open it again"):
        file.read("SELECT 1")


def test_how_many_are_open_follows_from_what_a_process_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, most in ((1024, 256), (64, 16), (resource.RLIM_INFINITY, 4096), (10**9, 4096)):
        monkeypatch.setattr(folder.resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert folder._most_open() == most


@pytest.mark.full
def test_a_thousand_files_are_read_within_few_descriptors(tmp_path: Path) -> None:
    where = tmp_path / "runs"
    with open_store(where, host="ada", part="part-0") as store:
        store.create(record(0), {})
    for number in range(1, 1000):
        shutil.copy(where / "ada.part-0.sqlite", where / f"ada.part-{number}.sqlite")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        with open_store(where, host="bob") as store:
            assert [found.id for found in store.list()] == [run_id(0)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
