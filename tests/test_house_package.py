"""The package as others get it: what pyproject lists, what the wheel holds, and that it runs where nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import house
import pytest

from varq.store.schema import NEEDS

PROJECT = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SUFFIXES = {".py", ".typed", ".json", ".gz"}  # what a package may hold; anything else must be listed as package data


def expected_files() -> set[str]:
    """What the wheel must hold, from the sources: every file of the three folders, under the name it imports by."""
    found = set()
    for path in house.tree_files():
        parts = path.relative_to(house.ROOT).parts
        if parts[0] in house.FOLDERS.values():
            found.add("/".join(parts if parts[0] == "varq" else ("varq", *parts)))
    return found


def test_every_package_on_disk_is_listed() -> None:
    on_disk = {m.name for m in house.modules().values() if m.is_package}
    assert PROJECT["tool"]["setuptools"]["packages"] == sorted(on_disk)
    assert PROJECT["tool"]["setuptools"]["package-dir"] == house.FOLDERS


def test_packages_hold_only_what_the_wheel_takes() -> None:
    strange = {name for name in expected_files() if Path(name).suffix not in SUFFIXES}
    assert not strange


def test_links_serve_the_static_tools() -> None:
    for name in ("algorithms", "ansatze"):
        link = house.ROOT / "varq" / name
        assert link.is_symlink()
        assert os.readlink(link) == f"../{name}"


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    citation = re.search(r"^version: (\S+)$", (house.ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    changes = re.findall(r"^## \[([^\]]+)\]", (house.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation is not None
    assert citation.group(1) == version
    assert changes[0] == "Unreleased"
    release, dev, _ = version.partition(".dev")
    latest = changes[1]
    assert (numbers(latest) < numbers(release)) if dev else (latest == version), "between releases it ends in .dev0"


def numbers(version: str) -> tuple[int, ...]:
    """Of a release, for comparison."""
    return tuple(map(int, version.split(".")))


def test_a_refused_varq_is_told_a_version_that_is_or_will_be() -> None:
    release = PROJECT["project"]["version"].partition(".dev")[0]
    assert numbers(NEEDS) <= numbers(release)


def test_the_root_knows_the_version() -> None:
    code = "import varq; print(varq.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == PROJECT["project"]["version"]


def test_every_odd_bound_has_its_reason() -> None:
    lines = (house.ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if re.match(r'\s*"[^"]*(<|==|!=)\d', line) and "#" not in line]
    assert not bare


def test_every_extra_is_used_by_itself() -> None:
    script = (house.ROOT / ".ci" / "extras.py").read_text(encoding="utf-8")
    used = re.findall(r'^    "(\w+)": ', script, re.MULTILINE)
    assert set(used) == set(PROJECT["project"]["optional-dependencies"]) - {"test", "dev"}


def test_the_legs_of_the_wide_gate_are_those_that_are_named() -> None:
    wide = (house.ROOT / ".ci" / "full").read_text(encoding="utf-8")
    legs = re.findall(r"^leg (\w+) \1$", wide, re.MULTILINE)
    assert f"#   .ci/full LEG...     only these: {', '.join(legs)}\n" in wide
    assert f"    {' | '.join(legs)}) chosen" in wide
    named = ", ".join(f"`{leg}`" for leg in legs)
    assert f"runs some legs: {named}." in (house.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("leg", "told"), [("gate", []), ("devices", ["ran 5 circuits on here"])])
def test_the_summary_of_the_wide_gate_tells_of_the_legs_that_ran(leg: str, told: list[str], tmp_path: Path) -> None:
    """Logs of earlier runs lie there still; what they say would pass for the result of this one."""
    stubs = {
        ".ci/venv": 'mkdir -p "$1/bin" && cp stub/python stub/pytest "$1/bin"',
        "stub/python": "echo 3.11.9",
        "stub/pytest": "echo ran 5 circuits on here",
        "stub/make": "echo === 7 passed in 1.0s ===",
        ".cache/full/devices.log": "ran 9 circuits on another",
        ".cache/full/everything.log": "SKIPPED [1] tests/test_x.py: no such thing",
    }
    for name, text in stubs.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if name.endswith(".log") else f"#!/bin/sh\n{text}\n", encoding="utf-8")
        file.chmod(0o755)
    shutil.copy(house.ROOT / ".ci" / "full", tmp_path / ".ci" / "full")
    path = {**os.environ, "PATH": f"{tmp_path / 'stub'}:{os.environ['PATH']}"}
    done = subprocess.run([tmp_path / ".ci" / "full", leg], capture_output=True, text=True, env=path, check=False)
    assert done.returncode == 0, done.stderr
    _, _, summary = done.stdout.partition("=== summary")
    assert re.search(rf"^{leg} +Python \S+ .* passed", summary, re.MULTILINE)
    assert [line for line in summary.splitlines() if "circuits" in line or "SKIPPED" in line] == told


def test_both_ends_of_the_jax_range_are_tested() -> None:
    bound = next(d for d in PROJECT["project"]["dependencies"] if d.startswith("jax"))
    lowest = re.search(r">=([\d.]+)", bound)
    locked = re.search(r"^jax==(\S+)$", (house.ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert lowest is not None
    assert locked is not None
    assert f"jax=={lowest.group(1)}'" in (house.ROOT / ".ci" / "full").read_text(encoding="utf-8")
    assert locked.group(1).startswith("0.10."), "the newest that the bound allows"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of the source distribution from a copy that holds only what the repository does."""
    copy = tmp_path_factory.mktemp("sources")
    for path in house.tree_files():
        target = copy / path.relative_to(house.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    _run([sys.executable, "-m", "build", "--outdir", str(copy / "dist"), str(copy)], seconds=300)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def _run(command: list[str], seconds: int, folder: Path | None = None) -> str:
    """The standard output of a command that must succeed, run as a user would: without the tests' settings of JAX."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "JAX_ENABLE"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=folder, env=clean, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_wheel_holds_the_sources_and_nothing_else(wheel: Path) -> None:
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert inside == expected_files()


@pytest.mark.timeout(900)
def test_the_wheel_runs_where_nothing_else_is(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and its dependencies: import, help and the demo."""
    home = tmp_path / "venv"
    _run([str(house.ROOT / ".ci" / "venv"), str(home), sys.executable], seconds=120)
    constraints = str(house.ROOT / "constraints.txt")
    install = [
        str(home / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--constraint",
        constraints,
    ]
    _run([*install, str(wheel)], seconds=600)
    _run([str(home / "bin" / "python"), "-m", "pip", "check"], seconds=120)
    where = _run([str(home / "bin" / "python"), "-c", "import varq; print(varq.__file__)"], seconds=60, folder=tmp_path)
    assert Path(where.strip()).is_relative_to(home)
    assert "demo" in _run([str(home / "bin" / "varq"), "--help"], seconds=60, folder=tmp_path)
    shown = _run([str(home / "bin" / "varq"), "demo"], seconds=600, folder=tmp_path)
    assert "chemical accuracy" in shown
    assert list(tmp_path.glob("*.png")), "the demo draws a picture"
