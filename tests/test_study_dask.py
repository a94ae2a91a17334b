"""Studies on Dask: the same numbers, needs as resources, and real SIGKILLs of workers, clients and schedulers."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import until
from study_samples import STEPS, Rows, check_kept, check_whole, gone, ising, rows

import varq
from varq.algorithms import VQE
from varq.optimizers import SPSA
from varq.problems import Molecule, TransverseFieldIsing
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.store.store import open_store
from varq.study import ClusterLost, Dask, local_cluster
from varq.study.study import Study
from varq.study.work import State

pytestmark = [pytest.mark.dask, pytest.mark.timeout(900)]

EXACT = 1e-10  # hartree
CELLS = 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster(2, labels={"qpu:a": 1, "qpu:b": 1}, dashboard=":0") as made:
        yield made


@contextmanager
def grid(
    workers: int = 2, threads: int = 1, flags: str | None = None, labels: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """A scheduler and workers, each a process of its own that can be killed alone; with a label each, or none."""
    file = Path("scheduler.json").absolute()
    file.unlink(missing_ok=True)
    environment = {**os.environ, **varq.study.worker_environment(flags=os.environ.get("XLA_FLAGS", ""))}
    if flags is not None:
        environment["XLA_FLAGS"] = flags
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*words, "--no-dashboard", "--scheduler-file", str(file)], **quiet)  # type: ignore[call-overload]
    started = [scheduler]
    try:
        until(file.exists)
        words = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", str(threads)]
        words += ["--host", "127.0.0.1"]
        words += ["--no-dashboard", "--scheduler-file", str(file)]
        for k in range(workers):
            named = ["--resources", f"{labels[k]}=1"] if labels else []
            started.append(subprocess.Popen([*words, *named], **quiet))  # type: ignore[call-overload]
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        yield {"address": address, "scheduler": scheduler, "workers": started[1:]}
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def test_numbers_are_those_of_this_process_by_address_by_cluster_and_by_client(cluster: Any) -> None:
    with ising() as study:
        assert study.finish(executor=cluster.scheduler_address, shard=(1, 2))["done"] == CELLS // 2
        assert study.finish(executor=cluster)["done"] == CELLS
        found = study.ledger()
        assert found["state"] == ["done"] * CELLS
        assert set(found["executor"]) == {f"Dask at {cluster.scheduler_address}"}
        assert all(worker.startswith("tcp://127.0.0.1:") for worker in found["worker"])
        assert os.getpid() not in found["pid"]
        assert list(Path("store").glob("*.part-*.sqlite"))
        assert not list(Path("store").glob(".study-*")), "nothing is left that tells workers to go on"
    with ising("here") as here:
        here.finish()
        for run in here.layout.ids:
            assert [row.content for row in here.store.rows(run)] == [row.content for row in study_rows(run)]


def study_rows(run: str) -> list[Any]:
    with open_store("store", read_only=True) as store:
        return store.rows(run)


def test_cells_evaluated_together_have_the_same_values_and_a_client_stays_open(cluster: Any) -> None:
    from distributed import Client

    def curve(store: str) -> Study:
        task = VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B")
        over = {"problem.bond": (0.7, 0.735, 0.8), "seed": range(2)}
        return varq.sweep(task, over, warm_start="problem.bond", name="h2", batch=2, store=store, progress=False)

    with curve("store") as study, curve("here") as here, Client(cluster, set_as_default=False) as client:
        assert study.finish(executor=client)["done"] == 6
        assert client.status == "running"
        here.finish()
        assert np.max(np.abs(study.table()["value"] - here.table()["value"])) < EXACT


def test_needs_are_resources_and_no_label_is_overdrawn(cluster: Any) -> None:
    def label(task: Any) -> dict[str, str]:
        return {"qpu": "ab"[task.seed % 2]}

    with ising(needs=label, steps=4) as study:
        assert study.finish(executor=cluster)["done"] == CELLS
        found = study.ledger()
        for name in ("qpu:a (1)", "qpu:b (1)"):
            mine = [row for row in found.rows if row["labels"] == name]
            assert len({row["worker"] for row in mine}) == 1
            times = sorted((row["began"], row["ended"]) for row in mine)
            assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))
        assert len(set(found["worker"])) == 2
    with ising("other", needs={"qpu": "c"}) as study:
        offered = r"8 cells need qpu:c \(1\), and Dask at .* it offers qpu:a \(1\), qpu:b \(1\). Nothing was run"
        with pytest.raises(ValueError, match=offered):
            study.finish(executor=cluster)
        assert study.status()["missing"] == CELLS


def test_a_budget_holds_over_all_workers(cluster: Any) -> None:
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(learning_rate=0.1, perturbation=0.1),
        device="default.qubit",
        shots=50,
        stop=Stop(steps=3),
    )

    def spent(study: Study) -> int:
        sql = "SELECT coalesce(sum(shots), 0) FROM jobs WHERE state <> 'unsent'"
        return sum(int(file.read(sql)[0][0]) for file in study.store._folder.files())

    with varq.sweep(task, {"seed": range(6)}, name="whole", store="whole", progress=False) as whole:
        whole.finish()
        limit = int(0.6 * spent(whole))
    with varq.sweep(task, {"seed": range(6)}, name="budget", store="store", progress=False) as study:
        status = study.finish(executor=cluster, budget=Budget(shots=limit))
        assert 0 < status["done"] < 6
        assert spent(study) <= limit
        assert "shots are used up by the study so far" in repr(status)


def test_the_dashboard_is_shown(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    with varq.sweep(task, {"seed": [0]}, name="shown", store="store", progress=True) as shown:
        shown.finish(executor=cluster)
    assert f"whose dashboard is at {cluster.dashboard_link}" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_told_and_nothing_is_lost() -> None:
    with ising() as study:
        with pytest.raises(
            ConnectionError, match=r"has to answer. None did at tcp://127.0.0.1:9 within 0.5 s.*Nothing was"
        ):
            Dask("tcp://127.0.0.1:9", timeout=0.5)
        with pytest.raises(ConnectionError, match="See that it runs"):
            study.finish(executor="tcp://127.0.0.1:9")
        assert study.status()["missing"] == CELLS
        assert study.finish()["done"] == CELLS
    with pytest.raises(TypeError, match=r"address of its scheduler, a cluster object or a client\. Got 3"):
        Dask(3)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        local_cluster(0)
    with pytest.raises(ValueError, match=r"A label is 'gpu', or 'qpu:' and the name of a device. Got 'ibm.torino'"):
        local_cluster(1, labels={"ibm.torino": 1})


def test_dask_still_reads_how_long_a_worker_may_be_lost_where_a_local_cluster_says_it() -> None:
    from distributed import SpecCluster

    assert "distributed.deploy.lost-worker-timeout" in inspect.getsource(SpecCluster._update_worker_status)


@pytest.mark.full
def test_workers_of_several_threads_are_refused_and_others_that_would_use_some_are_warned_of() -> None:
    with ising(cells=1, steps=1) as study:
        refused = pytest.raises(ValueError, match=r"has one thread.*LocalCluster\(threads_per_worker=1\)")
        with grid(1, threads=2) as found, refused:
            study.finish(executor=found["address"])
        assert study.status()["missing"] == 1
        with grid(1, flags="") as found, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert study.finish(executor=found["address"])["done"] == 1
        told = [str(one.message) for one in caught if "get into each other's way" in str(one.message)]
        assert len(told) == (1 if (os.cpu_count() or 1) > 1 else 0)


@pytest.mark.full
def test_a_cluster_without_workers_is_waited_for_and_given_up_when_told_so() -> None:
    with grid(workers=0) as found, ising(cells=1, steps=1) as study:
        with Dask(found["address"], patience=1.0) as dask, pytest.raises(ClusterLost, match=r"had none for 1 s.*Start"):
            study.finish(executor=dask)
        assert study.status()["missing"] == 1


@pytest.mark.full
def test_a_label_whose_only_worker_is_killed_is_waited_for_and_given_up_while_others_live() -> None:
    def label(task: Any) -> dict[str, str]:
        return {"qpu": "ab"[task.seed % 2]}

    with grid(labels=("qpu:a", "qpu:b")) as found, ising(needs=label) as study:
        with Dask(found["address"], patience=2.0) as dask:
            until(lambda: set(dask.offers()) == {"qpu:a", "qpu:b"})

            def kill() -> None:
                until(lambda: study.status()["done"] >= 2)
                found["workers"][0].kill()

            killer = threading.Thread(target=kill)
            killer.start()
            with pytest.raises(ClusterLost, match=r"had none with qpu:a \(1\) for 2 s.*What was recorded is kept"):
                study.finish(executor=dask)
            killer.join()
        assert study.status()["done"] < CELLS


@pytest.mark.full
def test_a_worker_that_is_killed_loses_no_more_than_what_was_in_flight(capsys: pytest.CaptureFixture[str]) -> None:
    before: Rows = {}
    with local_cluster(2, dashboard=None) as cluster, ising() as study:

        def kill() -> None:
            until(lambda: study.status()["done"] >= 2)
            pid = cluster.workers[0].pid
            os.kill(pid, signal.SIGKILL)
            until(lambda: gone(pid))
            before.update(rows("store"))

        killer = threading.Thread(target=kill)
        killer.start()
        assert study.finish(executor=cluster)["done"] == CELLS
        killer.join()
    assert len(before) > 2 * STEPS
    check_whole(before, capsys, "worker killed")


@pytest.mark.full
def test_a_scheduler_that_is_killed_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with grid() as found, ising() as study:

        def kill() -> None:
            until(lambda: study.status()["done"] >= 2)
            found["scheduler"].kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ClusterLost, match=r"is gone, or has given the study's work up.*What was recorded is kept"):
            study.finish(executor=found["address"])
        killer.join()
        for worker in found["workers"]:
            worker.kill()
            worker.wait()
        before = rows("store")
        assert study.finish()["done"] == CELLS  # waits for what a worker that is about to end still owns
    check_whole(before, capsys, "scheduler killed")


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from study_samples import ising
if __name__ == "__main__":
    with ising() as study:
        study.finish(executor=sys.argv[2])
"""


