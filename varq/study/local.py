"""A cluster of Dask on this machine whose workers are as studies want them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from varq import checks
from varq.study.cluster import parts_of_dask
from varq.study.environment import devices_apart, worker_environment
from varq.study.needs import offered, shared

__all__ = ["local_cluster"]

_ALLOWED = 5  # workers that may be lost with one order before the cluster gives it back


def local_cluster(
    workers: int | None = None,
    *,
    labels: Mapping[str, int] | None = None,
    cache: str | os.PathLike[str] | None = None,
    memory: str | float | None = "auto",
    allowed_failures: int = _ALLOWED,
    dashboard: str | None = ":0",
) -> Any:
    """A cluster of Dask on this machine whose workers are as studies want them: processes of one thread each.

    Each worker is a fresh Python that imports the script which asks for it: there, call this under
    `if __name__ == "__main__":`.

    Args:
        workers: how many; None for one for each processor.
        labels: what cells may need, with how many of them may have it at a time: {"qpu:ibm.torino": 1}.  Graphics
            processors are shared out evenly, and each worker sees its own alone: four of them are one for each of four
            workers, or two for each of two where a cell needs two.
        cache: folder of JAX's compile cache; None for varq's own, or that of the environment.
        memory: limit of each worker, beyond which it is ended and another one started: as of `LocalCluster`.
        allowed_failures: workers that may be lost with one order, before the study looks which of its cells it was.
        dashboard: where Dask shows the work; ":0" for any free port, None for nowhere.

    Returns:
        A cluster of `distributed`, to be closed: use it as `with local_cluster(2) as cluster`.

    Raises:
        ModuleNotFoundError: if the extra `dask` is not installed.
        TypeError: for labels that are no mapping.
        ValueError: for fewer than 1 worker, a label that there is not, or more graphics processors than
            CUDA_VISIBLE_DEVICES names.
    """
    found = parts_of_dask()
    number = checks.integer("workers", os.cpu_count() or 1 if workers is None else workers, minimum=1)
    given = _shared_out({} if labels is None else labels, number)
    seen: list[dict[str, str]] = [{} for _ in given]  # workers see what this process sees, unless labels share it out
    if any("gpu" in mine for mine in given):
        seen = devices_apart([mine.get("gpu", 0) for mine in given], os.environ)
    env = worker_environment(cache, os.environ.get("XLA_FLAGS", ""))
    common = {
        "nthreads": 1,
        "host": "127.0.0.1",
        "dashboard": False,
        "memory_limit": int(found.memory / number) if memory == "auto" else memory,
        # Replies are a few bytes: nothing is to be spilled, and a worker that waits for memory would wait for ever.
        "config": {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")},
        "silence_logs": logging.ERROR,
    }
    scheduler = {
        "host": "127.0.0.1",
        "port": 0,
        "dashboard": dashboard is not None,
        "dashboard_address": f"127.0.0.1{':0' if dashboard is None else dashboard}",  # of its metrics, at the least
        "allowed_failures": checks.integer("allowed_failures", allowed_failures, minimum=0),
    }

    return found.cluster(
        scheduler={"cls": found.scheduler, "options": scheduler},
        workers={
            k: {"cls": found.worker, "options": {**common, "resources": given[k], "env": {**env, **seen[k]}}}
            for k in range(number)
        },
        silence_logs=logging.ERROR,
        name="varq",
    )


def _shared_out(labels: Mapping[str, int], workers: int) -> list[dict[str, int]]:
    """Labels given to workers one by one, so that together they have no more of each than there is."""
    out: list[dict[str, int]] = [{} for _ in range(workers)]
    place = 0
    for name, count in offered(labels).items():
        if name == "gpu":
            for mine, share in zip(out, shared(count, workers), strict=True):
                mine |= {name: share} if share else {}
            continue
        for _ in range(min(count, workers)):  # a worker does one thing at a time: more of a processor would lie idle
            out[place % workers][name] = 1
            place += 1
    return out
