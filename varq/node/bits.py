"""Circuits that are asked for their bits, whether measured at their end or in their middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.ops import MeasurementValue
from pennylane.tape import QuantumScript

from varq import checks
from varq.circuits.powers import Blocks
from varq.devices.catalog import DEFAULT, OpenDevice, abilities, called
from varq.devices.digests import structure_digest
from varq.devices.service import Bits, Circuit, Service, run_now
from varq.keys import Key
from varq.node.traced import unwrapped
from varq.protocol import Array, Law, Prepared, Reply, Request, Sample

__all__ = ["Bitwise", "Size", "check_middle"]


@dataclass(frozen=True)
class Size:
    """How large a circuit is, as it is written: gates, layers of them, and wires; measurements count as gates."""

    qubits: int
    gates: int
    depth: int

    @classmethod
    def recorded(cls, circuit: Callable[[Array], Any], x: Array, wires: int) -> Size:
        """The size of what a circuit function queues on wires 0 .. wires-1, each of its `Blocks` counted as it says."""
        count, layers = 0, np.zeros(wires)
        for operation in _recorded(circuit, x)[0].operations:
            held, one = list(operation.wires), not isinstance(operation, Blocks)
            layers[held] = 1 + layers[held].max() if one else operation.block.after(layers[held])
            count += 1 if one else operation.block.gates
        return cls(wires, count, int(layers.max()))


@dataclass(frozen=True, eq=False)
class Bitwise:
    """Answers samples of a circuit function that is called anew for each: it may branch on its parameters.

    Args:
        circuit: queues PennyLane operations on wires 0 .. wires-1 for parameters, an array; returns None, or the list
            of measured values that are asked for where it measures in its middle.
        wires: how many.
        asked: the wires that are asked for, where it measures at its end.
        opened: the device.
        reach: opens, once, what takes jobs, where no session does.
    """

    circuit: Callable[[Array], Any]
    wires: int
    asked: tuple[int, ...]
    opened: OpenDevice
    reach: Callable[[], Service]

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The one circuit of a sample, measured at its end or in its middle, and how its bits become the reply.

        Raises:
            TypeError: for another request.
            ValueError: if it measures in its middle, on a device that runs no such circuits.
        """
        x, shots = _sample(request)
        script, outcomes = _recorded(self.circuit, x)
        if outcomes is not None and not self.opened.abilities.middle:
            raise ValueError(_ALONE.format(name="A circuit that measures in its middle", device=self.opened.name))
        measured = qml.sample(wires=range(self.wires)) if outcomes is None else qml.sample(outcomes)
        tape = QuantumScript(script.operations, [measured], round(shots * precision))
        (written,), _ = self._written(tape)
        numbers = written.get_parameters(trainable_only=False)
        written.trainable_params = [k for k, v in enumerate(numbers) if _is_free(v)]
        values = np.array([float(v) for v in written.get_parameters()])
        asked = None if outcomes is None else len(outcomes)
        total = int(tape.shots.total_shots)
        circuit = Circuit(written, self.wires, total, key.seed(), structure_digest(written), values, asked)

        def decode(bits: Sequence[Bits]) -> Reply:
            return Reply(outcomes=bits[0] if outcomes is not None else bits[0][:, list(self.asked)], executions=1)

        return Prepared((circuit,), decode)

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a sample, by a job that runs here and now, or the law of the outcomes.

        Raises:
            TypeError: for another request.
            ValueError: as `prepare` and `probabilities`.
        """
        if isinstance(request, Law):
            return Reply(law=self.probabilities(np.asarray(request.x)), executions=1)
        prepared = self.prepare(request, key)
        return prepared.decode(run_now(self.reach(), prepared.circuits))

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The exact probability of each outcome, the first bit the most significant, shape (2**bits,).

        Raises:
            ValueError: on a device that gives samples alone.
        """
        if not self.opened.abilities.analytic:
            raise ValueError(
                f"Exact probabilities need a simulator that gives them. Got shots=None on {self.opened.name}. "
                "Give shots, such as shots=1000, or use varq.qubit."
            )
        script, outcomes = _recorded(self.circuit, x)
        law = qml.probs(wires=self.asked) if outcomes is None else qml.probs(op=outcomes)
        tapes, join = self._written(QuantumScript(script.operations, [law]))
        return np.asarray(unwrapped(join(self._run(tapes))), dtype=np.float64).ravel()

    def size(self, x: Array) -> Size:
        """How large the circuit is."""
        return Size.recorded(self.circuit, x, self.wires)

    def _written(self, tape: QuantumScript) -> Any:
        config = self.opened.device.setup_execution_config(ExecutionConfig(), tape)
        return self.opened.device.preprocess_transforms(config)([tape])

    def _run(self, tapes: Sequence[QuantumScript]) -> tuple[Any, ...]:
        config = self.opened.device.setup_execution_config(ExecutionConfig(), tapes[0])
        return tuple(self.opened.device.execute(tuple(tapes), config))


def _recorded(circuit: Callable[[Array], Any], x: Array) -> tuple[QuantumScript, list[Any] | None]:
    """The operations, and the measured values that the circuit function returns."""
    with qml.queuing.AnnotatedQueue() as queue:
        returned = circuit(x)
    return QuantumScript.from_queue(queue), returned if isinstance(returned, list) else None


_ALONE = (
    "{name} needs angles computed from measured outcomes, which "
    f"{DEFAULT} alone takes. "
    "Got device={device!r}. Leave the device out, or use control='qft'."
)


def check_middle(name: str, device: Any) -> None:
    """ValueError unless a device, or each of a spread, runs circuits whose angles follow from what was measured."""
    if not abilities(device).middle:
        raise ValueError(_ALONE.format(name=name, device=called(device)))


def _is_free(value: Any) -> bool:
    """Whether a number of a tape is one that may differ between circuits of one structure."""
    return not isinstance(value, MeasurementValue) and np.ndim(value) == 0 and bool(np.isrealobj(value))


def _sample(request: Request) -> tuple[Array, int]:
    if not isinstance(request, Sample):
        raise TypeError(f"A circuit that is asked for its bits answers samples. Got {type(request).__name__}.")
    return np.asarray(request.x), checks.integer("shots", request.shots, minimum=1)
