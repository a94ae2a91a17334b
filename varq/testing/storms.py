"""Runs on the miniature cloud in bad weather: clients and cloud killed, calls failing; and what became of it all.

    python -m varq.testing.storms '{"kills": 6, "cloud_kills": 2, "rate": 0.3, "seed": 1}' ...

prints one JSON line for each storm: as many as it takes for the kills of each argument.  Every life of a client is a
forked process, which dies for real.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from varq.algorithms.task import Task, minimization, settled, usual_device
from varq.devices.catalog import device, spread
from varq.devices.faults import DeviceError
from varq.devices.service import Bits, Circuit
from varq.keys import Key
from varq.optimizers.stochastic import SPSA
from varq.protocol import Many, Prepared, Reply, Request, Stop, Value
from varq.session.budget import Budget
from varq.session.retry import Retry
from varq.session.session import Session
from varq.store.jobs import Jobs
from varq.store.store import Store, open_store
from varq.testing.cloud import CloudService
from varq.testing.cloud_process import Cloud, Tally

__all__ = ["Chain", "Report", "Storm", "compared", "main", "weather"]

_BUSY = 0.6  # seconds by which the cloud may hear a call later than its client gave it up
_FAILED = 3  # exit status of a life that ended in a clear state
_RETRY = Retry(attempts=8, first=0.02, longest=0.3)
_MOMENTS = (
    (CloudService, ("open", "submit", "find", "status", "result", "close")),
    (Jobs, ("write", "sent", "finish", "mark", "mark_all")),
    (Store, ("append", "conclude")),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain(Task):
    """The energy of a chain of spins turned about Y, from one circuit: it needs no compiler, so that a life is short.

    With E = Z0 Z1 + Z1 Z2 + ... the lowest value is that of antiparallel neighbors.

    Args:
        wires: how many spins.
    """

    wires: int = 3

    kind: ClassVar[str] = "data:chain"
    title: ClassVar[str] = "a chain of spins"

    def resolve(self, device: Any, shots: int | None) -> Chain:
        """With the session's device and shots."""
        resolved: Chain = settled(self, usual_device(device), shots)
        return resolved

    def plan(self, nodes: Any) -> Any:
        """SPSA on the energy."""
        return minimization(
            method=SPSA(calibration=3).method(),
            start=np.full(self.wires, 0.7),
            evaluate=lambda request, key: Reply(),
            prepare=self._prepare,
            sampled=True,
            reference=lambda: 1.0 - self.wires,
            stop=Stop(steps=12),
            title=self.title,
            unit="",
        )

    def _prepare(self, request: Request, key: Key, precision: float) -> Prepared:
        parts = list(request.parts) if isinstance(request, Many) else [request]
        assert self.shots is not None
        shots = max(2, round(self.shots * precision))
        circuits = []
        for k, part in enumerate(parts):
            assert isinstance(part, Value)
            gates = [qml.RY(float(v), wires=w) for w, v in enumerate(part.x)]
            tape = QuantumScript(gates, [qml.sample(wires=range(self.wires))], shots)
            seed = key.fold(k).seed()
            circuits.append(Circuit(tape, self.wires, shots, seed, f"chain of {self.wires}", np.asarray(part.x)))

        def decode(bits: Sequence[Bits]) -> Reply:
            replies = tuple(_energy(one) for one in bits)
            if not isinstance(request, Many):
                return replies[0]
            return Reply(parts=replies, executions=len(replies))

        return Prepared(tuple(circuits), decode)


def _energy(bits: Bits) -> Reply:
    spins = 1.0 - 2.0 * bits
    energies = (spins[:, 1:] * spins[:, :-1]).sum(axis=1)
    stderr = float(energies.std(ddof=1) / np.sqrt(len(energies)))
    return Reply(value=float(energies.mean()), stderr=stderr, executions=1)


@dataclass(frozen=True)
class Storm:
    """What is to go wrong.

    Args:
        seed: of the moments.
        kills: how often the client is killed: at a call or write that is drawn among the next ones.
        timed: how often it is killed from outside, at a moment drawn below `longest` seconds of its life.
        cloud_kills: how often the cloud is killed: before or after it has done something, or at a random moment.
        rate: of calls that fail.
        kinds: of the failures.
        runs: that share the session.
        budget: of the session.
        limits: of a job, options of `CloudService`.
        repeat: whether the cloud runs a tag again that it knows.
        longest: seconds.
        lag: seconds until the cloud lists a job under its tag.
        settled: seconds after which a client takes it for listed; None for the lag and what a busy machine may add.
        clouds: over which the circuits of each request are spread. One that stays away too long is then left out, and
            its part sent to another: what it had received is paid for once more, elsewhere.
    """

    seed: int = 0
    kills: int = 0
    timed: int = 0
    cloud_kills: int = 0
    rate: float = 0.0
    kinds: tuple[str, ...] = ("503", "timeout", "lost", "duplicate", "expired", "slow")
    runs: int = 1
    budget: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    repeat: bool = True
    longest: float = 0.5
    lag: float = 0.0
    settled: float | None = None
    clouds: int = 1


