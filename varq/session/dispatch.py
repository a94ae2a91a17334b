"""Circuits become jobs, and jobs bits: written down before they are sent, never sent twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import RLock

from varq.devices.faults import DeviceError, PermanentError
from varq.devices.prices import Price
from varq.devices.service import Circuit, Service
from varq.session.booking import Books, expected
from varq.session.budget import NOTHING, Account, BudgetError, Use
from varq.session.costs import Costs, check_circuits, in_parts
from varq.session.job import Filled, Flight, Job, tickets_of, written
from varq.session.meter import Meter
from varq.session.pace import Pace
from varq.session.queue import Queue, Slot, Work
from varq.session.recovery import Recovery
from varq.session.retry import Retry
from varq.session.sending import Sender
from varq.session.shares import AnyTicket
from varq.session.tickets import Item, Place, Ticket, distinct
from varq.session.trial import Trial
from varq.session.turns import alone, in_turn
from varq.store.faults import StoreError
from varq.store.job_records import JobState
from varq.store.jobs import Jobs

__all__ = ["LATE", "Dispatcher", "LateError"]

LATE = "Its deadline has passed. Give a later one."

_RETRY = Retry()


class LateError(PermanentError):
    """Circuits were not sent, since their deadline has passed."""


class Dispatcher:
    """The jobs of one session on one device.  Several threads may ask; those that have jobs sent take turns.

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
        limits: of a job, where they are to be lower than the device's.
        patient: whether a device that does not answer is waited for; else another one has its part.
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
        limits: Mapping[str, int] | None = None,
        patient: bool = True,
    ) -> None:
        self._lock = account.lock
        self._turning = RLock()  # taken before the other
        self.service = service
        self.limits = service.limits.within(limits or {})
        self.queue: Queue[Item] = Queue()
        self._meter = Meter(service, price)
        self._sender = Sender(service, log, self._meter, retry, say, sleep, patient)
        self._recovery = Recovery(self._sender, log, session, account)
        self._log = log
        self._session = session
        self._account = account
        self.price = price
        self._clock = clock
        self._pace = Pace(price)
        self._costs = Costs(price, self._pace, self.limits, service.tasks)
        self._trial = Trial(self._pace, account, price, log, session, service.name)
        self._books = Books(account, self._pace, self._meter, log)
        self._out: list[Ticket] = []  # that jobs are waited for
        self._closed = False

    # -- what a driver calls --

    @property
    def paid(self) -> bool:
        """Whether its jobs cost money or a share of a scarce machine."""
        return self.service.paid

    @alone
    def estimate(self, circuits: Sequence[Circuit]) -> Use:
        """What circuits will use up, as far as it is known, in jobs of their own; equal ones are sent once."""
        return self._costs.use(distinct(circuits, self.limits))

    def jobs(self, circuits: Sequence[Circuit]) -> int:
        """How many jobs circuits need alone; equal ones are sent once."""
        return len(self._costs.jobs_of(distinct(circuits, self.limits)))

    def precision(self, place: Place) -> float | None:
        """By how much the shots of a request were multiplied when it was sent already; None if it was not."""
        return self._recovery.precision(place) if self.service.paid else None

    def add(
        self,
        place: Place,
        circuits: Sequence[Circuit],
        *,
        priority: int = 0,
        deadline: float | None = None,
        last: bool = False,
        precision: float = 1.0,
    ) -> Ticket | str:
        """Put circuits in the queue; those that an earlier process sent are taken from the journal or fetched.

        Args:
            place: owner, step and role.
            circuits: to be run.
            priority: higher goes first.
            deadline: seconds since 1970 after which they are not sent any more.
            last: whether the reserve of the budget may be used.
            precision: by how much their shots were multiplied.

        Returns:
            The ticket; or, where the budget does not allow it, why.

        Raises:
            ValueError: for a circuit with too many wires or layers, or a limit on the cost without a known price.
            UncertainError: if it is not known whether an earlier process sent them.
            DeviceError: if they cannot be translated, or a result that was sent for is gone.
        """
        ticket = Ticket(place, tuple(circuits), self.limits, precision, priority, deadline, last)
        self._check(ticket.circuits)
        self.take(ticket)
        return self.enqueue(ticket) or ticket

    # -- the parts of that, for a spread of devices

    def take(self, ticket: Ticket) -> None:
        """Give a ticket what an earlier process sent of it, as `add` does."""
        if not self.service.paid:
            return
        served = self._recovery.served(ticket)
        if not self._recovery.open(served):
            self._recovery.fill(ticket, served)
            return
        with self._turning:
            self._await([ticket])
            try:
                self._recovery.take(ticket, lambda: ticket.wanted(self._clock()))
            finally:
                self._await([ticket], over=True)

    def enqueue(self, ticket: Ticket) -> str | None:
        """Put what a ticket lacks in the queue; or why the budget does not allow it."""
        self._check([item.circuit for item in ticket.missing()])
        return self._enqueue(ticket)

    @alone
    def withdraw(self, ticket: Ticket) -> None:
        """Take what still waits of a ticket out of the queue."""
        self._withdraw(ticket)

    def again(self, ticket: AnyTicket) -> None:
        """Ask once more for a ticket whose jobs were interrupted: what the vendor has is fetched, the rest is sent.

        Raises:
            BudgetError: if the budget does not allow what is left.
            DeviceError: as `add`.
        """
        assert isinstance(ticket, Ticket)
        self.withdraw(ticket)
        self.take(ticket)
        refused = self._enqueue(ticket)
        if refused is not None:
            raise BudgetError(f"What is left of {ticket.place[0]} must fit into the session's budget: {refused}.")
        ticket.interrupted = False

    @in_turn
    def turn(self) -> bool:
        """Send what goes next, wait for it, and give out its bits; whether there was anything.

        Errors go to the tickets they concern.  Nothing is sent once this was closed.  Where seconds are limited and
        nobody knows the device's pace, one circuit goes first, alone; see `varq.session.trial.Trial`.
        """
        flight = self.launch()
        self.land(flight)
        return flight.busy

    @in_turn
    def launch(self, once: bool = False) -> Flight:
        """Send what goes next, and wait for nothing: `land` does.

        Args:
            once: whether each call of the device is tried a single time.
        """
        if self._closed:
            return Flight((), False, False)
        self._sender.once = once
        self._hear()
        idle = self._sender.idle() if len(self.queue) else 0.0
        filled, busy = self._fill(idle)
        return Flight(filled, self._send(filled), busy)

    @alone
    def _fill(self, idle: float) -> tuple[list[Filled], bool]:
        """The jobs that go next, and whether anything left the queue."""
        before = len(self.queue)
        late = self.queue.expired(self._clock())
        for work in late:
            self._release(work.items[work.taken :])
            work.items[0].ticket.error = LateError(f"Circuits of {work.owner} were not sent. {LATE}")
        submission = self._next()
        filled: list[Filled] = []
        number = 1 + self._log.last(self._session) if submission else 0
        for slots in submission:
            if (made := self._filled(slots, number + len(filled), 0.0 if filled else idle)) is not None:
                filled.append(made)
        self._await(tickets_of(filled))
        return filled, bool(submission) or len(self.queue) < before

    @in_turn
    def land(self, flight: Flight) -> None:
        """Wait for a submission, and give out its bits."""
        try:
            if flight.sent:
                self._sender.collect(flight.jobs)
        except BaseException:
            self.forsake(flight)
            raise
        self._landed(flight)

    @alone
    def _landed(self, flight: Flight) -> None:
        self._await(tickets_of(flight.filled), over=True)
        for job, items in flight.filled:
            self._books.book(job)
            self._give_out(job, items)

    @alone
    def forsake(self, flight: Flight) -> None:
        """Leave a submission whose fate is to be looked up."""
        self._interrupted(flight.filled)

    @alone
    def drop(self, owner: str) -> None:
        """Forget what an owner has in the queue; what was sent stays in the journal."""
        for work in self.queue.cancel(owner):
            self._release(work.items[work.taken :])

    @alone
    def call_off(self, owner: str) -> None:
        """The same, for good: jobs that are out for this owner alone are called back, where that is still possible."""
        self.drop(owner)
        for ticket in self._out:
            ticket.called_off = ticket.called_off or ticket.place[0] == owner

    @in_turn
    def settle(self, job: str, provider_id: str | None = None, lost: bool = False) -> JobState:
        """Say what became of a job of which its vendor cannot tell whether it received it.

        Args:
            job: its id, or a unique beginning of it.
            provider_id: the vendor's id of it, as the vendor's own pages show it.
            lost: that the vendor surely never received it: its circuits are sent anew when the run goes on.

        Returns:
            Its state now.

        Raises:
            ValueError: unless one of the two is given, or for a job whose state is known.
            LookupError: if there is no such job.
            DeviceError: if the vendor cannot be asked for `provider_id`, or that is a job of other circuits; nothing is
                changed.
        """
        return self._recovery.settle(job, provider_id, lost)

    @in_turn
    def tidy(self) -> None:
        """See to jobs that could not be asked for, now that the device answers again: nobody waits for them."""
        self._recovery.tidy()

    @alone
    def hold(self, owner: str, paused: bool) -> None:
        """Hold back what an owner has in the queue and adds to it, or let it go on."""
        self.queue.pause(owner, paused)

    @alone
    def prioritize(self, owner: str, priority: int) -> None:
        """Give everything of an owner another priority."""
        self.queue.prioritize(owner, priority)

    @in_turn
    def rest(self) -> None:
        """Close the vendor's session, if it was opened; the next job opens another.

        The time that it waited since its last job counts with that.
        """
        self._hear()
        with contextlib.suppress(StoreError):
            self._books.waited(self._sender.idle())
        self._sender.close()

    def close(self) -> None:
        """Close the vendor's session, if it was opened, and send nothing more."""
        self._closed = True
        self.rest()

    # -- inside --

    def _hear(self) -> None:
        """What the vendor tells late of jobs that are done: what goes next is reckoned by it."""
        with contextlib.suppress(StoreError):
            self._books.ask(self._sender.seconds)

    def _check(self, circuits: Sequence[Circuit]) -> None:
        check_circuits(circuits, self.service, self.limits, self.price, self._account.budget)

    def _next(self) -> list[list[Slot[Item]]]:
        """The next submission: all that goes together, or as little as finds out how long the device takes."""
        limits, most = self.limits, None
        if self._trial.on and len(self.queue):
            works = self.queue.waiting()
            if (why := self._trial.stuck()) is not None:
                for work in works:
                    self._end(work.items[0].ticket, BudgetError(why))
                return []
            left = [item.circuit for work in works for item in work.items[work.taken :]]
            most = self._trial.circuits(self._costs.use(list({c.twin: c for c in left}.values())))
            if most is None:
                self._reckon(works)
            else:
                limits = replace(limits, circuits=min(most, limits.circuits or most))
        return self.queue.jobs(limits, lambda item: item.circuit.twin, None if most is None else 1)

    def _reckon(self, works: Sequence[Work[Item]]) -> None:
        """Set aside what waits by the pace that was found out; what does not fit into the budget is not sent."""
        for work in works:
            self._release(work.items[work.taken :])
        for work in works:
            items = work.items[work.taken :]
            refused = self._reserve(items)
            if refused is not None:
                self._end(items[0].ticket, BudgetError(refused))

    def _enqueue(self, ticket: Ticket) -> str | None:
        """Put what a ticket lacks in the queue; or why the budget does not allow it."""
        items = ticket.missing()
        if not items:
            return None
        circuits = [item.circuit for item in items]
        refused = self._refused(circuits, ticket)
        if refused is not None:
            return refused
        self._sender.compile(circuits)
        return self._queued(ticket, items, circuits)

    @alone
    def _refused(self, circuits: Sequence[Circuit], ticket: Ticket) -> str | None:
        return self._account.refuses(self._wanted(circuits), ticket.last)

    @alone
    def _queued(self, ticket: Ticket, items: Sequence[Item], circuits: Sequence[Circuit]) -> str | None:
        refused = self._reserve(items)
        if refused is not None:
            return refused
        shots = [circuit.shots for circuit in circuits]
        ticket.work = Work(ticket.place[0], items, shots, ticket.priority, ticket.deadline)
        self.queue.add(ticket.work)
        return None

    def _wanted(self, circuits: Sequence[Circuit]) -> Use:
        """What circuits will use up; while the pace is on trial, with the seconds of the least of them alone."""
        least = self._pace.seconds(1, min(c.shots for c in circuits)) if self._trial.on else None
        return self._costs.use(circuits, busy=least)

    def _reserve(self, items: Sequence[Item]) -> str | None:
        """Set aside what circuits of one ticket will use up; or why the budget does not allow it."""
        circuits = [item.circuit for item in items]
        use = self._wanted(circuits)
        refused = self._account.refuses(use, items[0].ticket.last)
        if refused is not None:
            return refused
        busy = 0.0 if self._trial.on else None
        alone = [self._costs.use([circuit], [[circuit]], busy=busy) for circuit in circuits]
        seconds = in_parts(0.0 if self._trial.on else use.seconds, [one.seconds for one in alone])
        cost = in_parts(use.cost, [one.cost for one in alone])
        for item, one, *share in zip(items, alone, seconds, cost, strict=True):
            item.share = Use(1, one.shots, *share)
            self._account.hold(item.share)
        return None

    def _filled(self, slots: Sequence[Slot[Item]], number: int, idle: float) -> Filled | None:
        """A job of the circuits in its slots, equal ones once; None if the budget has no place for it any more."""
        items: dict[Hashable, list[Item]] = {}
        for slot in slots:
            items.setdefault(slot.item.circuit.twin, []).append(slot.item)
            self._release([slot.item])
        circuits = [same[0].circuit for same in items.values()]
        use = self._costs.use(circuits, [circuits], idle)
        refused = self._account.crossed(use)
        if refused is not None:
            self._fail(slots, BudgetError(refused))
            return None
        self._account.spend(use)
        served = list(items.values())
        record, rows = written(self.service, self._session, number, self._clock(), use, served)
        return Job(record, circuits, rows, partial(self._wanted_by, served)), served

    def _wanted_by(self, items: Sequence[Sequence[Item]]) -> bool:
        """Whether anybody waits for what a job brings."""
        return any(item.ticket.wanted(self._clock()) for same in items for item in same)

    @alone
    def _await(self, tickets: Sequence[Ticket], over: bool = False) -> None:
        """Have it heard of what is called off of tickets that jobs are waited for, until that is over."""
        self._out = [ticket for ticket in self._out if ticket not in tickets] + ([] if over else list(tickets))

    def _send(self, filled: Sequence[Filled]) -> bool:
        """Send jobs; whether they are on their way."""
        try:
            if filled:
                self._sender.submit([job for job, _ in filled])
        except DeviceError as error:
            for job, _ in filled:
                job.error = error
            return False
        except BaseException:
            self._interrupted(filled)
            raise
        return bool(filled)

    def _give_out(self, job: Job, items: Sequence[Sequence[Item]]) -> None:
        for place, same in enumerate(items):
            for item in same:
                if job.result is not None:
                    for k in item.places:
                        item.ticket.bits[k] = job.result.bits[place]
                elif job.error is not None:
                    self._end(item.ticket, job.error)

    @alone
    def _interrupted(self, filled: Sequence[Filled]) -> None:
        """Leave jobs whose fate is to be looked up: what is in the journal goes on to count."""
        tickets = tickets_of(filled)
        self._await(tickets, over=True)
        for ticket in tickets:
            ticket.interrupted = True
        for job, _ in filled:
            with contextlib.suppress(StoreError):
                try:
                    self._log.job(job.record.id)
                except LookupError:
                    self._account.spend(NOTHING - expected(job))

    def _fail(self, slots: Sequence[Slot[Item]], error: Exception) -> None:
        for slot in slots:
            self._end(slot.item.ticket, error)

    def _end(self, ticket: Ticket, error: Exception) -> None:
        """Nothing more comes of a ticket: what still waits of it is not sent."""
        ticket.error = error
        self._withdraw(ticket)

    def _withdraw(self, ticket: Ticket) -> None:
        if ticket.work is not None and self.queue.remove(ticket.work):
            self._release(ticket.work.items[ticket.work.taken :])

    def _release(self, items: Iterable[Item]) -> None:
        """Give back what was set aside for circuits."""
        for item in items:
            self._account.release(item.share)
            item.share = NOTHING
