"""Studies that run: what is done is found, errors stay with their cells, and where a cell runs changes nothing."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import varq
from varq import spec
from varq.algorithms import VQE, Minimize
from varq.optimizers import SPSA, Optax
from varq.problems import Molecule, Operator, TransverseFieldIsing
from varq.protocol import Stop
from varq.session.interrupt import REQUEUE
from varq.simulator.kept import Kept
from varq.store.lease import Process
from varq.store.parts import claimed, sole
from varq.store.store import open_store
from varq.study.executors import Here, executor_of
from varq.study.study import Study
from varq.study.work import failed

EXACT = 1e-10  # hartree: one compiled function for several cells and one for each differ by rounding
BONDS = (0.7, 0.735, 0.8)


def h2(**changes: Any) -> VQE:
    return VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B", **changes)


def sweep(*args: Any, store: Any = "store", **options: Any) -> Study:
    return varq.sweep(*args, store=store, progress=False, **options)


def trace(study: Study) -> dict[str, list[Any]]:
    """The journal of every cell, without times."""
    return {run: [row.content for row in study.store.rows(run)] for run in study.layout.ids}


class Elsewhere:
    """An executor that makes of everything what a worker would; the first so many answers are lost."""

    def __init__(self, losses: int = 0, error: BaseException | None = None) -> None:
        self._losses, self._error = losses, error or OSError("a disk is full")
        self._here = Here()

    def submit(self, function: Any, /, *args: Any, **keywords: Any) -> Future[Any]:
        self._losses -= 1
        if self._losses < 0:
            return self._here.submit(function, *args, **keywords)
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def bowl(x: Any) -> float:
    """A cost that cannot be evaluated far from zero."""
    if x[0] > 5:
        raise ArithmeticError("too far from zero, token=hunter2")
    return float((x**2).sum())


def trivial(**changes: Any) -> Minimize:
    given = {"optimizer": SPSA(), "gradient": "finite-diff", "noisy": False, "stop": Stop(steps=2)}
    return Minimize(bowl, np.zeros(2), **{**given, **changes})


def test_cells_evaluated_together_give_the_values_of_each_alone() -> None:
    study = sweep(h2(), {"problem.bond": BONDS, "seed": range(2)}, name="curve")
    assert study.finish().complete
    assert [batch.seats for batch in study.layout.batches] == [6]
    table = study.table()
    for bond, value in zip(table["problem.bond"], table["value"], strict=True):
        task = VQE(problem=Molecule.load("H2", bond=bond), ansatz="uccsd", optimizer="L-BFGS-B", repeat=1)
        alone = varq.run(task, store=None, progress=False)
        assert abs(value - alone.value) < EXACT
    assert np.max(np.abs(table["deviation"])) < EXACT


def words(seed: int) -> Operator:
    """A Hamiltonian of 90 words that no other seed has: more in one function change the last bits of sums."""
    rng = np.random.default_rng(seed)
    letters = [("".join(rng.choice(list("IXYZ"), 6)) or "X").replace("IIIIII", "XXXXXX") for _ in range(90)]
    return Operator(qml.dot(rng.normal(size=90), [qml.pauli.string_to_pauli_word(word) for word in letters]))


@pytest.mark.parametrize("executor", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_a_batch_of_which_some_is_done_gives_the_others_the_same_bits(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Kept[Any] = Kept(lambda program: 0, most_entries=8)
    monkeypatch.setattr("varq.node.together._programs", made)
    task = VQE(problem=words(0), ansatz="hardware-efficient", optimizer="adam", stop=Stop(steps=2))
    tasks = [dataclasses.replace(task, problem=words(seed)) for seed in range(3)]
    whole, rest = sweep(tasks, name="bits", store="whole"), sweep(tasks, name="bits")
    assert [batch.seats for batch in whole.layout.batches] == [3]
    whole.finish()
    varq.run(tasks[1], store=rest.store, progress=False)
    assert rest.finish(executor)["done"] == 3
    assert [trace(rest)[run] for run in rest.layout.ids[::2]] == [trace(whole)[run] for run in rest.layout.ids[::2]]
    assert len(made) == 1, "nothing is compiled anew"


def test_running_again_does_only_what_is_missing() -> None:
    small = sweep(h2(), {"problem.bond": BONDS[:2]}, name="small")
    small.finish()
    before = trace(small)
    seconds = {run: [row.seconds for row in small.store.rows(run)] for run in small.layout.ids}
    large = sweep(h2(), {"problem.bond": BONDS}, name="large", store=small.store)
    assert dict(large.status()) == {"missing": 1, "unfinished": 0, "done": 2, "failed": 0}
    assert large.finish()["done"] == 3
    assert {run: trace(large)[run] for run in before} == before
    # A row that was computed anew would have taken another time.
    assert {run: [row.seconds for row in large.store.rows(run)] for run in before} == seconds


def test_a_longer_stop_rule_goes_on_with_what_is_there() -> None:
    def study(steps: int) -> Study:
        return sweep(trivial(stop=Stop(steps=steps)), {"seed": range(3)}, name="steps")

    first = study(2)
    first.finish()
    rows = trace(first)
    first.close()
    second = study(5)
    assert second.status()["done"] == 3
    assert second.finish()["done"] == 3
    assert second.table()["steps"].tolist() == [5, 5, 5]
    kept = {run: [row for row in rows[run] if row[1] == "step"] for run in rows}
    assert {run: trace(second)[run][: len(kept[run])] for run in rows} == kept


def test_a_cell_that_fails_keeps_its_error_and_leaves_the_others_alone() -> None:
    starts = [np.array([0.1, 0.2]), np.array([9.0, 0.0]), np.array([0.3, 0.2])]
    study = sweep(trivial(), {"x0": starts}, name="failing")
    status = study.finish()
    assert (status["done"], status["failed"]) == (2, 1)
    assert status.complete
    assert "ArithmeticError: too far from zero" in study.table()["note"][1]
    assert not any(b"hunter2" in file.read_bytes() for file in Path("store").glob("*sqlite*"))
    assert study.best().value == np.nanmin(study.table()["value"])
    assert study.finish()["failed"] == 1
    again = study.finish(only_failed=True)
    assert again["failed"] == 1


def test_a_warm_start_begins_where_the_cell_before_ended() -> None:
    study = sweep(h2(), {"problem.bond": BONDS}, warm_start="problem.bond", name="warm")
    study.finish()
    for before, here in zip(study.layout.ids, study.layout.ids[1:], strict=False):
        ended = spec.loads(study.store.find(before).result or "", study.store.array).parameters
        asked = spec.loads(study.store.rows(here)[0].request, study.store.array).x
        assert np.array_equal(ended, asked)
    assert varq.load(study.layout.ids[1], store="store", progress=False).result is not None


def test_a_cell_whose_predecessor_failed_starts_from_its_default_and_says_so() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", precision="single", stop=Stop(steps=1))
    devices = ["varq.qubit", "default.mixed", "lightning.qubit"]
    study = sweep(task, {"device": devices}, warm_start="device", name="broken")
    status = study.finish()
    assert (status["done"], status["failed"]) == (2, 1)
    notes = study.table()["note"]
    assert "not offered by default.mixed" in notes[1]
    assert f"its default, as run {study.layout.ids[1]} gave no parameters" in notes[2]
    asked = spec.loads(study.store.rows(study.layout.ids[2])[0].request, study.store.array).x
    assert np.array_equal(asked, task.resolve("lightning.qubit", None).initial)


@pytest.mark.parametrize("failed_first", [False, True])
def test_a_run_goes_on_from_where_it_began_whatever_became_of_the_other_since(failed_first: bool) -> None:
    options: dict[str, Any] = {"store": "store", "progress": False}
    adam = dataclasses.replace(h2(stop=Stop(steps=4)), optimizer=Optax("adam", learning_rate=0.02))
    first = varq.start(adam, **options)
    first.step(2)
    with varq.open_store("store") as store:
        if failed_first:
            assert failed(store, first.id, "its workers were lost")
        else:
            first.finish()
        ended = None if failed_first else spec.loads(store.find(first.id).result or "", store.array).parameters
        began = adam.resolve("varq.qubit", None).initial if ended is None else ended
        following = varq.start(dataclasses.replace(adam, initial=first.id, seed=1), **options)
        following.step(2)
        other = varq.run(adam, stop=Stop(steps=9), **options)
        assert other.steps == 9
        assert not np.array_equal(other.parameters, began)
        result = varq.resume(following.id, **options)
        assert (result.replay, result.steps) == ("exact", 4)
        assert result.details["started_from"] == (
            f"its default, as run {first.id} gave no parameters" if failed_first else f"run {first.id}"
        )
        asked = [spec.loads(row.request, store.array).x for row in store.rows(following.id) if row.role == "step"]
        assert np.array_equal(asked[0], began)
        assert [row.role for row in store.rows(following.id)].count("start") == 1
        assert store.verify() == []
        store.remove([first.id])
        assert varq.run(dataclasses.replace(adam, initial=first.id, seed=1), stop=Stop(steps=6), **options).steps == 6


def test_a_run_cannot_start_from_one_that_has_not_ended() -> None:
    first = varq.start(h2(), store="store", progress=False)
    first.step(1)
    with pytest.raises(ValueError, match=r"has ended. Run .* is unfinished after 1 step.*Finish it first"):
        varq.run(h2(initial=first.id), store="store", progress=False)
    with pytest.raises(LookupError, match="Run 00ff00ff00ff00ff is not there"):
        varq.run(h2(initial="00ff00ff00ff00ff"), store="store", progress=False)


def test_two_studies_of_one_name_are_refused_and_nothing_is_lost() -> None:
    study = sweep(h2(), {"problem.bond": BONDS[:1]}, name="curve")
    study.finish()
    with pytest.raises(ValueError, match=r"'curve' has 1 cells in the store, and another list of 2 came.*another name"):
        sweep(h2(), {"problem.bond": BONDS[:2]}, name="curve", store=study.store)
    assert sweep(h2(), {"problem.bond": BONDS[:1]}, name="curve", store=study.store).status()["done"] == 1
    with pytest.raises(ValueError, match="2 to 58 letters"):
        sweep(h2(), {"seed": [1]}, name="a curve")
    assert study.store.jobs.sessions() == []


@pytest.mark.parametrize("options", [{"batch": 3}, {"warm_start": "problem.bond"}], ids=["cold", "warm"])
def test_four_shards_merged_are_the_whole_study(options: dict[str, Any], tmp_path: Path) -> None:
    def study(folder: str) -> Study:
        return sweep(h2(), {"problem.bond": BONDS, "seed": range(4)}, name="cut", store=folder, **options)

    whole = study("whole")
    whole.finish()

    for number in range(1, 5):
        with study(f"part-{number}") as one:
            assert one.finish(shard=(number, 4))["done"] == 3
    with study("merged") as merged:
        assert merged.status()["missing"] == 12
        merged.store.merge([tmp_path / f"part-{number}" for number in range(1, 5)])
        assert merged.status()["done"] == 12
        assert trace(merged) == trace(whole)
        assert merged.table()["value"].tolist() == whole.table()["value"].tolist()
        assert merged.store.verify() == []


def test_shards_on_one_store_write_a_file_each() -> None:
    def recorded(file: Path) -> int:
        with closing(sqlite3.connect(file)) as db:
            tables = ("runs", "steps", "leases", "sessions")
            return sum(int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)

    with (
        sweep(trivial(), {"seed": range(4)}, name="shards") as study,
        sweep(trivial(), {"seed": range(4)}, name="straight", store="whole") as whole,
    ):
        folder, host = study.store.path, study.store.host
        assert folder is not None
        with claimed(folder, host):  # as another shard that runs now
            assert study.finish(shard=(1, 2))["done"] == 2
        assert study.finish(shard=(2, 2))["done"] == 4
        main, *parts = sorted(folder.glob("*.sqlite"), key=lambda path: len(path.name))
        assert recorded(main) == 0
        assert sorted(path.name.rpartition("part-")[2] for path in parts) == ["0.sqlite", "1.sqlite"]
        assert all(recorded(path) > 0 for path in parts)
        whole.finish()
        assert trace(study) == trace(whole)
        assert study.table()["value"].tolist() == whole.table()["value"].tolist()
        assert len(study.ledger()["pid"]) == 4
        assert study.store.compact().files == 2
        assert trace(study) == trace(whole)
        assert len(study.ledger()["pid"]) == 4
        assert study.store.verify() == []


@pytest.mark.parametrize("shard", [(0, 4), (5, 4), (1, 0)])
def test_shards_that_there_are_not_are_refused(shard: Any) -> None:
    with pytest.raises(ValueError, match="shard"):
        sweep(trivial(), {"seed": [1]}, store=None).finish(shard=shard)


def test_a_store_that_is_locked_for_a_while_is_waited_for() -> None:
    study = sweep(trivial(), {"seed": range(3)}, name="locked")
    (file,) = Path("store").glob("*.sqlite")
    lock = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    threading.Timer(1.0, lambda: lock.execute("ROLLBACK")).start()
    assert study.finish()["done"] == 3
    assert time.monotonic() - began >= 1.0
    lock.close()


def test_compact_takes_in_what_workers_of_other_hosts_left_once_it_is_quiet() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    with open_store("store") as store:
        for seed, (host, part) in enumerate([("ada", "part-0"), ("bob", "part-3"), ("eve.hpc", "part-0")]):
            with (
                open_store("store", host=host, part=part) as away,
                varq.Session(store=away, progress=False) as session,
            ):
                session.run(dataclasses.replace(task, seed=seed))
        before = {record.id: record.value for record in store.list()}
        for name in ("ada", "eve.hpc"):
            os.utime(Path("store", f"{name}.part-0.sqlite"), (1.0, 1.0))
        with sole(Path("store"), "eve.hpc", "part-0") as mine:
            assert mine
            report = store.compact()
        assert (report.files, report.left) == (1, 2), "one is locked, and another was written just now"
        left = sorted(path.name for path in Path("store").glob("*.part-*.sqlite"))
        assert left == ["bob.part-3.sqlite", "eve.hpc.part-0.sqlite"]
        assert len(before) == 3
        assert {record.id: record.value for record in store.list()} == before
        assert store.verify() == []


def test_a_worker_writes_a_file_of_its_own_which_compact_takes_in() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=2))
    study = sweep(task, {"seed": range(3)}, name="threads")
    assert study.finish(Elsewhere())["done"] == 3
    here = sweep(task, {"seed": range(3)}, name="threads", store="other")
    here.finish()
    assert trace(study) == trace(here)
    parts = list(Path("store").glob("*.part-*.sqlite"))
    assert parts
    report = study.store.compact()
    assert report.files == len(parts)
    assert not list(Path("store").glob("*.part-*.sqlite"))
    assert study.status()["done"] == 3
    assert trace(study) == trace(here)


def test_what_cannot_run_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as where the extra is not installed
    with pytest.raises(ValueError, match="need a store on disk"):
        sweep(trivial(), {"seed": [1]}, store=None).finish(2)
    with pytest.raises(ValueError, match=r"must be data.*holds a function"):
        sweep(trivial(), {"seed": [1]}, name="code").finish(Elsewhere())
    with pytest.raises(TypeError, match="executor must be None"):
        executor_of(object())
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="one queue of operations"):
        executor_of(pool)
    with pytest.raises(ModuleNotFoundError, match=r"cluster at tcp://ada:8786 needs.*varq\[dask\]"):
        executor_of("tcp://ada:8786")


def test_a_pool_that_forks_is_refused_and_one_that_spawns_works() -> None:
    with ProcessPoolExecutor(1, get_context("fork")) as pool, pytest.raises(TypeError, match=r"not fork.*'spawn'"):
        executor_of(pool)
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    study = sweep(task, {"seed": range(2)}, name="spawned")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert study.finish(pool)["done"] == 2
        (pid,) = pool._processes
        assert study.ledger()["pid"].tolist() == [pid] * 2


def test_what_a_lost_worker_had_is_asked_again_but_not_for_ever() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    study = sweep(task, {"seed": range(2)}, name="lossy")
    with pytest.raises(OSError, match="a disk is full"):
        study.finish(Elsewhere(50))
    assert study.status()["missing"] == 2
    assert study.finish(Elsewhere(2))["done"] == 2


def test_a_worker_that_is_told_to_end_is_no_fault_of_its_cells(caplog: pytest.LogCaptureFixture) -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    study = sweep(task, {"seed": range(2)}, name="told")
    assert study.finish(Elsewhere(12, SystemExit(REQUEUE)))["done"] == 2
    assert "A worker was told to end. Its cells are asked again" in caplog.text
    assert list(study.ledger()["note"]).count("told to end") == 12
    other = sweep(task, {"seed": range(2, 4)}, name="ends-itself", store=study.store)
    with pytest.raises(RuntimeError, match="A worker ended itself with status 3"):
        other.finish(Elsewhere(50, SystemExit(3)))


def test_a_part_of_a_dead_process_is_taken_up_by_the_next(tmp_path: Path) -> None:
    with varq.open_store(tmp_path / "s", part="part-0") as first, varq.open_store(tmp_path / "s") as second:
        assert first.host == second.host
        with first.lease("0123abcd"), pytest.raises(RuntimeError, match="has one owner at a time"):
            second.lease("0123abcd").__enter__()
        with second.lease("0123abcd"):
            owner = second._keeper.owner("0123abcd")  # type: ignore[union-attr]
            assert owner is not None
            assert owner.process == Process.this(first.host).mark


def test_a_study_says_what_it_will_take() -> None:
    study = sweep(h2(), {"problem.bond": BONDS}, name="ahead")
    ahead = study.forecast()
    assert (ahead.cells, ahead.batches) == (3, 1)
    assert ahead.seconds is not None
    assert ahead.seconds > 0
    assert ahead.bytes >= 3 * 16 * 2**4
    assert study.status()["missing"] == 3
    study.finish()
    assert study.forecast().cells == 0


def test_each_kind_of_cells_is_looked_at_and_shards_and_failed_cells_are_told_apart() -> None:
    small = h2(stop=Stop(steps=4))
    wide = dataclasses.replace(small, problem=TransverseFieldIsing(8), ansatz="hardware-efficient")
    study = sweep([*(dataclasses.replace(small, seed=seed) for seed in range(5)), wide], name="kinds", batch=2)
    ahead = study.forecast()
    assert (ahead.cells, ahead.batches) == (6, 4)
    assert "2 kinds of cells, each told by itself" in ahead.why
    assert ahead.bytes == 4 * 16 * 2**8, "the widest is neither first nor in a batch"
    assert (ahead.jobs, ahead.shots, ahead.cost) == (0, 0, 0)
    parts = [study.forecast(shard=(k, 2)) for k in (1, 2)]
    assert sum(part.cells for part in parts) == 6
    assert study.forecast(only_failed=True).cells == 0
    with varq.Session(store=study.store, progress=False) as session:
        session.start(study.layout.task(0)).step(1)
    failed(study.store, study.layout.ids[0], "KilledWorker")
    assert (study.forecast().cells, study.forecast(failed=True).cells, study.forecast(only_failed=True).cells) == (
        5,
        6,
        1,
    )


def test_what_sampled_cells_send_is_what_their_sessions_say() -> None:
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(learning_rate=0.1, perturbation=0.1),
        device="default.qubit",
        shots=50,
        stop=Stop(steps=3),
    )
    study = sweep(task, {"seed": range(4)}, name="sent")
    with varq.Session(store=None, progress=False) as session:
        one = session.forecast(task)
    ahead = study.forecast()
    assert (ahead.jobs, ahead.shots, ahead.cost) == (4 * one.jobs, 4 * one.shots, 0)
    assert f"{4 * one.shots:,} shots in {4 * one.jobs} jobs" in str(ahead)
    sql = "SELECT coalesce(sum(shots), 0) FROM jobs"
    study.finish()
    assert sum(int(file.read(sql)[0][0]) for file in study.store._folder.files()) == ahead.shots


def test_the_best_cell_needs_one_that_is_done() -> None:
    study = sweep(trivial(), {"seed": [1]}, store=None)
    with pytest.raises(LookupError, match=r"None of .* is. Run study.finish"):
        study.best()
    with pytest.raises(KeyError, match=r"no column 'valu'. Did you mean value"):
        study.table()["valu"]
