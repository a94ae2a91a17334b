"""The compile cache on disk: a second process finds there whatever the first one compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.flagless  # processes of its own

SCRIPT = """
import collections
import sys
import jax
import jax.numpy as jnp
import pennylane as qml

def gates(x):
    for _ in range(3):
        for wire in range(3):
            qml.RY(x[wire], wire)
        qml.CNOT([0, 1])
        qml.CNOT([1, 2])

def plain(x):
    gates(x)
    return qml.expval(qml.Z(0) @ qml.X(2))

def measured(x):
    gates(x)
    qml.cond(qml.measure(0), qml.RX)(x[0], 1)
    return qml.expval(qml.Z(1))

def sampled(circuit):
    def run(x, key):
        return qml.set_shots(qml.QNode(circuit, qml.device("varq.qubit", wires=3, seed=key)), 100)(x)
    return jax.jit(run)

def slope(circuit):
    return jax.jit(jax.grad(qml.QNode(circuit, qml.device("varq.qubit", wires=3))))

seen = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **more: seen.update([event.rsplit("/", 1)[-1]]))
x, key = jnp.array([0.1, 0.2, 0.3]), jax.random.key(int(sys.argv[1]))
seen.clear()  # what came before the first device found no cache
for name, work in {
    "eager": lambda: qml.QNode(plain, qml.device("varq.qubit", wires=3))(x),
    "exact": lambda: slope(plain)(x),
    "shots": lambda: sampled(plain)(x, key),
    "measured": lambda: slope(measured)(x),
    "trajectories": lambda: sampled(measured)(x, key),
}.items():
    result = work().tolist()
    print(name, seen["cache_hits"], seen["cache_misses"], seen["compile_requests_use_cache"], result, sep="|")
    seen.clear()
"""


def run(folder: Path, key: int) -> dict[str, tuple[int, int, int, str]]:
    """With the settings that varq itself makes, for a user whose home this folder is, and who has said nothing.

    For each circuit in a process of its own: hits, misses, programs that the cache was asked for, the result."""
    kept = {k: v for k, v in os.environ.items() if not (k.startswith("JAX_") and "CACHE" in k)}
    kept.pop("XDG_CACHE_HOME", None)
    environment = {**kept, "HOME": str(folder)}
    command = [sys.executable, "-c", SCRIPT, str(key)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {name: (int(hits), int(misses), int(asked), result) for name, hits, misses, asked, result in rows}


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """Not for another key either, as long as the key is an argument of what is jitted."""
    first, second = run(tmp_path, 3), run(tmp_path, 4)
    assert [path.name for path in tmp_path.rglob("varq")] == ["varq"]
    assert list(first) == list(second) == ["eager", "exact", "shots", "measured", "trajectories"]
    for name, (hits, misses, asked, _) in second.items():
        assert first[name][1] > 0, name
        assert misses == 0, name
        assert hits == asked > 0, name
    assert all(first[name][3] == second[name][3] for name in ("eager", "exact", "measured"))
