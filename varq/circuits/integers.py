"""The number theory around order finding: what can be told of an integer, and of a measured phase, classically."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

__all__ = [
    "MULTIPLES",
    "denominator",
    "factors_from_order",
    "is_prime",
    "order_from",
    "perfect_power",
    "powers_of_base",
    "smallest_order",
    "split",
]

MULTIPLES = 4  # of a denominator that are tried: a measured phase s/r shares a small factor of r more often than not

# Enough to tell every number below 3.3e24: Sorenson and Webster, Math. Comp. 86, 985 (2017).
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)


def is_prime(number: int) -> bool:
    """Whether a number below 3.3e24 is prime, by Miller and Rabin's test with the witnesses that decide.

    Example:
        >>> [n for n in range(20) if is_prime(n)]
        [2, 3, 5, 7, 11, 13, 17, 19]
    """
    if number < 2 or any(number % w == 0 for w in _WITNESSES):
        return number in _WITNESSES
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = (number - 1) >> twos
    return all(_passes(number, witness, odd, twos) for witness in _WITNESSES)


def _passes(number: int, witness: int, odd: int, twos: int) -> bool:
    x = pow(witness, odd, number)
    if x in (1, number - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % number
        if x == number - 1:
            return True
    return False


def perfect_power(number: int) -> tuple[int, int] | None:
    """(root, exponent) with number = root**exponent and the largest exponent above 1; None if there is none.

    Example:
        >>> perfect_power(243), perfect_power(225), perfect_power(15)
        ((3, 5), (15, 2), None)
    """
    for exponent in range(number.bit_length(), 1, -1):
        root = _root(number, exponent)
        if root > 1 and root**exponent == number:
            return root, exponent
    return None


def _root(number: int, exponent: int) -> int:
    """The integer root, rounded down, by bisection."""
    low, high = 0, 1 << (number.bit_length() // exponent + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**exponent <= number else (low, middle)
    return low


def powers_of_base(base: int, modulus: int, count: int) -> list[int]:
    """base**(2**j) modulo `modulus` for j = count - 1 down to 0, by squaring: the multipliers of order finding.

    Example:
        >>> powers_of_base(7, 15, 4)
        [1, 1, 4, 7]
    """
    found = [base % modulus]
    for _ in range(count - 1):
        found.append(found[-1] ** 2 % modulus)
    return found[::-1]


def denominator(outcome: int, bits: int, modulus: int) -> int:
    """The denominator below `modulus` of the fraction nearest to outcome / 2**bits, by continued fractions.

    Example:
        >>> denominator(171, 9, 21)
        3
    """
    return Fraction(outcome, 1 << bits).limit_denominator(modulus - 1).denominator


def order_from(denominators: Iterable[int], base: int, modulus: int) -> int | None:
    """The order of `base`, where a small multiple of a denominator (or of two denominators' common multiple) is one.

    A phase of zero has the denominator 1, which tells nothing and is left out.

    Args:
        denominators: of measured phases.
        base: without a common factor with the modulus.
        modulus: of the multiplication.

    Example:
        >>> order_from([1, 2], 7, 15), order_from([2, 3], 2, 21), order_from([1], 7, 15)
        (4, 6, None)
    """
    told = sorted({d for d in denominators if d > 1})
    for known in told:
        found = _multiple(known, base, modulus)
        if found is not None:
            return found
    for k, first in enumerate(told):
        for second in told[k + 1 :]:
            common = math.lcm(first, second)
            found = _multiple(common, base, modulus) if common < modulus else None
            if found is not None:
                return found
    return None


def _multiple(known: int, base: int, modulus: int) -> int | None:
    for factor in range(1, MULTIPLES + 1):
        if pow(base, factor * known, modulus) == 1:
            return smallest_order(base, factor * known, modulus)
    return None


def smallest_order(base: int, exponent: int, modulus: int) -> int:
    """The order itself, from an exponent with base**exponent = 1: prime factors are taken out while it stays so."""
    order = exponent
    for prime in _prime_factors(exponent):
        while order % prime == 0 and pow(base, order // prime, modulus) == 1:
            order //= prime
    return order


def _prime_factors(number: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            found.append(divisor)
            while number % divisor == 0:
                number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def factors_from_order(base: int, order: int, modulus: int) -> tuple[int, int] | None:
    """(p, q) with p q = modulus and 1 < p <= q, from an even order with base**(order/2) other than -1; else None.

    Example:
        >>> factors_from_order(7, 4, 15), factors_from_order(14, 2, 15)
        ((3, 5), None)
    """
    if order % 2:
        return None
    half = pow(base, order // 2, modulus)
    return split(modulus, (math.gcd(half - 1, modulus), math.gcd(half + 1, modulus)))


def split(number: int, divisors: Sequence[int]) -> tuple[int, int] | None:
    """(p, q) with p q = number, from the first divisor that is not trivial; None if all are."""
    for divisor in divisors:
        if 1 < divisor < number:
            p, q = sorted((divisor, number // divisor))
            return p, q
    return None
