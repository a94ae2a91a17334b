"""Circuits that wait for their bits, and what part of the budget is set aside for each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TypeAlias

from varq.devices.service import Bits, Circuit, Limits
from varq.protocol import Prepared, Reply
from varq.session.budget import NOTHING, Use
from varq.session.parts import joined, parted
from varq.session.queue import Work

__all__ = ["AT", "Item", "Place", "Ticket", "distinct"]

AT = " @"  # in a role: what follows names the device of a spread

Place: TypeAlias = tuple[str, int, str]
"""Owner, step and role, which name a request in the journal."""


@dataclass(eq=False)
class Ticket:
    """Circuits that wait for their bits.

    Args:
        place: owner, step and role.
        circuits: of the request.
        limits: of the device; a circuit of more shots is sent in parts.
        precision: by how much the shots were multiplied.
        priority: higher goes first.
        deadline: seconds since 1970 after which nothing of it is sent any more.
        last: whether the reserve of the budget may be used.
    """

    place: Place
    circuits: tuple[Circuit, ...]
    limits: Limits
    precision: float = 1.0
    priority: int = 0
    deadline: float | None = None
    last: bool = False
    parts: tuple[Circuit, ...] = field(init=False)
    elsewhere: set[int] = field(default_factory=set, init=False)  # parts that another device brings
    bits: list[Bits | None] = field(init=False)
    error: Exception | None = field(default=None, init=False)
    work: Work[Item] | None = field(default=None, init=False)
    interrupted: bool = field(default=False, init=False)
    prepared: float = field(default=0.0, init=False)
    called_off: bool = field(default=False, init=False)  # its owner has ended, and wants none of it any more
    _counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        parts = [parted(circuit, self.limits) for circuit in self.circuits]
        self._counts = [len(some) for some in parts]
        self.parts = tuple(part for some in parts for part in some)
        self.bits = [None] * len(self.parts)

    @property
    def role(self) -> str:
        """As the journal knows it: another precision asks for other circuits."""
        return named(self.place[2], self.precision)

    @property
    def finished(self) -> bool:
        """Whether all bits are there, or none will come any more."""
        return self.error is not None or not self.waiting

    def wanted(self, now: float) -> bool:
        """Whether anybody waits for it, at a moment in seconds since 1970."""
        return not self.called_off and (self.deadline is None or now <= self.deadline)

    @property
    def waiting(self) -> int:
        """How many parts have no bits yet."""
        return sum(bits is None and k not in self.elsewhere for k, bits in enumerate(list(self.bits)))

    @property
    def ranges(self) -> list[range]:
        """The parts of each circuit."""
        ends = list(accumulate(self._counts, initial=0))
        return [range(begin, end) for begin, end in pairwise(ends)]

    def missing(self) -> list[Item]:
        """What is to be sent; equal circuits once."""
        found: dict[Hashable, list[int]] = {}
        for k, part in enumerate(self.parts):
            if self.bits[k] is None and k not in self.elsewhere:
                found.setdefault(part.twin, []).append(k)
        return [Item(self, tuple(places)) for places in found.values()]

    def outcome(self) -> list[Bits]:
        """The bits of each circuit.

        Raises:
            Exception: what stood in the way.
        """
        if self.error is not None:
            raise self.error
        return joined([b for b in self.bits if b is not None], self._counts)

    def read(self, prepared: Prepared) -> Reply:
        """The reply that its bits give.

        Raises:
            Exception: what stood in the way.
        """
        return prepared.decode(self.outcome())


@dataclass(eq=False)
class Item:
    """One circuit of a ticket, and the places where its bits are wanted."""

    ticket: Ticket
    places: tuple[int, ...]
    share: Use = NOTHING  # of the budget, set aside for it

    @property
    def circuit(self) -> Circuit:
        """What is run."""
        return self.ticket.parts[self.places[0]]


def distinct(circuits: Sequence[Circuit], limits: Limits) -> list[Circuit]:
    """What is sent of circuits: equal ones once, those of too many shots in parts."""
    return [item.circuit for item in Ticket(("", 0, ""), tuple(circuits), limits).missing()]


def named(role: str, precision: float) -> str:
    """A role with the precision of its circuits, from which `precisions` reads it again."""
    return role if precision == 1.0 else f"{role} x{precision!r}"


def precisions(role: str, roles: Sequence[str]) -> list[float]:
    """The precisions that stand in those of `roles` that are `role`, on one device of a spread or another."""
    out = []
    for text in roles:
        name, _, factor = text.partition(" x")
        if role in (name, name.partition(AT)[0]):
            out.append(float(factor) if factor else 1.0)
    return out
