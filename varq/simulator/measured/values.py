"""Where the values of functions of outcomes are found while a circuit runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.ops import MeasurementValue

from varq.simulator.measured.functions import (
    FEW,
    LONGEST_TABLE,
    abstract,
    affine_values,
    is_affine,
    tabulate,
    trace,
    unstaged,
)
from varq.simulator.measured.inputs import Inputs
from varq.simulator.measured.program import (
    Affine,
    Apply,
    Compute,
    Final,
    Kind,
    Ref,
    Register,
    Slot,
    Step,
    Table,
)
from varq.simulator.outcomes import Outcome, nodes

__all__ = ["Values"]

_FEW_NODES = 4  # a longer chain of outcomes of outcomes is carried along, not composed again for every use

Types = tuple[tuple[tuple[int, ...], str], ...]


class Values:
    """Turns measured values into references.

    Args:
        inputs: takes the numbers that they need.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.slots: dict[Any, Slot] = {}
        self._types: list[tuple[tuple[int, ...], str]] = []
        self._known: dict[int, tuple[Any, Ref]] = {}  # holds the value itself, so that its id stays its own
        self._trees: dict[int, tuple[Any, Any, tuple[Register, ...]]] = {}

    def new_slot(self, uid: Any) -> Slot:
        """The place of the outcome of the measurement of this id."""
        self.slots[uid] = Slot(len(self.slots))
        return self.slots[uid]

    def ref(self, value: MeasurementValue) -> tuple[list[Step], Ref]:
        """The reference to a measured value, and the steps that must come first."""
        if id(value) in self._known:
            return [], self._known[id(value)][1]
        steps, found = self._find(value)
        self._known[id(value)] = (value, found)
        return steps, found

    def _find(self, value: MeasurementValue) -> tuple[list[Step], Ref]:
        slots = self._slots_of(value)
        chain = list(nodes(value)) if isinstance(value, Outcome) else []
        live = any(n.live for n in chain)
        if len(slots) <= LONGEST_TABLE and len(chain) <= _FEW_NODES and not live:
            return [], Table(tuple(s.index for s in slots), self._table(value))
        if len(chain) > 1:
            return self._chain(chain)
        traced, consts, outputs = trace(value.processing_fn, [_bit()] * len(slots))
        if is_affine(traced.jaxpr) and outputs[0].shape == ():
            return [], Affine(
                tuple(s.index for s in slots), self._store(lambda: affine_values(traced, consts, len(slots)))
            )
        step, registers = self._compute(traced, slots, consts, outputs)
        return [step], _scalar(registers, outputs)

    def _slots_of(self, value: MeasurementValue) -> list[Slot]:
        missing = [m for m in value.measurements if m.meas_uid not in self.slots]
        if missing:
            raise ValueError(
                f"The outcome of a measurement of wire {missing[0].wires[0]!r} was used, but this circuit has not made "
                "it. Call qml.measure first, in the same circuit. If a transform removed the measurement "
                "(qml.defer_measurements, mcm_method='deferred'), leave that out."
            )
        return [self.slots[m.meas_uid] for m in value.measurements]

    def _table(self, value: MeasurementValue) -> int:
        """Where the table of a function starts."""
        few = len(value.measurements) <= FEW and unstaged()
        if not isinstance(value, Outcome) or (few and not any(_holds_tracer(n) for n in nodes(value))):
            found = tabulate(value)
            if not isinstance(found, jax.core.Tracer):
                return self.inputs.table(found)
        return self._store(lambda: tabulate(value))

    def _store(self, make: Callable[[], Any]) -> int:
        """Where values start that the compiled program makes."""
        traced, consts, outputs = trace(make, [])
        return self.inputs.computed_table(traced, consts, outputs[0].shape[0])

    def _compute(
        self, traced: Any, inputs: Sequence[Ref], consts: Sequence[Any], outputs: Sequence[Any]
    ) -> tuple[Step, tuple[Register, ...]]:
        first = len(self._types)
        self._types += [(o.shape, str(o.dtype)) for o in outputs]
        registers = tuple(Register(first + k) for k in range(len(outputs)))
        refs = (*inputs, *(self.inputs.array(c) for c in consts))
        kinds = (*(_kind(r) for r in inputs), *(("Array", np.shape(c), str(jnp.result_type(c))) for c in consts))
        return Step(Compute(traced, kinds, len(inputs), tuple(r.index for r in registers)), refs), registers

    def _chain(self, chain: Sequence[Outcome]) -> tuple[list[Step], Ref]:
        """Each function of a chain as a step of its own, unless an earlier use has made it."""
        steps = []
        for node in chain:
            if id(node) not in self._trees:
                step, tree, registers = self._node(node)
                steps.append(step)
                self._trees[id(node)] = (node, tree, registers)
        last = self._trees[id(chain[-1])][2]
        return steps, _scalar(last, [abstract(*self._types[r.index]) for r in last])

    def _node(self, node: Outcome) -> tuple[Step, Any, tuple[Register, ...]]:
        inputs: list[Ref] = []
        readers: list[Callable[[Sequence[Any]], Any]] = []
        for arg in node.args:
            readers.append(self._reader(arg, inputs))
        avals = [_bit() if isinstance(r, Slot) else abstract(*self._types[cast(Register, r).index]) for r in inputs]
        trees: list[Any] = []

        def flat(*values: Any) -> list[Any]:
            leaves, tree = jax.tree_util.tree_flatten(node.fn(*(r(values) for r in readers)))
            trees.append(tree)
            return leaves

        traced, consts, outputs = trace(flat, avals)
        step, registers = self._compute(traced, inputs, consts, outputs)
        return step, trees[-1], registers

    def _reader(self, arg: Any, inputs: list[Ref]) -> Callable[[Sequence[Any]], Any]:
        """How an argument of a function is read from the step's inputs, which this extends."""
        if not isinstance(arg, MeasurementValue):
            return lambda values: arg
        start = len(inputs)
        if isinstance(arg, Outcome):
            _, tree, registers = self._trees[id(arg)]
            inputs.extend(registers)
            stop = len(inputs)
            return lambda values: jax.tree_util.tree_unflatten(tree, values[start:stop])
        inputs.extend(self._slots_of(arg))
        stop = len(inputs)
        return lambda values: arg.processing_fn(*values[start:stop])

    def allocate(self, steps: Sequence[Step], finals: Sequence[Final]) -> tuple[list[Step], list[Final], Types]:
        """Steps and finals with as few registers as the values need that are alive at once.

        A value that replaces its predecessor in every round gets its predecessor's register, so that the rounds are
        equal and can be one loop.
        """
        last = {r: k for k, s in enumerate(steps) for r in s.refs if isinstance(r, Register)}
        last |= {r: len(steps) for f in finals for r in f.refs if isinstance(r, Register)}
        home: dict[Register, Register] = {}
        free: dict[Any, list[int]] = {}
        types: list[tuple[tuple[int, ...], str]] = []
        numbers = count()
        done = []
        for k, step in enumerate(steps):
            refs = tuple(home[r] if isinstance(r, Register) else r for r in step.refs)
            for register in {r for r in step.refs if isinstance(r, Register) and last[r] == k}:
                free.setdefault(self._types[register.index], []).append(home[register].index)
            form = step.form
            if isinstance(form, Compute):
                outputs = []
                for index in form.outputs:
                    kind = self._types[index]
                    spare = free.get(kind)
                    if spare:
                        place = spare.pop(0)
                    else:
                        place = next(numbers)
                        types.append(kind)
                    home[Register(index)] = Register(place)
                    outputs.append(place)
                    if Register(index) not in last:
                        free.setdefault(kind, []).append(place)
                form = replace(form, outputs=tuple(outputs))
            done.append(Step(_renamed(form, refs), refs))
        ends = [replace(f, refs=tuple(home[r] if isinstance(r, Register) else r for r in f.refs)) for f in finals]
        return done, ends, tuple(types)


