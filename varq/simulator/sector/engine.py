"""The engine of circuits that conserve particle numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.kept import Kept, table_bytes
from varq.simulator.least import PAIR, PHASE, SLOPE
from varq.simulator.observables import PauliSum
from varq.simulator.scans import STORED
from varq.simulator.sector import run
from varq.simulator.sector.basis import Basis, conserved, prepare, reach
from varq.simulator.sector.hamiltonian import SectorObservable, observable
from varq.simulator.sector.parts import Part, parts
from varq.simulator.sector.program import Program, build, expected_bytes, rotated

__all__ = ["MOST_BYTES", "MOST_STATES", "SectorEngine", "sector_engine"]

MOST_STATES = 1 << 20
"""Sectors with more basis states than this are refused: their tables would take minutes to make."""

MOST_BYTES = 1 << 30
"""Circuits whose tables would be larger than this are refused."""

_MOST_WIRES = 62  # basis states are signed 64-bit numbers
_OBSERVABLES = 8  # whose tables are kept
_MOST_FULL = 28  # the full state vector of more wires is refused: 4 GiB in float64


class SectorEngine:
    """Runs a circuit on the basis states that it reaches from its initial one.

    A state is an array of shape (basis states,), or (basis states, 2) where the circuit is complex: real and imaginary
    part.  Global phases are left to `state`: no expectation value knows them.
    """

    path = "sector"

    def __init__(
        self, circuit: Circuit, basis: Basis, start: int, found: tuple[Part, ...], stored: int, dtype: str
    ) -> None:
        self.circuit, self.basis, self.stored = circuit, basis, stored
        self.program = build([part for part in found if part.kind != "phase"], basis)
        self.complex = self.program.imaginary is not None or len(self.program.phase_angle) > 0
        self.tables: Any = (self.program, basis.states)
        self.particles = conserved(start, found, circuit.wires)
        self._start = int(basis.find(np.array([start], np.int64))[0])
        self._slots = len(basis) + 2 * self.program.pairs.shape[2]
        self._phases = [part for part in found if part.kind == "phase"]
        self._observables: Kept[SectorObservable | None] = Kept(_weight, most_entries=_OBSERVABLES)
        self.why = self._reason()
        self.facts = self._sizes(dtype)

    def _reason(self) -> str:
        counts = ", ".join(f"{n} on {len(w)} wires" for w, n in self.particles) or "nothing moves"
        return (
            f"Every gate conserves the number of particles ({counts}), so that the circuit reaches {len(self.basis)} "
            f"of 2**{self.circuit.wires} basis states."
        )

    def _sizes(self, dtype: str) -> dict[str, Any]:
        program = self.program
        item = (2 if self.complex else 1) * np.dtype(dtype).itemsize
        parts = 2 if self.complex else 1
        pairs, phases = rotated(program, len(self.basis)), len(program.phase_angle) * len(self.basis)
        return {
            "amplitudes": len(self.basis),
            "gates": len(self.circuit.gates),
            "steps": len(program.kinds),
            "distinct_tables": len(program.pairs) + len(program.diagonals),
            "table_bytes": sum(x.nbytes for x in jax.tree.leaves(program)),
            "particles": tuple((len(w), n) for w, n in self.particles),
            "arithmetic": "complex" if self.complex else "real",
            "state_bytes": item * len(self.basis),
            # State, then state and bra back: each reads and writes what a turn or phase touches.
            "bytes_per_gradient": 3 * 2 * item * (2 * pairs + phases),
            "operations_per_gradient": pairs * parts * (3 * PAIR + SLOPE) + phases * (3 * PHASE + SLOPE),
            "bytes_per_run": 2 * item * (2 * pairs + phases) + item * len(self.basis),
            "operations_per_run": pairs * parts * PAIR + phases * PHASE,
        }

    def _initial(self, dtype: Any) -> Any:
        shape = (self._slots, 2) if self.complex else (self._slots,)
        start = (self._start, 0) if self.complex else self._start
        return jnp.zeros(shape, dtype).at[start].set(1)

    def forward(self, tables: Any, numbers: Numbers, keep: bool = False) -> tuple[Any, Any]:
        """The final state; nothing needs to be kept."""
        program: Program = tables[0]
        angles = jnp.asarray(numbers.angles)
        initial = self._initial(angles.dtype)
        state = run.forward(program, angles, initial, self.stored // initial.nbytes)[: len(self.basis)]
        if program.frame is not None:
            source, sign = program.frame
            state = _signed(state[jnp.asarray(source)], sign)
        return state, None

    def backward(self, tables: Any, numbers: Numbers, state: Any, kept: Any, bra: Any) -> Numbers:
        """2 Re <bra| d state / d numbers>."""
        program: Program = tables[0]
        ket, bra = (self._unframed(program, side) for side in (state, bra))
        slopes = run.backward(program, jnp.asarray(numbers.angles), ket, bra, self.stored)
        return Numbers(slopes, tuple(jnp.zeros_like(a) for a in numbers.arrays))

    def _unframed(self, program: Program, side: Any) -> Any:
        if program.frame is not None:
            source, sign = program.frame
            side = jnp.zeros_like(side).at[jnp.asarray(source)].set(_signed(side, sign), unique_indices=True)
        return jnp.pad(side, [(0, self._slots - len(self.basis))] + [(0, 0)] * (side.ndim - 1))

    def state(self, tables: Any, numbers: Numbers) -> Any:
        """The final state as one complex vector of 2**wires amplitudes.

        Raises:
            ValueError: for a register whose state vector would not fit into memory.
        """
        wires = self.circuit.wires
        if wires > _MOST_FULL:
            raise ValueError(
                f"The state vector of at most {_MOST_FULL} wires is given. Got {wires} wires. Measure expectation "
                f"values instead: this circuit needs {len(self.basis)} amplitudes for them."
            )
        found = self.forward(tables, numbers)[0]
        angles = jnp.asarray(numbers.angles)
        shift = sum((p.scale * angles[p.angle] for p in self._phases), jnp.zeros((), angles.dtype))
        values = jax.lax.complex(found[:, 0], found[:, 1]) if self.complex else jax.lax.complex(found, 0 * found)
        values = values * jax.lax.complex(jnp.cos(shift), jnp.sin(shift))
        return jnp.zeros(1 << wires, values.dtype).at[jnp.asarray(tables[1])].set(values, unique_indices=True)

    def observable(self, structure: PauliSum) -> SectorObservable | None:
        """The Pauli sum in this sector, or None if its tables would be too large."""
        return self._observables.get(structure, lambda: observable(structure, self.basis, self.complex))

    def held_bytes(self) -> int:
        """The bytes of its tables and basis, and of the tables of the observables that it keeps."""
        return table_bytes(self.tables, self.basis.arrays) + self._observables.held_bytes()


def _weight(found: SectorObservable | None) -> int:
    return 0 if found is None else table_bytes(found.tables)


def _signed(state: Any, sign: Any) -> Any:
    signs = jnp.asarray(sign, state.dtype)
    return state * signs.reshape(-1, *(1,) * (state.ndim - 1))


def sector_engine(circuit: Circuit, stored: int = STORED, dtype: str = "float64") -> SectorEngine | str:
    """The engine for a circuit that conserves particle numbers, or one sentence that says why there is none.

    Args:
        circuit: any; positions are spin orbitals or anything else that is occupied (1) or empty (0).
        stored: bytes that a gradient may keep: products of pairs, or states where JAX differentiates by itself.
        dtype: "float64" or "float32": what `facts` are counted for.

    Example:
        >>> from varq.simulator.circuit import Gate, Initial
        >>> hop = Circuit(4, (Gate("SingleExcitation", (0, 2), (0,)),), Initial((1, 1, 0, 0)), 1)
        >>> sector_engine(hop).facts["amplitudes"]
        2
        >>> sector_engine(Circuit(1, (Gate("RX", (0,), (0,)),), Initial((0,)), 1))
        'RX on positions (0,) is not known to conserve the number of particles.'
    """
    if circuit.initial.array is not None:
        return "It starts from a state given by its amplitudes, not from a basis state."
    if circuit.wires > _MOST_WIRES:
        return f"It has {circuit.wires} wires; basis states of at most {_MOST_WIRES} are told apart."
    start, gates = prepare(circuit)
    found: list[Part] = []
    for gate in gates:
        mine = parts(gate)
        if mine is None:
            return f"{gate.name} on positions {gate.wires} is not known to conserve the number of particles."
        found += mine
    half = max(1, (1 << circuit.wires) // 2)
    states = reach(start, found, circuit.wires, min(half, MOST_STATES))
    if states is None:
        limit = "half of all" if half <= MOST_STATES else str(MOST_STATES)
        return f"It conserves the number of particles, but reaches more than {limit} basis states."
    basis = Basis(states, circuit.wires)
    size = expected_bytes(found, basis)
    if size > MOST_BYTES:
        return f"Its tables on {len(basis)} basis states would take {size >> 20} MiB, more than {MOST_BYTES >> 20}."
    return SectorEngine(circuit, basis, start, tuple(found), stored, dtype)
