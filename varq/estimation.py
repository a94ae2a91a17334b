"""From measured bits to energies with error bars: measurement groups and their estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq.problems.pauli import PauliSum

__all__ = ["Group", "measurement_groups"]


@dataclass(frozen=True, eq=False)
class Group:
    """Pauli words that are measured together, wire by wire.

    Args:
        basis: for each wire the letter that is measured, "X", "Y" or "Z" ("Z" where no word acts).
        masks: for each word the wires it acts on, as bits (bit k is wire k), uint64, shape (words,).
        coefficients: of the words, shape (words,).
    """

    basis: str
    masks: NDArray[np.uint64]
    coefficients: NDArray[np.float64]

    def estimate(self, bits: NDArray[Any]) -> tuple[float, float]:
        """The group's energy and the variance of that estimate, from bits of shape (shots, wires)."""
        weights = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
        outcomes = (bits.astype(np.uint64) * weights).sum(axis=1)
        odd = np.bitwise_count(outcomes[:, None] & self.masks[None, :]) & 1
        energies = (1.0 - 2.0 * odd) @ self.coefficients
        shots = len(energies)
        variance = float(energies.var(ddof=1)) / shots if shots > 1 else float("nan")
        return float(energies.mean()), variance


def measurement_groups(observable: PauliSum) -> tuple[float, list[Group]]:
    """The constant of a Pauli sum, and its other words in qubit-wise commuting groups.

    Words are taken in the order of falling coefficients and put into the first group they fit ("sorted insertion",
    Crawford et al., Quantum 5, 385 (2021)), which keeps large coefficients together and so the variance small.

    Args:
        observable: Hermitian, so with real coefficients.
    """
    x, z = observable.x, observable.z
    coefficients = np.real(observable.coefficients).astype(np.float64)
    identity = (x | z) == 0
    order = [int(k) for k in np.argsort(-np.abs(coefficients), kind="stable") if not identity[k]]
    basis_x: list[int] = []
    basis_z: list[int] = []
    members: list[list[int]] = []
    for k in order:
        word_x, word_z = int(x[k]), int(z[k])
        for g in range(len(members)):
            shared = (word_x | word_z) & (basis_x[g] | basis_z[g])
            if ((word_x ^ basis_x[g]) | (word_z ^ basis_z[g])) & shared == 0:
                break
        else:
            g = len(members)
            basis_x.append(0)
            basis_z.append(0)
            members.append([])
        basis_x[g] |= word_x
        basis_z[g] |= word_z
        members[g].append(k)
    groups = [
        Group(
            basis="".join("ZXZY"[(bx >> w & 1) + 2 * (bz >> w & 1)] for w in range(observable.wires)),
            masks=(x | z)[rows],
            coefficients=coefficients[rows],
        )
        for bx, bz, rows in zip(basis_x, basis_z, members, strict=True)
    ]
    return float(coefficients[identity].sum()), groups
