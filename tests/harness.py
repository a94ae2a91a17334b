"""What tests share that run other processes, such as scripts that kill runs: they fork before JAX has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PATIENCE", "printed", "told", "until"]

PATIENCE = 400.0  # seconds for processes that have to load PennyLane and JAX on a busy machine


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def printed(script: str, folder: Path, *arguments: str) -> list[Any]:
    """What a script prints, a line of JSON each, once it has ended well in a folder."""
    return told("-c", script, *arguments, folder=folder)


def told(*words: str, folder: Path | None = None) -> list[Any]:
    """The same of whatever Python is asked to run by these words of its command line."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
