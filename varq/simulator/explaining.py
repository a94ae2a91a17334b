"""What the device does with a circuit: which path, why, how large, how long, and what would make it faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.math import Interface
from pennylane.measurements import CountsMP
from pennylane.ops import MeasurementValue
from pennylane.tape import QuantumScript

from varq.simulator import execution, measurements, roofline
from varq.simulator.binding import bound
from varq.simulator.circuit import Circuit
from varq.simulator.device import VarqQubit
from varq.simulator.explanation import GRADIENT, Explanation, Part
from varq.simulator.measured.sizes import Sizes, sizes
from varq.simulator.midcircuit import run_measured, without_idle
from varq.simulator.paths import Options, engine
from varq.simulator.precision import double
from varq.simulator.preprocessing import is_measured
from varq.simulator.programs import Taken, take_apart
from varq.simulator.shadows import SHADOWS, draw_recipes
from varq.simulator.timing import timed

__all__ = ["explain"]

_LARGE = 1 << 18  # amplitudes from which single precision and stored states matter
_REACHED = {"layers": 5, "alternating": 5, "sector": 16}
"""Times its bound that a large gradient takes on each path, at most, as benchmarks/simulator.py measured."""
_SLOW = 2  # times that from which a run is worth a remark
_PHASES = 3  # turns of a cost from which one angle for all of them pays
_MANY = 64  # branches from which shots are worth a remark
_FEWEST = 3  # rounds that could be a loop
_OF_EACH = (
    *("state_bytes", "stored_bytes", "held_bytes"),
    *("bytes_per_gradient", "operations_per_gradient", "bytes_per_run", "operations_per_run"),
)
_WORDS: Any = np.zeros(2, np.uint32)  # of the key that runs with shots are timed with


def explain(qnode: Any) -> Callable[..., Explanation]:
    """A function of the QNode's arguments that prints what `varq.qubit` does with the circuit, and returns it.

    It compiles and runs what the QNode measures, and a value and gradient where everything measured is an expectation
    value of Pauli words; the seconds are those of this call.  A program that is in the compile cache on disk is read
    from there, which the count of hits says.  The expected milliseconds are for what "work" of a part names (of values
    and shots alone: for the final state, read once), and are left out where that is not run.  A batch is run at once:
    its size is among the facts, and bytes are those of all its elements.  A measured circuit with more branches than
    the device may sum is explained, but not run.  The device's random numbers stay where they are.

    Args:
        qnode: a QNode on `varq.qubit`.

    Raises:
        ValueError: if the QNode's device is another one.
        DeviceError: for circuits that the device refuses.

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
        config = qml.workflow.construct_execution_config(qnode, resolve=True)(*args, **kwargs)
        found = Explanation(tuple(_part(tape, device, config) for tape in tapes))
        print(found)
        return found

    return explained


def _part(tape: QuantumScript, device: VarqQubit, config: ExecutionConfig) -> Part:
    options = device.options(config.device_options)
    if is_measured(tape):
        return _measured(tape, config, options, device.measured_options(config))
    parts = take_apart(tape, options)
    one = tape if tape.batch_size is None else qml.transforms.broadcast_expand(tape)[0][0]
    made, _ = measurements.plan(one.map_to_standard_wires(), parts.program.trusted)
    sums = () if tape.shots else made.sums  # samples are taken from the state
    chosen, _ = execution.chosen(made.circuit, sums, options)
    why, facts = chosen.why, _of_batch(execution.facts(made.circuit, sums, options), tape.batch_size)
    if chosen is not engine(made.circuit, options):
        why += "; the circuit conserves particles, but the tables of an observable in their sector would be too large"
    seconds, hits = _timed_shots(tape, parts) if tape.shots else _timed(tape, parts, not made.rest)
    work = GRADIENT if "gradient" in seconds else "all shots" if tape.shots else "a value"
    # Of a circuit that cannot run backwards JAX stores states, which no count here knows.
    known = work != GRADIENT or made.circuit.unitary
    expected = _bound(facts, options, "gradient" if work == GRADIENT else "run") if known else None
    hints = tuple(_hints(made.circuit, chosen.path, facts, options, seconds, expected, bool(tape.shots or made.rest)))
    return Part(chosen.path, why, facts, seconds, expected, hits, hints, work)


