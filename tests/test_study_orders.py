"""Orders that cannot be given, and those whose workers are lost: who is blamed, and who is not."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varq
from varq.algorithms import VQE, Minimize
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.study.executors import Here
from varq.study.finishing import _LOSSES
from varq.study.lost import WorkerLost
from varq.study.study import Study
from varq.study.work import Order, apart

STEPS = _LOSSES + 3


def sweep(task: Any) -> Study:
    return varq.sweep(task, {"seed": [1]}, name="one", store="store", progress=False)


class Preempted:
    """An executor whose machines are taken away after a step of the first cell, as long as it has some.

    Args:
        steps: that are done in all; none of them is the last one.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.lost = steps, 0, 0

    def submit(self, function: Any, /, order: Order) -> Future[Any]:
        if self.done == STEPS - 1:
            return Here().submit(function, order)
        future: Future[Any] = Future()
        if self.done < self.steps:
            self.done += 1  # those that are recorded are done again first, from the journal
            with apart(Path("store"), "ada") as store, varq.Session(store=store, progress=False) as session:
                session.start(order.task(order.parties[0].cells[0])).step(self.done)
        self.lost += 1
        future.set_exception(WorkerLost("A worker was taken away."))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def long() -> Study:
    """A cell of more steps than a batch may lose workers."""
    problem = TransverseFieldIsing(2)
    return sweep(
        VQE(problem, ansatz="hardware-efficient", optimizer=SPSA(), device="default.qubit", stop=Stop(steps=STEPS))
    )


def test_a_cell_that_gets_further_each_time_is_not_given_up() -> None:
    executor = Preempted(STEPS - 1)
    with long() as study:
        assert study.finish(executor)["done"] == 1
        assert executor.lost == STEPS - 1 > _LOSSES
        assert study.table()["steps"].tolist() == [STEPS]


def test_a_cell_that_gets_no_further_is_given_up() -> None:
    executor = Preempted(2)
    with long() as study:
        assert study.finish(executor)["failed"] == 1
        assert executor.lost == 2 + _LOSSES
        (row,) = study.table().rows
        assert f"{_LOSSES} workers ended while doing it" in row["note"]


def bowl(x: Any) -> float:
    return float((x**2).sum())


def test_what_cannot_travel_says_where_it_can_be_run() -> None:
    task = Minimize(bowl, np.zeros(2), optimizer=SPSA(), gradient="finite-diff", noisy=False, stop=Stop(steps=1))
    with sweep(task) as study:
        way = (
            r"must be data.*holds a function.*finish\(\) in this process, or finish\(shard=\(1, 4\)\) in the script of"
        )
        with pytest.raises(ValueError, match=way):
            study.finish(Preempted(0))
        assert study.finish(shard=(1, 1))["done"] == 1
