"""Prices: sums by hand, the table, and a person's own rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from varq.devices.prices import FREE, PRICES, Price, load_prices, price

pytestmark = pytest.mark.flagless

ROUNDING = 1e-12  # of sums of a few products


def row(**fields: Any) -> Price:
    return Price(**{"dated": "2026-05", "source": "a test"} | fields)


@pytest.mark.parametrize(
    ("fields", "work", "by_hand"),
    [
        ({}, {"jobs": 9, "circuits": 9, "shots": 9, "seconds": 9.0}, 0.0),
        ({"per_job": 0.3}, {"jobs": 4}, 1.2),
        ({"per_circuit": 0.01}, {"circuits": 34}, 0.34),
        ({"per_shot": 0.00145}, {"shots": 34_000}, 49.3),
        ({"per_second": 1.6}, {"seconds": 2.5}, 4.0),
        ({"per_job": 0.3, "per_shot": 0.001}, {"jobs": 2, "circuits": 34, "shots": 3400}, 4.0),
        ({"per_second": 0.5, "least_seconds": 3.0}, {"circuits": 4, "seconds": 1.0}, 6.0),
        ({"per_second": 0.5, "least_seconds": 3.0}, {"circuits": 4, "seconds": 20.0}, 10.0),
        (
            {"per_job": 1, "per_circuit": 2, "per_shot": 3, "per_second": 4},
            {"jobs": 5, "circuits": 6, "shots": 7, "seconds": 8},
            70.0,
        ),
    ],
)
def test_costs_are_the_sums_by_hand(fields: dict[str, float], work: dict[str, Any], by_hand: float) -> None:
    assert row(**fields).cost(**work) == pytest.approx(by_hand, abs=ROUNDING)


def test_nothing_costs_nothing() -> None:
    assert row(per_job=1, per_circuit=1, per_shot=1, per_second=1, least_seconds=3).cost() == 0.0


@pytest.mark.parametrize(
    ("work", "error", "match"),
    [
        ({"jobs": -1}, ValueError, "jobs must be at least 0"),
        ({"circuits": 1.5}, TypeError, "circuits must be an integer"),
        ({"shots": -5}, ValueError, "shots must be at least 0"),
        ({"seconds": float("nan")}, ValueError, "seconds must be finite"),
        ({"seconds": -0.1}, ValueError, "seconds must be at least 0"),
    ],
)
def test_bad_work_is_refused(work: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        row().cost(**work)


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"per_job": -0.3}, ValueError, "per_job must be at least 0"),
        ({"per_shot": "0.1"}, TypeError, "per_shot must be a real number"),
        ({"per_second": float("inf")}, ValueError, "per_second must be finite"),
        ({"least_seconds": -1}, ValueError, "least_seconds must be at least 0"),
        ({"currency": "dollars"}, ValueError, "three capital letters"),
        ({"dated": "May 2026"}, ValueError, "YYYY-MM-DD"),
        ({"dated": "2026-13"}, ValueError, "YYYY-MM-DD"),
        ({"dated": ""}, ValueError, "dated must not be an empty string.*when and where"),
        ({"source": ""}, ValueError, "source must not be an empty string.*when and where"),
    ],
)
def test_bad_prices_are_refused(fields: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        row(**fields)


@pytest.mark.parametrize("name", sorted(PRICES))
def test_each_row_says_when_and_where(name: str) -> None:
    assert re.fullmatch(r"20\d\d(-\d\d){0,2}", PRICES[name].dated)
    assert PRICES[name].free or "check before you rely on it" in PRICES[name].source


@pytest.mark.parametrize(
    "name",
    ["varq.qubit", "default.mixed", "lightning.qubit", "braket.local", "braket.emulator", "ibm.fake_torino"],
)
def test_simulators_here_cost_nothing(name: str) -> None:
    assert price(name) is FREE
    assert FREE.cost(jobs=10, circuits=10, shots=10**6, seconds=1e4) == 0.0


def test_an_arn_and_its_short_name_cost_the_same() -> None:
    by_arn = price("braket.arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet")
    assert by_arn is not None
    assert by_arn is price("braket.eu-north-1/Garnet")
    assert by_arn is price("braket.eu-north-1/iqm/garnet")
    assert not by_arn.free


@pytest.mark.parametrize("name", ["braket.us-east-1/NoSuchDevice", "acme.qpu", "braket.local2"])
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    assert price(name) is None


def test_a_real_ibm_machine_is_charged_by_the_second() -> None:
    real = price("ibm.torino")
    assert real is not None
    assert real.per_second > 0
    assert (real.per_job, real.per_circuit, real.per_shot) == (0, 0, 0)


def test_a_managed_simulator_is_charged_for_three_seconds_at_least() -> None:
    managed = price("braket.us-east-1/sv1")
    assert managed is not None
    minute = managed.cost(circuits=1, seconds=60)
    assert managed.cost(circuits=20, seconds=1) == pytest.approx(minute, abs=ROUNDING)


def test_own_prices_come_first(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '["braket.*/garnet"]\nper_job = 1\nper_shot = 0.5\ncurrency = "EUR"\ndated = 2026-05-01\nsource = "ours"\n'
        '["acme.qpu"]\nper_second = 2.0\ndated = "2026"\nsource = "their letter"\n',
        encoding="utf-8",
    )
    own = load_prices(file)
    mine = price("braket.eu-north-1/Garnet", own)
    assert mine is own["braket.*/garnet"]
    assert (mine.currency, mine.dated) == ("EUR", "2026-05-01")
    assert mine.cost(jobs=1, shots=10) == 6.0
    assert price("acme.qpu", own) == Price(per_second=2.0, dated="2026", source="their letter")
    assert price("varq.qubit", own) is FREE
    assert load_prices(str(file)) == own


def test_a_mapping_serves_as_a_file() -> None:
    ready = row(per_job=2)
    own = load_prices({"a": {"per_job": 2, "dated": "2026-05", "source": "a test"}, "b": ready})
    assert own["a"] == own["b"] == ready
    with pytest.raises(TypeError, match="does not support item assignment"):
        own["a"] = ready  # type: ignore[index]


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        ({"a": 3}, TypeError, r"the price of 'a' must be of type Mapping.*\[\"device name\"\]"),
        ({"a": {"per_jobs": 3}}, ValueError, "a field of the price of 'a' must be one of.*Did you mean 'per_job'"),
        ({"a": {"per_job": -1, "dated": "2026", "source": "x"}}, ValueError, "The price of 'a': per_job must be at"),
        (
            {"a": {"per_job": "1", "dated": "2026", "source": "x"}},
            TypeError,
            "The price of 'a': per_job must be a real",
        ),
        ({"a": {"per_job": 1}}, ValueError, "The price of 'a': dated must not be an empty string"),
        ({"": {}}, ValueError, "a device name must not be an empty string"),
        (7, TypeError, "source must be of type str or Path"),
    ],
)
def test_bad_tables_are_refused(table: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        load_prices(table)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("per_job: 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"prices\.toml must be a TOML file of prices"):
        load_prices(file)
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        load_prices(tmp_path / "none.toml")


def test_a_name_must_be_text() -> None:
    with pytest.raises(TypeError, match="name must be of type str"):
        price(3)  # type: ignore[arg-type]
