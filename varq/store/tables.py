"""How values become rows of a store file, and rows values again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.spec import array_digest, canonical
from varq.store.database import Database
from varq.store.faults import ConflictError, StoreCorrupt
from varq.store.records import Row, RunRecord, from_sql, seal, to_sql
from varq.store.schema import RULES_SINCE

__all__ = [
    "Outcome",
    "Stored",
    "add_result",
    "add_row",
    "add_run",
    "joined",
    "put_arrays",
    "read_array",
    "read_rows",
    "read_runs",
    "replace_result",
    "result_columns",
    "result_seal",
]

RUN = "id, identity, findable, spec, algorithm, title, device, created, host, versions"
STEP = "step, role, request, digest, reply, key, value, stderr, seconds, executions, versions"
RESULT = "revision, reason, result, steps, value, stderr, reference, seconds, rule"
_MOST_SAID = 300  # characters of each side of a conflict


class Outcome(NamedTuple):
    """What a run came to, as one file has it; of two, the one with more steps counts, then the later revision."""

    steps: int
    revision: int
    reason: str | None
    result: str | None
    value: float | None
    stderr: float | None
    reference: float | None
    seconds: float
    rule: str | None = None

    @classmethod
    def of(cls, record: RunRecord) -> Outcome:
        """That of a record."""
        numbers = record.value, record.stderr, record.reference, record.seconds
        return cls(record.steps, 0, record.reason, record.result, *numbers, record.rule)


class Stored(NamedTuple):
    """A run as one file has it."""

    definition: tuple[Any, ...]
    outcome: Outcome
    journalled: int
    seconds: float

    def record(self) -> RunRecord:
        """As the value that callers get."""
        run_id, identity, findable, spec, algorithm, title, device, created, host, versions = self.definition
        out = self.outcome
        done = out.reason is not None
        return RunRecord(
            id=run_id,
            identity=identity,
            findable=bool(findable),
            spec=spec,
            algorithm=algorithm,
            title=title,
            device=device,
            created=created,
            host=host,
            versions=json.loads(versions),
            reason=out.reason,
            result=out.result,
            steps=out.steps if done else self.journalled,
            value=out.value,
            stderr=out.stderr,
            reference=out.reference,
            seconds=out.seconds if done else self.seconds,
            rule=out.rule,
        )


_JOURNALLED = """
    CASE WHEN reason IS NULL
         THEN (SELECT count(*) FROM steps s WHERE s.run = number AND s.role = 'step') ELSE 0 END,
    CASE WHEN reason IS NULL
         THEN (SELECT coalesce(max(s.seconds), 0.0) FROM steps s WHERE s.run = number) ELSE 0.0 END
