"""What shows itself: as text, and in a notebook with the figure of its record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Self

from varq import names

__all__ = ["Shown"]


class Shown:
    """A result that the room `display` shows, with the figure of its record where it has one."""

    def __str__(self) -> str:
        return str(names.find("display", "text")(self))

    def with_record(self, record: Callable[[], Any]) -> Self:
        """This result, which Jupyter then shows with its convergence plot; `record` is called when it is shown."""
        object.__setattr__(self, "_record", record)
        return self

    def _repr_html_(self) -> str:
        record = vars(self).get("_record")
        if record is not None:
            # A result outlives its session: once the store is closed, the table alone remains.
            with contextlib.suppress(RuntimeError):
                return str(names.find("display", "run")(record()))
        return str(names.find("display", "result")(self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else str(self))
