"""The engine that runs a circuit in the whole space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.dense import layout
from varq.simulator.dense.observable import FullObservable
from varq.simulator.dense.schedule import Planned, schedule
from varq.simulator.dense.segments import Local, Segment, renumbered, segments, whole
from varq.simulator.dense.steps import BlockStep, Step, TurnStep, runnable
from varq.simulator.dense.stream import Stream
from varq.simulator.gates import Primitive, Turn, expand

__all__ = ["DenseEngine"]

_SMALL = 4  # wires of a register that one block covers
_FEW = 3  # steps that are written out rather than streamed
_LONG = 8  # steps in the body of a loop that take no longer to compile than a stream


class _Loop:
    """Steps that are repeated."""

    def __init__(self, steps: Sequence[Step], repeats: int) -> None:
        self.steps = steps
        self.repeats = repeats
        self.tables = tuple(s.tables for s in steps)
        heavy = [k for k, s in enumerate(steps) if not s.cheap]
        self.last = heavy[-1] if heavy else -1
        # A stored state saves undoing the blocks before it: with one step of blocks all, with more a part.
        self.storing = len(heavy) in (1, 2) and repeats > 1

    def inputs(self, tables: Any, local: Local) -> Any:
        return tuple(s.inputs(local) for s in self.steps)

    def _run(self, tables: Any, inputs: Any, state: Any, steps: slice = slice(None)) -> list[Any]:
        """The states after each of some steps."""
        out = []
        for step, table, given in zip(self.steps[steps], tables[steps], inputs[steps], strict=True):
            state = step.apply(table, given, state)
            out.append(state)
        return out

    def forward(self, tables: Any, inputs: Any, state: Any, keep: bool) -> tuple[Any, Any]:
        def once(state: Any, given: Any) -> tuple[Any, Any]:
            return self._run(tables, given, state)[-1], (state if keep else None)

        return lax.scan(once, state, inputs)

    def backward(self, tables: Any, inputs: Any, bra: Any, ket: Any, kept: Any) -> tuple[Any, Any, Any]:
        def once(carry: Any, at: Any) -> tuple[Any, Any]:
            given, before = at
            bra, ket, slopes = self._back(tables, given, carry[0], carry[1], before)
            return (bra, ket), slopes

        (bra, ket), slopes = lax.scan(once, (bra, ket), (inputs, kept), reverse=True)
        return slopes, bra, ket

    def _back(self, tables: Any, inputs: Any, bra: Any, ket: Any, before: Any) -> tuple[Any, Any, Any]:
        """One repeat backwards; `before` is the stored state at its start, or None."""
        slopes: list[Any] = [None] * len(self.steps)
        known = [] if before is None else [before, *self._run(tables, inputs, before, slice(0, self.last))]
        for k in reversed(range(len(self.steps))):
            step, table, given = self.steps[k], tables[k], inputs[k]
            slopes[k] = step.slopes(table, given, bra, ket)
            if k < len(known):
                ket = known[k]
                bra = step.undo(table, given, bra)
            elif isinstance(step, TurnStep):
                bra, ket = step.both_undone(table, given, bra, ket)
            else:
                bra, ket = step.undo(table, given, bra), step.undo(table, given, ket)
        return bra, ket, tuple(slopes)


@dataclass(frozen=True)
class _Part:
    """A run of the circuit: which numbers it takes, and what runs them."""

    segment: Segment
    runner: Any


class DenseEngine:
    """An `Engine` for any circuit.

    Args:
        circuit: the circuit.
        stored: bytes that stored states may take.
        loops: whether to look for repeated layers.
    """

    def __init__(self, circuit: Circuit, stored: int, loops: bool = True) -> None:
        self.circuit = circuit
        self.wires = circuit.wires
        self.stored = stored
        self._globals = np.zeros(circuit.angles), 0.0
        found = (
            self._worthwhile(segments(circuit.gates)) if loops and circuit.wires > _SMALL else [whole(circuit.gates)]
        )
        self.parts = [part for s in found for part in self._parts(s)]
        self.tables = tuple(p.runner.tables for p in self.parts)
        self.path, self.why = self._named()
        self.facts = self._facts()

    # -- building

    def _worthwhile(self, found: Sequence[Segment]) -> list[Segment]:
        """Segments with the loops whose body is short; what lies between them is put together."""
        out: list[Segment] = []
        for segment in found:
            if segment.repeats > 1:
                frame = self._without_globals(renumbered(segment), "frame", None)
                if len(schedule(frame, segment.repeats)[1]) <= _LONG:
                    out.append(segment)
                    continue
            if out and out[-1].repeats == 1:
                out[-1] = whole((*out[-1].every, *segment.every))
            else:
                out.append(whole(segment.every))
        return out

    def _parts(self, segment: Segment) -> list[_Part]:
        gates = renumbered(segment)
        if segment.repeats == 1 and self.wires <= _SMALL:
            return [_Part(segment, Stream(self._without_globals(gates, "whole", segment), self.wires))]
        frame = self._without_globals(gates, "frame", None)
        lead, planned, tail = schedule(frame, segment.repeats)
        if segment.repeats == 1 and len(planned) > _FEW:
            return [_Part(segment, Stream(self._without_globals(gates, "whole", segment), self.wires))]
        self._without_globals(gates, "frame", segment)
        return [*self._once(lead, segment), *self._loop(planned, segment), *self._once(tail, segment)]

    def _loop(self, planned: Sequence[Planned], segment: Segment) -> list[_Part]:
        if not planned:
            return []
        count = segment.angles.shape[1]
        return [_Part(segment, _Loop([runnable(p, self.wires, count) for p in planned], segment.repeats))]

    def _once(self, turns: Sequence[Turn], segment: Segment) -> list[_Part]:
        """Turns that stand before or after a loop, with the numbers of its first repeat."""
        head = replace(segment, repeats=1, angles=segment.angles[:1], arrays=segment.arrays[:1])
        return self._loop(schedule(turns, 1)[1], head)

    def _without_globals(self, gates: Sequence[Any], style: str, segment: Segment | None) -> list[Primitive]:
        """The primitives of gates; global phases are noted for `segment` and left out."""
        out: list[Primitive] = []
        weights, offset = self._globals
        for p in (p for g in gates for p in expand(g, style)):
            if isinstance(p, Turn) and not p.wires:
                if segment is not None:
                    if p.angle is not None:
                        np.add.at(weights, segment.angles[:, p.angle], p.scale)
                    offset += p.offset * segment.repeats
            else:
                out.append(p)
        self._globals = weights, offset
        return out

    def _named(self) -> tuple[str, str]:
        loops = [p for p in self.parts if p.segment.repeats > 1]
        total = len(self.circuit.gates)
        covered = sum(p.segment.repeats * len(p.segment.gates) for p in loops)
        if not loops or 2 * covered < total:
            return "general", "no run of repeated layers covers half of the gates"
        widest = max(loops, key=lambda p: p.segment.repeats * len(p.segment.gates))
        what = f"{widest.segment.repeats} repeats of {len(widest.segment.gates)} gates cover {covered} of {total} gates"
        steps = widest.runner.steps
        turns = [s for s in steps if isinstance(s, TurnStep)]
        mixers = [s for s in steps if isinstance(s, BlockStep)]
        product = all(len(b.wires) == 1 for s in mixers for g in s.groups for b in g.blocks)
        if len(steps) == 2 and turns and mixers and product and any(len(w) > 1 for w in turns[0].sets):
            return "alternating", f"{what}: a diagonal cost and a product mixer"
        return "layers", what

    def _facts(self) -> dict[str, Any]:
        steps = reads = operations = kept = 0.0
        for part in self.parts:
            runner = part.runner
            stored = self._keeps(part, np.float64)
            if isinstance(runner, Stream):
                each = (6 if stored else 8, (3 if stored else 4) * 8 * 2 ** len(max(runner.sets, key=len, default=())))
                works = [each] * runner.count
            else:
                works = [s.work(stored) for s in runner.steps] * part.segment.repeats
            steps += len(works)
            reads += sum(w[0] for w in works)
            operations += sum(w[1] for w in works)
            kept += stored * (runner.count if isinstance(runner, Stream) else runner.repeats)
        size = 2**self.wires
        return {
            "amplitudes": size,
            "gates": len(self.circuit.gates),
            "steps": int(steps),
            "arithmetic": "complex",
            "state_bytes": 16 * size,
            "stored_bytes": int(kept) * 16 * size,
            "bytes_per_gradient": reads * 16 * size,
            "operations_per_gradient": operations * size,
        }

    # -- running

    def _inputs(self, tables: Any, numbers: Numbers) -> tuple[Any, ...]:
        out = []
        for part, table in zip(self.parts, tables, strict=True):
            angles = numbers.angles[part.segment.angles]
            arrays = [jnp.stack([numbers.arrays[i] for i in column]) for column in part.segment.arrays.T]
            out.append(part.runner.inputs(table, Local(angles, arrays)))
        return tuple(out)

    def _start(self, numbers: Numbers) -> Any:
        initial = self.circuit.initial
        if initial.array is not None:
            return numbers.arrays[initial.array].astype(numbers.angles.dtype)
        index = int("".join(map(str, initial.bits)), 2) if initial.bits else 0
        real = (lax.iota(jnp.int32, 2**self.wires) == index).astype(numbers.angles.dtype)
        return jnp.stack([real, jnp.zeros_like(real)])

    def _keeps(self, part: _Part, dtype: Any) -> bool:
        runner = part.runner
        states = runner.count if isinstance(runner, Stream) else runner.repeats * runner.storing
        return bool(0 < states * 2 * 2**self.wires * np.dtype(dtype).itemsize <= self.stored)

    def forward(self, tables: Any, numbers: Numbers, keep: bool = False) -> tuple[Any, Any]:
        """See `Engine`."""
        state = self._start(numbers)
        kept = []
        for part, table, inputs in zip(self.parts, tables, self._inputs(tables, numbers), strict=True):
            state, states = part.runner.forward(table, inputs, state, keep and self._keeps(part, state.dtype))
            kept.append(states)
        return state, tuple(kept)

    def backward(self, tables: Any, numbers: Numbers, state: Any, kept: Any, bra: Any) -> Numbers:
        """See `Engine`."""
        inputs, pull = jax.vjp(lambda n: self._inputs(tables, n), numbers)
        slopes: list[Any] = [None] * len(self.parts)
        for k in reversed(range(len(self.parts))):
            slopes[k], bra, state = self.parts[k].runner.backward(tables[k], inputs[k], bra, state, kept[k])
        out: Numbers = pull(tuple(slopes))[0]
        if self.circuit.initial.array is not None:
            arrays = list(out.arrays)
            arrays[self.circuit.initial.array] = arrays[self.circuit.initial.array] + 2 * bra
            out = Numbers(out.angles, tuple(arrays))
        return out

    def state(self, tables: Any, numbers: Numbers) -> Any:
        """See `Engine`."""
        state, _ = self.forward(tables, numbers)
        weights, offset = self._globals
        angle = (jnp.asarray(weights, state.dtype) @ numbers.angles + offset % (4 * pi)) / 2
        real, imaginary = layout.turned(state, jnp.cos(angle), jnp.sin(angle))
        return lax.complex(real, imaginary)

    def observable(self, structure: Any) -> Any:
        """See `Engine`."""
        return FullObservable(structure, self.wires)
