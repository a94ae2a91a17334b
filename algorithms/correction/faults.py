"""Which measurements each fault of a circuit would change, and the error model that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.ops import Conditional, MidMeasure

from varq import checks
from varq.algorithms.correction.packages import stim

__all__ = ["ErrorModel", "FaultTracker", "pauli_mechanisms", "stim_model"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Independent faults, each with what it flips: what a decoder has to know of a circuit, and all that it has.

    Args:
        probabilities: of the faults, shape (faults,).
        detectors: which detectors each fault flips, shape (faults, detectors).
        observables: which logical observables, shape (faults, observables).
        rounds: how many detectors come with each round; they add up to all detectors.

    Raises:
        ValueError: for shapes that do not fit, or what is no probability.
    """

    probabilities: NDArray[np.float64]
    detectors: Bools
    observables: Bools
    rounds: tuple[int, ...]

    def __post_init__(self) -> None:
        chances = checks.array("probabilities", self.probabilities, (None,))
        if np.any((chances < 0) | (chances > 1)):
            raise ValueError(f"probabilities must lie between 0 and 1. Got {chances.min():g} to {chances.max():g}.")
        faults = len(chances)
        detectors = np.asarray(self.detectors, dtype=np.bool_)
        observables = np.asarray(self.observables, dtype=np.bool_)
        for name, value in (("detectors", detectors), ("observables", observables)):
            checks.shape(name, value, (faults, None), "Give one row a fault.")
        rounds = tuple(checks.integer("rounds", n, minimum=0) for n in self.rounds)
        if sum(rounds) != detectors.shape[1]:
            raise ValueError(
                f"rounds must add up to the {detectors.shape[1]} detectors. Got {rounds}. "
                "Give for each round how many detectors come with it."
            )
        for name, value in (("probabilities", chances), ("detectors", detectors), ("observables", observables)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "rounds", rounds)

    @classmethod
    def from_masks(
        cls, probabilities: Sequence[float], detectors: Sequence[int], observables: Sequence[int], rounds: Sequence[int]
    ) -> ErrorModel:
        """The model of faults whose effects are integers: bit k of a detector's mask tells whether fault k flips it.

        Faults that flip the same are one fault, and those that flip nothing are left out.
        """
        faults = len(probabilities)
        flips = np.array(
            [[mask >> k & 1 for mask in (*detectors, *observables)] for k in range(faults)], dtype=np.bool_
        )
        flips = flips.reshape(faults, len(detectors) + len(observables))
        chances: dict[bytes, float] = {}
        for row, chance in zip(flips, probabilities, strict=True):
            if row.any() and chance > 0:
                before = chances.get(row.tobytes(), 0.0)
                chances[row.tobytes()] = before + chance - 2 * before * chance
        kept = np.array([np.frombuffer(row, np.bool_) for row in chances], dtype=np.bool_)
        kept = kept.reshape(len(chances), flips.shape[1])
        split = len(detectors)
        return cls(np.array(list(chances.values())), kept[:, :split], kept[:, split:], tuple(rounds))

    def __str__(self) -> str:
        """The model in the text format of Stim's detector error models; coordinates are the number in a round, and it.

        A fault of more than two detectors is written as parts that are faults too, where there are such: a matching
        decoder needs that.
        """
        lines = []
        edges = self._edges()
        for chance, seen, logical in zip(self.probabilities, self.detectors, self.observables, strict=True):
            fault = _Fault(frozenset(np.flatnonzero(seen).tolist()), frozenset(np.flatnonzero(logical).tolist()))
            parts = [fault] if len(fault.detectors) <= 2 else _parts(fault, edges) or [fault]
            lines.append(f"error({float(chance)!r}) {' ^ '.join(map(str, parts))}")
        number = 0
        for turn, size in enumerate(self.rounds):
            lines += [f"detector({place}, {turn}) D{number + place}" for place in range(size)]
            number += size
        lines += [f"logical_observable L{k}" for k in range(self.observables.shape[1])]
        return "\n".join(lines)

    def _edges(self) -> dict[int, list[_Fault]]:
        """The faults of one or two detectors, by their first one."""
        found: dict[int, list[_Fault]] = {}
        for seen, logical in zip(self.detectors, self.observables, strict=True):
            if 0 < seen.sum() <= 2:
                fault = _Fault(frozenset(np.flatnonzero(seen).tolist()), frozenset(np.flatnonzero(logical).tolist()))
                found.setdefault(min(fault.detectors), []).append(fault)
        return found


