"""The figures of studies, measured: one command, one table.

    python benchmarks/studies.py [NAME ...]

Names: curve, cells, shards, kills, locked, and with the extra `dask` dask_curve, dask_cells, dask_labels, dask_kills.
Without a name, all of them; those of Dask only where it is installed.  Each line says what was measured, what it
must be, and whether it is; where a time is measured, the processor's own time stands beside it, since a machine that is
shared shows the one and not the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import platform
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import varq
from varq.algorithms import VQE, Minimize, PhaseEstimation
from varq.optimizers import SPSA
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.protocol import Stop
from varq.store.store import open_store
from varq.study import ClusterLost, local_cluster
from varq.study.cluster import Dask
from varq.study.environment import worker_environment
from varq.study.executors import Here, Processes
from varq.study.study import Study

BONDS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.595, 1.65, 1.7, 1.75, 1.8, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
EQUILIBRIUM = 1.595  # angstrom
STARTS, WIDTH = 5, 0.05
STEPS = 60  # of L-BFGS-B from each start
MANY = 10**9
TRIVIAL = 10_000


@dataclass(frozen=True)
class Line:
    """One measured figure, and the least and most that it may be."""

    what: str
    value: float
    most: float
    unit: str = ""
    least: float = -np.inf
    beside: str = ""

    @property
    def met(self) -> bool:
        """Whether it is within its bounds."""
        return bool(self.least <= self.value <= self.most)

    def __str__(self) -> str:
        bound = f"<= {self.most:g}" if self.most < MANY else f">= {self.least:g}"
        return f"{'ok    ' if self.met else 'MISSED'}  {self.what}: {self.value:.4g} {self.unit} ({bound}){self.beside}"


def curve_study(store: str, batch: int = 50) -> Study:
    """LiH at 20 bond lengths from 5 starts each."""
    rng = np.random.default_rng(0)
    task = VQE(problem=Molecule.load("LiH"), ansatz="kupccgsd", optimizer="L-BFGS-B", stop=Stop(steps=STEPS))
    shape = task.ansatz.shape
    starts = [rng.normal(0, WIDTH, shape) for _ in range(STARTS)]
    over = {"problem.bond": BONDS, "initial": starts}
    return varq.sweep(task, over, name="lih", store=store, progress=False, batch=batch)


CURVE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import studies
from varq.node import together
wall, used = time.perf_counter(), time.process_time()
study = studies.curve_study("store")
status = study.finish()
wall, used = time.perf_counter() - wall, time.process_time() - used
table = study.table()
programs = [p for p in together._programs._values.values()]
print(json.dumps({"wall": wall, "used": used, "done": status["done"], "runs": len(set(study.layout.ids)),
    "programs": sum(p._slopes._cache_size() for p in programs), "steps": int(table["steps"].sum())}))
"""


