"""The sector path against PennyLane's matrices, its state vectors and finite differences."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varq.ansatze.excitations import FermionicDouble, FermionicSingle, excite
from varq.precision import double
from varq.problems.molecule import Molecule
from varq.simulator.circuit import Circuit, Gate, Initial, Numbers
from varq.simulator.observables import PauliSum
from varq.simulator.sector.engine import SectorEngine, sector_engine
from varq.simulator.sector.parts import CONSERVING

EXACT = 1e-10  # linear algebra in float64
SINGLE = 1e-5  # the same in float32
SLOPE = 1e-8  # central differences of step 1e-5 are right to about 1e-10, rounding adds 1e-11 / 1e-5 per unit
CURVE = 1e-6  # central differences of gradients

SIZES = {
    "PauliZ": (1, 0), "S": (1, 0), "T": (1, 0), "Adjoint(S)": (1, 0), "Adjoint(T)": (1, 0), "CZ": (2, 0), "CCZ": (3, 0),
    "SWAP": (2, 0), "CSWAP": (3, 0), "ISWAP": (2, 0), "SISWAP": (2, 0), "Adjoint(ISWAP)": (2, 0),
    "Adjoint(SISWAP)": (2, 0), "RZ": (1, 1), "PhaseShift": (1, 1), "U1": (1, 1), "CRZ": (2, 1),
    "ControlledPhaseShift": (2, 1), "CPhaseShift00": (2, 1), "CPhaseShift01": (2, 1), "CPhaseShift10": (2, 1),
    "IsingZZ": (2, 1), "MultiRZ": (3, 1), "PauliRot": (3, 1), "GlobalPhase": (0, 1), "IsingXY": (2, 1), "PSWAP": (2, 1),
    "FermionicSWAP": (2, 1), "SingleExcitation": (2, 1), "SingleExcitationPlus": (2, 1),
    "SingleExcitationMinus": (2, 1), "DoubleExcitation": (4, 1), "DoubleExcitationPlus": (4, 1),
    "DoubleExcitationMinus": (4, 1), "OrbitalRotation": (4, 1), "FermionicSingle": (4, 1), "FermionicDouble": (6, 1),
    "FermionicSingleExcitation": (4, 1), "FermionicDoubleExcitation": (5, 1), "SQISW": (2, 0), "Identity": (1, 0),
    "Barrier": (1, 0),
}  # fmt: skip
REAL = (
    "SingleExcitation", "DoubleExcitation", "OrbitalRotation", "FermionicSingle", "FermionicDouble", "SWAP", "CZ",
    "FermionicSingleExcitation", "FermionicDoubleExcitation", "PauliZ",
)  # fmt: skip


def operation(gate: Gate, angles: Any) -> Any:
    """The gate as PennyLane has it."""
    a = [angles[k] for k in gate.angles]
    w = list(gate.wires)
    if gate.name == "GlobalPhase":
        return qml.GlobalPhase(*a)
    if gate.name.startswith("Adjoint("):
        return qml.adjoint(getattr(qml, gate.name[8:-1])(w))
    if gate.name == "PauliRot":
        return qml.PauliRot(a[0], gate.static, w)
    if gate.name == "MultiControlledX":
        return qml.MultiControlledX(w, control_values=gate.static)
    if gate.name == "FermionicDoubleExcitation":
        first = gate.static or 2
        return qml.FermionicDoubleExcitation(a[0], wires1=w[:first], wires2=w[first:])
    own = {"FermionicSingle": FermionicSingle, "FermionicDouble": FermionicDouble}
    return own.get(gate.name, getattr(qml, gate.name, None))(*a, wires=w)


def program(names: Any, wires: int, rng: Any, bits: Any = None) -> Circuit:
    """Gates of these names on random positions, each with an angle of its own."""
    gates, used = [], 0
    for name in names:
        size, number = SIZES[name]
        place = tuple(int(k) for k in rng.permutation(wires)[:size])
        static: Any = {"PauliRot": "ZIZ", "FermionicDoubleExcitation": 3}.get(name)
        gates.append(Gate(name, place, tuple(range(used, used + number)), None, static))
        used += number
    bits = tuple(int(b) for b in rng.integers(0, 2, wires)) if bits is None else bits
    return Circuit(wires, tuple(gates), Initial(bits), used)


def reference(circuit: Circuit, angles: Any) -> Any:
    """The final state by PennyLane's matrices."""
    state = np.zeros((2,) * circuit.wires, complex)
    state[circuit.initial.bits] = 1
    ops = [operation(g, np.asarray(angles)) for g in circuit.gates if g.name != "Barrier"]
    for op in ops:
        if len(op.wires) == 0:
            state = state * np.exp(-1j * op.data[0])
        else:
            state = qml.devices.qubit.apply_operation(qml.QubitUnitary(qml.matrix(op), op.wires), state)
    return state.ravel()


def engine(circuit: Circuit) -> SectorEngine:
    """The engine of a circuit that must qualify."""
    found = sector_engine(circuit)
    assert isinstance(found, SectorEngine), found
    return found


