"""What `varq` says and accepts: its commands, their options, and how it ends.  Loads nothing but typer."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from varq import cli
from varq.cli.mistakes import InputError
from varq.cli.options import (
    BudgetCircuits,
    BudgetCost,
    BudgetSeconds,
    BudgetShots,
    Json,
    Out,
    Prices,
    Quiet,
    Run,
    SessionId,
    Steps,
    Store,
)
from varq.cli.sweepcommands import sweep
from varq.cli.waiting import waiting
from varq.store.faults import StoreError

__all__ = ["app", "main"]

RUN, LOOK, KEEP = "Run", "Look", "Keep"
WRONG, FAILED = 2, 1  # exit statuses: the input was wrong; varq was


class _Commands(TyperGroup):
    """Commands in sections.  What a person got wrong is a message and never a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes `--debug` wherever it stands: it is added to a command line that just went wrong."""
        own = ["--debug"] if "--debug" in args else []
        return list(super().parse_args(ctx, own + [word for word in args if word != "--debug"]))

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of a day's work."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands, a section each for running, looking and keeping."""
        for section in (RUN, LOOK, KEEP):
            found = [(n, c) for n, c in self.commands.items() if getattr(c, "rich_help_panel", None) == section]
            with formatter.section(section):
                formatter.write_dl([(name, command.get_short_help_str(limit=100)) for name, command in found])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; say errors and warnings in one line each."""
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            try:
                return super().invoke(ctx)
            except (InputError, StoreError) as error:
                _give_up(ctx, str(error), WRONG)
            except Exception as error:
                # Typer ends by errors that have an exit status and handles Abort; main() says what the system refused.
                if hasattr(error, "exit_code") or isinstance(error, (typer.Abort, OSError)):
                    raise
                hint = "Please report it; `--debug` shows where it happened."
                if isinstance(error, ImportError):
                    hint = "`varq doctor` says what is wrong with the installation."
                _give_up(ctx, f"unexpected {type(error).__name__}: {error}\n{hint}", FAILED)


def _give_up(ctx: Any, message: str, status: int) -> None:
    if ctx.params.get("debug"):
        raise
    typer.echo(f"varq: {message}", err=True)
    raise typer.Exit(status)


def _warn(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    typer.echo(f"varq: {message}", err=True)


app = typer.Typer(
    name="varq",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"varq {version('varq')}")
        raise typer.Exit


@app.callback(epilog="Start with `varq demo`. Every run is kept: `varq resume ID` carries one on, whatever ended it.")
def _varq(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hybrid quantum-classical algorithms that never lose a run."""


@app.command(rich_help_panel=RUN)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to draw the curve.")] = Path(
        "varq-demo.png"
    ),
    store: Store = None,
) -> None:
    """Dissociate LiH: five VQE runs, a table and a picture.

    The energy of lithium hydride at five bond lengths by UCCSD and L-BFGS-B, exactly simulated, against Hartree-Fock
    and the exact answer.  Ends with status 1 if one deviates by more than chemical accuracy.
    """
    began = time.perf_counter()
    with waiting():
        work = cli.demo
    raise typer.Exit(work(out, store, began))


