"""Operations of other people's classes: a program rebuilds them from what they list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
import pennylane as qml
from pennylane.exceptions import DeviceError
from pennylane.operation import Operator
from pennylane.ops import CompositeOp
from pennylane.ops.op_math import SymbolicOp
from pennylane.queuing import QueuingManager

from varq.simulator.evolutions import is_followed
from varq.simulator.naming import is_native, name_of

__all__ = ["check_listed"]

_OWN = frozenset(
    {
        "_name",
        "_id",
        "_pauli_rep",
        "_num_params",
        "_wires",
        "_batch_size",
        "_ndim_params",
        "_hyperparameters",
        "data",
        "grad_recipe",
    }
)
"""Attributes that PennyLane gives to every operation."""


def check_listed(operations: Iterable[Operator]) -> None:
    """See that operations are what their data, wires and hyperparameters say.

    Raises:
        DeviceError: for one that is another when it is rebuilt from these, or cannot be rebuilt.
    """
    for op in operations:
        for part in _parts(op):
            if not is_native(part) and not name_of(part) and vars(part).keys() - _OWN:
                _check(part)


def _parts(op: Operator) -> Iterator[Operator]:
    """An operation and what it is made of."""
    yield op
    if isinstance(op, CompositeOp):
        for operand in op.operands:
            yield from _parts(operand)
    elif isinstance(op, SymbolicOp):
        yield from _parts(op.base)


def _check(op: Operator) -> None:
    leaves, structure = jax.tree_util.tree_flatten(op)
    try:
        with QueuingManager.stop_recording():
            again = jax.tree_util.tree_unflatten(structure, leaves)
    except TypeError as error:
        raise DeviceError(_message(op, "arguments of its constructor")) from error
    lost = [k for k, v in vars(op).items() if k not in _OWN and not _same(v, vars(again).get(k))]
    if lost and not _same_matrix(op, again):
        raise DeviceError(_message(op, f"the attributes {lost}"))


def _message(op: Operator, what: str) -> str:
    return (
        f"The operation {op.name} is rebuilt from its data, wires and hyperparameters. Got {what} beside them. Put it "
        "into self._hyperparameters under the name of the constructor's argument, or define _flatten and _unflatten."
    )


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(np.all(one == other))
    except Exception:  # anything may be an attribute; what cannot be compared is not the same
        return False


def _same_matrix(op: Operator, again: Operator) -> bool:
    """Whether both do the same nevertheless: an attribute may be no more than something remembered."""
    if not op.has_matrix or any(map(is_followed, op.data)):
        return False
    one, other = (np.asarray(qml.math.unwrap(x.matrix())) for x in (op, again))
    return one.shape == other.shape and bool(np.allclose(one, other))