@dataclass
class Report:
    """What became of it.

    Args:
        results: of each run, its rows of requests, replies and keys, its value, error bar and end.
        tally: of the clouds; a circuit that two of them ran counts for each.
        lost: jobs that were paid for whose result is not in the store.
        states: how many jobs the store has in each state.
        spent: shots, as the store has them.
        lives: processes that it took.
        killed: of them.
        failed: of them that ended in a clear state, and were carried on.
        cloud_killed: how often the cloud died.
    """

    results: tuple[Any, ...]
    tally: Tally
    lost: int
    states: Counter[str]
    spent: int
    lives: int = 0
    killed: int = 0
    failed: int = 0
    cloud_killed: int = 0


def weather(storm: Storm, folder: Path) -> Report:
    """Runs in a storm, carried on until all have ended.

    Args:
        storm: what goes wrong.
        folder: empty; the store and the cloud's file go there.

    Raises:
        RuntimeError: if a life ends in another way than by a kill or in a clear state; holds its traceback.
    """
    clock = random.Random(storm.seed)
    kills: list[int | float] = [clock.randint(1, 14) for _ in range(storm.kills)]
    kills += [clock.uniform(0, storm.longest) for _ in range(storm.timed)]
    clock.shuffle(kills)
    lives = killed = failed = 0
    with ExitStack() as stack:
        names = ["cloud", *(f"cloud {k}" for k in range(1, storm.clouds))]
        clouds = [stack.enter_context(Cloud(folder / name, seed=storm.seed)) for name in names]
        skies = [_Sky(cloud, storm, clock, number) for number, cloud in enumerate(clouds)]

        def look() -> None:
            for sky in skies:
                sky.look()

        while True:
            lives += 1
            kill = kills[0] if kills else None
            status = _life(storm, folder, [cloud.url for cloud in clouds], kill, look)
            if os.WIFSIGNALED(status):
                killed += 1
                kills.pop(0)
            elif os.waitstatus_to_exitcode(status) == _FAILED:
                failed += 1
            elif os.waitstatus_to_exitcode(status) == 0:
                break
            else:
                raise RuntimeError(f"A life must end in a clear state. {(folder / 'error.txt').read_text()}")
        tally = _together([cloud.tally() for cloud in clouds])
    report = _found(folder, tally)
    report.lives, report.killed, report.failed = lives, killed, failed
    report.cloud_killed = sum(sky.killed for sky in skies)
    return report


def _together(tallies: Sequence[Tally]) -> Tally:
    """What several clouds have done."""
    marked = [{f"{k} {c}": n for c, n in tally.circuits.items()} for k, tally in enumerate(tallies)]
    return Tally(
        jobs=sum(tally.jobs for tally in tallies),
        shots=sum(tally.shots for tally in tallies),
        circuits=Counter({name: n for some in marked for name, n in some.items()}),
        tags=sum((tally.tags for tally in tallies), Counter()),
        calls=sum((tally.calls for tally in tallies), Counter()),
        faults=sum((tally.faults for tally in tallies), Counter()),
    )


