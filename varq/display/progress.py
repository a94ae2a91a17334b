"""What a person sees of runs that go on: live lines."""

from __future__ import annotations

import atexit
import contextlib
import html
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TextIO, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from varq import checks
from varq.display.words import clock, deviation
from varq.plots.units import value_text
from varq.protocol import Event

__all__ = ["PATIENCE", "REFRESH", "SHORTEST_TITLE", "Progress", "notebook", "terminal"]

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
        away = deviation(self.value, self.reference, self.unit)
        return [
            self.title,
            f"step {self.step}",
            value_text(self.value, self.stderr, self.unit) if self.value is not None else "",
            f"{away} off" if away else "",
            f"|grad| {self.gradient:.1e}" if self.gradient is not None and not end else "",
            end or ("replaying" if self.replayed else f"{rate:.3g} steps/s"),
            clock(elapsed),
        ]


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


Block: TypeAlias = Callable[[int, int], RenderableType]
"""What is shown for a number of columns and rows."""

# -- where lines are shown -----------------------------------------------------------------------------------------


class _Terminal:
    """The live lines of all runs of this process, at the foot of a terminal; what has ended stands above them."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._rows: dict[tuple[int, str], _Line] = {}
        self._blocks: dict[int, Block] = {}
        self._live: Live | None = None
        self._lock = threading.RLock()
        atexit.register(self._stop)

    def show(self, place: tuple[int, str], line: _Line) -> None:
        with self._lock:
            self._rows[place] = line
            self._start()

    def put(self, place: int, block: Block) -> None:
        """Show what `block` gives for a width and height, above the lines of single runs."""
        with self._lock:
            self._blocks[place] = block
            self._start()

    def drop(self, place: int, last: RenderableType | None) -> None:
        """Take a block down; what is last seen of it stays."""
        with self._lock:
            self._blocks.pop(place, None)
            self._rest()
            if last is not None:
                self._console.print(last)

    def end(self, place: tuple[int, str], last: Sequence[str] | None) -> None:
        with self._lock:
            self._rows.pop(place, None)
            self._rest()
            if last is not None:
                self._console.print(Text("  ".join(cell for cell in last if cell)), soft_wrap=True)

    def _start(self) -> None:
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

    def _rest(self) -> None:
        if not self._rows and not self._blocks:
            self._stop()

    def say(self, message: str) -> None:
        with self._lock:
            self._console.print(Text(message), soft_wrap=True)

    def _table(self) -> RenderableType:
        width, height = self._console.size
        lines = _grid([line.cells() for line in list(self._rows.values())], width)
        blocks = [block(width, height) for block in list(self._blocks.values())]
        return Group(*blocks, lines) if blocks else lines

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


@cache
def terminal() -> _Terminal:
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


def notebook() -> Any:
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
        self._others: Callable[[Event], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether it shows a run, or something else does for it."""
        return self._others is not None or bool(self._lines)

    @contextlib.contextmanager
    def through(self, others: Callable[[Event], None] | None) -> Iterator[None]:
        """Inside, have something else show what happens, where there is something else."""
        self._others = others
        try:
            yield
        finally:
            self._others = None

    def __call__(self, event: Event) -> None:
        """Show what happened; never raises."""
        if self._others is not None:
            self._others(event)
            return
        if self._quiet or event.kind == "job":
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
        shell = notebook()
        if shell is not None:
            return _Notebook(shell)
        console = Console(stderr=True)
        if sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal:
            return terminal()
        return _Plain(sys.stderr)

    def _clear(self) -> None:
        for run_id in list(self._lines):
            del self._lines[run_id]
            if self._where is not None:
                self._where.end((id(self), run_id), None)
