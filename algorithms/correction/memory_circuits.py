"""Circuits that keep a logical state: rounds of syndrome measurements as Stim runs them, from a code and its noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from varq import checks
from varq.algorithms.correction.codes import Code
from varq.algorithms.correction.noise import Noise, as_noise
from varq.algorithms.correction.packages import stim

__all__ = ["check_basis", "memory_circuit", "pure", "usual_rounds"]

Step = list[tuple[str, list[int]]]
"""Gates that run at the same time."""


def pure(string: str, letter: str) -> bool:
    """Whether a Pauli string has no other letter than I and `letter`."""
    return not set(string) - {"I", letter}


def check_basis(code: Code, basis: str) -> str:
    """`basis` if the code keeps its logical states.

    Raises:
        TypeError: if `code` is no code.
        ValueError: for an unknown basis, or one in which the code corrects nothing.
    """
    checks.instance("code", code, Code, hint="Give RotatedSurface(3), Repetition(3), ...")
    checks.choice("basis", basis, ("X", "Z"))
    if basis not in code.bases:
        raise ValueError(
            f"basis must be one in which the {code.title} corrects errors. Got {basis!r}. Use {code.bases[0]!r}."
        )
    return basis


def memory_circuit(
    code: Code,
    p: float,
    noise: Noise | str = "uniform",
    rounds: int | None = None,
    basis: str = "Z",
) -> Any:
    """A logical eigenstate, `rounds` rounds of syndrome measurements, and the logical operator at the end.

    Detectors compare each stabilizer with the round before; their coordinates are (stabilizer, round), and those of
    flag qubits (stabilizer + 0.5, round).  Observable 0 is the logical operator.  Where every stabilizer is of X alone
    or of Z alone, the data qubits start in |0...0> or |+...+> and are all measured at the end, with noise.  Other codes
    start and end with stabilizers and logical operator measured without noise.

    Data qubits come first, then an ancilla for each stabilizer, then, where the code is flagged and gates fail, a flag
    for each stabilizer of at least three letters.

    Args:
        code: such as `RotatedSurface(3)`.
        p: the probability that the noise model takes multiples of, in [0, 1].
        noise: a `Noise`, or the name of a preset.
        rounds: of syndrome measurements, at least 1; None for the code's distance, or 1 where they are never wrong.
        basis: "Z" keeps an eigenstate of logical Z, "X" one of logical X.

    Returns:
        A `stim.Circuit`.

    Raises:
        ModuleNotFoundError: without Stim.
        TypeError: if `code` is no code.
        ValueError: for fewer than one round, an unknown basis or noise, or a p out of range.

    Example:
        >>> circuit = memory_circuit(Repetition(3), 0.001, rounds=2)  # doctest: +SKIP
        >>> circuit.num_detectors, circuit.num_observables  # doctest: +SKIP
        (6, 1)
    """
    check_basis(code, basis)
    chosen = as_noise(noise)
    number = usual_rounds(code, chosen) if rounds is None else checks.integer("rounds", rounds, minimum=1)
    return _Writer(code, chosen, chosen.rates(p), basis).written(number)


def usual_rounds(code: Code, noise: Noise) -> int:
    """How many rounds of syndrome measurements there are where nobody chose: the distance, if they can be wrong.

    Where they cannot, one tells all ("code capacity"; Dennis et al., J. Math. Phys. 43, 4452 (2002)).
    """
    return 1 if noise.only_data else code.distance


@dataclass(frozen=True)
class _Layout:
    """Which qubit of the circuit is what."""

    code: Code
    flagged: tuple[int, ...]  # stabilizers that have a flag

    @property
    def data(self) -> list[int]:
        return list(range(self.code.wires))

    @property
    def ancillas(self) -> list[int]:
        return [self.code.wires + k for k in range(len(self.code.stabilizers))]

    @property
    def flags(self) -> list[int]:
        first = self.code.wires + len(self.code.stabilizers)
        return list(range(first, first + len(self.flagged)))

    @property
    def measured(self) -> list[int]:
        return self.ancillas + self.flags


class _Writer:
    """Writes one memory circuit."""

    def __init__(self, code: Code, noise: Noise, rates: dict[str, float], basis: str) -> None:
        self.code, self.noise, self.rates, self.basis = code, noise, rates, basis
        heavy = (k for k, s in enumerate(code.stabilizers) if len(s) - s.count("I") >= 3)
        self.layout = _Layout(code, tuple(heavy) if code.flagged and noise.in_gates else ())
        self.transversal = pure(code.logical(basis), basis) and all(
            pure(s, "X") or pure(s, "Z") for s in code.stabilizers
        )
        self.circuit = stim().Circuit()

    def written(self, rounds: int) -> Any:
        self._begin()
        first = self._round(first=True)
        self.circuit += first
        if rounds > 1:
            self.circuit += self._round(first=False) * (rounds - 1)
        self._end(rounds)
        return self.circuit

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        layout, flip = self.layout, self.rates["reset"]
        if self.transversal:
            self._add(self.circuit, "RX" if self.basis == "X" else "R", layout.data)
            self._add(self.circuit, "Z_ERROR" if self.basis == "X" else "X_ERROR", layout.data, flip)
        else:
            self._add(self.circuit, "R", layout.data)
            self._products(self.circuit)
            self.circuit.append("OBSERVABLE_INCLUDE", [stim().target_rec(-1)], 0)
        self._add(self.circuit, "R", layout.measured)
        self._add(self.circuit, "X_ERROR", layout.measured, flip)

    def _round(self, first: bool) -> Any:
        """One round: noise of the data, gates, measurements of the ancillas, and what they are compared with."""
        part, layout, rates = stim().Circuit(), self.layout, self.rates
        part.append("TICK")
        self._add(part, "DEPOLARIZE1", layout.data, rates["data"])
        for step in self._steps():
            self._gates(part, step)
            part.append("TICK")
        self._add(part, "X_ERROR", layout.measured, rates["measure"])
        if rates["waiting"]:
            # Measuring and resetting take a step each, in which the data wait.
            self._add(part, "M", layout.measured)
            self._add(part, "DEPOLARIZE1", layout.data, rates["waiting"])
            self._add(part, "R", layout.measured)
            self._add(part, "DEPOLARIZE1", layout.data, rates["waiting"])
        else:
            self._add(part, "MR", layout.measured)
        self._add(part, "X_ERROR", layout.measured, rates["reset"])
        self._compare(part, first)
        return part

    def _compare(self, part: Any, first: bool) -> None:
        many, flags = len(self.code.stabilizers), len(self.layout.flagged)
        if not first:
            part.append("SHIFT_COORDS", [], (0, 1))
        for k, string in enumerate(self.code.stabilizers):
            now = [k - many - flags]
            # Before the first round come the noiseless outcomes of stabilizers and logical operator, in that order.
            before = [now[0] - many - (flags if not first else 1)]
            if not first or not self.transversal:
                self._detector(part, now + before, (k, 0))
            elif pure(string, self.basis):
                self._detector(part, now, (k, 0))
        for place, k in enumerate(self.layout.flagged):
            self._detector(part, [place - flags], (k + 0.5, 0))

    def _end(self, rounds: int) -> None:
        code, many, flags = self.code, len(self.code.stabilizers), len(self.layout.flagged)
        if self.transversal:
            self._add(
                self.circuit, "Z_ERROR" if self.basis == "X" else "X_ERROR", self.layout.data, self.rates["readout"]
            )
            self._add(self.circuit, "MX" if self.basis == "X" else "M", self.layout.data)
            added = {k: _support(s, code.wires) for k, s in enumerate(code.stabilizers) if pure(s, self.basis)}
            logical, size = _support(code.logical(self.basis), code.wires), code.wires
        else:
            self._products(self.circuit)
            size = many + 1
            added = {k: [k - size] for k in range(many)}
            logical = [-1]
        for k, records in added.items():
            self._detector(self.circuit, [*records, k - many - flags - size], (k, 1))
        self.circuit.append("OBSERVABLE_INCLUDE", [stim().target_rec(r) for r in logical], 0)

    # -- gates -------------------------------------------------------------------------------------------------------

    def _steps(self) -> Iterator[Step]:
        """The gates that measure all stabilizers, step by step."""
        only_cz = self.noise.gates == "cz"
        turned = [a for k, a in enumerate(self.layout.ancillas) if only_cz or not self._direct(k)]
        if only_cz:
            turned = turned + self.layout.flags
        opening: Step = [("H", turned)]
        yield opening
        frame = ["Z"] * self.code.wires
        for layer in range(self.code.layers):
            touched = [(k, row[layer]) for k, row in enumerate(self.code.schedule) if layer < len(row)]
            pairs = [(k, q) for k, q in touched if q is not None]
            if only_cz:
                yield from self._turns(frame, {q: self.code.stabilizers[k][q] for k, q in pairs})
            yield [self._gate(k, q, only_cz) for k, q in pairs]
            if flags := self._flags_after(layer):
                yield [("CZ" if only_cz else "CX", pair) for pair in flags]
        if only_cz:
            yield from self._turns(frame, dict.fromkeys(self.layout.data, "Z"))
        yield opening

    def _direct(self, k: int) -> bool:
        """Whether the data flip the ancilla themselves: of Z alone, and no flag is to watch the ancilla."""
        return pure(self.code.stabilizers[k], "Z") and k not in self.layout.flagged

    def _gate(self, k: int, data: int, only_cz: bool) -> tuple[str, list[int]]:
        ancilla = self.layout.ancillas[k]
        if only_cz:
            return "CZ", [ancilla, data]
        if self._direct(k):
            return "CX", [data, ancilla]
        return f"C{self.code.stabilizers[k][data]}", [ancilla, data]

    def _flags_after(self, layer: int) -> list[list[int]]:
        """Ancillas and flags that meet after a layer: after an ancilla's first touch and before its last."""
        meet = []
        for place, k in enumerate(self.layout.flagged):
            busy = [i for i, q in enumerate(self.code.schedule[k]) if q is not None]
            if layer in (busy[0], busy[-1] - 1):
                meet.append([self.layout.ancillas[k], self.layout.flags[place]])
        return meet

    @staticmethod
    def _turns(frame: list[str], wanted: dict[int, str]) -> Iterator[Step]:
        """Turns of the data after which CZ acts with the letters that are wanted; by way of Z between X and Y."""
        gate = {"X": "H", "Y": "H_YZ"}
        changed = [q for q, letter in wanted.items() if frame[q] != letter]
        back: Step = [(gate[frame[q]], [q]) for q in changed if frame[q] != "Z"]
        forth: Step = [(gate[wanted[q]], [q]) for q in changed if wanted[q] != "Z"]
        alone = not {q for _, (q,) in back} & {q for _, (q,) in forth}
        for step in [back + forth] if alone else [back, forth]:
            if step:
                yield step
        for q in changed:
            frame[q] = wanted[q]

    def _gates(self, part: Any, step: Step) -> None:
        """The gates of a step and what goes wrong in it."""
        merged: dict[str, list[int]] = {}
        for name, targets in step:
            merged.setdefault(name, []).extend(targets)
        for name, targets in merged.items():
            self._add(part, name, targets)
        for name, targets in merged.items():
            two = name.startswith("C")
            self._add(part, "DEPOLARIZE2" if two else "DEPOLARIZE1", targets, self.rates["two" if two else "one"])
        busy = {q for targets in merged.values() for q in targets}
        resting = [q for q in self.layout.data + self.layout.measured if q not in busy]
        self._add(part, "DEPOLARIZE1", resting, self.rates["idle"])

    # -- lines -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _add(part: Any, name: str, targets: Sequence[int], rate: float | None = None) -> None:
        if targets and rate != 0:
            part.append(name, targets, *([] if rate is None else [rate]))

    def _products(self, part: Any) -> None:
        """All stabilizers and the logical operator, measured without noise."""
        kit = stim()
        for string in (*self.code.stabilizers, self.code.logical(self.basis)):
            factors = [kit.target_pauli(q, letter) for q, letter in enumerate(string) if letter != "I"]
            part.append("MPP", kit.target_combined_paulis(factors))

    @staticmethod
    def _detector(part: Any, records: Sequence[int], place: tuple[float, float]) -> None:
        part.append("DETECTOR", [stim().target_rec(r) for r in records], place)


def _support(string: str, wires: int) -> list[int]:
    """Records of the data qubits that a string acts on, counted back from the last."""
    return [q - wires for q, letter in enumerate(string) if letter != "I"]
