"""The few gates of the miniature cloud, and circuits of them run in NumPy."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["GATES", "IGNORED", "Payload", "probabilities", "sampled"]

Payload: TypeAlias = dict[str, Any]
"""A circuit as JSON: "wires", "shots", "seed", and "gates", a list of [name, wires, numbers]."""

GATES = {
    **{"RX": 1, "RY": 1, "RZ": 1, "PhaseShift": 1},
    **{"Hadamard": 0, "PauliX": 0, "PauliY": 0, "PauliZ": 0, "S": 0, "T": 0, "CNOT": 0, "CZ": 0},
}
"""How many numbers each gate takes."""

IGNORED = ("Identity", "GlobalPhase", "Barrier")
"""What no measurement shows."""

_ROOT = np.sqrt(0.5)
_FIXED = {
    "Hadamard": np.array([[_ROOT, _ROOT], [_ROOT, -_ROOT]]),
    "PauliX": np.array([[0, 1], [1, 0]]),
    "PauliY": np.array([[0, -1j], [1j, 0]]),
    "PauliZ": np.diag([1, -1]),
    "S": np.diag([1, 1j]),
    "T": np.diag([1, np.exp(0.25j * np.pi)]),
}


def _matrix(name: str, numbers: list[float]) -> NDArray[Any]:
    if name in _FIXED:
        return _FIXED[name]
    (angle,) = numbers
    if name == "PhaseShift":
        return np.diag([1, np.exp(1j * angle)])
    letter = {"RX": "PauliX", "RY": "PauliY", "RZ": "PauliZ"}[name]
    return np.asarray(np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * _FIXED[letter])


def _applied(state: NDArray[Any], name: str, wires: list[int], numbers: list[float]) -> NDArray[Any]:
    """A gate on a state of shape (2, ..., 2), wire 0 first; of two wires the first one controls."""
    *controls, target = wires
    matrix = _matrix({"CNOT": "PauliX", "CZ": "PauliZ"}.get(name, name), numbers)
    out = state.copy()
    part: list[Any] = [slice(None)] * state.ndim
    for wire in controls:
        part[wire] = 1
    axis = target - sum(wire < target for wire in controls)
    out[tuple(part)] = np.moveaxis(np.tensordot(matrix, state[tuple(part)], axes=(1, axis)), 0, axis)
    return out


def probabilities(payload: Payload) -> NDArray[np.float64]:
    """Of each outcome of all wires, shape (2**wires,), wire 0 first.

    Example:
        >>> gates = [["Hadamard", [0], []], ["CNOT", [0, 1], []]]
        >>> probabilities({"wires": 2, "gates": gates}).round(3).tolist()
        [0.5, 0.0, 0.0, 0.5]
    """
    wires = payload["wires"]
    state = np.zeros((2,) * wires, dtype=np.complex128)
    state[(0,) * wires] = 1
    for name, where, numbers in payload["gates"]:
        state = _applied(state, name, where, numbers)
    weights = np.abs(state.ravel()) ** 2
    return np.asarray(weights / weights.sum())


def sampled(payload: Payload) -> NDArray[np.uint8]:
    """Measured bits, shape (shots, wires): the same circuit with the same seed gives the same ones."""
    text = json.dumps(payload, sort_keys=True)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()))
    edges = np.cumsum(probabilities(payload))[:-1]
    outcomes = np.asarray(np.searchsorted(edges, rng.random(int(payload["shots"])), side="right"))
    places = np.arange(int(payload["wires"]))[::-1]
    return np.asarray((outcomes[:, None] >> places) & 1, dtype=np.uint8)