def curve() -> Iterator[Line]:
    """100 cells in one process, nothing compiled before; and UCCSD at the same bond lengths."""
    with tempfile.TemporaryDirectory() as folder:
        clean = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
        done = subprocess.run(
            [sys.executable, "-c", CURVE, str(Path(__file__).parent)],
            cwd=folder,
            env={**clean, "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"},
            check=True,
            capture_output=True,
            text=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    beside = f"; {found['used']:.3g} s of the processor, {found['steps']:,} steps"
    yield Line("LiH, 100 cells, one process, after import", found["wall"], 20, "s", beside=beside)
    yield Line("cells done", found["done"], MANY, least=100)
    yield Line("distinct runs", found["runs"], MANY, least=100)
    yield Line("programs compiled for all cells", found["programs"], 1)
    with tempfile.TemporaryDirectory() as folder:
        task = VQE(problem=Molecule.load("LiH"), ansatz="uccsd", optimizer="L-BFGS-B")
        study = varq.sweep(task, {"problem.bond": BONDS}, name="uccsd", store=folder, progress=False)
        study.finish()
        table = study.table()
        near = np.abs(table["problem.bond"] - EQUILIBRIUM) < 0.3
        worst = 1000 * float(np.max(np.abs(table["deviation"][near])))
    yield Line("UCCSD within 0.3 angstrom of equilibrium, worst deviation", worst, 1.6, "mHa")


def bowl(x: Any) -> float:
    """A cost that costs nothing."""
    return float((x**2).sum())


def trivial(store: str | None, cells: int) -> Study:
    """Runs of one step each."""
    method = SPSA(learning_rate=0.1, perturbation=0.1)
    task = Minimize(bowl, np.zeros(2), optimizer=method, gradient="finite-diff", noisy=False, stop=Stop(steps=1))
    return varq.sweep(task, {"seed": range(cells)}, name="trivial", store=store, progress=False)


def resident() -> float:
    """Memory of this process now, MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def halfway(executor: Any, left: int) -> list[float]:
    """Where the memory of this process will stand when so many cells came back: only a number is kept meanwhile."""
    place, seen = executor.place, list[float]()

    def counted(*arguments: Any) -> Future[Any]:
        future: Future[Any] = place(*arguments)
        future.add_done_callback(lambda done: count(len(arguments[-1].cells)))
        return future

    def count(cells: int) -> None:
        nonlocal left
        left -= cells
        if left <= 0 and not seen:
            seen.append(resident())

    executor.place = counted
    return seen


def cells(number: int = TRIVIAL) -> Iterator[Line]:
    """Many trivial cells in this process."""
    with tempfile.TemporaryDirectory() as folder, trivial(folder, number) as study:
        here = Here()
        seen = halfway(here, number // 2)
        wall, used = time.perf_counter(), time.process_time()
        study.finish(here)
        wall, used = (time.perf_counter() - wall) / number, (time.process_time() - used) / number
        beside = f"; {1000 * used:.3g} ms of the processor"
        yield Line(f"{number:,} cells of one step, each", 1000 * wall, 2, "ms", beside=beside)
        yield Line("memory that the second half of them added", resident() - seen[0], 20, "MB")
        began = time.perf_counter()
        height = study.table().height
        yield Line(f"table of {height:,} cells", time.perf_counter() - began, 2, "s")
        began = time.perf_counter()
        study.finish()
        yield Line("finding that nothing is missing", time.perf_counter() - began, 10, "s")


def ising(store: str, cells: int = 24, steps: int = 60) -> Study:
    """Runs that take turns, on a device that compiles nothing."""
    task = VQE(
        problem=TransverseFieldIsing(2),
        ansatz="hardware-efficient",
        optimizer=SPSA(),
        device="default.qubit",
        stop=Stop(steps=steps),
    )
    return varq.sweep(task, {"seed": range(cells)}, name="ising", store=store, progress=False)


def rows(store: str) -> dict[tuple[str, int, str], tuple[float, Any]]:
    """All that is recorded, with the seconds that it took."""
    with open_store(store, read_only=True) as opened:
        found = [(record.id, row) for record in opened.list() for row in opened.rows(record.id) if row.executions]
    return {(run, row.step, row.role): (row.seconds, row.content) for run, row in found}


SHARD = """
import sys
sys.path.insert(0, sys.argv[1])
import studies
with studies.ising(sys.argv[2]) as study:
    study.finish(shard=(int(sys.argv[3]), 4))
"""


def shards() -> Iterator[Line]:
    """Four shards in parallel, each with a store of its own, then merged."""
    with tempfile.TemporaryDirectory() as folder:
        here = str(Path(__file__).parent)
        started = [
            subprocess.Popen([sys.executable, "-c", SHARD, here, f"{folder}/{number}", str(number)])
            for number in range(1, 5)
        ]
        failed = sum(shard.wait() != 0 for shard in started)
        yield Line("shards that failed", failed, 0)
        with ising(f"{folder}/merged") as merged, ising(f"{folder}/whole") as whole:
            merged.store.merge([Path(folder) / str(number) for number in range(1, 5)])
            whole.finish()
            same = merged.table()["value"].tolist() == whole.table()["value"].tolist()
            yield Line("cells of the merged study that are done", merged.status()["done"], MANY, least=24)
        one, other = rows(f"{folder}/merged"), rows(f"{folder}/whole")
        differing = len(one.keys() ^ other.keys()) + sum(one[p][1] != other[p][1] for p in one.keys() & other.keys())
        yield Line("evaluations that differ from the study in one piece", differing + (not same), 0)


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import studies
with studies.ising(sys.argv[2]) as study:
    study.finish(2)
"""


def kills() -> Iterator[Line]:
    """SIGKILL of one of two workers, and of a client with its two workers."""
    with tempfile.TemporaryDirectory() as folder:
        straight = f"{folder}/straight"
        with ising(straight) as study:
            study.finish()
        yield from _killed(f"{folder}/worker", straight, "worker", _worker_killed)
        yield from _killed(f"{folder}/client", straight, "client", _client_killed)


def _killed(store: str, straight: str, who: str, kill: Callable[[str], dict[Any, Any]]) -> Iterator[Line]:
    before = kill(store)
    with ising(store) as study:
        yield Line(f"{who} killed, cells done", study.finish()["done"], MANY, least=24)
    after, whole = rows(store), rows(straight)
    yield Line(f"{who} killed, evaluations that were still to come", len(whole) - len(before), MANY, least=1)
    again = sum(after.get(place, (None,))[0] != seconds for place, (seconds, _) in before.items())
    told = f"; of {len(before):,} that were recorded at the kill"
    yield Line(f"{who} killed, evaluations repeated that were recorded", again, 0, beside=told)
    differing = sum(after.get(place, (None, None))[1] != content for place, (_, content) in whole.items())
    yield Line(f"{who} killed, evaluations that differ from the study undisturbed", differing, 0)


def _worker_killed(store: str) -> dict[Any, Any]:
    before: dict[Any, Any] = {}
    with Processes(2) as processes, ising(store) as study:

        def kill() -> None:
            while study.status()["done"] < 8:
                time.sleep(0.05)
            os.kill(processes.pids[0], signal.SIGKILL)
            before.update(rows(store))

        killer = threading.Thread(target=kill)
        killer.start()
        study.finish(processes)
        killer.join()
    return before


def _client_killed(store: str) -> dict[Any, Any]:
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(Path(__file__).parent), store])
    with ising(store) as study:
        while study.status()["done"] < 8:
            time.sleep(0.05)
    client.kill()
    client.wait()
    return rows(store)


