"""Sessions from the command line: detached, watched, ended, accounted for, sent to another machine; and the devices."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest
from harness import PATIENCE
from session_samples import DEVICE, SHOTS, end_workers, task
from typer.testing import CliRunner

from varq.cli import machines
from varq.cli.app import app
from varq.cli.running import STOPPED
from varq.devices.catalog import KNOWN, VENDORS, abilities
from varq.devices.faults import PermanentError
from varq.session.attached import attach
from varq.session.remote import packed, received, send, ssh
from varq.session.session import Session
from varq.store.circuit_records import CircuitRow
from varq.store.job_records import JobRecord, SessionState
from varq.store.store import open_store

ISING = """
algorithm = "vqe"
ansatz = "hardware-efficient"
problem = { kind = "transverse-field-ising", sites = 2 }
optimizer = { kind = "spsa" }
seed = 4
[stop]
steps = 3
[session]
device = "default.qubit"
shots = 20
"""


@pytest.fixture(autouse=True)
def no_worker_left(tmp_path: Path) -> Iterator[None]:
    yield
    end_workers(tmp_path)


def call(*words: Any, **options: Any) -> Any:
    return CliRunner().invoke(app, list(map(str, words)), **options)


def good(*words: Any) -> str:
    shown = call(*words)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A store with one session of two runs: its folder, the session's id, and a run's."""
    folder = tmp_path_factory.mktemp("made") / "store"
    with Session(DEVICE, shots=SHOTS, store=folder, progress=False) as session:
        run = session.start(task(seed=1, steps=2))
        session.start(task(seed=2, steps=2))
        session.drain()
    return folder, session.id, run.id


