"""What a person sees of a run: live lines while it goes, and tables of what it came to."""

from __future__ import annotations

import atexit
import base64
import contextlib
import html
import io
import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TextIO

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from varq import checks, names
from varq.plots.units import difference, scale, small, value_text
from varq.protocol import Event, Record, Result

__all__ = ["Progress", "deviation_text", "result_html", "result_text", "run_html"]

REFRESH = 8  # times a second that live lines are painted
PATIENCE = 10.0  # seconds between the plain lines of a run whose output goes to a file


SHORTEST_TITLE = 14  # letters that a title keeps in a narrow window
_GIVES_WAY = (4, 5, 6, 3)  # columns of a live line in the order in which a narrow window drops them

# -- one run as one line -------------------------------------------------------------------------------------------


@dataclass
class _Line:
    """What is known of a run that goes on; `began` and `now` on a clock of this process."""

    title: str
    unit: str
    reference: float | None
    began: float
    first: int
    step: int = 0
    value: float | None = None
    stderr: float | None = None
    gradient: float | None = None
    waiting: bool = False
    replayed: bool = False
    told: float = 0.0

    def take(self, event: Event) -> None:
        """What an event says; the clock runs from the last time that the run was taken up."""
        if self.waiting or (self.replayed and not event.replayed):
            self.began, self.first = time.monotonic(), self.step
        self.waiting = event.kind == "pause"
        self.step, self.replayed = event.step, event.replayed
        if event.value is not None:
            self.value, self.stderr = event.value, event.stderr
        norm = event.info.get("grad_norm")
        self.gradient = float(norm) if norm is not None else self.gradient
        self.title = str(event.info.get("title", self.title))
        self.unit = str(event.info.get("unit", self.unit))
        reference = event.info.get("reference", self.reference)
        self.reference = None if reference is None else float(reference)

    def cells(self, end: str = "") -> list[str]:
        """The columns of the live line, or of the last one, which says how the run ended."""
        elapsed = time.monotonic() - self.began
        rate = (self.step - self.first) / elapsed if elapsed > 0.2 else 0.0
        deviation = _deviation(self.value, self.reference, self.unit)
        return [
            self.title,
            f"step {self.step}",
            value_text(self.value, self.stderr, self.unit) if self.value is not None else "",
            f"{deviation} off" if deviation else "",
            f"|grad| {self.gradient:.1e}" if self.gradient is not None and not end else "",
            end or ("replaying" if self.replayed else f"{rate:.3g} steps/s"),
            _clock(elapsed),
        ]


def _deviation(value: float | None, reference: float | None, unit: str) -> str:
    """A deviation with its unit; "" where it is not known."""
    if value is None or reference is None or not math.isfinite(value):
        return ""
    shown = scale(unit)
    return f"{small(difference(value, reference, unit) * shown.factor)} {shown.unit}".rstrip()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _grid(rows: Sequence[Sequence[str]], width: int) -> Table:
    """Rows under one another; what a narrow window has no room for is left out, and the title cut, not the numbers."""
    wide = [max((len(row[column]) for row in rows), default=0) + 2 for column in range(7)]
    kept = [column for column in range(1, 7) if wide[column] > 2]
    for column in _GIVES_WAY:
        if SHORTEST_TITLE + sum(wide[c] for c in kept) > width and column in kept:
            kept.remove(column)
    table = Table.grid(padding=(0, 2, 0, 0))
    room = max(SHORTEST_TITLE, width - sum(wide[c] for c in kept)) - 2
    table.add_column(overflow="ellipsis", no_wrap=True, style="bold", width=min(room, wide[0] - 2))
    for column in kept:
        table.add_column(no_wrap=True, justify="left" if column in (4, 5) else "right", min_width=wide[column] - 2)
    for row in rows:
        table.add_row(Text(row[0]), *(Text(row[column]) for column in kept))
    return table


# -- where lines are shown -----------------------------------------------------------------------------------------


