"""A budget holds over a run's whole life, whichever process goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from session_samples import DEVICE, SHOTS, task
from test_cli_sessions import ISING, call, good

from varq.protocol import Event, Reason
from varq.session import api
from varq.session.budget import Budget
from varq.session.limits import TERMS, last_limited
from varq.session.session import Session
from varq.store.faults import OwnedError
from varq.store.job_records import SessionState
from varq.store.store import open_store

MOST = 1300  # shots: enough to find SPSA's gains and for a few steps, but not for all of `task(steps=9)`


def used(folder: Path) -> list[int]:
    """The shots of each session of a store."""
    with open_store(folder, read_only=True) as store:
        return [store.jobs.spent(record.id).shots for record in store.jobs.sessions()]


def begun(folder: Path, **options: Any) -> str:
    """A run of a session with a budget that is left after its first step; its id."""
    with Session(DEVICE, shots=SHOTS, budget=Budget(shots=MOST), store=folder, progress=False, **options) as session:
        run = session.start(task(steps=9))
        run.step()
    return run.id


def test_a_run_is_resumed_within_the_budget_it_was_given(tmp_path: Path) -> None:
    run, folder = begun(tmp_path / "store"), tmp_path / "store"
    (before,) = used(folder)
    result = api.resume(run, store=folder, progress=False)
    assert result.reason is Reason.BUDGET
    (after,) = used(folder)
    assert before < after <= MOST
    assert api.resume(run, store=folder, progress=False).reason is Reason.BUDGET
    assert used(folder) == [after], "nothing more was sent"
    with open_store(folder, read_only=True) as store:
        (record,) = store.jobs.sessions()
        assert record.state is SessionState.CLOSED
        assert store.jobs.notes(record.id, kind=TERMS) == [], "it goes by what it was opened with"


def test_without_a_budget_a_resumed_run_has_none(tmp_path: Path) -> None:
    with Session(DEVICE, shots=SHOTS, store=tmp_path / "store", progress=False) as session:
        run = session.start(task(steps=3))
        run.step()
    assert api.resume(run.id, store=tmp_path / "store", progress=False).reason is Reason.STEPS
    with open_store(tmp_path / "store", read_only=True) as store:
        assert last_limited(store, run.id) is None


def test_a_command_that_is_queued_again_does_not_begin_its_budget_anew(tmp_path: Path) -> None:
    """A batch script that is requeued, as status 75 is for, types the same words again."""
    (tmp_path / "ising.toml").write_text(ISING.replace("steps = 3", "steps = 9"))
    words = ("run", "ising.toml", "--quiet", "--store", "here", "--budget-shots")
    for _ in range(2):
        assert "ended     budget" in good(*words, MOST)
        (shots,) = used(tmp_path / "here")
        assert shots <= MOST
    assert "ended     steps" in good(*words, 100_000)
    assert len(used(tmp_path / "here")) == 1, "all limits are those of one session"


def test_a_larger_budget_is_named_and_given_to_a_run_that_is_carried_on(tmp_path: Path) -> None:
    run = begun(tmp_path / "store")
    where = ("--store", "store")
    assert "ended     budget" in good("resume", run, *where, "--quiet")
    shown = good("show", run, *where)
    assert f"Go further with a larger budget: varq resume {run[:8]} --store store --budget-shots {2 * MOST}" in shown
    (before,) = used(tmp_path / "store")
    good("resume", run, *where, "--quiet", "--budget-shots", MOST + 300)
    (more,) = used(tmp_path / "store")
    assert before < more <= MOST + 300
    assert f"--budget-shots {2 * (MOST + 300)}" in good("show", run, *where), "the last one holds"
    assert "ended     steps" in good("resume", run, *where, "--quiet", "--budget-shots", 100_000)
    refused = call("resume", run, *where, "--budget-shots", -1)
    assert refused.exit_code == 2


def test_what_another_process_has_is_not_taken(tmp_path: Path) -> None:
    run, folder = begun(tmp_path / "store"), tmp_path / "store"
    with open_store(folder) as other:
        (record,) = other.jobs.sessions()
        with other.lease(record.id), pytest.raises(OwnedError, match="owned by"):
            api.resume(run, store=folder, progress=False)


def test_a_session_that_was_left_stays_so_for_its_other_runs(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Session(DEVICE, shots=SHOTS, budget=Budget(shots=100_000), store=folder, progress=False) as session:
        runs = [session.start(task(seed=seed, steps=3)) for seed in (0, 1)]
        session.desk.known = True
        session.desk.begin(session.lanes)
        session.desk.leave()
    states = []
    for run in runs:
        assert api.resume(run.id, store=folder, progress=False).reason is Reason.STEPS
        with open_store(folder, read_only=True) as store:
            states += [record.state for record in store.jobs.sessions()]
    assert states == [SessionState.OPEN, SessionState.CLOSED]


def test_prices_and_tries_hold_on_too(tmp_path: Path) -> None:
    prices = {DEVICE: {"per_shot": 0.01, "dated": "2026", "source": "us"}}
    with Session(
        DEVICE, shots=SHOTS, budget=Budget(cost=MOST / 100), prices=prices, store=tmp_path / "store", progress=False
    ) as session:
        run = session.start(task(steps=9))
        run.step()
    told: list[Event] = []
    result = api.resume(run.id, store=tmp_path / "store", progress=False, observers=[told.append])
    assert result.reason is Reason.BUDGET
    assert told
    (shots,) = used(tmp_path / "store")
    assert shots <= MOST
