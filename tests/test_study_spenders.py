"""Who may work on a study beside whom, so that its budget holds whoever began without one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import until
from study_samples import FILE, with_its_pool
from typer.testing import CliRunner

import varq
from varq.algorithms import VQE
from varq.cli.app import app
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


def cell(steps: int = 3, shots: int | None = 50, device: str = "default.qubit", seed: int = 0) -> VQE:
    return VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(learning_rate=0.1, perturbation=0.1),
        device=device,
        shots=shots,
        stop=Stop(steps=steps),
        seed=seed,
    )


def sampled(steps: int = 3) -> Study:
    """Cells of a few evaluations with shots each."""
    over = {"seed": range(CELLS)}
    return varq.sweep(cell(steps), over, name="sampled", store="store", progress=False)


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


class Idle:
    """An executor of two places whose orders are done once both are taken, or when nobody gives it more."""

    workers = 2

    def __init__(self) -> None:
        self.waits: list[tuple[Future[Any], Any, Order]] = []
        self.idle = 0

    def submit(self, function: Any, /, order: Order) -> Future[Any]:
        self.waits.append((Future(), function, order))
        future = self.waits[-1][0]
        if len(self.waits) == 2:
            self.do()
        return future

    def do(self) -> None:
        for future, function, order in self.waits:
            future.set_result(function(order))
        self.waits.clear()

    def standing(self) -> str:
        self.idle += 1
        self.do()
        return ""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def test_a_kind_for_which_nothing_is_left_does_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.study.finishing._BUSY", 0.01)
    tasks = [cell(shots=shots, seed=seed) for seed in range(2) for shots in (50, None)]
    executor = Idle()
    with varq.sweep(tasks, name="two", store="store", progress=False) as study:
        status = study.finish(executor, budget=Budget(shots=0))
        assert (status["done"], status["missing"]) == (2, 2)
        assert used(study) == executor.idle == 0


def test_prices_of_ones_own_make_a_budget_of_money() -> None:
    limit, each = 6.0, 0.01
    prices = {"default.*": {"per_shot": each, "currency": "EUR", "dated": "2026-01-01", "source": "our contract"}}
    unknown = varq.sweep(cell(device="reference.qubit"), {"seed": [0]}, store=None, progress=False)
    with unknown, pytest.raises(ValueError, match=r"None is known for reference.qubit.*or finish\(prices=...\)"):
        unknown.finish(budget=Budget(cost=limit))
    with sampled() as study:
        whole = study.forecast(prices=prices)
        assert whole.cost is not None
        assert whole.cost > limit
        status = study.finish(Elsewhere(), budget=Budget(cost=limit), prices=prices)
        assert 0 < each * used(study) <= limit
        assert "of 6 cost are used up" in status.note


def test_a_file_says_the_budget_and_the_prices_of_its_study() -> None:
    text = f"""{FILE}[stop]
steps = 1
[session]
device = "DEVICE"
shots = 20
store = "store"
budget.cost = 0.5
[sweep]
name = "priced"
over.seed.range = 3
"""
    prices = '"default.*" = {per_shot = 0.01, currency = "EUR", dated = "2026-01-01", source = "our contract"}\n'
    Path("prices.toml").write_text(prices, encoding="utf-8")

    def run(described: str, *options: str, device: str = "default.qubit") -> Any:
        Path("study.toml").write_text(described.replace("DEVICE", device), encoding="utf-8")
        return CliRunner().invoke(app, ["sweep", "run", "study.toml", "--quiet", *options])

    refused = run(text, "--store", "refused", device="reference.qubit")
    assert refused.exit_code == 2
    assert "None is known for reference.qubit" in " ".join(refused.output.split())
    short = run(text.replace("[sweep]", 'prices = "prices.toml"\n[sweep]'))
    assert short.exit_code == 3, short.output
    assert "of 0.5 cost are used up" in " ".join(short.output.split())
    enough = run(text, "--prices", "prices.toml", "--budget-cost", "1000")
    assert enough.exit_code == 0, enough.output
    assert "no key 'retry'" in run(text.replace("[sweep]", "retry.attempts = 3\n[sweep]")).output


CLIENT = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
sys.path.insert(0, sys.argv[1])
from test_study_spenders import sampled
if __name__ == "__main__":
    with sampled(240) as study, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        study.finish(pool)
"""


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_client_without_a_budget_that_is_killed_leaves_nobody_who_spends_one() -> None:
    limit = 80_000  # of some 192,000 that all cells use; two of them take more, and seconds
    with sampled(240) as study, with_its_pool(CLIENT) as client:
        until(lambda: used(study) > 0.2 * limit or client.poll() is not None)
        client.kill()  # the processes of its pool go on with what they have
        assert client.wait() == -signal.SIGKILL
        status = study.finish(budget=Budget(shots=limit))
        assert not status.complete
        time.sleep(2)
        assert 0.2 * limit < used(study) <= limit
        assert not list(Path("store").glob(".study-*"))
