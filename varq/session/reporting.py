"""What happens in a session, noted in its store for everybody who watches it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from varq.protocol import Event, Plan, Reason
from varq.session.stopwatch import Span, Stopwatch
from varq.store.faults import StoreError
from varq.store.job_records import ENLISTED
from varq.store.jobs import Jobs

__all__ = ["EVENTS", "ORDERED", "PULSE", "RUN", "Reporter", "event_of", "number", "spans_of"]

log = logging.getLogger("varq")

PULSE = 0.25  # seconds after which at the latest an event is in the store, and a command is heard of
EVENTS = "events"  # this and the next two: kinds of notes
RUN = ENLISTED
ORDERED = "ordered"
_TOLD_ONCE = ("title", "unit", "reference")  # by the first event of a run, not by each step
_MOST_KEPT = 10_000  # events that wait for a store that cannot be written


class Reporter:
    """An observer that notes events, a few times a second at most, and with them where the time went.

    Nothing that goes wrong here stops a run.

    Args:
        log: the store's sessions.
        session: the session's id.
        standing: what waits and what was used up, as JSON data.
    """

    def __init__(self, log: Jobs, session: str, standing: Callable[[], Mapping[str, Any]]) -> None:
        self.on = False
        self._log = log
        self._session = session
        self._standing = standing
        self._kept: list[dict[str, Any]] = []
        self._lock = threading.Lock()  # of what is kept
        self._writing = threading.Lock()  # notes are written in order
        self._watches: dict[str, Stopwatch] = {}
        self._timer: threading.Timer | None = None
        self._written = -math.inf

    def plan(self, run_id: str, make: Callable[[], Plan]) -> Plan:
        """The plan of a run, measured."""
        return self._watches.setdefault(run_id, Stopwatch()).over(make())

    def measured(self, run_id: str, make: Callable[[], Plan]) -> Callable[[], Plan]:
        """What makes the plan of a run, measured."""
        return partial(self.plan, run_id, make)

    def __call__(self, event: Event) -> None:
        """Note an event; never raises."""
        watch = self._watches.get(event.run_id)
        spans = watch.taken() if watch is not None else []
        with self._lock:
            if self.on or event.kind == "start":  # a session is written when it has something to do: starts wait for it
                self._kept.append(_packed(event, [] if event.replayed else spans))
                del self._kept[:-_MOST_KEPT]
        if not self.on:
            return
        if event.kind == "end" or time.monotonic() - self._written >= PULSE:
            self.flush()
        else:
            self._later()

    def _later(self) -> None:
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(PULSE, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Write down what is kept."""
        if not self.on:
            return
        with self._writing:
            with self._lock:
                kept, self._kept = self._kept, []
                timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            self._written = time.monotonic()
            if not kept:
                return
            try:
                self._log.note(self._session, EVENTS, {"events": kept, "standing": self._standing()})
            except (StoreError, TypeError, RuntimeError) as error:
                log.warning("Events of %s could not be noted: %s", self._session, error)
                with self._lock:
                    self._kept = [*kept, *self._kept]

    def close(self) -> None:
        """Write down what is kept, and note nothing more."""
        self.flush()
        self.on = False


def number(value: Any) -> Any:
    """A number as JSON data: what is not finite in words."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    found = float(value)
    return found if math.isfinite(found) else repr(found)


def _read(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def _packed(event: Event, spans: list[Span]) -> dict[str, Any]:
    """An event as JSON data, without arrays and what is not known."""
    skipped = _TOLD_ONCE if event.kind == "step" else ()
    info = {k: number(v) for k, v in event.info.items() if k not in skipped and _is_plain(v)}
    out: dict[str, Any] = {
        "run": event.run_id,
        "kind": event.kind,
        "step": event.step,
        "at": time.time(),
        "value": number(event.value),
        "stderr": number(event.stderr),
        "info": info,
        "tracked": {k: number(v) for k, v in event.tracked.items()},
        "seconds": event.seconds,
        "replayed": event.replayed,
        "reason": None if event.reason is None else event.reason.value,
        "spans": [list(span) for span in spans],
    }
    return {name: value for name, value in out.items() if value not in (None, {}, [], False)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, str, int, float)) or (hasattr(value, "item") and not value.shape)


def event_of(entry: Mapping[str, Any], told: Mapping[str, Any]) -> Event:
    """The event that was noted.

    Args:
        entry: as it was noted.
        told: what the first event of its run told, once for all.
    """
    once = {name: told[name] for name in _TOLD_ONCE[:2] if name in told} if entry["kind"] == "step" else {}
    return Event(
        run_id=entry.get("run", ""),
        kind=entry["kind"],
        step=entry.get("step", 0),
        value=_read(entry.get("value")),
        stderr=_read(entry.get("stderr")),
        info={**once, **{k: _read(v) for k, v in entry.get("info", {}).items()}},
        tracked={k: _read(v) for k, v in entry.get("tracked", {}).items()},
        seconds=entry.get("seconds", 0.0),
        replayed=entry.get("replayed", False),
        reason=None if "reason" not in entry else Reason(entry["reason"]),
    )


def spans_of(entry: Mapping[str, Any]) -> list[Span]:
    """Where the time went before an event that was noted."""
    return [Span(*span) for span in entry.get("spans", ())]
