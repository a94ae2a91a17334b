"""Where the time of each step of a session's runs went, as a table."""

from __future__ import annotations

from typing import Any

from varq.display.ledgers import PHASES, time_cells

__all__ = ["STEP_HEADERS", "step_rows"]

STEP_HEADERS = ("run", "step", *PHASES)


def step_rows(ledger: Any) -> list[list[str]]:
    """The cells of each request of each run; a last estimate is named as that."""
    return [
        [run.id[:8], "last estimate" if one.role == "final" else str(one.step), *time_cells(one.times)]
        for run in ledger.runs
        for one in run.by_step
    ]
