"""Forecasts where a device cannot be opened, and what they say of money that nobody knows yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from session_samples import Metered, task

from varq import names
from varq.algorithms import QPE, VQE, Minimize, PhaseEstimation, Shor
from varq.algorithms.correction import LogicalTeleportation
from varq.ansatze import HardwareEfficient
from varq.devices.catalog import device
from varq.devices.faults import PermanentError
from varq.devices.prices import Price, price
from varq.problems import EigenPhase, TransverseFieldIsing
from varq.protocol import Event, Stop
from varq.session import desk
from varq.session.budget import Budget
from varq.session.dispatch import Dispatcher
from varq.session.forecast import Forecast
from varq.session.session import Session

pytestmark = pytest.mark.flagless

TASK = VQE(
    problem=TransverseFieldIsing(2), ansatz=HardwareEfficient(wires=2, depth=1), optimizer="adam", stop=Stop(steps=4)
)

EIGEN = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)


def refuse(device: Any, precision: str) -> Any:
    raise PermanentError("no account is saved.")


def lack(device: Any, precision: str) -> Any:
    raise ModuleNotFoundError("pip install 'varq[ibm]'")


def told(device: Any, spec: Any = TASK, **options: Any) -> tuple[Forecast, list[Event]]:
    """The forecast, and what was said beside it."""
    events: list[Event] = []
    with Session(device, shots=100, store=None, progress=False, observers=[events.append], **options) as session:
        found = session.forecast(spec)
        assert session.store.jobs.sessions() == [], "a forecast alone leaves nothing behind"
    return found, events


@pytest.mark.parametrize(("fails", "why"), [(refuse, "no account is saved"), (lack, r"pip install 'varq[ibm]'")])
def test_no_account_is_needed(fails: Callable[..., Any], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, silent = told("varq.qubit")
    assert silent == []
    monkeypatch.setattr(desk, "open_service", fails)
    there, said = told("ibm.torino")
    assert (there.circuits, there.shots, there.jobs, there.steps) == (here.circuits, here.shots, here.jobs, here.steps)
    assert why in said[0].info["message"]
    assert "reckoned with at most 10,000,000 shots in a job" in said[0].info["message"]


def test_money_for_seconds_that_nobody_knows_is_not_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "open_service", refuse)
    mine = {"ibm.*": Price(per_second=1.0, dated="2026", source="a test")}
    found, _ = told("ibm.torino", prices=mine)
    assert (found.seconds, found.cost, found.currency) == (None, None, "USD")
    assert "cost        not known before the first job" in str(found)


def test_seconds_and_their_money_are_expected_before_the_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "open_service", refuse)
    found, _ = told("ibm.torino")
    listed = price("ibm.torino")
    assert listed is not None
    assert found.seconds == pytest.approx(found.jobs * listed.job_seconds + found.shots * listed.shot_seconds)
    assert found.cost == pytest.approx(found.seconds * listed.per_second)


def requests(session: Session, spec: Any) -> list[list[int]]:
    """The shots of each circuit of each request of a run, as the session prepares them."""
    seen: list[list[int]] = []
    add = Dispatcher.add

    def noting(self: Dispatcher, place: Any, circuits: Any, **options: Any) -> Any:
        seen.append([circuit.shots for circuit in circuits])
        return add(self, place, circuits, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "add", noting)
        session.run(spec)
    return seen


WIDE = replace(TASK, ansatz=HardwareEfficient(wires=2, depth=10))  # a gradient of more than a hundred circuits


@pytest.mark.parametrize("spec", [TASK, WIDE], ids=["few circuits", "more than a program set holds"])
@pytest.mark.parametrize("name", ["braket.eu-north-1/Garnet", "braket.us-east-1/sv1"])
def test_tasks_on_aws_are_counted_without_an_account(spec: VQE, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: a program set takes a hundred circuits of the same shots; each circuit is a task of a simulator."""
    spec = replace(spec, stop=Stop(steps=1))
    with Session("default.qubit", shots=100, store=None, progress=False) as session:
        sent = requests(session, spec)
    assert (max(len(shots) for shots in sent) > 100) is (spec.ansatz.depth == 10)
    monkeypatch.setattr(desk, "open_service", refuse)
    found, said = told(name, spec=spec)
    listed = price(name)
    assert listed is not None
    total = sum(sum(shots) for shots in sent)
    assert (found.circuits, found.shots) == (sum(len(shots) for shots in sent), total)
    if name.endswith("sv1"):
        assert found.jobs == len(sent)
        assert found.cost is None, "money for seconds of which nothing is known"
        assert "each circuit is a quantum task" in said[0].info["message"]
        return
    jobs = [shots[k : k + 100] for shots in sent for k in range(0, len(shots), 100)]
    assert found.jobs == len(jobs)
    tasks = sum(len(set(shots)) for shots in jobs)
    assert found.cost == pytest.approx(tasks * listed.per_job + total * listed.per_shot)
    assert "at most 100 circuits in a quantum task" in said[0].info["message"]


