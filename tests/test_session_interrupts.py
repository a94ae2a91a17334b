"""Ctrl-C and SIGTERM: in a script, in IPython, in a kernel, on every method."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty

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


def recorded(folder: Path) -> int:
    with open_store(folder / "store") as store:
        (record,) = store.list()
        return len([row for row in store.rows(record.id) if row.role == "step"])


def test_the_first_press_finishes_the_evaluation_and_prints_how_to_go_on(tmp_path: Path) -> None:
    process = launch(tmp_path, script("nelder-mead", 0.3, 200))
    after_evaluations(process, 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
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
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert recorded(tmp_path) == 0


def test_sigterm_asks_to_be_queued_again(tmp_path: Path) -> None:
    process = launch(tmp_path, script("bfgs", 0.3, 200))
    after_evaluations(process, 2)
    process.terminate()
    out, _ = process.communicate(timeout=PATIENCE)
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
    out, err = process.communicate(timeout=PATIENCE)
    found = re.search(r"ended stopped (\d+)", out)
    assert found, err
    assert recorded(tmp_path) == int(found[1])


def test_a_stopped_run_goes_on_in_another_process(tmp_path: Path) -> None:
    process = launch(tmp_path, script("powell", 0.05, 12))
    after_evaluations(process, 5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    before = recorded(tmp_path)
    again = launch(tmp_path, script("powell", 0.05, 12))
    out, err = again.communicate(timeout=PATIENCE)
    assert "ended steps 12" in out, err
    assert out.count("evaluating") == 12 - before


ALL_METHODS = """
import os, signal, threading
from varq.optimizers.catalog import METHODS
os.environ["PAUSED"] = "1"
for method in METHODS:
    task = Minimize(cost, np.array([0.2, 3.0]), optimizer=method, gradient=slope)
    run = varq.start(task, store="store", progress=False)
    run.observe(lambda event: os.kill(os.getpid(), signal.SIGINT) if event.step == 2 and event.kind == "step" else None)
    result = run.finish()
    again = varq.resume(run.id, store="store", progress=False, stop=varq.Stop(steps=4))
    print("method", method, result.reason.value, result.steps, again.steps, again.replay, flush=True)
print("threads", threading.active_count())
"""


def test_every_scipy_method_stops_and_goes_on(tmp_path: Path) -> None:
    text = (SCRIPT + ALL_METHODS).replace("METHOD)", "'bfgs')").replace("optimizer=METHOD", "optimizer='bfgs'")
    process = launch(tmp_path, text.replace("PAUSE)", "0)"))
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    found = re.findall(r"method (\S+) (\w+) (\d+) (\d+) (\w+)", out)
    assert [name for name, *_ in found] == list(METHODS)
    assert {(reason, done, total, replay) for _, reason, done, total, replay in found} == {
        ("stopped", "2", "4", "exact")
    }


def test_in_ipython(tmp_path: Path) -> None:
    (tmp_path / "ipython").mkdir()
    file = tmp_path / "cell.ipy"
    file.write_text(script("cobyla", 0.3, 200) + "\nprint('next cell runs', 1 + 1)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--ipython-dir", str(tmp_path / "ipython"), str(file)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    after_evaluations(process, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert re.search(r"ended stopped 3", out), err
    assert "next cell runs 2" in out


def test_in_a_kernel(tmp_path: Path) -> None:
    manager = pytest.importorskip("jupyter_client.manager")
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(tmp_path), env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")})
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        out = _execute(client, script("l-bfgs-b", 0.5, 200), interrupt=kernel.interrupt_kernel, at=2)
        assert "ended stopped" in out
        assert "still alive" in _execute(client, "print('still alive', result.steps)")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert recorded(tmp_path) >= 2


def _execute(client: object, code: str, interrupt: object = None, at: int = 0) -> str:
    request = client.execute(code)  # type: ignore[attr-defined]
    said = ""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            message = client.get_iopub_msg(timeout=1)  # type: ignore[attr-defined]
        except Empty:
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        said += content.get("text", "") + "\n".join(content.get("traceback", []))
        if interrupt is not None and said.count("evaluating") >= at:
            interrupt()  # type: ignore[operator]
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
