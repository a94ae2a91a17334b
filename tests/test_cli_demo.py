"""`varq demo`, shortened to one bond length; the whole of it runs where the wheel is tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from varq.cli import demonstration
from varq.cli.app import app
from varq.problems import Molecule
from varq.store.store import open_store

BOND = 1.6
SHOWN = 1e-6  # hartree; the table has six decimals
LENGTHS = demonstration.BONDS  # as they are before the tests shorten them


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store in which the demonstration has run once."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "BONDS", (BOND,))
        shown = CliRunner().invoke(app, ["demo", "--store", str(folder / "runs"), "--out", str(folder / "first.png")])
        assert shown.exit_code == 0, shown.output
        yield folder / "runs"


def test_the_table_and_the_picture(store: Path) -> None:
    shown = CliRunner().invoke(app, ["demo", "--store", str(store)])
    assert shown.exit_code == 0, shown.output
    assert "nothing was computed" in shown.stderr
    assert Path("varq-demo.png").read_bytes().startswith(b"\x89PNG")
    head, row = shown.stdout.strip().splitlines()[:2]
    assert head.split() == ["bond/Å", "HF/Ha", "VQE/Ha", "exact/Ha", "VQE", "-", "exact/mHa"]
    energies = Molecule.load("LiH", bond=BOND).energies
    bond, hf, value, exact, deviation = map(float, row.split())
    assert (bond, hf, exact) == (
        BOND,
        pytest.approx(energies["hf"], abs=1e-6),
        pytest.approx(energies["exact"], abs=1e-6),
    )
    assert value == pytest.approx(energies["exact"] + 1e-3 * deviation, abs=2 * SHOWN)
    assert 0 <= deviation < 0.02, "UCCSD with L-BFGS-B from zeros: within 0.02 mHa of exact near equilibrium"
    assert "Every energy is within chemical accuracy" in shown.stdout


def test_it_says_what_to_type_next(store: Path) -> None:
    shown = CliRunner().invoke(app, ["demo", "--store", str(store)])
    with open_store(store, read_only=True) as opened:
        (record,) = opened.list()
    for command in ("list", f"show {record.id[:8]}", f"plot {record.id[:8]}"):
        assert f"varq {command} --store {store}" in shown.stderr


def test_a_deviation_beyond_chemical_accuracy_is_a_failure(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstration, "CHEMICAL_ACCURACY", 1e-9)
    shown = CliRunner().invoke(app, ["demo", "--store", str(store)])
    assert shown.exit_code == 1
    assert "Not every energy is within chemical accuracy" in shown.stdout
    assert "(!)" in shown.stdout


def test_a_picture_that_cannot_be_written(store: Path) -> None:
    shown = CliRunner().invoke(app, ["demo", "--store", str(store), "--out", "no/where.png"])
    assert shown.exit_code == 2
    assert "no/where.png: path must be in a folder that exists" in shown.stderr


def test_every_bond_length_ships() -> None:
    assert set(LENGTHS) <= set(Molecule.available()["LiH"])
