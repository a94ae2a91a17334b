"""PennyLane devices that reach a machine of somebody's account: no job of theirs is paid for twice unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import DefaultQubit
from pennylane.tape import QuantumScript
from session_samples import task
from session_service import Crash

import varq
from varq import Session, spec
from varq.devices.catalog import abilities, open_service, usable
from varq.devices.choice import Given
from varq.devices.faults import GoneError, UncertainError
from varq.devices.local import LocalService
from varq.devices.service import Circuit, run_now
from varq.node.nodes import Nodes

pytestmark = pytest.mark.flagless

PAID = varq.device("default.qubit", paid=True)


class Machine(DefaultQubit):
    """Stands for a plug-in's device: counts what runs on it, and may die while it waits for an answer."""

    ran = 0
    dies_at: int | None = None

    @property
    def name(self) -> str:
        return "ionq.qpu"

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        found = super().execute(circuits, execution_config)
        for _ in circuits:
            self.ran += 1
            if self.ran == self.dies_at:
                raise Crash
        return found

    def reseed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)


def one(shots: int = 5) -> Circuit:
    tape = QuantumScript([qml.X(0)], [qml.sample(wires=[0])], shots)
    return Circuit(tape, 1, shots, 1, "a flip", np.zeros(0))


def test_what_is_known_of_a_device_by_its_name_or_from_a_person() -> None:
    machine = Machine(wires=2)
    paid = {
        "reference.qubit": False,
        "qiskit.remote": True,
        "ionq.simulator": True,
        "braket.aws.qubit": True,
    }
    for name, expected in paid.items():
        assert abilities(Named(name)).paid is expected
    assert abilities(machine).paid
    assert not abilities(varq.device(machine, paid=False)).paid
    assert abilities(varq.device(DefaultQubit(), paid=True)).paid
    assert not abilities("default.qubit").paid
    able = abilities(PAID)
    assert (able.paid, able.analytic, able.noise, able.seeded) == (True, False, True, True)
    assert abilities(varq.spread(PAID, "varq.qubit")).paid
    assert [open_service(one).paid for one in (PAID, machine, "default.qubit")] == [True, True, False]


class Named(DefaultQubit):
    """A device object that goes by a plug-in's name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._called = name

    @property
    def name(self) -> str:
        return self._called

    def reseed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)


def test_an_object_is_its_own_whatever_its_name() -> None:
    """A device of Braket's plug-in is called as varq's own devices are, and was taken for one of them."""
    device = Named("braket.local.qubit")
    service = open_service(varq.device(device, paid=False))
    assert isinstance(service, LocalService)
    assert run_now(service, [one()])[0].tolist() == [[1]] * 5


def test_a_device_that_is_said_to_cost_is_the_same_device_in_a_run() -> None:
    assert spec.identity(task(device=PAID, shots=9)) == spec.identity(task(device="default.qubit", shots=9))
    assert spec.loads(spec.dumps(PAID)) == PAID
    assert '"paid":true' in spec.dumps(PAID)
    assert "paid" not in spec.dumps(varq.device("default.qubit"))
    given = varq.device(Machine(wires=2), paid=True)
    assert isinstance(given, Given)
    assert (usable(given) is given, str(given)) == (True, "ionq.qpu")


def test_a_job_that_a_crash_left_open_is_not_paid_for_again_unasked(tmp_path: Path) -> None:
    """The process dies while the second job runs: what the first one measured is kept, of the second nobody knows."""
    undisturbed, machine = Machine(wires=2), Machine(wires=2)
    with Session(varq.device(undisturbed, paid=True), shots=20, store=None, progress=False) as session:
        wanted = session.run(task())
        jobs = [line.circuits for line in session.ledger()]
    assert sum(jobs) == undisturbed.ran

    device = varq.device(machine, paid=True)
    machine.dies_at = jobs[0] + jobs[1]
    mine = task(device=spec.Opaque(device, "machine"))
    with Session(device, shots=20, store=tmp_path, progress=False) as session:
        run = session.start(mine)
        with pytest.raises(Crash, match="the process dies"):
            run.finish()
    dead = machine.ran
    for _ in range(2):  # however often it is tried
        with (
            Session(device, shots=20, store=tmp_path, progress=False) as session,
            pytest.raises(UncertainError, match=r"Whether job varq-\w+ ran, and was paid for, is not known here"),
        ):
            session.resume(run.id, objects={"machine": device})
    assert machine.ran == dead
    with Session(device, shots=20, store=tmp_path, progress=False) as session:
        known = [job for one in session.store.jobs.sessions() for job in session.store.jobs.jobs(one.id)]
        assert [job.state.value for job in known] == ["done", "uncertain"]
        job = known[-1]
        with pytest.raises(GoneError, match="lives in the process that sent it"):
            session.settle(job.id, provider_id="job 7")
        assert session.settle(job.id, lost=True) == "unsent"
        result = session.resume(run.id, objects={"machine": device})
    assert machine.ran == undisturbed.ran + jobs[1], "what the lost job held, and nothing else, ran twice"
    assert (result.value, result.stderr) == (wanted.value, wanted.stderr)


def test_what_was_measured_outlives_the_process(tmp_path: Path) -> None:
    machine = Machine(wires=2)
    device = varq.device(machine, paid=True)
    with Session(device, shots=20, store=tmp_path, progress=False) as session:
        session.submit([one().tape]).result()
        (job,) = session.store.jobs.jobs(session.id)
        assert (job.paid, job.state.value, job.seconds) == (True, "done", None)
        assert session.store.jobs.bits(job.id, 0).tolist() == [[1]] * 5


def test_an_error_of_a_paid_device_leaves_its_job_open() -> None:
    class Broken(Machine):
        def execute(self, circuits: Any, execution_config: Any = None) -> Any:
            raise ValueError("no such qubit")

    wanted = r"must give bits\. It ended in an error, and may have been paid for\. ValueError: no such qubit"
    with pytest.raises(UncertainError, match=wanted):
        open_service(Broken(wires=1)).submit([one()], "tag")
    with pytest.raises(ValueError, match="no such qubit"):
        open_service(varq.device(Broken(wires=1), paid=False)).submit([one()], "tag")


def test_a_paid_device_runs_nothing_beside_the_journal() -> None:
    with pytest.raises(ValueError, match=r"Circuits reach default\.qubit through a session"):
        run_now(open_service(PAID), [one()])
    with pytest.raises(ValueError, match=r"gives samples, which a journal keeps\. Got shots=None on default\.qubit"):
        Nodes(PAID).cost(lambda x: qml.RX(x[0], 0), qml.Z(0), wires=1, shape=(1,))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: varq.device("ibm.torino", paid=False), ValueError, r"Got paid=False for ibm\.torino, which tells"),
        (lambda: varq.device(Machine(wires=1)), ValueError, r"paid=True or paid=False is said .* Got nothing"),
        (lambda: varq.device(Machine(wires=1), paid=True, mode="batch"), ValueError, "Got mode"),
        (lambda: varq.device(Machine(wires=1), paid=True, wires=3), ValueError, "Got wires"),
        (lambda: varq.device(3, paid=True), TypeError, "name must be of type Device. Got 3"),
        (lambda: varq.device("default.qubit", paid="yes"), TypeError, "paid must be"),
    ],
)
def test_mistakes(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