@pytest.mark.full
def test_a_client_that_is_killed_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with grid() as found:
        words = [sys.executable, "-c", CLIENT, str(Path(__file__).parent), found["address"]]
        client = subprocess.Popen(words)
        until(lambda: len(rows("store")) > 2 * STEPS or client.poll() is not None)
        client.kill()
        assert client.wait() == -signal.SIGKILL
        before = rows("store")
        with ising() as study:
            assert study.finish(executor=found["address"])["done"] == CELLS
            # A cell that a worker was still at, for the client that is gone, was put off once: "unfinished".
            assert set(study.ledger()["state"]) <= {"done", "", "unfinished"}
    check_whole(before, capsys, "client killed")


def sampled(steps: int) -> Study:
    """Cells of so many steps with shots."""
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(learning_rate=0.1, perturbation=0.1),
        device="default.qubit",
        shots=50,
        stop=Stop(steps=steps),
    )
    return varq.sweep(task, {"seed": range(6)}, name="sampled", store="store", progress=False)


def shots_of(study: Study) -> int:
    """Of all jobs in the store, counted without the code under test."""
    sql = "SELECT coalesce(sum(shots), 0) FROM jobs WHERE state <> 'unsent'"
    return sum(int(file.read(sql)[0][0]) for file in study.store._folder.files())


