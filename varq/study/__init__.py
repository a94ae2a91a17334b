"""Studies: sweeps that survive, here and in other processes."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.study.executors import Executor, Here, Processes, WorkerLost
    from varq.study.study import Status, Study, sweep
    from varq.study.table import Table

_HOME = {
    "Executor": "varq.study.executors",
    "Here": "varq.study.executors",
    "Processes": "varq.study.executors",
    "Status": "varq.study.study",
    "Study": "varq.study.study",
    "Table": "varq.study.table",
    "WorkerLost": "varq.study.executors",
    "sweep": "varq.study.study",
}

__all__ = [
    "Executor",
    "Here",
    "Processes",
    "Status",
    "Study",
    "Table",
    "WorkerLost",
    "sweep",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
