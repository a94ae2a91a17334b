"""Where the cells of a study ran: noted in its store by the process that had them run, and read from there."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from varq import spec
from varq.devices.credentials import clean_text
from varq.store.faults import StoreError
from varq.store.job_records import STUDY, SessionRecord, SessionState
from varq.store.records import RunRecord
from varq.store.store import Store
from varq.study.cells import Batch
from varq.study.needs import listed
from varq.study.record import StudyRecord, state_of
from varq.study.table import Table
from varq.study.work import Done, Order

__all__ = ["Placements", "ledger"]

log = logging.getLogger("varq")

_GIVEN, _CAME, _LOST = "given", "came", "lost"  # kinds of notes
_PULSE = 1.0  # seconds after which at the latest a note is in the store
_COLUMNS = ("executor", "worker", "host", "pid", "labels", "device", "began", "ended", "seconds", "versions", "note")


def _prefix(study: str) -> str:
    """Of the ids under which the calls of `Study.finish` stand in the store."""
    return f"{STUDY}placed.{hashlib.sha256(study.encode()).hexdigest()[:16]}."


class Placements:
    """Notes of one call of `Study.finish`.  What goes wrong with them stops no study.

    Args:
        store: where they go.
        study: the study's name.
        executor: what runs it, for people.
        facts: what else is to be kept, JSON data.
    """

    def __init__(self, store: Store, study: str, executor: str, facts: Mapping[str, Any]) -> None:
        self._store = store
        self._id = _prefix(study) + os.urandom(8).hex()
        told = {"study": study, "executor": clean_text(executor), **facts}
        self._record = SessionRecord(self._id, time.time(), platform.node(), "study", settings=spec.canonical(told))
        self._numbers: dict[int, int] = {}  # of orders that are out, by their identity here
        self._count = 0
        self._places: set[tuple[str, int]] = set()
        self._kept: list[tuple[str, Any]] = []
        self._opened = False
        self._written = time.monotonic()

    def given(self, order: Order, batch: Batch) -> None:
        """An order goes out."""
        number = self._numbers[id(order)] = self._count
        self._count += 1
        body = {"order": number, "cells": order.cells, "at": time.time()}
        if batch.labels:
            body["labels"] = [list(label) for label in batch.labels]
        if batch.priority:
            body["priority"] = batch.priority
        self._note(_GIVEN, body)

    def came(self, order: Order, done: Done, worker: str) -> None:
        """An order came back."""
        body: dict[str, Any] = {
            "order": self._numbers.pop(id(order)),
            "worker": worker,
            "host": done.host,
            "pid": done.pid,
            "ends": [[end.index, end.state.value, end.began, end.ended] for end in done.ends],
        }
        if (done.host, done.pid) not in self._places:
            self._places.add((done.host, done.pid))
            body["versions"] = dict(done.versions)
        self._note(_CAME, body)

    def lost(self, order: Order, why: str) -> None:
        """Nothing came back of an order."""
        self._note(_LOST, {"order": self._numbers.pop(id(order)), "why": why, "at": time.time()})

    def _note(self, kind: str, body: Any) -> None:
        self._kept.append((kind, body))
        if time.monotonic() - self._written >= _PULSE:
            self.flush()

    def flush(self) -> None:
        """Write down what is kept."""
        self._written = time.monotonic()
        if not self._kept:
            return
        try:
            if not self._opened:
                self._store.jobs.open(self._record)
                self._opened = True
            self._store.jobs.note_all(self._id, self._kept)
            self._kept = []
        except StoreError as error:
            log.warning("Where cells ran could not be noted: %s", error)

    def close(self) -> None:
        """Write down what is kept, and that nothing more comes."""
        self.flush()
        if self._opened:
            try:
                self._store.jobs.set_state(self._id, SessionState.CLOSED)
            except StoreError as error:
                log.warning("Where cells ran could not be noted: %s", error)


def ledger(store: Store, study: StudyRecord) -> Table:
    """Where each cell of a study ran, one row for each time that it was given to a worker, from what a store has.

    Columns: the fields of the cells; `run`; `state` in which it came back, "lost" where its worker was, "" where it is
    not known; `executor`, `worker`, `host`, `pid`, `labels` (the places that it took), `device` (on which its run is
    recorded), `began` and `ended` (UTC), `seconds`, `versions`, `note`, which says where labels and device differ.
    """
    rows: list[dict[str, Any]] = []
    for session in store.jobs.beginning(_prefix(study.name)):
        rows += _rows_of(store, session.id, json.loads(session.settings)["executor"])
    known = {row["cell"] for row in rows if row["host"]}
    records = {record.id: record for record in store.several(list(dict.fromkeys(study.runs)))}
    for row in rows:
        _placed(row, records.get(study.runs[row["cell"]]))
    rows += _unplaced(study, records, known)
    rows.sort(key=lambda row: (row["cell"], row["given"]))
    columns: dict[str, list[Any]] = {
        name: [study.rows[row["cell"]][k] for row in rows] for k, name in enumerate(study.names)
    }
    columns["run"] = [study.runs[row["cell"]] for row in rows]
    for name in ("state", *_COLUMNS):
        columns[name] = [row[name] for row in rows]
    return Table(columns, title=f"{study.name}: where it ran")


def _rows_of(store: Store, session: str, executor: str) -> list[dict[str, Any]]:
    """The rows of one call of `Study.finish`."""
    orders: dict[int, dict[str, Any]] = {}
    ends: dict[int, tuple[str, Any]] = {}
    versions: dict[tuple[str, int], str] = {}
    for note in store.jobs.notes(session):
        if note.kind == _GIVEN:
            orders[note.body["order"]] = note.body
        elif note.kind in (_CAME, _LOST):
            ends[note.body["order"]] = (note.kind, note.body)
            if "versions" in note.body:
                versions[note.body["host"], note.body["pid"]] = _said(note.body["versions"])
    rows = []
    for number, given in orders.items():
        kind, body = ends.get(number, ("", {}))
        found = {index: (state, began, ended) for index, state, began, ended in body.get("ends", ())}
        place = {"host": body.get("host", ""), "pid": body.get("pid")}
        for cell in given["cells"]:
            state, began, ended = found.get(cell, ("lost" if kind == _LOST else "", None, None))
            rows.append(
                {
                    "cell": cell,
                    "given": given["at"],
                    "state": state,
                    "executor": executor,
                    "worker": body.get("worker", ""),
                    **place,
                    "labels": listed(tuple(map(tuple, given["labels"]))) if "labels" in given else "",
                    "device": "",
                    "began": _moment(began),
                    "ended": _moment(ended),
                    "seconds": None if None in (began, ended) else ended - began,
                    "versions": versions.get((place["host"], place["pid"]), ""),
                    "note": body.get("why", ""),
                }
            )
    return rows


def _placed(row: dict[str, Any], record: RunRecord | None) -> None:
    """Say on which device a cell's run is recorded, and where its labels name another one: they are but places."""
    if record is None:
        return
    row["device"] = record.device
    named = re.findall(r"qpu:(\S+)", row["labels"])
    if away := [name for name in named if name not in re.split(r"[(), ]+", record.device)]:
        said = f"took the place of {' and '.join(away)}, and its device is {record.device}"
        row["note"] = f"{row['note']}; {said}" if row["note"] else said


def _unplaced(study: StudyRecord, records: Mapping[str, RunRecord], known: set[int]) -> list[dict[str, Any]]:
    """Rows of cells that ended under nobody's eyes: their client was killed, or they are of another study."""
    rows: list[dict[str, Any]] = []
    home = {study.runs[cell]: cell for cell in sorted(known, reverse=True)}
    for cell, run in enumerate(study.runs):
        record = records.get(run)
        if cell in known or record is None or record.reason is None:
            continue
        twin = home.setdefault(run, cell)
        mine = {
            "host": record.host,
            "began": _moment(record.created),
            "versions": _said(record.versions),
            "note": "by a process that did not come to tell of it",
        }
        rows.append(
            {
                **dict.fromkeys(_COLUMNS, ""),
                "cell": cell,
                "given": record.created,
                "state": state_of(record).value,
                "pid": None,
                "device": record.device,
                "began": None,
                "ended": None,
                "seconds": None,
                **(mine if twin == cell else {"note": f"the same run as that of cell {twin + 1}"}),
            }
        )
    return rows


def _moment(when: float | None) -> datetime | None:
    return None if not when else datetime.fromtimestamp(when, UTC)


def _said(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