def locked(seconds: float = 5.0) -> Iterator[Line]:
    """Another process holds the store's file for a while."""
    with tempfile.TemporaryDirectory() as folder, trivial(folder, 50) as study:
        (file,) = Path(folder).glob("*.sqlite")
        lock = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        threading.Timer(seconds, lambda: lock.execute("ROLLBACK")).start()
        began = time.perf_counter()
        yield Line(f"store locked for {seconds:g} s, cells done", study.finish()["done"], MANY, least=50)
        yield Line("seconds that this took", time.perf_counter() - began, 60, "s", least=seconds)
        lock.close()


def dask_curve(killed_at: int = 20) -> Iterator[Line]:
    """The 100-cell curve on Dask with 2 workers, one of them killed; compared with one process."""
    with tempfile.TemporaryDirectory() as folder:
        with curve_study(f"{folder}/here", batch=10) as here:
            here.finish()
            values = here.table()["value"]
        with local_cluster(2, dashboard=None) as cluster, curve_study(f"{folder}/dask", batch=10) as study:
            before: dict[Any, Any] = {}

            def kill() -> None:
                while study.status()["done"] < killed_at:
                    time.sleep(0.02)
                os.kill(cluster.workers[0].pid, signal.SIGKILL)
                before.update(rows(f"{folder}/dask"))

            killer = threading.Thread(target=kill)
            killer.start()
            began = time.perf_counter()
            done = study.finish(executor=cluster)["done"]
            seconds = time.perf_counter() - began
            killer.join()
            away = float(np.max(np.abs(study.table()["value"] - values)))
        after = rows(f"{folder}/dask")
        again = sum(after.get(place, (None,))[0] != took for place, (took, _) in before.items())
    yield Line(f"LiH on 2 workers of Dask, one killed at cell {killed_at}, cells done", done, MANY, least=100)
    yield Line("largest difference from one process", away, 1e-10, "Ha", beside=f"; {seconds:.3g} s")
    told = f"; of {len(before):,} that were recorded at the kill"
    yield Line("evaluations repeated that were recorded", again, 0, beside=told)


