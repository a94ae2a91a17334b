"""The one place that imports Qiskit, its simulator and IBM's client, each an extra, when it is first needed."""

from __future__ import annotations

from typing import Any

from varq import checks

__all__ = ["aer", "client", "qiskit"]


def qiskit() -> Any:
    """The package `qiskit`, with the modules that varq uses.

    Raises:
        ModuleNotFoundError: without it; says which extra to install.
    """
    try:
        import qiskit
        import qiskit.circuit
        import qiskit.primitives
        import qiskit.providers
        import qiskit.transpiler
    except ModuleNotFoundError as error:
        raise checks.missing_extra("qiskit", "aer", "A Qiskit device") from error
    return qiskit


def aer() -> Any:
    """The package `qiskit_aer`, as `qiskit`."""
    try:
        import qiskit_aer
        import qiskit_aer.noise
        import qiskit_aer.noise.device
        import qiskit_aer.primitives
    except ModuleNotFoundError as error:
        raise checks.missing_extra("qiskit-aer", "aer", "A simulator of noisy devices") from error
    return qiskit_aer


def client() -> Any:
    """The package `qiskit_ibm_runtime`, as `qiskit`."""
    try:
        import qiskit_ibm_runtime
        import qiskit_ibm_runtime.fake_provider
    except ModuleNotFoundError as error:
        raise checks.missing_extra("qiskit-ibm-runtime", "ibm", "An IBM device") from error
    return qiskit_ibm_runtime
