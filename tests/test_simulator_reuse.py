"""Qubit reuse: the same law on fewer wires, as few as brute force finds, and what cannot be reused named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError
from simulator_branches import Script, fits, indices, law, record

from varq.simulator import outcome, reuse_qubits
from varq.simulator.reuse.order import finishing_order, width
from varq.simulator.reuse.transform import reuse_qubits as transform

EXACT = 1e-10  # linear algebra in float64
CALLER = 2e-6  # rounding of results that leave in JAX's own precision, which may be float32
STEP, SLOPE = 1e-5, 1e-7  # central differences: step, and what they leave


def reused(tape: Script, **options: Any) -> Script:
    (found,), _ = transform(tape, **options)
    return found


def wires_of(circuit: Callable[..., Any], *args: Any, **options: Any) -> int:
    return len(reused(record(circuit, *args), **options).wires)


def random_operations(rng: np.random.Generator, wires: int, gates: int) -> list[qml.operation.Operator]:
    """Gates of all kinds of commutation, between neighbors so that cones are small."""
    found: list[qml.operation.Operator] = []
    for _ in range(gates):
        a = int(rng.integers(wires - 1))
        pair = [a, a + 1] if rng.random() < 0.5 else [a + 1, a]
        angle = float(rng.uniform(-3, 3))
        kinds: list[Callable[[], qml.operation.Operator]] = [
            lambda pair=pair: qml.CNOT(pair),
            lambda pair=pair: qml.CZ(pair),
            lambda pair=pair, angle=angle: qml.IsingXX(angle, pair),
            lambda pair=pair, angle=angle: qml.CRY(angle, pair),
            lambda pair=pair: qml.SWAP(pair),
            lambda pair=pair, angle=angle: qml.Rot(angle, 0.3, 2 * angle, pair[0]),
            lambda pair=pair: qml.Hadamard(pair[0]),
            lambda pair=pair, angle=angle: qml.PauliRot(angle, "ZX", pair),
        ]
        found.append(kinds[int(rng.integers(len(kinds)))]())
    return found


def probabilities(operations: Sequence[Any], wires: int, kept: Sequence[int]) -> np.ndarray:
    """By plain matrices."""
    state = np.eye(2**wires)[0].astype(complex)
    for op in operations:
        state = qml.matrix(op, wire_order=range(wires)) @ state
    chances = np.moveaxis(np.abs(state.reshape((2,) * wires)) ** 2, list(kept), range(len(kept)))
    return chances.reshape(2 ** len(kept), -1).sum(axis=1)


@pytest.mark.parametrize("feed_forward", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_random_circuits_keep_their_law(seed: int, feed_forward: bool) -> None:
    """Branch by branch in plain NumPy."""
    rng = np.random.default_rng(seed)
    operations = random_operations(rng, 5, 12)
    kept = [int(w) for w in rng.permutation(5)[: rng.integers(2, 6)]]
    tape = Script(operations, [qml.probs(wires=kept)])
    found = reused(tape, feed_forward=feed_forward)
    assert len(found.wires) <= 5
    (measurement,) = found.measurements
    order = {w: k for k, w in enumerate(found.wires)}
    (numbered,), _ = qml.map_wires(found, order)
    values = [v.map_wires(order) for v in measurement.mv]
    np.testing.assert_allclose(law(numbered, len(order), values), probabilities(operations, 5, kept), atol=EXACT)


def brickwork(wires: int, depth: int) -> list[Any]:
    for layer in range(depth):
        for a in range(layer % 2, wires - 1, 2):
            qml.CRY(0.3 + 0.1 * a + layer, wires=[a, a + 1])
            qml.RX(0.7, a)
            qml.RX(0.9, a + 1)
    return [qml.probs(wires=[w]) for w in range(wires)]


def cluster(wires: int) -> Any:
    for w in range(wires):
        qml.Hadamard(w)
    for w in range(wires - 1):
        qml.CZ([w, w + 1])
    return [qml.expval(qml.X(w)) for w in range(wires)]


def hidden_string(secret: Sequence[int]) -> Any:
    """Bernstein-Vazirani."""
    last = len(secret)
    qml.X(last)
    for w in range(last + 1):
        qml.Hadamard(w)
    for w in range(last):
        if secret[w]:
            qml.CNOT([w, last])
    for w in range(last):
        qml.Hadamard(w)
    return qml.sample(wires=range(last))


def alternating(wires: int) -> Any:
    """QAOA of depth 1 on a ring."""
    for w in range(wires):
        qml.Hadamard(w)
    for w in range(wires):
        qml.IsingZZ(0.7, wires=[w, (w + 1) % wires])
    for w in range(wires):
        qml.RX(0.4, wires=w)
    return qml.expval(sum(qml.Z(w) @ qml.Z((w + 1) % wires) for w in range(wires)))


def ladder(wires: int) -> Any:
    """GHZ by a ladder of CNOT gates."""
    qml.Hadamard(0)
    for w in range(wires - 1):
        qml.CNOT([w, w + 1])
    return qml.counts(wires=range(wires))


def transformed(wires: int) -> Any:
    """Textbook phase readout: the inverse Fourier transform, then a sample."""
    for w in range(wires):
        qml.Hadamard(w)
        qml.PhaseShift(0.9 * 2**w, wires=w)
    qml.adjoint(qml.QFT)(wires=range(wires))
    return qml.sample(wires=range(wires))


KNOWN = [
    ("Bernstein-Vazirani", hidden_string, [1, 1, 0, 1, 1, 1, 1, 0, 1], {}, 2),
    ("cluster state", cluster, 12, {}, 2),
    ("GHZ", ladder, 20, {}, 2),
    ("GHZ, controls read first", ladder, 20, {"feed_forward": True}, 1),
    ("QAOA on a ring", alternating, 14, {}, 3),
    ("Fourier transform", transformed, 6, {}, 6),
    ("semiclassical Fourier transform", transformed, 6, {"feed_forward": True}, 1),
]


@pytest.mark.parametrize(("circuit", "argument", "options", "wires"), [k[1:] for k in KNOWN], ids=[k[0] for k in KNOWN])
def test_known_circuits_need_so_many_wires(
    circuit: Callable[..., Any], argument: Any, options: dict[str, Any], wires: int
) -> None:
    assert wires_of(circuit, argument, **options) == wires


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_brickwork_needs_one_wire_more_than_its_depth(depth: int) -> None:
    """Each layer reaches one wire further ahead of the wire that is finished (no gate here commutes with another)."""
    assert wires_of(brickwork, 14, depth) == depth + 1
    assert wires_of(brickwork, 4, depth) == min(4, depth + 1)


@pytest.mark.parametrize("seed", range(8))
def test_orders_are_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cones = [int(rng.integers(64)) & int(rng.integers(64)) | 1 << k for k in range(6)]
    best = min(width(cones, order) for order in permutations(range(6)))
    found = finishing_order(cones)
    assert sorted(found) == list(range(6))
    assert width(cones, found) == best
    greedy = finishing_order(cones, patience=0)
    assert sorted(greedy) == list(range(6))
    assert width(cones, greedy) >= best


def fewest(gates: Sequence[qml.operation.Operator], wires: int) -> int:
    """By brute force: every order that commuting matrices allow, with each wire alive from its first to its last gate.

    Gates that commute as matrices may pass each other, whatever the transform knows of them.
    """
    apart = {
        (j, k): qml.is_commuting(gates[j], gates[k]) if set(gates[j].wires) & set(gates[k].wires) else True
        for k in range(len(gates))
        for j in range(k)
    }
    best = wires
    for order in permutations(range(len(gates))):
        if any(not apart[b, a] for i, a in enumerate(order) for b in order[i + 1 :] if b < a):
            continue
        spans = [[i for i, k in enumerate(order) if w in gates[k].wires] for w in range(wires)]
        best = min(best, max(sum(s[0] <= i <= s[-1] for s in spans if s) for i in range(len(order))))
    return best


@pytest.mark.parametrize("seed", range(10))
def test_as_few_wires_as_brute_force_over_gates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gates = []
    for _ in range(6):
        a, b = (int(w) for w in rng.choice(5, 2, replace=False))
        gates.append((qml.CNOT, qml.CZ, qml.CH)[int(rng.integers(3))](wires=[a, b]))
    # Sums of X and Y parts on every wire: no gate commutes with the readings, and none is left out.
    used = sorted({w for g in gates for w in g.wires})
    turned = [qml.expval(qml.Hermitian(np.array([[0, 1 - 2j], [1 + 2j, 0.4]]), w)) for w in used]
    assert len(reused(Script(gates, turned)).wires) == fewest(gates, 5)


MEASUREMENTS: dict[str, Callable[[], Any]] = {
    "probabilities": lambda: [qml.probs(wires=[2, 0]), qml.probs(op=qml.Z(1))],
    "all wires": lambda: [qml.probs()],
    "words": lambda: [qml.expval(qml.X(0) @ qml.Y(2)), qml.var(qml.X(0)), qml.probs(op=qml.Y(2))],
    "sum": lambda: [qml.expval(qml.Z(0) @ qml.Z(1) - 0.5 * qml.X(2) + 0.25), qml.var(qml.Z(0) + 2 * qml.X(2))],
    "matrix": lambda: [
        qml.expval(qml.Hermitian(np.array([[1, 2j], [-2j, 0.5]]), 1)),
        qml.var(qml.Projector([1, 0], wires=[2, 0])),
    ],
    "identity": lambda: [qml.expval(qml.Identity(1)), qml.expval(qml.Z(0))],
}


def dressed(x: Any, finals: Callable[[], Any]) -> Any:
    qml.RY(x, 0)
    qml.CNOT([0, 1])
    qml.RX(0.4 * x, 1)
    qml.CRY(x**2, wires=[1, 2])
    qml.RZ(0.8, 2)
    return finals()


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_keeps_its_exact_value(name: str) -> None:
    plain = qml.QNode(dressed, qml.device("varq.qubit", wires=3))
    ours, theirs = reuse_qubits(plain)(0.9, MEASUREMENTS[name]), plain(0.9, MEASUREMENTS[name])
    for mine, other in zip(ours, theirs, strict=True):
        assert np.shape(mine) == np.shape(other)
        np.testing.assert_allclose(mine, other, atol=EXACT)


def test_gradients_under_jit() -> None:
    plain = qml.QNode(lambda x: dressed(x, lambda: qml.expval(qml.Z(0) @ qml.X(2))), qml.device("varq.qubit", wires=3))
    ours = reuse_qubits(plain)
    x = jnp.asarray(0.9)
    np.testing.assert_allclose(jax.jit(ours)(x), plain(x), atol=CALLER)
    np.testing.assert_allclose(jax.jit(jax.grad(ours))(x), jax.grad(plain)(x), atol=CALLER)


@pytest.mark.parametrize("device", ["varq.qubit", "default.qubit"])
def test_shots_keep_law_and_form(device: str) -> None:
    def circuit() -> Any:
        qml.RY(0.9, 0)
        qml.CNOT([0, 1])
        qml.RY(0.7, 1)
        qml.CNOT([1, 2])
        return (
            qml.sample(wires=[2, 0]),
            qml.sample(wires=1),
            qml.counts(wires=[0, 1]),
            qml.counts(wires=2, all_outcomes=True),
            qml.sample(qml.Z(0) @ qml.Z(1)),
            qml.counts(qml.Z(2)),
            qml.expval(qml.Z(0)),
            qml.sample(),
        )

    number = 300 if device == "varq.qubit" else 20
    plain = qml.QNode(circuit, qml.device(device, wires=3, seed=7), shots=number)
    ours, theirs = reuse_qubits(plain)(), plain()
    for mine, other in zip(ours, theirs, strict=True):
        assert type(mine) is type(other)
        assert np.shape(mine) == np.shape(other)
    chances = probabilities(record(circuit).operations, 3, range(3))
    assert fits(np.bincount(indices(ours[-1]), minlength=8), chances)
    assert {type(k) for k in ours[2]} == {str}
    assert set(ours[5]) <= {-1.0, 1.0}
    np.testing.assert_array_equal(ours[4], (1 - 2 * ours[-1][:, 0]) * (1 - 2 * ours[-1][:, 1]))


def measured(x: Any) -> Any:
    """A measured circuit with conditions, computed angles, a postselection, and a wire that nothing reads."""
    qml.RY(x, 0)
    qml.CNOT([0, 1])
    first = qml.measure(0)
    qml.cond(first, qml.RX)(0.8, 1)
    second = qml.measure(1, reset=True)
    qml.RY(0.4 * x, 1)
    qml.CNOT([1, 2])
    qml.RY(outcome(lambda a, b: 0.3 + a - 0.5 * b, first, second), 3)
    qml.CRX(1.1, wires=[2, 3])
    qml.Hadamard(4)
    qml.CNOT([4, 3])
    third = qml.measure(4, postselect=1)
    qml.cond(third & first, qml.Hadamard)(2)
    return qml.probs(wires=[3, 2]), qml.expval(first + second), qml.probs(op=[second, first])


def test_measured_circuits_are_taken() -> None:
    plain = qml.QNode(measured, qml.device("varq.qubit", wires=5))
    ours = reuse_qubits(plain)
    assert qml.specs(ours)(0.6)["resources"].num_allocs < 5
    for mine, other in zip(ours(0.6), plain(0.6), strict=True):
        np.testing.assert_allclose(mine, other, atol=EXACT)


def test_what_nothing_depends_on_is_left_out() -> None:
    def circuit() -> Any:
        qml.RY(0.3, 0)
        qml.CNOT([0, 1])
        qml.RX(0.5, 1)
        qml.CZ([0, 2])
        qml.GlobalPhase(0.3)
        return qml.probs(wires=[0])

    found = reused(record(circuit))
    assert [op.name for op in found.operations] == ["RY", "MidMeasureMP"]


def test_labels_are_those_that_are_asked_for() -> None:
    assert list(reused(record(ladder, 4), wires=["a", "b", "c"]).wires) == ["a", "b"]
    assert set(reused(record(ladder, 4)).wires) == {0, 1}


@pytest.mark.parametrize(
    ("circuit", "options", "message"),
    [
        (lambda: qml.state(), {}, r"needs the quantum state of its wires after the last gate"),
        (lambda: qml.density_matrix([0]), {}, r"Wires cannot be reused for DensityMatrix on wires \[0\]"),
        (lambda: (qml.expval(qml.X(0)), qml.probs(wires=[0, 1])), {}, r"Wire 0 cannot be reused.*split_non_commuting"),
        (lambda: qml.expval(qml.X(0) + qml.Z(0)), {}, "its Pauli words need a wire in several bases"),
        (lambda: qml.probs(wires=[0, 1]), {"wires": [0]}, "`wires` must name at least 2 wires.* Got "),
        (lambda: qml.expval(qml.SparseHamiltonian(qml.X(0).sparse_matrix(), [0])), {}, "no diagonalizing gates"),
    ],
)
def test_what_cannot_be_reused_is_named(circuit: Callable[[], Any], options: dict[str, Any], message: str) -> None:
    def whole() -> Any:
        qml.Hadamard(0)
        qml.CRX(0.3, wires=[0, 1])
        qml.Hadamard(0)
        return circuit()

    with pytest.raises(ValueError, match=message):
        reused(record(whole), **options)


def test_operations_on_unnamed_wires_are_refused() -> None:
    with pytest.raises(DeviceError, match="Snapshot concerns wires that it does not name"):
        reused(Script([qml.Hadamard(0), qml.Snapshot()], [qml.probs(wires=0)]))


def test_outcomes_of_other_circuits_are_refused() -> None:
    with qml.tape.QuantumTape():
        stranger = qml.measure(0)
    with pytest.raises(ValueError, match="does not come before it in this circuit"):
        reused(Script([qml.RX(outcome(jnp.sin, stranger), 0)], [qml.probs(wires=0)]))