def _of_batch(facts: dict[str, Any], size: int | None) -> dict[str, Any]:
    """The facts of one element as those of a batch, which is run at once: each has a state and work of its own."""
    if size is None:
        return dict(facts)
    totals = {name: size * facts[name] for name in _OF_EACH if name in facts}
    return {**facts, **totals, "batch": size, "columns": size}


def _timed(tape: QuantumScript, parts: Taken, by_sums: bool) -> tuple[dict[str, float], int]:
    """Of exact results, and (if `by_sums`) of their sum with its slopes by the real numbers of the gates."""
    program, numbers = parts.program, list(parts.numbers)
    gates = parts.places[: sum(len(op.data) for op in tape.operations)]
    vary = sorted({k for k in gates if k is not None and _is_real(numbers[k])})

    def whole(moved: Any) -> Any:
        given = list(numbers)
        for place, number in zip(vary, moved, strict=True):
            given[place] = number
        return program.exact(given)

    def total(moved: Any) -> Any:
        return sum(jax.numpy.sum(found) for found in whole(moved))

    with double():
        numbers = [n if isinstance(n, jax.Array) else jax.numpy.asarray(np.asarray(n)) for n in numbers]
        slopes = {"gradient": jax.value_and_grad(total)} if by_sums and vary else {}
        return timed({"run": whole, **slopes}, [numbers[k] for k in vary])


def _timed_shots(tape: QuantumScript, parts: Taken) -> tuple[dict[str, float], int]:
    """Of samples of the final state."""
    program, numbers, _ = parts
    recipes = [draw_recipes(m, tape.shots.total_shots) for m in tape.measurements if isinstance(m, SHADOWS)]
    with double():
        return timed({"run": lambda n, words: program.sampled(n, (words, 0), recipes)}, numbers, _WORDS)


def _bound(facts: dict[str, Any], options: Options, work: str) -> float | None:
    """Seconds at this machine's rates, where the bytes are known."""
    moved = facts.get(f"bytes_per_{work}")
    if moved is None:
        return None
    held = facts.get("columns", 1) * facts["amplitudes"] * 2 * np.dtype(options.dtype).itemsize
    return roofline.measured(held, options.dtype).seconds(moved, facts.get(f"operations_per_{work}", 0.0))


def _hints(
    circuit: Circuit,
    path: str,
    facts: dict[str, Any],
    options: Options,
    seconds: dict[str, float],
    expected: float | None,
    by_state: bool,
) -> Iterator[str]:
    """What would make it faster."""
    if path == "general":
        yield (
            "repeat the same gates on the same wires in three layers or more: then one layer is compiled and looped "
            "over; one or two are, where they are a few merged steps, written out"
        )
        if why := facts.get("not sector"):
            yield f"the sector path was not open: {why[0].lower()}{why[1:]}"
    if (turns := facts.get("cost_angles", 0)) >= _PHASES:
        yield (
            f"the {turns} phases of a layer go by numbers of their own: if they are one angle times weights, make one "
            "object of equal ones, or use qml.qaoa.cost_layer or qml.evolve with the whole cost: its diagonal is then "
            "computed once (the alternating path)"
        )
    large = facts.get("columns", 1) * facts["amplitudes"] >= _LARGE
    if large and options.dtype == "float64":
        yield "precision='single' halves the bytes, where 1e-5 is enough"
    # Of some layers no state is stored, however many bytes there are.
    could = path in ("layers", "alternating") and facts["could_store"]
    if large and could and not facts["stored_bytes"]:
        yield f"stored_bytes above {options.stored_bytes:,} would spare the gradient from undoing each layer"
    if by_state:
        yield "expectation values of Pauli sums have the fastest gradient; other measurements go by the whole state"
    if not circuit.angles and not circuit.arrays:
        yield "nothing varies: every call after the first costs one run"
    yield from _compiling(seconds)
    reached = _REACHED.get(path)
    if expected and reached and "gradient" in seconds and large and seconds["gradient"] > _SLOW * reached * expected:
        yield (
            f"a gradient takes {seconds['gradient'] / expected:.0f} times the expected time, where this path is known "
            f"to take up to {reached} times: look for other work on its cores"
        )


def _compiling(seconds: dict[str, float]) -> Iterator[str]:
    if seconds and seconds["compile"] > 1 and seconds["run"] < 1:
        yield "call it inside jax.jit, so that what was compiled is kept with your own function"


