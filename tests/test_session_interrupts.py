"""Ctrl-C and SIGTERM: in a script, in IPython, in a kernel, on every method."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from varq.optimizers.catalog import METHODS
from varq.session.interrupt import REQUEUE, Interrupts, names_interrupt, wraps_interrupt
from varq.store.store import open_store

PATIENCE = 90  # seconds to wait for a process that imports PennyLane on a busy machine

SCRIPT = """
import sys, time
import numpy as np
import varq
from varq.algorithms import Minimize

def cost(x):
    print("evaluating", flush=True)
    time.sleep(PAUSE)
    return float(np.sum((np.asarray(x) - 1.0) ** 2) + 0.1 * np.prod(np.cos(x)))

def slope(x):
    left, right = np.cos(x[0]), np.cos(x[1])
    return 2 * (x - 1.0) - 0.1 * np.array([np.sin(x[0]) * right, left * np.sin(x[1])])

task = Minimize(cost, np.array([0.2, 3.0]), optimizer=METHOD, gradient=slope)
"""
RUN = """
result = varq.run(task, store="store", progress=False, stop=varq.Stop(steps=STEPS))
print("ended", result.reason.value, result.steps, flush=True)
"""


def script(method: str, pause: float, steps: int) -> str:
    text = SCRIPT + RUN
    return text.replace("METHOD", repr(method)).replace("PAUSE", str(pause)).replace("STEPS", str(steps))


def launch(folder: Path, text: str) -> "subprocess.Popen[str]":
    file = folder / "script.py"
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(file)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def after_evaluations(process: "subprocess.Popen[str]", count: int) -> None:
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += line.startswith("evaluating")
        if seen == count:
            return
    raise AssertionError(f"the script ended early: {process.stderr and process.stderr.read()}")


def rest(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What is left to be read until the end: `communicate` would miss lines that are in the reader's buffer already."""
    assert process.stdout is not None
    assert process.stderr is not None
    overdue = threading.Timer(PATIENCE, process.kill)
    overdue.start()
    try:
        said = process.stdout.read(), process.stderr.read()
        process.communicate()  # waits, and closes the pipes
    finally:
        overdue.cancel()
    return said


def recorded(folder: Path) -> int:
    with open_store(folder / "store") as store:
        (record,) = store.list()
        return len([row for row in store.rows(record.id) if row.role == "step"])


def test_the_first_press_finishes_the_evaluation_and_prints_how_to_go_on(tmp_path: Path) -> None:
    process = launch(tmp_path, script("nelder-mead", 0.3, 200))
    after_evaluations(process, 4)
    process.send_signal(signal.SIGINT)
    out, err = rest(process)
    assert process.returncode == 0
    assert re.search(r"ended stopped \d+", out)
    assert re.search(r'Stopped after \d+ steps. Carry on with: varq.resume\("[0-9a-f]{16}"', err)
    assert recorded(tmp_path) == 4  # the evaluation in flight was finished and kept


