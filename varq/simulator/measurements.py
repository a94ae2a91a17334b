"""Results of one circuit without a batch axis, as plain JAX: exact ones, and samples.

Expectation values of Pauli sums go by the compiled rule of `execution`; everything else is measured on the final state
by PennyLane's own code, which JAX traces, but for shadows, which have a file of their own.  Counts leave the program as
raw samples, since strings are their keys, and are made of them outside (`finish`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.devices.qubit.measure import measure
from pennylane.devices.qubit.sampling import measure_with_samples
from pennylane.exceptions import DeviceError
from pennylane.measurements import (
    ClassicalShadowMP,
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    SampleMP,
    ShadowExpvalMP,
)
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from varq.simulator import execution, shadows
from varq.simulator.circuit import Circuit, Numbers
from varq.simulator.lowering import lower
from varq.simulator.moments import moment
from varq.simulator.observables import PauliSum, WordSum, pauli_sum, word_sum
from varq.simulator.paths import Options
from varq.simulator.shadows import SHADOWS

__all__ = [
    "NO_TRACED_COUNTS",
    "Plan",
    "RawSamples",
    "alone",
    "exact",
    "finish",
    "is_pauli",
    "on_state",
    "plan",
    "sampled",
    "traceable",
]

NO_TRACED_COUNTS = (
    "qml.counts under jax.jit cannot know which outcomes will occur. Ask for qml.counts(..., all_outcomes=True), or "
    "for qml.sample."
)
"""What is said of counts whose keys only samples at hand can give."""


class RawSamples(SampleMP):  # type: ignore[misc]
    """The bits of all wires after the diagonalizing gates of a measurement, which are counted later."""

    def process_samples(self, samples: Any, wire_order: Any, shot_range: Any = None, bin_size: Any = None) -> Any:
        """The samples as they are, shape (shots, wires)."""
        return samples


def traceable(tape: QuantumScript) -> list[MeasurementProcess]:
    """What is measured within the compiled program in place of a tape's measurements.

    Counts become raw samples; shadows lose their seed, which enters at run time as their recipes.  Where nobody wants
    derivatives by its coefficients, a sum of Pauli words becomes one with a single vector of them.
    """
    angles = sum(len(op.data) for op in tape.operations)
    together = not tape.shots and not _projected(tape) and all(k < angles for k in tape.trainable_params)
    return [_traceable(m, together) for m in tape.measurements]


def _traceable(measurement: MeasurementProcess, together: bool) -> MeasurementProcess:
    if together and isinstance(measurement, ExpectationMP) and measurement.obs is not None:
        found = word_sum(measurement.obs)
        return measurement if found is None else ExpectationMP(found)
    if isinstance(measurement, CountsMP):
        if measurement.obs is not None:
            return RawSamples(obs=measurement.obs)
        return RawSamples(wires=measurement.wires, eigvals=measurement._eigvals)
    if isinstance(measurement, ClassicalShadowMP):
        return ClassicalShadowMP(wires=measurement.wires, seed=0)
    if isinstance(measurement, ShadowExpvalMP):
        return ShadowExpvalMP(measurement.H, seed=0, k=measurement.k)
    return measurement


def is_pauli(measurement: MeasurementProcess) -> bool:
    """Whether this is an expectation value of a Pauli sum with coefficients known to be real."""
    if not isinstance(measurement, ExpectationMP) or measurement.obs is None:
        return False
    if isinstance(measurement.obs, WordSum):
        return True
    sentence = measurement.obs.pauli_rep
    return sentence is not None and len(sentence) > 0 and not any(_complex(c) for c in sentence.values())


def _complex(value: Any) -> bool:
    if isinstance(value, jax.core.Tracer):
        return bool(jnp.issubdtype(value.dtype, jnp.complexfloating))
    return bool(np.iscomplexobj(value) and np.any(np.imag(value) != 0))


class Plan(NamedTuple):
    """What of a tape is static once it is lowered.

    Args:
        circuit: its operations.
        sums: the Pauli sums whose expectation values are wanted.
        fast: which measurements these are.
        rest: which measurements are made on the state.
    """

    circuit: Circuit
    sums: tuple[PauliSum, ...]
    fast: tuple[int, ...]
    rest: tuple[int, ...]


def plan(tape: QuantumScript, trusted: bool = False) -> tuple[Plan, tuple[Numbers, tuple[Any, ...]]]:
    """A tape's plan, and its run-time inputs: the circuit's numbers and the coefficients of each sum.

    Args:
        tape: on wires 0, 1, ..., without a batch axis; parameters may be traced.
        trusted: whether the tape's matrices are known to be unitary.
    """
    wires = range(tape.num_wires)
    circuit, numbers = lower(tape, wires, trusted)
    whole = not _projected(tape)
    fast = tuple(k for k, m in enumerate(tape.measurements) if whole and is_pauli(m))
    rest = tuple(k for k in range(len(tape.measurements)) if k not in fast)
    pairs = [pauli_sum(tape.measurements[k].obs, wires) for k in fast]
    found = Plan(circuit, tuple(p[0] for p in pairs), fast, rest)
    return found, (numbers, tuple(p[1] for p in pairs))


def exact(made: Plan, inputs: tuple[Numbers, tuple[Any, ...]], on_state: Any, options: Options) -> tuple[Any, ...]:
    """The exact results of a tape, one for each measurement.

    Args:
        made: its plan.
        inputs: its run-time inputs.
        on_state: gives the results of `made.rest` for the final state.
        options: how to run.
    """
    numbers, coefficients = inputs
    results: dict[int, Any] = {}
    if made.fast:
        values = execution.expectations(made.circuit, numbers, made.sums, coefficients, options)
        results.update(zip(made.fast, values, strict=True))
    if made.rest:
        state = execution.state(made.circuit, numbers, options)
        results.update(zip(made.rest, on_state(state), strict=True))
    return tuple(results[k] for k in range(len(results)))


def on_state(tape: QuantumScript, chosen: Sequence[int], state: Any) -> tuple[Any, ...]:
    """Chosen measurements of a tape on its final state of shape (2**wires,)."""
    whole = state.reshape((2,) * tape.num_wires)
    if _projected(tape):
        whole = whole / jnp.linalg.norm(state)
    return tuple(_on_state(tape.measurements[k], whole) for k in chosen)


def _projected(tape: QuantumScript) -> bool:
    """Whether the state lost norm: a projector is what `qml.defer_measurements` makes of postselection."""
    return any(isinstance(op, qml.Projector) for op in tape.operations)


def _on_state(measurement: MeasurementProcess, state: Any) -> Any:
    if isinstance(measurement, ExpectationMP) and isinstance(measurement.obs, qml.SparseHamiltonian):
        return _sparse(measurement.obs, state)
    found = moment(measurement, state)
    return measure(measurement, state) if found is None else found


def _sparse(observable: Any, state: Any) -> Any:
    """<H> by the nonzero entries of H; PennyLane's own way leaves JAX."""
    entries = observable.sparse_matrix(wire_order=range(state.ndim)).tocoo()
    ket = jnp.ravel(state)
    products = jnp.asarray(entries.data, ket.dtype) * jnp.conj(ket[entries.row]) * ket[entries.col]
    return jnp.real(jnp.sum(products))


