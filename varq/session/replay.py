"""Is a recorded request the one that the method asks for now?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import spec
from varq.protocol import Many, Request

__all__ = ["CLOSE", "ReplayError", "difference"]

CLOSE = 1e-9  # |dx| <= CLOSE (1 + |x|) is rounding: another processor moves parameters by about 1e-13


class ReplayError(RuntimeError):
    """A run cannot be carried on: the method asks for something else than it did when the run was recorded.

    Args:
        step: where they part.
        gap: the largest relative difference of the parameters; infinite when the requests are of other kinds or shapes.
        then: versions when the row was recorded.
        now: versions now.
        detail: what differs, in words.
    """

    def __init__(self, step: int, gap: float, then: Mapping[str, str], now: Mapping[str, str], detail: str) -> None:
        changed = [f"{k} {then.get(k, 'absent')} -> {now.get(k, 'absent')}" for k in sorted({*then, *now})]
        changed = [c for c in changed if c.split(" ", 1)[1].split(" -> ")[0] != c.rsplit(" -> ", 1)[1]]
        versions = "; ".join(changed) if changed else "the same packages (the code or the function has changed)"
        super().__init__(
            f"At step {step} the run asks for something else than was recorded: {detail}. Recorded and running with: "
            f"{versions}. Use varq.resume(id, fork=True) to keep the recorded steps before {step} and go on from there "
            "as a new run, or restore the versions."
        )
        self.step = step
        self.gap = gap


def difference(request: Request, recorded: Request) -> tuple[float, str]:
    """How far apart two requests are, relative to 1 + |x|; infinite, with the reason, for other kinds or shapes."""
    if type(request) is not type(recorded):
        return np.inf, f"{type(recorded).__name__} was recorded, {type(request).__name__} is asked for"
    if isinstance(request, Many) and isinstance(recorded, Many):
        if len(request.parts) != len(recorded.parts):
            return np.inf, f"{len(recorded.parts)} parts were recorded, {len(request.parts)} are asked for"
        gaps = [difference(a, b) for a, b in zip(request.parts, recorded.parts, strict=True)]
        return max(gaps, key=lambda gap: gap[0], default=(0.0, ""))
    worst, why = 0.0, ""
    for name, value in spec.fields(request).items():
        gap = _gap(np.asarray(value), np.asarray(getattr(recorded, name)))
        if gap > worst:
            worst, why = gap, f"{name} differs by {gap:.3g} relative to 1 + |{name}|"
    return worst, why


def _gap(now: NDArray[Any], then: NDArray[Any]) -> float:
    if now.shape != then.shape:
        return float("inf")
    if now.size == 0 or np.array_equal(now, then, equal_nan=now.dtype.kind in "fc"):
        return 0.0
    with np.errstate(invalid="ignore"):
        gap = np.max(np.abs(now - then) / (1 + np.abs(then)))
    return float(gap) if np.isfinite(gap) else float("inf")
