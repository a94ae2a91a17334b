"""Scripts that kill runs, in a process of their own: they fork before JAX has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["printed", "told"]


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
