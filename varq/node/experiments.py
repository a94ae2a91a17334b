"""Experiments of phase estimation as circuits: a control qubit, a controlled power of a unitary, a reference angle.

The control is wire 0 and the system has wires 1 .. n; the power is queued by gates where they are known.  After a
Hadamard gate, the controlled U^p, a phase of -angle on the control and another Hadamard gate, P(0) =
(1 + cos(p phase - angle)) / 2 on an eigenstate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.circuits.powers import apply_power, by_gates, prepare_by_gates
from varq.devices.catalog import DEFAULT, OpenDevice
from varq.devices.service import Bits, Circuit, Service, run_now
from varq.keys import Key
from varq.node.traced import Traced
from varq.protocol import Experiment, Prepared, Reply, Request

__all__ = ["Experiments", "controlled"]


def controlled(unitary: NDArray[np.complex128]) -> Any:
    """A unitary on wires 1 .. n, controlled by wire 0; a phase of one qubit's 1 as the gate that it is."""
    wires = range(1, len(unitary).bit_length())
    if len(unitary) == 2 and abs(unitary[0, 1]) + abs(unitary[1, 0]) < 1e-15:
        lower, upper = np.angle(np.diagonal(unitary))
        qml.PhaseShift(lower, 0)
        return qml.ControlledPhaseShift(upper - lower, [0, 1])
    block = np.eye(2 * len(unitary), dtype=np.complex128)
    block[len(unitary) :, len(unitary) :] = unitary
    return qml.QubitUnitary(block, wires=[0, *wires])


class Experiments:
    """Answers requests for experiments by circuits, each with a fresh state.

    Args:
        problem: an `EigenPhase`, or what has its `state` and `power(exponent)`; the powers are queued by its gates
            where it has any.
        opened: the device.
        reach: opens the device where no session does.
        precision: "double" or "single".
    """

    def __init__(
        self,
        problem: Any,
        opened: OpenDevice,
        reach: Callable[[], Service],
        precision: str = "double",
    ) -> None:
        self._problem = problem
        self._opened = opened
        self._precision = precision
        self._wires = len(problem.state).bit_length()
        self._reach = reach
        self._traced: Callable[[int], Traced] = cache(self._trace)

    def _trace(self, power: int) -> Traced:
        simulated = self._opened.name == DEFAULT
        gates = by_gates(self._problem, power, simulated)
        unitary = None if gates else self._problem.power(power)
        measured: Any = [([], [qml.sample(wires=range(self._wires))])]
        circuit = partial(self._queue, power, unitary)
        return Traced(circuit, (1,), measured, self._opened, shots=1, precision=self._precision)

    def _queue(self, power: int, unitary: NDArray[np.complex128] | None, x: Any) -> None:
        self._queue_state()
        qml.Hadamard(0)
        if unitary is None:
            apply_power(self._problem, power, 0, range(1, self._wires))
        else:
            controlled(unitary)
        qml.PhaseShift(-x[0], 0)
        qml.Hadamard(0)

    def _queue_state(self) -> None:
        state, wires = self._problem.state, range(1, self._wires)
        index = np.flatnonzero(np.abs(state) > 0)
        if getattr(self._problem, "preparation", None) is not None:
            prepare_by_gates(self._problem.preparation, wires)
        elif len(index) == 1:  # a basis state, which machines prepare by a few X gates
            bits = [int(b) for b in np.binary_repr(int(index[0]), self._wires - 1)]
            qml.BasisState(np.array(bits), wires=wires)
        else:
            qml.StatePrep(state, wires=wires)

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The circuits of a request; experiments that are alike share one.

        Raises:
            TypeError: for a request of another kind.
        """
        if not isinstance(request, Experiment):
            raise TypeError(f"Phase estimation answers experiments. Got {type(request).__name__}.")
        wanted = list(zip(request.powers.tolist(), request.angles.tolist(), strict=True))
        counts = Counter(wanted)
        circuits = tuple(self._circuit(p, a, n, key.fold(k)) for k, ((p, a), n) in enumerate(counts.items()))
        return Prepared(circuits, lambda bits: _reply(wanted, list(counts), bits))

    def _circuit(self, power: int, angle: float, shots: int, key: Key) -> Circuit:
        traced = self._traced(power)
        return traced.circuit(0, traced.gates(np.array([angle]))[0], self._wires, shots, key.seed())

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The outcomes, from the device itself."""
        prepared = self.prepare(request, key)
        return prepared.decode(run_now(self._reach(), prepared.circuits))


def _reply(wanted: list[tuple[int, float]], distinct: list[tuple[int, float]], bits: Sequence[Bits]) -> Reply:
    drawn = {experiment: iter(found[:, 0].tolist()) for experiment, found in zip(distinct, bits, strict=True)}
    outcomes = np.array([next(drawn[experiment]) for experiment in wanted], dtype=np.uint8)
    return Reply(outcomes=outcomes, executions=len(distinct))
