"""The engine that runs a circuit in the whole space."""

from __future__ import annotations

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
from varq.simulator.dense.observable import FullObservable
from varq.simulator.dense.segments import Local
from varq.simulator.dense.steps import BlockStep
from varq.simulator.dense.stream import Stream
from varq.simulator.least import circuit_work

__all__ = ["DenseEngine"]


class DenseEngine:
    """An `Engine` for any circuit.

    Args:
        circuit: the circuit.
        stored: bytes that stored states may take.
        loops: whether to look for repeated layers.
        dtype: "float64" or "float32": what `facts` are counted for.
    """

    def __init__(self, circuit: Circuit, stored: int, loops: bool = True, dtype: str = "float64") -> None:
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
            return "general", "no run of repeated layers covers half of the gates"
        widest = max(loops, key=lambda p: p.segment.repeats * len(p.segment.gates))
        what = f"{widest.segment.repeats} repeats of {len(widest.segment.gates)} gates cover {covered} of {total} gates"
        steps = widest.runner.steps
        costs = [s for s in steps if isinstance(s, DiagonalStep)]
        mixers = [s for s in steps if isinstance(s, BlockStep)]
        product = all(len(b.wires) == 1 for s in mixers for g in s.groups for b in g.blocks)
        if len(steps) == 2 and costs and mixers and product:
            return "alternating", f"{what}: a precomputed diagonal cost ({costs[0].described}) and a product mixer"
        return "layers", what

    def _facts(self, dtype: str) -> dict[str, Any]:
        lengths = [p.runner.count if isinstance(p.runner, Stream) else p.runner.repeats for p in self.parts]
        each = [1 if isinstance(p.runner, Stream) else len(p.runner.steps) for p in self.parts]
        kept = sum(n for p, n in zip(self.parts, lengths, strict=True) if self._keeps(p, dtype))
        held, least = self._bytes(dtype), circuit_work(self.circuit)
        return {
            "amplitudes": 2**self.wires,
            "gates": len(self.circuit.gates),
            "steps": sum(n * steps for n, steps in zip(lengths, each, strict=True)),
            "arithmetic": "complex",
            "state_bytes": held,
            "stored_bytes": kept * held,
            "bytes_per_gradient": least.passes * held,
            "operations_per_gradient": least.operations * 2**self.wires,
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

    def _room(self, dtype: Any) -> int:
        """How many states may be stored."""
        return self.stored // self._bytes(dtype)

    def _keeps(self, part: Part, dtype: Any) -> bool:
        runner = part.runner
        states = runner.count if isinstance(runner, Stream) else runner.repeats * runner.storing
        return bool(0 < states <= self._room(dtype))

    def forward(self, tables: Any, numbers: Numbers, keep: bool = False) -> tuple[Any, Any]:
        """See `Engine`."""
        state = self._start(numbers)
        dtype = state.real.dtype
        kept = []
        for part, table, inputs in zip(self.parts, tables, self._inputs(tables, numbers), strict=True):
            stored = keep and self._keeps(part, dtype)
            state, states = part.runner.forward(table, inputs, state, stored, self._room(dtype))
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
