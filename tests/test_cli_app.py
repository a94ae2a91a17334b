"""The command as a person meets it: help, version, wrong commands, errors as messages, and what help loads."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from varq import __version__, cli
from varq.cli.app import app
from varq.cli.console import print_json
from varq.cli.mistakes import InputError, asked
from varq.store.faults import StoreLocked

NARROW = 80  # columns of the smallest usual terminal
RUNNING, LOOKING = ["demo", "run", "resume"], ["list", "show", "plot", "export", "compare"]
COMMANDS = [*RUNNING, *LOOKING, "rm", "gc", "compact", "merge", "verify", "doctor"]


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def varq(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "varq", *words], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_names_every_command_in_its_section(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    places = [shown.output.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert shown.output.index("Run:") < shown.output.index("Look:") < shown.output.index("Keep:")
    assert "..." not in shown.output.split("Run:")[1], "a sentence is cut off"
    assert max(map(len, shown.output.splitlines())) <= NARROW


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(runner: CliRunner, command: str) -> None:
    shown = runner.invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: varq {command}")
    assert "--store" in shown.output


def test_without_a_command_there_is_help(runner: CliRunner) -> None:
    shown = runner.invoke(app, [])
    assert "varq demo" in shown.output


def test_the_version_is_the_package_s(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.output == f"varq {__version__}\n"


def test_an_unknown_command_names_the_close_one(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["shw"])
    assert shown.exit_code == 2
    assert "Did you mean 'show'" in shown.output


def test_an_option_of_the_wrong_type_is_refused(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["run", "x.toml", "--shots", "many"])
    assert shown.exit_code == 2
    assert "--shots" in shown.output


def _raise(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def broken(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "gc", broken, raising=False)


@pytest.mark.parametrize("error", [InputError("there is no such thing."), StoreLocked("another has it.")])
def test_what_a_person_can_mend_is_a_message(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _raise(monkeypatch, error)
    shown = runner.invoke(app, ["gc"])
    assert shown.exit_code == 2
    assert shown.stderr == f"varq: {error}\n"
    assert shown.stdout == ""


def test_a_fault_of_the_program_says_how_to_see_it(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, ZeroDivisionError("division by zero"))
    shown = runner.invoke(app, ["gc"])
    assert shown.exit_code == 1
    assert "unexpected ZeroDivisionError: division by zero" in shown.stderr
    assert "--debug" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("words", [["--debug", "gc"], ["gc", "--debug"]])
def test_debug_keeps_the_traceback(runner: CliRunner, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    _raise(monkeypatch, ZeroDivisionError("division by zero"))
    shown = runner.invoke(app, words)
    assert isinstance(shown.exception, ZeroDivisionError)


def test_a_warning_is_one_line() -> None:
    code = (
        "import sys, warnings\nfrom varq import cli\nfrom varq.cli.app import main\n"
        "cli.gc = lambda store: warnings.warn('memory only')\nsys.argv = ['varq', 'gc']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "varq: memory only\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"1.6 ?\n"), ("ascii:surrogateescape", b"1.6 ?\n"), ("utf-8", "1.6 Å\n".encode())]
)
def test_a_terminal_without_a_character_shows_another(encoding: str, shown: bytes) -> None:
    code = (
        "import sys\nfrom varq import cli\nfrom varq.cli.app import main\n"
        "cli.gc = lambda store: print('1.6 \\u00c5')\nsys.argv = ['varq', 'gc']\nmain()"
    )
    place = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60, env=place)
    assert (done.stdout, done.returncode) == (shown, 0)


def test_json_is_whole_in_any_character_set() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="replace")
    print_json({"title": "0.7 Å → H₂"}, out)
    out.flush()
    assert json.loads(out.buffer.getvalue()) == {"title": "0.7 Å → H₂"}  # type: ignore[attr-defined]


def test_asked_puts_the_place_in_front() -> None:
    with pytest.raises(InputError, match=r"file\.toml: bond must be positive"), asked("file.toml"):
        raise ValueError("bond must be positive")
    with pytest.raises(InputError, match=r"^bond$"), asked():
        raise KeyError("bond")


def test_asked_lets_faults_through() -> None:
    with pytest.raises(ZeroDivisionError, match="zero"), asked("file.toml"):
        raise ZeroDivisionError("zero")


def test_python_m_varq_is_the_command() -> None:
    done = varq("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("varq ")


def test_help_loads_no_numpy() -> None:
    """It must come at once; NumPy alone takes as long as everything else."""
    code = (
        "import sys\nfrom varq.cli import main\nsys.argv = ['varq', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("closed", ["<&- >&-", ">&-", ">&- 2>&-"])
def test_a_closed_output_is_no_error(closed: str) -> None:
    command = [f"exec {sys.executable} -m varq --version {closed}"]
    done = subprocess.run(["sh", "-c", *command], stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.stderr, done.returncode) == (b"", 0)


def test_files_keep_away_from_the_numbers_of_closed_streams() -> None:
    """A store's file that is descriptor 1 would be written into by whatever some library prints."""
    code = (
        "import os, sys\nfrom varq import cli\nfrom varq.cli.app import main\n"
        "cli.gc = lambda store: os.write(2, str(os.open(os.devnull, os.O_RDONLY)).encode())\n"
        "sys.argv = ['varq', 'gc']\nmain()"
    )
    command = f"exec {sys.executable} -c {shlex.quote(code)} <&- >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False, timeout=60)
    assert int(done.stderr) > 2
    assert done.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is missing: Linux has it")
@pytest.mark.parametrize("words", [("--version",), ("list", "--json")])
def test_output_that_does_not_fit_is_a_message(words: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom varq import cli\nfrom varq.cli.app import main\n"
        f"cli.list_runs = lambda *given: print('text')\nsys.argv = {['varq', *words]}\nmain()"
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.stderr, done.returncode) == (b"varq: [Errno 28] No space left on device\n", 1)


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "varq", "list", "--json"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(write)
    assert done.stderr == b""
