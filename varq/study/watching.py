"""How the cells of a study go on, told to whoever shows it: by orders that begin and end, and by their steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from varq.protocol import Event, Reason
from varq.store.faults import StoreError
from varq.store.store import Store
from varq.study.record import StudyRecord
from varq.study.work import End, State

__all__ = ["Watching"]

_BAD = (Reason.FAILED, Reason.NONFINITE)


class Watching:
    """Tells a board what happens to the cells of a study; of those that are one run, to all.

    Args:
        board: a `StudyBoard`, or what has its methods; None for nobody who looks.
        record: of the study.
        store: where steps of cells are found that run elsewhere.
    """

    def __init__(self, board: Any, record: StudyRecord, store: Store) -> None:
        self._board, self._record, self._store = board, record, store
        self._cells: dict[str, list[int]] = {}
        for index, run in enumerate(record.runs):
            self._cells.setdefault(run, []).append(index)

    def begin(self, states: Sequence[State], left: Sequence[int]) -> None:
        """How the cells stand before those that are left are run."""
        if self._board is not None:
            asked = set(left)
            stand = [state for index, state in enumerate(states) if index not in asked]
            self._board.begin(stand.count(State.DONE), stand.count(State.FAILED))

    def tell(self, cells: Sequence[int], ends: Sequence[End] | None, place: str = "") -> None:
        """Cells that are under way now, or with `ends` what became of them, and where."""
        if self._board is None:
            return
        rows = [(k, self._record.rows[k]) for index in cells for k in self._same(index)]
        if ends is not None:
            ends = [dataclasses.replace(end, index=k) for end in ends for k in self._same(end.index)]
        self._board.tell(rows, ends, place)

    def observe(self, event: Event) -> None:
        """Something happened in a run of this process."""
        if self._board is not None and event.kind in ("step", "end"):
            state = ""
            if event.kind == "end" and event.reason is not None:
                state = State.FAILED if event.reason in _BAD else State.DONE if event.reason.final else ""
            for index in self._cells.get(event.run_id, ()):
                self._board.step(index, event.step, event.value, state)

    def look(self) -> None:
        """Read from the store how far the shown cells are: nothing else tells the steps of other processes."""
        if self._board is None or not (shown := self._board.shown()):
            return
        with suppress(StoreError):  # told by what needs the store; nothing depends on this
            for found in self._store.several([self._record.runs[index] for index in shown]):
                for index in self._cells[found.id]:
                    self._board.step(index, found.steps, found.value)

    def _same(self, index: int) -> list[int]:
        return self._cells[self._record.runs[index]]
