"""A table of all small sets of faults, which is searched further where a shot needs more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.algorithms.correction.decoders import Whole
from varq.algorithms.correction.error_models import Bits, checked, merged

__all__ = ["FewestFaults"]

MOST_BITS = 62  # detectors and observables that fit a 64-bit key
MOST_SETS = 20_000_000

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class FewestFaults:
    """The most probable observables among all sets of at most `faults` faults that fire the detectors seen.

    A pattern of detectors that takes more is looked up after taking one fault away, or two; one that takes more still
    is answered with no flip.  Where a `Lookup` table is too large, this comes next for small codes: belief propagation
    is misled by their short cycles.

    Args:
        faults: in a set of the table, at most 3; half of the distance of a code is corrected, so that 2 do for distance
            3, with what is probable beyond.

    Example:
        >>> FewestFaults().faults
        2
    """

    faults: int = 2

    kind: ClassVar[str] = "decoder:fewest-faults"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", checks.integer("faults", self.faults, minimum=1, maximum=3))

    @staticmethod
    def fits(detectors: int, observables: int) -> bool:
        """Whether keys have enough bits for so many."""
        return detectors + observables <= MOST_BITS

    def from_dem(self, dem: Any) -> Whole:
        """The decoder for a `stim.DetectorErrorModel`.

        Raises:
            ValueError: if it has too many detectors, or too many sets of faults.
        """
        detectors, observables = checked(dem).num_detectors, dem.num_observables
        if not self.fits(detectors, observables):
            raise ValueError(
                f"FewestFaults has keys of at most {MOST_BITS} detectors and observables. "
                f"Got {detectors} and {observables}. Take fewer rounds, or a window: Window(FewestFaults(), 2, 1)."
            )
        table = _Table(dem, self.faults)
        places = np.uint64(1) << np.arange(detectors, dtype=np.uint64)
        bits = np.arange(observables, dtype=np.uint64)

        def decode(fired: Bits) -> Bits:
            keys, of = np.unique((fired * places).sum(axis=1, dtype=np.uint64), return_inverse=True)
            found = table.found(keys)[of.ravel()]
            return np.asarray((found[:, None] >> bits & np.uint64(1)).astype(np.bool_))

        return Whole(decode, dem)


class _Table:
    """Sets of faults by the detectors that they fire, each with its odds against no fault at all."""

    def __init__(self, dem: Any, most: int) -> None:
        self._observables = dem.num_observables
        single, odds = self._singles(dem)
        self._single, self._odds = single, odds
        keys, weights = [np.zeros(1, dtype=np.uint64)], [np.ones(1)]
        last: NDArray[np.int64] = np.full(1, -1, dtype=np.int64)
        for _ in range(most):
            # Each set grows by a fault of a higher number than those in it: none comes twice.
            more = len(single) - 1 - last
            if int(more.sum()) > MOST_SETS:
                raise ValueError(
                    f"FewestFaults has at most {MOST_SETS:,} sets of faults. Got {int(more.sum()):,}. Set faults lower."
                )
            parents = np.repeat(np.arange(len(last)), more)
            ends = np.cumsum(more)
            added = np.arange(len(parents)) - np.repeat(ends - more, more) + np.repeat(last + 1, more)
            keys.append(keys[-1][parents] ^ single[added])
            weights.append(weights[-1][parents] * odds[added])
            last = np.asarray(added, dtype=np.int64)
        self._pairs = (keys[2], weights[2]) if most > 1 else _paired(single, odds)
        self._keys, self._best, self._weights = self._settled(np.concatenate(keys), np.concatenate(weights))

    def _singles(self, dem: Any) -> tuple[Keys, NDArray[np.float64]]:
        """Keys and odds of single faults; detectors stand above observables in a key."""
        found: list[tuple[int, float]] = []
        for (fired, flipped), probability in merged(dem).items():
            key = sum(1 << (d + self._observables) for d in fired) + sum(1 << o for o in flipped)
            found.append((key, probability / max(1 - probability, 1e-300)))
        return np.array([key for key, _ in found], dtype=np.uint64), np.array([o for _, o in found])

    def _settled(self, keys: Keys, weights: NDArray[np.float64]) -> tuple[Keys, Keys, NDArray[np.float64]]:
        """For each pattern of detectors, sorted, the observables of the largest weight, and that weight."""
        keys, of = np.unique(keys, return_inverse=True)
        weights = np.asarray(np.bincount(of.ravel(), weights=weights), dtype=np.float64)
        patterns = keys >> np.uint64(self._observables)
        order = np.lexsort((-weights, patterns))
        patterns, keys, weights = patterns[order], keys[order], weights[order]
        first = np.flatnonzero(np.append(True, patterns[1:] != patterns[:-1]))
        low = (np.uint64(1) << np.uint64(self._observables)) - np.uint64(1)
        return patterns[first], keys[first] & low, weights[first]

    def found(self, patterns: Keys) -> Keys:
        """The observables of each pattern of detectors."""
        where = np.minimum(np.searchsorted(self._keys, patterns), len(self._keys) - 1)
        known = self._keys[where] == patterns
        told = np.where(known, self._best[where], np.uint64(0))
        for k in np.flatnonzero(~known):
            told[k] = self._searched(patterns[k])
        return np.asarray(told)

    def _searched(self, pattern: np.uint64) -> np.uint64:
        shift = np.uint64(self._observables)
        for keys, odds in ((self._single, self._odds), self._pairs):
            left = pattern ^ (keys >> shift)
            where = np.minimum(np.searchsorted(self._keys, left), len(self._keys) - 1)
            hits = np.flatnonzero(self._keys[where] == left)
            if len(hits):
                flips = (keys[hits] & ((np.uint64(1) << shift) - np.uint64(1))) ^ self._best[where[hits]]
                kinds, of = np.unique(flips, return_inverse=True)
                total = np.bincount(of.ravel(), weights=odds[hits] * self._weights[where[hits]])
                return np.uint64(kinds[int(total.argmax())])
        return np.uint64(0)


def _paired(keys: Keys, odds: NDArray[np.float64]) -> tuple[Keys, NDArray[np.float64]]:
    first, second = np.triu_indices(len(keys), 1)
    return keys[first] ^ keys[second], odds[first] * odds[second]
