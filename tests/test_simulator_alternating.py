"""Circuits that alternate between a diagonal cost and a product mixer, against the phases written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane.tape import QuantumScript
from pennylane.workflow import construct_tape

from varq.ansatze.alternating import Alternating
from varq.problems import MaxCut
from varq.simulator import explain
from varq.simulator.circuit import Circuit
from varq.simulator.dense.build import build
from varq.simulator.dense.diagonal import DiagonalStep, looked_up
from varq.simulator.evolutions import MOST_LEVELS, gather, levels
from varq.simulator.lowering import lower
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double
from varq.simulator.programs import take_apart

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own, but for one test that says what it does

EXACT = 1e-10  # linear algebra
SINGLE = 2e-5  # the same in float32

WIRES, LAYERS = 5, 4
PAIRS = [(0, 1), (0, 3), (1, 4), (2, 4), (3, 4), (0, 4)]
ONES = (2,)
WHOLE = np.array([1.0, 2.0, -1.0, 1.0, 3.0, 1.0, -2.0]) / 2
REAL = np.array([0.3, -1.1, 0.7, 0.2, 0.9, -0.4, 1.3])
ANGLES = np.random.default_rng(8).normal(size=(2, LAYERS))


def cost(weights: Any) -> Any:
    """sum of weights * Z Z on pairs and Z on ones."""
    with qml.QueuingManager.stop_recording():
        words = [qml.Z(a) @ qml.Z(b) for a, b in PAIRS] + [qml.Z(w) for w in ONES]
        return qml.Hamiltonian(weights, [*words, qml.I(0)][: len(weights)])


def mixer() -> Any:
    with qml.QueuingManager.stop_recording():
        return qml.Hamiltonian([1] * WIRES, [qml.X(w) for w in range(WIRES)])


def by_layers(time: Any, angle: Any, weights: Any) -> None:
    qml.qaoa.cost_layer(time, cost(weights))
    qml.qaoa.mixer_layer(angle, mixer())


def by_evolution(time: Any, angle: Any, weights: Any) -> None:
    qml.evolve(cost(weights), time)
    qml.evolve(mixer(), angle)


def by_one_step(time: Any, angle: Any, weights: Any) -> None:
    qml.ApproxTimeEvolution(cost(weights), time, 1)
    for w in range(WIRES):
        qml.RX(2 * angle, w)


def by_gates(time: Any, angle: Any, weights: Any) -> None:
    """For weights of a half: then every angle is the time itself."""
    for a, b in PAIRS:
        qml.IsingZZ(time, wires=[a, b])
    for w in ONES:
        qml.RZ(time, w)
    turned = 2 * angle
    for w in range(WIRES):
        qml.RX(turned, w)


def by_ladders(time: Any, angle: Any, weights: Any) -> None:
    """The same as `by_gates`."""
    for a, b in PAIRS:
        qml.CNOT([a, b])
        qml.RZ(time, b)
        qml.CNOT([a, b])
    for w in ONES:
        qml.MultiRZ(time, wires=[w])
    for w in range(WIRES):
        qml.RX(2 * angle, w)


FORMS = {f.__name__: f for f in (by_layers, by_evolution, by_one_step, by_gates, by_ladders)}
OWN = {"by_layers", "by_evolution", "by_one_step"}  # these have weights of their own


def circuit_of(form: str, device: Any, **options: Any) -> Callable[[Any, Any], Any]:
    @qml.qnode(device, **options)
    def circuit(x: Any, weights: Any) -> Any:
        for w in range(WIRES):
            qml.Hadamard(w)
        for k in range(x.shape[1]):
            FORMS[form](x[0, k], x[1, k], weights)
        return qml.expval(qml.Hamiltonian([1.0, 0.5, 0.25], [qml.X(0) @ qml.Z(1), qml.Y(2), qml.Z(0) @ qml.Z(3)]))

    found: Callable[[Any, Any], Any] = circuit
    return found


@pytest.fixture
def double_precision() -> Iterator[None]:
    with double():
        yield


def signs() -> np.ndarray:
    """Of each word on each basis state, shape (words, 2**WIRES)."""
    index = np.arange(2**WIRES)
    z = [1 - 2 * (index >> (WIRES - 1 - w) & 1) for w in range(WIRES)]
    return np.array([z[a] * z[b] for a, b in PAIRS] + [z[w] for w in ONES] + [np.ones(2**WIRES)])


def truth(x: Any, weights: Any) -> Any:
    """The same expectation value by dense matrices, in plain JAX."""
    diagonal = weights @ jnp.asarray(signs()[: len(weights)])
    state = jnp.full(2**WIRES, 2.0 ** (-WIRES / 2), complex)
    flip = jnp.array([[0, 1], [1, 0]])
    for k in range(x.shape[1]):
        state = jnp.exp(-1j * x[0, k] * diagonal) * state
        one = jnp.cos(x[1, k]) * jnp.eye(2) - 1j * jnp.sin(x[1, k]) * flip
        cube = state.reshape((2,) * WIRES)
        for w in range(WIRES):
            cube = jnp.moveaxis(jnp.tensordot(one, cube, axes=(1, w)), 0, w)
        state = cube.reshape(-1)
    total = qml.Hamiltonian([1.0, 0.5, 0.25], [qml.X(0) @ qml.Z(1), qml.Y(2), qml.Z(0) @ qml.Z(3)])
    matrix = jnp.asarray(qml.matrix(total, wire_order=range(WIRES)))
    return jnp.real(jnp.conj(state) @ matrix @ state)


def exactly(function: Callable[..., Any], *given: Any) -> Any:
    """A function of the truth in float64."""
    with double():
        return jax.tree.map(np.asarray, jax.jit(function)(*(jnp.asarray(g, float) for g in given)))


def device(**options: Any) -> Any:
    return qml.device("varq.qubit", wires=WIRES, cache=False, **options)


def lowered(form: str, weights: Any, depth: int = LAYERS) -> Circuit:
    made = construct_tape(circuit_of(form, device()), level="device")(ANGLES[:, :depth], weights)
    return lower(made.map_to_standard_wires(), range(WIRES))[0]


def steps(circuit: Circuit, repeats: int = LAYERS - 1) -> list[DiagonalStep]:
    """The diagonals of the longest loop, of at least so many repeats."""
    parts, _ = build(circuit, True)
    widest = max(parts, key=lambda p: p.segment.repeats)
    assert widest.segment.repeats >= repeats
    return [s for s in widest.runner.steps if isinstance(s, DiagonalStep)]


# -- what is found


@pytest.mark.parametrize("depth", [1, 2, LAYERS])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_one_precomputed_cost(form: str, depth: int) -> None:
    """In a loop one for all layers; one or two layers have one each, and the frame of the first mixer beside it."""
    circuit = lowered(form, WHOLE, depth)
    assert engine(circuit, Options()).path == "alternating"
    found = steps(circuit) if depth == LAYERS else steps(circuit, 1)
    assert len(found) == (1 if depth == LAYERS else depth)
    for step in found:
        ((diagonal, known),) = [
            (d, levels) for d, levels in zip(step.every, step.levels, strict=True) if d.times.min() < circuit.angles
        ]
        assert known is not None
        assert known.kind is np.int8
        assert min(np.abs(diagonal.scales)) > 0
        steps_of_all = 2 * np.abs(WHOLE) if form in OWN else np.ones(len(WHOLE))
        assert steps_of_all.sum() <= known.most < 2 * steps_of_all.sum() + 1


@pytest.mark.parametrize("spelled", [qml.IsingZZ, lambda time, wires: qml.PauliRot(time, "ZZ", wires=wires)])
def test_costs_in_another_order_in_each_layer_are_one(spelled: Callable[..., Any], double_precision: None) -> None:
    """As terms come from a set: phases commute, and are put into one order."""
    orders = [np.random.default_rng(k).permutation(len(PAIRS)) for k in range(LAYERS)]

    @qml.qnode(device())
    def circuit(x: Any) -> Any:
        for w in range(WIRES):
            qml.Hadamard(w)
        for k in range(LAYERS):
            time, turned = x[0, k], 2 * x[1, k]
            for w in ONES:
                qml.RZ(time, w)
            for at in orders[k]:
                spelled(time, wires=PAIRS[at])
            for w in range(WIRES):
                qml.RX(turned, w)
        return qml.expval(qml.Hamiltonian([1.0, 0.5, 0.25], [qml.X(0) @ qml.Z(1), qml.Y(2), qml.Z(0) @ qml.Z(3)]))

    tape = construct_tape(circuit, level="device")(jnp.asarray(ANGLES))
    assert engine(lower(tape, range(WIRES))[0], Options()).path == "alternating"
    found = circuit(jnp.asarray(ANGLES))
    np.testing.assert_allclose(found, exactly(truth, ANGLES, np.full(len(WHOLE), 0.5)), atol=EXACT)


def test_short_circuits_of_other_kinds_stay_general() -> None:
    """Neither is written out where a stream has fewer blocks, nor called alternating where a mixer is no product."""
    entangled = [qml.RY(0.1, w) for w in range(WIRES)] + [qml.CNOT([0, 1]), qml.RY(0.3, 1), qml.CNOT([3, 4])]
    for gates in (entangled, [qml.IsingXX(0.1 * a, [a, a + 1]) for a in range(WIRES - 1)]):
        assert engine(lower(QuantumScript(gates), range(WIRES))[0], Options()).path == "general"
    alternates = lowered("by_gates", WHOLE, 2)
    assert engine(alternates, Options(path="general")).path == "general"


@pytest.mark.parametrize("form", sorted(OWN))
def test_real_weights_are_no_integers(form: str) -> None:
    (step,) = steps(lowered(form, REAL))
    assert step.levels == [None]
    assert step.moving == [False]


def test_angles_that_differ_have_no_common_cost() -> None:
    """Numbers that are equal but not one object may differ in the next call."""
    gates = [qml.Hadamard(w) for w in range(WIRES)]
    for _ in range(LAYERS):
        gates += [qml.IsingZZ(np.float64(0.3), wires=pair) for pair in PAIRS]
        gates += [qml.RX(np.float64(0.2), w) for w in range(WIRES)]
    circuit, numbers = lower(QuantumScript(gates), range(WIRES))
    assert len(numbers.angles) == LAYERS * (len(PAIRS) + WIRES)
    assert not steps(circuit)
    assert engine(circuit, Options()).path == "layers"


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(
    ("weights", "path"), [([1.0] * 6, "alternating"), ([0.7, -0.3] * 3, "alternating"), ([0.1, 0.2, 0.4] * 2, "else")]
)
def test_the_ansatz_of_qaoa_has_one_angle_for_each_weight(weights: list[float], path: str, depth: int) -> None:
    """Terms of one weight go by one number, whose cost is known; of more than two weights phases are computed anew."""
    ansatz = Alternating.for_problem(MaxCut([(*pair, w) for pair, w in zip(PAIRS, weights, strict=True)]), depth)
    with qml.queuing.AnnotatedQueue() as queue:
        ansatz(np.random.default_rng(depth).normal(size=ansatz.shape))
    circuit, numbers = lower(QuantumScript.from_queue(queue), range(WIRES))
    assert len(numbers.angles) == depth * (len(set(weights)) + 1)
    assert (engine(circuit, Options()).path == "alternating") == (path == "alternating")


def test_explain_names_the_path_of_the_ansatz_of_qaoa() -> None:
    problem = MaxCut(PAIRS)
    ansatz = Alternating.for_problem(problem, depth=2)

    @qml.qnode(device())
    def circuit(x: Any) -> Any:
        ansatz(x)
        return qml.expval(problem.hamiltonian)

    assert [part.path for part in explain(circuit)(ansatz.init(0)).parts] == ["alternating"]


def test_weights_as_multiples_of_the_least() -> None:
    assert levels([0.5, -1.5, 0.5]) == 8
    assert levels([1, 1, 2, 0]) == 4
    assert levels([3]) == 1
    assert levels([0.1, 0.3, 0.7]) == 16  # 11 steps, although 0.3 / 0.1 is not 3 in binary
    assert levels([2.0, 3.0]) == 0
    assert levels([0.0]) == levels([]) == levels([1.0, np.inf]) == 0
    assert levels([1.0, MOST_LEVELS]) == 0
    assert jax.jit(lambda w: jnp.asarray(levels([w]) is None))(1.0)


def test_scalars_and_vectors_are_gathered_in_order() -> None:
    given = [1.0, np.array([2.0, 3.0]), 4.0, *range(5, 45), np.zeros(0), np.array([45.0])]
    want = np.arange(1.0, 46.0)
    np.testing.assert_array_equal(gather(given), want)
    np.testing.assert_array_equal(gather([jnp.asarray(g, jnp.float32) for g in given]), want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_gives_the_phases(dtype: str) -> None:
    with double():
        costs = jnp.asarray([-7, 3, 0, 7, -1], jnp.int8)
        time = jnp.asarray(0.37, dtype)
        cosine, sine = looked_up(time, costs, 8)
        angle = np.array([-7, 3, 0, 7, -1]) * 0.37 / 2
        near = 1e-6 if dtype == "float32" else 1e-15
        np.testing.assert_allclose(cosine, np.cos(angle), atol=near)
        np.testing.assert_allclose(sine, np.sin(angle), atol=near)
        slope = jax.grad(lambda t: looked_up(t, costs, 8)[1].sum())(time)
        np.testing.assert_allclose(slope, np.sum(np.cos(angle) * np.array([-7, 3, 0, 7, -1]) / 2), atol=10 * near)


# -- values and derivatives


def weights_of(form: str, kind: str) -> Any:
    if form not in OWN:
        return np.full(len(WHOLE), 0.5)
    return WHOLE if kind == "whole" else np.append(REAL, 0.6) if kind == "with a constant" else REAL


CASES = [(f, k) for f in FORMS for k in ("whole", "real", "with a constant") if f in OWN or k == "whole"]


# At every change: each kind of weights in one form, each form with one kind.
CHOSEN = [(f, k) for f, k in CASES if f == min(OWN) or k == ("real" if f in OWN else "whole")]


@pytest.mark.parametrize(
    ("form", "kind"), [c if c in CHOSEN else pytest.param(*c, marks=pytest.mark.full) for c in CASES]
)
def test_values_and_gradients(double_precision: None, form: str, kind: str) -> None:
    weights = weights_of(form, kind)
    circuit = circuit_of(form, device())
    value, slope = jax.jit(jax.value_and_grad(lambda x: circuit(x, weights)))(jnp.asarray(ANGLES))
    want, slopes = exactly(jax.value_and_grad(truth, (0, 1)), ANGLES, weights)
    np.testing.assert_allclose(value, want, atol=EXACT)
    np.testing.assert_allclose(slope, slopes[0], atol=EXACT)
    np.testing.assert_allclose(circuit(ANGLES, weights), want, atol=EXACT)


@pytest.mark.parametrize(("form", "depth"), [("by_layers", 1), ("by_ladders", 2)])
def test_one_or_two_layers_are_written_out(double_precision: None, form: str, depth: int) -> None:
    weights, angles = weights_of(form, "whole"), ANGLES[:, :depth]
    circuit = circuit_of(form, device())
    value, slope = jax.jit(jax.value_and_grad(lambda x: circuit(x, weights)))(jnp.asarray(angles))
    want, slopes = exactly(jax.value_and_grad(truth), angles, weights)
    np.testing.assert_allclose(value, want, atol=EXACT)
    np.testing.assert_allclose(slope, slopes, atol=EXACT)


@pytest.mark.parametrize("form", sorted(OWN))
def test_gradients_by_weights(double_precision: None, form: str) -> None:
    """Traced weights, whole ones too, may be followed: they are real numbers."""
    circuit = circuit_of(form, device())
    for weights in (WHOLE, REAL):
        _, slopes = exactly(jax.value_and_grad(truth, (0, 1)), ANGLES, weights)
        found = jax.jit(jax.grad(circuit, (0, 1)))(jnp.asarray(ANGLES), jnp.asarray(weights))
        np.testing.assert_allclose(found[0], slopes[0], atol=EXACT)
        np.testing.assert_allclose(found[1], slopes[1], atol=EXACT)


def test_autograd_follows_angles_and_weights() -> None:
    circuit = circuit_of("by_layers", device())
    x, weights = qml.numpy.array(ANGLES, requires_grad=True), qml.numpy.array(REAL, requires_grad=True)
    found = qml.grad(circuit)(x, weights)
    _, slopes = exactly(jax.value_and_grad(truth, (0, 1)), ANGLES, REAL)
    np.testing.assert_allclose(found[0], slopes[0], atol=EXACT)
    np.testing.assert_allclose(found[1], slopes[1], atol=EXACT)


@pytest.mark.parametrize("kind", some(["whole", "real"], "real"))
def test_second_derivatives(double_precision: None, kind: str) -> None:
    weights = weights_of("by_layers", kind)
    circuit = circuit_of("by_layers", device())
    want = exactly(jax.hessian(truth), ANGLES, weights)
    found = jax.jit(jax.hessian(lambda x: circuit(x, weights)))(jnp.asarray(ANGLES))
    np.testing.assert_allclose(found, want, atol=10 * EXACT)
    mixed = exactly(jax.jacfwd(jax.grad(truth, 1), 0), ANGLES, weights)
    found = jax.jit(jax.jacfwd(jax.grad(circuit, 1), 0))(jnp.asarray(ANGLES), jnp.asarray(weights))
    np.testing.assert_allclose(found, mixed, atol=10 * EXACT)


def test_a_shared_number_has_a_derivative_by_each_of_its_parameters() -> None:
    """What is one object is one number, but PennyLane's own way asks for the parameters one by one."""
    tape = construct_tape(circuit_of("by_gates", device()), level="device")(ANGLES, WHOLE)
    tape.trainable_params = [0, 1]
    simulator = device()
    step = 1e-4
    found = simulator.compute_derivatives((tape,))[0]

    def value(k: int, move: float) -> float:
        moved = tape.bind_new_parameters([tape.get_parameters()[k] + move], [k])
        return float(simulator.execute((moved,))[0])

    for k in range(2):
        np.testing.assert_allclose(found[k], (value(k, step) - value(k, -step)) / (2 * step), atol=1e-7)


