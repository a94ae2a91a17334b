"""The decoder of greatest likelihood, by a table: exact, for circuits with few detectors; it needs no extra."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.algorithms.correction.codes import Code, anticommute
from varq.algorithms.correction.decoders import fired
from varq.algorithms.correction.error_models import faults as faults_of
from varq.algorithms.correction.error_models import rounds_of
from varq.algorithms.correction.faults import ErrorModel

__all__ = ["MOST_BITS", "Lookup", "Table", "code_model", "fault_law", "read_model"]

MOST_BITS = 22
"""Detectors and observables together that a table may have: 2^22 numbers take 32 MiB."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Lookup:
    """The likeliest logical flips for every syndrome, in a table; made of an error model without any other package.

    Args:
        most: detectors and observables together that a table may have, at most 26.

    Example:
        >>> from varq.algorithms.correction.codes import Repetition
        >>> table = Lookup().from_dem(code_model(Repetition(3), data=0.01, basis="Z"))
        >>> table.decode_batch(np.array([[True, False], [True, True]]))  # data qubit 0, which logical Z meets, and 1
        array([[ True],
               [False]])
    """

    most: int = MOST_BITS

    kind: ClassVar[str] = "decoder:lookup"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", checks.integer("most", self.most, minimum=1, maximum=26))

    def from_dem(self, dem: Any) -> Table:
        """The decoder of a detector error model: an `ErrorModel`, Stim's, or its text.

        Raises:
            TypeError: for anything else.
            ValueError: for text that is no such model, and for a model that is too large or has no observable.
        """
        model = read_model(dem)
        detectors, observables = model.detectors.shape[1], model.observables.shape[1]
        if not observables:
            raise ValueError("A decoder needs an observable to answer for. Got none. Add the logical operator.")
        if detectors + observables > self.most:
            raise ValueError(
                f"A look-up table takes at most {self.most} detectors and observables. Got {detectors} and "
                f"{observables}. Take fewer rounds or a smaller code, Window(Lookup(), width=2, commit=1), or another "
                "decoder."
            )
        return Table(model, np.concatenate(rounds_of(dem)) if hasattr(dem, "flattened") else np.arange(detectors))


class Table:
    """A table at work; made by `Lookup.from_dem`.

    It holds the probability of every syndrome together with every flip of the observables: the law of a sum of
    independent faults, made by going through the faults once.  No decoder errs less often.

    Args:
        model: the faults.
        order: the detectors in the order in which rounds bring them.
    """

    def __init__(self, model: ErrorModel, order: NDArray[np.int64]) -> None:
        self.model = model
        self._order = order
        self._detectors, self._observables = model.detectors.shape[1], model.observables.shape[1]
        self.law = fault_law(dataclasses.replace(model, detectors=model.detectors[:, order]))
        self._tables: dict[int, NDArray[np.int64]] = {}
        self.reset()

    @property
    def failure(self) -> float:
        """The exact probability that the decoder errs, on faults as the model has them."""
        return float(1 - self.law.max(axis=1).sum())

    def decode_batch(self, detectors: Any) -> Bools:
        """The observables that are flipped, shape (shots, observables), from detectors of shape (shots, detectors).

        Raises:
            ValueError: for another number of detectors.
        """
        hint = "Make the decoder of the circuit whose syndromes it is to decode."
        seen = fired("detectors", detectors, (None, self._detectors), hint)
        index = seen[:, self._order] @ (1 << np.arange(self._detectors, dtype=np.int64))
        return self._bits(self._table(self._detectors)[index])

    def reset(self) -> None:
        """Forget what was pushed."""
        self._seen, self._index = 0, 0

    def push(self, round: Any) -> None:
        """Take the detectors of the next round, booleans.

        Raises:
            ValueError: for more detectors than there are.
        """
        for bit in np.asarray(round, dtype=np.bool_).ravel().tolist():
            self._index |= bit << self._seen
            self._seen += 1
        if self._seen > self._detectors:
            raise ValueError(
                f"The decoder has {self._detectors} detectors. Got {self._seen} since it began. Call reset() between "
                "shots, or make the decoder of this circuit."
            )

    def corrections(self) -> Bools:
        """The observables that are flipped, shape (observables,): the likeliest, given what was pushed so far."""
        return self._bits(self._table(self._seen)[self._index])

    def _table(self, seen: int) -> NDArray[np.int64]:
        """The likeliest flips for each syndrome of the first `seen` detectors, whatever the others are."""
        if seen not in self._tables:
            law = self.law.reshape(-1, 1 << seen, self.law.shape[1]).sum(axis=0)
            self._tables[seen] = np.argmax(law, axis=1)  # the first of equals: rather no flip
        return self._tables[seen]

    def _bits(self, flips: Any) -> Bools:
        return (np.asarray(flips)[..., None] >> np.arange(self._observables) & 1).astype(np.bool_)


def fault_law(model: ErrorModel) -> NDArray[np.float64]:
    """The probability of each set of flips, shape (2^detectors, 2^observables); bit k of an index is flip k.

    Sums of positive numbers alone, so that rare sets have their full relative precision.  Faults come in the order of
    their last detector: the table grows to its full size only for those of the last round.
    """
    flips = np.concatenate([model.observables, model.detectors], axis=1)
    masks = flips @ (1 << np.arange(flips.shape[1], dtype=np.int64))
    law = np.ones(1)
    for mask, chance in sorted(zip(masks.tolist(), model.probabilities.tolist(), strict=True)):
        law = _widened(law, mask.bit_length())
        law = (1 - chance) * law + chance * law[np.arange(len(law)) ^ mask]
    return _widened(law, flips.shape[1]).reshape(1 << model.detectors.shape[1], -1)


