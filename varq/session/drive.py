"""Driving runs, one alone or several that share a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from varq.devices.faults import TransientError
from varq.protocol import Event, Prepared, Reason
from varq.session.budget import Account, BudgetError
from varq.session.dispatch import LATE, LateError
from varq.session.fleet import Sending
from varq.session.interrupt import REQUEUE, Interrupts
from varq.session.journal import FINAL
from varq.session.loop import Pending
from varq.session.run import Run
from varq.session.sending import RecalledError
from varq.session.shares import AnyTicket
from varq.session.tickets import Place

__all__ = ["Lane", "drive"]


@dataclass(eq=False)
class Lane:
    """A run on its way, and what it waits for.

    Args:
        run: which is driven.
        choose: gives the queue of its device; None where it answers by itself.
        account: what it may use up.
        priority: among runs of one session, higher first.
        deadline: seconds since 1970 after which nothing of it is sent or computed.
    """

    run: Run
    choose: Callable[[Run], Sending | None]
    account: Account
    priority: int = 0
    deadline: float | None = None
    dispatcher: Sending | None = field(default=None, init=False)
    pending: Pending | None = field(default=None, init=False)
    prepared: Prepared | None = field(default=None, init=False)
    ticket: AnyTicket | None = field(default=None, init=False)
    last: Event | None = field(default=None, init=False)
    began: float = field(default=0.0, init=False)
    first: int = field(default=0, init=False)
    sharing: int = field(default=1, init=False)  # runs among which the budget's reserve is shared out
    over: bool = field(default=False, init=False)
    paused: bool = field(default=False, init=False)
    until: int | None = field(default=None, init=False)  # steps after which it pauses
    held: ExitStack = field(default_factory=ExitStack, init=False)
    error: BaseException | None = field(default=None, init=False)


def drive(
    lanes: Sequence[Lane],
    most: int | None = None,
    stop_all: bool = True,
    attend: Callable[[], None] = lambda: None,
) -> bool:
    """Have the requests of runs answered, until each has ended or done `most` steps.

    Args:
        lanes: the runs.  Requests that wait at the same time travel together.
        most: steps of each; None for all.
        stop_all: whether an error of one run ends the call at once for all (failure policy "abort"), or is kept in
            its lane while the others go on ("continue").
        attend: called before each request: what other processes ask of the session is done there.

    Returns:
        Whether no Ctrl-C came.

    Raises:
        RuntimeError: if another call drives one of them already.
        Exception: what a run raised, with `stop_all`.
        SystemExit: after SIGTERM, with the status on which a batch script requeues.
    """
    interrupts = Interrupts()
    going = [lane for lane in lanes if not lane.run.settled]
    for lane in going:
        lane.run.check_idle()  # before anything is touched that belongs to the call which drives it
    with interrupts.watched():
        try:
            for lane in going:
                lane.pending = lane.prepared = lane.ticket = lane.error = None  # an earlier call may have ended badly
                # Of all runs, ended or not: after a restart each has the part that it had before.
                lane.over, lane.sharing = False, len(lanes)
                lane.held.enter_context(lane.run.driven(interrupts))
                lane.first, lane.dispatcher = lane.run.steps, lane.choose(lane.run)
            while left := [lane for lane in going if not lane.over]:
                if not _turn(left, most, stop_all, attend):
                    break  # all that is left is paused
        finally:
            for lane in going:
                if not lane.over:
                    _abandon(lane)
    if interrupts.terminated:
        raise SystemExit(REQUEUE)
    return interrupts.count == 0


def _turn(lanes: Sequence[Lane], most: int | None, stop_all: bool, attend: Callable[[], None]) -> bool:
    """Let the runs that are first ask, have jobs run, let them hear what came back; whether anything was to be done."""
    attend()
    going = sorted((lane for lane in lanes if not lane.paused), key=lambda lane: -lane.priority)
    first = _first(going)
    ask = partial(_ask, most=most, sharing=len(lanes), attend=attend)
    return _round(first, stop_all, ask) or (len(first) < len(going) and _round(going, stop_all, ask))


def _first(lanes: Sequence[Lane]) -> list[Lane]:
    """The runs of the highest priority, what may travel in their jobs, and what has only to end."""
    top = [lane for lane in lanes if lane.priority == lanes[0].priority]
    queues = {id(lane.dispatcher) for lane in top if lane.dispatcher is not None}
    return [
        lane for lane in lanes if lane in top or id(lane.dispatcher) in queues or lane.run.stopping() or _late(lane)
    ]


def _round(lanes: Sequence[Lane], stop_all: bool, ask: Callable[[Lane], None]) -> bool:
    """Have runs go on as far as one submission brings them; whether there was anything to do."""
    for lane in lanes:
        _guarded(lane, stop_all, partial(ask, lane))
    waiting = [lane for lane in lanes if lane.ticket is not None]
    busy = len(waiting) < len(lanes)
    for dispatcher in {id(lane.dispatcher): lane.dispatcher for lane in waiting}.values():
        assert dispatcher is not None
        busy = dispatcher.turn() or busy
    for lane in waiting:
        if lane.ticket is not None and lane.ticket.finished:
            busy = True
            _guarded(lane, stop_all, partial(_hear, lane))
    return busy


def _guarded(lane: Lane, stop_all: bool, act: Callable[[], None]) -> None:
    """Do something for a lane; its error ends the lane, and the whole call if so wanted."""
    try:
        act()
    except BaseException as error:
        lane.over, lane.error = True, error
        if lane.dispatcher is not None:
            lane.dispatcher.drop(lane.run.id)
        lane.held.__exit__(type(error), error, error.__traceback__)
        if stop_all or not isinstance(error, Exception):
            raise


def _abandon(lane: Lane) -> None:
    """Leave a run in the middle of what it waits for: it asks again when it is carried on."""
    lane.over = True
    if lane.dispatcher is not None:
        lane.dispatcher.drop(lane.run.id)
    lane.pending = lane.prepared = lane.ticket = None
    lane.run.loop.distrust()
    lane.held.close()


def _leave(lane: Lane) -> None:
    lane.over = True
    lane.held.close()


def _ask(lane: Lane, most: int | None, sharing: int, attend: Callable[[], None]) -> None:
    """Bring a run to where it waits for circuits; one that answers by itself goes on by one step, alone by all."""
    if lane.ticket is not None and not lane.ticket.finished and lane.run.stopping():
        assert lane.dispatcher is not None
        lane.dispatcher.drop(lane.run.id)
        lane.ticket = lane.prepared = None
        _note(lane, lane.run.loop.end(Reason.STOPPED))
    while lane.ticket is None and not lane.over and not lane.paused:
        if lane.pending is None:
            if lane.run.done or (most is not None and lane.run.steps - lane.first >= most):
                _leave(lane)
                return
            _note(lane, lane.run.loop.proceed())
        elif lane.dispatcher is not None:
            _send(lane, lane.dispatcher)
        else:
            _answer(lane)
            if sharing > 1:
                return
            attend()


def _note(lane: Lane, found: Pending | Event | None) -> None:
    """What the loop said: something to evaluate, or an event."""
    lane.pending = found if isinstance(found, Pending) else None
    if isinstance(found, Event):
        lane.last = found


def _answer(lane: Lane) -> None:
    """Have the plan answer by itself, within the budget."""
    pending, loop = lane.pending, lane.run.loop
    assert pending is not None
    if _late(lane):
        _refuse(lane, pending, LATE, Reason.STOPPED)
        return
    refused = lane.account.refuses(lane.account.next_of(lane.run.id), last=pending.role == FINAL)
    if refused is not None:
        _refuse(lane, pending, refused)
        return
    loop.point("before execute", pending.step)
    began = time.perf_counter()
    reply = loop.plan.evaluate(pending.request, pending.key)
    loop.point("after execute", pending.step)
    seconds = time.perf_counter() - began
    lane.account.evaluated(lane.run.id, reply.executions, seconds)
    _note(lane, loop.hear(pending, reply, seconds))


def _send(lane: Lane, dispatcher: Sending) -> None:
    """Put the circuits of what a run waits for in the queue, within the budget."""
    pending, loop = lane.pending, lane.run.loop
    assert pending is not None
    assert loop.plan.prepare is not None
    began = time.perf_counter()
    final = pending.role == FINAL
    place = (lane.run.id, pending.step, pending.role)
    prepared = loop.plan.prepare(pending.request, pending.key, 1.0)
    precision = _precision(lane, dispatcher, place, prepared) if final else 1.0
    if precision != 1.0:
        prepared = loop.plan.prepare(pending.request, pending.key, precision)
    lane.began = began
    loop.point("before execute", pending.step)
    options: dict[str, Any] = {"priority": lane.priority, "deadline": lane.deadline, "last": final}
    try:
        ticket = dispatcher.add(place, prepared.circuits, precision=precision, **options)
    except RecalledError:
        _forsaken(lane, pending)
        return
    if isinstance(ticket, str):
        _refuse(lane, pending, ticket)
        return
    ticket.prepared = time.perf_counter() - began
    lane.prepared, lane.ticket = prepared, ticket


def _precision(lane: Lane, dispatcher: Sending, place: Place, prepared: Prepared) -> float:
    """By how much the shots of a last estimate are multiplied: as before if it was sent already."""
    sent = dispatcher.precision(place)
    if sent is not None or not lane.account.budget.limited:
        return 1.0 if sent is None else sent
    return lane.account.precision(dispatcher.estimate(prepared.circuits), lane.sharing)


def _refuse(lane: Lane, pending: Pending, why: str, reason: Reason = Reason.BUDGET) -> None:
    """End a run whose request the budget or its deadline does not allow; without the last estimate where it is that."""
    loop = lane.run.loop
    _note(lane, loop.forgo() if pending.role == FINAL else loop.end(reason, why))


def _late(lane: Lane) -> bool:
    return lane.deadline is not None and time.time() > lane.deadline


def _forsaken(lane: Lane, pending: Pending) -> None:
    """End a run whose circuits were not sent, or called back, as it or its time was over."""
    if _late(lane):
        _refuse(lane, pending, LATE, Reason.STOPPED)
    else:
        _note(lane, lane.run.loop.end(Reason.STOPPED))


def _hear(lane: Lane) -> None:
    """Decode what came back, and tell the run."""
    ticket, prepared, pending = lane.ticket, lane.prepared, lane.pending
    assert ticket is not None
    assert prepared is not None
    assert pending is not None
    lane.ticket = lane.prepared = None
    if isinstance(ticket.error, BudgetError):
        _refuse(lane, pending, str(ticket.error))
        return
    unheard = isinstance(ticket.error, TransientError) and (_late(lane) or lane.run.stopping())
    if unheard or isinstance(ticket.error, (LateError, RecalledError)):
        _forsaken(lane, pending)
        return
    reply = ticket.read(prepared)
    loop = lane.run.loop
    loop.point("after execute", pending.step)
    _note(lane, loop.hear(pending, reply, time.perf_counter() - lane.began))
