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
    """A store that gives back what was last put into it, and knows nothing of it otherwise.

    That is for threads within a block; to others it is PennyLane's own store.
    """

    depth = 0
    value: Any = None

    def __init__(self, store: Any) -> None:
        self.store = store

    def __contains__(self, key: Any) -> bool:
        return not self.depth and key in self.store

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.depth:
            self.value = value
        else:
            self.store[key] = value

    def __getitem__(self, key: Any) -> Any:
        return self.value if self.depth else self.store[key]


class _Blocks:
    """The blocks that are open in all threads: the first puts the store in its place, the last takes it away."""

    def __init__(self) -> None:
        self._lock, self._open = threading.Lock(), 0

    def enter(self) -> None:
        with self._lock:
            if not self._open:
                CompositeOp._eigs = _Latest(CompositeOp._eigs)
            self._open += 1
            CompositeOp._eigs.depth += 1

    def leave(self) -> None:
        with self._lock:
            self._open -= 1
            CompositeOp._eigs.depth -= 1
            if not self._open:
                CompositeOp._eigs = CompositeOp._eigs.store


_BLOCKS = _Blocks()


@contextmanager
def found_anew() -> Iterator[None]:
    """While PennyLane asks observables of traced numbers for their eigenvectors: each finds its own.

    Threads may be within such blocks at once.

    Example:
        >>> import pennylane as qml
        >>> observable = qml.Hadamard(0) + 0.5 * qml.X(0)
        >>> with found_anew():
        ...     len(observable.eigendecomposition["eigval"])
        2
    """
    _BLOCKS.enter()
    try:
        yield
    finally:
        _BLOCKS.leave()
