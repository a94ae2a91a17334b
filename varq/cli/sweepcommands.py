"""What `varq sweep` says and accepts.  Loads nothing but typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from varq import cli
from varq.cli.options import BudgetCircuits, BudgetCost, BudgetSeconds, BudgetShots, Json, Out, Prices, Quiet, Store
from varq.cli.waiting import waiting
from varq.session.interrupt import requeued

__all__ = ["sweep"]

sweep = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Studies: many runs under one name.")

StudyFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="As of `run`, with a table [sweep].")]
StudyName = Annotated[str, typer.Argument(metavar="FILE.toml|NAME", help="A study's file, or its name in the store.")]
Workers = Annotated[
    int | None, typer.Option("--workers", "-w", metavar="N", min=1, help="In N processes.  [default: this one]")
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="ADDRESS",
        help="On a Dask cluster: tcp://host:8786 (extra `dask`).",
        show_default=False,
    ),
]
Shard = Annotated[str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts, as for a job array.")]
PlotOver = Annotated[str | None, typer.Option("--x", metavar="FIELD", help="Over what.  [default: the first field]")]
PlotColumn = Annotated[str, typer.Option("--y", metavar="COLUMN", help="What; a second field for a heat map.")]
Failed = Annotated[bool, typer.Option("--failed", help="Run failed cells again, too.")]


def _run(*arguments: Any) -> None:
    """Leave with the status of `run_study`; after SIGTERM, while packages load say, with the one that it has then."""
    with requeued():
        with waiting():
            work = cli.run_study
        raise typer.Exit(work(*arguments))


@sweep.command("run")
def sweep_run(
    file: StudyFile,
    store: Store = None,
    workers: Workers = None,
    executor: Executor = None,
    shard: Shard = None,
    failed: Failed = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say: cells, seconds, memory, shots.")] = False,
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    quiet: Quiet = False,
) -> None:
    """Run what is missing of a study.

    A budget holds over the whole study, on all workers, what is recorded included.  Status 1 if cells failed; 3 if the
    budget has no place for the rest; 130 after Ctrl-C and 75 after SIGTERM, when `resume` goes on.
    """
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    _run(file, store, workers, executor, shard, failed, False, dry_run, quiet, budget, prices)


@sweep.command("resume")
def sweep_resume(
    file: StudyFile,
    store: Store = None,
    workers: Workers = None,
    executor: Executor = None,
    shard: Shard = None,
    failed: Failed = False,
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    quiet: Quiet = False,
) -> None:
    """Carry a study on; what is recorded costs nothing."""
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    _run(file, store, workers, executor, shard, failed, False, False, quiet, budget, prices)


@sweep.command("retry")
def sweep_retry(
    file: StudyFile,
    store: Store = None,
    workers: Workers = None,
    executor: Executor = None,
    shard: Shard = None,
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    quiet: Quiet = False,
) -> None:
    """Run the failed cells again, and nothing else."""
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    _run(file, store, workers, executor, shard, True, True, False, quiet, budget, prices)


@sweep.command("list")
def sweep_list(store: Store = None, as_json: Json = False) -> None:
    """List the studies of a store and how their cells stand."""
    with waiting():
        work = cli.list_studies
    work(store, as_json)


@sweep.command("plot")
def sweep_plot(
    study: StudyName,
    x: Annotated[
        str | None, typer.Option("--x", metavar="FIELD", help="Over what.  [default: the first field]")
    ] = None,
    y: Annotated[str, typer.Option("--y", metavar="COLUMN", help="What; a second field for a heat map.")] = "value",
    out: Out = None,
    store: Store = None,
) -> None:
    """Draw a study's table to a file: NAME.png unless --out names another."""
    with waiting():
        work = cli.plot_study
    work(study, x, y, out, store)


@sweep.command("status")
def sweep_status(study: StudyName, store: Store = None) -> None:
    """How the cells of a study stand; status 1 if some failed."""
    with waiting():
        work = cli.study_status
    raise typer.Exit(work(study, store))


@sweep.command("ledger")
def sweep_ledger(study: StudyName, out: Out = None, store: Store = None) -> None:
    """Where each cell ran: executor, worker, host, times, versions.

    As CSV to standard output unless --out names a file.
    """
    with waiting():
        work = cli.study_ledger
    work(study, out, store)


@sweep.command("export")
def sweep_export(study: StudyName, out: Out = None, store: Store = None) -> None:
    """Write a study's table: .csv; with the extra `export` also .parquet and .nc.

    CSV to standard output unless --out names a file.
    """
    with waiting():
        work = cli.export_study
    work(study, out, store)