SPENDER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_study_dask import sampled
from varq.session.budget import Budget
if __name__ == "__main__":
    with sampled(200) as study:
        study.finish(executor=sys.argv[2], budget=Budget(shots=int(sys.argv[3])))
"""


@pytest.mark.full
def test_a_budget_holds_although_its_client_is_killed_and_its_workers_go_on() -> None:
    limit = 60_000
    with grid() as found, sampled(200) as study:
        words = [sys.executable, "-c", SPENDER, str(Path(__file__).parent), found["address"], str(limit)]
        client = subprocess.Popen(words)
        until(lambda: shots_of(study) > 0.3 * limit or client.poll() is not None)
        client.kill()
        assert client.wait() == -signal.SIGKILL
        assert len(list(Path("store").glob(".study-*.running"))) == 1
        status = study.finish(executor=found["address"], budget=Budget(shots=limit))
        assert not status.complete
        time.sleep(2)  # nobody is left who would spend
        assert 0.3 * limit < shots_of(study) <= limit
        assert not list(Path("store").glob(".study-*.running"))


def hungry() -> Any:
    """A plug-in of workers, which have no tests: the cell with seed 3 takes more and more memory."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class Hungry(WorkerPlugin):  # type: ignore[misc]
        name = "hungry"

        def setup(self, worker: Any) -> None:
            import time

            import numpy as np

            from varq.study import work

            begin = work._Working._started

            def started(working: Any, cell: Any) -> Any:
                kept = []
                if working.order.task(cell).seed == 3:
                    time.sleep(5)  # Dask waits for ever for a worker that is ended while it starts
                while working.order.task(cell).seed == 3:
                    kept.append(np.ones(4_000_000))
                    time.sleep(0.01)
                return begin(working, cell)

            work._Working._started = started  # type: ignore[method-assign]

    return Hungry()


