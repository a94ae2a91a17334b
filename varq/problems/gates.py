"""Circuits as data: gates by name, wires and numbers, read from PennyLane operations and made into them again."""

from __future__ import annotations

import cmath
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.problems.pauli import PauliSum

__all__ = [
    "Gate",
    "applied",
    "as_gates",
    "gates_of_circuit",
    "gates_of_operator",
    "matrix_of",
    "operation",
    "product_formula",
    "raised",
]

Columns: TypeAlias = NDArray[np.complex128]

SAME = 1e-9  # distance of two matrices made of one gate in two ways
MOST_WIRE = 63  # PauliSum has no more
MOST_DEPTH = 20  # of decompositions within decompositions

ROTATIONS = ("PauliRot", "MultiRZ")
MATRICES = ("QubitUnitary", "DiagonalQubitUnitary")
_PHASES = ("PauliZ", "S", "T", "RZ", "PhaseShift", "GlobalPhase")
_PHASES_OF_MORE = ("CZ", "CCZ", "CRZ", "ControlledPhaseShift", "IsingZZ", "MultiRZ", "DiagonalQubitUnitary")
_ON_ONE = ("PauliX", "PauliY", "Hadamard", "SX", "RX", "RY", "Rot")
_ON_TWO = (
    "CNOT",
    "CY",
    "CH",
    "SWAP",
    "ISWAP",
    "CRX",
    "CRY",
    "CRot",
    "IsingXX",
    "IsingYY",
    "IsingXY",
    "SingleExcitation",
)
_ON_MORE = ("Toffoli", "CSWAP", "DoubleExcitation", "MultiControlledX", "PauliRot", "QubitUnitary")
DIAGONAL = frozenset([*_PHASES, *_PHASES_OF_MORE])
KNOWN = frozenset([*DIAGONAL, *_ON_ONE, *_ON_TWO, *_ON_MORE])
"""PennyLane's names of the gates that are kept; all others are kept as what they decompose into."""


class Gate(NamedTuple):
    """A gate as plain data.

    Args:
        name: PennyLane's, one of `KNOWN`.
        wires: which it acts on.
        numbers: its parameters, radians; of a "QubitUnitary" its matrix, of a "DiagonalQubitUnitary" the diagonal.
        more: the word of a "PauliRot", the control values of a "MultiControlledX"; else None.
    """

    name: str
    wires: tuple[int, ...]
    numbers: Any = ()
    more: Any = None


def operation(gate: Gate, wires: Sequence[Any]) -> Any:
    """The gate as a PennyLane operation, its wire k being `wires[k]`.

    Example:
        >>> operation(Gate("PauliRot", (0, 2), (0.5,), "XY"), "abc")
        PauliRot(0.5, XY, wires=['a', 'c'])
    """
    place = [wires[w] for w in gate.wires]
    if gate.name == "PauliRot":
        return qml.PauliRot(*gate.numbers, gate.more, wires=place)
    if gate.name == "MultiControlledX":
        return qml.MultiControlledX(wires=place, control_values=list(gate.more))
    numbers = [gate.numbers] if gate.name in MATRICES else gate.numbers
    return getattr(qml, gate.name)(*numbers, wires=place)


def raised(gates: Sequence[Gate], count: int) -> tuple[list[Any], int]:
    """Gates to the power `count`: operations on wires 0, 1 ..., and how often they are to be repeated.

    Where gates that share a wire are all diagonal, each is raised by itself and nothing is repeated.

    Example:
        >>> raised([Gate("T", (0,)), Gate("RX", (1,), (0.25,))], 3)
        ([PhaseShift(2.356194490192345, wires=[0]), RX(0.75, wires=[1])], 1)
        >>> raised([Gate("T", (0,)), Gate("RX", (0,), (0.25,))], 3)
        ([T(0), RX(0.25, wires=[0])], 3)
    """
    with qml.QueuingManager.stop_recording():
        single = [operation(gate, range(MOST_WIRE + 1)) for gate in gates]
        if not _alone(gates):
            return single, count
        return [power for op in single for power in op.pow(count)], min(count, 1)


