"""The matrices of operations, a stack for each size; what is alike but for its numbers is computed together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.operation import Operator
from pennylane.queuing import QueuingManager

from varq.simulator.evolutions import gather

__all__ = ["Stacks", "parts"]

_TOGETHER = 32  # arrays that one operation puts beside each other


def parts(value: Any) -> Any:
    """Real and imaginary part, stacked in front."""
    if isinstance(value, jax.Array):
        return jnp.stack([jnp.real(value), jnp.imag(value)])
    plain = np.asarray(value)
    return np.stack([plain.real, plain.imag])


class Stacks:
    """Collects operations by how many wires they have, each of which gets a row in the stack of its size."""

    def __init__(self) -> None:
        self._found: dict[int, list[Operator]] = {}

    def row(self, op: Operator) -> int:
        """The row that the matrix of an operation gets."""
        some = self._found.setdefault(len(op.wires), [])
        some.append(op)
        return len(some) - 1

    def made(self) -> list[Any]:
        """The stacks, each of shape (operations, 2, d, d), of NumPy where nothing in it is JAX's."""
        with QueuingManager.stop_recording():
            return [_stack(some) for some in self._found.values()]


def _stack(every: Sequence[Operator]) -> Any:
    groups: dict[Hashable, list[int]] = {}
    opened = [_opened(op) for op in every]
    for k, (key, _) in enumerate(opened):
        groups.setdefault(key, []).append(k)
    found = [_matrices(every[members[0]], [opened[k][1] for k in members]) for members in groups.values()]
    order = [k for members in groups.values() for k in members]
    plain = all(isinstance(some, np.ndarray) for some in found)
    whole = (np if plain else jnp).concatenate(found) if len(found) > 1 else found[0]
    return whole if order == list(range(len(order))) else whole[np.argsort(order)]


def _opened(op: Operator) -> tuple[Hashable, list[Any]]:
    """What must be equal for matrices to be computed together, and the leaves in which they may differ."""
    leaves = jax.tree_util.tree_leaves(op)
    anywhere = jax.tree_util.tree_structure(op.map_wires({w: k for k, w in enumerate(op.wires)}))
    return (anywhere, tuple(map(_kind, leaves))), [x for x in leaves if isinstance(x, jax.Array)]


def _kind(leaf: Any) -> Hashable:
    if isinstance(leaf, jax.Array):
        return leaf.shape, str(leaf.dtype)
    if hasattr(leaf, "tocoo"):
        return id(leaf)
    plain = np.asarray(leaf)
    return plain.shape, str(plain.dtype), plain.tobytes()


def _matrices(first: Operator, rows: Sequence[Sequence[Any]]) -> Any:
    """The matrices of operations that are alike, from those of their leaves that are JAX's."""
    if not rows[0]:
        return np.broadcast_to(one := parts(first.matrix()), (len(rows), *one.shape))
    leaves, structure = jax.tree_util.tree_flatten(first)
    moving = [k for k, x in enumerate(leaves) if isinstance(x, jax.Array)]

    def one_of(*mine: Any) -> Any:
        whole = dict(zip(moving, mine, strict=True))
        return parts(jax.tree_util.tree_unflatten(structure, [whole.get(k, x) for k, x in enumerate(leaves)]).matrix())

    if len(rows) == 1:
        return one_of(*rows[0])[None]
    return jax.vmap(one_of)(*(_beside(column) for column in zip(*rows, strict=True)))


def _beside(column: Sequence[Any]) -> Any:
    """Scalars or arrays of one shape with a leading axis."""
    if not jnp.ndim(column[0]):
        return gather(column)
    some = [_together(*column[at : at + _TOGETHER]) for at in range(0, len(column), _TOGETHER)]
    return jnp.concatenate(some) if len(some) > 1 else some[0]


@jax.jit
def _together(*arrays: Any) -> Any:
    return jnp.stack(arrays)
