"""A run: one spec on one device, as a person holds it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from varq import checks, names
from varq.devices.credentials import clean_text
from varq.protocol import Array, Event, Observer, Plan, Reason, Record, Result, Stop
from varq.session.interrupt import Interrupts, names_interrupt, wraps_interrupt
from varq.session.known import onward
from varq.session.loop import Loop
from varq.session.replay import ReplayError
from varq.store.faults import StoreError
from varq.store.records import RunRecord
from varq.store.store import Store

__all__ = ["Drive", "Run"]

Drive = Callable[["Run", int | None], Event | None]
"""What has a run's requests answered, for so many steps or to its end."""

log = logging.getLogger("varq")


class Run:
    """One run, interactive: step it, watch it, stop it, finish it.  Made by `varq.start`, `varq.load` or a session.

    Every reply is journalled before the method hears it, so the run can be carried on from the store at any moment,
    by this process or another one.

    Args:
        record: the run as the store knows it.
        resolved: the resolved spec.
        plan: the spec made runnable, built when first needed.
        store: where it is kept.
        stop: the stop rule; None for the plan's own.
        drive: has its requests answered.
        observers: called with every event.
        take_over: take a run whose owner's heartbeat has gone stale.
    """

    def __init__(
        self,
        record: RunRecord,
        resolved: Any,
        plan: Callable[[], Plan],
        store: Store,
        stop: Stop | None,
        drive: Drive,
        observers: Sequence[Observer] = (),
        take_over: bool = False,
    ) -> None:
        self.id = record.id
        self.spec = resolved
        self._record = record
        self._store = store
        self._drive = drive
        self._observers = list(observers)
        self._take_over = take_over
        self._wanted_stop = False
        self._frozen = False
        self._busy = False
        self._interrupts = Interrupts()
        self.spoken_for = False  # whether somebody else says how to go on with it
        self.loop = Loop(record, resolved, plan, store, stop, self._observers, self.stopping)

    # -- what a person does with a run --

    def step(self, n: int = 1) -> Event | None:
        """Do up to `n` more steps; returns the last step's event, or None if the run has ended.

        Raises:
            ValueError: if `n` is below 1.
        """
        checks.integer("n", n, minimum=1)
        return self._drive(self, n)

    def finish(self) -> Result:
        """Go on until the run ends; returns its result."""
        self._drive(self, None)
        assert self.result is not None
        return self.result

    def stop(self) -> None:
        """Ask the run to stop after the evaluation in flight; may be called by an observer or from another thread."""
        self._wanted_stop = True

    @property
    def result(self) -> Result | None:
        """The result, or None while the run goes on."""
        found = self.loop.result
        return None if found is None else found.with_record(self.record)

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.loop.result is not None

    @property
    def steps(self) -> int:
        """Steps done so far."""
        return self.loop.steps

    @property
    def value(self) -> float | None:
        """The best value so far, or the result's once there is one."""
        return self.loop.value

    @property
    def history(self) -> NDArray[Any]:
        """One row a step: step, value, best, stderr, seconds, executions, and what else the method showed."""
        return self.record().history

    @property
    def parameters(self) -> Array | None:
        """The best parameters so far, or the result's once there is one."""
        return self.loop.result.parameters if self.loop.result is not None else self.loop.trace.best_x

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every further event."""
        self._observers.append(observer)

    def record(self) -> Record:
        """What figures and tables are made from."""
        if not self.loop.trace.rows:
            self.loop.replay()
        plan = self.plan
        return Record(
            id=self.id,
            title=plan.title,
            algorithm=self._record.algorithm,
            unit=plan.unit,
            reference=plan.reference(),
            history=self.loop.trace.history(),
            points=self.loop.trace.parameters(),
            result=self.loop.result,
            problem=getattr(self.spec, "problem", None),
            outcome=self.loop.so_far(),
        )

    def plot(self, kind: str = "convergence", **options: Any) -> Any:
        """Draw the run: "convergence", "parameters", "distribution" (QAOA), "posterior" (phase estimation) or
        "histogram" (QPE, Shor).

        Returns:
            The matplotlib Axes.

        Raises:
            ValueError: for an unknown kind.
        """
        return names.find("plot", kind)(self.record(), **options)

    def watch(
        self,
        kind: str = "convergence",
        path: str | os.PathLike[str] | None = None,
        seconds: float = 1.0,
        **options: Any,
    ) -> Run:
        """Draw the run while it goes on, in this notebook cell or in a file.

        Args:
            kind: of the figure, as `plot` takes them; "posterior" shows what is known of a phase by now.
            path: of a PNG file that is replaced with each figure; None for the notebook.
            seconds: at least between two figures.
            options: of the figure.

        Returns:
            This run: `run.watch("posterior").finish()`.

        Raises:
            RuntimeError: without a path where no notebook is.
            ValueError: for an unknown kind, a path that does not end in .png, or a negative time.
        """
        self.observe(names.find("display", "figure")(self.record, kind, path, seconds, options))
        return self

    @property
    def plan(self) -> Plan:
        """The spec made runnable on its device."""
        return self.loop.plan

    def __repr__(self) -> str:
        state = self.loop.result.reason.value if self.loop.result else "open"
        value = "" if self.value is None else f", value {self.value:.8g}"
        steps = self.loop.result.steps if self.loop.result else self.steps
        return f"<varq run {self.id[:12]}: {self._record.title}, {state} after {checks.counted(steps, 'step')}{value}>"

    def _repr_html_(self) -> str:
        return str(names.find("display", "run")(self.record()))

    # -- what a session does with a run --

    def settle(self, result: Result) -> None:
        """Take the result that the store has: there is nothing to compute."""
        self.loop.result = result

    def outdo(self, result: Result) -> None:
        """Go on from a recorded result, which stands until more steps are done."""
        self.loop.earlier = result

    def recall(self) -> None:
        """Make a result of what is recorded so far, executing nothing, now or later."""
        self._frozen = True
        self.loop.recall()

    def agreed_steps(self) -> int:
        """How many recorded steps the method still asks for."""
        with contextlib.suppress(ReplayError):
            self.loop.replay()
        return self.steps

    def instrument(self, point: Callable[[str, int], None], plan: Plan) -> None:
        """Call `point` with a name and the step at each named point of the loop, and drive `plan`: for fault tests."""
        self.loop.point = point
        self.loop.take(plan)

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        return self._record.title

    @property
    def kept(self) -> bool:
        """Whether another process finds it."""
        return self._store.path is not None

    @property
    def rule(self) -> Stop | None:
        """The stop rule it was started with; None for the plan's own."""
        return self.loop.rule

    def note_rule(self) -> None:
        """Record the stop rule, unless nothing more is done with the run."""
        if not self.settled:
            self.loop.note_rule()

    def stopping(self) -> bool:
        """Whether somebody wants it to stop."""
        return self._wanted_stop or self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether a signal came while it was driven last."""
        return self._interrupts.count > 0

    @property
    def settled(self) -> bool:
        """Whether nothing more is done with it."""
        return self.loop.result is not None and (self._frozen or self.loop.result.reason.final)

    def check_idle(self) -> None:
        """RuntimeError if a call drives the run already."""
        if self._busy:
            raise RuntimeError(
                "A run is stepped by one caller at a time: this one is being stepped already, by another thread or by "
                "the call that this observer answers. Use run.stop() to end that call."
            )

    @contextlib.contextmanager
    def driven(self, interrupts: Interrupts) -> Iterator[Run]:
        """Own the run inside the block, ready to ask; whatever ends the block, the run can be carried on.

        Args:
            interrupts: the signals that came meanwhile, which the driver watches for all its runs.
        """
        self.check_idle()
        self._busy = True
        self._interrupts = interrupts
        try:
            with self._store.lease(self.id, take_over=self._take_over):
                self.loop.result = None
                self.loop.open()
                with self._honest():
                    yield self
        finally:
            self._busy = False
            self._wanted_stop = False
            if self.interrupted and not self.spoken_for:
                self._say_how_to_go_on()
        if not self.done:
            self.loop.emit("pause")

    @contextlib.contextmanager
    def _honest(self) -> Iterator[None]:
        """Note an error in the block as the run's end, and trust nothing that it may have left half done."""
        try:
            yield
        except BaseException as error:
            ended = self.done
            try:
                if isinstance(error, Exception):
                    self._fail(error)
            finally:  # observers are told of the end, and may raise as well
                # Where the method and the trace stand is not known: the next call replays them from the journal.
                self.loop.distrust()
                if not ended:
                    self.loop.result = None
            if not ended:
                self.loop.emit("pause")
            raise

    def _say_how_to_go_on(self) -> None:
        result = self.loop.result
        if result is None or not result.reason.final:  # it may have ended before it could be stopped
            after = checks.counted(self.steps, "step")
            print(f"Stopped after {after}. {onward(self._record, self._store.path)}", file=sys.stderr)

    def _fail(self, error: Exception) -> None:
        """Note an error as the run's end, unless the run had ended or the store itself is at fault."""
        if wraps_interrupt(error) or (self._interrupts.count > 1 and names_interrupt(error)):
            raise KeyboardInterrupt from error
        said = clean_text(f"{type(error).__name__}: {error}")  # what a device says may hold a password
        log.error("run %s failed at step %d: %s", self.id[:12], self.steps, said)
        if self.done or not self.loop.planned or isinstance(error, (StoreError, ReplayError)):
            return
        self.loop.end(Reason.FAILED, said)