def _widened(law: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """A law over so many bits, of which those that are new are never set."""
    return np.concatenate([law, np.zeros((1 << bits) - len(law))]) if len(law) < 1 << bits else law


def code_model(
    code: Code, rounds: int = 0, data: float = 0.01, measurement: float = 0.0, basis: str | None = None
) -> ErrorModel:
    """The phenomenological model of a code: stabilizers are measured in rounds, from a state that they are known of.

    Before each round every data qubit is depolarized; in each round but the last, outcomes are wrong with a chance of
    their own.  Detectors are changes of a stabilizer's outcome.  With `rounds=0` this is code capacity.

    Args:
        code: which.
        rounds: of measurements that may err, before the one that does not.
        data: probability that a data qubit is depolarized before a round, at most 3/4.
        measurement: probability that an outcome is wrong.
        basis: "Z" for the stabilizers of Z alone, and logical Z; "X" likewise; None for all of them, and both logical
            operators, X first.

    Raises:
        TypeError: if `code` is no `Code`.
        ValueError: for numbers out of range, or a basis in which the code has no stabilizers.

    Example:
        >>> from varq.algorithms.correction.codes import Repetition
        >>> model = code_model(Repetition(3), rounds=2, data=0.03, measurement=0.02, basis="Z")
        >>> model.rounds, model.observables.shape
        ((2, 2, 2), (13, 1))
    """
    checks.instance("code", code, Code, "Use Repetition(3), RotatedSurface(3), Steane() or FiveQubit().")
    count = checks.integer("rounds", rounds, minimum=0)
    checks.real("data", data, minimum=0, maximum=0.75)
    checks.real("measurement", measurement, minimum=0, maximum=1)
    chosen = list(code.stabilizers)
    logical = [code.logical_x, code.logical_z]
    if basis is not None:
        checks.choice("basis", basis, ("X", "Z"))
        chosen, logical = [s for s in chosen if set(s) <= {"I", basis}], [code.logical(basis)]
        if not chosen:
            raise ValueError(
                f"{code.title} has no stabilizer of {basis} alone. Got basis={basis!r}. "
                f"Use basis={'Z' if basis == 'X' else 'X'!r} or None."
            )
    size, chances, flips = len(chosen), [], []
    each = (1 - float(np.sqrt(1 - 4 * data / 3))) / 2  # independent X, Y and Z errors: see pauli_mechanisms
    for turn in range(count + 1):
        for wire in range(code.wires):
            for letter in "XYZ":
                error = "I" * wire + letter + "I" * (code.wires - wire - 1)
                seen = np.zeros((count + 1, size), dtype=np.bool_)
                seen[turn] = [anticommute(error, s) for s in chosen]
                chances.append(each)
                flips.append([*seen.ravel(), *(anticommute(error, s) for s in logical)])
        for place in range(size if turn < count else 0):
            seen = np.zeros((count + 1, size), dtype=np.bool_)
            seen[turn : turn + 2, place] = True
            chances.append(measurement)
            flips.append([*seen.ravel(), *(False for _ in logical)])
    masks = [sum(1 << k for k, row in enumerate(flips) if row[column]) for column in range(len(flips[0]))]
    split = size * (count + 1)
    return ErrorModel.from_masks(chances, masks[:split], masks[split:], [size] * (count + 1))


def read_model(dem: Any) -> ErrorModel:
    """An error model from Stim's detector error model, from its text, or as it is.

    Its rounds are not known: all detectors count as one.

    Raises:
        TypeError: for anything else.
        ValueError: for a line that is none of a detector error model.

    Example:
        >>> read_model("error(0.1) D0 D1 L0").probabilities
        array([0.1])
    """
    if isinstance(dem, ErrorModel):
        return dem
    if hasattr(dem, "flattened"):
        found = list(faults_of(dem))
        reach = [(fault.detectors, fault.observables) for fault in found]
        return _model([fault.probability for fault in found], reach, (dem.num_detectors, dem.num_observables))
    if not isinstance(dem, str):
        raise TypeError(
            f"dem must be an ErrorModel, a stim.DetectorErrorModel or its text. Got {type(dem).__name__}. "
            "Take circuit.detector_error_model()."
        )
    chances: list[float] = []
    faults: list[tuple[set[int], set[int]]] = []
    sizes = {"D": 0, "L": 0}
    for line in str(dem).splitlines():
        word = re.match(r"\s*(?:(error)(?:\[[^]]*\])?\(([^)]+)\)|detector|logical_observable|#|$)", line)
        if word is None:
            raise ValueError(f"dem must be the text of a flattened detector error model. Got the line {line!r}.")
        targets = [(kind, int(number)) for kind, number in re.findall(r"\b([DL])(\d+)\b", line.partition("#")[0])]
        for kind, number in targets:
            sizes[kind] = max(sizes[kind], number + 1)
        if word.group(1):
            fault: dict[str, set[int]] = {"D": set(), "L": set()}
            for kind, number in targets:
                fault[kind] ^= {number}
            chances.append(float(word.group(2)))
            faults.append((fault["D"], fault["L"]))
    return _model(chances, faults, (sizes["D"], sizes["L"]))


def _model(
    chances: Sequence[float], reach: Sequence[tuple[Collection[int], Collection[int]]], sizes: tuple[int, int]
) -> ErrorModel:
    """A model of faults by the numbers of detectors and of observables that each flips."""
    detectors, observables = (
        [sum(1 << f for f, flips in enumerate(reach) if n in flips[kind]) for n in range(sizes[kind])]
        for kind in (0, 1)
    )
    return ErrorModel.from_masks(chances, detectors, observables, [sizes[0]])
