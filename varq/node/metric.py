"""The Fubini-Study metric of a circuit, from the derivatives of its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices.qubit import apply_operation, create_initial_state
from pennylane.tape import QuantumScript

__all__ = ["gate_metric"]


def gate_metric(tape: QuantumScript, wires: int) -> NDArray[np.float64]:
    """g_jk = Re(<d_j psi|d_k psi> - <d_j psi|psi><psi|d_k psi>) for the trainable gate parameters of a tape.

    All derivative states are carried through the circuit together, as one batch.  Definition: Stokes, Izaac, Killoran
    and Carleo, Quantum 4, 269 (2020), eq. 8.

    Args:
        tape: bound; its trainable parameters belong to gates exp(i x G) with one parameter each.
        wires: of the state.

    Returns:
        Shape (trainable parameters, trainable parameters).

    Raises:
        ValueError: if a trainable gate has no generator.
    """
    trainable = {tape.par_info[k]["op_idx"] for k in tape.trainable_params if "op_idx" in tape.par_info[k]}
    state = create_initial_state(range(wires), tape[0] if _prepares(tape) else None)
    tangents = np.zeros((0, *state.shape), dtype=complex)
    for index, operation in enumerate(tape.operations):
        if index == 0 and _prepares(tape):
            continue
        state = apply_operation(operation, state)
        if len(tangents):
            tangents = apply_operation(operation, tangents, is_state_batched=True)
        if index in trainable:
            tangents = np.concatenate([tangents, 1j * _generate(operation, state)[None]])
    rows = tangents.reshape(len(tangents), -1)
    overlaps = rows.conj() @ np.asarray(state).ravel()
    return np.asarray(np.real(rows.conj() @ rows.T - np.outer(overlaps, overlaps.conj())))


def _prepares(tape: QuantumScript) -> bool:
    return len(tape.operations) > 0 and isinstance(tape.operations[0], qml.operation.StatePrepBase)


def _generate(operation: Any, state: Any) -> NDArray[np.complex128]:
    try:
        generator = qml.generator(operation, format="observable")
    except (qml.operation.GeneratorUndefinedError, qml.exceptions.QuantumFunctionError) as error:
        raise ValueError(
            f"The metric needs gates with one parameter and a generator. Got {operation.name}. "
            "Write the circuit with rotations and excitations, or use another optimizer."
        ) from error
    matrix = qml.matrix(generator, wire_order=operation.wires)
    return np.asarray(apply_operation(qml.QubitUnitary(matrix, wires=operation.wires, unitary_check=False), state))
