"""`varq.qubit` beside its peers: value and full gradient, turns of a few calls alternating, one table.

    python benchmarks/simulator.py [WORKLOAD ...] [--peer NAME[=PYTHON]] ... [--turns 9] [--markdown] [--check]

Workloads: uccsd:LiH uccsd:H2O uccsd:N2 layers:16x8 qaoa:20x8 (all of them without a name).
Peers: lightning.qubit runs in this environment.  Others want one of their own; name its Python:
    --peer catalyst=A/bin/python     pip install pennylane-catalyst
    --peer tencirchem=B/bin/python   pip install tencirchem-ng jax jaxlib pyscf
    --peer qulacs=C/bin/python       pip install qulacs
Every process is bound to the same two cores (where the system can do that: Linux), and told to use two threads.  All
sides must agree in value and in the norm of the gradient; `--check` stops there.  Beside varq's time stands its
roofline, the least time that the task can take here: the bytes that it must move over the measured copy bandwidth, or
its arithmetic over the measured rate of matrix products, whichever is longer.  `--markdown` prints the rows once more,
as tables that can be pasted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
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
MILLI, MEGA, GIGA = 1e3, 1e6, 1e9
PACKAGES = ("jax", "jaxlib", "pennylane", "pennylane-lightning")


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


@dataclass(frozen=True)
class Roofline:
    """What a value and gradient of a workload takes at least on this machine.

    Args:
        path: that varq.qubit takes.
        moved: bytes read and written.
        operations: of floating-point numbers.
        rates: of this machine, for states of this size.
    """

    path: str
    moved: float
    operations: float
    rates: roofline.Rates

    @property
    def seconds(self) -> float:
        """The longer of the two times."""
        return self.rates.seconds(self.moved, self.operations)

    @property
    def side(self) -> str:
        """Which of the two it is."""
        return "bytes" if self.moved / self.rates.bandwidth >= self.operations / self.rates.operations else "arithmetic"


@dataclass
class Row:
    """A workload, measured: varq's process, a second one, PennyLane's trace alone, and the peers."""

    workload: str
    least: Roofline
    ours: Side
    second: Side
    idle: Side
    others: list[Side]

    def ratio(self, other: Side) -> float:
        """How many times varq's seconds a peer takes, turn by turn."""
        return statistics.median(o / v for o, v in zip(other.times, self.ours.times, strict=True))

    def __str__(self) -> str:
        least, over = self.least, self.ours.median / self.least.seconds
        lines = [
            f"{self.workload:12} varq.qubit ({least.path}): {self.ours.median * MILLI:.4g} ms; "
            f"first {self.ours.first['first']:.2f} s, in a second process {self.second.first['first']:.2f} s, "
            f"of which PennyLane's trace {self.idle.first['first']:.2f} s",
            f"{'':12} at least {least.moved / MEGA:,.2f} MB at {least.rates.bandwidth / GIGA:.3g} GB/s, "
            f"{least.operations / MEGA:,.2f} Mflop at {least.rates.operations / GIGA:.3g} Gflop/s: "
            f"{least.seconds * MILLI:.4g} ms by {least.side}; varq takes {over:.1f} times that",
        ]
        lines += [
            f"{'':12} {other.name}: {other.median * MILLI:.4g} ms, {self.ratio(other):.1f} times varq's; "
            f"first {other.first['first']:.2f} s"
            for other in self.others
        ]
        return "\n".join(lines)


def markdown(rows: list[Row]) -> str:
    """The rows as two tables: gradients beside their rooflines, and first gradients."""
    names = list(dict.fromkeys(other.name for row in rows for other in row.others))
    head = ["circuit", "path", "varq.qubit", "bytes", "operations", "at least, by", "varq over it", *names]
    first = ["first value and gradient, seconds", "varq.qubit", "in a second process", "PennyLane's own trace", *names]
    gradients, firsts = [], []
    for row in rows:
        sides = {other.name: other for other in row.others}
        least, milli = row.least, row.ours.median * MILLI
        gradients.append(
            [
                *(row.workload, least.path, f"{milli:.2g} ms"),
                *(f"{least.moved / MEGA:,.2f} MB", f"{least.operations / MEGA:,.2f} Mflop"),
                *(f"{least.seconds * MILLI:.2g} ms, {least.side}", f"{row.ours.median / least.seconds:.1f} times"),
                *(f"{row.ratio(sides[n]):.1f} times" if n in sides else "" for n in names),
            ]
        )
        own = (row.ours, row.second, row.idle)
        firsts.append(
            [row.workload, *(f"{side.first['first']:.1f}" if side else "" for side in (*own, *map(sides.get, names)))]
        )
    return "\n\n".join(_table(*parts) for parts in ((head, gradients), (first, firsts)))


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def machine() -> str:
    """The processor, and the versions of what runs here."""
    found = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(encoding="utf-8").splitlines()
        found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), found)
    return f"{found}; Python {platform.python_version()}, {', '.join(map(_version, PACKAGES))}"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def least(workload: str, given: dict[str, Any]) -> Roofline:
    """The path that is taken, and the least that the workload can take here."""
    made, point = circuit(workload.split(":")[0], given)
    script = qml.tape.make_qscript(made)(point)
    tape = qml.tape.QuantumScript(script.operations, [qml.expval(observable(given))])
    made = plan(tape.map_to_standard_wires())[0]
    facts = execution.facts(made.circuit, made.sums, Options())
    path = engine(made.circuit, Options()).path
    rates = roofline.measured(16 * facts["amplitudes"])
    return Roofline(path, facts["bytes_per_gradient"], facts["operations_per_gradient"], rates)


def compare(workload: str, peers: dict[str, str], turns: int) -> Row | None:
    """One row, its sides timed in turns; without turns they only have to agree."""
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
        return None
    row = Row(workload, least(workload, given), ours, second, idle, others)
    print(row, flush=True)
    return row


def main() -> None:
    """Every workload asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--markdown", action="store_true", help="the rows once more as tables for the README")
    parser.add_argument("--check", action="store_true", help="whether all sides agree, without timing them")
    given = parser.parse_args()
    named = dict(p.split("=", 1) if "=" in p else (p, sys.executable) for p in given.peer)
    print(bind())
    print(machine())
    if not given.check:
        rates = roofline.measured()
        print(
            f"copies {rates.bandwidth / 1e9:.1f} GB/s, matrix products {rates.operations / 1e9:.0f} Gflop/s (float64)"
        )
    peers = named or {"lightning.qubit": sys.executable}
    rows = [compare(workload, peers, 0 if given.check else given.turns) for workload in given.workloads]
    if given.markdown:
        print(f"\n{markdown([row for row in rows if row])}")


if __name__ == "__main__":
    main()