def applied(gates: Sequence[Gate], columns: Columns, steps: int = 1) -> Columns:
    """The vectors that come of applying gates, `steps` times over, to the columns of shape (2^n, k)."""
    with qml.QueuingManager.stop_recording():
        actions = [_action(gate, len(columns)) for gate in gates]
    for _ in range(steps):
        for action in actions:
            columns = action(columns)
    return columns


def matrix_of(gates: Sequence[Gate], wires: int, steps: int = 1) -> NDArray[np.complex128]:
    """The matrix of gates on wires 0 .. wires-1, applied `steps` times, wire 0 the most significant bit.

    Example:
        >>> matrix_of([Gate("S", (0,)), Gate("S", (0,))], 1).diagonal()
        array([ 1.+0.j, -1.+0.j])
    """
    once = applied(gates, np.eye(1 << wires, dtype=np.complex128))
    return np.asarray(np.linalg.matrix_power(once, steps), dtype=np.complex128)


def product_formula(words: PauliSum, time: float, order: int) -> tuple[Gate, ...]:
    """One step of Suzuki's formula for exp(-i H time), as rotations about the words of H.

    Of order 1 the last word is applied first, as in `pennylane.TrotterProduct`; the identity is a global phase.

    Args:
        words: H.
        time: of the step.
        order: 1, 2, 4, 6 ... (Suzuki, J. Math. Phys. 32, 400 (1991)).

    Example:
        >>> [gate[2:] for gate in product_formula(PauliSum.from_words({"X": 0.5, "Z": 1.0}), 0.2, 2)]
        [((0.1,), 'X'), ((0.4,), 'Z'), ((0.1,), 'X')]
    """
    constant = float(np.real(words.constant))
    terms = [(float(np.real(c)), word) for c, word in words.words() if set(word) != {"I"}]
    turns: list[tuple[int, float]] = []
    for place, share in _shares(len(terms), 1.0, order):
        if turns and turns[-1][0] == place:
            turns[-1] = (place, turns[-1][1] + share)
        else:
            turns.append((place, share))
    rotations = [_rotation(terms[place], time * share) for place, share in turns]
    return (*rotations, *([Gate("GlobalPhase", (), (constant * time,))] if constant else []))


def gates_of_operator(operator: Any) -> tuple[Gate, ...] | None:
    """The gates of a PennyLane operator with a matrix; None where that matrix is all that is known.

    Its wires become 0, 1 ... in the operator's order.
    """
    place = {wire: k for k, wire in enumerate(operator.wires)}
    with qml.QueuingManager.stop_recording():
        found = tuple(_gates(operator, place))
    one = len(found) == 1 and found[0].name == "QubitUnitary" and len(found[0].wires) == len(place)
    return None if one else found


def gates_of_circuit(name: str, circuit: Callable[[], Any], wires: int, prepares: bool = False) -> tuple[Gate, ...]:
    """The gates that a function queues on wires 0 .. wires-1.

    Args:
        name: of the argument, for errors.
        circuit: takes nothing, queues PennyLane operations.
        wires: how many.
        prepares: whether it acts on |0...0>, so that it may begin with the preparation of a state.

    Raises:
        TypeError: if `circuit` is no function.
        ValueError: if it queues nothing, measures, acts on other wires, or queues what is neither gates nor a matrix.

    Example:
        >>> gates_of_circuit("oracle", lambda: qml.adjoint(qml.S(0)), wires=1)[0][:3]
        ('PhaseShift', (0,), (-1.5707963267948966,))
    """
    hint = f"Give a function that queues PennyLane operations on wires 0 to {wires - 1}."
    if not callable(circuit) or not _needs_nothing(circuit):
        raise TypeError(f"{name} must be a function without arguments. Got {circuit!r}. {hint}")
    with qml.QueuingManager.stop_recording(), qml.queuing.AnnotatedQueue() as queue:
        circuit()
    script = qml.tape.QuantumScript.from_queue(queue)
    middle = [op for op in script.operations if isinstance(op, (qml.ops.MidMeasure, qml.ops.Conditional))]
    if script.measurements or middle:
        raise ValueError(f"{name} must not measure. Got {[*middle, *script.measurements][0]}. {hint}")
    if not script.operations:
        raise ValueError(f"{name} must queue at least one operation. Got none. {hint}")
    place = {wire: wire for wire in range(wires)}
    out: list[Gate] = []
    for op in script.operations:
        if other := [w for w in op.wires if w not in place]:
            raise ValueError(
                f"{name} must act on wires 0 to {wires - 1}. Got {other} of {op.name}. Number them from 0."
            )
        used = {w for gate in out for w in gate.wires}
        with qml.QueuingManager.stop_recording():
            out += _gates(op, place, name, prepares and not used & set(op.wires))
    return tuple(out)


