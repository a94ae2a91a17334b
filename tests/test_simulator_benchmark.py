"""The benchmark of the device still runs: names that it uses may change, and nothing else calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.full, pytest.mark.flagless, pytest.mark.timeout(900)]  # processes of its own

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "simulator.py"


def output(*given: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "uccsd:LiH", *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_sides_agree() -> None:
    assert "varq.qubit, lightning.qubit agree" in output("--check")


def test_a_row_has_its_roofline_and_its_table() -> None:
    printed = output("--turns", "1", "--markdown")
    assert "uccsd:LiH    varq.qubit (sector): " in printed
    assert any(f" ms by {side}; varq takes " in printed for side in ("bytes", "arithmetic"))
    assert f"Python {sys.version.split()[0]}, jax " in printed
    tables = [line for line in printed.splitlines() if line.startswith("| uccsd:LiH |")]
    assert [line.count("|") for line in tables] == [9, 6]
