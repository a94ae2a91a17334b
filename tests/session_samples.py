"""What the tests of sessions share: specs that are cheap to run, and a device whose times are known."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varq.algorithms import VQE
from varq.devices.service import Circuit, JobResult, JobStatus, Limits, Mode, Plain
from varq.optimizers import SPSA
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.session import handing
from varq.session.attached import Attached
from varq.store.store import open_store

DEVICE, SHOTS = "default.qubit", 20  # nothing to compile, and samples that follow a seed


def task(steps: int = 4, seed: int = 0, **changes: Any) -> VQE:
    """Two coupled spins by SPSA."""
    given: dict[str, Any] = {"optimizer": SPSA(), "stop": Stop(steps=steps), "seed": seed}
    return VQE(problem=TransverseFieldIsing(sites=2), ansatz="hardware-efficient", **{**given, **changes})


def steps_of(attached: Attached) -> dict[str, int]:
    """How many steps of each run are told."""
    found: dict[str, int] = {}
    for event in attached.events(follow=False):
        if event.kind == "step":
            found[event.run_id] = event.step
    return found


def end_workers(folder: Path) -> None:
    """End the workers of all stores below a folder: a test that fails leaves none behind."""
    for place in {file.parent for file in folder.rglob("*.sqlite")}:
        with open_store(place, read_only=True) as store:
            for record in store.jobs.sessions():
                for note in store.jobs.notes(record.id):
                    if note.kind == handing.LAUNCHED and handing.alive(store.host, note.body):
                        os.kill(note.body["pid"], signal.SIGKILL)


class Metered(Plain):
    """A device that says of each job that it was busy for a given time, and fetches slowly."""

    name, paid, limits, mode = "default.qubit", False, Limits(), Mode.JOB  # a name whose samples follow a seed

    def __init__(self, seconds: float, fetching: float) -> None:
        self.seconds, self.fetching = seconds, fetching
        self._circuits: dict[str, Sequence[Circuit]] = {}

    def compile(self, circuits: Sequence[Circuit]) -> None:
        """Nothing."""

    def open(self) -> str | None:
        """Nothing."""
        return None

    def submit(self, circuits: Sequence[Circuit], tag: str) -> str:
        """Takes as long as it says."""
        self._circuits[tag] = circuits
        time.sleep(self.seconds)
        return tag

    def find(self, tag: str) -> str | None:
        """As sent."""
        return tag if tag in self._circuits else None

    def status(self, job: str) -> JobStatus:
        """Done."""
        return JobStatus.DONE

    def result(self, job: str) -> JobResult:
        """Zeros."""
        time.sleep(self.fetching)
        bits = tuple(np.zeros((c.shots, c.wires), np.uint8) for c in self._circuits[job])
        return JobResult(bits, seconds=self.seconds)

    def cancel(self, job: str) -> bool:
        """Too late."""
        return False

    def close(self) -> None:
        """Nothing."""
