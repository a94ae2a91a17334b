"""How likely recorded outcomes are, as a function of a circuit's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from varq.simulator.limits import check_columns, check_size
from varq.simulator.measured.derivatives import evaluate_exactly
from varq.simulator.measured.reading import read
from varq.simulator.measured.records import Recorded
from varq.simulator.precision import double

__all__ = ["log_likelihood"]


def log_likelihood(qnode: Any) -> Callable[..., Any]:
    """A function of recorded outcomes and the QNode's arguments: the logarithm of the probability of each record.

    Where branches are too many to be summed, the gradient of a mean over outcomes comes from records that were drawn:
    d E[r] = E[r d log p], the score-function estimator (REINFORCE; Williams, Machine Learning 8, 229 (1992)).  It is
    unbiased, and so it stays when a constant is subtracted from r, which lessens its variance.  The same logarithm fits
    parameters to the records of an experiment.  A record takes the time of one trajectory, and derivatives go through
    angles, conditions and whatever functions of outcomes use.

    Args:
        qnode: a QNode with measurements within its circuit; its terminal measurements and its device are not used.

    Returns:
        A function of `outcomes`, integers 0 or 1 of shape (records, measurements), in the order of the calls of
        qml.measure, and then of what the QNode takes.  It gives real numbers of shape (records,), minus infinity for
        what cannot happen.  It may be jitted and differentiated by JAX in any mode by the QNode's arguments.

    Raises:
        ValueError: if outcomes have another shape or other values, if the circuit postselects, or if the QNode's
            transforms make several circuits.
        DeviceError: for more wires or records than memory can hold.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, pennylane as qml
        >>> @qml.qnode(qml.device("varq.qubit", wires=1, seed=3))
        ... def circuit(angle):
        ...     qml.RY(angle, 0)
        ...     first = qml.measure(0, reset=True)
        ...     qml.RY(outcome(lambda bit: angle * (1 + bit), first), 0)
        ...     return qml.sample([first, qml.measure(0)])
        >>> from varq.simulator import outcome  # which the circuit uses
        >>> drawn = qml.set_shots(circuit, 1000)(0.8)
        >>> def surrogate(angle):  # its gradient estimates that of the mean of both outcomes' product
        ...     return jnp.mean(drawn[:, 0] * drawn[:, 1] * log_likelihood(circuit)(drawn, angle))
        >>> slope = np.sin(0.8) * np.sin(0.8) ** 2 / 2 + np.sin(0.4) ** 2 * np.sin(1.6)
        >>> bool(abs(jax.grad(surrogate)(0.8) - slope) < 0.2)
        True
    """

    def function(outcomes: Any, *args: Any, **kwargs: Any) -> Any:
        tapes, _ = qml.workflow.construct_batch(qnode, level="user")(*args, **kwargs)
        if len(tapes) != 1:
            raise ValueError(
                f"log_likelihood takes one circuit. Got a QNode whose transforms make {len(tapes)}. "
                "Leave out the transforms that split it."
            )
        return _of_tape(tapes[0], outcomes)

    return function


def _of_tape(tape: QuantumScript, outcomes: Any) -> Any:
    wires = list(tape.wires)
    check_size(len(wires), "float64")
    with double():
        program, inputs = read(tape, wires, (), exact=False)
    forms = program.measurements()
    if any(form.postselect is not None for form in forms):
        raise ValueError(
            "log_likelihood takes circuits that keep all outcomes. Got a postselection. Leave it out, and keep the "
            "records that have its outcome."
        )
    rows = _checked(outcomes, len(forms))
    check_columns(len(wires), "float64", rows.shape[1], "record", "Use fewer records at once, or fewer wires.")
    record = inputs.array(rows)
    return evaluate_exactly(Recorded(program, tuple(wires), "float64", record=record.index), inputs)[0]


def _checked(outcomes: Any, count: int) -> Any:
    """Outcomes as the program holds them, shape (measurements, records)."""
    if np.ndim(outcomes) != 2 or np.shape(outcomes)[1] != count:
        raise ValueError(
            f"`outcomes` must have shape (records, {count}), a column for each qml.measure. Got {np.shape(outcomes)}."
        )
    if isinstance(outcomes, jax.core.Tracer):
        return jnp.asarray(outcomes, np.int8).T
    known = np.asarray(outcomes)
    if not np.isin(known, (0, 1)).all():
        raise ValueError(f"`outcomes` must be 0 or 1. Got {np.unique(known)[:5].tolist()}.")
    return known.astype(np.int8).T
