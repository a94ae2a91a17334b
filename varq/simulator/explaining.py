"""What the device does with a circuit: which path, why, how large, how long, and what would make it faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import pennylane as qml
from pennylane.tape import QuantumScript

from varq.simulator import execution, measurements, roofline
from varq.simulator.circuit import Circuit
from varq.simulator.device import VarqQubit
from varq.simulator.engine import Engine
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double
from varq.simulator.preprocessing import is_measured

__all__ = ["Explanation", "Part", "explain"]

_HIT = "/jax/compilation_cache/cache_hits"
_MILLI = 1e3
_LARGE = 1 << 18  # amplitudes from which single precision and stored states matter
_SLOW = 3.0  # times its bound from which a run is worth a remark


@dataclass(frozen=True)
class Part:
    """One circuit of the batch that a QNode comes to.

    Args:
        path: "sector", "layers", "alternating", "general" or "measured".
        why: why this path.
        facts: sizes, by name.
        seconds: measured times by name: "trace", "compile", "run" of a value, and "gradient" (a value and gradient).
        expected: seconds that a value and gradient would take at this machine's rates, or None.
        hits: programs found in the compile cache on disk.
        hints: what would make it faster.
    """

    path: str
    why: str
    facts: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    expected: float | None = None
    hits: int = 0
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [("path", f"{self.path}: {self.why}"), ("size", _sizes(self.facts))]
        if self.seconds:
            rows.append(("seconds", ", ".join(f"{name} {value:.3g}" for name, value in self.seconds.items())))
            rows.append(("compile cache", f"{self.hits} programs found on disk"))
        if self.expected is not None:
            said = f"{self.expected * _MILLI:.3g} ms for a value and gradient, by this machine's best rates"
            rows.append(("expected", said))
        rows += [("faster", hint) for hint in self.hints]
        return "\n".join(f"{name:14}{text}" for name, text in rows)


@dataclass(frozen=True)
class Explanation:
    """What `explain` found, one part for each circuit; its text is what is printed."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return str(self.parts[0])
        return "\n\n".join(f"circuit {k + 1} of {len(self.parts)}\n{part}" for k, part in enumerate(self.parts))

    def __repr__(self) -> str:
        return f"<Explanation: {', '.join(p.path for p in self.parts)}>"


def _sizes(facts: dict[str, Any]) -> str:
    named = [f"{facts[k]:,} {k}" for k in ("amplitudes", "gates", "steps") if k in facts]
    moved, stored = facts.get("bytes_per_gradient"), facts.get("stored_bytes")
    if moved:
        named.append(f"{moved / 2**20:,.3g} MiB moved by a gradient")
    if stored:
        named.append(f"{stored / 2**20:,.3g} MiB of states stored for it")
    if "arithmetic" in facts:
        named.append(f"{facts['arithmetic']} arithmetic")
    return ", ".join(named)


def explain(qnode: Any) -> Callable[..., Explanation]:
    """A function of the QNode's arguments that prints what `varq.qubit` does with the circuit, and returns it.

    It compiles and runs the circuit once; the seconds are those of this call.  A program that is in the compile cache
    on disk is read from there, which the count of hits says.

    Args:
        qnode: a QNode on `varq.qubit`.

    Raises:
        ValueError: if the QNode's device is another one.

    Example:
        >>> import pennylane as qml
        >>> from varq.simulator import explain
        >>> @qml.qnode(qml.device("varq.qubit", wires=4))
        ... def circuit(angle):
        ...     qml.BasisState([1, 1, 0, 0], wires=range(4))
        ...     qml.DoubleExcitation(angle, wires=range(4))
        ...     return qml.expval(qml.Z(0))
        >>> found = explain(circuit)(0.3)  # doctest: +ELLIPSIS
        path          sector: ...
        >>> found.parts[0].facts["amplitudes"]
        2
    """
    device = getattr(qnode, "device", None)
    if not isinstance(device, VarqQubit):
        name = getattr(device, "name", type(qnode).__name__)
        raise ValueError(
            f"explain takes a QNode on varq.qubit. Got {name}. Make the QNode with qml.device('varq.qubit', wires=...)."
        )

    def explained(*args: Any, **kwargs: Any) -> Explanation:
        tapes, _ = qml.workflow.construct_batch(qnode, level="device")(*args, **kwargs)
        options = device.options()
        found = Explanation(tuple(_part(tape, options) for tape in tapes))
        print(found)
        return found

    return explained