"""
_FROM = "FROM runs JOIN results ON run = number"


def result_columns(file: Database) -> str:
    """What to select for `RESULT`: an older file has no stop rules."""
    columns = [f"results.{column}" for column in RESULT.split(", ")]  # the join has several of these names
    return ", ".join(columns if file.layout >= RULES_SINCE else [*columns[:-1], "NULL"])


def read_runs(file: Database, condition: str = "", parameters: tuple[Any, ...] = ()) -> list[Stored]:
    """The runs of one file that meet a condition (SQL after FROM)."""
    out = []
    for row in file.read(f"SELECT {RUN}, {result_columns(file)}, {_JOURNALLED} {_FROM} {condition}", parameters):
        revision, reason, text, steps, value, stderr, reference, seconds, rule, journalled, spent = row[10:]
        numbers = from_sql(value), from_sql(stderr), from_sql(reference)
        out.append(Stored(row[:10], Outcome(steps, revision, reason, text, *numbers, seconds, rule), journalled, spent))
    return out


def joined(files: Sequence[Database], group: Sequence[Stored]) -> Stored:
    """One run as several files have it, in one.

    Raises:
        ConflictError: if they have it with different identities.
    """
    first = min(group, key=lambda run: run.definition[7])
    for run in group:
        same_identity(run.definition[0], first.definition[1], run.definition[1])
    outcome = max((run.outcome for run in group), key=lambda out: out[:2])
    sql = "SELECT step FROM steps JOIN runs ON run = number WHERE id = ? AND role = 'step'"
    steps = {step for file in files for (step,) in file.read(sql, (first.definition[0],))}
    return Stored(first.definition, outcome, len(steps), max(run.seconds for run in group))


def definition(record: RunRecord) -> tuple[Any, ...]:
    """What a run is, as a row of the table `runs` without number and seal."""
    return (
        record.id,
        record.identity,
        int(record.findable),
        record.spec,
        record.algorithm,
        record.title,
        record.device,
        float(record.created),
        record.host,
        canonical(record.versions),
    )


def add_run(db: sqlite3.Connection, run: tuple[Any, ...], outcome: Outcome) -> bool:
    """Writes what a run is; False if it is there already.

    Raises:
        ConflictError: if a run of another identity has the same id.
    """
    known = db.execute("SELECT identity FROM runs WHERE id = ?", (run[0],)).fetchone()
    if known is not None:
        same_identity(run[0], known[0], run[1])
        return False
    marks = ", ".join("?" * 11)
    db.execute(f"INSERT INTO runs ({RUN}, seal) VALUES ({marks})", (*run, seal("runs", *run)))
    add_result(db, run[0], outcome)
    return True


def same_identity(run_id: str, here: str, there: str) -> None:
    """ConflictError unless two runs of one id have one identity."""
    if here != there:
        raise ConflictError(
            f"Runs of one id must have one identity. Run {run_id[:12]} has {here} in the store and {there} in what is "
            "to be written. Nothing was written; one of the two was changed by hand or made by a faulty program."
        )


def add_result(db: sqlite3.Connection, run_id: str, out: Outcome) -> None:
    """Writes what a run came to, in place of what stood there."""
    values = (
        out.revision,
        out.reason,
        out.result,
        int(out.steps),
        to_sql(out.value),
        to_sql(out.stderr),
        to_sql(out.reference),
        float(out.seconds),
        out.rule,
    )
    marks = ", ".join("?" * 10)
    sql = f"INSERT OR REPLACE INTO results (run, {RESULT}, seal) SELECT number, {marks} FROM runs WHERE id = ?"
    db.execute(sql, (*values, result_seal(run_id, *values), run_id))


def result_seal(run_id: str, *values: Any) -> str:
    """The seal of a row of `results`: without a stop rule it is the one that older layouts have."""
    return seal("results", run_id, *(values if values[-1] is not None else values[:-1]))


_STANDING = f"SELECT results.steps, revision, rule {_FROM} WHERE id = ?"


def replace_result(db: sqlite3.Connection, run_id: str, out: Outcome, elsewhere: Iterable[Outcome]) -> bool:
    """Writes what a run came to as the latest of all; False if this file does not know the run.

    Args:
        db: of this host's file.
        run_id: the run's id.
        out: what it came to. Without a rule it keeps the one that stands.
        elsewhere: what it came to in the files of other hosts.
    """
    own = db.execute(_STANDING, (run_id,)).fetchall()
    if not own:
        return False
    known = [tuple(row) for row in own] + [(other.steps, other.revision, other.rule) for other in elsewhere]
    rule = out.rule if out.rule is not None else max(known, key=lambda entry: entry[:2])[2]
    add_result(db, run_id, out._replace(revision=1 + max(entry[1] for entry in known), rule=rule))
    return True


_ADD_ROW = (
    f"INSERT INTO steps (run, {STEP}, seal) SELECT number, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM runs WHERE id = ? "
    "ON CONFLICT DO NOTHING"
)


def add_row(db: sqlite3.Connection, run_id: str, row: Row) -> bool:
    """Writes a row of the journal; False if none was added: it is there, or the run is not."""
    values = (
        int(row.step),
        row.role,
        row.request,
        row.digest,
        row.reply,
        row.key,
        to_sql(row.value),
        to_sql(row.stderr),
        float(row.seconds),
        int(row.executions),
        row.versions,
    )
    return db.execute(_ADD_ROW, (*values, seal("steps", run_id, *values), run_id)).rowcount > 0


STEPS = ", ".join(f"steps.{column}" for column in f"{STEP}, seal".split(", "))  # the join has several of these names
ROWS = f"SELECT {STEPS} FROM steps JOIN runs ON run = number WHERE id = ?"


def row_of(file: str | None, run_id: str, found: tuple[Any, ...]) -> Row:
    """A row of the journal as a value, if its seal holds.

    Raises:
        StoreCorrupt: if it was changed after it was written.
    """
    values = found[:-1]
    if seal("steps", run_id, *values) != found[-1]:
        where = f" of {file}" if file else ""
        raise StoreCorrupt(
            f"Step {values[0]} of run {run_id[:12]}{where} is not what was written: its seal does not fit. "
            "`varq verify` lists every such row. Restore the file from a backup; varq leaves it as it is."
        )
    step, role, request, digest, reply, key, value, stderr, seconds, executions, versions = values
    cost, error = from_sql(value), from_sql(stderr)
    return Row(step, role, request, digest, reply, key, cost, error, seconds, executions, versions)


def read_rows(file: Database, run_id: str, condition: str = "", parameters: tuple[Any, ...] = ()) -> list[Row]:
    """The rows of a run in one file, in order."""
    found = file.read(f"{ROWS} {condition} ORDER BY step, role DESC", (run_id, *parameters))
    return [row_of(file.name, run_id, row) for row in found]


def differing(run_id: str, here: Row, there: Row) -> str:
    """What differs between two rows of one step, for a message that shows both."""
    parts = [f"step {here.step} ({here.role}) of run {run_id[:12]}:"]
    for name in ("request", "digest", "reply", "key", "executions"):
        one, two = str(getattr(here, name)), str(getattr(there, name))
        if one != two:
            at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0)
            start = max(0, at - _MOST_SAID // 2) if len(one) > _MOST_SAID or len(two) > _MOST_SAID else 0
            parts.append(f"\n  {name} here:  {_cut(one, start)}\n  {name} there: {_cut(two, start)}")
    return "".join(parts)


def _cut(text: str, start: int) -> str:
    end = start + _MOST_SAID
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")


def conflict(run_id: str, here: Row, there: Row) -> ConflictError:
    """The error for a row that is there already with another content."""
    return ConflictError(
        "A recorded step never changes. The new record differs from the one in the store at "
        f"{differing(run_id, here, there)}\nNothing was written. Run again with fork=True to keep both, as two runs."
    )


def put_arrays(db: sqlite3.Connection, arrays: Mapping[str, NDArray[Any]]) -> int:
    """Writes arrays under their SHA-256; how many are new.

    Raises:
        ValueError: if an array is not the one its digest names.
    """
    new = 0
    for sha256, array in arrays.items():
        if db.execute("SELECT 1 FROM arrays WHERE sha256 = ?", (sha256,)).fetchone():
            continue
        data = np.asarray(checks.instance(f"arrays[{sha256[:12]!r}]", array, np.ndarray))
        if array_digest(data) != sha256:
            raise ValueError(
                f"arrays must be named by their SHA-256 (varq.spec.array_digest). Got {sha256[:12]!r} for an array "
                f"whose digest is {array_digest(data)[:12]}."
            )
        plain = np.asarray(data, dtype=data.dtype.newbyteorder("<"), order="C")
        row = (sha256, plain.dtype.str, json.dumps(list(plain.shape)), plain.tobytes())
        db.execute("INSERT INTO arrays VALUES (?, ?, ?, ?)", row)
        new += 1
    return new


def read_array(file: Database, sha256: str) -> NDArray[Any] | None:
    """The array of that SHA-256, read-only; None if this file has none.

    Raises:
        StoreCorrupt: if its bytes have changed.
    """
    found = file.read("SELECT dtype, shape, data FROM arrays WHERE sha256 = ?", (sha256,))
    if not found:
        return None
    dtype, shape, data = found[0]
    try:
        array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(json.loads(shape))
        sound = array_digest(array) == sha256
    except (TypeError, ValueError):
        sound = False
    if not sound:
        where = f" of {file.name}" if file.name else ""
        raise StoreCorrupt(
            f"The array {sha256[:12]}{where} is not what was written: its bytes have changed. "
            "Restore the file from a backup; varq leaves it as it is."
        )
    return array


def missing_arrays(files: Iterable[Database], wanted: Iterable[str]) -> list[str]:
    """Those of the digests that no file has."""
    known = list(files)
    sql = "SELECT 1 FROM arrays WHERE sha256 = ?"
    return [sha for sha in wanted if not any(file.read(sql, (sha,)) for file in known)]
