"""Where batches run: here, in processes of this machine, or with whatever has the shape of `concurrent.futures`."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Protocol

from varq import checks

__all__ = ["Executor", "Here", "Processes", "WorkerLost", "executor_of"]

_ONE_THREAD = (
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
)
_XLA = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")


class WorkerLost(BrokenExecutor):
    """A worker ended without an answer; the executor has another one for what comes next."""


class Executor(Protocol):
    """What runs functions somewhere and gives futures, as `concurrent.futures.Executor` does."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have a function called; its arguments may have to be pickled."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more."""


class Here:
    """Calls functions in this process, at once."""

    workers = 1

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Call a function; the future is done when this returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **keywords))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is left to end."""


class Processes:
    """Worker processes of this machine, each with one thread; one that dies is replaced.

    Each is a fresh Python, never a fork, started when there is work for it.  It ends when this process does.

    Args:
        workers: how many; None for one for each processor.

    Raises:
        ValueError: for fewer than 1.

    Example:
        >>> with Processes(1) as processes:
        ...     processes.submit(abs, -2).result()
        2
    """

    def __init__(self, workers: int | None = None) -> None:
        number = os.cpu_count() or 1 if workers is None else workers
        self.workers = checks.integer("workers", number, minimum=1)
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lives: dict[int, _Worker] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"varq-workers-{number}", daemon=True)
            for number in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()

    @property
    def pids(self) -> list[int]:
        """The processes that are there now."""
        return [worker.process.pid for worker in list(self._lives.values()) if worker.process.poll() is None]

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have a function of an importable module called by one of the processes.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("Processes that were shut down take nothing more. Make others: Processes(2).")
        future: Future[Any] = Future()
        self._jobs.put((future, (function, args, keywords)))
        return future

    def interrupt(self) -> None:
        """Have each worker stop after what is in flight, as Ctrl-C does."""
        for worker in list(self._lives.values()):
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once what was submitted is done, or with `cancel_futures` once what they do is."""
        if self._closed:
            return
        self._closed = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._jobs.get_nowait()[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, number: int) -> None:
        """The thread of one worker: hands it what comes, and starts another one when it is gone."""
        while (job := self._jobs.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if number not in self._lives or self._lives[number].process.poll() is not None:
                    self._lives[number] = _Worker()
                kind, answer = self._lives[number].ask(call)
            except (EOFError, OSError) as error:
                status = self._lives.pop(number).end() if number in self._lives else None
                future.set_exception(WorkerLost(f"A worker process ended with status {status}: {error}"))
                continue
            except Exception as error:  # the call cannot be pickled
                future.set_exception(error)
                continue
            if kind == "result":
                future.set_result(answer)
            else:
                future.set_exception(answer)
        if number in self._lives:
            self._lives.pop(number).end()


class _Worker:
    """One process, and the wire to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        flags = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *_XLA])
        with theirs:
            words = [sys.executable, "-m", "varq.study.process", str(theirs.fileno()), str(os.getpid())]
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the one process that a person sees
                env={**os.environ, **dict(_ONE_THREAD), "XLA_FLAGS": flags},
            )
        self.wire = Connection(ours.detach())

    def ask(self, call: Any) -> Any:
        self.wire.send(call)
        return self.wire.recv()

    def end(self) -> int | None:
        """Close the wire, on which the process ends; returns its status."""
        self.wire.close()
        try:
            return self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def executor_of(given: Any) -> tuple[Executor, bool]:
    """What a person names as an executor, and whether it is to be shut down after use.

    Args:
        given: None (this process), "processes", a number of processes, or anything with `submit`.

    Raises:
        ModuleNotFoundError: for an address, which needs the extra `dask`.
        TypeError: for something else, threads among it: PennyLane's queue is one for a whole process.
    """
    if given is None:
        return Here(), True
    if isinstance(given, str) and given == "processes":
        return Processes(), True
    if isinstance(given, str) and "://" in given:
        raise checks.missing_extra("distributed", "dask", f"A study on a cluster at {given}")
    if isinstance(given, int) and not isinstance(given, bool):
        return Processes(given), True
    if isinstance(given, ThreadPoolExecutor):
        raise TypeError(
            "executor must not be made of threads: PennyLane keeps one queue of operations for a whole process, in "
            f"which circuits of several threads mix. Got {given!r}. Give a number of processes, such as executor=2."
        )
    if callable(getattr(given, "submit", None)):
        return given, False
    raise TypeError(
        "executor must be None (this process), 'processes', a number of processes, or an object with submit, as of "
        f"concurrent.futures. Got {given!r}. Give executor=2, for instance."
    )
