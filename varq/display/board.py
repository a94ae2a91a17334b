"""All runs of a session in one live table: in a terminal, in a notebook, or now and then in a log."""

from __future__ import annotations

import contextlib
import html
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from varq import checks
from varq.display.buttons import buttons
from varq.display.progress import REFRESH, SHORTEST_TITLE, Progress, notebook, terminal
from varq.display.words import clock, deviation
from varq.plots.units import value_text
from varq.protocol import Event

__all__ = ["Board"]

HEADERS = ("run", "step", "value", "off", "best", "queue", "state")
_GIVES_WAY = (4, 3, 5)  # columns in the order in which a narrow window drops them
_RIGHT = (1, 2, 3, 4, 5)  # columns that are aligned to the right
_AROUND = 5  # lines of a window that are not rows: headers, sums, what is below
_OPEN = ("written", "sent", "uncertain")  # states of jobs in a store that may still come back
Standing = Callable[[], Mapping[str, Any]]


@dataclass
class _Row:
    """What is known of one run."""

    title: str
    unit: str = ""
    reference: float | None = None
    step: int = 0
    value: float | None = None
    stderr: float | None = None
    best: float = math.inf
    best_stderr: float | None = None
    state: str = "starting"
    over: bool = False

    def take(self, event: Event) -> None:
        """What an event says."""
        self.title = str(event.info.get("title", self.title))
        self.unit = str(event.info.get("unit", self.unit))
        reference = event.info.get("reference", self.reference)
        self.reference = None if reference is None else float(reference)
        self.step = event.step
        if event.value is not None:
            self.value, self.stderr = event.value, event.stderr
            if event.value <= self.best:
                self.best, self.best_stderr = event.value, event.stderr
        words = {"start": "starting", "pause": "paused", "step": "replaying" if event.replayed else "running"}
        self.state = words.get(event.kind, self.state)
        self.over = event.kind == "end"
        if self.over:
            self.state = "ended" if event.reason is None else event.reason.value

    def cells(self, waiting: int, paused: bool) -> list[str]:
        """The columns."""
        shown = value_text(self.value, self.stderr, self.unit) if self.value is not None else ""
        away = deviation(self.value, self.reference, self.unit)
        best = value_text(self.best, self.best_stderr, self.unit) if math.isfinite(self.best) else ""
        state = "paused" if paused and not self.over else self.state
        return [self.title, f"{self.step}", shown, away, best, f"{waiting}" if waiting and not self.over else "", state]