def dask_cells(number: int = TRIVIAL) -> Iterator[Line]:
    """Many trivial cells on Dask."""
    with tempfile.TemporaryDirectory() as folder, local_cluster(2, dashboard=None) as cluster:
        task = VQE(
            problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1)
        )
        with varq.sweep(task, {"seed": range(8)}, name="warm", store=f"{folder}/warm", progress=False) as warm:
            warm.finish(executor=cluster)  # the workers load what they need
        with small(f"{folder}/store", number) as study, Dask(cluster) as executor:
            seen = halfway(executor, number // 2)
            began = time.perf_counter()
            done = study.finish(executor)["done"]
            each = (time.perf_counter() - began) / number
            yield Line("cells done on Dask", done, MANY, least=number)
            yield Line(f"{number:,} cells of one step on 2 workers of Dask, each", 1000 * each, 5, "ms")
            yield Line("memory of the client that the second half of them added", resident() - seen[0], 20, "MB")
            began = time.perf_counter()
            height = study.table().height
            yield Line(f"table of {height:,} cells, from the files of the workers", time.perf_counter() - began, 2, "s")


def small(store: str, cells: int) -> Study:
    """Runs of one step each that can be written down: no function of this file is in them."""
    task = PhaseEstimation(EigenPhase(np.diag([1, np.exp(0.3j)]), state=1), stop=Stop(steps=1))
    return varq.sweep(task, {"seed": range(cells)}, name="small", store=store, progress=False)


def dask_labels(jobs: int = 40) -> Iterator[Line]:
    """Cells of two quantum processors with a label each: how many ran on one at a time, by their timestamps."""
    with (
        tempfile.TemporaryDirectory() as folder,
        local_cluster(2, labels={"qpu:a": 1, "qpu:b": 1}, dashboard=None) as cluster,
    ):
        task = VQE(
            problem=TransverseFieldIsing(2), ansatz="hardware-efficient", optimizer=SPSA(), device="default.qubit"
        )
        task = dataclasses.replace(task, shots=100, stop=Stop(steps=5))
        over = {"seed": range(jobs)}
        needs = {"needs": lambda cell: {"qpu": "ab"[cell.seed % 2]}}
        with varq.sweep(task, over, name="labels", store=folder, progress=False, **needs) as study:
            yield Line("cells done with two labels", study.finish(executor=cluster)["done"], MANY, least=jobs)
            found = study.ledger().rows
    most, both = {}, []
    for name in ("qpu:a (1)", "qpu:b (1)"):
        spans = [(row["began"], row["ended"]) for row in found if row["labels"] == name]
        moments = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
        both += moments
        most[name] = max(int(n) for n in np.cumsum([change for _, change in moments]))
    yield Line("most cells at a time on one label", max(most.values()), 1)
    at_once = max(int(n) for n in np.cumsum([change for _, change in sorted(both)]))
    yield Line("most cells at a time on both", at_once, 2, least=2)


@contextlib.contextmanager
def separate(folder: str) -> Iterator[tuple[str, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers of Dask, each a process of its own that can be killed alone."""
    file = Path(folder) / "scheduler.json"
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {**os.environ, **worker_environment()},
    }
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common], **quiet
    )
    workers: list[subprocess.Popen[bytes]] = []
    try:
        while not file.exists():
            time.sleep(0.1)
        words = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", *common]
        workers += [subprocess.Popen(words, **quiet) for _ in range(2)]
        yield json.loads(file.read_text(encoding="utf-8"))["address"], scheduler, workers
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


DASK_CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import studies
with studies.ising(sys.argv[2]) as study:
    study.finish(executor=sys.argv[3])
"""


def dask_kills() -> Iterator[Line]:
    """SIGKILL of a scheduler, and of a client, with two workers that go on or end as they do."""
    with tempfile.TemporaryDirectory() as folder:
        straight = f"{folder}/straight"
        with ising(straight) as study:
            study.finish()
        yield from _killed(f"{folder}/scheduler", straight, "scheduler of Dask", _scheduler_killed)
        yield from _killed(f"{folder}/client", straight, "client of Dask", _dask_client_killed)


def _scheduler_killed(store: str) -> dict[Any, Any]:
    before: dict[Any, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        separate(folder) as (address, scheduler, workers),
        ising(store) as study,
    ):

        def kill() -> None:
            while study.status()["done"] < 8:
                time.sleep(0.05)
            scheduler.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with contextlib.suppress(ClusterLost):
            study.finish(executor=address)
        killer.join()
        for worker in workers:
            worker.kill()
        before.update(rows(store))
    return before


def _dask_client_killed(store: str) -> dict[Any, Any]:
    with tempfile.TemporaryDirectory() as folder, separate(folder) as (address, _, _workers):
        client = subprocess.Popen([sys.executable, "-c", DASK_CLIENT, str(Path(__file__).parent), store, address])
        with ising(store) as study:
            while study.status()["done"] < 8 and client.poll() is None:
                time.sleep(0.05)
        client.kill()
        client.wait()
        return rows(store)


FIGURES: dict[str, Callable[[], Iterator[Line]]] = {
    figure.__name__: figure for figure in (curve, cells, shards, kills, locked)
}
OF_DASK: dict[str, Callable[[], Iterator[Line]]] = {
    figure.__name__: figure for figure in (dask_curve, dask_cells, dask_labels, dask_kills)
}
if importlib.util.find_spec("distributed") is not None:
    FIGURES |= OF_DASK


def main(names: list[str]) -> int:
    """Print the figures asked for; 1 if one is missed."""
    if unknown := [name for name in names if name not in FIGURES]:
        raise SystemExit(f"Unknown figures {unknown}. Known: {list(FIGURES)}.")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    load = os.getloadavg()[0]
    print(f"{load:.1f} processes wanted the processor when this began")
    missed = 0
    for name in names or FIGURES:
        for line in FIGURES[name]():
            print(line, flush=True)
            missed += not line.met
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
