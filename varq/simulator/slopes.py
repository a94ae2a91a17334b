"""Slopes of samples: how wide a step has to be, for a difference to show more than the noise of shots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pennylane as qml
from pennylane.measurements import Shots

__all__ = ["check_method", "fewest_shots", "least_step"]

STEPS = MappingProxyType({"finite-diff": 1e-7, "spsa": 1e-5})
"""PennyLane's own steps of finite differences, by the names of its methods: made for exact values."""


def fewest_shots(shots: Shots) -> int:
    """Of the results that a circuit gives: each entry of a shot vector makes one, with noise of its own.

    Example:
        >>> fewest_shots(Shots([10, (1000, 5)]))
        10
    """
    return min(int(entry.shots) for entry in shots.shot_vector)


def least_step(shots: int) -> float:
    """The smallest step of a difference of sampled values that shows more than their noise, in radians.

    A difference over h of two values with the standard error s has the error s / (sqrt(2) h); with n shots, s is about
    1 / sqrt(n) of an observable's size, which no slope of rotations exceeds.

    Example:
        >>> round(least_step(5000), 3)
        0.01
    """
    return 1 / math.sqrt(2 * shots)


def check_method(method: Any, options: Mapping[str, Any], shots: int) -> None:
    """Refuse a method of PennyLane's that differences samples over a step that shows nothing but their noise.

    Args:
        method: the `diff_method` of a QNode.
        options: its `gradient_kwargs`.
        shots: of each result.

    Raises:
        ValueError: for such a step, with the one to use.

    Example:
        >>> check_method("finite-diff", {"h": 0.3}, 1000)
    """
    kinds = {"finite-diff": qml.gradients.finite_diff, "spsa": qml.gradients.spsa_grad}
    name = next((name for name, kind in kinds.items() if method is kind or method == name), None)
    if name is None:
        return
    step = float(options.get("h", STEPS[name]))
    if step < least_step(shots):
        raise ValueError(
            f"{name} must difference samples over a step that is seen through their noise, at least "
            f"{least_step(shots):.2g} with {shots} shots. Got h={step:.2g}. Use "
            f"gradient_kwargs={{'h': {(9 / shots) ** (1 / 6):.2g}}}, or diff_method='parameter-shift'."
        )
