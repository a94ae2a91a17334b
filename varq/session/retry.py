"""Calls of a device that are tried again: which, how often, and after how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

from varq import checks
from varq.devices.faults import ExpiredError, TransientError

__all__ = ["Retry", "persistently"]

T = TypeVar("T")

_LEAST = 1.0  # seconds between two tries of a call that is tried for hours


@dataclass(frozen=True)
class Retry:
    """How calls of a device are tried again after an error that may pass.

    The wait doubles with every try, with a random part so that many clients do not come back at once ("full jitter":
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        attempts: tries in all.
        first: longest wait before the second try, in seconds.
        longest: longest wait between two tries, in seconds.
        patience: seconds for which it is tried nevertheless where giving up would lose what was paid for, or where the
            machine says that it is offline: to hear of a job that was sent, and to send one. The network may be gone
            for a while, and a job may wait for hours. 0 for the attempts alone.

    Raises:
        ValueError: for a number out of range.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    patience: float = 6 * 3600.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", checks.integer("attempts", self.attempts, minimum=1))
        object.__setattr__(self, "first", checks.real("first", self.first, minimum=0))
        object.__setattr__(self, "longest", checks.real("longest", self.longest, minimum=0))
        object.__setattr__(self, "patience", checks.real("patience", self.patience, minimum=0))


def persistently(
    call: Callable[[], T],
    retry: Retry,
    reopen: Callable[[], Any],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    patient: Callable[[BaseException], bool] = lambda error: False,
) -> T:
    """What `call` returns, tried again after each `TransientError`.

    Args:
        call: may raise a `DeviceError`; nothing was done when it is a `TransientError`.
        retry: how often, and how long apart.
        reopen: opens the vendor's session again after an `ExpiredError`, before the next try.
        say: is told of each try that failed.
        sleep: waits so many seconds.
        patient: whether, after an error, it is tried for longer than the attempts take.

    Raises:
        DeviceError: the last one, when the tries are used up; any other kind at once.
    """

    def failed(state: tenacity.RetryCallState) -> None:
        number = state.attempt_number
        if number < retry.attempts:
            say(f"{last(state)} Try {number + 1} of {retry.attempts} follows.")
        elif number == retry.attempts:
            say(f"{last(state)} It is tried again for up to {retry.patience / 3600:.3g} hours, until it works.")

    def last(state: tenacity.RetryCallState) -> BaseException:
        error = None if state.outcome is None else state.outcome.exception()
        assert error is not None
        return error

    def over(state: tenacity.RetryCallState) -> bool:
        if state.attempt_number < retry.attempts:
            return False
        waited = max(state.idle_for, state.seconds_since_start or 0.0)
        return waited >= retry.patience or not patient(last(state))

    def attempt() -> T:
        if failures:
            raise failures.pop()
        if expired:
            expired.clear()
            reopen()
        try:
            return call()
        except ExpiredError:
            expired.append(True)
            raise

    # Nearly all calls succeed at once, and tenacity takes longer than a simulated one.
    failures: list[TransientError] = []
    expired: list[bool] = []
    try:
        return call()
    except TransientError as error:
        failures.append(error)
        if isinstance(error, ExpiredError):
            expired.append(True)
    waits = tenacity.wait_random_exponential(multiplier=retry.first, max=retry.longest)
    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=over,
        wait=lambda state: waits(state) if state.attempt_number < retry.attempts else max(_LEAST, waits(state)),
        before_sleep=failed,
        sleep=sleep,
        reraise=True,
    )
    return again(attempt)
