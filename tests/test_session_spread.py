"""One run on several devices: each has its part, and when one is lost its part alone is sent again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_service import AT_ONCE, SESSION, Crash, bits_of, circuit, states, store_of
from spread_samples import Lawful, asked, finish, fleet, named

from varq.algorithms import VQE
from varq.ansatze import HardwareEfficient
from varq.devices.catalog import device as varq_device
from varq.devices.catalog import spread
from varq.devices.faults import (
    DeviceError,
    ExpiredError,
    GoneError,
    LostError,
    PermanentError,
    TransientError,
    UncertainError,
)
from varq.devices.prices import Price
from varq.devices.service import Circuit, JobStatus, Limits
from varq.devices.several import Spread
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.problems import TransverseFieldIsing
from varq.protocol import Reason, Stop, Value, ValueAndGrad
from varq.session.budget import Budget, BudgetError
from varq.session.ledger import of_session
from varq.session.session import Session
from varq.testing.storms import Chain

pytestmark = pytest.mark.flagless

PLACE = ("run", 0, "step")
SIGMAS = 5.0
NEVER = 10**9


def settings(count: int, shots: int = 10) -> list[Circuit]:
    """Circuits of as many measurement groups."""
    return [replace(circuit(0.1 * k, shots), structure=f"group {k}") for k in range(count)]


def down(call: str, error: type[DeviceError] = TransientError, first: int = 0) -> dict[Any, BaseException]:
    """A script by which a call fails from its number `first` on."""
    return {(call, k): error(f"{call} fails") for k in range(first, first + 60)}


def sent(*services: Any) -> Counter[str]:
    return sum((service.sent for service in services), Counter())


# -- who has what


def test_each_device_has_its_part_in_jobs_of_its_own() -> None:
    store, one, two = store_of(), named("one", Limits(circuits=2)), named("two")
    both = fleet(store, one, two)
    circuits = settings(6)
    ticket = asked(both, circuits)
    assert both.turn()
    assert ticket.finished
    assert sorted(c.digest for c in one.circuits) == sorted(c.digest for c in circuits[0::2])
    assert sorted(c.digest for c in two.circuits) == sorted(c.digest for c in circuits[1::2])
    for bits, mine in zip(ticket.outcome(), circuits, strict=True):
        np.testing.assert_array_equal(bits, bits_of(mine))
    jobs = store.jobs.jobs(SESSION)
    assert [(job.number, job.device, job.circuits) for job in jobs] == [(0, "one", 2), (1, "one", 1), (2, "two", 3)]
    assert {use.role for job in jobs for row in store.jobs.circuits(job.id) for use in row.uses} == {
        "step @0",
        "step @1",
    }
    assert not both.turn()


def test_all_devices_are_at_work_before_any_is_waited_for() -> None:
    calls: list[tuple[str, str]] = []
    services = [named(name) for name in ("one", "two", "three")]
    for service in services:
        service.look = lambda call, what, name=service.name: calls.append((name, call))
    both = fleet(store_of(), *services)
    asked(both, settings(3))
    both.turn()
    order = [call for _, call in calls if call in ("submit", "result")]
    assert order == ["submit"] * 3 + ["result"] * 3


def test_what_costs_nothing_is_computed_while_others_work() -> None:
    seen: list[str] = []
    here, there = named("here", paid=False), named("there")
    for service in (here, there):
        service.look = lambda call, what, name=service.name: seen.append(f"{name} {call}")
    both = fleet(store_of(), here, there)
    asked(both, settings(2))
    both.turn()
    assert seen.index("there submit") < seen.index("here submit") < seen.index("there result")


def test_a_circuit_of_many_shots_is_split() -> None:
    store, one, two = store_of(), named("one", Limits(shots=150)), named("two")
    both = fleet(store, one, two)
    ticket = asked(both, [circuit(0.3, 401)])
    both.turn()
    assert [c.shots for c in one.circuits] == [101, 100]
    assert [c.shots for c in two.circuits] == [200]
    (whole,), (by_device,) = ticket.outcome(), ticket.measured()
    assert {k: len(bits) for k, bits in by_device.items()} == {0: 201, 1: 200}
    np.testing.assert_array_equal(whole, np.concatenate([by_device[0], by_device[1]]))
    np.testing.assert_array_equal(by_device[1], bits_of(two.circuits[0]))
    assert len({c.seed for c in (*one.circuits, *two.circuits)}) == 3


def test_company_changes_nothing() -> None:
    def traces(seeds: list[int]) -> dict[int, Any]:
        device = spread("default.qubit", "lightning.qubit")
        with Session(device, shots=300, store=None, progress=False) as session:
            runs = {seed: session.start(Chain(seed=seed, stop=Stop(steps=2))) for seed in seeds}
            session.drain()
            return {
                seed: [(r.step, r.role, r.reply, r.key) for r in session.store.rows(run.id)]
                for seed, run in runs.items()
            }

    together = traces([1, 2])
    assert together == {**traces([2]), **traces([1])}


# -- estimates


CIRCUIT = (lambda x: [qml.RY(x[0], 0), qml.RY(x[0], 1)], qml.Z(0) + qml.Z(1), 2, (1,))


@pytest.mark.parametrize("flips", [(0.0, 0.0), (0.1, 0.02)], ids=["one law", "two machines"])
def test_four_hundred_estimates_of_two_devices_have_the_exact_mean_and_the_least_variance(flips: Any) -> None:
    seeds, shots, angle = 400, 240, 0.9
    services = Lawful("loose", flips=flips[0]), Lawful("tied", tied=True, flips=flips[1])
    cost = Nodes(Spread(services), shots=shots).cost(*CIRCUIT)
    assert cost.prepare is not None
    both, found = fleet(store_of(), *services), []
    for seed in range(seeds):
        prepared = cost.prepare(Value(np.array([angle])), Key.from_seed(seed), 1.0)
        ticket = asked(both, prepared.circuits, ("run", seed, "step"))
        both.turn()
        reply = ticket.read(prepared)
        found.append((reply.value, reply.stderr))
    values, stderrs = np.array(found).T
    scales = [1 - 2 * flip for flip in flips]
    means = [2 * np.cos(angle) * scale for scale in scales]
    free = [2 * (1 - (m / 2) ** 2) for m in means]  # of two wires that are misread on their own
    variances = np.array([free[0], free[1] + 2 * scales[1] ** 2 * np.sin(angle) ** 2])  # and covary where they are tied
    weights = (1 / variances) / (1 / variances).sum()
    expected, least = float(weights @ means), 2 / shots / float((1 / variances).sum())
    assert abs(values.mean() - expected) < SIGMAS * np.sqrt(least / seeds) + (0.0 if flips[0] == flips[1] else 0.02)
    assert values.var(ddof=1) == pytest.approx(least, rel=SIGMAS * np.sqrt(2 / seeds))
    assert np.mean(stderrs**2) == pytest.approx(values.var(ddof=1), rel=SIGMAS * np.sqrt(2 / seeds))
    assert np.mean(stderrs**2) < 0.97 * shots / 2 * variances.sum() / shots**2, "shots that count alike tell less"


def test_a_slope_that_is_zero_on_each_machine_is_zero() -> None:
    """Two machines of different noise: with each shift on another one the slope at the minimum would be 0.4."""
    services = Lawful("quiet"), Lawful("loud", flips=0.2)
    shots = 4000
    cost = Nodes(Spread(services), shots=shots).cost(*CIRCUIT)
    assert cost.prepare is not None
    prepared = cost.prepare(ValueAndGrad(np.array([np.pi])), Key.from_seed(1), 1.0)
    both = fleet(store_of(), *services)
    ticket = asked(both, prepared.circuits)
    both.turn()
    reply = ticket.read(prepared)
    assert reply.grad is not None
    assert reply.grad_stderr is not None
    assert abs(reply.grad[0]) < SIGMAS * reply.grad_stderr[0] < 0.2
    assert -2 < reply.value < -1.2 - 0.5, "between the machines, nearer to the quiet one"


# -- loss


@pytest.mark.parametrize("call", ["compile", "open", "submit"])
def test_what_a_lost_device_had_goes_to_the_others_once(call: str) -> None:
    store, one, two = store_of(), named("one", script=down(call)), named("two", Limits(circuits=4))
    said: list[str] = []
    notes: list[Any] = []
    both = fleet(store, one, two, say=said.append, note=lambda kind, body: notes.append((kind, body["device"])))
    circuits = settings(6)
    ticket = asked(both, circuits)
    finish(both)
    for bits, mine in zip(ticket.outcome(), circuits, strict=True):
        np.testing.assert_array_equal(bits, bits_of(mine))
    assert one.jobs == {}
    assert sent(two) == {c.digest: 1 for c in circuits}
    assert len([text for text in said if "one is left out until it answers again" in text]) == 1
    assert notes == [("left out", "one")]
    tries = one.calls.count(call)
    later = asked(both, settings(4), ("run", 1, "step"))
    finish(both)
    assert later.finished
    assert one.calls.count(call) == tries, "it is not asked again at once"
    assert len(notes) == 1
    assert set(states(store)) <= {"done", "unsent"}


def test_only_what_is_unfinished_is_sent_again() -> None:
    store, two = store_of(), named("two")
    one = named("one", Limits(circuits=1), script=down("submit", first=2))
    both = fleet(store, one, two, budget=Budget(shots=80, reserve=0))
    circuits = settings(8)
    ticket = asked(both, circuits)
    finish(both)
    assert [c.digest for c in one.circuits] == [circuits[0].digest, circuits[2].digest]
    assert sent(one, two) == {c.digest: 1 for c in circuits}
    for bits, mine in zip(ticket.outcome(), circuits, strict=True):
        np.testing.assert_array_equal(bits, bits_of(mine))
    account = both.members[0]._account
    assert account.spent.shots == store.jobs.spent(SESSION).shots == 80
    assert account.held.shots == 0


def test_the_parts_of_a_split_circuit_that_came_back_are_kept() -> None:
    one = named("one", Limits(shots=100, circuits=1), script=down("submit", first=1))
    two = named("two", Limits(shots=150))
    both = fleet(store_of(), one, two)
    ticket = asked(both, [circuit(0.3, 600)])
    finish(both)
    assert (one.shots, two.shots) == (100, 500)
    assert [len(bits) for bits in ticket.outcome()] == [600]
    assert {k: len(bits) for k, bits in ticket.measured()[0].items()} == {0: 100, 1: 500}


def test_a_device_that_is_gone_stays_out_and_another_is_asked_again() -> None:
    for error, again in ((LostError, False), (TransientError, True)):
        now, said = [0.0], list[str]()
        one, two = named("one", script=down("submit", error)), named("two")
        both = fleet(store_of(), one, two, clock=lambda now=now: now[0], say=said.append)
        asked(both, settings(2))
        finish(both)
        tries = one.calls.count("submit")
        assert tries == (1 if error is LostError else AT_ONCE.attempts)
        now[0] = 61.0
        asked(both, settings(2), ("run", 1, "step"))
        finish(both)
        assert one.calls.count("submit") == tries + again, "a device of which little is hoped is tried once"
        one.script = {}
        now[0] = 100.0
        asked(both, settings(2), ("run", 2, "step"))
        finish(both)
        assert one.calls.count("submit") == tries + again, "the wait has doubled"
        now[0] = 61.0 + 121.0
        ticket = asked(both, settings(2), ("run", 3, "step"))
        finish(both)
        assert ticket.finished
        assert len(one.jobs) == again
        assert [text for text in said if "left out" in text] == [said[0]]
        assert sum("one answers again" in text for text in said) == again


def test_what_other_requests_have_in_its_queue_goes_too() -> None:
    one, two = named("one", script=down("submit")), named("two")
    both = fleet(store_of(), one, two)
    tickets = [asked(both, settings(4), (f"run {k}", 0, "step"), priority=k) for k in range(3)]
    finish(both)
    assert all(ticket.finished and ticket.error is None for ticket in tickets)
    assert one.calls.count("submit") == AT_ONCE.attempts


def test_a_job_that_was_received_and_cannot_be_asked_for_is_sent_to_another_and_said() -> None:
    store, one, two = store_of(), named("one", script=down("status")), named("two")
    said: list[str] = []
    both = fleet(store, one, two, say=said.append)
    ticket = asked(both, settings(2))
    finish(both)
    assert ticket.error is None
    assert states(store) == ["sent", "done", "done"]
    assert any("one is left out" in text for text in said)
    assert store.jobs.spent(SESSION).shots == 30, "it may cost something"


@pytest.mark.parametrize(
    ("stands", "cancels", "left", "shots"),
    [
        (JobStatus.QUEUED, True, "cancelled", 40),
        (JobStatus.RUNNING, True, "cancelled", 50),
        (JobStatus.RUNNING, False, "sent", 50),
        (JobStatus.DONE, True, "done", 50),
    ],
)
def test_what_a_device_could_not_be_asked_for_is_seen_to_when_it_answers_again(
    stands: JobStatus, cancels: bool, left: str, shots: int
) -> None:
    now, store, one, two = [0.0], store_of(), named("one", script=down("status")), named("two")
    both = fleet(store, one, two, clock=lambda: now[0])
    asked(both, settings(2))
    finish(both)
    assert states(store) == ["sent", "done", "done"]
    one.script, one.cancels, one.status_of, now[0] = {}, cancels, {"job 0": stands}, 61.0
    asked(both, settings(2), ("run", 1, "step"))
    finish(both)
    assert states(store) == [left, "done", "done", "done", "done"]
    assert one.calls.count("cancel") == (stands is not JobStatus.DONE)
    assert store.jobs.spent(SESSION).shots == both.members[0]._account.spent.shots == shots


def test_an_uncertain_job_is_never_sent_to_another_by_itself(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    one, two = named("one", script=down("find", UncertainError)), named("two")
    one.script["submit", 0, "after"] = UncertainError("no answer")
    both = fleet(store, one, two)
    circuits = settings(4)
    ticket = asked(both, circuits)
    finish(both)
    with pytest.raises(UncertainError, match="find fails"):
        ticket.outcome()
    assert states(store) == ["uncertain", "done"]
    with pytest.raises(UncertainError, match="find fails"):
        asked(both, circuits)
    (job, _) = store.jobs.jobs(SESSION)
    assert both.settle(job.id, provider_id="job 0") == "done"
    again = asked(both, circuits)
    assert again.finished
    assert sent(one, two) == {c.digest: 1 for c in circuits}


@pytest.mark.parametrize("error", [PermanentError, GoneError])
def test_what_another_device_would_hide_ends_the_request(error: type[DeviceError]) -> None:
    one, two = named("one", script={("submit", 0): error("no such gate")}), named("two")
    both = fleet(store_of(), one, two)
    ticket = asked(both, settings(2))
    finish(both)
    with pytest.raises(error, match="no such gate"):
        ticket.outcome()


def test_without_any_device_the_run_is_kept(tmp_path: Path) -> None:
    def calm() -> Any:
        with Session(Spread((named("one"), named("two"))), shots=200, store=None, progress=False) as session:
            return session.run(Chain(seed=1, stop=Stop(steps=6)))

    one, two = named("one", script=down("submit", first=3)), named("two", script=down("submit", first=3))
    device = Spread((one, two))
    with Session(device, shots=200, store=tmp_path / "store", progress=False, retry=AT_ONCE) as session:
        run = session.start(Chain(seed=1, stop=Stop(steps=6)))
        with pytest.raises(LostError, match=r"None of one, two does\. one: submit fails two: submit fails .* resume"):
            session.drain()
        assert run.steps < 6
        one.script = two.script = {}
        (result,) = session.drain()
        assert result.reason is Reason.STEPS
        ledger = session.ledger()
    assert (result.value, result.stderr) == (calm().value, calm().stderr)
    assert max(sent(one, two).values()) == 1
    assert [outage.device for outage in ledger.outages] == ["one", "two"]
    assert all(outage.ended is not None for outage in ledger.outages)


def test_a_loss_changes_no_bit_where_the_machines_are_alike() -> None:
    def result(*scripts: dict[Any, BaseException]) -> tuple[Any, ...]:
        services = [named(f"machine {k}", script=script) for k, script in enumerate(scripts)]
        with Session(Spread(services), shots=300, store=None, progress=False, retry=AT_ONCE) as session:
            found = session.run(Chain(seed=2, stop=Stop(steps=3)))
        assert max(sent(*services).values()) == 1
        return found.value, found.stderr, found.parameters.tolist()

    calm = result({}, {}, {})
    assert result(down("submit", first=2), {}, {}) == calm
    assert result({}, down("submit", LostError, first=1), down("open")) == calm


# -- after a crash


CALLS = ("open", "submit", "status", "result")
MOMENTS = [(name, place, when) for name in CALLS for place in (0, 1) for when in (-1, 1)]


@pytest.mark.parametrize(("name", "place", "when"), MOMENTS)
def test_what_was_sent_is_found_again_after_a_crash(tmp_path: Path, name: str, place: int, when: int) -> None:
    store = store_of(tmp_path / "store")
    services = [named("one", Limits(circuits=2)), named("two", Limits(circuits=2))]
    services[place].script = {(name, 0) if when < 0 else (name, 0, "after"): Crash()}
    circuits = settings(8)
    budget = Budget(shots=80, reserve=0)
    first = fleet(store, *services, budget=budget)
    asked(first, circuits)
    with pytest.raises(Crash, match="the process dies here"):
        finish(first)
    services[place].script = {}
    second = fleet(store, *services, budget=budget)
    ticket = asked(second, circuits)
    finish(second)
    for bits, mine in zip(ticket.outcome(), circuits, strict=True):
        np.testing.assert_array_equal(bits, bits_of(mine))
    assert sent(*services) == {c.digest: 1 for c in circuits}
    assert second.members[0]._account.spent.shots == store.jobs.spent(SESSION).shots == 80
    assert store.verify() == []


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("call", ["submit", "result"])
def test_what_was_passed_on_is_found_again_by_a_process_that_knows_nothing_of_it(
    tmp_path: Path, call: str, number: int
) -> None:
    """Three devices, of which two are lost one after the other; the process dies at each call of the third."""
    store = store_of(tmp_path / "store")
    limits = Limits(circuits=1, shots=7)
    one, two = named("one", limits, script=down("submit")), named("two", limits, script=down("submit", first=4))
    three = named("three", limits, script={(call, number, "after"): Crash()})
    circuits = settings(6)
    first = fleet(store, one, two, three)
    asked(first, circuits)
    with pytest.raises(Crash, match="the process dies here"):
        finish(first)
    for service in (one, two, three):
        service.script = {}
    before = sent(one, two, three)
    second = fleet(store, one, two, three)
    ticket = asked(second, circuits)
    finish(second)
    assert [len(bits) for bits in ticket.outcome()] == [10] * 6
    after = sent(one, two, three)
    assert max(after.values()) == 1
    assert after.total() == 12, "each in two parts"
    assert before <= after


def test_the_same_process_goes_on_after_an_interrupt() -> None:
    one, two = named("one", script={("status", 0): Crash()}), named("two", script=down("submit"))
    both = fleet(store_of(), one, two)
    circuits = settings(4)
    ticket = asked(both, circuits)
    with pytest.raises(Crash, match="the process dies here"):
        both.turn()
    assert ticket.interrupted
    both.again(ticket)
    assert not ticket.interrupted
    finish(both)
    for bits, mine in zip(ticket.outcome(), circuits, strict=True):
        np.testing.assert_array_equal(bits, bits_of(mine))
    assert sent(one) == {c.digest: 1 for c in circuits}


faults = st.dictionaries(
    st.tuples(st.sampled_from(["submit", "status", "result"]), st.integers(0, 12)),
    st.sampled_from([TransientError, ExpiredError, LostError]),
    max_size=12,
)


@given(faults, faults, st.integers(1, 3), st.integers(0, 160))
def test_whatever_is_lost_nothing_is_paid_twice_on_one_machine(one: Any, two: Any, most: int, limit: int) -> None:
    services = [
        named(name, Limits(circuits=most), script={where: kind("as scripted") for where, kind in wrong.items()})
        for name, wrong in (("one", one), ("two", two), ("three", {}))
    ]
    store = store_of()
    three = fleet(store, *services, budget=Budget(shots=limit, reserve=0))
    tickets = []
    for step in range(3):
        found = three.add((f"run {step}", 0, "step"), settings(5))
        if isinstance(found, str):
            assert "shots is used up" in found
        else:
            tickets.append(found)
    finish(three)
    for ticket in tickets:
        assert ticket.finished
        if ticket.error is None:
            for bits, mine in zip(ticket.outcome(), settings(5), strict=True):
                np.testing.assert_array_equal(bits, bits_of(mine))
        else:
            assert isinstance(ticket.error, (BudgetError, DeviceError))
    assert sum(service.shots for service in services) <= store.jobs.spent(SESSION).shots <= limit
    account = three.members[0]._account
    assert account.spent.shots == store.jobs.spent(SESSION).shots
    assert account.held.shots == 0
    store.close()


# -- money


FEE = {
    "one": Price(per_job=1.0, per_shot=0.01, dated="2026", source="a test"),
    "two": Price(per_shot=0.1, dated="2026", source="a test"),
}


def test_one_budget_and_the_price_of_each() -> None:
    store, one, two = store_of(), named("one"), named("two")
    budget = Budget(cost=3.5, reserve=0)
    both = fleet(store, one, two, budget=budget, prices=FEE)
    asked(both, settings(4))  # 1 + 0.2 there, 2.0 here
    finish(both)
    assert [job.cost for job in store.jobs.jobs(SESSION)] == pytest.approx([1.2, 2.0])
    assert both.members[1]._account.spent.cost == pytest.approx(3.2)
    refused = both.add(("run", 1, "step"), settings(4))
    assert isinstance(refused, str)
    assert "the budget of 3.5 cost is used up" in refused
    assert not both.turn(), "nothing of it waits"
    assert both.members[0]._account.held.shots == 0


def test_a_budget_that_a_substitute_would_cross_ends_the_request() -> None:
    one, two = named("one", script=down("submit")), named("two")
    both = fleet(store_of(), one, two, budget=Budget(cost=3.5, reserve=0), prices=FEE)
    ticket = asked(both, settings(4))
    finish(both)
    with pytest.raises(BudgetError, match=r"the budget of 3\.5 cost is used up: 2 used, 2 wanted"):
        ticket.outcome()


def test_prices_of_a_spread_are_in_one_currency() -> None:
    mine = {
        "one": {"per_shot": 0.1, "dated": "2026", "source": "a test"},
        "two": {"per_shot": 0.1, "currency": "EUR", "dated": "2026", "source": "a test"},
    }
    device, tape = Spread((named("one"), named("two"))), qml.tape.make_qscript(lambda: qml.expval(qml.Z(0)))()
    with (
        Session(device, shots=10, prices=mine, budget=Budget(cost=1), store=None, progress=False) as session,
        pytest.raises(ValueError, match=r"needs prices in one currency\. Those of spread\(one, two\) are in EUR, USD"),
    ):
        session.submit([tape])


def test_a_forecast_says_what_each_device_uses() -> None:
    device = Spread((named("one"), named("two", Limits(circuits=1))))
    prices = {name: replace(fee, per_shot=0.001) for name, fee in FEE.items()}
    with Session(device, shots=200, prices=prices, store=None, progress=False) as session:
        task = Chain(seed=1, stop=Stop(steps=3))
        found = session.forecast(task)
        session.run(task)
        ledger = session.ledger()
    assert [part.device for part in found.parts] == ["one", "two"]
    for part in found.parts:
        mine = [line for line in ledger if line.device == part.device]
        assert part.shots == sum(line.shots for line in mine)
        assert part.circuits == sum(line.circuits for line in mine)
        assert part.jobs == len(mine)
        assert part.cost == pytest.approx(sum(line.cost or 0.0 for line in mine))
    assert found.shots == sum(line.shots for line in ledger)
    assert "of it       two: " in str(found)


# -- what a person sees and says


def test_the_ledger_says_which_part_came_from_where() -> None:
    one, two = named("one"), named("two", script=down("submit", first=1))
    with Session(Spread((one, two)), shots=200, store=None, progress=False, retry=AT_ONCE) as session:
        session.run(Chain(seed=1, stop=Stop(steps=2)))
        ledger = session.ledger()
        assert of_session(session.store, session.id) == ledger
    assert {line.device for line in ledger} == {"one", "two"}
    (outage,) = ledger.outages
    assert (outage.device, outage.ended) == ("two", None)
    text = str(ledger)
    header = next(line for line in text.splitlines() if line.startswith("#"))
    assert "device" in header
    assert "two was left out from" in text
    assert "submit fails" in text
    (row,) = [line for line in text.splitlines() if line.startswith("two ") and "left out" not in line]
    assert row.split()[1:4] == ["1", str(two.circuits.__len__()), str(two.shots)]
    assert "two was left out from" in ledger._repr_html_()


def test_one_device_has_no_column_of_its_own() -> None:
    with Session(named("alone"), shots=20, store=None, progress=False) as session:
        session.run(Chain(seed=1, stop=Stop(steps=1)))
        assert "device" not in str(session.ledger())


def test_a_spread_is_part_of_a_run_and_of_its_session(tmp_path: Path) -> None:
    device = spread("default.qubit", "lightning.qubit", weights=(2, 1))
    task = Chain(seed=4, device=device, shots=400, stop=Stop(steps=2))
    with Session(store=tmp_path / "store", progress=False) as session:
        result = session.run(task)
        record = session.store.get(result.run_id)
        assert record is not None
        assert record.device == "spread(default.qubit, lightning.qubit)"
        assert session.run(task).value == result.value
        assert session.resume(result.run_id, stop=Stop(steps=3)).steps == 3
        with pytest.raises(ValueError, match=r"device of the spec must be None or the session's"):
            Session(spread("default.qubit", "varq.qubit"), store=session.store, progress=False).start(task)
    with Session(device, shots=400, store=tmp_path / "store", progress=False) as session:
        ended = session.run(Chain(seed=5, stop=Stop(steps=1)))
        name = session.id
    with (
        Session(store=tmp_path / "store", progress=False) as other,
        Session.reopened(name, other.store, progress=False) as again,
    ):
        assert again.device == device
        assert again.run(Chain(seed=5, stop=Stop(steps=1))).value == ended.value


def test_runs_are_held_back_and_dropped_on_all_devices() -> None:
    one, two = named("one"), named("two")
    both = fleet(store_of(), one, two, budget=Budget(shots=80, reserve=0))
    both.hold("a", True)
    held = asked(both, settings(4), ("a", 0, "step"))
    later, sooner = (asked(both, settings(2), (name, 0, "step")) for name in "bc")
    both.prioritize("c", 5)
    assert both.turn()
    assert (held.finished, later.finished, sooner.finished) == (False, True, True)
    assert held.waiting == 4
    both.drop("a")
    both.hold("a", False)
    assert not both.turn()
    assert not isinstance(both.add(("d", 0, "step"), settings(4)), str), "what was dropped gave back its part"
    assert both.members[0]._account.held.shots == 40


def test_a_deadline_holds_on_all_devices() -> None:
    one, two = named("one"), named("two")
    both = fleet(store_of(), one, two)
    ticket = asked(both, settings(2), deadline=1.0)
    finish(both)
    with pytest.raises(PermanentError, match="Its deadline has passed"):
        ticket.outcome()
    assert one.jobs == two.jobs == {}


def test_the_precision_of_what_was_sent_is_known_again() -> None:
    store = store_of()
    one, two = named("one", script=down("submit")), named("two", script={("result", 0): Crash()})
    place = ("run", 7, "final")
    both = fleet(store, one, two)
    assert both.precision(place) is None
    asked(both, [circuit(shots=37)], place, precision=3.7)
    with pytest.raises(Crash, match="the process dies here"):
        finish(both)
    assert fleet(store, one, two).precision(place) == 3.7


def test_exact_values_need_one_device() -> None:
    with pytest.raises(ValueError, match=r"A spread shares out shots, and needs some\. Got shots=None on spread"):
        Nodes(spread("default.qubit", "varq.qubit")).cost(*CIRCUIT)


def test_any_gates_may_be_submitted() -> None:
    there = [qml.BasisState(np.array([1, 0, 1]), range(3)), qml.QFT(range(3)), qml.adjoint(qml.QFT)(range(3))]
    tape = qml.tape.QuantumScript(there, [qml.probs(wires=range(3))], 400)
    with Session(spread("default.qubit", "varq.qubit"), store=None, progress=False) as session:
        batch = session.submit([tape, tape])
        assert "2 circuits, waiting" in repr(batch)
        found = batch.result()
        assert {line.device: line.shots for line in session.ledger()} == {"default.qubit": 200, "varq.qubit": 200}
    assert [float(probs[0b101]) for probs in found] == [1.0, 1.0]


LIFTED = 0.5  # of 3: most that the noise of a machine moves the energy of two wires and one CNOT


@pytest.mark.ibm
@pytest.mark.braket
def test_a_run_on_machines_of_two_vendors() -> None:
    problem, ansatz = TransverseFieldIsing(2), HardwareEfficient(wires=2, depth=1)
    device = spread("ibm.fake_manila", varq_device("braket.local_dm", noise={"readout": 0.02}))
    task = VQE(problem=problem, ansatz=ansatz, optimizer="adam", stop=Stop(steps=1), seed=3)
    with Session(device, shots=1024, store=None, progress=False) as session:
        found = session.forecast(task)
        result = session.run(task)
        ledger = session.ledger()

    @qml.qnode(qml.device("default.qubit", wires=2))
    def energy() -> Any:
        ansatz(result.parameters)
        return qml.expval(problem.hamiltonian)

    assert result.stderr is not None
    assert result.value is not None
    assert abs(result.value - float(energy())) < SIGMAS * result.stderr + LIFTED
    shots = {part.device: part.shots for part in found.parts}
    names = ("ibm.fake_manila", "braket.local_dm")
    assert shots == {name: sum(line.shots for line in ledger if line.device == name) for name in names}
    assert min(shots.values()) > 0.4 * sum(shots.values())
