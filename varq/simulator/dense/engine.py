"""The engine that runs a circuit in the whole space."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.dense import layout
from varq.simulator.dense.build import Part, build
from varq.simulator.dense.diagonal import DiagonalStep
from varq.simulator.dense.loop import Loop
from varq.simulator.dense.observable import FullObservable
from varq.simulator.dense.segments import Local
from varq.simulator.dense.step import Step
from varq.simulator.dense.steps import BlockStep, TurnStep
from varq.simulator.dense.stream import Stream
from varq.simulator.least import circuit_work
from varq.simulator.limits import check_size
from varq.simulator.scans import Room

__all__ = ["DenseEngine"]

_ALTERNATING = 2  # steps of a repeated layer: its cost and its mixer


def _cost(steps: Sequence[Step]) -> str:
    """What is said of steps that are precomputed costs, and matrices of one wire; nothing of others."""
    costs = [s for s in steps if isinstance(s, DiagonalStep)]
    mixers = [s for s in steps if isinstance(s, BlockStep)]
    product = all(len(b.wires) == 1 for s in mixers for g in s.groups for b in g.blocks)
    rest = [s for s in steps if not isinstance(s, (DiagonalStep, BlockStep))]
    if not costs or not mixers or not product or not all(isinstance(s, TurnStep) and s.separate for s in rest):
        return ""
    return f"a precomputed diagonal cost ({costs[0].described}) and a product mixer"


def _steps(part: Part) -> int:
    """How many states a part goes through."""
    return int(part.runner.count if isinstance(part.runner, Stream) else part.runner.repeats)


def _storable(part: Part) -> int:
    """How many states a part would store for `backward` if there were room."""
    return _steps(part) * getattr(part.runner, "storing", True)


def _cost_angles(steps: Sequence[Step]) -> int:
    """How many turns a cost has that would be precomputed if they went by one angle; 0 where there is no such cost."""
    mixers = [s for s in steps if isinstance(s, BlockStep)]
    turns = [s for s in steps if isinstance(s, TurnStep) and not s.separate]
    product = all(len(b.wires) == 1 for s in mixers for g in s.groups for b in g.blocks)
    alternate = bool(mixers) and product and all(isinstance(s, (BlockStep, TurnStep, DiagonalStep)) for s in steps)
    return max((len(s.sets) for s in turns), default=0) if alternate else 0


class DenseEngine:
    """An `Engine` for any circuit.

    Args:
        circuit: the circuit.
        stored: bytes that stored states may take, those of all parts together.
        loops: whether to look for repeated layers.
        dtype: "float64" or "float32": what `facts` are counted for.

    Raises:
        DeviceError: for more wires than memory can hold.
    """

    def __init__(self, circuit: Circuit, stored: int, loops: bool = True, dtype: str = "float64") -> None:
        check_size(circuit.wires, dtype)
        self.circuit = circuit
        self.wires = circuit.wires
        self.stored = stored
        self.parts, self._phase = build(circuit, loops)
        self.tables = tuple(p.runner.tables for p in self.parts)
        self.path, self.why = self._named()
        self.facts = self._facts(dtype)

    def _named(self) -> tuple[str, str]:
        loops = [p for p in self.parts if p.segment.repeats > 1]
        total = len(self.circuit.gates)
        covered = sum(p.segment.repeats * len(p.segment.gates) for p in loops)
        if not loops or 2 * covered < total:
            return self._written_out() or ("general", "no run of repeated layers covers half of the gates")
        widest = max(loops, key=lambda p: p.segment.repeats * len(p.segment.gates))
        what = f"{widest.segment.repeats} repeats of {len(widest.segment.gates)} gates cover {covered} of {total} gates"
        steps = widest.runner.steps
        cost = _cost(steps)
        return ("alternating", f"{what}: {cost}") if cost and len(steps) == _ALTERNATING else ("layers", what)

    def _written_out(self) -> tuple[str, str] | None:
        """What is said of one or two layers that alternate; None of other circuits."""
        single = [p for p in self.parts if isinstance(p.runner, Loop) and p.segment.repeats == 1]
        widest = max(single, key=lambda p: len(p.segment.gates), default=None)
        if widest is None or 2 * len(widest.segment.gates) < len(self.circuit.gates):
            return None
        cost = _cost(widest.runner.steps)
        what = f"{len(widest.segment.gates)} gates are {len(widest.runner.steps)} steps, written out"
        return ("alternating", f"{what}: {cost}") if cost else None

    def _facts(self, dtype: str) -> dict[str, Any]:
        written = [p.runner.steps for p in self.parts if isinstance(p.runner, Loop)]
        passes = [1 if isinstance(p.runner, Stream) else len(p.runner.steps) for p in self.parts]
        held = self._bytes(dtype)
        least, once = circuit_work(self.circuit), circuit_work(self.circuit, gradient=False)
        return {
            "amplitudes": 2**self.wires,
            "gates": len(self.circuit.gates),
            "steps": sum(_steps(p) * each for p, each in zip(self.parts, passes, strict=True)),
            "arithmetic": "complex",
            "state_bytes": held,
            "stored_bytes": sum(self._keeps(dtype)) * held,
            "could_store": any(_storable(p) for p in self.parts),
            "bytes_per_gradient": least.passes * held,
            "operations_per_gradient": least.operations * 2**self.wires,
            "bytes_per_run": once.passes * held,
            "operations_per_run": once.operations * 2**self.wires,
            "cost_angles": max(map(_cost_angles, written), default=0),
        }

    # -- running

    def _inputs(self, tables: Any, numbers: Numbers) -> tuple[Any, ...]:
        out = []
        for part, table in zip(self.parts, tables, strict=True):
            out.append(part.runner.inputs(table, Local(part.segment, numbers)))
        # XLA would carry what is constant in them through whole states while it compiles.
        prepared: tuple[Any, ...] = lax.optimization_barrier(tuple(out))  # type: ignore[no-untyped-call]
        return prepared

    def _start(self, numbers: Numbers) -> Any:
        initial = self.circuit.initial
        if initial.array is not None:
            return layout.State(*numbers.arrays[initial.array].astype(numbers.angles.dtype))
        index = int("".join(map(str, initial.bits)), 2) if initial.bits else 0
        real = (lax.iota(jnp.int32, 2**self.wires) == index).astype(numbers.angles.dtype)
        return layout.State(real, jnp.zeros_like(real))

    def _bytes(self, dtype: Any) -> int:
        """Of one state."""
        return int(2 * 2**self.wires * np.dtype(dtype).itemsize)

    def _keeps(self, dtype: Any) -> list[int]:
        """How many states each part stores for `backward`: one for each step, or none."""
        room = Room(self.stored)
        return [room.take(_storable(p), self._bytes(dtype)) for p in self.parts]

    def _rooms(self, dtype: Any) -> list[int]:
        """How many states of each part JAX may keep where it differentiates by itself."""
        room = Room(self.stored)
        return [room.take_for(_steps(p), self._bytes(dtype)) for p in self.parts]

    def forward(self, tables: Any, numbers: Numbers, keep: bool = False) -> tuple[Any, Any]:
        """See `Engine`."""
        state = self._start(numbers)
        dtype = state.real.dtype
        kept = []
        shares = zip(self._keeps(dtype), self._rooms(dtype), strict=True)
        given = zip(self.parts, tables, self._inputs(tables, numbers), shares, strict=True)
        for part, table, inputs, (stored, room) in given:
            state, states = part.runner.forward(table, inputs, state, keep and stored > 0, room)
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
            arrays[self.circuit.initial.array] = arrays[self.circuit.initial.array] + 2 * jnp.stack(bra)
            out = Numbers(out.angles, tuple(arrays))
        return out

    def state(self, tables: Any, numbers: Numbers) -> Any:
        """See `Engine`."""
        state, _ = self.forward(tables, numbers)
        weights, offset = self._phase
        angle = (jnp.asarray(weights, state.real.dtype) @ numbers.angles + offset % (4 * pi)) / 2
        return lax.complex(*layout.turned(state, jnp.cos(angle), jnp.sin(angle)))

    def observable(self, structure: Any) -> Any:
        """See `Engine`."""
        return FullObservable(structure, self.wires)
