"""A word to the person while PennyLane and JAX load, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["waiting"]

_WORDS = "Loading PennyLane and JAX ..."


@contextmanager
def waiting() -> Iterator[None]:
    """Says so at the foot of a terminal, and takes it away afterwards; says nothing anywhere else."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    if shown:
        print(_WORDS, end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(" " * len(_WORDS), end="\r", file=sys.stderr, flush=True)
