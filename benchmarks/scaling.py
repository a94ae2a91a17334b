"""What a cluster would take, on paper: the model, its constants, and the page `docs/scaling.md` that follows from them.

    python benchmarks/scaling.py              # print the page
    python benchmarks/scaling.py --write      # put it where it belongs
    python benchmarks/scaling.py --measure    # the constants, measured here: put them below, and write the page anew

Nothing is predicted by hand: a test compares the page with what this file gives.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"


@dataclass(frozen=True)
class Constants:
    """What was measured, in seconds of the processor, on a cloud machine of two shared x86 cores.

    The processor's own time, as what else a shared machine does hardly shows in it.

    Args:
        cell: for a cell of one step, its journal included.
        task: for a task of no work through Dask's scheduler, which takes one after the other.
        load: until a process has loaded PennyLane and JAX.
        compile_new: until the first gradient of a molecule's circuit (LiH, UCCSD), with nothing in the compile cache.
        compile_known: the same where another process has compiled it.
        merge: for each recorded step, to unite the files that workers left.
        row: for each step of a run beside its evaluation: the journal, the events.
        file: for each task and each file of another worker in the store: to open it, and to look for the task's runs.
        gate: for each amplitude, to apply a one-qubit gate to a state that is larger than the processor's caches, in
            double precision, on both cores.
    """

    cell: float
    task: float
    load: float
    compile_new: float
    compile_known: float
    merge: float
    row: float
    file: float
    gate: float


MEASURED = Constants(
    cell=5.0e-3,
    task=2.7e-3,  # the slower of two measurements: 2.0 and 2.7 ms, dask.distributed 2026.8, two workers of one thread
    load=5.9,
    compile_new=4.1,
    compile_known=1.6,
    merge=0.135e-3,
    row=0.5e-3,  # benchmarks/foundation.py: 0.42 to 0.53 ms
    file=1.3e-3,  # 300 files, 0.44 ms of it to open one; more than a process may have open are opened anew each time
    gate=1.2e-9,
)
"""As `--measure` prints them, but for `task`, which needs Dask, and `row`.  Measured while 17 processes wanted the two
cores, which makes even the processor's own time up to twice as long as it is on a quiet machine."""


@dataclass(frozen=True)
class Link:
    """What joins two machines: bits a second, and seconds until the first of them arrives."""

    name: str
    bits: float
    latency: float

    def seconds(self, count: float) -> float:
        """For so many bytes."""
        return self.latency + 8 * count / self.bits


LINKS = (
    Link("100 Gb/s, within a cluster", 100e9, 2e-6),
    Link("1 Gb/s, across the internet", 1e9, 30e-3),
)

# -- many runs


@dataclass(frozen=True)
class Study:
    """Cells on a cluster.

    Args:
        cells: how many.
        work: seconds of one cell on one core, beside what `Constants` has.
        steps: of each.
        nodes: machines.
        cores: of each machine; one worker runs on each.
        batch: cells that travel in one task.
    """

    cells: int
    work: float
    steps: int = 1
    nodes: int = 100
    cores: int = 2
    batch: int = 1

    @property
    def workers(self) -> int:
        """In all."""
        return self.nodes * self.cores


@dataclass(frozen=True)
class Times:
    """Where the seconds of a study go: start, computing, what the scheduler alone takes, merging."""

    start: float
    compute: float
    schedule: float
    merge: float

    @property
    def total(self) -> float:
        """Workers compute while the scheduler hands out tasks: the slower of the two counts."""
        return self.start + max(self.compute, self.schedule) + self.merge


def predicted(study: Study, known: Constants = MEASURED) -> Times:
    """The time of a study: T = start + max(compute, schedule) + merge.

    start = load + compile_new: the first worker compiles, the others wait for what it puts into the shared cache, or
    compile the same themselves.  compute = ceil(tasks / workers) * (batch * (work + cell + steps * row) + files *
    file), with tasks = ceil(cells / batch), and files = min(workers, tasks), as each worker writes one.
    schedule = tasks * task.  merge = cells * (steps + 1) * merge.
    """
    tasks = math.ceil(study.cells / study.batch)
    each = study.work + known.cell + study.steps * known.row
    return Times(
        start=known.load + known.compile_new,
        compute=math.ceil(tasks / study.workers) * (study.batch * each + min(study.workers, tasks) * known.file),
        schedule=tasks * known.task,
        merge=study.cells * (study.steps + 1) * known.merge,
    )


