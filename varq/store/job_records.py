"""Sessions and jobs as values: who asked for what, what was sent, what came back, and what it cost."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from varq import checks
from varq.devices.credentials import clean, clean_text, refuse
from varq.spec import canonical

__all__ = [
    "ENLISTED",
    "NEXT",
    "STUDY",
    "JobRecord",
    "JobState",
    "LedgerRow",
    "Mark",
    "SessionRecord",
    "SessionState",
    "Spent",
    "amount",
    "count",
    "identifier",
    "json_text",
    "known",
    "new_job_id",
    "new_session_id",
    "plain",
    "used_up",
]

ENLISTED = "run"  # kind of the notes by which runs stand in a session
STUDY = "study-"  # begins the ids under which studies stand among the sessions: a study has no jobs of its own
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")  # what every vendor takes as a tag
Record = TypeVar("Record")
_LARGEST = 2**63 - 1  # of SQLite's integers


class SessionState(StrEnum):
    """How a session stands."""

    OPEN = "open"
    CLOSED = "closed"
    BROKEN = "broken"


class JobState(StrEnum):
    """How a job stands."""

    WRITTEN = "written"
    """In the journal; perhaps not sent yet."""
    SENT = "sent"
    """The vendor has it, under an id that is known."""
    UNCERTAIN = "uncertain"
    """It may have been sent: only a look at the vendor, or a person, settles that."""
    DONE = "done"
    """Its result is in the store."""
    FAILED = "failed"
    """It was sent, and no result will come."""
    CANCELLED = "cancelled"
    """It was sent, and called back."""
    UNSENT = "unsent"
    """The vendor surely never received it."""


NEXT = MappingProxyType(
    {
        JobState.WRITTEN: frozenset({JobState.SENT, JobState.UNCERTAIN, JobState.UNSENT, JobState.FAILED}),
        JobState.UNCERTAIN: frozenset({JobState.SENT, JobState.UNSENT, JobState.FAILED, JobState.CANCELLED}),
        JobState.SENT: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
        JobState.DONE: frozenset[JobState](),
        JobState.FAILED: frozenset[JobState](),
        JobState.CANCELLED: frozenset[JobState](),
        JobState.UNSENT: frozenset[JobState](),
    }
)
"""The states that may follow each state of a job.  What was not sent is sent anew as another job, with another tag."""


def new_session_id() -> str:
    """A fresh id for a session.

    Example:
        >>> new_session_id().startswith("session-")
        True
    """
    return f"session-{os.urandom(8).hex()}"


def new_job_id() -> str:
    """A fresh id for a job, which is also the tag that its vendor is given.

    Example:
        >>> len(new_job_id()), new_job_id().startswith("varq-")
        (29, True)
    """
    return f"varq-{os.urandom(12).hex()}"


def identifier(name: str, value: Any) -> str:
    """`value` if it can be the id of a session or job."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return str(value)
    checks.instance(name, value, str)
    raise ValueError(
        f"{name} must have 8 to 64 letters, digits, dots, hyphens or underscores. Got {value!r}. "
        "Use new_session_id() or new_job_id()."
    )


def plain(name: str, value: Any) -> str:
    """`value` as a text that is not empty, and of no subclass: rows are sealed by how Python writes their parts."""
    return value if type(value) is str and value else str(checks.text(name, value))


def _enum(name: str, value: Any, kind: type[StrEnum]) -> Any:
    return value if type(value) is kind else kind(checks.choice(name, value, [member.value for member in kind]))


def known(kind: type[Record], fields: dict[str, Any]) -> Record:
    """A record of fields that were checked before: when their row was written, or by whoever changed some of them."""
    record = object.__new__(kind)
    record.__dict__.update(fields)
    return record


def json_text(name: str, value: Any) -> str:
    """The canonical text of JSON data, NaN refused."""
    try:
        return canonical(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be JSON data: None, booleans, numbers, texts, lists, dicts. {error}.") from error


def count(name: str, value: Any, least: int = 0) -> int:
    """`value` as an integer of at least `least` that SQLite can hold."""
    if type(value) is int and least <= value <= _LARGEST:
        return value
    return checks.integer(name, value, minimum=least, maximum=_LARGEST)


def amount(name: str, value: Any) -> float:
    """`value` as a finite float of at least zero."""
    if type(value) is float and 0.0 < value < math.inf:
        return value
    return checks.real(name, value, minimum=0) + 0.0  # SQLite keeps no negative zero, this sum has none


@dataclass(frozen=True)
class SessionRecord:
    """A session: a queue of jobs for one device.

    Args:
        id: from `new_session_id`.
        created: when, in seconds since 1970 (UTC).
        host: the machine it was made on.
        device: the device's name, such as "ibm.fake_torino".
        shots: of a circuit that names none; None for exact values.
        settings: JSON text of an object: mode, budget, policies. Never credentials. Kept in canonical form.
        state: how it stands.

    Raises:
        TypeError: for a field of the wrong type.
        ValueError: for a bad id or state, settings that are no JSON object or look like credentials, shots below 1.

    Example:
        >>> SessionRecord("session-1f", 1.75e9, "ada", "varq.qubit", settings='{"mode": "job"}').settings
        '{"mode":"job"}'
    """

    id: str
    created: float
    host: str
    device: str
    shots: int | None = None
    settings: str = "{}"
    state: SessionState = SessionState.OPEN

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "id", identifier("id", self.id))
        put(self, "created", amount("created", self.created))
        put(self, "host", plain("host", self.host))
        put(self, "device", plain("device", self.device))
        if self.shots is not None:
            put(self, "shots", count("shots", self.shots, 1))
        put(self, "settings", _settings(self.settings))
        put(self, "state", _enum("state", self.state, SessionState))


