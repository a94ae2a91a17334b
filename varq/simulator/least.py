"""The least that a value and gradient, or a run alone, takes, whatever runs it: bytes moved and arithmetic done.

Bytes: a state larger than the caches is read and written in sweeps.  In one sweep a perfect program does all gates that
change at most `HELD` wires otherwise than by phases, block by block of 2**HELD amplitudes.  A gradient sweeps the state
forwards and two states back; the first sweep finds no state yet, the last one leaves none, and between them the
observable reads the state and writes the other one.  A run alone sweeps forwards, and what is measured reads the state.

In a sector a gate touches few amplitudes, and the bytes are those that it reads and writes (`SectorEngine.facts`).

Arithmetic: every gate alone, as fused matrices only add to it; phases that follow one another are one multiplication,
and multiples of a quarter turn, exchanges and the phases' own cosines are free.
"""

from __future__ import annotations

from math import pi
from typing import Any, NamedTuple

from varq.simulator.circuit import Circuit, Gate
from varq.simulator.gates import Block, Move, Primitive, Turn, expand, is_real
from varq.simulator.observables import PauliSum

__all__ = ["HELD", "PAIR", "PHASE", "SLOPE", "Work", "circuit_work", "observable_work"]

HELD = 15
"""Wires whose amplitudes a core's cache holds: half a MiB in float64."""

PHASE = 6
"""Operations of a complex number times another."""

PAIR = 6
"""Operations of a real rotation of two real numbers, or for each of two complex numbers."""

SLOPE = 4
"""Operations of the real part of conj(a) * b, added up."""

_RUNS = 3  # of every gate: forwards, and back for both states
_ROUNDING = 1e-9
_TOUCHED: dict[str, float] = {
    **dict.fromkeys(("CRX", "CRY", "SingleExcitation", "IsingXY", "PSWAP", "FermionicSWAP"), 1 / 2),
    **dict.fromkeys(("SingleExcitationPlus", "SingleExcitationMinus", "CH", "CRot"), 1 / 2),
    "PauliRot": 1.0,
    **dict.fromkeys(("DoubleExcitation", "DoubleExcitationPlus", "DoubleExcitationMinus"), 1 / 8),
}
"""The part of all amplitudes that a gate rotates in pairs; the others it leaves alone or turns by phases."""


_WORDS = {"IsingXX": "XX", "IsingYY": "YY"}


class Work(NamedTuple):
    """What a value and gradient, or a run, takes at least.

    Args:
        passes: readings and writings of one state.
        operations: floating-point operations for each amplitude.
    """

    passes: float
    operations: float

    def onto(self, facts: dict[str, Any]) -> dict[str, Any]:
        """The facts of an engine with this work, of an observable, added to those of a gradient."""
        return {
            **facts,
            "bytes_per_gradient": facts["bytes_per_gradient"] + self.passes * facts["state_bytes"],
            "operations_per_gradient": facts["operations_per_gradient"] + self.operations * facts["amplitudes"],
        }


def circuit_work(circuit: Circuit, gradient: bool = True) -> Work:
    """Of a circuit in the whole space, without an observable.

    Args:
        circuit: any.
        gradient: whether of a value and gradient, or of a run alone.

    Example:
        >>> from varq.simulator.circuit import Gate, Initial
        >>> made = Circuit(2, (Gate("RY", (0,), (0,)), Gate("IsingZZ", (0, 1), (1,))), Initial((0, 0)), 2)
        >>> circuit_work(made)
        Work(passes=3, operations=44.0)
        >>> circuit_work(made, gradient=False)
        Work(passes=2, operations=12.0)
    """
    sweeps, operations = 1, 0.0
    runs, slope = (_RUNS, SLOPE) if gradient else (1, 0)
    held: set[int] = set()
    phases = _Phases(runs, slope)
    for gate in circuit.gates:
        for one in _parts(gate):
            if isinstance(one, Turn):
                operations += phases.turn(one)
                continue
            phases.changed |= set(one.wires)
            changing = {one.target} if isinstance(one, Move) else set(one.wires)
            if len(held | changing) > HELD:
                sweeps, held = sweeps + 1, set()
            held |= changing
            operations += _operations(one, runs, slope)
    return Work(6 * sweeps - 3 if gradient else 2 * sweeps, operations)


class _Phases:
    """Runs of phases: those of one run commute with whatever stands between them."""

    def __init__(self, runs: int, slope: int) -> None:
        self.changed: set[int] = set()
        self._runs, self._each = runs, slope
        self._open = self._angle = False

    def turn(self, one: Turn) -> float:
        """The operations that one more turn adds."""
        free = one.angle is None and abs(one.offset / (pi / 2) - round(one.offset / (pi / 2))) < _ROUNDING
        if not one.wires or free:
            return 0.0
        if not self._open or self.changed & set(one.wires):
            self.changed = set()
            self._open, self._angle = True, False
            return self._runs * PHASE + self._slope(one)
        return self._slope(one)

    def _slope(self, one: Turn) -> float:
        if one.angle is None or self._angle:
            return 0.0
        self._angle = True
        return self._each


def _parts(gate: Gate) -> list[Primitive]:
    """A gate's primitives, but a rotation about a Pauli word as one: it rotates pairs of amplitudes."""
    word = gate.static if gate.name == "PauliRot" else _WORDS.get(gate.name)
    if not word or not set(str(word)) & set("XY"):
        return expand(gate, "frame")
    changing = tuple(w for w, letter in zip(gate.wires, str(word), strict=True) if letter in "XY")
    return [Block("PauliRot", changing, gate.angles)]


def _operations(one: Primitive, runs: int, slope: int) -> float:
    """Of so many runs, and slopes of so many operations for each angle, for each amplitude."""
    if isinstance(one, Move):
        return 0.0
    assert isinstance(one, Block)
    size = 1 << len(one.wires)
    each = 2 * (2 * size - 1) if is_real(one.name) else (PHASE + 2) * size - 2
    if len(one.wires) == 1 or one.name in _TOUCHED:
        each = PAIR  # phases apart it is a real rotation, of both parts of two amplitudes
    part: float = _TOUCHED.get(one.name, 1.0)
    return part * (runs * each + slope * len(one.angles))


def observable_work(structure: PauliSum) -> Work:
    """Of H|state> for a Pauli sum in the whole space, and its product with the state.

    Args:
        structure: the words; those that flip the same bits are one product.

    Example:
        >>> observable_work(PauliSum(2, ((0, 1), (0, 2), (3, 0))))
        Work(passes=2, operations=12.0)
    """
    flips = {x for x, _ in structure.terms}
    # A real weight of each amplitude for words without a flip, a complex one for others; then sums, then the value.
    products = sum(2 if not x else 4 for x in flips)
    return Work(2, products + 2.0 * max(0, len(flips) - 1) + SLOPE)
