"""The miniature cloud: right probabilities, durable jobs, and each fault as the error that says what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from varq.devices.catalog import device, open_service
from varq.devices.faults import ExpiredError, GoneError, PermanentError, TransientError, UncertainError
from varq.devices.service import Circuit, JobStatus
from varq.testing.cloud import CloudService, _payload
from varq.testing.cloud_gates import probabilities
from varq.testing.cloud_process import Cloud

EXACT = 1e-12
SHOTS = 20_000


def circuit(*gates: Any, wires: int = 2, shots: int = 10, seed: int = 0) -> Circuit:
    tape = QuantumScript(gates, [qml.sample(wires=range(wires))], shots)
    structure = hashlib.sha256(repr(gates).encode()).hexdigest()
    return Circuit(tape, wires, shots, seed, structure, np.zeros(0))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud) -> Iterator[Cloud]:
    if not running.running:
        running.start()
    running.plan()
    yield running
    running.plan()


def opened(cloud: Cloud, **options: Any) -> Any:
    service = open_service(device("cloud", url=cloud.url, **{"timeout": 60.0, **options}))
    service.open()
    return service


def gates(seed: int, wires: int) -> list[Any]:
    """One of each gate, and some that are made of them."""
    rng = np.random.default_rng(seed)
    w = [int(k) for k in rng.permutation(wires)]
    a = rng.uniform(-3, 3, size=8)
    single = [qml.Hadamard(w[0]), qml.S(w[1]), qml.T(w[0]), qml.X(w[2]), qml.Y(w[1]), qml.Z(w[0])]
    turned = [qml.RX(a[0], w[0]), qml.RY(a[1], w[1]), qml.RZ(a[2], w[2]), qml.PhaseShift(a[3], w[0])]
    pairs = [qml.CNOT([w[0], w[2]]), qml.CZ([w[1], w[0]]), qml.CNOT([w[2], w[1]])]
    made = [qml.IsingXX(a[4], [w[0], w[1]]), qml.Rot(*a[5:8], wires=w[2]), qml.adjoint(qml.S(w[0])), qml.SWAP(w[1:3])]
    return [*single, *turned, *pairs, *made, qml.Hadamard(w[1]), qml.DoubleExcitation(a[0], range(4))]


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_are_those_of_pennylane(seed: int) -> None:
    some = circuit(*gates(seed, 4), wires=4)
    tape = QuantumScript(some.tape.operations, [qml.probs(wires=range(4))])
    truth = qml.device("default.qubit", wires=4).execute((tape,))[0]
    assert probabilities(_payload(some)) == pytest.approx(truth, abs=EXACT)


def test_bits_have_the_probabilities_and_a_seed(cloud: Cloud) -> None:
    service = opened(cloud)
    made = gates(7, 4)
    sent = [circuit(*made, wires=4, shots=SHOTS, seed=k) for k in (1, 1, 2)]
    bits = service.result(service.submit(sent, "tag-of-bits")).bits
    assert np.array_equal(bits[0], bits[1])
    assert not np.array_equal(bits[0], bits[2])
    counts = np.bincount(bits[0] @ [8, 4, 2, 1], minlength=16) / SHOTS
    chances = probabilities(_payload(sent[0]))
    assert np.all(np.abs(counts - chances) <= 5 * np.sqrt(chances * (1 - chances) / SHOTS) + EXACT)


def submitted(cloud: Cloud) -> str:
    """The plan's name of the next submission."""
    return f"submit:{cloud.tally().calls['submit']}"


def test_a_job_outlives_the_service(cloud: Cloud) -> None:
    service = opened(cloud)
    cloud.plan(script={submitted(cloud): "die"})
    with pytest.raises(UncertainError, match=r"cloud must answer each call\. It did not"):
        service.submit([circuit(qml.X(1))], "tag-of-the-last")
    cloud.kill()  # and wait until it is dead
    with pytest.raises(TransientError, match=r"cloud cannot be reached: .* Is it running\?"):
        service.find("tag-of-the-last")
    cloud.start()
    job = service.find("tag-of-the-last")
    assert service.status(job) is JobStatus.DONE
    assert service.result(job).bits[0].tolist() == [[0, 1]] * 10
    assert cloud.tally().tags["tag-of-the-last"] == 1


