"""Scans that JAX may differentiate in reverse mode without keeping what every step computed."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, sqrt
from typing import Any

import jax
from jax import lax

__all__ = ["STORED", "Room", "carried"]

STORED = 2**30
"""Bytes that the stored states of a gradient may take, unless told otherwise."""


def _few(steps: int) -> int:
    """Carries that `carried` keeps at once where it may not keep all."""
    return min(steps, 2 * ceil(sqrt(steps)))


class Room:
    """Bytes that the stored states of several scans share: whoever asks first gets them.

    Args:
        most: of all together.

    Example:
        >>> room = Room(100)
        >>> room.take(3, 20), room.take(3, 20), room.take(2, 20)
        (3, 0, 2)
    """

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, states: int, each: int, anyway: int = 0) -> int:
        """How many states one more scan may keep: all that it would, or none.

        Args:
            states: that it would keep.
            each: bytes of one.
            anyway: states that it keeps if it may not keep all.
        """
        granted = states if states * each <= self.left else 0
        self.left -= (granted or anyway) * each
        return granted

    def take_for(self, steps: int, each: int) -> int:
        """The `room` of `carried` for so many steps, with carries of so many bytes."""
        return self.take(steps, each, _few(steps))


def carried(step: Callable[[Any, Any], Any], carry: Any, inputs: Any, steps: int, room: int) -> Any:
    """The carry after all steps of a scan that gives nothing else.

    In reverse mode a plain scan keeps whatever its steps computed.  This one keeps the carry before each step while
    `room` allows, and beyond it the carries before groups of steps, whose insides it computes anew: with n steps, about
    2 sqrt(n) carries.  What is kept hence grows with the square root of the depth, at the cost of one run more.

    Args:
        step: (carry, input) to carry.
        carry: at the start.
        inputs: a pytree of arrays with one leading axis, the steps; it may be empty.
        steps: how many.
        room: carries that may be kept.

    Source: A. Griewank and A. Walther, ACM Trans. Math. Softw. 26, 19 (2000), for schedules of which this is the first.

    Example:
        >>> import jax.numpy as jnp
        >>> print(carried(lambda total, x: total + x, 0, jnp.arange(10), steps=10, room=2))
        45
    """
    once = jax.checkpoint(lambda c, x: (step(c, x), None), prevent_cse=False)

    def run(carry: Any, inputs: Any, steps: int) -> Any:
        return lax.scan(once, carry, inputs, length=steps)[0]

    if steps <= room:
        return run(carry, inputs, steps)
    size = ceil(sqrt(steps))
    groups, rest = divmod(steps, size)
    cut = groups * size
    grouped = jax.tree.map(lambda x: x[:cut].reshape(groups, size, *x.shape[1:]), inputs)
    outer = jax.checkpoint(lambda c, x: (run(c, x, size), None), prevent_cse=False)
    carry = lax.scan(outer, carry, grouped, length=groups)[0]
    return run(carry, jax.tree.map(lambda x: x[cut:], inputs), rest) if rest else carry
