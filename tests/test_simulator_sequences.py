"""Measured circuits as loops over fused blocks: the same numbers as by plain NumPy, in programs that stay short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane.ops.mid_measure import MidMeasure
from simulator_branches import branches, fits, indices, law, mixture, record

from varq.simulator.measured import sequence
from varq.simulator.measured.derivatives import Exact, _values
from varq.simulator.measured.execution import execute_measured
from varq.simulator.measured.reading import read
from varq.simulator.measured.trajectories import draw
from varq.simulator.outcomes import outcome
from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
STEP, SLOPE = 1e-5, 1e-7  # central differences: step, and what they leave
POINT = 0.7
PLAIN = ("Hadamard", "S", "RX", "Rot", "PhaseShift")
PAIRS = ("CNOT", "SWAP", "CRY", "IsingXX", "SingleExcitation")
TRIPLES = ("Toffoli", "CSWAP")
PARAMETERS = {"RX": 1, "Rot": 3, "PhaseShift": 1, "CRY": 1, "IsingXX": 1, "SingleExcitation": 1}


def gates(rng: np.random.Generator, count: int, wires: int) -> list[tuple[str, list[int], list[float]]]:
    """Random gates on one to three wires: name, wires, parameters."""
    found = []
    for _ in range(count):
        size = int(rng.choice(3, p=(0.45, 0.45, 0.1))) + 1
        name = str(rng.choice((PLAIN, PAIRS, TRIPLES)[size - 1]))
        at = [int(w) for w in rng.permutation(wires)[:size]]
        found.append((name, at, list(rng.normal(size=PARAMETERS.get(name, 0)))))
    return found


def mixed(seed: int, wires: int, length: int, sampled: bool = False) -> Callable[..., Any]:
    """Stretches of gates between measurements, with what breaks and what joins them: conditions, angles, wide gates."""
    rng = np.random.default_rng(seed)
    stretches = [gates(rng, length, wires) for _ in range(3)]
    wide = np.linalg.qr(rng.normal(size=(32, 32)))[0] if wires >= 5 else None

    def circuit(x: Any = 1.0) -> Any:
        seen: list[Any] = []
        for stretch in stretches:
            for k, (name, at, angles) in enumerate(stretch):
                gate, given = getattr(qml, name), [x * a for a in angles]
                if seen and k % 5 == 3:
                    qml.cond(seen[-1] if k % 2 else sum(seen) != 1, gate)(*given, wires=at)
                elif seen and k % 7 == 5:
                    qml.RZ(outcome(lambda *b: jnp.sin(x + sum(b)), *seen) if k % 2 else x * seen[0], at[0])
                else:
                    gate(*given, wires=at)
            if wide is not None:
                qml.QubitUnitary(wide, wires=[4, 1, 0, 2, 3])
            if len(seen) < 2:
                seen.append(qml.measure(len(seen), reset=bool(len(seen) % 2)))
        if sampled:
            return qml.sample(seen), qml.sample(wires=[0, 1])
        return qml.expval(qml.Z(0) @ qml.X(wires - 1) + 0.3 * qml.Y(0)), qml.density_matrix([0, 1]), qml.probs(op=seen)

    return circuit


def forget() -> None:
    sequence._cut.cache_clear()
    jax.clear_caches()


@pytest.fixture
def looped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every stretch of two steps or more becomes a loop; nothing compiled is shared with other tests."""
    with monkeypatch.context() as changed:
        changed.setattr(sequence, "_FEW", 1)
        changed.setattr(sequence, "_ALIKE", 0)
        forget()
        yield
    forget()


def run(circuit: Callable[..., Any], *args: Any, wires: int, **options: Any) -> Any:
    return execute_measured(record(circuit, *args), range(wires), **options)


@pytest.mark.parametrize(
    ("seed", "wires", "length"),
    [(3, 5, 12), *(pytest.param(*n, marks=pytest.mark.full) for n in ((1, 3, 9), (2, 4, 12)))],
)
def test_loops_equal_a_numpy_sum_over_branches(seed: int, wires: int, length: int, looped: None) -> None:
    circuit = mixed(seed, wires, length)
    tape = record(circuit)
    mean, density, chances = run(circuit, wires=wires)
    with double():  # the truth calls the functions of outcomes too
        whole = mixture(tape, wires)
        np.testing.assert_allclose(chances, law(tape, wires, tape.measurements[2].mv), atol=EXACT)
    np.testing.assert_allclose(density, qml.math.partial_trace(whole[None], list(range(2, wires)))[0], atol=EXACT)
    observable = tape.measurements[0].obs.matrix(wire_order=range(wires))
    np.testing.assert_allclose(mean, np.trace(whole @ observable).real, atol=EXACT)