class _Sky:
    """Kills the cloud, and starts it again when it is down."""

    def __init__(self, cloud: Cloud, storm: Storm, clock: random.Random, number: int = 0) -> None:
        self.killed = 0
        self._cloud = cloud
        self._clock = clock
        self._left = len(range(number, storm.cloud_kills, storm.clouds))
        self._plan = {
            "rate": storm.rate,
            "seed": storm.seed + number,
            "kinds": list(storm.kinds),
            "repeat": storm.repeat,
            "lag": storm.lag,
        }
        # Submissions are the calls that matter most: some of them are the cloud's last.
        deaths = clock.sample(range(max(4, 2 * self._left)), (self._left + 1) // 2)
        self._left -= len(deaths)
        cloud.plan(**self._plan, script={f"submit:{n}": "die" for n in deaths})
        self._next = self._drawn()

    def _drawn(self) -> float:
        return time.monotonic() + self._clock.uniform(0.05, 0.6)

    def look(self) -> None:
        """Called every few milliseconds."""
        if not self._cloud.running:
            self.killed += 1
            self._cloud.start()
            self._next = self._drawn()
        elif self._left and time.monotonic() > self._next:
            self._left -= 1
            self._cloud.kill()


def _life(storm: Storm, folder: Path, urls: Sequence[str], kill: int | float | None, look: Callable[[], None]) -> int:
    """One process: starts or carries on the runs; returns its wait status."""
    alive = folder / "alive"
    alive.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _live(storm, folder, urls, kill if isinstance(kill, int) else None)
            code = 0
        except DeviceError as error:
            (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")
            code = _FAILED
        except BaseException:
            (folder / "error.txt").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    end: float | None = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if isinstance(kill, float) and end is None and alive.exists():
            end = time.monotonic() + kill
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        look()
        time.sleep(0.002)


def _live(storm: Storm, folder: Path, urls: Sequence[str], kill: int | None) -> None:
    with warnings.catch_warnings(action="ignore"):
        _weathered(storm, folder, urls, kill)


def _weathered(storm: Storm, folder: Path, urls: Sequence[str], kill: int | None) -> None:
    _watch(kill)
    settled = (storm.lag and storm.lag + _BUSY) if storm.settled is None else storm.settled
    options: dict[str, Any] = {"timeout": 0.4, "settled": settled, **storm.limits}
    clouds = [device("cloud", url=url, **options) for url in urls]
    cloud = clouds[0] if len(clouds) == 1 else spread(*clouds, by="circuits")
    with open_store(folder / "store") as store, _session(store, cloud, Budget(**storm.budget)) as session:
        (folder / "alive").touch()
        for seed in range(storm.runs):
            session.start(Chain(seed=storm.seed + seed, wires=3 + seed))
        session.drain()


def _session(store: Store, cloud: Any, budget: Budget) -> Session:
    """One session over all lives, with one budget, as a worker that was killed takes it up again."""
    known = store.jobs.sessions()
    if known:
        return Session.reopened(known[0].id, store, progress=False)
    return Session(cloud, shots=50, budget=budget, retry=_RETRY, store=store, progress=False)


def _watch(kill: int | None) -> None:
    """Die at the call or write with this number: just before it, or just after."""
    left = [kill]

    def moment() -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def around(*args: Any, **options: Any) -> Any:
            moment()
            out = call(*args, **options)
            moment()
            return out

        return around

    for kind, names in _MOMENTS:
        for name in names:
            setattr(kind, name, watched(getattr(kind, name)))


def _found(folder: Path, tally: Tally) -> Report:
    with open_store(folder / "store") as store:
        results = []
        for record in sorted(store.list(), key=lambda record: record.title + record.spec.split('"seed"')[-1]):
            rows = tuple((r.step, r.role, r.request, r.reply, r.key) for r in store.rows(record.id))
            results.append((rows, record.value, record.stderr, record.reason))
        jobs = [job for session in store.jobs.sessions() for job in store.jobs.jobs(session.id)]
        spent = sum(store.jobs.spent(session.id).shots for session in store.jobs.sessions())
    done = {job.id for job in jobs if job.state == "done"}
    states = Counter(job.state.value for job in jobs)
    return Report(tuple(results), tally, len(set(tally.tags) - done), states, spent)


def compared(storm: Storm, calm: Report, report: Report) -> dict[str, Any]:
    """The counts of a storm, beside the same runs undisturbed."""
    shots = storm.budget.get("shots")
    return {
        "kills": report.killed,
        "cloud_kills": report.cloud_killed,
        "faults": sum(report.tally.faults.values()),
        "calls": sum(report.tally.calls.values()),
        "lives": report.lives,
        "clear_ends": report.failed,
        "runs": len(report.results),
        "other_results": sum(a != b for a, b in zip(calm.results, report.results, strict=True)),
        "results_lost": report.lost,
        "paid_twice": report.tally.twice,
        "shots_over": report.tally.shots - calm.tally.shots,
        "over_budget": 0 if shots is None else max(0, report.tally.shots - shots),
        "states": dict(report.states),
        "ends": [result[3] for result in report.results],
    }


def main(options: dict[str, Any]) -> None:
    """Storms until so many kills have been made; prints the counts of each.

    Args:
        options: fields of `Storm`; with "timed", "kills" and "cloud_kills" shared out over as many storms as it takes.
    """
    storm = Storm(**options)
    left = {"kills": storm.kills, "timed": storm.timed, "cloud_kills": storm.cloud_kills}
    seed = storm.seed
    while True:
        most = {"kills": min(left["kills"], 12), "timed": min(left["timed"], 12)}
        most["cloud_kills"] = min(left["cloud_kills"], 4)
        now = Storm(**{**options, **most, "seed": seed})
        calm = Storm(seed=seed, runs=storm.runs, budget=storm.budget, limits=storm.limits, clouds=storm.clouds)
        with tempfile.TemporaryDirectory() as folder:
            quiet, report = weather(calm, Path(folder, "calm")), weather(now, Path(folder, "storm"))
        print(json.dumps(compared(now, quiet, report)), flush=True)
        seed += 1
        # A storm may be over before all that was planned for it has happened; what has, counts.
        timed = min(left["timed"], most["timed"], report.killed)
        left["timed"] -= timed
        left["kills"] = max(0, left["kills"] - (report.killed - timed))
        left["cloud_kills"] = max(0, left["cloud_kills"] - report.cloud_killed)
        if not any(left.values()):
            return


if __name__ == "__main__":
    from varq.testing import storms  # a run's record names the class of this module, not the one of __main__

    for argument in sys.argv[1:]:
        storms.main(json.loads(argument))
