"""Sessions in the store: their beginning and state, and what passes between their owner and those who watch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

from varq import checks
from varq.store import job_care, job_tables, message_tables
from varq.store.database import Database
from varq.store.faults import ConflictError
from varq.store.folder import Folder
from varq.store.job_records import STUDY, SessionRecord, SessionState, identifier
from varq.store.job_tables import StoredSession
from varq.store.job_union import later
from varq.store.lease import Holder, Keeper, Watch, holders
from varq.store.messages import Command, Note

__all__ = ["Sessions", "by_prefix"]

_PREFIX = 4  # least characters of an id that name something
_LISTED = 8  # candidates shown for a prefix that fits several


def by_prefix(what: str, prefix: Any, start: str, look: Callable[[str, str], Iterable[str]]) -> str:
    """The one id that begins with `prefix`, or with `start` and `prefix`.

    Args:
        what: is looked for, in a word.
        prefix: at least 4 characters.
        start: with which ids begin, and which may be left out.
        look: gives the ids from one text to another.

    Raises:
        ValueError: for a prefix that is too short.
        LookupError: if none fits, or several.
    """
    checks.text(f"the id of a {what}", prefix)
    if len(prefix) < _PREFIX:
        raise ValueError(f"A {what} is named by at least {_PREFIX} characters of its id. Got {prefix!r}.")
    found = sorted({name for p in (prefix, start + prefix) for name in look(p, p + "\U0010ffff")})
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if found:
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        listed = ", ".join(found[:_LISTED])
        raise LookupError(f"{len(found)} {what}s have ids that start with {prefix!r}; give more of it: {listed}{more}.")
    raise LookupError(f"There is no {what} {prefix!r} in the store. `varq ledger` shows what there is.")


class Sessions:
    """Sessions, their notes and their commands; `Jobs` adds the jobs.

    Args:
        folder: the files of the store.
        keeper: of the leases; None where the store is only read.
        host: this machine's name.
        watch: tells whether owners live.
    """

    def __init__(self, folder: Folder, keeper: Keeper | None, host: str, watch: Watch) -> None:
        self._folder = folder
        self._keeper = keeper
        self._host = host
        self._watch = watch
        self._keys: dict[str, int] = {}  # of sessions in this host's file

    # -- sessions

    def open(self, record: SessionRecord) -> None:
        """Records a session; one that is there already is left as it is.

        Raises:
            ConflictError: if another session has the same id.
        """
        checks.instance("record", record, SessionRecord)
        own = self._folder.writer()
        new = StoredSession(0, record, 0)
        for known in self._stored(record.id):
            later(known, new)
        with own.write() as db:
            here = job_tables.read_sessions(own, "WHERE id = ?", (record.id,))
            if here:
                later(here[0], new)
            else:
                job_tables.add_session(db, record, 0)

    def session(self, prefix: str) -> SessionRecord:
        """The one session whose id starts with `prefix`; the word "session-" may be left out.

        Raises:
            ValueError: if the prefix has fewer than 4 characters.
            LookupError: if no session fits, or several do.
            ConflictError: if two hosts' files contradict each other.
        """
        return self._session(self._find(prefix)).record

    def _find(self, prefix: str) -> str:
        sql = "SELECT id FROM sessions WHERE id >= ? AND id < ?"
        files = self._files()
        return by_prefix(
            "session", prefix, "session-", lambda a, b: [row[0] for f in files for row in f.read(sql, (a, b))]
        )

    def sessions(self) -> list[SessionRecord]:
        """All sessions, newest first; what stands for a study is none."""
        found: dict[str, StoredSession] = {}
        for file in self._files():
            for stored in job_tables.read_sessions(file):
                if stored.record.id.startswith(STUDY):
                    continue
                known = found.setdefault(stored.record.id, stored)
                found[stored.record.id] = later(known, stored)
        return sorted((stored.record for stored in found.values()), key=lambda record: (-record.created, record.id))

    def noting(self, kind: str, word: str) -> list[SessionRecord]:
        """The sessions with a note of a kind in which a word stands as a text of its own, newest first.

        Args:
            kind: of the notes.
            word: without quotes and backslashes, such as an id.
        """
        sql = "SELECT DISTINCT sessions.id FROM notes JOIN sessions ON key = session WHERE kind = ? AND instr(body, ?)"
        names = {row[0] for file in self._files() for row in file.read(sql, (kind, f'"{word}"'))}
        records = [self._session(name).record for name in names]
        return sorted(records, key=lambda record: (-record.created, record.id))

    def beginning(self, prefix: str) -> list[SessionRecord]:
        """What stands among the sessions under ids that begin so, the oldest first."""
        found: dict[str, StoredSession] = {}
        where = "WHERE id >= ? AND id < ?"
        for file in self._files():
            for stored in job_tables.read_sessions(file, where, (prefix, prefix + "\U0010ffff")):
                known = found.setdefault(stored.record.id, stored)
                found[stored.record.id] = later(known, stored)
        return sorted((stored.record for stored in found.values()), key=lambda record: (record.created, record.id))

    def set_state(self, session: str, state: SessionState | str) -> None:
        """Records how a session stands now.

        Raises:
            ValueError: for an unknown state.
            LookupError: if there is no such session.
            OwnedError: if the session was held here and somebody took it over.
        """
        kind = SessionState(checks.choice("state", state, [member.value for member in SessionState]))
        self._key(session)
        newest = self._session(session)
        if newest.record.state is kind:
            return
        record = newest.record
        fields = (record.id, record.created, record.host, record.device, record.shots, record.settings)
        with self._folder.writer().write() as db:
            self._check_owner(db, session)
            revision = db.execute("SELECT revision FROM sessions WHERE id = ?", (session,)).fetchone()[0]
            job_tables.update_session(db, SessionRecord(*fields, kind), 1 + max(revision, newest.revision))

    def owner(self, session: str) -> Holder | None:
        """Who holds the lease of a session now (`Store.lease` with its id); None if nobody does."""
        identifier("session", session)
        if self._keeper is not None:
            return self._keeper.owner(session)
        held = [holder for holder in holders(self._folder.files(), session) if not holder.released]
        return next((holder for holder in held if not self._watch.gone(holder)), None)

    def silent(self, holder: Holder) -> bool:
        """Whether an owner may be gone: it cannot be seen from here, and its heartbeat is stale."""
        return self._watch.silent(holder)

    def abandoned(self, name: str) -> bool:
        """Whether what a run, a session or a budget is called by has an owner, and that may be gone (`silent`).

        What a process that lives may still use up, as a budget, is taken over by itself only then: a process that is
        seen to live is not robbed of that, however old its heartbeat.  A person may know better: `take_over=True`.
        """
        holder = self.owner(name)
        return holder is not None and self.silent(holder)

    def late(self, name: str) -> bool:
        """Whether a run has an owner elsewhere that should have shown a sign of life, even if its process is there.

        A process that no longer can write, on a full disk say, lives and holds its run for ever.  To take that over
        loses nothing: what it writes from then on is refused.
        """
        holder = self.owner(name)
        return holder is not None and not holder.is_by(self._watch.me) and self._watch.late(holder)

    def at_work(self) -> list[Holder]:
        """Who else holds a run, session or order now, as far as their heartbeats and processes tell.

        Raises:
            StoreUnwritable: if the store was opened for reading.
        """
        self._folder.writer()
        assert self._keeper is not None
        return self._keeper.at_work()

    def owned_since(self, session: str, when: float) -> bool:
        """Whether anybody has taken the lease of a session after a moment in seconds since 1970."""
        identifier("session", session)
        return any(holder.since >= when for holder in holders(self._folder.files(), session))

    # -- where they are

    def _files(self) -> list[Database]:
        """The files that can hold sessions, this host's first."""
        return job_care.having(self._folder.files())

    def _stored(self, session: str) -> list[StoredSession]:
        """A session as each file has it."""
        identifier("session", session)
        return [
            stored for file in self._files() for stored in job_tables.read_sessions(file, "WHERE id = ?", (session,))
        ]

    def _session(self, session: str) -> StoredSession:
        found = self._stored(session)
        if not found:
            raise self._unknown(session)
        newest = found[0]
        for other in found[1:]:
            newest = later(newest, other)
        return newest

    @staticmethod
    def _unknown(session: str) -> LookupError:
        return LookupError(f"There is no session {session!r} in the store. Record it with open(record) first.")

    def _places(self, session: str) -> list[tuple[Database, int]]:
        """The files that hold a session, this host's first, with its key in each.

        Raises:
            LookupError: if none does.
        """
        identifier("session", session)
        sql = "SELECT key FROM sessions WHERE id = ?"
        found = [(file, row[0]) for file in self._files() for row in file.read(sql, (session,))]
        if not found:
            raise self._unknown(session)
        return found

    def _key(self, session: str) -> int:
        """The key of a session in this host's file, which first takes over what other hosts recorded of it.

        Raises:
            LookupError: if no file has it.
            ConflictError: if two files contradict each other.
        """
        if session not in self._keys:
            own = self._folder.writer()
            others = [file for file, _ in self._places(session) if file is not own]
            if others:
                with own.write() as db:
                    for file in others:
                        taken = job_care.take(db, own, file, session)
                        if taken.conflicts:
                            raise ConflictError(taken.conflicts[0])
                    job_care.copy_bits(db, others, session)
            self._keys[session] = own.read("SELECT key FROM sessions WHERE id = ?", (session,))[0][0]
        return self._keys[session]

    def look_again(self, session: str) -> None:
        """Before the next change of a session, take over what other hosts have recorded of it since."""
        self._keys.pop(session, None)

    def _check_owner(self, db: sqlite3.Connection, session: str) -> None:
        """Raises OwnedError if a session that was held here has passed to somebody else."""
        keeper = self._keeper
        if keeper is not None and (session in keeper.held or session in keeper.lost):
            found = db.execute("SELECT token FROM leases WHERE run = ? AND released = 0", (session,)).fetchone()
            keeper.check(session, found[0] if found else None)

    # -- notes

    def note(self, session: str, kind: str, body: Any = None) -> Note:
        """Notes something that people who watch the session are to see.

        Args:
            session: the session's id.
            kind: what it is about, in a word.
            body: JSON values; what looks like a credential is not kept.

        Raises:
            LookupError: if there is no such session.
            OwnedError: if the session was held here and somebody took it over.
            TypeError: if `body` is no JSON data.
        """
        return self.note_all(session, [(kind, body)])[0]

    def note_all(self, session: str, entries: Iterable[tuple[str, Any]]) -> list[Note]:
        """`note` for several things at once, pairs of kind and body."""
        kept = [(checks.text("kind", kind), message_tables.kept(body)) for kind, body in entries]
        key = self._key(session)
        if not kept:
            return []
        sql = "SELECT coalesce(max(number), -1) FROM notes WHERE session = ?"
        last = max(file.read(sql, (there,))[0][0] for file, there in self._places(session))
        with self._folder.writer().write() as db:
            self._check_owner(db, session)
            first = 1 + max(last, db.execute(sql, (key,)).fetchone()[0])
            now = time.time()
            notes = [Note(session, first + i, self._host, now, *entry) for i, entry in enumerate(kept)]
            message_tables.add_notes(db, key, notes)
        return notes

    def notes(self, session: str, after: int = -1, kind: str | None = None) -> list[Note]:
        """The notes of a session whose number is greater than `after`, in order.

        Args:
            session: the session's id.
            after: a number.
            kind: only those of this kind; None for all.

        Raises:
            LookupError: if there is no such session.
            StoreCorrupt: if one is not what was written.
        """
        checks.integer("after", after, minimum=-1)
        found = {}
        for file, key in self._places(session):
            given: tuple[Any, ...] = (key, after) if kind is None else (key, after, kind)
            where = f"WHERE session = ? AND number > ?{'' if kind is None else ' AND kind = ?'}"
            for note in message_tables.read_notes(file, where, given):
                found[note.number, note.host] = note
        return [found[place] for place in sorted(found)]

    # -- commands

    def post(self, session: str, body: Any) -> Command:
        """Asks something of the process that owns a session, from any process or host that sees the store.

        Args:
            session: the session's id.
            body: JSON values: what to do; what looks like a credential is not kept.

        Raises:
            LookupError: if there is no such session.
            TypeError: if `body` is no JSON data.
        """
        self._places(session)
        command = message_tables.new_command(session, body)
        with self._folder.writer().write() as db:
            number = message_tables.add_command(db, command)
        return Command(command.id, session, number or 0, command.time, command.body, False)

    def take(self, session: str) -> list[Command]:
        """The commands that nobody has taken yet, in order; each is given out once, whoever asks.

        Raises:
            OwnedError: if the session was held here and somebody took it over.
        """
        own = self._folder.writer()
        waiting = "WHERE session = ? AND taken = 0"
        theirs = self._waiting_elsewhere(session)
        if not theirs and not own.read(f"SELECT 1 FROM commands {waiting} LIMIT 1", (session,)):
            return []
        with own.write() as db:
            self._check_owner(db, session)
            taken = message_tables.read_commands(own, waiting, (session,))
            for command in taken:
                message_tables.take_command(db, command)
            for command in theirs:
                if message_tables.add_command(db, _as_taken(command)) is not None:
                    taken.append(command)
        if theirs:
            taken.sort(key=lambda command: command.time)
        return [_as_taken(command) for command in taken]

    def _waiting_elsewhere(self, session: str) -> list[Command]:
        """Commands in other hosts' files: they are taken by a copy in this host's, since those are only read."""
        own = self._folder.writer()
        others = job_care.having(self._folder.elsewhere())
        return [
            command
            for file in others
            for command in message_tables.read_commands(file, "WHERE session = ? AND taken = 0", (session,))
            if not own.read("SELECT 1 FROM commands WHERE id = ?", (command.id,))
        ]

    def commands(self, session: str) -> list[Command]:
        """All commands of a session, oldest first, with those that were taken.

        Raises:
            StoreCorrupt: if one is not what was written.
        """
        identifier("session", session)
        found: dict[str, Command] = {}
        for file in self._files():
            for command in message_tables.read_commands(file, "WHERE session = ?", (session,)):
                if command.id not in found or command.taken:
                    found[command.id] = command
        return sorted(found.values(), key=lambda command: (command.time, command.number))


def _as_taken(command: Command) -> Command:
    return Command(command.id, command.session, command.number, command.time, command.body, True)
