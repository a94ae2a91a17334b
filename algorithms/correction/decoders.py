"""Decoders: which observables were flipped, given the detectors that fired; for many shots, or round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from varq import checks, names
from varq.algorithms.correction.error_models import Bits, checked, faults, logarithm, merged, rounds_of
from varq.algorithms.correction.packages import pymatching

__all__ = ["Decoder", "Decoding", "Exact", "Matching", "Whole", "as_decoder", "error_model", "fired", "law_of"]

CORRELATED = 5  # distance from which matching takes correlations into account by default
LARGEST = 22  # detectors and observables together of an exact table


class Decoding(Protocol):
    """A decoder at work on one detector error model.

    Shots are decoded at once by `decode_batch`, or a single one round by round: `push` each round's detectors, ask for
    `corrections` at any time, `reset` before the next shot.
    """

    def decode_batch(self, detectors: Any) -> Bits:
        """The observables that were flipped.

        Args:
            detectors: which detectors fired, booleans, shape (shots, detectors).

        Returns:
            Booleans, shape (shots, observables).
        """

    def push(self, round: Any) -> None:
        """Take in the detectors of the next round, booleans in the order of their numbers."""

    def corrections(self) -> Bits:
        """The observables that were flipped, as far as is known by now, shape (observables,)."""

    def reset(self) -> None:
        """Forget the rounds that were pushed."""


@runtime_checkable
class Decoder(Protocol):
    """A spec of a decoder: what it does with a detector error model.

    Where it has an attribute `graphlike` that is true, it needs models whose faults are decomposed into parts of at
    most two detectors.
    """

    def from_dem(self, dem: Any) -> Decoding:
        """The decoder for a `stim.DetectorErrorModel`."""


def as_decoder(given: Any) -> Any:
    """A decoder's spec, or the one of that name with its defaults.

    Raises:
        TypeError: if `given` has no `from_dem`.
        ValueError: for an unknown name; lists the close ones.

    Example:
        >>> as_decoder("exact")
        Exact(most=22)
    """
    if isinstance(given, str):
        return names.find("decoder", given)()
    if not isinstance(given, Decoder) or isinstance(given, type):
        raise TypeError(
            f"decoder must have from_dem(dem). Got {given!r}. Give one of {names.names('decoder')}, or Matching(), ..."
        )
    return given


def error_model(circuit: Any, decoder: Any) -> Any:
    """The detector error model of a circuit, in the form that a decoder needs.

    Raises:
        ValueError: if the decoder needs faults of at most two detectors, and the code has others.
    """
    graphlike = bool(getattr(decoder, "graphlike", False))
    try:
        return circuit.detector_error_model(decompose_errors=graphlike, approximate_disjoint_errors=True)
    except ValueError as error:
        if not graphlike or "decompose" not in str(error):
            raise
        raise ValueError(
            f"{decoder!r} does not fit this circuit: each fault must come apart into faults of at most two detectors. "
            "Got a code whose stabilizers overlap more. Use Exact(), FewestFaults(), BPOSD(), or a Window around one."
        ) from error


def fired(name: str, value: Any, shape: Sequence[int | None], hint: str = "") -> Bits:
    """`value` as booleans of a shape."""
    out = np.asarray(value)
    checks.shape(name, out, shape, hint)
    return out.astype(np.bool_)


class Whole:
    """A decoder that waits for all rounds and decodes them together.

    Args:
        decode: the observables of many shots, from their detectors.
        dem: the detector error model, for its rounds.
    """

    def __init__(self, decode: Callable[[Bits], Bits], dem: Any) -> None:
        self._decode = decode
        self._rounds = rounds_of(dem)
        self.detectors, self.observables = int(dem.num_detectors), int(dem.num_observables)
        self.reset()

    def decode_batch(self, detectors: Any) -> Bits:
        """The observables that were flipped; see `Decoding`.

        Raises:
            ValueError: for another number of detectors than the model has.
        """
        hint = "The decoder was made for another circuit."
        return self._decode(fired("detectors", detectors, (None, self.detectors), hint))

    def push(self, round: Any) -> None:
        """Take in the next round; see `Decoding`.

        Raises:
            ValueError: for another number of detectors than the round has, or after the last round.
        """
        if self._seen == len(self._rounds):
            raise ValueError(f"All {self._seen} rounds were pushed. Call reset() before the next shot.")
        where = self._rounds[self._seen]
        self._held[where] = fired("round", round, (len(where),), f"It is round {self._seen}.")
        self._seen += 1

    def corrections(self) -> Bits:
        """The observables that were flipped, if nothing fires in the rounds to come."""
        return np.asarray(self._decode(self._held[None])[0])

    def reset(self) -> None:
        """Forget the rounds that were pushed."""
        self._held: Bits = np.zeros(self.detectors, dtype=np.bool_)
        self._seen = 0


@dataclass(frozen=True)
class Matching:
    """Minimum-weight perfect matching by PyMatching (Higgott and Gidney, Quantum 9, 1600 (2025)).

    Args:
        correlated: whether a second pass takes into account that the parts of one fault come together; None for codes
            of distance 5 and more, where it helps.  (At distance 3 it was seen to change nothing.)

    Example:
        >>> Matching(correlated=False).graphlike
        True
    """

    correlated: bool | None = None

    kind: ClassVar[str] = "decoder:matching"
    version: ClassVar[int] = 1
    graphlike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.correlated is not None:
            checks.boolean("correlated", self.correlated)

    def settled(self, distance: int) -> Matching:
        """With the choice made for a code's distance."""
        return self if self.correlated is not None else Matching(distance >= CORRELATED)

    def from_dem(self, dem: Any) -> Whole:
        """The decoder for a `stim.DetectorErrorModel`.

        Raises:
            ModuleNotFoundError: without PyMatching.
            ValueError: if a fault has a part of more than two detectors.
        """
        _check_graphlike(checked(dem))
        chosen = self if self.correlated is not None else self.settled(len(dem.shortest_graphlike_error()))
        correlated = bool(chosen.correlated)
        observables = dem.num_observables  # counted anew each time that it is asked for
        graph = pymatching().Matching.from_detector_error_model(dem, enable_correlations=correlated)

        def decode(detectors: Bits) -> Bits:
            found = graph.decode_batch(detectors, enable_correlations=correlated)
            return np.asarray(found, dtype=np.bool_).reshape(len(detectors), -1)[:, :observables]

        return Whole(decode, dem)


