"""What the documents say is so: their examples run, their links lead somewhere, their commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import tomllib
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import house
import numpy as np
import pytest
import typer
from harness import PATIENCE, until

from varq.algorithms import minimize
from varq.cli.app import app

DOCUMENTS = sorted(p for p in house.tree_files() if p.suffix == ".md")
PAGES = [p for p in DOCUMENTS if p.name != "CHANGELOG.md"]  # which tells of commands as they once were
PAGES += sorted(p for p in house.tree_files() if p.suffix == ".ipynb")
RUN = [house.ROOT / "README.md", house.ROOT / "CONTRIBUTING.md"]
RUN += [house.ROOT / "docs" / f"{name}.md" for name in ("algorithms", "hardware", "sessions", "simulator", "studies")]


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
def test_the_cluster_of_the_documents_runs() -> None:
    document = house.ROOT / "docs" / "studies.md"
    (example,) = blocks(document, "python dask")
    (start, *_) = [block for block in blocks(document, "python") if "import varq" in block and "VQE" in block]
    imports = "\n".join(line for line in start.splitlines() if line.startswith(("import ", "from ")))
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(f"{imports}\n{example}", document.name, "exec"), space)
    assert space["study"].status()["done"] == 4
    assert set(space["study"].ledger()["labels"]) == {"qpu:ibm.torino (1)"}


@pytest.mark.dask
def test_the_job_script_of_the_documents_is_the_one_that_slurm_gets() -> None:
    import dask
    import dask_jobqueue  # noqa: F401  (it sets defaults in the configuration)

    document = house.ROOT / "docs" / "clusters.md"
    (example,), (shown,) = blocks(document, "python slurm"), blocks(document, "sh slurm")
    space: dict[str, Any] = {}
    # Where its usual port is taken, Dask warns and leaves a socket open.
    with dask.config.set({"jobqueue.slurm.scheduler-options": {"dashboard_address": ":0"}}):
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
    array = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"}
    array["SLURM_JOB_ID"] = "4711"  # one task has the array's own: requeued by it, all of them start again
    path = {"PATH": f"{Path.cwd()}:{os.environ['PATH']}"}
    with subprocess.Popen(["bash", "-c", script], env=path | array, start_new_session=True) as shell:
        until(lambda: begun.exists() and begun.read_text())
        if signaled:
            shell.terminate()
        with suppress(subprocess.TimeoutExpired):
            shell.wait(PATIENCE)
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == ends, "SLURM is told that a shard ended otherwise than it did"
    assert "--shard 3/16" in begun.read_text()
    assert (told.read_text() if told.exists() else None) == ("requeue 4711_3\n" if ends == 75 else None)


def shell_lines(text: str) -> list[tuple[str, str]]:
    """The lines of the shell blocks, and their comments."""
    found = re.findall(r"^```(?:sh|console)\b.*\n((?:.*\n)*?)```$", text, re.MULTILINE)
    lines = [line for block in found for line in block.replace("\\\n", " ").splitlines()]
    return [(code, comment) for code, _, comment in (re.sub(r"(^|\s)#", "\0", line).partition("\0") for line in lines)]


def calls(line: str) -> list[list[str]]:
    """The words of each call of `varq` in a line; `varq a | b` shows two commands and is two calls."""
    reader = shlex.shlex(line.replace("[ID]", "ID"), posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    found: list[list[str]] = []
    inside = False
    for word in reader:
        if inside := word.rpartition("/")[2] == "varq" or (inside and not set(word) <= set(";&()")):
            if word.rpartition("/")[2] == "varq" or word == "|":
                found.append([])
            else:
                found[-1].append(word)
    return found


@cache
def the_command() -> Any:
    """`varq`, as typer makes it of its functions."""
    return typer.main.get_command(app)


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command of the real command line that the words call, and the words after its name."""
    command = the_command()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}: {words}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command: Any) -> set[str]:
    return {"-h", "--help", *(name for parameter in command.params for name in parameter.opts)}


