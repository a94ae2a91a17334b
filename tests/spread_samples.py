"""What the tests of spreads share: several devices of one account, and services whose law is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
from session_service import AT_ONCE, SESSION, Scripted

from varq.devices.service import Bits, Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.devices.several import Spread
from varq.session.budget import Account, Budget
from varq.session.dispatch import Dispatcher
from varq.session.fleet import Fleet
from varq.session.shares import SharedTicket
from varq.store.store import Store


def named(name: str, *args: Any, **options: Any) -> Scripted:
    """A paid device with a name."""
    service = Scripted(*args, **options)
    service.name = name
    return service


def fleet(store: Store, *services: Any, budget: Budget | None = None, **options: Any) -> Fleet:
    """The devices of a spread, as a process that takes the session up opens them."""
    spent = store.jobs.spent(SESSION)
    account = Account(budget or Budget())
    account.spend(type(account.spent)(spent.circuits, spent.shots, spent.seconds, spent.cost))
    prices = options.pop("prices", {})
    ways = {name: options.pop(name) for name in ("by", "weights") if name in options}
    members = [
        Dispatcher(one, store.jobs, SESSION, account, prices.get(one.name), AT_ONCE, sleep=lambda seconds: None)
        for one in services
    ]
    return Fleet(Spread(services, **ways), members, store.jobs, **options)


def asked(of: Fleet, circuits: Sequence[Circuit], place: Any = ("run", 0, "step"), **options: Any) -> SharedTicket:
    ticket = of.add(place, circuits, **options)
    assert isinstance(ticket, SharedTicket)
    return ticket


def finish(of: Fleet) -> None:
    """Turn until nothing is left to do."""
    while of.turn():
        pass


class Lawful(Plain):
    """Free; samples of turns about Y, each wire on its own or all tied to one chance: one mean, two variances.

    Args:
        name: of the device.
        tied: whether the wires are 1 together, with the chance of the first.
        flips: the chance that a bit is misread: the noise of a machine.
    """

    paid, limits, mode = False, Limits(), Mode.JOB

    def __init__(self, name: str, tied: bool = False, flips: float = 0.0) -> None:
        self.name = name
        self.tied = tied
        self.flips = flips
        self._results: dict[str, JobResult] = {}

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Nothing."""

    def open(self) -> str | None:
        """Nothing."""
        return None

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Runs at once."""
        self._results[tag] = JobResult(tuple(map(self._sampled, circuits)), seconds=0.0)
        return tag

    def _sampled(self, circuit: Circuit) -> Bits:
        angles = np.zeros(circuit.wires)
        for gate in circuit.tape.operations:
            assert isinstance(gate, qml.RY), gate
            angles[gate.wires[0]] += float(gate.data[0])
        rng = np.random.default_rng(circuit.seed)
        shape = (circuit.shots, 1 if self.tied else circuit.wires)
        chances = np.sin(angles / 2) ** 2
        ones = rng.random(shape) < (chances[:1] if self.tied else chances)
        bits = np.repeat(ones, circuit.wires, axis=1) if self.tied else ones
        return np.asarray(bits ^ (rng.random(bits.shape) < self.flips), dtype=np.uint8)

    def find(self, tag: str) -> str | None:
        """None."""
        return None

    def status(self, job: str) -> JobStatus:
        """Done."""
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """Once."""
        return self._results.pop(job)

    def cancel(self, job: str) -> bool:
        """Too late."""
        return False

    def close(self) -> None:
        """Nothing."""
