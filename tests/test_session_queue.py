"""The queue: priorities, deadlines, fair shares, and jobs within a device's limits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varq.devices.service import Limits
from varq.session.queue import Queue, Work


def filled(*works: tuple[str, int, int]) -> Queue[str]:
    """A queue of (owner, circuits, priority), each circuit with 100 shots."""
    queue: Queue[str] = Queue()
    for owner, count, priority in works:
        queue.add(Work(owner, [f"{owner}{k}" for k in range(count)], [100] * count, priority))
    return queue


def drained(queue: Queue[Any], limits: Limits) -> list[list[list[Any]]]:
    """All submissions, until nothing is left."""
    out = []
    while found := queue.jobs(limits):
        out.append([[slot.item for slot in job] for job in found])
    return out


def test_without_limits_everything_travels_together() -> None:
    assert drained(filled(("a", 2, 0), ("b", 1, 7)), Limits()) == [[["b0", "a0", "a1"]]]


def test_the_highest_priority_waits_for_none_below() -> None:
    queue = filled(("low", 5, 0), ("high", 3, 1))
    first = queue.jobs(Limits(circuits=2))
    assert [[s.item for s in job] for job in first] == [["high0", "high1"], ["high2", "low0"]]
    assert [s.item for job in queue.jobs(Limits(circuits=2)) for s in job] == ["low1", "low2", "low3", "low4"]


def test_equals_share_by_shots() -> None:
    queue: Queue[str] = Queue()
    queue.add(Work("many", [f"m{k}" for k in range(6)], [10] * 6))
    queue.add(Work("few", [f"f{k}" for k in range(3)], [30] * 3))
    order = [s.item for job in queue.jobs(Limits(circuits=1)) for s in job]
    assert order == ["m0", "f0", "m1", "m2", "m3", "f1", "m4", "m5", "f2"]


def test_who_was_away_has_no_claim_on_the_past() -> None:
    queue = filled(("a", 4, 0), ("b", 1, 0))
    assert len(queue.jobs(Limits())[0]) == 5
    queue.add(Work("a", ["a4"], [100]))
    queue.add(Work("new", ["n0", "n1", "n2", "n3"], [100] * 4))
    order = [s.item for s in queue.jobs(Limits())[0]]
    assert order.index("a4") <= 1


def next_of(queue: Queue[str], count: int) -> list[str]:
    """The next circuits, each in a submission of its own."""
    return [queue.jobs(Limits(circuits=1), most=1)[0][0].item for _ in range(count)]


def test_who_was_held_back_has_no_claim_on_the_past() -> None:
    queue = filled(("a", 6, 0), ("b", 3, 0))
    queue.pause("b")
    assert next_of(queue, 3) == ["a0", "a1", "a2"]
    queue.pause("b", paused=False)
    assert next_of(queue, 4) == ["a3", "b0", "a4", "b1"]


def test_who_is_held_back_gives_nobody_else_a_claim() -> None:
    queue = filled(("a", 6, 0), ("b", 1, 0))
    queue.pause("b")
    assert next_of(queue, 3) == ["a0", "a1", "a2"]
    queue.add(Work("new", ["n0", "n1"], [100] * 2))
    assert next_of(queue, 4) == ["a3", "n0", "a4", "n1"]


def test_the_earliest_deadline_goes_first_within_a_priority() -> None:
    queue: Queue[str] = Queue()
    for owner, deadline, priority in (("none", None, 0), ("late", 9.0, 0), ("soon", 2.0, 0), ("above", None, 1)):
        queue.add(Work(owner, [owner], [1], priority, deadline))
    assert [s.item for s in queue.jobs(Limits())[0]] == ["above", "soon", "late", "none"]


def test_what_is_too_late_comes_out() -> None:
    queue: Queue[str] = Queue()
    queue.add(Work("a", ["a0"], [1], deadline=5.0))
    queue.add(Work("b", ["b0"], [1], deadline=7.0))
    assert [w.owner for w in queue.expired(6.0)] == ["a"]
    assert len(queue) == 1
    assert drained(queue, Limits()) == [[["b0"]]]


def test_cancelled_and_paused_works_do_not_go() -> None:
    queue = filled(("a", 2, 0), ("b", 2, 0), ("c", 1, 0))
    assert [w.owner for w in queue.cancel("a")] == ["a"]
    assert queue.cancel("a") == []
    queue.pause("b")
    assert drained(queue, Limits()) == [[["c0"]]]
    assert len(queue) == 2
    queue.pause("b", paused=False)
    assert drained(queue, Limits()) == [[["b0", "b1"]]]


def test_another_priority_counts_at_once() -> None:
    queue = filled(("a", 1, 0), ("b", 1, 0))
    queue.prioritize("b", 3)
    assert drained(queue, Limits()) == [[["b0", "a0"]]]


def test_a_job_keeps_to_its_shots() -> None:
    queue = filled(("a", 5, 0))
    assert [len(job) for job in queue.jobs(Limits(job_shots=250))] == [2, 2, 1]


works = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(-1, 2), st.sampled_from([10, 25, 40])), max_size=8
)


@given(works, st.integers(1, 7), st.sampled_from([None, 40, 100]))
def test_everything_goes_once_in_order_within_limits(
    given_works: list[tuple[str, int, int, int]], circuits: int, job_shots: int | None
) -> None:
    names = itertools.count()

    def run() -> list[list[list[tuple[str, int, int]]]]:
        queue: Queue[tuple[str, int, int]] = Queue()
        for owner, count, priority, shots in given_works:
            queue.add(Work(owner, [(owner, priority, shots)] * count, [shots] * count, priority))
            next(names)
        return drained(queue, Limits(circuits=circuits, job_shots=job_shots))

    submissions = run()
    jobs = [job for submission in submissions for job in submission]
    assert all(len(job) <= circuits for job in jobs)
    assert all(sum(item[2] for item in job) <= (job_shots or 10**9) for job in jobs)
    sent = [item for job in jobs for item in job]
    wanted = [(owner, priority, shots) for owner, count, priority, shots in given_works for _ in range(count)]
    assert sorted(sent) == sorted(wanted)
    priorities = [item[1] for item in sent]
    assert priorities == sorted(priorities, reverse=True)
    assert run() == submissions, "the same arrivals give the same order"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"priority": 1.5}, "priority must be an integer"),
        ({"deadline": "soon"}, "deadline must be a real number"),
    ],
)
def test_works_are_checked(options: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        Work("a", ["x"], [1], **options)