def _holds_tracer(node: Outcome) -> bool:
    """Whether a function plainly uses traced numbers; it is quicker to know before calling it."""
    cells = [c.cell_contents for c in getattr(node.fn, "__closure__", None) or ()]
    held = [*cells, *(getattr(node.fn, "__defaults__", None) or ()), *node.args]
    return any(isinstance(x, jax.core.Tracer) for x in held)


def _renamed(form: Any, refs: Sequence[Ref]) -> Any:
    if isinstance(form, Apply | Compute) and any(isinstance(r, Register) for r in refs):
        kinds = tuple(_kind(r) if isinstance(r, Register) else k for r, k in zip(refs, form.kinds, strict=True))
        return replace(form, kinds=kinds)
    return form


def _kind(ref: Ref) -> Kind:
    return ("Register", ref.index) if isinstance(ref, Register) else (type(ref).__name__,)


def _bit() -> Any:
    return abstract((), np.int64)


def _scalar(registers: Sequence[Register], outputs: Sequence[Any]) -> Register:
    if len(outputs) != 1 or outputs[0].shape != ():
        raise ValueError(
            "A gate angle, condition or statistic of measured outcomes must be a scalar. Got shapes "
            f"{[o.shape for o in outputs]}. Take one entry or a sum by a further outcome(...)."
        )
    return registers[0]
