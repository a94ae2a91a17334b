"""Runs: found again, carried on, replayed, stopped; nothing computed twice."""

import dataclasses
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pennylane as qml
import pytest

import varq
from varq import names, spec
from varq.algorithms import VQE, Minimize
from varq.node.function import FunctionCost
from varq.optimizers import Optax, Rotosolve, Scipy
from varq.problems import TransverseFieldIsing
from varq.protocol import Event, Reason, Reply, Stop
from varq.session.session import Session
from varq.session.trace import Trace
from varq.store.faults import OwnedError, StoreMissing, StoreUnwritable
from varq.store.maintenance import references

# A function counts by all it reads; what it finds by way of the standard library counts by that library's name, so
# these notes may change under `valley`.
NOTES = types.ModuleType("notes of test_session_runs")
sys.modules[NOTES.__name__] = NOTES
NOTES.calls = []
NOTES.broken = []


def valley(x: Any) -> float:
    """Rosenbrock's valley, noting each call; its minimum is 0 at (1, 1)."""
    notes = sys.modules["notes of test_session_runs"]
    notes.calls.append(np.array(x))
    for error in notes.broken:
        if isinstance(error, Exception):
            raise error
    if "nan" in notes.broken and len(notes.calls) > 3:
        return float("nan")
    return float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)


def bowl(x: Any) -> float:
    return float(x @ x)


def double(x: Any) -> Any:
    return 2 * x


def slope(x: Any) -> np.ndarray:
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def task(optimizer: Any = "L-BFGS-B", **options: Any) -> Minimize:
    return Minimize(
        **{"cost": valley, "x0": np.array([-1.2, 1.0]), "optimizer": optimizer, "gradient": slope, **options}
    )


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    NOTES.calls.clear()
    NOTES.broken.clear()
    yield
    NOTES.broken.clear()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def session(tmp_path: Path, events: list[Event]) -> Iterator[Session]:
    with Session(store=tmp_path / "store", progress=False, observers=[events.append]) as opened:
        yield opened


ADAM = Optax("adam", learning_rate=0.02)


def test_a_finished_run_called_again_costs_nothing_and_says_so(session: Session, events: list[Event]) -> None:
    first = session.run(task())
    assert first.reason is Reason.CONVERGED
    assert first.value == pytest.approx(0, abs=1e-9)
    calls = len(NOTES.calls)
    again = session.run(task())
    assert len(NOTES.calls) == calls
    assert spec.dumps(again) == spec.dumps(first)
    assert "done already" in events[-1].info["message"]


def test_another_session_finds_it(tmp_path: Path) -> None:
    first = varq.run(task(), store=tmp_path, progress=False)
    calls = len(NOTES.calls)
    assert spec.dumps(varq.run(task(), store=tmp_path, progress=False)) == spec.dumps(first)
    assert len(NOTES.calls) == calls


def test_two_learning_rates_never_share_an_id(session: Session) -> None:
    ids = {session.start(task(Optax("adam", learning_rate=rate))).id for rate in (0.01, 0.02, 0.1)}
    assert len(ids) == 3


def test_a_default_and_the_same_value_written_out_have_one_id(session: Session) -> None:
    assert session.start(task()).id == session.start(task(Scipy("L-BFGS-B"), repeat=0, gradient=slope)).id


def test_stop_rules_do_not_make_the_id(session: Session) -> None:
    assert session.start(task(ADAM, stop=Stop(steps=3))).id == session.start(task(ADAM)).id


def test_a_larger_stop_carries_a_finished_run_on(session: Session) -> None:
    short = session.run(task(ADAM), stop=Stop(steps=20))
    assert (short.reason, short.steps, len(NOTES.calls)) == (Reason.STEPS, 20, 20)
    longer = varq.resume(short.run_id, stop=Stop(steps=50), store=session.store, progress=False)
    assert (longer.reason, longer.steps, longer.replay) == (Reason.STEPS, 50, "exact")
    assert len(NOTES.calls) == 50
    straight = session.run(task(ADAM), stop=Stop(steps=50), existing="repeat")
    assert straight.value == longer.value
    assert np.array_equal(straight.parameters, longer.parameters)


def test_a_smaller_stop_changes_nothing(session: Session) -> None:
    first = session.run(task(ADAM), stop=Stop(steps=20))
    assert session.run(task(ADAM), stop=Stop(steps=5)).steps == first.steps
    assert len(NOTES.calls) == 20


