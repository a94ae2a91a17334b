"""What the tests of the store share: runs and rows made from a number, and stores in processes of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from varq.spec import array_digest, canonical
from varq.store.records import Row, RunRecord

BIG = np.arange(5000.0).reshape(50, 100)
BIG_SHA = array_digest(BIG)


def run_id(number: int) -> str:
    return hashlib.sha256(f"run {number}".encode()).hexdigest()


def record(number: int = 0, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": run_id(number),
        "identity": hashlib.sha256(f"identity {number}".encode()).hexdigest(),
        "findable": True,
        "spec": canonical({"$": "spec", "kind": "algorithm:vqe", "number": number}),
        "algorithm": "algorithm:vqe",
        "title": f"VQE {number}",
        "device": "default.qubit",
        "created": 1.75e9 + number,
        "host": "ada",
        "versions": {"varq": "0.1.0", "jax": "0.10.2"},
    }
    return RunRecord(**fields | changes)


def row(step: int, value: float | None = None, role: str = "step", **changes: Any) -> Row:
    """About 2 kB, as one step of a run with 40 parameters has."""
    x = [float(v) for v in np.cos(np.arange(40.0) + step)]
    cost = -1.0 / (step + 1) if value is None else value
    request = canonical({"$": "spec", "kind": "request:value-and-grad", "x": x})
    fields: dict[str, Any] = {
        "step": step,
        "role": role,
        "request": request,
        "digest": hashlib.sha256(request.encode()).hexdigest(),
        "reply": canonical({"$": "spec", "kind": "request:reply", "value": repr(cost), "grad": x}),
        "key": f"{step:032x}",
        "value": cost,
        "stderr": None,
        "seconds": 0.25 * step,
        "executions": 1,
    }
    return Row(**fields | changes)


def program(body: str) -> str:
    """A script that finds this file and has the usual names."""
    head = f"""
        import os, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from store_samples import BIG, BIG_SHA, record, row, run_id
        from varq.store.faults import *
        from varq.store.store import open_store
    """
    return textwrap.dedent(head) + textwrap.dedent(body)


def start(body: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process that runs `body`; its standard output is a pipe."""
    command = [sys.executable, "-u", "-W", "error", "-c", program(body), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finish(process: subprocess.Popen[str]) -> str:
    """What the process printed, once it has ended well."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{error}"
    return out


def line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said, finish(process)
    return said


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder, but SQLite's shared memory and empty logs, which carry no data."""
    found = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.endswith("-shm")}
    return {name: data for name, data in found.items() if data or not name.endswith("-wal")}


# Python's own folder may be closed to other users: what is imported late (pathlib's as_uri) is imported before.
WITHOUT_RIGHTS = "import urllib.parse; os.getuid() == 0 and (os.setgroups([]), os.setgid(65534), os.setuid(65534))"
"""Gives up the superuser's rights, in a process of `start`; only there once everything is imported."""
