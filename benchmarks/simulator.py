"""`varq.qubit` beside its peers: value and full gradient, turns of a few calls alternating, one table.

    python benchmarks/simulator.py [WORKLOAD ...] [--peer NAME[=PYTHON]] ... [--turns 9] [--check]

Workloads: uccsd:LiH uccsd:H2O uccsd:N2 layers:16x8 qaoa:20x8 (all of them without a name).
Peers: lightning.qubit runs in this environment.  Others want one of their own; name its Python:
    --peer catalyst=A/bin/python     pip install pennylane-catalyst
    --peer tencirchem=B/bin/python   pip install tencirchem-ng jax jaxlib pyscf
    --peer qulacs=C/bin/python       pip install qulacs
Every process is bound to the same two cores (where the system can do that: Linux), and told to use two threads.  All
sides must agree in value and in the norm of the gradient; `--check` stops there.  Beside varq's time stands the least
time that its path can take here: the bytes that it must move over the measured copy bandwidth, or its arithmetic over
the measured rate of matrix products.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pennylane as qml
from simulator_worker import IDLE, circuit, excitations, observable

from varq.ansatze.excitations import excite
from varq.problems import Molecule
from varq.simulator import execution, roofline
from varq.simulator.measurements import plan
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double

HERE = Path(__file__).parent
WORKLOADS = ("uccsd:LiH", "uccsd:H2O", "uccsd:N2", "layers:16x8", "qaoa:20x8")
ALONE = {"tencirchem": "uccsd", "qulacs": "layers"}  # peers that know one kind of workload
AGREE = 1e-6  # values, and norms of gradients, of different programs for one circuit
CORES = 2
MILLI = 1e3


def problem(workload: str) -> dict[str, Any]:
    """What both sides compute, as plain arrays: the integrals of benchmarks/integrals are PySCF's, STO-3G."""
    kind, size = workload.split(":")
    if kind == "uccsd":
        data = np.load(HERE / "integrals" / f"{size}.npz", allow_pickle=False)
        h1, eri = data["h1"], data["eri"]
        electrons = tuple(int(n) for n in data["nelec"])
        total = Molecule.from_integrals(h1, eri, float(data["enuc"]), electrons).pauli
        words, coefficients = _words(total)
        singles, doubles = qml.qchem.excitations(sum(electrons), 2 * len(h1))
        given = {"h1": h1, "eri": eri, "constant": data["enuc"], "electrons": sum(electrons)}
        moves = {"singles": np.array(singles), "doubles": np.array(doubles)}
        return {"wires": 2 * len(h1), "words": words, "coefficients": coefficients, **given, **moves}
    wires, depth = map(int, size.split("x"))
    pair = lambda letter, *at: "".join(letter if w in at else "I" for w in range(wires))  # noqa: E731
    if kind == "layers":
        words = [pair("Z", w, w + 1) for w in range(wires - 1)] + [pair("X", w) for w in range(wires)]
        return {"wires": wires, "depth": depth, "words": words, "coefficients": -np.ones(len(words))}
    edges = sorted(tuple(sorted(e)) for e in nx.random_regular_graph(3, wires, seed=1).edges)
    words = [pair("Z", a, b) for a, b in edges]
    return {
        "wires": wires,
        "depth": depth,
        "edges": np.array(edges),
        "words": words,
        "coefficients": np.full(len(words), 0.5),
    }


def _words(total: Any) -> tuple[list[str], Any]:
    found = total.operator().pauli_rep
    words = ["".join(word.get(w, "I") for w in range(total.wires)) for word in found]
    return words, np.real(np.array(list(found.values())))


@dataclass
class Side:
    """A worker, and what it said."""

    name: str
    process: subprocess.Popen[str]
    first: dict[str, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, workload: str, name: str, python: str, path: str, **more: str) -> Side:
        """Start it and wait for its first value and gradient."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
        command = [python, str(HERE / "simulator_worker.py"), workload.split(":")[0], name, path]
        pipe = subprocess.PIPE
        env = {**os.environ, **threads, **more}
        side = cls(name, subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env))
        side.first = json.loads(side._line())
        return side

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}; what it said stands above.")
        return line

    def call(self) -> None:
        """A turn of values and gradients."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(statistics.median(json.loads(self._line())))

    def end(self) -> None:
        """Let it go."""
        self.process.communicate("")

    @property
    def median(self) -> float:
        """Of its calls, in seconds."""
        return statistics.median(self.times)


def bind() -> str:
    """Keep this process, and those that it starts, to a few cores; says to which.

    Before JAX starts: its threads, and those of other libraries, are as many as the cores that a process may use.
    Environment variables alone bind OpenMP and BLAS, but not the threads of XLA.
    """
    if not hasattr(os, "sched_setaffinity"):
        return "this system binds no process to cores: libraries that ignore OMP_NUM_THREADS take all of them"
    chosen = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, chosen)
    return f"on cores {', '.join(map(str, chosen))}"


