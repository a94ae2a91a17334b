"""The store that a command works on, and the words for it in the lines to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

from varq.cli.mistakes import InputError, asked
from varq.store.folder import store_folder
from varq.store.store import Store, open_store

__all__ = ["DEFAULT_FOLDER", "line", "reading", "writing"]

DEFAULT_FOLDER = Path("varq-runs")  # as varq.session.opening.DEFAULT_STORE, which would load PennyLane


def reading(folder: Path | None) -> Store:
    """The store, opened to be read; it is not made.

    Raises:
        InputError: if there is none; says how to get one.
    """
    return open_store(_existing(folder), read_only=True)


def writing(folder: Path | None) -> Store:
    """The store, opened to be changed; the folder is not made.

    Raises:
        InputError: if there is none.
    """
    return open_store(_existing(folder))


def _existing(folder: Path | None) -> Path:
    with asked():
        path = store_folder(folder or DEFAULT_FOLDER)
    if folder is None and not path.is_dir():
        raise InputError(
            f"there is no store here (folder {DEFAULT_FOLDER}). `varq demo` or `varq run FILE.toml` makes one; "
            "--store DIR names another folder."
        )
    if not path.is_dir():
        raise InputError(f"there is no store at {folder}. Name the folder that holds one.")
    return path


def line(command: str, run_id: str, folder: Path | None) -> str:
    """A command line for a run, such as `varq resume 1f2e3d4c --store here`."""
    where = "" if folder is None or folder == DEFAULT_FOLDER else f" --store {shlex.quote(str(folder))}"
    return f"varq {command} {run_id[:8]}{where}"
