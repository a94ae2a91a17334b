"""Runs in company: several share jobs, a budget and a queue, and each is the run that it is alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from session_service import AT_ONCE, SESSION, Crash, Scripted, circuit, dispatcher, store_of

from varq.algorithms import QAOA, VQE
from varq.ansatze import HardwareEfficient
from varq.devices.faults import PermanentError, UncertainError
from varq.devices.service import Limits
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.optimizers import SPSA
from varq.problems import MaxCut, Molecule, TransverseFieldIsing
from varq.protocol import Reason, Stop, Value
from varq.session import api, desk
from varq.session.budget import Budget, BudgetError
from varq.session.session import Session
from varq.store.job_records import SessionState
from varq.store.store import open_store
from varq.testing.storms import Chain

pytestmark = pytest.mark.filterwarnings("ignore:varq cannot set the random seed")

STEPS = 6


def tasks() -> list[VQE]:
    problem, ansatz = TransverseFieldIsing(2), HardwareEfficient(wires=2, depth=1)
    some = {"problem": problem, "ansatz": ansatz, "shots": 100, "stop": Stop(steps=STEPS)}
    return [VQE(optimizer=SPSA(), seed=3, **some), VQE(optimizer="adam", seed=4, **some)]


def traces(session: Session) -> list[Any]:
    return sorted(
        [(r.step, r.role, r.request, r.reply, r.key) for r in session.store.rows(record.id)]
        for record in session.list()
    )


def test_two_runs_in_one_session_are_the_runs_one_after_the_other_in_half_the_jobs() -> None:
    with Session("varq.qubit", store=None, progress=False) as together:
        for task in tasks():
            together.start(task)
        results = together.drain()
        merged, jobs = traces(together), len(together.ledger())
    with Session("varq.qubit", store=None, progress=False) as apart:
        alone = [apart.run(task) for task in tasks()]
        assert traces(apart) == merged
        assert len(apart.ledger()) == 2 * (STEPS + 1)
        assert len(apart.ledger()) >= 1.8 * jobs
    assert [r.value for r in results] == [r.value for r in alone]
    assert [r.stderr for r in results] == [r.stderr for r in alone]


def reasons(session: Session) -> dict[str, str | None]:
    """How the store says that each run ended."""
    return {record.id: record.reason for record in session.list()}


def session_on(service: Any, **options: Any) -> Session:
    return Session(service, shots=20, store=None, progress=False, retry=AT_ONCE, **options)


def test_an_error_of_one_run_leaves_the_others_alone_if_so_wanted() -> None:
    service = Scripted(Limits(circuits=2), script={("submit", 3): PermanentError("this job is cursed")})
    with session_on(service, on_error="continue") as session:
        first = session.start(Chain(seed=1, stop=Stop(steps=3)), priority=1)
        other = session.start(Chain(seed=2, stop=Stop(steps=3)))
        with pytest.raises(PermanentError, match="this job is cursed"):
            session.drain()
        # Three jobs calibrate the run of the higher priority; the fourth is its first step.
        assert reasons(session) == {first.id: "failed", other.id: "steps"}
        service.script = {}
        assert [(r.run_id, r.reason) for r in session.drain()] == [(first.id, Reason.STEPS)]
    assert max(service.sent.values()) == 1


def test_an_error_of_one_run_ends_all_otherwise() -> None:
    service = Scripted(script={("submit", 1): PermanentError("this job is cursed")})
    with session_on(service) as session:
        runs = [session.start(Chain(seed=seed)) for seed in (1, 2)]
        with pytest.raises(PermanentError, match="this job is cursed"):
            session.drain()
        assert len(service.jobs) == 1
        assert reasons(session) == {runs[0].id: "failed", runs[1].id: None}
        assert len(session.drain()) == 2, "both go on when asked again"
    assert max(service.sent.values()) == 1


def test_a_cancelled_run_sends_nothing_more() -> None:
    service = Scripted()
    with session_on(service) as session:
        run = session.start(Chain(seed=1))
        session.cancel(run)
        (result,) = session.drain()
        assert result.reason is Reason.STOPPED
        assert service.jobs == {}


def test_a_paused_run_waits_over_several_calls() -> None:
    service = Scripted()
    with session_on(service) as session:
        held, going = (session.start(Chain(seed=seed, stop=Stop(steps=2))) for seed in (1, 2))
        session.pause(held)
        assert [[r.run_id for r in session.drain()] for _ in range(2)] == [[going.id], []]
        assert held.result is None
        before = len(service.jobs)
        session.pause(held, paused=False)
        assert [r.reason for r in session.drain()] == [Reason.STEPS]
        assert len(service.jobs) == before + 3


def test_the_reserve_makes_the_last_estimate_more_precise() -> None:
    service = Scripted()
    with session_on(service, budget=Budget(shots=1000, reserve=0.4)) as session:
        session.start(Chain(seed=1, stop=Stop(steps=50)))
        (result,) = session.drain()
    assert result.reason is Reason.BUDGET
    assert "shots is used up" in result.message
    *steps, last = [circuits for _, circuits in service.jobs.values()]
    assert {c.shots for circuits in steps for c in circuits} == {20}
    assert [c.shots in (399, 400) for c in last] == [True], "all of the reserve, but for the rounding of one circuit"
    assert 1000 - 2 * 20 < service.shots <= 1000
    assert result.stderr <= 2 / np.sqrt(398), "energies lie between -2 and 2"


def test_a_last_estimate_is_the_same_after_a_crash() -> None:
    def ends(script: dict[Any, BaseException]) -> tuple[Any, Scripted]:
        service = Scripted(script=script)
        with session_on(service, budget=Budget(shots=1000, reserve=0.4)) as session:
            session.start(Chain(seed=1, stop=Stop(steps=50)))
            try:
                session.drain()
            except Crash:
                session.drain()
            (record,) = session.list()
            return (record.value, record.stderr, record.reason, traces(session)), service

    calm, undisturbed = ends({})
    number = len(undisturbed.jobs) - 1
    for where in [("submit", number), ("submit", number, "after"), ("result", number), ("result", number, "after")]:
        found, service = ends({where: Crash()})
        assert found == calm, where
        assert service.sent == undisturbed.sent, where


def test_a_job_is_settled_by_the_device_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session may have none of its own, as that of `varq.run(VQE(device=...))`."""
    services = {name: Scripted() for name in ("default.qubit", "varq.qubit", "default.mixed")}
    for name, one in services.items():
        monkeypatch.setattr(one, "name", name)
        one.script = {("submit", 0, "after"): UncertainError("no answer")}
        one.script |= {("find", k): UncertainError("there are no tags here") for k in range(9)}
    monkeypatch.setattr(desk, "open_service", lambda device, precision: services[device])
    with Session(store=None, progress=False, retry=AT_ONCE) as session:
        run = session.start(replace(tasks()[0], device="default.qubit"))
        with pytest.raises(UncertainError, match="there are no tags here"):
            run.finish()
        (job,) = session.ledger()
        services["default.qubit"].script = {}
        assert session.settle(job.job, provider_id="job 0") == "done"
        assert services["varq.qubit"].calls == []
        (batch,) = [session.submit([QuantumScript([qml.X(0)], [qml.sample(wires=[0])], shots=5)])]
        with pytest.raises(UncertainError, match="there are no tags here"):
            batch.result()
        stored, other = session.ledger()[-1], Session("default.mixed", store=session.store, progress=False)
        with other, pytest.raises(ValueError, match=r"went to varq\.qubit; here is default\.mixed"):
            other.settle(stored.job, provider_id="job 0")