@pytest.mark.parametrize("rule", [None, Stop(steps=3), Stop(steps=500), Stop(tolerance=1e-2)])
def test_a_run_that_ended_by_itself_stands_under_every_rule(session: Session, rule: Stop | None) -> None:
    first = session.run(task())
    calls = len(NOTES.calls)
    again = session.run(task(), stop=rule)
    assert spec.dumps(again) == spec.dumps(first)
    assert session.store.get(first.run_id).reason == "converged"
    assert len(NOTES.calls) == calls


def test_a_run_cut_short_goes_on_when_the_whole_is_asked_for(session: Session) -> None:
    short = session.run(task(stop=Stop(steps=2)))
    assert (short.reason, short.steps) == (Reason.STEPS, 2)
    assert session.run(task()).reason is Reason.CONVERGED


def test_a_run_ended_by_tolerance_goes_on_under_a_finer_one(session: Session) -> None:
    slow = task(Optax("sgd", learning_rate=1e-5))
    coarse = session.run(slow, stop=Stop(tolerance=1.0, patience=3))
    assert coarse.reason is Reason.CONVERGED
    assert session.run(slow, stop=Stop(tolerance=1.0, patience=3)).steps == coarse.steps
    finer = session.run(slow, stop=Stop(tolerance=1e-6, patience=3, steps=30))
    assert finer.steps > coarse.steps
    calls = len(NOTES.calls)
    coarser = session.run(slow, stop=Stop(tolerance=10.0, patience=3))
    assert (coarser.steps, len(NOTES.calls)) == (finer.steps, calls)


def test_a_stop_during_replay_does_not_make_the_record_worse(session: Session) -> None:
    first = session.run(task(ADAM), stop=Stop(steps=20))
    longer = session.load(first.run_id, stop=Stop(steps=40))
    longer.observe(lambda event: longer.stop())
    longer.finish()
    stored = session.store.get(first.run_id)
    assert (stored.steps, stored.value) == (first.steps, first.value)
    assert session.run(task(ADAM), stop=Stop(steps=40)).steps == 40


def test_existing_chooses(session: Session) -> None:
    first = session.run(task())
    with pytest.raises(ValueError, match=r"was run before, as .*existing='continue'"):
        session.run(task(), existing="error")
    assert session.run(task(), existing="return").run_id == first.run_id
    calls = len(NOTES.calls)
    again = session.run(task(), existing="repeat")
    assert again.run_id != first.run_id
    assert len(NOTES.calls) == 2 * calls
    assert again.value == first.value
    with pytest.raises(ValueError, match="existing must be one of"):
        session.run(task(), existing="maybe")


def test_return_gives_what_there_is_and_executes_nothing(session: Session) -> None:
    run = session.start(task())
    run.step(5)
    calls = len(NOTES.calls)
    partial = session.run(task(), existing="return")
    assert (partial.reason, partial.steps, len(NOTES.calls)) == (Reason.STOPPED, 5, calls)
    assert partial.value == run.value
    assert run.finish().reason is Reason.CONVERGED


def test_an_unfinished_run_continues_where_it_was(session: Session) -> None:
    session.start(task()).step(7)
    calls = len(NOTES.calls)
    resumed = session.run(task())
    straight = session.run(task(), existing="repeat")
    assert resumed.replay == "exact"
    assert resumed.replay_difference == 0
    assert resumed.value == straight.value
    assert np.array_equal(resumed.parameters, straight.parameters)
    assert calls == 7
    assert straight.steps == resumed.steps == (len(NOTES.calls) / 2)


def test_a_run_is_carried_on_by_its_id_alone(session: Session) -> None:
    run = session.start(task(ADAM, stop=Stop(steps=12)))
    run.step(4)
    loaded = varq.load(run.id[:6], store=session.store, progress=False)
    assert loaded.finish().steps == 12
    assert len(NOTES.calls) == 12
    assert np.array_equal(run.finish().parameters, loaded.parameters)
    assert len(NOTES.calls) == 12  # the first holder finds what the second one recorded


