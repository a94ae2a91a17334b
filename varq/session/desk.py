"""What a session shares among its runs: devices with their queues, one account, one journal of jobs."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

from pennylane.tape import QuantumScript

from varq import spec
from varq.devices.catalog import DEFAULT, called, open_service
from varq.devices.choice import Device
from varq.devices.faults import DeviceError
from varq.devices.prices import Price, price
from varq.devices.several import Spread
from varq.devices.usual import usual
from varq.keys import Key
from varq.protocol import Plan, Reply, Request
from varq.session.batch import Batch, circuits_of
from varq.session.batches import Batches, batch_id
from varq.session.budget import NOTHING, Account, Budget, BudgetError, Use
from varq.session.dispatch import Dispatcher
from varq.session.drive import Lane, drive
from varq.session.fleet import Fleet, Sending
from varq.session.forecast import Forecast, Reckoner, forecast, unreached
from varq.session.ledger import Ledger, of_session
from varq.session.limits import note_terms
from varq.session.orders import hold, obey, order
from varq.session.reporting import ORDERED, PULSE, RUN, Reporter
from varq.session.retry import Retry
from varq.session.run import Run
from varq.session.settling import sent_to
from varq.session.shares import shares_of
from varq.session.spending import evaluated, spent_before
from varq.session.terms import written_terms
from varq.session.trial import needed
from varq.session.under_way import UnderWay
from varq.store.faults import OwnedError, StoreError
from varq.store.job_records import JobState, SessionRecord, SessionState, new_session_id
from varq.store.store import Store

__all__ = ["Desk"]

log = logging.getLogger("varq")


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
        on_error: what an error of one run does to the others; it is written down with the session.
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
        on_error: str = "abort",
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
        self.owned = self.left = self.closed = False
        self._dispatchers: dict[Any, Sending] = {}
        self.account = Account(budget, spent_before(store, self.id) if self.written else NOTHING)
        self.terms = written_terms(device, budget, on_error, retry, prices)
        self.alone = False  # whether nobody closes it, so that each call of a run lets go of what it had
        self.known = False  # whether others may look for it, so that it is written down before it needs a job
        self.take_over = False  # whether it is taken from an owner that no longer shows signs of life
        self.rests = SessionState.CLOSED  # how it stands when this process is done with it
        self.under_way = UnderWay()
        self.reporter = Reporter(store.jobs, self.id, self.standing)
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()
        self.batches = Batches(store, say)
        self._enlisted: set[str] = set()
        self._unnoted: list[tuple[str, dict[str, Any]]] = []  # runs and orders, in their order
        self._noting = RLock()  # buttons and observers of other threads ask, too
        self._lease = ExitStack()
        self._kept: Ledger | None = None
        self._attended = 0.0
        self._held = False  # whether a button holds runs back, which others let go on again

    def check_open(self) -> None:
        """RuntimeError if this object lets nothing run any more."""
        if self.left:
            raise RuntimeError(
                f"A session that was handed over goes on in a process of its own. Got work for {self.id}. "
                "Watch it with varq.attach(id), or open another session."
            )
        if self.closed:
            raise RuntimeError(
                f"A session that was closed, as its `with` does at the end, lets nothing run any more. Got work for "
                f"{self.id}. Open another varq.Session(...): it knows the runs of the same store."
            )

    def lane(self, run: Run, priority: int = 0, deadline: float | None = None) -> Lane:
        """A run on its way to its device.

        Raises:
            RuntimeError: if the session was handed over or closed.
        """
        if not run.settled:
            self.check_open()
        lane = Lane(run, self.dispatcher_of, self.account, priority, deadline)
        if not run.settled and not run.stopping() and run.id not in self._enlisted:
            self._enlisted.add(run.id)
            before = evaluated(self.store, run.id) if self.budget.limited else NOTHING
            self._unnoted.append((RUN, _noted(lane, before)))
        return lane

    def step(self, run: Run, most: int | None, priority: int = 0, deadline: float | None = None) -> Any:
        """Drive one run alone, until a deadline in seconds since 1970; returns its last event."""
        run.check_idle()
        lane = self.lane(run, priority, deadline)
        self.begin([lane])
        try:
            drive([lane], most, attend=self.attend)
        finally:
            if self.alone and (most is None or run.done):
                self.rest()
        return lane.last

    def drain(self, lanes: Sequence[Lane], stop_all: bool) -> None:
        """Drive runs and batches until nothing can go on; what a button holds back is waited for.

        Args:
            lanes: the runs.
            stop_all: whether an error of one ends the call.
        """
        while drive(lanes, stop_all=stop_all, attend=self.attend):
            left = [lane for lane in lanes if not lane.run.done and lane.error is None]
            if not left or (all(lane.paused for lane in left) and not self._held):
                self.batches.drain(self.attend)
                return
            while self._held and all(lane.paused for lane in left):
                self.wait(PULSE)

    def rest(self) -> None:
        """Close the vendors' sessions, which cost as long as they are open; a run that is driven opens them again."""
        for dispatcher in self._dispatchers.values():
            dispatcher.rest()
        try:
            self._let_go(SessionState.CLOSED)
        except StoreError as error:  # the run's outcome must not hang on this
            log.warning("%s could not be closed: %s", self.id, error)

    def recall(self, run: Run) -> None:
        """Take it that a run was noted before."""
        self._enlisted.add(run.id)

    def begin(self, lanes: Sequence[Lane]) -> None:
        """Before runs are driven: write the session down where others may look for it, and who takes part."""
        if any(not lane.run.settled for lane in lanes):
            self.check_open()
        self._lanes.update({lane.run.id: lane for lane in lanes})
        if (self.known or self.written) and any(not lane.run.settled for lane in lanes):
            self.write()
        if self.owned:
            self.enlist()

    def enlist(self) -> None:
        """Note the runs, and what was asked of them, that were not noted yet."""
        with self._noting:
            new = list(self._unnoted)
            self.store.jobs.note_all(self.id, new)
            del self._unnoted[: len(new)]

    def dispatcher_of(self, run: Run) -> Sending | None:
        """The queue of the device that a run's circuits go to; None where its plan answers by itself."""
        if run.plan.prepare is None:
            return None
        return self.dispatcher(spec.unwrap(run.spec.device), run.spec.precision)

    def dispatcher(self, device: Any, precision: str = "double") -> Sending:
        """The queue of a device, opened when first asked for; the session is then in the store.

        Raises:
            RuntimeError: if the session was handed over or closed.
        """
        self.check_open()
        found = self._opened(device, precision)
        self.write()
        return found

    def _opened(self, device: Any, precision: str) -> Sending:
        """The same, where nothing is to be sent yet."""
        key = (repr(device) if isinstance(device, (str, Device, Spread)) else id(device), precision)
        if key not in self._dispatchers:
            several = isinstance(device, Spread)
            self._dispatchers[key] = self._fleet(device, precision) if several else self._single(device, precision)
        return self._dispatchers[key]

    def _single(self, device: Any, precision: str, any_gates: bool = False) -> Dispatcher:
        # Of a spread alone are circuits not written for the device: it has others beside it, which do not wait for it.
        service = open_service(device, precision, any_gates) if any_gates else open_service(device, precision)
        known = price(service.name, self._prices)
        if known is None and self.budget.cost is not None:
            raise ValueError(
                f"A budget of money needs the device's price. None is known for {service.name}. "
                "Give Session(prices={...}), or a budget of shots or seconds."
            )
        given = (self.under_way.noting(service), self.store.jobs, self.id, self.account, known, self._retry, self._say)
        return Dispatcher(*given, sleep=self.wait, limits=_own_limits(device), patient=not any_gates)

    def _fleet(self, spread: Spread, precision: str) -> Fleet:
        members = [self._single(device, precision, any_gates=True) for device in spread.devices]
        charged = {one.price.currency for one in members if one.price is not None and not one.price.free}
        if len(charged) > 1 and self.budget.cost is not None:
            raise ValueError(
                f"A budget of money needs prices in one currency. Those of {spread.name} are in "
                f"{', '.join(sorted(charged))}. Give Session(prices={{...}}) in one, or a budget of shots or seconds."
            )
        return Fleet(spread, members, self.store.jobs, self._say, self._remark)

    def _remark(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write down something that the ledger shows; nothing that goes wrong here stops a run."""
        try:
            if self.owned:
                self.store.jobs.note(self.id, kind, dict(body))
        except StoreError as error:
            log.warning("That a device is %s could not be noted: %s", kind, error)

    def write(self) -> None:
        """Put the session into the store, once it has something to do, and own it from then on."""
        if self.owned:
            return
        if self.written:  # by another process, or for an earlier call of its run
            self.own(self.take_over)
            self.store.jobs.set_state(self.id, SessionState.OPEN)
        else:
            self._open()
        self.enlist()

    def _open(self) -> None:
        record = SessionRecord(
            id=self.id,
            created=time.time(),
            host=platform.node(),
            device=DEFAULT if self._device is None else called(self._device),
            shots=self._shots,
            settings=spec.canonical(self.terms),
        )
        self.store.jobs.open(record)
        self.written = True
        self.own()

    def own(self, take_over: bool = False) -> None:
        """Hold the session's lease, and note what happens.

        Raises:
            OwnedError: if another process holds it.
        """
        self._lease.enter_context(self.store.lease(self.id, take_over))
        self.owned = self.reporter.on = True
        note_terms(self.store.jobs, self.id, self.terms)

    def leave(self) -> None:
        """Let the session go, unfinished, to another process."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        self._dispatchers.clear()
        self.batches.leave()
        self.reporter.close()
        self._lease.close()
        self.owned, self.left = False, True

    def submit(self, tapes: Sequence[QuantumScript], seed: int, name: str | None, **options: Any) -> Batch:
        """Circuits in the queue of the session's device; `options` as `Batches.submit` takes them."""
        self.check_open()
        device = DEFAULT if self._device is None else self._device
        key = Key.from_seed(seed).fold("batch", *([] if name is None else [name]))
        circuits, read = circuits_of(tapes, self._shots, key, device)
        known_as = batch_id(device, circuits, seed, name)
        return self.batches.submit(known_as, circuits, read, self.dispatcher(device), **options)

    def verify(self, run: Run) -> None:
        """Check a run's cost at a random point before it begins.

        Raises:
            VerificationError: if a check failed; says which, and what to do.
            ValueError: for a run that has nothing to be checked.
        """
        if run.plan.verify is None:
            raise ValueError(
                f"verify=True checks the circuits of a VQE or QAOA. Got {run.title!r}, whose slopes are not varq's. "
                "Leave verify out; varq.node.verification.verify checks a cost of your own."
            )
        run.plan.verify(_Asking(self, run), Key.from_seed(run.spec.seed).fold("verify"))

    def settle(self, job: str, provider_id: str | None, lost: bool) -> JobState:
        """Say what became of a job that may have been sent; its vendor is asked, unless it is lost."""
        record = self.store.jobs.job(job)
        own = (DEFAULT if self._device is None else self._device, "double")
        found = None if provider_id is None else sent_to(self.store, record)
        return self.dispatcher(*(found or own)).settle(record.id, provider_id, lost)

    def forecast(self, resolved: Any, plan: Plan, steps: int | None) -> Forecast:
        """What a plan would use up; on a device that cannot be opened here, by what its vendor's documents say."""
        device = spec.unwrap(resolved.device)
        name = called(device)
        key = Key.from_seed(resolved.seed)
        precision = partial(self.account.precision, runs=1)
        if plan.prepare is None:
            return forecast(
                plan, name, key, steps, [Reckoner(name, None, lambda circuits: NOTHING, lambda circuits: 0)]
            )
        if not isinstance(device, Spread):
            return forecast(
                plan, name, key, steps, [self._reckoner(device, resolved.precision)], precision_of=precision
            )
        try:
            fleet = self._opened(device, resolved.precision)
            assert isinstance(fleet, Fleet)
            reckoners = [_reckoner(member, needed(self.budget, member.price)) for member in fleet.members]
        except (DeviceError, ModuleNotFoundError):
            reckoners = [self._reckoner(one, resolved.precision) for one in device.devices]
        return forecast(plan, name, key, steps, reckoners, partial(shares_of, device), precision)

    def _reckoner(self, device: Any, precision: str) -> Reckoner:
        """What tells what circuits use up on a device."""
        name = called(device)
        try:
            opened = self._opened(device, precision)
        except (DeviceError, ModuleNotFoundError) as error:  # no account, no network, no extra
            jobs, known = usual(name), price(name, self._prices)
            said = f"It is reckoned with {jobs.said}." if jobs.said else "Each request is taken to be one job."
            self._say(f"{name} is not open, so that its limits are not known: {error} {said}")
            return unreached(name, known, jobs, _own_limits(device), needed(self.budget, known))
        assert isinstance(opened, Dispatcher)
        return _reckoner(opened, needed(self.budget, opened.price))

    def ledger(self) -> Ledger:
        """The session's jobs so far, and where the time went."""
        if self._kept is not None:
            return self._kept
        self.reporter.flush()
        return of_session(self.store, self.id) if self.written else Ledger(self.id, (), ())

    def keep_ledger(self) -> None:
        """Read the ledger before the store is closed; nothing hangs on it."""
        try:
            self._kept = self.ledger()
        except StoreError as error:
            log.warning("The ledger of %s could not be read: %s", self.id, error)

    def attend(self) -> None:
        """Do what other processes asked of the session since the last look.

        Raises:
            OwnedError: if another process has taken the session over.
        """
        for lane in list(self._lanes.values()):
            if lane.until is not None and lane.run.steps >= lane.until:
                hold(lane, True)
        now = time.monotonic()
        if not self.owned or self.store.path is None or now - self._attended < PULSE:
            return
        self._attended = now
        try:
            for command in self.store.jobs.take(self.id):
                self._obey(list(self._lanes.values()), command.body)
        except OwnedError:
            raise
        except StoreError as error:  # another process's lock, a full disk: what is asked can wait
            log.warning("Commands to %s could not be read: %s", self.id, error)

    def asked(self, do: str) -> None:
        """What a person asks of all runs, by a button."""
        self.order(do)
        self._held = do in ("pause", "step")

    def order(self, do: str, lane: Lane | None = None) -> None:
        """Do what this process asks of a run, or of all; who goes on with the session is bound by it."""
        if lane is None:
            lanes, body = list(self._lanes.values()), order(do)
        else:
            lanes, body = [lane], order(do, lane.run.id)
        try:
            self._obey(lanes, body)
        except StoreError as error:  # it is done, and is noted with what comes next
            log.warning("That %s was asked could not be noted: %s", do, error)

    def _obey(self, lanes: Sequence[Lane], body: Mapping[str, Any]) -> None:
        done = obey(lanes, body)
        if done is not None and body["do"] == "cancel":
            # Whoever lets one go on later enlists it anew.
            self._enlisted -= {lane.run.id for lane in lanes if body.get("run") in (None, lane.run.id)}
        self._unnoted.append((ORDERED, {**body, "done": done}))
        if self.owned:
            self.enlist()

    def wait(self, seconds: float) -> None:
        """Sleep, with an ear open for what other processes ask."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.attend()
            time.sleep(min(PULSE, left))

    def standing(self) -> dict[str, Any]:
        """What waits, how jobs stand that are under way, and what was used up, as JSON data."""
        waiting, paused = {}, []
        for name, lane in list(self._lanes.items()):
            ticket = lane.ticket
            if ticket is not None:
                waiting[name] = ticket.waiting
            if lane.paused:
                paused.append(name)
        used = {name: list(pair) for name, pair in self.account.summary().items()}
        return {"waiting": waiting, "paused": paused, "jobs": self.under_way.count(), "used": used}

    def close(self, state: SessionState = SessionState.CLOSED) -> None:
        """Close the vendors' sessions that are open, and let the session go."""
        self.closed = True
        with ExitStack() as last:  # from its end: what costs as long as it is open goes first, whatever goes wrong
            last.callback(self._let_go, state)
            last.callback(self.batches.close)
            for dispatcher in self._dispatchers.values():
                last.callback(dispatcher.close)

    def _let_go(self, state: SessionState) -> None:
        try:
            if self.owned:
                self.reporter.close()
                self.store.jobs.set_state(self.id, self.rests if state is SessionState.CLOSED else state)
        finally:
            self.owned = False
            self._lease.close()


def _own_limits(device: Any) -> Mapping[str, int]:
    return device.limits if isinstance(device, Device) else {}


def _noted(lane: Lane, before: Use) -> dict[str, Any]:
    """A run of a session as JSON data, from which another process can go on with it, and what it had used before."""
    rule = lane.run.rule
    return {
        "run": lane.run.id,
        "title": lane.run.title,
        "priority": lane.priority,
        "deadline": lane.deadline,
        "stop": None if rule is None else spec.encode(rule),
        "circuits": before.circuits,
        "seconds": before.seconds,
    }


def _reckoner(dispatcher: Dispatcher, alone: bool) -> Reckoner:
    return Reckoner(dispatcher.service.name, dispatcher.price, dispatcher.estimate, dispatcher.jobs, alone)


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
        return ticket.read(prepared)
