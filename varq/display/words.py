"""Numbers in words, as lines and tables show them."""

from __future__ import annotations

import math

from varq.plots.units import difference, scale, small

__all__ = ["clock", "deviation", "duration"]


def deviation(value: float | None, reference: float | None, unit: str) -> str:
    """A deviation with its unit; "" where it is not known."""
    if value is None or reference is None or not math.isfinite(value):
        return ""
    shown = scale(unit)
    return f"{small(difference(value, reference, unit) * shown.factor)} {shown.unit}".rstrip()


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """Seconds in few letters."""
    if not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else clock(seconds)
