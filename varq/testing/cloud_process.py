"""The miniature cloud as a process that is started, killed, started again, and asked what it was paid for."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cloud", "Tally"]

_PATIENCE = 300.0  # seconds until it listens


@dataclass(frozen=True)
class Tally:
    """What a cloud has done.

    Args:
        jobs: that ran and were charged: not those that failed or were cancelled.
        shots: of them.
        circuits: how often each circuit, as JSON with its seed, ran and was charged.
        tags: how often each tag ran and was charged.
        calls: how many came, by what was asked for.
        faults: how often each kind of fault was injected.
    """

    jobs: int
    shots: int
    circuits: Counter[str]
    tags: Counter[str]
    calls: Counter[str]
    faults: Counter[str]

    @property
    def twice(self) -> int:
        """How many circuits were paid for more than once."""
        return sum(count - 1 for count in self.circuits.values())


class Cloud:
    """A server on a folder; `with` starts it, and kills it at the end.

    Args:
        folder: where its jobs and its plan are.
        plan: what is to go wrong, as `varq.testing.cloud_server` reads it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Cloud(Path(folder)) as cloud:
        ...     cloud.kill()
        ...     cloud.start()
        ...     cloud.url.startswith("http://127.0.0.1:"), cloud.tally().jobs
        (True, 0)
    """

    def __init__(self, folder: Path, **plan: Any) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.plan(**plan)

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address, the same after each start."""
        return f"http://127.0.0.1:{self._port}"

    def plan(self, **plan: Any) -> None:
        """What is to go wrong from now on."""
        fresh = self.folder / "plan.new"
        fresh.write_text(json.dumps(plan))
        os.replace(fresh, self.folder / "plan.json")

    def start(self) -> None:
        """Start it, on the port that it had before."""
        said = self.folder / "port"
        said.unlink(missing_ok=True)
        command = [sys.executable, "-m", "varq.testing.cloud_server", str(self.folder), str(self._port)]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + _PATIENCE
        while not (said.exists() and said.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The cloud must listen within {_PATIENCE:g} s of its start. It did not.")
            time.sleep(0.01)
        self._port = int(said.read_text())

    @property
    def running(self) -> bool:
        """Whether it answers, or would."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill it, wherever it is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def tally(self) -> Tally:
        """What it has done, read from its file."""
        with closing(sqlite3.connect(self.folder / "cloud.sqlite", timeout=30)) as db:
            rows = db.execute("SELECT tag, circuits, shots FROM jobs WHERE state = 'done'").fetchall()
            calls = db.execute("SELECT path, fault FROM calls").fetchall()
        circuits = Counter(json.dumps(c, sort_keys=True) for _, some, _ in rows for c in json.loads(some))
        return Tally(
            jobs=len(rows),
            shots=sum(shots for _, _, shots in rows),
            circuits=circuits,
            tags=Counter(tag for tag, _, _ in rows),
            calls=Counter(path for path, _ in calls),
            faults=Counter(fault for _, fault in calls if fault is not None),
        )
