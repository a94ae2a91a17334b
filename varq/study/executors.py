"""Where batches run: here, in processes of this machine, or with whatever has the shape of `concurrent.futures`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from varq import checks
from varq.study.cluster import Dask, is_of_dask
from varq.study.environment import devices_apart, worker_environment
from varq.study.lost import Unsuited, WorkerLost
from varq.study.needs import Labels, offered, shared
from varq.study.suited import check_graphics, graphics

__all__ = ["Executor", "Here", "Placing", "Processes", "executor_of", "opened"]


class Executor(Protocol):
    """What runs functions somewhere and gives futures, as `concurrent.futures.Executor` does."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have a function called; its arguments may have to be pickled."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more."""


class Placing(Executor, Protocol):
    """An executor whose workers have labels, and which knows priorities."""

    name: str
    """What it is, for people."""

    @property
    def workers(self) -> int:
        """How many work at a time."""

    def offers(self) -> Mapping[str, float] | None:
        """How many there are of each label; None where a cell's device is all that counts."""

    def place(self, labels: Labels, priority: int, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """`submit`, to where these labels are free; of what waits, the highest priority goes first."""


class Here:
    """Calls functions in this process, at once."""

    workers = 1
    name = "this process"

    def offers(self) -> None:
        """Any quantum processor, one cell at a time; graphics processors as JAX has them."""

    def place(self, labels: Labels, priority: int, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """`submit`: what runs here has every label to itself."""
        return self.submit(function, *args)

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


@dataclass(eq=False)
class _Job:
    """A call that waits for a worker."""

    future: Future[Any]
    call: Any
    labels: Labels
    priority: int


class Processes:
    """Worker processes of this machine, each with one thread; one that dies is replaced.

    Each is a fresh Python, never a fork, started when there is work for it.  It ends when this process does.

    Args:
        workers: how many; None for one for each processor.
        labels: what cells may need, with how many of them may have it at a time: {"qpu:ibm.torino": 1, "gpu": 1}.
            Graphics processors are shared out evenly, and each process sees its own alone.

    Raises:
        ValueError: for fewer than 1, a label that there is not, or more graphics processors than CUDA_VISIBLE_DEVICES
            names.

    Example:
        >>> with Processes(1) as processes:
        ...     processes.submit(abs, -2).result()
        2
    """

    name = "processes of this machine"

    def __init__(self, workers: int | None = None, labels: Mapping[str, int] | None = None) -> None:
        number = os.cpu_count() or 1 if workers is None else workers
        self.workers = checks.integer("workers", number, minimum=1)
        self._labels = offered({} if labels is None else labels)
        self._gpus = shared(self._labels.get("gpu", 0), self.workers)
        apart = "gpu" in self._labels  # else each sees what this process sees
        self._seen = devices_apart(self._gpus, os.environ) if apart else [{} for _ in self._gpus]
        self._taken: Counter[str] = Counter()
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()  # of the jobs that wait, and of the labels that are taken
        self._lives: dict[int, _Worker] = {}
        self._closed = self._killed = False
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

    def offers(self) -> Mapping[str, float]:
        """How many cells may have each label at a time."""
        return dict(self._labels)

    def offers_each(self) -> list[Mapping[str, float]]:
        """The same for each process: labels of quantum processors are anybody's, graphics processors are not."""
        return [{**self._labels, "gpu": gpus} for gpus in self._gpus]

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have a function of an importable module called by one of the processes.

        Raises:
            RuntimeError: after `shutdown`.
        """
        return self._put(_Job(Future(), (function, args, keywords), (), 0))

    def place(self, labels: Labels, priority: int, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """`submit`, when these labels are free; of what waits, the highest priority goes first.

        Raises:
            RuntimeError: after `shutdown`.
        """
        return self._put(_Job(Future(), (function, args, {}), labels, priority))

    def _put(self, job: _Job) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise RuntimeError("Processes that were shut down take nothing more. Make others: Processes(2).")
            self._jobs.append(job)
            self._changed.notify_all()  # not everyone can do it
        return job.future

    def interrupt(self) -> None:
        """Have each worker stop after what is in flight, as Ctrl-C does."""
        for worker in list(self._lives.values()):
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once what was submitted is done, or with `cancel_futures` once what they do is."""
        with self._changed:
            self._closed = True
            if cancel_futures:
                for job in self._jobs:
                    job.future.cancel()
                self._jobs.clear()
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self) -> None:
        """End the processes at once, whatever they do; nothing more is taken."""
        self._killed = True
        self.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._lives.values()):
            worker.process.kill()

    def _next(self, number: int) -> _Job | None:
        """The job that a worker does next, when there is one whose labels are free; None when there will be none."""
        with self._changed:
            while True:
                free = [job for job in self._jobs if all(self._has(number, *label) for label in job.labels)]
                if free:
                    job = max(free, key=lambda job: job.priority)  # of equal ones the first
                    self._jobs.remove(job)
                    self._taken.update(dict(job.labels))
                    return job
                if self._closed and not any(self._could(number, job) for job in self._jobs):
                    return None
                self._changed.wait()

    def _has(self, number: int, label: str, count: int) -> bool:
        if label == "gpu":  # its own, of which nobody else takes any
            return count <= self._gpus[number]
        return self._taken[label] + count <= self._labels.get(label, 0)

    def _could(self, number: int, job: _Job) -> bool:
        """Whether a worker can do a job, now or later."""
        return all(label != "gpu" or count <= self._gpus[number] for label, count in job.labels)

    def _serve(self, number: int) -> None:
        """The thread of one worker: hands it what comes, and starts another one when it is gone."""
        while (job := self._next(number)) is not None:
            try:
                if job.future.set_running_or_notify_cancel():
                    self._do(number, job)
            finally:
                with self._changed:
                    self._taken.subtract(dict(job.labels))
                    self._changed.notify_all()
        if number in self._lives:
            self._lives.pop(number).end()

    def _do(self, number: int, job: _Job) -> None:
        try:
            worker = self._worker(number)
        except OSError as error:  # no fault of the call's, nor of another process
            job.future.set_exception(OSError(f"A worker process could not be started: {error}"))
            return
        try:
            kind, answer = "error", self._lacks(number, worker) if "gpu" in dict(job.labels) else None
            if answer is None:
                kind, answer = worker.ask(job.call)
        except (EOFError, OSError) as error:
            status = self._lives.pop(number).end()
            job.future.set_exception(WorkerLost(f"A worker process ended with status {status}: {error}"))
        except BaseException as error:  # the call cannot be pickled; whatever it is, somebody waits for the future
            job.future.set_exception(error)
        else:
            if kind == "result":
                job.future.set_result(answer)
                return
            if isinstance(answer, SystemExit):  # the process ends now
                self._lives.pop(number).end()
            job.future.set_exception(answer)

    def _worker(self, number: int) -> _Worker:
        """The process of a thread, started anew where there is none."""
        if number not in self._lives or self._lives[number].process.poll() is not None:
            self._lives[number] = _Worker(self._seen[number])
            if self._killed:  # meanwhile
                self._lives[number].process.kill()
        return self._lives[number]

    def _lacks(self, number: int, worker: _Worker) -> BaseException | None:
        """Why a worker cannot have the label of graphics processors; None if JAX has there what that says."""
        kind, has = worker.ask((graphics, (), {}))
        if kind != "result":  # an error there, or somebody stopped it
            return has  # type: ignore[no-any-return]
        who = f"process {worker.process.pid}"
        try:
            check_graphics({who: has}, {who: self._gpus[number]})
        except Unsuited as error:
            return error
        return None


