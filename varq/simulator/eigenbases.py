"""Eigenvectors of composite observables, which PennyLane keeps under a name that traced numbers share.

`CompositeOp.eigendecomposition` keeps what it finds by the operator's hash, for all operators of the process.  The hash
takes a traced number by its text, which is one for all of a type: two observables of a circuit would share the
eigenvectors of the first, and a later trace would meet tracers of an earlier one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pennylane.ops import CompositeOp

__all__ = ["found_anew"]


class _Latest(threading.local):
    """A store that gives back what was last put into it, and knows nothing of it otherwise."""

    def __contains__(self, key: Any) -> bool:
        return False

    def __setitem__(self, key: Any, value: Any) -> None:
        self.value = value

    def __getitem__(self, key: Any) -> Any:
        return self.value


@contextmanager
def found_anew() -> Iterator[None]:
    """While PennyLane asks observables of traced numbers for their eigenvectors: each finds its own.

    Example:
        >>> import pennylane as qml
        >>> observable = qml.Hadamard(0) + 0.5 * qml.X(0)
        >>> with found_anew():
        ...     len(observable.eigendecomposition["eigval"])
        2
    """
    kept = CompositeOp._eigs
    CompositeOp._eigs = _Latest()
    try:
        yield
    finally:
        CompositeOp._eigs = kept