def _part(tape: QuantumScript, options: Options) -> Part:
    if is_measured(tape):
        how = f"{tape.shots.total_shots} trajectories" if tape.shots else "every branch of outcomes is summed"
        sizes = {"amplitudes": 2**tape.num_wires, "gates": len(tape.operations)}
        return Part("measured", f"it measures in its middle; {how}", sizes)
    if tape.batch_size is not None:
        tape = qml.transforms.broadcast_expand(tape)[0][0]
    made, inputs = measurements.plan(tape.map_to_standard_wires())
    chosen = engine(made.circuit, options)
    seconds, hits = _timed(made, inputs, options)
    expected = _bound(chosen)
    hints = tuple(_hints(made.circuit, chosen, options, seconds, expected, len(made.rest)))
    return Part(chosen.path, chosen.why, dict(chosen.facts), seconds, expected, hits, hints)


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The names of cache hits inside the block."""
    found: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == _HIT:
            found.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield found
    finally:
        # Before jax 0.8 no listener can be taken back; this one then goes on adding to a list that nobody reads.
        if hasattr(jax.monitoring, "unregister_event_listener"):
            jax.monitoring.unregister_event_listener(listen)


def _timed(made: measurements.Plan, inputs: Any, options: Options) -> tuple[dict[str, float], int]:
    """Seconds to trace, to compile, and of one run; and how many programs came from the cache on disk."""
    numbers, coefficients = inputs

    def value(angles: Any) -> Any:
        moved = numbers._replace(angles=angles)
        if made.sums:
            return execution.expectations(made.circuit, moved, made.sums, coefficients, options).sum()
        return abs(execution.state(made.circuit, moved, options)[0]) ** 2

    seconds: dict[str, float] = {}
    with double(), _counted() as hits:
        angles = jax.numpy.asarray(numbers.angles, options.dtype)
        trace = compile_ = 0.0
        runs = {"run": value, **({"gradient": jax.grad(value)} if made.sums and angles.size else {})}
        for name, function in runs.items():
            began = time.perf_counter()
            lowered = jax.jit(function).lower(angles)
            traced = time.perf_counter()
            compiled = lowered.compile()
            done = time.perf_counter()
            trace, compile_ = trace + traced - began, compile_ + done - traced
            jax.block_until_ready(compiled(angles))  # type: ignore[no-untyped-call]
            began = time.perf_counter()
            jax.block_until_ready(compiled(angles))  # type: ignore[no-untyped-call]
            seconds[name] = time.perf_counter() - began
    return {"trace": trace, "compile": compile_, **seconds}, len(hits)


def _bound(chosen: Engine) -> float | None:
    moved = chosen.facts.get("bytes_per_gradient")
    if moved is None:
        return None
    rates = roofline.measured(2 * 8 * chosen.facts["amplitudes"])
    return rates.seconds(moved, chosen.facts.get("operations_per_gradient", 0.0))


def _hints(
    circuit: Circuit, chosen: Engine, options: Options, seconds: dict[str, float], expected: float | None, rest: int
) -> Iterator[str]:
    """What would make it faster."""
    if chosen.path == "general":
        yield "repeat the same gates on the same wires in every layer: then one layer is compiled and looped over"
        if why := chosen.facts.get("not sector"):
            yield f"the sector path was not open: {why[0].lower()}{why[1:]}"
    large = chosen.facts["amplitudes"] >= _LARGE
    if large and options.dtype == "float64":
        yield "precision='single' halves the bytes, where 1e-5 is enough"
    if large and chosen.path in ("layers", "alternating") and not chosen.facts.get("stored_bytes"):
        yield f"stored_bytes above {options.stored_bytes:,} would spare the gradient from undoing each layer"
    if rest:
        yield "expectation values of Pauli sums have the fastest gradient; other measurements go by the whole state"
    if not circuit.angles:
        yield "nothing varies: every call after the first costs one run"
    if seconds["compile"] > 1 and seconds["run"] < 1:
        yield "call it inside jax.jit, so that what was compiled is kept with your own function"
    if expected and "gradient" in seconds and large and seconds["gradient"] > _SLOW * expected:
        yield "it runs far from this machine's rates: look for other work on its cores"
