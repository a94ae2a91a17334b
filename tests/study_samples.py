"""What tests of studies share: a study whose kills show, what is recorded of it, and whether a process has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import varq
from varq.algorithms import VQE
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.store.store import open_store
from varq.study.study import Study

__all__ = [
    "FILE",
    "STEPS",
    "Later",
    "Rows",
    "check_kept",
    "check_same",
    "check_whole",
    "described",
    "gone",
    "ising",
    "rows",
    "with_its_pool",
]

STEPS = 40
FILE = """
algorithm = "vqe"
ansatz = "hardware-efficient"
[problem]
kind = "transverse-field-ising"
sites = 2
[optimizer]
kind = "spsa"
"""
"""The same task as the beginning of a file, to which rules, a session and a sweep are added."""


@contextmanager
def with_its_pool(script: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A client; at last its pool is ended too, whose idle processes outlive one that is killed (they are CPython's)."""
    words = [sys.executable, "-c", script, str(Path(__file__).parent), *arguments]
    client = subprocess.Popen(words, start_new_session=True)
    try:
        yield client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(client.pid, signal.SIGKILL)
        client.wait()


def described(cells: int, steps: int = STEPS) -> str:
    """The file of the study that `ising` makes."""
    return f"""{FILE}[stop]
steps = {steps}
[session]
device = "default.qubit"
store = "store"
[sweep]
name = "ising"
over.seed.range = {cells}
"""


Rows = dict[tuple[str, int, str], float]


class Later:
    """An executor of two workers whose orders begin when they are waited for, one at each look, as first they came."""

    workers = 2

    def __init__(self) -> None:
        self._held: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.most = 0  # orders that were held at a time, none of which had begun

    def submit(self, function: Any, /, *args: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._held.append((future, partial(function, *args, **keywords)))
        self.most = max(self.most, len(self._held))
        return future

    def wait(self, futures: Iterable[Future[Any]], **options: Any) -> Any:
        """In the place of `concurrent.futures.wait`."""
        if self._held:
            future, call = self._held.pop(0)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:
                    future.set_exception(error)
        return wait(futures, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def ising(store: str = "store", cells: int = 8, steps: int = STEPS, **options: Any) -> Study:
    """Cells that take turns in one process, on a device that compiles nothing."""
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(),
        device="default.qubit",
        stop=Stop(steps=steps),
    )
    return varq.sweep(task, {"seed": range(cells)}, name="ising", store=store, progress=False, **options)


def rows(store: str) -> Rows:
    """What is recorded: the seconds of each step, which no second computation would have again."""
    if not Path(store).is_dir():
        return {}
    with open_store(store, read_only=True) as opened:
        return {(r.id, row.step, row.role): row.seconds for r in opened.list() for row in opened.rows(r.id)}


def gone(pid: int) -> bool:
    """Whether a process has ended, also one whose status nobody has asked for yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # on Linux, where the first process of a container may reap nothing
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def check_kept(before: Rows, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Nothing that was recorded was computed again."""
    after = rows("store")
    again = sum(after.get(place) != seconds for place, seconds in before.items())
    with capsys.disabled():
        print(f"\n{what}: {len(before)} of {len(after)} evaluations were recorded, {again} of these repeated")
    assert again == 0
    assert before, "there was nothing that could be lost"


def check_whole(
    before: Rows, capsys: pytest.CaptureFixture[str], what: str, study: Callable[[str], Study] = ising
) -> None:
    """The study is complete, as if nothing had happened, and nothing that was recorded was computed again."""
    check_kept(before, capsys, what)
    assert len(before) < len(rows("store")), "it came after the last evaluation"
    check_same(study)


def check_same(study: Callable[[str], Study]) -> None:
    """The study in "store" has every row of one that nothing happened to."""
    with study("straight") as straight, study("store") as killed:
        straight.finish()
        assert killed.status().complete
        for run in straight.layout.ids:
            assert [row.content for row in killed.store.rows(run)] == [r.content for r in straight.store.rows(run)]
        assert killed.store.verify() == []
