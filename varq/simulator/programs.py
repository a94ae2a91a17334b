"""Compiled programs of tapes, found again by structure.

A tape is taken apart by JAX's own tree functions into numbers and the rest.  Tapes that differ in numbers alone share
one program, compiled once; integers that decide what a gate is (a basis state's bits) count as structure.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.exceptions import DeviceError
from pennylane.measurements import Shots
from pennylane.operation import StatePrepBase
from pennylane.ops import CompositeOp, Evolution, MeasurementValue, Pow
from pennylane.ops.op_math import SymbolicOp
from pennylane.tape import QuantumScript

from varq.simulator import execution, measurements
from varq.simulator.derivatives import DERIVATIVES
from varq.simulator.eigenbases import found_anew
from varq.simulator.evolutions import is_followed, together
from varq.simulator.foreign import check_listed
from varq.simulator.kept import Kept
from varq.simulator.lowering import identity, is_unitary
from varq.simulator.mappings import make_room
from varq.simulator.observables import WordSum
from varq.simulator.paths import Options
from varq.simulator.precision import is_double
from varq.simulator.seeds import as_key

__all__ = ["Program", "Taken", "make_keys", "noted", "take_apart"]


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class _Found:
    """A plan among what a traced function returns: JAX gives back the one that belongs to the trace it took."""

    plan: measurements.Plan


class Program:
    """A tape's structure as a compiled function of its numbers.

    Args:
        rebuild: gives the tape for its numbers.
        axes: for each number the batch axis, 0 or None; None if the tape has no batch.
        options: how to run.
        trusted: whether the tape's matrices are known to be unitary.
        compiled: whether to compile the whole, which pays if the program is kept.
    """

    def __init__(
        self,
        rebuild: Callable[[Sequence[Any]], QuantumScript],
        axes: tuple[int | None, ...] | None,
        options: Options,
        trusted: bool,
        compiled: bool = True,
    ) -> None:
        self.rebuild = rebuild
        self.axes = axes
        self.options = options
        self.trusted = trusted
        self.compile: Callable[..., Any] = jax.jit if compiled else lambda function, **_: function
        self._inputs = self.compile(self._make_inputs)
        self._on_state = self.compile(self._measure, static_argnums=0)
        self._exact = self.compile(self._whole)
        self._on_samples = self.compile(self._measure_samples)
        self.differentiable: Any = None  # what autograd follows, made by `interfaces` when first wanted
        self._derived: dict[Any, Any] = {}
        self.held_bytes = 0  # of the tables that became constants of what is compiled

    def exact(self, numbers: list[Any]) -> Any:
        """The exact results, one for each measurement, as JAX arrays of the caller's precision."""
        return self._exact(numbers)

    def _whole(self, numbers: list[Any]) -> Any:
        return self._batched(self._staged, numbers)

    def _staged(self, numbers: list[Any]) -> Any:
        found, inputs = self._inputs(numbers)
        plan = found.plan
        results = measurements.exact(plan, inputs, partial(self._on_state, plan.rest, numbers), self.options)
        self._weigh(plan)
        return results

    def _weigh(self, plan: measurements.Plan) -> None:
        held = execution.held_bytes(plan.circuit, plan.sums, self.options)
        self.held_bytes = max(self.held_bytes, held)

    def _make_inputs(self, numbers: list[Any]) -> Any:
        plan, inputs = measurements.plan(self._tape(numbers), self.trusted)
        return _Found(plan), inputs

    def _measure(self, chosen: tuple[int, ...], numbers: list[Any], state: Any) -> Any:
        with _quiet(), found_anew():
            return measurements.on_state(self._tape(numbers), chosen, state)

    def _tape(self, numbers: list[Any]) -> QuantumScript:
        return self.rebuild(numbers).map_to_standard_wires()

    def _batched(self, one: Callable[..., Any], numbers: list[Any], *keys: Any) -> Any:
        if self.axes is None:
            return one(numbers, *keys)
        return jax.vmap(one, in_axes=(list(self.axes), *(0 for _ in keys)))(numbers, *keys)

    def sampled(self, numbers: list[Any], words: tuple[Any, Any], recipes: Sequence[Any]) -> Any:
        """Sampled results, as `measurements.sampled` gives them, with a batch in front.

        Args:
            numbers: of the tape.
            words: a key or the words of one, and which circuit of the batch this is.
            recipes: of each shadow among the measurements; None for one whose recipes come from the key.
        """
        size = None
        if self.axes is not None:
            size = next(jnp.shape(n)[0] for n, axis in zip(numbers, self.axes, strict=True) if axis == 0)
        keys = make_keys(*words, size)
        return self._batched(partial(self._sampled_one, recipes), numbers, keys)

    def _sampled_one(self, recipes: Sequence[Any], numbers: list[Any], key: Any) -> Any:
        found, (circuit_numbers, _) = self._inputs(numbers)
        state = execution.state(found.plan.circuit, circuit_numbers, self.options)
        self._weigh(found.plan)
        return self._on_samples(numbers, state, key, recipes)

    def _measure_samples(self, numbers: list[Any], state: Any, key: Any, recipes: Sequence[Any]) -> Any:
        with _quiet(), found_anew():
            return measurements.sampled(self._tape(numbers), state, key, recipes)

    def derived(self, name: str, argnums: tuple[int, ...]) -> Any:
        """A compiled derivative: "pull" (numbers, cotangents), "push" (numbers, tangents) or "jacobian" (numbers)."""
        if (name, argnums) not in self._derived:
            self._derived[name, argnums] = self.compile(partial(DERIVATIVES[name], self._whole, argnums))
        return self._derived[name, argnums]


