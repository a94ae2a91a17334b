"""Fermion-to-qubit maps against PennyLane's, against matrices of ladder operators, and against each other."""

from __future__ import annotations

import math
from functools import partial, reduce
from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pennylane.fermi import FermiSentence, FermiWord

from varq.problems import fermion
from varq.problems.integrals import Integrals
from varq.problems.pauli import PauliSum

EXACT = 1e-10  # linear algebra on matrices of norm below 100
MAPS = tuple(fermion.MAPS)
PENNYLANE = {
    "jordan-wigner": lambda sentence, modes: qml.jordan_wigner(sentence),
    "parity": lambda sentence, modes: qml.parity_transform(sentence, modes),
    "bravyi-kitaev": lambda sentence, modes: qml.bravyi_kitaev(sentence, modes),
}
maps = pytest.mark.parametrize("mapping", MAPS)
sizes = st.integers(1, 3)
seeds = st.integers(0, 2**32 - 1)


def integrals(orbitals: int, seed: int) -> Integrals:
    rng = np.random.default_rng(seed)
    h1 = rng.normal(size=(orbitals,) * 2)
    h2 = rng.normal(size=(orbitals,) * 4)
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        h2 = h2 + h2.transpose(order)
    return Integrals(h1 + h1.T, h2, float(rng.normal()), (1, 1))


def sentence(given: Integrals) -> FermiSentence:
    """The Hamiltonian in PennyLane's own arithmetic of ladder operators, term by term."""
    n, out = given.orbitals, FermiSentence({FermiWord({}): given.constant})
    for p, q, s in product(range(n), range(n), (0, 1)):
        out += given.h1[p, q] * FermiWord({(0, 2 * p + s): "+", (1, 2 * q + s): "-"})
    for p, q, r, s in product(range(n), repeat=4):
        for a, b in product((0, 1), repeat=2):
            modes = (2 * p + a, 2 * r + b, 2 * s + b, 2 * q + a)
            if modes[0] != modes[1] and modes[2] != modes[3]:
                word = FermiWord({(k, mode): sign for k, (mode, sign) in enumerate(zip(modes, "++--", strict=True))})
                out += given.h2[p, q, r, s] / 2 * word
    return out


def apart(a: PauliSum, b: PauliSum) -> float:
    """The largest coefficient of the difference."""
    return float(np.max(np.abs((a - b).coefficients), initial=0.0))


def ladder(modes: int) -> list[NDArray[np.float64]]:
    """Matrices of the annihilation operators, by Kronecker products; mode 0 is the most significant bit."""
    lower, sign, one = np.array([[0.0, 1.0], [0.0, 0.0]]), np.diag([1.0, -1.0]), np.eye(2)
    return [reduce(np.kron, [sign] * j + [lower] + [one] * (modes - j - 1)) for j in range(modes)]


@maps
@given(orbitals=sizes, seed=seeds)
def test_words_are_those_of_pennylane(mapping: str, orbitals: int, seed: int) -> None:
    given = integrals(orbitals, seed)
    theirs = PENNYLANE[mapping](sentence(given), 2 * orbitals)
    ours = fermion.qubits(mapping, given.h1, given.h2, given.constant)
    assert apart(ours, PauliSum.from_operator(theirs, wires=2 * orbitals)) < EXACT


@maps
@pytest.mark.parametrize("modes", [1, 2, 3, 5, 6, 7, 8, 11])
def test_single_ladder_operators_are_those_of_pennylane(mapping: str, modes: int) -> None:
    for mode, sign in product(range(modes), "+-"):
        theirs = PENNYLANE[mapping](FermiWord({(0, mode): sign}), modes)
        ours = fermion.ladder_sum([1.0], [[mode]], [sign == "+"], modes, mapping)
        assert apart(ours, PauliSum.from_operator(theirs, wires=modes)) < EXACT