class Board:
    """An observer that shows all runs of a session in one table, with what waits and what was used of the budget.

    Where the output is neither a terminal nor a notebook there are lines as of `Progress`. When it is closed the table
    stays, as a summary. Whatever goes wrong here, the runs go on.

    Args:
        session: the session's id.
        standing: gives what waits ("waiting", circuits by run), what is held back ("paused", runs) and what was used
            ("used", pairs of used and allowed by name), and may give how many jobs are under way ("jobs", by how they
            stand); where it does not, that follows from events of jobs.
        ask: is given "pause", "resume", "step" or "stop" by buttons; None for no buttons.
        file: where plain lines go; None is standard error, live where that is a terminal.

    Example:
        >>> import io
        >>> from varq.protocol import Event, Reason
        >>> out = io.StringIO()
        >>> with Board("session-1f", dict, file=out) as board:
        ...     board(Event("1f2e", "start", 0, info={"title": "H2, UCCSD", "unit": "Ha", "reference": -1.13727}))
        ...     board(Event("1f2e", "end", 9, value=-1.13726, reason=Reason.CONVERGED))
        >>> print(out.getvalue().strip())
        H2, UCCSD  step 9  -1.13726000 Ha  +0.0100 mHa off  converged  0:00
    """

    def __init__(
        self,
        session: str,
        standing: Standing,
        *,
        ask: Callable[[str], None] | None = None,
        file: TextIO | None = None,
    ) -> None:
        self._session = session
        self._standing = standing
        self._ask = ask
        self._rows: dict[str, _Row] = {}
        self._jobs: dict[str, str] = {}
        self._began = time.monotonic()
        self._quiet = False
        self._shell = notebook() if file is None else None
        console = Console(stderr=True)
        live = file is None and sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal
        self._terminal = terminal() if live and self._shell is None else None
        self._plain = None if live or self._shell is not None else Progress(file=file)
        self._handle = f"varq-{id(self)}-{time.monotonic_ns()}"
        self._painted = 0.0

    def __enter__(self) -> Board:
        self._safely(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Show what happened; never raises."""
        if not self._quiet:
            self._safely(lambda: self._take(event))

    def look(self) -> None:
        """Show how things stand now; never raises."""
        if not self._quiet:
            self._safely(self._repaint)

    def say(self, message: str) -> None:
        """A line for the person."""
        self._safely(lambda: self._take(Event("", "note", 0, info={"message": message})))

    def close(self) -> None:
        """Leave the table as it is at the end."""
        if not self._quiet:
            self._safely(self._shut)
            self._quiet = True

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            # A display that fails (a closed pipe, a terminal that is gone) must not cost a run.
            self._quiet = True
            with contextlib.suppress(Exception):
                if self._terminal is not None:
                    self._terminal.drop(id(self), None)

    def _open(self) -> None:
        if self._terminal is not None:
            self._terminal.put(id(self), self._shown)
        elif self._shell is not None:
            controls = None if self._ask is None else buttons(self._ask)
            if controls is not None:
                self._shell.display_pub.publish(data=self._shell.display_formatter.format(controls)[0], metadata={})
            self._publish(update=False)

    def _take(self, event: Event) -> None:
        if self._plain is not None:
            self._plain(event)
        elif event.kind == "job":
            self._jobs[str(event.info.get("job"))] = str(event.info.get("state"))
        elif event.kind == "note":
            self._note(str(event.info.get("message", "")))
        elif event.run_id:
            self._rows.setdefault(event.run_id, _Row(event.run_id[:12])).take(event)
        self._repaint()

    def _repaint(self) -> None:
        """In a notebook, now and then; a terminal paints by itself."""
        if self._shell is not None and time.monotonic() - self._painted >= 1 / REFRESH:
            self._publish(update=True)

    def _note(self, message: str) -> None:
        if self._terminal is not None:
            self._terminal.say(message)
        elif self._shell is not None:
            data = {"text/plain": message, "text/html": f"<pre style='margin:0'>{html.escape(message)}</pre>"}
            self._shell.display_pub.publish(data=data, metadata={})

    def _shut(self) -> None:
        if self._terminal is not None:
            width = Console(stderr=True).width
            self._terminal.drop(id(self), self._table(self._cells(len(self._rows)), width) if self._rows else None)
        elif self._shell is not None:
            self._publish(update=True)
        elif self._plain is not None:
            self._plain.close()

    # -- what is shown --

    def _cells(self, most: int) -> list[list[str]]:
        """The rows: those that go on first, where not all have room."""
        standing = self._standing()
        waiting, paused = standing.get("waiting", {}), standing.get("paused", ())
        rows = list(self._rows.items())
        if len(rows) > most:
            rows = sorted(rows, key=lambda row: row[1].over)[: max(1, most - 1)]
        cells = [row.cells(int(waiting.get(name, 0)), name in paused) for name, row in rows]
        left = len(self._rows) - len(rows)
        return [*cells, [f"and {left} more", *[""] * 6]] if left else cells

    def _foot(self) -> str:
        """What was used, of what is allowed."""
        standing = self._standing()
        ended = sum(row.over for row in self._rows.values())
        parts = [f"{ended} of {checks.counted(len(self._rows), 'run')} ended"] if self._rows else []
        open_jobs = standing.get("jobs") or Counter(state for state in self._jobs.values() if state in _OPEN)
        parts += [f"{checks.counted(count, 'job')} {state}" for state, count in open_jobs.items()]
        for name, (used, allowed) in standing.get("used", {}).items():
            if allowed is not None:
                share = f" ({100 * used / allowed:.0f} %)" if allowed else ""
                parts.append(f"{name} {_amount(used)} of {_amount(allowed)}{share}")
            elif used:
                parts.append(f"{name} {_amount(used)}")
        return "  ".join([self._session, *parts, clock(time.monotonic() - self._began)])

    def _shown(self, width: int, height: int) -> RenderableType:
        return self._table(self._cells(max(1, height - _AROUND)), width)

    def _table(self, cells: Sequence[Sequence[str]], width: int) -> RenderableType:
        kept = _columns(cells, width)
        room = max(1, width - sum(_wide(cells)[c] for c in kept[1:]) - 2)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for column in kept:
            table.add_column(
                HEADERS[column],
                no_wrap=True,
                overflow="ellipsis",
                justify="right" if column in _RIGHT else "left",
                max_width=room if column == 0 else None,
                min_width=None if column == 0 else max(len(HEADERS[column]), *(len(row[column]) for row in cells), 0),
            )
        for row in cells:
            table.add_row(*(Text(row[column], style="bold" if column == 0 else "") for column in kept))
        return Group(table, Text(self._foot(), style="dim", overflow="ellipsis", no_wrap=True))

    def _publish(self, update: bool) -> None:
        self._painted = time.monotonic()
        cells = self._cells(len(self._rows))
        wide = [max(map(len, column)) for column in zip(HEADERS, *cells, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)) for row in (HEADERS, *cells)]
        data = {"text/plain": "\n".join([*lines, self._foot()]), "text/html": _html(cells, self._foot())}
        transient = {"display_id": self._handle}
        assert self._shell is not None
        self._shell.display_pub.publish(data=data, metadata={}, transient=transient, update=update)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _wide(cells: Sequence[Sequence[str]]) -> list[int]:
    """The room that each column takes, with what keeps it from the next."""
    return [max([len(HEADERS[c]), *(len(row[c]) for row in cells)]) + 2 for c in range(len(HEADERS))]


def _columns(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns for which a window has room; the title and what cannot be missed stay."""
    wide = _wide(cells)
    kept = [c for c in range(len(HEADERS)) if c in (0, 1, 2, 6) or any(row[c] for row in cells)]
    for column in _GIVES_WAY:
        if SHORTEST_TITLE + sum(wide[c] for c in kept[1:]) > width and column in kept:
            kept.remove(column)
    return kept


def _html(cells: Sequence[Sequence[str]], foot: str) -> str:
    def row(tag: str, texts: Sequence[str]) -> str:
        sides = ["right" if column in _RIGHT else "left" for column in range(len(HEADERS))]
        look = "padding:1px 1em 1px 0;font-variant-numeric:tabular-nums;white-space:nowrap;text-align:"
        inner = (f'<{tag} style="{look}{s}">{html.escape(t)}</{tag}>' for s, t in zip(sides, texts, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(row("td", texts) for texts in cells)
    caption = f'<caption style="caption-side:bottom;text-align:left;opacity:0.7">{html.escape(foot)}</caption>'
    return f"<table>{caption}<thead>{row('th', HEADERS)}</thead><tbody>{body}</tbody></table>"