def test_single_precision() -> None:
    """Outside of any block: JAX's flag decides what comes back, and the device's precision what is computed."""
    circuit = circuit_of("by_layers", device(precision="single"))
    for weights in (WHOLE, REAL):
        want, slopes = exactly(jax.value_and_grad(truth), ANGLES, weights)
        value, slope = jax.jit(jax.value_and_grad(lambda x, w=weights: circuit(x, w)))(jnp.asarray(ANGLES))
        np.testing.assert_allclose(value, want, atol=SINGLE)
        np.testing.assert_allclose(slope, slopes, atol=SINGLE)


def test_a_batch_of_times(double_precision: None) -> None:
    circuit = circuit_of("by_layers", device())
    many = np.stack([ANGLES, ANGLES + 0.1])
    found = jax.jit(jax.vmap(jax.value_and_grad(lambda x: circuit(x, WHOLE))))(jnp.asarray(many))
    for k, x in enumerate(many):
        want, slope = exactly(jax.value_and_grad(truth), x, WHOLE)
        np.testing.assert_allclose(found[0][k], want, atol=EXACT)
        np.testing.assert_allclose(found[1][k], slope, atol=EXACT)


# -- programs


def test_other_weights_need_no_other_program() -> None:
    options = Options()
    circuit = circuit_of("by_layers", device())

    def program(weights: Any) -> Any:
        return take_apart(construct_tape(circuit, level="device")(ANGLES, weights), options).program

    assert program(REAL) is program(REAL[::-1].copy())
    assert program(WHOLE) is program(WHOLE[::-1].copy()) is program(3 * WHOLE)
    assert program(WHOLE) is not program(REAL)


def test_weights_that_share_a_program_have_values_of_their_own() -> None:
    circuit = circuit_of("by_layers", device())
    for weights in (WHOLE, WHOLE[::-1].copy(), 3 * WHOLE, REAL, REAL[::-1].copy()):
        np.testing.assert_allclose(circuit(ANGLES, weights), exactly(truth, ANGLES, weights), atol=EXACT)


def test_one_generator_is_one_vector_of_weights() -> None:
    total, other = cost(REAL), mixer()

    @qml.qnode(device())
    def circuit(x: Any) -> Any:
        for k in range(LAYERS):
            qml.qaoa.cost_layer(x[0, k], total)
            qml.qaoa.mixer_layer(x[1, k], other)
        return qml.expval(qml.Z(0))

    made_anew = construct_tape(circuit_of("by_layers", device()), level="device")(ANGLES, REAL)
    for tape in (construct_tape(circuit, level="device")(ANGLES), made_anew):
        assert len(take_apart(tape, Options()).numbers) == 2 + 2 * LAYERS + 1  # that of the observable