def alone(study: Study, known: Constants = MEASURED) -> float:
    """The same study in one process on one core."""
    each = study.work + known.cell + study.steps * known.row
    return known.load + known.compile_new + study.cells * each


# -- one state


@dataclass(frozen=True)
class State:
    """One state over many machines, each of which has 2^n / nodes of its amplitudes.

    Args:
        qubits: n.
        nodes: a power of two.
        layers: of one turn on each qubit and phases on pairs of them, which need no exchange.
        width: bytes of an amplitude: 8 in single precision, 16 in double.
    """

    qubits: int = 36
    nodes: int = 1024
    layers: int = 10
    width: int = 8

    @property
    def globals(self) -> int:
        """Qubits whose value says which machine an amplitude is on: g."""
        return self.nodes.bit_length() - 1

    @property
    def amplitudes(self) -> int:
        """On each machine: 2^(n-g)."""
        return 2 ** (self.qubits - self.globals)

    @property
    def shard(self) -> int:
        """Bytes of these."""
        return self.amplitudes * self.width

    @property
    def memory(self) -> int:
        """Bytes on each machine for an expectation value: the shard, and the one that comes from a partner."""
        return 2 * self.shard

    @property
    def gradient_memory(self) -> int:
        """Bytes on each machine for a gradient by the adjoint method: two states, and what comes from a partner."""
        return 3 * self.shard


def local_seconds(state: State, known: Constants = MEASURED) -> float:
    """Seconds of one gate on what a machine has."""
    return known.gate * state.amplitudes * state.width / 16


def state_seconds(state: State, link: Link, known: Constants = MEASURED) -> tuple[float, float]:
    """Seconds of computing and of exchange: T = G t_local 2^(n-g) + E (latency + 2^(n-g) width / bandwidth).

    A turn of a local qubit touches what a machine has. One of a global qubit needs the whole shard of the partner whose
    number differs in that bit. Phases of pairs need nothing of anybody; they count as one more gate a layer. Memory is
    what limits a gate, so that single precision takes half of what was measured in double.
    """
    gates = state.layers * (state.qubits + 1)
    exchanges = state.layers * state.globals
    return gates * local_seconds(state, known), exchanges * link.seconds(state.shard)


# -- the page


