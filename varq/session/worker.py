"""The process that owns a session: it goes on whatever becomes of the one that began it."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from varq import spec
from varq.devices.credentials import clean_text
from varq.protocol import Event
from varq.session.handing import again
from varq.session.interrupt import requeued
from varq.session.orders import hold
from varq.session.reporting import ORDERED, PULSE, RUN
from varq.session.session import Session
from varq.store.job_records import SessionState
from varq.store.store import Store

__all__ = ["DONE", "FAILED", "enlisted", "reopen", "work"]

DONE = 0  # this and the next: exit statuses of a worker
FAILED = 1

log = logging.getLogger("varq")


def reopen(session: str, store: Store, take_over: bool = False, **options: Any) -> Session:
    """A session of the store with all its runs that are not done, ready to be drained.

    Runs that were removed from the store since are left out, and said to be.

    Args:
        session: its id, or a unique beginning of it.
        store: where it is.
        take_over: take it, and its runs, from an owner that no longer shows signs of life.
        options: `progress` and `observers` of the session.

    Raises:
        LookupError: if there is no such session.
        OwnedError: if another process owns it.
        ValueError: if it was opened on a device that cannot be written down.
    """
    opened = Session.reopened(session, store, take_over, **options)
    try:
        for body in enlisted(store, opened.id):
            if store.get(body["run"]) is None:
                said = f"{body['title']}: run {body['run']} was removed from the store, and is left out."
                log.warning("%s", said)
                _note(opened, said)
                continue
            stop = None if body["stop"] is None else spec.decode(body["stop"])
            run = opened.load(body["run"], stop=stop, take_over=take_over)
            if not run.settled:
                opened.desk.recall(run)
                hold(opened.adopt(run, body["priority"], body["deadline"]), body["paused"])
    except BaseException:
        opened.desk.leave()
        raise
    return opened


def enlisted(store: Store, session: str) -> list[dict[str, Any]]:
    """The runs of a session that were not cancelled, as they were noted and ordered since.

    Example:
        >>> from varq.store.store import open_store
        >>> from varq.store.job_records import SessionRecord
        >>> with open_store(None) as store:
        ...     store.jobs.open(SessionRecord("session-1f", 1.75e9, "ada", "varq.qubit"))
        ...     kept = store.jobs.note("session-1f", RUN, {"run": "1f2e", "priority": 0})
        ...     kept = store.jobs.note("session-1f", ORDERED, {"do": "priority", "priority": 3, "done": "so"})
        ...     enlisted(store, "session-1f")
        [{'priority': 3, 'run': '1f2e', 'paused': False}]
    """
    runs: dict[str, dict[str, Any]] = {}
    for note in store.jobs.notes(session):
        if note.kind == RUN:
            runs[note.body["run"]] = {**note.body, "paused": False}
        elif note.kind == ORDERED and note.body.get("done"):
            for name in [name for name in runs if note.body.get("run") in (None, name)]:
                _ordered(runs, name, note.body)
    return list(runs.values())


def _ordered(runs: dict[str, dict[str, Any]], name: str, body: dict[str, Any]) -> None:
    """What an order that was obeyed means for one run, should the session be opened again."""
    do = body["do"]
    if do == "cancel":
        del runs[name]
    elif do == "priority":
        runs[name]["priority"] = body["priority"]
    elif do in ("pause", "step"):
        runs[name]["paused"] = True
    elif do == "resume":
        runs[name]["paused"] = False


@requeued()
def work(session: str, store: Store, take_over: bool = False) -> int:
    """Own a session until all its runs have ended, or somebody stops it; returns the exit status.

    Raises:
        LookupError: if there is no such session.
        OwnedError: if another process owns it.
        ValueError: if it was opened on a device that cannot be written down.
        SystemExit: after SIGTERM, with the status on which a batch script requeues; the session can go on later.
    """
    opened = reopen(session, store, take_over, progress=False)
    log.info("The worker of %s has begun.", opened.id)
    try:
        opened.drain()
        while left := opened.lanes:
            while all(lane.paused for lane in left):
                opened.desk.wait(PULSE)
            opened.drain()
    except Exception as error:
        log.error("%s", clean_text("".join(traceback.format_exception(error))))
        said = clean_text(f"{type(error).__name__}: {error}")
        _tell(opened, f"The session was ended by an error: {said}")
        opened.close(SessionState.BROKEN)
        return FAILED
    except BaseException:
        _tell(opened, "The worker was ended from outside.")
        opened.desk.leave()
        raise
    opened.close()
    log.info("The worker of %s has ended.", opened.id)
    return DONE


def _tell(session: Session, message: str) -> None:
    _note(session, f"{message} Runs that are not done go on with: {again(session.id, session.store.path)}")


def _note(session: Session, message: str) -> None:
    session.desk.reporter(Event("", "note", 0, info={"message": message}))
