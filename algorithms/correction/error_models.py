"""Detector error models as data: independent faults, the detectors and observables each flips, and their rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.algorithms.correction.packages import stim

__all__ = ["Bits", "Fault", "Part", "checked", "faults", "merged", "model", "rounds_of"]

Bits = NDArray[np.bool_]


@dataclass(frozen=True, order=True)
class Part:
    """What a fault, or one of the parts that it was decomposed into, flips."""

    detectors: tuple[int, ...]
    observables: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """An independent fault.

    Args:
        probability: of it.
        parts: what it flips; several where it was decomposed.
    """

    probability: float
    parts: tuple[Part, ...]

    @property
    def detectors(self) -> tuple[int, ...]:
        """All detectors that it flips."""
        return _odd(d for part in self.parts for d in part.detectors)

    @property
    def observables(self) -> tuple[int, ...]:
        """All observables that it flips."""
        return _odd(o for part in self.parts for o in part.observables)


def _odd(numbers: Iterable[int]) -> tuple[int, ...]:
    """Those that occur an odd number of times, sorted."""
    found: set[int] = set()
    for number in numbers:
        found ^= {number}
    return tuple(sorted(found))


def checked(dem: Any) -> Any:
    """`dem` if it is a `stim.DetectorErrorModel`.

    Raises:
        ModuleNotFoundError: without Stim.
        TypeError: if it is something else.
    """
    if not isinstance(dem, stim().DetectorErrorModel):
        raise TypeError(
            f"dem must be a stim.DetectorErrorModel. Got {type(dem).__name__}. "
            "A circuit gives one: circuit.detector_error_model(decompose_errors=True)."
        )
    return dem


def faults(dem: Any) -> Iterator[Fault]:
    """The faults of a detector error model, loops written out; those of probability 0 are left out."""
    for line in checked(dem).flattened():
        if line.type != "error":
            continue
        (probability,) = line.args_copy()
        if not probability:
            continue
        parts = []
        for group in line.target_groups():
            detectors = _odd(t.val for t in group if t.is_relative_detector_id())
            parts.append(Part(detectors, _odd(t.val for t in group if t.is_logical_observable_id())))
        yield Fault(probability, tuple(parts))


def merged(dem: Any) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """The probability that an odd number of faults with the same detectors and observables happens, by these."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for fault in faults(dem):
        key = (fault.detectors, fault.observables)
        before = found.get(key, 0.0)
        found[key] = before + fault.probability - 2 * before * fault.probability
    return found


def model(found: Iterable[Fault], detectors: int, observables: int) -> Any:
    """A `stim.DetectorErrorModel` of faults."""
    kit = stim()
    made = kit.DetectorErrorModel()
    for fault in found:
        targets: list[Any] = []
        for part in fault.parts:
            if targets:
                targets.append(kit.target_separator())
            targets += [kit.target_relative_detector_id(d) for d in part.detectors]
            targets += [kit.target_logical_observable_id(o) for o in part.observables]
        made.append("error", fault.probability, targets)
    if detectors:
        made.append("detector", [], [kit.target_relative_detector_id(detectors - 1)])
    if observables:
        made.append("logical_observable", [], [kit.target_logical_observable_id(observables - 1)])
    return made


def rounds_of(dem: Any) -> list[NDArray[np.int64]]:
    """The detectors of each round, by their last coordinate, in order; all in one where one has no coordinates."""
    places: dict[int, Sequence[float]] = checked(dem).get_detector_coordinates()
    if not all(places.values()):
        return [np.arange(dem.num_detectors)]
    times = np.array([places[d][-1] for d in range(dem.num_detectors)])
    return [np.flatnonzero(times == when) for when in np.unique(times)] or [np.arange(0)]
