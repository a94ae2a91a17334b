"""Studies from the command line: run, looked at, carried on, tried again, exported, in shards."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from study_samples import FILE
from typer.testing import CliRunner

from varq.cli.app import app
from varq.store.faults import StoreError
from varq.store.store import open_store
from varq.study import load
from varq.study.work import failed

STUDY = f"""{FILE}[stop]
steps = 2
[session]
device = "default.qubit"
store = "here"
[sweep]
name = "ising"
[sweep.over]
problem.field = [0.5, 1.0]
seed.range = 2
"""


def call(*words: Any) -> Any:
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def good(*words: Any) -> str:
    shown = call(*words)
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.fixture
def file() -> Path:
    path = Path("study.toml")
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_looking_ahead_takes_no_name(file: Path) -> None:
    """What is only forecast may still be changed under its name."""
    good("run", file, "--dry-run")
    file.write_text(STUDY.replace("0.5", "0.7"), encoding="utf-8")
    assert "4 cells in 4 batches" in good("run", file, "--dry-run")


def test_a_study_is_run_looked_at_and_exported(file: Path) -> None:
    ahead = good("run", file, "--dry-run")
    assert "4 cells in 4 batches" in ahead
    assert "2 cells in 2 batches" in good("run", file, "--dry-run", "--shard", "1/2")
    assert "states of at least" in ahead
    first = good("run", file, "--shard", "1/2", "--quiet")
    assert "ising: 2 of 4 cells done, 2 missing" in first
    assert "2 missing, 2 done, of 4 cells" in good("status", "ising", "--store", "here")
    assert "ising: 4 of 4 cells done" in good("resume", file, "--quiet")
    assert "ising: 4 of 4 cells done" in good("run", file, "--quiet")
    assert "4 done, of 4 cells" in good("status", file)
    rows = list(csv.DictReader(io.StringIO(good("export", file))))
    assert [(row["problem.field"], row["seed"]) for row in rows] == [
        ("0.5", "0"),
        ("0.5", "1"),
        ("1.0", "0"),
        ("1.0", "1"),
    ]
    with open_store("here", read_only=True) as store:
        assert {row["run"]: float(row["value"]) for row in rows} == {r.id: r.value for r in store.list()}
    assert good("export", file, "--out", "table.csv").strip() == "table.csv"
    assert Path("table.csv").read_text(encoding="utf-8").splitlines()[1].startswith("0.5,0,")


def test_failed_cells_are_told_and_tried_again(file: Path) -> None:
    # default.mixed computes in double precision only, which is found out when its circuits are built.
    file.write_text(
        STUDY.replace("problem.field = [0.5, 1.0]", 'device = ["default.mixed", "lightning.qubit"]')
        .replace('device = "default.qubit"\n', "")
        .replace("[problem]", 'precision = "single"\n[problem]', 1),
        encoding="utf-8",
    )
    shown = call("run", file, "--quiet")
    assert shown.exit_code == 1
    assert "2 of 4 cells done, 2 failed" in shown.output
    assert "precision='single' is not offered by default.mixed" in shown.output
    assert "varq sweep retry study.toml" in shown.output
    assert call("status", file).exit_code == 1
    assert call("retry", file, "--quiet").exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[sweep.over]", "[sweep.ovr]", "there is no key 'ovr' here. Did you mean over"),
        ("problem.field", "problem.feld", "has no field 'feld'"),
        ("seed.range = 2", "seed = []", "must hold at least one value"),
        ("seed.range = 2", "seed = 3", "must be a list of values"),
        ('name = "ising"', 'name = "two words"', "2 to 58 letters"),
        ('name = "ising"', 'warm_start = "repeat"', "must be one of the fields swept over"),
        ("sites = 2", "sits = 2", "there is no key 'sits'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(STUDY.replace(old, new), encoding="utf-8")
    shown = call("run", file, "--quiet")
    assert shown.exit_code == 2, shown.output
    assert message in " ".join(shown.output.split())


def test_what_is_wrong_with_a_command_is_said(file: Path) -> None:
    assert "--shard must be i/n" in call("run", file, "--shard", "2").output
    assert "at most 2" in call("run", file, "--shard", "3/2", "--quiet").output
    file.write_text(STUDY.split("[sweep]")[0], encoding="utf-8")
    assert "a study needs a table [sweep]" in call("run", file).output
    good_file = Path("other.toml")
    good_file.write_text(STUDY, encoding="utf-8")
    good("run", good_file, "--quiet")
    assert "there is no study 'nothing' in the store" in call("status", "nothing", "--store", "here").output
    assert "the suffix of path must be one of" in call("export", good_file, "--out", "table.xls").output
    again = STUDY.replace("seed.range = 2", "seed.range = 3")
    good_file.write_text(again, encoding="utf-8")
    assert "'ising' has 4 cells in the store, and another list of 6 came" in call("run", good_file).output


def test_fields_that_change_together_have_their_names_in_one(file: Path) -> None:
    joined = '"problem.field, seed" = [[0.5, 1], [1.0, 2]]'
    file.write_text(STUDY.replace("problem.field = [0.5, 1.0]\nseed.range = 2", joined), encoding="utf-8")
    assert "2 of 2 cells done" in good("run", file, "--quiet")
    lines = good("export", file).splitlines()
    assert [line.split(",")[:2] for line in lines] == [["problem.field", "seed"], ["0.5", "1"], ["1.0", "2"]]


def test_compact_unites_what_workers_left(file: Path) -> None:
    good("run", file, "--quiet")
    with open_store("here", part="part-3") as store:
        assert store.list()
    shown = CliRunner().invoke(app, ["compact", "--store", "here"])
    assert shown.exit_code == 0, shown.output
    assert "Took in 1 file of workers." in shown.output
    assert "4 done" in good("status", file)


def test_a_budget_holds_over_the_study_and_more_goes_on(file: Path) -> None:
    file.write_text(STUDY.replace("[session]", "[session]\nshots = 20"), encoding="utf-8")
    shown = call("run", file, "--quiet", "--budget-shots", "100")
    assert shown.exit_code == 3, shown.output
    assert "of 100 shots are used up by the study so far" in " ".join(shown.output.split())
    with open_store("here", read_only=True) as store:
        assert sum(line.shots for line in store.jobs.ledger()) <= 100
    assert "4 of 4 cells done" in good("resume", file, "--quiet", "--budget-shots", "1000000")


def test_where_cells_ran_is_told(file: Path) -> None:
    file.write_text(
        STUDY.replace("[sweep.over]", 'needs.qpu = "ada.one"\npriority = 2\n[sweep.over]'), encoding="utf-8"
    )
    good("run", file, "--quiet")
    rows = list(csv.DictReader(io.StringIO(good("ledger", file))))
    assert [row["labels"] for row in rows] == ["qpu:ada.one (1)"] * 4
    assert {row["executor"] for row in rows} == {"this process"}
    assert good("ledger", "ising", "--store", "here", "--out", "where.csv").strip() == "where.csv"
    assert Path("where.csv").read_text(encoding="utf-8").startswith("problem.field,seed,run,state,executor,worker,host")


def test_a_cluster_is_named_by_its_address_alone(file: Path) -> None:
    assert "name two places. Give one" in call("run", file, "--executor", "tcp://a:1", "--workers", "2").output
    assert "address of a Dask scheduler, such as tcp://host:8786" in call("run", file, "--executor", "ada").output
    shown = call("run", file, "--quiet", "--shard", "1/2", "--budget-shots", "5")
    assert shown.exit_code == 2
    assert "shards do not know of each other" in " ".join(shown.output.split())


def test_what_a_cluster_lacks_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as where the extra is not installed
    shown = call("run", file, "--quiet", "--executor", "tcp://127.0.0.1:9")
    assert shown.exit_code == 2
    assert "varq[dask]" in " ".join(shown.output.split())
    file.write_text(STUDY.replace("[sweep.over]", "needs.gpu = 99\n[sweep.over]"), encoding="utf-8")
    shown = call("run", file, "--quiet")
    assert shown.exit_code == 2
    assert "need gpu (99), and this process has that not" in " ".join(shown.output.split())


def test_studies_are_listed_drawn_and_loaded_by_their_names(file: Path) -> None:
    assert good("list") == "", "there is no store"
    good("run", file, "--shard", "1/2", "--quiet")
    shown = good("list", "--store", "here")
    assert shown.split() == [
        "name",
        "cells",
        "missing",
        "unfinished",
        "done",
        "failed",
        "over",
        "ising",
        "4",
        "2",
        "0",
        "2",
        "0",
        "problem.field,",
        "seed",
    ]
    (one,) = json.loads(good("list", "--store", "here", "--json"))
    assert one["fields"] == ["problem.field", "seed"]
    assert (one["cells"], one["done"], one["missing"]) == (4, 2, 2)
    good("plot", "ising", "--out", "curve.png", "--store", "here")
    good("plot", file, "--x", "problem.field", "--y", "seed", "--out", "map.png")
    assert Path("curve.png").read_bytes()[1:4] == Path("map.png").read_bytes()[1:4] == b"PNG"
    wrong = call("plot", file, "--y", "valu")
    assert wrong.exit_code == 2
    assert "Did you mean" in wrong.output
    with load("ising", store="here") as study:
        assert repr(study) == "<varq study ising: 2 of 4 cells done, 2 missing>"
        assert len(study) == 4
        assert study.table()["state"].count("done") == study.ledger().height == 2
        assert study.export("cells.csv").read_text() == study.table().csv()
        assert len(study.plot("problem.field").lines) >= 1
        with pytest.raises(StoreError, match="opened for reading"):
            study.store.gc()
    with pytest.raises(LookupError, match=r"no study 'isin' in the store. Did you mean ising"):
        load("isin", store="here")
    with pytest.raises(StoreError, match=r"no store at .*elsewhere"):
        load("ising", store="elsewhere")


def test_a_file_without_a_name_has_the_one_of_its_cells(file: Path) -> None:
    file.write_text(STUDY.replace('name = "ising"', ""), encoding="utf-8")
    (name, *_) = good("run", file, "--quiet").partition(":")
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert f"{name}: 4 done, of 4 cells" in good("status", file)
    assert good("export", file) == good("export", name, "--store", "here")
    assert len(good("ledger", file).splitlines()) == 5


def test_failed_cells_are_tried_again_within_a_budget(file: Path) -> None:
    file.write_text(STUDY.replace("[session]", "[session]\nshots = 20"), encoding="utf-8")
    good("run", file, "--quiet")
    with open_store("here") as store:
        (run, *_) = (record.id for record in store.list())
        store.reopen(run)
        failed(store, run, "KilledWorker: it ended")
    refused = call("retry", file, "--quiet", "--budget-shots", "1")
    assert refused.exit_code == 3, refused.output
    assert "the budget has no place for the rest" in refused.output
    assert "4 of 4 cells done" in good("retry", file, "--quiet", "--budget-shots", "100000")
