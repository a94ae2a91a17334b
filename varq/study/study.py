"""Studies: many runs under one name, of which only what is missing is run."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from varq import checks, names, spec
from varq.devices.credentials import clean_text
from varq.devices.prices import Price, load_prices
from varq.protocol import Result
from varq.session.budget import Budget
from varq.session.interrupt import requeued
from varq.session.known import finished
from varq.session.opening import UNSET, Unset, store_of
from varq.store.records import RunRecord
from varq.store.store import Store
from varq.study.cells import Layout, resolved, shards
from varq.study.executors import Here, opened
from varq.study.finishing import Finishing
from varq.study.forecast import Forecast, forecast
from varq.study.grid import Grid, axes_of
from varq.study.needs import check_offered
from varq.study.permits import free_spender, new_permit, signed, sole_spender
from varq.study.placement import Placements
from varq.study.purse import Purse
from varq.study.record import StudyRecord, is_recorded, named, recorded, shown, state_of
from varq.study.status import Status
from varq.study.stored import StoredStudy
from varq.study.watching import Watching
from varq.study.work import State, apart

__all__ = ["Study", "sweep"]

log = logging.getLogger("varq")

Needs: TypeAlias = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None] | None
Priority: TypeAlias = int | Callable[[Any], int]
Prices: TypeAlias = str | Path | Mapping[str, Any] | None


class Study(StoredStudy):
    """Many runs under one name; made by `varq.sweep`.

    Args:
        grid: the cells' specs.
        warm: the field along whose axis cells start where the one before ended; None for none.
        name: in the store; None for one that follows from the list of cells.
        batch: most cells that are evaluated together; None as of `varq.sweep`.
        store: folder of the store, or an open one; None keeps nothing.
        progress: whether to show a live table.
        needs: what cells take where they run, as of `varq.sweep`.
        priority: of cells, as of `varq.sweep`.

    Raises:
        ValueError: if the store has another study of that name, or for cells that make no study.
    """

    def __init__(
        self,
        grid: Grid,
        warm: str | None,
        name: str | None,
        batch: int | None,
        store: str | os.PathLike[str] | Store | Unset | None = UNSET,
        progress: bool = True,
        needs: Needs = None,
        priority: Priority = 0,
    ) -> None:
        self._progress = checks.boolean("progress", progress)
        most = None if batch is None else checks.integer("batch", batch, minimum=1)
        self._layout = Layout(grid, warm, most, needs, priority)
        called = named(name if name is not None else self._layout.digest[:12])
        opened, owns = store_of(store)
        rows = tuple(shown(grid.values(index)) for index in range(len(grid)))
        ids = tuple(self._layout.ids)
        super().__init__(opened, StudyRecord(called, self._layout.digest, grid.names, rows, ids, warm), owns)
        is_recorded(self._store, self.record)  # a name that is taken is an error; this one is, once something is run

    @property
    def layout(self) -> Layout:
        """Its cells and the batches in which they are run."""
        return self._layout

    # -- running --

    def finish(
        self,
        executor: Any = None,
        *,
        failed: bool = False,
        only_failed: bool = False,
        shard: tuple[int, int] | None = None,
        budget: Budget | None = None,
        prices: Prices = None,
    ) -> Status:
        """Run what is missing; what is done is found, and an unfinished cell goes on where it stood.

        An error of one cell is kept as its end and leaves the others alone.  Ctrl-C stops after what is in flight.

        Args:
            executor: where: None for this process, "processes" or a number of worker processes of this machine, the
                address of a Dask scheduler ("tcp://host:8786"), a cluster or client of Dask, or an object with `submit`
                as of `concurrent.futures` (of processes that are spawned, not forked).
            failed: whether to run failed cells again, too.
            only_failed: whether to run failed cells again, and nothing else.
            shard: (i, n), i from 1 to n: only the i-th of n parts of which none needs another, for n processes or
                machines.  Each writes a file of its own in the store, which `varq compact` unites.
            budget: what all cells together may use up, on all workers; what is recorded already counts.  When nothing
                is left the rest stays unfinished.
            prices: of devices, those of one's own, as of `varq.Session`: a budget of money counts by them.

        Returns:
            How the cells stand, and whether it was stopped.

        Raises:
            ValueError: for workers with a store in memory or that cannot do the work, a shard that there is not, or a
                need that the executor does not offer; nothing ran then.
            ConnectionError: if no scheduler answers at an address.
            OwnedError: if another process finishes the study just now, and one of both has a budget.
            RuntimeError: if the cluster is gone, or workers are lost again and again.
            StoreError: if the store cannot do its part; what is recorded stays.
            SystemExit: after SIGTERM, with the status 75, on which a batch script requeues.
        """
        among = self._shard(shard)
        if budget is not None and shard is not None:
            raise ValueError(
                "A budget holds over a whole study, and shards do not know of each other. Got both. Leave one out, or "
                "give budget= to one finish(executor=...)."
            )
        own = None if prices is None else dict(load_prices(prices))
        with requeued(), opened(executor) as chosen:
            if self._store.path is None and executor is not None:
                raise ValueError(
                    "Workers need a store on disk, where each writes a file of its own. This one is in memory. "
                    "Give sweep(..., store='folder')."
                )
            states = self._states(precise=True)
            wanted = _wanted(failed, only_failed)
            left = [index for index, state in enumerate(states) if state in wanted]
            with self._written(shard is not None) as store:
                recorded(store, self.record)
                note, stopped = self._run(chosen, left, among, states, budget, own, store) if left else ("", False)
        return Status(self.name, self.status(), note, stopped)

    def _written(self, alone: bool) -> AbstractContextManager[Store]:
        """The store, or with `alone` the same one with a file that no other process writes."""
        folder = self._store.path
        return apart(folder, self._store.host) if alone and folder is not None else nullcontext(self._store)

    def _run(
        self,
        executor: Any,
        left: Sequence[int],
        among: Iterable[int],
        states: Sequence[State],
        budget: Budget | None,
        prices: Mapping[str, Price] | None,
        store: Store,
    ) -> tuple[str, bool]:
        """Have cells run and recorded by a store; what is to be said of the rest, and whether somebody stopped it."""
        name = getattr(executor, "name", type(executor).__name__)
        board = names.find("display", "study")(self.name, self.record.names, len(self)) if self._progress else None
        watching = Watching(board, self.record, store)
        dashboard = getattr(executor, "dashboard", None)
        facts = {} if dashboard is None else {"dashboard": clean_text(dashboard)}
        with ExitStack() as held:
            purse = None
            if budget is None:
                held.enter_context(free_spender(store, self.name))
            else:
                held.enter_context(sole_spender(store, self.name, self._layout.ids))
                purse = Purse(store, self._layout, budget, prices)
            permit = None
            if hasattr(executor, "prepare"):
                permit = executor.prepare(store.path)
                held.callback(executor.interrupt)
            elif store.path is not None and not isinstance(executor, Here):
                permit = new_permit(store.path)
                held.callback(permit.unlink, missing_ok=True)
            if permit is not None:  # a client that is killed leaves workers behind that go on with what they have
                signed(permit, self.name)
            self._check_needs(executor, name, left)
            placements = Placements(store, self.name, name, facts)
            held.callback(placements.close)
            if board is not None:
                held.enter_context(board)
                watching.begin(states, left)
                if dashboard is not None:
                    board.say(f"{name}, whose dashboard is at {dashboard}")
            going = Finishing(self._layout, store, executor, left, among, watching, placements, purse, permit, prices)
            going.run()
        return "" if purse is None else purse.note(), going.stopped

    def _check_needs(self, executor: Any, name: str, left: Sequence[int]) -> None:
        """Raises unless everything that cells take is offered."""
        wanted = Counter(labels for labels in (self._layout.labels[index] for index in left) if labels)
        if wanted:
            offers = executor.offers() if hasattr(executor, "offers") else {}
            each = executor.offers_each() if hasattr(executor, "offers_each") else None
            check_offered(wanted, offers, name, each)

    def _shard(self, shard: tuple[int, int] | None) -> list[int]:
        if shard is None:
            return list(range(len(self._layout.batches)))
        if not isinstance(shard, tuple) or len(shard) != 2:
            raise ValueError(
                f"shard must be a pair (i, n) with i from 1 to n. Got {shard!r}. Give (1, 4), for instance."
            )
        number = checks.integer("the number of shards", shard[1], minimum=1)
        which = checks.integer("shard", shard[0], minimum=1, maximum=number, hint=f"There are {number} shards.")
        parts = shards(self._layout.batches, number)
        if not parts[which - 1]:
            _say_idle(which, number, sum(map(bool, parts)), any(batch.seats > 1 for batch in self._layout.batches))
        return parts[which - 1]

    # -- what came of it --

    def _states(self, precise: bool = False) -> list[State]:
        """How each cell stands; with `precise`, under the stop rules that the specs have now."""
        found: dict[str, State] = {}
        ruled: dict[str, RunRecord] = {}
        for record in self._store.several(list(dict.fromkeys(self._layout.ids))):
            found[record.id] = state_of(record)
            if precise and found[record.id] is State.DONE and _rule(record) is not None:
                ruled[record.id] = record
        if ruled:
            for index, name in enumerate(self._layout.ids):
                if name in ruled and not self._stands(index, ruled.pop(name)):
                    found[name] = State.UNFINISHED
        return [found.get(name, State.MISSING) for name in self._layout.ids]

    def _stands(self, index: int, record: RunRecord) -> bool:
        """Whether a recorded result stands under the stop rule that the cell's spec has now."""
        task = self._layout.task(index)
        rule = _stop(task)
        if rule is not None and spec.encode(rule) == _rule(record):
            return True
        rule = _stop(resolved(task)) if rule is None else rule
        result: Result = spec.loads(record.result or "", self._store.array)
        return rule is None or finished(result, lambda: rule)

    def status(self, note: str = "") -> Status:
        """How many cells are missing, unfinished, done and failed.

        Args:
            note: what else is to be said with it.
        """
        return Status(self.name, Counter(state.value for state in self._states()), note)

    def results(self) -> list[tuple[Any, Result]]:
        """The specs of the cells that are done, in the study's order, each with its result."""
        found: dict[str, Result] = {}
        for record in self._store.several(list(dict.fromkeys(self._layout.ids))):
            if state_of(record) is State.DONE:
                found[record.id] = spec.loads(record.result or "", self._store.array)
        return [(self._layout.task(k), found[name]) for k, name in enumerate(self._layout.ids) if name in found]

    def best(self, by: str = "value") -> Result:
        """The result of the cell with the least value.

        Args:
            by: the column that is to be least.

        Raises:
            LookupError: if no cell has one.
        """
        table = self.table()
        checks.choice("by", by, list(table))
        rows = [row for row in table.rows if isinstance(row[by], (int, float)) and row["state"] == State.DONE.value]
        if not rows:
            raise LookupError(f"The best cell is one that is done. None of {self.name!r} is. Run study.finish() first.")
        record = self._store.find(min(rows, key=lambda row: row[by])["run"])
        assert record.result is not None
        result: Result = spec.loads(record.result, self._store.array)
        return result

    def forecast(
        self,
        *,
        failed: bool = False,
        only_failed: bool = False,
        shard: tuple[int, int] | None = None,
        prices: Prices = None,
    ) -> Forecast:
        """What is left to do: cells, seconds, memory, and where circuits are sent jobs, shots and money.

        It times one evaluation of each kind of cells that is computed here, and records nothing.

        Args:
            failed: as of `finish`.
            only_failed: as of `finish`.
            shard: as of `finish`.
            prices: as of `finish`.
        """
        among = {cell for number in self._shard(shard) for cell in self._layout.batches[number].cells}
        wanted = _wanted(failed, only_failed)
        left = [index for index, state in enumerate(self._states(precise=True)) if state in wanted and index in among]
        known = [record for record in self._store.several(self._layout.ids) if record.reason is not None]
        return forecast(self._layout, left, known, self._store, prices)


