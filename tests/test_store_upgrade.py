"""A file of the first layout grows in place, whole or not at all; where it may not be written it is read as it is."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from job_samples import job, rows, session
from store_samples import BIG, BIG_SHA, contents, finish, line, record, row, run_id, start

from varq.store import tables
from varq.store.faults import StoreNewer
from varq.store.records import MergeReport, seal
from varq.store.schema import APPLICATION, SCHEMA
from varq.store.store import open_store

FILE = "ada.sqlite"
STEPS = 5

# The layout of version 0.1.0, word for word but for its comments.
FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    findable INTEGER NOT NULL,
    spec TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    title TEXT NOT NULL,
    device TEXT NOT NULL,
    created REAL NOT NULL,
    host TEXT NOT NULL,
    versions TEXT NOT NULL,
    seal TEXT NOT NULL
);
CREATE INDEX runs_created ON runs (created DESC, id);
CREATE TABLE steps (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    role TEXT NOT NULL,
    request TEXT NOT NULL,
    digest TEXT NOT NULL,
    reply TEXT NOT NULL,
    key TEXT NOT NULL,
    value REAL,
    stderr REAL,
    seconds REAL NOT NULL,
    executions INTEGER NOT NULL,
    versions TEXT,
    seal TEXT NOT NULL
);
CREATE UNIQUE INDEX steps_order ON steps (run, step, role DESC);
CREATE TABLE results (
    run INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    reason TEXT,
    result TEXT,
    steps INTEGER NOT NULL,
    value REAL,
    stderr REAL,
    reference REAL,
    seconds REAL NOT NULL,
    seal TEXT NOT NULL
);
CREATE TABLE arrays (
    sha256 TEXT PRIMARY KEY,
    dtype TEXT NOT NULL,
    shape TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE leases (
    run TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    since REAL NOT NULL,
    heartbeat REAL NOT NULL,
    released INTEGER NOT NULL
);
CREATE VIEW runs_view AS
SELECT
    id, title, device,
    strftime('%Y-%m-%dT%H:%M:%SZ', created, 'unixepoch') AS created,
    reason,
    CASE WHEN reason IS NOT NULL THEN steps
         ELSE (SELECT count(*) FROM steps s WHERE s.run = runs.number AND s.role = 'step') END AS steps,
    value, reference,
    CASE WHEN typeof(value) = 'text' THEN value ELSE value - reference END AS deviation,
    CASE WHEN reason IS NOT NULL THEN seconds
         ELSE (SELECT coalesce(max(s.seconds), 0.0) FROM steps s WHERE s.run = runs.number) END AS seconds
FROM runs JOIN results ON results.run = runs.number
ORDER BY runs.created DESC;
CREATE VIEW trace AS
SELECT runs.id AS run, step, steps.value, steps.stderr, steps.seconds
FROM runs JOIN steps ON steps.run = runs.number
WHERE role = 'step'
ORDER BY runs.number, step;
"""


def first_layout(path: Path, mode: str = "wal") -> None:
    """A file as version 0.1.0 left it, with a run."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1; BEGIN; {FIRST} COMMIT;")
        db.execute("INSERT INTO meta VALUES ('needs', '0.1.0')")
        tables.put_arrays(db, {BIG_SHA: BIG})
        named = tables.definition(record(spec=f'{{"$":"array","sha256":"{BIG_SHA}"}}'))
        marks = ", ".join("?" * len(named))
        db.execute(f"INSERT INTO runs ({tables.RUN}, seal) VALUES ({marks}, ?)", (*named, seal("runs", *named)))
        came = (0, None, None, 0, None, None, None, 0.0)
        values = (1, *came, seal("results", named[0], *came))
        db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        for step in range(STEPS):
            tables.add_row(db, run_id(0), row(step))
        db.execute(f"PRAGMA journal_mode = {mode}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    first_layout(tmp_path / "runs" / FILE)
    return tmp_path / "runs"


def layout(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def shape(path: Path) -> dict[str, list[str]]:
    """The tables, indexes and views of a file, but for comments and spaces."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: [text.split("--")[0].strip() for text in sql.splitlines()] for name, sql in found}


