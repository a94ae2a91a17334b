"""Who may work on a study beside whom, so that its budget holds whoever began without one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import varq
from varq.algorithms import VQE
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.store.faults import OwnedError
from varq.store.job_records import STUDY
from varq.store.store import open_store
from varq.study.executors import Here
from varq.study.permits import free_spender
from varq.study.purse import Purse
from varq.study.study import Study
from varq.study.work import Order

CELLS = 4
PATIENCE = 240.0  # seconds for processes that have to load PennyLane and JAX on a busy machine


def sampled(steps: int = 3) -> Study:
    """Cells of a few evaluations with shots each."""
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(learning_rate=0.1, perturbation=0.1),
        device="default.qubit",
        shots=50,
        stop=Stop(steps=steps),
    )
    return varq.sweep(task, {"seed": range(CELLS)}, name="sampled", store="store", progress=False)


def used(study: Study) -> int:
    """The shots of all jobs in the store, counted without the code under test."""
    sql = "SELECT coalesce(sum(shots), 0) FROM jobs WHERE state <> 'unsent'"
    return sum(int(file.read(sql)[0][0]) for file in study.store._folder.files())


class Elsewhere:
    """An executor that makes of everything what a worker would, and notes for whom."""

    def __init__(self) -> None:
        self.permits: list[str] = []

    def submit(self, function: Any, /, order: Order) -> Future[Any]:
        assert order.permit is not None
        self.permits.append(order.permit.read_text(encoding="utf-8"))
        return Here().submit(function, order)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


@pytest.mark.parametrize("budget", [None, Budget(shots=10**6)], ids=["without", "with"])
def test_what_workers_have_is_signed_with_or_without_a_budget(budget: Budget | None) -> None:
    executor = Elsewhere()
    with sampled() as study:
        assert study.finish(executor, budget=budget)["done"] == CELLS
    assert executor.permits
    assert all(text.endswith(f"\n{STUDY}sampled") for text in executor.permits)
    assert not list(Path("store").glob(".study-*"))


@contextmanager
def beside(lease: str) -> Iterator[None]:
    """Another machine that holds something of the store."""
    with open_store("store", host="elsewhere") as away, away.lease(lease):
        yield


def test_a_budget_is_not_spent_beside_who_has_none() -> None:
    with sampled() as study, open_store("store", host="elsewhere") as away:
        refused = pytest.raises(OwnedError, match=r"holds over all.*without one by pid \d+ on host elsewhere.*Wait for")
        with free_spender(away, "sampled"), refused:
            study.finish(budget=Budget(shots=10**6))
        assert used(study) == 0
        with free_spender(away, "sampled-2"), free_spender(away, "another"):
            assert study.finish(budget=Budget(shots=10**6))["done"] == CELLS


def test_nobody_works_without_a_budget_beside_who_spends_one() -> None:
    with sampled() as study:
        with (
            beside(f"{STUDY}sampled"),
            pytest.raises(
                OwnedError, match=r"holds over all.*with one by pid \d+ on host elsewhere.*Wait for it, or stop"
            ),
        ):
            study.finish()
        assert used(study) == 0
        with open_store("store", host="elsewhere") as away, free_spender(away, "sampled"):
            assert study.finish(shard=(1, 2))["done"] == CELLS // 2, "shards go on beside each other"


def test_a_cell_that_a_person_runs_by_itself_meanwhile_counts() -> None:
    with sampled() as study, open_store("store", host="elsewhere") as away:
        limit = 10**6
        purse = Purse(study.store, study.layout, Budget(shots=limit))
        first = purse.lease(0, [0], alone=True)
        assert first is not None
        with varq.Session(store=away, progress=False) as session:
            session.start(study.layout.task(1)).finish()
        purse._look = 0.0  # as some time later
        purse.lease(2, [2], alone=False)
        assert purse.spent.shots == used(study) > 0


CLIENT = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
sys.path.insert(0, sys.argv[1])
from test_study_spenders import sampled
if __name__ == "__main__":
    with sampled(60) as study, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        study.finish(pool)
"""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_client_without_a_budget_that_is_killed_leaves_nobody_who_spends_one() -> None:
    limit = 20_000  # of some 48,000 that all cells use
    with sampled(60) as study:
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(Path(__file__).parent)])
        until(lambda: used(study) > 0.2 * limit or client.poll() is not None)
        client.kill()  # the processes of its pool go on with what they have
        assert client.wait() == -signal.SIGKILL
        status = study.finish(budget=Budget(shots=limit))
        assert not status.complete
        time.sleep(2)
        assert 0.2 * limit < used(study) <= limit
        assert not list(Path("store").glob(".study-*"))
