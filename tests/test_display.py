"""What a person sees: live lines in a terminal, a notebook and a log, and results as text and HTML."""

from __future__ import annotations

import base64
import io
import math
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import plot_samples as samples
import pytest

from varq import names, spec
from varq.algorithms import PhaseEstimation
from varq.display import (
    Board,
    Progress,
    deviation_text,
    figures,
    ledger_html,
    ledger_text,
    result_html,
    result_text,
    run_html,
)
from varq.display import board as board_module
from varq.display import progress as display
from varq.display.buttons import buttons
from varq.problems import EigenPhase
from varq.protocol import Event, Reason, Result
from varq.session.ledger import Ledger
from varq.session.session import Session
from varq.store.job_records import JobState

EXACT = samples.EXACT
INFO = {"title": "LiH 1.6 Å, UCCSD", "unit": "Ha", "reference": EXACT}


def steps(progress: Progress, count: int, run_id: str = "aaaa", first: int = 1) -> None:
    for step in range(first, first + count):
        info = {"title": INFO["title"], "unit": "Ha", "grad_norm": 0.5**step}
        progress(Event(run_id, "step", step, value=EXACT + 0.5**step, info=info))


# -- plain lines -----------------------------------------------------------------------------------------------------


def test_a_log_gets_one_line_for_a_short_run() -> None:
    out = io.StringIO()
    with Progress(file=out) as progress:
        progress(Event("aaaa", "start", 0, info=INFO))
        steps(progress, 500)
        progress(Event("aaaa", "end", 500, value=EXACT + 1e-3, stderr=2e-4, reason=Reason.CONVERGED))
    (line,) = out.getvalue().splitlines()
    assert line.startswith("LiH 1.6 Å, UCCSD  step 500  -7.88136(20) Ha  +1.00 mHa off  converged  0:0")


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    progress = Progress(file=out)
    progress(Event("aaaa", "start", 0, info=INFO))
    for step in range(1, 26):
        now[0] += 1.0
        steps(progress, 1, first=step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "step 20" in lines[1]
    assert "1 steps/s  0:20" in lines[1]
    assert "|grad| 9.5e-07" in lines[1]


def test_replayed_steps_do_not_count_as_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    progress = Progress(file=out)
    for step in range(1, 1001):
        progress(Event("aaaa", "step", step, value=1.0, replayed=True))
    now[0] = 5.0
    for step in range(1001, 1012):
        progress(Event("aaaa", "step", step, value=1.0))
        now[0] += 1.0
    assert "1 steps/s" in out.getvalue()


def test_a_pause_keeps_what_is_known() -> None:
    out = io.StringIO()
    progress = Progress(file=out)
    progress(Event("aaaa", "start", 0, info=INFO))
    progress(Event("aaaa", "pause", 3, value=EXACT))
    progress(Event("aaaa", "end", 4, value=EXACT, reason=Reason.STEPS))
    first, last = out.getvalue().splitlines()
    assert "step 3  -7.88236230 Ha  0 mHa off  paused" in first
    assert "step 4  -7.88236230 Ha  0 mHa off  steps" in last


def test_notes_are_shown_and_markup_is_text() -> None:
    out = io.StringIO()
    Progress(file=out)(Event("aaaa", "note", 0, info={"message": "done already: [bold]x[/bold]"}))
    assert out.getvalue() == "done already: [bold]x[/bold]\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    progress(Event("aaaa", "end", 4, value=EXACT, reason=Reason.STEPS))
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Progress()(Event("aaaa", "end", 4, value=None, reason=Reason.FAILED))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("aaaa  step 4  failed")


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_broken_display_never_stops_a_run() -> None:
    progress = Progress(file=Broken())
    progress(Event("aaaa", "end", 4, value=1.0, reason=Reason.STEPS))
    progress(Event("aaaa", "step", 5, value="not a number"))  # type: ignore[arg-type]
    progress.close()
    assert progress._quiet


def test_letters_that_a_log_cannot_hold_are_replaced() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as file:
        Progress(file=file)(Event("a", "end", 1, info=INFO, reason=Reason.STEPS))
        written = raw.getvalue()
    assert written.startswith(b"LiH 1.6 ?, UCCSD")


def test_wrong_options() -> None:
    with pytest.raises(TypeError, match="quiet must be True or False"):
        Progress(quiet="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="file must be open for writing"):
        Progress(file="log.txt")  # type: ignore[arg-type]


# -- a terminal ------------------------------------------------------------------------------------------------------

RUNS = """
import sys, time
from varq.display import Progress
from varq.protocol import Event, Reason
both = [Progress(), Progress()]
for k, progress in enumerate(both):
    progress(Event(f"run{k}", "start", 0, info={"title": f"title {k}", "unit": "Ha", "reference": -1.0}))
for step in range(1, 9):
    for k, progress in enumerate(both):
        progress(Event(f"run{k}", "step", step, value=-1 + 0.5**step))
    time.sleep(0.1)
print("a line of the user's own", flush=True)
both[0](Event("run0", "end", 8, value=-1.0, reason=Reason.CONVERGED))
if "leave" not in sys.argv:
    both[1].close()
"""


def in_a_terminal(tmp_path: Path, *arguments: str) -> str:
    """What a script writes to a terminal, control sequences included."""
    script = tmp_path / "script.py"
    script.write_text(RUNS)
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    part = os.read(ours, 4096)
                except OSError:  # Linux says so when the other side is closed
                    break
                if not part:
                    break
                written += part
            elif process.poll() is not None:
                break
        process.wait(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    return written.decode()


@pytest.mark.parametrize("arguments", [(), ("leave",)], ids=["closed", "left open"])
def test_two_runs_share_one_live_display(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    written = in_a_terminal(tmp_path, *arguments)
    assert "title 0" in written
    assert "title 1" in written
    assert "a line of the user's own" in written
    assert "title 0  step 8  -1.00000000 Ha  0 mHa off  converged  0:0" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h"), "the cursor is given back"


@pytest.mark.parametrize("width", [200, 100, 60, 40])
def test_a_narrow_window_loses_columns_and_no_digits(width: int) -> None:
    cells = [
        "LiH 1.6 Å, UCCSD, L-BFGS-B",
        "step 40",
        "-7.88236230 Ha",
        "+0.021 mHa off",
        "|grad| 1e-5",
        "9 steps/s",
        "0:40",
    ]
    console = display.Console(width=width, file=io.StringIO())
    console.print(display._grid([cells], width))
    line = console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]
    assert "\n" not in line
    assert "step 40" in line
    assert "-7.88236230 Ha" in line
    assert all(cell in line for cell in cells) == (width >= 100)
    whole = [cell for cell in cells[1:] if cell.split()[0] in line]
    assert all(cell in line for cell in whole)


# -- a notebook ------------------------------------------------------------------------------------------------------


class Publisher:
    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def publish(self, **call: Any) -> None:
        self.calls.append(call)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    found = Publisher()
    shell = SimpleNamespace(kernel=object(), display_pub=found)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return found


def test_a_notebook_gets_one_output_that_is_updated(publisher: Publisher) -> None:
    with Progress() as progress:
        for run_id in ("aaaa", "bbbb"):
            progress(Event(run_id, "start", 0, info={**INFO, "title": f"<{run_id}>"}))
        for step in range(1, 1000):
            progress(Event("aaaa", "step", step, value=EXACT))
        progress(Event("aaaa", "end", 999, value=EXACT, reason=Reason.CONVERGED))
        progress(Event("bbbb", "end", 1, value=EXACT, reason=Reason.STEPS))
    first, *rest = publisher.calls
    assert not first["update"]
    assert {c["transient"]["display_id"] for c in publisher.calls} == {first["transient"]["display_id"]}
    assert all(c["update"] for c in rest)
    assert len(rest) < 100, "updates are throttled"
    text = rest[-1]["data"]["text/plain"].splitlines()
    assert "<aaaa>  step 999" in text[0]
    assert "converged" in text[0]
    assert "<bbbb>" in text[1]
    assert "&lt;aaaa&gt;" in rest[-1]["data"]["text/html"]


def test_the_next_run_of_a_notebook_gets_an_output_of_its_own(publisher: Publisher) -> None:
    progress = Progress()
    for run_id in ("aaaa", "bbbb"):
        progress(Event(run_id, "start", 0, info=INFO))
        progress(Event(run_id, "end", 1, value=EXACT, reason=Reason.STEPS))
    assert len({c["transient"]["display_id"] for c in publisher.calls}) == 2
    progress(Event("bbbb", "note", 1, info={"message": "a <note>"}))
    assert publisher.calls[-1]["data"]["text/html"].count("a &lt;note&gt;") == 1


def test_runs_in_threads_share_a_display() -> None:
    out = io.StringIO()
    progress = Progress(file=out)
    threads = [threading.Thread(target=steps, args=(progress, 200, f"run{k}")) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not progress._quiet
    assert len(progress._lines) == 4


# -- results ---------------------------------------------------------------------------------------------------------


class Strict(HTMLParser):
    """Checks that every element is closed, in order, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(html: str) -> Strict:
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def test_a_result_as_text() -> None:
    text = result_text(samples.result(EXACT + 5e-4, EXACT))
    assert text.splitlines()[0] == "LiH 1.6 Å, UCCSD, L-BFGS-B"
    assert "  value     -7.88186230 Ha\n" in text
    assert "  deviation +0.500 mHa, within chemical accuracy\n" in text
    assert "  ended     converged\n" in text
    assert "  circuits  90\n" in text


@pytest.mark.parametrize(("off", "words"), [(1.5e-3, "within"), (-1.5e-3, "within"), (1.7e-3, "not within")])
def test_chemical_accuracy_is_said(off: float, words: str) -> None:
    assert deviation_text(samples.result(EXACT + off, EXACT)).endswith(f"mHa, {words} chemical accuracy")


def test_what_is_not_known_is_left_out() -> None:
    text = result_text(samples.result(None, None, reason=Reason.NONFINITE, message="step 3 is not finite", unit=""))
    assert "value     none" in text
    assert "ended     nonfinite: step 3 is not finite" in text
    assert "exact" not in text
    assert "deviation" not in text
    assert deviation_text(samples.result(1.0, 1.5, unit="")) == "-0.500"
    assert deviation_text(samples.result(math.inf, 1.5)) == ""


def test_a_replay_is_told() -> None:
    text = result_text(samples.result(1.0, None, replay="approximate", replay_difference=2.5e-13))
    assert "approximate, off by 2.5e-13" in text


def test_a_result_as_html_is_whole_and_escaped() -> None:
    evil = "<script>alert('&')</script>"
    html = result_html(samples.result(1.0, 2.0, title=evil, message=evil, device=evil, run_id=evil))
    assert "<script" not in html
    assert parsed(html).text.count(evil) == 3
    assert f"converged: {evil}" in parsed(html).text


def test_results_show_themselves() -> None:
    done = samples.result(EXACT, EXACT)
    assert str(done) == result_text(done)
    assert done._repr_html_() == result_html(done)
    assert repr(done) == (
        "<varq result 1f2e3d4c5b6a: LiH 1.6 Å, UCCSD, L-BFGS-B, -7.8823623 Ha, converged after 30 steps>"
    )
    said: list[str] = []
    done._repr_pretty_(SimpleNamespace(text=said.append), cycle=False)
    assert said == [str(done)]
    assert str(pickle.loads(pickle.dumps(done))) == str(done)
    assert str(spec.loads(spec.dumps(done))) == str(done)


def test_a_phase_deviates_by_the_shorter_way() -> None:
    done = samples.result(6.28, 0.01, unit="rad")
    assert done.deviation == pytest.approx(6.28 - 0.01 - 2 * math.pi)
    assert samples.result(None, 0.01, unit="rad").deviation is None


@pytest.mark.parametrize("record", [samples.vqe(), samples.vqe(0), samples.phase(1.0, 1e-3, 1.001), samples.qaoa()])
def test_a_run_as_html_has_a_table_and_a_picture(record: Any) -> None:
    page = parsed(run_html(record))
    (image,) = page.images
    assert image["src"] is not None
    head, data = image["src"].split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert image["alt"]
    assert record.title in page.text
    assert ("density" in str(image["alt"]).lower()) == (record.unit == "rad")


def test_a_run_that_goes_on_says_how_far_it_is() -> None:
    text = parsed(run_html(samples.vqe())).text
    assert "30, and going on" in text
    assert f"{samples.vqe().history['value'][-1]:.8f} Ha" in text


def test_wrong_results() -> None:
    for show in (result_text, result_html):
        with pytest.raises(TypeError, match="result must be of type Result"):
            show(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="record must be of type Record"):
        run_html(samples.result(1.0, 1.0))  # type: ignore[arg-type]


def test_the_table_of_names_leads_here() -> None:
    assert names.find("display", "progress") is Progress
    assert isinstance(samples.result(1.0, None), Result)
    assert names.find("display", "text")(samples.result(np.float64(1.0), None))


# -- several runs of one session -------------------------------------------------------------------------------------

USED = {"shots": [1200, 4000], "cost": [0.5, None], "circuits": [0, None]}
STANDING: dict[str, Any] = {"waiting": {"bbbb": 12}, "paused": [], "used": USED}


def two_runs(board: Board) -> None:
    for run_id in ("aaaa", "bbbb"):
        board(Event(run_id, "start", 0, info={**INFO, "title": f"<{run_id}>"}))
    board(Event("aaaa", "step", 1, value=EXACT + 2e-3, stderr=1e-3))
    board(Event("aaaa", "step", 2, value=EXACT + 5e-3, stderr=1e-3))
    board(Event("aaaa", "job", 0, info={"job": "varq-1", "state": "done"}))
    board(Event("bbbb", "end", 7, value=EXACT, reason=Reason.CONVERGED))


def test_a_notebook_shows_all_runs_of_a_session_in_one_table(publisher: Publisher) -> None:
    with Board("session-1f", lambda: STANDING) as board:
        two_runs(board)
        board.say("a <note>")
    text = publisher.calls[-1]["data"]["text/plain"].splitlines()
    assert [line.split()[0] for line in text] == ["run", "<aaaa>", "<bbbb>", "session-1f"]
    assert "-7.8774(10) Ha" in text[1]
    assert "-7.8804(10) Ha" in text[1], "the best value was another one, with an error bar of its own"
    assert text[2].rstrip().endswith("converged")
    assert "1 of 2 runs ended  shots 1,200 of 4,000 (30 %)  cost 0.5" in text[3]
    assert "<aaaa>" in parsed(publisher.calls[-1]["data"]["text/html"]).text
    handles = {c["transient"]["display_id"] for c in publisher.calls if "transient" in c}
    assert len(handles) == 1


def test_how_the_jobs_stand_is_told_below_the_runs() -> None:
    """As the session says; where it does not, since its owner is another process, as the journal's changes say."""
    standing: dict[str, Any] = {"jobs": {"queued": 2, "running": 1}}
    board = Board("session-1f", lambda: standing, file=io.StringIO())
    assert board._foot().startswith("session-1f  2 jobs queued  1 job running  0:0")
    standing.clear()
    board._plain = None  # as in a terminal
    for job, state in (("varq-1", "sent"), ("varq-2", "sent"), ("varq-1", "done"), ("varq-3", "uncertain")):
        board(Event("", "job", 0, info={"job": job, "state": state}))
    assert board._foot().startswith("session-1f  1 job sent  1 job uncertain  0:0")


def test_a_log_gets_lines_of_each_run() -> None:
    out = io.StringIO()
    with Board("session-1f", lambda: STANDING, file=out) as board:
        two_runs(board)
    assert out.getvalue().startswith("<bbbb>  step 7  -7.88236230 Ha  0 mHa off  converged  0:0")


@pytest.mark.parametrize("width", [160, 81, 40])
def test_a_narrow_window_keeps_run_step_value_and_state(width: int) -> None:
    board = Board("session-1f", lambda: STANDING, file=io.StringIO())
    for run_id in ("aaaa", "bbbb"):
        board._rows[run_id] = row = board_module._Row(f"LiH 1.6 Å, UCCSD, {run_id}")
        row.take(Event(run_id, "step", 3, value=EXACT + 1e-3, stderr=1e-4, info=INFO))
    console = display.Console(width=width, file=io.StringIO())
    console.print(board._shown(width, 20))
    head, *rows, foot = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in (head, *rows, foot))
    assert {"run", "step", "value", "state"} <= set(head.split())
    assert ("best" in head) == (width >= 81)
    assert all("-7.88136(10) Ha" in line and "running" in line for line in rows)


def test_more_runs_than_lines_show_those_that_go_on() -> None:
    board = Board("session-1f", lambda: STANDING, file=io.StringIO())
    for k in range(50):
        board._rows[f"{k}"] = row = board_module._Row(f"run {k}")
        row.take(Event(f"{k}", "end" if k < 48 else "step", 3, reason=Reason.STEPS if k < 48 else None))
    console = display.Console(width=100, file=io.StringIO())
    console.print(board._shown(100, 12))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 12
    assert "run 48" in lines[1]
    assert "run 49" in lines[2]
    assert "and 44 more" in lines[-2]


def test_a_board_that_breaks_never_stops_runs() -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    board = Board("session-1f", broken, file=Broken())
    with board:
        two_runs(board)
    board._shell = SimpleNamespace(display_pub=Publisher())
    board._quiet = False
    board(Event("aaaa", "step", 1))
    assert board._quiet


def test_buttons_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    class Widget:
        def __init__(self, *children: Any, **options: Any) -> None:
            self.children, self.description, self.value = children, options.get("description"), ""

        def on_click(self, call: Any) -> None:
            self.call = call

    fake = SimpleNamespace(Button=Widget, HBox=lambda row: row, Label=Widget, Layout=lambda **options: None)
    monkeypatch.setitem(sys.modules, "ipywidgets", fake)
    asked: list[str] = []

    def ask(do: str) -> None:
        asked.append(do)
        if do == "stop":
            raise RuntimeError("nobody owns it")

    *row, said = buttons(ask)
    for button in row:
        button.call(button)
    assert asked == ["pause", "resume", "step", "stop"]
    assert said.value == "nobody owns it"
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert buttons(ask) is None


def test_ledgers_as_text_and_html() -> None:
    ledger = samples.ledger(3, jobs=2)
    text = ledger_text(ledger)
    assert "2.5 s" in text
    assert "in all" in text
    assert max(map(len, text.splitlines())) < 300
    page = parsed(ledger_html(samples.ledger(2, jobs=90)))
    assert "... 52 more" in page.text
    assert "<run 0>" in page.text
    assert "no jobs" in ledger_text(samples.ledger(1, jobs=0))
    states = [(JobState.DONE, None), (JobState.CANCELLED, None), *[(JobState.UNCERTAIN, "<no answer>")] * 44]
    lines = [replace(line, state=s, error=e) for line, (s, e) in zip(samples.ledger(1, jobs=46), states, strict=True)]
    troubled = Ledger("session-1f", lines, ledger.runs)
    for shown in (ledger_text(troubled), "\n".join(parsed(ledger_html(troubled)).text)):
        assert "# 1: job varq-00000001 is cancelled." in shown
        assert "# 2: job varq-00000002 is uncertain: <no answer>" in shown
        assert "# 0: job" not in shown
        assert "5 more jobs are not done." in shown
        assert "varq settle JOB --id ID, or --lost" in shown
    assert ledger.table().row_count == 2
    assert str(ledger) == text
    assert ledger._repr_html_() == ledger_html(ledger)


# -- figures of runs that go on ----------------------------------------------------------------------------------------


def phase_run(session: Session) -> Any:
    return session.start(PhaseEstimation(problem=EigenPhase(np.diag([1, np.exp(2.0j)]), state=1), applications=64))


def test_a_notebook_sees_the_posterior_of_a_run_that_goes_on(publisher: Publisher) -> None:
    with Session(store=None, progress=False) as session:
        run = phase_run(session)
        with pytest.raises(ValueError, match=r"posterior needs a run with a result. Got .*, which goes on"):
            run.plot("posterior")
        run.step(3)
        early = run.plot("posterior")
        (estimate,) = (line for line in early.get_lines() if line.get_label() == "estimate")
        assert estimate.get_xdata()[0] == pytest.approx(run.history.value[-1] % (2 * math.pi)), "of the whole circle"
        assert run.watch("posterior", seconds=0) is run
        run.finish()
    drawn = [call for call in publisher.calls if "image/png" in call["data"]]
    assert [call["update"] for call in drawn] == [False] + [True] * (len(drawn) - 1)
    assert len({call["transient"]["display_id"] for call in drawn}) == 1
    assert len(drawn) == 1 + run.steps - 3 + 1, "at once, after each step, and at the end"
    assert len({bytes(call["data"]["image/png"]) for call in drawn}) > len(drawn) // 2


def test_a_file_follows_a_run(tmp_path: Path) -> None:
    there = tmp_path / "run.png"
    seen: list[bytes] = []
    with Session(store=None, progress=False) as session:
        run = phase_run(session)
        run.watch("posterior", path=there, seconds=0)
        assert not there.exists(), "there is nothing to see before the first step"
        run.observe(lambda event: seen.append(there.read_bytes()) if event.kind != "start" else None)
        run.finish()
        assert run.watch(path=there) is run, "a finished run is drawn as well"
    assert all(picture.startswith(b"\x89PNG") and picture.rstrip().endswith(b"IEND\xaeB`\x82") for picture in seen)
    assert len(set(seen)) > 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.png"]


def test_a_figure_that_cannot_be_drawn_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Session(store=None, progress=False) as session:
        wanted = phase_run(session).finish()
    tried: list[Path] = []

    def full(figure: Any, path: Path) -> None:
        tried.append(path)
        raise OSError("No space left on device")

    with Session(store=None, progress=False) as session:
        run = phase_run(session)
        run.watch("posterior", path=tmp_path / "run.png", seconds=0)
        monkeypatch.setattr(figures, "save", full)
        result = run.finish()
    assert (result.value, result.reason) == (wanted.value, wanted.reason)
    assert len(tried) == 1, "it is said once"
    assert caplog.text.count("is drawn no more: No space left on device") == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, RuntimeError, r"in a Jupyter notebook, or in a file. No notebook is here. Give path='run.png'"),
        ({"path": "run.pdf"}, ValueError, r"path must end in .png. Got 'run.pdf'"),
        ({"path": "run.png", "seconds": -1}, ValueError, "seconds must be at least 0"),
        ({"path": "run.png", "kind": "posteriors"}, ValueError, "Did you mean 'posterior'"),
    ],
)
def test_how_a_run_cannot_be_watched(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with Session(store=None, progress=False) as session, pytest.raises(error, match=message):
        phase_run(session).watch(**options)
