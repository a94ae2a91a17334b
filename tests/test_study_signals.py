"""Ctrl-C and SIGTERM on a study: what is in flight is finished and kept, and the second press waits for nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness import PATIENCE, until
from study_samples import described, ising
from test_study_cluster import ADA, Scheduler
from typer.testing import CliRunner

from varq.cli.app import app
from varq.protocol import Event
from varq.session.interrupt import REQUEUE
from varq.study import executors
from varq.study.cluster import Dask
from varq.study.executors import Here, Processes, opened
from varq.study.lost import WorkerLost
from varq.study.study import Study
from varq.study.watching import Watching
from varq.study.work import Order, _Working

LONG = 3600.0  # seconds that nobody waits for
INTERRUPTED = 130
CELLS, STEPS = 4, 3
ONCE = [signal.SIGINT]

STUDY = described(CELLS, STEPS)


def study() -> Study:
    return ising(cells=CELLS, steps=STEPS)


def press(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.01)  # the signal is handled in here


def pressed_at(monkeypatch: pytest.MonkeyPatch, count: int, numbers: list[signal.Signals], kind: str = "step") -> None:
    """Signals come while a run is driven, at so many steps of all cells, or what else happens."""
    seen = 0

    def observe(watching: Watching, event: Event) -> None:
        nonlocal seen
        seen += event.kind == kind
        if event.kind == kind and seen == count:
            press(numbers)

    monkeypatch.setattr(Watching, "observe", observe)


def pressed_between(monkeypatch: pytest.MonkeyPatch, cell: int, numbers: list[signal.Signals]) -> None:
    """Signals come when a cell is about to be started: nothing counts them for a run."""
    started, seen = _Working._started, 0

    def start(working: _Working, one: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == cell:
            press(numbers)
        return started(working, one)

    monkeypatch.setattr(_Working, "_started", start)


def steps_of(found: Study) -> int:
    return sum(row.role == "step" for run in found.layout.ids for row in found.store.rows(run))


Pressed = Callable[[pytest.MonkeyPatch, int, list[signal.Signals]], None]


@pytest.mark.parametrize(("pressed", "at", "steps"), [(pressed_at, 5, 5), (pressed_between, 2, STEPS)])
def test_the_first_press_keeps_what_is_in_flight_and_says_that_it_was_stopped(
    pressed: Pressed, at: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with study() as found:
        with monkeypatch.context() as patch:
            pressed(patch, at, ONCE)
            status = found.finish()
        assert status.stopped
        assert steps_of(found) == steps
        assert status["done"] == steps // STEPS
        status = found.finish()
        assert (status.stopped, status["done"]) == (False, CELLS)
        assert steps_of(found) == CELLS * STEPS


def test_a_press_when_nothing_is_left_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pressed_at(monkeypatch, CELLS, ONCE, "end")
    with study() as found:
        status = found.finish()
        assert status["done"] == CELLS
        assert not status.stopped


@pytest.mark.parametrize("pressed", [pressed_at, pressed_between])
def test_sigterm_ends_with_the_status_that_requeues(pressed: Pressed, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    pressed(monkeypatch, 2, [signal.SIGTERM])
    with study() as found, pytest.raises(SystemExit) as ended:
        found.finish()
    assert ended.value.code == REQUEUE
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("pressed", [pressed_at, pressed_between])
def test_the_second_press_ends_at_once(pressed: Pressed, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed(monkeypatch, 2, [signal.SIGINT, signal.SIGINT])
    with study() as found, pytest.raises(KeyboardInterrupt):
        found.finish()


class Elsewhere:
    """An executor that is none of varq's own.

    Args:
        numbers: the signals that come when it has its first order.
        answers: whether it does what it is asked.
    """

    def __init__(self, numbers: list[signal.Signals], answers: bool = True) -> None:
        self._numbers, self._answers = numbers, answers
        self.futures: list[Future[Any]] = []
        self.told: list[str] = []

    def submit(self, function: Any, /, order: Order) -> Future[Any]:
        if not self.futures:
            press(self._numbers)
        self.futures.append(Here().submit(function, order) if self._answers else Future())
        return self.futures[-1]

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def call_back(self) -> None:
        self.told.append("call back")
        if self.told.count("call back") == 2:
            for future in self.futures:
                future.cancel()
                future.set_running_or_notify_cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.told.append("shutdown")


class Preparing(Elsewhere):
    """One whose workers are waited for when somebody ends that."""

    def prepare(self, folder: Path) -> Path:
        press(self._numbers)
        raise AssertionError("it goes on")


def test_sigterm_while_workers_are_waited_for_requeues_too() -> None:
    with study() as found, pytest.raises(SystemExit) as ended:
        found.finish(Preparing([signal.SIGTERM]))
    assert ended.value.code == REQUEUE


def test_what_loses_its_worker_while_a_study_stops_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.study.finishing._BUSY", 0.01)
    executor = Elsewhere(ONCE, answers=False)
    with study() as found:
        assert found.finish(executor).stopped
    assert executor.told == ["interrupt", "call back", "call back"]


class Late(Elsewhere):
    """One that does its orders after the press, as workers that did not hear of it."""

    def __init__(self) -> None:
        super().__init__([])
        self.orders: list[tuple[Future[Any], Any, Order]] = []
        self.permitted: list[bool] = []

    def submit(self, function: Any, /, order: Order) -> Future[Any]:
        if not self.orders:
            press(ONCE)
        self.orders.append((Future(), function, order))
        return self.orders[-1][0]

    def interrupt(self) -> None:
        for future, function, order in self.orders:
            assert order.permit is not None
            self.permitted.append(order.permit.exists())
            future.set_result(function(order))


def test_workers_of_any_executor_stop_at_the_first_press() -> None:
    executor = Late()
    with study() as found:
        status = found.finish(executor)
        assert executor.permitted == [False] * len(executor.orders) != []
        assert status.stopped
        assert steps_of(found) == 0


def test_the_second_press_leaves_an_executor_of_somebody_else_to_them() -> None:
    executor = Elsewhere([signal.SIGINT, signal.SIGINT], answers=False)
    with study() as found:
        with pytest.raises(KeyboardInterrupt):
            found.finish(executor)
        assert "shutdown" not in executor.told
        executor._answers, executor._numbers = True, []
        assert found.finish(executor)["done"] == CELLS


# -- the command line


@pytest.mark.parametrize(
    ("numbers", "options", "status"),
    [
        (ONCE, [], INTERRUPTED),
        (ONCE, ["--shard", "1/2"], INTERRUPTED),
        ([signal.SIGINT, signal.SIGINT], [], INTERRUPTED),
        ([signal.SIGTERM], [], REQUEUE),
        ([signal.SIGTERM], ["--shard", "2/2"], REQUEUE),
    ],
    ids=["Ctrl-C", "Ctrl-C, shard", "twice", "SIGTERM", "SIGTERM, shard"],
)
def test_a_sweep_ends_with_the_status_that_is_promised(
    numbers: list[signal.Signals], options: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("long.toml").write_text(STUDY, encoding="utf-8")
    with monkeypatch.context() as patch:
        pressed_at(patch, 2, numbers)
        shown = CliRunner().invoke(app, ["sweep", "run", "long.toml", "--quiet", *options])
    assert shown.exit_code == status, shown.output
    assert ("Carry on with: varq sweep resume long.toml" in " ".join(shown.output.split())) == (status == INTERRUPTED)
    again = CliRunner().invoke(app, ["sweep", "resume", "long.toml", "--quiet"])
    assert again.exit_code == 0, again.output
    with study() as found:
        assert found.status()["done"] == CELLS
        assert steps_of(found) == CELLS * STEPS


def test_sigterm_while_a_sweep_is_laid_out_requeues(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("long.toml").write_text(STUDY, encoding="utf-8")

    def laid_out(*given: Any, **options: Any) -> None:
        press([signal.SIGTERM])
        raise AssertionError("it goes on")

    monkeypatch.setattr("varq.cli.sweeping.sweep", laid_out)
    assert CliRunner().invoke(app, ["sweep", "run", "long.toml"]).exit_code == REQUEUE


def test_cells_that_nobody_asked_for_do_not_make_a_sweep_a_stopped_one() -> None:
    Path("long.toml").write_text(STUDY, encoding="utf-8")
    shown = CliRunner().invoke(app, ["sweep", "retry", "long.toml", "--quiet"])
    assert shown.exit_code == 0, shown.output
    assert "0 of 4 cells done, 4 missing" in shown.output


# -- processes of this machine


def interrupted(processes: Processes, future: Future[Any]) -> BaseException | None:
    """What becomes of a call when its process is interrupted; until that has begun it does not hear of it."""

    def over() -> bool:
        processes.interrupt()
        return future.done()

    until(over)
    return future.exception(timeout=0)


def test_an_interrupt_ends_what_a_process_does_and_not_the_process() -> None:
    with Processes(1) as processes:
        assert processes.submit(abs, -1).result() == 1
        (before,) = processes.pids
        assert isinstance(interrupted(processes, processes.submit(time.sleep, LONG)), KeyboardInterrupt)
        assert processes.submit(abs, -2).result() == 2
        assert processes.pids == [before]


@pytest.mark.parametrize("own", [True, False])
def test_a_second_press_kills_the_processes_of_varq_alone(own: bool) -> None:
    with Processes(1) as theirs:
        block = opened(1 if own else theirs)
        processes = block.__enter__()
        held, waits = processes.submit(time.sleep, LONG if own else 0.2), processes.submit(abs, -1)
        until(lambda: processes.pids)
        assert not block.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None), "it is raised again"
        if own:
            assert isinstance(held.exception(timeout=PATIENCE), WorkerLost)
            assert waits.cancelled()
            assert processes.pids == []
        else:
            assert held.result(PATIENCE) is None
            assert waits.result(PATIENCE) == theirs.submit(abs, -1).result(PATIENCE) == 1


def on_graphics(monkeypatch: pytest.MonkeyPatch, asked: Callable[[], Any]) -> Processes:
    """A process that is asked something else than what JAX has."""
    monkeypatch.setattr(executors, "graphics", asked)
    monkeypatch.setattr(executors, "devices_apart", lambda shares, known: [{} for _ in shares])
    return Processes(1, labels={"gpu": 1})


def test_an_interrupt_while_a_process_is_asked_for_its_graphics_processors_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_graphics(monkeypatch, partial(time.sleep, LONG)) as processes:
        future = processes.place((("gpu", 1),), 0, abs, -1)
        assert isinstance(interrupted(processes, future), KeyboardInterrupt)
        assert processes.submit(abs, -1).result() == 1


def test_an_error_of_that_question_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = pytest.raises(FileNotFoundError, match="nowhere")
    with on_graphics(monkeypatch, partial(os.stat, "nowhere")) as processes, missing:
        processes.place((("gpu", 1),), 0, abs, -1).result(PATIENCE)


def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*given: Any, **options: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    with Processes(1) as processes:
        monkeypatch.setattr(executors, "subprocess", SimpleNamespace(Popen=start, DEVNULL=None))
        with pytest.raises(OSError, match=r"could not be started: .*Cannot allocate memory"):
            processes.submit(abs, -1).result(PATIENCE)


# -- a cluster


def test_a_cluster_calls_back_what_no_worker_has() -> None:
    scheduler = Scheduler({ADA: {}})
    dask = Dask(scheduler)
    begun, waits = dask.submit(abs, -1), dask.submit(abs, -2)
    held = {ADA: [scheduler.futures[0].key]}
    scheduler.processing = lambda: held  # type: ignore[method-assign]
    dask.interrupt()
    assert isinstance(waits.exception(timeout=0), CancelledError)
    dask.call_back()
    dask.call_back()
    assert not begun.done()
    held.clear()  # the worker is gone, or its answer is on the way
    dask.call_back()
    assert not begun.done()
    dask.call_back()
    assert isinstance(begun.exception(timeout=0), CancelledError)
