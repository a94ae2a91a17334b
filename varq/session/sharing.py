"""Which device of a spread runs which circuit, or which part of its shots."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from varq.devices.service import Circuit
from varq.estimation.weighing import LEAST_PART
from varq.session.parts import part

__all__ = ["UNEVEN", "Shared", "shared_out", "whole"]

UNEVEN = 1.25
"""Times its part of a request's shots that a device may take before circuits are split: a request then waits for its
busiest device at most that much longer than it has to."""

Shared: TypeAlias = list[dict[int, Circuit]]
"""For each circuit what each device runs of it, by the device's number."""


def shared_out(circuits: Sequence[Circuit], parts: Sequence[float], by: str = "auto") -> Shared:
    """The circuits of a request, shared out over devices.  The same request is always shared out the same way.

    Args:
        circuits: of the request.
        parts: of the shots that each device is to take; they add up to 1.
        by: "circuits": each runs whole on one device, balanced by shots. "shots": each is split over all devices, but
            for those that would leave a device fewer than `LEAST_PART` shots. "auto": circuits of one structure, which
            may be subtracted from one another, run whole on one device, if then no device has more than `UNEVEN` times
            its part; else as "shots".
    """
    if by == "circuits":
        return _each(circuits, whole(circuits, parts, lambda circuit: circuit.digest))
    places = whole(circuits, parts, lambda circuit: circuit.structure)
    if by == "auto" and _even(circuits, places, parts):
        return _each(circuits, places)
    return [
        {place: circuit} if circuit.shots * min(parts) < LEAST_PART else _split(circuit, parts)
        for circuit, place in zip(circuits, _of_small(circuits, parts, places), strict=True)
    ]


def whole(circuits: Sequence[Circuit], parts: Sequence[float], kind: Callable[[Circuit], Hashable]) -> list[int]:
    """A device for each circuit, the same for all of a kind; the kinds with most shots are placed first.

    Args:
        circuits: to be run.
        parts: of the shots that each device is to take.
        kind: which circuits stay together.

    Returns:
        The number of each circuit's device. Each kind goes where it is done first (R. L. Graham, SIAM J. Appl. Math.
        17, 416 (1969): the busiest of m equal devices has at most 4/3 - 1/(3m) times what it must).
    """
    loads: dict[Hashable, int] = {}
    for circuit in circuits:
        loads[kind(circuit)] = loads.get(kind(circuit), 0) + circuit.shots
    taken, places = [0.0] * len(parts), dict[Hashable, int]()
    for name, load in sorted(loads.items(), key=lambda entry: -entry[1]):  # stable: the first of equals goes first
        places[name] = min(range(len(parts)), key=lambda d: (taken[d] + load) / parts[d])
        taken[places[name]] += load
    return [places[kind(circuit)] for circuit in circuits]


def _each(circuits: Sequence[Circuit], places: Sequence[int]) -> Shared:
    return [{place: circuit} for circuit, place in zip(circuits, places, strict=True)]


def _even(circuits: Sequence[Circuit], places: Sequence[int], parts: Sequence[float]) -> bool:
    total = sum(circuit.shots for circuit in circuits)
    loads = [0] * len(parts)
    for circuit, place in zip(circuits, places, strict=True):
        loads[place] += circuit.shots
    return all(load <= UNEVEN * part * total for load, part in zip(loads, parts, strict=True))


def _of_small(circuits: Sequence[Circuit], parts: Sequence[float], places: Sequence[int]) -> list[int]:
    """Devices for the circuits that are too small to be split, balanced among themselves; of the others no matter."""
    small = [k for k, circuit in enumerate(circuits) if circuit.shots * min(parts) < LEAST_PART]
    out = list(places)
    for k, place in zip(small, whole([circuits[k] for k in small], parts, lambda c: c.structure), strict=True):
        out[k] = place
    return out


def _split(circuit: Circuit, parts: Sequence[float]) -> dict[int, Circuit]:
    """A circuit on all devices: the largest fractions of a shot are rounded up, the first of equal ones first."""
    wanted = [circuit.shots * share for share in parts]
    counts = [int(number) for number in wanted]
    for d in sorted(range(len(parts)), key=lambda d: counts[d] - wanted[d])[: circuit.shots - sum(counts)]:
        counts[d] += 1
    return {d: part(circuit, count, "device", d) for d, count in enumerate(counts)}
