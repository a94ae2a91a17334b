"""What the store keeps of a study itself: its name and the list of its cells.  Their results are those of runs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from varq import checks, spec
from varq.protocol import Reason
from varq.store.job_records import STUDY, SessionRecord
from varq.store.records import RunRecord
from varq.store.store import Store
from varq.study.work import State

__all__ = ["StudyRecord", "is_recorded", "known", "named", "recorded", "shown", "state_of", "studies"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,57}")
_TIMELESS = 0.0  # a study is the same whenever it is made


@dataclass(frozen=True)
class StudyRecord:
    """A study as any process finds it.

    Args:
        name: of the study.
        digest: SHA-256 of the list of its cells' ids.
        names: of the fields that tell its cells apart.
        rows: their values in each cell.
        runs: the id of each cell's run.
        warm: the field along which cells start where the one before ended; None for none.
    """

    name: str
    digest: str
    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    runs: tuple[str, ...]
    warm: str | None = None


def named(name: Any) -> str:
    """`name` if a study can be called so.

    Raises:
        ValueError: for other characters, or too few or too many.
    """
    if not _NAME.fullmatch(checks.text("name", name)):
        raise ValueError(
            f"The name of a study has 2 to 58 letters, digits, dots, hyphens or underscores. Got {name!r}. "
            "Give name='lih-curve', for instance."
        )
    return str(name)


def is_recorded(store: Store, study: StudyRecord) -> bool:
    """Whether a study is in the store.

    Raises:
        ValueError: if the store has another one of that name.
    """
    there = known(store, study.name)
    if there is not None and there.digest != study.digest:
        raise ValueError(
            f"The name of a study stands for one list of cells. {study.name!r} has {len(there.runs)} cells in the "
            f"store, and another list of {len(study.runs)} came. Give another name=; runs that both have in common "
            "are found again and not repeated."
        )
    return there is not None


def recorded(store: Store, study: StudyRecord) -> None:
    """Put a study into the store, unless it is there.

    Raises:
        ValueError: if the store has another one of that name.
    """
    if is_recorded(store, study):
        return
    body = {
        "cells": study.digest,
        "fields": list(study.names),
        "rows": [[_shown(value) for value in row] for row in study.rows],
        "runs": list(study.runs),
        "warm": study.warm,
    }
    # Made on any machine the record is the same, so that stores with the same study can be merged.
    record = SessionRecord(STUDY + study.name, _TIMELESS, "study", "study", settings=spec.canonical({"study": body}))
    store.jobs.open(record)


def known(store: Store, name: str) -> StudyRecord | None:
    """The study of that name in a store; None if there is none."""
    wanted = STUDY + name
    try:
        found = store.jobs.session(wanted)
    except LookupError:
        return None
    if found.id != wanted:
        return None
    return _read(found)


def studies(store: Store) -> list[StudyRecord]:
    """All studies of a store, by name."""
    found = store.jobs.beginning(STUDY)
    # Calls of `finish` stand there, too, under the time at which they began.
    return sorted((_read(one) for one in found if one.created == _TIMELESS), key=lambda study: study.name)


def _read(found: SessionRecord) -> StudyRecord:
    body = json.loads(found.settings)["study"]
    rows = tuple(tuple(row) for row in body["rows"])
    name = found.id.removeprefix(STUDY)
    return StudyRecord(name, body["cells"], tuple(body["fields"]), rows, tuple(body["runs"]), body["warm"])


def _shown(value: Any) -> Any:
    """A value as tables show it: plain ones as they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    shape = getattr(value, "shape", None)
    if spec.is_spec(value):
        return str(getattr(value, "title", value.kind))
    digest = spec.digest(value)[:6]
    return f"array {tuple(shape)} {digest}" if shape is not None else f"{type(value).__name__} {digest}"


def shown(values: dict[str, Any]) -> tuple[Any, ...]:
    """A cell's values as tables show them."""
    return tuple(_shown(value) for value in values.values())


def state_of(record: RunRecord) -> State:
    """How a run stands."""
    if record.reason in (Reason.FAILED.value, Reason.NONFINITE.value):
        return State.FAILED
    return State.DONE if record.reason is not None and Reason(record.reason).final else State.UNFINISHED