def page(path: Path) -> str:
    """What a document or a notebook says."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def test_the_command_lines_of_a_document_are_told_apart() -> None:
    text = "```sh\nA=1 .venv/bin/varq run a.toml && make; varq rm | gc & # or --yes\n```\n```text\nvarq no\n```\n"
    ((line, comment),) = shell_lines(text)
    assert calls(line) == [["run", "a.toml"], ["rm"], ["gc"]]
    assert comment == " or --yes"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_the_commands_that_are_shown_are_understood_as_they_are_typed(path: Path) -> None:
    """By the parser of `varq` itself: commands, options and what each must be given."""
    for line, comment in shell_lines(page(path)):
        shown = calls(line)
        for words in shown:
            command, rest = command_of(words)
            if not re.search(r"\bvarq \w+ \|", line):  # of several, names alone are shown
                command.make_context(words[0], list(rest))  # an error of the parser names what it does not know
        if shown:
            unknown = set(re.findall(r"--[a-z][a-z-]*", comment)) - options_of(command_of(shown[0])[0])
            assert not unknown, f"varq {' '.join(shown[0])}: {comment}"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_the_commands_that_are_named_exist(path: Path) -> None:
    for named in re.findall(r"`varq ([^`.]+(?:\.toml[^`]*)?)`", page(path)):
        command, rest = command_of(named.split())
        assert {word for word in rest if word.startswith("-")} <= options_of(command), f"varq {named}"


def test_the_documents_show_whole_spec_files() -> None:
    files = [text for path in DOCUMENTS for text in blocks(path, "toml")]
    assert len(files) >= 3
    assert all(tomllib.loads(text)["algorithm"] for text in files)


def test_any_sql_tool_reads_the_default_store_as_the_readme_says() -> None:
    (command,) = blocks(house.ROOT / "README.md", "sh sql")
    found = re.search(r"for file in (\S+);.* '(SELECT .+)'", command)
    assert found is not None
    result = minimize(_bowl, np.array([1.0]), optimizer="nelder-mead")
    (file,) = Path().glob(found[1])
    with closing(sqlite3.connect(file)) as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute(found[2])
        views = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert (row["id"], row["value"], row["steps"]) == (result.run_id, result.value, result.steps)
    assert views == set(re.findall(r"`(\w+)`", _before(command).rpartition("by the views")[2]))


def _bowl(x: Any) -> float:
    return float(x @ x)


def _before(block: str) -> str:
    """The paragraph in front of a block of the README."""
    return (house.ROOT / "README.md").read_text(encoding="utf-8").partition(block)[0].split("\n\n")[-2]


def test_the_two_commands_are_targets() -> None:
    readme = (house.ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (house.ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
    assert "make test" in (house.ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_two_commands_without_make_are_what_make_runs() -> None:
    makefile = (house.ROOT / "Makefile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^(VENV|BIN|WORKERS|INSTALL) = (.*)$", makefile, re.MULTILINE))
    runs = re.findall(r"^\t@?(.+)$", makefile, re.MULTILINE)
    for _ in variables:  # one may stand in another
        runs = [re.sub(r"\$\((\w+)\)", lambda m: variables.get(m[1], m[0]), line) for line in runs]
    quiet = {line.replace("--quiet --disable-pip-version-check ", "") for line in runs}
    tests = next(line for line in runs if '-m "not full"' in line)
    quiet.add(tests.replace("JAX_ENABLE_X64=0 $(PYTEST)", f".venv/bin/pytest -n {variables['WORKERS']}"))
    (block,) = blocks(house.ROOT / "README.md", "sh plain")
    made, *steps = re.split(r"\s*&&\s*|\n", block.strip())
    assert made == f"python3 -m venv {variables['VENV']}"
    assert set(steps) <= quiet
    assert len(steps) == 7
    assert ".venv/bin/varq demo" in steps


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
