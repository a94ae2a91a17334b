"""Sessions: where specs become runs, and runs are found again."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from varq import checks, names, spec
from varq.devices.catalog import DEFAULT, known
from varq.node.nodes import Nodes
from varq.protocol import Event, Observer, Plan, Reason, Result, Stop
from varq.session.run import Run
from varq.store.faults import StoreUnwritable
from varq.store.records import RunRecord
from varq.store.store import Store, open_store

__all__ = ["DEFAULT_STORE", "UNSET", "Session", "Unset"]

log = logging.getLogger("varq")

DEFAULT_STORE = "varq-runs"
EXISTING = ("continue", "return", "error", "repeat")

# Specs with objects that cannot be written down, by run id: such a run resumes in the process that started it.
_HELD: dict[str, Any] = {}


class Unset:
    """No store was named: the default folder, or memory if that cannot be written."""


UNSET = Unset()


class Session:
    """A device, a number of shots and a store; specs become runs in it.

    Args:
        device: a PennyLane device name or object; None for varq's default.
        shots: of each circuit; None for exact expectation values.
        store: folder of the store; None keeps nothing; by default the folder "varq-runs" here, or memory with one
            warning if that cannot be written.
        progress: whether to show a live line for each run (on standard error).
        observers: called with every event of every run.

    Raises:
        ValueError: for shots below 1.

    Example:
        >>> from varq.problems import Molecule
        >>> from varq.algorithms import VQE
        >>> with Session(store=None, progress=False) as session:
        ...     result = session.run(VQE(problem=Molecule.load("H2")))
        >>> bool(abs(result.deviation) < 1e-6)
        True
    """

    def __init__(
        self,
        device: Any = None,
        *,
        shots: int | None = None,
        store: str | os.PathLike[str] | Store | Unset | None = UNSET,
        progress: bool = True,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.device = known(device) if isinstance(device, str) else device
        self.shots = None if shots is None else checks.integer("shots", shots, minimum=1, hint="None is exact.")
        self.store, self._owns_store = _open(store)
        self._observers = list(observers)
        self._progress = names.find("display", "progress")() if progress else None
        if self._progress is not None:
            self._observers.append(self._progress)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the live display and close the store, if this session opened it."""
        if self._progress is not None:
            self._progress.close()
        if self._owns_store:
            self.store.close()

    # -- specs become runs --

    def start(self, task: Any, *, stop: Stop | None = None, existing: str = "continue", take_over: bool = False) -> Run:
        """The run of a spec, ready to be stepped: a new one, or the one that the store knows.

        Args:
            task: a spec such as `VQE(...)`.
            stop: the stop rule, in place of the spec's own; a finished run whose rule allows more goes on.
            existing: what to do if this very spec was run before: "continue" it (a finished one just gives its
                result), "return" what there is, raise an "error", or "repeat" it as a run of its own.
            take_over: take a run whose owner's heartbeat has gone stale.

        Raises:
            ValueError: if the spec names another device or other shots than the session, or is known and
                `existing="error"`.
        """
        checks.choice("existing", existing, EXISTING)
        _check_stop(stop)
        resolved = self._resolve(task)
        rule = stop if stop is not None else resolved.stop
        identity, findable = spec.identity(resolved)
        known = self.store.get(identity[:16]) if findable else None
        if known is not None and existing == "error":
            raise ValueError(
                f"This spec was run before, as {known.id} ({_state(known)}). "
                "Use existing='continue', 'return' or 'repeat', or change the spec (for instance its seed)."
            )
        while known is not None and existing == "repeat":
            resolved = dataclasses.replace(resolved, repeat=resolved.repeat + 1)
            identity, findable = spec.identity(resolved)
            known = self.store.get(identity[:16])
        if known is not None:
            return self._known(known, resolved, rule, frozen=existing == "return", take_over=take_over)
        record = self._create(resolved, identity, findable)
        return self._run(record, resolved, rule, take_over)

    def run(
        self, task: Any, *, stop: Stop | None = None, existing: str = "continue", take_over: bool = False
    ) -> Result:
        """`start(...)` and finish: the result of a spec."""
        return self.start(task, stop=stop, existing=existing, take_over=take_over).finish()

    # -- runs are found again --

    def load(
        self,
        run_id: str,
        *,
        stop: Stop | None = None,
        objects: Mapping[str, Any] | None = None,
        fork: bool = False,
        take_over: bool = False,
    ) -> Run:
        """The run with this id (or unique beginning of one), rebuilt from the store.

        Args:
            run_id: the id.
            stop: the stop rule, in place of the recorded one; totals, never increments.
            objects: objects that the store could not keep, by name.
            fork: go on as a new run from the last recorded step that the method still asks for.
            take_over: take a run whose owner's heartbeat has gone stale.

        Raises:
            LookupError: if there is no such run, or an object is not at hand.
        """
        _check_stop(stop)
        record = self.store.find(run_id)
        resolved = _HELD.get(record.id)
        if resolved is None:
            resolved = spec.loads(record.spec, self.store.array, objects)
        if fork:
            return self._fork(record, resolved, stop)
        return self._known(record, resolved, stop if stop is not None else resolved.stop, take_over=take_over)

    def resume(
        self,
        run_id: str,
        *,
        stop: Stop | None = None,
        objects: Mapping[str, Any] | None = None,
        fork: bool = False,
        take_over: bool = False,
    ) -> Result:
        """`load(...)` and finish: recorded steps cost nothing, and the rest goes on as if nothing had happened."""
        return self.load(run_id, stop=stop, objects=objects, fork=fork, take_over=take_over).finish()

    def list(self, algorithm: str | None = None, limit: int | None = None) -> list[RunRecord]:
        """The runs in the store, newest first."""
        return self.store.list(algorithm, limit)

    # -- inside --

    def _resolve(self, task: Any) -> Any:
        if not hasattr(task, "resolve") or not hasattr(task, "plan"):
            raise TypeError(
                f"A session runs specs: VQE(...), QAOA(...), PhaseEstimation(...) or Minimize(...). Got {task!r}."
            )
        device = _agreed("device", task.device, self.device)
        shots = _agreed("shots", task.shots, self.shots)
        return task.resolve(DEFAULT if device is None else device, shots)

    def _create(self, resolved: Any, identity: str, findable: bool) -> RunRecord:
        arrays: dict[str, Any] = {}
        device = spec.unwrap(resolved.device)
        record = RunRecord(
            id=identity[:16],
            identity=identity,
            findable=findable,
            spec=spec.dumps(resolved, arrays),
            algorithm=resolved.kind,
            title=resolved.title,
            device=device if isinstance(device, str) else getattr(device, "name", "the function's own"),
            created=time.time(),
            host=platform.node(),
            versions=names.versions(),
        )
        self.store.create(record, arrays)
        if not findable:
            _HELD[record.id] = resolved
        return record

    def _run(self, record: RunRecord, resolved: Any, rule: Stop | None, take_over: bool) -> Run:
        return Run(record, resolved, partial(_plan, resolved), self.store, rule, self._observers, take_over)

    def _known(
        self, record: RunRecord, resolved: Any, rule: Stop | None, frozen: bool = False, take_over: bool = False
    ) -> Run:
        """A run that the store has: its result if it is finished under this rule, else ready to go on."""
        run = self._run(record, resolved, rule, take_over)
        _warn_untracked(record, resolved)
        if record.result is None:
            if frozen:
                run.recall()
            return run
        result = spec.loads(record.result, self.store.array)
        if not frozen and not _finished(result, lambda: rule or run.plan.stop):
            if result.reason.final:
                run.outdo(result)
            return run
        run.settle(result)
        _warn_versions(record)
        self._note(record, f"{record.title}: run {record.id} is done already ({_state(record)}); nothing was computed.")
        return run

    def _fork(self, record: RunRecord, resolved: Any, stop: Stop | None) -> Run:
        """A new run that starts with those recorded rows that its method still asks for."""
        repeat = resolved.repeat
        known: RunRecord | None = record
        while known is not None:
            repeat += 1
            forked = dataclasses.replace(resolved, repeat=repeat)
            identity, findable = spec.identity(forked)
            known = self.store.get(identity[:16]) if findable else None
        old = self._run(record, resolved, stop, take_over=False)
        kept = old.agreed_steps()
        fresh = self._create(forked, identity, findable)
        rows = [row for row in self.store.rows(record.id) if row.role == "step" and row.step < kept]
        self.store.extend(fresh.id, rows)
        self._note(fresh, f"{record.title}: forked {record.id} at step {kept} as {fresh.id}.")
        return self._run(fresh, forked, stop if stop is not None else resolved.stop, take_over=False)

    def _note(self, record: RunRecord, message: str) -> None:
        log.info(message)
        event = Event(run_id=record.id, kind="note", step=record.steps, info={"message": message})
        for observer in self._observers:
            observer(event)


