"""What passes between the process that owns a session and those that watch it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Note"]


@dataclass(frozen=True)
class Note:
    """Something that people who watch a session are to see.

    Args:
        session: the session's id.
        number: its order in the session, from 0.
        host: where it was noted.
        time: when, in seconds since 1970 (UTC).
        kind: what it is about, in a word.
        body: JSON values; what looks like a credential is not kept.
    """

    session: str
    number: int
    host: str
    time: float
    kind: str
    body: Any


@dataclass(frozen=True)
class Command:
    """What somebody asks of the process that owns a session.

    Args:
        id: its own.
        session: the session's id.
        number: its order in the file of the host where it was posted.
        time: when, in seconds since 1970 (UTC).
        body: JSON values.
        taken: whether the owner has taken it.
    """

    id: str
    session: str
    number: int
    time: float
    body: Any
    taken: bool