def test_an_uncertain_job_ends_a_run_clearly_and_the_run_goes_on_when_it_is_settled() -> None:
    service = Scripted(script={("submit", 1, "after"): UncertainError("no answer")})
    service.script |= {("find", k): UncertainError("there are no tags here") for k in range(9)}
    with session_on(service) as session:
        run = session.start(Chain(seed=1, stop=Stop(steps=3)))
        with pytest.raises(UncertainError, match="there are no tags here"):
            session.drain()
        assert reasons(session) == {run.id: "failed"}
        (job,) = [row for row in session.ledger() if row.state == "uncertain"]
        sender = session._desk.dispatcher_of(run)
        assert sender is not None
        assert sender.settle(job.job, provider_id="job 1") == "done"
        service.script = {}
        (result,) = session.drain()
        assert result.reason is Reason.STEPS
    assert max(service.sent.values()) == 1


def test_a_batch_goes_on_after_an_interrupt() -> None:
    tape = qml.tape.make_qscript(lambda: (qml.RY(0.4, 0), qml.expval(qml.Z(0))))()
    service = Scripted(script={("status", 0): Crash()})
    with session_on(service) as session:
        batch = session.submit([tape, tape])
        with pytest.raises(Crash, match="the process dies here"):
            batch.result()
        first, second = batch.result()
        assert first == second
        assert len(service.jobs) == len(service.circuits) == 1
        session._desk.dispatcher(service).queue.pause(batch.id)
        other = session.submit([tape])
        session._desk.dispatcher(service).drop(other.id)
        with pytest.raises(RuntimeError, match="A batch must be in the queue to have a result"):
            other.result()


