"""Jobs: written down before they are sent, sent once, within limits and budget, and found again after anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_service import SESSION, Crash, Scripted, bits_of, circuit, dispatcher, states, store_of

from varq.devices.faults import ExpiredError, GoneError, PartialError, PermanentError, TransientError, UncertainError
from varq.devices.prices import Price
from varq.devices.service import JobStatus, Limits
from varq.session.budget import Account, Budget, BudgetError, Use
from varq.session.dispatch import Dispatcher, Ticket
from varq.store.store import Store

pytestmark = pytest.mark.flagless

PLACE = ("run", 0, "step")


def asked(sender: Dispatcher, circuits: Any, place: Any = PLACE, **options: Any) -> Ticket:
    ticket = sender.add(place, circuits, **options)
    assert isinstance(ticket, Ticket)
    return ticket


def test_each_thing_is_in_the_store_before_the_next_happens() -> None:
    store = store_of()
    seen = []

    def look(call: str, what: str) -> None:
        if call in ("submit", "status", "result"):
            (job,) = store.jobs.jobs(SESSION)
            seen.append((call, job.state.value, job.id == what if call == "submit" else job.provider_id == what))

    sender = dispatcher(Scripted(look=look), store)
    ticket = asked(sender, [circuit()])
    assert sender.turn()
    assert seen == [("submit", "written", True), ("status", "sent", True), ("result", "sent", True)]
    assert states(store) == ["done"]
    assert np.array_equal(ticket.outcome()[0], store.jobs.results(*PLACE)[0])
    assert not sender.turn()


def commits(store: Store, act: Any) -> int:
    """How many commits something takes, as SQLite itself tells."""
    said: list[str] = []
    store.jobs._folder.writer()._db.set_trace_callback(said.append)
    act()
    store.jobs._folder.writer()._db.set_trace_callback(None)
    return sum(text.startswith("COMMIT") for text in said)


@pytest.mark.parametrize("jobs", [1, 40])
@pytest.mark.parametrize(("paid", "most"), [(True, 3), (False, 2)])
def test_commits_do_not_grow_with_the_jobs(tmp_path: Path, jobs: int, paid: bool, most: int) -> None:
    store = store_of(tmp_path / "store")
    sender = dispatcher(Scripted(Limits(circuits=1), paid), store)
    asked(sender, [circuit(k) for k in range(jobs)])
    assert commits(store, sender.turn) == most
    assert states(store) == ["done"] * jobs


def test_four_commits_when_everything_goes_wrong_at_once(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    service = Scripted(Limits(circuits=1))
    service.script = {
        ("submit", 1): PermanentError("no such gate"),
        ("submit", 2): UncertainError("no answer"),
        **{("find", k): TransientError("503") for k in range(9)},
        ("result", 1): GoneError("deleted"),
        **{("result", 2 + k): TransientError("503") for k in range(9)},
    }
    sender = dispatcher(service, store)
    tickets = [asked(sender, [circuit(k)], ("run", k, "step")) for k in range(5)]
    assert commits(store, sender.turn) == 4
    assert states(store) == ["done", "unsent", "uncertain", "failed", "sent"]
    errors = [type(ticket.error) for ticket in tickets]
    assert errors == [type(None), PermanentError, UncertainError, GoneError, TransientError]
    texts = [job.error or "" for job in store.jobs.jobs(SESSION)]
    assert ["no such gate" in texts[1], "could not be asked" in texts[2], "deleted" in texts[3]] == [True] * 3


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=4),
    st.integers(1, 4),
    st.lists(st.integers(-1, 1), min_size=4, max_size=4),
)
def test_equal_circuits_of_a_submission_are_sent_once(
    requests: list[list[int]], most: int, priorities: list[int]
) -> None:
    store, service = store_of(), Scripted(Limits(circuits=most))
    sender = dispatcher(service, store)
    tickets = [
        asked(sender, [circuit(k) for k in angles], (f"run {r}", 0, "step"), priority=priorities[r])
        for r, angles in enumerate(requests)
    ]
    submissions = 0
    while sender.turn():
        submissions += 1
    if submissions == 1:
        assert set(service.sent.values()) == {1}
        assert len(service.jobs) == -(-len(service.sent) // most)
    # One request alone never has a circuit sent twice, however its circuits are spread over submissions.
    assert max(service.sent.values()) <= len(requests)
    assert all(len(circuits) <= most for _, circuits in service.jobs.values())
    for angles, ticket in zip(requests, tickets, strict=True):
        for angle, bits in zip(angles, ticket.outcome(), strict=True):
            assert np.array_equal(bits, bits_of(circuit(angle)))
    for r, angles in enumerate(requests):
        assert len(store.jobs.results(f"run {r}", 0, "step")) == len(angles)
    store.close()


@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 30), st.integers(5, 40))
def test_jobs_keep_to_all_limits(shots: list[int], circuit_shots: int, job_shots: int) -> None:
    service = Scripted(Limits(circuits=3, shots=circuit_shots, job_shots=job_shots))
    store = store_of()
    sender = dispatcher(service, store)
    ticket = asked(sender, [circuit(k, shots=n) for k, n in enumerate(shots)])
    while sender.turn():
        pass
    for _, circuits in service.jobs.values():
        assert len(circuits) <= 3
        assert all(c.shots <= circuit_shots for c in circuits)
        assert all(c.tape.shots.total_shots == c.shots for c in circuits)
        assert sum(c.shots for c in circuits) <= job_shots
    assert [len(bits) for bits in ticket.outcome()] == shots
    assert max(service.sent.values()) == 1, "the parts of a circuit draw from seeds of their own"
    store.close()


def test_circuits_that_are_too_deep_are_refused() -> None:
    sender = dispatcher(Scripted(Limits(depth=1)), store_of())
    asked(sender, [circuit()])
    with pytest.raises(ValueError, match=r"has at most 0 layers of gates\. Got 1"):
        dispatcher(Scripted(Limits(depth=0)), store_of()).add(PLACE, [circuit()])


def test_too_many_wires_are_refused() -> None:
    sender = dispatcher(Scripted(Limits(wires=1)), store_of())
    with pytest.raises(ValueError, match=r"has at most 1 wires\. Got 2"):
        sender.add(PLACE, [circuit()])


def test_the_session_is_opened_after_compiling_and_again_when_it_has_expired() -> None:
    service = Scripted(script={("submit", 0): ExpiredError("over"), ("result", 0): ExpiredError("over")})
    sender = dispatcher(service, store_of())
    ticket = asked(sender, [circuit()])
    assert service.calls == ["compile"]
    sender.turn()
    assert service.calls == ["compile", "open", "submit", "open", "submit", "status", "result", "open", "result"]
    assert len(service.jobs) == 1
    assert ticket.error is None
    sender.close()
    assert service.calls[-1] == "close"


def test_a_session_that_cannot_be_closed_is_only_mentioned() -> None:
    said: list[str] = []
    service = Scripted(script={("close", 0): TransientError("503")})
    sender = dispatcher(service, store_of(), say=said.append)
    asked(sender, [circuit()])
    sender.turn()
    sender.close()
    assert "jobs that were sent stay" in said[-1]


def test_circuits_that_cannot_be_translated_concern_their_run_alone() -> None:
    service = Scripted(script={("compile", 1): PermanentError("no such gate")})
    store = store_of()
    sender = dispatcher(service, store, Budget(shots=100, reserve=0))
    good = asked(sender, [circuit(1)], ("a", 0, "step"))
    with pytest.raises(PermanentError, match="no such gate"):
        sender.add(("b", 0, "step"), [circuit(2)])
    assert isinstance(sender.add(("c", 0, "step"), [circuit(3, shots=90)]), Ticket), "nothing stays set aside"
    sender.turn()
    assert good.error is None


def test_what_waits_of_a_failed_request_is_not_sent() -> None:
    service = Scripted(Limits(circuits=2), script={("submit", 0): PermanentError("broken")})
    store = store_of()
    sender = dispatcher(service, store, Budget(shots=100, reserve=0))
    first = asked(sender, [circuit(1)], ("a", 0, "step"), priority=1)
    second = asked(sender, [circuit(k) for k in range(2, 6)], ("b", 0, "step"))
    sender.turn()
    for ticket in (first, second):
        with pytest.raises(PermanentError, match="broken"):
            ticket.outcome()
    assert not sender.turn()
    assert service.jobs == {}
    assert isinstance(sender.add(("c", 0, "step"), [circuit(shots=100)]), Ticket), "nothing was used"


def test_an_error_of_another_kind_goes_to_its_ticket_and_the_job_is_looked_for() -> None:
    service = Scripted(script={("submit", 0): RuntimeError("token=abc"), ("submit", 1, "after"): RuntimeError("odd")})
    store = store_of()
    sender = dispatcher(service, store)
    first = asked(sender, [circuit(1)], ("a", 0, "step"))
    sender.turn()
    with pytest.raises(PermanentError, match=r"Got RuntimeError: token=\(not kept\) for job .* was not received"):
        first.outcome()
    second = asked(sender, [circuit(2)], ("b", 0, "step"))
    sender.turn()
    assert np.array_equal(second.outcome()[0], bits_of(circuit(2)))
    assert states(store) == ["unsent", "done"]


@pytest.fixture
def often() -> Iterator[None]:
    """Threads change places as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_take_turns(often: None) -> None:
    store, service = store_of(), Scripted(Limits(circuits=3))
    sender = dispatcher(service, store)

    def work(number: int) -> None:
        for step in range(5):
            mine = [circuit(100 * number + 10 * step + k) for k in range(4)]
            ticket = asked(sender, mine, (f"run {number}", step, "step"))
            while not ticket.finished:
                sender.turn()
            for bits, one in zip(ticket.outcome(), mine, strict=True):
                np.testing.assert_array_equal(bits, bits_of(one))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert set(service.sent.values()) == {1}
    assert len(service.sent) == 6 * 5 * 4
    assert store.jobs.spent(SESSION).circuits == 6 * 5 * 4
    assert [job.number for job in store.jobs.jobs(SESSION)] == list(range(len(service.jobs)))