@pytest.mark.parametrize("again", [None, 12])
def test_a_run_is_carried_on_by_the_rule_that_it_went_by_last(session: Session, again: int | None) -> None:
    """Which may stand beside its spec, or in a spec that is equal but for it."""
    short, last = 7, again or 9
    run = session.start(task(ADAM, stop=Stop(steps=5)), stop=Stop(steps=9))
    run.step(short)
    if again is not None:
        session.start(task(ADAM, stop=Stop(steps=again))).step(short)
    undisturbed = session.start(task(ADAM), stop=Stop(steps=last), existing="repeat")
    undisturbed.finish()
    carried = varq.load(run.id, store=session.store, progress=False)
    result = carried.finish()
    assert (result.reason, result.steps, result.rule) == (Reason.STEPS, last, Stop(steps=last))
    assert np.array_equal(carried.record().points, undisturbed.record().points)
    assert varq.resume(run.id, store=session.store, progress=False).steps == last
    assert len(NOTES.calls) == 2 * last


def test_the_rule_of_the_method_itself_is_recorded_too(session: Session) -> None:
    run = session.start(task(), stop=Stop(steps=3))
    run.step(2)
    session.start(task()).step()
    assert varq.resume(run.id, store=session.store, progress=False).reason is Reason.CONVERGED


def test_a_rule_with_which_nothing_is_done_is_not_recorded(session: Session) -> None:
    first = session.run(task(ADAM), stop=Stop(steps=6))
    session.run(task(ADAM), stop=Stop(steps=4))
    session.start(task(ADAM), stop=Stop(steps=8), existing="return")
    session.load(first.run_id, stop=Stop(steps=9))
    assert varq.resume(first.run_id, store=session.store, progress=False).steps == 6


def test_a_fork_goes_by_the_rule_of_its_run(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=6))
    run.step(2)
    forked = varq.resume(run.id, fork=True, store=session.store, progress=False)
    assert (forked.run_id != run.id, forked.steps) == (True, 6)


def test_steps_are_totals(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=6))
    assert run.step(4).step == 4
    assert run.step(4).kind == "end"
    assert run.step() is None
    assert run.done
    assert run.result.steps == 6


def test_stop_with_no_steps_evaluates_nothing(session: Session) -> None:
    result = session.run(task(ADAM), stop=Stop(steps=0))
    assert (result.reason, result.value, NOTES.calls) == (Reason.STEPS, None, [])


def test_an_observer_may_stop_the_run(session: Session) -> None:
    run = session.start(task(ADAM))
    run.observe(lambda event: run.stop() if event.step == 3 else None)
    assert run.finish().reason is Reason.STOPPED
    assert len(NOTES.calls) == 3
    assert session.run(task(ADAM), stop=Stop(steps=5)).steps == 5
    assert len(NOTES.calls) == 5


def test_tolerance_and_patience(session: Session) -> None:
    flat = session.run(task(Optax("sgd", learning_rate=1e-9)), stop=Stop(tolerance=1e-3, patience=4))
    assert (flat.reason, flat.steps) == (Reason.CONVERGED, 5)
    away = Minimize(cost=bowl, x0=np.ones(2), gradient=double, optimizer=Optax("sgd", learning_rate=2.0))
    wild = session.run(away, stop=Stop(patience=3, steps=50))  # from x to -3 x: the first value remains the best
    assert (wild.reason, wild.steps) == (Reason.STALLED, 4)


def test_recorded_time_is_not_measured_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    evaluate = FunctionCost.evaluate

    def slow(cost: FunctionCost, *asked: Any) -> Reply:
        clock[0] += 1  # a clock of one second an evaluation
        return evaluate(cost, *asked)

    monkeypatch.setattr(FunctionCost, "evaluate", slow)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    stopped = session.run(task(ADAM, seed=1), stop=Stop(seconds=3.5))
    assert (stopped.reason, stopped.steps) == (Reason.SECONDS, 4)
    replayed = session.run(task(ADAM, seed=1), stop=Stop(seconds=3.0))
    assert (replayed.steps, replayed.seconds) == (4, stopped.seconds)
    longer = session.run(task(ADAM, seed=1), stop=Stop(seconds=6.5))
    assert (longer.steps, longer.seconds) == (7, 7.0)


def _recorded_elsewhere(session: Session, step: int, move: float, versions: str | None = None) -> str:
    """Ten steps as another machine would have recorded them, whose request at `step` differs by the factor 1 + move."""
    with Session(store=None, progress=False) as other:
        other.start(task(ADAM)).step(10)
        (record,) = other.list()
        rows = other.store.rows(record.id)
    request = spec.loads(rows[step].request)
    moved = dataclasses.replace(request, x=request.x * (1 + move))
    text, digest = spec.dumps(moved), spec.digest(moved)
    rows[step] = dataclasses.replace(rows[step], request=text, digest=digest, versions=versions)
    session.start(task(ADAM))
    session.store.extend(record.id, rows)
    return str(record.id)


