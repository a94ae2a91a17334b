"""Figures of `varq.qubit` beside their limits and peers: what the race of `benchmarks/simulator.py` does not show.

    python benchmarks/simulator_limits.py [small] [long] [rounds] [general] [depth] [memory]

small: 4 qubits without jax.jit, beside default.qubit; jax(32) and jax(64) are JAX without and with its x64 flag; and
which part of a call passes outside of the device's `execute`.  long: the first value and gradient of many gates with a
measurement among them.
rounds: runs of a phase estimation in which each round depends on the outcomes before it, beside a loop on the host that
calls a compiled round for each.  general: the first gradient of gates in no order, less PennyLane's own trace, and a
later one.  depth: 40 equal layers against 8.  memory: what XLA reserves for a gradient of 26 qubits, and what a process
that runs it once comes to hold.  Medians; calls of peers alternate.  Nothing comes from a cache on disk.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane import numpy as pnp
from simulator import problem
from simulator_worker import IDLE, circuit, device_of, observable, on_pennylane

from varq.simulator import outcome
from varq.simulator.circuit import Numbers
from varq.simulator.device import VarqQubit
from varq.simulator.execution import _program
from varq.simulator.lowering import lower
from varq.simulator.observables import pauli_sum
from varq.simulator.paths import Options
from varq.simulator.precision import double

CALL, GRADIENT = 5.0, 20.0  # milliseconds that a small circuit may take once it is known
CALLS, AGREE = 21, 1e-5  # of each device, which may compute in float32
ROUNDS, SHOTS, PHASE, RUN = 12, 100_000, 0.3012, 4.0  # rounds, runs, turns; microseconds that a run may take
TURNS, HOST_RUNS = 9, 6  # alternations, and runs of the host's loop in each
LONG, WIDE = 300, 8  # gates and qubits
DEPTHS = ("layers:16x8", "layers:16x40")
FRESH, DEEPER, FIRST = 5, 1.1, 1.5  # repeats; what depth may cost: the device's program alone, a first gradient
WIDTHS, COUNTS, TRIES = (12, 20), (40, 320, 2560), 3  # qubits and gates without structure; processes for each
LARGE, SPACE = "qaoa:26x20", 4.0  # GiB
MICRO, MILLI, MEBI, GIBI = 1e6, 1e3, 2**20, 2**30


def row(what: str, value: float, unit: str, limit: float | None, beside: str) -> str:
    """One figure, and what it is held against, if anything."""
    verdict = "" if limit is None else f"<= {limit:<4g} {'ok' if 0 < value <= limit else 'MISSED'}"
    return f"{what:48} {value:8.3g} {unit:6} {verdict:15} {beside}"


def timed(function: Callable[..., Any], *given: Any) -> tuple[float, float, Any]:
    """Seconds, seconds of CPU, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = jax.block_until_ready(function(*given))
    return time.perf_counter() - wall, time.process_time() - cpu, found


def medians(rows: Any) -> list[float]:
    """Of each column."""
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def four_qubits(measured: bool, x: Any) -> Any:
    for w in range(4):
        qml.RX(x[w], w)
    for w in range(3):
        qml.CNOT([w, w + 1])
    if measured:
        first = qml.measure(0)
        qml.cond(first, qml.RY, qml.RX)(x[4], 1)
        qml.cond(first & qml.measure(1), qml.RX)(x[5], 3)
    for w in range(4):
        qml.RY(x[4 + w], w)
    return qml.expval(qml.Z(0) @ qml.X(1) + 0.3 * qml.Y(2))


def nodes(measured: bool) -> list[Any]:
    """The circuit on both devices; where no wires are named, default.qubit takes those that measurements need."""
    wires = None if measured else 4
    devices = (qml.device("varq.qubit", wires=wires, cache=False), qml.device("default.qubit", wires=wires))
    return [qml.QNode(partial(four_qubits, measured), device) for device in devices]


def alternating(what: str, limit: float, both: list[Any], given: Callable[[Any], Any]) -> str:
    """A function on both devices, call by call."""
    times = []
    for turn in range(CALLS + 1):
        x = given(np.linspace(0.1, 1, 8) * (1 + 1e-3 * turn))
        (ours, _, a), (theirs, _, b) = (timed(function, x) for function in both)
        if np.abs(np.asarray(a) - np.asarray(b)).max() > AGREE:
            raise SystemExit(f"{what}: varq.qubit finds {a}, default.qubit {b}.")
        times.append((ours * MILLI, theirs * MILLI, theirs / ours))
    own, other, ratio = medians(times[1:])  # the first call compiles
    return row(f"4 qubits, {what}", own, "ms", limit, f"default.qubit {other:.3g} ms, {ratio:.1f} times varq's")


