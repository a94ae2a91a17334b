"""How notes and commands become rows of a store file, and rows values again."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from varq.devices.credentials import clean
from varq.store.database import Database
from varq.store.job_records import json_text
from varq.store.job_tables import Read, changed
from varq.store.messages import Command, Note
from varq.store.records import brief_seal as seal

__all__ = [
    "add_command",
    "add_notes",
    "command_rows",
    "kept",
    "new_command",
    "note_rows",
    "read_commands",
    "read_notes",
    "take_command",
]

NOTES = "SELECT sessions.id, number, notes.host, time, kind, body, notes.seal FROM notes JOIN sessions ON key = session"
COMMANDS = "SELECT id, session, time, body, taken, number, seal FROM commands"


def kept(body: Any) -> Any:
    """JSON data as it comes back from the store: lists for tuples, and nothing that looks like a credential."""
    return json.loads(json_text("body", clean(body)))


def add_notes(db: sqlite3.Connection, key: int, notes: Iterable[Note], known: bool = False) -> int:
    """Writes notes of a session of this file; how many are new."""
    rows = []
    for note in notes:
        values = (note.number, note.host, note.time, note.kind, json_text("body", note.body))
        rows.append((key, *values, seal("notes", note.session, *values)))
    sql = "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)" + (" ON CONFLICT DO NOTHING" if known else "")
    return db.executemany(sql, rows).rowcount


def note_rows(
    file: Database, condition: str = "", parameters: Sequence[Any] = (), read: Read = Database.read
) -> Iterator[Note | str]:
    """The notes of one file that meet a condition; where one stands whose seal does not fit."""
    for session, *values, sealed in read(file, f"{NOTES} {condition}", tuple(parameters)):
        if seal("notes", session, *values) != sealed:
            yield f"{values[0]} of session {session}"
            continue
        number, host, when, kind, body = values
        yield Note(session, number, host, when, kind, json.loads(body))


def read_notes(file: Database, condition: str, parameters: Sequence[Any]) -> list[Note]:
    """The notes of one file that meet a condition.

    Raises:
        StoreCorrupt: if one was changed after it was written.
    """
    out = []
    for note in note_rows(file, condition, parameters):
        if isinstance(note, str):
            raise changed(file.name, f"Note {note}")
        out.append(note)
    return out


def new_command(session: str, body: Any) -> Command:
    """A command that nobody has seen yet."""
    return Command(os.urandom(8).hex(), session, 0, time.time(), kept(body), False)


def add_command(db: sqlite3.Connection, command: Command) -> int | None:
    """Writes a command; its number, or None if it is there already."""
    values = (command.id, command.session, command.time, json_text("body", command.body), int(command.taken))
    sql = "INSERT INTO commands (id, session, time, body, taken, seal) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    cursor = db.execute(sql, (*values, seal("commands", *values)))
    return cursor.lastrowid if cursor.rowcount else None


def take_command(db: sqlite3.Connection, command: Command) -> bool:
    """Marks a command of this file as taken; False if it was."""
    values = (command.id, command.session, command.time, json_text("body", command.body), 1)
    sql = "UPDATE commands SET taken = 1, seal = ? WHERE id = ? AND taken = 0"
    return db.execute(sql, (seal("commands", *values), command.id)).rowcount > 0


def command_rows(
    file: Database, condition: str = "", parameters: Sequence[Any] = (), read: Read = Database.read
) -> Iterator[Command | str]:
    """The commands of one file that meet a condition, in order; the id of one whose seal does not fit."""
    for *values, number, sealed in read(file, f"{COMMANDS} {condition} ORDER BY number", tuple(parameters)):
        if seal("commands", *values) != sealed:
            yield str(values[0])
            continue
        name, session, when, body, taken = values
        yield Command(name, session, number, when, json.loads(body), bool(taken))


def read_commands(file: Database, condition: str, parameters: Sequence[Any]) -> list[Command]:
    """The commands of one file that meet a condition, in order.

    Raises:
        StoreCorrupt: if one was changed after it was written.
    """
    out = []
    for command in command_rows(file, condition, parameters):
        if isinstance(command, str):
            raise changed(file.name, f"Command {command}")
        out.append(command)
    return out
