"""A session's ledger as tables: for a terminal, a pipe and a notebook."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varq import checks

__all__ = [
    "PHASES",
    "device_rows",
    "ledger_html",
    "ledger_rows",
    "ledger_table",
    "ledger_text",
    "run_rows",
    "time_cells",
]

PHASES = ("prepare", "queue", "qpu", "read", "decode", "classical")  # as varq.session.ledger.PHASES
HEADERS = ("#", "started", "device", "runs", "circuits", "shots", *PHASES, "cost", "state", "tries", "provider's id")
DEVICE_HEADERS = ("device", "jobs", "circuits", "shots", "shots back", "qpu", "cost")
RUN_HEADERS = ("run", "steps", "jobs", *PHASES, "title")  # the title last: it is what may be longer than a line
_LEFT = {"started", "device", "runs", "run", "title", "state", "provider's id"}
_MOST = 40  # jobs that a notebook shows, and errors that are told
_DIGITS = 13  # of a job's id that are shown: "varq-" and eight more


def _seconds(value: float | None) -> str:
    """A time with three digits and its unit; "" where it is not known."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            shown = value * factor
            return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.3g} {unit}"
    raise AssertionError("unreachable: the last unit takes everything")


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def time_cells(times: Any) -> list[str]:
    """Where time went, one cell for each of `PHASES`."""
    return [_seconds(getattr(times, phase)) for phase in PHASES]


def ledger_rows(ledger: Any) -> list[list[str]]:
    """The cells of each job, and the sums."""
    rows = []
    for line in ledger:
        owners = ", ".join(owner[:8] for owner in line.owners[:3]) + (" ..." if len(line.owners) > 3 else "")
        when = datetime.fromtimestamp(line.created).strftime("%H:%M:%S")
        cost = "" if line.cost is None else f"{line.cost:.2f}"
        counts = [_count(line.circuits), _count(line.shots)]
        end = [cost, str(line.state.value), str(line.attempts), line.provider_id or ""]
        rows.append([str(line.number), when, line.device, owners, *counts, *time_cells(line.times), *end])
    return rows


def _sums(ledger: Any) -> list[str]:
    """The sums of all jobs that used anything."""
    sent = [line for line in ledger if line.counts]
    costs = [line.cost for line in sent if line.cost is not None]
    counts = [_count(sum(line.circuits for line in sent)), _count(sum(line.shots for line in sent))]
    cost = f"{sum(costs):.2f}" if costs else ""
    jobs = checks.counted(len(ledger), "job")
    return [
        "",
        "in all",
        f"{len(_devices(ledger))}",
        f"{len(ledger.runs)}",
        *counts,
        *time_cells(ledger.total),
        cost,
        jobs,
        "",
        "",
    ]


def _devices(ledger: Any) -> list[str]:
    """The devices that jobs went to, in the order in which they did."""
    return list(dict.fromkeys(line.device for line in ledger))


def _shown(ledger: Any) -> tuple[Sequence[str], list[list[str]], list[str]]:
    """Headers, cells and sums of the jobs; their device is shown where there are several."""
    rows, sums = ledger_rows(ledger), _sums(ledger)
    if len(_devices(ledger)) > 1:
        return HEADERS, rows, sums
    place = HEADERS.index("device")
    headers, sums, *rows = ([*row[:place], *row[place + 1 :]] for row in (HEADERS, sums, *rows))
    return headers, rows, sums


def device_rows(ledger: Any) -> list[list[str]]:
    """The cells of each device: what was sent there, and what came back."""
    rows = []
    for name in _devices(ledger):
        sent = [line for line in ledger if line.device == name and line.counts]
        done = [line for line in sent if line.state.value == "done"]
        costs = [line.cost for line in sent if line.cost is not None]
        busy = [line.times.qpu for line in sent if line.times.qpu is not None]
        counts = [
            _count(len(sent)),
            _count(sum(line.circuits for line in sent)),
            _count(sum(line.shots for line in sent)),
        ]
        cost = f"{sum(costs):.2f}" if costs else ""
        rows.append(
            [name, *counts, _count(sum(line.shots for line in done)), _seconds(sum(busy) if busy else None), cost]
        )
    return rows