def test_deadlines_that_have_passed() -> None:
    now = [100.0]
    service = Scripted(Limits(circuits=1))
    sender = dispatcher(service, store_of(), Budget(shots=40, reserve=0), clock=lambda: now[0])
    late = asked(sender, [circuit(1)], ("a", 0, "step"), deadline=101.0)
    soon = asked(sender, [circuit(2)], ("b", 0, "step"), deadline=103.0)
    now[0] = 102.0
    sender.turn()
    with pytest.raises(PermanentError, match=r"Circuits of a were not sent\. Its deadline has passed"):
        late.outcome()
    assert soon.outcome()
    assert list(service.sent) == [circuit(2).digest]
    assert isinstance(sender.add(("c", 0, "step"), [circuit(3, shots=30)]), Ticket), "its part of the budget is free"


def test_dropped_and_paused_circuits_are_not_sent() -> None:
    service = Scripted()
    sender = dispatcher(service, store_of(), Budget(shots=20, reserve=0))
    asked(sender, [circuit(1)], ("a", 0, "step"))
    sender.drop("a")
    sender.queue.pause("b")
    held = asked(sender, [circuit(2)], ("b", 0, "step"))
    assert not sender.turn()
    sender.drop("b")
    held = asked(sender, [circuit(2)], ("b", 0, "step"))
    assert not sender.turn(), "who is held back stays so"
    sender.queue.pause("b", paused=False)
    assert sender.turn()
    assert held.outcome()
    assert list(service.sent) == [circuit(2).digest]


