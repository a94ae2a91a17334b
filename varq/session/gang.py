"""Driving runs whose requests one call answers: a compiled function of several costs at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from varq.protocol import Event, Reason, Reply, Request
from varq.session.budget import Account
from varq.session.interrupt import REQUEUE, Interrupts
from varq.session.journal import FINAL
from varq.session.loop import Pending
from varq.session.run import Run

__all__ = ["drive_together"]

Answer = Callable[[Mapping[int, Request]], Mapping[int, Reply]]


@dataclass(eq=False)
class _Seat:
    """A run, and what it waits for."""

    run: Run
    held: ExitStack = field(default_factory=ExitStack)
    pending: Pending | None = None
    error: BaseException | None = None
    over: bool = False


def drive_together(runs: Mapping[int, Run], answer: Answer, account: Account) -> dict[int, BaseException]:
    """Go on with runs until each has ended; their requests are answered by one call a turn.

    Args:
        runs: by their seats.
        answer: gives the replies to the requests of seats.  Exact values only: it is given no keys.
        account: what they may use up together.

    Returns:
        The errors of those that failed, by seat; an error of one leaves the others alone.

    Raises:
        Exception: what `answer` raised.
        SystemExit: after SIGTERM, with the status on which a batch script requeues.
    """
    interrupts = Interrupts()
    seats = {number: _Seat(run) for number, run in runs.items() if not run.settled}
    with interrupts.watched():
        try:
            for seat in seats.values():
                _guarded(seat, lambda seat=seat: seat.held.enter_context(seat.run.driven(interrupts)))  # type: ignore[misc]
            while going := {n: seat for n, seat in seats.items() if not seat.over}:
                _turn(going, answer, account)
        finally:
            for seat in seats.values():
                if not seat.over:
                    seat.run.loop.distrust()
                    seat.held.close()
    if interrupts.terminated:
        raise SystemExit(REQUEUE)
    return {number: seat.error for number, seat in seats.items() if seat.error is not None}


def _turn(seats: Mapping[int, _Seat], answer: Answer, account: Account) -> None:
    for seat in seats.values():
        _guarded(seat, lambda seat=seat: _ask(seat))  # type: ignore[misc]
    asked = {n: seat.pending for n, seat in seats.items() if seat.pending is not None and _allowed(seat, account)}
    if not asked:
        return
    for number, pending in asked.items():
        seats[number].run.loop.point("before execute", pending.step)
    began = time.perf_counter()
    try:
        replies = answer({number: pending.request for number, pending in asked.items()})
    finally:
        for number in asked:
            account.release(account.next_of(seats[number].run.id))
    share = (time.perf_counter() - began) / len(asked)
    for number, pending in asked.items():
        account.evaluated(seats[number].run.id, replies[number].executions, share)
        _guarded(seats[number], lambda s=seats[number], p=pending, r=replies[number]: _hear(s, p, r, share))  # type: ignore[misc]


def _allowed(seat: _Seat, account: Account) -> bool:
    """Whether the budget has a place for what a run waits for, which is set aside then; if not, the run ends."""
    assert seat.pending is not None
    use, final = account.next_of(seat.run.id), seat.pending.role == FINAL
    refused = account.refuses(use, last=final)
    if refused is None:
        account.hold(use)
        return True
    loop = seat.run.loop
    _guarded(seat, lambda: _note(seat, loop.forgo() if final else loop.end(Reason.BUDGET, refused)))
    return False


def _ask(seat: _Seat) -> None:
    """Bring a run to where it waits for an answer, or to its end."""
    loop = seat.run.loop
    while seat.pending is None and not seat.run.done:
        _note(seat, loop.proceed())
    if seat.pending is None:
        seat.over = True
        seat.held.close()


def _hear(seat: _Seat, pending: Pending, reply: Reply, seconds: float) -> None:
    loop = seat.run.loop
    loop.point("after execute", pending.step)
    _note(seat, loop.hear(pending, reply, seconds))


def _note(seat: _Seat, found: Pending | Event | None) -> None:
    seat.pending = found if isinstance(found, Pending) else None


def _guarded(seat: _Seat, act: Callable[[], object]) -> None:
    """Do something for a run; its error ends the run alone."""
    try:
        act()
    except Exception as error:
        seat.over, seat.error, seat.pending = True, error, None
        try:
            seat.held.__exit__(type(error), error, error.__traceback__)
        except Exception as again:  # as the run tells it, which may be another error
            seat.error = again