def fermionic(given: dict[str, Any]) -> dict[str, float]:
    """Value and gradient's norm of the excitations of fermions, which differ from PennyLane's by the signs between."""
    _, point = circuit("uccsd", given)
    singles, doubles = excitations(given)
    wires = range(int(given["wires"]))
    occupied = (np.arange(len(wires)) < given["electrons"]).astype(int)
    total = observable(given)

    def energy(p: Any) -> Any:
        qml.BasisState(occupied, wires=wires)
        for k, (i, j, a, b) in enumerate(doubles):
            excite(p[k], ((i, j), (a, b)))
        for k, (i, a) in enumerate(singles, len(doubles)):
            excite(p[k], ((i,), (a,)))
        return qml.expval(total)

    node = qml.QNode(energy, qml.device("varq.qubit", wires=wires), interface="jax")
    with double():
        value, gradient = jax.jit(jax.value_and_grad(node))(jnp.asarray(point))
    return {"value": float(value), "norm": float(np.linalg.norm(gradient))}


def agree(other: Side, wanted: dict[str, float]) -> None:
    """Stop where a side found something else."""
    for what in ("value", "norm"):
        if abs(other.first[what] - wanted[what]) > AGREE * max(1.0, abs(wanted[what])):
            raise SystemExit(f"{other.name}: the {what} is {other.first[what]}, and must be {wanted[what]}.")


def least(workload: str, given: dict[str, Any]) -> tuple[str, float]:
    """The path that is taken, and the least seconds it can take here."""
    made, point = circuit(workload.split(":")[0], given)
    script = qml.tape.make_qscript(made)(point)
    tape = qml.tape.QuantumScript(script.operations, [qml.expval(observable(given))])
    made = plan(tape.map_to_standard_wires())[0]
    facts = execution.facts(made.circuit, made.sums, Options())
    rates = roofline.measured(16 * facts["amplitudes"])
    path = engine(made.circuit, Options()).path
    return path, rates.seconds(facts["bytes_per_gradient"], facts["operations_per_gradient"])


def compare(workload: str, peers: dict[str, str], turns: int) -> None:
    """One row for each side; without turns, they only have to agree."""
    given = problem(workload)
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/problem.npz"
        np.savez(file, **given)
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        own = cache | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/idle"}  # so that varq.qubit finds nothing at first
        for _ in range(2):  # the second one finds what the first compiled: what is left is tracing
            idle = Side.start(workload, IDLE, sys.executable, file, **own)
            idle.end()
        ours = Side.start(workload, "varq.qubit", sys.executable, file, **cache)
        second = Side.start(workload, "varq.qubit", sys.executable, file, **cache)
        second.end()
        wanted = {n: p for n, p in peers.items() if ALONE.get(n, workload.split(":")[0]) == workload.split(":")[0]}
        others = [Side.start(workload, n, p, file) for n, p in wanted.items()]
        for other in (second, *others):
            agree(other, fermionic(given) if other.name == "tencirchem" else ours.first)
        for _ in range(turns):
            for side in (ours, *others):
                side.call()
        for side in (ours, *others):
            side.end()
    if not turns:
        print(f"{workload:12} {', '.join(s.name for s in (ours, *others))} agree", flush=True)
        return
    path, bound = least(workload, given)
    print(
        f"{workload:12} varq.qubit ({path}): {ours.median * MILLI:.4g} ms, {ours.median / bound:.1f} times its bound; "
        f"first {ours.first['first']:.2f} s, in a second process {second.first['first']:.2f} s, "
        f"of which PennyLane's trace {idle.first['first']:.2f} s"
    )
    for other in others:
        ratio = statistics.median(o / v for o, v in zip(other.times, ours.times, strict=True))
        print(
            f"{'':12} {other.name}: {other.median * MILLI:.4g} ms, {ratio:.1f} times varq's; "
            f"first {other.first['first']:.2f} s",
            flush=True,
        )


def main() -> None:
    """Every workload asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="whether all sides agree, without timing them")
    given = parser.parse_args()
    named = dict(p.split("=", 1) if "=" in p else (p, sys.executable) for p in given.peer)
    print(bind())
    if not given.check:
        rates = roofline.measured()
        print(
            f"copies {rates.bandwidth / 1e9:.1f} GB/s, matrix products {rates.operations / 1e9:.0f} Gflop/s (float64)"
        )
    for workload in given.workloads:
        compare(workload, named or {"lightning.qubit": sys.executable}, 0 if given.check else given.turns)


if __name__ == "__main__":
    main()