def test_rounding_of_another_machine_is_marked(session: Session) -> None:
    run_id = _recorded_elsewhere(session, 4, 1e-13)
    result = session.resume(run_id, stop=Stop(steps=12))
    assert result.replay == "approximate"
    assert 0 < result.replay_difference < 1e-12
    assert len(NOTES.calls) == 12


def test_a_changed_code_path_is_named(session: Session) -> None:
    run_id = _recorded_elsewhere(session, 4, 1e-3)
    with pytest.raises(varq.ReplayError, match=r"At step 4 .* x differs by .*fork=True"):
        session.resume(run_id, stop=Stop(steps=12))
    assert len(NOTES.calls) == 10


def test_a_fork_keeps_what_still_holds(session: Session) -> None:
    run_id = _recorded_elsewhere(session, 4, 1e-3)
    forked = session.resume(run_id, stop=Stop(steps=12), fork=True)
    assert forked.run_id != run_id
    assert (forked.steps, len(NOTES.calls)) == (12, 10 + 8)
    assert forked.value == session.run(task(ADAM, repeat=9), stop=Stop(steps=12)).value


def test_a_value_that_is_not_finite_ends_the_run_and_is_kept(session: Session) -> None:
    NOTES.broken.append("nan")
    result = session.run(task())
    assert result.reason is Reason.NONFINITE
    assert np.isfinite(result.value)
    rows = session.store.rows(result.run_id)
    assert np.isnan(rows[-1].value)
    assert len(rows) == 4 == result.steps
    calls = len(NOTES.calls)
    assert session.run(task()).reason is Reason.NONFINITE
    assert len(NOTES.calls) == calls


def test_an_answer_that_is_not_finite_is_no_answer(session: Session) -> None:
    def cliff(x: Any) -> float:
        return float(np.cos(x[0])) if np.cos(x[0]) > -0.9 else float("nan")

    found = session.run(Minimize(cliff, [0.0], optimizer=Rotosolve(sweeps=1), gradient=slope))
    assert found.reason is Reason.NONFINITE
    assert found.message == "the estimate after the last step is not finite"
    assert found.value == pytest.approx(-0.5)  # of the points at 0, 2 pi / 3 and 4 pi / 3


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, IndexError, LookupError])
def test_an_error_leaves_a_run_that_goes_on(session: Session, kind: type[Exception]) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=8))
    run.step(3)
    NOTES.broken.append(kind("the cryostat is warm"))
    with pytest.raises(kind, match="the cryostat is warm"):
        run.finish()
    (record,) = session.list()
    assert (record.reason, record.steps) == ("failed", 3)
    assert spec.loads(record.result).message == f"{kind.__name__}: {kind('the cryostat is warm')}"
    NOTES.broken.clear()
    assert session.run(task(ADAM), stop=Stop(steps=8)).steps == 8
    assert run.finish().steps == 8


def test_what_an_error_says_is_kept_without_credentials(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    NOTES.broken.append(RuntimeError("401 for https://ada:pw-4711@host/jobs, Authorization: Bearer abcdef-4711"))
    with pytest.raises(RuntimeError, match="pw-4711"):
        session.run(task(ADAM))
    (record,) = session.list()
    assert spec.loads(record.result).message.startswith("RuntimeError: 401 for https://ada:(not kept)@host/jobs")
    session.close()
    kept = b"".join(file.read_bytes() for file in (tmp_path / "store").iterdir() if file.is_file())
    assert b"401 for" in kept
    assert b"4711" not in kept
    assert "4711" not in caplog.text


def test_an_array_that_is_gone_does_not_end_the_run(session: Session) -> None:
    """It may come back with another host's file: the store is at fault, not the run."""
    wide = Minimize(cost=bowl, x0=np.linspace(0, 1, 2 * spec.INLINE), optimizer=ADAM, gradient=double)
    run = session.start(wide, stop=Stop(steps=4))
    run.step(2)
    (record,) = session.list()
    (file,) = session.store.path.glob("*.sqlite")
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        kept = references(record.spec)
        assert db.execute("DELETE FROM arrays WHERE sha256 NOT IN (?)", kept).rowcount > 0
    with pytest.raises(StoreMissing, match="The store has no array"):
        varq.resume(run.id, store=session.store, progress=False)
    assert session.store.find(run.id).reason is None


def test_history_has_a_row_a_step(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=9))
    run.finish()
    history = run.history
    assert history["step"].tolist() == list(range(1, 10))
    assert np.array_equal(history["value"], [valley(x) for x in run.record().points])
    assert np.array_equal(history["best"], np.minimum.accumulate(history["value"]))
    assert np.all(np.diff(history["seconds"]) >= 0)
    assert history["grad_norm"][0] == pytest.approx(np.linalg.norm(slope([-1.2, 1.0])))


