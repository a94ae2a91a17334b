"""Measurement groups: the words of a Pauli sum that one circuit measures together, and their estimates from bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.estimation.cliffords import Gate, Mask, diagonalized
from varq.estimation.intervals import sample_mean
from varq.problems.pauli import PauliSum

__all__ = ["GROUPINGS", "Group", "measurement_groups"]

GROUPINGS = ("qubit-wise", "commuting")
CHUNK = 1 << 22  # (outcome, word) pairs looked at together: bounds the memory of an estimate to some 100 MB

_TURNS = {"X": ("H",), "Y": ("Sdg", "H"), "Z": ()}


@dataclass(frozen=True, eq=False)
class Group:
    """Pauli words that are measured together: after the rotations each is, up to its sign, a word of Z.

    Args:
        rotations: what precedes the measurement: for each wire the letter that is measured, "X", "Y" or "Z" ("Z" where
            no word acts); or the gates of a Clifford circuit as tuples of name and wires. Hashable either way.
        masks: for each word the wires of its Z after the rotations, as bits (bit k is wire k), uint64, shape (words,).
        coefficients: of the words, shape (words,).
        signs: of the words after the rotations, +1 or -1, shape (words,); None for all +1.

    Raises:
        ValueError: for masks, coefficients and signs of different lengths, or another letter than X, Y, Z.

    Example:
        >>> _, (group,) = measurement_groups(PauliSum.from_words({"XX": 1.0, "XI": 0.5}))
        >>> group.rotations, group.gates
        ('XX', (('H', (0,)), ('H', (1,))))
        >>> group.energies([[0, 0], [0, 1], [1, 0]]).tolist()
        [1.5, -0.5, -1.5]
    """

    rotations: str | tuple[Gate, ...]
    masks: Mask
    coefficients: NDArray[np.float64]
    signs: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.masks), len(self.coefficients), len(self.masks if self.signs is None else self.signs)}
        if len(lengths) > 1:
            raise ValueError(f"masks, coefficients and signs must be equally long. Got lengths {sorted(lengths)}.")
        if isinstance(self.rotations, str) and (strange := set(self.rotations) - set(_TURNS)):
            raise ValueError(f"rotations must be letters X, Y or Z, or gates. Got the letters {sorted(strange)}.")

    @property
    def basis(self) -> str:
        """The letter measured on each wire, where the words agree wire by wire.

        Raises:
            ValueError: if the group is measured after a Clifford circuit, for which letters would be wrong.
        """
        if not isinstance(self.rotations, str):
            raise ValueError("This group is measured after a Clifford circuit and has no basis letters. Use its gates.")
        return self.rotations

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The rotations as gates, the first one acting first."""
        if not isinstance(self.rotations, str):
            return self.rotations
        return tuple((name, (w,)) for w, letter in enumerate(self.rotations) for name in _TURNS[letter])

    @cached_property
    def deviation(self) -> float:
        """The standard deviation of one shot in the maximally mixed state: sqrt(sum of c^2).

        There the words, all different, have mean 0 and are uncorrelated.  It is also the root mean square over random
        states, up to the share 1 / (2^wires + 1), and so what one knows before measuring.
        """
        return float(np.linalg.norm(self.coefficients))

    def energies(self, bits: Any) -> NDArray[np.float64]:
        """The group's energy in each shot, shape (shots,).

        Args:
            bits: measured after the rotations: 0 and 1, shape (shots, wires), wire 0 first.

        Raises:
            ValueError: for another shape, fewer wires than the words have, or something else than 0 and 1.
        """
        outcomes, where = np.unique(self._outcomes(bits), return_inverse=True)
        weights = self.coefficients if self.signs is None else self.coefficients * self.signs
        values = np.empty(len(outcomes))
        rows = max(1, CHUNK // max(1, len(weights)))
        for start in range(0, len(outcomes), rows):
            odd = np.bitwise_count(outcomes[start : start + rows, None] & self.masks) & 1
            values[start : start + rows] = (1.0 - 2.0 * odd) @ weights
        return values[where]

    def estimate(self, bits: Any) -> tuple[float, float]:
        """The group's energy and the variance of that estimate, covariances between its words included.

        See `varq.estimation.intervals.sample_mean` for what the variance is when there are few shots.

        Args:
            bits: measured after the rotations: 0 and 1, shape (shots, wires), wire 0 first; at least one shot.

        Raises:
            ValueError: as `energies` does, and without shots.
        """
        return sample_mean(self.energies(bits), self.deviation)

    def _outcomes(self, bits: Any) -> Mask:
        """The bits of each shot as one integer."""
        values = np.asarray(bits)
        wires = int(np.bitwise_or.reduce(self.masks, initial=0)).bit_length()
        checks.shape("bits", values, (None, None), "One row a shot, one column a wire.")
        if values.shape[1] < wires:
            raise ValueError(f"bits must have a column for each of {wires} wires. Got {values.shape[1]}.")
        if values.dtype.kind not in "iub" or (values.size and not 0 <= values.min() <= values.max() <= 1):
            raise ValueError(
                "bits must be 0 or 1. Got something else. Turn an eigenvalue v of +1 or -1 to (1 - v) / 2."
            )
        used = values[:, :wires].astype(np.uint64)
        return np.asarray((used << np.arange(wires, dtype=np.uint64)).sum(axis=1, dtype=np.uint64))


def measurement_groups(observable: PauliSum, grouping: str = "qubit-wise") -> tuple[float, list[Group]]:
    """The constant of a Pauli sum, and its other words in groups that one circuit measures each.

    Words are taken in the order of falling coefficients and put into the first group they fit ("sorted insertion"),
    which keeps large coefficients together and so the variance small.  Equal words are added up first.

    Args:
        observable: Hermitian, so with real coefficients.
        grouping: "qubit-wise": words of a group agree on each wire where both act, and only single wires are rotated;
            "commuting": words of a group commute, which gives fewer groups, and circuits with a few CNOTs each.

    Raises:
        TypeError: if `observable` is no `PauliSum`.
        ValueError: if it is not Hermitian, or for another grouping.

    References:
        O. Crawford et al., Quantum 5, 385 (2021).

    Example:
        >>> h = PauliSum.from_words({"XX": 1.0, "YY": 1.0, "ZZ": 0.5, "II": -2.0})
        >>> [len(measurement_groups(h, grouping)[1]) for grouping in ("qubit-wise", "commuting")]
        [3, 1]
    """
    checks.instance("observable", observable, PauliSum, "PauliSum.from_operator(op) makes one of an operator.")
    checks.choice("grouping", grouping, GROUPINGS)
    merged = observable.simplify()
    scale = float(np.max(np.abs(merged.coefficients), initial=0.0))
    if not merged.is_hermitian(1e-10 * scale):
        largest = float(np.max(np.abs(np.imag(merged.coefficients))))
        raise ValueError(f"observable must be Hermitian. Got an imaginary coefficient of size {largest:.3g}.")
    values = np.real(merged.coefficients).astype(np.float64)
    identity = (merged.x | merged.z) == 0
    order = np.argsort(-np.abs(values), kind="stable")
    order = order[~identity[order]]
    sort, build = (_qubit_wise, _lettered) if grouping == "qubit-wise" else (_commuting, _rotated)
    x, z, values, constant = merged.x[order], merged.z[order], values[order], float(values[identity].sum())
    return constant, [build(observable.wires, x[rows], z[rows], values[rows]) for rows in _members(sort(x, z))]


def _members(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of each group's words, in their order."""
    order = np.argsort(places, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(places[order])) + 1) if len(places) else []


def _qubit_wise(x: Mask, z: Mask) -> NDArray[np.int64]:
    """The group of each word: the first in which every letter agrees wherever both act."""
    places = np.empty(len(x), np.int64)
    basis_x, basis_z = np.zeros_like(x), np.zeros_like(z)
    groups = 0
    for k in range(len(x)):
        here_x, here_z = basis_x[:groups], basis_z[:groups]
        differ = ((x[k] ^ here_x) | (z[k] ^ here_z)) & (x[k] | z[k]) & (here_x | here_z)
        g = places[k] = _first_free(differ != 0)
        basis_x[g] |= x[k]
        basis_z[g] |= z[k]
        groups = max(groups, int(g) + 1)
    return places


def _commuting(x: Mask, z: Mask) -> NDArray[np.int64]:
    """The group of each word: the first with all of whose words it commutes."""
    places = np.empty(len(x), np.int64)
    groups = 0
    for k in range(len(x)):
        odd = (np.bitwise_count(x[:k] & z[k]) + np.bitwise_count(z[:k] & x[k])) & 1
        blocked = np.zeros(groups, np.bool_)
        blocked[places[:k][odd == 1]] = True
        places[k] = _first_free(blocked)
        groups = max(groups, int(places[k]) + 1)
    return places


def _first_free(blocked: NDArray[np.bool_]) -> int:
    free = np.flatnonzero(~blocked)
    return int(free[0]) if len(free) else len(blocked)


def _lettered(wires: int, x: Mask, z: Mask, coefficients: NDArray[np.float64]) -> Group:
    """The group of words that agree wire by wire."""
    basis_x, basis_z = (int(np.bitwise_or.reduce(mask)) for mask in (x, z))
    basis = "".join("ZXZY"[(basis_x >> w & 1) + 2 * (basis_z >> w & 1)] for w in range(wires))
    return Group(basis, x | z, coefficients)


def _rotated(wires: int, x: Mask, z: Mask, coefficients: NDArray[np.float64]) -> Group:
    """The group of words that commute."""
    gates, masks, signs = diagonalized(x, z)
    return Group(gates, masks, coefficients, signs)
