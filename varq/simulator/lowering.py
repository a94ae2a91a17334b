"""From a PennyLane tape to a `Circuit` and its `Numbers`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane import MultiControlledX
from pennylane.exceptions import DeviceError
from pennylane.operation import Operator
from pennylane.ops import Adjoint, Controlled, Evolution, Exp, Pow, Prod
from pennylane.ops.op_math import SymbolicOp
from pennylane.tape import QuantumScript

from varq.simulator.circuit import DIAGONAL, IGNORED, MATRIX, Circuit, Constants, Gate, Initial, Numbers
from varq.simulator.evolutions import WordEvolution, gather, is_complex, is_followed, together, words_of
from varq.simulator.gates import NAMES
from varq.simulator.naming import is_native, name_of
from varq.simulator.stacks import Stacks, parts

__all__ = ["MOST_WIRES", "Lowered", "check_real", "identity", "is_unitary", "lower", "supported"]

MOST_WIRES = 4
"""Gates that are known by their matrix alone are taken whole up to this many wires; wider ones are decomposed."""

_TOLERANCE = 1e-9  # a matrix farther from unitary than rounding makes it is none

Lowered = tuple[Circuit, Numbers]


def supported(op: Operator) -> bool:
    """Whether `lower` takes an operation as it is."""
    name = name_of(op)
    if name in IGNORED or name in NAMES or _known(op) is not None or words_of(op) is not None:
        return True
    if isinstance(op, Adjoint) and is_native(op.base):  # others PennyLane would decompose by their names
        return _undone(op) is not None
    if isinstance(op, Pow) and op.has_decomposition:
        return False  # its matrix is none that JAX can trace
    return bool(op.has_matrix) and len(op.wires) <= MOST_WIRES and not isinstance(op, qml.operation.StatePrepBase)


_TURNED = {
    "S": ("PhaseShift", -pi / 2),
    "T": ("PhaseShift", -pi / 4),
    "ISWAP": ("IsingXY", -pi),
    "SISWAP": ("IsingXY", -pi / 2),
}
"""What the adjoints of gates without a parameter are."""


def _known(op: Operator) -> list[tuple[str, tuple[Any, ...], Any]] | None:
    """An operation as known gates of one parameter, (name, wires, parameter); None for other operations.

    Number-conserving gates stay number-conserving, which a matrix would hide.
    """
    w = tuple(op.wires)
    if isinstance(op, Adjoint) and name_of(op.base) in _TURNED:
        name, turn = _TURNED[name_of(op.base)]
        return [(name, w, turn)]
    if len(op.data) != 1:
        return None
    x = op.data[0]
    match name_of(op):
        case "U1":
            return [("PhaseShift", w, x)]
        case "CPhaseShift00":  # on both empty: 1 - n - m + n m
            single = [("PhaseShift", (wire,), -x) for wire in w]
            return [("GlobalPhase", (), -x), *single, ("ControlledPhaseShift", w, x)]
        case "CPhaseShift01":
            return [("PhaseShift", w[1:], x), ("ControlledPhaseShift", w, -x)]
        case "CPhaseShift10":
            return [("PhaseShift", w[:1], x), ("ControlledPhaseShift", w, -x)]
        case "FermionicSingleExcitation":
            return [("FermionicSingle", (w[0], w[-1], *w[1:-1]), x)]
        case "FermionicDoubleExcitation":
            one, two = (tuple(op.hyperparameters[key]) for key in ("wires1", "wires2"))
            ends = (two[0], two[-1], one[0], one[-1])
            return [("FermionicDouble", (*ends, *one[1:-1], *two[1:-1]), x)]
    return None


def _undone(op: Adjoint) -> Operator | None:
    """The adjoint of a known gate as a known gate."""
    if name_of(op.base) not in NAMES or not op.base.has_adjoint:
        return None
    found = op.base.adjoint()
    return found if name_of(found) in NAMES else None


def identity(value: Any) -> Hashable:
    """What two parameters share that are one and the same object; None for what may be so by accident.

    Python makes one object of equal literals: whether it did must not decide what is compiled.
    """
    return None if type(value) in (bool, int, float, complex) else id(value)


class _Lowering:
    """Collects gates and their numbers.

    While it does, a product is named -1, -2, ...: it gets its place once all other angles are known.
    """

    def __init__(self, wires: Sequence[Any], trusted: bool) -> None:
        self.place = {label: position for position, label in enumerate(wires)}
        self.trusted = trusted
        self.gates: list[Gate] = []
        self.angles: list[Any] = []
        self.count = 0
        self.products: dict[tuple[int, int, float], int] = {}
        self.constants: dict[Constants, None] = {}
        self.arrays: list[Any] = []
        self.stacks = Stacks()
        self.unitary = True
        self._known: dict[Hashable, int] = {}

    def positions(self, op: Operator) -> tuple[int, ...]:
        return tuple(self.place[w] for w in op.wires)

    def angle(self, value: Any, size: int = 1) -> int:
        """Where a scalar stands among the angles, or the first entry of a vector; one object has one place."""
        key = identity(value)
        if key is not None and key in self._known:
            return self._known[key]
        at = self.count
        self.angles.append(value)  # which keeps it alive, so that its identity stays its own
        self.count += size
        if key is not None:
            self._known[key] = at
        return at

    def product(self, weight: int, time: int, factor: float) -> int:
        return -1 - self.products.setdefault((weight, time, factor), len(self.products))

    def array(self, value: Any) -> int:
        self.arrays.append(parts(value))
        return len(self.arrays) - 1

    def finished(self) -> tuple[Gate, ...]:
        """The gates, with products after all other angles."""
        return tuple(
            replace(g, angles=tuple(a if a >= 0 else self.count - 1 - a for a in g.angles))
            if any(a < 0 for a in g.angles)
            else g
            for g in self.gates
        )

    def add(self, op: Operator) -> None:
        if name_of(op) in IGNORED:
            return
        if name_of(op) in NAMES:
            self.named(op)
        elif (known := _known(op)) is not None:
            check_real(op.data, op)
            for name, wires, value in known:
                self.gates.append(Gate(name, tuple(self.place[w] for w in wires), (self.angle(value),)))
        elif isinstance(op, Adjoint) and (plain := _undone(op)) is not None:
            self.named(plain)
        elif isinstance(op, WordEvolution):
            self.evolution(op)
        else:
            self.matrix(op)

    def named(self, op: Operator) -> None:
        static: Any = None
        name = name_of(op)
        if name == "PauliRot":
            static = op.hyperparameters["pauli_word"]
        elif isinstance(op, MultiControlledX):
            static = tuple(int(v) for v in op.hyperparameters["control_values"])
        check_real(op.parameters, op)
        wires = () if name == "GlobalPhase" else self.positions(op)
        self.gates.append(Gate(name, wires, tuple(self.angle(p) for p in op.parameters), None, static))

    def evolution(self, op: WordEvolution) -> None:
        weights, time = op.data
        start, at = self.angle(weights, len(op.words)), self.angle(time)
        for k, word in enumerate(op.words):
            # exp(-i w t P) turns by 2 w t, and by a global phase of w t if the word is empty.
            self.word(word, self.product(start + k, at, 2.0 if len(word) else 1.0))
        if op.levels is not None:
            every = tuple(start + k for k, word in enumerate(op.words) if len(word))
            self.constants[Constants(every, op.levels)] = None

    def word(self, word: Any, angle: int) -> None:
        index = (angle,)
        wires = tuple(self.place[w] for w in word)
        letters = "".join(word.values())
        if not wires:
            self.gates.append(Gate("GlobalPhase", (), index))
        elif len(letters) == 1:
            self.gates.append(Gate(f"R{letters}", wires, index))
        elif set(letters) == {"Z"}:
            self.gates.append(Gate("MultiRZ", wires, index))
        else:
            self.gates.append(Gate("PauliRot", wires, index, None, letters))

    def matrix(self, op: Operator) -> None:
        if isinstance(op, Evolution):
            check_real([op.param], op)
        self.unitary &= self.trusted or is_unitary(op)
        array = self.stacks.row(op)
        if not _is_diagonal(op, self.trusted):
            self.gates.append(Gate(MATRIX, self.positions(op), (), array))
            return
        phases = qml.math.angle(qml.math.diagonal(op.matrix()))  # by which a sector knows it
        angles = tuple(self.angle(phases[k]) for k in range(2 ** len(op.wires)))
        self.gates.append(Gate(MATRIX, self.positions(op), angles, array, DIAGONAL))


_PHASES = {"RZ", "PhaseShift", "U1", "PauliZ", "S", "T", "CZ", "CRZ", "ControlledPhaseShift", "IsingZZ", "MultiRZ"}
"""Diagonal gates, whose controlled forms are diagonal too."""


def _is_diagonal(op: Operator, trusted: bool) -> bool:
    """Whether the matrix of an operation is diagonal and unitary, all around where it stands if it is differentiated.

    Args:
        op: to be taken by its matrix.
        trusted: whether matrices are plain numbers and unitary.
    """
    if isinstance(op, Controlled):
        return is_native(op) and name_of(op.base) in _PHASES
    return trusted and name_of(op) == "DiagonalQubitUnitary"


def is_unitary(op: Operator) -> bool:
    """Whether an operation is known to be unitary: by its definition, or by its matrix if that is a plain number's.

    A matrix that is differentiated may be unitary where it stands, and not beside it, as a second derivative sees.
    """
    if name_of(op) in NAMES or _by_definition(op):  # the first are refused where their angles are complex
        return True
    if any(is_followed(x) for x in op.data):
        return False
    value = op.matrix()
    if is_followed(value):
        return False
    plain = np.asarray(qml.math.unwrap(value))  # with a batch in front, perhaps
    product = plain.conj().swapaxes(-1, -2) @ plain
    return bool(np.abs(product - np.eye(plain.shape[-1])).max() < _TOLERANCE)


_BY_MATRIX = (qml.QubitUnitary, qml.DiagonalQubitUnitary, qml.Projector, qml.QSVT, qml.FromBloq, Exp)


def _by_definition(op: Operator) -> bool:
    if not is_native(op):
        return name_of(op) in NAMES
    if isinstance(op, Prod):
        return all(_by_definition(factor) for factor in op.operands)
    if isinstance(op, Evolution):
        sentence = op.base.pauli_rep
        hermitian = sentence is not None and not any(is_complex(c) for c in sentence.values())
        return hermitian and not is_complex(op.param)
    if isinstance(op, (Adjoint, Controlled)) or (isinstance(op, Pow) and not is_complex(op.z)):
        return _by_definition(op.base)
    if not isinstance(op, qml.operation.Operation) or isinstance(op, (*_BY_MATRIX, SymbolicOp)):
        return False
    return not any(is_complex(x) for x in op.data)


def check_real(values: Iterable[Any], op: Operator) -> None:
    """Raise DeviceError for a parameter of a known gate that has, or may have, an imaginary part."""
    if any(is_complex(value) for value in values):
        raise DeviceError(
            f"The parameters of {op.name} must be real. Got a complex number. Take its real part, or give the gate by "
            "its matrix with qml.QubitUnitary."
        )


def _initial(op: Operator | None, collect: _Lowering, wires: int) -> Initial:
    """Where the circuit starts, from its preparation."""
    bits = [0] * wires
    if op is None:
        return Initial(tuple(bits))
    if isinstance(op, qml.BasisState) and is_native(op) and not qml.math.is_abstract(op.data[0]):
        for position, bit in zip(collect.positions(op), np.asarray(op.data[0]).astype(int).ravel(), strict=True):
            bits[position] = int(bit)
        return Initial(tuple(bits))
    order = sorted(collect.place, key=collect.place.__getitem__)
    state = op.state_vector(wire_order=order)
    return Initial(
        tuple(bits), collect.array(jnp.reshape(state, -1) if isinstance(state, jax.Array) else state.ravel())
    )


def lower(tape: QuantumScript, wires: Sequence[Any], trusted: bool = False) -> Lowered:
    """The static program of a tape and its run-time numbers.

    Args:
        tape: operations that `supported` accepts, with at most one state preparation, in front.  Parameters may be
            numbers, NumPy or JAX arrays or traced JAX values, without a batch axis.
        wires: the labels of the register, most significant first.
        trusted: whether matrices are known to be unitary, so that none needs to be looked at.

    Returns:
        The circuit, and its numbers: angles of shape (circuit.inputs,) as one JAX or NumPy array, arrays in order.
    """
    collect = _Lowering(wires, trusted)
    operations = list(tape.operations)
    prepared = operations.pop(0) if operations and isinstance(operations[0], qml.operation.StatePrepBase) else None
    initial = _initial(prepared, collect, len(wires))
    for op in together(operations):
        collect.add(op)
    numbers = Numbers(gather(collect.angles), (*collect.arrays, *collect.stacks.made()))
    circuit = Circuit(
        wires=len(wires),
        gates=collect.finished(),
        initial=initial,
        angles=collect.count + len(collect.products),
        arrays=tuple(tuple(a.shape) for a in numbers.arrays),
        unitary=collect.unitary,
        products=tuple(collect.products),
        constants=tuple(collect.constants),
    )
    return circuit, numbers
