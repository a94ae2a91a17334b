"""Runs that go on under the limits that they were given, and with what was used up of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from varq import spec
from varq.session.budget import Budget
from varq.session.limits import last_limited, others_left, settings_of
from varq.session.opening import settled_in
from varq.session.session import Session
from varq.session.terms import read_terms
from varq.store.job_records import SessionState

__all__ = ["continued", "in_all"]


def continued(
    run_id: str, *, limits: Mapping[str, Any] | None = None, take_over: bool = False, **options: Any
) -> Session:
    """The session in which a run goes on: the last one with a budget that it took part in, or a new one.

    What was used up there counts, so that a budget holds over the run's whole life, whatever ended its processes.

    Args:
        run_id: the run's id, or a unique beginning of it.
        limits: of the budget by name, in place of those that it went by last.
        take_over: take the session from an owner that no longer shows signs of life.
        options: of `Session`; `prices` go before those that it went by last.

    Raises:
        LookupError: if there is no such run.
        ValueError: for a limit that is none.
    """
    given = {name: value for name, value in options.items() if name != "prices" or value is not None}
    session = Session(**given, budget=Budget(**limits) if limits else None)
    try:
        run = session.store.find(run_id).id
        found = last_limited(session.store, run)
        if found is None:
            return session
        settings = settings_of(session.store.jobs, found)
        left = others_left(session.store, found, run)
    except BaseException:
        session.close()
        raise
    # The device is the run's own, which its spec names: one that cannot be written down may be at hand here.
    terms = read_terms({k: v for k, v in settings.items() if k not in ("device", "object")})
    terms["budget"] = dataclasses.replace(terms["budget"], **(limits or {}))
    session.close()
    opened = Session(**(terms | given), _again=found.id)
    opened.desk.take_over = take_over
    opened.desk.rests = SessionState.OPEN if left else SessionState.CLOSED
    return opened


def in_all(session: Session, task: Any) -> str | None:
    """The id of the last session with a budget in which a spec was run, so that limits are those of all; None if none.

    Args:
        session: in which it is to be run, and of which nothing is in the store yet.
        task: the spec.

    Raises:
        ValueError: if the spec names another device or other shots than the session.
    """
    identity, findable = spec.identity(settled_in(task, session.device, session.shots))
    found = last_limited(session.store, identity[:16]) if findable and session.desk.budget.limited else None
    return None if found is None else found.id