@maps
@given(modes=st.integers(1, 40))
def test_ladder_operators_anticommute(mapping: str, modes: int) -> None:
    rng = np.random.default_rng(modes)
    p, q = rng.integers(modes, size=2).tolist()
    one = PauliSum.identity(modes)
    lower = {j: fermion.ladder_sum([1.0], [[j]], [False], modes, mapping) for j in (p, q)}
    raised = lower[q].adjoint()
    mixed = lower[p] @ raised + raised @ lower[p]
    assert apart(mixed, one if p == q else PauliSum.zero(modes)) < EXACT
    assert apart(lower[p] @ lower[q] + lower[q] @ lower[p], PauliSum.zero(modes)) < EXACT


def test_the_hamiltonian_is_that_of_its_matrices() -> None:
    given = integrals(2, 7)
    a = ladder(4)
    want = given.constant * np.eye(16)
    for p, q, s in product(range(2), range(2), (0, 1)):
        want += given.h1[p, q] * a[2 * p + s].T @ a[2 * q + s]
    for p, q, r, s in product(range(2), repeat=4):
        for b, c in product((0, 1), repeat=2):
            want += given.h2[p, q, r, s] / 2 * a[2 * p + b].T @ a[2 * r + c].T @ a[2 * s + c] @ a[2 * q + b]
    got = fermion.jordan_wigner(given.h1, given.h2, given.constant).sparse().toarray()
    assert np.max(np.abs(got - want)) < EXACT


@given(orbitals=sizes, seed=seeds)
def test_three_maps_have_one_spectrum(orbitals: int, seed: int) -> None:
    given = integrals(orbitals, seed)
    build = (fermion.jordan_wigner, fermion.parity, fermion.bravyi_kitaev)
    spectra = [np.linalg.eigvalsh(f(given.h1, given.h2, given.constant).sparse().toarray()) for f in build]
    assert np.max(np.abs(spectra[1] - spectra[0])) < EXACT * 10
    assert np.max(np.abs(spectra[2] - spectra[0])) < EXACT * 10


