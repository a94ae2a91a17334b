"""The one entry to measured circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.exceptions import DeviceError
from pennylane.measurements import Shots
from pennylane.ops.mid_measure import MidMeasure
from pennylane.tape import QuantumScript

from varq.simulator.limits import check_columns, check_size, states_held
from varq.simulator.mappings import make_room
from varq.simulator.measured.branches import count_branches
from varq.simulator.measured.derivatives import Exact, evaluate_exactly
from varq.simulator.measured.exact import check_exact
from varq.simulator.measured.program import Program
from varq.simulator.measured.reading import read
from varq.simulator.measured.statistics import Plan
from varq.simulator.measured.trajectories import ATTEMPTS, columns_at_once, draw, held_amplitudes
from varq.simulator.precision import double, inside
from varq.simulator.scans import STORED
from varq.simulator.shifts import only_followed_outside

__all__ = ["MOST_BRANCHES", "Readout", "execute_measured", "flip_chances"]

MOST_BRANCHES = 2**10
"""How many branches an exact evaluation sums over unless told otherwise."""

Readout = float | Mapping[Any, Any] | None
_FEWER = (
    "Set shots by qml.set_shots, or use fewer measurements, which make fewer branches, fewer wires or "
    "precision='single'."
)
_MODES = (None, "hw-like", "fill-shots", "pad-invalid-samples")


def execute_measured(
    script: QuantumScript,
    wires: Sequence[Any],
    *,
    shots: Any = None,
    key: Any = None,
    postselect_mode: str | None = None,
    readout_error: Readout = None,
    max_branches: int = MOST_BRANCHES,
    stored_bytes: int = STORED,
    dtype: str = "float64",
) -> Any:
    """The results of a tape with mid-circuit measurements, as a PennyLane device returns them.

    Plain JAX: it may be jitted, and without shots differentiated in any mode.  It computes in its own precision,
    whatever JAX's x64 flag says; the caller casts the results.

    Args:
        script: operations with a matrix or a decomposition, `qml.measure` and `qml.cond`; parameters may be numbers,
            traced JAX values, and measured values.
        wires: labels of the register, most significant first.
        shots: None for exact results, a number, or PennyLane's `Shots` (also a shot vector).
        key: a JAX random key, or an integer seed; needed with shots.
        postselect_mode: what becomes of shots that fail postselection: "hw-like" (the default) drops them,
            "fill-shots" draws them again, up to `trajectories.ATTEMPTS` times, "pad-invalid-samples" keeps them in
            samples as `statistics.INVALID`.  Traced calls cannot drop samples and keep them likewise; nor can they
            raise: what no attempt filled stays invalid there, and statistics leave it out.
        readout_error: the probability that the outcome of `qml.measure` is recorded (and so fed forward) wrongly, for
            all wires; or a mapping from a wire's label to such a number, to a pair (0 recorded as 1, 1 recorded as 0),
            or to a 2x2 matrix whose entry [i, j] is the probability to record i where j was found.  The state is not
            affected.
        max_branches: how many branches of outcomes an exact evaluation may sum over.
        stored_bytes: of the states that a derivative may keep; beyond, they are computed anew, which takes those of
            about twice the square root of the steps.
        dtype: "float64" or "float32", of the amplitudes.

    Returns:
        For one terminal measurement its result; for several a tuple; for a shot vector a tuple of these.

    Raises:
        ValueError: for options that do not fit, for more branches than `max_branches`.
        DeviceError: for operations and measurements that measured circuits do not support, for more wires or branches
            than memory can hold, and for shots to be filled that postselection rejects in every attempt.
    """
    if postselect_mode not in _MODES:
        raise ValueError(f"`postselect_mode` must be one of {_MODES}. Got {postselect_mode!r}.")
    make_room()
    check_size(len(wires), dtype)
    shots = shots if isinstance(shots, Shots) else Shots(shots)
    flips = flip_chances(readout_error, list(wires))
    if not shots:
        return _exact(script, wires, flips, max_branches, stored_bytes, dtype)
    if key is None:
        raise ValueError("A measured circuit with shots needs `key`, a JAX random key or an integer seed. Got None.")
    with double():
        plan = Plan(script.measurements, wires)
        program, inputs = read(script, wires, plan.bases, exact=False, flips=flips)
        layout, known, traced = inputs.pack()
        how: dict[str, Any] = {"shots": shots.total_shots, "fill": postselect_mode == "fill-shots", "dtype": dtype}
        most = states_held(len(wires), dtype)
        how["size"] = columns_at_once(program, shots.total_shots, held_amplitudes(jax.default_backend()), most)
        slots = {op.meas_uid: k for k, op in enumerate(_measures(script))}
        sure = all(m.postselect is None for m in program.measurements())
        bins, pad = list(shots.bins()), postselect_mode == "pad-invalid-samples"

        def results_of(traced: Any, key: Any) -> list[Any]:
            drawn = draw(program, layout, known, traced, key, **how)
            if how["fill"] and not sure:
                _check_filled(drawn.valid)
            found: list[Any] = plan.read(drawn, slots, bins, pad, sure)
            return found

        results = inside(results_of, only_followed_outside(traced), _random(key))
        return tuple(results) if shots.has_partitioned_shots else results[0]


def _check_filled(valid: Any) -> None:
    """Raise where shots stayed invalid; a traced call cannot know."""
    if isinstance(valid, jax.core.Tracer) or np.all(valid):
        return
    raise DeviceError(
        f"postselect_mode='fill-shots' draws a shot up to {ATTEMPTS} times until postselection accepts it. Got "
        f"{np.sum(valid)} of {np.size(valid)} shots. Postselect outcomes that are likelier, or take "
        "postselect_mode='hw-like', which leaves out what is rejected."
    )


def _random(key: Any) -> Any:
    """A JAX key; for an integer the one that jax.random.key makes of it, without 64-bit arithmetic under a jit."""
    if not isinstance(key, int | np.integer):
        return key
    words: Any = np.array([int(key) >> 32 & 0xFFFFFFFF, int(key) & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _measures(script: QuantumScript) -> list[Any]:
    return [op for op in script.operations if isinstance(op, MidMeasure)]


def _exact(script: QuantumScript, wires: Sequence[Any], flips: Any, most: int, stored: int, dtype: str) -> Any:
    with double():
        program, inputs = read(script, wires, (), exact=True, flips=flips)
    branches = count_branches(program)
    _check_branches(program, branches, most)
    check_columns(len(wires), dtype, branches, "branch of outcomes", _FEWER)
    check_exact(script.measurements, branches)
    results = evaluate_exactly(Exact(program, tuple(wires), dtype, stored), inputs)
    return results[0] if len(results) == 1 else tuple(results)


def _check_branches(program: Program, branches: int, most: int) -> None:
    if branches > most:
        raise ValueError(
            f"Without shots, the outcomes of {program.slots} measurements make {branches} branches, more than "
            f"max_branches={most}. Set shots by qml.set_shots, or give the device a larger max_branches."
        )


def flip_chances(readout: Readout, wires: list[Any]) -> Any:
    """The probabilities that 0 is recorded as 1 and 1 as 0, shape (wires, 2); None for no error.

    Args:
        readout: as `execute_measured` takes it.
        wires: labels of the register.

    Raises:
        ValueError: for what is no probability, and for wires that the register does not have.
    """
    if readout is None or (isinstance(readout, int | float) and readout == 0):
        return None
    if not isinstance(readout, Mapping):
        rows = [_pair(readout, "all wires")] * len(wires)
    else:
        unknown = [w for w in readout if w not in wires]
        if unknown:
            raise ValueError(f"`readout_error` names wires that the circuit does not have: {unknown}. It has {wires}.")
        rows = [_pair(readout[w], w) if w in readout else (0.0, 0.0) for w in wires]
    if any(isinstance(p, jax.core.Tracer) for row in rows for p in row):
        return jnp.stack([jnp.stack([jnp.asarray(p, float) for p in row]) for row in rows])
    return np.array(rows, float)


def _pair(given: Any, wire: Any) -> tuple[Any, Any]:
    """(0 recorded as 1, 1 recorded as 0)."""
    shape = np.shape(given)
    pair = (given, given) if shape == () else (given[0], given[1]) if shape == (2,) else None
    if shape == (2, 2):
        pair = (given[1][0], given[0][1])
        columns = np.asarray(given).sum(axis=0) if not isinstance(given, jax.core.Tracer) else np.ones(2)
        if not np.allclose(columns, 1):
            raise ValueError(
                f"`readout_error` of {wire!r}: the columns of a confusion matrix must add up to 1. Got {given}."
            )
    if pair is None:
        raise ValueError(f"`readout_error` of {wire!r} must be a number, a pair or a 2x2 matrix. Got shape {shape}.")
    if any(not isinstance(p, jax.core.Tracer) and not 0 <= p <= 1 for p in pair):
        raise ValueError(f"`readout_error` of {wire!r} must be a probability between 0 and 1. Got {given}.")
    return pair
