"""Tickets whose circuits run on several devices: who has which part, and who stands in for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from varq.devices.service import Bits, Circuit
from varq.devices.several import Spread
from varq.protocol import Prepared, Reply
from varq.session.sharing import shared_out
from varq.session.tickets import AT, Place, Ticket

__all__ = ["AnyTicket", "Share", "SharedTicket", "line_of", "placed", "role_of", "shares_of"]

_FOR = "<"  # between a device and the one in whose place it stands


def role_of(role: str, line: Sequence[int]) -> str:
    """The role under which the journal knows what a device has of a request.

    Args:
        role: of the request.
        line: the device's number, and the numbers of those in whose place it stands, the last one first.

    Example:
        >>> role_of("step", (0,)), role_of("step", (2, 0))
        ('step @0', 'step @2<0')
    """
    return f"{role}{AT}{_FOR.join(map(str, line))}"


def line_of(text: str, role: str) -> tuple[int, ...]:
    """The devices that a role of the journal names, as `role_of` wrote them; none where it is another role.

    Example:
        >>> line_of("final @2<0 x1.5", "final"), line_of("step", "step")
        ((2, 0), ())
    """
    name, _, line = text.partition(" x")[0].partition(AT)
    return tuple(map(int, line.split(_FOR))) if name == role and line else ()


@dataclass(eq=False)
class Share:
    """What one device has of a request.

    Args:
        line: its number, and the numbers of those in whose place it stands.
        ticket: of its circuits: those of the request that it was given first; or, in the place of another device, the
            parts of that one's ticket, of which it has those in `serves`.
        serves: which circuits of its ticket it has.
    """

    line: tuple[int, ...]
    ticket: Ticket
    serves: frozenset[int]
    heirs: list[Share] = field(default_factory=list)
    over: bool = field(default=False, init=False)  # its device was lost, and nothing more is asked of it

    def __post_init__(self) -> None:
        self.settle()

    @property
    def member(self) -> int:
        """The number of its device."""
        return self.line[0]

    def settle(self) -> None:
        """Have its ticket wait for what nobody else has."""
        ranges, heirs = self.ticket.ranges, {part for heir in self.heirs for part in heir.serves}
        others = {part for k, some in enumerate(ranges) if k not in self.serves for part in some}
        self.ticket.elsewhere = others | {part for part in heirs if self.ticket.bits[part] is None}

    @property
    def open(self) -> frozenset[int]:
        """The parts of its ticket that are still its own to bring."""
        ticket = self.ticket
        return frozenset(k for k, bits in enumerate(ticket.bits) if bits is None and k not in ticket.elsewhere)

    def begun(self, part: int) -> bool:
        """Whether anything of a part of its ticket is there."""
        return self.ticket.bits[part] is not None or any(part in heir.serves for heir in self.heirs)

    def part(self, number: int) -> list[tuple[int, Bits]] | None:
        """The bits of a part of its ticket, with the device that each came from; None before all are there."""
        own = self.ticket.bits[number]
        if own is not None:
            return [(self.member, own)]
        heir = next((heir for heir in self.heirs if number in heir.serves), None)
        return None if heir is None else heir.circuit(number)

    def circuit(self, number: int) -> list[tuple[int, Bits]] | None:
        """The same of a circuit of its ticket."""
        out: list[tuple[int, Bits]] = []
        for part in self.ticket.ranges[number]:
            found = self.part(part)
            if found is None:
                return None
            out += found
        return out

    def walk(self) -> Iterator[Share]:
        """Itself, and those that stand in its place."""
        yield self
        for heir in list(self.heirs):
            yield from heir.walk()


@dataclass(eq=False)
class SharedTicket:
    """Circuits of a request that wait for their bits on several devices; has what `Ticket` has.

    Args:
        place: owner, step and role.
        circuits: of the request.
        layout: for each circuit its places: the share that has it, and the circuit's number there.
        shares: one for each device that has any.
    """

    place: Place
    circuits: tuple[Circuit, ...]
    layout: list[list[tuple[Share, int]]]
    shares: list[Share]
    error: Exception | None = field(default=None, init=False)
    prepared: float = field(default=0.0, init=False)
    _found: list[list[tuple[int, Bits]]] | None = field(default=None, init=False)

    def walk(self) -> Iterator[Share]:
        """All shares, those in the place of others included."""
        for share in self.shares:
            yield from share.walk()

    @property
    def waiting(self) -> int:
        """How many parts have no bits yet."""
        return sum(share.ticket.waiting for share in self.walk())

    @property
    def finished(self) -> bool:
        """Whether all bits are there, or none will come any more."""
        return self.error is not None or self._all() is not None

    @property
    def interrupted(self) -> bool:
        """Whether jobs of it were left without a look at what became of them."""
        return any(share.ticket.interrupted for share in self.walk())

    def outcome(self) -> list[Bits]:
        """The bits of each circuit, in an order that does not depend on which device brought them.

        Raises:
            Exception: what stood in the way.
        """
        return [_one([bits for _, bits in found]) for found in self._given()]

    def measured(self) -> list[dict[int, Bits]]:
        """The bits of each circuit by device.

        Raises:
            Exception: what stood in the way.
        """
        out = []
        for found in self._given():
            devices = sorted({device for device, _ in found})
            out.append({device: _one([bits for d, bits in found if d == device]) for device in devices})
        return out

    def read(self, prepared: Prepared) -> Reply:
        """The reply that its bits give: weighed by device, where that is possible."""
        return prepared.decode(self.outcome()) if prepared.weigh is None else prepared.weigh(self.measured())

    def _given(self) -> list[list[tuple[int, Bits]]]:
        if self.error is not None:
            raise self.error
        found = self._all()
        assert found is not None
        return found

    def _all(self) -> list[list[tuple[int, Bits]]] | None:
        """The bits of each circuit in parts, with the device that each came from; None before all are there."""
        if self._found is None:
            out = []
            for places in self.layout:
                parts = [share.circuit(number) for share, number in places]
                if None in parts:
                    return None
                out.append([one for some in parts if some is not None for one in some])
            self._found = out
        return self._found


AnyTicket: TypeAlias = Ticket | SharedTicket
"""Of one device, or of several."""


def _one(parts: Sequence[Bits]) -> Bits:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def placed(spread: Spread, circuits: Sequence[Circuit]) -> tuple[dict[int, list[Circuit]], list[list[tuple[int, int]]]]:
    """The circuits of each device; and for each circuit of the request the devices that have it, with its number there.

    Args:
        spread: the devices.
        circuits: of the request.
    """
    lists: dict[int, list[Circuit]] = {}
    layout = []
    for some in shared_out(circuits, spread.parts, spread.by):
        places = []
        for device, circuit in sorted(some.items()):
            mine = lists.setdefault(device, [])
            places.append((device, len(mine)))
            mine.append(circuit)
        layout.append(places)
    return lists, layout


def shares_of(spread: Spread, circuits: Sequence[Circuit]) -> list[list[Circuit]]:
    """What each device of a spread runs of a request."""
    lists, _ = placed(spread, circuits)
    return [lists.get(number, []) for number in range(len(spread.devices))]