@pytest.mark.full
def test_a_cell_that_takes_more_memory_than_a_worker_has_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from distributed import Client

    before: Rows = {}
    with (
        local_cluster(1, memory="1.2GB", allowed_failures=0, dashboard=None) as cluster,
        Client(cluster, set_as_default=False) as client,
        ising(steps=2) as study,
        ising("straight", steps=2) as straight,
    ):
        client.register_plugin(hungry())
        began_at_all(study)

        def watch() -> None:
            until(lambda: "lost" in study.ledger()["state"])
            before.update(rows("store"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = study.finish(executor=client)
        watcher.join()
        assert (status["done"], status["failed"]) == (CELLS - 1, 1)
        (bad,) = [row for row in study.table().rows if row["state"] == State.FAILED.value]
        assert bad["seed"] == 3
        assert "5 workers ended while doing it" in bad["note"]
        assert "needs more memory than a worker has" in bad["note"]
        assert [row["state"] for row in study.ledger().rows if row["seed"] == 3].count("lost") >= 5
        straight.finish()
        for seed, run in enumerate(study.layout.ids):
            if seed != 3:
                assert [row.content for row in study.store.rows(run)] == [r.content for r in straight.store.rows(run)]
    assert before
    check_kept(before, capsys, "memory used up")


def began_at_all(study: Study) -> None:
    """A cell that never begins is taken for a broken environment: this one has a step."""
    with varq.Session(store=study.store, progress=False) as session:
        session.start(study.layout.task(3)).step(1)


ROOM = 60
"""Rows that a worker records before its disk is full."""


def full() -> Any:
    """A plug-in of workers: no file of the first one grows any more once it has recorded some rows."""
    from distributed.diagnostics.plugin import WorkerPlugin

    room = ROOM

    class Full(WorkerPlugin):  # type: ignore[misc]
        name = "full"

        def setup(self, worker: Any) -> None:
            import resource

            from varq.store.store import Store

            extend, recorded = Store.extend, []

            def filling(store: Any, *args: Any, **options: Any) -> None:
                extend(store, *args, **options)
                recorded.append(1)
                if len(recorded) == room:  # Python ignores SIGXFSZ, so that a write fails with an error
                    (store.path.parent / "full").touch()
                    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

            if worker.name == 0:
                Store.extend = filling  # type: ignore[method-assign]

    return Full()


@pytest.mark.full
def test_a_disk_that_fills_up_while_a_worker_records_leaves_the_rest_to_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from distributed import Client

    before: Rows = {}
    with local_cluster(2, dashboard=None) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(full())
        with ising() as study:

            def watch() -> None:
                until(lambda: "lost" in study.ledger()["state"])
                before.update(rows("store"))

            watcher = threading.Thread(target=watch)
            watcher.start()
            assert study.finish(executor=client)["done"] == CELLS
            watcher.join()
    assert Path("full").exists(), "the first worker came so far"
    assert len(before) >= ROOM
    check_whole(before, capsys, "disk of a worker full")


def test_the_job_script_of_slurm_has_the_settings_that_workers_need() -> None:
    from dask_jobqueue import SLURMCluster

    settings = varq.study.worker_environment("/scratch/jax")
    with SLURMCluster(
        cores=8,
        processes=8,
        memory="32GB",
        walltime="04:00:00",
        queue="batch",
        interface="lo",
        job_script_prologue=[f"export {name}='{value}'" for name, value in settings.items()],
        worker_extra_args=["--resources", "gpu=1"],
        scheduler_options={"dashboard_address": None, "dashboard": False},
    ) as cluster:
        script = cluster.job_script()
    for line in (
        "#SBATCH -p batch",
        "#SBATCH -t 04:00:00",
        "export OMP_NUM_THREADS='1'",
        "export JAX_COMPILATION_CACHE_DIR='/scratch/jax'",
        "--xla_cpu_multi_thread_eigen=false",
        "--nthreads 1",
        "--nworkers 8",
        "--resources gpu=1",
    ):
        assert line in script, script
