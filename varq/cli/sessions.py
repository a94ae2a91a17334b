"""`varq worker | attach | cancel | settle | ledger`: sessions that go on by themselves, watched from anywhere."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from varq.cli import specfile
from varq.cli.console import note, print_json, say, table, when
from varq.cli.mistakes import InputError, asked
from varq.cli.opening import Options
from varq.cli.stores import DEFAULT_FOLDER, line, reading, writing
from varq.devices.credentials import clean_text
from varq.devices.faults import DeviceError
from varq.display.steps import STEP_HEADERS, step_rows
from varq.session import handing, ledger, remote, worker
from varq.session.attached import NOT_ENDED, SILENT, Attached, attach
from varq.session.session import Session
from varq.store.job_records import SessionRecord
from varq.store.store import Store

__all__ = ["attach_to", "cancel", "hand_over", "send", "settle", "show_ledger", "work"]

INTERRUPTED = 130  # the shells' exit status for a program that SIGINT ended
_DONE, _LEFT = 0, 1


class _Clean(logging.Formatter):
    """Lines of a log that hold no credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return clean_text(super().format(record))


def work(session: str, store: Path | None, take_over: bool, detach: bool) -> int:
    """Own a session until it has ended; returns the exit status.

    Raises:
        InputError: if it is unknown, another process owns it, or its device cannot be opened here.
    """
    if session == "-":
        with asked():
            say(remote.received(sys.stdin.read(), store or DEFAULT_FOLDER))
        return _DONE
    with writing(store) as opened:
        with asked():
            record = opened.jobs.session(session)
        if detach:
            return _launched(opened, record, take_over)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Clean("%(asctime)s %(levelname)s %(message)s"))
        log = logging.getLogger("varq")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            return worker.work(record.id, opened, take_over)
        except (LookupError, ValueError) as error:
            raise InputError(str(error)) from error
        finally:
            log.removeHandler(handler)


def _launched(store: Store, record: SessionRecord, take_over: bool) -> int:
    assert store.path is not None
    if (owner := store.jobs.owner(record.id)) is not None and not take_over:
        raise InputError(f"{record.id} is owned by process {owner.pid} on {owner.host}. Watch it with varq attach.")
    handing.launch(store, store.path, record.id, take_over)
    say(record.id)
    return _DONE


def hand_over(session: Session, folder: Path | None) -> int:
    """Detach a session; prints its id, and how to watch it."""
    with asked():
        name = session.detach()
    say(name)
    note(f"It goes on by itself. {_line('attach', name, folder)} shows it, {_line('cancel', name, folder)} ends it.")
    return _DONE


def send(host: str, file: Path, store: Path | None, options: Options, command: str) -> int:
    """Hand a file's run to another machine; prints the session's id there, and how to watch it.

    Raises:
        InputError: if the file is wrong, or the other machine does not take it.
    """
    described = specfile.read(file)
    folder = None if store is None else str(store)
    with options.opened(described, None, progress=False) as session, asked(str(file)):
        run = session.start(described.task, stop=options.rule(described), **described.start)
        name = remote.send(host, session, [run], folder, command)
    say(name)
    note(f"It goes on at {host}. Watch it with: ssh -t {host} {command} attach {name} --store {folder or 'varq-runs'}")
    return _DONE


def _line(command: str, session: str, folder: Path | None) -> str:
    """A command line for a session, whose id is given as far as it is needed."""
    return line(command, session.removeprefix("session-"), folder)


def attach_to(session: str, store: Path | None, quiet: bool) -> int:
    """Show a session until it ends; 1 if it ended by an error or nobody owns it.

    Raises:
        InputError: if there is no such session.
    """
    with _attached(session, store) as found:
        try:
            state = found.wait() if quiet else found.show()
        except KeyboardInterrupt:
            note(f"{found.id} goes on. {_line('attach', found.id, store)} shows it again.")
            raise SystemExit(INTERRUPTED) from None
        if quiet and state in NOT_ENDED:
            note(found.said())
        for run in found.runs:
            result = found.result(run)
            value = "" if result is None or result.value is None else f"  {result!r}"
            say(f"{run[:8]}  {value.strip() or 'no result'}")
    return _DONE if state == "ended" else _LEFT


def _attached(session: str, store: Path | None) -> Attached:
    with asked():
        return attach(session, store=store or DEFAULT_FOLDER)


