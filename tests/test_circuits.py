"""Circuits that algorithms share, beside integer arithmetic, matrices and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from simulator_branches import fits

from varq.circuits.adders import Registers, add, add_modular, multiply
from varq.circuits.frames import fourier, sine_state
from varq.circuits.integers import (
    denominator,
    factors_from_order,
    is_prime,
    order_from,
    perfect_power,
    powers_of_base,
    smallest_order,
)
from varq.circuits.permutation import HELD, semiclassical_outcomes, transformed_outcomes

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own, or in NumPy

EXACT = 1e-12  # products of a few hundred small matrices in float64
SEED = 20260801


def applied(circuit: Callable[[], Any], state: Any) -> Any:
    """A state of 2^n amplitudes after a circuit, gate by gate in NumPy: no code of the simulator's."""
    tape = qml.tape.make_qscript(circuit)()
    wires = len(state).bit_length() - 1
    out = np.asarray(state, dtype=complex).reshape((2,) * wires)
    for op in tape.operations:
        own, count = list(op.wires), len(op.wires)
        matrix = op.matrix().reshape((2,) * (2 * count))
        out = np.moveaxis(np.tensordot(matrix, out, axes=(range(count, 2 * count), own)), range(count), own)
    return out.ravel()


def order_by_search(base: int, modulus: int) -> int:
    return next(r for r in range(1, modulus) if pow(base, r, modulus) == 1)


def order_law(order: int, bits: int) -> Any:
    """The law of order finding: sums of geometric series over x = x0 modulo the order, as matrices."""
    size = 1 << bits
    law = np.zeros(size)
    for start in range(order):
        x = np.arange(start, size, order)
        law += np.abs(np.exp(-2j * np.pi * np.outer(np.arange(size), x) / size).sum(axis=1)) ** 2
    return law / size**2


# -- integers ------------------------------------------------------------------------------------------------------


def test_primes_are_those_of_a_sieve() -> None:
    sieve = np.ones(5000, bool)
    sieve[:2] = False
    for p in range(2, 71):
        sieve[p * p :: p] = False
    assert [n for n in range(5000) if is_prime(n)] == np.flatnonzero(sieve).tolist()
    # A Carmichael number, a strong pseudoprime to the bases 2, 3, 5 and 7, and a Mersenne prime.
    assert [is_prime(n) for n in (561, 3215031751, 2**61 - 1)] == [False, False, True]


def test_perfect_powers_are_those_of_a_table() -> None:
    table: dict[int, tuple[int, int]] = {}
    for root in range(2, 45):
        for exponent in range(2, 11):
            if root**exponent < 2000 and table.get(root**exponent, (0, 0))[1] < exponent:
                table[root**exponent] = (root, exponent)
    assert {n: perfect_power(n) for n in range(2, 2000)} == {n: table.get(n) for n in range(2, 2000)}