class _Worker:
    """One process, and the wire to it.

    Args:
        seen: variables that say which graphics processors it has.
    """

    def __init__(self, seen: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        alone = worker_environment(flags=os.environ.get("XLA_FLAGS", ""))
        with theirs, ours:
            words = [sys.executable, "-m", "varq.study.process", str(theirs.fileno()), str(os.getpid())]
            # `interrupt` may come while Python starts there: held back until the process can take it, it ends nothing.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self.process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the one process that a person sees
                    env={**os.environ, **alone, **seen},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
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
        given: None (this process), "processes", a number of processes, the address of a Dask scheduler, a cluster or
            client of Dask, or anything with `submit`.

    Raises:
        ModuleNotFoundError: for what needs the extra `dask`, where it is not installed.
        OSError: if nobody answers at the address.
        TypeError: for something else, threads among it: PennyLane's queue is one for a whole process; and for a pool
            of processes that are forked, as those of Python up to 3.13 on Linux are by default.
    """
    if given is None:
        return Here(), True
    if isinstance(given, str) and given == "processes":
        return Processes(), True
    if (isinstance(given, str) and "://" in given) or is_of_dask(given):
        return Dask(given), True
    if isinstance(given, int) and not isinstance(given, bool):
        return Processes(given), True
    if isinstance(given, ThreadPoolExecutor):
        raise TypeError(
            "executor must not be made of threads: PennyLane keeps one queue of operations for a whole process, in "
            f"which circuits of several threads mix. Got {given!r}. Give a number of processes, such as executor=2."
        )
    if isinstance(given, ProcessPoolExecutor) and _forks(given):
        raise TypeError(
            "executor must not fork: a child has the locks of this process and not the threads of JAX that would open "
            f"them, and may wait for ever. Got {given!r}. Give it mp_context=multiprocessing.get_context('spawn'), or "
            "name a number of processes, such as executor=2."
        )
    if callable(getattr(given, "submit", None)):
        return given, False
    raise TypeError(
        "executor must be None (this process), 'processes', a number of processes, the address of a Dask scheduler, a "
        f"cluster or client of Dask, or an object with submit, as of concurrent.futures. Got {given!r}. "
        "Give executor=2, or executor='tcp://host:8786'."
    )


@contextmanager
def opened(given: Any) -> Iterator[Any]:
    """What a person names as an executor, as of `executor_of`; what was made for that is ended with the block."""
    chosen, own = executor_of(given)
    try:
        yield chosen
    except KeyboardInterrupt:  # the second press: nothing in flight is waited for
        if own and isinstance(chosen, Processes):
            chosen.kill()
        raise
    finally:
        if own:
            chosen.shutdown(wait=True, cancel_futures=True)


def _forks(pool: ProcessPoolExecutor) -> bool:
    """Whether a pool's processes are copies of this one; Python tells it by no public name."""
    context = getattr(pool, "_mp_context", None)
    return context is not None and context.get_start_method() == "fork"