# -- the budget

requests = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), min_size=1, max_size=4),
        st.integers(-1, 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
faults = st.dictionaries(
    st.tuples(st.sampled_from(["submit", "find", "status", "result"]), st.integers(0, 9)),
    st.sampled_from([TransientError, UncertainError, PermanentError, ExpiredError]),
    max_size=6,
)


@given(requests, st.integers(0, 300), st.integers(1, 4), st.sampled_from([None, 60, 75]), faults, st.integers(0, 3))
def test_not_one_shot_more_than_the_budget(
    wanted: Any, limit: int, circuits: int, job_shots: int | None, wrong: Any, every: int
) -> None:
    script = {where: kind("as scripted") for where, kind in wrong.items()}
    service = Scripted(Limits(circuits=circuits, job_shots=job_shots), script=script)
    store = store_of()
    sender = dispatcher(service, store, Budget(shots=limit, reserve=0.25))
    tickets = []
    for k, (parts, priority, last) in enumerate(wanted):
        some = [circuit(angle, shots=shots) for angle, shots in parts]
        given_out = sender.add((f"run {k}", 0, "step"), some, priority=priority, last=last)
        if isinstance(given_out, str):
            assert "shots is used up" in given_out
        else:
            tickets.append(given_out)
        if every and k % every == 0:
            sender.turn()
        assert service.shots <= limit
    while sender.turn():
        assert service.shots <= limit
    assert all(ticket.finished for ticket in tickets)
    assert max(service.sent.values(), default=0) <= len(wanted)
    counted = store.jobs.spent(SESSION)
    assert service.shots <= counted.shots <= limit
    account = sender._account
    assert (account.spent.shots, account.spent.circuits) == (counted.shots, counted.circuits)
    assert (account.held.shots, account.held.circuits) == (0, 0)
    store.close()


def test_a_budget_is_used_to_the_last_shot() -> None:
    service = Scripted()
    sender = dispatcher(service, store_of(), Budget(shots=100, reserve=0.3))
    asked(sender, [circuit(1, shots=70)], ("a", 0, "step"))
    refused = sender.add(("b", 0, "step"), [circuit(2, shots=1)])
    assert refused == "the budget of 100 shots is used up: 0 used and 30 kept for last estimates, 1 wanted"
    asked(sender, [circuit(3, shots=30)], ("b", 0, "final"), last=True)
    assert isinstance(sender.add(("c", 0, "final"), [circuit(4, shots=1)], last=True), str)
    while sender.turn():
        pass
    assert service.shots == 100


FEE = Price(per_job=1.0, per_shot=0.01, dated="2026", source="a test")
ROUNDING = 1e-12  # of a sum of 34 parts of something
METERED = Price(per_second=2.0, job_seconds=1.0, shot_seconds=0.01, dated="2026", source="a test")


def test_a_limit_on_the_cost_counts_the_jobs() -> None:
    service = Scripted(Limits(circuits=2))
    store = store_of()
    sender = dispatcher(service, store, Budget(cost=2.4, reserve=0), price=FEE)
    assert isinstance(sender.add(("a", 0, "step"), [circuit(k) for k in range(5)]), str), "three jobs"
    asked(sender, [circuit(k) for k in range(4)], ("a", 0, "step"))
    sender.turn()
    assert len(service.jobs) == 2
    assert store.jobs.spent(SESSION).cost == pytest.approx(2.4, abs=1e-12)
    assert isinstance(sender.add(("b", 0, "step"), [circuit(shots=1)]), str)


class Tasked(Scripted):
    """A vendor to whom circuits of other shots are another task."""

    def tasks(self, shapes: Any) -> int:
        return len({shots for shots, _ in shapes})


def test_a_limit_on_the_cost_counts_what_the_vendor_counts() -> None:
    store = store_of()
    sender = dispatcher(Tasked(), store, Budget(cost=2.6, reserve=0), price=FEE)
    three = [circuit(k, shots=10 * (1 + k)) for k in range(3)]
    assert sender.add(("a", 0, "step"), three) == "the budget of 2.6 cost is used up: 0 used, 3.6 wanted"
    asked(sender, [three[0], *three[1:2], circuit(7, shots=20)], ("a", 0, "step"))
    sender.turn()
    (job,) = store.jobs.jobs(SESSION)
    assert (job.estimate_cost, job.cost) == pytest.approx((2.5, 2.5), abs=1e-12)


def test_the_job_that_would_cross_the_cost_is_not_sent() -> None:
    # Each pair needs one job alone; shared out in turn, 60 | 50 + 50 | 40, they would need three.
    service = Scripted(Limits(job_shots=100))
    store = store_of()
    sender = dispatcher(service, store, Budget(cost=4.0, reserve=0), price=FEE)
    first = asked(sender, [circuit(1, 60), circuit(2, 40)], ("a", 0, "step"))
    second = asked(sender, [circuit(3, 50), circuit(4, 50)], ("b", 0, "step"))
    while sender.turn():
        pass
    assert store.jobs.spent(SESSION).cost <= 4.0
    assert second.outcome()
    with pytest.raises(BudgetError, match="the budget of 4 cost is used up"):
        first.outcome()


def test_a_limit_on_the_cost_needs_a_price() -> None:
    sender = dispatcher(Scripted(), store_of(), Budget(cost=5.0))
    with pytest.raises(ValueError, match=r"needs the device's price\. That of scripted is not known"):
        sender.add(PLACE, [circuit()])


def test_the_time_of_a_device_is_learned_from_its_jobs() -> None:
    sender = dispatcher(Scripted(), store_of(), Budget(seconds=0.05, reserve=0))  # 1 ms a shot
    asked(sender, [circuit(1, shots=30)], ("a", 0, "step"))
    sender.turn()
    assert isinstance(sender.add(("a", 1, "step"), [circuit(2, shots=21)]), str)
    asked(sender, [circuit(3, shots=20)], ("a", 1, "step"))
    sender.turn()
    assert isinstance(sender.add(("a", 2, "step"), [circuit(4, shots=1)]), str)
    assert isinstance(dispatcher(Scripted(), store_of(), Budget(seconds=0)).add(PLACE, [circuit()]), str)


def test_what_is_set_aside_is_what_the_circuits_need_in_the_jobs_that_they_share() -> None:
    """Not what each would need in a job of its own: then the second run of two that fit would be turned away."""
    circuits = [circuit(k, shots=10) for k in range(34)]
    needed = dispatcher(Scripted(), store_of(), price=METERED).estimate(circuits)
    sender = dispatcher(Scripted(), store_of(), Budget(seconds=2.5 * needed.seconds, reserve=0), price=METERED)
    assert isinstance(sender.add(("a", 0, "step"), circuits), Ticket)
    held = sender._account.held
    assert (held.circuits, held.shots) == (needed.circuits, needed.shots)
    assert (held.seconds, held.cost) == pytest.approx((needed.seconds, needed.cost), rel=ROUNDING)
    assert isinstance(sender.add(("b", 0, "step"), circuits), Ticket)
    assert isinstance(sender.add(("c", 0, "step"), circuits), str), "a third one does not fit"
    for owner in ("a", "b"):
        sender.drop(owner)
    assert sender._account.held.seconds == pytest.approx(0.0, abs=ROUNDING * needed.seconds)


def test_not_even_a_first_job_crosses_a_budget_of_money_for_seconds() -> None:
    service = Scripted()
    sender = dispatcher(service, store_of(), Budget(cost=3.9, reserve=0), price=METERED)
    refused = sender.add(("a", 0, "step"), [circuit(1, shots=100)])
    assert refused == "the budget of 3.9 cost is used up: 0 used, 4 wanted"
    assert not service.jobs
    asked(sender, [circuit(1, shots=90)], ("a", 0, "step"))  # expected: 1.9 s, 3.8
    sender.turn()  # which took 0.09 s
    assert sender.estimate([circuit(2, shots=100)]).seconds == pytest.approx(2.0 * 0.09 / 1.9)


def test_a_last_estimate_has_all_of_its_part_and_nothing_more() -> None:
    account = dispatcher(Scripted(), store_of(), Budget(shots=1000, reserve=0.5))._account
    use = dispatcher(Scripted(), store_of()).estimate([circuit(k, shots=30) for k in range(3)])
    assert 3 * round(30 * account.precision(use, 1)) <= 500
    assert 3 * round(30 * account.precision(use, 1)) > 500 - 2 * 3
    assert account.precision(use, 2) == pytest.approx(account.precision(use, 1) / 2, rel=0.02)
    none = dispatcher(Scripted(), store_of(), Budget(shots=1000, reserve=0))._account
    assert none.precision(use, 1) == 1.0, "without a reserve the estimate is as it is"
    none.spend(use)
    assert none.precision(use, 1) == 1.0
    assert Account(Budget(seconds=1e9)).precision(Use(3, 30, 1e-3), 1) == 100.0, (
        "all shots of an estimate are in memory"
    )


# -- after a crash


class Dying:
    """A journal that dies before or after one of its methods has done its work, once."""

    def __init__(self, jobs: Any, name: str, when: int) -> None:
        self._jobs, self._name, self._when, self.died = jobs, name, when, False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._jobs, name)
        if name != self._name:
            return found

        def act(*args: Any, **options: Any) -> Any:
            if self._when < 0 and not self.died:
                self.died = True
                raise Crash
            out = found(*args, **options)
            if not self.died:
                self.died = True
                raise Crash
            return out

        return act


