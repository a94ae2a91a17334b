"""Parameter-shift rules of the gates of a tape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from pennylane.gradients import generate_shift_rule
from pennylane.tape import QuantumScript

__all__ = ["shift_rules"]


def shift_rules(tape: QuantumScript) -> list[tuple[tuple[float, float], ...]]:
    """For each trainable gate parameter the (factor, shift) pairs with df/dx = sum factor * f(x + shift).

    The rules follow from the frequencies of each gate: Wierichs, Izaac, Wang and Lin, Quantum 6, 677 (2022).

    Raises:
        ValueError: if a gate's frequencies are not known, so that no rule exists.
    """
    return [_rule(tape.par_info[k]) for k in tape.trainable_params]


def _rule(info: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    operation = info["op"]
    try:
        frequencies = operation.parameter_frequencies[info["p_idx"]]
    except (qml.operation.ParameterFrequenciesUndefinedError, IndexError) as error:
        raise ValueError(
            f"A shift rule needs a gate with known frequencies. Got {operation.name}. Write it with rotations and "
            "excitations, or use an exact device such as lightning.qubit with shots=None."
        ) from error
    return tuple((float(c), float(s)) for c, s in np.asarray(generate_shift_rule(frequencies)))
