"""How circuits are shared out over devices: nothing lost, nothing twice, balanced, and the same each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_service import circuit

from varq.devices.service import Circuit
from varq.estimation.weighing import LEAST_PART
from varq.session.sharing import UNEVEN, shared_out, whole

pytestmark = pytest.mark.flagless

EQUAL = (0.5, 0.5)


def settings(name: str, shots: int, angle: float = 0.1) -> Circuit:
    """A circuit of a measurement group."""
    return replace(circuit(angle, shots), structure=name)


def shots_of(shared: list[dict[int, Circuit]], devices: int) -> list[int]:
    return [sum(some[d].shots for some in shared if d in some) for d in range(devices)]


requests = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 3000), st.integers(0, 3)), min_size=1, max_size=30
)


@given(requests, st.lists(st.integers(1, 5), min_size=2, max_size=4), st.sampled_from(["auto", "circuits", "shots"]))
def test_every_shot_has_one_place(request: list[tuple[str, int, int]], weights: list[int], by: str) -> None:
    circuits = [settings(name, shots, angle) for name, shots, angle in request]
    parts = [w / sum(weights) for w in weights]
    shared = shared_out(circuits, parts, by)
    for one, some in zip(circuits, shared, strict=True):
        assert sum(part.shots for part in some.values()) == one.shots
        assert {part.tape.shots.total_shots for part in some.values()} == {part.shots for part in some.values()}
        if len(some) > 1:
            assert sorted(some) == list(range(len(parts)))
            assert min(part.shots for part in some.values()) >= LEAST_PART - 1  # by the rounding of a shot
            assert len({part.seed for part in some.values()}) == len(parts), "each draws from a seed of its own"
        else:
            (part,) = some.values()
            assert part is one
    again = shared_out(circuits, parts, by)
    assert [{d: c.digest for d, c in some.items()} for some in shared] == [
        {d: c.digest for d, c in some.items()} for some in again
    ]


def test_as_many_settings_as_devices_run_whole() -> None:
    circuits = [settings(name, 1000, angle) for angle in (0.1, 0.2) for name in "abcd"]
    shared = shared_out(circuits, EQUAL)
    assert [list(some) for some in shared] == [[0], [1], [0], [1]] * 2
    assert shots_of(shared, 2) == [4000, 4000]


def test_what_is_subtracted_stays_on_one_device() -> None:
    """The shifts of a gradient: with each pair on two machines, a slope would be seen where there is none."""
    circuits = [settings(name, 100, angle) for name in "abc" for angle in range(6)]
    for by in ("auto", "shots"):
        places: dict[str, set[tuple[int, ...]]] = {}
        for one, some in zip(circuits, shared_out(circuits, (0.4, 0.3, 0.3), by), strict=True):
            places.setdefault(one.structure, set()).add(tuple(some))
        assert all(len(found) == 1 for found in places.values())


def test_one_circuit_of_many_shots_is_split() -> None:
    (some,) = shared_out([settings("a", 1001)], EQUAL)
    assert {d: part.shots for d, part in some.items()} == {0: 501, 1: 500}
    (uneven,) = shared_out([settings("a", 1000)], (0.75, 0.25))
    assert {d: part.shots for d, part in uneven.items()} == {0: 750, 1: 250}
    (small,) = shared_out([settings("a", 2 * LEAST_PART - 1)], EQUAL)
    assert list(small) == [0], "a part of fewer shots would tell nothing of its spread"


def test_settings_of_unlike_shots_are_split() -> None:
    circuits = [settings("a", 8000), settings("b", 1000), settings("c", 1000)]
    assert shots_of(shared_out(circuits, EQUAL), 2) == [5000, 5000]
    even = [settings("a", 1000), settings("b", 900)]
    assert [list(some) for some in shared_out(even, EQUAL)] == [[0], [1]]


def test_by_circuits_alone_each_is_whole() -> None:
    circuits = [settings("a", 1000, angle) for angle in range(5)]
    shared = shared_out(circuits, EQUAL, "circuits")
    assert shots_of(shared, 2) == [3000, 2000]
    twins = [settings("a", 1000, 0.1)] * 2
    assert [list(some) for some in shared_out(twins, EQUAL, "circuits")] == [[0], [0]], "equal circuits are sent once"


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(2, 4))
def test_whole_circuits_are_balanced_as_well_as_lists_are(shots: list[int], devices: int) -> None:
    circuits = [settings(str(k), n) for k, n in enumerate(shots)]
    places = whole(circuits, [1 / devices] * devices, lambda one: one.structure)
    loads = Counter[int]()
    for place, n in zip(places, shots, strict=True):
        loads[place] += n
    assert max(loads.values()) <= sum(shots) / devices + max(shots) * (1 - 1 / devices) + 1e-9


@given(requests)
def test_no_device_waits_long_for_another(request: list[tuple[str, int, int]]) -> None:
    circuits = [settings(name, 1000 + shots, angle) for name, shots, angle in request]
    loads = shots_of(shared_out(circuits, EQUAL), 2)
    assert max(loads) <= UNEVEN * 0.5 * sum(loads) + len(circuits)
    assert np.sum(loads) == sum(one.shots for one in circuits)
