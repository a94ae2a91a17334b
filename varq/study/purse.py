"""A budget over a whole study: each order gets a part that its worker cannot exceed, and what it leaves comes back."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from varq import checks, spec
from varq.devices.catalog import called
from varq.devices.prices import Price, price
from varq.devices.several import Spread
from varq.session.budget import NOTHING, Budget, Use
from varq.session.session import Session
from varq.store.store import Store
from varq.study.cells import Layout, alike, resolved

__all__ = ["Purse"]

log = logging.getLogger("varq")

_NAMES = ("circuits", "shots", "seconds", "cost")
_WHOLE = ("circuits", "shots")
_MARGIN = 1.25  # beside what a cell is expected to use: methods differ in how often they ask
_SHARES = 8  # parts of what is free, of which a cell gets one where nothing is known of it
_MOST_DOUBLED = 30
_OFTEN = 20.0  # a count of all cells takes at most one part in so many of the time


@dataclass
class _Lease:
    """What a batch was given.

    Args:
        use: the most that it may use.
        before: what its cells had used up by then.
        whole: whether that was all that there was.
        runs: the ids of its cells.
    """

    use: Use
    before: Use
    whole: bool
    runs: Sequence[str]


class Purse:
    """What the cells of a study may use up together, whoever runs them and however often they are begun.

    Args:
        store: of the study; what is recorded there counts.
        layout: of the study.
        budget: of all cells; its reserve is not used, as each cell's last estimate is part of the cell.
        prices: of devices, those of one's own; None for none.

    Raises:
        TypeError: for something else than a budget.
        ValueError: for a limit on money with a device whose price is not known.
    """

    def __init__(self, store: Store, layout: Layout, budget: Budget, prices: Mapping[str, Price] | None = None) -> None:
        self._prices = prices
        self._budget = checks.instance("budget", budget, Budget, "Give varq.Budget(shots=...).")
        self._limit = budget.limit
        self._store, self._layout = store, layout
        self._jobs: dict[str, Use] = {}
        self._evaluated: dict[str, Use] = {}
        self._spent = self._held = NOTHING
        self._leases: dict[int, _Lease] = {}
        self._expected: dict[str, dict[str, float]] = {}  # of one cell, by kind; what is absent is not known
        self._short: Counter[int] = Counter()
        self._unpaid: set[str] = set()
        self._kinds: dict[int, str] = {}
        self._look = 0.0  # when all cells are counted again
        self._check_prices()
        self._count(layout.ids)

    def _check_prices(self) -> None:
        if self._budget.cost is None:
            return
        known: dict[str, bool] = {}
        for batch in self._layout.batches:
            task = resolved(self._layout.grid.spec(batch.cells[0]))
            if getattr(task, "shots", None) is None or task.device is None:
                continue
            device = spec.unwrap(task.device)
            for name in map(called, device.devices if isinstance(device, Spread) else [device]):
                if not known.setdefault(name, price(name, self._prices) is not None):
                    raise ValueError(
                        f"A budget of money needs the price of each device. None is known for {name}. Give a budget of "
                        "shots or seconds, or finish(prices=...)."
                    )

    # -- what was used up

    def _count(self, runs: Sequence[str]) -> Use:
        """Read again what runs have used up; returns it."""
        found = self._store.jobs.spent_on(list(dict.fromkeys(runs)))
        jobs = {name: Use(job.circuits, job.shots, job.seconds, job.cost) for name, job in found.jobs.items()}
        own = {run: Use(circuits, 0, seconds, 0) for run, (circuits, seconds) in found.evaluated.items()}
        for known, new in ((self._jobs, jobs), (self._evaluated, own)):
            for name, use in new.items():
                self._spent = self._spent + (use - known.get(name, NOTHING))
                known[name] = use
        return _sum([*jobs.values(), *own.values()])

    def _count_others(self) -> None:
        """Read again what cells have used up that have no part: a person may run one of them by itself."""
        began = time.monotonic()
        if began >= self._look:
            out = {run for lease in self._leases.values() for run in lease.runs}
            self._count([run for run in self._layout.ids if run not in out])
            now = time.monotonic()
            self._look = now + _OFTEN * (now - began)

    @property
    def spent(self) -> Use:
        """By all cells of the study, as recorded when they were last counted."""
        return self._spent

    def _free(self) -> Use:
        return self._limit - self._spent - self._held

    # -- what is expected

    def _kind(self, number: int) -> str:
        """What batches have in common whose cells use about the same."""
        if number not in self._kinds:
            self._kinds[number] = alike(resolved(self._layout.grid.spec(self._layout.batches[number].cells[0])))
        return self._kinds[number]

    def _expect(self, number: int) -> dict[str, float]:
        """What one cell of a batch is expected to use; judged before the first of its kind by its circuits."""
        kind = self._kind(number)
        if kind not in self._expected:
            task = self._layout.task(self._layout.batches[number].cells[0])
            try:
                with Session(store=self._store, prices=self._prices, progress=False) as session:
                    found = session.forecast(task)
            except Exception as error:  # what is wrong with a cell is told where it runs
                log.info("what a cell will use up is not known: %s", error)
                self._expected[kind] = {}
            else:
                known: dict[str, float | None] = {"shots": found.shots, "cost": found.cost if found.jobs else 0.0}
                if found.jobs:
                    known |= {"circuits": found.circuits, "seconds": found.seconds}
                self._expected[kind] = {name: float(value) for name, value in known.items() if value is not None}
        return self._expected[kind]

    # -- parts

    def lease(self, number: int, cells: Sequence[int], alone: bool) -> Budget | None:
        """A part for the cells of a batch; None if there is none just now, or, with `alone`, for good.

        Args:
            number: of the batch.
            cells: of it, that are to be run.
            alone: whether nobody else has a part that may come back.
        """
        kind = self._kind(number)
        if kind in self._unpaid:
            return None
        if number in self._leases:  # its worker was lost, perhaps not for ever: both together may use what one could
            found = self._leases[number]
            return self._part(found.use - (self._count(self._runs(cells)) - found.before))
        self._count_others()
        free, want = self._free(), self._wanted(number, len(cells))
        whole = any(getattr(want, name) > getattr(free, name) for name in _NAMES)
        if whole and not alone:
            return None
        if whole and any(getattr(want, n) > 0 and getattr(free, n) < (1 if n in _WHOLE else 1e-12) for n in _NAMES):
            self._unpaid.add(kind)
            return None
        use = free if whole else want
        runs = self._runs(cells)
        self._leases[number] = _Lease(use, self._count(runs), whole, runs)
        self._held = self._held + _finite(use)
        return self._part(use)

    def over(self, number: int) -> bool:
        """Whether nothing is left for a batch, whatever comes back of others."""
        return self._kind(number) in self._unpaid

    def _runs(self, cells: Sequence[int]) -> list[str]:
        return [self._layout.ids[cell] for cell in cells]

    def _wanted(self, number: int, cells: int) -> Use:
        free, expected = self._free(), self._expect(number)
        factor = 2.0 ** min(self._short[number], _MOST_DOUBLED)
        want = {}
        for name in _NAMES:
            if math.isinf(getattr(self._limit, name)):
                want[name] = 0.0
                continue
            each = expected.get(name)
            share = max(0.0, getattr(free, name)) / _SHARES if each is None else each * cells * _MARGIN
            # Where nothing is known, something is wanted, or nothing would be asked for, and got, for ever; a part of a
            # shot or circuit is none.
            least = 0.0 if each is not None else 1.0 if name in _WHOLE else 1e-12
            want[name] = max(least, math.ceil(share * factor) if name in _WHOLE else share * factor)
        return Use(**want)

    def _part(self, use: Use) -> Budget:
        """A budget of so much in each limited name; fractions of shots and circuits are left."""
        given: dict[str, Any] = {}
        for name in _NAMES:
            if not math.isinf(getattr(self._limit, name)):
                most = max(0.0, getattr(use, name))
                given[name] = math.floor(most) if name in _WHOLE else most
        return replace(Budget(**given), reserve=0.0)

    def returned(self, number: int, cells: Sequence[int], short: bool, owned: bool) -> bool:
        """An order came back; whether it may be asked for again.

        Args:
            number: of its batch.
            cells: that it had.
            short: whether it ended for want of a budget.
            owned: whether another process has some of its cells, which may still use what was given.
        """
        used = self._count(self._runs(cells))
        if owned:
            return True
        lease = self._leases.pop(number)
        self._held = self._held - _finite(lease.use)
        used = used - lease.before
        kind = self._kind(number)
        if not short:
            known = self._expected.setdefault(kind, {})
            for name in _NAMES:
                known[name] = max(known.get(name, 0.0), getattr(used, name) / len(cells))
            return True
        self._short[number] += 1
        if lease.whole and not any(getattr(used, name) > 0 for name in _NAMES):
            self._unpaid.add(kind)
            return False
        return True

    def note(self) -> str:
        """What people should know of what is left; "" where the budget sufficed."""
        if not self._unpaid:
            return ""
        limits = [
            f"{getattr(self._spent, name):,.10g} of {getattr(self._limit, name):,.10g} {name}"
            for name in _NAMES
            if not math.isinf(getattr(self._limit, name))
        ]
        return (
            f"the budget has no place for the rest: {' and '.join(limits)} are used up by the study so far. "
            "finish(budget=...) with more goes on"
        )


def _sum(uses: Sequence[Use]) -> Use:
    total = NOTHING
    for use in uses:
        total = total + use
    return total


def _finite(use: Use) -> Use:
    """A part of what is unlimited holds nothing back."""
    return Use(*(value if math.isfinite(value) else 0.0 for value in (getattr(use, name) for name in _NAMES)))