def _measured(tape: QuantumScript, config: ExecutionConfig, options: Options, own: dict[str, Any]) -> Part:
    """Of a circuit that measures before its end."""
    own = {**own, "readout_error": without_idle(own["readout_error"], tape)}
    found = sizes(tape, list(tape.wires), dtype=options.dtype, **own)
    seconds: dict[str, float] = {}
    hits, expected = 0, None
    if not found.too_many:
        seconds, hits = _timed_measured(tape, config, options, own)
        expected = _bound(found.facts, options, "run")
    noisy = own["readout_error"] is not None
    hints = tuple(_measured_hints(found, options, noisy, seconds))
    work = "all shots" if tape.shots else "a value"
    return Part("measured", _why(found, noisy), found.facts, seconds, expected, hits, hints, work)


def _why(found: Sizes, noisy: bool) -> str:
    said = ["it measures in its middle"]
    if found.too_many:
        said.append(f"it has more branches of outcomes than max_branches={found.most:,}, so that it is refused")
    elif "branches" in found.facts:
        said.append("every branch of outcomes is summed")
    else:
        said.append(f"{found.facts['trajectories']:,} trajectories are drawn")
    if found.looped:
        said += [f"{count} rounds of {steps} steps are one loop" for count, steps in found.rounds]
    if noisy:
        said.append("outcomes are recorded with a readout error")
    return "; ".join(said)


def _timed_measured(
    tape: QuantumScript, config: ExecutionConfig, options: Options, own: dict[str, Any]
) -> tuple[dict[str, float], int]:
    """Of a measured circuit as JAX's users run it."""
    with qml.QueuingManager.stop_recording():
        tape = tape.copy(measurements=[_without_strings(m) for m in tape.measurements])
    parameters = tape.get_parameters(trainable_only=False)
    given = [k for k, p in enumerate(parameters) if not isinstance(p, MeasurementValue) and _is_real(p)]
    asked = replace(config, interface=Interface.JAX, gradient_method="backprop")

    def run(numbers: Any, words: Any) -> Any:
        with qml.QueuingManager.stop_recording():
            other = bound(tape, numbers, given)
        return run_measured(other, asked, (words, 0), options.dtype, **own)

    def value(numbers: Any, words: Any) -> Any:
        return sum(jax.numpy.sum(jax.numpy.real(leaf)) for leaf in jax.tree.leaves(run(numbers, words)))

    with double():
        numbers = [jax.numpy.asarray(parameters[k], options.dtype) for k in given]
        slopes = {"gradient": jax.value_and_grad(value)} if given and not tape.shots else {}
        return timed({"run": run, **slopes}, numbers, _WORDS)


def _is_real(value: Any) -> bool:
    """Whether this is a floating number, or an array of such."""
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "O") == "f"


def _without_strings(measurement: Any) -> Any:
    """Samples for counts, whose keys are strings: they are counted on the host."""
    if not isinstance(measurement, CountsMP):
        return measurement
    if measurement.mv is not None:
        return qml.sample(measurement.mv)
    return qml.sample(measurement.obs) if measurement.obs is not None else qml.sample(wires=measurement.wires)


def _measured_hints(found: Sizes, options: Options, noisy: bool, seconds: dict[str, float]) -> Iterator[str]:
    facts = found.facts
    count, branches = facts["measurements"], facts.get("branches", 0)
    if found.too_many:
        yield f"give the device max_branches={branches:,}, or set shots by qml.set_shots: then it runs"
    elif branches >= _MANY:
        yield (
            f"{count} measurements make {branches:,} branches, each a state of its own: with shots (qml.set_shots) "
            "there are as many states as shots, however many measurements"
        )
    if branches and noisy:
        yield "a readout error makes two records of each outcome, which doubles the branches once more"
    if branches:
        for rounds, steps in found.rounds:
            yield (
                f"{rounds} rounds of {steps} steps repeat, but stand one after the other, as the branches grow from "
                "round to round: with shots they are one loop"
            )
    elif not found.rounds and count >= _FEWEST:
        yield (
            "no three equal rounds follow each other: with the same gates on the same wires in each, one would be "
            "compiled and looped over (angles may differ)"
        )
    if found.again:
        yield "what postselection rejects is drawn again until it is accepted: postselect_mode='hw-like' drops it"
    if facts["columns"] * facts["amplitudes"] >= _LARGE and options.dtype == "float64":
        yield "precision='single' halves the bytes, where 1e-5 is enough"
    yield from _compiling(seconds)
