"""Every device that the README's table names, in a session: circuits really run, and their numbers are right.

`conftest.py` says at the end of the tests how many circuits ran on each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import varq
from varq.algorithms import VQE
from varq.ansatze import HardwareEfficient
from varq.problems import TransverseFieldIsing
from varq.session.session import Session

pytestmark = pytest.mark.flagless

SHOTS = 200
SIGMAS = 5.0  # standard errors that a mean may be off, at a fixed seed
LIFTED = 0.5  # of 3: most that the noise of a machine moves the energy of two wires and one CNOT
CHAIN = TransverseFieldIsing(2)
ANSATZ = HardwareEfficient(wires=2, depth=1)


def ibm_account() -> Any:
    from ibm_stub import Server, StubService

    from varq.devices.ibm import open_ibm

    return open_ibm("ibm.stub", 2, client=StubService(Server()), settled=0.0, mode="session")


def aws() -> Any:
    from braket_cloud import QPU, Cloud

    from varq.devices.braket import open_braket

    cloud = Cloud(QPU)
    return open_braket(f"braket.{cloud.arn}", 2, aws_session=cloud.session(), s3=("bucket", "folder"))


IBM, BRAKET = pytest.mark.ibm, pytest.mark.braket
# One that varq does not know: its generator has a seed of its own, which varq cannot set for each circuit.
UNSEEDED = pytest.mark.filterwarnings("ignore:varq cannot set the random seed of reference.qubit")
DEVICES: dict[str, tuple[Callable[[], Any], float, Any]] = {
    "varq.qubit": (lambda: "varq.qubit", 0.0, ()),
    "lightning.qubit": (lambda: "lightning.qubit", 0.0, ()),
    "default.qubit": (lambda: "default.qubit", 0.0, ()),
    "default.mixed": (lambda: varq.device("default.mixed", readout_prob=0.02), LIFTED, ()),
    "reference.qubit": (lambda: varq.device("reference.qubit", seed=7), 0.0, UNSEEDED),
    "a device object of PennyLane": (lambda: qml.device("default.qubit", wires=2), 0.0, ()),
    "qiskit-aer": (lambda: "qiskit-aer", 0.0, IBM),
    "qiskit-aer, noise of fake_manila": (lambda: varq.device("qiskit-aer", noise="fake_manila"), LIFTED, IBM),
    "ibm.fake_manila": (lambda: "ibm.fake_manila", LIFTED, IBM),
    "ibm.fake_torino": (lambda: "ibm.fake_torino", LIFTED, IBM),
    "ibm.<machine>, a stub of IBM's own classes": (ibm_account, 0.0, IBM),
    "braket.local": (lambda: "braket.local", 0.0, BRAKET),
    "braket.local_dm": (lambda: varq.device("braket.local_dm", noise={"readout": 0.02}), LIFTED, BRAKET),
    "braket.emulator": (lambda: "braket.emulator", LIFTED, BRAKET),
    "braket.<ARN>, answers of ours to AWS's own client": (aws, 0.0, BRAKET),
}
"""How each is opened, how far its noise moves the energy, and the mark of its extra."""


def energy(parameters: Any) -> float:
    """By default.qubit, exactly."""

    @qml.qnode(qml.device("default.qubit", wires=2))
    def circuit() -> Any:
        ANSATZ(parameters)
        return qml.expval(CHAIN.hamiltonian)

    return float(circuit())


@pytest.mark.parametrize("name", [pytest.param(name, marks=row[2]) for name, row in DEVICES.items()])
def test_a_session_on_each_device(name: str, record_property: Callable[[str, Any], None]) -> None:
    opened, lifted, _ = DEVICES[name]
    task = VQE(problem=CHAIN, ansatz=ANSATZ, optimizer="adam", stop=varq.Stop(steps=1), seed=3)
    flipped = qml.tape.make_qscript(lambda: (qml.X(1), qml.probs(wires=[0, 1])))()
    with Session(opened(), shots=SHOTS, store=None, progress=False) as session:
        session.start(task)
        (result,) = session.drain()
        (read,) = session.submit([flipped, flipped]).result()[1:]
    ledger = session.ledger()
    assert result.stderr is not None
    assert abs(result.value - energy(result.parameters)) < SIGMAS * result.stderr + lifted
    assert np.argmax(read) == 1, "wire 0 is the first bit"
    assert all(line.state.value == "done" for line in ledger)
    assert [line.circuits for line in ledger][-1] == 1, "equal circuits are sent once"
    assert ledger[0].circuits > 2, "a gradient is one job"
    record_property("ran", [name, sum(line.circuits for line in ledger), len(ledger)])