def _check_graphlike(dem: Any) -> None:
    for fault in faults(dem):
        for part in fault.parts:
            if len(part.detectors) > 2:
                raise ValueError(
                    f"Matching needs faults of at most two detectors. Got one of {list(part.detectors)}. Take "
                    "the model with decompose_errors=True; where that fails, use Exact(), FewestFaults() or BPOSD()."
                )


@dataclass(frozen=True)
class Exact:
    """The most probable observables for each possible set of detectors, in a table: no decoder errs less often.

    The law of detectors and observables, of which there are n together, is a product of laws of independent faults in
    its Walsh-Hadamard transform; n 2^n operations give the whole table.

    Args:
        most: the largest n, at most 26.

    Example:
        >>> Exact(most=16)
        Exact(most=16)
    """

    most: int = LARGEST

    kind: ClassVar[str] = "decoder:exact"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", checks.integer("most", self.most, minimum=1, maximum=26))

    def from_dem(self, dem: Any) -> Whole:
        """The decoder for a `stim.DetectorErrorModel`.

        Raises:
            ValueError: if it has too many detectors.
        """
        detectors, observables = checked(dem).num_detectors, dem.num_observables
        if detectors + observables > self.most:
            raise ValueError(
                f"An exact table has at most {self.most} detectors and observables. Got {detectors} and {observables}. "
                "Take fewer rounds, Window(Exact(), width=2, commit=1), or another decoder."
            )
        law = law_of(dem)
        best = law.argmax(axis=0)
        places, bits = 1 << np.arange(detectors), np.arange(observables)

        def decode(fired: Bits) -> Bits:
            return np.asarray((best[fired @ places][:, None] >> bits & 1).astype(np.bool_))

        return Whole(decode, dem)


def law_of(dem: Any) -> NDArray[np.float64]:
    """The probability of each set of observables and detectors that a detector error model gives.

    Args:
        dem: a `stim.DetectorErrorModel`.

    Returns:
        Probabilities, shape (2^observables, 2^detectors); bit k of an index is observable or detector k.
    """
    detectors = dem.num_detectors
    size = 1 << (detectors + dem.num_observables)
    weights, negative = np.zeros(size), np.zeros(size)
    for (fired, flipped), probability in merged(dem).items():
        place = sum(1 << d for d in fired) + sum(1 << (detectors + o) for o in flipped)
        weights[place] += logarithm(probability)
        negative[place] += probability > 0.5
    for values in (weights, negative):
        total = values.sum()
        _transform(values)
        np.subtract(total, values, out=values)
        values *= 0.5
    np.exp(weights, out=weights)
    weights *= 1 - 2 * (np.rint(negative) % 2)
    _transform(weights)
    return np.asarray(weights.reshape(-1, 1 << detectors) / size)


def _transform(values: NDArray[np.float64]) -> None:
    """The Walsh-Hadamard transform, in place."""
    step = 1
    while step < len(values):
        pairs = values.reshape(-1, 2, step)
        first = pairs[:, 0].copy()
        pairs[:, 0] += pairs[:, 1]
        np.subtract(first, pairs[:, 1], out=pairs[:, 1])
        step *= 2