class _Fault(NamedTuple):
    """What a fault flips."""

    detectors: frozenset[int]
    observables: frozenset[int]

    def __str__(self) -> str:
        return " ".join([*(f"D{k}" for k in sorted(self.detectors)), *(f"L{k}" for k in sorted(self.observables))])


def _parts(fault: _Fault, edges: dict[int, list[_Fault]]) -> list[_Fault] | None:
    """Faults of at most two detectors that together flip what one flips; None if there are none."""
    if not fault.detectors:
        return None if fault.observables else []
    for edge in edges.get(min(fault.detectors), []):
        if edge.detectors <= fault.detectors:
            left = _Fault(fault.detectors - edge.detectors, fault.observables ^ edge.observables)
            if (rest := _parts(left, edges)) is not None:
                return [edge, *rest]
    return None


def stim_model(model: ErrorModel) -> Any:
    """An error model as a `stim.DetectorErrorModel`, for the decoders that need one.

    Raises:
        ModuleNotFoundError: without Stim.
    """
    return stim().DetectorErrorModel(str(model))


def pauli_mechanisms(channel: Any) -> list[tuple[float, str]]:
    """Independent Pauli errors whose product is a channel, with the probability of each.

    Depolarizing a qubit with probability p is X, Y and Z, each with q = (1 - sqrt(1 - 4 p / 3)) / 2, one after the
    other: each Pauli operator keeps its sign with (1 - 2 q)^2 = 1 - 4 p / 3.

    Args:
        channel: `qml.BitFlip`, `qml.PhaseFlip`, `qml.DepolarizingChannel` or `qml.PauliError`.

    Returns:
        Pairs of a probability and a Pauli string over the channel's wires.

    Raises:
        ValueError: for another channel, or depolarizing with more than 3/4, which no such errors make.

    Example:
        >>> pauli_mechanisms(qml.BitFlip(0.1, 0))
        [(0.1, 'X')]
    """
    name = channel.name
    if name in ("BitFlip", "PhaseFlip"):
        return [(float(channel.parameters[0]), "X" if name == "BitFlip" else "Z")]
    if name == "PauliError":
        return [(float(channel.parameters[0]), str(channel.hyperparameters["operators"]))]
    if name == "DepolarizingChannel":
        chance = float(channel.parameters[0])
        if chance > 0.75:
            raise ValueError(f"A depolarizing probability must be at most 3/4, where nothing is left. Got {chance:g}.")
        each = (1 - float(np.sqrt(1 - 4 * chance / 3))) / 2
        return [(each, letter) for letter in "XYZ"]
    raise ValueError(
        f"Noise must be a Pauli channel: BitFlip, PhaseFlip, DepolarizingChannel or PauliError. Got {name}. "
        "Twirl other channels into one of these."
    )


