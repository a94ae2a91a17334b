"""Every fault is made for real: the error is clear, what was recorded stays, and no file is made worse."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import BIG, BIG_SHA, WITHOUT_RIGHTS, contents, finish, line, record, row, run_id, start

from varq.store import creation, database
from varq.store.creation import network_filesystem
from varq.store.faults import (
    StoreCorrupt,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreNewer,
    StoreUnwritable,
)
from varq.store.schema import APPLICATION, SCHEMA
from varq.store.store import open_store

FILE = "ada.sqlite"
STEPS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound store with one run of `STEPS` rows, an array and a result."""
    with open_store(tmp_path / "runs", host="ada") as store:
        store.create(record(), {BIG_SHA: BIG})
        for step in range(STEPS):
            store.append(run_id(0), row(step))
        store.conclude(run_id(0), "steps", "{}", {}, STEPS, -1.0, None, None, 1.0)
    return tmp_path / "runs"


# -- no place to write


@pytest.mark.parametrize("place", ["a file", "under a file", "no such system folder"])
def test_a_folder_that_cannot_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    path = {"a file": tmp_path / "file", "under a file": tmp_path / "file" / "runs"}.get(place, Path("/proc/varq-runs"))
    with pytest.raises(StoreUnwritable, match="Name another folder as the store"):
        open_store(path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("what", ["parent", "folder", "file"])
def test_without_the_right_to_write(folder: Path, what: str) -> None:
    body = f"""
        path = sys.argv[1]
        {WITHOUT_RIGHTS}
        try:
            open_store(path, host="ada")
        except StoreUnwritable as error:
            print(error)
        if os.path.exists(path):
            with open_store(path, read_only=True) as store:
                print(store.list()[0].title, len(store.rows(run_id(0))), store.verify())
    """
    # Not in pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as reachable:
        place = Path(reachable) / "runs"
        shutil.copytree(folder, place)
        before = contents(place)
        Path(reachable).chmod(0o755)
        (place / FILE).chmod(0o444)
        place.chmod(0o777 if what == "file" else 0o555)
        try:
            said = finish(start(body, place / "deeper" if what == "parent" else place))
        finally:
            place.chmod(0o700)
        assert contents(place) == before
    assert "needs a folder that can be written" in said
    assert "Name another folder as the store, or None" in said
    if what != "parent":
        assert f"VQE 0 {STEPS} []" in said


def test_a_file_that_became_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def connect(address: str, **options: object) -> sqlite3.Connection:
        return real(address.replace("mode=rw", "mode=ro"), **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(database.sqlite3, "connect", connect)
    before = contents(folder)
    with open_store(folder, host="ada") as store:
        with pytest.raises(StoreUnwritable, match="Check the permissions"):
            store.append(run_id(0), row(STEPS))
        assert len(store.rows(run_id(0))) == STEPS
    assert contents(folder) == before


def test_reading_only(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    with open_store(folder, read_only=True, host="ada") as store:
        assert store.find(run_id(0)[:6]).steps == STEPS
        assert store.array(BIG_SHA).shape == BIG.shape
        for call in (
            lambda: store.append(run_id(0), row(STEPS)),
            lambda: store.create(record(1), {}),
            lambda: store.lease(run_id(0)),
            lambda: store.gc(),
        ):
            with pytest.raises(StoreUnwritable, match=r"opened for reading. Open it without read_only"):
                call()
    assert contents(folder) == before
    with pytest.raises(StoreError, match=r"There is no store at .*nowhere"):
        open_store(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_is_open_is_not_taken_from_under_it(folder: Path) -> None:
    """Closing any descriptor of a file drops the process's locks on it, and the last to close removes its log."""
    body = """
        with open_store(sys.argv[1], host="ada") as store:
            store.append(run_id(0), row(int(sys.argv[2])))
    """
    with open_store(folder, read_only=True, host="ada") as held:
        assert len(held.rows(run_id(0))) == STEPS
        with open_store(folder, host="ada") as other:
            assert len(other.rows(run_id(0))) == STEPS
        for more in range(3):
            finish(start(body, folder, STEPS + more))
            assert (folder / f"{FILE}-wal").exists(), "a log that is read here"
            assert len(held.rows(run_id(0))) == STEPS + more + 1
        assert held.verify() == []
    with open_store(folder, host="ada") as store:
        assert len(store.rows(run_id(0))) == STEPS + 3


def test_what_is_read_without_rights_may_be_written_meanwhile() -> None:
    """Where nobody but its owner may write, SQLite reads a file as one that never changes; its owner changes it."""
    body = f"""
        path = sys.argv[1]
        {WITHOUT_RIGHTS}
        with open_store(path, read_only=True, host="ada") as store:
            while True:
                print(len(store.rows(run_id(0))), store.verify())
                sys.stdin.readline()
    """
    with tempfile.TemporaryDirectory() as reachable:
        place = Path(reachable) / "runs"
        Path(reachable).chmod(0o755)
        with open_store(place, host="ada") as store:
            store.create(record(), {})
        place.chmod(0o755)
        (place / FILE).chmod(0o644)
        reader = start(body, place, stdin=subprocess.PIPE)
        for step in range(0, 3 * STEPS, STEPS):
            assert line(reader) == f"{step} []"
            with open_store(place, host="ada") as store:
                for more in range(STEPS):
                    store.append(run_id(0), row(step + more))
            assert reader.stdin is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
        assert line(reader) == f"{3 * STEPS} []"
        reader.kill()
        reader.communicate()


@pytest.mark.parametrize("way", ["deleted", "replaced"])
def test_a_file_that_is_taken_away(folder: Path, way: str) -> None:
    with open_store(folder, host="ada") as store:
        shutil.copy(folder / FILE, folder / "copy")
        (folder / FILE).unlink()
        if way == "replaced":
            (folder / "copy").rename(folder / FILE)
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.append(run_id(0), row(STEPS))


def test_a_folder_that_is_taken_away(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        shutil.rmtree(folder)
        with pytest.raises(StoreError, match="cannot be listed"):
            store.list()


# -- no room


def test_a_full_disk(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        own = store._folder.writer()
        pages = own.read("PRAGMA page_count")[0][0]
        own.read(f"PRAGMA max_page_count = {pages + 8}")
        with pytest.raises(StoreFull, match=r"disk is full. What was written before is kept. Make room"):  # noqa: PT012
            for done in range(STEPS, 10 * STEPS):
                store.append(run_id(0), row(done))
        assert done > STEPS
        assert len(store.rows(run_id(0))) == done
        own.read("PRAGMA max_page_count = 1000000")
        store.append(run_id(0), row(done))
    with open_store(folder, host="ada") as store:
        assert store.rows(run_id(0)) == [row(step) for step in range(done + 1)]
        assert store.verify() == []


LIMITED = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(sys.argv[2])
    done = int(sys.argv[3])
    store = open_store(sys.argv[1], host="ada")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        while True:
            store.append(run_id(0), row(done))
            done += 1
    except StoreFull as error:
        print(done, error)
    assert len(store.rows(run_id(0))) == done
    os._exit(0)
"""


def test_a_limit_on_the_size_of_files(folder: Path) -> None:
    said = finish(start(LIMITED, folder, 300_000, STEPS))
    done = int(said.split()[0])
    assert "quota or size limit" in said
    with open_store(folder, host="ada") as store:
        assert store.rows(run_id(0)) == [row(step) for step in range(done)]
        assert store.verify() == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def link(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(creation.os, "link", link)
    with pytest.raises(StoreFull, match="cannot be made"):
        open_store(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(creation.os, "link", link)
    with open_store(tmp_path / "runs") as store:
        store.create(record(), {})
        assert store.get(run_id(0)) == record()


# -- other writers

HOLD = """
    import sqlite3
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    print("locked")
    time.sleep(float(sys.argv[2]))
    db.execute("COMMIT")
"""


def test_a_lock_that_is_held_too_long(folder: Path) -> None:
    before = (folder / FILE).read_bytes()
    holder = start(HOLD, folder / FILE, 60)
    line(holder)
    try:
        with open_store(folder, host="ada", timeout=0.2) as store:
            begun = time.monotonic()
            with pytest.raises(StoreLocked, match=r"for longer than 0.2 s. Nothing was written. Try again"):
                store.append(run_id(0), row(STEPS))
            assert time.monotonic() - begun >= 0.2
            assert len(store.rows(run_id(0))) == STEPS  # reading works meanwhile
    finally:
        holder.kill()
        holder.communicate()
    assert (folder / FILE).read_bytes() == before
    with open_store(folder, host="ada") as store:
        store.append(run_id(0), row(STEPS))


def test_a_lock_that_is_given_back_in_time(folder: Path) -> None:
    holder = start(HOLD, folder / FILE, 0.5)
    line(holder)
    with open_store(folder, host="ada") as store:
        store.append(run_id(0), row(STEPS))
        assert len(store.rows(run_id(0))) == STEPS + 1
    finish(holder)


APPENDER = """
    number, steps = int(sys.argv[2]), int(sys.argv[3])
    with open_store(sys.argv[1], host="ada") as store:
        store.create(record(number), {})
        with store.lease(run_id(number)):
            for step in range(steps):
                store.append(run_id(number), row(step))
        store.conclude(run_id(number), "steps", "{}", {}, steps)
"""


def test_processes_that_make_and_fill_one_store_at_once(tmp_path: Path) -> None:
    steps = 300
    workers = [start(APPENDER, tmp_path / "runs", number, steps) for number in range(4)]
    for worker in workers:
        finish(worker)
    with open_store(tmp_path / "runs", host="ada") as store:
        assert [r.steps for r in store.list()] == [steps] * 4
        for number in range(4):
            assert store.rows(run_id(number)) == [row(step) for step in range(steps)]
        assert store.verify() == []


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    writer = start(APPENDER, tmp_path / "runs", 0, 1500)
    seen = []
    while writer.poll() is None:
        if (tmp_path / "runs" / FILE).exists():
            with open_store(tmp_path / "runs", read_only=True) as store:
                rows = store.rows(run_id(0))
                assert rows == [row(step) for step in range(len(rows))]
                seen.append(len(rows))
    finish(writer)
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


# -- sudden ends

STREAM = """
    with open_store(sys.argv[1], host="ada") as store:
        store.create(record(), {})
        with store.lease(run_id(0)):
            for step in range(len(store.rows(run_id(0))), 10**9):
                store.append(run_id(0), row(step))
                print(step)
"""


KILLS_ITSELF = """
    import signal
    with open_store(sys.argv[1], host="ada") as store:
        store.create(record(), {})
        for step in range(40):
            store.append(run_id(0), row(step))
        os.kill(os.getpid(), signal.SIGKILL)
"""
CHECKPOINT = 1000  # pages in the log at which SQLite writes them back: https://www.sqlite.org/wal.html#ckpt


def _killed(folder: Path, after: float) -> int:
    """The last step that a process had been told is recorded, when it was killed after so many seconds of appending."""
    process = start(STREAM, folder)
    line(process)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    whole = out[: out.rfind("\n") + 1].split()
    return int(whole[-1]) if whole else -1


def _survives(folder: Path, pauses: list[float]) -> None:
    for pause in pauses:
        last = _killed(folder, pause)
        with open_store(folder, host="ada") as store:
            rows = store.rows(run_id(0))
            assert len(rows) in (last + 1, last + 2) or last == -1  # the one in flight may be there too
            assert rows == [row(step) for step in range(len(rows))]
            assert store.verify() == []


def test_rows_survive_a_kill(tmp_path: Path) -> None:
    _survives(tmp_path / "runs", [0.0, 0.02, 0.11, 0.3])


@pytest.mark.full
def test_rows_survive_many_kills(tmp_path: Path) -> None:
    _survives(tmp_path / "runs", [0.004 * step for step in range(50)])


def test_an_interrupt_leaves_no_half_transaction(folder: Path) -> None:
    with open_store(folder, host="ada") as store:

        def rows() -> Iterator[object]:
            yield row(STEPS)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.extend(run_id(0), rows())  # type: ignore[arg-type]
        assert len(store.rows(run_id(0))) == STEPS
        store.append(run_id(0), row(STEPS))


def test_a_forked_child_gets_a_connection_of_its_own(folder: Path) -> None:
    body = """
        import warnings
        with open_store(sys.argv[1], host="ada") as store:
            for step in range(60, 70):
                store.append(run_id(0), row(step))
            child = os.fork()
            if child == 0:
                for step in range(70, 80):
                    store.append(run_id(0), row(step))
                store.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            store.append(run_id(0), row(80))
            print(len(store.rows(run_id(0))), store.verify())
    """
    assert finish(start(body, folder)).strip() == "81 []"


# -- damage


def _page_of_a_row(path: Path) -> int:
    data = path.read_bytes()
    return data.index(row(STEPS // 2).request.encode()) // 4096


def test_a_page_of_garbage(folder: Path) -> None:
    page = _page_of_a_row(folder / FILE)
    data = bytearray((folder / FILE).read_bytes())
    data[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    (folder / FILE).write_bytes(data)
    with open_store(folder, host="ada") as store:
        with pytest.raises(StoreCorrupt, match=r"is damaged; varq leaves it as it is. Copy it away, restore it"):
            store.rows(run_id(0))
        with pytest.raises(StoreCorrupt, match="A damaged store file is not written to"):
            store.append(run_id(0), row(STEPS))
        assert any("file" in finding.where for finding in store.verify())
    assert (folder / FILE).read_bytes() == bytes(data)


def test_one_changed_character_of_a_row(folder: Path) -> None:
    data = (folder / FILE).read_bytes()
    good = row(STEPS // 2).reply.encode()
    assert data.count(good) == 1
    bad = data.replace(good, good.replace(b"1", b"7", 1))
    (folder / FILE).write_bytes(bad)
    with open_store(folder, host="ada") as store:
        (finding,) = store.verify()
        assert (finding.run, finding.where) == (run_id(0), f"step {STEPS // 2} (step)")
        assert "seal does not fit" in finding.what
        with pytest.raises(StoreCorrupt, match=f"Step {STEPS // 2} of run .* is not what was written"):
            store.rows(run_id(0))
        assert len(store.rows(run_id(0), STEPS // 2 + 1)) == STEPS // 2 - 1
    assert (folder / FILE).read_bytes() == bad


def test_one_changed_bit_of_an_array(folder: Path) -> None:
    data = (folder / FILE).read_bytes()
    good = BIG[:1].tobytes()[-64:]
    assert data.count(good) == 1
    (folder / FILE).write_bytes(data.replace(good, bytes([good[0] ^ 1]) + good[1:]))
    with open_store(folder, host="ada") as store:
        (finding,) = store.verify()
        assert (finding.where, finding.what) == (f"array {BIG_SHA[:12]}", "its bytes have changed")
        with pytest.raises(StoreCorrupt, match=r"The array .* is not what was written"):
            store.array(BIG_SHA)


@pytest.mark.parametrize(
    ("sql", "where", "what"),
    [
        ("UPDATE steps SET value = value + 1e-15 WHERE step = 3", "step 3 (step)", "seal"),
        ("UPDATE steps SET step = 200 WHERE step = 59", "step 200 (step)", "seal"),
        ("UPDATE steps SET seconds = 0 WHERE step = 3", "step 3 (step)", "seal"),
        ("DELETE FROM steps WHERE step = 4", "step 4", "1 step missing: 4"),
        ("UPDATE results SET value = -2", "result", "seal"),
        ("DELETE FROM results", "result", "its row is missing"),
        ("UPDATE runs SET spec = '{}'", "spec", "seal"),
        ("UPDATE steps SET run = 77 WHERE step = 59", "steps", "1 row with no run"),
    ],
)
def test_changes_by_hand_are_found(folder: Path, sql: str, where: str, what: str) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(sql)
        db.commit()
    with open_store(folder, host="ada") as store:
        found = [(f.where, f.what) for f in store.verify()]
    assert any(where == w and what in said for w, said in found), found


def test_an_array_that_is_missing(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        store.append(run_id(0), row(STEPS, reply=f'{{"grad":{{"$":"array","sha256":"{"e" * 64}"}}}}'))
        (finding,) = store.verify()
    assert (finding.run, finding.where) == (run_id(0), f"step {STEPS}")
    assert finding.what == "the array eeeeeeeeeeee it names is missing"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_a_file_that_was_cut_short(folder: Path, keep: float) -> None:
    data = (folder / FILE).read_bytes()
    cut = data[: int(len(data) * keep)]
    (folder / FILE).write_bytes(cut)
    with pytest.raises(StoreCorrupt, match=r"cut short.*varq leaves it as it is"):
        open_store(folder, host="ada")
    assert contents(folder) == {FILE: cut}


@pytest.mark.parametrize("host", ["ada", "bob"])
@pytest.mark.parametrize("what", ["text", "garbage", "half a header", "another program's"])
def test_files_that_are_not_varqs(tmp_path: Path, what: str, host: str) -> None:
    path = tmp_path / "runs" / FILE
    path.parent.mkdir()
    if what == "another program's":
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE mine (x)")
    else:
        path.write_bytes({"text": b"my notes\n", "garbage": os.urandom(9000)}.get(what, b"SQLite format 3\0\x10\0"))
    before = path.read_bytes()
    with pytest.raises(StoreForeign, match="varq leaves it as it is"):
        open_store(tmp_path / "runs", host=host)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("ada.sqlite-*"))


def test_a_file_of_a_newer_varq(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        db.execute("UPDATE meta SET value = '3.1.4' WHERE key = 'needs'")
        db.commit()
    before = contents(folder)
    with pytest.raises(
        StoreNewer, match=r"has layout 4; this varq reads layouts up to 3.*Update to varq 3\.1\.4 or newer"
    ):
        open_store(folder, host="ada")
    assert contents(folder) == before


def test_the_file_says_whose_it_is(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION == 0x76617271
        assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA == 3
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


# -- the write-ahead log


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose writer was killed: its rows are in the write-ahead log only.

    It dies after a number of rows and not after a time, in which a fast writer may have checkpointed the log and begun
    it anew: the frames in the middle would then be those of its former life, which nobody misses.
    """
    folder = tmp_path_factory.mktemp("killed") / "runs"
    process = start(KILLS_ITSELF, folder)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert 20 * 4096 < (folder / f"{FILE}-wal").stat().st_size < CHECKPOINT * 4096
    return folder


@pytest.fixture
def logged(killed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed, tmp_path / "runs")


def _damaged_log_is_refused(folder: Path, match: str) -> None:
    (folder / f"{FILE}-shm").unlink()  # the index that a process leaves which still knows the log as it was
    before = contents(folder)
    with pytest.raises(StoreCorrupt, match=match):
        open_store(folder, host="ada")
    with pytest.raises(StoreCorrupt, match=match):
        open_store(folder, host="bob")
    after = contents(folder)
    assert {name: after[name] for name in before} == before


def test_a_log_of_garbage(logged: Path) -> None:
    log = logged / f"{FILE}-wal"
    log.write_bytes(os.urandom(log.stat().st_size))
    _damaged_log_is_refused(logged, "its first bytes are not those of a log.*Copy the folder")


def test_a_log_with_a_changed_header(logged: Path) -> None:
    log = logged / f"{FILE}-wal"
    data = bytearray(log.read_bytes())
    data[17] ^= 1
    log.write_bytes(data)
    _damaged_log_is_refused(logged, "the checksum of its header is wrong")


@pytest.mark.parametrize("byte", [10, 24 + 2000])
def test_a_log_broken_in_the_middle(logged: Path, byte: int) -> None:
    log = logged / f"{FILE}-wal"
    data = bytearray(log.read_bytes())
    data[32 + 12 * (24 + 4096) + byte] ^= 1
    log.write_bytes(data)
    _damaged_log_is_refused(logged, r"frame 13 of \d+ is broken, \d+ commits stand behind it")


def test_the_way_on_from_a_broken_log(logged: Path) -> None:
    log = logged / f"{FILE}-wal"
    data = bytearray(log.read_bytes())
    count = (len(data) - 32) // (24 + 4096)
    data[32 + (count // 2) * (24 + 4096) + 500] ^= 1
    log.write_bytes(data)
    (logged / f"{FILE}-shm").unlink()
    with pytest.raises(StoreCorrupt, match="wal_checkpoint") as caught:
        open_store(logged, host="ada")
    command = str(caught.value).split('python -c "')[1].rstrip('"')
    subprocess.run([sys.executable, "-c", command], check=True)
    with open_store(logged, host="ada") as store:
        rows = store.rows(run_id(0))
        assert len(rows) > 2
        assert rows == [row(step) for step in range(len(rows))]
        assert store.verify() == []


@pytest.mark.parametrize("cut", [1, 24 + 4096, 5 * (24 + 4096) + 700])
def test_a_log_cut_off_by_a_power_failure_is_no_fault(logged: Path, cut: int) -> None:
    log = logged / f"{FILE}-wal"
    log.write_bytes(log.read_bytes()[:-cut])
    (logged / f"{FILE}-shm").unlink()
    with open_store(logged, host="ada") as store:
        rows = store.rows(run_id(0))
        assert rows == [row(step) for step in range(len(rows))]
        assert store.verify() == []


def test_a_rolled_back_transaction_in_the_log_is_no_fault(folder: Path) -> None:
    with open_store(folder, host="ada") as store:
        own = store._folder.writer()
        own.read("PRAGMA cache_size = 4")  # so that the transaction reaches the log before it ends

        def rows() -> Iterator[object]:
            yield from (row(step) for step in range(STEPS, 5 * STEPS))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.extend(run_id(0), rows())  # type: ignore[arg-type]
        store.append(run_id(0), row(STEPS))
        assert (folder / f"{FILE}-wal").stat().st_size > STEPS * 4096
        with open_store(folder, read_only=True) as reader:
            assert len(reader.rows(run_id(0))) == STEPS + 1


# -- file systems

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
srv:/home /home nfs4 rw 0 0
/dev/sdb1 /home/ada/local xfs rw 0 0
//nas/x /mnt/my\\040nas cifs rw 0 0
mgs:/l /scratch lustre rw 0 0
ada@x: /home/ada/far fuse.sshfs rw 0 0
/dev/sdc1 /usb fuseblk rw 0 0
tmp /scratch/tmp tmpfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/runs", None),
        ("/home", "nfs4"),
        ("/home/ada/runs", "nfs4"),
        ("/homeless/runs", None),
        ("/home/ada/local/runs", None),
        ("/home/ada/far/runs", "fuse.sshfs"),
        ("/mnt/my nas/runs", "cifs"),
        ("/scratch/runs", "lustre"),
        ("/scratch/tmp/runs", None),
        ("/usb/runs", None),
    ],
)
def test_network_file_systems_are_known(path: str, kind: str | None) -> None:
    assert network_filesystem(Path(path), MOUNTS) == kind


def test_on_a_network_file_system_no_shared_memory_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "network", lambda path: "nfs4")
    with pytest.warns(UserWarning, match=r"is on a network file system \(nfs4\)") as caught:
        store = open_store(folder, host="ada")
    assert len(caught) == 1
    with store:
        store.append(run_id(0), row(STEPS))
        assert [p.name for p in folder.iterdir()] == [FILE]
    with closing(sqlite3.connect(folder / FILE)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_limits_of_this_process_are_left_alone() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
