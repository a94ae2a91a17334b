"""Circuits become jobs, and jobs bits: written down before they are sent, never sent twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from varq.devices.faults import DeviceError, PermanentError
from varq.devices.prices import Price
from varq.devices.service import Bits, Circuit, Service
from varq.session.budget import NOTHING, Account, Use
from varq.session.queue import Queue, Slot, Work
from varq.session.retry import Retry
from varq.session.sending import Job, Sender
from varq.store.circuit_records import CircuitRow
from varq.store.circuit_records import Use as Served
from varq.store.job_records import JobRecord, JobState, new_job_id
from varq.store.jobs import Jobs

__all__ = ["Dispatcher", "Ticket"]

_RETRY = Retry()


@dataclass(eq=False)
class Ticket:
    """Circuits that wait for their bits.

    Args:
        place: owner, step and role, which name the request in the journal.
        circuits: of it.
    """

    place: tuple[str, int, str]
    circuits: tuple[Circuit, ...]
    bits: list[Bits | None] = field(init=False)
    error: DeviceError | None = field(default=None, init=False)
    share: Use = field(default=NOTHING, init=False)
    prepared: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.bits = [None] * len(self.circuits)

    @property
    def finished(self) -> bool:
        """Whether all bits are there, or none will come any more."""
        return self.error is not None or all(b is not None for b in self.bits)

    def outcome(self) -> list[Bits]:
        """The bits of each circuit.

        Raises:
            DeviceError: what stood in the way.
        """
        if self.error is not None:
            raise self.error
        return [b for b in self.bits if b is not None]


@dataclass(frozen=True, eq=False)
class _Item:
    """One circuit of a ticket."""

    ticket: Ticket
    index: int

    @property
    def circuit(self) -> Circuit:
        return self.ticket.circuits[self.index]


class Dispatcher:
    """The jobs of one session on one device.

    Args:
        service: the device.
        log: the store's journal of jobs.
        session: the session's id.
        account: what may be used up.
        price: of the device; None where it is not known.
        retry: how often calls are tried again.
        say: is told what a person should know.
        clock: seconds since 1970.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        service: Service,
        log: Jobs,
        session: str,
        account: Account,
        price: Price | None = None,
        retry: Retry = _RETRY,
        say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.service = service
        self.queue: Queue[_Item] = Queue()
        self._sender = Sender(service, log, retry, say, sleep)
        self._log = log
        self._session = session
        self._account = account
        self.price = price
        self._clock = clock
        self._number = log.last(session) + 1
        self._pace = 0.0  # seconds a shot, by the last job
        self._told = {"decode": 0.0, "classical": 0.0}
        self._returned = time.perf_counter()

    # -- what a driver calls --

    def estimate(self, circuits: Sequence[Circuit]) -> Use:
        """What circuits will use up, as far as it is known, in jobs of their own."""
        shots = sum(c.shots for c in circuits)
        seconds = self._pace * shots
        jobs = self.jobs(len(circuits))
        cost = 0.0 if self.price is None else self.price.cost(jobs, len(circuits), shots, seconds)
        return Use(len(circuits), shots, seconds, cost)

    def jobs(self, circuits: int) -> int:
        """How many jobs so many circuits need, by their number alone."""
        most = self.service.limits.circuits
        return -(-circuits // most) if most else min(1, circuits)

    def add(
        self,
        place: tuple[str, int, str],
        circuits: Sequence[Circuit],
        *,
        priority: int = 0,
        deadline: float | None = None,
        last: bool = False,
    ) -> Ticket | str:
        """Put circuits in the queue; those that an earlier process sent are taken from the journal or fetched.

        Args:
            place: owner, step and role.
            circuits: to be run.
            priority: higher goes first.
            deadline: seconds since 1970 after which they are not sent any more.
            last: whether the reserve of the budget may be used.

        Returns:
            The ticket; or, where the budget does not allow it, why.

        Raises:
            UncertainError: if it is not known whether an earlier process sent them.
        """
        ticket = Ticket(place, tuple(circuits))
        self._check(ticket.circuits)
        if self.service.paid:
            self._recover(ticket)
        left = [k for k, bits in enumerate(ticket.bits) if bits is None]
        use = self.estimate([ticket.circuits[k] for k in left])
        refused = self._account.refuses(use, last)
        if refused is not None:
            return refused
        self._account.hold(use)
        ticket.share = Use(*(v / max(1, len(left)) for v in (use.circuits, use.shots, use.seconds, use.cost)))
        items = [_Item(ticket, k) for k in left]
        self.queue.add(Work(place[0], items, [i.circuit.shots for i in items], priority, deadline))
        return ticket

    def turn(self) -> bool:
        """Send what goes next, wait for it, and give out its bits; whether there was anything.

        Errors go to the tickets they concern.
        """
        for work in self.queue.expired(self._clock()):
            self._give_up(work, "Its deadline has passed before it was sent. Give a later one.")
        filled = [self._filled(slots) for slots in self.queue.jobs(self.service.limits)]
        if not filled:
            return False
        jobs = [job for job, _ in filled]
        try:
            self._sender.submit(jobs)
        except DeviceError as error:
            for job in jobs:
                job.error = error
        for job, items in filled:
            self._book(job)
            self._give_out(job, items)
        self._returned = time.perf_counter()
        return True

    def drop(self, owner: str) -> None:
        """Forget what an owner has in the queue; what was sent stays in the journal."""
        for work in self.queue.cancel(owner):
            self._release(work)

    def told(self, decode: float, classical: float) -> None:
        """How long decoding and telling took, for the times of the next job."""
        self._told = {"decode": decode, "classical": classical}

    def close(self) -> None:
        """Close the vendor's session, if it was opened."""
        self._sender.close()

    # -- inside --

    def _check(self, circuits: Sequence[Circuit]) -> None:
        limits = self.service.limits
        for circuit in circuits:
            for what, most, got in (
                ("wires", limits.wires, circuit.wires),
                ("shots", limits.shots, circuit.shots),
                ("shots", limits.job_shots, circuit.shots),
            ):
                if most is not None and got > most:
                    raise ValueError(
                        f"A circuit on {self.service.name} has at most {most} {what}. Got {got}. "
                        "Use another device, or a smaller circuit."
                    )

    def _recover(self, ticket: Ticket) -> None:
        """Take what an earlier process had sent for this request."""
        owner, step, role = ticket.place
        served = self._log.served(owner, step, role)
        lost = {JobState.FAILED, JobState.CANCELLED, JobState.UNSENT}
        states = {one.job: one.state for one in served}
        for job, state in states.items():
            if state not in lost and state is not JobState.DONE:
                states[job] = self._sender.recover(self._log.job(job))
        for one in served:
            if states[one.job] is JobState.DONE and one.use.item < len(ticket.bits):
                ticket.bits[one.use.item] = self._log.bits(one.job, one.position)

    def _filled(self, slots: Sequence[Slot[_Item]]) -> tuple[Job, list[list[_Item]]]:
        """A job of the circuits in its slots; equal ones are sent once."""
        places: dict[str, int] = {}
        circuits: list[Circuit] = []
        items: list[list[_Item]] = []
        for slot in slots:
            item = slot.item
            place = places.setdefault(item.circuit.digest, len(circuits))
            if place == len(circuits):
                circuits.append(item.circuit)
                items.append([])
            items[place].append(item)
            self._account.release(item.ticket.share)
        use = self.estimate(circuits)
        self._account.spend(use)
        now = self._clock()
        record = JobRecord(
            id=new_job_id(),
            session=self._session,
            number=self._number,
            device=self.service.name,
            created=now,
            circuits=len(circuits),
            shots=int(use.shots),
            paid=self.service.paid,
            estimate_seconds=use.seconds,
            estimate_cost=use.cost,
        )
        self._number += 1
        rows = [
            CircuitRow(
                record.id, k, c.digest, c.shots, c.seed, tuple(Served(*i.ticket.place, i.index) for i in items[k])
            )
            for k, c in enumerate(circuits)
        ]
        return Job(record, circuits, rows), items

    def _book(self, job: Job) -> None:
        """What a job used in place of what was expected."""
        record = job.record
        expected = Use(record.circuits, record.shots, record.estimate_seconds or 0.0, record.estimate_cost or 0.0)
        if not job.received:
            self._account.spend(NOTHING - expected)
        elif job.result is not None:
            seconds = expected.seconds if job.result.seconds is None else job.result.seconds
            cost = expected.cost if job.result.cost is None else job.result.cost
            self._account.spend(Use(0, 0, seconds - expected.seconds, cost - expected.cost))
            self._pace = seconds / max(1, record.shots)

    def _give_out(self, job: Job, items: Sequence[Sequence[_Item]]) -> None:
        for place, same in enumerate(items):
            for item in same:
                if job.result is not None:
                    item.ticket.bits[item.index] = job.result.bits[place]
                else:
                    item.ticket.error = job.error

    def _give_up(self, work: Work[_Item], why: str) -> None:
        self._release(work)
        ticket = work.items[0].ticket
        ticket.error = PermanentError(f"Circuits of {work.owner} were not sent. {why}")

    def _release(self, work: Work[_Item]) -> None:
        for item in work.items[work.taken :]:
            self._account.release(item.ticket.share)
