"""`varq plot | export | compare`: runs rebuilt from the store, as figures, files and differences."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from varq import checks, names, plots, spec
from varq.cli.console import note, print_json, say, table
from varq.cli.looking import facts, result_data, worded
from varq.cli.mistakes import InputError, asked
from varq.cli.stores import reading
from varq.session import api, ledger
from varq.session.replay import ReplayError
from varq.session.reporting import RUN
from varq.session.run import Run
from varq.session.session import Session
from varq.store.store import Store

__all__ = ["compare", "export", "plot"]

_FORMS = ("csv", "json")


def plot(runs: Sequence[str], kind: str, out: Path | None, store: Path | None, timeline: bool = False) -> None:
    """Draw runs to a file, or with `timeline` where the time of sessions went.

    Raises:
        InputError: for an unknown run or kind, a kind that does not suit the run, or a file that cannot be written.
    """
    if timeline or kind == "timeline":
        _timelines(runs, out, store)
        return
    with asked():
        drawer = kind if kind in names.names("plot") else checks.choice("--kind", kind, names.names("plot"))
        draw = names.find("plot", drawer)
    with reading(store) as opened, Session(store=opened, progress=False) as session, asked():
        found = [_rebuilt(session, run_id) for run_id in runs]
        axes = draw(_subject(found, kind))
        target = out or Path(f"{found[0].id[:8]}-{kind}.png")
        say(str(plots.save(axes, target)))


def _timelines(sessions: Sequence[str], out: Path | None, store: Path | None) -> None:
    """The time line of a session, or of one in which a run took part."""
    if len(sessions) != 1:
        raise InputError(f"--timeline draws one session. Got {len(sessions)} ids.")
    with reading(store) as opened, asked():
        name = _session_of(opened, sessions[0])
        axes = names.find("plot", "timeline")(ledger.of_session(opened, name))
        target = out or Path(f"{name.removeprefix('session-')[:8]}-timeline.png")
        say(str(plots.save(axes, target)))


def _session_of(store: Store, name: str) -> str:
    """The session of this name, or the newest in which the run of this name took part."""
    try:
        return store.jobs.session(name).id
    except LookupError:
        run = store.find(name).id
        if had := store.jobs.noting(RUN, run):
            return had[0].id
        raise LookupError(f"Run {run[:8]} took part in no session of this store: there is no time line.") from None


def _rebuilt(session: Session, run_id: str) -> Run:
    try:
        run = session.load(run_id)
        if not run.done:
            run.recall()
    except ReplayError as error:
        raise InputError(f"run {run_id}: {error}") from error
    return run


def _subject(runs: Sequence[Run], kind: str) -> Any:
    """What a kind of figure is drawn from."""
    if kind == "curve" or (kind == "convergence" and len(runs) > 1):
        return [run.record() for run in runs]
    if len(runs) > 1:
        raise ValueError(f"--kind {kind} draws one run. Got {len(runs)}.")
    run = runs[0]
    if kind == "problem":
        return _part(run, "problem")
    return _part(run, "ansatz") if kind == "circuit" else run.record()


def _part(run: Run, name: str) -> Any:
    part = getattr(run.spec, name, None)
    if part is None:
        raise ValueError(f"--kind {'circuit' if name == 'ansatz' else name}: run {run.id[:8]} has no {name}.")
    return part


def export(run_id: str, form: str, out: Path | None, store: Path | None) -> None:
    """Write a run's history.

    Raises:
        InputError: for an unknown run or format, or a file that cannot be written.
    """
    with asked():
        checks.choice("--format", form, _FORMS)
    with reading(store) as opened:
        with asked():
            record = opened.find(run_id)
        history = _history(opened, record.id)
        with asked(), _written(out) as file:
            if form == "csv":
                _write_csv(history, file)
                return
            result = None if record.result is None else spec.loads(record.result, opened.array)
            data = {**facts(record), "spec": json.loads(record.spec), "result": result_data(result)}
            columns = {name: history[name] for name in history.dtype.names or ()}
            print_json({**data, "history": columns}, file)


@contextmanager
def _written(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--out must be in a folder that exists. Got {str(path)!r}. Make the folder first.")
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file
    note(str(path))


def _history(store: Store, run_id: str) -> NDArray[Any]:
    """A run's history; what the journal alone says of it where the run cannot be rebuilt here."""
    with Session(store=store, progress=False) as session:
        try:
            return _rebuilt(session, run_id).history
        except (InputError, LookupError, ValueError, TypeError, ImportError) as error:
            note(f"varq: the run cannot be rebuilt here, so this is what its journal says: {error}")
    rows = [row for row in store.rows(run_id) if row.role == "step"]
    out = np.zeros(len(rows), [(n, int if n in ("step", "executions") else float) for n in _JOURNALLED])
    total = np.cumsum([row.executions for row in rows])
    for i, row in enumerate(rows):
        value, stderr = (np.nan if number is None else number for number in (row.value, row.stderr))
        out[i] = (row.step + 1, value, stderr, row.seconds, total[i])
    return out


_JOURNALLED = ("step", "value", "stderr", "seconds", "executions")


def _write_csv(history: NDArray[Any], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(history.dtype.names or ())
    for row in history:
        writer.writerow(["" if value != value else repr(value) for value in row.item()])


def compare(first: str, second: str, store: Path | None, as_json: bool) -> None:
    """Print what differs between two runs.

    Raises:
        InputError: if one is unknown.
    """
    with reading(store) as opened, asked():
        ids = [opened.find(run_id).id for run_id in (first, second)]
        differences = api.compare(*ids, store=opened)
    if as_json:
        print_json({place: list(values) for place, values in differences.items()})
    elif differences:
        rows = [[place, *map(_said, values)] for place, values in differences.items()]
        table(["", *(i[:8] for i in ids)], rows, wide=(1, 2))
    else:
        say("They do not differ.")


def _said(value: Any) -> str:
    """A value of `api.compare`, which writes lists and arrays as JSON."""
    if value is None:
        return "-"
    return worded(json.loads(value)) if isinstance(value, str) and value[:1] in ("[", "{") else str(value)
