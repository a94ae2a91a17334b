"""The device varq.qubit against default.qubit: operations, measurements, wires, options, and PennyLane's own suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pennylane.devices.tests as conformance
import pytest
from gate_cases import some
from pennylane import numpy as pnp
from pennylane.exceptions import DeviceError, WireError
from scipy.sparse import csr_matrix
from simulator_branches import fits, indices

from varq.simulator import compile_cache
from varq.simulator.preprocessing import NATIVE

# NumPy's arrays go in and come out: nothing here depends on JAX's flag.
pytestmark = pytest.mark.flagless

EXACT = 1e-10  # linear algebra in float64, a few dozen gates
HERMITIAN = np.array([[1.0, 0.3j], [-0.3j, 0.2]])
DEFAULT_QUBIT_PASSES = {"gates and gradients": 163, "the rest": 219}  # of PennyLane 0.45's device suite, shots None


def both(circuit: Callable[..., Any], *arguments: Any, wires: Any = 3, **options: Any) -> tuple[Any, Any]:
    """What the device and default.qubit give."""
    found = qml.QNode(circuit, qml.device("varq.qubit", wires=wires), **options)(*arguments)
    wanted = qml.QNode(circuit, qml.device("default.qubit", wires=wires), **options)(*arguments)
    return found, wanted


def check(circuit: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    found, wanted = both(circuit, *arguments, **options)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, atol=EXACT)


def entangle(angle: Any) -> None:
    for wire in range(3):
        qml.RX(angle + wire, wire)
    qml.CNOT([0, 1])
    qml.CNOT([1, 2])
    qml.RY(angle, 1)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda x: qml.Identity(0),
    "barrier": lambda x: qml.Barrier([0]),
    "snapshot": lambda x: qml.Snapshot(),
    "global phase": lambda x: qml.GlobalPhase(x),
    "adjoint": lambda x: qml.adjoint(qml.S(0)),
    "adjoint of many": lambda x: qml.adjoint(qml.QFT([0, 1, 2])),
    "trotter": lambda x: qml.TrotterProduct(qml.dot([0.25 * x, 0.75], [qml.X(0), qml.Z(0) @ qml.X(1)]), 2.4, order=2),
    "exponential": lambda x: qml.exp(qml.X(0) @ qml.Z(1), 1j * x),
    "evolution": lambda x: qml.evolve(2 * qml.X(0) + 0.3 * qml.X(1), x),
    "approximate evolution": lambda x: qml.ApproxTimeEvolution(qml.X(0) + 0.2 * qml.Z(1), x, 2),
    "commuting evolution": lambda x: qml.CommutingEvolution(qml.X(0) @ qml.X(1) + qml.Z(0) @ qml.Z(1), x),
    "controlled": lambda x: qml.ctrl(qml.Rot(x, 0.2, 0.3, 0), [1, 2], control_values=[0, 1]),
    "product": lambda x: qml.prod(qml.RX(x, 0), qml.CNOT([0, 1])),
    "select": lambda x: qml.Select([qml.RX(x, 0), qml.X(0)], control=[1]),
    "real power": lambda x: qml.pow(qml.Hadamard(0), 0.3),
    "power": lambda x: qml.pow(qml.RX(x, 0), 2),
    "matrix": lambda x: qml.QubitUnitary(qml.matrix(qml.QFT([0, 1, 2])), [2, 0, 1]),
    "diagonal": lambda x: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(8)), [0, 1, 2]),
    "preparation later": lambda x: qml.StatePrep(np.array([0.6, 0.8]), 2),
    "basis state later": lambda x: qml.BasisState([1], 2),
    "many controls": lambda x: qml.MultiControlledX([0, 1, 2], [0, 1]),
    "permutation": lambda x: qml.Permute([2, 0, 1], [0, 1, 2]),
    "grover": lambda x: qml.GroverOperator([0, 1, 2]),
    "work wire": lambda x: qml.ctrl(qml.RX(x, 0), [1]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    def circuit(angle: float) -> Any:
        qml.RX(0.3, 0)
        OPERATIONS[name](angle)
        return qml.expval(qml.Z(0)), qml.probs(wires=[0, 1])

    check(circuit, 0.4)


PREPARATIONS: dict[str, Callable[[], Any]] = {
    "state": lambda: qml.StatePrep(np.array([0.6, 0.8j]), 1),
    "basis state": lambda: qml.BasisState([1, 0], [2, 0]),
    "amplitudes": lambda: qml.AmplitudeEmbedding([1, 0, 1, 1], [0, 1], normalize=True),
    "padded": lambda: qml.AmplitudeEmbedding([1, 2, 3], [0, 1], normalize=True, pad_with=0.5),
    "window": lambda: qml.CosineWindow([0, 1]),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_preparations(name: str) -> None:
    def circuit() -> Any:
        PREPARATIONS[name]()
        qml.CNOT([0, 1])
        return qml.state()

    check(circuit)


MEASUREMENTS: dict[str, Callable[[], Any]] = {
    "pauli": lambda: qml.expval(qml.Z(0) @ qml.Y(1)),
    "sum": lambda: qml.expval(0.2 * qml.X(0) + 0.3 * qml.Z(0) @ qml.Y(1) - qml.Identity(0)),
    "hamiltonian": lambda: qml.expval(qml.Hamiltonian([0.2, 0.3], [qml.X(0), qml.Z(0) @ qml.Y(1)])),
    "hermitian": lambda: qml.expval(qml.Hermitian(HERMITIAN, 0)),
    "hermitian product": lambda: qml.expval(qml.Hermitian(HERMITIAN, 0) @ qml.Z(1)),
    "mixed sum": lambda: qml.expval(2 * qml.Hermitian(HERMITIAN, 0) + qml.Z(1)),
    "sparse": lambda: qml.expval(qml.SparseHamiltonian(csr_matrix(np.diag(np.arange(1.0, 9))), [2, 0, 1])),
    "projector": lambda: qml.expval(qml.Projector([0, 1], [0, 1])),
    "state projector": lambda: qml.expval(qml.Projector(np.array([0.6, 0.8]), [0])),
    "variance": lambda: qml.var(qml.X(0) + qml.Z(1)),
    "hermitian variance": lambda: qml.var(qml.Hermitian(HERMITIAN, 0)),
    "probabilities": qml.probs,
    "some probabilities": lambda: qml.probs(wires=[2, 0]),
    "rotated probabilities": lambda: qml.probs(op=qml.X(0)),
    "state": qml.state,
    "density matrix": lambda: qml.density_matrix([2, 1]),
    "purity": lambda: qml.purity([0]),
    "entropy": lambda: qml.vn_entropy([0], log_base=2),
    "mutual information": lambda: qml.mutual_info([0], [1]),
    "several": lambda: (qml.expval(qml.Z(0)), qml.probs(wires=0), qml.expval(qml.X(1)), qml.state()),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements(name: str) -> None:
    def circuit(angle: Any) -> Any:
        entangle(angle)
        return MEASUREMENTS[name]()

    check(circuit, 0.3)
    if name in ("state", "density matrix", "several"):
        return
    angle = pnp.array(0.3, requires_grad=True)
    slopes = [qml.jacobian(qml.QNode(circuit, qml.device(d, wires=3)))(angle) for d in ("varq.qubit", "default.qubit")]
    np.testing.assert_allclose(*slopes, atol=1e-8)  # entropies lose digits near pure states


@pytest.mark.parametrize("wires", [None, ["a", "b", 7], [2, 0, 1]])
def test_wires(wires: Any) -> None:
    labels = [0, 1, 2] if wires is None else wires

    def circuit() -> Any:
        qml.RX(0.3, labels[1])
        qml.CNOT([labels[1], labels[2]])
        return qml.state(), qml.probs(wires=[labels[2], labels[1]]), qml.expval(qml.Z(labels[1]) @ qml.Z(labels[0]))

    check(circuit, wires=wires)


def test_unknown_wire_is_refused() -> None:
    with pytest.raises(WireError, match="not found on the device"):
        qml.QNode(lambda: (qml.X(5), qml.expval(qml.Z(0)))[1], qml.device("varq.qubit", wires=2))()


def test_allocated_wires() -> None:
    def circuit() -> Any:
        qml.RX(0.3, 0)
        with qml.allocate(1, state="zero", restored=True) as work:
            qml.CNOT([0, work[0]])
            qml.CNOT([work[0], 1])
            qml.CNOT([0, work[0]])
        return qml.expval(qml.Z(1))

    check(circuit, wires=3)
    check(circuit, wires=None)


def test_broadcasting() -> None:
    def circuit(angles: Any, other: Any) -> Any:
        qml.RX(angles, 0)
        qml.RY(other, 1)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1) + 0.5 * qml.X(0)), qml.probs(wires=[0]), qml.state()

    check(circuit, np.linspace(0, 1, 5), 0.3, wires=2)
    found = jax.jit(qml.QNode(circuit, qml.device("varq.qubit", wires=2)))(jnp.linspace(0, 1, 5), 0.3)
    assert [f.shape for f in found] == [(5,), (5, 2), (5, 4)]


def test_broadcast_preparation() -> None:
    def circuit(states: Any) -> Any:
        qml.StatePrep(states, [0])
        qml.RX(0.2, 0)
        return qml.probs(wires=[0])

    check(circuit, np.array([[0.6, 0.8], [1, 0], [0, 1j]]), wires=1)


def test_batches_of_tapes() -> None:
    tapes = [qml.tape.QuantumScript([qml.RX(x, 0)], [qml.expval(qml.Z(0)), qml.probs(wires=0)]) for x in (0.1, 0.7)]
    found = qml.execute(tapes, qml.device("varq.qubit", wires=1))
    np.testing.assert_allclose([f[0] for f in found], np.cos([0.1, 0.7]), atol=EXACT)
    assert np.isclose(qml.device("varq.qubit").execute(tapes[0])[0], np.cos(0.1))


def test_snapshots() -> None:
    def circuit(angle: float) -> Any:
        qml.RX(angle, 0)
        qml.Snapshot()
        qml.CNOT([0, 1])
        qml.Snapshot("two", qml.probs(wires=[1]))
        qml.Snapshot("two", qml.expval(qml.Z(0)))
        return qml.expval(qml.Z(1))

    looked = [qml.snapshots(qml.QNode(circuit, qml.device(d, wires=2)))(0.3) for d in ("varq.qubit", "default.qubit")]
    assert list(looked[0]) == list(looked[1])
    for a, b in zip(looked[0].values(), looked[1].values(), strict=True):
        for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_allclose(one, other, atol=EXACT)


def test_tracker() -> None:
    device = qml.device("varq.qubit", wires=1)
    node = qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1], device)
    with qml.Tracker(device) as tracker:
        node(0.1)
        qml.set_shots(node, 10)(0.1)
    assert (tracker.totals["batches"], tracker.totals["executions"], tracker.totals["shots"]) == (2, 2, 10)


def test_structure_is_shared_and_numbers_are_not() -> None:
    node = qml.QNode(
        lambda x, bits: (qml.BasisState(bits, [0, 1]), qml.RX(x, 0), qml.probs())[-1], qml.device("varq.qubit", wires=2)
    )
    np.testing.assert_allclose(node(0.0, [0, 1]), [0, 1, 0, 0], atol=EXACT)
    np.testing.assert_allclose(node(0.0, [1, 0]), [0, 0, 1, 0], atol=EXACT)
    np.testing.assert_allclose(node(np.pi, [1, 0]), [1, 0, 0, 0], atol=EXACT)
    matrix = np.diag([1.0, 2.0])
    measured = qml.QNode(lambda m: qml.var(qml.Hermitian(m, 0) @ qml.X(1)), qml.device("varq.qubit", wires=2))
    first = measured(matrix)
    matrix[1, 1], matrix[0, 0] = 1.0, 3.0
    assert (float(first), float(measured(matrix))) == pytest.approx((1.0, 9.0))


@pytest.mark.parametrize("method", [None, "device", "tree-traversal", "deferred"])
def test_measured_circuits(method: str | None) -> None:
    @qml.qnode(qml.device("varq.qubit"), mcm_method=method)
    def circuit(angle: float) -> Any:
        qml.RX(angle, 0)
        outcome = qml.measure(0)
        qml.cond(outcome, qml.RY)(0.7, 1)
        return qml.expval(qml.Z(1)), qml.probs(wires=[1]), qml.expval(outcome)

    chance = np.sin(0.15) ** 2
    up = chance * np.cos(0.35) ** 2 + 1 - chance
    found = circuit(0.3)
    np.testing.assert_allclose(found[0], 2 * up - 1, atol=EXACT)
    np.testing.assert_allclose(found[1], [up, 1 - up], atol=EXACT)
    np.testing.assert_allclose(found[2], chance, atol=EXACT)


@pytest.mark.parametrize("method", [None, *NATIVE])
def test_shots_of_measured_circuits(method: str | None) -> None:
    """Outcomes and what follows them have one law, whatever PennyLane calls the way to draw them."""

    @qml.set_shots(20000)
    @qml.qnode(qml.device("varq.qubit", seed=3), mcm_method=method)
    def circuit() -> Any:
        qml.RX(0.9, 0)
        first = qml.measure(0, reset=True)
        qml.cond(first, qml.RY, qml.RX)(0.7, 1)
        second = qml.measure(1)
        qml.RY(0.4 + second, 0)
        return qml.sample([first, second]), qml.sample(wires=[0])

    outcomes, after = circuit()
    one = np.array([np.cos(0.45) ** 2, np.sin(0.45) ** 2])  # of the first; of the second, whatever the first was
    two = np.array([np.cos(0.35) ** 2, np.sin(0.35) ** 2])
    three = np.array([[np.cos(t / 2) ** 2, np.sin(t / 2) ** 2] for t in (0.4, 1.4)])  # by the second
    law = (one[:, None, None] * two[:, None] * three).ravel()
    assert fits(np.bincount(indices(np.hstack([outcomes, after])), minlength=8), law)


def test_one_shot_without_shots_is_refused() -> None:
    @qml.qnode(qml.device("varq.qubit"), mcm_method="one-shot")
    def circuit() -> Any:
        return qml.expval(qml.measure(0))

    with pytest.raises(ValueError, match=r"one-shot.*analytic mode"):
        circuit()


@pytest.mark.parametrize("method", [None, "deferred"])
def test_postselection(method: str | None) -> None:
    @qml.qnode(qml.device("varq.qubit"), mcm_method=method)
    def circuit() -> Any:
        qml.RX(0.3, 0)
        outcome = qml.measure(0, postselect=1)
        qml.cond(outcome, qml.RY)(0.7, 1)
        return qml.expval(qml.Z(1)), qml.probs(wires=[0])

    found = circuit()
    np.testing.assert_allclose(found[0], np.cos(0.7), atol=EXACT)
    np.testing.assert_allclose(found[1], [0, 1], atol=EXACT)


def test_angles_from_outcomes() -> None:
    device = qml.device("varq.qubit")

    @qml.qnode(device, interface="jax")
    def circuit(angle: Any) -> Any:
        qml.RX(0.3, 0)
        outcome = qml.measure(0)
        qml.RY(0.4 * outcome + 0.1, 1)
        qml.RX(angle, 1)
        return qml.expval(qml.Z(1))

    chance = np.sin(0.15) ** 2
    spread = (1 - chance) * np.cos(0.1) + chance * np.cos(0.5)
    assert float(circuit(0.0)) == pytest.approx(spread, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"precision": "half"}, r"precision must be one of .* Got 'half'"),
        ({"seed": "today"}, "seed must be .* Got 'today'"),
        ({"seed": -1}, "seed must be .* Got -1"),
        ({"stored_bytes": -1}, "stored_bytes must be an integer of at least 0"),
        ({"max_branches": 0}, "max_branches must be an integer of at least 1"),
        ({"readout_error": 1.5}, "readout_error must be a probability"),
        ({"readout_error": {0: 1.5}}, "`readout_error` of 0 must be a probability"),
        ({"readout_error": {0: 0.1, 7: 0.1}}, r"must name wires of its device\. Got \[7\].*has \[0\]\. Leave"),
        ({"cache": "yes"}, "cache must be True or False"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        qml.device("varq.qubit", wires=1, **options)


def test_what_is_unsupported_is_named() -> None:
    device = qml.device("varq.qubit", wires=1)
    with pytest.raises(DeviceError, match="mcm_method"):
        device.setup_execution_config(
            qml.devices.ExecutionConfig(mcm_config=qml.devices.MCMConfig(mcm_method="single-branch-statistics"))
        )
    with pytest.raises(DeviceError, match="device option workers is unknown"):
        device.setup_execution_config(qml.devices.ExecutionConfig(device_options={"workers": 2}))


def no_circuit() -> None:
    """Nothing."""


REFUSED: list[tuple[Any, Any, int | None, type[Exception], str]] = [
    (lambda: qml.BitFlip(0.1, 0), lambda: qml.probs(), None, DeviceError, r"use qml\.device\('default\.mixed'\)"),
    (no_circuit, lambda: qml.sample(wires=0), None, DeviceError, r"sample.*Set shots with qml\.set_shots"),
    (no_circuit, qml.state, 10, DeviceError, r"state.*Take the shots away with qml\.set_shots\(qnode, None\)"),
    (
        no_circuit,
        lambda: qml.var(qml.SparseHamiltonian(qml.Z(0).sparse_matrix(), wires=[0])),
        None,
        DeviceError,
        r"Write its observable as a sum of Pauli words",
    ),
    (lambda: qml.RX(0.1, 3), lambda: qml.probs(wires=0), None, WireError, r"\{3\}\. Make it with .*wires=4\)"),
    (lambda: qml.RX(0.1, "a"), lambda: qml.probs(wires=0), None, WireError, r"wires=\[0, 1, 'a'\]\), or without wires"),
]


@pytest.mark.parametrize(("gates", "result", "shots", "kind", "match"), REFUSED)
def test_what_is_refused_names_the_way_out(
    gates: Any, result: Any, shots: int | None, kind: type[Exception], match: str
) -> None:
    def circuit() -> Any:
        gates()
        return result()

    node = qml.QNode(circuit, qml.device("varq.qubit", wires=2))
    with pytest.raises(kind, match=match):
        (node if shots is None else qml.set_shots(node, shots))()


def test_an_exact_gradient_of_shots_is_refused() -> None:
    tape = qml.tape.QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.Z(0))], shots=10)
    config = qml.devices.ExecutionConfig(gradient_method="adjoint")
    stages = qml.device("varq.qubit", wires=2).preprocess_transforms(config)
    with pytest.raises(DeviceError, match=r"an exact gradient.*Take the shots away .*or leave diff_method out"):
        stages((tape,))


def test_single_precision() -> None:
    def circuit(angle: Any) -> Any:
        entangle(angle)
        return qml.expval(qml.Z(0) @ qml.Z(2))

    single = qml.QNode(circuit, qml.device("varq.qubit", wires=3, precision="single"))
    wanted = qml.QNode(circuit, qml.device("default.qubit", wires=3))(0.3)
    assert float(single(0.3)) == pytest.approx(float(wanted), abs=1e-6)
    assert float(single(0.3)) != float(wanted)


def test_the_device_alone_sets_no_flag_and_uses_the_cache(tmp_path: Path) -> None:
    lines = """
