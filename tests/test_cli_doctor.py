"""`varq doctor`: what it finds in a sound installation and in broken ones."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from varq import cli
from varq.cli import health
from varq.cli.app import app
from varq.cli.probing import Probe

SOUND = Probe(
    x64=False,
    default="lightning.qubit",
    known=("lightning.qubit", "default.qubit"),
    errors={"lightning.qubit": 1e-16, "default.qubit": 0.0},
    faults={},
)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Of a doctor that need not run circuits."""
    monkeypatch.setattr(cli, "probe", lambda: SOUND, raising=False)
    return CliRunner()


def install(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Pretend that packages have other versions, or None for absent."""
    real = health._installed
    pretended = {name.replace("_", "-"): found for name, found in versions.items()}
    monkeypatch.setattr(health, "_installed", lambda name: pretended[name] if name in pretended else real(name))


def checks_of(runner: CliRunner, status: int) -> dict[str, dict[str, str]]:
    shown = runner.invoke(app, ["doctor", "--json"])
    assert shown.exit_code == status, shown.output
    return {check["name"]: check for check in json.loads(shown.stdout)}


def test_a_sound_installation(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["doctor"])
    assert shown.exit_code == 0, shown.output
    assert "Nothing is broken" in shown.stdout
    for package in ("varq", "pennylane", "jax", "numpy", "scipy", "optax"):
        assert version(package) in next(row for row in shown.stdout.splitlines() if row.startswith(f"  {package} "))
    assert "lightning.qubit (known to varq)" in shown.stdout


def test_the_circuits_run_for_real() -> None:
    found = cli.probe()
    assert found.faults == {}
    assert set(found.errors) == set(found.known) >= {found.default}
    assert max(found.errors.values()) < health.ROUNDING


def test_jax_0_11_is_a_known_conflict(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, jax="0.11.2")
    found = checks_of(runner, 1)
    assert found["jax"]["state"] == "broken"
    assert "not >=0.7.1,<0.11" in found["jax"]["found"]
    assert "concrete_or_error" in found["jax 0.11.2"]["found"]
    assert found["jax 0.11.2"]["mend"] == "pip install 'jax<0.11'"


@pytest.mark.parametrize(("jax", "clashes"), [("0.10.2", True), ("0.7.1", False)])
def test_catalyst_pins_jax(runner: CliRunner, monkeypatch: pytest.MonkeyPatch, jax: str, clashes: bool) -> None:
    install(monkeypatch, pennylane_catalyst="0.15.0", jax=jax)
    found = checks_of(runner, 0)
    assert (f"jax {jax}" in found) is clashes
    if clashes:
        assert "0.7.1 exactly" in found[f"jax {jax}"]["found"]


def test_a_missing_package_has_its_line(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, optax=None, pyscf=None)
    found = checks_of(runner, 1)
    assert found["optax"]["mend"] == "pip install 'optax>=0.2.6'"
    assert found["chem"]["mend"] == "if wanted: pip install 'varq[chem]'"
    assert found["chem"]["state"] == "ok", "an extra that is not installed is no fault"


def test_an_installation_that_cannot_be_loaded(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Probe:
        raise ImportError("cannot import name 'concrete_or_error'")

    monkeypatch.setattr(cli, "probe", broken, raising=False)
    found = checks_of(runner, 1)
    assert "cannot be loaded: ImportError" in found["loading"]["found"]


def test_a_device_that_fails_or_errs(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = Probe(True, SOUND.default, SOUND.known, {"default.qubit": 1e-3}, {"lightning.qubit": "OSError: no library"})
    monkeypatch.setattr(cli, "probe", lambda: sick, raising=False)
    found = checks_of(runner, 1)
    assert found["lightning.qubit"]["found"] == "OSError: no library"
    assert "off by 1.0e-03" in found["default.qubit"]["found"]
    assert found["jax x64 flag"]["found"].startswith("on")


def test_a_store_that_cannot_be_used(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "varq-runs").mkdir()
    (tmp_path / "varq-runs" / "other.sqlite").write_bytes(b"not a store at all")
    shown = runner.invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert "BROKEN" in shown.stdout
    assert "1 broken" in shown.stdout


def test_a_folder_that_is_missing(runner: CliRunner, tmp_path: Path) -> None:
    shown = runner.invoke(app, ["doctor", "--store", str(tmp_path / "no" / "where")])
    assert shown.exit_code == 1
    assert "cannot be written" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("found", "bounds", "good"),
    [
        ("0.10.2", "<0.11,>=0.7.1", True),
        ("0.11.0", "<0.11,>=0.7.1", False),
        ("0.7.0", "<0.11,>=0.7.1", False),
        ("2.0", ">=2.0", True),
        ("0.46.0.dev3", "<0.46,>=0.45", False),
        ("1.0", "", True),
    ],
)
def test_bounds(found: str, bounds: str, good: bool) -> None:
    assert health.satisfies(found, bounds) is good
