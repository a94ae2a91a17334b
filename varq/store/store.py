"""The store: runs, their journals and results, in a folder with one file for each host, read as one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from numpy.typing import NDArray

from varq import checks
from varq.protocol import Reason
from varq.store import maintenance, tables
from varq.store.database import Database
from varq.store.faults import OwnedError, StoreCorrupt, StoreForeign, StoreMissing
from varq.store.folder import Folder, store_folder
from varq.store.jobs import Jobs
from varq.store.lease import Keeper, Lease, Process, Watch
from varq.store.parts import CompactReport, take_in
from varq.store.records import ROLES, Finding, GcReport, MergeReport, Row, RunRecord
from varq.store.tables import Outcome, Stored

__all__ = ["Store", "open_store"]

_PREFIX = 4  # least characters of an id that name a run
_AT_ONCE = 500  # runs read together
_LISTED = 8  # candidates shown for a prefix that fits several
Records: TypeAlias = list[RunRecord]  # inside the class, `list` is a method
Rows: TypeAlias = list[Row]
Findings: TypeAlias = list[Finding]
Group: TypeAlias = list[Stored]
Names: TypeAlias = list[str]
_NOTHING: Mapping[str, NDArray[Any]] = {}


def open_store(
    path: str | os.PathLike[str] | None,
    *,
    read_only: bool = False,
    timeout: float = 30.0,
    heartbeat: float = 10.0,
    stale: float = 60.0,
    host: str | None = None,
    part: str | None = None,
) -> Store:
    """Opens a store, making the folder and this host's file in it where they are missing.

    Args:
        path: the folder; None for a store in memory, gone with the process.
        read_only: open what is there, and never write.
        timeout: seconds to wait for another process's lock.
        heartbeat: seconds between the signs of life of a run's owner.
        stale: age of the last sign of life, in seconds, after which a run may be taken over.
        host: this machine's name; None for the one it gives itself.
        part: the name of a further file of this machine, for a process that writes beside others; None for its one
            file.

    Raises:
        StoreUnwritable: if the folder or this host's file cannot be made or written.
        StoreForeign: if a file in it is not varq's.
        StoreNewer: if a file in it needs a newer varq.
        StoreCorrupt: if a file in it is damaged.
        StoreError: the base of all these; for any other fault.

    Example:
        >>> with open_store(None) as store:
        ...     store.list()
        []
    """
    folder = None if path is None else store_folder(path)
    checks.boolean("read_only", read_only)
    checks.real("timeout", timeout, minimum=0)
    checks.real("heartbeat", heartbeat, above=0)
    checks.real("stale", stale, minimum=0)
    if part is not None:
        checks.text("part", part)
    pulse = (float(heartbeat), float(stale))
    return Store(folder, read_only, float(timeout), pulse, host or socket.gethostname(), part)


class Store:
    """Runs with their journals and results; use `open_store` to get one.

    A store may be used from several threads, and by several processes at once. Every method raises a `StoreError` of
    the kind that fits when a file cannot do its part; whatever was recorded before stays.
    """

    def __init__(
        self,
        path: Path | None,
        read_only: bool,
        timeout: float,
        pulse: tuple[float, float],
        host: str,
        part: str | None = None,
    ) -> None:
        self.path = path
        self.host = host
        self._timeout = timeout
        writer = host if part is None else f"{host}.{part}"
        self._folder = Folder(path, writer, read_only, timeout)
        self._keeper = None
        if self._folder.own is not None:
            self._keeper = Keeper(self._folder.own, self._folder.elsewhere, Process.this(host), *pulse)
        self._jobs = Jobs(self._folder, self._keeper, writer, Watch(Process.this(host), pulse[1]))
        self._adopted: set[str] = set()  # runs that this host's file has
        self._foreign: dict[str, dict[tuple[int, str], Row]] = {}

    def __repr__(self) -> str:
        return f"Store({'in memory' if self.path is None else str(self.path)!r})"

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the runs it owns and closes its files; a second call does nothing."""
        if self._keeper is not None:
            self._keeper.close()
        self._folder.close()

    @property
    def jobs(self) -> Jobs:
        """Sessions and their jobs."""
        return self._jobs

    # -- runs

    def get(self, run_id: str) -> RunRecord | None:
        """The run with exactly this id, or None."""
        found = self._union(self._folder.files(), "WHERE id = ?", (checks.text("run_id", run_id),))
        return found[0] if found else None

    def find(self, prefix: str) -> RunRecord:
        """The one run whose id starts with `prefix`.

        Raises:
            ValueError: if the prefix has fewer than 4 characters.
            LookupError: if no run fits, or several do; lists close or fitting ones.
        """
        checks.text("the id of a run", prefix)
        if len(prefix) < _PREFIX:
            raise ValueError(f"A run is named by at least {_PREFIX} characters of its id. Got {prefix!r}.")
        found = self._union(self._folder.files(), "WHERE id >= ? AND id < ?", (prefix, prefix + "\U0010ffff"))
        exact = [record for record in found if record.id == prefix]
        if len(found) == 1 or exact:
            return (exact or found)[0]
        if found:
            lines = "".join(f"\n  {record.id[:16]}  {record.title}" for record in found[:_LISTED])
            more = f"\n  and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            raise LookupError(f"{len(found)} runs have ids that start with {prefix!r}; give more of it:{lines}{more}")
        raise StoreMissing(self._unknown(prefix))

    def _unknown(self, run_id: str) -> str:
        where = "in memory" if self.path is None else f"in {self.path}"
        ids = {row[0] for file in self._folder.files() for row in file.read("SELECT id FROM runs")}
        if not ids:
            return f"There is no run {run_id[:16]!r}: the store {where} is empty."
        short = {i[: max(len(run_id), _PREFIX)]: i[:16] for i in ids}
        near = [short[s] for s in checks.close_names(run_id, short)]
        meant = f" Did you mean {' or '.join(near)}?" if near else " `varq list` shows what there is."
        return f"There is no run {run_id[:16]!r} in the store {where}.{meant}"

    def list(self, algorithm: str | None = None, limit: int | None = None) -> Records:
        """The runs, newest first.

        Args:
            algorithm: only those of this kind, such as "algorithm:vqe".
            limit: only so many.
        """
        where, values = (
            ("", ()) if algorithm is None else ("WHERE algorithm = ?", (checks.text("algorithm", algorithm),))
        )
        if limit is not None:
            checks.integer("limit", limit, minimum=0)
        order = "ORDER BY created DESC, id" + ("" if limit is None else f" LIMIT {limit}")
        return self._union(self._folder.files(), f"{where} {order}", values)[:limit]

    def _union(self, files: Sequence[Database], condition: str, values: tuple[Any, ...]) -> Records:
        groups: dict[str, Group] = {}
        for file in files:
            for run in tables.read_runs(file, condition, values):
                groups.setdefault(run.definition[0], []).append(run)
        records = [(group[0] if len(group) == 1 else tables.joined(files, group)).record() for group in groups.values()]
        return sorted(records, key=lambda record: (-record.created, record.id))

    def several(self, run_ids: Sequence[str]) -> Iterator[RunRecord]:
        """The runs with exactly these ids, as far as there are any, in no order; a few are held at a time."""
        for start in range(0, len(run_ids), _AT_ONCE):
            some = tuple(run_ids[start : start + _AT_ONCE])
            yield from self._union(self._folder.files(), f"WHERE id IN ({', '.join('?' * len(some))})", some)

    def create(self, record: RunRecord, arrays: Mapping[str, NDArray[Any]] = _NOTHING) -> None:
        """Records a run, with the large arrays of its spec; a run that is there already is left as it is.

        Raises:
            ConflictError: if a run of another identity has the same id.
        """
        checks.instance("record", record, RunRecord)
        with self._folder.writer().write() as db:
            tables.put_arrays(db, arrays)
            tables.add_run(db, tables.definition(record), Outcome.of(record))

    def _adopt(self, run_id: str) -> None:
        """Makes sure that this host's file knows a run that may be another host's."""
        own = self._folder.writer()
        if run_id in self._adopted:
            return
        if not own.read("SELECT 1 FROM runs WHERE id = ?", (run_id,)):
            found = [
                run for file in self._folder.elsewhere() for run in tables.read_runs(file, "WHERE id = ?", (run_id,))
            ]
            if not found:
                raise StoreMissing(self._unknown(run_id))
            run = tables.joined(self._folder.files(), found)
            wanted = maintenance.references(run.definition[3])
            with own.write() as db:
                tables.put_arrays(db, {sha: self.array(sha) for sha in wanted})
                tables.add_run(db, run.definition, run.outcome)
        self._adopted.add(run_id)

    # -- journal

    def append(self, run_id: str, row: Row, arrays: Mapping[str, NDArray[Any]] = _NOTHING) -> None:
        """Records one step: when this returns it survives the end of the process, whatever ends it.

        A power failure may take the last steps: what they cost is not lost, as `Store.jobs` keeps the bits of paid jobs
        even then, and the steps are made of them again.

        Args:
            run_id: the run's id.
            row: the step. One that is there already with the same content is left as it is.
            arrays: large arrays that its request or reply names, by SHA-256.

        Raises:
            ConflictError: if the step is there with another content; shows both.
            OwnedError: if the run was held here and somebody took it over.
            LookupError: if there is no such run.
        """
        self.extend(run_id, (row,), arrays)

    def extend(self, run_id: str, rows: Iterable[Row], arrays: Mapping[str, NDArray[Any]] = _NOTHING) -> None:
        """`append` for several rows: all of them are recorded, or none."""
        if run_id not in self._adopted:
            self._adopt(run_id)
        foreign = self._foreign_rows(run_id)
        with self._folder.writer().write() as db:
            self._check_owner(db, run_id)
            if arrays:
                tables.put_arrays(db, arrays)
            for row in rows:
                elsewhere = foreign.get((row.step, row.role)) if foreign else None
                if elsewhere is not None and not elsewhere.same_as(row):
                    raise tables.conflict(run_id, elsewhere, row)
                if elsewhere is None and not tables.add_row(db, run_id, row):
                    self._check_equal(db, run_id, row)

    def _check_owner(self, db: Any, run_id: str) -> None:
        keeper = self._keeper
        if keeper is not None and (run_id in keeper.held or run_id in keeper.lost):
            sql = "SELECT token FROM leases WHERE run = ? AND released = 0"
            found = db.execute(sql, (run_id,)).fetchone()
            keeper.check(run_id, found[0] if found else None)

    def _check_equal(self, db: Any, run_id: str, row: Row) -> None:
        sql = f"{tables.ROWS} AND step = ? AND role = ?"
        found = db.execute(sql, (run_id, row.step, row.role)).fetchone()
        if found is None:
            self._adopted.discard(run_id)
            raise StoreMissing(self._unknown(run_id))
        here = tables.row_of(self._folder.writer().name, run_id, found)
        if not here.same_as(row):
            raise tables.conflict(run_id, here, row)

    def _foreign_rows(self, run_id: str) -> dict[tuple[int, str], Row]:
        """What other hosts recorded of a run; read once, since only its owner adds to it."""
        known = self._foreign.get(run_id)
        if known is None:
            rows = [row for file in self._folder.elsewhere() for row in tables.read_rows(file, run_id)]
            known = self._foreign[run_id] = {(row.step, row.role): row for row in rows}
        return known

    def rows(self, run_id: str, first: int = 0) -> Rows:
        """The journal of a run from step `first` on, by step; within a step in the order of `records.ROLES`.

        Raises:
            ConflictError: if two hosts recorded different contents for one step; shows both.
            StoreCorrupt: if a row is not what was written.
        """
        checks.integer("first", first, minimum=0)
        files = self._folder.files()
        if len(files) == 1:
            return tables.read_rows(files[0], run_id, "AND step >= ?", (first,))
        out: dict[tuple[int, int], Row] = {}
        for file in files:
            for row in tables.read_rows(file, run_id, "AND step >= ?", (first,)):
                known = out.setdefault((row.step, ROLES.index(row.role)), row)
                if not known.same_as(row):
                    raise tables.conflict(run_id, known, row)
        return [out[place] for place in sorted(out)]

    def array(self, sha256: str) -> NDArray[Any]:
        """A large array by its SHA-256, read-only.

        Raises:
            LookupError: if the store has none.
            StoreCorrupt: if its bytes have changed.
        """
        for file in self._folder.files():
            found = tables.read_array(file, sha256)
            if found is not None:
                return found
        raise StoreMissing(
            f"The store has no array {sha256[:12]}. If the run came from another machine, merge its store."
        )

    # -- outcomes

    def conclude(
        self,
        run_id: str,
        reason: str,
        result: str,
        arrays: Mapping[str, NDArray[Any]] = _NOTHING,
        steps: int = 0,
        value: float | None = None,
        stderr: float | None = None,
        reference: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Records what a run came to, in place of what it had come to before.

        Args:
            run_id: the run's id.
            reason: why it ended, one of `varq.protocol.Reason`.
            result: canonical JSON of the result.
            arrays: large arrays that the result names, by SHA-256.
            steps: steps done.
            value: the answer.
            stderr: one standard error of `value`.
            reference: the independent exact answer.
            seconds: time spent evaluating.

        Raises:
            LookupError: if there is no such run.
            OwnedError: if the run was held here and somebody took it over.
        """
        checks.instance("result", result, str, "Give the canonical JSON text: varq.spec.dumps(result).")
        reason = checks.choice("reason", getattr(reason, "value", reason), [r.value for r in Reason])
        self._end(run_id, Outcome(steps, 0, reason, result, value, stderr, reference, seconds), arrays)

    def reopen(self, run_id: str) -> None:
        """Marks a run as unfinished again; its journal stays, its reference and stop rule too."""
        self._end(run_id, self._outcome(run_id)._replace(reason=None, result=None, value=None, stderr=None), _NOTHING)

    def go_by(self, run_id: str, rule: str) -> None:
        """Records the stop rule that a run goes by from now on; what it came to stays.

        Args:
            run_id: the run's id.
            rule: canonical JSON of the rule, "null" for the method's own.

        Raises:
            LookupError: if there is no such run.
            OwnedError: if the run was held here and somebody took it over.
        """
        checks.instance("rule", rule, str, "Give the canonical JSON text: varq.spec.dumps(rule).")
        self._end(run_id, self._outcome(run_id)._replace(rule=rule), _NOTHING)

    def _outcome(self, run_id: str) -> Outcome:
        record = self.get(run_id)
        if record is None:
            raise StoreMissing(self._unknown(run_id))
        return Outcome.of(record)

    def _end(self, run_id: str, outcome: Outcome, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._adopt(run_id)
        files = self._folder.elsewhere()
        foreign = [run.outcome for file in files for run in tables.read_runs(file, "WHERE id = ?", (run_id,))]
        with self._folder.writer().write() as db:
            self._check_owner(db, run_id)
            tables.put_arrays(db, arrays)
            if not tables.replace_result(db, run_id, outcome, foreign):
                self._adopted.discard(run_id)
                raise StoreMissing(self._unknown(run_id))

    # -- ownership

    def lease(self, run_id: str, take_over: bool = False) -> AbstractContextManager[Lease]:
        """The right to write to a run or session, held inside `with`: each has one owner at a time.

        Args:
            run_id: the id of the run or session; it need not exist yet.
            take_over: whether to take it from an owner whose last sign of life is stale, or from another run object in
                this process. (An owner whose process is seen to be gone is replaced without asking.)

        Raises:
            OwnedError: on entering, if the run has an owner.
        """
        self._folder.writer()
        assert self._keeper is not None
        self._foreign.pop(run_id, None)
        self._jobs.look_again(run_id)
        return Lease(self._keeper, checks.text("run_id", run_id), checks.boolean("take_over", take_over))

    # -- care

    def remove(self, run_ids: Iterable[str]) -> Names:
        """Deletes runs for good, named by their ids or prefixes; the full ids of what was deleted.

        Arrays that nothing refers to any more go with the next `gc`.

        Raises:
            LookupError: if one is unknown or ambiguous; nothing is deleted then.
            OwnedError: if one is owned just now; nothing is deleted then.
            StoreUnwritable: if one is also in another host's file, which only that host writes.
        """
        own = self._folder.writer()
        ids = [self.find(prefix).id for prefix in checks.instance("run_ids", run_ids, (list, tuple, set, frozenset))]
        for run_id in ids:
            holder = self._keeper.owner(run_id) if self._keeper is not None else None
            if holder is not None and self._keeper is not None:
                raise OwnedError(
                    f"A run is removed only when nobody owns it. Run {run_id[:12]} is owned "
                    f"{holder.words(self._keeper.me)}. Stop it first. Nothing was removed."
                )
        maintenance.remove(own, self._folder.elsewhere(), ids)
        for run_id in ids:
            self._adopted.discard(run_id)
            self._foreign.pop(run_id, None)
        return ids

    def gc(self) -> GcReport:
        """Frees what nothing needs in this host's file: arrays that no run and no job names, unfinished runs without a
        single row that nobody owns, for which no job was written, which no session is to go on with and that are older
        than a day, leases given back, drafts of files and permits of studies that were left. Then it packs the file.
        """
        owned = self._keeper.owner if self._keeper is not None else lambda _: None
        report = maintenance.gc(self._folder.writer(), self._folder.elsewhere(), owned)
        self._adopted.clear()
        return report

    def compact(self) -> CompactReport:
        """Takes the parts that no process writes (`open_store(part=...)`) into this host's file, deletes them, and does
        what `gc` does. Those of another host count as left once nothing was written there for ten minutes.

        Raises:
            ConflictError: if two of them contradict each other; nothing is deleted then.
        """
        taken, left = take_in(self._folder, self.host, self._timeout)
        self._adopted.clear()
        self._foreign.clear()
        return CompactReport(taken, self.gc(), left)

    def merge(self, others: Iterable[str | os.PathLike[str]]) -> MergeReport:
        """Adds the runs, sessions and jobs of other stores, with all that belongs to them, to this host's file: all, or
        nothing.

        Args:
            others: folders of stores, or single files of them; they are only read.

        Raises:
            ConflictError: if a step, an identity or a job differs between two of them; shows both.
            StoreError: if one cannot be read.
        """
        own = self._folder.writer()
        sources = maintenance.sources(others, own.path, self._timeout)
        try:
            return maintenance.merge(own, self._folder.elsewhere(), sources)
        finally:
            for file in sources:
                file.close()

    def verify(self) -> Findings:
        """What is wrong with the store, nothing if it is sound: the digest of every row and array, gaps in journals,
        missing arrays, the structure of each file.  Only reads.
        """
        findings: Findings = []
        try:
            files = self._folder.files()
        except (StoreCorrupt, StoreForeign) as error:
            files = [] if self._folder.own is None else [self._folder.own]
            findings.append(Finding(None, None, "file", str(error)))
        return findings + maintenance.verify(files)
