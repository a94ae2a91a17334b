"""The sector path against PennyLane's matrices, its state vectors and finite differences."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from gate_cases import some
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_circuits import masks, matrix_of, words

from varq.ansatze.excitations import FermionicDouble, FermionicSingle, excite
from varq.precision import double
from varq.problems.molecule import Molecule
from varq.simulator.circuit import Circuit, Gate, Initial, Numbers
from varq.simulator.observables import PauliSum
from varq.simulator.sector.engine import SectorEngine, sector_engine
from varq.simulator.sector.parts import CONSERVING

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

EXACT = 1e-10  # linear algebra in float64
SINGLE = 1e-5  # the same in float32
SLOPE = 1e-8  # central differences of step 1e-5 are right to about 1e-10, rounding adds 1e-11 / 1e-5 per unit
CURVE = 1e-6  # central differences of gradients

SIZES = {
    "PauliZ": (1, 0), "S": (1, 0), "T": (1, 0), "CZ": (2, 0), "CCZ": (3, 0), "SWAP": (2, 0), "CSWAP": (3, 0),
    "ISWAP": (2, 0), "SISWAP": (2, 0), "RZ": (1, 1), "PhaseShift": (1, 1), "CRZ": (2, 1),
    "ControlledPhaseShift": (2, 1), "IsingZZ": (2, 1), "MultiRZ": (3, 1), "PauliRot": (3, 1), "GlobalPhase": (0, 1),
    "IsingXY": (2, 1), "PSWAP": (2, 1),
    "FermionicSWAP": (2, 1), "SingleExcitation": (2, 1), "SingleExcitationPlus": (2, 1),
    "SingleExcitationMinus": (2, 1), "DoubleExcitation": (4, 1), "DoubleExcitationPlus": (4, 1),
    "DoubleExcitationMinus": (4, 1), "OrbitalRotation": (4, 1), "FermionicSingle": (4, 1), "FermionicDouble": (6, 1),
}  # fmt: skip
REAL = (
    "SingleExcitation", "DoubleExcitation", "OrbitalRotation", "FermionicSingle", "FermionicDouble", "SWAP", "CZ",
    "PauliZ",
)  # fmt: skip


def operation(gate: Gate, angles: Any) -> Any:
    """The gate as PennyLane has it."""
    a = [angles[k] for k in gate.angles]
    w = list(gate.wires)
    if gate.name == "GlobalPhase":
        return qml.GlobalPhase(*a)
    if gate.name == "PauliRot":
        return qml.PauliRot(a[0], gate.static, w)
    if gate.name == "MultiControlledX":
        return qml.MultiControlledX(w, control_values=gate.static)
    own = {"FermionicSingle": FermionicSingle, "FermionicDouble": FermionicDouble}
    return own.get(gate.name, getattr(qml, gate.name, None))(*a, wires=w)


def program(names: Any, wires: int, rng: Any, bits: Any = None) -> Circuit:
    """Gates of these names on random positions, each with an angle of its own."""
    gates, used = [], 0
    for name in names:
        size, number = SIZES[name]
        place = tuple(int(k) for k in rng.permutation(wires)[:size])
        static: Any = {"PauliRot": "ZIZ"}.get(name)
        gates.append(Gate(name, place, tuple(range(used, used + number)), None, static))
        used += number
    bits = tuple(int(b) for b in rng.integers(0, 2, wires)) if bits is None else bits
    return Circuit(wires, tuple(gates), Initial(bits), used)


def reference(circuit: Circuit, angles: Any) -> Any:
    """The final state by PennyLane's matrices."""
    state = np.zeros((2,) * circuit.wires, complex)
    state[circuit.initial.bits] = 1
    ops = [operation(g, np.asarray(angles)) for g in circuit.gates]
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


