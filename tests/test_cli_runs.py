"""Runs from the command line: started, found again, interrupted, carried on, looked at, and kept in order."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optax
import pytest
from typer.testing import CliRunner

import varq
from varq import spec
from varq.algorithms import VQE
from varq.cli import keeping, stores
from varq.cli.app import app
from varq.cli.looking import facts
from varq.cli.mistakes import InputError
from varq.cli.running import INTERRUPTED
from varq.optimizers import Optax
from varq.problems import TransverseFieldIsing
from varq.protocol import Reason, Result
from varq.session import session as sessions
from varq.session.loop import Loop
from varq.session.opening import DEFAULT_STORE
from varq.session.session import Session
from varq.store.store import open_store

EXACT = -(5**0.5)  # lowest energy of two coupled spins, -Z Z - X - X, by hand

ISING = """
algorithm = "vqe"
ansatz = "hardware-efficient"
problem = { kind = "transverse-field-ising", sites = 2 }
"""

ADAM = (
    ISING
    + """
[optimizer]
kind = "optax"
name = "adam"
learning_rate = 0.1
[stop]
steps = 6
"""
)


def call(*words: str, **options: Any) -> Any:
    return CliRunner().invoke(app, list(map(str, words)), **options)


def good(*words: str) -> str:
    shown = call(*words)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three runs: one that converged, one that its rule ended after 6 steps, one that is unfinished."""
    folder = tmp_path_factory.mktemp("made") / "store"
    problem = TransverseFieldIsing(sites=2)
    adam = Optax("adam", learning_rate=0.1)
    with Session(store=folder, progress=False) as session:
        session.run(VQE(problem=problem, ansatz="hardware-efficient"))
        session.run(VQE(problem=problem, ansatz="hardware-efficient", optimizer=adam), stop=varq.Stop(steps=6))
        session.start(VQE(problem=problem, ansatz="hardware-efficient", optimizer="cobyla", seed=1)).step(3)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of that store, to change."""
    return Path(shutil.copytree(made, tmp_path / "varq-runs"))


@pytest.fixture
def ids(made: Path) -> dict[str, str]:
    with open_store(made, read_only=True) as opened:
        return {record.reason or "unfinished": record.id for record in opened.list()}


# -- running


def test_a_file_runs_and_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    first = call("run", "ising.toml")
    assert first.exit_code == 0, first.output
    assert "VQE Ising chain of 2" in first.stdout
    assert f"exact     {EXACT:.6f}"[:-1] in first.stdout
    assert "varq show" in first.stderr
    again = call("run", "ising.toml")
    assert again.stdout == first.stdout
    assert "nothing was computed" in again.stderr
    with open_store(stores.DEFAULT_FOLDER, read_only=True) as opened:
        (record,) = opened.list()
    assert record.value == pytest.approx(EXACT, abs=1e-6)


def test_quiet_prints_the_result_alone(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    shown = call("run", "ising.toml", "--quiet", "--device", "default.qubit")
    assert shown.stderr == ""
    assert "default.qubit" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_shots_come_with_an_error_bar(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    shown = good("run", "ising.toml", "--shots", "200", "--stop-steps", "3", "--store", "sampled")
    assert "steps     3" in shown
    with open_store("sampled", read_only=True) as opened:
        (record,) = opened.list()
    assert record.stderr is not None
    assert record.stderr > 0
    assert json.loads(record.spec)["shots"] == 200


def test_steps_are_totals(tmp_path: Path) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    assert "steps     6" in good("run", "adam.toml")
    assert "steps     9" in good("run", "adam.toml", "--stop-steps", "9")
    (record,) = json.loads(good("list", "--json"))
    assert record["steps"] == 9
    assert "steps     11" in good("resume", record["id"][:6], "--stop-steps", "11")


@pytest.mark.parametrize(
    ("existing", "status", "said"),
    [
        ("return", 0, "steps     6"),
        ("error", 2, "was run before"),
        ("repeat", 0, "steps     6"),
        ("perhaps", 2, "--existing must"),
    ],
)
def test_what_to_do_with_a_run_that_exists(tmp_path: Path, existing: str, status: int, said: str) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    good("run", "adam.toml", "--quiet")
    shown = call("run", "adam.toml", "--existing", existing)
    assert shown.exit_code == status
    assert said in shown.output
    assert len(json.loads(good("list", "--json"))) == (2 if existing == "repeat" else 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "lightning.qbit"], "device must be one of"),
        (["--store", "adam.toml"], "adam.toml is a file"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    shown = call("run", "adam.toml", *words)
    assert shown.exit_code == 2, shown.output
    assert said in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.output


def test_shots_of_file_and_command_that_differ(tmp_path: Path) -> None:
    (tmp_path / "adam.toml").write_text("shots = 10\n" + ADAM)
    shown = call("run", "adam.toml", "--shots", "20")
    assert shown.exit_code == 2
    assert "shots of the spec must be None or the session's. Got 10 in a session with 20" in shown.stderr


def test_a_run_that_fails_later_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    real = Loop.hear

    def broken(loop: Loop, *answer: Any) -> Any:
        if loop.steps == 2:
            raise RuntimeError("the fridge is warm")
        return real(loop, *answer)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "hear", broken)
        shown = call("run", "adam.toml", "--quiet")
    assert shown.exit_code == 1
    assert "unexpected RuntimeError: the fridge is warm" in shown.stderr
    assert "varq resume " in shown.stderr
    (record,) = json.loads(good("list", "--json"))
    assert "steps     6" in good("resume", record["id"], "--quiet")


def test_a_run_is_carried_on_by_the_rule_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "hear", lambda loop, *answer: 1 / 0)
        assert call("run", "adam.toml", "--quiet", "--stop-steps", "4").exit_code == 1
    (record,) = json.loads(good("list", "--json"))
    assert "steps     4" in good("resume", record["id"], "--quiet")


def _interrupted(folder: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    (folder / "long.toml").write_text(ADAM.replace("steps = 6", "steps = 1000000"))
    command = [sys.executable, "-m", "varq", "run", "long.toml"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and not _rows(folder):
        time.sleep(0.1)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def _rows(folder: Path) -> int:
    files = list((folder / "varq-runs").glob("[!.]*.sqlite"))
    if not files:
        return 0
    with closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM steps").fetchone()[0])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 75, marks=pytest.mark.full)]
)
def test_an_interrupt_keeps_everything(tmp_path: Path, number: signal.Signals, status: int) -> None:
    done = _interrupted(tmp_path, number)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    (record,) = json.loads(good("list", "--json"))
    assert f"varq resume {record['id'][:8]}" in done.stderr
    assert record["reason"] == Reason.STOPPED.value
    assert record["steps"] > 0
    wanted = record["steps"] + 2
    assert f"steps     {wanted}" in good("resume", record["id"][:8], "--stop-steps", str(wanted), "--quiet")


@pytest.mark.filterwarnings("default:Runs are kept in memory only")
def test_no_line_is_given_that_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adam.toml").write_text(ADAM)
    real = Loop.emit

    def pressed(loop: Loop, kind: str, *more: Any, **options: Any) -> Any:
        if kind == "end":
            raise KeyboardInterrupt
        return real(loop, kind, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "emit", pressed)
        ended = call("run", "adam.toml", "--quiet")
    assert ended.exit_code == INTERRUPTED
    assert "The run had ended by then. varq show" in ended.stderr
    assert "varq resume" not in ended.stderr
    shutil.rmtree(DEFAULT_STORE)
    Path(DEFAULT_STORE).touch()  # a folder that cannot be made
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "hear", lambda loop, *answer: signal.raise_signal(signal.SIGINT))
        lost = call("run", "adam.toml", "--quiet")
    assert "nothing of it is kept. Name a folder that can be written: --store DIR" in lost.stderr
    assert "varq resume" not in lost.stderr


# -- looking


def test_the_list(store: Path, ids: dict[str, str]) -> None:
    shown = good("list").splitlines()
    assert shown[0].split() == ["ID", "started", "what", "state", "steps", "value"]
    assert [row.split()[0] for row in shown[1:]] == [ids[r][:8] for r in ("unfinished", "steps", "converged")]
    assert all(row == row.rstrip() for row in shown)
    assert len(good("list", "--limit", "2").splitlines()) == 3
    assert json.loads(good("list", "--algorithm", "vqe", "--json"))[0]["id"] == ids["unfinished"]
    assert json.loads(good("list", "--algorithm", "qaoa", "--json")) == []


def test_the_list_before_the_first_run() -> None:
    shown = call("list")
    assert shown.exit_code == 0
    assert shown.stdout == ""
    assert "varq demo" in shown.stderr
    assert json.loads(good("list", "--json")) == []
    assert not stores.DEFAULT_FOLDER.exists(), "looking makes nothing"


def test_show_is_complete_and_plain(store: Path, ids: dict[str, str]) -> None:
    shown = good("show", ids["steps"][:5])
    for text in (
        ids["steps"],
        "learning_rate = 0.1",
        "ansatz: hardware-efficient",
        "pennylane 0.45",
        "--stop-steps 12",
    ):
        assert text in shown
    assert "\x1b" not in shown
    assert f"Carry on with: varq resume {ids['unfinished'][:8]}" in good("show", ids["unfinished"])
    assert "It is complete" in good("show", ids["converged"])


def test_show_as_json(store: Path, ids: dict[str, str]) -> None:
    found = json.loads(good("show", ids["converged"], "--json"))
    assert found["id"] == ids["converged"]
    assert found["deviation"] == pytest.approx(found["value"] - EXACT, abs=1e-12)
    assert found["result"]["reason"] == "converged"
    assert found["spec"]["problem"]["sites"] == 2
    assert len(found["result"]["parameters"]) == 4


def test_the_deviation_of_a_phase_goes_the_shorter_way_around(made: Path, ids: dict[str, str]) -> None:
    phase = Result("1f2e", "phase", 6.2, 0.01, 0.1, Reason.CONVERGED, None, 9, 9, 0.1, "rad")
    with open_store(made, read_only=True) as opened:
        record = opened.find(ids["converged"])
    text = spec.dumps(phase)
    assert facts(replace(record, value=6.2, reference=0.1, result=text))["deviation"] == phase.deviation
    assert phase.deviation == pytest.approx(6.1 - 2 * math.pi)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "Carry on in the process that started it with: varq.resume("),
        ("mine", "Carry on with: varq.resume("),
    ],
)
def test_show_tells_who_can_go_on_with_an_object(tmp_path: Path, name: str | None, said: str) -> None:
    """What has no name is nowhere but in its process: elsewhere `varq.resume` could only refuse."""
    with Session(store=tmp_path / "here", progress=False) as session:
        run = session.start(VQE(problem=TransverseFieldIsing(2), optimizer=Optax.of(optax.sgd(0.1), name=name)))
        run.step()
    shown = " ".join(good("show", run.id, "--store", "here").split())
    assert f'{said}"{run.id}"' in shown
    assert ("objects={'mine': ...}" in shown) is (name is not None)


@pytest.mark.parametrize("command", ["show", "plot", "export", "resume", "rm"])
def test_an_unknown_run(store: Path, command: str) -> None:
    shown = call(command, "zzzz", *(["--yes"] if command == "rm" else []))
    assert shown.exit_code == 2
    assert "There is no run 'zzzz'" in shown.stderr


@pytest.mark.parametrize("command", ["show", "plot", "export", "resume", "rm"])
def test_too_little_of_an_id(store: Path, command: str) -> None:
    shown = call(command, "ab", *(["--yes"] if command == "rm" else []))
    assert shown.exit_code == 2
    assert "at least 4 characters" in shown.stderr


@pytest.mark.parametrize("command", ["show x123", "gc", "verify", "compare a b", "rm x123 --yes", "resume x123"])
def test_without_a_store(command: str) -> None:
    shown = call(*command.split())
    assert shown.exit_code == 2
    assert "there is no store here (folder varq-runs). `varq demo`" in shown.stderr
    assert not stores.DEFAULT_FOLDER.exists()


def test_a_store_that_is_named_and_missing() -> None:
    shown = call("list", "--store", "nowhere")
    assert shown.exit_code == 2
    assert "there is no store at nowhere" in shown.stderr


def test_a_store_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home of ada"))
    with open_store("~/runs"):
        pass
    assert good("list", "--store", "~/runs", "--json") == "[]\n"
    shown = call("list", "--store", "~nobody-of-this-name/runs")
    assert shown.exit_code == 2
    assert "'~nobody-of-this-name/runs' cannot" in shown.stderr


def test_nobody_can_be_asked_where_input_is_closed(
    store: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"nobody is there to be asked whether to delete\. Add --yes"):
        keeping.remove([ids["steps"]], store, yes=False)


def test_an_unknown_algorithm(store: Path) -> None:
    shown = call("list", "--algorithm", "vqf")
    assert shown.exit_code == 2
    assert "Did you mean 'vqe'" in shown.stderr


def test_the_folder_is_the_session_s() -> None:
    assert str(stores.DEFAULT_FOLDER) == DEFAULT_STORE
    assert stores.line("show", "0123456789", None) == "varq show 01234567"
    assert stores.line("show", "0123456789", Path("my runs")) == "varq show 01234567 --store 'my runs'"


@pytest.mark.parametrize("reason", ["converged", "unfinished"])
def test_the_history_as_csv(store: Path, ids: dict[str, str], reason: str) -> None:
    rows = list(csv.DictReader(io.StringIO(good("export", ids[reason]))))
    with open_store(store, read_only=True) as opened:
        journal = [row for row in opened.rows(ids[reason]) if row.role == "step"]
    assert [float(row["value"]) for row in rows] == [row.value for row in journal]
    assert [int(row["step"]) for row in rows] == list(range(1, len(journal) + 1))


def test_everything_as_json(store: Path, ids: dict[str, str]) -> None:
    shown = call("export", ids["steps"], "--format", "json", "--out", "run.json")
    assert shown.exit_code == 0
    assert shown.stdout == ""
    found = json.loads(Path("run.json").read_text())
    assert found["history"]["step"] == [1, 2, 3, 4, 5, 6]
    assert found["history"]["learning_rate"] == [0.1] * 6
    assert min(found["history"]["value"]) == found["result"]["value"]


def test_a_run_that_cannot_be_rebuilt_is_exported_from_its_journal(
    store: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = good("export", ids["converged"]).splitlines()

    def absent(*arguments: Any, **options: Any) -> Any:
        raise LookupError("its function is not at hand")

    monkeypatch.setattr(sessions.Session, "load", absent)
    shown = call("export", ids["converged"])
    assert "what its journal says: its function is not at hand" in shown.stderr
    rows = shown.stdout.splitlines()
    assert rows[0] == "step,value,stderr,seconds,executions"
    assert [row.split(",")[:2] for row in rows[1:]] == [row.split(",")[:2] for row in expected[1:]]


def test_a_history_goes_into_a_folder_that_exists(store: Path, ids: dict[str, str]) -> None:
    shown = call("export", ids["steps"], "--out", "nowhere/run.csv")
    assert shown.exit_code == 2
    assert "--out must be in a folder that exists. Got 'nowhere/run.csv'. Make the folder first." in shown.stderr


def test_an_unknown_format(store: Path, ids: dict[str, str]) -> None:
    shown = call("export", ids["steps"], "--format", "xlsx")
    assert shown.exit_code == 2
    assert "--format must be one of 'csv', 'json'" in shown.stderr


@pytest.mark.parametrize("kind", ["convergence", "parameters", "circuit", "problem"])
def test_figures(store: Path, ids: dict[str, str], kind: str) -> None:
    name = good("plot", ids["steps"], "--kind", kind).strip()
    assert name == f"{ids['steps'][:8]}-{kind}.png"
    assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_several_runs_and_of_an_unfinished_one(store: Path, ids: dict[str, str]) -> None:
    good("plot", *ids.values(), "--out", "all.svg")
    assert "<svg" in Path("all.svg").read_text()
    with open_store(store, read_only=True) as opened:
        assert opened.find(ids["unfinished"]).reason is None, "drawing changes nothing"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "convergenc"], "--kind must be one of"),
        (["--kind", "posterior"], "posterior needs the result's details"),
        (["--out", "x.docx"], "suffix"),
        (["--out", "no/where.png"], "folder that exists"),
    ],
)
def test_figures_that_cannot_be(store: Path, ids: dict[str, str], words: list[str], said: str) -> None:
    shown = call("plot", ids["steps"], *words)
    assert shown.exit_code == 2
    assert said in shown.stderr


def test_what_differs(store: Path, ids: dict[str, str]) -> None:
    found = json.loads(good("compare", ids["converged"], ids["steps"], "--json"))
    assert found["optimizer.name"] == ["L-BFGS-B", "adam"]
    assert "optimizer.name" in good("compare", ids["converged"], ids["steps"])
    assert "do not differ" in good("compare", ids["steps"], ids["steps"])


# -- keeping


def test_removing_asks(store: Path, ids: dict[str, str]) -> None:
    refused = call("rm", ids["steps"])
    assert refused.exit_code == 2
    assert "Add --yes" in refused.stderr
    assert good("rm", ids["steps"][:8], ids["unfinished"], "--yes").startswith("Removed 2 runs")
    assert [row["id"] for row in json.loads(good("list", "--json"))] == [ids["converged"]]
    assert good("gc").startswith("Freed ")
    assert good("verify").startswith("Sound: 1 run,")


@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("y", 2)])
def test_a_person_decides(
    store: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    monkeypatch.setattr("varq.cli.keeping._person_there", lambda: True)
    shown = call("rm", ids["steps"], input=f"{answer}\n")
    assert ids["steps"][:8] in shown.stderr
    assert shown.exit_code == (0 if answer == "y" else 1)
    assert len(json.loads(good("list", "--json"))) == left


def test_merging(store: Path, tmp_path: Path, ids: dict[str, str]) -> None:
    (tmp_path / "adam.toml").write_text(ADAM.replace("0.1", "0.2"))
    good("run", "adam.toml", "--store", "other", "--quiet")
    shown = good("merge", str(store), "--store", "other")
    assert "3 new runs" in shown
    assert "new or further jobs; 0 rows known already" in shown
    assert len(json.loads(good("list", "--store", "other", "--json"))) == 4
    own = call("merge", "other", "--store", "other")
    assert own.exit_code == 2
    assert "nothing to merge: what was named is this store's own file" in own.stderr
    missing = call("merge", "nowhere", "--store", "other")
    assert missing.exit_code == 2
    assert "There is no store at nowhere" in missing.stderr


@pytest.mark.parametrize("target", ["whole", None])
def test_shards_are_merged_into_a_store_that_is_not_there_yet(
    store: Path, tmp_path: Path, ids: dict[str, str], target: str | None
) -> None:
    parts = [str(store.rename(tmp_path / "part-1")), "part-2"]
    shutil.copytree("part-1", "part-2")
    where = [] if target is None else ["--store", target]
    mistyped = call("merge", "part-1", "prat-2", *where)
    assert mistyped.exit_code == 2
    assert "There is no store at prat-2" in mistyped.stderr
    assert not Path(target or stores.DEFAULT_FOLDER).exists(), "a mistake made a store"
    shown = good("merge", *parts, *where)
    assert f"into a new store, {target or 'varq-runs'};" in shown
    assert {run["id"] for run in json.loads(good("list", *where, "--json"))} == set(ids.values())
    assert "new store" not in good("merge", *parts, *where)
    assert good("verify", *where).startswith("Sound: 3 runs")


def test_damage_is_found(store: Path, ids: dict[str, str]) -> None:
    assert good("verify").startswith("Sound: 3 runs")
    (file,) = store.glob("[!.]*.sqlite")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE steps SET value = -100 WHERE step = 2")
    shown = call("verify")
    assert shown.exit_code == 1
    assert "not what was written" in shown.stdout
    findings = json.loads(call("verify", "--json").stdout)
    assert {finding["run"] for finding in findings} == set(ids.values())