CALLS = ("open", "submit", "status", "result")
POINTS = [(name, when) for name in (*CALLS, "write", "sent", "finish") for when in (-1, 1)]


@pytest.mark.parametrize(("name", "when"), POINTS, ids=lambda value: {-1: "before", 1: "after"}.get(value, value))
def test_what_was_sent_is_found_again_after_a_crash(tmp_path: Path, name: str, when: int) -> None:
    store, service = store_of(tmp_path / "store"), Scripted(Limits(circuits=2))
    budget = Budget(shots=30, reserve=0)  # three circuits, and not one shot more
    circuits = [circuit(k) for k in range(3)]
    first = dispatcher(service, store, budget)
    if name in CALLS:
        number = 0 if name == "open" else 1  # the second job's
        service.script = {(name, number) if when < 0 else (name, number, "after"): Crash()}
    else:
        first._sender._log = Dying(store.jobs, name, when)  # type: ignore[assignment]
    asked(first, circuits)
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    service.script = {}
    second = dispatcher(service, store, budget)
    ticket = asked(second, circuits)
    second.turn()
    for one, bits in zip(circuits, ticket.outcome(), strict=True):
        assert np.array_equal(bits, bits_of(one))
    assert service.sent == {c.digest: 1 for c in circuits}
    assert second._account.spent.shots == store.jobs.spent(SESSION).shots == 30
    assert set(states(store)) <= {"done", "unsent"}
    assert store.verify() == []