def _outages(ledger: Any) -> list[str]:
    """When devices were left out, a line each."""
    lines = []
    for outage in ledger.outages:
        began = datetime.fromtimestamp(outage.began).strftime("%H:%M:%S")
        end = "" if outage.ended is None else f" until {datetime.fromtimestamp(outage.ended).strftime('%H:%M:%S')}"
        lines.append(f"{outage.device} was left out from {began}{end}: {outage.why}")
    return lines


def _unfinished(ledger: Any) -> list[str]:
    """The jobs that are not done, with what went wrong, a line each; and how a person settles those that need one."""
    open_ = [line for line in ledger if line.state.value != "done"]
    lines = [
        f"# {line.number}: job {line.job[:_DIGITS]} is {line.state.value}{f': {line.error}' if line.error else '.'}"
        for line in open_[:_MOST]
    ]
    if len(open_) > _MOST:
        lines.append(f"{len(open_) - _MOST} more jobs are not done.")
    if any(line.state.value == "uncertain" for line in open_):
        lines.append("An uncertain job is settled by what the vendor's pages show: varq settle JOB --id ID, or --lost.")
    return lines


def run_rows(ledger: Any) -> list[list[str]]:
    """The cells of each run."""
    return [[r.id[:8], _count(r.steps), _count(r.jobs), *time_cells(r.times), r.title] for r in ledger.runs]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], sums: Sequence[str] | None, title: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for k, name in enumerate(headers):
        side: Any = "left" if name in _LEFT else "right"
        foot = Text("" if sums is None else sums[k])
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", header_style="dim", footer=foot)
    table.show_footer = sums is not None
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def ledger_table(ledger: Any) -> Table:
    """The jobs of a ledger, with their sums; where there were none, its runs.

    Args:
        ledger: a `varq.session.ledger.Ledger`.
    """
    if len(ledger):
        headers, rows, sums = _shown(ledger)
        return _table(headers, rows, sums, ledger.session)
    return _table(RUN_HEADERS, run_rows(ledger), None, f"{ledger.session}: no jobs")


def ledger_text(ledger: Any) -> str:
    """The jobs and the runs of a ledger as lines of text, whole however long."""
    out = io.StringIO()
    console = Console(file=out, width=1000, color_system=None, highlight=False)
    if len(ledger):
        console.print(ledger_table(ledger))
    console.print(_table(RUN_HEADERS, run_rows(ledger), None, "Runs" if len(ledger) else f"{ledger.session}: no jobs"))
    if len(_devices(ledger)) > 1:
        console.print(_table(DEVICE_HEADERS, device_rows(ledger), None, "Devices"))
    for line in (*_outages(ledger), *_unfinished(ledger)):
        console.print(Text(line))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def ledger_html(ledger: Any) -> str:
    """The runs and the jobs of a ledger as tables; of many jobs the first and the last."""
    headers, rows, sums = _shown(ledger)
    if len(rows) > _MOST:
        gap = [["", f"... {len(rows) - _MOST + 2} more", *[""] * (len(headers) - 2)]]
        rows = [*rows[: _MOST // 2], *gap, *rows[1 - _MOST // 2 :]]
    out = _html(f"{ledger.session}: runs", RUN_HEADERS, run_rows(ledger))
    if rows:
        out += _html("Jobs", headers, [*rows, sums])
    if len(_devices(ledger)) > 1:
        out += _html("Devices", DEVICE_HEADERS, device_rows(ledger))
    return out + "".join(f"<p>{html.escape(line)}</p>" for line in (*_outages(ledger), *_unfinished(ledger)))


def _html(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(tag: str, texts: Sequence[str]) -> str:
        look = "padding:1px 0.8em 1px 0;white-space:nowrap;font-variant-numeric:tabular-nums;text-align:"
        sides = ["left" if name in _LEFT else "right" for name in headers]
        inner = (f'<{tag} style="{look}{s}">{html.escape(t)}</{tag}>' for s, t in zip(sides, texts, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    caption = f'<caption style="text-align:left;font-weight:bold;caption-side:top">{html.escape(title)}</caption>'
    body = "".join(row("td", texts) for texts in rows)
    return f"<table>{caption}<thead>{row('th', headers)}</thead><tbody>{body}</tbody></table>"
