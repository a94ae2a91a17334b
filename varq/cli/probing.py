"""What can only be learned by loading JAX and PennyLane and running a circuit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
import pennylane as qml

from varq.devices.catalog import DEFAULT, KNOWN
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import ValueAndGrad

__all__ = ["Probe", "probe"]


@dataclass(frozen=True)
class Probe:
    """What loading and running told.

    Args:
        x64: JAX's x64 flag, as this process found it.
        default: the device that runs use if none is named.
        known: the devices that varq knows by name.
        errors: by device, the largest error of a value and gradient known in closed form; None where it failed.
        faults: by device, how it failed.
    """

    x64: bool
    default: str
    known: tuple[str, ...]
    errors: dict[str, float]
    faults: dict[str, str]


def probe() -> Probe:
    """Load everything, run <Z> after RX(0.5) with its gradient on every device that varq knows."""
    errors: dict[str, float] = {}
    faults: dict[str, str] = {}
    for name in KNOWN:
        try:
            errors[name] = _error(name)
        except Exception as error:  # whatever a broken installation raises is what is to be reported
            faults[name] = f"{type(error).__name__}: {error}"
    flag = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    return Probe(flag, DEFAULT, tuple(KNOWN), errors, faults)


def _rotation(params: object) -> None:
    qml.RX(params[0], wires=0)  # type: ignore[index]


def _error(name: str) -> float:
    cost = Nodes(name, None, "double").cost(_rotation, qml.Z(0), 1, (1,), {})
    reply = cost.evaluate(ValueAndGrad(np.array([0.5])), Key.from_seed(0))
    assert reply.value is not None
    assert reply.grad is not None
    return max(abs(reply.value - math.cos(0.5)), abs(float(reply.grad[0]) + math.sin(0.5)))