@contextmanager
def _quiet() -> Iterator[None]:
    """While PennyLane's measurements are traced in single: they ask for complex128 and rightly get complex64."""
    if is_double():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
        yield


@partial(jax.jit, static_argnums=2)
def make_keys(words: Any, place: Any, size: int | None) -> Any:
    """The key of one circuit, or one for each element of its batch."""
    key = jax.random.fold_in(as_key(words), place)
    return key if size is None else jax.random.split(key, size)


class Taken(NamedTuple):
    """One tape taken apart: its program and the numbers to run it with.

    Args:
        program: shared by tapes of one structure.
        numbers: the parameters of the tape that may change.
        places: where each parameter of the tape, as PennyLane lists them, stands among the numbers; None if it is
            structure.
    """

    program: Program
    numbers: list[Any]
    places: tuple[int | None, ...]


_programs: Kept[Program] = Kept(lambda program: program.held_bytes)

_noting: ContextVar[set[Program] | None] = ContextVar("noting", default=None)


@contextmanager
def noted() -> Iterator[set[Program]]:
    """The programs that tapes get inside the block.

    Whoever compiles them into a function of its own holds their tables as long as that function.
    """
    found: set[Program] = set()
    token = _noting.set(found)
    try:
        yield found
    finally:
        _noting.reset(token)


def _is_structure(value: Any, observed: bool) -> bool:
    """Whether a parameter decides what an operation is, rather than how large an angle is.

    Sparse matrices and arrays of integers are structure, and so are the matrices of observables, whose eigenvalues
    PennyLane finds with NumPy; but not where something is to be traced or differentiated.
    """
    if isinstance(value, (str, MeasurementValue)):
        return True
    if isinstance(value, (int, float, complex, np.number)) or is_followed(value):
        return False
    if hasattr(value, "tocoo"):
        return True
    if not isinstance(value, (np.ndarray, jax.Array)) or value.ndim == 0:
        return False
    return observed or value.dtype.kind in "biu"


def _plain_bytes(value: Any) -> Any:
    """A hashable stand-in for structure."""
    if isinstance(value, (bool, int, float, complex, str)):
        return type(value), value
    if isinstance(value, MeasurementValue):
        return [value]  # it belongs to one tape, and a list has no hash
    if hasattr(value, "tocoo"):
        entries = value.tocoo()
        return "sparse", value.shape, entries.row.tobytes(), entries.col.tobytes(), entries.data.tobytes()
    array = np.asarray(value)
    return array.shape, array.dtype.str, array.tobytes()