@pytest.mark.parametrize(
    ("fault", "error", "match", "received"),
    [
        ("503", TransientError, "cloud is overloaded", 0),
        ("timeout", UncertainError, "did not: timed out", 0),
        ("lost", UncertainError, "did not", 1),
        ("duplicate", UncertainError, "answered another one", 1),
        ("expired", ExpiredError, "The session has expired", 0),
    ],
)
def test_each_fault_is_an_error_that_says_what_to_do(
    cloud: Cloud, fault: str, error: type[Exception], match: str, received: int
) -> None:
    service = opened(cloud)
    cloud.plan(script={submitted(cloud): fault})
    if fault == "timeout":
        service._timeout = 0.5
    tag = f"tag-of-{fault}"
    with pytest.raises(error, match=match):
        service.submit([circuit(qml.X(0))], tag)
    assert cloud.tally().tags[tag] == received
    patient = opened(cloud)
    assert (patient.find(tag) is not None) == bool(received)


def test_a_tag_that_comes_again_is_one_job_unless_the_plan_says_otherwise(cloud: Cloud) -> None:
    service = opened(cloud)
    jobs = {service.submit([circuit(qml.X(0))], "tag-of-two") for _ in range(2)}
    assert len(jobs) == 1
    cloud.plan(repeat=True)
    assert service.submit([circuit(qml.X(0))], "tag-of-two") not in jobs
    assert cloud.tally().tags["tag-of-two"] == 2
    assert cloud.tally().twice >= 1


@pytest.mark.parametrize("settled", [0.0, 60.0])
def test_a_job_is_listed_late_and_waited_for(cloud: Cloud, settled: float) -> None:
    """It is known by its id at once, by its tag later: who asks too early hears that there is none."""
    tag, service = f"tag-of-{settled}", opened(cloud, settled=settled)
    cloud.plan(script={submitted(cloud): "lost"}, lag=0.3 if settled else 600)
    with pytest.raises(UncertainError, match="did not"):
        service.submit([circuit(qml.X(0))], tag)
    assert cloud.tally().tags[tag] == 1
    found = service.find(tag)
    assert (found is not None) == bool(settled)
    cloud.plan(lag=600)
    service.expect([tag])
    job = service.submit([circuit(qml.X(0))], tag)  # the cloud itself knows what it has
    assert job == (found or job)
    assert service.tagged(job, tag)
    assert not service.tagged(job, "tag-of-another")
    with pytest.raises(GoneError, match="There is no job 'cloud-999'"):
        service.tagged("cloud-999", tag)


def test_jobs_that_wait_fail_or_are_cancelled(cloud: Cloud) -> None:
    service = opened(cloud)
    cloud.plan(script={submitted(cloud): "slow"}, slow=600)
    job = service.submit([circuit()], "tag-of-slow")
    assert service.status(job) is JobStatus.QUEUED
    with pytest.raises(PermanentError, match="The job has no result"):
        service.result(job)
    assert service.cancel(job)
    assert service.status(job) is JobStatus.CANCELLED
    cloud.plan(script={submitted(cloud): "failed"})
    assert service.status(service.submit([circuit()], "tag-of-failed")) is JobStatus.FAILED
    with pytest.raises(GoneError, match="There is no job 'cloud-999'"):
        service.status("cloud-999")


def test_a_session_expires_after_some_jobs(cloud: Cloud) -> None:
    service = opened(cloud)
    cloud.plan(session=1)
    service.submit([circuit()], "tag-of-first")
    with pytest.raises(ExpiredError, match="The session has expired"):
        service.submit([circuit()], "tag-of-second")
    service.open()
    service.submit([circuit()], "tag-of-second")
    service.close()
    with pytest.raises(ExpiredError, match="The session has expired"):
        service.submit([circuit()], "tag-of-third")


def test_gates_that_the_cloud_lacks_are_refused() -> None:
    service = CloudService(url="http://127.0.0.1:1")
    with pytest.raises(PermanentError, match=r"cloud runs RX, RY, .* alone"):
        service.compile([circuit(qml.DepolarizingChannel(0.1, 0))])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"url": "http://example.org:80"}, ValueError, "url must be one of this machine"),
        ({"url": "http://127.0.0.1"}, ValueError, "with a port"),
        ({"url": "http://127.0.0.1:1", "circuits": 0}, ValueError, "circuits must be at least 1"),
        ({"url": "http://127.0.0.1:1", "timeout": 0}, ValueError, "timeout must be greater than 0"),
        ({"url": "http://127.0.0.1:1", "settled": -1}, ValueError, "settled must be at least 0"),
        ({"url": "http://127.0.0.1:1", "mode": "batch"}, ValueError, "mode"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        CloudService(**options)


def test_it_must_start(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "cloud")
    (tmp_path / "cloud" / "cloud.sqlite").mkdir()
    with pytest.raises(RuntimeError, match="The cloud must listen"):
        cloud.start()
