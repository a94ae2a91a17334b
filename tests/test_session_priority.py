"""Which run goes first where no jobs say so: the highest priority that can go, and equals in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import pytest
from session_samples import DEVICE, task
from session_service import AT_ONCE, Scripted

from varq.protocol import Event, Reason, Stop
from varq.session.budget import Budget
from varq.session.run import Run
from varq.session.session import Session
from varq.testing.storms import Chain

pytestmark = [pytest.mark.flagless, pytest.mark.filterwarnings("ignore:varq cannot set the random seed")]

STEPS = 3


def drained(
    priorities: Sequence[int], act: Callable[[Session, list[Run], Event], Any] = lambda *args: None, **options: Any
) -> tuple[str, list[Run]]:
    """The runs in the order in which they stepped, a letter for each, and the runs."""
    order: list[str] = []
    with Session(DEVICE, store=None, progress=False, **options) as session:
        runs = [session.start(task(steps=STEPS, seed=k), priority=p) for k, p in enumerate(priorities)]

        def seen(event: Event) -> None:
            if event.kind == "step":
                order.append("abcdef"[[run.id for run in runs].index(event.run_id)])
                act(session, runs, event)

        for run in runs:
            run.observe(seen)
        session.drain()
    return "".join(order), runs


def test_the_higher_goes_first_and_equals_share() -> None:
    order, runs = drained([0, 5, 5, -1])
    assert order[: 2 * STEPS].count("b") == order[: 2 * STEPS].count("c") == STEPS
    assert max(len(list(same)) for _, same in groupby(order[: 2 * STEPS])) == 1, "equals take turns"
    assert order[2 * STEPS :] == "a" * STEPS + "d" * STEPS
    assert [run.result.reason for run in runs if run.result] == [Reason.STEPS] * 4


def test_who_is_held_back_lets_others_go() -> None:
    def act(session: Session, runs: list[Run], event: Event) -> None:
        if event.step == 1 and event.run_id == runs[1].id:
            session.pause(runs[1])
        if event.step == 2 and event.run_id == runs[0].id:
            session.pause(runs[1], False)

    assert drained([0, 5], act)[0] == "baabba"


def test_a_run_that_is_over_does_not_wait_for_its_turn() -> None:
    """Cancelled, or too late, while another of a higher priority goes on."""
    ended: list[tuple[int, list[bool]]] = []

    def act(session: Session, runs: list[Run], event: Event) -> None:
        if event.step == 1:
            session.cancel(runs[0])
            next(lane for lane in session.lanes if lane.run is runs[2]).deadline = time.time() - 1
        ended.append((event.step, [run.done for run in runs]))

    order, runs = drained([0, 5, 0], act)
    assert order == "b" * STEPS
    assert ended[-1] == (STEPS, [True, False, True])
    assert [run.result.reason for run in runs if run.result] == [Reason.STOPPED, Reason.STEPS, Reason.STOPPED]


def test_a_budget_goes_to_whom_it_was_meant_for_first() -> None:
    with Session(DEVICE, store=None, progress=False) as session:
        alone = session.run(task(steps=STEPS, seed=1))
    # What an evaluation will use is judged by the one before, so that the whole takes a little more than it uses.
    order, runs = drained([0, 5], budget=Budget(circuits=2 * alone.executions - 1, reserve=0))
    assert order.startswith("b" * STEPS)
    assert order.count("a") < STEPS
    assert [run.result.reason for run in runs if run.result] == [Reason.BUDGET, Reason.STEPS]


def test_runs_with_jobs_go_first_too_and_share_them() -> None:
    """Those that need none wait for a run of a higher priority that does; its jobs carry what else is in the queue."""
    order: list[str] = []
    service = Scripted()
    names = {}
    with Session(service, shots=20, store=None, progress=False, retry=AT_ONCE) as session:
        for name, priority in (("low", 0), ("high", 5)):
            run = session.start(Chain(seed=priority, stop=Stop(steps=STEPS)), priority=priority)
            names[run.id] = name
            run.observe(lambda event: order.append(names[event.run_id]) if event.kind == "step" else None)
        session.drain()
    assert order.count("low") == order.count("high") == STEPS
    assert order[:2] == ["high", "low"], "one job had room for both"
    assert len(service.jobs) < len(service.circuits)