def test_a_result_from_the_store_has_its_history(session: Session) -> None:
    first = session.start(task())
    first.finish()
    calls = len(NOTES.calls)
    again = session.start(task())
    assert np.array_equal(again.history["value"], first.history["value"])
    assert len(NOTES.calls) == calls


def test_events_tell_the_run(session: Session, events: list[Event]) -> None:
    session.run(task(ADAM), stop=Stop(steps=2))
    assert [e.kind for e in events] == ["start", "step", "step", "end"]
    assert events[-1].reason is Reason.STEPS
    assert not any(e.replayed for e in events)
    session.run(task(ADAM), stop=Stop(steps=3))
    assert [e.replayed for e in events if e.kind == "step"] == [False, False, True, True, False]


def test_one_owner_at_a_time(session: Session, tmp_path: Path) -> None:
    run = session.start(task(ADAM))
    with session.store.lease(run.id), pytest.raises(OwnedError, match="own"):
        varq.load(run.id, store=tmp_path / "store", progress=False).step()


def test_opaque_runs_are_never_taken_for_one_another(session: Session) -> None:
    lock = object()

    def cost(x: Any) -> float:
        assert lock is not None
        return valley(x)

    tasks = [Minimize(cost, np.zeros(2), optimizer=ADAM, gradient=slope, stop=Stop(steps=3)) for _ in range(2)]
    runs = [session.start(t) for t in tasks]
    assert runs[0].id != runs[1].id
    runs[0].step(2)
    assert session.resume(runs[0].id).steps == 3  # the same process still has the function
    named = session.start(dataclasses.replace(tasks[0], name="cost"))
    named.step(1)
    stored = spec.loads  # a process that has only the store
    record = session.store.find(named.id)
    with pytest.raises(LookupError, match="kept under the name 'cost'"):
        stored(record.spec, session.store.array)
    assert stored(record.spec, session.store.array, {"cost": cost}).title == "minimize cost"


def test_a_session_and_a_spec_must_agree(tmp_path: Path) -> None:
    ising = TransverseFieldIsing(2)
    with Session("default.qubit", shots=100, store=None, progress=False) as session:
        with pytest.raises(ValueError, match=r"device of the spec must be None or the session's\. Got"):
            session.start(VQE(problem=ising, device="lightning.qubit"))
        with pytest.raises(ValueError, match=r"shots of the spec must be None or the session's\. Got 7"):
            session.start(VQE(problem=ising, shots=7))
        assert session.start(VQE(problem=ising, device="default.qubit", shots=100)).steps == 0
    # A spec that names the machine alone leaves the way there to the session; one that names another way does not.
    there = varq.device("default.qubit", mode="batch")
    with Session(there, shots=100, store=None, progress=False) as session:
        named = session.start(VQE(problem=ising, device="default.qubit"))
        assert spec.unwrap(named.spec.device) is there
        with pytest.raises(ValueError, match=r"device of the spec must be None or the session's\. Got Device"):
            session.start(VQE(problem=ising, device=varq.device("default.qubit", account="other")))


def test_only_specs_run(session: Session) -> None:
    with pytest.raises(TypeError, match=r"A session runs specs: VQE\(...\).* Got 'H2'"):
        session.run("H2")


def test_an_unknown_id_is_an_error(session: Session) -> None:
    with pytest.raises(LookupError, match="empty"):
        session.load("abcd1234")


def test_another_minor_version_warns(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    then = names.versions()
    monkeypatch.setattr(names, "versions", lambda: {**then, "jax": "0.6.2"})
    session.run(task(ADAM), stop=Stop(steps=2))
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"computed with jax 0\.6\.2 \(now .*existing='repeat'"):
        session.run(task(ADAM), stop=Stop(steps=2))