def padded(circuit: Circuit) -> Circuit:
    """The circuit with one empty wire more, so that no sector is more than half of all."""
    initial = Initial((*circuit.initial.bits, 0))
    return Circuit(circuit.wires + 1, circuit.gates, initial, circuit.angles)


def words(wires: int, count: int, rng: Any) -> tuple[PauliSum, Any]:
    """A random Pauli sum with coefficients: conserving and other words."""
    masks = rng.integers(0, 2**wires, (count, 2))
    masks[: count // 2, 0] &= -2  # some with fewer X
    masks[::3, 0] = 0
    return PauliSum(wires, tuple((int(x), int(z)) for x, z in masks)), rng.normal(size=count)


def dense(structure: PauliSum, coefficients: Any) -> Any:
    """The matrix of a Pauli sum, word by word."""
    n = structure.wires
    out = np.zeros((2**n, 2**n), complex)
    columns = np.arange(2**n)
    for (x, z), c in zip(structure.terms, coefficients, strict=True):
        sign = 1 - 2 * (np.bitwise_count(columns & z) & 1).astype(int)
        out[columns ^ x, columns] += c * 1j ** (x & z).bit_count() * sign
    return out


def value(found: SectorEngine, structure: PauliSum, angles: Any, coefficients: Any) -> Any:
    """<H>."""
    ket, _ = found.forward(found.tables, Numbers(angles))
    table = found.observable(structure)
    return jnp.vdot(ket, table.apply(table.tables, coefficients, ket))


def slopes(found: SectorEngine, structure: PauliSum, angles: Any, coefficients: Any) -> Any:
    """The gradient of <H> by running backwards."""
    numbers = Numbers(angles)
    ket, kept = found.forward(found.tables, numbers, keep=True)
    table = found.observable(structure)
    bra = table.apply(table.tables, coefficients, ket)
    return found.backward(found.tables, numbers, ket, kept, bra).angles


def _starts(name: str, size: int) -> list[int]:
    """Basis states that a gate does something to: columns of its matrix that differ from the identity's."""
    moved = np.nonzero(abs(_matrix(name, size) - np.eye(2**size)).sum(0) > EXACT)[0]
    return [int(k) for k in moved[:: 1 + len(moved) // 5]] or [0]


def _matrix(name: str, size: int) -> Any:
    circuit = program([name], size, np.random.default_rng(4))
    op = operation(circuit.gates[0], [0.4]) if name != "Barrier" else qml.Identity(0)
    return qml.matrix(op, wire_order=range(size))


@pytest.mark.parametrize("name", sorted(CONSERVING))
def test_every_gate_is_pennylanes_matrix(name: str) -> None:
    size, number = SIZES[name]
    size = max(size, 1)
    rng = np.random.default_rng(3)
    angles = rng.normal(size=number)
    with double():
        for start in _starts(name, size):
            bits = tuple(int(b) for b in f"{start:0{size}b}")
            circuit = program([name], size, np.random.default_rng(4), bits)
            circuit = padded(circuit)
            found = engine(circuit)
            state = found.state(found.tables, Numbers(jnp.asarray(angles)))
            np.testing.assert_allclose(state, reference(circuit, angles), atol=EXACT)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_random_circuits(seed: int, real: bool) -> None:
    rng = np.random.default_rng(seed)
    wires = int(rng.integers(6, 9))
    names = [str(n) for n in rng.choice(REAL if real else sorted(SIZES), 12)]
    circuit = padded(program(names, wires, rng))
    found = engine(circuit)
    assert not real or found.facts["arithmetic"] == "real"
    angles = rng.normal(size=circuit.angles)
    structure, coefficients = words(wires + 1, 60, rng)
    state = reference(circuit, angles)
    matrix = dense(structure, coefficients)
    want = float(np.real(state.conj() @ matrix @ state))
    for exact, tolerance in ((True, EXACT), (False, SINGLE)):
        with double() if exact else double(False):
            x, c = jnp.asarray(angles), jnp.asarray(coefficients)
            np.testing.assert_allclose(found.state(found.tables, Numbers(x)), state, atol=tolerance)
            np.testing.assert_allclose(value(found, structure, x, c), want, atol=tolerance * len(coefficients))
    _check_slopes(found, circuit, matrix, structure, angles, coefficients)


def _check_slopes(found: Any, circuit: Any, matrix: Any, structure: Any, angles: Any, coefficients: Any) -> None:
    def exact(x: Any) -> float:
        state = reference(circuit, x)
        return float(np.real(state.conj() @ matrix @ state))

    with double():
        got = slopes(found, structure, jnp.asarray(angles), jnp.asarray(coefficients))
    step = 1e-5
    for k in range(min(3, circuit.angles)):
        move = step * np.eye(circuit.angles)[k]
        want = (exact(angles + move) - exact(angles - move)) / (2 * step)
        np.testing.assert_allclose(got[k], want, atol=SLOPE * len(coefficients))