class Watched(VarqQubit):
    """Adds up the seconds that pass within `execute`."""

    inside = 0.0

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        """See `VarqQubit`."""
        began = time.perf_counter()
        found = super().execute(circuits, execution_config)
        self.inside += time.perf_counter() - began
        return found


def outside(what: str, transform: Callable[[Any], Any]) -> str:
    """Which part of a call is PennyLane's and JAX's own: tapes, transforms, and derivatives without compilation."""
    device = Watched(wires=4, cache=False)
    function = transform(qml.QNode(partial(four_qubits, False), device))
    parts = []
    for turn in range(CALLS + 1):
        x = jnp.asarray(np.linspace(0.1, 1, 8) * (1 + 1e-3 * turn))
        before = device.inside
        seconds = timed(function, x)[0]
        parts.append(1 - (device.inside - before) / seconds)
    share = statistics.median(parts[1:])  # the first call compiles
    return row(f"4 qubits, {what}, outside of `execute`", share, "parts", None, "of one")


def small() -> Iterator[str]:
    """Calls and gradients after the first."""
    plain, measured = nodes(False), nodes(True)
    yield alternating("call, NumPy", CALL, plain, np.asarray)
    trainable = partial(pnp.array, requires_grad=True)
    yield alternating("gradient, autograd", GRADIENT, [qml.grad(q) for q in plain], trainable)
    yield alternating("2 measured, gradient, autograd", GRADIENT, [qml.grad(q) for q in measured], trainable)
    for kind, within in (("jax(32)", nullcontext), ("jax(64)", double)):
        with within():
            yield alternating(f"call, {kind}", CALL, plain, jnp.asarray)
            yield alternating(f"gradient, {kind}", GRADIENT, [jax.grad(q) for q in plain], jnp.asarray)
            both = [jax.grad(q) for q in measured]
            yield alternating(f"2 measured, gradient, {kind}", GRADIENT, both, jnp.asarray)
    yield outside("call, jax(32)", lambda node: node)
    yield outside("gradient, jax(32)", jax.grad)


def many_gates(x: Any) -> Any:
    """Gates in no order, with a measurement in their middle."""
    rng = np.random.default_rng(0)
    for k in range(LONG):
        first, second = (int(w) for w in rng.permutation(WIDE)[:2])
        if k == LONG // 2:
            qml.cond(qml.measure(first, reset=True), qml.RX)(x[k], second)
        elif k % 3:
            (qml.RX, qml.RY, qml.RZ)[int(rng.integers(3))](x[k], first)
        else:
            (qml.CNOT, qml.CZ)[int(rng.integers(2))]([first, second])
    return qml.expval(qml.Z(0) @ qml.Z(1))


def long() -> Iterator[str]:
    """What compiling costs where nothing repeats."""
    node = qml.QNode(many_gates, qml.device("varq.qubit", wires=WIDE, cache=False))
    x = jnp.linspace(0.1, 1, LONG)
    for what, function in (("value", node), ("gradient", jax.grad(node))):
        seconds, cpu, _ = timed(function, x)
        yield row(f"{LONG} gates, {WIDE} qubits, measured: first {what}", seconds, "s", None, f"{cpu:.3g} s of CPU")


def scattered(wires: int, count: int, x: Any) -> Any:
    """Gates of one and two wires in no order, without a repeat."""
    rng = np.random.default_rng(wires)
    for k in range(count):
        one, two = (int(w) for w in rng.permutation(wires)[:2])
        kind = int(rng.integers(5))
        if kind < 3:
            (qml.RX, qml.RY, qml.RZ)[kind](x[k], one)
        elif kind == 3:
            qml.CNOT([one, two])
        else:
            qml.IsingXX(x[k], wires=[one, two])
    return qml.expval(qml.Z(0) @ qml.Z(1) + qml.X(2))


