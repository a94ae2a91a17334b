"""Circuits of encoded qubits in PennyLane, on `varq.qubit`: syndrome rounds, noise, transversal gates and readout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import pennylane as qml
from pennylane.ops import MeasurementValue

from varq import checks
from varq.algorithms.correction.codes import Code
from varq.algorithms.correction.faults import FaultTracker
from varq.algorithms.correction.memory_circuits import pure
from varq.algorithms.correction.noise import Noise
from varq.simulator.outcomes import outcome

__all__ = ["Patch", "Script", "check_noise"]

Parity = frozenset[int]


def check_noise(noise: Noise, code: Code) -> None:
    """ValueError unless these circuits can have that noise with that code."""
    if noise.idle or noise.waiting or noise.gates != "cx":
        raise ValueError(
            f"noise must have no idling and the gates 'cx': here one ancilla measures all stabilizers in turn. Got "
            f"{noise.name!r}. Use 'code-capacity', 'phenomenological' or 'uniform'."
        )
    if noise.in_gates and code.flagged:
        raise ValueError(
            f"The {code.title} needs flag qubits where gates fail, which these circuits do not have. Got noise "
            f"{noise.name!r}. Use 'phenomenological', or a code that needs none, such as Repetition(3)."
        )


class Script:
    """Queues operations and noise, and follows what each fault would change.

    Noise is drawn while the circuit runs: a coin qubit is turned and measured, and its outcomes decide on Pauli
    operators.  This is exact for Pauli channels, with shots as well as in a sum over branches.  Queue within a QNode on
    `varq.qubit`.

    Args:
        rates: the probability of each fault, as `Noise.rates` gives them.
        ancilla: the wire that measures stabilizers, in |0>.
        coin: the wire of coins, in |0>; None queues PennyLane's noise channels instead, for other devices and for Stim.
        letters: "XZ", or "X" where no measurement can see a Z error, which is then not drawn: as many coins fewer.

    Attributes:
        bits: what was measured, but for coins.
        flips: for each of them, the faults that flip it (see `FaultTracker`).
        tracker: of the faults.

    Example:
        >>> from varq.algorithms.correction.codes import Repetition
        >>> from varq.algorithms.correction.noise import as_noise
        >>> @qml.set_shots(1000)
        ... @qml.qnode(qml.device("varq.qubit", wires=5, seed=0))
        ... def circuit():
        ...     script = Script(as_noise("code-capacity").rates(0.3), ancilla=3, coin=4)
        ...     patch = Patch(Repetition(3), (0, 1, 2))
        ...     script.begin(patch, "Z")
        ...     script.round(patch)
        ...     return qml.sample(script.bits)
        >>> mean = circuit().mean(axis=0)  # a parity is odd where one of two qubits was flipped, each with 2/3 of 0.3
        >>> bool(abs(mean - 2 * 0.2 * 0.8).max() < 0.06)
        True
    """

    def __init__(self, rates: dict[str, float], ancilla: Any, coin: Any, letters: str = "XZ") -> None:
        self.rates, self.ancilla, self.coin, self.letters = rates, ancilla, coin, letters
        self.tracker = FaultTracker()
        self.bits: list[MeasurementValue] = []
        self.flips: list[int] = []

    # -- single operations -------------------------------------------------------------------------------------------

    def gate(self, operation: Any) -> None:
        """Go past an operation that was just queued, and let it fail as its number of qubits does."""
        self.tracker.apply(operation)
        wires = list(operation.wires)
        self.depolarize(wires, self.rates["one" if len(wires) == 1 else "two"])

    def measure(self, wire: Any, chance: float, reset: bool = True) -> int:
        """Measure a wire, whose outcome is wrong with a chance; gives the number of the measurement."""
        self.flip(wire, chance)
        self.flips.append(self.tracker.measure(wire, reset))
        self.bits.append(qml.measure(wire, reset=reset))
        return len(self.bits) - 1

    def flip(self, wire: Any, chance: float) -> None:
        """Flip a wire with a chance."""
        if not chance:
            return
        self.tracker.add(chance, "X", [wire])
        if self.coin is None:
            qml.BitFlip(chance, wire)
        else:
            qml.cond(self._toss(_angle(chance)), qml.X)(wire)

    def depolarize(self, wires: Sequence[Any], chance: float) -> None:
        """One of the 3 or 15 Pauli errors of one or two wires, all equally likely, with a chance."""
        if not chance:
            return
        errors = self.tracker.depolarize(chance, wires)
        if self.coin is None:
            for each, string in errors:
                qml.PauliError(string, each, wires)
        else:
            self._draw(chance, wires)

    def _draw(self, chance: float, wires: Sequence[Any]) -> None:
        """Depolarize by coins, one for each letter."""
        errors = 4 ** len(wires) - 1
        left = errors
        before: list[MeasurementValue] = []
        for wire in wires:
            for letter in self.letters:
                # Of the errors that begin with no error so far, half and one more go on with one.
                some = (left + 1) // 2
                angle = _angle(some * chance / errors / (1 - (errors - left) * chance / errors))
                coin = self._toss(_later(angle, before) if before else angle)
                qml.cond(coin, qml.X if letter == "X" else qml.Z)(wire)
                before.append(coin)
                left -= some

    def _toss(self, angle: Any) -> MeasurementValue:
        qml.RY(angle, self.coin)
        return qml.measure(self.coin, reset=True)

    # -- encoded qubits ----------------------------------------------------------------------------------------------

    def begin(self, patch: Patch, basis: str) -> None:
        """Data qubits in |0> become those of |0...0> or |+...+>, an eigenstate of logical Z or X."""
        patch.known = [frozenset() if pure(s, basis) else None for s in patch.code.stabilizers]
        for wire in patch.wires:
            self.flip(wire, self.rates["reset"])
            if basis == "X":
                self.gate(qml.Hadamard(wire))

    def round(self, patch: Patch) -> list[Parity]:
        """Measure all stabilizers, one after the other; gives the detectors: the changes since they were last known."""
        for wire in patch.wires:
            self.depolarize([wire], self.rates["data"])
        found = []
        for place, string in enumerate(patch.code.stabilizers):
            now = frozenset([self._stabilizer(patch, place, string)])
            before = patch.known[place]
            if before is not None and pure(string, patch.kept):
                found.append(before ^ now)
            patch.known[place] = now
        return found

    def _stabilizer(self, patch: Patch, place: int, string: str) -> int:
        ancilla = self.ancilla
        turned = not pure(string, "Z")
        if turned:
            self.gate(qml.Hadamard(ancilla))
        for qubit in patch.code.schedule[place]:
            if qubit is None:
                continue
            wire = patch.wires[qubit]
            if not turned:
                self.gate(qml.CNOT([wire, ancilla]))
            else:
                self.gate({"X": qml.CNOT, "Y": qml.CY, "Z": qml.CZ}[string[qubit]]([ancilla, wire]))
        if turned:
            self.gate(qml.Hadamard(ancilla))
        number = self.measure(ancilla, self.rates["measure"])
        self.flip(ancilla, self.rates["reset"])
        return number

    def cnot(self, control: Patch, target: Patch) -> None:
        """A CNOT gate between two patches of one code, qubit by qubit."""
        for one, other in zip(control.wires, target.wires, strict=True):
            self.gate(qml.CNOT([one, other]))
        for place, string in enumerate(control.code.stabilizers):
            here, there = control.known[place], target.known[place]
            both = None if here is None or there is None else here ^ there
            if pure(string, "Z"):
                target.known[place] = both
            else:
                control.known[place] = both

    def read(self, patch: Patch, basis: str) -> tuple[list[Parity], Parity]:
        """Measure all data qubits, which are then in |0>; gives the detectors, and the parity that is the bit."""
        numbers = []
        for wire in patch.wires:
            if basis == "X":
                self.gate(qml.Hadamard(wire))
            numbers.append(self.measure(wire, self.rates["readout"]))
        found = []
        for before, string in zip(patch.known, patch.code.stabilizers, strict=True):
            if before is not None and pure(string, basis):
                found.append(before ^ {numbers[q] for q, letter in enumerate(string) if letter != "I"})
        logical = patch.code.logical(basis)
        return found, frozenset(numbers[q] for q, letter in enumerate(logical) if letter != "I")

    def mask(self, parity: Parity) -> int:
        """Which faults flip a parity of measurements."""
        mask = 0
        for number in parity:
            mask ^= self.flips[number]
        return mask


@dataclass
class Patch:
    """Data qubits of a code, and what is known of its stabilizers.

    Args:
        code: which.
        wires: of the data qubits, in its order.
        kept: the basis whose logical states matter: detectors are those of stabilizers of this letter alone.
        known: for each stabilizer, the measurements whose parity it was last found to have; None where it is random.

    Raises:
        ValueError: if the wires are not as many as the code's.
    """

    code: Code
    wires: tuple[Any, ...]
    kept: str = "Z"
    known: list[Parity | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        checks.instance("code", self.code, Code, "Use Repetition(3), RotatedSurface(3) or Steane().")
        self.wires = tuple(self.wires)
        if len(set(self.wires)) != self.code.wires:
            raise ValueError(f"wires must be {self.code.wires} different ones. Got {list(self.wires)}.")


def _angle(chance: float) -> float:
    """Of a rotation about Y after which 1 is measured with a chance."""
    return 2 * math.asin(math.sqrt(min(max(chance, 0.0), 1.0)))


def _later(angle: float, before: Sequence[Any]) -> Any:
    """The angle of a further coin: once there is an error, all that are left are equally likely."""
    return outcome(lambda *bits: jnp.where(sum(bits) > 0, math.pi / 2, angle), *before)
