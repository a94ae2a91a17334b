"""How large the work of a measured circuit is, without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from pennylane.tape import QuantumScript

from varq.simulator.limits import states_held
from varq.simulator.measured.branches import count_branches
from varq.simulator.measured.execution import MOST_BRANCHES, Readout, flip_chances
from varq.simulator.measured.machine import gate_kinds
from varq.simulator.measured.program import Apply, Measure, Program, Step
from varq.simulator.measured.reading import read
from varq.simulator.measured.rounds import Loop, parts
from varq.simulator.measured.statistics import Plan
from varq.simulator.measured.trajectories import columns_at_once, draws_again, held_amplitudes, random_numbers
from varq.simulator.precision import double
from varq.simulator.scans import STORED

__all__ = ["Sizes", "sizes"]

_WORD = 4  # bytes of a random number


@dataclass(frozen=True)
class Sizes:
    """What a measured circuit comes to.

    Args:
        facts: by name: amplitudes, gates, steps, measurements, branches or trajectories, columns held at once, their
            bytes, and what one run has to move and compute at least.
        rounds: how often each repetition that was found repeats, and its steps.
        looped: whether each of these is one loop.
        again: whether shots that postselection rejects are drawn again.
        most: how many branches may be summed.
    """

    facts: dict[str, Any]
    rounds: tuple[tuple[int, int], ...]
    looped: bool
    again: bool
    most: int

    @property
    def too_many(self) -> bool:
        """Whether there are more branches than may be summed."""
        return bool(self.facts.get("branches", 0) > self.most)


def sizes(
    script: QuantumScript,
    wires: Sequence[Any],
    *,
    postselect_mode: str | None = None,
    readout_error: Readout = None,
    max_branches: int = MOST_BRANCHES,
    stored_bytes: int = STORED,
    dtype: str = "float64",
) -> Sizes:
    """The sizes of a tape with mid-circuit measurements; arguments as for `execute_measured`, shots are the tape's.

    They are those of a run, not of a derivative: `stored_bytes` is taken, and changes none of them.

    Raises:
        ValueError: for a readout error that does not fit.
        DeviceError: for operations and measurements that measured circuits do not support.

    Example:
        >>> import pennylane as qml
        >>> with qml.tape.QuantumTape() as tape:
        ...     for _ in range(3):
        ...         _ = qml.Hadamard(0)
        ...         outcome = qml.measure(0, reset=True)
        ...     _ = qml.expval(qml.Z(0))
        >>> found = sizes(tape, [0])
        >>> found.facts["branches"], found.rounds, found.looped
        (8, ((3, 2),), False)
    """
    shots = script.shots.total_shots
    flips = flip_chances(readout_error, list(wires))
    with double():
        bases = Plan(script.measurements, wires).bases if shots else ()
        program, _ = read(script, wires, bases, exact=not shots, flips=flips)
    loops = [p for p in parts(program.steps) if isinstance(p, Loop)]
    rounds = tuple((len(loop.rounds), len(loop.forms)) for loop in loops)
    again = bool(shots) and postselect_mode == "fill-shots" and draws_again(program)
    facts = _common(program)
    facts |= _of_shots(program, shots, dtype) if shots else _of_branches(program, dtype)
    return Sizes(facts, rounds, bool(shots), again, max_branches)


def _common(program: Program) -> dict[str, Any]:
    return {
        "amplitudes": 2**program.wires,
        "gates": sum(isinstance(s.form, Apply) for s in program.steps),
        "steps": len(program.steps),
        "measurements": program.slots,
        "arithmetic": "complex",
    }


def _column(program: Program, dtype: str) -> int:
    """Bytes of a column: its state, what was read, and what was computed."""
    registers: int = sum(int(np.prod(shape)) * int(np.dtype(kind).itemsize) for shape, kind in program.registers)
    return _state(program, dtype) + program.slots + registers


def _state(program: Program, dtype: str) -> int:
    return 2 * int(np.dtype(dtype).itemsize) << program.wires


def _of_branches(program: Program, dtype: str) -> dict[str, Any]:
    """One column at first; measurements make as many of each as it can have outcomes and records."""
    branches = count_branches(program)
    records = 1 if program.flips is None else 2

    def after(columns: int, form: Measure) -> int:
        return columns * records * (2 if form.postselect is None else 1)

    moved, operations = _work(program, dtype, after)
    return {
        "branches": branches,
        "columns": branches,
        "held_bytes": branches * _column(program, dtype),
        "bytes_per_run": moved,
        "operations_per_run": operations,
    }


def _of_shots(program: Program, shots: int, dtype: str) -> dict[str, Any]:
    """One column for each shot from the first measurement on, and no more at once than a chunk has."""
    held = held_amplitudes(jax.default_backend())
    columns = columns_at_once(program, shots, held, states_held(program.wires, dtype))
    luck = _WORD * random_numbers(program)
    chunks = -(-shots // columns)
    moved, operations = _work(program, dtype, lambda now, form: columns)
    return {
        "trajectories": shots,
        "columns": columns,
        "held_bytes": columns * (_column(program, dtype) + luck),
        "bytes_per_run": chunks * (moved + 2 * columns * luck),
        "operations_per_run": chunks * operations,
    }


def _work(program: Program, dtype: str, after: Callable[[int, Measure], int]) -> tuple[int, int]:
    """Bytes and operations of the whole program, from one column on; `after` a measurement there are so many."""
    moved = operations = 0
    columns = 1
    for form, wide in _stages(program.steps):
        before, columns = columns, columns if form is None else after(columns, form)
        moved += _state(program, dtype) * (before + columns)
        operations += before * _flops(program, wide)
    return moved, operations


def _stages(steps: Sequence[Step]) -> Iterator[tuple[Measure | None, int]]:
    """What has to read and write all amplitudes at least once: each measurement, and what gates can be taken together.

    Gives the measurement, or None for gates and how many wires the widest of them has.
    """
    widest = 0
    for step in steps:
        form = step.form
        if isinstance(form, Apply):
            if gate_kinds(form) is None or form.condition:  # a pass of its own
                if widest:
                    yield None, widest
                yield None, 0 if form.diagonal else len(form.wires)
                widest = 0
            else:
                widest = max(widest, len(form.wires))
        elif isinstance(form, Measure):
            if widest:
                yield None, widest
            yield form, 0
            widest = 0
    if widest:
        yield None, widest


def _flops(program: Program, wires: int) -> int:
    """Of a real matrix product on so many wires of one column, which has a real and an imaginary part; 0 for none."""
    return 2 * 2 ** (wires + 1) * 2 ** (program.wires + 1) if wires else 0