def _plain(value: Any) -> Any:
    """Integers as floats: another integer is no other program; and as floats what is complex in type alone."""
    if isinstance(value, (int, np.integer)):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biu":
        return value.astype(float)
    if isinstance(value, (complex, np.complexfloating)) and value.imag == 0:
        return float(value.real)
    return value


def _axes(tape: QuantumScript, at: Sequence[int | None], leaves: int) -> list[int | None] | None:
    """The batch axis of each leaf, 0 or None; None if the tape has no batch."""
    if tape.batch_size is None:
        return None
    axes: list[int | None] = [None] * leaves
    found = iter(at)
    for op in tape.operations:
        least = _dimensions(op) if op.batch_size is not None else tuple(map(qml.math.ndim, op.data))
        for axes_of_one, value in zip(least, op.data, strict=True):
            place = next(found)
            if qml.math.ndim(value) == axes_of_one:
                continue
            if place is None:
                raise DeviceError(
                    "A batch of numbers that an operation keeps in another form cannot be run at once. Apply "
                    "qml.transforms.broadcast_expand to the circuit."
                )
            axes[place] = 0
    return axes


def _dimensions(op: Any) -> tuple[int, ...]:
    """The axes that each parameter of an operation has without a batch; of one made of others PennyLane knows none."""
    if isinstance(op, CompositeOp):
        return tuple(n for operand in op.operands for n in _dimensions(operand))
    if isinstance(op, Evolution):
        return (0,)  # its time: the numbers of its generator are not listed
    if isinstance(op, SymbolicOp):
        own = (0,) * (len(op.data) - len(op.base.data))
        return (*own, *_dimensions(op.base))
    return tuple(op.ndim_params)


def take_apart(tape: QuantumScript, options: Options, joined: bool = True) -> Taken:
    """The program of a tape and its numbers.

    Args:
        tape: preprocessed; parameters of any interface.
        options: how to run.
        joined: whether parameters that are one object become one number, and evolutions one operation of a vector of
            weights and a time: not where derivatives by each parameter alone are wanted.

    Raises:
        DeviceError: for an operation of another class than PennyLane's that is more than what it lists.
    """
    check_listed((*tape.operations, *(m.obs for m in tape.measurements if m.obs is not None)))
    parameters = tape.get_parameters(trainable_only=False)
    measured = measurements.traceable(tape)
    operations = together(tape.operations) if joined else list(tape.operations)
    leaves, structure = jax.tree_util.tree_flatten((operations, measured))
    sums = {id(m.obs.data[0]) for m in measured if isinstance(m.obs, WordSum)}
    # An operation may hold numbers that PennyLane does not list, such as the coefficients in an evolution's exponent.
    listed = sum(len(op.data) for op in tape.operations) if sums else len(parameters)
    at = _positions(parameters[:listed], leaves)
    at += [None] * (len(parameters) - len(at))
    axes = _axes(tape, at, len(leaves))
    gates = len(jax.tree_util.tree_leaves(operations))
    # PennyLane asks whether a factor of what is sampled is 1, which a number that enters at run time cannot answer.
    sampled = bool(tape.shots) and any(m.obs is not None and not measurements.is_pauli(m) for m in measured)
    powers = {id(op.z) for op in _nested(operations) if isinstance(op, Pow)}

    def decides(k: int) -> bool:
        if axes is not None and axes[k] == 0:
            return False
        if id(leaves[k]) in sums:
            return False
        factor = sampled and k >= gates and not is_followed(leaves[k])
        return factor or _is_structure(leaves[k], k >= gates) or id(leaves[k]) in powers

    fixed = {k: v for k, v in enumerate(leaves) if decides(k)}
    given = [k for k in range(len(leaves)) if k not in fixed]
    takes, first = _joined(leaves, given, axes, gates if joined else 0)
    trusted = all(is_unitary(op) for op in tape.operations if not isinstance(op, StatePrepBase) and op.has_matrix)
    rebuild = _Rebuild(structure, fixed, takes, tape.shots)
    program = _kept_program(rebuild, axes and tuple(axes[k] for k in first), options, trusted)
    noting = _noting.get()
    if noting is not None:
        noting.add(program)
    order = dict(zip(given, takes, strict=True))
    places = tuple(None if k is None else order.get(k) for k in at)
    return Taken(program, [_plain(leaves[k]) for k in first], places)


