"""Dask as an executor: by the address of its scheduler, a cluster or a client.  The one module that imports Dask.

Workers and the scheduler import this module, so that it loads little: what a study needs is loaded where it is called.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from varq import checks
from varq.study.environment import worker_environment
from varq.study.lost import ClusterLost, WorkerLost
from varq.study.suited import check_suited, look, other_varq, several_threads, shortcomings

__all__ = ["Dask", "is_of_dask", "local_cluster"]

log = logging.getLogger("varq")

_ONE_AT_A_TIME = threading.Lock()  # of a process: PennyLane's queue of operations is one for all its threads
_ALLOWED = 5  # workers that may be lost with one order before a local cluster gives it back
_PATIENCE = 3600.0  # seconds without a worker after which a cluster is given up: what waits in a queue may take long
_AGAIN = 600  # seconds in which a worker of a local cluster that was lost has to be back
_KNOWN = 0.5  # seconds for which it is taken to be known who they are


def is_of_dask(given: Any) -> bool:
    """Whether something is a cluster or client of Dask, without importing that.

    Example:
        >>> is_of_dask("tcp://scheduler:8786")
        False
    """
    return any(kind.__module__.split(".")[0] == "distributed" for kind in type(given).__mro__)


def serve(wanted: str, payload: bytes) -> tuple[str, Any, str]:
    """Call a function on a worker.

    Args:
        wanted: the varq that the study has.
        payload: the function and its arguments, pickled.

    Returns:
        "result" or "error", that, and the worker's address.
    """
    from distributed import get_worker

    worker = get_worker()
    try:
        if version("varq") != wanted:
            raise other_varq({worker.address: version("varq")}, wanted)
        if worker.state.nthreads > 1:
            raise several_threads([worker.address])
        with _ONE_AT_A_TIME:
            function, args = pickle.loads(payload)
            return "result", function(*args), worker.address
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return "error", RuntimeError(f"{type(error).__name__}: {error}"), worker.address
        return "error", error, worker.address


class Dask:
    """A cluster of Dask as an executor of studies.

    Functions and specs travel as text and names, results of a few bytes come back, and what was computed is in the
    store by then.  The cluster is left as it was found; a client that was given stays open.

    Args:
        given: the address of a scheduler, a cluster object (LocalCluster, SLURMCluster, ...), or a client.
        timeout: seconds to wait for the scheduler's answer.
        patience: seconds to wait for a worker where there is none, at first or later; None for ever.

    Raises:
        ModuleNotFoundError: if the extra `dask` is not installed.
        ConnectionError: if nobody answers.
        TypeError: for something else, or a client for `await`.

    .. code-block:: python

        with Dask("tcp://scheduler:8786", patience=600) as cluster:
            study.finish(executor=cluster)
    """

    def __init__(self, given: Any, *, timeout: float = 10.0, patience: float | None = _PATIENCE) -> None:
        self._timeout = checks.real("timeout", timeout, above=0)
        self._patience = None if patience is None else checks.real("patience", patience, above=0)
        self._own = not hasattr(given, "get_executor")  # which only a client has
        self._client = _client(given, self._timeout) if self._own else given
        if getattr(self._client, "asynchronous", False):
            raise TypeError("A study needs a client that blocks. Got one for await: give Client(address).")
        self._version = version("varq")
        self._address = str(self._client.scheduler.address)
        self._futures: dict[str, Any] = {}
        self._lock = threading.Lock()  # of the futures
        self._called_back: set[str] = set()
        self._avoided: set[str] = set()
        self._permit: Path | None = None
        self._closed = False
        self._known: dict[str, Any] = {}
        self._asked = -math.inf
        self._alone: float | None = None  # since when there has been no worker
        self._said = ""
        self._warned = False

    def __enter__(self) -> Dask:
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"Dask at {self._address}"

    @property
    def dashboard(self) -> str | None:
        """The address of Dask's own view of the work; None where there is none."""
        return self._client.dashboard_link or None

    @property
    def workers(self) -> int:
        """How many there are now; 1 where there is none yet."""
        return max(1, len(self._workers()))

    def _workers(self) -> dict[str, Any]:
        now = time.monotonic()
        if now - self._asked > _KNOWN:
            try:
                # Some releases tell of five workers only unless all are asked for; others do not know the argument.
                self._known = dict(self._client.scheduler_info(n_workers=-1)["workers"])
            except Exception as error:
                raise self._gone(error) from error
            self._asked = now
        return self._known

    def offers(self) -> Mapping[str, float]:
        """How many there are of each resource of the workers."""
        out: dict[str, float] = {}
        for worker in self._workers().values():
            for label, count in worker.get("resources", {}).items():
                out[label] = out.get(label, 0) + count
        return out

    # -- before anything runs

    def prepare(self, folder: Path) -> Path:
        """See to it that the workers can do a study's work, and that they see its store.

        Args:
            folder: of the store.

        Returns:
            A file in it that workers see until this is shut down: while it is there, they are to go on.

        Raises:
            Unsuited: says what is the matter with which workers.
            ClusterLost: if there was none for longer than the patience.
        """
        self._wait()
        self._permit = folder / f".study-{secrets.token_hex(8)}.running"
        token = secrets.token_hex(16)
        self._permit.write_text(token, encoding="utf-8")
        try:
            found = self._client.run(look, str(self._permit), on_error="return")
            check_suited(found, self._workers(), folder, token)
            self._warn(found)
        except BaseException:
            self.interrupt()
            raise
        return self._permit

    def _wait(self) -> None:
        """Until there is a worker."""
        while said := self.standing():
            if said != self._said:
                log.warning(said)
                self._said = said
            time.sleep(_KNOWN)

    def _warn(self, found: Mapping[str, Any]) -> None:
        """What works, but not well, or not to the last bit: told once."""
        if not self._warned:
            self._warned = True
            for text in shortcomings(self.name, found):
                warnings.warn(text, stacklevel=5)

    # -- while it runs

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have a function of an importable module called by one of the workers.

        Raises:
            RuntimeError: after `shutdown`.
        """
        return self.place((), 0, partial(function, **keywords) if keywords else function, *args)

    def place(
        self, labels: tuple[tuple[str, int], ...], priority: int, function: Callable[..., Any], /, *args: Any
    ) -> Future[Any]:
        """`submit`, to a worker that has these labels free, as resources; the highest priority goes first.

        The attribute `worker` of the future is the address of the worker, once it is done.

        Raises:
            RuntimeError: after `shutdown`.
            ClusterLost: if the scheduler is gone.
        """
        if self._closed:
            raise RuntimeError("A cluster that was shut down takes nothing more. Give it again: Dask(address).")
        made: Future[Any] = Future()
        key = f"varq-{secrets.token_hex(8)}"
        free = [worker for worker in self._workers() if worker not in self._avoided] if self._avoided else []
        payload = pickle.dumps((function, args))
        try:
            future = self._client.submit(
                serve,
                self._version,
                payload,
                key=key,
                pure=False,
                priority=priority,
                resources=dict(labels) or None,
                workers=free or None,
                allow_other_workers=False,
            )
        except Exception as error:  # of several kinds, as the connection stands
            raise self._gone(error) from error
        with self._lock:
            self._futures[key] = future
        made.set_running_or_notify_cancel()
        future.add_done_callback(partial(self._back, made))
        return made

    def _back(self, made: Future[Any], future: Any) -> None:
        """Dask's callback: hand over what came."""
        try:
            if future.status == "finished":
                kind, answer, worker = future.result()
                made.worker = worker  # type: ignore[attr-defined]
                if kind == "result":
                    made.set_result(answer)
                else:
                    if isinstance(answer, OSError) or type(answer).__name__ in ("StoreFull", "StoreUnwritable"):
                        self._avoided.add(worker)  # its disk, perhaps: a worker that fails at once is free at once
                    made.set_exception(answer)
            else:
                made.set_exception(self._explained(future))
        except BaseException as error:  # the connection may go at any moment
            if not made.done():
                made.set_exception(self._explained(future, error))
        finally:
            with self._lock:
                self._futures.pop(future.key, None)

    def _explained(self, future: Any, error: BaseException | None = None) -> BaseException:
        from distributed.scheduler import KilledWorker

        if future.key in self._called_back:
            return CancelledError()
        if future.status == "error":
            found = future.exception()
            if isinstance(found, KilledWorker):
                times, last = found.allowed_failures + 1, getattr(found.last_worker, "address", "unknown")
                return WorkerLost(
                    f"{checks.counted(times, 'worker')} ended while doing it; the last was {last}.", times
                )
            return found if error is None else error
        return self._gone(error)

    def _gone(self, error: BaseException | None) -> ClusterLost:
        said = "" if error is None else f" ({type(error).__name__}: {error})"
        return ClusterLost(
            f"The scheduler at {self._address} is gone, or has given the study's work up{said}. What was recorded is "
            "kept. Finish the study again, on another executor perhaps: nothing of it is computed twice."
        )

    def standing(self) -> str:
        """What people should know of the cluster now; "" for nothing.

        Raises:
            ClusterLost: if it has had no worker for longer than the patience.
        """
        now = time.monotonic()
        if self._workers():
            self._alone = None
            return ""
        self._alone = now if self._alone is None else self._alone
        if self._patience is not None and now - self._alone > self._patience:
            raise ClusterLost(
                f"A cluster needs workers. {self.name} had none for {self._patience:g} s. What was recorded is kept. "
                "Start some (dask worker, cluster.scale), and finish the study again."
            )
        return f"{self.name} has no workers now; waiting for some."

    # -- the end

    def interrupt(self) -> None:
        """Have workers stop after the evaluation in flight: the file that tells them to go on is taken away.

        What no worker has yet is called back: it might wait for ever.
        """
        if self._permit is not None:
            self._permit.unlink(missing_ok=True)
        with self._lock:
            out = dict(self._futures)
        if not out or self._client.status != "running":
            return
        try:
            begun = {key for keys in self._client.processing().values() for key in keys}
            self._called_back.update(key for key in out if key not in begun)
            self._client.cancel([future for key, future in out.items() if key not in begun])
        except Exception as error:  # the connection may go at any moment; then nothing comes back anyway
            log.warning("What waits at %s could not be called back: %s", self.name, error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more, and let go of the cluster, which is left as it was found."""
        if self._closed:
            return
        self._closed = True
        self.interrupt()
        with self._lock:
            left = list(self._futures.values())
            self._futures.clear()
        if self._client.status == "running" and left and (cancel_futures or not wait):
            self._client.cancel(left)
        if self._own:
            self._client.close(timeout=self._timeout)


def _client(given: Any, timeout: float) -> Any:
    """A client of our own for an address or a cluster."""
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise checks.missing_extra("distributed", "dask", f"A study on a cluster at {given}") from error
    if not isinstance(given, str) and not hasattr(given, "scheduler_address"):
        raise TypeError(
            "A cluster is given as the address of its scheduler, a cluster object or a client. "
            f"Got {given!r}. Give 'tcp://host:8786', for instance."
        )
    try:
        return Client(given, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        where = given if isinstance(given, str) else given.scheduler_address
        raise ConnectionError(
            f"A scheduler of Dask has to answer. None did at {where} within {timeout:g} s ({error}). Nothing was run "
            "or lost. See that it runs (dask scheduler), and that its address can be reached from here."
        ) from error


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
        labels: what cells may need, with how many of them may have it at a time: {"qpu:ibm.torino": 1}.
        cache: folder of JAX's compile cache; None for varq's own, or that of the environment.
        memory: limit of each worker, beyond which it is ended and another one started: as of `LocalCluster`.
        allowed_failures: workers that may be lost with one order, before the study looks which of its cells it was.
        dashboard: where Dask shows the work; ":0" for any free port, None for nowhere.

    Returns:
        A cluster of `distributed`, to be closed: use it as `with local_cluster(2) as cluster`.

    Raises:
        ModuleNotFoundError: if the extra `dask` is not installed.
        ValueError: for fewer than 1 worker, or a label that there is not.
    """
    try:
        import dask
        from distributed import Nanny, Scheduler, SpecCluster
        from distributed.system import MEMORY_LIMIT
    except ModuleNotFoundError as error:
        raise checks.missing_extra("distributed", "dask", "A cluster on this machine") from error
    number = checks.integer("workers", os.cpu_count() or 1 if workers is None else workers, minimum=1)
    shared = _shared_out({} if labels is None else labels, number)
    common = {
        "nthreads": 1,
        "host": "127.0.0.1",
        "dashboard": False,
        "memory_limit": int(MEMORY_LIMIT / number) if memory == "auto" else memory,
        # Replies are a few bytes: nothing is to be spilled, and a worker that waits for memory would wait for ever.
        "config": {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")},
        "env": worker_environment(cache, os.environ.get("XLA_FLAGS", "")),
        "silence_logs": logging.ERROR,
    }
    scheduler = {
        "host": "127.0.0.1",
        "port": 0,
        "dashboard": dashboard is not None,
        "dashboard_address": f"127.0.0.1{':0' if dashboard is None else dashboard}",  # of its metrics, at the least
        "allowed_failures": checks.integer("allowed_failures", allowed_failures, minimum=0),
    }

    class Local(SpecCluster):  # type: ignore[misc]
        """Ends even where its workers take long to, and waits for those that start again."""

        def _update_worker_status(self, op: str, msg: Any) -> None:
            # Dask gives a worker 15 s to come back before it closes it for good: a busy machine may need a minute.  It
            # reads that number here: distributed/deploy/spec.py of 2024.8 and 2026.
            with dask.config.set({"distributed.deploy.lost-worker-timeout": f"{_AGAIN} s"}):
                super()._update_worker_status(op, msg)

        def close(self, timeout: float | None = None) -> Any:
            try:
                return super().close(timeout)
            except TimeoutError as error:  # on a busy machine a process that was killed is not gone at once
                log.warning("Workers of a cluster took long to end: %s", error)
                return None

    return Local(
        scheduler={"cls": Scheduler, "options": scheduler},
        workers={k: {"cls": Nanny, "options": {**common, "resources": shared[k]}} for k in range(number)},
        silence_logs=logging.ERROR,
        name="varq",
    )


def _shared_out(labels: Mapping[str, int], workers: int) -> list[dict[str, int]]:
    """Labels given to workers one by one, so that together they have no more of each than there is."""
    out: list[dict[str, int]] = [{} for _ in range(workers)]
    place = 0
    for name, count in labels.items():
        given = checks.integer(f"labels[{name!r}]", count, minimum=1)
        # A worker does one thing at a time, so that more than one of a processor would lie idle; what one cell takes
        # several of stays together.
        for _ in range(1 if name == "gpu" else min(given, workers)):
            out[place % workers][name] = given if name == "gpu" else 1
            place += 1
    return out