def said(seconds: float) -> str:
    """A time in words."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= (2 * size if size > 1 else size):
            return f"{seconds / size:.3g} {unit}"
    return "0"


def bytes_said(count: float) -> str:
    """Bytes in words."""
    for size, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


WIDTH = 130  # of a line of the page
CELLS, STEPS = 10_000, 50
SIZES = (("100 nodes of 2 cores", 100, 2), ("100 nodes of 64 cores", 100, 64))
WORKS = (0.1, 10.0, 600.0)
SPEC_BYTES, REPLY_BYTES = (
    2**12,
    2**14,
)  # of a cell: its spec as JSON, and a record of some hundred parameters and values


def _studies() -> str:
    rows = []
    for name, nodes, cores in SIZES:
        for work in WORKS:
            study = Study(CELLS, work, steps=STEPS, nodes=nodes, cores=cores)
            times, single = predicted(study), alone(study)
            parts = [times.start, times.compute, times.schedule, times.merge]
            speed = single / times.total
            rows.append([name, said(work), *map(said, parts), said(times.total), said(single), f"{speed:.0f}"])
    headers = ["cluster", "a cell", "start", "compute", "scheduler", "merge", "in all", "one core", "times faster"]
    return table(headers, rows)


def _batches() -> str:
    rows = []
    for batch in (1, 5, 20, 100):
        study = Study(CELLS, 0.1, steps=STEPS, nodes=100, cores=64, batch=batch)
        times = predicted(study)
        rows.append([f"{batch}", said(times.compute), said(times.schedule), said(times.total)])
    return table(["cells a task", "compute", "scheduler", "in all"], rows)


def _states() -> str:
    rows = []
    for link in LINKS:
        for width, name in ((8, "single"), (16, "double")):
            state = State(width=width)
            local, exchange = state_seconds(state, link)
            one = link.seconds(state.shard)
            rows.append([link.name, name, said(local), said(one), said(exchange), said(local + exchange)])
    headers = ["between machines", "precision", "computing", "one exchange", "all exchanges", "in all"]
    return table(headers, rows)


def _exchanges() -> str:
    rows = []
    for qubits in (26, 28, 30, 32):
        count = 2**qubits * 8
        rows.append([f"2^{qubits}", bytes_said(count), *(said(link.seconds(count)) for link in LINKS)])
    return table(["amplitudes of a shard", "bytes", *(link.name for link in LINKS)], rows)


def _constants() -> str:
    m = MEASURED
    rows = [
        ["`cell`", said(m.cell), "a cell of one step in one process, its journal included"],
        ["`task`", said(m.task), "a task of no work through Dask's scheduler"],
        ["`load`", said(m.load), "a process loads PennyLane and JAX"],
        ["`compile_new`", said(m.compile_new), "first gradient of LiH (UCCSD), empty compile cache"],
        ["`compile_known`", said(m.compile_known), "the same with a compile cache that another process filled"],
        ["`merge`", said(m.merge), "a recorded step, when the files of workers are united"],
        ["`row`", said(m.row), "a step of a run beside its evaluation"],
        ["`file`", said(m.file), "a task looks into the file of another worker for its runs"],
        [
            "`gate`",
            f"{m.gate * 1e9:.2g} ns",
            "an amplitude, for a one-qubit gate in double precision on a state larger than the caches",
        ],
    ]
    return table(["constant", "measured", "what it is"], rows)


def wrapped(text: str) -> str:
    """Text whose paragraphs are filled; headings, tables and formulas stay as they are."""
    blocks = text.strip().split("\n\n")
    plain = [block.startswith(("#", "|", "    ")) for block in blocks]
    fill = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False).fill
    return "\n\n".join(b if as_is else fill(b) for b, as_is in zip(blocks, plain, strict=True)) + "\n"


OTHERS = (
    ("41 qubits with PennyLane-Lightning over MPI, up to hundreds of thousands of processes", "2508.13615"),
    ("36 qubits on 64 nodes (A64FX) with mpiQulacs, near-ideal weak scaling", "2203.16044"),
    (
        "VQE of 32 qubits on 1,024 nodes, 200 times faster by both levels: MPI within a circuit and tasks across "
        "parameters",
        "2402.11878",
    ),
    ("a quantum processor in a closed loop with 152,064 nodes of Fugaku", "2511.00224"),
)


def _others() -> str:
    rows = [[what, f"[arXiv:{number}](https://arxiv.org/abs/{number})"] for what, number in OTHERS]
    return table(["what", "where"], rows)


def page() -> str:
    """The whole page."""
    return wrapped("\n\n".join([_opening(), _many(), _one(), _never()]))


def _opening() -> str:
    state = State()
    return f"""# Scaling, on paper

What a study of {CELLS:,} cells takes on 100 machines, what a state of {state.qubits} qubits takes on {state.nodes:,},
and what must never cross the internet. No cluster was at hand: these are predictions of a model, from constants that
were measured on a cloud machine of two shared x86 cores. `python benchmarks/scaling.py` prints this page, and a test
compares the two; `--measure` measures them anew, but for `task` and `row`. They are of the processor's own time on a
busy machine, which may be twice that of a quiet one.

{_constants()}"""


def _many() -> str:
    m = MEASURED
    example = Study(CELLS, WORKS[0], steps=STEPS, nodes=100, cores=64)
    volume = CELLS * (SPEC_BYTES + REPLY_BYTES)
    return f"""## Many runs

