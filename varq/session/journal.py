"""One run's rows in the store: requests and replies as they are written and read back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import spec
from varq.keys import Key
from varq.protocol import Reply, Request
from varq.session.replay import CLOSE, ReplayError, difference
from varq.store.records import Row
from varq.store.store import Store

__all__ = ["Answer", "Journal", "recorded_start"]

STEP, START, FINAL = "step", "start", "final"


@dataclass(frozen=True)
class Answer:
    """A reply, whether it came from the journal, how far the recorded request was, and the seconds spent so far."""

    reply: Reply
    replayed: bool
    gap: float
    seconds: float


class Journal:
    """The recorded replies of one run, read once and added to.

    Args:
        store: where the rows are.
        run_id: whose rows.
        then: versions of packages when the run was created.
        now: those of this process, which rows record where they are others.
    """

    def __init__(self, store: Store, run_id: str, then: dict[str, str], now: dict[str, str]) -> None:
        self._store = store
        self._run_id = run_id
        self._then, self._now = then, now
        self._others = None if now == then else spec.canonical(now)
        self._rows: dict[tuple[int, str], Row] = {}

    def refresh(self, first: int) -> None:
        """Read the rows from step `first` on, which another process may have added."""
        for row in self._store.rows(self._run_id, first):
            self._rows[row.step, row.role] = row

    def has(self, step: int, role: str = STEP) -> bool:
        """Whether a reply is recorded."""
        return (step, role) in self._rows

    def recall(self, step: int, request: Request, role: str = STEP) -> Answer:
        """The recorded reply to `request`.

        Raises:
            ReplayError: if another request was recorded.
        """
        row = self._rows.pop((step, role)) if role == STEP else self._rows[step, role]
        reply = spec.loads(row.reply, self._store.array)
        text = spec.dumps(request)
        if _digest(text) == row.digest:
            return Answer(reply, True, 0.0, row.seconds)
        gap, why = difference(request, spec.loads(row.request, self._store.array))
        # A gap of zero with another digest is the sign of a zero or the payload of a NaN: rounding too.
        if not gap <= CLOSE:
            then = self._then if row.versions is None else json.loads(row.versions)
            raise ReplayError(step, gap, then, self._now, detail=why)
        return Answer(reply, True, max(gap, np.finfo(float).tiny), row.seconds)

    def begin(self, source: Any, start: NDArray[Any], where: str) -> None:
        """Record where the first step begins, if another run decides it: that run may have another result one day.

        Args:
            source: what the spec says of it.
            start: parameters.
            where: in words, where they are from.
        """
        if self.has(0) or self.has(0, START):
            return
        arrays: dict[str, NDArray[Any]] = {}
        asked, answered = spec.dumps(source, arrays), spec.dumps([start, where], arrays)
        row = Row(0, START, asked, _digest(asked), answered, "", None, None, 0.0, 0, self._others)
        self._store.append(self._run_id, row, arrays)
        self._rows[0, START] = row

    def write(self, step: int, request: Request, reply: Reply, key: Key, seconds: float, role: str = STEP) -> None:
        """Record a reply; when this returns it survives the death of the process."""
        arrays: dict[str, NDArray[Any]] = {}
        asked, answered = spec.dumps(request, arrays), spec.dumps(reply, arrays)
        row = Row(
            step=step,
            role=role,
            request=asked,
            digest=_digest(asked),
            reply=answered,
            key=key.hex,
            value=reply.value,
            stderr=reply.stderr,
            seconds=seconds,
            executions=reply.executions,
            versions=self._others,
        )
        self._store.append(self._run_id, row, arrays)
        if role == FINAL:
            self._rows[step, role] = row


def recorded_start(store: Store, run: str) -> tuple[NDArray[Any], str] | None:
    """The parameters where a run that another one gave them has begun, and in words where they are from."""
    for row in store.rows(run) if run else ():
        if row.role == START:
            start, where = spec.loads(row.reply, store.array)
            return start, where
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