class _Terminal:
    """The live lines of all runs of this process, at the foot of a terminal; what has ended stands above them."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._rows: dict[tuple[int, str], _Line] = {}
        self._live: Live | None = None
        self._lock = threading.RLock()
        atexit.register(self._stop)

    def show(self, place: tuple[int, str], line: _Line) -> None:
        with self._lock:
            self._rows[place] = line
            if self._live is None:
                live = Live(
                    console=self._console,
                    get_renderable=self._table,
                    refresh_per_second=REFRESH,
                    transient=True,
                    redirect_stdout=True,
                    redirect_stderr=False,
                )
                live.start()
                self._live = live

    def end(self, place: tuple[int, str], last: Sequence[str] | None) -> None:
        with self._lock:
            self._rows.pop(place, None)
            if not self._rows:
                self._stop()
            if last is not None:
                self._console.print(Text("  ".join(cell for cell in last if cell)), soft_wrap=True)

    def say(self, message: str) -> None:
        with self._lock:
            self._console.print(Text(message), soft_wrap=True)

    def _table(self) -> Table:
        return _grid([line.cells() for line in list(self._rows.values())], self._console.width)

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


@cache
def _terminal() -> _Terminal:
    """The one board of this process: a terminal has one foot, however many sessions write there."""
    return _Terminal()


class _Notebook:
    """Live lines in the output of a notebook's cell; they stay in the saved notebook without any widget."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._rows: dict[tuple[int, str], _Line] = {}
        self._ended: list[str] = []
        self._handle = ""
        self._painted = 0.0

    def show(self, place: tuple[int, str], line: _Line) -> None:
        fresh = place not in self._rows
        if fresh and not self._rows:
            self._handle, self._ended = f"varq-{id(self)}-{time.monotonic_ns()}", []
            self._publish(update=False)
        self._rows[place] = line
        if fresh or time.monotonic() - self._painted >= 1 / REFRESH:
            self._publish(update=True)

    def end(self, place: tuple[int, str], last: Sequence[str] | None) -> None:
        self._rows.pop(place, None)
        if last is not None:
            self._ended.append("  ".join(cell for cell in last if cell))
        if self._handle:
            self._publish(update=True)

    def say(self, message: str) -> None:
        data = {"text/plain": message, "text/html": f"<pre style='margin:0'>{html.escape(message)}</pre>"}
        self._shell.display_pub.publish(data=data, metadata={})

    def _publish(self, update: bool) -> None:
        self._painted = time.monotonic()
        lines = [*self._ended, *("  ".join(c for c in row.cells() if c) for row in self._rows.values())]
        text = "\n".join(lines)
        data = {"text/plain": text, "text/html": f"<pre style='margin:0'>{html.escape(text)}</pre>"}
        transient = {"display_id": self._handle}
        self._shell.display_pub.publish(data=data, metadata={}, transient=transient, update=update)


