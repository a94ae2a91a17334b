"""What a study shows: its table, its live table, its figures and its files."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import varq
from varq.algorithms import VQE
from varq.display.studies import StudyBoard
from varq.plots import study as draw
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.store.store import open_store
from varq.study.export import export
from varq.study.record import known
from varq.study.stored import table_of
from varq.study.study import Study
from varq.study.table import FIXED, Table
from varq.study.watching import Watching

FIELDS, SEEDS = (0.5, 1.0, 1.5), (0, 1)


@pytest.fixture
def study() -> Study:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=1))
    made = varq.sweep(task, {"problem.field": FIELDS, "seed": SEEDS}, name="ising", store="store", progress=False)
    made.finish()
    return made


def test_a_table_is_made_from_the_store_alone(study: Study) -> None:
    here = study.table()
    study.close()
    with open_store("store", read_only=True) as store:
        record = known(store, "ising")
        assert record is not None
        there = table_of(store, record)
    assert there.csv() == here.csv()
    assert list(here) == ["problem.field", "seed", *FIXED]
    assert here["deviation"] == pytest.approx(here["value"] - here["reference"])
    assert here["state"] == ["done"] * 6
    assert here["seed"].dtype == np.int64


def test_a_table_shows_itself_cut_to_what_a_person_reads() -> None:
    table = Table({"seed": list(range(30)), "value": [None, *range(29)]}, "Ha", "many")
    assert len(repr(table).splitlines()) == 22
    assert "and 10 rows more" in repr(table)
    assert table._repr_html_().count("<tr>") == 21
    assert table.rows[0] == {"seed": 0, "value": None}
    assert np.isnan(table["value"][0])


def test_what_is_said_of_the_whole_study_is_shown_in_a_log_and_in_a_live_table() -> None:
    out = io.StringIO()
    with StudyBoard("curve", ("bond",), 1, file=out) as board:
        board.say("Dask at tcp://ada:1, whose dashboard is at http://ada:8787/status")
        shown = board._table(4)
    assert out.getvalue().splitlines()[0] == "curve  Dask at tcp://ada:1, whose dashboard is at http://ada:8787/status"
    assert [str(part) for part in shown.renderables[1:2]] == [  # type: ignore[attr-defined]
        "Dask at tcp://ada:1, whose dashboard is at http://ada:8787/status"
    ]


def test_a_curve_has_a_line_for_each_value_of_the_others(study: Study) -> None:
    axes = study.plot(x="problem.field")
    assert [line.get_label() for line in axes.lines] == ["seed=0", "seed=1"]
    table = study.table()
    for seed, line in zip(SEEDS, axes.lines, strict=True):
        chosen = table["seed"] == seed
        assert np.array_equal(line.get_xdata(), table["problem.field"][chosen])
        assert np.array_equal(line.get_ydata(), table["value"][chosen])


def test_many_cells_are_points_and_a_line_through_the_lowest() -> None:
    columns = {"bond": [1.0, 2.0] * 10, "seed": np.repeat(range(10), 2).tolist(), "value": list(range(20, 0, -1))}
    axes = draw(columns, "bond", fields=("bond", "seed"))
    assert axes.lines[-1].get_ydata().tolist() == [2, 1]
    assert len(axes.lines[0].get_xdata()) == 20


def test_two_swept_fields_are_a_heat_map(study: Study) -> None:
    axes = study.plot(x="problem.field", y="seed", color="deviation")
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape == (2, 3)
    assert shown.T.ravel() == pytest.approx(study.table()["deviation"])
    with pytest.raises(ValueError, match="the column of an axis must be one of"):
        study.plot(x="field")
    with pytest.raises(ValueError, match="An axis needs a column of numbers"):
        study.plot(x="problem.field", y="state")


def ended(index: int, state: str, message: str = "", **more: Any) -> SimpleNamespace:
    return SimpleNamespace(index=index, state=state, message=message, **more)


def test_a_board_shows_what_is_under_way_and_what_ended() -> None:
    out = io.StringIO()
    with StudyBoard("curve", ("bond",), 4, file=out) as board:
        board.begin(1, 0)
        board.tell([(1, (1.6,)), (2, (1.8,)), (3, (2.0,))], None)
        board.step(2, 7, -1.125)
        assert [line[:4] for line in board._lines(8)] == [
            ["1.6", "", "", "under way"],
            ["1.8", "7", "-1.12500000", "under way"],
            ["2", "", "", "under way"],
        ]
        board.tell([(1, (1.6,))], [ended(1, "failed", "ValueError: no")])
        board.tell([(2, (1.8,))], [ended(2, "done", steps=9, value=-1.25)], "ada, pid 7")
        assert board._lines(8) == [
            ["1.6", "", "", "failed  ValueError: no", ""],
            ["1.8", "9", "-1.25000000", "done", "ada, pid 7"],
            ["2", "", "", "under way", ""],
        ]
        assert board._heads(board._lines(8)) == ["bond", "step", "value", "state", "where"]
        assert board._foot().startswith("curve  2 of 4 cells done  1 failed  1 under way")
    assert out.getvalue().startswith("curve  2 of 4 cells done  1 failed")


def test_a_cell_that_ends_before_its_batch_is_told_at_once_and_counted_once() -> None:
    with StudyBoard("curve", ("bond",), 2, file=io.StringIO()) as board:
        board.tell([(0, (1.6,)), (1, (1.8,))], None)
        board.step(0, 4, -1.0, "done")
        assert board._foot().startswith("curve  1 of 2 cells done  1 under way")
        assert [line[3] for line in board._lines(8)] == ["done", "under way"]
        assert board.shown() == [1]
        board.tell([(0, (1.6,)), (1, (1.8,))], [ended(0, "failed", "late"), ended(1, "done")])
        assert board._foot().startswith("curve  1 of 2 cells done  1 failed")
        assert [line[3] for line in board._lines(8)] == ["failed  late", "done"]


class Seen(StudyBoard):
    """A board that keeps what it is told."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, file=io.StringIO())
        self.steps: list[tuple[int, int, Any, str]] = []
        self.foot = ""

    def __exit__(self, *exception: Any) -> None:
        self.foot = self._foot()
        super().__exit__(*exception)

    def step(self, cell: int, step: int, value: Any, state: str = "") -> None:
        self.steps.append((cell, step, value, state))
        super().step(cell, step, value, state)