@pytest.mark.parametrize("modulus", [15, 21, 33, 91])
def test_every_phase_of_a_base_tells_a_divisor_of_its_order(modulus: int) -> None:
    bits = 2 * modulus.bit_length()
    for base in (b for b in range(2, modulus) if math.gcd(b, modulus) == 1):
        order = order_by_search(base, modulus)
        nearest = [round((s << bits) / order) for s in range(order)]
        told = [denominator(k, bits, modulus) for k in nearest]
        assert told == [order // math.gcd(order, s) for s in range(order)]
        assert order_from(told, base, modulus) == order
        assert smallest_order(base, 12 * order, modulus) == order
        found = factors_from_order(base, order, modulus)
        assert found is None or (found[0] * found[1] == modulus and found[0] > 1)
    assert powers_of_base(2, modulus, 5) == [pow(2, 2**j, modulus) for j in range(4, -1, -1)]


def test_two_denominators_tell_what_neither_does() -> None:
    base = next(b for b in range(2, 143) if math.gcd(b, 143) == 1 and order_by_search(b, 143) == 60)
    assert order_from([12, 5], base, 143) == 60  # neither of them four times
    assert [order_from([d], base, 143) for d in (1, 5, 12, 15)] == [None, None, None, 60]


# -- Fourier space -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_the_transform_is_that_of_pennylane_without_its_swaps(size: int) -> None:
    matrix = qml.matrix(fourier, wire_order=range(size))(range(size))
    flipped = np.array([int(f"{k:0{size}b}"[::-1], 2) for k in range(1 << size)])
    np.testing.assert_allclose(matrix[flipped], qml.QFT(range(size)).matrix(), atol=EXACT)
    back = qml.matrix(fourier, wire_order=range(size))(range(size), inverse=True)
    np.testing.assert_allclose(back @ matrix, np.eye(1 << size), atol=EXACT)


@pytest.mark.parametrize("controls", [(), (3,), (3, 4)])
@pytest.mark.parametrize("number", [0, 3, -5, 11])
def test_additions_are_additions(number: int, controls: Sequence[int]) -> None:
    def circuit() -> None:
        fourier(range(3))
        add(number, range(3), controls)
        fourier(range(3), inverse=True)

    wires = 3 + len(controls)
    matrix = qml.matrix(circuit, wire_order=range(wires))()
    ones = (1 << len(controls)) - 1
    for b in range(8):
        for c in range(ones + 1):
            after = (b + number) % 8 if c == ones else b
            assert abs(matrix[(after << len(controls)) + c, (b << len(controls)) + c] - 1) < EXACT


def test_sine_states_are_the_best_input() -> None:
    """The first eigenvector of the matrix whose mean is the sharpness, found by diagonalizing it."""
    for bits in (2, 5):
        size = 1 << bits
        hops = np.diag(np.ones(size - 1) / 2, 1)
        levels, vectors = np.linalg.eigh(hops + hops.T)
        np.testing.assert_allclose(np.abs(vectors[:, -1]), sine_state(bits), atol=EXACT)
        assert abs(levels[-1] ** -2 - 1 - math.tan(math.pi / (size + 1)) ** 2) < EXACT


# -- modular multiplication ----------------------------------------------------------------------------------------


def test_a_modular_addition_leaves_the_ancilla_clean() -> None:
    registers = Registers((0,), (1, 2, 3, 4), 5)
    controls = [0, 6]

    def circuit() -> None:
        fourier(registers.sums)
        add_modular(5, 7, registers, controls)
        fourier(registers.sums, inverse=True)

    state = np.zeros((2, 16, 2, 2), complex)  # control, sums, ancilla, other control
    weights = np.random.default_rng(SEED).normal(size=(2, 7, 2))
    state[:, :7, 0, :] = weights
    want = np.zeros_like(state)
    for b in range(7):
        want[:, b, 0, :] += weights[:, b, :] * np.array([[1, 1], [1, 0]])
        want[1, (b + 5) % 7, 0, 1] += weights[1, b, 1]
    np.testing.assert_allclose(applied(circuit, state.ravel()).reshape(state.shape), want, atol=EXACT)


@pytest.mark.parametrize("factor", [2, 7, 14, pytest.param(11, marks=pytest.mark.full)])
def test_gates_multiply_as_the_permutation_does_on_all_residues(factor: int) -> None:
    """N = 15: any amplitudes on all residues, control 0 and 1, at once; sums and ancilla are zero again.

    The register never holds 15 itself, of which Beauregard's adders leave something in the sums.
    """
    registers = Registers.after(1, 4)
    rng = np.random.default_rng(SEED)
    weights = rng.normal(size=(2, 15)) + 1j * rng.normal(size=(2, 15))
    state, want = np.zeros((2, 2, 16, 64), complex)
    state[:, :15, 0] = weights
    want[0, :15, 0] = weights[0]
    want[1, factor * np.arange(15) % 15, 0] = weights[1]
    found = applied(lambda: multiply(factor, 15, 0, registers), state.ravel())
    np.testing.assert_allclose(found.reshape(state.shape), want, atol=EXACT)


# -- permutations --------------------------------------------------------------------------------------------------

CASES = [(15, 7, 8), (21, 2, 7)]  # modulus, base, bits


@pytest.mark.parametrize(("modulus", "base", "bits"), CASES)
@pytest.mark.parametrize("control", ["semiclassical", "qft"])
def test_outcomes_have_the_law_of_the_order(modulus: int, base: int, bits: int, control: str) -> None:
    shots, rng = 4000, np.random.default_rng(SEED)
    if control == "semiclassical":
        measured = semiclassical_outcomes(base, modulus, bits, rng.random((shots, bits)))
    else:
        measured = transformed_outcomes(base, modulus, bits, rng.random((shots, 2)))
    assert measured.shape == (shots, bits)
    assert measured.dtype == np.uint8
    counts = np.bincount(measured @ (1 << np.arange(bits - 1, -1, -1)), minlength=1 << bits)
    assert fits(counts, order_law(order_by_search(base, modulus), bits))


def test_shots_in_chunks_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    luck = np.random.default_rng(SEED).random((50, 8))
    whole = semiclassical_outcomes(7, 15, 8, luck)
    assert len(luck) * 16 < HELD
    monkeypatch.setattr("varq.circuits.permutation.HELD", 16 * 20)
    np.testing.assert_array_equal(semiclassical_outcomes(7, 15, 8, luck), whole)
    assert semiclassical_outcomes(7, 15, 8, luck, "complex64").shape == (50, 8)