def sampled(tape: QuantumScript, state: Any, key: Any, recipes: Sequence[Any]) -> Any:
    """The sampled results of a tape: one for each measurement, and with a shot vector a tuple of these for each entry.

    Args:
        tape: with finite shots, on wires 0, 1, ..., without a batch axis.
        state: its final state, shape (2**wires,).
        key: a typed JAX key.
        recipes: of each shadow among the measurements, in order, shape (shots in all, wires of the shadow); None for
            one whose recipes come from the key.
    """
    state = state.reshape((2,) * tape.num_wires)
    state = state / jnp.linalg.norm(jnp.ravel(state))  # rounding
    results: list[Any] = [None] * len(tape.measurements)
    waiting = list(recipes)
    plain = []
    for place, measurement in enumerate(tape.measurements):
        if isinstance(measurement, SHADOWS):
            key, own = jax.random.split(key)
            results[place] = shadows.measure(measurement, state, waiting.pop(0), tape.shots, own)
        elif _is_sum(measurement):
            key, own = jax.random.split(key)
            results[place] = _sampled_sum(measurement.obs.pauli_rep, state, tape.shots, own)
        else:
            plain.append(place)
    if plain:
        found = _by_measurement([tape.measurements[p] for p in plain], state, tape.shots, key)
        for place, result in zip(plain, found, strict=True):
            results[place] = result
    return tuple(zip(*results, strict=True)) if tape.shots.has_partitioned_shots else tuple(results)