def first_scattered(name: str, wires: int, count: int) -> tuple[float, float, float]:
    """Seconds of the first gradient in this process, of its CPU, and of a later one."""
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_enable_x64", True)
    node = qml.QNode(partial(scattered, wires, count), device_of(name, wires), interface="jax")
    both, x = jax.jit(jax.value_and_grad(node)), jnp.linspace(0.1, 1, count)
    seconds, cpu, _ = timed(both, x)
    return seconds, cpu, timed(both, x + 1e-3)[0]


def general() -> Iterator[str]:
    """What the first gradient of gates without structure costs, by their number."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        for wires in WIDTHS:
            for count in COUNTS:
                names = ("varq.qubit", IDLE)
                turns = [[fresh.apply(first_scattered, (n, wires, count)) for n in names] for _ in range(TRIES)]
                (ours, cpu, later), (idle, _, _) = (medians(side) for side in zip(*turns, strict=True))
                beside = (
                    f"less PennyLane's {idle:.3g} s; {cpu:.3g} s of CPU with it; a later one {later * MILLI:.3g} ms"
                )
                yield row(f"{count} gates, {wires} qubits: first gradient", ours - idle, "s", None, beside)


def correction(*bits: Any) -> Any:
    """The turn back that the digits known so far, least significant first, ask for."""
    return -np.pi * sum(bit / 2 ** (len(bits) - k) for k, bit in enumerate(bits))


def estimation(phase: Any) -> Any:
    """A phase in turns, read digit by digit through one qubit."""
    qml.X(1)
    bits: list[Any] = []
    for k in reversed(range(ROUNDS)):
        qml.Hadamard(0)
        qml.ControlledPhaseShift(2 * np.pi * phase * 2**k, wires=[0, 1])
        if bits:
            qml.PhaseShift(outcome(correction, *bits), 0)
        qml.Hadamard(0)
        bits.append(qml.measure(0, reset=True))
    return qml.sample(bits)


@jax.jit
def every_run(phase: Any, key: Any) -> Any:
    device = qml.device("varq.qubit", wires=2, seed=key, cache=False)
    return qml.set_shots(qml.QNode(estimation, device), shots=SHOTS)(phase)


@jax.jit
def one_round(state: Any, key: Any, turn: Any, back: Any) -> tuple[Any, Any, Any]:
    """The peer's round; the axes of the state are control and target."""
    key, own = jax.random.split(key)
    hadamard = jnp.array([[1, 1], [1, -1]]) / np.sqrt(2)
    state = (hadamard @ state).at[1, 1].multiply(jnp.exp(1j * turn)).at[1].multiply(jnp.exp(1j * back))
    state = hadamard @ state
    chances = jnp.sum(jnp.abs(state) ** 2, axis=1)
    bit = (jax.random.uniform(own) < chances[1]).astype(int)
    return jnp.zeros_like(state).at[0].set(state[bit] / jnp.sqrt(chances[bit])), key, bit


def one_run(phase: float, key: Any) -> list[int]:
    """The peer: each outcome goes to the host, which computes the next angle."""
    state = jnp.array([[0, 1], [0, 0]], complex)
    bits: list[int] = []
    for k in reversed(range(ROUNDS)):
        state, key, bit = one_round(state, key, 2 * np.pi * phase * 2**k, float(correction(*bits)))
        bits.append(int(bit))
    return bits


def rounds() -> Iterator[str]:
    """A run on the device beside a run on the host."""
    times: list[Any] = []
    samples: dict[str, list[Any]] = {"varq.qubit": [], "the host's loop": []}
    for key in jax.random.split(jax.random.key(0), TURNS + 1):
        seconds, _, found = timed(every_run, PHASE, key)
        runs = [timed(one_run, PHASE, own) for own in jax.random.split(key, HOST_RUNS)]
        own, other = seconds / SHOTS, statistics.median(run[0] for run in runs)
        times.append((own * MICRO, other * MICRO, other / own))
        samples["varq.qubit"].extend(np.asarray(found))
        samples["the host's loop"].extend(run[2] for run in runs)
    for name, bits in samples.items():
        most = np.bincount(np.array(bits) @ (1 << np.arange(ROUNDS))).argmax()
        if most != round(PHASE * 2**ROUNDS):
            raise SystemExit(f"{name} reads {most}/{2**ROUNDS} of a turn most often; the phase is {PHASE}.")
    own, other, ratio = medians(times[1:])  # the first call compiles
    peer = f"by the host's loop {other:.4g} us, {ratio:.0f} times varq's"
    yield row(f"{ROUNDS} rounds with feed-forward, each of {SHOTS} runs", own, "us", RUN, peer)


