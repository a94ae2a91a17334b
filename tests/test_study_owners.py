"""Cells and budgets that another process owns: waited for, and taken over from machines that died."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import varq
from varq.algorithms import VQE
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.store.job_records import STUDY
from varq.store.store import Store
from varq.study.executors import Here
from varq.study.study import Study


def study_of(cells: int, store: Any = "store") -> Study:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    return varq.sweep(task, {"seed": range(cells)}, name="orphan", store=store, progress=False)


class Elsewhere:
    """An executor that makes of everything what a worker would."""

    def submit(self, function: Any, /, *args: Any, **keywords: Any) -> Future[Any]:
        return Here().submit(function, *args, **keywords)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def age(folder: str, seconds: float) -> None:
    """Makes the last sign of life of that machine older."""
    with closing(sqlite3.connect(Path(folder) / "gone.sqlite")) as db:
        db.execute("UPDATE leases SET heartbeat = heartbeat - ?", (seconds,))
        db.commit()


def silent(folder: str, name: str, seconds: float) -> Store:
    """A machine that owned something and gave its last sign of life so many seconds ago."""
    gone = varq.open_store(folder, host="gone", heartbeat=1e6)
    gone.lease(name).__enter__()
    age(folder, seconds)
    return gone


class Patience:
    """Stands for the wait of a study: so many turns, at the last of which something happens."""

    def __init__(self, turns: int, then: Callable[[], None] | None = None) -> None:
        self.turns, self._then = turns, then

    def __call__(self, seconds: float) -> None:
        self.turns -= 1
        assert self.turns >= 0, "it waits and waits"
        if not self.turns and self._then is not None:
            self._then()


@pytest.mark.parametrize("executor", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_a_cell_of_a_machine_that_died_is_taken_over(executor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.study.finishing.time", SimpleNamespace(sleep=Patience(0)))
    with study_of(2) as study, silent("store", study.layout.ids[1], 61):
        assert study.finish(executor)["done"] == 2


def test_who_is_waited_for_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(3, lambda: age("store", 61))
    monkeypatch.setattr("varq.study.finishing.time", SimpleNamespace(sleep=patience))
    with study_of(2) as study, silent("store", study.layout.ids[1], 0):
        assert study.finish()["done"] == 2
    assert patience.turns == 0
    (said,) = [record.message for record in caplog.records if "waits for" in record.message]
    assert "waits for 1 cell of another process" in said
    assert f"by pid {os.getpid()} on host gone since" in said


def test_a_run_that_another_thread_of_this_process_drives_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.study.finishing.time", SimpleNamespace(sleep=Patience(4)))
    with varq.open_store("store", stale=0) as store, study_of(1, store) as study:
        with store.lease(study.layout.ids[0]), pytest.raises(AssertionError, match="it waits and waits"):
            study.finish()
        assert study.finish()["done"] == 1


def test_the_budget_of_a_study_whose_machine_died_passes_on() -> None:
    with study_of(1) as study, silent("store", STUDY + study.name, 61):
        assert study.finish(budget=Budget(circuits=1000))["done"] == 1