@pytest.mark.parametrize(("name", "when"), POINTS, ids=lambda value: {-1: "before", 1: "after"}.get(value, value))
def test_the_same_process_goes_on_after_an_interrupt(name: str, when: int) -> None:
    store, service = store_of(), Scripted(Limits(circuits=2))
    circuits = [circuit(k) for k in range(3)]
    sender = dispatcher(service, store, Budget(shots=30, reserve=0))
    if name in CALLS:
        number = 0 if name == "open" else 1
        service.script = {(name, number) if when < 0 else (name, number, "after"): Crash()}
    else:
        sender._sender._log = Dying(store.jobs, name, when)  # type: ignore[assignment]
    ticket = asked(sender, circuits)
    with pytest.raises(Crash, match="the process dies here"):
        sender.turn()
    assert ticket.interrupted
    sender.again(ticket)
    sender.turn()
    for one, bits in zip(circuits, ticket.outcome(), strict=True):
        assert np.array_equal(bits, bits_of(one))
    assert service.sent == {c.digest: 1 for c in circuits}
    assert sender._account.spent.shots == store.jobs.spent(SESSION).shots == 30
    assert sender._account.held.shots == 0


def test_a_full_disk_before_sending_costs_nothing() -> None:
    store, service = store_of(), Scripted()
    sender = dispatcher(service, store, Budget(shots=10, reserve=0))
    journal = Dying(store.jobs, "write", -1)
    sender._sender._log = journal  # type: ignore[assignment]
    ticket = asked(sender, [circuit()])
    with pytest.raises(Crash, match="the process dies here"):
        sender.turn()
    assert "submit" not in service.calls
    assert sender._account.spent.shots == 0
    sender.again(ticket)
    sender.turn()
    assert ticket.outcome()


