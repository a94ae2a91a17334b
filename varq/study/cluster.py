"""Dask as an executor: by the address of its scheduler, a cluster or a client.  The one module that imports Dask.

Workers and the scheduler import this module, so that it loads little: what a study needs is loaded where it is called.
"""

from __future__ import annotations

import logging
import math
import pickle
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from varq import checks
from varq.study.lost import ClusterLost, WorkerLost
from varq.study.patience import Patience, able
from varq.study.permits import new_permit, touched
from varq.study.suited import (
    check_graphics,
    check_suited,
    graphics,
    look,
    other_varq,
    several_threads,
    shortcomings,
)

__all__ = ["Dask", "DaskParts", "is_of_dask", "parts_of_dask"]

log = logging.getLogger("varq")

_ONE_AT_A_TIME = threading.Lock()  # of a process: PennyLane's queue of operations is one for all its threads
_PATIENCE = 3600.0  # seconds without a worker after which a cluster is given up: what waits in a queue may take long
_AGAIN = 600  # seconds in which a worker of a cluster on this machine that was lost has to be back
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
        if (labeled := worker.state.total_resources.get("gpu", 0)) > 0:  # of workers that came since, too
            check_graphics({worker.address: graphics()}, {worker.address: labeled})
        with _ONE_AT_A_TIME:
            function, args = pickle.loads(payload)
            return "result", function(*args), worker.address
    except (Exception, SystemExit) as error:  # sys.exit() in a user's function is no reason for the worker to end
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return "error", RuntimeError(f"{type(error).__name__}: {error}"), worker.address
        return "error", error, worker.address


@dataclass(frozen=True, eq=False)
class _Sent:
    """Something that a worker is to do.

    Args:
        made: what waits for it here.
        payload: the function and its arguments, pickled.
        labels: what it takes there.
        priority: the highest goes first.
        future: of Dask.
        only: the workers that may do it; () for any.
    """

    made: Future[Any]
    payload: bytes
    labels: tuple[tuple[str, int], ...]
    priority: int
    future: Any = None
    only: tuple[str, ...] = ()


