"""Codes that keep one logical qubit: stabilizers, logical operators, and the order in which ancillas touch the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations, product
from operator import xor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks

__all__ = ["Code", "FiveQubit", "Repetition", "RotatedSurface", "StabilizerCode", "Steane", "anticommute"]

Schedule = tuple[tuple[int | None, ...], ...]

_MOST_ERRORS = 100_000  # of one weight that are looked at, in a quarter of a second


def anticommute(first: str, second: str) -> bool:
    """Whether two Pauli strings of one length anticommute: they differ, without an I, at an odd number of places.

    Example:
        >>> anticommute("XZZXI", "ZIIII"), anticommute("XX", "ZZ")
        (True, False)
    """
    return sum("I" != a != b != "I" for a, b in zip(first, second, strict=True)) % 2 == 1


@dataclass(frozen=True)
class Code:
    """One logical qubit in several data qubits: what `Repetition`, `RotatedSurface`, `Steane`, ... have in common.

    Attributes:
        title: its name, in a few words.
        distance: the least number of data qubits on which an error that no stabilizer sees changes the logical qubit.
            For `Repetition`, of bit flips.
        wires: how many data qubits; they are counted from 0.
        stabilizers: Pauli strings over the data qubits, letters I, X, Y, Z, data qubit 0 first.
        logical_x: the logical X operator, such a string.
        logical_z: the logical Z operator.
        schedule: for each stabilizer, the data qubit that its ancilla touches in each layer of two-qubit gates; None
            where it rests.  All stabilizers can be measured at once: in a layer no data qubit is touched twice, and any
            two of them act in an order that leaves both measurements what they are alone.
        flagged: whether one fault in an ancilla can become as bad an error of the data as two, so that circuits need a
            flag qubit beside each ancilla to keep the distance (Chao and Reichardt, Phys. Rev. Lett. 121, 050502
            (2018)).
        bases: of the logical states that the code keeps: "Z" for the eigenstates of logical Z.
    """

    title: str = field(init=False)
    distance: int = field(init=False)
    wires: int = field(init=False)
    stabilizers: tuple[str, ...] = field(init=False)
    logical_x: str = field(init=False)
    logical_z: str = field(init=False)
    schedule: Schedule = field(init=False)
    flagged: bool = field(init=False, default=False)

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    bases: ClassVar[tuple[str, ...]] = ("X", "Z")

    def syndrome(self, error: str) -> NDArray[np.bool_]:
        """Which stabilizers an error flips.

        Args:
            error: a Pauli string over the data qubits, data qubit 0 first.

        Returns:
            Booleans, shape (stabilizers,).

        Raises:
            ValueError: if `error` has another length or other letters than I, X, Y, Z.

        Example:
            >>> Repetition(3).syndrome("IXI")
            array([ True,  True])
        """
        _pauli("error", error, self.wires)
        return np.array([anticommute(error, s) for s in self.stabilizers], dtype=np.bool_)

    def logical_flips(self, error: str) -> NDArray[np.bool_]:
        """Whether an error flips the sign of logical X, and that of logical Z.

        Args:
            error: a Pauli string over the data qubits, data qubit 0 first.

        Returns:
            Booleans, shape (2,): logical X, logical Z.

        Raises:
            ValueError: if `error` has another length or other letters than I, X, Y, Z.

        Example:
            >>> Repetition(5).logical_flips("XXXXX")
            array([False,  True])
        """
        _pauli("error", error, self.wires)
        return np.array([anticommute(error, s) for s in (self.logical_x, self.logical_z)], dtype=np.bool_)

    def logical(self, basis: str) -> str:
        """The logical operator "X" or "Z".

        Raises:
            ValueError: for another letter.
        """
        checks.choice("basis", basis, ("X", "Z"))
        return self.logical_x if basis == "X" else self.logical_z

    @property
    def layers(self) -> int:
        """How many layers of two-qubit gates measure all stabilizers."""
        return max((len(row) for row in self.schedule), default=0)

    @property
    def matchable(self) -> bool:
        """Whether errors of one kind flip at most two stabilizers each, all of X alone or of Z alone.

        Matching pairs flipped stabilizers up, and needs this.
        """
        pure = all(len(set(s) - {"I"}) == 1 and "Y" not in s for s in self.stabilizers)
        columns = list(zip(*self.stabilizers, strict=True))
        return pure and all(column.count(letter) <= 2 for column in columns for letter in "XZ")

    def _put(
        self,
        title: str,
        stabilizers: Sequence[str],
        logical: tuple[str, str],
        schedule: Sequence[Sequence[int | None]],
        **more: object,
    ) -> None:
        values: dict[str, object] = {
            "title": title,
            "wires": len(logical[0]),
            "stabilizers": tuple(stabilizers),
            "logical_x": logical[0],
            "logical_z": logical[1],
            "schedule": tuple(tuple(row) for row in schedule),
            **more,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Repetition(Code):
    """The repetition code: parities of neighbors on a line of data qubits, against bit flips alone.

    Stabilizer k is ZZ on data qubits k and k + 1; logical Z is Z on data qubit 0, logical X is X on all.

    Args:
        distance: odd, at least 3; so many data qubits.

    Raises:
        ValueError: for an even distance, or one below 3.

    Example:
        >>> Repetition(3).stabilizers
        ('ZZI', 'IZZ')
    """

    distance: int = 3

    kind: ClassVar[str] = "code:repetition"
    bases: ClassVar[tuple[str, ...]] = ("Z",)

    def __post_init__(self) -> None:
        d = _odd(self.distance)
        self._put(
            f"repetition code of distance {d}",
            [_string(d, "Z", (k, k + 1)) for k in range(d - 1)],
            ("X" * d, _string(d, "Z", (0,))),
            [(k, k + 1) for k in range(d - 1)],
            distance=d,
        )


@dataclass(frozen=True)
class RotatedSurface(Code):
    """The rotated surface code: d x d data qubits, and d^2 - 1 stabilizers on the tiles between them.

    Data qubit r d + c stands in row r and column c.  Logical Z is Z along row 0, logical X is X down column 0.  The
    stabilizers of X come first, row by row, then those of Z.  Each takes four layers; an ancilla of X ends with two
    data qubits of a row and one of Z with two of a column, so that a fault that spreads from an ancilla lies across the
    logical operator that it could add to (Tomita and Svore, Phys. Rev. A 90, 062320 (2014)): no flags are needed.

    Args:
        distance: odd, at least 3.

    Raises:
        ValueError: for an even distance, or one below 3.

    Example:
        >>> code = RotatedSurface(3)
        >>> code.wires, len(code.stabilizers), code.logical_z
        (9, 8, 'ZZZIIIIII')
    """

    distance: int = 3

    kind: ClassVar[str] = "code:rotated-surface"

    def __post_init__(self) -> None:
        d = _odd(self.distance)
        tiles = {letter: list(self._tiles(d, letter)) for letter in "XZ"}
        self._put(
            f"rotated surface code of distance {d}",
            [_string(d * d, x, [q for q in tile if q is not None]) for x in "XZ" for tile in tiles[x]],
            (_string(d * d, "X", range(0, d * d, d)), _string(d * d, "Z", range(d))),
            tiles["X"] + tiles["Z"],
            distance=d,
        )

    @staticmethod
    def _tiles(d: int, letter: str) -> list[tuple[int | None, ...]]:
        """The data qubits of each tile of one letter, in the order of the layers; None off the edge."""
        order = ((-1, -1), (-1, 0), (0, -1), (0, 0)) if letter == "X" else ((-1, -1), (0, -1), (-1, 0), (0, 0))
        tiles = []
        for row in range(d + 1):
            for column in range(d + 1):
                if ("X" if (row + column) % 2 else "Z") != letter:
                    continue
                # X tiles reach over the upper and lower edges, Z tiles over the left and right ones; none at corners.
                across, along = (column, row) if letter == "X" else (row, column)
                if not 0 < across < d or not 0 <= along <= d:
                    continue
                places = [(row + i, column + j) for i, j in order]
                tiles.append(tuple(r * d + c if 0 <= r < d and 0 <= c < d else None for r, c in places))
        return tiles


@dataclass(frozen=True)
class Steane(Code):
    """The Steane code [[7, 1, 3]]: X and Z on the three parities of the Hamming code.

    Logical X is X on all, logical Z is Z on all.  The stabilizers of X are measured before those of Z.

    References:
        Steane, Proc. R. Soc. A 452, 2551 (1996).

    Example:
        >>> code = Steane()
        >>> code.distance, code.syndrome("IIIIIIX").sum()
        (3, np.int64(3))
    """

    kind: ClassVar[str] = "code:steane"

    def __post_init__(self) -> None:
        supports = ((3, 4, 5, 6), (5, 6, 1, 2), (6, 2, 4, 0))  # in the order of touching: no qubit twice in a layer
        rests = (None,) * 4
        self._put(
            "Steane code",
            [_string(7, letter, support) for letter in "XZ" for support in supports],
            ("X" * 7, "Z" * 7),
            [(*support, *rests) for support in supports] + [(*rests, *support) for support in supports],
            distance=3,
            flagged=True,
        )


@dataclass(frozen=True)
class FiveQubit(Code):
    """The five-qubit code [[5, 1, 3]]: the smallest that corrects any error of one qubit.

    Its stabilizers are XZZXI and its cyclic shifts, measured together in four layers; logical X is X on all, logical Z
    is Z on all.

    References:
        Laflamme et al., Phys. Rev. Lett. 77, 198 (1996).

    Example:
        >>> FiveQubit().stabilizers
        ('XZZXI', 'IXZZX', 'XIXZZ', 'ZXIXZ')
    """

    kind: ClassVar[str] = "code:five-qubit"

    def __post_init__(self) -> None:
        self._put(
            "five-qubit code",
            ("XZZXI", "IXZZX", "XIXZZ", "ZXIXZ"),
            ("X" * 5, "Z" * 5),
            ((0, 1, 3, 2), (2, 4, 1, 3), (3, 0, 2, 4), (4, 3, 0, 1)),
            distance=3,
            flagged=True,
        )


@dataclass(frozen=True, kw_only=True)
class StabilizerCode(Code):
    """A code of one's own that keeps one logical qubit.

    Args:
        stabilizers: n - 1 independent Pauli strings over n data qubits that commute with each other.
        logical_x: a Pauli string that commutes with all of them.
        logical_z: another one, which anticommutes with `logical_x`.
        distance: the least number of data qubits on which an error that no stabilizer sees changes the logical qubit;
            where all stabilizers are of Z alone, or of X alone, of the errors that they can see.  It sets the default
            number of rounds, and is checked where that takes less than a second.
        flagged: whether circuits have a flag qubit beside each ancilla of a stabilizer of three letters or more.
        title: its name.

    The stabilizers are measured one after the other, each from its first data qubit to its last.

    Raises:
        ValueError: if the strings are not such a code, or an error of fewer qubits than `distance` shows it to be less.

    Example:
        >>> code = StabilizerCode(stabilizers=("ZZ",), logical_x="XX", logical_z="ZI", distance=1)
        >>> code.schedule
        ((0, 1),)
    """

    stabilizers: tuple[str, ...]
    logical_x: str
    logical_z: str
    distance: int
    flagged: bool = True
    title: str = "stabilizer code"

    kind: ClassVar[str] = "code:stabilizer"

    def __post_init__(self) -> None:
        checks.integer("distance", self.distance, minimum=1)
        checks.boolean("flagged", self.flagged)
        checks.text("title", self.title)
        wires = len(checks.text("logical_x", self.logical_x))
        strings = tuple(self.stabilizers)
        for name, string in [("logical_x", self.logical_x), ("logical_z", self.logical_z)]:
            _pauli(name, string, wires)
        for string in strings:
            _pauli("stabilizers", string, wires)
        _consistent(strings, self.logical_x, self.logical_z)
        _no_lighter(strings, (self.logical_x, self.logical_z), self.distance)
        rows: list[tuple[int | None, ...]] = []
        supports = [[q for q, letter in enumerate(s) if letter != "I"] for s in strings]
        total, done = sum(map(len, supports)), 0
        for support in supports:
            rows.append((*(None,) * done, *support, *(None,) * (total - done - len(support))))
            done += len(support)
        self._put(self.title, strings, (self.logical_x, self.logical_z), rows)


def _odd(distance: int) -> int:
    hint = "Take 3, 5, 7, ..., so that the majority of errors is always decided."
    number = checks.integer("distance", distance, minimum=3, hint=hint)
    if number % 2 == 0:
        raise ValueError(f"distance must be odd. Got {number}. {hint}")
    return number


def _string(wires: int, letter: str, support: Sequence[int]) -> str:
    chosen = set(support)
    return "".join(letter if q in chosen else "I" for q in range(wires))


def _pauli(name: str, string: str, wires: int) -> None:
    checks.text(name, string)
    if len(string) != wires or set(string) - set("IXYZ"):
        raise ValueError(f"{name} must be {wires} letters of I, X, Y, Z. Got {string!r}. Give data qubit 0 first.")


def _consistent(stabilizers: tuple[str, ...], logical_x: str, logical_z: str) -> None:
    wires = len(logical_x)
    rule = "The strings must be a code of one logical qubit:"
    for first, second in combinations(stabilizers, 2):
        if anticommute(first, second):
            raise ValueError(f"{rule} stabilizers commute. Got {first!r} and {second!r}. Change one of them.")
    for string in stabilizers:
        if anticommute(string, logical_x) or anticommute(string, logical_z):
            raise ValueError(f"{rule} logical operators commute with {string!r}. Change it, or the logical operators.")
    if not anticommute(logical_x, logical_z):
        raise ValueError(f"{rule} logical_x and logical_z anticommute. Got {logical_x!r} and {logical_z!r}.")
    rank = _rank(stabilizers)
    if rank != len(stabilizers) or rank != wires - 1:
        raise ValueError(
            f"{rule} {wires - 1} independent stabilizers for {wires} data qubits. "
            f"Got {len(stabilizers)}, of which {rank} are independent. Add what is missing, drop products of others."
        )


def _no_lighter(stabilizers: tuple[str, ...], logical: tuple[str, str], distance: int) -> None:
    """ValueError if an error of fewer qubits than the distance changes the logical qubit unseen; small codes alone."""
    wires, seen = len(logical[0]), set("".join(stabilizers)) - {"I"}
    letters = {"Z": "X", "X": "Z"}.get("".join(seen), "XYZ")  # what stabilizers of one letter can see
    # What each letter at each place changes: a bit for each stabilizer, above them one for each logical operator.
    changes = [
        [(c, sum(anticommute(c, s[q]) << k for k, s in enumerate((*stabilizers, *logical)))) for c in letters]
        for q in range(wires)
    ]
    unseen = 1 << len(stabilizers)
    for weight in range(1, min(distance, wires + 1)):
        if math.comb(wires, weight) * len(letters) ** weight > _MOST_ERRORS:
            return
        for places in combinations(range(wires), weight):
            for error in product(*(changes[q] for q in places)):
                found = reduce(xor, (change for _, change in error))
                if found and found % unseen == 0:
                    letter = dict(zip(places, (c for c, _ in error), strict=True))
                    string = "".join(letter.get(q, "I") for q in range(wires))
                    raise ValueError(
                        f"distance must be the least weight of an error that changes the logical qubit unseen. Got "
                        f"{distance}, but {string!r} is such an error. Give distance={weight}."
                    )


def _rank(strings: Sequence[str]) -> int:
    """How many of the strings are independent, as vectors over two elements."""
    reduced: list[int] = []
    for string in strings:
        bits = int("".join({"I": "00", "X": "10", "Y": "11", "Z": "01"}[letter] for letter in string), 2)
        for known in reduced:
            bits = min(bits, bits ^ known)
        if bits:
            reduced.append(bits)
    return len(reduced)
