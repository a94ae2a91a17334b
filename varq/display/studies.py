"""A study in one live table: in a terminal, in a notebook, or now and then as a line in a log."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from varq import checks
from varq.display.progress import PATIENCE, REFRESH, notebook, terminal
from varq.display.words import clock

__all__ = ["StudyBoard"]

_KEPT = 8  # cells that ended last, which are shown
_RUNNING = 8  # cells under way, which are shown
_AROUND = 5  # lines of a window that are not rows
Shown = Sequence[tuple[int, Sequence[Any]]]


class StudyBoard:
    """Shows the cells of a study that are under way and that ended last, with their steps and values, and where they
    ran, and how many of all have ended.

    Whatever goes wrong here, the study goes on.

    Args:
        name: of the study.
        names: of the fields that tell its cells apart.
        cells: how many there are.
        file: where plain lines go; None is standard error, live where that is a terminal.

    Example:
        >>> import io
        >>> from types import SimpleNamespace
        >>> out = io.StringIO()
        >>> with StudyBoard("curve", ("bond",), 2, file=out) as board:
        ...     board.begin(1, 0)
        ...     board.tell([(1, (1.6,))], None)
        ...     board.tell([(1, (1.6,))], [SimpleNamespace(index=1, state="done", message="")])
        >>> print(out.getvalue().strip())
        curve  2 of 2 cells done  0:00
    """

    def __init__(self, name: str, names: Sequence[str], cells: int, *, file: TextIO | None = None) -> None:
        self._name, self._names, self._cells = name, tuple(names), cells
        self._rows: dict[int, Sequence[Any]] = {}
        self._at: dict[int, tuple[int, float | None]] = {}  # of cells under way: steps, and the value there
        self._over: dict[int, str] = {}  # how cells ended whose order goes on
        self._ended: deque[tuple[int, list[str]]] = deque(maxlen=_KEPT)
        self._counts = {"done": 0, "failed": 0}
        self._before = 0
        self._began = time.monotonic()
        self._told = self._began
        self._said = ""
        self._quiet = False
        self._shell = notebook() if file is None else None
        console = Console(stderr=True)
        live = file is None and sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal
        self._terminal = terminal() if live and self._shell is None else None
        self._file = None if live or self._shell is not None else (file or sys.stderr)
        self._handle = f"varq-{id(self)}-{time.monotonic_ns()}"
        self._painted = 0.0

    def __enter__(self) -> StudyBoard:
        self._safely(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._quiet:
            self._safely(self._shut)
            self._quiet = True

    def begin(self, done: int, failed: int) -> None:
        """So many cells had ended before."""
        self._counts.update(done=done, failed=failed)
        self._before = done + failed

    def say(self, text: str) -> None:
        """Something about the whole study, such as where its work is shown; never raises."""
        self._said = text
        if not self._quiet and self._file is not None:
            self._safely(lambda: self._write(f"{self._name}  {text}"))

    def tell(self, cells: Shown, ends: Sequence[Any] | None, place: str = "") -> None:
        """Cells that are under way now, or with `ends` what became of them, and where; never raises."""
        if not self._quiet:
            self._safely(lambda: self._take(cells, ends, place))

    def step(self, cell: int, step: int, value: float | None, state: str = "") -> None:
        """So many steps of a cell are done, with this value; `state` says how it ended where it did.  Never raises."""
        if not self._quiet:
            self._safely(lambda: self._follow(cell, step, value, str(state)))

    def shown(self) -> list[int]:
        """The cells under way that are shown."""
        return self._going()[:_RUNNING]

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            # A display that fails (a closed pipe, a terminal that is gone) must not cost a study.
            self._quiet = True
            with contextlib.suppress(Exception):
                if self._terminal is not None:
                    self._terminal.drop(id(self), None)

    def _open(self) -> None:
        if self._terminal is not None:
            self._terminal.put(id(self), self._shown)
        elif self._shell is not None:
            self._publish(update=False)

    def _take(self, cells: Shown, ends: Sequence[Any] | None, place: str) -> None:
        if ends is None:
            self._rows.update(dict(cells))
        else:
            values = dict(cells)
            for end in ends:
                state = str(getattr(end.state, "value", end.state))
                at = (getattr(end, "steps", 0), getattr(end, "value", None))
                self._end(end.index, values.get(end.index, ()), state, at, end.message, place)
            for number in values:
                self._rows.pop(number, None)
                self._at.pop(number, None)
                self._over.pop(number, None)
        self._refresh()

    def _follow(self, cell: int, step: int, value: float | None, state: str) -> None:
        if cell not in self._rows:
            return
        self._at[cell] = (step, value)
        if state in self._counts and cell not in self._over:
            self._end(cell, self._rows[cell], state, self._at[cell], "", "")
            self._over[cell] = state
        self._refresh()

    def _end(
        self, cell: int, values: Sequence[Any], state: str, at: tuple[int, float | None], message: str, place: str
    ) -> None:
        """Note how a cell ended: once more by its order, which knows best, where its run told it before."""
        if cell in self._over:
            self._counts[self._over.pop(cell)] -= 1
            for known in [line for line in self._ended if line[0] == cell]:
                self._ended.remove(known)
        if state in self._counts:
            self._counts[state] += 1
        self._ended.append((cell, _line(values, at, f"{state}  {message}".strip(), place)))

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._shell is not None and now - self._painted >= 1 / REFRESH:
            self._publish(update=True)
        elif self._file is not None and now - self._told >= PATIENCE:
            self._told = now
            self._say()

    def _say(self) -> None:
        self._write(self._foot())

    def _write(self, line: str) -> None:
        assert self._file is not None
        self._file.write(line + "\n")
        self._file.flush()

    def _shut(self) -> None:
        self._rows.clear()
        if self._terminal is not None:
            self._terminal.drop(id(self), self._table(_KEPT))
        elif self._shell is not None:
            self._publish(update=True)
        elif self._file is not None:
            self._say()

    # -- what is shown --

    def _foot(self) -> str:
        done, failed = self._counts["done"], self._counts["failed"]
        parts = [self._name, f"{done} of {checks.counted(self._cells, 'cell')} done"]
        if failed:
            parts.append(f"{failed} failed")
        going = len(self._going())
        if going:
            parts.append(f"{going} under way")
        elapsed = time.monotonic() - self._began
        parts.append(clock(elapsed))
        here, left = done + failed - self._before, self._cells - done - failed
        if here > 0 and left > 0 and going:
            parts.append(f"about {clock(elapsed / here * left)} left")
        return "  ".join(parts)

    def _going(self) -> list[int]:
        return [cell for cell in list(self._rows) if cell not in self._over]

    def _heads(self, lines: Sequence[Sequence[str]]) -> list[str]:
        """The columns; where cells ran only where that is told."""
        heads = [*self._names, "step", "value", "state", "where"]
        return heads if any(line[-1] for line in lines) else heads[:-1]

    def _lines(self, most: int) -> list[list[str]]:
        rows, cells = self._rows, self._going()
        going = [
            _line(rows[cell], self._at.get(cell, (0, None)), "under way", "")
            for cell in cells[:_RUNNING]
            if cell in rows  # it may have ended just now, in another thread than the one that paints
        ]
        ended = [line for _, line in list(self._ended)]
        lines = [*ended[-max(1, most - len(going)) :], *going][-most:]
        left = len(cells) - len(going)
        return [*lines, [f"and {left} more", *[""] * (len(self._names) + 3)]] if left else lines

    def _shown(self, width: int, height: int) -> RenderableType:
        return self._table(max(1, height - _AROUND))

    def _table(self, most: int) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        lines = self._lines(most)
        heads = self._heads(lines)
        for name in heads:
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for line in lines:
            table.add_row(*(Text(text) for text in line[: len(heads)]))
        said = [Text(self._said, style="dim", overflow="ellipsis", no_wrap=True)] if self._said else []
        return Group(table, *said, Text(self._foot(), style="dim", overflow="ellipsis", no_wrap=True))

    def _publish(self, update: bool) -> None:
        self._painted = time.monotonic()
        lines = self._lines(_KEPT + _RUNNING)
        heads = self._heads(lines)
        lines = [line[: len(heads)] for line in lines]
        text = "\n".join("  ".join(line) for line in (heads, *lines))

        def row(tag: str, texts: Sequence[str]) -> str:
            look = "padding:1px 1em 1px 0;text-align:left;white-space:nowrap"
            return f"<tr>{''.join(f'<{tag} style={look!r}>{html.escape(t)}</{tag}>' for t in texts)}</tr>"

        said = f"{html.escape(self._said)}<br>" if self._said else ""
        caption = f"<caption style='caption-side:bottom;text-align:left'>{said}{html.escape(self._foot())}</caption>"
        body = "".join(row("td", line) for line in lines)
        data = {
            "text/plain": f"{text}\n{self._foot()}",
            "text/html": f"<table>{caption}<thead>{row('th', heads)}</thead><tbody>{body}</tbody></table>",
        }
        assert self._shell is not None
        self._shell.display_pub.publish(data=data, metadata={}, transient={"display_id": self._handle}, update=update)


def _line(values: Sequence[Any], at: tuple[int, float | None], state: str, place: str) -> list[str]:
    """A cell as a line of texts: its fields, steps, value, state and place."""
    fields = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    steps, value = at
    return [*fields, str(steps or ""), "" if value is None else f"{value:.8f}", state, place]
