"""What devices take for the circuits of a session; each figure with its count of jobs.

    python benchmarks/devices.py gradient [--calls 5] [--shots 1024]

gradient   a value and its parameter-shift gradient of a 4-qubit transverse-field Ising chain on IBM's snapshot of
           Manila, with its noise: 17 sets of 8 parameters x 2 measured groups are 34 circuits.  "a session's step" is
           one step of a VQE in a session with a store on disk: circuits made of the request, queue, journal, job,
           decoding, optimizer.  "34 circuits" is the job alone, of circuits that are there; the third is the same
           through `qml.device("varq.ibm")` and jax.value_and_grad.  pennylane-qiskit's `qiskit.remote` runs the same
           gradient, turn about, where it is installed: it wants older versions than the extra `ibm`, hence an
           environment of its own with `pip install pennylane-qiskit` and then `pip install --no-deps varq`.
Needs the extra `ibm`.  CPU seconds tell more than seconds where other programs run beside.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml

from varq.algorithms import VQE
from varq.ansatze import Circuit as Ansatz
from varq.devices.ibm import IBMService, open_ibm
from varq.devices.qiskit_circuits import signature
from varq.devices.service import Circuit
from varq.optimizers import Optax
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.session.session import Session

WIRES = 4
FIELD = 0.7
STEP = "a session's step"
MOST_JOBS = 1
MOST_SECONDS = 0.5  # a warm gradient
POINT = np.linspace(0.1, 0.8, 2 * WIRES)


def layers(params: Any) -> None:
    """The ansatz: rotations, a ladder of CNOTs, rotations."""
    for w in range(WIRES):
        qml.RY(params[w], wires=w)
    for w in range(WIRES - 1):
        qml.CNOT(wires=[w, w + 1])
    for w in range(WIRES):
        qml.RY(params[WIRES + w], wires=w)


def chain() -> Any:
    """The Hamiltonian."""
    pairs = [qml.Z(w) @ qml.Z(w + 1) for w in range(WIRES - 1)]
    return qml.Hamiltonian([-1.0] * (WIRES - 1) + [-FIELD] * WIRES, [*pairs, *(qml.X(w) for w in range(WIRES))])


def circuits(shots: int) -> list[Circuit]:
    """The value at `POINT` and two shifts of each parameter, each measured along Z and along X."""
    shifts = np.vstack([np.zeros((1, len(POINT))), *(s * np.pi / 2 * np.eye(len(POINT)) for s in (1, -1))])
    out = []
    for params in POINT + shifts:
        for along_x in (False, True):
            with qml.queuing.AnnotatedQueue() as queue:
                layers(params)
                if along_x:
                    for w in range(WIRES):
                        qml.Hadamard(w)
            ops = qml.tape.QuantumScript.from_queue(queue).operations
            tape = qml.tape.QuantumScript(ops, [qml.sample(wires=range(WIRES))])
            tape.trainable_params = list(range(len(params)))
            out.append(Circuit(tape, WIRES, shots, len(out), signature(tape), params))
    return out


def energies(bits: Any) -> Any:
    """The energy at each set of parameters, shape (17,)."""
    signs = [1.0 - 2.0 * np.asarray(b, dtype=float) for b in bits]
    along_z = np.array([-(s[:, :-1] * s[:, 1:]).sum(1).mean() for s in signs[::2]])
    along_x = np.array([-FIELD * s.sum(1).mean() for s in signs[1::2]])
    return along_z + along_x


def one_job(service: IBMService, sent: list[Circuit], sent_jobs: list[str]) -> tuple[float, Any]:
    """Value and gradient from one job."""
    service.compile(sent)
    sent_jobs.append(service.submit(sent, f"gradient-{len(sent_jobs)}"))
    found = energies(service.result(sent_jobs[-1]).bits)
    count = len(POINT)
    return float(found[0]), (found[1 : 1 + count] - found[1 + count :]) / 2


def stepped(session: Session, shots: int) -> tuple[Callable[[], tuple[float, Any]], list[Any]]:
    """A step of a VQE that asks for value and gradient, in a session; and the journal's jobs, as they come."""
    problem = TransverseFieldIsing(sites=WIRES, field=FIELD)
    ansatz = Ansatz(layers, shape=POINT.shape, wires=WIRES)
    sgd = Optax("sgd", learning_rate=0.0)  # the next step asks for the same point
    run = session.start(VQE(problem=problem, ansatz=ansatz, optimizer=sgd, initial=POINT, stop=Stop(steps=1000)))
    jobs: list[Any] = []

    def step() -> tuple[float, Any]:
        event = run.step()
        assert event is not None
        assert event.value is not None
        jobs[:] = session.store.jobs.jobs(session.id)
        return event.value, event.info["grad_norm"]

    return step, jobs


