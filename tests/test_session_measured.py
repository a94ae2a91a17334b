"""Circuits that measure in their middle as jobs: the bits of the device alone, and all that holds for jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from harness import printed
from measured_samples import BITS, CIRCUITS, NONE, SHOTS, TASKS, each, flip, measured, phases, planned, structure, told
from session_service import SESSION, Scripted, dispatcher, states, store_of
from simulator_branches import fits

import varq
from varq import spec
from varq.algorithms import Shor
from varq.algorithms.correction import LogicalTeleportation
from varq.devices.catalog import open_device, open_service
from varq.devices.digests import content_digest
from varq.devices.local import LocalService
from varq.devices.service import run_now
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Reason, Reply, Sample, Stop
from varq.session.session import Session
from varq.session.tickets import Ticket
from varq.simulator import from_host
from varq.store.store import open_store

pytestmark = pytest.mark.flagless  # varq computes in float64 blocks of its own

PLACE = ("run", 0, "step")


# -- the bits ------------------------------------------------------------------------------------------------------


def test_a_job_has_the_bits_of_the_device_alone() -> None:
    key = Key.from_seed(3)

    @qml.set_shots(SHOTS)
    @qml.qnode(qml.device("varq.qubit", wires=2, seed=key.seed()))
    def circuit() -> Any:
        return qml.sample(measured(NONE))

    prepared = Nodes().bits(measured, wires=2).prepare(Sample(NONE, SHOTS), key)
    (bits,) = run_now(open_service("varq.qubit"), prepared.circuits)
    np.testing.assert_array_equal(bits, circuit())
    assert prepared.circuits[0].width == BITS


@pytest.mark.parametrize("name", TASKS)
def test_a_session_has_the_bits_of_a_run_without(name: str, tmp_path: Path) -> None:
    task, plan = TASKS[name], planned(TASKS[name])
    with Session(shots=SHOTS, store=tmp_path, progress=False) as session:
        forecast = session.forecast(replace(task, stop=Stop(steps=1)))
        result = session.run(task)
        (line,) = session.ledger()
    assert (forecast.circuits, forecast.jobs, forecast.shots) == (1, 1, SHOTS)
    assert (line.circuits, line.shots, result.executions) == (1, SHOTS, 1)
    with open_store(tmp_path) as store:
        (row,) = store.rows(result.run_id)
        reply: Reply = spec.loads(row.reply, store.array)
    asked = plan.method.ask(plan.method.init(plan.start, Key.from_seed(0)))
    assert isinstance(asked, Sample)
    np.testing.assert_array_equal(reply.outcomes, plan.evaluate(asked, Key(bytes.fromhex(row.key))).outcomes)


def test_shots_beyond_the_limit_of_a_job_have_the_law_still() -> None:
    device = varq.device("varq.qubit", limits={"shots": 900})
    with Session(device, shots=4000, store=None, progress=False) as session:
        result = session.run(phases())
        (line,) = session.ledger()
    assert (line.circuits, line.shots) == (5, 4000)
    dense = np.zeros(1 << BITS)
    dense[result.details["outcomes"]] = result.details["frequencies"]
    assert fits(np.round(4000 * dense), result.details["law"])


def test_a_spread_of_devices_that_can_shares_the_shots() -> None:
    quiet = varq.device("varq.qubit", readout_error=0.0)
    with Session(varq.spread("varq.qubit", quiet), shots=300, store=None, progress=False) as session:
        result = session.run(phases(seed=1))
        shares = [line.shots for line in session.ledger()]
    assert shares == [150, 150]
    assert abs(result.deviation) < 5 * result.stderr


@pytest.mark.parametrize("device", ["default.qubit", "varq.qubit"])
def test_rounds_run_as_a_job_on_any_simulator_of_states(device: str) -> None:
    rounds, key = Nodes(device).rounds(flip, each, BITS, wires=2), Key.from_seed(5)
    store = store_of()
    sender = dispatcher(open_service(device), store)
    ticket = sender.add(PLACE, rounds.prepare(Sample(NONE, SHOTS), key).circuits)
    assert isinstance(ticket, Ticket)
    assert sender.turn()
    np.testing.assert_array_equal(ticket.outcome()[0], rounds.evaluate(Sample(NONE, SHOTS), key).outcomes)
    assert states(store) == ["done"]


def test_the_decoder_is_timed_within_its_job() -> None:
    task = LogicalTeleportation(p=0.03, rounds=1, noise="phenomenological", batch=200, seed=3)
    with Session(shots=400, store=None, progress=False) as session:
        result = session.run(task)
        assert [line.shots for line in session.ledger()] == [200, 200]
    latency = result.details["latency"]
    assert 0 < latency["mean"] <= latency["worst"]
    assert result.details["simulated_round"] > 0


# -- budgets -------------------------------------------------------------------------------------------------------


def test_a_budget_of_shots_counts_them() -> None:
    task = phases(seed=2)
    with Session(shots=SHOTS, budget=varq.Budget(shots=2 * SHOTS - 1), store=None, progress=False) as session:
        first = session.run(task)
        assert first.reason is Reason.CONVERGED
        other = session.run(phases(seed=3))
        assert (other.reason, other.value, other.executions) == (Reason.BUDGET, None, 0)
        assert sum(line.shots for line in session.ledger()) == session.forecast(task).shots == SHOTS


def test_order_finding_ends_where_its_budget_does() -> None:
    with Session(budget=varq.Budget(shots=2), store=None, progress=False) as session:
        result = session.run(Shor(15, base=7, shots=1, seed=0, attempts=50))
        used = sum(line.shots for line in session.ledger())
    assert used == result.steps == len(result.details["attempts"]) <= 2
    assert (result.reason is Reason.BUDGET) == (result.details["factors"] is None)


# -- who runs them -------------------------------------------------------------------------------------------------


def test_other_devices_refuse_before_anything_is_queued() -> None:
    prepared = Nodes().bits(measured, wires=2).prepare(Sample(NONE, 5), Key.from_seed(0))
    service, store = Scripted(), store_of()
    sender = dispatcher(service, store)
    with pytest.raises(ValueError, match=r"holds Python functions, .* Got one for scripted. Use varq.qubit"):
        sender.add(PLACE, prepared.circuits)
    assert (service.calls, store.jobs.jobs(SESSION), len(sender.queue)) == ([], [], 0)
    with pytest.raises(ValueError, match=r"Got one for default.qubit. Use varq.qubit"):
        run_now(open_service("default.qubit"), prepared.circuits)
    with pytest.raises(ValueError, match="Got one for scripted"):  # a program is no data either
        sender.add(PLACE, Nodes().rounds(flip, each, BITS, 2).prepare(Sample(NONE, 5), Key.from_seed(0)).circuits)


@pytest.mark.parametrize("device", ["default.qubit", varq.spread("varq.qubit", "default.qubit")], ids=str)
def test_runs_on_them_are_refused_when_they_are_made(device: Any) -> None:
    with Session(device, shots=SHOTS, store=None, progress=False) as session:
        with pytest.raises(ValueError, match=r"varq.qubit alone takes. Got device='.*default.qubit"):
            session.run(phases())
        with pytest.raises(ValueError, match="A decoder in the loop needs a device"):
            session.run(LogicalTeleportation())
        assert len(session.ledger()) == 0
    with pytest.raises(ValueError, match=r"A circuit that measures in its middle needs .* Got device='default.qubit'"):
        Nodes("default.qubit").bits(measured, wires=2).prepare(Sample(NONE, 5), Key.from_seed(0))


@pytest.mark.parametrize("control", ["semiclassical", "qft"])
def test_devices_of_samples_alone_want_shots(control: str) -> None:
    quiet = varq.device("varq.qubit", readout_error=0.0)
    task = replace(phases(), control=control)
    with (
        Session(varq.spread("varq.qubit", quiet), store=None, progress=False) as session,
        pytest.raises(ValueError, match=r"Exact probabilities need .* Got shots=None on spread\(.* Give shots"),
    ):
        session.run(task)


# -- what a circuit is ---------------------------------------------------------------------------------------------


def test_circuits_that_differ_have_other_digests() -> None:
    found = {name: structure(act) for name, act in CIRCUITS.items()}
    assert len(set(found.values())) == len(CIRCUITS), found
    assert found == {name: structure(act) for name, act in CIRCUITS.items()}  # made anew, with other random names


def test_digests_are_the_same_in_another_process() -> None:
    here = Path(__file__).parent
    code = "import json, measured_samples; print(json.dumps(measured_samples.told()))"
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == told()


def test_what_cannot_be_told_counts_by_its_class_and_is_never_sent_once_for_two() -> None:
    """An object without a word for itself has the same digest as another of its class, and a job of its own."""

    class Silent:
        def __init__(self, says: int) -> None:
            self.says = says

        def __call__(self, bits: Any) -> Any:
            return np.full((len(bits), 1), self.says)

    def circuit(silent: Silent) -> Any:
        def queue(x: Any) -> list[Any]:
            (said,) = from_host(silent, qml.measure(0))
            qml.cond(said, qml.X)(0)
            return [qml.measure(0)]

        return queue

    asked = [Nodes().bits(circuit(Silent(k)), 1).prepare(Sample(NONE, 5), Key.from_seed(0)) for k in (0, 1)]
    (zero,), (one,) = (prepared.circuits for prepared in asked)
    assert zero.digest == one.digest
    assert content_digest(Silent(0)) == content_digest(Silent(1))
    store = store_of()
    sender = dispatcher(open_service("varq.qubit"), store)
    tickets = [sender.add(("run", k, "step"), (circuit_,)) for k, circuit_ in enumerate((zero, one))]
    while sender.turn():
        pass
    assert [ticket.outcome()[0].ravel().tolist() for ticket in tickets if isinstance(ticket, Ticket)] == [
        [0] * 5,
        [1] * 5,
    ]


# -- kills ---------------------------------------------------------------------------------------------------------


def test_what_a_paid_simulator_measured_is_found_again(tmp_path: Path) -> None:
    """A process that ended after its job: the next one makes its circuits anew, and takes their bits from the store."""
    runs: list[int] = []

    def opened(wires: int) -> Any:
        runs.append(wires)
        return open_device("varq.qubit", wires).device

    def service() -> LocalService:
        return LocalService("varq.qubit", opened, lambda device, seed: device.reseed(seed), paid=True, middle=True)

    def circuits() -> Any:
        return Nodes().bits(measured, wires=2).prepare(Sample(NONE, SHOTS), Key.from_seed(1)).circuits

    with store_of(tmp_path) as store:
        sender = dispatcher(service(), store)
        first = sender.add(PLACE, circuits())
        assert sender.turn()
    with open_store(tmp_path) as store:
        again = dispatcher(service(), store).add(PLACE, circuits())
        assert isinstance(first, Ticket)
        assert isinstance(again, Ticket)
        assert again.finished
        np.testing.assert_array_equal(again.outcome()[0], first.outcome()[0])
        assert states(store) == ["done"]
    assert runs == [2]


HARNESS = """
import json, sys, warnings
from pathlib import Path
warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # no JAX computation has started in the parent
import numpy as np
from varq.algorithms import QPE
from varq.problems import EigenPhase
from varq.testing.kills import Kill, chain_of_kills

def task():
    problem = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
    return QPE(problem=problem, bits=4, control="semiclassical", device="varq.qubit", shots=60, seed=4)

def report(name, kills=()):
    Path(name).mkdir()
    found = chain_of_kills(task, Path(name), kills)
    return found.value, found.lives, sum(found.executed.values()), found.outside, repr(found.trace())

straight = report("straight")
for point in ("after journal", "inside tell", "after execute"):
    killed = report(point.replace(" ", "-"), (Kill(point, 0),))
    print(json.dumps([point, killed[0] == straight[0], killed[1], killed[2], killed[3], killed[4] == straight[4]]))
"""


def test_a_run_killed_between_its_job_and_its_method_does_not_run_again(tmp_path: Path) -> None:
    found = {point: rest for point, *rest in printed(HARNESS, tmp_path)}
    # The same value after two lives; how often the device ran; nothing outside of steps; the same journal.
    assert found["after journal"] == found["inside tell"] == [True, 2, 1, 0, True]
    # Nothing was paid for, and the journal had no reply: the same bits are drawn once more.
    assert found["after execute"] == [True, 2, 2, 0, True]
