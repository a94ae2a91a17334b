"""Where cells run: what they need is offered or refused, labels are never overdrawn, and the store tells it later."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path
from typing import Any

import jax
import pytest
from harness import PATIENCE
from study_samples import ising

import varq
from varq.algorithms import VQE
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.store.store import open_store
from varq.study import needs
from varq.study.cells import Batch
from varq.study.environment import devices_apart, lacking, worker_environment
from varq.study.executors import Here, Processes
from varq.study.lost import Unsuited
from varq.study.study import Study
from varq.study.suited import check_graphics, check_suited, graphics, look, shortcomings
from varq.study.waiting import Waiting
from varq.study.work import Cause, Cell, Order, Party, State, failed, work

TIMED = "(__import__('time').time(), __import__('time').sleep(0.05), __import__('time').time())"
"""When something began and ended in a worker, which knows the standard library but no test."""
TORINO, GARNET = {"qpu": "ibm.torino"}, {"qpu": "iqm.garnet"}


def study(store: str = "store", cells: int = 4, steps: int = 2, **options: Any) -> Study:
    return ising(store, cells, steps, **options)


def overlapping(times: list[tuple[float, float]]) -> int:
    """The most that were under way at a moment, by their beginnings and ends."""
    moments = sorted([(began, 1) for began, _ in times] + [(ended, -1) for _, ended in times])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def test_needs_become_labels() -> None:
    assert needs.labels_of(TORINO, None) == (("qpu:ibm.torino", 1),)
    assert needs.labels_of({"gpu": 2, **TORINO}, None) == (("gpu", 2), ("qpu:ibm.torino", 1))
    assert needs.labels_of(lambda task: {"qpu": task}, "a") == (("qpu:a", 1),)
    assert needs.labels_of(lambda task: None, "a") == needs.labels_of(None, "a") == ()
    both = (("qpu:ibm.torino", 1), ("qpu:iqm.garnet", 1))
    assert needs.labels_of({"qpu": ["iqm.garnet", "ibm.torino"]}, None) == both
    assert needs.slots(both, {"qpu:ibm.torino": 2, "qpu:iqm.garnet": 1}) == 1
    assert needs.slots((("gpu", 2),), {"gpu": 5}) == 2


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"cpu": 1}, ValueError, r"name of a need must be one of.*Got 'cpu'"),
        ({"qpu": 3}, TypeError, r"needs\[qpu\] must be"),
        ({"qpu": ["a", "a"]}, ValueError, r"several once each. Got \['a', 'a'\]"),
        ({"qpu": []}, ValueError, r"must name one quantum processor"),
        ({"qpu": ["a", 1]}, TypeError, r"needs\[qpu\] must be"),
        ({"gpu": 0}, ValueError, r"needs\['gpu'\] must be at least 1"),
        ("ibm.torino", TypeError, "needs must be"),
    ],
)
def test_needs_that_there_are_not_are_refused(wrong: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        study(needs=wrong)


def test_labels_and_priorities_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"A label is 'gpu', or 'qpu:' and the name of a device. Got 'ibm.torino'"):
        Processes(1, labels={"ibm.torino": 1})
    with pytest.raises(ValueError, match=r"labels\['gpu'\] must be at least 1"):
        Processes(1, labels={"gpu": 0})
    with pytest.raises(TypeError, match="priority must be"):
        study(priority="high")


def test_needs_and_priorities_are_no_part_of_a_cell_and_batches_do_not_mix_them() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", stop=Stop(steps=1))

    def made(**options: Any) -> Study:
        return varq.sweep(task, {"seed": range(4)}, store=None, progress=False, **options)

    plain, placed = (
        made(),
        made(needs=lambda task: TORINO if task.seed < 2 else GARNET, priority=lambda task: task.seed),
    )
    assert plain.layout.ids == placed.layout.ids
    assert [batch.cells for batch in plain.layout.batches] == [(0, 1, 2, 3)]
    assert [batch.cells for batch in placed.layout.batches] == [(0, 1), (2, 3)]
    assert [batch.labels for batch in placed.layout.batches] == [(("qpu:ibm.torino", 1),), (("qpu:iqm.garnet", 1),)]
    assert [batch.priority for batch in placed.layout.batches] == [1, 3]


def test_what_nobody_offers_is_an_error_before_anything_runs() -> None:
    with study(needs={"gpu": 99}) as found:
        with pytest.raises(
            ValueError, match=r"4 cells need gpu \(99\), and this process has that not: JAX has \d+ graph"
        ):
            found.finish()
        refused = pytest.raises(ValueError, match=r"gpu \(99\).*it offers qpu:iqm.garnet \(1\). Nothing was run")
        with Processes(1, labels={"qpu:iqm.garnet": 1}) as processes, refused:
            found.finish(processes)
        assert found.status()["missing"] == 4
        assert found.ledger().height == 0


def test_here_any_quantum_processor_will_do() -> None:
    with study(needs=TORINO) as found:
        assert found.finish()["done"] == 4
        table = found.ledger()
        assert table["labels"] == ["qpu:ibm.torino (1)"] * 4
        assert table["device"] == ["default.qubit"] * 4
        assert table["note"] == ["took the place of ibm.torino, and its device is default.qubit"] * 4
    with study("same", cells=1, needs={"qpu": "default.qubit"}) as found:
        found.finish()
        assert found.ledger()["note"] == [""]
        assert set(table["executor"]) == {"this process"}


def test_labels_are_never_overdrawn_and_others_go_on_meanwhile() -> None:
    with Processes(3, labels={"qpu:a": 1, "qpu:b": 2}) as processes:
        calls = [processes.place(((label, 1),), 0, eval, TIMED) for label in ["qpu:a", "qpu:b"] * 6]
        times = [(began, ended) for began, _, ended in (call.result(timeout=240) for call in calls)]
    assert overlapping(times[0::2]) == 1
    assert overlapping(times[1::2]) <= 2


def test_the_highest_priority_goes_first() -> None:
    waiting = Waiting([Batch((k,), priority=p) for k, p in enumerate([0, 5, 1])], [0, 1, 2])
    assert [waiting.take((), 1) for _ in range(3)] == [[1], [2], [0]]
    labeled = Waiting([Batch((0,)), Batch((1,), labels=(("gpu", 1),), priority=2)], [0, 1])
    assert labeled.lanes() == [((("gpu", 1),), 1), ((), 1)]


def test_batches_wait_for_those_that_they_need_and_for_no_others() -> None:
    waiting = Waiting(
        [Batch((0,)), Batch((1,), needs=(0,)), Batch((2,), needs=(1,)), Batch((3,), needs=(9,))], [0, 1, 3]
    )
    assert waiting.take((), 9) == [0, 3]
    assert waiting.lanes() == []
    waiting.finished(0)
    assert waiting.take((), 9) == [1]
    waiting.put(1)
    assert waiting.take((), 9) == [1]


def test_batches_of_several_cells_travel_alone() -> None:
    waiting = Waiting([Batch((0,)), Batch((1,)), Batch((2, 3), seats=2), Batch((4,))], range(4))
    assert [waiting.take((), 3) for _ in range(3)] == [[0, 1], [2], [3]]


def test_the_ledger_says_where_and_when_and_with_which_versions_each_cell_ran() -> None:
    began = time.time()
    with study(cells=3) as found:
        found.finish()
        table = found.ledger()
    assert table["seed"].tolist() == [0, 1, 2]
    assert table["state"] == ["done"] * 3
    assert set(table["pid"]) == {os.getpid()}
    assert all(f"varq {varq.__version__}" in text for text in table["versions"])
    assert all(
        began - 1 <= a.timestamp() <= b.timestamp() <= time.time() + 1
        for a, b in zip(table["began"], table["ended"], strict=True)
    )
    with open_store("store", read_only=True) as store:
        assert store.verify() == []
        assert store.jobs.sessions() == []


def test_ledgers_of_shards_are_united() -> None:
    for number in (1, 2):
        with study(f"part-{number}") as part:
            part.finish(shard=(number, 2))
    with study("whole") as whole:
        whole.store.merge([Path("part-1"), Path("part-2")])
        table = whole.ledger()
        assert table["seed"].tolist() == [0, 1, 2, 3]
        assert table["state"] == ["done"] * 4
        assert whole.store.verify() == []


def test_cells_that_nobody_noted_are_in_the_ledger_by_their_runs() -> None:
    with study() as found:
        with varq.Session(store=found.store, progress=False) as session:
            session.run(found.layout.task(2))
        table = found.ledger()
        assert table["seed"].tolist() == [2]
        assert table["note"] == ["by a process that did not come to tell of it"]
        assert "pennylane" in table["versions"][0]


def test_the_ledger_tells_how_cells_that_nobody_noted_ended_and_which_are_one_run() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    tasks = [dataclasses.replace(task, seed=seed) for seed in (0, 1, 1, 2, 0)]
    with varq.sweep(tasks, name="placed", store="store", progress=False) as found:
        with varq.Session(store=found.store, progress=False) as session:
            session.run(tasks[1])
            session.start(tasks[3]).step(1)
            failed(found.store, found.layout.ids[3], "KilledWorker: 5 workers ended")
        first = found.ledger()
        assert found.finish()["failed"] == 1
        table = found.ledger()
    unseen, same = "by a process that did not come to tell of it", "the same run as that of cell"
    assert first["note"] == [unseen, f"{same} 2", unseen]
    assert first["state"] == ["done", "done", "failed"]
    assert table["note"] == ["", unseen, f"{same} 2", unseen, f"{same} 1"]
    assert table["state"] == ["done", "done", "done", "failed", "done"]


def order(store: Path, permit: Path) -> Order:
    return Order(store, (Party(0, 1, (Cell(0, 0, "", "00ff00ff00ff00ff"),)),), {}, permit)


def test_a_worker_does_nothing_without_its_permit_and_says_where_it_sees_no_store(tmp_path: Path) -> None:
    with study() as found:
        assert found.store.path is not None
        done = work(order(found.store.path, found.store.path / ".study-gone.running"))
        assert [(end.state, end.cause) for end in done.ends] == [(State.UNFINISHED, Cause.STOPPED)]
    with pytest.raises(Unsuited, match=r"share with the client. .*elsewhere is not seen from"):
        work(order(tmp_path / "elsewhere", tmp_path / "elsewhere" / ".study-a.running"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_stops_after_the_evaluation_in_flight_when_its_permit_is_taken_away() -> None:
    with study(cells=1, steps=100_000) as found:
        assert found.store.path is not None
        permit = found.store.path / ".study-a.running"
        permit.touch()
        threading.Timer(1.0, permit.unlink).start()
        task = varq.spec.dumps(found.layout.task(0), {})
        done = work(Order(found.store.path, (Party(0, 1, (Cell(0, 0, task, found.layout.ids[0]),)),), {}, permit))
        assert [(end.state, end.cause) for end in done.ends] == [(State.UNFINISHED, Cause.STOPPED)]
        assert found.status()["unfinished"] == 1


def seen(**changes: Any) -> dict[str, Any]:
    return {**look(), "seen": "token", **changes}


def test_workers_that_cannot_do_the_work_are_refused(tmp_path: Path) -> None:
    one, known = "tcp://ada:1", {"tcp://ada:1": {"nthreads": 1}}
    check_suited({one: seen()}, known, tmp_path, "token")
    with pytest.raises(Unsuited, match=r"same varq as the client, .*ada:1 has none that fits: ModuleNotFoundError"):
        check_suited({one: ModuleNotFoundError("No module named 'varq'")}, known, tmp_path, "token")
    versions = {**look()["versions"], "varq": "0.0.1"}
    with pytest.raises(Unsuited, match=r"run the same varq: here it is .*elsewhere on tcp://ada:1 \(0.0.1\)"):
        check_suited({one: seen(versions=versions)}, known, tmp_path, "token")
    with pytest.raises(Unsuited, match=r"has one thread.*Got more on tcp://ada:1. Start workers with --nthreads 1"):
        check_suited({one: seen()}, {one: {"nthreads": 4}}, tmp_path, "token")
    with pytest.raises(Unsuited, match=r"is not seen from ada. Nothing was run. Name a folder on a shared file system"):
        check_suited({one: seen(seen="", host="ada")}, known, tmp_path, "token")


def test_what_is_not_good_on_workers_is_told() -> None:
    assert shortcomings("Dask", {"a": seen(lacking=[])}) == []
    (threads,) = shortcomings("Dask", {"a": seen(lacking=["XLA_FLAGS"], processors=8)})
    assert "XLA_FLAGS is not set for one" in threads
    (other,) = shortcomings("Dask", {"a": seen(lacking=[], versions={**look()["versions"], "jax": "0.1"})})
    assert "jax 0.1 there" in other
    assert lacking(worker_environment()) == []


def test_executors_say_what_they_offer() -> None:
    assert Here().offers() is None
    with Processes(1, labels={"qpu:a": 2}) as processes:
        assert processes.offers() == {"qpu:a": 2}


def met(value: str, mine: Path, other: Path) -> str:
    """A value that a process tells once another one is at work too, since none has two calls at a time."""
    there = f"iter(lambda: __import__('os').path.exists({str(other)!r}), True)"
    return f"(open({str(mine)!r}, 'w').close(), [__import__('time').sleep(0.02) for _ in {there}], ({value}))[2]"


def test_each_process_sees_graphics_processors_of_its_own() -> None:
    seen = "__import__('os').environ.get('CUDA_VISIBLE_DEVICES'), __import__('os').environ.get('JAX_PLATFORMS')"
    here = [Path(name).absolute() for name in ("one", "other")]
    with Processes(2, labels={"gpu": 1, "qpu:a": 1}) as processes:
        assert processes.offers_each() == [{"gpu": 1, "qpu:a": 1}, {"gpu": 0, "qpu:a": 1}]
        calls = [processes.submit(eval, met(seen, *pair)) for pair in (here, here[::-1])]
        found = [call.result(timeout=PATIENCE) for call in calls]
        assert set(found) == {("0", os.environ.get("JAX_PLATFORMS")), ("", "cpu")}
    more = graphics() + 1
    fewer = rf"that its label says.*fewer on process \d+ \(label gpu={more}, JAX has {more - 1}\)"
    with Processes(1, labels={"gpu": more}) as processes, pytest.raises(Unsuited, match=fewer):
        processes.place((("gpu", 1),), 0, abs, -1).result(timeout=PATIENCE)
    refused = pytest.raises(ValueError, match=r"4 cells need gpu \(2\).*on one worker, and one has gpu \(1\)")
    with study(needs={"gpu": 2}) as wanting, Processes(2, labels={"gpu": 2}) as processes, refused:
        wanting.finish(processes)


def test_graphics_processors_are_shared_out_among_those_that_are_visible() -> None:
    assert needs.shared(5, 3) == [2, 2, 1]
    found = devices_apart([2, 1, 0], {"CUDA_VISIBLE_DEVICES": "4,6,7"})
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4,6", "7", ""]
    with pytest.raises(ValueError, match=r"at most what CUDA_VISIBLE_DEVICES names, '0'. Got 2. Lower it"):
        devices_apart([1, 1], {"CUDA_VISIBLE_DEVICES": "0"})


def test_workers_with_fewer_graphics_processors_than_they_say_are_refused_by_name() -> None:
    check_graphics({"tcp://ada:1": 2}, {"tcp://ada:1": 2.0})
    assert graphics() == sum(device.platform == "gpu" for device in jax.devices())
    with pytest.raises(Unsuited, match=r"Got fewer on tcp://bob:1 \(label gpu=2, JAX has 1\). Nothing of it ran there"):
        check_graphics({"tcp://ada:1": 1, "tcp://bob:1": 1}, {"tcp://ada:1": 1, "tcp://bob:1": 2})