def test_steps_say_by_which_versions_they_were_recorded(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    then = names.versions()
    run = session.start(task(ADAM))
    run.step(2)
    monkeypatch.setattr(names, "versions", lambda: {**then, "jax": "0.9.9"})
    assert session.resume(run.id, stop=Stop(steps=4)).steps == 4
    recorded = [row.versions and json.loads(row.versions)["jax"] for row in session.store.rows(run.id)]
    assert recorded == [None, None, "0.9.9", "0.9.9"]
    forked = session.load(run.id, fork=True)
    recorded = [row.versions and json.loads(row.versions)["jax"] for row in session.store.rows(forked.id)]
    assert recorded == [then["jax"], then["jax"], "0.9.9", "0.9.9"]


def test_versions_are_those_that_recorded_the_step(session: Session) -> None:
    now = names.versions()
    run_id = _recorded_elsewhere(session, 4, 1e-3, spec.canonical({**now, "jax": "0.9.9"}))
    with pytest.raises(varq.ReplayError, match=rf"running with: jax 0\.9\.9 -> {re.escape(now['jax'])}\. Use"):
        session.resume(run_id, stop=Stop(steps=12))


def test_a_folder_that_cannot_be_written_means_memory_with_one_warning(tmp_path: Path) -> None:
    Path("varq-runs").write_text("not a folder")
    with pytest.warns(UserWarning, match="kept in memory only") as caught, Session(progress=False) as session:
        assert session.run(task(ADAM), stop=Stop(steps=2)).steps == 2
    assert len(caught) == 1


def test_a_folder_that_is_gone_means_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.warns(UserWarning, match=r"kept in memory only.*Name one by its whole path"):
        session = Session(progress=False)
    session.close()
    with pytest.raises(StoreUnwritable, match=r"'runs' cannot: .*No such file"):
        Session(store="runs", progress=False)


def test_a_home_that_nobody_has_is_told() -> None:
    with pytest.raises(StoreUnwritable, match=r"'~nobody-of-this-name/runs' cannot: .*Name one by its whole path"):
        Session(store="~nobody-of-this-name/runs", progress=False)


@pytest.mark.parametrize("observers", [print, [print, "print"]])
def test_observers_are_functions(observers: Any) -> None:
    with pytest.raises(TypeError, match=r"observers must be .*Give a list of functions of an event: observers=\[print"):
        Session(store=None, progress=False, observers=observers)


def test_a_device_by_name_is_the_same_without_options_that_count() -> None:
    def identity(device: Any) -> str:
        return spec.identity(VQE(problem=TransverseFieldIsing(2), device=device))[0]

    device = varq.device("ibm.torino", mode="session", account="mine")
    assert identity(device) == identity(varq.device("ibm.torino")) == identity("ibm.torino")
    assert spec.loads(spec.dumps(device)) == device
    assert identity(varq.device("ibm.torino", layout=(0, 1))) != identity("ibm.torino")
    assert identity(varq.device("qiskit-aer", noise="fake_manila")) != identity("qiskit-aer")


def test_one_device_object_in_session_and_spec() -> None:
    device, other = qml.device("default.qubit"), qml.device("default.qubit")
    with Session(device, store=None, progress=False) as session:
        own = VQE(problem=TransverseFieldIsing(2), device=device, stop=Stop(steps=1))
        assert session.start(own).spec.problem == own.problem
        with pytest.raises(ValueError, match="device of the spec must be None or the session's"):
            session.start(VQE(problem=TransverseFieldIsing(2), device=other))


def test_no_store_leaves_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        varq.run(task(ADAM), stop=Stop(steps=2), store=None, progress=False)
    assert list(Path().iterdir()) == []


def test_compare_names_what_differs(session: Session) -> None:
    a = session.start(task(Optax("adam", learning_rate=0.1)))
    b = session.start(task(Optax("adam", learning_rate=0.2), seed=3))
    found = varq.compare(a.id, b.id, store=session.store)
    assert found == {"optimizer.arguments.learning_rate": (0.1, 0.2), "seed": (0, 3)}


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_steps_are_counted_in_whole_numbers(session: Session, n: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="n must be"):
        session.start(task()).step(n)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": -1}, "steps must be at least 0. Got -1. Use None"),
        ({"seconds": float("nan")}, "seconds must be finite"),
        ({"tolerance": -1e-3}, "tolerance must be at least 0"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"steps": 1.5}, "steps must be an integer"),
    ],
)
def test_stop_rules_are_checked(options: dict[str, Any], match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        Stop(**options)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Minimize("f", np.zeros(2)), "cost must be a function"),
        (lambda: Minimize(valley, [np.nan]), "x0 must be finite"),
        (lambda: task(gradient="exact"), "gradient must be one of"),
        (lambda: Minimize(valley, np.zeros(2), gradient=3), "gradient must be 'jax'"),
        (lambda: task("adamm"), "'adam'"),
        (lambda: VQE(problem=TransverseFieldIsing(2), shots=0), "shots must be at least 1"),
        (lambda: task(seed=1.5), "seed must be an integer"),
        (lambda: task(repeat=-1), "repeat must be at least 0"),
        (lambda: task(precision="half"), "precision must be one of"),
        (lambda: task(stop=10), "stop must be of type Stop"),
        (lambda: task(name=""), "name must not be an empty"),
        (lambda: Session(shots=0), "shots must be at least 1"),
        (lambda: Session("nope"), "device must be one of"),
        (lambda: task(shots=10), "A function brings its own devices"),
        (lambda: task(device="default.qubit"), "A function brings its own devices"),
        (lambda: task(noisy=1), "noisy must be True or False"),
        (lambda: varq.run(task(), stop=5, store=None, progress=False), "stop must be of type Stop"),
    ],
)
def test_specs_are_checked(build: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        build()


def test_a_loaded_run_has_the_history_of_its_journal(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=6))
    run.step(4)
    loaded = session.load(run.id, stop=Stop(steps=6))
    assert np.array_equal(loaded.history["value"], run.history["value"])
    assert len(NOTES.calls) == 4
    assert loaded.finish().steps == 6
    assert len(NOTES.calls) == 6


