"""The page on scaling says what its formulas give, and these what one works out by hand."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from typing import Any

import house
import pytest

pytestmark = pytest.mark.flagless


@pytest.fixture(scope="module")
def scaling() -> Any:
    where = house.ROOT / "benchmarks" / "scaling.py"
    found = importlib.util.spec_from_file_location("scaling", where)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["scaling"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    yield module
    del sys.modules["scaling"]


def test_the_page_is_what_the_formulas_give(scaling: Any) -> None:
    shown = (house.ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert shown == scaling.page(), "run: python benchmarks/scaling.py --write"


def test_the_readme_leads_there() -> None:
    assert "(docs/scaling.md)" in (house.ROOT / "README.md").read_text(encoding="utf-8")


def test_a_study_by_hand(scaling: Any) -> None:
    known = scaling.Constants(
        cell=0.01,
        task=0.002,
        load=4.0,
        compile_new=2.0,
        compile_known=1.0,
        merge=0.0001,
        row=0.001,
        file=0.0,
        gate=1e-9,
    )
    study = scaling.Study(cells=1000, work=0.98, steps=10, nodes=5, cores=2)
    times = scaling.predicted(study, known)
    # 100 cells on each of 10 workers, a second each; 1000 tasks of 2 ms; 11,000 records.
    assert times.compute == pytest.approx(100.0)
    assert times.schedule == pytest.approx(2.0)
    assert times.merge == pytest.approx(1.1)
    assert times.total == pytest.approx(4 + 2 + 100 + 1.1)
    assert scaling.alone(study, known) == pytest.approx(6 + 1000.0)
    one_more = scaling.Study(cells=1001, work=0.98, steps=10, nodes=5, cores=2)
    assert scaling.predicted(one_more, known).compute == pytest.approx(101.0), "one worker has a cell more"
    # Each of the 100 tasks of a worker looks into 10 files; 4 tasks leave 4 files.
    looking = dataclasses.replace(known, file=0.01)
    assert scaling.predicted(study, looking).compute == pytest.approx(100.0 + 100 * 10 * 0.01)
    few = scaling.Study(cells=4, work=0.98, steps=10, nodes=5, cores=2)
    assert scaling.predicted(few, looking).compute == pytest.approx(1.0 + 4 * 0.01)


def test_the_scheduler_alone_bounds_short_cells(scaling: Any) -> None:
    for nodes in (100, 1000, 10_000):
        study = scaling.Study(cells=10_000, work=0.0, nodes=nodes)
        assert scaling.predicted(study).total > 10_000 * scaling.MEASURED.task
    batches = [scaling.predicted(scaling.Study(10_000, 0.0, batch=b)).schedule for b in (1, 10, 100)]
    assert batches == pytest.approx([batches[0], batches[0] / 10, batches[0] / 100])


def test_exchanges_by_hand(scaling: Any) -> None:
    """A shard of 2^30 amplitudes in single precision: 8 GiB, 68.7 Gbit."""
    fast, slow = scaling.LINKS
    bits = 8 * 8 * 2**30
    assert fast.seconds(8 * 2**30) == pytest.approx(bits / 100e9, rel=1e-3)
    assert slow.seconds(8 * 2**30) == pytest.approx(bits / 1e9, rel=1e-3)
    assert round(bits / 1e9) == 69


def test_a_state_by_hand(scaling: Any) -> None:
    state = scaling.State(qubits=36, nodes=1024, layers=1, width=8)
    assert (state.globals, state.amplitudes, state.shard) == (10, 2**26, 2**29)
    assert state.memory * 1024 == 2 * 2**36 * 8
    link = scaling.Link("a link", bits=8e9, latency=0.001)
    known = scaling.Constants(0, 0, 0, 0, 0, 0, 0, 0, gate=1e-9)
    local, exchange = scaling.state_seconds(state, link, known)
    assert local == pytest.approx(37 * 2**26 * 0.5e-9)
    assert exchange == pytest.approx(10 * (0.001 + 2**29 / 1e9))
    double = scaling.State(qubits=36, nodes=1024, layers=1, width=16)
    assert scaling.state_seconds(double, link, known)[0] == pytest.approx(2 * local)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0"), (3e-6, "3 µs"), (0.0425, "42.5 ms"), (90.0, "90 s"), (600.0, "10 min"), (7.2e4, "20 h")],
)
def test_times_in_words(scaling: Any, seconds: float, text: str) -> None:
    assert scaling.said(seconds) == text


def test_every_source_is_there(scaling: Any) -> None:
    found = set(re.findall(r"arXiv:(\d{4}\.\d{5})\]\(https://arxiv\.org/abs/\1\)", scaling.page()))
    assert found == {"2508.13615", "2203.16044", "2402.11878", "2511.00224"}


def test_options_are_checked(scaling: Any) -> None:
    with pytest.raises(SystemExit, match="Unknown options"):
        scaling.main(["--wirte"])
