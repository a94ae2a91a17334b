"""Decoders: which observables were flipped, given the detectors that fired; for many shots, or round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from varq import checks, names
from varq.algorithms.correction.error_models import Bits, checked, faults, rounds_of
from varq.algorithms.correction.packages import pymatching

__all__ = ["Decoder", "Decoding", "Matching", "Whole", "as_decoder", "error_model", "fired"]

CORRELATED = 5  # distance from which matching takes correlations into account by default


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
        >>> as_decoder("lookup")
        Lookup(most=22)
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
            "Got a code whose stabilizers overlap more. Use Lookup(), FewestFaults(), BPOSD(), or a Window around one."
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
                    "the model with decompose_errors=True; where that fails, use Lookup(), FewestFaults() or BPOSD()."
                )
