"""Circuits of jobs as values: whom each serves, and what came back of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.devices.credentials import clean
from varq.store.job_records import JobState, amount, count, identifier, json_text, plain

__all__ = ["CircuitRow", "Returned", "Served", "Use"]

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Use(NamedTuple):
    """Whom a circuit serves: which circuit (`item`) of the request in which role of which step of a run or batch."""

    owner: str
    step: int
    role: str
    item: int


@dataclass(frozen=True)
class CircuitRow:
    """One circuit of a job.

    Args:
        job: the job's id.
        position: its place in the job, from 0.
        digest: SHA-256 of what is run, as `varq.devices.service.Circuit.digest`.
        shots: how many times it runs.
        seed: of its random numbers.
        uses: whom it serves, at least one; a circuit that several asked for is sent once. Kept sorted.
        wires: how many were measured; None before the result is there.
        bits: SHA-256 under which the result is kept; None before. `Jobs.bits` gives the result itself.

    Raises:
        TypeError: for a field of the wrong type.
        ValueError: for a negative number, a bad id or digest, no use, or one use twice.

    Example:
        >>> CircuitRow("varq-0001", 0, "0" * 64, 100, 7, [("run", 3, "step", 0)]).uses
        (Use(owner='run', step=3, role='step', item=0),)
    """

    job: str
    position: int
    digest: str
    shots: int
    seed: int
    uses: tuple[Use, ...]
    wires: int | None = None
    bits: str | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "job", identifier("job", self.job))
        for name, least in (("position", 0), ("shots", 1), ("seed", 0)):
            put(self, name, count(name, getattr(self, name), least))
        put(self, "digest", _sha("digest", self.digest))
        if self.bits is not None:
            put(self, "bits", _sha("bits", self.bits))
        if self.wires is not None:
            put(self, "wires", count("wires", self.wires))
        put(self, "uses", _uses(self.uses))


def _sha(name: str, value: Any) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return str(value)
    raise ValueError(f"{name} must be a SHA-256 in 64 hexadecimal digits. Got {value!r}.")


def _uses(uses: Any) -> tuple[Use, ...]:
    found = tuple(_use(use) for use in checks.instance("uses", uses, (tuple, list)))
    if not found:
        raise ValueError("uses must name at least one request that the circuit serves. Got none.")
    if len(found) == 1:
        return found
    if len(set(found)) < len(found):
        raise ValueError(f"uses must name each request once. Got {list(map(tuple, found))}.")
    return tuple(sorted(found))


def _use(use: Any) -> Use:
    if not isinstance(use, tuple) or len(use) != 4:
        raise TypeError(f"uses must hold tuples of owner, step, role and item. Got {use!r}.")
    owner, step, role, item = use
    return Use(plain("owner", owner), count("step", step), plain("role", role), count("item", item))


@dataclass(frozen=True, eq=False)
class Returned:
    """What came back of a job.

    Args:
        job: the job's id.
        bits: of each circuit in order, uint8 zeros and ones of shape (shots, wires).
        queued: seconds that it waited; None where that is not told.
        seconds: that the quantum processor was busy; None where that is not told.
        cost: what the vendor charged; None where that is not told.
        details: what else the vendor says, JSON values; what looks like a credential is not kept.

    Raises:
        TypeError: for arrays of another type, or details that are no JSON data.
        ValueError: for arrays of another shape or with other numbers, negative numbers.
    """

    job: str
    bits: tuple[NDArray[np.uint8], ...]
    queued: float | None = None
    seconds: float | None = None
    cost: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "job", identifier("job", self.job))
        put(self, "bits", tuple(checks.instance("bits", self.bits, (tuple, list))))
        for position, array in enumerate(self.bits):
            _check_bits(f"bits[{position}]", array)
        for name in ("queued", "seconds", "cost"):
            if (value := getattr(self, name)) is not None:
                put(self, name, amount(name, value))
        put(self, "details", clean(checks.instance("details", self.details, dict)))
        json_text("details", self.details)


def _check_bits(name: str, array: Any) -> None:
    checks.instance(name, array, np.ndarray)
    if array.dtype != np.uint8:
        raise TypeError(f"{name} must be of dtype uint8. Got {array.dtype}.")
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (shots, wires). Got shape {array.shape}.")
    if array.size and array.max() > 1:
        raise ValueError(f"{name} must hold zeros and ones. Got {int(array.max())}.")


class Served(NamedTuple):
    """A circuit that serves an owner, and how its job stands."""

    use: Use
    job: str
    position: int
    state: JobState