def _joined(
    leaves: Sequence[Any], given: Sequence[int], axes: Sequence[int | None] | None, gates: int
) -> tuple[tuple[int, ...], list[int]]:
    """Which number each given leaf takes, and for each number the leaf that it is.

    Args:
        leaves: all.
        given: which of them are numbers.
        axes: the batch axis of each leaf.
        gates: so many leaves, the first, belong to gates: of these, what is one object is one number.
    """
    known: dict[Any, int] = {}
    takes: list[int] = []
    first: list[int] = []
    for k in given:
        key = identity(leaves[k]) if k < gates else None
        number = len(first) if key is None else known.setdefault((key, axes and axes[k]), len(first))
        if number == len(first):
            first.append(k)
        takes.append(number)
    return tuple(takes), first


def _positions(parameters: Sequence[Any], leaves: Sequence[Any]) -> list[int | None]:
    """Where each parameter stands among the leaves; None if the operation made it up for the list."""
    if len(parameters) == len(leaves) and all(a is b for a, b in zip(parameters, leaves, strict=True)):
        return list(range(len(leaves)))
    every: dict[int, list[int]] = {}
    for k, leaf in enumerate(leaves):
        every.setdefault(id(leaf), []).append(k)
    found: list[int | None] = []
    start = 0
    for value in parameters:  # both are in the order of the operations
        places = every.get(id(value), [])
        ahead = bisect_left(places, start)
        place = None if not places else places[ahead] if ahead < len(places) else places[0]
        found.append(place)
        start = start if place is None else place + 1
    return found


def _nested(operations: Sequence[Any]) -> Iterator[Any]:
    """Operations, and what they are made of."""
    for op in operations:
        while op is not None:
            yield op
            op = getattr(op, "base", None)


@dataclass(frozen=True)
class _Rebuild:
    """A tape without its numbers.

    Args:
        structure: of its operations and measurements.
        fixed: which leaves are structure, and what they are.
        takes: for each other leaf, which number it is.
        shots: of the tape.
    """

    structure: Any
    fixed: dict[int, Any]
    takes: tuple[int, ...]
    shots: Shots

    def key(self) -> Hashable:
        """Equal for equal tapes."""
        return self.structure, tuple((k, _plain_bytes(f)) for k, f in self.fixed.items()), self.takes, self.shots

    def kept(self) -> _Rebuild:
        """The same with copies that the caller cannot change."""
        return replace(self, fixed={k: _own(f) for k, f in self.fixed.items()})

    def __call__(self, numbers: Sequence[Any]) -> QuantumScript:
        """The tape with these numbers."""
        takes = iter(self.takes)
        total = len(self.fixed) + len(self.takes)
        whole = [self.fixed[k] if k in self.fixed else numbers[next(takes)] for k in range(total)]
        with qml.QueuingManager.stop_recording():
            operations, measured = jax.tree_util.tree_unflatten(self.structure, whole)
            return QuantumScript(operations, measured, shots=self.shots)


def _kept_program(rebuild: _Rebuild, axes: Any, options: Options, trusted: bool) -> Program:
    """The program of this structure, new or kept; one for this once, uncompiled, if something in it has no hash."""
    key = (rebuild.key(), axes, options, trusted)
    try:
        hash(key)
    except TypeError:
        return Program(rebuild, axes, options, trusted, compiled=False)
    return _programs.get(key, lambda: _new_program(rebuild.kept(), axes, options, trusted))


def _new_program(rebuild: _Rebuild, axes: Any, options: Options, trusted: bool) -> Program:
    make_room()
    return Program(rebuild, axes, options, trusted)


def _own(value: Any) -> Any:
    """A copy that the caller cannot change, of NumPy's own kind."""
    if isinstance(value, (bool, int, float, complex, str)):
        return value
    return value.copy() if hasattr(value, "tocoo") else np.array(value, subok=False)