class Idle(Scripted):
    """Does nothing, at once."""

    def __init__(self) -> None:
        super().__init__(Limits(circuits=1), paid=False)

    def submit(self, circuits: Any, tag: str) -> str:
        self.jobs[tag] = (tag, circuits)
        return tag


def test_many_jobs_go_in_exact_order() -> None:
    store, service, count = store_of(), Idle(), 200
    sender = dispatcher(service, store)
    for k in range(count):
        sender.add((f"run {k % 5}", k, "step"), [circuit(k)], priority=k % 3)
    while sender.turn():
        pass
    sent = [circuits[0].values[0] for _, circuits in service.jobs.values()]
    wanted: list[int] = []
    for priority in (2, 1, 0):
        lines = [[k for k in range(count) if k % 5 == owner and k % 3 == priority] for owner in range(5)]
        served: Counter[int] = Counter({owner: len([k for k in wanted if k % 5 == owner]) for owner in range(5)})
        while any(lines):
            owner = min((o for o in range(5) if lines[o]), key=lambda o: (served[o], lines[o][0]))
            served[owner] += 1
            wanted.append(lines[owner].pop(0))
    assert sent == wanted
    assert [job.number for job in store.jobs.jobs(SESSION)] == list(range(count))


def test_error_bars_of_a_run_cover_the_exact_energy() -> None:
    # Of 100 intervals that each cover with 95 %, between 84 and 100 do, but for once in some 10,000 tests.
    seeds, least = 100, 84
    task = VQE(problem=Molecule.load("H2"), ansatz="uccsd", optimizer="L-BFGS-B")
    with Session("varq.qubit", store=None, progress=False) as session:
        exact = session.run(task)
    assert abs(exact.deviation) < 1e-8
    plan = task.resolve("varq.qubit", 4096).plan(Nodes("varq.qubit", 4096))
    replies = [plan.evaluate(Value(exact.parameters), Key.from_seed(seed)) for seed in range(seeds)]
    reached = [abs(r.value - exact.reference) <= 1.96 * r.stderr for r in replies]
    assert sum(reached) >= least
    spread = np.std([r.value for r in replies], ddof=1)
    assert spread == pytest.approx(np.mean([r.stderr for r in replies]), rel=5 / np.sqrt(2 * seeds))


# -- batch work


def tape(*operations: Any, measured: Any = None, shots: Any = None) -> QuantumScript:
    return QuantumScript(operations, [qml.expval(qml.Z(0))] if measured is None else measured, shots)


