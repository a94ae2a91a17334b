"""What `--no-skips` lets go: tests of absent peers that conftest.py names, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import house
import pytest

ABSENT = "varq_peer_that_nobody_has"
PEER = f'import pytest\n@pytest.mark.peer("{ABSENT}")\ndef test_one(): assert False\n'
PRESENT = PEER.replace(ABSENT, "json")
MISSING = f'import pytest\ndef test_two(): pytest.importorskip("{ABSENT}")\n'
FINE = "def test_three(): assert True\n"


def outcome(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """The exit status of pytest on tests of this text under the house's conftest, with two more peers."""
    conftest = (house.ROOT / "conftest.py").read_text(encoding="utf-8")
    conftest += f'\nPEERS.update({{"json": "", "{ABSENT}": ""}})\n'
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  peer(name)\n  flagless\n", encoding="utf-8")
    (folder / "test_text.py").write_text(text + FINE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


ONE, MANY = (), ("-n", "1")  # with workers, another process than the one that skipped decides


@pytest.mark.parametrize(
    ("text", "status", "workers"),
    [(PEER, 0, ONE), (MISSING, 1, ONE), (PRESENT, 1, ONE), (PEER, 0, MANY), (PEER + MISSING, 1, MANY)],
)
def test_only_absent_peers_are_let_go(text: str, status: int, workers: tuple[str, ...], tmp_path: Path) -> None:
    assert outcome(tmp_path, text, "--no-skips", *workers)[0] == status


def test_what_is_skipped_is_said(tmp_path: Path) -> None:
    status, said = outcome(tmp_path, PEER + MISSING)
    assert status == 0
    assert f"absent peer {ABSENT}" in said
    assert "2 skipped" in said
