"""Handing a session over to a process of its own, which goes on when this one ends."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from varq.session.desk import Desk
from varq.session.terms import refuse_objects
from varq.store.lease import Holder, Process, process_alive
from varq.store.store import Store

__all__ = ["LAUNCHED", "again", "alive", "command", "hand_over", "launch", "log_path"]

LAUNCHED = "launched"  # kind of note

# The shell starts the worker in the background and ends: the worker is then nobody's child, and is never waited for.
_BACKGROUND = '"$@" </dev/null >>"$0" 2>&1 & echo $!'


def command(session: str, folder: Path, take_over: bool = False) -> list[str]:
    """The words that start the worker of a session with this Python."""
    words = [sys.executable, "-m", "varq", "worker", session, "--store", str(folder)]
    return [*words, "--take-over"] if take_over else words


def again(session: str, folder: Path | None, take_over: bool = False) -> str:
    """What to type to have a session go on."""
    where = "" if folder is None else f" --store {shlex.quote(str(folder))}"
    return f"varq worker {session}{where}{' --take-over' if take_over else ''} --detach"


def alive(host: str, launched: dict[str, Any]) -> bool | None:
    """Whether the process of a note of the kind `LAUNCHED` runs; None if that cannot be seen from here."""
    then = Holder("", 0, "", launched["host"], launched["pid"], launched["process"], 0.0, 0.0, 0)
    return process_alive(then, Process.this(host))


def log_path(folder: Path, session: str) -> Path:
    """Where the worker of a session writes what it has to say."""
    return folder / f"{session}.log"


def hand_over(desk: Desk, specs: dict[str, str]) -> int:
    """Start the worker of a session that this process has, and let go of it; returns the worker's pid.

    Args:
        desk: of the session.
        specs: canonical JSON of the specs of its runs, by their titles.

    Raises:
        ValueError: if the store is in memory, or something cannot be written down.
        RuntimeError: if batches wait.
        OSError: if no process can be started.
    """
    desk.batches.refuse()
    folder = on_disk(desk.store)
    refuse_objects(desk.terms, specs)
    desk.write()
    desk.enlist()  # of a session that was written before, too
    desk.leave()
    return launch(desk.store, folder, desk.id)


def on_disk(store: Store) -> Path:
    """The folder of a store.

    Raises:
        ValueError: if it is in memory.
    """
    if store.path is None:
        raise ValueError(
            "A session that another process is to own needs a store on disk. This one is in memory. "
            'Give Session(store="folder").'
        )
    return store.path


def launch(store: Store, folder: Path, session: str, take_over: bool = False) -> int:
    """Start the worker of a session in the background; returns its pid.

    Its output goes to a file in the store's folder that only its owner can read.
    """
    log = log_path(folder, session)
    os.close(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    started = subprocess.run(
        ["/bin/sh", "-c", _BACKGROUND, str(log), *command(session, folder, take_over)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    if started.returncode:
        raise OSError(f"The worker of {session} could not be started: {started.stderr.strip()}")
    pid = int(started.stdout)
    process = Process.of(store.host, pid)
    body: dict[str, Any] = {"pid": pid, "process": process.mark, "host": store.host, "log": str(log), "at": time.time()}
    store.jobs.note(session, LAUNCHED, body)
    return pid
