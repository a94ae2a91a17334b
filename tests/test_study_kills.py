"""SIGKILL, for real, on workers and on the process that gave them work: what was recorded is never computed again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from harness import PATIENCE, until
from study_samples import STEPS, Rows, check_same, check_whole, described, gone, ising, rows

from varq.study.executors import Processes
from varq.study.study import Study

CELLS = 6
ENDED = {signal.SIGKILL: {"status -9"}, signal.SIGTERM: {"told to end", "status -15"}}  # in a run, or between two

CLIENT = """
import sys
import threading
import time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_study_kills import study
from varq.study.executors import Processes
def tell(processes):
    while len(processes.pids) < processes.workers:
        time.sleep(0.02)
    Path("pids").write_text(" ".join(map(str, processes.pids)))
if __name__ == "__main__":
    with study("store") as found:
        if sys.argv[2] == "0":
            found.finish()
        else:
            with Processes(int(sys.argv[2])) as processes:
                threading.Thread(target=tell, args=(processes,)).start()
                found.finish(processes)
"""


def study(folder: str) -> Study:
    return ising(folder, CELLS)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_loses_no_more_than_what_was_in_flight(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before: Rows = {}
    with Processes(1) as processes, study("store") as found:

        def kill() -> None:
            until(lambda: len(rows("store")) > 2 * STEPS)
            (pid,) = processes.pids
            os.kill(pid, number)
            until(lambda: gone(pid))
            before.update(rows("store"))

        killer = threading.Thread(target=kill)
        killer.start()
        assert found.finish(processes)["done"] == CELLS
        killer.join()
        (lost,) = [row for row in found.ledger().rows if row["state"] == "lost"]
        assert any(how in lost["note"] for how in ENDED[number])
    assert len(before) > 2 * STEPS
    check_whole(before, capsys, f"worker killed by {number.name}", study)


def killed_client(workers: int) -> list[int]:
    """Start the study in another process, and kill that when some of it is recorded; its workers have these numbers."""
    words = [sys.executable, "-c", CLIENT, str(Path(__file__).parent), str(workers)]
    client, told = subprocess.Popen(words), Path("pids")

    def some() -> bool:
        return len(rows("store")) > STEPS and (not workers or (told.exists() and told.read_text() != ""))

    try:
        until(lambda: some() or client.poll() is not None)
    finally:
        client.kill()
    assert client.wait() == -signal.SIGKILL
    return [int(pid) for pid in told.read_text().split()] if workers else []


def test_a_client_that_is_killed_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    killed_client(0)
    before = rows("store")
    with study("store") as found:
        assert found.finish()["done"] == CELLS
    check_whole(before, capsys, "client killed", study)


@pytest.mark.full
def test_workers_end_with_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    workers = killed_client(2)
    assert len(workers) == 2
    until(lambda: all(map(gone, workers)))
    before = rows("store")
    with study("store") as found:
        assert found.finish()["done"] == CELLS
    check_whole(before, capsys, "client of two workers killed", study)


@pytest.mark.full
def test_four_shards_in_parallel_are_the_whole_study() -> None:
    Path("study.toml").write_text(described(CELLS), encoding="utf-8")
    words = [sys.executable, "-m", "varq", "sweep", "run", "study.toml", "--quiet", "--shard"]
    shards = [subprocess.Popen([*words, f"{number}/4"]) for number in range(1, 5)]
    assert [shard.wait(PATIENCE) for shard in shards] == [0, 0, 0, 0]
    files = [path for path in Path("store").glob("*.sqlite") if ".part-" in path.name]
    assert len(files) > 1, "each wrote a file of its own"
    recorded = 0
    for path in files:
        with closing(sqlite3.connect(path)) as db:
            recorded += db.execute("SELECT count(*) FROM steps").fetchone()[0]
    assert recorded == len(rows("store")), "no evaluation was done by two"
    check_same(study)