def test_a_run_goes_on_by_itself_and_is_watched(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    expected = good("run", "ising.toml", "--quiet", "--budget-shots", 100_000, "--store", "here")
    shown = call("run", "ising.toml", "--detach", "--budget-shots", 100_000, "--store", "there")
    assert shown.exit_code == 0, shown.output
    name = shown.stdout.strip()
    assert f"varq attach {name[8:16]} --store there" in shown.stderr
    watched = call("attach", name, "--store", "there")
    assert watched.exit_code == 0, watched.output
    value = next(line.split()[1] for line in expected.splitlines() if line.split()[:1] == ["value"])
    digits, _, error = value.partition("(")
    shown_last = 10.0 ** -len(digits.partition(".")[2])  # what the last digit shown stands for
    assert error, "the error bar is shown"
    found = float(watched.stdout.rsplit(", ", 2)[1])
    assert found == pytest.approx(float(digits), abs=shown_last)
    assert "VQE Ising chain" in watched.stderr, "the end of each run is shown"
    (row,) = json.loads(good("ledger", "--store", "there", "--json"))
    assert row["state"] == "closed"
    assert json.loads(row["settings"])["budget"]["shots"] == 100_000
    again = call("run", "ising.toml", "--detach", "--store", "there")
    assert "nothing was computed" in again.stderr, "a finished run is given at once"


def test_a_budget_stops_before_it_is_crossed(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    shown = good("run", "ising.toml", "--budget-shots", 500, "--quiet")
    assert "ended     budget" in shown
    (row,) = json.loads(good("ledger", "--json"))
    assert row["shots"] <= 500


def test_a_session_or_one_of_its_runs_is_ended(tmp_path: Path) -> None:
    with Session(DEVICE, shots=SHOTS, store=tmp_path / "store", progress=False) as session:
        runs = [session.start(task(seed=seed, steps=500)) for seed in (3, 4)]
        session.desk.known = True
        session.desk.begin([session.adopt(run) for run in runs])
        assert f"run {runs[0].id[:8]}" in good("cancel", runs[0].id[:10], "--store", "store")
        session.desk.wait(0.3)
        assert runs[0].stopping()
        assert not runs[1].stopping()
        assert "all runs" in good("cancel", session.id, "--store", "store")
        session.desk.wait(0.6)
        assert [r.reason.value for r in session.drain()] == ["stopped", "stopped"]
    refused = call("cancel", session.id, "--store", "store")
    assert refused.exit_code == 2
    assert "is ended" in refused.stderr
    unknown = call("cancel", "ffffffff", "--store", "store")
    assert unknown.exit_code == 2
    assert "none does" in unknown.stderr


def test_the_ledger_as_a_table_and_as_data(made: tuple[Path, str, str]) -> None:
    folder, name, run = made
    listed = good("ledger", "--store", folder)
    assert name[8:16] in listed
    assert "closed" in listed
    text = good("ledger", name[8:14], "--store", folder)
    assert "provider's id" in text
    assert run[:8] in text
    head, *rows = good("ledger", name, "--store", folder, "--steps").splitlines()
    assert head.split() == ["run", "step", "prepare", "queue", "qpu", "read", "decode", "classical"]
    assert run[:8] in {row.split()[0] for row in rows}
    assert rows[0].split()[1] == "0"
    assert "last estimate" in rows[-1]
    assert "Steps are those of one session. Got none" in call("ledger", "--store", folder, "--steps").stderr
    data = json.loads(good("ledger", name, "--store", folder, "--json"))
    with open_store(folder, read_only=True) as store:
        jobs = store.jobs.jobs(name)
    assert [row["job"] for row in data["jobs"]] == [job.id for job in jobs]
    assert sum(row["times"]["qpu"] for row in data["jobs"]) == pytest.approx(sum(job.seconds or 0 for job in jobs))
    assert sum(len(told["by_step"]) for told in data["runs"]) == len(rows)
    for told in data["runs"]:
        assert sum(one["times"]["qpu"] for one in told["by_step"]) == pytest.approx(told["times"]["qpu"])
    assert "No sessions yet" in call("ledger", "--store", _empty(folder)).stderr
    assert call("ledger", "none-such", "--store", folder).exit_code == 2


def test_a_person_settles_a_job_that_the_ledger_names(tmp_path: Path) -> None:
    with Session(DEVICE, shots=SHOTS, store=tmp_path / "store", progress=False) as session:
        session.desk.write()
        fields = {"circuits": 1, "shots": SHOTS, "created": 1.75e9, "paid": True}
        job, jobs = JobRecord("varq-00001111", session.id, 0, DEVICE, **fields), session.store.jobs
        jobs.write([job], [CircuitRow(job.id, 0, "0" * 64, SHOTS, 7, (("a run", 0, "step", 0),))])
        jobs.mark(job.id, "uncertain", error="no answer came")
        refused = call("settle", "varq-0000", "--lost", "--store", "store")
        assert refused.exit_code == 2
        assert "one owner at a time" in refused.stderr
    text = good("ledger", session.id, "--store", "store")
    assert "# 0: job varq-00001111 is uncertain: no answer came" in text
    assert "varq settle JOB --id ID, or --lost" in text
    assert call("settle", "varq-0000", "--store", "store").exit_code == 2
    assert call("settle", "varq-0000", "--lost", "--id", "7", "--store", "store").exit_code == 2
    unknown = call("settle", "varq-0000", "--id", "7", "--store", "store")
    assert (unknown.exit_code, "7" in unknown.stderr) == (2, True)
    assert "varq-00001111 is unsent." in good("settle", "varq-0000", "--lost", "--store", "store")
    assert call("settle", "varq-0000", "--lost", "--store", "store").exit_code == 2, "its state is known now"
    with open_store(tmp_path / "store", read_only=True) as store:
        assert store.jobs.session(session.id).state is SessionState.CLOSED
        assert store.jobs.owner(session.id) is None
    assert "It was never received, a person says" in good("ledger", session.id, "--store", "store")


def _empty(folder: Path) -> Path:
    with open_store(folder.parent / "empty"):
        pass
    return folder.parent / "empty"


@pytest.mark.parametrize("of", ["session", "run"])
def test_a_timeline_is_drawn(made: tuple[Path, str, str], of: str, tmp_path: Path) -> None:
    folder, name, run = made
    told = good("plot", name if of == "session" else run[:8], "--timeline", "--store", folder)
    assert (tmp_path / told.strip()).read_bytes().startswith(b"\x89PNG")
    assert told.strip() == f"{name[8:16]}-timeline.png"
    several = call("plot", name, run, "--timeline", "--store", folder)
    assert several.exit_code == 2
    assert "draws one session" in several.stderr


# -- workers ---------------------------------------------------------------------------------------------------------


def test_a_worker_runs_here(made: tuple[Path, str, str]) -> None:
    folder, name, _ = made
    shown = call("worker", name, "--store", folder)
    assert shown.exit_code == 0, shown.output
    assert call("worker", "none-such", "--store", folder).exit_code == 2
    with open_store(folder) as store, store.lease(name):
        refused = call("worker", name, "--store", folder)
        assert refused.exit_code == 2
        assert "has one owner at a time" in refused.stderr
        assert "is owned by process" in call("worker", name, "--store", folder, "--detach").stderr


def test_ssh_is_given_one_command() -> None:
    words = ssh("ada@node7.lab", "a folder", "~/env/bin/varq")
    assert words == [
        *("ssh", "-T", "-o", "BatchMode=yes", "--", "ada@node7.lab"),
        "~/env/bin/varq worker - --store 'a folder'",
    ]
    for host in ("-oProxyCommand=x", "a b", "a;b", "$(x)"):
        with pytest.raises(ValueError, match="host must be an ssh destination"):
            ssh(host)
    with pytest.raises(ValueError, match="command must"):
        ssh("ada", command="")


FAKE = """#!/bin/sh
echo "$@" > "$HOME/asked.txt"
shift 5
exec sh -c "$1"
"""


def test_a_file_is_run_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ssh that runs here what it would run there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(FAKE)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ising.toml").write_text(ISING)
    words = ["worker", "ada@node7", "ising.toml", "--store", tmp_path / "remote store", "--budget-shots", "5000"]
    shown = call(*words, "--command", f"{sys.executable} -m varq")
    assert shown.exit_code == 0, shown.output
    name = shown.stdout.strip()
    assert "ssh -t ada@node7" in shown.stderr
    assert (tmp_path / "asked.txt").read_text().startswith("-T -o BatchMode=yes -- ada@node7 ")
    with attach(name, store=tmp_path / "remote store") as attached:
        assert attached.wait(PATIENCE) == "ended"
        (run,) = attached.runs
        there = attached.result(run)
    with open_store(tmp_path / "remote store", read_only=True) as store:
        assert json.loads(store.jobs.session(name).settings)["budget"]["shots"] == 5000
    good("run", "ising.toml", "--quiet", "--store", "here", "--budget-shots", "5000")
    with open_store("here", read_only=True) as store:
        assert there is not None
        assert store.get(run).value == there.value  # type: ignore[union-attr]
    failed = call(*words, "--command", "false")
    assert failed.exit_code == 2
    assert "must answer with a session's id" in failed.stderr


@pytest.mark.parametrize(
    "option", [("--budget-shots", "9"), ("--shots", "9"), ("--stop-steps", "2"), ("--prices", "x")]
)
def test_options_of_a_file_are_none_of_a_session_that_is_there(option: tuple[str, str]) -> None:
    shown = call("worker", "session-1", *option)
    assert shown.exit_code == 2
    assert "were given when it was opened. Got others for session-1" in shown.stderr


FEE = """
[session.budget]
cost = 9.0
reserve = 0.0
[session.prices."default.*"]
per_shot = 0.01
dated = "2026"
source = "us"
"""


def ended(*words: Any) -> tuple[str, int]:
    """Why a run of the file ended, and how many of its shots were sent."""
    good("run", "ising.toml", "--quiet", "--store", "here", *words)
    with open_store("here", read_only=True) as store:
        return str(store.list()[0].reason), store.jobs.spent(store.jobs.sessions()[0].id).shots


def test_a_budget_stands_in_a_file_and_an_option_goes_before_it(tmp_path: Path) -> None:
    """At a cent a shot: 8 USD for what calibrates SPSA, 0.8 for a step, and what is left for the last estimate."""
    (tmp_path / "ising.toml").write_text(ISING + FEE)
    reason, shots = ended()
    assert (reason, 880 <= shots <= 900) == ("budget", True)
    assert ended("--budget-cost", "20", "--existing", "repeat")[0] == "steps"


def test_a_deadline_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING + "deadline = 0\n")
    shown = call("run", "ising.toml", "--quiet", "--store", "here")
    assert shown.exit_code == STOPPED, shown.output
    assert "Its deadline has passed. Give a later one." in shown.stdout
    assert "varq resume " in shown.stderr
    with open_store("here", read_only=True) as store:
        assert [record.reason for record in store.list()] == ["stopped"]
        assert store.jobs.spent(store.jobs.sessions()[0].id).shots == 0


def test_prices_are_an_option_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "ising.toml").write_text(ISING)
    (tmp_path / "prices.toml").write_text('["default.*"]\nper_shot = 0.01\ndated = "2026"\nsource = "us"\n')
    assert ended("--prices", "prices.toml", "--budget-cost", "0.5")[0] == "budget"


