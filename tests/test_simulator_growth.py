"""How long the programs of circuits without repeats are: with that goes the time to compile them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from simulator_circuits import state_of, unitary

from varq.simulator.execution import state
from varq.simulator.lowering import lower
from varq.simulator.paths import Options
from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # a few hundred rotations in float64
WIRES = 6


def gates(count: int, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Gates of all kinds that the general path tells apart, those known by their matrix among them, without repeats.

    Returns functions of one number or matrix each, and these.
    """
    hermitian = qml.X(0) @ qml.Y(1) + qml.Z(0)
    kinds = [
        (lambda x, w: qml.RX(x, w[0]), 0),
        (lambda x, w: qml.CRY(x, w[:2]), 0),
        (lambda x, w: qml.MultiRZ(x, w[:5]), 0),
        (lambda x, w: qml.QubitUnitary(x, w[:2]), 2),
        (lambda x, w: qml.QubitUnitary(x, w[:1]), 1),
        (lambda x, w: qml.ctrl(qml.RX(x, w[0]), control=w[1], control_values=[0]), 0),
        (lambda x, w: qml.exp(hermitian.map_wires({0: w[0], 1: w[1]}), -1j * x), 0),
    ]
    made, given = [], []
    for _ in range(count):
        make, size = kinds[rng.integers(len(kinds))]
        wires = [int(w) for w in rng.permutation(WIRES)]
        made.append(lambda x, make=make, wires=wires: make(x, wires))
        given.append(unitary(2**size, rng) if size else float(rng.normal()))
    return made, given


def final(made: list[Any], given: list[Any], path: str) -> Any:
    """The final state."""
    with qml.QueuingManager.stop_recording():
        circuit, numbers = lower(QuantumScript([make(x) for make, x in zip(made, given, strict=True)]), range(WIRES))
    return state(circuit, numbers, Options(path=path))


def test_programs_grow_less_than_their_circuits() -> None:
    """Eight times the gates, their numbers apart, make a program less than twice as long."""

    def lines(count: int) -> int:
        made, given = gates(count, np.random.default_rng(3))
        with double():
            scalars = jnp.asarray([x for x in given if np.ndim(x) == 0])
            matrices = {k: jnp.asarray([x for x in given if np.shape(x) == (k, k)]) for k in (2, 4)}

            def run(scalars: Any, matrices: Any) -> Any:
                found = {0: iter(scalars), **{k: iter(m) for k, m in matrices.items()}}
                return final(made, [next(found[np.shape(x)[0] if np.ndim(x) else 0]) for x in given], "general")

            whole = jax.jit(run).lower(scalars, matrices).as_text()
            # What only hands the numbers over one by one is the caller's.
            parts = jax.jit(lambda *t: [list(jax.tree.leaves(list(map(list, jax.tree.leaves(x))))) for x in t])
            return len(whole.splitlines()) - len(parts.lower(scalars, matrices).as_text().splitlines())

    assert lines(320) < 2 * lines(40)


@pytest.mark.parametrize("path", ["layers", "general"])
def test_matrices_computed_together_are_their_own(path: str) -> None:
    made, given = gates(40, np.random.default_rng(4))
    want = state_of([make(x) for make, x in zip(made, given, strict=True)], WIRES)
    with double():
        found = jax.jit(lambda *x: final(made, list(x), path))(*given)
        np.testing.assert_allclose(found, want, atol=EXACT)
        np.testing.assert_allclose(final(made, given, path), want, atol=EXACT)