def test_the_second_press_stops_at_once(tmp_path: Path) -> None:
    process = launch(tmp_path, script("nelder-mead", 60, 200))
    after_evaluations(process, 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = rest(process)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert recorded(tmp_path) == 0


IN_A_CALLBACK = """
import jax

def host(x):
    print("evaluating", flush=True)
    time.sleep(PAUSE)
    return np.sum(np.asarray(x) ** 2)

def compiled(x):
    return jax.pure_callback(host, jax.ShapeDtypeStruct((), x.dtype), x)

task = Minimize(compiled, np.array([0.2, 3.0]), optimizer="nelder-mead")
"""


def in_a_callback(pause: float) -> str:
    return (SCRIPT + IN_A_CALLBACK + RUN).replace("METHOD", "'bfgs'").replace("PAUSE", str(pause)).replace("STEPS", "3")


def test_the_second_press_stops_a_callback_of_jax_at_once(tmp_path: Path) -> None:
    """JAX makes an error of its own of the interrupt; the run is stopped by a person all the same, and not failed."""
    process = launch(tmp_path, in_a_callback(60))
    after_evaluations(process, 1)
    process.send_signal(signal.SIGINT)
    for _ in range(2):  # where the machine is so busy that two presses are seen as one, a third is the second
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            continue
        break
    _, err = rest(process)
    assert process.returncode == -signal.SIGINT
    assert "JaxRuntimeError" in err
    assert err.rstrip().endswith("\nKeyboardInterrupt")
    assert 'Carry on with: varq.resume("' in err
    assert recorded(tmp_path) == 0
    with open_store(tmp_path / "store") as store:
        (record,) = store.list()
        assert record.reason is None


def test_sigterm_asks_to_be_queued_again(tmp_path: Path) -> None:
    process = launch(tmp_path, script("bfgs", 0.3, 200))
    after_evaluations(process, 2)
    process.terminate()
    out, _ = rest(process)
    assert process.returncode == REQUEUE
    assert "ended" not in out
    assert recorded(tmp_path) == 2


def test_a_circuit_on_a_device_is_finished_too(tmp_path: Path) -> None:
    text = """
import varq
from varq.algorithms import VQE
from varq.problems import Molecule

task = VQE(problem=Molecule.load("LiH"), optimizer=varq.Optax("adam", learning_rate=0.01), stop=varq.Stop(steps=10**6))
run = varq.start(task, store="store", progress=False)
run.observe(lambda event: print("evaluating", flush=True))
result = run.finish()
print("ended", result.reason.value, result.steps, flush=True)
"""
    process = launch(tmp_path, text)
    after_evaluations(process, 5)
    process.send_signal(signal.SIGINT)
    out, err = rest(process)
    found = re.search(r"ended stopped (\d+)", out)
    assert found, err
    assert recorded(tmp_path) == int(found[1])


def test_a_stopped_run_goes_on_in_another_process(tmp_path: Path) -> None:
    process = launch(tmp_path, script("powell", 0.05, 12))
    after_evaluations(process, 5)
    process.send_signal(signal.SIGINT)
    rest(process)
    before = recorded(tmp_path)
    again = launch(tmp_path, script("powell", 0.05, 12))
    out, err = again.communicate(timeout=PATIENCE)
    assert "ended steps 12" in out, err
    assert out.count("evaluating") == 12 - before


ALL_METHODS = """
import os, signal
from pathlib import Path
from varq.optimizers.catalog import METHODS

def noted(name):  # counts in files: what a cost refers to is part of its run's identity
    with open(name, "a") as notes:
        notes.write(".")
    return os.path.getsize(name)

def pressed(x):
    if noted("begun") == int(os.environ["PRESS"]):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # the signal is handled in here
    found = cost(x)
    noted("ended")
    return found

def evaluations():
    begun, ended = (len(Path(name).read_text()) for name in ("begun", "ended"))
    assert begun == ended  # none was broken off
    Path("begun").unlink(), Path("ended").unlink()
    return begun

def after(event):
    if (event.kind, event.step, event.replayed) == ("step", 3, False):
        os.kill(os.getpid(), signal.SIGINT)

for method in METHODS:
    os.environ["PRESS"] = "2"
    task = Minimize(pressed, np.array([0.2, 3.0]), optimizer=method, gradient=slope)
    during = varq.run(task, store="store", progress=False)
    run = varq.start(task, store="store", progress=False)
    run.observe(after)
    between = run.finish()
    last = varq.resume(run.id, store="store", progress=False, stop=varq.Stop(steps=4))
    found = evaluations()
    os.environ["PRESS"] = "0"
    straight = varq.run(task, store=None, progress=False, stop=varq.Stop(steps=4))
    same = (found, last.value) == (evaluations(), straight.value)
    steps = [during.steps, between.steps, last.steps]
    print("method", method, during.reason.value, between.reason.value, same, last.replay, *steps, flush=True)
"""


def in_a_script(folder: Path, text: str) -> str:
    process = launch(folder, text)
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    return out


def in_ipython(folder: Path, text: str) -> str:
    process = launch_in_ipython(folder, text)
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    return out


def in_a_kernel(folder: Path, text: str) -> str:
    with kernel_in(folder) as (_, client):
        return _execute(client, text)


@pytest.mark.parametrize("host", [in_a_script, in_ipython, in_a_kernel])
def test_every_scipy_method_stops_and_goes_on(host: Callable[[Path, str], str], tmp_path: Path) -> None:
    """Pressed while the second evaluation computes, which is finished and kept; then after the third step.

    All in all it evaluates what a run does that nobody interrupts.
    """
    out = host(tmp_path, script("bfgs", 0, 1).removesuffix(RUN.replace("STEPS", "1")) + ALL_METHODS)
    found = [line.split()[1:] for line in out.splitlines() if line.startswith("method")]
    assert [name for name, *_ in found] == list(METHODS), out
    assert {tuple(rest) for _, *rest in found} == {("stopped", "stopped", "True", "exact", "2", "3", "4")}


# Of values, of slopes, with constraints, for presses that come from outside: all methods, above, press themselves.
OF_EACH_KIND = ("nelder-mead", "l-bfgs-b", "trust-constr", "cobyla")


def launch_in_ipython(folder: Path, text: str) -> "subprocess.Popen[str]":
    (folder / "ipython").mkdir()
    file = folder / "cell.ipy"
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--ipython-dir", str(folder / "ipython"), str(file)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_in_ipython(tmp_path: Path) -> None:
    runs = "".join(script(method, 0.2, 200) for method in OF_EACH_KIND)
    process = launch_in_ipython(tmp_path, runs + "\nprint('next cell runs', 1 + 1)\n")
    assert process.stdout is not None
    for method in OF_EACH_KIND:
        after_evaluations(process, 3)
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline()
        assert "ended stopped 3" in said, (method, said)
    out, err = rest(process)
    assert "next cell runs 2" in out, err


@contextmanager
def kernel_in(folder: Path) -> Iterator[tuple[Any, Any]]:
    """A kernel's manager and client."""
    manager = pytest.importorskip("jupyter_client.manager")
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(folder), env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield kernel, client
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_in_a_kernel(tmp_path: Path) -> None:
    with kernel_in(tmp_path) as (kernel, client):
        for method in OF_EACH_KIND:
            out = _execute(client, script(method, 0.2, 200), interrupt=kernel.interrupt_kernel, at=2)
            assert "ended stopped" in out, method
            assert out.count("evaluating") < 10, method
        assert "still alive" in _execute(client, "print('still alive', result.steps)")
    with open_store(tmp_path / "store") as store:
        told = {r.id: len([row for row in store.rows(r.id) if row.role == "step"]) for r in store.list()}
    assert len(told) == len(OF_EACH_KIND)
    assert min(told.values()) >= 2


def _execute(client: Any, code: str, interrupt: Callable[[], None] | None = None, at: int = 0) -> str:
    request = client.execute(code)
    said = ""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            message = client.get_iopub_msg(timeout=1)
        except Empty:
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        said += content.get("text", "") + "\n".join(content.get("traceback", []))
        if interrupt is not None and said.count("evaluating") >= at:
            interrupt()
            interrupt = None
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            return said
    raise AssertionError(f"the kernel did not finish: {said}")


def test_errors_that_wrap_an_interrupt_count_as_one() -> None:
    assert wraps_interrupt(KeyboardInterrupt())
    assert names_interrupt(RuntimeError("INTERNAL: CpuCallback error: KeyboardInterrupt"))
    wrapped = RuntimeError("callback failed")
    wrapped.__cause__ = KeyboardInterrupt()
    assert wraps_interrupt(wrapped)
    assert not wraps_interrupt(RuntimeError("out of memory"))


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts().watched() as watch:
        assert signal.getsignal(signal.SIGINT) != before[0]
        signal.raise_signal(signal.SIGINT)
        assert watch.count == 1
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