A study is a list of runs that need nothing of each other (but for warm starts, whose chains go one after the other).
With N cells in N/b tasks of b cells, W workers, and cells that take `work` seconds and s steps,

    T = start + max(compute, schedule) + merge
    start    = load + compile_new
    compute  = ceil(N/b / W) (b (work + cell + s row) + min(W, N/b) file)
    schedule = (N/b) task
    merge    = N (s + 1) merge

All workers load at once. The first of them to compile a circuit leaves it in the shared compile cache; the others
compile the same meanwhile, or find it there ({said(m.compile_known)} in place of {said(m.compile_new)}). The scheduler
hands out one task after the other, {math.floor(1 / m.task)} a second at most, while workers compute: the slower of the
two counts. Each worker writes a file of its own, in which every task of the others looks for its runs, and one process
unites them at the end (`varq compact`). With {STEPS} steps a cell:

{_studies()}

Three laws follow. Cells that take longer than a task takes through the scheduler times the number of workers
({said(example.workers * m.task)} for {example.workers:,} workers) keep all of them busy; shorter ones wait for the
scheduler, whatever the machines. Beside {example.workers:,} files a task takes {said(example.workers * m.file)} more
than alone, on a local disk, and longer on a network; no more of them are open at a time than a process may have (some
{(1024 - 256) // 3} where `ulimit -n` is 1,024), and beyond that each look opens them anew, which takes about three
times as long. Shards with stores of their own, or `varq compact` between two rounds, spare that. And then cells must
travel together: `batch` cells of one shape are one task, and one compiled call besides. Cells of {said(WORKS[0])} on
100 nodes of 64 cores:

{_batches()}

Between machines go specs and replies: some {bytes_said(SPEC_BYTES)} and {bytes_said(REPLY_BYTES)} a cell,
{bytes_said(volume)} for the whole study, which takes {said(LINKS[1].seconds(volume))} at 1 Gb/s. A study may cross any
network."""


def _one() -> str:
    state, double = State(), State(width=16)
    return f"""## One state

varq has no simulator of one state over several machines; this is what one would take. The amplitudes of n qubits lie on
2^g machines, 2^(n-g) on each. A gate on one of the n-g local qubits touches what a machine has. One on a global qubit
takes the whole shard of the partner whose number differs in that bit. Diagonal gates need no exchange, and an energy
needs one number of each machine. With G gates, E of them on global qubits and not diagonal, and `width` bytes for an
amplitude (8 in single precision, 16 in double),

    T = G gate 2^(n-g) width / 16 + E (latency + 2^(n-g) width / bandwidth)

For {state.qubits} qubits in single precision on {state.nodes:,} machines, g = {state.globals}:
{bytes_said(state.nodes * state.shard)} in all, {bytes_said(state.shard)} on each machine, {bytes_said(state.memory)}
with room for a partner's shard, and {bytes_said(state.gradient_memory)} for a gradient by the adjoint method (in double
precision {bytes_said(double.shard)}, {bytes_said(double.memory)}, {bytes_said(double.gradient_memory)}).
{state.layers} layers of a turn on each qubit and phases of pairs are {state.layers * (state.qubits + 1)} gates, of
which {state.layers * state.globals} exchange:

{_states()}

A machine here is the one measured; one with ten times its memory bandwidth computes in a tenth of the time, and
exchanges no faster. Exchanges can be spared: a swap of a global qubit with a local one exchanges half a shard, and the
gates that follow on that qubit are local then."""


def _never() -> str:
    state, (fast, slow), large = State(), LINKS, 2**30 * 8
    ratio = slow.seconds(state.shard) / local_seconds(state)
    return f"""## What must never cross the internet

The shards of a state. One exchange:

{_exchanges()}

At 1 Gb/s a machine waits {ratio:.0f} times as long for its partner's {bytes_said(state.shard)} as it needs to apply the
gate. A shard of {bytes_said(large)} takes {said(fast.seconds(large))} within a cluster and
{said(slow.seconds(large))} across the internet, for each gate; latency hardly counts beside it. So: **tasks travel,
shards do not.** Runs, the circuits of a request (`varq.spread`) and the parameters of a sweep go to wherever there is a
machine; one state stays where the network is a part of the computer. Two levels, then: many runs over machines, and
within a run one machine, or one cluster.

## What others have reached

{_others()}

By the model, mpiQulacs' 36 qubits on 64 nodes are {bytes_said(State(nodes=64, width=16).shard)} on each, in double
precision."""


# -- measuring

_LOAD = "import time, varq.session.session; print(time.process_time())"
_FIRST = """
import time
import numpy as np
from varq.algorithms import VQE
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.problems import Molecule
from varq.protocol import ValueAndGrad
task = VQE(problem=Molecule.load("LiH", bond=1.6), ansatz="uccsd").resolve("varq.qubit", None)
began = time.process_time()
plan = task.plan(Nodes("varq.qubit"))
plan.evaluate(ValueAndGrad(plan.start), Key.from_seed(0))
print(time.process_time() - began)
"""
_GATE = """
import time
import jax, jax.numpy as jnp
import pennylane as qml
n, layers = 22, 4
@qml.qnode(qml.device("varq.qubit", wires=n))
def circuit(x):
    for layer in range(layers):
        for w in range(n):
            qml.RX(x[layer, w], w)
        for w in range(n - 1):
            qml.IsingZZ(0.1, [w, w + 1])
    return qml.expval(qml.Z(0))
call, x = jax.jit(circuit), jnp.full((layers, n), 0.3)
call(x).block_until_ready()
times = []
for _ in range(3):
    began = time.process_time()
    call(x).block_until_ready()
    times.append((time.process_time() - began) / 2)
print(sorted(times)[1] / (layers * (n + 1) * 2**n))
"""
_CELLS = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import studies
from varq.store.store import open_store
count, folder = 1000, sys.argv[2]
with studies.trivial(folder + "/one", count) as study:
    began = time.process_time()
    study.finish()
    cell = (time.process_time() - began) / count
rows = len(studies.rows(folder + "/one"))
with open_store(folder + "/whole") as whole:
    began = time.process_time()
    whole.merge([Path(folder + "/one")])
    merge = (time.process_time() - began) / rows
print(json.dumps([cell, merge]))
"""

_FILES = """
import json, shutil, sys, time
from pathlib import Path
from varq import SPSA, spec
from varq.algorithms import VQE
from varq.problems import TransverseFieldIsing
from varq.protocol import Stop
from varq.study.work import Cell, Order, Party, work
folder, count = Path(sys.argv[1]), 300
def once(seed):
    ising = TransverseFieldIsing(2)
    task = VQE(ising, "hardware-efficient", SPSA(), device="default.qubit", stop=Stop(steps=1), seed=seed)
    began = time.process_time()
    work(Order(folder, (Party(0, 1, (Cell(0, 0, spec.dumps(task, {})),)),), {}))
    return time.process_time() - began
once(0)
alone = min(once(seed) for seed in range(1, 4))
for number in range(1, count + 1):
    shutil.copy(next(folder.glob("*.part-0.sqlite")), folder / f"other.part-{number}.sqlite")
print((min(once(seed) for seed in range(4, 7)) - alone) / count)
"""


def measured() -> Constants:
    """The constants of this machine; `task` and `row` as they are known."""

    def run(code: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        return done.stdout.splitlines()[-1]

    with tempfile.TemporaryDirectory() as folder:
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        load = min(float(run(_LOAD)) for _ in range(2))
        new, known = (float(run(_FIRST, **cache)) for _ in range(2))
        cell, merge = json.loads(run(_CELLS, str(Path(__file__).parent), folder))
        file = float(run(_FILES, f"{folder}/files"))
        gate = float(run(_GATE))
    return Constants(cell, MEASURED.task, load, new, known, merge, MEASURED.row, file, gate)


def main(arguments: list[str]) -> int:
    """Print the page, or write it, or measure."""
    if arguments == ["--measure"]:
        load = os.getloadavg()[0]
        began = time.perf_counter()
        print(measured())
        print(f"measured in {time.perf_counter() - began:.0f} s; {load:.1f} processes wanted the processor before")
    elif arguments == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not arguments:
        print(page(), end="")
    else:
        raise SystemExit(f"Unknown options {arguments}. Known: --write, --measure.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
