"""Limits on seconds where nobody knows a device's pace: one circuit goes first, and the rest is reckoned by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import task
from session_service import SESSION, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import PermanentError, TransientError
from varq.devices.prices import Price, price
from varq.devices.service import Limits
from varq.session.budget import Budget, BudgetError
from varq.session.dispatch import Dispatcher, Ticket
from varq.session.session import Session

pytestmark = pytest.mark.flagless

EXACT = 1e-9
MANAGED = price("braket.us-east-1/sv1")
TOKEN = Price(per_second=2.0, dated="2026", source="a test")  # says nothing of how long jobs take


class Slow(Scripted):
    """A device that takes seconds for each shot, and perhaps some more for its first job."""

    def __init__(self, *args: Any, shot: float = 0.5, start: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shot, self.start = shot, start

    def took(self) -> list[float]:
        """The seconds of each job."""
        sizes = [sum(c.shots for c in circuits) for _, circuits in self.jobs.values()]
        return [self.shot * size + (self.start if k == 0 else 0.0) for k, size in enumerate(sizes)]

    def result(self, job: str) -> Any:
        return replace(super().result(job), seconds=self.took()[list(self.jobs).index(job)])


class Silent(Scripted):
    """A device that never tells how long it was busy."""

    def result(self, job: str) -> Any:
        return replace(super().result(job), seconds=None)


def asked(sender: Dispatcher, owner: str, circuits: Any, **options: Any) -> Ticket:
    ticket = sender.add((owner, 0, "step"), circuits, **options)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def row(first: int, count: int, shots: int = 10) -> list[Any]:
    return [circuit(first + k, shots=shots) for k in range(count)]


def drained(sender: Dispatcher) -> None:
    while sender.turn():
        pass


def sizes(service: Scripted) -> list[int]:
    return [len(circuits) for _, circuits in service.jobs.values()]


@pytest.mark.parametrize("limits", [Limits(), Limits(circuits=4), Limits(job_shots=30)])
def test_one_circuit_alone_tells_how_long_the_others_take(limits: Limits) -> None:
    service = Slow(limits)
    store = store_of()
    sender = dispatcher(service, store, Budget(seconds=1000, reserve=0))
    mine = row(0, 34)
    ticket = asked(sender, "a", mine)
    sender.turn()
    assert sizes(service) == [1], "nothing else goes before it is back"
    assert states(store) == ["done"]
    drained(sender)
    room = limits.circuits or (limits.job_shots or 10_000) // 10
    assert sizes(service)[1:] == [min(room, 33 - at) for at in range(0, 33, room)]
    for bits, one in zip(ticket.outcome(), mine, strict=True):
        np.testing.assert_array_equal(bits, bits_of(one))


@pytest.mark.parametrize(
    ("budget", "fee"),
    [(Budget(shots=10**6), None), (Budget(seconds=1e6), replace(TOKEN, shot_seconds=0.5)), (Budget(cost=1e6), MANAGED)],
    ids=["no limit on seconds", "a price that tells the pace", "money by the second"],
)
def test_a_first_circuit_goes_alone_only_where_its_seconds_count(budget: Budget, fee: Price | None) -> None:
    service = Slow()
    sender = dispatcher(service, store_of(), budget, price=fee)
    asked(sender, "a", row(0, 5))
    drained(sender)
    assert sizes(service) == ([1, 4] if fee is MANAGED else [5])


works = st.lists(
    st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(-1, 1), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(works, st.integers(0, 60), st.integers(1, 4), st.integers(0, 3))
def test_no_more_than_the_first_circuit_goes_beyond_the_budget(wanted: Any, most: int, room: int, every: int) -> None:
    """The device is as slow throughout as at first: what goes after the first job fits, and all of it is counted."""
    service = Slow(Limits(circuits=room))
    store = store_of()
    sender = dispatcher(service, store, Budget(seconds=most, reserve=0.25))
    for k, (shots, priority, last) in enumerate(wanted):
        some = [circuit(10 * k + j, shots=n) for j, n in enumerate(shots)]
        sender.add((f"run {k}", 0, "step"), some, priority=priority, last=last)
        if every and k % every == 0:
            sender.turn()
    drained(sender)
    took = service.took()
    assert sum(took) <= max(most, *took[:1], 0) + EXACT
    assert sizes(service)[:1] in ([], [1])
    assert store.jobs.spent(SESSION).seconds == pytest.approx(sum(took), abs=EXACT)
    assert sender._account.held.seconds == pytest.approx(0, abs=EXACT)
    store.close()


@pytest.mark.parametrize("fee", [MANAGED, TOKEN], ids=["as SV1", "without a least time"])
@pytest.mark.parametrize("room", [3.5, 6.0, 12.0])
def test_money_charged_by_the_second_is_kept_in_the_same_way(fee: Price, room: float) -> None:
    service = Slow(shot=1.0)  # a circuit takes 10 s
    store = store_of()
    one = fee.per_second * 10.0
    sender = dispatcher(service, store, Budget(cost=room * one, reserve=0), price=fee)
    ticket = asked(sender, "a", row(0, 11))
    drained(sender)
    assert store.jobs.spent(SESSION).cost == pytest.approx(sum(service.took()) * fee.per_second, abs=EXACT)
    assert store.jobs.spent(SESSION).cost <= room * one + EXACT
    assert (ticket.error is None) is (room > 11)
    if ticket.error is not None:
        with pytest.raises(BudgetError, match="cost is used up"):
            ticket.outcome()


def test_one_circuit_that_takes_longer_than_the_budget_is_the_only_one() -> None:
    service = Slow(shot=100.0)
    sender = dispatcher(service, store_of(), Budget(seconds=10, reserve=0))
    tickets = [asked(sender, name, row(k, 3)) for k, name in enumerate("ab")]
    drained(sender)
    assert sizes(service) == [1]
    for ticket in tickets:
        with pytest.raises(BudgetError, match="the budget of 10 seconds is used up: 1000 used"):
            ticket.outcome()
    refused = sender.add(("c", 0, "step"), row(9, 1))
    assert refused == "the budget of 10 seconds is used up: 1000 used, 1000 wanted"


def test_a_slow_start_is_corrected_by_a_second_job_that_surely_fits() -> None:
    """By the first job, of 65 s, 34 circuits would take 2,210 s; without the start they take 5 s each."""
    service = Slow(start=60.0)
    sender = dispatcher(service, store_of(), Budget(seconds=500, reserve=0))
    ticket = asked(sender, "a", row(0, 34))
    drained(sender)
    assert sizes(service) == [1, 3, 30], "6.7 circuits of 65 s would fit into the 435 s that are left"
    assert ticket.error is None
    assert sum(service.took()) == pytest.approx(60 + 34 * 5)


def test_what_does_not_fit_then_ends_and_what_does_goes_on() -> None:
    service = Slow()  # 5 s a circuit
    sender = dispatcher(service, store_of(), Budget(seconds=60, reserve=0))
    large = asked(sender, "large", row(0, 20))
    small = asked(sender, "small", row(50, 3))
    drained(sender)
    with pytest.raises(BudgetError, match="the budget of 60 seconds is used up"):
        large.outcome()
    assert len(small.outcome()) == 3
    assert sum(service.took()) <= 60


def test_the_reserve_is_kept_for_last_estimates() -> None:
    service = Slow()
    sender = dispatcher(service, store_of(), Budget(seconds=100, reserve=0.5))
    step = asked(sender, "a", row(0, 16))  # 80 s
    final = asked(sender, "b", row(50, 10), last=True)
    drained(sender)
    with pytest.raises(BudgetError, match="50 kept for last estimates"):
        step.outcome()
    assert len(final.outcome()) == 10


def test_priorities_and_shares_are_kept() -> None:
    def sent(budget: Budget) -> tuple[list[str], list[Any]]:
        service = Slow()
        sender = dispatcher(service, store_of(), budget)
        tickets = [
            asked(sender, name, row(100 * k, 3), priority=level)
            for k, (name, level) in enumerate((("low", 0), ("high", 5), ("also high", 5)))
        ]
        drained(sender)
        return [c.digest for c in service.circuits], [ticket.outcome() for ticket in tickets]

    with_trial, bits = sent(Budget(seconds=10_000))
    without, others = sent(Budget())
    assert with_trial == without, "the order of circuits is the same, however they travel"
    assert with_trial[0] == circuit(100).digest
    for mine, theirs in zip(bits, others, strict=True):
        np.testing.assert_array_equal(np.array(mine), np.array(theirs))


def test_circuits_that_come_before_the_pace_is_sure_are_not_refused_for_a_slow_start() -> None:
    service = Slow(start=60.0)
    sender = dispatcher(service, store_of(), Budget(seconds=500, reserve=0))
    asked(sender, "a", row(0, 1))
    sender.turn()
    ticket = asked(sender, "b", row(1, 34))
    drained(sender)
    assert len(ticket.outcome()) == 34


def test_another_process_learns_from_the_journal() -> None:
    store, budget = store_of(), Budget(seconds=100, reserve=0)
    first = Slow()
    sender = dispatcher(first, store, budget)
    asked(sender, "a", row(0, 3))
    drained(sender)
    assert sizes(first) == [1, 2]
    second = Slow()
    again = dispatcher(second, store, budget)
    ticket = asked(again, "b", row(10, 20))  # 100 s, of which 85 are left
    drained(again)
    assert second.jobs == {}
    assert isinstance(ticket.error, BudgetError)
    asked(again, "c", row(40, 5))
    drained(again)
    assert sizes(second) == [5]


def test_a_device_that_never_tells_cannot_keep_a_limit_on_seconds() -> None:
    service = Silent()
    store = store_of()
    sender = dispatcher(service, store, Budget(seconds=1e6, reserve=0))
    ticket = asked(sender, "a", row(0, 5))
    drained(sender)
    assert sizes(service) == [1]
    with pytest.raises(BudgetError, match=r"scripted does not tell how long its jobs take.* Limit shots or circuits"):
        ticket.outcome()
    again = dispatcher(service, store, Budget(seconds=1e6, reserve=0))
    other = asked(again, "b", row(9, 1))
    drained(again)
    assert sizes(service) == [1]
    assert isinstance(other.error, BudgetError)


def test_no_second_circuit_goes_while_the_first_one_is_out() -> None:
    service = Slow(script={("result", k): TransientError("503") for k in range(4)})
    store = store_of()
    sender = dispatcher(service, store, Budget(seconds=1e6, reserve=0))
    first = asked(sender, "a", row(0, 5))
    second = asked(sender, "b", row(9, 5))
    drained(sender)
    assert (sizes(service), states(store)) == ([1], ["sent"])
    assert isinstance(first.error, TransientError)
    with pytest.raises(BudgetError, match=r"job .* that would tell is not back\. Resume the run, or settle that job"):
        second.outcome()
    again = dispatcher(service, store, Budget(seconds=1e6, reserve=0))
    mine = asked(again, "a", row(0, 5))
    drained(again)
    assert mine.outcome(), "what is resumed fetches it, and learns from it"
    assert sizes(service) == [1, 4]


def test_a_first_job_that_failed_tells_nothing_and_another_is_tried() -> None:
    service = Slow(script={("submit", 0): PermanentError("no such gate")})
    sender = dispatcher(service, store_of(), Budget(seconds=1e6, reserve=0))
    asked(sender, "a", row(0, 5))
    good = asked(sender, "b", row(9, 5))
    drained(sender)
    assert sizes(service) == [1, 4]
    assert len(good.outcome()) == 5


def test_a_run_gives_the_same_bits_with_a_limit_on_seconds() -> None:
    found = {}
    for budget in (None, Budget(seconds=1e6, reserve=0)):
        with Session("default.qubit", shots=100, budget=budget, store=None, progress=False) as session:
            value = session.run(task(steps=2)).value
            found[budget] = (value, [line.circuits for line in session.ledger()])
    (free, jobs), (limited, with_trial) = found.values()
    assert free == limited
    assert with_trial == [1, jobs[0] - 1, *jobs[1:]]
