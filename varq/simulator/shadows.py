"""Classical shadows in JAX: every shot measures every qubit along X, Y or Z, as its recipe says.

Estimates follow Huang, Kueng and Preskill, https://arxiv.org/abs/2002.08953.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pennylane.exceptions import DeviceError
from pennylane.measurements import ClassicalShadowMP, MeasurementProcess, ShadowExpvalMP, Shots
from pennylane.operation import Operator

__all__ = ["SHADOWS", "draw_recipes", "measure"]

SHADOWS = (ClassicalShadowMP, ShadowExpvalMP)

_HALF = 0.5**0.5
_TURNS = np.array(  # what takes the eigenvectors of X, Y, Z to the basis states, as real and imaginary part
    [[[_HALF, _HALF], [_HALF, -_HALF]], [[_HALF, -_HALF * 1j], [_HALF, _HALF * 1j]], [[1, 0], [0, 1]]]
)
_AT_ONCE = 64  # shots turned together: bounds the memory to as many states


def draw_recipes(measurement: MeasurementProcess, shots: int) -> NDArray[np.int8]:
    """The recipes of a shadow by its own seed, as PennyLane draws them, shape (shots, wires); 0, 1, 2 are X, Y, Z.

    Where no seed was given, PennyLane has drawn one from NumPy's global generator when the circuit was written.  That
    is once in all for a circuit that JAX traces, and no function of a device's key: there, `measure` draws them.
    """
    generator = np.random.RandomState(measurement.seed)
    return generator.randint(0, 3, size=(shots, len(measurement.wires))).astype(np.int8)


def measure(measurement: MeasurementProcess, state: Any, recipes: Any, shots: Shots, key: Any) -> Any:
    """The result of a shadow measurement; with a shot vector a tuple of results.

    Args:
        measurement: one of `SHADOWS`, on wires 0, 1, ...
        state: shape (2,) * wires.
        recipes: shape (shots in all, wires of the measurement); None to draw them by the key too.
        shots: how many, and how they are parted.
        key: a typed JAX key.
    """
    if recipes is None:
        key, own = jax.random.split(key)
        # Of 32-bit integers, which JAX draws alike whatever its flag says.
        shape = (shots.total_shots, len(measurement.wires))
        recipes = jax.random.randint(own, shape, 0, 3, "int32").astype(jnp.int8)
    bits = _bits(state, tuple(measurement.wires), recipes, key)
    parts = [(bits[low:high], recipes[low:high]) for low, high in shots.bins()]
    results = tuple(_result(measurement, *part) for part in parts)
    return results if shots.has_partitioned_shots else results[0]


def _bits(state: Any, wires: Sequence[int], recipes: Any, key: Any) -> Any:
    """One outcome a shot, shape (shots, wires)."""
    turns = jnp.asarray(_TURNS, state.dtype)

    def shot(given: tuple[Any, Any]) -> Any:
        recipe, own = given
        turned = state
        for place, wire in enumerate(wires):
            turned = jnp.moveaxis(jnp.tensordot(turns[recipe[place]], turned, ((1,), (wire,))), 0, wire)
        others = tuple(w for w in range(state.ndim) if w not in wires)
        law = jnp.sum(jnp.abs(turned) ** 2, axis=others)
        order = np.argsort(np.argsort(wires))  # the axes left are in ascending order
        law = jnp.ravel(jnp.transpose(law, tuple(order)))
        found = jax.random.choice(own, law.size, p=law / jnp.sum(law))
        return (found >> jnp.arange(len(wires) - 1, -1, -1)) & 1

    keys = jax.random.split(key, recipes.shape[0])
    return jax.lax.map(shot, (recipes, keys), batch_size=_AT_ONCE).astype(jnp.int8)


def _result(measurement: MeasurementProcess, bits: Any, recipes: Any) -> Any:
    if isinstance(measurement, ClassicalShadowMP):
        return jnp.stack([bits, jnp.asarray(recipes, jnp.int8)])
    if isinstance(measurement.H, Operator):
        return _estimate(measurement.H, measurement, bits, recipes)
    return jnp.stack([_estimate(h, measurement, bits, recipes) for h in measurement.H])


def _estimate(observable: Operator, measurement: MeasurementProcess, bits: Any, recipes: Any) -> Any:
    """Median of means, word by word."""
    if observable.pauli_rep is None:
        raise DeviceError(
            f"shadow_expval needs a sum of Pauli words. Got {observable}. Write it as one with qml.pauli_decompose."
        )
    place = {w: k for k, w in enumerate(measurement.wires)}
    total: Any = 0.0
    for word, coefficient in observable.pauli_rep.items():
        at = [place[w] for w in word]
        letters = np.array(["XYZ".index(letter) for letter in word.values()], dtype=np.int8)
        seen = jnp.all(jnp.asarray(recipes)[:, at] == letters, axis=1)
        sign = jnp.prod(1.0 - 2.0 * bits[:, at], axis=1)
        total = total + coefficient * _median_of_means(3.0 ** len(at) * seen * sign, measurement.k)
    return total


def _median_of_means(values: Any, parts: int) -> Any:
    size = -(-values.shape[0] // parts)
    means = [jnp.mean(values[k : k + size]) for k in range(0, values.shape[0], size)]
    return jnp.median(jnp.stack(means))