class _Plain:
    """Now and then a line in a log file: at the start of a long wait, and at the end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, place: tuple[int, str], line: _Line) -> None:
        now = time.monotonic()
        line.told = line.told or now
        if now - line.told >= PATIENCE:
            line.told = now
            self.say("  ".join(cell for cell in line.cells() if cell))

    def end(self, place: tuple[int, str], last: Sequence[str] | None) -> None:
        if last is not None:
            self.say("  ".join(cell for cell in last if cell))

    def say(self, message: str) -> None:
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        self._file.write(message.encode(encoding, "replace").decode(encoding) + "\n")
        self._file.flush()


def _shell() -> Any:
    """The notebook's shell if this process is a notebook's kernel, else None; imports nothing."""
    here = sys.modules.get("IPython")
    shell = here.get_ipython() if here is not None and hasattr(here, "get_ipython") else None
    return shell if getattr(shell, "kernel", None) is not None else None


class Progress:
    """An observer that shows one live line a run, on standard error or in a notebook, and keeps the last one.

    The line has the step, the value with its error, the deviation where the exact answer is known, the norm of the
    gradient, steps a second and the time.  Runs that go on at the same time share one display.  Where standard error
    is no terminal there is a line every ten seconds and one at the end.  Whatever goes wrong here, the run goes on.

    Args:
        quiet: whether to show nothing at all.
        file: where plain lines go; None is standard error, live where that is a terminal.

    Raises:
        TypeError: if `file` cannot be written to.

    Example:
        >>> import io
        >>> from varq.protocol import Event, Reason
        >>> out = io.StringIO()
        >>> with Progress(file=out) as progress:
        ...     progress(Event("1f2e", "start", 0, info={"title": "H2, UCCSD", "unit": "Ha", "reference": -1.13727}))
        ...     progress(Event("1f2e", "end", 9, value=-1.13726, reason=Reason.CONVERGED))
        >>> print(out.getvalue().strip())
        H2, UCCSD  step 9  -1.13726000 Ha  +0.0100 mHa off  converged  0:00
    """

    def __init__(self, *, quiet: bool = False, file: TextIO | None = None) -> None:
        self._quiet = checks.boolean("quiet", quiet)
        if file is not None and not hasattr(file, "write"):
            raise TypeError(f"file must be open for writing. Got {file!r}. Use sys.stderr or open(path, 'w').")
        self._file = file
        self._lines: dict[str, _Line] = {}
        self._where: _Terminal | _Notebook | _Plain | None = None

    def __call__(self, event: Event) -> None:
        """Show what happened; never raises."""
        if self._quiet:
            return
        try:
            self._take(event)
        except Exception:
            # A display that fails (a closed pipe, a terminal that is gone) must not cost a run.
            self._quiet = True
            with contextlib.suppress(Exception):
                self._clear()

    def close(self) -> None:
        """Take down what is live; the lines of runs that have ended stay."""
        with contextlib.suppress(Exception):
            self._clear()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take(self, event: Event) -> None:
        where = self._where = self._where or self._open()
        if event.kind == "note":
            where.say(str(event.info.get("message", "")))
            return
        place = (id(self), event.run_id)
        line = self._lines.get(event.run_id)
        if line is None:
            line = self._lines[event.run_id] = _Line(event.run_id[:12], "", None, time.monotonic(), event.step)
        line.take(event)
        if event.kind == "end":
            del self._lines[event.run_id]
            where.end(place, line.cells(event.reason.value if event.reason is not None else "ended"))
        elif event.kind == "pause":
            where.end(place, line.cells("paused"))
        else:
            where.show(place, line)

    def _open(self) -> _Terminal | _Notebook | _Plain:
        if self._file is not None:
            return _Plain(self._file)
        shell = _shell()
        if shell is not None:
            return _Notebook(shell)
        console = Console(stderr=True)
        if sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal:
            return _terminal()
        return _Plain(sys.stderr)

    def _clear(self) -> None:
        for run_id in list(self._lines):
            del self._lines[run_id]
            if self._where is not None:
                self._where.end((id(self), run_id), None)


# -- results -------------------------------------------------------------------------------------------------------


def deviation_text(result: Result) -> str:
    """The deviation of a result from the exact answer, with what it means for an energy; "" where it is not known.

    Example:
        >>> from varq.protocol import Reason
        >>> done = Result("1f2e", "H2", -1.1370, None, -1.1373, Reason.STEPS, None, 9, 9, 0.1, "Ha", "default.qubit")
        >>> deviation_text(done)
        '+0.300 mHa, within chemical accuracy'
    """
    text = _deviation(result.value, result.reference, result.unit)
    accuracy = scale(result.unit).accuracy
    if not text or accuracy is None or result.value is None or result.reference is None:
        return text
    within = abs(difference(result.value, result.reference, result.unit)) <= accuracy
    return f"{text}, {'within' if within else 'not within'} chemical accuracy"


def _rows(result: Result) -> list[tuple[str, str]]:
    ended = result.reason.value + (f": {result.message}" if result.message else "")
    replay = {"exact": "exact", "approximate": f"approximate, off by {result.replay_difference:.1e}"}
    rows = [
        ("value", value_text(result.value, result.stderr, result.unit)),
        ("exact", value_text(result.reference, None, result.unit) if result.reference is not None else ""),
        ("deviation", deviation_text(result)),
        ("ended", ended),
        ("steps", f"{result.steps:,}"),
        ("circuits", f"{result.executions:,}"),
        ("time", _duration(result.seconds)),
        ("device", result.device),
        ("replay", replay.get(result.replay or "", "")),
        ("run", result.run_id),
    ]
    return [(name, text) for name, text in rows if text]


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else _clock(seconds)


def result_text(result: Result) -> str:
    """A result as lines of text.

    Raises:
        TypeError: if `result` is none.

    Example:
        >>> from varq.protocol import Reason
        >>> done = Result("1f2e", "H2", -1.1372, 0.0012, None, Reason.STEPS, None, 9, 90, 0.1, "Ha", "default.qubit")
        >>> print(result_text(done))
        H2
          value     -1.1372(12) Ha
          ended     steps
          steps     9
          circuits  90
          time      0.1 s
          device    default.qubit
          run       1f2e
    """
    checks.instance("result", result, Result)
    return "\n".join([result.title, *(f"  {name:<9} {text}" for name, text in _rows(result))])


def result_html(result: Result) -> str:
    """A result as a small table of HTML.

    Raises:
        TypeError: if `result` is none.
    """
    checks.instance("result", result, Result)
    return _table_html(result.title, _rows(result))


def _table_html(title: str, rows: Sequence[tuple[str, str]]) -> str:
    left = "text-align:left;font-weight:normal;opacity:0.7;padding:1px 1em 1px 0"
    right = "text-align:left;padding:1px 0;font-variant-numeric:tabular-nums"
    body = "".join(
        f'<tr><th scope="row" style="{left}">{html.escape(name)}</th><td style="{right}">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    caption = f'<caption style="text-align:left;font-weight:bold;caption-side:top">{html.escape(title)}</caption>'
    return f"<table>{caption}<tbody>{body}</tbody></table>"


def run_html(record: Record) -> str:
    """A run as HTML: the table of its result, or of how far it is, and the figure that fits it.

    Raises:
        TypeError: if `record` is no record.
    """
    checks.instance("record", record, Record, "Use run.record().")
    if record.result is not None:
        table = result_html(record.result)
    else:
        values = record.history["value"]
        known = values[np.isfinite(values)]
        value = float(known[-1]) if len(known) else None
        rows = [
            ("value", value_text(value, None, record.unit)),
            ("exact", value_text(record.reference, None, record.unit) if record.reference is not None else ""),
            ("deviation", _deviation(value, record.reference, record.unit)),
            ("steps", f"{len(values):,}, and going on"),
            ("run", record.id),
        ]
        table = _table_html(record.title, [row for row in rows if row[1]])
    phase = record.result is not None and "density" in record.result.details
    axes = names.find("plot", "posterior" if phase else "convergence")(record)
    picture = io.BytesIO()
    axes.figure.savefig(picture, format="png", dpi=200)
    width = round(100 * axes.figure.get_figwidth())
    data = base64.b64encode(picture.getvalue()).decode()
    alternative = html.escape(f"{axes.get_ylabel()} of {record.title}", quote=True)
    return f'<div>{table}<img width="{width}" alt="{alternative}" src="data:image/png;base64,{data}"></div>'