def greedy(x: Any) -> float:
    """A cost that changes its argument in place."""
    x -= 0.1
    return float((x**2).sum())


@pytest.mark.parametrize("optimizer", ["nelder-mead", "spsa", ADAM])
def test_a_cost_that_changes_its_argument_does_no_harm(session: Session, optimizer: Any) -> None:
    spoiler = Minimize(greedy, np.array([1.0, 2.0]), optimizer=optimizer, gradient="finite-diff", stop=Stop(steps=8))
    run = session.start(spoiler)
    run.step(5)
    resumed = session.resume(run.id)
    assert (resumed.steps, resumed.replay) == (8, "exact")


@pytest.mark.parametrize("wrong", [lambda x: 1.0, lambda x: (2 * x)[None], lambda x: np.zeros(3), lambda x: 1j * x])
def test_a_gradient_of_another_kind_is_refused(session: Session, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"gradient must return real numbers of shape \(2,\)"):
        session.run(task(ADAM, gradient=wrong))


def test_a_jitted_function_is_a_cost(session: Session) -> None:
    bowl = jax.jit(lambda x: ((x - 1) ** 2).sum())
    assert session.run(Minimize(bowl, np.zeros(2))).value == pytest.approx(0, abs=1e-9)


def test_a_broken_observer_does_not_unmake_a_finished_run(session: Session) -> None:
    def broken(event: Event) -> None:
        if event.kind == "end":
            raise OSError("the dashboard is gone")

    run = session.start(task(ADAM), stop=Stop(steps=4))
    run.observe(broken)
    with pytest.raises(OSError, match="dashboard"):
        run.finish()
    assert session.store.get(run.id).reason == "steps"
    assert session.run(task(ADAM), stop=Stop(steps=4)).steps == 4


def test_an_interrupt_anywhere_leaves_a_run_that_goes_on(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = session.run(task(ADAM), stop=Stop(steps=9), existing="repeat")
    run = session.start(task(ADAM, seed=4), stop=Stop(steps=9))
    run.step(3)
    add = Trace.add

    def pressed(self: Trace, *arguments: Any) -> Any:
        monkeypatch.setattr(Trace, "add", add)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trace, "add", pressed)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run.step()
    assert run.finish().value == straight.value
    assert len(NOTES.calls) == 18


def press(run: Any, kind: str, step: int) -> str:
    """Has Ctrl-C pressed once a run tells of such an event."""

    def pressed(event: Event) -> None:
        if (event.kind, event.step) == (kind, step):
            signal.raise_signal(signal.SIGINT)

    run.observe(pressed)
    return str(run.finish().reason)


