"""What stands for a PennyLane device where circuits go to a service, which translates them itself."""

from __future__ import annotations

from typing import Any

import jax
import pennylane as qml
from pennylane import CompilePipeline
from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import decompose
from pennylane.tape import QuantumScript

__all__ = ["Untouched"]


class Untouched:
    """Leaves circuits as they are, but for gates whose derivative by a parameter no shift rule gives.

    Args:
        name: of the device.
    """

    wires = None

    def __init__(self, name: str) -> None:
        self.name = name

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """The configuration as it is."""
        return config or ExecutionConfig()

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> CompilePipeline:
        """Decomposition down to gates with known frequencies."""
        pipeline = CompilePipeline()
        pipeline.add_transform(decompose, stopping_condition=_shiftable, name=self.name)
        return pipeline


def _shiftable(operation: Any) -> bool:
    """Whether a gate is fixed, or its frequencies are known."""
    if not any(isinstance(value, jax.core.Tracer) for value in operation.data):
        return True
    if not isinstance(operation, qml.operation.Operation):
        return False
    try:
        return bool(operation.parameter_frequencies)
    except qml.operation.ParameterFrequenciesUndefinedError:
        return False
