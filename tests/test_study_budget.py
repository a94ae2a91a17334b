"""Budgets over a whole study: never crossed, whoever runs its cells and however often they are begun."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import until
from study_samples import Later, with_its_pool

import varq
from varq.algorithms import VQE
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.store.faults import OwnedError
from varq.store.job_records import STUDY
from varq.store.store import open_store
from varq.study.permits import new_permit, order_lease, signed, touched
from varq.study.purse import Purse
from varq.study.study import Study

SHOTS = 50  # of each circuit, on average over measurement groups
CELLS = 4


def sampled(store: str = "store", cells: int = CELLS, **changes: Any) -> Study:
    """Cells of a few evaluations with shots each."""
    given = {
        "problem": TransverseFieldIsing(2),
        "ansatz": "hardware-efficient",
        "optimizer": SPSA(learning_rate=0.1, perturbation=0.1),
        "device": "default.qubit",
        "shots": SHOTS,
        "stop": Stop(steps=3),
    }
    task = VQE(**{**given, **changes})
    return varq.sweep(task, {"seed": range(cells)}, name="sampled", store=store, progress=False)


def used(study: Study) -> int:
    """The shots of all jobs in the store, counted without the code under test."""
    sql = "SELECT coalesce(sum(shots), 0) FROM jobs WHERE state <> 'unsent'"
    return sum(int(file.read(sql)[0][0]) for file in study.store._folder.files())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Two workers elsewhere; a study waits for them in its own way."""
    executor = Later()
    monkeypatch.setattr("varq.study.finishing.wait", executor.wait)
    return executor


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """The study without a budget."""
    with sampled(str(tmp_path_factory.mktemp("whole") / "store")) as study:
        assert study.finish()["done"] == CELLS
        yield study


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("part", [0.3, 0.61])
def test_a_budget_is_never_crossed_and_what_is_done_is_as_without_it(
    whole: Study, later: Later, elsewhere: bool, part: float
) -> None:
    limit = int(part * used(whole))
    with sampled() as study:
        status = study.finish(later if elsewhere else None, budget=Budget(shots=limit))
        assert limit / 2 < used(study) <= limit
        assert int(part * CELLS) - 1 <= status["done"] < CELLS, "one may end with fewer shots"
        assert not status.complete
        assert f"of {limit:,} shots are used up by the study so far" in repr(status)
        assert "finish(budget=...) with more goes on" in status.note
        done = [row for row in study.table().rows if row["state"] == "done"]
        values = dict(zip(whole.layout.ids, whole.table()["value"], strict=True))
        full = [row for row in done if row["value"] == values[row["run"]]]
        assert len(full) >= len(done) - 1, "the last cell may end with an estimate of fewer shots"


def test_a_budget_that_is_a_little_short_is_not_crossed_by_one_shot(whole: Study, later: Later) -> None:
    with sampled() as study:
        study.finish(later, budget=Budget(shots=used(whole) - 1))
        assert used(whole) / 2 < used(study) <= used(whole) - 1
    assert later.most > 1, "several orders had their part before any had spent of it"


def test_what_is_recorded_counts_and_more_goes_on(whole: Study) -> None:
    limit = used(whole) // 2
    with sampled() as study:
        first = study.finish(budget=Budget(shots=limit))
        before = used(study)
        assert limit / 2 < before <= limit
        again = study.finish(budget=Budget(shots=limit))
        assert used(study) <= limit
        assert again["done"] >= first["done"]
    with sampled() as study:
        status = study.finish(budget=Budget(shots=10 * used(whole)))
        assert status["done"] == CELLS
        assert status.note == ""
        assert used(study) >= before


def test_a_budget_that_suffices_changes_nothing(whole: Study, later: Later) -> None:
    with sampled() as study:
        assert study.finish(later, budget=Budget(shots=2 * used(whole)))["done"] == CELLS
        assert study.table()["value"].tolist() == whole.table()["value"].tolist()
        assert used(study) == used(whole)


def test_a_budget_of_nothing_starts_nothing() -> None:
    with sampled() as study:
        status = study.finish(budget=Budget(shots=0))
        assert status["missing"] + status["unfinished"] == CELLS
        assert used(study) == 0


def test_exact_cells_are_counted_by_their_evaluations() -> None:
    with sampled(shots=None, optimizer="L-BFGS-B", device="varq.qubit", stop=Stop(steps=6)) as study:
        assert study.layout.batches[0].seats == CELLS
        status = study.finish(budget=Budget(circuits=7))
        found = study.store.jobs.spent_on(study.layout.ids)
        assert sum(circuits for circuits, _ in found.evaluated.values()) <= 7
        assert not status.complete
        assert study.finish(budget=Budget(circuits=1000))["done"] == CELLS


def test_a_batch_whose_worker_was_lost_keeps_what_it_was_given() -> None:
    with sampled() as study:
        purse = Purse(study.store, study.layout, Budget(shots=1000))
        first = purse.lease(0, [0], alone=True)
        assert first is not None
        assert first.shots is not None
        again = purse.lease(0, [0], alone=False)
        assert again == first
        rest = Purse(study.store, study.layout, Budget(shots=first.shots))
        assert rest.lease(0, [0], alone=True) is not None
        assert rest.lease(1, [1], alone=False) is None, "what another may still use is not given twice"


