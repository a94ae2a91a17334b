"""SIGKILL, for real, on workers and on the process that gave them work: what was recorded is never computed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import varq
from varq.algorithms import VQE
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.store.store import open_store
from varq.study.executors import Processes
from varq.study.study import Study

CELLS, STEPS = 6, 40
PATIENCE = 240.0  # seconds for a process that has to load PennyLane and JAX on a busy machine

CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_study_kills import study
if __name__ == "__main__":
    with study("store") as found:
        found.finish(int(sys.argv[2]) or None)
"""

Rows = dict[tuple[str, int, str], float]


def study(folder: str) -> Study:
    """Cells that take turns in one process, on a device that compiles nothing."""
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(),
        device="default.qubit",
        stop=Stop(steps=STEPS),
    )
    return varq.sweep(task, {"seed": range(CELLS)}, name="killed", store=folder, progress=False)


def rows(folder: str) -> Rows:
    """What is recorded: the seconds of each step, which no second computation would have again."""
    if not Path(folder).is_dir():
        return {}
    with open_store(folder, read_only=True) as store:
        return {(r.id, row.step, row.role): row.seconds for r in store.list() for row in store.rows(r.id)}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def check_whole(before: Rows, capsys: pytest.CaptureFixture[str], died: str) -> None:
    """The study is complete, as if nothing had happened, and nothing that was recorded was computed again."""
    after = rows("store")
    again = sum(after.get(place) != seconds for place, seconds in before.items())
    with capsys.disabled():
        print(f"\n{died} killed: {len(before)} of {len(after)} evaluations were recorded, {again} of these repeated")
    assert again == 0
    with study("straight") as straight, study("store") as killed:
        straight.finish()
        assert killed.status()["done"] == CELLS
        for run in straight.layout.ids:
            assert [row.content for row in killed.store.rows(run)] == [r.content for r in straight.store.rows(run)]
        assert killed.store.verify() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_loses_no_more_than_what_was_in_flight(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before: Rows = {}
    with Processes(1) as processes, study("store") as found:

        def kill() -> None:
            until(lambda: len(rows("store")) > 2 * STEPS)
            os.kill(processes.pids[0], number)
            before.update(rows("store"))

        killer = threading.Thread(target=kill)
        killer.start()
        assert found.finish(processes)["done"] == CELLS
        killer.join()
    assert len(before) > 2 * STEPS
    check_whole(before, capsys, f"worker, by {number.name},")


def killed_client(workers: int) -> None:
    """Start the study in another process, and kill that when some of it is recorded."""
    words = [sys.executable, "-c", CLIENT, str(Path(__file__).parent), str(workers)]
    client = subprocess.Popen(words)
    try:
        until(lambda: len(rows("store")) > STEPS or client.poll() is not None)
    finally:
        client.kill()
    assert client.wait() == -signal.SIGKILL


def test_a_client_that_is_killed_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    killed_client(0)
    before = rows("store")
    with study("store") as found:
        assert found.finish()["done"] == CELLS
    check_whole(before, capsys, "client")


@pytest.mark.full
def test_workers_end_with_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    killed_client(2)
    with study("store") as found:
        assert found.finish()["done"] == CELLS  # waits for what a worker that is about to end still owns
    check_whole(rows("store"), capsys, "client of two workers")


@pytest.mark.full
def test_four_shards_in_parallel_are_the_whole_study(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.toml").write_text(
        f"""
algorithm = "vqe"
ansatz = "hardware-efficient"
[problem]
kind = "transverse-field-ising"
sites = 2
[optimizer]
kind = "spsa"
[stop]
steps = {STEPS}
[session]
device = "default.qubit"
store = "store"
[sweep]
name = "killed"
over.seed.range = {CELLS}
""",
        encoding="utf-8",
    )
    words = [sys.executable, "-m", "varq", "sweep", "run", "study.toml", "--quiet", "--shard"]
    shards = [subprocess.Popen([*words, f"{number}/4"]) for number in range(1, 5)]
    assert [shard.wait(PATIENCE) for shard in shards] == [0, 0, 0, 0]
    files = [path for path in Path("store").glob("*.sqlite") if ".part-" in path.name]
    assert len(files) > 1, "each wrote a file of its own"
    check_whole(rows("store"), capsys, "none")