def _needs_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # one in C that does not say
        pass
    return True


def as_gates(name: str, given: Any, wires: int) -> tuple[Gate, ...]:
    """Gates, checked: of entries (name, wires, numbers, more) that a record or a file holds.

    Raises:
        TypeError: if an entry is none.
        ValueError: for an unknown gate, wires out of range or twice, or numbers that do not fit.
    """
    hint = "Give entries such as ('RX', (0,), (0.5,)) or ('PauliRot', (0, 1), (0.5,), 'XY')."
    checks.instance(name, given, (tuple, list), hint)
    return tuple(_checked(name, entry, wires, hint) for entry in given)


def _checked(name: str, entry: Any, wires: int, hint: str) -> Gate:
    checks.instance(name, entry, (tuple, list), hint)
    if not 2 <= len(entry) <= 4:
        raise ValueError(f"{name} must hold a name, wires and numbers for each gate. Got {entry!r}. {hint}")
    gate = Gate(*entry)
    checks.choice(f"a gate of {name}", gate.name, KNOWN)
    checks.instance(f"the wires of {gate.name}", gate.wires, (tuple, list), hint)
    place = tuple(checks.integer(f"a wire of {gate.name}", w, 0, wires - 1) for w in gate.wires)
    if gate.name in MATRICES:
        shape = (1 << len(place),) * (2 if gate.name == "QubitUnitary" else 1)
        numbers: Any = checks.array(f"the numbers of {gate.name}", gate.numbers, shape, np.complex128)
    else:
        checks.instance(f"the numbers of {gate.name}", gate.numbers, (tuple, list, np.ndarray), hint)
        numbers = tuple(checks.real(f"a number of {gate.name}", x) for x in gate.numbers)
    more: Any = None
    if gate.name == "PauliRot":
        more = checks.instance("the word of PauliRot", gate.more, str, hint)
    elif gate.name == "MultiControlledX":
        more = checks.instance("the control values of MultiControlledX", gate.more, (tuple, list, str), hint)
    try:
        if gate.name == "MultiControlledX":
            more = tuple(bool(int(b)) for b in more)
        out = Gate(gate.name, place, numbers, more)
        with qml.QueuingManager.stop_recording():
            operation(out, range(wires))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold gates as PennyLane has them. Got {entry!r}: {error}. {hint}") from error
    return out


def _gates(op: Any, place: dict[Any, int], name: str = "unitary", fresh: bool = False, depth: int = 0) -> list[Gate]:
    """An operation as known gates: itself, what it decomposes into if that has its matrix, or its matrix."""
    if op.name == "Identity":
        return []
    if op.name in KNOWN and type(op).__module__.partition(".")[0] == "pennylane":
        return [_kept(op, place)]
    prepares = isinstance(op, qml.operation.StatePrepBase)
    if prepares and not fresh:
        raise ValueError(
            f"{name} must be gates that act on any state. Got {op.name}, which prepares one. Leave it out."
        )
    found: list[Gate] | None = None
    if op.has_decomposition and depth < MOST_DEPTH:
        found = [gate for part in op.decomposition() for gate in _gates(part, place, name, prepares, depth + 1)]
    if prepares or not op.has_matrix:
        if found is None:
            raise ValueError(
                f"{name} must be gates. Got {op.name}, which has neither gates nor a matrix. Leave it out."
            )
        return found
    return _with_phase(found, np.asarray(qml.matrix(op), dtype=np.complex128), tuple(place[w] for w in op.wires))