def test_a_batch_that_is_cancelled_is_not_sent() -> None:
    service = Scripted()
    with session_on(service) as session:
        first, second = (session.submit([tape(qml.RY(angle, 0), shots=10)]) for angle in (0.1, 0.2))
        assert first.cancel()
        assert "cancelled" in repr(first)
        second.result()
        assert not second.cancel(), "it has run"
        second.result()
        with pytest.raises(RuntimeError, match=r"was cancelled\. Submit it again"):
            first.result()
    assert len(service.circuits) == 1


@pytest.mark.parametrize("device", ["varq.qubit", "default.qubit", "lightning.qubit"])
def test_any_gates_may_be_submitted(device: str) -> None:
    """A Fourier transform there and back, of a state that is one number in binary."""
    there = [qml.BasisState(np.array([1, 0, 1]), range(3)), qml.QFT(range(3))]
    whole = tape(*there, qml.adjoint(qml.QFT)(range(3)), measured=[qml.probs(wires=range(3))])
    complex_ones = [
        tape(qml.H(0), qml.QubitUnitary(np.diag([1, s * 1j]), 0), qml.adjoint(qml.S(0)), qml.H(0)) for s in (1, -1)
    ]
    with Session(device, shots=20, store=None, progress=False) as session:
        found = session.submit([whole, *complex_ones]).result()
    assert found[0][0b101] == 1
    assert found[1:] == (1, -1), "matrices that differ in their imaginary parts alone"


def test_arrays_in_gates_are_a_circuit_each() -> None:
    with Session("default.qubit", shots=20, store=None, progress=False) as session:
        turned, still = session.submit([tape(qml.RX(np.array([0, np.pi]), 0)), tape()]).result()
        assert session.submit([]).result() == ()
    np.testing.assert_array_equal(turned, [1, -1])
    assert still == 1


@pytest.mark.parametrize(
    ("circuits", "error", "match"),
    [
        (None, TypeError, "circuits must be of type Iterable. Got None .* Make tapes with"),
        (tape(), TypeError, r"circuits must be a list of tapes. Got one tape. Give \[tape\]"),
        (["X"], TypeError, r"circuits\[0\] must be of type QuantumScript. Got 'X'"),
        ([tape(measured=[])], ValueError, r"circuits\[0\] must end in measurements that can be sampled. Got \[\]"),
        ([tape(), tape(measured=[qml.state()])], ValueError, r"circuits\[1\] must end in .* Use qml.expval"),
        ([tape(shots=(3, 2))], ValueError, r"circuits\[0\] must have one number of shots. .* Give a tape for each"),
        ([tape(qml.ops.MidMeasure(0))], ValueError, r"circuits\[0\] cannot measure in its middle"),
        ([tape(qml.X("a"))], ValueError, r"circuits\[0\] must be on wires 0, 1, .* Number them from 0"),
    ],
)
def test_circuits_that_cannot_be_sampled_are_named(circuits: Any, error: type[Exception], match: str) -> None:
    with (
        Session("default.qubit", shots=20, store=None, progress=False) as session,
        pytest.raises(error, match=match),
    ):
        session.submit(circuits)


class Odd(qml.devices.Device):
    """A device that gives something else than samples."""

    def __init__(self, given: Any) -> None:
        super().__init__(wires=1)
        self.given = given

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        return tuple(self.given for _ in circuits)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.full(20, np.nan), r"A sample of a circuit is zeros and ones, shape \(shots, 1\). Odd gave float64 .* nan"),
        (np.full(20, -1), "A sample of a circuit is zeros and ones"),
        ({"0": 20}, "A sample of a circuit is zeros and ones.* Odd gave object"),
        (np.zeros(19), r"A result must have \(shots, wires\) of each of its circuits, \[\(20, 1\)\]"),
    ],
    ids=["nan", "eigenvalues", "counts", "too few"],
)
def test_a_device_that_gives_no_samples_is_refused(given: Any, match: str) -> None:
    with (
        Session(Odd(given), shots=20, store=None, progress=False) as session,
        pytest.raises(PermanentError, match=match),
    ):
        session.submit([tape()]).result()


