"""What is asked of a cluster, with a scheduler that is none: who can do it, who is left out, when it is given up."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import varq
from varq.algorithms import VQE
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.study import cluster as dask_side
from varq.study.cluster import Dask
from varq.study.local import _shared_out as shared_out
from varq.study.lost import ClusterLost, Unsuited
from varq.study.needs import check_offered
from varq.study.patience import Patience
from varq.study.suited import graphics

ADA, BOB = "tcp://ada:1", "tcp://bob:1"


@dataclass
class Future:
    """As a scheduler gives them, so far as they are looked at."""

    key: str
    options: dict[str, Any]
    payload: bytes
    status: str = "pending"
    said: Any = None
    callbacks: list[Callable[[Any], None]] = field(default_factory=list)

    def done(self) -> bool:
        return self.status != "pending"

    def cancel(self) -> None:
        self.end("cancelled")

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callbacks.append(callback)

    def result(self) -> Any:
        return self.said

    def end(self, status: str, said: Any = None) -> None:
        self.status, self.said = status, said
        for callback in self.callbacks:
            callback(self)


class Scheduler:
    """A client of a scheduler that hands out nothing by itself."""

    status = "running"
    dashboard_link = None
    asynchronous = False
    scheduler = SimpleNamespace(address="tcp://here:8786")

    def __init__(self, workers: dict[str, dict[str, float]]) -> None:
        self.known = {name: {"nthreads": 1, "resources": labels} for name, labels in workers.items()}
        self.futures: list[Future] = []

    def get_executor(self) -> None:
        """Only a client has this."""

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": self.known}

    def submit(self, function: Any, version: str, payload: bytes, **options: Any) -> Future:
        self.futures.append(Future(options.pop("key"), options, payload))
        return self.futures[-1]

    def cancel(self, futures: list[Future]) -> None:
        for future in futures:
            future.cancel()

    def processing(self) -> dict[str, list[str]]:
        return {}


@pytest.fixture(autouse=True)
def _always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_side, "_KNOWN", -1.0)


def test_what_one_cell_takes_one_worker_has() -> None:
    dask = Dask(Scheduler({ADA: {"gpu": 1, "qpu:a": 1}, BOB: {"gpu": 1, "qpu:b": 1}}))
    assert dask.offers() == {"gpu": 2, "qpu:a": 1, "qpu:b": 1}

    def check(*labels: tuple[str, int]) -> None:
        check_offered({labels: 3}, dask.offers(), dask.name, dask.offers_each())

    check(("gpu", 1), ("qpu:b", 1))
    with pytest.raises(
        ValueError, match=r"3 cells need gpu \(2\).*a cell runs on one worker, and one has gpu \(1\), qpu"
    ):
        check(("gpu", 2))
    with pytest.raises(ValueError, match=r"need qpu:a \(1\), qpu:b \(1\), and Dask at .* a cell runs on one worker"):
        check(("qpu:a", 1), ("qpu:b", 1))
    with pytest.raises(ValueError, match=r"need qpu:c \(1\), and .* it offers gpu \(2\)"):
        check(("qpu:c", 1))


def test_a_study_asks_for_that_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler({ADA: {"gpu": 1}, BOB: {"gpu": 1}})
    dask = Dask(scheduler)

    def prepared(folder: Path) -> Path:
        return folder / "permit"

    monkeypatch.setattr(dask, "prepare", prepared)
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", stop=Stop(steps=1))
    with varq.sweep(task, {"seed": [0]}, needs={"gpu": 2}, store="store", progress=False) as study:
        with pytest.raises(ValueError, match=r"1 cell needs gpu \(2\).*one has gpu \(1\)\. Nothing was run"):
            study.finish(dask)
        assert scheduler.futures == []


def test_what_waits_for_a_label_whose_only_worker_is_gone_is_told_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler({ADA: {"qpu:a": 1}, BOB: {"qpu:b": 1}})
    dask = Dask(scheduler, patience=60.0)
    dask.place((("qpu:a", 1),), 0, abs, -1)
    dask.place((("qpu:b", 1),), 0, abs, -1)
    assert dask.standing() == ""
    del scheduler.known[ADA]
    assert dask.standing() == "Dask at tcp://here:8786 has no worker with qpu:a (1) now; waiting for one."
    monkeypatch.setattr("varq.study.patience.time.monotonic", lambda: 1e12)
    with pytest.raises(ClusterLost, match=r"needs workers. Dask at .* had none with qpu:a \(1\) for 60 s.*--resources"):
        dask.standing()
    scheduler.known[ADA] = {"nthreads": 1, "resources": {"qpu:a": 1}}
    assert dask.standing() == ""


def test_patience_begins_anew_once_somebody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("varq.study.patience.time.monotonic", lambda: now)
    patience, one = Patience("it", 10.0), {ADA: {"resources": {}}}
    assert patience.standing({}, []) == "it has no workers now; waiting for some."
    now = 9.0
    assert patience.standing(one, []) == ""
    now = 18.0
    assert "no workers" in patience.standing({}, [])
    now = 29.0
    with pytest.raises(ClusterLost, match="it had none for 10 s"):
        patience.standing({}, [])
    assert "waiting" in Patience("it", None).standing({}, [])


def test_a_worker_whose_disk_failed_is_left_out_and_what_waits_moves_when_the_others_are_started_again() -> None:
    scheduler = Scheduler({ADA: {}, BOB: {}})
    dask = Dask(scheduler)
    failed = dask.submit(abs, -1)
    assert scheduler.futures[-1].options["workers"] is None
    scheduler.futures[-1].end("finished", ("error", OSError("no space left"), ADA))
    with pytest.raises(OSError, match="no space left"):
        failed.result()
    waits, first = dask.submit(abs, -2), scheduler.futures[-1]
    assert first.options["workers"] == [BOB]
    assert dask.standing() == ""
    assert scheduler.futures[-1] is first
    del scheduler.known[BOB]
    scheduler.known["tcp://bob:2"] = {"nthreads": 1, "resources": {}}
    assert dask.standing() == ""
    again = scheduler.futures[-1]
    assert first.status == "cancelled"
    assert again.options["workers"] == ["tcp://bob:2"]
    function, args = pickle.loads(again.payload)
    again.end("finished", ("result", function(*args), "tcp://bob:2"))
    assert waits.result() == 2
    assert waits.worker == "tcp://bob:2"  # type: ignore[attr-defined]


def test_a_worker_that_alone_has_a_label_is_asked_again_although_its_disk_failed() -> None:
    scheduler = Scheduler({ADA: {"qpu:a": 1}, BOB: {}})
    dask = Dask(scheduler)
    dask.place((("qpu:a", 1),), 0, abs, -1)
    scheduler.futures[-1].end("finished", ("error", OSError("no space left"), ADA))
    dask.place((("qpu:a", 1),), 0, abs, -1)
    assert scheduler.futures[-1].options["workers"] is None


def test_labels_of_a_local_cluster_are_those_that_there_are_and_are_shared_out() -> None:
    assert shared_out({"gpu": 4}, 4) == [{"gpu": 1}] * 4
    assert shared_out({"gpu": 4, "qpu:a": 9}, 2) == [{"gpu": 2, "qpu:a": 1}] * 2
    assert shared_out({"qpu:a": 1, "qpu:b": 1}, 2) == [{"qpu:a": 1}, {"qpu:b": 1}]
    assert shared_out({"gpu": 1}, 3) == [{"gpu": 1}, {}, {}]
    with pytest.raises(ValueError, match=r"A label is 'gpu', or 'qpu:' and the name of a device. Got 'ibm.torino'"):
        shared_out({"ibm.torino": 1}, 2)


def test_workers_with_the_label_gpu_are_asked_what_jax_has_there(monkeypatch: pytest.MonkeyPatch) -> None:
    here = graphics()
    scheduler = Scheduler({ADA: {"gpu": here + 1}, BOB: {"qpu:a": 1}})
    asked = []

    def run(function: Any, *args: Any, workers: Any = None, on_error: str = "raise") -> dict[str, Any]:
        asked.append((function.__name__, workers))
        return {name: function(*args) for name in workers or scheduler.known}

    monkeypatch.setattr(scheduler, "run", run, raising=False)
    Path("store").mkdir()
    with pytest.raises(Unsuited, match=rf"fewer on tcp://ada:1 \(label gpu={here + 1}, JAX has {here}\)"):
        Dask(scheduler).prepare(Path("store"))
    assert asked == [("look", None), ("graphics", [ADA])]
    assert not list(Path("store").iterdir()), "nothing is left that tells workers to go on"