def _wanted(failed: bool, only_failed: bool) -> set[State]:
    """The states of cells that are to be run."""
    if only_failed:
        return {State.FAILED}
    return {State.MISSING, State.UNFINISHED, *([State.FAILED] if failed else [])}


def _say_idle(which: int, number: int, parts: int, together: bool) -> None:
    more = ", or a smaller batch= in its sweep," if together else ""
    log.warning(
        f"Shard {which} of {number} has nothing to do: the study has {checks.counted(parts, 'part')} of which none "
        f"needs another. Fewer shards{more} give each some."
    )


def _rule(record: RunRecord) -> Any:
    """The stop rule that ended a run, as JSON data; None if none did."""
    return None if record.result is None else json.loads(record.result).get("rule")


def _stop(task: Any) -> Any:
    return task.stop if task.stop is not None else getattr(getattr(task, "optimizer", None), "stop", None)


def sweep(
    base: Any,
    over: Mapping[Any, Iterable[Any]] | None = None,
    *,
    warm_start: str | None = None,
    name: str | None = None,
    batch: int | None = None,
    needs: Needs = None,
    priority: Priority = 0,
    store: str | os.PathLike[str] | Store | Unset | None = UNSET,
    progress: bool = True,
) -> Study:
    """Many runs under one name: a spec over the values of its fields, or a list of specs.

    The same call again is the same study: `finish` runs only what is missing.  Exact cells of VQE and QAOA on
    `varq.qubit` that have one circuit (and an optimizer that asks for values and gradients) are evaluated together by
    one compiled function; which, is fixed by the study, so that where it runs changes nothing.

    Args:
        base: a spec such as `VQE(...)`, or a list of specs.
        over: values by the name of a field, such as {"problem.bond": [1.4, 1.6], "seed": range(5)}; every combination
            is a cell.  Fields that change together stand in a tuple, with rows of values:
            {("problem.bond", "seed"): [(1.4, 0), (1.6, 1)]}.
        warm_start: one of these fields: along its values each cell starts at the parameters that the one before it
            found (at the default, and saying so, where that one failed).
        name: in the store; None for one that follows from the cells.
        batch: most cells that are evaluated together, by one process.  None for 25; with `warm_start`, where whole
            chains of cells stay together, for an eighth of the chains (rounded up), so that there is something for
            several workers or shards.
        needs: what a cell takes where it runs, {"qpu": "ibm.torino"}, several of them for a cell on `varq.spread`, or
            {"gpu": 1}; or a function of the cell's spec (every choice made) that gives such a mapping or None.  No part
            of what a cell is: it says where, not what.
        priority: of cells, or a function of a cell's spec that gives it: higher goes first.
        store: folder of the store, or an open one; None keeps nothing.
        progress: whether to show a live table.

    Raises:
        ValueError: for a field that there is not, an axis without values, cells that do not fit together, or a name
            that the store has for another study.
        TypeError: for something that is no spec.

    Example:
        >>> from varq.problems import Molecule
        >>> from varq.algorithms import VQE
        >>> task = VQE(problem=Molecule.load("H2"), optimizer="L-BFGS-B")
        >>> bonds = {"problem.bond": [0.7, 0.735, 0.8]}
        >>> study = sweep(task, bonds, name="hydrogen", store=None, progress=False)
        >>> print(study.finish())
        hydrogen: 3 of 3 cells done
        >>> bool(max(abs(study.table()["deviation"])) < 1e-6)
        True
    """
    grid = Grid(base, axes_of({} if over is None else over))
    return Study(grid, warm_start, name, batch, store, progress, needs, priority)
