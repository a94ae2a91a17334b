"""A Pauli sum applied to a state of the whole space."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from varq.simulator.bits import parity
from varq.simulator.dense import layout
from varq.simulator.least import observable_work
from varq.simulator.observables import PauliSum

__all__ = ["FullObservable"]

_WIDTH = 4  # wires of a block


@dataclass(frozen=True)
class _Local:
    """Words that act on a few neighboring wires only: one small matrix."""

    wires: tuple[int, ...]
    terms: NDArray[np.int32]
    basis: NDArray[np.float64]  # (terms, 2, d, d)

    @property
    def real(self) -> bool:
        return not np.any(self.basis[:, 1])


_PAULI = {
    (0, 0): np.eye(2),
    (1, 0): np.array([[0, 1], [1, 0]]),
    (0, 1): np.diag([1, -1]),
    (1, 1): np.array([[0, -1j], [1j, 0]]),
}


class FullObservable:
    """H|state> for a sum of Pauli words in three kinds: diagonal, local, and grouped by which bits they flip.

    Args:
        structure: the words.
        wires: of the register.
    """

    def __init__(self, structure: PauliSum, wires: int) -> None:
        self.wires = wires
        diagonal, local, rest = self._sorted(structure)
        self.diagonal = np.array(diagonal, dtype=np.int32)
        self.locals = [self._block(window, members, structure) for window, members in sorted(local.items())]
        self.words = self._by_flip(rest, structure)
        self.work = observable_work(structure)
        self.tables = (layout.signs([structure.terms[k][1] for k in diagonal], wires), self.words)

    def _sorted(self, structure: PauliSum) -> tuple[list[int], dict[tuple[int, ...], list[int]], list[int]]:
        diagonal, rest = [], []
        local: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for k, (x, z) in enumerate(structure.terms):
            if not x:
                diagonal.append(k)
                continue
            support = [p for p in range(self.wires) if (x | z) >> (self.wires - 1 - p) & 1]
            window = self._window(support)
            if window is None:
                rest.append(k)
            else:
                local[window].append(k)
        return diagonal, local, rest

    def _window(self, support: list[int]) -> tuple[int, ...] | None:
        """The neighboring wires of a block that holds a support: aligned if possible."""
        width = min(_WIDTH, self.wires)
        for start in (support[0] - support[0] % width, support[0]):
            start = min(start, self.wires - width)
            if support[-1] < start + width:
                return tuple(range(start, start + width))
        return None

    def _block(self, window: tuple[int, ...], members: list[int], structure: PauliSum) -> _Local:
        basis = []
        for k in members:
            x, z = structure.terms[k]
            matrix = np.eye(1)
            for p in window:
                shift = self.wires - 1 - p
                matrix = np.kron(matrix, _PAULI[x >> shift & 1, z >> shift & 1])
            basis.append(np.stack([matrix.real, matrix.imag]))
        return _Local(window, np.array(members, dtype=np.int32), np.array(basis))

    def _by_flip(self, rest: list[int], structure: PauliSum) -> list[dict[str, NDArray[Any]]]:
        """Tables of the other words: grouped by x mask, groups of like size together."""
        groups: dict[int, list[int]] = defaultdict(list)
        for k in rest:
            groups[structure.terms[k][0]].append(k)
        sizes: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for x, members in groups.items():
            sizes[(len(members) - 1).bit_length()].append((x, members))
        _, low = layout.half(self.wires)
        out = []
        for bits, found in sorted(sizes.items()):
            room = 2**bits
            index = np.zeros((len(found), room), dtype=np.int32)
            mask = np.zeros((len(found), room), dtype=np.int64)
            phase = np.zeros((2, len(found), room))
            for row, (x, members) in enumerate(found):
                index[row, : len(members)] = members
                mask[row, : len(members)] = [structure.terms[k][1] for k in members]
                for column, k in enumerate(members):
                    turn = (-1j) ** ((x & structure.terms[k][1]).bit_count() % 4)
                    phase[:, row, column] = turn.real, turn.imag
            flips = np.array([x for x, _ in found])
            out.append(
                {
                    "index": index,
                    "phase": phase.transpose(1, 0, 2),
                    "flip": np.stack([flips // low, flips % low], 1).astype(np.int32),
                    "mask": np.stack([mask // low, mask % low], 1).astype(np.int32),
                }
            )
        return out

    def apply(self, tables: Any, coefficients: Any, state: Any) -> Any:
        """H|state>; coefficients of shape (terms,)."""
        c = coefficients.astype(state.real.dtype)
        out: list[Any] = []
        signs, words = tables
        if len(self.diagonal):
            high, low = (t.astype(c.dtype) for t in signs)
            weights = ((high * c[self.diagonal][:, None]).T @ low).reshape(-1)
            out.append(layout.State(state.real * weights, state.imaginary * weights))
        for one in self.locals:
            basis = jnp.asarray(one.basis[:, 0] if one.real else one.basis, c.dtype)
            matrix = jnp.tensordot(c[one.terms], basis, 1)
            out.append(layout.apply_matrix(matrix, state, one.wires, self.wires))
        out += [self._flips(table, c, state) for table in words]
        return jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *(out or [jax.tree.map(jnp.zeros_like, state)]))

    def _flips(self, table: Any, c: Any, state: Any) -> Any:
        first, low = layout.half(self.wires)
        cube = jax.tree.map(lambda part: part.reshape(first, low), state)
        rows, columns = lax.iota(jnp.int32, first), lax.iota(jnp.int32, low)

        def one(out: Any, at: Any) -> tuple[Any, None]:
            # (P psi)[i] = (-i)**(number of Y) * sign(i & z) * psi[i ^ x]: the word's own order is X before Z.
            weight = at["phase"].astype(c.dtype) * c[at["index"]]
            high, right = (
                parity(index[None, :], mask[:, None]).astype(c.dtype)
                for index, mask in zip((rows, columns), at["mask"], strict=True)
            )
            real, imaginary = (jnp.einsum("k,ka,kb->ab", w, high, right) for w in weight)
            moved = jax.tree.map(lambda part: part[rows ^ at["flip"][0]][:, columns ^ at["flip"][1]], cube)
            return layout.State(
                out.real + (real * moved.real - imaginary * moved.imaginary),
                out.imaginary + (real * moved.imaginary + imaginary * moved.real),
            ), None

        out, _ = lax.scan(one, jax.tree.map(jnp.zeros_like, cube), table)
        return jax.tree.map(lambda part: part.reshape(-1), out)
