"""What a device says of itself now, for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["age"]

_HOURS = timedelta(days=3)  # up to which an age is told in hours


def age(when: datetime | None, now: datetime | None = None) -> str | None:
    """How long ago something was: in hours, or by its date where it is long ago; None where it is not told.

    Args:
        when: it was; without a zone, in that of this machine.
        now: the present; None asks the clock.

    Example:
        >>> now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
        >>> age(datetime(2026, 1, 2, 9, 30, tzinfo=UTC), now), age(datetime(2025, 5, 27, tzinfo=UTC), now)
        ('2.5 h ago', '2025-05-27')
    """
    if when is None:
        return None
    past = (datetime.now(UTC) if now is None else now) - when.astimezone(UTC)
    return f"{past / timedelta(hours=1):.1f} h ago" if past < _HOURS else f"{when:%Y-%m-%d}"
