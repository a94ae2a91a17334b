"""Several devices that answer each request together, each with its own queue and jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import RLock
from typing import Any, TypeAlias

from varq.devices.faults import DeviceError
from varq.devices.service import Circuit
from varq.devices.several import Spread
from varq.session.budget import NOTHING, BudgetError, Use
from varq.session.dispatch import Dispatcher
from varq.session.job import Flight
from varq.session.outages import Roster, is_loss
from varq.session.shares import AnyTicket, Share, SharedTicket, line_of, placed, role_of, shares_of
from varq.session.sharing import whole
from varq.session.tickets import AT, Place, Ticket
from varq.session.turns import alone, in_turn
from varq.store.job_records import JobState
from varq.store.jobs import Jobs

__all__ = ["Fleet", "Sending"]


class Fleet:
    """The jobs of one session on the devices of a spread; has what `Dispatcher` has.

    A request is shared out in a way that follows from the request alone, whoever is there: what a device that is left
    out would have is given to others in its place.  So whatever an earlier process sent is found again by the place of
    its circuits, and not by what that process knew of the devices.

    Args:
        spread: the devices.
        members: the queue of each, of one account.
        log: the store's journal of jobs.
        say: is told what a person should know.
        note: writes down a kind of note and its body, for the ledger.
        clock: seconds.
    """

    def __init__(
        self,
        spread: Spread,
        members: Sequence[Dispatcher],
        log: Jobs,
        say: Callable[[str], None] = lambda text: None,
        note: Callable[[str, Mapping[str, Any]], None] = lambda kind, body: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = RLock()
        self._turning = RLock()  # of who has jobs out; taken before the other
        self.spread = spread
        self.members = tuple(members)
        self._log = log
        self._roster = Roster([member.service.name for member in members], say, note, clock)
        self._going: list[SharedTicket] = []

    # -- what a driver calls

    @property
    def paid(self) -> bool:
        """Whether jobs of any of them cost money or a share of a scarce machine."""
        return any(member.paid for member in self.members)

    def estimate(self, circuits: Sequence[Circuit]) -> Use:
        """What circuits will use up on all devices, as far as it is known."""
        total = NOTHING
        for member, mine in zip(self.members, shares_of(self.spread, circuits), strict=True):
            total = total + (member.estimate(mine) if mine else NOTHING)
        return total

    def precision(self, place: Place) -> float | None:
        """By how much the shots of a request were multiplied when it was sent already; None if it was not."""
        found = (member.precision(place) for member in self.members)
        return next((precision for precision in found if precision is not None), None)

    def add(
        self,
        place: Place,
        circuits: Sequence[Circuit],
        *,
        priority: int = 0,
        deadline: float | None = None,
        last: bool = False,
        precision: float = 1.0,
    ) -> SharedTicket | str:
        """Put circuits in the queues of the devices, as `Dispatcher.add` does.

        Returns:
            The ticket; or, where the budget does not allow all of it, why: nothing of it is sent then.

        Raises:
            ValueError: for a circuit that is too large for a device that has it.
            UncertainError: if it is not known whether an earlier process sent a part of it.
            LostError: if no device is left.
            DeviceError: if circuits cannot be translated, or a result that was sent for is gone.
        """
        lists, layout = placed(self.spread, circuits)
        shares: dict[int, Share] = {}
        for number, mine in sorted(lists.items()):
            where = (*place[:2], role_of(place[2], (number,)))
            limits = self.members[number].service.limits
            own = Ticket(where, tuple(mine), limits, precision, priority, deadline, last)
            shares[number] = Share((number,), own, frozenset(range(len(mine))))
        places = [[(shares[number], k) for number, k in some] for some in layout]
        ticket = SharedTicket(place, tuple(circuits), places, list(shares.values()))
        if not self._roster.live():
            self._roster.hope()
        self._recall(ticket)
        return self._enqueue(ticket) or ticket

    def again(self, ticket: AnyTicket) -> None:
        """Ask once more for a ticket whose jobs were interrupted: what the vendors have is fetched, the rest is sent.

        Raises:
            BudgetError: if the budget does not allow what is left.
            DeviceError: as `add`.
        """
        assert isinstance(ticket, SharedTicket)
        self._withdraw(ticket)
        for share in ticket.walk():
            self._take(share)
            share.ticket.interrupted = False
        refused = self._enqueue(ticket)
        if refused is not None:
            raise BudgetError(f"What is left of {ticket.place[0]} must fit into the session's budget: {refused}.")

    @in_turn
    def turn(self) -> bool:
        """Have all devices sent what goes next, then wait for each, and give out what came; whether there was anything.

        Those whose jobs run elsewhere are sent theirs first: they are at work while others compute here.  What a
        device has not finished that does not answer any more is given to the others, which are sent it the next time.
        """
        order = sorted(range(len(self.members)), key=lambda k: not self.members[k].service.paid)
        flights: list[tuple[int, Flight]] = []
        try:
            for number in order:
                flights.append((number, self.members[number].launch(once=self._roster.doubted(number))))
            busy = any(flight.busy for _, flight in flights)
            while flights:
                number, flight = flights.pop(0)
                self.members[number].land(flight)
                if self._look(number, flight):
                    self.members[number].tidy()
        except BaseException:
            for number, flight in flights:
                self.members[number].forsake(flight)
            raise
        return self._mend() or busy

    @alone
    def drop(self, owner: str) -> None:
        """Forget what an owner has in the queues; what was sent stays in the journal."""
        for member in self.members:
            member.drop(owner)
        self._going = [ticket for ticket in self._going if ticket.place[0] != owner]

    @alone
    def call_off(self, owner: str) -> None:
        """The same, for good: jobs that are out for this owner alone are called back, where that is still possible."""
        self.drop(owner)
        for member in self.members:
            member.call_off(owner)

    def settle(self, job: str, provider_id: str | None = None, lost: bool = False) -> JobState:
        """Say what became of a job of which its vendor cannot tell whether it received it; see `Dispatcher.settle`."""
        role = self._log.circuits(self._log.job(job).id)[0].uses[0].role
        number, *_ = line_of(role, role.partition(AT)[0]) or (0,)
        return self.members[number].settle(job, provider_id, lost)

    def hold(self, owner: str, paused: bool) -> None:
        """Hold back what an owner has in the queues and adds to them, or let it go on."""
        for member in self.members:
            member.hold(owner, paused)

    def prioritize(self, owner: str, priority: int) -> None:
        """Give everything of an owner another priority."""
        for member in self.members:
            member.prioritize(owner, priority)

    def rest(self) -> None:
        """Close the vendors' sessions that are open; the next jobs open others."""
        for member in self.members:
            member.rest()

    def close(self) -> None:
        """Close the vendors' sessions that are open, and send nothing more."""
        for member in self.members:
            member.close()

    # -- what an earlier process sent

    def _recall(self, ticket: SharedTicket) -> None:
        """Give a ticket what is in the journal, whoever it was that had it then."""
        if not self.paid:
            return
        owner, step, role = ticket.place
        lines = {line for one in self._log.served(owner, step) if (line := line_of(one.use.role, role))}
        if lines:
            for share in ticket.shares:
                self._restore(share, lines)

    def _restore(self, share: Share, lines: Iterable[tuple[int, ...]]) -> None:
        if share.line in lines:
            self._take(share)
        for number in range(len(self.members)):
            line = (number, *share.line)
            if number in share.line or not any(found[-len(line) :] == line for found in lines):
                continue
            heir = self._heir(share, number, frozenset(range(len(share.ticket.parts))))
            self._restore(heir, lines)
            begun = {k for k, parts in enumerate(heir.ticket.ranges) if any(map(heir.begun, parts))}
            heir.serves = frozenset(begun).difference(*(other.serves for other in share.heirs))
            if heir.serves:
                heir.settle()
                share.heirs.append(heir)
        share.settle()

    def _take(self, share: Share) -> None:
        """Fetch what a device was sent; one that cannot be asked is lost."""
        try:
            self.members[share.member].take(share.ticket)
        except DeviceError as error:
            if not is_loss(error):
                raise
            self._roster.lost(share.member, error)
        share.settle()

    # -- who does what

    @alone
    def _enqueue(self, ticket: SharedTicket) -> str | None:
        """Put what a ticket lacks in the queues; or why the budget does not allow it."""
        try:
            for share in [share for share in ticket.walk() if not share.over]:
                refused = self._send(share)
                if refused is not None:
                    self._withdraw(ticket)
                    return refused
        except BaseException:
            self._withdraw(ticket)
            raise
        if not ticket.finished and ticket not in self._going:
            self._going.append(ticket)
        return None

    def _send(self, share: Share) -> str | None:
        """Put a share in its device's queue, or in those of others where that is not there."""
        if not share.open:
            return None
        if share.member in self._roster.live():
            try:
                return self.members[share.member].enqueue(share.ticket)
            except DeviceError as error:
                if not is_loss(error):
                    raise
                self._roster.lost(share.member, error)
        return self._pass_on(share)

    def _pass_on(self, share: Share) -> str | None:
        """Give what is open of a share to the devices that are left, whole circuits of one structure to one of them.

        Raises:
            LostError: if none is left that did not have it before.
        """
        share.over = True
        wanted = sorted(share.open)
        left = [number for number in self._roster.live() if number not in share.line]
        if not wanted:
            return None
        if not left:
            raise self._roster.nobody()
        circuits = [share.ticket.parts[k] for k in wanted]
        places = whole(circuits, [self.spread.parts[number] for number in left], lambda circuit: circuit.structure)
        heirs = []
        for place, number in enumerate(left):
            serves = frozenset(k for k, there in zip(wanted, places, strict=True) if there == place)
            if serves:
                heirs.append(self._heir(share, number, serves))
        share.heirs += heirs
        share.settle()
        for heir in heirs:
            refused = self._send(heir)
            if refused is not None:
                return refused
        return None

    def _heir(self, share: Share, number: int, serves: frozenset[int]) -> Share:
        """A share of another device that stands in the place of one."""
        old, line = share.ticket, (number, *share.line)
        owner, step, role = old.place
        where = (owner, step, role_of(role.partition(AT)[0], line))
        limits = self.members[number].service.limits
        ticket = Ticket(where, old.parts, limits, old.precision, old.priority, old.deadline, old.last)
        return Share(line, ticket, serves)

    @alone
    def _look(self, number: int, flight: Flight) -> bool:
        """See whether a device has done its part; whether it answers again that had been left out."""
        lost = [job.error for job in flight.jobs if isinstance(job.error, DeviceError) and is_loss(job.error)]
        if lost:
            self._roster.lost(number, lost[0])
        return bool(flight.jobs) and not lost and self._roster.answered(number)

    @alone
    def _mend(self) -> bool:
        """Pass on what lost devices have not finished, and end tickets that came to harm; whether anything moved."""
        moved = False
        for ticket in self._going:
            try:
                moved = self._mended(ticket) or moved
            except Exception as error:
                ticket.error = error
                self._withdraw(ticket)
        self._going = [ticket for ticket in self._going if not ticket.finished]
        return moved

    def _mended(self, ticket: SharedTicket) -> bool:
        """Whether anything of a ticket was passed on.

        Raises:
            Exception: what ends it.
        """
        moved = False
        for share in [share for share in ticket.walk() if not share.over]:
            error = share.ticket.error
            if error is not None and not is_loss(error):
                raise error
            if error is not None or (share.open and share.member not in self._roster.live()):
                self.members[share.member].withdraw(share.ticket)
                refused = self._pass_on(share)
                if refused is not None:
                    raise BudgetError(refused)
                moved = True
        return moved

    def _withdraw(self, ticket: SharedTicket) -> None:
        for share in ticket.walk():
            self.members[share.member].withdraw(share.ticket)


Sending: TypeAlias = Dispatcher | Fleet
"""What takes a run's circuits: one device, or several."""
