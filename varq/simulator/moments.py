"""Mean and variance of observables made of others, by what they do to the state: no eigenvectors are needed.

PennyLane turns the state into their eigenbasis, whose derivatives do not exist where eigenvalues meet, and which it
cannot find where numbers of NumPy stand beside traced ones.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from pennylane.measurements import ExpectationMP, MeasurementProcess, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import CompositeOp, Prod, SProd, Sum

__all__ = ["moment"]

_MOST_WIRES = 4
"""Factors on more wires are left to PennyLane, which need not make their matrices."""


def moment(measurement: MeasurementProcess, state: Any) -> Any:
    """The mean or variance of a sum, product or multiple of observables; None for any other measurement.

    Args:
        measurement: on wires 0, 1, ...; its observable may hold traced numbers, and is Hermitian.
        state: of shape (2, 2, ..., 2).
    """
    obs = measurement.obs
    if not isinstance(measurement, (ExpectationMP, VarianceMP)) or not isinstance(obs, (CompositeOp, SProd)):
        return None
    if not _narrow(obs):
        return None
    turned = _applied(obs, state)
    mean = jnp.real(jnp.vdot(state, turned))
    return mean if isinstance(measurement, ExpectationMP) else jnp.real(jnp.vdot(turned, turned)) - mean**2


def _narrow(op: Operator) -> bool:
    """Whether an observable is made of factors with small matrices."""
    if isinstance(op, (Sum, Prod)):
        return all(map(_narrow, op.operands))
    if isinstance(op, SProd):
        return _narrow(op.base)
    return bool(op.has_matrix) and len(op.wires) <= _MOST_WIRES


def _applied(op: Operator, state: Any) -> Any:
    """What an observable makes of a state."""
    if isinstance(op, Sum):
        return sum(_applied(term, state) for term in op.operands)
    if isinstance(op, Prod):
        for factor in reversed(op.operands):
            state = _applied(factor, state)
        return state
    if isinstance(op, SProd):
        return jnp.asarray(op.scalar, state.dtype) * _applied(op.base, state)
    count = len(op.wires)
    matrix = jnp.asarray(op.matrix(), state.dtype).reshape((2,) * (2 * count))
    turned = jnp.tensordot(matrix, state, axes=(tuple(range(count, 2 * count)), tuple(op.wires)))
    return jnp.moveaxis(turned, tuple(range(count)), tuple(op.wires))
