"""Jobs in the store: written down before they are sent, their results on disk before anybody sees them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.devices.credentials import clean_text
from varq.store import job_tables
from varq.store.circuit_records import CircuitRow, Returned, Served
from varq.store.faults import ConflictError
from varq.store.folder import Folder
from varq.store.in_flight import InFlight
from varq.store.job_checks import ENDS, matched, moved, planned
from varq.store.job_reading import best, home, jobs_of, jobs_since, ledger_of, requests_of, serving, spent_by
from varq.store.job_records import JobRecord, JobState, LedgerRow, Mark, Spent, amount, count, identifier, plain
from varq.store.job_tables import StoredJob
from varq.store.job_union import contradiction
from varq.store.lease import Keeper, Watch
from varq.store.sessions import Sessions, by_prefix
from varq.store.spending import Expenses, expenses

__all__ = ["Jobs"]

Changed: TypeAlias = tuple[int, JobRecord]  # a job with its key
Records: TypeAlias = list[JobRecord]  # inside the class, `jobs` is a method
Bits: TypeAlias = NDArray[np.uint8]


class Jobs(Sessions):
    """Sessions with their jobs, as `Store.jobs` gives it.

    Each method that writes does so in one transaction. What it wrote of a paid job survives a power failure. Every
    method raises a `StoreError` of the kind that fits when a file cannot do its part.

    Example:
        >>> from varq.store.store import open_store
        >>> from varq.store.job_records import SessionRecord
        >>> with open_store(None) as store:
        ...     jobs = store.jobs
        ...     jobs.open(SessionRecord("session-1f", 1.75e9, "ada", "varq.qubit"))
        ...     job = JobRecord("varq-0001", "session-1f", 0, "varq.qubit", circuits=1, shots=2, created=1.75e9)
        ...     jobs.write([job], [CircuitRow("varq-0001", 0, "0" * 64, 2, 7, (("a run", 0, "step", 0),))])
        ...     jobs.sent({"varq-0001": "the device's own id"})
        ...     jobs.finish([Returned("varq-0001", (np.eye(2, dtype=np.uint8),), seconds=0.1)])
        ...     jobs.results("a run", 0, "step")[0].tolist(), jobs.spent("session-1f").shots
        ([[1, 0], [0, 1]], 2)
    """

    def __init__(self, folder: Folder, keeper: Keeper | None, host: str, watch: Watch) -> None:
        super().__init__(folder, keeper, host, watch)
        self._flying = InFlight()

    # -- writing

    def write(self, jobs: Iterable[JobRecord], circuits: Iterable[CircuitRow]) -> None:
        """Records the jobs of one submission, before any of them is sent: all, or none.

        Args:
            jobs: of one session, in the order of their numbers, which go on from those there.
            circuits: of all of them.

        Raises:
            ValueError: if the jobs are not as said, or the circuits not exactly those of the jobs.
            ConflictError: if a job of one of the ids is there.
            LookupError: if there is no such session.
            OwnedError: if the session was held here and somebody took it over.
        """
        new = [checks.instance("jobs", job, JobRecord) for job in jobs]
        rows = planned(new, [checks.instance("circuits", row, CircuitRow) for row in circuits])
        if not new:
            return
        session, number = new[0].session, new[0].number
        key = self._key(session)
        with self._folder.writer().write(any(job.paid for job in new)) as db:
            self._check_owner(db, session)
            last = db.execute("SELECT max(number) FROM jobs WHERE session = ?", (key,)).fetchone()[0]
            if last is not None and number <= last:
                raise ValueError(f"number must go on from {last} in {session}. Got {number}. Nothing was written.")
            try:
                written = job_tables.add_jobs(db, key, new, rows)
            except sqlite3.IntegrityError as error:
                raise ConflictError(
                    "A job is written once. One of these is in the store already. Nothing was written. "
                    "Give each job an id of its own, from new_job_id()."
                ) from error
        self._flying.add(written, rows)

    def sent(
        self, ids: Mapping[str, str], when: float | None = None, attempts: Mapping[str, int] | None = None
    ) -> None:
        """Records under which ids the vendor has jobs; one that is recorded so already is left as it is.

        Args:
            ids: the vendor's id of each job, by the job's id.
            when: seconds since 1970; None for now.
            attempts: how often it was tried to send each, by the job's id; once where it is not told.

        Raises:
            ValueError: if a job is neither "written" nor "uncertain".
            ConflictError: if a job is known under another id.
            LookupError: if there is no such job.
            OwnedError: if the session was held here and somebody took it over.
        """
        given = {job: plain("ids", name) for job, name in ids.items()}
        tried = {job: count("attempts", number) for job, number in (attempts or {}).items()}
        now = _moment(when)

        def change(db: sqlite3.Connection, found: Sequence[StoredJob]) -> list[Changed]:
            changed = []
            for stored in found:
                job = stored.record
                if job.state is JobState.SENT and job.provider_id == given[job.id]:
                    continue
                if job.provider_id not in (None, given[job.id]):
                    raise contradiction(f"Job {job.id}", "provider_id", job.provider_id, given[job.id])
                often = max(1, job.attempts, tried.get(job.id, 1))
                fields = {"provider_id": given[job.id], "sent": now, "attempts": often, "error": None}
                changed.append(moved(stored, JobState.SENT, fields))
            return changed

        self._change(list(given), change)

    def finish(self, returned: Iterable[Returned], when: float | None = None) -> None:
        """Records results; those of a job that is "done" with the same results are left as they are.

        Args:
            returned: what came back.
            when: seconds since 1970; None for now.

        Raises:
            ValueError: if a job is not "sent", or the results are not those of its circuits.
            ConflictError: if a job has other results already.
            LookupError: if there is no such job.
            OwnedError: if the session was held here and somebody took it over.
        """
        back = [checks.instance("returned", one, Returned) for one in returned]
        packed = [[job_tables.packed(bits) for bits in one.bits] for one in back]
        now = _moment(when)

        def change(db: sqlite3.Connection, found: Sequence[StoredJob]) -> list[Changed]:
            changed, arrays, placed = [], [], []
            circuits = self._circuits_of(found)
            for stored, one, data in zip(found, back, packed, strict=True):
                rows = matched(circuits[stored.key], one, [sha for sha, _ in data])
                if stored.record.state is JobState.DONE:
                    continue
                told = _said(one)
                changed.append(moved(stored, JobState.DONE, {**told, "finished": now, "error": None}))
                arrays += data
                placed += [(stored.key, row) for row in rows]
            job_tables.add_bits(db, arrays)
            job_tables.set_bits(db, placed)
            return changed

        self._change([one.job for one in back], change)

    def ran(self, returned: Iterable[Returned], when: float | None = None) -> None:
        """Records that simulated jobs have run, without their bits, which never leave the process that asked for them.

        Args:
            returned: what came back.
            when: seconds since 1970; None for now.

        Raises:
            ValueError: if a job is not "written".
            LookupError: if there is no such job.
            OwnedError: if the session was held here and somebody took it over.
        """
        back = [checks.instance("returned", one, Returned) for one in returned]
        now = _moment(when)

        def change(db: sqlite3.Connection, found: Sequence[StoredJob]) -> list[Changed]:
            changed = []
            for stored, one in zip(found, back, strict=True):
                told = _said(one)
                _, sent = moved(stored, JobState.SENT, {"sent": now, "attempts": 1})
                changed.append(moved(stored._replace(record=sent), JobState.DONE, {**told, "finished": now}))
            return changed

        self._change([one.job for one in back], change)

    def _circuits_of(self, jobs: Sequence[StoredJob]) -> dict[int, Sequence[CircuitRow]]:
        """The circuits of jobs of this host's file, by the jobs' keys."""
        known = {job.key: self._flying.circuits(job) for job in jobs}
        unknown = [key for key, rows in known.items() if rows is None]
        read = job_tables.circuits_by_job(self._folder.writer(), unknown)
        return {key: read[key] if rows is None else rows for key, rows in known.items()}

    def mark(
        self,
        jobs: str | Iterable[str],
        state: JobState | str,
        error: str | None = None,
        attempts: int | None = None,
        seconds: float | None = None,
        cost: float | None = None,
        when: float | None = None,
    ) -> None:
        """Records how jobs stand, where neither `sent` nor `finish` does; the same state again adds what is new.

        Args:
            jobs: one id or several.
            state: "uncertain", "unsent", "failed" or "cancelled"; or the present one.
            error: what went wrong; None for what is known. Credentials are blotted out.
            attempts: how often it was tried to send them; None for what is known.
            seconds: that the quantum processor was busy; None for what is known.
            cost: what the vendor charged; None for what is known.
            when: seconds since 1970; None for now.

        Raises:
            ValueError: if that state may not follow the present one; names both.
            LookupError: if there is no such job.
            OwnedError: if a session was held here and somebody took it over.
        """
        ids = [jobs] if isinstance(jobs, str) else list(jobs)
        self.mark_all([Mark(job, JobState(_state(state)), error, attempts, seconds, cost) for job in ids], when)

    def mark_all(self, marks: Iterable[Mark], when: float | None = None) -> None:
        """`mark` for jobs that stand differently, in one transaction.

        Args:
            marks: one for each job.
            when: seconds since 1970; None for now.
        """
        given = [(mark.job, JobState(_state(mark.state)), _told(mark)) for mark in marks]
        now = _moment(when)

        def change(db: sqlite3.Connection, found: Sequence[StoredJob]) -> list[Changed]:
            changed = []
            for stored, (_, kind, fields) in zip(found, given, strict=True):
                present = stored.record.state
                if kind is not present and kind in (JobState.SENT, JobState.DONE):
                    way = "sent(), which records its provider's id" if kind is JobState.SENT else "finish()"
                    raise ValueError(
                        f"A job becomes {kind.value!r} by {way}. Job {stored.record.id} is {present.value!r}."
                    )
                end = {"finished": now} if kind in ENDS and kind is not present else {}
                changed.append(moved(stored, kind, fields | end))
            return changed

        self._change([job for job, _, _ in given], change)

    def _change(
        self, ids: Sequence[str], change: Callable[[sqlite3.Connection, Sequence[StoredJob]], list[Changed]]
    ) -> None:
        """One transaction around a change of jobs, which is given them as they are then, in the order of `ids`."""
        for job in ids:
            identifier("job", job)
        if not ids:
            return
        if len(set(ids)) < len(ids):
            raise ValueError("A job can change once in a call. One of them is given twice. Nothing was written.")
        known = {job: found for job in ids if (found := self._flying.get(job)) is not None}
        facts = [(one.record.paid, one.record.session) for one in known.values()]
        facts += [self._facts(job) for job in ids if job not in known]
        sessions = {session for _, session in facts}
        for session in sessions:
            self._key(session)
        own = self._folder.writer()
        with own.write(any(paid for paid, _ in facts)) as db:
            for session in sessions:
                self._check_owner(db, session)
            sql = "SELECT seal FROM jobs WHERE key = ?"
            same = {job: one for job, one in known.items() if db.execute(sql, (one.key,)).fetchone() == (one.seal,)}
            read = job_tables.jobs_by_id(own, [job for job in ids if job not in same])
            written = job_tables.update_jobs(db, change(db, [same.get(job) or read[job] for job in ids]))
        self._flying.update(written)

    def _facts(self, job: str) -> tuple[bool, str]:
        """What never changes of a job: whether it is paid, and its session."""
        sql = "SELECT paid, sessions.id FROM jobs JOIN sessions ON sessions.key = jobs.session WHERE jobs.id = ?"
        found = self._folder.writer().read(sql, (job,))
        if found:
            return bool(found[0][0]), found[0][1]
        record = home(self._files(), job)[2]
        self.look_again(record.session)
        return record.paid, record.session

    # -- reading

    def job(self, prefix: str) -> JobRecord:
        """The one job whose id starts with `prefix`; "varq-" may be left out.

        Raises:
            ValueError: if the prefix has fewer than 4 characters.
            LookupError: if no job fits, or several do.
            ConflictError: if two hosts' files contradict each other.
        """
        files = self._files()
        sql = "SELECT id FROM jobs WHERE id >= ? AND id < ?"
        name = by_prefix("job", prefix, "varq-", lambda a, b: [row[0] for f in files for row in f.read(sql, (a, b))])
        return home(files, name)[2]

    def jobs(self, session: str, states: Iterable[JobState | str] | None = None) -> Records:
        """The jobs of a session, in order.

        Args:
            session: the session's id.
            states: only those in one of these; None for all.

        Raises:
            LookupError: if there is no such session.
            ConflictError: if two hosts' files contradict each other.
            StoreCorrupt: if one is not what was written.
        """
        known = [member.value for member in JobState]
        wanted = known if states is None else [checks.choice("states", state, known) for state in states]
        return jobs_of(self._places(session), wanted)

    def since(self, session: str, number: int) -> Records:
        """The jobs of a session from a number on, in order.

        Raises:
            LookupError: if there is no such session.
            ConflictError: if two hosts' files contradict each other.
        """
        return jobs_since(self._places(session), checks.integer("number", number, minimum=0))

    def requests(self, session: str) -> dict[str, tuple[tuple[str, int, str], ...]]:
        """The requests (owner, step, role) that each job of a session served, by the job's id.

        Raises:
            LookupError: if there is no such session.
        """
        return requests_of(self._places(session))

    def last(self, session: str) -> int:
        """The highest number of a session's jobs, -1 if it has none: the next one's is greater.

        Raises:
            LookupError: if there is no such session.
        """
        sql = "SELECT coalesce(max(number), -1) FROM jobs WHERE session = ?"
        return int(max(file.read(sql, (key,))[0][0] for file, key in self._places(session)))

    def received_as(self, provider_id: str, device: str) -> Records:
        """The jobs, of whatever sessions, that a device's vendor has under an id: one, unless somebody took another's.

        Args:
            provider_id: the vendor's.
            device: the device's name.
        """
        given = (plain("provider_id", provider_id), plain("device", device))
        where = "WHERE jobs.provider_id = ? AND jobs.device = ?"
        found = [stored.record for file in self._files() for stored in job_tables.read_jobs(file, where, given)]
        return list({job.id: job for job in found}.values())

    def circuits(self, job: str) -> list[CircuitRow]:
        """The circuits of a job, in order.

        Raises:
            LookupError: if there is no such job.
            StoreCorrupt: if one is not what was written.
        """
        file, key, _ = home(self._files(), job)
        return job_tables.read_circuits(file, key)

    def bits(self, job: str, position: int) -> Bits:
        """The result of one circuit: zeros and ones of shape (shots, wires), read-only.

        Raises:
            LookupError: if there is no such circuit, or no result yet.
            StoreCorrupt: if it is not what was written.
        """
        checks.integer("position", position, minimum=0)
        rows = self.circuits(job)
        if position >= len(rows):
            raise LookupError(f"Job {job} has {len(rows)} circuits. There is none at position {position}.")
        return job_tables.read_bits(self._folder.files(), rows[position])

    def results(self, owner: str, step: int, role: str) -> dict[int, Bits | str]:
        """What there is for a request: by circuit, its result, or the state of the job that was to bring it.

        Where several jobs serve one circuit, a result counts most, then a job that may still bring one.

        Args:
            owner: id of the run or batch.
            step: of the request.
            role: of the request.

        Raises:
            StoreCorrupt: if something is not what was written.
            LookupError: if a result has gone with another host's file.
        """
        checks.text("owner", owner)
        files = self._files()
        found = serving(files, owner, checks.integer("step", step, minimum=0), checks.text("role", role))
        return {
            item: job_tables.read_bits(files, row) if state is JobState.DONE else state.value
            for item, (state, row) in best(found).items()
        }

    def served(self, owner: str, step: int | None = None, role: str | None = None) -> list[Served]:
        """The circuits that serve a run or batch, by the order of their jobs.

        Args:
            owner: its id.
            step: only of this step; None for all.
            role: only in this role; None for all.
        """
        found = serving(self._files(), checks.text("owner", owner), step, role)
        ordered = sorted(found, key=lambda one: (one[1].created, one[1].number, one[2].position, one[0]))
        return [Served(use, job.id, row.position, job.state) for use, job, row in ordered]

    # -- accounts

    def spent(self, session: str) -> Spent:
        """What a session has used up: of every job that was or may have been sent.

        Raises:
            LookupError: if there is no such session.
            ConflictError: if two hosts' files contradict each other.
        """
        return spent_by(self._places(session))

    def spent_on(self, runs: Sequence[str]) -> Expenses:
        """What runs have used up, in whatever sessions: their jobs, and what was evaluated without any.

        Raises:
            ConflictError: if two hosts' files contradict each other.
        """
        return expenses(self._folder.files(), runs)

    def ledger(self, session: str | None = None) -> list[LedgerRow]:
        """Every job with what it cost and whom it served, in order.

        Args:
            session: only of the session with this id; None for all, the oldest session first.

        Raises:
            LookupError: if there is no such session.
            ConflictError: if two hosts' files contradict each other.
        """
        names = [record.id for record in reversed(self.sessions())] if session is None else [session]
        return [line for name in names for line in ledger_of(self._places(name))]


def _state(state: Any) -> str:
    return checks.choice("state", state, [member.value for member in JobState])


def _said(back: Returned) -> dict[str, Any]:
    """What came with a result; what it does not tell stays as it is known."""
    told = {name: value for name in ("queued", "seconds", "cost") if (value := getattr(back, name)) is not None}
    return {**told, "details": back.details}


def _told(mark: Mark) -> dict[str, Any]:
    """What a mark says beside the state."""
    told: dict[str, Any] = {
        "error": mark.error if mark.error is None else clean_text(checks.instance("error", mark.error, str)),
        "attempts": mark.attempts if mark.attempts is None else count("attempts", mark.attempts),
        "seconds": mark.seconds if mark.seconds is None else amount("seconds", mark.seconds),
        "cost": mark.cost if mark.cost is None else amount("cost", mark.cost),
    }
    return {name: value for name, value in told.items() if value is not None}


def _moment(when: float | None) -> float:
    return time.time() if when is None else amount("when", when)
