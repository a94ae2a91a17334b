"""The transform `reuse_qubits`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from functools import reduce
from operator import and_
from typing import Any
from uuid import uuid4

import pennylane as qml
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.ops import Conditional, Controlled, MeasurementValue, MidMeasure
from pennylane.tape import QuantumScript
from pennylane.transforms.core import transform
from pennylane.wires import Wires

from varq.simulator.reuse.causality import Causality, bits_of
from varq.simulator.reuse.order import finishing_order
from varq.simulator.reuse.readings import Readings
from varq.simulator.reuse.rewriting import narrow, placed, without_swaps

__all__ = ["reuse_qubits"]


def _only(results: Any) -> Any:
    return results[0]


@transform  # type: ignore[untyped-decorator]  # PennyLane is untyped
def reuse_qubits(tape: QuantumScript, wires: Any = None, feed_forward: bool = False, device_wires: Any = None) -> Any:
    """The same law on fewer wires: a finished wire is measured, reset, and used by a wire that has not begun.

    A wire is finished when every gate that its reading depends on is done.  The gates are put into an order in which
    few wires are in use at once: a greedy order over causal cones, improved by a search that is complete for small and
    for regular circuits.  Gates that commute because both are functions of one Pauli matrix on every wire that they
    share do not wait for each other; exchanges of wires (SWAP) are taken as new names, gates on more than three wires
    are decomposed if they can be, and gates that no result depends on are left out.

    The terminal measurements become statistics of mid-circuit outcomes, so that the circuit runs on `varq.qubit` and on
    any device that can measure and reset.  Without shots, `varq.qubit` sums over all branches of outcomes, exactly and
    differentiably: two for each wire of the circuit.  A wire that nothing reads is reset by a measurement whose outcome
    is not used.  Circuits with measurements, conditions and angles computed from outcomes are taken too.  The device's
    `readout_error` is that of measurements within a circuit: here all are.

    Method: Hua et al., "CaQR: a compiler-assisted approach for qubit reuse through dynamic circuit", ASPLOS 2023
    (arXiv:2211.01925), and DeCross et al., "Qubit-reuse compilation with mid-circuit measurement and reset",
    Phys. Rev. X 13, 041057 (2023).  With feed_forward the semiclassical Fourier transform of Griffiths and Niu,
    Phys. Rev. Lett. 76, 3228 (1996), follows from the plain one.

    Args:
        tape: a QNode, a quantum function or a tape.  It may measure qml.sample, qml.counts, qml.probs, qml.expval and
            qml.var, of wires, of outcomes, and of observables that can all be read from one reading of each wire.
        wires: labels to use, at least as many as are needed; None for the device's, or the circuit's own.
        feed_forward: whether a gate whose control is read after it, with nothing but phases between, becomes a
            condition on what was read, which frees the control's wire earlier.
        device_wires: the device's wires, which QNodes fill in.

    Raises:
        ValueError: if a measurement needs the state of its wires, or two need a wire in different bases; if `wires` are
            too few; and for the outcome of a measurement that is not made before.
        DeviceError: for operations that look at all wires at once.

    Example:
        Bernstein-Vazirani with five wires for the secret needs two wires in all.

        >>> import pennylane as qml
        >>> from varq.simulator import reuse_qubits
        >>> @reuse_qubits
        ... @qml.qnode(qml.device("varq.qubit", wires=6))
        ... def circuit(secret):
        ...     qml.X(5)
        ...     for w in range(6):
        ...         qml.Hadamard(w)
        ...     for w in range(5):
        ...         if secret[w]:
        ...             qml.CNOT([w, 5])
        ...     for w in range(5):
        ...         qml.Hadamard(w)
        ...     return qml.probs(wires=range(5))
        >>> secret = [1, 0, 1, 1, 0]
        >>> int(circuit(secret).argmax()) == 0b10110
        True
        >>> qml.specs(circuit)(secret)["resources"].num_allocs  # wires
        2
    """
    everything = list(tape.wires if device_wires is None else device_wires)
    readings = Readings(tape.measurements, everything)
    with qml.QueuingManager.stop_recording():
        operations, names = without_swaps([*narrow(tape.operations), *readings.rotations])
        plan = _Plan(operations, [names.get(w, w) for w in readings.wires], readings.uids, feed_forward)
        writer = _Writer(plan, _labels(wires if wires is not None else device_wires, tape.wires, plan))
        writer.write()
        outcomes = {w: writer.outcomes[names.get(w, w)] for w in readings.wires}
        measurements = [writer.renamed(mp) for mp in readings.measurements(outcomes)]
    return (tape.copy(operations=writer.operations, measurements=measurements),), _only


@reuse_qubits.custom_qnode_transform  # type: ignore[untyped-decorator]
def _of_qnode(self: Any, qnode: Any, targs: Sequence[Any], tkwargs: Mapping[str, Any]) -> Any:
    """A measurement without wires means those of the device."""
    given = {"device_wires": qnode.device.wires, **tkwargs}
    return self.default_qnode_transform(qnode, targs, given)


def _labels(given: Any, own: Sequence[Any], plan: _Plan) -> list[Any]:
    labels = list(Wires(given)) if given is not None else _sorted(own)
    if len(labels) < plan.width:
        raise ValueError(
            f"`wires` must name at least {plan.width} wires for this circuit: no order of its gates was found that "
            f"takes fewer, and {plan.smallest()}. Got {labels}."
        )
    return labels


def _sorted(labels: Sequence[Any]) -> list[Any]:
    """The circuit's own labels; those of the first places are numbers as low as can be."""
    return sorted(labels) if all(isinstance(w, int) for w in labels) else list(labels)