def compiled(workload: str, **options: Any) -> tuple[float, Any, tuple[Any, ...]]:
    """Seconds that XLA takes for the device's program of values and slopes, that program, and its arguments."""
    given = problem(workload)
    made, point = circuit(workload.split(":")[0], given)
    wires = range(int(given["wires"]))
    gates, numbers = lower(qml.tape.make_qscript(made)(point), wires)
    words, coefficients = pauli_sum(observable(given), wires)
    _program.cache_clear()
    jax.clear_caches()
    program = _program(gates, (words,), Options(**options))
    with double():
        inputs = [jnp.asarray(values, program.options.dtype) for values in (numbers.angles, coefficients)]
        arguments = (program.tables, Numbers(inputs[0]), (inputs[1],))
        seconds, _, done = timed(program.values_and_slopes.lower(*arguments).compile)
    return seconds, done, arguments


def first(name: str, workload: str) -> tuple[float, float]:
    """Seconds of the first gradient in this process, and of its CPU."""
    jax.config.update("jax_enable_compilation_cache", False)
    return timed(*on_pennylane(workload.split(":")[0], problem(workload), name))[:2]


def firsts(workload: str) -> list[float]:
    """The same in processes of their own, less what a device takes that does nothing."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        turns = [[fresh.apply(first, (name, workload)) for name in ("varq.qubit", IDLE)] for _ in range(FRESH)]
    return [a - b for a, b in zip(*(medians(side) for side in zip(*turns, strict=True)), strict=True)]


def against(what: str, limit: float, unit: str, shallow: float, deep: float) -> str:
    """What depth costs."""
    return row(f"40 layers to 8, {what}", deep / shallow, "times", limit, f"{deep:.3g} and {shallow:.3g} {unit}")


def depth() -> Iterator[str]:
    """What repeats is compiled once."""
    compiled(DEPTHS[0])  # the first compilation of a process also starts LLVM
    seconds = medians([compiled(w)[0] for w in DEPTHS] for _ in range(FRESH))
    yield against("compiling the program", DEEPER, "s", *seconds)
    held = [compiled(w, stored_bytes=0)[1].memory_analysis().temp_size_in_bytes / MEBI for w in DEPTHS]
    yield against("temporary, no state stored", DEEPER, "MiB", *held)
    for unit, *both in zip(("s", "s of CPU"), *map(firsts, DEPTHS), strict=True):
        yield against("first gradient less idle", FIRST, unit, *both)


def peak() -> float:
    """The most memory that this process has held so far, in GiB."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(found if sys.platform == "darwin" else found * 1024) / GIBI  # bytes on macOS, KiB on Linux


def held(workload: str) -> tuple[float, float, float]:
    """The most GiB that this process holds before it runs a gradient in float32 and after; the run's seconds."""
    jax.config.update("jax_enable_compilation_cache", False)
    _, program, arguments = compiled(workload, dtype="float32")
    before = peak()
    with double():
        seconds = timed(program, *arguments)[0]
    return before, peak(), seconds


def memory() -> Iterator[str]:
    """Whether a laptop has room for it."""
    found = compiled(LARGE, dtype="float32")[1].memory_analysis()
    sizes = [getattr(found, f"{part}_size_in_bytes") / GIBI for part in ("temp", "argument", "output")]
    parts = "temporary {:.3g}, arguments {:.2g}, results with the state {:.3g}".format(*sizes)
    yield row(f"{LARGE}, a gradient in float32", sum(sizes), "GiB", SPACE, parts)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        before, after, seconds = fresh.apply(held, (LARGE,))
    beside = f"{before:.3g} GiB of it before the run, for Python and the compiler; {seconds:.3g} s"
    yield row(f"{LARGE}, run once: the process at its largest", after, "GiB", None, beside)


FIGURES: dict[str, Callable[[], Iterator[str]]] = {f.__name__: f for f in (small, long, rounds, general, depth, memory)}


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name not in FIGURES]:
        raise SystemExit(f"Unknown figures {unknown}. Known: {list(FIGURES)}.")
    jax.config.update("jax_enable_compilation_cache", False)
    # default.qubit asks for complex128 also where JAX makes none.
    warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
    for name in names or FIGURES:
        for figure in FIGURES[name]():
            print(figure, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
