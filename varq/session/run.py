"""A run: one spec on one device, driven by the one loop."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from varq import checks, names, spec
from varq.keys import Key
from varq.protocol import (
    Array,
    Event,
    Finished,
    Observer,
    Plan,
    Progress,
    Reason,
    Record,
    Reply,
    Request,
    Result,
    Stop,
)
from varq.session.interrupt import REQUEUE, Interrupts, names_interrupt, wraps_interrupt
from varq.session.journal import FINAL, Journal
from varq.session.replay import ReplayError
from varq.session.trace import Trace, is_finite
from varq.store.faults import StoreError
from varq.store.records import RunRecord
from varq.store.store import Store

__all__ = ["Run"]

_NO_MORE = (Reason.NONFINITE, Reason.STOPPED, Reason.FAILED)  # after these nothing more is evaluated

log = logging.getLogger("varq")
log.addHandler(logging.NullHandler())


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
        observers: Sequence[Observer] = (),
        take_over: bool = False,
    ) -> None:
        self.id = record.id
        self.spec = resolved
        self._record = record
        self._make_plan = plan
        self._plan: Plan | None = None
        self._store = store
        self._stop = stop
        self._observers = list(observers)
        self._take_over = take_over
        self._trace = Trace()
        self._state: Any = None
        # A repeated or forked run asks as the first one did; its samples are drawn anew.
        self._method_key = Key.from_seed(resolved.seed).fold("method")
        self._key = Key.from_seed(resolved.seed).fold("device", resolved.repeat)
        self._earlier: Result | None = None
        self._journal = Journal(store, record.id, record.versions, names.versions())
        self._gap = 0.0
        self._replayed = 0
        self._wanted_stop = False
        self._frozen = False
        self._busy = False
        self._stale = False
        self._announced = False
        self._interrupts = Interrupts()
        self._result: Result | None = None
        self._point: Callable[[str, int], None] = _nowhere

    # -- what a person does with a run --

    def step(self, n: int = 1) -> Event | None:
        """Do up to `n` more steps; returns the last step's event, or None if the run has ended.

        Raises:
            ValueError: if `n` is below 1.
        """
        checks.integer("n", n, minimum=1)
        return self._advance(n)

    def finish(self) -> Result:
        """Go on until the run ends; returns its result."""
        self._advance(None)
        assert self._result is not None
        return self._result.with_record(self.record)

    def stop(self) -> None:
        """Ask the run to stop after the evaluation in flight; may be called by an observer or from another thread."""
        self._wanted_stop = True

    @property
    def result(self) -> Result | None:
        """The result, or None while the run goes on."""
        return self._result

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._result is not None

    @property
    def steps(self) -> int:
        """Steps done so far."""
        return len(self._trace.rows)

    @property
    def value(self) -> float | None:
        """The best value so far, or the result's once there is one."""
        if self._result is not None:
            return self._result.value
        return self._trace.best_value if self._trace.best_x is not None else None

    @property
    def history(self) -> NDArray[Any]:
        """One row a step: step, value, best, stderr, seconds, executions, and what else the method showed."""
        return self.record().history

    @property
    def parameters(self) -> Array | None:
        """The best parameters so far, or the result's once there is one."""
        return self._result.parameters if self._result is not None else self._trace.best_x

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every further event."""
        self._observers.append(observer)

    def record(self) -> Record:
        """What figures and tables are made from."""
        if not self._trace.rows:
            self._replay_all()
        plan = self.plan
        return Record(
            id=self.id,
            title=plan.title,
            algorithm=self._record.algorithm,
            unit=plan.unit,
            reference=plan.reference(),
            history=self._trace.history(),
            points=self._trace.parameters(),
            result=self._result,
            problem=getattr(self.spec, "problem", None),
        )

    def plot(self, kind: str = "convergence", **options: Any) -> Any:
        """Draw the run: "convergence", "parameters", "distribution" (QAOA) or "posterior" (phase estimation).

        Returns:
            The matplotlib Axes.

        Raises:
            ValueError: for an unknown kind.
        """
        return names.find("plot", kind)(self.record(), **options)

    @property
    def plan(self) -> Plan:
        """The spec made runnable on its device."""
        if self._plan is None:
            self._plan = self._make_plan()
        return self._plan

    def __repr__(self) -> str:
        state = self._result.reason.value if self._result else "open"
        value = "" if self.value is None else f", value {self.value:.8g}"
        steps = self._result.steps if self._result else self.steps
        return f"<varq run {self.id[:12]}: {self._record.title}, {state} after {steps} steps{value}>"

    def _repr_html_(self) -> str:
        return str(names.find("display", "run")(self.record()))

    # -- what a session does with a run --

    def settle(self, result: Result) -> None:
        """Take the result that the store has: there is nothing to compute."""
        self._result = result

    def outdo(self, result: Result) -> None:
        """Go on from a recorded result, which stands until more steps are done."""
        self._earlier = result

    def recall(self) -> None:
        """Make a result of what is recorded so far, executing nothing, now or later."""
        self._frozen = True
        self._replay_all()
        self._result = self._concluded(Reason.STOPPED, "", self._trace.progress(self._state))

    def agreed_steps(self) -> int:
        """How many recorded steps the method still asks for."""
        with contextlib.suppress(ReplayError):
            self._replay_all()
        return self.steps

    def instrument(self, point: Callable[[str, int], None], plan: Plan) -> None:
        """Call `point` with a name and the step at each named point of the loop, and drive `plan`: for fault tests."""
        self._point = point
        self._plan = plan

    # -- the one loop --

    def _advance(self, most: int | None) -> Event | None:
        """Ask, answer, journal, tell, until the run ends or `most` steps are done."""
        event: Event | None = None
        if self._result is not None and (self._frozen or self._result.reason.final):
            return event
        if self._busy:
            raise RuntimeError(
                "A run is stepped by one caller at a time: this one is being stepped already, by another thread or by "
                "the call that this observer answers. Use run.stop() to end that call."
            )
        self._busy = True
        self._interrupts = Interrupts()
        try:
            with self._store.lease(self.id, take_over=self._take_over), self._interrupts.watched():
                self._result = None
                self._open()
                event = self._drive(most)
        finally:
            self._busy = False
            self._wanted_stop = False
            if self._interrupts.count:
                self._say_how_to_go_on()
        if not self.done:
            self._emit("pause")
        if self._interrupts.terminated:
            raise SystemExit(REQUEUE)
        return event

    def _drive(self, most: int | None) -> Event | None:
        event: Event | None = None
        first = self.steps
        try:
            while most is None or self.steps - first < most:
                event = self._once() or event
                if self.done:
                    break
        except BaseException as error:
            ended = self.done
            if isinstance(error, Exception):
                self._fail(error)
            # Where the method and the trace stand is not known: the next call replays them from the journal.
            self._stale = True
            if not ended:
                self._result = None
                self._emit("pause")
            raise
        return event

    def _say_how_to_go_on(self) -> None:
        where = "" if self._store.path is None else f", store={str(self._store.path)!r}"
        print(f'Stopped after {self.steps} steps. Carry on with: varq.resume("{self.id}"{where})', file=sys.stderr)

    def _open(self) -> None:
        """Be ready to ask: the method's first state, and the rows that are recorded already."""
        if self._stale:
            self._state, self._trace, self._stale = None, Trace(), False
        self._journal.refresh(self.steps)
        if self._state is None:
            self._state = self.plan.method.init(self.plan.start, self._method_key)
        if not self._announced:
            self._announced = True
            self._emit("start")

    def _once(self) -> Event | None:
        """One step, or the end."""
        step = self.steps
        # A recorded step costs nothing and was allowed when it was made: rules, and clocks above all, are not
        # measured again, and a stop waits until new steps would be made.
        if not self._journal.has(step):
            if self._wanted_stop or self._interrupts.count:
                return self._end(Reason.STOPPED)
            rule = self._stop or self.plan.stop
            reason = self._trace.rule(rule)
            if reason is not None:
                return self._end(reason, rule=rule)
        request = self.plan.method.ask(self._state)
        if isinstance(request, Finished):
            return self._end(request.reason, request.message)
        reply, seconds, replayed = self._answer(step, request)
        if not is_finite(reply):
            self._trace.add(request, reply, {}, seconds)
            return self._end(Reason.NONFINITE, f"a value or gradient at step {step} is not finite")
        self._state, info = self._tell(reply)
        row = self._trace.add(request, reply, info, seconds)
        return self._emit("step", row, replayed)

    def _answer(self, step: int, request: Request) -> tuple[Reply, float, bool]:
        """The reply to a request: from the journal, or from the device and into the journal."""
        if self._journal.has(step):
            answer = self._journal.recall(step, request)
            self._gap = max(self._gap, answer.gap)
            self._replayed += 1
            return answer.reply, answer.seconds, True
        reply, seconds = self._execute(step, request, "step")
        return reply, seconds, False

    def _execute(self, step: int, request: Request, role: str) -> tuple[Reply, float]:
        key = self._key.fold(step, role)
        began = time.perf_counter()
        self._point("before execute", step)
        reply = self.plan.evaluate(request, key)
        self._point("after execute", step)
        seconds = self._trace.seconds + time.perf_counter() - began
        self._journal.write(step, request, reply, key, seconds, role)
        self._point("after journal", step)
        return reply, seconds

    def _tell(self, reply: Reply) -> tuple[Any, Mapping[str, Any]]:
        return self.plan.method.tell(self._state, reply)

    # -- the end of a run --

    def _end(self, reason: Reason, message: str = "", rule: Stop | None = None) -> Event:
        """Evaluate what the algorithm wants once more, conclude, and write the result down."""
        if self._earlier is not None and self.steps <= self._earlier.steps:
            self._result = self._earlier  # nothing was added: the recorded result stands
            return self._emit("end", reason=self._result.reason)
        progress = self._trace.progress(self._state)
        request = None if reason in _NO_MORE else self.plan.final(progress)
        if request is not None:
            step = self.steps
            if self._journal.has(step, FINAL):
                answer = self._journal.recall(step, request, FINAL)
                reply, self._gap = answer.reply, max(self._gap, answer.gap)
            else:
                reply, self._trace.seconds = self._execute(step, request, FINAL)
            self._trace.executions += reply.executions
            progress = self._trace.progress(self._state, reply, getattr(request, "x", None))
        self._result = self._concluded(reason, message, progress, rule)
        self._keep(self._result)
        if reason.final and hasattr(self.plan.method, "close"):
            self.plan.method.close(self._state)
        event = self._emit("end", reason=reason)
        self._point("after end", self.steps)
        return event

    def _concluded(self, reason: Reason, message: str, progress: Progress, rule: Stop | None = None) -> Result:
        outcome = self.plan.conclude(progress)
        return Result(
            run_id=self.id,
            title=self.plan.title,
            value=outcome.value,
            stderr=outcome.stderr,
            reference=self.plan.reference(),
            reason=reason,
            parameters=outcome.parameters,
            steps=self.steps,
            executions=self._trace.executions,
            seconds=self._trace.seconds,
            unit=self.plan.unit,
            device=self._record.device,
            replay=None if not self._replayed else ("approximate" if self._gap else "exact"),
            replay_difference=self._gap,
            message=message,
            rule=rule,
            details=outcome.details,
        )

    def _keep(self, result: Result) -> None:
        arrays: dict[str, NDArray[Any]] = {}
        self._store.conclude(
            self.id,
            reason=result.reason.value,
            result=spec.dumps(result, arrays),
            arrays=arrays,
            steps=result.steps,
            value=result.value,
            stderr=result.stderr,
            reference=result.reference,
            seconds=result.seconds,
        )

    def _fail(self, error: Exception) -> None:
        """Note an error as the run's end, unless the run had ended or the store itself is at fault."""
        if wraps_interrupt(error) or (self._interrupts.count > 1 and names_interrupt(error)):
            raise KeyboardInterrupt from error
        log.error("run %s failed at step %d: %s", self.id[:12], self.steps, error)
        if self.done or self._plan is None or isinstance(error, (StoreError, ReplayError, LookupError)):
            return
        self._end(Reason.FAILED, f"{type(error).__name__}: {error}")

    def _replay_all(self) -> None:
        """Fill the trace from the journal alone: as far as it goes, executing nothing and writing nothing."""
        self._journal.refresh(self.steps)
        if not self._journal.has(self.steps):
            return
        method, state = self.plan.method, self._state
        if state is None:
            state = method.init(self.plan.start, self._method_key)
        while self._journal.has(self.steps):
            request = method.ask(state)
            if isinstance(request, Finished):
                break
            reply, seconds, _ = self._answer(self.steps, request)
            if not is_finite(reply):
                self._trace.add(request, reply, {}, seconds)
                break
            state, info = method.tell(state, reply)
            self._trace.add(request, reply, info, seconds)
        self._state = state

    def _emit(
        self, kind: str, row: Mapping[str, float] | None = None, replayed: bool = False, reason: Reason | None = None
    ) -> Event:
        values = dict(row or {})
        stderr = values.get("stderr") if self._result is None else self._result.stderr
        info = {"title": self._record.title, "unit": self.plan.unit, **self._trace.info}
        if kind == "start":
            info["reference"] = self.plan.reference()
        event = Event(
            run_id=self.id,
            kind=kind,
            step=self.steps,
            value=values.get("value") if row else self.value,
            stderr=None if stderr is None or stderr != stderr else stderr,
            info=info,
            tracked={k: values[k] for k in sorted(self._trace.tracked) if k in values},
            seconds=self._trace.seconds,
            replayed=replayed,
            reason=reason,
        )
        log.debug("run %s %s step %d value %s", self.id[:12], kind, event.step, event.value)
        for observer in self._observers:
            observer(event)
        return event


def _nowhere(point: str, step: int) -> None:
    """Stands for no instrument: a run as such does nothing at the named points."""