def test_a_long_circuit_is_looped_by_itself() -> None:
    circuit = mixed(4, 3, 2 * sequence._FEW)
    tape = record(circuit)
    mean, _, _ = run(circuit, wires=3)
    observable = tape.measurements[0].obs.matrix(wire_order=range(3))
    with double():
        np.testing.assert_allclose(mean, np.trace(mixture(tape, 3) @ observable).real, atol=EXACT)


def total(x: Any, after: int = 3, **options: Any) -> Any:
    """A function of one number by two loops, the second of `after` rounds of conditions and angles from an outcome."""

    def circuit() -> Any:
        for k in range(3):
            qml.RX((k + 1) * x, k % 2)
            qml.CRY(x, [0, 1])
        m = qml.measure(0)
        for k in range(after):
            qml.RX(k * x, 0)
            qml.cond(m, qml.CRY)(x, wires=[k % 2, (k + 1) % 2])
            qml.RZ(m * x, 1)
        return qml.expval(qml.Z(0) @ qml.X(1)), qml.probs(op=m)

    mean, chances = run(circuit, wires=2, **options)
    return mean + chances[1] ** 2


@pytest.mark.parametrize("stored", some([2**30, 0], 0))
@pytest.mark.parametrize("way", ["looped", "written out"])
def test_slopes_equal_finite_differences(stored: int, way: str, request: pytest.FixtureRequest) -> None:
    """Also where few states are stored, and the last chunk of a loop is filled up."""
    if way == "looped":
        request.getfixturevalue("looped")
    with double():
        slope = (total(POINT + STEP) - total(POINT - STEP)) / (2 * STEP)
        value = partial(total, stored_bytes=stored)
        np.testing.assert_allclose(jax.grad(value)(POINT), slope, atol=SLOPE)
        curve = (jax.grad(total)(POINT + STEP) - jax.grad(total)(POINT - STEP)) / (2 * STEP)
        np.testing.assert_allclose(jax.hessian(value)(POINT), curve, atol=SLOPE)


def test_loops_are_differentiated_twice_and_in_batches(looped: None) -> None:
    first = partial(total, after=0)
    with double():
        slopes = jax.vmap(jax.jacfwd(first))(jnp.array([POINT, POINT + STEP, POINT - STEP]))
        slope = (first(POINT + STEP) - first(POINT - STEP)) / (2 * STEP)
        np.testing.assert_allclose(slopes[0], slope, atol=SLOPE)
        np.testing.assert_allclose(jax.hessian(first)(POINT), (slopes[1] - slopes[2]) / (2 * STEP), atol=SLOPE)


@pytest.mark.parametrize("wires", [3, 5])
def test_shots_of_loops_follow_the_exact_law(wires: int, looped: None) -> None:
    circuit = mixed(6, wires, 9, sampled=True)
    tape = record(circuit)
    mid, end = run(circuit, wires=wires, shots=20000, key=3)
    chances = np.zeros(16)
    with double():
        for bits, state in branches(tape, wires):
            first = indices([[bits[m.meas_uid] for m in tape.operations if isinstance(m, MidMeasure)]])[0]
            chances[4 * first : 4 * first + 4] += (np.abs(state) ** 2).reshape(4, -1).sum(axis=1)
    assert fits(np.bincount(indices(np.hstack([mid, end])), minlength=16), chances)


@pytest.mark.parametrize("exact", [True, False])
def test_programs_grow_less_than_their_circuits(exact: bool) -> None:
    """Eight times the gates make a program less than twice as long, with which compile time goes."""

    def lines(length: int) -> int:
        every = gates(np.random.default_rng(7), 2 * length, 4)

        def circuit() -> Any:
            for k, (name, at, given) in enumerate(every):
                if k % length == length // 2:
                    qml.cond(qml.measure(k // length), qml.X)(1)
                getattr(qml, name)(*given, wires=at)
            return qml.expval(qml.Z(0) @ qml.X(1))

        with double():
            program, inputs = read(record(circuit), range(4), (), exact=exact)
            layout, known, traced = inputs.pack()
            if exact:
                made = _values.lower(Exact(program, tuple(range(4)), "float64"), layout, known, traced, 0)
            else:
                chosen = {"shots": 100, "fill": False, "dtype": "float64", "size": 100}
                made = draw.lower(program, layout, known, traced, jax.random.key(1), **chosen)
        return len(made.as_text().splitlines())

    assert lines(16 * sequence._FEW) < 2 * lines(2 * sequence._FEW)
