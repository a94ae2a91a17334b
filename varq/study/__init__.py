"""Studies: sweeps that survive, here and in other processes."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.study.cluster import Dask
    from varq.study.environment import worker_environment
    from varq.study.executors import Executor, Here, Processes
    from varq.study.local import local_cluster
    from varq.study.lost import ClusterLost, WorkerLost
    from varq.study.status import Status
    from varq.study.stored import StoredStudy, load
    from varq.study.study import Study, sweep
    from varq.study.table import Table

_HOME = {
    "ClusterLost": "varq.study.lost",
    "Dask": "varq.study.cluster",
    "Executor": "varq.study.executors",
    "Here": "varq.study.executors",
    "Processes": "varq.study.executors",
    "Status": "varq.study.status",
    "Study": "varq.study.study",
    "StoredStudy": "varq.study.stored",
    "Table": "varq.study.table",
    "WorkerLost": "varq.study.lost",
    "load": "varq.study.stored",
    "local_cluster": "varq.study.local",
    "sweep": "varq.study.study",
    "worker_environment": "varq.study.environment",
}

__all__ = [
    "ClusterLost",
    "Dask",
    "Executor",
    "Here",
    "Processes",
    "Status",
    "StoredStudy",
    "Study",
    "Table",
    "WorkerLost",
    "load",
    "local_cluster",
    "sweep",
    "worker_environment",
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