class Dask:
    """A cluster of Dask as an executor of studies.

    Functions and specs travel as text and names, results of a few bytes come back, and what was computed is in the
    store by then.  The cluster is left as it was found; a client that was given stays open.

    Args:
        given: the address of a scheduler, a cluster object (LocalCluster, SLURMCluster, ...), or a client.
        timeout: seconds to wait for the scheduler's answer.
        patience: seconds to wait for a worker where there is none, or none for what is to be done, at first or later;
            None for ever.

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
        self._sent: dict[str, _Sent] = {}
        self._lock = threading.Lock()  # of what was sent
        self._called_back: set[str] = set()
        self._workless: set[str] = set()  # what no worker had at the last look
        self._moved: set[str] = set()
        self._avoided: set[str] = set()
        self._permit: Path | None = None
        self._closed = False
        self._known: dict[str, Any] = {}
        self._asked = -math.inf
        self._waits = Patience(self.name, self._patience)
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
            touched(self._permit)
        return self._known

    def offers(self) -> Mapping[str, float]:
        """How many there are of each resource of the workers."""
        out: dict[str, float] = {}
        for worker in self._workers().values():
            for label, count in worker.get("resources", {}).items():
                out[label] = out.get(label, 0) + count
        return out

    def offers_each(self) -> list[Mapping[str, float]]:
        """How many there are of each resource of each worker: what one cell takes, one worker has."""
        return [worker.get("resources", {}) for worker in self._workers().values()]

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
        self._permit = new_permit(folder)
        token = self._permit.read_text(encoding="utf-8")
        try:
            found = self._client.run(look, str(self._permit), on_error="return")
            check_suited(found, self._workers(), folder, token)
            self._check_graphics()
            self._warn(found)
        except BaseException:
            self.interrupt()
            raise
        return self._permit

    def _check_graphics(self) -> None:
        labeled = {worker: facts.get("resources", {}).get("gpu", 0) for worker, facts in self._workers().items()}
        if asked := [worker for worker, count in labeled.items() if count > 0]:
            check_graphics(self._client.run(graphics, workers=asked), labeled)

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
        sent = _Sent(Future(), pickle.dumps((function, args)), tuple(labels), priority)
        sent.made.set_running_or_notify_cancel()
        self._send(sent)
        return sent.made

    def _send(self, sent: _Sent) -> None:
        """Give something to the scheduler; workers whose disk failed are left out while others can do it."""
        key = f"varq-{secrets.token_hex(8)}"
        good = [worker for worker in able(self._workers(), sent.labels) if worker not in self._avoided]
        only = good if self._avoided else []
        try:
            future = self._client.submit(
                serve,
                self._version,
                sent.payload,
                key=key,
                pure=False,
                priority=sent.priority,
                resources=dict(sent.labels) or None,
                workers=only or None,
                allow_other_workers=False,
            )
        except Exception as error:  # of several kinds, as the connection stands
            raise self._gone(error) from error
        with self._lock:
            self._sent[key] = replace(sent, future=future, only=tuple(only))
        future.add_done_callback(partial(self._back, sent.made))

    def _move(self, workers: Collection[str]) -> None:
        """Send again what waits for workers that are gone: those that were started in their place have other names."""
        with self._lock:
            left = {key: sent for key, sent in self._sent.items() if sent.only and not set(sent.only) & set(workers)}
        for key, sent in left.items():
            if not sent.future.done():
                self._moved.add(key)
                sent.future.cancel()
                self._send(sent)

    def _back(self, made: Future[Any], future: Any) -> None:
        """Dask's callback: hand over what came."""
        if future.key in self._moved:
            with self._lock:
                self._sent.pop(future.key, None)
            return
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
                self._sent.pop(future.key, None)

    def _explained(self, future: Any, error: BaseException | None = None) -> BaseException:
        if future.key in self._called_back:
            return CancelledError()
        from distributed.scheduler import KilledWorker

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
            ClusterLost: if it has had no worker, or none for something that waits, for longer than the patience.
        """
        workers = self._workers()
        if workers:
            self._move(workers)
        with self._lock:
            wanted = {sent.labels for sent in self._sent.values()}
        return self._waits.standing(workers, wanted)

    # -- the end

    def interrupt(self) -> None:
        """Have workers stop after the evaluation in flight: the file that tells them to go on is taken away.

        What no worker has yet is called back: it might wait for ever.
        """
        if self._permit is not None:
            self._permit.unlink(missing_ok=True)
        self._take_back(lambda key: True)

    def call_back(self) -> None:
        """Call back what no worker has since the last call of this or of `interrupt`: its worker was lost meanwhile.

        What no worker has at one look alone may be an answer that is on its way.
        """
        before = self._workless
        self._take_back(before.__contains__)

    def _take_back(self, which: Callable[[str], bool]) -> None:
        """Call back those of what no worker has now of which `which` says so."""
        with self._lock:
            out = {key: sent.future for key, sent in self._sent.items()}
        if not out or self._client.status != "running":
            return
        try:
            begun = {key for keys in self._client.processing().values() for key in keys}
            self._workless = {key for key in out if key not in begun}
            back = [key for key in self._workless if which(key)]
            self._called_back.update(back)
            self._client.cancel([out[key] for key in back])
        except Exception as error:  # the connection may go at any moment; then nothing comes back anyway
            log.warning("What waits at %s could not be called back: %s", self.name, error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more, and let go of the cluster, which is left as it was found."""
        if self._closed:
            return
        self._closed = True
        self.interrupt()
        with self._lock:
            left = [sent.future for sent in self._sent.values()]
            self._sent.clear()
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


class DaskParts(NamedTuple):
    """What a cluster on one machine is made of.

    Args:
        worker: the class of what starts a worker, and starts it again.
        scheduler: the class of the scheduler.
        cluster: the class of a cluster of both.
        memory: of the machine, in bytes.
    """

    worker: Any
    scheduler: Any
    cluster: Any
    memory: int


def parts_of_dask() -> DaskParts:
    """What `local_cluster` needs of Dask.

    Raises:
        ModuleNotFoundError: if the extra `dask` is not installed.
    """
    try:
        import dask
        from distributed import Nanny, Scheduler, SpecCluster
        from distributed.system import MEMORY_LIMIT
    except ModuleNotFoundError as error:
        raise checks.missing_extra("distributed", "dask", "A cluster on this machine") from error

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

    return DaskParts(Nanny, Scheduler, Local, int(MEMORY_LIMIT))