def test_bits_of_other_circuits_are_not_taken(tmp_path: Path) -> None:
    store, service = store_of(tmp_path / "store"), Scripted()
    asked(dispatcher(service, store), [circuit(1), circuit(2)])
    sender = dispatcher(service, store)
    asked(sender, [circuit(1), circuit(2)])
    sender.turn()
    later = dispatcher(service, store)
    ticket = asked(later, [circuit(1), circuit(5)])
    later.turn()
    assert np.array_equal(ticket.outcome()[0], bits_of(circuit(1)))
    assert np.array_equal(ticket.outcome()[1], bits_of(circuit(5)))
    assert service.sent[circuit(1).digest] == 1


def test_the_precision_of_what_was_sent_is_known_again(tmp_path: Path) -> None:
    store, service = store_of(tmp_path / "store"), Scripted(script={("result", 0): Crash()})
    place = ("run", 7, "final")
    sender = dispatcher(service, store)
    assert sender.precision(place) is None
    asked(sender, [circuit(shots=37)], place, precision=3.7)
    with pytest.raises(Crash, match="the process dies here"):
        sender.turn()
    again = dispatcher(service, store)
    assert again.precision(place) == 3.7
    ticket = asked(again, [circuit(shots=37)], place, precision=3.7)
    assert ticket.finished
    assert len(service.jobs) == 1


