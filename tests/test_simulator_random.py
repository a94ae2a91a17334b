"""Random circuits over everything that default.qubit takes, on every path of varq.qubit, against default.qubit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pennylane import numpy as pnp
from pennylane.operation import Operation
from pennylane.tape import QuantumScript
from scipy import stats
from simulator_circuits import again, random_gates
from simulator_tapes import (
    CONSERVING,
    GATES,
    KINDS,
    SMOOTH,
    build,
    gates,
    measurements,
    preparations,
    words,
)

from varq.simulator.device import VarqQubit
from varq.simulator.engine import Engine
from varq.simulator.lowering import lower
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # NumPy's arrays go in and come out, or JAX's within a float64 block

NEAR = {"double": 1e-10, "single": 1e-5}  # linear algebra on a few dozen gates; observables have norms of about one
SLOPE = 1e-8  # both sides are exact to rounding, or five-point differences of step 1e-3: 1e-12, and rounding 1e-13
RARE = 1e-5  # a law is rejected below this p-value; draws are fixed, so that it never is by chance
SHOTS = 20000


def share(part: float) -> Any:
    """So many of a profile's examples: a circuit takes a second or two to compile, and the wide gate has the time."""
    return settings(max_examples=max(1, round(part * settings.default.max_examples)))


class Forced(VarqQubit):
    """The device with its path given."""

    def __init__(self, path: str | None, wires: int, precision: str = "double") -> None:
        super().__init__(wires=wires, precision=precision)
        self._path = path

    def options(self, given: Any = None) -> Options:
        return replace(super().options(given), path=self._path)


def run(tape: QuantumScript, device: Any) -> list[Any]:
    (found,) = qml.execute([tape], device)
    return [np.asarray(part) for part in jax.tree.leaves(found)]


def agree(found: Sequence[Any], truth: Sequence[Any], near: float) -> None:
    for mine, theirs in zip(found, truth, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=near)


def check(tape: QuantumScript, wires: int, *paths: str | None, precisions: Sequence[str] = tuple(NEAR)) -> None:
    """All results of a tape, on each of the paths and in each precision, against default.qubit."""
    truth = run(tape, qml.device("default.qubit", wires=wires))
    for path in paths:
        for precision in precisions:
            agree(run(tape, Forced(path, wires, precision)), truth, NEAR[precision])


def chosen(tape: QuantumScript, wires: int, path: str | None = None) -> Engine:
    """The engine that a tape gets."""
    (expanded,), _ = VarqQubit(wires=wires).preprocess_transforms()((tape,))
    return engine(lower(expanded, range(wires))[0], Options(path))


def five_point(function: Callable[[Any], Any], x: Any, step: float = 1e-3) -> Any:
    """The Jacobian by differences that err by the fifth derivative, last axis the arguments."""
    rows = []
    for move in step * np.eye(len(x)):
        near, far = (np.asarray(function(x + k * move)) - np.asarray(function(x - k * move)) for k in (1, 2))
        rows.append((8 * near - far) / (12 * step))
    return np.stack(rows, -1)


def slopes(tape: QuantumScript, wires: int, path: str | None, most: int = 8, shift: bool = True) -> None:
    """The Jacobian by some of the scalar parameters, against parameter shift or (if not `shift`) differences."""
    data = tape.get_parameters(trainable_only=False)
    places = [k for k, value in enumerate(data) if isinstance(value, float)][:most]
    assume(places)

    def value(device: Any, x: Any, **options: Any) -> Any:
        moved = tape.bind_new_parameters([x[k] for k in range(len(places))], places)
        (found,) = qml.execute([moved], device, **options)
        return qml.math.stack(found if isinstance(found, tuple) else (found,))

    x = np.array([data[k] for k in places])
    plain = partial(value, qml.device("default.qubit", wires=wires))
    if shift:
        truth = qml.jacobian(partial(plain, diff_method="parameter-shift"))(pnp.array(x, requires_grad=True))
    else:
        truth = five_point(plain, x)
    with double():
        found = jax.jacrev(partial(value, Forced(path, wires), diff_method="best"))(jnp.asarray(x))
    np.testing.assert_allclose(found, np.reshape(truth, found.shape), rtol=0, atol=SLOPE)


# -- circuits without structure

WIDTHS = st.integers(1, 8)


@st.composite
def tapes(draw: Any) -> tuple[QuantumScript, int]:
    """A preparation, operations of all kinds, and measurements of all kinds."""
    wires = draw(WIDTHS)
    return QuantumScript(draw(preparations(wires)) + draw(gates(wires)), draw(measurements(wires))), wires


