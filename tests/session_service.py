"""A device in this process that notes every call, fails as a script says, and keeps its jobs as a vendor does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from varq.devices.faults import GoneError
from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.session.budget import Account, Budget
from varq.session.dispatch import Dispatcher
from varq.session.retry import Retry
from varq.store.job_records import SessionRecord
from varq.store.store import Store, open_store

SESSION = "session-00"
AT_ONCE = Retry(attempts=4, first=0.0, longest=0.0, patience=0.0)


class Crash(BaseException):
    """Stands for the death of the process: nothing catches it."""

    def __init__(self) -> None:
        super().__init__("the process dies here")


def circuit(angle: float = 0.3, shots: int = 10, seed: int = 0, wires: int = 2) -> Circuit:
    tape = QuantumScript([qml.RY(angle, w) for w in range(wires)], [qml.sample(wires=range(wires))], shots)
    return Circuit(tape, wires, shots, seed, f"turns of {wires}", np.array([angle] * wires))


def bits_of(one: Circuit) -> Bits:
    """What the device measures: the same for the same circuit."""
    rng = np.random.default_rng(int(one.digest[:15], 16))
    return np.asarray(rng.integers(0, 2, size=(one.shots, one.wires)), dtype=np.uint8)


class Scripted(Plain):
    """A paid device.

    Args:
        limits: of a job.
        paid: whether it is.
        script: what to raise, by the call and its number: ("submit", 0) before it is done, or
            ("submit", 0, "after").
        look: called before each call with its name and the job's tag or id.
    """

    name = "scripted"
    mode = Mode.SESSION

    def __init__(
        self,
        limits: Limits | None = None,
        paid: bool = True,
        script: dict[tuple[Any, ...], BaseException] | None = None,
        look: Callable[[str, str], None] = lambda call, what: None,
    ) -> None:
        self.limits = limits or Limits()
        self.paid = paid
        self.script = script or {}
        self.look = look
        self.calls: list[str] = []
        self.jobs: dict[str, tuple[str, list[Circuit]]] = {}
        self.status_of: dict[str, JobStatus] = {}
        self.cancels = False  # whether it is still possible
        self.change: Callable[[Bits], Bits] = lambda bits: bits
        self.clock: float | None = None  # of a session that is metered from its first job on
        self.account: str | None = None  # that sends jobs, and alone sees its own
        self.senders: dict[str, str | None] = {}

    @contextmanager
    def _call(self, name: str, what: str = "") -> Iterator[None]:
        number = self.calls.count(name)
        self.calls.append(name)
        self.look(name, what)
        if (name, number) in self.script:
            raise self.script[name, number]
        yield
        if (name, number, "after") in self.script:
            raise self.script[name, number, "after"]

    def compile(self, circuits: Sequence[Circuit]) -> None:
        with self._call("compile"):
            pass

    def open(self) -> str | None:
        with self._call("open"):
            return None

    def metered(self) -> float | None:
        return self.clock

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        with self._call("submit", tag):
            job = f"job {len(self.jobs)}"
            self.jobs[job] = (tag, list(circuits))
            self.senders[job] = self.account
            return job

    def find(self, tag: str) -> str | None:
        with self._call("find", tag):
            own = [job for job in self.jobs if self.senders.get(job) == self.account]
            return next((job for job in own if self.jobs[job][0] == tag), None)

    def payer(self) -> str | None:
        return self.account

    def status(self, job: str) -> JobStatus:
        with self._call("status", job):
            if job in self.jobs and self.senders.get(job) != self.account:
                raise GoneError(f"There is no {job}.")
            return self.status_of.get(job, JobStatus.DONE)

    def result(self, job: str) -> JobResult:
        with self._call("result", job):
            if job not in self.jobs:
                raise GoneError(f"There is no {job}.")
            bits = tuple(self.change(bits_of(c)) for c in self.jobs[job][1])
            return JobResult(bits, seconds=sum(len(b) for b in bits) * 1e-3, queued=0.0, cost=None)

    def cancel(self, job: str) -> bool:
        with self._call("cancel", job):
            if self.cancels:
                self.status_of[job] = JobStatus.CANCELLED
            return self.cancels

    def close(self) -> None:
        with self._call("close"):
            pass

    # -- what it was paid for

    @property
    def circuits(self) -> list[Circuit]:
        return [c for _, circuits in self.jobs.values() for c in circuits]

    @property
    def shots(self) -> int:
        return sum(c.shots for c in self.circuits)

    @property
    def sent(self) -> Counter[str]:
        return Counter(c.digest for c in self.circuits)


def store_of(path: Path | None = None) -> Store:
    """A store with a session."""
    store = open_store(path)
    store.jobs.open(SessionRecord(SESSION, 1.75e9, "ada", "scripted"))
    return store


def dispatcher(service: Any, store: Store, budget: Budget | None = None, **options: Any) -> Dispatcher:
    """A dispatcher whose account knows what the session has used, as a process that takes it up makes it."""
    spent = store.jobs.spent(SESSION)
    account = Account(budget or Budget())
    account.spend(type(account.spent)(spent.circuits, spent.shots, spent.seconds, spent.cost))
    given = {"retry": AT_ONCE, "sleep": lambda seconds: None, **options}
    return Dispatcher(service, store.jobs, SESSION, account, **given)


def states(store: Store) -> list[str]:
    """How the session's jobs stand, in order."""
    return [job.state.value for job in store.jobs.jobs(SESSION)]