class _Plan:
    """Which operations are needed, in which order wires are finished, and which of them share a place.

    Args:
        operations: in order, with those before the readings.
        read: wires that are read at the end.
        uids: of outcomes that results depend on.
        feed_forward: whether controls may be read first.
    """

    def __init__(
        self, operations: Sequence[Operator], read: Sequence[Any], uids: Sequence[Any], feed_forward: bool
    ) -> None:
        self.operations = list(operations)
        self.causality = Causality(operations, read)
        self.needed = self.causality.needed(uids)
        touched = {w: None for k in bits_of(self.needed) for w in self.operations[k].wires}
        self.wires = list(touched | dict.fromkeys(read))
        self.read = set(read)
        self.classical = self._controls() if feed_forward else {}
        self.ends = self.causality.ends(self.wires, self.needed, self.classical)
        number = {w: k for k, w in enumerate(self.wires)}
        cones = [1 << k for k in range(len(self.wires))]
        for wire, end in self.ends.items():
            for index in bits_of(end):
                for other in self.operations[index].wires:
                    cones[number[wire]] |= 1 << number[other]
        self.cones = {w: {self.wires[k] for k in bits_of(cones[number[w]])} for w in self.wires}
        self.order = [self.wires[k] for k in finishing_order(cones)]
        self.chains = self._chains()

    @property
    def width(self) -> int:
        """How many wires are needed."""
        return len(self.chains)

    def smallest(self) -> str:
        """What stands in the way of fewer wires."""
        first = min(self.cones, key=lambda w: len(self.cones[w]))
        return f"the end of wire {first!r}, which depends on fewest, depends on {len(self.cones[first])} wires"

    def _controls(self) -> dict[int, list[Any]]:
        """For each operation the controls that are read after it with nothing but phases between."""
        found: dict[int, list[Any]] = {}
        for wire in self.read:
            for index in self.causality.phases[wire]:
                op = self.operations[index]
                if isinstance(op, Controlled) and wire in op.control_wires and self.needed >> index & 1:
                    found.setdefault(index, []).append(wire)
        return found

    def steps(self) -> list[tuple[Any, list[int]]]:
        """For each wire, in the order in which they are finished, the operations that are done for it."""
        done, found = 0, []
        for wire in self.order:
            found.append((wire, list(bits_of(self.ends[wire] & ~done))))
            done |= self.ends[wire]
        return found

    def _chains(self) -> list[list[Any]]:
        """The wires that share a place, one after the other."""
        chains: list[list[Any]] = []
        place: dict[Any, int] = {}
        free: deque[int] = deque()
        for wire, indices in self.steps():
            for other in (*(w for k in indices for w in self.operations[k].wires), wire):
                if other in place:
                    continue
                if not free:
                    free.append(len(chains))
                    chains.append([])
                place[other] = free.popleft()
                chains[place[other]].append(other)
            free.append(place[wire])
        return chains