def sums(wires: int, count: int, rng: Any) -> tuple[PauliSum, Any, Any]:
    """A random Pauli sum, its coefficients and its matrix: words that conserve, that do in part, and others."""
    found, coefficients = words(wires, count, rng)
    return PauliSum(wires, masks(found)), coefficients, matrix_of(found, coefficients)


def value(found: SectorEngine, structure: PauliSum, tables: Any, angles: Any, coefficients: Any) -> Any:
    """<H>; `tables` are those of engine and observable."""
    ket, _ = found.forward(tables[0], Numbers(angles))
    return jnp.vdot(ket, found.observable(structure).apply(tables[1], coefficients, ket))


@partial(jax.jit, static_argnums=(0, 1))
def results(found: SectorEngine, structure: PauliSum, tables: Any, angles: Any, coefficients: Any) -> Any:
    """<H>, and its gradient by running backwards."""
    numbers = Numbers(angles)
    ket, kept = found.forward(tables[0], numbers, keep=True)
    bra = found.observable(structure).apply(tables[1], coefficients, ket)
    return jnp.vdot(ket, bra), found.backward(tables[0], numbers, ket, kept, bra).angles


def tables_of(found: SectorEngine, structure: PauliSum) -> Any:
    """What `value` and `results` need."""
    return found.tables, found.observable(structure).tables


@partial(jax.jit, static_argnums=0)
def full(found: SectorEngine, tables: Any, angles: Any) -> Any:
    """The state vector."""
    return found.state(tables, Numbers(angles))


