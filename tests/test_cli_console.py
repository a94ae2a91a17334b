"""What is printed: fitted to a terminal, whole and plain in a pipe, JSON that every reader takes."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from varq.cli import console
from varq.cli.looking import described, worded
from varq.protocol import Stop

ROWS = [["1f2e3d4c", "a title that is much too long for the window it is shown in", "12"]]
HEADERS = ["ID", "what", "steps"]


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """Print to a terminal of some width; what it gets."""
    out = io.StringIO()
    made = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(console, "_console", lambda err=False: made)
    return out


@pytest.mark.parametrize("width", [40, 80])
def test_a_table_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    out = on_terminal(monkeypatch, width)
    console.table(HEADERS, ROWS, right=(2,), wide=(1,))
    row = out.getvalue().splitlines()[1]
    assert len(row) <= width
    assert row.endswith("12")
    assert ("…" in row) is (width == 40)


def test_a_table_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(HEADERS, ROWS, right=(2,), wide=(1,))
    head, row = capsys.readouterr().out.splitlines()
    assert row == "  ".join([*ROWS[0][:2], "   12"])
    assert head.index("what") == row.index("a title")


def test_named_lines_wrap_under_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    out = on_terminal(monkeypatch, 30)
    console.lines([("devices", "default.qubit, lightning.qubit, others")])
    first, second, *_ = out.getvalue().splitlines()
    assert len(first.rstrip()) <= 30
    assert second.startswith(" " * 12)


@pytest.mark.parametrize("text", ["red|BROKEN: gone", "a|b"])
def test_styles_are_marks_and_nothing_else_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    console.lines([("name", text)])
    assert capsys.readouterr().out == f"  name      {text.removeprefix('red|')}\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console.say("green", "green")
    assert "\x1b[32m" not in capsys.readouterr().out


def test_json_has_what_json_has() -> None:
    out = io.StringIO()
    data = {"a": np.array([1.5, math.nan]), "b": (1j, np.int64(3)), "c": math.inf, "d": None, "e": Stop(steps=3)}
    console.print_json(data, out)
    assert json.loads(out.getvalue()) == {
        "a": [1.5, None],
        "b": [[0.0, 1.0], 3],
        "c": None,
        "d": None,
        "e": {"$": "spec", "kind": "request:stop", "version": 1, "steps": 3},
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, [2.5, "x"]], '[1, [2.5, "x"]]'),
        ({"$": "array", "shape": [3, 2], "dtype": "<f8", "base64": ""}, "array of 3×2 (f8)"),
        ({"$": "array", "shape": [2], "dtype": "<f8", "data": [1.0, 2.0]}, "[1.0, 2.0]"),
        ({"$": "complex", "re": 0.5, "im": -1.0}, "(0.5-1j)"),
        ({"$": "float", "value": "inf"}, "inf"),
        ({"$": "function", "name": "valley"}, "valley"),
        (list(range(100)), "[" + ", ".join(map(str, range(100)))[:55] + " ...  (100 entries)"),
    ],
)
def test_values_of_a_spec_in_words(data: object, words: str) -> None:
    assert worded(data) == words


def test_a_spec_is_a_tree() -> None:
    data = {
        "$": "spec",
        "kind": "algorithm:vqe",
        "version": 1,
        "seed": 0,
        "track": {},
        "optimizer": {"$": "spec", "kind": "optimizer:spsa", "version": 1, "alpha": 0.6},
    }
    assert list(described(data, "vqe")) == [
        (0, "algorithm: vqe"),
        (1, "seed = 0"),
        (1, "optimizer: spsa"),
        (2, "alpha = 0.6"),
    ]