# -- who may drive what, and until when


def test_a_closed_session_lets_nothing_run() -> None:
    with store_of() as store:
        with Session("default.qubit", shots=100, store=store, progress=False) as session:
            batch = session.submit([tape()])
            run = session.start(tasks()[0])
        for late in (lambda: session.submit([tape()]), lambda: session.start(tasks()[1]), session.drain, run.finish):
            with pytest.raises(RuntimeError, match=r"A session that was closed.* Open another varq.Session"):
                late()
        with pytest.raises(RuntimeError, match=r"in the queue to have a result.* or its session closed"):
            batch.result()
        assert store.jobs.jobs(session.id) == []


def test_a_session_that_was_handed_over_sends_nothing_more() -> None:
    with Session("default.qubit", shots=100, store=None, progress=False) as session:
        session.submit([tape()]).result()
        session.desk.leave()
        for late in (lambda: session.submit([tape()]), lambda: session.start(tasks()[1])):
            with pytest.raises(RuntimeError, match=r"handed over goes on in a process of its own.* varq.attach\(id\)"):
                late()
        assert len(session.ledger()) == 1


def test_wrong_arguments_leave_no_run_behind() -> None:
    with Session("default.qubit", shots=100, store=None, progress=False) as session:
        for wrong, match in (
            ({"priority": float("nan")}, "priority must be an integer. Got nan"),
            ({"priority": "high"}, "priority must be an integer. Got 'high'"),
            ({"deadline": -1}, "deadline must be at least 0"),
            ({"deadline": float("inf")}, "deadline must be finite"),
            ({"verify": "yes"}, "verify must be True or False"),
        ):
            with pytest.raises((TypeError, ValueError), match=match):
                session.start(tasks()[0], **wrong)
        assert session.list() == []


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"device": 3}, r"device must be of type Device. Got 3 \(int\)"),
        ({"device": Budget()}, "device must be of type Device"),
        ({"device": "ibn.torino"}, "device must be one of"),
        ({"budget": 1000}, r"budget must be of type Budget. Got 1000 \(int\). Give varq.Budget\(shots=...\)"),
        ({"shots": 0}, "shots must be at least 1"),
        ({"shots": 1e3}, "shots must be an integer"),
        ({"on_error": "stop"}, "on_error must be one of 'abort', 'continue'"),
        ({"progress": "no"}, "progress must be True or False"),
        ({"retry": 3}, "retry must be of type Retry"),
    ],
)
def test_a_session_s_arguments_are_checked(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        Session(**{"store": None, "progress": False, **wrong})


def test_runs_are_named_without_doubt() -> None:
    with Session("default.qubit", shots=100, store=None, progress=False) as session:
        run = session.start(tasks()[0])
        with pytest.raises(LookupError, match=f"have not ended. Got 'zz'. Such runs: {run.id[:8]}"):
            session.cancel("zz")
        with pytest.raises(TypeError, match="run must be of type str"):
            session.pause(3)  # type: ignore[arg-type]
        ids = [session.start(replace(tasks()[0], seed=seed)).id for seed in range(17)]
        (digit, count), *_ = Counter(name[0] for name in ids).most_common(1)
        assert count > 1, "17 ids begin with 16 digits"
        with pytest.raises(LookupError, match=f"a beginning that fits one.* Got '{digit}'"):
            session.cancel(digit)


def test_a_drain_within_a_drain_is_refused_and_harms_nothing() -> None:
    said: list[str] = []

    def again(event: Any) -> None:
        if event.kind == "step" and not said:
            with pytest.raises(RuntimeError, match="stepped by one caller at a time"):
                session.drain()
            said.append(event.kind)

    with Session("default.qubit", shots=100, store=None, progress=False, observers=[again]) as session:
        for task in tasks():
            session.start(task)
        results = session.drain()
    assert said
    assert [result.steps for result in results] == [STEPS, STEPS]


@pytest.mark.parametrize("shots", [None, 20])
def test_a_run_past_its_deadline_stops_and_the_others_go_on(shots: int | None) -> None:
    problem, ansatz = TransverseFieldIsing(2), HardwareEfficient(wires=2, depth=1)
    late, other = (VQE(problem=problem, ansatz=ansatz, seed=seed, stop=Stop(steps=1)) for seed in (1, 2))
    with Session("default.qubit", shots=shots, store=None, progress=False) as session:
        session.start(late, deadline=0)
        session.start(other)
        stopped, done = session.drain()
        assert (stopped.reason, stopped.steps) == (Reason.STOPPED, 0)
        assert "deadline has passed. Give a later one" in stopped.message
        assert done.reason is Reason.STEPS
        session.start(late, deadline=600)
        assert session.drain()[0].reason is Reason.STEPS


def test_the_short_way_leaves_no_session_open(tmp_path: Path) -> None:
    service = Scripted()
    chain = Chain(device=service, shots=20, stop=Stop(steps=3))
    api.run(chain, store=tmp_path, progress=False)
    assert (service.calls.count("open"), service.calls[-1]) == (1, "close")
    run = api.start(replace(chain, seed=1), store=tmp_path, progress=False)
    run.step(1)
    assert service.calls.count("close") == 1, "more steps may follow"
    run.stop()
    assert run.finish().reason is Reason.STOPPED
    assert service.calls.count("close") == 2
    assert run.finish().reason is Reason.STEPS
    assert (service.calls.count("open"), service.calls.count("close")) == (3, 3)
    with open_store(tmp_path) as store:
        sessions = [(record.state, store.jobs.owner(record.id)) for record in store.jobs.sessions()]
    assert sessions == [(SessionState.CLOSED, None)] * 2


def test_a_qaoa_that_used_up_its_budget_ends_without_its_last_sample() -> None:
    task = QAOA(problem=MaxCut(((0, 1), (1, 2))), optimizer=SPSA(), stop=Stop(steps=1))
    with Session("default.qubit", shots=10, store=None, progress=False) as session:
        step = session.forecast(task).shots - 20  # without the value and the sample of the last point
    with Session(
        "default.qubit", shots=10, budget=Budget(shots=step, reserve=0), store=None, progress=False
    ) as session:
        result = session.run(task)
        assert (result.reason, result.steps) == (Reason.STEPS, 1)
        assert sum(line.shots for line in session.ledger()) == step


def test_a_device_of_another_s_costs_what_its_price_says() -> None:
    tape = qml.tape.make_qscript(lambda: (qml.X(0), qml.expval(qml.Z(0))))()
    fee = {"default.qubit": {"per_shot": 0.01, "dated": "2026", "source": "a test"}}
    device, budget = qml.device("default.qubit", wires=1), Budget(cost=0.25, reserve=0)
    with Session(device, shots=10, prices=fee, budget=budget, store=None, progress=False) as session:
        for seed in range(2):
            session.submit([tape], seed=seed).result()
        with pytest.raises(BudgetError, match=r"the budget of 0\.25 cost is used up: 0\.2 used"):
            session.submit([tape], seed=2)
        assert [line.cost for line in session.ledger()] == pytest.approx([0.1, 0.1])


def test_a_budget_of_money_needs_the_price_of_any_device() -> None:
    tape = qml.tape.make_qscript(lambda: (qml.X(0), qml.expval(qml.Z(0))))()
    with (
        Session("reference.qubit", shots=10, budget=Budget(cost=1.0), store=None, progress=False) as session,
        pytest.raises(ValueError, match=r"needs the device's price\. None is known for reference\.qubit.*prices="),
    ):
        session.submit([tape])
