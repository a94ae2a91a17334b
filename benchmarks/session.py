"""The figures of sessions, measured: one command, one table.

    python benchmarks/session.py [NAME ...]

Names: queue, merged, fakes (needs the extra `ibm`), commits, coverage, attached, storm.  Without a name, all of them
(about twenty minutes on two cores, most of them the 250 kills of `storm`).  Each line says what was measured, what it
must be, and whether it is.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from varq import spec
from varq.algorithms import VQE
from varq.ansatze import HardwareEfficient
from varq.devices.faults import GoneError, PermanentError, TransientError, UncertainError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.estimation import interval
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.optimizers import SPSA
from varq.problems import Molecule, TransverseFieldIsing
from varq.protocol import Event, Stop, Value
from varq.session.attached import attach
from varq.session.budget import Account, Budget
from varq.session.dispatch import Dispatcher
from varq.session.retry import Retry
from varq.session.session import Session
from varq.store.job_records import SessionRecord
from varq.store.store import Store, open_store

MILLI = 1e3
SESSION = "session-00"
AT_ONCE = Retry(attempts=2, first=0.0, longest=0.0)


@dataclass(frozen=True)
class Line:
    """One measured figure, and the least and most that it may be."""

    what: str
    value: float
    most: float
    unit: str = ""
    least: float = 0.0

    @property
    def met(self) -> bool:
        """Whether it is within its bounds."""
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        bounds = f"<= {self.most:g}" if not self.least else f"{self.least:g} to {self.most:g}"
        return f"{self.what:74} {self.value:10.4g} {bounds:12} {self.unit:5} {'ok' if self.met else 'MISSED'}"


class Idle(Plain):
    """A device that does nothing, at once.

    Args:
        paid: whether a job costs something.
        fails: the call and the job's number, and what goes wrong then.
    """

    name = "idle"
    mode = Mode.JOB
    limits = Limits(circuits=1)

    def __init__(self, paid: bool = False, fails: dict[tuple[str, int], Exception] | None = None) -> None:
        self.paid = paid
        self.sent: list[float] = []
        self.bits: dict[str, Bits] = {}
        self._fails = fails or {}

    def _fail(self, call: str, job: int) -> None:
        if (call, job) in self._fails:
            raise self._fails[call, job]

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Nothing."""

    def open(self) -> str | None:
        """Nothing."""
        return None

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Note it."""
        self.sent.append(float(circuits[0].values[0]))
        self._fail("submit", len(self.sent) - 1)
        job = str(len(self.sent) - 1)
        self.bits[job] = np.zeros((circuits[0].shots, circuits[0].wires), np.uint8)
        return job

    def find(self, tag: str) -> str | None:
        """It cannot tell."""
        raise UncertainError("It has no tags.")

    def status(self, job: str) -> JobStatus:
        """Done."""
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """Zeros."""
        self._fail("result", int(job))
        return JobResult((self.bits[job],), seconds=0.0, queued=0.0, cost=0.0)

    def cancel(self, job: str) -> bool:
        """No."""
        return False

    def close(self) -> None:
        """Nothing."""


def opened(folder: str, service: Any) -> tuple[Store, Dispatcher]:
    store = open_store(Path(folder, "store"))
    store.jobs.open(SessionRecord(SESSION, time.time(), platform.node(), service.name))
    return store, Dispatcher(service, store.jobs, SESSION, Account(Budget()), retry=AT_ONCE, sleep=lambda s: None)


def circuits_of(count: int) -> list[Circuit]:
    tape = QuantumScript([qml.RY(0.0, 0)], [qml.sample(wires=[0])], 1)
    return [Circuit(tape, 1, 1, k, "a turn", np.array([float(k)])) for k in range(count)]


def wanted_order(count: int, owners: int, priorities: int) -> list[int]:
    """The highest priority first; within it who was served least, then who came first.  One shot each."""
    order: list[int] = []
    served: Counter[int] = Counter()
    for priority in reversed(range(priorities)):
        lines = [[k for k in range(count) if k % owners == o and k % priorities == priority] for o in range(owners)]
        heads = [0] * owners
        while waiting := [o for o in range(owners) if heads[o] < len(lines[o])]:
            owner = min(waiting, key=lambda o: (served[o], lines[o][heads[o]]))
            order.append(lines[owner][heads[owner]])
            heads[owner] += 1
            served[owner] += 1
    return order


def queue(count: int = 10_000, rounds: int = 3) -> Iterator[Line]:
    """Jobs of one circuit on a device that does nothing: what is left is the queue and its journal on disk."""
    circuits = circuits_of(count)
    order = wanted_order(count, 5, 3)
    times, wrong = [], 0
    for _ in range(rounds):
        service = Idle()
        with tempfile.TemporaryDirectory() as folder:
            store, sender = opened(folder, service)
            began = time.perf_counter()
            for k, circuit in enumerate(circuits):
                sender.add((f"run {k % 5}", k, "step"), [circuit], priority=k % 3)
            while sender.turn():
                pass
            times.append((time.perf_counter() - began) / count)
            store.close()
        wrong += sum(a != b for a, b in zip(service.sent, order, strict=True))
    yield Line(f"queue of {count:,} simulated jobs with journal, each", statistics.median(times) * MILLI, 0.5, "ms")
    yield Line("jobs out of order", wrong, 0)


def commits() -> Iterator[Line]:
    """As SQLite counts them, for one submission."""
    for jobs in (1, 100, 1000):
        fails: dict[tuple[str, int], Exception] = {}
        if jobs > 1:
            fails = {("submit", 1): PermanentError("no"), ("submit", 2): UncertainError("?")}
            fails |= {("result", 3): GoneError("gone"), ("result", 4): TransientError("503")}
        with tempfile.TemporaryDirectory() as folder:
            store, sender = opened(folder, Idle(paid=True, fails=fails))
            sender.add(("run", 0, "step"), circuits_of(jobs))
            said: list[str] = []
            store.jobs._folder.writer()._db.set_trace_callback(said.append)
            sender.turn()
            store.jobs._folder.writer()._db.set_trace_callback(None)
            store.close()
        how = "" if jobs == 1 else ", failures of each kind among them"
        yield Line(f"commits of a paid submission of {jobs} jobs{how}", sum(s.startswith("COMMIT") for s in said), 4)


def merged(steps: int = 20) -> Iterator[Line]:
    """Two VQE runs in one session, and one after the other."""
    problem, ansatz = TransverseFieldIsing(4), HardwareEfficient(wires=4, depth=1)
    some: dict[str, Any] = {"problem": problem, "ansatz": ansatz, "shots": 500, "stop": Stop(steps=steps)}
    tasks = [VQE(optimizer=SPSA(), seed=3, **some), VQE(optimizer="adam", seed=4, **some)]
    found = []
    for together in (True, False):
        with Session("varq.qubit", store=None, progress=False) as session:
            for task in tasks:
                if together:
                    session.start(task)
                else:
                    session.run(task)
            session.drain()
            rows = [[(r.step, r.role, r.reply) for r in session.store.rows(e.id)] for e in session.list()]
            found.append((sorted(rows), len(session.ledger())))
    (one, few), (other, many) = found
    yield Line(f"two runs of {steps} steps: jobs alone ({many}) over jobs together ({few})", many / few, 2, "x", 1.8)
    yield Line("replies that differ between the two", sum(a != b for a, b in zip(one, other, strict=True)), 0)


def fakes(steps: int = 5, shots: int = 1000) -> Iterator[Line]:
    """Two VQE runs on a snapshot of a machine with its noise, in one session and one after the other."""
    if importlib.util.find_spec("qiskit_ibm_runtime") is None:
        print("fakes: needs the extra ibm, which is not installed here")
        return
    problem, ansatz = TransverseFieldIsing(4), HardwareEfficient(wires=4, depth=1)
    some: dict[str, Any] = {"problem": problem, "ansatz": ansatz, "optimizer": "adam", "stop": Stop(steps=steps)}
    tasks = [VQE(seed=seed, **some) for seed in (3, 4)]
    first, counts = [], []
    for together in (True, False):
        with Session("ibm.fake_manila", shots=shots, store=None, progress=False) as session:
            for task in tasks:
                if together:
                    session.start(task)
                else:
                    session.run(task)
            session.drain()
            # Later steps start from points that differ: circuits of one job share the snapshot's random numbers.
            records = sorted(session.list(), key=lambda record: record.id)
            rows = [next(iter(session.store.rows(record.id))) for record in records]
            first.append([spec.loads(row.reply, session.store.array) for row in rows])
            counts.append(len(session.ledger()))
    few, many = counts
    yield Line(f"on fake_manila: jobs alone ({many}) over jobs together ({few})", many / few, 2, "x", 1.8)
    apart = []
    for a, b in zip(*first, strict=True):
        apart.append(abs(a.value - b.value) / np.hypot(a.stderr, b.stderr))
        apart.extend(np.ravel(np.abs(a.grad - b.grad) / np.hypot(a.grad_stderr, b.grad_stderr)))
    what = f"largest of {len(apart)} differences of first energies and slopes, in standard errors"
    yield Line(what, float(np.max(apart)), 4)


_VIEWER = """
import json, sys
from varq.session.attached import attach
for event in attach(sys.argv[1], store=sys.argv[2]).events():
    if event.run_id and event.kind in ("start", "step", "end"):
        print(json.dumps([event.run_id, event.kind, event.step, event.value]), flush=True)