def test_limits_of_one_s_own_count_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "open_service", refuse)
    found, _ = told(device("ibm.torino", limits={"circuits": 1}))
    assert found.jobs == found.circuits


def test_nothing_is_known_of_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "open_service", refuse)
    _, said = told("qiskit-aer")
    assert "Each request is taken to be one job" in said[0].info["message"]


def test_a_run_that_sends_nothing_is_said_to_be_computed_here() -> None:
    with Session(store=None, progress=False) as session:
        found = session.forecast(
            Minimize(lambda x: float(x @ x), np.ones(2), gradient="finite-diff", stop=Stop(steps=4))
        )
    assert (found.circuits, found.jobs, found.shots) == (0, 0, 0)
    assert str(found).splitlines()[1:] == ["circuits    none is sent: it is computed in this process"]


def test_a_vendor_s_machine_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    find = names.find

    def vendor(name: str) -> Metered:
        opened.append(name)
        return Metered(0.0, 0.0)

    monkeypatch.setattr(names, "find", lambda kind, name: vendor if kind == "device" else find(kind, name))
    with Session("ibm.torino", shots=20, store=None, progress=False) as session:
        session.forecast(task())
        for seed in range(2):
            session.start(task(steps=1, seed=seed), verify=seed == 0)
        session.drain()
    assert opened == ["ibm.torino"]


@pytest.mark.parametrize(
    "budget",
    [None, Budget(shots=50_000, reserve=0.2), Budget(seconds=1e6, reserve=0)],
    ids=["none", "with a reserve", "of seconds"],
)
def test_a_forecast_is_what_the_run_uses(budget: Budget | None) -> None:
    """The last estimate takes the reserve of a budget, and the forecast says so."""
    with Session("default.qubit", shots=100, budget=budget, store=None, progress=False) as session:
        found = session.forecast(task(steps=2))
        session.run(task(steps=2))
        used = session.ledger()
    assert found.circuits == sum(line.circuits for line in used)
    assert found.jobs == len(used)
    assert found.shots == pytest.approx(sum(line.shots for line in used), rel=0.01)
    assert budget is None or budget.shots is None or found.shots > 10_000


ENDING = {
    "one sample": (QPE(problem=EIGEN, bits=3), {"circuits": 1, "jobs": 1, "shots": 100}),
    "rounds": (PhaseEstimation(problem=EIGEN, policy="semiclassical", applications=31), {"steps": 5, "circuits": 5}),
    "chosen one by one": (PhaseEstimation(problem=EIGEN, applications=40), {}),
    "batches": (LogicalTeleportation(p=0.05, rounds=1, noise="phenomenological", batch=40), {"steps": 3, "jobs": 3}),
}


@pytest.mark.parametrize(("spec", "known"), ENDING.values(), ids=ENDING)
def test_a_method_that_ends_by_itself_is_reckoned_with_until_then(spec: Any, known: dict[str, int]) -> None:
    with Session("varq.qubit", shots=100, store=None, progress=False) as session:
        found = session.forecast(spec)
        result = session.run(spec)
        used = session.ledger()
    assert found.limited
    assert "no rule limits" not in str(found)
    # Where each experiment hangs on the outcomes before, another run has others: about as many.
    assert found.steps == pytest.approx(result.steps, abs=0 if known else 8)
    assert found.shots == pytest.approx(sum(line.shots for line in used), abs=0 if known else 8)
    assert {name: getattr(found, name) for name in known} == known


def test_attempts_are_the_most_that_may_be_made() -> None:
    with Session(store=None, progress=False) as session:
        found = session.forecast(Shor(15, base=7, attempts=7, shots=3))
    assert (found.steps, found.limited, found.shots) == (7, True, 21)


def test_where_a_method_ends_long_after_an_example_is_told() -> None:
    with Session("varq.qubit", store=None, progress=False) as session:
        found = session.forecast(PhaseEstimation(problem=EIGEN, applications=1 << 20, coherence=128.0))
    assert not found.limited
    assert "100 steps (an example" in str(found)
