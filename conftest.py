"""Settings of every test and doctest: JAX's compilation cache, hypothesis, a folder of its own, no global changed."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent

# Compiling is most of the time that circuits take in tests, and two workers, two passes and the next run compile the
# same ones.  Set here, before anything imports JAX, so that a plain `pytest` shares the cache that `make test` fills.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core warns where this is unset

settings.register_profile("house", deadline=None, derandomize=True, max_examples=25)
# The wide gate draws anew each time, and prints with a failure the line that repeats it (`reproduce_failure`).  What is
# drawn may be filtered or slow to make; the gate, whose draws are the same each time, has said that enough is left.
settings.register_profile(
    "full",
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("house")

FLAGLESS = re.compile(
    r"test_(checks|cli|devices|display|fingerprint|house|keys|names|notebooks|optimizers_classical|plots|problems|session"
    r"|spec|store|study|testing)(_|\.py)"
)
"""Tests of rooms that never touch JAX, or only through `varq.node`, whose own tests run twice: once is enough.

Every other test runs a second time with JAX's x64 flag on, in the wide gate (`make tests-x64`), unless its file or
itself is marked `flagless`."""

LONG = re.compile(r"test_(simulator_device\.py::test_conformance|house_package|session_kills|notebooks)")
"""Tests of a minute or more.  They run first, so that no worker begins one when the others are about to end."""


MAPPINGS = 13_000
"""Half of what `varq.simulator.mappings` allows where Linux has its usual limit."""

EXTRAS = {
    "chem": "pyscf",
    "dask": "dask_jobqueue",
    "export": "xarray",
    "ibm": "qiskit_ibm_runtime",
    "braket": "braket",
    "qec": "pymatching",
    "ldpc": "ldpc",
}
"""Extras by the mark of the tests that need them, with a package that tells whether each is here."""

collect_ignore = [] if importlib.util.find_spec("qiskit_ibm_runtime") else ["tests/ibm_stub.py"]
"""What stands for IBM's service is built of the vendor's own classes."""

_PEER = "absent peer "

PEERS = {
    "torch": "no extra has it, as it takes gigabytes; the products of Jacobians that it asks for are tested without it"
}
"""Packages that varq neither needs nor installs.  Their tests carry the mark `peer`: they run where the package happens
to be, and `--no-skips` lets them go, for this reason, where it is not.  Any other skip fails there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="fail if any test was skipped, but for tests of absent peers"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ROOT / "tests" not in item.path.parents or FLAGLESS.match(item.path.name):
            item.add_marker("flagless")
        for extra, package in EXTRAS.items():
            if item.get_closest_marker(extra) and importlib.util.find_spec(package) is None:
                item.add_marker(pytest.mark.skip(reason=f"the {extra} extra"))
        for mark in item.iter_markers("peer"):
            (name,) = mark.args
            if importlib.util.find_spec(name) is None:
                item.add_marker(pytest.mark.skip(reason=f"{_PEER}{name}: {PEERS[name]}"))
    items.sort(key=lambda item: LONG.search(item.nodeid) is None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not session.config.getoption("--no-skips") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [] if reporter is None else [r for r in reporter.stats.get("skipped", ()) if not _of_peer(r)]
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many circuits ran on each device, from tests that recorded it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "ran":
                device, circuits, jobs = value
                terminalreporter.write_line(f"ran {circuits} circuits in {jobs} jobs on {device}")


def _of_peer(report: pytest.TestReport) -> bool:
    """Whether a test was skipped because a peer is absent."""
    return isinstance(report.longrepr, (tuple, list)) and report.longrepr[2].startswith(f"Skipped: {_PEER}")


@pytest.fixture(autouse=True, scope="module")
def garbage_put_aside() -> Iterator[None]:
    """What a module leaves behind is not looked at again by the collections of later modules.

    A process that runs tests comes to hold millions of objects, mostly what JAX traced, and each explicit collection,
    of which some tests make dozens, would take seconds.  What is put aside can no longer be freed in a cycle, compiled
    programs among it; so it is taken back, and JAX's caches are emptied, before `make_room` would have to do that.
    """
    yield
    if _mappings() > MAPPINGS:
        gc.unfreeze()
        sys.modules["jax"].clear_caches()
    gc.collect()
    gc.freeze()


def _mappings() -> int:
    """Memory mappings of this process, of which each compiled program takes several; 0 where it is not told."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n") if "jax" in sys.modules else 0
    except OSError:
        return 0


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder: the default store, figures and exports land there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def flag_left_alone() -> Iterator[None]:
    """No test, and nothing that it calls, changes JAX's x64 flag."""
    before = _flag()
    yield
    after = _flag()
    assert before is None or after == before, "JAX's x64 flag was changed"


def _flag() -> bool | None:
    jax = sys.modules.get("jax")
    return None if jax is None or not hasattr(jax, "config") else bool(jax.config.jax_enable_x64)
