"""Random circuits over everything that default.qubit takes, on every path of varq.qubit, against default.qubit.

The gate draws the same few circuits each time, so that it neither fails by chance nor compiles anew.  The profile
`full` draws others in each run, and prints with a failure the line that repeats it; see `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
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
from simulator_branches import fits, indices
from simulator_layers import (
    Layers,
    anything,
    as_written,
    broken_at_the_end,
    exchanged,
    hardware,
    ladders,
    one_odd_layer,
    permuted,
    qaoa,
)
from simulator_steps import Step, deferred, follow, steps, turned
from simulator_tapes import (
    CHANGES,
    CONSERVING,
    EVERY,
    GATES,
    KINDS,
    SMOOTH,
    build,
    by_matrix_alone,
    gates,
    measurements,
    names_for,
    preparations,
    words,
)

from varq.simulator.device import VarqQubit
from varq.simulator.engine import Engine
from varq.simulator.lowering import lower
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double

pytestmark = [
    pytest.mark.flagless,  # NumPy's arrays go in and come out, or JAX's within a float64 block
    pytest.mark.timeout(3600),  # the wide gate draws up to twenty circuits in one test, each compiled up to six times
]

NEAR = {"double": 1e-10, "single": 1e-5}  # linear algebra on a few dozen gates; observables have norms of about one
SLOPE = 1e-8  # both sides are exact to rounding, or five-point differences of step 1e-3: 1e-12, and rounding 1e-13
RARE = 1e-7
"""A law is rejected below this p-value.  The wide gate draws anew in each run, 30 laws: by chance one is rejected in
300,000 runs.  A share of 20000 shots that is off by 0.02 is more than five standard errors away, below 1e-7."""
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


def shifted(function: Callable[..., Any], x: Any) -> Any:
    """The Jacobian by PennyLane's parameter shift, last axis the arguments."""
    try:
        return qml.jacobian(partial(function, diff_method="parameter-shift"))(pnp.array(x, requires_grad=True))
    except UnboundLocalError:  # PennyLane 0.45 trips where none of the gates reaches what is measured
        return five_point(function, x)


def varied(tape: QuantumScript) -> list[int]:
    """Which parameters of a tape are scalars."""
    return [k for k, value in enumerate(tape.get_parameters(trainable_only=False)) if isinstance(value, float)]


def slopes(tape: QuantumScript, wires: int, path: str | None, most: int = 8, shift: bool = True) -> None:
    """The Jacobian by some of the scalar parameters, against parameter shift or (if not `shift`) differences."""
    data = tape.get_parameters(trainable_only=False)
    places = varied(tape)[:most]

    def value(device: Any, x: Any, **options: Any) -> Any:
        moved = tape.bind_new_parameters([x[k] for k in range(len(places))], places)
        (found,) = qml.execute([moved], device, **options)
        return qml.math.stack(found if isinstance(found, tuple) else (found,))

    x = np.array([data[k] for k in places])
    plain = partial(value, qml.device("default.qubit", wires=wires))
    truth = shifted(plain, x) if shift else five_point(plain, x)
    with double():
        found = jax.jacrev(partial(value, Forced(path, wires), diff_method="best"))(jnp.asarray(x))
    np.testing.assert_allclose(found, np.reshape(truth, found.shape), rtol=0, atol=SLOPE)


# -- circuits without structure

WIDEST = 8
WIDTHS = st.integers(1, WIDEST)
EVERY_PATH = (None, "general", "layers")  # paths that every circuit can take
WHOLE = st.sampled_from(EVERY_PATH)


@st.composite
def tapes(draw: Any) -> tuple[QuantumScript, int]:
    """A preparation, operations of all kinds, and measurements of all kinds."""
    wires = draw(WIDTHS)
    return QuantumScript(draw(preparations(wires)) + draw(gates(wires)), draw(measurements(wires))), wires


@share(0.4)
@given(tapes(), st.sampled_from(list(NEAR)), WHOLE)
def test_any_circuit(drawn: tuple[QuantumScript, int], precision: str, path: str | None) -> None:
    tape, wires = drawn
    check(tape, wires, path, precisions=[precision])


@pytest.mark.full
@share(0.15)
@given(tapes())
def test_any_circuit_on_every_path_in_both_precisions(drawn: tuple[QuantumScript, int]) -> None:
    check(*drawn, *EVERY_PATH)


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