import jax, pennylane as qml
before = jax.config.jax_enable_x64
device = qml.device("varq.qubit", wires=1, cache=True)
node = qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1], device)
value = node(0.3)
assert abs(float(value) - 0.955336489125606) < 1e-12, value
assert jax.config.jax_enable_x64 == before
print(jax.config.jax_compilation_cache_dir)
"""
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    home = {k: v for k, v in home.items() if not k.startswith("JAX_")}

    def run(**more: str) -> str:
        script = lines
        done = subprocess.run(
            [sys.executable, "-c", script], env=home | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    folder = Path(run())
    assert folder.is_relative_to(tmp_path)
    assert any(folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")


def test_a_user_without_a_home_goes_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    config = SimpleNamespace(jax_compilation_cache_dir=None, jax_enable_compilation_cache=True)
    monkeypatch.setattr(compile_cache, "jax", SimpleNamespace(config=config))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert compile_cache._enable.__wrapped__() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_cache.directory().is_relative_to(tmp_path)


def test_cache_is_kept_small(tmp_path: Path) -> None:
    for k in range(5):
        file = tmp_path / str(k)
        file.write_bytes(b"x" * 100)
        os.utime(file, (1000 + k, 1000 + k))
    compile_cache._shrink(tmp_path, 250)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3", "4"]


def conform(shots: str, device: str = "varq.qubit", files: Sequence[str] = (".",)) -> dict[str, int]:
    """PennyLane's own device tests, in a process of their own: they rewrite pytest's options."""
    folder = Path(conformance.__file__).parent
    command = [
        sys.executable, "-m", "pytest", *files, f"--device={device}", f"--shots={shots}", "-p", "flaky", "-q",
        "-p", "no:cacheprovider", "--no-flaky-report", "-o", "addopts=", "--tb=short",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    tail = done.stdout[-4000:]
    found = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", tail)}
    assert done.returncode == 0 or device != "varq.qubit", tail
    return found


@pytest.mark.timeout(1800)  # 450 tests in two processes of their own, about as long as each other
@pytest.mark.parametrize("half", some(DEFAULT_QUBIT_PASSES, "gates and gradients"))
def test_conformance(half: str) -> None:
    every = {path.name for path in Path(conformance.__file__).parent.glob("test_*.py")}
    first = {name for name in every if name.startswith("test_gradients")} | {"test_gates.py"}
    files = sorted(first if half == "gates and gradients" else every - first)
    assert conform("None", files=files)["passed"] >= DEFAULT_QUBIT_PASSES[half]


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_conformance_with_shots() -> None:
    """No test fails, and as many pass as for default.qubit, whose samples may fail one by chance."""
    theirs = conform("8192", "default.qubit")
    assert theirs["passed"] > sum(DEFAULT_QUBIT_PASSES.values()) / 2  # the suite did run
    assert conform("8192")["passed"] >= theirs["passed"]
