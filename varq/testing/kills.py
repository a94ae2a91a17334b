"""Kill a run with SIGKILL at named points or random moments, carry it on, and see whether anything shows.

A run is driven in a forked child, which dies for real; what devices ran is noted in a file that outlives it.
"""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varq import checks
from varq.protocol import Plan, Reply
from varq.session.run import Run
from varq.session.session import Session
from varq.store.records import Row
from varq.store.store import open_store
from varq.testing.executions import counted

__all__ = ["POINTS", "Kill", "Report", "chain_of_kills", "random_kills"]

Objects = Callable[[], Mapping[str, Any]]

POINTS = ("before execute", "after execute", "after journal", "inside tell")
OUTSIDE = -1  # stands for the step where a device runs for none


@dataclass(frozen=True)
class Kill:
    """Where a run dies: at a named point of the step with this number."""

    point: str
    step: int

    def __post_init__(self) -> None:
        checks.choice("point", self.point, POINTS)
        checks.integer("step", self.step, minimum=0)


@dataclass(frozen=True)
class Report:
    """What a run left behind.

    Args:
        rows: its journal.
        value: its answer.
        reason: why it ended.
        executed: how often a device ran for each step, over all lives; the final request counts under the last step.
        outside: how often a device ran for no step, over all lives.
        lives: how many processes it took.
    """

    rows: tuple[Row, ...]
    value: float | None
    reason: str | None
    executed: Mapping[int, int]
    outside: int
    lives: int

    def trace(self) -> tuple[tuple[Any, ...], ...]:
        """What must be the same, bit for bit, however often the run was killed: requests, replies and keys."""
        return tuple((r.step, r.role, r.request, r.reply, r.key) for r in self.rows)


def chain_of_kills(
    task: Callable[[], Any], folder: Path, kills: tuple[Kill, ...] = (), objects: Objects | None = None
) -> Report:
    """Run a spec, dying at each of `kills` in turn and carried on by a fresh process each time.

    Args:
        task: makes the spec (in the child).
        folder: empty; the store and the notes go there.
        kills: where to die, in order; none for an undisturbed run.
        objects: makes (in the child) the objects that the store cannot keep, by name; a run of such a spec is found
            again by its id, and not by the spec.

    Raises:
        RuntimeError: if a life ends otherwise than planned; holds the child's traceback.
    """
    for kill in kills:
        status = _life(task, folder, kill, objects)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise RuntimeError(f"The run was to die {kill.point} of step {kill.step} and did not. {_notes(folder)[1]}")
    _expect_success(_life(task, folder, None, objects), folder)
    return _report(folder, len(kills) + 1)


def random_kills(
    task: Callable[[], Any], folder: Path, kills: int, seed: int, longest: float, objects: Objects | None = None
) -> Report:
    """Run a spec, killed `kills` times at random moments and carried on each time.

    The moment is drawn uniformly below `longest` seconds after the life's first execution.  A life that ends before
    that is no kill: the run is then over, and fewer kills were made.
    """
    clock = random.Random(seed)
    deaths = 0
    while deaths < kills:
        status = _life(task, folder, None, objects, after=clock.uniform(0, longest))
        if not os.WIFSIGNALED(status):
            _expect_success(status, folder)
            break
        deaths += 1
    _expect_success(_life(task, folder, None, objects), folder)
    return _report(folder, deaths + 1)


def _life(
    task: Callable[[], Any], folder: Path, kill: Kill | None, objects: Objects | None, after: float | None = None
) -> int:
    """One process: starts or carries on the run; returns its wait status."""
    executed = sum(_notes(folder)[0].values())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _live(task, folder, kill, objects)
            code = 0
        except BaseException:
            (folder / "error.txt").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    if after is not None:
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status
            if deadline is None and sum(_notes(folder)[0].values()) > executed:
                deadline = time.monotonic() + after
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _live(task: Callable[[], Any], folder: Path, kill: Kill | None, objects: Objects | None) -> None:
    notes = os.open(folder / "executed.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    step = OUTSIDE

    def enter(entered: int) -> None:
        nonlocal step
        step = entered

    with (
        counted(lambda: os.write(notes, f"{step}\n".encode())),
        Session(store=folder / "store", progress=False) as session,
    ):
        known = [] if objects is None else session.list()
        run = session.load(known[0].id, objects=objects()) if known and objects else session.start(task())
        _watch(run, kill, enter)
        run.finish()


def _watch(run: Run, kill: Kill | None, enter: Callable[[int], None]) -> None:
    """Say for which step a device runs, and die at the planned point."""
    plan = run.plan

    def at(point: str, step: int) -> None:
        if point == "before execute":
            enter(step)
        elif point == "after execute":
            enter(OUTSIDE)
        if kill is not None and (kill.point, kill.step) == (point, step):
            os.kill(os.getpid(), signal.SIGKILL)

    class Dying:
        """The method, which dies after it has heard a reply and before anybody hears of it."""

        init, ask = staticmethod(plan.method.init), staticmethod(plan.method.ask)

        @staticmethod
        def tell(state: Any, reply: Reply) -> Any:
            heard = plan.method.tell(state, reply)
            if kill is not None and kill.point == "inside tell" and run.steps == kill.step:
                os.kill(os.getpid(), signal.SIGKILL)
            return heard

    run.instrument(at, _with_method(plan, Dying()))


def _with_method(plan: Plan, method: Any) -> Plan:
    return Plan(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "method": method})


def _notes(folder: Path) -> tuple[Counter[int], str]:
    executed = folder / "executed.txt"
    counted: Counter[int] = Counter()
    if executed.exists():
        for line in executed.read_text().splitlines():
            counted[int(line)] += 1
    error = folder / "error.txt"
    return counted, error.read_text() if error.exists() else ""


def _expect_success(status: int, folder: Path) -> None:
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"The run failed with status {status}. {_notes(folder)[1]}")


def _report(folder: Path, lives: int) -> Report:
    with open_store(folder / "store") as store:
        (record,) = store.list()
        rows = tuple(store.rows(record.id))
    executed = _notes(folder)[0]
    outside = executed.pop(OUTSIDE, 0)
    return Report(rows, record.value, record.reason, executed, outside, lives)
