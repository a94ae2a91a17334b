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


@dataclass(frozen=True)
class Retry:
    """How calls of a device are tried again after an error that may pass.

    The wait doubles with every try, with a random part so that many clients do not come back at once ("full jitter":
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        attempts: tries in all.
        first: longest wait before the second try, in seconds.
        longest: longest wait between two tries, in seconds.

    Raises:
        ValueError: for a number out of range.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", checks.integer("attempts", self.attempts, minimum=1))
        object.__setattr__(self, "first", checks.real("first", self.first, minimum=0))
        object.__setattr__(self, "longest", checks.real("longest", self.longest, minimum=0))


def persistently(
    call: Callable[[], T],
    retry: Retry,
    reopen: Callable[[], Any],
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `call` returns, tried again after each `TransientError`.

    Args:
        call: may raise a `DeviceError`; nothing was done when it is a `TransientError`.
        retry: how often, and how long apart.
        reopen: opens the vendor's session again after an `ExpiredError`, before the next try.
        say: is told of each try that failed.
        sleep: waits so many seconds.

    Raises:
        DeviceError: the last one, when the tries are used up; any other kind at once.
    """

    def failed(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        say(f"{error} Try {state.attempt_number + 1} of {retry.attempts} follows.")

    def attempt() -> T:
        if expired:
            expired.clear()
            reopen()
        try:
            return call()
        except ExpiredError:
            expired.append(True)
            raise

    expired: list[bool] = []
    waits = tenacity.wait_random_exponential(multiplier=retry.first, max=retry.longest)
    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(retry.attempts),
        wait=waits,
        before_sleep=failed,
        sleep=sleep,
        reraise=True,
    )
    return again(attempt)
