"""The short way: one spec, one session of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from varq.protocol import Observer, Record, Result, Stop
from varq.session.continuing import continued
from varq.session.opening import UNSET, Unset
from varq.session.run import Run
from varq.session.session import Session
from varq.store.records import RunRecord
from varq.store.store import Store, open_store

__all__ = ["compare", "load", "resume", "run", "start"]

StoreLike = str | os.PathLike[str] | Store | None | Unset


def start(
    task: Any,
    *,
    stop: Stop | None = None,
    existing: str = "continue",
    store: StoreLike = UNSET,
    progress: bool = True,
    observers: Sequence[Observer] = (),
    take_over: bool = False,
) -> Run:
    """The run of a spec, ready to be stepped.

    Args:
        task: a spec such as `VQE(...)`.
        stop: the stop rule, in place of the spec's own; totals over the run's whole life. It is recorded: `resume` goes
            by it.
        existing: "continue", "return", "error" or "repeat" a spec that was run before.
        store: folder of the store; None keeps nothing.
        progress: whether to show a live line.
        observers: called with every event.
        take_over: take a run whose owner's heartbeat has gone stale.

    Example:
        >>> from varq.problems import Molecule
        >>> from varq.algorithms import VQE
        >>> run = start(VQE(problem=Molecule.load("H2")), store=None, progress=False)
        >>> run.step(2).step
        2
        >>> run.finish().reason.value
        'converged'
    """
    session = _own(store, progress, observers)
    return session.start(task, stop=stop, existing=existing, take_over=take_over)


def run(
    task: Any,
    *,
    stop: Stop | None = None,
    existing: str = "continue",
    store: StoreLike = UNSET,
    progress: bool = True,
    observers: Sequence[Observer] = (),
    take_over: bool = False,
) -> Result:
    """The result of a spec: `start(...).finish()`.  The same spec again gives the recorded result at once.

    Args:
        task: a spec such as `VQE(...)`.
        stop: the stop rule, in place of the spec's own; totals over the run's whole life. It is recorded: `resume` goes
            by it.
        existing: "continue", "return", "error" or "repeat" a spec that was run before.
        store: folder of the store; None keeps nothing.
        progress: whether to show a live line.
        observers: called with every event.
        take_over: take a run whose owner's heartbeat has gone stale.

    Example:
        >>> from varq.problems import Molecule
        >>> from varq.algorithms import VQE
        >>> result = run(VQE(problem=Molecule.load("H2")), store=None, progress=False)
        >>> bool(abs(result.deviation) < 1e-6)
        True
    """
    session = _own(store, progress, observers)
    return _finished(session, session.start(task, stop=stop, existing=existing, take_over=take_over))


def load(
    run_id: str,
    *,
    stop: Stop | None = None,
    objects: Mapping[str, Any] | None = None,
    fork: bool = False,
    take_over: bool = False,
    store: StoreLike = UNSET,
    progress: bool = True,
    observers: Sequence[Observer] = (),
) -> Run:
    """The run with this id (or a unique beginning of it), rebuilt from the store alone.

    One that was in a session with a budget goes on in that session: what was used up there counts.

    Args:
        run_id: the id.
        stop: the stop rule, in place of the one that it went by last; totals, never increments.
        objects: objects that the store could not keep, by name.
        fork: keep the recorded steps that the method still asks for, and go on from there as a new run.
        take_over: take a run whose owner's heartbeat has gone stale.
        store: folder of the store.
        progress: whether to show a live line.
        observers: called with every event.

    Raises:
        LookupError: if there is no such run, or an object is not at hand.
    """
    session = _own(store, progress, observers, run_id, take_over)
    return session.load(run_id, stop=stop, objects=objects, fork=fork, take_over=take_over)


def resume(
    run_id: str,
    *,
    stop: Stop | None = None,
    objects: Mapping[str, Any] | None = None,
    fork: bool = False,
    take_over: bool = False,
    store: StoreLike = UNSET,
    progress: bool = True,
    observers: Sequence[Observer] = (),
) -> Result:
    """Carry a run on to its end, in any process on any day: `load(...).finish()`.

    One that was in a session with a budget goes on in that session: what was used up there counts.

    Args:
        run_id: the id, or a unique beginning of it.
        stop: the stop rule, in place of the one that it went by last; totals, never increments.
        objects: objects that the store could not keep, by name.
        fork: keep the recorded steps that the method still asks for, and go on from there as a new run.
        take_over: take a run whose owner's heartbeat has gone stale.
        store: folder of the store.
        progress: whether to show a live line.
        observers: called with every event.

    Raises:
        LookupError: if there is no such run, or an object is not at hand.
        ReplayError: if the method now asks for something else than was recorded.
    """
    session = _own(store, progress, observers, run_id, take_over)
    return _finished(session, session.load(run_id, stop=stop, objects=objects, fork=fork, take_over=take_over))


def _own(
    store: StoreLike,
    progress: bool,
    observers: Sequence[Observer],
    run_id: str | None = None,
    take_over: bool = False,
) -> Session:
    """A session for one run, which nobody closes; that of a run which is there already, if it had a budget."""
    options: dict[str, Any] = {"store": store, "progress": progress, "observers": observers}
    session = Session(**options) if run_id is None else continued(run_id, take_over=take_over, **options)
    session.desk.alone = True
    return session


def _finished(session: Session, run: Run) -> Result:
    """The result of a run that nobody else holds.  Of results, hundreds are kept: none holds a store, or a plan."""
    result = run.finish()
    folder = session.store.path
    if run.steps:
        record = run.record()
        result.with_record(lambda: record)
    elif folder is not None:  # it has no trace yet: that is made from the store when somebody wants to see it
        result.with_record(partial(_recorded, folder, run.id))
    session.close()
    return result


def _recorded(folder: Path, run_id: str) -> Record:
    with open_store(folder, read_only=True) as store, Session(store=store, progress=False) as session:
        return session.load(run_id).record()


def compare(a: str, b: str, *, store: StoreLike = UNSET) -> dict[str, tuple[Any, Any]]:
    """What differs between two runs: the fields of their specs and the versions they ran on.

    Args:
        a: id of a run, or a unique beginning of it.
        b: id of another one.
        store: folder of the store.

    Returns:
        For each difference its place (such as "optimizer.arguments.learning_rate") and both values; None where one
        has no such field.
    """
    with Session(store=store, progress=False) as session:
        first, second = session.store.find(a), session.store.find(b)
    left, right = _flat(first), _flat(second)
    return {k: (left.get(k), right.get(k)) for k in sorted({*left, *right}) if left.get(k) != right.get(k)}


def _flat(record: RunRecord) -> dict[str, Any]:
    out = {f"versions.{package}": version for package, version in record.versions.items()}
    out["host"] = record.host

    def walk(data: Any, path: str) -> None:
        if isinstance(data, dict) and data.get("$") in (None, "spec"):
            for key, value in data.items():
                if key != "$":
                    walk(value, f"{path}.{key}" if path else key)
        else:
            out[path] = json.dumps(data) if isinstance(data, (dict, list)) else data

    walk(json.loads(record.spec), "")
    return out