@maps
@given(modes=st.integers(1, 63), seed=seeds)
def test_decode_inverts_encode(mapping: str, modes: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(2, size=(5, modes))
    assert np.array_equal(fermion.decode(fermion.encode(bits, mapping), mapping), bits)
    matrix = fermion.encoding(mapping, modes)
    assert np.array_equal(fermion.encode(bits, mapping), bits @ matrix.T % 2)


def test_the_tree_is_that_of_the_paper() -> None:
    """Eq. 29 of arXiv:1208.5986 for 8 modes: qubit 3 holds modes 0-3, qubit 5 modes 4-5, qubit 7 all."""
    sums = [np.flatnonzero(row).tolist() for row in fermion.encoding("bravyi-kitaev", 8)]
    assert sums == [[0], [0, 1], [2], [0, 1, 2, 3], [4], [4, 5], [6], list(range(8))]


def test_words_of_the_tree_are_short() -> None:
    """a_j acts on O(log n) wires, against up to n by the other maps."""
    longest = {}
    for mapping in MAPS:
        words = [fermion.ladder_sum([1.0], [[j]], [True], 32, mapping) for j in range(32)]
        longest[mapping] = max(int(np.bitwise_count(w.x | w.z).max()) for w in words)
    assert longest["bravyi-kitaev"] <= 2 * np.log2(32)
    assert longest["jordan-wigner"] == longest["parity"] == 32


@maps
@given(orbitals=sizes, seed=seeds)
def test_number_and_spin_are_conserved(mapping: str, orbitals: int, seed: int) -> None:
    given = integrals(orbitals, seed)
    h = fermion.qubits(mapping, given.h1, given.h2, given.constant)
    kept = [f(orbitals, mapping) for f in (fermion.number, fermion.spin_z, fermion.spin_squared)]
    for a in kept:
        assert apart(h @ a, a @ h) < EXACT
        assert all(apart(a @ b, b @ a) < EXACT for b in kept)


@maps
def test_spins_of_two_electrons(mapping: str) -> None:
    """Two electrons in two orbitals: three triplets, three singlets."""
    states = np.concatenate([fermion.sector(pair, 2, mapping) for pair in ((2, 0), (1, 1), (0, 2))])
    matrix = fermion.spin_squared(2, mapping).sparse().toarray()[np.ix_(states, states)]
    assert np.allclose(np.linalg.eigvalsh(matrix), [0, 0, 0, 2, 2, 2], atol=EXACT)


@maps
@pytest.mark.parametrize("electrons", [(0, 1), (2, 1), (3, 3), (1, 3)])
def test_a_sector_has_its_electrons(mapping: str, electrons: tuple[int, int]) -> None:
    states = fermion.sector(electrons, 3, mapping)
    numbers = fermion.number(3, mapping).sparse().diagonal()
    spins = fermion.spin_z(3, mapping).sparse().diagonal()
    inside = (np.abs(numbers - sum(electrons)) < EXACT) & (np.abs(spins - (electrons[0] - electrons[1]) / 2) < EXACT)
    assert np.array_equal(np.flatnonzero(inside), states)


@maps
def test_twenty_qubits_have_all_words_that_there_are(mapping: str) -> None:
    """Each map takes products of Majorana operators to words, one to one, and none cancels here.

    For each spin there are n^2 words of two of them or one occupation; words of both spins are products of these. Of
    one spin, two orbitals have one word of two occupations, three have six of an occupation and a hop, and four have
    the six with as many of one kind as of the other: for real integrals those of one kind alone cancel.
    """
    n, given = 10, integrals(10, 0)
    words = fermion.qubits(mapping, given.h1, given.h2, given.constant)
    alike = math.comb(n, 2) + 6 * math.comb(n, 3) + 6 * math.comb(n, 4)
    assert len(words) == 1 + 2 * n**2 + n**4 + 2 * alike


def in_physicists_order(mapping: str) -> PauliSum:
    """<pr|qs> in place of (pq|rs)."""
    given = integrals(3, 0)
    return fermion.qubits(mapping, given.h1, given.h2.transpose(0, 2, 1, 3))


BAD: list[tuple[str, Any, str]] = [
    ("map", lambda: fermion.qubits("jordan", [[1.0]]), "mapping must be one of .* Did you mean 'jordan-wigner'"),
    ("h1", lambda: fermion.jordan_wigner([[1.0, 2.0]]), r"h1 must have shape \(1, 1\). Got shape \(1, 2\)"),
    ("h2", lambda: fermion.parity(np.eye(2), np.zeros((2, 2))), r"h2 must have shape \(2, 2, 2, 2\)"),
    ("slanted", lambda: fermion.parity([[1.0, 2.0], [0.0, 1.0]]), r"h1\[p, q\] = h1\[q, p\]. It is off by 2"),
    *((f"physicist's order, {m}", partial(in_physicists_order, m), "must be in chemist's order") for m in MAPS),
    ("nan", lambda: fermion.parity([[np.nan]]), "h1 must be finite"),
    ("constant", lambda: fermion.parity([[1.0]], constant=np.inf), "constant must be finite"),
    ("size", lambda: fermion.bravyi_kitaev(np.eye(32)), "modes must be at most 63. Got 64"),
    ("modes", lambda: fermion.encoding("parity", 64), "modes must be at most 63"),
    ("bits", lambda: fermion.encode([0, 2], "parity"), "occupations must hold zeros and ones"),
    ("decoded bits", lambda: fermion.decode([0, -1]), "bits must hold zeros and ones"),
    ("orbitals", lambda: fermion.number(0), "orbitals must be at least 1"),
    ("spin orbitals", lambda: fermion.spin_squared(32), "orbitals must be at most 31"),
    ("ladder mode", lambda: fermion.ladder_sum([1.0], [[4]], [True], 4), "modes must be from 0 to 3. Got 4 to 4"),
    ("ladder length", lambda: fermion.ladder_sum([1.0, 2.0], [[1]], [True], 4), r"coefficients must have shape \(1,\)"),
    ("electrons", lambda: fermion.sector((3, 0), 2), r"electrons\[0\] must be at most 2. Got 3"),
]


@pytest.mark.parametrize(("call", "match"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_arguments(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