def _with_phase(found: list[Gate] | None, matrix: Columns, wires: tuple[int, ...]) -> list[Gate]:
    """Gates with a global phase that their decomposition lost; the matrix where they are another unitary."""
    if found is not None and {w for gate in found for w in gate.wires} <= set(wires):
        inner = {w: k for k, w in enumerate(wires)}
        local = [gate._replace(wires=tuple(inner[w] for w in gate.wires)) for gate in found]
        turn = complex(np.vdot(matrix_of(local, len(wires)), matrix)) / len(matrix)
        if abs(turn - 1) < SAME:
            return found
        if abs(abs(turn) - 1) < SAME:
            return [*found, Gate("GlobalPhase", (), (-cmath.phase(turn),))]
    return [Gate("QubitUnitary", wires, checks.array("unitary", matrix, matrix.shape, np.complex128))]


def _kept(op: Any, place: dict[Any, int]) -> Gate:
    wires = () if op.name == "GlobalPhase" else tuple(place[w] for w in op.wires)
    if op.name in MATRICES:
        return Gate(op.name, wires, checks.array(f"the numbers of {op.name}", op.data[0], dtype=np.complex128))
    hint = "Each gate takes single numbers."
    numbers = tuple(checks.real(f"a number of {op.name}", np.asarray(x)[()], hint=hint) for x in op.data)
    if op.name == "PauliRot":
        return Gate(op.name, wires, numbers, str(op.hyperparameters["pauli_word"]))
    if op.name == "MultiControlledX":
        return Gate(op.name, wires, numbers, tuple(bool(b) for b in op.control_values))
    return Gate(op.name, wires, numbers)


def _alone(gates: Sequence[Gate]) -> bool:
    """Whether gates commute because those that share a wire are diagonal."""
    diagonal: dict[int, bool] = {}
    for gate in gates:
        plain = gate.name in DIAGONAL or (gate.name == "PauliRot" and set(gate.more) <= {"Z", "I"})
        if any(w in diagonal and not (diagonal[w] and plain) for w in gate.wires):
            return False
        diagonal.update(dict.fromkeys(gate.wires, plain))
    return True


def _shares(terms: int, share: float, order: int) -> Iterator[tuple[int, float]]:
    """Which term is applied for which share of a step, in order of time."""
    if order == 1:
        yield from ((k, share) for k in reversed(range(terms)))
    elif order == 2:
        yield from ((k, share / 2) for k in range(terms))
        yield from ((k, share / 2) for k in reversed(range(terms)))
    else:
        outer = 1 / (4 - 4 ** (1 / (order - 1)))
        for part in (outer, outer, 1 - 4 * outer, outer, outer):
            yield from _shares(terms, share * part, order - 2)


def _rotation(term: tuple[float, str], time: float) -> Gate:
    coefficient, word = term
    wires = tuple(k for k, letter in enumerate(word) if letter != "I")
    return Gate("PauliRot", wires, (2 * coefficient * time,), word.replace("I", ""))


def _action(gate: Gate, size: int) -> Callable[[Columns], Columns]:
    """What a gate does to columns of `size` entries."""
    wires = size.bit_length() - 1
    if gate.name == "GlobalPhase":
        return lambda columns: cmath.exp(-1j * gate.numbers[0]) * columns
    if gate.name in ROTATIONS:
        return _turning(gate, size, wires)
    matrix = np.asarray(operation(gate, range(wires)).matrix(), dtype=np.complex128)
    count = len(gate.wires)
    tensor = matrix.reshape((2,) * (2 * count))

    def contracted(columns: Columns) -> Columns:
        whole = columns.reshape((2,) * wires + (-1,))
        out = np.tensordot(tensor, whole, (range(count, 2 * count), gate.wires))
        return np.moveaxis(out, range(count), gate.wires).reshape(columns.shape)

    return contracted


def _turning(gate: Gate, size: int, wires: int) -> Callable[[Columns], Columns]:
    """exp(-i angle P / 2) by where the word P takes each basis state, and with which sign."""
    word = gate.more or "Z" * len(gate.wires)
    bits = [1 << (wires - 1 - w) for w in gate.wires]
    x = sum(bit for bit, letter in zip(bits, word, strict=True) if letter in "XY")
    z = sum(bit for bit, letter in zip(bits, word, strict=True) if letter in "ZY")
    source = np.arange(size) ^ x
    signs = 1 - 2 * (np.bitwise_count(source & z) & 1).astype(np.float64)
    half = gate.numbers[0] / 2
    factors = (-1j * math.sin(half) * 1j ** (x & z).bit_count() * signs)[:, None]
    return lambda columns: math.cos(half) * columns + factors * columns[source]