def test_a_job_that_was_received_in_part_is_sent_again_under_its_tag() -> None:
    store = store_of()
    service = Scripted(script={("submit", 0): UncertainError("no answer"), ("find", 0): PartialError("2 of 4")})
    service.script[("submit", 1)] = PartialError("3 of 4")
    tags: list[str] = []
    service.look = lambda call, what: tags.append(what) if call == "submit" else None
    sender = dispatcher(service, store, Budget(shots=10, reserve=0))
    ticket = asked(sender, [circuit()])
    sender.turn()
    assert np.array_equal(ticket.outcome()[0], bits_of(circuit()))
    assert tags == [store.jobs.jobs(SESSION)[0].id] * 3


@pytest.mark.parametrize("then", [PartialError("3 of 4"), TransientError("throttled"), PermanentError("quota")])
def test_a_job_of_which_a_part_stays_away_is_uncertain_and_counts(then: Exception) -> None:
    store = store_of()
    service = Scripted(script={("submit", 0): PartialError("2 of 4")} | {("submit", k): then for k in range(1, 9)})
    sender = dispatcher(service, store, Budget(shots=10, reserve=0))
    ticket = asked(sender, [circuit()])
    sender.turn()
    with pytest.raises(PartialError, match="of 4"):
        ticket.outcome()
    assert states(store) == ["uncertain"]
    assert sender._account.spent.shots == 10


@pytest.mark.parametrize("fault", [TransientError("503"), PermanentError("denied"), UncertainError("?"), OSError("?")])
def test_a_job_that_cannot_be_looked_for_is_uncertain(fault: Exception) -> None:
    store = store_of()
    service = Scripted(script={("submit", 0, "after"): UncertainError("no answer")})
    service.script |= {("find", k): fault for k in range(20)}
    sender = dispatcher(service, store)
    ticket = asked(sender, [circuit()])
    sender.turn()
    assert isinstance(ticket.error, UncertainError)
    assert states(store) == ["uncertain"]
    with pytest.raises(UncertainError, match=r"could not be asked|\?"):
        sender.add(PLACE, [circuit()])
    assert store.jobs.spent(SESSION).shots == 10, "it may cost something"
    service.script = {}
    assert asked(sender, [circuit()]).finished
    assert len(service.jobs) == 1


def uncertain(store: Store, budget: Budget | None = None) -> tuple[Scripted, Dispatcher, str]:
    service = Scripted(script={("submit", 0, "after"): UncertainError("no answer")})
    service.script |= {("find", k): UncertainError("this vendor has no tags") for k in range(20)}
    sender = dispatcher(service, store, budget)
    asked(sender, [circuit()])
    sender.turn()
    (job,) = store.jobs.jobs(SESSION)
    return service, sender, job.id


def test_a_person_settles_an_uncertain_job_by_its_id() -> None:
    store = store_of()
    service, sender, job = uncertain(store)
    assert sender.settle(job[:12], provider_id="job 0") == "done"
    assert np.array_equal(asked(sender, [circuit()]).outcome()[0], bits_of(circuit()))
    assert len(service.jobs) == 1


def test_a_person_settles_an_uncertain_job_as_lost() -> None:
    store = store_of()
    service, sender, job = uncertain(store, Budget(shots=10, reserve=0))
    service.jobs.clear()
    assert sender.settle(job, lost=True) == "unsent"
    assert sender._account.spent.shots == store.jobs.spent(SESSION).shots == 0
    ticket = asked(sender, [circuit()])
    sender.turn()
    assert ticket.outcome()
    assert states(store) == ["unsent", "done"]