def _by_measurement(wanted: list[MeasurementProcess], state: Any, shots: Any, key: Any) -> tuple[Any, ...]:
    """Samples by PennyLane's code; for each measurement its result, or with a shot vector a tuple of results."""
    found = measure_with_samples(wanted, state, shots, prng_key=key)
    return tuple(zip(*found, strict=True)) if shots.has_partitioned_shots else tuple(found)


def _is_sum(measurement: MeasurementProcess) -> bool:
    """Whether this is the mean of a sum of Pauli words."""
    if not is_pauli(measurement):
        return False
    sentence = measurement.obs.pauli_rep
    return len(sentence) > 1 or any(isinstance(c, jax.core.Tracer) for c in sentence.values())


def _sampled_sum(sentence: Any, state: Any, shots: Any, key: Any) -> Any:
    """The mean of a sum of words, each measured in groups that need one setting; coefficients may be traced."""
    parts = len(list(shots.bins())) if shots.has_partitioned_shots else 1
    words = [word for word in sentence if len(word)]
    totals = [sum((c for word, c in sentence.items() if not len(word)), 0.0)] * parts
    if words:
        measured = [ExpectationMP(word.operation()) for word in words]
        for word, means in zip(words, _by_measurement(measured, state, shots, key), strict=True):
            each = means if shots.has_partitioned_shots else (means,)
            totals = [t + sentence[word] * m for t, m in zip(totals, each, strict=True)]
    totals = [jnp.asarray(t) for t in totals]
    return tuple(totals) if shots.has_partitioned_shots else totals[0]


def alone(results: Sequence[Any]) -> Any:
    """PennyLane's convention: what is alone stands without a tuple."""
    return results[0] if len(results) == 1 else tuple(results)


def finish(measurement: MeasurementProcess, result: Any, wires: Wires) -> Any:
    """What `traceable` put off: counts of raw samples of shape (shots, wires) or (batch, shots, wires).

    Raises:
        DeviceError: where JAX traces them and not all outcomes are wanted, which ones occur being unknown.
    """
    if not isinstance(measurement, CountsMP):
        return result
    if not isinstance(result, jax.core.Tracer):
        return measurement.process_samples(np.asarray(result), wires)
    if not measurement.all_outcomes:
        raise DeviceError(NO_TRACED_COUNTS)
    tally = partial(_tally, measurement, [wires.index(w) for w in measurement.wires or wires])
    return tally(result) if result.ndim == 2 else [tally(one) for one in result]


def _tally(measurement: CountsMP, columns: list[int], samples: Any) -> dict[Any, Any]:
    """How often each outcome occurs, by PennyLane's names for them, in ascending order."""
    powers = 1 << np.arange(len(columns))[::-1]
    index = samples[:, np.array(columns)].astype(int) @ powers
    if measurement.obs is None and measurement._eigvals is None:
        names: list[Any] = [f"{k:0{len(columns)}b}" for k in range(2 ** len(columns))]
    else:
        levels, level = np.unique(np.asarray(qml.math.unwrap(measurement.eigvals())), return_inverse=True)
        names, index = [float(x) for x in levels], jnp.asarray(level)[index]
    return dict(zip(names, jnp.bincount(index, length=len(names)), strict=True))
