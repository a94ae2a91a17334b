"""Every notebook runs from its first cell to its last without an error."""

from __future__ import annotations

import re
from pathlib import Path

import house
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((house.ROOT / "notebooks").glob("*.ipynb"))
QUICK = ("01", "02", "03")  # run at every change; the others in .ci/full
EXTRAS = {"07": "qec", "08": "dask"}  # what a notebook needs beyond the package
SECONDS = 300  # for one cell


def _parameters() -> list[object]:
    return [pytest.param(path, id=path.stem, marks=_marks(path.name[:2])) for path in NOTEBOOKS]


def _marks(number: str) -> list[pytest.MarkDecorator]:
    marks = [] if number in QUICK else [pytest.mark.full]
    return [*marks, getattr(pytest.mark, EXTRAS[number])] if number in EXTRAS else marks


def test_there_are_notebooks() -> None:
    assert {path.name[:2] for path in NOTEBOOKS} >= set(QUICK)


def test_what_a_notebook_writes_beside_itself_is_no_part_of_the_tree() -> None:
    written = {name for path in NOTEBOOKS for name in re.findall(r"%%writefile (\S+?)\\n", path.read_text())}
    assert written
    ignored = (house.ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {f"/notebooks/{name}" for name in written} <= set(ignored)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", _parameters())
def test_the_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in ran)
    warned = [o.text for cell in ran for o in cell.outputs if o.output_type == "stream" and "Warning" in o.text]
    assert not warned, "a warning in a notebook is a reader's first question"