def _settings(text: Any) -> str:
    try:
        data = json.loads(checks.text("settings", text, "Give JSON text: varq.spec.canonical(settings)."))
    except json.JSONDecodeError as error:
        raise ValueError(f"settings must be the text of a JSON object. Got {text[:40]!r}: {error}.") from error
    if not isinstance(data, dict):
        raise ValueError(f"settings must be the text of a JSON object. Got {text[:40]!r}.")
    refuse("settings", data)
    return json_text("settings", data)


def used_up(state: JobState, seconds: float | None) -> bool:
    """Whether a job used anything, as far as that is known: not if it was never received, or called back unused.

    Args:
        state: how it stands.
        seconds: that are charged; None where that is not told.
    """
    return state is not JobState.UNSENT and not (state is JobState.CANCELLED and seconds == 0)


@dataclass(frozen=True)
class JobRecord:
    """One job: circuits that go to the device together.

    Args:
        id: from `new_job_id`; also the tag under which the vendor is given the job, so that it can be found again.
        session: the session's id.
        number: its order in the session.
        device: the device's name.
        circuits: how many it has.
        shots: of all its circuits together.
        created: when it was written, in seconds since 1970 (UTC).
        paid: whether it costs money or a share of a scarce machine; what is recorded of it then survives a power
            failure.
        estimate_seconds: of the quantum processor, as expected; it counts until the vendor tells.
        estimate_cost: in the currency of the price table, as expected; it counts until the vendor tells.
        state: how it stands.
        attempts: how often it was tried to send it.
        provider_id: the vendor's id of it; None before it is known.
        sent: when that was learned.
        finished: when it came to its end.
        queued: seconds that it waited at the vendor; None where that is not told.
        seconds: that the quantum processor was busy; None where that is not told.
        cost: what the vendor charged; None where that is not told.
        error: what went wrong, without credentials.
        details: what else the vendor says, JSON values; what looks like a credential is not kept.

    Raises:
        TypeError: for a field of the wrong type.
        ValueError: for a number that is negative or not finite, a bad id, an unknown state.

    Example:
        >>> JobRecord("varq-0001", "session-1f", 0, "varq.qubit", circuits=2, shots=200, created=1.75e9).state
        <JobState.WRITTEN: 'written'>
    """

    id: str
    session: str
    number: int
    device: str
    circuits: int
    shots: int
    created: float
    paid: bool = False
    estimate_seconds: float = 0.0
    estimate_cost: float = 0.0
    state: JobState = JobState.WRITTEN
    attempts: int = 0
    provider_id: str | None = None
    sent: float | None = None
    finished: float | None = None
    queued: float | None = None
    seconds: float | None = None
    cost: float | None = None
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "id", identifier("id", self.id))
        put(self, "session", identifier("session", self.session))
        put(self, "device", plain("device", self.device))
        for name, least in (("number", 0), ("circuits", 1), ("shots", 0), ("attempts", 0)):
            put(self, name, count(name, getattr(self, name), least))
        for name in ("created", "estimate_seconds", "estimate_cost"):
            put(self, name, amount(name, getattr(self, name)))
        for name in ("sent", "finished", "queued", "seconds", "cost"):
            if (value := getattr(self, name)) is not None:
                put(self, name, amount(name, value))
        put(self, "paid", checks.boolean("paid", self.paid))
        put(self, "state", _enum("state", self.state, JobState))
        self._check_texts()

    @property
    def counts(self) -> bool:
        """Whether it used anything, as far as that is known: not if it was never received, or called back unused."""
        return used_up(self.state, self.seconds)

    def _check_texts(self) -> None:
        if self.provider_id is not None:
            object.__setattr__(self, "provider_id", plain("provider_id", self.provider_id))
        if self.error is not None:
            object.__setattr__(self, "error", clean_text(checks.instance("error", self.error, str)))
        checks.instance("details", self.details, dict)
        if self.details:
            object.__setattr__(self, "details", clean(self.details))
            json_text("details", self.details)


@dataclass(frozen=True)
class Spent:
    """What a session has used: every job counts that was or may have been sent.

    Args:
        jobs: how many.
        circuits: of them all.
        shots: of them all.
        seconds: of the quantum processor: as the vendor told, and as estimated where it did not (yet).
        cost: as the vendor charged, and as estimated where it did not tell (yet).
    """

    jobs: int
    circuits: int
    shots: int
    seconds: float
    cost: float


class Mark(NamedTuple):
    """How a job stands, and what is new of it, as in `Jobs.mark`; None for what is known."""

    job: str
    state: JobState
    error: str | None = None
    attempts: int | None = None
    seconds: float | None = None
    cost: float | None = None


class LedgerRow(NamedTuple):
    """A line of the ledger; `created` in seconds since 1970, `owners` the runs and batches that it served."""

    job: str
    session: str
    device: str
    state: JobState
    created: float
    circuits: int
    shots: int
    seconds: float | None
    cost: float | None
    attempts: int
    provider_id: str | None
    owners: tuple[str, ...]
