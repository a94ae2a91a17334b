"""Circuits that measure on the way, drawn at random: steps, and what they queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pennylane as qml
from hypothesis import strategies as st
from simulator_tapes import GATES, build, names_for

CONDITIONS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, b: a,
    lambda a, b: ~a,
    lambda a, b: a & b,
    lambda a, b: a | ~b,
    lambda a, b: a + b == 1,
    lambda a, b: 2 * a - b > 0,
    lambda a, b: a != b,
    lambda a, b: (a * b) / 2 < 0.3,
    lambda a, b: 1 - a <= b,
)

Step = tuple[str, int, bool, Any, Any]


def follow(steps: Sequence[Step], wires: int, selecting: bool) -> tuple[list[Any], list[Any]]:
    """Queues the steps; the outcomes in order, and those that are selected."""
    seen: list[Any] = []
    selected: list[Any] = []
    for what, seed, flag, first, second in steps:
        a, b = (seen[seed % len(seen)], seen[seed // 7 % len(seen)]) if seen else (None, None)
        if what == "measure" and len(seen) < 4:
            seen.append(qml.measure(seed % wires, reset=flag))
        elif what == "select" and len(seen) < 4 and not selected:
            seen.append(qml.measure(seed % wires, reset=flag, postselect=seed // 8 % 2 if selecting else None))
            selected.append((seen[-1], seed // 8 % 2))
        elif what == "condition" and seen:
            otherwise = partial(qml.apply, second) if flag else None
            qml.cond(CONDITIONS[seed % len(CONDITIONS)](a, b), partial(qml.apply, first), otherwise)()
        else:
            qml.apply(first)
    return seen, selected


PLAIN = {name: entry for name, entry in GATES.items() if name not in ("Snapshot", "WireCut")}


@st.composite
def steps(draw: Any, wires: int, select: bool = True, table: Any = PLAIN) -> list[Step]:
    """Operations, measurements with and without reset, selections, and conditions with and without an else."""
    names = names_for(wires, table)
    changes, seeds = st.sampled_from(["", "adjoint"]), st.integers(0, 2**16)
    op = st.builds(build, st.sampled_from(names), changes, st.just(wires), seeds)
    what = st.sampled_from(["gate", "measure", "condition", "condition", *(["select"] if select else [])])
    one = st.tuples(what, st.integers(0, 2**16), st.booleans(), op, op)
    first = ("measure", draw(st.integers(0, 7)), draw(st.booleans()), None, None)
    spread: list[Step] = [("gate", 0, False, qml.RY(0.7 + w, w), None) for w in range(wires)]
    return [*spread, first, *draw(st.lists(one, min_size=1, max_size=9))]


def deferred(circuit: Callable[[], Any]) -> list[Any]:
    found = qml.QNode(circuit, qml.device("default.qubit"), mcm_method="deferred")()
    return [np.asarray(part) for part in jax.tree.leaves(found)]


def turned(op: Any, by: float) -> Any:
    """An operation with its angles moved: another one of the same structure, which shares its compiled program."""
    angles = [value for value in op.data if isinstance(value, float)]
    if not angles or len(angles) != len(op.data):
        return op
    if isinstance(op, qml.ops.Exp) and op.base.data:  # whose numbers PennyLane expects, though it does not give them
        return op
    with qml.QueuingManager.stop_recording():
        return qml.ops.functions.bind_new_parameters(op, [value + by for value in angles])
