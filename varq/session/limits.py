"""The limits that a run was given last: they hold in whatever process goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from varq.session.reporting import RUN
from varq.store.job_records import SessionRecord, SessionState
from varq.store.sessions import Sessions
from varq.store.store import Store

__all__ = ["TERMS", "last_limited", "limits_of", "note_terms", "others_left", "settings_of"]

TERMS = "terms"  # kind of note: what a session was given when it was opened again
_AGAIN = ("budget", "on_error", "retry", "prices")  # what may be given anew


def settings_of(log: Sessions, record: SessionRecord) -> dict[str, Any]:
    """What a session was opened with, and what it was given since in place of that, as JSON data."""
    given: dict[str, Any] = json.loads(record.settings)
    for note in log.notes(record.id, kind=TERMS):
        given = {name: value for name, value in given.items() if name not in _AGAIN} | note.body
    return given


def note_terms(log: Sessions, session: str, terms: Mapping[str, Any]) -> None:
    """Note what a session is given now, if that is something else than before."""
    now = {name: terms[name] for name in _AGAIN if name in terms}
    before = settings_of(log, log.session(session))
    if now != {name: before[name] for name in _AGAIN if name in before}:
        log.note(session, TERMS, now)


def limits_of(settings: Mapping[str, Any]) -> dict[str, float]:
    """The limits of a session by name, without the part of them that is kept for last estimates."""
    return {name: most for name, most in settings.get("budget", {}).items() if name != "reserve"}


def last_limited(store: Store, run: str) -> SessionRecord | None:
    """The last session with a budget that a run took part in; None if there is none.

    Args:
        store: where they are.
        run: the run's id.
    """
    had = (record for record in store.jobs.noting(RUN, run) if limits_of(settings_of(store.jobs, record)))
    return next(had, None)


def others_left(store: Store, record: SessionRecord, run: str) -> bool:
    """Whether a session that was left has other runs that have not ended."""
    if record.state is not SessionState.OPEN:
        return False
    others = {note.body["run"] for note in store.jobs.notes(record.id, kind=RUN)} - {run}
    known = [store.get(other) for other in others]
    return any(other is not None and other.result is None for other in known)
