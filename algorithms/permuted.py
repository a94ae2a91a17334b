"""Order finding by permutations of basis states as jobs: circuits with programs, which this process runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from varq import checks
from varq.circuits.permutation import semiclassical_outcomes, transformed_outcomes
from varq.devices.catalog import PERMUTATION, open_service
from varq.devices.digests import structure_digest
from varq.devices.service import Bits, Circuit, run_now
from varq.keys import Key
from varq.protocol import Array, Prepared, Reply, Request, Sample

__all__ = ["Permuted"]


@dataclass(frozen=True, eq=False)
class Permuted:
    """Answers samples of the phases that order finding measures; the base is the request's one parameter.

    Args:
        modulus: N.
        bits: of a phase.
        control: "semiclassical", or "qft".
        precision: "double" or "single"; of one control wire alone.
        circuit: queues the circuit that this stands for, for the base; returns the values that it measures in its
            middle, or None where the first `bits` wires are measured at its end.
        wires: of that circuit.
    """

    modulus: int
    bits: int
    control: str
    precision: str
    circuit: Callable[[Array], Any]
    wires: int

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a sample, by a job that runs here and now.

        Raises:
            TypeError: for another request.
        """
        prepared = self.prepare(request, key)
        return prepared.decode(run_now(open_service(PERMUTATION), prepared.circuits))

    def prepare(self, request: Request, key: Key, precision: float = 1.0) -> Prepared:
        """The one circuit of a sample, with the program that draws its bits.

        Raises:
            TypeError: for another request.
        """
        if not isinstance(request, Sample):
            raise TypeError(f"Order finding answers samples. Got {type(request).__name__}.")
        base, shots = int(request.x[0]), round(checks.integer("shots", request.shots, minimum=1) * precision)
        with qml.queuing.AnnotatedQueue() as queue:
            seen = self.circuit(request.x)
        measured = qml.sample(wires=range(self.bits)) if seen is None else qml.sample(seen)
        tape = QuantumScript(QuantumScript.from_queue(queue).operations, [measured], shots, trainable_params=[])

        def program(device: Any, circuit: Circuit) -> Bits:
            own = key if circuit.seed == key.seed() else Key.from_seed(circuit.seed)  # of a part of the shots
            return self._drawn(base, circuit.shots, own.generator())

        structure, values = structure_digest(tape), np.zeros(0)
        circuit = Circuit(tape, self.wires, shots, key.seed(), structure, values, self.bits, program)
        return Prepared((circuit,), lambda bits: Reply(outcomes=bits[0], executions=1))

    def _drawn(self, base: int, shots: int, rng: np.random.Generator) -> Bits:
        if self.control == "semiclassical":
            dtype = "complex64" if self.precision == "single" else "complex128"
            return semiclassical_outcomes(base, self.modulus, self.bits, rng.random((shots, self.bits)), dtype)
        return transformed_outcomes(base, self.modulus, self.bits, rng.random((shots, 2)))
