"""`varq sweep run | list | status | resume | retry | ledger | export | plot`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from varq import plots
from varq.cli import sweepfile
from varq.cli.console import note, print_json, say, table
from varq.cli.mistakes import InputError, asked
from varq.cli.running import INTERRUPTED
from varq.cli.stores import DEFAULT_FOLDER, reading
from varq.devices.prices import load_prices
from varq.display.words import duration
from varq.session.budget import Budget
from varq.session.opening import UNSET
from varq.store.store import Store
from varq.study.export import export
from varq.study.lost import ClusterLost
from varq.study.placement import ledger
from varq.study.record import StudyRecord, known, studies
from varq.study.status import Status
from varq.study.stored import StoredStudy, table_of
from varq.study.study import Study, sweep
from varq.study.table import Table
from varq.study.work import State

__all__ = ["export_study", "list_studies", "plot_study", "run_study", "study_ledger", "study_status"]

_DONE, _SOME_FAILED, _UNPAID = 0, 1, 3
_SHOWN = 20  # failed cells that are listed


def run_study(
    file: Path,
    store: Path | None,
    workers: int | None,
    executor: str | None,
    shard: str | None,
    failed: bool,
    only_failed: bool,
    dry_run: bool,
    quiet: bool,
    budget: Mapping[str, float | None],
    prices: Path | None = None,
) -> int:
    """Run what is missing of the study that a file describes; returns the exit status.

    Args:
        file: a study's file.
        store: folder of the store.
        workers: worker processes; None for this process.
        executor: address of a Dask scheduler; None for none.
        shard: "i/n" for one of n parts.
        failed: whether to run failed cells, too.
        only_failed: whether to run nothing else.
        dry_run: whether only to say what there is to do.
        quiet: whether to show no live table.
        budget: limits of the whole study by name, as of `varq.Budget`; they come before those of the file.
        prices: a file of prices; None for those that the study's file has.

    Raises:
        InputError: if the file, an option or the store is wrong, or a cluster does not answer or cannot do the work.
        SystemExit: after SIGTERM, with the status on which a batch script requeues.
    """
    part = None if shard is None else _part(shard)
    if executor is not None and workers is not None:
        raise InputError("--executor and --workers name two places. Give one of them.")
    limits: dict[str, Any] = {name: most for name, most in budget.items() if most is not None}
    described = sweepfile.read(file)
    folder = store or described.store
    with asked():
        own = described.prices if prices is None else load_prices(prices)
        most = replace(described.budget or Budget(), **limits) if limits else described.budget
    with asked(str(file)):
        where = UNSET if folder is None else folder
        study = sweep(described.task, described.over, store=where, progress=not quiet, **described.options)
    with study:
        if dry_run:
            with asked():
                ahead = study.forecast(failed=failed, only_failed=only_failed, shard=part, prices=own)
            say(f"{study.name}: {ahead}{_shared(ahead.seconds, workers)}")
            return _DONE
        try:
            with asked():
                status = study.finish(
                    workers if executor is None else _address(executor),
                    failed=failed,
                    only_failed=only_failed,
                    shard=part,
                    budget=most,
                    prices=own,
                )
        except (ModuleNotFoundError, ConnectionError, ClusterLost) as error:
            raise InputError(str(error)) from error
        except KeyboardInterrupt:
            note(f"Stopped. Carry on with: varq sweep resume {file}")
            return INTERRUPTED
        return _said(study, status, file)


def _shared(seconds: float | None, workers: int | None) -> str:
    """What so many processes take at the least."""
    if seconds is None or workers is None or workers < 2:
        return ""
    return f"; {duration(seconds / workers)} at the least in {workers}"


def _address(executor: str) -> str:
    if "://" not in executor:
        raise InputError(f"--executor is the address of a Dask scheduler, such as tcp://host:8786. Got {executor!r}.")
    return executor


def _said(study: Study, status: Status, file: Path) -> int:
    say(repr(status))
    if status["failed"]:
        _failures(study.table(), study.record)
        note(f"`varq sweep retry {file}` runs them again.")
    if status.note:
        return _UNPAID
    if status.stopped:
        note(f"Stopped. Carry on with: varq sweep resume {file}")
        return INTERRUPTED
    return _SOME_FAILED if status["failed"] else _DONE


def _part(shard: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None:
        raise InputError(f"--shard must be i/n with i from 1 to n, such as 1/4. Got {shard!r}.")
    return int(found[1]), int(found[2])


def _failures(found: Table, study: StudyRecord) -> None:
    rows = [row for row in found.rows if row["state"] == State.FAILED.value]
    shown = [[*(str(row[name]) for name in study.names), row["run"][:8], row["note"]] for row in rows[:_SHOWN]]
    table([*study.names, "run", "error"], shown, wide=(len(study.names) + 1,))
    if len(rows) > _SHOWN:
        note(f"and {len(rows) - _SHOWN} more")


def _found(what: str, store: Path | None) -> tuple[Store, StudyRecord]:
    """A study by its file or its name."""
    name, folder = what, store
    if what.endswith(".toml"):
        described = sweepfile.read(Path(what))
        folder = store or described.store
        with asked(what):  # without a name the cells make one
            name = sweep(described.task, described.over, store=None, progress=False, **described.options).name
    opened = reading(folder)
    study = known(opened, name)
    if study is None:
        opened.close()
        raise InputError(f"there is no study {name!r} in the store. `varq sweep run FILE.toml` makes one.")
    return opened, study


def list_studies(store: Path | None, as_json: bool) -> None:
    """Print the studies of a store, and how their cells stand."""
    found: list[dict[str, Any]] = []
    if store is not None or DEFAULT_FOLDER.exists():
        with reading(store) as opened:
            for study in studies(opened):
                status = StoredStudy(opened, study, owns=False).status()
                found.append({"name": study.name, "cells": status.cells, **status, "fields": list(study.names)})
    if as_json:
        print_json(found)
    elif found:
        counted = ["cells", *(state.value for state in State)]
        rows = [[row["name"], *(str(row[name]) for name in counted), ", ".join(row["fields"])] for row in found]
        table(["name", *counted, "over"], rows, right=tuple(range(1, 1 + len(counted))), wide=(1 + len(counted),))
    else:
        note("No studies yet: `varq sweep run FILE.toml` makes one.")


def plot_study(what: str, x: str | None, y: str, out: Path | None, store: Path | None) -> None:
    """Draw a column of a study's table over a field that is swept, or a heat map over two fields.

    Raises:
        InputError: if there is no such study or column, or the file cannot be written.
    """
    opened, study = _found(what, store)
    with opened, asked():
        if x is None and not study.names:
            raise InputError(f"the cells of {study.name!r} differ in no field. Name a column to draw over.")
        axes = StoredStudy(opened, study, owns=False).plot(x or study.names[0], y)
        say(str(plots.save(axes, out or Path(f"{study.name}.png"))))


def study_status(what: str, store: Path | None) -> int:
    """Print how the cells of a study stand; 1 if some failed."""
    opened, study = _found(what, store)
    with opened:
        found = table_of(opened, study)
    counts = {state.value: list(found["state"]).count(state.value) for state in State}
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    say(f"{study.name}: {said}, of {len(study.runs)} cells")
    if counts[State.FAILED.value]:
        _failures(found, study)
    return _SOME_FAILED if counts[State.FAILED.value] else _DONE


def export_study(what: str, out: Path | None, store: Path | None) -> None:
    """Write a study's table to a file, or as CSV to standard output."""
    opened, study = _found(what, store)
    with opened, asked():
        found = table_of(opened, study)
        if out is None:
            print(found.csv(), end="")
        else:
            say(str(export(found, study, out)))


def study_ledger(what: str, out: Path | None, store: Path | None) -> None:
    """Write where the cells of a study ran to a file, or to standard output, as CSV."""
    opened, study = _found(what, store)
    with opened, asked():
        found = ledger(opened, study)
    if out is None:
        print(found.csv(), end="")
    else:
        out.write_text(found.csv(), encoding="utf-8")
        say(str(out))