"""


def attached(steps: int = 20) -> Iterator[Line]:
    """A session in a process of its own, watched to its end by one process, and by others that are killed."""
    some: dict[str, Any] = {"problem": TransverseFieldIsing(2), "optimizer": SPSA(), "stop": Stop(steps=steps)}
    tasks = [VQE(seed=seed, **some) for seed in (3, 4)]
    noted: list[Event] = []
    with Session("varq.qubit", shots=200, store=None, progress=False, observers=[noted.append]) as session:
        for task in tasks:
            session.start(task)
        results = {result.run_id: result.value for result in session.drain()}
    wanted = Counter((e.run_id, e.kind, e.step, e.value) for e in noted if e.kind in ("start", "step", "end"))
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        with Session("varq.qubit", shots=200, store=store, progress=False) as session:
            name = session.detach(tasks)
        command = [sys.executable, "-c", _VIEWER, name, store]
        viewers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
        for viewer in viewers[1:]:
            assert viewer.stdout is not None
            viewer.stdout.readline()  # killed while it watches
            viewer.kill()
            viewer.wait()
        told, _ = viewers[0].communicate()
        seen = Counter(tuple(json.loads(line)) for line in told.splitlines())
        with attach(name, store=store) as watched:
            watched.wait()
            other = sum(watched.result(run).value != value for run, value in results.items())  # type: ignore[union-attr]
    yield Line(f"of {wanted.total()} events, those that a second process did not see", (wanted - seen).total(), 0)
    yield Line("events that it saw and that were not", (seen - wanted).total(), 0)
    yield Line(f"of {len(results)} runs, those that ended otherwise for {len(viewers) - 1} killed viewers", other, 0)


def coverage(seeds: int = 400, shots: int = 4096) -> Iterator[Line]:
    """Intervals of the energy of the exact state of H2, against full CI."""
    task = VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B")
    with Session("varq.qubit", store=None, progress=False) as session:
        exact = session.run(task)
    yield Line("H2: energy of the state that is sampled, from full CI", abs(exact.deviation) * MILLI, 1e-4, "mHa")
    plan = task.resolve("varq.qubit", shots).plan(Nodes("varq.qubit", shots))
    replies = [plan.evaluate(Value(exact.parameters), Key.from_seed(seed)) for seed in range(seeds)]
    low, high = interval(np.array([r.value for r in replies]), np.array([r.stderr for r in replies]))
    inside = float(np.mean((low <= exact.reference) & (exact.reference <= high)))
    yield Line(f"95 % intervals that cover it, {seeds} seeds, {shots} shots a circuit", 100 * inside, 97, "%", 93)


_STORMS = (
    {"seed": 100, "rate": 0.3, "runs": 1, "budget": {"shots": 1300, "reserve": 0.3}, "limits": {"circuits": 2}},
    {"seed": 200, "rate": 0.3, "runs": 2, "budget": {"shots": 40_000}, "limits": {"circuits": 4, "shots": 70}},
)


def storm(kills: int = 200, cloud_kills: int = 50) -> Iterator[Line]:
    """SIGKILL of clients and of the vendor's service, with 30 % of calls failing."""
    each = {"kills": kills // 4, "timed": kills // 4, "cloud_kills": cloud_kills // 2}
    arguments = [json.dumps({**options, **each}) for options in _STORMS]
    done = subprocess.run(
        [sys.executable, "-m", "varq.testing.storms", *arguments], check=True, capture_output=True, text=True
    )
    total: Counter[str] = Counter()
    for text in done.stdout.splitlines():
        total.update({name: count for name, count in json.loads(text).items() if isinstance(count, int)})
    many = 10**9
    yield Line("clients killed", total["kills"], many, least=kills)
    yield Line("times that the service was killed", total["cloud_kills"], many, least=cloud_kills)
    share = 100 * total["faults"] / max(1, total["calls"])
    yield Line(f"of {total['calls']:,} calls, those that failed", share, 36, "%", 24)
    yield Line("lives that ended in a clear state, and were carried on", total["clear_ends"], many)
    yield Line(f"of {total['runs']} runs, those that ended otherwise than undisturbed", total["other_results"], 0)
    yield Line("results lost", total["results_lost"], 0)
    yield Line("circuits paid for twice", total["paid_twice"], 0)
    yield Line("shots paid for beyond those of the runs undisturbed", total["shots_over"], 0)
    yield Line("shots beyond the budget", total["over_budget"], 0)


FIGURES: dict[str, Callable[[], Iterator[Line]]] = {
    figure.__name__: figure for figure in (queue, merged, fakes, commits, coverage, attached, storm)
}


def main(names: list[str]) -> int:
    """Print the figures asked for; 1 if one is missed."""
    if unknown := [name for name in names if name not in FIGURES]:
        raise SystemExit(f"Unknown figures {unknown}. Known: {list(FIGURES)}.")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    missed = 0
    for name in names or FIGURES:
        for line in FIGURES[name]():
            print(line, flush=True)
            missed += not line.met
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
