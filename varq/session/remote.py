"""Handing runs to another machine: one ssh command, and all that is to be run as JSON on its standard input."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.session.run import Run
from varq.session.session import Session
from varq.session.terms import read_terms, refuse_objects

__all__ = ["FORMAT", "packed", "received", "send", "ssh"]

FORMAT = 2  # of what travels; another one is refused
_HOST = re.compile(r"(?!-)[A-Za-z0-9_.@:%\[\]-]+")  # an ssh destination, and never an option of ssh's
_ANSWER = re.compile(r"^session-\S+$", re.MULTILINE)


def ssh(host: str, folder: str | None = None, command: str = "varq") -> list[str]:
    """The words that hand what is on standard input to a worker on another machine.

    Args:
        host: an ssh destination, such as "ada@node7".
        folder: of the store there; None for "varq-runs" in the home folder.
        command: how varq is called there, such as "~/env/bin/varq"; its shell reads it.

    Raises:
        ValueError: for a host that is none.

    Example:
        >>> ssh("ada@node7", "runs here")
        ['ssh', '-T', '-o', 'BatchMode=yes', '--', 'ada@node7', "varq worker - --store 'runs here'"]
    """
    if not _HOST.fullmatch(checks.text("host", host)):
        raise ValueError(f"host must be an ssh destination, such as user@machine. Got {host!r}.")
    where = f"worker - --store {shlex.quote(folder or 'varq-runs')}"
    return ["ssh", "-T", "-o", "BatchMode=yes", "--", host, f"{checks.text('command', command)} {where}"]


def packed(session: Session, runs: Sequence[Run]) -> str:
    """A session and some of its runs as JSON text, with everything that they need.

    Raises:
        ValueError: if the session's device or a spec holds objects of this process.
    """
    arrays: dict[str, NDArray[Any]] = {}
    texts = [spec.dumps(run.spec, arrays) for run in runs]
    refuse_objects(session.desk.terms, {run.title: text for run, text in zip(runs, texts, strict=True)})
    tasks = [
        {"spec": json.loads(text), "stop": None if run.rule is None else spec.encode(run.rule), **_wanted(session, run)}
        for run, text in zip(runs, texts, strict=True)
    ]
    kept = {name: _flat(array) for name, array in arrays.items()}
    data = {"varq": FORMAT, "terms": session.desk.terms, "shots": session.shots, "runs": tasks, "arrays": kept}
    return spec.canonical(data)


def _wanted(session: Session, run: Run) -> dict[str, Any]:
    """The priority and the deadline that a run was started with; in seconds from now, as clocks differ."""
    lane = next((lane for lane in session.lanes if lane.run is run), None)
    until = None if lane is None else lane.deadline
    left = None if until is None else max(0.0, until - time.time())
    return {"priority": 0 if lane is None else lane.priority, "deadline": left}


def _flat(array: NDArray[Any]) -> dict[str, Any]:
    data = np.ascontiguousarray(array)
    return {"dtype": data.dtype.str, "shape": list(data.shape), "base64": base64.b64encode(data.tobytes()).decode()}


def _array(entry: Mapping[str, Any]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(entry["base64"]), np.dtype(entry["dtype"])).reshape(entry["shape"])


def received(text: str, folder: Path) -> str:
    """Start what `packed` packed, in a store of this machine, owned by a process of its own; returns the session's id.

    Raises:
        ValueError: if the text is no such thing, or of another version of varq.
    """
    try:
        data = json.loads(text)
        if data["varq"] != FORMAT:
            raise ValueError(
                f"Runs travel in format {FORMAT}. Got {data['varq']!r}. Use the same varq on both machines."
            )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"Standard input must hold runs that varq packed. Got {text[:40]!r}.") from error
    terms = read_terms(data["terms"])
    with Session(**terms, shots=data["shots"], store=folder, progress=False) as session:
        for entry in data["runs"]:
            task = spec.decode(entry["spec"], lambda name: _array(data["arrays"][name]))
            rule = None if entry["stop"] is None else spec.decode(entry["stop"])
            session.start(task, stop=rule, priority=entry["priority"], deadline=entry["deadline"])
        return session.detach()


def send(host: str, session: Session, runs: Sequence[Run], folder: str | None = None, command: str = "varq") -> str:
    """Hand runs to another machine, where a process of its own goes on with them; returns the session's id there.

    Args:
        host: an ssh destination. ssh asks nothing: a key has to be at hand.
        session: whose device, shots, budget and policies they have.
        runs: none of which has begun here.
        folder: of the store there.
        command: how varq is called there.

    Raises:
        ValueError: for a host that is none, or runs that cannot be written down.
        OSError: if ssh cannot be started, or what it started there fails; says what was said.
    """
    words = ssh(host, folder, command)
    done = subprocess.run(words, input=packed(session, runs), capture_output=True, text=True, check=False)
    found = _ANSWER.search(done.stdout)
    if done.returncode or found is None:
        said = done.stderr.strip() or done.stdout.strip() or "nothing"
        raise OSError(
            f"{host} must answer with a session's id. It ended with status {done.returncode} and said: {said}"
        )
    return found.group(0)
