"""Random tapes over everything that default.qubit takes, as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from hypothesis import strategies as st
from pennylane.ops import Pow
from scipy.sparse import csr_matrix
from simulator_circuits import MANY, ONE, TWO, make, unitary

Rng = np.random.Generator
Build = Callable[[list[int], Rng], Any]

TURNS = (0.0, np.pi / 2, np.pi, -np.pi, 2 * np.pi, 4 * np.pi)
"""Angles at which gates become others: where a rewriting would go wrong first."""


def angle(rng: Rng) -> float:
    return float(rng.choice(TURNS)) if rng.random() < 0.2 else float(rng.normal())


def _named(name: str) -> Build:
    kind = getattr(qml, name)
    return lambda w, rng: kind(*(angle(rng) for _ in range(kind.num_params)), wires=w)


def _plain(name: str) -> Build:
    return lambda w, rng: make(name, w, rng)


def _phases(size: int, rng: Rng) -> Any:
    return np.exp(1j * rng.normal(size=size))


def _hamiltonian(w: list[int], rng: Rng, commuting: bool = False) -> Any:
    letters = ["Z"] if commuting else ["X", "Y", "Z"]
    terms = [qml.prod(*(getattr(qml, str(rng.choice(letters)))(a) for a in w[: 1 + k % len(w)])) for k in range(3)]
    return qml.dot(rng.normal(size=3), terms)


def _bits(count: int, rng: Rng) -> list[int]:
    return [int(b) for b in rng.integers(0, 2, count)]


def _entangling(w: list[int], rng: Rng) -> Any:
    return qml.StronglyEntanglingLayers(rng.normal(size=(2, len(w), 3)), wires=w)


GATES: dict[str, tuple[int, int, Build]] = {
    **{name: (1, 1, _named(name)) for name in (*ONE, "U1")},
    **{name: (2, 2, _named(name)) for name in (*TWO, "CPhaseShift00", "CPhaseShift01", "CPhaseShift10")},
    **{name: (size, size, _named(name)) for name, size in MANY.items()},
    **{name: (2, 5, _plain(name)) for name in ("PauliRot", "MultiControlledX", "MultiRZ")},
    "QubitUnitary": (1, 3, _plain("QubitUnitary")),
    "GlobalPhase": (1, 1, _plain("GlobalPhase")),
    "Identity": (1, 3, lambda w, rng: qml.Identity(w)),
    "Barrier": (1, 3, lambda w, rng: qml.Barrier(w)),
    "WireCut": (1, 1, lambda w, rng: qml.WireCut(w)),
    "Snapshot": (1, 1, lambda w, rng: qml.Snapshot()),
    "DiagonalQubitUnitary": (1, 4, lambda w, rng: qml.DiagonalQubitUnitary(_phases(2 ** len(w), rng), w)),
    "BlockEncode": (2, 3, lambda w, rng: qml.BlockEncode(np.diag(rng.uniform(-0.7, 0.7, 2)), w)),
    "SpecialUnitary": (1, 2, lambda w, rng: qml.SpecialUnitary(rng.normal(size=4 ** len(w) - 1), w)),
    "PCPhase": (1, 4, lambda w, rng: qml.PCPhase(angle(rng), int(rng.integers(0, 2 ** len(w) + 1)), w)),
    "ControlledQubitUnitary": (
        2,
        4,
        lambda w, rng: qml.ControlledQubitUnitary(unitary(2, rng), w, control_values=_bits(len(w) - 1, rng)),
    ),
    "IntegerComparator": (
        2,
        4,
        lambda w, rng: qml.IntegerComparator(int(rng.integers(0, 2 ** (len(w) - 1))), w, geq=bool(rng.integers(2))),
    ),
    "QubitCarry": (4, 4, lambda w, rng: qml.QubitCarry(w)),
    "QubitSum": (3, 3, lambda w, rng: qml.QubitSum(w)),
}  # fmt: skip
"""For each operation the fewest and the most wires that it is drawn on, and how it is made."""

MADE_OF_OTHERS: dict[str, tuple[int, int, Build]] = {
    "adjoint of QFT": (1, 4, lambda w, rng: qml.adjoint(qml.QFT(w))),
    "AQFT": (3, 4, lambda w, rng: qml.AQFT(1, w)),
    "GroverOperator": (2, 4, lambda w, rng: qml.GroverOperator(w)),
    "Permute": (2, 5, lambda w, rng: qml.Permute([int(v) for v in rng.permutation(w)], w)),
    "FlipSign": (1, 4, lambda w, rng: qml.FlipSign(_bits(len(w), rng), w)),
    "AngleEmbedding": (1, 4, lambda w, rng: qml.AngleEmbedding(rng.normal(size=len(w)), w, rotation="Y")),
    "IQPEmbedding": (2, 4, lambda w, rng: qml.IQPEmbedding(rng.normal(size=len(w)), w, n_repeats=2)),
    "QAOAEmbedding": (
        3, 4, lambda w, rng: qml.QAOAEmbedding(rng.normal(size=len(w)), rng.normal(size=(1, 2 * len(w))), w)
    ),
    "BasicEntanglerLayers": (2, 4, lambda w, rng: qml.BasicEntanglerLayers(rng.normal(size=(2, len(w))), w)),
    "StronglyEntanglingLayers": (2, 4, _entangling),
    "SimplifiedTwoDesign": (
        2, 4, lambda w, rng: qml.SimplifiedTwoDesign(rng.normal(size=len(w)), rng.normal(size=(1, len(w) - 1, 2)), w)
    ),
    "RandomLayers": (2, 4, lambda w, rng: qml.RandomLayers(rng.normal(size=(1, 4)), w, seed=int(rng.integers(99)))),
    "ArbitraryUnitary": (1, 2, lambda w, rng: qml.ArbitraryUnitary(rng.normal(size=4 ** len(w) - 1), w)),
    "ArbitraryStatePreparation": (
        1, 2, lambda w, rng: qml.ArbitraryStatePreparation(rng.normal(size=2 ** (len(w) + 1) - 2), w)
    ),
    "MottonenStatePreparation": (
        1, 3, lambda w, rng: qml.MottonenStatePreparation(unitary(2 ** len(w), rng)[0], wires=w)
    ),
    "SelectPauliRot": (
        2, 3, lambda w, rng: qml.SelectPauliRot(rng.normal(size=2 ** (len(w) - 1)), w[1:], w[0], rot_axis="Y")
    ),
    "Select": (
        3, 3, lambda w, rng: qml.Select([qml.RX(angle(rng), w[0]), qml.Z(w[0]), qml.S(w[0])], control=w[1:])
    ),
    "ControlledSequence": (
        2, 3, lambda w, rng: qml.ControlledSequence(qml.RX(angle(rng), w[0]), control=w[1:])
    ),
    "QuantumPhaseEstimation": (
        2, 3, lambda w, rng: qml.QuantumPhaseEstimation(qml.PhaseShift(angle(rng), w[0]), estimation_wires=w[1:])
    ),
    "BasisRotation": (2, 3, lambda w, rng: qml.BasisRotation(w, unitary(len(w), rng))),
    "GateFabric": (4, 4, lambda w, rng: qml.GateFabric(rng.normal(size=(1, 1, 2)), w, [1, 1, 0, 0])),
    "ParticleConservingU1": (
        2, 3, lambda w, rng: qml.ParticleConservingU1(rng.normal(size=(1, len(w) - 1, 2)), w, [0] * len(w))
    ),
    "FermionicSingleExcitation": (2, 5, lambda w, rng: qml.FermionicSingleExcitation(angle(rng), w)),
    "FermionicDoubleExcitation": (
        4, 6, lambda w, rng: qml.FermionicDoubleExcitation(angle(rng), wires1=w[:2], wires2=w[2:])
    ),
    "TrotterProduct": (1, 3, lambda w, rng: qml.TrotterProduct(_hamiltonian(w, rng), 0.7, n=2, order=2)),
    "ApproxTimeEvolution": (1, 3, lambda w, rng: qml.ApproxTimeEvolution(_hamiltonian(w, rng), 0.7, 2)),
    "evolution of commuting words": (1, 3, lambda w, rng: qml.evolve(_hamiltonian(w, rng, True), angle(rng))),
    "evolution": (1, 3, lambda w, rng: qml.evolve(_hamiltonian(w, rng), angle(rng))),
    "exponential": (1, 3, lambda w, rng: qml.exp(_hamiltonian(w[:1], rng) @ qml.X(w[-1]), 1j * angle(rng))
                    if len(w) > 1 else qml.exp(qml.Y(w[0]), 1j * angle(rng))),
    "product": (2, 2, lambda w, rng: qml.prod(qml.RX(angle(rng), w[0]), qml.CNOT(w), qml.T(w[1]))),
    "Reflection": (1, 3, lambda w, rng: qml.Reflection(qml.prod(*(qml.RY(angle(rng), a) for a in w)), angle(rng))),
    "PhaseAdder": (2, 4, lambda w, rng: qml.PhaseAdder(int(rng.integers(1, 4)), w)),
    "TemporaryAND": (3, 3, lambda w, rng: qml.adjoint(qml.TemporaryAND(w)) @ qml.TemporaryAND(w)),
}  # fmt: skip
"""Operations that the device gets by their decompositions, or by taking them apart itself."""

EVERY = {**GATES, **MADE_OF_OTHERS}

CONSERVING: dict[str, tuple[int, int, Build]] = {
    name: GATES[name]
    for name in (
        "PauliZ", "S", "T", "RZ", "PhaseShift", "U1", "CZ", "CCZ", "SWAP", "CSWAP", "ISWAP", "SISWAP", "CRZ",
        "ControlledPhaseShift", "CPhaseShift00", "CPhaseShift01", "CPhaseShift10", "IsingZZ", "IsingXY", "MultiRZ",
        "PSWAP", "FermionicSWAP", "SingleExcitation", "SingleExcitationPlus", "SingleExcitationMinus",
        "DoubleExcitation", "DoubleExcitationPlus", "DoubleExcitationMinus", "OrbitalRotation", "GlobalPhase",
        "Identity", "Barrier",
    )
} | {name: MADE_OF_OTHERS[name] for name in (
    "FermionicSingleExcitation", "FermionicDoubleExcitation", "evolution of commuting words",
)}  # fmt: skip
"""Operations that keep the number of ones, and that the sector path knows to do so."""

SMOOTH = {
    name: EVERY[name]
    for name in (
        "RX",
        "RY",
        "RZ",
        "PhaseShift",
        "Rot",
        "U1",
        "U2",
        "U3",
        "CRX",
        "CRY",
        "CRZ",
        "CRot",
        "IsingXX",
        "IsingYY",
        "IsingZZ",
        "IsingXY",
        "PSWAP",
        "ControlledPhaseShift",
        "CPhaseShift00",
        "CPhaseShift01",
        "CPhaseShift10",
        "SingleExcitation",
        "SingleExcitationPlus",
        "SingleExcitationMinus",
        "DoubleExcitation",
        "DoubleExcitationPlus",
        "DoubleExcitationMinus",
        "OrbitalRotation",
        "FermionicSWAP",
        "MultiRZ",
        "PauliRot",
        "GlobalPhase",
        "PCPhase",
        "SpecialUnitary",
        "CNOT",
        "Hadamard",
        "SWAP",
        "Toffoli",
        "QubitUnitary",
        "StronglyEntanglingLayers",
        "SimplifiedTwoDesign",
        "FermionicSingleExcitation",
        "FermionicDoubleExcitation",
        "GateFabric",
    )
}
"""Operations for which PennyLane has parameter shifts, and some without parameters."""


def _undone(op: Any, w: list[int], rng: Rng) -> Any:
    return qml.adjoint(op)


def _raised(op: Any, w: list[int], rng: Rng) -> Any:
    # PennyLane has no matrix for other powers of what it decomposes.
    z = float(rng.choice([2, 3, 0, -1, -2, 0.5] if op.has_matrix else [2, 3, 0]))
    return qml.pow(op, int(z) if z.is_integer() else z)


def by_matrix_alone(op: Any) -> bool:
    """Whether an operation is a power that PennyLane knows by its matrix alone, which JAX cannot trace."""
    return isinstance(op, Pow) and not float(op.z).is_integer() and not op.has_decomposition


def _controlled(op: Any, w: list[int], rng: Rng) -> Any:
    free = [a for a in w if a not in op.wires][: int(rng.integers(1, 3))]
    return qml.ctrl(op, free, control_values=_bits(len(free), rng)) if free else op


CHANGES: dict[str, Callable[[Any, list[int], Rng], Any]] = {
    "": lambda op, w, rng: op, "adjoint": _undone, "power": _raised, "controlled": _controlled,
    "controlled adjoint": lambda op, w, rng: _controlled(_undone(op, w, rng), w, rng),
    "adjoint of controlled": lambda op, w, rng: _undone(_controlled(op, w, rng), w, rng),
}  # fmt: skip


def build(name: str, change: str, wires: int, seed: int) -> Any:
    """The operation of that name on random wires out of so many, changed in one of the ways of `CHANGES`."""
    rng = np.random.default_rng(seed)
    fewest, most, maker = EVERY[name]
    order = [int(w) for w in rng.permutation(wires)]
    op = maker(order[: int(rng.integers(fewest, min(most, wires) + 1))], rng)
    return CHANGES[change](op, order, rng) if name not in MARKS else op


MARKS = ("Barrier", "WireCut", "Snapshot", "Identity", "TemporaryAND")
"""Operations that are neither undone nor controlled."""


def names_for(wires: int, table: Any) -> list[str]:
    """The operations of a table that fit on so many wires: what is drawn from."""
    return [name for name, (fewest, _, _) in table.items() if fewest <= wires]


def gates(wires: int, table: Any = None, most: int = 10, least: int = 1, changed: bool = True) -> Any:
    """Lists of operations from a table, on so many wires."""
    table = EVERY if table is None else table
    names = names_for(wires, table)
    # Half of the operations as they are.
    changes = st.sampled_from(["", "", "", "", "", *CHANGES] if changed else [""])
    one = st.builds(build, st.sampled_from(names), changes, st.just(wires), st.integers(0, 2**16))
    return st.lists(one, min_size=least, max_size=most)


def _prepared(wires: int, kind: str, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    some = [int(w) for w in rng.permutation(wires)[: int(rng.integers(1, wires + 1))]]
    match kind:
        case "basis":
            return [qml.BasisState(np.array(_bits(len(some), rng)), some)]
        case "state":
            return [qml.StatePrep(unitary(2 ** len(some), rng)[0], some)]
        case "padded":
            return [qml.StatePrep(np.array([0.6, 0.8j]), some, pad_with=0.0)]
        case "amplitudes":
            return [qml.AmplitudeEmbedding(rng.normal(size=2 ** len(some)), some, normalize=True)]
        case "superposition":
            return [qml.CosineWindow(some)]
    return []


def preparations(wires: int) -> Any:
    """What stands in front: nothing, or one state preparation."""
    kinds = st.sampled_from(["", "basis", "state", "padded", "amplitudes", "superposition"])
    return st.builds(_prepared, st.just(wires), kinds, st.integers(0, 2**16))


def _hermitian(size: int, rng: Rng) -> Any:
    m = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    return (m + m.conj().T) / np.linalg.norm(m + m.conj().T, 2)


def word(wires: int, rng: Rng) -> Any:
    """A random Pauli word on some of the wires."""
    some = rng.permutation(wires)[: int(rng.integers(1, min(wires, 4) + 1))]
    return qml.prod(*(getattr(qml, str(rng.choice(["X", "Y", "Z"])))(int(w)) for w in some))


def words(wires: int, rng: Rng, count: int = 5) -> tuple[Any, list[Any]]:
    """Coefficients whose absolute values add up to one, so that errors are those of one word, and their words."""
    found = [*(word(wires, rng) for _ in range(count)), qml.Identity(0), qml.Z(wires - 1)]
    coefficients = rng.normal(size=len(found))
    return coefficients / np.abs(coefficients).sum(), found


OBSERVABLES: dict[str, Callable[[int, list[int], Rng], Any]] = {
    "word": lambda n, w, rng: word(n, rng),
    "sum": lambda n, w, rng: qml.dot(*words(n, rng)),
    "hamiltonian": lambda n, w, rng: qml.Hamiltonian(*words(n, rng)),
    "hermitian": lambda n, w, rng: qml.Hermitian(_hermitian(2 ** len(w[:2]), rng), w[:2]),
    "hadamard": lambda n, w, rng: qml.Hadamard(w[0]),
    "projector": lambda n, w, rng: qml.Projector(_bits(len(w[:3]), rng), w[:3]),
    "state projector": lambda n, w, rng: qml.Projector(unitary(2 ** len(w[:2]), rng)[0], w[:2]),
    "product": lambda n, w, rng: qml.prod(
        qml.Hermitian(_hermitian(2, rng), w[0]), *(qml.Y(a) for a in w[1:3])
    ),
    "mixed": lambda n, w, rng: 0.5 * qml.Hermitian(_hermitian(2, rng), w[0]) + 0.5 * word(n, rng),
    "multiple": lambda n, w, rng: qml.s_prod(-0.7, word(n, rng)),
}  # fmt: skip


def _measurement(wires: int, kind: str, name: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    w = [int(a) for a in rng.permutation(wires)]
    some = w[: int(rng.integers(1, wires + 1))]
    match kind:
        case "expval":
            return qml.expval(OBSERVABLES[name](wires, w, rng))
        case "var":
            return qml.var(OBSERVABLES[name](wires, w, rng))
        case "sparse":
            return qml.expval(qml.SparseHamiltonian(csr_matrix(_hermitian(2 ** len(w[:2]), rng)), w[:2]))
        case "probs":
            return qml.probs(wires=some)
        case "rotated":
            return qml.probs(op=word(wires, rng))
        case "density":
            return qml.density_matrix(some[:3])
        case "purity":
            return qml.purity(some[:3])
        case "entropy":
            return qml.vn_entropy(some[:3])
        case "mutual":
            return qml.mutual_info(w[:1], w[1:3]) if wires > 1 else qml.purity(w)
    return qml.state()


KINDS = ("expval", "expval", "expval", "var", "sparse", "probs", "rotated", "density", "purity", "entropy", "mutual")


def measurements(wires: int, kinds: Sequence[str] = (*KINDS, "state"), most: int = 3) -> Any:
    """Lists of measurements."""
    one = st.builds(
        _measurement, st.just(wires), st.sampled_from(kinds), st.sampled_from(list(OBSERVABLES)), st.integers(0, 2**16)
    )
    return st.lists(one, min_size=1, max_size=most)
