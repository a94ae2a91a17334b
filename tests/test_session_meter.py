"""What jobs are charged with: seconds as the vendor tells them, its waiting session included, and their price."""

from __future__ import annotations

from dataclasses import replace

import pytest
from session_service import SESSION, Scripted, circuit, dispatcher, store_of

from varq.devices.faults import TransientError
from varq.devices.prices import Price
from varq.devices.service import Limits
from varq.session.budget import Budget, BudgetError
from varq.session.dispatch import Dispatcher, Ticket
from varq.session.ledger import of_session
from varq.store.store import Store

pytestmark = pytest.mark.flagless

PER_SECOND = Price(per_second=2.0, job_seconds=1.0, shot_seconds=1e-3, dated="2026", source="a test")
BUSY = 0.1  # seconds of a job with 100 shots: the scripted device takes 1 ms for each
EXACT = 1e-12


class Waiting(Scripted):
    """A device whose open session is metered from its first job on, by a clock that the test moves."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.clock = 0.0

    def submit(self, circuits, tag):
        self.clock += sum(c.shots for c in circuits) * 1e-3
        return super().submit(circuits, tag)


def ran(sender: Dispatcher, step: int, shots: int = 100) -> Ticket:
    ticket = sender.add(("run", step, "step"), [circuit(step, shots=shots)])
    assert isinstance(ticket, Ticket), ticket
    sender.turn()
    return ticket


def charged(store: Store) -> list[tuple[float | None, float | None]]:
    return [(job.seconds, job.cost) for job in store.jobs.jobs(SESSION)]


def flat(rows: list[tuple[float, float]]) -> list[object]:
    return [pytest.approx(row, abs=EXACT) for row in rows]


def test_money_follows_the_seconds_that_the_vendor_tells() -> None:
    store, service = store_of(), Scripted()
    sender = dispatcher(service, store, Budget(cost=2.3, reserve=0), price=PER_SECOND)
    ran(sender, 0)  # expected: 1.1 s for 2.2
    assert charged(store) == flat([(BUSY, 2.0 * BUSY)])
    assert store.jobs.spent(SESSION).cost == pytest.approx(2.0 * BUSY, abs=EXACT)
    again = dispatcher(service, store, Budget(cost=2.3, reserve=0), price=PER_SECOND)
    assert isinstance(again.add(("run", 1, "step"), [circuit(1, shots=200)]), str), "2.4 expected, 2.1 left"


class Silent(Scripted):
    """A vendor that does not tell how long its machine was busy, as AWS of a quantum processor."""

    def result(self, job):
        return replace(super().result(job), seconds=None)


@pytest.mark.parametrize(("per_second", "cost"), [(0.0, 0.3 + 100 * 0.01), (2.0, None)])
def test_money_that_needs_no_seconds_is_known_without_them(per_second: float, cost: float | None) -> None:
    store = store_of()
    fee = Price(per_job=0.3, per_shot=0.01, per_second=per_second, dated="2026", source="a test")
    ran(dispatcher(Silent(), store, price=fee), 0)
    assert charged(store) == [(None, cost if cost is None else pytest.approx(cost, abs=EXACT))]


def test_jobs_of_a_session_count_the_time_that_it_waited_before_them() -> None:
    store, service = store_of(), Waiting()
    sender = dispatcher(service, store, price=PER_SECOND)
    ran(sender, 0)
    service.clock += 5.0
    ran(sender, 1)
    service.clock += 3.0
    sender.close()
    assert charged(store) == flat([(BUSY, 2 * BUSY), (5.0 + BUSY + 3.0, 2 * (8.0 + BUSY))]), "the last wait too"
    assert store.jobs.spent(SESSION).seconds == pytest.approx(service.clock, abs=EXACT), "as the vendor counts"


def test_several_jobs_at_once_count_the_session_once() -> None:
    store, service = store_of(), Waiting(Limits(circuits=1))
    sender = dispatcher(service, store, price=PER_SECOND)
    sender.add(("run", 0, "step"), [circuit(k, shots=100) for k in range(3)])
    while sender.turn():
        pass
    assert len(service.jobs) == 3
    assert store.jobs.spent(SESSION).seconds == pytest.approx(3 * BUSY, abs=EXACT)


@pytest.mark.parametrize("budget", [Budget(seconds=4.0, reserve=0), Budget(cost=8.0, reserve=0)])
def test_a_session_that_waited_too_long_sends_no_job_more(budget: Budget) -> None:
    store, service = store_of(), Waiting()
    sender = dispatcher(service, store, budget, price=PER_SECOND)
    ran(sender, 0)
    service.clock += 3.9
    with pytest.raises(BudgetError, match="is used up"):
        ran(sender, 1).outcome()
    assert len(service.jobs) == 1


def test_a_new_session_of_the_vendor_starts_from_nothing() -> None:
    store, service = store_of(), Waiting()
    first = dispatcher(service, store, price=PER_SECOND)
    ran(first, 0)
    first.close()
    service.clock = 0.0
    second = dispatcher(service, store, price=PER_SECOND)
    ran(second, 1)
    second.close()
    assert charged(store) == flat([(BUSY, 2 * BUSY)] * 2)


def test_a_meter_that_cannot_be_read_leaves_what_the_jobs_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> float:
        raise TransientError("no answer")

    store, service = store_of(), Scripted()
    monkeypatch.setattr(service, "metered", fails)
    sender = dispatcher(service, store, price=PER_SECOND)
    ran(sender, 0)
    sender.close()
    assert charged(store) == flat([(BUSY, 2 * BUSY)])


def test_the_ledger_shows_what_was_charged() -> None:
    store, service = store_of(), Waiting()
    sender = dispatcher(service, store, price=PER_SECOND)
    ran(sender, 0)
    service.clock += 1.0
    sender.close()
    (line,) = of_session(store, SESSION)
    assert (line.seconds, line.cost) == pytest.approx((1.0 + BUSY, 2 * (1.0 + BUSY)), abs=EXACT)
    assert line.times.qpu == pytest.approx(BUSY, abs=EXACT), "it waited for the rest"