def test_only_what_varq_packed_is_received(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold runs that varq packed"):
        received("not json", tmp_path)
    with pytest.raises(ValueError, match=r"Runs travel in format 2\. Got 1"):
        received('{"varq": 1}', tmp_path)
    with Session(qml.device("default.qubit", wires=1), store=None, progress=False) as session:
        with pytest.raises(ValueError, match="needs a device by name"):
            packed(session, [])
        with pytest.raises(ValueError, match="host must be"):
            send("-x", session, [])


# -- devices ---------------------------------------------------------------------------------------------------------


def test_devices_are_listed_with_what_they_can_do() -> None:
    rows = {row["name"]: row for row in json.loads(good("devices", "--json"))}
    assert set(rows) == {*KNOWN, *VENDORS}
    assert rows["varq.qubit"]["device"] == "varq.qubit, the default"
    assert rows["lightning.qubit"]["gradients"] == "adjoint"
    assert (rows["ibm"]["paid"], rows["ibm"]["sessions"]) == (True, True)
    assert rows["default.qubit"]["installed"] == "yes"
    table = good("devices")
    assert table.splitlines()[0].split()[:3] == ["device", "gradients", "exact"]
    assert call("devices", "no.such").exit_code == 2


class Telling:
    """A service that tells some of how its machine stands."""

    def standing(self) -> dict[str, Any]:
        return {"queue": 12, "calibrated": None}


def test_what_a_device_does_now_is_told_where_it_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machines, "lacking", lambda extra: [])
    monkeypatch.setattr(machines, "open_service", lambda name: Telling())
    rows = ('["ibm.own"]\nper_shot = 0.5\n', '["default.qubit"]\nper_second = 0.1\n')
    (tmp_path / "prices.toml").write_text("".join(f'{row}dated = "2026"\nsource = "us"\n' for row in rows))
    named = ["ibm.own", "ibm.fake_torino", "varq.qubit", "ibm", "default.qubit"]
    words = ["devices", *named, "--status", "--prices", "prices.toml"]
    own, fake, here, family, rented = json.loads(good(*words, "--json"))
    assert (own["queue"], own["calibrated"], own["price"]) == (12, "not told", "0.5 a shot USD (2026)")
    assert (fake["queue"], fake["price"]) == (12, "free")
    assert (here["queue"], here["calibrated"], here["price"]) == ("none", "exact", "free")
    assert family["queue"] == "not told"
    assert rented["price"] == "0.1 a second USD (2026)"

    def refuse(name: str) -> Any:
        raise PermanentError("no account is saved.")

    monkeypatch.setattr(machines, "open_service", refuse)
    shown = call("devices", "ibm.own", "--status")
    assert "ibm.own: no account is saved." in shown.stderr
    assert "not told" in shown.stdout


