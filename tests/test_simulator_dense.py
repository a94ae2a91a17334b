"""Circuits in the whole space: states, values, and every kind of derivative, against matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from pennylane.tape import QuantumScript
from simulator_circuits import again, make, masks, matrix_of, names, random_gates, state_of, unitary, width, words
from simulator_layers import as_written, exchanged, hardware, ladders, qaoa

from varq.precision import double
from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.dense.segments import segments
from varq.simulator.engine import Engine
from varq.simulator.execution import expectations, state
from varq.simulator.gates import Block, Move, Turn, expand, is_diagonal, is_real, matrices
from varq.simulator.lowering import lower
from varq.simulator.observables import PauliSum
from varq.simulator.paths import Options, engine

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # a few hundred rotations in float64
SINGLE = 1e-5  # and in float32
FINITE = 1e-7  # central differences with a step of 1e-5
SLOPE = 1e-8  # five-point differences with a step of 1e-3

DENSE = Options(path="layers")
CHOICES = {
    "stored": DENSE,
    "undone": Options(path="layers", stored_bytes=0),
    "no loops": Options(path="general"),
}


def lowered(gates: Sequence[Any], wires: int) -> tuple[Circuit, Numbers]:
    return lower(QuantumScript(list(gates)), range(wires))


def layered(wires: int, rng: np.random.Generator, repeats: int = 4) -> list[Any]:
    """A random start, repeats of a random layer, one odd gate, and a random end."""
    layer = random_gates(wires, 8, rng)
    body = [gate for _ in range(repeats) for gate in again(layer, rng)]
    return [*random_gates(wires, 3, rng), *body, *random_gates(wires, 5, rng)]


def along(gates: Sequence[Any], wires: int, matrix: Any, direction: Any, step: float = 1e-3) -> float:
    """The slope of an expectation value along a direction of all angles: five-point differences of matrix products."""
    script = QuantumScript(list(gates))
    places = [k for k, p in enumerate(script.get_parameters(trainable_only=False)) if np.ndim(p) == 0]
    values = np.array(script.get_parameters(trainable_only=False), dtype=object)[places].astype(float)

    def energy(t: float) -> float:
        moved = script.bind_new_parameters(list(values + t * direction), places)
        psi = state_of(moved.operations, wires)
        return float(np.real(psi.conj() @ matrix @ psi))

    near, far = energy(step) - energy(-step), energy(2 * step) - energy(-2 * step)
    return (8 * near - far) / (12 * step)


def compare(gates: Sequence[Any], wires: int, options: Options, rng: np.random.Generator) -> Engine:
    """State, value and gradient of a circuit; returns the engine that ran it."""
    circuit, numbers = lowered(gates, wires)
    found, coefficients = words(wires, 6, rng)
    structure = PauliSum(wires, masks(found))
    truth = state_of(gates, wires)
    matrix = matrix_of(found, coefficients)
    close, norm = EXACT if options.dtype == "float64" else SINGLE, np.abs(coefficients).sum()
    direction = rng.normal(size=len(numbers.angles))

    def value(angles: Any) -> Any:
        return expectations(circuit, numbers._replace(angles=angles), (structure,), (coefficients,), options)[0]

    with double():
        np.testing.assert_allclose(state(circuit, numbers, options), truth, atol=close)
        energy, gradient = jax.value_and_grad(value)(jnp.asarray(numbers.angles))
    np.testing.assert_allclose(energy, np.real(truth.conj() @ matrix @ truth), atol=norm * close)
    slope = along(gates, wires, matrix, direction)
    near = max(SLOPE, float(norm * np.linalg.norm(direction)) * close)
    np.testing.assert_allclose(np.asarray(gradient) @ direction, slope, atol=near)
    return engine(circuit, options)


# -- the table of gates


def product(primitives: Sequence[Any], wires: int, angles: Any) -> np.ndarray:
    """The matrix of primitives, by definition."""
    total = np.eye(2**wires, dtype=complex)
    for p in primitives:
        index = np.arange(2**wires)
        bit = lambda w, index=index: index >> (wires - 1 - w) & 1  # noqa: E731
        if isinstance(p, Turn):
            angle = p.offset + (0 if p.angle is None else p.scale * angles[p.angle])
            step = np.diag(np.exp(-0.5j * angle * (-1.0) ** sum((bit(w) for w in p.wires), 0 * index)))
        elif isinstance(p, Move):
            on = np.all([bit(c) == v for c, v in zip(p.controls, p.values, strict=True)], axis=0) | (not p.controls)
            step = np.eye(2**wires)[np.where(on, index ^ (1 << (wires - 1 - p.target)), index)]
        else:
            with double():
                small = np.asarray(matrices(p.name, jnp.asarray(angles[list(p.angles)])[None]))[0]
            small = small if is_real(p.name) else small[0] + 1j * small[1]
            step = qml.math.expand_matrix(small, p.wires, range(wires))
        total = step @ total
    return total


@pytest.mark.parametrize("style", ["frame", "whole"])
@pytest.mark.parametrize("name", [n for n in names(4) if n != "QubitUnitary"])
def test_a_gate_is_what_it_is_made_of(name: str, style: str) -> None:
    rng = np.random.default_rng(3)
    chosen = [int(w) for w in rng.permutation(4)[: width(name, 4, rng)]]
    gate = make(name, chosen, rng)
    circuit, numbers = lowered([gate], 4)
    (found,) = circuit.gates
    truth = np.exp(-1j * gate.data[0]) * np.eye(16) if name == "GlobalPhase" else qml.matrix(gate, range(4))
    np.testing.assert_allclose(product(expand(found, style), 4, numbers.angles), truth, atol=EXACT)
    assert is_diagonal(found) == np.allclose(truth, np.diag(np.diagonal(truth)))


@pytest.mark.parametrize("name", ["FermionicSingle", "FermionicDouble"])
def test_a_fermionic_excitation(name: str) -> None:
    from varq.ansatze import excitations

    gate = getattr(excitations, name)(0.7, wires=[0, 3, 1, 2] if name == "FermionicSingle" else [0, 2, 3, 4, 1])
    circuit, numbers = lowered([gate], 5)
    truth = qml.matrix(qml.tape.make_qscript(gate.decomposition)(), wire_order=range(5))
    np.testing.assert_allclose(product(expand(circuit.gates[0], "frame"), 5, numbers.angles), truth, atol=EXACT)


WRITTEN_OTHERWISE = {
    "adjoint of S": lambda x: qml.adjoint(qml.S(2)),
    "adjoint of T": lambda x: qml.adjoint(qml.T(1)),
    "adjoint of ISWAP": lambda x: qml.adjoint(qml.ISWAP([2, 0])),
    "adjoint of SISWAP": lambda x: qml.adjoint(qml.SISWAP([3, 1])),
    "U1": lambda x: qml.U1(x, 1),
    "CPhaseShift00": lambda x: qml.CPhaseShift00(x, [3, 1]),
    "CPhaseShift01": lambda x: qml.CPhaseShift01(x, [3, 1]),
    "CPhaseShift10": lambda x: qml.CPhaseShift10(x, [3, 1]),
    "single": lambda x: qml.FermionicSingleExcitation(x, [0, 1, 2, 4]),
    "double": lambda x: qml.FermionicDoubleExcitation(x, wires1=[0, 1, 2], wires2=[3, 4]),
}


@pytest.mark.parametrize("name", WRITTEN_OTHERWISE)
def test_what_is_written_otherwise_stays_on_the_sector_path(name: str) -> None:
    gate = WRITTEN_OTHERWISE[name](0.7)
    circuit, numbers = lowered([gate], 5)
    primitives = [p for g in circuit.gates for p in expand(g, "frame") if p.wires]
    truth = qml.matrix(QuantumScript([gate]) if gate.has_matrix else QuantumScript(gate.decomposition()), range(5))
    found = product(primitives, 5, numbers.angles)
    ratio = np.vdot(found, truth) / 32
    np.testing.assert_allclose(ratio * found, truth, atol=EXACT)
    np.testing.assert_allclose(abs(ratio), 1, atol=EXACT)
    assert engine(circuit, Options()).path == "sector"
    for chosen in (Options(), Options(path="general")):
        with double():
            final = state(*lowered([qml.PauliX(0), qml.PauliX(3), gate], 5), chosen)
        start = np.zeros(32)
        start[0b10010] = 1
        np.testing.assert_allclose(final, truth @ start, atol=EXACT)


def test_blocks_are_real_where_they_say_so() -> None:
    for name in names(4):
        block = Block(name, tuple(range(width(name, 4, np.random.default_rng(0)))))
        if is_real(block.name):
            matrix = make(name, block.wires, np.random.default_rng(1)).matrix()
            assert not np.any(np.imag(matrix))


# -- circuits


@pytest.mark.parametrize(
    ("wires", "count", "choice"),
    [
        (1, 8, "stored"),
        pytest.param(2, 20, "undone", marks=pytest.mark.full),
        pytest.param(3, 30, "stored", marks=pytest.mark.full),
        pytest.param(4, 40, "undone", marks=pytest.mark.full),
        (5, 40, "stored"),
        pytest.param(7, 60, "undone", marks=pytest.mark.full),
    ],
)
def test_circuits_without_structure(wires: int, count: int, choice: str) -> None:
    rng = np.random.default_rng(wires)
    assert compare(random_gates(wires, count, rng), wires, CHOICES[choice], rng).path == "general"


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_layers(seed: int, choice: str) -> None:
    rng = np.random.default_rng(seed)
    gates = layered(6, rng)
    assert compare(gates, 6, CHOICES[choice], rng).path == ("general" if choice == "no loops" else "layers")


def test_single_precision() -> None:
    rng = np.random.default_rng(5)
    gates = layered(5, rng)
    assert compare(gates, 5, Options(path="layers", dtype="float32"), rng).path == "layers"


def test_the_paths_that_are_found() -> None:
    rng = np.random.default_rng(2)
    found = {}
    for family in (hardware, qaoa, ladders):
        gates = [qml.Hadamard(w) for w in range(6)] + as_written(family(6, 5, rng), rng, 6)
        found[family.__name__] = engine(lowered(gates, 6)[0], DENSE).path
    found["random"] = engine(lowered(random_gates(6, 60, rng), 6)[0], DENSE).path
    assert found == {
        "hardware": "layers",
        "qaoa": "alternating",
        "ladders": "alternating",
        "random": "general",
    }


def test_commuting_gates_hide_no_layers() -> None:
    rng = np.random.default_rng(4)
    circuit, _ = lowered(exchanged(hardware(6, 8, rng), rng, 6), 6)
    assert max(s.repeats for s in segments(circuit.gates)) >= 6


def test_a_prepared_state_has_a_gradient() -> None:
    rng = np.random.default_rng(1)
    start = unitary(32, rng)[0]
    gates = random_gates(5, 12, rng)
    circuit, numbers = lower(QuantumScript([qml.StatePrep(start, wires=range(5)), *gates]), range(5))
    found, coefficients = words(5, 5, rng)
    structure, matrix = PauliSum(5, masks(found)), matrix_of(found, coefficients)
    np.testing.assert_allclose(numbers.arrays[0], [start.real, start.imag])

    def value(parts: Any) -> Any:
        moved = numbers._replace(arrays=(parts, *numbers.arrays[1:]))
        return expectations(circuit, moved, (structure,), (coefficients,), DENSE)[0]

    with double():
        slope = np.asarray(jax.grad(value)(jnp.asarray(numbers.arrays[0])))
    after = state_of(gates, 5, start)
    before = np.linalg.multi_dot(
        [np.stack([state_of(gates, 5, column) for column in np.eye(32)]).conj(), matrix, after]
    )
    np.testing.assert_allclose(slope, [2 * before.real, 2 * before.imag], atol=EXACT)


# -- derivatives of every kind


def problem(kind: str, wires: int = 5, count: int = 4) -> tuple[Callable[[Any], Any], np.ndarray, Any]:
    """Two expectation values as a function of a few angles, where they are, and the circuit's engine."""
    rng = np.random.default_rng(6)
    gates = {
        "general": lambda: random_gates(wires, 5 * wires, rng),
        "layers": lambda: as_written(hardware(wires, 3, rng), rng, wires),
        "alternating": lambda: as_written(qaoa(wires, 3, rng), rng, wires),
        "sector": lambda: conserving(rng),
    }[kind]()
    options = Options() if kind == "sector" else DENSE
    front = [qml.X(0), qml.X(2)] if kind == "sector" else [qml.Hadamard(w) for w in range(wires)]
    circuit, numbers = lowered([*front, *gates], wires)
    found, coefficients = words(wires, 4, rng)
    structure = PauliSum(wires, masks(found))
    mix = rng.normal(size=(len(numbers.angles), count)) / 3

    def values(x: Any) -> Any:
        angles = jnp.asarray(numbers.angles) + jnp.asarray(mix, x.dtype) @ x
        pair = (coefficients, 2 * coefficients[::-1])
        return expectations(circuit, numbers._replace(angles=angles), (structure, structure), pair, options)

    return values, np.array([0.1, -0.2, 0.3, 0.05])[:count], engine(circuit, options)


