"""What the loop remembers of its steps, for figures, stop rules and results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.protocol import Array, Many, Progress, Reason, Reply, Request, Stop

COLUMNS = ("step", "value", "best", "stderr", "seconds", "executions")
"""The columns that every history has; a tracked quantity cannot take their names."""

__all__ = ["COLUMNS", "Trace", "evaluations", "is_finite"]


def evaluations(request: Request, reply: Reply) -> Iterator[tuple[Array, Reply]]:
    """The (parameters, reply) pairs with a value inside a request and its reply."""
    if isinstance(request, Many):
        for part, answer in zip(request.parts, reply.parts, strict=True):
            yield from evaluations(part, answer)
    elif reply.value is not None and hasattr(request, "x"):
        yield request.x, reply


def is_finite(reply: Reply) -> bool:
    """Whether every number that a method will work with is finite."""
    numbers = [v for v in (reply.value, reply.grad, reply.metric, reply.law) if v is not None]
    return all(bool(np.isfinite(v).all()) for v in numbers) and all(is_finite(part) for part in reply.parts)


class Trace:
    """The steps of a run so far: one row a step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.points: list[Array | None] = []
        self.best_x: Array | None = None
        self.best_value = math.inf
        self.best_stderr: float | None = None
        self.info: Mapping[str, Any] = {}
        self.seconds = 0.0
        self.executions = 0
        self.tracked: set[str] = set()

    def add(self, request: Request, reply: Reply, info: Mapping[str, Any], seconds: float) -> dict[str, float]:
        """Note a step; returns its row."""
        last: Array | None = None
        found: dict[str, float] = {}
        for x, answer in evaluations(request, reply):
            assert answer.value is not None
            last = x
            found = dict(answer.tracked)
            if answer.value < self.best_value:
                self.best_x, self.best_value, self.best_stderr = x, answer.value, answer.stderr
        self.info = info
        self.seconds = seconds
        self.executions += reply.executions
        value = info.get("value", reply.value)
        stderr = info.get("stderr", reply.stderr)
        row: dict[str, float] = {
            "step": len(self.rows) + 1,
            "value": math.nan if value is None else float(value),
            "stderr": math.nan if stderr is None else float(stderr),
            "seconds": seconds,
            "executions": self.executions,
        }
        row["best"] = min(row["value"], self.rows[-1]["best"]) if self.rows else row["value"]
        if math.isnan(row["value"]) and self.rows:
            row["best"] = self.rows[-1]["best"]
        row.update({k: float(v) for k, v in info.items() if k not in row and _is_number(v)})
        row.update(found)
        self.tracked |= set(found)
        self.rows.append(row)
        self.points.append(info.get("x", last))
        return row

    def rule(self, stop: Stop) -> Reason | None:
        """The reason for which a stop rule ends the run here, or None."""
        if stop.steps is not None and len(self.rows) >= stop.steps:
            return Reason.STEPS
        if stop.seconds is not None and self.rows and self.seconds >= stop.seconds:
            return Reason.SECONDS
        if stop.patience is None or len(self.rows) <= stop.patience:
            return None
        tolerance = stop.tolerance or 0.0
        before, last = self.rows[-stop.patience - 1], self.rows[-stop.patience :]
        best = self.rows[-1]["best"]
        if not before["best"] - best <= tolerance:
            return None
        near = all(abs(row["value"] - best) <= tolerance for row in last)
        return Reason.CONVERGED if near else Reason.STALLED

    def progress(self, state: Any, final: Reply | None = None, final_x: Array | None = None) -> Progress:
        """What an algorithm gets to see at the end."""
        return Progress(
            best_x=self.best_x,
            best_value=self.best_value if self.best_x is not None else None,
            best_stderr=self.best_stderr,
            info=self.info,
            state=state,
            final=final,
            final_x=final_x,
            steps=len(self.rows),
        )

    def history(self) -> NDArray[Any]:
        """The rows as a structured array; NaN where a step lacks a number."""
        names = [*COLUMNS, *sorted({k for row in self.rows for k in row} - set(COLUMNS))]
        whole = ("step", "executions")
        out = np.zeros(len(self.rows), dtype=[(n, np.int64 if n in whole else np.float64) for n in names])
        for name in names:
            out[name] = [row.get(name, math.nan) for row in self.rows]
        return out.view(np.recarray)

    def parameters(self) -> Array:
        """The parameters of each step, flattened, shape (steps, parameters)."""
        size = max((p.size for p in self.points if p is not None), default=0)
        out = np.full((len(self.points), size), np.nan)
        for row, point in zip(out, self.points, strict=True):
            if point is not None:
                row[:] = np.ravel(point)
        return out


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