class _Writer:
    """Writes the circuit of a plan on the places of its chains: `operations`, and `outcomes` of wires that are read.

    Args:
        plan: of the circuit.
        labels: of the places.
    """

    def __init__(self, plan: _Plan, labels: Sequence[Any]) -> None:
        self.plan = plan
        self.places = {w: label for label, chain in zip(labels, plan.chains, strict=False) for w in chain}
        self.followed = {w for chain in plan.chains for w in chain[:-1]}
        self.operations: list[Operator] = []
        self.outcomes: dict[Any, MeasurementValue] = {}
        self._latest: dict[Any, int] = {}  # where the last operation on a wire of the circuit was written
        self._made: dict[Any, MidMeasure] = {}
        self._renamed: dict[int, tuple[MeasurementValue, MeasurementValue]] = {}

    def write(self) -> None:
        """Write all operations."""
        for wire, indices in self.plan.steps():
            for index in indices:
                self._do(self.plan.operations[index], self.plan.classical.get(index, []))
            self._finish(wire)

    def renamed(self, mp: MeasurementProcess) -> MeasurementProcess:
        """A measurement of outcomes, which name the wires where they are found."""
        mp = copy(mp)
        mp.mv = [self._value(v) for v in mp.mv] if isinstance(mp.mv, list) else self._value(mp.mv)
        return mp

    def _value(self, value: MeasurementValue) -> MeasurementValue:
        """A value of outcomes, which name the wires where they are found; the same object for the same value."""
        if id(value) not in self._renamed:
            again = copy(value)
            again.measurements = [self._made[m.meas_uid] for m in value.measurements]
            self._renamed[id(value)] = value, again
        return self._renamed[id(value)][1]

    def _do(self, op: Operator, controls: Sequence[Any]) -> None:
        if not controls:
            self._write(placed(op, self.places), op.wires)
            return
        for wire in controls:
            if wire not in self.outcomes:
                self._measure(wire, reset=False)
        values = dict(zip(op.control_wires, op.control_values, strict=True))
        rest = [w for w in op.control_wires if w not in controls]
        base = qml.ctrl(op.base, rest, control_values=[values[w] for w in rest]) if rest else op.base
        conditions = [self.outcomes[w] if values[w] else ~self.outcomes[w] for w in controls]
        self._write(Conditional(reduce(and_, conditions), placed(base, self.places)), base.wires)

    def _write(self, op: Operator, wires: Sequence[Any]) -> None:
        self._latest |= dict.fromkeys(wires, len(self.operations))
        if isinstance(op, MidMeasure):
            self._made[op.meas_uid] = op
        self.operations.append(self._conditional(op) if isinstance(op, Conditional) else op)

    def _conditional(self, op: Conditional) -> Conditional:
        base = self._conditional(op.base) if isinstance(op.base, Conditional) else op.base
        return Conditional(self._value(op.meas_val), base)

    def _measure(self, wire: Any, reset: bool) -> None:
        measured = MidMeasure(Wires([self.places[wire]]), reset=reset, meas_uid=str(uuid4()))
        self.outcomes[wire] = MeasurementValue([measured])
        self._write(measured, [wire])

    def _finish(self, wire: Any) -> None:
        """Read a wire that is read, and reset it if another one follows in its place."""
        reset = wire in self.followed
        if wire in self.outcomes:
            if reset:
                self._write(Conditional(self.outcomes[wire], qml.X(self.places[wire])), [wire])
            return
        last = self.operations[self._latest[wire]] if wire in self._latest else None
        if isinstance(last, MidMeasure) and not (wire in self.plan.read and last.reset):
            again = MidMeasure(last.wires, reset or last.reset, last.postselect, last.meas_uid)
            self._made[last.meas_uid] = self.operations[self._latest[wire]] = again
            self.outcomes[wire] = MeasurementValue([again])
        elif wire in self.plan.read or reset:
            self._measure(wire, reset)