def test_settling_with_another_job_changes_nothing() -> None:
    store = store_of()
    service, sender, job = uncertain(store)
    service.jobs["job 9"] = ("another", [circuit(shots=11)])
    with pytest.raises(PermanentError, match=r"must have \(shots, wires\) of each of its circuits"):
        sender.settle(job, provider_id="job 9")
    service.script[("status", 1)] = GoneError("There is no job 8.")
    with pytest.raises(GoneError, match="There is no job 8"):
        sender.settle(job, provider_id="job 8")
    assert states(store) == ["uncertain"]
    service.status_of["job 0"] = JobStatus.FAILED
    assert sender.settle(job, provider_id="job 0") == "failed"


def test_the_id_of_another_job_of_the_store_settles_nothing() -> None:
    """All steps of a run look alike: the bits of a neighbor would be taken for those of this one."""
    store = store_of()
    service, sender, job = uncertain(store)
    neighbor = sender.add(("run", 1, "step"), [circuit(0.9)])
    assert sender.turn()
    assert not isinstance(neighbor, str)
    for status in (JobStatus.DONE, JobStatus.QUEUED):
        service.status_of["job 1"] = status
        with pytest.raises(PermanentError, match=rf"Job job 1 is that of varq-\w+, which is done. Give that of {job}"):
            sender.settle(job, provider_id="job 1")
    assert states(store) == ["uncertain", "done"]
    assert sender.settle(job, provider_id="job 0") == "done"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "is settled by its vendor's id, or as lost. Got provider_id=None and lost=False"),
        ({"provider_id": "job 0", "lost": True}, "Give one of the two"),
    ],
)
def test_settling_takes_one_of_two(options: dict[str, Any], match: str) -> None:
    store = store_of()
    _, sender, job = uncertain(store)
    with pytest.raises(ValueError, match=match):
        sender.settle(job, **options)


def test_only_what_is_open_can_be_settled() -> None:
    store = store_of()
    sender = dispatcher(Scripted(), store)
    asked(sender, [circuit()])
    sender.turn()
    with pytest.raises(ValueError, match=r"Only a job that may have been sent can be settled\. Job .* is 'done'"):
        sender.settle(store.jobs.jobs(SESSION)[0].id, lost=True)
    with pytest.raises(LookupError, match="There is no job"):
        sender.settle("varq-nothing", lost=True)


def test_a_result_that_was_paid_for_and_is_gone_is_told_before_it_is_paid_for_again() -> None:
    store = store_of()
    service = Scripted(script={("status", 0): Crash()})
    first = dispatcher(service, store)
    asked(first, [circuit()])
    with pytest.raises(Crash, match="the process dies here"):
        first.turn()
    service.script = {("result", 0): GoneError("deleted after a week")}
    second = dispatcher(service, store)
    with pytest.raises(GoneError, match="deleted after a week"):
        second.add(PLACE, [circuit()])
    assert states(store) == ["failed"]
    asked(second, [circuit()])  # a person has gone on
    second.turn()
    assert states(store) == ["failed", "done"]


@pytest.mark.parametrize("change", [lambda bits: bits[:-1], lambda bits: bits[:, :1]], ids=["shots", "wires"])
def test_a_result_of_another_shape_is_refused(change: Any) -> None:
    store, service = store_of(), Scripted()
    service.change = change
    sender = dispatcher(service, store)
    ticket = asked(sender, [circuit()])
    sender.turn()
    with pytest.raises(PermanentError, match=r"Job job 0 on scripted gave .* None of it is used"):
        ticket.outcome()
    assert states(store) == ["failed"]


def test_the_ledger_counts_the_tries() -> None:
    store = store_of()
    service = Scripted(script={("submit", 0): TransientError("503"), ("submit", 1): TransientError("503")})
    sender = dispatcher(service, store)
    asked(sender, [circuit()])
    sender.turn()
    assert [row.attempts for row in store.jobs.ledger(SESSION)] == [3]


def test_two_devices_of_a_session_number_their_jobs_together() -> None:
    store = store_of()
    one, other = dispatcher(Scripted(), store), dispatcher(Scripted(), store)
    for k in range(2):
        for name, sender in (("a", one), ("b", other)):
            ticket = asked(sender, [circuit(k)], (name, k, "step"))
            sender.turn()
            assert ticket.error is None
    assert [job.number for job in store.jobs.jobs(SESSION)] == [0, 1, 2, 3]
