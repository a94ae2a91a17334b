"""From the gates of a circuit to what runs them: loops over repeated layers, and streams of what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from varq.simulator.circuit import MATRIX, Circuit
from varq.simulator.dense.fused import fuse
from varq.simulator.dense.loop import Loop
from varq.simulator.dense.schedule import WIDTH, Blocks, Planned, schedule
from varq.simulator.dense.segments import Segment, renumbered, segments, whole
from varq.simulator.dense.steps import runnable
from varq.simulator.dense.stream import Stream
from varq.simulator.gates import Primitive, Turn, expand

__all__ = ["Part", "build"]

_SMALL = 4  # wires of a register that one block covers
_FEW = 3  # steps that are written out rather than streamed
_LONG = 8  # steps that take no longer to compile than a stream, in the body of a loop or written out


@dataclass(frozen=True)
class Part:
    """A run of the circuit: which numbers it takes, and what runs them, a `Loop` or a `Stream`."""

    segment: Segment
    runner: Any


class _Plan(NamedTuple):
    """A segment as steps: turns before its loop, the steps of one repeat, turns after it, and its global phases."""

    segment: Segment
    lead: list[Turn]
    steps: list[Planned]
    tail: list[Turn]
    phases: list[Turn]


def build(circuit: Circuit, loops: bool) -> tuple[list[Part], tuple[Any, float]]:
    """The parts of a circuit in order, and its global phase: twice what each angle adds to it, and a constant.

    Args:
        circuit: any.
        loops: whether to look for repeated layers.
    """
    large = circuit.wires > _SMALL
    found = _worthwhile(segments(circuit.gates)) if loops and large else [whole(circuit.gates)]
    found = [each for one in found for each in (_apart(one) if isinstance(one, Segment) else [one])]
    parts: list[Part] = []
    weights, offset = np.zeros(circuit.angles), 0.0
    for one in found:
        segment = one.segment if isinstance(one, _Plan) else one
        made, phases = _looped(one, circuit) if isinstance(one, _Plan) else _plain(one, circuit, large, loops)
        parts += made
        for turn in phases:
            if turn.angle is not None:
                np.add.at(weights, segment.angles[:, turn.angle], turn.scale)
            offset += turn.offset * segment.repeats
    return parts, (weights, offset)


def _worthwhile(found: Sequence[Segment]) -> list[Segment | _Plan]:
    """Segments, those planned whose body is short enough for a loop; what lies between them is put together."""
    out: list[Segment | _Plan] = []
    for segment in found:
        if segment.repeats > 1:
            plan = _planned(segment)
            if len(plan.steps) <= _LONG:
                out.append(plan)
                continue
        last = out[-1] if out else None
        if isinstance(last, Segment):
            out[-1] = whole((*last.every, *segment.every))
        else:
            out.append(whole(segment.every))
    return out


def _apart(segment: Segment) -> list[Segment | _Plan]:
    """A segment that comes once, cut where a matrix is wider than the blocks of a stream."""
    out: list[Segment | _Plan] = []
    for wide, run in groupby(segment.every, key=lambda g: g.name == MATRIX and len(g.wires) > WIDTH):
        gates = tuple(run)
        out += [_planned(whole((gate,))) for gate in gates] if wide else [whole(gates)]
    return out or [segment]


def _primitives(segment: Segment, style: str) -> tuple[list[Primitive], list[Turn]]:
    """What the gates of one repeat are made of, and apart from it the global phases."""
    every = [p for gate in renumbered(segment) for p in expand(gate, style)]
    return [p for p in every if p.wires], [p for p in every if isinstance(p, Turn) and not p.wires]


def _planned(segment: Segment) -> _Plan:
    found, phases = _primitives(segment, "frame")
    lead, steps, tail = schedule(found, segment.repeats)
    return _Plan(segment, lead, steps, tail, phases)


def _plain(segment: Segment, circuit: Circuit, large: bool, short: bool) -> tuple[list[Part], list[Turn]]:
    """The parts of a segment that comes once, and its global phases; `short` allows more than a few steps written out.

    One or two layers are no loop, but their phases are one pass each: a stream has a block for each pair of wires.
    """
    plan = _planned(segment) if large else None
    if plan is not None and len(plan.steps) <= _FEW:
        return _looped(plan, circuit)
    found, phases = _primitives(segment, "whole")
    if plan is not None and short and len(plan.steps) <= _LONG and _weight(plan) <= len(fuse(found, circuit.wires)):
        return _looped(plan, circuit)
    return [Part(segment, Stream(found, circuit.wires))], phases


def _weight(plan: _Plan) -> float:
    """The steps of a plan in blocks of a stream, which are complex: a real matrix takes half the arithmetic."""
    groups = [g for step in plan.steps if isinstance(step, Blocks) for g in step.groups]
    passes = sum(not isinstance(step, Blocks) for step in plan.steps)
    return passes + sum(0.5 if g.real else 1.0 for g in groups)


def _looped(plan: _Plan, circuit: Circuit) -> tuple[list[Part], list[Turn]]:
    """The parts of a planned segment, and its global phases."""
    segment = plan.segment
    # Turns before and after the loop take the numbers of its first repeat.
    head = replace(segment, repeats=1, angles=segment.angles[:1], arrays=segment.arrays[:1])
    runs = ((schedule(plan.lead, 1)[1], head), (plan.steps, segment), (schedule(plan.tail, 1)[1], head))
    parts = []
    for steps, one in runs:
        if steps:
            made = [runnable(p, one, circuit) for p in steps]
            parts.append(Part(one, Loop(made, one.repeats)))
    return parts, plan.phases