def through(device: Any, shots: int) -> Callable[[], tuple[float, Any]]:
    """Value and gradient by PennyLane and JAX on a device."""
    node = qml.QNode(lambda p: (layers(p), qml.expval(chain()))[1], device, diff_method="parameter-shift")
    call = jax.value_and_grad(qml.set_shots(node, shots))

    def run() -> tuple[float, Any]:
        value, grad = call(jnp.asarray(POINT))
        return float(value), np.asarray(grad)

    return run


def peer(shots: int) -> tuple[Callable[[], tuple[float, Any]], list[int]] | None:
    """The same through pennylane-qiskit, with a counter of its jobs; None where it is not installed."""
    try:
        importlib.metadata.version("pennylane-qiskit")
    except importlib.metadata.PackageNotFoundError:
        return None
    from qiskit_ibm_runtime import SamplerV2
    from qiskit_ibm_runtime.estimator import EstimatorV2
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    jobs: list[int] = []

    def counting(run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            jobs.append(1)
            return run(*args, **kwargs)

        return counted

    for kind in (SamplerV2, EstimatorV2):
        kind.run = counting(kind.run)
    device = qml.device("qiskit.remote", wires=WIRES, backend=FakeManilaV2())
    return through(device, shots), jobs


def gradient(calls: int, shots: int, session: Session) -> bool:
    """Print the table; whether the goal is met."""
    service = open_ibm("ibm.fake_manila", WIRES)
    device = qml.device("varq.ibm", wires=WIRES, backend="fake_manila", seed=1)
    sent_jobs: list[str] = []
    sent = circuits(shots)
    rows: dict[str, tuple[Callable[[], tuple[float, Any]], list[Any]]] = {
        STEP: stepped(session, shots),
        "varq, 34 circuits": (lambda: one_job(service, sent, sent_jobs), sent_jobs),
        "varq.ibm, value_and_grad": (through(device, shots), device.jobs),
    }
    if (other := peer(shots)) is not None:
        rows["pennylane-qiskit"] = other
    times: dict[str, list[float]] = {name: [] for name in rows}
    spent: dict[str, list[float]] = {name: [] for name in rows}
    counts = {}
    values = {}
    for _ in range(calls + 1):
        for name, (run, jobs) in rows.items():
            before, began, cpu = len(jobs), time.perf_counter(), time.process_time()
            value, grad = run()
            times[name].append(time.perf_counter() - began)
            spent[name].append(time.process_time() - cpu)
            counts[name] = len(jobs) - before
            values[name] = value, float(np.linalg.norm(grad))
    print(f"{'4-qubit chain, fake_manila':26s}  jobs  first s   warm s  warm CPU s   energy   |grad|")
    for name, taken in times.items():
        energy, norm = values[name]
        warm, busy = statistics.median(taken[1:]), statistics.median(spent[name][1:])
        print(f"{name:26s} {counts[name]:5d} {taken[0]:8.3f} {warm:8.3f} {busy:11.3f} {energy:8.4f} {norm:8.3f}")
    warm = statistics.median(times[STEP][1:])
    if other is None:
        print("pennylane-qiskit is not installed: nothing to compare with.")
    else:
        theirs = statistics.median(times["pennylane-qiskit"][1:])
        ratio = theirs / statistics.median(times["varq.ibm, value_and_grad"][1:])
        print(f"pennylane-qiskit takes {theirs / warm:.1f} times as long as a step, {ratio:.1f} times as varq.ibm.")
    met = counts[STEP] <= MOST_JOBS and warm <= MOST_SECONDS
    print(f"goal: {MOST_JOBS} job, at most {MOST_SECONDS} s warm: {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    """0 if the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gradient"])
    parser.add_argument("--calls", type=int, default=5, help="warm calls of each")
    parser.add_argument("--shots", type=int, default=1024)
    given = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peer, and of JAX's x64 flag: neither is measured here
        with (
            tempfile.TemporaryDirectory() as folder,
            Session("ibm.fake_manila", shots=given.shots, store=folder, progress=False) as session,
        ):
            return 0 if gradient(given.calls, given.shots, session) else 1


if __name__ == "__main__":
    raise SystemExit(main())