def test_a_study_tells_its_board_of_steps_of_equal_cells_and_of_cells_that_are_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boards: list[Seen] = []

    def made(*given: Any) -> Seen:
        boards.append(Seen(*given))
        return boards[-1]

    monkeypatch.setattr("varq.display.studies.StudyBoard", made)
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=2))
    broken = VQE(problem=TransverseFieldIsing(2), device="default.mixed", precision="single")
    with varq.sweep([task, task, broken], name="seen", store="store") as study:
        study.finish()
        study.finish(failed=True)
        values = study.table()["value"]
    first, again = boards
    assert [step[:2] for step in first.steps if not step[3]] == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert first.steps[-1][2] == values[1]
    assert first.foot.startswith("seen  2 of 3 cells done  1 failed")
    assert again.foot.startswith("seen  2 of 3 cells done  1 failed"), "counted once"


def test_steps_of_other_processes_are_read_from_the_store() -> None:
    task = VQE(problem=TransverseFieldIsing(2), ansatz="hardware-efficient", device="default.qubit", stop=Stop(steps=9))
    with varq.sweep(task, {"seed": range(2)}, name="afar", store="store", progress=False) as study:
        varq.start(study.layout.task(1), store="store", progress=False).step(3)
        board = Seen("afar", ("seed",), 2)
        watching = Watching(board, study.record, study.store)
        watching.tell([0, 1], None)
        watching.look()
        assert [line[:2] + line[3:] for line in board._lines(8)] == [
            ["0", "", "under way", ""],
            ["1", "3", "under way", ""],
        ]


def test_a_board_that_fails_costs_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("closed")

    with StudyBoard("curve", ("bond",), 1, file=Closed()) as board:
        board.tell([(0, (1,))], [SimpleNamespace(index=0, state="done", message="")])
    assert board._quiet


def test_a_board_in_a_notebook_updates_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda **given: seen.append(given)))
    monkeypatch.setattr("varq.display.studies.notebook", lambda: shell)
    with StudyBoard("curve", ("bond",), 1) as board:
        board.tell([(0, (1.6,))], None)
    assert seen[0]["update"] is False
    assert len({given["transient"]["display_id"] for given in seen}) == 1
    assert "<td" in seen[-1]["data"]["text/html"] or "0 of 1 cell done" in seen[-1]["data"]["text/plain"]


def test_a_study_is_exported(study: Study) -> None:
    path = study.export("table.csv")
    assert path.read_text(encoding="utf-8") == study.table().csv()
    with pytest.raises(ValueError, match="suffix of path must be one of"):
        study.export("table.xls")


@pytest.mark.export
def test_parquet_and_xarray_hold_the_same_table(study: Study) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    xarray = pytest.importorskip("xarray")
    table = study.table()
    found = parquet.read_table(study.export("table.parquet"))
    assert found.column_names == list(table)
    assert found["value"].to_pylist() == table["value"].tolist()
    assert found.schema.metadata[b"study"] == b"ising"
    with xarray.open_dataset(export(table, study.record, Path("table.nc")), engine="scipy") as dataset:
        assert dict(dataset.sizes) == {"problem.field": 3, "seed": 2}
        assert np.array_equal(dataset["value"].values.ravel(), table["value"])
        assert float(dataset["value"].sel({"problem.field": 1.0, "seed": 1})) == table["value"][3]
