"""How the cells of a study stand, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from varq import checks
from varq.study.work import State

__all__ = ["Status"]


class Status(Mapping[str, int]):
    """How many cells are missing, unfinished, done and failed.

    Args:
        name: of the study.
        counts: by the name of a state.
        note: what else is to be said, such as that a budget is used up.
        stopped: whether somebody stopped `finish`, by Ctrl-C say, before it had done what it was to do.

    Example:
        >>> print(Status("demo", {"done": 3, "failed": 1}))
        demo: 3 of 4 cells done, 1 failed
    """

    def __init__(self, name: str, counts: Mapping[str, int], note: str = "", stopped: bool = False) -> None:
        self.name = name
        self.note = note
        self.stopped = stopped
        self._counts = {state.value: counts.get(state.value, 0) for state in State}

    def __getitem__(self, state: str) -> int:
        return self._counts[checks.choice("state", state, self._counts)]

    def __iter__(self) -> Any:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def cells(self) -> int:
        """All of them."""
        return sum(self._counts.values())

    @property
    def complete(self) -> bool:
        """Whether every cell has ended, well or by an error."""
        return self._counts["done"] + self._counts["failed"] == self.cells

    def __repr__(self) -> str:
        rest = [f"{number} {state}" for state, number in self._counts.items() if number and state != "done"]
        said = ", ".join([f"{self.name}: {self._counts['done']} of {checks.counted(self.cells, 'cell')} done", *rest])
        return f"{said}; {self.note}" if self.note else said
