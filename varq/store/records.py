"""What a store holds, as values: runs, rows of the journal, and what its caretakers report."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from varq import checks
from varq.spec import canonical

__all__ = ["ROLES", "STARTED_FROM", "Finding", "GcReport", "MergeReport", "Row", "RunRecord", "brief_seal", "seal"]

ROLES = ("step", "start", "final")
"""A step of the method; where the first one began, if another run decided it; the one request after the last step."""

STARTED_FROM = "started_from"
"""The detail of a result that says where its run started, if another run decided it."""


@dataclass(frozen=True)
class RunRecord:
    """One run: what was asked, and what came out so far.

    Args:
        id: the run's id.
        identity: SHA-256 of what makes its identity.
        findable: whether the same spec again is the same run.
        spec: canonical JSON of the resolved spec.
        algorithm: its kind, such as "algorithm:vqe".
        title: what is run, in a few words.
        device: the device it was started on.
        created: when, in seconds since 1970 (UTC).
        host: the machine it was started on.
        versions: package versions by name, as it was started.
        reason: why it ended; None while it is unfinished.
        result: canonical JSON of the result; None while it is unfinished.
        steps: steps done: those of the result, or those journalled so far.
        value: the answer; None while it is unfinished.
        stderr: one standard error of `value`; None when it is exact.
        reference: the independent exact answer, None when it is not known.
        seconds: time spent evaluating, as journalled.
        rule: canonical JSON of the stop rule that it went by last, "null" for the method's own; None where that was not
            recorded.

    Raises:
        TypeError: for a field of the wrong type.
        ValueError: for an empty id.
    """

    id: str
    identity: str
    findable: bool
    spec: str
    algorithm: str
    title: str
    device: str
    created: float
    host: str
    versions: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    result: str | None = None
    steps: int = 0
    value: float | None = None
    stderr: float | None = None
    reference: float | None = None
    seconds: float = 0.0
    rule: str | None = None

    def __post_init__(self) -> None:
        checks.text("id", self.id)
        checks.instance("spec", self.spec, str, "Give the canonical JSON text: varq.spec.dumps(spec).")


@dataclass(frozen=True)
class Row:
    """One row of a run's journal: a request and its reply.

    Args:
        step: number of the step.
        role: "step"; "start" for where the first step began, if another run decided it; or "final" for the request
            after the last step.
        request: canonical JSON of the request.
        digest: SHA-256 of the request, arrays included.
        reply: canonical JSON of the reply.
        key: the request's device key, hexadecimal.
        value: the cost, if the reply has one.
        stderr: one standard error of `value`; None when it is exact.
        seconds: time spent evaluating up to here.
        executions: circuits run for this request.
        versions: canonical JSON of package versions where they differ from those of the run; None otherwise.

    Raises:
        TypeError: if `step` is no integer, or `request` or `reply` no text.
        ValueError: if `step` is negative or `role` unknown.

    Example:
        >>> Row(0, "step", "{}", "00", "{}", "00", -1.1, None, 0.01, 1).same_as(
        ...     Row(0, "step", "{}", "00", "{}", "00", -1.1, None, 0.02, 1))
        True
    """

    step: int
    role: str
    request: str
    digest: str
    reply: str
    key: str
    value: float | None
    stderr: float | None
    seconds: float
    executions: int
    versions: str | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            checks.choice("role", self.role, ROLES)
        checks.integer("step", self.step, minimum=0)
        checks.instance("request", self.request, str)
        checks.instance("reply", self.reply, str)

    @property
    def content(self) -> tuple[Any, ...]:
        """What two records of one step must agree on: all but the time it took and the versions it ran on."""
        return (self.step, self.role, self.request, self.digest, _timeless(self.reply), self.key, self.executions)

    def same_as(self, other: Row) -> bool:
        """Whether both record the same request with the same reply."""
        return self.content == other.content


def _timeless(reply: str) -> str:
    """A recorded reply without what clocks said."""
    return canonical(_stripped(json.loads(reply))) if '"timings":' in reply else reply


def _stripped(data: Any) -> Any:
    if isinstance(data, list):
        return [_stripped(entry) for entry in data]
    if isinstance(data, dict):
        clocked = data.get("kind") == "request:reply"
        return {name: _stripped(v) for name, v in data.items() if not (clocked and name == "timings")}
    return data


@dataclass(frozen=True)
class Finding:
    """One thing that `verify` found wrong.

    Args:
        file: the file it is in; None for a store in memory.
        run: the id of the run; None if it concerns the file.
        where: which row, such as "step 12".
        what: what is wrong.
    """

    file: str | None
    run: str | None
    where: str
    what: str


@dataclass(frozen=True)
class GcReport:
    """What `gc` removed: how many arrays, empty runs and old leases, temporary files, and bytes on disk."""

    arrays: int
    runs: int
    leases: int
    files: int
    bytes: int


@dataclass(frozen=True)
class MergeReport:
    """What `merge` did: files read; new runs, rows and arrays; rows that were there already; results taken; jobs that
    were new or had come further.
    """

    files: int
    runs: int
    rows: int
    arrays: int
    equal: int
    results: int
    jobs: int = 0


def seal(table: str, *parts: str | int | float | None) -> str:
    """SHA-256 of a row's parts, each written as kind, length, colon and text: "s3:abc" for a text, "v4:-1.5" else.

    The lengths keep neighboring parts apart; floats are written as Python does, which gives back every bit.

    Example:
        >>> seal("steps", 1, 0.5) == seal("steps", 1, 0.5), seal("steps", 1, 0.5) == seal("steps", 10.5)
        (True, False)
    """
    out = [table]
    for part in parts:
        text = part if type(part) is str else repr(part)
        out.append(f"{'s' if text is part else 'v'}{len(text)}:{text}")
    return hashlib.sha256("".join(out).encode()).hexdigest()


def brief_seal(table: str, *parts: str | int | float | None) -> str:
    """128 bits of the SHA-256 of a row's parts in Python's ASCII notation: for rows that are written in thousands.

    Only plain texts, integers, floats and None, whose notation is the same in every version of Python.

    Example:
        >>> brief_seal("notes", 1, "a") == brief_seal("notes", "1", "a"), len(brief_seal("notes"))
        (False, 32)
    """
    return hashlib.sha256(ascii((table, *parts)).encode()).hexdigest()[:32]


def to_sql(value: float | None) -> float | str | None:
    """A float for SQLite, which would turn NaN into NULL: it is kept as the text 'nan'."""
    if value is None:
        return None
    number = float(value) + 0.0  # SQLite keeps no negative zero; this sum has none
    return "nan" if math.isnan(number) else number


def from_sql(value: float | str | None) -> float | None:
    """The float that `to_sql` wrote."""
    return None if value is None else float(value)
