"""The batches of one session: which of them wait, and what makes the same submission the same batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from varq import checks, spec
from varq.devices.catalog import called
from varq.devices.choice import Device
from varq.devices.service import Circuit
from varq.devices.several import Spread
from varq.session.batch import Batch, Read
from varq.session.budget import BudgetError
from varq.session.fleet import Sending
from varq.session.shares import AnyTicket
from varq.session.tickets import Ticket
from varq.store.store import Store

__all__ = ["Batches", "batch_id"]

_SHOWN = 4  # ids that a message lists


class Batches:
    """The batches of a session that have not ended.

    What was submitted is no longer known when its process is gone, but which bits answer it is: a batch is named by
    what it is, as a run is, so that the same submission finds what was paid for.

    Args:
        store: where jobs are written down.
        say: is told what a person should know.
    """

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._going: dict[str, Batch] = {}
        self._leases: dict[str, ExitStack] = {}

    def submit(
        self,
        name: str,
        circuits: Sequence[Circuit],
        read: Read,
        dispatcher: Sending,
        *,
        priority: int,
        deadline: float | None,
        take_over: bool,
    ) -> Batch:
        """The batch of this id: the one that waits, or else a new one with what is in the journal of it.

        Args:
            name: its id.
            circuits: of it.
            read: makes results of their bits.
            dispatcher: which runs them.
            priority: in the queue.
            deadline: seconds since 1970 after which nothing of it is sent any more.
            take_over: take it from a process that no longer shows signs of life.

        Raises:
            OwnedError: if another process has it.
            BudgetError: if the budget does not allow it.
            DeviceError: if what was sent of it earlier cannot be asked for.
        """
        checks.boolean("take_over", take_over)
        self._forget()
        if name in self._going:
            return self._going[name]
        with ExitStack() as stack:
            if dispatcher.paid:  # two processes that look for the same jobs would send them twice
                stack.enter_context(self._store.lease(name, take_over))
            ticket = dispatcher.add((name, 0, "batch"), circuits, priority=priority, deadline=deadline)
            if isinstance(ticket, str):
                raise BudgetError(f"A batch must fit into the session's budget: {ticket}. Nothing was sent.")
            if _begun(ticket):
                rest = f"{checks.counted(ticket.waiting, 'circuit')} of it" if ticket.waiting else "nothing"
                self._say(
                    f"{name} was submitted before, and what it measured is in the store: {rest} is to be sent. "
                    "Give name= or another seed= to measure anew."
                )
            self._leases[name] = stack.pop_all()
        self._going[name] = batch = Batch(name, ticket, read, dispatcher, self._forget)
        return batch

    @property
    def waiting(self) -> list[str]:
        """The ids of those that have not ended."""
        self._forget()
        return list(self._going)

    def drain(self, attend: Callable[[], None]) -> None:
        """Wait for all that can go on: one that is held back stays.

        Args:
            attend: called before each submission.

        Raises:
            DeviceError: if what was sent of one that was interrupted cannot be asked for.
        """
        for batch in list(self._going.values()):
            while not batch.ended:
                attend()
                if not batch.go_on():
                    break
        self._forget()

    def refuse(self) -> None:
        """RuntimeError if any waits, which no other process could go on with."""
        if waiting := self.waiting:
            raise RuntimeError(
                f"A session that is handed over has no batches that wait: {_listed(waiting)} would be lost with this "
                "process, which alone knows what to make of their bits. Ask for their result(), drain(), or cancel() "
                "them first."
            )

    def close(self) -> None:
        """Let all go; says which had not ended."""
        if waiting := self.waiting:
            self._say(
                f"The session ends before {_listed(waiting)}, and what waits of it is not sent. Submit the same "
                "circuits to the same store to go on; what was sent is not paid for again."
            )
        self.leave()

    def leave(self) -> None:
        """Let all go, as the end of the process would."""
        for stack in self._leases.values():
            stack.close()
        self._leases.clear()
        self._going.clear()

    def _forget(self) -> None:
        for name in [name for name, batch in list(self._going.items()) if batch.ended]:
            self._going.pop(name, None)  # another thread may have seen the same
            self._leases.pop(name, ExitStack()).close()


def batch_id(device: Any, circuits: Sequence[Circuit], seed: int, name: str | None) -> str:
    """The id of a batch: the same for the same circuits, device, seed and name, in any process.

    Args:
        device: as the session was given it.
        circuits: as they are sent; shots and seeds are part of what they are.
        seed: of their random numbers.
        name: that tells it from others of the same circuits.
    """
    hashed = getattr(device, "hashed_as", device)
    where, findable = spec.identity(hashed) if isinstance(hashed, (str, Device, Spread)) else ("", False)
    said = [where if findable else called(device), [c.digest for c in circuits], seed, name]
    return f"batch-{hashlib.sha256(spec.canonical(said).encode()).hexdigest()[:16]}"


def _begun(ticket: AnyTicket) -> bool:
    """Whether anything of a ticket is there."""
    tickets = [ticket] if isinstance(ticket, Ticket) else [share.ticket for share in ticket.walk()]
    return any(bits is not None for one in tickets for bits in one.bits)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