@app.command("run", rich_help_panel=RUN)
def run_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What to run.")],
    store: Store = None,
    stop_steps: Steps = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="As `varq devices` lists them.", show_default=False)
    ] = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Shots of each circuit; exact if not given.")
    ] = None,
    existing: Annotated[
        str,
        typer.Option(
            metavar="continue|return|error|repeat", help="What to do with a run of the same file that the store has."
        ),
    ] = "continue",
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in a process of its own; prints the session's id.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run what a TOML file describes, or carry it on.

    The same file again gives the recorded result at once.  Ctrl-C stops after the evaluation in flight and prints the
    line that carries on (status 130); SIGTERM does the same with status 75.  A deadline and `varq cancel` stop it with
    status 3.
    """
    with waiting():
        work, options = cli.run_file, cli.Options
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    said = options(stop_steps, device, shots, budget, prices)
    raise typer.Exit(work(file, store, said, existing, quiet, detach))


@app.command(rich_help_panel=RUN)
def resume(
    run: Run,
    store: Store = None,
    stop_steps: Steps = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the run from an owner that no longer shows signs of life.")
    ] = False,
    fork: Annotated[
        bool, typer.Option("--fork", help="Go on as a new run from the last step that is still asked for.")
    ] = False,
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    quiet: Quiet = False,
) -> None:
    """Carry a run on; recorded steps cost nothing.

    A budget that it was given holds on: what was used up counts, and a limit given here takes the place of that one.
    """
    with waiting():
        work, options = cli.resume, cli.Options
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    said = options(stop_steps, None, None, budget, prices)
    raise typer.Exit(work(run, store, said, take_over, fork, quiet))


@app.command(rich_help_panel=RUN)
def attach(session: SessionId, store: Store = None, quiet: Quiet = False) -> None:
    """Watch a session that another process owns, until it ends.

    Ctrl-C ends the watching only.  Status 1 if the session ended by an error, or nobody owns it any more.
    """
    with waiting():
        work = cli.attach_to
    raise typer.Exit(work(session, store, quiet))


@app.command(rich_help_panel=RUN)
def cancel(
    name: Annotated[str, typer.Argument(metavar="ID", help="A session's id, or that of a run in one.")],
    store: Store = None,
) -> None:
    """End a session or one of its runs, after what is in flight."""
    with waiting():
        work = cli.cancel
    work(name, store)


@app.command(rich_help_panel=RUN)
def settle(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, as `ledger` shows it.")],
    provider: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The vendor's id of it, as its pages show it.")
    ] = None,
    lost: Annotated[bool, typer.Option("--lost", help="The vendor surely never received it.")] = False,
    store: Store = None,
) -> None:
    """Say what became of a job that may have been sent, in a session that nobody owns."""
    with waiting():
        work = cli.settle
    work(job, provider, lost, store)


@app.command(rich_help_panel=RUN)
def worker(
    where: Annotated[
        str, typer.Argument(metavar="SESSION|HOST", help="A session of the store; or a machine, with a file to run.")
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.toml", help="What to run on HOST.", show_default=False)
    ] = None,
    store: Store = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="As of `run`.", show_default=False)] = None,
    shots: Annotated[int | None, typer.Option(metavar="N", min=1, help="As of `run`.")] = None,
    stop_steps: Steps = None,
    budget_shots: BudgetShots = None,
    budget_circuits: BudgetCircuits = None,
    budget_seconds: BudgetSeconds = None,
    budget_cost: BudgetCost = None,
    prices: Prices = None,
    command: Annotated[str, typer.Option(metavar="WORDS", help="How varq is called on HOST.")] = "varq",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take it from an owner that no longer shows signs of life.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="In a process of its own.")] = False,
) -> None:
    """Own a session until its runs have ended, here or near the device.

    With SESSION: drain it here.  With HOST and FILE.toml: hand the file's run to HOST over ssh, where a process of its
    own goes on with it; --store and --command are those of HOST, and the options of `run` go with the file.
    """
    with waiting():
        work, send, options = cli.work, cli.send, cli.Options
    budget = {"shots": budget_shots, "circuits": budget_circuits, "seconds": budget_seconds, "cost": budget_cost}
    said = options(stop_steps, device, shots, budget, prices)
    if file is not None:
        raise typer.Exit(send(where, file, store, said, command))
    if said.given:
        raise InputError(
            f"Device, shots, steps, budget and prices of a session were given when it was opened. Got others for "
            f"{where}. Leave them out, or name a FILE.toml to run on that machine."
        )
    raise typer.Exit(work(where, store, take_over, detach))


app.add_typer(sweep, name="sweep", rich_help_panel=RUN)


@app.command("list", rich_help_panel=LOOK)
def list_runs(
    store: Store = None,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", "-a", metavar="NAME", help="Only runs of this one, such as vqe.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=0, help="Only the N newest.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """The runs in the store, newest first."""
    cli.list_runs(store, algorithm, limit, json)


@app.command(rich_help_panel=LOOK)
def show(run: Run, store: Store = None, json: Json = False) -> None:
    """One run: result, spec, versions, and how to carry it on."""
    cli.show(run, store, json)


@app.command(rich_help_panel=LOOK)
def plot(
    runs: Annotated[list[str], typer.Argument(metavar="ID", help="A run's id; several for a curve.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", "-k", metavar="KIND", help="convergence, parameters, distribution, posterior, circuit, curve ..."
        ),
    ] = "convergence",
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Where the time of a session went; ID is its own, or a run's.")
    ] = False,
    out: Out = None,
    store: Store = None,
) -> None:
    """Draw a run to a file (PNG, PDF or SVG, by its ending)."""
    with waiting():
        work = cli.plot
    work(runs, kind, out, store, timeline)


@app.command(rich_help_panel=LOOK)
def ledger(
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Only this one's jobs.", show_default=False)
    ] = None,
    store: Store = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Only the N newest sessions.")] = 20,
    steps: Annotated[bool, typer.Option("--steps", help="Of SESSION: where the time of each step went.")] = False,
    json: Json = False,
) -> None:
    """What sessions used; of one, every job and where its time went."""
    with waiting():
        work = cli.show_ledger
    work(session, store, limit, json, steps)


@app.command(rich_help_panel=LOOK)
def devices(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these.", show_default=False)] = None,
    status: Annotated[bool, typer.Option("--status", help="Ask for queue, age of calibration and price.")] = False,
    prices: Prices = None,
    json: Json = False,
) -> None:
    """What there is to run on, and what each can do."""
    with waiting():
        work = cli.show_devices
    work(names or [], status, prices, json)


@app.command(rich_help_panel=LOOK)
def export(
    run: Run,
    form: Annotated[
        str,
        typer.Option("--format", "-f", metavar="csv|json", help="csv: the history; json: spec, result and history."),
    ] = "csv",
    out: Out = None,
    store: Store = None,
) -> None:
    """Write a run's history for other programs.

    To standard output unless --out names a file.
    """
    with waiting():
        work = cli.export
    work(run, form, out, store)


@app.command(rich_help_panel=LOOK)
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one's.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """What differs between two runs: specs, versions, host."""
    with waiting():
        work = cli.compare
    work(first, second, store, json)


@app.command(rich_help_panel=KEEP)
def rm(
    runs: Annotated[list[str], typer.Argument(metavar="ID", help="The runs' ids.")],
    store: Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs for good."""
    cli.remove(runs, store, yes)


