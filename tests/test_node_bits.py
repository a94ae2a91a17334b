"""Circuits that are asked for their bits: measured at their end, in their middle, and round by round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from measured_samples import BITS, NONE, PHASE, each, measured
from simulator_branches import fits

from varq.keys import Key
from varq.node.bits import Size
from varq.node.nodes import Nodes
from varq.protocol import Sample, Value

pytestmark = pytest.mark.flagless

EXACT = 1e-10  # linear algebra in float64
SHOTS = 4000


def fejer() -> Any:
    """The law of textbook phase estimation, by its definition."""
    size = 1 << BITS
    x = np.arange(size)
    return np.abs(np.exp(1j * np.outer(PHASE - 2 * np.pi * x / size, x)).sum(axis=1) / size) ** 2


def counts_of(bits: Any) -> Any:
    return np.bincount(bits @ (1 << np.arange(BITS - 1, -1, -1)), minlength=1 << BITS)


def test_a_measured_circuit_round_by_round_has_the_law_of_the_whole() -> None:
    whole = Nodes().bits(measured, wires=2)
    np.testing.assert_allclose(whole.probabilities(NONE), fejer(), atol=EXACT)
    assert fits(counts_of(whole.evaluate(Sample(NONE, SHOTS), Key.from_seed(1)).outcomes), fejer())
    for device in ("default.qubit", "varq.qubit"):
        parts = Nodes(device).rounds(lambda x: qml.X(1), each, BITS, wires=2)
        reply = parts.evaluate(Sample(NONE, SHOTS), Key.from_seed(2))
        assert reply.outcomes is not None
        assert fits(counts_of(reply.outcomes[:, ::-1]), fejer())


def test_samples_follow_their_key() -> None:
    whole = Nodes().bits(measured, wires=2)
    one, same, other = (whole.evaluate(Sample(NONE, 50), Key.from_seed(k)).outcomes for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_a_circuit_may_branch_on_its_parameters_and_is_a_job() -> None:
    def flips(x: Any) -> None:
        for wire in range(int(x[0])):
            qml.X(wire)

    node = Nodes("default.qubit").bits(flips, wires=3, asked=(2, 1))
    for many, want in ((0, [0, 0]), (2, [0, 1]), (3, [1, 1])):
        prepared = node.prepare(Sample(np.array([float(many)]), 5), Key.from_seed(0), 2.0)
        assert [c.shots for c in prepared.circuits] == [10]
        reply = node.evaluate(Sample(np.array([float(many)]), 5), Key.from_seed(0))
        assert reply.outcomes is not None
        assert reply.outcomes.tolist() == [want] * 5


def test_sizes_are_counted_by_wires() -> None:
    size = Nodes().bits(measured, wires=2).size(NONE)
    # Each round is a Hadamard gate, the phase, a turn but in the first, a Hadamard gate and the measurement.
    assert size == Size(qubits=2, gates=1 + 5 * BITS - 1, depth=5 * BITS - 1)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Nodes().bits(measured, 2).evaluate(Value(NONE), Key.from_seed(0)), "answers samples. Got Value"),
        (lambda: Nodes().rounds(measured, each, 2, 2).evaluate(Value(NONE), Key.from_seed(0)), "samples. Got Value"),
        (lambda: Nodes("default.mixed").rounds(measured, each, 2, 2), "a simulator of pure states. Got default.mixed"),
        (lambda: Nodes().bits(measured, 2).evaluate(Sample(NONE, 0), Key.from_seed(0)), "shots must be at least 1"),
    ],
)
def test_wrong_requests(build: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        build()