def _starts(name: str, size: int) -> list[int]:
    """Basis states that a gate does something to: columns of its matrix that differ from the identity's."""
    moved = np.nonzero(abs(_matrix(name, size) - np.eye(2**size)).sum(0) > EXACT)[0]
    return [int(k) for k in moved[:: 1 + len(moved) // 5]] or [0]


def _matrix(name: str, size: int) -> Any:
    circuit = program([name], size, np.random.default_rng(4))
    op = operation(circuit.gates[0], [0.4])
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
            state = full(found, found.tables, angles)
            np.testing.assert_allclose(state, reference(circuit, angles), atol=EXACT)


def check(circuit: Circuit, seed: int) -> None:
    """State, value and gradient of a circuit that qualifies, in both precisions, against PennyLane's matrices."""
    rng = np.random.default_rng(seed)
    found = engine(circuit)
    angles = rng.normal(size=circuit.angles)
    structure, coefficients, matrix = sums(circuit.wires, 60, rng)
    state = reference(circuit, angles)
    want = float(np.real(state.conj() @ matrix @ state))
    tables = tables_of(found, structure)
    for exact, tolerance in ((True, EXACT), (False, SINGLE)):
        with double(exact):
            dtype = np.float64 if exact else np.float32
            x, c = angles.astype(dtype), coefficients.astype(dtype)
            np.testing.assert_allclose(full(found, found.tables, x), state, atol=tolerance)
            got, slopes = results(found, structure, tables, x, c)
            assert got.dtype == slopes.dtype == dtype
            np.testing.assert_allclose(got, want, atol=tolerance * len(coefficients))
            if exact:
                check_slopes(circuit, matrix, angles, slopes)


def check_slopes(circuit: Circuit, matrix: Any, angles: Any, slopes: Any) -> None:
    """A few entries of a gradient against central differences of the reference."""

    def exact(x: Any) -> float:
        state = reference(circuit, x)
        return float(np.real(state.conj() @ matrix @ state))

    step = 1e-5
    for k in range(0, circuit.angles, max(1, circuit.angles // 3)):
        move = step * np.eye(circuit.angles)[k]
        want = (exact(angles + move) - exact(angles - move)) / (2 * step)
        np.testing.assert_allclose(slopes[k], want, atol=SLOPE)


@settings(max_examples=3)
@given(st.integers(0, 10**6))
def test_random_real_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = padded(program([str(n) for n in rng.choice(REAL, 14)], int(rng.integers(6, 8)), rng))
    assert engine(circuit).facts["arithmetic"] == "real"
    check(circuit, seed)


@pytest.mark.parametrize("names", [("RZ", "MultiRZ", "S"), ("SWAP", "CZ"), ("IsingXY", "ISWAP"), ()])
def test_circuits_of_one_kind_of_step(names: tuple[str, ...]) -> None:
    check(program(names * 3, 5, np.random.default_rng(1)), 2)


def test_pauli_sums_without_strings_of_two_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.simulator.sector.strings._WASTE", 0)
    rng = np.random.default_rng(5)
    check(padded(program([str(n) for n in rng.choice(REAL, 10)], 6, rng)), 5)
    check(padded(program(["SingleExcitation", "IsingXY", "PSWAP", "DoubleExcitation"], 6, rng)), 6)


def test_sums_too_large_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varq.simulator.sector.strings._WASTE", 0)
    monkeypatch.setattr("varq.simulator.sector.hamiltonian.MOST_ELEMENTS", 3)
    check(chain(6, 3), 5)
    check(program(["IsingXY", "RZ", "IsingXY"], 6, np.random.default_rng(5), (1, 0, 1, 0, 1, 0)), 5)
    monkeypatch.setattr("varq.simulator.sector.basis._TABLE_WIRES", 4)
    assert engine(chain(6, 3)).observable(sums(6, 30, np.random.default_rng(5))[0]) is None


def shared(circuit: Circuit) -> Circuit:
    """The circuit with its first angle in the place of every third."""
    gates = tuple(
        Gate(g.name, g.wires, tuple(0 if a % 3 == 0 else a for a in g.angles), None, g.static) for g in circuit.gates
    )
    return Circuit(circuit.wires, gates, circuit.initial, circuit.angles + 1)


def test_shared_and_unused_angles() -> None:
    rng = np.random.default_rng(8)
    circuit = shared(padded(program(["SingleExcitation", "RZ", "IsingXY", "DoubleExcitation"] * 3, 6, rng)))
    check(circuit, 8)


SETS = [("SingleExcitation", "DoubleExcitation"), ("IsingXY", "RZ", "SingleExcitation")]


@pytest.mark.parametrize("names", some(SETS, SETS[0]))
def test_second_derivatives_batches_and_forward_mode(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(9)
    circuit = program(names * 2, 6, rng, (1, 1, 0, 0, 1, 0))
    found = engine(circuit)
    structure, coefficients, _ = sums(6, 40, rng)
    tables = tables_of(found, structure)
    angles = rng.normal(size=circuit.angles)
    slope = lambda x: results(found, structure, tables, x, coefficients)[1]  # noqa: E731
    step = 1e-4
    with double():
        curves = jax.jacfwd(slope)(jnp.asarray(angles))
        moves = step * np.eye(circuit.angles)
        want = np.array([(slope(angles + m) - slope(angles - m)) / (2 * step) for m in moves])
        np.testing.assert_allclose(curves, want, atol=CURVE)
        np.testing.assert_allclose(curves, curves.T, atol=SLOPE)
        plain = jax.grad(lambda x: value(found, structure, tables, x, coefficients))(jnp.asarray(angles))
        np.testing.assert_allclose(plain, slope(angles), atol=SLOPE)
        batch = jax.vmap(slope)(jnp.asarray(angles + moves))
        np.testing.assert_allclose(batch[1], slope(angles + moves[1]), atol=EXACT)
        single = np.eye(len(coefficients))
        several = jax.vmap(lambda c: results(found, structure, tables, angles, c)[1])(single[:3])
        np.testing.assert_allclose(several[2], results(found, structure, tables, angles, single[2])[1], atol=EXACT)


def hamiltonian(molecule: Molecule) -> tuple[PauliSum, Any, Any]:
    """The words, coefficients and matrix of a molecule's Hamiltonian."""
    sentence = molecule.hamiltonian.pauli_rep
    found = ["".join(word.get(k, "I") for k in range(molecule.wires)) for word in sentence]
    coefficients = np.array([float(np.real(c)) for c in sentence.values()])
    return PauliSum(molecule.wires, masks(found)), coefficients, matrix_of(found, coefficients)


def excitations(wires: int, electrons: int, broken: bool, rng: Any) -> Circuit:
    """Fermionic excitations out of the lowest wires; `broken` mixes the spins."""
    gates = []
    for k in range(12):
        while True:
            i, j = sorted(int(x) for x in rng.choice(electrons, 2, replace=False))
            a, b = sorted(int(x) for x in electrons + rng.choice(wires - electrons, 2, replace=False))
            if broken or (i % 2 + j % 2, i * j % 2) == (a % 2 + b % 2, a * b % 2):
                break
        op = excite(0.0, ((i, j), (a, b))) if k % 3 else excite(0.0, ((i,), (a if broken or (a - i) % 2 == 0 else b,)))
        if not broken and op.name == "FermionicSingle" and (op.wires[0] - op.wires[1]) % 2:
            continue
        gates.append(Gate(op.name, tuple(op.wires), (len(gates),)))
    bits = tuple(int(k < electrons) for k in range(wires))
    return Circuit(wires, tuple(gates), Initial(bits), len(gates))


@pytest.mark.parametrize("broken", [False, True])
def test_molecule(broken: bool) -> None:
    molecule = Molecule.load("H4")
    structure, coefficients, matrix = hamiltonian(molecule)
    rng = np.random.default_rng(11)
    circuit = excitations(molecule.wires, 4, broken, rng)
    found = engine(circuit)
    assert found.facts["particles"] == (((8, 4),) if broken else ((4, 2), (4, 2)))
    angles = rng.normal(size=circuit.angles)
    with double():
        got, slopes = results(found, structure, tables_of(found, structure), angles, coefficients)
        state = reference(circuit, angles)
        np.testing.assert_allclose(got, np.real(state.conj() @ matrix @ state), atol=EXACT)
        check_slopes(circuit, matrix, angles, slopes)


def test_signs_and_swaps_cost_no_steps() -> None:
    plain = (Gate("SingleExcitation", (3, 0), (0,)), Gate("DoubleExcitation", (4, 5, 0, 1), (1,)))
    signs = (Gate("CZ", (0, 1)), Gate("CZ", (0, 2)))
    initial = Initial((1, 1, 0, 0, 0, 0))
    bare = engine(Circuit(6, plain, initial, 2))
    dressed = engine(Circuit(6, (*signs, plain[0], *signs, Gate("SWAP", (1, 2)), plain[1]), initial, 2))
    assert dressed.facts["steps"] == bare.facts["steps"]
    check(Circuit(6, (*signs, plain[0], *signs, Gate("SWAP", (1, 2)), plain[1]), initial, 2), 1)


def test_only_reached_states_are_kept() -> None:
    pairs = [(0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 6, 7)]
    gates = tuple(Gate("DoubleExcitation", w, (k,)) for k, w in enumerate(pairs))
    found = engine(Circuit(8, gates, Initial((1, 1, 0, 0, 1, 1, 0, 0)), 3))
    assert found.facts["amplitudes"] == 6  # two of four electron pairs
    assert "6 of 2**8" in found.why


def test_repeated_gates_share_their_table() -> None:
    gates = tuple(Gate("SingleExcitation", (0, 2), (k,)) for k in range(5))
    one = engine(Circuit(4, gates[:1], Initial((1, 1, 0, 0)), 1))
    many = engine(Circuit(4, gates, Initial((1, 1, 0, 0)), 5))
    assert many.facts["distinct_tables"] == one.facts["distinct_tables"]
    check(Circuit(4, gates, Initial((1, 1, 0, 0)), 5), 3)


def test_classical_gates_in_front_prepare() -> None:
    first = (
        Gate("PauliX", (0,)), Gate("CNOT", (0, 2)), Gate("Toffoli", (0, 2, 3)), Gate("SWAP", (3, 4)),
        Gate("MultiControlledX", (1, 0, 3), (), None, (0, 1)), Gate("CSWAP", (0, 2, 1)),
    )  # fmt: skip
    rest = (Gate("SingleExcitation", (0, 1), (0,)), Gate("PauliX", (5,)), Gate("IsingXY", (4, 2), (1,)))
    check(Circuit(6, (*first, *rest), Initial((0,) * 6), 2), 4)


ZEROS = Initial((0,) * 4)


@pytest.mark.parametrize(
    ("circuit", "reason"),
    [
        (Circuit(4, (Gate("RX", (0,), (0,)),), ZEROS, 1), "RX on positions .0,. is not known to conserve"),
        (Circuit(4, (Gate("Matrix", (0,), (), 0),), ZEROS, 0, ((2, 2, 2),)), "Matrix on positions"),
        (Circuit(4, (Gate("PauliRot", (0, 1), (0,), None, "XY"),), ZEROS, 1), "PauliRot on positions"),
        (Circuit(4, (Gate("RZ", (0,), (0,)), Gate("PauliX", (0,))), ZEROS, 1), "PauliX on positions"),
        (Circuit(4, (), Initial((0,) * 4, 0), 0, ((2, 16),)), "starts from a state given by its amplitudes"),
        (Circuit(70, (), Initial((0,) * 70), 0), "70 wires; basis states of at most 62"),
        (Circuit(2, (Gate("SWAP", (0, 1)), Gate("CNOT", (1, 0))), Initial((1, 0)), 0), None),
        (Circuit(1, (Gate("RZ", (0,), (0,)),), Initial((0,)), 1), None),
    ],
)
def test_refusals(circuit: Circuit, reason: str | None) -> None:
    found = sector_engine(circuit)
    if reason is None:
        assert isinstance(found, SectorEngine)
    else:
        assert isinstance(found, str)
        assert re.search(reason, found)


def chain(wires: int, particles: int) -> Circuit:
    gates = tuple(Gate("SingleExcitation", (k, k + 1), (k,)) for k in range(wires - 1))
    return Circuit(wires, gates, Initial(tuple(int(k < particles) for k in range(wires))), wires - 1)


def test_sectors_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search("more than half of all", str(sector_engine(chain(3, 1)))) is None  # 3 of 8
    monkeypatch.setattr("varq.simulator.sector.engine.MOST_STATES", 10)
    assert re.search("reaches more than 10 basis states", str(sector_engine(chain(6, 3))))
    monkeypatch.undo()
    monkeypatch.setattr("varq.simulator.sector.engine.MOST_BYTES", 10)
    assert re.search("tables on 20 basis states would take", str(sector_engine(chain(6, 3))))


def test_more_wires_than_a_table_of_positions() -> None:
    found = engine(chain(40, 1))
    assert len(found.basis) == 40
    angles = np.random.default_rng(0).normal(size=39)
    structure = PauliSum(40, tuple((0, 1 << k) for k in range(40)) + tuple((3 << k, 0) for k in range(39)))
    with double():
        tables = tables_of(found, structure)
        total, _ = results(found, structure, tables, angles, np.r_[np.ones(40), np.zeros(39)])
        np.testing.assert_allclose(total, 38, atol=EXACT)  # one of 40 spins is down
        _, slopes = results(found, structure, tables, angles, np.ones(79))
        step = 1e-5 * np.eye(39)[7]
        ends = [results(found, structure, tables, angles + s, np.ones(79))[0] for s in (step, -step)]
        np.testing.assert_allclose(slopes[7], (ends[0] - ends[1]) / 2e-5, atol=SLOPE)
    with pytest.raises(ValueError, match=r"at most 28 wires is given\. Got 40"):
        found.state(found.tables, Numbers(angles))
