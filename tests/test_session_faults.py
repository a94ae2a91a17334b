"""Sessions on a vendor's service where calls fail, and clients and service are killed for real: nothing shows."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from harness import told

ALL = ("503", "timeout", "lost", "duplicate", "expired", "slow", "failed")

# A budget that ends the run: the last shots must come out the same, whatever was lost and sent anew before.
TIGHT = {"runs": 1, "rate": 0.3, "budget": {"shots": 1300, "reserve": 0.3}, "limits": {"circuits": 2}}
# Two runs in one session, with circuits of more shots than a job takes, on a service whose jobs may fail.
SHARED = {"runs": 2, "rate": 0.3, "budget": {"shots": 40_000}, "limits": {"circuits": 4, "shots": 70}, "kinds": ALL}


def storms(*options: dict[str, Any]) -> list[dict[str, Any]]:
    return told("-m", "varq.testing.storms", *map(json.dumps, options))


def check(found: list[dict[str, Any]], kills: int, cloud_kills: int) -> None:
    total: Counter[str] = Counter()
    for storm in found:
        assert storm["other_results"] == 0, storm
        assert storm["results_lost"] == 0, storm
        assert storm["paid_twice"] == 0, storm
        assert storm["over_budget"] == 0, storm
        assert storm["shots_over"] == 0, storm
        assert set(storm["states"]) <= {"done", "unsent", "failed"}, storm
        assert set(storm["ends"]) <= {"budget", "steps"}, storm
        total.update({name: count for name, count in storm.items() if isinstance(count, int)})
    print(dict(total))
    assert total["kills"] >= kills
    assert total["cloud_kills"] >= cloud_kills
    assert total["faults"] >= 0.2 * total["calls"], "30 % of calls are drawn to fail"


def test_runs_in_a_storm_end_as_undisturbed_ones() -> None:
    tight = {**TIGHT, "seed": 1, "kills": 3, "cloud_kills": 1}
    check(storms(tight, {**SHARED, "seed": 5, "kills": 2, "timed": 1, "cloud_kills": 1}), 6, 2)


# A cloud that lists a job some time after it was received, as vendors do, and whose answers are lost.
LATE = {"runs": 1, "rate": 0.15, "lag": 0.4, "kinds": ["lost"], "seed": 7}


def test_a_storm_over_a_cloud_that_lists_jobs_late() -> None:
    early, settled = storms({**LATE, "settled": 0}, {**LATE, "kills": 3})
    assert early["paid_twice"] > 0, "who asks too early hears that there is no job: the storm can see it"
    assert early["other_results"] == 0
    assert settled["kills"] == 3
    assert settled["faults"] > 0
    for quantity in ("other_results", "results_lost", "paid_twice", "shots_over"):
        assert settled[quantity] == 0, settled
    assert set(settled["states"]) <= {"done", "unsent"}


# One run on two clouds, each of which stays away for longer than it is waited for, now and then.
SPREAD = {"runs": 1, "rate": 0.3, "clouds": 2}


def check_spread(found: list[dict[str, Any]], kills: int, cloud_kills: int) -> None:
    """No result differs, whoever measured what; what was paid for and is not in the store is known to be sent."""
    total: Counter[str] = Counter()
    for storm in found:
        assert storm["other_results"] == 0, storm
        assert storm["paid_twice"] == 0, storm
        assert set(storm["states"]) <= {"done", "unsent", "failed", "sent"}, storm
        assert storm["results_lost"] <= storm["states"].get("sent", 0) + storm["states"].get("failed", 0), storm
        assert set(storm["ends"]) <= {"steps"}, storm
        total.update({name: count for name, count in storm.items() if isinstance(count, int)})
    print(dict(total))
    assert total["kills"] >= kills
    assert total["cloud_kills"] >= cloud_kills


def test_a_run_on_two_clouds_in_a_storm_ends_as_undisturbed() -> None:
    check_spread(storms({**SPREAD, "seed": 3, "kills": 4, "cloud_kills": 2}), 4, 2)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_hundred_kills_of_clients_of_two_clouds() -> None:
    shots = {"limits": {"circuits": 1, "shots": 30}}
    options = {**SPREAD, "seed": 300, "kills": 25, "timed": 25, "cloud_kills": 12}
    check_spread(storms(options, {**options, **shots, "seed": 400}), 100, 24)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_two_hundred_kills_of_clients_and_fifty_of_the_service() -> None:
    tight = {**TIGHT, "seed": 100, "kills": 50, "timed": 50, "cloud_kills": 25}
    check(storms(tight, {**SHARED, "seed": 200, "kills": 50, "timed": 50, "cloud_kills": 25}), 200, 50)
