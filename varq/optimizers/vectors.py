"""Vectors of numbers, as methods need them."""

from __future__ import annotations

from typing import Any

import numpy as np

from varq.protocol import Array

__all__ = ["gradient_norm", "vector"]


def vector(x: Any) -> Array:
    """A fresh float64 array of the values of `x`, in its shape."""
    return np.array(x, dtype=np.float64)


def gradient_norm(gradient: Any) -> float:
    """The Euclidean norm of all entries."""
    return float(np.linalg.norm(np.asarray(gradient).ravel()))
