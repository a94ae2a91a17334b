"""What a session is opened with, made sense of."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from typing import Any

from varq import checks, spec
from varq.protocol import Observer, Stop
from varq.store.faults import StoreUnwritable
from varq.store.store import Store, open_store

__all__ = [
    "DEFAULT_STORE",
    "UNSET",
    "Unset",
    "agreed",
    "called_with_events",
    "check_stop",
    "check_task",
    "moment",
    "settled_in",
    "store_of",
]

DEFAULT_STORE = "varq-runs"


class Unset:
    """No store was named: the default folder, or memory if that cannot be written."""


UNSET = Unset()


def store_of(store: Any) -> tuple[Store, bool]:
    """The store that was named, and whether it was opened for it."""
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


def called_with_events(observers: Any) -> list[Observer]:
    """The functions that every event is told to, as a list of its own."""
    hint = "Give a list of functions of an event: observers=[print]."
    found = list(checks.instance("observers", observers, Iterable, hint))
    for observer in found:
        if not callable(observer):
            raise TypeError(f"observers must be functions of an event. Got {observer!r}. {hint}")
    return found


def check_stop(stop: Any) -> None:
    """Raises unless `stop` is a stop rule or None."""
    if stop is not None:
        checks.instance("stop", stop, Stop, hint="Give varq.Stop(steps=...).")


def check_task(task: Any) -> None:
    """Raises unless `task` is a spec of what can be run."""
    if isinstance(task, type) or not hasattr(task, "resolve") or not hasattr(task, "plan"):
        raise TypeError(
            f"A session runs specs: VQE(...), QAOA(...), PhaseEstimation(...) or Minimize(...). Got {task!r}."
        )


def settled_in(task: Any, device: Any, shots: int | None) -> Any:
    """A spec with all of its choices made, in a session on a device and with shots of its own, or None.

    Raises:
        TypeError: for something else than a spec of what can be run.
        ValueError: if the spec names another device or other shots than the session.
    """
    check_task(task)
    return task.resolve(agreed("device", task.device, device), agreed("shots", task.shots, shots))


def moment(deadline: Any) -> float | None:
    """Seconds since 1970 of a deadline in seconds from now; None for none."""
    return None if deadline is None else time.time() + checks.real("deadline", deadline, minimum=0)


def agreed(name: str, asked: Any, session: Any) -> Any:
    """What a spec and its session say of one thing, each or both."""
    if asked is None:
        return session
    if session is None or spec.unwrap(asked) is session or asked == session:
        return asked
    if asked != getattr(session, "hashed_as", session):
        raise ValueError(
            f"{name} of the spec must be None or the session's. Got {asked!r} in a session with {session!r}. "
            f"Leave it out of the spec, or open a session with {name}={asked!r}."
        )
    return session  # the same by its name, with the way there