def cancel(name: str, store: Path | None) -> None:
    """End a session, or one of its runs.

    Raises:
        InputError: if there is neither, or nobody owns it.
    """
    with reading(store) as opened:
        sessions = _sessions_with(opened, name)
    if len(sessions) != 1:
        said = "none does" if not sessions else f"{len(sessions)} do"
        raise InputError(f"an id must name one session, or one run of a session that goes on. Of {name!r} {said}.")
    session, run = sessions[0]
    with _attached(session, store) as found, asked():
        try:
            if run is None:
                found.stop()
            else:
                found.cancel(run)
        except RuntimeError as error:
            raise InputError(str(error)) from error
    say(f"Asked {session} to end {'all runs' if run is None else f'run {run[:8]}'} after the evaluation in flight.")


def settle(job: str, provider: str | None, lost: bool, store: Path | None) -> None:
    """Say what became of a job of which its vendor cannot tell whether it received it.

    Raises:
        InputError: if there is no such job, its state is known, its session is owned, or the vendor cannot be asked.
    """
    if (provider is None) is not lost:
        raise InputError("a job is settled by its vendor's id of it (--id ID) or as never received (--lost). Give one.")
    with writing(store) as opened:
        with asked():
            record = opened.jobs.job(job)
            before = opened.jobs.session(record.session).state
            session = Session.reopened(record.session, opened, progress=False)
        try:
            with asked():
                state = session.settle(record.id, provider, lost)
        except DeviceError as error:
            raise InputError(str(error)) from error
        finally:
            session.close(before)
    say(f"{record.id} is {state}.")
    note("What it was for goes on from there: varq resume of a run, varq worker of a session.")


def _sessions_with(store: Store, name: str) -> list[tuple[str, str | None]]:
    """The session of this name; or else those that go on and have a run of this name, with the run."""
    try:
        return [(store.jobs.session(name).id, None)]
    except LookupError:
        found = []
        for record in store.jobs.sessions():
            if store.jobs.owner(record.id) is not None:
                runs = [body["run"] for body in worker.enlisted(store, record.id)]
                found += [(record.id, run) for run in runs if run.startswith(name)]
        return found
    except ValueError as error:
        raise InputError(str(error)) from error


def show_ledger(session: str | None, store: Path | None, limit: int, as_json: bool, steps: bool = False) -> None:
    """Print the jobs of a session, or its steps, or all sessions.

    Raises:
        InputError: if there is no such session, or steps of none are asked for.
    """
    if steps and session is None:
        raise InputError("Steps are those of one session. Got none. Name it: varq ledger SESSION --steps.")
    with reading(store) as opened:
        if session is None:
            _list(opened, limit, as_json)
            return
        with asked():
            found = ledger.of_session(opened, opened.jobs.session(session).id)
    if as_json:
        print_json({"session": found.session, "jobs": list(map(_data, found)), "runs": list(map(_data, found.runs))})
    elif steps:
        table(STEP_HEADERS, step_rows(found), right=tuple(range(1, len(STEP_HEADERS))))
    else:
        say(str(found))


def _data(value: object) -> dict[str, object]:
    out = {k: _data(v) if k == "times" else v for k, v in vars(value).items() if k != "spans"}
    return {**out, "by_step": [_data(one) for one in out["by_step"]]} if "by_step" in out else out


def _list(store: Store, limit: int, as_json: bool) -> None:
    """All sessions, newest first."""
    records = store.jobs.sessions()
    rows = [(record, store.jobs.spent(record.id)) for record in records[:limit]]
    if as_json:
        print_json([{**vars(record), **vars(spent)} for record, spent in rows])
    elif rows:
        headers = ["ID", "started", "device", "state", "jobs", "circuits", "shots", "seconds", "cost"]
        cells = [
            [
                record.id.removeprefix("session-")[:8],
                when(record.created)[:16],
                record.device,
                _state(store, record),
                *(f"{count:,}" for count in (spent.jobs, spent.circuits, spent.shots)),
                f"{spent.seconds:.3g}",
                f"{spent.cost:.2f}",
            ]
            for record, spent in rows
        ]
        table(headers, cells, right=(4, 5, 6, 7, 8), wide=(2,))
        if len(records) > limit:
            note(f"{len(records) - limit} older ones: --limit {len(records)} shows them.")
    else:
        note("No sessions yet: `varq run FILE.toml --shots 1000` makes one.")


def _state(store: Store, record: SessionRecord) -> str:
    """How a session stands: one that is open and has no owner is left."""
    if record.state.value != "open":
        return record.state.value
    owner = store.jobs.owner(record.id)
    return "left" if owner is None else SILENT if store.jobs.silent(owner) else "running"
