"""`varq run` and `varq resume`: a run from its first step to its end, and the line that carries it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from varq.cli import specfile
from varq.cli.console import note, result_block
from varq.cli.mistakes import InputError, asked
from varq.cli.opening import Options
from varq.cli.sessions import hand_over
from varq.cli.stores import line, writing
from varq.protocol import Reason, Result, Stop
from varq.session.opening import UNSET
from varq.session.replay import ReplayError
from varq.session.run import Run
from varq.session.session import EXISTING
from varq.store.faults import OwnedError

__all__ = ["INTERRUPTED", "STOPPED", "finished", "resume", "run_file"]

INTERRUPTED = 130  # the shells' exit status for a program that SIGINT ended
STOPPED = 3  # the exit status of a run whose deadline passed, or that was cancelled from elsewhere
_DONE, _NO_NUMBER = 0, 1


def run_file(
    file: Path,
    store: Path | None,
    options: Options,
    existing: str,
    quiet: bool,
    detach: bool = False,
) -> int:
    """Run what a file describes; returns the exit status.

    Args:
        file: a spec file.
        store: folder of the store.
        options: what goes before the file's own.
        existing: what to do with a run of the same file.
        quiet: whether to show no live line.
        detach: whether a process of its own goes on with it.

    Raises:
        InputError: if the file, an option or the store is wrong.
    """
    if existing not in EXISTING:
        raise InputError(f"--existing must be one of {', '.join(EXISTING)}. Got {existing!r}.")
    described = specfile.read(file)
    folder = store or described.store
    named: Any = UNSET if folder is None else folder
    with asked(str(file)):
        session = options.opened(described, named, progress=not quiet, again=existing == "continue")
    with session:
        with asked(str(file)):
            rule = options.rule(described)
            run = _ready(session.start(described.task, stop=rule, existing=existing, **described.start))
        if detach and not run.settled:
            return hand_over(session, folder)
        return _status(finished(run, folder), folder, quiet)


def resume(run_id: str, store: Path | None, options: Options, take_over: bool, fork: bool, quiet: bool) -> int:
    """Carry a run on, within the budget that it had; returns the exit status.

    Args:
        run_id: its id, or a unique beginning of it.
        store: folder of the store.
        options: steps, limits and prices in place of those that it went by last.
        take_over: take it from an owner that no longer shows signs of life.
        fork: go on as a new run from the last step that is still asked for.
        quiet: whether to show no live line.

    Raises:
        InputError: if the run is unknown, owned by another process, or cannot be replayed here.
    """
    rule = None if options.steps is None else Stop(steps=options.steps)
    with writing(store) as opened, options.continued(run_id, opened, not quiet, take_over) as session:
        with asked():
            run = _ready(session.load(run_id, stop=rule, fork=fork, take_over=take_over))
        return _status(finished(run, store), store, quiet)


def _ready(run: Run) -> Run:
    """The run with its circuits built, so that what does not fit its device is told as a mistake."""
    if not run.done:
        _ = run.plan
    return run


def finished(run: Run, folder: Path | None) -> Result:
    """The result of a run that goes on to its end.

    Raises:
        InputError: if it is owned by another process, cannot be replayed here, or fails before its first step.
        SystemExit: if it was stopped, after the line that carries it on is printed: 130 after Ctrl-C, 75 after SIGTERM;
            else 3, and what there is of a result is printed.
    """
    try:
        settled = run.done  # a finished run, or what there is of an unfinished one
        result = run.result or run.finish()
    except (KeyboardInterrupt, SystemExit) as end:
        _carry_on(run, folder)
        raise SystemExit(INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code) from None
    except ReplayError as error:
        raise InputError(f"{error}\nOn the command line: {line('resume', run.id, folder)} --fork") from error
    except Exception as error:
        if run.steps == 0:
            with asked():
                raise
        if not isinstance(error, OwnedError):
            _carry_on(run, folder)
        raise
    if result.reason is Reason.STOPPED and not settled:
        if not run.interrupted:
            result_block(result)
        _carry_on(run, folder)
        raise SystemExit(INTERRUPTED if run.interrupted else STOPPED)
    return result


def _carry_on(run: Run, folder: Path | None) -> None:
    """How to go on, where there is a way."""
    if run.result is not None and run.result.reason.final:
        note(f"The run had ended by then. {line('show', run.id, folder)} says more.")
    elif run.kept:
        note(f"On the command line: {line('resume', run.id, folder)}")
    else:
        note("The run was in memory only; nothing of it is kept. Name a folder that can be written: --store DIR")


def _status(result: Result, folder: Path | None, quiet: bool) -> int:
    """Print a result; 1 if it has no number."""
    result_block(result)
    if not quiet:
        note(f"{line('show', result.run_id, folder)} says more; {line('plot', result.run_id, folder)} draws it.")
    return _NO_NUMBER if result.reason is Reason.NONFINITE else _DONE
