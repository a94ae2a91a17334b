"""The one place that imports Stim, PyMatching and ldpc, each an extra, when it is first needed."""

from __future__ import annotations

from typing import Any

from varq import checks

__all__ = ["ldpc", "pymatching", "stim"]


def stim() -> Any:
    """The package `stim`.

    Raises:
        ModuleNotFoundError: without it; says which extra to install.
    """
    try:
        import stim
    except ModuleNotFoundError as error:
        raise checks.missing_extra("stim", "qec", "Simulating circuits of error correction") from error
    return stim


def pymatching() -> Any:
    """The package `pymatching`, as `stim`."""
    try:
        import pymatching
    except ModuleNotFoundError as error:
        raise checks.missing_extra("pymatching", "qec", "Decoding by matching") from error
    return pymatching


def ldpc() -> Any:
    """The package `ldpc`, as `stim`."""
    try:
        import ldpc
    except ModuleNotFoundError as error:
        raise checks.missing_extra("ldpc", "ldpc", "Decoding by belief propagation") from error
    return ldpc
