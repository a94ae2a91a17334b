"""Ground-state energies that are known in closed form: free fermions, and infinite chains."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal
from scipy.special import ellipe, j0, j1, zeta

from varq import checks

__all__ = ["free_electrons", "heisenberg_per_site", "ising_chain", "ising_per_site", "ising_ring", "lieb_wu"]

PANEL_NODES = 24  # Gauss-Legendre nodes for each length pi of the Lieb-Wu integral: rounding level for Bessel functions
WEAK = 1e-3  # below, three terms of the expansion in U/t are exact to 1e-12 and the integral would be long
TAIL = 80.0  # the integrand is cut where its exponential has fallen to exp(-80)


def ising_chain(sites: int, coupling: float, field: float) -> float:
    """The ground energy of -J sum ZZ - g sum X on an open chain, by free fermions.

    The singular values of the bidiagonal matrix of g and J are the mode energies; they are the positive eigenvalues of
    a tridiagonal matrix with g and J in turn beside its diagonal.

    References:
        P. Pfeuty, Ann. Phys. 57, 79 (1970).
    """
    beside = np.empty(2 * sites - 1)
    beside[0::2], beside[1::2] = field, coupling
    return -float(np.abs(eigvalsh_tridiagonal(np.zeros(2 * sites), beside)).sum()) / 2


def ising_ring(sites: int, coupling: float, field: float) -> float:
    """The ground energy of -J sum ZZ - g sum X on a ring of at least 3 sites, by free fermions.

    The fermions' boundary is antiperiodic where the product of all X is +1 and periodic where it is -1. The lowest
    state of a sector has the fermion parity sign(g^n + p J^n); where that is not p, the cheapest mode is excited
    (a frustrated ring, for example).
    """
    return min(_ring_sector(sites, coupling, field, parity) for parity in (1, -1))


def _ring_sector(sites: int, coupling: float, field: float, parity: int) -> float:
    momenta = (2 * np.arange(sites) + (parity == 1)) * np.pi / sites
    modes = np.abs(field - coupling * np.exp(1j * momenta))
    largest = max(abs(field), abs(coupling)) or 1.0
    determinant = (field / largest) ** sites + parity * (coupling / largest) ** sites
    matches = determinant * parity >= 0
    return -float(modes.sum()) + (0.0 if matches else 2 * float(modes.min()))


def ising_per_site(coupling: float, field: float) -> float:
    """The ground energy per site of -J sum ZZ - g sum X on an infinite chain.

    Example:
        >>> bool(abs(ising_per_site(1, 1) + 4 / np.pi) < 1e-12)
        True
    """
    total = abs(coupling) + abs(field)
    if total == 0:
        return 0.0
    return -2 / math.pi * total * float(ellipe(4 * abs(coupling * field) / total**2))


def heisenberg_per_site() -> float:
    """The ground energy per site of sum S.S on an infinite chain, 1/4 - ln 2.

    References:
        L. Hulthen, Ark. Mat. Astron. Fys. 26A (11), 1 (1938).
    """
    return 0.25 - math.log(2)


def free_electrons(hopping: NDArray[np.float64], electrons: tuple[int, int]) -> float:
    """The lowest energy of electrons that do not interact: the lowest orbitals filled once for each spin.

    Args:
        hopping: one-electron matrix, shape (orbitals, orbitals).
        electrons: (spin up, spin down).
    """
    levels = np.linalg.eigvalsh(hopping)
    return float(sum(levels[:count].sum() for count in electrons))


def lieb_wu(interaction: float, hopping: float = 1.0) -> float:
    """The ground energy per site of the infinite half-filled Hubbard chain, H = -t sum c'c + U sum n n.

    -4 t times the integral over w > 0 of J0(w) J1(w) / (w (1 + exp(w U / 2 t))).

    Args:
        interaction: U, at least 0.
        hopping: t, greater than 0.

    Raises:
        ValueError: if a number is out of range.

    References:
        E. H. Lieb and F. Y. Wu, Phys. Rev. Lett. 20, 1445 (1968).

    Example:
        >>> round(lieb_wu(4.0), 8)
        -0.57372937
    """
    u = checks.real("interaction", interaction, minimum=0.0) / checks.real("hopping", hopping, above=0.0)
    if u < WEAK:
        return hopping * (-4 / math.pi + u / 4 - 7 * float(zeta(3)) * u**2 / (16 * math.pi**3))
    panels = math.ceil(2 * TAIL / u / math.pi)
    nodes, weights = np.polynomial.legendre.leggauss(PANEL_NODES)
    total = 0.0
    for block in np.array_split(np.arange(panels), max(1, panels // 10_000)):
        w = math.pi * (block[:, None] + (nodes + 1) / 2)
        total += float(np.sum(j0(w) * j1(w) / (w * (1 + np.exp(np.minimum(w * u / 2, 700.0)))) * weights)) * math.pi / 2
    return -4 * hopping * total