def test_how_to_go_on_is_said_where_there_is_a_way(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=6))
    assert press(run, "step", 2) == "stopped"
    said = capsys.readouterr().err
    (line,) = re.findall(r"^Stopped after 2 steps\. Carry on with: (varq\.resume\(.*\))$", said, re.MULTILINE)
    assert eval(line, {"varq": varq}).steps == 6


def test_of_a_run_that_had_ended_nothing_is_said(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=3))
    assert press(run, "end", 3) == "steps"
    assert capsys.readouterr().err == ""


def test_a_run_in_memory_goes_on_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    run = varq.start(task(ADAM), stop=Stop(steps=6), store=None, progress=False)
    assert press(run, "step", 2) == "stopped"
    assert "It is in memory only; go on in this process: run.finish()" in capsys.readouterr().err
    assert run.finish().steps == 6


def test_a_run_of_objects_says_what_it_needs(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in ((None, "Carry on in the process that started it with: "), ("mine", "Carry on with: ")):
        run = session.start(task(Optax.of(optax.sgd(1e-4), name=name)), stop=Stop(steps=4))
        assert press(run, "step", 2) == "stopped"
        given = "" if name is None else ", objects={'mine': ...}"
        assert f'{said}varq.resume("{run.id}"{given}, store=' in capsys.readouterr().err


def test_a_run_is_stepped_by_one_caller_at_a_time(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=4))
    run.observe(lambda event: run.step() if event.kind == "step" else None)
    with pytest.raises(RuntimeError, match="stepped by one caller at a time"):
        run.finish()


def test_a_stop_asked_for_before_is_kept(session: Session) -> None:
    run = session.start(task(ADAM), stop=Stop(steps=4))
    run.stop()
    assert (run.finish().reason, len(NOTES.calls)) == (Reason.STOPPED, 0)
    assert run.finish().steps == 4


def test_results_that_are_kept_hold_no_files(tmp_path: Path) -> None:
    folder, asked = tmp_path / "store", [task(ADAM, seed=seed, stop=Stop(steps=3)) for seed in range(4)]
    varq.run(asked[0], store=folder, progress=False)._repr_html_()  # matplotlib opens files of its own
    before = len(os.listdir("/dev/fd"))
    live = [varq.run(one, store=folder, progress=False) for one in asked[1:]]
    stored = [varq.run(one, store=folder, progress=False) for one in asked[1:]]
    resumed = [varq.resume(one.run_id, store=folder, progress=False) for one in stored]
    assert len(os.listdir("/dev/fd")) == before
    calls = len(NOTES.calls)
    shown = [[one._repr_html_() for one in some] for some in (live, stored, resumed)]
    assert shown[0] == shown[1] == shown[2]
    assert all("<img" in html for html in shown[0])
    assert len(NOTES.calls) == calls
    assert len(os.listdir("/dev/fd")) == before
    shutil.rmtree(folder)
    assert live[0]._repr_html_() == shown[0][0]
    assert "<img" not in stored[0]._repr_html_()
    assert not folder.exists()


def test_a_result_in_memory_is_shown_with_its_figure() -> None:
    assert "<img" in varq.run(task(ADAM, stop=Stop(steps=3)), store=None, progress=False)._repr_html_()


def test_an_open_store_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = varq.start(task(ADAM), store="here", progress=False, stop=Stop(steps=4))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.finish().steps == 4
    assert (tmp_path / "here").is_dir()
    with pytest.raises(ValueError, match="path must not be an empty string"):
        varq.start(task(ADAM), store="", progress=False)


def test_a_run_goes_on_after_an_observer_that_cannot_hear_of_its_failure_either() -> None:
    deaf = True

    def observer(event: Event) -> None:
        if deaf and event.kind in ("step", "end") and event.step == 2:
            raise OSError("nobody listens")

    spec_of_it = VQE(problem=TransverseFieldIsing(2), optimizer="adam", stop=Stop(steps=4))
    with Session(store=None, progress=False) as session:
        wanted = session.run(spec_of_it)
    with Session(store=None, progress=False, observers=[observer]) as session:
        run = session.start(spec_of_it)
        with pytest.raises(OSError, match="nobody listens"):
            run.finish()
        assert not run.done, "its failure is no result: the next call goes on"
        deaf = False
        result = run.finish()
        assert (result.value, result.steps, result.reason) == (wanted.value, 4, wanted.reason)
        assert len(session.store.rows(run.id)) == 4, "nothing was evaluated twice"
