"""A quantum convolutional network whose pooling layers measure, and the states of a phase transition to train it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.keys import Key, as_key
from varq.protocol import Array

__all__ = ["PoolingNetwork", "cluster_ising_state"]

_CONVOLUTION = 9  # angles: three on each wire of a pair (the same for all pairs of a layer), and three couplings
_POOLING = 5  # angles: two for the basis of the measurement, three for the rotation that a 1 decides on
_READING = 3
_SPREAD = 0.3  # radians, of the angles to start from
_LARGEST = 12  # wires of a state found by diagonalizing a dense matrix


@dataclass(frozen=True)
class PoolingNetwork:
    """Convolutions on neighboring pairs, and pooling layers that measure every second wire.

    In a pooling layer one wire of each pair is turned and measured, and a 1 rotates its partner.  Wires that were
    measured do not act again, so that half of them are left after each layer and one in the end.

    Args:
        wires: a power of two, at least 2.

    Raises:
        ValueError: for another number of wires.

    Parameters: angles in radians, shape (`shape`), all layers in one vector: for each layer nine of its convolution and
    five of its pooling, then three of a last rotation.

    References:
        Cong, Choi and Lukin, Nature Physics 15, 1273 (2019).

    Example:
        >>> network = PoolingNetwork(4)
        >>> network.shape
        (31,)
        >>> @qml.qnode(qml.device("varq.qubit", wires=4))
        ... def circuit(params):
        ...     return qml.expval(qml.Z(network(params)))
        >>> abs(float(circuit(network.init(0)))) <= 1
        True
    """

    wires: int

    def __post_init__(self) -> None:
        wires = checks.integer("wires", self.wires, minimum=2, hint="A pooling layer measures half of them.")
        if wires & (wires - 1):
            raise ValueError(f"wires must be a power of two: each pooling layer leaves half of them. Got {wires}.")
        object.__setattr__(self, "wires", wires)

    @property
    def layers(self) -> int:
        """How many convolutions, each with its pooling."""
        return self.wires.bit_length() - 1

    @property
    def shape(self) -> tuple[int]:
        """The shape of the parameters."""
        return (self.layers * (_CONVOLUTION + _POOLING) + _READING,)

    def init(self, key: Key | int) -> Array:
        """Angles to start from, drawn from a normal distribution."""
        return as_key(key).generator().normal(scale=_SPREAD, size=self.shape)

    def __call__(self, params: Any) -> int:
        """Queue the network on wires 0 .. wires-1.

        Args:
            params: angles in radians, of `shape`.

        Returns:
            The wire that is left to be read.

        Raises:
            ValueError: if the parameters have another shape.
        """
        checks.shape("params", params, self.shape)
        active, start = list(range(self.wires)), 0
        for _ in range(self.layers):
            _convolve(params[start : start + _CONVOLUTION], active)
            start += _CONVOLUTION
            active = _pool(params[start : start + _POOLING], active)
            start += _POOLING
        (last,) = active
        qml.Rot(*params[start:], wires=last)
        return last


def _convolve(angles: Any, wires: list[int]) -> None:
    """The same two-wire unitary on all pairs of neighbors, in two rounds."""
    for pair in [*zip(wires[::2], wires[1::2], strict=True), *zip(wires[1::2], wires[2::2], strict=False)]:
        qml.Rot(*angles[:3], wires=pair[0])
        qml.Rot(*angles[3:6], wires=pair[1])
        for gate, angle in zip((qml.IsingXX, qml.IsingYY, qml.IsingZZ), angles[6:], strict=True):
            gate(angle, wires=pair)


def _pool(angles: Any, wires: list[int]) -> list[int]:
    """The wires that are left."""
    for measured, kept in zip(wires[::2], wires[1::2], strict=True):
        qml.RZ(angles[0], wires=measured)
        qml.RY(angles[1], wires=measured)
        bit = qml.measure(measured)
        qml.cond(bit, qml.Rot)(*angles[2:], wires=kept)
    return wires[1::2]


def cluster_ising_state(wires: int, field: float, coupling: float = 0.0) -> NDArray[np.float64]:
    """The ground state of H = - sum Z_(k-1) X_k Z_(k+1) - field sum X_k - coupling sum X_k X_(k+1) on an open chain.

    Without coupling, a field below 1 leaves it in the phase of the cluster state, whose order no local measurement
    sees; above 1 it is a paramagnet.  At the open ends the terms Z_0, Z_(n-1) are missing, and the ground state is
    chosen by the terms X_0 Z_1 and Z_(n-2) X_(n-1) in their stead.

    Args:
        wires: from 3 to 12.
        field: in units of the first term.
        coupling: in the same.

    Returns:
        Real amplitudes, shape (2**wires,).

    Raises:
        ValueError: for another number of wires, or numbers that are not finite.

    References:
        Cong, Choi and Lukin, Nature Physics 15, 1273 (2019).

    Example:
        >>> state = cluster_ising_state(4, field=0.0)
        >>> stabilizer = qml.matrix(qml.Z(0) @ qml.X(1) @ qml.Z(2), wire_order=range(4)).real
        >>> print(round(float(state @ stabilizer @ state), 6))
        1.0
    """
    count = checks.integer("wires", wires, 3, _LARGEST, "The Hamiltonian is diagonalized as a dense matrix.")
    inner = [qml.Z(k - 1) @ qml.X(k) @ qml.Z(k + 1) for k in range(1, count - 1)]
    words = [*inner, qml.X(0) @ qml.Z(1), qml.Z(count - 2) @ qml.X(count - 1)]
    energy = -qml.sum(*words) - checks.real("field", field) * qml.sum(*(qml.X(k) for k in range(count)))
    energy -= checks.real("coupling", coupling) * qml.sum(*(qml.X(k) @ qml.X(k + 1) for k in range(count - 1)))
    matrix = qml.matrix(energy, wire_order=range(count)).real
    state = np.linalg.eigh(matrix)[1][:, 0]
    return np.asarray(state * np.sign(state[np.argmax(np.abs(state))]))