def test_budgets_that_cannot_hold_are_refused() -> None:
    with sampled() as study:
        with pytest.raises(ValueError, match=r"shards do not know of each other.*Leave one out"):
            study.finish(shard=(1, 2), budget=Budget(shots=1))
        with pytest.raises(TypeError, match="budget must be"):
            study.finish(budget=1000)  # type: ignore[arg-type]
        with (
            study.store.lease(STUDY + study.name),
            sampled() as other,
            pytest.raises(OwnedError, match=r"budget of a study has one owner at a time. That of sampled is owned"),
        ):
            other.finish(budget=Budget(shots=100))
        assert used(study) == 0
    with sampled("money", device="reference.qubit") as study:
        with pytest.raises(ValueError, match=r"price of each device. None is known for reference.qubit"):
            study.finish(budget=Budget(cost=1.0))
        assert study.status()["missing"] == CELLS


def test_each_device_of_a_spread_has_its_price() -> None:
    known, unknown = varq.spread("default.qubit", "braket.local"), varq.spread("braket.local", "reference.qubit")
    limit = Budget(cost=1.0)
    refused = pytest.raises(ValueError, match=r"price of each device. None is known for reference.qubit")
    with sampled("priced", device=known) as study:
        assert Purse(study.store, study.layout, limit).spent.cost == 0
    with sampled("money", device=unknown) as study, refused:
        Purse(study.store, study.layout, limit)


def test_seconds_of_recorded_steps_count() -> None:
    with sampled(shots=None, device="default.qubit") as study:
        half = study.finish(shard=(1, 2))["done"]
        assert 0 < half < CELLS
        purse = Purse(study.store, study.layout, Budget(seconds=1000.0))
        done = [row["run"] for row in study.table().rows if row["state"] == "done"]
        recorded = sum(max(row.seconds for row in study.store.rows(run)) for run in done)
        assert np.isclose(purse.spent.seconds, recorded)
        assert purse.spent.shots == 0
        status = study.finish(budget=Budget(seconds=purse.spent.seconds))
        assert (status["done"], status.complete) == (half, False)
        assert "are used up by the study so far" in status.note
        assert study.finish(budget=Budget(seconds=recorded + 1000.0))["done"] == CELLS


def test_what_a_killed_client_left_at_work_is_ended_and_counted_before_anything_more_is_spent(whole: Study) -> None:
    limit = used(whole) // 2
    with sampled() as study, open_store("store", host="elsewhere") as away:
        assert study.store.path is not None
        permit, other = new_permit(study.store.path), new_permit(study.store.path)
        signed(permit, study.name)
        signed(other, "another")
        orphan = varq.Session(store=away, progress=False)
        held = [away.lease(order_lease(permit)), away.lease(order_lease(other))]
        run = orphan.start(study.layout.task(CELLS - 1))
        for lease in held:
            lease.__enter__()
        seen: list[bool] = []

        def go_on() -> None:
            until(lambda: not permit.exists())
            run.step(1)
            seen.append(used(study) > 0 and study.status()["missing"] == CELLS - 1)
            orphan.close()
            held[0].__exit__(None, None, None)

        thread = threading.Thread(target=go_on)
        thread.start()
        status = study.finish(budget=Budget(shots=limit))
        thread.join()
        assert seen == [True], "nothing was spent while the other was at work"
        assert used(study) <= limit
        assert not status.complete
        assert other.exists()
        held[1].__exit__(None, None, None)


def test_permits_that_clients_left_go_with_the_next_gc() -> None:
    with sampled() as study:
        assert study.store.path is not None
        old, new = new_permit(study.store.path), new_permit(study.store.path)
        os.utime(old, (0, 0))
        assert study.store.gc().files == 1
        assert not old.exists()
        assert new.exists()
        os.utime(new, (0, 0))
        touched(new)
        assert study.store.compact().freed.files == 0


CLIENT = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
sys.path.insert(0, sys.argv[1])
import varq
from test_study_budget import sampled
from varq.session.budget import Budget
from varq.protocol import Stop
if __name__ == "__main__":
    with sampled(stop=Stop(steps=60)) as study, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        study.finish(pool, budget=Budget(shots=int(sys.argv[2])))
"""


def killed_once(client: subprocess.Popen[bytes], study: Study, shots: float) -> None:
    """The processes of its pool go on with what they have."""
    until(lambda: used(study) > shots or client.poll() is not None)
    client.kill()
    assert client.wait() == -signal.SIGKILL


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_client_that_is_killed_again_and_again_never_crosses_its_budget() -> None:
    limit = 30_000  # of some 48,000 that all cells use
    with sampled(stop=Stop(steps=60)) as study, ExitStack() as clients:
        for part in (0.2, 0.4):
            killed_once(clients.enter_context(with_its_pool(CLIENT, str(limit))), study, part * limit)
        status = study.finish(budget=Budget(shots=limit))
        assert not status.complete
        time.sleep(2)
        assert 0.4 * limit < used(study) <= limit
        assert not list(Path("store").glob(".study-*"))
