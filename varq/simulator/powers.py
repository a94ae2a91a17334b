"""Powers of operations: PennyLane's matrices of those that are no integers cannot be traced by JAX."""

from __future__ import annotations

from typing import Any

import jax
import pennylane as qml
from autograd.tracer import isbox
from pennylane.exceptions import DeviceError
from pennylane.operation import Operator
from pennylane.ops import Adjoint, CompositeOp, Conditional, Controlled, Pow, Prod
from pennylane.ops.op_math import SymbolicOp

__all__ = ["written_out"]


def written_out(op: Operator, within: bool = False) -> Operator:
    """An operation without powers that only a matrix could tell, itself if it has none.

    Args:
        op: any operation.
        within: whether it is part of another one, whose matrix is made of its matrix.

    Raises:
        DeviceError: if such a power has parameters that are traced or differentiated.

    Example:
        >>> import pennylane as qml
        >>> written_out(qml.pow(qml.S(0), 2.0))
        S(0)**2
        >>> written_out(qml.ctrl(qml.pow(qml.RX(0.4, 0), 0.5), 1))
        CRX(0.2, wires=[1, 0])
    """
    if not isinstance(op, (SymbolicOp, CompositeOp, Conditional)):
        return op
    if isinstance(op, Pow):
        return _power(op, within)
    if isinstance(op, Prod):
        factors = [written_out(factor, True) for factor in op.operands]
        changed = any(new is not old for new, old in zip(factors, op.operands, strict=True))
        return qml.prod(*factors) if changed else op
    if not isinstance(op, (Adjoint, Controlled, Conditional)):
        return op
    base = written_out(op.base, within or not isinstance(op, Conditional))
    return op if base is op.base else _around(op, base)


def _around(op: Operator, base: Operator) -> Operator:
    if isinstance(op, Adjoint):
        return qml.adjoint(base)
    if isinstance(op, Conditional):
        return Conditional(op.meas_val, base)
    return qml.ctrl(base, op.control_wires, control_values=op.control_values, work_wires=op.work_wires)


def _power(op: Pow, within: bool) -> Operator:
    z = op.z
    if isinstance(z, (int, jax.core.Tracer)) or isbox(z) or qml.math.ndim(z) or qml.math.imag(z):
        return op
    if float(z).is_integer():
        return written_out(Pow(op.base, int(z)), within)
    if op.has_decomposition:
        if not within:
            return op
        parts = op.decomposition()
        return parts[0] if len(parts) == 1 else qml.prod(*reversed(parts))
    return qml.QubitUnitary(_matrix(op), wires=op.wires, unitary_check=False) if op.has_matrix else op


def _matrix(op: Pow) -> Any:
    if any(isinstance(x, jax.core.Tracer) or isbox(x) for x in op.data):
        raise DeviceError(
            f"The power {op.z} of {op.base.name} is known by its matrix alone, which cannot be traced or "
            "differentiated. Give it as gates, or where its parameters are plain numbers."
        )
    return op.matrix()
