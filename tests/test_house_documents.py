"""What the documents say is so: their examples run, their links lead somewhere, their commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import house
import pytest

DOCUMENTS = sorted(p for p in house.tree_files() if p.suffix == ".md")
RUN = [house.ROOT / "README.md", house.ROOT / "CONTRIBUTING.md"]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", RUN, ids=lambda p: p.name)
def test_the_python_examples_run(path: Path) -> None:
    examples = blocks(path, "python")
    assert examples
    space: dict[str, object] = {"__name__": "__main__"}
    for example in examples:
        exec(compile(example, path.name, "exec"), space)


@pytest.mark.ibm
def test_the_session_of_the_readme_runs_on_a_snapshot_of_a_machine() -> None:
    readme = house.ROOT / "README.md"
    (other,) = blocks(readme, "python ibm")
    (session,) = [block for block in blocks(readme, "python") if 'device = "varq.qubit"\n' in block]
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(session.replace('device = "varq.qubit"\n', other), readme.name, "exec"), space)
    ledger: Any = space["ledger"]
    assert len(ledger) > 0
    assert {line.device for line in ledger} == {"ibm.fake_torino"}
    assert {line.state.value for line in ledger} == {"done"}


@pytest.mark.qec
def test_the_examples_of_error_correction_run() -> None:
    (example,) = blocks(house.ROOT / "README.md", "python qec")
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(example, "README.md", "exec"), space)
    assert space["kept"].details["failures"] > 0


@pytest.mark.dask
@pytest.mark.timeout(900)
def test_the_cluster_of_the_readme_runs() -> None:
    readme = house.ROOT / "README.md"
    (example,) = blocks(readme, "python dask")
    (start, *_) = [block for block in blocks(readme, "python") if "import varq" in block and "VQE" in block]
    imports = "\n".join(line for line in start.splitlines() if line.startswith(("import ", "from ")))
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(f"{imports}\n{example}", "README.md", "exec"), space)
    assert space["study"].status()["done"] == 4
    assert set(space["study"].ledger()["labels"]) == {"qpu:ibm.torino (1)"}


@pytest.mark.dask
@pytest.mark.filterwarnings("ignore:Port 8787 is already in use:UserWarning")
def test_the_job_script_of_the_documents_is_the_one_that_slurm_gets() -> None:
    document = house.ROOT / "docs" / "clusters.md"
    (example,), (shown,) = blocks(document, "python slurm"), blocks(document, "sh slurm")
    space: dict[str, Any] = {}
    exec(compile(example, "clusters.md", "exec"), space)
    with space["cluster"] as cluster:
        script = cluster.job_script()
    absent = [line for line in shown.splitlines() if line not in script]
    assert not absent, script


@pytest.mark.parametrize(("ends", "signaled"), [(75, True), (75, False), (0, True), (0, False), (1, False)])
def test_a_job_of_an_array_is_requeued_where_its_wall_time_came_before_the_end(ends: int, signaled: bool) -> None:
    """SLURM signals the shell alone (`--signal=B:`): what it runs must hear of it, and its status must come back."""
    (script,) = [text for text in blocks(house.ROOT / "docs" / "clusters.md", "sh") if "--array" in text]
    assert "#SBATCH --signal=B:TERM@" in script
    assert "--requeue" in script
    begun, told = Path("begun"), Path("told")
    waits = "while :; do sleep 0.05; done" if signaled else ""
    commands = {
        "varq": f"trap 'exit {ends}' TERM; echo $@ > {begun}; {waits}\nexit {ends}",
        "scontrol": f"echo $@ > {told}",
    }
    for name, text in commands.items():
        Path(name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        Path(name).chmod(0o755)
    environment = {"PATH": f"{Path.cwd()}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "4711"}
    shell = subprocess.Popen(["bash", "-c", script], env=environment)
    while not (begun.exists() and begun.read_text()):
        time.sleep(0.02)
    if signaled:
        shell.terminate()
    shell.wait(30)
    assert "--shard 3/16" in begun.read_text()
    assert told.exists() == (ends == 75)
    if told.exists():
        assert told.read_text() == "requeue 4711\n"


def test_the_readme_shows_whole_spec_files() -> None:
    files = blocks(house.ROOT / "README.md", "toml")
    assert files
    assert all(tomllib.loads(text) for text in files)


def test_the_two_commands_are_targets() -> None:
    readme = (house.ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (house.ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
    assert "make test" in (house.ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    dead = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:varq|tests|benchmarks|notebooks|docs|algorithms|ansatze|\.ci)/[\w./-]+)`", path.read_text()
    )
    absent = sorted({name for name in named if not (house.ROOT / name).exists()})
    assert not absent