def _plan(resolved: Any) -> Plan:
    device = spec.unwrap(resolved.device)
    plan: Plan = resolved.plan(Nodes(device, resolved.shots, resolved.precision))
    return plan


def _open(store: Any) -> tuple[Store, bool]:
    if isinstance(store, Store):
        return store, False
    if not isinstance(store, Unset):
        return open_store(store), True
    try:
        return open_store(DEFAULT_STORE), True
    except StoreUnwritable as error:
        warnings.warn(
            f"Runs are kept in memory only, and are gone when this process ends: {error} "
            "Name a folder that can be written, Session(store=...), or store=None to be silent.",
            stacklevel=4,
        )
        return open_store(None), True


def _check_stop(stop: Any) -> None:
    if stop is not None:
        checks.instance("stop", stop, Stop, hint="Give varq.Stop(steps=...).")


def _agreed(name: str, asked: Any, session: Any) -> Any:
    if asked is None:
        return session
    if session is not None and asked != session:
        raise ValueError(
            f"{name} of the spec must be None or the session's. Got {asked!r} in a session with {session!r}. "
            f"Leave it out of the spec, or open a session with {name}={asked!r}."
        )
    return asked


def _finished(result: Result, rule: Callable[[], Stop]) -> bool:
    """Whether a recorded result stands under this stop rule, or the rule lets the run go on."""
    ended = result.rule
    if ended is None or not result.reason.final:
        return result.reason.final
    asked = rule()
    if asked.steps is not None and result.steps >= asked.steps:
        return True
    if asked.seconds is not None and result.seconds >= asked.seconds:
        return True
    if result.reason in (Reason.STEPS, Reason.SECONDS):
        return False
    return (asked.tolerance, asked.patience) == (ended.tolerance, ended.patience)


def _warn_untracked(record: RunRecord, resolved: Any) -> None:
    recorded = json.loads(record.spec).get("track", {})
    missing = sorted(set(getattr(resolved, "track", {})) - set(recorded))
    if missing and record.steps:
        warnings.warn(
            f"Run {record.id} is recorded without {', '.join(missing)}: what was done before is not tracked. "
            "Use existing='repeat' to follow it from the start.",
            stacklevel=4,
        )


def _state(record: RunRecord) -> str:
    value = "" if record.value is None else f", value {record.value:.10g}"
    return f"{record.reason or 'unfinished'} after {record.steps} steps{value}"


def _warn_versions(record: RunRecord) -> None:
    now = names.versions()
    changed = [
        f"{package} {record.versions[package]} (now {now.get(package, 'absent')})"
        for package in ("varq", "pennylane", "jax")
        if package in record.versions and _minor(record.versions[package]) != _minor(now.get(package, ""))
    ]
    if changed:
        warnings.warn(
            f"Run {record.id} was computed with {', '.join(changed)}. Use existing='repeat' to compute it anew.",
            stacklevel=4,
        )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
