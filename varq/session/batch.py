"""Plain batch work: any circuits, one queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import measurements_from_samples, validate_device_wires
from pennylane.measurements import SampleMeasurement
from pennylane.tape import QuantumScript

from varq import checks
from varq.devices.catalog import DEFAULT, open_device
from varq.devices.digests import structure_digest
from varq.devices.service import Bits, Circuit
from varq.keys import Key
from varq.session.fleet import Sending
from varq.session.shares import AnyTicket

__all__ = ["Batch", "Read", "circuits_of"]

_HINT = "Make tapes with qml.tape.make_qscript(function)(...)."

Read = Callable[[Sequence[Bits]], tuple[Any, ...]]


class Batch:
    """Circuits that were given to a session; `result()` is there once they have run.

    Args:
        batch_id: names it in the journal.
        ticket: of its circuits.
        read: makes results of their bits.
        dispatcher: which runs them.
        told: called when it was found to have ended.
    """

    def __init__(
        self,
        batch_id: str,
        ticket: AnyTicket,
        read: Read,
        dispatcher: Sending,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = batch_id
        self._ticket = ticket
        self._read = read
        self._dispatcher = dispatcher
        self._told = told
        self._cancelled = False

    @property
    def done(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._ticket.finished

    @property
    def ended(self) -> bool:
        """Whether it has run, failed, or was cancelled."""
        return self._cancelled or self.done

    def result(self) -> tuple[Any, ...]:
        """The results of each circuit, in order, as `qml.execute` gives them.

        What goes before it in the queue runs first.

        Raises:
            DeviceError: what stood in the way.
            RuntimeError: if it was cancelled, its circuits are held back, or their session was closed.
        """
        while not self.ended:
            if not self.go_on() and not self.ended:  # another thread may have seen to it
                raise RuntimeError(
                    f"A batch must be in the queue to have a result. {self.id} was paused or dropped, or its session "
                    "closed. Ask for results before the session's `with` ends."
                )
        if self._cancelled:
            raise RuntimeError(
                f"A batch must be in the queue to have a result. {self.id} was cancelled. Submit it again."
            )
        self._told()
        return self._read(self._ticket.outcome())

    def go_on(self) -> bool:
        """Have what goes next in the queue run; whether there was anything."""
        if self._ticket.interrupted:  # by Ctrl-C or a full disk, while its jobs were out
            self._dispatcher.again(self._ticket)
            return True
        return self._dispatcher.turn()

    def cancel(self) -> bool:
        """Send nothing of it that still waits in the queue, and call back its jobs that serve nothing else.

        Whoever waits for its jobs asks the vendor to cancel them; what has begun may run to its end, and is paid for.

        Returns:
            Whether there was anything left to cancel.
        """
        if self.ended:  # the same circuits may have been submitted since, under the same id
            return False
        self._dispatcher.call_off(self.id)
        self._cancelled = True
        self._told()
        return True

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else "done" if self.done else "waiting"
        return f"<varq batch {self.id}: {checks.counted(len(self._ticket.circuits), 'circuit')}, {state}>"


def circuits_of(
    tapes: Sequence[QuantumScript], shots: int | None, key: Key, device: Any = DEFAULT
) -> tuple[tuple[Circuit, ...], Read]:
    """Circuits that sample what tapes measure, and what makes the tapes' results of their bits.

    Measurements that cannot be taken together are split; each circuit draws from a seed that follows from what it is,
    so that equal circuits are sent once.  A tape with arrays in its gates is one circuit for each of their entries.

    Args:
        tapes: on wires 0, 1, ...; with shots of their own, or those given.
        shots: of tapes that name none.
        key: from which the seeds are folded.
        device: that runs them, for whose gates they are written.

    Raises:
        TypeError: for something else than tapes.
        ValueError: for a tape without shots, without measurements that can be sampled, or on other wires.
    """
    given = checks.instance("circuits", tapes, Iterable, _HINT)
    if isinstance(given, QuantumScript):
        raise TypeError(f"circuits must be a list of tapes. Got one tape. Give [tape]. {_HINT}")
    ready = [_with_shots(k, tape, shots) for k, tape in enumerate(given)]
    single, stack = qml.transforms.broadcast_expand(ready)
    split, join = qml.transforms.split_non_commuting(single, grouping_strategy="qwc")
    turned, back = measurements_from_samples(split)
    circuits = []
    opened = cache(lambda wires: open_device(device, wires).device)
    for tape in turned:
        wires = 1 + max(tape.wires, default=0)
        sampled = QuantumScript(tape.operations, [qml.sample(wires=range(wires))], tape.shots)
        sampled = _written_for(opened(wires), sampled)
        numbers = sampled.get_parameters(trainable_only=True)
        values = np.array([float(v) for v in numbers])
        structure = structure_digest(sampled)
        seed = key.fold(structure, values.tobytes().hex(), int(tape.shots.total_shots)).seed()
        circuits.append(Circuit(sampled, wires, int(tape.shots.total_shots), seed, structure, values))

    def read(bits: Sequence[Bits]) -> tuple[Any, ...]:
        samples = [_asked(b, tape) for b, tape in zip(bits, turned, strict=True)]
        return tuple(stack(join(back(tuple(samples)))))

    return tuple(circuits), read


def _written_for(device: Any, tape: QuantumScript) -> QuantumScript:
    """A tape in gates that a device of this process takes as they are; a vendor's compiler sees to that itself."""
    config = device.setup_execution_config(ExecutionConfig(), tape)
    written: QuantumScript
    (written,), _ = device.preprocess_transforms(config)([tape])
    numbers = written.get_parameters(trainable_only=False)
    written.trainable_params = [k for k, v in enumerate(numbers) if np.ndim(v) == 0 and np.isrealobj(v)]
    return written


def _asked(bits: Bits, tape: QuantumScript) -> Any:
    """The columns that a tape's one sample asks for."""
    wires = tape.measurements[0].wires
    return np.asarray(bits[:, list(wires)] if len(wires) else bits, dtype=np.int64)


def _with_shots(place: int, tape: Any, shots: int | None) -> QuantumScript:
    checks.instance(f"circuits[{place}]", tape, QuantumScript, _HINT)
    if any(not isinstance(w, int) for w in tape.wires):
        raise ValueError(f"circuits[{place}] must be on wires 0, 1, ... Got {list(tape.wires)}. Number them from 0.")
    if not tape.shots and shots is None:
        raise ValueError(f"circuits[{place}] needs shots. Got none. Give Session(shots=...) or tapes with shots.")
    if tape.shots.has_partitioned_shots:
        raise ValueError(f"circuits[{place}] must have one number of shots. Got {tape.shots}. Give a tape for each.")
    if not tape.measurements or not all(isinstance(m, SampleMeasurement) for m in tape.measurements):
        raise ValueError(
            f"circuits[{place}] must end in measurements that can be sampled. Got {tape.measurements}. "
            "Use qml.expval, qml.var, qml.probs, qml.counts or qml.sample."
        )
    if any(isinstance(operation, qml.ops.MidMeasure) for operation in tape.operations):
        raise ValueError(
            f"circuits[{place}] cannot measure in its middle. Leave qml.measure out, or use a QNode on varq.qubit."
        )
    own = tape.shots if tape.shots else shots
    shot = QuantumScript(tape.operations, tape.measurements, own, trainable_params=tape.trainable_params)
    # A measurement that names no wires is one of them all.
    (named,), _ = validate_device_wires(shot, wires=qml.wires.Wires(range(1 + max(tape.wires, default=0))))
    return named
