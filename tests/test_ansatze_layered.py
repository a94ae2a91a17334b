"""Layered ansatze against matrix products, exact ground states, and free fermions."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from ansatze_truth import ROUNDING, basis_state, expectation, lower, number, one, same_ray, state, word
from hypothesis import given
from hypothesis import strategies as st
from pennylane import numpy as pnp
from scipy.linalg import expm
from scipy.optimize import minimize

from varq.ansatze.fermi_sea import givens_angles, hopping_matrix, lowest_orbitals
from varq.ansatze.layered import HamiltonianVariational, HardwareEfficient

TILT = 2e-3  # the sea belongs to hoppings that are up to 1e-4 stronger, among a dozen words
OPTIMIZED = 1e-7  # energy; L-BFGS-B with a gradient tolerance of 1e-8 and curvatures of order 1


def ising(wires: int, field: float) -> tuple[Any, ...]:
    """The ring of transverse-field Ising spins as parts."""
    bonds = [{i, (i + 1) % wires} for i in range(wires)]
    zz = tuple((-1.0, "".join("Z" if k in b else "I" for k in range(wires))) for b in bonds)
    x = tuple((-field, "".join("X" if k == i else "I" for k in range(wires))) for i in range(wires))
    return (("bonds", zz), ("field", x))


def heisenberg(wires: int) -> tuple[Any, ...]:
    """The open chain of Heisenberg spins as even and odd bonds."""

    def bonds(first: int) -> tuple[tuple[float, str], ...]:
        return tuple(
            (0.25, "".join(c if k in (i, i + 1) else "I" for k in range(wires)))
            for i in range(first, wires - 1, 2)
            for c in "XYZ"
        )

    return (("even", bonds(0)), ("odd", bonds(1)))


def hubbard(sites: int, hopping: float, repulsion: float) -> tuple[Any, ...]:
    """The open Hubbard chain as even bonds, odd bonds and repulsion, without constants."""

    def bond(p: int, spin: int, c: str) -> tuple[float, str]:
        a, b = 2 * p + spin, 2 * p + 2 + spin
        letters = {a: c, b: c, a + 1: "Z"}
        return (-hopping / 2, "".join(letters.get(k, "I") for k in range(2 * sites)))

    def bonds(first: int) -> tuple[tuple[float, str], ...]:
        return tuple(bond(p, s, c) for p in range(first, sites - 1, 2) for s in (0, 1) for c in "XY")

    signs = [((-1, {2 * p}), (-1, {2 * p + 1}), (1, {2 * p, 2 * p + 1})) for p in range(sites)]
    onsite = tuple(
        (sign * repulsion / 4, "".join("Z" if k in where else "I" for k in range(2 * sites)))
        for terms in signs
        for sign, where in terms
    )
    parts = (("even", bonds(0)), ("odd", bonds(1)), ("repulsion", onsite))
    return tuple(part for part in parts if part[1])


def matrix(parts: tuple[Any, ...]) -> np.ndarray:
    return np.asarray(sum(weight * word(letters) for _, words in parts for weight, letters in words))


def minimum(ansatz: HamiltonianVariational, seed: int) -> float:
    terms = [(w, qml.pauli.string_to_pauli_word(p)) for _, words in ansatz.parts for w, p in words]

    @qml.qnode(qml.device("lightning.qubit", wires=ansatz.wires), diff_method="adjoint")
    def node(params: Any) -> Any:
        ansatz(params)
        return qml.expval(qml.Hamiltonian(*zip(*terms, strict=True)))

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = qml.grad(node)
        slopes = gradient(pnp.array(flat.reshape(ansatz.shape), requires_grad=True))
        return float(gradient.forward), np.ravel(slopes)

    options = {"gtol": 1e-8, "ftol": 1e-15}
    start = ansatz.init(seed).ravel()
    return float(minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).fun)


# -- hardware-efficient -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entangler", ["CNOT", "CZ"])
@pytest.mark.parametrize("pattern", ["ring", "chain", "all"])
def test_hardware_efficient_layers_are_their_matrix_product(entangler: str, pattern: str) -> None:
    wires = 4
    ansatz = HardwareEfficient(wires, 2, ("RX", "RZ", "RY"), entangler, pattern)
    chain = [(i, i + 1) for i in range(wires - 1)]
    pairs = {"chain": chain, "ring": [*chain, (wires - 1, 0)], "all": list(combinations(range(wires), 2))}[pattern]
    angles = np.random.default_rng(1).uniform(-3, 3, ansatz.shape)
    want = basis_state([0] * wires).astype(complex)
    for layer, block in enumerate(angles):
        for a, b in pairs if layer else []:
            flip = one("X" if entangler == "CNOT" else "Z", b, wires)
            control = one("Z", a, wires)
            want = ((np.eye(16) + control) / 2 + (np.eye(16) - control) / 2 @ flip) @ want
        for wire in range(wires):
            for angle, letter in zip(block[wire], "XZY", strict=True):
                want = expm(-0.5j * angle * one(letter, wire, wires)) @ want
    assert np.abs(state(ansatz, angles, wires) - want).max() < ROUNDING


def test_small_rings_join_no_pair_twice() -> None:
    assert HardwareEfficient(1, 2).pairs == ()
    assert HardwareEfficient(2, 2).pairs == ((0, 1),)
    assert HardwareEfficient(3, 2).pairs == ((0, 1), (1, 2), (2, 0))


def test_hardware_efficient_starts_narrower_when_deeper() -> None:
    draws = [HardwareEfficient(20, depth).init(0) for depth in (1, 30)]
    for depth, values in zip((1, 30), draws, strict=True):
        assert abs(values.std() * np.sqrt(8 * (depth + 2)) - 1) < 5 / np.sqrt(2 * values.size)


def test_hardware_efficient_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"rotations must be one of .* Got 'RW'"):
        HardwareEfficient(2, 1, ("RY", "RW"))
    with pytest.raises(ValueError, match="rotations must name at least one gate"):
        HardwareEfficient(2, 1, ())
    with pytest.raises(TypeError, match="rotations must be of type"):
        HardwareEfficient(2, 1, "RY")
    with pytest.raises(ValueError, match=r"entangler must be one of 'CNOT', 'CZ'\. Got 'cnot'\. Did you mean 'CNOT'"):
        HardwareEfficient(2, 1, entangler="cnot")
    with pytest.raises(ValueError, match=r"pattern must be one of .* Did you mean 'ring'"):
        HardwareEfficient(2, 1, pattern="rings")
    with pytest.raises(ValueError, match="wires must be at least 1"):
        HardwareEfficient(0, 1)
    with pytest.raises(ValueError, match="depth must be at least 0"):
        HardwareEfficient(2, -1)
    with pytest.raises(ValueError, match="needs a problem that states its number of wires"):
        HardwareEfficient.for_problem(SimpleNamespace())


def test_hardware_efficient_is_made_for_a_problem() -> None:
    made = HardwareEfficient.for_problem(SimpleNamespace(wires=5), depth=1, entangler="CZ")
    assert made == HardwareEfficient(5, 1, entangler="CZ")


# -- Hamiltonian variational --------------------------------------------------------------------------------------

XYZ = (("a", ((0.7, "XYZ"), (-0.4, "XIX"), (0.3, "YZX"))), ("b", ((1.1, "ZII"), (0.2, "ZZZ"), (0.5, "IIZ"))))


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_layers_are_exponentials_of_the_parts(device: str) -> None:
    parts = (("a", ((0.7, "XYZ"), (-0.4, "YXZ"))), *XYZ[1:], ("c", ((0.4, "YYI"), (-0.3, "XXI"), (0.1, "IIY"))))
    ansatz = HamiltonianVariational(parts, depth=2)
    angles = np.random.default_rng(5).uniform(-2, 2, ansatz.shape)
    want = basis_state([0, 0, 0]).astype(complex)
    for layer in angles:
        for angle, part in zip(layer, parts, strict=True):
            want = expm(-1j * angle * matrix((part,))) @ want
    assert np.abs(state(ansatz, angles, 3, device) - want).max() < ROUNDING


def test_the_plus_state_is_the_ground_state_of_the_field() -> None:
    ansatz = HamiltonianVariational(ising(4, 1.0), depth=1, start="plus")
    start = state(ansatz, np.zeros(ansatz.shape), 4)
    assert np.abs(start - 0.25).max() < ROUNDING


def test_singlets_are_the_ground_state_of_the_even_bonds() -> None:
    parts = heisenberg(5)
    ansatz = HamiltonianVariational(parts, depth=1, start="singlets")
    start = state(ansatz, np.zeros(ansatz.shape), 5)
    assert np.linalg.norm(matrix(parts[:1]) @ start - 2 * -0.75 * start) < ROUNDING


@pytest.mark.parametrize("electrons", [(2, 2), (1, 3), (0, 1), (4, 4)])
@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_the_fermi_sea_is_the_ground_state_of_the_hopping(electrons: tuple[int, int], device: str) -> None:
    parts = hubbard(4, hopping=1.0, repulsion=3.0)
    ansatz = HamiltonianVariational(parts, 1, "fermi-sea", electrons)
    start = state(ansatz, np.zeros(ansatz.shape), 8, device)
    levels = -2 * np.cos(np.pi * np.arange(1, 5) / 5)  # an open chain of four sites
    energy = sum(np.sort(levels)[:n].sum() for n in electrons)
    assert np.linalg.norm(matrix(parts[:2]) @ start - energy * start) < TILT
    for spin, count in enumerate(electrons):
        assert np.linalg.norm(number(8, spin) @ start - count * start) < ROUNDING


def test_the_fermi_sea_of_a_ring_fills_degenerate_levels_the_same_way() -> None:
    ring = -np.eye(4)[[1, 2, 3, 0]]
    rows = lowest_orbitals(ring + ring.T, 2)
    assert abs(np.trace(rows @ (ring + ring.T) @ rows.T) + 2) < TILT  # levels -2, 0, 0, 2
    assert np.abs(rows @ rows.T - np.eye(2)).max() < ROUNDING


@given(size=st.integers(1, 6), seed=st.integers(0, 1000), data=st.data())
def test_givens_rotations_span_the_given_orbitals(size: int, seed: int, data: Any) -> None:
    count = data.draw(st.integers(0, size))
    rows = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0][:count]
    turned = np.eye(size)[:count]
    found = givens_angles(rows)
    for angle, p in found:
        c, s = np.cos(angle / 2), np.sin(angle / 2)
        turned[:, [p, p + 1]] = turned[:, [p, p + 1]] @ np.array([[c, s], [-s, c]])
    assert len(found) <= count * (size - count)
    assert np.abs(turned.T @ turned - rows.T @ rows).max() < ROUNDING


def test_site_energies_and_hoppings_are_read_from_words() -> None:
    found = hopping_matrix([(0.5, "ZIII"), (-0.25, "XZXI"), (-0.25, "YZYI"), (9.0, "IXZX"), (4.0, "ZZII")], spin=0)
    assert np.array_equal(found, [[-1.0, -0.5], [-0.5, 0.0]])


@pytest.mark.parametrize(
    ("ansatz", "seed"),
    [
        (HamiltonianVariational(ising(6, 1.0), depth=3, start="plus"), 0),
        (HamiltonianVariational(ising(6, 0.4), depth=3, start="plus"), 1),
        (HamiltonianVariational(heisenberg(4), depth=3, start="singlets"), 0),
        (HamiltonianVariational(hubbard(2, 1.0, 4.0), depth=2, start="fermi-sea", electrons=(1, 1)), 0),
    ],
    ids=["critical Ising", "ordered Ising", "Heisenberg", "Hubbard"],
)
def test_ground_states_are_found_from_the_own_start(ansatz: HamiltonianVariational, seed: int) -> None:
    full = matrix(ansatz.parts)
    if ansatz.electrons is None:
        exact = float(np.linalg.eigvalsh(full)[0])
    else:
        keep = np.all([np.round(np.diag(number(ansatz.wires, s))) == ansatz.electrons[s] for s in (0, 1)], axis=0)
        exact = float(np.linalg.eigvalsh(full[np.ix_(keep, keep)])[0])
    assert abs(minimum(ansatz, seed) - exact) < OPTIMIZED


def ring_of_four() -> tuple[Any, ...]:
    even, odd, onsite = hubbard(4, 1.0, 4.0)
    across = tuple(
        (-0.5, "".join(c if k in (s, 6 + s) else "Z" if s < k < 6 + s else "I" for k in range(8)))
        for s in (0, 1)
        for c in "XY"
    )
    return (onsite, even, ("odd", odd[1] + across))


def test_the_sea_of_a_half_filled_ring_has_the_symmetry_of_its_bonds() -> None:
    """Its ground state is an open-shell singlet, two closed shells apart, of orbitals that live on bonds."""
    ansatz = HamiltonianVariational(ring_of_four(), depth=1, start="fermi-sea", electrons=(2, 2))
    sea = state(ansatz, np.zeros(ansatz.shape), 8)
    bond = np.array([1, 1, -1, -1]) / 2
    filled = np.outer(np.ones(4), np.ones(4)) / 4 + np.outer(bond, bond)
    for p, q in np.ndindex(4, 4):
        moved = sea.conj() @ (lower(2 * p, 8).T @ lower(2 * q, 8) @ sea)
        assert abs(moved - filled[p, q]) < TILT


@pytest.mark.full
def test_the_ground_state_of_a_half_filled_ring_is_reached() -> None:
    ring = ring_of_four()
    ansatz = HamiltonianVariational(ring, depth=8, start="fermi-sea", electrons=(2, 2))
    keep = np.all([np.round(np.diag(number(8, s))) == 2 for s in (0, 1)], axis=0)
    exact = float(np.linalg.eigvalsh(matrix(ring)[np.ix_(keep, keep)])[0])
    assert abs(minimum(ansatz, 0) - exact) < 1e-5  # the tilt leaves 1e-8 of what cannot be reached


class Sum:
    """A stand-in for a sum of Pauli words, which has `operator`."""

    def __init__(self, words: Any) -> None:
        self.words = words

    def operator(self) -> Any:
        weights, letters = zip(*self.words, strict=True)
        return qml.Hamiltonian(weights, [qml.pauli.string_to_pauli_word(w) for w in letters]) + 3.0 * qml.I(0)


@pytest.mark.parametrize(
    ("kind", "parts", "start", "wires"),
    [
        ("problem:transverse-field-ising", ising(4, 0.5), "plus", 4),
        ("problem:heisenberg", heisenberg(4), "singlets", 4),
        ("problem:hubbard", hubbard(2, 1.0, 4.0), "fermi-sea", 4),
        ("problem:else", ising(3, 0.5), "zeros", 3),
    ],
)
def test_it_is_made_from_the_parts_of_a_problem(kind: str, parts: Any, start: str, wires: int) -> None:
    sums = tuple((name, Sum(words)) for name, words in parts if words)
    problem = SimpleNamespace(kind=kind, parts=sums, wires=wires, electrons=(1, 1), orbitals=2)
    made = HamiltonianVariational.for_problem(problem)
    assert (made.start, made.depth, made.wires) == (start, max(1, wires // 2), wires)
    assert np.abs(matrix(made.parts) - matrix(parts)).max() < ROUNDING
    other = HamiltonianVariational.for_problem(problem, depth=7, start="zeros")
    assert (other.depth, other.start, other.electrons) == (7, "zeros", None)


def test_problems_without_what_it_needs_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a problem that states the commuting parts"):
        HamiltonianVariational.for_problem(SimpleNamespace(wires=3))
    bare = SimpleNamespace(wires=3, parts=(("z", qml.Z(0)),))
    with pytest.raises(ValueError, match="start='fermi-sea' needs a problem of electrons"):
        HamiltonianVariational.for_problem(bare, start="fermi-sea")


def test_parts_are_checked() -> None:
    with pytest.raises(ValueError, match=r"words of a part must commute\. In part 'a', XYZ and XIX do not"):
        HamiltonianVariational(XYZ)
    with pytest.raises(ValueError, match=r"words of one length.* Got lengths \[1, 2\]"):
        HamiltonianVariational([("a", [(1.0, "X"), (1.0, "XX")])])
    with pytest.raises(ValueError, match=r"words of I, X, Y and Z that are not all I\. Got 'XW'"):
        HamiltonianVariational([("a", [(1.0, "XW")])])
    with pytest.raises(ValueError, match="that are not all I"):
        HamiltonianVariational([("a", [(1.0, "II")])])
    with pytest.raises(ValueError, match="at least one part, and each at least one word"):
        HamiltonianVariational([])
    with pytest.raises(ValueError, match="at least one part, and each at least one word"):
        HamiltonianVariational([("a", [])])
    with pytest.raises(TypeError, match="parts must hold pairs of a name and words"):
        HamiltonianVariational([1, 2])
    with pytest.raises(TypeError, match="parts must be a real number"):
        HamiltonianVariational([("a", [("one", "X")])])
    with pytest.raises(ValueError, match="parts must be finite"):
        HamiltonianVariational([("a", [(float("nan"), "X")])])


def test_starts_are_checked() -> None:
    with pytest.raises(ValueError, match=r"start must be one of .* Did you mean 'singlets'"):
        HamiltonianVariational(heisenberg(4), start="singlet")
    with pytest.raises(ValueError, match=r"bonds that do not touch\. Got part 'bonds'"):
        HamiltonianVariational(ising(4, 1.0), start="singlets")
    with pytest.raises(ValueError, match=r"electrons must be given for start='fermi-sea' and for no other\."):
        HamiltonianVariational(hubbard(2, 1.0, 1.0)[:1], start="fermi-sea")
    with pytest.raises(ValueError, match=r"electrons must be given for start='fermi-sea' and for no other\."):
        HamiltonianVariational(ising(4, 1.0), start="plus", electrons=(1, 1))
    with pytest.raises(ValueError, match=r"needs two wires for each orbital\. Got words of 3 letters"):
        HamiltonianVariational(ising(3, 1.0), start="fermi-sea", electrons=(1, 1))
    with pytest.raises(ValueError, match=r"electrons must be at most 2\. Got 3"):
        HamiltonianVariational(ising(4, 1.0), start="fermi-sea", electrons=(3, 1))
    with pytest.raises(ValueError, match="depth must be at least 1"):
        HamiltonianVariational(ising(4, 1.0), depth=0)


def test_zeros_start_from_zeros() -> None:
    ansatz = HamiltonianVariational(ising(3, 1.0), depth=1)
    assert same_ray(state(ansatz, np.zeros((1, 2)), 3), basis_state([0, 0, 0])) < ROUNDING
    assert expectation(ansatz, np.zeros((1, 2)), 3, matrix(ising(3, 1.0))) == pytest.approx(-3)
