"""The one loop: ask, have it answered, write the answer down, tell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from varq import names, spec
from varq.keys import Key
from varq.protocol import (
    Event,
    Finished,
    Observer,
    Outcome,
    Plan,
    Progress,
    Reason,
    Reply,
    Request,
    Result,
    Stop,
)
from varq.session.journal import FINAL, STEP, Answer, Journal
from varq.session.trace import Trace, is_finite
from varq.store.records import STARTED_FROM, RunRecord
from varq.store.store import Store

__all__ = ["Loop", "Pending"]

_NO_MORE = (Reason.NONFINITE, Reason.STOPPED, Reason.FAILED)  # after these nothing more is evaluated

log = logging.getLogger("varq")
log.addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Pending:
    """What a run waits for.

    Args:
        step: of the run.
        role: "step", or "final" for the estimate after the last step.
        request: to be evaluated.
        key: its device key.
    """

    step: int
    role: str
    request: Request
    key: Key


class _Closing(NamedTuple):
    """Why a run is ending, while its last estimate is out."""

    reason: Reason
    message: str
    rule: Stop | None


class Loop:
    """One run's method, journal and trace.  It says what has to be evaluated, and is given the answer.

    Args:
        record: the run as the store knows it.
        resolved: the resolved spec.
        plan: the spec made runnable, built when first needed.
        store: where it is kept.
        stop: the stop rule; None for the plan's own.
        observers: called with every event.
        stopping: whether somebody wants the run to stop.
    """

    def __init__(
        self,
        record: RunRecord,
        resolved: Any,
        plan: Callable[[], Plan],
        store: Store,
        stop: Stop | None,
        observers: Sequence[Observer],
        stopping: Callable[[], bool],
    ) -> None:
        self.id = record.id
        self.trace = Trace()
        self.result: Result | None = None
        self.earlier: Result | None = None  # a recorded result, which stands until more steps are done
        self.point: Callable[[str, int], None] = _nowhere
        self._record = record
        self._make_plan = plan
        self._plan: Plan | None = None
        self._store = store
        self.rule = stop
        self._observers = observers
        self._stopping = stopping
        self._resolved = resolved
        self._closing: _Closing | None = None
        self._state: Any = None
        # A repeated or forked run asks as the first one did; its samples are drawn anew.
        self._method_key = Key.from_seed(resolved.seed).fold("method")
        self._key = Key.from_seed(resolved.seed).fold("device", resolved.repeat)
        self._journal = Journal(store, record.id, record.versions, names.versions())
        self._recorded_rule = record.rule
        self._gap = 0.0
        self._replayed = 0
        self._stale = False
        self._announced = False

    @property
    def steps(self) -> int:
        """Steps done so far."""
        return len(self.trace.rows)

    @property
    def plan(self) -> Plan:
        """The spec made runnable on its device."""
        if self._plan is None:
            self._plan = self._make_plan()
        return self._plan

    def take(self, plan: Plan) -> None:
        """Drive this plan in place of the spec's own."""
        self._plan = plan

    @property
    def planned(self) -> bool:
        """Whether the plan was made."""
        return self._plan is not None

    def distrust(self) -> None:
        """Trust nothing of the method and the trace any more: the next call replays them from the journal."""
        self._stale = True

    def open(self) -> None:
        """Be ready to ask: the method's first state, and the rows that are recorded already."""
        if self._stale:
            self._state, self.trace, self._stale, self._closing = None, Trace(), False, None
        self._journal.refresh(self.steps)
        self.note_rule()
        if self.plan.started_from and not self.steps:
            self._journal.begin(self._resolved.initial, self.plan.start, self.plan.started_from)
        if self._state is None:
            self._state = self.plan.method.init(self.plan.start, self._method_key)
        if not self._announced:
            self._announced = True
            self.emit("start")

    def note_rule(self) -> None:
        """Record the stop rule, so that whoever carries the run on goes by it."""
        rule = spec.dumps(self.rule)
        if rule != self._recorded_rule:
            self._store.go_by(self.id, rule)
            self._recorded_rule = rule

    def proceed(self) -> Pending | Event | None:
        """Go on to what has to be evaluated next; or what happened instead: a step from the journal, or the end."""
        step = self.steps
        # A recorded step costs nothing and was allowed when it was made: rules, and clocks above all, are not
        # measured again, and a stop waits until new steps would be made.
        if not self._journal.has(step):
            if self._stopping():
                return self.end(Reason.STOPPED)
            rule = self.rule or self.plan.stop
            reason = self.trace.rule(rule)
            if reason is not None:
                return self.end(reason, rule=rule)
        request = self.plan.method.ask(self._state)
        if isinstance(request, Finished):
            return self.end(request.reason, request.message)
        if not self._journal.has(step):
            return Pending(step, STEP, request, self._key.fold(step, STEP))
        answer = self._recalled(step, request)
        return self._heard(request, answer.reply, answer.seconds, replayed=True)

    def _recalled(self, step: int, request: Request) -> Answer:
        answer = self._journal.recall(step, request)
        self._gap = max(self._gap, answer.gap)
        self._replayed += 1
        return answer

    def hear(self, pending: Pending, reply: Reply, seconds: float) -> Pending | Event | None:
        """Write down the answer to what `proceed` gave, which took so long, then tell it to the method."""
        total = self.trace.seconds + seconds
        self._journal.write(pending.step, pending.request, reply, pending.key, total, pending.role)
        self.point("after journal", pending.step)
        if pending.role == FINAL:
            self.trace.seconds = total
            return self._close(pending.request, reply)
        return self._heard(pending.request, reply, total)

    def forgo(self) -> Event:
        """End without the last estimate, where not even that is left."""
        assert self._closing is not None
        return self._close(None, None)

    def _heard(self, request: Request, reply: Reply, seconds: float, replayed: bool = False) -> Event | Pending | None:
        if not is_finite(reply):
            step = self.steps
            self.trace.add(request, reply, {}, seconds)
            return self.end(Reason.NONFINITE, f"a value or gradient at step {step} is not finite")
        self._state, info = self.plan.method.tell(self._state, reply)
        row = self.trace.add(request, reply, info, seconds)
        return self.emit("step", row, replayed)

    def end(self, reason: Reason, message: str = "", rule: Stop | None = None) -> Pending | Event:
        """Conclude; first comes what the algorithm wants evaluated once more, if anything."""
        if self.earlier is not None and self.steps <= self.earlier.steps:
            self.result = self.earlier  # nothing was added: the recorded result stands
            return self.emit("end", reason=self.result.reason)
        self._closing = _Closing(reason, message, rule)
        request = None if reason in _NO_MORE else self.plan.final(self.trace.progress(self._state))
        step = self.steps
        if request is None:
            return self._close(None, None)
        if self._journal.has(step, FINAL):
            answer = self._journal.recall(step, request, FINAL)
            self._gap = max(self._gap, answer.gap)
            return self._close(request, answer.reply)
        return Pending(step, FINAL, request, self._key.fold(step, FINAL))

    def _close(self, request: Request | None, reply: Reply | None) -> Event:
        """Write the result down."""
        assert self._closing is not None
        (reason, message, rule), self._closing = self._closing, None
        if reply is not None:
            self.trace.executions += reply.executions
            if not is_finite(reply):
                reason, message, rule = Reason.NONFINITE, "the estimate after the last step is not finite", None
        progress = self.trace.progress(self._state, reply, getattr(request, "x", None))
        self.result = self._concluded(reason, message, progress, rule)
        self._keep(self.result)
        if reason.final and hasattr(self.plan.method, "close"):
            self.plan.method.close(self._state)
        event = self.emit("end", reason=reason)
        self.point("after end", self.steps)
        return event

    def _concluded(self, reason: Reason, message: str, progress: Progress, rule: Stop | None = None) -> Result:
        outcome, where = self.plan.conclude(progress), self.plan.started_from
        return Result(
            run_id=self.id,
            title=self.plan.title,
            value=outcome.value,
            stderr=outcome.stderr,
            reference=self.plan.reference(),
            reason=reason,
            parameters=outcome.parameters,
            steps=self.steps,
            executions=self.trace.executions,
            seconds=self.trace.seconds,
            unit=self.plan.unit,
            device=self._record.device,
            replay=None if not self._replayed else ("approximate" if self._gap else "exact"),
            replay_difference=self._gap,
            message=message,
            rule=rule,
            details={**outcome.details, STARTED_FROM: where} if where else outcome.details,
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

    def replay(self) -> None:
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
            answer = self._recalled(self.steps, request)
            if not is_finite(answer.reply):
                self.trace.add(request, answer.reply, {}, answer.seconds)
                break
            state, info = method.tell(state, answer.reply)
            self.trace.add(request, answer.reply, info, answer.seconds)
        self._state = state

    def emit(
        self, kind: str, row: Mapping[str, float] | None = None, replayed: bool = False, reason: Reason | None = None
    ) -> Event:
        """Tell the observers what happened."""
        values = dict(row or {})
        stderr = values.get("stderr") if self.result is None else self.result.stderr
        info = {"title": self._record.title, "unit": self.plan.unit, **self.trace.info}
        if kind == "start":
            info["reference"] = self.plan.reference()
        event = Event(
            run_id=self.id,
            kind=kind,
            step=self.steps,
            value=values.get("value") if row else self.value,
            stderr=None if stderr is None or stderr != stderr else stderr,
            info=info,
            tracked={k: values[k] for k in sorted(self.trace.tracked) if k in values},
            seconds=self.trace.seconds,
            replayed=replayed,
            reason=reason,
        )
        log.debug("run %s %s step %d value %s", self.id[:12], kind, event.step, event.value)
        for observer in self._observers:
            observer(event)
        return event

    @property
    def value(self) -> float | None:
        """The best value so far, or the result's once there is one."""
        if self.result is not None:
            return self.result.value
        return self.trace.best_value if self.trace.best_x is not None else None

    def so_far(self) -> Outcome | None:
        """What the algorithm would answer now; None before the first step, and once there is a result."""
        if self.result is not None or not self.steps:
            return None
        return self.plan.conclude(self.trace.progress(self._state))

    def recall(self) -> None:
        """Make a result of what is recorded so far, executing nothing."""
        self.replay()
        self.result = self._concluded(Reason.STOPPED, "", self.trace.progress(self._state))


def _nowhere(point: str, step: int) -> None:
    """Stands for no instrument: a run as such does nothing at the named points."""
