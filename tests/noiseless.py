"""A plug-in for pytest: IBM's snapshots of machines without their noise, for suites that compare with exact values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from varq.devices import qiskit_noise, qiskit_packages


def pytest_configure(config: Any) -> None:
    qiskit_noise.Noise.model = _model  # type: ignore[method-assign]


def _model(noise: Any, places: Iterable[Any]) -> Any:
    """A noise model of a machine's instructions that holds no errors."""
    return qiskit_packages.aer().noise.NoiseModel(basis_gates=noise._names)