class FaultTracker:
    """Follows Pauli errors through a Clifford circuit, all faults at once.

    Fault k is bit k of an integer; for each wire one integer tells which faults leave an X there, and one which leave
    a Z.  So a gate costs a few operations on integers, however many faults there are.
    """

    def __init__(self) -> None:
        self.probabilities: list[float] = []
        self._x: dict[Any, int] = {}
        self._z: dict[Any, int] = {}

    def apply(self, operation: Any) -> int | None:
        """Go past an operation.

        Conditional Pauli operators are passed over: what a decoder applies moves the frame, and is no fault.

        Args:
            operation: a gate (H, S, X, Y, Z, CNOT, CY, CZ, SWAP), a Pauli channel, or a measurement.

        Returns:
            For a measurement, which faults flip its outcome.

        Raises:
            ValueError: for an operation that is no Clifford gate known here.
        """
        wires = list(operation.wires)
        if isinstance(operation, MidMeasure):
            return self.measure(wires[0], operation.reset)
        if isinstance(operation, Conditional):
            if operation.base.name not in ("PauliX", "PauliY", "PauliZ", "Identity"):
                raise ValueError(f"Only Pauli operators may depend on outcomes here. Got {operation.base.name}.")
            return None
        if isinstance(operation, qml.operation.Channel):
            for chance, string in pauli_mechanisms(operation):
                self.add(chance, string, wires)
            return None
        self._gate(operation.name, wires)
        return None

    def measure(self, wire: Any, reset: bool) -> int:
        """Which faults flip a measurement of Z; a reset ends all errors of the wire."""
        flips = self._x.get(wire, 0)
        self._z[wire] = 0
        if reset:
            self._x[wire] = 0
        return flips

    def parity(self, string: str, wires: Iterable[Any]) -> int:
        """Which faults have changed, by now, the sign of a Pauli string on wires."""
        flips = 0
        for letter, wire in zip(string, wires, strict=True):
            if letter in "ZY":
                flips ^= self._x.get(wire, 0)
            if letter in "XY":
                flips ^= self._z.get(wire, 0)
        return flips

    def depolarize(self, chance: float, wires: Sequence[Any]) -> list[tuple[float, str]]:
        """All Pauli errors of some wires, equally likely, with a chance in all: as so many independent ones.

        A Pauli operator keeps its sign under half of all errors and one fewer: (1 - 2 q)^(4^n / 2) = 1 - c p with
        c = 4^n / (4^n - 1).

        Returns:
            The independent errors, each with its probability.

        Raises:
            ValueError: for a chance with which more than everything is lost.
        """
        size = 4 ** len(wires)
        if chance > (size - 1) / size:
            raise ValueError(f"A depolarizing probability must be at most {(size - 1) / size:g}. Got {chance:g}.")
        each = (1 - (1 - size / (size - 1) * chance) ** (2 / size)) / 2
        strings = map("".join, product("IXYZ", repeat=len(wires)))
        errors = [(each, string) for string in strings if set(string) != {"I"}]
        for found, string in errors:
            self.add(found, string, wires)
        return errors

    def add(self, chance: float, string: str, wires: Sequence[Any]) -> None:
        """A fault that leaves a Pauli string on wires, with its probability."""
        bit = 1 << len(self.probabilities)
        self.probabilities.append(chance)
        for letter, wire in zip(string, wires, strict=True):
            if letter in "XY":
                self._x[wire] = self._x.get(wire, 0) ^ bit
            if letter in "ZY":
                self._z[wire] = self._z.get(wire, 0) ^ bit

    def _gate(self, name: str, wires: list[Any]) -> None:
        x, z = self._x, self._z
        for wire in wires:
            x.setdefault(wire, 0)
            z.setdefault(wire, 0)
        first, last = wires[0], wires[-1]
        if name == "Hadamard":
            x[first], z[first] = z[first], x[first]
        elif name in ("S", "Adjoint(S)"):
            z[first] ^= x[first]
        elif name == "CNOT":
            x[last] ^= x[first]
            z[first] ^= z[last]
        elif name == "CZ":
            z[last] ^= x[first]
            z[first] ^= x[last]
        elif name == "CY":
            z[first] ^= x[last] ^ z[last]
            x[last] ^= x[first]
            z[last] ^= x[first]
        elif name == "SWAP":
            x[first], x[last], z[first], z[last] = x[last], x[first], z[last], z[first]
        elif name not in ("PauliX", "PauliY", "PauliZ", "Identity"):
            raise ValueError(
                f"Faults are followed through Clifford gates: H, S, X, Y, Z, CNOT, CY, CZ, SWAP. Got {name}. "
                "Decompose it into these."
            )