def conserving(rng: np.random.Generator) -> list[Any]:
    """Gates that keep the number of ones, real and complex, on four of five wires."""
    out: list[Any] = []
    for wires in ([0, 1], [2, 3], [1, 2]):
        out += [
            qml.SingleExcitation(rng.normal(), wires),
            qml.IsingXY(rng.normal(), wires),
            qml.CRZ(rng.normal(), wires),
        ]
    return [*out, qml.DoubleExcitation(rng.normal(), range(4)), qml.RZ(rng.normal(), 1)]


def differences(function: Callable[[Any], Any], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    rows = [np.asarray(function(x + step * e)) - np.asarray(function(x - step * e)) for e in np.eye(len(x))]
    return np.moveaxis(np.array(rows) / (2 * step), 0, -1)


@pytest.mark.parametrize("kind", some(["general", "layers", "alternating"], "general", "layers"))
def test_second_derivatives_of_small_circuits(kind: str) -> None:
    """Those in a sector, and all other derivatives, are in `test_derivatives_of_every_kind`.

    Alternating layers have second derivatives of their own at every change, in `test_simulator_alternating.py`.
    """
    values, x, chosen = problem(kind, 3 if kind == "general" else 5, 2)
    assert chosen.path == kind
    with double():
        curved = differences(jax.jit(jax.jacrev(values)), x)
        np.testing.assert_allclose(jax.jit(jax.hessian(values))(jnp.asarray(x)), curved, atol=FINITE)


@pytest.mark.parametrize("kind", some(["layers", "sector", "general", "alternating"], "sector"))
def test_derivatives_of_every_kind(kind: str) -> None:
    values, x, chosen = problem(kind)
    assert chosen.path == kind
    with double():
        compiled = jax.jit(values)
        truth = differences(compiled, x)
        x = jnp.asarray(x)
        np.testing.assert_allclose(jax.jit(jax.jacrev(values))(x), truth, atol=FINITE)
        np.testing.assert_allclose(jax.jit(jax.jacfwd(values))(x), truth, atol=FINITE)
        along = jnp.asarray([0.3, 0.1, -1.0, 2.0])
        np.testing.assert_allclose(jax.jvp(compiled, (x,), (along,))[1], truth @ along, atol=FINITE)
        np.testing.assert_allclose(jax.linearize(compiled, x)[1](along), truth @ along, atol=FINITE)
        curved = differences(jax.jit(jax.jacrev(values)), np.asarray(x))
        np.testing.assert_allclose(jax.jit(jax.hessian(values))(x), curved, atol=FINITE)
        batch = jnp.stack([x, 2 * x, -x])
        np.testing.assert_allclose(jax.jit(jax.vmap(values))(batch), [compiled(row) for row in batch], atol=EXACT)
        slopes = jax.jit(jax.vmap(jax.jacrev(values)))(batch)
        np.testing.assert_allclose(slopes[0], truth, atol=FINITE)


def test_coefficients_have_derivatives() -> None:
    rng = np.random.default_rng(9)
    circuit, numbers = lowered(random_gates(4, 15, rng), 4)
    found, coefficients = words(4, 6, rng)
    structure = PauliSum(4, masks(found))
    psi = state_of(random_gates(4, 15, np.random.default_rng(9)), 4)
    with double():
        value = partial(expectations, circuit, numbers, (structure,))
        single = jax.grad(lambda c: value((c,), DENSE)[0])(jnp.asarray(coefficients))
        truth = [np.real(psi.conj() @ matrix_of([w], [1.0]) @ psi) for w in found]
        np.testing.assert_allclose(single, truth, atol=EXACT)
        both = jax.hessian(lambda c: value((c * c,), DENSE)[0])(jnp.asarray(coefficients))
        np.testing.assert_allclose(both, np.diag(2 * np.array(truth)), atol=EXACT)


def test_the_callers_precision_comes_back() -> None:
    """With JAX's flag off, inputs and results are float32 and the work between them float64."""
    circuit, numbers = lowered([qml.RY(1.0, 0), qml.CNOT([0, 1])], 2)
    structure = PauliSum(2, ((0, 2),))

    def value(x: Any) -> Any:
        one = expectations(circuit, Numbers(x), (structure,), (np.array([1.0]),), DENSE)[0]
        return one + jnp.abs(state(circuit, Numbers(x), DENSE)[0]) ** 2

    x = jnp.asarray(numbers.angles)
    found, slope = jax.jit(jax.value_and_grad(value))(x)
    assert found.dtype == slope.dtype == x.dtype
    np.testing.assert_allclose(found, np.cos(1.0) + np.cos(0.5) ** 2, atol=1e-6)
    np.testing.assert_allclose(slope, [-np.sin(1.0) - np.sin(1.0) / 2], atol=1e-6)
    curved = jax.jit(jax.hessian(value))(x)
    np.testing.assert_allclose(curved, [[-1.5 * np.cos(1.0)]], atol=1e-6)


def test_tables_keep_their_precision_in_a_program_of_the_callers() -> None:
    """The sector's tables hold float64 numbers, which JAX would narrow in a program compiled with its flag off."""
    circuit, numbers = lower(
        QuantumScript([qml.BasisState([1, 1, 0, 0], range(4)), qml.DoubleExcitation(0.4, range(4))]), range(4)
    )
    structure = PauliSum(4, ((0, 8),))

    def value(x: Any) -> Any:
        return expectations(circuit, Numbers(x), (structure,), (np.array([1.0]),), Options(path="sector"))[0]

    found, slope = jax.jit(jax.value_and_grad(value))(jnp.asarray(numbers.angles))
    np.testing.assert_allclose([found, slope[0]], [-np.cos(0.4), np.sin(0.4)], atol=1e-6)


@pytest.mark.parametrize("gate", [qml.X(0), qml.Toffoli([0, 3, 5])], ids=repr)
def test_circuits_without_numbers_run(gate: Any) -> None:
    wires = 6
    amplitudes = np.arange(1.0, 2**wires + 1)
    tape = QuantumScript([qml.StatePrep(amplitudes / np.linalg.norm(amplitudes), range(wires)), gate], [qml.state()])
    (found,), (truth,) = (
        qml.execute([tape], qml.device(name, wires=wires)) for name in ("varq.qubit", "default.qubit")
    )
    np.testing.assert_allclose(found, truth, atol=EXACT)
