"""Scans that keep little: the same numbers and slopes as plain ones, with less memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some

from varq.precision import double
from varq.simulator.lowering import lower
from varq.simulator.paths import Options, engine
from varq.simulator.scans import carried

pytestmark = pytest.mark.flagless  # what is kept does not depend on JAX's flag

SAME = 1e-5  # float32 sums in another order
SIZE = 4096
GROWTH = 4.5  # 16 times the steps keep 4 times the carries, and one group more


def step(carry, angle):
    return jnp.cos(angle) * carry + jnp.sin(angle) * jnp.roll(carry, 1) * carry


def value(angles, room):
    return jnp.sum(carried(step, jnp.linspace(0.1, 0.9, SIZE), angles, len(angles), room) ** 2) / SIZE


def plain(angles):
    carry = jnp.linspace(0.1, 0.9, SIZE)
    for angle in angles:
        carry = step(carry, angle)
    return jnp.sum(carry**2) / SIZE


@pytest.mark.parametrize("steps", [0, 1, 9, 11])
@pytest.mark.parametrize("room", [0, 4, 100])
def test_values_and_slopes_are_those_of_a_loop(steps, room):
    angles = jnp.asarray(np.linspace(0.3, -0.4, steps))
    found, slopes = jax.value_and_grad(value)(angles, room)
    wanted, expected = jax.value_and_grad(plain)(angles)
    np.testing.assert_allclose(found, wanted, atol=SAME)
    np.testing.assert_allclose(slopes, expected, atol=SAME)
    _, moved = jax.jvp(lambda a: value(a, room), (angles,), (jnp.ones_like(angles),))
    np.testing.assert_allclose(moved, jnp.sum(expected), atol=SAME)


@pytest.mark.parametrize("room", [0, 100])
def test_steps_may_have_no_inputs(room):
    assert carried(lambda carry, _: carry + 1, 0, (), 7, room) == 7


def memory(function, steps):
    compiled = jax.jit(jax.grad(function)).lower(jnp.zeros(steps)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_what_is_kept_grows_with_the_square_root_of_the_steps():
    few, many = (memory(lambda a: value(a, 1), steps) for steps in (64, 1024))
    assert many < GROWTH * few


WIRES, LAYERS = 12, 32
SPARED = 1.5  # times less: 12 of 32 states are kept, and the matrices of all layers either way


def mixed(angles):
    for wire in range(WIRES):
        qml.RY(angles[wire], wire)
        qml.RZ(angles[WIRES + wire], wire)
    for wire in range(WIRES):
        qml.CNOT([wire, (wire + 1) % WIRES])


def hopping(angles):
    for wire in range(WIRES - 1):
        qml.SingleExcitation(angles[wire], [wire, wire + 1])


def temporary(layer, stored):
    """Bytes that the gradient of a function of all probabilities takes besides its inputs and results."""

    @qml.qnode(qml.device("varq.qubit", wires=WIRES, stored_bytes=stored))
    def circuit(x):
        qml.BasisState([1, 0] * (WIRES // 2), range(WIRES))
        for angles in x:
            layer(angles)
        return qml.probs(wires=range(WIRES))

    cost = jax.jit(jax.grad(lambda x: jnp.sum(circuit(x) ** 2)))
    return cost.lower(jnp.full((LAYERS, 2 * WIRES), 0.1)).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("layer", some([mixed, hopping], hopping))
def test_a_gradient_of_probabilities_stores_no_more_than_it_may(layer):
    assert temporary(layer, 0) * SPARED < temporary(layer, 2**30)


def measured(stored, layers, every, wires=WIRES):
    """The same of a circuit that measures in its middle, and its slopes."""

    @qml.qnode(qml.device("varq.qubit", wires=wires, stored_bytes=stored))
    def circuit(x):
        for k, angles in enumerate(x):
            for wire in range(wires):
                qml.RY(angles[wire], wire)
                qml.CNOT([wire, (wire + 1) % wires])
            if k % every == 0:
                qml.cond(qml.measure(0), qml.X)(1)
        return qml.expval(qml.Z(1) @ qml.X(2))

    cost = jax.jit(jax.grad(circuit))
    given = jnp.full((layers, wires), 0.1)
    return cost.lower(given).compile().memory_analysis().temp_size_in_bytes, cost(given)


@pytest.mark.full
@pytest.mark.parametrize(("layers", "every"), [(8, 2), (12, 6)])
def test_a_gradient_of_a_measured_circuit_stores_no_more_than_it_may(layers, every):
    """Where gates would be written out one by one, and where they are a loop in any case."""
    (few, ours), (many, others) = (measured(stored, layers, every) for stored in (0, 2**30))
    assert few * SPARED < many
    np.testing.assert_allclose(ours, others, atol=SAME)


def test_all_parts_of_a_circuit_share_what_a_gradient_may_store():
    """Three loops of which any one fits: the states that are kept are no more than allowed, and no fewer than one's."""
    wires, repeats = 6, 8
    layers = ((qml.RY, qml.CZ), (qml.RX, qml.IsingZZ), (qml.Hadamard, qml.CRZ))
    gates = [
        kind(*[0.1] * kind.num_params, wires=[w, (w + 1) % wires][: kind.num_wires])
        for layer in layers
        for _ in range(repeats)
        for kind in layer
        for w in range(wires)
    ]
    circuit, numbers = lower(qml.tape.QuantumScript(gates), range(wires))
    one = repeats * 2 * 8 * 2**wires

    def kept(stored):
        made = engine(circuit, Options(path="layers", stored_bytes=stored))
        assert [p.segment.repeats for p in made.parts].count(repeats) == 3
        with double():
            states = made.forward(made.tables, numbers, keep=True)[1]
        found = sum(leaf.nbytes for of_part, _ in states for leaf in jax.tree.leaves(of_part))
        assert found == made.facts["stored_bytes"]
        return found

    assert one <= kept(one) < 2 * one
    assert 3 * one <= kept(4 * one) <= 4 * one
    assert kept(0) == 0