def test_nothing_is_opened_to_tell_how_all_devices_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that stand for a vendor's machines name none: "ibm" would be looked for in the account saved here."""
    opened: list[str] = []
    monkeypatch.setattr(machines, "lacking", lambda extra: [])
    monkeypatch.setattr(machines, "open_service", opened.append)
    rows = {row["name"]: row for row in json.loads(good("devices", "--status", "--json"))}
    assert opened == []
    assert {name: row["price"] for name, row in rows.items() if row["price"] != "free"} == {
        "ibm": "1.6 a second USD (2025)",
        "braket": "not told",
    }
    untold = {name for name, row in rows.items() if row["queue"] != "none"}
    assert untold == {"ibm.fake", "ibm", "braket"}
    assert {row["calibrated"] for name, row in rows.items() if name not in untold} == {"exact"}
    assert all(row["paid"] == abilities(name).paid for name, row in rows.items())


def test_watching_what_nobody_owns_says_how_to_go_on(tmp_path: Path) -> None:
    with Session(DEVICE, shots=SHOTS, store=tmp_path / "store", progress=False) as session:
        run = session.start(task(seed=9))
        session.desk.known = True
        session.desk.begin([session.adopt(run)])
        session.desk.leave()
    for options in ([], ["--quiet"]):
        shown = call("attach", session.id, "--store", "store", *options)
        assert shown.exit_code == 1
        assert f"go on with: varq worker {session.id}" in shown.stderr
        assert "no result" in shown.stdout
