"""The table of the simulator's stages in CONTRIBUTING.md, against its folder."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "varq" / "simulator"
TOLD_ALONE = ("dense",)  # folders whose files the table names one by one


def test_the_table_of_stages_names_every_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## The compiled simulator")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`(\w+\.py|\w+/)`", "\n".join(rows)))
    places = [FOLDER, *(FOLDER / name for name in TOLD_ALONE)]
    files = {path.name for place in places for path in place.glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in FOLDER.glob("*/__init__.py")}
    assert named == files | folders
