"""Circuits of rounds that each end in a measurement of one wire: a program for a round, and a host that draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from varq import checks
from varq.devices.catalog import OpenDevice
from varq.devices.digests import content_digest, structure_digest
from varq.devices.service import Bits as Measured
from varq.devices.service import Circuit, Service, run_now
from varq.keys import Key
from varq.node.traced import unwrapped
from varq.protocol import Array, Prepared, Reply, Request, Sample

__all__ = ["Rounds"]

Bits = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rounds:
    """Samples of a circuit whose rounds each end in the measurement and reset of wire 0, on a simulator of states.

    A round of thousands of gates, known by its structure, compiles once and serves all rounds, whatever its angles; as
    part of one measured circuit it would be compiled gate by gate.  Shots that have measured the same so far are
    simulated together, and part when they measure otherwise: the law is that of shots drawn one by one.

    As a job it is a circuit with a program; its tape shows the branch in which every outcome is 0.

    Args:
        first: queues what comes before the first round, for parameters.
        each: queues a round: given the parameters, its number, and what was measured in the rounds before it.
        count: of rounds.
        wires: how many wires there are.
        opened: the device.
        reach: opens, once, what takes jobs, where no session does.
    """

    first: Callable[[Array], None]
    each: Callable[[Array, int, Bits], None]
    count: int
    wires: int
    opened: OpenDevice
    reach: Callable[[], Service]

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The bits of a sample, in the order in which they were measured, shape (shots, count).

        Raises:
            TypeError: for another request.
        """
        prepared = self.prepare(request, key)
        return prepared.decode(run_now(self.reach(), prepared.circuits))

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The one circuit of a sample, with the program that runs it round by round.

        Raises:
            TypeError: for another request.
        """
        if not isinstance(request, Sample):
            raise TypeError(f"A circuit of measured rounds answers samples. Got {type(request).__name__}.")
        x, shots = request.x, round(checks.integer("shots", request.shots, minimum=1) * precision)
        tape = self._of_zeros(x, shots)
        functions = content_digest(self.first, self.each)
        structure = hashlib.sha256(f"{structure_digest(tape)}:{functions}".encode()).hexdigest()

        def program(device: Any, circuit: Circuit) -> Measured:
            own = key if circuit.seed == key.seed() else Key.from_seed(circuit.seed)  # of a part of the shots
            return self._drawn(device, x, circuit.shots, own.generator())

        circuit = Circuit(tape, self.wires, shots, key.seed(), structure, np.zeros(0), self.count, program)
        return Prepared((circuit,), lambda bits: Reply(outcomes=bits[0], executions=1))

    def _of_zeros(self, x: Array, shots: int) -> QuantumScript:
        """The branch in which every outcome is 0."""
        with qml.queuing.AnnotatedQueue() as queue:
            self.first(x)
            seen = []
            for number in range(self.count):
                self.each(x, number, (0,) * number)
                seen.append(qml.measure(0, reset=True))
        operations = QuantumScript.from_queue(queue).operations
        return QuantumScript(operations, [qml.sample(seen)], shots, trainable_params=[])

    def _drawn(self, device: Any, x: Array, shots: int, rng: np.random.Generator) -> Measured:
        groups: list[tuple[Bits, int, NDArray[np.complex128]]]
        groups = [((), shots, self.state(lambda: self.first(x), device))]
        for _ in range(self.count):
            groups = [part for group in groups for part in self._parted(device, x, *group, rng)]
        rows = np.repeat([bits for bits, _, _ in groups], [many for _, many, _ in groups], axis=0)
        return np.asarray(rng.permutation(rows), dtype=np.uint8)

    def _parted(
        self, device: Any, x: Array, bits: Bits, shots: int, state: NDArray[np.complex128], rng: np.random.Generator
    ) -> list[tuple[Bits, int, NDArray[np.complex128]]]:
        """Shots that have measured the same, after one more round."""

        def circuit() -> None:
            qml.StatePrep(state, wires=range(self.wires))
            self.each(x, len(bits), bits)

        halves = self.state(circuit, device).reshape(2, -1)
        weights = np.sum(np.abs(halves) ** 2, axis=1)
        zeros = int(rng.binomial(shots, weights[0] / weights.sum()))
        parts = []
        for bit, many in ((0, zeros), (1, shots - zeros)):
            if many:
                kept = halves[bit] / np.sqrt(weights[bit])
                parts.append(((*bits, bit), many, np.concatenate([kept, np.zeros_like(kept)])))
        return parts

    def state(self, circuit: Callable[[], None], device: Any = None) -> NDArray[np.complex128]:
        """The state after what a function queues, normalized, shape (2**wires,).

        Args:
            circuit: queues operations.
            device: a PennyLane device; None for its own.
        """
        device = self.opened.device if device is None else device
        with qml.queuing.AnnotatedQueue() as queue:
            circuit()
        tape = QuantumScript(QuantumScript.from_queue(queue).operations, [qml.state()])
        config = device.setup_execution_config(ExecutionConfig(), tape)
        tapes, join = device.preprocess_transforms(config)([tape])
        found = unwrapped(join(device.execute(tuple(tapes), config)))
        state = np.asarray(found, dtype=np.complex128).ravel()
        return np.asarray(state / np.linalg.norm(state))