@pytest.mark.parametrize("table", [EVERY, SMOOTH, CONSERVING], ids=["every", "smooth", "conserving"])
def test_what_is_drawn_covers_its_table(table: dict[str, Any]) -> None:
    """On the widest circuits every entry can be drawn; and each is made, in every change, on the wires there are."""
    for name, (fewest, most, _) in table.items():
        assert 1 <= fewest <= most
        assert fewest <= WIDEST
        for seed, change in enumerate(CHANGES):
            op = build(name, change, max(fewest, 3), seed)
            assert set(op.wires) <= set(range(max(fewest, 3)))
    assert set(names_for(WIDEST, table)) == set(table)


@st.composite
def smooth_tapes(draw: Any) -> tuple[QuantumScript, int, bool]:
    """Gates with parameters, and expectation values; whether parameter shift has a rule for each of the gates."""
    wires, plain = draw(WIDTHS), draw(st.booleans())
    measured = draw(measurements(wires, ("expval",), most=2))
    body = draw(gates(wires, SMOOTH, changed=not plain))
    assume(not any(by_matrix_alone(op) for op in body))  # whose derivatives are refused, which has a test of its own
    return QuantumScript(draw(preparations(wires)) + body, measured), wires, plain


@share(0.2)
@given(smooth_tapes(), WHOLE)
def test_gradients(drawn: tuple[QuantumScript, int, bool], path: str | None) -> None:
    tape, wires, plain = drawn
    assume(varied(tape))
    slopes(tape, wires, path, shift=plain)


@pytest.mark.full
@share(0.06)
@given(smooth_tapes())
def test_gradients_on_every_path(drawn: tuple[QuantumScript, int, bool]) -> None:
    tape, wires, plain = drawn
    assume(varied(tape))
    for path in EVERY_PATH:
        slopes(tape, wires, path, shift=plain)


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
@given(conserving_tapes(), st.booleans(), st.floats(-3, 3, width=16))
def test_circuits_that_keep_the_number_of_ones(drawn: tuple[QuantumScript, int], broken: bool, by: float) -> None:
    tape, wires = drawn
    tape = QuantumScript([*tape.operations, qml.RX(0.4, 1)], tape.measurements) if broken else tape
    assert (chosen(tape, wires).path == "sector") != broken
    if not broken:
        check(tape, wires, "sector")
        check(tape, wires, "general", precisions=["double"])
        # The same program with other numbers, which costs no compiling and is another circuit all the same.
        moved = QuantumScript([turned(op, by) for op in tape.operations], tape.measurements)
        check(moved, wires, "sector", precisions=["double"])
        return
    check(tape, wires, None)
    with pytest.raises(ValueError, match="The sector path needs a circuit that conserves particle numbers"):
        qml.execute([tape], Forced("sector", wires))


@st.composite
def conserving_values(draw: Any) -> tuple[QuantumScript, int]:
    tape, wires = draw(conserving_tapes())
    operations = [op for op in tape.operations if op.name != "Evolution"]  # PennyLane binds no parameters to some
    return QuantumScript(operations, draw(measurements(wires, ("expval",), most=2))), wires


@share(0.16)
@given(conserving_values(), st.sampled_from(["sector", "general", "layers"]))
def test_gradients_that_keep_the_number_of_ones(drawn: tuple[QuantumScript, int], path: str) -> None:
    tape, wires = drawn
    assume(varied(tape))
    slopes(tape, wires, path)


# -- circuits of repeated layers, however they are written

FAMILIES: dict[Callable[..., Layers], tuple[str, ...]] = {
    hardware: ("layers",),
    qaoa: ("alternating",),
    ladders: ("alternating",),
    anything: ("general", "layers", "alternating"),  # a loop pays where a layer has few steps
}
WAYS = (as_written, permuted, exchanged, one_odd_layer, broken_at_the_end)


PAIRS = list(product(FAMILIES, WAYS))


def written(family: Any, way: Any, wires: int, seed: int) -> QuantumScript:
    """Six layers of a family written in a way, with two sums of Pauli words measured."""
    rng = np.random.default_rng(seed)
    start = [qml.Hadamard(w) for w in range(wires)]
    measured = [qml.expval(qml.dot(*words(wires, rng))) for _ in range(2)]
    return QuantumScript([*start, *way(family(wires, 6, rng), rng, wires)], measured)


def with_state(tape: QuantumScript) -> QuantumScript:
    return QuantumScript(tape.operations, [*tape.measurements, qml.state()])