@app.command(rich_help_panel=KEEP)
def gc(store: Store = None) -> None:
    """Free what no run needs, and pack the store's file."""
    cli.gc(store)


@app.command(rich_help_panel=KEEP)
def compact(store: Store = None) -> None:
    """Unite the files that worker processes left, on any host, then do what `gc` does."""
    cli.compact(store)


@app.command(rich_help_panel=KEEP)
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="DIR", help="Other stores; they are only read.")],
    store: Store = None,
) -> None:
    """Add other stores' runs to this one: all, or nothing."""
    cli.merge(sources, store)


@app.command(rich_help_panel=KEEP)
def verify(store: Store = None, json: Json = False) -> None:
    """Check every row of the store against its digest.

    Status 1 if something is wrong.
    """
    raise typer.Exit(cli.verify(store, json))


@app.command(rich_help_panel=KEEP)
def doctor(store: Store = None, json: Json = False) -> None:
    """Look for what is broken, and say how to mend it.

    Versions, devices, extras, known conflicts, the store.  Status 1 if something is broken.
    """
    raise typer.Exit(cli.doctor(store, json))


def main() -> None:
    """The entry point of the command `varq`."""
    # Outside the run loop, which has a handler of its own, nothing is lost by ending at once; and JAX's callback from
    # the garbage collector swallows a KeyboardInterrupt that is raised inside it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started this; the next file opened would have its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - to the end of the process
    for stream in (sys.stdout, sys.stderr):
        # A terminal without some character shows another one; it ends no command.  (In the locale C errors are escaped,
        # which helps names of files only.)
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    try:
        try:
            app(prog_name="varq")
        finally:
            sys.stdout.flush()  # what is still in the buffer meets a closed pipe here, not when Python ends
    except OSError as error:
        # A full disk, say; or whoever read the output has seen enough.
        if "--debug" in sys.argv:
            raise
        if not isinstance(error, BrokenPipeError):
            print(f"varq: {error}", file=sys.stderr)
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
