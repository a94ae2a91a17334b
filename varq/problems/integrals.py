"""The electronic Hamiltonian as numbers: one- and two-electron integrals, the constant, and how many electrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec

__all__ = ["SYMMETRY_TOLERANCE", "Integrals", "check_symmetries", "electron_pair"]

SYMMETRY_TOLERANCE = 1e-8  # hartree; largest difference between integrals that symmetry makes equal

# (pq|rs) of real orbitals is the same under these exchanges, which generate all eight.
_EXCHANGES = {"(pq|rs) = (qp|rs)": (1, 0, 2, 3), "(pq|rs) = (pq|sr)": (0, 1, 3, 2), "(pq|rs) = (rs|pq)": (2, 3, 0, 1)}


@dataclass(frozen=True, eq=False)
class Integrals:
    """Integrals over real, orthonormal spatial orbitals.

    Args:
        h1: one-electron integrals in hartree, shape (orbitals, orbitals), symmetric.
        h2: two-electron integrals (pq|rs) in hartree, chemist's order, shape (orbitals,) * 4, with all eight
            symmetries of real orbitals.
        constant: nuclear repulsion and energy of frozen electrons, in hartree.
        electrons: how many have spin up and how many spin down; one number stands for a closed shell of that many.

    Raises:
        TypeError: if an entry is no number.
        ValueError: for a wrong shape, missing symmetry, a value that is not finite, or electrons that do not fit.

    Example:
        >>> hydrogen_atom = Integrals(np.array([[-0.5]]), np.zeros((1, 1, 1, 1)), 0.0, (1, 0))
        >>> hydrogen_atom.orbitals, hydrogen_atom.determinant_energy
        (1, -0.5)
    """

    h1: NDArray[np.float64]
    h2: NDArray[np.float64]
    constant: float
    electrons: tuple[int, int]
    kind: ClassVar[str] = "data:integrals"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        h1 = _real("h1", self.h1, (None, None))
        n = len(h1)
        if n < 1 or h1.shape != (n, n):
            raise ValueError(f"h1 must be square with at least one orbital. Got shape {h1.shape}.")
        h2 = _real("h2", self.h2, (n, n, n, n))
        check_symmetries(h1, h2)
        for order in _EXCHANGES.values():
            h2 = (h2 + h2.transpose(order)) / 2  # changes no bit where the symmetry is exact
        object.__setattr__(self, "h1", checks.array("h1", (h1 + h1.T) / 2))
        object.__setattr__(self, "h2", checks.array("h2", h2))
        object.__setattr__(self, "constant", checks.real("constant", self.constant))
        object.__setattr__(self, "electrons", electron_pair(self.electrons, n))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Integrals) and spec.digest(self) == spec.digest(other)

    def __hash__(self) -> int:
        return hash((self.constant, self.electrons, self.h1.tobytes()))

    def __repr__(self) -> str:
        return f"Integrals(orbitals={self.orbitals}, electrons={self.electrons}, constant={self.constant:.8g})"

    @property
    def orbitals(self) -> int:
        """The number of spatial orbitals."""
        return len(self.h1)

    @property
    def determinant_energy(self) -> float:
        """The energy in hartree of the determinant that fills the first orbitals of each spin."""
        up, down = (np.arange(self.orbitals) < n for n in self.electrons)
        both = up.astype(float) + down
        coulomb = np.einsum("ppqq,p,q", self.h2, both, both)
        exchange = sum(np.einsum("pqqp,p,q", self.h2, s, s) for s in (up.astype(float), down.astype(float)))
        return float(self.constant + np.diag(self.h1) @ both + (coulomb - exchange) / 2)


def check_symmetries(h1: NDArray[Any], h2: NDArray[Any]) -> None:
    """Raise ValueError unless integrals have the symmetries of real orbitals, within `SYMMETRY_TOLERANCE`.

    Args:
        h1: shape (orbitals, orbitals).
        h2: (pq|rs), shape (orbitals,) * 4.
    """
    _symmetric("h1", h1, "h1[p, q] = h1[q, p]", (1, 0), "It must be Hermitian.")
    for rule, order in _EXCHANGES.items():
        _symmetric("h2", h2, rule, order, "It must be in chemist's order, (pq|rs), over real orbitals.")


def electron_pair(electrons: Any, orbitals: int) -> tuple[int, int]:
    """`electrons` as (spin up, spin down), checked against the number of spatial orbitals.

    Raises:
        TypeError: if it is neither an integer nor two.
        ValueError: if they do not fit.
    """
    if isinstance(electrons, (int, np.integer)) and not isinstance(electrons, bool):
        if electrons % 2:
            raise ValueError(
                f"electrons given as one number must be even. Got {electrons}. "
                "Say how many have spin up and spin down, such as "
                f"electrons=({electrons // 2 + 1}, {electrons // 2})."
            )
        electrons = (electrons // 2, electrons // 2)
    if not isinstance(electrons, (Sequence, np.ndarray)) or isinstance(electrons, str) or not _two(electrons):
        raise TypeError(f"electrons must be two integers, (spin up, spin down). Got {electrons!r}.")
    hint = f"There are {orbitals} spatial orbitals, each with room for one electron of either spin."
    up, down = (
        checks.integer(f"electrons[{i}]", n, minimum=0, maximum=orbitals, hint=hint) for i, n in enumerate(electrons)
    )
    if up + down == 0:
        raise ValueError("electrons must be at least one in all. Got (0, 0).")
    return up, down


def _two(values: Any) -> bool:
    return getattr(values, "ndim", 1) == 1 and len(values) == 2


def _real(name: str, value: Any, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    try:
        entries = np.asarray(value)
    except ValueError:  # rows of different lengths
        return checks.array(name, value, shape)
    if np.iscomplexobj(entries):
        if np.abs(entries.imag).max(initial=0.0) > SYMMETRY_TOLERANCE:
            raise ValueError(f"{name} must be real. Got complex entries: choose real orbitals.")
        value = entries.real
    return checks.array(name, value, shape)


def _symmetric(name: str, array: NDArray[Any], rule: str, order: tuple[int, ...], hint: str) -> None:
    gap = np.abs(array - array.transpose(order))
    worst = float(gap.max())
    if worst > SYMMETRY_TOLERANCE * max(1.0, float(np.abs(array).max())):
        where = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
        raise ValueError(f"{name} must be symmetric: {rule}. It is off by {worst:.3g} at index {where}. {hint}")
