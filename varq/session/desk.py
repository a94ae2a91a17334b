"""What a session shares among its runs: devices with their queues, one account, one journal of jobs."""

from __future__ import annotations

import dataclasses
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pennylane.tape import QuantumScript

from varq import spec
from varq.devices.catalog import DEFAULT, called, open_service
from varq.devices.choice import Device
from varq.devices.prices import Price, price
from varq.keys import Key
from varq.protocol import Plan, Reply, Request
from varq.session.batch import Batch, circuits_of
from varq.session.budget import NOTHING, Account, Budget, BudgetError, Use
from varq.session.dispatch import Dispatcher
from varq.session.drive import Lane, drive
from varq.session.forecast import Forecast, forecast
from varq.session.retry import Retry
from varq.session.run import Run
from varq.store.job_records import JobState, SessionRecord, new_session_id
from varq.store.store import Store

__all__ = ["Desk"]


class Desk:
    """The devices of one session.

    Args:
        store: where jobs are written down.
        device: the session's own, or None.
        shots: the session's own, or None.
        budget: of all jobs.
        retry: how calls of devices are tried again.
        say: is told what a person should know.
        session: the id of a session that goes on; None for a new one.
        prices: of devices, before those that varq knows.
    """

    def __init__(
        self,
        store: Store,
        device: Any,
        shots: int | None,
        budget: Budget,
        retry: Retry,
        say: Callable[[str], None],
        session: str | None = None,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self.id = session or new_session_id()
        self.store = store
        self.budget = budget
        self._device = device
        self._shots = shots
        self._retry = retry
        self._say = say
        self._prices = prices
        self.written = session is not None
        self._dispatchers: dict[Any, Dispatcher] = {}
        self.account = Account(budget, self._spent() if self.written else NOTHING)

    def _spent(self) -> Use:
        spent = self.store.jobs.spent(self.id)
        return Use(spent.circuits, spent.shots, spent.seconds, spent.cost)

    def lane(self, run: Run, priority: int = 0, deadline: float | None = None) -> Lane:
        """A run on its way to its device."""
        return Lane(run, self.dispatcher_of, self.account, priority, deadline)

    def step(self, run: Run, most: int | None) -> Any:
        """Drive one run alone; returns its last event."""
        lane = self.lane(run)
        drive([lane], most, attend=self.attend)
        return lane.last

    def dispatcher_of(self, run: Run) -> Dispatcher | None:
        """The queue of the device that a run's circuits go to; None where its plan answers by itself."""
        if run.plan.prepare is None:
            return None
        return self.dispatcher(spec.unwrap(run.spec.device), run.spec.precision)

    def dispatcher(self, device: Any, precision: str = "double") -> Dispatcher:
        """The queue of a device, opened when first asked for."""
        key = (repr(device) if isinstance(device, (str, Device)) else id(device), precision)
        if key not in self._dispatchers:
            self._write()
            service = open_service(device, precision)
            known = price(service.name, self._prices)
            if known is not None and not getattr(service, "grouped", True):
                known = known.each_alone()  # each circuit is a job of its own to the vendor
            if known is None and service.paid and self.budget.cost is not None:
                raise ValueError(
                    f"A budget of money needs the device's price. None is known for {service.name}. "
                    "Give Session(prices={...}), or a budget of shots or seconds."
                )
            self._dispatchers[key] = Dispatcher(
                service,
                self.store.jobs,
                self.id,
                self.account,
                known,
                self._retry,
                self._say,
            )
        return self._dispatchers[key]

    def _write(self) -> None:
        """Put the session into the store, once it has something to do with a device."""
        if self.written:
            return
        settings = {name: value for name, value in dataclasses.asdict(self.budget).items() if value is not None}
        record = SessionRecord(
            id=self.id,
            created=time.time(),
            host=platform.node(),
            device=DEFAULT if self._device is None else called(self._device),
            shots=self._shots,
            settings=spec.canonical({"budget": settings}),
        )
        self.store.jobs.open(record)
        self.written = True

    def submit(self, tapes: Sequence[QuantumScript], priority: int, deadline: float | None, seed: int) -> Batch:
        """Circuits in the queue of the session's device."""
        circuits, read = circuits_of(tapes, self._shots, Key.from_seed(seed).fold("batch"))
        dispatcher = self.dispatcher(DEFAULT if self._device is None else self._device)
        name = f"batch-{uuid.uuid4().hex[:16]}"
        ticket = dispatcher.add((name, 0, "batch"), circuits, priority=priority, deadline=deadline)
        if isinstance(ticket, str):
            raise BudgetError(f"A batch must fit into the session's budget: {ticket}. Nothing was sent.")
        return Batch(name, ticket, read, dispatcher)

    def verify(self, run: Run) -> None:
        """Check a run's cost at a random point before it begins.

        Raises:
            VerificationError: if a check failed; says which, and what to do.
        """
        if run.plan.verify is not None:
            run.plan.verify(_Asking(self, run), Key.from_seed(run.spec.seed).fold("verify"))

    def settle(self, job: str, provider_id: str | None, lost: bool) -> JobState:
        """Say what became of a job that may have been sent."""
        device = DEFAULT if self._device is None else self._device
        return self.dispatcher(device).settle(job, provider_id, lost)

    def pause(self, run: Run, paused: bool) -> None:
        """Hold back the circuits of a run, or let them go."""
        dispatcher = self.dispatcher_of(run)
        if dispatcher is not None:
            dispatcher.queue.pause(run.id, paused)

    def forecast(self, resolved: Any, plan: Plan, steps: int | None) -> Forecast:
        """What a plan would use up."""
        device = spec.unwrap(resolved.device)
        name = called(device)
        key = Key.from_seed(resolved.seed)
        if plan.prepare is None:
            return forecast(plan, name, key, steps, lambda circuits: NOTHING, lambda circuits: 0)
        dispatcher = self.dispatcher(device, resolved.precision)
        return forecast(plan, name, key, steps, dispatcher.estimate, dispatcher.jobs, dispatcher.price)

    def attend(self) -> None:
        """Do what other processes asked of the session since the last look."""

    def close(self) -> None:
        """Close the vendors' sessions that are open."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        if self.written:
            self.store.jobs.set_state(self.id, "closed")


class _Asking:
    """Answers requests about a run's cost outside of its steps, by jobs where it needs them."""

    def __init__(self, desk: Desk, run: Run) -> None:
        self._plan = run.plan
        self._run = run
        self._dispatcher = desk.dispatcher_of(run)
        self._count = 0

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a request."""
        if self._plan.prepare is None or self._dispatcher is None:
            return self._plan.evaluate(request, key)
        prepared = self._plan.prepare(request, key, 1.0)
        ticket = self._dispatcher.add((self._run.id, self._count, "verify"), prepared.circuits)
        self._count += 1
        if isinstance(ticket, str):
            raise BudgetError(f"A check must fit into the session's budget: {ticket}. Leave verify out.")
        while not ticket.finished:
            self._dispatcher.turn()
        return prepared.decode(ticket.outcome())