def test_a_file_grows_when_it_is_opened_for_writing(folder: Path, tmp_path: Path) -> None:
    with open_store(folder, host="ada") as store:
        assert store.rows(run_id(0)) == [row(step) for step in range(STEPS)]
        np.testing.assert_array_equal(store.array(BIG_SHA), BIG)
        assert store.jobs.sessions() == []
        store.jobs.open(session())
        store.jobs.write([job(0)], rows(job(0)))
        store.append(run_id(0), row(STEPS))
        assert store.verify() == []
    assert layout(folder / FILE) == SCHEMA == 3
    assert (folder / FILE).read_bytes()[60:64] == SCHEMA.to_bytes(4, "big")
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    with open_store(tmp_path / "new", host="ada"):
        pass
    grown, fresh = shape(folder / FILE), shape(tmp_path / "new" / FILE)
    assert grown == fresh
    with closing(sqlite3.connect(folder / FILE)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'needs'").fetchall() == [("0.2.0",)]
    with open_store(folder, host="ada") as store:  # and only once
        assert store.jobs.jobs(session().id) == [job(0)]


def test_a_result_of_an_older_layout_is_sound_and_gets_a_rule(folder: Path) -> None:
    rule = '{"$":"spec"}'
    with open_store(folder, host="bob") as bob:
        assert bob.find(run_id(0)).rule is None
    with open_store(folder, host="ada") as store:
        assert store.find(run_id(0)).rule is None
        assert store.verify() == []
        store.go_by(run_id(0), rule)
        store.conclude(run_id(0), "steps", "{}", steps=STEPS, value=-1.0)
        store.reopen(run_id(0))
    with open_store(folder, host="bob") as bob:
        assert (bob.find(run_id(0)).rule, bob.find(run_id(0)).steps) == (rule, STEPS)
        bob.go_by(run_id(0), "null")
        assert bob.find(run_id(0)).rule == "null"
        assert bob.verify() == []
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE results SET rule = NULL")
        db.commit()
    with open_store(folder, host="ada") as store:
        assert [(found.where, found.run) for found in store.verify()] == [("result", run_id(0))]


def test_a_file_that_is_only_read_stays_as_it_is(folder: Path) -> None:
    before = contents(folder)
    with open_store(folder, read_only=True, host="ada") as store:
        assert store.rows(run_id(0)) == [row(step) for step in range(STEPS)]
        assert store.jobs.sessions() == store.jobs.ledger() == []
        assert store.jobs.results("a" * 64, 0, "step") == {}
        with pytest.raises(LookupError, match="There is no session"):
            store.jobs.notes(session().id)
        assert store.verify() == []
    assert contents(folder) == before


def test_another_hosts_file_stays_as_it_is_until_that_host_opens_it(folder: Path) -> None:
    before = contents(folder)
    with open_store(folder, host="bob") as bob:
        assert [run.id for run in bob.list()] == [run_id(0)]
        assert bob.jobs.sessions() == []
        bob.jobs.open(session(1))
        assert bob.gc().arrays == 0
        assert bob.verify() == []
        assert contents(folder)[FILE] == before[FILE]
        with open_store(folder, host="ada") as ada:
            ada.jobs.open(session(0))
            assert [one.id for one in ada.jobs.sessions()] == [session(1).id, session(0).id]
        assert [one.id for one in bob.jobs.sessions()] == [session(1).id, session(0).id]


def test_a_file_of_the_first_layout_is_merged(folder: Path) -> None:
    with open_store(None) as store:
        assert store.merge([folder]) == MergeReport(files=1, runs=1, rows=STEPS, arrays=1, equal=0, results=0, jobs=0)
        assert store.verify() == []
    assert layout(folder / FILE) == 1


GROW = """
    with open_store(sys.argv[1], host="ada") as store:
        print(len(store.rows(run_id(0))), store.jobs.sessions())
"""


def test_processes_that_grow_one_file_at_once(folder: Path) -> None:
    workers = [start(GROW, folder) for _ in range(4)]
    assert [finish(worker).strip() for worker in workers] == [f"{STEPS} []"] * 4
    assert layout(folder / FILE) == SCHEMA


DIES = """
    import signal, sqlite3
    class Dying(sqlite3.Connection):
        left = int(sys.argv[2])
        def execute(self, sql, *more):
            if "CREATE" in sql or "ALTER" in sql or "user_version =" in sql or "meta" in sql or sql == "COMMIT":
                if Dying.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                Dying.left -= 1
            return super().execute(sql, *more)
    real = sqlite3.connect
    sqlite3.connect = lambda *a, **k: real(*a, factory=Dying, **k)
    open_store(sys.argv[1], host="ada")
    print("alive")
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("after", [0, 9, 13])
def test_a_kill_leaves_the_old_layout_or_the_new_one(tmp_path: Path, after: int, mode: str) -> None:
    """Ten tables, indexes and views, a column, two marks of the layout; the last kill is before they are committed."""
    first_layout(tmp_path / "runs" / FILE, mode)
    process = start(DIES, tmp_path / "runs", after)
    out, error = process.communicate(timeout=120)
    assert (process.returncode, out) == (-signal.SIGKILL, ""), error
    with open_store(tmp_path / "runs", read_only=True, host="ada") as store:
        assert len(store.rows(run_id(0))) == STEPS
    assert layout(tmp_path / "runs" / FILE) == 1
    with open_store(tmp_path / "runs", host="ada") as store:
        assert store.rows(run_id(0)) == [row(step) for step in range(STEPS)]
        store.jobs.open(session())
        assert store.verify() == []


FULL = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        open_store(sys.argv[1], host="ada")
    except StoreFull as error:
        print(error)
    os._exit(0)
"""


def test_no_room_to_grow(folder: Path) -> None:
    before = (folder / FILE).read_bytes()
    said = finish(start(FULL, folder))
    assert "could not be written: the disk is full" in said
    assert (folder / FILE).read_bytes() == before
    assert layout(folder / FILE) == 1


HOLDS = """
    import sqlite3
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM runs").fetchall()
    print("reading")
    sys.stdin.read()
"""


def test_a_layout_that_is_newer_in_the_log_only_is_refused_too(folder: Path) -> None:
    """The first page still says the old layout while another process keeps the log from being copied."""
    with open_store(folder, host="ada"):
        pass
    holder = start(HOLDS, folder / FILE, stdin=subprocess.PIPE)
    line(holder)
    try:
        with closing(sqlite3.connect(folder / FILE)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
            db.execute("UPDATE meta SET value = '9.9.9' WHERE key = 'needs'")
            db.commit()
        assert (folder / FILE).read_bytes()[60:64] == SCHEMA.to_bytes(4, "big")
        for options in ({"host": "ada"}, {"host": "bob"}, {"host": "ada", "read_only": True}):
            with pytest.raises(StoreNewer, match=r"has layout 4; this varq reads.*Update to varq 9\.9\.9 or newer"):
                open_store(folder, **options)  # type: ignore[arg-type]
    finally:
        holder.communicate("")


def test_a_store_without_the_right_to_write_is_read(folder: Path) -> None:
    copy = shutil.copytree(folder, folder.parent / "copy")
    (copy / FILE).chmod(0o400)
    with open_store(copy, read_only=True) as store:
        assert store.jobs.sessions() == []
        assert len(store.rows(run_id(0))) == STEPS
