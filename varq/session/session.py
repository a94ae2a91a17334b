"""Sessions: where specs become runs, and runs are found again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pennylane.tape import QuantumScript

from varq import checks, names, spec
from varq.devices.catalog import usable
from varq.devices.prices import load_prices
from varq.protocol import Event, Observer, Result, Stop
from varq.session.batch import Batch
from varq.session.budget import Budget
from varq.session.desk import Desk
from varq.session.drive import Lane
from varq.session.forecast import Forecast
from varq.session.handing import hand_over
from varq.session.known import carried, create, finished, last_rule, next_repeat, state, warn_untracked, warn_versions
from varq.session.ledger import Ledger
from varq.session.limits import settings_of
from varq.session.opening import UNSET, Unset, called_with_events, check_stop, moment, settled_in, store_of
from varq.session.orders import named
from varq.session.planning import planned
from varq.session.retry import Retry
from varq.session.run import Run
from varq.session.terms import read_terms
from varq.session.viewing import together
from varq.store.job_records import SessionState
from varq.store.records import RunRecord
from varq.store.store import Store

__all__ = ["EXISTING", "Session"]

log = logging.getLogger("varq")

EXISTING = ("continue", "return", "error", "repeat")

# Specs with objects that cannot be written down, by run id: such a run resumes in the process that started it.
_HELD: dict[str, Any] = {}


Results: TypeAlias = list[Result]  # inside the class, `list` is a method


class Session:
    """A device, a number of shots and a store; specs become runs in it.

    Args:
        device: a name that `varq devices` lists or PennyLane knows, such as "ibm.fake_torino"; a `varq.device(...)` or
            `varq.spread(...)`; or a PennyLane device object. None for varq's default.
        shots: of each circuit; None for exact expectation values.
        budget: what all its runs together may use up; None for no limit.
        on_error: whether an error of one run ends `drain` ("abort"), or the other runs go on ("continue").
        retry: how calls of a device are tried again after errors that may pass.
        prices: a TOML file, or the same as a mapping: of devices that varq does not know, or knows by an old list.
        store: folder of the store; None keeps nothing; by default the folder "varq-runs" here, or memory with one
            warning if that cannot be written.
        progress: whether to show a live line for each run (on standard error).
        observers: called with every event of every run.

    Raises:
        ValueError: for shots below 1, or an unknown device.
        TypeError: for an argument of another type.

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
        budget: Budget | None = None,
        on_error: str = "abort",
        retry: Retry | None = None,
        prices: str | Path | Mapping[str, Any] | None = None,
        store: str | os.PathLike[str] | Store | Unset | None = UNSET,
        progress: bool = True,
        observers: Sequence[Observer] = (),
        _again: str | None = None,
    ) -> None:
        self.device = None if device is None else usable(device)
        self.shots = None if shots is None else checks.integer("shots", shots, minimum=1, hint="None is exact.")
        budget = (
            Budget() if budget is None else checks.instance("budget", budget, Budget, "Give varq.Budget(shots=...).")
        )
        retry = Retry() if retry is None else checks.instance("retry", retry, Retry)
        self._on_error = checks.choice("on_error", on_error, ("abort", "continue"))
        self.store, self._owns_store = store_of(store)
        self._observers = called_with_events(observers)
        own = None if prices is None else load_prices(prices)
        self._desk = Desk(
            self.store, self.device, self.shots, budget, retry, self._say, _again, prices=own, on_error=self._on_error
        )
        self._observers.insert(0, self._desk.reporter)
        self._started: dict[str, Lane] = {}
        self._progress = names.find("display", "progress")() if checks.boolean("progress", progress) else None
        if self._progress is not None:
            self._observers.append(self._progress)

    @classmethod
    def reopened(cls, session: str, store: Store, take_over: bool = False, **options: Any) -> Session:
        """A session of the store, owned by this process from now on.

        Args:
            session: its id, or a unique beginning of it.
            store: where it is.
            take_over: take it from an owner that no longer shows signs of life.
            options: `progress` and `observers`.

        Raises:
            LookupError: if there is no such session.
            OwnedError: if another process owns it.
            ValueError: if it was opened on a device that cannot be written down.
        """
        record = store.jobs.session(session)
        terms = read_terms(settings_of(store.jobs, record))
        opened = cls(**terms, shots=record.shots, store=store, **options, _again=record.id)
        opened._desk.own(take_over)
        store.jobs.set_state(record.id, SessionState.OPEN)
        return opened

    @property
    def desk(self) -> Desk:
        """What its runs share."""
        return self._desk

    def __enter__(self) -> Session:
        self._desk.known = True
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self.close()
        except Exception as late:
            if error is None:
                raise
            log.error("%s could not be closed: %s", self.id, late)  # what ended the block is the error to see

    def close(self, state: SessionState = SessionState.CLOSED) -> None:
        """End the live display and the session, and close the store if this session opened it."""
        with ExitStack() as last:  # from its end; whatever goes wrong with one, the others are done
            if self._owns_store:
                last.callback(self.store.close)
                last.callback(self._desk.keep_ledger)
            last.callback(self._desk.close, state)
            if self._progress is not None:
                last.callback(self._progress.close)

    # -- specs become runs --

    def start(
        self,
        task: Any,
        *,
        stop: Stop | None = None,
        existing: str = "continue",
        take_over: bool = False,
        priority: int = 0,
        deadline: float | None = None,
        verify: bool = False,
    ) -> Run:
        """The run of a spec, ready to be stepped: a new one, or the one that the store knows.

        Args:
            task: a spec such as `VQE(...)`.
            stop: the stop rule, in place of the spec's own; a finished run whose rule allows more goes on.
            existing: what to do if this very spec was run before: "continue" it (a finished one just gives its
                result), "return" what there is, raise an "error", or "repeat" it as a run of its own.
            take_over: take a run whose owner's heartbeat has gone stale.
            priority: among the runs that `drain` drives together; the higher goes first.
            deadline: seconds from now after which it stops: nothing of it is sent, or computed, before a later one.
            verify: check first, at a random point: the gradient by two methods, that the observable is Hermitian, and
                what the ansatz promises to conserve.

        Raises:
            VerificationError: if a check failed; says which, and what to do.
            ValueError: if the spec names another device or other shots than the session, is known and
                `existing="error"`, or is to be verified and has nothing that can be.
        """
        priority, until = checks.integer("priority", priority), moment(deadline)
        checks.boolean("verify", verify)
        run = self._begin(task, stop, existing, take_over)
        if verify and not run.settled:
            self._desk.verify(run)
        self.adopt(run, priority, until)
        return run

    def adopt(self, run: Run, priority: int = 0, deadline: float | None = None) -> Lane:
        """Have `drain` drive a run, until a deadline in seconds since 1970."""
        lane = self._started[run.id] = self._desk.lane(run, priority, deadline)
        return lane

    def detach(self, tasks: Sequence[Any] = ()) -> str:
        """Hand the session over to a process of its own, which goes on when this one ends.

        That process owns the session and drains its runs; `varq.attach(id)` watches it and gives it commands, from any
        process that sees the store. This object can start nothing more.

        Args:
            tasks: specs, which are started as `start(spec)` would, with the runs that were started and have not ended.

        Returns:
            The session's id.

        Raises:
            ValueError: if the store is in memory, or if the device or a spec holds objects of this process.
            RuntimeError: if batches wait.
            OSError: if no process can be started.
        """
        runs = [self.start(task) for task in tasks]
        runs += [lane.run for lane in self._started.values() if lane.run not in runs]
        for run in runs:
            run.note_rule()
        hand_over(self._desk, {run.title: spec.dumps(run.spec) for run in runs if not run.settled})
        return self.id

    def _begin(self, task: Any, stop: Stop | None, existing: str, take_over: bool) -> Run:
        self._desk.check_open()
        checks.choice("existing", existing, EXISTING)
        check_stop(stop)
        resolved = settled_in(task, self.device, self.shots)
        rule = stop if stop is not None else resolved.stop
        identity, findable = spec.identity(resolved)
        known = self.store.get(identity[:16]) if findable else None
        if known is not None and existing == "error":
            raise ValueError(
                f"This spec was run before, as {known.id} ({state(known)}). "
                "Use existing='continue', 'return' or 'repeat', or change the spec (for instance its seed)."
            )
        if known is not None and existing == "repeat":
            resolved, identity, findable = next_repeat(resolved, self.store)
        elif known is not None:
            return self._known(known, resolved, rule, frozen=existing == "return", take_over=take_over)
        return self._run(self._create(resolved, identity, findable, rule), resolved, rule, take_over)

    def drain(self) -> Results:
        """Finish all runs and batches of this session together: circuits that wait at the same time share jobs.

        Returns:
            The results, in the order in which the runs were started.

        Raises:
            Exception: what a run raised; with `on_error="continue"` the first error, after all others have ended.
        """
        lanes = list(self._started.values())
        self._desk.known = True
        self._desk.begin(lanes)
        with together(self._progress, self._desk, [lane.run for lane in lanes], self._desk.asked):
            self._desk.drain(lanes, stop_all=self._on_error == "abort")
        self._started = {name: lane for name, lane in self._started.items() if not lane.run.done}  # paused ones
        for lane in lanes:
            if lane.error is not None:
                raise lane.error
        return [lane.run.result for lane in lanes if lane.run.result is not None]

    def submit(
        self,
        circuits: Sequence[QuantumScript],
        *,
        priority: int = 0,
        deadline: float | None = None,
        seed: int = 0,
        name: str | None = None,
        take_over: bool = False,
    ) -> Batch:
        """Any circuits, in as few jobs as the device allows; equal ones are sent once.

        A batch is known by its circuits, shots, device, `seed` and `name`: the same again is the same batch, here or in
        another session of the store, and what was paid for is not sent again, whatever ended the first one.

        Args:
            circuits: tapes on wires 0, 1, ..., such as `qml.tape.make_qscript(function)(...)` gives.
            priority: in the session's queue, higher first.
            deadline: seconds from now after which nothing of it is sent any more.
            seed: of their random numbers, where the device takes a seed; another one makes it another batch.
            name: makes it another batch, to measure the same circuits anew.
            take_over: take it from a process whose heartbeat has gone stale.

        Returns:
            The batch; its `result()` is what `qml.execute` would give.

        Raises:
            TypeError: for something else than tapes.
            ValueError: for a tape without shots in a session without, or one that cannot be sampled.
            BudgetError: if the session's budget does not allow it.
            OwnedError: if another session has it, of a device that costs something.

        Example:
            >>> import pennylane as qml
            >>> tape = qml.tape.make_qscript(lambda: (qml.X(0), qml.expval(qml.Z(0))))()
            >>> with Session("varq.qubit", shots=100, store=None, progress=False) as session:
            ...     float(session.submit([tape]).result()[0])
            -1.0
        """
        priority, seed = checks.integer("priority", priority), checks.integer("seed", seed)
        name, until = None if name is None else checks.text("name", name), moment(deadline)
        return self._desk.submit(circuits, seed, name, priority=priority, deadline=until, take_over=take_over)

    def forecast(self, task: Any, *, stop: Stop | None = None) -> Forecast:
        """What a spec would use up here: circuits, jobs, shots, seconds, money.  Nothing is sent; no account is needed.

        Args:
            task: a spec such as `VQE(...)`.
            stop: the stop rule, in place of the spec's own.

        Raises:
            ValueError: if the spec names another device or other shots than the session.
        """
        check_stop(stop)
        resolved = settled_in(task, self.device, self.shots)
        plan = planned(resolved, self.store)
        rule = stop or resolved.stop or plan.stop
        return self._desk.forecast(resolved, plan, rule.steps)

    def cancel(self, run: Run | str) -> None:
        """End a run: what waits of it is not sent, and what its vendor has for nobody else is called back if it can be;
        an evaluation that is computed here is finished first.

        Args:
            run: the run, or its id.

        Raises:
            LookupError: if it was not started here, or `drain` has seen it end.
        """
        self._desk.order("cancel", named(self._started.values(), run))

    def pause(self, run: Run | str, paused: bool = True) -> None:
        """Hold back the circuits of a run, or let it go on with `paused=False`.

        Raises:
            LookupError: if it was not started here.
        """
        lane = named(self._started.values(), run)
        self._desk.order("pause" if checks.boolean("paused", paused) else "resume", lane)

    @property
    def lanes(self) -> Sequence[Lane]:
        """The runs that were started here and have not ended, as `drain` drives them."""
        return [lane for lane in self._started.values() if not lane.run.done]

    def settle(self, job: str, provider_id: str | None = None, lost: bool = False) -> str:
        """Say what became of a job of which its vendor cannot tell whether it received it.

        Args:
            job: its id, or a unique beginning of it, as `ledger` shows it.
            provider_id: the vendor's id of it, as the vendor's own pages show it.
            lost: that the vendor surely never received it: its circuits are sent anew when the run goes on.

        Returns:
            Its state now.

        Raises:
            ValueError: unless one of the two is given, or for a job whose state is known.
            LookupError: if there is no such job.
            DeviceError: if the vendor cannot be asked for `provider_id`, or that is a job of other circuits.
        """
        return self._desk.settle(checks.text("job", job), provider_id, checks.boolean("lost", lost)).value

    @property
    def id(self) -> str:
        """The session's id, under which its jobs are in the store."""
        return self._desk.id

    def ledger(self) -> Ledger:
        """Every job: whose it was, when, circuits, shots, seconds, cost, attempts, its vendor's id, and where the time
        went.  It can be asked for when the session is closed, too.
        """
        return self._desk.ledger()

    def run(
        self, task: Any, *, stop: Stop | None = None, existing: str = "continue", take_over: bool = False
    ) -> Result:
        """`start(...)` and finish: the result of a spec."""
        return self._begin(task, stop, existing, take_over).finish()

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
            stop: the stop rule, in place of the one that it went by last; totals, never increments.
            objects: objects that the store could not keep, by name.
            fork: go on as a new run from the last recorded step that the method still asks for.
            take_over: take a run whose owner's heartbeat has gone stale.

        Raises:
            LookupError: if there is no such run, or an object is not at hand.
        """
        check_stop(stop)
        record = self.store.find(run_id)
        resolved = _HELD.get(record.id)
        if resolved is None:
            resolved = spec.loads(record.spec, self.store.array, objects)
        rule = stop if stop is not None else last_rule(record, resolved)
        if fork:
            return self._fork(record, resolved, rule)
        return self._known(record, resolved, rule, take_over=take_over)

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

    def _create(self, resolved: Any, identity: str, findable: bool, rule: Stop | None) -> RunRecord:
        record = create(self.store, resolved, identity, findable, rule)
        if not findable:
            _HELD[record.id] = resolved
        return record

    def _run(self, record: RunRecord, resolved: Any, rule: Stop | None, take_over: bool) -> Run:
        plan = self._desk.reporter.measured(record.id, partial(planned, resolved, self.store, record.id))
        return Run(record, resolved, plan, self.store, rule, self._step, self._observers, take_over)

    def _step(self, run: Run, most: int | None) -> Any:
        """Drive one run alone, with the priority and the deadline that it was started with."""
        lane = self._started.get(run.id)
        terms = () if lane is None else (lane.priority, lane.deadline)
        with together(self._progress, self._desk, [run] if most is None else []):
            return self._desk.step(run, most, *terms)

    def _known(
        self, record: RunRecord, resolved: Any, rule: Stop | None, frozen: bool = False, take_over: bool = False
    ) -> Run:
        """A run that the store has: its result if it is finished under this rule, else ready to go on."""
        run = self._run(record, resolved, rule, take_over)
        warn_untracked(record, resolved)
        if record.result is None:
            if frozen:
                run.recall()
            return run
        result = spec.loads(record.result, self.store.array)
        if not frozen and not finished(result, lambda: rule or run.plan.stop):
            if result.reason.final:
                run.outdo(result)
            return run
        run.settle(result)
        warn_versions(record)
        self._note(record, f"{record.title}: run {record.id} is done already ({state(record)}); nothing was computed.")
        return run

    def _fork(self, record: RunRecord, resolved: Any, rule: Stop | None) -> Run:
        """A new run that starts with those recorded rows that its method still asks for."""
        forked, identity, findable = next_repeat(resolved, self.store)
        old = self._run(record, resolved, rule, take_over=False)
        kept = old.agreed_steps()
        fresh = self._create(forked, identity, findable, rule)
        rows = self.store.rows(record.id)
        self.store.extend(fresh.id, carried(rows, kept, record.versions, fresh.versions))
        self._note(fresh, f"{record.title}: forked {record.id} at step {kept} as {fresh.id}.")
        return self._run(fresh, forked, rule, take_over=False)

    def _say(self, message: str) -> None:
        """Something that concerns no single run."""
        log.warning(message)
        for observer in self._observers:
            observer(Event(run_id="", kind="note", step=0, info={"message": message}))

    def _note(self, record: RunRecord, message: str) -> None:
        log.info(message)
        event = Event(run_id=record.id, kind="note", step=record.steps, info={"message": message})
        for observer in self._observers:
            observer(event)
