"""Merged turns by few times: one precomputed diagonal for each, D, and in each repeat the phases time * D / 2.

This is what a layer of an alternating circuit has: all turns of its cost go by one angle, times weights that are the
same in every layer.  D is made inside the program, once in a call, from the weights, which stay run-time inputs.  Where
the costs are known to be multiples of one unit they are small integers, an eighth of a float64 to store and to read.

Phases of integers could come from a table of exp(-i time * cost / 2) over all costs.  On CPUs XLA's gathers take longer
than cosine and sine, so there they are computed; on other platforms they are looked up.  (20 qubits, milliseconds of
one core in float64 and float32, applied to the state: by a table 23 and 7.8, computed from D 4.5 and 2.2, computed from
the angles of 30 turns 8.3 and 4.0.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from varq.simulator.bits import mask
from varq.simulator.circuit import Circuit
from varq.simulator.dense import layout
from varq.simulator.dense.schedule import Turns
from varq.simulator.dense.segments import Local, Segment
from varq.simulator.dense.step import Step
from varq.simulator.evolutions import MOST_LEVELS

__all__ = ["DiagonalStep", "Diagonal", "Levels", "diagonals", "looked_up"]

_MOST = 2  # diagonals of one step: more take longer to read than phases by a product of sign tables to compute
_ROUNDING = 1e-12  # of static scales, which are sums of halves and quarters of an angle


class Levels(NamedTuple):
    """Costs as integers.

    Args:
        most: a bound on their size.
        scale: the unit of which they are multiples, or what multiplies it.
        weights: which angles have the unit as their least size; none if `scale` is the unit.
    """

    most: int
    scale: float
    weights: tuple[int, ...] = ()

    @property
    def kind(self) -> Any:
        """The type that holds the costs."""
        return np.int8 if self.most <= np.iinfo(np.int8).max else np.int16

    def unit(self, angles: Any) -> Any:
        """The unit, from all angles of the circuit."""
        if not self.weights:
            return jnp.asarray(self.scale, angles.dtype)
        sizes = jnp.abs(angles[np.array(self.weights)])
        return jnp.min(jnp.where(sizes > 0, sizes, jnp.inf)) * self.scale


@dataclass
class Diagonal:
    """The turns by one time.

    Args:
        times: for each repeat which of the circuit's angles is the time; one past the last angle is 1, two past it 0.
        masks: of the wires of each turn.
        scales: what multiplies each turn's weight.
        weights: which of the circuit's angles is the weight; one past the last angle is 1.
    """

    times: NDArray[np.int32]
    masks: list[int] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)

    def levels(self, circuit: Circuit) -> Levels | None:
        """The costs as integers, if they are known to be multiples of one unit."""
        sizes = np.abs(np.array(self.scales))
        if all(w == circuit.angles for w in self.weights):
            steps = sizes / sizes.min()
            known = bool(np.all(np.abs(steps - np.rint(steps)) < _ROUNDING * steps)) and steps.sum() <= MOST_LEVELS
            return Levels(int(np.rint(steps).sum()), float(sizes.min())) if known else None
        grid = next((g for g in circuit.constants if set(self.weights) <= set(g.weights)), None)
        if grid is None or not grid.levels:
            return None
        if len(set(self.weights)) < len(self.weights) or np.ptp(sizes) > _ROUNDING * sizes.max():
            return None
        return Levels(grid.levels, float(sizes[0]), grid.weights)

    def moves(self, circuit: Circuit) -> bool:
        """Whether it changes with numbers by which there may be derivatives."""
        fixed = {circuit.angles, *(w for some in circuit.constants for w in some.weights)}
        return not set(self.weights) <= fixed


def diagonals(turns: Turns, segment: Segment, circuit: Circuit, wires: int) -> list[Diagonal]:
    """Merged turns by their times: all that some angle, or nothing, multiplies in each repeat.

    Args:
        turns: with angles numbered within the segment.
        segment: whose repeats they are part of.
        circuit: with its products.
        wires: of the register.
    """
    one, none = circuit.angles, circuit.angles + 1
    repeats = segment.repeats
    found: dict[bytes, Diagonal] = {}

    def add(times: NDArray[np.int32], wanted: int, scale: float, weight: int) -> None:
        to = found.setdefault(times.tobytes(), Diagonal(times))
        to.masks.append(wanted)
        to.scales.append(scale)
        to.weights.append(weight)

    for some in sorted(turns.terms, key=sorted):
        wanted = mask(tuple(some), wires)
        for row, angle, scale in turns.terms[some]:
            weight, times, factor = _factored(segment.angles[:, angle], circuit)
            if row:
                times = np.append(times[1:], none).astype(np.int32)
            add(times, wanted, scale * factor, weight)
        if turns.offsets[some]:
            add(np.full(repeats, one, np.int32), wanted, turns.offsets[some], one)
    return list(found.values())


def _factored(angles: NDArray[np.int32], circuit: Circuit) -> tuple[int, NDArray[np.int32], float]:
    """A weight that the angles of all repeats have in common, the times that are left, and a factor."""
    if len(angles) and angles.min() >= circuit.inputs:
        weights, times, factors = zip(*(circuit.products[a - circuit.inputs] for a in angles), strict=True)
        if len(set(weights)) == len(set(factors)) == 1:
            return weights[0], np.array(times, np.int32), factors[0]
    return circuit.angles, angles, 1.0


class DiagonalStep(Step):
    """The phases of some diagonals, each multiplied by its time.

    Args:
        every: the diagonals; `DiagonalStep.pays` says whether they are few enough.
        circuit: whose angles they name.
    """

    cheap = True

    def __init__(self, every: Sequence[Diagonal], circuit: Circuit) -> None:
        self.wires = circuit.wires
        self.constant = circuit.angles  # the place of a time that is 1
        self.every = every
        self.levels = [d.levels(circuit) for d in every]
        self.moving = [d.moves(circuit) for d in every]
        self.tables = tuple(layout.signs(d.masks, circuit.wires) for d in every)
        self.times = np.stack([d.times for d in every], 1)

    @staticmethod
    def pays(every: Sequence[Diagonal], circuit: Circuit) -> bool:
        """Whether phases by these diagonals, one of them constant, are sooner computed than by sign tables."""
        _, rest = layout.half(circuit.wires)
        split = all(m < rest or m % rest == 0 for d in every for m in d.masks)
        timed = sum(d.times.min() < circuit.angles for d in every)
        return 0 < len(every) <= _MOST + 1 and timed <= _MOST and not split

    @property
    def described(self) -> str:
        """What the costs are, for `explain`: of those that an angle multiplies, if there is one."""
        timed = [one for one, d in zip(self.levels, self.every, strict=True) if d.times.min() < self.constant]
        return ", ".join("real" if one is None else f"integers up to {one.most}" for one in timed or self.levels)

    # -- numbers

    def inputs(self, local: Local) -> Any:
        """The times, shape (repeats, diagonals)."""
        return _extended(local.every)[self.times]

    def shared(self, local: Local) -> Any:
        """For each diagonal its turns' weights with their scales, and the unit of its costs."""
        every, dtype = _extended(local.every), local.every.dtype
        out = []
        for diagonal, levels, moving in zip(self.every, self.levels, self.moving, strict=True):
            weights = every[np.array(diagonal.weights)] * jnp.asarray(np.array(diagonal.scales), dtype)
            unit = jnp.ones((), dtype) if levels is None else levels.unit(local.every)
            out.append((weights if moving else lax.stop_gradient(weights), lax.stop_gradient(unit)))
        return tuple(out)

    def prepare(self, tables: Any, shared: Any) -> Any:
        """What the steps of all repeats take: tables, units, and for each diagonal its values or integer costs."""
        costs = []
        for table, (weights, unit), levels in zip(tables, shared, self.levels, strict=True):
            high, low = (t.astype(weights.dtype) for t in table)
            whole = ((high * weights[:, None]).T @ low).reshape(-1)
            costs.append(whole if levels is None else jnp.rint(whole / unit).astype(levels.kind))
        # Behind a barrier: XLA would keep the real numbers, and make integers of them where they are used.
        found = lax.optimization_barrier(tuple(costs))  # type: ignore[no-untyped-call]
        return tables, tuple(unit for _, unit in shared), found

    def _values(self, ready: Any) -> list[Any]:
        """The diagonals, each of shape (2**wires,)."""
        _, units, costs = ready
        return [c if kind is None else c * u for c, u, kind in zip(costs, units, self.levels, strict=True)]

    # -- runs

    def _factors(self, ready: Any, times: Any) -> tuple[Any, Any]:
        """Cosine and sine of every basis state's phase, shape (2**wires,)."""

        def computed() -> tuple[Any, Any]:
            values = self._values(ready)
            return layout.trigonometry(sum(times[k] / 2 * value for k, value in enumerate(values)))

        levels = self.levels[0]
        if levels is None or len(self.every) > 1:
            return computed()
        most = levels.most
        found: tuple[Any, Any] = lax.platform_dependent(
            cpu=computed, default=lambda: looked_up(times[0] * ready[1][0], ready[2][0], most)
        )
        return found

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        return layout.turned(state, *self._factors(tables, inputs))

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """See `Step`."""
        cosine, sine = self._factors(tables, inputs)
        return layout.turned(state, cosine, -sine)

    def both_undone(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> tuple[Any, Any]:
        """`undo` of two states, whose phases are computed once."""
        cosine, sine = self._factors(tables, inputs)
        return layout.turned(bra, cosine, -sine), layout.turned(ket, cosine, -sine)

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`: by the times."""
        crossed = layout.crossed(bra, ket)
        return jnp.stack([jnp.vdot(value, crossed) for value in self._values(tables)])

    def gathered(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """See `Step`: by each diagonal."""
        crossed = layout.crossed(bra, ket)
        return tuple(inputs[k] * crossed if moving else () for k, moving in enumerate(self.moving))

    def collected(self, tables: Any, sums: Any) -> Any:
        """See `Step`: by the weights."""
        out = []
        for (high, low), unit, total, moving in zip(*tables[:2], sums, self.moving, strict=True):
            slopes = jnp.zeros(len(high), unit.dtype)
            if moving:
                cube = total.reshape(high.shape[1], low.shape[1])
                slopes = jnp.einsum("ml,ml->m", high.astype(total.dtype) @ cube, low.astype(total.dtype))
            out.append((slopes, jnp.zeros_like(unit)))
        return tuple(out)


def _extended(angles: Any) -> Any:
    """Angles, then 1 and 0."""
    return jnp.concatenate([angles, jnp.array([1, 0], angles.dtype)])


def looked_up(time: Any, costs: Any, most: int) -> tuple[Any, Any]:
    """Cosine and sine of time * cost / 2, from a table over all costs.

    Args:
        time: a number, multiplied by the unit of the costs.
        costs: integers.
        most: a bound on their size.
    """
    every = time / 2 * jnp.arange(-most, most + 1, dtype=time.dtype)
    index = costs.astype(jnp.int32) + most
    cosine, sine = (t.at[index].get(mode="promise_in_bounds") for t in (jnp.cos(every), jnp.sin(every)))
    return cosine, sine