@share(0.4)
@given(tapes(), st.sampled_from(list(NEAR)))
def test_any_circuit(drawn: tuple[QuantumScript, int], precision: str) -> None:
    tape, wires = drawn
    check(tape, wires, None, precisions=[precision])


ROOMS = ("identity", "meta", "op_math.controlled_ops", "qubit")
"""Where PennyLane keeps the operations of qubits that are not made of others."""


def _kinds(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def test_no_operation_is_left_out() -> None:
    """The tapes draw from every operation that PennyLane has: one that is added there is missed here."""
    rooms = tuple(f"pennylane.ops.{room}" for room in ROOMS)
    known = {k.__name__ for k in _kinds(Operation) if k.__module__.startswith(rooms) and hasattr(qml, k.__name__)}
    assert known - set(GATES) == {"BasisState", "StatePrep", "QubitDensityMatrix"}


@st.composite
def smooth_tapes(draw: Any) -> tuple[QuantumScript, int, bool]:
    """Gates with parameters, and expectation values; whether parameter shift has a rule for each of the gates."""
    wires, plain = draw(st.integers(2, 6)), draw(st.booleans())
    measured = draw(measurements(wires, ("expval",), most=2))
    body = draw(gates(wires, SMOOTH, changed=not plain))
    return QuantumScript(draw(preparations(wires)) + body, measured), wires, plain


@share(0.16)
@given(smooth_tapes())
def test_gradients(drawn: tuple[QuantumScript, int, bool]) -> None:
    tape, wires, plain = drawn
    slopes(tape, wires, None, shift=plain)


# -- circuits that keep the number of ones


@st.composite
def conserving_tapes(draw: Any) -> tuple[QuantumScript, int]:
    """From a basis state; one wire stays empty, so that no sector is more than half of all states."""
    wires = draw(st.integers(4, 7))
    bits = draw(st.lists(st.integers(0, 1), min_size=wires, max_size=wires))
    front = draw(st.sampled_from([[qml.BasisState(np.array(bits), range(wires))], [qml.X(0), qml.CNOT([0, 2])]]))
    body = draw(gates(wires, CONSERVING, changed=False))
    measured = draw(measurements(wires, ("expval", "expval", "var", "probs", "density", "state"), most=3))
    return QuantumScript(front + body, measured), wires + 1


@share(0.12)
@given(conserving_tapes(), st.booleans())
def test_circuits_that_keep_the_number_of_ones(drawn: tuple[QuantumScript, int], broken: bool) -> None:
    tape, wires = drawn
    tape = QuantumScript([*tape.operations, qml.RX(0.4, 1)], tape.measurements) if broken else tape
    assert (chosen(tape, wires).path == "sector") != broken
    check(tape, wires, None)
    check(tape, wires, "general", precisions=["double"])


@st.composite
def conserving_values(draw: Any) -> tuple[QuantumScript, int]:
    tape, wires = draw(conserving_tapes())
    operations = [op for op in tape.operations if op.name != "Evolution"]  # PennyLane binds no parameters to some
    return QuantumScript(operations, draw(measurements(wires, ("expval",), most=2))), wires


@share(0.1)
@given(conserving_values())
def test_gradients_that_keep_the_number_of_ones(drawn: tuple[QuantumScript, int]) -> None:
    tape, wires = drawn
    slopes(tape, wires, None)


# -- circuits of repeated layers, however they are written

Layers = list[list[Any]]


def hardware(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    ring = [qml.CNOT([w, (w + 1) % wires]) for w in range(wires)]
    turns = [kind(0.0, w) for kind in (qml.RX, qml.RZ) for w in range(wires)]
    return [[*again(turns, rng), *ring] for _ in range(repeats)]


def qaoa(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    pairs = [(a, b) for a in range(wires) for b in range(a) if b == 0 or rng.random() < 0.6]
    return [
        [*(qml.IsingZZ(gamma, pair) for pair in pairs), *(qml.RX(beta, w) for w in range(wires))]
        for gamma, beta in rng.normal(size=(repeats, 2))
    ]


def ladders(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    out = []
    for gamma, beta in rng.normal(size=(repeats, 2)):
        pairs = [[a, a + 1] for a in range(wires - 1)]
        cost = [op for pair in pairs for op in (qml.CNOT(pair), qml.RZ(gamma, pair[1]), qml.CNOT(pair))]
        out.append([*cost, *(qml.RX(beta, w) for w in range(wires))])
    return out


def anything(wires: int, repeats: int, rng: np.random.Generator) -> Layers:
    layer = random_gates(wires, 5, rng)
    return [again(layer, rng) for _ in range(repeats)]


def as_written(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    return [gate for layer in layers for gate in layer]


def permuted(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    order = dict(enumerate(int(w) for w in rng.permutation(wires)))
    return [gate.map_wires(order) for gate in as_written(layers, rng, wires)]


def exchanged(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    """Neighbors that commute exchanged at random, for they share no wire or are diagonal: the same circuit."""
    ops = as_written(layers, rng, wires)
    for k in rng.integers(0, len(ops) - 1, 400):
        diagonal = {ops[k].name, ops[k + 1].name} <= {"RZ", "IsingZZ"}
        if diagonal or not set(ops[k].wires) & set(ops[k + 1].wires):
            ops[k], ops[k + 1] = ops[k + 1], ops[k]
    return ops


def one_odd_layer(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    middle = len(layers) // 2
    return as_written([*layers[:middle], random_gates(wires, 4, rng), *layers[middle:]], rng, wires)


def broken_at_the_end(layers: Layers, rng: np.random.Generator, wires: int) -> list[Any]:
    return [*as_written(layers, rng, wires)[:-1], qml.CRot(*rng.normal(size=3), wires=[0, wires - 1])]


FAMILIES: dict[Callable[..., Layers], tuple[str, ...]] = {
    hardware: ("layers",),
    qaoa: ("alternating",),
    ladders: ("alternating",),
    anything: ("general", "layers", "alternating"),  # a loop pays where a layer has few steps
}
WAYS = (as_written, permuted, exchanged, one_odd_layer, broken_at_the_end)


@st.composite
def layered_tapes(draw: Any) -> tuple[QuantumScript, int, tuple[str, ...]]:
    """Six layers with two sums of Pauli words measured, and the paths of which one must be found."""
    wires, rng = draw(st.integers(5, 6)), np.random.default_rng(draw(st.integers(0, 2**16)))
    family, way = draw(st.sampled_from(list(FAMILIES))), draw(st.sampled_from(WAYS))
    start = [qml.Hadamard(w) for w in range(wires)]
    measured = [qml.expval(qml.dot(*words(wires, rng))) for _ in range(2)]
    return QuantumScript([*start, *way(family(wires, 6, rng), rng, wires)], measured), wires, FAMILIES[family]


@share(0.12)
@given(layered_tapes(), st.sampled_from(list(NEAR)))
def test_layers_however_they_are_written(drawn: tuple[QuantumScript, int, tuple[str, ...]], precision: str) -> None:
    tape, wires, must = drawn
    assert chosen(tape, wires).path in must
    assert chosen(tape, wires, "general").path == "general"
    whole = QuantumScript(tape.operations, [*tape.measurements, qml.state()])
    check(whole, wires, "layers", precisions=[precision])
    check(whole, wires, "general", precisions=["double"])
    slopes(tape, wires, None, most=4)


# -- circuits measured on the way

CONDITIONS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, b: a,
    lambda a, b: ~a,
    lambda a, b: a & b,
    lambda a, b: a | ~b,
    lambda a, b: a + b == 1,
    lambda a, b: 2 * a - b > 0,
    lambda a, b: a != b,
    lambda a, b: (a * b) / 2 < 0.3,
    lambda a, b: 1 - a <= b,
)

Step = tuple[str, int, bool, Any, Any]


def follow(steps: Sequence[Step], wires: int, selecting: bool) -> tuple[list[Any], list[Any]]:
    """Queues the steps; the outcomes in order, and those that are selected."""
    seen: list[Any] = []
    selected: list[Any] = []
    for what, seed, flag, first, second in steps:
        a, b = (seen[seed % len(seen)], seen[seed // 7 % len(seen)]) if seen else (None, None)
        if what == "measure" and len(seen) < 4:
            seen.append(qml.measure(seed % wires, reset=flag))
        elif what == "select" and len(seen) < 4 and not selected:
            seen.append(qml.measure(seed % wires, reset=flag, postselect=seed // 8 % 2 if selecting else None))
            selected.append((seen[-1], seed // 8 % 2))
        elif what == "condition" and seen:
            otherwise = partial(qml.apply, second) if flag else None
            qml.cond(CONDITIONS[seed % len(CONDITIONS)](a, b), partial(qml.apply, first), otherwise)()
        else:
            qml.apply(first)
    return seen, selected


PLAIN = {name: entry for name, entry in GATES.items() if name not in ("Snapshot", "WireCut")}


@st.composite
def steps(draw: Any, wires: int, select: bool = True) -> list[Step]:
    """Operations, measurements with and without reset, selections, and conditions with and without an else."""
    names = [name for name, (fewest, _, _) in PLAIN.items() if fewest <= wires]
    changes, seeds = st.sampled_from(["", "adjoint"]), st.integers(0, 2**16)
    op = st.builds(build, st.sampled_from(names), changes, st.just(wires), seeds)
    what = st.sampled_from(["gate", "measure", "condition", "condition", *(["select"] if select else [])])
    one = st.tuples(what, st.integers(0, 2**16), st.booleans(), op, op)
    first = ("measure", draw(st.integers(0, 7)), draw(st.booleans()), None, None)
    spread: list[Step] = [("gate", 0, False, qml.RY(0.7 + w, w), None) for w in range(wires)]
    return [*spread, first, *draw(st.lists(one, min_size=1, max_size=9))]


def deferred(circuit: Callable[[], Any]) -> list[Any]:
    found = qml.QNode(circuit, qml.device("default.qubit"), mcm_method="deferred")()
    return [np.asarray(part) for part in jax.tree.leaves(found)]


@st.composite
def measured_circuits(draw: Any) -> tuple[Callable[[], Any], int, list[Any]]:
    """A circuit, its wires, and what is left over for the chance of what it selects."""
    wires = draw(st.integers(1, 4))
    taken = draw(steps(wires))
    final = draw(measurements(wires, [k for k in KINDS if k not in ("rotated", "sparse")], most=3))

    def chances() -> Any:
        _, selected = follow(taken, wires, False)
        return [qml.probs(op=m) for m, _ in selected] or [qml.expval(qml.Identity(0))]

    wanted = follow_outside(taken, wires)
    assume(all(p[bit] > 0.01 for p, bit in zip(deferred(chances), wanted, strict=False)))

    def circuit() -> Any:
        seen, _ = follow(taken, wires, True)
        values = sum((k + 1) * m for k, m in enumerate(seen))
        return [*map(qml.apply, final), qml.expval(values), qml.var(values), qml.probs(op=seen), qml.expval(seen[0])]

    return circuit, wires, wanted


def follow_outside(taken: Sequence[Step], wires: int) -> list[int]:
    """The values that are selected."""
    with qml.queuing.AnnotatedQueue():
        return [bit for _, bit in follow(taken, wires, False)[1]]


@share(0.25)
@given(measured_circuits())
def test_circuits_measured_on_the_way(drawn: tuple[Callable[[], Any], int, list[Any]]) -> None:
    circuit, wires, _ = drawn
    truth = deferred(circuit)
    for precision, near in NEAR.items():
        found = qml.QNode(circuit, qml.device("varq.qubit", wires=wires, precision=precision))()
        agree([np.asarray(part) for part in jax.tree.leaves(found)], truth, near)


@st.composite
def sampled_circuits(draw: Any) -> tuple[Callable[[Any], Any], int, int]:
    """A circuit that measures all of its wires in the end, with what is taken of all outcomes, its wires and a seed."""
    wires = draw(st.integers(1, 3))
    taken = draw(steps(wires, select=False))

    def circuit(what: Any) -> Any:
        seen, _ = follow(taken, wires, False)
        return what([*seen, *(qml.measure(w) for w in range(wires))])

    return circuit, wires, draw(st.integers(0, 2**16))


@share(0.1)
@given(sampled_circuits())
def test_outcomes_follow_their_law(drawn: tuple[Callable[[Any], Any], int, int]) -> None:
    circuit, wires, seed = drawn
    (chances,) = deferred(lambda: circuit(lambda seen: qml.probs(op=seen)))
    node = qml.QNode(lambda: circuit(qml.sample), qml.device("varq.qubit", wires=wires, seed=seed))
    samples = np.asarray(qml.set_shots(node, SHOTS)()).astype(int)
    counts = np.bincount(samples @ (1 << np.arange(samples.shape[1])[::-1]), minlength=len(chances))
    assert counts[chances < 1e-12].sum() == 0
    rare = chances * SHOTS < 5  # too few for the statistic's law: taken together
    seen, wanted = np.append(counts[~rare], counts[rare].sum()), np.append(chances[~rare], chances[rare].sum()) * SHOTS
    kept = wanted > 0
    if kept.sum() > 1:
        assert stats.chisquare(seen[kept], wanted[kept] * SHOTS / wanted[kept].sum()).pvalue > RARE
