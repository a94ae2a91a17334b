"""Circuits of rounds that each end in a measurement of one wire: a program for a round, and a host that draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from varq import checks
from varq.devices.catalog import OpenDevice
from varq.keys import Key
from varq.node.traced import unwrapped
from varq.protocol import Array, Reply, Request, Sample

__all__ = ["Rounds"]

Bits = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rounds:
    """Samples of a circuit whose rounds each end in the measurement and reset of wire 0, on a simulator of states.

    A round of thousands of gates, known by its structure, compiles once and serves all rounds, whatever its angles; as
    part of one measured circuit it would be compiled gate by gate.  Shots that have measured the same so far are
    simulated together, and part when they measure otherwise: the law is that of shots drawn one by one.

    Args:
        first: queues what comes before the first round, for parameters.
        each: queues a round: given the parameters, its number, and what was measured in the rounds before it.
        count: of rounds.
        wires: how many wires there are.
        opened: the device.
    """

    first: Callable[[Array], None]
    each: Callable[[Array, int, Bits], None]
    count: int
    wires: int
    opened: OpenDevice

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The bits of a sample, in the order in which they were measured, shape (shots, count).

        Raises:
            TypeError: for another request.
        """
        if not isinstance(request, Sample):
            raise TypeError(f"A circuit of measured rounds answers samples. Got {type(request).__name__}.")
        x, shots, rng = request.x, checks.integer("shots", request.shots, minimum=1), key.generator()
        groups: list[tuple[Bits, int, NDArray[np.complex128]]] = [((), shots, self.state(lambda: self.first(x)))]
        for _ in range(self.count):
            groups = [part for group in groups for part in self._parted(x, *group, rng)]
        rows = np.repeat([bits for bits, _, _ in groups], [many for _, many, _ in groups], axis=0)
        return Reply(outcomes=rng.permutation(rows).astype(np.uint8), executions=1)

    def _parted(
        self, x: Array, bits: Bits, shots: int, state: NDArray[np.complex128], rng: np.random.Generator
    ) -> list[tuple[Bits, int, NDArray[np.complex128]]]:
        """Shots that have measured the same, after one more round."""

        def circuit() -> None:
            qml.StatePrep(state, wires=range(self.wires))
            self.each(x, len(bits), bits)

        halves = self.state(circuit).reshape(2, -1)
        weights = np.sum(np.abs(halves) ** 2, axis=1)
        zeros = int(rng.binomial(shots, weights[0] / weights.sum()))
        parts = []
        for bit, many in ((0, zeros), (1, shots - zeros)):
            if many:
                kept = halves[bit] / np.sqrt(weights[bit])
                parts.append(((*bits, bit), many, np.concatenate([kept, np.zeros_like(kept)])))
        return parts

    def state(self, circuit: Callable[[], None]) -> NDArray[np.complex128]:
        """The state after what a function queues, normalized, shape (2**wires,)."""
        with qml.queuing.AnnotatedQueue() as queue:
            circuit()
        tape = QuantumScript(QuantumScript.from_queue(queue).operations, [qml.state()])
        config = self.opened.device.setup_execution_config(ExecutionConfig(), tape)
        tapes, join = self.opened.device.preprocess_transforms(config)([tape])
        found = unwrapped(join(self.opened.device.execute(tuple(tapes), config)))
        state = np.asarray(found, dtype=np.complex128).ravel()
        return np.asarray(state / np.linalg.norm(state))