def pairs() -> list[Any]:
    """The places of all pairs; every second of each family and of each way at every change."""
    return [
        pytest.param(
            place,
            id=f"{family.__name__}-{way.__name__}",
            marks=[pytest.mark.full] if (place // len(WAYS) + place % len(WAYS)) % 2 else [],
        )
        for place, (family, way) in enumerate(PAIRS)
    ]


@pytest.mark.parametrize("place", pairs())
def test_each_family_of_layers_in_each_way(place: int) -> None:
    """Every pair once; widths, paths and precisions take turns."""
    family, way = PAIRS[place]
    wires = 5 + place % 2
    tape = written(family, way, wires, place)
    assert chosen(tape, wires).path in FAMILIES[family]
    path = ("layers", "layers", "general")[place % 3]
    check(with_state(tape), wires, path, precisions=[("double", "single")[place % 4 == 1]])
    if place % 4 == 0:
        slopes(tape, wires, path, most=3)


@pytest.mark.full
@share(0.12)
@given(st.sampled_from(PAIRS), st.integers(5, 7), st.integers(0, 2**16), st.sampled_from(list(NEAR)))
def test_layers_however_they_are_written(pair: tuple[Any, Any], wires: int, seed: int, precision: str) -> None:
    tape = written(*pair, wires, seed)
    assert chosen(tape, wires).path in FAMILIES[pair[0]]
    assert chosen(tape, wires, "general").path == "general"
    check(with_state(tape), wires, "layers", precisions=[precision])
    check(with_state(tape), wires, "general", precisions=["double"])
    for path in ("layers", "general"):
        slopes(tape, wires, path, most=4)


# -- circuits measured on the way


@st.composite
def measured_circuits(draw: Any) -> tuple[Callable[[], Any], int, list[Any]]:
    """A circuit, its wires, and what is left over for the chance of what it selects."""
    wires = draw(WIDTHS)
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
def followed_circuits(draw: Any) -> tuple[Callable[[Any], Any], int]:
    """A circuit without selections, of a number by which all of its angles are moved, and its wires."""
    wires = draw(WIDTHS)
    taken = draw(steps(wires, select=False, table=SMOOTH))
    final = draw(measurements(wires, ("expval",), most=2))

    def circuit(by: Any) -> Any:
        moved = [
            (kind, seed, flag, *(None if op is None else turned(op, by) for op in ops))
            for kind, seed, flag, *ops in taken
        ]
        seen, _ = follow(moved, wires, False)
        values = sum((k + 1) * m for k, m in enumerate(seen))
        return [*map(qml.apply, final), qml.expval(values)]

    return circuit, wires


@share(0.08)
@given(followed_circuits())
def test_gradients_of_circuits_measured_on_the_way(drawn: tuple[Callable[[Any], Any], int]) -> None:
    """By branches: the derivative of each result by a number that is in every angle, against differences."""
    circuit, wires = drawn
    truth = five_point(lambda x: np.stack(deferred(lambda: circuit(float(x[0])))), np.zeros(1))
    node = qml.QNode(circuit, qml.device("varq.qubit", wires=wires))
    with double():
        found = jax.jacrev(lambda by: jnp.stack(node(by)))(jnp.zeros(()))
    np.testing.assert_allclose(found, truth[:, 0], rtol=0, atol=SLOPE)


@st.composite
def sampled_circuits(draw: Any) -> tuple[Callable[[Any, float], Any], int, int, list[float]]:
    """A circuit that measures all of its wires in the end, with what is taken of all outcomes and how far its angles
    are moved; its wires, a seed, and such moves."""
    wires = draw(WIDTHS)
    taken = draw(steps(wires, select=False))

    def circuit(what: Any, by: float) -> Any:
        moved = [
            (kind, seed, flag, *(None if op is None else turned(op, by) for op in ops))
            for kind, seed, flag, *ops in taken
        ]
        seen, _ = follow(moved, wires, False)
        return what([*seen, *(qml.measure(w) for w in range(wires))])

    # Compiling takes nearly all of the time, drawing shots of what is compiled little: several laws for each circuit.
    moves = st.lists(st.floats(-3, 3, width=16), min_size=2, max_size=2, unique=True)
    return circuit, wires, draw(st.integers(0, 2**16)), [0.0, *draw(moves)]


@share(0.1)
@given(sampled_circuits())
def test_outcomes_follow_their_law(drawn: tuple[Callable[[Any, float], Any], int, int, list[float]]) -> None:
    circuit, wires, seed, moves = drawn
    device = qml.device("varq.qubit", wires=wires, seed=seed)
    for by in moves:
        (chances,) = deferred(lambda by=by: circuit(lambda seen: qml.probs(op=seen), by))  # type: ignore[misc]
        node = qml.QNode(lambda by=by: circuit(qml.sample, by), device)
        samples = np.asarray(qml.set_shots(node, SHOTS)()).astype(int)
        assert fits(np.bincount(indices(samples), minlength=len(chances)), chances, RARE)
