"""Order finding with each modular multiplication as one permutation of basis states, compiled by JAX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.circuits.integers import powers_of_base
from varq.precision import double

__all__ = ["HELD", "Multiplication", "semiclassical_outcomes", "transformed_outcomes"]

HELD = 1 << 21  # amplitudes of all shots that are simulated at once


class Multiplication(qml.operation.Operation):  # type: ignore[misc]  # PennyLane is untyped
    """A controlled modular multiplication as one operation, which says what the permutation stands for in a circuit.

    Args:
        factor: by which the work wires are multiplied.
        modulus: N.
        wires: the control, then the work wires.
    """

    num_params = 0

    def __init__(self, factor: int, modulus: int, wires: Sequence[int]) -> None:
        self._hyperparameters = {"factor": int(factor), "modulus": int(modulus)}
        super().__init__(wires=wires)


def semiclassical_outcomes(
    base: int, modulus: int, bits: int, luck: NDArray[np.float64], dtype: str = "complex128"
) -> NDArray[np.uint8]:
    """Bits measured by one control wire that is used again, most significant first, shape (shots, bits).

    The state of the n work wires is kept for each shot; a controlled multiplication is a gather, which all shots share.
    The rounds are one `lax.scan`, the shots one axis: a program is compiled for a number of wires, bits and shots, and
    serves every modulus and base of that size.

    Args:
        base: a, without a common factor with the modulus.
        modulus: N.
        bits: of the phase.
        luck: numbers in [0, 1), shape (shots, bits): what decides each measurement.
        dtype: of the amplitudes.

    Example:
        >>> found = semiclassical_outcomes(7, 15, 8, np.random.default_rng(0).random((50, 8)))
        >>> sorted({int(k) for k in found @ (1 << np.arange(7, -1, -1))})
        [0, 64, 128, 192]
    """
    size = 1 << (modulus - 1).bit_length()
    inverses = np.array([pow(m, -1, modulus) for m in powers_of_base(base, modulus, bits)], dtype=np.int64)
    shots = len(luck)
    chunk = min(shots, max(1, HELD // size))
    filled = np.resize(luck, (-(-shots // chunk) * chunk, bits))  # whole chunks: one program for all of them
    with double():
        found = [
            np.asarray(_rounds(inverses, np.int64(modulus), filled[k : k + chunk], size, dtype))
            for k in range(0, len(filled), chunk)
        ]
    return np.concatenate(found)[:shots, ::-1]


@partial(jax.jit, static_argnames=("size", "dtype"))
def _rounds(inverses: Any, modulus: Any, luck: Any, size: int, dtype: str) -> Any:
    """Measured bits, least significant first, shape (shots, bits)."""
    label = jnp.arange(size)

    def measured(carry: Any, at: Any) -> Any:
        state, turn = carry
        inverse, chance = at
        source = jnp.where(label < modulus, label * inverse % modulus, label)
        moved = state[:, source] * jnp.exp(1j * turn).astype(dtype)[:, None]
        zero, one = (state + moved) / 2, (state - moved) / 2
        weight = jnp.sum(jnp.abs(zero) ** 2, axis=1), jnp.sum(jnp.abs(one) ** 2, axis=1)
        bit = chance * (weight[0] + weight[1]) >= weight[0]
        kept = jnp.where(bit[:, None], one, zero) * jax.lax.rsqrt(jnp.where(bit, weight[1], weight[0]))[:, None]
        return (kept, turn / 2 - jnp.where(bit, jnp.pi / 2, 0.0)), bit

    start = jnp.zeros((len(luck), size), dtype).at[:, 1].set(1.0)
    _, found = jax.lax.scan(measured, (start, jnp.zeros(len(luck))), (inverses, luck.T))
    return found.T.astype(np.uint8)


def transformed_outcomes(base: int, modulus: int, bits: int, luck: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bits measured on many control wires after a Fourier transform, most significant first, shape (shots, bits).

    The controlled permutations take every basis state x of the controls to one basis state y(x) of the work wires, so
    that the state before the transform is the table y.  The work wires are measured first, which changes nothing that
    the controls show; the transform of what is left is a fast Fourier transform.

    Args:
        base: a, without a common factor with the modulus.
        modulus: N.
        bits: of the phase.
        luck: numbers in [0, 1), shape (shots, 2): of the work wires and of the controls.
    """
    multipliers = np.array(powers_of_base(base, modulus, bits), dtype=np.int64)
    with double():
        found = np.asarray(_transformed(multipliers, np.int64(modulus), luck, bits))
    return _bits(found, bits)


@partial(jax.jit, static_argnames=("bits",))
def _transformed(multipliers: Any, modulus: Any, luck: Any, bits: int) -> Any:
    controls = jnp.arange(1 << bits)

    def multiplied(y: Any, at: Any) -> Any:
        multiplier, place = at
        return jnp.where(controls >> place & 1 == 1, y * multiplier % modulus, y), None

    places = jnp.arange(bits - 1, -1, -1)
    work = jax.lax.scan(multiplied, jnp.ones(1 << bits, np.int64), (multipliers, places))[0]

    def one(chances: Any) -> Any:
        seen = work[(chances[0] * (1 << bits)).astype(np.int64)]
        weights = jnp.abs(jnp.fft.fft((work == seen).astype(float))) ** 2
        steps = jnp.cumsum(weights)
        return jnp.searchsorted(steps, chances[1] * steps[-1], side="right")

    return jax.lax.map(one, luck)


def _bits(outcomes: Sequence[int] | NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Integers as bits, most significant first, shape (count, bits)."""
    places = np.arange(bits - 1, -1, -1)
    return (np.asarray(outcomes)[:, None] >> places & 1).astype(np.uint8)
